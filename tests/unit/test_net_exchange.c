/* One question to one server, against a scripted world: matching, near misses, EDNS, TCP, ends. */
#include "net_world.h"

static void answers_over_udp(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    char text[SB_NAME_TEXT_MAX];
    w->question.dnssec_ok = true;
    w->question.checking_disabled = true;
    start(w);
    sb_msg query = asked(w);
    assert_true(sb_ascii_equal(sb_name_text(&query.question.name, text), "www.example"));
    assert_int_equal(query.flags, SB_FLAG_RD | SB_FLAG_CD);
    assert_true(query.edns.present && query.edns.dnssec_ok);
    assert_int_equal(query.edns.udp_size, 1232);
    w->f->now += 7 * SB_MS;
    udp_reply(w, (script){.address = true, .flags = SB_FLAG_AD});
    ended(w, SB_OK);
    assert_int_equal(w->x.rtt, 7 * SB_MS);
    assert_int_equal(w->up->srtt, 7 * SB_MS);
    assert_int_equal(w->x.answer->kind, SB_KIND_POSITIVE);
    assert_int_equal(w->x.answer->protocol, SB_PROTOCOL_UDP);
    assert_true(sb_addr_equal(&w->x.answer->upstream, &w->server.addr));
    assert_false(w->x.answer->flags & SB_ANSWER_AD); /* not trusted with it */
    assert_int_equal(w->f->seen[SB_EVENT_QUERY], 1);
    assert_int_equal(w->f->last[SB_EVENT_RESPONSE].b, 7000);
    assert_int_equal(w->f->last[SB_EVENT_RESPONSE].flight, 42);
    finish(w);
}

static void trusted_ad(void **state)
{
    (void)state;
    world *w = begin("127.0.0.1:5333");
    start(w);
    assert_int_equal(asked(w).flags, SB_FLAG_RD | SB_FLAG_AD);
    udp_reply(w, (script){.address = true, .flags = SB_FLAG_AD});
    ended(w, SB_OK);
    assert_true(w->x.answer->flags & SB_ANSWER_AD);
    start(w);
    udp_reply(w, good);
    ended(w, SB_OK);
    assert_false(w->x.answer->flags & SB_ANSWER_AD);
    finish(w);
}

static void each_query_is_fresh(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    uint16_t ids[5];
    for (unsigned i = 0; i < 5; i++) {
        start(w);
        assert_int_equal(w->f->count, i + 1);
        ids[i] = asked(w).id;
        for (unsigned k = 0; k < i; k++)
            assert_int_not_equal(ids[k], ids[i]);
        sb_op_cancel(&w->x.op);
    }
    assert_int_equal(w->up->failures, 0);
    finish(w);
}

static void negatives_are_health(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    w->up->failures = 2;
    start(w);
    udp_reply(w, (script){.rcode = SB_RCODE_NXDOMAIN});
    ended(w, SB_OK);
    assert_int_equal(w->x.answer->kind, SB_KIND_NXDOMAIN);
    assert_int_equal(w->up->failures, 0);
    start(w);
    udp_reply(w, (script){0});
    ended(w, SB_OK);
    assert_int_equal(w->x.answer->kind, SB_KIND_NODATA);
    finish(w);
}

static void ask_for(world *w, const char *name)
{
    assert_int_equal(sb_name_parse(name, strlen(name), &w->question.name, NULL), SB_OK);
}

static void failures_by_rcode(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint16_t rcode;
        sb_status status;
    } rows[] = {{"a.example", SB_RCODE_SERVFAIL, SB_SERVFAIL},
                {"b.example", SB_RCODE_REFUSED, SB_REFUSED},
                {"b.example", 9, SB_MALFORMED}};
    world *w = begin("192.0.2.1");
    for (unsigned i = 0; i < SB_ARRAY_SIZE(rows); i++) {
        ask_for(w, rows[i].name);
        start(w);
        udp_reply(w, (script){.rcode = rows[i].rcode});
        ended(w, rows[i].status);
        assert_int_equal(w->x.rcode, rows[i].rcode);
        assert_int_equal(w->up->failures, i + 1);
    }
    assert_int_equal(w->up->breaker, SB_BREAKER_OPEN);
    ask_for(w, "c.example");
    start(w); /* the probe */
    assert_int_equal(w->up->breaker, SB_BREAKER_HALF_OPEN);
    udp_reply(w, (script){.rcode = SB_RCODE_SERVFAIL, .no_question = true});
    ended(w, SB_SERVFAIL);
    /* It answers, be it no, and nobody else can be asked. */
    assert_int_equal(w->up->breaker, SB_BREAKER_CLOSED);
    finish(w);
}

