/* The decayed histogram of round trips: quantiles, resolution, decay, extremes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "net/latency.h"

static void add(sb_latency *latency, unsigned times, sb_ns duration)
{
    for (unsigned i = 0; i < times; i++)
        sb_latency_add(latency, duration);
}

static void nothing_is_known_at_first(void **state)
{
    (void)state;
    sb_latency latency = {0};
    assert_int_equal(sb_latency_quantile(&latency, 500), 0);
    assert_int_equal(sb_latency_quantile(&latency, 990), 0);
}

/* Never below what was put in, and above by less than a quarter of an octave (19 %). */
static void resolution(void **state)
{
    (void)state;
    for (sb_ns duration = 128 * SB_US; duration < 20 * SB_S; duration += duration / 7) {
        sb_latency latency = {0};
        add(&latency, 1, duration);
        sb_ns median = sb_latency_quantile(&latency, 500);
        assert_true(median >= duration && median * 100 < duration * 120);
        assert_int_equal(sb_latency_quantile(&latency, 1000), median);
        assert_int_equal(sb_latency_quantile(&latency, 0), median);
    }
}

static void quantiles(void **state)
{
    (void)state;
    sb_latency latency = {0};
    add(&latency, 90, 10 * SB_MS);
    add(&latency, 9, 100 * SB_MS);
    add(&latency, 1, SB_S);
    sb_ns ten = sb_latency_quantile(&latency, 500);
    assert_true(ten >= 10 * SB_MS && ten < 12 * SB_MS);
    assert_int_equal(sb_latency_quantile(&latency, 900), ten);
    assert_true(sb_latency_quantile(&latency, 901) >= 100 * SB_MS);
    assert_true(sb_latency_quantile(&latency, 990) < 120 * SB_MS);
    assert_true(sb_latency_quantile(&latency, 991) >= SB_S);
    sb_ns before = 0;
    for (unsigned permille = 0; permille <= 1000; permille++) {
        sb_ns value = sb_latency_quantile(&latency, permille);
        assert_true(value >= before);
        before = value;
    }
}

static void extremes_stay_inside(void **state)
{
    (void)state;
    sb_latency latency = {0};
    add(&latency, 1, 0);
    add(&latency, 1, 1);
    assert_int_equal(sb_latency_quantile(&latency, 1000), 128 * SB_US);
    add(&latency, 2, SB_NEVER);
    sb_ns most = sb_latency_quantile(&latency, 1000);
    assert_true(most > 20 * SB_S && most < 40 * SB_S);
}

/* A server that got slow is known within the next few hundred questions, one that got quick too. */
static void old_samples_fade(void **state)
{
    (void)state;
    sb_latency latency = {0};
    add(&latency, 2000, 5 * SB_MS);
    add(&latency, 600, 80 * SB_MS);
    assert_true(sb_latency_quantile(&latency, 500) >= 80 * SB_MS);
    add(&latency, 3000, 5 * SB_MS);
    assert_true(sb_latency_quantile(&latency, 990) < 7 * SB_MS);
}

/* However long it runs, the weights fit, and their sum is the total. */
static void weights_never_overflow(void **state)
{
    (void)state;
    sb_latency latency = {0};
    for (unsigned i = 0; i < 200000; i++) {
        sb_latency_add(&latency, (sb_ns)(i % 100 ? 5 : 50) * SB_MS);
        if (i % 1000)
            continue;
        uint64_t sum = 0;
        for (unsigned k = 0; k < SB_LATENCY_BUCKETS; k++)
            sum += latency.weights[k];
        assert_int_equal(sum, latency.total);
        assert_true(latency.total <= 2 * 256 * 16);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_known_at_first),
        cmocka_unit_test(resolution),
        cmocka_unit_test(quantiles),
        cmocka_unit_test(extremes_stay_inside),
        cmocka_unit_test(old_samples_fade),
        cmocka_unit_test(weights_never_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
