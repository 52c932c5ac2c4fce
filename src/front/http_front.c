/* HTTP requests to responses: routes, documents, errors (F1, F2; CONTRACT, HTTP).
 *
 * Never causes a query, never changes anything, bounded work per request. Loop thread. */
#include "front/http_front.h"

#include <string.h>

#include "dns/rdata.h"
#include "front/http_private.h"
#include "front/view.h"

typedef struct exchange {
    const sb_http_front *front;
    const sb_http_request *request;
    const char *rest; /* of the path, behind a prefix route */
    bool names;       /* may be shown */
    sb_http_response *response;
} exchange;

typedef struct route {
    const char *path; /* ending in '/': the prefix of one more part */
    sb_http_scope scope;
    void (*handle)(exchange *x);
} route;

typedef struct service_search {
    const char *name;
    bool verbose, names;
    bool found;
    json_t *view;
    sb_level level;
} service_search;

static const route *route_of(const char *path, const char **ret_rest);
static void send_json(exchange *x, unsigned status, json_t *take_body);
static void send_error(exchange *x, unsigned status, const char *sentence);
static bool truth(exchange *x, const char *name);
static bool name_argument(exchange *x, const char *argument, sb_name *ret_name);
static json_t *health_document(const sb_http_front *front, bool verbose, sb_level *ret_level);
static bool required_missing(void *context, const sb_service_info *service);
static bool find_service(void *context, const sb_service_info *service);
static void send_service(exchange *x, bool verbose, bool by_level);

static void get_page(exchange *x);
static void get_health(exchange *x);
static void get_health_of(exchange *x);
static void get_ready(exchange *x);
static void get_metrics(exchange *x);
static void get_status(exchange *x);
static void get_upstreams(exchange *x);
static void get_cache(exchange *x);
static void get_explain(exchange *x);
static void get_service(exchange *x);
static void get_later(exchange *x);

static const route routes[] = {
    {"/", SB_HTTP_LOCAL, get_page},
    {"/health", SB_HTTP_PUBLIC, get_health},
    {"/health/", SB_HTTP_PUBLIC, get_health_of},
    {"/ready", SB_HTTP_PUBLIC, get_ready},
    {"/metrics", SB_HTTP_PUBLIC, get_metrics},
    {"/v1/status", SB_HTTP_LOCAL, get_status},
    {"/v1/upstreams", SB_HTTP_LOCAL, get_upstreams},
    {"/v1/cache", SB_HTTP_NAMES, get_cache},
    {"/v1/explain", SB_HTTP_NAMES, get_explain},
    {"/v1/services/", SB_HTTP_LOCAL, get_service},
    {"/v1/events", SB_HTTP_LOCAL, get_later},
};

void sb_http_front_handle(void *context, const sb_http_request *request, sb_http_response *ret)
{
    const sb_http_front *front = context;
    const sb_settings *settings = sb_engine_settings(front->engine);
    *ret = (sb_http_response){.status = 500, .content_type = "application/json"};
    exchange x = {.front = front, .request = request, .response = ret};
    const route *r = route_of(request->path, &x.rest);
    /* What is not there is told to those only who may see what is. */
    const char *refusal = sb_http_access(settings, request, r ? r->scope : SB_HTTP_LOCAL);
    x.names = !sb_http_access(settings, request, SB_HTTP_NAMES);
    if (refusal) {
        send_error(&x, 403, refusal);
    } else if (!r) {
        send_error(&x, 404, "there is nothing here");
    } else if (strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0) {
        send_error(&x, 405, "only GET and HEAD; what changes things is on the control socket");
        ret->extra_name = "Allow";
        ret->extra_value = "GET, HEAD";
    } else {
        r->handle(&x);
    }
    if (ret->body.failed) {
        sb_text_fini(&ret->body);
        ret->body = (sb_text){0};
        ret->status = 503;
        ret->content_type = "application/json";
        sb_text_add(&ret->body, "{\"error\":\"no memory for this answer\"}\n");
    }
}

void sb_http_front_health(const sb_http_front *front, bool verbose, sb_text *ret_json,
                          sb_level *ret_level)
{
    sb_level level;
    if (!sb_view_print(health_document(front, verbose, &level), ret_json))
        ret_json->failed = true;
    *ret_level = level;
}

static const route *route_of(const char *path, const char **ret_rest)
{
    for (size_t i = 0; i < SB_ARRAY_SIZE(routes); i++) {
        size_t size = strlen(routes[i].path);
        bool prefix = size > 1 && routes[i].path[size - 1] == '/';
        if (prefix ? strncmp(path, routes[i].path, size) == 0 && path[size] != '\0'
                   : strcmp(path, routes[i].path) == 0) {
            *ret_rest = path + size;
            return &routes[i];
        }
    }
    return NULL;
}

