/* Forwarding loops (B1): a server that is a forwarder to this very resolver answers nothing, and
 * looks dead while it is not.
 *
 * A query of a name nobody else can know goes to each server that may be one: those of private
 * addresses now and then, any that stops answering. When that name is asked here, the server
 * is named and not asked any more, until such a query no longer comes back. No answer is waited
 * for, no server's health is touched. Loop thread. */
#ifndef SB_NET_LOOP_H
#define SB_NET_LOOP_H

#include "net/upstream.h"

#define SB_LOOP_PROBES 16                /* remembered at a time; one leaves in a second */
#define SB_LOOP_ANSWER_WITHIN (5 * SB_S) /* a query that comes back does so by then */
#define SB_LOOP_EVERY (300 * SB_S) /* neighbours are looked at so often: loops come with time */
#define SB_LOOP_AGAIN (60 * SB_S)  /* a server in a loop is tried again after that */

typedef struct sb_loops sb_loops;
/* changed: a server was found in a loop, or is in none any more: configure the servers anew. Called
 * from the loop, never from here. */
SB_MUST_USE sb_status sb_loops_new(sb_upstreams *ups, void (*changed)(void *context), void *context,
                                   sb_loops **ret);
/* NULL is allowed. */
void sb_loops_free(sb_loops *loops);
/* Once a second: one probe, if one is due. */
void sb_loops_tick(sb_loops *loops);
/* A question of that name came in. True when it is a probe of ours: answer with NXDOMAIN. */
bool sb_loops_met(sb_loops *loops, const sb_name *name);
/* A name made for a probe, of this resolver or another. */
bool sb_loop_is_probe(const sb_name *name);

#endif
