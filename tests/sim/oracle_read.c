/* See oracle_read.h. */
#include "sim/oracle_read.h"

#include <string.h>

#include "dns/rdata.h"

static bool take_answers(oracle *o, parsed *p);
static bool take_record(oracle *o, parsed *p, const sb_record *rec, int *at_id);
static bool take_denial(oracle *o, parsed *p, int last_id);

bool oracle_read(oracle *o, parsed *p)
{
    const oracle_reply *r = p->reply;
    p->ede = SB_EDE_NONE;
    p->origin = ORIGIN_ZONE;
    p->private_of = -1;
    p->ttl_least_s = UINT32_MAX;
    const zone_node *node = zone_find(o->z, &r->question.name);
    p->id = node ? node->id : -1;
    p->slot = zone_slot_of(r->question.type);
    if (sb_msg_parse(r->bytes, r->size, &p->msg) != SB_OK || !(p->msg.flags & SB_FLAG_QR)) {
        oracle_fail(o, "%s: the reply does not parse", oracle_text(&r->question));
        return false;
    }
    if (!p->msg.has_question || p->msg.question.type != r->question.type ||
        p->msg.question.class != r->question.class ||
        p->msg.question.name.size != r->question.name.size ||
        memcmp(p->msg.question.name.wire, r->question.name.wire, r->question.name.size) != 0) {
        oracle_fail(o, "%s: the question is not echoed byte for byte", oracle_text(&r->question));
        return false;
    }
    p->ede = sb_edns_ede(&p->msg.edns);
    p->stale = p->ede == SB_EDE_STALE || p->ede == SB_EDE_STALE_NXDOMAIN;
    if (p->id < 0)
        return true;
    if (p->msg.rcode != SB_RCODE_NOERROR && p->msg.rcode != SB_RCODE_NXDOMAIN)
        return true;
    return take_answers(o, p);
}

/* The answer section must be one chain from the question to its records, and nothing else. */
static bool take_answers(oracle *o, parsed *p)
{
    int at_id = p->id;
    sb_msg_iter it = sb_msg_records(&p->msg, SB_SECTION_ANSWER);
    sb_record rec;
    while (sb_msg_next(&it, &rec)) {
        if (!take_record(o, p, &rec, &at_id))
            return false;
    }
    p->last_id = at_id;
    if (p->positive && p->msg.rcode == SB_RCODE_NXDOMAIN) {
        oracle_fail(o, "%s: NXDOMAIN with records", oracle_text(&p->reply->question));
        return false;
    }
    if (!p->positive && p->reply->question.type != SB_TYPE_CNAME && !take_denial(o, p, at_id))
        return false;
    return true;
}

static void claim(parsed *p, int id, unsigned version, int slot, bool negative)
{
    for (unsigned i = 0; i < p->claim_count; i++) {
        const oracle_claim *c = &p->claims[i];
        if (c->id == id && c->version == version && c->slot == slot)
            return;
    }
    if (p->claim_count < ORACLE_CLAIMS_MAX)
        p->claims[p->claim_count++] = (oracle_claim){.id = (uint8_t)id,
                                                     .version = (uint8_t)version,
                                                     .slot = (uint8_t)slot,
                                                     .negative = negative};
}

static sb_ns alias_end(const oracle *o, int id, unsigned v)
{
    sb_ns said = o->said[id][v][SLOT_CNAME];
    return said ? said + (sb_ns)o->z->nodes[id].versions[v].ttl_s * SB_S : 0;
}

/* An alias carries no version: the one of those with this target that holds longest. */
static bool claim_alias(oracle *o, parsed *p, int id, const sb_name *target, uint32_t ttl_s)
{
    const zone_node *node = &o->z->nodes[id];
    int best = -1;
    for (unsigned v = 0; v < node->version_count; v++) {
        if (!node->versions[v].exists || node->versions[v].alias == ZONE_NO_ALIAS ||
            !sb_name_equal(&o->z->nodes[node->versions[v].alias].name, target))
            continue;
        if (p->lenient && node->versions[v].ttl_s != ttl_s)
            continue;
        if (best < 0 || p->lenient || alias_end(o, id, v) >= alias_end(o, id, (unsigned)best))
            best = (int)v;
    }
    if (best < 0)
        return false;
    claim(p, id, (unsigned)best, SLOT_CNAME, false);
    return true;
}

bool oracle_wrong(oracle *o, const parsed *p, const char *what)
{
    oracle_fail(o, "%s: %s", oracle_text(&p->reply->question), what);
    return false;
}

