/* What a response must show besides ID and question: the case of the name (0x20) and the cookie;
 * and how servers that cannot show them are still used. */
#include "net_world.h"

static uint8_t cookie_bytes[40];

/* The client cookie of the last query, followed by `size` bytes of `fill`. */
static script with_cookie(world *w, uint8_t fill, size_t size)
{
    sb_msg query = asked(w);
    sb_span ours;
    assert_true(sb_edns_option(&query.edns, SB_OPT_COOKIE, &ours));
    assert_true(ours.size >= 8 && size <= 32);
    memcpy(cookie_bytes, ours.data, 8);
    memset(cookie_bytes + 8, fill, size);
    return (script){.address = true, .cookie = cookie_bytes, .cookie_size = 8 + size};
}

/* Size of the COOKIE option of the last query; 0 without. */
static size_t asked_cookie(world *w)
{
    sb_msg query = asked(w);
    sb_span ours = {0};
    return sb_edns_option(&query.edns, SB_OPT_COOKIE, &ours) ? ours.size : 0;
}

static void over_tcp(world *w, script s)
{
    uint8_t buffer[700];
    size_t size = framed(w, s, buffer, sizeof buffer);
    tcp_bytes(w, buffer, size);
}

/* Over the connection there is, or the one that is under way. */
static void over_fresh_tcp(world *w, script s)
{
    if (last_socket(w)->writes == 0)
        tcp_connect(w);
    over_tcp(w, s);
}

static unsigned count(world *w, sb_counter counter)
{
    return (unsigned)sb_stats_get(&w->f->stats, counter);
}

static bool is_folded(const sb_name *name)
{
    sb_name folded = *name;
    sb_name_fold(&folded);
    return memcmp(folded.wire, name->wire, name->size) == 0;
}

static bool asked_folded(world *w)
{
    sb_msg query = asked(w);
    return is_folded(&query.question.name);
}

static void letters_are_mixed(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    unsigned upper[16] = {0}, folded = 0;
    for (unsigned i = 0; i < 40; i++) {
        start(w);
        sb_msg query = asked(w);
        assert_true(sb_name_equal(&query.question.name, &w->question.name));
        for (unsigned k = 0; k < query.question.name.size; k++)
            upper[k] += query.question.name.wire[k] >= 'A' && query.question.name.wire[k] <= 'Z';
        folded += is_folded(&query.question.name);
        sb_op_cancel(&w->x.op);
        if (w->f->count > 50)
            w->f->count = 0;
    }
    assert_int_equal(folded, 0);
    for (unsigned k = 0; k < w->question.name.size; k++) {
        bool letter = k != 0 && k != 4 && k != 12;
        assert_true(letter ? upper[k] > 8 && upper[k] < 32 : upper[k] == 0);
    }
    finish(w);
}

/* True when "example" stands in the answer, in lower case wherever it does, and so does "CDN". */
static bool is_clean(const sb_answer *answer)
{
    unsigned zones = 0, own = 0;
    for (unsigned i = 0; i + 7 <= answer->body_size; i++) {
        const uint8_t *at = answer->body + i;
        if (sb_ascii_lower(at[0]) == 'e' && sb_ascii_lower(at[1]) == 'x') {
            if (memcmp(at, "example", 7) != 0)
                return false;
            zones++;
        }
        own += memcmp(at, "\3CDN", 4) == 0; /* the server's letters stay */
    }
    return zones > 0 && own == 1;
}

/* Target of an alias, names of an SOA and of an SRV (which we do not compress ourselves) are
 * pointers into the question: nothing learned keeps its case. */
