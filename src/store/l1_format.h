/* The cache file on disk, format version 1 (DESIGN §6; docs/CACHE-FILE.md says the same in prose).
 * FROZEN.
 *
 * Owns every offset and bit of the file, and the few functions reader and writer share. Nothing
 * outside store/ and its tests includes it. All numbers are in host byte order: the file never
 * leaves its machine. Any thread. */
#ifndef SB_STORE_L1_FORMAT_H
#define SB_STORE_L1_FORMAT_H

#include <stdatomic.h>

#include "store/l1_read.h"

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "shared between processes: no hidden locks");

#define SB_L1_MAGIC UINT64_C(0x6e726f6262757473) /* "stubborn" where bytes are little-endian */
#define SB_L1_FORMAT 1u
#define SB_L1_FORMAT_MAX 255u /* a format beyond it is damage, not a newer version */
#define SB_L1_BYTE_ORDER 0x01020304u
#define SB_L1_PAGE 4096u
#define SB_L1_UNIT 16u                      /* references count units of 16 bytes */
#define SB_L1_FILE_MAX (UINT64_C(64) << 30) /* what 32 bits of units reach */

/* Page 0. [0, 64) is constant after creation and checksummed; the rest is written by the writer
 * only. */
enum {
    SB_L1_AT_MAGIC = 0,        /* u64 */
    SB_L1_AT_FORMAT = 8,       /* u32 */
    SB_L1_AT_BYTE_ORDER = 12,  /* u32 */
    SB_L1_AT_SIZE = 16,        /* u64, of the file; a multiple of the page */
    SB_L1_AT_SEED = 24,        /* u64, of both hashes; the only secret */
    SB_L1_AT_BUCKETS = 32,     /* u32 */
    SB_L1_AT_SLABS = 36,       /* u32 */
    SB_L1_AT_SLAB_SHIFT = 40,  /* u32, 12 to 16 */
    SB_L1_AT_SUM = 60,         /* u32 over [0, 60); 44..59 are zero */
    SB_L1_AT_STAMP = 64,       /* u64: network u32, policy epoch u16, network epoch u16 (high) */
    SB_L1_AT_RETIRED = 72,     /* u32: 1 = another inode has taken this one's place */
    SB_L1_AT_UNKNOWN = 76,     /* u32 tick: what was learned before is of unknown age */
    SB_L1_AT_ANCHOR_TURN = 80, /* u64: its lowest bit names the valid copy of the anchor */
    SB_L1_AT_CLIENT_TURN = 88, /* u64: the same for the client settings */
    SB_L1_AT_ANCHOR = 512,     /* two copies, each in its own 512-byte sector */
    SB_L1_AT_CLIENT = 1536,    /* two copies */
    SB_L1_COPY_STRIDE = 512
};
/* Page 1: upstreams, 128 × 32 bytes. Number 0 is "nobody"; its place holds the magic again, so
 * that a file whose first page was lost is known as ours. Page 2: the slab table, u32 each
 * (class:8, slots given out once:24, a hint), then the index, then, at the very end, the slabs. */
#define SB_L1_AT_UPSTREAMS 4096u
#define SB_L1_UPSTREAMS 128u
#define SB_L1_UPSTREAM_SIZE 32u
#define SB_L1_AT_TABLE 8192u

typedef struct sb_l1_anchor {
    uint8_t boot_id[16];
    int64_t boot_ns; /* the instant `tick` began, in both clocks */
    int64_t wall_ns;
    uint32_t tick; /* also the heartbeat */
    uint32_t policy_hash;
    uint32_t clean; /* 1: closed in order */
    uint32_t reserved[4];
    uint32_t sum; /* over the bytes before */
} sb_l1_anchor;
_Static_assert(sizeof(sb_l1_anchor) == 64, "frozen");

typedef struct sb_l1_client_block {
    sb_l1_client_settings settings;
    uint32_t reserved;
    uint32_t sum;
} sb_l1_client_block;
_Static_assert(sizeof(sb_l1_client_settings) == 376, "frozen");
_Static_assert(sizeof(sb_l1_client_block) == 384, "frozen");