static bool take_record(oracle *o, parsed *p, const sb_record *rec, int *at_id)
{
    uint8_t rdata[300];
    sb_writer w = sb_writer_of(rdata, sizeof rdata);
    if (*at_id < 0 || !sb_name_equal(&rec->owner, &o->z->nodes[*at_id].name))
        return p->lenient || oracle_wrong(o, p, "a record of another name");
    if (!sb_rdata_expand(p->msg.bytes, rec->rdata_at, rec->rdata_size, rec->type, &w))
        return oracle_wrong(o, p, "RDATA does not parse");
    if (rec->ttl_s < p->ttl_least_s)
        p->ttl_least_s = rec->ttl_s;
    if (rec->ttl_s > p->ttl_most_s)
        p->ttl_most_s = rec->ttl_s;
    sb_name target;
    if (rec->type == SB_TYPE_CNAME) {
        if (p->positive || !sb_rdata_name(SB_TYPE_CNAME, (sb_span){rdata, w.size}, &target))
            return oracle_wrong(o, p, "an alias out of place");
        if (!claim_alias(o, p, *at_id, &target, rec->ttl_s))
            return oracle_wrong(o, p, "an alias that was never true");
        *at_id = zone_node_id(&target);
        return true;
    }
    if (rec->type != p->reply->question.type)
        return oracle_wrong(o, p, "a record of another type");
    unsigned id, version;
    if (rec->type == SB_TYPE_TXT) {
        if (w.size != 5 || rdata[1] != 'T')
            return oracle_wrong(o, p, "a text nobody wrote");
        p->origin = ORIGIN_ZONE;
        id = rdata[2];
        version = rdata[3];
    } else {
        bool six = rec->type == SB_TYPE_AAAA;
        p->origin = six ? rdata[1] : rdata[0];
        id = six ? rdata[3] : rdata[1];
        version = six ? rdata[5] : rdata[2];
    }
    p->positive = true;
    p->lie = p->lie || p->origin == ORIGIN_LIE;
    if (p->origin == ORIGIN_PRIVATE) { /* the zone's, on that network */
        p->private_of = rec->type == SB_TYPE_AAAA ? rdata[15] : rdata[3];
        p->origin = ORIGIN_ZONE;
    }
    if (p->origin == ORIGIN_FORGED)
        return oracle_wrong(o, p, "a forged answer was believed");
    if ((int)id != *at_id)
        return oracle_wrong(o, p, "the answer belongs to another question");
    if (p->origin == ORIGIN_ZONE) {
        if (version >= o->z->nodes[id].version_count)
            return oracle_wrong(o, p, "a version that never was");
        claim(p, (int)id, version, zone_slot_of(rec->type), false);
    }
    return true;
}

static bool take_denial(oracle *o, parsed *p, int last_id)
{
    sb_msg_iter it = sb_msg_records(&p->msg, SB_SECTION_AUTHORITY);
    sb_record rec;
    while (sb_msg_next(&it, &rec)) {
        uint8_t rdata[2 * SB_NAME_MAX + 20];
        sb_writer w = sb_writer_of(rdata, sizeof rdata);
        if (rec.type != SB_TYPE_SOA ||
            !sb_rdata_expand(p->msg.bytes, rec.rdata_at, rec.rdata_size, rec.type, &w) ||
            w.size < 20)
            return oracle_wrong(o, p, "an authority record that is no SOA");
        if (rec.ttl_s < p->ttl_least_s)
            p->ttl_least_s = rec.ttl_s;
        if (rec.ttl_s > p->ttl_most_s)
            p->ttl_most_s = rec.ttl_s;
        uint32_t serial = sb_load_u32(rdata + w.size - 20);
        unsigned id = serial >> 8, version = serial & 0xff;
        if ((int)id == last_id && version == ZONE_LIE) {
            p->serial = p->lie = true;
            continue;
        }
        if ((int)id != last_id || version >= o->z->nodes[id].version_count)
            return oracle_wrong(o, p, "a denial of another name");
        const zone_version *v = &o->z->nodes[id].versions[version];
        if (v->exists != (p->msg.rcode == SB_RCODE_NOERROR))
            return oracle_wrong(o, p, "a denial of the wrong kind");
        p->serial = true;
        if (p->slot >= 0 && p->slot <= SLOT_TXT)
            claim(p, (int)id, version, p->slot, true);
    }
    return true;
}
