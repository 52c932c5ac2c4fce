/* An off-path forger against the exchange: ten million packets, and what they achieve, in numbers.
 *
 * Who does not know the port achieves nothing. Who knows port and case, and guesses the ID, has
 * SB_NEAR_MISSES_MAX guesses of 65536 per exchange, whatever is sent. Who knows port and ID has one
 * guess of the case, 2^-10 for www.example. Against a server that has sent a cookie, who knows all
 * three achieves nothing. Seeds are fixed; bounds are five standard deviations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "dns/rdata.h"
#include "net/exchange.h"

#define WITHOUT_PORT 3000000u
#define WRONG_SOURCE 1000000u
#define CASE_GUESSED 250000u /* exchanges, one packet each */
#define ID_GUESSED 350000u   /* exchanges … */
#define PER_EXCHANGE 16u     /* … with so many packets each */
#define WITHOUT_COOKIE 150000u
_Static_assert(WITHOUT_PORT + WRONG_SOURCE + CASE_GUESSED + ID_GUESSED * PER_EXCHANGE +
                       WITHOUT_COOKIE ==
                   10000000,
               "ten million");
#define LETTERS 10 /* of www.example */

/* A machine with one datagram socket and one stream, which never connects. */
typedef struct net {
    sb_env env; /* first */
    sb_rand kernel, forger;
    uint32_t generation;
    bool open;
    uint16_t port;
    void *owner;
    const sb_udp_events *events;
    sb_addr remote;
    uint8_t query[SB_CONN_QUERY_SIZE_MAX];
    size_t query_size;
    sb_stats stats;
    sb_events bus;
    sb_upstreams *ups;
    sb_upstream *up;
    sb_question question;
    sb_exchange x;
} net;

static net *of(sb_env *env)
{
    return (net *)(void *)env;
}

static sb_ns net_now(sb_env *env)
{
    (void)env;
    return 1000 * SB_S;
}

static void net_entropy(sb_env *env, void *ret, size_t size)
{
    sb_writer w = sb_writer_of(ret, size);
    while (sb_writer_left(&w) > 0)
        sb_write_u8(&w, (uint8_t)(sb_rand_u64(&of(env)->kernel) >> 32));
}

static void net_rearm(sb_env *env)
{
    (void)env;
}

static sb_status net_udp_open(sb_env *env, const sb_udp_options *options,
                              const sb_udp_events *events, void *owner, sb_socket *ret, sb_why *why)
{
    net *n = of(env);
    (void)why;
    assert_false(n->open);
    assert_int_equal(options->local.port, 0);
    n->open = true;
    n->port = (uint16_t)(1024 + sb_rand_below(&n->kernel, 64512));
    n->events = events;
    n->owner = owner;
    n->remote = options->remote;
    *ret = (sb_socket){1, ++n->generation};
    return SB_OK;
}

static sb_status net_udp_send(sb_env *env, sb_socket socket, const sb_addr *to, const sb_addr *from,
                              const void *bytes, size_t size)
{
    net *n = of(env);
    (void)socket;
    (void)to;
    (void)from;
    memcpy(n->query, bytes, size);
    n->query_size = size;
    return SB_OK;
}

static sb_status net_local(sb_env *env, sb_socket socket, sb_addr *ret)
{
    (void)socket;
    *ret = sb_addr_4((const uint8_t[]){192, 0, 2, 99}, of(env)->port);
    return SB_OK;
}

static sb_status net_connect(sb_env *env, const sb_addr *remote, const char *tls_name,
                             const sb_stream_events *events, void *owner, sb_socket *ret,
                             sb_why *why)
{
    (void)env;
    (void)remote;
    (void)tls_name;
    (void)events;
    (void)owner;
    (void)why;
    *ret = (sb_socket){2, 1};
    return SB_OK;
}

static void net_close(sb_env *env, sb_socket socket)
{
    if (socket.index == 1)
        of(env)->open = false;
}

static const sb_env_ops ops = {
    .now = net_now,
    .entropy = net_entropy,
    .rearm = net_rearm,
    .udp_open = net_udp_open,
    .udp_send = net_udp_send,
    .local_address = net_local,
    .stream_connect = net_connect,
    .close = net_close,
};

static void done(sb_op *op)
{
    (void)op;
}

