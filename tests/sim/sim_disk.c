/* Disk of the simulated machine: files by path over inodes, mappings of them that outlive the
 * process which made them, locks that do not, pages that tear. One thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "sim/sim_internal.h"

#define PAGE 4096u

static sim_inode *inode_new(sim *s, size_t size);
static void inode_unref(sim *s, sim_inode *inode);
static int path_index(const sim *s, const char *path);
static bool path_set(sim *s, const char *path, sim_inode *inode);
static sb_status map_new(sim *s, sim_env *env, sim_inode *inode, bool in_file, const char *path,
                         sb_mapping *ret);
static sim_map *map_of(sim *s, const sb_mapping *mapping);
static bool fault(sim_env *env);

sb_status sim_file_read(sb_env *base, const char *path, size_t max, uint8_t **ret_bytes,
                        size_t *ret_size, sb_why *why)
{
    sim_env *env = sim_env_of(base);
    int at = path_index(env->s, path);
    if (at < 0)
        return sb_why_set(why, SB_NOTFOUND, "cannot read %s: no such file", path);
    if (fault(env))
        return sb_why_set(why, SB_IO, "cannot read %s: input/output error", path);
    const sim_inode *inode = env->s->paths[at].inode;
    if (inode->size > max)
        return sb_why_set(why, SB_LIMIT, "cannot read %s: too large", path);
    uint8_t *bytes = sb_alloc(inode->size + 1);
    if (!bytes)
        return SB_NOMEM;
    if (inode->size)
        memcpy(bytes, inode->base, inode->size);
    bytes[inode->size] = 0;
    *ret_bytes = bytes;
    *ret_size = inode->size;
    return SB_OK;
}

sb_status sim_file_replace(sb_env *base, const char *path, unsigned mode, const void *bytes,
                           size_t size, sb_why *why)
{
    (void)mode;
    sim_env *env = sim_env_of(base);
    if (env->frozen)
        return SB_IO;
    if (env->s->faults.map_create != SB_OK || fault(env))
        return sb_why_set(why, SB_IO, "cannot write %s: no space left on device", path);
    sim_file_put(env->s, path, bytes, size);
    return SB_OK;
}

void sim_file_stat(sb_env *base, const char *path, sb_file_stat *ret)
{
    const sim *s = sim_env_of(base)->s;
    int at = path_index(s, path);
    *ret = (sb_file_stat){0};
    if (at < 0)
        return;
    const sim_inode *inode = s->paths[at].inode;
    *ret = (sb_file_stat){.exists = true,
                          .size = inode->size,
                          .inode = inode->number,
                          .modified_ns = inode->modified_ns};
}

sb_status sim_map_open(sb_env *base, const char *path, sb_mapping *ret, sb_why *why)
{
    sim_env *env = sim_env_of(base);
    sim *s = env->s;
    int at = path_index(s, path);
    if (at < 0)
        return sb_why_set(why, SB_NOTFOUND, "cannot open %s: no such file", path);
    sim_inode *inode = s->paths[at].inode;
    if (inode->locked || inode->foreign_lock)
        return sb_why_set(why, SB_BUSY, "cannot lock %s: another process holds it", path);
    if (env->frozen || fault(env))
        return sb_why_set(why, SB_IO, "cannot open %s: input/output error", path);
    if (inode->size == 0)
        return sb_why_set(why, SB_MALFORMED, "cannot map %s: it is empty", path);
    sb_status status = map_new(s, env, inode, true, path, ret);
    if (status == SB_OK)
        inode->locked = env;
    return status;
}

sb_status sim_map_create(sb_env *base, const char *path, size_t size, unsigned mode, int64_t group,
                         sb_mapping *ret, sb_why *why)
{
    (void)mode;
    (void)group;
    sim_env *env = sim_env_of(base);
    sim *s = env->s;
    if (env->frozen || s->faults.map_create != SB_OK || fault(env))
        return sb_why_set(why, s->faults.map_create == SB_OK ? SB_IO : s->faults.map_create,
                          "cannot create %s: no space left on device", path);
    sim_inode *inode = inode_new(s, size);
    sb_status status = map_new(s, env, inode, true, path, ret);
    if (status != SB_OK)
        inode_unref(s, inode);
    else
        inode->locked = env;
    return status;
}

sb_status sim_map_publish(sb_env *base, sb_mapping *mapping, sb_why *why)
{
    sim_env *env = sim_env_of(base);
    sim_map *map = map_of(env->s, mapping);
    SB_ASSERT(map);
    if (env->frozen || fault(env))
        return sb_why_set(why, SB_IO, "cannot rename to %s: input/output error", map->path);
    if (!path_set(env->s, map->path, map->inode))
        return SB_LIMIT;
    return SB_OK;
}

sb_status sim_map_memory(sb_env *base, size_t size, sb_mapping *ret, sb_why *why)
{
    (void)why;
    sim_env *env = sim_env_of(base);
    if (env->frozen)
        return SB_NOMEM;
    sim_inode *inode = inode_new(env->s, size);
    sb_status status = map_new(env->s, env, inode, false, "", ret);
    if (status != SB_OK)
        inode_unref(env->s, inode);
    return status;
}

void sim_map_close(sb_env *base, sb_mapping *mapping)
{
    sim_env *env = sim_env_of(base);
    sim_map *map = map_of(env->s, mapping);
    *mapping = (sb_mapping){0};
    if (!map)
        return;
    sim_inode *inode = map->inode;
    if (inode->locked == env)
        inode->locked = NULL;
    if (env->frozen)
        return; /* the kernel unmapped it at the kill already: sim_disk_thaw */
    map->inode = NULL;
    inode_unref(env->s, inode);
}

