/* Targets: every form of input, every refusal with its sentence, rewriting and masking. */
#include "base/mem.h"
#include "dns/target.h"
#include "dns_make.h"

static bool span_is(sb_span span, const char *text)
{
    return span.size == strlen(text) && (span.size == 0 || memcmp(span.data, text, span.size) == 0);
}

static const struct {
    const char *text;
    sb_target_form form;
    const char *host; /* name's or literal's text */
    uint16_t port;
    bool has_port, literal, absolute, tls;
    const char *userinfo, *rest;
} good[] = {
    {"example.com", SB_TARGET_HOST, "example.com", 0, false, false, false, false, "", ""},
    {"Example.COM.", SB_TARGET_HOST, "Example.COM", 0, false, false, true, false, "", ""},
    {"localhost", SB_TARGET_HOST, "localhost", 0, false, false, false, false, "", ""},
    {"_sip._tcp.example", SB_TARGET_HOST, "_sip._tcp.example", 0, 0, 0, 0, 0, "", ""},
    {"3com.com", SB_TARGET_HOST, "3com.com", 0, false, false, false, false, "", ""},
    {"1.2.3.com", SB_TARGET_HOST, "1.2.3.com", 0, false, false, false, false, "", ""},
    {"host.123", SB_TARGET_HOST, "host.123", 0, false, false, false, false, "", ""},
    {"r3---sn-x.example", SB_TARGET_HOST, "r3---sn-x.example", 0, 0, 0, 0, 0, "", ""},
    {"xn--bcher-kva.example", SB_TARGET_HOST, "xn--bcher-kva.example", 0, 0, 0, 0, 0, "", ""},
    {"example.com:80", SB_TARGET_HOST, "example.com", 80, true, false, false, false, "", ""},
    {"example.com.:65535", SB_TARGET_HOST, "example.com", 65535, true, 0, true, 0, "", ""},
    {"192.0.2.1", SB_TARGET_LITERAL, "192.0.2.1", 0, false, true, false, false, "", ""},
    {"192.0.2.1:53", SB_TARGET_LITERAL, "192.0.2.1", 53, true, true, false, false, "", ""},
    {"::1", SB_TARGET_LITERAL, "::1", 0, false, true, false, false, "", ""},
    {"2001:DB8::1", SB_TARGET_LITERAL, "2001:db8::1", 0, false, true, false, false, "", ""},
    {"[2001:db8::1]", SB_TARGET_LITERAL, "2001:db8::1", 0, false, true, false, false, "", ""},
    {"[2001:db8::1]:443", SB_TARGET_LITERAL, "2001:db8::1", 443, true, true, 0, 0, "", ""},
    {"fe80::1%3", SB_TARGET_LITERAL, "fe80::1%3", 0, false, true, false, false, "", ""},
    {"[fe80::1%3]:80", SB_TARGET_LITERAL, "fe80::1%3", 80, true, true, false, false, "", ""},
    {"::ffff:192.0.2.1", SB_TARGET_LITERAL, "::ffff:192.0.2.1", 0, 0, true, 0, 0, "", ""},
    {"http://example.com", SB_TARGET_URL, "example.com", 80, false, false, 0, 0, "", ""},
    {"HTTP://example.com/", SB_TARGET_URL, "example.com", 80, false, false, 0, 0, "", "/"},
    {"https://u:p@example.com:8443/a/b?c=d#e", SB_TARGET_URL, "example.com", 8443, true, false,
     false, true, "u:p", "/a/b?c=d#e"},
    {"http://u@v:w@example.com?x", SB_TARGET_URL, "example.com", 80, 0, 0, 0, 0, "u@v:w", "?x"},
    {"http://example.com/a@b:c", SB_TARGET_URL, "example.com", 80, 0, 0, 0, 0, "", "/a@b:c"},
    {"http://example.com?u=http://x", SB_TARGET_URL, "example.com", 80, 0, 0, 0, 0, "",
     "?u=http://x"},
    {"http://example.com#f", SB_TARGET_URL, "example.com", 80, 0, 0, 0, 0, "", "#f"},
    {"http://[2001:db8::1]/", SB_TARGET_URL, "2001:db8::1", 80, false, true, 0, 0, "", "/"},
    {"http://[2001:db8::1]:81/", SB_TARGET_URL, "2001:db8::1", 81, true, true, 0, 0, "", "/"},
    {"http://[fe80::1%253]/", SB_TARGET_URL, "fe80::1%3", 80, false, true, 0, 0, "", "/"},
    {"http://[fe80::1%3]/", SB_TARGET_URL, "fe80::1%3", 80, false, true, 0, 0, "", "/"},
    {"http://[fe80::1%25]/", SB_TARGET_URL, "fe80::1%25", 80, false, true, 0, 0, "", "/"},
    {"http://h:/x", SB_TARGET_URL, "h", 80, false, false, false, false, "", "/x"},
    {"https://[2001:db8::1]:", SB_TARGET_URL, "2001:db8::1", 443, false, true, 0, true, "", ""},
    {"http://192.0.2.1:5000", SB_TARGET_URL, "192.0.2.1", 5000, true, true, 0, 0, "", ""},
    {"redis://:secret@cache:6380/0", SB_TARGET_URL, "cache", 6380, true, 0, 0, 0, ":secret", "/0"},
    {"rediss://cache/0", SB_TARGET_URL, "cache", 6379, false, false, false, true, "", "/0"},
    {"wss://h/", SB_TARGET_URL, "h", 443, false, false, false, true, "", "/"},
    {"grpcs://h", SB_TARGET_URL, "h", 443, false, false, false, true, "", ""},
    {"grpc://h:50051", SB_TARGET_URL, "h", 50051, true, false, false, false, "", ""},
    {"ldaps://h", SB_TARGET_URL, "h", 636, false, false, false, true, "", ""},
    {"amqps://h", SB_TARGET_URL, "h", 5671, false, false, false, true, "", ""},
    {"mqtts://h", SB_TARGET_URL, "h", 8883, false, false, false, true, "", ""},
    {"git+https://h/x", SB_TARGET_URL, "h", 443, false, false, false, true, "", "/x"},
    {"postgresql+psycopg2://h/db", SB_TARGET_URL, "h", 5432, 0, 0, 0, 0, "", "/db"},
    {"httpsx://h", SB_TARGET_URL, "h", 0, false, false, false, false, "", ""},
    {"x-y.z+1://h./", SB_TARGET_URL, "h", 0, false, false, true, false, "", "/"},
    {"http://@h/", SB_TARGET_URL, "h", 80, false, false, false, false, "", "/"},
    {"http://mlflow.hokusai-development.local:5000", SB_TARGET_URL,
     "mlflow.hokusai-development.local", 5000, true, 0, 0, 0, "", ""},
};

