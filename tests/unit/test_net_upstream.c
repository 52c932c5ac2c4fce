/* Servers: routes, order within tiers, ranking by expected time, breakers and their back-off,
 * silence, hedging's formulas and its budget, recovery. */
#include "net_fake.h"

static const char *const three[] = {"192.0.2.1", "192.0.2.2", "192.0.2.3"};

/* With the first n of the three. */
static fake *fake_of(size_t n)
{
    sb_settings settings = {0};
    sb_server_setting servers[3];
    fake *f = fake_new();
    fake_configure(f, &settings, servers, three, n);
    return f;
}

static const sb_pool *pool_of(fake *f)
{
    sb_name name = fake_name("www.example");
    return sb_upstreams_pool(f->ups, &name);
}

static int choose(fake *f, uint64_t used)
{
    return sb_pool_choose(f->ups, pool_of(f), used);
}

static sb_upstream *server_at(fake *f, unsigned i)
{
    return pool_of(f)->servers[i];
}

static void lose(fake *f, unsigned i, unsigned times)
{
    for (unsigned k = 0; k < times; k++)
        sb_upstream_failed(f->ups, server_at(f, i), SB_TIMEOUT);
}

static void win(fake *f, unsigned i, unsigned times, sb_ns rtt)
{
    for (unsigned k = 0; k < times; k++)
        sb_upstream_succeeded(f->ups, server_at(f, i), SB_PROTOCOL_UDP, rtt);
}

/* A histogram answers with the upper end of a bucket, a quarter of an octave wide. */
static void assert_about(sb_ns value, sb_ns wanted)
{
    if (value < wanted || value > wanted + wanted / 5)
        fail_msg("%lld us, wanted about %lld", (long long)(value / SB_US),
                 (long long)(wanted / SB_US));
}

