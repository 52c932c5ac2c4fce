/* Batches of datagrams. One thread each. */
#define _GNU_SOURCE
#include "io/udp_batch.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "base/mem.h"

/* Packet information and hop limit of either family. */
#define CONTROL_SIZE 128

struct sb_udp_batch {
    struct mmsghdr headers[SB_UDP_BATCH_MAX];
    struct iovec vectors[SB_UDP_BATCH_MAX];
    struct sockaddr_storage peers[SB_UDP_BATCH_MAX];
    _Alignas(struct cmsghdr) uint8_t controls[SB_UDP_BATCH_MAX][CONTROL_SIZE];
    unsigned count; /* queued for sending */
    uint8_t bytes[SB_UDP_BATCH_MAX][SB_UDP_BATCH_BYTES];
};

static void read_control(struct msghdr *header, sb_datagram *datagram);
static socklen_t write_control(uint8_t *control, const sb_addr *from);

/* Lengths and pointers stand from the start: a receive only restores what the kernel overwrote. */
sb_udp_batch *sb_udp_batch_new(void)
{
    sb_udp_batch *batch = sb_new(sb_udp_batch);
    if (!batch)
        return NULL;
    for (unsigned i = 0; i < SB_UDP_BATCH_MAX; i++) {
        batch->vectors[i] = (struct iovec){.iov_base = batch->bytes[i],
                                           .iov_len = SB_UDP_BATCH_BYTES};
        batch->headers[i].msg_hdr = (struct msghdr){
            .msg_name = &batch->peers[i], .msg_iov = &batch->vectors[i], .msg_iovlen = 1,
            .msg_namelen = sizeof(batch->peers[i]), .msg_control = batch->controls[i],
            .msg_controllen = CONTROL_SIZE};
    }
    return batch;
}

void sb_udp_batch_free(sb_udp_batch *batch)
{
    sb_free(batch);
}

int sb_udp_batch_receive(sb_udp_batch *batch, int fd)
{
    int got = recvmmsg(fd, batch->headers, SB_UDP_BATCH_MAX, MSG_DONTWAIT, NULL);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    return got;
}

bool sb_udp_batch_get(const sb_udp_batch *batch, unsigned n, uint16_t local_port,
                      sb_datagram *ret_datagram)
{
    /* The kernel's lengths are reset here: each datagram is looked at exactly once. */
    struct mmsghdr *header = (struct mmsghdr *)&batch->headers[n];
    bool whole = !(header->msg_hdr.msg_flags & MSG_TRUNC);
    sb_datagram datagram = {.bytes = batch->bytes[n], .size = header->msg_len};
    if (header->msg_hdr.msg_namelen > 0)
        datagram.from = sb_addr_from_sockaddr((const struct sockaddr *)&batch->peers[n]);
    read_control(&header->msg_hdr, &datagram);
    datagram.to.port = local_port;
    header->msg_hdr.msg_namelen = sizeof(batch->peers[n]);
    header->msg_hdr.msg_controllen = CONTROL_SIZE;
    header->msg_hdr.msg_flags = 0;
    if (whole)
        *ret_datagram = datagram;
    return whole;
}

uint8_t *sb_udp_batch_room(sb_udp_batch *batch)
{
    return batch->count < SB_UDP_BATCH_MAX ? batch->bytes[batch->count] : NULL;
}

void sb_udp_batch_add(sb_udp_batch *batch, size_t size, const sb_addr *to, const sb_addr *from)
{
    unsigned n = batch->count++;
    SB_ASSERT(n < SB_UDP_BATCH_MAX && size <= SB_UDP_BATCH_BYTES);
    struct msghdr *header = &batch->headers[n].msg_hdr;
    batch->vectors[n].iov_len = size;
    header->msg_name = to ? &batch->peers[n] : NULL;
    header->msg_namelen = to ? sb_addr_to_sockaddr(to, &batch->peers[n]) : 0;
    header->msg_controllen = write_control(batch->controls[n], from);
    header->msg_control = header->msg_controllen > 0 ? batch->controls[n] : NULL;
}

unsigned sb_udp_batch_send(sb_udp_batch *batch, int fd)
{
    unsigned at = 0, sent = 0;
    while (at < batch->count) {
        int n = sendmmsg(fd, &batch->headers[at], batch->count - at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            break; /* the send buffer is full: clients ask again */
        if (n <= 0) {
            at++; /* the first one is what failed */
            continue;
        }
        at += (unsigned)n;
        sent += (unsigned)n;
    }
    batch->count = 0;
    return sent;
}

unsigned sb_udp_batch_queued(const sb_udp_batch *batch)
{
    return batch->count;
}

sb_status sb_udp_send_one(int fd, const sb_addr *to, const sb_addr *from, const void *bytes,
                          size_t size)
{
    struct sockaddr_storage peer;
    _Alignas(struct cmsghdr) uint8_t control[CONTROL_SIZE];
    struct iovec vector = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
    struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
    if (to) {
        header.msg_namelen = sb_addr_to_sockaddr(to, &peer);
        header.msg_name = &peer;
    }
    header.msg_controllen = write_control(control, from);
    header.msg_control = header.msg_controllen > 0 ? control : NULL;
    if (sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return sb_status_from_errno(errno);
    return SB_OK;
}

/* CMSG_NXTHDR compares sizes of mixed signedness in the system's header. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wsign-compare"
static void read_control(struct msghdr *header, sb_datagram *datagram)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
        const void *data = CMSG_DATA(c);
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, data, sizeof(info));
            uint8_t bytes[4];
            memcpy(bytes, &info.ipi_addr, sizeof(bytes));
            datagram->to = sb_addr_4(bytes, 0);
            datagram->interface = (uint32_t)info.ipi_ifindex;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, data, sizeof(info));
            datagram->to = sb_addr_6(info.ipi6_addr.s6_addr, 0);
            datagram->interface = info.ipi6_ifindex;
            if (sb_addr_is_link_local(&datagram->to))
                datagram->to.scope = info.ipi6_ifindex;
        } else if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL) ||
                   (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_HOPLIMIT)) {
            int hops;
            memcpy(&hops, data, sizeof(hops));
            datagram->hop_limit = hops > 0 && hops < 256 ? (uint8_t)hops : 0;
        }
    }
}
#pragma GCC diagnostic pop

/* Replies leave from the address asked, or a client drops them as forged. */
static socklen_t write_control(uint8_t *control, const sb_addr *from)
{
    if (!from || from->family == SB_FAMILY_NONE || sb_addr_is_any(from))
        return 0;
    memset(control, 0, CONTROL_SIZE);
    struct cmsghdr *c = (struct cmsghdr *)(void *)control;
    if (from->family == SB_FAMILY_4) {
        struct in_pktinfo info = {0};
        memcpy(&info.ipi_spec_dst, from->bytes, 4);
        c->cmsg_level = IPPROTO_IP;
        c->cmsg_type = IP_PKTINFO;
        c->cmsg_len = CMSG_LEN(sizeof(info));
        memcpy(CMSG_DATA(c), &info, sizeof(info));
        return CMSG_SPACE(sizeof(info));
    }
    struct in6_pktinfo info = {.ipi6_ifindex = from->scope};
    memcpy(&info.ipi6_addr, from->bytes, 16);
    c->cmsg_level = IPPROTO_IPV6;
    c->cmsg_type = IPV6_PKTINFO;
    c->cmsg_len = CMSG_LEN(sizeof(info));
    memcpy(CMSG_DATA(c), &info, sizeof(info));
    return CMSG_SPACE(sizeof(info));
}
