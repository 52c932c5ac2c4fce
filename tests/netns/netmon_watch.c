/* The network monitor and the probes as a program, for tests that make networks around it:
 *
 *   netmon_watch watch          a line per change until standard input ends:
 *                               BOOTTIME_NS OLD NEW INTERFACE GATEWAY PREFIXES HARDWARE_BYTES
 *                               and at the end "lost N": how often the kernel lost messages
 *   netmon_watch probe ADDRESS:PORT [MS]     STATUS LIVENESS
 *   netmon_watch diag ADDRESS                STATUS
 *
 * One thread. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "io/uv_env.h"
#include "net/netmon.h"
#include "net/probe.h"

typedef struct program {
    uv_loop_t loop;
    uv_poll_t input;
    sb_uv_env *uv;
    sb_env *env;
    sb_netmon *nm;
    sb_stats stats;
    sb_probes probes;
    sb_probe probe;
    sb_diag diag;
} program;

static program p;

static void changed(void *context, uint32_t old_identity, uint32_t new_identity)
{
    (void)context;
    char gateway[SB_ADDR_TEXT_MAX];
    const sb_network *n = sb_netmon_network(p.nm);
    printf("%lld %08x %08x %s %s %u %u\n", (long long)sb_env_now(p.env), old_identity,
           new_identity, n->name[0] ? n->name : "-", sb_addr_text(&n->gateway, gateway),
           n->prefix_count, n->hardware_size);
    fflush(stdout);
}

static void on_input(uv_poll_t *handle, int status, int events)
{
    char buffer[64];
    (void)events;
    if (status == 0 && read(STDIN_FILENO, buffer, sizeof(buffer)) > 0)
        return;
    uv_close((uv_handle_t *)handle, NULL);
    sb_uv_env_stop(p.uv);
}

static void done(sb_op *op)
{
    if (op == &p.probe.op)
        printf("%s, %s\n", sb_status_text(op->status),
               sb_liveness_text((sb_liveness)p.probe.liveness));
    else
        printf("%s\n", sb_status_text(op->status));
    sb_uv_env_stop(p.uv);
}

static int usage(void)
{
    fputs("usage: netmon_watch watch | probe ADDRESS:PORT [MS] | diag ADDRESS\n", stderr);
    return 2;
}

static int start(int argc, char **argv)
{
    sb_addr to;
    if (argc == 2 && strcmp(argv[1], "watch") == 0) {
        if (sb_netmon_new(p.env, &p.stats, 0, changed, NULL, &p.nm) != SB_OK ||
            uv_poll_init(&p.loop, &p.input, STDIN_FILENO) != 0 ||
            uv_poll_start(&p.input, UV_READABLE, on_input) != 0)
            return 1;
        return 0;
    }
    if (argc < 3 || !sb_addr_parse_port(argv[2], strlen(argv[2]), 0, &to))
        return usage();
    sb_probes_init(&p.probes, p.env, &p.stats);
    uint64_t ms = 1000;
    if (argc == 4 && !sb_parse_u64(argv[3], strlen(argv[3]), 60000, &ms))
        return usage();
    sb_ns deadline = sb_env_now(p.env) + (sb_ns)ms * SB_MS;
    if (strcmp(argv[1], "probe") == 0)
        sb_probe_start(&p.probe, &p.probes, &to, NULL, deadline, done);
    else if (strcmp(argv[1], "diag") == 0)
        sb_diag_start(&p.diag, &p.probes, &to, NULL, deadline, done);
    else
        return usage();
    return 0;
}

int main(int argc, char **argv)
{
    sb_why why = {0};
    sb_log_set_level(SB_LOG_NET, SB_LOG_WARN);
    if (uv_loop_init(&p.loop) != 0 || sb_uv_env_new(&p.loop, &p.uv, &why) != SB_OK) {
        fprintf(stderr, "netmon_watch: %s\n", why.text);
        return 1;
    }
    p.env = sb_uv_env_base(p.uv);
    sb_stats_init(&p.stats);
    int status = start(argc, argv);
    if (status == 0)
        sb_uv_env_run(p.uv);
    if (p.nm)
        printf("lost %llu\n",
               (unsigned long long)sb_stats_get(&p.stats, SB_COUNT_NETWORK_LOST));
    sb_netmon_free(p.nm);
    sb_uv_env_free(p.uv);
    (void)uv_loop_close(&p.loop);
    return status;
}