static void order_and_tiers(void **state)
{
    (void)state;
    fake *f = fake_new();
    sb_settings settings = {0};
    sb_server_setting servers[4];
    assert_int_equal(choose(f, 0), -1); /* nothing configured */
    assert_true(sb_pool_dead(f->ups, pool_of(f)));
    fake_configure(f, &settings, servers, three, 3);
    assert_int_equal(choose(f, 0), 0);
    assert_int_equal(choose(f, 1), 1);
    assert_int_equal(choose(f, 3), 2);
    assert_int_equal(choose(f, 7), -1); /* all used */
    fake_configure(f, &settings, servers,
                   (const char *const[]){"192.0.2.1@2", "192.0.2.2@1", "192.0.2.3@1"}, 3);
    assert_int_equal(choose(f, 0), 1);
    assert_int_equal(choose(f, 2), 2);
    assert_int_equal(choose(f, 6), 0);
    win(f, 0, 20, SB_MS); /* a lower tier is never better, however quick */
    win(f, 1, 20, 300 * SB_MS);
    win(f, 2, 20, 300 * SB_MS);
    lose(f, 1, 2);
    lose(f, 2, 2);
    assert_int_not_equal(choose(f, 0), 0);
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
    fake_configure(f, &settings, servers, three, 3);
    lose(f, 1, 3);
    sb_upstream *held = sb_upstream_ref(server_at(f, 0));
    fake_configure(f, &settings, servers, (const char *const[]){"192.0.2.2", "192.0.2.9"}, 2);
    assert_int_equal(server_at(f, 0)->breaker, SB_BREAKER_OPEN);
    assert_int_equal(choose(f, 0), 1);
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
    fake_configure(
        f, &settings, servers,
        (const char *const[]){"127.0.0.1:5300", "127.0.0.53", "192.0.2.99", "127.0.0.1:5301"}, 4);
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

static void order_holds_while_the_first_succeeds(void **state)
{
    (void)state;
    fake *f = fake_of(3);
    win(f, 0, 50, 80 * SB_MS);
    win(f, 1, 50, 2 * SB_MS);
    assert_int_equal(choose(f, 0), 0); /* slower, but first */
    lose(f, 0, 1);
    assert_int_equal(server_at(f, 0)->success_permille, 968);
    assert_false(sb_upstream_is_shaky(server_at(f, 0)));
    assert_int_equal(choose(f, 0), 0);
    lose(f, 0, 1);
    assert_true(sb_upstream_is_shaky(server_at(f, 0))); /* below 95 % time decides */
    assert_int_equal(choose(f, 0), 1);
    win(f, 0, 12, 80 * SB_MS);
    assert_false(sb_upstream_is_shaky(server_at(f, 0)));
    assert_int_equal(choose(f, 0), 0);
    fake_free(f);
}

static void equals_rank_by_expected_time(void **state)
{
    (void)state;
    fake *f = fake_new();
    sb_settings settings = {.upstreams_equal = true};
    sb_server_setting servers[3];
    fake_configure(f, &settings, servers, three, 3);
    win(f, 0, 50, 15 * SB_MS);
    win(f, 1, 50, 10 * SB_MS);
    win(f, 2, 50, 40 * SB_MS);
    assert_int_equal(choose(f, 0), 1);
    assert_int_equal(choose(f, 2), 0);
    assert_int_equal(choose(f, 3), 2);
    /* Failures cost time: 10 ms with every other question lost is slower than 15 ms. */
    for (unsigned i = 0; i < 60; i++) {
        lose(f, 1, 1);
        win(f, 1, 1, 10 * SB_MS);
    }
    assert_int_equal(server_at(f, 1)->breaker, SB_BREAKER_CLOSED);
    assert_int_equal(choose(f, 0), 0);
    fake_free(f);
}

static void failures_are_forgiven(void **state)
{
    (void)state;
    fake *f = fake_of(2);
    win(f, 0, 50, 10 * SB_MS);
    win(f, 1, 50, 10 * SB_MS);
    for (unsigned i = 0; i < 6; i++) {
        lose(f, 0, 2);
        win(f, 0, 1, 10 * SB_MS);
    }
    uint32_t before = server_at(f, 0)->success_permille;
    assert_true(before < 800);
    assert_int_equal(choose(f, 0), 1);
    f->now += 9 * SB_S; /* nobody asks it, nothing is learned: time must do it */
    assert_int_equal(choose(f, 0), 1);
    assert_int_equal(server_at(f, 0)->success_permille, before);
    for (unsigned i = 0; i < 6 && choose(f, 0) != 0; i++)
        f->now += 10 * SB_S;
    assert_int_equal(choose(f, 0), 0);
    assert_true(server_at(f, 0)->success_permille >= 950);
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
    win(f, 0, 1, SB_MS);
    lose(f, 0, 2); /* in a row */
    assert_int_equal(s->breaker, SB_BREAKER_CLOSED);
    lose(f, 0, 1);
    assert_int_equal(s->breaker, SB_BREAKER_OPEN);
    assert_int_equal(choose(f, 0), -1);
    assert_true(sb_pool_dead(f->ups, pool_of(f)));
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
        assert_int_equal(s->probed_at, f->now);
        assert_int_equal(choose(f, 0), -1); /* a flight that needs an answer does not go there */
        lose(f, 0, 1);
        expect = expect * 2 > 60 * SB_S ? 60 * SB_S : expect * 2;
        assert_int_equal(s->backoff, expect);
    }
    assert_true(most - least > 5 * SB_S); /* there is jitter */
    assert_int_equal(f->seen[SB_EVENT_SERVER_DOWN], 1);
    win(f, 0, 1, 5 * SB_MS);
    assert_int_equal(s->breaker, SB_BREAKER_CLOSED);
    assert_int_equal(f->seen[SB_EVENT_SERVER_UP], 1);
    lose(f, 0, 3);
    assert_int_equal(s->backoff, 1 * SB_S); /* forgotten */
    fake_free(f);
}

static void a_probe_may_be_cancelled(void **state)
{
    (void)state;
    fake *f = fake_of(1);
    sb_upstream *s = server_at(f, 0);
    sb_upstream_probe_cancelled(f->ups, s); /* nothing to cancel */
    assert_int_equal(s->breaker, SB_BREAKER_CLOSED);
    lose(f, 0, 3);
    f->now = s->open_until;
    sb_upstream_probe_begin(f->ups, s);
    sb_upstream_probe_cancelled(f->ups, s);
    assert_int_equal(s->breaker, SB_BREAKER_OPEN);
    assert_int_equal(s->backoff, 1 * SB_S); /* it said nothing, so nothing doubles */
    assert_true(s->open_until <= f->now);   /* and the next may go at once */
    fake_free(f);
}

