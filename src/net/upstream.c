/* Upstream servers: pools by route, order of asking, breakers, round-trip estimates.
 *
 * Owns the states of servers; never sends anything and never decides what an answer means. Servers
 * are few (tens), so everything is a short walk. RFC 6298 (smoothing). Loop thread. */
#include "net/upstream.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/conn.h"

#define FAILURES_TO_OPEN 3 /* one loss is the network, three in a row are the server */
/* Refused names in a row that condemn the last server of a route: then it is probed, not asked. */
#define REFUSALS_TO_OPEN 10
#define BACKOFF_MIN (1 * SB_S) /* DESIGN §5: back-off 1 s to 60 s */
#define BACKOFF_MAX (60 * SB_S)
#define ATTEMPT_MIN (200 * SB_MS)
#define ATTEMPT_MAX (2 * SB_S)
#define HEDGE_FLOOR (5 * SB_MS)
#define HEDGE_UNKNOWN (50 * SB_MS)
#define SILENCE_FLOOR (50 * SB_MS)
#define SILENCE_MOST (4 * SB_S)       /* nobody waits longer for an answer */
#define SILENCE_UNKNOWN (400 * SB_MS) /* so that a dead start is known within half a second */
#define SHAKY_PERMILLE 950u
#define FORGIVE_EVERY (10 * SB_S) /* half of what a server lost is forgiven in this time */
#define HEDGE_BURST 50u
#define SECRET_FOR (24 * 3600 * SB_S) /* RFC 7873 §7.1: at most 26 hours */
#define DATAGRAM_AGAIN (30 * SB_S) /* a question pays one time-out for it: not often, not never */
#define WORKS_FOR (5 * SB_S)       /* answered so lately, it is not down for a refusal */

struct sb_upstreams {
    sb_env *env;
    sb_stats *stats;
    sb_events *events;
    sb_list servers; /* of sb_upstream.link: also those only exchanges still hold */
    sb_pool *pools;  /* [0] is the default */
    size_t pool_count;
    bool equals;           /* configured as equals: order means nothing */
    uint32_t hedge_credit; /* thousandths of a hedge */
    uint8_t secret[16];    /* of client cookies */
    sb_ns secret_until;    /* 0: there is none */
    sb_timer recovery;     /* defers the call to the loop */
    void (*on_recovery)(void *context);
    void *recovery_context;
    sb_timer suspicion; /* the same */
    void (*on_silence)(void *context, sb_upstream *server);
    void *silence_context;
    struct {
        sb_addr addr;
        sb_ns probed_at;
        char why[120];
    } excluded[SB_EXCLUDED_MAX]; /* forwarding loops */
    unsigned excluded_count;
};

/* Pools under construction, swapped in whole. */
typedef struct pool_set {
    sb_pool *pools;
    size_t count;
} pool_set;

static bool pool_set_init(pool_set *set, size_t count);
static void pool_set_fini(pool_set *set);
static bool pool_fill(sb_upstreams *ups, sb_pool *pool, const sb_settings *settings,
                      const sb_server_setting *servers, size_t count);
static void keep_probe(const sb_upstreams *ups, sb_pool *pool);
static sb_upstream *server_get(sb_upstreams *ups, const sb_server_setting *setting);
static void settle(sb_upstreams *ups, const sb_settings *settings, const sb_server_setting *servers,
                   size_t count);
static void server_settle(sb_upstream *server, const sb_server_setting *setting);
static bool is_own(sb_upstreams *ups, const sb_settings *settings, const sb_addr *addr);
static void forgive(sb_upstreams *ups, sb_upstream *server);
static bool is_better(const sb_upstreams *ups, const sb_upstream *a, const sb_upstream *b);
static bool has_company(const sb_upstreams *ups, const sb_upstream *server);
static void silence_found(sb_upstreams *ups, sb_upstream *server);
static void breaker_open(sb_upstreams *ups, sb_upstream *server, sb_status why);
static void breaker_close(sb_upstreams *ups, sb_upstream *server);
static void recovery_fire(sb_timer *timer);
static void suspicion_fire(sb_timer *timer);
static void emit(sb_upstreams *ups, sb_event_type type, const sb_upstream *server,
                 sb_status status);

const char *sb_breaker_text(sb_breaker breaker)
{
    static const char *const texts[] = {"closed", "open", "half-open"};
    return (unsigned)breaker < SB_ARRAY_SIZE(texts) ? texts[breaker] : "unknown";
}

