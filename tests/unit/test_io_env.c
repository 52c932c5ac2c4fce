/* uv_env against the real kernel: loopback, Unix sockets, files, mappings, the lock, the SIGBUS
 * guard. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "core/op.h"
#include "io/uv_env.h"

#define PATIENCE (5 * SB_S)

typedef struct world {
    uv_loop_t loop;
    sb_uv_env *uv;
    sb_env *env;
    char dir[64];
} world;

static char *path_of(const world *w, const char *name, char buffer[100])
{
    snprintf(buffer, 100, "%s/%s", w->dir, name);
    return buffer;
}

static int setup(void **state)
{
    world *w = calloc(1, sizeof(*w));
    sb_why why = {0};
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(sb_uv_env_new(&w->loop, &w->uv, &why), SB_OK);
    w->env = sb_uv_env_base(w->uv);
    snprintf(w->dir, sizeof(w->dir), "/tmp/stubborn-io-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    char command[100];
    sb_uv_env_free(w->uv);
    assert_int_equal(uv_loop_close(&w->loop), 0); /* nothing left behind in libuv */
    snprintf(command, sizeof(command), "%s", w->dir);
    pid_t pid = fork();
    if (pid == 0) {
        execlp("rm", "rm", "-rf", command, (char *)NULL);
        _exit(1);
    }
    waitpid(pid, NULL, 0);
    free(w);
    return 0;
}

typedef struct guard {
    sb_timer timer;
    bool late;
} guard;

static void guard_fire(sb_timer *timer)
{
    sb_container_of(timer, guard, timer)->late = true;
}

static void pump(world *w, const bool *until)
{
    guard g = {0};
    sb_timer_init(&g.timer, guard_fire);
    sb_timer_set(w->env, &g.timer, sb_env_now(w->env) + PATIENCE);
    while (!*until && !g.late)
        uv_run(&w->loop, UV_RUN_ONCE);
    sb_timer_stop(w->env, &g.timer);
    assert_true(*until);
}

/* ---- timers, operations, clocks ---- */

typedef struct ticker {
    sb_timer timer;
    sb_env *env;
    sb_ns fired_at;
    bool fired;
} ticker;

static void ticker_fire(sb_timer *timer)
{
    ticker *t = sb_container_of(timer, ticker, timer);
    t->fired = true;
    t->fired_at = sb_env_now(t->env);
}

static void test_timer(void **state)
{
    world *w = *state;
    ticker t = {.env = w->env};
    sb_timer_init(&t.timer, ticker_fire);
    sb_ns due = sb_env_now(w->env) + 20 * SB_MS;
    sb_timer_set(w->env, &t.timer, due);
    assert_false(t.fired);
    pump(w, &t.fired);
    assert_true(t.fired_at >= due);
    assert_true(t.fired_at < due + PATIENCE / 2);
}

typedef struct run {
    sb_op op;
    bool done;
} run;

static void run_done(sb_op *op)
{
    ((run *)(void *)op)->done = true;
}

static void test_operation(void **state)
{
    world *w = *state;
    run r = {0};
    sb_op_start(&r.op, w->env, NULL, SB_NEVER, run_done, NULL);
    sb_op_finish(&r.op, SB_OK);
    assert_false(r.done); /* never under its caller */
    pump(w, &r.done);
    r.done = false;
    sb_op_start(&r.op, w->env, NULL, sb_env_now(w->env) + 5 * SB_MS, run_done, NULL);
    pump(w, &r.done);
    assert_int_equal(r.op.status, SB_TIMEOUT);
}

static void test_clock_and_entropy(void **state)
{
    world *w = *state;
    sb_clock c;
    uint8_t zero[16] = {0}, a[4096], b[16], child[16];
    w->env->ops->clock(w->env, &c);
    assert_true(c.boot_ns <= sb_env_now(w->env));
    assert_true(c.wall_ns > 1600000000 * SB_S);
    assert_memory_not_equal(c.boot_id, zero, 16);
    w->env->ops->entropy(w->env, a, sizeof(a));
    assert_memory_not_equal(a, a + 2048, 2048);
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    pid_t pid = fork();
    if (pid == 0) {
        w->env->ops->entropy(w->env, child, sizeof(child));
        _exit(write(pipes[1], child, sizeof(child)) == sizeof(child) ? 0 : 1);
    }
    w->env->ops->entropy(w->env, b, sizeof(b));
    assert_int_equal(read(pipes[0], child, sizeof(child)), sizeof(child));
    waitpid(pid, NULL, 0);
    assert_memory_not_equal(b, child, sizeof(b)); /* a fork shares no random numbers */
    close(pipes[0]);
    close(pipes[1]);
}

