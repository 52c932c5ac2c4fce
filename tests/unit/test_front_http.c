/* The HTTP front: documents, levels at their boundaries, who may see what, metrics. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>
#include <jansson.h>

#include "front/http_front.h"
#include "support/front_world.h"

static world w;
static sb_http_front front;
static const char *args[8]; /* name, value, … NULL */

static const char *argument(const sb_http_request *request, const char *name)
{
    (void)request;
    for (size_t i = 0; args[i]; i += 2)
        if (strcmp(args[i], name) == 0)
            return args[i + 1];
    return NULL;
}

static void begin(sb_settings *settings)
{
    world_start(&w, settings);
    front = (sb_http_front){.engine = w.engine};
    memset(args, 0, sizeof(args));
}

static void finish(void)
{
    assert_int_equal(world_stop(&w), 0);
}

static sb_http_request request_of(const char *path)
{
    return (sb_http_request){.method = "GET",
                             .path = path,
                             .host = "127.0.0.1:8053",
                             .peer = world_addr("127.0.0.1:50000"),
                             .local = world_addr("127.0.0.1:8053"),
                             .argument = argument};
}

/* The status; the body as JSON when ret_body is given (owned by the caller). */
static unsigned handle(const sb_http_request *request, json_t **ret_body)
{
    sb_http_response response;
    sb_http_front_handle(&front, request, &response);
    assert_false(response.body.failed);
    if (ret_body) {
        assert_string_equal(response.content_type, "application/json");
        *ret_body = json_loadb(response.body.data, response.body.size, 0, NULL);
        assert_non_null(*ret_body);
    }
    sb_text_fini(&response.body);
    return response.status;
}

static unsigned get(const char *path, json_t **ret_body)
{
    sb_http_request request = request_of(path);
    return handle(&request, ret_body);
}

static void count_questions(sb_stats *stats, unsigned attempts, unsigned errors)
{
    sb_clock clock;
    w.env->ops->clock(w.env, &clock);
    for (unsigned i = 0; i < attempts; i++)
        sb_stats_question(stats, clock.boot_ns, clock.wall_ns, SB_MS, i % 2, i < errors);
}

static void test_levels(void **state)
{
    (void)state;
    static const struct {
        unsigned attempts, errors, status;
        const char *level;
    } rows[] = {
        {0, 0, 200, "healthy"},        {1000, 0, 200, "healthy"},    {10, 1, 200, "healthy"},
        {1000, 100, 200, "healthy"},   {1000, 101, 200, "degraded"}, {9, 1, 200, "degraded"},
        {10, 7, 200, "degraded"},      {1000, 700, 200, "degraded"}, {1000, 701, 503, "unhealthy"},
        {1000, 1000, 503, "unhealthy"}};
    for (size_t i = 0; i < SB_ARRAY_SIZE(rows); i++) {
        json_t *body;
        begin(world_settings());
        count_questions(sb_engine_stats(w.engine), rows[i].attempts, rows[i].errors);
        assert_int_equal(get("/health", &body), rows[i].status);
        json_t *dns = json_object_get(body, "dns");
        assert_string_equal(json_string_value(json_object_get(body, "status")), rows[i].level);
        assert_string_equal(json_string_value(json_object_get(dns, "status")), rows[i].level);
        double rate = json_real_value(json_object_get(dns, "error_rate"));
        double exact = rows[i].attempts ? (double)rows[i].errors / rows[i].attempts : 0;
        assert_true(rate - exact < 1e-5 && exact - rate < 1e-5); /* six digits are printed */
        json_decref(body);
        world_run(&w, 61 * SB_S); /* the window slides on */
        assert_int_equal(get("/health", &body), 200);
        assert_string_equal(json_string_value(json_object_get(body, "status")), "healthy");
        json_decref(body);
        finish();
    }
}

