/* DNS messages: constants, a checked view of a received message, and a compressing builder.
 *
 * RFC 1035, 2181, 3597, 6891 (EDNS), 8914 (EDE). Pure functions over bytes. Any thread. */
#ifndef SB_DNS_MSG_H
#define SB_DNS_MSG_H

#include "base/addr.h"
#include "base/bytes.h"
#include "dns/name.h"

#define SB_MSG_HEADER 12
#define SB_MSG_MAX 65535
#define SB_EDNS_UDP_SIZE                                                                           \
    1232 /* what we advertise, the most we send over UDP (DNS flag day 2020)                       \
          */

enum {
    SB_FLAG_QR = 0x8000,
    SB_FLAG_AA = 0x0400,
    SB_FLAG_TC = 0x0200,
    SB_FLAG_RD = 0x0100,
    SB_FLAG_RA = 0x0080,
    SB_FLAG_AD = 0x0020,
    SB_FLAG_CD = 0x0010
};
#define SB_FLAGS_OPCODE(flags) (((flags) >> 11) & 15)
#define SB_FLAGS_RCODE(flags) ((flags)&15)

typedef enum sb_rcode {
    SB_RCODE_NOERROR = 0,
    SB_RCODE_FORMERR = 1,
    SB_RCODE_SERVFAIL = 2,
    SB_RCODE_NXDOMAIN = 3,
    SB_RCODE_NOTIMP = 4,
    SB_RCODE_REFUSED = 5,
    SB_RCODE_BADVERS = 16,
    SB_RCODE_BADCOOKIE = 23
} sb_rcode;

enum { SB_CLASS_IN = 1, SB_CLASS_CH = 3, SB_CLASS_ANY = 255 };
enum { SB_SECTION_ANSWER, SB_SECTION_AUTHORITY, SB_SECTION_ADDITIONAL };

/* EDNS option codes, and the private one that carries provenance on the Unix socket. */
enum { SB_OPT_COOKIE = 10, SB_OPT_PADDING = 12, SB_OPT_EDE = 15, SB_OPT_PROVENANCE = 65430 };

/* RFC 8914 info codes used here; -1 = none. */
typedef enum sb_ede {
    SB_EDE_NONE = -1,
    SB_EDE_OTHER = 0,
    SB_EDE_STALE = 3,
    SB_EDE_FORGED = 4,
    SB_EDE_CACHED_ERROR = 13,
    SB_EDE_NOT_READY = 14,
    SB_EDE_PROHIBITED = 18,
    SB_EDE_STALE_NXDOMAIN = 19,
    SB_EDE_NOT_SUPPORTED = 21,
    SB_EDE_NO_REACHABLE_AUTHORITY = 22,
    SB_EDE_NETWORK_ERROR = 23,
    SB_EDE_INVALID_DATA = 24,
    SB_EDE_SYNTHESIZED = 29
} sb_ede;
/* The registered purpose text of an info code, "" when unknown. */
const char *sb_ede_text(int code);

/* What is asked. The name keeps the asker's case; compare with sb_question_equal. */
typedef struct sb_question {
    sb_name name;
    uint16_t type;
    uint16_t class;
    bool dnssec_ok;         /* DO */
    bool checking_disabled; /* CD */
} sb_question;
bool sb_question_equal(const sb_question *a, const sb_question *b); /* case-insensitive name */

typedef struct sb_edns {
    bool present;
    uint8_t version;
    uint8_t extended_rcode; /* upper eight bits */
    bool dnssec_ok;
    uint16_t udp_size;
    sb_span options; /* raw option list, already checked to be well-formed */
} sb_edns;
/* First option of that code; false when absent. */
bool sb_edns_option(const sb_edns *edns, uint16_t code, sb_span *ret_value);
/* RFC 8914: validation (6 to 12) and policy (15 to 18) verdicts, which another server must not be
 * asked to overrule. */
static inline bool sb_ede_is_verdict(int ede)
{
    return (ede >= 6 && ede <= 12) || (ede >= 15 && ede <= 18);
}
/* First EDE info code, or SB_EDE_NONE. */
int sb_edns_ede(const sb_edns *edns);

/* A record inside a message; rdata is borrowed and still compressed against the message. */
typedef struct sb_record {
    sb_name owner;
    uint16_t type;
    uint16_t class;
    uint32_t ttl_s;  /* top bit set → 0 (RFC 2181 §8) */
    size_t rdata_at; /* offset in the message */
    uint16_t rdata_size;
} sb_record;

/* A checked view: header, exactly one question (or none), sections walked once: every owner and
 * RDATA length fits, at most one OPT, in the additional section, owned by the root. Bytes are
 * borrowed. question.dnssec_ok and .checking_disabled are the message's own DO and CD. */
typedef struct sb_msg {
    sb_span bytes;
    uint16_t id;
    uint16_t flags;
    uint16_t rcode; /* with the extended bits */
    uint16_t counts[4];
    bool has_question;
    sb_question question;
    size_t question_size; /* name + 4, at offset 12 */
    size_t section_at[3];
    sb_edns edns;
} sb_msg;

/* SB_MALFORMED when it does not check; trailing bytes after the last record are an error too. On
 * failure the id and flags are still filled when 12 bytes were there (*ret_msg is otherwise zero):
 * a FORMERR can be sent. */
SB_MUST_USE sb_status sb_msg_parse(const void *data, size_t size, sb_msg *ret_msg);

/* True when the message's question section holds that name (any case), type and class. DO and CD
 * are not compared: a response need not repeat them. */
bool sb_msg_answers(const sb_msg *msg, const sb_question *question);

/* Walks one section; start with *it zeroed except .section. Returns false at the end. */
typedef struct sb_msg_iter {
    const sb_msg *msg;
    int section;
    uint16_t left;
    size_t at;
} sb_msg_iter;
sb_msg_iter sb_msg_records(const sb_msg *msg, int section);
bool sb_msg_next(sb_msg_iter *it, sb_record *ret_record);

/* Builds a message in the caller's buffer. Compresses owner names and the names of RFC 1035 RDATA,
 * whatever their case. Overrun is sticky in w.failed. Sections must be added in order. */
#define SB_BUILDER_NAMES 64
typedef struct sb_builder {
    sb_writer w;
    uint16_t counts[4];
    uint16_t name_at[SB_BUILDER_NAMES]; /* compression targets */
    unsigned name_count;
} sb_builder;
void sb_builder_init(sb_builder *b, void *buffer, size_t capacity, uint16_t id, uint16_t flags);
void sb_builder_question(sb_builder *b, const sb_question *question); /* name in its given case */
void sb_builder_name(sb_builder *b, const sb_name *name);             /* compressed */
/* rdata uncompressed, in canonical wire form; written with the compression its type allows. */
void sb_builder_record(sb_builder *b, int section, const sb_name *owner, uint16_t type,
                       uint16_t class, uint32_t ttl_s, sb_span rdata);
/* Convenience for A / AAAA. */
void sb_builder_address(sb_builder *b, const sb_name *owner, const sb_addr *addr, uint32_t ttl_s);
/* OPT; options is a raw option list (may be empty). Goes last. */
void sb_builder_edns(sb_builder *b, uint16_t udp_size, uint8_t extended_rcode, bool dnssec_ok,
                     sb_span options);
/* Writes the counts; returns the size or 0 when it did not fit. */
size_t sb_builder_finish(sb_builder *b);

#endif
