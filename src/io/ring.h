/* A bounded queue between two threads: one producer, one consumer, no lock.
 *
 * Owns its memory. `head` is written by the consumer with release after it has read an item, and
 * read by the producer with acquire before it overwrites that place; `tail` the other way round. */
#ifndef SB_IO_RING_H
#define SB_IO_RING_H

#include <stdatomic.h>

#include "base/mem.h"
#include "base/status.h"

typedef struct sb_ring {
    uint8_t *items;
    size_t item_size;
    uint32_t mask; /* capacity - 1; a power of two less one */
    /* Apart by a cache line each, so that the two threads do not fight for one. */
    uint8_t before[64];
    _Atomic uint32_t head;
    uint8_t between[64];
    _Atomic uint32_t tail;
    uint8_t after[64];
} sb_ring;

/* capacity: a power of two. NOMEM. */
SB_MUST_USE static inline sb_status sb_ring_init(sb_ring *r, size_t item_size, uint32_t capacity)
{
    *r = (sb_ring){.item_size = item_size, .mask = capacity - 1};
    r->items = sb_calloc(capacity, item_size);
    return r->items ? SB_OK : SB_NOMEM;
}
/* Idempotent on zeroed memory. */
static inline void sb_ring_fini(sb_ring *r)
{
    sb_free(r->items);
    r->items = NULL;
}
/* Producer: the place to fill, NULL when full; nothing is seen of it before sb_ring_push. */
static inline void *sb_ring_room(sb_ring *r)
{
    uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    if (tail - atomic_load_explicit(&r->head, memory_order_acquire) > r->mask)
        return NULL;
    return r->items + (size_t)(tail & r->mask) * r->item_size;
}
/* Producer: the place just filled is handed over. */
static inline void sb_ring_push(sb_ring *r)
{
    uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
}
/* Consumer: the oldest item, NULL when empty; stays valid until sb_ring_pop. */
static inline void *sb_ring_first(sb_ring *r)
{
    uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    if (head == atomic_load_explicit(&r->tail, memory_order_acquire))
        return NULL;
    return r->items + (size_t)(head & r->mask) * r->item_size;
}
/* Consumer: done with the first. */
static inline void sb_ring_pop(sb_ring *r)
{
    uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    atomic_store_explicit(&r->head, head + 1, memory_order_release);
}

#endif
