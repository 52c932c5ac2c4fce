/* The DNS front's listeners and life: open, reload, quiesce, free (E1).
 *
 * Owns sockets through env and the state the dns_*.c files share. Never looks into a message. Loop
 * thread. */
#include "front/dns_front.h"

#include <string.h>

#include "base/log.h"
#include "front/dns_private.h"

/* Bursts of a whole machine arrive while one answer is made. */
#define BUFFER_BYTES (4 * 1024 * 1024)

static sb_status open_all(sb_dns_front *front, const sb_settings *settings, sb_list *ret_opened,
                          sb_why *why);
static sb_status open_network(sb_dns_front *front, const sb_addr *addr, sb_list *opened,
                              sb_why *why);
static sb_status open_datagrams(sb_dns_front *front, sb_dns_listener *listener, sb_why *why);
static sb_status open_streams(sb_dns_front *front, sb_dns_listener *listener, sb_why *why);
static sb_status open_unix(sb_dns_front *front, const sb_settings *settings, sb_list *opened,
                           sb_why *why);
static sb_dns_listener *listener_find(const sb_list *listeners, const sb_addr *addr);
static void listener_close(sb_dns_front *front, sb_dns_listener *listener);
static void listeners_close(sb_dns_front *front, sb_list *listeners);
static bool wanted(const sb_settings *settings, const sb_addr *addr);
static void received(void *owner, sb_socket socket, const sb_datagram *datagram);
static void send_datagram(void *context, uint64_t tag, const sb_addr *to, const sb_addr *from,
                          const uint8_t *bytes, size_t size);
static void streams_close(sb_list *streams, bool idle_only);
static sb_dns_pending *any_pending(sb_dns_front *front);

static const sb_udp_events udp_events = {.received = received};

sb_status sb_dns_front_new(const sb_dns_front_options *options, sb_dns_front **ret, sb_why *why)
{
    sb_dns_front *front = sb_new(sb_dns_front);
    if (!front)
        return sb_why_set(why, SB_NOMEM, "no memory for the DNS front");
    front->engine = options->engine;
    front->env = sb_engine_env(options->engine);
    front->settings = sb_settings_ref(sb_engine_settings(options->engine));
    front->udp_elsewhere = options->udp_elsewhere;
    front->socket_group = options->socket_group;
    sb_list_init(&front->listeners);
    sb_list_init(&front->tcp);
    sb_list_init(&front->unix_streams);
    sb_list_init(&front->datagrams);
    sb_list_init(&front->free_pending);
    sb_timer_init(&front->idle, sb_dns_stream_sweep);
    sb_status status = sb_dns_access_init(&front->access, front->env);
    if (status != SB_OK)
        sb_why_set(why, status, "no memory for the DNS front");
    if (status == SB_OK && options->socket_path && options->socket_path[0]) {
        front->socket_path = sb_strdup(options->socket_path);
        if (!front->socket_path)
            status = sb_why_set(why, SB_NOMEM, "no memory for the DNS front");
    }
    sb_list opened;
    sb_list_init(&opened);
    if (status == SB_OK)
        status = open_all(front, front->settings, &opened, why);
    if (status == SB_OK && front->socket_path)
        status = open_unix(front, front->settings, &opened, why);
    sb_list_splice(&front->listeners, &opened);
    if (status != SB_OK) {
        sb_dns_front_free(front);
        return status;
    }
    *ret = front;
    return SB_OK;
}

unsigned sb_dns_front_socket_mode(const sb_settings *settings)
{
    static const uint8_t loopback_4[4] = {127, 0, 0, 1}, loopback_6[16] = {[15] = 1};
    const sb_addr from[] = {sb_addr_4(loopback_4, 0), sb_addr_6(loopback_6, 0)};
    bool asked_by_all = settings->cache.share == SB_SHARE_ALL;
    for (size_t i = 0; settings->listen.dns_count > 0 && i < SB_ARRAY_SIZE(from); i++)
        asked_by_all = asked_by_all || sb_dns_access_allows(settings, &from[i]);
    return asked_by_all ? 0666 : settings->cache.share == SB_SHARE_GROUP ? 0660 : 0600;
}

void sb_dns_front_hang_up(sb_dns_front *front)
{
    sb_list_each_safe(it, &front->unix_streams) {
        sb_dns_stream *stream = sb_container_of(it, sb_dns_stream, link);
        front->env->ops->stream_pause(front->env, stream->socket, true);
        sb_dns_stream_ended(stream, stream->socket);
    }
}

