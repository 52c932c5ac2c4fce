/* Policy, life-times, special names, patience and the failure cache: the pure parts of resolve/. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "dns/rdata.h"
#include "resolve/flight.h"

static sb_name name_of(const char *text)
{
    sb_name name;
    assert_int_equal(sb_name_parse(text, strlen(text), &name, NULL), SB_OK);
    sb_name_fold(&name);
    return name;
}

static sb_question question_of(const char *text, uint16_t type)
{
    return (sb_question){.name = name_of(text), .type = type, .class = SB_CLASS_IN};
}

static sb_special special(const char *text, bool routed)
{
    sb_question question = question_of(text, SB_TYPE_A);
    return sb_special_of(&question, routed);
}

static void special_names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        sb_special special;
    } table[] = {
        {"localhost", SB_SPECIAL_LOOPBACK},
        {"LocalHost.", SB_SPECIAL_LOOPBACK},
        {"db.localhost", SB_SPECIAL_LOOPBACK},
        {"1.0.0.127.in-addr.arpa", SB_SPECIAL_LOOPBACK},
        {"9.9.9.127.in-addr.arpa", SB_SPECIAL_LOOPBACK},
        {"1.0.0.128.in-addr.arpa", SB_SPECIAL_NONE},
        {"invalid", SB_SPECIAL_NONEXISTENT},
        {"a.invalid", SB_SPECIAL_NONEXISTENT},
        {"x.onion", SB_SPECIAL_NONEXISTENT},
        {"onion.example", SB_SPECIAL_NONE},
        {"10.0.0.1", SB_SPECIAL_LITERAL},
        {"10.0.0.256", SB_SPECIAL_NONE},
        {"10.0.0", SB_SPECIAL_NONE},
        {"printer.local", SB_SPECIAL_LINK_LOCAL},
        {"local", SB_SPECIAL_LINK_LOCAL},
        {"mlflow.hokusai-development.local", SB_SPECIAL_NONE},
        {"notlocalhost", SB_SPECIAL_NONE},
        {"example", SB_SPECIAL_NONE},
        {".", SB_SPECIAL_NONE},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        sb_question question = question_of(table[i].name, SB_TYPE_A);
        if (sb_special_of(&question, false) != table[i].special)
            fail_msg("%s: %d", table[i].name, (int)sb_special_of(&question, false));
    }
    /* A route for local makes two-label names DNS; it makes localhost nothing else. */
    assert_int_equal(special("printer.local", true), SB_SPECIAL_NONE);
    assert_int_equal(special("localhost", true), SB_SPECIAL_LOOPBACK);
}

static void special_answers(void **state)
{
    (void)state;
    sb_question a = question_of("localhost", SB_TYPE_A);
    sb_question mx = question_of("localhost", SB_TYPE_MX);
    sb_question ptr = question_of("1.0.0.127.in-addr.arpa", SB_TYPE_PTR);
    sb_question literal = question_of("192.0.2.7", SB_TYPE_A);
    sb_question literal6 = question_of("192.0.2.7", SB_TYPE_AAAA);
    sb_question onion = question_of("x.onion", SB_TYPE_A);
    sb_answer *answer = NULL;
    sb_addr addr[4];
    assert_int_equal(sb_special_answer(SB_SPECIAL_LOOPBACK, &a, &answer), SB_OK);
    assert_int_equal(sb_answer_addresses(answer, addr, 4), 1);
    assert_true(sb_addr_is_loopback(&addr[0]));
    sb_answer_unref(answer);
    assert_int_equal(sb_special_answer(SB_SPECIAL_LOOPBACK, &mx, &answer), SB_OK);
    assert_int_equal(answer->kind, SB_KIND_NODATA);
    sb_answer_unref(answer);
    assert_int_equal(sb_special_answer(SB_SPECIAL_LOOPBACK, &ptr, &answer), SB_OK);
    assert_int_equal(answer->kind, SB_KIND_POSITIVE);
    sb_answer_unref(answer);
    assert_int_equal(sb_special_answer(SB_SPECIAL_LITERAL, &literal, &answer), SB_OK);
    assert_int_equal(sb_answer_addresses(answer, addr, 4), 1);
    assert_int_equal(addr[0].bytes[3], 7);
    sb_answer_unref(answer);
    assert_int_equal(sb_special_answer(SB_SPECIAL_LITERAL, &literal6, &answer), SB_OK);
    assert_int_equal(answer->kind, SB_KIND_NODATA);
    sb_answer_unref(answer);
    assert_int_equal(sb_special_answer(SB_SPECIAL_NONEXISTENT, &onion, &answer), SB_OK);
    assert_int_equal(answer->kind, SB_KIND_NXDOMAIN);
    sb_answer_unref(answer);
}

