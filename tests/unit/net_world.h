/* A scripted server and one exchange with it, for the tests of net/exchange. */
#ifndef SB_TESTS_NET_WORLD_H
#define SB_TESTS_NET_WORLD_H

#include "net_fake.h"

#include "dns/rdata.h"

typedef struct world {
    fake *f;
    sb_settings settings;
    sb_server_setting server;
    sb_upstream *up;
    sb_question question;
    sb_exchange x;
    unsigned done;
} world;

static world *current;

static inline void done(sb_op *op)
{
    assert_ptr_equal(op, &current->x.op);
    current->done++;
}

static inline world *begin(const char *server)
{
    world *w = test_calloc(1, sizeof *w);
    sb_name name = fake_name("WWW.example");
    w->f = fake_new();
    w->server = (sb_server_setting){.addr = fake_addr(server)};
    w->settings.upstreams = &w->server;
    w->settings.upstream_count = 1;
    assert_int_equal(sb_upstreams_configure(w->f->ups, &w->settings, NULL), SB_OK);
    w->up = sb_upstreams_pool(w->f->ups, &name)->servers[0];
    w->question = (sb_question){.name = name, .type = SB_TYPE_A, .class = SB_CLASS_IN};
    current = w;
    return w;
}

static inline void start(world *w)
{
    sb_exchange_fini(&w->x);
    w->done = 0;
    sb_exchange_start(&w->x, w->f->ups, w->up, &w->question, 42, NULL, w->f->now + SB_S, done);
}

static inline void finish(world *w)
{
    assert_int_equal(fake_open_datagrams(w->f), 0);
    sb_exchange_fini(&w->x);
    sb_exchange_fini(&w->x);
    fake_free(w->f);
    test_free(w);
}

static inline void ended(world *w, sb_status status)
{
    assert_int_equal(w->done, 0); /* never under its caller */
    fake_drain(w->f);
    assert_int_equal(w->done, 1);
    assert_int_equal(w->x.op.status, status);
    assert_int_equal(fake_open_datagrams(w->f), 0);
    assert_true((status == SB_OK) == (w->x.answer != NULL));
}

/* Where the exchange was last heard: its datagram socket, or the connection it uses. */
static inline unsigned last_index(const world *w)
{
    for (unsigned i = w->f->count; w->x.over_tcp && i-- > 0;)
        if (w->f->sockets[i].stream)
            return i;
    return w->f->count - 1;
}

static inline fake_socket *last_socket(world *w)
{
    return &w->f->sockets[last_index(w)];
}

/* What the server was asked, without the length of TCP. */
static inline sb_msg asked(world *w)
{
    fake_socket *s = last_socket(w);
    size_t skip = s->stream ? 2 : 0;
    sb_msg msg;
    if (skip)
        assert_int_equal(sb_load_u16(s->sent), s->sent_size - 2);
    assert_int_equal(sb_msg_parse(s->sent + skip, s->sent_size - skip, &msg), SB_OK);
    return msg;
}

typedef struct script {
    uint16_t rcode, flags, id_change;
    sb_question question; /* name.size 0: that of the query */
    bool no_question, address, edns;
    bool folds; /* the question in lower case */
    int ede;    /* 0 none */
    size_t cut;
    const uint8_t *cookie; /* option value */
    size_t cookie_size;
} script;

static inline size_t reply(world *w, const script *s, uint8_t *buffer, size_t capacity)
{
    static const uint8_t ip[] = {192, 0, 2, 80};
    uint8_t options[64];
    sb_writer o = sb_writer_of(options, sizeof options);
    sb_builder b;
    sb_msg query = asked(w);
    sb_question question = s->question.name.size ? s->question : query.question;
    if (s->folds)
        sb_name_fold(&question.name);
    sb_builder_init(&b, buffer, capacity, query.id ^ s->id_change,
                    (uint16_t)(SB_FLAG_QR | SB_FLAG_RD | SB_FLAG_RA | s->flags | (s->rcode & 15)));
    if (!s->no_question)
        sb_builder_question(&b, &question);
    if (s->address)
        sb_builder_record(&b, SB_SECTION_ANSWER, &question.name, SB_TYPE_A, SB_CLASS_IN, 60,
                          (sb_span){ip, 4});
    if (s->ede) {
        sb_write_u16(&o, SB_OPT_EDE);
        sb_write_u16(&o, 2);
        sb_write_u16(&o, (uint16_t)s->ede);
    }
    if (s->cookie) {
        sb_write_u16(&o, SB_OPT_COOKIE);
        sb_write_u16(&o, (uint16_t)s->cookie_size);
        sb_write_bytes(&o, s->cookie, s->cookie_size);
    }
    if (s->edns || o.size > 0 || s->rcode > 15)
        sb_builder_edns(&b, 1232, (uint8_t)(s->rcode >> 4), false, (sb_span){options, o.size});
    size_t size = sb_builder_finish(&b);
    assert_true(size > 0);
    return size - s->cut;
}

static inline void udp_bytes(world *w, const void *bytes, size_t size, sb_addr from)
{
    unsigned i = last_index(w);
    fake_socket *s = &w->f->sockets[i];
    sb_datagram datagram = {.bytes = bytes, .size = size, .from = from};
    assert_true(s->open && !s->stream);
    s->udp->received(s->owner, (sb_socket){i, i + 1}, &datagram);
}

static inline void udp_reply(world *w, script s)
{
    uint8_t buffer[1024];
    size_t size = reply(w, &s, buffer, sizeof buffer);
    udp_bytes(w, buffer, size, w->server.addr);
}

static inline void tcp_connect(world *w)
{
    unsigned i = last_index(w);
    fake_socket *s = &w->f->sockets[i];
    assert_true(s->open && s->stream);
    s->tcp->connected(s->owner, (sb_socket){i, i + 1});
}

static inline void tcp_bytes(world *w, const void *bytes, size_t size)
{
    unsigned i = last_index(w);
    fake_socket *s = &w->f->sockets[i];
    assert_true(s->open && s->stream);
    s->tcp->received(s->owner, (sb_socket){i, i + 1}, bytes, size);
}

static inline void tcp_close(world *w, sb_status why)
{
    unsigned i = last_index(w);
    fake_socket *s = &w->f->sockets[i];
    s->open = false;
    s->tcp->closed(s->owner, (sb_socket){i, i + 1}, why);
}

static inline size_t framed(world *w, script s, uint8_t *buffer, size_t capacity)
{
    size_t size = reply(w, &s, buffer + 2, capacity - 2);
    sb_store_u16(buffer, (uint16_t)size);
    return size + 2;
}

static const script good = {.address = true, .edns = true};

#endif