static void accepted(void **state)
{
    (void)state;
    for (size_t i = 0; i < SB_ARRAY_SIZE(good); i++) {
        char text[SB_NAME_TEXT_MAX];
        sb_target t;
        sb_why why = {{0}};
        size_t size = strlen(good[i].text);
        char *exact = test_malloc(size); /* no NUL to lean on */
        memcpy(exact, good[i].text, size);
        if (sb_target_parse(exact, size, &t, &why) != SB_OK)
            fail_msg("%s: %s", good[i].text, why.text);
        assert_int_equal(t.form, good[i].form);
        assert_int_equal(t.is_literal, good[i].literal);
        assert_int_equal(t.has_port, good[i].has_port);
        assert_int_equal(t.absolute, good[i].absolute);
        assert_int_equal(t.tls, good[i].tls);
        assert_int_equal(t.port, good[i].port);
        if (t.is_literal) {
            assert_string_equal(sb_addr_text(&t.literal, text), good[i].host);
            assert_int_equal(t.literal.port, good[i].port);
        } else {
            assert_string_equal(sb_name_text(&t.name, text), good[i].host);
        }
        assert_true(span_is(t.userinfo, good[i].userinfo));
        assert_true(span_is(t.rest, good[i].rest));
        assert_true(span_is(t.text, good[i].text));
        test_free(exact);
    }
}

