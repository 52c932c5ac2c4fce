/* Files of uv_env: read whole, replace atomically, look. The loop's thread.
 *
 * Synchronous: these are small files, read at start and reload. Mappings are uv_map's. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/uv_internal.h"

static sb_status grow(uint8_t **bytes, size_t capacity, const char *path, sb_why *why);
static int write_all(int fd, const uint8_t *bytes, size_t size);
static void sync_directory(const char *path);

sb_status sb_uv_make_parent(const char *path, sb_why *why)
{
    char part[4096];
    size_t length = strlen(path);
    if (length >= sizeof(part))
        return sb_why_set(why, SB_INVALID, "the path %.64s… is too long", path);
    mode_t mode = geteuid() == 0 ? 0755 : 0700;
    for (size_t i = 1; i < length; i++) {
        if (path[i] != '/')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        struct stat st;
        if (stat(part, &st) == 0)
            continue;
        if (errno != ENOENT)
            return sb_uv_why(why, errno, "cannot look into the directory %s", part);
        if (mkdir(part, mode) == 0) {
            (void)chmod(part, mode); /* whatever the umask */
        } else if (errno != EEXIST) {
            return sb_uv_why(why, errno, "cannot make the directory %s", part);
        }
    }
    return SB_OK;
}

sb_status sb_uv_permit(const char *path, unsigned mode, int64_t group, sb_why *why)
{
    struct stat st;
    gid_t wanted = group >= 0 ? (gid_t)group : getegid();
    if (lstat(path, &st) != 0)
        return sb_uv_why(why, errno, "cannot look at %s", path);
    if ((!S_ISSOCK(st.st_mode) && !S_ISREG(st.st_mode)) || st.st_uid != geteuid())
        return sb_why_set(why, SB_PERM, "%s is not ours any more", path);
    if (st.st_gid == wanted && (st.st_mode & 07777) == mode)
        return SB_OK;
    /* Closed in between: neither group ever has the other's mode. */
    if (fchmodat(AT_FDCWD, path, 0600, AT_SYMLINK_NOFOLLOW) != 0 ||
        lchown(path, (uid_t)-1, wanted) != 0 ||
        fchmodat(AT_FDCWD, path, (mode_t)mode, AT_SYMLINK_NOFOLLOW) != 0)
        return sb_uv_why(why, errno, "cannot give %s mode %04o and group %u", path, mode,
                         (unsigned)wanted);
    return SB_OK;
}

sb_status sb_uv_file_read(sb_env *env, const char *path, size_t max, uint8_t **ret_bytes,
                          size_t *ret_size, sb_why *why)
{
    (void)env;
    struct stat st;
    uint8_t *bytes = NULL;
    size_t size = 0, capacity = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return sb_uv_why(why, errno, "cannot open %s", path);
    sb_status status = SB_OK;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        status = sb_why_set(why, SB_INVALID, "%s is not a regular file", path);
        goto done;
    }
    capacity = st.st_size > 0 && (uint64_t)st.st_size <= max ? (size_t)st.st_size + 1 : 4096;
    status = grow(&bytes, capacity, path, why);
    while (status == SB_OK) { /* sizes in /proc lie: read until the end */
        ssize_t got = read(fd, bytes + size, capacity - size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            status = sb_uv_why(why, errno, "cannot read %s", path);
            goto done;
        }
        if (got == 0)
            break;
        size += (size_t)got;
        if (size > max)
            status = sb_why_set(why, SB_LIMIT, "%s is larger than %zu bytes", path, max);
        else if (size == capacity)
            status = grow(&bytes, capacity *= 2, path, why);
    }
    if (status == SB_OK) {
        *ret_bytes = bytes;
        *ret_size = size;
        bytes = NULL;
    }
done:
    sb_free(bytes);
    close(fd);
    return status;
}

sb_status sb_uv_file_replace(sb_env *env, const char *path, unsigned mode, const void *bytes,
                             size_t size, sb_why *why)
{
    uint64_t tag;
    char name[4096];
    env->ops->entropy(env, &tag, sizeof(tag));
    int length = snprintf(name, sizeof(name), "%s.%016llx", path, (unsigned long long)tag);
    if (length < 0 || (size_t)length >= sizeof(name))
        return sb_why_set(why, SB_INVALID, "the path %.64s… is too long", path);
    sb_status status = sb_uv_make_parent(path, why);
    if (status != SB_OK)
        return status;
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return sb_uv_why(why, errno, "cannot write %s", path);
    int error = write_all(fd, bytes, size);
    if (!error && fchmod(fd, (mode_t)mode) != 0)
        error = errno;
    if (!error && fsync(fd) != 0)
        error = errno;
    if (close(fd) != 0 && !error)
        error = errno;
    if (!error && rename(name, path) != 0)
        error = errno;
    if (error) {
        unlink(name);
        return sb_uv_why(why, error, "cannot write %s", path);
    }
    sync_directory(path);
    return SB_OK;
}

void sb_uv_file_stat(sb_env *env, const char *path, sb_file_stat *ret)
{
    (void)env;
    struct stat st;
    *ret = (sb_file_stat){0};
    if (stat(path, &st) != 0)
        return;
    ret->exists = true;
    ret->size = st.st_size > 0 ? (uint64_t)st.st_size : 0;
    ret->modified_ns = st.st_mtim.tv_sec * SB_S + st.st_mtim.tv_nsec;
    ret->changed_ns = st.st_ctim.tv_sec * SB_S + st.st_ctim.tv_nsec;
    ret->inode = st.st_ino;
    ret->device = st.st_dev;
}

static sb_status grow(uint8_t **bytes, size_t capacity, const char *path, sb_why *why)
{
    uint8_t *more = sb_realloc(*bytes, capacity);
    if (!more)
        return sb_why_set(why, SB_NOMEM, "out of memory to read %s", path);
    *bytes = more;
    return SB_OK;
}

static int write_all(int fd, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, bytes, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        bytes += n;
        size -= (size_t)n;
    }
    return 0;
}

/* The rename itself must survive a power loss. */
static void sync_directory(const char *path)
{
    char directory[4096] = ".";
    const char *slash = strrchr(path, '/');
    if (slash) {
        size_t length = slash == path ? 1 : (size_t)(slash - path);
        memcpy(directory, path, length);
        directory[length] = '\0';
    }
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)fsync(fd);
    close(fd);
}
