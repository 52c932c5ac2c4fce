/* See server.h. */
#include "sim/server.h"

#include <string.h>

#include "dns/rdata.h"

static void reset_conns(server *sv);
static void datagram(sim_host *host, sim *s, const sb_addr *from, const sb_addr *to,
                     const uint8_t *bytes, size_t size);
static bool accepted(sim_host *host, sim *s, sb_socket conn);
static void received(sim_host *host, sim *s, sb_socket conn, const uint8_t *bytes, size_t size);
static void closed(sim_host *host, sim *s, sb_socket conn, sb_status why);
static size_t respond(server *sv, const sb_msg *query, bool stream, uint8_t *out, size_t capacity);
static size_t honest(server *sv, const sb_msg *query, bool stream, uint8_t *out, size_t capacity);
static size_t short_reply(server *sv, const sb_msg *query, unsigned rcode, uint16_t flags, int ede,
                          uint8_t *out, size_t capacity);
static size_t forged(server *sv, const sb_msg *query, const sb_question *question, uint16_t id,
                     uint8_t *out, size_t capacity);
static size_t beside(const sb_msg *query, const sb_name *owner, uint16_t type, uint8_t *out,
                     size_t capacity);
static void send_all(server *sv, const sb_msg *query, const sb_addr *to, const uint8_t *bytes,
                     size_t size);
static void stream_message(server *sv, sb_socket conn, const uint8_t *bytes, size_t size);
static void close_conn(server *sv, int at);

#define COOKIE_OPTION 20 /* code, size, client's and server's eight bytes */
static size_t cookie(const server *sv, const sb_msg *query, uint8_t option[COOKIE_OPTION],
                     bool *ret_known);

static uint8_t scratch[SB_MSG_MAX + 2];

static const char *const mode_text[] = {
#define MODE_TEXT(id, text) text,
    SERVER_MODE_TABLE(MODE_TEXT)
#undef MODE_TEXT
};

const char *server_mode_text(server_mode mode)
{
    return (unsigned)mode < SERVER_MODE_COUNT ? mode_text[mode] : "?";
}

bool server_mode_parse(const char *text, server_mode *ret_mode)
{
    for (unsigned i = 0; i < SERVER_MODE_COUNT; i++) {
        if (strcmp(text, mode_text[i]) == 0) {
            *ret_mode = (server_mode)i;
            return true;
        }
    }
    return false;
}

bool server_mode_helps(server_mode mode)
{
    return mode == SERVER_HONEST || mode == SERVER_SLOW || mode == SERVER_TRUNCATING ||
           mode == SERVER_NO_EDNS || mode == SERVER_STORMY || mode == SERVER_STUTTERING;
}

void server_init(server *sv, sim *s, const char *name, const sb_addr *addr, sb_ns delay_min,
                 sb_ns delay_max, const server_world *world)
{
    *sv = (server){.s = s, .world = world, .slow = SB_S};
    sv->host = (sim_host){.addr = *addr,
                          .link = {.delay_min = delay_min, .delay_max = delay_max},
                          .owner = sv,
                          .datagram = datagram,
                          .accepted = accepted,
                          .received = received,
                          .closed = closed};
    strncpy(sv->name, name, sizeof sv->name - 1);
    sim_host_add(s, &sv->host);
}

void server_set_mode(server *sv, server_mode mode)
{
    sv->mode = mode;
    sv->host.reach = mode == SERVER_CLOSED        ? SIM_PORT_CLOSED
                     : mode == SERVER_UNREACHABLE ? SIM_UNREACHABLE
                     : mode == SERVER_NO_ROUTE    ? SIM_NO_ROUTE
                     : mode == SERVER_SILENT      ? SIM_BLACKHOLE
                                                  : SIM_UP;
    sv->host.stream_closed = mode == SERVER_CUT || sv->no_tcp;
    if (mode == SERVER_CUT || mode == SERVER_CLOSED) /* those that stand go as well */
        reset_conns(sv);
}