/* ---- datagrams ---- */

typedef struct udp_peer {
    world *w;
    sb_socket socket;
    unsigned received;
    bool got, failed, close_on_receive, echo;
    sb_status why;
    sb_addr from, to;
    uint32_t interface;
    uint8_t hop_limit;
    uint8_t bytes[2048];
    size_t size;
} udp_peer;

static void udp_received(void *owner, sb_socket socket, const sb_datagram *d)
{
    udp_peer *p = owner;
    assert_int_equal(socket.generation, p->socket.generation);
    p->received++;
    p->got = true;
    p->from = d->from;
    p->to = d->to;
    p->interface = d->interface;
    p->hop_limit = d->hop_limit;
    p->size = d->size < sizeof(p->bytes) ? d->size : sizeof(p->bytes);
    memcpy(p->bytes, d->bytes, p->size);
    if (p->echo)
        assert_int_equal(p->w->env->ops->udp_send(p->w->env, socket, &d->from, &d->to, d->bytes,
                                                  d->size), SB_OK);
    if (p->close_on_receive)
        p->w->env->ops->close(p->w->env, socket);
}

static void udp_failed(void *owner, sb_socket socket, sb_status why)
{
    udp_peer *p = owner;
    (void)socket;
    p->failed = true;
    p->why = why;
}

static const sb_udp_events udp_events = {.received = udp_received, .failed = udp_failed};

static sb_addr address(const char *text)
{
    sb_addr a;
    assert_true(sb_addr_parse_port(text, strlen(text), 0, &a));
    return a;
}

static sb_addr open_udp(world *w, udp_peer *p, const char *local, const sb_addr *remote)
{
    sb_why why = {0};
    sb_addr bound;
    sb_udp_options o = {.local = address(local), .packet_info = !remote};
    if (remote)
        o.remote = *remote;
    p->w = w;
    if (w->env->ops->udp_open(w->env, &o, &udp_events, p, &p->socket, &why) != SB_OK)
        fail_msg("%s", why.text);
    assert_int_equal(w->env->ops->local_address(w->env, p->socket, &bound), SB_OK);
    assert_int_not_equal(bound.port, 0);
    return bound;
}

static void test_udp_round_trip(void **state)
{
    world *w = *state;
    static const char *const any[] = {"0.0.0.0", "::"}, *const loop[] = {"127.0.0.9", "::1"};
    for (int i = 0; i < 2; i++) {
        udp_peer server = {.echo = true}, client = {0};
        sb_addr bound = open_udp(w, &server, any[i], NULL);
        sb_addr target = address(loop[i]);
        target.port = bound.port;
        open_udp(w, &client, any[i], &target);
        for (int n = 0; n < 100; n++) /* more than a batch */
            assert_int_equal(w->env->ops->udp_send(w->env, client.socket, NULL, NULL, "hello", 5),
                             SB_OK);
        bool all = false;
        while (!all) {
            client.got = false;
            pump(w, &client.got);
            all = client.received == 100;
        }
        assert_int_equal(server.received, 100);
        assert_int_equal(client.size, 5);
        assert_memory_equal(client.bytes, "hello", 5);
        assert_true(sb_addr_equal(&server.to, &target)); /* the address asked … */
        assert_true(server.interface > 0);
        assert_true(server.hop_limit > 0);
        assert_true(sb_addr_equal(&client.from, &target)); /* … is the one that answers */
        w->env->ops->close(w->env, server.socket);
        w->env->ops->close(w->env, client.socket);
    }
}