/* A zone that is broken for good, asked ten times, is no reason to leave its server. */
static void one_broken_name(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    for (unsigned i = 0; i < 10; i++) {
        start(w);
        udp_reply(w, (script){.rcode = SB_RCODE_SERVFAIL});
        ended(w, SB_SERVFAIL);
        assert_int_equal(w->up->failures, 1);
        assert_int_equal(w->up->breaker, SB_BREAKER_CLOSED);
    }
    finish(w);
}

static unsigned followers_done;
static void follower_done(sb_op *op)
{
    (void)op;
    followers_done++;
}

/* Identical questions share one query; when the first asker goes away the next takes its place. */
static void one_query_per_question(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    sb_exchange second = {0}, third = {0};
    followers_done = 0;
    start(w);
    sb_exchange_start(&second, w->f->ups, w->up, &w->question, 43, NULL, w->f->now + SB_S,
                      follower_done);
    sb_exchange_start(&third, w->f->ups, w->up, &w->question, 44, NULL, w->f->now + SB_S,
                      follower_done);
    assert_int_equal(fake_open_datagrams(w->f), 1);
    assert_int_equal(w->up->queries, 1);
    udp_reply(w, (script){.rcode = SB_RCODE_NXDOMAIN});
    ended(w, SB_OK);
    assert_int_equal(followers_done, 2);
    assert_ptr_equal(second.answer, w->x.answer);
    assert_ptr_equal(third.answer, w->x.answer);
    sb_exchange_fini(&second);
    sb_exchange_fini(&third);
    start(w);
    sb_exchange_start(&second, w->f->ups, w->up, &w->question, 45, NULL, w->f->now + SB_S,
                      follower_done);
    sb_op_cancel(&w->x.op);
    assert_int_equal(fake_open_datagrams(w->f), 1);
    assert_int_equal(w->up->queries, 3);
    sb_op_cancel(&second.op);
    sb_exchange_fini(&second);
    finish(w);
}

/* Who joins a probe, which is given a round trip, does not end with it. */
static void a_follower_has_its_own_time(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    sb_exchange x[3] = {0};
    followers_done = 0;
    start(w);
    sb_op_set_deadline(&w->x.op, w->f->now + 50 * SB_MS);
    for (unsigned i = 0; i < 3; i++)
        sb_exchange_start(&x[i], w->f->ups, w->up, &w->question, 43 + i, NULL,
                          w->f->now + (i == 0 ? 60 * SB_MS : 4 * SB_S), follower_done);
    fake_advance(w->f, 50 * SB_MS);
    assert_int_equal(w->done, 1);
    assert_int_equal(w->x.op.status, SB_TIMEOUT);
    assert_int_equal(followers_done, 1); /* ten milliseconds are not worth a query */
    assert_int_equal(x[0].op.status, SB_TIMEOUT);
    assert_true(sb_op_running(&x[1].op) && sb_op_running(&x[2].op));
    assert_int_equal(w->up->queries, 2);
    assert_int_equal(fake_open_datagrams(w->f), 1);
    udp_reply(w, good);
    fake_drain(w->f);
    assert_int_equal(followers_done, 3);
    assert_int_equal(x[1].op.status, SB_OK);
    assert_ptr_equal(x[1].answer, x[2].answer);
    for (unsigned i = 0; i < 3; i++)
        sb_exchange_fini(&x[i]);
    start(w); /* all had the same time: it was enough */
    sb_op_set_deadline(&w->x.op, w->f->now + 3900 * SB_MS);
    sb_exchange_start(&x[0], w->f->ups, w->up, &w->question, 46, NULL, w->f->now + 4 * SB_S,
                      follower_done);
    fake_advance(w->f, 3900 * SB_MS);
    assert_int_equal(followers_done, 4);
    assert_int_equal(x[0].op.status, SB_TIMEOUT);
    sb_exchange_fini(&x[0]);
    finish(w);
}

