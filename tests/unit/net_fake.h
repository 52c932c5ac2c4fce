/* A scripted env for the tests of net/: sockets are rows of a table, the clock is a number. */
#ifndef SB_TESTS_NET_FAKE_H
#define SB_TESTS_NET_FAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/exchange.h"

#define FAKE_SOCKETS 32

typedef struct fake_socket {
    bool open, stream;
    void *owner;
    const sb_udp_events *udp;
    const sb_stream_events *tcp;
    sb_addr remote;
    uint8_t sent[1024];
    size_t sent_size;
    bool has_tls_name;
} fake_socket;

typedef struct fake {
    sb_env env; /* first */
    sb_ns now;
    fake_socket sockets[FAKE_SOCKETS];
    unsigned count; /* opened so far; index + 1 is the generation */
    sb_status open_status, send_status, connect_status;
    uint16_t entropy;
    bool has_tls;
    sb_stats stats;
    sb_events events;
    unsigned seen[SB_EVENT_COUNT];
    sb_event last[SB_EVENT_COUNT];
    sb_upstreams *ups;
} fake;

static inline sb_ns fake_now(sb_env *env)
{
    return ((fake *)env)->now;
}

static inline void fake_entropy(sb_env *env, void *ret, size_t size)
{
    fake *f = (fake *)env;
    f->entropy = (uint16_t)(f->entropy * 31 + 4567);
    assert_int_equal(size, 2);
    memcpy(ret, &f->entropy, 2);
}

static inline void fake_rearm(sb_env *env)
{
    (void)env;
}

static inline fake_socket *fake_open(sb_env *env, void *owner, const sb_addr *remote,
                                     sb_socket *ret)
{
    fake *f = (fake *)env;
    assert_true(f->count < FAKE_SOCKETS);
    fake_socket *s = &f->sockets[f->count++];
    *s = (fake_socket){.open = true, .owner = owner, .remote = *remote};
    *ret = (sb_socket){f->count - 1, f->count};
    return s;
}

static inline sb_status fake_udp_open(sb_env *env, const sb_udp_options *options,
                                      const sb_udp_events *events, void *owner, sb_socket *ret,
                                      sb_why *why)
{
    (void)why;
    if (((fake *)env)->open_status)
        return ((fake *)env)->open_status;
    assert_int_equal(options->local.port, 0);
    assert_int_equal(options->local.family, options->remote.family);
    fake_open(env, owner, &options->remote, ret)->udp = events;
    return SB_OK;
}

static inline fake_socket *fake_at(fake *f, sb_socket socket)
{
    assert_true(socket.index < f->count && socket.generation == socket.index + 1);
    return &f->sockets[socket.index];
}

static inline void fake_store(fake_socket *s, const void *bytes, size_t size)
{
    assert_true(s->open && size <= sizeof s->sent);
    memcpy(s->sent, bytes, size);
    s->sent_size = size;
}

static inline sb_status fake_udp_send(sb_env *env, sb_socket socket, const sb_addr *to,
                                      const sb_addr *from, const void *bytes, size_t size)
{
    fake *f = (fake *)env;
    assert_null(to);
    assert_null(from);
    if (f->send_status)
        return f->send_status;
    fake_store(fake_at(f, socket), bytes, size);
    return SB_OK;
}

static inline sb_status fake_connect(sb_env *env, const sb_addr *remote, const char *tls_name,
                                     const sb_stream_events *events, void *owner, sb_socket *ret,
                                     sb_why *why)
{
    (void)why;
    if (tls_name && !((fake *)env)->has_tls)
        return SB_UNSUPPORTED;
    if (((fake *)env)->connect_status)
        return ((fake *)env)->connect_status;
    fake_socket *s = fake_open(env, owner, remote, ret);
    s->tcp = events;
    s->stream = true;
    return SB_OK;
}

static inline sb_status fake_write(sb_env *env, sb_socket socket, const void *bytes, size_t size)
{
    fake_store(fake_at((fake *)env, socket), bytes, size);
    return SB_OK;
}

static inline void fake_close(sb_env *env, sb_socket socket)
{
    fake_socket *s = fake_at((fake *)env, socket);
    assert_true(s->open); /* once */
    s->open = false;
}

/* 192.0.2.99 is this machine's. */
static inline sb_status fake_source(sb_env *env, const sb_addr *destination, sb_addr *ret)
{
    (void)env;
    sb_addr own = sb_addr_4((const uint8_t[]){192, 0, 2, 99}, 0);
    *ret = own;
    (void)destination;
    return SB_OK;
}

static inline void fake_read_event(void *context, const sb_event *event)
{
    fake *f = context;
    f->seen[event->type]++;
    f->last[event->type] = *event;
}

static const sb_env_ops fake_ops = {
    .now = fake_now,
    .entropy = fake_entropy,
    .rearm = fake_rearm,
    .udp_open = fake_udp_open,
    .udp_send = fake_udp_send,
    .stream_connect = fake_connect,
    .stream_write = fake_write,
    .close = fake_close,
    .source_address = fake_source,
};

static inline void fake_drain(fake *f)
{
    while (sb_env_drain(&f->env, 100) <= f->now)
        ;
}

static inline void fake_advance(fake *f, sb_ns by)
{
    f->now += by;
    fake_drain(f);
}

static inline unsigned fake_open_sockets(const fake *f)
{
    unsigned n = 0;
    for (unsigned i = 0; i < f->count; i++)
        n += f->sockets[i].open;
    return n;
}

static inline sb_addr fake_addr(const char *text)
{
    sb_addr a;
    assert_true(sb_addr_parse_port(text, strlen(text), 53, &a));
    return a;
}

static inline fake *fake_new(void)
{
    fake *f = test_calloc(1, sizeof *f);
    sb_env_init(&f->env, &fake_ops, 1);
    f->now = 1000 * SB_S;
    sb_stats_init(&f->stats);
    assert_int_equal(sb_events_init(&f->events, &f->env, 0), SB_OK);
    assert_int_equal(sb_events_attach(&f->events, fake_read_event, f), SB_OK);
    assert_int_equal(sb_upstreams_new(&f->env, &f->stats, &f->events, &f->ups), SB_OK);
    sb_log_set_level(SB_LOG_UPSTREAM, SB_LOG_ERROR);
    return f;
}

static inline void fake_free(fake *f)
{
    sb_upstreams_free(f->ups);
    sb_events_fini(&f->events);
    test_free(f);
}

/* Servers by text, all in tier 0 unless the text is followed by @N. */
static inline void fake_configure(fake *f, sb_settings *settings, sb_server_setting *servers,
                                  const char *const *texts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *at = strchr(texts[i], '@');
        size_t size = at ? (size_t)(at - texts[i]) : strlen(texts[i]);
        servers[i] = (sb_server_setting){.tier = at ? (unsigned)(at[1] - '0') : 0};
        assert_true(sb_addr_parse_port(texts[i], size, 53, &servers[i].addr));
    }
    settings->upstreams = servers;
    settings->upstream_count = n;
    assert_int_equal(sb_upstreams_configure(f->ups, settings, NULL), SB_OK);
}

static inline sb_name fake_name(const char *text)
{
    sb_name name;
    sb_why why;
    assert_int_equal(sb_name_parse(text, strlen(text), &name, &why), SB_OK);
    return name;
}

#endif
