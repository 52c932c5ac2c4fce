/* Addresses: every form that parses, its canonical text, every form that must not, classes,
 * prefixes. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/rand.h"

static sb_addr addr_of(const char *text)
{
    sb_addr addr;
    if (!sb_addr_parse(text, strlen(text), &addr))
        fail_msg("%s does not parse", text);
    return addr;
}

static sb_prefix prefix_of(const char *text)
{
    sb_prefix prefix;
    if (!sb_prefix_parse(text, strlen(text), &prefix))
        fail_msg("%s does not parse", text);
    return prefix;
}

static void good_forms_and_their_text(void **state)
{
    (void)state;
    static const struct {
        const char *text, *canonical;
    } table[] = {
        {"0.0.0.0", "0.0.0.0"},
        {"192.0.2.1", "192.0.2.1"},
        {"255.255.255.255", "255.255.255.255"},
        {"::", "::"},
        {"::1", "::1"},
        {"1::", "1::"},
        {"0:0:0:0:0:0:0:0", "::"},
        {"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
        {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"}, /* one group is not compressed (RFC 5952 §4.2.2) */
        {"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
        {"2001:DB8::ABCD", "2001:db8::abcd"},
        {"2001:0db8:0000:0000:0001:0000:0000:0001", "2001:db8::1:0:0:1"}, /* the first of equals */
        {"2001:db8:0:1:0:0:0:1", "2001:db8:0:1::1"},                      /* the longest run */
        {"::ffff:192.0.2.1", "::ffff:192.0.2.1"},
        {"::ffff:c000:201", "::ffff:192.0.2.1"},
        {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
        {"1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"},
        {"::1.2.3.4", "::102:304"},
        {"fe80::1%3", "fe80::1%3"},
        {"fe80::1%4294967295", "fe80::1%4294967295"},
        {"ff02::fb%1", "ff02::fb%1"},
        {"febf::%2", "febf::%2"},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        char buffer[SB_ADDR_TEXT_MAX];
        sb_addr addr = addr_of(table[i].text), again;
        assert_string_equal(sb_addr_text(&addr, buffer), table[i].canonical);
        assert_true(sb_addr_parse(buffer, strlen(buffer), &again));
        assert_true(sb_addr_equal(&addr, &again));
        assert_int_equal(addr.port, 0);
    }
}

static void bad_forms(void **state)
{
    (void)state;
    static const char *const table[] = {
        "",           " ",          "1",           "1.2.3",       "1.2.3.4.5",    "1.2.3.",
        ".1.2.3",     "1..2.3",     "256.1.1.1",   "1.2.3.999",   "01.2.3.4",     "1.2.3.04",
        "1.2.3.00",   "0x1.2.3.4",  "1.2.3.4 ",    " 1.2.3.4",    "1.2.3.-4",     "1.2.3.+4",
        "1.2.3.4%1",  "1.2.3.4/8",  "1.2.3.4:53",  "127.1",       "2130706433",   "localhost",
        ":",          ":::",        "::1::",       "1::2::3",     "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", ":1:2:3:4:5:6:7", "1:2:3:4:5:6:7:", "12345::",
        "g::",        "::g",        "[::1]",       "::1]",        "1:2:3:4:5:6:7:1.2.3.4",
        "::1.2.3",    "::1.2.3.4:5", "::01.2.3.4", "1.2.3.4::",   "::1%",         "::1%1",
        "2001:db8::1%1", "fe80::1%0", "fe80::1%4294967296", "fe80::1%no-such-if0", "fe80::1%%1",
        "fe80::1%a-name-longer-than-any-interface", "ff0e::1%1", "fe80::1 ", "::1/128", "-::1",
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        sb_addr addr = {.port = 42};
        if (sb_addr_parse(table[i], strlen(table[i]), &addr))
            fail_msg("'%s' parses", table[i]);
        assert_int_equal(addr.port, 42);
        assert_int_equal(addr.family, SB_FAMILY_NONE);
    }
    sb_addr addr;
    assert_false(sb_addr_parse("1.2.3.4\0", 8, &addr));
    assert_false(sb_addr_parse("::1\0", 4, &addr));
    assert_false(sb_addr_parse("fe80::1%l\0", 10, &addr));
    assert_true(sb_addr_parse("1.2.3.45", 7, &addr)); /* the size rules */
    assert_int_equal(addr.bytes[3], 4);
}

