/* A stream that may say anything, cut anywhere: the frame reader against a plain walk over the same
 * bytes, then whole connections with queries on them.
 *
 * The first byte is the size of a piece. For the second part each byte above 0xef between pieces is
 * an event: connect, close, silence, a query asked, dropped or timed out, a network change. IDs
 * count up from 1. */
#include "base/log.h"
#include "base/mem.h"
#include "fuzz_check.h"
#include "net/conn.h"

#define SOCKETS SB_CONNS_MAX
#define ASKERS 6

typedef struct asker {
    sb_conn_query query; /* first */
    uint16_t id;
    bool asked, written;
} asker;

typedef struct world {
    sb_env env; /* first */
    sb_ns now;
    uint16_t ids;
    uint32_t opened;
    struct {
        bool open, stands;
        uint32_t generation;
        void *owner;
    } sockets[SOCKETS];
    const sb_stream_events *events;
    asker askers[ASKERS];
} world;

static world w;

static sb_ns now(sb_env *env)
{
    (void)env;
    return w.now;
}

static void entropy(sb_env *env, void *ret, size_t size)
{
    sb_writer out = sb_writer_of(ret, size);
    (void)env;
    w.ids++;
    for (size_t i = 0; i < size; i++)
        sb_write_u8(&out, i == 1 ? (uint8_t)w.ids : (uint8_t)(w.ids >> 8));
}

static void rearm(sb_env *env)
{
    (void)env;
}

static sb_status stream_connect(sb_env *env, const sb_addr *to, const char *tls_name,
                                const sb_stream_events *events, void *owner, sb_socket *ret,
                                sb_why *why)
{
    (void)env;
    (void)to;
    (void)tls_name;
    (void)why;
    for (uint32_t i = 0; i < SOCKETS; i++) {
        if (w.sockets[i].open)
            continue;
        w.events = events;
        w.sockets[i].open = true;
        w.sockets[i].stands = false;
        w.sockets[i].generation = ++w.opened;
        w.sockets[i].owner = owner;
        *ret = (sb_socket){i, w.opened};
        return SB_OK;
    }
    CHECK(false); /* so many per server, no more */
    return SB_LIMIT;
}

