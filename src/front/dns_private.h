/* What the files of the DNS front share: its state, a question under way, a connection.
 *
 * Included by dns_*.c only. Loop thread. */
#ifndef SB_FRONT_DNS_PRIVATE_H
#define SB_FRONT_DNS_PRIVATE_H

#include "base/map.h"
#include "base/mem.h"
#include "front/dns_front.h"

/* Unanswerable peers: replies of REFUSED per second and address, and connections in all. */
#define SB_DNS_REFUSED_PER_S 10
#define SB_DNS_REFUSED_SLOTS 1024
#define SB_DNS_REFUSED_STREAMS 16
/* Replies waiting in the kernel's stead before a connection's reading pauses. */
#define SB_DNS_QUEUED_MAX ((size_t)256 * 1024)
/* Bytes kept of one connection: a message, and what one read may bring behind it. */
#define SB_DNS_KEPT_MAX ((size_t)1024 * 1024)

/* One address and what it has under way; exists while either count is above 0. */
typedef struct sb_dns_client {
    sb_map_node node;
    sb_addr host; /* port 0: the key */
    unsigned questions;
    unsigned streams;
} sb_dns_client;

typedef struct sb_dns_access {
    sb_map clients;
    uint8_t secret[16];
    /* Counts of one second, shared by the addresses of one hash: forged sources evict nobody. */
    struct {
        uint32_t second;
        uint32_t count;
    } refused[SB_DNS_REFUSED_SLOTS];
    unsigned refused_streams;
} sb_dns_access;

SB_MUST_USE sb_status sb_dns_access_init(sb_dns_access *access, sb_env *env);
void sb_dns_access_fini(sb_dns_access *access);
/* listen.allow; loopback alone when the list is empty. */
bool sb_dns_access_allows(const sb_settings *settings, const sb_addr *client);
/* True when one more REFUSED may be sent to that address in this second. */
bool sb_dns_access_refuse(sb_dns_access *access, sb_ns now, const sb_addr *client);
/* The client's record, made when absent; NULL without memory. Held by raising one of its counts. */
sb_dns_client *sb_dns_client_get(sb_dns_access *access, const sb_addr *client);
/* After a count was lowered: frees the record when it holds nothing. */
void sb_dns_client_put(sb_dns_access *access, sb_dns_client *client);

typedef struct sb_dns_stream sb_dns_stream;

/* Where a message came from, which is where its reply goes. */
typedef struct sb_dns_origin {
    sb_dns_stream *stream; /* NULL: a datagram */
    sb_addr client, local;
    sb_dns_reply_sink *sink; /* of a datagram */
    void *context;
    uint64_t tag;
} sb_dns_origin;

/* A question the engine was asked; from the front's pool. */
typedef struct sb_dns_pending {
    sb_query query; /* first */
    sb_list link;   /* the stream's, or the front's datagrams; the free list */
    sb_dns_front *front;
    sb_query_info info;
    sb_dns_origin origin;
    sb_dns_client *client; /* datagrams only */
    bool limited;          /* for want of room, only what is known at once is an answer */
} sb_dns_pending;

/* One connection, TCP or Unix. */
struct sb_dns_stream {
    sb_list link;    /* least recently active first */
    sb_list pending; /* of sb_dns_pending.link */
    sb_dns_front *front;
    sb_socket socket;
    sb_addr remote, local;
    bool is_unix;
    uint32_t uid; /* Unix: of the peer */
    bool refused; /* not in listen.allow: one REFUSED, then the end */
    bool paused;
    bool ended; /* the client asks no more: closed when everything is answered and sent */
    bool busy;  /* its bytes are being walked: a close leaves the memory to the walker */
    bool dead;
    sb_ns active_at;       /* whole message in, or reply out: trickled bytes keep nothing alive */
    sb_dns_client *client; /* NULL: Unix */
    unsigned under_way;
    uint8_t *buffer; /* bytes not yet walked */
    size_t size, capacity;
};

/* One address of listen.dns, or the Unix socket. */
typedef struct sb_dns_listener {
    sb_list link;
    sb_dns_front *front;
    sb_addr addr; /* family 0: Unix */
    sb_socket datagrams, streams;
} sb_dns_listener;

#define SB_DNS_SLAB 64
/* Room for questions beyond the limit, which end in the turn they came in. */
#define SB_DNS_RESERVE (4 * SB_DNS_SLAB)
typedef struct sb_dns_slab {
    struct sb_dns_slab *next;
    sb_dns_pending items[SB_DNS_SLAB];
} sb_dns_slab;

struct sb_dns_front {
    sb_engine *engine;
    sb_env *env;
    const sb_settings *settings; /* referenced */
    char *socket_path;           /* NULL: none */
    int64_t socket_group;
    bool udp_elsewhere;
    bool quiescing;
    sb_dns_access access;
    sb_list listeners;
    sb_list tcp, unix_streams; /* of sb_dns_stream.link */
    unsigned tcp_count, unix_count;
    sb_timer idle;
    sb_list datagrams;    /* of sb_dns_pending.link */
    sb_list free_pending; /* of sb_dns_pending.link */
    sb_dns_slab *slabs;
    unsigned pending_max, pending_count;
    sb_l1_buffer scratch;
    uint8_t out[2 + SB_MSG_MAX]; /* length prefix and message */
};

/* One client message to a reply, now or later. False: not worth one, and over a stream its end. */
bool sb_dns_message(sb_dns_front *front, const uint8_t *bytes, size_t size,
                    const sb_dns_origin *origin);
/* Ends questions of a list without a reply. */
void sb_dns_pending_cancel(sb_dns_front *front, sb_list *list);
/* Ends one with SERVFAIL; its stream may be gone afterwards. */
void sb_dns_pending_give_up(sb_dns_pending *pending);

/* An sb_accepted; the owner is the listener. */
void sb_dns_stream_accepted(void *owner, sb_socket listening, sb_socket socket,
                            const sb_peer *peer);
/* The client asks no more; it still gets what is under way (RFC 7766 §6.2.4). */
void sb_dns_stream_ended(void *owner, sb_socket socket);
/* front->out holds the message behind room for its length. False: the stream is gone. */
bool sb_dns_stream_send(sb_dns_stream *stream, size_t size);
/* One question fewer: buffered ones may go on. The stream may be gone afterwards. */
void sb_dns_stream_resume(sb_dns_stream *stream);
void sb_dns_stream_close(sb_dns_stream *stream);
/* Timer of the front: closes what idles too long. */
void sb_dns_stream_sweep(sb_timer *timer);

#endif
