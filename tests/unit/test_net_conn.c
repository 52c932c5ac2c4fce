/* Shared connections: framing, pipelining, limits, ends, renewals; and exchanges over them. */
#include "net_world.h"

typedef struct asker {
    sb_conn_query query; /* first */
    unsigned written, received, failed;
    uint16_t id;
    uint8_t last; /* of the last message received */
    sb_status why;
    struct asker *drops, *asks; /* what its callbacks do to others */
} asker;

static world *the_world;

static sb_status ask(asker *a);

static asker *asker_of(sb_conn_query *query)
{
    return (asker *)query;
}

static size_t write_one(sb_conn_query *query, uint16_t id, uint8_t *buffer, size_t capacity)
{
    asker *a = asker_of(query);
    assert_true(capacity >= SB_CONN_QUERY_SIZE_MAX);
    a->written++;
    a->id = id;
    sb_store_u16(buffer, id);
    return 2;
}

static void got_one(sb_conn_query *query, const uint8_t *bytes, size_t size)
{
    asker *a = asker_of(query);
    a->received++;
    a->last = bytes[size - 1];
    sb_conn_drop(&a->query, false);
    if (a->asks)
        assert_int_equal(ask(a->asks), SB_OK);
}

static void lost_one(sb_conn_query *query, sb_status why)
{
    asker *a = asker_of(query);
    assert_null(a->query.conn);
    a->failed++;
    a->why = why;
    if (a->drops)
        sb_conn_drop(&a->drops->query, false);
}

static const sb_conn_events events = {write_one, got_one, lost_one};

static sb_status ask(asker *a)
{
    return sb_conn_ask(&a->query, the_world->f->ups, the_world->up, &events);
}

static world *begin_conn(void)
{
    the_world = begin("192.0.2.1");
    return the_world;
}

static void finish_conn(void)
{
    finish(the_world);
}

static fake_socket *socket_at(unsigned i)
{
    return &the_world->f->sockets[i];
}

static void stands(unsigned i)
{
    fake_socket *s = socket_at(i);
    assert_true(s->open && s->stream);
    s->tcp->connected(s->owner, (sb_socket){i, i + 1});
}

static void says(unsigned i, const void *bytes, size_t size)
{
    fake_socket *s = socket_at(i);
    assert_true(s->open);
    s->tcp->received(s->owner, (sb_socket){i, i + 1}, bytes, size);
}

static void answers(unsigned i, const asker *a, uint8_t byte)
{
    uint8_t bytes[5];
    sb_store_u16(bytes, 3);
    sb_store_u16(bytes + 2, a->id);
    bytes[4] = byte;
    says(i, bytes, sizeof bytes);
}

static void ends(unsigned i, sb_status why)
{
    fake_socket *s = socket_at(i);
    assert_true(s->open);
    s->open = false;
    s->tcp->closed(s->owner, (sb_socket){i, i + 1}, why);
}

static unsigned connections(void)
{
    return (unsigned)sb_stats_get(&the_world->f->stats, SB_COUNT_UP_CONNECTIONS);
}

static void frames_in_pieces(void **state)
{
    (void)state;
    uint8_t stream[4 + 2 + 5 + 2 + 300];
    memset(stream, 7, sizeof stream);
    sb_writer w = sb_writer_of(stream, sizeof stream);
    sb_write_u16(&w, 0); /* of nothing */
    sb_write_u16(&w, 5);
    sb_write_bytes(&w, "hello", 5);
    sb_write_u16(&w, 300);
    for (size_t piece = 1; piece < sizeof stream; piece += piece < 20 ? 1 : 50) {
        static const size_t sizes[] = {0, 5, 300};
        sb_frames frames = {0};
        unsigned n = 0;
        sb_span message;
        for (size_t at = 0; at < w.size + 300; at += piece) {
            size_t left = w.size + 300 - at;
            assert_true(sb_frames_add(&frames, stream + at, piece < left ? piece : left));
            while (sb_frames_next(&frames, &message)) {
                assert_true(n < 3);
                assert_int_equal(message.size, sizes[n]);
                if (n++ == 1)
                    assert_memory_equal(message.data, "hello", 5);
            }
        }
        assert_int_equal(n, 3);
        sb_frames_fini(&frames);
    }
}

