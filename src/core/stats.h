/* Counters, the health window and latency histograms: one table gives names, help and Prometheus
 * types.
 *
 * One writer per sb_stats (the loop, or a worker for its own); counters are atomics written
 * relaxed, so that any thread may read. */
#ifndef SB_CORE_STATS_H
#define SB_CORE_STATS_H

#include <stdatomic.h>

#include "core/env.h"

/* id, metric name without the stubborn_ prefix and labels, help. Names that share a family are told
 * apart by labels. */
#define SB_COUNTER_TABLE(X)                                                                        \
    X(ATTEMPTS, "resolution_attempts_total", "", "Questions asked")                                \
    X(HITS, "cache_hits_total", "", "Questions answered from the cache, stale ones included")      \
    X(MISSES, "cache_misses_total", "", "Questions that needed a flight")                          \
    X(ERRORS, "resolution_errors_total", "",                                                       \
      "Questions whose flight failed upstream, rescued or not")                                    \
    X(FAILURES, "resolution_failures_total", "", "Questions answered with a failure")              \
    X(FALLBACK_STALE, "fallback_uses_total", "kind=\"stale\"", "Fallback answers by kind")         \
    X(FALLBACK_EMERGENCY, "fallback_uses_total", "kind=\"emergency\"", "")                         \
    X(FALLBACK_GUESS, "fallback_uses_total", "kind=\"guess\"", "")                                 \
    X(FALLBACK_CAP, "fallback_uses_total", "kind=\"capped\"", "")                                  \
    X(QUALIFIED, "health_qualified_total", "",                                                     \
      "Fallback answers and pins served without the addresses known to be dead")                   \
    X(COALESCED, "coalesced_total", "", "Questions that joined a running flight")                  \
    X(FLIGHTS, "flights_total", "", "Flights started")                                             \
    X(PREFETCHES, "refreshes_total", "", "Flights started without a waiter")                       \
    X(UP_QUERIES, "upstream_queries_total", "", "Queries sent upstream")                           \
    X(UP_RESPONSES, "upstream_responses_total", "", "Valid responses")                             \
    X(HEDGES, "hedges_total", "", "Second servers asked because the first was slow")               \
    X(UP_TIMEOUTS, "upstream_timeouts_total", "", "Attempts that timed out")                       \
    X(UP_SERVFAIL, "upstream_failures_total", "rcode=\"servfail\"", "Failure responses")           \
    X(UP_REFUSED, "upstream_failures_total", "rcode=\"refused\"", "")                              \
    X(UP_OTHER, "upstream_failures_total", "rcode=\"other\"", "")                                  \
    X(UP_UNREACHABLE, "upstream_unreachable_total", "", "Attempts ended by a network error")       \
    X(UP_REJECTED, "upstream_rejected_total", "", "Packets that did not match their question")     \
    X(UP_TRUNCATED, "upstream_truncated_total", "", "Responses retried over TCP")                  \
    X(UP_UNPROVEN, "upstream_unproven_total", "",                                                  \
      "Responses without the question's case or the cookie, asked again over TCP")                 \
    X(UP_CROWDED, "upstream_crowded_total", "", "Exchanges moved to TCP by near misses")           \
    X(UP_CONNECTIONS, "upstream_connections_total", "", "TCP and TLS connections opened")          \
    X(CACHE_WRITES, "cache_writes_total", "", "Entries written")                                   \
    X(CACHE_EVICTIONS, "cache_evictions_total", "", "Living entries evicted for room")             \
    X(CACHE_EXPIRED, "cache_expired_total", "", "Entries found past their last use")               \
    X(CACHE_DROPPED, "cache_dropped_total", "", "Entries dropped because they did not check")      \
    X(CACHE_TOO_BIG, "cache_too_big_total", "", "Answers too large for the cache")                 \
    X(LIMIT_FLIGHTS, "limit_reached_total", "limit=\"flights\"",                                   \
      "Times a named maximum was reached")                                                         \
    X(LIMIT_WAITERS, "limit_reached_total", "limit=\"waiters\"", "")                               \
    X(LIMIT_CLIENT, "limit_reached_total", "limit=\"questions_per_client\"", "")                   \
    X(LIMIT_TCP, "limit_reached_total", "limit=\"tcp_clients\"", "")                               \
    X(LIMIT_HEDGES, "limit_reached_total", "limit=\"hedges\"", "")                                 \
    X(LIMIT_REFRESHES, "limit_reached_total", "limit=\"refreshes\"", "")                           \
    X(LIMIT_ARENA, "limit_reached_total", "limit=\"bytes_per_question\"", "")                      \
    X(LIMIT_QUEUE, "limit_reached_total", "limit=\"worker_queue\"", "")                            \
    X(LIMIT_QUESTIONS, "limit_reached_total", "limit=\"questions\"", "")                           \
    X(LIMIT_PIPELINE, "limit_reached_total", "limit=\"pipeline\"", "")                             \
    X(LIMIT_UP_PIPELINE, "limit_reached_total", "limit=\"upstream_pipeline\"", "")                 \
    X(LIMIT_TCP_PER_CLIENT, "limit_reached_total", "limit=\"tcp_per_client\"", "")                 \
    X(LIMIT_TCP_IDLE, "limit_reached_total", "limit=\"tcp_idle\"", "")                             \
    X(LIMIT_CONTROL, "limit_reached_total", "limit=\"control_clients\"", "")                       \
    X(LIMIT_PROBES, "limit_reached_total", "limit=\"probes_per_second\"", "")                      \
    X(LIMIT_PROBES_UNDERWAY, "limit_reached_total", "limit=\"probes_under_way\"", "")              \
    X(LIMIT_CUSTODIES, "limit_reached_total", "limit=\"pins_watched\"", "")                        \
    X(LIMIT_DIAG, "limit_reached_total", "limit=\"sockets_looked_at\"", "")                        \
    X(LIMIT_ADDRESSES, "limit_reached_total", "limit=\"network_addresses\"", "")                   \
    X(LIMIT_PARKED, "limit_reached_total", "limit=\"answers_parked\"", "")                         \
    X(PROBES_ALIVE, "probes_total", "result=\"alive\"", "Endpoints probed by a TCP connection")    \
    X(PROBES_REFUSED, "probes_total", "result=\"refused\"", "")                                    \
    X(PROBES_DEAD, "probes_total", "result=\"dead\"", "")                                          \
    X(PROBES_UNKNOWN, "probes_total", "result=\"unknown\"", "")                                    \
    X(DIAG_FOUND, "connection_lookups_total", "result=\"found\"",                                  \
      "Look-ups of established connections to an endpoint")                                        \
    X(DIAG_NONE, "connection_lookups_total", "result=\"none\"", "")                                \
    X(DIAG_UNKNOWN, "connection_lookups_total", "result=\"unknown\"", "")                          \
    X(NETWORK_CHANGES, "network_changes_total", "change=\"network\"",                              \
      "Changes of the network that were noticed")                                                  \
    X(NETWORK_REACH, "network_changes_total", "change=\"reach\"", "")                              \
    X(NETWORK_MOVES, "network_moves_total", "",                                                    \
      "Changes after which private answers of before are not served")                              \
    X(NETWORK_SUSPECTED, "suspected_answers_total", "",                                            \
      "Answers kept from replacing the last good one after a network change")                      \
    X(LOOPS, "forwarding_loops_total", "", "Servers found to send questions back here")            \
    X(NETWORK_LOST, "network_messages_lost_total", "",                                             \
      "Times the kernel had no room for messages to the network monitor")                          \
    X(FRONT_UDP, "front_queries_total", "transport=\"udp\"", "Queries received")                   \
    X(FRONT_TCP, "front_queries_total", "transport=\"tcp\"", "")                                   \
    X(FRONT_UNIX, "front_queries_total", "transport=\"unix\"", "")                                 \
    X(FRONT_MALFORMED, "front_malformed_total", "", "Client messages that did not parse")          \
    X(FRONT_REFUSED, "front_refused_total", "", "Queries refused by listen.allow")                 \
    X(FRONT_DROPPED, "front_dropped_total", "", "Queries dropped by the rate for refused clients") \
    X(FRONT_TRUNCATED, "front_truncated_total", "", "Replies truncated to the client's size")      \
    X(STRATEGY_PIN, "strategy_answers_total", "strategy=\"pin\"",                                  \
      "Flights settled by each strategy")                                                          \
    X(STRATEGY_HOSTS, "strategy_answers_total", "strategy=\"hosts\"", "")                          \
    X(STRATEGY_CACHED, "strategy_answers_total", "strategy=\"cached\"", "")                        \
    X(STRATEGY_WIRE, "strategy_answers_total", "strategy=\"wire\"", "")                            \
    X(STRATEGY_STALE, "strategy_answers_total", "strategy=\"stale\"", "")                          \
    X(STRATEGY_EMERGENCY, "strategy_answers_total", "strategy=\"emergency\"", "")                  \
    X(CONFIG_RELOADS, "config_reloads_total", "", "Successful reloads")
