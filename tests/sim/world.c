/* See world.h: a world's life from seed to verdict, and the laws about packets and events. */
#include "sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "dns/rdata.h"
#include "net/exchange.h"
#include "net/loop.h"
#include "net/probe.h"
#include "resolve/pins.h"

#define WORLD_LENGTH (500 * SB_S) /* ten minutes with the recovery */
#define RECOVERY (115 * SB_S)     /* the longest healing, with room for questions after it */
#define QUESTIONS_LEAST 200u
#define HEDGE_BURST 50u
#define AT_ONCE (2 * SB_MS)
#define PROBES_MOST 10u /* in ten seconds, as they are a second apart */

static void choose(world *w);
static void limits(world *w);
/* With every breaker open what is known is said at once. */
static void patience(world *w, const ask *a)
{
    sb_ns took = sim_now(w->s) - a->asked_at;
    if (!a->dead_at_ask || !a->word || took <= AT_ONCE || w->o.trouble ||
        (a->way != WAY_ENGINE && a->way != WAY_DATAGRAM))
        return;
    oracle_fail(&w->o, "%s: known, every server known dead, and still %.3f s",
                oracle_text(&a->question), (double)took / (double)SB_S);
}

static void replied(void *context, ask *a, const uint8_t *bytes, size_t size,
                    const sb_query *query);
static void broken(void *context, ask *a, const char *what);
static void said(void *context, server *sv, const sb_question *question, const uint8_t *bytes,
                 size_t size, sb_ns latest);
static void packet(void *context, const sim_packet *p);
static void upstream_query(world *w, const sim_packet *p, const server *sv, const sb_msg *query);
static void storm(world *w, const sb_name *name, bool dead);
static void forge(world *w, const sim_packet *p, const server *sv, const sb_msg *query);
static size_t lucky(world *w, const sb_msg *query, uint8_t *bytes, size_t size);
static void hedge_budget(world *w, const sb_addr *before, bool first);
static void single_flight(world *w, const sb_event *e);
static void event(void *context, const sb_event *e);
static void quiet(void *context, sb_log_level level, const char *line, size_t size);
static void finish(world *w);

static const char *const actor_text[] = {
#define ACTOR_TEXT(id, text) text,
    WORLD_ACTOR_TABLE(ACTOR_TEXT)
#undef ACTOR_TEXT
};

world *world_new(void)
{
    world *w = calloc(1, sizeof *w);
    SB_ASSERT(w);
    w->s = sim_new();
    return w;
}

void world_free(world *w)
{
    sim_free(w->s);
    free(w);
}

void world_describe(const world *w, char *buffer, size_t capacity)
{
    size_t at = 0;
    buffer[0] = 0;
    for (unsigned i = 0; i < ACTOR_COUNT; i++) {
        if (!world_has(w, (world_actor)i))
            continue;
        int n = snprintf(buffer + at, capacity - at, "%s%s", at ? ", " : "", actor_text[i]);
        if (n < 0 || (size_t)n >= capacity - at)
            return;
        at += (size_t)n;
    }
}

