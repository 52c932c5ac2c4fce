/* Answers: made from messages, stored parts or our own data; read by everybody.
 *
 * Owns the allocation of an answer: the struct, the TTL offsets, and a message header before the
 * body so that both read as one message. RFC 1034, 2308, 9520. Any thread. */
#include "dns/answer.h"

#include <string.h>

#include "base/mem.h"
#include "dns/chain.h"
#include "dns/rdata.h"

/* Expanded RDATA of the types that compress: SOA is the largest, two names and 20 bytes. */
#define COMPRESSIBLE_MAX (2 * SB_NAME_MAX + 20)
/* RFC 4034 §3.1: type covered, algorithm, labels, TTL, expiration, inception, key tag, signer */
#define RRSIG_LABELS_AT 3
#define RRSIG_SIGNER_AT 18
#define FLAGS_KNOWN (SB_ANSWER_AD | SB_ANSWER_CHAIN_OPEN | SB_ANSWER_NO_SOA | SB_ANSWER_ADDRESSES)

/* An answer in the making. */
typedef struct draft {
    sb_builder out;
    const sb_msg *from; /* records are copied from here */
    const sb_question *question;
    const sb_name *fold_target; /* a CNAME to this name loses its case: its records follow */
    sb_name zone;               /* signer of a wildcard's expansion, size 0 without */
    uint32_t ttl_s;             /* least so far */
    bool failed;
    uint8_t message[SB_MSG_MAX];
    uint8_t rdata[SB_MSG_MAX];
} draft;

static draft *draft_new(const sb_question *question);
static void draft_copy(draft *d, int section, const sb_record *record);
static void draft_copy_as(draft *d, int section, const sb_record *record, uint32_t ttl_s);
static void draft_note_wildcard(draft *d, const sb_record *record, sb_span rdata);
static sb_status draft_finish(draft *d, const sb_answer *like, sb_answer **ret_answer);
static bool is_beside(const sb_msg *msg, const sb_chain *chain, uint16_t type);
static void copy_link(draft *d, const sb_chain *chain, unsigned at);
static bool link_keeps(const draft *d, const sb_chain *chain, unsigned at, int index,
                       const sb_record *record);
static bool find_soa(const draft *d, const sb_name *name, sb_record *ret_soa, uint32_t *ret_ttl_s);
static void copy_proof(draft *d, const sb_name *zone, bool negative);
static void copy_section(draft *d, const sb_msg *from, int section, uint32_t age_s);
static uint32_t less(uint32_t ttl_s, uint32_t age_s);
static sb_status make(const sb_question *question, sb_kind kind, uint32_t ttl_s, sb_source source,
                      draft **ret_draft, sb_answer *ret_like);
static sb_answer *answer_alloc(sb_span body, size_t ttl_count, const sb_answer *like);
static sb_status answer_message(const sb_answer *answer, sb_msg *ret_msg);
static bool parts_check(const sb_answer *answer, const sb_msg *msg);

const char *sb_source_text(sb_source source)
{
    static const char *const texts[] = {
#define SOURCE_TEXT(id, text) text,
        SB_SOURCE_TABLE(SOURCE_TEXT)
#undef SOURCE_TEXT
    };
    return (unsigned)source < SB_ARRAY_SIZE(texts) ? texts[source] : "unknown";
}