void sb_dns_front_free(sb_dns_front *front)
{
    if (!front)
        return;
    listeners_close(front, &front->listeners);
    streams_close(&front->tcp, false);
    streams_close(&front->unix_streams, false);
    sb_dns_pending_cancel(front, &front->datagrams);
    sb_timer_stop(front->env, &front->idle);
    sb_dns_access_fini(&front->access);
    while (front->slabs) {
        sb_dns_slab *next = front->slabs->next;
        sb_free(front->slabs);
        front->slabs = next;
    }
    sb_settings_unref(front->settings);
    sb_free(front->socket_path);
    sb_free(front);
}

sb_status sb_dns_front_reload(sb_dns_front *front, sb_why *why)
{
    const sb_settings *settings = sb_engine_settings(front->engine);
    sb_list opened;
    sb_list_init(&opened);
    sb_status status = open_all(front, settings, &opened, why);
    if (status != SB_OK) {
        listeners_close(front, &opened);
        return status;
    }
    sb_list_each_safe(it, &front->listeners) {
        sb_dns_listener *listener = sb_container_of(it, sb_dns_listener, link);
        if (listener->addr.family != SB_FAMILY_NONE && !wanted(settings, &listener->addr))
            listener_close(front, listener);
    }
    sb_list_splice(&front->listeners, &opened);
    const sb_settings *old = front->settings;
    front->settings = sb_settings_ref(settings);
    sb_settings_unref(old);
    return SB_OK;
}

void sb_dns_front_datagram(sb_dns_front *front, const uint8_t *bytes, size_t size,
                           const sb_addr *client, const sb_addr *local, sb_dns_reply_sink *reply,
                           void *context, uint64_t tag)
{
    sb_dns_origin origin = {
        .client = *client, .sink = reply, .context = context, .tag = tag};
    if (local)
        origin.local = *local;
    (void)sb_dns_message(front, bytes, size, &origin);
}

bool sb_dns_front_quiesce(sb_dns_front *front)
{
    if (!front->quiescing) {
        front->quiescing = true;
        sb_list_each(it, &front->listeners) {
            sb_dns_listener *listener = sb_container_of(it, sb_dns_listener, link);
            front->env->ops->close(front->env, listener->streams);
            listener->streams = (sb_socket){0};
        }
        streams_close(&front->tcp, true);
        streams_close(&front->unix_streams, true);
    }
    if (front->pending_count > 0)
        return false;
    listeners_close(front, &front->listeners);
    return true;
}

void sb_dns_front_give_up(sb_dns_front *front)
{
    sb_dns_pending *pending;
    while ((pending = any_pending(front)))
        sb_dns_pending_give_up(pending);
}

static sb_dns_pending *any_pending(sb_dns_front *front)
{
    sb_list *const streams[] = {&front->tcp, &front->unix_streams};
    if (!sb_list_empty(&front->datagrams))
        return sb_container_of(front->datagrams.next, sb_dns_pending, link);
    for (size_t i = 0; i < SB_ARRAY_SIZE(streams); i++) {
        sb_list_each(it, streams[i]) {
            sb_dns_stream *stream = sb_container_of(it, sb_dns_stream, link);
            if (!sb_list_empty(&stream->pending))
                return sb_container_of(stream->pending.next, sb_dns_pending, link);
        }
    }
    return NULL;
}

static sb_status open_all(sb_dns_front *front, const sb_settings *settings, sb_list *ret_opened,
                          sb_why *why)
{
    sb_status status = SB_OK;
    for (size_t i = 0; status == SB_OK && i < settings->listen.dns_count; i++) {
        const sb_addr *addr = &settings->listen.dns[i];
        if (!listener_find(&front->listeners, addr) && !listener_find(ret_opened, addr))
            status = open_network(front, addr, ret_opened, why);
    }
    return status;
}

static sb_status open_network(sb_dns_front *front, const sb_addr *addr, sb_list *opened,
                              sb_why *why)
{
    sb_dns_listener *listener = sb_new(sb_dns_listener);
    if (!listener)
        return sb_why_set(why, SB_NOMEM, "no memory for a DNS listener");
    listener->front = front;
    listener->addr = *addr;
    sb_list_push(opened, &listener->link); /* closed with the rest when a step fails */
    sb_status status = front->udp_elsewhere ? SB_OK : open_datagrams(front, listener, why);
    if (status == SB_OK)
        status = open_streams(front, listener, why);
    return status;
}

static sb_status open_datagrams(sb_dns_front *front, sb_dns_listener *listener, sb_why *why)
{
    sb_udp_options options = {
        .local = listener->addr, .packet_info = true, .buffer_bytes = BUFFER_BYTES};
    sb_why inner = {""};
    char text[SB_ADDR_TEXT_MAX];
    sb_status status = front->env->ops->udp_open(front->env, &options, &udp_events, listener,
                                                 &listener->datagrams, &inner);
    if (status != SB_OK)
        return sb_why_set(why, status, "cannot listen for DNS on %s (UDP): %s",
                          sb_addr_text_port(&listener->addr, text),
                          inner.text[0] ? inner.text : sb_status_text(status));
    return SB_OK;
}