static void verdicts_are_not_failures(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    w->up->failures = 2;
    start(w);
    udp_reply(w, (script){.rcode = SB_RCODE_SERVFAIL, .ede = 6});
    ended(w, SB_SERVFAIL);
    assert_int_equal(w->x.ede, 6);
    assert_int_equal(w->up->failures, 0);
    w->question.name.wire[1] = 'x';
    start(w);
    udp_reply(w, (script){.rcode = SB_RCODE_SERVFAIL, .ede = 22});
    ended(w, SB_SERVFAIL);
    assert_int_equal(w->up->failures, 0); /* the verdict a moment ago showed that it works */
    finish(w);
}

static void lame_server(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    uint8_t buffer[512];
    start(w);
    size_t size = reply(w, &(script){0}, buffer, sizeof buffer);
    buffer[3] &= 0x7f; /* no RA */
    udp_bytes(w, buffer, size, w->server.addr);
    ended(w, SB_REFUSED);
    finish(w);
}

static void near_misses_are_ignored(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    sb_question other = w->question;
    uint8_t short_bytes[11] = {0};
    start(w);
    udp_reply(w, (script){.address = true, .id_change = 1});
    other.type = SB_TYPE_AAAA;
    udp_reply(w, (script){.question = other});
    other = w->question;
    other.class = SB_CLASS_CH;
    udp_reply(w, (script){.question = other});
    other = w->question;
    other.name = fake_name("www.example.net");
    udp_reply(w, (script){.question = other});
    udp_reply(w, (script){.no_question = true}); /* NOERROR about nothing */
    udp_bytes(w, last_socket(w)->sent, last_socket(w)->sent_size, w->server.addr); /* reflected */
    udp_bytes(w, short_bytes, sizeof short_bytes, w->server.addr);
    assert_int_equal(w->x.near_misses, 7);
    uint8_t buffer[512];
    size_t size = reply(w, &good, buffer, sizeof buffer);
    for (int i = 0; i < 20; i++) { /* right bytes, wrong sender: not even a near miss */
        udp_bytes(w, buffer, size, fake_addr("192.0.2.2"));
        udp_bytes(w, buffer, size, fake_addr("192.0.2.1:54"));
    }
    assert_int_equal(w->done, 0);
    assert_int_equal(sb_stats_get(&w->f->stats, SB_COUNT_UP_REJECTED), 47);
    assert_int_equal(w->f->seen[SB_EVENT_REJECT], 47);
    udp_reply(w, good);
    ended(w, SB_OK);
    finish(w);
}

static void a_flood_moves_to_tcp(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    uint8_t buffer[600];
    start(w);
    for (unsigned i = 0; i < SB_NEAR_MISSES_MAX; i++)
        udp_reply(w, (script){.address = true, .id_change = (uint16_t)(i + 1)});
    assert_true(last_socket(w)->stream);
    assert_int_equal(fake_open_sockets(w->f), 1);
    assert_int_equal(sb_stats_get(&w->f->stats, SB_COUNT_UP_CROWDED), 1);
    tcp_connect(w);
    assert_int_equal(w->f->last[SB_EVENT_QUERY].a, SB_PROTOCOL_TCP);
    size_t size = framed(w, good, buffer, sizeof buffer);
    tcp_bytes(w, buffer, size);
    ended(w, SB_OK);
    assert_int_equal(w->x.answer->protocol, SB_PROTOCOL_TCP);
    finish(w);
}

