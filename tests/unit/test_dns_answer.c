/* Answers: which records of a message belong, what a negative lasts, aliases, hostile parts. */
#include "dns_make.h"

static maker m;
static listing lines;

static sb_answer *take(const char *name, uint16_t type, bool dnssec_ok)
{
    sb_question question = question_of(name, type);
    sb_answer *answer = NULL;
    question.dnssec_ok = dnssec_ok;
    assert_int_equal(sb_answer_from_msg(&question, end(&m), &answer), SB_OK);
    assert_int_equal(answer->type, type);
    assert_int_equal(answer->ttl_count, answer->ancount + answer->nscount);
    assert_int_equal(answer->dnssec_ok, dnssec_ok);
    return answer;
}

static sb_status refuse(const char *name, uint16_t type)
{
    sb_question question = question_of(name, type);
    sb_answer *answer = NULL;
    sb_status status = sb_answer_from_msg(&question, end(&m), &answer);
    assert_null(answer);
    return status;
}

static void plain_positive(void **state)
{
    (void)state;
    char text[SB_NAME_TEXT_MAX];
    sb_addr addresses[4];
    sb_question asked;
    sb_name target;
    begin(&m, SB_FLAG_RA | SB_FLAG_AD, "wWw.ExAmPlE", SB_TYPE_A); /* 0x20 case */
    add_addr(&m, ANSWER, "wWw.ExAmPlE", 300, "192.0.2.2");
    add_addr(&m, ANSWER, "wWw.ExAmPlE", 200, "192.0.2.1");
    add_name(&m, AUTHORITY, "ExAmPlE", SB_TYPE_NS, 5, "ns.ExAmPlE"); /* not kept, TTL not counted */
    add_addr(&m, EXTRA, "ns.ExAmPlE", 5, "192.0.2.53");
    sb_answer *a = take("www.example", SB_TYPE_A, false);
    assert_int_equal(a->kind, SB_KIND_POSITIVE);
    assert_int_equal(a->ttl_s, 200);
    assert_int_equal(a->ancount, 2);
    assert_int_equal(a->nscount, 0);
    assert_int_equal(a->flags, SB_ANSWER_ADDRESSES); /* AD is the caller's to grant */
    assert_int_equal(a->source, SB_SOURCE_DNS);
    assert_int_equal(a->ede, SB_EDE_NONE);
    /* question folded, owners pointers to it: nothing of the case is left */
    assert_int_equal(a->body_size, 13 + 4 + 2 * 16);
    assert_memory_equal(a->body, "\3www\7example\0\0\1\0\1\xc0\x0c\0\1\0\1\0\0\1\x2c", 27);
    assert_int_equal(a->ttl_at[0], 17 + 6);
    assert_int_equal(a->ttl_at[1], 17 + 16 + 6);
    assert_string_equal(list(&lines, a, ANSWER),
                        "www.example A 300 192.0.2.2\nwww.example A 200 192.0.2.1\n");
    assert_int_equal(sb_answer_addresses(a, addresses, 4), 2);
    assert_int_equal(addresses[0].bytes[3], 2);
    assert_int_equal(addresses[0].port, 0);
    assert_int_equal(sb_answer_addresses(a, addresses, 1), 1);
    assert_int_equal(sb_answer_addresses(a, addresses, 0), 0);
    sb_answer_target(a, &target);
    assert_string_equal(sb_name_text(&target, text), "www.example");
    sb_answer_question(a, &asked);
    assert_string_equal(sb_name_text(&asked.name, text), "www.example");
    assert_ptr_equal(sb_answer_ref(a), a);
    sb_answer_unref(a);
    sb_answer_unref(a);
    sb_answer_unref(NULL);
}

static void foreign_records_dropped(void **state)
{
    (void)state;
    begin(&m, 0, "www.example", SB_TYPE_A);
    add_addr(&m, ANSWER, "evil.example", 1, "192.0.2.66");
    add_name(&m, ANSWER, "www.example", SB_TYPE_CNAME, 600, "Host.Example");
    add_addr(&m, ANSWER, "host.example", 60, "192.0.2.1");
    add_addr(&m, ANSWER, "host.example", 1, "2001:db8::1"); /* not asked */
    add_name(&m, ANSWER, "host.example", SB_TYPE_NS, 1, "x");
    add_addr(&m, ANSWER, "other.host.example", 1, "192.0.2.67");
    add_rrsig(&m, ANSWER, "host.example", SB_TYPE_A, 2, 1, "example"); /* without DO */
    sb_builder_record(&m.b, ANSWER, &(sb_name){.size = 14, .wire = "\4host\7example"}, SB_TYPE_A,
                      SB_CLASS_CH, 1, (sb_span){(const uint8_t *)"\1\1\1\1", 4});
    sb_answer *a = take("www.example", SB_TYPE_A, false);
    assert_int_equal(a->ttl_s, 60);
    assert_string_equal(list(&lines, a, ANSWER),
                        "www.example CNAME 600 host.example.\nhost.example A 60 192.0.2.1\n");
    sb_name target;
    char text[SB_NAME_TEXT_MAX];
    sb_answer_target(a, &target);
    assert_string_equal(sb_name_text(&target, text), "host.example");
    sb_answer_unref(a);
}

