/* On which network the engine is, and what a change of it means (A14, DESIGN §5).
 *
 * Owns the network monitor. A move to another network hides what is private to the former one,
 * forgets how servers did, asks anew what was on its way, and opens the doubt window: for a while
 * neither denials nor suspicious addresses replace the last good answer. Loop thread. */
#ifndef SB_RESOLVE_MOBILITY_H
#define SB_RESOLVE_MOBILITY_H

#include "net/netmon.h"
#include "resolve/engine.h"
#include "resolve/strategy.h"

#define SB_PARKED_MAX 64     /* answers of one network that wait until it is known of which */
#define SB_SIGHTINGS_MAX 256 /* addresses of which it is known who turned up on them */
#define SB_SIGHTING_OWNERS 3 /* unrelated names on one address: a captive portal, perhaps */

typedef struct sb_mobility sb_mobility;
SB_MUST_USE sb_status sb_mobility_new(sb_engine *engine, sb_mobility **ret);
void sb_mobility_free(sb_mobility *mobility);

/* The network whose private answers may be served; 0: not known, or not yet. Without any network
 * it is the last one. NULL is allowed here and below. */
uint32_t sb_mobility_network(const sb_mobility *mobility);
/* True while that may be out of date: nothing that is one network's alone is learned then. */
bool sb_mobility_unsettled(const sb_mobility *mobility);
/* End of the doubt window; 0 none. */
sb_ns sb_mobility_doubt_until(const sb_mobility *mobility);
/* A positive answer, private or tentative, that came while unsettled: learned when it is known
 * where. */
void sb_mobility_park(sb_mobility *mobility, const sb_asked *asked, const sb_answer *answer,
                      sb_ns said_at);

/* The addresses of the last good public answer of before the window: how many. */
size_t sb_mobility_last_good(const sb_ctx *ctx, const sb_asked *asked, sb_addr *ret_addresses,
                             size_t max);
/* A fresh positive answer inside the doubt window which looks like a captive portal's and
 * contradicts the last good one; *ret_reason is static. Also takes note of who is where. */
bool sb_mobility_suspects(const sb_ctx *ctx, const sb_asked *asked, const sb_answer *answer,
                          const char **ret_reason);
/* True when the answer, though public, has nothing in common with the last good one of before the
 * window: it is kept for this network alone. */
bool sb_mobility_contradicts(const sb_ctx *ctx, const sb_asked *asked, const sb_answer *answer);

/* For status. */
typedef struct sb_mobility_info {
    const sb_network *network; /* as the monitor sees it */
    uint32_t scope;            /* sb_mobility_network */
    bool unsettled;
    sb_ns changed_at;  /* last change; 0 none in this run */
    sb_ns doubt_until; /* 0: no window */
    uint64_t moves;
} sb_mobility_info;
sb_mobility_info sb_engine_mobility(const sb_engine *engine);

#endif
