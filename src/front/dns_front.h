/* The DNS front: client messages to questions, settled questions to reply bytes (E1; RFC 1035,
 * 7766, 6761, 8482).
 *
 * Listens through env on UDP, TCP and the Unix socket; never decides answers. Loop thread. */
#ifndef SB_FRONT_DNS_FRONT_H
#define SB_FRONT_DNS_FRONT_H

#include "resolve/engine.h"

typedef struct sb_dns_front sb_dns_front;
typedef struct sb_dns_front_options {
    sb_engine *engine;
    bool udp_elsewhere;      /* workers own the UDP sockets and pass what they cannot answer */
    const char *socket_path; /* NULL or "": no Unix socket; see sb_dns_front_socket_mode */
    int64_t socket_group;    /* group of the socket under share: group; 0 = as it is */
} sb_dns_front_options;

/* Opens every listener of the engine's settings; why says which address failed and why (in use, not
 * permitted). */
SB_MUST_USE sb_status sb_dns_front_new(const sb_dns_front_options *options, sb_dns_front **ret,
                                       sb_why *why);
/* Mode of the Unix socket. 0666: any user of the machine may ask there who may ask over DNS from
 * loopback anyway, or by cache.share: all. Else 0660 or 0600 by cache.share. */
unsigned sb_dns_front_socket_mode(const sb_settings *settings);
/* Every connection of the Unix socket ends once answered: who may connect has changed. */
void sb_dns_front_hang_up(sb_dns_front *front);
void sb_dns_front_free(sb_dns_front *front);
/* New settings: allow list at once; listeners that changed are opened and closed. All or nothing.
 */
SB_MUST_USE sb_status sb_dns_front_reload(sb_dns_front *front, sb_why *why);

/* A datagram from elsewhere (a worker's queue). reply is called at most once per datagram, possibly
 * never, from the loop, with the two context words given here. */
typedef void sb_dns_reply_sink(void *context, uint64_t tag, const sb_addr *to, const sb_addr *from,
                               const uint8_t *bytes, size_t size);
void sb_dns_front_datagram(sb_dns_front *front, const uint8_t *bytes, size_t size,
                           const sb_addr *client, const sb_addr *local, sb_dns_reply_sink *reply,
                           void *context, uint64_t tag);
/* Take no more connections; answers under way are still sent, and datagrams get what is known at
 * once or SERVFAIL. True when nothing is under way any more. */
bool sb_dns_front_quiesce(sb_dns_front *front);
/* Answers everything under way with SERVFAIL: time is up. After sb_dns_front_quiesce. */
void sb_dns_front_give_up(sb_dns_front *front);

#define SB_FRONT_TCP_MAX 512 /* connections; beyond, the one idle longest is closed */
#define SB_FRONT_TCP_PER_CLIENT                                                                    \
    64 /* connections of one address (loopback excepted: SB_FRONT_TCP_MAX) */
#define SB_FRONT_TCP_IDLE_S 10
#define SB_FRONT_UNIX_PER_USER 256 /* beyond, that user's own one idle longest is closed */
#define SB_FRONT_PIPELINE_MAX 64   /* questions under way on one connection: reading pauses */
/* UDP questions under way of one address, of loopback (a whole machine), and questions in all.
 * Beyond, what is known at once is answered, and the rest with SERVFAIL. */
#define SB_FRONT_CLIENT_MAX 1024
#define SB_FRONT_LOOPBACK_MAX 12288
#define SB_FRONT_QUERIES_MAX 16384

#endif
