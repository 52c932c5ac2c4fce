/* A decayed histogram of durations: how long a server usually takes, and how long at worst.
 *
 * Buckets grow by a quarter of an octave from 128 µs on; old samples lose half their weight every
 * 256 new ones. A value; never allocates. One owner thread. */
#ifndef SB_NET_LATENCY_H
#define SB_NET_LATENCY_H

#include "core/env.h"

#define SB_LATENCY_BUCKETS 72 /* up to 2^18 × 128 µs = 33 s */

typedef struct sb_latency {
    uint16_t weights[SB_LATENCY_BUCKETS]; /* 16 per new sample */
    uint32_t total;
    uint16_t fresh; /* samples since the last halving */
} sb_latency;

void sb_latency_add(sb_latency *latency, sb_ns duration);
/* The duration that `permille` of the samples do not exceed (upper end of its bucket); 0 without
 * samples. */
sb_ns sb_latency_quantile(const sb_latency *latency, unsigned permille);

#endif