static void life_times(void **state)
{
    (void)state;
    sb_policy policy = {
        .ttl_min_s = 10, .ttl_max_s = 300, .negative_ttl_max_s = 60, .keep = 100 * SB_S};
    static const struct {
        uint8_t kind;
        uint16_t flags;
        uint32_t ttl_s, due_s, expires_s;
    } table[] = {
        {SB_KIND_POSITIVE, 0, 100, 100, 100},
        {SB_KIND_POSITIVE, 0, 3600, 300, 3600}, /* the cap: due, not stale */
        {SB_KIND_POSITIVE, 0, 5, 10, 5},        /* the floor */
        {SB_KIND_POSITIVE, 0, 0, 0, 0},         /* never touched by the floor */
        {SB_KIND_NXDOMAIN, 0, 3600, 60, 3600},
        {SB_KIND_NODATA, 0, 5, 5, 5}, /* nor are negatives */
        {SB_KIND_NODATA, SB_ANSWER_NO_SOA, 0, 5, 5},
        {SB_KIND_NXDOMAIN, SB_ANSWER_NO_SOA, 3600, 5, 5},
    };
    const sb_tick now = 1000;
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        sb_answer answer = {
            .kind = table[i].kind, .flags = table[i].flags, .ttl_s = table[i].ttl_s};
        sb_l1_life life = sb_policy_life(&policy, &answer, now);
        assert_int_equal(life.learned, now);
        assert_int_equal(life.due, now + table[i].due_s * SB_TICKS_PER_S);
        assert_int_equal(life.expires, now + table[i].expires_s * SB_TICKS_PER_S);
        /* one without SOA is nobody's word in need */
        sb_tick kept = table[i].flags & SB_ANSWER_NO_SOA ? 0 : 100 * SB_TICKS_PER_S;
        assert_int_equal(life.stale_until, life.expires + kept);
    }
    /* Saturates instead of wrapping into the past. */
    sb_answer answer = {.kind = SB_KIND_POSITIVE, .ttl_s = SB_TTL_MAX_S};
    sb_l1_life life = sb_policy_life(&policy, &answer, UINT32_MAX - 100);
    assert_true(life.expires >= UINT32_MAX - 100 && life.stale_until >= life.expires);
}

static void rules_by_name(void **state)
{
    (void)state;
    sb_addr emergency = sb_addr_4((const uint8_t[4]){10, 0, 1, 221}, 0);
    sb_name_setting rules[] = {
        {.match = name_of("a.b.example"), .has_ttl_max = true, .ttl_max_s = 1},
        {.match = name_of("b.example"), .below = true, .has_family = true, .family = SB_ONLY_4},
        {.match = name_of("example"), .emergency = &emergency, .emergency_count = 1},
    };
    sb_settings settings = {.names = rules, .name_count = 3};
    settings.cache.ttl_max_s = 300;
    settings.cache.keep = SB_S;
    sb_question exact = question_of("a.b.example", SB_TYPE_A);
    sb_question below = question_of("x.y.b.example", SB_TYPE_A);
    sb_question apex = question_of("b.example", SB_TYPE_A);
    sb_question top = question_of("example", SB_TYPE_A);
    sb_policy p = sb_policy_of(&settings, &exact);
    assert_int_equal(p.ttl_max_s, 1);
    assert_int_equal(p.family, SB_PREFER_4);
    p = sb_policy_of(&settings, &below);
    assert_int_equal(p.family, SB_ONLY_4);
    assert_true(sb_policy_hides(&p, SB_TYPE_AAAA) && !sb_policy_hides(&p, SB_TYPE_A));
    p = sb_policy_of(&settings, &apex); /* '*.' is below, not the name itself */
    assert_int_equal(p.family, SB_PREFER_4);
    assert_int_equal(p.ttl_max_s, 300);
    p = sb_policy_of(&settings, &top);
    assert_int_equal(p.emergency_count, 1);
    assert_true(p.protect); /* emergency implies protect */
}

