/* Probes on the simulated machine: what each end says of the endpoint, limits, cancellation; the
 * look at established connections. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "net/probe.h"
#include "sim/sim_env.h"

typedef struct world {
    sim *s;
    sb_env *env;
    sb_stats stats;
    sb_probes probes;
    sim_host host;
    unsigned done;
} world;

static world *present; /* done has no context of its own */

static void done(sb_op *op)
{
    (void)op;
    present->done++;
}

static bool accept_all(sim_host *host, sim *s, sb_socket conn)
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
    world *w = test_calloc(1, sizeof(*w));
    w->s = sim_new();
    sim_reset(w->s, 3);
    w->env = sim_process_start(w->s);
    sb_stats_init(&w->stats);
    sb_probes_init(&w->probes, w->env, &w->stats);
    w->host = (sim_host){.addr = addr("10.0.0.5:5000"), .accepted = accept_all};
    w->host.link.delay_min = w->host.link.delay_max = 4 * SB_MS;
    sim_host_add(w->s, &w->host);
    *state = present = w;
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    assert_int_equal(w->probes.underway, 0);
    assert_int_equal(sim_process_leaks(w->s, w->env), 0);
    sim_process_end(w->s, w->env, 0);
    sim_free(w->s);
    test_free(w);
    return 0;
}

static void run(world *w, sb_ns time)
{
    sb_ns until = sim_now(w->s) + time;
    while (sim_step(w->s, until))
        ;
}

static sb_probe probe_of(world *w, const char *text)
{
    sb_probe p;
    sb_addr to = addr(text);
    unsigned before = w->done;
    memset(&p, 0xa5, sizeof(p)); /* dirty memory will do */
    sb_probe_start(&p, &w->probes, &to, NULL, SB_NEVER, done);
    assert_int_equal(w->done, before); /* never under its caller */
    run(w, 2 * SB_S);
    assert_int_equal(w->done, before + 1);
    return p;
}

static void test_alive(void **state)
{
    world *w = *state;
    sb_probe p = probe_of(w, "10.0.0.5:5000");
    assert_int_equal(p.op.status, SB_OK);
    assert_int_equal(p.liveness, SB_LIVENESS_ALIVE);
    assert_true(p.took >= 8 * SB_MS && p.took < 100 * SB_MS);
    assert_int_equal(sb_stats_get(&w->stats, SB_COUNT_PROBES_ALIVE), 1);
}

static void test_refused(void **state)
{
    world *w = *state;
    w->host.stream_closed = true;
    sb_probe p = probe_of(w, "10.0.0.5:5000");
    assert_int_equal(p.op.status, SB_CONNREFUSED);
    assert_int_equal(p.liveness, SB_LIVENESS_HOST);
    assert_int_equal(sb_stats_get(&w->stats, SB_COUNT_PROBES_REFUSED), 1);
}

static void test_dead(void **state)
{
    world *w = *state;
    w->host.reach = SIM_BLACKHOLE;
    sb_probe p = probe_of(w, "10.0.0.5:5000");
    assert_int_equal(p.op.status, SB_TIMEOUT);
    assert_int_equal(p.liveness, SB_LIVENESS_DEAD);
    assert_int_equal(p.took, SB_PROBE_PATIENCE);
    w->host.reach = SIM_UNREACHABLE;
    p = probe_of(w, "10.0.0.5:5000");
    assert_int_equal(p.op.status, SB_UNREACHABLE);
    assert_int_equal(p.liveness, SB_LIVENESS_DEAD);
    assert_int_equal(sb_stats_get(&w->stats, SB_COUNT_PROBES_DEAD), 2);
}