static void reset_conns(server *sv)
{
    for (unsigned i = 0; i < SB_ARRAY_SIZE(sv->conn); i++) {
        if (sb_socket_valid(sv->conn[i].socket))
            sim_conn_reset(sv->s, sv->conn[i].socket);
        sv->conn[i].socket = (sb_socket){0};
    }
}

/* As a forwarder that forgets nothing: questions to us, answers to whoever asked. */
static void forward(server *sv, const sb_msg *query, const sb_addr *from, const uint8_t *bytes,
                    size_t size)
{
    const sb_addr us = sb_addr_4((const uint8_t[4]){127, 0, 0, 1}, 53);
    unsigned n = SB_ARRAY_SIZE(sv->forwarded);
    if (!(query->flags & SB_FLAG_QR)) {
        unsigned at = sv->forwards++ % n;
        sv->forwarded[at].id = query->id;
        sv->forwarded[at].from = *from;
        sim_send(sv->s, &sv->host, &us, bytes, size);
        return;
    }
    for (unsigned i = 0; i < n; i++)
        if (sv->forwarded[i].id == query->id && sv->forwarded[i].from.family) {
            sim_send(sv->s, &sv->host, &sv->forwarded[i].from, bytes, size);
            sv->forwarded[i].from.family = SB_FAMILY_NONE;
        }
}

static void datagram(sim_host *host, sim *s, const sb_addr *from, const sb_addr *to,
                     const uint8_t *bytes, size_t size)
{
    (void)s;
    (void)to;
    server *sv = host->owner;
    sb_msg query;
    if (sb_msg_parse(bytes, size, &query) != SB_OK || !query.has_question)
        return;
    if (sv->mode == SERVER_LOOPING) {
        forward(sv, &query, from, bytes, size);
        return;
    }
    if (query.flags & SB_FLAG_QR)
        return;
    sv->queries++;
    if (sv->world->asked)
        sv->world->asked(sv->world->context, sv, &query, false);
    size_t n = respond(sv, &query, false, scratch, SB_MSG_MAX);
    if (n > 0)
        send_all(sv, &query, from, scratch, n);
}

/* How a response in this mode gets on its way. */
static void send_all(server *sv, const sb_msg *query, const sb_addr *to, const uint8_t *bytes,
                     size_t size)
{
    sb_rand *r = sim_rand(sv->s);
    sb_ns delay = sb_rand_range(r, sv->host.link.delay_min, sv->host.link.delay_max);
    sb_addr from = sv->host.addr;
    uint8_t lie[SB_EDNS_UDP_SIZE];
    switch (sv->mode) {
    case SERVER_SLOW:
        sim_inject(sv->s, &from, to, bytes, size, delay + sv->slow);
        return;
    case SERVER_STUTTERING:
        if (sb_rand_chance(r, 50))
            delay += sv->slow;
        sim_inject(sv->s, &from, to, bytes, size, delay);
        return;
    case SERVER_WRONG_PORT:
        from.port = (uint16_t)(from.port + 1);
        sim_inject(sv->s, &from, to, bytes, size, delay);
        return;
    case SERVER_STORMY:
        for (unsigned i = 0; i < 3; i++) {
            size_t n =
                forged(sv, query, &query->question, (uint16_t)(query->id + 1 + i), lie, sizeof lie);
            sim_inject(sv->s, &from, to, lie, n, delay);
            sim_inject(sv->s, &from, to, bytes, size, delay);
        }
        return;
    default:
        sim_send(sv->s, &sv->host, to, bytes, size);
    }
}

