/* The bare UDP echo beside which answers are measured: the same system calls as a worker's
 * (epoll_wait, recvmmsg, sendmmsg, batches of 64, the address asked), and no work in between.
 *
 * Only the QR bit is set, so that a DNS client takes the echo for a reply. One thread. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "io/udp_batch.h"
#include "io/uv_env.h"

#define QR 0x80

static int serve(int fd, uint16_t port);

int main(int argc, char **argv)
{
    sb_why why = {0};
    sb_udp_options options = {.packet_info = true, .buffer_bytes = 4 * 1024 * 1024};
    int fd;
    if (argc != 2 || !sb_addr_parse_port(argv[1], strlen(argv[1]), 0, &options.local)) {
        fprintf(stderr, "usage: echo ADDRESS:PORT\n");
        return 2;
    }
    if (sb_udp_socket_open(&options, &fd, &why) != SB_OK) {
        fprintf(stderr, "echo: %s: %s\n", argv[1], why.text);
        return 1;
    }
    return serve(fd, options.local.port);
}

static int serve(int fd, uint16_t port)
{
    sb_udp_batch *in = sb_udp_batch_new(), *out = sb_udp_batch_new();
    struct epoll_event event = {.events = EPOLLIN};
    int poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!in || !out || poll_fd < 0 || epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        perror("echo");
        return 1;
    }
    for (;;) {
        if (epoll_wait(poll_fd, &event, 1, -1) < 0)
            continue;
        int got = sb_udp_batch_receive(in, fd);
        for (int i = 0; i < got; i++) {
            sb_datagram d;
            uint8_t *room = sb_udp_batch_room(out);
            if (!sb_udp_batch_get(in, (unsigned)i, port, &d) || d.size < 12)
                continue;
            memcpy(room, d.bytes, d.size);
            room[2] |= QR;
            sb_udp_batch_add(out, d.size, &d.from, &d.to);
        }
        sb_udp_batch_send(out, fd);
    }
}
