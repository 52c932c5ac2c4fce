/* An intrusive pairing heap ordered by a signed 64-bit key, then by insertion: timers.
 *
 * Equal keys leave in the order they came, so that a simulation is deterministic.
 * No allocation. One owner thread. */
#ifndef SB_BASE_HEAP_H
#define SB_BASE_HEAP_H

#include <stdbool.h>
#include <stdint.h>

typedef struct sb_heap_node {
    /* prev: left sibling, or parent of the first child */
    struct sb_heap_node *child, *sibling, *prev;
    int64_t key;
    uint64_t order;
    bool queued;
} sb_heap_node;

typedef struct sb_heap {
    sb_heap_node *root;
    uint64_t inserted;
    uint64_t count;
} sb_heap;

void sb_heap_init(sb_heap *heap);
void sb_heap_insert(sb_heap *heap, sb_heap_node *node, int64_t key);
/* NULL when empty. */
sb_heap_node *sb_heap_min(const sb_heap *heap);
/* Idempotent for nodes that are not queued. */
void sb_heap_remove(sb_heap *heap, sb_heap_node *node);

#endif