void sim_disk_freeze(sim *s, sim_env *env)
{
    for (unsigned i = 0; i < SIM_MAPS_MAX; i++) {
        sim_inode *inode = s->maps[i].inode;
        if (!inode || s->maps[i].env != env)
            continue;
        if (!inode->frozen)
            inode->frozen = aligned_alloc(PAGE, inode->capacity);
        SB_ASSERT(inode->frozen);
        memcpy(inode->frozen, inode->base, inode->size);
    }
}

void sim_disk_thaw(sim *s, sim_env *env, uint32_t torn)
{
    for (unsigned i = 0; i < SIM_MAPS_MAX; i++) {
        sim_map *map = &s->maps[i];
        sim_inode *inode = map->inode;
        if (!inode || map->env != env)
            continue;
        if (env->frozen) {
            memcpy(inode->base, inode->frozen, inode->size);
            for (size_t at = 0; torn && inode->mark_valid && at < inode->size; at += PAGE) {
                size_t n = inode->size - at < PAGE ? inode->size - at : PAGE;
                if (sb_rand_chance(&s->net, torn))
                    memcpy(inode->base + at, inode->mark + at, n);
            }
        }
        if (inode->locked == env)
            inode->locked = NULL;
        map->inode = NULL;
        inode_unref(s, inode);
    }
}

unsigned sim_disk_leaks(const sim *s, const sim_env *env)
{
    unsigned n = 0;
    for (unsigned i = 0; i < SIM_MAPS_MAX; i++)
        n += s->maps[i].inode && s->maps[i].env == env;
    return n;
}

void sim_disk_mark(sim *s)
{
    for (unsigned i = 0; i < SIM_PATHS_MAX; i++) {
        sim_inode *inode = s->paths[i].inode;
        if (!inode || inode->size == 0)
            continue;
        if (!inode->mark)
            inode->mark = aligned_alloc(PAGE, inode->capacity);
        SB_ASSERT(inode->mark);
        memcpy(inode->mark, inode->base, inode->size);
        inode->mark_valid = true;
    }
}

void sim_file_put(sim *s, const char *path, const void *bytes, size_t size)
{
    sim_inode *inode = inode_new(s, size);
    if (size)
        memcpy(inode->base, bytes, size);
    SB_ASSERT(path_set(s, path, inode));
    inode_unref(s, inode);
}

void sim_file_remove(sim *s, const char *path)
{
    int at = path_index(s, path);
    if (at < 0)
        return;
    sim_inode *inode = s->paths[at].inode;
    s->paths[at].inode = NULL;
    inode_unref(s, inode);
}

uint8_t *sim_file_bytes(sim *s, const char *path, size_t *ret_size)
{
    int at = path_index(s, path);
    if (at < 0)
        return NULL;
    *ret_size = s->paths[at].inode->size;
    return s->paths[at].inode->base;
}

