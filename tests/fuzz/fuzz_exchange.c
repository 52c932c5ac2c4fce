/* The exchange against an upstream that may say anything: each pair of length bytes is followed by
 * a datagram, or by a piece of the stream once the exchange has moved to TCP. A length with its top
 * bit set is an event: the stream connects, closes, or the network refuses. IDs are all 0x1234, and
 * the case of the question, which a response must repeat, is lower; cookies are all the same. */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "dns/rdata.h"
#include "fuzz_check.h"
#include "net/exchange.h"

typedef struct world {
    sb_env env; /* first */
    sb_ns now;
    unsigned opened;
    struct {
        bool open;
        unsigned generation;
        void *owner;
    } sockets[3];    /* the datagram socket, two streams */
    unsigned latest; /* of the streams */
    bool connected;  /* it is */
    const sb_udp_events *udp;
    const sb_stream_events *tcp;
    bool done;
} world;

static world w;
static const sb_addr remote = {.bytes = {192, 0, 2, 1}, .port = 53, .family = SB_FAMILY_4};

static sb_ns now(sb_env *env)
{
    (void)env;
    return w.now;
}

static void entropy(sb_env *env, void *ret, size_t size)
{
    sb_writer out = sb_writer_of(ret, size);
    (void)env;
    for (size_t i = 0; i < size; i++)
        sb_write_u8(&out, size > 2 ? 0 : i % 2 ? 0x34 : 0x12);
}

static void rearm(sb_env *env)
{
    (void)env;
}

static void open_one(void *owner, bool is_stream, sb_socket *ret)
{
    uint32_t i = !is_stream ? 0 : w.sockets[1].open ? 2 : 1;
    CHECK(!w.sockets[0].open && !w.sockets[i].open);
    w.sockets[i].open = true;
    w.sockets[i].owner = owner;
    w.sockets[i].generation = ++w.opened;
    if (is_stream)
        w.latest = i;
    *ret = (sb_socket){i, w.opened};
}

/* Where the exchange listens: a connection may stay open behind it. */
static unsigned listening(void)
{
    return w.sockets[0].open ? 0 : w.latest;
}

static bool any_open(void)
{
    return w.sockets[0].open || w.sockets[1].open || w.sockets[2].open;
}

static sb_status udp_open(sb_env *env, const sb_udp_options *options, const sb_udp_events *events,
                          void *owner, sb_socket *ret, sb_why *why)
{
    (void)env;
    (void)options;
    (void)why;
    open_one(owner, false, ret);
    w.udp = events;
    return SB_OK;
}

static sb_status udp_send(sb_env *env, sb_socket socket, const sb_addr *to, const sb_addr *from,
                          const void *bytes, size_t size)
{
    (void)env;
    (void)socket;
    (void)to;
    (void)from;
    CHECK(bytes && size > SB_MSG_HEADER);
    return SB_OK;
}

static sb_status stream_connect(sb_env *env, const sb_addr *to, const char *tls_name,
                                const sb_stream_events *events, void *owner, sb_socket *ret,
                                sb_why *why)
{
    (void)env;
    (void)to;
    (void)tls_name;
    (void)why;
    open_one(owner, true, ret);
    w.connected = false;
    w.tcp = events;
    return SB_OK;
}

static sb_status stream_write(sb_env *env, sb_socket socket, const void *bytes, size_t size)
{
    (void)env;
    (void)socket;
    CHECK(bytes && size > 2 + SB_MSG_HEADER);
    return SB_OK;
}

static void close_one(sb_env *env, sb_socket socket)
{
    (void)env;
    CHECK(w.sockets[socket.index].open);
    CHECK(w.sockets[socket.index].generation == socket.generation);
    w.sockets[socket.index].open = false;
}

static sb_status source_address(sb_env *env, const sb_addr *destination, sb_addr *ret)
{
    (void)env;
    (void)destination;
    (void)ret;
    return SB_UNREACHABLE;
}

