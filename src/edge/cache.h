/* The cache file as a program without the daemon sees it: mapped read-only, trusted in nothing.
 *
 * Owns the mapping; never writes, never keeps a descriptor. A file that is not a regular one of
 * root's, the daemon's or the reader's own, or that others may write, is not used (DESIGN §6).
 * One thread per sb_edge_cache. */
#ifndef SB_EDGE_CACHE_H
#define SB_EDGE_CACHE_H

#include "store/l1_read.h"

#define SB_EDGE_HEARTBEAT_S 3 /* a heartbeat older than this: the daemon is gone or stuck */

typedef struct sb_edge_cache sb_edge_cache;

/* Told of each mapping before it is read, and of its end before it goes. A program that owns its
 * SIGBUS guards them by it: the file's owner may cut it between the look at its size and the read.
 * Once, before the first open; NULL (the default) for none. */
typedef void sb_edge_mapped(const void *base, size_t size, bool mapped);
void sb_edge_cache_on_map(sb_edge_mapped *told);

/* Owned. The path is copied: the file is opened anew when another took its place. */
SB_MUST_USE sb_status sb_edge_cache_open(const char *path, sb_edge_cache **ret, sb_why *why);
/* NULL is allowed. */
void sb_edge_cache_close(sb_edge_cache *cache);
/* False when the file is not usable any more. */
bool sb_edge_cache_header(sb_edge_cache *cache, sb_l1_header_info *ret);
/* True while the writer's heartbeat is young. */
bool sb_edge_cache_alive(sb_edge_cache *cache);

/* What is known of a question, of any freshness but dead. */
typedef struct sb_edge_hit {
    sb_l1_entry entry; /* its bytes lie in the buffer */
    sb_freshness freshness;
    bool age_known;
    uint32_t age_s, left_s; /* since learned; of the TTL as served */
} sb_edge_hit;
/* The question's name in any case. Only entries a reader may serve by itself. SB_NOTFOUND: none. */
SB_MUST_USE sb_status sb_edge_cache_find(sb_edge_cache *cache, const sb_question *question,
                                         sb_l1_buffer *buffer, sb_edge_hit *ret);

/* Nanoseconds of CLOCK_BOOTTIME, as sb_env_now. */
sb_ns sb_edge_now(void);
/* This boot, as the daemon writes it into the file. */
void sb_edge_clock(sb_clock *ret);

#endif
