/* A bounded bump allocator: newest block first, each block filled upwards.
 *
 * The limit counts what was handed out (rounded to 16), not the slack of the blocks. One owner. */
#include "base/arena.h"

#include <stdint.h>
#include <string.h>

#include "base/mem.h"

enum {
    ALIGNMENT = 16,
    BLOCK_BYTES = 2048, /* most questions fit one block: name, flight, a handful of attempts */
};

struct sb_arena_block {
    sb_arena_block *next;
    size_t used;
    size_t capacity;
    _Alignas(ALIGNMENT) uint8_t data[];
};

void sb_arena_init(sb_arena *arena, size_t limit_bytes)
{
    *arena = (sb_arena){.limit_bytes = limit_bytes};
}

void sb_arena_fini(sb_arena *arena)
{
    while (arena->blocks) {
        sb_arena_block *block = arena->blocks;
        arena->blocks = block->next;
        sb_free(block);
    }
    arena->used_bytes = 0;
}

void *sb_arena_alloc(sb_arena *arena, size_t size)
{
    if (size > SIZE_MAX - ALIGNMENT - sizeof(sb_arena_block))
        return NULL;
    size_t rounded = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (rounded == 0)
        rounded = ALIGNMENT;
    if (arena->used_bytes > arena->limit_bytes || rounded > arena->limit_bytes - arena->used_bytes)
        return NULL;

    sb_arena_block *block = arena->blocks;
    if (!block || rounded > block->capacity - block->used) {
        size_t capacity = BLOCK_BYTES - sizeof(*block);
        if (capacity < rounded)
            capacity = rounded;
        block = sb_zalloc(sizeof(*block) + capacity);
        if (!block)
            return NULL;
        block->capacity = capacity;
        block->next = arena->blocks;
        arena->blocks = block;
    }
    void *memory = block->data + block->used;
    block->used += rounded;
    arena->used_bytes += rounded;
    return memory;
}

char *sb_arena_text(sb_arena *arena, const char *text, size_t n)
{
    if (n == SIZE_MAX)
        return NULL;
    char *copy = sb_arena_alloc(arena, n + 1);
    if (copy && n)
        memcpy(copy, text, n); /* the NUL is there: the block was zeroed */
    return copy;
}

char *sb_arena_strdup(sb_arena *arena, const char *text)
{
    return sb_arena_text(arena, text, strlen(text));
}
