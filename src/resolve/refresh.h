/* Refreshes nobody waits for (A11): names in use shortly before they are due, warmed and protected
 * names on a schedule, and after an outage those that were asked during it.
 *
 * All of them together keep to query.refresh_rate; what is over it waits or is left to the next
 * asker. Loop thread. */
#ifndef SB_RESOLVE_REFRESH_H
#define SB_RESOLVE_REFRESH_H

#include "resolve/engine.h"
#include "resolve/strategy.h"

/* A token bucket of one second's worth. */
typedef struct sb_pace {
    uint64_t milli; /* thousandths of a refresh */
    sb_ns filled_at;
    uint64_t scouted_tick, scout; /* of the engine: the name that went ahead in it */
} sb_pace;
/* True, and one refresh fewer, when the rate allows one at `now`. */
bool sb_pace_take(sb_pace *pace, unsigned per_second, sb_ns now);

/* A fresh entry in the last part of its life, by cache.prefetch. */
bool sb_refresh_is_due(const sb_settings *settings, const sb_l1_entry *entry, sb_tick now);

/* Somebody uses this entry: refresh it if it is time. */
void sb_refresh_used(sb_engine *engine, const sb_asked *asked);
/* A flight nobody waits for, at the pace (over it: none). False when it failed a moment ago and its
 * pause is not over. */
bool sb_refresh_paced(sb_engine *engine, const sb_asked *asked);
/* Once a second: warmed and protected names. */
void sb_refresh_tick(sb_engine *engine);
/* A server is back: what failed is asked again, at the pace. */
void sb_refresh_recovered(sb_engine *engine);
void sb_refresh_recovery_fire(sb_timer *timer);

#endif
