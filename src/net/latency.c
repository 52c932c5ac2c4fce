/* See latency.h. */
#include "net/latency.h"

#define LEAST (128 * SB_US)
#define SAMPLE 16u
#define HALVE_AFTER                                                                                \
    256u /* some seconds of traffic: a server that got slow is known within them                   \
          */

/* Upper end of a bucket: LEAST × 2^(i/4). */
static sb_ns upper(unsigned i)
{
    static const uint16_t quarter[4] = {1000, 1189, 1414, 1682}; /* 2^(k/4) in thousandths */
    return (LEAST << (i / 4)) / 1000 * quarter[i % 4];
}

static unsigned bucket_of(sb_ns duration)
{
    unsigned low = 0, high = SB_LATENCY_BUCKETS - 1;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (duration <= upper(middle))
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

void sb_latency_add(sb_latency *latency, sb_ns duration)
{
    if (latency->fresh >= HALVE_AFTER) {
        latency->fresh = 0;
        latency->total = 0;
        for (unsigned i = 0; i < SB_LATENCY_BUCKETS; i++) {
            latency->weights[i] /= 2;
            latency->total += latency->weights[i];
        }
    }
    latency->weights[bucket_of(duration)] += SAMPLE;
    latency->total += SAMPLE;
    latency->fresh++;
}

sb_ns sb_latency_quantile(const sb_latency *latency, unsigned permille)
{
    uint64_t wanted = (uint64_t)latency->total * permille, seen = 0;
    if (latency->total == 0)
        return 0;
    for (unsigned i = 0; i < SB_LATENCY_BUCKETS; i++) {
        seen += latency->weights[i];
        if (seen * 1000 >= wanted && seen > 0)
            return upper(i);
    }
    return upper(SB_LATENCY_BUCKETS - 1);
}
