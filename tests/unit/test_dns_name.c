/* Names: text both ways, wire form with and without compression, comparison, joining, reverse. */
#include "dns_make.h"

static void text_forms(void **state)
{
    (void)state;
    static const struct {
        const char *text, *canonical;
    } table[] = {
        {".", "."},
        {"a", "a"},
        {"a.", "a"},
        {"www.Example.COM", "www.Example.COM"},
        {"xn--bcher-kva.example.", "xn--bcher-kva.example"},
        {"_dmarc.example", "_dmarc.example"},
        {"*.example", "*.example"},
        {"a\\.b.c", "a\\.b.c"},
        {"a\\046b.c", "a\\.b.c"},
        {"a\\\\b", "a\\\\b"},
        {"\\000.zero", "\\000.zero"},
        {"a b.c", "a\\032b.c"},
        {"\\255", "\\255"},
        {"caf\xc3\xa9", "caf\\195\\169"},
        {"\\(x\\)\\;\\@\\$\\\"", "\\(x\\)\\;\\@\\$\\\""},
        {"\\a\\b", "ab"},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        char text[SB_NAME_TEXT_MAX];
        sb_name name = name_of(table[i].text), again;
        assert_string_equal(sb_name_text(&name, text), table[i].canonical);
        again = name_of(text);
        assert_int_equal(again.size, name.size);
        assert_memory_equal(again.wire, name.wire, name.size);
    }
    sb_name none = {0};
    char text[SB_NAME_TEXT_MAX];
    assert_string_equal(sb_name_text(&none, text), "");
}

static void refused_texts(void **state)
{
    (void)state;
    static const char label63[] = "0123456789012345678901234567890123456789012345678901234567890ab";
    char long_name[400];
    static const struct {
        const char *text;
        size_t size; /* 0: strlen */
        const char *why;
    } table[] = {
        {"", 0, "empty"},
        {"..", 0, "empty label"},
        {".a", 0, "empty label"},
        {"a..b", 0, "empty label"},
        {"a..", 0, "empty label"},
        {"\\", 0, "escape"},
        {"a\\", 0, "escape"},
        {"\\25", 0, "escape"},
        {"\\256", 0, "escape"},
        {"\\2x5", 0, "escape"},
        {"\\999", 0, "escape"},
        {"a\0b", 3, "NUL"},
        {"0123456789012345678901234567890123456789012345678901234567890abc.x", 0, "63"},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        sb_name name = {.size = 77};
        sb_why why = {{0}};
        size_t size = table[i].size ? table[i].size : strlen(table[i].text);
        assert_int_equal(sb_name_parse(table[i].text, size, &name, &why), SB_INVALID);
        assert_non_null(strstr(why.text, table[i].why));
        assert_int_equal(name.size, 77);
    }
    /* three labels of 63 and one of 61 are 253 characters, 255 bytes: the longest; one more is over
     */
    int n =
        snprintf(long_name, sizeof long_name, "%s.%s.%s.%.61s", label63, label63, label63, label63);
    assert_int_equal(n, 253);
    sb_name name = name_of(long_name);
    assert_int_equal(name.size, 255);
    assert_int_equal(sb_name_labels(&name), 4);
    snprintf(long_name, sizeof long_name, "%s.%s.%s.%.62s", label63, label63, label63, label63);
    sb_why why;
    assert_int_equal(sb_name_parse(long_name, 254, &name, &why), SB_INVALID);
    assert_non_null(strstr(why.text, "253"));
    /* a long name of 127 one-byte labels */
    for (size_t i = 0; i < 127; i++)
        memcpy(long_name + 2 * i, "a.", 3);
    name = name_of(long_name);
    assert_int_equal(name.size, 255);
    assert_int_equal(sb_name_labels(&name), 127);
    memcpy(long_name + 254, "a.", 3);
    assert_int_equal(sb_name_parse(long_name, 256, &name, NULL), SB_INVALID);
}