static void test_udp_refused(void **state)
{
    world *w = *state;
    udp_peer gone = {0}, client = {0};
    sb_addr target = open_udp(w, &gone, "127.0.0.1:0", NULL);
    w->env->ops->close(w->env, gone.socket);
    open_udp(w, &client, "0.0.0.0", &target);
    for (int round = 0; round < 3; round++) { /* the watch survives each error */
        client.failed = false;
        assert_int_equal(w->env->ops->udp_send(w->env, client.socket, NULL, NULL, "x", 1), SB_OK);
        pump(w, &client.failed);
        assert_int_equal(client.why, SB_CONNREFUSED);
    }
}

static void test_udp_in_use(void **state)
{
    world *w = *state;
    udp_peer a = {0};
    sb_why why = {0};
    sb_socket none = {0};
    sb_udp_options o = {.local = open_udp(w, &a, "127.0.0.1:0", NULL)};
    assert_int_equal(w->env->ops->udp_open(w->env, &o, &udp_events, &a, &none, &why), SB_EXISTS);
    assert_non_null(strstr(why.text, "another program uses it"));
    assert_false(sb_socket_valid(none)); /* outputs untouched on failure */
}

/* A packet that is in the kernel when its socket is closed reaches nobody, least of all the
 * slot's next tenant. */
static void test_late_packet(void **state)
{
    world *w = *state;
    udp_peer first = {0}, second = {0}, sender = {0};
    sb_addr target = open_udp(w, &first, "127.0.0.1:0", NULL);
    open_udp(w, &sender, "0.0.0.0", &target);
    for (int i = 0; i < 5; i++)
        (void)w->env->ops->udp_send(w->env, sender.socket, NULL, NULL, "late", 4);
    first.close_on_receive = true; /* the first closes in mid-batch: the other four are dropped */
    pump(w, &first.got);
    assert_int_equal(first.received, 1);
    sb_socket stale = first.socket;
    open_udp(w, &second, "127.0.0.1:0", NULL);
    assert_int_equal(second.socket.index, stale.index);
    assert_int_not_equal(second.socket.generation, stale.generation);
    assert_int_equal(w->env->ops->udp_send(w->env, stale, &target, NULL, "x", 1), SB_CLOSED);
    w->env->ops->close(w->env, stale); /* a stale handle closes nothing */
    sb_addr bound;
    assert_int_equal(w->env->ops->local_address(w->env, second.socket, &bound), SB_OK);
    ticker t = {.env = w->env};
    sb_timer_init(&t.timer, ticker_fire);
    sb_timer_set(w->env, &t.timer, sb_env_now(w->env) + 10 * SB_MS);
    pump(w, &t.fired);
    assert_int_equal(second.received, 0);
}

static void test_source_address(void **state)
{
    world *w = *state;
    sb_addr to = address("127.0.0.5:53"), source;
    assert_int_equal(w->env->ops->source_address(w->env, &to, &source), SB_OK);
    assert_true(sb_addr_is_loopback(&source));
    assert_int_equal(source.port, 0);
}

/* ---- streams ---- */

typedef struct end {
    world *w;
    sb_socket socket;
    sb_peer peer;
    bool connected, closed, ended, complete, echo, accepted, refuse, hears_end;
    sb_status why;
    size_t received, expect;
    uint8_t sum;
    unsigned drained;
} end;

static void end_connected(void *owner, sb_socket socket)
{
    end *e = owner;
    assert_int_equal(socket.generation, e->socket.generation);
    e->connected = true;
}

static void end_received(void *owner, sb_socket socket, const uint8_t *bytes, size_t size)
{
    end *e = owner;
    e->received += size;
    for (size_t i = 0; i < size; i++)
        e->sum = (uint8_t)(e->sum + bytes[i]);
    if (e->echo)
        assert_int_equal(e->w->env->ops->stream_write(e->w->env, socket, bytes, size), SB_OK);
    e->complete = e->received >= e->expect;
}

static void end_drained(void *owner, sb_socket socket)
{
    (void)socket;
    ((end *)owner)->drained++;
}

static void end_closed(void *owner, sb_socket socket, sb_status why)
{
    end *e = owner;
    e->closed = true;
    e->why = why;
    assert_int_equal(e->w->env->ops->stream_write(e->w->env, socket, "x", 1), SB_CLOSED);
}

