/* See posix_env.h. */
#define _GNU_SOURCE
#include "support/posix_env.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef struct handle {
    int fd;
    char path[200], temporary[216]; /* temporary "": published */
} handle;

static sb_ns clock_ns(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return ts.tv_sec * SB_S + ts.tv_nsec;
}

static sb_ns posix_now(sb_env *env)
{
    (void)env;
    return clock_ns(CLOCK_BOOTTIME);
}

static void posix_clock(sb_env *env, sb_clock *ret)
{
    (void)env;
    *ret = (sb_clock){.boot_ns = clock_ns(CLOCK_BOOTTIME), .wall_ns = clock_ns(CLOCK_REALTIME),
                      .boot_id = {1}};
}

static void posix_entropy(sb_env *env, void *ret, size_t size)
{
    (void)env;
    if (getrandom(ret, size, 0) != (ssize_t)size)
        abort();
}

static void posix_stat(sb_env *env, const char *path, sb_file_stat *ret)
{
    struct stat st;
    (void)env;
    *ret = (sb_file_stat){0};
    if (stat(path, &st) == 0)
        *ret = (sb_file_stat){.exists = true, .size = (uint64_t)st.st_size, .inode = st.st_ino};
}

static sb_status map_handle(handle *take_h, size_t size, sb_mapping *ret, sb_why *why)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(take_h->fd, F_OFD_SETLK, &lock) != 0) {
        sb_status status = sb_why_set(why, SB_BUSY, "%s is locked", take_h->path);
        close(take_h->fd);
        free(take_h);
        return status;
    }
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, take_h->fd, 0);
    if (base == MAP_FAILED) {
        close(take_h->fd);
        free(take_h);
        return sb_why_set(why, SB_IO, "mmap: %s", strerror(errno));
    }
    *ret = (sb_mapping){.base = base, .size = size, .handle = take_h, .in_file = true};
    return SB_OK;
}

static handle *handle_new(const char *path, const char *temporary, int flags)
{
    handle *h = calloc(1, sizeof(*h));
    if (!h)
        return NULL;
    snprintf(h->path, sizeof(h->path), "%s", path);
    snprintf(h->temporary, sizeof(h->temporary), "%s", temporary);
    h->fd = open(temporary[0] ? temporary : path, flags | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (h->fd >= 0)
        return h;
    free(h);
    return NULL;
}

static sb_status posix_map_open(sb_env *env, const char *path, sb_mapping *ret, sb_why *why)
{
    struct stat st;
    (void)env;
    handle *h = handle_new(path, "", O_RDWR);
    if (!h)
        return sb_why_set(why, sb_status_from_errno(errno), "%s: %s", path, strerror(errno));
    if (fstat(h->fd, &st) != 0 || st.st_size == 0) {
        close(h->fd);
        free(h);
        return sb_why_set(why, SB_MALFORMED, "%s is empty", path);
    }
    return map_handle(h, (size_t)st.st_size, ret, why);
}

static sb_status posix_map_create(sb_env *env, const char *path, size_t size, unsigned mode,
                                  int64_t group, sb_mapping *ret, sb_why *why)
{
    char temporary[216];
    (void)env;
    (void)group;
    snprintf(temporary, sizeof(temporary), "%s.new", path);
    unlink(temporary);
    handle *h = handle_new(path, temporary, O_RDWR | O_CREAT | O_EXCL);
    if (!h)
        return sb_why_set(why, SB_IO, "%s: %s", path, strerror(errno));
    int error = posix_fallocate(h->fd, 0, (off_t)size);
    if (error != 0 || fchmod(h->fd, (mode_t)mode) != 0) {
        close(h->fd);
        unlink(temporary);
        free(h);
        return sb_why_set(why, SB_NOSPACE, "%s: %s", path, strerror(error));
    }
    return map_handle(h, size, ret, why);
}

static sb_status posix_map_publish(sb_env *env, sb_mapping *mapping, sb_why *why)
{
    handle *h = mapping->handle;
    (void)env;
    if (rename(h->temporary, h->path) != 0)
        return sb_why_set(why, SB_IO, "%s: %s", h->path, strerror(errno));
    h->temporary[0] = 0;
    return SB_OK;
}

static sb_status posix_map_memory(sb_env *env, size_t size, sb_mapping *ret, sb_why *why)
{
    (void)env;
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return sb_why_set(why, SB_NOMEM, "mmap: %s", strerror(errno));
    *ret = (sb_mapping){.base = base, .size = size};
    return SB_OK;
}

static void posix_map_flush(sb_env *env, sb_mapping *mapping)
{
    (void)env;
    (void)mapping;
}

static void posix_map_close(sb_env *env, sb_mapping *mapping)
{
    handle *h = mapping->handle;
    (void)env;
    munmap(mapping->base, mapping->size);
    if (!h)
        return;
    if (h->temporary[0])
        unlink(h->temporary);
    close(h->fd);
    free(h);
}

static const sb_env_ops posix_ops = {
    .now = posix_now,
    .clock = posix_clock,
    .entropy = posix_entropy,
    .file_stat = posix_stat,
    .map_open = posix_map_open,
    .map_create = posix_map_create,
    .map_publish = posix_map_publish,
    .map_memory = posix_map_memory,
    .map_flush = posix_map_flush,
    .map_close = posix_map_close,
};

void posix_env_init(posix_env *posix)
{
    memset(posix, 0, sizeof(*posix));
    posix->env.ops = &posix_ops;
}
