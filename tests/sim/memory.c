/* Counts the program's blocks, and lets allocations fail: the linker puts these in place of
 * base/mem (--wrap). */
#include "base/mem.h"
#include "sim/subject.h"

void *__real_sb_alloc(size_t size);
void *__real_sb_zalloc(size_t size);
void *__real_sb_calloc(size_t n, size_t size);
void *__real_sb_realloc(void *block, size_t size);
void __real_sb_free(void *block);
char *__real_sb_strdup(const char *text);
void *__wrap_sb_alloc(size_t size);
void *__wrap_sb_zalloc(size_t size);
void *__wrap_sb_calloc(size_t n, size_t size);
void *__wrap_sb_realloc(void *block, size_t size);
void __wrap_sb_free(void *block);
char *__wrap_sb_strdup(const char *text);

static int64_t live;
static uint32_t fail_permille;
static sb_rand *fail_rand;
static bool paused;

int64_t memory_live(void)
{
    return live;
}

void memory_fail(uint32_t permille, sb_rand *rand)
{
    fail_permille = permille;
    fail_rand = rand;
}

void memory_pause(bool pause)
{
    paused = pause;
}

static bool fails(void)
{
    return fail_permille && !paused && sb_rand_chance(fail_rand, fail_permille);
}

static void *counted(void *block)
{
    live += block != NULL;
    return block;
}

void *__wrap_sb_alloc(size_t size)
{
    return fails() ? NULL : counted(__real_sb_alloc(size));
}

void *__wrap_sb_zalloc(size_t size)
{
    return fails() ? NULL : counted(__real_sb_zalloc(size));
}

void *__wrap_sb_calloc(size_t n, size_t size)
{
    return fails() ? NULL : counted(__real_sb_calloc(n, size));
}

void *__wrap_sb_realloc(void *block, size_t size)
{
    if (fails())
        return NULL;
    void *grown = __real_sb_realloc(block, size);
    live += grown && !block;
    return grown;
}

void __wrap_sb_free(void *block)
{
    live -= block != NULL;
    __real_sb_free(block);
}

char *__wrap_sb_strdup(const char *text)
{
    return fails() ? NULL : counted(__real_sb_strdup(text));
}