static void nothing_learned_keeps_the_case(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    for (unsigned srv = 0; srv < 2; srv++) {
        uint8_t buffer[512], rdata[600];
        sb_builder b;
        w->question.type = srv ? SB_TYPE_SRV : SB_TYPE_A;
        start(w);
        sb_msg query = asked(w);
        sb_name owner = query.question.name, target, zone = sb_name_parent(&owner, 1);
        sb_name prefix = fake_name("CDN");
        assert_false(is_folded(&zone));
        assert_true(sb_name_join(&prefix, &zone, &target));
        sb_writer r = sb_writer_of(rdata, sizeof rdata);
        sb_builder_init(&b, buffer, sizeof buffer, query.id, SB_FLAG_QR | SB_FLAG_RA);
        sb_builder_question(&b, &query.question);
        if (srv) {
            sb_write_bytes(&r, "\0\1\0\1\1\273\3CDN\300", 11);
            sb_write_u8(&r, SB_MSG_HEADER + 4); /* behind the first label, www */
            sb_builder_record(&b, SB_SECTION_ANSWER, &owner, SB_TYPE_SRV, SB_CLASS_IN, 60,
                              (sb_span){rdata, r.size});
        } else {
            sb_name_write(&r, &owner);
            sb_name_write(&r, &zone);
            for (unsigned i = 0; i < 5; i++)
                sb_write_u32(&r, 60);
            sb_builder_record(&b, SB_SECTION_ANSWER, &owner, SB_TYPE_CNAME, SB_CLASS_IN, 60,
                              (sb_span){target.wire, target.size});
            sb_builder_record(&b, SB_SECTION_AUTHORITY, &zone, SB_TYPE_SOA, SB_CLASS_IN, 60,
                              (sb_span){rdata, r.size});
        }
        size_t size = sb_builder_finish(&b);
        udp_bytes(w, buffer, size, w->server.addr);
        ended(w, SB_OK);
        assert_int_equal(w->x.answer->kind, srv ? SB_KIND_POSITIVE : SB_KIND_NODATA);
        assert_true(is_clean(w->x.answer));
    }
    finish(w);
}

static void a_folding_server(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    for (unsigned i = 0; i < 2; i++) {
        start(w);
        udp_reply(w, (script){.address = true, .folds = true});
        assert_int_equal(w->x.near_misses, 0);
        assert_true(last_socket(w)->stream); /* at once */
        assert_int_equal(w->f->last[SB_EVENT_REJECT].a, SB_REJECT_CASE);
        assert_int_equal(count(w, SB_COUNT_UP_UNPROVEN), i + 1);
        if (i == 0)
            tcp_connect(w);
        assert_true(asked_folded(w));
        over_tcp(w, good);
        ended(w, SB_OK);
        assert_int_equal(w->x.answer->protocol, SB_PROTOCOL_TCP);
        assert_true(sb_manners_has(&w->up->manners, SB_HABIT_FOLDS_CASE, w->f->now) == (i == 1));
    }
    start(w);
    assert_true(asked_folded(w));
    udp_reply(w, (script){.address = true, .folds = true});
    ended(w, SB_OK);
    w->f->now += 3600 * SB_S; /* forgotten */
    start(w);
    assert_false(asked_folded(w));
    sb_op_cancel(&w->x.op);
    finish(w);
}

/* One strike an hour, which a forger may bring about by luck, switches nothing off. */
static void one_guess_switches_nothing_off(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    for (unsigned i = 0; i < 5; i++) {
        start(w);
        assert_false(asked_folded(w));
        udp_reply(w, (script){.address = true, .folds = true});
        tcp_connect(w);
        over_tcp(w, good);
        ended(w, SB_OK);
        assert_false(sb_manners_has(&w->up->manners, SB_HABIT_FOLDS_CASE, w->f->now));
        fake_advance(w->f, 3600 * SB_S);
    }
    start(w); /* a cancelled exchange is none either */
    udp_reply(w, (script){.address = true, .folds = true});
    sb_op_cancel(&w->x.op);
    assert_int_equal(w->up->manners.habits[SB_HABIT_FOLDS_CASE].strikes, 1);
    sb_upstreams_reset(w->f->ups);
    assert_int_equal(w->up->manners.habits[SB_HABIT_FOLDS_CASE].strikes, 0);
    finish(w);
}

