/* Reading the cache file: lock-free, read-only, from any process, trusting nothing in it.
 *
 * libc and xxhash only; no env (the edge uses it). Sequence counters, a checksum per entry, at most
 * 8 retries, then a miss. Any thread. */
#ifndef SB_STORE_L1_READ_H
#define SB_STORE_L1_READ_H

#include "store/l1.h"

/* Enough to read with: borrowed memory, its size checked against the header once by
 * sb_l1_reader_init. */
typedef struct sb_l1_reader {
    const void *base;
    size_t size;
} sb_l1_reader;

/* What clients without configuration of their own need; lies in the header. */
typedef struct sb_l1_client_settings {
    char socket_path[108];
    char search[256]; /* blank-separated names */
    uint32_t ndots;
    uint32_t family; /* sb_family_policy */
    uint32_t stale_answer_ttl_s;
} sb_l1_client_settings;

typedef struct sb_l1_header_info {
    uint32_t format;   /* 1 */
    bool retired;      /* another inode has taken its place: re-open */
    bool writer_clean; /* the writer closed it in order */
    sb_tick heartbeat; /* last sign of life of the writer */
    uint16_t policy_epoch;  /* bumped by policy and by every move: the stamp of entries */
    uint16_t network_epoch; /* moves alone */
    uint32_t network; /* identity of the current network */
    uint64_t capacity_bytes;
    sb_l1_client_settings client;
} sb_l1_header_info;

/* SB_MALFORMED: foreign, damaged, or smaller than it says; SB_UNSUPPORTED: another format. */
SB_MUST_USE sb_status sb_l1_reader_init(const void *base, size_t size, sb_l1_reader *ret,
                                        sb_why *why);
bool sb_l1_reader_header(const sb_l1_reader *reader, sb_l1_header_info *ret);
/* The file's clock at an instant of this boot (clock.boot_ns) under this boot id; when the boot id
 * is another, the writer has not been here since the boot: computed from the wall clock,
 * *ret_guessed true. */
sb_tick sb_l1_reader_tick(const sb_l1_reader *reader, const sb_clock *clock, bool *ret_guessed);

/* Copies the entry into buffer and checks it. SB_NOTFOUND: a miss (also: torn, damaged, too many
 * retries). Any freshness is returned; the caller judges with sb_l1_freshness. */
SB_MUST_USE sb_status sb_l1_find(const sb_l1_reader *reader, const sb_l1_key *key,
                                 sb_l1_buffer *buffer, sb_l1_entry *ret_entry);
/* True when a reader may serve it without the engine: PLAIN, at the header's epochs, of its
 * network. Freshness is judged apart. */
bool sb_l1_servable(const sb_l1_reader *reader, const sb_l1_entry *entry);

/* Walks everything, bucket by bucket (torn entries are skipped). *cursor starts 0 and is opaque;
 * false at the end. */
bool sb_l1_walk(const sb_l1_reader *reader, uint64_t *cursor, sb_l1_buffer *buffer,
                sb_l1_entry *ret_entry);

/* Parts for sb_answer_from_parts. */
sb_answer_parts sb_l1_parts(const sb_l1_entry *entry);

#endif
