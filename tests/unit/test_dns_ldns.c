/* The codec beside ldns, over generated and mutated messages: who accepts, and what was understood.
 *
 * Where ldns legitimately differs (all by its being more liberal):
 *  - bytes after the last record are ignored by it, an error to us;
 *  - compression pointers may go anywhere, even forwards or into the header; ours go backwards;
 *  - any number of questions, and OPT in any number and section; ours: one, in the additional one;
 *  - EDNS options are opaque to it, we want them whole;
 *  - RDATA of no bytes is taken for any type (RFC 2136 uses it), ours must fit the type;
 *  - RRSIG and NSEC names may be compressed, against RFC 4034.
 * So a message only ldns takes is written anew by ldns, which leaves none of this but for the
 * number of questions, the OPTs and the empty RDATA; that one we must take and understand alike.
 * For record types not in `known` ldns has layouts of its own: there only the rest is compared. */
#include "base/rand.h"
#include "dns_make.h"

#include <ldns/ldns.h>

#define MESSAGES 20000
#define SEED 0x5374756262u

static const uint16_t known[] = {
    SB_TYPE_A,     SB_TYPE_NS,  SB_TYPE_CNAME, SB_TYPE_SOA,   SB_TYPE_PTR, SB_TYPE_MX,
    SB_TYPE_TXT,   SB_TYPE_SRV, SB_TYPE_AAAA,  SB_TYPE_DNAME, 14,          13,
    SB_TYPE_NAPTR, 17,          18,            65280,         65281,
};

static const char *const owners[] = {
    ".",         "example",         "www.Example",    "a.b.c.d.e.f.example", "mail.example",
    "x\\.y.org", "\\000\\255.org",  "\\\"q\\@\\$.org", "org",                "_sip._tcp.example",
    "*.example", "sp\\032ace.example",
};

static bool is_known(uint16_t type)
{
    for (size_t i = 0; i < SB_ARRAY_SIZE(known); i++)
        if (known[i] == type)
            return true;
    return false;
}

static sb_name random_name(sb_rand *r)
{
    return name_of(owners[sb_rand_below(r, SB_ARRAY_SIZE(owners))]);
}

static void random_bytes(sb_rand *r, sb_writer *w, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sb_write_u8(
            w, (uint8_t)(sb_rand_chance(r, 300) ? sb_rand_u64(r) : 'a' + sb_rand_below(r, 26)));
}

static void random_string(sb_rand *r, sb_writer *w)
{
    size_t n = sb_rand_below(r, sb_rand_chance(r, 50) ? 256 : 8);
    sb_write_u8(w, (uint8_t)n);
    random_bytes(r, w, n);
}

static void random_rdata(sb_rand *r, uint16_t type, sb_writer *w)
{
    static const struct {
        uint16_t type;
        const char *fields; /* numbers: so many bytes; n: name; s: string */
    } shapes[] = {
        {SB_TYPE_A, "4"},      {SB_TYPE_AAAA, "8" "8"}, {SB_TYPE_SOA, "nn44444"},
        {SB_TYPE_MX, "2n"},    {SB_TYPE_SRV, "222n"},   {SB_TYPE_TXT, "s"},
        {14, "nn"},            {13, "ss"},              {SB_TYPE_NAPTR, "22sssn"},
        {17, "nn"},            {18, "2n"},              {65280, "8"},
        {65281, ""},
    };
    const char *fields = "n";
    for (size_t i = 0; i < SB_ARRAY_SIZE(shapes); i++)
        if (shapes[i].type == type)
            fields = shapes[i].fields;
    for (; *fields; fields++) {
        sb_name name = random_name(r);
        if (*fields == 'n')
            sb_name_write(w, &name);
        else if (*fields == 's')
            random_string(r, w);
        else
            random_bytes(r, w, (size_t)(*fields - '0'));
    }
    while (type == SB_TYPE_TXT && sb_rand_chance(r, 500) && sb_writer_left(w) > 256)
        random_string(r, w);
    if (type == SB_TYPE_AAAA && sb_rand_chance(r, 500))
        memset(w->data + sb_rand_below(r, 9), 0, 8); /* runs of zeros to compress */
}

