/* Mappings of uv_env: the cache file of the one writer. The loop's thread; the SIGBUS guard
 * serves every thread.
 *
 * A mapped file is fully allocated, so that a write cannot fault on a full disk; file systems
 * where that promises nothing (network file systems, those that copy on every write) are refused,
 * and the cache then lives in memory. The lock is an OFD lock: it belongs to the descriptor, and
 * ends with the process however that ends. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/uv_internal.h"

typedef struct mapping_handle {
    int fd;
    bool published;  /* the name is ours for good */
    int guard;       /* place in guarded[], -1 none */
    char *path;      /* where it belongs */
    char *temporary; /* where it is until published; NULL when it was opened */
} mapping_handle;

/* What the SIGBUS handler may repair. A place is taken by exchanging its base, 0, for one above
 * every address; the true base is published with release after size, and read with acquire by the
 * handler, which may run on any thread. */
#define GUARDED_MAX 8
#define GUARD_TAKEN UINTPTR_MAX
static struct {
    _Atomic uintptr_t base;
    _Atomic size_t size;
} guarded[GUARDED_MAX];
static atomic_bool fault_seen; /* relaxed: a flag for a later log line */

static sb_status open_file(const char *path, int *ret_fd, bool *ret_copied, sb_why *why);
static sb_status copy_bytes(mapping_handle *take_h, size_t size, sb_mapping *ret, sb_why *why);
static sb_status lock_file(int fd, const char *path, sb_why *why);
static sb_status check_file(int fd, const char *path, struct stat *ret_st, sb_why *why);
static sb_status check_place(const char *path, sb_why *why);
static sb_status check_file_system(int fd, const char *path, bool fresh, sb_why *why);
static sb_status map_bytes(mapping_handle *take_h, size_t size, sb_mapping *ret, sb_why *why);
static sb_status clear_temporary(const char *name, const char *path, sb_why *why);
static sb_status shape_file(int fd, const char *path, size_t size, unsigned mode, int64_t group,
                            sb_why *why);
static void handle_free(mapping_handle *h);
static int guard_add(const void *base, size_t size);
static void on_sigbus(int number, siginfo_t *info, void *context);

sb_status sb_uv_map_open(sb_env *env, const char *path, sb_mapping *ret, sb_why *why)
{
    (void)env;
    struct stat st = {0}, named;
    mapping_handle *h = sb_new(mapping_handle);
    if (!h)
        return sb_why_set(why, SB_NOMEM, "out of memory to open the cache file");
    h->guard = -1;
    h->published = true;
    h->fd = -1;
    bool copied = false;
    sb_status status = open_file(path, &h->fd, &copied, why);
    if (status == SB_OK)
        status = check_file(h->fd, path, &st, why);
    if (status == SB_OK && copied) /* it locks nobody out */
        return copy_bytes(h, (size_t)st.st_size, ret, why);
    if (status == SB_OK)
        status = check_file_system(h->fd, path, false, why);
    if (status == SB_OK)
        status = lock_file(h->fd, path, why);
    if (status == SB_OK && (lstat(path, &named) != 0 || named.st_ino != st.st_ino))
        status = sb_why_set(why, SB_BUSY, "another process is replacing the cache file %s", path);
    if (status == SB_OK && fallocate(h->fd, FALLOC_FL_KEEP_SIZE, 0, st.st_size) != 0) {
        (void)sb_uv_why(why, errno, "cannot reserve the cache file %s on its disk", path);
        return copy_bytes(h, (size_t)st.st_size, ret, why);
    }
    if (status == SB_OK)
        return map_bytes(h, (size_t)st.st_size, ret, why);
    handle_free(h);
    return status;
}