sb_status sb_answer_from_msg(const sb_question *question, const sb_msg *msg, sb_answer **ret_answer)
{
    int ede = sb_edns_ede(&msg->edns);
    sb_answer like = {.source = SB_SOURCE_DNS, .rcode = msg->rcode, .ede = SB_EDE_NONE};
    sb_status status = SB_NOMEM;
    sb_chain chain;
    sb_record soa;
    uint32_t soa_ttl_s;
    draft *d;

    /* The limits come first: they bound the walks below. */
    if (msg->counts[1] > SB_ANSWER_TTLS_MAX || msg->counts[2] > SB_ANSWER_TTLS_MAX)
        return SB_MALFORMED;
    /* Codes above 32767 are nobody's; they count as "Other Error". */
    like.ede = (int16_t)(ede > INT16_MAX ? 0 : ede);
    d = draft_new(question);
    if (!d)
        return SB_NOMEM;
    d->from = msg;
    if (msg->rcode != SB_RCODE_NOERROR && msg->rcode != SB_RCODE_NXDOMAIN) {
        like.kind = SB_KIND_FAILURE;
        status = draft_finish(d, &like, ret_answer);
        goto done;
    }
    status = sb_chain_walk(msg, question, &chain);
    if (status == SB_OK && ((chain.positive && msg->rcode == SB_RCODE_NXDOMAIN) ||
                            (!chain.positive && is_beside(msg, &chain, question->type))))
        status = SB_MALFORMED;
    if (status != SB_OK)
        goto done;
    for (unsigned i = 0; i < chain.count; i++)
        copy_link(d, &chain, i);
    if (chain.positive) {
        like.kind = SB_KIND_POSITIVE;
        if (question->dnssec_ok && d->zone.size > 0)
            copy_proof(d, &d->zone, false);
    } else {
        like.kind = msg->rcode == SB_RCODE_NXDOMAIN ? SB_KIND_NXDOMAIN : SB_KIND_NODATA;
        if (find_soa(d, &chain.links[chain.count - 1].name, &soa, &soa_ttl_s)) {
            draft_copy_as(d, SB_SECTION_AUTHORITY, &soa, soa_ttl_s);
            if (question->dnssec_ok)
                copy_proof(d, &soa.owner, true);
        } else if (like.kind == SB_KIND_NODATA && chain.count > 1) {
            like.flags = SB_ANSWER_CHAIN_OPEN;
        } else {
            like.flags = SB_ANSWER_NO_SOA;
        }
    }
    like.ttl_s = like.flags & SB_ANSWER_NO_SOA ? 0 : d->ttl_s;
    status = draft_finish(d, &like, ret_answer);
done:
    sb_free(d);
    return status;
}

sb_status sb_answer_from_parts(const sb_answer_parts *parts, sb_answer **ret_answer)
{
    sb_answer like = {.rcode = parts->rcode,
                      .ancount = parts->ancount,
                      .nscount = parts->nscount,
                      .flags = parts->flags,
                      .ttl_s = parts->ttl_s,
                      .kind = parts->kind,
                      .ede = SB_EDE_NONE};
    sb_status status = SB_MALFORMED;
    sb_answer *answer;
    sb_msg msg;

    if (parts->body_size == 0 || parts->body_size > SB_MSG_MAX - SB_MSG_HEADER ||
        parts->ttl_count > 2 * SB_ANSWER_TTLS_MAX || parts->ttl_s > SB_TTL_MAX_S ||
        parts->ttl_count != (size_t)parts->ancount + parts->nscount ||
        (parts->flags & ~FLAGS_KNOWN) != 0)
        return SB_MALFORMED;
    answer = answer_alloc((sb_span){parts->body, parts->body_size}, parts->ttl_count, &like);
    if (!answer)
        return SB_NOMEM;
    if (parts->ttl_count > 0)
        memcpy((uint16_t *)(answer + 1), parts->ttl_at, parts->ttl_count * sizeof(uint16_t));
    if (answer_message(answer, &msg) != SB_OK || !msg.has_question || !parts_check(answer, &msg))
        goto done;
    answer->type = msg.question.type;
    answer->class = msg.question.class;
    answer->flags &= (uint16_t)~SB_ANSWER_ADDRESSES;
    if (answer->type == SB_TYPE_A || answer->type == SB_TYPE_AAAA)
        answer->flags |= SB_ANSWER_ADDRESSES;
    *ret_answer = answer;
    answer = NULL;
    status = SB_OK;
done:
    sb_answer_unref(answer);
    return status;
}