/* Another owner's records, or another type's, are no denial; nor are signatures anything. */
static void beside_the_question(void **state)
{
    (void)state;
    begin(&m, 0, "www.example", SB_TYPE_A);
    add_addr(&m, ANSWER, "evil.example", 60, "192.0.2.66");
    assert_int_equal(refuse("www.example", SB_TYPE_A), SB_MALFORMED);
    begin(&m, 0, "www.example", SB_TYPE_TXT);
    add_addr(&m, ANSWER, "www.example", 60, "2001:db8::1");
    assert_int_equal(refuse("www.example", SB_TYPE_TXT), SB_MALFORMED);
    begin(&m, 0, "www.example", SB_TYPE_A);
    add_addr(&m, ANSWER, "evil.example", 60, "2001:db8::1");
    assert_int_equal(refuse("www.example", SB_TYPE_A), SB_MALFORMED);
    begin(&m, SB_RCODE_NXDOMAIN, "www.example", SB_TYPE_A);
    add_name(&m, ANSWER, "example", SB_TYPE_NS, 60, "ns.example");
    assert_int_equal(refuse("www.example", SB_TYPE_A), SB_MALFORMED);
    begin(&m, 0, "www.example", SB_TYPE_A);
    add_rrsig(&m, ANSWER, "www.example", SB_TYPE_AAAA, 2, 1, "example");
    sb_answer *a = take("www.example", SB_TYPE_A, true);
    assert_int_equal(a->kind, SB_KIND_NODATA);
    sb_answer_unref(a);
    /* the only family a server has, for whoever asks */
    begin(&m, 0, "www.example", SB_TYPE_AAAA);
    add_addr(&m, ANSWER, "www.example", 60, "192.0.2.1");
    a = take("www.example", SB_TYPE_AAAA, false);
    assert_int_equal(a->kind, SB_KIND_NODATA);
    assert_int_equal(a->ancount, 0);
    sb_answer_unref(a);
    begin(&m, 0, "www.example", SB_TYPE_A);
    add_name(&m, ANSWER, "www.example", SB_TYPE_CNAME, 60, "host.example");
    add_addr(&m, ANSWER, "evil.example", 60, "192.0.2.66");
    a = take("www.example", SB_TYPE_A, false);
    assert_int_equal(a->kind, SB_KIND_NODATA);
    assert_int_equal(a->flags, SB_ANSWER_CHAIN_OPEN | SB_ANSWER_ADDRESSES);
    sb_answer_unref(a);
}

/* The chain is found whatever the order of the records; the answer is in the chain's order. */
static void order_restored(void **state)
{
    (void)state;
    begin(&m, 0, "a.example", SB_TYPE_AAAA);
    add_addr(&m, ANSWER, "c.other", 30, "2001:db8::1");
    add_name(&m, ANSWER, "b.example", SB_TYPE_CNAME, 20, "C.Other");
    add_name(&m, ANSWER, "a.example", SB_TYPE_CNAME, 10, "b.EXAMPLE");
    sb_answer *a = take("a.example", SB_TYPE_AAAA, false);
    assert_string_equal(list(&lines, a, ANSWER),
                        "a.example CNAME 10 b.example.\n"
                        "b.example CNAME 20 c.other.\nc.other AAAA 30 2001:db8::1\n");
    assert_int_equal(a->ttl_s, 10);
    sb_answer_unref(a);
}

static void case_of_rdata(void **state)
{
    (void)state;
    /* names that own nothing keep their case; those that follow as owners do not */
    begin(&m, 0, "a.example", SB_TYPE_CNAME);
    add_name(&m, ANSWER, "A.example", SB_TYPE_CNAME, 10, "Kept.Elsewhere");
    sb_answer *a = take("a.example", SB_TYPE_CNAME, false);
    assert_int_equal(a->kind, SB_KIND_POSITIVE);
    assert_string_equal(list(&lines, a, ANSWER), "a.example CNAME 10 Kept.Elsewhere.\n");
    sb_answer_unref(a);
    begin(&m, 0, "example", SB_TYPE_MX);
    add_raw(&m, ANSWER, "EXAMPLE", SB_TYPE_MX, 10, "\0\1\2Mx\7eXaMpLe", 14);
    a = take("example", SB_TYPE_MX, false);
    assert_string_equal(list(&lines, a, ANSWER), "example MX 10 1 Mx.example.\n");
    sb_answer_unref(a);
}

static void aliases(unsigned count, bool loop)
{
    begin(&m, 0, "n0.example", SB_TYPE_A);
    for (unsigned i = 0; i < count; i++) {
        char owner[32], target[32];
        snprintf(owner, sizeof owner, "n%u.example", i);
        snprintf(target, sizeof target, "n%u.example", loop && i + 1 == count ? 0 : i + 1);
        add_name(&m, ANSWER, owner, SB_TYPE_CNAME, 100 + i, target);
    }
}

static void many_aliases(void **state)
{
    (void)state;
    aliases(SB_ALIASES_MAX, false);
    add_addr(&m, ANSWER, "n16.example", 99, "192.0.2.1");
    sb_answer *a = take("n0.example", SB_TYPE_A, false);
    assert_int_equal(a->ancount, 17);
    assert_int_equal(a->ttl_s, 99);
    sb_answer_unref(a);
    aliases(SB_ALIASES_MAX + 1, false);
    add_addr(&m, ANSWER, "n17.example", 99, "192.0.2.1");
    assert_int_equal(refuse("n0.example", SB_TYPE_A), SB_LOOP);
}

