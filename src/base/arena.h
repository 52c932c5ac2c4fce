/* A bounded bump allocator: the memory of one question lives and dies together.
 *
 * Grows in blocks up to its limit, frees everything at once, never one thing. One owner thread. */
#ifndef SB_BASE_ARENA_H
#define SB_BASE_ARENA_H

#include <stddef.h>

typedef struct sb_arena_block sb_arena_block;
typedef struct sb_arena {
    sb_arena_block *blocks;
    size_t used_bytes;
    size_t limit_bytes;
} sb_arena;

void sb_arena_init(sb_arena *arena, size_t limit_bytes);
void sb_arena_fini(sb_arena *arena);
/* Zeroed, aligned to 16; NULL when the limit or the memory is reached. */
void *sb_arena_alloc(sb_arena *arena, size_t size);
/* Copies n bytes of text and adds a NUL; NULL as above. */
char *sb_arena_text(sb_arena *arena, const char *text, size_t n);
char *sb_arena_strdup(sb_arena *arena, const char *text);

#endif