/* Every byte value survives text and back; the longest text fits its buffer. */
static void every_byte(void **state)
{
    (void)state;
    char text[SB_NAME_TEXT_MAX];
    for (unsigned c = 0; c < 256; c++) {
        sb_name name = {.size = 4, .wire = {2, (uint8_t)c, (uint8_t)c, 0}};
        sb_name again = name_of(sb_name_text(&name, text));
        assert_int_equal(again.size, 4);
        assert_memory_equal(again.wire, name.wire, 4);
    }
    sb_name full = {.size = 255};
    memset(full.wire, 7, 255);
    full.wire[0] = full.wire[64] = full.wire[128] = 63;
    full.wire[192] = 61;
    full.wire[254] = 0;
    assert_int_equal(strlen(sb_name_text(&full, text)), 250 * 4 + 3);
}

static void compressed_wire(void **state)
{
    (void)state;
    /*                            0            4               8  9       12      15 */
    static const uint8_t wire[] = "\3www\3foo\0" "\2ab\xc0\x04" "\xc0\x09" "\xc0\x10";
    char text[SB_NAME_TEXT_MAX];
    sb_name name;
    sb_reader r = sb_reader_of(wire, sizeof wire - 1);

    assert_true(sb_name_read(&r, 0, &name));
    assert_string_equal(sb_name_text(&name, text), "www.foo");
    assert_int_equal(r.at, 9);
    assert_true(sb_name_read(&r, 0, &name));
    assert_string_equal(sb_name_text(&name, text), "ab.foo");
    assert_int_equal(r.at, 14);
    assert_true(sb_name_read(&r, 0, &name)); /* a pointer to a name with a pointer */
    assert_string_equal(sb_name_text(&name, text), "ab.foo");
    assert_int_equal(r.at, 16);
    name.size = 99;
    assert_false(sb_name_read(&r, 0, &name)); /* to itself */
    assert_true(r.failed);
    assert_int_equal(name.size, 99);

    /* the same bytes lying 100 bytes into a message */
    uint8_t moved[sizeof wire];
    memcpy(moved, wire, sizeof wire);
    moved[13] = 104;
    r = sb_reader_of(moved, sizeof moved - 1);
    r.at = 9;
    assert_true(sb_name_read(&r, 100, &name));
    assert_string_equal(sb_name_text(&name, text), "ab.foo");
    r.at = 9;
    assert_false(sb_name_read(&r, 105, &name)); /* below the base */
}

static void bad_wire(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size, at;
    } table[] = {
        {"", 0, 0},
        {"\3ab", 3, 0},              /* label beyond the end */
        {"\1a", 2, 0},               /* no root */
        {"\xc0", 1, 0},              /* half a pointer */
        {"\xc0\0", 2, 0},            /* to itself */
        {"\1a\xc0\0", 4, 0},         /* into its own run: a loop */
        {"\1a\xc0\x02", 4, 0},       /* to the pointer itself */
        {"\1a\xc0\x04\1b\0", 7, 0},  /* forwards */
        {"\x40" "a\0", 3, 0},        /* reserved label types */
        {"\x80" "a\0", 3, 0},
        {"\xc0\x02\xc0\0", 4, 2},    /* two pointers at each other */
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        sb_name name = {.size = 99};
        sb_reader r = sb_reader_of(table[i].bytes, table[i].size);
        r.at = table[i].at;
        assert_false(sb_name_read(&r, 0, &name));
        assert_true(r.failed);
        assert_int_equal(name.size, 99);
        assert_false(sb_name_read(&r, 0, &name)); /* stays failed */
    }
    sb_name name;
    sb_reader r = sb_reader_of("\0\xc0\0", 3);
    r.at = 1;
    assert_false(sb_name_read_plain(&r, &name));
    r = sb_reader_of("\1a\0", 3);
    assert_true(sb_name_read_plain(&r, &name));
    assert_int_equal(name.size, 3);
}

/* A ladder of pointers: each legal by itself, the whole bounded; names over 255 by way of pointers.
 */
static void long_ways(void **state)
{
    (void)state;
    uint8_t bytes[1024] = {0};
    sb_name name;
    for (size_t i = 1; i < 200; i++)
        sb_store_u16(&bytes[2 * i], (uint16_t)(0xc000 | (i == 1 ? 0 : 2 * (i - 1))));
    sb_reader r = sb_reader_of(bytes, sizeof bytes);
    r.at = 2 * 127;
    assert_true(sb_name_read(&r, 0, &name));
    assert_int_equal(name.size, 1);
    r.at = 2 * 128;
    assert_false(sb_name_read(&r, 0, &name));

    size_t at = 0;
    bytes[at++] = 0;
    for (unsigned i = 0; i < 5; i++) { /* each run adds 62 + 1 bytes */
        size_t before = at > 1 ? at - 65 : 0;
        bytes[at] = 62;
        memset(&bytes[at + 1], 'a', 62);
        sb_store_u16(&bytes[at + 63], (uint16_t)(0xc000 | before));
        r = sb_reader_of(bytes, sizeof bytes);
        r.at = at;
        assert_int_equal(sb_name_read(&r, 0, &name), i < 4);
        at += 65;
    }
}

