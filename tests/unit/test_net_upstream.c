/* Order of servers, tiers, routes, breakers: opening, back-off with jitter, half-open, recovery. */
#include "net_fake.h"

static const char *const three[] = {"192.0.2.1", "192.0.2.2", "192.0.2.3"};

static int choose(fake *f, uint64_t used, bool *probe)
{
    sb_name name = fake_name("www.example");
    return sb_pool_choose(f->ups, sb_upstreams_pool(f->ups, &name), used, probe);
}

static sb_upstream *server_at(fake *f, unsigned i)
{
    sb_name name = fake_name("www.example");
    return sb_upstreams_pool(f->ups, &name)->servers[i];
}

static void lose(fake *f, unsigned i, unsigned times)
{
    for (unsigned k = 0; k < times; k++)
        sb_upstream_failed(f->ups, server_at(f, i), SB_TIMEOUT);
}

static void order_and_tiers(void **state)
{
    (void)state;
    fake *f = fake_new();
    sb_settings settings = {0};
    sb_server_setting servers[4];
    bool probe;
    assert_int_equal(choose(f, 0, &probe), -1); /* nothing configured */
    fake_configure(f, &settings, servers, three, 3);
    assert_int_equal(choose(f, 0, &probe), 0);
    assert_false(probe);
    assert_int_equal(choose(f, 1, &probe), 1);
    assert_int_equal(choose(f, 3, &probe), 2);
    assert_int_equal(choose(f, 7, &probe), 0); /* all used: from the start */
    fake_configure(f, &settings, servers,
                   (const char *const[]){"192.0.2.1@2", "192.0.2.2@1", "192.0.2.3@1"}, 3);
    assert_int_equal(choose(f, 0, &probe), 1);
    assert_int_equal(choose(f, 2, &probe), 2);
    assert_int_equal(choose(f, 6, &probe), 0);
    fake_free(f);
}

static void routes(void **state)
{
    (void)state;
    fake *f = fake_new();
    sb_settings settings = {0};
    sb_server_setting servers[3], inner = {.addr = fake_addr("192.0.2.2")};
    sb_route_setting rules[] = {
        {.suffix = fake_name("deep.consul"),
         .strategies = 1u << SB_STRATEGY_MDNS_NATIVE,
         .view = 9},
        {.suffix = fake_name("consul"), .servers = &inner, .server_count = 1, .view = 7},
        {.suffix = fake_name("plain"), .view = 8},
    };
    settings.routes = rules;
    settings.route_count = 3;
    fake_configure(f, &settings, servers, three, 3);
    sb_name name = fake_name("a.CONSUL");
    const sb_pool *pool = sb_upstreams_pool(f->ups, &name);
    assert_int_equal(pool->view, 7);
    assert_int_equal(pool->count, 1);
    assert_ptr_equal(pool->servers[0], server_at(f, 1)); /* one address, one server */
    name = fake_name("x.deep.consul");
    assert_int_equal(sb_upstreams_pool(f->ups, &name)->count, 0);
    name = fake_name("a.plain");
    assert_int_equal(sb_upstreams_pool(f->ups, &name)->count, 3);
    assert_int_equal(sb_upstreams_pool(f->ups, &name)->view, 8);
    name = fake_name("notconsul");
    assert_int_equal(sb_upstreams_pool(f->ups, &name)->view, 0);
    fake_free(f);
}

static bool count_one(void *context, const sb_upstream *server)
{
    (void)server;
    ++*(unsigned *)context;
    return true;
}

static void reload_keeps_states(void **state)
{
    (void)state;
    fake *f = fake_new();
    sb_settings settings = {0};
    sb_server_setting servers[3];
    unsigned n = 0;
    bool probe;
    fake_configure(f, &settings, servers, three, 3);
    lose(f, 1, 3);
    sb_upstream *held = sb_upstream_ref(server_at(f, 0));
    fake_configure(f, &settings, servers, (const char *const[]){"192.0.2.2", "192.0.2.9"}, 2);
    assert_int_equal(server_at(f, 0)->breaker, SB_BREAKER_OPEN);
    assert_int_equal(choose(f, 0, &probe), 1);
    assert_true(sb_upstreams_each(f->ups, count_one, &n));
    assert_int_equal(n, 2); /* what only an exchange holds is not listed */
    sb_upstream_unref(held);
    fake_free(f);
}