sb_status sb_answer_from_addresses(const sb_question *question, const sb_addr *addresses, size_t n,
                                   uint32_t ttl_s, sb_source source, sb_answer **ret_answer)
{
    uint8_t family = question->class != SB_CLASS_IN   ? SB_FAMILY_NONE
                     : question->type == SB_TYPE_A    ? SB_FAMILY_4
                     : question->type == SB_TYPE_AAAA ? SB_FAMILY_6
                                                      : SB_FAMILY_NONE;
    sb_status status;
    sb_answer like;
    draft *d;

    status = make(question, SB_KIND_NODATA, ttl_s, source, &d, &like);
    if (status != SB_OK)
        return status;
    for (size_t i = 0; i < n && d->out.counts[1] < SB_ANSWER_TTLS_MAX; i++)
        if (family != SB_FAMILY_NONE && addresses[i].family == family)
            sb_builder_address(&d->out, &question->name, &addresses[i], like.ttl_s);
    if (d->out.counts[1] > 0) {
        like.kind = SB_KIND_POSITIVE;
        like.flags = 0;
    }
    status = draft_finish(d, &like, ret_answer);
    sb_free(d);
    return status;
}

sb_status sb_answer_from_ptr(const sb_question *question, const sb_name *target, uint32_t ttl_s,
                             sb_source source, sb_answer **ret_answer)
{
    sb_status status;
    sb_answer like;
    draft *d;

    status = make(question, SB_KIND_POSITIVE, ttl_s, source, &d, &like);
    if (status != SB_OK)
        return status;
    sb_builder_record(&d->out, SB_SECTION_ANSWER, &question->name, SB_TYPE_PTR, question->class,
                      like.ttl_s, (sb_span){target->wire, target->size});
    status = draft_finish(d, &like, ret_answer);
    sb_free(d);
    return status;
}

sb_status sb_answer_empty(const sb_question *question, sb_kind kind, uint32_t ttl_s,
                          sb_source source, sb_answer **ret_answer)
{
    sb_status status;
    sb_answer like;
    draft *d;

    if (kind == SB_KIND_POSITIVE)
        return SB_INVALID;
    status = make(question, kind, ttl_s, source, &d, &like);
    if (status != SB_OK)
        return status;
    status = draft_finish(d, &like, ret_answer);
    sb_free(d);
    return status;
}

sb_status sb_answer_splice(const sb_answer *head, uint32_t head_age_s, const sb_answer *tail,
                           sb_answer **ret_answer)
{
    /* field by field: the count of a shared answer may change under a struct copy */
    sb_answer like = {.upstream = head->upstream,
                      .network = head->network,
                      .view = head->view,
                      .kind = tail->kind,
                      .source = head->source,
                      .protocol = head->protocol,
                      .rcode = tail->rcode,
                      .ede = tail->ede};
    sb_question question, next;
    sb_name target;
    sb_status status;
    sb_chain chain;
    sb_msg from_head, from_tail, made;
    draft *d;

    sb_answer_question(head, &question);
    sb_answer_question(tail, &next);
    sb_answer_target(head, &target);
    if (!(head->flags & SB_ANSWER_CHAIN_OPEN) || !sb_name_equal(&target, &next.name) ||
        head->type != tail->type || head->class != tail->class)
        return SB_MISMATCH;
    if (answer_message(head, &from_head) != SB_OK || answer_message(tail, &from_tail) != SB_OK)
        return SB_MALFORMED;
    d = draft_new(&question);
    if (!d)
        return SB_NOMEM;
    like.ttl_s = less(head->ttl_s, head_age_s);
    like.ttl_s = like.ttl_s < tail->ttl_s ? like.ttl_s : tail->ttl_s;
    like.flags = (uint16_t)(tail->flags & ~SB_ANSWER_AD);
    like.flags |= head->flags & tail->flags & SB_ANSWER_AD; /* true of both or of neither */
    if (tail->kind != SB_KIND_FAILURE) {
        d->fold_target = tail->ancount > 0 ? &next.name : NULL;
        copy_section(d, &from_head, SB_SECTION_ANSWER, head_age_s);
        copy_section(d, &from_tail, SB_SECTION_ANSWER, 0);
        copy_section(d, &from_tail, SB_SECTION_AUTHORITY, 0);
        status =
            d->failed ? SB_MALFORMED : sb_msg_parse(d->message, sb_builder_finish(&d->out), &made);
        if (status == SB_OK)
            status = sb_chain_walk(&made, &question, &chain);
        if (status == SB_OK && chain.positive != (tail->kind == SB_KIND_POSITIVE))
            status = SB_MALFORMED;
        if (status != SB_OK)
            goto done;
    }
    status = draft_finish(d, &like, ret_answer);
done:
    sb_free(d);
    return status;
}

