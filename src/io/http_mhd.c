/* See http_mhd.h. Loop thread.
 *
 * We accept ourselves and hand the descriptors over: libmicrohttpd by itself would stop accepting
 * at its limit, and 64 idle connections would keep everybody out until their time-out. */
#define _GNU_SOURCE
#include "io/http_mhd.h"

#include <errno.h>
#include <microhttpd.h>
#include <string.h>
#include <unistd.h>

#include "base/list.h"
#include "base/mem.h"
#include "io/uv_env.h"

#define ACCEPTS_PER_TURN 32
#define BACKLOG 128
/* Those told to go leave with the next turn of the daemon; until then they count for it. */
#define DAEMON_LIMIT (SB_HTTP_CONNECTIONS_MAX + 2 * ACCEPTS_PER_TURN)

typedef struct connection {
    sb_list link; /* oldest first; unlinked once told to go */
    int fd;
} connection;

struct sb_http_server {
    uv_loop_t *loop;
    struct MHD_Daemon *daemon;
    sb_http_handler *handler;
    void *context;
    int listen_fd;
    sb_addr local;
    uv_poll_t listener, poll;
    uv_timer_t timer;
    unsigned handles; /* not yet closed */
    sb_list connections;
    unsigned count;
};

static sb_status start_daemon(sb_http_server *s, sb_why *why);
static sb_status watch(sb_http_server *s, sb_why *why);
static void on_accept(uv_poll_t *handle, int status, int events);
static void on_daemon(uv_poll_t *handle, int status, int events);
static void on_timer(uv_timer_t *handle);
static void on_closed(uv_handle_t *handle);
static void turn(sb_http_server *s);
static void evict_oldest(sb_http_server *s);
static void notify(void *context, struct MHD_Connection *c, void **socket_context,
                   enum MHD_ConnectionNotificationCode code);
static enum MHD_Result handle(void *context, struct MHD_Connection *c, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **request_context);
static enum MHD_Result answer(sb_http_server *s, struct MHD_Connection *c, const char *method,
                              const char *url);
static enum MHD_Result send_response(struct MHD_Connection *c, sb_http_response *take_response);
static const char *argument(const sb_http_request *request, const char *name);
static sb_addr local_of(struct MHD_Connection *c);

static int fd_of(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? info->connect_fd : -1;
}

sb_status sb_http_server_new(uv_loop_t *loop, const sb_addr *local, sb_http_handler *handler,
                             void *context, sb_http_server **ret, sb_why *why)
{
    char text[SB_ADDR_TEXT_MAX];
    sb_why reason = {0};
    sb_http_server *s = sb_new(sb_http_server);
    if (!s)
        return sb_why_set(why, SB_NOMEM, "no memory for the HTTP listener");
    *s = (sb_http_server){.loop = loop, .handler = handler, .context = context, .local = *local};
    s->listen_fd = -1;
    sb_list_init(&s->connections);
    sb_status status = sb_tcp_socket_listen(local, BACKLOG, false, &s->listen_fd, &reason);
    if (status == SB_OK)
        status = start_daemon(s, &reason);
    if (status == SB_OK)
        status = watch(s, &reason);
    if (status != SB_OK) {
        sb_http_server_free(s);
        return sb_why_set(why, status, "cannot listen for HTTP on %s: %s",
                          sb_addr_text_port(local, text), reason.text);
    }
    struct sockaddr_storage sa = {0};
    socklen_t size = sizeof(sa);
    if (getsockname(s->listen_fd, (struct sockaddr *)&sa, &size) == 0)
        s->local = sb_addr_from_sockaddr((struct sockaddr *)&sa);
    *ret = s;
    return SB_OK;
}

void sb_http_server_free(sb_http_server *s)
{
    if (!s)
        return;
    uv_handle_t *own[] = {(uv_handle_t *)&s->listener, (uv_handle_t *)&s->poll,
                          (uv_handle_t *)&s->timer};
    for (size_t i = 0; i < SB_ARRAY_SIZE(own); i++)
        if (own[i]->data)
            uv_close(own[i], on_closed);
    while (s->handles > 0)
        uv_run(s->loop, UV_RUN_NOWAIT);
    if (s->daemon)
        MHD_stop_daemon(s->daemon);
    if (s->listen_fd >= 0)
        close(s->listen_fd);
    sb_free(s);
}

sb_addr sb_http_server_address(const sb_http_server *s)
{
    return s->local;
}

static sb_status start_daemon(sb_http_server *s, sb_why *why)
{
    s->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL, handle, s,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)DAEMON_LIMIT, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)SB_HTTP_IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, SB_HTTP_HEADER_MAX,
        MHD_OPTION_NOTIFY_CONNECTION, notify, s, MHD_OPTION_END);
    if (!s->daemon)
        return sb_why_set(why, SB_NOMEM, "the HTTP library does not start");
    return SB_OK;
}

static sb_status watch(sb_http_server *s, sb_why *why)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (!info || info->epoll_fd < 0)
        return sb_why_set(why, SB_UNSUPPORTED, "the HTTP library has no epoll");
    int error = uv_timer_init(s->loop, &s->timer);
    if (!error) {
        s->timer.data = s;
        s->handles++;
        error = uv_poll_init(s->loop, &s->listener, s->listen_fd);
    }
    if (!error) {
        s->listener.data = s;
        s->handles++;
        error = uv_poll_init(s->loop, &s->poll, info->epoll_fd);
    }
    if (!error) {
        s->poll.data = s;
        s->handles++;
        error = uv_poll_start(&s->listener, UV_READABLE, on_accept);
    }
    if (!error)
        error = uv_poll_start(&s->poll, UV_READABLE, on_daemon);
    return error ? sb_uv_why(why, -error, "the event loop refuses it") : SB_OK;
}