static void comparing(void **state)
{
    (void)state;
    sb_name a = name_of("www.Example.com"), b = name_of("WWW.eXAMPLE.COM"), root = name_of(".");
    sb_name suffix = name_of("example.COM"), other = name_of("ample.com"), lower;
    sb_name dotted = name_of("www\\.example.com"), brackets = name_of("[.x"),
            braces = name_of("{.x");
    assert_true(sb_name_equal(&a, &b));
    assert_int_equal(sb_name_digest(&a), sb_name_digest(&b));
    assert_true(sb_name_digest(&a) != sb_name_digest(&suffix));
    assert_int_equal(sb_name_digest(&root), 0xaf63bd4c8601b7dfu); /* FNV-1a of one zero byte */
    assert_false(sb_name_equal(&a, &dotted));
    assert_false(sb_name_equal(&brackets, &braces)); /* only letters fold */
    assert_true(sb_name_below(&a, &suffix));
    assert_true(sb_name_below(&a, &a));
    assert_true(sb_name_below(&a, &root));
    assert_true(sb_name_below(&root, &root));
    assert_false(sb_name_below(&root, &a));
    assert_false(sb_name_below(&suffix, &a));
    assert_false(sb_name_below(&a, &other)); /* not at a label's edge */
    assert_false(sb_name_below(&dotted, &suffix));
    lower = b;
    sb_name_fold(&lower);
    assert_memory_equal(lower.wire, name_of("www.example.com").wire, lower.size);
}

static void taking_apart(void **state)
{
    (void)state;
    sb_name name = name_of("a.b.example"), root = name_of("."), joined, parent;
    char text[SB_NAME_TEXT_MAX];
    assert_int_equal(sb_name_labels(&name), 3);
    assert_int_equal(sb_name_labels(&root), 0);
    parent = sb_name_parent(&name, 0);
    assert_true(sb_name_equal(&parent, &name));
    parent = sb_name_parent(&name, 2);
    assert_string_equal(sb_name_text(&parent, text), "example");
    parent = sb_name_parent(&name, 3);
    assert_int_equal(parent.size, 1);
    sb_name host = name_of("host"), long_name;
    assert_true(sb_name_join(&host, &name, &joined));
    assert_string_equal(sb_name_text(&joined, text), "host.a.b.example");
    assert_true(sb_name_join(&root, &name, &joined));
    assert_true(sb_name_equal(&joined, &name));
    assert_true(sb_name_join(&name, &root, &joined));
    assert_true(sb_name_equal(&joined, &name));
    long_name.size = 255;
    memset(long_name.wire, 1, 255);
    long_name.wire[254] = 0;
    joined.size = 42;
    assert_false(sb_name_join(&host, &long_name, &joined));
    assert_int_equal(joined.size, 42);
    assert_true(sb_name_join(&root, &long_name, &joined));
}

static void reverse_names(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"192.0.2.1", "1.2.0.192.in-addr.arpa"},
        {"255.10.9.100", "100.9.10.255.in-addr.arpa"},
        {"0.0.0.0", "0.0.0.0.in-addr.arpa"},
        {"2001:db8::567:89ab",
         "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"},
        {"::1", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa"},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        char text[SB_NAME_TEXT_MAX];
        sb_addr addr = addr_of(table[i][0]);
        sb_name name;
        sb_name_reverse(&addr, &name);
        assert_string_equal(sb_name_text(&name, text), table[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_forms),      cmocka_unit_test(refused_texts),
        cmocka_unit_test(every_byte),      cmocka_unit_test(compressed_wire),
        cmocka_unit_test(bad_wire),        cmocka_unit_test(long_ways),
        cmocka_unit_test(comparing),       cmocka_unit_test(taking_apart),
        cmocka_unit_test(reverse_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
