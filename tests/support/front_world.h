/* A simulated machine for the tests of the fronts: engine, cache in memory, and one upstream that
 * answers by the first label of the name. One thread.
 *
 *   a…   A 192.0.2.1 · slow…  the same after 300 ms · nx…  NXDOMAIN · fail…  SERVFAIL
 *   mute…  nothing · big…  60 TXT records (TC over UDP) · ad…  A with AD · cname… CNAME to a.<rest>
 */
#ifndef SB_TESTS_FRONT_WORLD_H
#define SB_TESTS_FRONT_WORLD_H

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "dns/rdata.h"
#include "net/loop.h"
#include "resolve/engine.h"
#include "sim/sim_env.h"

#define WORLD_CLIENTS 4

typedef struct world {
    sim *s;
    sb_env *env;
    sb_l1 *l1;
    sb_engine *engine;
    const sb_settings *settings;
    sim_host upstream;
    unsigned asked;          /* queries the upstream saw */
    uint8_t last_asked[512]; /* the latest of them */
    size_t last_asked_size;
    uint8_t stream[70000]; /* of the upstream's TCP */
    size_t stream_size;
} world;

static inline const char *world_getenv(void *context, const char *name)
{
    (void)context;
    (void)name;
    return NULL;
}

static inline sb_addr world_addr(const char *text)
{
    sb_addr addr = {0};
    SB_ASSERT(sb_addr_parse_port(text, strlen(text), 53, &addr));
    return addr;
}

static inline sb_name world_name(const char *text)
{
    sb_name name = {0};
    SB_ASSERT(sb_name_parse(text, strlen(text), &name, NULL) == SB_OK);
    return name;
}

/* In any case: the names of queries come in mixed letters. */
static inline bool world_label(const sb_name *name, const char *start)
{
    sb_name folded = *name;
    sb_name_fold(&folded);
    return folded.wire[0] >= strlen(start) && memcmp(folded.wire + 1, start, strlen(start)) == 0;
}

/* The upstream's reply; 0: silence. */
static inline size_t world_reply(const sb_msg *msg, bool udp, uint8_t *out, size_t capacity)
{
    static const uint8_t address[4] = {192, 0, 2, 1};
    const sb_question *q = &msg->question;
    uint16_t flags = SB_FLAG_QR | SB_FLAG_RD | SB_FLAG_RA;
    sb_builder b;
    sb_name owner = q->name;
    if (world_label(&q->name, "mute"))
        return 0;
    if (world_label(&q->name, "ad"))
        flags |= SB_FLAG_AD;
    if (world_label(&q->name, "fail"))
        flags |= SB_RCODE_SERVFAIL;
    bool big = world_label(&q->name, "big");
    if (big && udp)
        flags |= SB_FLAG_TC;
    bool nx = world_label(&q->name, "nx");
    sb_builder_init(&b, out, capacity, msg->id, (uint16_t)(flags | (nx ? SB_RCODE_NXDOMAIN : 0)));
    sb_builder_question(&b, q);
    if (world_label(&q->name, "cname")) {
        sb_name parent = sb_name_parent(&q->name, 1), prefix = world_name("a");
        SB_ASSERT(sb_name_join(&prefix, &parent, &owner));
        sb_builder_record(&b, SB_SECTION_ANSWER, &q->name, SB_TYPE_CNAME, SB_CLASS_IN, 300,
                          (sb_span){owner.wire, owner.size});
    }
    bool texts = big && q->type != SB_TYPE_AAAA;
    for (unsigned i = 0; texts && !udp && i < 60; i++) {
        uint8_t text[41] = {40};
        memset(text + 1, 'a' + (int)(i % 26), 40);
        sb_builder_record(&b, SB_SECTION_ANSWER, &owner, SB_TYPE_TXT, SB_CLASS_IN, 300,
                          (sb_span){text, sizeof(text)});
    }
    if (q->type == SB_TYPE_A && !nx && !world_label(&q->name, "fail"))
        sb_builder_record(&b, SB_SECTION_ANSWER, &owner, SB_TYPE_A, SB_CLASS_IN, 300,
                          (sb_span){address, 4});
    else if (!texts && !world_label(&q->name, "fail")) {
        uint8_t soa[22] = {0, 0, 0, 0, 0, 1, 0, 0, 0, 60, 0, 0, 0, 60, 0, 0, 0, 60, 0, 0, 0, 60};
        sb_name zone = sb_name_parent(&q->name, 1);
        sb_builder_record(&b, SB_SECTION_AUTHORITY, &zone, SB_TYPE_SOA, SB_CLASS_IN, 60,
                          (sb_span){soa, sizeof(soa)});
    }
    return sb_builder_finish(&b);
}

typedef struct world_late {
    world *w;
    sb_addr to;
    size_t size;
    uint8_t bytes[1500];
} world_late;

static inline void world_send_late(void *context, uint64_t argument)
{
    (void)argument;
    world_late *late = context;
    sim_send(late->w->s, &late->w->upstream, &late->to, late->bytes, late->size);
    sb_free(late);
}

