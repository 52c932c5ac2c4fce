/* Streams of the simulated machine: two slots each, bytes cut up at random places, ends in order,
 * resets at once. The kernel's buffers are the events on their way. One thread. */
#include <string.h>

#include "sim/sim_internal.h"

#define SEGMENT_MAX 16384u

static void run_connect_host(sim *s, sim_event *e);
static void run_connected(sim *s, sim_event *e);
static void run_connect_program(sim *s, sim_event *e);
static void run_data(sim *s, sim_event *e);
static void run_end(sim *s, sim_event *e);
static void deliver_data(sim *s, sim_event *e);
static void run_unpause(sim *s, sim_event *e);
static void pump(sim *s, sim_slot *from, const uint8_t *bytes, size_t size);
static void take(sim *s, sb_socket name, const uint8_t *bytes, size_t size);
static void ended(sim *s, sb_socket name, sb_status why);
static sim_slot *listener_of(sim *s, const sim_event *e);
static void hold(sim_slot *slot, sim_event *e);
static sb_ns stream_delay(sim *s, const sim_slot *slot);

sb_status sim_stream_connect(sb_env *base, const sb_addr *remote, const char *tls_name,
                             const sb_stream_events *events, void *owner, sb_socket *ret,
                             sb_why *why)
{
    sim_env *env = sim_env_of(base);
    sim *s = env->s;
    if (env->frozen || sb_rand_chance(&s->net, s->faults.open))
        return sb_why_set(why, SB_LIMIT, "cannot open a socket: too many open files");
    sim_host *host = sim_host_find(s, remote);
    if (host && host->reach == SIM_NO_ROUTE)
        return sb_why_set(why, SB_UNREACHABLE, "cannot connect: no route");
    sim_slot *slot = sim_slot_new(s, SIM_STREAM, env, ret);
    slot->owner = owner;
    slot->stream = events;
    slot->adopted = true;
    slot->remote = *remote;
    slot->remote_set = true;
    slot->local = sim_source_for(remote);
    slot->local.port = (uint16_t)(1024 + sb_rand_below(&s->entropy, 64000));
    sim_packet packet = {.from = slot->local, .to = *remote, .socket = *ret, .stream = true};
    sim_packet_seen(s, &packet);
    sb_ns delay = host ? sim_link_delay(s, host) : 0;
    sb_status end = !host || host->reach == SIM_PORT_CLOSED || host->stream_closed ? SB_CONNREFUSED
                    : host->reach == SIM_UNREACHABLE                                ? SB_UNREACHABLE
                                                                                    : SB_OK;
    if (host && host->reach == SIM_BLACKHOLE)
        return SB_OK; /* silence */
    unsigned round_trips = 1;
    if (end == SB_OK && tls_name && host->refuse_tls) {
        end = host->refuse_tls(host, s, tls_name);
        round_trips = 2;
    }
    sim_event *e;
    if (end != SB_OK) {
        e = sim_event_new(s, s->now + 2 * delay * round_trips, 0, run_end);
        e->status = end;
    } else {
        e = sim_event_new(s, s->now + delay, 0, run_connect_host);
        e->to = *remote;
        e->argument = tls_name != NULL;
    }
    e->target = *ret;
    return SB_OK;
}

sb_status sim_stream_listen(sb_env *base, const sb_listen_options *options, sb_accepted *accepted,
                            void *owner, sb_socket *ret, sb_why *why)
{
    sim_env *env = sim_env_of(base);
    sim *s = env->s;
    if (env->frozen)
        return SB_CLOSED;
    sb_socket name;
    sim_slot *slot = sim_slot_new(s, SIM_LISTENER, env, &name);
    slot->owner = owner;
    slot->accepted = accepted;
    slot->on_end = options->ended;
    sb_status status = SB_OK;
    if (options->local.family == SB_FAMILY_NONE) {
        size_t n = strlen(options->path);
        if (n == 0 || n >= sizeof slot->path)
            status = sb_why_set(why, SB_INVALID, "the socket path is too long");
        else
            memcpy(slot->path, options->path, n + 1);
    } else {
        status = sim_bind(s, slot, &options->local, options->reuse_port, why);
    }
    if (status != SB_OK) {
        sim_slot_close(s, slot);
        return status;
    }
    *ret = name;
    return SB_OK;
}

sb_status sim_adopt(sb_env *base, sb_socket socket, const sb_stream_events *events, void *owner)
{
    sim_slot *slot = sim_slot_get(sim_env_of(base)->s, socket);
    if (!slot || slot->kind != SIM_STREAM)
        return SB_CLOSED;
    slot->stream = events;
    slot->owner = owner;
    slot->adopted = true;
    return SB_OK;
}

