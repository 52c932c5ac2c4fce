/* The control socket: listener, clients, lines in and lines out (docs/CONTROL.md).
 *
 * A client that does not read is not read from. Never judges a verb: control_verbs.c does. Loop
 * thread. */
#include "front/control.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "front/control_private.h"
#include "front/view.h"

/* Between two slices of one request. */
#define SLICE_EVERY (1 * SB_MS)

typedef struct client {
    sb_list link;
    sb_control *control;
    sb_socket socket;
    sb_peer peer;
    int64_t group; /* the control group when it connected; -1: none */
    bool paused;
    bool ending; /* close once everything is written */
    sb_control_request request;
    sb_timer working; /* armed: request goes on, the next line waits */
    sb_text in;
    size_t searched; /* of in: no newline there */
    sb_text out;
    size_t sent;
} client;

static void accepted(void *owner, sb_socket listener, sb_socket stream, const sb_peer *peer);
static void received(void *owner, sb_socket socket, const uint8_t *bytes, size_t size);
static void drained(void *owner, sb_socket socket);
static void closed(void *owner, sb_socket socket, sb_status why);
static void work_on(sb_timer *timer);
static void request_begin(sb_control *control, const char *line, size_t size, bool allowed,
                          int64_t uid, sb_control_request *ret_request);
static bool request_slice(sb_control_request *request);
static void request_end(sb_control_request *request, sb_text *ret_line);
static void request_drop(sb_control_request *request);
static bool allowed(const client *c);
static void client_free(client *c);
static bool serve(client *c);
static bool flush(client *c);
static void error_line(const char *sentence, sb_text *ret_line);

static const sb_stream_events client_events = {
    .received = received,
    .drained = drained,
    .closed = closed,
};

sb_status sb_control_new(const sb_control_options *options, sb_control **ret, sb_why *why)
{
    sb_control *control = sb_new(sb_control);
    if (!control)
        return sb_why_set(why, SB_NOMEM, "no memory for the control socket");
    control->engine = options->engine;
    control->env = sb_engine_env(options->engine);
    control->options = *options;
    control->options.path = NULL;
    control->since = sb_env_now(control->env);
    sb_list_init(&control->clients);
    if (options->path && options->path[0]) {
        sb_listen_options listen = {.path = options->path,
                                    .mode = SB_CONTROL_MODE,
                                    .group = options->group,
                                    .backlog = SB_CONTROL_CLIENTS_MAX};
        sb_why inner = {""};
        sb_status status = control->env->ops->stream_listen(control->env, &listen, accepted,
                                                            control, &control->listener, &inner);
        if (status != SB_OK) {
            sb_free(control);
            return sb_why_set(why, status, "cannot listen on the control socket %s: %s",
                              options->path, inner.text[0] ? inner.text : sb_status_text(status));
        }
    }
    *ret = control;
    return SB_OK;
}

void sb_control_free(sb_control *control)
{
    if (!control)
        return;
    while (!sb_list_empty(&control->clients))
        client_free(sb_container_of(control->clients.next, client, link));
    control->env->ops->close(control->env, control->listener);
    sb_free(control);
}

void sb_control_regroup(sb_control *control, int64_t group)
{
    control->options.group = group;
}

void sb_control_line(sb_control *control, const char *line, size_t size, bool allowed,
                     sb_text *ret_line)
{
    sb_control_request request;
    request_begin(control, line, size, allowed, -1, &request);
    while (!request_slice(&request))
        ;
    request_end(&request, ret_line);
}

static void request_begin(sb_control *control, const char *line, size_t size, bool allowed,
                          int64_t uid, sb_control_request *ret_request)
{
    json_error_t error;
    sb_control_request request = {.control = control, .uid = uid};
    json_t *body = json_loadb(line, size, JSON_REJECT_DUPLICATES, &error);
    const char *verb = json_string_value(json_object_get(body, "verb"));
    request.body = body;
    if (!body)
        (void)sb_why_set(&request.why, SB_INVALID, "the line is not JSON: %s at column %d",
                         error.text, error.column);
    else if (!verb)
        (void)sb_why_set(&request.why, SB_INVALID, "a request is an object with the text \"verb\"");
    request.failed = !body || !verb || !sb_control_run(&request, verb, allowed);
    *ret_request = request;
}

/* True when nothing is left to do. */
static bool request_slice(sb_control_request *request)
{
    return request->failed || !request->work || request->work->slice(request);
}

static void request_end(sb_control_request *request, sb_text *ret_line)
{
    if (request->failed) {
        error_line(request->why.text, ret_line);
    } else if (json_object_set_new(request->result, "ok", json_true()) != 0 ||
               !sb_view_print(json_incref(request->result), ret_line)) {
        sb_text_fini(ret_line);
        *ret_line = (sb_text){0};
        error_line("no memory for this answer", ret_line);
    }
    request_drop(request);
}

static void request_drop(sb_control_request *request)
{
    if (request->work)
        request->work->free(request->work);
    json_decref(request->result);
    json_decref(request->body);
    *request = (sb_control_request){0};
}

static void accepted(void *owner, sb_socket listener, sb_socket stream, const sb_peer *peer)
{
    (void)listener;
    sb_control *control = owner;
    client *c = sb_new(client);
    if (!c)
        return;
    c->control = control;
    c->socket = stream;
    c->peer = *peer;
    sb_timer_init(&c->working, work_on);
    c->group = control->options.group;
    c->in.limit = SB_CONTROL_LINE_MAX * 2;
    c->out.limit = SB_CONTROL_LINE_MAX * 16;
    if (control->env->ops->adopt(control->env, stream, &client_events, c) != SB_OK) {
        sb_free(c);
        return;
    }
    if (control->client_count >= SB_CONTROL_CLIENTS_MAX) {
        sb_count(sb_engine_stats(control->engine), SB_COUNT_LIMIT_CONTROL);
        client_free(sb_container_of(control->clients.next, client, link));
    }
    sb_list_push(&control->clients, &c->link);
    control->client_count++;
}

