/* One fixed 64-byte event per state change; trace hash, explain, log, recorder and metrics are its
 * readers. Loop thread. */
#ifndef SB_CORE_EVENT_H
#define SB_CORE_EVENT_H

#include "core/env.h"

/* a, b and status mean what the comment says. */
#define SB_EVENT_TABLE(X)                                                                          \
    X(QUESTION, "question") /* a: type; b: flags */                                                \
    X(FLIGHT_START, "flight-start")                                                                \
    X(FLIGHT_END, "flight-end") /* status; a: waiters; b: source */                                \
    X(RUNG, "rung")             /* strategy started */                                             \
    X(OFFER, "offer")           /* strategy; status; a: kind */                                    \
    X(SETTLE, "settle")         /* a waiter: a: source; b: ede; status */                          \
    X(QUERY, "query")           /* to server; a: protocol; b: attempt */                           \
    X(RESPONSE, "response")     /* from server; a: rcode; b: rtt in us */                          \
    X(REJECT, "reject")         /* a response that did not match; a: reason */                     \
    X(LEARN, "learn")           /* stored; a: kind; b: ttl */                                      \
    X(FORGET, "forget")         /* removed; a: reason */                                           \
    X(SERVER_DOWN, "server-down")                                                                  \
    X(SERVER_UP, "server-up")                                                                      \
    X(DEGRADED, "degraded") /* a name begins to be served stale/emergency; a: source */            \
    X(RECOVERED, "recovered")                                                                      \
    X(PROBE, "probe") /* an endpoint was looked at: server; a: its life; b: before */              \
    X(DOUBT, "doubt") /* a denial was weighed: a: second; b: life; status: OK obeyed */            \
    X(PIN, "pin")     /* a pin or emergency address began or ended: a: sb_deed; b: which */        \
    X(RELOAD, "reload")                                                                            \
    X(NETWORK, "network") /* a: identity before; b: now, 0 none */                                 \
    X(LOOP, "loop")       /* the server sends our questions back to us */                          \
    X(LIMIT, "limit")     /* a: which */
typedef enum sb_event_type {
#define SB_EVENT_ENUM(id, text) SB_EVENT_##id,
    SB_EVENT_TABLE(SB_EVENT_ENUM)
#undef SB_EVENT_ENUM
        SB_EVENT_COUNT
} sb_event_type;

typedef struct sb_event {
    sb_ns at;
    uint64_t name;   /* sb_name_digest of the question */
    uint32_t flight; /* number; 0 none */
    uint16_t type;   /* sb_event_type */
    uint8_t strategy;
    uint8_t status; /* sb_status */
    uint32_t a, b;
    sb_addr server; /* family 0 none */
    uint64_t reserved;
} sb_event;
_Static_assert(sizeof(sb_event) == 64, "one cache line");

typedef void sb_event_reader(void *context, const sb_event *event);
/* A ring of the latest events and up to 4 readers. */
typedef struct sb_events {
    sb_env *env;
    sb_event *ring; /* capacity is a power of two; NULL = none kept */
    uint32_t capacity;
    uint64_t count;
    struct {
        sb_event_reader *read;
        void *context;
    } readers[4];
    unsigned reader_count;
} sb_events;
SB_MUST_USE sb_status sb_events_init(sb_events *events, sb_env *env, uint32_t capacity);
void sb_events_fini(sb_events *events);
SB_MUST_USE sb_status sb_events_attach(sb_events *events, sb_event_reader *read, void *context);
/* Stamps the time. */
void sb_events_emit(sb_events *events, sb_event event);
const char *sb_event_text(unsigned type);

#endif