static void loops(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 5; n++) {
        aliases(n, true);
        assert_int_equal(refuse("n0.example", SB_TYPE_A), SB_LOOP);
    }
    begin(&m, 0, "a.example", SB_TYPE_A); /* into a loop that does not hold the question */
    add_name(&m, ANSWER, "a.example", SB_TYPE_CNAME, 1, "b.example");
    add_name(&m, ANSWER, "b.example", SB_TYPE_CNAME, 1, "C.example");
    add_name(&m, ANSWER, "c.example", SB_TYPE_CNAME, 1, "B.example");
    assert_int_equal(refuse("a.example", SB_TYPE_A), SB_LOOP);
    begin(&m, 0, "a.example", SB_TYPE_CNAME); /* asked for the alias: not followed, no loop */
    add_name(&m, ANSWER, "a.example", SB_TYPE_CNAME, 1, "a.example");
    sb_answer_unref(take("a.example", SB_TYPE_CNAME, false));
}

static void open_chain(void **state)
{
    (void)state;
    char text[SB_NAME_TEXT_MAX];
    sb_name target;
    begin(&m, 0, "www.example", SB_TYPE_A);
    add_name(&m, ANSWER, "www.example", SB_TYPE_CNAME, 50, "Cdn.Other");
    add_soa(&m, "example", 1, 1); /* the SOA of a foreign zone says nothing about cdn.other */
    sb_answer *a = take("www.example", SB_TYPE_A, false);
    assert_int_equal(a->kind, SB_KIND_NODATA);
    assert_int_equal(a->flags, SB_ANSWER_CHAIN_OPEN | SB_ANSWER_ADDRESSES);
    assert_int_equal(a->nscount, 0);
    assert_int_equal(a->ttl_s, 50);
    sb_answer_target(a, &target);
    assert_string_equal(sb_name_text(&target, text), "cdn.other");
    assert_string_equal(list(&lines, a, ANSWER), "www.example CNAME 50 Cdn.Other.\n");
    sb_answer_unref(a);
    /* with the SOA of the target's zone it is an end */
    begin(&m, 0, "www.example", SB_TYPE_A);
    add_name(&m, ANSWER, "www.example", SB_TYPE_CNAME, 50, "cdn.other");
    add_soa(&m, "other", 40, 30);
    a = take("www.example", SB_TYPE_A, false);
    assert_int_equal(a->flags, SB_ANSWER_ADDRESSES);
    assert_int_equal(a->ttl_s, 30);
    assert_int_equal(a->nscount, 1);
    sb_answer_unref(a);
}

static void negatives(void **state)
{
    (void)state;
    static const struct {
        uint16_t rcode;
        const char *soa;
        uint32_t ttl_s, minimum_s;
        uint32_t want_s;
        uint16_t flags;
    } table[] = {
        {0, "example", 3600, 300, 300, 0},
        {3, "example", 200, 300, 200, 0},
        {3, ".", 200, 300, 200, 0},
        {0, "www.example", 7, 8, 7, 0},
        {0, "below.www.example", 7, 8, 0, SB_ANSWER_NO_SOA},
        {3, "elsewhere", 7, 8, 0, SB_ANSWER_NO_SOA},
        {3, NULL, 0, 0, 0, SB_ANSWER_NO_SOA},
        {0, NULL, 0, 0, 0, SB_ANSWER_NO_SOA},
        {3, "example", 0, 300, 0, 0},
        {3, "example", 300, 0, 0, 0},
        {3, "example", 0x80000000, 300, 0, 0}, /* top bits: 0 */
        {3, "example", 300, 0xffffffff, 0, 0},
        {3, "example", 0x7fffffff, 0x7fffffff, SB_TTL_SANE_S, 0},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        begin(&m, table[i].rcode, "www.example", SB_TYPE_MX);
        if (table[i].soa)
            add_soa(&m, table[i].soa, table[i].ttl_s, table[i].minimum_s);
        add_name(&m, AUTHORITY, "example", SB_TYPE_NS, 1, "ns.example");
        sb_answer *a = take("www.example", SB_TYPE_MX, false);
        assert_int_equal(a->kind, table[i].rcode == 3 ? SB_KIND_NXDOMAIN : SB_KIND_NODATA);
        assert_int_equal(a->rcode, table[i].rcode);
        assert_int_equal(a->flags, table[i].flags);
        assert_int_equal(a->ttl_s, table[i].want_s);
        assert_int_equal(a->nscount, table[i].flags == 0);
        if (a->nscount) /* the client counts down from what we count from */
            assert_int_equal(sb_load_u32(&a->body[a->ttl_at[0]]), table[i].want_s);
        sb_answer_unref(a);
    }
    /* an alias to a name that does not exist: the shortest of all counts */
    begin(&m, 3, "www.example", SB_TYPE_A);
    add_name(&m, ANSWER, "www.example", SB_TYPE_CNAME, 5, "gone.example");
    add_soa(&m, "example", 600, 300);
    sb_answer *a = take("www.example", SB_TYPE_A, false);
    assert_int_equal(a->kind, SB_KIND_NXDOMAIN);
    assert_int_equal(a->ttl_s, 5);
    assert_int_equal(a->ancount, 1);
    sb_answer_unref(a);
    /* NXDOMAIN and yet the records */
    begin(&m, 3, "www.example", SB_TYPE_A);
    add_name(&m, ANSWER, "www.example", SB_TYPE_CNAME, 5, "gone.example");
    add_addr(&m, ANSWER, "gone.example", 5, "192.0.2.1");
    assert_int_equal(refuse("www.example", SB_TYPE_A), SB_MALFORMED);
}

