/* One question put to one server: UDP with EDNS, without it when refused, TCP when truncated,
 * doubtful or crowded.
 *
 * Owns its socket; never retries on another server and never decides what an answer is worth. RFC
 * 1035, 5452 (matching), 6891 (EDNS fall-back), 7766, 7873, 9018 (cookies), 8467 (padding),
 * draft-vixie-dnsext-dns0x20. Loop thread. */
#include "net/exchange.h"

#include <limits.h>
#include <string.h>

#include "base/mem.h"
#include "dns/msg.h"

#define OPTIONS_MAX 192 /* a cookie with its header (44) and padding (131) */
#define OPT_FIXED 11    /* an OPT without options */
#define PAD_BLOCK 128   /* RFC 8467 §4.1 */
/* More than three times what we offer to take over UDP: what is larger comes over TCP. */
#define DATAGRAM_MAX 4096
#define RESEND_WAIT_MOST (2 * SB_S)
#define REPEAT_LEAST (200 * SB_MS)
#define REPEAT_STRANGER (300 * SB_MS) /* it may be far away */
#define REPEATED_MOST 5               /* by losses, in a row: one in 400 where 30 % are lost */
/* With who took the query over a connection that stands; twice as long each time. */
#define STREAM_PATIENCE (500 * SB_MS)

static void lead(sb_exchange *x);
static void release_followers(sb_exchange *x);
static bool goes_on(const sb_exchange *x, const sb_exchange *follower);
static sb_ns repeat_after(const sb_upstream *server);
static void ask_udp(sb_exchange *x);
static void ask_tcp(sb_exchange *x);
static void resend(sb_timer *timer);
static void resend_udp(sb_exchange *x);
static void resend_tcp(sb_exchange *x);
static void rearm_resend(sb_exchange *x);
static void allow_stream(sb_exchange *x);
static size_t write_query(sb_exchange *x, sb_protocol protocol, uint8_t *buffer, size_t capacity);
static void write_options(sb_exchange *x, sb_protocol protocol, size_t query_size, sb_writer *w);
static void dress(sb_exchange *x, sb_protocol protocol);
static void sent(sb_exchange *x, sb_protocol protocol);
static void close_socket(sb_exchange *x);
static void udp_received(void *owner, sb_socket socket, const sb_datagram *datagram);
static void udp_failed(void *owner, sb_socket socket, sb_status why);
static size_t tcp_write(sb_conn_query *query, uint16_t id, uint8_t *buffer, size_t capacity);
static void tcp_received(sb_conn_query *query, const uint8_t *bytes, size_t size);
static void tcp_failed(sb_conn_query *query, sb_status why);
static void message(sb_exchange *x, const uint8_t *bytes, size_t size);
static sb_reject match(const sb_exchange *x, const uint8_t *bytes, size_t size);
static bool same_case(const sb_exchange *x, const sb_name *name);
static void reject(sb_exchange *x, sb_reject reason);
static void doubt(sb_exchange *x, sb_habit habit);
static void response(sb_exchange *x, const uint8_t *bytes, size_t size);
static bool cookie_holds(sb_exchange *x, const sb_edns *edns);
static sb_ns round_trip(const sb_exchange *x);
static void note_loss(const sb_exchange *x);
static bool asks_anew(sb_exchange *x, const sb_msg *msg);
static void shown(sb_exchange *x, const sb_msg *msg);
static void ask_again(sb_exchange *x);
static sb_status take(sb_exchange *x, const sb_msg *msg);
static sb_status make_answer(const sb_exchange *x, const sb_msg *msg, sb_answer **ret);
static void stop(sb_op *op);
static void report(sb_exchange *x);
static void strike(sb_exchange *x);
static bool is_names_own(sb_exchange *x);
static bool is_others_answered(const sb_exchange *x);
static bool is_bare(const sb_exchange *x, const sb_msg *msg);
static void emit(sb_exchange *x, sb_event_type type, uint32_t a, uint32_t b);

static const sb_udp_events udp_events = {udp_received, udp_failed};
static const sb_conn_events tcp_events = {tcp_write, tcp_received, tcp_failed};

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
    x->edns = !sb_manners_has(&server->manners, SB_HABIT_REFUSES_EDNS, sb_env_now(env));
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

/* The end of a leader is its followers' end, but for those who may go on: the first of them takes
 * its place. */