static net *net_new(void)
{
    static const char name[] = "www.example";
    net *n = test_calloc(1, sizeof *n);
    sb_server_setting server = {.addr = sb_addr_4((const uint8_t[]){192, 0, 2, 1}, 53)};
    sb_settings settings = {.upstreams = &server, .upstream_count = 1};
    sb_log_set_level(SB_LOG_UPSTREAM, SB_LOG_ERROR);
    sb_env_init(&n->env, &ops, 1);
    sb_rand_seed(&n->kernel, 2);
    sb_rand_seed(&n->forger, 3);
    sb_stats_init(&n->stats);
    assert_int_equal(sb_events_init(&n->bus, &n->env, 0), SB_OK);
    assert_int_equal(sb_upstreams_new(&n->env, &n->stats, &n->bus, &n->ups), SB_OK);
    assert_int_equal(sb_upstreams_configure(n->ups, &settings, NULL), SB_OK);
    n->question = (sb_question){.type = SB_TYPE_A, .class = SB_CLASS_IN};
    assert_int_equal(sb_name_parse(name, sizeof name - 1, &n->question.name, NULL), SB_OK);
    n->up = sb_upstreams_pool(n->ups, &n->question.name)->servers[0];
    return n;
}

static void net_free(net *n)
{
    sb_upstreams_free(n->ups);
    sb_events_fini(&n->bus);
    test_free(n);
}

static void start(net *n)
{
    sb_exchange_start(&n->x, n->ups, n->up, &n->question, 0, NULL, SB_NEVER, done);
}

/* Ends the exchange; true when it had taken something for its answer. */
static bool stop(net *n)
{
    bool accepted = n->x.op.state == SB_OP_FINISHED;
    if (accepted)
        assert_int_equal(n->x.op.status, SB_OK);
    sb_op_cancel(&n->x.op);
    sb_exchange_fini(&n->x);
    return accepted;
}

/* What the forger would like to be believed, with the query's case and ID. */
static size_t forge(const net *n, uint8_t *packet, size_t capacity)
{
    static const uint8_t ip[] = {203, 0, 113, 66};
    sb_builder b;
    sb_msg query;
    assert_int_equal(sb_msg_parse(n->query, n->query_size, &query), SB_OK);
    sb_builder_init(&b, packet, capacity, query.id, SB_FLAG_QR | SB_FLAG_RD | SB_FLAG_RA);
    sb_builder_question(&b, &query.question);
    sb_builder_record(&b, SB_SECTION_ANSWER, &query.question.name, SB_TYPE_A, SB_CLASS_IN, 86400,
                      (sb_span){ip, 4});
    return sb_builder_finish(&b);
}

/* The kernel's part: a connected socket gets its peer's packets to its port. */
static void arrives(net *n, const sb_addr *from, uint16_t port, const uint8_t *packet, size_t size)
{
    sb_datagram datagram = {.bytes = packet, .size = size, .from = *from};
    if (n->open && n->port == port && sb_addr_equal(from, &n->remote))
        n->events->received(n->owner, (sb_socket){1, n->generation}, &datagram);
}

static void expect(const char *what, unsigned accepted, unsigned tries, double chance)
{
    double mean = tries * chance, off = accepted - mean;
    print_message("# %s: %u of %u accepted, %.1f expected\n", what, accepted, tries, mean);
    assert_true(off * off <= 25 * mean * (1 - chance));
}

/* It knows everything but the port; or the port, but cannot send from the server's address. */
static void without_the_port(void **state)
{
    (void)state;
    net *n = net_new();
    uint8_t packet[512];
    sb_addr server = n->up->addr;
    start(n);
    size_t size = forge(n, packet, sizeof packet);
    for (unsigned i = 0; i < WITHOUT_PORT; i++) {
        uint16_t port = (uint16_t)sb_rand_u64(&n->forger);
        arrives(n, &server, port == n->port ? 0 : port, packet, size);
    }
    assert_false(stop(n));
    start(n);
    size = forge(n, packet, sizeof packet);
    for (unsigned i = 0; i < WRONG_SOURCE; i++) {
        sb_addr from = server;
        if (i % 2)
            from.port = (uint16_t)(54 + sb_rand_below(&n->forger, 65535));
        else
            sb_store_u32(from.bytes, (uint32_t)sb_rand_u64(&n->forger) | 1u << 31);
        if (from.port == 53 && i % 2)
            from.port++;
        sb_datagram datagram = {.bytes = packet, .size = size, .from = from};
        if (i % 4 < 2)
            arrives(n, &from, n->port, packet, size);
        else /* past the kernel: the exchange looks again */
            n->events->received(n->owner, (sb_socket){1, n->generation}, &datagram);
    }
    assert_int_equal(n->x.near_misses, 0);
    assert_false(n->x.over_tcp);
    assert_int_equal(sb_stats_get(&n->stats, SB_COUNT_UP_REJECTED), WRONG_SOURCE / 2);
    assert_false(stop(n));
    net_free(n);
}