/* Refused or filtered TCP: asked plainly over a fresh port, within the same exchange. */
static void folding_without_tcp(void **state)
{
    (void)state;
    for (unsigned filtered = 0; filtered < 2; filtered++) {
        world *w = begin("192.0.2.1");
        for (unsigned i = 0; i < 2; i++) {
            start(w);
            udp_reply(w, (script){.address = true, .folds = true});
            assert_true(w->x.over_tcp);
            if (filtered)
                fake_advance(w->f, sb_upstream_attempt_timeout(w->up));
            else
                tcp_close(w, SB_CONNREFUSED);
            assert_false(last_socket(w)->stream);
            assert_true(asked_folded(w));
            assert_int_equal(asked_cookie(w), 0);
            udp_reply(w, (script){.address = true, .folds = true});
            ended(w, SB_OK);
            assert_int_equal(w->x.answer->protocol, SB_PROTOCOL_UDP);
        }
        start(w);
        assert_true(asked_folded(w));
        udp_reply(w, (script){.address = true, .folds = true});
        ended(w, SB_OK);
        assert_int_equal(w->up->failures, 0);
        sb_exchange_fini(&w->x);
        fake_advance(w->f, 20 * SB_S);
        finish(w);
    }
}

/* Whoever waits for the server has it repeat a datagram, but neither gives up on TCP before its
 * time nor on a connection. */
static void repeated_at_once(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    start(w);
    sb_exchange_repeat(&w->x);
    assert_int_equal(last_socket(w)->writes, 2);
    udp_reply(w, (script){.address = true, .folds = true});
    assert_int_equal(w->f->count, 2);
    sb_exchange_repeat(&w->x);
    assert_false(w->x.plain);
    tcp_connect(w);
    sb_exchange_repeat(&w->x);
    assert_int_equal(w->f->count, 2);
    assert_int_equal(last_socket(w)->writes, 1);
    over_tcp(w, good);
    ended(w, SB_OK);
    sb_exchange_repeat(&w->x); /* over */
    finish(w);
}

static void cookies_are_learned(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    start(w);
    assert_int_equal(asked_cookie(w), 8);
    udp_reply(w, with_cookie(w, 0xaa, 16));
    ended(w, SB_OK);
    assert_true(w->up->manners.sends_cookies);
    start(w);
    assert_int_equal(asked_cookie(w), 24);
    sb_msg query = asked(w);
    sb_span ours = {0};
    assert_true(sb_edns_option(&query.edns, SB_OPT_COOKIE, &ours));
    for (unsigned i = 8; i < 24; i++)
        assert_int_equal(ours.data[i], 0xaa);
    udp_reply(w, with_cookie(w, 0xbb, 32)); /* they change */
    ended(w, SB_OK);
    start(w);
    assert_int_equal(asked_cookie(w), 40);
    uint8_t before[8];
    (void)with_cookie(w, 0, 0);
    memcpy(before, cookie_bytes, 8);
    sb_op_cancel(&w->x.op);
    w->f->local_byte = 98; /* from another address: another cookie, and the server's is void */
    start(w);
    assert_int_equal(asked_cookie(w), 8);
    (void)with_cookie(w, 0, 0);
    assert_memory_not_equal(before, cookie_bytes, 8);
    sb_op_cancel(&w->x.op);
    w->f->local_byte = 99;
    start(w);
    (void)with_cookie(w, 0, 0);
    assert_memory_equal(before, cookie_bytes, 8); /* the same for the same pair */
    sb_op_cancel(&w->x.op);
    w->f->now += 24 * 3600 * SB_S;
    start(w);
    (void)with_cookie(w, 0, 0);
    assert_memory_not_equal(before, cookie_bytes, 8); /* of one day only */
    sb_op_cancel(&w->x.op);
    finish(w);
}

static void servers_without_cookies(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    start(w);
    udp_reply(w, good);
    ended(w, SB_OK);
    start(w);
    udp_reply(w, (script){.address = true}); /* no OPT at all */
    ended(w, SB_OK);
    start(w);
    udp_reply(w, with_cookie(w, 0, 0)); /* echoes what it does not know */
    ended(w, SB_OK);
    assert_false(w->up->manners.sends_cookies);
    assert_int_equal(count(w, SB_COUNT_UP_UNPROVEN), 0);
    start(w);
    assert_int_equal(asked_cookie(w), 8);
    sb_op_cancel(&w->x.op);
    finish(w);
}

static void learn(world *w)
{
    start(w);
    udp_reply(w, with_cookie(w, 0xaa, 8));
    ended(w, SB_OK);
}