/* Errors seen by workers count as those of the engine. */
static void test_workers_are_summed(void **state)
{
    (void)state;
    static sb_stats one, two;
    sb_stats *workers[] = {&one, &two};
    json_t *body;
    sb_stats_init(&one);
    sb_stats_init(&two);
    begin(world_settings());
    front.worker_stats = workers;
    front.worker_count = 2;
    count_questions(sb_engine_stats(w.engine), 100, 25);
    count_questions(&one, 100, 0);
    count_questions(&two, 200, 75);
    assert_int_equal(get("/health", &body), 200);
    json_t *dns = json_object_get(body, "dns"), *metrics = json_object_get(dns, "metrics");
    assert_true(json_real_value(json_object_get(dns, "error_rate")) == 0.25);
    assert_int_equal(json_integer_value(json_object_get(dns, "window_s")), 60);
    assert_int_equal(json_integer_value(json_object_get(metrics, "resolution_attempts")), 400);
    assert_int_equal(json_integer_value(json_object_get(metrics, "cache_hits")), 200);
    assert_int_equal(json_integer_value(json_object_get(metrics, "cache_misses")), 200);
    assert_int_equal(json_integer_value(json_object_get(metrics, "errors")), 100);
    assert_true(json_real_value(json_object_get(metrics, "cache_hit_rate")) == 0.5);
    assert_true(json_is_string(json_object_get(metrics, "last_resolution_time")));
    json_t *fallbacks = json_object_get(metrics, "fallback_uses");
    assert_int_equal(json_integer_value(json_object_get(fallbacks, "stale")), 0);
    assert_true(json_is_integer(json_object_get(metrics, "cache_entries")));
    assert_true(json_is_integer(json_object_get(metrics, "cache_expired")));
    assert_int_equal(json_array_size(json_object_get(body, "upstreams")), 1);
    assert_true(json_is_object(json_object_get(body, "services")));
    json_decref(body);
    finish();
}

static void test_routes(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path;
        unsigned status;
    } rows[] = {{"GET", "/health", 200},       {"HEAD", "/health", 200},
                {"POST", "/health", 405},      {"DELETE", "/v1/status", 405},
                {"GET", "/ready", 200},        {"GET", "/v1/status", 200},
                {"GET", "/v1/upstreams", 200}, {"GET", "/v1/events", 501},
                {"GET", "/nothing", 404},      {"GET", "/health/", 404},
                {"GET", "/health/none", 404},  {"GET", "/v1/services/none", 404},
                {"GET", "/v1/", 404},          {"GET", "", 404},
                {"GET", "/v1/cache", 403},     {"GET", "/v1/explain", 403},
                {"POST", "/nothing", 404}};
    begin(world_settings());
    for (size_t i = 0; i < SB_ARRAY_SIZE(rows); i++) {
        sb_http_request request = request_of(rows[i].path);
        json_t *body;
        request.method = rows[i].method;
        assert_int_equal(handle(&request, &body), rows[i].status);
        if (rows[i].status >= 400)
            assert_true(json_is_string(json_object_get(body, "error")));
        json_decref(body);
    }
    assert_int_equal(get("/", NULL), 200);
    assert_int_equal(get("/metrics", NULL), 200);
    finish();
}

