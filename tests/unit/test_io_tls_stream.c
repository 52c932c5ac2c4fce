/* TLS of outgoing streams of uv_env against a server made of OpenSSL here: who is believed and who
 * is not, resumption, bytes both ways, ends of every kind, cancellation anywhere. */
#define _GNU_SOURCE
#include <dirent.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "unit/tls_fixture.h"

#include "base/log.h"
#include "base/mem.h"
#include "io/uv_env.h"

#define PATIENCE (20 * SB_S)
#define CONNS_MAX 64

/* ---- the world ---- */

typedef struct world {
    uv_loop_t loop;
    sb_uv_env *uv;
    sb_env *env;
    identity authority;
    store store;
    char log[2048];
    unsigned lines;
} world;

static void keep_line(void *context, sb_log_level level, const char *line, size_t size)
{
    world *w = context;
    (void)level;
    w->lines++;
    size_t room = sizeof(w->log) - 1;
    memcpy(w->log, line, size < room ? size : room);
    w->log[size < room ? size : room] = '\0';
}

static int setup(void **state)
{
    world *w = calloc(1, sizeof(*w));
    sb_why why = {0};
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(sb_uv_env_new(&w->loop, &w->uv, &why), SB_OK);
    w->env = sb_uv_env_base(w->uv);
    w->authority = make_identity(NULL, "test authority", NULL, -DAY, DAY);
    store_open(&w->store, w->authority.certificate);
    sb_log_set_sink(keep_line, w);
    sb_log_set_level(SB_LOG_NET, SB_LOG_DEBUG);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    sb_uv_env_free(w->uv);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    sb_log_set_sink(NULL, NULL);
    identity_free(&w->authority);
    store_close(&w->store);
    free(w);
    return 0;
}

/* What timers bring is brought before the loop waits, and must not be waited upon. */
typedef struct guard {
    sb_timer timer;
    world *w;
    bool late;
} guard;

static void guard_fire(sb_timer *timer)
{
    guard *g = sb_container_of(timer, guard, timer);
    g->late = true;
    uv_stop(&g->w->loop);
}

/* Turns the loop until it is so, or for a while. */
static bool turn(world *w, const bool *until, sb_ns patience)
{
    guard g = {.w = w};
    sb_timer_init(&g.timer, guard_fire);
    sb_timer_set(w->env, &g.timer, sb_env_now(w->env) + patience);
    while (!(until && *until) && !g.late)
        uv_run(&w->loop, UV_RUN_ONCE);
    sb_timer_stop(w->env, &g.timer);
    return until && *until;
}

static void pump(world *w, const bool *until)
{
    assert_true(turn(w, until, PATIENCE));
}

static unsigned descriptors(void)
{
    unsigned count = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d))
        count++;
    closedir(d);
    return count;
}

/* ---- the server: TLS in memory over plain streams of the same loop ---- */

typedef struct server server;

typedef struct conn {
    server *of;
    sb_socket socket;
    SSL *ssl;
    BIO *in, *out;
    bool stands, reused, goodbye, closed;
    char name[64]; /* asked for by SNI */
    bool dot;      /* asked for by ALPN */
    size_t received;
    uint8_t sum;
} conn;

struct server {
    world *w;
    SSL_CTX *context;
    sb_socket listener;
    sb_addr addr;
    bool echo, raw, mute, enough; /* raw: the bytes go nowhere; mute: a closed stream stays */
    size_t expect;
    const char *greeting; /* instead of a handshake */
    conn *conns[CONNS_MAX];
    unsigned count;
};

static void conn_flush(conn *c)
{
    char *bytes;
    long size = BIO_get_mem_data(c->out, &bytes);
    if (size > 0 && !c->closed)
        (void)c->of->w->env->ops->stream_write(c->of->w->env, c->socket, bytes, (size_t)size);
    (void)BIO_reset(c->out);
}

static void conn_take(conn *c, const uint8_t *bytes, size_t size)
{
    c->received += size;
    for (size_t i = 0; i < size; i++)
        c->sum = (uint8_t)(c->sum + bytes[i]);
    if (c->of->echo)
        assert_int_equal(SSL_write(c->ssl, bytes, (int)size), (int)size);
    c->of->enough = c->received >= c->of->expect;
}