static void received(void *owner, sb_socket socket, const uint8_t *bytes, size_t size)
{
    (void)socket;
    client *c = owner;
    if (c->ending)
        return;
    sb_list_remove(&c->link);
    sb_list_push(&c->control->clients, &c->link);
    sb_text_add_bytes(&c->in, bytes, size);
    if (c->in.failed)
        client_free(c);
    else
        (void)serve(c);
}

static void drained(void *owner, sb_socket socket)
{
    (void)socket;
    client *c = owner;
    if (flush(c))
        (void)serve(c);
}

static void closed(void *owner, sb_socket socket, sb_status why)
{
    (void)socket;
    (void)why;
    client_free(owner);
}

/* The socket is 0660 with the control group: who got in and is neither root nor the daemon's user
 * is a member of it, be it by a supplementary group, which SO_PEERCRED does not tell. */
static bool allowed(const client *c)
{
    const sb_control_options *options = &c->control->options;
    return c->peer.is_unix && (c->peer.uid == 0 || c->peer.uid == options->uid ||
                               (options->group >= 0 && options->group == c->group));
}

static void client_free(client *c)
{
    sb_control *control = c->control;
    control->env->ops->close(control->env, c->socket);
    sb_timer_stop(control->env, &c->working);
    request_drop(&c->request);
    sb_list_remove(&c->link);
    control->client_count--;
    sb_text_fini(&c->in);
    sb_text_fini(&c->out);
    sb_free(c);
}

/* Whole lines, one reply at a time: the next is looked at when the last is on its way. False: the
 * client is gone. */
static bool serve(client *c)
{
    size_t at = 0;
    while (c->out.size == 0 && !c->ending && !sb_timer_armed(&c->working) && c->in.size > at) {
        const char *line = c->in.data + at;
        size_t skip = c->searched > at ? c->searched - at : 0;
        const char *end = memchr(line + skip, '\n', c->in.size - at - skip);
        size_t size = end ? (size_t)(end - line) : c->in.size - at;
        if (size > SB_CONTROL_LINE_MAX) {
            error_line("a line is at most 1 MiB", &c->out);
            c->ending = true;
        } else if (end) {
            request_begin(c->control, line, size, allowed(c),
                          c->peer.is_unix ? (int64_t)c->peer.uid : -1, &c->request);
            at += size + 1;
            c->searched = at;
            if (!request_slice(&c->request)) {
                sb_timer_set(c->control->env, &c->working,
                             sb_env_now(c->control->env) + SLICE_EVERY);
                break;
            }
            request_end(&c->request, &c->out);
        } else {
            c->searched = c->in.size;
            break;
        }
        sb_text_add_bytes(&c->out, "\n", 1);
        if (!flush(c))
            return false;
    }
    if (at > 0) {
        memmove(c->in.data, c->in.data + at, c->in.size - at);
        c->in.size -= at;
        c->searched -= at;
        if (c->in.size == 0) { /* an idle client holds no memory but its own */
            sb_text_fini(&c->in);
            c->in = (sb_text){.limit = SB_CONTROL_LINE_MAX * 2};
        }
    }
    bool pause = c->out.size > 0 || sb_timer_armed(&c->working);
    if (pause != c->paused) {
        c->paused = pause;
        c->control->env->ops->stream_pause(c->control->env, c->socket, pause);
    }
    return true;
}

static void work_on(sb_timer *timer)
{
    client *c = sb_container_of(timer, client, working);
    sb_env *env = c->control->env;
    if (!request_slice(&c->request)) {
        sb_timer_set(env, timer, sb_env_now(env) + SLICE_EVERY);
        return;
    }
    request_end(&c->request, &c->out);
    sb_text_add_bytes(&c->out, "\n", 1);
    if (flush(c))
        (void)serve(c);
}

/* In pieces, each once the last has left: the env takes no more than it has room for. False: the
 * client is gone. */
static bool flush(client *c)
{
    sb_env *env = c->control->env;
    while (c->sent < c->out.size && env->ops->stream_queued(env, c->socket) < SB_CONTROL_CHUNK) {
        size_t left = c->out.size - c->sent;
        size_t size = left < SB_CONTROL_CHUNK ? left : SB_CONTROL_CHUNK;
        if (c->out.failed ||
            env->ops->stream_write(env, c->socket, c->out.data + c->sent, size) != SB_OK) {
            client_free(c);
            return false;
        }
        c->sent += size;
    }
    if (c->sent < c->out.size)
        return true;
    size_t limit = c->out.limit;
    sb_text_fini(&c->out);
    c->out = (sb_text){.limit = limit};
    c->sent = 0;
    if (c->ending) {
        client_free(c); /* what is queued is still sent */
        return false;
    }
    return true;
}

static void error_line(const char *sentence, sb_text *ret_line)
{
    json_t *line = json_object();
    json_object_set_new(line, "ok", json_false());
    json_object_set_new(line, "error", sb_view_string(sentence));
    if (!sb_view_print(line, ret_line))
        sb_text_add(ret_line, "{\"ok\":false,\"error\":\"no memory\"}");
}