sb_status sim_stream_write(sb_env *base, sb_socket socket, const void *bytes, size_t size)
{
    sim_env *env = sim_env_of(base);
    sim_slot *slot = sim_slot_get(env->s, socket);
    if (env->frozen || !slot || slot->kind != SIM_STREAM)
        return SB_CLOSED;
    if (size > SIM_QUEUE_LIMIT - slot->queued)
        return SB_LIMIT;
    sim_packet packet = {.from = slot->local,
                         .to = slot->remote,
                         .bytes = bytes,
                         .size = size,
                         .socket = socket,
                         .stream = true};
    sim_packet_seen(env->s, &packet);
    slot = sim_slot_get(env->s, socket);
    if (slot)
        pump(env->s, slot, bytes, size);
    return SB_OK;
}

size_t sim_stream_queued(sb_env *base, sb_socket socket)
{
    const sim_slot *slot = sim_slot_get(sim_env_of(base)->s, socket);
    return slot ? slot->queued : 0;
}

void sim_stream_pause(sb_env *base, sb_socket socket, bool paused)
{
    sim *s = sim_env_of(base)->s;
    sim_slot *slot = sim_slot_get(s, socket);
    if (!slot || slot->paused == paused)
        return;
    slot->paused = paused;
    if (!paused && slot->held) {
        sim_event *e = sim_event_new(s, s->now, 0, run_unpause);
        e->target = socket;
    }
}

sb_socket sim_connect(sim *s, const sb_addr *from, const sb_addr *to, const char *path,
                      uint32_t uid, const sim_conn_events *events, void *owner)
{
    sb_socket name;
    sim_slot *slot = sim_slot_new(s, SIM_STREAM, NULL, &name);
    slot->owner = owner;
    slot->conn = events;
    slot->adopted = true;
    if (from)
        slot->local = *from;
    if (to)
        slot->remote = *to;
    if (path)
        strncpy(slot->path, path, sizeof slot->path - 1);
    sim_event *e = sim_event_new(s, s->now + stream_delay(s, slot), 0, run_connect_program);
    e->target = name;
    e->argument = uid;
    e->to = slot->remote;
    return name;
}

void sim_conn_write(sim *s, sb_socket conn, const void *bytes, size_t size)
{
    sim_slot *slot = sim_slot_get(s, conn);
    if (slot && !slot->env && slot->connected && !slot->ended)
        pump(s, slot, bytes, size);
}

void sim_conn_shutdown(sim *s, sb_socket conn)
{
    sim_slot *slot = sim_slot_get(s, conn);
    if (slot && !slot->env)
        sim_stream_end(s, slot, SB_CLOSED);
}

void sim_conn_close(sim *s, sb_socket conn)
{
    sim_slot *slot = sim_slot_get(s, conn);
    if (!slot || slot->env)
        return;
    sim_stream_end(s, slot, SB_CLOSED);
    sim_slot_close(s, slot);
}

void sim_conn_reset(sim *s, sb_socket conn)
{
    sim_slot *slot = sim_slot_get(s, conn);
    if (!slot || slot->env)
        return;
    slot->last_arrival = 0; /* overtakes what is on its way */
    sim_stream_end(s, slot, SB_IO);
    sim_slot_close(s, slot);
}

void *sim_conn_owner(sim *s, sb_socket conn)
{
    const sim_slot *slot = sim_slot_get(s, conn);
    return slot && !slot->env ? slot->owner : NULL;
}

void sim_conn_set_owner(sim *s, sb_socket conn, void *owner)
{
    sim_slot *slot = sim_slot_get(s, conn);
    if (slot && !slot->env)
        slot->owner = owner;
}

/* The slot stays: half-closed. Idempotent. */
void sim_stream_end(sim *s, sim_slot *slot, sb_status why)
{
    if (slot->ended)
        return;
    slot->ended = true;
    sb_ns at = s->now + stream_delay(s, slot);
    if (at < slot->last_arrival)
        at = slot->last_arrival;
    sim_event *e = sim_event_new(s, at, 0, run_end);
    e->target = slot->other;
    e->status = why;
}

void sim_held_drop(sim *s, sim_slot *slot)
{
    while (slot->held) {
        sim_event *e = slot->held;
        slot->held = e->next;
        sim_event_free(s, e);
    }
    slot->held_tail = NULL;
}

static sb_ns stream_delay(sim *s, const sim_slot *slot)
{
    const sim_host *host =
        slot->env && slot->remote_set ? sim_host_find(s, &slot->remote) : slot->host;
    return host ? sim_link_delay(s, host) : 20 * SB_US;
}