sb_status sb_uv_map_create(sb_env *env, const char *path, size_t size, unsigned mode, int64_t group,
                           sb_mapping *ret, sb_why *why)
{
    (void)env;
    char name[4096];
    int length = snprintf(name, sizeof(name), "%s.new", path);
    if (length < 0 || (size_t)length >= sizeof(name))
        return sb_why_set(why, SB_INVALID, "the path of the cache file is too long");
    sb_status status = sb_uv_make_parent(path, why);
    if (status == SB_OK)
        status = check_place(path, why);
    if (status == SB_OK)
        status = clear_temporary(name, path, why);
    if (status != SB_OK)
        return status;
    mapping_handle *h = sb_new(mapping_handle);
    if (!h)
        return sb_why_set(why, SB_NOMEM, "out of memory to create the cache file");
    h->guard = -1;
    h->fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (h->fd < 0)
        status = sb_uv_why(why, errno, "cannot create the cache file %s", path);
    else if (!(h->temporary = sb_strdup(name)) || !(h->path = sb_strdup(path)))
        status = sb_why_set(why, SB_NOMEM, "out of memory to create the cache file");
    if (status == SB_OK)
        status = lock_file(h->fd, path, why);
    if (status == SB_OK)
        status = check_file_system(h->fd, path, true, why);
    if (status == SB_OK)
        status = shape_file(h->fd, path, size, mode, group, why);
    if (status == SB_OK)
        return map_bytes(h, size, ret, why);
    handle_free(h);
    return status;
}

sb_status sb_uv_map_publish(sb_env *env, sb_mapping *mapping, sb_why *why)
{
    (void)env;
    mapping_handle *h = mapping->handle;
    if (!h || h->published)
        return SB_OK;
    sb_status status = check_place(h->path, why); /* again: a rename asks nobody */
    if (status != SB_OK)
        return status;
    if (rename(h->temporary, h->path) != 0)
        return sb_uv_why(why, errno, "cannot put the cache file %s in its place", h->path);
    h->published = true;
    return SB_OK;
}

sb_status sb_uv_map_memory(sb_env *env, size_t size, sb_mapping *ret, sb_why *why)
{
    (void)env;
    mapping_handle *h = sb_new(mapping_handle);
    if (!h)
        return sb_why_set(why, SB_NOMEM, "out of memory for the cache");
    h->guard = h->fd = -1; /* of no file: a limit on the size of files is none of memory's */
    h->published = true;
    return map_bytes(h, size, ret, why);
}

void sb_uv_map_flush(sb_env *env, sb_mapping *mapping)
{
    (void)env;
    if (mapping->base && mapping->in_file)
        (void)msync(mapping->base, mapping->size, MS_ASYNC);
}

void sb_uv_map_close(sb_env *env, sb_mapping *mapping)
{
    (void)env;
    mapping_handle *h = mapping->handle;
    if (!h)
        return;
    if (h->guard >= 0)
        atomic_store_explicit(&guarded[h->guard].base, 0, memory_order_release);
    munmap(mapping->base, mapping->size);
    handle_free(h);
    *mapping = (sb_mapping){0};
}

void sb_uv_guard_sigbus(void)
{
    struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}

bool sb_uv_sigbus_seen(void)
{
    return atomic_load_explicit(&fault_seen, memory_order_relaxed);
}

void sb_uv_guard_mapping(const void *base, size_t size, bool mapped)
{
    if (mapped) {
        (void)guard_add(base, size);
        return;
    }
    for (int i = 0; i < GUARDED_MAX; i++)
        if (atomic_load_explicit(&guarded[i].base, memory_order_relaxed) == (uintptr_t)base)
            atomic_store_explicit(&guarded[i].base, 0, memory_order_release);
}

