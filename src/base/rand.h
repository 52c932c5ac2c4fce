/* Deterministic random numbers (xoshiro256**) for simulation, jitter and load spreading.
 *
 * Never for anything an attacker must not guess: that comes from env entropy. One owner thread. */
#ifndef SB_BASE_RAND_H
#define SB_BASE_RAND_H

#include <stdbool.h>
#include <stdint.h>

typedef struct sb_rand {
    uint64_t s[4];
} sb_rand;

void sb_rand_seed(sb_rand *r, uint64_t seed);
uint64_t sb_rand_u64(sb_rand *r);
/* Uniform in [0, bound); bound 0 gives 0. */
uint64_t sb_rand_below(sb_rand *r, uint64_t bound);
/* Uniform in [low, high], both ends included. */
int64_t sb_rand_range(sb_rand *r, int64_t low, int64_t high);
/* True with the given chance in thousandths. */
bool sb_rand_chance(sb_rand *r, uint32_t permille);

#endif
