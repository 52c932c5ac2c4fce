/* Listeners of uv_env: TCP and Unix sockets. The loop's thread.
 *
 * A Unix socket appears under its name with its final owner and mode: its inode is made closed
 * (fchmod before bind), then opened, and the name of a dead predecessor is removed only when
 * nobody answers there. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/uv_internal.h"

#define BACKLOG_DEFAULT 512
#define ACCEPTS_PER_TURN 64
/* Pause when descriptors run out: closing idle clients frees some meanwhile. */
#define ACCEPT_PAUSE (100 * SB_MS)

static sb_status unix_socket_listen(const sb_listen_options *options, int *ret_fd, sb_why *why);
static sb_status remove_stale(const char *path, const struct sockaddr_un *sun, sb_why *why);
static bool accept_one(sb_uv_socket *s);
static void describe_peer(int fd, bool is_unix, const struct sockaddr_storage *sa, sb_peer *ret);
static void resume_accepting(sb_timer *timer);

sb_status sb_tcp_socket_listen(const sb_addr *local, int backlog, bool reuse_port, int *ret_fd,
                               sb_why *why)
{
    struct sockaddr_storage sa;
    socklen_t size = sb_addr_to_sockaddr(local, &sa);
    int one = 1, error = 0;
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return sb_uv_why_address(why, errno);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (sa.ss_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    if (reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) != 0)
        error = errno;
    if (!error && bind(fd, (struct sockaddr *)&sa, size) != 0)
        error = errno;
    if (!error && listen(fd, backlog > 0 ? backlog : BACKLOG_DEFAULT) != 0)
        error = errno;
    if (error) {
        close(fd);
        return sb_uv_why_address(why, error);
    }
    *ret_fd = fd;
    return SB_OK;
}

sb_status sb_uv_stream_listen(sb_env *env, const sb_listen_options *options, sb_accepted *accepted,
                              void *owner, sb_socket *ret, sb_why *why)
{
    int fd;
    bool is_unix = options->local.family == SB_FAMILY_NONE;
    sb_status status = is_unix ? unix_socket_listen(options, &fd, why)
                               : sb_tcp_socket_listen(&options->local, options->backlog,
                                                      options->reuse_port, &fd, why);
    if (status != SB_OK)
        return status;
    sb_uv_socket *s;
    status = sb_uv_socket_new(sb_uv_of(env), SB_UV_LISTENER, fd, owner, &s);
    if (status != SB_OK)
        return sb_why_set(why, status, "cannot listen: %s", sb_status_text(status));
    sb_timer_init(&s->listener.resume, resume_accepting);
    s->listener.accepted = accepted;
    s->listener.on_end = options->ended;
    if (is_unix) {
        struct stat st;
        s->listener.path = sb_strdup(options->path);
        if (s->listener.path && lstat(options->path, &st) == 0) {
            s->listener.device = st.st_dev;
            s->listener.inode = st.st_ino;
        }
    }
    sb_uv_socket_watch(s, UV_READABLE);
    *ret = s->id;
    return SB_OK;
}

sb_status sb_uv_why_address(sb_why *why, int error)
{
    const char *hint = error == EADDRINUSE ? "another program uses it"
                       : error == EACCES   ? "ports below 1024 need CAP_NET_BIND_SERVICE"
                       : error == EADDRNOTAVAIL || error == EAFNOSUPPORT
                           ? "this machine does not have it"
                           : "the system refuses it";
    return sb_uv_why(why, error, "%s", hint);
}

/* The name goes with its socket, unless somebody else's stands there by now. */
void sb_uv_listener_close(sb_uv_socket *s)
{
    struct stat st;
    if (s->listener.path && lstat(s->listener.path, &st) == 0 &&
        st.st_dev == s->listener.device && st.st_ino == s->listener.inode)
        unlink(s->listener.path);
    sb_uv_socket_destroy(s);
}

void sb_uv_listener_ready(sb_uv_socket *s)
{
    uint32_t generation = s->id.generation;
    for (unsigned i = 0; i < ACCEPTS_PER_TURN; i++)
        if (!accept_one(s) || s->id.generation != generation)
            return;
}