static void a_server_of_nonsense(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    static const uint8_t zeros[2 * SB_NEAR_MISSES_MAX];
    start(w);
    udp_reply(w, (script){.flags = SB_FLAG_TC});
    tcp_connect(w);
    tcp_bytes(w, zeros, sizeof zeros); /* lengths of nothing */
    ended(w, SB_MALFORMED);
    finish(w);
}

static void garbage_that_matches(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    start(w);
    udp_reply(w, (script){.address = true, .cut = 3});
    ended(w, SB_MALFORMED);
    assert_int_equal(w->x.rcode, 0xffff);
    assert_int_equal(w->up->failures, 1);
    start(w);
    udp_reply(w, (script){.address = true, .cut = 3, .flags = SB_FLAG_TC});
    assert_true(last_socket(w)->stream); /* cut in the middle: truncated all the same */
    sb_op_cancel(&w->x.op);
    finish(w);
}

static void edns_fall_back(void **state)
{
    (void)state;
    static const uint16_t rcodes[] = {SB_RCODE_FORMERR, SB_RCODE_NOTIMP};
    for (unsigned i = 0; i < 2; i++) {
        world *w = begin("192.0.2.1");
        for (unsigned k = 0; k < 2; k++) { /* once proves nothing */
            start(w);
            assert_true(asked(w).edns.present);
            udp_reply(w, (script){.rcode = rcodes[i], .no_question = i == 0});
            assert_int_equal(w->f->count, 2 * k + 2); /* another socket */
            assert_int_equal(fake_open_datagrams(w->f), 1);
            assert_false(asked(w).edns.present);
            udp_reply(w, (script){.address = true});
            ended(w, SB_OK);
        }
        start(w);
        assert_false(asked(w).edns.present);
        sb_op_cancel(&w->x.op);
        w->f->now += 3601 * SB_S;
        for (unsigned k = 0; k < 3; k++) {
            start(w);
            assert_true(asked(w).edns.present);
            udp_reply(w, (script){.rcode = rcodes[i]});
            udp_reply(w, (script){.rcode = rcodes[i]}); /* once only; and it is not EDNS's fault */
            ended(w, SB_MALFORMED);
            sb_upstream_succeeded(w->f->ups, w->up, SB_PROTOCOL_UDP, SB_MS);
        }
        finish(w);
    }
}

static void truncation_and_split_frames(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    uint8_t buffer[700];
    start(w);
    udp_reply(w, (script){.flags = SB_FLAG_TC});
    assert_int_equal(sb_stats_get(&w->f->stats, SB_COUNT_UP_TRUNCATED), 1);
    tcp_connect(w);
    size_t wrong = framed(w, (script){.address = true, .id_change = 9}, buffer, 300);
    size_t size = wrong + framed(w, good, buffer + wrong, sizeof buffer - wrong);
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(w->x.op.state, SB_OP_RUNNING);
        tcp_bytes(w, buffer + i, 1);
    }
    ended(w, SB_OK);
    finish(w);
}

static void large_response(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    uint8_t *buffer = test_calloc(1, 65537 + 100);
    sb_name owner = fake_name("www.example");
    sb_builder b;
    start(w);
    udp_reply(w, (script){.flags = SB_FLAG_TC});
    tcp_connect(w);
    sb_msg query = asked(w);
    sb_builder_init(&b, buffer + 2, 65535, query.id, SB_FLAG_QR | SB_FLAG_RA);
    sb_builder_question(&b, &query.question);
    for (unsigned i = 0; i < 400; i++) {
        uint8_t ip[] = {10, 0, (uint8_t)(i >> 8), (uint8_t)i};
        sb_builder_record(&b, SB_SECTION_ANSWER, &owner, SB_TYPE_A, SB_CLASS_IN, 60,
                          (sb_span){ip, 4});
    }
    size_t size = sb_builder_finish(&b);
    sb_store_u16(buffer, (uint16_t)size);
    tcp_bytes(w, buffer, size + 2 + 100); /* and something behind it */
    ended(w, SB_OK);
    assert_int_equal(w->x.answer->ancount, 400);
    test_free(buffer);
    finish(w);
}