bool world_run(world *w, uint64_t seed, bool verbose)
{
    int64_t live = memory_live();
    sim_reset(w->s, seed);
    sim_verbose(w->s, verbose);
    w->seed = seed;
    w->verbose = verbose;
    w->outage = w->crash_pending = w->calm = false;
    w->network = 1;
    w->damaged = false;
    w->moves = 0;
    w->setting_now = 0;
    w->questions = 0;
    w->evictions_seen = 0;
    w->window_index = w->window_count = w->window_probes = 0;
    w->window_flights = 0;
    SB_ASSERT(sb_name_parse("corp.test", 9, &w->route, NULL) == SB_OK);
    memset(w->asked, 0, sizeof w->asked);
    w->all_bad_since = SB_NEVER;
    w->refused_at = w->up_at = 0;
    sb_log_set_sink(quiet, w);
    for (unsigned i = 0; i < SB_LOG_SUBSYSTEM_COUNT; i++)
        sb_log_set_level((sb_log_subsystem)i, verbose ? SB_LOG_DEBUG : SB_LOG_ERROR);
    choose(w);
    sb_rand *r = sim_rand(w->s);
    /* One draw a statement, here and elsewhere: C leaves the order of arguments to the compiler. */
    bool split = sb_rand_chance(r, 600);
    unsigned nodes = 8 + (unsigned)sb_rand_below(r, 24);
    zone_init(&w->z, w->s, nodes, world_has(w, ACTOR_BIG), split, world_has(w, ACTOR_MOVING));
    oracle_init(&w->o, w->s, &w->z);
    w->sworld = (server_world){.said = said, .context = w};
    world_servers(w);
    world_health(w);
    world_settings(w);
    limits(w);
    client_init(&w->c, w->s, &w->d);
    w->c.context = w;
    w->c.replied = replied;
    w->c.broken = broken;
    sim_on_packet(w->s, packet, w);
    w->d = (subject){.s = w->s};
    w->started = sim_now(w->s);
    w->end = w->started + WORLD_LENGTH;
    if (world_has(w, ACTOR_NO_DISK))
        sim_fault(w->s)->map_create = SB_NOSPACE;
    if (world_start_subject(w)) {
        if (world_has(w, ACTOR_NO_SOCKETS))
            sim_fault(w->s)->open = 30;
        if (world_has(w, ACTOR_NO_MEMORY))
            memory_fail(3, sim_rand(w->s));
        world_schedule(w);
        while (!w->o.failure[0] &&
               (sim_now(w->s) < w->end || (w->questions < QUESTIONS_LEAST && w->questions > 0)))
            (void)sim_step(w->s, sim_now(w->s) < w->end ? w->end : sim_now(w->s) + SB_S);
        world_recover(w);
        sb_ns last = sim_now(w->s) + RECOVERY;
        while (!w->o.failure[0] && sim_step(w->s, last)) {
        }
    }
    finish(w);
    if (memory_live() != live)
        oracle_fail(&w->o, "%lld blocks of memory leaked", (long long)(memory_live() - live));
    w->trace = sim_trace(w->s);
    w->total_questions += w->questions;
    w->total_packets += sim_packets_sent(w->s);
    return w->o.failure[0] == 0;
}

/* Three to nine actors. What makes failure legitimate everywhere is rare. */
static void choose(world *w)
{
    sb_rand *r = sim_rand(w->s);
    unsigned n = 3 + (unsigned)sb_rand_below(r, 7);
    w->actors = 0;
    while (n > 0) {
        unsigned actor = (unsigned)sb_rand_below(r, ACTOR_MANNERS);
        if ((actor == ACTOR_NO_MEMORY || actor == ACTOR_NO_SOCKETS || actor == ACTOR_NO_DISK) &&
            !sb_rand_chance(r, 250))
            continue;
        if (!world_has(w, (world_actor)actor))
            n--;
        w->actors |= (uint64_t)1 << actor;
    }
    world_manners_choose(w);
}

/* --- settings --- */

static const sb_server_setting *server_settings(sb_settings *s, const world *w, unsigned from,
                                                unsigned n)
{
    sb_server_setting *servers = sb_arena_alloc(&s->arena, n * sizeof *servers);
    SB_ASSERT(servers);
    for (unsigned i = 0; i < n; i++) {
        servers[i].addr = w->servers[from + i].host.addr;
        servers[i].name = sb_arena_strdup(&s->arena, w->servers[from + i].name);
        servers[i].trust_ad = SB_TRUST_YES;
    }
    return servers;
}

static sb_probe_setting probe_of(const world *w)
{
    if (!world_has(w, ACTOR_LIVES))
        return (sb_probe_setting){0};
    return (sb_probe_setting){.kind = SB_PROBE_TCP, .port = WORLD_PORT, .every = 10 * SB_S};
}

static void name_rules(sb_settings *s, world *w)
{
    unsigned each = w->z.node_count / 4, n = 0;
    sb_name_setting *rules = sb_arena_alloc(&s->arena, 2 * each * sizeof *rules);
    sb_addr *addresses = sb_arena_alloc(&s->arena, 2 * each * sizeof *addresses);
    SB_ASSERT(rules && addresses);
    for (unsigned i = 0; i < each && world_has(w, ACTOR_EMERGENCY); i++) {
        unsigned id = 4 * i;
        addresses[2 * i] = zone_address(ORIGIN_EMERGENCY, (uint8_t)id, 0, 1, SB_TYPE_A);
        addresses[2 * i + 1] = zone_address(ORIGIN_EMERGENCY, (uint8_t)id, 0, 1, SB_TYPE_AAAA);
        w->z.nodes[id].emergency = w->z.nodes[id].protect = true;
        rules[n++] = (sb_name_setting){.match = w->z.nodes[id].name,
                                       .emergency = &addresses[2 * i],
                                       .emergency_count = 2,
                                       .has_confirm = true,
                                       .protect_confirm = w->o.limits.confirm,
                                       .has_max = true,
                                       .protect_max = w->o.limits.doubt_most,
                                       .probe = probe_of(w)};
    }
    for (unsigned i = 0; i < each && world_has(w, ACTOR_PROTECTED); i++) {
        unsigned id = 4 * i + 1;
        w->z.nodes[id].protect = true;
        rules[n++] = (sb_name_setting){.match = w->z.nodes[id].name,
                                       .protect = true,
                                       .has_protect = true,
                                       .has_confirm = true,
                                       .protect_confirm = w->o.limits.confirm,
                                       .has_max = true,
                                       .protect_max = w->o.limits.doubt_most,
                                       .probe = probe_of(w)};
    }
    s->names = rules;
    s->name_count = n;
}