static void release_followers(sb_exchange *x)
{
    sb_exchange *next = NULL;
    sb_list *first;
    while ((first = sb_list_pop(&x->followers))) {
        sb_exchange *follower = sb_container_of(first, sb_exchange, link);
        if (goes_on(x, follower)) {
            if (next)
                sb_list_push(&next->followers, &follower->link);
            else
                next = follower;
            continue;
        }
        follower->answer = x->answer ? sb_answer_ref(x->answer) : NULL;
        follower->rcode = x->rcode;
        follower->ede = x->ede;
        follower->rtt = x->rtt;
        follower->protocol = x->protocol;
        sb_op_finish(&follower->op, x->op.status);
    }
    if (next)
        lead(next);
}

/* A cancelled leader has shown nothing, nor has the end of its time to those who have more of it: a
 * probe is given a round trip or two. What is left must be worth another query. */
static bool goes_on(const sb_exchange *x, const sb_exchange *follower)
{
    sb_ns now = sb_env_now(x->op.env);
    if (x->op.state != SB_OP_FINISHED)
        return true;
    return x->op.status == SB_TIMEOUT && x->op.deadline <= now &&
           follower->op.deadline - now >= sb_upstream_attempt_timeout(x->server);
}

/* A stream loses nothing, and a doubt has its time for TCP: only a datagram is worth it. */
void sb_exchange_repeat(sb_exchange *x)
{
    if (!sb_op_running(&x->op) || x->following || x->over_tcp)
        return;
    x->resend_wait *= 2; /* in place of the one that was due */
    resend_udp(x);
}

void sb_exchange_fini(sb_exchange *x)
{
    if (x->server)
        sb_upstream_unref(x->server);
    sb_answer_unref(x->answer);
    x->server = NULL;
    x->answer = NULL;
}

/* What is hardly ever waited for was lost, and the third repetition must come within the second. */
static sb_ns repeat_after(const sb_upstream *server)
{
    sb_ns usual = server->last_success ? sb_upstream_hedge_delay(server) : REPEAT_STRANGER;
    return usual < REPEAT_LEAST       ? REPEAT_LEAST
           : usual > RESEND_WAIT_MOST ? RESEND_WAIT_MOST
                                      : usual;
}

/* A fresh socket each time: port, ID and case of a query are never used twice (RFC 5452 §9.2). */
static void ask_udp(sb_exchange *x)
{
    sb_env *env = x->op.env;
    uint8_t id[2];
    sb_udp_options options = {.remote = x->server->addr};
    options.local.family = x->server->addr.family;
    close_socket(x);
    x->near_misses = 0;
    x->over_tcp = false;
    sb_status status = env->ops->udp_open(env, &options, &udp_events, x, &x->socket, NULL);
    if (status == SB_OK) {
        env->ops->entropy(env, id, sizeof id);
        x->id = sb_load_u16(id);
        x->query_size = write_query(x, SB_PROTOCOL_UDP, x->query, sizeof x->query);
        status = env->ops->udp_send(env, x->socket, NULL, NULL, x->query, x->query_size);
    }
    if (status != SB_OK && status != SB_AGAIN) { /* a full buffer is a packet lost */
        sb_op_finish(&x->op, status);
        return;
    }
    sb_upstream_asked(x->ups, x->server);
    x->sent_at = sb_env_now(env);
    sent(x, SB_PROTOCOL_UDP);
    x->resend_wait = repeat_after(x->server);
    sb_timer_set(env, &x->resend, x->sent_at + x->resend_wait);
}

/* The usual time has passed. */
static void resend(sb_timer *timer)
{
    sb_exchange *x = sb_container_of(timer, sb_exchange, resend);
    if (!x->over_tcp)
        resend_udp(x);
    else if (x->habits && !x->plain && (!x->tcp.written || sb_conn_is_mute(&x->tcp)))
        tcp_failed(&x->tcp, SB_TIMEOUT); /* filtered, it seems */
    else
        resend_tcp(x);
}

/* The same bytes from the same port: whichever query is answered, however late, the answer counts.
 */