/* 0: say nothing. */
static size_t respond(server *sv, const sb_msg *query, bool stream, uint8_t *out, size_t capacity)
{
    sb_rand *r = sim_rand(sv->s);
    sb_question other = query->question;
    size_t n;
    switch (sv->mode) {
    case SERVER_SERVFAIL:
        return short_reply(sv, query, SB_RCODE_SERVFAIL, 0, SB_EDE_NONE, out, capacity);
    case SERVER_REFUSED:
        return short_reply(sv, query, SB_RCODE_REFUSED, 0, SB_EDE_NONE, out, capacity);
    case SERVER_BLOCKED:
        return short_reply(sv, query, SB_RCODE_REFUSED, 0, 15, out, capacity);
    case SERVER_BOGUS:
        if (query->flags & SB_FLAG_CD)
            return honest(sv, query, stream, out, capacity);
        return short_reply(sv, query, SB_RCODE_SERVFAIL, 0, 6, out, capacity);
    case SERVER_NO_EDNS:
        if (query->edns.present)
            return short_reply(sv, query, SB_RCODE_FORMERR, 0, SB_EDE_NONE, out, capacity);
        return honest(sv, query, stream, out, capacity);
    case SERVER_TRUNCATING:
    case SERVER_CUT:
    case SERVER_RESETTING:
        if (!stream)
            return short_reply(sv, query, SB_RCODE_NOERROR, SB_FLAG_TC, SB_EDE_NONE, out, capacity);
        return honest(sv, query, stream, out, capacity);
    case SERVER_GARBAGE:
        n = forged(sv, query, &query->question, query->id, out, capacity);
        for (size_t i = SB_MSG_HEADER + query->question_size; i < n; i++)
            out[i] = (uint8_t)sb_rand_u64(r) | 1; /* no record of it parses to the end */
        return n;
    case SERVER_NOISE:
        n = 1 + (size_t)sb_rand_below(r, 200);
        for (size_t i = 0; i < n; i++)
            out[i] = (uint8_t)sb_rand_u64(r);
        return n;
    case SERVER_WRONG_ID:
        return forged(sv, query, &query->question,
                      (uint16_t)(query->id + 1 + sb_rand_below(r, 65535)), out, capacity);
    case SERVER_WRONG_QUESTION:
        if (sb_rand_chance(r, 500)) {
            other.type = other.type == SB_TYPE_A ? SB_TYPE_AAAA : SB_TYPE_A;
        } else {
            uint8_t *last = &other.name.wire[1]; /* first letter of the first label */
            *last = *last == 'x' || *last == 'X' ? 'y' : 'x';
        }
        return forged(sv, query, &other, query->id, out, capacity);
    case SERVER_BESIDE:
        other.name.wire[1] = other.name.wire[1] == 'x' ? 'y' : 'x';
        return beside(query, &other.name, other.type, out, capacity);
    case SERVER_WRONG_TYPE:
        other.type = other.type == SB_TYPE_TXT ? SB_TYPE_A : SB_TYPE_TXT;
        return beside(query, &other.name, other.type, out, capacity);
    case SERVER_ENDLESS:
        return short_reply(sv, query, SB_RCODE_NOERROR, SB_FLAG_TC, SB_EDE_NONE, out, capacity);
    case SERVER_BARE:
        return short_reply(sv, query, SB_RCODE_NOERROR, 0, SB_EDE_NONE, out, capacity);
    case SERVER_ECHO:
        memcpy(out, query->bytes.data, query->bytes.size);
        return query->bytes.size;
    default:
        return honest(sv, query, stream, out, capacity);
    }
}

