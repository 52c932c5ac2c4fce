/* One question put to one server: UDP with EDNS, without it when refused, TCP when truncated or
 * crowded.
 *
 * Owns its socket and the bytes of the response under way; never retries on another server and
 * never decides what an answer is worth. RFC 1035, 5452 (matching), 6891 (EDNS fall-back), 7766
 * (framing). Loop thread. */
#include "net/exchange.h"

#include <limits.h>
#include <string.h>

#include "base/mem.h"
#include "dns/msg.h"

#define NO_EDNS_FOR (3600 * SB_S) /* a server that was updated is believed within the hour */
#define RESEND_WAIT_MOST (2 * SB_S)
#define STREAM_FIRST 2048 /* most responses over TCP fit */

static void lead(sb_exchange *x);
static void release_followers(sb_exchange *x);
static void ask_udp(sb_exchange *x);
static void ask_tcp(sb_exchange *x);
static void allow_stream(sb_exchange *x);
static size_t write_query(sb_exchange *x, uint8_t *buffer, size_t capacity);
static void sent(sb_exchange *x, sb_protocol protocol);
static void close_socket(sb_exchange *x);
static void udp_received(void *owner, sb_socket socket, const sb_datagram *datagram);
static void udp_failed(void *owner, sb_socket socket, sb_status why);
static void tcp_connected(void *owner, sb_socket socket);
static void tcp_received(void *owner, sb_socket socket, const uint8_t *bytes, size_t size);
static void tcp_closed(void *owner, sb_socket socket, sb_status why);
static bool tcp_gather(sb_exchange *x, const uint8_t *bytes, size_t size);
static void message(sb_exchange *x, const uint8_t *bytes, size_t size);
static sb_reject match(const sb_exchange *x, const uint8_t *bytes, size_t size);
static void reject(sb_exchange *x, sb_reject reason);
static void response(sb_exchange *x, const uint8_t *bytes, size_t size);
static bool wants_no_edns(const sb_exchange *x, const sb_msg *msg);
static sb_status take(sb_exchange *x, const sb_msg *msg);
static void resend(sb_timer *timer);
static void stop(sb_op *op);
static void report(sb_exchange *x);
static bool is_names_own(sb_exchange *x);
static bool is_others_answered(const sb_exchange *x);
static bool is_verdict(int ede);
static void emit(sb_exchange *x, sb_event_type type, uint32_t a, uint32_t b);

static const sb_udp_events udp_events = {udp_received, udp_failed};
static const sb_stream_events tcp_events = {tcp_connected, tcp_received, NULL, tcp_closed};

void sb_exchange_start(sb_exchange *x, sb_upstreams *ups, sb_upstream *server,
                       const sb_question *question, uint32_t flight, sb_op *parent, sb_ns deadline,
                       void (*done)(sb_op *))
{
    sb_env *env = sb_upstreams_env(ups);
    *x = (sb_exchange){.server = sb_upstream_ref(server),
                       .rcode = 0xffff,
                       .ede = SB_EDE_NONE,
                       .flight = flight,
                       .ups = ups,
                       .sends_max = SB_EXCHANGE_SENDS,
                       .question = *question};
    sb_name_fold(&x->question.name);
    if (server->no_edns && server->no_edns_until <= sb_env_now(env))
        server->no_edns = false;
    x->edns = !server->no_edns;
    sb_list_init(&x->link);
    sb_list_init(&x->followers);
    sb_timer_init(&x->resend, resend);
    sb_op_start(&x->op, env, parent, deadline, done, stop);
    sb_list_each (it, &server->exchanges) {
        sb_exchange *leader = sb_container_of(it, sb_exchange, link);
        if (!sb_question_equal(&leader->question, &x->question))
            continue;
        x->following = true;
        sb_list_push(&leader->followers, &x->link);
        return;
    }
    lead(x);
}

