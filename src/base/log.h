/* Structured logs: key=value through one macro, a level per subsystem, one sink.
 *
 * sb_log_escape-d values, no locale, no allocation. Levels are atomics: any thread may log, one
 * thread sets levels and sink. A rate limit per subsystem drops lines and counts them. */
#ifndef SB_BASE_LOG_H
#define SB_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define SB_LOG_SUBSYSTEM_TABLE(X)                                                                  \
    X(MAIN, "main") X(CONFIG, "config") X(CACHE, "cache") X(UPSTREAM, "upstream")                  \
    X(RESOLVE, "resolve") X(FRONT, "front") X(HTTP, "http") X(CONTROL, "control") X(NET, "net")    \
    X(HEALTH, "health")

typedef enum sb_log_subsystem {
#define SB_LOG_ENUM(id, text) SB_LOG_##id,
    SB_LOG_SUBSYSTEM_TABLE(SB_LOG_ENUM)
#undef SB_LOG_ENUM
        SB_LOG_SUBSYSTEM_COUNT
} sb_log_subsystem;

typedef enum sb_log_level {
    SB_LOG_ERROR,
    SB_LOG_WARN,
    SB_LOG_INFO,
    SB_LOG_DEBUG,
    SB_LOG_TRACE,
    SB_LOG_LEVEL_COUNT
} sb_log_level;

/* One whole line's fields, without time stamp and newline: `level=… subsystem=… msg="…" k=v`. */
typedef void sb_log_sink(void *context, sb_log_level level, const char *line, size_t size);

/* At the start every level is INFO and lines go to stderr with an RFC 3339 time stamp. */
void sb_log_set_sink(sb_log_sink *sink, void *context);
void sb_log_set_level(sb_log_subsystem subsystem, sb_log_level level);
sb_log_level sb_log_get_level(sb_log_subsystem subsystem);
bool sb_log_subsystem_parse(const char *text, sb_log_subsystem *ret_subsystem);
bool sb_log_level_parse(const char *text, sb_log_level *ret_level);
const char *sb_log_subsystem_text(sb_log_subsystem subsystem);
const char *sb_log_level_text(sb_log_level level);
/* Lines dropped by the rate limit (100 lines a second and subsystem) since the start. */
uint64_t sb_log_dropped(void);

/* `format` is the message, then key=value pairs as a format: the caller quotes what may hold blanks
 * with SB_Q. Example: sb_log(UPSTREAM, WARN, "upstream down", "server=%s failures=%u", text, n); */
#define sb_log(subsystem, level, message, ...)                                                     \
    do {                                                                                           \
        if (sb_log_enabled(SB_LOG_##subsystem, SB_LOG_##level))                                    \
            sb_log_write(SB_LOG_##subsystem, SB_LOG_##level, message, __VA_ARGS__);                \
    } while (0)
bool sb_log_enabled(sb_log_subsystem subsystem, sb_log_level level);
void sb_log_write(sb_log_subsystem subsystem, sb_log_level level, const char *message,
                  const char *format, ...) SB_PRINTF(4, 5);

/* Copies text into buffer as a logfmt value: quoted when needed, control bytes as \xNN, always
 * NUL-terminated, cut to fit. Returns buffer. */
const char *sb_log_escape(char *buffer, size_t capacity, const char *text);
/* The escaped text for a `key=%s`; lives until the end of the enclosing block. */
#define SB_Q(text) sb_log_escape((char[256]){0}, 256, (text))

#endif