static void ttl_edges(void **state)
{
    (void)state;
    static const uint32_t table[][2] = {
        {0, 0},          {1, 1},         {604800, 604800}, {604801, 604800}, {0x7fffffff, 604800},
        {0x80000000, 0}, {0xffffffff, 0}};
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        begin(&m, 0, "www.example", SB_TYPE_A);
        add_addr(&m, ANSWER, "www.example", table[i][0], "192.0.2.1");
        sb_answer *a = take("www.example", SB_TYPE_A, false);
        assert_int_equal(a->ttl_s, table[i][1]);
        assert_int_equal(sb_load_u32(&a->body[a->ttl_at[0]]), table[i][1]);
        sb_answer_unref(a);
    }
    sb_question question = question_of("www.example", SB_TYPE_A);
    sb_addr addr = addr_of("192.0.2.1");
    sb_answer *a;
    assert_int_equal(sb_answer_from_addresses(&question, &addr, 1, UINT32_MAX, SB_SOURCE_PIN, &a),
                     SB_OK);
    assert_int_equal(a->ttl_s, SB_TTL_MAX_S);
    assert_int_equal(sb_load_u32(&a->body[a->ttl_at[0]]), SB_TTL_MAX_S);
    sb_answer_unref(a);
}

static void failures(void **state)
{
    (void)state;
    static const uint16_t rcodes[] = {1, 2, 4, 5, 9};
    for (size_t i = 0; i < SB_ARRAY_SIZE(rcodes); i++) {
        begin(&m, rcodes[i], "www.example", SB_TYPE_A);
        add_addr(&m, ANSWER, "www.example", 60, "192.0.2.1");
        sb_builder_edns(&m.b, 1232, 0, false, (sb_span){(const uint8_t *)"\0\17\0\2\0\26", 6});
        sb_answer *a = take("www.example", SB_TYPE_A, false);
        assert_int_equal(a->kind, SB_KIND_FAILURE);
        assert_int_equal(a->rcode, rcodes[i]);
        assert_int_equal(a->ancount + a->nscount, 0);
        assert_int_equal(a->body_size, 13 + 4);
        assert_int_equal(a->ede, SB_EDE_NO_REACHABLE_AUTHORITY);
        sb_answer_unref(a);
    }
    begin(&m, 0, "www.example", SB_TYPE_A); /* BADVERS, by the extended bits */
    sb_builder_edns(&m.b, 1232, 1, false, (sb_span){(const uint8_t *)"\0\17\0\2\xff\xff", 6});
    sb_answer *a = take("www.example", SB_TYPE_A, false);
    assert_int_equal(a->kind, SB_KIND_FAILURE);
    assert_int_equal(a->rcode, SB_RCODE_BADVERS);
    assert_int_equal(a->ede, 0);
    sb_answer_unref(a);
}

static void any_keeps_all(void **state)
{
    (void)state;
    begin(&m, 0, "www.example", SB_TYPE_ANY);
    add_name(&m, ANSWER, "www.example", SB_TYPE_CNAME, 9, "x.example");
    add_addr(&m, ANSWER, "www.example", 8, "192.0.2.1");
    add_raw(&m, ANSWER, "www.example", 65280, 7, "\1\2", 2);
    add_addr(&m, ANSWER, "x.example", 1, "192.0.2.9");
    add_rrsig(&m, ANSWER, "www.example", SB_TYPE_A, 2, 6, "example");
    add_raw(&m, ANSWER, "www.example", SB_TYPE_TSIG, 0, "x", 1);
    sb_answer *a = take("www.example", SB_TYPE_ANY, false);
    assert_int_equal(a->ancount, 4);
    assert_int_equal(a->ttl_s, 6);
    sb_answer_unref(a);
}

