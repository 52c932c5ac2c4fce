/* Record data: type words, expansion of every layout, text forms, and what must be refused. */
#include "dns_make.h"

/* A message whose bytes 12.. are \3foo\0 (at 12) and then the RDATA (at 17). */
static bool expand(const char *rdata, size_t size, uint16_t type, sb_writer *w)
{
    static uint8_t bytes[2048];
    sb_writer m = sb_writer_of(bytes, sizeof bytes);
    sb_write_u64(&m, 0);
    sb_write_u32(&m, 0);
    sb_write_bytes(&m, "\3foo\0", 5);
    sb_write_bytes(&m, rdata, size);
    assert_int_equal(sb_rdata_expand((sb_span){bytes, m.size}, 17, size, type, NULL),
                     sb_rdata_expand((sb_span){bytes, m.size}, 17, size, type, w));
    w->size = 0;
    w->failed = false;
    return sb_rdata_expand((sb_span){bytes, m.size}, 17, size, type, w);
}

#define B(text) text, sizeof text - 1

static const struct {
    uint16_t type;
    const char *in;
    size_t in_size;
    const char *out; /* NULL: refused; "=": as it is */
    size_t out_size;
} fields[] = {
    {SB_TYPE_A, B("\1\2\3\4"), B("=")},
    {SB_TYPE_A, B("\1\2\3"), NULL, 0},
    {SB_TYPE_A, B("\1\2\3\4\5"), NULL, 0},
    {SB_TYPE_A, B(""), NULL, 0},
    {SB_TYPE_AAAA, B("0123456789abcdef"), B("=")},
    {SB_TYPE_AAAA, B("0123456789abcde"), NULL, 0},
    {SB_TYPE_CNAME, B("\1a\xc0\x0c"), B("\1a\3foo\0")},
    {SB_TYPE_CNAME, B("\1a\xc0\x0cx"), NULL, 0},      /* a byte after the name */
    {SB_TYPE_CNAME, B("\1a\xc0\x11"), NULL, 0},       /* to itself */
    {SB_TYPE_CNAME, B("\1a\xc0\0"), NULL, 0},         /* into the header */
    {SB_TYPE_CNAME, B("\1a"), NULL, 0},               /* ends beyond the RDATA */
    {SB_TYPE_NS, B("\xc0\x0c"), B("\3foo\0")},
    {SB_TYPE_PTR, B("\0"), B("\0")},
    {SB_TYPE_MX, B("\0\5\xc0\x0c"), B("\0\5\3foo\0")},
    {SB_TYPE_MX, B("\0"), NULL, 0},
    {SB_TYPE_SOA, B("\xc0\x0c\1a\xc0\x0c" "11112222333344445555"),
     B("\3foo\0\1a\3foo\0" "11112222333344445555")},
    {SB_TYPE_SOA, B("\xc0\x0c\1a\xc0\x0c" "1111222233334444555"), NULL, 0},
    {14, B("\xc0\x0c\xc0\x0c"), B("\3foo\0\3foo\0")},
    {SB_TYPE_TXT, B("\3abc\0\1x"), B("=")},
    {SB_TYPE_TXT, B("\4abc"), NULL, 0},
    {SB_TYPE_TXT, B(""), NULL, 0},
    {13, B("\1a\1b"), B("=")},
    {13, B("\1a\1b\1c"), NULL, 0},
    {SB_TYPE_SRV, B("\0\1\0\2\0\3\xc0\x0c"), B("\0\1\0\2\0\3\3foo\0")},
    {SB_TYPE_NAPTR, B("\0\1\0\2\1a\1b\1c\xc0\x0c"), B("\0\1\0\2\1a\1b\1c\3foo\0")},
    {SB_TYPE_DNAME, B("\xc0\x0c"), B("\3foo\0")},
    {17, B("\xc0\x0c\1a\0"), B("\3foo\0\1a\0")},
    {18, B("\0\1\xc0\x0c"), B("\0\1\3foo\0")},
    {SB_TYPE_RRSIG, B("\0\1\15\2" "111122223333" "44\3foo\0sig"), B("=")},
    {SB_TYPE_RRSIG, B("\0\1\15\2" "111122223333" "44\xc0\x0csig"), NULL, 0},
    {SB_TYPE_NSEC, B("\3foo\0\0\1\x40"), B("=")},
    {SB_TYPE_NSEC, B("\xc0\x0c\0\1\x40"), NULL, 0},
    {24, B("\0\1\15\2" "111122223333" "44\xc0\x0csig"),
     B("\0\1\15\2" "111122223333" "44\3foo\0sig")},
    {SB_TYPE_HTTPS, B("\0\1\0\0\1\0\3\2h2"), B("=")},
    {SB_TYPE_HTTPS, B("\0\0\3foo\0"), B("=")},
    {SB_TYPE_HTTPS, B("\0\1\xc0\x0c"), NULL, 0},
    {SB_TYPE_HTTPS, B("\0\1\0\0\1\0\4\2h2"), NULL, 0},         /* value beyond the end */
    {SB_TYPE_HTTPS, B("\0\1\0\0\3\0\2\1\xbb\0\1\0\3\2h2"), NULL, 0}, /* keys descend */
    {SB_TYPE_HTTPS, B("\0\1\0\0\3\0\2\1\xbb\0\3\0\2\1\xbb"), NULL, 0},
    {65280, B("\xc0\x0c anything"), B("=")}, /* unknown: opaque */
    {65280, B(""), B("=")},
};