static void test_hosts_and_sites(void **state)
{
    (void)state;
    static const char *const extra[] = {"box.example"};
    static const struct {
        const char *host, *origin, *site;
        unsigned status;
    } rows[] = {{"127.0.0.1:8053", NULL, NULL, 200},
                {"127.0.0.1", NULL, NULL, 200},
                {"[::1]:8053", NULL, NULL, 200},
                {"[::1]", NULL, NULL, 200},
                {"10.1.2.3", NULL, NULL, 200},
                {"localhost:8053", NULL, NULL, 200},
                {"LocalHost", NULL, NULL, 200},
                {"box.example:8053", NULL, NULL, 200},
                {"Box.Example", NULL, NULL, 200},
                {"", NULL, NULL, 403},
                {"evil.example", NULL, NULL, 403},
                {"evil.example:8053", NULL, NULL, 403},
                {"localhost.evil.example", NULL, NULL, 403},
                {"127.0.0.1.evil.example", NULL, NULL, 403},
                {"127.0.0.1@evil.example", NULL, NULL, 403},
                {"[::1", NULL, NULL, 403},
                {"[::1]x", NULL, NULL, 403},
                {"::1", NULL, NULL, 403},
                {"[]", NULL, NULL, 403},
                {"localhost:", NULL, NULL, 403},
                {"localhost:99999", NULL, NULL, 403},
                {"localhost:8053", "http://localhost:8053", "same-origin", 200},
                {"localhost:8053", "http://evil.example", NULL, 403},
                {"localhost:8053", "http://localhost:3000", NULL, 403},
                {"localhost:8053", "https://localhost:8053", NULL, 403},
                {"localhost:8053", "null", NULL, 403},
                {"localhost:8053", NULL, "none", 200},
                {"localhost:8053", NULL, "cross-site", 403},
                {"localhost:8053", NULL, "same-site", 403}};
    sb_settings *settings = world_settings();
    settings->listen.http_hosts = extra;
    settings->listen.http_host_count = 1;
    begin(settings);
    for (size_t i = 0; i < SB_ARRAY_SIZE(rows); i++) {
        static const char *const paths[] = {"/", "/v1/status"};
        for (size_t k = 0; k < 2; k++) {
            sb_http_request request = request_of(paths[k]);
            request.host = rows[i].host;
            request.origin = rows[i].origin;
            request.fetch_site = rows[i].site;
            assert_int_equal(handle(&request, NULL), rows[i].status);
        }
        sb_http_request request = request_of("/health");
        request.host = rows[i].host;
        assert_int_equal(handle(&request, NULL), 200);
    }
    static const char *const open_paths[] = {"/health", "/ready", "/metrics"};
    static const char *const closed[] = {"/", "/v1/status", "/v1/upstreams", "/nothing"};
    for (size_t i = 0; i < SB_ARRAY_SIZE(open_paths); i++) {
        sb_http_request request = request_of(open_paths[i]);
        request.peer = world_addr("10.1.2.3:5000");
        assert_int_equal(handle(&request, NULL), 200);
    }
    for (size_t i = 0; i < SB_ARRAY_SIZE(closed); i++) {
        sb_http_request request = request_of(closed[i]);
        request.peer = world_addr("10.1.2.3:5000");
        assert_int_equal(handle(&request, NULL), 403);
    }
    finish();
}

static sb_query asked;
static bool settled;

static void on_settled(sb_op *op)
{
    (void)op;
    settled = true;
}

static void resolve(const char *name, uint16_t type)
{
    asked.question = (sb_question){.name = world_name(name), .type = type, .class = SB_CLASS_IN};
    asked.ask = 0;
    settled = false;
    sb_engine_ask(w.engine, &asked, NULL, SB_NEVER, on_settled);
    world_run(&w, 4 * SB_S);
    assert_true(settled);
    sb_query_fini(&asked);
}

static void test_names(void **state)
{
    (void)state;
    json_t *body;
    sb_settings *settings = world_settings();
    settings->cache.share = SB_SHARE_ALL;
    begin(settings);
    for (unsigned i = 0; i < 30; i++) {
        char name[64];
        (void)snprintf(name, sizeof(name), "a%u.%s.example", i, i % 3 ? "one" : "two");
        resolve(name, SB_TYPE_A);
    }
    resolve("cname.one.example", SB_TYPE_A);
    unsigned before = w.asked, seen = 0;
    char cursor[32] = "0";
    const char *list[] = {"suffix", "one.example", "limit", "7", "cursor", cursor, NULL};
    memcpy(args, list, sizeof(list));
    for (unsigned pages = 0; pages < 100; pages++) {
        assert_int_equal(get("/v1/cache", &body), 200);
        json_t *entries = json_object_get(body, "entries"), *entry;
        size_t i;
        assert_true(json_array_size(entries) <= 7);
        json_array_foreach(entries, i, entry)
        {
            seen++;
            assert_string_equal(json_string_value(json_object_get(entry, "state")), "fresh");
            assert_string_equal(json_string_value(json_object_get(entry, "type")), "A");
            assert_string_equal(json_string_value(json_object_get(entry, "upstream")),
                                "10.0.0.2:53");
        }
        const char *next = json_string_value(json_object_get(body, "cursor"));
        bool more = next != NULL;
        if (more)
            (void)snprintf(cursor, sizeof(cursor), "%s", next);
        json_decref(body);
        if (!more)
            break;
    }
    assert_int_equal(seen, 21);
    const char *explain[] = {"name", "CNAME.one.Example", "type", "a", NULL};
    memcpy(args, explain, sizeof(explain));
    assert_int_equal(get("/v1/explain", &body), 200);
    json_t *cache = json_object_get(body, "cache");
    assert_int_equal(json_array_size(cache), 1);
    json_t *records = json_object_get(json_array_get(cache, 0), "records");
    assert_string_equal(json_string_value(json_array_get(records, 0)), "CNAME a.one.example.");
    assert_string_equal(json_string_value(json_object_get(body, "outlook")), "the cached answer");
    json_decref(body);
    args[1] = "never.example";
    assert_int_equal(get("/v1/explain", &body), 200);
    assert_string_equal(json_string_value(json_object_get(body, "outlook")),
                        "an upstream is asked");
    json_decref(body);
    assert_int_equal(w.asked, before); /* nothing here asks */
    finish();
}

