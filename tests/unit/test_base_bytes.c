/* Cursors: sticky errors, byte order, exact ends; numbers and growing text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"

static void reader_reads_network_order(void **state)
{
    (void)state;
    const uint8_t data[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    sb_reader r = sb_reader_of(data, sizeof(data));
    assert_int_equal(sb_reader_left(&r), 15);
    assert_int_equal(sb_read_u8(&r), 1);
    assert_int_equal(sb_read_u16(&r), 0x0203);
    assert_int_equal(sb_read_u32(&r), 0x04050607);
    assert_int_equal(sb_read_u64(&r), 0x08090a0b0c0d0e0f);
    assert_true(sb_reader_done(&r));
    assert_int_equal(sb_reader_left(&r), 0);
}

static void reader_errors_stick(void **state)
{
    (void)state;
    const uint8_t data[] = {1, 2, 3};
    sb_reader r = sb_reader_of(data, sizeof(data));
    assert_int_equal(sb_read_u32(&r), 0);
    assert_true(r.failed);
    /* Bytes are left, but what follows an error is not to be believed. */
    assert_int_equal(sb_read_u8(&r), 0);
    assert_int_equal(sb_read_u16(&r), 0);
    assert_int_equal(sb_read_u64(&r), 0);
    assert_int_equal(sb_reader_left(&r), 0);
    assert_null(sb_read_span(&r, 1).data);
    assert_false(sb_reader_done(&r));
}