void sim_file_lock(sim *s, const char *path, bool locked)
{
    int at = path_index(s, path);
    if (at >= 0)
        s->paths[at].inode->foreign_lock = locked;
}

void sim_disk_reset(sim *s)
{
    for (unsigned i = 0; i < SIM_MAPS_MAX; i++)
        SB_ASSERT(!s->maps[i].inode);
    for (unsigned i = 0; i < SIM_PATHS_MAX; i++) {
        sim_inode *inode = s->paths[i].inode;
        s->paths[i].inode = NULL;
        if (inode)
            inode_unref(s, inode);
    }
    s->inode_last = 0;
}

void sim_disk_fini(sim *s)
{
    while (s->spare) {
        sim_inode *inode = s->spare;
        s->spare = inode->next;
        free(inode->base);
        free(inode->frozen);
        free(inode->mark);
        free(inode);
    }
}

static bool fault(sim_env *env)
{
    return env->s->faults.file && sb_rand_chance(&env->s->net, env->s->faults.file);
}

/* Zeroed, of whole pages; the smallest spare one that fits. */
static sim_inode *inode_new(sim *s, size_t size)
{
    sim_inode **best = NULL;
    for (sim_inode **at = &s->spare; *at; at = &(*at)->next) {
        if ((*at)->capacity >= size && (!best || (*at)->capacity < (*best)->capacity))
            best = at;
    }
    sim_inode *inode;
    if (best) {
        inode = *best;
        *best = inode->next;
    } else {
        inode = calloc(1, sizeof *inode);
        SB_ASSERT(inode);
        inode->capacity = (size + PAGE) & ~(size_t)(PAGE - 1);
        inode->base = aligned_alloc(PAGE, inode->capacity);
        SB_ASSERT(inode->base);
    }
    memset(inode->base, 0, size);
    inode->size = size;
    inode->refs = 1;
    inode->number = ++s->inode_last;
    inode->modified_ns = s->now + s->wall_less;
    inode->locked = NULL;
    inode->foreign_lock = inode->mark_valid = false;
    inode->next = NULL;
    return inode;
}

static void inode_unref(sim *s, sim_inode *inode)
{
    if (--inode->refs > 0)
        return;
    inode->next = s->spare;
    s->spare = inode;
}

static int path_index(const sim *s, const char *path)
{
    for (int i = 0; i < SIM_PATHS_MAX; i++) {
        if (s->paths[i].inode && strcmp(s->paths[i].path, path) == 0)
            return i;
    }
    return -1;
}

static bool path_set(sim *s, const char *path, sim_inode *inode)
{
    int at = path_index(s, path);
    for (int i = 0; at < 0 && i < SIM_PATHS_MAX; i++) {
        if (!s->paths[i].inode)
            at = i;
    }
    if (at < 0 || strlen(path) >= sizeof s->paths[at].path)
        return false;
    sim_inode *before = s->paths[at].inode;
    memcpy(s->paths[at].path, path, strlen(path) + 1);
    inode->refs++;
    s->paths[at].inode = inode;
    if (before)
        inode_unref(s, before);
    return true;
}

static sb_status map_new(sim *s, sim_env *env, sim_inode *inode, bool in_file, const char *path,
                         sb_mapping *ret)
{
    if (strlen(path) >= sizeof s->maps[0].path)
        return SB_INVALID;
    for (unsigned i = 0; i < SIM_MAPS_MAX; i++) {
        sim_map *map = &s->maps[i];
        if (map->inode)
            continue;
        if (in_file && path_index(s, path) >= 0 && s->paths[path_index(s, path)].inode == inode)
            inode->refs++;
        map->inode = inode;
        map->env = env;
        map->in_file = in_file;
        memcpy(map->path, path, strlen(path) + 1);
        *ret = (sb_mapping){
            .base = inode->base, .size = inode->size, .handle = map, .in_file = in_file};
        return SB_OK;
    }
    return SB_LIMIT;
}

static sim_map *map_of(sim *s, const sb_mapping *mapping)
{
    for (unsigned i = 0; i < SIM_MAPS_MAX; i++) {
        if (mapping->handle == &s->maps[i] && s->maps[i].inode)
            return &s->maps[i];
    }
    return NULL;
}
