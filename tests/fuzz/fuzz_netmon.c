/* The network monitor against a kernel that says anything: it ends, leaks nothing, asks no more
 * than it is told to, and what it says of the network is in bounds. */
#include "base/log.h"
#include "fuzz_netlink.h"
#include "net/netmon.h"

typedef struct told {
    unsigned calls;
    uint32_t last;
} told;

static void changed(void *context, uint32_t old_identity, uint32_t new_identity)
{
    told *t = context;
    CHECK(old_identity == t->last); /* a chain without gaps */
    t->last = new_identity;
    t->calls++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static kernel k;
    told t = {0};
    sb_netmon *nm;
    sb_log_set_level(SB_LOG_NET, SB_LOG_ERROR);
    kernel_init(&k);
    CHECK(sb_netmon_new(&k.env, NULL, 0x12345678, changed, &t, &nm) == SB_OK);
    CHECK(t.calls == 0);
    kernel_play(&k, data, size);
    const sb_network *n = sb_netmon_network(nm);
    CHECK(n->identity == t.last && (t.calls > 0) == n->read);
    CHECK(n->name[sizeof(n->name) - 1] == '\0');
    CHECK(n->hardware_size <= SB_NETMON_HARDWARE_MAX);
    CHECK(n->prefix_count <= SB_NETMON_PREFIXES_MAX);
    for (unsigned i = 1; i < n->prefix_count; i++)
        CHECK(sb_addr_compare(&n->prefixes[i - 1].addr, &n->prefixes[i].addr) <= 0);
    /* a whole reading is six requests; every byte of input starts less than one */
    CHECK(k.requests <= 6 + 2 * size);
    sb_netmon_free(nm);
    CHECK(k.env.timers.count == 0);
    for (unsigned i = 0; i < KERNEL_SOCKETS; i++)
        CHECK(k.sockets[i].generation == 0);
    return 0;
}