typedef enum sb_counter {
#define SB_COUNTER_ENUM(id, name, labels, help) SB_COUNT_##id,
    SB_COUNTER_TABLE(SB_COUNTER_ENUM)
#undef SB_COUNTER_ENUM
        SB_COUNTER_COUNT
} sb_counter;

/* Upper bounds in microseconds; the last bucket is +Inf. */
#define SB_HISTOGRAM_BOUNDS                                                                        \
    {                                                                                              \
        10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000,  \
            1000000, 2500000, 10000000                                                             \
    }
#define SB_HISTOGRAM_BUCKETS 19
typedef struct sb_histogram {
    _Atomic uint64_t buckets[SB_HISTOGRAM_BUCKETS]; /* not cumulative */
    _Atomic uint64_t count, sum_us;
} sb_histogram;

#define SB_WINDOW_MAX_S 3600
/* attempts and errors per second of a sliding window. */
typedef struct sb_window {
    struct {
        _Atomic uint32_t second; /* boot second this cell counts */
        _Atomic uint32_t attempts;
        _Atomic uint32_t errors;
    } cells[SB_WINDOW_MAX_S + 1];
} sb_window;

typedef struct sb_stats {
    _Atomic uint64_t counters[SB_COUNTER_COUNT];
    sb_histogram resolution; /* of every question settled */
    sb_histogram upstream;   /* round trips */
    sb_window window;
    _Atomic int64_t last_resolution_wall_ns; /* 0 = never */
} sb_stats;

