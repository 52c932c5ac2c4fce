/* Upstream servers: who they are, in which order to ask them, and how well each is doing.
 *
 * Owns server states, which survive reloads by address; never decides what an answer means, never
 * touches the store. Loop thread. */
#ifndef SB_NET_UPSTREAM_H
#define SB_NET_UPSTREAM_H

#include "core/event.h"
#include "core/settings.h"
#include "core/stats.h"
#include "dns/answer.h"
#include "net/latency.h"
#include "net/manners.h"

#define SB_CONNS_MAX 8 /* connections per server (net/conn) */

typedef enum sb_breaker { SB_BREAKER_CLOSED, SB_BREAKER_OPEN, SB_BREAKER_HALF_OPEN } sb_breaker;
/* "closed", "open", "half-open". Static storage. */
const char *sb_breaker_text(sb_breaker breaker);

/* Of silence: none, to be looked into, being looked into. */
typedef enum sb_suspicion {
    SB_SUSPICION_NONE,
    SB_SUSPICION_FRESH,
    SB_SUSPICION_VERIFIED
} sb_suspicion;

/* One server; the same address in two routes is one server. */
typedef struct sb_upstream {
    sb_list link;
    sb_addr addr;
    char name[128];
    char tls_name[256];
    bool tls;
    bool trust_ad;  /* resolved: auto = loopback or verified TLS */
    unsigned refs;  /* pools and exchanges */
    unsigned pools; /* of these, pools of the present configuration: 0 = on its way out */
    sb_breaker breaker;
    sb_ns open_until;                    /* breaker open: next probe */
    sb_ns opened_at;                     /* the breaker, last */
    sb_ns probed_at;                     /* last probe of the open breaker */
    sb_ns loop_probed_at;                /* last look for a forwarding loop; 0 never */
    sb_ns backoff;                       /* present back-off: 1 s … 60 s */
    unsigned failures;                   /* in a row */
    uint64_t failed_name;                /* digest of the name last answered SERVFAIL or REFUSED */
    sb_list exchanges;                   /* of sb_exchange.link: under way, one per question */
    sb_ns srtt;                          /* smoothed round trip (RFC 6298), 0 unknown */
    sb_latency udp, stream;              /* round trips per protocol */
    sb_manners manners;                  /* case, EDNS, cookies */
    struct sb_conn *conns[SB_CONNS_MAX]; /* open connections (net/conn), NULL where none */
    sb_ns one_by_one_until; /* closes on pipelined queries: one a connection until then */
    unsigned mute;          /* datagrams sent since the last that was answered */
    bool prefers_stream;    /* datagrams stay unanswered, streams do not */
    sb_ns datagram_at;      /* … when one is tried again */
    sb_ns unanswered_since; /* first query since the last sign of life */
    unsigned unanswered;    /* queries since then */
    sb_suspicion suspicion;
    sb_question answered; /* what it last answered well; name.size 0: nothing */
    sb_ns last_success, last_failure;
    sb_status last_status;
    uint64_t queries, responses, timeouts, errors;
    uint32_t success_permille; /* decayed, 1/32 per sample; 1000 at the start; forgiven in time */
    uint32_t loss_permille;    /* answers that a repetition alone brought, decayed */
    unsigned repeated_in_row;  /* answers that came after a repetition */
} sb_upstream;

/* Servers of one route in configured order. */
typedef struct sb_pool {
    sb_name suffix; /* root: the default */
    uint32_t view;
    uint32_t strategies;
    sb_upstream **servers; /* each referenced */
    unsigned *tiers;
    unsigned count;
    sb_question probe; /* a real question to probe dead servers with; name.size 0: none yet */
    bool probe_answered;
    const char *left_out; /* why the last server that was left out was; lives with the upstreams */
} sb_pool;

typedef struct sb_upstreams sb_upstreams;
SB_MUST_USE sb_status sb_upstreams_new(sb_env *env, sb_stats *stats, sb_events *events,
                                       sb_upstreams **ret);
void sb_upstreams_free(sb_upstreams *ups);
/* Pools from settings; resolv servers serve the default route when settings names none. States of
 * servers that stay are kept. Own listening addresses are left out. */
SB_MUST_USE sb_status sb_upstreams_configure(sb_upstreams *ups, const sb_settings *settings,
                                             const sb_resolv_conf *resolv);
/* True when one of these could be asked: a list of nobody but ourselves is none. */
bool sb_upstreams_any_usable(sb_upstreams *ups, const sb_settings *settings,
                             const sb_server_setting *servers, size_t count);
/* Longest suffix wins; the default pool when none. Never NULL. Pools stay until the next configure:
 * hold servers, not pools. */
const sb_pool *sb_upstreams_pool(const sb_upstreams *ups, const sb_name *name);
/* A question of the route, for probes: one that was answered says most. */
void sb_upstreams_remember(sb_upstreams *ups, const sb_question *question, bool answered);
/* Of all dead routes the server that has waited longest for a probe; false: none. */
bool sb_upstreams_longest_dead(const sb_upstreams *ups, const sb_pool **ret_pool,
                               sb_upstream **ret_server);
/* True when some route that has been asked anything has no server left. */
bool sb_upstreams_any_dead(const sb_upstreams *ups);
sb_upstream *sb_upstream_ref(sb_upstream *server);
void sb_upstream_unref(sb_upstream *server);

/* The server to ask next: closed breakers only, not those in `used` (a bit per pool index), lowest
 * tier first. Within a tier the configured order holds while the first succeeds (95 %) and unless
 * they were configured as equals; else the least expected time, failures included. -1: nobody. */
int sb_pool_choose(sb_upstreams *ups, const sb_pool *pool, uint64_t used);
/* True when there is no server whose breaker lets questions through: fall-backs go at once. */
bool sb_pool_dead(const sb_upstreams *ups, const sb_pool *pool);
/* Smoothed round trip of the server that would be asked first, 0 unknown: patience is made of it.
 */