static void end_ended(void *owner, sb_socket socket)
{
    end *e = owner;
    assert_int_equal(socket.generation, e->socket.generation);
    assert_false(e->ended);
    e->ended = true;
}

static const sb_stream_events end_events = {.connected = end_connected, .received = end_received,
                                            .drained = end_drained, .closed = end_closed};

static void end_accepted(void *owner, sb_socket listener, sb_socket stream, const sb_peer *peer)
{
    end *e = owner;
    (void)listener;
    e->peer = *peer;
    e->socket = stream;
    e->accepted = true;
    if (!e->refuse)
        assert_int_equal(e->w->env->ops->adopt(e->w->env, stream, &end_events, e), SB_OK);
}

static sb_addr listen_tcp(world *w, end *server, sb_socket *ret_listener)
{
    sb_why why = {0};
    sb_addr bound;
    sb_listen_options o = {.local = address("127.0.0.1:0"), .group = -1,
                           .ended = server->hears_end ? end_ended : NULL};
    server->w = w;
    assert_int_equal(w->env->ops->stream_listen(w->env, &o, end_accepted, server, ret_listener,
                                                &why), SB_OK);
    assert_int_equal(w->env->ops->local_address(w->env, *ret_listener, &bound), SB_OK);
    return bound;
}

static void connect_tcp(world *w, end *client, const sb_addr *to)
{
    sb_why why = {0};
    client->w = w;
    assert_int_equal(w->env->ops->stream_connect(w->env, to, NULL, &end_events, client,
                                                 &client->socket, &why), SB_OK);
}

static void test_tcp(void **state)
{
    world *w = *state;
    sb_socket listener;
    end server = {.echo = true, .expect = SIZE_MAX}, client = {.expect = 900 * 1024};
    sb_addr bound = listen_tcp(w, &server, &listener);
    connect_tcp(w, &client, &bound);
    assert_false(client.connected);
    uint8_t *block = malloc(900 * 1024);
    uint8_t sum = 0;
    for (size_t i = 0; i < 900 * 1024; i++)
        sum = (uint8_t)(sum + (block[i] = (uint8_t)(i * 7)));
    /* Queued before the connection stands; a queue beyond 1 MiB is refused whole. */
    assert_int_equal(w->env->ops->stream_write(w->env, client.socket, block, 900 * 1024), SB_OK);
    assert_int_equal(w->env->ops->stream_write(w->env, client.socket, block, 200 * 1024), SB_LIMIT);
    assert_int_equal(w->env->ops->stream_queued(w->env, client.socket), 900 * 1024);
    pump(w, &client.complete);
    assert_true(client.connected);
    assert_int_equal(client.received, 900 * 1024);
    assert_int_equal(client.sum, sum);
    assert_true(client.drained > 0);
    assert_false(server.peer.is_unix);
    assert_true(sb_addr_equal(&server.peer.local, &bound));
    w->env->ops->close(w->env, client.socket);
    pump(w, &server.closed);
    assert_int_equal(server.why, SB_CLOSED);
    w->env->ops->close(w->env, listener);
    free(block);
}

/* What was queued at the close still arrives; the owner hears nothing more. */
static void test_tcp_close_flushes(void **state)
{
    world *w = *state;
    sb_socket listener;
    end server = {.expect = SIZE_MAX}, client = {0};
    sb_addr bound = listen_tcp(w, &server, &listener);
    connect_tcp(w, &client, &bound);
    pump(w, &client.connected);
    size_t size = 1000 * 1024;
    uint8_t *block = calloc(1, size);
    server.expect = size;
    assert_int_equal(w->env->ops->stream_write(w->env, client.socket, block, size), SB_OK);
    w->env->ops->close(w->env, client.socket);
    pump(w, &server.complete);
    pump(w, &server.closed);
    assert_int_equal(server.received, size);
    assert_false(client.closed);
    free(block);
}

