/* The life of endpoints on the simulated machine: looks, what they find, how long it holds, which
 * addresses an answer keeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dns/rdata.h"
#include "resolve/endpoint.h"
#include "sim/sim_env.h"

typedef struct world {
    sim *s;
    sb_env *env;
    sb_stats stats;
    sb_endpoints *endpoints;
    sim_host live, silent;
} world;

static bool welcome(sim_host *host, sim *s, sb_socket conn)
{
    (void)host;
    (void)s;
    (void)conn;
    return true;
}

static sb_addr addr(const char *text)
{
    sb_addr a;
    assert_true(sb_addr_parse_port(text, strlen(text), 0, &a));
    return a;
}

static int setup(void **state)
{
    static world w;
    const uint8_t secret[16] = {5};
    w = (world){.s = sim_new()};
    sim_reset(w.s, 11);
    w.env = sim_process_start(w.s);
    sb_stats_init(&w.stats);
    assert_int_equal(sb_endpoints_new(w.env, &w.stats, NULL, secret, &w.endpoints), SB_OK);
    w.live = (sim_host){.addr = addr("192.0.2.1:443"), .accepted = welcome};
    w.silent = (sim_host){.addr = addr("192.0.2.2:443"), .reach = SIM_BLACKHOLE};
    w.live.link.delay_min = w.live.link.delay_max = 2 * SB_MS;
    sim_host_add(w.s, &w.live);
    sim_host_add(w.s, &w.silent);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    sb_endpoints_free(w->endpoints);
    assert_int_equal(sim_process_leaks(w->s, w->env), 0);
    sim_process_end(w->s, w->env, 0);
    sim_free(w->s);
    return 0;
}

static void run(const world *w, sb_ns time)
{
    sb_ns until = sim_now(w->s) + time;
    while (sim_step(w->s, until))
        ;
}

static sb_liveness life(const world *w, const char *text)
{
    sb_addr a = addr(text);
    return sb_endpoints_life(w->endpoints, &a, NULL);
}

static void look(const world *w, const char *text)
{
    sb_addr a = addr(text);
    sb_endpoints_look(w->endpoints, &a, 0);
}

static void lives_and_deaths(void **state)
{
    const world *w = *state;
    assert_int_equal(life(w, "192.0.2.1:443"), SB_LIVENESS_UNKNOWN);
    look(w, "192.0.2.1:443");
    look(w, "192.0.2.2:443");
    look(w, "192.0.2.3:443"); /* refuses */
    look(w, "192.0.2.1:443"); /* under way already */
    sb_addr silent = addr("192.0.2.2:443");
    assert_true(sb_endpoints_looking(w->endpoints, &silent));
    run(w, 2 * SB_S);
    assert_false(sb_endpoints_looking(w->endpoints, &silent));
    assert_int_equal(life(w, "192.0.2.1:443"), SB_LIVENESS_ALIVE);
    assert_int_equal(life(w, "192.0.2.2:443"), SB_LIVENESS_DEAD);
    assert_int_equal(life(w, "192.0.2.3:443"), SB_LIVENESS_HOST);
    assert_int_equal(life(w, "192.0.2.1:444"), SB_LIVENESS_UNKNOWN); /* another endpoint */
    assert_int_equal(sb_stats_get(&w->stats, SB_COUNT_PROBES_ALIVE), 1);
    /* What was found does not hold for ever. */
    run(w, SB_LIFE_HOLDS);
    assert_int_equal(life(w, "192.0.2.1:443"), SB_LIVENESS_UNKNOWN);
}

static void looks_keep_their_distance(void **state)
{
    const world *w = *state;
    for (unsigned i = 0; i < 40; i++) {
        look(w, "192.0.2.1:443");
        run(w, SB_LOOK_AGAIN / 10);
    }
    assert_int_equal(sb_stats_get(&w->stats, SB_COUNT_PROBES_ALIVE), 4);
    sb_addr a = addr("192.0.2.1:443");
    for (unsigned i = 0; i < 14; i++) {
        sb_endpoints_look(w->endpoints, &a, 60 * SB_S);
        run(w, 6 * SB_S);
    }
    assert_int_equal(sb_stats_get(&w->stats, SB_COUNT_PROBES_ALIVE), 5);
}

static void a_connection_needs_no_packet(void **state)
{
    const world *w = *state;
    sb_addr a = addr("192.0.2.2:8443");
    sim_established_set(w->s, &a, 2, 0, false);
    look(w, "192.0.2.2:443");
    look(w, "192.0.2.2");
    look(w, "192.0.2.4");
    run(w, 2 * SB_S);
    assert_int_equal(life(w, "192.0.2.2:443"), SB_LIVENESS_ALIVE);
    assert_int_equal(life(w, "192.0.2.2"), SB_LIVENESS_ALIVE);
    assert_int_equal(life(w, "192.0.2.4"), SB_LIVENESS_UNKNOWN); /* none says nothing */
    assert_int_equal(sb_stats_get(&w->stats, SB_COUNT_PROBES_ALIVE), 0);
    assert_int_equal(sb_stats_get(&w->stats, SB_COUNT_DIAG_FOUND), 2);
}

