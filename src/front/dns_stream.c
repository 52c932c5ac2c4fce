/* Connections of the DNS front: framing, pipelining, back-pressure, limits, idling (RFC 7766).
 *
 * TCP and the Unix socket alike; answers leave in the order they are ready. Never looks into a
 * message. Loop thread. */
#include <string.h>

#include "front/dns_private.h"

static void received(void *owner, sb_socket socket, const uint8_t *bytes, size_t size);
static void drained(void *owner, sb_socket socket);
static void closed(void *owner, sb_socket socket, sb_status why);
static bool make_room(sb_dns_front *front, const sb_dns_listener *listener, const sb_peer *peer);
static bool evict(sb_dns_front *front, sb_list *streams, const sb_peer *of);
static bool adopt(sb_dns_stream *stream, const sb_peer *peer);
static void stream_free(sb_dns_stream *stream);
static size_t walk(sb_dns_stream *stream, const uint8_t *bytes, size_t size);
static bool keep(sb_dns_stream *stream, const uint8_t *bytes, size_t size);
static void walk_kept(sb_dns_stream *stream);
static bool settle_walk(sb_dns_stream *stream);
static bool full(const sb_dns_stream *stream);
static void touch(sb_dns_stream *stream);
static void arm_idle(sb_dns_front *front);

static const sb_stream_events stream_events = {
    .received = received,
    .drained = drained,
    .closed = closed,
};

void sb_dns_stream_accepted(void *owner, sb_socket listening, sb_socket socket, const sb_peer *peer)
{
    (void)listening;
    sb_dns_listener *listener = owner;
    sb_dns_front *front = listener->front;
    if (front->quiescing || !make_room(front, listener, peer))
        return;
    sb_dns_stream *stream = sb_new(sb_dns_stream);
    if (!stream)
        return;
    stream->front = front;
    stream->socket = socket;
    stream->is_unix = peer->is_unix;
    stream->uid = peer->uid;
    stream->remote = peer->remote;
    stream->local = peer->local;
    sb_list_init(&stream->link);
    sb_list_init(&stream->pending);
    if (!adopt(stream, peer))
        sb_free(stream);
}

/* A peer's end is told while nothing is paused: every whole message was walked, and half a one
 * stays half. */
void sb_dns_stream_ended(void *owner, sb_socket socket)
{
    (void)socket;
    sb_dns_stream *stream = owner;
    stream->ended = true;
    sb_dns_stream_resume(stream);
}

bool sb_dns_stream_send(sb_dns_stream *stream, size_t size)
{
    sb_env *env = stream->front->env;
    sb_store_u16(stream->front->out, (uint16_t)size);
    if (env->ops->stream_write(env, stream->socket, stream->front->out, 2 + size) != SB_OK) {
        sb_dns_stream_close(stream); /* a client that asks and does not read */
        return false;
    }
    touch(stream);
    return true;
}

void sb_dns_stream_resume(sb_dns_stream *stream)
{
    if (stream->front->quiescing) {
        if (stream->under_way == 0)
            sb_dns_stream_close(stream); /* what is queued is still sent */
        return;
    }
    if (stream->ended) {
        /* A slow reader has until it idles; on the Unix socket, where nobody idles, the env's
         * linger is the bound. */
        sb_env *env = stream->front->env;
        if (stream->under_way == 0 &&
            (stream->is_unix || env->ops->stream_queued(env, stream->socket) == 0))
            sb_dns_stream_close(stream);
        return;
    }
    /* Half empty first: what is kept is moved once per batch, not once per answer. */
    if (stream->paused && !stream->busy && !full(stream) &&
        stream->under_way <= SB_FRONT_PIPELINE_MAX / 2)
        walk_kept(stream);
}

void sb_dns_stream_close(sb_dns_stream *stream)
{
    if (stream->dead)
        return;
    sb_dns_front *front = stream->front;
    front->env->ops->close(front->env, stream->socket);
    sb_dns_pending_cancel(front, &stream->pending);
    sb_list_remove(&stream->link);
    if (stream->is_unix)
        front->unix_count--;
    else
        front->tcp_count--;
    if (stream->refused)
        front->access.refused_streams--;
    if (stream->client) {
        stream->client->streams--;
        sb_dns_client_put(&front->access, stream->client);
    }
    stream->dead = true;
    if (!stream->busy)
        stream_free(stream);
}