/* After the peer's end its owner goes on writing, and hears of a reset then. */
static void test_half_close(void **state)
{
    world *w = *state;
    for (unsigned reset = 0; reset < 2; reset++) {
        sb_socket listener;
        end server = {.expect = 5, .hears_end = true};
        sb_addr bound = listen_tcp(w, &server, &listener);
        struct sockaddr_storage sa;
        socklen_t size = sb_addr_to_sockaddr(&bound, &sa);
        int fd = socket(sa.ss_family, SOCK_STREAM, 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&sa, size), 0);
        assert_int_equal(send(fd, "hello", 5, 0), 5);
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        pump(w, &server.ended);
        assert_true(server.complete);
        assert_false(server.closed);
        if (reset) {
            const struct linger now = {.l_onoff = 1};
            assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
            close(fd);
            sb_status status = w->env->ops->stream_write(w->env, server.socket, "x", 1);
            assert_true(status != SB_OK && status != SB_LIMIT);
            w->env->ops->close(w->env, server.socket);
        } else {
            char got[8];
            assert_int_equal(w->env->ops->stream_write(w->env, server.socket, "reply", 5), SB_OK);
            w->env->ops->close(w->env, server.socket);
            assert_int_equal(recv(fd, got, sizeof(got), MSG_WAITALL), 5);
            close(fd);
        }
        w->env->ops->close(w->env, listener);
    }
}

static void test_tcp_refused(void **state)
{
    world *w = *state;
    sb_socket listener;
    end server = {0}, client = {0};
    sb_addr bound = listen_tcp(w, &server, &listener);
    w->env->ops->close(w->env, listener);
    connect_tcp(w, &client, &bound);
    assert_false(client.closed);
    pump(w, &client.closed);
    assert_int_equal(client.why, SB_CONNREFUSED);
}

static void test_tcp_not_adopted(void **state)
{
    world *w = *state;
    sb_socket listener;
    end server = {.refuse = true}, client = {0};
    sb_addr bound = listen_tcp(w, &server, &listener);
    connect_tcp(w, &client, &bound);
    pump(w, &client.closed);
    assert_true(server.accepted);
    assert_int_equal(w->env->ops->adopt(w->env, server.socket, &end_events, &server), SB_CLOSED);
}

static void test_tcp_pause(void **state)
{
    world *w = *state;
    sb_socket listener;
    end server = {.expect = 3}, client = {0};
    sb_addr bound = listen_tcp(w, &server, &listener);
    connect_tcp(w, &client, &bound);
    pump(w, &server.accepted);
    w->env->ops->stream_pause(w->env, server.socket, true);
    assert_int_equal(w->env->ops->stream_write(w->env, client.socket, "abc", 3), SB_OK);
    ticker t = {.env = w->env};
    sb_timer_init(&t.timer, ticker_fire);
    sb_timer_set(w->env, &t.timer, sb_env_now(w->env) + 10 * SB_MS);
    pump(w, &t.fired);
    assert_int_equal(server.received, 0);
    w->env->ops->stream_pause(w->env, server.socket, false);
    pump(w, &server.complete);
}

static int connect_unix(const char *path)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    return fd;
}

static void test_unix_socket(void **state)
{
    world *w = *state;
    char path[100];
    sb_why why = {0};
    struct stat st;
    sb_socket listener, second = {0};
    end server = {.w = w, .expect = 5};
    sb_listen_options o = {.path = path_of(w, "run/deep/test.sock", path), .mode = 0660,
                           .group = -1};
    assert_int_equal(w->env->ops->stream_listen(w->env, &o, end_accepted, &server, &listener,
                                                &why), SB_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0660);
    int fd = connect_unix(path);
    assert_int_equal(send(fd, "hello", 5, 0), 5);
    pump(w, &server.complete);
    assert_true(server.peer.is_unix);
    assert_int_equal(server.peer.uid, getuid());
    assert_int_equal(server.peer.gid, getgid());
    assert_int_equal(server.peer.pid, getpid());
    close(fd);
    pump(w, &server.closed);
    assert_int_equal(sb_uv_permit(path, 0666, getegid(), &why), SB_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0666);
    assert_int_equal(sb_uv_permit("/nowhere/at/all", 0600, -1, &why), SB_NOTFOUND);
    assert_int_equal(sb_uv_permit(w->dir, 0700, -1, &why), SB_PERM);
    /* A living listener is not pushed aside. */
    assert_int_equal(w->env->ops->stream_listen(w->env, &o, end_accepted, &server, &second, &why),
                     SB_EXISTS);
    assert_non_null(strstr(why.text, "another program listens"));
    server.accepted = false;
    pump(w, &server.accepted); /* the probe of it */
    w->env->ops->close(w->env, listener);
    assert_int_not_equal(stat(path, &st), 0);
}

