/* Totals, status, upstreams and services as JSON; see view.h. Loop thread. */
#include "front/view.h"

#include <string.h>
#include <time.h>

#include "base/log.h"
#include "dns/target.h"

#ifndef SB_VERSION
#define SB_VERSION "unknown"
#endif

/* Of one slice of the list of pins: about a millisecond. */
#define PINS_EXAMINED 4096

typedef struct listing {
    sb_engine *engine;
    json_t *list;
    bool verbose, names;
} listing;

static void add_stats(const sb_stats *stats, sb_ns now, unsigned window_s, sb_view_totals *totals);
static int print_chunk(const char *bytes, size_t size, void *context);
static json_t *view_listen(const sb_settings *settings);
static json_t *view_cache_file(sb_engine *engine);
static bool add_upstream(void *context, const sb_upstream *server);
static bool add_service(void *context, const sb_service_info *service);
static void add_pin(void *context, const sb_pin_info *pin);
static json_t *masked(const char *url);
static json_t *ago(sb_ns now, sb_ns then);
static json_t *integer(uint64_t value);

void sb_view_sum(sb_engine *engine, sb_stats *const *workers, unsigned worker_count,
                 sb_view_totals *ret_totals)
{
    const sb_settings *settings = sb_engine_settings(engine);
    sb_ns now = sb_env_now(sb_engine_env(engine));
    sb_view_totals totals = {0};
    add_stats(sb_engine_stats(engine), now, settings->health.window_s, &totals);
    for (unsigned i = 0; i < worker_count; i++)
        add_stats(workers[i], now, settings->health.window_s, &totals);
    totals.level =
        sb_level_of(totals.window_errors, totals.window_attempts,
                    settings->health.degraded_permille, settings->health.unhealthy_permille);
    *ret_totals = totals;
}

json_t *sb_view_string(const char *text)
{
    if (!text)
        return json_null();
    json_t *value = json_string(text);
    return value ? value : json_string(SB_Q(text));
}

json_t *sb_view_name(const sb_name *name)
{
    char text[SB_NAME_TEXT_MAX];
    return sb_view_string(sb_name_text(name, text));
}

json_t *sb_view_address(const sb_addr *addr)
{
    char text[SB_ADDR_TEXT_MAX];
    return sb_view_string(sb_addr_text(addr, text));
}

