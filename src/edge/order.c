/* Address order: a stable insertion sort over attributes read once from the kernel.
 *
 * Never changes an address. RFC 6724 §3.1 (scopes), §5 (sources), §6 (destinations); rules 3, 4 and
 * 7 need what an unprivileged program does not know and are left out. Any thread. */
#include "edge/order.h"

#include <string.h>
#include <unistd.h>

#define DISCARD_PORT 9 /* never sent to */
#define SCOPE_LINK 2
#define SCOPE_SITE 5
#define SCOPE_GLOBAL 14

typedef struct candidate {
    sb_addr addr;
    sb_addr source;
    bool reachable;
    unsigned rank; /* of its family under a preference */
    unsigned precedence, label, scope;
    unsigned source_label, source_scope;
} candidate;

static bool excluded(const sb_addr *addr, sb_family_policy policy);
static void describe(const sb_addr *addr, sb_family_policy policy, candidate *ret);
static bool goes_before(const candidate *a, const candidate *b, sb_family_policy policy);
static bool goes_before_6724(const candidate *a, const candidate *b);
static void as_v6(const sb_addr *addr, uint8_t ret[16]);
static void classify(const sb_addr *addr, unsigned *ret_precedence, unsigned *ret_label);
static unsigned scope_of(const sb_addr *addr);
static unsigned common_bits(const sb_addr *a, const sb_addr *b);

size_t sb_edge_order(sb_addr *addresses, size_t count, sb_family_policy policy)
{
    enum { MOST = 128 }; /* beyond, the sender's order stands */
    candidate sorted[MOST] = {0};
    size_t kept = 0, left = 0;
    for (size_t i = 0; i < count; i++)
        if (!excluded(&addresses[i], policy))
            addresses[left++] = addresses[i];
    for (size_t i = 0; i < left && i < MOST; i++) {
        candidate one;
        size_t at = kept++;
        describe(&addresses[i], policy, &one);
        for (; at > 0 && goes_before(&one, &sorted[at - 1], policy); at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = one;
    }
    for (size_t i = 0; i < kept; i++)
        addresses[i] = sorted[i].addr;
    return left;
}

bool sb_edge_source(const sb_addr *destination, sb_addr *ret_source)
{
    struct sockaddr_storage sa;
    sb_addr target = *destination;
    bool found = false;
    if (target.port == 0)
        target.port = DISCARD_PORT;
    socklen_t size = sb_addr_to_sockaddr(&target, &sa);
    int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    if (connect(fd, (struct sockaddr *)&sa, size) == 0) {
        size = sizeof sa;
        if (getsockname(fd, (struct sockaddr *)&sa, &size) == 0) {
            *ret_source = sb_addr_from_sockaddr((struct sockaddr *)&sa);
            found = true;
        }
    }
    close(fd);
    return found;
}

static bool excluded(const sb_addr *addr, sb_family_policy policy)
{
    return (policy == SB_ONLY_4 && addr->family != SB_FAMILY_4) ||
           (policy == SB_ONLY_6 && addr->family != SB_FAMILY_6);
}

static void describe(const sb_addr *addr, sb_family_policy policy, candidate *ret)
{
    sb_family first = policy == SB_PREFER_6 ? SB_FAMILY_6 : SB_FAMILY_4;
    *ret = (candidate){.addr = *addr, .rank = addr->family != first};
    ret->reachable = sb_edge_source(addr, &ret->source);
    if (policy != SB_PREFER_RFC6724)
        return;
    unsigned unused;
    classify(addr, &ret->precedence, &ret->label);
    ret->scope = scope_of(addr);
    if (ret->reachable) {
        classify(&ret->source, &unused, &ret->source_label);
        ret->source_scope = scope_of(&ret->source);
    }
}

static bool goes_before(const candidate *a, const candidate *b, sb_family_policy policy)
{
    if (a->reachable != b->reachable)
        return a->reachable; /* rule 1 */
    if (policy == SB_PREFER_RFC6724)
        return goes_before_6724(a, b);
    return a->rank < b->rank;
}

static bool goes_before_6724(const candidate *a, const candidate *b)
{
    if (a->reachable) {
        bool same_a = a->scope == a->source_scope, same_b = b->scope == b->source_scope;
        if (same_a != same_b)
            return same_a; /* rule 2 */
        same_a = a->label == a->source_label;
        same_b = b->label == b->source_label;
        if (same_a != same_b)
            return same_a; /* rule 5 */
    }
    if (a->precedence != b->precedence)
        return a->precedence > b->precedence; /* rule 6 */
    if (a->scope != b->scope)
        return a->scope < b->scope; /* rule 8 */
    if (a->reachable && a->addr.family == SB_FAMILY_6 && b->addr.family == SB_FAMILY_6)
        return common_bits(&a->addr, &a->source) > common_bits(&b->addr, &b->source); /* rule 9 */
    return false;
}

static void as_v6(const sb_addr *addr, uint8_t ret[16])
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    sb_writer w = sb_writer_of(ret, 16);
    if (addr->family == SB_FAMILY_4)
        sb_write_bytes(&w, mapped, sizeof mapped);
    sb_write_bytes(&w, addr->bytes, addr->family == SB_FAMILY_4 ? 4 : 16);
}

/* RFC 6724 §2.1, the default policy table, most specific first. */
static void classify(const sb_addr *addr, unsigned *ret_precedence, unsigned *ret_label)
{
    static const struct {
        uint8_t prefix[16];
        unsigned bits, precedence, label;
    } table[] = {
        {{[15] = 1}, 128, 50, 0},  {{[10] = 0xff, 0xff}, 96, 35, 4},
        {{0}, 96, 1, 3},           {{0x20, 0x01}, 32, 5, 5},
        {{0x20, 0x02}, 16, 30, 2}, {{0x3f, 0xfe}, 16, 1, 12},
        {{0xfe, 0xc0}, 10, 1, 11}, {{0xfc}, 7, 3, 13},
        {{0}, 0, 40, 1},
    };
    uint8_t bytes[16];
    as_v6(addr, bytes);
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        unsigned whole = table[i].bits / 8, rest = table[i].bits % 8;
        if (memcmp(bytes, table[i].prefix, whole) != 0)
            continue;
        if (rest && (bytes[whole] ^ table[i].prefix[whole]) >> (8 - rest))
            continue;
        *ret_precedence = table[i].precedence;
        *ret_label = table[i].label;
        return;
    }
}

static unsigned scope_of(const sb_addr *addr)
{
    if (addr->family == SB_FAMILY_6 && addr->bytes[0] == 0xff)
        return addr->bytes[1] & 15;
    if (sb_addr_is_link_local(addr) || sb_addr_is_loopback(addr))
        return SCOPE_LINK;
    if (addr->family == SB_FAMILY_6 && addr->bytes[0] == 0xfe && (addr->bytes[1] & 0xc0) == 0xc0)
        return SCOPE_SITE;
    return SCOPE_GLOBAL;
}

/* At most 64: beyond the prefix of a link, likeness means nothing (§2.2). */
static unsigned common_bits(const sb_addr *a, const sb_addr *b)
{
    for (unsigned i = 0; i < 64; i++)
        if ((a->bytes[i / 8] ^ b->bytes[i / 8]) >> (7 - i % 8) & 1)
            return i;
    return 64;
}