static void on_accept(uv_poll_t *handle_, int status, int events)
{
    sb_http_server *s = handle_->data;
    (void)status;
    (void)events;
    for (unsigned i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage sa = {0};
        socklen_t size = sizeof(sa);
        int fd = accept4(s->listen_fd, (struct sockaddr *)&sa, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE))
            evict_oldest(s); /* its descriptor comes free in this turn */
        if (fd < 0)
            break;
        if (s->count >= SB_HTTP_CONNECTIONS_MAX)
            evict_oldest(s);
        /* Closes fd itself when it fails. */
        (void)MHD_add_connection(s->daemon, fd, (struct sockaddr *)&sa, size);
    }
    turn(s);
}

static void on_daemon(uv_poll_t *handle_, int status, int events)
{
    (void)status;
    (void)events;
    turn(handle_->data);
}

static void on_timer(uv_timer_t *handle_)
{
    turn(handle_->data);
}

static void on_closed(uv_handle_t *handle_)
{
    ((sb_http_server *)handle_->data)->handles--;
}

static void turn(sb_http_server *s)
{
    MHD_UNSIGNED_LONG_LONG wait_ms;
    (void)MHD_run(s->daemon);
    if (MHD_get_timeout(s->daemon, &wait_ms) == MHD_YES) {
        uv_update_time(s->loop);
        uv_timer_start(&s->timer, on_timer, wait_ms, 0);
    } else {
        uv_timer_stop(&s->timer);
    }
}

static void evict_oldest(sb_http_server *s)
{
    sb_list *first = sb_list_pop(&s->connections);
    if (!first)
        return;
    s->count--;
    (void)shutdown(sb_container_of(first, connection, link)->fd, SHUT_RDWR);
}

static void notify(void *context, struct MHD_Connection *c, void **socket_context,
                   enum MHD_ConnectionNotificationCode code)
{
    sb_http_server *s = context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        connection *made = sb_new(connection);
        if (!made)
            return; /* unknown to us: its own time-out ends it */
        made->fd = fd_of(c);
        sb_list_init(&made->link);
        sb_list_push(&s->connections, &made->link);
        s->count++;
        *socket_context = made;
        return;
    }
    connection *gone = *socket_context;
    if (!gone)
        return;
    if (sb_list_linked(&gone->link)) {
        sb_list_remove(&gone->link);
        s->count--;
    }
    sb_free(gone);
    *socket_context = NULL;
}

/* First call: the header is complete. Bodies are read and thrown away; then comes the last call. */
static enum MHD_Result handle(void *context, struct MHD_Connection *c, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **request_context)
{
    static int seen;
    (void)version;
    (void)upload;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        sb_http_response response = {.status = MHD_HTTP_METHOD_NOT_ALLOWED,
                                     .content_type = "text/plain; charset=utf-8",
                                     .extra_name = MHD_HTTP_HEADER_ALLOW,
                                     .extra_value = "GET, HEAD"};
        sb_text_add(&response.body, "only GET and HEAD are understood here\n");
        return send_response(c, &response);
    }
    if (!*request_context) {
        *request_context = &seen;
        return MHD_YES;
    }
    if (*upload_size > 0) {
        *upload_size = 0;
        return MHD_YES;
    }
    return answer(context, c, method, url);
}

static enum MHD_Result answer(sb_http_server *s, struct MHD_Connection *c, const char *method,
                              const char *url)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const char *host = MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);
    sb_http_request request = {
        .method = method,
        .path = url,
        .host = host ? host : "",
        .origin = MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_ORIGIN),
        .fetch_site = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Sec-Fetch-Site"),
        .local = local_of(c),
        .argument = argument,
        .io = c,
    };
    if (info && info->client_addr)
        request.peer = sb_addr_from_sockaddr(info->client_addr);
    sb_http_response response = {.status = MHD_HTTP_INTERNAL_SERVER_ERROR,
                                 .content_type = "text/plain; charset=utf-8"};
    s->handler(s->context, &request, &response);
    return send_response(c, &response);
}

static enum MHD_Result send_response(struct MHD_Connection *c, sb_http_response *take_response)
{
    sb_text *body = &take_response->body;
    bool owned = body->data && !body->failed;
    struct MHD_Response *response =
        owned ? MHD_create_response_from_buffer_with_free_callback(body->size, body->data, sb_free)
              : MHD_create_response_from_buffer(0, (void *)(uintptr_t)"", MHD_RESPMEM_PERSISTENT);
    if (!owned || !response)
        sb_text_fini(body);
    if (!response)
        return MHD_NO;
    if (body->failed)
        take_response->status = MHD_HTTP_INTERNAL_SERVER_ERROR;
    if (take_response->content_type)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
                                      take_response->content_type);
    if (take_response->extra_name)
        (void)MHD_add_response_header(response, take_response->extra_name,
                                      take_response->extra_value);
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    enum MHD_Result result = MHD_queue_response(c, take_response->status, response);
    MHD_destroy_response(response);
    return result;
}

static const char *argument(const sb_http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->io, MHD_GET_ARGUMENT_KIND, name);
}

static sb_addr local_of(struct MHD_Connection *c)
{
    struct sockaddr_storage sa = {0};
    socklen_t size = sizeof(sa);
    if (getsockname(fd_of(c), (struct sockaddr *)&sa, &size) != 0)
        return (sb_addr){0};
    return sb_addr_from_sockaddr((struct sockaddr *)&sa);
}
