/* Network monitor, probes and look-ups of connections against the real kernel, on loopback. Changes
 * of networks are for tests/netns, which needs root. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "io/uv_env.h"
#include "net/netmon.h"
#include "net/probe.h"

#define PATIENCE (5 * SB_S)

typedef struct world {
    uv_loop_t loop;
    sb_uv_env *uv;
    sb_env *env;
    sb_stats stats;
    sb_probes probes;
} world;

static unsigned ended, changes;
static uv_loop_t *present; /* stopped by what happens in its prepare: no wait follows */

static void done(sb_op *op)
{
    (void)op;
    ended++;
    uv_stop(present);
}

static void changed(void *context, uint32_t old, uint32_t new)
{
    (void)context;
    (void)old;
    (void)new;
    changes++;
}

static int setup(void **state)
{
    world *w = calloc(1, sizeof(*w));
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(sb_uv_env_new(&w->loop, &w->uv, NULL), SB_OK);
    w->env = sb_uv_env_base(w->uv);
    sb_stats_init(&w->stats);
    sb_probes_init(&w->probes, w->env, &w->stats);
    sb_log_set_level(SB_LOG_NET, SB_LOG_ERROR);
    ended = changes = 0;
    present = &w->loop;
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    sb_uv_env_free(w->uv);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    free(w);
    return 0;
}

static void never(sb_timer *timer)
{
    (void)timer;
}

static bool pump(world *w, const unsigned *counter, sb_ns patience)
{
    sb_ns end = sb_env_now(w->env) + patience;
    sb_timer timer;
    sb_timer_init(&timer, never);
    sb_timer_set(w->env, &timer, end);
    while (*counter == 0 && sb_env_now(w->env) < end)
        uv_run(&w->loop, UV_RUN_ONCE);
    sb_timer_stop(w->env, &timer);
    bool came = *counter > 0;
    ended = 0;
    return came;
}

/* A listener on loopback; its address. */
static int listener(int family, sb_addr *ret)
{
    struct sockaddr_storage sa;
    sb_addr any = family == AF_INET6 ? (sb_addr){.family = SB_FAMILY_6, .bytes = {[15] = 1}}
                                     : sb_addr_4((const uint8_t[]){127, 0, 0, 1}, 0);
    socklen_t size = sb_addr_to_sockaddr(&any, &sa);
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, size) != 0 || listen(fd, 4) != 0) {
        close(fd);
        return -1;
    }
    size = sizeof(sa);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &size), 0);
    *ret = sb_addr_from_sockaddr((struct sockaddr *)&sa);
    return fd;
}

static void test_probe(void **state)
{
    world *w = *state;
    sb_addr to;
    sb_probe p;
    int fd = listener(AF_INET, &to);
    assert_true(fd >= 0);
    sb_probe_start(&p, &w->probes, &to, NULL, SB_NEVER, done);
    assert_true(pump(w, &ended, PATIENCE));
    assert_int_equal(p.op.status, SB_OK);
    assert_int_equal(p.liveness, SB_LIVENESS_ALIVE);
    close(fd);
    sb_probe_start(&p, &w->probes, &to, NULL, SB_NEVER, done);
    assert_true(pump(w, &ended, PATIENCE));
    assert_int_equal(p.op.status, SB_CONNREFUSED);
    assert_int_equal(p.liveness, SB_LIVENESS_HOST);
    assert_int_equal(w->probes.underway, 0);
}

static sb_status look(world *w, const char *text)
{
    sb_diag d;
    sb_addr to;
    assert_true(sb_addr_parse(text, strlen(text), &to));
    sb_diag_start(&d, &w->probes, &to, NULL, SB_NEVER, done);
    assert_true(pump(w, &ended, PATIENCE));
    return d.op.status;
}

static int connect_from(int family, const char *from, const sb_addr *to)
{
    struct sockaddr_storage sa;
    sb_addr local;
    assert_true(sb_addr_parse(from, strlen(from), &local));
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = sb_addr_to_sockaddr(&local, &sa);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, size), 0);
    size = sb_addr_to_sockaddr(to, &sa);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, size), 0);
    return fd;
}