static void expansion(void **state)
{
    (void)state;
    for (size_t i = 0; i < SB_ARRAY_SIZE(fields); i++) {
        uint8_t out[2048];
        sb_writer w = sb_writer_of(out, sizeof out);
        bool good = expand(fields[i].in, fields[i].in_size, fields[i].type, &w);
        if (good != (fields[i].out != NULL))
            fail_msg("row %zu: %s", i, good ? "accepted" : "refused");
        if (!good)
            continue;
        bool same = fields[i].out[0] == '=';
        assert_int_equal(w.size, same ? fields[i].in_size : fields[i].out_size);
        assert_memory_equal(out, same ? fields[i].in : fields[i].out, w.size);
    }
    uint8_t out[5];
    sb_writer w = sb_writer_of(out, sizeof out);
    assert_false(sb_rdata_expand((sb_span){out, 5}, 6, 0, SB_TYPE_A, &w)); /* outside */
    assert_false(sb_rdata_expand((sb_span){out, 5}, 4, 2, SB_TYPE_A, &w));
}

static void text_forms(void **state)
{
    (void)state;
    static const struct {
        uint16_t type;
        const char *in;
        size_t size;
        const char *text;
    } table[] = {
        {SB_TYPE_A, B("\300\0\2\1"), "192.0.2.1"},
        {SB_TYPE_AAAA, B("\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"), "2001:db8::1"},
        {SB_TYPE_CNAME, B("\3Www\7example\0"), "Www.example."},
        {SB_TYPE_NS, B("\0"), "."},
        {SB_TYPE_PTR, B("\3a.b\1\0\0"), "a\\.b.\\000."},
        {SB_TYPE_MX, B("\0\12\2mx\0"), "10 mx."},
        {SB_TYPE_SRV, B("\0\1\0\2\x1f\x90\1s\0"), "1 2 8080 s."},
        {SB_TYPE_SOA, B("\2ns\0\1h\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\xff\xff\xff\xff"),
         "ns. h. 1 2 3 4 4294967295"},
        {SB_TYPE_TXT, B("\5a\"b\\c\0\3 \1\xff"), "\"a\\\"b\\\\c\" \"\" \" \\001\\255\""},
        {SB_TYPE_NAPTR, B("\0\1\0\2\1U\0\2a;\0"), "1 2 \"U\" \"\" \"a;\" ."},
        {SB_TYPE_DNAME, B("\1x\0"), "x."},
        {13, B("\3cpu\2os"), "\"cpu\" \"os\""},
        {SB_TYPE_HTTPS, B("\0\0\3foo\0"), "0 foo."},
        {SB_TYPE_SVCB,
         B("\0\1\0\0\0\0\4\0\1\0\4\0\1\0\3\2h2\0\2\0\0\0\3\0\2\x1f\x90\0\4\0\x08"
           "\300\0\2\1\300\0\2\2\0\5\0\4ech!\0\6\0\20"
           "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0"
           "\0\0\0\1\2\x9b\0\3a\"\1"),
         "1 . mandatory=alpn,ipv4hint alpn=\"h2\" no-default-alpn port=8080 "
         "ipv4hint=192.0.2.1,192.0.2.2 ech=ZWNoIQ== ipv6hint=2001:db8::1 key667=\"a\\\"\\001\""},
        {SB_TYPE_SVCB, B("\0\1\0\0\1\0\x0b\2h3\3a,b\3c\\d\0\7\0\0"),
         "1 . alpn=\"h3,a\\\\,b,c\\\\\\\\d\" key7"},
        {SB_TYPE_SVCB, B("\0\1\0\0\5\0\3abc"), "1 . ech=YWJj"},
        {SB_TYPE_SVCB, B("\0\1\0\0\5\0\5abcde"), "1 . ech=YWJjZGU="},
        {65280, B("\1\xAB"), "\\# 2 01AB"},
        {65280, B(""), "\\# 0"},
        {SB_TYPE_DS, B("\0\1\2\3x"), "\\# 5 0001020378"},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        sb_text t = {0};
        assert_true(sb_rdata_text(table[i].type,
                                  (sb_span){(const uint8_t *)table[i].in, table[i].size}, &t));
        assert_string_equal(t.data, table[i].text);
        sb_text_fini(&t);
    }
}

