/* The only encoder of replies: an answer's body and a client's query become bytes.
 *
 * Used by the front, the workers and the edge. RFC 1035, 6891, 8914, 8767 (TTL of stale data). Any
 * thread. */
#ifndef SB_DNS_REPLY_H
#define SB_DNS_REPLY_H

#include "dns/answer.h"
#include "dns/msg.h"

/* What the client's query said, kept apart from its buffer. */
typedef struct sb_query_info {
    uint16_t id;
    uint16_t flags;
    sb_question question; /* in the client's case; echoed byte for byte */
    bool has_question;
    bool has_edns;
    uint16_t udp_size;        /* client's, at least 512 */
    bool provenance_asked;    /* Unix socket: option 65430 was there */
    uint8_t provenance_flags; /* SB_ASK_… of that option */
} sb_query_info;

/* Flags a client on the Unix socket may set in option 65430 of its query (version u8 = 1, flags
 * u8). Elsewhere the front clears provenance_asked. */
enum {
    SB_ASK_LIVE = 1,        /* bypass hits, record every rung (explain) */
    SB_ASK_NO_DEGRADED = 2, /* neither stale nor emergency nor guess */
    SB_ASK_CACHED_ONLY = 4  /* no network */
};

/* RFC 1035/6891 checks of a client's message. *ret_rcode is what to answer when it is not SB_OK:
 * FORMERR, NOTIMP (opcode, AXFR, IXFR, meta types but ANY), BADVERS, REFUSED (class not IN or CH);
 * status SB_INVALID then, with ret_info as far as it was understood. SB_MALFORMED: say nothing
 * (short, QR set). */
SB_MUST_USE sb_status sb_query_read(const void *data, size_t size, sb_query_info *ret_info,
                                    sb_rcode *ret_rcode);

/* The body to encode, borrowed from an answer or from the cache file. */
typedef struct sb_reply_body {
    const uint8_t *body; /* NULL: no records, question only */
    size_t body_size;
    const uint16_t *ttl_at;
    size_t ttl_count;
    uint16_t ancount, nscount;
    uint16_t rcode;
    bool authenticated;   /* set AD when the query had AD or DO */
    uint32_t age_s;       /* taken off every TTL, not below 0… */
    uint32_t ttl_cap_s;   /* …and then at most this; UINT32_MAX = none */
    uint32_t ttl_fixed_s; /* not UINT32_MAX: every TTL is this (stale, emergency) */
    int ede;              /* sb_ede or SB_EDE_NONE; only sent when the query had EDNS */
    const char *ede_text; /* may be NULL; at most 120 bytes are sent */
    sb_span provenance;   /* option 65430 payload when asked for */
} sb_reply_body;

typedef enum sb_transport { SB_TRANSPORT_UDP, SB_TRANSPORT_STREAM } sb_transport;

/* Encodes into buffer. Over UDP, when larger than the client takes, an empty reply with TC; a
 * client takes min(udp_size, SB_EDNS_UDP_SIZE). Returns the size; 0 only when capacity < 12 +
 * question + 11. body->body's question is replaced by the client's. A body or offset that does not
 * fit gives SERVFAIL. */
size_t sb_reply_encode(const sb_query_info *query, const sb_reply_body *body,
                       sb_transport transport, uint8_t *buffer, size_t capacity);
/* A reply without records (errors). */
size_t sb_reply_error(const sb_query_info *query, uint16_t rcode, int ede, const char *ede_text,
                      uint8_t *buffer, size_t capacity);

/* Provenance payload (CONTRACT, DNS): codec for both sides. */
#define SB_TRIED_MAX 16
typedef struct sb_tried {
    uint8_t strategy; /* index of the strategy table, see core/settings.h sb_strategy_text */
    uint8_t status;   /* sb_outcome below: stable numbers */
    uint16_t ms;
    sb_addr server; /* family 0 when none */
} sb_tried;
/* Stable numbers for the wire; the words are those of `tried[].result` and `status` in
 * resolve --json. */
#define SB_OUTCOME_TABLE(X)                                                                        \
    X(OK, "ok")                                                                                    \
    X(NXDOMAIN, "nxdomain") X(NODATA, "nodata") X(SERVFAIL, "servfail") X(TIMEOUT, "timeout")      \
        X(REFUSED, "refused") X(UNREACHABLE, "unreachable") X(MALFORMED, "malformed")              \
            X(MISS, "miss") X(EXPIRED, "expired") X(SKIPPED, "skipped") X(CANCELLED, "cancelled")  \
                X(LIMIT, "limit") X(NONE, "none")
typedef enum sb_outcome {
#define SB_OUTCOME_ENUM(id, text) SB_OUTCOME_##id,
    SB_OUTCOME_TABLE(SB_OUTCOME_ENUM)
#undef SB_OUTCOME_ENUM
        SB_OUTCOME_COUNT
} sb_outcome;
const char *sb_outcome_text(sb_outcome outcome);
sb_outcome sb_outcome_of_status(sb_status status);

enum { SB_PROVENANCE_STALE = 1, SB_PROVENANCE_DUE = 2, SB_PROVENANCE_AGE_UNKNOWN = 4 };
typedef struct sb_provenance {
    uint8_t source; /* sb_source */
    uint8_t flags;  /* SB_PROVENANCE_… */
    uint8_t status; /* sb_outcome of the whole question */
    uint32_t age_s, ttl_s, network;
    sb_addr upstream; /* first address of the list: who taught it; family 0 when unknown */
    sb_tried tried[SB_TRIED_MAX];
    unsigned tried_count;
} sb_provenance;
/* Wire: version 1, source, flags, status, age_s, ttl_s, network, then per entry strategy u8, status
 * u8, ms u16, family u8, address (0, 4 or 16 bytes) and port u16 when family is not 0. Entry 0 is
 * always the upstream (strategy 255). Scopes are not carried. Returns 0 when it does not fit. */
size_t sb_provenance_write(const sb_provenance *p, uint8_t *buffer, size_t capacity);
SB_MUST_USE sb_status sb_provenance_read(sb_span payload, sb_provenance *ret_provenance);

#endif
