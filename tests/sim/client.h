/* Those who ask: by the engine's own interface, by datagrams handed to the front, over UDP, TCP and
 * the Unix socket of the simulated machine. Each question has one end; replies come back as bytes
 * whatever the way. One thread. */
#ifndef SB_SIM_CLIENT_H
#define SB_SIM_CLIENT_H

#include "sim/subject.h"

#define CLIENT_ASKS 256
#define CLIENT_CONNS 8

typedef enum client_way {
    WAY_ENGINE,
    WAY_DATAGRAM,
    WAY_UDP,
    WAY_TCP,
    WAY_UNIX,
    WAY_COUNT
} client_way;

typedef struct client client;
typedef enum ask_state { ASK_FREE, ASK_WAITING, ASK_ENDED, ASK_GIVEN_UP } ask_state;

typedef struct ask {
    client *c;
    unsigned index;
    uint8_t generation;
    ask_state state;
    client_way way;
    sb_question question; /* in the asker's case */
    bool edns;
    uint8_t flags; /* SB_ASK_…, engine and Unix socket */
    uint16_t id, udp_size;
    sb_ns asked_at, deadline; /* by then there must be an end */
    bool dead_at_ask;
    bool resent; /* each copy may get a reply */
    int conn;
    uint64_t word;  /* the owner's */
    sb_query query; /* WAY_ENGINE */
} ask;

typedef struct client_conn {
    client *c;
    sb_socket socket;
    bool open, ready, is_unix;
    bool last;           /* nothing is asked on it any more: our side is closed, or will be */
    size_t waiting_size; /* written before the connection stood */
    uint8_t waiting[4096];
    size_t size;
    uint8_t bytes[SB_MSG_MAX + 2];
} client_conn;

struct client {
    sim *s;
    subject *d;
    void *context;
    /* A reply, once per question. query is set for WAY_ENGINE only. */
    void (*replied)(void *context, ask *a, const uint8_t *bytes, size_t size,
                    const sb_query *query);
    /* A law of the front broken: two replies, none in time, a connection closed early. */
    void (*broken)(void *context, ask *a, const char *what);
    sim_host host; /* where UDP replies go */
    ask asks[CLIENT_ASKS];
    unsigned next;
    client_conn conns[CLIENT_CONNS];
    uint64_t asked, ended, given_up;
};

typedef struct client_request {
    sb_question question;
    client_way way;
    bool edns;
    uint16_t udp_size;
    uint8_t flags;
    sb_ns deadline; /* engine: absolute or SB_NEVER */
    sb_ns timeout;  /* the program's query.timeout */
    bool new_conn;
    bool half_close; /* our side of the stream is closed after the question */
    uint64_t word;
} client_request;

void client_init(client *c, sim *s, subject *d);
/* NULL: every slot is waiting, or the program is down. */
ask *client_ask(client *c, const client_request *request);
/* UDP: the same datagram once more, as clients do that lost patience. */
void client_resend(client *c, ask *a);
/* The asker walks away: cancels, or no longer listens. */
void client_give_up(client *c, ask *a);
/* All of them: the program ends. */
void client_give_up_all(client *c);
unsigned client_waiting(const client *c);
/* Bytes of any kind to the front, by a peer that expects nothing. */
void client_junk(client *c, const uint8_t *bytes, size_t size);

#endif