static void resend_udp(sb_exchange *x)
{
    sb_env *env = x->op.env;
    if (x->server->prefers_stream && !x->plain) { /* still lost: that was the look at it */
        ask_tcp(x);
        return;
    }
    if (x->sends >= x->sends_max) {
        if (x->sends < SB_EXCHANGE_SENDS_ALONE) /* it may be given more */
            sb_timer_set(env, &x->resend, sb_env_now(env) + x->resend_wait);
        return;
    }
    sb_status status = env->ops->udp_send(env, x->socket, NULL, NULL, x->query, x->query_size);
    if (status != SB_OK && status != SB_AGAIN) {
        sb_op_finish(&x->op, status);
        return;
    }
    sb_upstream_asked_again(x->ups, x->server, x->sent_at);
    x->resent_at = sb_env_now(env);
    sent(x, SB_PROTOCOL_UDP);
    rearm_resend(x);
}

/* Nothing gets lost over a connection: only one that has died is a reason, and the kernel tells of
 * it much too late. */
static void resend_tcp(sb_exchange *x)
{
    sb_ns wait = x->resend_wait;
    sb_ns end = x->tcp.asked_at + (STREAM_PATIENCE << (x->streams < 3 ? x->streams - 1 : 2));
    if (x->server->tls)
        sb_upstream_asked_again(x->ups, x->server, x->sent_at);
    if (x->sends >= x->sends_max) {
        if (x->sends < SB_EXCHANGE_SENDS_ALONE) /* it may be given more */
            sb_timer_set(x->op.env, &x->resend, sb_env_now(x->op.env) + wait);
        return;
    }
    if (x->tcp.written && sb_env_now(x->op.env) < end) {
        sb_timer_set(x->op.env, &x->resend, end);
        return;
    }
    if (sb_conn_is_mute(&x->tcp)) {
        sb_conn_drop(&x->tcp, true);
        ask_tcp(x);
        x->resend_wait = wait;
    }
    if (sb_op_running(&x->op))
        rearm_resend(x);
}

static void rearm_resend(sb_exchange *x)
{
    sb_ns wait = x->resend_wait * (x->sends > 4 ? 2 : 1); /* one lost packet says little */
    x->resend_wait = wait > RESEND_WAIT_MOST ? RESEND_WAIT_MOST : wait;
    sb_timer_set(x->op.env, &x->resend, sb_env_now(x->op.env) + x->resend_wait);
}

static void ask_tcp(sb_exchange *x)
{
    bool moves = !x->over_tcp;
    close_socket(x);
    sb_conn_drop(&x->tcp, false);
    x->over_tcp = true;
    if (x->streams < UINT8_MAX)
        x->streams++;
    x->near_misses = 0;
    x->sent_at = sb_env_now(x->op.env);
    x->resend_wait = sb_upstream_attempt_timeout(x->server);
    sb_timer_set(x->op.env, &x->resend, x->sent_at + x->resend_wait);
    if (moves) /* and not again with each connection that does not come about */
        allow_stream(x);
    if (x->server->tls && moves) /* who swallows connections is as silent as who swallows queries */
        sb_upstream_asked(x->ups, x->server);
    sb_status status = sb_conn_ask(&x->tcp, x->ups, x->server, &tcp_events);
    if (status != SB_OK)
        tcp_failed(&x->tcp, status);
}

/* What was allowed may have been for one round trip; a stream takes two more, and a large answer
 * some. Never less than was allowed: a slow name is no failure of the server. */
static void allow_stream(sb_exchange *x)
{
    sb_ns least = sb_env_now(x->op.env) + 2 * sb_upstream_attempt_timeout(x->server);
    if (x->op.deadline < least)
        sb_op_set_deadline(&x->op, least);
}

static size_t write_query(sb_exchange *x, sb_protocol protocol, uint8_t *buffer, size_t capacity)
{
    sb_builder b;
    sb_question question = x->question;
    uint8_t options[OPTIONS_MAX];
    sb_writer w = sb_writer_of(options, sizeof options);
    uint16_t flags = SB_FLAG_RD;
    if (x->question.checking_disabled)
        flags |= SB_FLAG_CD;
    if (x->server->trust_ad) /* RFC 6840 §5.7: AD in a query asks for AD */
        flags |= SB_FLAG_AD;
    dress(x, protocol);
    if (x->mixed)
        sb_manners_mix_case(&question.name, x->case_bits);
    sb_builder_init(&b, buffer, capacity, x->id, flags);
    sb_builder_question(&b, &question);
    if (x->edns) {
        write_options(x, protocol, b.w.size, &w);
        sb_builder_edns(&b, SB_EDNS_UDP_SIZE, 0, question.dnssec_ok, (sb_span){options, w.size});
    }
    size_t size = sb_builder_finish(&b);
    SB_ASSERT(size > 0 && !w.failed);
    return size;
}