/* False when there is nothing more to accept now. */
static bool accept_one(sb_uv_socket *s)
{
    struct sockaddr_storage sa = {0};
    socklen_t size = sizeof(sa);
    int fd = accept4(s->fd, (struct sockaddr *)&sa, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            sb_uv_socket_watch(s, 0);
            sb_timer_set(&s->env->env, &s->listener.resume,
                         sb_env_now(&s->env->env) + ACCEPT_PAUSE);
            return false;
        }
        return errno == ECONNABORTED || errno == EINTR || errno == EPROTO;
    }
    bool is_unix = s->listener.path != NULL;
    int one = 1;
    if (!is_unix)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    sb_peer peer;
    describe_peer(fd, is_unix, &sa, &peer);
    sb_uv_socket *stream;
    if (sb_uv_stream_new(s->env, fd, &stream) != SB_OK)
        return true;
    stream->stream.on_end = s->listener.on_end;
    s->listener.accepted(s->owner, s->id, stream->id, &peer);
    if (!stream->stream.adopted && !stream->closing)
        sb_uv_socket_destroy(stream);
    return true;
}

static void describe_peer(int fd, bool is_unix, const struct sockaddr_storage *sa, sb_peer *ret)
{
    *ret = (sb_peer){.is_unix = is_unix};
    if (is_unix) {
        struct ucred cred;
        socklen_t size = sizeof(cred);
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) == 0) {
            ret->uid = cred.uid;
            ret->gid = cred.gid;
            ret->pid = cred.pid;
        } else {
            ret->uid = ret->gid = UINT32_MAX; /* nobody: no rights follow from it */
        }
        return;
    }
    ret->remote = sb_addr_from_sockaddr((const struct sockaddr *)sa);
    struct sockaddr_storage local = {0};
    socklen_t size = sizeof(local);
    if (getsockname(fd, (struct sockaddr *)&local, &size) == 0)
        ret->local = sb_addr_from_sockaddr((const struct sockaddr *)&local);
}

static void resume_accepting(sb_timer *timer)
{
    sb_uv_socket_watch(sb_container_of(timer, sb_uv_socket, listener.resume), UV_READABLE);
}

static sb_status unix_socket_listen(const sb_listen_options *options, int *ret_fd, sb_why *why)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    const char *path = options->path;
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof(sun.sun_path))
        return sb_why_set(why, SB_INVALID, "the path must have between 1 and %zu bytes",
                          sizeof(sun.sun_path) - 1);
    memcpy(sun.sun_path, path, length + 1);
    sb_status status = sb_uv_make_parent(path, why);
    if (status == SB_OK)
        status = remove_stale(path, &sun, why);
    if (status != SB_OK)
        return status;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return sb_uv_why(why, errno, "cannot open a Unix socket");
    bool bound = false;
    int error = 0;
    if (fchmod(fd, 0600) != 0)
        error = errno;
    if (!error && bind(fd, (struct sockaddr *)&sun, sizeof(sun)) != 0)
        error = errno;
    else
        bound = !error;
    if (!error && options->group >= 0 && lchown(path, (uid_t)-1, (gid_t)options->group) != 0)
        error = errno;
    if (!error && chmod(path, (mode_t)options->mode) != 0)
        error = errno;
    if (!error && listen(fd, options->backlog > 0 ? options->backlog : BACKLOG_DEFAULT) != 0)
        error = errno;
    if (error) {
        close(fd);
        if (bound)
            unlink(path);
        return sb_why_set(why, sb_status_from_errno(error), "%s", strerrordesc_np(error));
    }
    *ret_fd = fd;
    return SB_OK;
}

static sb_status remove_stale(const char *path, const struct sockaddr_un *sun, sb_why *why)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return SB_OK; /* absent, or bind says what is wrong */
    if (!S_ISSOCK(st.st_mode))
        return sb_why_set(why, SB_EXISTS,
                          "what stands there is not a socket");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return sb_uv_why(why, errno, "cannot open a Unix socket");
    int error = connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0 ? 0 : errno;
    close(fd);
    if (error == 0 || error == EAGAIN)
        return sb_why_set(why, SB_EXISTS,
                          "another program listens there");
    if (error != ECONNREFUSED)
        return sb_why_set(why, sb_status_from_errno(error), "%s", strerrordesc_np(error));
    if (unlink(path) != 0 && errno != ENOENT)
        return sb_uv_why(why, errno, "cannot remove the abandoned socket");
    return SB_OK;
}