static void refusals_count_unless_other_names_work(void **state)
{
    (void)state;
    fake *f = fake_of(2);
    sb_upstream *s = server_at(f, 0);
    win(f, 0, 1, SB_MS);
    for (unsigned i = 0; i < 20; i++)
        sb_upstream_failed(f->ups, s, i % 2 ? SB_SERVFAIL : SB_REFUSED);
    assert_int_equal(s->breaker, SB_BREAKER_CLOSED); /* broken zones come in clusters */
    assert_int_equal(s->errors, 20);
    assert_true(sb_upstream_is_shaky(s)); /* but others are asked sooner */
    f->now += 6 * SB_S;                   /* now nothing has worked for a while */
    for (unsigned i = 0; i < 3; i++)
        sb_upstream_failed(f->ups, s, SB_SERVFAIL);
    assert_int_equal(s->breaker, SB_BREAKER_OPEN);
    /* The last one left goes on being asked: who answers, be it no, gates nothing … */
    for (unsigned i = 0; i < 9; i++)
        sb_upstream_failed(f->ups, server_at(f, 1), SB_REFUSED);
    assert_int_equal(server_at(f, 1)->breaker, SB_BREAKER_CLOSED);
    /* … until ten names in a row were refused. */
    sb_upstream_failed(f->ups, server_at(f, 1), SB_REFUSED);
    assert_int_equal(server_at(f, 1)->breaker, SB_BREAKER_OPEN);
    fake_free(f);
}

/* Nonsense about some names is theirs while others are answered; from then on three are enough. */
static void garbage(void **state)
{
    (void)state;
    fake *f = fake_of(1);
    win(f, 0, 1, SB_MS);
    for (unsigned i = 0; i < 100; i++)
        sb_upstream_failed(f->ups, server_at(f, 0), SB_MALFORMED);
    assert_int_equal(server_at(f, 0)->breaker, SB_BREAKER_CLOSED);
    f->now += 6 * SB_S;
    for (unsigned i = 0; i < 3; i++)
        sb_upstream_failed(f->ups, server_at(f, 0), SB_MALFORMED);
    assert_int_equal(server_at(f, 0)->breaker, SB_BREAKER_OPEN);
    fake_free(f);
}

static void the_same_name_again_says_nothing(void **state)
{
    (void)state;
    fake *f = fake_of(1);
    sb_upstream *s = server_at(f, 0);
    lose(f, 0, 2);
    for (unsigned i = 0; i < 10; i++)
        sb_upstream_failed_again(f->ups, s, SB_SERVFAIL);
    assert_int_equal(s->breaker, SB_BREAKER_CLOSED);
    lose(f, 0, 1);
    f->now = s->open_until;
    sb_upstream_probe_begin(f->ups, s);
    sb_upstream_failed_again(f->ups, s, SB_SERVFAIL); /* a probe with it decides nothing */
    assert_int_equal(s->breaker, SB_BREAKER_OPEN);
    assert_int_equal(s->backoff, 1 * SB_S);
    fake_free(f);
}

/* Names of dead zones, asked while the server lived, time out one by one after it has died. */
static void an_old_question_timing_out_is_no_sign_of_life(void **state)
{
    (void)state;
    fake *f = fake_of(2);
    sb_upstream *s = server_at(f, 0);
    for (unsigned i = 0; i < 2; i++) {
        sb_upstream_asked(f->ups, s);
        sb_upstream_failed_again(f->ups, s, SB_TIMEOUT);
    }
    assert_int_equal(s->unanswered, 2);
    f->now += sb_upstream_silence(s);
    sb_upstream_asked(f->ups, s);
    assert_int_equal(s->breaker, SB_BREAKER_OPEN);
    sb_upstream_failed_again(f->ups, s, SB_SERVFAIL); /* a word is one */
    assert_int_equal(s->unanswered, 0);
    fake_free(f);
}

