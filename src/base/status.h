/* Statuses and sentences: how every floor says that something went wrong.
 *
 * Owns nothing. A status is a value, a why is one sentence for a person. The layer that decides
 * logs, once; everything below returns. Any thread. */
#ifndef SB_BASE_STATUS_H
#define SB_BASE_STATUS_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#define SB_MUST_USE __attribute__((warn_unused_result))
#define SB_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define SB_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Every way an internal function can end. The order is private: never written to disk or wire. */
#define SB_STATUS_TABLE(X)                                                                         \
    X(OK, "ok")                                                                                    \
    X(NOMEM, "out of memory")                                                                      \
    X(INVALID, "invalid input")                                                                    \
    X(MALFORMED, "malformed message")                                                              \
    X(NOSPACE, "does not fit")                                                                     \
    X(LIMIT, "limit reached")                                                                      \
    X(NOTFOUND, "not found")                                                                       \
    X(TIMEOUT, "timed out")                                                                        \
    X(CANCELLED, "cancelled")                                                                      \
    X(REFUSED, "refused")                                                                          \
    X(SERVFAIL, "server failure")                                                                  \
    X(UNREACHABLE, "network unreachable")                                                          \
    X(CONNREFUSED, "connection refused")                                                           \
    X(CLOSED, "closed by peer")                                                                    \
    X(IO, "input/output error")                                                                    \
    X(AGAIN, "try again")                                                                          \
    X(BUSY, "locked by another")                                                                   \
    X(PERM, "not permitted")                                                                       \
    X(EXISTS, "already there")                                                                     \
    X(UNSUPPORTED, "not supported")                                                                \
    X(UNTRUSTED, "certificate does not verify")                                                    \
    X(MISMATCH, "does not match the question")                                                     \
    X(NXDOMAIN, "no such name")                                                                    \
    X(NODATA, "no such record")                                                                    \
    X(LOOP, "aliases without an end")

typedef enum sb_status {
#define SB_STATUS_ENUM(id, text) SB_##id,
    SB_STATUS_TABLE(SB_STATUS_ENUM)
#undef SB_STATUS_ENUM
        SB_STATUS_COUNT
} sb_status;

/* The English words of the table above; "unknown status" for anything else. Static storage. */
const char *sb_status_text(sb_status status);

/* The positive errno mapped onto a status; SB_IO where no finer one fits. */
sb_status sb_status_from_errno(int error);

/* One sentence: what failed, on which object, the system's reason. Filled on cold paths only. */
typedef struct sb_why {
    char text[512];
} sb_why;

/* Writes the sentence (truncated to fit; why may be NULL) and returns status, so that a caller can
 * write `return sb_why_set(why, SB_INVALID, "port %u is out of range", port);` */
sb_status sb_why_set(sb_why *why, sb_status status, const char *format, ...) SB_PRINTF(3, 4);

/* Our own bugs, never input. Aborts with file and line in every build. */
#define SB_ASSERT(condition)                                                                       \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0))                                                     \
            sb_assert_failed(#condition, __FILE__, __LINE__);                                      \
    } while (0)
_Noreturn void sb_assert_failed(const char *condition, const char *file, int line);

#endif