/* The rule's probe says the port, else a service of that host does. */
static void ports_by_name(void **state)
{
    (void)state;
    sb_name_setting rules[] = {
        {.match = name_of("a.example"), .probe = {SB_PROBE_TCP, 443, NULL, 20 * SB_S}},
        {.match = name_of("b.example"), .has_emergency_for = true, .emergency_for = SB_S},
    };
    sb_service_setting services[] = {{.host = name_of("b.example"), .port = 5000},
                                     {.host = {.size = 0}, .port = 80},
                                     {.host = name_of("a.example"), .port = 5001}};
    sb_settings settings = {
        .names = rules, .name_count = 2, .services = services, .service_count = 3};
    sb_question a = question_of("a.example", SB_TYPE_A), b = question_of("b.example", SB_TYPE_A);
    sb_question c = question_of("c.example", SB_TYPE_A);
    sb_policy p = sb_policy_of(&settings, &a);
    assert_int_equal(p.port, 443);
    assert_int_equal(p.probe_every, 20 * SB_S);
    p = sb_policy_of(&settings, &b);
    assert_int_equal(p.port, 5000);
    assert_int_equal(p.probe_every, 10 * SB_S);
    assert_int_equal(p.emergency_for, SB_S);
    p = sb_policy_of(&settings, &c);
    assert_int_equal(p.port, 0);
}

static void patience(void **state)
{
    (void)state;
    assert_int_equal(sb_flight_patience(-1, 10 * SB_MS, true), 0);
    assert_int_equal(sb_flight_patience(-1, 0, false), 20 * SB_MS);
    assert_int_equal(sb_flight_patience(-1, SB_MS, false), 20 * SB_MS);
    assert_int_equal(sb_flight_patience(-1, 50 * SB_MS, false), 150 * SB_MS);
    assert_int_equal(sb_flight_patience(-1, 120 * SB_MS, false), 300 * SB_MS);
    assert_int_equal(sb_flight_patience(-1, 400 * SB_MS, false), 800 * SB_MS);
    assert_int_equal(sb_flight_patience(-1, 5 * SB_S, false), 1800 * SB_MS);
    assert_int_equal(sb_flight_patience(5 * SB_S, SB_MS, false), 1800 * SB_MS);
    assert_int_equal(sb_flight_patience(0, SB_MS, false), 0);
}

static void failure_cache(void **state)
{
    (void)state;
    const uint8_t secret[16] = {1};
    sb_troubles troubles;
    sb_question_key key, other;
    sb_question question = question_of("a.example", SB_TYPE_A);
    assert_int_equal(sb_troubles_init(&troubles, secret), SB_OK);
    sb_question_key_of(&question, 0, &key);
    question.checking_disabled = true;
    sb_question_key_of(&question, 0, &other);
    assert_non_null(sb_troubles_add(&troubles, &key, SB_SERVFAIL, SB_EDE_NONE, 0, 0));
    assert_non_null(sb_troubles_active(&troubles, &key, SB_S - 1));
    assert_null(sb_troubles_active(&troubles, &key, SB_S)); /* 1 s after the first failure */
    assert_null(sb_troubles_active(&troubles, &other, 0));  /* another question altogether */
    assert_non_null(sb_troubles_add(&troubles, &key, SB_TIMEOUT, SB_EDE_NONE, SB_S, 0));
    assert_non_null(sb_troubles_active(&troubles, &key, 3 * SB_S - 1));
    assert_null(sb_troubles_active(&troubles, &key, 3 * SB_S)); /* 2 s after the second */
    sb_troubles_add(&troubles, &key, SB_TIMEOUT, SB_EDE_NONE, 3 * SB_S, 60 * SB_S);
    sb_troubles_void(&troubles); /* a server is back */
    assert_null(sb_troubles_active(&troubles, &key, 3 * SB_S));
    bool told;
    assert_false(sb_troubles_clear(&troubles, &key, &told));
    assert_false(told);
    assert_false(sb_troubles_clear(&troubles, &key, &told));
    for (unsigned count = 1; count < 40; count++)
        assert_true(sb_trouble_pause(count) >= SB_S && sb_trouble_pause(count) <= 30 * SB_S);
    /* Bounded: the oldest goes. */
    for (unsigned i = 0; i < SB_TROUBLES_MAX + 10; i++) {
        question.type = (uint16_t)(i % 60000);
        sb_question_key_of(&question, i / 60000, &other);
        sb_troubles_add(&troubles, &other, SB_TIMEOUT, SB_EDE_NONE, 0, SB_S);
    }
    assert_int_equal(troubles.map.count, SB_TROUBLES_MAX);
    sb_troubles_fini(&troubles);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(special_names), cmocka_unit_test(special_answers),
        cmocka_unit_test(life_times),    cmocka_unit_test(rules_by_name),
        cmocka_unit_test(ports_by_name), cmocka_unit_test(patience),
        cmocka_unit_test(failure_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
