/* Messages: what parses and what must not, EDNS, walking, and the compressing builder. */
#include "dns_make.h"

/* header words and a body given as text; size counts the body's bytes */
static size_t message(uint8_t *bytes, uint16_t flags, const uint16_t counts[4], const char *body,
                      size_t size)
{
    sb_writer w = sb_writer_of(bytes, 1024);
    sb_write_u16(&w, 0xabcd);
    sb_write_u16(&w, flags);
    for (unsigned i = 0; i < 4; i++)
        sb_write_u16(&w, counts[i]);
    sb_write_bytes(&w, body, size);
    return w.size;
}

#define QUESTION "\1a\2bc\0\0\1\0\1" /* 10 bytes */
#define OPT "\0\0\51\4\xd0\0\0\x80\0\0"

static void what_parses(void **state)
{
    (void)state;
    static const struct {
        uint16_t counts[4];
        const char *body;
        size_t size;
        bool good;
    } table[] = {
        {{0, 0, 0, 0}, "", 0, true},
        {{1, 0, 0, 0}, QUESTION, 10, true},
        {{1, 0, 0, 0}, QUESTION "x", 11, false},              /* a byte too many */
        {{1, 0, 0, 0}, QUESTION, 9, false},
        {{2, 0, 0, 0}, QUESTION QUESTION, 20, false},         /* two questions */
        {{0, 0, 0, 0}, QUESTION, 10, false},
        {{1, 0, 0, 0}, "\xc0\x00\0\1\0\1", 6, false},         /* a pointer into the header */
        {{1, 0, 0, 0}, "\xc0\x0c\0\1\0\1", 6, false},         /* to itself */
        {{1, 1, 0, 0}, QUESTION "\xc0\x0c\0\1\0\1\0\0\0\5\0\4\1\2\3\4", 26, true},
        {{1, 1, 0, 0}, QUESTION "\xc0\x0c\0\1\0\1\0\0\0\5\0\5\1\2\3\4", 26, false},
        {{1, 1, 0, 0}, QUESTION "\xc0\x0c\0\1\0\1\0\0\0\5\0\3\1\2\3\4", 26, false},
        {{1, 1, 0, 0}, QUESTION "\xc0\x16\0\1\0\1\0\0\0\5\0\0", 22, false}, /* owner to itself */
        {{1, 2, 0, 0}, QUESTION "\xc0\x0c\0\1\0\1\0\0\0\5\0\4\1\2\3\4", 26, false},
        {{1, 0, 0, 1}, QUESTION OPT "\0", 21, true},
        {{1, 0, 0, 1}, QUESTION OPT "\4\0\12\0\0", 25, true}, /* one empty option */
        {{1, 0, 0, 1}, QUESTION OPT "\3\0\12\0", 24, false},  /* options not whole */
        {{1, 0, 0, 1}, QUESTION OPT "\5\0\12\0\2\1", 26, false},
        {{1, 0, 0, 2}, QUESTION OPT "\0" OPT "\0", 32, false},  /* two OPT */
        {{1, 1, 0, 0}, QUESTION OPT "\0", 21, false},           /* OPT as an answer */
        {{1, 0, 1, 0}, QUESTION OPT "\0", 21, false},
        {{1, 0, 0, 1}, QUESTION "\1x" OPT "\0", 23, false},     /* OPT not at the root */
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        uint8_t bytes[1024];
        sb_msg msg;
        size_t size = message(bytes, 0x8180, table[i].counts, table[i].body, table[i].size);
        sb_status status = sb_msg_parse(bytes, size, &msg);
        if ((status == SB_OK) != table[i].good)
            fail_msg("row %zu: %s", i, sb_status_text(status));
        assert_int_equal(msg.id, 0xabcd);
        assert_int_equal(msg.flags, 0x8180);
        if (status != SB_OK)
            assert_false(msg.has_question || msg.edns.present || msg.bytes.data);
    }
    sb_msg msg;
    assert_int_equal(sb_msg_parse("\1\2\3\4\0\0\0\0\0\0\0", 11, &msg), SB_MALFORMED);
    assert_int_equal(msg.id, 0);
    assert_int_equal(sb_msg_parse(NULL, 0, &msg), SB_MALFORMED);
}

