/* The loop's side of the environment: clocks, entropy, the common timer, slots. The loop's
 * thread.
 *
 * One place drains: the prepare callback, which runs before every wait of the loop. So nothing
 * drained is ever nested under a socket's callback, and setting a timer needs no wake-up: whoever
 * sets one runs on this loop and comes by here. */
#define _GNU_SOURCE
#include "io/uv_env.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/uv_internal.h"

/* Callbacks between two looks at the sockets: a storm of timers must not keep packets waiting. */
#define DRAIN_BUDGET 1024
/* CLOCK_MONOTONIC, which libuv sleeps by, stands still in a suspend; deadlines do not. */
#define WAKE_AT_LEAST SB_S

/* Random bytes in advance; the kernel wipes the page in a forked child, so that both never share
 * any. */
struct entropy_page {
    uint32_t left;
    uint8_t bytes[1020];
};

static sb_ns env_now(sb_env *env);
static void env_clock(sb_env *env, sb_clock *ret);
static void env_entropy(sb_env *env, void *ret, size_t size);
static void env_rearm(sb_env *env);
static sb_status env_local_address(sb_env *env, sb_socket id, sb_addr *ret);
static void env_close(sb_env *env, sb_socket id);
static sb_status start_handles(sb_uv_env *u, sb_why *why);
static void read_boot_id(uint8_t ret[16]);
static void on_prepare(uv_prepare_t *handle);
static void on_timer(uv_timer_t *handle);
static void on_idle(uv_idle_t *handle);
static void on_poll(uv_poll_t *handle, int status, int events);
static void on_handle_closed(uv_handle_t *handle);
static void on_socket_closed(uv_handle_t *handle);
static sb_status slot_take(sb_uv_env *u, uint32_t *ret_index);
static sb_ns clock_ns(clockid_t id);

static const sb_env_ops uv_ops = {
    .now = env_now,
    .clock = env_clock,
    .entropy = env_entropy,
    .rearm = env_rearm,
    .udp_open = sb_uv_udp_open,
    .udp_send = sb_uv_udp_send,
    .local_address = env_local_address,
    .stream_connect = sb_uv_stream_connect,
    .stream_listen = sb_uv_stream_listen,
    .adopt = sb_uv_adopt,
    .stream_write = sb_uv_stream_write,
    .stream_queued = sb_uv_stream_queued,
    .stream_pause = sb_uv_stream_pause,
    .close = env_close,
    .netlink_open = sb_uv_netlink_open,
    .source_address = sb_uv_source_address,
    .file_read = sb_uv_file_read,
    .file_replace = sb_uv_file_replace,
    .file_stat = sb_uv_file_stat,
    .map_open = sb_uv_map_open,
    .map_create = sb_uv_map_create,
    .map_publish = sb_uv_map_publish,
    .map_memory = sb_uv_map_memory,
    .map_flush = sb_uv_map_flush,
    .map_close = sb_uv_map_close,
};

