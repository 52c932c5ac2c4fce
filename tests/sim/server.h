/* A simulated name server with a mode it can change while it runs. What it says comes from its
 * world. One thread. */
#ifndef SB_SIM_SERVER_H
#define SB_SIM_SERVER_H

#include "dns/msg.h"
#include "sim/sim_env.h"

#define SERVER_MODE_TABLE(X)                                                                       \
    X(HONEST, "honest")                                                                            \
    X(SLOW, "slow") /* by server.slow */                                                           \
    X(SILENT, "silent")                                                                            \
    X(SERVFAIL, "servfail")                                                                        \
    X(REFUSED, "refused")                                                                          \
    X(TRUNCATING, "truncating") /* TC on every UDP response; TCP works */                          \
    X(CUT, "cut")               /* TC on every UDP response; TCP refused */                        \
    X(GARBAGE, "garbage")       /* right ID and question, then noise */                            \
    X(NOISE, "noise")           /* random bytes */                                                 \
    X(WRONG_ID, "wrong-id")                                                                        \
    X(WRONG_QUESTION, "wrong-question")                                                            \
    X(WRONG_PORT, "wrong-port")   /* answers from another port */                                  \
    X(ECHO, "echo")               /* sends the query back */                                       \
    X(CLOSED, "closed")           /* ICMP port unreachable, RST */                                 \
    X(UNREACHABLE, "unreachable") /* ICMP host unreachable */                                      \
    X(NO_ROUTE, "no-route")                                                                        \
    X(RESETTING, "resetting")   /* TC, then resets TCP in the middle of a message */               \
    X(NO_EDNS, "no-edns")       /* FORMERR to EDNS, honest without */                              \
    X(BLOCKED, "blocked")       /* REFUSED with EDE 15: a verdict */                               \
    X(BOGUS, "bogus")           /* SERVFAIL with EDE 6: a verdict, unless CD */                    \
    X(STORMY, "stormy")         /* each response three times, and near misses between */           \
    X(STUTTERING, "stuttering") /* one response in twenty late by server.slow */                   \
    X(DENYING, "denying")       /* NXDOMAIN for what exists, where its world says so */            \
    X(LOOPING, "looping")       /* forwards to 127.0.0.1:53 */                                     \
    X(LYING, "lying")           /* wrong addresses, where its world says so */                     \
    X(BESIDE, "beside")         /* answers of another owner only */                                \
    X(WRONG_TYPE, "wrong-type") /* … of another type only */                                     \
    X(ENDLESS, "endless")       /* TC and nothing, over TCP too */                                 \
    X(BARE, "bare")             /* NOERROR and nothing */
typedef enum server_mode {
#define SERVER_MODE_ENUM(id, text) SERVER_##id,
    SERVER_MODE_TABLE(SERVER_MODE_ENUM)
#undef SERVER_MODE_ENUM
        SERVER_MODE_COUNT
} server_mode;
const char *server_mode_text(server_mode mode);
bool server_mode_parse(const char *text, server_mode *ret_mode);
/* True when such a server gives right answers, in whatever way. */
bool server_mode_helps(server_mode mode);

typedef struct server server;
typedef struct server_world {
    /* Adds the sections to b (question is there already); returns the rcode. */
    unsigned (*compose)(void *context, server *, const sb_question *, sb_builder *b);
    /* The same for DENYING and LYING servers: their lies, and the truth where they tell it. May be
     * NULL: the truth. */
    unsigned (*lie)(void *context, server *, const sb_question *, sb_builder *b);
    /* Wrong records for the liars. May be NULL: an empty answer. */
    void (*forge)(void *context, server *, const sb_question *, sb_builder *b);
    /* A right response leaves and will be there by `latest`. May be NULL. */
    void (*said)(void *context, server *, const sb_question *, const uint8_t *bytes, size_t size,
                 sb_ns latest);
    /* Every query that came in. May be NULL. */
    void (*asked)(void *context, server *, const sb_msg *query, bool stream);
    void *context;
} server_world;

struct server {
    sim_host host; /* first */
    sim *s;
    char name[32];
    server_mode mode;
    sb_ns slow;       /* extra delay of SLOW */
    bool open_chains; /* gives an alias without its target */
    bool no_soa;      /* negatives without SOA */
    bool extra;       /* adds records nobody asked for */
    bool says_ad;
    bool folds;                /* repeats the question in lower case */
    bool no_tcp;               /* refuses connections, whatever the mode */
    bool cookies;              /* sends DNS cookies … */
    bool strict;               /* … and over UDP wants them: BADCOOKIE */
    bool garbles;              /* … and damages ours */
    uint8_t cookie_secret;     /* its part of a cookie depends on it */
    unsigned answers_per_conn; /* after so many a connection is closed; 0: never */
    bool closes_late;          /* … when the next question comes (RFC 7766 §6.2.4) */
    sb_ns lag;                 /* tells the truth of that long ago */
    const server_world *world;
    uint64_t queries, stream_queries;
    uint64_t tally; /* the scene's own count */
    struct {
        uint16_t id;
        sb_addr from;
    } forwarded[32]; /* by a LOOPING one */
    unsigned forwards;
    unsigned conns;
    struct {
        sb_socket socket;
        unsigned answered;
        size_t size;
        uint8_t bytes[600];
    } conn[8];
};

/* delay one way. */
void server_init(server *sv, sim *s, const char *name, const sb_addr *addr, sb_ns delay_min,
                 sb_ns delay_max, const server_world *world);
void server_set_mode(server *sv, server_mode mode);

#endif
