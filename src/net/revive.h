/* Revival: real questions put to servers whose breaker is open, beside the flights that need
 * answers.
 *
 * Nobody waits for these exchanges; their only fruit is the server's health. While another server
 * of the route lives, the back-off paces them; with none left one a second goes out in all (DESIGN
 * §5). Loop thread. */
#ifndef SB_NET_REVIVE_H
#define SB_NET_REVIVE_H

#include "net/exchange.h"

typedef struct sb_reviver sb_reviver;

SB_MUST_USE sb_status sb_reviver_new(sb_upstreams *ups, sb_reviver **ret);
/* Cancels what is under way. Before the upstreams are freed. */
void sb_reviver_free(sb_reviver *reviver);
/* Uses a question that somebody asks for whatever probe is due among the pool's servers. True: the
 * route is dead, and this question is the one that has a server looked at now. */
bool sb_reviver_use(sb_reviver *reviver, const sb_pool *pool, const sb_question *question);
/* One probe of a dead route, if the pace allows it; that route, or NULL. */
const sb_pool *sb_reviver_tick(sb_reviver *reviver);
/* Earliest instant at which a dead pool may be probed again. */
sb_ns sb_reviver_next(const sb_reviver *reviver);
/* Forget the pace: a network change. */
void sb_reviver_reset(sb_reviver *reviver);

#endif
