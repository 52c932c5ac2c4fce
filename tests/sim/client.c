/* See client.h. */
#include "sim/client.h"

#include <string.h>

#include "base/mem.h"

/* What a reply may take beyond the program's own limit: links, the front's own turn. */
#define GRACE (50 * SB_MS)

static size_t write_query(const ask *a, uint8_t *out, size_t capacity);
static void send_udp(client *c, const ask *a);
static void engine_done(sb_op *op);
static void sink(void *context, uint64_t tag, const sb_addr *to, const sb_addr *from,
                 const uint8_t *bytes, size_t size);
static void datagram(sim_host *host, sim *s, const sb_addr *from, const sb_addr *to,
                     const uint8_t *bytes, size_t size);
static void arrived(client *c, const uint8_t *bytes, size_t size, client_way way);
static void overdue(void *context, uint64_t argument);
static void stream_ask(client *c, ask *a, const uint8_t *bytes, size_t size,
                       const client_request *request);
static void conn_connected(void *owner, sim *s, sb_socket conn);
static void conn_received(void *owner, sim *s, sb_socket conn, const uint8_t *bytes, size_t size);
static void conn_closed(void *owner, sim *s, sb_socket conn, sb_status why);

static const sim_conn_events conn_events = {conn_connected, conn_received, conn_closed};
static const sb_addr front_addr = {.bytes = {127, 0, 0, 1}, .port = 53, .family = SB_FAMILY_4};
static const sb_addr client_addr = {.bytes = {127, 0, 7, 7}, .port = 0, .family = SB_FAMILY_4};

void client_init(client *c, sim *s, subject *d)
{
    for (unsigned i = 0; i < CLIENT_ASKS; i++) {
        c->asks[i].c = c;
        c->asks[i].index = i;
        c->asks[i].state = ASK_FREE;
        c->asks[i].generation = 0;
    }
    for (unsigned i = 0; i < CLIENT_CONNS; i++) {
        c->conns[i].c = c;
        c->conns[i].open = false;
    }
    c->s = s;
    c->d = d;
    c->next = 0;
    c->asked = c->ended = c->given_up = 0;
    c->host = (sim_host){.addr = client_addr,
                         .link = {20 * SB_US, 200 * SB_US, 0, 0},
                         .owner = c,
                         .datagram = datagram};
    sim_host_add(s, &c->host);
}

ask *client_ask(client *c, const client_request *request)
{
    ask *a = NULL;
    for (unsigned i = 0; i < CLIENT_ASKS && !a; i++) {
        ask *candidate = &c->asks[c->next++ % CLIENT_ASKS];
        if (candidate->state != ASK_WAITING)
            a = candidate;
    }
    if (!a || !c->d->up)
        return NULL;
    a->state = ASK_WAITING;
    a->generation++;
    a->way = request->way;
    a->question = request->question;
    a->edns = request->edns;
    a->flags = request->flags;
    a->udp_size = request->udp_size;
    a->word = request->word;
    a->conn = -1;
    a->resent = false;
    a->id = (uint16_t)((unsigned)a->generation << 8 | a->index);
    a->asked_at = sim_now(c->s);
    a->deadline = a->asked_at + request->timeout;
    if (a->way == WAY_ENGINE && request->deadline < a->deadline)
        a->deadline = request->deadline;
    a->dead_at_ask =
        sb_pool_dead(sb_engine_upstreams(c->d->engine),
                     sb_upstreams_pool(sb_engine_upstreams(c->d->engine), &a->question.name));
    c->asked++;
    sim_at(c->s, a->deadline + (a->way == WAY_ENGINE ? SB_MS : GRACE), overdue, c,
           (uint64_t)a->generation << 32 | a->index);
    if (a->way == WAY_ENGINE) {
        /* SB_NEVER leaves the limit to the engine. Its clock counts from its boot. */
        sb_ns boot = a->asked_at - sb_env_now(c->d->env);
        a->query.question = a->question;
        a->query.ask = a->flags;
        sb_engine_ask(c->d->engine, &a->query, NULL,
                      request->deadline == SB_NEVER ? SB_NEVER : request->deadline - boot,
                      engine_done);
        return a;
    }
    if (a->way == WAY_UDP) {
        send_udp(c, a);
        return a;
    }
    uint8_t bytes[600];
    size_t size = write_query(a, bytes + 2, sizeof bytes - 2);
    sb_addr from = client_addr;
    from.port = (uint16_t)(20000 + a->index);
    if (a->way == WAY_DATAGRAM)
        sb_dns_front_datagram(c->d->front, bytes + 2, size, &from, &front_addr, sink, c, a->id);
    else
        stream_ask(c, a, bytes, size, request);
    return a;
}