typedef struct sb_l1_upstream {
    sb_addr addr;
    uint32_t sum;
    uint32_t reserved;
} sb_l1_upstream;
_Static_assert(sizeof(sb_addr) == 24 && sizeof(sb_l1_upstream) == SB_L1_UPSTREAM_SIZE, "frozen");

/* Index: buckets of 64 bytes = eight ways of u64. A way is published by one store: kill -9 cannot
 * tear it. low to high: reference u32 (0 = empty), tag u16, view tag u8, sequence u8 (bumped by
 * every store). */
#define SB_L1_WAYS 8u
#define SB_L1_BUCKET 64u
static inline uint32_t sb_l1_way_ref(uint64_t way)
{
    return (uint32_t)way;
}
static inline uint16_t sb_l1_way_tag(uint64_t way)
{
    return (uint16_t)(way >> 32);
}
static inline uint8_t sb_l1_way_view(uint64_t way)
{
    return (uint8_t)(way >> 48);
}
static inline uint64_t sb_l1_way_make(uint64_t old, uint32_t ref, uint16_t tag, uint8_t view)
{
    uint64_t sequence = ((old >> 56) + 1) & 255;
    return sequence << 56 | (uint64_t)view << 48 | (uint64_t)tag << 32 | ref;
}

/* Slab classes: 1–32 are 16-byte steps up to 512, 33–39 double up to 64 KiB; 0 = given to nobody.
 * */
#define SB_L1_CLASSES 40u
#define SB_L1_SLOT_MAX 65536u
static inline uint32_t sb_l1_class_bytes(unsigned class)
{
    return class <= 32 ? class * SB_L1_UNIT : 512u << (class - 32);
}

/* A slot. The first eight bytes are one atomic: checksum u32, flags u16, epoch u16 (high), 0 while
 * it is written. Then u32 words, then one u32 for every bit of EXT (lowest first), the TTL offsets
 * u16, the body. */
enum {
    SB_L1_SLOT_STAMP = 0,
    SB_L1_SLOT_LEARNED = 8,
    SB_L1_SLOT_DUE = 12,
    SB_L1_SLOT_EXPIRES = 16,
    SB_L1_SLOT_STALE_UNTIL = 20,
    SB_L1_SLOT_NETWORK = 24,
    SB_L1_SLOT_KIND = 28,   /* body size:16 rcode:12 kind:4 */
    SB_L1_SLOT_COUNTS = 32, /* answers:10 authorities:10 ttls:10 DO:1 CD:1 */
    SB_L1_SLOT_ORIGIN = 36, /* upstream:7 source:5 ext:4 protocol:3 upstream's checksum:13 */
    SB_L1_SLOT_HEADER = 40
};
enum {
    SB_L1_EXT_VIEW = 1,  /* absent: 0 */
    SB_L1_EXT_TTL = 2,   /* absent: (expires - learned) in whole seconds */
    SB_L1_EXT_STATE = 4, /* EDE:16 validation:4 reserved:12; absent: no EDE, never validated */
    SB_L1_EXT_FUTURE = 8 /* skipped by readers that do not know it */
};
/* Flags that are the answer's own: a restamp leaves them. */
#define SB_L1_CONTENT_FLAGS (SB_L1_AD | SB_L1_NO_SOA | SB_L1_CHAIN_OPEN | SB_L1_TENTATIVE)

/* Loads and stores of shared bytes: relaxed atomics, ordered by the named fences and stores around
 * them. */
static inline uint64_t sb_l1_load64(const void *base, uint64_t at, memory_order order)
{
    return atomic_load_explicit((const _Atomic uint64_t *)(const void *)((const char *)base + at),
                                order);
}
static inline uint32_t sb_l1_load32(const void *base, uint64_t at, memory_order order)
{
    return atomic_load_explicit((const _Atomic uint32_t *)(const void *)((const char *)base + at),
                                order);
}
static inline void sb_l1_store64(void *base, uint64_t at, uint64_t value, memory_order order)
{
    atomic_store_explicit((_Atomic uint64_t *)(void *)((char *)base + at), value, order);
}
static inline void sb_l1_store32(void *base, uint64_t at, uint32_t value, memory_order order)
{
    atomic_store_explicit((_Atomic uint32_t *)(void *)((char *)base + at), value, order);
}
/* gcc warns that its thread sanitizer does not model fences; no plain access here leans on one. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wtsan"
#endif
static inline void sb_l1_fence(memory_order order)
{
    atomic_thread_fence(order);
}
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
/* size is rounded up to words of eight bytes; at and the buffers are aligned to eight. */
void sb_l1_copy_out(void *to, const void *base, uint64_t at, size_t size);
void sb_l1_copy_in(void *base, uint64_t at, const void *from, size_t size);