/* Wrong ones, none, malformed ones, and what does not parse: none is believed over UDP. */
static void doubtful_cookies(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    learn(w);
    for (unsigned i = 0; i < 6; i++) {
        start(w);
        script s = with_cookie(w, 0xaa, i == 1 ? 7 : 8);
        if (i == 0)
            cookie_bytes[7] ^= 1;
        if (i == 2)
            s = good;
        if (i == 3)
            s = (script){.address = true, .cut = 3};
        if (i == 4)
            s.cookie_size = 5;
        if (i == 5)
            s = (script){.rcode = SB_RCODE_SERVFAIL, .no_question = true};
        udp_reply(w, s);
        assert_true(last_socket(w)->stream);
        assert_int_equal(w->f->last[SB_EVENT_REJECT].a, SB_REJECT_COOKIE);
        assert_int_equal(count(w, SB_COUNT_UP_UNPROVEN), i + 1);
        if (last_socket(w)->writes == 0)
            tcp_connect(w);
        assert_int_equal(asked_cookie(w), 16);
        over_tcp(w, with_cookie(w, 0xaa, 8));
        ended(w, SB_OK);
        w->up->manners.habits[SB_HABIT_BREAKS_COOKIES].strikes = 0;
    }
    assert_int_equal(fake_open_sockets(w->f), 1);
    finish(w);
}

/* It was replaced by software without cookies, or is one of several behind an address. */
static void a_server_that_lost_its_cookies(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    learn(w);
    for (unsigned i = 0; i < 2; i++) {
        start(w);
        udp_reply(w, good);
        over_fresh_tcp(w, good);
        ended(w, SB_OK);
    }
    assert_false(w->up->manners.sends_cookies);
    start(w);
    assert_int_equal(asked_cookie(w), 0);
    assert_true(asked(w).edns.present);
    udp_reply(w, good);
    ended(w, SB_OK);
    w->f->now += 3600 * SB_S;
    learn(w);
    finish(w);
}

static void bad_cookie(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    start(w);
    script s = with_cookie(w, 0xcc, 8);
    s.rcode = SB_RCODE_BADCOOKIE;
    s.address = false;
    udp_reply(w, s);
    assert_int_equal(w->f->count, 2); /* another socket, with what was given */
    assert_int_equal(asked_cookie(w), 16);
    udp_reply(w, with_cookie(w, 0xcc, 8));
    ended(w, SB_OK);
    start(w);
    for (unsigned i = 0; i < 2; i++) { /* only once */
        s = with_cookie(w, 0xdd, 8);
        s.rcode = SB_RCODE_BADCOOKIE;
        udp_reply(w, s);
    }
    tcp_connect(w);
    over_tcp(w, with_cookie(w, 0xee, 8));
    ended(w, SB_OK);
    start(w);
    assert_int_equal(asked_cookie(w), 16);
    for (unsigned i = 0; i < 2; i++) {
        s = with_cookie(w, 0xdd, 8);
        s.rcode = SB_RCODE_BADCOOKIE;
        udp_reply(w, s);
    }
    s = with_cookie(w, 0xdd, 8); /* even there: then without */
    s.rcode = SB_RCODE_BADCOOKIE;
    over_tcp(w, s);
    assert_int_equal(asked_cookie(w), 0);
    over_tcp(w, good);
    ended(w, SB_OK);
    finish(w);
}

/* FORMERR with an OPT: the option, not EDNS, was too much. */
static void options_are_refused(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    for (unsigned i = 0; i < 2; i++) {
        start(w);
        assert_int_equal(asked_cookie(w), 8);
        udp_reply(w, (script){.rcode = SB_RCODE_FORMERR, .edns = true});
        assert_true(asked(w).edns.present);
        assert_int_equal(asked_cookie(w), 0);
        udp_reply(w, good);
        ended(w, SB_OK);
        assert_int_equal(w->up->manners.habits[SB_HABIT_REFUSES_EDNS].strikes, 0);
    }
    start(w);
    assert_true(asked(w).edns.present);
    assert_int_equal(asked_cookie(w), 0);
    sb_op_cancel(&w->x.op);
    finish(w);
}

/* What a datagram shows forgives: only strikes in a row count, and no forger gets two of them past
 * the server's own responses. */
