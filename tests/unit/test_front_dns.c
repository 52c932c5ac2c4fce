/* The DNS front on the simulated machine: rules, transports, limits, cancellation, reload. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "front/dns_front.h"
#include "support/front_world.h"

#define REPLIES 1200

typedef struct reply {
    sb_addr from;
    uint16_t size;
    uint8_t bytes[4096];
} reply;

typedef struct asker {
    sim_host host;
    unsigned count;
    bool closed;
    uint8_t stream[300000];
    size_t stream_size;
    reply replies[REPLIES];
} asker;

typedef struct table {
    world w;
    sb_dns_front *front;
    asker a, b;
} table;

static table t;

static void keep(asker *a, const sb_addr *from, const uint8_t *bytes, size_t size)
{
    assert_true(a->count < REPLIES && size <= sizeof(a->replies[0].bytes));
    reply *r = &a->replies[a->count++];
    r->from = *from;
    r->size = (uint16_t)size;
    memcpy(r->bytes, bytes, size);
}

static void datagram(sim_host *host, sim *s, const sb_addr *from, const sb_addr *to,
                     const uint8_t *bytes, size_t size)
{
    (void)s;
    (void)to;
    keep(host->owner, from, bytes, size);
}

static void stream_in(void *owner, sim *s, sb_socket conn, const uint8_t *bytes, size_t size)
{
    (void)s;
    (void)conn;
    asker *a = owner;
    assert_true(a->stream_size + size <= sizeof(a->stream));
    memcpy(a->stream + a->stream_size, bytes, size);
    a->stream_size += size;
    while (a->stream_size >= 2 && a->stream_size - 2 >= sb_load_u16(a->stream)) {
        size_t length = sb_load_u16(a->stream);
        keep(a, &(sb_addr){0}, a->stream + 2, length);
        a->stream_size -= 2 + length;
        memmove(a->stream, a->stream + 2 + length, a->stream_size);
    }
}

static void stream_closed(void *owner, sim *s, sb_socket conn, sb_status why)
{
    (void)s;
    (void)conn;
    (void)why;
    ((asker *)owner)->closed = true;
}

static const sim_conn_events conn_events = {.received = stream_in, .closed = stream_closed};

static void asker_init(asker *a, const char *addr)
{
    memset(a, 0, sizeof(*a));
    a->host = (sim_host){
        .addr = world_addr(addr), .link = {SB_MS, SB_MS, 0, 0}, .owner = a, .datagram = datagram};
    sim_host_add(t.w.s, &a->host);
}

static void begin(sb_settings *settings)
{
    sb_why why = {""};
    world_start(&t.w, settings);
    sb_dns_front_options options = {.engine = t.w.engine, .socket_path = "/run/s.sock"};
    assert_int_equal(sb_dns_front_new(&options, &t.front, &why), SB_OK);
    asker_init(&t.a, "127.0.0.1:40000");
    asker_init(&t.b, "10.9.9.9:40000");
}

static void finish(void)
{
    sb_dns_front_free(t.front);
    assert_int_equal(world_stop(&t.w), 0);
}

static void send_to(asker *a, const uint8_t *bytes, size_t size)
{
    sb_addr to = world_addr("127.0.0.1:5300");
    sim_send(t.w.s, &a->host, &to, bytes, size);
}

static void ask(asker *a, uint16_t id, uint16_t flags, const char *name, uint16_t type,
                uint16_t edns)
{
    uint8_t bytes[512];
    send_to(a, bytes, world_query(bytes, sizeof(bytes), id, flags, name, type, edns));
}

static const reply *last(const asker *a)
{
    assert_true(a->count > 0);
    return &a->replies[a->count - 1];
}

static sb_msg parsed(const reply *r)
{
    sb_msg msg;
    assert_int_equal(sb_msg_parse(r->bytes, r->size, &msg), SB_OK);
    return msg;
}

/* One UDP question, one reply. */
static sb_msg answer(uint16_t flags, const char *name, uint16_t type, uint16_t edns)
{
    unsigned before = t.a.count;
    ask(&t.a, 77, flags, name, type, edns);
    world_run(&t.w, 4 * SB_S);
    assert_int_equal(t.a.count, before + 1);
    sb_msg msg = parsed(last(&t.a));
    assert_int_equal(msg.id, 77);
    return msg;
}

