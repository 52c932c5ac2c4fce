/* Datagrams of uv_env: received by the batch, replies sent by the batch that they answer. The
 * loop's thread.
 *
 * Connected sockets take ICMP errors (IP_RECVERR: host and network unreachable too); listening
 * ones do not, since there they would only tell of clients that went away. RFC 3542, 6056 (ports
 * are the kernel's choice). */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <linux/errqueue.h> /* needs struct timespec before it */

#include "base/mem.h"
#include "io/uv_internal.h"

/* Batches of one socket before the others get their turn. */
#define ROUNDS_MAX 4
#define ERRORS_MAX 64

static int set_family_options(int fd, const sb_udp_options *options);
static void receive_batches(sb_uv_socket *s);
static int take_errors(int fd);
static void tell_failed(sb_uv_socket *s, int error);
static void set_buffers(int fd, int bytes);

sb_status sb_udp_socket_open(const sb_udp_options *options, int *ret_fd, sb_why *why)
{
    const sb_addr *local = &options->local;
    struct sockaddr_storage sa;
    int family = local->family == SB_FAMILY_6 ? AF_INET6 : AF_INET;
    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return sb_uv_why_address(why, errno);
    int one = 1;
    int error = set_family_options(fd, options);
    if (!error && options->reuse_port &&
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) != 0)
        error = errno;
    if (options->buffer_bytes > 0)
        set_buffers(fd, options->buffer_bytes);
    if (!error) {
        socklen_t size = sb_addr_to_sockaddr(local, &sa);
        if (bind(fd, (struct sockaddr *)&sa, size) != 0)
            error = errno;
    }
    if (error) {
        close(fd);
        return sb_uv_why_address(why, error);
    }
    *ret_fd = fd;
    return SB_OK;
}

sb_status sb_uv_udp_open(sb_env *env, const sb_udp_options *options, const sb_udp_events *events,
                         void *owner, sb_socket *ret, sb_why *why)
{
    char text[SB_ADDR_TEXT_MAX];
    int fd;
    sb_status status = sb_udp_socket_open(options, &fd, why);
    if (status != SB_OK)
        return status;
    bool connected = options->remote.family != SB_FAMILY_NONE;
    if (connected) {
        struct sockaddr_storage sa;
        socklen_t size = sb_addr_to_sockaddr(&options->remote, &sa);
        if (connect(fd, (struct sockaddr *)&sa, size) != 0) {
            int error = errno;
            close(fd);
            return sb_uv_why(why, error, "cannot send to %s",
                             sb_addr_text_port(&options->remote, text));
        }
    }
    sb_uv_socket *s;
    status = sb_uv_socket_new(sb_uv_of(env), SB_UV_UDP, fd, owner, &s);
    if (status != SB_OK)
        return sb_why_set(why, status, "cannot open a UDP socket: %s", sb_status_text(status));
    s->udp.events = *events;
    s->udp.connected = connected;
    (void)env->ops->local_address(env, s->id, &s->udp.local);
    sb_uv_socket_watch(s, UV_READABLE);
    *ret = s->id;
    return SB_OK;
}

/* While a batch is handed out its replies are gathered, and go in one call at its end. */
sb_status sb_uv_udp_send(sb_env *env, sb_socket id, const sb_addr *to, const sb_addr *from,
                         const void *bytes, size_t size)
{
    sb_uv_env *u = sb_uv_of(env);
    sb_uv_socket *s = sb_uv_socket_find(u, id, SB_UV_UDP);
    if (!s)
        return sb_uv_netlink_send(u, id, bytes, size);
    if (s->udp.connected)
        to = NULL;
    if (u->batching != s || size > SB_UDP_BATCH_BYTES)
        return sb_udp_send_one(s->fd, to, from, bytes, size);
    uint8_t *room = sb_udp_batch_room(u->out);
    if (!room) {
        sb_udp_batch_send(u->out, s->fd);
        room = sb_udp_batch_room(u->out);
    }
    memcpy(room, bytes, size);
    sb_udp_batch_add(u->out, size, to, from);
    return SB_OK;
}

sb_status sb_uv_source_address(sb_env *env, const sb_addr *destination, sb_addr *ret_source)
{
    (void)env;
    struct sockaddr_storage sa;
    sb_addr to = *destination;
    if (to.port == 0)
        to.port = 53; /* connect wants one; nothing is sent */
    socklen_t size = sb_addr_to_sockaddr(&to, &sa);
    int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return SB_UNREACHABLE;
    sb_status status = SB_UNREACHABLE;
    if (connect(fd, (struct sockaddr *)&sa, size) == 0) {
        size = sizeof(sa);
        if (getsockname(fd, (struct sockaddr *)&sa, &size) == 0) {
            *ret_source = sb_addr_from_sockaddr((struct sockaddr *)&sa);
            ret_source->port = 0;
            status = SB_OK;
        }
    }
    close(fd);
    return status;
}