static void proof_forgives(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    const sb_manners *manners = &w->up->manners;
    for (unsigned i = 0; i < 6; i++) {
        start(w);
        assert_false(asked_folded(w));
        udp_reply(w, (script){.address = true, .folds = true});
        over_fresh_tcp(w, good);
        ended(w, SB_OK);
        assert_int_equal(manners->habits[SB_HABIT_FOLDS_CASE].strikes, 1);
        start(w); /* an error without the question shows nothing */
        udp_reply(w, (script){.rcode = SB_RCODE_SERVFAIL, .no_question = true});
        ended(w, SB_SERVFAIL);
        assert_int_equal(manners->habits[SB_HABIT_FOLDS_CASE].strikes, 1);
        start(w);
        udp_reply(w, good);
        ended(w, SB_OK);
        assert_int_equal(manners->habits[SB_HABIT_FOLDS_CASE].strikes, 0);
    }
    learn(w);
    for (unsigned i = 0; i < 6; i++) {
        start(w);
        assert_int_equal(asked_cookie(w), 16);
        udp_reply(w, good); /* without one */
        over_fresh_tcp(w, with_cookie(w, 0xaa, 8));
        ended(w, SB_OK);
        assert_int_equal(manners->habits[SB_HABIT_BREAKS_COOKIES].strikes, 1);
        learn(w);
        assert_int_equal(manners->habits[SB_HABIT_BREAKS_COOKIES].strikes, 0);
    }
    finish(w);
}

/* Refusals show nothing, though they carry the right cookie. */
static void never_content_with_a_cookie(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    for (unsigned i = 0; i < 2; i++) {
        start(w);
        for (unsigned k = 0; k < 3; k++) {
            if (k == 2 && last_socket(w)->writes == 0)
                tcp_connect(w);
            script s = with_cookie(w, (uint8_t)(0xd0 + k), 8);
            s.rcode = SB_RCODE_BADCOOKIE;
            if (k < 2)
                udp_reply(w, s);
            else
                over_tcp(w, s);
        }
        over_tcp(w, good);
        ended(w, SB_OK);
    }
    start(w);
    assert_int_equal(asked_cookie(w), 0);
    sb_op_cancel(&w->x.op);
    finish(w);
}

/* Twelve bytes with the right port and ID take EDNS away from nobody: once is not enough, and what
 * EDNS was heard in since forgives. */
static void one_refusal_keeps_edns(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    start(w);
    for (unsigned i = 0; i < 6; i++) {
        udp_reply(w, (script){.rcode = SB_RCODE_FORMERR, .no_question = true});
        assert_false(asked(w).edns.present);
        udp_reply(w, (script){.address = true});
        ended(w, SB_OK);
        assert_int_equal(w->up->manners.habits[SB_HABIT_REFUSES_EDNS].strikes, 1);
        start(w);
        assert_true(asked(w).edns.present);
        udp_reply(w, (script){.address = true}); /* content with EDNS, if it does not speak it */
        ended(w, SB_OK);
        assert_int_equal(w->up->manners.habits[SB_HABIT_REFUSES_EDNS].strikes, 0);
        start(w);
    }
    sb_op_cancel(&w->x.op);
    finish(w);
}

/* From a server that has answered with EDNS such a refusal is a doubt: TCP decides. */
static void a_doubtful_refusal_of_edns(void **state)
{
    (void)state;
    static const script bare = {.rcode = SB_RCODE_FORMERR, .no_question = true};
    world *w = begin("192.0.2.1");
    w->question.dnssec_ok = true;
    start(w);
    udp_reply(w, good);
    ended(w, SB_OK);
    for (unsigned i = 0; i < 4; i++) {
        start(w);
        udp_reply(w, bare);
        assert_true(last_socket(w)->stream);
        assert_int_equal(count(w, SB_COUNT_UP_UNPROVEN), i + 1);
        if (last_socket(w)->writes == 0)
            tcp_connect(w);
        assert_true(asked(w).edns.present && asked(w).edns.dnssec_ok);
        over_tcp(w, good);
        ended(w, SB_OK);
        assert_int_equal(w->up->manners.habits[SB_HABIT_REFUSES_EDNS].strikes, 0);
    }
    start(w); /* TCP says so too */
    udp_reply(w, bare);
    over_tcp(w, bare);
    assert_false(asked(w).edns.present);
    over_tcp(w, (script){.address = true});
    ended(w, SB_OK);
    assert_int_equal(w->up->manners.habits[SB_HABIT_REFUSES_EDNS].strikes, 1);
    fake_advance(w->f, 20 * SB_S); /* connections end */
    start(w);                      /* there is no TCP: without EDNS, but in mixed case */
    udp_reply(w, bare);
    tcp_close(w, SB_CONNREFUSED);
    assert_false(last_socket(w)->stream);
    assert_false(asked(w).edns.present);
    assert_false(asked_folded(w));
    udp_reply(w, (script){.address = true});
    ended(w, SB_OK);
    assert_true(sb_manners_has(&w->up->manners, SB_HABIT_REFUSES_EDNS, w->f->now));
    finish(w);
}