static void test_forwarding(void **state)
{
    (void)state;
    begin(world_settings());
    sb_msg msg = answer(SB_FLAG_RD, "A.ExAmple", SB_TYPE_A, 1232);
    assert_int_equal(msg.flags & ~SB_FLAG_RD, SB_FLAG_QR | SB_FLAG_RA);
    assert_int_equal(msg.counts[1], 1);
    assert_memory_equal(last(&t.a)->bytes + 12, "\1A\7ExAmple\0\0\1\0\1", 15); /* case kept */
    assert_true(msg.edns.present);
    sb_addr asked = world_addr("127.0.0.1:5300");
    assert_true(sb_addr_equal(&last(&t.a)->from, &asked));
    assert_int_equal(t.w.asked, 1);
    assert_int_equal(world_count(&t.w, SB_COUNT_MISSES), 1);
    msg = answer(SB_FLAG_RD, "a.example", SB_TYPE_A, 0); /* a hit */
    assert_int_equal(msg.counts[1], 1);
    assert_false(msg.edns.present);
    assert_int_equal(t.w.asked, 1);
    assert_int_equal(world_count(&t.w, SB_COUNT_HITS), 1);
    assert_int_equal(world_count(&t.w, SB_COUNT_FRONT_UDP), 2);
    msg = answer(SB_FLAG_RD, "nx.example", SB_TYPE_A, 1232);
    assert_int_equal(msg.rcode, SB_RCODE_NXDOMAIN);
    assert_int_equal(msg.counts[2], 1);
    msg = answer(SB_FLAG_RD, "fail.example", SB_TYPE_A, 1232);
    assert_int_equal(msg.rcode, SB_RCODE_SERVFAIL);
    assert_int_not_equal(sb_edns_ede(&msg.edns), SB_EDE_NONE);
    finish();
}

static void test_rules(void **state)
{
    (void)state;
    static const struct {
        uint16_t flags, type, class;
        uint16_t rcode;
    } rows[] = {
        {SB_FLAG_RD, SB_TYPE_AXFR, SB_CLASS_IN, SB_RCODE_NOTIMP},
        {SB_FLAG_RD, SB_TYPE_IXFR, SB_CLASS_IN, SB_RCODE_NOTIMP},
        {SB_FLAG_RD, SB_TYPE_MAILB, SB_CLASS_IN, SB_RCODE_NOTIMP},
        {SB_FLAG_RD, SB_TYPE_TXT, SB_CLASS_CH, SB_RCODE_REFUSED},
        {SB_FLAG_RD, SB_TYPE_A, 4, SB_RCODE_REFUSED},
        {0, SB_TYPE_A, SB_CLASS_IN, SB_RCODE_REFUSED},
        {SB_FLAG_RD | 2 << 11, SB_TYPE_A, SB_CLASS_IN, SB_RCODE_NOTIMP},   /* STATUS */
        {SB_FLAG_RD | 4 << 11, SB_TYPE_SOA, SB_CLASS_IN, SB_RCODE_NOTIMP}, /* NOTIFY */
        {SB_FLAG_RD | 5 << 11, SB_TYPE_SOA, SB_CLASS_IN, SB_RCODE_NOTIMP}, /* UPDATE */
    };
    begin(world_settings());
    for (size_t i = 0; i < SB_ARRAY_SIZE(rows); i++) {
        uint8_t bytes[512];
        size_t size =
            world_query(bytes, sizeof(bytes), 77, rows[i].flags, "version.bind", rows[i].type, 0);
        sb_store_u16(bytes + size - 2, rows[i].class);
        unsigned before = t.a.count;
        send_to(&t.a, bytes, size);
        world_run(&t.w, SB_S);
        assert_int_equal(t.a.count, before + 1);
        assert_int_equal(SB_FLAGS_RCODE(sb_load_u16(last(&t.a)->bytes + 2)), rows[i].rcode);
    }
    assert_int_equal(t.w.asked, 0);
    sb_msg msg = answer(SB_FLAG_RD, "any.example", SB_TYPE_ANY, 0);
    sb_msg_iter it = sb_msg_records(&msg, SB_SECTION_ANSWER);
    sb_record record;
    assert_true(sb_msg_next(&it, &record));
    assert_int_equal(record.type, 13);
    assert_memory_equal(msg.bytes.data + record.rdata_at, "\7RFC8482\0", 9);
    assert_int_equal(t.w.asked, 0);
    finish();
}

static void test_special_names(void **state)
{
    (void)state;
    begin(world_settings());
    assert_int_equal(answer(SB_FLAG_RD, "localhost", SB_TYPE_A, 0).counts[1], 1);
    assert_int_equal(answer(SB_FLAG_RD, "x.localhost", SB_TYPE_AAAA, 0).counts[1], 1);
    assert_int_equal(answer(SB_FLAG_RD, "x.invalid", SB_TYPE_A, 0).rcode, SB_RCODE_NXDOMAIN);
    assert_int_equal(answer(SB_FLAG_RD, "x.onion", SB_TYPE_A, 0).rcode, SB_RCODE_NXDOMAIN);
    assert_int_equal(answer(SB_FLAG_RD, "10.1.2.3", SB_TYPE_A, 0).counts[1], 1);
    assert_int_equal(answer(SB_FLAG_RD, "1.0.0.127.in-addr.arpa", SB_TYPE_PTR, 0).counts[1], 1);
    assert_int_equal(answer(SB_FLAG_RD, "printer.local", SB_TYPE_A, 0).counts[1], 0);
    assert_int_equal(t.w.asked, 0); /* all kept off the wire */
    finish();
}

