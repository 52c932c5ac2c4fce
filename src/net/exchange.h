/* One question put to one server: UDP, then TCP when truncated, doubtful or crowded by near misses.
 *
 * Owns its UDP socket; a fresh one with a port of the kernel's choosing for each query, with ID and
 * letter case (0x20) from entropy and a DNS cookie. Checks source, ID, question (class and type
 * too), case, cookie, QR and opcode; builds the answer by sb_answer_from_msg. Reports health to the
 * upstream. RFC 1035, 5452, 6891, 7766, 7873, 8467, 9018, draft-vixie-dnsext-dns0x20. Loop thread.
 */
#ifndef SB_NET_EXCHANGE_H
#define SB_NET_EXCHANGE_H

#include "core/op.h"
#include "net/conn.h"
#include "net/upstream.h"

/* Wrong packets on the right port before the exchange moves to TCP, where guessing is hopeless.
 *
 * What that leaves to a forger who is not on the path: without the port nothing reaches us. One who
 * knows port and case has this many guesses of the 16-bit ID and no more: 8 / 65536, one exchange
 * in 8192, however many packets are sent (tests/unit/test_net_forger.c). Each letter of the name
 * halves it, as the right ID with the wrong case moves to TCP at once and ends the guessing; a
 * server that gave us a cookie divides it by 2^64. An error may leave the question out, and then
 * shows no letter: who guesses the ID makes one exchange fail, no more. */
#define SB_NEAR_MISSES_MAX 8

/* Why a packet was not taken for the response: `a` of SB_EVENT_REJECT. */
typedef enum sb_reject {
    SB_REJECT_SOURCE = 1, /* another address or port than the server's */
    SB_REJECT_SHORT,      /* no whole header */
    SB_REJECT_QR,         /* a query, or another opcode */
    SB_REJECT_ID,
    SB_REJECT_QUESTION, /* another name, type or class, or none where there must be one */
    SB_REJECT_CASE,     /* right in all but the case of the name: on to TCP at once */
    SB_REJECT_COOKIE    /* right in all but the cookie: likewise */
} sb_reject;

#define SB_EXCHANGE_SENDS 4 /* of one question to one server: a packet may be lost, and another */
#define SB_EXCHANGE_SENDS_ALONE 6 /* … where nobody else can be asked */

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
    sb_question question; /* folded */
    sb_socket socket;     /* UDP */
    sb_conn_query tcp;
    sb_ns sent_at;
    sb_ns resent_at; /* the last repetition of a datagram */
    uint16_t id;
    uint8_t near_misses;
    uint8_t sends;     /* queries sent so far */
    uint8_t streams;   /* connections it was put on, not counting moves off those that ended */
    uint8_t sends_max; /* the caller may set it after the start; SB_EXCHANGE_SENDS until then */
    sb_timer resend;   /* the usual time has passed */
    sb_ns resend_wait;
    uint8_t query[SB_CONN_QUERY_SIZE_MAX];
    size_t query_size;
    bool over_tcp, reported, probing;
    bool edns, edns_refused;
    bool edns_given_up; /* … and that helped */
    bool mixed;         /* the query went out in the case of case_bits */
    bool with_cookie;   /* … with the cookie below */
    bool wants_cookie; /* … to a server that has sent one before, whatever is thought of it since */
    bool has_cookie;   /* client_cookie was made */
    bool no_cookie;    /* the server refused it */
    bool bad_cookie;   /* asked again with the cookie of BADCOOKIE */
    bool plain;        /* there is no TCP to clear a doubt: neither case nor cookie any more */
    uint8_t habits;    /* of the server that would explain what was doubtful, a bit each */
    bool following;    /* the same question is under way to the same server: waits for its end */
    uint8_t client_cookie[SB_COOKIE_CLIENT];
    uint8_t case_bits[SB_CASE_BITS];
    sb_list link;      /* the server's exchanges, or the leader's followers */
    sb_list followers; /* of link */
} sb_exchange;

/* When the latest query went out. */
static inline sb_ns sb_exchange_last_sent(const sb_exchange *x)
{
    return x->resent_at > x->sent_at ? x->resent_at : x->sent_at;
}

/* At most one query per question and server is outstanding (CVE-2025-5994): a second exchange of
 * the same question shares the first one's end, or takes its place when that one is cancelled, or
 * was given less time and has used it up. status at done: OK · SERVFAIL · REFUSED · MALFORMED
 * (garbage, FORMERR, NOTIMP, other rcodes) · LOOP (aliases without an end: the name's trouble, the
 * server is well) · TIMEOUT · UNREACHABLE · CONNREFUSED · CLOSED · UNTRUSTED · NOMEM · IO. RD is
 * set, CD/DO are as asked, EDNS 1232; what is learned is always in folded case. */
void sb_exchange_start(sb_exchange *x, sb_upstreams *ups, sb_upstream *server,
                       const sb_question *question, uint32_t flight, sb_op *parent, sb_ns deadline,
                       void (*done)(sb_op *));
/* Sends a datagram once more at once, if it may: somebody waits for this very server. */
void sb_exchange_repeat(sb_exchange *x);
/* After the end (done or cancel): drops references. Idempotent on zeroed memory. */
void sb_exchange_fini(sb_exchange *x);

#endif
