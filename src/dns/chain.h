/* The alias chain of a question through a message's answer section (RFC 1034 §3.6.2, 6672).
 *
 * Says which records belong; a part of dns/answer. Pure, any thread. */
#ifndef SB_DNS_CHAIN_H
#define SB_DNS_CHAIN_H

#include "dns/answer.h"

typedef struct sb_chain_link {
    sb_name name;  /* folded */
    sb_name dname; /* folded owner of the DNAME, when dname_at >= 0 */
    int cname_at;  /* index in the answer section of the CNAME followed, or -1 */
    int dname_at;  /* index of the DNAME followed, or -1 */
    uint32_t dname_ttl_s;
} sb_chain_link;

/* links[0] is the question's name, the last one the name that answers or should. */
typedef struct sb_chain {
    sb_chain_link links[SB_ALIASES_MAX + 1];
    unsigned count;
    bool positive; /* the last name has records of the type asked */
} sb_chain;

/* SB_LOOP on loops and too many aliases, SB_MALFORMED on names that do not fit; ret_chain then
 * holds nothing. */
SB_MUST_USE sb_status sb_chain_walk(const sb_msg *msg, const sb_question *question,
                                    sb_chain *ret_chain);
/* True when a record of that type answers the type asked. */
bool sb_chain_type_answers(uint16_t type, uint16_t asked);
/* The type an RRSIG covers; 0 for other records. */
uint16_t sb_chain_covered(const sb_msg *msg, const sb_record *record);
/* The name in the RDATA of a CNAME, DNAME, … record of the message. */
bool sb_chain_rdata_name(const sb_msg *msg, const sb_record *record, sb_name *ret_name);

#endif