static size_t honest(server *sv, const sb_msg *query, bool stream, uint8_t *out, size_t capacity)
{
    sb_builder b;
    uint16_t flags = SB_FLAG_QR | SB_FLAG_RA | (query->flags & (SB_FLAG_RD | SB_FLAG_CD));
    if (sv->says_ad)
        flags |= SB_FLAG_AD;
    sb_question question = query->question;
    question.dnssec_ok = query->edns.present && query->edns.dnssec_ok;
    question.checking_disabled = query->flags & SB_FLAG_CD;
    if (sv->folds)
        sb_name_fold(&question.name);
    sb_builder_init(&b, out, capacity, query->id, flags);
    sb_builder_question(&b, &question);
    uint8_t option[COOKIE_OPTION];
    bool known = true;
    size_t option_size = sv->cookies ? cookie(sv, query, option, &known) : 0;
    bool refused = sv->strict && !known && !stream;
    bool lies = (sv->mode == SERVER_DENYING || sv->mode == SERVER_LYING) && sv->world->lie;
    unsigned rcode = SB_RCODE_BADCOOKIE & 15;
    if (!refused)
        rcode = (lies ? sv->world->lie : sv->world->compose)(sv->world->context, sv, &question, &b);
    if (query->edns.present)
        sb_builder_edns(&b, SB_EDNS_UDP_SIZE, refused ? SB_RCODE_BADCOOKIE >> 4 : 0,
                        question.dnssec_ok, (sb_span){option, option_size});
    size_t n = sb_builder_finish(&b);
    SB_ASSERT(n > 0);
    sb_store_u16(out + 2, (uint16_t)(flags | rcode));
    size_t limit = query->edns.present ? query->edns.udp_size : 512;
    if (!stream && n > limit)
        return short_reply(sv, query, SB_RCODE_NOERROR, SB_FLAG_TC, SB_EDE_NONE, out, capacity);
    if (!refused && sv->world->said && sv->mode != SERVER_RESETTING &&
        (stream || sv->mode != SERVER_WRONG_PORT)) {
        sb_ns latest = sim_now(sv->s) + sv->host.link.delay_max +
                       (sv->mode == SERVER_SLOW || sv->mode == SERVER_STUTTERING ? sv->slow : 0) +
                       (stream ? SB_S / 2 : 0);
        sv->world->said(sv->world->context, sv, &question, out, n, latest);
    }
    return n;
}

/* The COOKIE option to answer with; 0 when the query has none. The server's part is the client's,
 * under its secret: enough to tell whether it came from us. */
static size_t cookie(const server *sv, const sb_msg *query, uint8_t option[COOKIE_OPTION],
                     bool *ret_known)
{
    sb_span theirs;
    if (!sb_edns_option(&query->edns, SB_OPT_COOKIE, &theirs) || theirs.size < 8)
        return 0;
    sb_writer w = sb_writer_of(option, COOKIE_OPTION);
    sb_write_u16(&w, SB_OPT_COOKIE);
    sb_write_u16(&w, 16);
    sb_write_bytes(&w, theirs.data, 8);
    for (unsigned i = 0; i < 8; i++)
        sb_write_u8(&w, (uint8_t) ~(theirs.data[i] ^ sv->cookie_secret));
    *ret_known = theirs.size == 16 && memcmp(theirs.data + 8, option + 12, 8) == 0;
    if (sv->garbles)
        option[4] ^= 1;
    return w.size;
}

static size_t short_reply(server *sv, const sb_msg *query, unsigned rcode, uint16_t flags, int ede,
                          uint8_t *out, size_t capacity)
{
    sb_builder b;
    sb_question question = query->question;
    uint8_t options[6 + COOKIE_OPTION] = {0, SB_OPT_EDE, 0, 2, 0, (uint8_t)ede};
    size_t size = ede == SB_EDE_NONE ? 0 : 6;
    bool known;
    if (sv->cookies)
        size += cookie(sv, query, options + size, &known);
    if (sv->folds)
        sb_name_fold(&question.name);
    sb_builder_init(&b, out, capacity, query->id,
                    (uint16_t)(SB_FLAG_QR | SB_FLAG_RA | flags |
                               (query->flags & (SB_FLAG_RD | SB_FLAG_CD)) | rcode));
    sb_builder_question(&b, &question);
    if (query->edns.present && rcode != SB_RCODE_FORMERR)
        sb_builder_edns(&b, SB_EDNS_UDP_SIZE, 0, query->edns.dnssec_ok, (sb_span){options, size});
    return sb_builder_finish(&b);
}

static size_t forged(server *sv, const sb_msg *query, const sb_question *question, uint16_t id,
                     uint8_t *out, size_t capacity)
{
    sb_builder b;
    sb_builder_init(&b, out, capacity, id, SB_FLAG_QR | SB_FLAG_RA | SB_FLAG_RD);
    sb_builder_question(&b, question);
    if (sv->world->forge)
        sv->world->forge(sv->world->context, sv, question, &b);
    if (query->edns.present)
        sb_builder_edns(&b, SB_EDNS_UDP_SIZE, 0, false, (sb_span){0});
    return sb_builder_finish(&b);
}

