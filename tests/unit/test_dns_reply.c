/* Queries and replies: what clients may ask, what they get back byte for byte, truncation, EDNS,
 * and the provenance codec. */
#include "base/rand.h"
#include "dns/reply.h"
#include "dns_make.h"

#define QUESTION "\3wWw\7ExAmPlE\0\0\1\0\1" /* 17 bytes */
#define OPT "\0\0\51\4\xd0\0\0\0\0"         /* up to the RDATA's size: 9 bytes */

static size_t query(uint8_t *bytes, uint16_t flags, const uint16_t counts[4], const char *body,
                    size_t size)
{
    sb_writer w = sb_writer_of(bytes, 1024);
    sb_write_u16(&w, 0xbeef);
    sb_write_u16(&w, flags);
    for (unsigned i = 0; i < 4; i++)
        sb_write_u16(&w, counts[i]);
    sb_write_bytes(&w, body, size);
    return w.size;
}

#define B(text) text, sizeof text - 1

static const struct {
    uint16_t flags;
    uint16_t counts[4];
    const char *body;
    size_t size;
    int rcode; /* -1: silence */
    bool question, edns;
} asked[] = {
    {0x0100, {1, 0, 0, 0}, B(QUESTION), 0, true, false},
    {0x0000, {1, 0, 0, 0}, B(QUESTION), 0, true, false},
    {0x0130, {1, 0, 0, 0}, B(QUESTION), 0, true, false},
    {0x8100, {1, 0, 0, 0}, B(QUESTION), -1, false, false},         /* a response */
    {0x0100, {0, 0, 0, 0}, B(""), 1, false, false},
    {0x0100, {2, 0, 0, 0}, B(QUESTION QUESTION), 1, false, false},
    {0x0100, {1, 0, 0, 0}, B("\3www"), 1, false, false},
    {0x0100, {1, 0, 0, 0}, B("\xc0\x0c\0\1\0\1"), 1, false, false}, /* a pointer to itself */
    {0x0100, {1, 0, 0, 0}, B(QUESTION "x"), 1, true, false},       /* trailing byte */
    {0x0100, {1, 0, 0, 1}, B(QUESTION), 1, true, false},           /* a record is missing */
    {0x0100, {1, 1, 0, 0}, B(QUESTION "\xc0\x0c\0\1\0\1\0\0\0\0\0\0"), 1, true, false},
    {0x0100, {1, 0, 1, 0}, B(QUESTION "\xc0\x0c\0\1\0\1\0\0\0\0\0\0"), 1, true, false},
    {0x0100, {1, 0, 0, 1}, B(QUESTION OPT "\0\0"), 0, true, true},
    {0x0100, {1, 0, 0, 2}, B(QUESTION OPT "\0\0" OPT "\0\0"), 1, true, true},
    {0x0100, {1, 0, 0, 1}, B(QUESTION OPT "\0\3\0\1\0"), 1, true, true},
    {0x0100, {1, 0, 0, 1}, B(QUESTION OPT "\0\4\0\10\0\0"), 0, true, true},
    {0x0100, {1, 0, 0, 1}, B(QUESTION "\1x" OPT "\0\0"), 1, true, false},
    {0x0100, {1, 0, 0, 1}, B(QUESTION "\0\0\51\4\xd0\0\1\0\0\0\0"), 16, true, true}, /* BADVERS */
    {0x0100, {1, 0, 0, 1}, B(QUESTION "\0\0\51\4\xd0\0\1\0\0\0\3abc"), 16, true, true},
    {0x0100, {1, 0, 0, 2}, B(QUESTION OPT "\0\0" "\1k\0\0\xfa\0\xff\0\0\0\0\0\1x"), 0, true, true},
    /* opcodes: IQUERY, STATUS, NOTIFY, UPDATE, DSO */
    {0x0900, {1, 0, 0, 0}, B(QUESTION), 4, true, false},
    {0x1100, {1, 0, 0, 0}, B(QUESTION), 4, true, false},
    {0x2000, {1, 1, 0, 0}, B(QUESTION "\xc0\x0c\0\1\0\1\0\0\0\0\0\0"), 4, true, false},
    {0x2800, {1, 0, 1, 0}, B(QUESTION "\xc0\x0c\0\1\0\xff\0\0\0\0\0\0"), 4, true, false},
    {0x3000, {0, 0, 0, 0}, B(""), 4, false, false},
    {0x2000, {1, 0, 0, 1}, B(QUESTION OPT "\0\0"), 4, true, true},
    /* types: AXFR, IXFR, MAILA, OPT, TKEY, 0, ANY, a private one */
    {0x0100, {1, 0, 0, 0}, B("\1a\0\0\xfc\0\1"), 4, true, false},
    {0x0100, {1, 0, 0, 0}, B("\1a\0\0\xfb\0\1"), 4, true, false},
    {0x0100, {1, 0, 0, 0}, B("\1a\0\0\xfe\0\1"), 4, true, false},
    {0x0100, {1, 0, 0, 0}, B("\1a\0\0\x29\0\1"), 4, true, false},
    {0x0100, {1, 0, 0, 0}, B("\1a\0\0\xf9\0\1"), 4, true, false},
    {0x0100, {1, 0, 0, 0}, B("\1a\0\0\0\0\1"), 1, true, false},
    {0x0100, {1, 0, 0, 0}, B("\1a\0\0\xff\0\1"), 0, true, false},
    {0x0100, {1, 0, 0, 0}, B("\1a\0\xff\0\0\1"), 0, true, false},
    /* classes: CH, HS, NONE, ANY, 0 */
    {0x0100, {1, 0, 0, 0}, B("\1a\0\0\1\0\3"), 0, true, false},
    {0x0100, {1, 0, 0, 0}, B("\1a\0\0\1\0\4"), 5, true, false},
    {0x0100, {1, 0, 0, 0}, B("\1a\0\0\1\0\xfe"), 5, true, false},
    {0x0100, {1, 0, 0, 0}, B("\1a\0\0\1\0\xff"), 5, true, false},
    {0x0100, {1, 0, 0, 0}, B("\1a\0\0\1\0\0"), 5, true, false},
    {0x0100, {1, 0, 0, 0}, B("\0\0\2\0\1"), 0, true, false}, /* the root */
};

