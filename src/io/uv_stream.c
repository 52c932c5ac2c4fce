/* Streams of uv_env: TCP out, with TLS or without, and in; Unix in. The loop's thread.
 *
 * A write goes to the kernel at once as far as it takes it; the rest waits in a queue of at most
 * 1 MiB. A closed stream with something queued lingers, out of its owner's sight, for at most 5
 * s. Errors met inside a call are never told from within it: the descriptor stays ready, and the
 * loop tells. TLS (io/tls) sits between the owner and the queue: the owner sees plaintext, and
 * hears of the connection once the peer is who it should be. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/uv_internal.h"

/* Read and thrown away at a close, so that the kernel does not answer unread bytes with a reset
 * that would destroy our last reply on its way. */
#define DISCARD_MAX ((size_t)256 * 1024)

static sb_status write_plain(sb_uv_socket *s, const uint8_t *bytes, size_t size);
static sb_status write_tls(sb_uv_socket *s, const uint8_t *bytes, size_t size);
static void finish_connect(sb_uv_socket *s);
static void stand(sb_uv_socket *s);
static void read_stream(sb_uv_socket *s);
static void end_stream(sb_uv_socket *s, int error);
static void fail_stream(sb_uv_socket *s, sb_status why);
static sb_status begin_tls(sb_uv_socket *s, const sb_addr *remote, const char *name, sb_why *why);
static void secure(sb_uv_socket *s);
static void deliver(sb_uv_socket *s);
static void wake(sb_timer *timer);
static void fail_tls(sb_uv_socket *s, sb_status status, const sb_why *why);
static sb_status queue_output(sb_uv_socket *s);
static void linger_ready(sb_uv_socket *s);
static void linger_expired(sb_timer *timer);
static void say_goodbye(sb_uv_socket *s);
static void update_watch(sb_uv_socket *s);
static int flush(sb_uv_socket *s);
static size_t waiting(const sb_uv_queue *q);
static uint8_t *queue_room(sb_uv_queue *q, size_t size);
static sb_status queue_bytes(sb_uv_queue *q, const uint8_t *bytes, size_t size);
static void queue_clear(sb_uv_queue *q);
static int pending_error(int fd);

sb_status sb_uv_stream_new(sb_uv_env *u, int take_fd, sb_uv_socket **ret)
{
    sb_status status = sb_uv_socket_new(u, SB_UV_STREAM, take_fd, NULL, ret);
    if (status == SB_OK) {
        sb_timer_init(&(*ret)->stream.linger, linger_expired);
        sb_timer_init(&(*ret)->stream.wake, wake);
    }
    return status;
}

sb_status sb_uv_stream_connect(sb_env *env, const sb_addr *remote, const char *tls_name,
                               const sb_stream_events *events, void *owner, sb_socket *ret,
                               sb_why *why)
{
    char text[SB_ADDR_TEXT_MAX];
    (void)sb_addr_text_port(remote, text);
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
    if (tls_name) {
        sb_why reason;
        status = begin_tls(s, remote, tls_name, &reason);
        if (status != SB_OK) {
            sb_uv_socket_destroy(s);
            return sb_why_set(why, status, "cannot connect to %s: %s", text, reason.text);
        }
    }
    s->owner = owner;
    s->stream.events = *events;
    s->stream.adopted = true;
    s->stream.outgoing = true;
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
    size_t queued = sb_uv_stream_queued(env, id); /* the records of TLS may have taken it beyond */
    if (queued > SB_UV_STREAM_QUEUE_MAX || size > SB_UV_STREAM_QUEUE_MAX - queued)
        return SB_LIMIT;
    sb_status status = s->stream.tls ? write_tls(s, bytes, size) : write_plain(s, bytes, size);
    s->stream.tell_drained = status == SB_OK && s->stream.events.drained;
    update_watch(s);
    return status;
}

size_t sb_uv_stream_queued(sb_env *env, sb_socket id)
{
    const sb_uv_socket *s = sb_uv_socket_find(sb_uv_of(env), id, SB_UV_STREAM);
    return s ? waiting(&s->stream.out) + waiting(&s->stream.early) : 0;
}

