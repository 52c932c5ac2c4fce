/* Answers: from any message to its own question, and from parts as a damaged cache file holds them.
 */
#include "dns/answer.h"
#include "dns/reply.h"
#include "dns/rdata.h"
#include "fuzz_check.h"

static bool count(void *context, const sb_record *record, sb_span rdata)
{
    sb_text text = {0};

    (void)sb_rdata_text(record->type, rdata, &text);
    sb_text_fini(&text);
    CHECK(record->ttl_s <= SB_TTL_MAX_S);
    ++*(unsigned *)context;
    return true;
}

static sb_answer_parts parts_of(const sb_answer *a)
{
    return (sb_answer_parts){a->body,   a->body_size, a->ttl_at, a->ttl_count, a->rcode,
                             a->ancount, a->nscount,  a->flags,  a->ttl_s,     a->kind};
}

static void use(const sb_answer *a)
{
    static uint8_t bytes[SB_MSG_MAX];
    sb_addr addresses[4];
    sb_query_info query = {.has_question = true, .has_edns = true, .udp_size = 1232};
    sb_reply_body body = {.body = a->body,
                          .body_size = a->body_size,
                          .ttl_at = a->ttl_at,
                          .ttl_count = a->ttl_count,
                          .ancount = a->ancount,
                          .nscount = a->nscount,
                          .rcode = a->rcode,
                          .ttl_cap_s = UINT32_MAX,
                          .ttl_fixed_s = 30,
                          .ede = SB_EDE_STALE};
    unsigned records = 0;
    sb_name target;
    sb_msg msg;
    size_t size;

    CHECK(sb_answer_each(a, 0, count, &records) && sb_answer_each(a, 1, count, &records));
    CHECK(records == a->ttl_count && a->ttl_count == a->ancount + a->nscount);
    CHECK(a->ttl_s <= SB_TTL_MAX_S);
    (void)sb_answer_addresses(a, addresses, 4);
    sb_answer_target(a, &target);
    CHECK(target.size > 0);
    sb_answer_question(a, &query.question);
    size = sb_reply_encode(&query, &body, SB_TRANSPORT_UDP, bytes, sizeof bytes);
    CHECK(size > 0 && size <= 1232 && sb_msg_parse(bytes, size, &msg) == SB_OK);
    CHECK(msg.flags & SB_FLAG_TC || msg.counts[1] == a->ancount);
    size = sb_reply_encode(&query, &body, SB_TRANSPORT_STREAM, bytes, sizeof bytes);
    CHECK(size > 0 && sb_msg_parse(bytes, size, &msg) == SB_OK);
}

static void from_message(const uint8_t *data, size_t size, bool dnssec_ok)
{
    sb_answer *answer, *again;
    sb_answer_parts parts;
    sb_msg msg;

    if (sb_msg_parse(data, size, &msg) != SB_OK || !msg.has_question)
        return;
    msg.question.dnssec_ok = dnssec_ok;
    if (sb_answer_from_msg(&msg.question, &msg, &answer) != SB_OK)
        return;
    use(answer);
    /* What we make we also take back: the cache file would hold exactly this. */
    parts = parts_of(answer);
    CHECK(sb_answer_from_parts(&parts, &again) == SB_OK);
    CHECK(again->type == answer->type && again->flags == answer->flags);
    CHECK(memcmp(again->body, answer->body, answer->body_size) == 0);
    sb_answer_unref(again);
    sb_answer_unref(answer);
}

static void from_parts(const uint8_t *data, size_t size)
{
    sb_reader r = sb_reader_of(data, size);
    uint16_t offsets[16];
    sb_answer_parts parts = {.ttl_at = offsets};
    sb_answer *answer;
    sb_span body;

    parts.kind = sb_read_u8(&r);
    parts.rcode = sb_read_u8(&r);
    parts.flags = sb_read_u8(&r);
    parts.ancount = sb_read_u8(&r);
    parts.nscount = sb_read_u8(&r);
    parts.ttl_s = sb_read_u32(&r);
    parts.ttl_count = sb_read_u8(&r) & 15;
    for (size_t i = 0; i < parts.ttl_count; i++)
        offsets[i] = sb_read_u16(&r);
    body = sb_read_span(&r, sb_reader_left(&r));
    if (r.failed)
        return;
    parts.body = body.data;
    parts.body_size = body.size;
    if (sb_answer_from_parts(&parts, &answer) != SB_OK)
        return;
    use(answer);
    sb_answer_unref(answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] & 1)
        from_parts(data + 1, size - 1);
    else
        from_message(data + 1, size - 1, data[0] & 2);
    return 0;
}