static size_t random_message(sb_rand *r, uint8_t *bytes, size_t capacity)
{
    sb_question question = {.name = random_name(r),
                            .type = known[sb_rand_below(r, SB_ARRAY_SIZE(known))],
                            .class = SB_CLASS_IN};
    sb_builder b;
    sb_builder_init(&b, bytes, capacity, (uint16_t)sb_rand_u64(r), (uint16_t)sb_rand_u64(r));
    if (!sb_rand_chance(r, 30))
        sb_builder_question(&b, &question);
    for (int section = 0; section < 3; section++) {
        for (uint64_t n = sb_rand_below(r, 5); n > 0; n--) {
            uint8_t rdata[4096];
            sb_writer w = sb_writer_of(rdata, sizeof rdata);
            sb_name owner = sb_rand_chance(r, 400) ? question.name : random_name(r);
            uint16_t type = known[sb_rand_below(r, SB_ARRAY_SIZE(known))];
            random_rdata(r, type, &w);
            sb_builder_record(&b, section, &owner, type, SB_CLASS_IN,
                              (uint32_t)sb_rand_below(r, 90000) << sb_rand_below(r, 18),
                              (sb_span){rdata, w.size});
        }
    }
    if (sb_rand_chance(r, 500))
        sb_builder_edns(
            &b, 1232, 0, sb_rand_chance(r, 500),
            (sb_span){(const uint8_t *)"\0\17\0\2\0\3", sb_rand_chance(r, 500) ? 6 : 0});
    return sb_builder_finish(&b);
}

static size_t mutate(sb_rand *r, uint8_t *bytes, size_t size, size_t capacity)
{
    for (uint64_t n = 1 + sb_rand_below(r, 3); n > 0; n--) {
        size_t at = sb_rand_below(r, size);
        switch (sb_rand_below(r, 6)) {
        case 0:
            bytes[at] = (uint8_t)sb_rand_u64(r);
            break;
        case 1:
            bytes[at] ^= (uint8_t)(1u << sb_rand_below(r, 8));
            break;
        case 2: /* a pointer to anywhere */
            bytes[at] = 0xc0;
            if (at + 1 < size)
                bytes[at + 1] = (uint8_t)sb_rand_below(r, size);
            break;
        case 3:
            size = at + 1;
            break;
        case 4:
            if (size < capacity)
                bytes[size++] = (uint8_t)sb_rand_u64(r);
            break;
        default: /* counts */
            bytes[4 + sb_rand_below(r, 8) % size] = (uint8_t)sb_rand_below(r, 4);
            break;
        }
    }
    return size;
}

/* We take a message when it parses and every RDATA fits its type. */
static bool ours_takes(sb_msg *msg, const uint8_t *bytes, size_t size, bool *all_known)
{
    *all_known = true;
    if (sb_msg_parse(bytes, size, msg) != SB_OK)
        return false;
    bool good = true;
    for (int section = 0; section < 3; section++) {
        sb_msg_iter it = sb_msg_records(msg, section);
        sb_record record;
        while (sb_msg_next(&it, &record)) {
            *all_known = *all_known && (is_known(record.type) || record.type == SB_TYPE_OPT);
            good = good && sb_rdata_expand(msg->bytes, record.rdata_at, record.rdata_size,
                                           record.type, NULL);
        }
    }
    return good;
}

/* \" \@ \$ lose their backslash and \009 its escape (ldns escapes fewer), hex digits their case,
 * the end its blanks. */
static void normalise(char *text, bool generic)
{
    size_t out = 0;
    for (size_t i = 0; text[i]; i++) {
        if (text[i] == '\\' && text[i + 1] && strchr("\"@$", text[i + 1]))
            continue;
        if (text[i] == '\\' && text[i + 1] == '\\')
            text[out++] = text[i++];
        else if (strncmp(&text[i], "\\009", 4) == 0) {
            text[out++] = '\t';
            i += 3;
            continue;
        }
        text[out++] = generic ? (char)sb_ascii_lower((uint8_t)text[i]) : text[i];
    }
    while (out > 0 && text[out - 1] == ' ')
        out--;
    text[out] = 0;
}