static void conn_stands(conn *c)
{
    const unsigned char *protocol;
    unsigned size;
    SSL_get0_alpn_selected(c->ssl, &protocol, &size);
    c->dot = size == 3 && memcmp(protocol, "dot", 3) == 0;
    const char *name = SSL_get_servername(c->ssl, TLSEXT_NAMETYPE_host_name);
    snprintf(c->name, sizeof(c->name), "%s", name ? name : "");
    c->reused = SSL_session_reused(c->ssl) == 1;
    c->stands = true;
}

static void conn_received(void *owner, sb_socket socket, const uint8_t *bytes, size_t size)
{
    static uint8_t plain[16384];
    conn *c = owner;
    (void)socket;
    if (c->of->raw)
        return;
    assert_int_equal(BIO_write(c->in, bytes, (int)size), (int)size);
    ERR_clear_error();
    if (!c->stands && SSL_accept(c->ssl) == 1)
        conn_stands(c);
    for (int got; c->stands && (got = SSL_read(c->ssl, plain, sizeof(plain))) > 0;)
        conn_take(c, plain, (size_t)got);
    c->goodbye = SSL_get_shutdown(c->ssl) & SSL_RECEIVED_SHUTDOWN;
    conn_flush(c);
    ERR_clear_error();
}

static void conn_closed(void *owner, sb_socket socket, sb_status why)
{
    conn *c = owner;
    (void)socket;
    (void)why;
    c->closed = true;
}

static const sb_stream_events conn_events = {.received = conn_received, .closed = conn_closed};

static void accepted(void *owner, sb_socket listener, sb_socket stream, const sb_peer *peer)
{
    server *v = owner;
    (void)listener;
    (void)peer;
    assert_true(v->count < CONNS_MAX);
    conn *c = calloc(1, sizeof(*c));
    v->conns[v->count++] = c;
    c->of = v;
    c->socket = stream;
    c->ssl = SSL_new(v->context);
    c->in = BIO_new(BIO_s_mem());
    c->out = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(c->in, -1);
    SSL_set_bio(c->ssl, c->in, c->out);
    SSL_set_accept_state(c->ssl);
    assert_int_equal(v->w->env->ops->adopt(v->w->env, stream, &conn_events, c), SB_OK);
    if (v->greeting)
        (void)v->w->env->ops->stream_write(v->w->env, stream, v->greeting, strlen(v->greeting));
}

static void serve(world *w, server *v, const identity *id)
{
    sb_why why = {0};
    sb_listen_options o = {.group = -1};
    assert_true(sb_addr_parse_port("127.0.0.1:0", 11, 0, &o.local));
    v->w = w;
    v->context = server_context(id);
    v->expect = v->expect ? v->expect : SIZE_MAX;
    assert_int_equal(w->env->ops->stream_listen(w->env, &o, accepted, v, &v->listener, &why),
                     SB_OK);
    assert_int_equal(w->env->ops->local_address(w->env, v->listener, &v->addr), SB_OK);
}

static void server_end(server *v)
{
    v->w->env->ops->close(v->w->env, v->listener);
    for (unsigned i = 0; i < v->count; i++) {
        v->w->env->ops->close(v->w->env, v->conns[i]->socket);
        SSL_free(v->conns[i]->ssl);
        free(v->conns[i]);
    }
    SSL_CTX_free(v->context);
    *v = (server){.w = v->w};
}

/* A server whose certificate is for these names, alone in its world. */
static void serve_names(world *w, server *v, const char *names)
{
    identity id = make_identity(&w->authority, "server", names, -DAY, DAY);
    serve(w, v, &id);
    identity_free(&id);
}

/* ---- the client ---- */

typedef struct end {
    world *w;
    sb_socket socket;
    bool connected, closed, complete;
    bool close_when_connected, close_when_received, pause_when_received;
    sb_status why;
    size_t received, expect;
    uint8_t sum;
    unsigned drained;
} end;

static void end_connected(void *owner, sb_socket socket)
{
    end *e = owner;
    assert_int_equal(socket.generation, e->socket.generation);
    assert_false(e->connected);
    e->connected = true;
    if (e->close_when_connected)
        e->w->env->ops->close(e->w->env, socket);
}