static void what_may_be_asked(void **state)
{
    (void)state;
    for (size_t i = 0; i < SB_ARRAY_SIZE(asked); i++) {
        uint8_t bytes[1024], reply[512];
        sb_query_info info = {.id = 42};
        sb_rcode rcode = 99;
        sb_msg msg;
        size_t size = query(bytes, asked[i].flags, asked[i].counts, asked[i].body, asked[i].size);
        sb_status status = sb_query_read(bytes, size, &info, &rcode);
        if (asked[i].rcode < 0) {
            assert_int_equal(status, SB_MALFORMED);
            assert_int_equal(info.id, 42);
            continue;
        }
        if ((int)rcode != asked[i].rcode || status != (rcode == 0 ? SB_OK : SB_INVALID))
            fail_msg("row %zu: rcode %d", i, rcode);
        assert_int_equal(info.id, 0xbeef);
        assert_int_equal(info.has_question, asked[i].question);
        assert_int_equal(info.has_edns, asked[i].edns);
        /* and the reply to it is a message that says so */
        size =
            sb_reply_error(&info, (uint16_t)rcode, SB_EDE_NOT_SUPPORTED, "no", reply, sizeof reply);
        assert_int_equal(sb_msg_parse(reply, size, &msg), SB_OK);
        assert_int_equal(msg.rcode, rcode);
        assert_int_equal(msg.edns.present, asked[i].edns);
        assert_int_equal(sb_edns_ede(&msg.edns),
                         asked[i].edns ? SB_EDE_NOT_SUPPORTED : SB_EDE_NONE);
        assert_int_equal(msg.flags & 0xff00, SB_FLAG_QR | (asked[i].flags & 0x7900));
        assert_int_equal(msg.has_question, asked[i].question);
        if (msg.has_question)
            assert_memory_equal(reply + 12, bytes + 12, msg.question_size);
    }
    sb_query_info info;
    sb_rcode rcode;
    uint8_t bytes[12] = {0};
    for (size_t size = 0; size < 12; size++)
        assert_int_equal(sb_query_read(bytes, size, &info, &rcode), SB_MALFORMED);
}