static void lead(sb_exchange *x)
{
    x->following = false;
    sb_list_push(&x->server->exchanges, &x->link);
    if (x->server->breaker != SB_BREAKER_CLOSED) {
        x->probing = true;
        sb_upstream_probe_begin(x->ups, x->server);
    }
    if (sb_upstream_wants_stream(x->ups, x->server))
        ask_tcp(x);
    else
        ask_udp(x);
}

/* The end of a leader is its followers' end, but for a cancelled one: the first takes its place. */
static void release_followers(sb_exchange *x)
{
    bool finished = x->op.state == SB_OP_FINISHED;
    sb_list *first = finished ? NULL : sb_list_pop(&x->followers);
    if (first) {
        sb_exchange *next = sb_container_of(first, sb_exchange, link);
        sb_list_splice(&next->followers, &x->followers);
        lead(next);
        return;
    }
    while ((first = sb_list_pop(&x->followers))) {
        sb_exchange *follower = sb_container_of(first, sb_exchange, link);
        follower->answer = x->answer ? sb_answer_ref(x->answer) : NULL;
        follower->rcode = x->rcode;
        follower->ede = x->ede;
        follower->rtt = x->rtt;
        follower->protocol = x->protocol;
        sb_op_finish(&follower->op, x->op.status);
    }
}

void sb_exchange_fini(sb_exchange *x)
{
    if (x->server)
        sb_upstream_unref(x->server);
    sb_answer_unref(x->answer);
    sb_free(x->stream);
    x->server = NULL;
    x->answer = NULL;
    x->stream = NULL;
    x->stream_size = x->stream_capacity = 0;
}

/* A fresh socket each time: port and ID of a query are never used twice (RFC 5452 §9.2). */
static void ask_udp(sb_exchange *x)
{
    sb_env *env = x->op.env;
    sb_udp_options options = {.remote = x->server->addr};
    options.local.family = x->server->addr.family;
    close_socket(x);
    x->near_misses = 0;
    x->query_size = write_query(x, x->query, sizeof x->query);
    sb_status status = env->ops->udp_open(env, &options, &udp_events, x, &x->socket, NULL);
    if (status == SB_OK)
        status = env->ops->udp_send(env, x->socket, NULL, NULL, x->query, x->query_size);
    if (status != SB_OK && status != SB_AGAIN) { /* a full buffer is a packet lost */
        sb_op_finish(&x->op, status);
        return;
    }
    sb_upstream_asked(x->ups, x->server);
    x->sent_at = sb_env_now(env);
    sent(x, SB_PROTOCOL_UDP);
    x->resend_wait = sb_upstream_attempt_timeout(x->server);
    sb_timer_set(env, &x->resend, x->sent_at + x->resend_wait);
}

/* The same bytes from the same port: whichever query is answered, however late, the answer counts.
 * The round trip is taken from the first. */
static void resend(sb_timer *timer)
{
    sb_exchange *x = sb_container_of(timer, sb_exchange, resend);
    sb_env *env = x->op.env;
    if (x->over_tcp)
        return;
    if (x->server->prefers_stream) { /* datagrams are still lost: that was the look at it */
        ask_tcp(x);
        return;
    }
    if (x->sends >= x->sends_max)
        return;
    sb_status status = env->ops->udp_send(env, x->socket, NULL, NULL, x->query, x->query_size);
    if (status != SB_OK && status != SB_AGAIN) {
        sb_op_finish(&x->op, status);
        return;
    }
    sb_upstream_asked_again(x->ups, x->server, x->sent_at);
    sent(x, SB_PROTOCOL_UDP);
    x->resend_wait = x->resend_wait * 2 > RESEND_WAIT_MOST ? RESEND_WAIT_MOST : x->resend_wait * 2;
    sb_timer_set(env, timer, sb_env_now(env) + x->resend_wait);
}

void sb_exchange_repeat(sb_exchange *x)
{
    if (sb_op_running(&x->op) && !x->following)
        resend(&x->resend);
}

