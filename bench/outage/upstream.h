/* A name server that tells the truth of the zone after its delay, or misbehaves as told.
 *
 * UDP and TCP (pipelined, RFC 7766). One thread. */
#ifndef SB_OUTAGE_UPSTREAM_H
#define SB_OUTAGE_UPSTREAM_H

#include "outage/world.h"

/* Opens the sockets; false with errno set. */
bool upstream_open(upstream *u, world *w, unsigned index, const sb_addr *addr, int64_t delay_ns);
void upstream_close(upstream *u);
/* From now on. FAULT_NO_ROUTE is the caller's to bring about; the server only counts as dead. */
bool upstream_set_fault(upstream *u, scene_fault fault);

#endif