static void send_json(exchange *x, unsigned status, json_t *take_body)
{
    x->response->status = status;
    x->response->content_type = "application/json";
    if (!sb_view_print(take_body, &x->response->body))
        x->response->body.failed = true;
    sb_text_add(&x->response->body, "\n");
}

static void send_error(exchange *x, unsigned status, const char *sentence)
{
    send_json(x, status, json_pack("{s:s}", "error", sentence));
}

static bool truth(exchange *x, const char *name)
{
    const char *value = x->request->argument(x->request, name);
    return value && strcmp(value, "0") != 0 && strcmp(value, "false") != 0;
}

/* False: a 400 was sent. */
static bool name_argument(exchange *x, const char *argument, sb_name *ret_name)
{
    const char *text = x->request->argument(x->request, argument);
    sb_why why = {""};
    if (text && sb_name_parse(text, strlen(text), ret_name, &why) == SB_OK) {
        sb_name_fold(ret_name);
        return true;
    }
    sb_why sentence = {""};
    if (text)
        (void)sb_why_set(&sentence, SB_INVALID, "bad argument %s: %s", argument, why.text);
    else
        (void)sb_why_set(&sentence, SB_INVALID, "the argument %s is missing", argument);
    json_t *body = json_object();
    json_object_set_new(body, "error", sb_view_string(sentence.text));
    send_json(x, 400, body);
    return false;
}

static json_t *health_document(const sb_http_front *front, bool verbose, sb_level *ret_level)
{
    sb_engine *engine = front->engine;
    const sb_settings *settings = sb_engine_settings(engine);
    sb_view_totals totals;
    sb_l1_stats cache;
    sb_view_sum(engine, front->worker_stats, front->worker_count, &totals);
    sb_l1_get_stats(sb_engine_l1(engine), &cache);
    const uint64_t *c = totals.counters;
    uint64_t asked = c[SB_COUNT_HITS] + c[SB_COUNT_MISSES];
    const char *level = sb_level_text(totals.level);
    json_t *fallbacks = json_pack(
        "{s:I, s:I, s:I, s:I}", "stale", (json_int_t)c[SB_COUNT_FALLBACK_STALE], "emergency",
        (json_int_t)c[SB_COUNT_FALLBACK_EMERGENCY], "guess", (json_int_t)c[SB_COUNT_FALLBACK_GUESS],
        "capped", (json_int_t)c[SB_COUNT_FALLBACK_CAP]);
    json_t *metrics =
        json_pack("{s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:f, s:o}", "resolution_attempts",
                  (json_int_t)c[SB_COUNT_ATTEMPTS], "cache_hits", (json_int_t)c[SB_COUNT_HITS],
                  "cache_misses", (json_int_t)c[SB_COUNT_MISSES], "fallback_uses", fallbacks,
                  "errors", (json_int_t)c[SB_COUNT_ERRORS], "cache_entries",
                  (json_int_t)cache.entries, "cache_expired", (json_int_t)cache.expired,
                  "cache_hit_rate", asked ? (double)c[SB_COUNT_HITS] / (double)asked : 0.0,
                  "last_resolution_time", sb_view_time(totals.last_resolution_wall_ns));
    double rate = totals.window_attempts
                      ? (double)totals.window_errors / (double)totals.window_attempts
                      : 0.0;
    json_t *dns = json_pack("{s:s, s:f, s:I, s:o}", "status", level, "error_rate", rate, "window_s",
                            (json_int_t)settings->health.window_s, "metrics", metrics);
    json_t *document = json_pack("{s:s, s:o, s:o, s:o}", "status", level, "dns", dns, "upstreams",
                                 sb_view_upstreams(engine, verbose), "services",
                                 sb_view_services(engine, verbose, false));
    if (verbose && document) {
        json_object_set_new(document, "ready", json_boolean(sb_engine_ready(engine)));
        json_object_set_new(document, "network", sb_view_mobility(engine));
        json_object_set_new(document, "loops", sb_view_loops(engine));
        json_object_set_new(document, "window",
                            json_pack("{s:I, s:I}", "resolution_attempts",
                                      (json_int_t)totals.window_attempts, "errors",
                                      (json_int_t)totals.window_errors));
        json_object_set_new(document, "flights",
                            json_integer((json_int_t)sb_engine_flights(engine)));
    }
    *ret_level = totals.level;
    return document;
}

/* Stops at the first required service that cannot be resolved. */
static bool required_missing(void *context, const sb_service_info *service)
{
    const char **missing = context;
    if (!service->setting->required || service->usable)
        return true;
    *missing = service->setting->name;
    return false;
}

static bool find_service(void *context, const sb_service_info *service)
{
    service_search *search = context;
    if (strcmp(service->setting->name, search->name) != 0)
        return true;
    search->found = true;
    search->view = sb_view_service(service, search->verbose, search->names);
    search->level = sb_view_service_level(service);
    return false;
}