sb_status sb_upstreams_new(sb_env *env, sb_stats *stats, sb_events *events, sb_upstreams **ret)
{
    sb_upstreams *ups = sb_new(sb_upstreams);
    pool_set set;
    if (!ups)
        return SB_NOMEM;
    if (!pool_set_init(&set, 1)) {
        sb_free(ups);
        return SB_NOMEM;
    }
    ups->env = env;
    ups->stats = stats;
    ups->events = events;
    ups->pools = set.pools;
    ups->pool_count = set.count;
    ups->hedge_credit = HEDGE_BURST * 1000;
    sb_list_init(&ups->servers);
    sb_timer_init(&ups->recovery, recovery_fire);
    sb_timer_init(&ups->suspicion, suspicion_fire);
    *ret = ups;
    return SB_OK;
}

void sb_upstreams_free(sb_upstreams *ups)
{
    if (!ups)
        return;
    pool_set set = {ups->pools, ups->pool_count};
    pool_set_fini(&set);
    sb_timer_stop(ups->env, &ups->recovery);
    sb_timer_stop(ups->env, &ups->suspicion);
    while (sb_list_pop(&ups->servers)) /* what exchanges still hold, they free */
        ;
    sb_free(ups);
}

sb_status sb_upstreams_configure(sb_upstreams *ups, const sb_settings *settings,
                                 const sb_resolv_conf *resolv)
{
    pool_set set, old;
    const sb_server_setting *servers = settings->upstreams;
    size_t server_count = settings->upstream_count;
    if (server_count == 0 && resolv) {
        servers = resolv->servers;
        server_count = resolv->server_count;
    }
    if (!pool_set_init(&set, settings->route_count + 1))
        return SB_NOMEM;
    bool fits = pool_fill(ups, &set.pools[0], settings, servers, server_count);
    for (size_t i = 0; fits && i < settings->route_count; i++) {
        const sb_route_setting *route = &settings->routes[i];
        sb_pool *pool = &set.pools[i + 1];
        pool->suffix = route->suffix;
        pool->view = route->view;
        pool->strategies = route->strategies;
        bool wire = route->strategies == 0 || route->strategies & 1u << SB_STRATEGY_WIRE;
        if (route->server_count > 0)
            fits = pool_fill(ups, pool, settings, route->servers, route->server_count);
        else if (wire) /* a route of its own rules over the default servers */
            fits = pool_fill(ups, pool, settings, servers, server_count);
    }
    if (!fits) {
        pool_set_fini(&set);
        return SB_NOMEM;
    }
    for (size_t i = 0; i < set.count; i++)
        keep_probe(ups, &set.pools[i]);
    settle(ups, settings, servers, server_count);
    for (size_t i = 0; i < settings->route_count; i++)
        settle(ups, settings, settings->routes[i].servers, settings->routes[i].server_count);
    old = (pool_set){ups->pools, ups->pool_count};
    ups->pools = set.pools;
    ups->pool_count = set.count;
    ups->equals = settings->upstreams_equal;
    pool_set_fini(&old);
    return SB_OK;
}

bool sb_upstreams_any_usable(sb_upstreams *ups, const sb_settings *settings,
                             const sb_server_setting *servers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!is_own(ups, settings, &servers[i].addr))
            return true;
    return false;
}

const sb_pool *sb_upstreams_pool(const sb_upstreams *ups, const sb_name *name)
{
    const sb_pool *best = &ups->pools[0];
    for (size_t i = 1; i < ups->pool_count; i++) {
        const sb_pool *pool = &ups->pools[i];
        if (pool->suffix.size > best->suffix.size && sb_name_below(name, &pool->suffix))
            best = pool;
    }
    return best;
}

void sb_upstreams_remember(sb_upstreams *ups, const sb_question *question, bool answered)
{
    const sb_pool *found = sb_upstreams_pool(ups, &question->name);
    sb_pool *pool = &ups->pools[found - ups->pools];
    if (!answered && pool->probe_answered)
        return;
    pool->probe = *question;
    pool->probe_answered = answered;
}