static sb_status open_streams(sb_dns_front *front, sb_dns_listener *listener, sb_why *why)
{
    sb_listen_options options = {
        .local = listener->addr, .group = -1, .backlog = SB_FRONT_TCP_MAX,
        .ended = sb_dns_stream_ended};
    sb_why inner = {""};
    char text[SB_ADDR_TEXT_MAX];
    sb_status status =
        front->env->ops->stream_listen(front->env, &options, sb_dns_stream_accepted, listener,
                                       &listener->streams, &inner);
    if (status != SB_OK)
        return sb_why_set(why, status, "cannot listen for DNS on %s (TCP): %s",
                          sb_addr_text_port(&listener->addr, text),
                          inner.text[0] ? inner.text : sb_status_text(status));
    return SB_OK;
}

/* Who may ask over DNS may ask here, and who may read the cache file: it tells no more. */
static sb_status open_unix(sb_dns_front *front, const sb_settings *settings, sb_list *opened,
                           sb_why *why)
{
    sb_share share = settings->cache.share;
    sb_dns_listener *listener = sb_new(sb_dns_listener);
    if (!listener)
        return sb_why_set(why, SB_NOMEM, "no memory for a DNS listener");
    listener->front = front;
    sb_list_push(opened, &listener->link);
    sb_listen_options options = {
        .path = front->socket_path,
        .mode = sb_dns_front_socket_mode(settings),
        .group = share == SB_SHARE_GROUP && front->socket_group > 0 ? front->socket_group : -1,
        .backlog = SB_FRONT_TCP_MAX,
        .ended = sb_dns_stream_ended,
    };
    sb_why inner = {""};
    sb_status status =
        front->env->ops->stream_listen(front->env, &options, sb_dns_stream_accepted, listener,
                                       &listener->streams, &inner);
    if (status != SB_OK)
        return sb_why_set(why, status, "cannot listen on the socket %s: %s", front->socket_path,
                          inner.text[0] ? inner.text : sb_status_text(status));
    return SB_OK;
}

static sb_dns_listener *listener_find(const sb_list *listeners, const sb_addr *addr)
{
    sb_list_each(it, listeners) {
        sb_dns_listener *listener = sb_container_of(it, sb_dns_listener, link);
        if (sb_addr_equal(&listener->addr, addr))
            return listener;
    }
    return NULL;
}

static void listener_close(sb_dns_front *front, sb_dns_listener *listener)
{
    sb_list_remove(&listener->link);
    front->env->ops->close(front->env, listener->datagrams);
    front->env->ops->close(front->env, listener->streams);
    sb_free(listener);
}

static void listeners_close(sb_dns_front *front, sb_list *listeners)
{
    while (!sb_list_empty(listeners))
        listener_close(front, sb_container_of(listeners->next, sb_dns_listener, link));
}

static bool wanted(const sb_settings *settings, const sb_addr *addr)
{
    for (size_t i = 0; i < settings->listen.dns_count; i++)
        if (sb_addr_equal(&settings->listen.dns[i], addr))
            return true;
    return false;
}

static void received(void *owner, sb_socket socket, const sb_datagram *datagram)
{
    sb_dns_front *front = ((sb_dns_listener *)owner)->front;
    uint64_t tag = (uint64_t)socket.index << 32 | socket.generation;
    sb_dns_front_datagram(front, datagram->bytes, datagram->size, &datagram->from, &datagram->to,
                          send_datagram, front, tag);
}

/* The socket travels in the tag: of a listener closed meanwhile only a stale generation is left. */
static void send_datagram(void *context, uint64_t tag, const sb_addr *to, const sb_addr *from,
                          const uint8_t *bytes, size_t size)
{
    sb_dns_front *front = context;
    sb_socket socket = {.index = (uint32_t)(tag >> 32), .generation = (uint32_t)tag};
    sb_status status =
        front->env->ops->udp_send(front->env, socket, to,
                                  from->family == SB_FAMILY_NONE ? NULL : from, bytes, size);
    char text[SB_ADDR_TEXT_MAX];
    if (status != SB_OK)
        sb_log(FRONT, DEBUG, "reply not sent", "client=%s error=%s", sb_addr_text_port(to, text),
               SB_Q(sb_status_text(status)));
}

static void streams_close(sb_list *streams, bool idle_only)
{
    sb_list_each_safe(it, streams) {
        sb_dns_stream *stream = sb_container_of(it, sb_dns_stream, link);
        if (!idle_only || stream->under_way == 0)
            sb_dns_stream_close(stream);
    }
}
