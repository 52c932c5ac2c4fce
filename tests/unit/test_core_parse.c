/* Text to values: durations, sizes, percentages, servers, words of choices, and resolv.conf. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/settings.h"

static void assert_addr(const sb_addr *addr, const char *expected)
{
    char text[SB_ADDR_TEXT_MAX];
    assert_string_equal(addr->port ? sb_addr_text_port(addr, text) : sb_addr_text(addr, text),
                        expected);
}

/* --- value parsers --- */

static void durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        sb_ns value; /* -1: refused */
        sb_ns bare;
    } table[] = {
        {"300s", 300 * SB_S, 300 * SB_S},
        {"5m", 300 * SB_S, 300 * SB_S},
        {"3d", 259200 * SB_S, 259200 * SB_S},
        {"20ms", 20 * SB_MS, 20 * SB_MS},
        {"1h", 3600 * SB_S, 3600 * SB_S},
        {"2w", 1209600 * SB_S, 1209600 * SB_S},
        {"7us", 7 * SB_US, 7 * SB_US},
        {"7ns", 7, 7},
        {"0s", 0, 0},
        {"1.5h", 5400 * SB_S, 5400 * SB_S},
        {"0.000000001s", 1, 1},
        {"300", -1, 300 * SB_S},
        {"0.25", -1, 250 * SB_MS},
        {"0", -1, 0},
        {"", -1, -1},
        {"s", -1, -1},
        {".5s", -1, -1},
        {"5.s", -1, -1},
        {"1.5ns", -1, -1},
        {"0.0000000001s", -1, -1},
        {"1.2.3s", -1, -1},
        {"-5s", -1, -1},
        {"+5s", -1, -1},
        {"5 s", -1, -1},
        {" 5s", -1, -1},
        {"5s ", -1, -1},
        {"5S", -1, -1},
        {"5min", -1, -1},
        {"1h30m", -1, -1},
        {"106751d", SB_S * 86400 * 106751, SB_S * 86400 * 106751},
        {"106752d", -1, -1},
        {"9223372036854775807ns", -1, -1}, /* that is never */
        {"99999999999999999999s", -1, -1},
        {"18446744073709551615s", -1, -1},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        sb_ns value = -1;
        assert_int_equal(sb_parse_duration(table[i].text, false, &value), table[i].value != -1);
        assert_int_equal(value, table[i].value);
        value = -1;
        assert_int_equal(sb_parse_duration(table[i].text, true, &value), table[i].bare != -1);
        assert_int_equal(value, table[i].bare);
    }
}

static void sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t value; /* UINT64_MAX: refused */
    } table[] = {
        {"64MiB", 64 << 20},
        {"1GiB", 1 << 30},
        {"512KiB", 512 << 10},
        {"2TiB", 2ULL << 40},
        {"10B", 10},
        {"4096", 4096},
        {"1MB", 1000000},
        {"1kB", 1000},
        {"1.5MiB", 3 << 19},
        {"64 MiB", UINT64_MAX},
        {"64mib", UINT64_MAX},
        {"64M", UINT64_MAX},
        {"MiB", UINT64_MAX},
        {"", UINT64_MAX},
        {"-1", UINT64_MAX},
        {"0.3B", UINT64_MAX},
        {"1e6", UINT64_MAX},
        {"16777215TiB", 16777215ULL << 40},
        {"16777216TiB", UINT64_MAX},
        {"1KB", UINT64_MAX},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        uint64_t value = UINT64_MAX;
        assert_int_equal(sb_parse_size(table[i].text, &value), table[i].value != UINT64_MAX);
        assert_int_equal(value, table[i].value);
    }
}

static void percentages(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t value; /* UINT32_MAX: refused */
    } table[] = {
        {"10%", 100},
        {"0%", 0},
        {"100%", 1000},
        {"0.5%", 5},
        {"99.9%", 999},
        {"10.0%", 100},
        {"10.00%", 100},
        {"100.1%", UINT32_MAX},
        {"101%", UINT32_MAX},
        {"10", UINT32_MAX},
        {"%", UINT32_MAX},
        {"", UINT32_MAX},
        {"0.05%", UINT32_MAX},
        {"-1%", UINT32_MAX},
        {"10 %", UINT32_MAX},
        {"10%%", UINT32_MAX},
        {"4294967296%", UINT32_MAX},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        uint32_t value = UINT32_MAX;
        assert_int_equal(sb_parse_percent(table[i].text, &value), table[i].value != UINT32_MAX);
        assert_int_equal(value, table[i].value);
    }
}