static void test_rd_clear(void **state)
{
    (void)state;
    sb_settings *settings = world_settings();
    settings->cache.share = SB_SHARE_ALL;
    begin(settings);
    assert_int_equal(answer(0, "a.example", SB_TYPE_A, 0).rcode, SB_RCODE_REFUSED);
    assert_int_equal(t.w.asked, 0);
    assert_int_equal(answer(SB_FLAG_RD, "a.example", SB_TYPE_A, 0).rcode, 0);
    assert_int_equal(answer(0, "a.example", SB_TYPE_A, 0).counts[1], 1);
    t.w.upstream.reach = SIM_BLACKHOLE;
    world_run(&t.w, 301 * SB_S); /* stale now: RD=0 asks for fresh or nothing */
    assert_int_equal(answer(0, "a.example", SB_TYPE_A, 0).rcode, SB_RCODE_REFUSED);
    assert_int_equal(answer(SB_FLAG_RD, "a.example", SB_TYPE_A, 1232).counts[1], 1);
    sb_msg msg = parsed(last(&t.a));
    assert_int_equal(sb_edns_ede(&msg.edns), SB_EDE_STALE);
    finish();
}

static void test_junk(void **state)
{
    (void)state;
    sb_rand rand;
    sb_rand_seed(&rand, 7);
    begin(world_settings());
    uint8_t bytes[600];
    for (unsigned i = 0; i < 500; i++) {
        size_t size = world_query(bytes, sizeof(bytes), 1, SB_FLAG_RD, "a.example", SB_TYPE_A, 512);
        if (i % 2)
            size = (size_t)sb_rand_below(&rand, sizeof(bytes));
        for (unsigned k = 0; k < 1 + i % 2 * size; k++)
            bytes[sb_rand_below(&rand, size ? size : 1)] = (uint8_t)sb_rand_u64(&rand);
        send_to(&t.a, bytes, size);
    }
    world_run(&t.w, 5 * SB_S);
    assert_true(world_count(&t.w, SB_COUNT_FRONT_MALFORMED) > 0);
    memset(bytes, 0, sizeof(bytes));
    size_t size = world_query(bytes, sizeof(bytes), 1, SB_FLAG_RD | SB_FLAG_QR, "a.example", 1, 0);
    unsigned before = t.a.count;
    send_to(&t.a, bytes, size); /* a response: never answered, or two servers would talk for ever */
    send_to(&t.a, bytes, 11);
    world_run(&t.w, SB_S);
    assert_int_equal(t.a.count, before);
    assert_int_equal(answer(SB_FLAG_RD, "a2.example", SB_TYPE_A, 0).counts[1], 1);
    finish();
}

static void test_allow(void **state)
{
    (void)state;
    begin(world_settings());
    for (unsigned i = 0; i < 25; i++)
        ask(&t.b, (uint16_t)i, SB_FLAG_RD, "a.example", SB_TYPE_A, 1232);
    world_run(&t.w, 10 * SB_MS);
    assert_int_equal(t.b.count, 10);
    sb_msg msg = parsed(&t.b.replies[0]);
    assert_int_equal(msg.rcode, SB_RCODE_REFUSED);
    assert_int_equal(world_count(&t.w, SB_COUNT_FRONT_REFUSED), 10);
    assert_int_equal(world_count(&t.w, SB_COUNT_FRONT_DROPPED), 15);
    world_run(&t.w, SB_S);
    ask(&t.b, 99, SB_FLAG_RD, "a.example", SB_TYPE_A, 1232);
    world_run(&t.w, SB_S);
    assert_int_equal(t.b.count, 11);
    assert_int_equal(t.w.asked, 0);
    finish();
}

/* One program that asks for a dead zone does not silence the others of its address: what is known
 * at once is answered, the rest fails at once, and loopback is a whole machine. */
