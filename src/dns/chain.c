/* The alias chain: which names a question passes through in an answer section.
 *
 * Owns nothing. RFC 1034 §3.6.2, 6672 (DNAME). Any thread. */
#include "dns/chain.h"

#include <string.h>

#include "dns/rdata.h"

/* Fills the link's alias or sets *positive; ret_target gets size 0 where the chain ends. */
static sb_status find_alias(const sb_msg *msg, const sb_question *question, sb_chain_link *link,
                            bool *positive, sb_name *ret_target);
static bool substitute(const sb_name *name, const sb_name *owner, const sb_name *target,
                       sb_name *ret_name);

sb_status sb_chain_walk(const sb_msg *msg, const sb_question *question, sb_chain *ret_chain)
{
    sb_chain *chain = ret_chain;
    sb_name target = question->name;

    chain->count = 0;
    chain->positive = false;
    while (target.size > 0) {
        sb_chain_link *link = &chain->links[chain->count];
        sb_status status;

        if (chain->count > SB_ALIASES_MAX)
            return SB_LOOP;
        for (unsigned i = 0; i < chain->count; i++)
            if (sb_name_equal(&chain->links[i].name, &target))
                return SB_LOOP;
        link->name = target;
        sb_name_fold(&link->name);
        chain->count++;
        status = find_alias(msg, question, link, &chain->positive, &target);
        if (status != SB_OK)
            return status;
    }
    return SB_OK;
}

bool sb_chain_type_answers(uint16_t type, uint16_t asked)
{
    return type == asked || (asked == SB_TYPE_ANY && !sb_type_is_meta(type));
}

uint16_t sb_chain_covered(const sb_msg *msg, const sb_record *record)
{
    if (record->type != SB_TYPE_RRSIG || record->rdata_size < 2)
        return 0;
    return sb_load_u16(&msg->bytes.data[record->rdata_at]);
}

bool sb_chain_rdata_name(const sb_msg *msg, const sb_record *record, sb_name *ret_name)
{
    uint8_t buffer[SB_NAME_MAX + 8]; /* a name after the numbers of an SRV */
    sb_writer w = sb_writer_of(buffer, sizeof buffer);

    return sb_rdata_expand(msg->bytes, record->rdata_at, record->rdata_size, record->type, &w) &&
           sb_rdata_name(record->type, (sb_span){buffer, w.size}, ret_name);
}

static sb_status find_alias(const sb_msg *msg, const sb_question *question, sb_chain_link *link,
                            bool *positive, sb_name *ret_target)
{
    sb_msg_iter it = sb_msg_records(msg, SB_SECTION_ANSWER);
    sb_record record;
    sb_name target = {0}, dname_target = {0};

    link->cname_at = link->dname_at = -1;
    for (int i = 0; sb_msg_next(&it, &record); i++) {
        if (record.class != question->class)
            continue;
        if (record.type == SB_TYPE_DNAME && link->dname_at < 0 &&
            record.owner.size < link->name.size && sb_name_below(&link->name, &record.owner)) {
            if (!sb_chain_rdata_name(msg, &record, &dname_target))
                return SB_MALFORMED;
            link->dname = record.owner;
            sb_name_fold(&link->dname);
            link->dname_at = i;
            link->dname_ttl_s = record.ttl_s;
        } else if (!sb_name_equal(&record.owner, &link->name)) {
            continue;
        } else if (sb_chain_type_answers(record.type, question->type)) {
            *positive = true;
        } else if (record.type == SB_TYPE_CNAME && link->cname_at < 0) {
            if (!sb_chain_rdata_name(msg, &record, &target))
                return SB_MALFORMED;
            link->cname_at = i;
        }
    }
    ret_target->size = 0;
    if (*positive)
        return SB_OK;
    if (link->dname_at >= 0) {
        sb_name made;
        /* who asks for the CNAME itself must be given it by the server (RFC 6672 §3.1) */
        if (link->cname_at < 0 && sb_chain_type_answers(SB_TYPE_CNAME, question->type))
            return SB_MALFORMED;
        if (!substitute(&link->name, &link->dname, &dname_target, &made))
            return SB_MALFORMED;
        if (link->cname_at < 0)
            target = made;
        else if (!sb_name_equal(&made, &target))
            link->dname_at = -1; /* the CNAME is not of its making */
    }
    *ret_target = target;
    return SB_OK;
}

/* name without owner at its end, then target (RFC 6672 §2.3). */
static bool substitute(const sb_name *name, const sb_name *owner, const sb_name *target,
                       sb_name *ret_name)
{
    sb_name prefix = *name;
    size_t head = (size_t)name->size - owner->size;

    prefix.wire[head] = 0;
    prefix.size = (uint8_t)(head + 1);
    return sb_name_join(&prefix, target, ret_name);
}