static void send_service(exchange *x, bool verbose, bool by_level)
{
    service_search search = {.name = x->rest, .verbose = verbose, .names = verbose && x->names};
    (void)sb_engine_each_service(x->front->engine, find_service, &search);
    if (!search.found) {
        send_error(x, 404, "no service of that name is configured");
        return;
    }
    if (search.view)
        json_object_set_new(search.view, "name", sb_view_string(x->rest));
    bool bad = by_level && search.level == SB_LEVEL_UNHEALTHY;
    send_json(x, bad ? 503 : 200, search.view);
}

static void get_page(exchange *x)
{
    x->response->status = 200;
    x->response->content_type = "text/html; charset=utf-8";
    x->response->extra_name = "Content-Security-Policy";
    x->response->extra_value = "default-src 'none'; style-src 'unsafe-inline'; script-src "
                               "'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'";
    sb_text_add(&x->response->body, "%s", sb_http_page);
}

static void get_health(exchange *x)
{
    sb_level level = SB_LEVEL_HEALTHY;
    json_t *document = health_document(x->front, truth(x, "verbose"), &level);
    send_json(x, level == SB_LEVEL_UNHEALTHY ? 503 : 200, document);
}

static void get_health_of(exchange *x)
{
    send_service(x, truth(x, "verbose"), true);
}

static void get_ready(exchange *x)
{
    sb_engine *engine = x->front->engine;
    const char *missing = NULL;
    bool usable = sb_engine_ready(engine);
    if (usable)
        (void)sb_engine_each_service(engine, required_missing, &missing);
    if (usable && !missing) {
        send_json(x, 200, json_pack("{s:b}", "ready", 1));
        return;
    }
    sb_why reason = {"not yet able to answer questions"};
    if (missing)
        (void)sb_why_set(&reason, SB_NOTFOUND, "the required service %s cannot be resolved",
                         missing);
    send_json(x, 503, json_pack("{s:b, s:o}", "ready", 0, "reason", sb_view_string(reason.text)));
}

static void get_metrics(exchange *x)
{
    x->response->status = 200;
    x->response->content_type = "text/plain; version=0.0.4; charset=utf-8";
    sb_http_metrics(x->front, &x->response->body);
}

static void get_status(exchange *x)
{
    sb_level level = SB_LEVEL_HEALTHY;
    json_t *health = health_document(x->front, false, &level);
    json_t *status = sb_view_status(x->front->engine, x->names);
    if (status)
        json_object_set(status, "dns", json_object_get(health, "dns"));
    json_decref(health);
    if (status)
        json_object_set_new(status, "status", json_string(sb_level_text(level)));
    send_json(x, 200, status);
}

static void get_upstreams(exchange *x)
{
    sb_engine *engine = x->front->engine;
    json_t *body = json_pack("{s:o, s:o}", "upstreams", sb_view_upstreams(engine, true), "loops",
                             sb_view_loops(engine));
    if (body && x->names)
        json_object_set_new(body, "routes", sb_view_routes(x->front->engine));
    send_json(x, 200, body);
}

static void get_cache(exchange *x)
{
    const sb_http_request *request = x->request;
    const char *limit_text = request->argument(request, "limit");
    const char *cursor_text = request->argument(request, "cursor");
    uint64_t limit = 100, cursor = 0;
    sb_name suffix;
    bool below = request->argument(request, "suffix") != NULL;
    if (below && !name_argument(x, "suffix", &suffix))
        return;
    if (limit_text &&
        (!sb_parse_u64(limit_text, strlen(limit_text), SB_VIEW_PAGE_MAX, &limit) || limit == 0)) {
        send_error(x, 400, "bad argument limit: 1 to 1000 entries");
        return;
    }
    if (cursor_text && !sb_view_cursor_parse(cursor_text, &cursor)) {
        send_error(x, 400, "bad argument cursor: it is the cursor of the page before");
        return;
    }
    sb_view_page page = {
        .suffix = below ? &suffix : NULL, .limit = (unsigned)limit, .cursor = cursor};
    send_json(x, 200, sb_view_cache(x->front->engine, &page, sb_view_entry));
}

static void get_explain(exchange *x)
{
    const char *type_text = x->request->argument(x->request, "type");
    uint16_t type = SB_TYPE_A;
    sb_name name;
    if (!name_argument(x, "name", &name))
        return;
    if (type_text && !sb_type_parse(type_text, strlen(type_text), &type)) {
        send_error(x, 400, "bad argument type: a record type such as A, AAAA or TYPE65");
        return;
    }
    send_json(x, 200, sb_view_explain(x->front->engine, &name, type));
}

static void get_service(exchange *x)
{
    if (x->request->argument(x->request, "where"))
        send_error(x, 501, "the argument where arrives with a later version");
    else
        send_service(x, true, false);
}

static void get_later(exchange *x)
{
    send_error(x, 501, "this arrives with a later version");
}