/* Chooses what a forger would have to guess besides port and ID. Only datagrams can be forged: over
 * a connection the name goes out folded, which spares it from servers that mangle it. */
static void dress(sb_exchange *x, sb_protocol protocol)
{
    sb_env *env = x->op.env;
    sb_manners *manners = &x->server->manners;
    sb_ns now = sb_env_now(env);
    x->mixed = protocol == SB_PROTOCOL_UDP && !x->plain &&
               !sb_manners_has(manners, SB_HABIT_FOLDS_CASE, now);
    if (x->mixed)
        env->ops->entropy(env, x->case_bits, sizeof x->case_bits);
    x->with_cookie = x->edns && protocol != SB_PROTOCOL_TLS && !x->plain && !x->no_cookie &&
                     !sb_manners_has(manners, SB_HABIT_BREAKS_COOKIES, now);
    if (x->with_cookie && protocol == SB_PROTOCOL_UDP) {
        sb_addr local = {0};
        if (env->ops->local_address(env, x->socket, &local) != SB_OK)
            local = (sb_addr){0};
        sb_manners_client_cookie(manners, sb_upstreams_secret(x->ups), &x->server->addr, &local,
                                 x->client_cookie);
        x->has_cookie = true;
    }
    x->with_cookie = x->with_cookie && x->has_cookie;
    x->wants_cookie = x->with_cookie && manners->sends_cookies;
}

static void write_options(sb_exchange *x, sb_protocol protocol, size_t query_size, sb_writer *w)
{
    static const uint8_t zeros[PAD_BLOCK];
    if (x->with_cookie)
        sb_manners_write_cookie(&x->server->manners, x->client_cookie, w);
    if (protocol != SB_PROTOCOL_TLS)
        return;
    size_t size = query_size + OPT_FIXED + w->size + 4;
    size_t padding = (PAD_BLOCK - size % PAD_BLOCK) % PAD_BLOCK;
    sb_write_u16(w, SB_OPT_PADDING);
    sb_write_u16(w, (uint16_t)padding);
    sb_write_bytes(w, zeros, padding);
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

static size_t tcp_write(sb_conn_query *query, uint16_t id, uint8_t *buffer, size_t capacity)
{
    sb_exchange *x = sb_container_of(query, sb_exchange, tcp);
    sb_protocol protocol = x->server->tls ? SB_PROTOCOL_TLS : SB_PROTOCOL_TCP;
    x->id = id;
    size_t size = write_query(x, protocol, buffer, capacity);
    x->sent_at = sb_env_now(x->op.env);
    allow_stream(x); /* its time begins now */
    if (!x->server->tls)
        sb_upstream_asked(x->ups, x->server);
    sent(x, protocol);
    return size;
}

static void tcp_received(sb_conn_query *query, const uint8_t *bytes, size_t size)
{
    message(sb_container_of(query, sb_exchange, tcp), bytes, size);
}

/* Servers that fold case or lose cookies are often those without TCP as well. The doubtful response
 * is not taken even then: whoever made it has to guess a fresh port and ID. */
static void tcp_failed(sb_conn_query *query, sb_status why)
{
    sb_exchange *x = sb_container_of(query, sb_exchange, tcp);
    if (!x->habits || x->plain || x->server->tls || why == SB_LIMIT || why == SB_NOMEM) {
        sb_op_finish(&x->op, why);
        return;
    }
    if (x->edns && x->habits == 1u << SB_HABIT_REFUSES_EDNS) {
        x->edns = false;
        x->edns_refused = true;
    } else {
        x->plain = true;
    }
    sb_conn_drop(&x->tcp, why == SB_TIMEOUT);
    ask_udp(x);
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
 * of old servers). That one counts as a failure and for no more: see response and asks_anew. */
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
    if (r.failed || type != x->question.type || class != x->question.class)
        return SB_REJECT_QUESTION;
    return x->mixed && !same_case(x, &name) ? SB_REJECT_CASE : 0;
}

/* Byte for byte the name that was sent; equal to it in any case. */
static bool same_case(const sb_exchange *x, const sb_name *name)
{
    sb_name asked = x->question.name;
    sb_manners_mix_case(&asked, x->case_bits);
    return memcmp(asked.wire, name->wire, asked.size) == 0;
}

/* Guesses from outside cannot end the exchange, only move it to where guessing is hopeless (RFC
 * 5452 §9.3). */