static void out_of_order(void **state)
{
    (void)state;
    begin_conn();
    asker a[3] = {0};
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(ask(&a[i]), SB_OK);
    assert_int_equal(the_world->f->count, 1);
    assert_int_equal(a[0].written, 0); /* not before it stands */
    stands(0);
    assert_int_equal(socket_at(0)->writes, 3);
    answers(0, &a[2], 'c');
    answers(0, &a[0], 'a');
    assert_true(a[0].received == 1 && a[1].received == 0 && a[2].received == 1);
    assert_true(a[0].last == 'a' && a[2].last == 'c');
    assert_int_equal(ask(&a[0]), SB_OK); /* at once, on the same */
    assert_int_equal(a[0].written, 2);
    a[1].asks = &a[2]; /* from within a callback */
    answers(0, &a[1], 'b');
    answers(0, &a[2], 'd');
    answers(0, &a[0], 'e');
    assert_true(a[0].last == 'e' && a[1].last == 'b' && a[2].last == 'd');
    assert_int_equal(connections(), 1);
    finish_conn();
}

static void ids_are_unique(void **state)
{
    (void)state;
    begin_conn();
    asker a[SB_CONN_QUERIES_MAX] = {0};
    the_world->f->few_ids = true; /* 64 of them */
    assert_int_equal(ask(&a[0]), SB_OK);
    stands(0);
    for (unsigned i = 1; i < SB_CONN_QUERIES_MAX; i++) {
        assert_int_equal(ask(&a[i]), SB_OK);
        for (unsigned k = 0; k < i; k++)
            assert_int_not_equal(a[k].id, a[i].id);
    }
    for (unsigned i = 0; i < SB_CONN_QUERIES_MAX; i++)
        answers(0, &a[i], (uint8_t)i);
    for (unsigned i = 0; i < SB_CONN_QUERIES_MAX; i++)
        assert_int_equal(a[i].last, i);
    finish_conn();
}

/* Two connections are enough for most; eight when they are full. Then who has waited longest, and
 * long enough, makes room. */
static void no_more_than_eight(void **state)
{
    (void)state;
    const unsigned all = SB_CONNS_MAX * SB_CONN_QUERIES_MAX;
    begin_conn();
    asker *a = test_calloc(all + 3, sizeof *a);
    for (unsigned i = 0; i < all; i++) {
        assert_int_equal(ask(&a[i]), SB_OK);
        assert_int_equal(the_world->f->count, 1 + i / SB_CONN_QUERIES_MAX);
    }
    asker *more = &a[all];
    assert_int_equal(ask(&more[0]), SB_LIMIT);
    assert_int_equal(sb_stats_get(&the_world->f->stats, SB_COUNT_LIMIT_UP_PIPELINE), 1);
    for (unsigned i = 0; i < SB_CONNS_MAX; i++) {
        stands(i);
        fake_advance(the_world->f, SB_MS);
    }
    answers(1, &a[SB_CONN_QUERIES_MAX], 1);
    assert_int_equal(ask(&more[0]), SB_OK);
    assert_int_equal(more[0].written, 1);
    assert_int_equal(ask(&more[1]), SB_LIMIT); /* nobody has had his time */
    fake_advance(the_world->f, sb_upstream_attempt_timeout(the_world->up) - SB_CONNS_MAX * SB_MS);
    assert_int_equal(ask(&more[1]), SB_OK);
    assert_true(a[0].failed == 1 && a[0].why == SB_LIMIT && more[1].written == 1);
    a[1].drops = &a[2]; /* in its end its owner ends another */
    assert_int_equal(ask(&more[2]), SB_OK);
    assert_true(a[1].failed == 1 && a[2].failed == 0 && more[2].written == 1);
    answers(0, &more[2], 1);
    assert_int_equal(more[2].received, 1);
    assert_int_equal(connections(), SB_CONNS_MAX);
    for (unsigned i = 0; i < all + 3; i++)
        sb_conn_drop(&a[i].query, false);
    fake_advance(the_world->f, SB_CONN_IDLE);
    assert_int_equal(fake_open_sockets(the_world->f), 0);
    test_free(a);
    finish_conn();
}