static void test_unix_stale(void **state)
{
    world *w = *state;
    char path[100], file[100];
    sb_why why = {0};
    sb_socket listener;
    end server = {.w = w};
    sb_listen_options o = {.path = path_of(w, "stale.sock", path), .mode = 0600, .group = -1};
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    close(fd); /* as after kill -9 */
    assert_int_equal(w->env->ops->stream_listen(w->env, &o, end_accepted, &server, &listener,
                                                &why), SB_OK);
    close(connect_unix(path));
    pump(w, &server.accepted);
    fd = open(path_of(w, "precious", file), O_CREAT | O_WRONLY, 0600);
    close(fd);
    o.path = file; /* what is no socket stays */
    assert_int_equal(w->env->ops->stream_listen(w->env, &o, end_accepted, &server, &listener,
                                                &why), SB_EXISTS);
    assert_int_equal(access(file, F_OK), 0);
}

/* ---- files ---- */

static void test_files(void **state)
{
    world *w = *state;
    char path[100];
    sb_why why = {0};
    uint8_t *bytes = NULL;
    size_t size = 0;
    sb_file_stat st;
    path_of(w, "conf/file", path);
    assert_int_equal(w->env->ops->file_read(w->env, path, 100, &bytes, &size, &why), SB_NOTFOUND);
    w->env->ops->file_stat(w->env, path, &st);
    assert_false(st.exists);
    assert_int_equal(w->env->ops->file_replace(w->env, path, 0640, "one", 3, &why), SB_OK);
    assert_int_equal(w->env->ops->file_replace(w->env, path, 0640, "twelve bytes", 12, &why),
                     SB_OK);
    w->env->ops->file_stat(w->env, path, &st);
    assert_true(st.exists && st.size == 12 && st.modified_ns > 0);
    assert_int_equal(w->env->ops->file_read(w->env, path, 12, &bytes, &size, &why), SB_OK);
    assert_int_equal(size, 12);
    assert_memory_equal(bytes, "twelve bytes", 12);
    sb_free(bytes);
    bytes = NULL;
    assert_int_equal(w->env->ops->file_read(w->env, path, 11, &bytes, &size, &why), SB_LIMIT);
    assert_int_equal(w->env->ops->file_read(w->env, w->dir, 100, &bytes, &size, &why), SB_INVALID);
    assert_null(bytes);
    assert_int_equal(w->env->ops->file_read(w->env, "/proc/self/status", 65536, &bytes, &size,
                                            &why), SB_OK);
    assert_true(size > 0);
    sb_free(bytes);
}

static void test_map_life(void **state)
{
    world *w = *state;
    char path[100], temporary[100];
    sb_why why = {0};
    sb_mapping m = {0}, again = {0};
    struct stat st;
    path_of(w, "cache/l1", path);
    path_of(w, "cache/l1.new", temporary);
    assert_int_equal(w->env->ops->map_open(w->env, path, &m, &why), SB_NOTFOUND);
    assert_int_equal(w->env->ops->map_create(w->env, path, 65536, 0644, -1, &m, &why), SB_OK);
    assert_true(m.in_file && m.size == 65536);
    assert_int_not_equal(stat(path, &st), 0); /* not before it is published */
    ((uint8_t *)m.base)[0] = 42;
    assert_int_equal(w->env->ops->map_publish(w->env, &m, &why), SB_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0644);
    assert_true(st.st_blocks * 512 >= 65536); /* allocated in full */
    assert_int_equal(w->env->ops->map_open(w->env, path, &again, &why), SB_BUSY);
    assert_non_null(strstr(why.text, "locked"));
    w->env->ops->map_flush(w->env, &m);
    w->env->ops->map_close(w->env, &m);
    assert_int_equal(w->env->ops->map_open(w->env, path, &again, &why), SB_OK);
    assert_int_equal(((uint8_t *)again.base)[0], 42);
    w->env->ops->map_close(w->env, &again);
    /* One that is never published leaves nothing behind, and a dead one's remains are cleared
     * away. */
    assert_int_equal(close(open(temporary, O_CREAT | O_WRONLY, 0600)), 0);
    assert_int_equal(w->env->ops->map_create(w->env, path, 65536, 0600, -1, &m, &why), SB_OK);
    w->env->ops->map_close(w->env, &m);
    assert_int_not_equal(stat(temporary, &st), 0);
    assert_int_equal(w->env->ops->map_memory(w->env, 65536, &m, &why), SB_OK);
    assert_false(m.in_file);
    ((uint8_t *)m.base)[65535] = 1;
    w->env->ops->map_close(w->env, &m);
}