/* Cuts what was written into segments and sends them after each other. */
static void pump(sim *s, sim_slot *from, const uint8_t *bytes, size_t size)
{
    if (from->host && from->host->reach != SIM_UP)
        return; /* the cable is out */
    sb_ns at = s->now + stream_delay(s, from);
    if (at < from->last_arrival)
        at = from->last_arrival;
    from->queued += size;
    while (size > 0) {
        size_t n = size < SEGMENT_MAX ? size : SEGMENT_MAX;
        if (!s->faults.whole_segments && n > 1 && sb_rand_chance(&s->net, 300))
            n = 1 + (size_t)sb_rand_below(&s->net, n < 64 ? n : 64);
        sim_event *e = sim_event_new(s, at, n, run_data);
        memcpy(e->bytes, bytes, n);
        e->target = from->other;
        e->argument = (uint64_t)from->index << 32 | from->generation;
        bytes += n;
        size -= n;
        from->last_arrival = at;
        if (sb_rand_chance(&s->net, 200))
            at += sb_rand_range(&s->net, 0, SB_MS);
    }
}

static void run_connect_host(sim *s, sim_event *e)
{
    sb_socket near = e->target;
    sim_host *host = sim_host_find(s, &e->to);
    bool tls = e->argument != 0; /* TLS 1.3: one round trip more */
    sim_event_free(s, e);
    if (!sim_slot_get(s, near) || !host || host->reach != SIM_UP)
        return; /* given up meanwhile, or unplugged: silence */
    sb_socket far;
    sim_slot *slot = sim_slot_new(s, SIM_STREAM, NULL, &far);
    sim_slot *ours = sim_slot_get(s, near);
    slot->host = host;
    slot->connected = slot->adopted = true;
    slot->local = ours->remote;
    slot->remote = ours->local;
    slot->other = near;
    ours->other = far;
    sb_ns at = s->now + sim_link_delay(s, host);
    at += tls ? 2 * sim_link_delay(s, host) : 0;
    slot->last_arrival = at;
    bool yes = host->accepted && host->accepted(host, s, far);
    slot = sim_slot_get(s, far);
    if (!yes) {
        sim_event *refusal = sim_event_new(s, at, 0, run_end);
        refusal->target = near;
        refusal->status = SB_CONNREFUSED;
        if (slot)
            sim_slot_close(s, slot);
        return;
    }
    sim_event *ok = sim_event_new(s, at, 0, run_connected);
    ok->target = near;
}

static void run_connected(sim *s, sim_event *e)
{
    sim_slot *slot = sim_slot_get(s, e->target);
    sim_event_free(s, e);
    if (!slot)
        return;
    slot->connected = true;
    if (slot->env && slot->stream->connected)
        slot->stream->connected(slot->owner, sim_slot_name(slot));
    else if (!slot->env && slot->conn && slot->conn->connected)
        slot->conn->connected(slot->owner, s, sim_slot_name(slot));
}

/* A client of the world reaches a listener of the program, or nobody. */
static void run_connect_program(sim *s, sim_event *e)
{
    sb_socket far = e->target;
    if (!sim_slot_get(s, far)) {
        sim_event_free(s, e);
        return;
    }
    sim_slot *listener = listener_of(s, e);
    uint32_t uid = (uint32_t)e->argument;
    sim_event_free(s, e);
    if (!listener) {
        ended(s, far, SB_CONNREFUSED);
        return;
    }
    sb_socket door = sim_slot_name(listener);
    sim_env *env = listener->env;
    sb_socket near;
    sim_slot *slot = sim_slot_new(s, SIM_STREAM, env, &near);
    sim_slot *theirs = sim_slot_get(s, far);
    listener = sim_slot_get(s, door);
    slot->connected = true;
    slot->on_end = listener->on_end;
    slot->local = theirs->remote;
    slot->remote = theirs->local;
    slot->other = far;
    theirs->other = near;
    sb_peer peer = {.remote = theirs->local,
                    .local = theirs->remote,
                    .is_unix = listener->path[0] != 0,
                    .uid = uid,
                    .gid = uid,
                    .pid = 4242};
    sim_event *ok = sim_event_new(s, s->now, 0, run_connected);
    ok->target = far;
    listener->accepted(listener->owner, door, near, &peer);
    slot = sim_slot_get(s, near);
    if (slot && !slot->adopted) {
        sim_stream_end(s, slot, SB_CLOSED);
        sim_slot_close(s, slot);
    }
}