static sb_status stream_write(sb_env *env, sb_socket socket, const void *bytes, size_t size)
{
    (void)env;
    CHECK(w.sockets[socket.index].stands && bytes && size == 4);
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

static const sb_env_ops ops = {
    .now = now,
    .entropy = entropy,
    .rearm = rearm,
    .stream_connect = stream_connect,
    .stream_write = stream_write,
    .close = close_one,
    .source_address = source_address,
};

static size_t write_one(sb_conn_query *query, uint16_t id, uint8_t *buffer, size_t capacity)
{
    asker *a = (asker *)query;
    CHECK(a->asked && capacity >= SB_CONN_QUERY_SIZE_MAX);
    for (unsigned i = 0; i < ASKERS; i++)
        CHECK(!w.askers[i].asked || !w.askers[i].written || w.askers[i].id != id);
    a->written = true;
    a->id = id;
    sb_store_u16(buffer, id);
    return 2;
}

static void got_one(sb_conn_query *query, const uint8_t *bytes, size_t size)
{
    asker *a = (asker *)query;
    CHECK(a->asked && a->written && size >= 2 && sb_load_u16(bytes) == a->id);
    if (size > 2 && bytes[2] & 1)
        return; /* a near miss: it waits on */
    a->asked = false;
    sb_conn_drop(&a->query, false);
}

static void lost_one(sb_conn_query *query, sb_status why)
{
    asker *a = (asker *)query;
    CHECK(a->asked && !a->query.conn && why != SB_OK);
    a->asked = false;
}

static const sb_conn_events events = {write_one, got_one, lost_one};

static void ask(asker *a, sb_upstreams *ups, sb_upstream *server)
{
    if (a->asked)
        return;
    a->asked = true;
    a->written = false;
    a->asked = sb_conn_ask(&a->query, ups, server, &events) == SB_OK;
}

/* The first that is open (and stands, if it must), or the last; 0 when there is none. */
static uint32_t pick(bool last, bool stands)
{
    uint32_t best = 0;
    for (uint32_t i = SOCKETS; i-- > 0;)
        if (w.sockets[i].open && (!stands || w.sockets[i].stands)) {
            best = i;
            if (last)
                break;
        }
    return best;
}

static void event(unsigned what, sb_upstreams *ups, sb_upstream *server)
{
    unsigned i = pick(what % 2, false);
    sb_socket socket = {i, w.sockets[i].generation};
    switch (what / 2 % 8) {
    case 0:
        if (!w.sockets[i].open || w.sockets[i].stands)
            return;
        w.sockets[i].stands = true;
        w.events->connected(w.sockets[i].owner, socket);
        return;
    case 1:
        if (!w.sockets[i].open)
            return;
        w.sockets[i].open = false;
        w.events->closed(w.sockets[i].owner, socket, SB_CLOSED);
        return;
    case 2:
        w.now += what % 2 ? SB_S : SB_CONN_IDLE;
        (void)sb_env_drain(&w.env, 100);
        return;
    case 3:
        sb_upstreams_reset(ups);
        return;
    default:
        break;
    }
    asker *a = &w.askers[what % ASKERS];
    if (what & 8) {
        ask(a, ups, server);
        return;
    }
    a->asked = false;
    sb_conn_drop(&a->query, what % 2);
}

static void play(const uint8_t *data, size_t size, size_t piece)
{
    static sb_stats stats;
    sb_events bus;
    sb_upstreams *ups;
    sb_server_setting setting = {.addr = sb_addr_4((const uint8_t[]){192, 0, 2, 1}, 53)};
    sb_settings settings = {.upstreams = &setting, .upstream_count = 1};
    sb_name root = {.size = 1};
    sb_log_set_level(SB_LOG_UPSTREAM, SB_LOG_ERROR);
    w = (world){.now = SB_S};
    sb_env_init(&w.env, &ops, 1);
    sb_stats_init(&stats);
    CHECK(sb_events_init(&bus, &w.env, 0) == SB_OK);
    CHECK(sb_upstreams_new(&w.env, &stats, &bus, &ups) == SB_OK);
    CHECK(sb_upstreams_configure(ups, &settings, NULL) == SB_OK);
    sb_upstream *server = sb_upstreams_pool(ups, &root)->servers[0];
    for (unsigned i = 0; i < ASKERS / 2; i++)
        ask(&w.askers[i], ups, server);
    for (size_t at = 0; at < size;) {
        if (data[at] > 0xef) {
            event(data[at++], ups, server);
            continue;
        }
        size_t n = size - at < piece ? size - at : piece;
        unsigned i = pick(n % 2 == 0, true);
        if (w.sockets[i].open && w.sockets[i].stands)
            w.events->received(w.sockets[i].owner, (sb_socket){i, w.sockets[i].generation},
                               data + at, n);
        at += n;
    }
    for (unsigned i = 0; i < ASKERS; i++)
        sb_conn_drop(&w.askers[i].query, false);
    sb_upstreams_free(ups);
    for (unsigned i = 0; i < SOCKETS; i++)
        CHECK(!w.sockets[i].open);
    sb_events_fini(&bus);
}

static void read_frames(const uint8_t *data, size_t size, size_t piece)
{
    sb_frames frames = {0};
    sb_reader plain = sb_reader_of(data, size);
    sb_span message;
    for (size_t at = 0; at < size; at += piece) {
        CHECK(sb_frames_add(&frames, data + at, size - at < piece ? size - at : piece));
        while (sb_frames_next(&frames, &message)) {
            sb_span expected = sb_read_span(&plain, sb_read_u16(&plain));
            CHECK(!plain.failed && expected.size == message.size);
            CHECK(message.size == 0 || memcmp(expected.data, message.data, message.size) == 0);
        }
    }
    size_t left = sb_reader_left(&plain);
    (void)sb_read_span(&plain, sb_read_u16(&plain));
    CHECK(left == 0 || plain.failed); /* nothing whole is left */
    sb_frames_fini(&frames);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    size_t piece = 1 + (size_t)data[0] * data[0] / 4;
    read_frames(data + 1, size - 1, piece);
    play(data + 1, size - 1, piece);
    return 0;
}