static void a_connect_that_fails(void **state)
{
    (void)state;
    begin_conn();
    asker a[3] = {0};
    a[0].drops = &a[1]; /* while both are on their way out */
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(ask(&a[i]), SB_OK);
    ends(0, SB_CONNREFUSED);
    assert_int_equal(the_world->f->count, 1); /* not again */
    assert_true(a[0].failed == 1 && a[1].failed == 0 && a[2].failed == 1);
    assert_int_equal(a[2].why, SB_CONNREFUSED);
    a[0].drops = NULL;
    the_world->f->connect_status = SB_UNREACHABLE;
    assert_int_equal(ask(&a[0]), SB_UNREACHABLE);
    assert_int_equal(a[0].failed, 1);
    the_world->f->connect_status = SB_OK;
    assert_int_equal(ask(&a[0]), SB_OK);
    assert_int_equal(ask(&a[1]), SB_OK);
    the_world->f->write_status = SB_IO;
    stands(1);
    assert_true(a[0].failed == 2 && a[1].failed == 1 && a[1].why == SB_IO);
    assert_int_equal(ask(&a[2]), SB_IO);
    finish_conn();
}

static void a_server_that_closes(void **state)
{
    (void)state;
    begin_conn();
    asker a[3] = {0};
    assert_int_equal(ask(&a[0]), SB_OK);
    stands(0);
    ends(0, SB_CLOSED);
    assert_int_equal(ask(&a[1]), SB_OK); /* joins the fresh one */
    assert_int_equal(the_world->f->count, 2);
    stands(1);
    assert_true(a[0].written == 2 && a[1].written == 1);
    answers(1, &a[1], 1);
    ends(1, SB_CLOSED); /* has answered somebody: worth another */
    assert_int_equal(a[0].failed, 0);
    stands(2);
    ends(2, SB_CLOSED);
    assert_true(a[0].failed == 1 && a[0].why == SB_CLOSED);
    assert_int_equal(ask(&a[2]), SB_OK);
    stands(3);
    answers(3, &a[2], 3);
    ends(3, SB_CLOSED); /* nobody waits: no other is opened */
    assert_int_equal(the_world->f->count, 4);
    finish_conn();
}

/* A server that closes whenever it is asked several questions: each gets its own connection, eight
 * at most, for a while. */
static void one_by_one(void **state)
{
    (void)state;
    world *w = begin_conn();
    asker a[3] = {0}, more[6] = {0};
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(ask(&a[i]), SB_OK);
    stands(0);
    ends(0, SB_IO);
    stands(1);
    assert_true(a[0].written == 2 && a[1].written == 2 && a[2].written == 2);
    ends(1, SB_IO);
    assert_int_equal(w->f->count, 5);
    for (unsigned i = 0; i < 3; i++) {
        stands(2 + i);
        assert_int_equal(a[i].written, 3);
        answers(2 + i, &a[i], (uint8_t)i);
        assert_int_equal(a[i].received, 1);
    }
    for (unsigned i = 0; i < 3; i++) /* they are used again, one by one */
        assert_int_equal(ask(&a[i]), SB_OK);
    assert_int_equal(w->f->count, 5);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(ask(&more[i]), SB_OK);
    assert_int_equal(w->f->count, 10);
    assert_int_equal(ask(&more[5]), SB_OK); /* no ninth: it shares */
    assert_int_equal(w->f->count, 10);
    for (unsigned i = 0; i < 3; i++)
        sb_conn_drop(&a[i].query, false);
    for (unsigned i = 0; i < 6; i++)
        sb_conn_drop(&more[i].query, false);
    fake_advance(w->f, 600 * SB_S);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(ask(&a[i]), SB_OK);
    assert_int_equal(w->f->count, 11);
    for (unsigned i = 0; i < 3; i++)
        sb_conn_drop(&a[i].query, false);
    finish_conn();
}

static void idle_ones_are_closed(void **state)
{
    (void)state;
    begin_conn();
    asker a[2] = {0};
    assert_int_equal(ask(&a[0]), SB_OK);
    stands(0);
    fake_advance(the_world->f, 60 * SB_S); /* not while something is asked */
    assert_true(socket_at(0)->open);
    answers(0, &a[0], 1);
    fake_advance(the_world->f, SB_CONN_IDLE - SB_MS);
    assert_true(socket_at(0)->open);
    assert_int_equal(ask(&a[1]), SB_OK);
    assert_int_equal(connections(), 1);
    fake_advance(the_world->f, SB_CONN_IDLE);
    assert_true(socket_at(0)->open);
    answers(0, &a[1], 1);
    fake_advance(the_world->f, SB_CONN_IDLE);
    assert_false(socket_at(0)->open);
    assert_int_equal(ask(&a[0]), SB_OK);
    assert_int_equal(connections(), 2);
    sb_conn_drop(&a[0].query, false); /* never stood, nobody waits */
    fake_advance(the_world->f, SB_CONN_IDLE);
    assert_int_equal(fake_open_sockets(the_world->f), 0);
    finish_conn();
}