static void own_listeners_are_left_out(void **state)
{
    (void)state;
    fake *f = fake_new();
    sb_addr own[] = {fake_addr("127.0.0.1:5300"), fake_addr("0.0.0.0:53")};
    sb_settings settings = {.listen.dns = own, .listen.dns_count = 2};
    sb_server_setting servers[4];
    fake_configure(f, &settings, servers,
                   (const char *const[]){"127.0.0.1:5300", "127.0.0.53", "192.0.2.99",
                                         "127.0.0.1:5301"}, 4);
    sb_name name = fake_name("a");
    const sb_pool *pool = sb_upstreams_pool(f->ups, &name);
    assert_int_equal(pool->count, 1);
    assert_int_equal(pool->servers[0]->addr.port, 5301);
    assert_true(pool->servers[0]->trust_ad); /* auto: loopback */
    fake_free(f);
}

static void resolv_conf_serves_the_default(void **state)
{
    (void)state;
    fake *f = fake_new();
    sb_settings settings = {0};
    sb_resolv_conf resolv = {.server_count = 1};
    resolv.servers[0].addr = fake_addr("192.0.2.7");
    assert_int_equal(sb_upstreams_configure(f->ups, &settings, &resolv), SB_OK);
    assert_string_equal(server_at(f, 0)->name, "192.0.2.7:53");
    assert_false(server_at(f, 0)->trust_ad);
    fake_free(f);
}

static void breaker_opens_and_backs_off(void **state)
{
    (void)state;
    fake *f = fake_new();
    sb_settings settings = {0};
    sb_server_setting servers[1];
    sb_ns least = SB_NEVER, most = 0;
    fake_configure(f, &settings, servers, three, 1);
    sb_upstream *s = server_at(f, 0);
    lose(f, 0, 2);
    assert_int_equal(s->breaker, SB_BREAKER_CLOSED);
    lose(f, 0, 1);
    assert_int_equal(s->breaker, SB_BREAKER_OPEN);
    assert_int_equal(f->seen[SB_EVENT_SERVER_DOWN], 1);
    lose(f, 0, 40); /* what was under way when it opened */
    assert_int_equal(s->backoff, 1 * SB_S);
    sb_ns expect = 1 * SB_S;
    for (int i = 0; i < 200; i++) {
        sb_ns wait = s->open_until - f->now;
        assert_true(wait >= expect - expect / 4 && wait <= expect + expect / 4);
        assert_true(wait <= 60 * SB_S);
        if (expect == 60 * SB_S) {
            least = wait < least ? wait : least;
            most = wait > most ? wait : most;
        }
        f->now = s->open_until;
        sb_upstream_probe_begin(f->ups, s);
        assert_int_equal(s->breaker, SB_BREAKER_HALF_OPEN);
        lose(f, 0, 1);
        expect = expect * 2 > 60 * SB_S ? 60 * SB_S : expect * 2;
        assert_int_equal(s->backoff, expect);
    }
    assert_true(most - least > 5 * SB_S); /* there is jitter */
    assert_int_equal(f->seen[SB_EVENT_SERVER_DOWN], 1);
    sb_upstream_succeeded(f->ups, s, 5 * SB_MS);
    assert_int_equal(s->breaker, SB_BREAKER_CLOSED);
    assert_int_equal(f->seen[SB_EVENT_SERVER_UP], 1);
    lose(f, 0, 3);
    assert_int_equal(s->backoff, 1 * SB_S); /* forgiven */
    fake_free(f);
}