static void test_map_foreign(void **state)
{
    world *w = *state;
    char path[100], link[100];
    sb_why why = {0};
    sb_mapping m = {0};
    path_of(w, "l1", path);
    assert_int_equal(w->env->ops->map_create(w->env, path, 65536, 0600, -1, &m, &why), SB_OK);
    assert_int_equal(w->env->ops->map_publish(w->env, &m, &why), SB_OK);
    w->env->ops->map_close(w->env, &m);
    assert_int_equal(symlink(path, path_of(w, "link", link)), 0);
    assert_int_equal(w->env->ops->map_open(w->env, link, &m, &why), SB_PERM);
    assert_int_equal(chmod(path, 0666), 0);
    assert_int_equal(w->env->ops->map_open(w->env, path, &m, &why), SB_PERM);
    assert_int_equal(w->env->ops->map_open(w->env, w->dir, &m, &why), SB_IO);
    if (geteuid() == 0) {
        assert_int_equal(chmod(path, 0600), 0);
        assert_int_equal(chown(path, 12345, (gid_t)-1), 0);
        assert_int_equal(w->env->ops->map_open(w->env, path, &m, &why), SB_PERM);
        assert_non_null(strstr(why.text, "another user"));
    }
    assert_null(m.base);
}

/* Whoever may read the file but not write it gets a copy, and the reason; one that others may
 * write is not read either. */
static int open_a_copy(world *w, const char *path)
{
    const sb_env_ops *ops = w->env->ops;
    sb_why why = {0};
    sb_mapping m = {0};
    if (chmod(path, 0400) || ops->map_open(w->env, path, &m, &why) != SB_OK)
        return 1;
    if (m.in_file || m.size != 65536 || !strstr(why.text, "Permission denied"))
        return 2;
    uint8_t *bytes = m.base;
    if (bytes[0] != 42 || bytes[65535] != 43)
        return 3;
    bytes[0] = 1; /* the copy's own */
    if (chmod(path, 0600) || truncate(path, 100) || bytes[65535] != 43)
        return 4;
    ops->map_flush(w->env, &m);
    ops->map_close(w->env, &m);
    if (chmod(path, 0422) || ops->map_open(w->env, path, &m, &why) != SB_PERM)
        return 5;
    return m.base || !strstr(why.text, "writable by others") ? 6 : 0;
}

static void test_map_read_only(void **state)
{
    world *w = *state;
    char path[100];
    sb_why why = {0};
    sb_mapping m = {0};
    path_of(w, "l1", path);
    assert_int_equal(w->env->ops->map_create(w->env, path, 65536, 0600, -1, &m, &why), SB_OK);
    ((uint8_t *)m.base)[0] = 42;
    ((uint8_t *)m.base)[65535] = 43;
    assert_int_equal(w->env->ops->map_publish(w->env, &m, &why), SB_OK);
    w->env->ops->map_close(w->env, &m);
    if (geteuid() != 0) {
        assert_int_equal(open_a_copy(w, path), 0);
        return;
    }
    /* root writes everywhere: ask as somebody else, in a child */
    assert_int_equal(chown(path, 65534, 65534), 0);
    assert_int_equal(chmod(w->dir, 0755), 0);
    pid_t pid = fork();
    if (pid == 0)
        _exit(setgid(65534) || setuid(65534) ? 9 : open_a_copy(w, path));
    int result = 0;
    waitpid(pid, &result, 0);
    assert_int_equal(result, 0);
}