static void end_received(void *owner, sb_socket socket, const uint8_t *bytes, size_t size)
{
    end *e = owner;
    assert_true(e->connected && size > 0);
    e->received += size;
    for (size_t i = 0; i < size; i++)
        e->sum = (uint8_t)(e->sum + bytes[i]);
    e->complete = e->received >= e->expect;
    uv_stop(&e->w->loop);
    if (e->close_when_received)
        e->w->env->ops->close(e->w->env, socket);
    if (e->pause_when_received)
        e->w->env->ops->stream_pause(e->w->env, socket, true);
}

static void end_drained(void *owner, sb_socket socket)
{
    end *e = owner;
    e->drained++;
    assert_int_equal(e->w->env->ops->stream_queued(e->w->env, socket), 0);
}

static void end_closed(void *owner, sb_socket socket, sb_status why)
{
    end *e = owner;
    assert_false(e->closed);
    e->closed = true;
    e->why = why;
    assert_int_equal(e->w->env->ops->stream_write(e->w->env, socket, "x", 1), SB_CLOSED);
}

static const sb_stream_events end_events = {.connected = end_connected, .received = end_received,
                                            .drained = end_drained, .closed = end_closed};

static void connect_to(world *w, end *e, const sb_addr *to, const char *name)
{
    sb_why why = {0};
    e->w = w;
    if (w->env->ops->stream_connect(w->env, to, name, &end_events, e, &e->socket, &why) != SB_OK)
        fail_msg("%s", why.text);
}

static void end_write(end *e, const void *bytes, size_t size)
{
    assert_int_equal(e->w->env->ops->stream_write(e->w->env, e->socket, bytes, size), SB_OK);
}

/* One connection to its end: connected, or why not. */
static sb_status try_connect(world *w, const sb_addr *to, const char *name)
{
    end e = {0};
    connect_to(w, &e, to, name);
    while (!e.connected && !e.closed)
        uv_run(&w->loop, UV_RUN_ONCE);
    if (!e.connected)
        return e.why;
    w->env->ops->close(w->env, e.socket);
    return SB_OK;
}

/* ---- who is believed ---- */

static void test_right_names(void **state)
{
    world *w = *state;
    server v = {0};
    static const char *const good[] = {NAME, "dns.example.", "DNS.example", "a.wild.example",
                                       "127.0.0.1", "2001:db8::1"};
    serve_names(w, &v, "DNS:" NAME ",DNS:*.wild.example,IP:127.0.0.1,IP:2001:db8::1");
    for (size_t i = 0; i < SB_ARRAY_SIZE(good); i++) {
        assert_int_equal(try_connect(w, &v.addr, good[i]), SB_OK);
        conn *c = v.conns[v.count - 1];
        pump(w, &c->stands);
        assert_true(c->dot);
        bool address = i >= 4; /* RFC 6066 §3: no literals in the server name */
        assert_string_equal(c->name, address ? "" : i == 1 ? NAME : good[i]);
    }
    assert_int_equal(w->lines, 0);
    server_end(&v);
}

static void test_wrong_names(void **state)
{
    world *w = *state;
    server v = {0};
    static const char *const bad[] = {"other.example", "example", "x.dns.example", "wild.example",
                                      "a.b.wild.example", "server", "127.0.0.2", "::1"};
    serve_names(w, &v, "DNS:" NAME ",DNS:*.wild.example,IP:127.0.0.1");
    for (size_t i = 0; i < SB_ARRAY_SIZE(bad); i++) { /* "server" is the common name: RFC 8310 */
        w->lines = 0;
        assert_int_equal(try_connect(w, &v.addr, bad[i]), SB_UNTRUSTED);
        assert_int_equal(w->lines, 1);
        assert_non_null(strstr(w->log, "level=debug subsystem=net msg=\"TLS failed\" server=127."));
        assert_non_null(strstr(w->log, "reason=\"the certificate does not verify: "));
        assert_non_null(strstr(w->log, i < 6 ? "hostname mismatch" : "IP address mismatch"));
    }
    static const char *const impossible[] = {".", ".example"};
    for (size_t i = 0; i < SB_ARRAY_SIZE(impossible); i++) {
        end e = {.w = w};
        sb_why why = {0};
        assert_int_equal(w->env->ops->stream_connect(w->env, &v.addr, impossible[i], &end_events,
                                                     &e, &e.socket, &why), SB_INVALID);
        assert_non_null(strstr(why.text, "no certificate can be for that name"));
        assert_false(sb_socket_valid(e.socket));
    }
    server_end(&v);
}