static void reader_every_width_stops_at_the_end(void **state)
{
    (void)state;
    const uint8_t data[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    for (size_t size = 0; size < sizeof(data); size++) {
        sb_reader r = sb_reader_of(data, size);
        assert_int_equal(sb_read_u64(&r), 0);
        assert_true(r.failed);
        r = sb_reader_of(data, size);
        (void)sb_read_u32(&r);
        assert_int_equal(r.failed, size < 4);
        r = sb_reader_of(data, size);
        (void)sb_read_u16(&r);
        assert_int_equal(r.failed, size < 2);
        r = sb_reader_of(data, size);
        (void)sb_read_u8(&r);
        assert_int_equal(r.failed, size < 1);
    }
}

static void reader_spans_copies_and_skips(void **state)
{
    (void)state;
    const uint8_t data[] = {1, 2, 3, 4, 5, 6};
    sb_reader r = sb_reader_of(data, sizeof(data));
    sb_span span = sb_read_span(&r, 2);
    assert_ptr_equal(span.data, data);
    assert_int_equal(span.size, 2);
    uint8_t copy[4] = {9, 9, 9, 9};
    sb_read_copy(&r, copy, 2);
    assert_memory_equal(copy, "\3\4\11\11", 4);
    sb_read_skip(&r, 1);
    assert_false(r.failed);
    sb_read_copy(&r, copy, 4);
    assert_true(r.failed);
    assert_memory_equal(copy, "\0\0\0\0", 4);

    r = sb_reader_of(data, sizeof(data));
    sb_read_skip(&r, SIZE_MAX); /* must not wrap round */
    assert_true(r.failed);
    r = sb_reader_of(data, sizeof(data));
    (void)sb_read_u8(&r);
    span = sb_read_span(&r, SIZE_MAX);
    assert_true(r.failed);
    assert_null(span.data);
    assert_int_equal(span.size, 0);
}

static void reader_sub_is_bounded(void **state)
{
    (void)state;
    const uint8_t data[] = {1, 2, 3, 4, 5};
    sb_reader r = sb_reader_of(data, sizeof(data));
    sb_reader sub = sb_read_sub(&r, 3);
    assert_int_equal(sb_reader_left(&r), 2);
    assert_int_equal(sb_read_u16(&sub), 0x0102);
    assert_int_equal(sb_read_u16(&sub), 0); /* the fourth byte is not its own */
    assert_true(sub.failed);
    assert_false(r.failed);
    assert_int_equal(sb_read_u8(&r), 4);
    sub = sb_read_sub(&r, 2);
    assert_true(sub.failed);
    assert_true(r.failed);
    assert_int_equal(sb_reader_left(&sub), 0);
}

static void reader_of_nothing(void **state)
{
    (void)state;
    sb_reader r = sb_reader_of(NULL, 0);
    assert_true(sb_reader_done(&r));
    (void)sb_read_span(&r, 0);
    sb_read_copy(&r, NULL, 0);
    assert_true(sb_reader_done(&r));
    (void)sb_read_u8(&r);
    assert_true(r.failed);
}

static void writer_writes_network_order(void **state)
{
    (void)state;
    uint8_t data[18];
    sb_writer w = sb_writer_of(data, sizeof(data));
    sb_write_u8(&w, 1);
    sb_write_u16(&w, 0x0203);
    sb_write_u32(&w, 0x04050607);
    sb_write_u64(&w, 0x08090a0b0c0d0e0f);
    sb_write_bytes(&w, "\x10", 1);
    sb_write_text(&w, "\x11\x12");
    assert_false(w.failed);
    assert_int_equal(w.size, sizeof(data));
    assert_int_equal(sb_writer_left(&w), 0);
    for (uint8_t i = 0; i < sizeof(data); i++)
        assert_int_equal(data[i], i + 1);
}

static void writer_errors_stick(void **state)
{
    (void)state;
    uint8_t data[5] = {0};
    sb_writer w = sb_writer_of(data, 4);
    sb_write_u16(&w, 0xabcd);
    sb_write_u32(&w, 0xffffffff);
    assert_true(w.failed);
    assert_int_equal(w.size, 2);
    sb_write_u8(&w, 0xff);
    sb_write_text(&w, "x");
    sb_write_format(&w, "%d", 1);
    sb_write_u16_at(&w, 0, 0xffff);
    assert_int_equal(w.size, 2);
    assert_int_equal(sb_writer_left(&w), 0);
    assert_memory_equal(data, "\xab\xcd\0\0\0", 5);
}

static void writer_patches_only_what_is_written(void **state)
{
    (void)state;
    uint8_t data[8] = {0};
    sb_writer w = sb_writer_of(data, sizeof(data));
    sb_write_u32(&w, 0);
    sb_write_u16_at(&w, 2, 0x1234);
    assert_false(w.failed);
    assert_memory_equal(data, "\0\0\x12\x34", 4);
    sb_write_u16_at(&w, 3, 0x1234); /* its second byte is not written yet */
    assert_true(w.failed);
    w = sb_writer_of(data, sizeof(data));
    sb_write_u16_at(&w, SIZE_MAX, 1);
    assert_true(w.failed);
    w = sb_writer_of(data, sizeof(data));
    sb_write_bytes(&w, data, SIZE_MAX);
    assert_true(w.failed);
}

static void writer_formats_to_the_last_byte(void **state)
{
    (void)state;
    char data[6] = "......";
    sb_writer w = sb_writer_of(data, 5);
    sb_write_format(&w, "%d", 12345);
    assert_false(w.failed);
    assert_memory_equal(data, "12345.", 6); /* neither a NUL nor a lost digit */
    w = sb_writer_of(data, 5);
    sb_write_format(&w, "%d", 123456);
    assert_true(w.failed);
    assert_int_equal(w.size, 0);

    static uint8_t large[3000];
    w = sb_writer_of(large, sizeof(large));
    sb_write_format(&w, "%3000s", "x");
    assert_false(w.failed);
    assert_int_equal(w.size, 3000);
    assert_int_equal(large[0], ' ');
    assert_int_equal(large[2999], 'x');
}

static void loads_and_stores(void **state)
{
    (void)state;
    uint8_t p[4];
    sb_store_u16(p, 0xfedc);
    assert_int_equal(sb_load_u16(p), 0xfedc);
    sb_store_u32(p, 0xfedcba98);
    assert_int_equal(sb_load_u32(p), 0xfedcba98);
    assert_int_equal(p[0], 0xfe);
    assert_int_equal(p[3], 0x98);
}

static void ascii_helpers(void **state)
{
    (void)state;
    assert_true(sb_ascii_equal("", ""));
    assert_true(sb_ascii_equal("InFo", "iNfO"));
    assert_false(sb_ascii_equal("info", "inf"));
    assert_false(sb_ascii_equal("inf", "info"));
    assert_false(sb_ascii_equal("@", "`")); /* 32 apart, but no letters */
    assert_false(sb_ascii_equal("[", "{"));
    assert_int_equal(sb_ascii_lower('Z'), 'z');
    assert_int_equal(sb_ascii_lower(0xc4), 0xc4);
    assert_true(sb_ascii_digit('0') && sb_ascii_digit('9'));
    assert_false(sb_ascii_digit('/') || sb_ascii_digit(':'));
}

static void numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t max;
        bool ok;
        uint64_t value;
    } table[] = {
        {"0", 0, true, 0},
        {"65535", 65535, true, 65535},
        {"65536", 65535, false, 0},
        {"007", 9, true, 7},
        {"18446744073709551615", UINT64_MAX, true, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, false, 0},
        {"99999999999999999999", UINT64_MAX, false, 0},
        {"", 9, false, 0},
        {"-1", 9, false, 0},
        {"+1", 9, false, 0},
        {" 1", 9, false, 0},
        {"1 ", 9, false, 0},
        {"0x1", 99, false, 0},
        {"1.0", 99, false, 0},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        uint64_t value = 42;
        bool ok = sb_parse_u64(table[i].text, strlen(table[i].text), table[i].max, &value);
        assert_int_equal(ok, table[i].ok);
        assert_int_equal(value, table[i].ok ? table[i].value : 42);
    }
    uint64_t value = 42;
    assert_false(sb_parse_u64("1\0", 2, 99, &value));
    assert_true(sb_parse_u64("123", 2, 99, &value)); /* the size rules, not a NUL */
    assert_int_equal(value, 12);
}

