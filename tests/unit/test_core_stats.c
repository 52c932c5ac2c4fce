/* Health levels at their very boundaries, the sliding window, histograms, counters and events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "core/event.h"
#include "core/stats.h"

static sb_stats stats; /* 43 KB: not on the stack */

static void levels_change_above_their_thresholds(void **state)
{
    (void)state;
    static const struct {
        uint64_t errors, attempts;
        sb_level level;
    } table[] = {
        {0, 0, SB_LEVEL_HEALTHY},
        {0, 1, SB_LEVEL_HEALTHY},
        {1, 10, SB_LEVEL_HEALTHY}, /* exactly 10 % */
        {100, 1000, SB_LEVEL_HEALTHY},
        {101, 1000, SB_LEVEL_DEGRADED},
        {2, 19, SB_LEVEL_DEGRADED},
        {7, 10, SB_LEVEL_DEGRADED}, /* exactly 70 % */
        {700000000, 1000000000, SB_LEVEL_DEGRADED},
        {700000001, 1000000000, SB_LEVEL_UNHEALTHY},
        {100000000, 1000000000, SB_LEVEL_HEALTHY},
        {100000001, 1000000000, SB_LEVEL_DEGRADED},
        {8, 10, SB_LEVEL_UNHEALTHY},
        {1, 1, SB_LEVEL_UNHEALTHY},
        {3, 0, SB_LEVEL_HEALTHY}, /* late errors of questions that left the window */
        {UINT64_MAX, UINT64_MAX, SB_LEVEL_UNHEALTHY},
        {UINT64_MAX / 10, UINT64_MAX, SB_LEVEL_HEALTHY},
        {UINT64_MAX / 10 + 1, UINT64_MAX, SB_LEVEL_DEGRADED},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++)
        assert_int_equal(sb_level_of(table[i].errors, table[i].attempts, 100, 700), table[i].level);
    assert_int_equal(sb_level_of(1, 1000, 0, 0), SB_LEVEL_UNHEALTHY);
    assert_int_equal(sb_level_of(10, 10, 1000, 1000), SB_LEVEL_HEALTHY);
    assert_string_equal(sb_level_text(SB_LEVEL_DEGRADED), "degraded");
    assert_string_equal(sb_level_text((sb_level)9), "unknown");
}

static void assert_window(sb_ns now, unsigned window_s, uint64_t attempts, uint64_t errors)
{
    uint64_t a, e;
    sb_window_sum(&stats.window, now, window_s, &a, &e);
    assert_int_equal(a, attempts);
    assert_int_equal(e, errors);
}

static void the_window_slides(void **state)
{
    (void)state;
    sb_stats_init(&stats);
    /* One question a second, every tenth with an error, for two minutes from second 1000. */
    for (int s = 0; s < 120; s++)
        sb_stats_question(&stats, (1000 + s) * SB_S + 5, 7, SB_MS, s % 2 == 0, s % 10 == 0);
    assert_window(1119 * SB_S + 999999999, 60, 60, 6);
    assert_window(1119 * SB_S, 1, 1, 0);
    assert_window(1110 * SB_S, 1, 1, 1);
    assert_window(1120 * SB_S, 60, 59, 5); /* second 1060 left, with its error */
    assert_window(1129 * SB_S, 60, 50, 5);
    assert_window(1130 * SB_S, 60, 49, 4);
    assert_window(1179 * SB_S, 60, 0, 0);
    assert_window(1119 * SB_S, 3600, 120, 12);
    assert_window(1119 * SB_S, 100000, 120, 12); /* clamped */
    assert_int_equal(sb_stats_get(&stats, SB_COUNT_ATTEMPTS), 120);
    assert_int_equal(sb_stats_get(&stats, SB_COUNT_HITS), 60);
    assert_int_equal(sb_stats_get(&stats, SB_COUNT_MISSES), 60);
    assert_int_equal(sb_stats_get(&stats, SB_COUNT_ERRORS), 12);
    assert_int_equal(atomic_load(&stats.last_resolution_wall_ns), 7);
}