static void ask_tcp(sb_exchange *x)
{
    sb_env *env = x->op.env;
    close_socket(x);
    sb_timer_stop(env, &x->resend);
    x->over_tcp = true;
    x->near_misses = 0;
    x->stream_size = 0;
    x->sent_at = sb_env_now(env);
    if (x->server->tls) /* who swallows connections is as silent as who swallows queries */
        sb_upstream_asked(x->ups, x->server);
    allow_stream(x);
    sb_status status =
        env->ops->stream_connect(env, &x->server->addr, x->server->tls ? x->server->tls_name : NULL,
                                 &tcp_events, x, &x->socket, NULL);
    if (status != SB_OK)
        sb_op_finish(&x->op, status);
}

/* What was allowed may have been for one round trip; a stream takes two more, and a large answer
 * some. Never less than was allowed: a slow name is no failure of the server. */
static void allow_stream(sb_exchange *x)
{
    sb_ns least = sb_env_now(x->op.env) + 2 * sb_upstream_attempt_timeout(x->server);
    if (x->op.deadline < least)
        sb_op_set_deadline(&x->op, least);
}

static size_t write_query(sb_exchange *x, uint8_t *buffer, size_t capacity)
{
    sb_builder b;
    uint16_t flags = SB_FLAG_RD;
    x->op.env->ops->entropy(x->op.env, &x->id, sizeof x->id);
    if (x->question.checking_disabled)
        flags |= SB_FLAG_CD;
    if (x->server->trust_ad) /* RFC 6840 §5.7: AD in a query asks for AD */
        flags |= SB_FLAG_AD;
    sb_builder_init(&b, buffer, capacity, x->id, flags);
    sb_builder_question(&b, &x->question);
    if (x->edns)
        sb_builder_edns(&b, SB_EDNS_UDP_SIZE, 0, x->question.dnssec_ok, (sb_span){0});
    size_t size = sb_builder_finish(&b);
    SB_ASSERT(size > 0);
    return size;
}

static void sent(sb_exchange *x, sb_protocol protocol)
{
    x->protocol = (uint8_t)protocol;
    x->server->queries++;
    x->server->mute += protocol == SB_PROTOCOL_UDP && x->server->mute < UINT_MAX;
    sb_count(sb_upstreams_stats(x->ups), SB_COUNT_UP_QUERIES);
    emit(x, SB_EVENT_QUERY, x->protocol, x->sends);
    if (x->sends < UINT8_MAX)
        x->sends++;
}

static void close_socket(sb_exchange *x)
{
    if (sb_socket_valid(x->socket))
        x->op.env->ops->close(x->op.env, x->socket);
    x->socket = (sb_socket){0};
}

static void udp_received(void *owner, sb_socket socket, const sb_datagram *datagram)
{
    sb_exchange *x = owner;
    (void)socket;
    if (!sb_addr_equal(&datagram->from, &x->server->addr)) {
        reject(x, SB_REJECT_SOURCE);
        return;
    }
    message(x, datagram->bytes, datagram->size);
}

/* The port is ours alone and was unguessable: the error is about our query. */
static void udp_failed(void *owner, sb_socket socket, sb_status why)
{
    sb_exchange *x = owner;
    (void)socket;
    sb_op_finish(&x->op, why);
}

static void tcp_connected(void *owner, sb_socket socket)
{
    sb_exchange *x = owner;
    uint8_t query[2 + SB_EXCHANGE_QUERY_MAX];
    size_t size = write_query(x, query + 2, sizeof query - 2);
    sb_store_u16(query, (uint16_t)size);
    /* One write: a length alone in a segment upsets some servers (RFC 7766 §8). */
    sb_status status = x->op.env->ops->stream_write(x->op.env, socket, query, size + 2);
    x->sent_at = sb_env_now(x->op.env);
    allow_stream(x); /* its time begins now */
    if (status == SB_OK) {
        if (!x->server->tls)
            sb_upstream_asked(x->ups, x->server);
        sent(x, x->server->tls ? SB_PROTOCOL_TLS : SB_PROTOCOL_TCP);
    } else
        sb_op_finish(&x->op, status);
}