static void same_text(const sb_record *record, sb_span rdata, const ldns_rr *theirs)
{
    static char mine[40000], his[40000];
    sb_writer w = sb_writer_of(his, sizeof his - 1);
    sb_text t = {0};
    bool generic = record->type >= 65280;

    if (record->type == SB_TYPE_NAPTR && rdata.size == 0)
        return;
    assert_true(sb_rdata_text(record->type, rdata, &t));
    snprintf(mine, sizeof mine, "%s", t.data);
    sb_text_fini(&t);
    for (size_t i = 0; i < ldns_rr_rd_count(theirs); i++) {
        char *field = ldns_rdf2str(ldns_rr_rdf(theirs, i));
        assert_non_null(field);
        sb_write_format(&w, "%s%s", i ? " " : "", field);
        free(field);
    }
    assert_false(w.failed);
    his[w.size] = 0;
    if (generic && ldns_rr_rd_count(theirs) == 0)
        snprintf(his, sizeof his, "\\# 0");
    if (record->type == SB_TYPE_AAAA) { /* ::1.2.3.4 and ::102:304 are one address */
        sb_addr addr = addr_of(his);
        sb_addr_text(&addr, his);
    }
    normalise(mine, generic);
    normalise(his, generic);
    assert_string_equal(mine, his);
}

static void same_record(const sb_msg *msg, const sb_record *record, const ldns_rr *theirs)
{
    static uint8_t rdata[SB_MSG_MAX + 1024];
    sb_writer w = sb_writer_of(rdata, sizeof rdata);
    ldns_rdf *owner = ldns_rr_owner(theirs);
    ldns_buffer *buffer;
    uint32_t ttl_s = ldns_rr_ttl(theirs);

    assert_int_equal(record->owner.size, ldns_rdf_size(owner));
    assert_memory_equal(record->owner.wire, ldns_rdf_data(owner), record->owner.size);
    assert_int_equal(record->type, ldns_rr_get_type(theirs));
    assert_int_equal(record->class, ldns_rr_get_class(theirs));
    assert_int_equal(record->ttl_s, ttl_s >> 31 ? 0 : ttl_s); /* RFC 2181 §8 is not in ldns */
    if (!is_known(record->type))
        return;
    assert_true(
        sb_rdata_expand(msg->bytes, record->rdata_at, record->rdata_size, record->type, &w));
    buffer = ldns_buffer_new(256);
    assert_int_equal(ldns_rr_rdata2buffer_wire(buffer, theirs), LDNS_STATUS_OK);
    assert_int_equal(w.size, ldns_buffer_position(buffer));
    assert_memory_equal(rdata, ldns_buffer_begin(buffer), w.size);
    ldns_buffer_free(buffer);
    same_text(record, (sb_span){rdata, w.size}, theirs);
}

static void same_message(const sb_msg *msg, const ldns_pkt *pkt)
{
    ldns_rr_list *const sections[3] = {ldns_pkt_answer(pkt), ldns_pkt_authority(pkt),
                                       ldns_pkt_additional(pkt)};
    assert_int_equal(msg->id, ldns_pkt_id(pkt));
    assert_int_equal(SB_FLAGS_OPCODE(msg->flags), ldns_pkt_get_opcode(pkt));
    assert_int_equal(SB_FLAGS_RCODE(msg->flags), ldns_pkt_get_rcode(pkt));
    assert_int_equal((msg->flags & SB_FLAG_TC) != 0, ldns_pkt_tc(pkt));
    assert_int_equal((msg->flags & SB_FLAG_AD) != 0, ldns_pkt_ad(pkt));
    assert_int_equal((msg->flags & SB_FLAG_CD) != 0, ldns_pkt_cd(pkt));
    assert_int_equal(msg->has_question, ldns_pkt_qdcount(pkt));
    if (msg->has_question) {
        const ldns_rr *question = ldns_rr_list_rr(ldns_pkt_question(pkt), 0);
        assert_int_equal(msg->question.name.size, ldns_rdf_size(ldns_rr_owner(question)));
        assert_memory_equal(msg->question.name.wire, ldns_rdf_data(ldns_rr_owner(question)),
                            msg->question.name.size);
        assert_int_equal(msg->question.type, ldns_rr_get_type(question));
        assert_int_equal(msg->question.class, ldns_rr_get_class(question));
    }
    assert_int_equal(msg->edns.present, ldns_pkt_edns(pkt));
    if (msg->edns.present) {
        assert_int_equal(msg->edns.udp_size, ldns_pkt_edns_udp_size(pkt));
        assert_int_equal(msg->edns.version, ldns_pkt_edns_version(pkt));
        assert_int_equal(msg->edns.extended_rcode, ldns_pkt_edns_extended_rcode(pkt));
        assert_int_equal(msg->edns.dnssec_ok, ldns_pkt_edns_do(pkt));
    }
    for (int section = 0; section < 3; section++) {
        sb_msg_iter it = sb_msg_records(msg, section);
        sb_record record;
        size_t i = 0;
        while (sb_msg_next(&it, &record)) {
            /* ldns takes OPT and TSIG out of the additional section */
            if (section == EXTRA && (record.type == SB_TYPE_OPT || record.type == SB_TYPE_TSIG))
                continue;
            assert_true(i < ldns_rr_list_rr_count(sections[section]));
            same_record(msg, &record, ldns_rr_list_rr(sections[section], i++));
        }
        assert_int_equal(i, ldns_rr_list_rr_count(sections[section]));
    }
}