static void named_scope_is_looked_up(void **state)
{
    (void)state;
    sb_addr addr = addr_of("fe80::1%lo");
    assert_int_not_equal(addr.scope, 0);
}

/* Every cut of good text either parses or does not, and never reads beyond the cut (ASan). */
static void random_addresses_round_trip(void **state)
{
    (void)state;
    enum { SEED = 5952, COUNT = 5000 };
    sb_rand rand;
    sb_rand_seed(&rand, SEED);
    for (unsigned i = 0; i < COUNT; i++) {
        uint8_t bytes[16];
        for (unsigned group = 0; group < 8; group++) {
            uint64_t value = sb_rand_chance(&rand, 500) ? 0 : sb_rand_u64(&rand);
            value >>= sb_rand_below(&rand, 4) * 4 + 48;
            bytes[group * 2] = (uint8_t)(value >> 8);
            bytes[group * 2 + 1] = (uint8_t)value;
        }
        sb_addr addr = sb_addr_6(bytes, 0), again;
        char buffer[SB_ADDR_TEXT_MAX];
        sb_addr_text(&addr, buffer);
        size_t size = strlen(buffer);
        assert_true(sb_addr_parse(buffer, size, &again));
        assert_true(sb_addr_equal(&addr, &again));
        uint8_t oracle[16];
        assert_int_equal(inet_pton(AF_INET6, buffer, oracle), 1);
        assert_memory_equal(oracle, bytes, 16);
        for (size_t cut = 0; cut < size; cut++) {
            char part[SB_ADDR_TEXT_MAX];
            memcpy(part, buffer, cut);
            part[cut] = '\0';
            bool ok = sb_addr_parse(part, cut, &again);
            uint8_t ignored[16];
            if (strchr(part, ':'))
                assert_int_equal(ok, inet_pton(AF_INET6, part, ignored));
        }
    }
}

static void with_port(void **state)
{
    (void)state;
    static const struct {
        const char *text, *canonical; /* canonical NULL: refused */
    } table[] = {
        {"1.2.3.4", "1.2.3.4:53"},
        {"1.2.3.4:5353", "1.2.3.4:5353"},
        {"1.2.3.4:0", "1.2.3.4:0"},
        {"1.2.3.4:65535", "1.2.3.4:65535"},
        {"::1", "[::1]:53"},
        {"[::1]", "[::1]:53"},
        {"[::1]:5353", "[::1]:5353"},
        {"[fe80::1%2]:53", "[fe80::1%2]:53"},
        {"2001:db8::5:53", "[2001:db8::5:53]:53"}, /* without brackets all of it is the address */
        {"", NULL},
        {"1.2.3.4:", NULL},
        {"1.2.3.4:65536", NULL},
        {"1.2.3.4:999999", NULL},
        {"1.2.3.4:000053", NULL},
        {"1.2.3.4:5a", NULL},
        {"1.2.3.4:-1", NULL},
        {"1.2.3.4: 53", NULL},
        {":53", NULL},
        {"[::1", NULL},
        {"[::1]x", NULL},
        {"[::1]53", NULL},
        {"[::1]:", NULL},
        {"[]:53", NULL},
        {"[1.2.3.4]:53", NULL},
        {"[[::1]]:53", NULL},
        {"host:53", NULL},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        char buffer[SB_ADDR_TEXT_MAX];
        sb_addr addr = {.port = 42};
        bool ok = sb_addr_parse_port(table[i].text, strlen(table[i].text), 53, &addr);
        if (ok != (table[i].canonical != NULL))
            fail_msg("'%s' %s", table[i].text, ok ? "parses" : "does not parse");
        if (ok)
            assert_string_equal(sb_addr_text_port(&addr, buffer), table[i].canonical);
        else
            assert_int_equal(addr.port, 42);
    }
}

static void longest_text_fits(void **state)
{
    (void)state;
    uint8_t bytes[16];
    memset(bytes, 0xff, sizeof(bytes));
    sb_addr addr = sb_addr_6(bytes, 65535);
    addr.scope = UINT32_MAX;
    char buffer[SB_ADDR_TEXT_MAX];
    assert_string_equal(sb_addr_text_port(&addr, buffer),
                        "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535");
    sb_addr none = {0};
    assert_string_equal(sb_addr_text(&none, buffer), "none");
}