static void streams_that_end(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    start(w);
    udp_reply(w, (script){.flags = SB_FLAG_TC});
    tcp_close(w, SB_CONNREFUSED);
    ended(w, SB_CONNREFUSED);
    start(w);
    udp_reply(w, (script){.flags = SB_FLAG_TC});
    tcp_connect(w);
    tcp_bytes(w, "\x00", 1); /* half a length */
    tcp_close(w, SB_CLOSED);
    tcp_connect(w); /* another, and once more */
    assert_int_equal(w->done, 0);
    tcp_close(w, SB_CLOSED);
    ended(w, SB_CLOSED);
    assert_int_equal(w->up->failures, 2);
    finish(w);
}

static void network_errors(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    start(w);
    last_socket(w)->udp->failed(&w->x, (sb_socket){0, 1}, SB_CONNREFUSED);
    ended(w, SB_CONNREFUSED);
    w->f->open_status = SB_UNREACHABLE;
    start(w);
    ended(w, SB_UNREACHABLE);
    assert_int_equal(w->up->failures, 2);
    w->f->open_status = SB_LIMIT; /* no descriptors: not the server's fault */
    start(w);
    ended(w, SB_LIMIT);
    assert_int_equal(w->up->failures, 2);
    w->f->open_status = SB_OK;
    w->f->send_status = SB_UNREACHABLE;
    start(w);
    ended(w, SB_UNREACHABLE);
    assert_int_equal(sb_stats_get(&w->f->stats, SB_COUNT_UP_UNREACHABLE), 3);
    finish(w);
}

static void silence(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    start(w);
    fake_advance(w->f, 999 * SB_MS);
    assert_int_equal(w->done, 0);
    w->f->now += SB_MS;
    ended(w, SB_TIMEOUT);
    assert_int_equal(w->up->timeouts, 1);
    assert_int_equal(sb_stats_get(&w->f->stats, SB_COUNT_UP_TIMEOUTS), 1);
    finish(w);
}

/* A server that has answered twenty times, each in 2 ms. */
static world *begin_quick(sb_ns *ret_usual)
{
    world *w = begin("192.0.2.1");
    for (unsigned i = 0; i < 20; i++)
        sb_upstream_succeeded(w->f->ups, w->up, SB_PROTOCOL_UDP, 2 * SB_MS);
    *ret_usual = sb_upstream_attempt_timeout(w->up);
    return w;
}

/* One question, answered after so long, which was in two steps: at the first it may be repeated. */
static void answered_after(world *w, sb_ns first, sb_ns second, unsigned writes)
{
    start(w);
    sb_op_set_deadline(&w->x.op, w->f->now + 10 * SB_S);
    fake_advance(w->f, first);
    assert_int_equal(last_socket(w)->writes, writes);
    if (second > 0)
        fake_advance(w->f, second);
    udp_reply(w, (script){.address = true});
    ended(w, SB_OK);
}

/* What the loss of a packet takes is not how slow the server is. */
static void losses_are_no_slowness(void **state)
{
    (void)state;
    sb_ns usual;
    world *w = begin_quick(&usual);
    for (unsigned i = 0; i < 20; i++) {
        if (i % 4 == 3) /* not all are lost */
            sb_upstream_succeeded(w->f->ups, w->up, SB_PROTOCOL_UDP, 2 * SB_MS);
        w->up->repeated_in_row = i % 4 == 3 ? 0 : w->up->repeated_in_row;
        answered_after(w, usual, 2 * SB_MS, 2);
    }
    assert_int_equal(sb_upstream_attempt_timeout(w->up), usual);
    /* Where each has to be repeated it is slow, and not quick after every repetition. */
    for (unsigned i = 0; i < 10; i++)
        answered_after(w, usual, 2 * SB_MS, 2);
    assert_true(sb_upstream_attempt_timeout(w->up) > usual);
    finish(w);
}

static void slowness_is_no_loss(void **state)
{
    (void)state;
    sb_ns usual;
    world *w = begin_quick(&usual);
    answered_after(w, usual - SB_MS, 0, 1);
    assert_true(sb_upstream_attempt_timeout(w->up) > usual);
    finish(w);
}