static void dname(void **state)
{
    (void)state;
    static const char both[] = "old.example DNAME 70 new.example.\n"
                               "www.old.example CNAME 70 www.new.example.\n"
                               "www.new.example A 80 192.0.2.1\n";
    for (int with_cname = 0; with_cname < 2; with_cname++) {
        begin(&m, 0, "www.old.example", SB_TYPE_A);
        add_name(&m, ANSWER, "old.example", SB_TYPE_DNAME, 70, "new.example");
        if (with_cname)
            add_name(&m, ANSWER, "www.old.example", SB_TYPE_CNAME, 70, "www.new.example");
        add_addr(&m, ANSWER, "www.new.example", 80, "192.0.2.1");
        sb_answer *a = take("www.old.example", SB_TYPE_A, false);
        assert_string_equal(list(&lines, a, ANSWER), both);
        assert_int_equal(a->ttl_s, 70);
        sb_answer_unref(a);
    }
    /* a DNAME that did not make the CNAME is foreign */
    begin(&m, 0, "www.old.example", SB_TYPE_A);
    add_name(&m, ANSWER, "example", SB_TYPE_DNAME, 70, "elsewhere");
    add_name(&m, ANSWER, "www.old.example", SB_TYPE_CNAME, 60, "www.new.example");
    add_addr(&m, ANSWER, "www.new.example", 80, "192.0.2.1");
    sb_answer *a = take("www.old.example", SB_TYPE_A, false);
    assert_int_equal(a->ancount, 2);
    sb_answer_unref(a);
    /* its owner itself is not redirected; asked for, it is the answer */
    begin(&m, 0, "old.example", SB_TYPE_A);
    add_name(&m, ANSWER, "old.example", SB_TYPE_DNAME, 70, "new.example");
    a = take("old.example", SB_TYPE_A, false);
    assert_int_equal(a->kind, SB_KIND_NODATA);
    assert_int_equal(a->ancount, 0);
    sb_answer_unref(a);
    begin(&m, 0, "old.example", SB_TYPE_DNAME);
    add_name(&m, ANSWER, "old.example", SB_TYPE_DNAME, 70, "new.example");
    a = take("old.example", SB_TYPE_DNAME, false);
    assert_int_equal(a->kind, SB_KIND_POSITIVE);
    sb_answer_unref(a);
    begin(&m, 0, "x.old.example", SB_TYPE_CNAME); /* asked for the CNAME, which is not there */
    add_name(&m, ANSWER, "old.example", SB_TYPE_DNAME, 70, "new.example");
    assert_int_equal(refuse("x.old.example", SB_TYPE_CNAME), SB_MALFORMED);
    begin(&m, 0, "x.old.example", SB_TYPE_A); /* a DNAME that loops */
    add_name(&m, ANSWER, "old.example", SB_TYPE_DNAME, 70, "old.example");
    assert_int_equal(refuse("x.old.example", SB_TYPE_A), SB_LOOP);
}

static void signatures(void **state)
{
    (void)state;
    for (int asked = 0; asked < 2; asked++) {
        begin(&m, 0, "www.example", SB_TYPE_A);
        add_name(&m, ANSWER, "www.example", SB_TYPE_CNAME, 90, "host.example");
        add_rrsig(&m, ANSWER, "www.example", SB_TYPE_CNAME, 2, 90, "example");
        add_addr(&m, ANSWER, "host.example", 80, "192.0.2.1");
        add_rrsig(&m, ANSWER, "host.example", SB_TYPE_A, 2, 80, "example");
        add_rrsig(&m, ANSWER, "host.example", SB_TYPE_AAAA, 2, 1, "example");
        add_raw(&m, AUTHORITY, "example", SB_TYPE_NSEC, 1, "\1x\0", 3); /* proves nothing here */
        sb_answer *a = take("www.example", SB_TYPE_A, asked);
        assert_int_equal(a->ancount, asked ? 4 : 2);
        assert_int_equal(a->nscount, 0);
        assert_int_equal(a->ttl_s, 80);
        sb_answer_unref(a);

        begin(&m, 3, "www.example", SB_TYPE_A);
        add_soa(&m, "example", 60, 60);
        add_rrsig(&m, AUTHORITY, "example", SB_TYPE_SOA, 1, 60, "example");
        add_raw(&m, AUTHORITY, "v.example", SB_TYPE_NSEC, 60, "\1x\7example\0\0\1\x40", 14);
        add_rrsig(&m, AUTHORITY, "v.example", SB_TYPE_NSEC, 2, 60, "example");
        add_rrsig(&m, AUTHORITY, "example", SB_TYPE_NS, 1, 60, "example");
        add_raw(&m, AUTHORITY, "v.other", SB_TYPE_NSEC, 60, "\1x\0\0\1\x40", 6);
        a = take("www.example", SB_TYPE_A, asked);
        assert_int_equal(a->nscount, asked ? 4 : 1);
        sb_answer_unref(a);

        /* a wildcard's expansion: one label signed, two owned; the proof comes along */
        begin(&m, 0, "www.example", SB_TYPE_A);
        add_addr(&m, ANSWER, "www.example", 80, "192.0.2.1");
        add_rrsig(&m, ANSWER, "www.example", SB_TYPE_A, 1, 80, "example");
        add_raw(&m, AUTHORITY, "v.example", SB_TYPE_NSEC, 60, "\1x\7example\0\0\1\x40", 14);
        add_rrsig(&m, AUTHORITY, "v.example", SB_TYPE_NSEC, 2, 60, "example");
        add_raw(&m, AUTHORITY, "v.other", SB_TYPE_NSEC, 60, "\1x\0\0\1\x40", 6);
        a = take("www.example", SB_TYPE_A, asked);
        assert_int_equal(a->nscount, asked ? 2 : 0);
        sb_answer_unref(a);
    }
}

static void malformed(void **state)
{
    (void)state;
    begin(&m, 0, "www.example", SB_TYPE_A);
    add_raw(&m, ANSWER, "www.example", SB_TYPE_A, 60, "\1\2\3", 3);
    assert_int_equal(refuse("www.example", SB_TYPE_A), SB_MALFORMED);
    begin(&m, 0, "www.example", SB_TYPE_A);
    add_raw(&m, ANSWER, "www.example", SB_TYPE_CNAME, 60, "\1", 1);
    assert_int_equal(refuse("www.example", SB_TYPE_A), SB_MALFORMED);
    begin(&m, 0, "www.example", SB_TYPE_A); /* damage in a foreign record harms nobody */
    add_raw(&m, ANSWER, "evil.example", SB_TYPE_A, 60, "\1\2\3", 3);
    add_addr(&m, ANSWER, "www.example", 60, "192.0.2.1");
    sb_answer_unref(take("www.example", SB_TYPE_A, false));
    for (unsigned n = SB_ANSWER_TTLS_MAX; n <= SB_ANSWER_TTLS_MAX + 1; n++) {
        begin(&m, 0, "www.example", SB_TYPE_A);
        for (unsigned i = 0; i < n; i++)
            add_addr(&m, ANSWER, "www.example", 60, "192.0.2.1");
        if (n == SB_ANSWER_TTLS_MAX)
            sb_answer_unref(take("www.example", SB_TYPE_A, false));
        else
            assert_int_equal(refuse("www.example", SB_TYPE_A), SB_MALFORMED);
    }
}

