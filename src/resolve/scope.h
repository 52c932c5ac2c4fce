/* Which answers belong to the network they were learned on, and where they lie in the cache file
 * (A14): private addresses and names that only somebody's own DNS knows mean another machine, or
 * nothing, elsewhere.
 *
 * Pure functions. RFC 1918, 4193, 6052, 6598, 6761, 6762, 8375. Any thread. */
#ifndef SB_RESOLVE_SCOPE_H
#define SB_RESOLVE_SCOPE_H

#include "dns/answer.h"
#include "store/l1.h"

/* An address that says nothing outside its network: private, loopback, link-local, translated
 * (NAT64), or of the benchmarking range that proxies hand out. */
bool sb_scope_address(const sb_addr *addr);
/* A name of no public zone: one label, .local, .internal, home.arpa and the like, and the reverse
 * names of such addresses (name folded). */
bool sb_scope_name(const sb_name *name);
/* True when the answer has such an address, or is about such a name. */
bool sb_scope_answer(const sb_question *question, const sb_answer *answer);
/* The view under which a route's answers (view 0: the default's) lie for one network; never the
 * route's own and none of the reserved. */
uint32_t sb_scope_view(uint32_t view, uint32_t network);
/* The same network, as far as can be told: the gateway's half may not be known in one of them. */
bool sb_scope_same(uint32_t a, uint32_t b);

#endif
