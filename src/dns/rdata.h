/* Record types as a table: name, wire layout, text form (RFC 1035, 3596, 2782, 9460, 3597 and the
 * types that can hold a compressed name: RFC 3597 §4).
 *
 * A layout is a short string of field codes; one interpreter expands, checks and prints. Any
 * thread. */
#ifndef SB_DNS_RDATA_H
#define SB_DNS_RDATA_H

#include "base/bytes.h"
#include "dns/name.h"

enum {
    SB_TYPE_A = 1,
    SB_TYPE_NS = 2,
    SB_TYPE_CNAME = 5,
    SB_TYPE_SOA = 6,
    SB_TYPE_PTR = 12,
    SB_TYPE_MX = 15,
    SB_TYPE_TXT = 16,
    SB_TYPE_AAAA = 28,
    SB_TYPE_SRV = 33,
    SB_TYPE_NAPTR = 35,
    SB_TYPE_DNAME = 39,
    SB_TYPE_OPT = 41,
    SB_TYPE_DS = 43,
    SB_TYPE_RRSIG = 46,
    SB_TYPE_NSEC = 47,
    SB_TYPE_NSEC3 = 50,
    SB_TYPE_SVCB = 64,
    SB_TYPE_HTTPS = 65,
    SB_TYPE_TSIG = 250,
    SB_TYPE_IXFR = 251,
    SB_TYPE_AXFR = 252,
    SB_TYPE_MAILB = 253,
    SB_TYPE_MAILA = 254,
    SB_TYPE_ANY = 255
};

/* "A", "HTTPS", "TYPE65280"; buffer of 16 bytes for the generic form. */
const char *sb_type_text(uint16_t type, char buffer[16]);
static inline bool sb_type_is_address(uint16_t type)
{
    return type == SB_TYPE_A || type == SB_TYPE_AAAA;
}
/* Mnemonic (any case) or TYPEnnn; false when neither. */
bool sb_type_parse(const char *text, size_t size, uint16_t *ret_type);
const char *sb_rcode_text(uint16_t rcode, char buffer[16]);
/* True for query-only and meta types: OPT and 128–255, ANY among them (RFC 6895 §3.1). */
bool sb_type_is_meta(uint16_t type);

/* Writes the RDATA at [at, at+size) of the message to w with every compressed name expanded; w NULL
 * only checks. False when malformed for its type: fixed layouts must fit exactly, unknown types are
 * opaque. */
bool sb_rdata_expand(sb_span message, size_t at, size_t size, uint16_t type, sb_writer *w);
/* Presentation form of expanded RDATA into t; the RFC 3597 \# form for types without one here.
 * False when the bytes do not fit the type (then the \# form was written). */
bool sb_rdata_text(uint16_t type, sb_span rdata, sb_text *t);
/* The name a CNAME, NS, PTR, DNAME (offset 0), MX (2) or SRV (6) holds, from expanded RDATA. */
bool sb_rdata_name(uint16_t type, sb_span rdata, sb_name *ret_name);
/* Layout access for the builder: offset of the first compressible (RFC 1035) name of expanded RDATA
 * and whether there is one; a type has at most two, adjacent (SOA). */
bool sb_rdata_compressible(uint16_t type, size_t *ret_fixed_before, unsigned *ret_names);

#endif
