/* Log lines: shape, escaping, levels, and the rate limit that counts what it drops. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"

static struct {
    char line[4096];
    size_t size;
    sb_log_level level;
    unsigned count;
} seen;

static void remember(void *context, sb_log_level level, const char *line, size_t size)
{
    assert_ptr_equal(context, &seen);
    assert_true(size < sizeof(seen.line));
    memcpy(seen.line, line, size);
    seen.line[size] = '\0';
    seen.size = size;
    seen.level = level;
    seen.count++;
    errno = EIO; /* the caller must not see it */
}

static int setup(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof(seen));
    sb_log_set_sink(remember, &seen);
    for (unsigned i = 0; i < SB_LOG_SUBSYSTEM_COUNT; i++)
        sb_log_set_level((sb_log_subsystem)i, SB_LOG_INFO);
    return 0;
}

static void line_shape(void **state)
{
    (void)state;
    sb_log(UPSTREAM, WARN, "upstream down", "server=%s failures=%u", "192.0.2.1", 3u);
    assert_string_equal(seen.line, "level=warn subsystem=upstream msg=\"upstream down\" "
                                   "server=192.0.2.1 failures=3");
    assert_int_equal(seen.level, SB_LOG_WARN);
    sb_log(MAIN, INFO, "ready", "");
    assert_string_equal(seen.line, "level=info subsystem=main msg=\"ready\"");
}

static void errno_is_kept(void **state)
{
    (void)state;
    errno = EBADF;
    sb_log(CACHE, ERROR, "x", "k=%d", 1);
    assert_int_equal(errno, EBADF);
}

static void unescaped_control_bytes_do_not_split_the_line(void **state)
{
    (void)state;
    sb_log(FRONT, INFO, "m", "name=%s", "a\nlevel=error\r\x1b[31m\x7f");
    assert_string_equal(seen.line, "level=info subsystem=front msg=\"m\" "
                                   "name=a?level=error??[31m?");
}

static void long_lines_are_cut(void **state)
{
    (void)state;
    sb_log(HTTP, INFO, "m", "k=%5000d", 1);
    assert_int_equal(seen.count, 1);
    assert_true(seen.size > 1000 && seen.size < 4096);
}

static void levels_per_subsystem(void **state)
{
    (void)state;
    sb_log(NET, DEBUG, "no", "");
    assert_int_equal(seen.count, 0);
    sb_log_set_level(SB_LOG_NET, SB_LOG_TRACE);
    assert_int_equal(sb_log_get_level(SB_LOG_NET), SB_LOG_TRACE);
    sb_log(NET, TRACE, "yes", "");
    sb_log(HEALTH, DEBUG, "no", "");
    assert_int_equal(seen.count, 1);
    sb_log_set_level(SB_LOG_NET, SB_LOG_ERROR);
    sb_log(NET, WARN, "no", "");
    sb_log(NET, ERROR, "yes", "");
    assert_int_equal(seen.count, 2);
}

static void names_parse_and_print(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SB_LOG_SUBSYSTEM_COUNT; i++) {
        sb_log_subsystem subsystem;
        assert_true(sb_log_subsystem_parse(sb_log_subsystem_text((sb_log_subsystem)i), &subsystem));
        assert_int_equal(subsystem, i);
    }
    for (unsigned i = 0; i < SB_LOG_LEVEL_COUNT; i++) {
        sb_log_level level;
        assert_true(sb_log_level_parse(sb_log_level_text((sb_log_level)i), &level));
        assert_int_equal(level, i);
    }
    sb_log_level level = SB_LOG_TRACE;
    assert_true(sb_log_level_parse("WARN", &level));
    assert_int_equal(level, SB_LOG_WARN);
    assert_false(sb_log_level_parse("warning", &level));
    assert_false(sb_log_level_parse("", &level));
    assert_int_equal(level, SB_LOG_WARN);
    assert_string_equal(sb_log_level_text(SB_LOG_LEVEL_COUNT), "unknown");
    assert_string_equal(sb_log_subsystem_text(SB_LOG_SUBSYSTEM_COUNT), "unknown");
}

