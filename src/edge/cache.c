/* Opening, checking and reading the cache file from outside the daemon.
 *
 * A foreign hand may replace, shorten or remove the file at any time; each look-up begins with a
 * stat of the path, and what is not the mapped inode of at least the mapped size is opened anew.
 * Never follows a link, never runs as somebody else: with AT_SECURE the caller's own files do not
 * count. One thread per sb_edge_cache. */
#include "edge/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

#define RUNTIME_DIRECTORY "/run/stubborn" /* only root can have given it away */

struct sb_edge_cache {
    char *path;
    void *base; /* NULL: nothing mapped at present */
    size_t size;
    dev_t device;
    ino_t inode;
    sb_l1_reader reader;
    uint8_t boot_id[16];
};

static sb_edge_mapped *told_of_map; /* written once, before any thread reads a cache */

static sb_status map(sb_edge_cache *cache, sb_why *why);
static sb_status check(const sb_edge_cache *cache, const struct stat *st, sb_why *why);
static void unmap(sb_edge_cache *cache);
static bool refresh(sb_edge_cache *cache);
static sb_tick now_tick(const sb_edge_cache *cache, bool *ret_guessed);
static void read_boot_id(uint8_t ret[16]);
static sb_ns clock_ns(clockid_t id);

sb_status sb_edge_cache_open(const char *path, sb_edge_cache **ret, sb_why *why)
{
    sb_edge_cache *cache = sb_new(sb_edge_cache);
    sb_status status = SB_NOMEM;
    if (cache)
        cache->path = sb_strdup(path);
    if (!cache || !cache->path) {
        sb_why_set(why, status, "no memory for the cache file %s", path);
        goto done;
    }
    read_boot_id(cache->boot_id);
    status = map(cache, why);
    if (status != SB_OK)
        goto done;
    *ret = cache;
    cache = NULL;
done:
    sb_edge_cache_close(cache);
    return status;
}

void sb_edge_cache_on_map(sb_edge_mapped *told)
{
    told_of_map = told;
}

void sb_edge_cache_close(sb_edge_cache *cache)
{
    if (!cache)
        return;
    unmap(cache);
    sb_free(cache->path);
    sb_free(cache);
}

bool sb_edge_cache_header(sb_edge_cache *cache, sb_l1_header_info *ret)
{
    return refresh(cache) && sb_l1_reader_header(&cache->reader, ret);
}

bool sb_edge_cache_alive(sb_edge_cache *cache)
{
    sb_l1_header_info header;
    bool guessed;
    if (!sb_edge_cache_header(cache, &header) || header.writer_clean)
        return false;
    sb_tick now = now_tick(cache, &guessed);
    return !guessed && (now <= header.heartbeat ||
                        now - header.heartbeat <= SB_EDGE_HEARTBEAT_S * SB_TICKS_PER_S);
}

sb_status sb_edge_cache_find(sb_edge_cache *cache, const sb_question *question,
                             sb_l1_buffer *buffer, sb_edge_hit *ret)
{
    sb_edge_hit hit;
    sb_question folded = *question;
    sb_l1_key key = {.question = &folded, .view = SB_VIEW_ANY};
    bool guessed;
    if (!refresh(cache))
        return SB_NOTFOUND;
    sb_name_fold(&folded.name);
    sb_status status = sb_l1_find(&cache->reader, &key, buffer, &hit.entry);
    if (status != SB_OK)
        return status;
    if (!sb_l1_servable(&cache->reader, &hit.entry))
        return SB_NOTFOUND;
    sb_tick now = now_tick(cache, &guessed);
    hit.freshness = sb_l1_freshness(&hit.entry, now);
    if (hit.freshness == SB_DEAD)
        return SB_NOTFOUND;
    hit.age_known = !(hit.entry.flags & SB_L1_AGE_UNKNOWN);
    sb_tick learned = hit.entry.life.learned, due = hit.entry.life.due;
    hit.age_s = hit.age_known && now > learned ? (now - learned) / SB_TICKS_PER_S : 0;
    hit.left_s = hit.freshness == SB_FRESH && due > now ? (due - now) / SB_TICKS_PER_S : 0;
    *ret = hit;
    return SB_OK;
}

sb_ns sb_edge_now(void)
{
    return clock_ns(CLOCK_BOOTTIME);
}

void sb_edge_clock(sb_clock *ret)
{
    ret->boot_ns = clock_ns(CLOCK_BOOTTIME);
    ret->wall_ns = clock_ns(CLOCK_REALTIME);
    read_boot_id(ret->boot_id);
}