static void edns_fields(void **state)
{
    (void)state;
    static const uint16_t counts[4] = {1, 0, 0, 1};
    static const char body[] = QUESTION "\0\0\51\4\xd0\1\0\x80\0\0\x18"
                               "\0\12\0\10cookie12" "\0\17\0\2\0\26" "\0\17\0\2\0\3";
    uint8_t bytes[1024];
    sb_span value;
    sb_msg msg;
    size_t size = message(bytes, SB_FLAG_QR | SB_FLAG_CD | 7, counts, body, sizeof body - 1);
    assert_int_equal(sb_msg_parse(bytes, size, &msg), SB_OK);
    assert_true(msg.edns.present);
    assert_int_equal(msg.rcode, 16 + 7);
    assert_int_equal(msg.edns.udp_size, 1232);
    assert_int_equal(msg.edns.version, 0);
    assert_true(msg.question.dnssec_ok);
    assert_true(msg.question.checking_disabled);
    assert_int_equal(sb_edns_ede(&msg.edns), 22);
    assert_string_equal(sb_ede_text(22), "No Reachable Authority");
    assert_true(sb_edns_option(&msg.edns, SB_OPT_COOKIE, &value));
    assert_int_equal(value.size, 8);
    assert_memory_equal(value.data, "cookie12", 8);
    assert_false(sb_edns_option(&msg.edns, SB_OPT_PADDING, &value));
    sb_edns none = {0};
    assert_int_equal(sb_edns_ede(&none), SB_EDE_NONE);
    assert_string_equal(sb_ede_text(SB_EDE_NONE), "");
    assert_string_equal(sb_ede_text(29), "Synthesized");
    assert_string_equal(sb_ede_text(3), "Stale Answer");
    assert_string_equal(sb_ede_text(9999), "");
}

static void walking(void **state)
{
    (void)state;
    static maker m;
    char text[SB_NAME_TEXT_MAX];
    sb_record record;
    begin(&m, SB_FLAG_RA, "www.Example.org", SB_TYPE_A);
    add_addr(&m, ANSWER, "www.example.org", 60, "192.0.2.1");
    add_addr(&m, ANSWER, "www.example.org", 0x80000001, "192.0.2.2"); /* top bit: 0 */
    add_addr(&m, ANSWER, "www.example.org", 0x7fffffff, "192.0.2.3");
    add_name(&m, AUTHORITY, "example.org", SB_TYPE_NS, 9, "ns.example.org");
    add_addr(&m, EXTRA, "ns.example.org", 9, "2001:db8::1");
    const sb_msg *msg = end(&m);
    assert_int_equal(msg->counts[1], 3);
    assert_string_equal(sb_name_text(&msg->question.name, text), "www.Example.org");
    sb_msg_iter it = sb_msg_records(msg, ANSWER);
    static const uint32_t ttls[] = {60, 0, 0x7fffffff};
    for (unsigned i = 0; i < 3; i++) {
        assert_true(sb_msg_next(&it, &record));
        assert_int_equal(record.ttl_s, ttls[i]);
        assert_int_equal(record.rdata_size, 4);
        assert_int_equal(msg->bytes.data[record.rdata_at + 3], i + 1);
        assert_int_equal(msg->bytes.data[record.rdata_at - 12], 0xc0); /* owner is a pointer */
        assert_int_equal(msg->bytes.data[record.rdata_at - 11], 0x0c);
    }
    assert_false(sb_msg_next(&it, &record));
    it = sb_msg_records(msg, AUTHORITY);
    assert_true(sb_msg_next(&it, &record));
    assert_int_equal(record.type, SB_TYPE_NS);
    assert_int_equal(record.rdata_size, 5); /* \2ns and a pointer */
    assert_false(sb_msg_next(&it, &record));
    it = sb_msg_records(msg, EXTRA);
    assert_true(sb_msg_next(&it, &record));
    assert_string_equal(sb_name_text(&record.owner, text), "ns.Example.org");
    assert_int_equal(record.class, SB_CLASS_IN);
    assert_false(sb_msg_next(&it, &record));
}

static void compression(void **state)
{
    (void)state;
    static maker m;
    begin(&m, 0, "a.example", SB_TYPE_ANY);
    add_soa(&m, "example", 10, 20);              /* both names share the zone */
    add_raw(&m, AUTHORITY, "example", SB_TYPE_SRV, 5, "\0\1\0\2\0\3\1a\7example", 17);
    add_raw(&m, AUTHORITY, "example", SB_TYPE_MX, 5, "\0\1\1a\7EXAMPLE", 13);
    add_raw(&m, AUTHORITY, "example", SB_TYPE_MX, 5, "\0", 1); /* malformed: as it is */
    add_raw(&m, AUTHORITY, ".", SB_TYPE_NS, 5, "\0", 1);
    const sb_msg *msg = end(&m);
    sb_msg_iter it = sb_msg_records(msg, AUTHORITY);
    sb_record r;
    assert_true(sb_msg_next(&it, &r));
    assert_int_equal(r.rdata_size,
                     4 + 2 + 12 + 2 + 20); /* \3ns1 ptr, \13host.master ptr, numbers */
    assert_true(sb_msg_next(&it, &r));
    assert_int_equal(r.rdata_size, 17); /* SRV: never compressed */
    assert_true(sb_msg_next(&it, &r));
    assert_int_equal(r.rdata_size, 4); /* MX: whatever the case */
    assert_true(sb_msg_next(&it, &r));
    assert_int_equal(r.rdata_size, 1);
    assert_true(sb_msg_next(&it, &r));
    assert_int_equal(r.owner.size, 1);
    assert_int_equal(r.rdata_size, 1);
}