/* The same bytes from the same port, as often as allowed; near misses go on being counted. */
static void silence_is_asked_again(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    uint8_t first[512];
    start(w);
    sb_op_set_deadline(&w->x.op, w->f->now + 10 * SB_S);
    fake_socket *s = last_socket(w);
    memcpy(first, s->sent, s->sent_size);
    for (unsigned i = 0; i < SB_NEAR_MISSES_MAX - 1; i++)
        udp_reply(w, (script){.address = true, .id_change = (uint16_t)(i + 1)});
    fake_advance(w->f, sb_upstream_attempt_timeout(w->up));
    assert_int_equal(s->writes, 2);
    assert_memory_equal(first, s->sent, s->sent_size);
    for (unsigned i = 0; i < 4; i++)
        fake_advance(w->f, 2 * SB_S);
    assert_int_equal(s->writes, SB_EXCHANGE_SENDS);
    assert_int_equal(w->f->count, 1);
    udp_reply(w, (script){.address = true, .id_change = 99});
    assert_true(w->x.over_tcp);
    sb_op_cancel(&w->x.op);
    finish(w);
}

/* Over a connection only its death is a reason to ask again: on another one. */
static void a_dead_connection_is_left(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    uint8_t buffer[600];
    start(w);
    sb_op_set_deadline(&w->x.op, w->f->now + 10 * SB_S);
    udp_reply(w, (script){.flags = SB_FLAG_TC});
    tcp_connect(w);
    sb_ns usual = sb_upstream_attempt_timeout(w->up);
    fake_advance(w->f, usual / 2);
    size_t size = framed(w, (script){.address = true, .id_change = 9}, buffer, sizeof buffer);
    tcp_bytes(w, buffer, size); /* a sign of life */
    fake_advance(w->f, usual / 2);
    assert_int_equal(w->f->count, 2);
    sb_op_cancel(&w->x.op);
    start(w);
    sb_op_set_deadline(&w->x.op, w->f->now + 10 * SB_S);
    udp_reply(w, (script){.flags = SB_FLAG_TC});
    assert_int_equal(w->f->count, 3); /* the same connection */
    fake_advance(w->f, sb_upstream_attempt_timeout(w->up));
    assert_int_equal(w->f->count, 4); /* another */
    tcp_connect(w);
    size = framed(w, good, buffer, sizeof buffer);
    tcp_bytes(w, buffer, size);
    ended(w, SB_OK);
    finish(w);
}

/* However often it is tried, a server that is not there ends the exchange in time. */
static void no_connection_is_the_end(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    start(w);
    sb_op_set_deadline(&w->x.op, w->f->now + 4 * SB_S);
    udp_reply(w, (script){.flags = SB_FLAG_TC});
    for (unsigned i = 0; i < 40; i++) {
        assert_true(w->done == 0 || i >= 39);
        fake_advance(w->f, 100 * SB_MS);
    }
    assert_int_equal(w->done, 1);
    assert_int_equal(w->x.op.status, SB_TIMEOUT);
    assert_true(sb_stats_get(&w->f->stats, SB_COUNT_UP_CONNECTIONS) <= 4);
    finish(w);
}

static void tls_is_a_failure_yet(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    w->server.tls_name = "dns.example";
    assert_int_equal(sb_upstreams_configure(w->f->ups, &w->settings, NULL), SB_OK);
    w->up = sb_upstreams_pool(w->f->ups, &w->question.name)->servers[0];
    assert_true(w->up->tls && w->up->trust_ad);
    start(w);
    ended(w, SB_UNSUPPORTED);
    assert_int_equal(w->up->failures, 1);
    finish(w);
}