json_t *sb_view_time(int64_t wall_ns)
{
    time_t seconds = (time_t)(wall_ns / SB_S);
    struct tm parts;
    char text[64];
    if (wall_ns == 0 || !gmtime_r(&seconds, &parts) ||
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        return json_null();
    return json_string(text);
}

bool sb_view_print(json_t *take_value, sb_text *ret_text)
{
    bool ok = take_value &&
              json_dump_callback(take_value, print_chunk, ret_text,
                                 JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(6)) == 0;
    json_decref(take_value);
    return ok && !ret_text->failed;
}

json_t *sb_view_status(sb_engine *engine, bool names)
{
    const sb_settings *settings = sb_engine_settings(engine);
    sb_clock clock;
    sb_engine_env(engine)->ops->clock(sb_engine_env(engine), &clock);
    return json_pack(
        "{s:s, s:o, s:b, s:I, s:I, s:s, s:o, s:o, s:o, s:o}", "version", SB_VERSION, "time",
        sb_view_time(clock.wall_ns), "ready", sb_engine_ready(engine), "network",
        (json_int_t)sb_engine_network(engine), "flights", (json_int_t)sb_engine_flights(engine),
        "family", sb_family_policy_text(settings->query.family), "listen", view_listen(settings),
        "cache", view_cache_file(engine), "upstreams", sb_view_upstreams(engine, false), "services",
        sb_view_services(engine, true, names));
}

json_t *sb_view_upstreams(sb_engine *engine, bool verbose)
{
    listing list = {.engine = engine, .list = json_array(), .verbose = verbose};
    if (list.list)
        (void)sb_upstreams_each(sb_engine_upstreams(engine), add_upstream, &list);
    return list.list;
}

json_t *sb_view_routes(sb_engine *engine)
{
    const sb_settings *settings = sb_engine_settings(engine);
    json_t *routes = json_array();
    char text[SB_ADDR_TEXT_MAX];
    for (size_t i = 0; i < settings->route_count; i++) {
        const sb_route_setting *route = &settings->routes[i];
        json_t *servers = json_array();
        for (size_t k = 0; k < route->server_count; k++)
            json_array_append_new(servers,
                                  sb_view_string(sb_addr_text_port(&route->servers[k].addr, text)));
        json_array_append_new(
            routes,
            json_pack("{s:o, s:o}", "suffix", sb_view_name(&route->suffix), "upstreams", servers));
    }
    return routes;
}

bool sb_view_pins(sb_engine *engine, uint64_t *cursor, json_t *list)
{
    listing context = {.engine = engine, .list = list, .names = true};
    return sb_engine_walk_pins(engine, cursor, PINS_EXAMINED, add_pin, &context);
}

json_t *sb_view_services(sb_engine *engine, bool verbose, bool names)
{
    listing list = {.engine = engine, .list = json_object(), .verbose = verbose, .names = names};
    if (list.list)
        (void)sb_engine_each_service(engine, add_service, &list);
    return list.list;
}

sb_level sb_view_service_level(const sb_service_info *service)
{
    if (!service->usable)
        return SB_LEVEL_UNHEALTHY;
    return service->degraded ? SB_LEVEL_DEGRADED : SB_LEVEL_HEALTHY;
}

json_t *sb_view_service(const sb_service_info *service, bool verbose, bool names)
{
    const char *status =
        service->checked ? sb_level_text(sb_view_service_level(service)) : "unknown";
    json_t *object = json_pack("{s:s, s:b, s:b}", "status", status, "required",
                               service->setting->required, "usable", service->usable);
    if (!object || !service->checked)
        return object;
    json_object_set_new(object, "source", json_string(sb_source_text(service->source)));
    json_object_set_new(object, "age_s", integer(service->age_s));
    if (!verbose)
        return object;
    json_object_set_new(object, "degraded", json_boolean(service->degraded));
    json_object_set_new(object, "result", json_string(sb_outcome_text(service->outcome)));
    json_object_set_new(object, "address_count", integer(service->address_count));
    if (!names)
        return object;
    json_object_set_new(object, "host", sb_view_string(service->host));
    json_object_set_new(object, "uri", masked(service->setting->uri));
    json_t *addresses = json_array();
    for (size_t i = 0; i < service->address_count; i++)
        json_array_append_new(addresses, sb_view_address(&service->addresses[i]));
    json_object_set_new(object, "addresses", addresses);
    return object;
}

static void add_stats(const sb_stats *stats, sb_ns now, unsigned window_s, sb_view_totals *totals)
{
    uint64_t attempts, errors;
    for (unsigned i = 0; i < SB_COUNTER_COUNT; i++)
        totals->counters[i] += sb_stats_get(stats, (sb_counter)i);
    sb_window_sum(&stats->window, now, window_s, &attempts, &errors);
    totals->window_attempts += attempts;
    totals->window_errors += errors;
    int64_t last = atomic_load_explicit(&stats->last_resolution_wall_ns, memory_order_relaxed);
    if (last > totals->last_resolution_wall_ns)
        totals->last_resolution_wall_ns = last;
}

static int print_chunk(const char *bytes, size_t size, void *context)
{
    sb_text *text = context;
    sb_text_add_bytes(text, bytes, size);
    return text->failed ? -1 : 0;
}

static json_t *view_listen(const sb_settings *settings)
{
    char text[SB_ADDR_TEXT_MAX];
    json_t *dns = json_array();
    for (size_t i = 0; i < settings->listen.dns_count; i++)
        json_array_append_new(dns,
                              sb_view_string(sb_addr_text_port(&settings->listen.dns[i], text)));
    json_t *http = settings->listen.http_on
                       ? sb_view_string(sb_addr_text_port(&settings->listen.http, text))
                       : json_false();
    return json_pack("{s:o, s:o, s:o}", "dns", dns, "http", http, "socket",
                     sb_view_string(settings->listen.socket));
}

static json_t *view_cache_file(sb_engine *engine)
{
    const sb_settings *settings = sb_engine_settings(engine);
    sb_l1 *l1 = sb_engine_l1(engine);
    sb_l1_stats stats;
    sb_l1_get_stats(l1, &stats);
    return json_pack("{s:o, s:b, s:I, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "file",
                     sb_view_string(settings->cache.file), "in_file", sb_l1_in_file(l1), "entries",
                     (json_int_t)stats.entries, "entries_counted", stats.counted, "capacity_bytes",
                     (json_int_t)stats.capacity_bytes, "used_bytes", (json_int_t)stats.used_bytes,
                     "writes", (json_int_t)stats.writes, "evictions", (json_int_t)stats.evictions,
                     "expired", (json_int_t)stats.expired, "dropped", (json_int_t)stats.dropped,
                     "too_big", (json_int_t)stats.too_big);
}

static bool add_upstream(void *context, const sb_upstream *server)
{
    listing *list = context;
    sb_ns now = sb_env_now(sb_engine_env(list->engine));
    char text[SB_ADDR_TEXT_MAX];
    json_t *object =
        json_pack("{s:o, s:o, s:s, s:s, s:f, s:f}", "address",
                  sb_view_string(sb_addr_text_port(&server->addr, text)), "name",
                  sb_view_string(server->name), "status",
                  server->breaker == SB_BREAKER_CLOSED ? "up" : "down", "breaker",
                  sb_breaker_text(server->breaker), "srtt_ms", (double)server->srtt / (double)SB_MS,
                  "success_rate", (double)server->success_permille / 1000.0);
    if (list->verbose && object) {
        json_object_set_new(object, "protocol", json_string(server->tls ? "tls" : "udp"));
        json_object_set_new(object, "trust_ad", json_boolean(server->trust_ad));
        json_object_set_new(object, "queries", integer(server->queries));
        json_object_set_new(object, "responses", integer(server->responses));
        json_object_set_new(object, "timeouts", integer(server->timeouts));
        json_object_set_new(object, "errors", integer(server->errors));
        json_object_set_new(object, "failures_in_a_row", integer(server->failures));
        json_object_set_new(object, "last_success_s", ago(now, server->last_success));
        json_object_set_new(object, "last_failure_s", ago(now, server->last_failure));
        json_object_set_new(object, "last_result",
                            json_string(sb_status_text(server->last_status)));
        sb_ns wait = server->breaker == SB_BREAKER_OPEN ? server->open_until - now : 0;
        json_object_set_new(object, "next_probe_ms",
                            integer(wait > 0 ? (uint64_t)(wait / SB_MS) : 0));
    }
    json_array_append_new(list->list, object);
    return true;
}

static bool add_service(void *context, const sb_service_info *service)
{
    listing *list = context;
    json_t *object = sb_view_service(service, list->verbose, list->names);
    if (json_object_set_new(list->list, service->setting->name, object) == 0)
        return true;
    object = sb_view_service(service, list->verbose, list->names);
    json_object_set_new(list->list, SB_Q(service->setting->name), object); /* not UTF-8 */
    return true;
}

static void add_pin(void *context, const sb_pin_info *pin)
{
    listing *list = context;
    sb_ns now = sb_env_now(sb_engine_env(list->engine));
    json_t *addresses = json_array(), *left = json_null();
    for (size_t i = 0; i < pin->count; i++)
        json_array_append_new(addresses, sb_view_address(&pin->addresses[i]));
    if (pin->until != SB_NEVER)
        left = integer(pin->until > now ? (uint64_t)((pin->until - now) / SB_S) : 0);
    json_array_append_new(list->list, json_pack("{s:o, s:o, s:o}", "name", sb_view_name(&pin->name),
                                                "addresses", addresses, "left_s", left));
}

/* User names and passwords of URLs are shown to nobody. */
static json_t *masked(const char *url)
{
    sb_text text = {0};
    sb_target_mask(url, strlen(url), &text);
    json_t *value = sb_view_string(text.data ? text.data : "");
    sb_text_fini(&text);
    return value;
}

static json_t *ago(sb_ns now, sb_ns then)
{
    return then > 0 ? integer((uint64_t)((now - then) / SB_S)) : json_null();
}

static json_t *integer(uint64_t value)
{
    return json_integer((json_int_t)value);
}