static void tcp_received(void *owner, sb_socket socket, const uint8_t *bytes, size_t size)
{
    sb_exchange *x = owner;
    if (size == 0)
        return;
    if (!tcp_gather(x, bytes, size)) {
        sb_op_finish(&x->op, SB_NOMEM);
        return;
    }
    size_t at = 0;
    while (sb_op_running(&x->op) && x->socket.index == socket.index &&
           x->socket.generation == socket.generation) {
        sb_reader r = sb_reader_of(x->stream + at, x->stream_size - at);
        sb_span one = sb_read_span(&r, sb_read_u16(&r));
        if (r.failed)
            break; /* more is to come */
        at += 2 + one.size;
        message(x, one.data, one.size);
    }
    if (!sb_op_running(&x->op) || x->stream_size < at)
        return; /* ended, or begun anew: the gathered bytes are gone */
    memmove(x->stream, x->stream + at, x->stream_size - at);
    x->stream_size -= at;
}

static void tcp_closed(void *owner, sb_socket socket, sb_status why)
{
    sb_exchange *x = owner;
    (void)socket;
    x->socket = (sb_socket){0}; /* already gone */
    sb_op_finish(&x->op, why == SB_OK ? SB_CLOSED : why);
}

/* What is gathered at a time is below one message and one read: whole messages leave at once. */
static bool tcp_gather(sb_exchange *x, const uint8_t *bytes, size_t size)
{
    size_t need = x->stream_size + size;
    if (need > x->stream_capacity) {
        size_t capacity = x->stream_capacity ? x->stream_capacity : STREAM_FIRST;
        while (capacity < need)
            capacity *= 2;
        uint8_t *grown = sb_realloc(x->stream, capacity);
        if (!grown)
            return false;
        x->stream = grown;
        x->stream_capacity = capacity;
    }
    sb_writer w = sb_writer_of(x->stream + x->stream_size, x->stream_capacity - x->stream_size);
    sb_write_bytes(&w, bytes, size);
    x->stream_size = need;
    return true;
}

static void message(sb_exchange *x, const uint8_t *bytes, size_t size)
{
    sb_reject reason = match(x, bytes, size);
    if (reason)
        reject(x, reason);
    else
        response(x, bytes, size);
}

/* 0 when it is the response to the query under way, well-formed or not. A server that cannot read a
 * query may leave the question out of its error: the ID must do (RFC 1035 §4.1.1; FORMERR to EDNS
 * of old servers). */
static sb_reject match(const sb_exchange *x, const uint8_t *bytes, size_t size)
{
    sb_reader r = sb_reader_of(bytes, size);
    sb_name name;
    uint16_t id = sb_read_u16(&r);
    uint16_t flags = sb_read_u16(&r);
    uint16_t questions = sb_read_u16(&r);
    sb_read_skip(&r, 6);
    if (r.failed)
        return SB_REJECT_SHORT;
    if (!(flags & SB_FLAG_QR) || SB_FLAGS_OPCODE(flags) != 0)
        return SB_REJECT_QR;
    if (id != x->id)
        return SB_REJECT_ID;
    uint16_t rcode = SB_FLAGS_RCODE(flags);
    if (questions == 0 && rcode != SB_RCODE_NOERROR && rcode != SB_RCODE_NXDOMAIN)
        return 0;
    if (questions != 1 || !sb_name_read(&r, 0, &name) || !sb_name_equal(&name, &x->question.name))
        return SB_REJECT_QUESTION;
    uint16_t type = sb_read_u16(&r), class = sb_read_u16(&r);
    return r.failed || type != x->question.type || class != x->question.class ? SB_REJECT_QUESTION
                                                                              : 0;
}

/* Guesses from outside cannot end the exchange, only move it to where guessing is hopeless (RFC
 * 5452 §9.3). */