static void escaping(void **state)
{
    (void)state;
    static const struct {
        const char *text, *escaped;
    } table[] = {
        {"plain.example-1_2", "plain.example-1_2"},
        {"", "\"\""},
        {"a b", "\"a b\""},
        {"k=v", "\"k=v\""},
        {"say \"hi\"", "\"say \\\"hi\\\"\""},
        {"back\\slash", "\"back\\\\slash\""},
        {"\n\t", "\"\\x0a\\x09\""},
        {"\x1b[31m", "\"\\x1b[31m\""},
        {"\x7f\x80\xff", "\"\\x7f\\x80\\xff\""},
        {"b\xc3\xbc", "\"b\\xc3\\xbc\""},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        char buffer[128];
        assert_string_equal(sb_log_escape(buffer, sizeof(buffer), table[i].text), table[i].escaped);
        assert_string_equal(SB_Q(table[i].text), table[i].escaped);
    }
}

static void escaping_cuts_between_escapes(void **state)
{
    (void)state;
    for (size_t capacity = 0; capacity < 24; capacity++) {
        char buffer[32];
        memset(buffer, '#', sizeof(buffer));
        sb_log_escape(buffer, capacity, "ab\ncd\"ef gh");
        assert_int_equal(buffer[capacity], '#'); /* nothing beyond */
        if (capacity == 0)
            continue;
        size_t size = strlen(buffer);
        assert_true(size < capacity);
        if (size > 0) {
            assert_true(size >= 2 && buffer[0] == '"' && buffer[size - 1] == '"');
            /* the text inside is a prefix of the whole escape that ends on a boundary */
            assert_int_equal(strncmp(buffer, "\"ab\\x0acd\\\"ef gh\"", size - 1), 0);
            size_t inside = size - 2;
            assert_true(inside < 3 || inside > 5);
            assert_true(inside != 9);
        }
    }
}

static void rate_limit_drops_and_counts(void **state)
{
    (void)state;
    uint64_t before = sb_log_dropped();
    for (unsigned i = 0; i < 1000; i++)
        sb_log(RESOLVE, INFO, "flood", "i=%u", i);
    uint64_t lost = sb_log_dropped() - before;
    assert_int_equal(seen.count + lost, 1000);
    assert_true(seen.count >= 100); /* up to the limit nothing is lost … */
    assert_true(seen.count <= 300); /* … and seconds may have turned under the loop, but not many */
    unsigned count = seen.count;
    sb_log(CONFIG, INFO, "other subsystems are heard", "");
    assert_int_equal(seen.count, count + 1);
}

static void default_sink_writes_a_time_stamp(void **state)
{
    (void)state;
    int pipe_ends[2], saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(pipe_ends), 0);
    assert_true(dup2(pipe_ends[1], STDERR_FILENO) >= 0);
    sb_log_set_sink(NULL, NULL);
    sb_log(CONTROL, INFO, "to stderr", "k=%d", 1);
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    close(pipe_ends[1]);
    char line[256] = {0};
    assert_true(read(pipe_ends[0], line, sizeof(line) - 1) > 0);
    close(pipe_ends[0]);
    unsigned year, month, day, hour, minute, second, ms;
    int end = 0;
    assert_int_equal(sscanf(line, "%4u-%2u-%2uT%2u:%2u:%2u.%3uZ %n", &year, &month, &day, &hour,
                            &minute, &second, &ms, &end), 7);
    assert_true(year >= 2024 && month >= 1 && month <= 12 && day >= 1 && day <= 31);
    assert_string_equal(line + end, "level=info subsystem=control msg=\"to stderr\" k=1\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(line_shape, setup),
        cmocka_unit_test_setup(errno_is_kept, setup),
        cmocka_unit_test_setup(unescaped_control_bytes_do_not_split_the_line, setup),
        cmocka_unit_test_setup(long_lines_are_cut, setup),
        cmocka_unit_test_setup(levels_per_subsystem, setup),
        cmocka_unit_test_setup(names_parse_and_print, setup),
        cmocka_unit_test_setup(escaping, setup),
        cmocka_unit_test_setup(escaping_cuts_between_escapes, setup),
        cmocka_unit_test_setup(rate_limit_drops_and_counts, setup),
        cmocka_unit_test_setup(default_sink_writes_a_time_stamp, setup),
    };
    return cmocka_run_group_tests_name("base_log", tests, NULL, NULL);
}