static sb_status map(sb_edge_cache *cache, sb_why *why)
{
    struct stat st;
    sb_status status;
    int fd = open(cache->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        int error = errno;
        return sb_why_set(why, sb_status_from_errno(error), "cache file %s: %s", cache->path,
                          strerror(error));
    }
    if (fstat(fd, &st) != 0) {
        int error = errno;
        status = sb_why_set(why, sb_status_from_errno(error), "cache file %s: %s", cache->path,
                            strerror(error));
        goto done;
    }
    status = check(cache, &st, why);
    if (status != SB_OK)
        goto done;
    cache->size = (size_t)st.st_size;
    cache->device = st.st_dev;
    cache->inode = st.st_ino;
    cache->base = mmap(NULL, cache->size, PROT_READ, MAP_SHARED, fd, 0);
    if (cache->base == MAP_FAILED) {
        int error = errno;
        cache->base = NULL;
        status = sb_why_set(why, sb_status_from_errno(error), "cache file %s: %s", cache->path,
                            strerror(error));
        goto done;
    }
    if (told_of_map)
        told_of_map(cache->base, cache->size, true);
    status = sb_l1_reader_init(cache->base, cache->size, &cache->reader, why);
    if (status != SB_OK)
        unmap(cache);
done:
    close(fd);
    return status;
}

static sb_status check(const sb_edge_cache *cache, const struct stat *st, sb_why *why)
{
    struct stat directory;
    bool trusted = st->st_uid == 0;
    if (!S_ISREG(st->st_mode))
        return sb_why_set(why, SB_PERM, "cache file %s: not a regular file", cache->path);
    if (!getauxval(AT_SECURE))
        trusted = trusted || st->st_uid == geteuid();
    if (!trusted && lstat(RUNTIME_DIRECTORY, &directory) == 0 && S_ISDIR(directory.st_mode))
        trusted = st->st_uid == directory.st_uid;
    if (!trusted)
        return sb_why_set(why, SB_PERM,
                          "cache file %s: owned by uid %u, who is neither root, the daemon nor you",
                          cache->path, (unsigned)st->st_uid);
    if (st->st_mode & (S_IWGRP | S_IWOTH))
        return sb_why_set(why, SB_PERM, "cache file %s: others may write it", cache->path);
    if (st->st_size <= 0)
        return sb_why_set(why, SB_MALFORMED, "cache file %s: empty", cache->path);
    return SB_OK;
}

static void unmap(sb_edge_cache *cache)
{
    if (cache->base && told_of_map)
        told_of_map(cache->base, cache->size, false);
    if (cache->base)
        munmap(cache->base, cache->size);
    cache->base = NULL;
}

/* True when what is mapped is the file of that path, whole. */
static bool refresh(sb_edge_cache *cache)
{
    struct stat st;
    sb_l1_header_info header;
    if (cache->base && lstat(cache->path, &st) == 0 && st.st_dev == cache->device &&
        st.st_ino == cache->inode && st.st_size >= 0 && (size_t)st.st_size >= cache->size &&
        sb_l1_reader_header(&cache->reader, &header) && !header.retired)
        return true;
    unmap(cache);
    return map(cache, NULL) == SB_OK;
}

static sb_tick now_tick(const sb_edge_cache *cache, bool *ret_guessed)
{
    sb_clock clock = {.boot_ns = clock_ns(CLOCK_BOOTTIME), .wall_ns = clock_ns(CLOCK_REALTIME)};
    sb_writer w = sb_writer_of(clock.boot_id, sizeof clock.boot_id);
    sb_write_bytes(&w, cache->boot_id, sizeof cache->boot_id);
    return sb_l1_reader_tick(&cache->reader, &clock, ret_guessed);
}

/* Hexadecimal digits, whatever stands between them; zeros where /proc is not there. */
static void read_boot_id(uint8_t ret[16])
{
    char text[37] = {0};
    unsigned nibbles = 0;
    memset(ret, 0, 16);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (read(fd, text, sizeof text - 1) < 0)
        text[0] = '\0';
    close(fd);
    for (const char *p = text; *p && nibbles < 32; p++) {
        uint8_t c = sb_ascii_lower((uint8_t)*p);
        bool digit = sb_ascii_digit((char)c);
        if (!digit && (c < 'a' || c > 'f'))
            continue;
        uint8_t value = (uint8_t)(digit ? c - '0' : c - 'a' + 10);
        ret[nibbles / 2] = (uint8_t)(ret[nibbles / 2] << 4 | value);
        nibbles++;
    }
}

static sb_ns clock_ns(clockid_t id)
{
    struct timespec ts = {0};
    clock_gettime(id, &ts);
    return ts.tv_sec * SB_S + ts.tv_nsec;
}
