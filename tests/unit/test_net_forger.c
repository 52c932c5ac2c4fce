/* An off-path forger of the simulator against the exchange: ten million packets, and what they
 * achieve, in numbers.
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
#include "sim/sim_env.h"

#define WITHOUT_PORT 3000000u
#define WRONG_SOURCE 1000000u
#define CASE_GUESSED 250000u /* exchanges, one packet each */
#define ID_GUESSED 350000u   /* exchanges … */
#define PER_EXCHANGE 16u     /* … with so many packets each */
#define WITHOUT_COOKIE 150000u
#define BATCH 1000u /* packets on their way at once */
_Static_assert(WITHOUT_PORT + WRONG_SOURCE + CASE_GUESSED + ID_GUESSED * PER_EXCHANGE +
                       WITHOUT_COOKIE ==
                   10000000,
               "ten million");
#define LETTERS 10 /* of www.example */

/* A simulated machine with one program on it, and a server that never answers. */
typedef struct net {
    sim *s;
    sb_env *env;
    sim_host server;
    sb_rand forger;
    unsigned on_the_way;
    uint16_t port; /* of the query under way */
    uint8_t query[SB_CONN_QUERY_SIZE_MAX];
    size_t query_size;
    sb_stats stats;
    sb_events bus;
    sb_upstreams *ups;
    sb_upstream *up;
    sb_question question;
    sb_exchange x;
} net;

static void seen(void *context, const sim_packet *p)
{
    net *n = context;
    if (p->stream)
        return;
    n->port = p->from.port;
    memcpy(n->query, p->bytes, p->size);
    n->query_size = p->size;
}

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
    n->s = sim_new();
    sim_reset(n->s, 2);
    n->env = sim_process_start(n->s);
    n->server = (sim_host){.addr = server.addr, .reach = SIM_BLACKHOLE};
    sim_host_add(n->s, &n->server);
    sim_on_packet(n->s, seen, n);
    sb_rand_seed(&n->forger, 3);
    sb_stats_init(&n->stats);
    assert_int_equal(sb_events_init(&n->bus, n->env, 0), SB_OK);
    assert_int_equal(sb_upstreams_new(n->env, &n->stats, &n->bus, &n->ups), SB_OK);
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
    sim_process_end(n->s, n->env, 0);
    sim_host_remove(n->s, &n->server);
    sim_free(n->s);
    test_free(n);
}

static void start(net *n)
{
    sb_exchange_start(&n->x, n->ups, n->up, &n->question, 0, NULL, SB_NEVER, done);
}

/* Ends the exchange; true when it had taken something for its answer. */
static bool stop(net *n)
{
    bool accepted = n->x.op.state == SB_OP_ENDED;
    if (accepted)
        assert_int_equal(n->x.op.status, SB_OK);
    if (!accepted)
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

/* Under way for a nanosecond more than the one before; whether a socket gets it is the simulated
 * kernel's to say. */
static void send_forged(net *n, const sb_addr *from, uint16_t port, const uint8_t *packet,
                        size_t size)
{
    sb_addr to = sb_addr_4((const uint8_t[]){10, 9, 0, 1}, port);
    sim_inject(n->s, from, &to, packet, size, (sb_ns)(++n->on_the_way));
}

static void all_arrive(net *n)
{
    sb_ns last = sim_now(n->s) + (sb_ns)n->on_the_way;
    while (sim_step(n->s, last)) {
    }
    n->on_the_way = 0;
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
        send_forged(n, &server, port == n->port ? 0 : port, packet, size);
        if (i % BATCH == 0)
            all_arrive(n);
    }
    all_arrive(n);
    assert_false(stop(n));
    start(n);
    size = forge(n, packet, sizeof packet);
    for (unsigned i = 0; i < WRONG_SOURCE; i++) {
        sb_addr from = server;
        if (i % 2)
            from.port = (uint16_t)(54 + sb_rand_below(&n->forger, 65000));
        else
            sb_store_u32(from.bytes, (uint32_t)sb_rand_u64(&n->forger) | 1u << 31 | 1u << 30);
        if (sb_addr_equal(&from, &server))
            from.port++;
        send_forged(n, &from, n->port, packet, size);
        if (i % BATCH == 0)
            all_arrive(n);
    }
    all_arrive(n);
    assert_int_equal(n->x.near_misses, 0);
    assert_false(n->x.over_tcp);
    assert_int_equal(sb_stats_get(&n->stats, SB_COUNT_UP_REJECTED), 0);
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
            send_forged(n, &server, port, packet, size);
        }
        all_arrive(n);
        assert_true(n->x.over_tcp || n->x.op.state == SB_OP_ENDED);
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
        send_forged(n, &server, n->port, packet, size);
        all_arrive(n);
        assert_true(n->x.over_tcp || n->x.op.state == SB_OP_ENDED);
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
        send_forged(n, &server, n->port, packet, size);
        all_arrive(n);
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
