/* Answers: immutable, one allocation, shared by reference, with provenance.
 *
 * An answer is what a well-behaved server says to one question: body = question, answer and
 * authority sections as wire bytes whose compression pointers count from message offset 12, with
 * the question's name folded; no OPT, no additional section. The same bytes lie in the cache file
 * and go to clients. RFC 1034 §3.6.2 (aliases), 2308 (negatives), 8020 not applied. Any thread:
 * reference counts are atomic. */
#ifndef SB_DNS_ANSWER_H
#define SB_DNS_ANSWER_H

#include <stdatomic.h>

#include "base/addr.h"
#include "dns/msg.h"

#define SB_ALIASES_MAX 16      /* CNAMEs in a chain */
#define SB_ANSWER_TTLS_MAX 512 /* records of an answer; more are MALFORMED */
#define SB_TTL_MAX_S 2147483647u
/* What a server's TTLs are cut to: nobody means years, and a forged or mistyped one must end some
 * day. The cap that RFC 8767 §4 recommends; the top bit stays 0 by RFC 2181 §8 (the stricter). */
#define SB_TTL_SANE_S 604800u

typedef enum sb_kind {
    SB_KIND_POSITIVE = 1, /* at least one record of the type asked (or CNAME/ANY as asked) */
    SB_KIND_NODATA = 2,   /* NOERROR, chain may be there, no such type */
    SB_KIND_NXDOMAIN = 3,
    SB_KIND_FAILURE = 4 /* SERVFAIL and the like, kept per RFC 9520; body is the question alone */
} sb_kind;

/* Where an answer came from first of all; the CONTRACT's "source" words, see sb_source_text. */
#define SB_SOURCE_TABLE(X)                                                                         \
    X(NONE, "none")                                                                                \
    X(LITERAL, "literal")                                                                          \
    X(HOSTS, "hosts")                                                                              \
    X(CACHE, "cache")                                                                              \
    X(SHARED, "shared")                                                                            \
    X(DNS, "dns") X(MDNS, "mdns") X(STALE, "stale") X(EMERGENCY, "emergency") X(GUESS, "guess")    \
        X(PIN, "pin") X(SPECIAL, "special")
typedef enum sb_source {
#define SB_SOURCE_ENUM(id, text) SB_SOURCE_##id,
    SB_SOURCE_TABLE(SB_SOURCE_ENUM)
#undef SB_SOURCE_ENUM
        SB_SOURCE_COUNT
} sb_source;
const char *sb_source_text(sb_source source);

typedef enum sb_protocol {
    SB_PROTOCOL_UDP = 1,
    SB_PROTOCOL_TCP = 2,
    SB_PROTOCOL_TLS = 3
} sb_protocol;

/* flags of an answer */
enum {
    SB_ANSWER_AD = 1,         /* upstream said AD and is trusted with it */
    SB_ANSWER_CHAIN_OPEN = 2, /* the alias chain ends without an answer: ask its target */
    SB_ANSWER_NO_SOA = 4,     /* negative without SOA: kept for seconds only (RFC 2308 §5) */
    SB_ANSWER_ADDRESSES = 8   /* A or AAAA question */
};

typedef struct sb_answer {
    _Atomic uint32_t refs; /* partner: itself; acq_rel on the drop to zero */
    sb_addr upstream;      /* who said it; family 0 when nobody did */
    uint32_t ttl_s;        /* authority's: least of the chain; negatives: min(SOA TTL, MINIMUM) */
    uint32_t network;      /* identity of the network it was learned on; 0 = any */
    uint32_t view;
    uint16_t type;
    uint16_t class;
    uint16_t rcode;
    uint16_t ancount, nscount;
    uint16_t flags;
    uint8_t kind;     /* sb_kind */
    uint8_t source;   /* sb_source of the first learning: DNS, MDNS, HOSTS, PIN, … */
    uint8_t protocol; /* sb_protocol or 0 */
    bool dnssec_ok, checking_disabled; /* of the question it answers */
    int16_t ede;                       /* upstream's info code or SB_EDE_NONE */
    uint16_t ttl_count;
    uint32_t body_size;     /* name + 4 + records; at most SB_MSG_MAX - 12 */
    const uint16_t *ttl_at; /* ttl_count offsets into body, into this allocation */
    const uint8_t *body;    /* into this allocation */
} sb_answer;