static const char *no_variable(void *context, const char *name)
{
    (void)context;
    (void)name;
    return NULL;
}

static const sb_settings *make_settings(world *w, unsigned which)
{
    static const uint32_t caps[] = {5, 30, 60, 300, 300, 300, 86400};
    sb_rand *r = sim_rand(w->s);
    sb_settings *s;
    sb_why why;
    SB_ASSERT(sb_settings_new(no_variable, NULL, true, &s) == SB_OK);
    sb_addr *listen = sb_arena_alloc(&s->arena, sizeof *listen);
    SB_ASSERT(listen);
    *listen = sb_addr_4((const uint8_t[4]){127, 0, 0, 1}, 53);
    s->listen.dns = listen;
    s->listen.dns_count = 1;
    unsigned used = which == 1 && w->main_count > 1 && sb_rand_chance(r, 300) ? 1 : w->main_count;
    w->o.lone = w->o.lone || used == 1;
    s->upstreams = server_settings(s, w, 0, used);
    s->upstream_count = used;
    if (w->server_count > w->main_count) {
        sb_route_setting *route = sb_arena_alloc(&s->arena, sizeof *route);
        SB_ASSERT(route);
        route->suffix = w->route;
        route->server_count = w->server_count - w->main_count;
        w->o.lone = w->o.lone || route->server_count == 1;
        route->servers = server_settings(s, w, w->main_count, (unsigned)route->server_count);
        s->routes = route;
        s->route_count = 1;
    }
    s->query.timeout = 10 * SB_S;
    s->query.attempts = 2 + (unsigned)sb_rand_below(r, 6);
    s->cache.ttl_max_s = caps[sb_rand_below(r, SB_ARRAY_SIZE(caps))];
    s->cache.ttl_min_s = sb_rand_chance(r, 150) ? 3 : 0;
    s->cache.negative_ttl_max_s = sb_rand_chance(r, 300) ? 10 : 300;
    s->cache.keep = world_has(w, ACTOR_SHORT_KEEP) ? 40 * SB_S : 3 * 86400 * SB_S;
    s->cache.recheck = sb_rand_chance(r, 500) ? 30 * SB_S : 2 * SB_S;
    s->cache.patience = sb_rand_chance(r, 700) ? -1 : sb_rand_range(r, 0, 1500 * SB_MS);
    s->cache.size_bytes = (size_t)SB_L1_SIZE_MIN << (sb_rand_chance(r, 200) ? 1 : 0);
    s->query.doubt_window = w->o.doubt_window;
    name_rules(s, w);
    if (sb_settings_freeze(s, &why) != SB_OK) {
        fprintf(stderr, "sim: settings: %s\n", why.text);
        abort();
    }
    return s;
}

void world_settings(world *w)
{
    sb_rand *r = sim_rand(w->s);
    w->o.limits.confirm = sb_rand_range(r, 10 * SB_S, 150 * SB_S);
    w->o.limits.doubt_most = w->o.limits.confirm + sb_rand_range(r, 0, 300 * SB_S);
    w->o.doubt_window = world_has(w, ACTOR_MOVING) ? sb_rand_range(r, 0, 60 * SB_S) : 300 * SB_S;
    w->settings[0] = make_settings(w, 0);
    w->settings[1] = make_settings(w, 1);
}