/* A word of policy would forbid what else is known: it needs more than port and ID. */
static void no_verdict_without_a_question(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    script s = {.rcode = SB_RCODE_SERVFAIL, .ede = 15, .no_question = true};
    start(w);
    udp_reply(w, s);
    ended(w, SB_SERVFAIL);
    assert_int_equal(w->x.ede, SB_EDE_NONE);
    s.no_question = false;
    start(w);
    udp_reply(w, s);
    ended(w, SB_SERVFAIL);
    assert_int_equal(w->x.ede, 15);
    s.no_question = true;
    start(w);
    udp_reply(w, (script){.flags = SB_FLAG_TC});
    tcp_connect(w);
    over_tcp(w, s); /* a connection proves itself */
    ended(w, SB_SERVFAIL);
    assert_int_equal(w->x.ede, 15);
    finish(w);
}

static void ttls_are_sane(void **state)
{
    (void)state;
    static const struct {
        uint32_t sent, kept;
    } rows[] = {{0, 0}, {604800, 604800}, {604801, 604800}, {0x7fffffff, 604800}, {0x80000000, 0}};
    world *w = begin("192.0.2.1");
    for (unsigned i = 0; i < SB_ARRAY_SIZE(rows); i++) {
        uint8_t buffer[512];
        start(w);
        size_t size = reply(w, &(script){.address = true}, buffer, sizeof buffer);
        sb_store_u32(buffer + size - 10, rows[i].sent);
        udp_bytes(w, buffer, size, w->server.addr);
        ended(w, SB_OK);
        const sb_answer *answer = w->x.answer;
        assert_int_equal(answer->ttl_s, rows[i].kept);
        assert_int_equal(sb_load_u32(answer->body + answer->ttl_at[0]), rows[i].kept);
    }
    finish(w);
}

/* More than anyone should send in a datagram comes over TCP. */
static void oversized_datagrams(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    uint8_t *buffer = test_calloc(1, 6000);
    start(w);
    size_t size = reply(w, &good, buffer, 1000);
    udp_bytes(w, buffer, size + 5000, w->server.addr);
    assert_true(last_socket(w)->stream);
    assert_int_equal(count(w, SB_COUNT_UP_TRUNCATED), 1);
    sb_op_cancel(&w->x.op);
    test_free(buffer);
    finish(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(letters_are_mixed),
        cmocka_unit_test(nothing_learned_keeps_the_case),
        cmocka_unit_test(a_folding_server),
        cmocka_unit_test(one_guess_switches_nothing_off),
        cmocka_unit_test(folding_without_tcp),
        cmocka_unit_test(repeated_at_once),
        cmocka_unit_test(cookies_are_learned),
        cmocka_unit_test(servers_without_cookies),
        cmocka_unit_test(doubtful_cookies),
        cmocka_unit_test(a_server_that_lost_its_cookies),
        cmocka_unit_test(bad_cookie),
        cmocka_unit_test(options_are_refused),
        cmocka_unit_test(ttls_are_sane),
        cmocka_unit_test(oversized_datagrams),
        cmocka_unit_test(proof_forgives),
        cmocka_unit_test(never_content_with_a_cookie),
        cmocka_unit_test(one_refusal_keeps_edns),
        cmocka_unit_test(a_doubtful_refusal_of_edns),
        cmocka_unit_test(no_verdict_without_a_question),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