/* From an upstream's message to `question`, whose question section was compared before. Keeps the
 * records of the question's alias chain (CNAME, DNAME with its synthesised CNAME, RRSIGs of them
 * when DO), in the authority section the SOA of a negative (and NSEC/NSEC3/RRSIG of it when DO) or
 * nothing, but for the NSEC/NSEC3 that prove a wildcard's expansion when DO; drops all else. TTLs
 * are cut to SB_TTL_SANE_S. Loops and chains over SB_ALIASES_MAX: SB_MALFORMED. SOA must be at or
 * above the last name of the chain, else it counts as absent. rcode other than NOERROR/NXDOMAIN
 * gives SB_KIND_FAILURE. MALFORMED are NXDOMAIN with an alias chain that ended in records of the
 * type asked, and answer sections that hold something, but nothing of the chain. SB_ANSWER_AD is
 * never set here: the caller who knows whom to trust looks at the message's AD. */
SB_MUST_USE sb_status sb_answer_from_msg(const sb_question *question, const sb_msg *msg,
                                         sb_answer **ret_answer);
/* From stored parts (cache file): body and offsets are copied and CHECKED (they may be hostile). */
typedef struct sb_answer_parts {
    const uint8_t *body;
    size_t body_size;
    const uint16_t *ttl_at;
    size_t ttl_count;
    uint16_t rcode, ancount, nscount, flags;
    uint32_t ttl_s;
    uint8_t kind;
} sb_answer_parts;
SB_MUST_USE sb_status sb_answer_from_parts(const sb_answer_parts *parts, sb_answer **ret_answer);
/* An address answer made by us (pin, hosts, emergency, localhost): positive when one of the n has
 * the asked family, else NODATA without SOA but with ttl_s. Types but A and AAAA give NODATA. */
SB_MUST_USE sb_status sb_answer_from_addresses(const sb_question *question,
                                               const sb_addr *addresses, size_t n, uint32_t ttl_s,
                                               sb_source source, sb_answer **ret_answer);
/* PTR for hosts entries. */
SB_MUST_USE sb_status sb_answer_from_ptr(const sb_question *question, const sb_name *target,
                                         uint32_t ttl_s, sb_source source, sb_answer **ret_answer);
/* NODATA, NXDOMAIN (both without SOA but with ttl_s) or FAILURE (SERVFAIL): kind says which. */
SB_MUST_USE sb_status sb_answer_empty(const sb_question *question, sb_kind kind, uint32_t ttl_s,
                                      sb_source source, sb_answer **ret_answer);
/* The same without the addresses at the chain's end that keep() refuses; it says false of none or
 * some, never of all. Of A and AAAA answers alone; signatures are kept as they are, so not for
 * those with DO. */
SB_MUST_USE sb_status sb_answer_filter(const sb_answer *answer,
                                       bool (*keep)(void *context, const sb_addr *addr),
                                       void *context, sb_answer **ret_answer);
/* The chain of `head` (SB_ANSWER_CHAIN_OPEN) continued by `tail`, an answer to its last target: one
 * answer to head's question, with head's provenance; ttl_s is the lesser. head was learned
 * head_age_s before tail, by which its TTLs are less. MALFORMED on a loop or too many aliases,
 * MISMATCH when tail answers something else. */
SB_MUST_USE sb_status sb_answer_splice(const sb_answer *head, uint32_t head_age_s,
                                       const sb_answer *tail, sb_answer **ret_answer);

sb_answer *sb_answer_ref(const sb_answer *answer);
void sb_answer_unref(const sb_answer *answer); /* NULL allowed */

/* The question the body begins with. */
void sb_answer_question(const sb_answer *answer, sb_question *ret_question);
/* Last name of the alias chain (the question's name without aliases). */
void sb_answer_target(const sb_answer *answer, sb_name *ret_name);
/* Addresses of the chain's end, in message order, ports 0; at most max. */
size_t sb_answer_addresses(const sb_answer *answer, sb_addr *ret_addresses, size_t max);
/* Walks the answer (0) or authority (1) records. False when the visitor said so, or on damage. */
bool sb_answer_each(const sb_answer *answer, int section,
                    bool (*visit)(void *context, const sb_record *record, sb_span rdata),
                    void *context); /* rdata expanded, valid during the call */

#endif