/* The listener's side of a connection from 127.4.5.6 is one to 127.4.5.6. */
static void test_connections(void **state)
{
    world *w = *state;
    sb_addr to;
    int fd = listener(AF_INET, &to);
    assert_true(fd >= 0);
    sb_status before = look(w, "127.4.5.6");
    if (before != SB_NOTFOUND) {
        close(fd);
        print_message("# the kernel tells nothing of connections: %s\n", sb_status_text(before));
        skip();
    }
    int client = connect_from(AF_INET, "127.4.5.6", &to);
    assert_int_equal(look(w, "127.4.5.6"), SB_OK);
    assert_int_equal(look(w, "::ffff:127.4.5.6"), SB_OK);
    assert_int_equal(look(w, "127.4.5.7"), SB_NOTFOUND);
    close(client);
    close(fd);
}

/* IPv4 accepted by an IPv6 socket. */
static void test_mapped(void **state)
{
    world *w = *state;
    struct sockaddr_in6 any = {.sin6_family = AF_INET6};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof(any);
    if (fd < 0 || bind(fd, (struct sockaddr *)&any, size) != 0 || listen(fd, 4) != 0 ||
        look(w, "127.4.5.6") != SB_NOTFOUND) {
        close(fd);
        skip();
    }
    assert_int_equal(getsockname(fd, (struct sockaddr *)&any, &size), 0);
    sb_addr to = sb_addr_4((const uint8_t[]){127, 0, 0, 1}, ntohs(any.sin6_port));
    int client = connect_from(AF_INET, "127.4.5.6", &to);
    int server = accept(fd, NULL, NULL); /* until then the kernel's family is IPv6 all the same */
    assert_int_equal(look(w, "127.4.5.6"), SB_OK);
    close(client);
    close(server);
    close(fd);
}

static void test_monitor(void **state)
{
    world *w = *state;
    sb_netmon *nm;
    assert_int_equal(sb_netmon_new(w->env, &w->stats, 0, changed, w, &nm), SB_OK);
    assert_int_equal(changes, 0);
    if (!sb_netmon_network(nm)->available) {
        sb_netmon_free(nm);
        print_message("# netlink is forbidden here\n");
        skip();
    }
    assert_true(pump(w, &changes, PATIENCE));
    const sb_network *n = sb_netmon_network(nm);
    assert_true(n->read);
    assert_true((n->identity == 0) == (n->interface == 0));
    print_message("# identity %08x interface %s prefixes %u hardware %u\n", n->identity, n->name,
                  n->prefix_count, n->hardware_size);
    uint32_t first = n->identity;
    sb_netmon_free(nm);
    changes = 0;
    assert_int_equal(sb_netmon_new(w->env, &w->stats, first, changed, w, &nm), SB_OK);
    assert_true(pump(w, &changes, PATIENCE));
    assert_int_equal(sb_netmon_network(nm)->identity, first);
    sb_netmon_free(nm);
}

/* As a service manager confines a daemon: AF_NETLINK is refused, all else goes. */
static bool refuse_netlink(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_socket, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = SB_ARRAY_SIZE(code), .filter = code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* In a child: 0 as it should be, 1 not, 2 no seccomp here. */
static int confined(world *w)
{
    sb_netmon *nm;
    sb_diag d;
    sb_addr to = sb_addr_4((const uint8_t[]){127, 4, 5, 6}, 0);
    if (!refuse_netlink())
        return 2;
    if (sb_netmon_new(w->env, &w->stats, 0, changed, w, &nm) != SB_OK)
        return 1;
    sb_diag_start(&d, &w->probes, &to, NULL, SB_NEVER, done);
    bool ok = pump(w, &ended, PATIENCE) && d.op.status == SB_UNSUPPORTED;
    ok = ok && changes == 0 && !sb_netmon_network(nm)->available &&
         sb_netmon_network(nm)->identity == 0;
    sb_netmon_free(nm);
    return ok ? 0 : 1;
}

static void test_confined(void **state)
{
    world *w = *state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(confined(w));
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 2)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_probe),
        TEST(test_connections),
        TEST(test_mapped),
        TEST(test_monitor),
        TEST(test_confined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