bool sb_upstreams_longest_dead(const sb_upstreams *ups, const sb_pool **ret_pool,
                               sb_upstream **ret_server)
{
    sb_upstream *best = NULL;
    for (size_t i = 0; i < ups->pool_count; i++) {
        const sb_pool *pool = &ups->pools[i];
        if (pool->probe.name.size == 0 || !sb_pool_dead(ups, pool))
            continue;
        for (unsigned k = 0; k < pool->count; k++) {
            sb_upstream *server = pool->servers[k];
            if (best && server->probed_at >= best->probed_at)
                continue;
            best = server;
            *ret_pool = pool;
        }
    }
    *ret_server = best;
    return best != NULL;
}

bool sb_upstreams_any_dead(const sb_upstreams *ups)
{
    for (size_t i = 0; i < ups->pool_count; i++)
        if (ups->pools[i].probe.name.size > 0 && ups->pools[i].count > 0 &&
            sb_pool_dead(ups, &ups->pools[i]))
            return true;
    return false;
}

sb_upstream *sb_upstream_ref(sb_upstream *server)
{
    server->refs++;
    return server;
}

void sb_upstream_unref(sb_upstream *server)
{
    if (!server || --server->refs > 0)
        return;
    sb_conns_close(server);
    sb_list_remove(&server->link);
    sb_free(server);
}

int sb_pool_choose(sb_upstreams *ups, const sb_pool *pool, uint64_t used)
{
    int best = -1;
    for (unsigned i = 0; i < pool->count; i++) {
        sb_upstream *server = pool->servers[i];
        if (server->breaker != SB_BREAKER_CLOSED || (i < 64 && used >> i & 1))
            continue;
        forgive(ups, server);
        if (best < 0 || pool->tiers[i] < pool->tiers[best] ||
            (pool->tiers[i] == pool->tiers[best] && is_better(ups, server, pool->servers[best])))
            best = (int)i;
    }
    return best;
}

bool sb_pool_dead(const sb_upstreams *ups, const sb_pool *pool)
{
    (void)ups;
    for (unsigned i = 0; i < pool->count; i++)
        if (pool->servers[i]->breaker == SB_BREAKER_CLOSED)
            return false;
    return true;
}

sb_ns sb_pool_rtt(sb_upstreams *ups, const sb_pool *pool)
{
    int best = sb_pool_choose(ups, pool, 0);
    return best < 0 ? 0 : pool->servers[best]->srtt;
}

/* Judged by the way it is asked now; by the other only while that was never tried. */
static sb_ns quantile(const sb_upstream *server, unsigned permille)
{
    bool stream = server->tls || server->prefers_stream;
    sb_ns usual = sb_latency_quantile(stream ? &server->stream : &server->udp, permille);
    return usual ? usual : sb_latency_quantile(stream ? &server->udp : &server->stream, permille);
}

sb_ns sb_upstream_quickest(const sb_upstream *server)
{
    return sb_latency_quantile(&server->udp, 100) / 2;
}

sb_ns sb_upstream_hedge_delay(const sb_upstream *server)
{
    sb_ns p95 = quantile(server, 950), median = quantile(server, 500);
    if (p95 == 0)
        return HEDGE_UNKNOWN;
    /* A timer and a busy loop are late by a millisecond: without a margin the usual would be
     * hedged. */
    sb_ns late = p95 + p95 / 4 + SB_MS;
    sb_ns delay = late < 3 * median ? late : 3 * median;
    return delay < HEDGE_FLOOR ? HEDGE_FLOOR : delay;
}

sb_ns sb_upstream_silence(const sb_upstream *server)
{
    sb_ns p99 = quantile(server, 990);
    if (p99 == 0)
        return SILENCE_UNKNOWN;
    return 4 * p99 < SILENCE_FLOOR  ? SILENCE_FLOOR
           : 4 * p99 > SILENCE_MOST ? SILENCE_MOST
                                    : 4 * p99;
}

sb_ns sb_upstream_attempt_timeout(const sb_upstream *server)
{
    sb_ns timeout = 2 * sb_upstream_silence(server);
    return timeout < ATTEMPT_MIN ? ATTEMPT_MIN : timeout > ATTEMPT_MAX ? ATTEMPT_MAX : timeout;
}

bool sb_upstream_is_shaky(const sb_upstream *server)
{
    return server->success_permille < SHAKY_PERMILLE;
}

void sb_upstreams_earn(sb_upstreams *ups, uint32_t hedge_permille)
{
    ups->hedge_credit += hedge_permille;
    if (ups->hedge_credit > HEDGE_BURST * 1000)
        ups->hedge_credit = HEDGE_BURST * 1000;
}