void sb_stats_init(sb_stats *stats);
static inline void sb_count(sb_stats *stats, sb_counter counter)
{
    /* Single writer: a plain load and store suffice; atomics only make the readers' view defined.
     */
    uint64_t value = atomic_load_explicit(&stats->counters[counter], memory_order_relaxed);
    atomic_store_explicit(&stats->counters[counter], value + 1, memory_order_relaxed);
}
static inline uint64_t sb_stats_get(const sb_stats *stats, sb_counter counter)
{
    return atomic_load_explicit(&stats->counters[counter], memory_order_relaxed);
}
void sb_histogram_add(sb_histogram *h, sb_ns duration);
/* One settled question: counts ATTEMPTS, ERRORS, HITS or MISSES, the window cell and the histogram.
 */
void sb_stats_question(sb_stats *stats, sb_ns now, sb_ns wall_now, sb_ns took, bool hit,
                       bool error);
/* n errors of questions that were settled before their flight was known to have failed. */
void sb_stats_errors_late(sb_stats *stats, sb_ns now, unsigned n);
/* Sums over the last window_s seconds (1…SB_WINDOW_MAX_S), the running second included. */
void sb_window_sum(const sb_window *window, sb_ns now, unsigned window_s, uint64_t *ret_attempts,
                   uint64_t *ret_errors);

typedef enum sb_level { SB_LEVEL_HEALTHY, SB_LEVEL_DEGRADED, SB_LEVEL_UNHEALTHY } sb_level;
const char *sb_level_text(sb_level level);
/* healthy: errors/attempts <= degraded; degraded: <= unhealthy; thresholds in thousandths. No
 * attempts: healthy. */
sb_level sb_level_of(uint64_t errors, uint64_t attempts, uint32_t degraded_permille,
                     uint32_t unhealthy_permille);

#endif