static void classes(void **state)
{
    (void)state;
    enum { LOOP = 1, ANY = 2, LINK = 4, PRIVATE = 8, GROUP = 16 };
    static const struct {
        const char *text;
        unsigned class;
    } table[] = {
        {"127.0.0.1", LOOP | PRIVATE},
        {"127.255.255.255", LOOP | PRIVATE},
        {"128.0.0.1", 0},
        {"::1", LOOP | PRIVATE},
        {"::2", 0},
        {"::ffff:127.0.0.1", LOOP | PRIVATE},
        {"0.0.0.0", ANY},
        {"::", ANY},
        {"::ffff:0.0.0.0", ANY},
        {"169.254.0.1", LINK | PRIVATE},
        {"169.253.0.1", 0},
        {"fe80::1", LINK | PRIVATE},
        {"febf::1", LINK | PRIVATE},
        {"fec0::1", 0},
        {"10.0.0.1", PRIVATE},
        {"11.0.0.1", 0},
        {"172.16.0.1", PRIVATE},
        {"172.31.255.255", PRIVATE},
        {"172.32.0.1", 0},
        {"172.15.0.1", 0},
        {"192.168.0.1", PRIVATE},
        {"192.169.0.1", 0},
        {"100.64.0.1", PRIVATE},
        {"100.127.0.1", PRIVATE},
        {"100.128.0.1", 0},
        {"100.63.0.1", 0},
        {"fc00::1", PRIVATE},
        {"fdff::1", PRIVATE},
        {"fe00::1", 0},
        {"::ffff:10.0.0.1", PRIVATE},
        {"8.8.8.8", 0},
        {"224.0.0.1", GROUP},
        {"239.255.255.255", GROUP},
        {"240.0.0.1", 0},
        {"255.255.255.255", GROUP},
        {"255.255.255.254", 0},
        {"ff02::1", GROUP},
        {"fe00::ff", 0},
        {"::ffff:224.0.0.1", GROUP},
        {"2001:db8::1", 0},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        sb_addr addr = addr_of(table[i].text);
        unsigned class = (sb_addr_is_loopback(&addr) ? LOOP : 0u) |
                         (sb_addr_is_any(&addr) ? ANY : 0u) |
                         (sb_addr_is_link_local(&addr) ? LINK : 0u) |
                         (sb_addr_is_private(&addr) ? PRIVATE : 0u) |
                         (sb_addr_is_group(&addr) ? GROUP : 0u);
        if (class != table[i].class)
            fail_msg("%s: class %u, not %u", table[i].text, class, table[i].class);
        assert_int_equal(sb_addr_is_host(&addr), !(class & (ANY | GROUP)));
    }
    sb_addr none = {0};
    assert_false(sb_addr_is_loopback(&none) || sb_addr_is_any(&none) ||
                 sb_addr_is_link_local(&none) || sb_addr_is_private(&none) ||
                 sb_addr_is_host(&none));
}

static void comparison(void **state)
{
    (void)state;
    static const char *const ascending[] = {"1.2.3.4:1", "1.2.3.4:2", "1.2.3.5:1", "[::]:1",
                                            "[fe80::1%1]:9", "[fe80::1%2]:1", "[fe80::2%1]:1"};
    for (size_t i = 0; i < SB_ARRAY_SIZE(ascending); i++) {
        for (size_t j = 0; j < SB_ARRAY_SIZE(ascending); j++) {
            sb_addr a, b;
            assert_true(sb_addr_parse_port(ascending[i], strlen(ascending[i]), 0, &a));
            assert_true(sb_addr_parse_port(ascending[j], strlen(ascending[j]), 0, &b));
            int order = sb_addr_compare(&a, &b);
            assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
            assert_int_equal(sb_addr_equal(&a, &b), i == j);
        }
    }
    sb_addr a = addr_of("1.2.3.4"), b = a;
    b.port = 1;
    assert_true(sb_addr_same_host(&a, &b));
    assert_false(sb_addr_equal(&a, &b));
    b = addr_of("::ffff:1.2.3.4"); /* another family on the wire */
    assert_false(sb_addr_same_host(&a, &b));
}

