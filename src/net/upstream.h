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

typedef enum sb_breaker { SB_BREAKER_CLOSED, SB_BREAKER_OPEN, SB_BREAKER_HALF_OPEN } sb_breaker;
/* "closed", "open", "half-open". Static storage. */
const char *sb_breaker_text(sb_breaker breaker);

/* One server; the same address in two routes is one server. */
typedef struct sb_upstream {
    sb_list link;
    sb_addr addr;
    char name[128];
    char tls_name[256];
    bool tls;
    bool trust_ad; /* resolved: auto = loopback or verified TLS */
    bool no_edns;  /* answered FORMERR/NOTIMP to EDNS: asked without until then */
    sb_ns no_edns_until;
    unsigned refs;  /* pools and exchanges */
    unsigned pools; /* of these, pools of the present configuration: 0 = on its way out */
    sb_breaker breaker;
    sb_ns open_until;     /* breaker open: next probe */
    sb_ns backoff;        /* present back-off: 1 s … 60 s */
    unsigned failures;    /* in a row */
    uint64_t failed_name; /* digest of the name last answered SERVFAIL or REFUSED */
    sb_list exchanges;    /* of sb_exchange.link: under way, one per question */
    sb_ns srtt, rttvar;   /* 0 = unknown; RFC 6298 smoothing */
    sb_ns last_success, last_failure;
    sb_status last_status;
    uint64_t queries, responses, timeouts, errors;
    uint32_t success_permille; /* decayed, 1/16 per sample; 1000 at the start */
} sb_upstream;

/* Servers of one route in configured order. */
typedef struct sb_pool {
    sb_name suffix; /* root: the default */
    uint32_t view;
    uint32_t strategies;
    sb_upstream **servers; /* each referenced */
    unsigned *tiers;
    unsigned count;
} sb_pool;

typedef struct sb_upstreams sb_upstreams;
SB_MUST_USE sb_status sb_upstreams_new(sb_env *env, sb_stats *stats, sb_events *events,
                                       sb_upstreams **ret);
void sb_upstreams_free(sb_upstreams *ups);
/* Pools from settings; resolv servers serve the default route when settings names none. States of
 * servers that stay are kept. Own listening addresses are left out. */
SB_MUST_USE sb_status sb_upstreams_configure(sb_upstreams *ups, const sb_settings *settings,
                                             const sb_resolv_conf *resolv);
/* Longest suffix wins; the default pool when none. Never NULL. Pools stay until the next configure:
 * hold servers, not pools. */
const sb_pool *sb_upstreams_pool(const sb_upstreams *ups, const sb_name *name);
sb_upstream *sb_upstream_ref(sb_upstream *server);
void sb_upstream_unref(sb_upstream *server);

/* The server to ask for the n-th attempt (0…) of a question: configured order by tier; a server
 * whose breaker is open has its place while its probe is due, and otherwise comes after the others;
 * servers in `used` (a bit per pool index) come after all that were not used yet. *ret_probe: all
 * are open, so this is a probe (the one due soonest). -1: the pool is empty. */
int sb_pool_choose(sb_upstreams *ups, const sb_pool *pool, uint64_t used, bool *ret_probe);
/* True when there is no server whose breaker lets questions through: fall-backs go at once. */
bool sb_pool_dead(const sb_upstreams *ups, const sb_pool *pool);
/* Smoothed round trip of the best server, 0 unknown: patience is made of it. */
sb_ns sb_pool_rtt(const sb_pool *pool);
/* How long one attempt may take: 3 × srtt + 4 × var within [200 ms, 2 s]; 1 s when unknown. */
sb_ns sb_upstream_attempt_timeout(const sb_upstream *server);

/* Verdicts of an exchange. failure: SERVFAIL, REFUSED, garbage, timeout, network errors. Breaker: 3
 * failures in a row open it, back-off doubles 1 s … 60 s with ±25 % jitter, one success closes it.
 * on_recovery is called (from the loop, never nested) when any breaker closes, so that failure
 * caching and rechecks end at once. */
void sb_upstream_succeeded(sb_upstreams *ups, sb_upstream *server, sb_ns rtt);
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
/* Every server once, in order; for listings. */
bool sb_upstreams_each(const sb_upstreams *ups, bool (*visit)(void *context, const sb_upstream *),
                       void *context);
sb_env *sb_upstreams_env(const sb_upstreams *ups);
sb_stats *sb_upstreams_stats(const sb_upstreams *ups);
sb_events *sb_upstreams_events(const sb_upstreams *ups);

#endif