static void test_client_limit(void **state)
{
    (void)state;
    sb_settings *settings = world_settings();
    sb_prefix all = {0};
    assert_true(sb_prefix_parse("10.0.0.0/8", 10, &all));
    settings->listen.allow = &all;
    settings->listen.allow_count = 1;
    settings->listen.allow_given = true;
    begin(settings);
    ask(&t.b, 1, SB_FLAG_RD, "a.example", SB_TYPE_A, 1232);
    world_run(&t.w, 305 * SB_S); /* it is stale */
    t.w.upstream.datagram = NULL;
    t.b.count = 0;
    for (unsigned i = 0; i < SB_FRONT_CLIENT_MAX; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "mute%u.example", i);
        ask(&t.b, (uint16_t)i, SB_FLAG_RD, name, SB_TYPE_A, 1232);
    }
    world_run(&t.w, 100 * SB_MS);
    assert_int_equal(t.b.count, 0);
    ask(&t.b, 7777, SB_FLAG_RD, "a.example", SB_TYPE_A, 1232);
    ask(&t.b, 7778, SB_FLAG_RD, "mute.example", SB_TYPE_A, 1232);
    world_run(&t.w, 20 * SB_MS);
    assert_int_equal(t.b.count, 2);
    assert_int_equal(parsed(&t.b.replies[0]).rcode, SB_RCODE_NOERROR);
    assert_int_equal(parsed(&t.b.replies[0]).counts[SB_SECTION_ANSWER], 1);
    assert_int_equal(parsed(&t.b.replies[1]).rcode, SB_RCODE_SERVFAIL);
    assert_int_equal(world_count(&t.w, SB_COUNT_LIMIT_CLIENT), 2);
    world_run(&t.w, 5 * SB_S);
    assert_int_equal(t.b.count, SB_FRONT_CLIENT_MAX + 2);
    finish();

    begin(world_settings());
    for (unsigned i = 0; i < SB_FRONT_CLIENT_MAX + 30; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "mute%u.example", i);
        ask(&t.a, (uint16_t)i, SB_FLAG_RD, name, SB_TYPE_A, 0);
    }
    world_run(&t.w, 100 * SB_MS);
    assert_int_equal(world_count(&t.w, SB_COUNT_LIMIT_CLIENT), 0);
    world_run(&t.w, 5 * SB_S);
    assert_int_equal(t.a.count, SB_FRONT_CLIENT_MAX + 30);
    finish();
}

static void heed_nothing(sim_host *host, sim *s, const sb_addr *from, const sb_addr *to,
                         const uint8_t *bytes, size_t size)
{
    (void)host;
    (void)s;
    (void)from;
    (void)to;
    (void)bytes;
    (void)size;
}

/* One program that asks for dead names without end fills the flights: those that waited longest go,
 * and new names of the others still come. */
static void test_flight_crowd(void **state)
{
    (void)state;
    begin(world_settings());
    static asker flood;
    asker_init(&flood, "127.0.0.1:40001");
    flood.host.datagram = heed_nothing;
    char name[32];
    unsigned good = 0;
    for (unsigned ms = 0; ms < 7000; ms++) {
        for (unsigned i = 0; i < 2; i++) {
            (void)snprintf(name, sizeof(name), "mute%u.zone%u.example", 2 * ms + i, ms % 9);
            ask(&flood, (uint16_t)ms, SB_FLAG_RD, name, SB_TYPE_A, 0);
        }
        if (ms % 100 == 0) {
            (void)snprintf(name, sizeof(name), "a%u.example", ms);
            ask(&t.a, (uint16_t)++good, SB_FLAG_RD, name, SB_TYPE_A, 0);
        }
        world_run(&t.w, SB_MS);
    }
    assert_true(world_count(&t.w, SB_COUNT_LIMIT_FLIGHTS) > 0);
    assert_true(sb_engine_flights(t.w.engine) <= SB_FLIGHTS_MAX);
    world_run(&t.w, 20 * SB_MS);
    assert_int_equal(t.a.count, good);
    for (unsigned i = 0; i < t.a.count; i++)
        assert_int_equal(parsed(&t.a.replies[i]).rcode, SB_RCODE_NOERROR);
    world_run(&t.w, 6 * SB_S);
    assert_int_equal(sb_engine_flights(t.w.engine), 0);
    sim_host_remove(t.w.s, &flood.host);
    finish();
}

static sb_socket dial(asker *a, const char *path)
{
    sb_addr to = world_addr("127.0.0.1:5300");
    sb_socket conn =
        sim_connect(t.w.s, &a->host.addr, path ? NULL : &to, path, 1000, &conn_events, a);
    world_run(&t.w, 10 * SB_MS);
    return conn;
}

static size_t framed(uint8_t *out, size_t capacity, uint16_t id, const char *name, uint16_t type)
{
    size_t size = world_query(out + 2, capacity - 2, id, SB_FLAG_RD, name, type, 1232);
    sb_store_u16(out, (uint16_t)size);
    return size + 2;
}

static void test_tcp_out_of_order(void **state)
{
    (void)state;
    begin(world_settings());
    sb_socket conn = dial(&t.a, NULL);
    uint8_t bytes[1024];
    size_t n = framed(bytes, 512, 1, "slow.example", SB_TYPE_A);
    n += framed(bytes + n, 512, 2, "a.example", SB_TYPE_A);
    sim_conn_write(t.w.s, conn, bytes, n);
    world_run(&t.w, 2 * SB_S);
    assert_int_equal(t.a.count, 2);
    assert_int_equal(sb_load_u16(t.a.replies[0].bytes), 2);
    assert_int_equal(sb_load_u16(t.a.replies[1].bytes), 1);
    for (size_t i = 0; i < n; i++) { /* byte by byte */
        sim_conn_write(t.w.s, conn, bytes + i, 1);
        world_run(&t.w, 10 * SB_MS);
    }
    assert_int_equal(t.a.count, 4);
    assert_int_equal(world_count(&t.w, SB_COUNT_FRONT_TCP), 4);
    sim_conn_close(t.w.s, conn);
    world_run(&t.w, SB_S);
    finish();
}

