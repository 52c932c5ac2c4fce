/* A kernel that says anything, for what talks netlink: an env whose netlink sockets are fed from
 * the input. Chunks of [u8 action][u16 size, network order][bytes]: a datagram for socket
 * action & 1, its messages renumbered to the request awaited when bit 2 is set; action 0x40: size
 * milliseconds pass; 0x41: the sockets fail with status `size`. */
#ifndef TEST_FUZZ_NETLINK_H
#define TEST_FUZZ_NETLINK_H

#include "base/mem.h"
#include "fuzz_check.h"
#include "net/netlink.h"

#define KERNEL_SOCKETS 2

typedef struct kernel {
    sb_env env; /* first */
    sb_ns now;
    struct {
        uint32_t generation; /* 0: closed */
        const sb_udp_events *events;
        void *owner;
    } sockets[KERNEL_SOCKETS];
    uint32_t opened, sequence;
    unsigned requests;
} kernel;

static inline sb_ns kernel_now(sb_env *env)
{
    return ((kernel *)(void *)env)->now;
}

static inline void kernel_rearm(sb_env *env)
{
    (void)env;
}

static inline sb_status kernel_open(sb_env *env, int protocol, uint32_t groups,
                                    const sb_udp_events *events, void *owner, sb_socket *ret,
                                    sb_why *why)
{
    kernel *k = (kernel *)(void *)env;
    (void)why;
    (void)protocol;
    uint32_t at = groups == 0; /* the first one listens, the second one asks */
    CHECK(k->sockets[at].generation == 0);
    k->sockets[at].generation = ++k->opened;
    k->sockets[at].events = events;
    k->sockets[at].owner = owner;
    *ret = (sb_socket){.index = at, .generation = k->opened};
    return SB_OK;
}

static inline sb_status kernel_send(sb_env *env, sb_socket socket, const sb_addr *to,
                                    const sb_addr *from, const void *bytes, size_t size)
{
    kernel *k = (kernel *)(void *)env;
    CHECK(!to && !from && socket.index < KERNEL_SOCKETS);
    CHECK(k->sockets[socket.index].generation == socket.generation);
    const struct nlmsghdr *request = bytes;
    CHECK(size <= SB_NETLINK_REQUEST_MAX && request->nlmsg_len == size);
    CHECK(request->nlmsg_flags & NLM_F_REQUEST);
    k->sequence = request->nlmsg_seq;
    k->requests++;
    return SB_OK;
}

static inline void kernel_close(sb_env *env, sb_socket socket)
{
    kernel *k = (kernel *)(void *)env;
    CHECK(k->sockets[socket.index].generation == socket.generation);
    k->sockets[socket.index].generation = 0;
}

static inline void kernel_init(kernel *k)
{
    static const sb_env_ops ops = {.now = kernel_now,
                                   .rearm = kernel_rearm,
                                   .netlink_open = kernel_open,
                                   .udp_send = kernel_send,
                                   .close = kernel_close};
    *k = (kernel){.now = SB_S};
    sb_env_init(&k->env, &ops, 1);
}

static inline void kernel_drain(kernel *k)
{
    while (sb_env_drain(&k->env, 100) <= k->now)
        ;
}

/* In a block of its own size, so that a byte beyond it is seen. */
static inline void kernel_deliver(kernel *k, uint32_t at, sb_span bytes, bool renumber)
{
    sb_socket socket = {.index = at, .generation = k->sockets[at].generation};
    uint8_t *copy = sb_alloc(bytes.size ? bytes.size : 1);
    CHECK(copy);
    if (bytes.size)
        memcpy(copy, bytes.data, bytes.size);
    for (size_t i = 0; renumber && i + sizeof(struct nlmsghdr) <= bytes.size;) {
        struct nlmsghdr *message = (struct nlmsghdr *)(void *)(copy + i);
        message->nlmsg_seq = k->sequence;
        size_t step = ((size_t)message->nlmsg_len + MNL_ALIGNTO - 1) / MNL_ALIGNTO * MNL_ALIGNTO;
        i = step < sizeof(*message) || step > bytes.size ? bytes.size : i + step;
    }
    sb_datagram datagram = {.bytes = copy, .size = bytes.size};
    if (socket.generation)
        k->sockets[at].events->received(k->sockets[at].owner, socket, &datagram);
    sb_free(copy);
}

/* Plays the whole input. */
static inline void kernel_play(kernel *k, const uint8_t *data, size_t size)
{
    sb_reader r = sb_reader_of(data, size);
    while (sb_reader_left(&r) >= 3) {
        uint8_t action = sb_read_u8(&r);
        uint16_t n = sb_read_u16(&r);
        if (action == 0x40) {
            k->now += n * SB_MS;
        } else if (action == 0x41) {
            for (uint32_t i = 0; i < KERNEL_SOCKETS; i++)
                if (k->sockets[i].generation && n != SB_OK && n < SB_STATUS_COUNT)
                    k->sockets[i].events->failed(
                        k->sockets[i].owner,
                        (sb_socket){.index = i, .generation = k->sockets[i].generation},
                        (sb_status)n);
        } else {
            size_t left = sb_reader_left(&r);
            kernel_deliver(k, action & 1, sb_read_span(&r, n < left ? n : left), action & 2);
        }
        kernel_drain(k);
    }
}

#endif