static void test_bad_certificates(void **state)
{
    world *w = *state;
    identity stranger = make_identity(NULL, "a stranger", NULL, -DAY, DAY);
    static const struct {
        bool stranger;
        long from, until;
        const char *reason;
    } table[] = {
        {false, -2 * DAY, -DAY, "certificate has expired"},
        {false, DAY, 2 * DAY, "certificate is not yet valid"},
        {true, -DAY, DAY, "unable to get local issuer certificate"},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        server v = {0};
        identity id = make_identity(table[i].stranger ? &stranger : &w->authority, "server",
                                    "DNS:" NAME, table[i].from, table[i].until);
        serve(w, &v, &id);
        assert_int_equal(try_connect(w, &v.addr, NAME), SB_UNTRUSTED);
        assert_non_null(strstr(w->log, table[i].reason));
        assert_int_equal(try_connect(w, &v.addr, ""), SB_OK); /* opportunistic */
        assert_int_equal(try_connect(w, &v.addr, NAME), SB_UNTRUSTED); /* and still not */
        identity_free(&id);
        server_end(&v);
    }
    identity_free(&stranger);
}

/* Below TLS 1.2, another protocol, nothing at all. */
static void test_no_tls(void **state)
{
    world *w = *state;
    server v = {0}, http = {.raw = true, .greeting = "HTTP/1.0 400 Bad Request\r\n\r\n"};
    serve_names(w, &v, "DNS:" NAME);
    SSL_CTX_set_min_proto_version(v.context, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(v.context, TLS1_1_VERSION);
    SSL_CTX_set_cipher_list(v.context, "ALL:@SECLEVEL=0");
    assert_int_equal(try_connect(w, &v.addr, NAME), SB_UNSUPPORTED);
    server_end(&v);
    serve_names(w, &http, "DNS:" NAME);
    assert_int_equal(try_connect(w, &http.addr, ""), SB_MALFORMED);
    assert_non_null(strstr(w->log, "is no TLS"));
    sb_addr gone = http.addr;
    server_end(&http);
    assert_int_equal(try_connect(w, &gone, NAME), SB_CONNREFUSED);
}

/* The server takes the connection and ends it before it is secured. */
static void test_end_in_handshake(void **state)
{
    world *w = *state;
    server v = {.raw = true};
    end e = {0};
    serve_names(w, &v, "DNS:" NAME);
    connect_to(w, &e, &v.addr, NAME);
    while (v.count == 0)
        uv_run(&w->loop, UV_RUN_ONCE);
    turn(w, NULL, 5 * SB_MS);
    w->env->ops->close(w->env, v.conns[0]->socket);
    pump(w, &e.closed);
    assert_false(e.connected);
    assert_int_equal(e.why, SB_CLOSED);
    assert_non_null(strstr(w->log, "ended before it was secured"));
    server_end(&v);
}

/* ---- resumption ---- */

static void one_exchange(world *w, const sb_addr *to, const char *name)
{
    end e = {.expect = 4};
    connect_to(w, &e, to, name);
    end_write(&e, "ping", 4);
    pump(w, &e.complete);
    w->env->ops->close(w->env, e.socket);
}

static void test_resumption(void **state)
{
    world *w = *state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < SB_ARRAY_SIZE(versions); i++) {
        server v = {.echo = true};
        serve_names(w, &v, "DNS:" NAME ",DNS:other.example");
        SSL_CTX_set_max_proto_version(v.context, versions[i]);
        static const struct {
            const char *name;
            bool reused;
        } table[] = {{NAME, false}, {NAME, true}, {NAME, true}, {"other.example", false},
                     {"", false}, {"", true}, {NAME, true}};
        for (size_t k = 0; k < SB_ARRAY_SIZE(table); k++) {
            one_exchange(w, &v.addr, table[k].name);
            if (v.conns[k]->reused != table[k].reused)
                fail_msg("TLS %zu, connection %zu: resumed %d", i + 2, k, v.conns[k]->reused);
            assert_int_equal(SSL_version(v.conns[k]->ssl), versions[i]);
        }
        server_end(&v);
    }
}

