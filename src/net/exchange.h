/* One question put to one server: UDP, then TCP when truncated or crowded by near misses.
 *
 * Owns its socket; a fresh one with a port of the kernel's choosing for each exchange, an ID from
 * entropy. Checks source, ID, question (class and type too), QR and opcode; builds the answer by
 * sb_answer_from_msg. Reports health to the upstream. RFC 1035, 5452, 6891, 7766. Loop thread. */
#ifndef SB_NET_EXCHANGE_H
#define SB_NET_EXCHANGE_H

#include "core/op.h"
#include "net/upstream.h"

#define SB_NEAR_MISSES_MAX                                                                         \
    8 /* wrong packets on the right port before the exchange moves to TCP                          \
       */

/* Why a packet was not taken for the response: `a` of SB_EVENT_REJECT. */
typedef enum sb_reject {
    SB_REJECT_SOURCE = 1, /* another address or port than the server's */
    SB_REJECT_SHORT,      /* no whole header */
    SB_REJECT_QR,         /* a query, or another opcode */
    SB_REJECT_ID,
    SB_REJECT_QUESTION /* another name, type or class, or none */
} sb_reject;

#define SB_EXCHANGE_SENDS 3 /* of one question to one server: a packet may be lost, and another */
#define SB_EXCHANGE_QUERY_MAX 512 /* header, question (259) and OPT with room */

typedef struct sb_exchange {
    sb_op op;            /* first: done's argument. OK: answer is set (positive or negative) */
    sb_upstream *server; /* referenced until the end of the operation's memory: sb_exchange_fini */
    sb_answer *answer;   /* owned by the exchange; take it by ref */
    uint16_t rcode;      /* of the last response, 0xffff none */
    int ede;
    sb_ns rtt;
    uint8_t protocol;
    uint32_t flight; /* for events */
    /* private */
    sb_upstreams *ups;
    sb_question question;
    sb_socket socket;
    sb_ns sent_at;
    uint16_t id;
    uint8_t near_misses;
    uint8_t sends;     /* queries sent so far */
    uint8_t sends_max; /* the caller may set it after the start; SB_EXCHANGE_SENDS until then */
    sb_timer resend;
    sb_ns resend_wait;
    uint8_t query[SB_EXCHANGE_QUERY_MAX];
    size_t query_size;
    bool edns, edns_refused, over_tcp, reported, probing;
    bool following;    /* the same question is under way to the same server: waits for its end */
    sb_list link;      /* the server's exchanges, or the leader's followers */
    sb_list followers; /* of link */
    uint8_t *stream;   /* length-prefixed response being gathered */
    size_t stream_size, stream_capacity;
} sb_exchange;

/* At most one query per question and server is outstanding (CVE-2025-5994): a second exchange of
 * the same question shares the first one's end, or takes its place when it is cancelled. status at
 * done: OK · SERVFAIL · REFUSED · MALFORMED (garbage, FORMERR, NOTIMP, other rcodes) · TIMEOUT ·
 * UNREACHABLE · CONNREFUSED · CLOSED · NOMEM · IO. Upstream question is sent folded, RD set, CD/DO
 * as asked, EDNS 1232. */
void sb_exchange_start(sb_exchange *x, sb_upstreams *ups, sb_upstream *server,
                       const sb_question *question, uint32_t flight, sb_op *parent, sb_ns deadline,
                       void (*done)(sb_op *));
/* Sends the query once more at once, if it may: somebody waits for this very server. */
void sb_exchange_repeat(sb_exchange *x);
/* After the end (done or cancel): drops references. Idempotent on zeroed memory. */
void sb_exchange_fini(sb_exchange *x);

#endif
