/* Streams of uv_env: TCP out and in, Unix in. The loop's thread.
 *
 * A write goes to the kernel at once as far as it takes it; the rest waits in a queue of at most
 * 1 MiB. A closed stream with something queued lingers, out of its owner's sight, for at most 5
 * s. Errors met inside a call are never told from within it: the descriptor stays ready, and the
 * loop tells. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/uv_internal.h"

/* Read and thrown away at a close, so that the kernel does not answer unread bytes with a reset
 * that would destroy our last reply on its way. */
#define DISCARD_MAX ((size_t)256 * 1024)

static sb_status queue_bytes(sb_uv_socket *s, const uint8_t *bytes, size_t size);
static int flush_queue(sb_uv_socket *s);
static void update_watch(sb_uv_socket *s);
static void end_stream(sb_uv_socket *s, int error);
static void finish_connect(sb_uv_socket *s);
static void read_stream(sb_uv_socket *s);
static void linger_ready(sb_uv_socket *s);
static void linger_expired(sb_timer *timer);
static void say_goodbye(sb_uv_socket *s);
static int pending_error(int fd);

static bool has_queue(const sb_uv_socket *s)
{
    return s->stream.out_size > s->stream.out_at;
}

sb_status sb_uv_stream_new(sb_uv_env *u, int take_fd, sb_uv_socket **ret)
{
    sb_status status = sb_uv_socket_new(u, SB_UV_STREAM, take_fd, NULL, ret);
    if (status == SB_OK)
        sb_timer_init(&(*ret)->stream.linger, linger_expired);
    return status;
}

sb_status sb_uv_stream_connect(sb_env *env, const sb_addr *remote, const char *tls_name,
                               const sb_stream_events *events, void *owner, sb_socket *ret,
                               sb_why *why)
{
    char text[SB_ADDR_TEXT_MAX];
    (void)sb_addr_text_port(remote, text);
    if (tls_name)
        return sb_why_set(why, SB_UNSUPPORTED, "TLS to %s is not supported by this version", text);
    struct sockaddr_storage sa;
    socklen_t size = sb_addr_to_sockaddr(remote, &sa);
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return sb_uv_why(why, errno, "cannot connect to %s", text);
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(fd, (struct sockaddr *)&sa, size) != 0 && errno != EINPROGRESS) {
        int error = errno;
        close(fd);
        return sb_uv_why(why, error, "cannot connect to %s", text);
    }
    sb_uv_socket *s;
    sb_status status = sb_uv_stream_new(sb_uv_of(env), fd, &s);
    if (status != SB_OK)
        return sb_why_set(why, status, "cannot connect to %s: %s", text, sb_status_text(status));
    s->owner = owner;
    s->stream.events = *events;
    s->stream.adopted = true;
    s->stream.connecting = true; /* told by the loop even when it is done already */
    update_watch(s);
    *ret = s->id;
    return SB_OK;
}

sb_status sb_uv_adopt(sb_env *env, sb_socket id, const sb_stream_events *events, void *owner)
{
    sb_uv_socket *s = sb_uv_socket_find(sb_uv_of(env), id, SB_UV_STREAM);
    if (!s)
        return SB_CLOSED;
    s->owner = owner;
    s->stream.events = *events;
    s->stream.adopted = true;
    update_watch(s);
    return SB_OK;
}

