/* See fake_env.h. */
#include "fake_env.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static fake_env *fake_of(sb_env *env)
{
    return (fake_env *)(void *)env;
}

static sb_ns fake_now(sb_env *env)
{
    return fake_of(env)->clock.boot_ns;
}

static void fake_clock(sb_env *env, sb_clock *ret)
{
    *ret = fake_of(env)->clock;
}

static void fake_entropy(sb_env *env, void *ret, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)ret)[i] = (uint8_t)sb_rand_u64(&env->rand);
}

static fake_file *file_new(fake_env *fake, const char *path, size_t size)
{
    for (unsigned i = 0; i < FAKE_FILES_MAX; i++) {
        fake_file *f = &fake->files[i];
        if (f->base)
            continue;
        void *base = mmap(NULL, size ? size : 1, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (base == MAP_FAILED)
            return NULL;
        *f = (fake_file){.base = base, .size = size};
        snprintf(f->path, sizeof(f->path), "%s", path);
        return f;
    }
    return NULL;
}

static void file_free(fake_file *f)
{
    munmap(f->base, f->size ? f->size : 1);
    *f = (fake_file){0};
}

fake_file *fake_env_file(fake_env *fake, const char *path)
{
    for (unsigned i = 0; i < FAKE_FILES_MAX; i++)
        if (fake->files[i].base && strcmp(fake->files[i].path, path) == 0)
            return &fake->files[i];
    return NULL;
}

static void fake_stat(sb_env *env, const char *path, sb_file_stat *ret)
{
    const fake_file *f = fake_env_file(fake_of(env), path);
    *ret = f ? (sb_file_stat){.exists = true, .size = f->size} : (sb_file_stat){0};
}

static sb_status fake_map_open(sb_env *env, const char *path, sb_mapping *ret, sb_why *why)
{
    fake_file *f = fake_env_file(fake_of(env), path);
    if (fake_of(env)->open_fails != SB_OK)
        return sb_why_set(why, fake_of(env)->open_fails, "cannot open %s", path);
    if (!f)
        return SB_NOTFOUND;
    if (fake_of(env)->read_only) {
        fake_file *copy = file_new(fake_of(env), "", f->size);
        if (!copy)
            return SB_NOMEM;
        memcpy(copy->base, f->base, f->size);
        *ret = (sb_mapping){.base = copy->base, .size = f->size, .handle = copy};
        return sb_why_set(why, SB_OK, "cannot open %s: read-only file system", path);
    }
    if (f->locked)
        return sb_why_set(why, SB_BUSY, "locked by another process");
    f->locked = true;
    *ret = (sb_mapping){.base = f->base, .size = f->size, .handle = f, .in_file = true};
    return SB_OK;
}

static sb_status fake_map_create(sb_env *env, const char *path, size_t size, unsigned mode,
                                 int64_t group, sb_mapping *ret, sb_why *why)
{
    (void)mode;
    (void)group;
    if (fake_of(env)->create_fails != SB_OK)
        return sb_why_set(why, fake_of(env)->create_fails, "no space left on device");
    char name[64];
    snprintf(name, sizeof(name), "%.60s~", path);
    fake_file *f = file_new(fake_of(env), name, size);
    if (!f)
        return SB_NOMEM;
    f->locked = true;
    *ret = (sb_mapping){.base = f->base, .size = size, .handle = f, .in_file = true};
    return SB_OK;
}

static sb_status fake_map_publish(sb_env *env, sb_mapping *mapping, sb_why *why)
{
    fake_file *f = mapping->handle;
    if (fake_of(env)->publish_fails != SB_OK)
        return sb_why_set(why, fake_of(env)->publish_fails, "read-only file system");
    f->path[strlen(f->path) - 1] = 0;
    for (unsigned i = 0; i < FAKE_FILES_MAX; i++) {
        fake_file *old = &fake_of(env)->files[i];
        if (old != f && old->base && strcmp(old->path, f->path) == 0)
            old->path[0] = 0;
    }
    return SB_OK;
}

static sb_status fake_map_memory(sb_env *env, size_t size, sb_mapping *ret, sb_why *why)
{
    (void)why;
    fake_file *f = file_new(fake_of(env), "", size);
    if (!f)
        return SB_NOMEM;
    *ret = (sb_mapping){.base = f->base, .size = size, .handle = f, .in_file = false};
    return SB_OK;
}

static void fake_map_flush(sb_env *env, sb_mapping *mapping)
{
    (void)env;
    (void)mapping;
}

static void fake_map_close(sb_env *env, sb_mapping *mapping)
{
    (void)env;
    fake_file *f = mapping->handle;
    f->locked = false;
    if (!mapping->in_file || (f->path[0] && f->path[strlen(f->path) - 1] == '~'))
        file_free(f);
}

static const sb_env_ops fake_ops = {
    .now = fake_now,
    .clock = fake_clock,
    .entropy = fake_entropy,
    .file_stat = fake_stat,
    .map_open = fake_map_open,
    .map_create = fake_map_create,
    .map_publish = fake_map_publish,
    .map_memory = fake_map_memory,
    .map_flush = fake_map_flush,
    .map_close = fake_map_close,
};

void fake_env_init(fake_env *fake)
{
    memset(fake, 0, sizeof(*fake));
    fake->env.ops = &fake_ops;
    sb_rand_seed(&fake->env.rand, 42);
    fake->clock.boot_ns = 1000 * SB_S;
    fake->clock.wall_ns = INT64_C(1767225600) * SB_S;
    fake->clock.boot_id[0] = 1;
}

void fake_env_fini(fake_env *fake)
{
    for (unsigned i = 0; i < FAKE_FILES_MAX; i++)
        if (fake->files[i].base)
            file_free(&fake->files[i]);
}

void fake_env_pass(fake_env *fake, sb_ns duration)
{
    fake->clock.boot_ns += duration;
    fake->clock.wall_ns += duration;
}

void fake_env_reboot(fake_env *fake, sb_ns wall_passed)
{
    fake->clock.boot_ns = SB_S;
    fake->clock.wall_ns += wall_passed;
    fake->clock.boot_id[0]++;
    fake_env_kill(fake);
}

fake_file *fake_env_put(fake_env *fake, const char *path, const void *bytes, size_t size)
{
    fake_file *f = fake_env_file(fake, path);
    if (f)
        file_free(f);
    f = file_new(fake, path, size);
    if (f && bytes)
        memcpy(f->base, bytes, size);
    return f;
}

void fake_env_kill(fake_env *fake)
{
    for (unsigned i = 0; i < FAKE_FILES_MAX; i++)
        fake->files[i].locked = false;
}