static void test_read_only_directory(void **state)
{
    world *w = *state;
    char path[100], dir[100];
    if (geteuid() == 0) { /* root writes everywhere: ask as somebody else, in a child */
        pid_t pid = fork();
        if (pid == 0) {
            sb_why why = {0};
            sb_mapping m = {0};
            if (chmod(w->dir, 0755) || setgid(65534) || setuid(65534))
                _exit(1);
            sb_status status = w->env->ops->map_create(w->env, path_of(w, "l1", path), 65536, 0600,
                                                       -1, &m, &why);
            _exit(status == SB_PERM ? 0 : 1);
        }
        int result = 0;
        waitpid(pid, &result, 0);
        assert_int_equal(result, 0);
        return;
    }
    sb_why why = {0};
    sb_mapping m = {0};
    assert_int_equal(mkdir(path_of(w, "fixed", dir), 0500), 0);
    assert_int_equal(w->env->ops->map_create(w->env, path_of(w, "fixed/l1", path), 65536, 0600, -1,
                                             &m, &why), SB_PERM);
}

static void test_full_disk(void **state)
{
    world *w = *state;
    char path[100], dir[100];
    sb_why why = {0};
    sb_mapping m = {0};
    assert_int_equal(mkdir(path_of(w, "tiny", dir), 0700), 0);
    if (geteuid() != 0 || mount("none", dir, "tmpfs", 0, "size=64k") != 0) {
        print_message("# SKIP full disk: no right to mount a tmpfs\n");
        skip();
    }
    sb_status create = w->env->ops->map_create(w->env, path_of(w, "tiny/l1", path), 1 << 20, 0600,
                                               -1, &m, &why);
    sb_status replace = w->env->ops->file_replace(w->env, path_of(w, "tiny/file", path), 0600,
                                                  why.text, sizeof(why.text), NULL);
    umount(dir);
    assert_int_equal(create, SB_NOSPACE);
    assert_non_null(strstr(why.text, "reserve"));
    assert_int_equal(replace, SB_OK); /* the failure left nothing behind */
}

/* A file cut short under its mapping costs data, not the process. */
static void test_sigbus(void **state)
{
    world *w = *state;
    char path[100];
    sb_why why = {0};
    sb_mapping m = {0};
    pid_t pid = fork();
    if (pid == 0) {
        sb_uv_guard_sigbus();
        if (w->env->ops->map_create(w->env, path_of(w, "l1", path), 65536, 0600, -1, &m, &why) !=
                SB_OK ||
            w->env->ops->map_publish(w->env, &m, &why) != SB_OK)
            _exit(1);
        volatile uint8_t *bytes = m.base;
        bytes[40000] = 7;
        if (truncate(path, 4096) != 0)
            _exit(2);
        if (bytes[40000] != 0 || !sb_uv_sigbus_seen())
            _exit(3);
        bytes[50000] = 1;
        _exit(bytes[50000] == 1 ? 0 : 4);
    }
    int result = 0;
    waitpid(pid, &result, 0);
    assert_int_equal(result, 0);
}

static void stop_fire(sb_timer *timer)
{
    (void)timer;
}

static void test_run_and_stop(void **state)
{
    world *w = *state;
    sb_timer timer;
    sb_timer_init(&timer, stop_fire);
    sb_uv_env_stop(w->uv); /* before the run: ends it at once */
    sb_uv_env_run(w->uv);
    assert_false(sb_timer_armed(&timer));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_timer), TEST(test_operation), TEST(test_clock_and_entropy),
        TEST(test_udp_round_trip), TEST(test_udp_refused), TEST(test_udp_in_use),
        TEST(test_late_packet), TEST(test_source_address), TEST(test_tcp),
        TEST(test_tcp_close_flushes), TEST(test_tcp_refused), TEST(test_tcp_not_adopted),
        TEST(test_tcp_pause), TEST(test_unix_socket), TEST(test_unix_stale), TEST(test_files),
        TEST(test_map_life), TEST(test_map_foreign), TEST(test_map_read_only),
        TEST(test_read_only_directory),
        TEST(test_full_disk), TEST(test_sigbus), TEST(test_run_and_stop),
        TEST(test_half_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
