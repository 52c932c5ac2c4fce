/* The one writer of the cache file: create, recover, put, remove, restamp, sweep, evict (DESIGN
 * §6).
 *
 * Owns the mapping (through env) and its volatile companion: use bits and counts. Never fails a
 * question: trouble means memory only, with one sentence. The daemon's loop thread only. */
#ifndef SB_STORE_L1_WRITE_H
#define SB_STORE_L1_WRITE_H

#include "core/env.h"
#include "store/l1_read.h"

typedef struct sb_l1 sb_l1;

typedef struct sb_l1_options {
    const char *path;  /* "" or NULL: memory only */
    size_t size_bytes; /* at least SB_L1_SIZE_MIN */
    unsigned mode;     /* 0600, 0640, 0644 */
    int64_t group;
    uint32_t policy_hash; /* differs from the stored one: the policy epoch is bumped */
    sb_l1_client_settings client;
} sb_l1_options;
#define SB_L1_SIZE_MIN (64 * 1024)

/* Always gives a working cache unless memory is out. What was wrong with the file goes into why
 * (empty: nothing) as one sentence: damaged, locked, foreign, newer format, read-only, full disk.
 * An older size: a new file is made and the living entries are moved into it; the old header is
 * marked retired. */
SB_MUST_USE sb_status sb_l1_open(sb_env *env, const sb_l1_options *options, sb_l1 **ret,
                                 sb_why *why);
/* Marks the header clean. */
void sb_l1_close(sb_l1 *l1);
bool sb_l1_in_file(const sb_l1 *l1);
/* True where it is in memory for no other reason than that another process holds the file. */
bool sb_l1_locked_out(const sb_l1 *l1);
/* Is the file at that path still the one l1 is in, and whole? False: it was removed, replaced or
 * cut. l1 goes on in what is mapped, but is not in a file any more until sb_l1_take_file. What lay
 * beyond a cut is lost, the mapping has it no more. */
bool sb_l1_still_there(sb_l1 *l1, const char *path, bool *ret_cut);
/* Tries again to get the file for a cache that was locked out of it, or makes a new one of all that
 * is mapped where the file is not there any more. SB_OK: l1 is in the file now,
 * with what was learned in memory meanwhile where that is newer; a denial learned in memory
 * replaces nothing that is protected. The memory as it was is the caller's, for readers that still
 * have it, until sb_l1_close. Else l1 is as before and why says what was in the way (SB_BUSY: still
 * locked). Takes the longer the more is in memory. */
SB_MUST_USE sb_status sb_l1_take_file(sb_l1 *l1, const sb_l1_options *options, sb_l1 **ret_memory,
                                      sb_why *why);
/* For look-ups by the writer itself and the daemon's workers; valid as long as l1. */
const sb_l1_reader *sb_l1_reader_of(const sb_l1 *l1);

sb_tick sb_l1_now(const sb_l1 *l1);
sb_tick sb_l1_tick_at(const sb_l1 *l1,
                      sb_ns at); /* instant of this boot, may be in the future; saturates */
sb_ns sb_l1_ns_of(const sb_l1 *l1, sb_tick tick);

/* As sb_l1_find, and marks the entry used. */
SB_MUST_USE sb_status sb_l1_get(sb_l1 *l1, const sb_l1_key *key, sb_l1_buffer *buffer,
                                sb_l1_entry *ret_entry);
/* Inserts or replaces. SB_LIMIT: larger than the largest class or than the file can hold (counted).
 */
SB_MUST_USE sb_status sb_l1_put(sb_l1 *l1, const sb_l1_key *key, const sb_answer *answer,
                                const sb_l1_life *life, uint16_t flags);
/* New flags and the current epoch, in place. */
SB_MUST_USE sb_status sb_l1_restamp(sb_l1 *l1, const sb_l1_key *key, uint16_t flags);
SB_MUST_USE sb_status sb_l1_remove(sb_l1 *l1, const sb_l1_key *key);
/* Every type, DO, CD and view of a name / of a suffix and all below (root: all). Pinned entries
 * stay. Returns how many. Bounded by the file's size. */
size_t sb_l1_remove_name(sb_l1 *l1, const sb_name *name);
size_t sb_l1_remove_below(sb_l1 *l1, const sb_name *suffix);
/* What is kept of that question (name folded, its DO and CD) tentatively, on whatever network. */
size_t sb_l1_remove_tentative(sb_l1 *l1, const sb_question *question);
/* An outside reader or worker used it. Never writes into the file. */
void sb_l1_used(sb_l1 *l1, const sb_l1_key *key);
/* Use count since learned (saturating), for prefetch. */
unsigned sb_l1_uses(const sb_l1 *l1, const sb_l1_key *key);
/* Checks at most `buckets` buckets from where it stopped: drops what does not check or is past its
 * last use. Wraps. */
void sb_l1_sweep(sb_l1 *l1, unsigned buckets);
/* Once a second: heartbeat, and the clock anchor. */
void sb_l1_heartbeat(sb_l1 *l1);
/* A new policy epoch: entries are plain again once restamped. client NULL: unchanged. */
void sb_l1_bump_policy(sb_l1 *l1, uint32_t policy_hash, const sb_l1_client_settings *client);
/* The network the header names. A change bumps both epochs: nothing is servable before it is
 * restamped. */
void sb_l1_set_network(sb_l1 *l1, uint32_t network);

typedef struct sb_l1_stats {
    uint64_t entries, capacity_bytes, used_bytes;
    uint64_t writes, evictions, expired, dropped, too_big;
    uint64_t moved; /* of entries, those that came over from the file or the memory before */
    bool counted;   /* entries and used_bytes are exact */
} sb_l1_stats;
/* Of a file that was there before, entries is exact after one full sweep; until then it counts what
 * was met. */
void sb_l1_get_stats(const sb_l1 *l1, sb_l1_stats *ret);

#endif