static const struct {
    const char *text;
    size_t size; /* 0: strlen */
    const char *why;
} bad[] = {
    {"", 0, "empty"},
    {"a\0b", 3, "NUL"},
    {"example.com\0", 12, "NUL"},
    {"\0", 1, "NUL"},
    {" example.com", 0, "white space at byte 1"},
    {"example.com ", 0, "white space"},
    {"exam ple.com", 0, "white space at byte 5"},
    {"example.com\n", 0, "white space"},
    {"a\tb", 0, "white space"},
    {"http://h/a b", 0, "white space"},
    {"a\x01"
     "b",
     0, "control byte at byte 2"},
    {"a\x7f", 0, "control byte"},
    {"b\xc3\xbc"
     "cher.example",
     0, "A-label"},
    {"http://h/\xff", 0, "non-ASCII"},
    {"a..b", 0, "empty label"},
    {".a", 0, "empty label"},
    {"a..", 0, "empty label"},
    {"..", 0, "empty label"},
    {".", 0, "root"},
    {"http://./", 0, "root"},
    {"0123456789012345678901234567890123456789012345678901234567890abc.x", 0, "63"},
    {"host:", 0, "port"},
    {"host:0", 0, "port"},
    {"host:65536", 0, "port"},
    {"host:99999999999999999999", 0, "port"},
    {"host:-1", 0, "port"},
    {"host:+80", 0, "port"},
    {"host:8o", 0, "port"},
    {"host:http", 0, "port"},
    {"http://host:x/", 0, "port"},
    {"[::1]:", 0, "port"},
    {"[::1]:x", 0, "port"},
    {"192.0.2.1:70000", 0, "port"},
    {":80", 0, "host is empty"},
    {"http://:80/", 0, "host is empty"},
    {"[::1", 0, "never closed"},
    {"::1]", 0, "bracket"},
    {"[::1]x", 0, "follow the bracket"},
    {"[::1]]", 0, "follow the bracket"},
    {"[[::1]]", 0, "follow the bracket"},
    {"[]", 0, "IPv6"},
    {"[example.com]", 0, "IPv6"},
    {"[192.0.2.1]", 0, "IPv6"},
    {"[v1.x]", 0, "IPv6"},
    {"x[::1]", 0, "bracket"},
    {"http://[::1", 0, "never closed"},
    {"http://h]/", 0, "bracket"},
    {"::1::", 0, "IPv6"},
    {"2001:db8::1:80x", 0, "IPv6"},
    {"a:b:c", 0, "IPv6"},
    {"http://2001:db8::1/", 0, "in brackets"},
    {"http://", 0, "no host"},
    {"http:///x", 0, "no host"},
    {"http://u@/x", 0, "no host"},
    {"http://?q", 0, "no host"},
    {"file:///etc/passwd", 0, "no host"},
    {"://host", 0, "no scheme"},
    {"1http://host", 0, "scheme"},
    {"ht_tp://host", 0, "scheme"},
    {"jdbc:mysql://host/", 0, "scheme"},
    {"//host/x", 0, "'/' is not allowed"},
    {"host/path", 0, "'/' is not allowed"},
    {"host?x", 0, "'?' is not allowed"},
    {"/etc/hosts", 0, "'/' is not allowed"},
    {"user@host", 0, "'@' is not allowed"},
    {"host,other", 0, "',' is not allowed"},
    {"*.example.com", 0, "'*' is not allowed"},
    {"a\\.b", 0, "backslash"},
    {"http://a%2eb/", 0, "'%' is not allowed"},
    {"http://h\\@evil/", 0, "backslash"}, /* h to browsers, evil to others */
    {"http://h/a\\b", 0, "backslash"},
    {"-host", 0, "hyphen"},
    {"1", 0, "all numbers"},
    {"1.2.3", 0, "all numbers"},
    {"256.0.0.1", 0, "all numbers"},
    {"1.2.3.4.5", 0, "all numbers"},
    {"1.2.3.4.", 0, "all numbers"},
    {"01.02.03.04", 0, "all numbers"},
    {"0x7f.1", 0, "all numbers"},
    {"0x7f000001", 0, "all numbers"},
    {"2130706433", 0, "all numbers"},
    {"http://127.1/", 0, "all numbers"},
};