static void test_bad_arguments(void **state)
{
    (void)state;
    static const char *const rows[][3] = {
        {"/v1/explain", NULL, NULL},        {"/v1/explain", "name", ""},
        {"/v1/explain", "name", "a..b"},    {"/v1/cache", "limit", "0"},
        {"/v1/cache", "limit", "1001"},     {"/v1/cache", "limit", "-1"},
        {"/v1/cache", "limit", "x"},        {"/v1/cache", "cursor", "x"},
        {"/v1/cache", "suffix", "a..b"},    {"/v1/cache", "suffix", ""}};
    sb_settings *settings = world_settings();
    settings->cache.share = SB_SHARE_ALL;
    begin(settings);
    for (size_t i = 0; i < SB_ARRAY_SIZE(rows); i++) {
        json_t *body;
        args[0] = rows[i][1];
        args[1] = rows[i][2];
        assert_int_equal(get(rows[i][0], &body), 400);
        assert_true(json_is_string(json_object_get(body, "error")));
        json_decref(body);
    }
    args[0] = "name";
    args[1] = "a.example";
    args[2] = "type";
    args[3] = "NOSUCH";
    assert_int_equal(get("/v1/explain", NULL), 400);
    finish();
}

/* A reload makes nobody unready who was ready; what is new is looked up first. */
static void reload_keeps(const sb_settings *before, const sb_service_setting *known)
{
    sb_why why = {""};
    json_t *body;
    const sb_service_setting kept[] = {
        {.name = "other", .uri = "http://a2.example", .required = false}, *known};
    sb_settings *next = world_settings();
    next->services = kept;
    next->service_count = 2;
    next->cache.share = before->cache.share;
    assert_int_equal(sb_settings_freeze(next, &why), SB_OK);
    assert_int_equal(sb_engine_reload(w.engine, next, &why), SB_OK);
    assert_int_equal(get("/ready", &body), 200);
    json_decref(body);
    assert_int_equal(get("/health/other", &body), 503);
    json_decref(body);
    world_run(&w, SB_S);
    assert_int_equal(get("/health/other", &body), 200);
    json_decref(body);
    assert_int_equal(sb_engine_reload(w.engine, before, &why), SB_OK); /* kept is ours */
    sb_settings_unref(next);
}