bool sb_upstreams_spend(sb_upstreams *ups)
{
    if (ups->hedge_credit < 1000)
        return false;
    ups->hedge_credit -= 1000;
    return true;
}

static void sample(sb_upstream *server, bool success)
{
    server->success_permille = (server->success_permille * 31 + (success ? 1000 + 31 : 0)) / 32;
}

/* Three queries or more and no word for longer than it ever needs: the same as three failures. */
static bool is_silent(const sb_upstreams *ups, const sb_upstream *server)
{
    sb_ns silent = sb_env_now(ups->env) - server->unanswered_since;
    return server->breaker == SB_BREAKER_CLOSED && server->unanswered >= FAILURES_TO_OPEN &&
           silent >= sb_upstream_silence(server);
}

/* Who has answered before may only be slow with those names: asked first. */
static void check_silence(sb_upstreams *ups, sb_upstream *server)
{
    if (!is_silent(ups, server) || server->suspicion != SB_SUSPICION_NONE)
        return;
    if (ups->on_silence && server->last_success) {
        server->suspicion = SB_SUSPICION_FRESH;
        sb_timer_set(ups->env, &ups->suspicion, sb_env_now(ups->env));
        return;
    }
    silence_found(ups, server);
}

static void silence_found(sb_upstreams *ups, sb_upstream *server)
{
    server->timeouts++;
    server->last_failure = sb_env_now(ups->env);
    server->last_status = SB_TIMEOUT;
    server->failures += FAILURES_TO_OPEN;
    breaker_open(ups, server, SB_TIMEOUT);
}

static void suspicion_fire(sb_timer *timer)
{
    sb_upstreams *ups = sb_container_of(timer, sb_upstreams, suspicion);
    sb_list_each (it, &ups->servers) {
        sb_upstream *server = sb_container_of(it, sb_upstream, link);
        if (server->suspicion != SB_SUSPICION_FRESH)
            continue;
        server->suspicion = SB_SUSPICION_VERIFIED;
        if (ups->on_silence)
            ups->on_silence(ups->silence_context, server);
    }
}

void sb_upstreams_on_silence(sb_upstreams *ups, void (*call)(void *context, sb_upstream *server),
                             void *context)
{
    ups->on_silence = call;
    ups->silence_context = context;
}

void sb_upstream_verified(sb_upstreams *ups, sb_upstream *server)
{
    server->suspicion = SB_SUSPICION_NONE;
    if (is_silent(ups, server))
        silence_found(ups, server);
}

void sb_upstream_asked(sb_upstreams *ups, sb_upstream *server)
{
    if (server->unanswered++ == 0)
        server->unanswered_since = sb_env_now(ups->env);
    check_silence(ups, server);
}

void sb_upstream_datagram_answered(sb_upstream *server)
{
    server->mute = 0;
    server->prefers_stream = false;
}

void sb_upstream_spoke(sb_upstream *server)
{
    server->unanswered = 0;
}

void sb_upstream_stream_ended(sb_upstreams *ups, sb_upstream *server, bool answered)
{
    bool preferred = server->prefers_stream;
    server->prefers_stream = answered && !server->tls && server->mute >= FAILURES_TO_OPEN;
    if (server->prefers_stream && !preferred)
        server->datagram_at = sb_env_now(ups->env) + DATAGRAM_AGAIN;
}

bool sb_upstream_wants_stream(sb_upstreams *ups, sb_upstream *server)
{
    sb_ns now = sb_env_now(ups->env);
    if (server->tls || !server->prefers_stream)
        return server->tls;
    if (now < server->datagram_at)
        return true;
    server->datagram_at = now + DATAGRAM_AGAIN;
    return false;
}

bool sb_upstream_works(const sb_upstreams *ups, const sb_upstream *server)
{
    return server->last_success && sb_env_now(ups->env) - server->last_success < WORKS_FOR;
}

void sb_upstream_asked_again(sb_upstreams *ups, sb_upstream *server, sb_ns first)
{
    if (server->last_success < first)
        sb_upstream_asked(ups, server);
}