/* What fails in this machine says nothing of the other. */
static void test_unknown(void **state)
{
    world *w = *state;
    w->host.reach = SIM_NO_ROUTE;
    sb_probe p = probe_of(w, "10.0.0.5:5000");
    assert_int_equal(p.op.status, SB_UNREACHABLE);
    assert_int_equal(p.liveness, SB_LIVENESS_UNKNOWN);
    w->host.reach = SIM_UP;
    sim_fault(w->s)->open = 1000;
    p = probe_of(w, "10.0.0.5:5000");
    assert_int_equal(p.op.status, SB_LIMIT);
    assert_int_equal(p.liveness, SB_LIVENESS_UNKNOWN);
    static const char *const wrong[] = {"10.0.0.5:0", "0.0.0.0:80", "224.0.0.251:5353",
                                        "255.255.255.255:9", "[ff02::fb]:5353", "[::]:80"};
    for (size_t i = 0; i < SB_ARRAY_SIZE(wrong); i++) {
        p = probe_of(w, wrong[i]);
        assert_int_equal(p.op.status, SB_INVALID);
        assert_int_equal(p.liveness, SB_LIVENESS_UNKNOWN);
    }
    assert_int_equal(sb_stats_get(&w->stats, SB_COUNT_PROBES_UNKNOWN), 8);
    assert_string_equal(sb_liveness_text(SB_LIVENESS_HOST), "refused");
}

static void test_deadline_and_cancel(void **state)
{
    world *w = *state;
    sb_probe p;
    sb_addr to = addr("10.0.0.5:5000");
    w->host.reach = SIM_BLACKHOLE;
    sb_probe_start(&p, &w->probes, &to, NULL, sb_env_now(w->env) + 50 * SB_MS, done);
    run(w, 49 * SB_MS);
    assert_int_equal(w->done, 0);
    run(w, 2 * SB_MS);
    assert_int_equal(w->done, 1);
    sb_probe_start(&p, &w->probes, &to, NULL, SB_NEVER, done);
    run(w, 10 * SB_MS);
    assert_int_equal(w->probes.underway, 1);
    sb_op_cancel(&p.op);
    assert_int_equal(w->probes.underway, 0);
    run(w, 2 * SB_S);
    assert_int_equal(w->done, 1);
    assert_int_equal(sb_stats_get(&w->stats, SB_COUNT_PROBES_DEAD), 1);
}

static void test_under_way_limit(void **state)
{
    world *w = *state;
    enum { N = SB_PROBES_UNDERWAY_MAX + 3 };
    sb_probe *p = test_calloc(N, sizeof(*p));
    sb_addr to = addr("10.0.0.5:5000");
    w->host.reach = SIM_BLACKHOLE;
    for (unsigned i = 0; i < N; i++) {
        sb_probe_start(&p[i], &w->probes, &to, NULL, sb_env_now(w->env) + 60 * SB_S, done);
        run(w, 40 * SB_MS); /* below the rate */
    }
    assert_int_equal(w->done, 3);
    assert_int_equal(w->probes.underway, SB_PROBES_UNDERWAY_MAX);
    for (unsigned i = SB_PROBES_UNDERWAY_MAX; i < N; i++)
        assert_int_equal(p[i].op.status, SB_LIMIT);
    assert_int_equal(sb_stats_get(&w->stats, SB_COUNT_LIMIT_PROBES_UNDERWAY), 3);
    assert_int_equal(sb_stats_get(&w->stats, SB_COUNT_LIMIT_PROBES), 0);
    for (unsigned i = 0; i < N; i++)
        sb_op_cancel(&p[i].op);
    test_free(p);
}

static void test_rate_limit(void **state)
{
    world *w = *state;
    enum { N = 400 };
    sb_probe *p = test_calloc(N, sizeof(*p));
    sb_addr to = addr("10.0.0.5:5000");
    unsigned tried = 0;
    for (unsigned i = 0; i < N; i++) { /* for two seconds */
        sb_probe_start(&p[i], &w->probes, &to, NULL, SB_NEVER, done);
        run(w, 5 * SB_MS);
    }
    run(w, SB_S);
    for (unsigned i = 0; i < N; i++)
        tried += p[i].op.status == SB_OK;
    assert_int_equal(w->done, N);
    assert_in_range(tried, 3 * SB_PROBES_PER_S_MAX - 2, 3 * SB_PROBES_PER_S_MAX + 1);
    assert_int_equal(sb_stats_get(&w->stats, SB_COUNT_LIMIT_PROBES), N - tried);
    test_free(p);
}

/* ---- established connections ---- */

