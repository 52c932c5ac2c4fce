/* Statuses and sentences. Owns nothing, never logs. Any thread. */
#include "base/status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

const char *sb_status_text(sb_status status)
{
    static const char *const texts[] = {
#define STATUS_TEXT(id, text) text,
        SB_STATUS_TABLE(STATUS_TEXT)
#undef STATUS_TEXT
    };
    return (unsigned)status < SB_ARRAY_SIZE(texts) ? texts[status] : "unknown status";
}

sb_status sb_status_from_errno(int error)
{
    static const struct {
        int error;
        sb_status status;
    } table[] = {
        {0, SB_OK},
        {ENOMEM, SB_NOMEM},
        {ENOBUFS, SB_NOMEM},
        {EINVAL, SB_INVALID},
        {ENAMETOOLONG, SB_INVALID},
        {EBADMSG, SB_MALFORMED},
        {EPROTO, SB_MALFORMED},
        {ENOSPC, SB_NOSPACE},
        {EDQUOT, SB_NOSPACE},
        {EMSGSIZE, SB_NOSPACE},
        {EFBIG, SB_NOSPACE},
        {EMFILE, SB_LIMIT},
        {ENFILE, SB_LIMIT},
        {ELOOP, SB_LIMIT},
        {ENOENT, SB_NOTFOUND},
        {ENOTDIR, SB_NOTFOUND},
        {ENODEV, SB_NOTFOUND},
        {ENXIO, SB_NOTFOUND},
        {ETIMEDOUT, SB_TIMEOUT},
        {ECANCELED, SB_CANCELLED},
        {ECONNREFUSED, SB_CONNREFUSED},
        {ENETUNREACH, SB_UNREACHABLE},
        {EHOSTUNREACH, SB_UNREACHABLE},
        {ENETDOWN, SB_UNREACHABLE},
        {EHOSTDOWN, SB_UNREACHABLE},
        {EADDRNOTAVAIL, SB_UNREACHABLE},
        {ECONNRESET, SB_CLOSED},
        {ECONNABORTED, SB_CLOSED},
        {EPIPE, SB_CLOSED},
        {ENOTCONN, SB_CLOSED},
        {EAGAIN, SB_AGAIN},
        {EINTR, SB_AGAIN},
        {EINPROGRESS, SB_AGAIN},
        {EBUSY, SB_BUSY},
        {ETXTBSY, SB_BUSY},
        {EDEADLK, SB_BUSY},
        {EPERM, SB_PERM},
        {EACCES, SB_PERM},
        {EROFS, SB_PERM},
        {EEXIST, SB_EXISTS},
        {EADDRINUSE, SB_EXISTS},
        {ENOSYS, SB_UNSUPPORTED},
        {EOPNOTSUPP, SB_UNSUPPORTED},
        {EAFNOSUPPORT, SB_UNSUPPORTED},
        {EPROTONOSUPPORT, SB_UNSUPPORTED},
        {ENOPROTOOPT, SB_UNSUPPORTED},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++)
        if (table[i].error == error)
            return table[i].status;
    return SB_IO;
}

sb_status sb_why_set(sb_why *why, sb_status status, const char *format, ...)
{
    if (why) {
        va_list args;
        va_start(args, format);
        if (vsnprintf(why->text, sizeof(why->text), format, args) < 0)
            why->text[0] = '\0';
        va_end(args);
    }
    return status;
}

void sb_assert_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "stubborn: %s:%d: assertion failed: %s\n", file, line, condition);
    abort();
}