/* True when a message of ldns's own writing may still be refused by us, for the reasons above. */
static bool may_refuse(const ldns_pkt *pkt)
{
    ldns_rr_list *const sections[3] = {ldns_pkt_answer(pkt), ldns_pkt_authority(pkt),
                                       ldns_pkt_additional(pkt)};
    if (ldns_pkt_qdcount(pkt) > 1 || ldns_pkt_edns_data(pkt) || ldns_pkt_tsig(pkt))
        return true;
    for (int section = 0; section < 3; section++) {
        for (size_t i = 0; i < ldns_rr_list_rr_count(sections[section]); i++) {
            const ldns_rr *rr = ldns_rr_list_rr(sections[section], i);
            if (ldns_rr_rd_count(rr) == 0 || !is_known((uint16_t)ldns_rr_get_type(rr)))
                return true;
        }
    }
    return false;
}

static void rewritten(ldns_pkt *pkt)
{
    uint8_t *wire = NULL;
    size_t size = 0;
    bool all_known;
    sb_msg msg;
    ldns_pkt *again = NULL;

    if (may_refuse(pkt) || ldns_pkt2wire(&wire, pkt, &size) != LDNS_STATUS_OK)
        return;
    if (!ours_takes(&msg, wire, size, &all_known))
        fail_msg("only ldns takes what ldns wrote");
    assert_int_equal(ldns_wire2pkt(&again, wire, size), LDNS_STATUS_OK);
    same_message(&msg, again);
    ldns_pkt_free(again);
    free(wire);
}

static void beside_ldns(void **state)
{
    (void)state;
    static uint8_t bytes[SB_MSG_MAX];
    unsigned both = 0, neither = 0, only_ldns = 0;
    sb_rand r;
    sb_rand_seed(&r, SEED);
    for (unsigned n = 0; n < MESSAGES; n++) {
        bool mutated = n % 2 == 1, all_known;
        size_t size = random_message(&r, bytes, sizeof bytes);
        sb_msg msg;
        ldns_pkt *pkt = NULL;
        assert_true(size > 0);
        if (mutated)
            size = mutate(&r, bytes, size, sizeof bytes);
        bool mine = ours_takes(&msg, bytes, size, &all_known);
        bool his = ldns_wire2pkt(&pkt, bytes, size) == LDNS_STATUS_OK;
        if (!mutated && !(mine && his))
            fail_msg("message %u of seed %x: ours %d, ldns %d", n, (unsigned)SEED, mine, his);
        if (mine && !his && all_known)
            fail_msg("message %u of seed %x: only ours takes it", n, (unsigned)SEED);
        if (mine && his)
            same_message(&msg, pkt);
        else if (his)
            rewritten(pkt);
        both += mine && his;
        neither += !mine && !his;
        only_ldns += his && !mine;
        ldns_pkt_free(pkt);
    }
    /* the mutations reach every class */
    assert_true(both > MESSAGES / 2 && neither > MESSAGES / 50 && only_ldns > MESSAGES / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(beside_ldns)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