void sb_upstream_abandoned(sb_upstreams *ups, sb_upstream *server, sb_protocol protocol,
                           sb_ns elapsed)
{
    /* A loser that had less than its usual time has not shown anything; nor is the dead's slow. */
    if (server->breaker == SB_BREAKER_CLOSED && elapsed >= sb_upstream_hedge_delay(server)) {
        sb_latency_add(protocol == SB_PROTOCOL_UDP ? &server->udp : &server->stream, elapsed);
        sample(server, false);
    }
    check_silence(ups, server);
}

void sb_upstream_succeeded(sb_upstreams *ups, sb_upstream *server, sb_protocol protocol, sb_ns rtt)
{
    if (rtt < 1)
        rtt = 1; /* 0 means unknown */
    server->srtt = server->srtt == 0 ? rtt : server->srtt + (rtt - server->srtt) / 8;
    if (server->srtt < 1)
        server->srtt = 1;
    sb_latency_add(protocol == SB_PROTOCOL_UDP ? &server->udp : &server->stream, rtt);
    sample(server, true);
    server->unanswered = 0;
    server->failures = 0;
    server->last_success = sb_env_now(ups->env);
    server->last_status = SB_OK;
    if (server->breaker != SB_BREAKER_CLOSED)
        breaker_close(ups, server);
    server->backoff = 0;
}

void sb_upstream_failed(sb_upstreams *ups, sb_upstream *server, sb_status status)
{
    sample(server, false);
    if (status != SB_TIMEOUT)
        server->unanswered = 0; /* a bad word is a word */
    sb_ns now = sb_env_now(ups->env);
    /* Broken zones come in clusters: while others are answered, this is the names' own. */
    bool refusal = status == SB_SERVFAIL || status == SB_REFUSED;
    bool works = sb_upstream_works(ups, server);
    if (server->failures < UINT32_MAX && !((refusal || status == SB_MALFORMED) && works))
        server->failures++;
    server->last_failure = now;
    server->last_status = status;
    if (status == SB_TIMEOUT && server->unanswered >= FAILURES_TO_OPEN)
        server->failures += FAILURES_TO_OPEN; /* one question, but several queries */
    if (status == SB_TIMEOUT)
        server->timeouts++;
    else
        server->errors++;
    /* Who answers, be it no, stands in nobody's way unless somebody else can be asked instead. */
    if (refusal && !has_company(ups, server) && server->failures < REFUSALS_TO_OPEN) {
        if (server->breaker != SB_BREAKER_CLOSED)
            breaker_close(ups, server);
        return;
    }
    /* Failures of questions sent before it opened say nothing new: only a probe doubles the
     * back-off. */
    if (server->breaker == SB_BREAKER_HALF_OPEN ||
        (server->breaker == SB_BREAKER_CLOSED && server->failures >= FAILURES_TO_OPEN))
        breaker_open(ups, server, status);
}

/* In some pool of its own another server lets questions through. */
static bool has_company(const sb_upstreams *ups, const sb_upstream *server)
{
    for (size_t i = 0; i < ups->pool_count; i++) {
        const sb_pool *pool = &ups->pools[i];
        bool member = false, other = false;
        for (unsigned k = 0; k < pool->count; k++) {
            member |= pool->servers[k] == server;
            other |= pool->servers[k] != server && pool->servers[k]->breaker == SB_BREAKER_CLOSED;
        }
        if (member && other)
            return true;
    }
    return false;
}

void sb_upstream_failed_again(sb_upstreams *ups, sb_upstream *server, sb_status status)
{
    server->last_failure = sb_env_now(ups->env);
    server->last_status = status;
    server->errors++;
    server->unanswered *=
        status == SB_TIMEOUT; /* of a name asked before it died: no sign of life */
    sb_upstream_probe_cancelled(ups, server);
}

void sb_upstream_probe_begin(sb_upstreams *ups, sb_upstream *server)
{
    server->breaker = SB_BREAKER_HALF_OPEN;
    server->probed_at = sb_env_now(ups->env);
    server->open_until = sb_env_now(ups->env) + sb_upstream_attempt_timeout(server);
}

void sb_upstream_probe_cancelled(sb_upstreams *ups, sb_upstream *server)
{
    if (server->breaker != SB_BREAKER_HALF_OPEN)
        return;
    server->breaker = SB_BREAKER_OPEN;
    server->open_until = sb_env_now(ups->env);
}

void sb_upstreams_on_recovery(sb_upstreams *ups, void (*call)(void *context), void *context)
{
    ups->on_recovery = call;
    ups->recovery_context = context;
}