static void test_services(void **state)
{
    (void)state;
    static const sb_service_setting services[] = {
        {.name = "good", .uri = "http://user:secret@a.example:5000/x", .required = true},
        {.name = "bad", .uri = "http://nx.example", .required = false},
        {.name = "literal", .uri = "tcp://192.0.2.7:1", .required = false}};
    json_t *body;
    for (unsigned share = 0; share < 2; share++) {
        sb_settings *settings = world_settings();
        settings->services = services;
        settings->service_count = 3;
        settings->cache.share = share ? SB_SHARE_ALL : SB_SHARE_USER;
        begin(settings);
        assert_int_equal(get("/ready", &body), 503); /* good is not yet looked up */
        json_decref(body);
        assert_int_equal(get("/health/good", &body), 503);
        json_decref(body);
        world_run(&w, SB_S);
        assert_int_equal(get("/ready", &body), 200);
        json_decref(body);
        assert_int_equal(get("/health/good", &body), 200);
        assert_string_equal(json_string_value(json_object_get(body, "status")), "healthy");
        json_decref(body);
        assert_int_equal(get("/health/bad", &body), 503);
        json_decref(body);
        assert_int_equal(get("/health/literal", &body), 200);
        json_decref(body);
        assert_int_equal(get("/v1/services/good", &body), 200);
        char *text = json_dumps(body, 0);
        assert_null(strstr(text, "secret"));
        assert_int_equal(strstr(text, "a.example") != NULL, share);
        assert_int_equal(strstr(text, "192.0.2.1") != NULL, share);
        free(text);
        json_decref(body);
        reload_keeps(settings, &services[0]);
        finish();
    }
}

/* Every name asked stays out of what everybody may read. */
static void test_no_names(void **state)
{
    (void)state;
    static const char *const paths[] = {"/", "/health", "/ready", "/metrics", "/v1/status",
                                        "/v1/upstreams"};
    begin(world_settings());
    resolve("a-very-private-name.example", SB_TYPE_A);
    args[0] = "verbose";
    args[1] = "1";
    for (size_t i = 0; i < SB_ARRAY_SIZE(paths); i++) {
        sb_http_request request = request_of(paths[i]);
        sb_http_response response;
        sb_http_front_handle(&front, &request, &response);
        assert_int_equal(response.status, 200);
        assert_null(strstr(response.body.data, "private-name"));
        sb_text_fini(&response.body);
    }
    finish();
}

static void test_metrics(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "# TYPE stubborn_resolution_attempts_total counter\n",
        "\nstubborn_resolution_attempts_total 2\n",
        "\nstubborn_cache_hits_total 1\n",
        "\nstubborn_fallback_uses_total{kind=\"stale\"} 0\n",
        "\nstubborn_error_rate 0.5\n",
        "\nstubborn_health_level 1\n",
        ("\nstubborn_server_up{server=\"10.0.0.2:53\",name=\"a\\\"b\\\\c\\nd\","
         "protocol=\"udp\"} 1\n"),
        "\nstubborn_resolution_seconds_bucket{le=\"0.001\"} 2\n",
        "\nstubborn_resolution_seconds_bucket{le=\"+Inf\"} 2\n",
        "\nstubborn_resolution_seconds_sum 0.002\n",
        "\nstubborn_resolution_seconds_count 2\n",
        "\nstubborn_build_info{version=\"0.1.0\"} 1\n",
    };
    static sb_server_setting server[1];
    sb_settings *settings = world_settings();
    server[0] = settings->upstreams[0];
    server[0].name = "a\"b\\c\nd";
    settings->upstreams = server;
    begin(settings);
    count_questions(sb_engine_stats(w.engine), 2, 1);
    sb_http_request request = request_of("/metrics");
    sb_http_response response;
    sb_http_front_handle(&front, &request, &response);
    assert_string_equal(response.content_type, "text/plain; version=0.0.4; charset=utf-8");
    for (size_t i = 0; i < SB_ARRAY_SIZE(lines); i++)
        if (!strstr(response.body.data, lines[i]))
            fail_msg("missing: %s", lines[i]);
    /* Once per family. */
    const char *first = strstr(response.body.data, "# TYPE stubborn_fallback_uses_total ");
    assert_non_null(first);
    assert_null(strstr(first + 1, "# TYPE stubborn_fallback_uses_total "));
    sb_text_fini(&response.body);
    finish();
}

static int teardown(void **state)
{
    (void)state;
    if (w.s)
        sim_free(w.s);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),        cmocka_unit_test(test_workers_are_summed),
        cmocka_unit_test(test_routes),        cmocka_unit_test(test_hosts_and_sites),
        cmocka_unit_test(test_names),         cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_services),      cmocka_unit_test(test_no_names),
        cmocka_unit_test(test_metrics),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