/* The right question, and one record that is no answer to it. */
static size_t beside(const sb_msg *query, const sb_name *owner, uint16_t type, uint8_t *out,
                     size_t capacity)
{
    static const uint8_t rdata[] = {3, 66, 66, 66};
    sb_builder b;
    sb_builder_init(&b, out, capacity, query->id, SB_FLAG_QR | SB_FLAG_RA | SB_FLAG_RD);
    sb_builder_question(&b, &query->question);
    sb_builder_record(&b, SB_SECTION_ANSWER, owner, type, SB_CLASS_IN, 3600,
                      (sb_span){rdata, sizeof rdata});
    if (query->edns.present)
        sb_builder_edns(&b, SB_EDNS_UDP_SIZE, 0, false, (sb_span){0});
    return sb_builder_finish(&b);
}

static bool accepted(sim_host *host, sim *s, sb_socket conn)
{
    (void)s;
    server *sv = host->owner;
    for (unsigned i = 0; i < 8; i++) {
        if (sb_socket_valid(sv->conn[i].socket))
            continue;
        sv->conn[i].socket = conn;
        sv->conn[i].size = sv->conn[i].answered = 0;
        sv->conns++;
        return true;
    }
    return false;
}

static int conn_index(const server *sv, sb_socket conn)
{
    for (int i = 0; i < 8; i++) {
        if (sv->conn[i].socket.index == conn.index &&
            sv->conn[i].socket.generation == conn.generation)
            return i;
    }
    return -1;
}

static void received(sim_host *host, sim *s, sb_socket conn, const uint8_t *bytes, size_t size)
{
    server *sv = host->owner;
    int at = conn_index(sv, conn);
    if (at < 0)
        return;
    uint8_t *buffer = sv->conn[at].bytes;
    if (size > sizeof sv->conn[at].bytes - sv->conn[at].size) {
        sim_conn_reset(s, conn);
        sv->conn[at].socket = (sb_socket){0};
        return;
    }
    memcpy(buffer + sv->conn[at].size, bytes, size);
    sv->conn[at].size += size;
    while (sv->conn[at].size >= 2) {
        size_t n = sb_load_u16(buffer);
        if (sv->conn[at].size < 2 + n)
            return;
        stream_message(sv, conn, buffer + 2, n);
        if (!sb_socket_valid(sv->conn[at].socket))
            return;
        sv->conn[at].size -= 2 + n;
        memmove(buffer, buffer + 2 + n, sv->conn[at].size);
    }
}

static void stream_message(server *sv, sb_socket conn, const uint8_t *bytes, size_t size)
{
    sb_msg query;
    if (sb_msg_parse(bytes, size, &query) != SB_OK || !query.has_question)
        return;
    int at = conn_index(sv, conn);
    if (sv->closes_late && sv->conn[at].answered >= sv->answers_per_conn) {
        close_conn(sv, at);
        return;
    }
    sv->stream_queries++;
    if (sv->world->asked)
        sv->world->asked(sv->world->context, sv, &query, true);
    size_t n = respond(sv, &query, true, scratch + 2, SB_MSG_MAX);
    if (n == 0)
        return;
    sb_store_u16(scratch, (uint16_t)n);
    if (sv->mode == SERVER_RESETTING) {
        sim_conn_write(sv->s, conn, scratch, 2 + n / 2);
        sim_conn_reset(sv->s, conn);
        sv->conn[at].socket = (sb_socket){0};
        return;
    }
    sim_conn_write(sv->s, conn, scratch, n + 2);
    if (++sv->conn[at].answered == sv->answers_per_conn && !sv->closes_late)
        close_conn(sv, at);
}

/* What was said arrives first. */
static void close_conn(server *sv, int at)
{
    sim_conn_close(sv->s, sv->conn[at].socket);
    sv->conn[at].socket = (sb_socket){0};
}

static void closed(sim_host *host, sim *s, sb_socket conn, sb_status why)
{
    (void)s;
    (void)why;
    server *sv = host->owner;
    int at = conn_index(sv, conn);
    if (at >= 0)
        sv->conn[at].socket = (sb_socket){0};
}