static void edns_of_a_query(void **state)
{
    (void)state;
    static const uint16_t counts[4] = {1, 0, 0, 1};
    static const struct {
        const char *body;
        size_t size;
        uint16_t udp_size;
        bool dnssec_ok, provenance;
        uint8_t flags;
    } table[] = {
        {B(QUESTION "\0\0\51\0\0\0\0\0\0\0\0"), 512, false, false, 0},
        {B(QUESTION "\0\0\51\2\1\0\0\x80\0\0\0"), 513, true, false, 0},
        {B(QUESTION "\0\0\51\xff\xff\0\0\0\0\0\0"), 65535, false, false, 0},
        {B(QUESTION OPT "\0\6\xff\x96\0\2\1\5"), 1232, false, true, 5},
        {B(QUESTION OPT "\0\6\xff\x96\0\2\2\5"), 1232, false, false, 0}, /* another version */
        {B(QUESTION OPT "\0\5\xff\x96\0\1\1"), 1232, false, false, 0},
        {B(QUESTION OPT "\0\12\0\10\0\0\xff\x96\0\2\1\0"), 1232, false, true, 0},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        uint8_t bytes[1024];
        sb_query_info info;
        sb_rcode rcode;
        size_t size = query(bytes, 0x0110, counts, table[i].body, table[i].size);
        assert_int_equal(sb_query_read(bytes, size, &info, &rcode), SB_OK);
        assert_int_equal(info.udp_size, table[i].udp_size);
        assert_int_equal(info.question.dnssec_ok, table[i].dnssec_ok);
        assert_true(info.question.checking_disabled);
        assert_int_equal(info.provenance_asked, table[i].provenance);
        assert_int_equal(info.provenance_flags, table[i].flags);
    }
}

/* A client's query for wWw.ExAmPlE. */
static sb_query_info client(uint16_t type, bool edns, uint16_t udp_size)
{
    sb_query_info info = {.id = 0x1234,
                          .flags = SB_FLAG_RD,
                          .question = question_of("wWw.ExAmPlE", type),
                          .has_question = true,
                          .has_edns = edns,
                          .udp_size = udp_size};
    return info;
}

static sb_answer *addresses(unsigned n)
{
    static sb_addr many[SB_ANSWER_TTLS_MAX];
    sb_question question = question_of("www.example", SB_TYPE_A);
    sb_answer *answer = NULL;
    for (unsigned i = 0; i < n; i++)
        many[i] = sb_addr_4((const uint8_t[]){192, 0, (uint8_t)(i >> 8), (uint8_t)i}, 0);
    assert_int_equal(sb_answer_from_addresses(&question, many, n, 300, SB_SOURCE_DNS, &answer),
                     SB_OK);
    return answer;
}

static sb_reply_body body_of(const sb_answer *a)
{
    return (sb_reply_body){.body = a->body,
                           .body_size = a->body_size,
                           .ttl_at = a->ttl_at,
                           .ttl_count = a->ttl_count,
                           .ancount = a->ancount,
                           .nscount = a->nscount,
                           .rcode = a->rcode,
                           .ttl_cap_s = UINT32_MAX,
                           .ttl_fixed_s = UINT32_MAX,
                           .ede = SB_EDE_NONE};
}

static uint8_t reply[SB_MSG_MAX];

static sb_msg encode(const sb_query_info *info, const sb_reply_body *body, sb_transport transport)
{
    sb_msg msg;
    size_t size = sb_reply_encode(info, body, transport, reply, sizeof reply);
    assert_true(size > 0);
    assert_int_equal(sb_msg_parse(reply, size, &msg), SB_OK);
    return msg;
}