sb_status sb_answer_filter(const sb_answer *answer,
                           bool (*keep)(void *context, const sb_addr *addr), void *context,
                           sb_answer **ret_answer)
{
    sb_question question;
    sb_record record;
    sb_msg msg;
    sb_status status = answer_message(answer, &msg);
    if (status != SB_OK)
        return status;
    sb_answer_question(answer, &question);
    draft *d = draft_new(&question);
    if (!d)
        return SB_NOMEM;
    d->from = &msg;
    sb_msg_iter it = sb_msg_records(&msg, SB_SECTION_ANSWER);
    while (sb_msg_next(&it, &record)) {
        const uint8_t *rdata = msg.bytes.data + record.rdata_at;
        bool four = record.type == SB_TYPE_A && record.rdata_size == 4;
        bool six = record.type == SB_TYPE_AAAA && record.rdata_size == 16;
        sb_addr addr = four ? sb_addr_4(rdata, 0) : six ? sb_addr_6(rdata, 0) : (sb_addr){0};
        if ((!four && !six) || keep(context, &addr))
            draft_copy(d, SB_SECTION_ANSWER, &record);
    }
    copy_section(d, &msg, SB_SECTION_AUTHORITY, 0);
    status = draft_finish(d, answer, ret_answer);
    sb_free(d);
    return status;
}

sb_answer *sb_answer_ref(const sb_answer *answer)
{
    /* Answers are immutable but for their count: the const goes here and only here. */
    sb_answer *counted = (sb_answer *)(uintptr_t)answer;

    atomic_fetch_add_explicit(&counted->refs, 1, memory_order_relaxed);
    return counted;
}

void sb_answer_unref(const sb_answer *answer)
{
    sb_answer *counted = (sb_answer *)(uintptr_t)answer;

    if (counted && atomic_fetch_sub_explicit(&counted->refs, 1, memory_order_acq_rel) == 1)
        sb_free(counted);
}

void sb_answer_question(const sb_answer *answer, sb_question *ret_question)
{
    sb_reader r = sb_reader_of(answer->body, answer->body_size);

    if (!sb_name_read_plain(&r, &ret_question->name))
        ret_question->name = (sb_name){0};
    ret_question->type = answer->type;
    ret_question->class = answer->class;
    ret_question->dnssec_ok = answer->dnssec_ok;
    ret_question->checking_disabled = answer->checking_disabled;
}

void sb_answer_target(const sb_answer *answer, sb_name *ret_name)
{
    sb_question question;
    sb_chain chain;
    sb_msg msg;

    sb_answer_question(answer, &question);
    if (answer_message(answer, &msg) == SB_OK && sb_chain_walk(&msg, &question, &chain) == SB_OK)
        *ret_name = chain.links[chain.count - 1].name;
    else
        *ret_name = question.name;
}

