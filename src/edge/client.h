/* A blocking client of the daemon's two Unix sockets: DNS messages with provenance, and JSON lines.
 *
 * Owns its descriptor; libc only; raises no signal. Every call has a deadline in nanoseconds of
 * sb_edge_now. RFC 7766 (framing). One thread per client. */
#ifndef SB_EDGE_CLIENT_H
#define SB_EDGE_CLIENT_H

#include "core/settings.h"
#include "dns/reply.h"

typedef struct sb_edge_client {
    int fd; /* -1: closed */
    uint8_t *bytes;
    size_t size, capacity;
} sb_edge_client;

/* SB_NOTFOUND, SB_CONNREFUSED: no daemon there; SB_PERM: not for us. */
SB_MUST_USE sb_status sb_edge_client_open(const char *socket_path, sb_ns deadline,
                                          sb_edge_client *ret, sb_why *why);
/* Idempotent on zeroed memory with fd -1. */
void sb_edge_client_close(sb_edge_client *client);

/* Sends one question; several may be under way, told apart by id. ask: SB_ASK_…. */
SB_MUST_USE sb_status sb_edge_client_ask(sb_edge_client *client, uint16_t id,
                                         const sb_question *question, uint8_t ask, sb_ns deadline,
                                         sb_why *why);

/* A reply, checked; owned bytes. */
typedef struct sb_edge_reply {
    uint8_t *bytes;
    sb_msg msg; /* into bytes */
    bool has_provenance;
    sb_provenance provenance;
    int ede;
    char ede_text[121];
} sb_edge_reply;
/* The next reply, whichever question it answers. SB_TIMEOUT at the deadline; SB_CLOSED;
 * SB_MALFORMED for what is no reply. */
SB_MUST_USE sb_status sb_edge_client_receive(sb_edge_client *client, sb_ns deadline,
                                             sb_edge_reply *ret, sb_why *why);
/* Takes the bytes of a whole message: for replies made without a daemon. */
SB_MUST_USE sb_status sb_edge_reply_read(uint8_t *take_bytes, size_t size, sb_edge_reply *ret);
/* Idempotent on zeroed memory. */
void sb_edge_reply_fini(sb_edge_reply *reply);

/* One request line (without its newline) and the one reply line (without its newline), at most
 * `limit` bytes. */
SB_MUST_USE sb_status sb_edge_control(const char *path, const char *line, size_t limit,
                                      sb_ns deadline, sb_text *ret_line, sb_why *why);

#endif