/* A server that vanishes without a goodbye spoils no ticket. */
static void test_resumption_after_reset(void **state)
{
    world *w = *state;
    server v = {.echo = true};
    serve_names(w, &v, "DNS:" NAME);
    for (unsigned i = 0; i < 3; i++) {
        end e = {.expect = 4};
        connect_to(w, &e, &v.addr, NAME);
        end_write(&e, "ping", 4);
        pump(w, &e.complete);
        w->env->ops->close(w->env, v.conns[i]->socket); /* TCP alone */
        pump(w, &e.closed);
        assert_int_equal(e.why, SB_CLOSED);
        assert_int_equal(v.conns[i]->reused, i > 0);
    }
    server_end(&v);
}

/* ---- bytes ---- */

static void test_big_both_ways(void **state)
{
    world *w = *state;
    size_t size = (size_t)900 * 1024;
    server v = {.echo = true};
    end e = {.expect = size};
    serve_names(w, &v, "DNS:" NAME);
    connect_to(w, &e, &v.addr, NAME);
    uint8_t *block = malloc(size);
    uint8_t sum = 0;
    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + (block[i] = (uint8_t)(i * 7)));
    for (unsigned round = 0; round < 2; round++) { /* before the connection stands, and after */
        e.received = e.sum = 0;
        e.complete = false;
        end_write(&e, block, size / 2);
        end_write(&e, block + size / 2, size - size / 2);
        if (round == 0) {
            assert_int_equal(w->env->ops->stream_queued(w->env, e.socket), size);
            assert_int_equal(w->env->ops->stream_write(w->env, e.socket, block, 200 * 1024),
                             SB_LIMIT);
            assert_int_equal(w->env->ops->stream_queued(w->env, e.socket), size);
        }
        pump(w, &e.complete);
        assert_int_equal(e.received, size);
        assert_int_equal(e.sum, sum);
        assert_int_equal(v.conns[0]->received, (round + 1) * size);
        assert_true(e.drained > round);
    }
    w->env->ops->close(w->env, e.socket);
    pump(w, &v.conns[0]->closed);
    assert_true(v.conns[0]->goodbye);
    assert_false(e.closed);
    free(block);
    server_end(&v);
}

/* The limit holds on a connection that stands and whose peer does not read. */
static void test_queue_limit(void **state)
{
    world *w = *state;
    server v = {0};
    end e = {0};
    serve_names(w, &v, "DNS:" NAME);
    connect_to(w, &e, &v.addr, NAME);
    pump(w, &e.connected);
    turn(w, NULL, 5 * SB_MS);
    w->env->ops->stream_pause(w->env, v.conns[0]->socket, true);
    uint8_t *block = calloc(1, 65536);
    sb_status status = SB_OK;
    size_t written = 0;
    while (status == SB_OK && written < (size_t)64 << 20) {
        status = w->env->ops->stream_write(w->env, e.socket, block, 65536);
        if (status == SB_OK)
            written += 65536;
    }
    assert_int_equal(status, SB_LIMIT);
    assert_true(w->env->ops->stream_queued(w->env, e.socket) < ((size_t)1 << 20) + 65536);
    v.expect = written; /* what was taken arrives, although the stream is closed now */
    w->env->ops->close(w->env, e.socket);
    w->env->ops->stream_pause(w->env, v.conns[0]->socket, false);
    pump(w, &v.enough);
    assert_int_equal(v.conns[0]->received, written);
    pump(w, &v.conns[0]->closed);
    assert_true(v.conns[0]->goodbye);
    free(block);
    server_end(&v);
}

/* Pausing holds back what is decrypted or could be; going on needs no byte from the peer. */
static void test_pause(void **state)
{
    world *w = *state;
    server v = {0};
    end e = {.expect = 3 * 1000, .pause_when_received = true};
    serve_names(w, &v, "DNS:" NAME);
    connect_to(w, &e, &v.addr, NAME);
    w->env->ops->stream_pause(w->env, e.socket, true); /* the handshake is not the owner's affair */
    pump(w, &e.connected);
    turn(w, NULL, 5 * SB_MS);
    conn *c = v.conns[0];
    uint8_t block[1000] = {0};
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(SSL_write(c->ssl, block, sizeof(block)), sizeof(block));
    conn_flush(c);
    for (size_t records = 0; records < 4; records++) {
        turn(w, NULL, 5 * SB_MS);
        assert_int_equal(e.received, records * 1000);
        w->env->ops->stream_pause(w->env, e.socket, false);
    }
    server_end(&v);
    pump(w, &e.closed);
    assert_true(e.complete);
}