static void servers(void **state)
{
    (void)state;
    static const struct {
        const char *text, *addr, *name, *tls; /* tls "-": none */
    } table[] = {
        {"10.0.0.2", "10.0.0.2:53", "10.0.0.2", "-"},
        {"10.0.0.3:5353", "10.0.0.3:5353", "10.0.0.3:5353", "-"},
        {"[::1]", "[::1]:53", "::1", "-"},
        {"::1", "[::1]:53", "::1", "-"},
        {"[2001:db8::1]:54", "[2001:db8::1]:54", "[2001:db8::1]:54", "-"},
        {"tls://10.0.0.4:853#dns.example", "10.0.0.4:853", "10.0.0.4", "dns.example"},
        {"tls://[::1]#x", "[::1]:853", "::1", "x"},
        {"tls://10.0.0.4", "10.0.0.4:853", "10.0.0.4", ""},
        {"tls://10.0.0.4:53", "10.0.0.4:53", "10.0.0.4:53", ""},
    };
    sb_arena arena;
    sb_arena_init(&arena, 1 << 16);
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        sb_server_setting server;
        assert_int_equal(sb_server_parse(&arena, table[i].text, &server, NULL), SB_OK);
        assert_addr(&server.addr, table[i].addr);
        assert_string_equal(server.name, table[i].name);
        assert_string_equal(server.tls_name ? server.tls_name : "-", table[i].tls);
        assert_int_equal(server.tier, 0);
        assert_int_equal(server.trust_ad, SB_TRUST_AUTO);
    }
    static const char *const bad[] = {
        "",        "x",       "10.0.0.1:",      "10.0.0.1:65536",     "[::1",
        "tls://",  "tls://x", "udp://10.0.0.1", "10.0.0.1#x",         "10.0.0.1:0",
        "0.0.0.0", "[::]:53", "10.0.0.1 ",      "tls://10.0.0.1#a..b"};
    for (size_t i = 0; i < SB_ARRAY_SIZE(bad); i++) {
        sb_server_setting server;
        sb_why why = {""};
        assert_int_equal(sb_server_parse(&arena, bad[i], &server, &why), SB_INVALID);
        assert_non_null(strstr(why.text, "server"));
    }
    sb_arena_fini(&arena);
    sb_arena_init(&arena, 16);
    sb_server_setting server;
    assert_int_equal(sb_server_parse(&arena, "tls://10.0.0.1#x", &server, NULL), SB_NOMEM);
    sb_arena_fini(&arena);
}

static void words_of_choices(void **state)
{
    (void)state;
    for (unsigned i = 0; i <= SB_PREFER_RFC6724; i++) {
        sb_family_policy policy;
        assert_true(sb_family_policy_parse(sb_family_policy_text((sb_family_policy)i), &policy));
        assert_int_equal(policy, i);
    }
    sb_family_policy policy;
    assert_false(sb_family_policy_parse("ipv5", &policy));
    assert_string_equal(sb_family_policy_text((sb_family_policy)99), "unknown");
    assert_string_equal(sb_strategy_text(SB_STRATEGY_MDNS_NATIVE), "mdns-native");
    assert_string_equal(sb_strategy_text(SB_STRATEGY_COUNT), "unknown");
}

/* --- resolv.conf --- */

static sb_resolv_conf parse(const char *text)
{
    sb_resolv_conf conf;
    sb_resolv_conf_parse((const uint8_t *)text, strlen(text), &conf);
    return conf;
}

static void a_usual_resolv_conf(void **state)
{
    (void)state;
    sb_resolv_conf conf = parse("# Generated\n"
                                "; by hand\n"
                                "nameserver 192.0.2.1\n"
                                "nameserver\t2001:db8::1   # second\n"
                                "search Corp.Example example.org.\n"
                                "options edns0 ndots:2 trust-ad\n");
    assert_int_equal(conf.server_count, 2);
    assert_addr(&conf.servers[0].addr, "192.0.2.1:53");
    assert_addr(&conf.servers[1].addr, "[2001:db8::1]:53");
    assert_string_equal(conf.servers[0].name, "");
    assert_int_equal(conf.search_count, 2);
    char text[SB_NAME_TEXT_MAX];
    assert_string_equal(sb_name_text(&conf.search[0], text), "corp.example");
    assert_int_equal(conf.ndots, 2);
}