static void a_cell_is_used_again_an_hour_later(void **state)
{
    (void)state;
    sb_stats_init(&stats);
    sb_stats_question(&stats, 5 * SB_S, 1, 0, false, true);
    assert_window(5 * SB_S, 3600, 1, 1);
    assert_window((5 + 3599) * SB_S, 3600, 1, 1);
    assert_window((5 + 3600) * SB_S, 3600, 0, 0);
    /* The same cell, 3601 seconds on: the old counts are gone. */
    sb_stats_question(&stats, (5 + 3601) * SB_S, 1, 0, true, false);
    assert_window((5 + 3601) * SB_S, 3600, 1, 0);
    assert_window(0, 60, 0, 0); /* right after a boot */
}

static void late_errors_count_without_an_attempt(void **state)
{
    (void)state;
    sb_stats_init(&stats);
    sb_stats_question(&stats, 10 * SB_S, 1, 0, true, false);
    sb_stats_errors_late(&stats, 12 * SB_S, 1);
    assert_window(12 * SB_S, 60, 1, 1);
    assert_window(12 * SB_S, 2, 0, 1);
    assert_int_equal(sb_stats_get(&stats, SB_COUNT_ATTEMPTS), 1);
    assert_int_equal(sb_stats_get(&stats, SB_COUNT_ERRORS), 1);
}

static void histogram_bounds_are_inclusive(void **state)
{
    (void)state;
    sb_histogram h;
    memset(&h, 0, sizeof(h));
    sb_histogram_add(&h, -5); /* a clock that went wrong counts as nothing */
    sb_histogram_add(&h, 10 * SB_US);
    sb_histogram_add(&h, 10 * SB_US + 1);
    sb_histogram_add(&h, 10 * SB_S);
    sb_histogram_add(&h, 10 * SB_S + 1);
    assert_int_equal(atomic_load(&h.buckets[0]), 2);
    assert_int_equal(atomic_load(&h.buckets[1]), 1);
    assert_int_equal(atomic_load(&h.buckets[SB_HISTOGRAM_BUCKETS - 2]), 1);
    assert_int_equal(atomic_load(&h.buckets[SB_HISTOGRAM_BUCKETS - 1]), 1);
    assert_int_equal(atomic_load(&h.count), 5);
    assert_int_equal(atomic_load(&h.sum_us), 20 + 20000000);
}

/* --- events --- */

static sb_ns fixed_now(sb_env *env)
{
    (void)env;
    return 77;
}

static const sb_env_ops clock_only = {.now = fixed_now};

static void count_event(void *context, const sb_event *event)
{
    assert_int_equal(event->at, 77);
    *(uint64_t *)context += event->a;
}

static void events_are_stamped_kept_and_read(void **state)
{
    (void)state;
    sb_env env;
    sb_events events;
    uint64_t sums[4] = {0};
    sb_env_init(&env, &clock_only, 1);
    assert_int_equal(sb_events_init(&events, &env, 3), SB_INVALID);
    assert_int_equal(sb_events_init(&events, &env, 4), SB_OK);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(sb_events_attach(&events, count_event, &sums[i]), SB_OK);
    assert_int_equal(sb_events_attach(&events, count_event, &sums[0]), SB_LIMIT);
    for (uint32_t i = 1; i <= 5; i++)
        sb_events_emit(&events, (sb_event){.type = SB_EVENT_QUERY, .a = i});
    assert_int_equal(events.count, 5);
    assert_int_equal(events.ring[0].a, 5); /* the fifth took the place of the first */
    assert_int_equal(events.ring[1].a, 2);
    assert_int_equal(events.ring[0].at, 77);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(sums[i], 15);
    sb_events_fini(&events);
    assert_int_equal(sb_events_init(&events, &env, 0), SB_OK); /* no ring: readers only */
    sb_events_emit(&events, (sb_event){.type = SB_EVENT_QUERY});
    assert_int_equal(events.count, 1);
    sb_events_fini(&events);
    assert_string_equal(sb_event_text(SB_EVENT_SERVER_DOWN), "server-down");
    assert_string_equal(sb_event_text(SB_EVENT_COUNT), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_change_above_their_thresholds),
        cmocka_unit_test(the_window_slides),
        cmocka_unit_test(a_cell_is_used_again_an_hour_later),
        cmocka_unit_test(late_errors_count_without_an_attempt),
        cmocka_unit_test(histogram_bounds_are_inclusive),
        cmocka_unit_test(events_are_stamped_kept_and_read),
    };
    return cmocka_run_group_tests_name("core_stats", tests, NULL, NULL);
}