static void reject(sb_exchange *x, sb_reject reason)
{
    sb_count(sb_upstreams_stats(x->ups), SB_COUNT_UP_REJECTED);
    emit(x, SB_EVENT_REJECT, reason, 0);
    if (reason == SB_REJECT_SOURCE || ++x->near_misses < SB_NEAR_MISSES_MAX)
        return;
    if (x->over_tcp)
        sb_op_finish(&x->op, SB_MALFORMED); /* the server itself talks nonsense */
    else
        ask_tcp(x);
}

static void response(sb_exchange *x, const uint8_t *bytes, size_t size)
{
    sb_stats *stats = sb_upstreams_stats(x->ups);
    sb_msg msg;
    sb_status status = sb_msg_parse(bytes, size, &msg);
    if (!x->over_tcp)
        sb_upstream_datagram_answered(x->server);
    if (!x->over_tcp && msg.flags & SB_FLAG_TC) { /* also when cut in the middle of a record */
        sb_count(stats, SB_COUNT_UP_TRUNCATED);
        ask_tcp(x);
        return;
    }
    x->rtt = sb_env_now(x->op.env) - x->sent_at;
    if (status == SB_OK) {
        x->rcode = msg.rcode;
        x->ede = sb_edns_ede(&msg.edns);
        x->server->responses++;
        sb_count(stats, SB_COUNT_UP_RESPONSES);
        sb_histogram_add(&stats->upstream, x->rtt);
        sb_ns us = x->rtt / SB_US;
        emit(x, SB_EVENT_RESPONSE, msg.rcode, us > UINT32_MAX ? UINT32_MAX : (uint32_t)us);
        if (wants_no_edns(x, &msg)) {
            x->edns = false;
            x->edns_refused = true;
            if (x->over_tcp)
                ask_tcp(x);
            else
                ask_udp(x);
            return;
        }
        status = take(x, &msg);
    }
    sb_op_finish(&x->op, status);
}

/* RFC 6891 §7: once more without EDNS, and only once. */
static bool wants_no_edns(const sb_exchange *x, const sb_msg *msg)
{
    return x->edns && (msg->rcode == SB_RCODE_FORMERR || msg->rcode == SB_RCODE_NOTIMP ||
                       msg->rcode == SB_RCODE_BADVERS);
}

static sb_status take(sb_exchange *x, const sb_msg *msg)
{
    sb_answer *answer;
    /* Remembered only once it helped: a server that refuses this question either way knows EDNS
     * well enough. */
    if (x->edns_refused && msg->rcode != SB_RCODE_FORMERR && msg->rcode != SB_RCODE_NOTIMP) {
        x->server->no_edns = true;
        x->server->no_edns_until = sb_env_now(x->op.env) + NO_EDNS_FOR;
    }
    switch (msg->rcode) {
    case SB_RCODE_NOERROR:
    case SB_RCODE_NXDOMAIN:
        break;
    case SB_RCODE_SERVFAIL:
        return SB_SERVFAIL;
    case SB_RCODE_REFUSED:
        return SB_REFUSED;
    default:
        return SB_MALFORMED;
    }
    sb_status status = sb_answer_from_msg(&x->question, msg, &answer);
    if (status != SB_OK)
        return status == SB_NOMEM ? SB_NOMEM : SB_MALFORMED;
    /* A server that neither recurses nor owns the name, with nothing to say: a referral, not a
     * negative (lame). */
    if (answer->kind == SB_KIND_NODATA && answer->flags & SB_ANSWER_NO_SOA &&
        answer->ancount == 0 && !(msg->flags & (SB_FLAG_AA | SB_FLAG_RA))) {
        sb_answer_unref(answer);
        return SB_REFUSED;
    }
    answer->upstream = x->server->addr;
    answer->protocol = x->protocol;
    answer->source = SB_SOURCE_DNS;
    answer->ede = (int16_t)x->ede;
    answer->flags &= (uint16_t)~SB_ANSWER_AD;
    if (x->server->trust_ad && msg->flags & SB_FLAG_AD)
        answer->flags |= SB_ANSWER_AD;
    x->answer = answer;
    return SB_OK;
}