size_t sb_answer_addresses(const sb_answer *answer, sb_addr *ret_addresses, size_t max)
{
    sb_msg_iter it;
    sb_record record;
    sb_msg msg;
    size_t n = 0;

    if (answer->ancount == 0 || answer_message(answer, &msg) != SB_OK)
        return 0;
    /* Every address record of a body is its chain's end: nothing else was kept. */
    it = sb_msg_records(&msg, SB_SECTION_ANSWER);
    while (n < max && sb_msg_next(&it, &record)) {
        const uint8_t *bytes = &msg.bytes.data[record.rdata_at];
        if (record.class != SB_CLASS_IN)
            continue;
        if (record.type == SB_TYPE_A && record.rdata_size == 4)
            ret_addresses[n++] = sb_addr_4(bytes, 0);
        else if (record.type == SB_TYPE_AAAA && record.rdata_size == 16)
            ret_addresses[n++] = sb_addr_6(bytes, 0);
    }
    return n;
}

bool sb_answer_each(const sb_answer *answer, int section,
                    bool (*visit)(void *context, const sb_record *record, sb_span rdata),
                    void *context)
{
    uint8_t expanded[COMPRESSIBLE_MAX];
    sb_msg_iter it;
    sb_record record;
    sb_msg msg;

    if (answer_message(answer, &msg) != SB_OK)
        return false;
    it = sb_msg_records(&msg, section);
    while (sb_msg_next(&it, &record)) {
        sb_span rdata = {&msg.bytes.data[record.rdata_at], record.rdata_size};
        sb_writer w = sb_writer_of(expanded, sizeof expanded);
        size_t fixed;
        unsigned names;

        /* The builder compresses these types and no others. */
        if (sb_rdata_compressible(record.type, &fixed, &names)) {
            if (!sb_rdata_expand(msg.bytes, record.rdata_at, record.rdata_size, record.type, &w))
                return false;
            rdata = (sb_span){expanded, w.size};
        }
        if (!visit(context, &record, rdata))
            return false;
    }
    return true;
}

static draft *draft_new(const sb_question *question)
{
    sb_question folded = *question;
    draft *d = sb_alloc(sizeof *d);

    if (!d)
        return NULL;
    d->from = NULL;
    d->question = question;
    d->fold_target = NULL;
    d->zone.size = 0;
    d->ttl_s = SB_TTL_MAX_S;
    d->failed = false;
    sb_builder_init(&d->out, d->message, sizeof d->message, 0, SB_FLAG_QR);
    sb_name_fold(&folded.name);
    sb_builder_question(&d->out, &folded);
    return d;
}

static void draft_copy(draft *d, int section, const sb_record *record)
{
    draft_copy_as(d, section, record, record->ttl_s);
}

static void draft_copy_as(draft *d, int section, const sb_record *record, uint32_t ttl_s)
{
    sb_writer w = sb_writer_of(d->rdata, sizeof d->rdata);
    sb_name owner = record->owner, target;
    sb_span rdata;

    if (ttl_s > SB_TTL_SANE_S)
        ttl_s = SB_TTL_SANE_S;
    if (!sb_rdata_expand(d->from->bytes, record->rdata_at, record->rdata_size, record->type, &w)) {
        d->failed = true;
        return;
    }
    rdata = (sb_span){d->rdata, w.size};
    if (d->fold_target && record->type == SB_TYPE_CNAME &&
        sb_rdata_name(record->type, rdata, &target) && sb_name_equal(&target, d->fold_target)) {
        sb_name_fold(&target);
        rdata = (sb_span){target.wire, target.size};
    }
    if (record->type == SB_TYPE_RRSIG && section == SB_SECTION_ANSWER)
        draft_note_wildcard(d, record, rdata);
    sb_name_fold(&owner);
    sb_builder_record(&d->out, section, &owner, record->type, record->class, ttl_s, rdata);
    if (ttl_s < d->ttl_s)
        d->ttl_s = ttl_s;
}

/* A signature over fewer labels than its owner has comes from a wildcard: without the proof that
 * nothing closer exists a validating client must reject the answer (RFC 4035 §3.1.3.3). */