static void own_answers(void **state)
{
    (void)state;
    sb_addr addresses[3] = {addr_of("192.0.2.1"), addr_of("2001:db8::1"), addr_of("192.0.2.2")};
    sb_question question = question_of("WWW.Example", SB_TYPE_A);
    sb_answer *a;
    assert_int_equal(sb_answer_from_addresses(&question, addresses, 3, 60, SB_SOURCE_HOSTS, &a),
                     SB_OK);
    assert_string_equal(list(&lines, a, ANSWER),
                        "www.example A 60 192.0.2.1\nwww.example A 60 192.0.2.2\n");
    assert_int_equal(a->source, SB_SOURCE_HOSTS);
    assert_int_equal(a->kind, SB_KIND_POSITIVE);
    assert_int_equal(a->flags, SB_ANSWER_ADDRESSES);
    sb_answer_unref(a);
    question.type = SB_TYPE_AAAA;
    assert_int_equal(sb_answer_from_addresses(&question, addresses, 1, 60, SB_SOURCE_PIN, &a),
                     SB_OK);
    assert_int_equal(a->kind, SB_KIND_NODATA);
    assert_int_equal(a->flags, SB_ANSWER_ADDRESSES | SB_ANSWER_NO_SOA);
    assert_int_equal(a->ttl_s, 60);
    sb_answer_unref(a);
    question.type = SB_TYPE_HTTPS;
    assert_int_equal(sb_answer_from_addresses(&question, addresses, 3, 60, SB_SOURCE_PIN, &a),
                     SB_OK);
    assert_int_equal(a->kind, SB_KIND_NODATA);
    sb_answer_unref(a);
    question = question_of("1.2.0.192.in-addr.arpa", SB_TYPE_PTR);
    sb_name target = name_of("host.example");
    assert_int_equal(sb_answer_from_ptr(&question, &target, 9, SB_SOURCE_HOSTS, &a), SB_OK);
    assert_string_equal(list(&lines, a, ANSWER), "1.2.0.192.in-addr.arpa PTR 9 host.example.\n");
    sb_answer_unref(a);
    static const struct {
        sb_kind kind;
        uint16_t rcode;
    } empty[] = {{SB_KIND_NODATA, 0}, {SB_KIND_NXDOMAIN, 3}, {SB_KIND_FAILURE, 2}};
    for (size_t i = 0; i < SB_ARRAY_SIZE(empty); i++) {
        assert_int_equal(sb_answer_empty(&question, empty[i].kind, 5, SB_SOURCE_SPECIAL, &a),
                         SB_OK);
        assert_int_equal(a->rcode, empty[i].rcode);
        assert_int_equal(a->ancount + a->nscount, 0);
        assert_int_equal(a->ttl_s, 5);
        sb_answer_unref(a);
    }
    assert_int_equal(sb_answer_empty(&question, SB_KIND_POSITIVE, 5, SB_SOURCE_SPECIAL, &a),
                     SB_INVALID);
    assert_string_equal(sb_source_text(SB_SOURCE_EMERGENCY), "emergency");
    assert_string_equal(sb_source_text((sb_source)99), "unknown");
}

static bool not_the_second(void *context, const sb_addr *addr)
{
    *(unsigned *)context += 1;
    return addr->bytes[3] != 2;
}

static void filtering(void **state)
{
    (void)state;
    sb_answer *whole, *left = NULL;
    unsigned looked = 0;
    begin(&m, 0, "www.example", SB_TYPE_A);
    add_name(&m, ANSWER, "www.example", SB_TYPE_CNAME, 50, "cdn.other");
    add_addr(&m, ANSWER, "cdn.other", 60, "192.0.2.1");
    add_addr(&m, ANSWER, "cdn.other", 60, "192.0.2.2");
    add_addr(&m, ANSWER, "cdn.other", 60, "192.0.2.3");
    whole = take("www.example", SB_TYPE_A, false);
    whole->network = 7;
    assert_int_equal(sb_answer_filter(whole, not_the_second, &looked, &left), SB_OK);
    assert_int_equal(looked, 3);
    assert_string_equal(list(&lines, left, ANSWER),
                        "www.example CNAME 50 cdn.other.\n"
                        "cdn.other A 60 192.0.2.1\ncdn.other A 60 192.0.2.3\n");
    assert_int_equal(left->kind, SB_KIND_POSITIVE);
    assert_int_equal(left->ttl_s, 50);
    assert_int_equal(left->network, 7);
    assert_int_equal(left->ancount, 3);
    assert_int_equal(left->ttl_count, 3);
    sb_answer_unref(left);
    sb_answer_unref(whole);
}