static void reject(sb_exchange *x, sb_reject reason)
{
    sb_stats *stats = sb_upstreams_stats(x->ups);
    sb_count(stats, SB_COUNT_UP_REJECTED);
    emit(x, SB_EVENT_REJECT, reason, 0);
    if (reason == SB_REJECT_CASE) {
        doubt(x, SB_HABIT_FOLDS_CASE);
    } else if (reason == SB_REJECT_COOKIE) {
        doubt(x, SB_HABIT_BREAKS_COOKIES);
    } else if (reason == SB_REJECT_SOURCE || ++x->near_misses < SB_NEAR_MISSES_MAX) {
        return;
    } else if (x->over_tcp) {
        sb_op_finish(&x->op, SB_MALFORMED); /* the server itself talks nonsense */
    } else {
        sb_count(stats, SB_COUNT_UP_CROWDED);
        ask_tcp(x);
    }
}

/* A forger who has guessed port and ID, or an honest server with that habit: TCP tells, and costs
 * less than waiting for another response that will not come. */
static void doubt(sb_exchange *x, sb_habit habit)
{
    sb_count(sb_upstreams_stats(x->ups), SB_COUNT_UP_UNPROVEN);
    x->habits |= (uint8_t)(1u << habit);
    sb_upstream_datagram_answered(x->server);
    sb_upstream_spoke(x->server);
    ask_tcp(x);
}

static void response(sb_exchange *x, const uint8_t *bytes, size_t size)
{
    sb_stats *stats = sb_upstreams_stats(x->ups);
    sb_msg msg;
    sb_status status = sb_msg_parse(bytes, size, &msg);
    if (!x->over_tcp)
        sb_upstream_datagram_answered(x->server);
    /* Also when cut in the middle of a record. */
    if (!x->over_tcp && (msg.flags & SB_FLAG_TC || size > DATAGRAM_MAX)) {
        sb_count(stats, SB_COUNT_UP_TRUNCATED);
        sb_upstream_spoke(x->server);
        ask_tcp(x);
        return;
    }
    if (!cookie_holds(x, &msg.edns)) {
        reject(x, SB_REJECT_COOKIE);
        return;
    }
    x->rtt = round_trip(x);
    note_loss(x);
    if (status == SB_OK) {
        x->rcode = msg.rcode;
        x->ede = is_bare(x, &msg) ? SB_EDE_NONE : sb_edns_ede(&msg.edns);
        x->server->responses++;
        sb_count(stats, SB_COUNT_UP_RESPONSES);
        sb_histogram_add(&stats->upstream, x->rtt);
        sb_ns us = x->rtt / SB_US;
        emit(x, SB_EVENT_RESPONSE, msg.rcode, us > UINT32_MAX ? UINT32_MAX : (uint32_t)us);
        if (asks_anew(x, &msg))
            return;
        shown(x, &msg);
        status = take(x, &msg);
    }
    sb_op_finish(&x->op, status);
}

static bool is_repeated(const sb_exchange *x)
{
    return !x->over_tcp && sb_exchange_last_sent(x) > x->sent_at;
}

/* Which of the queries was answered cannot be told. The last, where the server is known to be so
 * quick: taken from the first, what was lost would count as slowness, and each time-out would be
 * longer than the one before (Karn and Partridge, 1987). But where every query has to be repeated
 * it is slow, and not quick after each repetition. */
static sb_ns round_trip(const sb_exchange *x)
{
    sb_ns now = sb_env_now(x->op.env), quickest = sb_upstream_quickest(x->server);
    bool by_last = is_repeated(x) && quickest > 0 && now - x->resent_at >= quickest &&
                   x->server->repeated_in_row < REPEATED_MOST;
    return now - (by_last ? x->resent_at : x->sent_at);
}

/* An answer in the usual time after a repetition, and in no time compared to the wait for it: what
 * went before was lost. Of a server that is far away that cannot be told from being late. */
static void note_loss(const sb_exchange *x)
{
    sb_upstream *server = x->server;
    bool repeated = is_repeated(x);
    bool lost = repeated && x->rtt <= sb_upstream_hedge_delay(server) && x->rtt <= REPEAT_LEAST / 8;
    server->repeated_in_row =
        !repeated ? 0 : server->repeated_in_row + (server->repeated_in_row < REPEATED_MOST);
    server->loss_permille = (server->loss_permille * 31 + (lost ? 1000 + 31 : 0)) / 32;
}

