/* The metrics as Prometheus text 0.0.4: counters by table, gauges, servers, histograms (F2).
 *
 * A family's HELP and TYPE come once, its samples together. Never shows a name. Pure but for
 * reading the engine. */
#include <inttypes.h>
#include <string.h>

#include "front/http_private.h"
#include "front/view.h"

#ifndef SB_VERSION
#define SB_VERSION "unknown"
#endif
#define PREFIX "stubborn_"

typedef struct server_metric {
    const char *name, *type, *help;
    double (*value)(const sb_upstream *server);
} server_metric;

typedef struct server_listing {
    sb_text *text;
    const server_metric *metric;
} server_listing;

static void counters(const sb_view_totals *totals, const sb_l1_stats *cache, sb_text *text);
static uint64_t counter_value(const sb_view_totals *totals, const sb_l1_stats *cache,
                              sb_counter counter);
static void gauges(const sb_http_front *front, const sb_view_totals *totals,
                   const sb_l1_stats *cache, sb_text *text);
static void head(sb_text *text, const char *name, const char *type, const char *help);
static void gauge(sb_text *text, const char *name, const char *help, double value);
static void servers(sb_engine *engine, sb_text *text);
static bool server_sample(void *context, const sb_upstream *server);
static void label(sb_text *text, const char *value);
static void histogram(const sb_http_front *front, sb_text *text, const char *name,
                      const char *help, size_t offset);
static void histogram_add(const sb_stats *stats, size_t offset, uint64_t *buckets,
                          uint64_t *ret_sum_us);

static const struct {
    const char *name, *labels, *help;
} counter_rows[] = {
#define COUNTER_ROW(id, name, labels, help) {name, labels, help},
    SB_COUNTER_TABLE(COUNTER_ROW)
#undef COUNTER_ROW
};

static double server_up(const sb_upstream *s)
{
    return s->breaker == SB_BREAKER_CLOSED ? 1 : 0;
}
static double server_breaker(const sb_upstream *s)
{
    return s->breaker == SB_BREAKER_CLOSED ? 0 : s->breaker == SB_BREAKER_HALF_OPEN ? 1 : 2;
}
static double server_queries(const sb_upstream *s)
{
    return (double)s->queries;
}
static double server_responses(const sb_upstream *s)
{
    return (double)s->responses;
}
static double server_timeouts(const sb_upstream *s)
{
    return (double)s->timeouts;
}
static double server_errors(const sb_upstream *s)
{
    return (double)s->errors;
}
static double server_srtt(const sb_upstream *s)
{
    return (double)s->srtt / (double)SB_S;
}
static double server_success(const sb_upstream *s)
{
    return (double)s->success_permille / 1000.0;
}

static const server_metric server_metrics[] = {
    {"server_up", "gauge", "1 while the server's breaker is closed", server_up},
    {"server_breaker_state", "gauge", "0 closed, 1 half-open, 2 open", server_breaker},
    {"server_queries_total", "counter", "Queries sent to the server", server_queries},
    {"server_responses_total", "counter", "Valid responses of the server", server_responses},
    {"server_timeouts_total", "counter", "Attempts at the server that timed out",
     server_timeouts},
    {"server_failures_total", "counter", "Attempts at the server that failed", server_errors},
    {"server_srtt_seconds", "gauge", "Smoothed round trip; 0 while unknown", server_srtt},
    {"server_success_ratio", "gauge", "Decayed rate of success", server_success},
};

void sb_http_metrics(const sb_http_front *front, sb_text *ret_text)
{
    sb_view_totals totals;
    sb_l1_stats cache;
    sb_view_sum(front->engine, front->worker_stats, front->worker_count, &totals);
    sb_l1_get_stats(sb_engine_l1(front->engine), &cache);
    counters(&totals, &cache, ret_text);
    gauges(front, &totals, &cache, ret_text);
    servers(front->engine, ret_text);
    histogram(front, ret_text, "resolution_seconds", "Time from question to answer",
              offsetof(sb_stats, resolution));
    histogram(front, ret_text, "upstream_rtt_seconds", "Round trips to upstream servers",
              offsetof(sb_stats, upstream));
    head(ret_text, "build_info", "gauge", "The version that runs");
    sb_text_add(ret_text, PREFIX "build_info{version=\"%s\"} 1\n", SB_VERSION);
}

static void counters(const sb_view_totals *totals, const sb_l1_stats *cache, sb_text *text)
{
    for (size_t i = 0; i < SB_ARRAY_SIZE(counter_rows); i++) {
        bool first = true;
        for (size_t k = 0; k < i && first; k++)
            first = strcmp(counter_rows[k].name, counter_rows[i].name) != 0;
        if (!first)
            continue;
        head(text, counter_rows[i].name, "counter", counter_rows[i].help);
        for (size_t k = i; k < SB_ARRAY_SIZE(counter_rows); k++) {
            if (strcmp(counter_rows[k].name, counter_rows[i].name) != 0)
                continue;
            const char *labels = counter_rows[k].labels;
            sb_text_add(text, PREFIX "%s%s%s%s %" PRIu64 "\n", counter_rows[k].name,
                        labels[0] ? "{" : "", labels, labels[0] ? "}" : "",
                        counter_value(totals, cache, (sb_counter)k));
        }
    }
}