static void netlink_refused_leaves_the_probe(void **state)
{
    const world *w = *state;
    sim_netlink_refuse(w->s, SB_PERM);
    look(w, "192.0.2.1:443");
    look(w, "192.0.2.1");
    run(w, SB_S);
    assert_int_equal(life(w, "192.0.2.1:443"), SB_LIVENESS_ALIVE);
    assert_int_equal(life(w, "192.0.2.1"), SB_LIVENESS_UNKNOWN);
}

static void of_a_name(void **state)
{
    const world *w = *state;
    sb_addr both[2] = {addr("192.0.2.1"), addr("192.0.2.2")};
    assert_int_equal(sb_endpoints_life_of(w->endpoints, both, 0, 443), SB_LIVENESS_UNKNOWN);
    sb_endpoints_look_all(w->endpoints, both + 1, 1, 443, 0);
    assert_true(sb_endpoints_looking_any(w->endpoints, both, 2, 443));
    run(w, 2 * SB_S);
    assert_int_equal(sb_endpoints_life_of(w->endpoints, both + 1, 1, 443), SB_LIVENESS_DEAD);
    assert_int_equal(sb_endpoints_life_of(w->endpoints, both, 2, 443), SB_LIVENESS_UNKNOWN);
    sb_endpoints_look_all(w->endpoints, both, 1, 443, 0);
    run(w, 2 * SB_S);
    assert_int_equal(sb_endpoints_life_of(w->endpoints, both, 2, 443), SB_LIVENESS_ALIVE);
    sb_endpoints_void(w->endpoints); /* another network */
    assert_int_equal(sb_endpoints_life_of(w->endpoints, both, 2, 443), SB_LIVENESS_UNKNOWN);
}

static void answers_keep_the_living(void **state)
{
    const world *w = *state;
    sb_question q = {.type = SB_TYPE_A, .class = SB_CLASS_IN};
    sb_answer *answer = NULL, *left = NULL;
    sb_addr three[3] = {addr("192.0.2.2"), addr("192.0.2.1"), addr("192.0.2.9")}, found[3];
    assert_int_equal(sb_name_parse("a.example", 9, &q.name, NULL), SB_OK);
    assert_int_equal(sb_answer_from_addresses(&q, three, 2, 60, SB_SOURCE_DNS, &answer), SB_OK);
    assert_int_equal(sb_endpoints_qualify(w->endpoints, answer, 443, &left), SB_NOTFOUND);
    sb_endpoints_look_all(w->endpoints, three, 2, 443, 0);
    run(w, 2 * SB_S);
    assert_int_equal(sb_endpoints_qualify(w->endpoints, answer, 443, &left), SB_OK);
    assert_int_equal(sb_answer_addresses(left, found, 3), 1);
    assert_true(sb_addr_same_host(&found[0], &three[1]));
    assert_int_equal(left->ttl_s, answer->ttl_s);
    sb_answer_unref(left);
    sb_answer_unref(answer);
    /* What nobody looked at stays. */
    assert_int_equal(sb_answer_from_addresses(&q, three, 3, 60, SB_SOURCE_DNS, &answer), SB_OK);
    assert_int_equal(sb_endpoints_qualify(w->endpoints, answer, 443, &left), SB_OK);
    assert_int_equal(sb_answer_addresses(left, found, 3), 2);
    sb_answer_unref(left);
    sb_answer_unref(answer);
    /* Signed as a whole, served as a whole. */
    q.dnssec_ok = true;
    assert_int_equal(sb_answer_from_addresses(&q, three, 2, 60, SB_SOURCE_DNS, &answer), SB_OK);
    assert_int_equal(sb_endpoints_qualify(w->endpoints, answer, 443, &left), SB_NOTFOUND);
    sb_answer_unref(answer);
}

static void the_table_is_bounded_and_ends_cleanly(void **state)
{
    const world *w = *state;
    for (unsigned i = 0; i < SB_ENDPOINTS_MAX + 200; i++) {
        sb_addr a = sb_addr_4((const uint8_t[4]){198, 51, (uint8_t)(i >> 8), (uint8_t)i}, 443);
        sb_endpoints_look(w->endpoints, &a, 0);
        if (i % 16 == 0)
            run(w, SB_S);
    }
    look(w, "192.0.2.2:443"); /* under way when it ends */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lives_and_deaths, setup, teardown),
        cmocka_unit_test_setup_teardown(looks_keep_their_distance, setup, teardown),
        cmocka_unit_test_setup_teardown(a_connection_needs_no_packet, setup, teardown),
        cmocka_unit_test_setup_teardown(netlink_refused_leaves_the_probe, setup, teardown),
        cmocka_unit_test_setup_teardown(of_a_name, setup, teardown),
        cmocka_unit_test_setup_teardown(answers_keep_the_living, setup, teardown),
        cmocka_unit_test_setup_teardown(the_table_is_bounded_and_ends_cleanly, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