sb_status sb_uv_env_new(uv_loop_t *loop, sb_uv_env **ret, sb_why *why)
{
    sb_uv_env *u = sb_new(sb_uv_env);
    if (!u)
        return sb_why_set(why, SB_NOMEM, "out of memory for the event loop");
    u->loop = loop;
    u->slot_free = UINT32_MAX;
    sb_list_init(&u->sockets);
    void *page = mmap(NULL, sizeof(struct entropy_page), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    u->entropy = page == MAP_FAILED ? NULL : page;
    u->read_buffer = sb_alloc(SB_UV_READ_SIZE);
    u->in = sb_udp_batch_new();
    u->out = sb_udp_batch_new();
    sb_status status = SB_NOMEM;
    if (!u->entropy || !u->read_buffer || !u->in || !u->out) {
        (void)sb_why_set(why, status, "out of memory for the event loop");
        goto done;
    }
    (void)madvise(page, sizeof(struct entropy_page), MADV_WIPEONFORK);
    read_boot_id(u->boot_id);
    uint64_t seed;
    env_entropy(&u->env, &seed, sizeof(seed));
    sb_env_init(&u->env, &uv_ops, seed);
    status = start_handles(u, why);
    if (status != SB_OK)
        goto done;
    *ret = u;
    u = NULL;
done:
    sb_uv_env_free(u);
    return status;
}

void sb_uv_env_free(sb_uv_env *u)
{
    if (!u)
        return;
    while (!sb_list_empty(&u->sockets)) {
        sb_uv_socket *s = sb_container_of(u->sockets.next, sb_uv_socket, link);
        sb_uv_socket_detach(s);
        if (s->kind == SB_UV_LISTENER)
            sb_uv_listener_close(s);
        else
            sb_uv_socket_destroy(s);
    }
    uv_handle_t *own[] = {(uv_handle_t *)&u->prepare, (uv_handle_t *)&u->timer,
                          (uv_handle_t *)&u->idle};
    for (size_t i = 0; i < SB_ARRAY_SIZE(own); i++)
        if (own[i]->data)
            uv_close(own[i], on_handle_closed);
    while (u->handles > 0)
        uv_run(u->loop, UV_RUN_NOWAIT);
    if (u->entropy)
        munmap(u->entropy, sizeof(struct entropy_page));
    sb_tls_client_free(u->tls);
    sb_udp_batch_free(u->in);
    sb_udp_batch_free(u->out);
    sb_free(u->read_buffer);
    sb_free(u->slots);
    sb_free(u);
}

sb_env *sb_uv_env_base(sb_uv_env *u)
{
    return &u->env;
}

void sb_uv_env_run(sb_uv_env *u)
{
    while (!u->stop)
        uv_run(u->loop, UV_RUN_ONCE);
    u->stop = false;
}

void sb_uv_env_stop(sb_uv_env *u)
{
    u->stop = true;
    uv_stop(u->loop);
}

sb_status sb_uv_why(sb_why *why, int error, const char *format, ...)
{
    sb_why what;
    va_list args;
    va_start(args, format);
    if (vsnprintf(what.text, sizeof(what.text), format, args) < 0)
        what.text[0] = '\0';
    va_end(args);
    const char *reason = strerrordesc_np(error);
    return sb_why_set(why, sb_status_from_errno(error), "%s: %s", what.text,
                      reason ? reason : "unknown error");
}

/* ---- sockets in slots ---- */

sb_status sb_uv_socket_new(sb_uv_env *u, sb_uv_kind kind, int take_fd, void *owner,
                           sb_uv_socket **ret)
{
    sb_uv_socket *s = sb_new(sb_uv_socket);
    uint32_t index;
    sb_status status = s ? slot_take(u, &index) : SB_NOMEM;
    if (status != SB_OK)
        goto done;
    int error = uv_poll_init(u->loop, &s->poll, take_fd);
    if (error) {
        u->slots[index].next_free = u->slot_free;
        u->slot_free = index;
        status = sb_status_from_errno(-error);
        goto done;
    }
    sb_uv_slot *slot = &u->slots[index];
    slot->socket = s;
    slot->generation = slot->generation == UINT32_MAX ? 1 : slot->generation + 1;
    u->handles++;
    s->poll.data = s;
    s->env = u;
    s->id = (sb_socket){.index = index, .generation = slot->generation};
    s->kind = (uint8_t)kind;
    s->fd = take_fd;
    s->owner = owner;
    sb_list_init(&s->link);
    sb_list_push(&u->sockets, &s->link);
    *ret = s;
    return SB_OK;
done:
    sb_free(s);
    close(take_fd);
    return status;
}

sb_uv_socket *sb_uv_socket_find(sb_uv_env *u, sb_socket id, sb_uv_kind kind)
{
    if (id.generation == 0 || id.index >= u->slot_count)
        return NULL;
    const sb_uv_slot *slot = &u->slots[id.index];
    if (slot->generation != id.generation || !slot->socket || slot->socket->kind != kind)
        return NULL;
    return slot->socket;
}

void sb_uv_socket_detach(sb_uv_socket *s)
{
    if (s->id.generation == 0)
        return;
    sb_uv_slot *slot = &s->env->slots[s->id.index];
    slot->socket = NULL;
    slot->next_free = s->env->slot_free;
    s->env->slot_free = s->id.index;
    s->id = (sb_socket){0};
}

void sb_uv_socket_destroy(sb_uv_socket *s)
{
    if (s->closing)
        return;
    s->closing = true;
    sb_uv_socket_detach(s);
    sb_list_remove(&s->link);
    if (s->env->batching == s)
        sb_uv_udp_flush(s->env);
    if (s->kind == SB_UV_STREAM) {
        sb_timer_stop(&s->env->env, &s->stream.linger);
        sb_timer_stop(&s->env->env, &s->stream.wake);
        sb_tls_free(s->stream.tls);
        sb_free(s->stream.out.bytes);
        sb_free(s->stream.early.bytes);
    } else if (s->kind == SB_UV_LISTENER) {
        sb_timer_stop(&s->env->env, &s->listener.resume);
        sb_free(s->listener.path);
    }
    uv_close((uv_handle_t *)&s->poll, on_socket_closed); /* stops the watch at once */
    close(s->fd);
    s->fd = -1;
}

void sb_uv_socket_watch(sb_uv_socket *s, int events)
{
    if (s->closing || s->events == events)
        return;
    s->events = events;
    if (events == 0)
        uv_poll_stop(&s->poll);
    else
        uv_poll_start(&s->poll, events, on_poll);
}

static sb_status slot_take(sb_uv_env *u, uint32_t *ret_index)
{
    if (u->slot_free == UINT32_MAX) {
        uint32_t count = u->slot_count ? u->slot_count * 2 : 64;
        if (count > SB_UV_SOCKETS_MAX)
            return SB_LIMIT;
        sb_uv_slot *slots = sb_realloc(u->slots, count * sizeof(*slots));
        if (!slots)
            return SB_NOMEM;
        u->slots = slots;
        for (uint32_t i = count; i-- > u->slot_count;) {
            slots[i] = (sb_uv_slot){.next_free = u->slot_free};
            u->slot_free = i;
        }
        u->slot_count = count;
    }
    *ret_index = u->slot_free;
    u->slot_free = u->slots[*ret_index].next_free;
    return SB_OK;
}

/* libuv reports an error condition once, as a bad descriptor, and stops watching. */
static void on_poll(uv_poll_t *handle, int status, int events)
{
    sb_uv_socket *s = handle->data;
    int watched = s->events;
    bool error = status < 0;
    if (error)
        s->events = 0;
    s->env->env.steps++;
    switch ((sb_uv_kind)s->kind) {
    case SB_UV_UDP:
        sb_uv_udp_ready(s, events, error);
        break;
    case SB_UV_STREAM:
        sb_uv_stream_ready(s, events, error);
        break;
    case SB_UV_LISTENER:
        sb_uv_listener_ready(s);
        break;
    case SB_UV_NETLINK:
        sb_uv_netlink_ready(s);
        break;
    }
    if (error && !s->closing && s->events == 0 && s->kind != SB_UV_STREAM)
        sb_uv_socket_watch(s, watched);
}

static void on_socket_closed(uv_handle_t *handle)
{
    sb_uv_socket *s = handle->data;
    s->env->handles--;
    sb_free(s);
}

/* ---- the loop ---- */

static sb_status start_handles(sb_uv_env *u, sb_why *why)
{
    int error = uv_prepare_init(u->loop, &u->prepare);
    if (!error) {
        u->prepare.data = u;
        u->handles++;
        error = uv_timer_init(u->loop, &u->timer);
    }
    if (!error) {
        u->timer.data = u;
        u->handles++;
        error = uv_idle_init(u->loop, &u->idle);
    }
    if (!error) {
        u->idle.data = u;
        u->handles++;
        error = uv_prepare_start(&u->prepare, on_prepare);
    }
    return error ? sb_uv_why(why, -error, "cannot start the event loop") : SB_OK;
}

static void on_prepare(uv_prepare_t *handle)
{
    sb_uv_env *u = handle->data;
    sb_ns now = env_now(&u->env);
    sb_ns next = sb_env_drain(&u->env, DRAIN_BUDGET);
    if (next <= now) {
        uv_idle_start(&u->idle, on_idle); /* the loop polls without waiting */
        return;
    }
    uv_idle_stop(&u->idle);
    if (next == SB_NEVER) {
        uv_timer_stop(&u->timer);
        return;
    }
    sb_ns wait = next - env_now(&u->env);
    wait = wait < 0 ? 0 : wait > WAKE_AT_LEAST ? WAKE_AT_LEAST : wait;
    uv_update_time(u->loop);
    uv_timer_start(&u->timer, on_timer, (uint64_t)((wait + SB_MS - 1) / SB_MS), 0);
}

/* Only ends the wait: the next prepare drains. */
static void on_timer(uv_timer_t *handle)
{
    (void)handle;
}

static void on_idle(uv_idle_t *handle)
{
    (void)handle;
}

static void on_handle_closed(uv_handle_t *handle)
{
    sb_uv_env *u = handle->data;
    u->handles--;
}

/* ---- the table's small entries ---- */

static sb_ns env_now(sb_env *env)
{
    (void)env;
    return clock_ns(CLOCK_BOOTTIME);
}

static void env_clock(sb_env *env, sb_clock *ret)
{
    ret->boot_ns = clock_ns(CLOCK_BOOTTIME);
    ret->wall_ns = clock_ns(CLOCK_REALTIME);
    memcpy(ret->boot_id, sb_uv_of(env)->boot_id, sizeof(ret->boot_id));
}

static void env_entropy(sb_env *env, void *ret, size_t size)
{
    struct entropy_page *page = sb_uv_of(env)->entropy;
    uint8_t *to = ret;
    while (size > 0) {
        if (page->left == 0) {
            ssize_t got = getrandom(page->bytes, sizeof(page->bytes), 0);
            if (got <= 0)
                continue; /* interrupted; there is no other failure with these flags */
            page->left = (uint32_t)got;
        }
        size_t take = size < page->left ? size : page->left;
        uint8_t *from = page->bytes + page->left - take;
        memcpy(to, from, take);
        explicit_bzero(from, take);
        page->left -= (uint32_t)take;
        to += take;
        size -= take;
    }
}

/* The prepare callback comes before every wait, and only this loop's thread arms timers. */
static void env_rearm(sb_env *env)
{
    (void)env;
}

static sb_status env_local_address(sb_env *env, sb_socket id, sb_addr *ret)
{
    sb_uv_env *u = sb_uv_of(env);
    sb_uv_socket *s = sb_uv_socket_find(u, id, SB_UV_UDP);
    if (!s)
        s = sb_uv_socket_find(u, id, SB_UV_STREAM);
    if (!s)
        s = sb_uv_socket_find(u, id, SB_UV_LISTENER);
    if (!s)
        return SB_CLOSED;
    struct sockaddr_storage sa = {0};
    socklen_t size = sizeof(sa);
    if (getsockname(s->fd, (struct sockaddr *)&sa, &size) != 0)
        return sb_status_from_errno(errno);
    *ret = sb_addr_from_sockaddr((struct sockaddr *)&sa);
    return SB_OK;
}

static void env_close(sb_env *env, sb_socket id)
{
    sb_uv_env *u = sb_uv_of(env);
    sb_uv_socket *s;
    if ((s = sb_uv_socket_find(u, id, SB_UV_UDP)) ||
        (s = sb_uv_socket_find(u, id, SB_UV_NETLINK)))
        sb_uv_socket_destroy(s);
    else if ((s = sb_uv_socket_find(u, id, SB_UV_STREAM)))
        sb_uv_stream_close(s);
    else if ((s = sb_uv_socket_find(u, id, SB_UV_LISTENER)))
        sb_uv_listener_close(s);
}

static void read_boot_id(uint8_t ret[16])
{
    char text[37] = {0};
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (read(fd, text, sizeof(text) - 1) < 0)
            text[0] = '\0';
        close(fd);
    }
    /* Without /proc every boot looks alike: the cache's clock then judges by boot time alone. */
    unsigned nibbles = 0;
    for (const char *p = text; *p && nibbles < 32; p++) {
        uint8_t c = sb_ascii_lower((uint8_t)*p);
        bool digit = c >= '0' && c <= '9';
        if (!digit && (c < 'a' || c > 'f'))
            continue;
        uint8_t value = (uint8_t)(digit ? c - '0' : c - 'a' + 10);
        ret[nibbles / 2] = (uint8_t)(ret[nibbles / 2] << 4 | value);
        nibbles++;
    }
}

static sb_ns clock_ns(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return ts.tv_sec * SB_S + ts.tv_nsec;
}