void sb_upstreams_reset(sb_upstreams *ups)
{
    ups->secret_until = 0;
    sb_list_each (it, &ups->servers) {
        sb_upstream *server = sb_container_of(it, sb_upstream, link);
        sb_conns_renew(server); /* first: what fails by it is forgotten below */
        sb_manners_forget(&server->manners);
        if (server->breaker != SB_BREAKER_CLOSED)
            breaker_close(ups, server);
        server->failures = server->loss_permille = server->repeated_in_row = 0;
        server->backoff = 0;
        server->srtt = 0;
        server->unanswered = 0;
        server->udp = server->stream = (sb_latency){0};
        server->success_permille = 1000;
        server->one_by_one_until = 0;
        server->loop_probed_at = 0;
        sb_upstream_datagram_answered(server);
    }
}

static unsigned find_excluded(const sb_upstreams *ups, const sb_addr *server)
{
    unsigned i = 0;
    while (i < ups->excluded_count && !sb_addr_equal(&ups->excluded[i].addr, server))
        i++;
    return i;
}

bool sb_upstreams_exclude(sb_upstreams *ups, const sb_addr *server, const char *why)
{
    unsigned i = find_excluded(ups, server);
    if (i < ups->excluded_count || i == SB_EXCLUDED_MAX)
        return false;
    ups->excluded[i].addr = *server;
    ups->excluded[i].probed_at = sb_env_now(ups->env);
    (void)snprintf(ups->excluded[i].why, sizeof ups->excluded[i].why, "%s", why);
    ups->excluded_count++;
    return true;
}

bool sb_upstreams_include(sb_upstreams *ups, const sb_addr *server)
{
    unsigned i = find_excluded(ups, server);
    if (i == ups->excluded_count)
        return false;
    ups->excluded[i] = ups->excluded[--ups->excluded_count];
    return true;
}

void sb_upstreams_include_all(sb_upstreams *ups)
{
    ups->excluded_count = 0;
}

bool sb_upstreams_excluded_due(const sb_upstreams *ups, sb_ns age, sb_addr *ret_server)
{
    sb_ns now = sb_env_now(ups->env);
    for (unsigned i = 0; i < ups->excluded_count; i++)
        if (now - ups->excluded[i].probed_at >= age) {
            *ret_server = ups->excluded[i].addr;
            return true;
        }
    return false;
}

size_t sb_upstreams_excluded(const sb_upstreams *ups, sb_addr *ret_servers, size_t max)
{
    size_t n = ups->excluded_count < max ? ups->excluded_count : max;
    for (size_t i = 0; i < n; i++)
        ret_servers[i] = ups->excluded[i].addr;
    return n;
}

void sb_upstreams_loop_probed(sb_upstreams *ups, const sb_addr *server)
{
    sb_ns now = sb_env_now(ups->env);
    unsigned i = find_excluded(ups, server);
    if (i < ups->excluded_count)
        ups->excluded[i].probed_at = now;
    sb_list_each (it, &ups->servers) {
        sb_upstream *up = sb_container_of(it, sb_upstream, link);
        if (sb_addr_equal(&up->addr, server))
            up->loop_probed_at = now;
    }
}

bool sb_upstreams_each(const sb_upstreams *ups, bool (*visit)(void *context, const sb_upstream *),
                       void *context)
{
    sb_list_each (it, &ups->servers) {
        const sb_upstream *server = sb_container_of(it, sb_upstream, link);
        if (server->pools > 0 && !visit(context, server))
            return false;
    }
    return true;
}

const uint8_t *sb_upstreams_secret(sb_upstreams *ups)
{
    sb_ns now = sb_env_now(ups->env);
    if (ups->secret_until == 0 || ups->secret_until <= now) {
        ups->env->ops->entropy(ups->env, ups->secret, sizeof ups->secret);
        ups->secret_until = now + SECRET_FOR;
    }
    return ups->secret;
}

sb_env *sb_upstreams_env(const sb_upstreams *ups)
{
    return ups->env;
}

sb_stats *sb_upstreams_stats(const sb_upstreams *ups)
{
    return ups->stats;
}

sb_events *sb_upstreams_events(const sb_upstreams *ups)
{
    return ups->events;
}