/* The server asks for new keys and gets an answer; both go on. */
static void test_key_update(void **state)
{
    world *w = *state;
    server v = {.echo = true};
    end e = {.expect = 8};
    serve_names(w, &v, "DNS:" NAME);
    connect_to(w, &e, &v.addr, NAME);
    end_write(&e, "ping", 4);
    while (e.received < 4)
        uv_run(&w->loop, UV_RUN_ONCE);
    assert_int_equal(SSL_key_update(v.conns[0]->ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    assert_int_equal(SSL_do_handshake(v.conns[0]->ssl), 1);
    conn_flush(v.conns[0]);
    turn(w, NULL, 5 * SB_MS);
    end_write(&e, "pong", 4);
    pump(w, &e.complete);
    w->env->ops->close(w->env, e.socket);
    server_end(&v);
}

/* ---- ends ---- */

/* The server says goodbye and still reads: what it sent arrives, and so does what we had queued. */
static void test_half_close(void **state)
{
    world *w = *state;
    server v = {.expect = 1000 * 1000};
    end e = {.expect = 5};
    serve_names(w, &v, "DNS:" NAME);
    v.expect = 1000 * 1000;
    connect_to(w, &e, &v.addr, NAME);
    pump(w, &e.connected);
    turn(w, NULL, 5 * SB_MS);
    uint8_t *block = calloc(1, v.expect);
    end_write(&e, block, v.expect);
    conn *c = v.conns[0];
    assert_int_equal(SSL_write(c->ssl, "hello", 5), 5);
    assert_true(SSL_shutdown(c->ssl) >= 0);
    conn_flush(c);
    pump(w, &e.closed);
    assert_int_equal(e.why, SB_CLOSED);
    assert_true(e.complete);
    pump(w, &v.enough);
    assert_int_equal(c->received, v.expect);
    pump(w, &c->closed);
    assert_true(c->goodbye);
    free(block);
    server_end(&v);
}

/* TCP ends without a goodbye: DNS has lengths of its own, so this is an end like any other. */
static void test_end_without_goodbye(void **state)
{
    world *w = *state;
    server v = {0};
    end e = {.expect = 5};
    serve_names(w, &v, "DNS:" NAME);
    connect_to(w, &e, &v.addr, NAME);
    pump(w, &e.connected);
    turn(w, NULL, 5 * SB_MS);
    assert_int_equal(SSL_write(v.conns[0]->ssl, "hello", 5), 5);
    conn_flush(v.conns[0]);
    w->env->ops->close(w->env, v.conns[0]->socket);
    pump(w, &e.closed);
    assert_true(e.complete);
    assert_int_equal(e.why, SB_CLOSED);
    assert_int_equal(w->lines, 0);
    server_end(&v);
}

static void test_forged_record(void **state)
{
    world *w = *state;
    server v = {0};
    end e = {0};
    static const uint8_t forged[] = {23, 3, 3, 0, 20, 1, 2,  3,  4,  5,  6,  7, 8,
                                     9,  0, 1, 2, 3,  4, 5, 6, 7, 8, 9, 0};
    serve_names(w, &v, "DNS:" NAME);
    connect_to(w, &e, &v.addr, NAME);
    pump(w, &e.connected);
    turn(w, NULL, 5 * SB_MS);
    assert_int_equal(w->env->ops->stream_write(w->env, v.conns[0]->socket, forged, sizeof(forged)),
                     SB_OK);
    pump(w, &e.closed);
    assert_int_equal(e.why, SB_MALFORMED);
    assert_int_equal(e.received, 0);
    assert_int_equal(w->lines, 1);
    server_end(&v);
}

/* Closed after any number of turns of the loop, and from within any callback: nothing stays open,
 * nobody is told. */
static void test_cancel_anywhere(void **state)
{
    world *w = *state;
    server v = {.echo = true};
    serve_names(w, &v, "DNS:" NAME);
    static const char *const names[] = {NAME, "", "wrong.example"};
    unsigned before = descriptors();
    for (unsigned turns = 0; turns < 40; turns++) {
        bool within = turns >= 38;
        end e = {.close_when_connected = turns == 38, .close_when_received = turns == 39};
        connect_to(w, &e, &v.addr, within ? NAME : names[turns % 3]);
        if (within || turns % 2 == 0)
            end_write(&e, "ping", 4);
        for (unsigned i = 0; i < turns; i++)
            uv_run(&w->loop, UV_RUN_NOWAIT);
        while (within && !(turns == 38 ? e.connected : e.complete))
            uv_run(&w->loop, UV_RUN_NOWAIT);
        bool told = e.closed;
        w->env->ops->close(w->env, e.socket);
        for (unsigned i = 0; descriptors() != before && i < 2000; i++)
            turn(w, NULL, SB_MS);
        assert_int_equal(descriptors(), before);
        assert_int_equal(e.closed, told);
    }
    server_end(&v);
}

/* Streams under way when the env ends. */
static void test_env_ends(void **state)
{
    world *w = *state;
    server v = {.echo = true};
    end stages[3] = {{0}};
    serve_names(w, &v, "DNS:" NAME);
    connect_to(w, &stages[0], &v.addr, NAME);
    pump(w, &stages[0].connected);
    end_write(&stages[0], "ping", 4);
    connect_to(w, &stages[1], &v.addr, NAME);
    end_write(&stages[1], "ping", 4);
    uv_run(&w->loop, UV_RUN_NOWAIT);
    connect_to(w, &stages[2], &v.addr, "");
    server_end(&v);
}

/* ---- the delayed acknowledgement ---- */

/* A peer with Nagle's algorithm sends each reply in two pieces: the second waits for our
 * acknowledgement of the first. */
static void serve_in_pieces(int listener)
{
    char byte;
    int fd = accept(listener, NULL, NULL);
    while (fd >= 0 && recv(fd, &byte, 1, 0) == 1)
        if (send(fd, "ab", 2, MSG_NOSIGNAL) != 2 || send(fd, "cde", 3, MSG_NOSIGNAL) != 3)
            break;
    _exit(0);
}

static void test_quick_acknowledgements(void **state)
{
    world *w = *state;
    struct sockaddr_storage sa;
    sb_addr addr;
    socklen_t size;
    assert_true(sb_addr_parse_port("127.0.0.1:0", 11, 0, &addr));
    size = sb_addr_to_sockaddr(&addr, &sa);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&sa, size), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&sa, &size), 0);
    addr = sb_addr_from_sockaddr((struct sockaddr *)&sa);
    pid_t pid = fork();
    if (pid == 0)
        serve_in_pieces(listener);
    close(listener);
    end e = {0};
    connect_to(w, &e, &addr, NULL);
    pump(w, &e.connected);
    unsigned slow = 0;
    for (unsigned round = 1; round <= 20; round++) {
        e.complete = false;
        e.expect = round * 5;
        sb_ns start = sb_env_now(w->env);
        end_write(&e, "?", 1);
        pump(w, &e.complete);
        slow += sb_env_now(w->env) - start > 30 * SB_MS;
    }
    w->env->ops->close(w->env, e.socket);
    waitpid(pid, NULL, 0);
    assert_true(slow < 10); /* all of them with delayed ones; a busy machine may add a few */
}

int main(void)
{
#define IN_WORLD(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        IN_WORLD(test_right_names),
        IN_WORLD(test_wrong_names),
        IN_WORLD(test_bad_certificates),
        IN_WORLD(test_no_tls),
        IN_WORLD(test_end_in_handshake),
        IN_WORLD(test_resumption),
        IN_WORLD(test_resumption_after_reset),
        IN_WORLD(test_big_both_ways),
        IN_WORLD(test_queue_limit),
        IN_WORLD(test_pause),
        IN_WORLD(test_key_update),
        IN_WORLD(test_half_close),
        IN_WORLD(test_end_without_goodbye),
        IN_WORLD(test_forged_record),
        IN_WORLD(test_cancel_anywhere),
        IN_WORLD(test_env_ends),
        IN_WORLD(test_quick_acknowledgements),
    };
    return cmocka_run_group_tests_name("io_tls_stream", tests, NULL, NULL);
}