static void send_udp(client *c, const ask *a)
{
    uint8_t bytes[600];
    size_t size = write_query(a, bytes, sizeof bytes);
    sb_addr from = client_addr;
    from.port = (uint16_t)(20000 + a->index);
    sim_inject(c->s, &from, &front_addr, bytes, size, 50 * SB_US);
}

void client_resend(client *c, ask *a)
{
    if (a->state != ASK_WAITING || a->way != WAY_UDP || !c->d->up)
        return;
    a->resent = true;
    send_udp(c, a);
}

void client_give_up(client *c, ask *a)
{
    if (a->state != ASK_WAITING)
        return;
    a->state = ASK_GIVEN_UP;
    c->given_up++;
    if (a->way == WAY_ENGINE) {
        sb_op_cancel(&a->query.op);
        sb_query_fini(&a->query);
    }
}

void client_give_up_all(client *c)
{
    for (unsigned i = 0; i < CLIENT_ASKS; i++)
        client_give_up(c, &c->asks[i]);
    for (unsigned i = 0; i < CLIENT_CONNS; i++) {
        if (c->conns[i].open)
            sim_conn_close(c->s, c->conns[i].socket);
        c->conns[i].open = false;
    }
}

unsigned client_waiting(const client *c)
{
    unsigned n = 0;
    for (unsigned i = 0; i < CLIENT_ASKS; i++)
        n += c->asks[i].state == ASK_WAITING;
    return n;
}

void client_junk(client *c, const uint8_t *bytes, size_t size)
{
    sb_addr from = client_addr;
    from.bytes[3] = 99;
    from.port = 9999;
    sim_inject(c->s, &from, &front_addr, bytes, size, 50 * SB_US);
}

static size_t write_query(const ask *a, uint8_t *out, size_t capacity)
{
    sb_builder b;
    uint8_t option[6] = {SB_OPT_PROVENANCE >> 8, SB_OPT_PROVENANCE & 0xff, 0, 2, 1, a->flags};
    uint16_t flags = SB_FLAG_RD;
    if (a->question.checking_disabled)
        flags |= SB_FLAG_CD;
    sb_builder_init(&b, out, capacity, a->id, flags);
    sb_builder_question(&b, &a->question);
    if (a->edns)
        sb_builder_edns(&b, a->udp_size, 0, a->question.dnssec_ok,
                        (sb_span){option, a->way == WAY_UNIX ? sizeof option : 0});
    return sb_builder_finish(&b);
}

/* What the front would have sent, so that one judge serves all. */
static void engine_done(sb_op *op)
{
    static uint8_t bytes[SB_MSG_MAX];
    sb_query *q = sb_container_of(op, sb_query, op);
    ask *a = sb_container_of(q, ask, query);
    client *c = a->c;
    if (a->state != ASK_WAITING) {
        c->broken(c->context, a, "done after its end");
        return;
    }
    a->state = ASK_ENDED;
    c->ended++;
    if (sim_now(c->s) > a->deadline)
        c->broken(c->context, a, "done after its deadline");
    sb_query_info info = {.id = a->id,
                          .flags = SB_FLAG_RD,
                          .question = a->question,
                          .has_question = true,
                          .has_edns = true,
                          .udp_size = 1232};
    sb_reply_body body;
    sb_query_body(q, false, NULL, &body);
    size_t size = sb_reply_encode(&info, &body, SB_TRANSPORT_STREAM, bytes, sizeof bytes);
    c->replied(c->context, a, bytes, size, q);
    sb_query_fini(q);
}

static void sink(void *context, uint64_t tag, const sb_addr *to, const sb_addr *from,
                 const uint8_t *bytes, size_t size)
{
    (void)to;
    (void)from;
    if (size < 2 || sb_load_u16(bytes) != tag) {
        client *c = context;
        c->broken(c->context, &c->asks[tag & 0xff], "a reply under another question's tag");
        return;
    }
    arrived(context, bytes, size, WAY_DATAGRAM);
}

static void datagram(sim_host *host, sim *s, const sb_addr *from, const sb_addr *to,
                     const uint8_t *bytes, size_t size)
{
    (void)s;
    client *c = host->owner;
    if (size < 2)
        return;
    ask *a = &c->asks[bytes[1]];
    if (!sb_addr_equal(from, &front_addr))
        c->broken(c->context, a, "the reply leaves from another address than was asked");
    if (to->port != 20000 + a->index)
        c->broken(c->context, a, "the reply went to another port than asked from");
    arrived(c, bytes, size, WAY_UDP);
}