static void byte_for_byte(void **state)
{
    (void)state;
    static const char want[] = "\x12\x34\x81\x80\0\1\0\1\0\0\0\0" QUESTION
                               "\xc0\x0c\0\1\0\1\0\0\1\x2c\0\4\300\0\0\0";
    sb_answer *a = addresses(1);
    sb_reply_body body = body_of(a);
    sb_query_info info = client(SB_TYPE_A, false, 512);
    sb_msg msg = encode(&info, &body, SB_TRANSPORT_UDP);
    assert_int_equal(msg.bytes.size, sizeof want - 1);
    assert_memory_equal(reply, want, sizeof want - 1);
    info.has_edns = true;
    msg = encode(&info, &body, SB_TRANSPORT_UDP);
    assert_int_equal(msg.bytes.size, sizeof want - 1 + 11);
    assert_memory_equal(reply + sizeof want - 1, "\0\0\51\4\xd0\0\0\0\0\0\0", 11);
    sb_answer_unref(a);
}

static void flags_of_a_reply(void **state)
{
    (void)state;
    sb_answer *a = addresses(1);
    sb_reply_body body = body_of(a);
    sb_query_info info = client(SB_TYPE_A, true, 1232);
    static const struct {
        uint16_t asked;
        bool dnssec_ok, authenticated;
        uint16_t want;
    } table[] = {
        {0, false, false, 0x8080},
        {SB_FLAG_RD, false, true, 0x8180},
        {SB_FLAG_RD | SB_FLAG_AD, false, true, 0x81a0},
        {SB_FLAG_RD | SB_FLAG_AD, false, false, 0x8180},
        {SB_FLAG_RD, true, true, 0x81a0},
        {SB_FLAG_RD | SB_FLAG_CD, false, false, 0x8190},
        {SB_FLAG_AA | SB_FLAG_TC | SB_FLAG_RA | 0x4f, false, false, 0x8080}, /* not echoed */
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        info.flags = table[i].asked;
        info.question.dnssec_ok = table[i].dnssec_ok;
        body.authenticated = table[i].authenticated;
        sb_msg msg = encode(&info, &body, SB_TRANSPORT_UDP);
        assert_int_equal(msg.flags, table[i].want);
        assert_int_equal(msg.edns.dnssec_ok, table[i].dnssec_ok);
    }
    sb_answer_unref(a);
}

static void ttls(void **state)
{
    (void)state;
    static const struct {
        uint32_t stored, age, cap, fixed, want;
    } table[] = {
        {300, 0, UINT32_MAX, UINT32_MAX, 300},
        {300, 299, UINT32_MAX, UINT32_MAX, 1},
        {300, 300, UINT32_MAX, UINT32_MAX, 0},
        {300, UINT32_MAX, UINT32_MAX, UINT32_MAX, 0},
        {300, 10, 60, UINT32_MAX, 60},
        {300, 250, 60, UINT32_MAX, 50},
        {300, 0, 0, UINT32_MAX, 0},
        {300, 900, UINT32_MAX, 30, 30},
        {0, 0, 10, 30, 30},
        {0x7fffffff, 0, UINT32_MAX, UINT32_MAX, 0x7fffffff},
        {0x80000000, 0, UINT32_MAX, UINT32_MAX, 0}, /* only a damaged file has one */
    };
    sb_question question = question_of("www.example", SB_TYPE_A);
    sb_addr addr[2] = {addr_of("192.0.2.1"), addr_of("192.0.2.2")};
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        sb_answer *a;
        assert_int_equal(sb_answer_from_addresses(&question, addr, 2, 1, SB_SOURCE_DNS, &a), SB_OK);
        uint8_t bytes[256];
        memcpy(bytes, a->body, a->body_size);
        for (unsigned k = 0; k < 2; k++)
            sb_store_u32(&bytes[a->ttl_at[k]], table[i].stored);
        sb_reply_body body = body_of(a);
        body.body = bytes;
        body.age_s = table[i].age;
        body.ttl_cap_s = table[i].cap;
        body.ttl_fixed_s = table[i].fixed;
        sb_query_info info = client(SB_TYPE_A, false, 512);
        sb_msg msg = encode(&info, &body, SB_TRANSPORT_UDP);
        for (unsigned k = 0; k < 2; k++)
            assert_int_equal(sb_load_u32(&msg.bytes.data[12 + a->ttl_at[k]]), table[i].want);
        assert_int_equal(sb_load_u32(&bytes[a->ttl_at[0]]),
                         table[i].stored); /* the body is shared */
        sb_answer_unref(a);
    }
}