void sb_dns_stream_sweep(sb_timer *timer)
{
    sb_dns_front *front = sb_container_of(timer, sb_dns_front, idle);
    sb_ns now = sb_env_now(front->env);
    while (!sb_list_empty(&front->tcp)) {
        sb_dns_stream *stream = sb_container_of(front->tcp.next, sb_dns_stream, link);
        if (stream->active_at + SB_FRONT_TCP_IDLE_S * SB_S > now)
            break;
        if (stream->under_way > 0) {
            touch(stream); /* waiting for us is not idling; the question's own deadline ends it */
            continue;
        }
        sb_count(sb_engine_stats(front->engine), SB_COUNT_LIMIT_TCP_IDLE);
        sb_dns_stream_close(stream);
    }
    arm_idle(front);
}

static void received(void *owner, sb_socket socket, const uint8_t *bytes, size_t size)
{
    (void)socket;
    sb_dns_stream *stream = owner;
    if (stream->size > 0 || stream->paused) {
        if (keep(stream, bytes, size) && !stream->paused)
            walk_kept(stream);
        return;
    }
    stream->busy = true;
    size_t used = walk(stream, bytes, size);
    if (settle_walk(stream))
        (void)keep(stream, bytes + used, size - used);
}

static void drained(void *owner, sb_socket socket)
{
    (void)socket;
    sb_dns_stream_resume(owner);
}

static void closed(void *owner, sb_socket socket, sb_status why)
{
    (void)socket;
    (void)why;
    sb_dns_stream_close(owner);
}

/* False: this connection is not taken. */
static bool make_room(sb_dns_front *front, const sb_dns_listener *listener, const sb_peer *peer)
{
    sb_stats *stats = sb_engine_stats(front->engine);
    if (listener->addr.family == SB_FAMILY_NONE) {
        unsigned own = 0;
        sb_list_each (it, &front->unix_streams)
            own += sb_container_of(it, sb_dns_stream, link)->uid == peer->uid;
        if (own >= SB_FRONT_UNIX_PER_USER)
            return evict(front, &front->unix_streams, peer);
        return front->unix_count < SB_FRONT_TCP_MAX || evict(front, &front->unix_streams, NULL);
    }
    if (!sb_dns_access_allows(front->settings, &peer->remote) &&
        front->access.refused_streams >= SB_DNS_REFUSED_STREAMS) {
        sb_count(stats, SB_COUNT_FRONT_DROPPED);
        return false;
    }
    return front->tcp_count < SB_FRONT_TCP_MAX || evict(front, &front->tcp, NULL);
}

/* The one idle longest goes, of that user's where one is given; with none idle, the one least
 * recently active. */
static bool evict(sb_dns_front *front, sb_list *streams, const sb_peer *of)
{
    sb_dns_stream *victim = NULL;
    sb_list_each (it, streams) {
        sb_dns_stream *stream = sb_container_of(it, sb_dns_stream, link);
        if (of && stream->uid != of->uid)
            continue;
        if (!victim || stream->under_way == 0)
            victim = stream;
        if (stream->under_way == 0)
            break;
    }
    sb_count(sb_engine_stats(front->engine), SB_COUNT_LIMIT_TCP);
    if (victim)
        sb_dns_stream_close(victim);
    return true;
}

static bool adopt(sb_dns_stream *stream, const sb_peer *peer)
{
    sb_dns_front *front = stream->front;
    if (!stream->is_unix) {
        sb_dns_client *client = sb_dns_client_get(&front->access, &peer->remote);
        if (!client)
            return false;
        if (client->streams >= SB_FRONT_TCP_PER_CLIENT && !sb_addr_is_loopback(&peer->remote)) {
            sb_count(sb_engine_stats(front->engine), SB_COUNT_LIMIT_TCP_PER_CLIENT);
            return false;
        }
        stream->client = client;
    }
    sb_status status = front->env->ops->adopt(front->env, stream->socket, &stream_events, stream);
    if (status != SB_OK) {
        if (stream->client)
            sb_dns_client_put(&front->access, stream->client);
        return false;
    }
    if (stream->client)
        stream->client->streams++;
    if (!stream->is_unix && !sb_dns_access_allows(front->settings, &peer->remote)) {
        stream->refused = true;
        front->access.refused_streams++;
    }
    if (stream->is_unix)
        front->unix_count++;
    else
        front->tcp_count++;
    touch(stream);
    if (!stream->is_unix && !sb_timer_armed(&front->idle))
        arm_idle(front);
    return true;
}

