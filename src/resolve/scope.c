/* See scope.h. */
#include "resolve/scope.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/map.h"
#include "net/netmon.h"

static bool name_below(const sb_name *name, const char *text)
{
    sb_name other;
    return sb_name_parse(text, strlen(text), &other, NULL) == SB_OK && sb_name_below(name, &other);
}

bool sb_scope_address(const sb_addr *addr)
{
    static const char *const more[] = {"64:ff9b::/96", "64:ff9b:1::/48", "198.18.0.0/15"};
    if (sb_addr_is_private(addr) || sb_addr_is_any(addr))
        return true;
    for (size_t i = 0; i < SB_ARRAY_SIZE(more); i++) {
        sb_prefix prefix;
        if (sb_prefix_parse(more[i], strlen(more[i]), &prefix) && sb_prefix_contains(&prefix, addr))
            return true;
    }
    return false;
}

bool sb_scope_name(const sb_name *name)
{
    static const char *const suffixes[] = {"local",
                                           "internal",
                                           "home.arpa",
                                           "lan",
                                           "home",
                                           "corp",
                                           "intranet",
                                           "localdomain",
                                           "private",
                                           "10.in-addr.arpa",
                                           "168.192.in-addr.arpa",
                                           "254.169.in-addr.arpa",
                                           "c.f.ip6.arpa",
                                           "d.f.ip6.arpa",
                                           "8.e.f.ip6.arpa",
                                           "9.e.f.ip6.arpa",
                                           "a.e.f.ip6.arpa",
                                           "b.e.f.ip6.arpa"};
    if (sb_name_labels(name) == 1)
        return true;
    for (size_t i = 0; i < SB_ARRAY_SIZE(suffixes); i++)
        if (name_below(name, suffixes[i]))
            return true;
    if (!name_below(name, "172.in-addr.arpa"))
        return false;
    for (unsigned i = 16; i < 32; i++) { /* RFC 1918's middle range */
        char text[32];
        (void)snprintf(text, sizeof text, "%u.172.in-addr.arpa", i);
        if (name_below(name, text))
            return true;
    }
    return false;
}

bool sb_scope_answer(const sb_question *question, const sb_answer *answer)
{
    sb_addr addresses[32];
    if (sb_scope_name(&question->name))
        return true;
    size_t n = sb_answer_addresses(answer, addresses, SB_ARRAY_SIZE(addresses));
    for (size_t i = 0; i < n; i++)
        if (sb_scope_address(&addresses[i]))
            return true;
    return false;
}

uint32_t sb_scope_view(uint32_t view, uint32_t network)
{
    static const uint8_t secret[16] = "stubborn scope..";
    uint8_t bytes[8];
    sb_writer w = sb_writer_of(bytes, sizeof bytes);
    sb_write_u32(&w, view);
    sb_write_u32(&w, network);
    uint32_t scoped = (uint32_t)(sb_siphash(secret, bytes, w.size) % (SB_VIEW_EMERGENCY - 1)) + 1;
    return scoped != view ? scoped : scoped % (SB_VIEW_EMERGENCY - 1) + 1;
}

bool sb_scope_same(uint32_t a, uint32_t b)
{
    bool half = (a & UINT16_MAX) == 0 || (b & UINT16_MAX) == 0;
    return a == b || (sb_network_same_place(a, b) && half);
}