static void silence_opens_the_breaker(void **state)
{
    (void)state;
    fake *f = fake_of(2);
    sb_upstream *s = server_at(f, 0);
    win(f, 0, 100, 5 * SB_MS); /* four times its p99 is below the floor of 50 ms */
    for (unsigned i = 0; i < 10; i++) {
        sb_upstream_asked(f->ups, s);
        f->now += 4 * SB_MS;
    }
    assert_int_equal(s->breaker, SB_BREAKER_CLOSED); /* 40 ms are nothing */
    f->now += 10 * SB_MS;
    sb_upstream_asked(f->ups, s);
    assert_int_equal(s->breaker, SB_BREAKER_OPEN);
    assert_int_equal(s->last_status, SB_TIMEOUT);
    assert_int_equal(f->seen[SB_EVENT_SERVER_DOWN], 1);
    /* Two queries are no pattern, however long they wait. */
    s = server_at(f, 1);
    win(f, 1, 100, 5 * SB_MS);
    sb_upstream_asked(f->ups, s);
    f->now += SB_S;
    sb_upstream_asked(f->ups, s);
    f->now += SB_S;
    sb_upstream_abandoned(f->ups, s, SB_PROTOCOL_UDP, SB_S);
    assert_int_equal(s->breaker, SB_BREAKER_CLOSED);
    /* Any word ends the silence, also a bad one. */
    sb_upstream_failed(f->ups, s, SB_SERVFAIL);
    assert_int_equal(s->unanswered, 0);
    for (unsigned i = 0; i < 3; i++)
        sb_upstream_asked(f->ups, s);
    assert_int_equal(s->breaker, SB_BREAKER_CLOSED);
    win(f, 1, 1, 5 * SB_MS);
    assert_int_equal(s->unanswered, 0);
    fake_free(f);
}

static void suspected(void *context, sb_upstream *server)
{
    *(sb_upstream **)context = server;
}

/* Who has answered is asked before it is given up; who never has is not. */
static void silence_is_verified(void **state)
{
    (void)state;
    fake *f = fake_new();
    sb_settings settings = {0};
    sb_server_setting servers[2];
    sb_upstream *suspect = NULL;
    fake_configure(f, &settings, servers, three, 2);
    sb_upstreams_on_silence(f->ups, suspected, &suspect);
    sb_upstream *s = server_at(f, 0);
    win(f, 0, 100, 5 * SB_MS);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 4; i++) {
            sb_upstream_asked(f->ups, s);
            fake_advance(f, 20 * SB_MS);
        }
        assert_ptr_equal(suspect, s);
        assert_int_equal(s->breaker, SB_BREAKER_CLOSED);
        if (round == 0) /* it answers what it knows: only slow */
            win(f, 0, 1, 5 * SB_MS);
        suspect = NULL;
        sb_upstream_asked(f->ups, s);
        fake_drain(f);
        assert_null(suspect); /* one at a time */
        fake_advance(f, 50 * SB_MS);
        sb_upstream_verified(f->ups, s);
        assert_int_equal(s->breaker, round ? SB_BREAKER_OPEN : SB_BREAKER_CLOSED);
        if (round == 0)
            win(f, 0, 1, 5 * SB_MS);
    }
    s = server_at(f, 1);
    for (unsigned i = 0; i < 4; i++) {
        sb_upstream_asked(f->ups, s);
        fake_advance(f, 200 * SB_MS);
    }
    assert_null(suspect);
    assert_int_equal(s->breaker, SB_BREAKER_OPEN);
    fake_free(f);
}

static void abandoned_losers(void **state)
{
    (void)state;
    fake *f = fake_of(1);
    sb_upstream *s = server_at(f, 0);
    win(f, 0, 100, 10 * SB_MS);
    uint32_t total = s->udp.total;
    sb_upstream_abandoned(f->ups, s, SB_PROTOCOL_UDP,
                          5 * SB_MS); /* it was not given its usual time */
    assert_int_equal(s->udp.total, total);
    assert_int_equal(s->success_permille, 1000);
    for (unsigned i = 0; i < 10; i++)
        sb_upstream_abandoned(f->ups, s, SB_PROTOCOL_UDP,
                              60 * SB_MS); /* it took at least that long */
    assert_true(s->udp.total > total);
    assert_about(sb_latency_quantile(&s->udp, 990), 60 * SB_MS);
    assert_true(sb_upstream_is_shaky(s));
    assert_int_equal(s->breaker, SB_BREAKER_CLOSED);
    fake_free(f);
}

