/* The look at established connections against a kernel that says anything: one end, nothing
 * leaked. The first byte says which address is looked for. */
#include "fuzz_netlink.h"
#include "net/probe.h"

static unsigned done_calls;

static void done(sb_op *op)
{
    (void)op;
    done_calls++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static kernel k;
    static const char *const texts[] = {"10.0.0.7", "2001:db8::7", "::ffff:10.0.0.7", "fe80::7%3"};
    sb_probes probes;
    sb_diag d;
    sb_addr to;
    if (size == 0)
        return 0;
    const char *text = texts[data[0] % SB_ARRAY_SIZE(texts)];
    CHECK(sb_addr_parse(text, strlen(text), &to));
    kernel_init(&k);
    done_calls = 0;
    sb_probes_init(&probes, &k.env, NULL);
    sb_diag_start(&d, &probes, &to, NULL, k.now + 60 * SB_S, done);
    CHECK(done_calls == 0);
    kernel_play(&k, data + 1, size - 1);
    CHECK(d.looked_at <= SB_DIAG_SOCKETS_MAX);
    k.now += 60 * SB_S;
    kernel_drain(&k);
    CHECK(done_calls == 1 && probes.underway == 0);
    CHECK(k.env.timers.count == 0 && k.sockets[1].generation == 0 && k.requests <= 2);
    return 0;
}