static void draft_note_wildcard(draft *d, const sb_record *record, sb_span rdata)
{
    sb_reader r = sb_reader_of(rdata.data, rdata.size);
    uint8_t labels;

    sb_read_skip(&r, RRSIG_LABELS_AT);
    labels = sb_read_u8(&r);
    sb_read_skip(&r, RRSIG_SIGNER_AT - RRSIG_LABELS_AT - 1);
    if (labels < sb_name_labels(&record->owner) && !sb_name_read_plain(&r, &d->zone))
        d->zone.size = 0;
}

/* like carries what the message does not say; all that the question says is set here. */
static sb_status draft_finish(draft *d, const sb_answer *like, sb_answer **ret_answer)
{
    size_t size = sb_builder_finish(&d->out);
    sb_answer *answer;
    sb_answer full = *like;
    sb_msg_iter it;
    sb_record record;
    sb_msg msg;
    size_t n = 0;
    uint16_t *ttl_at;

    if (d->failed || size == 0 || sb_msg_parse(d->message, size, &msg) != SB_OK)
        return SB_MALFORMED;
    full.type = d->question->type;
    full.class = d->question->class;
    full.dnssec_ok = d->question->dnssec_ok;
    full.checking_disabled = d->question->checking_disabled;
    full.ancount = msg.counts[1];
    full.nscount = msg.counts[2];
    if (full.type == SB_TYPE_A || full.type == SB_TYPE_AAAA)
        full.flags |= SB_ANSWER_ADDRESSES;
    answer = answer_alloc((sb_span){d->message + SB_MSG_HEADER, size - SB_MSG_HEADER},
                          (size_t)full.ancount + full.nscount, &full);
    if (!answer)
        return SB_NOMEM;
    ttl_at = (uint16_t *)(answer + 1);
    for (int section = 0; section < 2; section++) {
        it = sb_msg_records(&msg, section);
        while (sb_msg_next(&it, &record)) /* TTL and RDLENGTH lie before the RDATA */
            ttl_at[n++] = (uint16_t)(record.rdata_at - 6 - SB_MSG_HEADER);
    }
    *ret_answer = answer;
    return SB_OK;
}

/* It answers, but something else. A DNAME at the name itself redirects only what is below: that is
 * the name's own empty answer. */
static bool is_beside(const sb_msg *msg, const sb_chain *chain, uint16_t type)
{
    sb_msg_iter it = sb_msg_records(msg, SB_SECTION_ANSWER);
    sb_record record;
    while (chain->count == 1 && sb_msg_next(&it, &record)) {
        bool own = sb_name_equal(&record.owner, &chain->links[0].name);
        /* There are servers that have one family alone, and give it to who asks for the other. */
        bool sibling = own && sb_type_is_address(type) && sb_type_is_address(record.type);
        if (record.type != SB_TYPE_RRSIG && !sibling && (record.type != SB_TYPE_DNAME || !own))
            return true;
    }
    return false;
}

static void copy_link(draft *d, const sb_chain *chain, unsigned at)
{
    const sb_chain_link *link = &chain->links[at];
    sb_msg_iter it = sb_msg_records(d->from, SB_SECTION_ANSWER);
    sb_record record;
    bool last = at + 1 == chain->count;
    bool next_has_records = at + 2 < chain->count || chain->positive;

    d->fold_target = !last && next_has_records ? &chain->links[at + 1].name : NULL;
    for (int i = 0; sb_msg_next(&it, &record); i++)
        if (link_keeps(d, chain, at, i, &record))
            draft_copy(d, SB_SECTION_ANSWER, &record);
    if (!last && link->cname_at < 0) { /* a DNAME came without the CNAME it implies */
        const sb_name *target = &chain->links[at + 1].name;
        uint32_t ttl_s = link->dname_ttl_s < SB_TTL_SANE_S ? link->dname_ttl_s : SB_TTL_SANE_S;
        sb_builder_record(&d->out, SB_SECTION_ANSWER, &link->name, SB_TYPE_CNAME,
                          d->question->class, ttl_s, (sb_span){target->wire, target->size});
    }
}