static void open_servers_come_last(void **state)
{
    (void)state;
    fake *f = fake_new();
    sb_settings settings = {0};
    sb_server_setting servers[3];
    bool probe;
    sb_name name = fake_name("a");
    fake_configure(f, &settings, servers, three, 3);
    const sb_pool *pool = sb_upstreams_pool(f->ups, &name);
    lose(f, 0, 3);
    assert_int_equal(choose(f, 0, &probe), 1);
    assert_false(probe);
    assert_int_equal(choose(f, 6, &probe), 0); /* not used yet */
    assert_int_equal(choose(f, 7, &probe), 1);
    f->now = server_at(f, 0)->open_until;
    assert_int_equal(choose(f, 0, &probe), 0); /* the probe is a real question, in its place */
    assert_false(probe); /* others would answer it */
    sb_upstream_probe_begin(f->ups, server_at(f, 0));
    assert_int_equal(choose(f, 0, &probe), 1); /* one probe at a time */
    f->now += 1 * SB_S; /* it never reported back */
    assert_int_equal(choose(f, 0, &probe), 0);
    assert_false(sb_pool_dead(f->ups, pool));
    lose(f, 0, 1);
    lose(f, 1, 3);
    lose(f, 2, 3);
    assert_true(sb_pool_dead(f->ups, pool));
    server_at(f, 0)->open_until = f->now + 9;
    server_at(f, 1)->open_until = f->now + 3;
    server_at(f, 2)->open_until = f->now + 5;
    assert_int_equal(choose(f, 0, &probe), 1);
    assert_true(probe);
    assert_int_equal(choose(f, 2, &probe), 2);
    fake_free(f);
}

static void note(void *context)
{
    ++*(unsigned *)context;
}

static void recovery_is_told_from_the_loop(void **state)
{
    (void)state;
    fake *f = fake_new();
    sb_settings settings = {0};
    sb_server_setting servers[2];
    unsigned calls = 0;
    sb_upstreams_on_recovery(f->ups, note, &calls);
    fake_configure(f, &settings, servers, three, 2);
    lose(f, 0, 3);
    lose(f, 1, 3);
    sb_upstream_succeeded(f->ups, server_at(f, 0), SB_MS);
    sb_upstream_succeeded(f->ups, server_at(f, 1), SB_MS);
    assert_int_equal(calls, 0);
    fake_drain(f);
    assert_int_equal(calls, 1);
    lose(f, 0, 3);
    sb_upstreams_reset(f->ups);
    assert_int_equal(server_at(f, 0)->breaker, SB_BREAKER_CLOSED);
    fake_drain(f);
    assert_int_equal(calls, 2);
    fake_free(f);
}

static void round_trips(void **state)
{
    (void)state;
    fake *f = fake_new();
    sb_settings settings = {0};
    sb_server_setting servers[2];
    sb_name name = fake_name("a");
    fake_configure(f, &settings, servers, three, 2);
    sb_upstream *s = server_at(f, 0);
    assert_int_equal(sb_upstream_attempt_timeout(s), 1 * SB_S);
    assert_int_equal(sb_pool_rtt(sb_upstreams_pool(f->ups, &name)), 0);
    sb_upstream_succeeded(f->ups, s, 10 * SB_MS);
    assert_int_equal(s->srtt, 10 * SB_MS);
    assert_int_equal(s->rttvar, 5 * SB_MS);
    assert_int_equal(sb_upstream_attempt_timeout(s), 200 * SB_MS);
    sb_upstream_succeeded(f->ups, s, 18 * SB_MS);
    assert_int_equal(s->srtt, 11 * SB_MS);
    assert_int_equal(sb_pool_rtt(sb_upstreams_pool(f->ups, &name)), 11 * SB_MS);
    for (int i = 0; i < 50; i++)
        sb_upstream_succeeded(f->ups, s, 3 * SB_S);
    assert_int_equal(sb_upstream_attempt_timeout(s), 2 * SB_S);
    assert_int_equal(s->success_permille, 1000);
    lose(f, 0, 1);
    assert_int_equal(s->success_permille, 937);
    sb_upstream_succeeded(f->ups, s, 0);
    assert_true(s->srtt > 0);
    fake_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_and_tiers),
        cmocka_unit_test(routes),
        cmocka_unit_test(reload_keeps_states),
        cmocka_unit_test(own_listeners_are_left_out),
        cmocka_unit_test(resolv_conf_serves_the_default),
        cmocka_unit_test(breaker_opens_and_backs_off),
        cmocka_unit_test(open_servers_come_last),
        cmocka_unit_test(recovery_is_told_from_the_loop),
        cmocka_unit_test(round_trips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