/* Only system calls in here. Whatever is not ours dies of it, as it would have without us. */
static void on_sigbus(int number, siginfo_t *info, void *context)
{
    (void)context;
    int saved = errno;
    uintptr_t at = (uintptr_t)info->si_addr;
    for (size_t i = 0; i < GUARDED_MAX; i++) {
        uintptr_t base = atomic_load_explicit(&guarded[i].base, memory_order_acquire);
        size_t size = atomic_load_explicit(&guarded[i].size, memory_order_relaxed);
        if (base == 0 || at < base || at - base >= size)
            continue;
        uintptr_t page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
        void *page = (void *)(at & ~(page_size - 1));
        if (mmap(page, page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                 -1, 0) == MAP_FAILED)
            break;
        atomic_store_explicit(&fault_seen, true, memory_order_relaxed);
        errno = saved;
        return;
    }
    signal(number, SIG_DFL); /* the instruction runs again, and ends the process */
    errno = saved;
}

static int guard_add(const void *base, size_t size)
{
    for (int i = 0; i < GUARDED_MAX; i++) {
        uintptr_t vacant = 0;
        if (!atomic_compare_exchange_strong_explicit(&guarded[i].base, &vacant, GUARD_TAKEN,
                                                     memory_order_relaxed, memory_order_relaxed))
            continue;
        atomic_store_explicit(&guarded[i].size, size, memory_order_relaxed);
        atomic_store_explicit(&guarded[i].base, (uintptr_t)base, memory_order_release);
        return i;
    }
    return -1;
}

static sb_status map_bytes(mapping_handle *take_h, size_t size, sb_mapping *ret, sb_why *why)
{
    bool in_file = take_h->fd >= 0;
    int flags = in_file ? MAP_SHARED : MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE;
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, take_h->fd, 0);
    if (base == MAP_FAILED) {
        int error = errno;
        handle_free(take_h);
        return in_file ? sb_uv_why(why, error, "cannot map %zu bytes of the cache", size)
                       : sb_uv_why(why, error, "cannot make a cache of %zu bytes in memory", size);
    }
    take_h->guard = guard_add(base, size);
    *ret = (sb_mapping){.base = base, .size = size, .handle = take_h, .in_file = in_file};
    return SB_OK;
}

/* Of a disk's error, or a file cut meanwhile, nothing but the rest is lost: it does not check. */
static sb_status copy_bytes(mapping_handle *take_h, size_t size, sb_mapping *ret, sb_why *why)
{
    sb_mapping copy;
    int fd = take_h->fd;
    take_h->fd = -1; /* of no file from here on */
    sb_status status = map_bytes(take_h, size, &copy, why);
    for (size_t at = 0; status == SB_OK && at < size;) {
        ssize_t got = pread(fd, (uint8_t *)copy.base + at, size - at, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        at += (size_t)got;
    }
    close(fd);
    if (status == SB_OK)
        *ret = copy;
    return status;
}

static void handle_free(mapping_handle *h)
{
    if (h->temporary && !h->published)
        unlink(h->temporary);
    if (h->fd >= 0)
        close(h->fd);
    sb_free(h->temporary);
    sb_free(h->path);
    sb_free(h);
}

static sb_status open_file(const char *path, int *ret_fd, bool *ret_copied, sb_why *why)
{
    const int flags = O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    int fd = open(path, O_RDWR | flags);
    if (fd < 0) {
        int error = errno;
        if (error == ELOOP)
            return sb_why_set(why, SB_PERM, "the cache file %s is a symbolic link", path);
        sb_status status = sb_uv_why(why, error, "cannot open the cache file %s", path);
        if (error == EROFS || error == EACCES || error == EPERM)
            fd = open(path, O_RDONLY | flags);
        if (fd < 0)
            return status;
        *ret_copied = true;
    }
    *ret_fd = fd;
    return SB_OK;
}

static sb_status lock_file(int fd, const char *path, sb_why *why)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return SB_OK;
    if (errno == EAGAIN || errno == EACCES)
        return sb_why_set(why, SB_BUSY, "the cache file %s is locked by another process", path);
    return sb_uv_why(why, errno, "cannot lock the cache file %s", path);
}

