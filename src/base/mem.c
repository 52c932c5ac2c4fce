/* The only allocator calls of the project. Never aborts. Any thread. */
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* malloc(0) may be NULL, which a caller would read as exhaustion. */
static size_t at_least_one(size_t size)
{
    return size ? size : 1;
}

void *sb_alloc(size_t size)
{
    return malloc(at_least_one(size));
}

void *sb_zalloc(size_t size)
{
    return calloc(1, at_least_one(size));
}

void *sb_calloc(size_t n, size_t size)
{
    size_t product;
    if (__builtin_mul_overflow(n, size, &product))
        return NULL;
    return calloc(1, at_least_one(product));
}

void *sb_realloc(void *block, size_t size)
{
    return realloc(block, at_least_one(size));
}

void sb_free(void *block)
{
    free(block);
}

char *sb_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = sb_alloc(size);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}
