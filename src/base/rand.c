/* xoshiro256** 1.0 (Blackman and Vigna, public domain algorithm), seeded through splitmix64. */
#include "base/rand.h"

static uint64_t rotate(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

void sb_rand_seed(sb_rand *r, uint64_t seed)
{
    /* splitmix64 never yields four zeros in a row, the one state xoshiro cannot leave. */
    for (unsigned i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15u;
        uint64_t z = seed;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        r->s[i] = z ^ z >> 31;
    }
}

uint64_t sb_rand_u64(sb_rand *r)
{
    uint64_t *s = r->s;
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t sb_rand_below(sb_rand *r, uint64_t bound)
{
    if (bound == 0)
        return 0;
    /* Rejects the incomplete last interval (2^64 mod bound), so that every value is as likely. */
    uint64_t threshold = (0 - bound) % bound;
    uint64_t value;
    do {
        value = sb_rand_u64(r);
    } while (value < threshold);
    return value % bound;
}

int64_t sb_rand_range(sb_rand *r, int64_t low, int64_t high)
{
    if (high <= low)
        return low;
    uint64_t span = (uint64_t)high - (uint64_t)low + 1; /* 0 when the range is all of int64 */
    uint64_t offset = span ? sb_rand_below(r, span) : sb_rand_u64(r);
    return (int64_t)((uint64_t)low + offset);
}

bool sb_rand_chance(sb_rand *r, uint32_t permille)
{
    return sb_rand_below(r, 1000) < permille;
}
