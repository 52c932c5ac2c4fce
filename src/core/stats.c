/* Counters, latency histograms and the health window.
 *
 * One writer each; every atomic is relaxed: readers in other threads want recent numbers, not a
 * consistent instant. */
#include "core/stats.h"

#include <string.h>

static uint32_t second_of(sb_ns now);
static void add_to_window(sb_window *window, sb_ns now, uint32_t attempts, uint32_t errors);
static void add_32(_Atomic uint32_t *value, uint32_t more);
static void add_64(_Atomic uint64_t *value, uint64_t more);

void sb_stats_init(sb_stats *stats)
{
    memset(stats, 0, sizeof(*stats)); /* 43 KB: too much for a compound literal on a small stack */
}

void sb_histogram_add(sb_histogram *h, sb_ns duration)
{
    static const int64_t bounds_us[] = SB_HISTOGRAM_BOUNDS;
    _Static_assert(SB_ARRAY_SIZE(bounds_us) == SB_HISTOGRAM_BUCKETS - 1, "and one for +Inf");
    if (duration < 0)
        duration = 0;
    unsigned i = 0;
    while (i < SB_ARRAY_SIZE(bounds_us) && duration > bounds_us[i] * SB_US)
        i++;
    add_64(&h->buckets[i], 1);
    add_64(&h->count, 1);
    add_64(&h->sum_us, (uint64_t)(duration / SB_US));
}

void sb_stats_question(sb_stats *stats, sb_ns now, sb_ns wall_now, sb_ns took, bool hit, bool error)
{
    sb_count(stats, SB_COUNT_ATTEMPTS);
    sb_count(stats, hit ? SB_COUNT_HITS : SB_COUNT_MISSES);
    if (error)
        sb_count(stats, SB_COUNT_ERRORS);
    add_to_window(&stats->window, now, 1, error ? 1 : 0);
    sb_histogram_add(&stats->resolution, took);
    atomic_store_explicit(&stats->last_resolution_wall_ns, wall_now, memory_order_relaxed);
}

void sb_stats_errors_late(sb_stats *stats, sb_ns now, unsigned n)
{
    add_64(&stats->counters[SB_COUNT_ERRORS], n);
    add_to_window(&stats->window, now, 0, n);
}

void sb_window_sum(const sb_window *window, sb_ns now, unsigned window_s, uint64_t *ret_attempts,
                   uint64_t *ret_errors)
{
    uint64_t attempts = 0, errors = 0;
    uint32_t last = second_of(now);
    if (window_s > SB_WINDOW_MAX_S)
        window_s = SB_WINDOW_MAX_S;
    for (uint32_t back = 0; back < window_s && back <= last; back++) {
        size_t at = (last - back) % SB_ARRAY_SIZE(window->cells);
        /* Acquire pairs with the release above: the counts are those of the second, or later. */
        if (atomic_load_explicit(&window->cells[at].second, memory_order_acquire) != last - back)
            continue;
        attempts += atomic_load_explicit(&window->cells[at].attempts, memory_order_relaxed);
        errors += atomic_load_explicit(&window->cells[at].errors, memory_order_relaxed);
    }
    *ret_attempts = attempts;
    *ret_errors = errors;
}

const char *sb_level_text(sb_level level)
{
    static const char *const texts[] = {"healthy", "degraded", "unhealthy"};
    return (unsigned)level < SB_ARRAY_SIZE(texts) ? texts[level] : "unknown";
}

/* In whole numbers: 1 of 10 is exactly 100 ‰, which a quotient of doubles need not be. */
sb_level sb_level_of(uint64_t errors, uint64_t attempts, uint32_t degraded_permille,
                     uint32_t unhealthy_permille)
{
    unsigned __int128 share = (unsigned __int128)errors * 1000;
    if (share <= (unsigned __int128)attempts * degraded_permille || attempts == 0)
        return SB_LEVEL_HEALTHY;
    return share <= (unsigned __int128)attempts * unhealthy_permille ? SB_LEVEL_DEGRADED
                                                                     : SB_LEVEL_UNHEALTHY;
}

/* Boot seconds fit for 136 years; the env's clock is never negative. */
static uint32_t second_of(sb_ns now)
{
    return now > 0 ? (uint32_t)(now / SB_S) : 0;
}

static void add_to_window(sb_window *window, sb_ns now, uint32_t attempts, uint32_t errors)
{
    uint32_t second = second_of(now);
    size_t at = second % SB_ARRAY_SIZE(window->cells);
    _Atomic uint32_t *cell_second = &window->cells[at].second;
    if (atomic_load_explicit(cell_second, memory_order_relaxed) != second) {
        /* Emptied before it changes its second: a reader in between misses a moment. */
        atomic_store_explicit(&window->cells[at].attempts, 0, memory_order_relaxed);
        atomic_store_explicit(&window->cells[at].errors, 0, memory_order_relaxed);
        atomic_store_explicit(cell_second, second, memory_order_release);
    }
    add_32(&window->cells[at].attempts, attempts);
    add_32(&window->cells[at].errors, errors);
}

/* Not read-modify-write: there is one writer, and a locked instruction costs more than the hit. */
static void add_32(_Atomic uint32_t *value, uint32_t more)
{
    uint32_t old = atomic_load_explicit(value, memory_order_relaxed);
    atomic_store_explicit(value, old + more, memory_order_relaxed);
}

static void add_64(_Atomic uint64_t *value, uint64_t more)
{
    uint64_t old = atomic_load_explicit(value, memory_order_relaxed);
    atomic_store_explicit(value, old + more, memory_order_relaxed);
}