static void refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < SB_ARRAY_SIZE(bad); i++) {
        sb_target t = {.port = 4711};
        sb_why why = {{0}};
        size_t size = bad[i].size ? bad[i].size : strlen(bad[i].text);
        sb_status status = sb_target_parse(bad[i].text, size, &t, &why);
        if (!bad[i].why) {
            assert_int_equal(status, SB_OK);
            assert_true(span_is(t.host, "evil"));
            continue;
        }
        if (status != SB_INVALID || !strstr(why.text, bad[i].why))
            fail_msg("%s: %s", bad[i].text, status == SB_OK ? "accepted" : why.text);
        assert_null(strchr(why.text, '\n'));
        assert_int_equal(t.port, 4711);
    }
    char name[300];
    sb_target t;
    for (size_t i = 0; i < 126; i++)
        memcpy(name + 2 * i, "a.", 3);
    name[252] = 'a';
    assert_int_equal(sb_target_parse(name, 253, &t, NULL), SB_OK);
    name[252] = 'b';
    name[253] = 'b';
    sb_why why;
    assert_int_equal(sb_target_parse(name, 254, &t, &why), SB_INVALID);
    assert_non_null(strstr(why.text, "253"));
}

static void rewriting(void **state)
{
    (void)state;
    static const struct {
        const char *text, *addr, *want;
        bool force, replaced;
    } table[] = {
        {"http://h/", "192.0.2.1", "http://192.0.2.1/", false, true},
        {"http://u:p@h:81/a?b#c", "2001:db8::1", "http://u:p@[2001:db8::1]:81/a?b#c", false, true},
        {"http://h.", "192.0.2.1", "http://192.0.2.1", false, true},
        {"http://h/h?h=h", "192.0.2.1", "http://192.0.2.1/h?h=h", false, true},
        {"http://[::1]:5/", "192.0.2.1", "http://192.0.2.1:5/", false, true},
        {"http://[::1]:5/", "::2", "http://[::2]:5/", false, true},
        {"http://h/", "fe80::1%3", "http://[fe80::1%253]/", false, true},
        {"https://h/x", "192.0.2.1", "https://h/x", false, false},
        {"https://h/x", "192.0.2.1", "https://192.0.2.1/x", true, true},
        {"h:80", "192.0.2.1", "192.0.2.1:80", false, true},
        {"h:80", "2001:db8::1", "[2001:db8::1]:80", false, true},
        {"h", "192.0.2.1", "192.0.2.1", false, true},
        {"h", "2001:db8::1", "[2001:db8::1]", false, true},
        {"h:80", "fe80::1%3", "[fe80::1%3]:80", false, true},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        sb_addr addr = addr_of(table[i].addr);
        sb_target t, again;
        sb_text out = {0};
        bool replaced = !table[i].replaced;
        assert_int_equal(sb_target_parse(table[i].text, strlen(table[i].text), &t, NULL), SB_OK);
        sb_target_rewrite(&t, &addr, table[i].force, &out, &replaced);
        assert_string_equal(out.data, table[i].want);
        assert_int_equal(replaced, table[i].replaced);
        assert_int_equal(sb_target_parse(out.data, out.size, &again, NULL), SB_OK);
        assert_int_equal(again.port, t.port);
        sb_text_fini(&out);
    }
}

static void masking(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"http://u:p@h/x", "http://***@h/x"},
        {"http://u@h", "http://***@h"},
        {"redis://:p@ss@h:1/0", "redis://***@h:1/0"},
        {"http://h/x@y", "http://h/x@y"},
        {"http://h?x=a@b", "http://h?x=a@b"},
        {"http://h:80/x@y", "http://h:80/x@y"},
        {"http://[::1]:80/x@y", "http://[::1]:80/x@y"},
        {"redis://:pa/ss@h:1/0", "redis://***@h:1/0"},
        {"redis://u:p?q#r@h", "redis://***@h"},
        {"redis://:123/4@h", "redis://***@h"},
        {"u:p@h:80", "***@h:80"},
        {"u:p@h/?u=http://x", "***@h/?u=http://x"},
        {"host", "host"},
        {"::1", "::1"},
        {"@", "***@"},
        {"http://", "http://"},
        {"http://@", "http://***@"},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        sb_text out = {0};
        sb_target_mask(table[i][0], strlen(table[i][0]), &out);
        assert_string_equal(out.data, table[i][1]);
        sb_text_fini(&out);
    }
    sb_text out = {0};
    sb_target_mask("", 0, &out);
    assert_int_equal(out.size, 0);
    sb_text_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted),
        cmocka_unit_test(refused),
        cmocka_unit_test(rewriting),
        cmocka_unit_test(masking),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