/* Exactly the client's size goes out whole; one byte more is empty with TC; streams take it all. */
static void truncation(void **state)
{
    (void)state;
    static const struct {
        bool edns;
        uint16_t udp_size, limit;
    } table[] = {
        {false, 512, 512}, {true, 512, 512},    {true, 700, 700},
        {true, 1232, 1232}, {true, 4096, 1232}, {true, 65535, 1232}, {false, 4096, 512},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        size_t fixed = 12 + 17 + (table[i].edns ? 11 : 0);
        unsigned fits = (unsigned)((table[i].limit - fixed) / 16);
        for (unsigned n = fits; n <= fits + 1; n++) {
            sb_answer *a = addresses(n);
            sb_reply_body body = body_of(a);
            sb_query_info info = client(SB_TYPE_A, table[i].edns, table[i].udp_size);
            sb_msg msg = encode(&info, &body, SB_TRANSPORT_UDP);
            assert_int_equal((msg.flags & SB_FLAG_TC) != 0, n > fits);
            assert_int_equal(msg.counts[1], n > fits ? 0 : n);
            assert_true(msg.bytes.size <= table[i].limit);
            assert_int_equal(msg.edns.present, table[i].edns);
            assert_memory_equal(reply + 12, QUESTION, 17);
            msg = encode(&info, &body, SB_TRANSPORT_STREAM);
            assert_false(msg.flags & SB_FLAG_TC);
            assert_int_equal(msg.counts[1], n);
            sb_answer_unref(a);
        }
    }
    /* to the byte: TXT of every size around the border */
    for (size_t text = 400; text < 500; text++) {
        static maker m;
        uint8_t rdata[512] = {255};
        sb_question question = question_of("www.example", SB_TYPE_TXT);
        sb_answer *a;
        rdata[256] = (uint8_t)(text - 257);
        begin(&m, 0, "www.example", SB_TYPE_TXT);
        add_raw(&m, ANSWER, "www.example", SB_TYPE_TXT, 1, rdata, text);
        assert_int_equal(sb_answer_from_msg(&question, end(&m), &a), SB_OK);
        sb_reply_body body = body_of(a);
        sb_query_info info = client(SB_TYPE_TXT, false, 512);
        sb_msg msg = encode(&info, &body, SB_TRANSPORT_UDP);
        assert_int_equal((msg.flags & SB_FLAG_TC) != 0, 12 + 17 + 12 + text > 512);
        sb_answer_unref(a);
    }
}

