/* The life of the addresses that names lead to (A12, A13, A16): what was found last, and when.
 *
 * Owns the looks under way: is a connection to the address established, and if not, can one be
 * made? Bounded, paced by net/probe. Never decides what follows from a life or a death, never
 * makes anybody wait. Loop thread. */
#ifndef SB_RESOLVE_ENDPOINT_H
#define SB_RESOLVE_ENDPOINT_H

#include "core/event.h"
#include "dns/answer.h"
#include "net/probe.h"

#define SB_ENDPOINTS_MAX 1024 /* the one looked at longest ago is forgotten */
/* A finding is evidence that long: three rechecks of a doubted denial. */
#define SB_LIFE_HOLDS (90 * SB_S)
/* The least time between two looks at one address. */
#define SB_LOOK_AGAIN (5 * SB_S)
/* Addresses of one name that are looked at; what has more has lives enough. */
#define SB_LOOKS_MAX 8

typedef struct sb_endpoints sb_endpoints;

/* stats and events may be NULL. */
SB_MUST_USE sb_status sb_endpoints_new(sb_env *env, sb_stats *stats, sb_events *events,
                                       const uint8_t secret[16], sb_endpoints **ret);
/* Cancels what is under way. */
void sb_endpoints_free(sb_endpoints *endpoints);
/* Begins a look, unless one is under way or was begun less than `every` (at least SB_LOOK_AGAIN)
 * ago. Port 0: established connections alone are looked for, and nothing can be found dead. */
void sb_endpoints_look(sb_endpoints *endpoints, const sb_addr *addr, sb_ns every);
/* UNKNOWN also when what was found no longer holds. *ret_at (may be NULL): when it was found. */
sb_liveness sb_endpoints_life(const sb_endpoints *endpoints, const sb_addr *addr, sb_ns *ret_at);
bool sb_endpoints_looking(const sb_endpoints *endpoints, const sb_addr *addr);
/* Another network: what was found says nothing any more. */
void sb_endpoints_void(sb_endpoints *endpoints);

/* The same for the addresses of a name, each with that port. */
void sb_endpoints_look_all(sb_endpoints *endpoints, const sb_addr *addrs, size_t count,
                           uint16_t port, sb_ns every);
bool sb_endpoints_looking_any(const sb_endpoints *endpoints, const sb_addr *addrs, size_t count,
                              uint16_t port);
/* ALIVE when one is; HOST or DEAD when none is and all are known; else UNKNOWN. */
sb_liveness sb_endpoints_life_of(const sb_endpoints *endpoints, const sb_addr *addrs, size_t count,
                                 uint16_t port);
/* The answer without the addresses that are known to be dead or to refuse, when one of the others
 * is known to live (A13): a new answer. SB_NOTFOUND: nothing is to be left out. */
SB_MUST_USE sb_status sb_endpoints_qualify(const sb_endpoints *endpoints, const sb_answer *answer,
                                           uint16_t port, sb_answer **ret_answer);

#endif