static void socket_addresses_round_trip(void **state)
{
    (void)state;
    static const char *const table[] = {"192.0.2.1:53", "[2001:db8::1]:853", "[fe80::1%7]:5353"};
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        sb_addr addr;
        struct sockaddr_storage sa;
        assert_true(sb_addr_parse_port(table[i], strlen(table[i]), 0, &addr));
        socklen_t size = sb_addr_to_sockaddr(&addr, &sa);
        assert_int_equal(size, addr.family == SB_FAMILY_4 ? sizeof(struct sockaddr_in)
                                                          : sizeof(struct sockaddr_in6));
        sb_addr again = sb_addr_from_sockaddr((const struct sockaddr *)&sa);
        assert_true(sb_addr_equal(&addr, &again));
    }
    sb_addr none = {0}, again;
    struct sockaddr_storage sa;
    assert_int_equal(sb_addr_to_sockaddr(&none, &sa), 0);
    again = sb_addr_from_sockaddr((const struct sockaddr *)&sa);
    assert_int_equal(again.family, SB_FAMILY_NONE);
    again = sb_addr_from_sockaddr(NULL);
    assert_int_equal(again.family, SB_FAMILY_NONE);
}

static void prefixes_parse(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",           "/8",          "10.0.0.0/",    "10.0.0.0/33", "10.0.0.1/8",  "10.0.0.0/-1",
        "10.0.0.0/8 ", "10/8",       "10.0.0.0/8/8", "::/129",      "::1/127",     "fd00::/0008",
        "fe80::%1/64", "10.0.0.0/a", "128.0.0.0/0",  "10.0.0.0/1e1"};
    assert_int_equal(prefix_of("10.0.0.0/8").bits, 8);
    assert_int_equal(prefix_of("10.0.0.1").bits, 32);
    assert_int_equal(prefix_of("::1").bits, 128);
    assert_int_equal(prefix_of("::/0").bits, 0);
    assert_int_equal(prefix_of("10.0.0.128/25").bits, 25);
    for (size_t i = 0; i < SB_ARRAY_SIZE(bad); i++) {
        sb_prefix prefix = {.bits = 42};
        if (sb_prefix_parse(bad[i], strlen(bad[i]), &prefix))
            fail_msg("'%s' parses", bad[i]);
        assert_int_equal(prefix.bits, 42);
    }
}

static void prefixes_match(void **state)
{
    (void)state;
    static const struct {
        const char *prefix, *addr;
        bool inside;
    } table[] = {
        {"10.0.0.0/8", "10.255.255.255", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"10.0.0.0/8", "::ffff:10.1.2.3", true},
        {"10.0.0.0/8", "a00::", false},
        {"10.0.0.0/9", "10.127.0.1", true},
        {"10.0.0.0/9", "10.128.0.1", false},
        {"192.0.2.4/31", "192.0.2.5", true},
        {"192.0.2.4/31", "192.0.2.6", false},
        {"192.0.2.4", "192.0.2.4", true},
        {"192.0.2.4", "192.0.2.5", false},
        {"0.0.0.0/0", "8.8.8.8", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"0.0.0.0/0", "::ffff:8.8.8.8", true},
        {"::/0", "2001:db8::1", true},
        {"::/0", "8.8.8.8", false},
        {"fd00::/8", "fdff::1", true},
        {"fd00::/8", "fc00::1", false},
        {"2001:db8::/33", "2001:db8:7fff::1", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"::1", "::1", true},
        {"::1", "::", false},
        {"::ffff:10.0.0.0/104", "::ffff:10.1.1.1", true},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        sb_prefix prefix = prefix_of(table[i].prefix);
        sb_addr addr = addr_of(table[i].addr);
        if (sb_prefix_contains(&prefix, &addr) != table[i].inside)
            fail_msg("%s in %s", table[i].addr, table[i].prefix);
    }
    sb_prefix everything = prefix_of("::/0");
    sb_addr none = {0};
    assert_false(sb_prefix_contains(&everything, &none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_forms_and_their_text),
        cmocka_unit_test(bad_forms),
        cmocka_unit_test(named_scope_is_looked_up),
        cmocka_unit_test(random_addresses_round_trip),
        cmocka_unit_test(with_port),
        cmocka_unit_test(longest_text_fits),
        cmocka_unit_test(classes),
        cmocka_unit_test(comparison),
        cmocka_unit_test(socket_addresses_round_trip),
        cmocka_unit_test(prefixes_parse),
        cmocka_unit_test(prefixes_match),
    };
    return cmocka_run_group_tests_name("base_addr", tests, NULL, NULL);
}