/* What stands there may have been put there for us to trip over. */
static sb_status check_file(int fd, const char *path, struct stat *ret_st, sb_why *why)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return sb_uv_why(why, errno, "cannot look at the cache file %s", path);
    if (!S_ISREG(st.st_mode))
        return sb_why_set(why, SB_PERM, "the cache file %s is not a regular file; left alone",
                          path);
    if (st.st_uid != geteuid())
        return sb_why_set(why, SB_PERM, "the cache file %s belongs to another user (uid %u)", path,
                          (unsigned)st.st_uid);
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return sb_why_set(why, SB_PERM, "the cache file %s is writable by others (mode %04o)", path,
                          (unsigned)(st.st_mode & 07777));
    if (st.st_size == 0)
        return sb_why_set(why, SB_MALFORMED, "the cache file %s is empty", path);
    *ret_st = st;
    return SB_OK;
}

/* A device, a FIFO, a link was never ours: only a regular file may go to make room. */
static sb_status check_place(const char *path, sb_why *why)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? SB_OK : sb_uv_why(why, errno, "cannot look at %s", path);
    if (!S_ISREG(st.st_mode))
        return sb_why_set(why, SB_PERM, "%s is not a regular file; left alone", path);
    return SB_OK;
}

static sb_status check_file_system(int fd, const char *path, bool fresh, sb_why *why)
{
    static const unsigned long refused[] = {
        NFS_SUPER_MAGIC,  SMB_SUPER_MAGIC, SMB2_SUPER_MAGIC, CIFS_SUPER_MAGIC,
        CEPH_SUPER_MAGIC, AFS_SUPER_MAGIC, AFS_FS_MAGIC,     CODA_SUPER_MAGIC,
        FUSE_SUPER_MAGIC, V9FS_MAGIC,      NCP_SUPER_MAGIC,  0x0bd00bd0, /* Lustre */
        0x2fc12fc1, /* ZFS: allocates anew on every write */
    };
    struct statfs fs;
    if (fstatfs(fd, &fs) != 0)
        return sb_uv_why(why, errno, "cannot look at the file system of %s", path);
    for (size_t i = 0; i < SB_ARRAY_SIZE(refused); i++)
        if ((unsigned long)fs.f_type == refused[i])
            return sb_why_set(why, SB_UNSUPPORTED,
                              "the file system of the cache file %s cannot hold a safe shared "
                              "mapping",
                              path);
    if ((unsigned long)fs.f_type == BTRFS_SUPER_MAGIC && fresh) {
        int flags = 0; /* written in place, else an allocation promises nothing there */
        if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
            flags |= FS_NOCOW_FL;
            (void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
        }
    }
    return SB_OK;
}

static sb_status shape_file(int fd, const char *path, size_t size, unsigned mode, int64_t group,
                            sb_why *why)
{
    if (fallocate(fd, 0, 0, (off_t)size) != 0)
        return sb_uv_why(why, errno, "cannot reserve %zu bytes for the cache file %s", size, path);
    if (group >= 0 && fchown(fd, (uid_t)-1, (gid_t)group) != 0)
        return sb_uv_why(why, errno, "cannot give the cache file %s to its group", path);
    if (fchmod(fd, (mode_t)mode) != 0)
        return sb_uv_why(why, errno, "cannot set the mode of the cache file %s", path);
    return SB_OK;
}

/* A temporary left by a process that was killed goes; one that is locked is another's work in
 * progress. */
static sb_status clear_temporary(const char *name, const char *path, sb_why *why)
{
    sb_status status = check_place(name, why);
    if (status != SB_OK)
        return status;
    int fd = open(name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0) {
        status = lock_file(fd, path, why);
        close(fd);
        if (status == SB_BUSY)
            return status;
    } else if (errno == ENOENT) {
        return SB_OK;
    }
    if (unlink(name) != 0 && errno != ENOENT)
        return sb_uv_why(why, errno, "cannot remove the unfinished cache file %s", name);
    return SB_OK;
}