void sb_uv_stream_pause(sb_env *env, sb_socket id, bool paused)
{
    sb_uv_socket *s = sb_uv_socket_find(sb_uv_of(env), id, SB_UV_STREAM);
    if (!s)
        return;
    s->stream.paused = paused;
    if (!paused && s->stream.tls)
        sb_timer_set(env, &s->stream.wake, sb_env_now(env));
    update_watch(s);
}

void sb_uv_stream_close(sb_uv_socket *s)
{
    sb_uv_socket_detach(s);
    if (s->stream.tls && !s->stream.connecting && !s->stream.securing) {
        sb_tls_goodbye(s->stream.tls);
        if (queue_output(s) == SB_OK)
            (void)flush(s); /* what fails here fails again, or stays unsent */
    }
    if (s->stream.connecting || s->stream.securing || waiting(&s->stream.out) == 0) {
        say_goodbye(s);
        sb_uv_socket_destroy(s);
        return;
    }
    s->stream.lingering = true;
    sb_timer_stop(&s->env->env, &s->stream.wake);
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
    if (error && ((s->stream.paused && !s->stream.securing) || s->stream.ended)) {
        int reason = pending_error(s->fd);
        end_stream(s, reason ? reason : ECONNRESET);
        return;
    }
    if (error) { /* what arrived before the error is still read */
        events = UV_READABLE;
        if (s->stream.tls && !s->stream.securing)
            deliver(s);
    }
    if (s->id.generation == generation && (events & UV_WRITABLE)) {
        int failed = flush(s);
        if (failed) {
            end_stream(s, failed);
            return;
        }
        if (waiting(&s->stream.out) == 0 && s->stream.tell_drained && !s->stream.securing) {
            s->stream.tell_drained = false;
            s->stream.events.drained(s->owner, s->id);
        }
    }
    if (s->id.generation == generation && (events & UV_READABLE) && !s->stream.ended &&
        (!s->stream.paused || s->stream.securing))
        read_stream(s);
    if (s->id.generation == generation)
        update_watch(s);
}

/* ---- the owner's bytes ---- */