/* A stream takes three round trips, and the name may be slow: what the caller allowed holds. */
static void a_stream_keeps_its_time(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    for (unsigned i = 0; i < 100; i++)
        sb_upstream_succeeded(w->f->ups, w->up, SB_PROTOCOL_UDP, SB_MS);
    start(w); /* one second */
    udp_reply(w, (script){.flags = SB_FLAG_TC});
    fake_advance(w->f, 600 * SB_MS);
    tcp_connect(w);
    fake_advance(w->f, 399 * SB_MS);
    assert_int_equal(w->done, 0);
    w->f->now += SB_MS; /* 2 * 200 ms from the connection end no sooner */
    ended(w, SB_TIMEOUT);
    finish(w);
}

static void unanswered_connections(void **state)
{
    (void)state;
    world *w = begin("192.0.2.1");
    w->up->tls = true; /* counted once, when it is called, not when it picks up */
    w->f->has_tls = true;
    start(w);
    assert_int_equal(w->up->unanswered, 1);
    tcp_connect(w);
    assert_int_equal(w->up->unanswered, 1);
    sb_op_cancel(&w->x.op);
    finish(w);
}

/* At every state: no socket stays, done is not called, health does not change. */
static void cancelled_anywhere(void **state)
{
    (void)state;
    for (unsigned at = 0; at < 7; at++) {
        world *w = begin("192.0.2.1");
        uint8_t buffer[512];
        for (unsigned i = 0; i < 3; i++)
            sb_upstream_failed(w->f->ups, w->up, SB_TIMEOUT);
        w->f->now = w->up->open_until;
        start(w);
        assert_int_equal(w->up->breaker, SB_BREAKER_HALF_OPEN);
        if (at == 1)
            udp_reply(w, (script){.address = true, .id_change = 1});
        if (at == 2)
            udp_reply(w, (script){.rcode = SB_RCODE_FORMERR});
        if (at >= 3)
            udp_reply(w, (script){.flags = SB_FLAG_TC});
        if (at >= 4)
            tcp_connect(w);
        if (at == 5)
            tcp_bytes(w, "\x00\x30\x01", 3);
        if (at == 6) { /* over, but done not yet called */
            size_t size = framed(w, good, buffer, sizeof buffer);
            tcp_bytes(w, buffer, size);
        }
        sb_op_cancel(&w->x.op);
        assert_int_equal(fake_open_datagrams(w->f), 0);
        fake_drain(w->f);
        assert_int_equal(w->done, 0);
        if (at < 6) {
            assert_int_equal(w->up->breaker, SB_BREAKER_OPEN);
            assert_true(w->up->open_until <= w->f->now);
            assert_int_equal(w->up->failures, 3);
            assert_int_equal(w->up->backoff, 1 * SB_S);
        }
        fake_advance(w->f, 5 * SB_S);
        assert_int_equal(w->done, 0);
        finish(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_over_udp),
        cmocka_unit_test(trusted_ad),
        cmocka_unit_test(each_query_is_fresh),
        cmocka_unit_test(negatives_are_health),
        cmocka_unit_test(failures_by_rcode),
        cmocka_unit_test(one_broken_name),
        cmocka_unit_test(one_query_per_question),
        cmocka_unit_test(a_follower_has_its_own_time),
        cmocka_unit_test(verdicts_are_not_failures),
        cmocka_unit_test(lame_server),
        cmocka_unit_test(near_misses_are_ignored),
        cmocka_unit_test(a_flood_moves_to_tcp),
        cmocka_unit_test(a_server_of_nonsense),
        cmocka_unit_test(garbage_that_matches),
        cmocka_unit_test(edns_fall_back),
        cmocka_unit_test(truncation_and_split_frames),
        cmocka_unit_test(large_response),
        cmocka_unit_test(streams_that_end),
        cmocka_unit_test(network_errors),
        cmocka_unit_test(silence),
        cmocka_unit_test(silence_is_asked_again),
        cmocka_unit_test(losses_are_no_slowness),
        cmocka_unit_test(slowness_is_no_loss),
        cmocka_unit_test(a_dead_connection_is_left),
        cmocka_unit_test(no_connection_is_the_end),
        cmocka_unit_test(tls_is_a_failure_yet),
        cmocka_unit_test(a_stream_keeps_its_time),
        cmocka_unit_test(unanswered_connections),
        cmocka_unit_test(cancelled_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