/* A peer that vanished: others are not put on its connection, unless it speaks again. */
static void mute_ones_are_left(void **state)
{
    (void)state;
    begin_conn();
    asker a[4] = {0};
    assert_int_equal(ask(&a[0]), SB_OK);
    stands(0);
    fake_advance(the_world->f, 200 * SB_MS);
    sb_conn_drop(&a[0].query, true);
    assert_int_equal(ask(&a[1]), SB_OK);
    assert_int_equal(connections(), 2);
    stands(1);
    answers(0, &a[0], 1); /* late, but alive; the answer itself was given up */
    assert_int_equal(a[0].received, 0);
    assert_int_equal(ask(&a[2]), SB_OK);
    assert_int_equal(a[2].written, 1);
    answers(0, &a[2], 1);
    assert_int_equal(a[2].received, 1);
    answers(1, &a[1], 1);
    fake_advance(the_world->f, SB_CONN_IDLE);
    /* Cancelled ones never time out: a second's silence tells as well. */
    assert_int_equal(ask(&a[0]), SB_OK);
    stands(2);
    sb_conn_drop(&a[0].query, false);
    assert_int_equal(ask(&a[0]), SB_OK);
    sb_conn_drop(&a[0].query, false);
    assert_int_equal(connections(), 3);
    fake_advance(the_world->f, SB_S);
    assert_int_equal(ask(&a[0]), SB_OK);
    assert_int_equal(connections(), 4);
    fake_advance(the_world->f, SB_S); /* not even connected: the first makes room */
    assert_int_equal(ask(&a[1]), SB_OK);
    assert_int_equal(connections(), 5);
    assert_false(socket_at(2)->open);
    fake_advance(the_world->f, SB_S); /* no way left but the mute */
    assert_int_equal(ask(&a[2]), SB_OK);
    assert_int_equal(connections(), 5);
    for (unsigned i = 0; i < 4; i++)
        sb_conn_drop(&a[i].query, false);
    finish_conn();
}

static void renewal(void **state)
{
    (void)state;
    begin_conn();
    asker a[2] = {0};
    assert_int_equal(ask(&a[0]), SB_OK);
    stands(0);
    assert_int_equal(ask(&a[1]), SB_OK);
    sb_upstreams_reset(the_world->f->ups);
    assert_false(socket_at(0)->open);
    assert_int_equal(connections(), 2);
    stands(1);
    answers(1, &a[0], 1);
    assert_int_equal(a[0].received, 1);
    ends(1, SB_CLOSED); /* its one chance is left */
    stands(2);
    answers(2, &a[1], 1);
    assert_int_equal(a[1].received, 1);
    assert_int_equal(ask(&a[0]), SB_OK);
    the_world->f->connect_status = SB_UNREACHABLE;
    sb_upstreams_reset(the_world->f->ups);
    assert_true(a[0].failed == 1 && a[0].why == SB_UNREACHABLE);
    assert_int_equal(fake_open_sockets(the_world->f), 0);
    sb_upstreams_reset(the_world->f->ups); /* nothing there */
    finish_conn();
}

static void strays(void **state)
{
    (void)state;
    begin_conn();
    asker a[3] = {0}, nobody = {0};
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(ask(&a[i]), SB_OK);
    stands(0);
    while (nobody.id == a[0].id || nobody.id == a[1].id || nobody.id == a[2].id)
        nobody.id++;
    sb_conn_drop(&a[2].query, false);
    answers(0, &a[2], 1); /* expected */
    for (unsigned i = 0; i < SB_CONN_STRAYS_MAX - 1; i++)
        answers(0, &nobody, 1);
    answers(0, &a[0], 1); /* well, it does answer */
    for (unsigned i = 0; i < SB_CONN_STRAYS_MAX - 1; i++)
        answers(0, &nobody, 1);
    assert_int_equal(a[1].failed, 0);
    says(0, "\0\1x", 3); /* too short for an ID */
    assert_true(a[1].failed == 1 && a[1].why == SB_MALFORMED);
    assert_int_equal(fake_open_sockets(the_world->f), 0);
    assert_int_equal(sb_stats_get(&the_world->f->stats, SB_COUNT_UP_REJECTED),
                     2 * SB_CONN_STRAYS_MAX - 1);
    finish_conn();
}