static sb_status local_address(sb_env *env, sb_socket socket, sb_addr *ret)
{
    (void)env;
    (void)socket;
    *ret = remote;
    return SB_OK;
}

static const sb_env_ops ops = {
    .now = now,
    .entropy = entropy,
    .rearm = rearm,
    .udp_open = udp_open,
    .udp_send = udp_send,
    .stream_connect = stream_connect,
    .stream_write = stream_write,
    .close = close_one,
    .source_address = source_address,
    .local_address = local_address,
};

static void done(sb_op *op)
{
    sb_exchange *x = sb_container_of(op, sb_exchange, op);
    CHECK(!w.done && !w.sockets[0].open); /* a connection stays for others */
    CHECK((op->status == SB_OK) == (x->answer != NULL));
    w.done = true;
}

static void event(unsigned what)
{
    unsigned i = listening();
    sb_socket socket = {i, w.sockets[i].generation};
    if (i == 0) {
        w.udp->failed(w.sockets[0].owner, socket, SB_CONNREFUSED);
    } else if (!w.connected && what % 2 == 0) {
        w.connected = true;
        w.tcp->connected(w.sockets[i].owner, socket);
    } else {
        w.sockets[i].open = false; /* the socket is already gone */
        w.tcp->closed(w.sockets[i].owner, socket, SB_CLOSED);
    }
}

static void bytes_come(const uint8_t *bytes, size_t size)
{
    unsigned i = listening();
    sb_socket socket = {i, w.sockets[i].generation};
    uint8_t *copy = sb_alloc(size); /* so that a sanitizer sees every byte beyond */
    if (!copy)
        return;
    memcpy(copy, bytes, size);
    sb_datagram datagram = {.bytes = copy, .size = size, .from = remote};
    if (i == 0)
        w.udp->received(w.sockets[0].owner, socket, &datagram);
    else if (w.connected)
        w.tcp->received(w.sockets[i].owner, socket, copy, size);
    sb_free(copy);
}

static void feed(sb_reader *r)
{
    while (w.sockets[listening()].open && sb_reader_left(r) >= 2) {
        unsigned length = sb_read_u16(r);
        if (length & 0x8000) {
            event(length);
            continue;
        }
        size_t size = length < sb_reader_left(r) ? length : sb_reader_left(r);
        sb_span piece = sb_read_span(r, size);
        bytes_come(piece.data, piece.size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static sb_stats stats;
    sb_events events;
    sb_upstreams *ups;
    sb_exchange x;
    sb_server_setting server = {.addr = remote};
    sb_settings settings = {.upstreams = &server, .upstream_count = 1};
    sb_question question = {.type = SB_TYPE_A, .class = SB_CLASS_IN};
    sb_log_set_level(SB_LOG_UPSTREAM, SB_LOG_ERROR);
    w = (world){.now = SB_S};
    sb_env_init(&w.env, &ops, 1);
    sb_stats_init(&stats);
    CHECK(sb_name_parse("www.example", 11, &question.name, NULL) == SB_OK);
    CHECK(sb_events_init(&events, &w.env, 0) == SB_OK);
    CHECK(sb_upstreams_new(&w.env, &stats, &events, &ups) == SB_OK);
    CHECK(sb_upstreams_configure(ups, &settings, NULL) == SB_OK);
    sb_upstream *up = sb_upstreams_pool(ups, &question.name)->servers[0];
    sb_exchange_start(&x, ups, up, &question, 1, NULL, 2 * SB_S, done);
    sb_reader r = sb_reader_of(data, size);
    feed(&r);
    /* Repetitions and the round trips of TCP may move its end, not for long. */
    for (unsigned i = 0; i < 40 && !w.done; i++) {
        w.now += SB_S;
        (void)sb_env_drain(&w.env, 100);
    }
    CHECK(w.done);
    sb_exchange_fini(&x);
    sb_upstreams_free(ups);
    CHECK(!any_open());
    sb_events_fini(&events);
    return 0;
}