static sb_status write_plain(sb_uv_socket *s, const uint8_t *bytes, size_t size)
{
    if (!s->stream.connecting && waiting(&s->stream.out) == 0) {
        ssize_t sent = send(s->fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return sb_status_from_errno(errno);
        if (sent > 0) {
            bytes += sent;
            size -= (size_t)sent;
            s->stream.wrote = true;
        }
    }
    return size > 0 ? queue_bytes(&s->stream.out, bytes, size) : SB_OK;
}

static sb_status write_tls(sb_uv_socket *s, const uint8_t *bytes, size_t size)
{
    if (s->stream.connecting || s->stream.securing)
        return size > 0 ? queue_bytes(&s->stream.early, bytes, size) : SB_OK;
    sb_status status = sb_tls_write(s->stream.tls, bytes, size, NULL);
    if (status == SB_OK)
        status = queue_output(s);
    if (status == SB_OK)
        status = sb_status_from_errno(flush(s));
    return status;
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
    if (s->stream.tls) {
        s->stream.securing = true;
        secure(s);
    } else {
        stand(s);
    }
    if (s->id.generation == generation)
        update_watch(s);
}

/* The connection can be used. */
static void stand(sb_uv_socket *s)
{
    uint32_t generation = s->id.generation;
    s->stream.events.connected(s->owner, s->id);
    int failed = s->id.generation == generation ? flush(s) : 0;
    if (failed)
        end_stream(s, failed);
}

/* One read per turn keeps a busy stream from starving the others. A peer that waits for our
 * acknowledgement before it sends the rest would wait for the 40 ms of a delayed one, which the
 * kernel goes back to by itself. */
static void read_stream(sb_uv_socket *s)
{
    sb_why why;
    uint8_t *bytes = s->env->read_buffer;
    ssize_t got = recv(s->fd, bytes, SB_UV_READ_SIZE, MSG_DONTWAIT);
    int error = got < 0 ? errno : 0;
    if (got > 0) {
        int one = 1;
        if (s->stream.outgoing)
            (void)setsockopt(s->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof(one));
        if (!s->stream.tls)
            s->stream.events.received(s->owner, s->id, bytes, (size_t)got);
        else if (sb_tls_feed(s->stream.tls, bytes, (size_t)got) != SB_OK)
            fail_stream(s, SB_NOMEM);
        else if (s->stream.securing)
            secure(s);
        else
            deliver(s);
        return;
    }
    if (error == EAGAIN || error == EINTR)
        return;
    if (s->stream.securing) {
        sb_status status = error ? sb_status_from_errno(error) : SB_CLOSED;
        (void)sb_why_set(&why, status, "the connection ended before it was secured");
        fail_tls(s, status, &why);
        return;
    }
    if (got == 0 && s->stream.on_end && !s->stream.tls) {
        s->stream.ended = true;
        s->stream.on_end(s->owner, s->id);
        return;
    }
    end_stream(s, error);
}

/* After an orderly end the peer may still read. */
static void end_stream(sb_uv_socket *s, int error)
{
    if (error) {
        fail_stream(s, sb_status_from_errno(error));
        return;
    }
    void (*closed)(void *, sb_socket, sb_status) = s->stream.events.closed;
    void *owner = s->owner;
    sb_socket id = s->id;
    sb_uv_stream_close(s);
    closed(owner, id, SB_CLOSED);
}

/* The socket is gone for its owner before the owner hears of it. */
static void fail_stream(sb_uv_socket *s, sb_status why)
{
    void (*closed)(void *, sb_socket, sb_status) = s->stream.events.closed;
    void *owner = s->owner;
    sb_socket id = s->id;
    sb_uv_socket_destroy(s);
    closed(owner, id, why);
}

/* ---- TLS ---- */

static sb_status begin_tls(sb_uv_socket *s, const sb_addr *remote, const char *name, sb_why *why)
{
    sb_uv_env *u = s->env;
    if (!u->tls)
        u->tls = sb_tls_client_new();
    if (!u->tls)
        return sb_why_set(why, SB_NOMEM, "out of memory for TLS");
    return sb_tls_new(u->tls, remote, name, &s->stream.tls, why);
}

/* The next step of the handshake. What was written before it stood goes first. */
static void secure(sb_uv_socket *s)
{
    uint32_t generation = s->id.generation;
    sb_uv_queue *early = &s->stream.early;
    sb_why why = {0};
    sb_status status = sb_tls_handshake(s->stream.tls, &why);
    bool stands = status == SB_OK;
    if (stands && waiting(early) > 0)
        status = sb_tls_write(s->stream.tls, early->bytes + early->at, waiting(early), &why);
    if ((stands && status != SB_OK) || (!stands && status != SB_AGAIN)) {
        fail_tls(s, status, &why);
        return;
    }
    status = queue_output(s);
    if (status != SB_OK) {
        fail_stream(s, status);
        return;
    }
    if (!stands) {
        int failed = flush(s);
        if (failed)
            end_stream(s, failed);
        return;
    }
    queue_clear(early);
    s->stream.securing = false;
    stand(s);
    if (s->id.generation == generation)
        deliver(s); /* what came in with the end of the handshake */
}

/* Plaintext to its owner, as long as the owner wants any. */
static void deliver(sb_uv_socket *s)
{
    uint32_t generation = s->id.generation;
    uint8_t *bytes = s->env->read_buffer;
    sb_status status = SB_OK;
    sb_why why = {0};
    while (status == SB_OK && s->id.generation == generation && !s->stream.paused) {
        size_t size;
        status = sb_tls_read(s->stream.tls, bytes, SB_UV_READ_SIZE, &size, &why);
        if (status == SB_OK)
            s->stream.events.received(s->owner, s->id, bytes, size);
    }
    if (s->id.generation != generation)
        return;
    if (status == SB_CLOSED) {
        end_stream(s, 0);
    } else if (status != SB_OK && status != SB_AGAIN) {
        fail_tls(s, status, &why);
    } else if (sb_tls_output(s->stream.tls) > 0) { /* a key update is answered */
        status = queue_output(s);
        int failed = status == SB_OK ? flush(s) : 0;
        if (status != SB_OK)
            fail_stream(s, status);
        else if (failed)
            end_stream(s, failed);
    }
}

static void wake(sb_timer *timer)
{
    sb_uv_socket *s = sb_container_of(timer, sb_uv_socket, stream.wake);
    uint32_t generation = s->id.generation;
    if (s->stream.connecting || s->stream.securing || s->stream.paused)
        return;
    deliver(s);
    if (s->id.generation == generation)
        update_watch(s);
}

/* The alert tells the peer why. */
static void fail_tls(sb_uv_socket *s, sb_status status, const sb_why *why)
{
    struct sockaddr_storage sa = {0};
    socklen_t size = sizeof(sa);
    char text[SB_ADDR_TEXT_MAX] = "unknown";
    if (getpeername(s->fd, (struct sockaddr *)&sa, &size) == 0) {
        sb_addr remote = sb_addr_from_sockaddr((struct sockaddr *)&sa);
        (void)sb_addr_text_port(&remote, text);
    }
    sb_log(NET, DEBUG, "TLS failed", "server=%s reason=%s", text, SB_Q(why->text));
    if (queue_output(s) == SB_OK)
        (void)flush(s);
    say_goodbye(s);
    fail_stream(s, status);
}

/* Ciphertext into the kernel's queue. Without memory it stays where it is, in order. */
static sb_status queue_output(sb_uv_socket *s)
{
    size_t size = sb_tls_output(s->stream.tls);
    if (size == 0)
        return SB_OK;
    uint8_t *room = queue_room(&s->stream.out, size);
    if (!room)
        return SB_NOMEM;
    s->stream.out.size += sb_tls_take(s->stream.tls, room, size);
    return SB_OK;
}

/* ---- the end, and the kernel ---- */

static void linger_ready(sb_uv_socket *s)
{
    if (flush(s) == 0 && waiting(&s->stream.out) > 0) {
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

/* The common read buffer may be in the hands of the owner who closes from its callback. */
static void say_goodbye(sb_uv_socket *s)
{
    uint8_t waste[4096];
    if (!s->stream.wrote)
        return;
    (void)shutdown(s->fd, SHUT_WR);
    for (size_t taken = 0; taken < DISCARD_MAX;) {
        ssize_t got = recv(s->fd, waste, sizeof(waste), MSG_DONTWAIT);
        if (got <= 0)
            return;
        taken += (size_t)got;
    }
}

static void update_watch(sb_uv_socket *s)
{
    int events = 0;
    if (s->stream.connecting || waiting(&s->stream.out) > 0 ||
        (s->stream.tell_drained && !s->stream.securing))
        events |= UV_WRITABLE;
    if (s->stream.adopted && !s->stream.connecting && !s->stream.lingering && !s->stream.ended &&
        (!s->stream.paused || s->stream.securing))
        events |= UV_READABLE;
    sb_uv_socket_watch(s, events);
}

/* 0 or the error that ended the stream. */
static int flush(sb_uv_socket *s)
{
    sb_uv_queue *out = &s->stream.out;
    while (waiting(out) > 0) {
        ssize_t sent =
            send(s->fd, out->bytes + out->at, waiting(out), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : errno;
        out->at += (size_t)sent;
        s->stream.wrote = true;
    }
    queue_clear(out);
    return 0;
}

static size_t waiting(const sb_uv_queue *q)
{
    return q->size - q->at;
}

/* At its end, not yet part of it; NULL without memory. */
static uint8_t *queue_room(sb_uv_queue *q, size_t size)
{
    if (q->at > 0 && q->size + size > q->capacity) {
        memmove(q->bytes, q->bytes + q->at, waiting(q));
        q->size -= q->at;
        q->at = 0;
    }
    if (q->size + size > q->capacity) {
        size_t capacity = q->capacity ? q->capacity : 4096;
        while (capacity < q->size + size)
            capacity *= 2;
        uint8_t *bytes = sb_realloc(q->bytes, capacity);
        if (!bytes)
            return NULL;
        q->bytes = bytes;
        q->capacity = capacity;
    }
    return q->bytes + q->size;
}

static sb_status queue_bytes(sb_uv_queue *q, const uint8_t *bytes, size_t size)
{
    uint8_t *room = queue_room(q, size);
    if (!room)
        return SB_NOMEM;
    memcpy(room, bytes, size);
    q->size += size;
    return SB_OK;
}

static void queue_clear(sb_uv_queue *q)
{
    sb_free(q->bytes);
    *q = (sb_uv_queue){0};
}

static int pending_error(int fd)
{
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        return errno;
    return error;
}
