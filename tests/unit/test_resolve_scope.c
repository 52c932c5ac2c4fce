/* Which answers belong to one network, and the number under which they lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/list.h"
#include "dns/rdata.h"
#include "resolve/scope.h"

static sb_addr address(const char *text)
{
    sb_addr addr;
    assert_true(sb_addr_parse(text, strlen(text), &addr));
    return addr;
}

static sb_name name_of(const char *text)
{
    sb_name name;
    assert_int_equal(sb_name_parse(text, strlen(text), &name, NULL), SB_OK);
    sb_name_fold(&name);
    return name;
}

static void addresses(void **state)
{
    (void)state;
    static const char *const own[] = {
        "10.0.0.1",  "172.16.0.1",  "172.31.255.255",    "192.168.1.1",  "100.64.0.1",
        "127.0.0.1", "169.254.1.1", "198.18.0.1",        "0.0.0.0",      "fd00::1",
        "fe80::1",   "::1",         "64:ff9b::c000:201", "64:ff9b:1::1", "::ffff:10.0.0.1"};
    static const char *const everybodys[] = {"192.0.2.1",   "8.8.8.8",   "172.32.0.1",
                                             "100.128.0.1", "11.0.0.1",  "2001:db8::1",
                                             "2a00::1",     "198.20.0.1"};
    for (size_t i = 0; i < SB_ARRAY_SIZE(own); i++) {
        sb_addr addr = address(own[i]);
        if (!sb_scope_address(&addr))
            fail_msg("%s is private", own[i]);
    }
    for (size_t i = 0; i < SB_ARRAY_SIZE(everybodys); i++) {
        sb_addr addr = address(everybodys[i]);
        if (sb_scope_address(&addr))
            fail_msg("%s is public", everybodys[i]);
    }
}

static void names(void **state)
{
    (void)state;
    static const char *const own[] = {"printer",
                                      "mlflow.dev.local",
                                      "a.home.arpa",
                                      "x.internal",
                                      "1.0.0.10.in-addr.arpa",
                                      "5.1.168.192.in-addr.arpa",
                                      "1.0.20.172.in-addr.arpa",
                                      "1.0.0.d.f.ip6.arpa",
                                      "NAS.LAN"};
    static const char *const everybodys[] = {
        "example.com",          "local.example",           "homelan.example",
        "1.0.0.8.in-addr.arpa", "1.0.32.172.in-addr.arpa", "1.0.0.2.ip6.arpa",
        "xlocal.example"};
    for (size_t i = 0; i < SB_ARRAY_SIZE(own); i++) {
        sb_name name = name_of(own[i]);
        if (!sb_scope_name(&name))
            fail_msg("%s is private", own[i]);
    }
    for (size_t i = 0; i < SB_ARRAY_SIZE(everybodys); i++) {
        sb_name name = name_of(everybodys[i]);
        if (sb_scope_name(&name))
            fail_msg("%s is public", everybodys[i]);
    }
}

static void answers(void **state)
{
    (void)state;
    sb_question question = {.name = name_of("a.example"), .type = SB_TYPE_A, .class = SB_CLASS_IN};
    const sb_addr mixed[2] = {address("192.0.2.1"), address("10.0.0.1")};
    sb_answer *answer;
    assert_int_equal(sb_answer_from_addresses(&question, mixed, 1, 60, SB_SOURCE_DNS, &answer),
                     SB_OK);
    assert_false(sb_scope_answer(&question, answer));
    sb_answer_unref(answer);
    assert_int_equal(sb_answer_from_addresses(&question, mixed, 2, 60, SB_SOURCE_DNS, &answer),
                     SB_OK);
    assert_true(sb_scope_answer(&question, answer));
    sb_answer_unref(answer);
    assert_int_equal(sb_answer_empty(&question, SB_KIND_NXDOMAIN, 60, SB_SOURCE_DNS, &answer),
                     SB_OK);
    assert_false(sb_scope_answer(&question, answer));
    question.name = name_of("a.corp.local");
    assert_true(sb_scope_answer(&question, answer));
    sb_answer_unref(answer);
}

static void views(void **state)
{
    (void)state;
    for (uint32_t network = 1; network < 20000; network += 7) {
        uint32_t view = sb_scope_view(0, network), routed = sb_scope_view(77, network);
        assert_int_not_equal(view, 0);
        assert_int_not_equal(routed, 77);
        assert_int_not_equal(view, routed);
        assert_true(view < SB_VIEW_EMERGENCY);
        assert_int_equal(view, sb_scope_view(0, network));
        assert_int_not_equal(view, sb_scope_view(0, network + 1));
    }
}

static void sameness(void **state)
{
    (void)state;
    assert_true(sb_scope_same(0x12345678, 0x12345678));
    assert_true(sb_scope_same(0x12340000, 0x12345678));
    assert_true(sb_scope_same(0x12345678, 0x12340000));
    assert_false(sb_scope_same(0x12345678, 0x12345679)); /* another box behind the same address */
    assert_false(sb_scope_same(0x12345678, 0x22345678));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(addresses), cmocka_unit_test(names),
                                       cmocka_unit_test(answers), cmocka_unit_test(views),
                                       cmocka_unit_test(sameness)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
