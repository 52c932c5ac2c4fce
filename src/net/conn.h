/* Connections to a server, kept open and shared by the questions put to it: TCP, and TLS where the
 * server has it (RFC 7766, 7858).
 *
 * Two per server, up to eight while those are full: names whose zones are dead wait for long, and
 * must not keep out the others. Queries are pipelined, responses come in any order and are told
 * apart by ID. What a connection that ends left unanswered is asked again on a fresh one. A server
 * that keeps closing on several queries gets them one by one, on up to eight connections (RFC 7766
 * §6.2.1.1 wants pipelining, not everybody does it). Never looks into a message beyond its ID and
 * never judges a server. Loop thread. */
#ifndef SB_NET_CONN_H
#define SB_NET_CONN_H

#include "net/upstream.h"

#define SB_CONN_QUERIES_MAX 64     /* outstanding on one connection: what servers commonly queue */
#define SB_CONN_QUERY_SIZE_MAX 512 /* header, question, OPT with cookie and padding, with room */
#define SB_CONN_IDLE (10 * SB_S)   /* common among servers; RFC 7766 §6.2.3 wants seconds */
#define SB_CONN_MOVES_MAX 16       /* of a query off connections that end after some answers */
#define SB_CONN_STRAYS_MAX 8       /* responses to nothing asked in a row: not worth talking to */

typedef struct sb_conn sb_conn;
typedef struct sb_conn_query sb_conn_query;

typedef struct sb_conn_events {
    /* Writes the query under that ID and returns its size. Called when it goes out: from within
     * sb_conn_ask if the connection stands, later otherwise, and again on a fresh connection. */
    size_t (*write)(sb_conn_query *query, uint16_t id, uint8_t *buffer, size_t capacity);
    /* A message with the query's ID, which stays outstanding until it is dropped. */
    void (*received)(sb_conn_query *query, const uint8_t *bytes, size_t size);
    /* It will not be answered; it is dropped already. */
    void (*failed)(sb_conn_query *query, sb_status why);
} sb_conn_events;

/* Embedded in its owner; zeroed memory is a query not asked. */
struct sb_conn_query {
    const sb_conn_events *events;
    sb_conn *conn; /* NULL: not asked, or over */
    sb_list link;
    sb_ns asked_at;
    uint16_t id;
    bool written, answered;
    uint8_t moves; /* to a fresh connection, as the one before ended */
};

/* Puts the query on a connection, opening one where needed. When all are full the oldest query that
 * has had the time of an attempt makes room: its `failed` is called with SB_LIMIT; where there is
 * none this one gets SB_LIMIT (both counted). SB_UNSUPPORTED where TLS is not to be had, errors of
 * connecting; `failed` of this query is not called then. */
SB_MUST_USE sb_status sb_conn_ask(sb_conn_query *query, sb_upstreams *ups, sb_upstream *server,
                                  const sb_conn_events *events);
/* Its owner wants no answer any more. timed_out: it waited as long as it could, which makes a
 * connection that was mute meanwhile suspect: others are not put on it. Idempotent. */
void sb_conn_drop(sb_conn_query *query, bool timed_out);
/* True when nothing was heard on its connection since it was asked, or, as long as that does not
 * stand, for a second. */
bool sb_conn_is_mute(const sb_conn_query *query);
/* Closes the server's connections, which carry no query any more. */
void sb_conns_close(sb_upstream *server);
/* A network change: what is outstanding is asked again on fresh connections, the old are closed. */
void sb_conns_renew(sb_upstream *server);

/* Gathers a stream into messages, each after its length in two bytes (RFC 1035 §4.2.2). Zeroed
 * memory is an empty one. Holds at most one message and one read. */
typedef struct sb_frames {
    uint8_t *bytes;
    size_t at, size, capacity;
} sb_frames;
SB_MUST_USE bool sb_frames_add(sb_frames *frames, const void *bytes, size_t size);
/* The next whole message, borrowed until the next add; false when more bytes are needed. */
bool sb_frames_next(sb_frames *frames, sb_span *ret_message);
void sb_frames_fini(sb_frames *frames);

#endif