static sb_status diag_of(world *w, const char *text)
{
    sb_diag d;
    sb_addr to = addr(text);
    unsigned before = w->done;
    memset(&d, 0xa5, sizeof(d));
    sb_diag_start(&d, &w->probes, &to, NULL, SB_NEVER, done);
    assert_int_equal(w->done, before);
    run(w, 2 * SB_S);
    assert_int_equal(w->done, before + 1);
    return d.op.status;
}

static void established(world *w, const char *text, unsigned count, uint8_t retransmits,
                        bool mapped)
{
    sb_addr to = addr(text);
    sim_established_set(w->s, &to, count, retransmits, mapped);
}

static void test_connections(void **state)
{
    world *w = *state;
    assert_int_equal(diag_of(w, "10.0.0.7"), SB_NOTFOUND);
    established(w, "10.0.0.7:443", 1, 0, false);
    established(w, "10.0.0.8:443", 2, 0, true);
    established(w, "[2001:db8::9]:443", 1, 1, false);
    assert_int_equal(diag_of(w, "10.0.0.7"), SB_OK);
    assert_int_equal(diag_of(w, "10.0.0.7:5000"), SB_OK); /* whatever the port */
    assert_int_equal(diag_of(w, "::ffff:10.0.0.7"), SB_OK);
    assert_int_equal(diag_of(w, "10.0.0.8"), SB_OK); /* mapped */
    assert_int_equal(diag_of(w, "::ffff:10.0.0.8"), SB_OK);
    assert_int_equal(diag_of(w, "2001:db8::9"), SB_OK);
    assert_int_equal(diag_of(w, "2001:db8::8"), SB_NOTFOUND);
    assert_int_equal(diag_of(w, "10.0.0.9"), SB_NOTFOUND);
    assert_int_equal(diag_of(w, "0.0.0.0"), SB_INVALID);
    assert_int_equal(sb_stats_get(&w->stats, SB_COUNT_DIAG_FOUND), 6);
    assert_int_equal(sb_stats_get(&w->stats, SB_COUNT_DIAG_NONE), 3);
    assert_int_equal(sb_stats_get(&w->stats, SB_COUNT_DIAG_UNKNOWN), 1);
}

/* Two transmissions without an answer: established in name only. */
static void test_dying_connection(void **state)
{
    world *w = *state;
    established(w, "10.0.0.7:443", 1, 2, false);
    assert_int_equal(diag_of(w, "10.0.0.7"), SB_NOTFOUND);
    established(w, "10.0.0.7:444", 1, 0, false);
    assert_int_equal(diag_of(w, "10.0.0.7"), SB_OK);
}

static void test_socket_limit(void **state)
{
    world *w = *state;
    established(w, "10.0.0.7:443", SB_DIAG_SOCKETS_MAX - 1, 0, false);
    assert_int_equal(diag_of(w, "10.0.0.9"), SB_NOTFOUND);
    established(w, "10.0.0.8:443", 5, 0, false);
    assert_int_equal(diag_of(w, "10.0.0.9"), SB_LIMIT);
    assert_int_equal(sb_stats_get(&w->stats, SB_COUNT_LIMIT_DIAG), 1);
}

static void test_no_netlink(void **state)
{
    world *w = *state;
    sim_netlink_refuse(w->s, SB_PERM);
    assert_int_equal(diag_of(w, "10.0.0.7"), SB_PERM);
}

static void test_diag_cancelled(void **state)
{
    world *w = *state;
    sb_addr to = addr("10.0.0.9");
    established(w, "10.0.0.7:443", 5000, 0, false);
    for (unsigned steps = 0; steps < 20; steps++) {
        sb_diag d;
        sb_diag_start(&d, &w->probes, &to, NULL, SB_NEVER, done);
        for (unsigned i = 0; i < steps; i++)
            (void)sim_step(w->s, sim_now(w->s) + SB_MS);
        sb_op_cancel(&d.op);
        assert_int_equal(sim_process_leaks(w->s, w->env), 0);
        run(w, SB_S);
    }
    assert_int_equal(w->done, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_alive),           TEST(test_refused),      TEST(test_dead),
        TEST(test_unknown),         TEST(test_deadline_and_cancel),
        TEST(test_under_way_limit), TEST(test_rate_limit),   TEST(test_connections),
        TEST(test_dying_connection), TEST(test_socket_limit), TEST(test_no_netlink),
        TEST(test_diag_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
