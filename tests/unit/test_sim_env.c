/* The simulated machine keeps the law of the seam: order, generations, refusal, kill. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/op.h"
#include "sim/sim_env.h"

typedef struct peer {
    sb_env *env;
    sb_socket socket;
    unsigned received, failed, closed, drained;
    sb_status why;
    size_t bytes;
    uint8_t last[70000];
} peer;

static void got(void *owner, sb_socket socket, const sb_datagram *d)
{
    (void)socket;
    peer *p = owner;
    p->received++;
    p->bytes = d->size;
}

static void failed(void *owner, sb_socket socket, sb_status why)
{
    (void)socket;
    peer *p = owner;
    p->failed++;
    p->why = why;
}

static const sb_udp_events udp = {got, failed};

static void stream_got(void *owner, sb_socket socket, const uint8_t *bytes, size_t size)
{
    (void)socket;
    peer *p = owner;
    if (p->bytes + size <= sizeof p->last)
        memcpy(p->last + p->bytes, bytes, size);
    p->bytes += size;
}

static void stream_closed(void *owner, sb_socket socket, sb_status why)
{
    (void)socket;
    peer *p = owner;
    p->closed++;
    p->why = why;
}

static void stream_connected(void *owner, sb_socket socket)
{
    peer *p = owner;
    p->received++;
    uint8_t data[70000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7);
    assert_int_equal(p->env->ops->stream_write(p->env, socket, data, sizeof data), SB_OK);
}

static void stream_drained(void *owner, sb_socket socket)
{
    (void)socket;
    ((peer *)owner)->drained++;
}

static const sb_stream_events stream = {stream_connected, stream_got, stream_drained,
                                        stream_closed};

static void echo(sim_host *host, sim *s, const sb_addr *from, const sb_addr *to,
                 const uint8_t *bytes, size_t size)
{
    (void)to;
    sim_send(s, host, from, bytes, size);
}

static bool accept_all(sim_host *host, sim *s, sb_socket conn)
{
    (void)host;
    (void)s;
    (void)conn;
    return true;
}

static void echo_stream(sim_host *host, sim *s, sb_socket conn, const uint8_t *bytes, size_t size)
{
    (void)host;
    sim_conn_write(s, conn, bytes, size);
}

static sim_host host_at(const char *text)
{
    sim_host host = {.link = {SB_MS, 5 * SB_MS, 0, 0},
                     .datagram = echo,
                     .accepted = accept_all,
                     .received = echo_stream};
    assert_true(sb_addr_parse_port(text, strlen(text), 53, &host.addr));
    return host;
}

static uint64_t talk(uint64_t seed)
{
    sim *s = sim_new();
    sim_reset(s, seed);
    sim_host host = host_at("10.0.0.2:53");
    sim_host_add(s, &host);
    sb_env *env = sim_process_start(s);
    peer p = {.env = env};
    sb_udp_options options = {.remote = host.addr};
    assert_int_equal(env->ops->udp_open(env, &options, &udp, &p, &p.socket, NULL), SB_OK);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(env->ops->udp_send(env, p.socket, NULL, NULL, "hello", 5), SB_OK);
    while (sim_step(s, sim_now(s) + SB_S)) {
    }
    assert_int_equal(p.received, 10);
    host.reach = SIM_PORT_CLOSED;
    assert_int_equal(env->ops->udp_send(env, p.socket, NULL, NULL, "hello", 5), SB_OK);
    while (sim_step(s, sim_now(s) + SB_S)) {
    }
    assert_int_equal(p.failed, 1);
    assert_int_equal(p.why, SB_CONNREFUSED);
    /* After close, nothing comes. */
    host.reach = SIM_UP;
    assert_int_equal(env->ops->udp_send(env, p.socket, NULL, NULL, "hello", 5), SB_OK);
    env->ops->close(env, p.socket);
    while (sim_step(s, sim_now(s) + SB_S)) {
    }
    assert_int_equal(p.received, 10);
    assert_int_equal(sim_process_leaks(s, env), 0);
    uint64_t trace = sim_trace(s);
    sim_process_end(s, env, 0);
    sim_free(s);
    return trace;
}

static void datagrams(void **state)
{
    (void)state;
    assert_true(talk(1) == talk(1));
    assert_true(talk(1) != talk(2));
}

