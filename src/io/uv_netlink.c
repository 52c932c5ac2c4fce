/* Netlink sockets of uv_env: datagrams to and from the kernel's tables.
 *
 * Never looks into a message: whoever opened the socket does. Datagrams of other processes are
 * dropped. RFC 3549. The loop's thread. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/netlink.h> /* needs sa_family_t before it */

#include "base/mem.h"
#include "io/uv_internal.h"

/* Datagrams of one socket before the others get their turn. */
#define ROUNDS_MAX 16

static void set_options(int fd);
static bool receive_one(sb_uv_socket *s);
static void tell_failed(sb_uv_socket *s, sb_status why);

sb_status sb_uv_netlink_open(sb_env *env, int protocol, uint32_t groups,
                             const sb_udp_events *events, void *owner, sb_socket *ret, sb_why *why)
{
    struct sockaddr_nl local = {.nl_family = AF_NETLINK, .nl_groups = groups};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    if (fd < 0)
        return sb_uv_why(why, errno, "cannot open a netlink socket");
    set_options(fd);
    if (bind(fd, (struct sockaddr *)&local, sizeof(local)) != 0) {
        int error = errno;
        close(fd);
        return sb_uv_why(why, error, "cannot listen to the kernel");
    }
    sb_uv_socket *s;
    sb_status status = sb_uv_socket_new(sb_uv_of(env), SB_UV_NETLINK, fd, owner, &s);
    if (status != SB_OK)
        return sb_why_set(why, status, "cannot open a netlink socket: %s", sb_status_text(status));
    s->netlink.events = *events;
    sb_uv_socket_watch(s, UV_READABLE);
    *ret = s->id;
    return SB_OK;
}

sb_status sb_uv_netlink_send(sb_uv_env *u, sb_socket id, const void *bytes, size_t size)
{
    const sb_uv_socket *s = sb_uv_socket_find(u, id, SB_UV_NETLINK);
    if (!s)
        return SB_CLOSED;
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    if (sendto(s->fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&kernel,
               sizeof(kernel)) < 0)
        return sb_status_from_errno(errno);
    return SB_OK;
}

void sb_uv_netlink_ready(sb_uv_socket *s)
{
    uint32_t generation = s->id.generation;
    for (unsigned round = 0; round < ROUNDS_MAX; round++)
        if (!receive_one(s) || s->id.generation != generation)
            return;
}

/* Both are wishes: older kernels know less. */
static void set_options(int fd)
{
    int one = 1;
    (void)setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &one, sizeof(one));
    (void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
}

/* False when there is nothing more for now. The buffer is longer than any datagram that the
 * kernel makes of a dump (32 KiB). */
static bool receive_one(sb_uv_socket *s)
{
    struct sockaddr_nl from = {0};
    struct iovec vector = {.iov_base = s->env->read_buffer, .iov_len = SB_UV_READ_SIZE};
    struct msghdr header = {
        .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &vector, .msg_iovlen = 1};
    ssize_t got = recvmsg(s->fd, &header, MSG_DONTWAIT);
    if (got < 0) {
        int error = errno;
        if (error != EAGAIN && error != EINTR)
            tell_failed(s, sb_status_from_errno(error)); /* ENOBUFS is SB_NOMEM */
        return error == ENOBUFS;
    }
    if (from.nl_pid != 0)
        return true;
    if (header.msg_flags & MSG_TRUNC) {
        tell_failed(s, SB_NOMEM);
        return true;
    }
    sb_datagram datagram = {.bytes = s->env->read_buffer, .size = (size_t)got};
    s->netlink.events.received(s->owner, s->id, &datagram);
    return true;
}

static void tell_failed(sb_uv_socket *s, sb_status why)
{
    if (s->netlink.events.failed)
        s->netlink.events.failed(s->owner, s->id, why);
}