static void arrived(client *c, const uint8_t *bytes, size_t size, client_way way)
{
    if (size < 2)
        return;
    uint16_t id = sb_load_u16(bytes);
    ask *a = &c->asks[id & 0xff];
    if (a->id != id || a->way != way || a->state == ASK_GIVEN_UP || a->state == ASK_FREE)
        return; /* late, for one who is gone */
    if (a->state == ASK_ENDED && a->resent)
        return;
    if (a->state == ASK_ENDED) {
        c->broken(c->context, a, "two replies");
        return;
    }
    a->state = ASK_ENDED;
    c->ended++;
    c->replied(c->context, a, bytes, size, NULL);
}

static void overdue(void *context, uint64_t argument)
{
    client *c = context;
    ask *a = &c->asks[argument & 0xff];
    if (a->state != ASK_WAITING || a->generation != (uint8_t)(argument >> 32) ||
        sim_now(c->s) < a->deadline)
        return;
    c->broken(c->context, a, "no reply by the deadline");
    client_give_up(c, a);
}

/* --- streams --- */

static client_conn *conn_for(client *c, bool is_unix, bool new_conn)
{
    client_conn *spare = NULL;
    for (unsigned i = 0; i < CLIENT_CONNS; i++) {
        client_conn *conn = &c->conns[i];
        if (conn->open && conn->is_unix == is_unix && !new_conn && !conn->last)
            return conn;
        if (!conn->open)
            spare = conn;
    }
    if (!spare)
        return c->conns[0].is_unix == is_unix && !c->conns[0].last ? &c->conns[0] : NULL;
    sb_addr from = client_addr;
    from.port = (uint16_t)(30000 + (spare - c->conns));
    spare->open = true;
    spare->ready = spare->last = false;
    spare->is_unix = is_unix;
    spare->size = spare->waiting_size = 0;
    spare->socket = sim_connect(c->s, is_unix ? NULL : &from, is_unix ? NULL : &front_addr,
                                is_unix ? SUBJECT_SOCKET : NULL, 1000, &conn_events, spare);
    return spare;
}

static void stream_ask(client *c, ask *a, const uint8_t *bytes, size_t size,
                       const client_request *request)
{
    client_conn *conn = conn_for(c, a->way == WAY_UNIX, request->new_conn);
    uint8_t framed[600];
    if (!conn || (!conn->ready && conn->waiting_size + size + 2 > sizeof conn->waiting)) {
        client_give_up(c, a);
        return;
    }
    a->conn = (int)(conn - c->conns);
    memcpy(framed + 2, bytes + 2, size);
    sb_store_u16(framed, (uint16_t)size);
    conn->last = request->half_close;
    if (conn->ready) {
        sim_conn_write(c->s, conn->socket, framed, size + 2);
        if (conn->last)
            sim_conn_shutdown(c->s, conn->socket);
        return;
    }
    memcpy(conn->waiting + conn->waiting_size, framed, size + 2);
    conn->waiting_size += size + 2;
}

static void conn_connected(void *owner, sim *s, sb_socket socket)
{
    client_conn *conn = owner;
    conn->ready = true;
    if (conn->waiting_size)
        sim_conn_write(s, socket, conn->waiting, conn->waiting_size);
    conn->waiting_size = 0;
    if (conn->last)
        sim_conn_shutdown(s, socket);
}

static void conn_received(void *owner, sim *s, sb_socket socket, const uint8_t *bytes, size_t size)
{
    client_conn *conn = owner;
    client *c = conn->c;
    (void)s;
    (void)socket;
    while (size > 0) {
        size_t room = sizeof conn->bytes - conn->size;
        size_t n = size < room ? size : room;
        memcpy(conn->bytes + conn->size, bytes, n);
        conn->size += n;
        bytes += n;
        size -= n;
        while (conn->size >= 2 && conn->size >= 2u + sb_load_u16(conn->bytes)) {
            size_t whole = 2u + sb_load_u16(conn->bytes);
            arrived(c, conn->bytes + 2, whole - 2, conn->is_unix ? WAY_UNIX : WAY_TCP);
            memmove(conn->bytes, conn->bytes + whole, conn->size - whole);
            conn->size -= whole;
        }
    }
}

/* Idle ones may be closed; not those with questions under way. A question that crossed the end is
 * asked again by real clients: here it is given up. */
static void conn_closed(void *owner, sim *s, sb_socket socket, sb_status why)
{
    client_conn *conn = owner;
    client *c = conn->c;
    (void)socket;
    (void)why;
    conn->open = false;
    for (unsigned i = 0; i < CLIENT_ASKS; i++) {
        ask *a = &c->asks[i];
        if (a->state != ASK_WAITING || a->conn != (int)(conn - c->conns))
            continue;
        if (sim_now(s) > a->asked_at + 100 * SB_MS && c->d->up)
            c->broken(c->context, a, "the connection was closed under it");
        client_give_up(c, a);
    }
}