static void text_grows_to_its_limit(void **state)
{
    (void)state;
    sb_text t = {.limit = 1000};
    for (unsigned i = 0; i < 99; i++)
        sb_text_add(&t, "%010u", i);
    assert_false(t.failed);
    assert_int_equal(t.size, 990);
    assert_int_equal(strlen(t.data), 990);
    sb_text_add_bytes(&t, "123456789", 9); /* 999 and its NUL: exactly full */
    assert_false(t.failed);
    assert_int_equal(strlen(t.data), 999);
    sb_text_add(&t, "x");
    assert_true(t.failed);
    assert_int_equal(strlen(t.data), 999); /* what it had it keeps */
    sb_text_add_bytes(&t, NULL, 0);
    assert_true(t.failed);
    sb_text_fini(&t);
    assert_null(t.data);
    sb_text_add(&t, "again %d", 1);
    assert_string_equal(t.data, "again 1");
    sb_text_fini(&t);
}

static void text_of_nothing(void **state)
{
    (void)state;
    sb_text t = {0};
    sb_text_fini(&t);
    sb_text_add(&t, "%s", "");
    assert_string_equal(t.data, "");
    sb_text_add_bytes(&t, "a\0b", 3);
    assert_int_equal(t.size, 3);
    assert_memory_equal(t.data, "a\0b", 4);
    sb_text_add_bytes(&t, "x", SIZE_MAX);
    assert_true(t.failed);
    sb_text_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reader_reads_network_order),
        cmocka_unit_test(reader_errors_stick),
        cmocka_unit_test(reader_every_width_stops_at_the_end),
        cmocka_unit_test(reader_spans_copies_and_skips),
        cmocka_unit_test(reader_sub_is_bounded),
        cmocka_unit_test(reader_of_nothing),
        cmocka_unit_test(writer_writes_network_order),
        cmocka_unit_test(writer_errors_stick),
        cmocka_unit_test(writer_patches_only_what_is_written),
        cmocka_unit_test(writer_formats_to_the_last_byte),
        cmocka_unit_test(loads_and_stores),
        cmocka_unit_test(ascii_helpers),
        cmocka_unit_test(numbers),
        cmocka_unit_test(text_grows_to_its_limit),
        cmocka_unit_test(text_of_nothing),
    };
    return cmocka_run_group_tests_name("base_bytes", tests, NULL, NULL);
}