/* One lane that lost over one way says nothing of the other. */
static void latency_by_protocol(void **state)
{
    (void)state;
    fake *f = fake_new();
    sb_settings settings = {0};
    sb_server_setting servers[1];
    fake_configure(f, &settings, servers, three, 1);
    servers[0].tls_name = "dns.example";
    assert_int_equal(sb_upstreams_configure(f->ups, &settings, NULL), SB_OK);
    sb_upstream *s = server_at(f, 0);
    for (unsigned i = 0; i < 1000; i++)
        sb_upstream_succeeded(f->ups, s, SB_PROTOCOL_TLS, 20 * SB_MS);
    sb_ns hedge = sb_upstream_hedge_delay(s), silent = sb_upstream_silence(s);
    sb_upstream_abandoned(f->ups, s, SB_PROTOCOL_TLS, 3 * SB_S);
    assert_int_equal(s->udp.total, 0);
    assert_int_equal(sb_upstream_hedge_delay(s), hedge);
    sb_latency_add(&s->udp, 3 * SB_S); /* whatever datagrams once were */
    assert_int_equal(sb_upstream_hedge_delay(s), hedge);
    assert_int_equal(sb_upstream_silence(s), silent);
    fake_free(f);
}

/* A reload, or a new resolv.conf: what to probe dead servers with stays. */
static void probe_survives_reload(void **state)
{
    (void)state;
    fake *f = fake_new();
    sb_settings settings = {0};
    sb_server_setting servers[1];
    sb_question question = {.name = fake_name("www.example"), .type = 1, .class = 1};
    fake_configure(f, &settings, servers, three, 1);
    sb_upstreams_remember(f->ups, &question, true);
    lose(f, 0, 3);
    assert_true(sb_upstreams_any_dead(f->ups));
    fake_configure(f, &settings, servers, three, 1);
    assert_true(sb_upstreams_any_dead(f->ups));
    assert_true(pool_of(f)->probe_answered);
    assert_true(sb_question_equal(&pool_of(f)->probe, &question));
    fake_free(f);
}

static void hedge_delay(void **state)
{
    (void)state;
    fake *f = fake_of(3);
    sb_upstream *s = server_at(f, 0);
    assert_int_equal(sb_upstream_hedge_delay(s), 50 * SB_MS); /* unknown */
    win(f, 0, 100, SB_MS);
    assert_int_equal(sb_upstream_hedge_delay(s), 5 * SB_MS); /* the floor */
    s = server_at(f, 1);
    win(f, 1, 90, 10 * SB_MS); /* p95 beyond three times the median: that is the bound */
    win(f, 1, 10, 200 * SB_MS);
    assert_int_equal(sb_upstream_hedge_delay(s), 3 * sb_latency_quantile(&s->udp, 500));
    s = server_at(f, 2);
    win(f, 2, 90, 10 * SB_MS);
    win(f, 2, 10, 20 * SB_MS);
    sb_ns p95 = sb_latency_quantile(&s->udp, 950); /* and a margin: timers are late */
    assert_int_equal(sb_upstream_hedge_delay(s), p95 + p95 / 4 + SB_MS);
    fake_free(f);
}

static void silence_and_attempt_timeout(void **state)
{
    (void)state;
    fake *f = fake_of(3);
    sb_upstream *s = server_at(f, 0);
    assert_int_equal(sb_upstream_silence(s), 400 * SB_MS); /* unknown */
    assert_int_equal(sb_upstream_attempt_timeout(s), 800 * SB_MS);
    win(f, 0, 100, 5 * SB_MS);
    assert_int_equal(sb_upstream_silence(s), 50 * SB_MS);
    assert_int_equal(sb_upstream_attempt_timeout(s), 200 * SB_MS);
    s = server_at(f, 1);
    for (unsigned i = 0; i < 100; i++)
        sb_upstream_succeeded(f->ups, s, SB_PROTOCOL_TCP, 40 * SB_MS); /* only ever asked so */
    assert_int_equal(sb_upstream_silence(s), 4 * sb_latency_quantile(&s->stream, 990));
    assert_about(sb_upstream_silence(s), 160 * SB_MS);
    assert_int_equal(sb_upstream_attempt_timeout(s), 2 * sb_upstream_silence(s));
    win(f, 2, 100, 3 * SB_S);
    assert_int_equal(sb_upstream_attempt_timeout(server_at(f, 2)), 2 * SB_S);
    assert_int_equal(sb_upstream_silence(server_at(f, 2)), 4 * SB_S); /* not twelve */
    fake_free(f);
}