static sim_slot *listener_of(sim *s, const sim_event *e)
{
    const sim_slot *theirs = sim_slot_get(s, e->target);
    if (theirs->path[0]) {
        for (uint32_t i = 0; i < s->slot_count; i++) {
            sim_slot *slot = &s->slots[i];
            if (slot->kind == SIM_LISTENER && !slot->env->frozen &&
                strcmp(slot->path, theirs->path) == 0)
                return slot;
        }
        return NULL;
    }
    for (uint32_t i = s->ports[e->to.port]; i; i = s->slots[i - 1].port_next) {
        sim_slot *slot = &s->slots[i - 1];
        if (slot->kind == SIM_LISTENER && slot->local.family == e->to.family &&
            !slot->env->frozen &&
            (sb_addr_is_any(&slot->local) || sb_addr_same_host(&slot->local, &e->to)))
            return slot;
    }
    return NULL;
}

/* What arrives at a paused end waits there, and what comes after it waits behind it. */
static void run_data(sim *s, sim_event *e)
{
    sim_slot *slot = sim_slot_get(s, e->target);
    if (slot && (slot->paused || slot->held))
        hold(slot, e);
    else
        deliver_data(s, e);
}

static void run_end(sim *s, sim_event *e)
{
    sim_slot *slot = sim_slot_get(s, e->target);
    if (slot && (slot->paused || slot->held) && e->status == SB_CLOSED) {
        hold(slot, e);
        return;
    }
    if (slot)
        ended(s, e->target, e->status);
    sim_event_free(s, e);
}

static void deliver_data(sim *s, sim_event *e)
{
    sb_socket writer = {.index = (uint32_t)(e->argument >> 32),
                        .generation = (uint32_t)e->argument};
    const sim_slot *slot = sim_slot_get(s, e->target);
    bool unplugged = slot && slot->host && slot->host->reach != SIM_UP;
    if (slot && !unplugged)
        take(s, e->target, e->bytes, e->size);
    sim_slot *from = sim_slot_get(s, writer);
    bool gone = !slot && from && from->env && !from->env->frozen;
    if (gone) {
        ended(s, writer, SB_IO); /* nobody there any more: a reset comes back */
    } else if (from && !unplugged) {
        from->queued -= e->size;
        if (from->queued == 0 && from->env && from->stream && from->stream->drained)
            from->stream->drained(from->owner, writer);
    }
    sim_event_free(s, e);
}

static void hold(sim_slot *slot, sim_event *e)
{
    e->next = NULL;
    if (!slot->held)
        slot->held_tail = &slot->held;
    *slot->held_tail = e;
    slot->held_tail = &e->next;
}

/* One held chunk per turn: the reader may pause again. */
static void run_unpause(sim *s, sim_event *e)
{
    sb_socket name = e->target;
    sim_event_free(s, e);
    sim_slot *slot = sim_slot_get(s, name);
    if (!slot || slot->paused || !slot->held)
        return;
    sim_event *held = slot->held;
    slot->held = held->next;
    held->next = NULL;
    if (slot->held) {
        sim_event *again = sim_event_new(s, s->now, 0, run_unpause);
        again->target = name;
    }
    if (held->run == run_data) {
        deliver_data(s, held);
    } else {
        ended(s, name, held->status);
        sim_event_free(s, held);
    }
}

static void take(sim *s, sb_socket name, const uint8_t *bytes, size_t size)
{
    sim_slot *slot = sim_slot_get(s, name);
    if (slot->env) {
        if (slot->env->frozen)
            return;
        sim_trace_mix(s, &s->now, sizeof s->now);
        sim_trace_mix(s, bytes, size);
        slot->stream->received(slot->owner, name, bytes, size);
    } else if (slot->host) {
        if (slot->host->received)
            slot->host->received(slot->host, s, name, bytes, size);
    } else if (slot->conn && slot->conn->received) {
        slot->conn->received(slot->owner, s, name, bytes, size);
    }
}

/* The slot is gone before its owner hears of it; our own end follows. */
static void ended(sim *s, sb_socket name, sb_status why)
{
    sim_slot *slot = sim_slot_get(s, name);
    sim_slot was = *slot;
    if (was.env && was.adopted && was.on_end && why == SB_CLOSED) {
        if (!was.env->frozen)
            was.on_end(was.owner, name); /* which may still write, and closes */
        return;
    }
    if (slot->connected && sb_socket_valid(slot->other))
        sim_stream_end(s, slot, SB_CLOSED);
    slot = sim_slot_get(s, name);
    sim_slot_close(s, slot);
    if (was.env) {
        if (!was.env->frozen && was.stream && was.stream->closed)
            was.stream->closed(was.owner, name, why);
    } else if (was.host) {
        if (was.host->closed)
            was.host->closed(was.host, s, name, why);
    } else if (was.conn && was.conn->closed) {
        was.conn->closed(was.owner, s, name, why);
    }
}