static void test_tcp_large(void **state)
{
    (void)state;
    begin(world_settings());
    sb_msg msg = answer(SB_FLAG_RD, "big.example", SB_TYPE_TXT, 1232);
    assert_true(msg.flags & SB_FLAG_TC);
    assert_int_equal(world_count(&t.w, SB_COUNT_FRONT_TRUNCATED), 1);
    sb_socket conn = dial(&t.a, NULL);
    uint8_t bytes[512];
    sim_conn_write(t.w.s, conn, bytes, framed(bytes, 512, 9, "big.example", SB_TYPE_TXT));
    world_run(&t.w, SB_S);
    msg = parsed(last(&t.a));
    assert_int_equal(msg.counts[1], 60);
    assert_false(msg.flags & SB_FLAG_TC);
    sim_conn_close(t.w.s, conn);
    world_run(&t.w, SB_S);
    finish();
}

static void test_tcp_pipeline_limit(void **state)
{
    (void)state;
    begin(world_settings());
    sb_socket conn = dial(&t.a, NULL);
    static uint8_t bytes[64 * 1024];
    size_t n = 0;
    for (unsigned i = 0; i < 500; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "slow%u.example", i);
        n += framed(bytes + n, sizeof(bytes) - n, (uint16_t)i, name, SB_TYPE_A);
    }
    sim_conn_write(t.w.s, conn, bytes, n);
    world_run(&t.w, 100 * SB_MS);
    assert_int_equal(t.w.asked, SB_FRONT_PIPELINE_MAX);
    assert_true(world_count(&t.w, SB_COUNT_LIMIT_PIPELINE) >= 1);
    world_run(&t.w, 20 * SB_S);
    assert_int_equal(t.a.count, 500); /* all of them, in the end */
    sim_conn_close(t.w.s, conn);
    world_run(&t.w, SB_S);
    finish();
}

static void test_tcp_cancel(void **state)
{
    (void)state;
    begin(world_settings());
    sb_socket conn = dial(&t.a, NULL);
    uint8_t bytes[512];
    sim_conn_write(t.w.s, conn, bytes, framed(bytes, 512, 9, "slow.example", SB_TYPE_A));
    world_run(&t.w, 50 * SB_MS);
    sim_conn_reset(t.w.s, conn);
    world_run(&t.w, 2 * SB_S);
    assert_int_equal(t.a.count, 0);
    /* The flight went on for the cache. */
    assert_int_equal(answer(SB_FLAG_RD, "slow.example", SB_TYPE_A, 0).counts[1], 1);
    assert_int_equal(world_count(&t.w, SB_COUNT_FLIGHTS), 1); /* which repeats its query */
    assert_true(t.w.asked <= 2);
    finish();
}

static void test_tcp_idle(void **state)
{
    (void)state;
    begin(world_settings());
    sb_socket conn = dial(&t.a, NULL);
    uint8_t bytes[512];
    size_t n = framed(bytes, 512, 9, "a.example", SB_TYPE_A);
    for (unsigned i = 0; i < 8; i++) { /* trickling does not keep it alive */
        sim_conn_write(t.w.s, conn, bytes + i, 1);
        world_run(&t.w, SB_S);
    }
    assert_false(t.a.closed);
    world_run(&t.w, 3 * SB_S);
    assert_true(t.a.closed);
    assert_int_equal(world_count(&t.w, SB_COUNT_LIMIT_TCP_IDLE), 1);
    static const uint8_t empty[2] = {0, 0};
    t.a.closed = false;
    conn = dial(&t.a, NULL);
    sim_conn_write(t.w.s, conn, empty, 2); /* a message of no bytes: the end */
    world_run(&t.w, SB_S);
    assert_true(t.a.closed);
    static uint8_t junk[2 + 65535] = {0xff, 0xff};
    t.a.closed = false;
    conn = dial(&t.a, NULL);
    sim_conn_write(t.w.s, conn, junk, sizeof(junk));
    sim_conn_write(t.w.s, conn, bytes, n);
    world_run(&t.w, SB_S);
    assert_int_equal(answer(SB_FLAG_RD, "a.example", SB_TYPE_A, 0).counts[1], 1);
    world_run(&t.w, 20 * SB_S);
    finish();
}

static void test_tcp_flood(void **state)
{
    (void)state;
    static asker crowd[1];
    begin(world_settings());
    asker_init(&crowd[0], "127.0.0.2:40000");
    for (unsigned i = 0; i < 2000; i++) {
        sb_addr to = world_addr("127.0.0.1:5300"), from = world_addr("127.0.0.2:0");
        from.port = (uint16_t)(10000 + i);
        (void)sim_connect(t.w.s, &from, &to, NULL, 1000, &conn_events, &crowd[0]);
    }
    world_run(&t.w, 100 * SB_MS);
    assert_int_equal(world_count(&t.w, SB_COUNT_LIMIT_TCP), 2000 - SB_FRONT_TCP_MAX);
    sb_socket conn = dial(&t.a, NULL);
    uint8_t bytes[512];
    sim_conn_write(t.w.s, conn, bytes, framed(bytes, 512, 9, "a.example", SB_TYPE_A));
    world_run(&t.w, SB_S);
    assert_int_equal(t.a.count, 1);
    world_run(&t.w, 30 * SB_S);
    assert_true(world_count(&t.w, SB_COUNT_LIMIT_TCP_IDLE) >= SB_FRONT_TCP_MAX - 1);
    finish();
}