sb_status sb_uv_stream_write(sb_env *env, sb_socket id, const void *bytes, size_t size)
{
    sb_uv_socket *s = sb_uv_socket_find(sb_uv_of(env), id, SB_UV_STREAM);
    if (!s)
        return SB_CLOSED;
    const uint8_t *at = bytes;
    size_t queued = s->stream.out_size - s->stream.out_at;
    if (size > SB_UV_STREAM_QUEUE_MAX - queued)
        return SB_LIMIT;
    if (!s->stream.connecting && queued == 0) {
        ssize_t sent = send(s->fd, at, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return sb_status_from_errno(errno);
        if (sent > 0) {
            at += sent;
            size -= (size_t)sent;
            s->stream.wrote = true;
        }
    }
    sb_status status = size > 0 ? queue_bytes(s, at, size) : SB_OK;
    s->stream.tell_drained = status == SB_OK && s->stream.events.drained;
    update_watch(s);
    return status;
}

size_t sb_uv_stream_queued(sb_env *env, sb_socket id)
{
    const sb_uv_socket *s = sb_uv_socket_find(sb_uv_of(env), id, SB_UV_STREAM);
    return s ? s->stream.out_size - s->stream.out_at : 0;
}

void sb_uv_stream_pause(sb_env *env, sb_socket id, bool paused)
{
    sb_uv_socket *s = sb_uv_socket_find(sb_uv_of(env), id, SB_UV_STREAM);
    if (!s)
        return;
    s->stream.paused = paused;
    update_watch(s);
}

void sb_uv_stream_close(sb_uv_socket *s)
{
    sb_uv_socket_detach(s);
    if (s->stream.connecting || !has_queue(s)) {
        say_goodbye(s);
        sb_uv_socket_destroy(s);
        return;
    }
    s->stream.lingering = true;
    sb_timer_set(&s->env->env, &s->stream.linger, sb_env_now(&s->env->env) + SB_UV_LINGER);
    update_watch(s);
}

void sb_uv_stream_ready(sb_uv_socket *s, int events, bool error)
{
    uint32_t generation = s->id.generation;
    if (s->stream.lingering) {
        linger_ready(s);
        return;
    }
    if (s->stream.connecting) {
        finish_connect(s);
        return;
    }
    if (error && (s->stream.paused || s->stream.ended)) {
        int reason = pending_error(s->fd);
        end_stream(s, reason ? reason : ECONNRESET);
        return;
    }
    if (error) /* what arrived before the error is still read */
        events = UV_READABLE;
    if (events & UV_WRITABLE) {
        int failed = flush_queue(s);
        if (failed) {
            end_stream(s, failed);
            return;
        }
        if (!has_queue(s) && s->stream.tell_drained) {
            s->stream.tell_drained = false;
            s->stream.events.drained(s->owner, s->id);
        }
        if (s->id.generation != generation)
            return;
    }
    if ((events & UV_READABLE) && !s->stream.paused && !s->stream.ended)
        read_stream(s);
    if (s->id.generation == generation)
        update_watch(s);
}

static void finish_connect(sb_uv_socket *s)
{
    uint32_t generation = s->id.generation;
    int failed = pending_error(s->fd);
    if (failed) {
        end_stream(s, failed);
        return;
    }
    s->stream.connecting = false;
    s->stream.events.connected(s->owner, s->id);
    if (s->id.generation != generation)
        return;
    failed = flush_queue(s);
    if (failed)
        end_stream(s, failed);
    else
        update_watch(s);
}

/* One read per turn keeps a busy stream from starving the others. */
static void read_stream(sb_uv_socket *s)
{
    ssize_t got = recv(s->fd, s->env->read_buffer, SB_UV_READ_SIZE, MSG_DONTWAIT);
    if (got > 0) {
        s->stream.events.received(s->owner, s->id, s->env->read_buffer, (size_t)got);
    } else if (got == 0 && s->stream.on_end) {
        s->stream.ended = true;
        s->stream.on_end(s->owner, s->id);
    } else if (got == 0) {
        end_stream(s, 0);
    } else if (errno != EAGAIN && errno != EINTR) {
        end_stream(s, errno);
    }
}

/* The socket is gone for its owner before the owner hears of it. After an orderly end the peer
 * may still read. */
static void end_stream(sb_uv_socket *s, int error)
{
    void (*closed)(void *, sb_socket, sb_status) = s->stream.events.closed;
    void *owner = s->owner;
    sb_socket id = s->id;
    sb_status why = error ? sb_status_from_errno(error) : SB_CLOSED;
    if (error) {
        sb_uv_socket_destroy(s);
    } else {
        sb_uv_stream_close(s);
    }
    closed(owner, id, why);
}

static void linger_ready(sb_uv_socket *s)
{
    if (flush_queue(s) == 0 && has_queue(s)) {
        update_watch(s);
        return;
    }
    say_goodbye(s);
    sb_uv_socket_destroy(s);
}

static void linger_expired(sb_timer *timer)
{
    sb_uv_socket_destroy(sb_container_of(timer, sb_uv_socket, stream.linger));
}

static void say_goodbye(sb_uv_socket *s)
{
    if (!s->stream.wrote)
        return;
    (void)shutdown(s->fd, SHUT_WR);
    for (size_t taken = 0; taken < DISCARD_MAX;) {
        ssize_t got = recv(s->fd, s->env->read_buffer, SB_UV_READ_SIZE, MSG_DONTWAIT);
        if (got <= 0)
            return;
        taken += (size_t)got;
    }
}

static void update_watch(sb_uv_socket *s)
{
    int events = 0;
    if (s->stream.connecting || has_queue(s) || s->stream.tell_drained)
        events |= UV_WRITABLE;
    if (s->stream.adopted && !s->stream.connecting && !s->stream.paused && !s->stream.lingering &&
        !s->stream.ended)
        events |= UV_READABLE;
    sb_uv_socket_watch(s, events);
}

/* 0 or the error that ended the stream. */
static int flush_queue(sb_uv_socket *s)
{
    while (has_queue(s)) {
        ssize_t sent = send(s->fd, s->stream.out + s->stream.out_at,
                            s->stream.out_size - s->stream.out_at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : errno;
        s->stream.out_at += (size_t)sent;
        s->stream.wrote = true;
    }
    sb_free(s->stream.out);
    s->stream.out = NULL;
    s->stream.out_at = s->stream.out_size = s->stream.out_capacity = 0;
    return 0;
}

static sb_status queue_bytes(sb_uv_socket *s, const uint8_t *bytes, size_t size)
{
    size_t queued = s->stream.out_size - s->stream.out_at;
    if (s->stream.out_at > 0 && s->stream.out_size + size > s->stream.out_capacity) {
        memmove(s->stream.out, s->stream.out + s->stream.out_at, queued);
        s->stream.out_at = 0;
        s->stream.out_size = queued;
    }
    if (s->stream.out_size + size > s->stream.out_capacity) {
        size_t capacity = s->stream.out_capacity ? s->stream.out_capacity : 4096;
        while (capacity < s->stream.out_size + size)
            capacity *= 2;
        uint8_t *out = sb_realloc(s->stream.out, capacity);
        if (!out)
            return SB_NOMEM;
        s->stream.out = out;
        s->stream.out_capacity = capacity;
    }
    memcpy(s->stream.out + s->stream.out_size, bytes, size);
    s->stream.out_size += size;
    return SB_OK;
}

static int pending_error(int fd)
{
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        return errno;
    return error;
}