/* False for a datagram with another cookie than ours, or with none from a server that has sent one
 * before (RFC 7873 §5.3); so is one that does not parse. A connection proves itself; what it says
 * about cookies is remembered all the same. */
static bool cookie_holds(sb_exchange *x, const sb_edns *edns)
{
    sb_manners *manners = &x->server->manners;
    sb_span cookie;
    if (!x->with_cookie)
        return true;
    switch (sb_manners_read_cookie(x->client_cookie, edns, &cookie)) {
    case SB_COOKIE_GOOD:
        sb_manners_learn_cookie(manners, x->client_cookie, cookie);
        return true;
    case SB_COOKIE_ECHOED:
        return true;
    case SB_COOKIE_ABSENT:
        return x->over_tcp || !(x->wants_cookie || manners->sends_cookies);
    default:
        return x->over_tcp;
    }
}

/* True when the query was refused for its form and went out in another. */
static bool asks_anew(sb_exchange *x, const sb_msg *msg)
{
    bool refused = msg->rcode == SB_RCODE_FORMERR || msg->rcode == SB_RCODE_NOTIMP ||
                   msg->rcode == SB_RCODE_BADVERS;
    if (x->with_cookie && msg->rcode == SB_RCODE_BADCOOKIE) {
        sb_upstream_spoke(x->server);
        if (x->over_tcp) { /* nobody needs one there: it cannot do them */
            x->no_cookie = true;
            x->habits |= 1u << SB_HABIT_BREAKS_COOKIES;
        }
        if (x->over_tcp || x->bad_cookie) {
            ask_tcp(x);
        } else { /* RFC 7873 §5.3: once more with what was just learned */
            x->bad_cookie = true;
            ask_udp(x);
        }
        return true;
    }
    if (!x->edns || !refused)
        return false;
    if (is_bare(x, msg) && x->server->manners.speaks_edns && !x->plain) {
        doubt(x, SB_HABIT_REFUSES_EDNS);
        return true;
    }
    sb_upstream_spoke(x->server);
    if (x->with_cookie && msg->edns.present && msg->rcode == SB_RCODE_FORMERR) {
        x->no_cookie = true; /* it knows EDNS: the option is what it dislikes */
        x->habits |= 1u << SB_HABIT_BREAKS_COOKIES;
    } else { /* RFC 6891 §7: once more without EDNS, and only once */
        x->edns = false;
        x->edns_refused = true;
    }
    ask_again(x);
    return true;
}

/* An error over UDP without a question: nothing but port and ID stands against a forger. */
static bool is_bare(const sb_exchange *x, const sb_msg *msg)
{
    return !x->over_tcp && !msg->has_question;
}

/* Habits that the response does not have. What comes over a connection says nothing of datagrams,
 * nor does a name without a letter in upper case, which a server that folds would repeat as well.
 */
static void shown(sb_exchange *x, const sb_msg *msg)
{
    sb_manners *manners = &x->server->manners;
    sb_name asked = x->question.name;
    sb_span cookie;
    if (x->over_tcp || !msg->has_question)
        return;
    if (x->mixed)
        sb_manners_mix_case(&asked, x->case_bits);
    if (memcmp(asked.wire, x->question.name.wire, asked.size) != 0)
        sb_manners_forgive(manners, SB_HABIT_FOLDS_CASE);
    if (x->with_cookie &&
        sb_manners_read_cookie(x->client_cookie, &msg->edns, &cookie) == SB_COOKIE_GOOD)
        sb_manners_forgive(manners, SB_HABIT_BREAKS_COOKIES);
    if (x->edns) { /* not refused, if perhaps not understood */
        manners->speaks_edns |= msg->edns.present;
        sb_manners_forgive(manners, SB_HABIT_REFUSES_EDNS);
    }
}

static void ask_again(sb_exchange *x)
{
    if (x->over_tcp)
        ask_tcp(x);
    else
        ask_udp(x);
}