/* The head of a chain has aged by the time its tail comes, and may be over. */
static void splicing_aged(void **state)
{
    (void)state;
    sb_answer *head, *tail, *whole = NULL;
    begin(&m, 0, "www.example", SB_TYPE_A);
    add_name(&m, ANSWER, "www.example", SB_TYPE_CNAME, 50, "cdn.other");
    head = take("www.example", SB_TYPE_A, false);
    begin(&m, 0, "cdn.other", SB_TYPE_A);
    add_addr(&m, ANSWER, "cdn.other", 60, "192.0.2.1");
    tail = take("cdn.other", SB_TYPE_A, false);
    assert_int_equal(sb_answer_splice(head, 15, tail, &whole), SB_OK);
    assert_string_equal(list(&lines, whole, ANSWER),
                        "www.example CNAME 35 cdn.other.\ncdn.other A 60 192.0.2.1\n");
    assert_int_equal(whole->ttl_s, 35);
    sb_answer_unref(whole);
    assert_int_equal(sb_answer_splice(head, 51, tail, &whole), SB_OK);
    assert_int_equal(whole->ttl_s, 0);
    sb_answer_unref(whole);
    sb_answer_unref(tail);
    sb_answer_unref(head);
}

static void splicing(void **state)
{
    (void)state;
    sb_answer *head, *tail, *whole = NULL;
    begin(&m, 0, "www.example", SB_TYPE_A);
    add_name(&m, ANSWER, "www.example", SB_TYPE_CNAME, 50, "Cdn.Other");
    head = take("www.example", SB_TYPE_A, false);
    head->network = 7;
    begin(&m, 0, "cdn.other", SB_TYPE_A);
    add_name(&m, ANSWER, "cdn.other", SB_TYPE_CNAME, 40, "edge.cdn.other");
    add_addr(&m, ANSWER, "edge.cdn.other", 60, "192.0.2.1");
    tail = take("cdn.other", SB_TYPE_A, false);
    assert_int_equal(sb_answer_splice(head, 0, tail, &whole), SB_OK);
    assert_string_equal(list(&lines, whole, ANSWER),
                        "www.example CNAME 50 cdn.other.\n"
                        "cdn.other CNAME 40 edge.cdn.other.\nedge.cdn.other A 60 192.0.2.1\n");
    assert_int_equal(whole->kind, SB_KIND_POSITIVE);
    assert_int_equal(whole->ttl_s, 40);
    assert_int_equal(whole->network, 7);
    assert_int_equal(whole->flags, SB_ANSWER_ADDRESSES);
    sb_answer_unref(tail);
    /* a part that does not belong: a closed head, a tail to something else */
    sb_answer *none = NULL;
    assert_int_equal(sb_answer_splice(whole, 0, head, &none), SB_MISMATCH);
    assert_int_equal(sb_answer_splice(head, 0, head, &none), SB_MISMATCH);
    sb_answer_unref(whole);
    /* back to where it began */
    begin(&m, 0, "cdn.other", SB_TYPE_A);
    add_name(&m, ANSWER, "cdn.other", SB_TYPE_CNAME, 40, "www.example");
    tail = take("cdn.other", SB_TYPE_A, false);
    assert_int_equal(sb_answer_splice(head, 0, tail, &none), SB_LOOP);
    sb_answer_unref(tail);
    /* negatives and failures of the target are those of the name */
    begin(&m, 3, "cdn.other", SB_TYPE_A);
    add_soa(&m, "other", 600, 30);
    tail = take("cdn.other", SB_TYPE_A, false);
    assert_int_equal(sb_answer_splice(head, 0, tail, &whole), SB_OK);
    assert_int_equal(whole->kind, SB_KIND_NXDOMAIN);
    assert_int_equal(whole->rcode, 3);
    assert_int_equal(whole->ancount, 1);
    assert_int_equal(whole->nscount, 1);
    assert_int_equal(whole->ttl_s, 30);
    sb_answer_unref(whole);
    sb_answer_unref(tail);
    begin(&m, 2, "cdn.other", SB_TYPE_A);
    tail = take("cdn.other", SB_TYPE_A, false);
    assert_int_equal(sb_answer_splice(head, 0, tail, &whole), SB_OK);
    assert_int_equal(whole->kind, SB_KIND_FAILURE);
    assert_int_equal(whole->ancount, 0);
    sb_answer_unref(whole);
    sb_answer_unref(tail);
    sb_answer_unref(head);
    assert_null(none);
    /* 10 and 7 aliases are too many together */
    aliases(10, false);
    head = take("n0.example", SB_TYPE_A, false);
    begin(&m, 0, "n10.example", SB_TYPE_A);
    for (unsigned i = 10; i < 17; i++) {
        char owner[32], target[32];
        snprintf(owner, sizeof owner, "n%u.example", i);
        snprintf(target, sizeof target, "n%u.example", i + 1);
        add_name(&m, ANSWER, owner, SB_TYPE_CNAME, 5, target);
    }
    tail = take("n10.example", SB_TYPE_A, false);
    assert_int_equal(sb_answer_splice(head, 0, tail, &none), SB_LOOP);
    assert_null(none);
    sb_answer_unref(tail);
    sb_answer_unref(head);
}