static bool pool_set_init(pool_set *set, size_t count)
{
    set->pools = sb_calloc(count, sizeof *set->pools);
    set->count = count;
    if (!set->pools)
        return false;
    set->pools[0].suffix = (sb_name){.size = 1};
    return true;
}

static void pool_set_fini(pool_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        sb_pool *pool = &set->pools[i];
        for (unsigned k = 0; k < pool->count; k++) {
            pool->servers[k]->pools--;
            sb_upstream_unref(pool->servers[k]);
        }
        sb_free(pool->servers);
        sb_free(pool->tiers);
    }
    sb_free(set->pools);
}

/* With all servers dead and nobody asking, the question of before is all there is to probe with. */
static void keep_probe(const sb_upstreams *ups, sb_pool *pool)
{
    for (size_t i = 0; i < ups->pool_count; i++) {
        if (!sb_name_equal(&ups->pools[i].suffix, &pool->suffix))
            continue;
        pool->probe = ups->pools[i].probe;
        pool->probe_answered = ups->pools[i].probe_answered;
    }
}

/* False when memory is out; what was filled so far is consistent. */
static bool pool_fill(sb_upstreams *ups, sb_pool *pool, const sb_settings *settings,
                      const sb_server_setting *servers, size_t count)
{
    if (count == 0)
        return true;
    pool->servers = sb_calloc(count, sizeof(sb_upstream *));
    pool->tiers = sb_calloc(count, sizeof *pool->tiers);
    if (!pool->servers || !pool->tiers)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (is_own(ups, settings, &servers[i].addr)) {
            char text[SB_ADDR_TEXT_MAX];
            sb_log(UPSTREAM, WARN, "own address is no upstream", "server=%s",
                   sb_addr_text_port(&servers[i].addr, text));
            pool->left_out = "the only upstream server is this daemon itself";
            continue;
        }
        unsigned excluded = find_excluded(ups, &servers[i].addr);
        if (excluded < ups->excluded_count) {
            pool->left_out = ups->excluded[excluded].why;
            continue;
        }
        sb_upstream *server = server_get(ups, &servers[i]);
        if (!server)
            return false;
        bool twice = false;
        for (unsigned k = 0; k < pool->count; k++)
            twice = twice || pool->servers[k] == server;
        if (twice)
            continue;
        pool->tiers[pool->count] = servers[i].tier;
        pool->servers[pool->count++] = sb_upstream_ref(server);
        server->pools++;
    }
    return true;
}

static sb_upstream *server_find(sb_upstreams *ups, const sb_server_setting *setting)
{
    bool tls = setting->tls_name != NULL;
    sb_list_each (it, &ups->servers) {
        sb_upstream *known = sb_container_of(it, sb_upstream, link);
        if (sb_addr_equal(&known->addr, &setting->addr) && known->tls == tls &&
            (!tls || strcmp(known->tls_name, setting->tls_name) == 0))
            return known;
    }
    return NULL;
}

/* Once the new pools stand: a server in use changes with them or not at all. */
static void settle(sb_upstreams *ups, const sb_settings *settings, const sb_server_setting *servers,
                   size_t count)
{
    for (size_t i = 0; i < count; i++) {
        sb_upstream *server =
            is_own(ups, settings, &servers[i].addr) ? NULL : server_find(ups, &servers[i]);
        if (server)
            server_settle(server, &servers[i]);
    }
}

/* The server of that address, known (as it is) or new. A new one has no reference yet: the caller
 * takes the first. */
static sb_upstream *server_get(sb_upstreams *ups, const sb_server_setting *setting)
{
    bool tls = setting->tls_name != NULL;
    sb_upstream *known = server_find(ups, setting), *server;
    if (known)
        return known;
    server = sb_new(sb_upstream);
    if (!server)
        return NULL;
    server->addr = setting->addr;
    server->tls = tls;
    server->success_permille = 1000;
    sb_list_init(&server->exchanges);
    if (tls)
        (void)snprintf(server->tls_name, sizeof server->tls_name, "%s", setting->tls_name);
    server_settle(server, setting);
    sb_list_push(&ups->servers, &server->link);
    return server;
}