/* Port and case are known: the ID is guessed, without repetition. */
static void guessing_the_id(void **state)
{
    (void)state;
    net *n = net_new();
    uint8_t packet[512];
    sb_addr server = n->up->addr;
    unsigned accepted = 0;
    for (unsigned i = 0; i < ID_GUESSED; i++) {
        start(n);
        size_t size = forge(n, packet, sizeof packet);
        uint16_t port = n->port, guess = (uint16_t)sb_rand_u64(&n->forger);
        for (unsigned k = 0; k < PER_EXCHANGE; k++) {
            sb_store_u16(packet, (uint16_t)(guess + k));
            arrives(n, &server, port, packet, size);
        }
        assert_true(n->x.over_tcp || n->x.op.state == SB_OP_FINISHED);
        accepted += stop(n);
    }
    expect("port and case known, ID guessed", accepted, ID_GUESSED, SB_NEAR_MISSES_MAX / 65536.0);
    assert_int_equal(sb_stats_get(&n->stats, SB_COUNT_UP_CROWDED), ID_GUESSED - accepted);
    net_free(n);
}

/* Port and ID are known: the case is guessed, once, and then it is TCP's turn. */
static void guessing_the_case(void **state)
{
    (void)state;
    net *n = net_new();
    uint8_t packet[512];
    uint8_t bits[SB_CASE_BITS];
    sb_addr server = n->up->addr;
    unsigned accepted = 0;
    for (unsigned i = 0; i < CASE_GUESSED; i++) {
        start(n);
        size_t size = forge(n, packet, sizeof packet);
        sb_name name = n->x.question.name;
        sb_writer b = sb_writer_of(bits, sizeof bits), w = sb_writer_of(packet, sizeof packet);
        sb_write_u64(&b, sb_rand_u64(&n->forger));
        sb_manners_mix_case(&name, bits);
        w.size = SB_MSG_HEADER;
        sb_name_write(&w, &name);
        arrives(n, &server, n->port, packet, size);
        assert_true(n->x.over_tcp || n->x.op.state == SB_OP_FINISHED);
        accepted += stop(n);
    }
    expect("port and ID known, case guessed", accepted, CASE_GUESSED, 1.0 / (1 << LETTERS));
    net_free(n);
}

/* Port, ID and case are known, the server has sent a cookie: its absence and any other is seen. */
static void guessing_the_cookie(void **state)
{
    (void)state;
    net *n = net_new();
    uint8_t packet[512], option[4 + 16];
    sb_addr server = n->up->addr;
    n->up->manners.sends_cookies = true;
    for (unsigned i = 0; i < WITHOUT_COOKIE; i++) {
        start(n);
        size_t size = forge(n, packet, sizeof packet);
        if (i % 2) {
            sb_builder b = {.w = sb_writer_of(packet, sizeof packet), .counts = {1, 1, 0, 0}};
            sb_writer w = sb_writer_of(option, sizeof option);
            b.w.size = size;
            sb_write_u16(&w, SB_OPT_COOKIE);
            sb_write_u16(&w, 16);
            sb_write_u64(&w, sb_rand_u64(&n->forger));
            sb_write_u64(&w, sb_rand_u64(&n->forger));
            sb_builder_edns(&b, 1232, 0, false, (sb_span){option, w.size});
            size = sb_builder_finish(&b);
        }
        arrives(n, &server, n->port, packet, size);
        assert_true(n->x.over_tcp);
        assert_false(stop(n));
    }
    net_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_the_port),
        cmocka_unit_test(guessing_the_id),
        cmocka_unit_test(guessing_the_case),
        cmocka_unit_test(guessing_the_cookie),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
