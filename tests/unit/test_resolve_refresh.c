/* Refreshing: the pace as a token bucket, and when an entry is due. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "resolve/refresh.h"

static unsigned take_all(sb_pace *pace, unsigned rate, sb_ns now)
{
    unsigned n = 0;
    while (n < 100000 && sb_pace_take(pace, rate, now))
        n++;
    return n;
}

static void a_tenth_of_a_second_is_kept(void **state)
{
    (void)state;
    sb_pace pace = {0};
    sb_ns now = 1000 * SB_S;
    assert_int_equal(take_all(&pace, 100, now), 10);
    assert_int_equal(take_all(&pace, 100, now), 0);
    assert_int_equal(take_all(&pace, 100, now + 50 * SB_MS), 4);
    assert_int_equal(take_all(&pace, 100, now + 1500 * SB_MS), 10);
    assert_int_equal(take_all(&pace, 100, now + 3600 * SB_S), 10); /* an hour is not saved up */
}

/* What lay ready is part of it. */
static void no_second_has_more(void **state)
{
    (void)state;
    sb_pace pace = {0};
    uint64_t taken = 0;
    for (sb_ns now = 1000 * SB_S; now <= 1001 * SB_S; now += SB_MS)
        taken += take_all(&pace, 100, now);
    assert_true(taken <= 100 && taken >= 95);
}

/* However often it is asked, and however finely, no more than the rate over any time; and no less
 * than half of it (fractions of a turn are lost). */
static void small_steps_keep_the_rate(void **state)
{
    (void)state;
    static const unsigned rates[] = {1, 3, 7, 100, 999, 10000};
    static const sb_ns steps[] = {SB_US, 700 * SB_US, 9 * SB_MS, 90 * SB_MS};
    for (size_t r = 0; r < SB_ARRAY_SIZE(rates); r++) {
        for (size_t s = 0; s < SB_ARRAY_SIZE(steps); s++) {
            sb_pace pace = {0};
            sb_ns start = 5000 * SB_S, now = start;
            sb_ns length = steps[s] < SB_MS ? 3 * SB_S : 30 * SB_S;
            uint64_t taken = take_all(&pace, rates[r], now), first = taken;
            assert_int_equal(first, rates[r] < 10 ? 1 : rates[r] / 10);
            for (; now - start < length; now += steps[s])
                taken += take_all(&pace, rates[r], now);
            uint64_t most = rates[r] * (uint64_t)(length / SB_S) + first;
            uint64_t least = most / 2;
            if (taken > most || taken < least)
                fail_msg("rate %u, steps of %lld us: %llu in %lld s", rates[r],
                         (long long)(steps[s] / SB_US), (unsigned long long)taken,
                         (long long)(length / SB_S));
        }
    }
}

static void rate_of_nothing(void **state)
{
    (void)state;
    sb_pace pace = {0};
    assert_int_equal(take_all(&pace, 0, 1000 * SB_S), 0);
    assert_int_equal(take_all(&pace, 0, 2000 * SB_S), 0);
}

/* A rate that a reload lowers holds at once. */
static void rate_lowered(void **state)
{
    (void)state;
    sb_pace pace = {0};
    sb_ns now = 1000 * SB_S;
    assert_true(sb_pace_take(&pace, 100, now));
    assert_true(take_all(&pace, 5, now + SB_S) <= 5);
}

static bool due(uint32_t permille, sb_tick now)
{
    sb_settings settings = {.cache.prefetch_permille = permille};
    sb_l1_entry entry = {
        .kind = SB_KIND_POSITIVE,
        .life = {.learned = 1000, .due = 2000, .expires = 2000, .stale_until = 9000},
    };
    return sb_refresh_is_due(&settings, &entry, now);
}

static void due_in_the_last_part(void **state)
{
    (void)state;
    assert_false(due(100, 1000));
    assert_false(due(100, 1899));
    assert_true(due(100, 1900));
    assert_true(due(100, 1999));
    assert_false(due(100, 2000)); /* over: that is the flight's business */
    assert_false(due(0, 1999));   /* off */
    assert_true(due(500, 1500));
    assert_false(due(500, 1499));
    assert_true(due(1000, 1000));
}

static void denials_are_not_prefetched(void **state)
{
    (void)state;
    sb_settings settings = {.cache.prefetch_permille = 100};
    sb_l1_entry entry = {
        .kind = SB_KIND_NXDOMAIN,
        .life = {.learned = 1000, .due = 2000, .expires = 2000, .stale_until = 9000},
    };
    assert_false(sb_refresh_is_due(&settings, &entry, 1950));
}

/* TTL 0 is stored already expired; and nothing overflows at the end of the file's clock. */
static void edges_of_the_clock(void **state)
{
    (void)state;
    sb_settings settings = {.cache.prefetch_permille = 100};
    sb_l1_entry entry = {
        .kind = SB_KIND_POSITIVE,
        .life = {.learned = 1000, .due = 1000, .expires = 1000, .stale_until = 9000},
    };
    assert_false(sb_refresh_is_due(&settings, &entry, 1000));
    entry.life = (sb_l1_life){.learned = 0,
                              .due = UINT32_MAX - 1,
                              .expires = UINT32_MAX - 1,
                              .stale_until = UINT32_MAX - 1};
    assert_false(sb_refresh_is_due(&settings, &entry, 1000));
    assert_true(sb_refresh_is_due(&settings, &entry, UINT32_MAX - 10));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tenth_of_a_second_is_kept),
        cmocka_unit_test(no_second_has_more),
        cmocka_unit_test(small_steps_keep_the_rate),
        cmocka_unit_test(rate_of_nothing),
        cmocka_unit_test(rate_lowered),
        cmocka_unit_test(due_in_the_last_part),
        cmocka_unit_test(denials_are_not_prefetched),
        cmocka_unit_test(edges_of_the_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