static uint64_t counter_value(const sb_view_totals *totals, const sb_l1_stats *cache,
                              sb_counter counter)
{
    switch (counter) {
    case SB_COUNT_CACHE_WRITES:
        return cache->writes;
    case SB_COUNT_CACHE_EVICTIONS:
        return cache->evictions;
    case SB_COUNT_CACHE_EXPIRED:
        return cache->expired;
    case SB_COUNT_CACHE_DROPPED:
        return cache->dropped;
    case SB_COUNT_CACHE_TOO_BIG:
        return cache->too_big;
    default:
        return totals->counters[counter];
    }
}

static void gauges(const sb_http_front *front, const sb_view_totals *totals,
                   const sb_l1_stats *cache, sb_text *text)
{
    sb_engine *engine = front->engine;
    double rate = totals->window_attempts
                      ? (double)totals->window_errors / (double)totals->window_attempts
                      : 0;
    gauge(text, "up", "1 while questions can be answered", sb_engine_ready(engine) ? 1 : 0);
    gauge(text, "health_level", "0 healthy, 1 degraded, 2 unhealthy", (double)totals->level);
    gauge(text, "error_rate", "Errors per attempt over health.window", rate);
    gauge(text, "flights", "Flights under way", (double)sb_engine_flights(engine));
    gauge(text, "cache_entries", "Entries in the cache", (double)cache->entries);
    gauge(text, "cache_entries_counted", "1 once cache_entries is exact, 0 while it counts",
          cache->counted ? 1 : 0);
    gauge(text, "cache_capacity_bytes", "Size of the cache", (double)cache->capacity_bytes);
    gauge(text, "cache_used_bytes", "Bytes of the cache in use", (double)cache->used_bytes);
    gauge(text, "cache_in_file", "1 while the cache lies in its file, 0 in memory only",
          sb_l1_in_file(sb_engine_l1(engine)) ? 1 : 0);
    gauge(text, "last_resolution_timestamp_seconds", "When a question was last settled; 0 never",
          (double)totals->last_resolution_wall_ns / (double)SB_S);
}

static void head(sb_text *text, const char *name, const char *type, const char *help)
{
    sb_text_add(text, "# HELP " PREFIX "%s %s\n# TYPE " PREFIX "%s %s\n", name, help, name, type);
}

static void gauge(sb_text *text, const char *name, const char *help, double value)
{
    head(text, name, "gauge", help);
    sb_text_add(text, PREFIX "%s %.15g\n", name, value);
}

static void servers(sb_engine *engine, sb_text *text)
{
    for (size_t i = 0; i < SB_ARRAY_SIZE(server_metrics); i++) {
        server_listing listing = {.text = text, .metric = &server_metrics[i]};
        head(text, listing.metric->name, listing.metric->type, listing.metric->help);
        (void)sb_upstreams_each(sb_engine_upstreams(engine), server_sample, &listing);
    }
}

static bool server_sample(void *context, const sb_upstream *server)
{
    server_listing *listing = context;
    char address[SB_ADDR_TEXT_MAX];
    sb_text_add(listing->text, PREFIX "%s{server=", listing->metric->name);
    label(listing->text, sb_addr_text_port(&server->addr, address));
    sb_text_add(listing->text, ",name=");
    label(listing->text, server->name);
    sb_text_add(listing->text, ",protocol=\"%s\"} %.15g\n", server->tls ? "tls" : "udp",
                listing->metric->value(server));
    return true;
}

/* Quoted, with the three escapes of the format. */
static void label(sb_text *text, const char *value)
{
    sb_text_add_bytes(text, "\"", 1);
    for (const char *c = value; *c; c++) {
        if (*c == '\\' || *c == '"')
            sb_text_add(text, "\\%c", *c);
        else if (*c == '\n')
            sb_text_add(text, "\\n");
        else
            sb_text_add_bytes(text, c, 1);
    }
    sb_text_add_bytes(text, "\"", 1);
}

static void histogram(const sb_http_front *front, sb_text *text, const char *name,
                      const char *help, size_t offset)
{
    static const int64_t bounds_us[] = SB_HISTOGRAM_BOUNDS;
    uint64_t buckets[SB_HISTOGRAM_BUCKETS] = {0}, sum_us = 0, count = 0;
    histogram_add(sb_engine_stats(front->engine), offset, buckets, &sum_us);
    for (unsigned i = 0; i < front->worker_count; i++)
        histogram_add(front->worker_stats[i], offset, buckets, &sum_us);
    head(text, name, "histogram", help);
    for (size_t i = 0; i < SB_ARRAY_SIZE(bounds_us); i++) {
        count += buckets[i];
        sb_text_add(text, PREFIX "%s_bucket{le=\"%.15g\"} %" PRIu64 "\n", name,
                    (double)bounds_us[i] / 1e6, count);
    }
    count += buckets[SB_HISTOGRAM_BUCKETS - 1];
    sb_text_add(text, PREFIX "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, count);
    sb_text_add(text, PREFIX "%s_sum %.15g\n", name, (double)sum_us / 1e6);
    /* The sum of the buckets: their own count may be a moment ahead in another thread. */
    sb_text_add(text, PREFIX "%s_count %" PRIu64 "\n", name, count);
}

static void histogram_add(const sb_stats *stats, size_t offset, uint64_t *buckets,
                          uint64_t *ret_sum_us)
{
    const sb_histogram *h = (const sb_histogram *)(const void *)((const char *)stats + offset);
    for (size_t i = 0; i < SB_HISTOGRAM_BUCKETS; i++)
        buckets[i] += atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
    *ret_sum_us += atomic_load_explicit(&h->sum_us, memory_order_relaxed);
}
