/* Memory: the only allocator calls of the project.
 *
 * Plain malloc underneath, so that exhaustion is tested by interposing it. Nothing here aborts:
 * NULL is an answer every caller handles. Any thread. */
#ifndef SB_BASE_MEM_H
#define SB_BASE_MEM_H

#include <stddef.h>

/* size bytes, uninitialised / zeroed; NULL when there are none. size 0 gives a unique pointer. */
void *sb_alloc(size_t size);
void *sb_zalloc(size_t size);
/* n * size zeroed bytes; NULL also when the product overflows. */
void *sb_calloc(size_t n, size_t size);
/* As realloc; on NULL the old block stays valid and owned by the caller. */
void *sb_realloc(void *block, size_t size);
/* NULL is allowed. */
void sb_free(void *block);
/* An owned copy of the string or NULL. */
char *sb_strdup(const char *text);

#define sb_new(type) ((type *)sb_zalloc(sizeof(type)))

#define sb_container_of(pointer, type, member)                                                     \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
