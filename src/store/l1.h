/* What reader and writer of the cache file share: keys, life-cycle, and the entry as seen outside
 * (DESIGN §6).
 *
 * Values only. Any thread. */
#ifndef SB_STORE_L1_H
#define SB_STORE_L1_H

#include "core/env.h"
#include "dns/answer.h"
#include "dns/msg.h"

/* Eighths of a second on the file's own clock. Never 0 for "now". */
typedef uint32_t sb_tick;
#define SB_TICKS_PER_S 8

/* Name folded. view 0 = public. The reader's wildcard SB_VIEW_ANY takes the entry whose view fits
 * the header's network. */
typedef struct sb_l1_key {
    const sb_question *question;
    uint32_t view;
    uint32_t network; /* for putting: where it was learned; 0: as the answer says */
} sb_l1_key;
#define SB_VIEW_ANY UINT32_MAX
/* Pins and emergency addresses as entries: beside what was learned under the same question, never
 * in its place. Found only when asked for by name: SB_VIEW_ANY passes them by. */
#define SB_VIEW_PIN (UINT32_MAX - 1)
#define SB_VIEW_EMERGENCY (UINT32_MAX - 2)

/* flags of an entry in the file; SB_ANSWER_* flags are kept beside them */
enum {
    SB_L1_PLAIN = 1,     /* a reader may serve it without policy */
    SB_L1_PROTECTED = 2, /* evict last */
    SB_L1_PINNED = 4, /* pin or emergency address kept as an entry (for readers without daemon) */
    SB_L1_AD = 8,
    SB_L1_NO_SOA = 16,
    SB_L1_CHAIN_OPEN = 32,
    SB_L1_TENTATIVE = 128, /* public, but kept for its network alone; a later public one wins */
    SB_L1_AGE_UNKNOWN = 64 /* derived on read: learned before a clock break; stale, age unknown */
};

typedef struct sb_l1_life {
    sb_tick learned;     /* when the authority said it */
    sb_tick due;         /* end of the effective TTL (floor, cap): fresh until here */
    sb_tick expires;     /* end of the authority's own TTL: not stale until here */
    sb_tick stale_until; /* last use */
} sb_l1_life;

typedef struct sb_l1_entry {
    sb_l1_life life;
    uint32_t view, network;
    uint16_t flags; /* SB_L1_… */
    uint16_t rcode, ancount, nscount;
    uint8_t kind;   /* sb_kind */
    uint8_t source; /* sb_source */
    uint8_t protocol;
    uint32_t ttl_s; /* authority's */
    uint16_t epoch; /* policy epoch it was written (or restamped) at */
    int16_t ede;    /* upstream's info code or SB_EDE_NONE */
    sb_addr upstream;
    bool dnssec_ok, checking_disabled;
    /* borrowed from the buffer given to the lookup */
    const uint8_t *body;
    size_t body_size;
    const uint16_t *ttl_at;
    size_t ttl_count;
} sb_l1_entry;

/* What a lookup copies into: any payload fits. */
typedef struct sb_l1_buffer {
    _Alignas(16) uint8_t bytes[65536 + 2048];
} sb_l1_buffer;

/* Where an entry stands at `now`. */
typedef enum sb_freshness {
    SB_FRESH, /* before due */
    SB_DUE,   /* capped: due, but within the authority's TTL: not stale */
    SB_STALE, /* expired, within its stale age (or age unknown) */
    SB_DEAD   /* past its last use */
} sb_freshness;
#define SB_L1_AHEAD_MAX                                                                            \
    (2 * SB_TICKS_PER_S) /* a reader's clock lags behind the writer's: a beat                      \
                          */
static inline sb_freshness sb_l1_freshness(const sb_l1_entry *e, sb_tick now)
{
    if (e->flags & SB_L1_AGE_UNKNOWN)
        return SB_STALE;
    /* From the future: a torn page brought back the clock of before a break. As good as unknown. */
    if (e->life.learned > now && e->life.learned - now > SB_L1_AHEAD_MAX)
        return SB_STALE;
    if (now < e->life.due)
        return SB_FRESH;
    if (now < e->life.expires)
        return SB_DUE;
    return now < e->life.stale_until ? SB_STALE : SB_DEAD;
}

#endif