static void hedge_budget(void **state)
{
    (void)state;
    fake *f = fake_new();
    unsigned spent = 0;
    while (spent < 1000 && sb_upstreams_spend(f->ups))
        spent++;
    assert_int_equal(spent, 50); /* the burst */
    for (unsigned i = 0; i < 9; i++)
        sb_upstreams_earn(f->ups, 100);
    assert_false(sb_upstreams_spend(f->ups));
    sb_upstreams_earn(f->ups, 100);
    assert_true(sb_upstreams_spend(f->ups)); /* one in ten */
    assert_false(sb_upstreams_spend(f->ups));
    for (unsigned i = 0; i < 5000; i++)
        sb_upstreams_earn(f->ups, 100);
    for (spent = 0; spent < 1000 && sb_upstreams_spend(f->ups);)
        spent++;
    assert_int_equal(spent, 50); /* quiet times are not saved up */
    for (unsigned i = 0; i < 1000; i++)
        sb_upstreams_earn(f->ups, 0);
    assert_false(sb_upstreams_spend(f->ups)); /* 0 %: none */
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
    assert_true(sb_pool_dead(f->ups, pool_of(f)));
    win(f, 0, 1, SB_MS);
    win(f, 1, 1, SB_MS);
    assert_false(sb_pool_dead(f->ups, pool_of(f)));
    assert_int_equal(calls, 0);
    fake_drain(f);
    assert_int_equal(calls, 1);
    lose(f, 0, 3);
    sb_upstreams_reset(f->ups);
    assert_int_equal(server_at(f, 0)->breaker, SB_BREAKER_CLOSED);
    assert_int_equal(server_at(f, 0)->success_permille, 1000);
    assert_int_equal(server_at(f, 1)->udp.total, 0); /* another network, other times */
    fake_drain(f);
    assert_int_equal(calls, 2);
    fake_free(f);
}

static void round_trips(void **state)
{
    (void)state;
    fake *f = fake_of(2);
    sb_upstream *s = server_at(f, 0);
    assert_int_equal(sb_pool_rtt(f->ups, pool_of(f)), 0);
    win(f, 0, 1, 10 * SB_MS);
    assert_int_equal(s->srtt, 10 * SB_MS);
    win(f, 0, 1, 18 * SB_MS);
    assert_int_equal(s->srtt, 11 * SB_MS);
    win(f, 1, 1, 70 * SB_MS);
    assert_int_equal(sb_pool_rtt(f->ups, pool_of(f)), 11 * SB_MS);
    lose(f, 0, 3);
    assert_int_equal(sb_pool_rtt(f->ups, pool_of(f)), 70 * SB_MS); /* who would be asked now */
    lose(f, 1, 3);
    assert_int_equal(sb_pool_rtt(f->ups, pool_of(f)), 0);
    win(f, 0, 1, 0);
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
        cmocka_unit_test(order_holds_while_the_first_succeeds),
        cmocka_unit_test(equals_rank_by_expected_time),
        cmocka_unit_test(failures_are_forgiven),
        cmocka_unit_test(breaker_opens_and_backs_off),
        cmocka_unit_test(a_probe_may_be_cancelled),
        cmocka_unit_test(refusals_count_unless_other_names_work),
        cmocka_unit_test(garbage),
        cmocka_unit_test(the_same_name_again_says_nothing),
        cmocka_unit_test(silence_opens_the_breaker),
        cmocka_unit_test(an_old_question_timing_out_is_no_sign_of_life),
        cmocka_unit_test(silence_is_verified),
        cmocka_unit_test(abandoned_losers),
        cmocka_unit_test(latency_by_protocol),
        cmocka_unit_test(probe_survives_reload),
        cmocka_unit_test(hedge_delay),
        cmocka_unit_test(silence_and_attempt_timeout),
        cmocka_unit_test(hedge_budget),
        cmocka_unit_test(recovery_is_told_from_the_loop),
        cmocka_unit_test(round_trips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