static void test_tcp_per_client(void **state)
{
    (void)state;
    static const sb_prefix all = {.addr = {.family = SB_FAMILY_4}, .bits = 0};
    sb_settings *settings = world_settings();
    settings->listen.allow = &all;
    settings->listen.allow_count = 1;
    settings->listen.allow_given = true;
    begin(settings);
    for (unsigned i = 0; i < SB_FRONT_TCP_PER_CLIENT + 5; i++) {
        sb_addr to = world_addr("127.0.0.1:5300"), from = world_addr("10.9.9.9:0");
        from.port = (uint16_t)(10000 + i);
        (void)sim_connect(t.w.s, &from, &to, NULL, 1000, &conn_events, &t.b);
    }
    world_run(&t.w, 100 * SB_MS);
    assert_int_equal(world_count(&t.w, SB_COUNT_LIMIT_TCP_PER_CLIENT), 5);
    world_run(&t.w, 30 * SB_S);
    finish();
}

/* Outsiders get one REFUSED and the end; few of them at a time. */
static void test_tcp_outsider(void **state)
{
    (void)state;
    begin(world_settings());
    sb_socket conn = dial(&t.b, NULL);
    uint8_t bytes[512];
    sim_conn_write(t.w.s, conn, bytes, framed(bytes, 512, 9, "a.example", SB_TYPE_A));
    world_run(&t.w, SB_S);
    assert_int_equal(t.b.count, 1);
    sb_msg msg = parsed(last(&t.b));
    assert_int_equal(msg.rcode, SB_RCODE_REFUSED);
    assert_true(t.b.closed);
    finish();
}

/* Provenance and by-passing are for the Unix socket alone. */
static size_t live_query(uint8_t *out, size_t capacity, uint16_t id, const char *name)
{
    static const uint8_t option[] = {65430 >> 8, 65430 & 255, 0, 2, 1, SB_ASK_LIVE};
    sb_builder b;
    sb_question question = {.name = world_name(name), .type = SB_TYPE_A, .class = SB_CLASS_IN};
    sb_builder_init(&b, out + 2, capacity - 2, id, SB_FLAG_RD);
    sb_builder_question(&b, &question);
    sb_builder_edns(&b, 1232, 0, false, (sb_span){option, sizeof(option)});
    size_t size = sb_builder_finish(&b);
    sb_store_u16(out, (uint16_t)size);
    return size + 2;
}

static void test_unix(void **state)
{
    (void)state;
    begin(world_settings());
    sb_socket conn = dial(&t.a, "/run/s.sock");
    uint8_t bytes[512];
    sb_span payload;
    sb_provenance provenance;
    for (unsigned i = 1; i <= 2; i++) {
        sim_conn_write(t.w.s, conn, bytes, live_query(bytes, sizeof(bytes), 5, "a.example"));
        world_run(&t.w, SB_S);
        assert_int_equal(t.w.asked, i); /* live: the cache is passed by */
    }
    sb_msg msg = parsed(last(&t.a));
    assert_true(sb_edns_option(&msg.edns, SB_OPT_PROVENANCE, &payload));
    assert_int_equal(sb_provenance_read(payload, &provenance), SB_OK);
    assert_int_equal(provenance.source, SB_SOURCE_DNS);
    assert_true(provenance.tried_count > 0);
    assert_int_equal(world_count(&t.w, SB_COUNT_FRONT_UNIX), 2);
    size_t size = live_query(bytes, sizeof(bytes), 6, "a.example");
    send_to(&t.a, bytes + 2, size - 2); /* over UDP: an option like any other, not heeded */
    world_run(&t.w, SB_S);
    msg = parsed(last(&t.a));
    assert_int_equal(msg.id, 6);
    assert_false(sb_edns_option(&msg.edns, SB_OPT_PROVENANCE, &payload));
    assert_int_equal(t.w.asked, 2);
    sim_conn_close(t.w.s, conn);
    world_run(&t.w, SB_S);
    finish();
}

/* One user's connections to the Unix socket, however many, close nobody else's. */
static void test_unix_per_user(void **state)
{
    (void)state;
    begin(world_settings());
    (void)sim_connect(t.w.s, &t.b.host.addr, NULL, "/run/s.sock", 2000, &conn_events, &t.b);
    world_run(&t.w, 10 * SB_MS);
    for (unsigned i = 0; i < SB_FRONT_TCP_MAX + 10; i++) {
        (void)sim_connect(t.w.s, &t.a.host.addr, NULL, "/run/s.sock", 1000, &conn_events, &t.a);
        world_run(&t.w, SB_MS);
    }
    assert_false(t.b.closed);
    assert_true(t.a.closed);
    assert_int_equal(world_count(&t.w, SB_COUNT_LIMIT_TCP),
                     SB_FRONT_TCP_MAX + 10 - SB_FRONT_UNIX_PER_USER);
    finish();
}

