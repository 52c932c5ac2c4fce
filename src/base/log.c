/* Structured log lines: composes, limits and hands them to one sink.
 *
 * Never allocates, never locks. The default sink (stderr) and the second of the rate limit are the
 * only clock and descriptor below io/: a log that needs an env cannot tell why there is none. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"

enum {
    LINE_BYTES = 2048,      /* longer lines are cut: one line is one write */
    LINES_PER_SECOND = 100, /* per subsystem; a flood of one hides no other */
    SINK_SLOTS = 16,
};

typedef struct sink_slot {
    sb_log_sink *write;
    void *context;
} sink_slot;

static void write_stderr(void *context, sb_log_level level, const char *line, size_t size);

/* Partner: sb_log_enabled. Relaxed: a line more or less at a change does not matter. */
static _Atomic uint8_t levels[SB_LOG_SUBSYSTEM_COUNT] = {
    [0 ... SB_LOG_SUBSYSTEM_COUNT - 1] = SB_LOG_INFO};
/* The second in the upper 48 bits, lines in that second below; relaxed, only counted. */
static _Atomic uint64_t windows[SB_LOG_SUBSYSTEM_COUNT];
static _Atomic uint64_t dropped;
/* A sink and its context change together: the setter fills the next slot and then releases its
 * number; writers acquire it. A writer would have to sleep through 15 changes to see a torn pair,
 * and sinks change a few times in the life of a process. */
static sink_slot sinks[SINK_SLOTS] = {{.write = write_stderr}};
static _Atomic unsigned sink_current;

static const char *const subsystem_texts[] = {
#define SUBSYSTEM_TEXT(id, text) text,
    SB_LOG_SUBSYSTEM_TABLE(SUBSYSTEM_TEXT)
#undef SUBSYSTEM_TEXT
};
static const char *const level_texts[] = {"error", "warn", "info", "debug", "trace"};
_Static_assert(SB_ARRAY_SIZE(level_texts) == SB_LOG_LEVEL_COUNT, "a text per level");

static bool within_rate(sb_log_subsystem subsystem);
static size_t civil_time(char *buffer, size_t capacity);

void sb_log_set_sink(sb_log_sink *sink, void *context)
{
    unsigned next =
        (atomic_load_explicit(&sink_current, memory_order_relaxed) + 1) % SINK_SLOTS;
    sinks[next] = (sink_slot){.write = sink ? sink : write_stderr, .context = context};
    atomic_store_explicit(&sink_current, next, memory_order_release);
}

void sb_log_set_level(sb_log_subsystem subsystem, sb_log_level level)
{
    SB_ASSERT((unsigned)subsystem < SB_LOG_SUBSYSTEM_COUNT);
    atomic_store_explicit(&levels[subsystem], (uint8_t)level, memory_order_relaxed);
}

sb_log_level sb_log_get_level(sb_log_subsystem subsystem)
{
    SB_ASSERT((unsigned)subsystem < SB_LOG_SUBSYSTEM_COUNT);
    return (sb_log_level)atomic_load_explicit(&levels[subsystem], memory_order_relaxed);
}

bool sb_log_subsystem_parse(const char *text, sb_log_subsystem *ret_subsystem)
{
    for (unsigned i = 0; i < SB_LOG_SUBSYSTEM_COUNT; i++) {
        if (sb_ascii_equal(text, subsystem_texts[i])) {
            *ret_subsystem = (sb_log_subsystem)i;
            return true;
        }
    }
    return false;
}

bool sb_log_level_parse(const char *text, sb_log_level *ret_level)
{
    for (unsigned i = 0; i < SB_LOG_LEVEL_COUNT; i++) {
        if (sb_ascii_equal(text, level_texts[i])) {
            *ret_level = (sb_log_level)i;
            return true;
        }
    }
    return false;
}

const char *sb_log_subsystem_text(sb_log_subsystem subsystem)
{
    return (unsigned)subsystem < SB_LOG_SUBSYSTEM_COUNT ? subsystem_texts[subsystem] : "unknown";
}

const char *sb_log_level_text(sb_log_level level)
{
    return (unsigned)level < SB_LOG_LEVEL_COUNT ? level_texts[level] : "unknown";
}

uint64_t sb_log_dropped(void)
{
    return atomic_load_explicit(&dropped, memory_order_relaxed);
}

bool sb_log_enabled(sb_log_subsystem subsystem, sb_log_level level)
{
    return level <= sb_log_get_level(subsystem);
}