static sb_status take(sb_exchange *x, const sb_msg *msg)
{
    sb_answer *answer;
    if (msg->flags & SB_FLAG_TC)
        return SB_MALFORMED; /* over TCP: there is nothing left to ask it for the rest */
    /* A strike only when it helped: a server that refuses this question either way knows EDNS well
     * enough. */
    x->edns_given_up =
        x->edns_refused && msg->rcode != SB_RCODE_FORMERR && msg->rcode != SB_RCODE_NOTIMP;
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
    sb_status status = make_answer(x, msg, &answer);
    if (status != SB_OK)
        return status == SB_NOMEM || status == SB_LOOP ? status : SB_MALFORMED;
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

/* Names in the records are often pointers into the question, whose case was ours: it is folded
 * first, so that no name learned keeps it. */
static sb_status make_answer(const sb_exchange *x, const sb_msg *msg, sb_answer **ret)
{
    uint8_t folded[DATAGRAM_MAX];
    sb_msg view = *msg;
    if (!x->mixed)
        return sb_answer_from_msg(&x->question, msg, ret);
    sb_reader r = sb_reader_of(msg->bytes.data, msg->bytes.size);
    sb_writer w = sb_writer_of(folded, sizeof folded);
    sb_span header = sb_read_span(&r, SB_MSG_HEADER);
    sb_write_bytes(&w, header.data, header.size);
    sb_name_write(&w, &x->question.name);
    sb_read_skip(&r, x->question.name.size);
    sb_span rest = sb_read_span(&r, sb_reader_left(&r));
    sb_write_bytes(&w, rest.data, rest.size);
    SB_ASSERT(!r.failed && !w.failed);
    view.bytes.data = folded;
    return sb_answer_from_msg(&x->question, &view, ret);
}

/* On the end by itself the server is judged; a cancelled exchange says nothing about it. */
static void stop(sb_op *op)
{
    sb_exchange *x = sb_container_of(op, sb_exchange, op);
    close_socket(x);
    sb_timer_stop(op->env, &x->resend);
    sb_conn_drop(&x->tcp, op->state == SB_OP_FINISHED && op->status == SB_TIMEOUT);
    sb_list_remove(&x->link);
    if (x->following)
        return;
    if (op->state == SB_OP_FINISHED)
        report(x);
    else if (x->probing)
        sb_upstream_probe_cancelled(x->ups, x->server);
    else if (x->sends > 0)
        /* Its last query has had so long: what went before may be lost, and is no slowness. */
        sb_upstream_abandoned(x->ups, x->server, x->over_tcp ? SB_PROTOCOL_TCP : SB_PROTOCOL_UDP,
                              sb_env_now(op->env) - sb_exchange_last_sent(x));
    release_followers(x);
}

static void report(sb_exchange *x)
{
    sb_stats *stats = sb_upstreams_stats(x->ups);
    sb_counter counter = SB_COUNT_UP_OTHER;
    if (x->reported)
        return;
    x->reported = true;
    strike(x);
    if (x->over_tcp && x->op.status != SB_LIMIT) /* our own limit says nothing of it */
        sb_upstream_stream_ended(x->ups, x->server, x->rcode != 0xffff);
    switch (x->op.status) {
    case SB_OK:
        x->server->answered = x->question;
        /* fall through */
    case SB_LOOP: /* well said: the zone is broken, the server is not */
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
    default: /* also a certificate that does not verify: there is nobody to ask */
        counter = SB_COUNT_UP_UNREACHABLE;
        break;
    }
    sb_count(stats, counter);
    if (counter != SB_COUNT_UP_TIMEOUTS && sb_ede_is_verdict(x->ede) && x->rcode != 0xffff &&
        x->op.status != SB_MALFORMED)
        sb_upstream_succeeded(x->ups, x->server, (sb_protocol)x->protocol,
                              x->rtt); /* it works, and it means no */
    else if (is_names_own(x) || is_others_answered(x))
        sb_upstream_failed_again(x->ups, x->server, x->op.status);
    else
        sb_upstream_failed(x->ups, x->server, x->op.status);
}

/* What was doubtful is explained by a habit, unless we never got to ask again. A time-out counts:
 * it is what a firewall between us and the server's TCP looks like. */
static void strike(sb_exchange *x)
{
    sb_status status = x->op.status;
    if (status == SB_NOMEM || status == SB_LIMIT || status == SB_PERM)
        return;
    unsigned edns = 1u << SB_HABIT_REFUSES_EDNS;
    unsigned habits = x->edns_given_up ? x->habits | edns : x->habits & ~edns;
    for (unsigned i = 0; i < SB_HABIT_COUNT; i++)
        if (habits >> i & 1)
            sb_manners_strike(&x->server->manners, (sb_habit)i, sb_env_now(x->op.env));
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
