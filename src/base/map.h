/* A chained hash map with intrusive nodes, keyed by bytes, hashed with SipHash-2-4 under a secret.
 *
 * The caller owns the nodes and the key bytes, which must not change while linked. Growth that
 * fails for want of memory is ignored: the map gets slower, not wrong. One owner thread. */
#ifndef SB_BASE_MAP_H
#define SB_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct sb_map_node {
    struct sb_map_node *next;
    uint64_t hash;
    const void *key;
    size_t key_size;
} sb_map_node;

typedef struct sb_map {
    sb_map_node **buckets;
    size_t bucket_count; /* power of two */
    size_t count;
    uint8_t secret[16];
} sb_map;

SB_MUST_USE sb_status sb_map_init(sb_map *map, const uint8_t secret[16]);
/* The nodes stay the caller's. */
void sb_map_fini(sb_map *map);
sb_map_node *sb_map_find(const sb_map *map, const void *key, size_t size);
/* The key must not be present. key is borrowed for as long as the node is linked. */
void sb_map_insert(sb_map *map, sb_map_node *node, const void *key, size_t size);
void sb_map_remove(sb_map *map, sb_map_node *node);
/* Any order; the callback may remove the node it is given, nothing else. Stops on false. */
void sb_map_each(sb_map *map, bool (*visit)(sb_map_node *, void *), void *context);

/* SipHash-2-4 of size bytes; data may be NULL when size is 0. */
uint64_t sb_siphash(const uint8_t secret[16], const void *data, size_t size);

#endif