static void extended_errors(void **state)
{
    (void)state;
    char text[201];
    sb_span value;
    sb_answer *a = addresses(1);
    sb_reply_body body = body_of(a);
    sb_query_info info = client(SB_TYPE_A, false, 512);
    body.ede = SB_EDE_STALE;
    body.ede_text = "old";
    sb_msg msg = encode(&info, &body, SB_TRANSPORT_UDP);
    assert_false(msg.edns.present); /* only when asked with EDNS */
    info.has_edns = true;
    msg = encode(&info, &body, SB_TRANSPORT_UDP);
    assert_true(sb_edns_option(&msg.edns, SB_OPT_EDE, &value));
    assert_int_equal(value.size, 5);
    assert_memory_equal(value.data, "\0\3old", 5);
    memset(text, 'x', 200);
    text[200] = 0;
    body.ede_text = text;
    msg = encode(&info, &body, SB_TRANSPORT_UDP);
    assert_true(sb_edns_option(&msg.edns, SB_OPT_EDE, &value));
    assert_int_equal(value.size, 2 + 120);
    text[119] = '\xc3'; /* é across the cut: goes whole */
    text[120] = '\xa9';
    msg = encode(&info, &body, SB_TRANSPORT_UDP);
    assert_true(sb_edns_option(&msg.edns, SB_OPT_EDE, &value));
    assert_int_equal(value.size, 2 + 119);
    sb_answer_unref(a);
    /* the text gives way to the records, the code stays */
    a = addresses(28);
    body = body_of(a);
    body.ede = SB_EDE_STALE;
    body.ede_text = "some text that does not fit any more";
    msg = encode(&info, &body, SB_TRANSPORT_UDP);
    assert_int_equal(msg.counts[1], 28);
    assert_true(sb_edns_option(&msg.edns, SB_OPT_EDE, &value));
    assert_int_equal(value.size, 2);
    sb_answer_unref(a);
    /* an extended rcode needs the OPT */
    size_t size = sb_reply_error(&info, SB_RCODE_BADVERS, SB_EDE_NONE, NULL, reply, sizeof reply);
    assert_int_equal(sb_msg_parse(reply, size, &msg), SB_OK);
    assert_int_equal(msg.rcode, SB_RCODE_BADVERS);
    info.has_edns = false;
    size = sb_reply_error(&info, SB_RCODE_BADCOOKIE, SB_EDE_NONE, NULL, reply, sizeof reply);
    assert_int_equal(sb_msg_parse(reply, size, &msg), SB_OK);
    assert_int_equal(msg.rcode, SB_RCODE_SERVFAIL);
}

static void small_buffers(void **state)
{
    (void)state;
    sb_answer *a = addresses(3);
    sb_reply_body body = body_of(a);
    sb_query_info info = client(SB_TYPE_A, true, 1232);
    body.ede = SB_EDE_STALE;
    body.ede_text = "stale";
    size_t least = 12 + 17 + 11, whole = least + 3 * 16 + 4 + 2 + 5;
    for (size_t capacity = 0; capacity <= whole; capacity++) {
        sb_msg msg;
        uint8_t *exact = test_malloc(capacity + 1);
        size_t size = sb_reply_encode(&info, &body, SB_TRANSPORT_STREAM, exact, capacity);
        assert_int_equal(size == 0, capacity < least);
        assert_true(size <= capacity);
        if (size > 0) {
            assert_int_equal(sb_msg_parse(exact, size, &msg), SB_OK);
            assert_int_equal((msg.flags & SB_FLAG_TC) != 0, msg.counts[1] == 0);
            assert_int_equal(size == whole, capacity == whole);
        }
        test_free(exact);
    }
    sb_answer_unref(a);
}

/* What a damaged cache file could hold never reaches beyond its bytes. */
static void damaged_bodies(void **state)
{
    (void)state;
    sb_answer *a = addresses(2);
    sb_query_info info = client(SB_TYPE_A, true, 1232);
    uint16_t offsets[2] = {a->ttl_at[0], a->ttl_at[1]};
    sb_reply_body bodies[6];
    for (size_t i = 0; i < SB_ARRAY_SIZE(bodies); i++)
        bodies[i] = body_of(a);
    bodies[0].body_size = 16;
    bodies[1].body_size = 65524;
    bodies[2].ttl_at = offsets;
    bodies[3].body_size = a->ttl_at[1] + 3u;
    bodies[4].ttl_at = (const uint16_t[]){0, 23};
    bodies[5].body = a->body + 1;
    bodies[5].body_size--;
    offsets[1] = 65535;
    for (size_t i = 0; i < SB_ARRAY_SIZE(bodies); i++) {
        sb_msg msg = encode(&info, &bodies[i], SB_TRANSPORT_STREAM);
        assert_int_equal(msg.rcode, SB_RCODE_SERVFAIL);
        assert_int_equal(msg.counts[1], 0);
        assert_int_equal(sb_edns_ede(&msg.edns), SB_EDE_INVALID_DATA);
    }
    sb_answer_unref(a);
}