static void streams(void **state)
{
    (void)state;
    sim *s = sim_new();
    sim_host host = host_at("10.0.0.2:53");
    sim_host_add(s, &host);
    sb_env *env = sim_process_start(s);
    static peer p;
    memset(&p, 0, sizeof p);
    p.env = env;
    assert_int_equal(env->ops->stream_connect(env, &host.addr, NULL, &stream, &p, &p.socket, NULL),
                     SB_OK);
    while (sim_step(s, sim_now(s) + SB_MS / 2)) {
    }
    env->ops->stream_pause(env, p.socket, true);
    for (unsigned i = 0; i < 200; i++) {
        while (sim_step(s, sim_now(s) + SB_MS)) {
        }
    }
    assert_int_equal(p.bytes, 0);
    assert_true(p.drained >= 1);
    env->ops->stream_pause(env, p.socket, false);
    while (sim_step(s, sim_now(s) + SB_S)) {
    }
    assert_int_equal(p.bytes, 70000);
    for (size_t i = 0; i < p.bytes; i++)
        assert_int_equal(p.last[i], (uint8_t)(i * 7));
    env->ops->close(env, p.socket);
    sim_process_end(s, env, 0);
    sim_free(s);
}

static sb_status known_to_one(sim_host *host, sim *s, const char *name)
{
    (void)host;
    (void)s;
    return strcmp(name, "dns.example") == 0 ? SB_OK : SB_REFUSED;
}

/* TLS costs a round trip more, and a certificate may be refused; plain streams know nothing of it.
 */
static void tls(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        sb_status end;
        unsigned ways; /* over the link until the program hears */
    } table[] = {{"dns.example", SB_OK, 4}, {"other.example", SB_REFUSED, 4}, {NULL, SB_OK, 2}};
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        sim *s = sim_new();
        sim_host host = host_at("10.0.0.2:853");
        host.link = (sim_link){SB_MS, SB_MS, 0, 0};
        host.refuse_tls = known_to_one;
        sim_host_add(s, &host);
        sb_env *env = sim_process_start(s);
        static peer p;
        memset(&p, 0, sizeof p);
        p.env = env;
        assert_int_equal(env->ops->stream_connect(env, &host.addr, table[i].name, &stream, &p,
                                                  &p.socket, NULL), SB_OK);
        sb_ns start = sim_now(s);
        while (p.received + p.closed == 0)
            assert_true(sim_step(s, start + SB_S));
        assert_int_equal(sim_now(s) - start, table[i].ways * SB_MS);
        assert_int_equal(p.closed, table[i].end != SB_OK);
        assert_int_equal(p.why, table[i].end);
        env->ops->close(env, p.socket);
        sim_process_end(s, env, 0);
        sim_free(s);
    }
}

static void kill_keeps_the_file(void **state)
{
    (void)state;
    sim *s = sim_new();
    sb_env *env = sim_process_start(s);
    sb_mapping map;
    assert_int_equal(env->ops->map_create(env, "/c", 8192, 0600, -1, &map, NULL), SB_OK);
    memset(map.base, 1, 8192);
    assert_int_equal(env->ops->map_publish(env, &map, NULL), SB_OK);
    sb_env *other = sim_process_start(s);
    sb_mapping second;
    assert_int_equal(other->ops->map_open(other, "/c", &second, NULL), SB_BUSY);
    sim_disk_mark(s);
    memset(map.base, 2, 8192);
    sim_process_freeze(s, env);
    memset(map.base, 3, 8192); /* what the dead process' clean-up writes is lost */
    env->ops->map_close(env, &map);
    sim_process_end(s, env, 0);
    size_t size;
    const uint8_t *bytes = sim_file_bytes(s, "/c", &size);
    assert_int_equal(size, 8192);
    assert_int_equal(bytes[0], 2);
    assert_int_equal(other->ops->map_open(other, "/c", &second, NULL), SB_OK);
    sim_process_freeze(s, other);
    sim_process_end(s, other, 1000);
    assert_int_equal(sim_file_bytes(s, "/c", &size)[4096], 1);
    sim_free(s);
}

static void clocks(void **state)
{
    (void)state;
    sim *s = sim_new();
    sb_env *env = sim_process_start(s);
    sb_clock a, b;
    env->ops->clock(env, &a);
    sim_wall_step(s, -SB_S);
    env->ops->clock(env, &b);
    assert_true(a.boot_ns == b.boot_ns && a.wall_ns == b.wall_ns + SB_S);
    sim_process_end(s, env, 0);
    sim_reboot(s, 60 * SB_S);
    env = sim_process_start(s);
    env->ops->clock(env, &b);
    assert_true(b.boot_ns < a.boot_ns && b.wall_ns == a.wall_ns + 59 * SB_S);
    assert_true(memcmp(a.boot_id, b.boot_id, 16) != 0);
    sim_process_end(s, env, 0);
    sim_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(datagrams),
        cmocka_unit_test(streams),
        cmocka_unit_test(tls),
        cmocka_unit_test(kill_keeps_the_file),
        cmocka_unit_test(clocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