static bool link_keeps(const draft *d, const sb_chain *chain, unsigned at, int index,
                       const sb_record *record)
{
    const sb_chain_link *link = &chain->links[at];
    bool answers = chain->positive && at + 1 == chain->count;
    bool alias = !answers && at + 1 < chain->count;
    uint16_t covered = sb_chain_covered(d->from, record);
    uint16_t asked = d->question->type;

    if (record->class != d->question->class)
        return false;
    if (alias && (index == link->cname_at || index == link->dname_at))
        return true;
    if (answers && sb_chain_type_answers(record->type, asked))
        return sb_name_equal(&record->owner, &link->name);
    if (covered == 0 || !d->question->dnssec_ok)
        return false;
    if (alias && covered == SB_TYPE_DNAME && link->dname_at >= 0)
        return sb_name_equal(&record->owner, &link->dname);
    return ((alias && covered == SB_TYPE_CNAME && link->cname_at >= 0) ||
            (answers && covered == asked)) &&
           sb_name_equal(&record->owner, &link->name);
}

/* ret_ttl_s: the lesser of its TTL and MINIMUM (RFC 2308 §5). */
static bool find_soa(const draft *d, const sb_name *name, sb_record *ret_soa, uint32_t *ret_ttl_s)
{
    sb_msg_iter it = sb_msg_records(d->from, SB_SECTION_AUTHORITY);
    uint8_t rdata[COMPRESSIBLE_MAX];
    sb_record record;

    while (sb_msg_next(&it, &record)) {
        sb_writer w = sb_writer_of(rdata, sizeof rdata);
        uint32_t minimum_s;

        if (record.type != SB_TYPE_SOA || record.class != d->question->class ||
            !sb_name_below(name, &record.owner) ||
            !sb_rdata_expand(d->from->bytes, record.rdata_at, record.rdata_size, record.type, &w))
            continue;
        minimum_s = sb_load_u32(&rdata[w.size - 4]);
        if (minimum_s >> 31)
            minimum_s = 0;
        *ret_ttl_s = record.ttl_s < minimum_s ? record.ttl_s : minimum_s;
        *ret_soa = record;
        return true;
    }
    return false;
}

/* NSEC, NSEC3 and their signatures inside the zone; of a negative the SOA's signatures too. */
static void copy_proof(draft *d, const sb_name *zone, bool negative)
{
    sb_msg_iter it = sb_msg_records(d->from, SB_SECTION_AUTHORITY);
    sb_record record;

    while (sb_msg_next(&it, &record)) {
        uint16_t covered = sb_chain_covered(d->from, &record);
        uint16_t about = covered ? covered : record.type;

        if (record.class != d->question->class || !sb_name_below(&record.owner, zone))
            continue;
        if (about == SB_TYPE_NSEC || about == SB_TYPE_NSEC3 || (negative && covered == SB_TYPE_SOA))
            draft_copy(d, SB_SECTION_AUTHORITY, &record);
    }
}

static void copy_section(draft *d, const sb_msg *from, int section, uint32_t age_s)
{
    sb_msg_iter it = sb_msg_records(from, section);
    sb_record record;

    d->from = from;
    while (sb_msg_next(&it, &record))
        draft_copy_as(d, section, &record, less(record.ttl_s, age_s));
}

static uint32_t less(uint32_t ttl_s, uint32_t age_s)
{
    return ttl_s > age_s ? ttl_s - age_s : 0;
}