static inline void world_datagram(sim_host *host, sim *s, const sb_addr *from, const sb_addr *to,
                                  const uint8_t *bytes, size_t size)
{
    (void)to;
    world *w = host->owner;
    sb_msg msg;
    uint8_t out[1500];
    bool parsed = sb_msg_parse(bytes, size, &msg) == SB_OK && msg.has_question;
    if (parsed && sb_loop_is_probe(&msg.question.name))
        return; /* nobody's question */
    w->asked++;
    SB_ASSERT(size <= sizeof(w->last_asked));
    memcpy(w->last_asked, bytes, size);
    w->last_asked_size = size;
    if (!parsed)
        return;
    size_t n = world_reply(&msg, true, out, sizeof(out));
    if (n == 0)
        return;
    if (!world_label(&msg.question.name, "slow")) {
        sim_send(s, host, from, out, n);
        return;
    }
    world_late *late = sb_new(world_late);
    SB_ASSERT(late);
    *late = (world_late){.w = w, .to = *from, .size = n};
    memcpy(late->bytes, out, n);
    sim_at(s, sim_now(s) + 300 * SB_MS, world_send_late, late, 0);
}

static inline bool world_accept(sim_host *host, sim *s, sb_socket conn)
{
    (void)s;
    (void)conn;
    ((world *)host->owner)->stream_size = 0;
    return true;
}

static inline void world_stream(sim_host *host, sim *s, sb_socket conn, const uint8_t *bytes,
                                size_t size)
{
    world *w = host->owner;
    sb_msg msg;
    uint8_t out[8192];
    SB_ASSERT(w->stream_size + size <= sizeof(w->stream));
    memcpy(w->stream + w->stream_size, bytes, size);
    w->stream_size += size;
    if (w->stream_size < 2 || w->stream_size - 2 < sb_load_u16(w->stream))
        return;
    if (sb_msg_parse(w->stream + 2, sb_load_u16(w->stream), &msg) != SB_OK)
        return;
    size_t n = world_reply(&msg, false, out + 2, sizeof(out) - 2);
    sb_store_u16(out, (uint16_t)n);
    sim_conn_write(s, conn, out, n + 2);
    w->stream_size = 0;
}

/* Settings to change before world_start; owned. */
static inline sb_settings *world_settings(void)
{
    static sb_addr dns[1];
    static sb_server_setting servers[1];
    sb_settings *settings = NULL;
    sb_log_set_level(SB_LOG_UPSTREAM, SB_LOG_ERROR);
    sb_log_set_level(SB_LOG_RESOLVE, SB_LOG_ERROR);
    sb_log_set_level(SB_LOG_CONTROL, SB_LOG_ERROR);
    SB_ASSERT(sb_settings_new(world_getenv, NULL, false, &settings) == SB_OK);
    dns[0] = world_addr("127.0.0.1:5300");
    servers[0] = (sb_server_setting){
        .addr = world_addr("10.0.0.2:53"), .name = "one", .trust_ad = SB_TRUST_YES};
    settings->listen.dns = dns;
    settings->listen.dns_count = 1;
    settings->upstreams = servers;
    settings->upstream_count = 1;
    settings->cache.file = "";
    settings->cache.size_bytes = 1024 * 1024;
    settings->query.timeout = 3 * SB_S;
    return settings;
}

static inline void world_start(world *w, sb_settings *take_settings)
{
    sb_why why = {""};
    sim *s = w->s ? w->s : sim_new();
    *w = (world){.s = s, .settings = take_settings};
    sim_reset(s, 1);
    sim_fault(s)->whole_segments = true;
    w->upstream = (sim_host){.addr = world_addr("10.0.0.2:53"),
                             .link = {SB_MS, SB_MS, 0, 0},
                             .owner = w,
                             .datagram = world_datagram,
                             .accepted = world_accept,
                             .received = world_stream};
    sim_host_add(s, &w->upstream);
    w->env = sim_process_start(s);
    SB_ASSERT(sb_settings_freeze(take_settings, &why) == SB_OK);
    sb_l1_options l1 = {.size_bytes = take_settings->cache.size_bytes,
                        .group = -1,
                        .policy_hash = take_settings->hash};
    SB_ASSERT(sb_l1_open(w->env, &l1, &w->l1, &why) == SB_OK);
    sb_engine_options options = {.env = w->env, .settings = take_settings, .l1 = w->l1};
    SB_ASSERT(sb_engine_new(&options, &w->engine, &why) == SB_OK);
}

static inline void world_run(world *w, sb_ns duration)
{
    sb_ns until = sim_now(w->s) + duration;
    while (sim_step(w->s, until)) {
    }
}

/* Fronts were freed before. Returns what leaked. */
static inline unsigned world_stop(world *w)
{
    sb_engine_free(w->engine);
    sb_l1_close(w->l1);
    unsigned leaks = sim_process_leaks(w->s, w->env);
    sim_process_end(w->s, w->env, 0);
    world_run(w, SB_S); /* replies still on their way */
    sb_settings_unref(w->settings);
    return leaks;
}

/* A query in wire form. edns_size 0: none. */
static inline size_t world_query(uint8_t *out, size_t capacity, uint16_t id, uint16_t flags,
                                 const char *name, uint16_t type, uint16_t edns_size)
{
    sb_builder b;
    sb_question question = {.name = world_name(name), .type = type, .class = SB_CLASS_IN};
    sb_builder_init(&b, out, capacity, id, flags);
    sb_builder_question(&b, &question);
    if (edns_size)
        sb_builder_edns(&b, edns_size, 0, false, (sb_span){0});
    size_t size = sb_builder_finish(&b);
    SB_ASSERT(size > 0);
    return size;
}

static inline uint64_t world_count(const world *w, sb_counter counter)
{
    return sb_stats_get(sb_engine_stats(w->engine), counter);
}

#endif