/* What a reload may change about a server that stays. */
static void server_settle(sb_upstream *server, const sb_server_setting *setting)
{
    char text[SB_ADDR_TEXT_MAX];
    const char *name =
        setting->name && setting->name[0] ? setting->name : sb_addr_text_port(&setting->addr, text);
    (void)snprintf(server->name, sizeof server->name, "%s", name);
    bool verified = server->tls && server->tls_name[0];
    server->trust_ad =
        setting->trust_ad == SB_TRUST_YES ||
        (setting->trust_ad == SB_TRUST_AUTO && (verified || sb_addr_is_loopback(&setting->addr)));
}

/* A listener on the any-address owns every address of this machine: those whose source address is
 * themselves. */
static bool is_own(sb_upstreams *ups, const sb_settings *settings, const sb_addr *addr)
{
    for (size_t i = 0; i < settings->listen.dns_count; i++) {
        const sb_addr *own = &settings->listen.dns[i];
        sb_addr source;
        if (sb_addr_equal(own, addr))
            return true;
        if (own->port != addr->port || !sb_addr_is_any(own))
            continue;
        if (sb_addr_is_loopback(addr))
            return true;
        if (ups->env->ops->source_address(ups->env, addr, &source) == SB_OK &&
            sb_addr_same_host(&source, addr))
            return true;
    }
    return false;
}

/* Half-open: the probe was given its time; one that never reported back does not block the next. */
/* Half of what is missing comes back in every period without a failure: no address is bad for ever.
 */
static void forgive(sb_upstreams *ups, sb_upstream *server)
{
    sb_ns now = sb_env_now(ups->env);
    if (server->success_permille >= 1000 || now - server->last_failure < FORGIVE_EVERY)
        return;
    server->success_permille += (1000 - server->success_permille + 1) / 2;
    server->last_failure = now;
}

/* What a question costs when it begins here: the answer's usual time, or its delay and another's.
 */
static sb_ns expected(const sb_upstream *server)
{
    sb_ns median = quantile(server, 500);
    sb_ns lost = sb_upstream_hedge_delay(server) + (median ? median : HEDGE_UNKNOWN);
    return median + (sb_ns)(1000 - server->success_permille) * lost / 1000;
}

/* a stands after b in the configured order. */
static bool is_better(const sb_upstreams *ups, const sb_upstream *a, const sb_upstream *b)
{
    if (!ups->equals && !sb_upstream_is_shaky(b))
        return false;
    return expected(a) < expected(b);
}

static void breaker_open(sb_upstreams *ups, sb_upstream *server, sb_status why)
{
    bool change = server->breaker == SB_BREAKER_CLOSED;
    sb_ns backoff = server->backoff ? server->backoff * 2 : BACKOFF_MIN;
    server->backoff = backoff > BACKOFF_MAX ? BACKOFF_MAX : backoff;
    sb_ns quarter = server->backoff / 4;
    sb_ns wait = server->backoff + sb_rand_range(&ups->env->rand, -quarter, quarter);
    if (wait > BACKOFF_MAX)
        wait = BACKOFF_MAX;
    server->breaker = SB_BREAKER_OPEN;
    server->open_until = sb_env_now(ups->env) + wait;
    if (!change)
        return;
    server->opened_at = sb_env_now(ups->env);
    emit(ups, SB_EVENT_SERVER_DOWN, server, why);
    sb_log(UPSTREAM, WARN, "upstream down", "server=%s reason=%s failures=%u", SB_Q(server->name),
           SB_Q(sb_status_text(why)), server->failures);
}

static void breaker_close(sb_upstreams *ups, sb_upstream *server)
{
    server->breaker = SB_BREAKER_CLOSED;
    server->open_until = 0;
    server->backoff = 0;
    server->unanswered = 0;
    emit(ups, SB_EVENT_SERVER_UP, server, SB_OK);
    sb_log(UPSTREAM, INFO, "upstream up", "server=%s", SB_Q(server->name));
    if (!sb_timer_armed(&ups->recovery))
        sb_timer_set(ups->env, &ups->recovery, sb_env_now(ups->env));
}

static void recovery_fire(sb_timer *timer)
{
    sb_upstreams *ups = sb_container_of(timer, sb_upstreams, recovery);
    if (ups->on_recovery)
        ups->on_recovery(ups->recovery_context);
}

static void emit(sb_upstreams *ups, sb_event_type type, const sb_upstream *server, sb_status status)
{
    sb_events_emit(ups->events, (sb_event){.type = (uint16_t)type,
                                           .status = (uint8_t)status,
                                           .server = server->addr,
                                           .a = server->failures});
}
