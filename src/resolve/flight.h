/* Flights and the engine's inside: shared by engine.c, flight.c, service.c and nobody else.
 *
 * A flight is one question on its way; it outlives its askers. A waiter has its own patience:
 * serving stale settles it while the flight goes on and refreshes the cache. Coalescing,
 * stale-while-revalidate and cancellation are this one idea. Loop thread. */
#ifndef SB_RESOLVE_FLIGHT_H
#define SB_RESOLVE_FLIGHT_H

#include "net/loop.h"
#include "net/revive.h"
#include "resolve/engine.h"
#include "resolve/hosts.h"
#include "resolve/mobility.h"
#include "resolve/pins.h"
#include "resolve/refresh.h"
#include "resolve/trouble.h"
#include "resolve/verdict.h"

typedef struct sb_service sb_service;

struct sb_engine {
    sb_env *env;
    const sb_settings *settings;
    sb_l1 *l1;
    sb_upstreams *upstreams;
    sb_hosts *hosts;
    char *resolv_path;
    sb_resolv_conf *resolv;   /* the last that named a usable server, or NULL */
    sb_file_stat resolv_seen; /* … and the file it came from */
    bool resolv_bad;          /* the present file does not */
    sb_loops *loops;
    sb_stats stats;
    sb_events events;
    sb_map flights;
    sb_list flights_by_age; /* the oldest first, but for those crowded out */
    sb_troubles troubles;
    uint32_t flight_number;
    sb_reviver *reviver;
    sb_doubts *doubts;
    sb_mobility *mobility;
    sb_endpoints *endpoints;
    sb_pins pins;
    sb_timer tick;
    uint64_t ticks;
    sb_timer probe, recovery;
    sb_pace pace;
    sb_service *services;
    size_t service_count;
    sb_l1_buffer *scratch;
};

typedef struct sb_flight {
    sb_op op; /* ends with the ladder; the engine is its owner */
    sb_map_node node;
    sb_list age;
    sb_question_key key;
    sb_engine *engine;
    const sb_settings *settings; /* those it began with */
    sb_ctx ctx;
    sb_asked asked;
    sb_arena arena;
    sb_list waiters; /* of sb_query.link */
    unsigned waiter_count;
    sb_attempt *attempts[3];
    unsigned attempt_count, attempts_ended;
    sb_status failure; /* of the attempt that ended last */
    int failure_ede;
    const char *failure_text; /* static, or NULL */
    sb_offer best;            /* rank NONE: nothing yet */
    sb_offer early; /* what those who waited were given, while the flight goes on; or NONE */
    sb_tried tried[SB_TRIED_MAX];
    unsigned tried_count;
    sb_timer patience;
    bool doubted;           /* the doubt rung was climbed */
    sb_ns confirm_in;       /* until the denial may be confirmed; 0 unknown */
    const char *doubt;      /* static: why a denial is not believed, or NULL */
    bool impatient;         /* stale may be served */
    bool desperate;         /* any fall-back may be served */
    bool denied;            /* a server answered, with a denial not believed: no failure */
    unsigned settled_early; /* waiters sent away with a fall-back before the end */
    sb_ns began;
} sb_flight;

/* How long a waiter waits for a fresh answer while a stale one is at hand (DESIGN §5). */
sb_ns sb_flight_patience(sb_ns setting, sb_ns rtt, bool dead);

/* Everything derived from a question (name in any case). */
void sb_engine_asked(sb_engine *engine, const sb_settings *settings, const sb_question *question,
                     sb_asked *ret_asked);
sb_ctx sb_engine_ctx(sb_engine *engine, const sb_settings *settings);
/* The best fall-back now; rank NONE when there is none. */
sb_offer sb_flight_fallback(const sb_ctx *ctx, const sb_asked *asked, bool stale_only);

/* A question failed: if its servers are all dead, one goes out once a second from now on. */
void sb_engine_watch_dead(sb_engine *engine, const sb_question *failed);

/* Joins the flight of the question, started if there is none; query may be NULL (refresh). */
void sb_flight_join(sb_engine *engine, const sb_asked *asked, sb_query *query);
void sb_flights_cancel(sb_engine *engine);
/* The network changed: what is under way ends without a word / climbs its ladder anew. Its askers
 * wait on. */
void sb_flights_ground(sb_engine *engine);
void sb_flights_resume(sb_engine *engine);

/* Settles a waiter with an offer (borrowed), or with a failure when offer is NULL. */
typedef struct sb_settling {
    const sb_offer *offer;
    sb_status failure;
    int failure_ede;
    const char *failure_text;
    const sb_tried *tried;
    unsigned tried_count;
    bool error;   /* counts as an error of the DNS */
    bool passive; /* counts no attempt: nobody asked the DNS */
} sb_settling;
void sb_query_settle(sb_query *query, const sb_settling *settling);

/* What a denial of that kind denies is removed for good. */
void sb_engine_forget(sb_engine *engine, const sb_asked *asked, sb_kind kind);
/* Stores what was learned, as DESIGN §5 says of negatives and TTL 0. */
/* belief: a denial removes what it denies, or of that only the type asked; else it is kept for this
 * very question alone, or for a short while. */
typedef enum sb_belief {
    SB_BELIEF_NONE,
    SB_BELIEF_SHORT,
    SB_BELIEF_TYPE,
    SB_BELIEF_WHOLE
} sb_belief;
void sb_engine_learn(sb_engine *engine, const sb_asked *asked, const sb_answer *answer,
                     sb_ns said_at, sb_belief belief);

/* Those of the engine's settings, looked up at once and again every ten seconds. */
SB_MUST_USE sb_status sb_services_configure(sb_engine *engine);
void sb_services_free(sb_engine *engine);
void sb_services_tick(sb_engine *engine);

#endif
