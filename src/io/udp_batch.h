/* Datagrams by the batch: recvmmsg and sendmmsg with the address asked, shared by uv_env and the
 * workers.
 *
 * Owns its buffers, never a socket. One thread each. RFC 3542 (packet information). */
#ifndef SB_IO_UDP_BATCH_H
#define SB_IO_UDP_BATCH_H

#include <sys/socket.h>

#include "core/env.h"

#define SB_UDP_BATCH_MAX 64
/* Bytes per datagram: above EDNS' 1,232 and below what one page holds; longer ones are dropped
 * (in) or sent singly (out). */
#define SB_UDP_BATCH_BYTES 4096

typedef struct sb_udp_batch sb_udp_batch;

/* Owned; NULL without memory. Used for one direction only. NULL is allowed in free. */
sb_udp_batch *sb_udp_batch_new(void);
void sb_udp_batch_free(sb_udp_batch *batch);

/* As many as wait, at most SB_UDP_BATCH_MAX; 0 when none; negative errno. Never blocks. */
int sb_udp_batch_receive(sb_udp_batch *batch, int fd);
/* The n-th received; false when it was longer than a buffer. local_port is the socket's. */
bool sb_udp_batch_get(const sb_udp_batch *batch, unsigned n, uint16_t local_port,
                      sb_datagram *ret_datagram);

/* Room for the next datagram to send, SB_UDP_BATCH_BYTES long; NULL when the batch is full. */
uint8_t *sb_udp_batch_room(sb_udp_batch *batch);
/* Queues size bytes written there. from NULL or family 0: the kernel chooses. interface 0: by
 * route. */
void sb_udp_batch_add(sb_udp_batch *batch, size_t size, const sb_addr *to, const sb_addr *from);
/* Sends what is queued; a datagram the kernel refuses is dropped. Returns how many went. */
unsigned sb_udp_batch_send(sb_udp_batch *batch, int fd);
unsigned sb_udp_batch_queued(const sb_udp_batch *batch);

/* One datagram, with its source. to NULL on connected sockets. */
sb_status sb_udp_send_one(int fd, const sb_addr *to, const sb_addr *from, const void *bytes,
                          size_t size);

#endif