/* Bytes that do not fit their type: the generic form, and nothing of the half-written one. */
static void text_of_misfits(void **state)
{
    (void)state;
    static const struct {
        uint16_t type;
        const char *in;
        size_t size;
    } table[] = {
        {SB_TYPE_A, B("\1\2\3")},
        {SB_TYPE_A, B("\1\2\3\4\5")},
        {SB_TYPE_MX, B("\0\1\1a\xc0\x0c")},
        {SB_TYPE_TXT, B("")},
        {SB_TYPE_TXT, B("\1a\3bc")},
        {SB_TYPE_SVCB, B("\0\1\0\0\3\0\1a")},           /* port of one byte */
        {SB_TYPE_SVCB, B("\0\1\0\0\4\0\3abc")},
        {SB_TYPE_SVCB, B("\0\1\0\0\4\0\0")},
        {SB_TYPE_SVCB, B("\0\1\0\0\6\0\4abcd")},
        {SB_TYPE_SVCB, B("\0\1\0\0\1\0\0")},            /* no alpn id */
        {SB_TYPE_SVCB, B("\0\1\0\0\1\0\1\0")},          /* an empty one */
        {SB_TYPE_SVCB, B("\0\1\0\0\1\0\2\2h")},
        {SB_TYPE_SVCB, B("\0\1\0\0\2\0\1a")},           /* no-default-alpn with a value */
        {SB_TYPE_SVCB, B("\0\1\0\0\0\0\0")},            /* mandatory of nothing */
        {SB_TYPE_SVCB, B("\0\1\0\0\0\0\2\0\0")},        /* of itself */
        {SB_TYPE_SVCB, B("\0\1\0\0\0\0\4\0\3\0\1")},    /* descending */
        {SB_TYPE_SVCB, B("\0\1\0\0\0\0\3\0\3\0")},
        {SB_TYPE_SVCB, B("\0\1\0\0\5\0\0")},            /* empty ech */
        {SB_TYPE_SVCB, B("\0\1\0\xff\xff\0\0")},        /* the invalid key */
        {SB_TYPE_SVCB, B("\0\1\0\0")},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        char want[32];
        sb_text t = {0};
        sb_text_add(&t, "before ");
        if (sb_rdata_text(table[i].type, (sb_span){(const uint8_t *)table[i].in, table[i].size},
                          &t))
            fail_msg("row %zu prints as %s", i, t.data);
        snprintf(want, sizeof want, "before \\# %zu", table[i].size);
        assert_memory_equal(t.data, want, strlen(want));
        sb_text_fini(&t);
    }
}