/* The beginning of an answer of our own. */
static sb_status make(const sb_question *question, sb_kind kind, uint32_t ttl_s, sb_source source,
                      draft **ret_draft, sb_answer *ret_like)
{
    draft *d = draft_new(question);

    if (!d)
        return SB_NOMEM;
    *ret_like = (sb_answer){.kind = (uint8_t)kind,
                            .source = (uint8_t)source,
                            .ttl_s = ttl_s < SB_TTL_MAX_S ? ttl_s : SB_TTL_MAX_S,
                            .rcode = kind == SB_KIND_NXDOMAIN  ? SB_RCODE_NXDOMAIN
                                     : kind == SB_KIND_FAILURE ? SB_RCODE_SERVFAIL
                                                               : SB_RCODE_NOERROR,
                            .ede = SB_EDE_NONE};
    if (kind == SB_KIND_NXDOMAIN || kind == SB_KIND_NODATA)
        ret_like->flags = SB_ANSWER_NO_SOA;
    *ret_draft = d;
    return SB_OK;
}

static sb_answer *answer_alloc(sb_span body, size_t ttl_count, const sb_answer *like)
{
    size_t ttls_size = ttl_count * sizeof(uint16_t);
    sb_answer *answer = sb_alloc(sizeof *answer + ttls_size + SB_MSG_HEADER + body.size);
    sb_writer w;

    if (!answer)
        return NULL;
    memcpy(answer, like, sizeof *answer);
    atomic_init(&answer->refs, 1);
    answer->ttl_count = (uint16_t)ttl_count;
    answer->ttl_at = (const uint16_t *)(answer + 1);
    w = sb_writer_of((uint8_t *)(answer + 1) + ttls_size, SB_MSG_HEADER + body.size);
    sb_write_u16(&w, 0);
    sb_write_u16(&w, SB_FLAG_QR);
    sb_write_u16(&w, 1);
    sb_write_u16(&w, like->ancount);
    sb_write_u16(&w, like->nscount);
    sb_write_u16(&w, 0);
    answer->body = w.data + w.size;
    answer->body_size = (uint32_t)body.size;
    sb_write_bytes(&w, body.data, body.size);
    return answer;
}

static sb_status answer_message(const sb_answer *answer, sb_msg *ret_msg)
{
    return sb_msg_parse(answer->body - SB_MSG_HEADER, SB_MSG_HEADER + answer->body_size, ret_msg);
}

/* Everything a reader of the answer relies on. */
static bool parts_check(const sb_answer *answer, const sb_msg *msg)
{
    bool alias_end = (answer->flags & SB_ANSWER_CHAIN_OPEN) != 0;
    sb_record record;
    sb_chain chain;
    size_t n = 0;

    for (size_t i = 0; i < msg->question.name.size; i++)
        if (answer->body[i] != sb_ascii_lower(answer->body[i]))
            return false;
    for (int section = 0; section < 2; section++) {
        sb_msg_iter it = sb_msg_records(msg, section);
        while (sb_msg_next(&it, &record)) {
            size_t at = record.rdata_at - 6 - SB_MSG_HEADER;
            if (answer->ttl_at[n++] != at || sb_load_u32(&answer->body[at]) > SB_TTL_MAX_S ||
                !sb_rdata_expand(msg->bytes, record.rdata_at, record.rdata_size, record.type, NULL))
                return false;
        }
    }
    if (sb_chain_walk(msg, &msg->question, &chain) != SB_OK)
        return false;
    switch (answer->kind) {
    case SB_KIND_POSITIVE:
        return answer->rcode == SB_RCODE_NOERROR && chain.positive && !alias_end;
    case SB_KIND_NODATA:
        return answer->rcode == SB_RCODE_NOERROR && !chain.positive &&
               (!alias_end || chain.count > 1);
    case SB_KIND_NXDOMAIN:
        return answer->rcode == SB_RCODE_NXDOMAIN && !chain.positive && !alias_end;
    case SB_KIND_FAILURE:
        return answer->rcode != SB_RCODE_NOERROR && answer->rcode != SB_RCODE_NXDOMAIN &&
               answer->rcode <= 0xfff && n == 0 && !alias_end;
    default:
        return false;
    }
}