void sb_log_write(sb_log_subsystem subsystem, sb_log_level level, const char *message,
                  const char *format, ...)
{
    int saved_errno = errno; /* a log line between a call and its check must not change it */
    if (!within_rate(subsystem)) {
        atomic_fetch_add_explicit(&dropped, 1, memory_order_relaxed);
        errno = saved_errno;
        return;
    }
    char line[LINE_BYTES];
    int head = snprintf(line, sizeof(line), "level=%s subsystem=%s msg=\"%s\"",
                        sb_log_level_text(level), sb_log_subsystem_text(subsystem), message);
    size_t size = head < 0 ? 0 : (size_t)head;
    if (format && *format && size + 2 < sizeof(line)) {
        line[size++] = ' ';
        va_list args;
        va_start(args, format);
        int fields = vsnprintf(line + size, sizeof(line) - size, format, args);
        va_end(args);
        size += fields < 0 ? 0 : (size_t)fields;
    }
    if (size >= sizeof(line))
        size = sizeof(line) - 1;
    /* A value somebody forgot to escape must not begin a line of its own. */
    for (size_t i = 0; i < size; i++)
        if ((uint8_t)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    const sink_slot *sink = &sinks[atomic_load_explicit(&sink_current, memory_order_acquire)];
    sink->write(sink->context, level, line, size);
    errno = saved_errno;
}

const char *sb_log_escape(char *buffer, size_t capacity, const char *text)
{
    static const char hex[] = "0123456789abcdef";
    bool quoted = *text == '\0';
    for (const char *p = text; *p && !quoted; p++)
        quoted = (uint8_t)*p <= ' ' || *p == '"' || *p == '=' || *p == '\\' || (uint8_t)*p >= 0x7f;
    if (capacity == 0)
        return buffer;
    size_t used = 0, end = capacity - 1; /* end: where the NUL may come at the latest */
    size_t tail = quoted ? 1 : 0; /* the closing quote */
    buffer[0] = '\0';
    if (quoted && end < 2)
        return buffer;
    if (quoted)
        buffer[used++] = '"';
    for (const char *p = text; *p; p++) {
        uint8_t c = (uint8_t)*p;
        char escaped[4] = {*p};
        size_t size = 1;
        if (c == '"' || c == '\\') {
            escaped[0] = '\\';
            escaped[1] = *p;
            size = 2;
        } else if (c < 0x20 || c >= 0x7f) {
            escaped[0] = '\\';
            escaped[1] = 'x';
            escaped[2] = hex[c >> 4];
            escaped[3] = hex[c & 15];
            size = 4;
        }
        if (used + size + tail > end)
            break; /* cut before, never within, an escape */
        memcpy(buffer + used, escaped, size);
        used += size;
    }
    if (tail)
        buffer[used++] = '"';
    buffer[used] = '\0';
    return buffer;
}

static bool within_rate(sb_log_subsystem subsystem)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    uint64_t second = (uint64_t)now.tv_sec << 16;
    uint64_t seen = atomic_load_explicit(&windows[subsystem], memory_order_relaxed);
    uint64_t next;
    do {
        if ((seen & ~(uint64_t)0xffff) != second)
            next = second | 1;
        else if ((seen & 0xffff) >= LINES_PER_SECOND)
            return false;
        else
            next = seen + 1;
    } while (!atomic_compare_exchange_weak_explicit(&windows[subsystem], &seen, next,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

static void write_stderr(void *context, sb_log_level level, const char *line, size_t size)
{
    (void)context;
    (void)level;
    char whole[LINE_BYTES + 64];
    size_t used = civil_time(whole, 64);
    if (size > LINE_BYTES)
        size = LINE_BYTES;
    memcpy(whole + used, line, size);
    used += size;
    whole[used++] = '\n';
    ssize_t written = write(STDERR_FILENO, whole, used);
    (void)written; /* nobody is left to be told */
}

/* "2026-01-31T23:59:59.123Z " without the time-zone lock of the C library, which a fork could leave
 * held. Days to dates as in the proleptic Gregorian calendar, years beginning in March. */
static size_t civil_time(char *buffer, size_t capacity)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    uint64_t seconds = now.tv_sec > 0 ? (uint64_t)now.tv_sec : 0;
    uint64_t days = seconds / 86400 + 719468; /* since 0000-03-01 */
    uint64_t era = days / 146097, day = days % 146097;
    uint64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    uint64_t year_day = day - (365 * year + year / 4 - year / 100);
    uint64_t month = (5 * year_day + 2) / 153;
    uint64_t month_day = year_day - (153 * month + 2) / 5 + 1;
    month = month < 10 ? month + 3 : month - 9;
    year += era * 400 + (month <= 2 ? 1 : 0);
    unsigned rest = (unsigned)(seconds % 86400);
    int size = snprintf(buffer, capacity, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ ", (unsigned)year,
                        (unsigned)month, (unsigned)month_day, rest / 3600, rest / 60 % 60,
                        rest % 60, (unsigned)(now.tv_nsec / 1000000));
    return size > 0 && (size_t)size < capacity ? (size_t)size : 0;
}
