/* A pairing heap: constant insertion, logarithmic removal (amortised), no allocation.
 *
 * Merging works through sibling lists in loops, never by recursion: a heap may hold 10^5 timers
 * that were inserted in order, which is one list. One owner thread. */
#include "base/heap.h"

#include <stddef.h>

static sb_heap_node *meld(sb_heap_node *a, sb_heap_node *b);
static sb_heap_node *meld_pairs(sb_heap_node *first);

void sb_heap_init(sb_heap *heap)
{
    *heap = (sb_heap){0};
}

void sb_heap_insert(sb_heap *heap, sb_heap_node *node, int64_t key)
{
    *node = (sb_heap_node){.key = key, .order = heap->inserted++, .queued = true};
    heap->root = meld(heap->root, node);
    heap->count++;
}

sb_heap_node *sb_heap_min(const sb_heap *heap)
{
    return heap->root;
}

void sb_heap_remove(sb_heap *heap, sb_heap_node *node)
{
    if (!node->queued)
        return;
    sb_heap_node *below = meld_pairs(node->child);
    if (node == heap->root) {
        heap->root = below;
    } else {
        if (node->prev->child == node)
            node->prev->child = node->sibling;
        else
            node->prev->sibling = node->sibling;
        if (node->sibling)
            node->sibling->prev = node->prev;
        heap->root = meld(heap->root, below);
    }
    node->child = node->sibling = node->prev = NULL;
    node->queued = false;
    heap->count--;
}

static bool before(const sb_heap_node *a, const sb_heap_node *b)
{
    return a->key != b->key ? a->key < b->key : a->order < b->order;
}

/* Two roots become one; either may be NULL. */
static sb_heap_node *meld(sb_heap_node *a, sb_heap_node *b)
{
    if (!a)
        return b;
    if (!b)
        return a;
    if (before(b, a)) {
        sb_heap_node *swap = a;
        a = b;
        b = swap;
    }
    b->prev = a;
    b->sibling = a->child;
    if (a->child)
        a->child->prev = b;
    a->child = b;
    return a;
}

/* The classic two passes: pairs from left to right, then the pairs from right to left. The pairs
 * are kept on a list linked by `sibling`, newest first, as the second pass needs
 * them. */
static sb_heap_node *meld_pairs(sb_heap_node *first)
{
    sb_heap_node *pairs = NULL;
    while (first) {
        sb_heap_node *second = first->sibling;
        sb_heap_node *rest = second ? second->sibling : NULL;
        first->sibling = first->prev = NULL;
        if (second)
            second->sibling = second->prev = NULL;
        sb_heap_node *pair = meld(first, second);
        pair->sibling = pairs;
        pairs = pair;
        first = rest;
    }
    sb_heap_node *root = NULL;
    while (pairs) {
        sb_heap_node *next = pairs->sibling;
        pairs->sibling = NULL;
        root = meld(root, pairs);
        pairs = next;
    }
    return root;
}