void sb_uv_udp_ready(sb_uv_socket *s, int events, bool error)
{
    (void)events;
    uint32_t generation = s->id.generation;
    if (error && s->udp.connected) {
        int icmp = take_errors(s->fd);
        if (icmp)
            tell_failed(s, icmp);
    }
    if (s->id.generation == generation)
        receive_batches(s);
}

void sb_uv_udp_flush(sb_uv_env *u)
{
    if (u->batching && u->batching->fd >= 0)
        sb_udp_batch_send(u->out, u->batching->fd);
    u->batching = NULL;
}

/* A callback may close this socket, upon which the rest of the batch is nobody's. */
static void receive_batches(sb_uv_socket *s)
{
    sb_uv_env *u = s->env;
    uint32_t generation = s->id.generation;
    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        int got = sb_udp_batch_receive(u->in, s->fd);
        if (got < 0) {
            if (s->udp.connected)
                tell_failed(s, -got);
            return;
        }
        if (s->udp.connected ? got > 1 : got > 0)
            u->batching = s;
        for (int i = 0; i < got; i++) {
            sb_datagram datagram;
            bool whole = sb_udp_batch_get(u->in, (unsigned)i, s->udp.local.port, &datagram);
            if (!whole || s->id.generation != generation)
                continue;
            if (datagram.to.family == SB_FAMILY_NONE && !sb_addr_is_any(&s->udp.local))
                datagram.to = s->udp.local;
            s->udp.events.received(s->owner, s->id, &datagram);
        }
        sb_uv_udp_flush(u);
        if (s->id.generation != generation || got < SB_UDP_BATCH_MAX)
            return;
    }
}

static void tell_failed(sb_uv_socket *s, int error)
{
    if (s->udp.events.failed)
        s->udp.events.failed(s->owner, s->id, sb_status_from_errno(error));
}

/* Empties the error queue, which would else wake the loop for ever; the last error stands for
 * all. */
static int take_errors(int fd)
{
    int found = 0;
    for (unsigned i = 0; i < ERRORS_MAX; i++) {
        _Alignas(struct cmsghdr) uint8_t control[256];
        struct msghdr header = {.msg_control = control, .msg_controllen = sizeof(control)};
        if (recvmsg(fd, &header, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
            break;
        struct cmsghdr *c = CMSG_FIRSTHDR(&header);
        if (!c || c->cmsg_len < CMSG_LEN(sizeof(struct sock_extended_err)))
            continue;
        struct sock_extended_err e;
        memcpy(&e, CMSG_DATA(c), sizeof(e));
        if (e.ee_errno != EMSGSIZE)
            found = (int)e.ee_errno;
    }
    int pending = 0;
    socklen_t size = sizeof(pending);
    (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &pending, &size); /* told once, not twice */
    return found ? found : pending;
}

static int set_family_options(int fd, const sb_udp_options *options)
{
    int one = 1;
    bool v6 = options->local.family == SB_FAMILY_6;
    bool connected = options->remote.family != SB_FAMILY_NONE;
    if (v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) != 0)
        return errno;
    if (options->packet_info) {
        if (setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVPKTINFO : IP_PKTINFO, &one,
                       sizeof(one)) != 0)
            return errno;
        (void)setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVHOPLIMIT : IP_RECVTTL,
                         &one, sizeof(one));
    }
    if (connected)
        (void)setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVERR : IP_RECVERR, &one,
                         sizeof(one));
    /* Forged "fragmentation needed" messages must not shape our packets, which are small anyway. */
    int omit = v6 ? IPV6_PMTUDISC_OMIT : IP_PMTUDISC_OMIT;
    (void)setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER,
                     &omit, sizeof(omit));
    return 0;
}

/* Beyond the system's limit only with CAP_NET_ADMIN; what was granted is the caller's to read. */
static void set_buffers(int fd, int bytes)
{
    static const int names[][2] = {{SO_RCVBUFFORCE, SO_RCVBUF}, {SO_SNDBUFFORCE, SO_SNDBUF}};
    for (size_t i = 0; i < SB_ARRAY_SIZE(names); i++)
        if (setsockopt(fd, SOL_SOCKET, names[i][0], &bytes, sizeof(bytes)) != 0)
            (void)setsockopt(fd, SOL_SOCKET, names[i][1], &bytes, sizeof(bytes));
}