static uint32_t most(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static void limits(world *w)
{
    const sb_settings *a = w->settings[0], *b = w->settings[1];
    w->o.limits = (oracle_limits){
        .ttl_min_s = most(a->cache.ttl_min_s, b->cache.ttl_min_s),
        .ttl_max_s = most(a->cache.ttl_max_s, b->cache.ttl_max_s),
        .negative_ttl_max_s = most(a->cache.negative_ttl_max_s, b->cache.negative_ttl_max_s),
        .keep_least = a->cache.keep - SB_S / SB_TICKS_PER_S, /* what the cache file tells apart */
        .keep_most = a->cache.keep,
        .stale_ttl_s = a->cache.stale_ttl_s,
        .confirm = w->o.limits.confirm,
        .doubt_most = w->o.limits.doubt_most,
        .recheck = a->cache.recheck > b->cache.recheck ? a->cache.recheck : b->cache.recheck,
    };
    /* An alias without SOA looks open. */
    w->o.quick = w->o.quick && !world_has(w, ACTOR_BIG) && !world_has(w, ACTOR_TRUNCATING) &&
                 !world_has(w, ACTOR_FORGER) && /* near misses move to TCP */
                 !world_has(w, ACTOR_NO_EDNS) && w->actors >> ACTOR_MANNERS == 0 &&
                 (a->cache.patience < 0 || a->cache.patience > 20 * SB_MS) &&
                 (b->cache.patience < 0 || b->cache.patience > 20 * SB_MS);
    w->o.no_edns = world_has(w, ACTOR_NO_EDNS);
    w->o.open_chains = world_has(w, ACTOR_OPEN_CHAINS) || world_has(w, ACTOR_BARE);
    /* An exchange of the earlier server lasts four seconds at most (EXCHANGE_MOST of the wire). */
    w->o.hold = w->main_count > 1 || w->server_count > w->main_count + 1 ? 4 * SB_S : 0;
    w->o.slowest = 0;
    for (unsigned i = 0; i < w->server_count; i++) {
        bool late = world_has(w, ACTOR_SLOW) || world_has(w, ACTOR_STUTTERING);
        if (late && w->servers[i].slow > w->o.slowest)
            w->o.slowest = w->servers[i].slow;
    }
    w->o.no_soa = world_has(w, ACTOR_BARE);
    w->o.trouble = world_has(w, ACTOR_NO_MEMORY) || world_has(w, ACTOR_NO_SOCKETS);
    w->o.verdicts = world_has(w, ACTOR_VERDICTS);
}

/* --- life --- */

bool world_start_subject(world *w)
{
    sb_why why = {""};
    subject_options options = {
        .settings = w->settings[w->setting_now], .events = event, .context = w};
    memory_pause(true);
    sb_status status = SB_LIMIT;
    memset(w->flights, 0, sizeof w->flights);
    memset(w->under_way, 0, sizeof w->under_way);
    w->hedges_seen = w->hedges_paid = w->flights_begun = w->climbs_begun = 0;
    w->started_at = w->dead_since[0] = w->dead_since[1] = sim_now(w->s);
    /* What starts while descriptors run out is started again, as a service manager does. */
    for (unsigned i = 0; i < 50 && status != SB_OK; i++)
        status = subject_start(&w->d, w->s, &options, &why);
    memory_pause(false);
    if (status != SB_OK)
        oracle_fail(&w->o, "the program did not start: %s", why.text);
    else if (!sb_l1_in_file(w->d.l1) && !world_has(w, ACTOR_NO_DISK))
        oracle_fail(&w->o, "no cache file: %s", w->d.cache_why.text);
    return status == SB_OK;
}

/* Entries that had to go for room are no longer known. */
void world_check_subject(world *w)
{
    sb_l1_stats stats;
    if (!w->d.up)
        return;
    sb_l1_get_stats(w->d.l1, &stats);
    uint64_t gone = stats.evictions + stats.too_big;
    if (gone == w->evictions_seen)
        return;
    w->evictions_seen = gone;
    oracle_forget(&w->o, NULL);
    for (unsigned id = 0; id < w->z.node_count; id++) {
        if (w->o.pin_since[id])
            w->o.pin_since[id] = SB_NEVER;
    }
}

static void finish(world *w)
{
    memory_fail(0, NULL);
    client_give_up_all(&w->c);
    if (w->d.up) {
        unsigned leaks = subject_stop(&w->d);
        if (leaks)
            oracle_fail(&w->o, "%u sockets, mappings or timers leaked", leaks);
    }
    sb_settings_unref(w->settings[0]);
    sb_settings_unref(w->settings[1]);
    w->settings[0] = w->settings[1] = NULL;
}

/* --- the laws --- */

static void replied(void *context, ask *a, const uint8_t *bytes, size_t size, const sb_query *query)
{
    world *w = context;
    world_check_subject(w);
    sb_msg msg;
    if (query && query->answer && query->provenance.source != SB_SOURCE_PIN &&
        query->degraded != (query->ede == SB_EDE_STALE || query->ede == SB_EDE_STALE_NXDOMAIN ||
                            query->ede == SB_EDE_SYNTHESIZED) &&
        !(query->provenance.flags & SB_PROVENANCE_DUE))
        oracle_fail(&w->o, "degraded %d with EDE %d", query->degraded, query->ede);
    bool stream = a->way == WAY_TCP || a->way == WAY_UNIX || a->way == WAY_ENGINE;
    size_t limit = !a->edns ? 512 : a->udp_size > 1232 ? 1232 : a->udp_size;
    if (!stream && size > limit)
        oracle_fail(&w->o, "a reply of %zu bytes to a client that takes %zu", size, limit);
    if (sb_msg_parse(bytes, size, &msg) == SB_OK && msg.flags & SB_FLAG_TC) {
        if (stream)
            oracle_fail(&w->o, "TC over a stream");
        return;
    }
    oracle_reply reply = {.question = a->question,
                          .asked_at = a->asked_at,
                          .edns = a->edns,
                          .patience = a->deadline - a->asked_at,
                          .dead_at_ask = a->dead_at_ask,
                          .direct = query && query->provenance.source == SB_SOURCE_DNS,
                          .bytes = bytes,
                          .size = size};
    oracle_judge(&w->o, &reply);
    patience(w, a);
    if (w->verbose) {
        fprintf(stderr, "%12.6f reply %s rcode %u answers %u ede %d after %.6f\n",
                (double)sim_now(w->s) / (double)SB_S, oracle_text(&a->question), msg.rcode,
                msg.counts[1], sb_edns_ede(&msg.edns),
                (double)(sim_now(w->s) - a->asked_at) / (double)SB_S);
    }
}

static void broken(void *context, ask *a, const char *what)
{
    world *w = context;
    char name[SB_NAME_TEXT_MAX];
    if (!w->o.trouble)
        oracle_fail(&w->o, "%s (way %u, asked at %.3f s): %s",
                    sb_name_text(&a->question.name, name), a->way,
                    (double)(a->asked_at - 3600 * SB_S) / (double)SB_S, what);
}

static void said(void *context, server *sv, const sb_question *question, const uint8_t *bytes,
                 size_t size, sb_ns latest)
{
    world *w = context;
    if (w->verbose)
        fprintf(stderr, "%12.6f %s says %s rcode %u answers %u authority %u\n",
                (double)sim_now(w->s) / (double)SB_S, sv->name, oracle_text(question),
                bytes[3] & 15, sb_load_u16(bytes + 6), sb_load_u16(bytes + 8));
    /* Names that loop, names of others: three in a row take a server for broken, for a while. */
    unsigned rcode = bytes[3] & 15;
    bool probe = sb_loop_is_probe(&question->name);
    if (!probe && (rcode == SB_RCODE_SERVFAIL || rcode == SB_RCODE_REFUSED) &&
        w->o.healthy_since != SB_NEVER)
        w->o.healthy_since = sim_now(w->s);
    oracle_said(&w->o, question, bytes, size, latest);
}

/* Probes keep to their pace, whatever is denied: a second's worth may lie ready. */
static void probed(world *w)
{
    uint64_t second = (uint64_t)(sim_now(w->s) / SB_S);
    if (second != w->probe_second)
        w->probes = 0;
    w->probe_second = second;
    if (!world_has(w, ACTOR_LIVES))
        oracle_fail(&w->o, "an endpoint was probed, and no port is known");
    if (++w->probes > 2 * SB_PROBES_PER_S_MAX)
        oracle_fail(&w->o, "%u probes in a second", w->probes);
}

static void packet(void *context, const sim_packet *p)
{
    world *w = context;
    sb_msg query;
    if (p->stream && p->to.port == WORLD_PORT)
        probed(w);
    if (p->to.port != 53 || p->stream)
        return;
    for (unsigned i = 0; i < w->server_count; i++) {
        const server *sv = &w->servers[i];
        if (!sb_addr_equal(&p->to, &sv->host.addr))
            continue;
        if (sb_msg_parse(p->bytes, p->size, &query) != SB_OK || !query.has_question) {
            oracle_fail(&w->o, "an upstream query that does not parse");
            return;
        }
        query.question.dnssec_ok = query.edns.present && query.edns.dnssec_ok;
        query.question.checking_disabled = query.flags & SB_FLAG_CD;
        upstream_query(w, p, sv, &query);
        if (world_has(w, ACTOR_FORGER))
            forge(w, p, sv, &query);
        return;
    }
    oracle_fail(&w->o, "a packet to nobody");
}

/* An exchange may need a second query, for its cookie or plainly. */
static bool in_doubt(const world *w)
{
    return world_has(w, ACTOR_FOLDING) || world_has(w, ACTOR_COOKIES) || world_has(w, ACTOR_FORGER);
}

/* The server was asked the same a moment ago: an exchange asks it once more, while another server
 * may have answered. */
static bool goes_on(world *w, uint64_t tag)
{
    bool found = false;
    for (unsigned i = 0; i < SB_ARRAY_SIZE(w->asked); i++)
        found = found || (w->asked[i].tag == tag && sim_now(w->s) - w->asked[i].at < 5 * SB_S);
    w->asked[w->asked_next].tag = tag;
    w->asked[w->asked_next].at = sim_now(w->s);
    w->asked_next = (w->asked_next + 1) % SB_ARRAY_SIZE(w->asked);
    return found && in_doubt(w);
}

static bool is_no_suspect(void *context, const sb_upstream *up)
{
    return !sb_addr_equal(&up->addr, context) || up->suspicion == SB_SUSPICION_NONE;
}

static bool is_suspect(const sb_upstreams *ups, const server *sv)
{
    sb_addr addr = sv->host.addr;
    return !sb_upstreams_each(ups, is_no_suspect, &addr);
}

static void upstream_query(world *w, const sim_packet *p, const server *sv, const sb_msg *query)
{
    const sb_question *q = &query->question;
    w->total_queries++;
    /* At most one outstanding query per question and server. */
    uint64_t tag = sb_name_digest(&q->name) ^ (uint64_t)q->type << 40 ^
                   (uint64_t)(q->dnssec_ok | q->checking_disabled << 1) << 56 ^
                   (uint64_t)(sv - w->servers + 1) << 59;
    if (!query->edns.present && world_has(w, ACTOR_NO_EDNS))
        tag = 0; /* DO is not told without EDNS: two questions look alike */
    (void)sim_socket_tag(w->s, p->socket, tag);
    if (tag && sim_sockets_tagged(w->s, tag) > 1)
        oracle_fail(&w->o, "two queries for %s outstanding at %s", oracle_text(q), sv->name);
    if (sb_edns_option(&query->edns, 8, &(sb_span){0}))
        oracle_fail(&w->o, "client EDNS options leak upstream");
    const zone_node *node = zone_find(&w->z, &q->name);
    if (!node)
        return; /* of junk */
    bool continues = goes_on(w, tag);
    /* A dead route is probed with questions that had good answers, and so is who keeps silent. */
    sb_upstreams *ups = w->d.up ? sb_engine_upstreams(w->d.engine) : NULL;
    bool dead = !ups || sb_pool_dead(ups, sb_upstreams_pool(ups, &q->name));
    world_check_subject(w);
    oracle_key *key = oracle_key_of(&w->o, q);
    /* What was seen before a reload, a flush or a restart may have been stored by other rules. */
    if (key && !dead && !is_suspect(ups, sv) && query->edns.present &&
        w->o.reset_at < key->seen_at && oracle_needless(&w->o, q) && !continues)
        oracle_fail(&w->o, "%s was asked upstream although fresh for %.1f s more", oracle_text(q),
                    (double)(key->fresh_until - sim_now(w->s)) / (double)SB_S);
    if (sv->mode == SERVER_SERVFAIL || sv->mode == SERVER_REFUSED)
        w->refused_at = sim_now(w->s);
    storm(w, &q->name, dead);
}

/* How much goes out in ten seconds when nothing good comes back.
 *
 * Where the program itself has held every server of the question's route for dead for ten seconds
 * (which is longer than any exchange or fresh success can have an echo): probes alone, one a second
 * for all dead routes together. That needs no word about what the servers really are.
 *
 * Where all servers have been bad for a minute, known or not: besides the probes, of each server
 * what it takes to notice: a question in both families, six times each (EXCHANGE_SENDS_ALONE). Who
 * answers SERVFAIL or REFUSED is not dead to the program before ten names in a row: there each
 * flight may ask and, after a pause, ask again. A minute, because questions come seldom: seconds
 * apart, on a route of its own more. */
static void storm(world *w, const sb_name *name, bool dead)
{
    sb_ns now = sim_now(w->s);
    bool routed = w->server_count > w->main_count && sb_name_below(name, &w->route);
    uint64_t index = (uint64_t)(now / (10 * SB_S));
    if (index != w->window_index) {
        w->window_index = index;
        w->window_count = w->window_probes = 0;
        w->window_flights = w->flights_begun;
    }
    /* The first that each old server answers again is repeated without EDNS, which may be lost. */
    unsigned repeated = world_has(w, ACTOR_NO_EDNS) ? 2 * w->server_count : 0;
    if (dead && now - w->dead_since[routed] >= 10 * SB_S &&
        ++w->window_probes > PROBES_MOST + repeated + in_doubt(w))
        oracle_fail(&w->o, "%u queries in ten seconds to servers known to be dead",
                    w->window_probes);
    /* A server that answers from a wrong port may answer right over a stream: it is up then, and
     * what was degraded is asked again (seed 3566). */
    if (w->up_at && now - w->up_at < 10 * SB_S)
        return;
    if (w->all_bad_since == SB_NEVER || now - w->all_bad_since < 60 * SB_S ||
        now - w->started_at < 60 * SB_S)
        return;
    uint64_t most = PROBES_MOST + 2 * SB_EXCHANGE_SENDS_ALONE * w->server_count;
    if (w->refused_at && now - w->refused_at < 10 * SB_S)
        most += 2 * (w->flights_begun - w->window_flights);
    if (++w->window_count > most)
        oracle_fail(&w->o, "a storm: %u queries in ten seconds of a long outage", w->window_count);
}

/* Knows the question and, some of the time, the port; never the ID, or it would be on the path. */
static void forge(world *w, const sim_packet *p, const server *sv, const sb_msg *query)
{
    sb_rand *r = sim_rand(w->s);
    if (!sb_rand_chance(r, 400))
        return;
    bool knows_port = sb_rand_chance(r, 300);
    unsigned n = 1 + (unsigned)sb_rand_below(r, 12);
    for (unsigned i = 0; i < n; i++) {
        uint8_t bytes[SB_EDNS_UDP_SIZE];
        sb_builder b;
        uint16_t id = (uint16_t)(query->id + 1 + sb_rand_below(r, 65535));
        sb_addr to = p->from;
        if (!knows_port) {
            id = sb_rand_chance(r, 500) ? query->id : id;
            to.port = (uint16_t)(1024 + sb_rand_below(r, 60000));
            if (to.port == p->from.port)
                continue;
        }
        sb_builder_init(&b, bytes, sizeof bytes, id, SB_FLAG_QR | SB_FLAG_RA | SB_FLAG_RD);
        sb_builder_question(&b, &query->question);
        zone_forge(NULL, NULL, &query->question, &b);
        size_t size = sb_builder_finish(&b);
        if (knows_port && sb_rand_chance(&w->manners, 50))
            size = lucky(w, query, bytes, size);
        sb_socket hit;
        if (sim_reaches(w->s, &sv->host.addr, &to, &hit) && !knows_port)
            continue; /* another exchange's port: its ID is not known to us */
        sim_inject(w->s, &sv->host.addr, &to, bytes, size, sb_rand_range(r, 0, 10 * SB_MS));
    }
}

/* The ID was guessed as well: the case is not, if the query's was not plain, or else the cookie is
 * not known, if the query shows that the server has sent one. */
static size_t lucky(world *w, const sb_msg *query, uint8_t *bytes, size_t size)
{
    sb_span option;
    const sb_name *name = &query->question.name;
    bool has_cookie = query->edns.present && sb_edns_option(&query->edns, SB_OPT_COOKIE, &option) &&
                      option.size > 8;
    for (unsigned i = 0; i < name->size; i++) {
        if (name->wire[i] < 'A' || name->wire[i] > 'Z')
            continue;
        if (!has_cookie || sb_rand_chance(&w->manners, 500))
            bytes[SB_MSG_HEADER + i] = sb_ascii_lower(name->wire[i]);
        sb_store_u16(bytes, query->id);
        return size;
    }
    if (has_cookie)
        sb_store_u16(bytes, query->id);
    return size;
}

/* One flight per question: of one name and type four, for DO and CD. */
static void single_flight(world *w, const sb_event *e)
{
    int spare = -1;
    unsigned same = 1;
    for (unsigned i = 0; i < SB_ARRAY_SIZE(w->under_way); i++) {
        if (w->under_way[i].flight == 0)
            spare = (int)i;
        else if (w->under_way[i].flight == e->flight && e->type == SB_EVENT_FLIGHT_END)
            w->under_way[i].flight = 0;
        else if (w->under_way[i].name == e->name && w->under_way[i].type == e->a)
            same++;
    }
    if (e->type != SB_EVENT_FLIGHT_START || spare < 0)
        return;
    w->under_way[spare].flight = e->flight;
    w->under_way[spare].name = e->name;
    w->under_way[spare].type = e->a;
    if (same > 4)
        oracle_fail(&w->o, "%u flights for one name and type at once", same);
}

typedef struct shaky {
    sb_addr addr;
    bool found;
} shaky;

static bool find_shaky(void *context, const sb_upstream *up)
{
    shaky *s = context;
    s->found = s->found || (sb_addr_equal(&up->addr, &s->addr) && sb_upstream_is_shaky(up));
    return !s->found;
}

/* A query just left. When it was a hedge, it was paid for, unless the flight's server before it is
 * one that often fails: a second question is no luxury there. */
static void hedge_budget(world *w, const sb_addr *before, bool first)
{
    uint64_t hedges = sb_stats_get(sb_engine_stats(w->d.engine), SB_COUNT_HEDGES);
    bool is_hedge = hedges > w->hedges_seen;
    w->hedges_seen = hedges;
    if (!is_hedge || first) /* first: one before it shared another's exchange */
        return;
    shaky s = {.addr = *before};
    (void)sb_upstreams_each(sb_engine_upstreams(w->d.engine), find_shaky, &s);
    w->hedges_paid += !s.found;
    /* One that joins another flight's query shows with the next, perhaps of a steadier server. */
    if (w->hedges_paid > HEDGE_BURST + w->climbs_begun / 10 + 3)
        oracle_fail(&w->o, "%llu hedges for %llu flights", (unsigned long long)w->hedges_paid,
                    (unsigned long long)w->climbs_begun);
}

static void event(void *context, const sb_event *e)
{
    world *w = context;
    sim_trace_mix(w->s, e, sizeof *e);
    if (w->verbose)
        fprintf(stderr, "%12.6f %-13s flight %u strategy %u status %u a %u b %u\n",
                (double)sim_now(w->s) / (double)SB_S, sb_event_text(e->type), e->flight,
                e->strategy, e->status, e->a, e->b);
    if (e->type == SB_EVENT_FLIGHT_START || e->type == SB_EVENT_FLIGHT_END)
        single_flight(w, e);
    if (e->type == SB_EVENT_NETWORK) /* what is under way climbs its ladder anew */
        memset(w->flights, 0, sizeof w->flights);
    if (e->type == SB_EVENT_PIN && e->b == SB_CUSTODY_PIN)
        world_pin_deed(w, e->name, e->a);
    if (e->type == SB_EVENT_SERVER_UP)
        w->up_at = sim_now(w->s);
    if (e->type == SB_EVENT_SERVER_DOWN) {
        unsigned i = 0;
        while (i < w->server_count && !sb_addr_equal(&w->servers[i].host.addr, &e->server))
            i++;
        w->dead_since[i >= w->main_count] = sim_now(w->s);
    }
    unsigned at = e->flight % WORLD_FLIGHTS;
    w->flights_begun += e->type == SB_EVENT_FLIGHT_START;
    /* A move makes a flight climb its ladder anew, and earn anew. */
    w->climbs_begun += e->type == SB_EVENT_RUNG && e->a == SB_STRATEGY_WIRE;
    if (e->type == SB_EVENT_RUNG && e->a == SB_STRATEGY_DOUBT && w->flights[at].flight == e->flight)
        w->flights[at].doubted = true;
    if (e->type == SB_EVENT_QUERY && e->flight == 0 && e->b > 0 && e->a == SB_PROTOCOL_UDP &&
        in_doubt(w) && w->window_probes > 0)
        w->window_probes--; /* no probe of its own */
    bool probe = e->type == SB_EVENT_QUERY && e->flight == 0;
    for (unsigned id = 0; probe && id < w->z.node_count; id++)
        if (e->name == sb_name_digest(&w->z.nodes[id].name))
            w->o.probed[id] = sim_now(w->s);
    if (e->type != SB_EVENT_QUERY || e->flight == 0)
        return;
    if (w->flights[at].flight != e->flight) {
        w->flights[at].flight = e->flight;
        w->flights[at].first = w->flights[at].all = 0;
        w->flights[at].doubted = false;
    }
    hedge_budget(w, &w->flights[at].last, w->flights[at].all == 0);
    w->flights[at].last = e->server;
    w->flights[at].first += e->b == 0;
    unsigned attempts = most(w->settings[0]->query.attempts, w->settings[1]->query.attempts);
    if (w->o.open_chains)
        attempts *= 13;                 /* each link of a chain is a question */
    attempts += w->flights[at].doubted; /* the second opinion */
    if (w->flights[at].first > attempts)
        oracle_fail(&w->o, "flight %u sent %u queries, %u are allowed", e->flight,
                    w->flights[at].first, attempts);
    /* Each attempt may go out over UDP, over TCP, off a connection that ends, and all that again,
     * without EDNS or case. */
    if (++w->flights[at].all > 6 * attempts)
        oracle_fail(&w->o, "flight %u sent %u messages", e->flight, w->flights[at].all);
}

static void quiet(void *context, sb_log_level level, const char *line, size_t size)
{
    const world *w = context;
    (void)level;
    if (w->verbose)
        fprintf(stderr, "%12.6f log %.*s\n", (double)sim_now(w->s) / (double)SB_S, (int)size, line);
}