/* Where things lie; loaded anew for each call and bounded by the mapping, because a hostile writer
 * may change the header under a reader. */
typedef struct sb_l1_geometry {
    const void *base;
    uint64_t seed;
    uint64_t index_at, slabs_at;
    uint32_t buckets, slabs, slab_shift;
} sb_l1_geometry;
bool sb_l1_geometry_load(const sb_l1_reader *reader, sb_l1_geometry *ret);
/* The layout for a file of that size (a multiple of the page). */
void sb_l1_geometry_plan(uint64_t size, sb_l1_geometry *ret);
uint32_t sb_l1_header_sum(const void *base);
/* True when a file that does not check carries marks of ours, or nothing at all: it may be
 * replaced. */
bool sb_l1_is_ours(const void *base, size_t size);
bool sb_l1_anchor_load(const void *base, sb_l1_anchor *ret);
bool sb_l1_client_load(const void *base, sb_l1_client_settings *ret);
uint32_t sb_l1_sum(const void *bytes, size_t size);

/* A question as the index sees it. */
typedef struct sb_l1_digest {
    uint64_t hash;
    uint32_t bucket[2];
    uint16_t tag;
    uint8_t bits; /* DO 1, CD 2 */
    size_t size;
    uint8_t question[SB_NAME_MAX + 5]; /* folded name, type, class: as a body begins */
} sb_l1_digest;
void sb_l1_digest_question(const sb_l1_geometry *g, const sb_question *question, sb_l1_digest *ret);
void sb_l1_digest_entry(const sb_l1_geometry *g, const sb_l1_entry *entry, sb_l1_digest *ret);
uint8_t sb_l1_view_tag(uint32_t view);
/* Bytes of name, type and class at the start of a body; 0 when they are not there. */
size_t sb_l1_question_size(const uint8_t *body, size_t size);
/* The first eight bytes of a slot whose other `size - 8` bytes lie at slot + 8. */
uint64_t sb_l1_slot_stamp(const sb_l1_geometry *g, const uint8_t *slot, size_t size, uint16_t flags,
                          uint16_t epoch);
/* Places are numbered bucket * 8 + way. */
typedef uint64_t sb_l1_place;
#define SB_L1_NOWHERE UINT64_MAX
static inline uint64_t sb_l1_place_at(const sb_l1_geometry *g, sb_l1_place place)
{
    return g->index_at + place * sizeof(uint64_t);
}
/* Class of the slab the reference lies in; 0 when it is no slot's start. */
unsigned sb_l1_ref_class(const sb_l1_geometry *g, uint32_t ref);

typedef enum sb_l1_seen { SB_L1_GOOD, SB_L1_BAD, SB_L1_TORN, SB_L1_EMPTY } sb_l1_seen;
/* Copies and checks a slot. */
sb_l1_seen sb_l1_slot_read(const sb_l1_geometry *g, uint32_t ref, sb_l1_buffer *buffer,
                           sb_l1_entry *ret_entry);
/* The entry at a place, with at most *tries copies; TORN when they ran out. */
sb_l1_seen sb_l1_place_read(const sb_l1_geometry *g, sb_l1_place place, unsigned *tries,
                            sb_l1_buffer *buffer, sb_l1_entry *ret_entry, uint64_t *ret_way);
/* True when the index would look for this entry under that way of that bucket. */
bool sb_l1_belongs(const sb_l1_geometry *g, const sb_l1_entry *entry, sb_l1_place place,
                   uint64_t way);
SB_MUST_USE sb_status sb_l1_lookup(const sb_l1_geometry *g, const sb_l1_digest *digest,
                                   uint32_t view, sb_l1_buffer *buffer, sb_l1_entry *ret_entry,
                                   sb_l1_place *ret_place);
#define SB_L1_TRIES 9u /* the first and 8 retries */

#endif