static void type_words(void **state)
{
    (void)state;
    char buffer[16];
    uint16_t type;
    for (uint32_t t = 0; t <= UINT16_MAX; t++) {
        const char *text = sb_type_text((uint16_t)t, buffer);
        assert_true(sb_type_parse(text, strlen(text), &type));
        assert_int_equal(type, t);
    }
    assert_string_equal(sb_type_text(65, buffer), "HTTPS");
    assert_string_equal(sb_type_text(65280, buffer), "TYPE65280");
    assert_true(sb_type_parse("aaaa", 4, &type) && type == 28);
    assert_true(sb_type_parse("type28", 6, &type) && type == 28);
    static const char *const bad[] = {"", "TYPE", "TYPE65536", "TYPE-1", "TYPE 1", "AA", "A ",
                                      "xxxxxxxxxxxxxxxxxxxxxxx"};
    for (size_t i = 0; i < SB_ARRAY_SIZE(bad); i++)
        assert_false(sb_type_parse(bad[i], strlen(bad[i]), &type));
    assert_string_equal(sb_rcode_text(3, buffer), "NXDOMAIN");
    assert_string_equal(sb_rcode_text(16, buffer), "BADVERS");
    assert_string_equal(sb_rcode_text(4095, buffer), "RCODE4095");
    static const uint16_t meta[] = {41, 128, 249, 250, 251, 252, 253, 254, 255};
    for (size_t i = 0; i < SB_ARRAY_SIZE(meta); i++)
        assert_true(sb_type_is_meta(meta[i]));
    assert_false(sb_type_is_meta(1) || sb_type_is_meta(127) || sb_type_is_meta(256));
}

static void names_inside(void **state)
{
    (void)state;
    char text[SB_NAME_TEXT_MAX];
    sb_name name = {.size = 42};
    assert_true(sb_rdata_name(SB_TYPE_CNAME, (sb_span){(const uint8_t *)"\1a\0", 3}, &name));
    assert_string_equal(sb_name_text(&name, text), "a");
    assert_true(sb_rdata_name(SB_TYPE_MX, (sb_span){(const uint8_t *)"\0\1\1b\0", 5}, &name));
    assert_string_equal(sb_name_text(&name, text), "b");
    assert_true(
        sb_rdata_name(SB_TYPE_SRV, (sb_span){(const uint8_t *)"\0\1\0\1\0\1\1c\0", 9}, &name));
    assert_string_equal(sb_name_text(&name, text), "c");
    name.size = 42;
    assert_false(sb_rdata_name(SB_TYPE_A, (sb_span){(const uint8_t *)"\1a\0", 3}, &name));
    assert_false(sb_rdata_name(SB_TYPE_NS, (sb_span){(const uint8_t *)"\1a\0x", 4}, &name));
    assert_false(sb_rdata_name(SB_TYPE_PTR, (sb_span){(const uint8_t *)"\xc0\x0c", 2}, &name));
    assert_false(sb_rdata_name(SB_TYPE_MX, (sb_span){NULL, 0}, &name));
    assert_int_equal(name.size, 42);

    size_t fixed;
    unsigned names;
    assert_true(sb_rdata_compressible(SB_TYPE_SOA, &fixed, &names) && fixed == 0 && names == 2);
    assert_true(sb_rdata_compressible(SB_TYPE_MX, &fixed, &names) && fixed == 2 && names == 1);
    assert_false(sb_rdata_compressible(SB_TYPE_SRV, &fixed, &names));
    assert_false(sb_rdata_compressible(SB_TYPE_A, &fixed, &names));
    assert_false(sb_rdata_compressible(65280, &fixed, &names));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expansion),       cmocka_unit_test(text_forms),
        cmocka_unit_test(text_of_misfits), cmocka_unit_test(type_words),
        cmocka_unit_test(names_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