/* No option of a client's goes upstream. */
static void test_ecs_stays(void **state)
{
    (void)state;
    static const uint8_t ecs[] = {0, 8, 0, 7, 0, 1, 24, 0, 10, 1, 2};
    begin(world_settings());
    uint8_t bytes[512];
    sb_builder b;
    sb_question question = {.name = world_name("a.example"), .type = 1, .class = SB_CLASS_IN};
    sb_builder_init(&b, bytes, sizeof(bytes), 3, SB_FLAG_RD);
    sb_builder_question(&b, &question);
    sb_builder_edns(&b, 4096, 0, true, (sb_span){ecs, sizeof(ecs)});
    send_to(&t.a, bytes, sb_builder_finish(&b));
    world_run(&t.w, SB_S);
    assert_int_equal(t.w.asked, 1);
    sb_msg up;
    assert_int_equal(sb_msg_parse(t.w.last_asked, t.w.last_asked_size, &up), SB_OK);
    assert_true(up.edns.present && up.edns.dnssec_ok);
    sb_span cookie; /* our own, and nothing else */
    assert_true(sb_edns_option(&up.edns, SB_OPT_COOKIE, &cookie));
    assert_int_equal(up.edns.options.size, 4 + cookie.size);
    finish();
}

static void test_ad(void **state)
{
    (void)state;
    begin(world_settings());
    assert_true(answer(SB_FLAG_RD | SB_FLAG_AD, "ad.example", 1, 0).flags & SB_FLAG_AD);
    assert_true(answer(SB_FLAG_RD | SB_FLAG_AD, "ad.example", 1, 0).flags & SB_FLAG_AD); /* hit */
    assert_false(answer(SB_FLAG_RD, "ad.example", 1, 0).flags & SB_FLAG_AD);
    assert_false(answer(SB_FLAG_RD | SB_FLAG_AD, "a.example", 1, 0).flags & SB_FLAG_AD);
    finish();
}

static unsigned sunk;
static uint64_t sunk_tag;

static void sink(void *context, uint64_t tag, const sb_addr *to, const sb_addr *from,
                 const uint8_t *bytes, size_t size)
{
    (void)to;
    (void)from;
    (void)bytes;
    assert_ptr_equal(context, &sunk);
    assert_true(size > 12);
    sunk++;
    sunk_tag = tag;
}

static void test_worker_datagram(void **state)
{
    (void)state;
    begin(world_settings());
    uint8_t bytes[512];
    size_t size = world_query(bytes, sizeof(bytes), 1, SB_FLAG_RD, "a.example", SB_TYPE_A, 0);
    sunk = 0;
    sb_dns_front_datagram(t.front, bytes, size, &t.a.host.addr, NULL, sink, &sunk, 42);
    world_run(&t.w, SB_S);
    assert_int_equal(sunk, 1);
    assert_int_equal(sunk_tag, 42);
    finish();
}

static void test_reload(void **state)
{
    (void)state;
    static sb_addr dns[2];
    static const sb_prefix all = {.addr = {.family = SB_FAMILY_4}, .bits = 0};
    sb_why why = {""};
    begin(world_settings());
    sb_settings *next = world_settings();
    dns[0] = world_addr("127.0.0.1:5301");
    next->listen.dns = dns;
    next->listen.allow = &all;
    next->listen.allow_count = 1;
    next->listen.allow_given = true;
    assert_int_equal(sb_settings_freeze(next, &why), SB_OK);
    assert_int_equal(sb_engine_reload(t.w.engine, next, &why), SB_OK);
    assert_int_equal(sb_dns_front_reload(t.front, &why), SB_OK);
    ask(&t.a, 1, SB_FLAG_RD, "a.example", SB_TYPE_A, 0); /* the old address is closed */
    world_run(&t.w, SB_S);
    assert_int_equal(t.a.count, 0);
    uint8_t bytes[512];
    size_t size = world_query(bytes, sizeof(bytes), 1, SB_FLAG_RD, "a.example", SB_TYPE_A, 0);
    sim_send(t.w.s, &t.b.host, &dns[0], bytes, size); /* and an outsider no longer one */
    world_run(&t.w, SB_S);
    assert_int_equal(t.b.count, 1);
    assert_int_equal(SB_FLAGS_RCODE(sb_load_u16(t.b.replies[0].bytes + 2)), 0);
    finish();
    sb_settings_unref(next);
}