/* Exchanges share a connection; the queries of TLS are padded and carry no cookie. */
static void exchanges_over_tls(void **state)
{
    (void)state;
    world *w = begin_conn();
    uint8_t buffer[600];
    w->f->has_tls = true;
    w->server.tls_name = "dns.example";
    assert_int_equal(sb_upstreams_configure(w->f->ups, &w->settings, NULL), SB_OK);
    w->up = sb_upstreams_pool(w->f->ups, &w->question.name)->servers[0];
    for (unsigned i = 0; i < 300; i++) {
        char name[80];
        (void)snprintf(name, sizeof name, "%.*s.example", 1 + (int)i % 60,
                       "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijkl");
        w->question.name = fake_name(name);
        w->question.dnssec_ok = i % 2;
        start(w);
        if (i == 0)
            stands(0);
        sb_msg query = asked(w);
        sb_span option;
        assert_int_equal((socket_at(0)->sent_size - 2) % 128, 0);
        assert_true(sb_edns_option(&query.edns, SB_OPT_PADDING, &option));
        assert_false(sb_edns_option(&query.edns, SB_OPT_COOKIE, &option));
        size_t size = framed(w, good, buffer, sizeof buffer);
        tcp_bytes(w, buffer, size);
        ended(w, SB_OK);
        assert_int_equal(w->x.answer->protocol, SB_PROTOCOL_TLS);
    }
    assert_int_equal(connections(), 1);
    finish_conn();
}

/* Who cannot prove its name is no server, whichever question it is for: refusals of one name that
 * are the name's own come from those who can. */
static void an_untrusted_server(void **state)
{
    (void)state;
    world *w = begin_conn();
    w->f->has_tls = true;
    w->server.tls_name = "dns.example";
    assert_int_equal(sb_upstreams_configure(w->f->ups, &w->settings, NULL), SB_OK);
    w->up = sb_upstreams_pool(w->f->ups, &w->question.name)->servers[0];
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(w->up->breaker, SB_BREAKER_CLOSED);
        start(w);
        ends(i, SB_UNTRUSTED); /* in the handshake */
        ended(w, SB_UNTRUSTED);
        assert_int_equal(w->up->failures, i + 1);
    }
    assert_int_equal(w->up->breaker, SB_BREAKER_OPEN);
    assert_int_equal(sb_stats_get(&w->f->stats, SB_COUNT_UP_REFUSED), 0);
    assert_int_equal(connections(), 3);
    finish_conn();
}

/* The probe of a server behind a connection that died is not lost in it for ever. */
static void a_silent_connection_and_exchanges(void **state)
{
    (void)state;
    world *w = begin_conn();
    uint8_t buffer[600];
    w->f->has_tls = true;
    w->server.tls_name = "";
    assert_int_equal(sb_upstreams_configure(w->f->ups, &w->settings, NULL), SB_OK);
    w->up = sb_upstreams_pool(w->f->ups, &w->question.name)->servers[0];
    start(w);
    stands(0);
    size_t size = framed(w, good, buffer, sizeof buffer);
    tcp_bytes(w, buffer, size);
    ended(w, SB_OK);
    start(w);
    w->x.sends_max = 1; /* no second chance within the exchange */
    w->f->now = w->x.op.deadline;
    ended(w, SB_TIMEOUT);
    start(w);
    assert_int_equal(connections(), 2);
    stands(1);
    size = framed(w, good, buffer, sizeof buffer);
    tcp_bytes(w, buffer, size);
    ended(w, SB_OK);
    start(w);
    ends(1, SB_CLOSED); /* the race of RFC 7766 §6.2.4: nobody notices */
    stands(2);
    size = framed(w, good, buffer, sizeof buffer);
    tcp_bytes(w, buffer, size);
    ended(w, SB_OK);
    assert_int_equal(w->up->failures, 0);
    finish_conn();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_in_pieces),
        cmocka_unit_test(out_of_order),
        cmocka_unit_test(ids_are_unique),
        cmocka_unit_test(no_more_than_eight),
        cmocka_unit_test(a_connect_that_fails),
        cmocka_unit_test(a_server_that_closes),
        cmocka_unit_test(one_by_one),
        cmocka_unit_test(idle_ones_are_closed),
        cmocka_unit_test(mute_ones_are_left),
        cmocka_unit_test(renewal),
        cmocka_unit_test(strays),
        cmocka_unit_test(exchanges_over_tls),
        cmocka_unit_test(an_untrusted_server),
        cmocka_unit_test(a_silent_connection_and_exchanges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