static bool same_provenance(const sb_provenance *a, const sb_provenance *b)
{
    bool same = a->source == b->source && a->flags == b->flags && a->status == b->status &&
                a->age_s == b->age_s && a->ttl_s == b->ttl_s && a->network == b->network &&
                a->tried_count == b->tried_count && sb_addr_equal(&a->upstream, &b->upstream);
    for (unsigned i = 0; same && i < a->tried_count; i++)
        same = a->tried[i].strategy == b->tried[i].strategy &&
               a->tried[i].status == b->tried[i].status && a->tried[i].ms == b->tried[i].ms &&
               sb_addr_equal(&a->tried[i].server, &b->tried[i].server);
    return same;
}

static void provenance_round_trip(void **state)
{
    (void)state;
    sb_rand r;
    sb_rand_seed(&r, 65430);
    for (unsigned round = 0; round < 500; round++) {
        uint8_t bytes[1024], cut[1024];
        sb_provenance p = {.source = (uint8_t)sb_rand_below(&r, SB_SOURCE_COUNT),
                           .flags = (uint8_t)sb_rand_below(&r, 8),
                           .status = (uint8_t)sb_rand_below(&r, SB_OUTCOME_COUNT),
                           .age_s = (uint32_t)sb_rand_u64(&r),
                           .ttl_s = (uint32_t)sb_rand_u64(&r),
                           .network = (uint32_t)sb_rand_u64(&r),
                           .tried_count = (unsigned)sb_rand_below(&r, SB_TRIED_MAX + 1)};
        sb_provenance q;
        sb_addr choice[3] = {
            {.family = SB_FAMILY_NONE}, addr_of("192.0.2.1"), addr_of("2001:db8::1")};
        p.upstream = choice[sb_rand_below(&r, 3)];
        for (unsigned i = 0; i < p.tried_count; i++) {
            p.tried[i] = (sb_tried){.strategy = (uint8_t)sb_rand_below(&r, 12),
                                    .status = (uint8_t)sb_rand_below(&r, SB_OUTCOME_COUNT),
                                    .ms = (uint16_t)sb_rand_u64(&r),
                                    .server = choice[sb_rand_below(&r, 3)]};
            if (p.tried[i].server.family)
                p.tried[i].server.port = 53;
        }
        size_t size = sb_provenance_write(&p, bytes, sizeof bytes);
        assert_true(size > 0);
        assert_int_equal(sb_provenance_write(&p, cut, size - 1), 0);
        assert_int_equal(sb_provenance_read((sb_span){bytes, size}, &q), SB_OK);
        assert_true(same_provenance(&p, &q));
        /* cuts are refused but at the end of an entry; no byte is trusted */
        for (size_t n = 0; n < size; n++) {
            sb_status status = sb_provenance_read((sb_span){bytes, n}, &q);
            assert_true(status == SB_MALFORMED || (n > 20 && status == SB_OK));
        }
    }
}

static void hostile_provenance(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        sb_status status;
    } table[] = {
        {B(""), SB_MALFORMED},
        {B("\1"), SB_MALFORMED},
        {B("\2"), SB_UNSUPPORTED},
        {B("\0"), SB_UNSUPPORTED},
        {B("\1\5\0\0aaaabbbbcccc"), SB_MALFORMED},                     /* no upstream */
        {B("\1\5\0\0aaaabbbbcccc\xff\0\0\0\0"), SB_OK},
        {B("\1\5\0\0aaaabbbbcccc\1\0\0\0\0"), SB_MALFORMED},           /* not marked as one */
        {B("\1\77\0\0aaaabbbbcccc\xff\0\0\0\0"), SB_MALFORMED},        /* no such source */
        {B("\1\5\0\77aaaabbbbcccc\xff\0\0\0\0"), SB_MALFORMED},        /* no such status */
        {B("\1\5\0\0aaaabbbbcccc\xff\0\0\0\5"), SB_MALFORMED},         /* no such family */
        {B("\1\5\0\0aaaabbbbcccc\xff\0\0\0\4\1\2\3\4\0"), SB_MALFORMED},
        {B("\1\5\0\0aaaabbbbcccc\xff\0\0\0\4\1\2\3\4\0\65"), SB_OK},
        {B("\1\5\0\0aaaabbbbcccc\xff\0\0\0\4\1\2\3\4\0\65x"), SB_MALFORMED},
        {B("\1\5\0\0aaaabbbbcccc\xff\0\0\0\0\1\77\0\0\0"), SB_MALFORMED},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        sb_provenance p = {.network = 77};
        sb_status status =
            sb_provenance_read((sb_span){(const uint8_t *)table[i].bytes, table[i].size}, &p);
        if (status != table[i].status)
            fail_msg("row %zu: %s", i, sb_status_text(status));
        assert_true(status == SB_OK || p.network == 77);
    }
    uint8_t bytes[21 + 5 * (SB_TRIED_MAX + 1)] = {1};
    bytes[16] = 255;
    sb_provenance p;
    assert_int_equal(sb_provenance_read((sb_span){bytes, 21 + 5 * SB_TRIED_MAX}, &p), SB_OK);
    assert_int_equal(p.tried_count, SB_TRIED_MAX);
    assert_int_equal(sb_provenance_read((sb_span){bytes, sizeof bytes}, &p), SB_MALFORMED);
}