static void an_odd_resolv_conf(void **state)
{
    (void)state;
    assert_int_equal(parse("").server_count, 0);
    assert_int_equal(parse("").ndots, 1);
    assert_int_equal(parse("nameserver 192.0.2.1").server_count, 1); /* no newline at the end */
    assert_int_equal(parse("nameserver 192.0.2.1\r\nnameserver 192.0.2.2\r\n").server_count, 2);
    assert_int_equal(parse("nameserver 192.0.2.1\nnameserver 192.0.2.1\n").server_count, 1);
    assert_int_equal(parse("nameserver\nnameserver \nnameserver x.example\n").server_count, 0);
    assert_int_equal(parse("nameservers 192.0.2.1\nNAMESERVER 192.0.2.1\n").server_count, 0);
    assert_int_equal(parse(" nameserver 192.0.2.1\n").server_count, 1);
    assert_int_equal(parse("#nameserver 192.0.2.1\n;nameserver 192.0.2.2\n").server_count, 0);
    assert_int_equal(parse("nameserver 192.0.2.1:0\nnameserver 192.0.2.01\n").server_count, 0);
    sb_resolv_conf conf = parse("nameserver 0.0.0.0\nnameserver ::\nnameserver [::1]:5354\n");
    assert_int_equal(conf.server_count, 3);
    assert_addr(&conf.servers[0].addr, "127.0.0.1:53");
    assert_addr(&conf.servers[1].addr, "[::1]:53");
    assert_addr(&conf.servers[2].addr, "[::1]:5354");
    /* A NUL makes a line odd, not the file. */
    static const char nul[] = "nameserver 192.0.2.1\0\nnameserver 192.0.2.2\n";
    sb_resolv_conf_parse((const uint8_t *)nul, sizeof(nul) - 1, &conf);
    assert_int_equal(conf.server_count, 1);
    assert_addr(&conf.servers[0].addr, "192.0.2.2:53");
    sb_resolv_conf_parse(NULL, 0, &conf);
    assert_int_equal(conf.server_count, 0);
}

static void resolv_conf_is_bounded(void **state)
{
    (void)state;
    sb_text text = {0};
    for (unsigned i = 1; i <= 20; i++)
        sb_text_add(&text, "nameserver 192.0.2.%u\n", i);
    sb_text_add(&text, "search");
    for (unsigned i = 1; i <= 40; i++)
        sb_text_add(&text, " d%u.example", i);
    sb_resolv_conf conf = parse(text.data);
    assert_int_equal(conf.server_count, 8);
    assert_addr(&conf.servers[7].addr, "192.0.2.8:53");
    assert_int_equal(conf.search_count, 16);
    sb_text_fini(&text);
}

static void the_last_of_search_and_domain_counts(void **state)
{
    (void)state;
    char text[SB_NAME_TEXT_MAX];
    sb_resolv_conf conf = parse("search a.example b.example\ndomain c.example d.example\n");
    assert_int_equal(conf.search_count, 1);
    assert_string_equal(sb_name_text(&conf.search[0], text), "c.example");
    conf = parse("domain c.example\nsearch a.example b.example\n");
    assert_int_equal(conf.search_count, 2);
    assert_int_equal(parse("search a.example\nsearch .\n").search_count, 0);
    assert_int_equal(parse("search a..b ok.example\n").search_count, 1);
}

static void ndots_is_capped(void **state)
{
    (void)state;
    assert_int_equal(parse("options ndots:0\n").ndots, 0);
    assert_int_equal(parse("options ndots:15\n").ndots, 15);
    assert_int_equal(parse("options ndots:16\n").ndots, 15);
    assert_int_equal(parse("options ndots:99999999999999999999999\n").ndots, 1);
    assert_int_equal(parse("options ndots:\n").ndots, 1);
    assert_int_equal(parse("options ndots:-1 ndots:x\n").ndots, 1);
    assert_int_equal(parse("options ndots:2 rotate\noptions ndots:3\n").ndots, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations),
        cmocka_unit_test(sizes),
        cmocka_unit_test(percentages),
        cmocka_unit_test(servers),
        cmocka_unit_test(words_of_choices),
        cmocka_unit_test(a_usual_resolv_conf),
        cmocka_unit_test(an_odd_resolv_conf),
        cmocka_unit_test(resolv_conf_is_bounded),
        cmocka_unit_test(the_last_of_search_and_domain_counts),
        cmocka_unit_test(ndots_is_capped),
    };
    return cmocka_run_group_tests_name("core_parse", tests, NULL, NULL);
}