/* No pointer beyond 16,383, however large the message; names stay right. */
static void far_names(void **state)
{
    (void)state;
    static maker m;
    static uint8_t filler[16000];
    char text[SB_NAME_TEXT_MAX];
    sb_record r;
    begin(&m, 0, "q.example", SB_TYPE_TXT);
    add_raw(&m, ANSWER, "q.example", 65280, 1, filler, sizeof filler);
    for (unsigned i = 0; i < 200; i++) { /* more names than slots, across the border */
        snprintf(text, sizeof text, "n%u.far.example", i / 2);
        add_raw(&m, ANSWER, text, 65280, 1, filler, 10);
    }
    const sb_msg *msg = end(&m);
    sb_msg_iter it = sb_msg_records(msg, ANSWER);
    assert_true(sb_msg_next(&it, &r));
    for (unsigned i = 0; i < 200; i++) {
        char want[64];
        assert_true(sb_msg_next(&it, &r));
        snprintf(want, sizeof want, "n%u.far.example", i / 2);
        assert_string_equal(sb_name_text(&r.owner, text), want);
    }
}

static void overruns(void **state)
{
    (void)state;
    sb_question question = question_of("www.example.org", SB_TYPE_A);
    sb_addr addr = addr_of("192.0.2.1");
    uint8_t bytes[128];
    size_t whole = 12 + 17 + 4 + 16 + 11;
    for (size_t capacity = 0; capacity <= whole + 1; capacity++) {
        sb_builder b;
        sb_builder_init(&b, bytes, capacity, 1, SB_FLAG_RD);
        sb_builder_question(&b, &question);
        sb_builder_address(&b, &question.name, &addr, 60);
        sb_builder_edns(&b, 1232, 0, true, (sb_span){0});
        assert_int_equal(sb_builder_finish(&b), capacity >= whole ? whole : 0);
    }
    static uint8_t big[70000];
    static maker m;
    begin(&m, 0, "q.example", SB_TYPE_TXT);
    add_raw(&m, ANSWER, "q.example", 65280, 1, big, 65536);
    assert_int_equal(sb_builder_finish(&m.b), 0);
    begin(&m, 0, "q.example", SB_TYPE_TXT);
    sb_builder_edns(&m.b, 1232, 0, false, (sb_span){big, 65536});
    assert_int_equal(sb_builder_finish(&m.b), 0);
}

static void builder_edns(void **state)
{
    (void)state;
    static maker m;
    begin(&m, 1, "q.example", SB_TYPE_TXT);
    sb_builder_edns(&m.b, 1400, 1, true, (sb_span){(const uint8_t *)"\0\17\0\2\0\3", 6});
    const sb_msg *msg = end(&m);
    assert_int_equal(msg->rcode, 17);
    assert_int_equal(msg->edns.udp_size, 1400);
    assert_true(msg->edns.dnssec_ok);
    assert_int_equal(sb_edns_ede(&msg->edns), SB_EDE_STALE);
    sb_builder b;
    sb_builder_init(&b, m.bytes, sizeof m.bytes, 7, 0x0100);
    assert_int_equal(sb_builder_finish(&b), 12);
    assert_memory_equal(m.bytes, "\0\7\1\0\0\0\0\0\0\0\0", 12);
}

static void questions(void **state)
{
    (void)state;
    static maker m;
    sb_question a = question_of("WWW.example", SB_TYPE_A),
                b = question_of("www.EXAMPLE", SB_TYPE_A);
    assert_true(sb_question_equal(&a, &b));
    begin(&m, 0, "www.example", SB_TYPE_A);
    const sb_msg *msg = end(&m);
    assert_true(sb_msg_answers(msg, &a));
    b.dnssec_ok = true;
    assert_false(sb_question_equal(&a, &b));
    assert_true(sb_msg_answers(msg, &b)); /* a response without OPT answers a question with DO */
    b = a;
    b.checking_disabled = true;
    assert_false(sb_question_equal(&a, &b));
    b = a;
    b.class = SB_CLASS_CH;
    assert_false(sb_question_equal(&a, &b) || sb_msg_answers(msg, &b));
    b = question_of("ww.example", SB_TYPE_A);
    assert_false(sb_question_equal(&a, &b) || sb_msg_answers(msg, &b));
    b = question_of("www.example", SB_TYPE_AAAA);
    assert_false(sb_question_equal(&a, &b) || sb_msg_answers(msg, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_parses), cmocka_unit_test(edns_fields),  cmocka_unit_test(walking),
        cmocka_unit_test(compression), cmocka_unit_test(far_names),    cmocka_unit_test(overruns),
        cmocka_unit_test(builder_edns), cmocka_unit_test(questions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