/* On the end by itself the server is judged; a cancelled exchange says nothing about it. */
static void stop(sb_op *op)
{
    sb_exchange *x = sb_container_of(op, sb_exchange, op);
    close_socket(x);
    sb_timer_stop(op->env, &x->resend);
    sb_free(x->stream);
    x->stream = NULL;
    x->stream_size = x->stream_capacity = 0;
    sb_list_remove(&x->link);
    if (x->following)
        return;
    if (op->state == SB_OP_FINISHED)
        report(x);
    else if (x->probing)
        sb_upstream_probe_cancelled(x->ups, x->server);
    else if (x->sends > 0)
        sb_upstream_abandoned(x->ups, x->server, x->over_tcp ? SB_PROTOCOL_TCP : SB_PROTOCOL_UDP,
                              sb_env_now(op->env) - x->sent_at);
    release_followers(x);
}

static void report(sb_exchange *x)
{
    sb_stats *stats = sb_upstreams_stats(x->ups);
    sb_counter counter = SB_COUNT_UP_OTHER;
    if (x->reported)
        return;
    x->reported = true;
    if (x->over_tcp)
        sb_upstream_stream_ended(x->ups, x->server, x->rcode != 0xffff);
    switch (x->op.status) {
    case SB_OK:
        x->server->answered = x->question;
        sb_upstream_succeeded(x->ups, x->server, (sb_protocol)x->protocol, x->rtt);
        return;
    case SB_NOMEM:
    case SB_LIMIT:
    case SB_PERM: /* our own trouble, not the server's */
        if (x->probing)
            sb_upstream_probe_cancelled(x->ups, x->server);
        return;
    case SB_SERVFAIL:
        counter = SB_COUNT_UP_SERVFAIL;
        break;
    case SB_REFUSED:
        counter = SB_COUNT_UP_REFUSED;
        break;
    case SB_TIMEOUT:
        counter = SB_COUNT_UP_TIMEOUTS;
        break;
    case SB_MALFORMED:
        break;
    default:
        counter = SB_COUNT_UP_UNREACHABLE;
        break;
    }
    sb_count(stats, counter);
    if (counter != SB_COUNT_UP_TIMEOUTS && is_verdict(x->ede) && x->rcode != 0xffff &&
        x->op.status != SB_MALFORMED)
        sb_upstream_succeeded(x->ups, x->server, (sb_protocol)x->protocol,
                              x->rtt); /* it works, and it means no */
    else if (is_names_own(x) || is_others_answered(x))
        sb_upstream_failed_again(x->ups, x->server, x->op.status);
    else
        sb_upstream_failed(x->ups, x->server, x->op.status);
}

/* Silence about this name while others are answered is the name's own, or its zone's. */
static bool is_others_answered(const sb_exchange *x)
{
    return x->op.status == SB_TIMEOUT && x->sends > 0 && x->server->last_success > x->sent_at;
}

/* One broken zone, asked again and again, must not take a healthy server down. */
static bool is_names_own(sb_exchange *x)
{
    if (x->op.status != SB_SERVFAIL && x->op.status != SB_REFUSED)
        return false;
    uint64_t name = sb_name_digest(&x->question.name);
    bool again = x->server->failed_name == name;
    x->server->failed_name = name;
    return again;
}

/* RFC 8914: validation verdicts and policy (DESIGN §5). */
static bool is_verdict(int ede)
{
    return (ede >= 6 && ede <= 12) || (ede >= 15 && ede <= 18);
}

static void emit(sb_exchange *x, sb_event_type type, uint32_t a, uint32_t b)
{
    sb_events_emit(sb_upstreams_events(x->ups),
                   (sb_event){.name = sb_name_digest(&x->question.name),
                              .flight = x->flight,
                              .type = (uint16_t)type,
                              .strategy = SB_STRATEGY_WIRE,
                              .a = a,
                              .b = b,
                              .server = x->server->addr});
}
