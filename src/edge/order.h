/* Which of several addresses to try first, by family policy and by what the kernel can reach (B8).
 *
 * Opens no connection and sends nothing: an unsent UDP socket tells route and source address.
 * RFC 6724. Any thread. */
#ifndef SB_EDGE_ORDER_H
#define SB_EDGE_ORDER_H

#include "core/settings.h"

/* Sorts best first and drops the families the policy excludes; equals keep their order. Addresses
 * without a route come last, so that the other family serves where the preferred one cannot.
 * Returns how many are left. */
size_t sb_edge_order(sb_addr *addresses, size_t count, sb_family_policy policy);

/* The source address the kernel would use; false without a route. */
bool sb_edge_source(const sb_addr *destination, sb_addr *ret_source);

#endif