static void test_quiesce(void **state)
{
    (void)state;
    begin(world_settings());
    sb_socket conn = dial(&t.a, NULL);
    uint8_t bytes[512];
    sim_conn_write(t.w.s, conn, bytes, framed(bytes, 512, 9, "slow.example", SB_TYPE_A));
    ask(&t.a, 10, SB_FLAG_RD, "slow2.example", SB_TYPE_A, 0);
    ask(&t.a, 12, SB_FLAG_RD, "a2.example", SB_TYPE_A, 0);
    world_run(&t.w, 50 * SB_MS);
    assert_int_equal(t.a.count, 1);
    assert_false(sb_dns_front_quiesce(t.front));
    ask(&t.a, 11, SB_FLAG_RD, "a.example", SB_TYPE_A, 0);  /* too late */
    ask(&t.a, 13, SB_FLAG_RD, "a2.example", SB_TYPE_A, 0); /* known */
    world_run(&t.w, 20 * SB_MS);
    assert_int_equal(t.a.count, 3);
    for (unsigned i = 1; i < 3; i++) {
        sb_msg msg = parsed(&t.a.replies[i]);
        assert_int_equal(msg.rcode, msg.id == 11 ? SB_RCODE_SERVFAIL : SB_RCODE_NOERROR);
    }
    world_run(&t.w, SB_S);
    assert_int_equal(t.a.count, 5);
    assert_true(t.a.closed);
    assert_true(sb_dns_front_quiesce(t.front));
    finish();
}

/* What cannot wait for its answer any longer gets SERVFAIL, wherever it came from. */
static void test_give_up(void **state)
{
    (void)state;
    uint8_t bytes[512];
    begin(world_settings());
    sb_socket conn = dial(&t.a, NULL), local = dial(&t.a, "/run/s.sock");
    for (uint16_t i = 0; i < 3; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "mute%u.example", i);
        sim_conn_write(t.w.s, conn, bytes, framed(bytes, 512, i, name, SB_TYPE_A));
    }
    sim_conn_write(t.w.s, local, bytes, framed(bytes, 512, 3, "mute3.example", SB_TYPE_A));
    ask(&t.a, 4, SB_FLAG_RD, "mute4.example", SB_TYPE_A, 1232);
    world_run(&t.w, 50 * SB_MS);
    assert_false(sb_dns_front_quiesce(t.front));
    assert_int_equal(t.a.count, 0);
    sb_dns_front_give_up(t.front);
    world_run(&t.w, 50 * SB_MS);
    assert_int_equal(t.a.count, 5);
    unsigned seen = 0;
    for (unsigned i = 0; i < t.a.count; i++) {
        sb_msg msg = parsed(&t.a.replies[i]);
        seen |= 1u << msg.id;
        assert_int_equal(msg.rcode, SB_RCODE_SERVFAIL);
        assert_int_equal(sb_edns_ede(&msg.edns), SB_EDE_NOT_READY);
    }
    assert_int_equal(seen, 0x1f);
    assert_true(sb_dns_front_quiesce(t.front));
    finish();
}

/* Freed in the middle of everything. */
static void test_free_busy(void **state)
{
    (void)state;
    begin(world_settings());
    sb_socket conn = dial(&t.a, NULL);
    uint8_t bytes[512];
    sim_conn_write(t.w.s, conn, bytes, framed(bytes, 512, 9, "slow.example", SB_TYPE_A));
    ask(&t.a, 10, SB_FLAG_RD, "slow2.example", SB_TYPE_A, 0);
    world_run(&t.w, 50 * SB_MS);
    finish();
}

static void test_address_in_use(void **state)
{
    (void)state;
    sb_why why = {""};
    sb_dns_front *second = NULL;
    begin(world_settings());
    sb_dns_front_options options = {.engine = t.w.engine};
    assert_int_not_equal(sb_dns_front_new(&options, &second, &why), SB_OK);
    assert_non_null(strstr(why.text, "127.0.0.1:5300"));
    finish();
}

static int teardown(void **state)
{
    (void)state;
    if (t.w.s)
        sim_free(t.w.s);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forwarding),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_special_names),
        cmocka_unit_test(test_rd_clear),
        cmocka_unit_test(test_junk),
        cmocka_unit_test(test_allow),
        cmocka_unit_test(test_client_limit),
        cmocka_unit_test(test_flight_crowd),
        cmocka_unit_test(test_tcp_out_of_order),
        cmocka_unit_test(test_tcp_large),
        cmocka_unit_test(test_tcp_pipeline_limit),
        cmocka_unit_test(test_tcp_cancel),
        cmocka_unit_test(test_tcp_idle),
        cmocka_unit_test(test_tcp_flood),
        cmocka_unit_test(test_tcp_per_client),
        cmocka_unit_test(test_tcp_outsider),
        cmocka_unit_test(test_unix),
        cmocka_unit_test(test_ecs_stays),
        cmocka_unit_test(test_ad),
        cmocka_unit_test(test_worker_datagram),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_quiesce),
        cmocka_unit_test(test_unix_per_user),
        cmocka_unit_test(test_free_busy),
        cmocka_unit_test(test_address_in_use),
        cmocka_unit_test(test_give_up),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