sb_ns sb_pool_rtt(sb_upstreams *ups, const sb_pool *pool);
/* What no answer to a datagram of ours is ever faster than: half of the quickest tenth; 0 unknown.
 */
sb_ns sb_upstream_quickest(const sb_upstream *server);
/* When a second server joins: min(p95 and a margin, 3 × median), at least 5 ms; 50 ms when unknown.
 */
sb_ns sb_upstream_hedge_delay(const sb_upstream *server);
/* Silence that counts as failure: 4 × p99 within [50 ms, 4 s]; 400 ms when unknown. */
sb_ns sb_upstream_silence(const sb_upstream *server);
/* How long one attempt may take: twice that silence within [200 ms, 2 s]. */
sb_ns sb_upstream_attempt_timeout(const sb_upstream *server);
/* True below 95 % success: second questions are no luxury then. */
bool sb_upstream_is_shaky(const sb_upstream *server);

/* Hedges are paid from a bucket that questions fill: settings' share of them, 50 at most. */
void sb_upstreams_earn(sb_upstreams *ups, uint32_t hedge_permille);
bool sb_upstreams_spend(sb_upstreams *ups);

/* An exchange sent a query / sent it once more, which says something of a server only when it has
 * not answered anybody since the first. */
void sb_upstream_asked(sb_upstreams *ups, sb_upstream *server);
void sb_upstream_asked_again(sb_upstreams *ups, sb_upstream *server, sb_ns first);
/* A server that has answered before keeps silent: `call` (from the loop, never nested) asks it
 * something it knows, and says when that has ended. Without an answer its breaker opens. */
void sb_upstreams_on_silence(sb_upstreams *ups, void (*call)(void *context, sb_upstream *server),
                             void *context);
void sb_upstream_verified(sb_upstreams *ups, sb_upstream *server);
/* A datagram got an answer of any kind / a stream did, or failed to. */
void sb_upstream_datagram_answered(sb_upstream *server);
/* It said something that helps nobody yet, and is asked in another form: that is no silence. */
void sb_upstream_spoke(sb_upstream *server);
void sb_upstream_stream_ended(sb_upstreams *ups, sb_upstream *server, bool answered);
/* Over which to ask it now? Where datagrams are lost and streams are not, asking by datagram first
 * would cost each question a time-out and open a breaker that the stream closes again. True: a
 * stream; but for one question in a while, which finds out whether datagrams get through again. */
bool sb_upstream_wants_stream(sb_upstreams *ups, sb_upstream *server);
/* True when it answered within the last seconds. */
bool sb_upstream_works(const sb_upstreams *ups, const sb_upstream *server);
/* An exchange was cancelled `elapsed` after its query: a loser took at least that long. */
void sb_upstream_abandoned(sb_upstreams *ups, sb_upstream *server, sb_protocol protocol,
                           sb_ns elapsed);
/* Verdicts of an exchange. failure: SERVFAIL, REFUSED, garbage, timeout, network errors. Breaker: 3
 * failures in a row open it, back-off doubles 1 s … 60 s with ±25 % jitter, one success closes it.
 * on_recovery is called (from the loop, never nested) when any breaker closes, so that failure
 * caching and rechecks end at once. */
void sb_upstream_succeeded(sb_upstreams *ups, sb_upstream *server, sb_protocol protocol, sb_ns rtt);
void sb_upstream_failed(sb_upstreams *ups, sb_upstream *server, sb_status status);
/* For exchanges: a question goes to a server whose breaker is not closed / it was cancelled before
 * it said anything, so the next may be asked at once. */
void sb_upstream_probe_begin(sb_upstreams *ups, sb_upstream *server);
void sb_upstream_probe_cancelled(sb_upstreams *ups, sb_upstream *server);
/* SERVFAIL or REFUSED for the very name that failed last: the name's trouble, not the server's. */
void sb_upstream_failed_again(sb_upstreams *ups, sb_upstream *server, sb_status status);
void sb_upstreams_on_recovery(sb_upstreams *ups, void (*call)(void *context), void *context);
/* Forget all back-off (network change, `upstreams reset`). */
void sb_upstreams_reset(sb_upstreams *ups);
/* Servers that forward to us are left out of every pool from the next configure on (net/loop).
 * True: it was not left out before / it was. */
bool sb_upstreams_exclude(sb_upstreams *ups, const sb_addr *server, const char *why);
bool sb_upstreams_include(sb_upstreams *ups, const sb_addr *server);
/* All are tried again: other servers, another network. */
void sb_upstreams_include_all(sb_upstreams *ups);
/* One of them that was looked at longer ago than that; false: none. */
bool sb_upstreams_excluded_due(const sb_upstreams *ups, sb_ns age, sb_addr *ret_server);
size_t sb_upstreams_excluded(const sb_upstreams *ups, sb_addr *ret_servers, size_t max);
/* The server was just looked at. */
void sb_upstreams_loop_probed(sb_upstreams *ups, const sb_addr *server);
#define SB_EXCLUDED_MAX 16
/* Every server once, in order; for listings. */
bool sb_upstreams_each(const sb_upstreams *ups, bool (*visit)(void *context, const sb_upstream *),
                       void *context);
/* 16 bytes of entropy under which client cookies are made: another each day, and after each reset
 * (RFC 7873 §7.1). */
const uint8_t *sb_upstreams_secret(sb_upstreams *ups);
sb_env *sb_upstreams_env(const sb_upstreams *ups);
sb_stats *sb_upstreams_stats(const sb_upstreams *ups);
sb_events *sb_upstreams_events(const sb_upstreams *ups);

#endif