static sb_answer_parts parts_of(const sb_answer *a)
{
    return (sb_answer_parts){.body = a->body,
                             .body_size = a->body_size,
                             .ttl_at = a->ttl_at,
                             .ttl_count = a->ttl_count,
                             .rcode = a->rcode,
                             .ancount = a->ancount,
                             .nscount = a->nscount,
                             .flags = a->flags,
                             .ttl_s = a->ttl_s,
                             .kind = a->kind};
}

static void parts_round_trip(void **state)
{
    (void)state;
    begin(&m, 3, "www.example", SB_TYPE_A);
    add_name(&m, ANSWER, "www.example", SB_TYPE_CNAME, 5, "gone.example");
    add_soa(&m, "example", 600, 300);
    sb_answer *a = take("www.example", SB_TYPE_A, false), *b = NULL;
    sb_answer_parts parts = parts_of(a);
    assert_int_equal(sb_answer_from_parts(&parts, &b), SB_OK);
    assert_int_equal(b->body_size, a->body_size);
    assert_memory_equal(b->body, a->body, a->body_size);
    assert_memory_equal(b->ttl_at, a->ttl_at, a->ttl_count * sizeof(uint16_t));
    assert_int_equal(b->type, SB_TYPE_A);
    assert_int_equal(b->class, SB_CLASS_IN);
    assert_int_equal(b->kind, SB_KIND_NXDOMAIN);
    assert_int_equal(b->flags, SB_ANSWER_ADDRESSES);
    assert_int_equal(b->ttl_s, 5);
    sb_answer_unref(a);
    char before[sizeof lines.text];
    snprintf(before, sizeof before, "%s", list(&lines, b, AUTHORITY));
    assert_non_null(strstr(before, "ns1.example. host\\.master.example. 1 2 3 4 300"));
    sb_answer_unref(b);
}

/* Every field wrong in turn, every byte changed, every cut: refused, or else an answer that holds.
 */
static void hostile_parts(void **state)
{
    (void)state;
    begin(&m, 0, "www.example", SB_TYPE_A);
    add_name(&m, ANSWER, "www.example", SB_TYPE_CNAME, 50, "host.example");
    add_addr(&m, ANSWER, "host.example", 60, "192.0.2.1");
    sb_answer *a = take("www.example", SB_TYPE_A, false), *b = NULL;
    sb_answer_parts good = parts_of(a), bad;
    uint16_t offsets[2] = {a->ttl_at[0], a->ttl_at[1]};

#define REFUSED(change)                                                                            \
    bad = good;                                                                                    \
    change;                                                                                        \
    assert_int_equal(sb_answer_from_parts(&bad, &b), SB_MALFORMED);                                \
    assert_null(b)
    REFUSED(bad.ancount = 1);
    REFUSED(bad.nscount = 1);
    REFUSED(bad.ancount = 3);
    REFUSED(bad.ttl_count = 1);
    REFUSED(bad.ttl_count = 100000);
    REFUSED(bad.body_size = 0);
    REFUSED(bad.body_size--);
    REFUSED(bad.body_size = 65524);
    REFUSED(bad.kind = 0);
    REFUSED(bad.kind = 5);
    REFUSED(bad.kind = SB_KIND_NODATA);
    REFUSED(bad.kind = SB_KIND_NXDOMAIN; bad.rcode = 3);
    REFUSED(bad.rcode = 3);
    REFUSED(bad.rcode = 2);
    REFUSED(bad.flags = 16);
    REFUSED(bad.flags = SB_ANSWER_CHAIN_OPEN);
    REFUSED(bad.ttl_s = 0x80000000);
    bad = good;
    bad.ttl_at = offsets;
    offsets[1]++;
    assert_int_equal(sb_answer_from_parts(&bad, &b), SB_MALFORMED);
    offsets[1] = 0xffff;
    assert_int_equal(sb_answer_from_parts(&bad, &b), SB_MALFORMED);
    uint8_t body[256];
    unsigned refused = 0;
    for (size_t at = 0; at < good.body_size; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            sb_addr addresses[8];
            sb_name target;
            memcpy(body, good.body, good.body_size);
            body[at] ^= (uint8_t)(1u << bit);
            bad = good;
            bad.body = body;
            if (sb_answer_from_parts(&bad, &b) != SB_OK) {
                refused++;
                continue;
            }
            (void)sb_answer_addresses(b, addresses, 8);
            sb_answer_target(b, &target);
            (void)list(&lines, b, ANSWER);
            sb_answer_unref(b);
            b = NULL;
        }
    }
    assert_true(refused > 200);
    sb_answer_unref(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_positive),
        cmocka_unit_test(foreign_records_dropped),
        cmocka_unit_test(beside_the_question),
        cmocka_unit_test(order_restored),
        cmocka_unit_test(case_of_rdata),
        cmocka_unit_test(many_aliases),
        cmocka_unit_test(loops),
        cmocka_unit_test(open_chain),
        cmocka_unit_test(negatives),
        cmocka_unit_test(ttl_edges),
        cmocka_unit_test(failures),
        cmocka_unit_test(any_keeps_all),
        cmocka_unit_test(dname),
        cmocka_unit_test(signatures),
        cmocka_unit_test(malformed),
        cmocka_unit_test(own_answers),
        cmocka_unit_test(filtering),
        cmocka_unit_test(splicing),
        cmocka_unit_test(splicing_aged),
        cmocka_unit_test(parts_round_trip),
        cmocka_unit_test(hostile_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