static void stream_free(sb_dns_stream *stream)
{
    sb_free(stream->buffer);
    sb_free(stream);
}

/* Whole messages from the start of the bytes, as many as may be under way. Returns what it used. */
static size_t walk(sb_dns_stream *stream, const uint8_t *bytes, size_t size)
{
    size_t at = 0;
    sb_dns_origin origin = {.stream = stream, .client = stream->remote, .local = stream->local};
    while (!stream->dead && !full(stream) && size - at >= 2) {
        size_t length = sb_load_u16(bytes + at);
        if (size - at - 2 < length)
            break;
        touch(stream);
        if (!sb_dns_message(stream->front, bytes + at + 2, length, &origin))
            sb_dns_stream_close(stream);
        at += 2 + length;
    }
    return at;
}

/* After busy walking: frees a stream that was closed meanwhile (false), pauses one that is full. */
static bool settle_walk(sb_dns_stream *stream)
{
    stream->busy = false;
    if (stream->dead) {
        stream_free(stream);
        return false;
    }
    bool pause = full(stream);
    if (pause != stream->paused) {
        sb_env *env = stream->front->env;
        if (pause)
            sb_count(sb_engine_stats(stream->front->engine), SB_COUNT_LIMIT_PIPELINE);
        stream->paused = pause;
        env->ops->stream_pause(env, stream->socket, pause);
    }
    return true;
}

/* Grows with the bytes that came, not with the length announced. False: the stream is gone. */
static bool keep(sb_dns_stream *stream, const uint8_t *bytes, size_t size)
{
    if (size == 0)
        return true;
    size_t needed = stream->size + size;
    if (needed > stream->capacity) {
        size_t capacity = needed < 512 ? 512 : needed + needed / 2;
        uint8_t *buffer = needed > SB_DNS_KEPT_MAX ? NULL : sb_realloc(stream->buffer, capacity);
        if (!buffer) {
            sb_dns_stream_close(stream);
            return false;
        }
        stream->buffer = buffer;
        stream->capacity = capacity;
    }
    memcpy(stream->buffer + stream->size, bytes, size);
    stream->size = needed;
    return true;
}

static void walk_kept(sb_dns_stream *stream)
{
    stream->busy = true;
    size_t used = walk(stream, stream->buffer, stream->size);
    if (!settle_walk(stream))
        return;
    stream->size -= used;
    if (stream->size > 0) {
        memmove(stream->buffer, stream->buffer + used, stream->size);
    } else { /* an idle connection holds no memory but its own */
        sb_free(stream->buffer);
        stream->buffer = NULL;
        stream->capacity = 0;
    }
}

static bool full(const sb_dns_stream *stream)
{
    sb_env *env = stream->front->env;
    return stream->under_way >= SB_FRONT_PIPELINE_MAX ||
           env->ops->stream_queued(env, stream->socket) >= SB_DNS_QUEUED_MAX;
}

static void touch(sb_dns_stream *stream)
{
    sb_dns_front *front = stream->front;
    stream->active_at = sb_env_now(front->env);
    sb_list_remove(&stream->link);
    sb_list_push(stream->is_unix ? &front->unix_streams : &front->tcp, &stream->link);
}

static void arm_idle(sb_dns_front *front)
{
    if (sb_list_empty(&front->tcp)) {
        sb_timer_stop(front->env, &front->idle);
        return;
    }
    sb_dns_stream *oldest = sb_container_of(front->tcp.next, sb_dns_stream, link);
    sb_timer_set(front->env, &front->idle, oldest->active_at + SB_FRONT_TCP_IDLE_S * SB_S);
}