static void provenance_in_a_reply(void **state)
{
    (void)state;
    sb_answer *a = addresses(1);
    sb_reply_body body = body_of(a);
    sb_query_info info = client(SB_TYPE_A, true, 1232);
    sb_provenance p = {.source = SB_SOURCE_STALE, .flags = SB_PROVENANCE_STALE, .age_s = 900}, q;
    uint8_t bytes[1024];
    sb_span value;
    body.provenance = (sb_span){bytes, sb_provenance_write(&p, bytes, sizeof bytes)};
    body.ede = SB_EDE_STALE;
    sb_msg msg = encode(&info, &body, SB_TRANSPORT_STREAM);
    assert_false(sb_edns_option(&msg.edns, SB_OPT_PROVENANCE, &value)); /* not asked for */
    info.provenance_asked = true;
    msg = encode(&info, &body, SB_TRANSPORT_STREAM);
    assert_true(sb_edns_option(&msg.edns, SB_OPT_PROVENANCE, &value));
    assert_int_equal(sb_edns_ede(&msg.edns), SB_EDE_STALE);
    assert_int_equal(sb_provenance_read(value, &q), SB_OK);
    assert_true(same_provenance(&p, &q));
    sb_answer_unref(a);
}

static void outcomes(void **state)
{
    (void)state;
    assert_int_equal(sb_outcome_of_status(SB_OK), SB_OUTCOME_OK);
    assert_int_equal(sb_outcome_of_status(SB_CONNREFUSED), SB_OUTCOME_UNREACHABLE);
    assert_int_equal(sb_outcome_of_status(SB_REFUSED), SB_OUTCOME_REFUSED);
    assert_int_equal(sb_outcome_of_status(SB_MISMATCH), SB_OUTCOME_MALFORMED);
    assert_int_equal(sb_outcome_of_status(SB_NOTFOUND), SB_OUTCOME_MISS);
    assert_string_equal(sb_outcome_text(SB_OUTCOME_SERVFAIL), "servfail");
    assert_string_equal(sb_outcome_text((sb_outcome)99), "unknown");
    for (int i = 0; i < SB_STATUS_COUNT; i++)
        assert_true(sb_outcome_of_status((sb_status)i) < SB_OUTCOME_COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_may_be_asked),     cmocka_unit_test(edns_of_a_query),
        cmocka_unit_test(byte_for_byte),         cmocka_unit_test(flags_of_a_reply),
        cmocka_unit_test(ttls),                  cmocka_unit_test(truncation),
        cmocka_unit_test(extended_errors),       cmocka_unit_test(small_buffers),
        cmocka_unit_test(damaged_bodies),        cmocka_unit_test(provenance_round_trip),
        cmocka_unit_test(hostile_provenance),    cmocka_unit_test(provenance_in_a_reply),
        cmocka_unit_test(outcomes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
