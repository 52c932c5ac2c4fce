/* Messages: a checked view walks to its end, and its records written anew parse to the same. */
#include "dns/msg.h"
#include "dns/rdata.h"
#include "fuzz_check.h"

static uint8_t copy[SB_MSG_MAX], scratch[SB_MSG_MAX + 1024];

/* Names that are not RFC 1035's lose their compression: the copy may outgrow a message. */
static size_t rebuild(const sb_msg *msg)
{
    sb_builder b;

    sb_builder_init(&b, copy, sizeof copy, msg->id, msg->flags);
    if (msg->has_question)
        sb_builder_question(&b, &msg->question);
    for (int section = 0; section < 3; section++) {
        sb_msg_iter it = sb_msg_records(msg, section);
        sb_record record;
        unsigned n = 0;
        while (sb_msg_next(&it, &record)) {
            sb_writer w = sb_writer_of(scratch, sizeof scratch);
            n++;
            CHECK(record.rdata_at + record.rdata_size <= msg->bytes.size);
            CHECK(record.ttl_s <= 0x7fffffff);
            if (record.type == SB_TYPE_OPT) /* its class and TTL are no such things */
                sb_builder_edns(&b, msg->edns.udp_size, msg->edns.extended_rcode,
                                msg->edns.dnssec_ok, msg->edns.options);
            else if (sb_rdata_expand(msg->bytes, record.rdata_at, record.rdata_size, record.type,
                                     &w))
                sb_builder_record(&b, section, &record.owner, record.type, record.class,
                                  record.ttl_s, (sb_span){scratch, w.size});
            else
                return 0;
        }
        CHECK(n == msg->counts[section + 1]);
    }
    return sb_builder_finish(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sb_msg msg, again;
    sb_msg_iter it, it_again;
    sb_record record, other;
    sb_span value;
    size_t copied;

    if (sb_msg_parse(data, size, &msg) != SB_OK)
        return 0;
    if (sb_edns_option(&msg.edns, SB_OPT_EDE, &value))
        CHECK(value.data >= data && value.data + value.size <= data + size);
    (void)sb_edns_ede(&msg.edns);
    copied = rebuild(&msg);
    if (copied == 0)
        return 0;
    CHECK(sb_msg_parse(copy, copied, &again) == SB_OK);
    CHECK(msg.id == again.id && msg.flags == again.flags && msg.rcode == again.rcode);
    CHECK(memcmp(msg.counts, again.counts, sizeof msg.counts) == 0);
    CHECK(!msg.has_question || sb_question_equal(&msg.question, &again.question));
    for (int section = 0; section < 3; section++) {
        it = sb_msg_records(&msg, section);
        it_again = sb_msg_records(&again, section);
        while (sb_msg_next(&it, &record)) {
            CHECK(sb_msg_next(&it_again, &other));
            CHECK(sb_name_equal(&record.owner, &other.owner) && record.type == other.type);
            if (record.type == SB_TYPE_OPT)
                continue;
            CHECK(record.class == other.class && record.ttl_s == other.ttl_s);
            CHECK(sb_rdata_expand(again.bytes, other.rdata_at, other.rdata_size, other.type, NULL));
        }
        CHECK(!sb_msg_next(&it_again, &other));
    }
    return 0;
}
