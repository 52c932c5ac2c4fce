/* Addresses: strict parsing, RFC 5952 text, classes and prefixes.
 *
 * Asks the system for nothing but the index of an interface named after a '%'. Any thread. */
#include "base/addr.h"

#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

static bool parse_4(const char *text, size_t size, uint8_t ret_bytes[4]);
static bool parse_6(const char *text, size_t size, uint8_t ret_bytes[16]);
static bool parse_scope(const char *text, size_t size, uint32_t *ret_scope);
static bool takes_scope(const sb_addr *addr);
static void format_6(const uint8_t bytes[16], char *buffer);
static bool in_prefix(const uint8_t *bytes, const uint8_t *prefix, unsigned bits);
static const uint8_t *as_4(const sb_addr *addr);

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool sb_addr_parse(const char *text, size_t size, sb_addr *ret_addr)
{
    sb_addr addr = {0};
    if (size == 0)
        return false;
    if (!memchr(text, ':', size)) {
        if (!parse_4(text, size, addr.bytes))
            return false;
        addr.family = SB_FAMILY_4;
        *ret_addr = addr;
        return true;
    }
    addr.family = SB_FAMILY_6;
    const char *percent = memchr(text, '%', size);
    size_t host_size = percent ? (size_t)(percent - text) : size;
    if (!parse_6(text, host_size, addr.bytes))
        return false;
    if (percent && (!takes_scope(&addr) ||
                    !parse_scope(percent + 1, size - host_size - 1, &addr.scope)))
        return false;
    *ret_addr = addr;
    return true;
}

bool sb_addr_parse_port(const char *text, size_t size, uint16_t default_port, sb_addr *ret_addr)
{
    sb_addr addr;
    uint64_t port = default_port;
    const char *port_text = NULL;
    const char *end = text + size;
    if (size == 0)
        return false;
    if (text[0] == '[') {
        const char *close = memchr(text, ']', size);
        if (!close || !sb_addr_parse(text + 1, (size_t)(close - text - 1), &addr) ||
            addr.family != SB_FAMILY_6)
            return false;
        if (close + 1 != end) {
            if (close[1] != ':')
                return false;
            port_text = close + 2;
        }
    } else {
        const char *colon = memchr(text, ':', size);
        if (colon && !memchr(colon + 1, ':', (size_t)(end - colon - 1)))
            port_text = colon + 1;
        if (!sb_addr_parse(text, port_text ? (size_t)(colon - text) : size, &addr))
            return false;
    }
    if (port_text && (end - port_text > 5 ||
                      !sb_parse_u64(port_text, (size_t)(end - port_text), UINT16_MAX, &port)))
        return false;
    addr.port = (uint16_t)port;
    *ret_addr = addr;
    return true;
}

const char *sb_addr_text(const sb_addr *addr, char *buffer)
{
    const uint8_t *b = addr->bytes;
    if (addr->family == SB_FAMILY_4) {
        snprintf(buffer, SB_ADDR_TEXT_MAX, "%u.%u.%u.%u", b[0], b[1], b[2], b[3]);
    } else if (addr->family == SB_FAMILY_6) {
        format_6(b, buffer);
        size_t used = strlen(buffer);
        if (addr->scope)
            snprintf(buffer + used, SB_ADDR_TEXT_MAX - used, "%%%u", addr->scope);
    } else {
        snprintf(buffer, SB_ADDR_TEXT_MAX, "none");
    }
    return buffer;
}

const char *sb_addr_text_port(const sb_addr *addr, char *buffer)
{
    bool brackets = addr->family == SB_FAMILY_6;
    buffer[0] = '[';
    sb_addr_text(addr, buffer + (brackets ? 1 : 0)); /* at most 57 bytes: room for the rest */
    size_t used = strlen(buffer);
    snprintf(buffer + used, SB_ADDR_TEXT_MAX - used, "%s:%u", brackets ? "]" : "", addr->port);
    return buffer;
}

bool sb_addr_equal(const sb_addr *a, const sb_addr *b)
{
    return sb_addr_same_host(a, b) && a->port == b->port;
}

bool sb_addr_same_host(const sb_addr *a, const sb_addr *b)
{
    return a->family == b->family && a->scope == b->scope &&
           memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

int sb_addr_compare(const sb_addr *a, const sb_addr *b)
{
    if (a->family != b->family)
        return a->family < b->family ? -1 : 1;
    int order = memcmp(a->bytes, b->bytes, sizeof(a->bytes));
    if (order != 0)
        return order < 0 ? -1 : 1;
    if (a->scope != b->scope)
        return a->scope < b->scope ? -1 : 1;
    if (a->port != b->port)
        return a->port < b->port ? -1 : 1;
    return 0;
}

bool sb_addr_is_loopback(const sb_addr *addr)
{
    static const uint8_t one[16] = {[15] = 1};
    const uint8_t *four = as_4(addr);
    if (four)
        return four[0] == 127;
    return addr->family == SB_FAMILY_6 && memcmp(addr->bytes, one, 16) == 0;
}

bool sb_addr_is_any(const sb_addr *addr)
{
    static const uint8_t zero[16];
    const uint8_t *four = as_4(addr);
    if (four)
        return memcmp(four, zero, 4) == 0;
    return addr->family == SB_FAMILY_6 && memcmp(addr->bytes, zero, 16) == 0;
}

bool sb_addr_is_group(const sb_addr *addr)
{
    const uint8_t *four = as_4(addr);
    if (four)
        return (four[0] & 0xf0) == 0xe0 || sb_load_u32(four) == UINT32_MAX;
    return addr->family == SB_FAMILY_6 && addr->bytes[0] == 0xff;
}

bool sb_addr_is_host(const sb_addr *addr)
{
    return addr->family != SB_FAMILY_NONE && !sb_addr_is_any(addr) && !sb_addr_is_group(addr);
}

bool sb_addr_is_link_local(const sb_addr *addr)
{
    const uint8_t *four = as_4(addr);
    if (four)
        return four[0] == 169 && four[1] == 254;
    return addr->family == SB_FAMILY_6 && addr->bytes[0] == 0xfe && (addr->bytes[1] & 0xc0) == 0x80;
}

bool sb_addr_is_private(const sb_addr *addr)
{
    if (sb_addr_is_loopback(addr) || sb_addr_is_link_local(addr))
        return true;
    const uint8_t *four = as_4(addr);
    if (four)
        return four[0] == 10 || (four[0] == 172 && (four[1] & 0xf0) == 16) ||
               (four[0] == 192 && four[1] == 168) || (four[0] == 100 && (four[1] & 0xc0) == 64);
    return addr->family == SB_FAMILY_6 && (addr->bytes[0] & 0xfe) == 0xfc;
}

sb_addr sb_addr_from_sockaddr(const struct sockaddr *sa)
{
    if (sa && sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof(in)); /* the caller's buffer may be aligned for sockaddr only */
        uint8_t bytes[4];
        memcpy(bytes, &in.sin_addr, 4);
        return sb_addr_4(bytes, ntohs(in.sin_port));
    }
    if (sa && sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof(in6));
        sb_addr addr = sb_addr_6(in6.sin6_addr.s6_addr, ntohs(in6.sin6_port));
        if (takes_scope(&addr))
            addr.scope = in6.sin6_scope_id;
        return addr;
    }
    return (sb_addr){0};
}

socklen_t sb_addr_to_sockaddr(const sb_addr *addr, struct sockaddr_storage *ret_sa)
{
    memset(ret_sa, 0, sizeof(*ret_sa));
    if (addr->family == SB_FAMILY_4) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(addr->port)};
        memcpy(&in.sin_addr, addr->bytes, 4);
        memcpy(ret_sa, &in, sizeof(in));
        return sizeof(in);
    }
    if (addr->family == SB_FAMILY_6) {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(addr->port)};
        in6.sin6_scope_id = addr->scope;
        memcpy(&in6.sin6_addr, addr->bytes, 16);
        memcpy(ret_sa, &in6, sizeof(in6));
        return sizeof(in6);
    }
    ret_sa->ss_family = AF_UNSPEC;
    return 0;
}

sb_addr sb_addr_4(const uint8_t bytes[4], uint16_t port)
{
    sb_addr addr = {.family = SB_FAMILY_4, .port = port};
    memcpy(addr.bytes, bytes, 4);
    return addr;
}

sb_addr sb_addr_6(const uint8_t bytes[16], uint16_t port)
{
    sb_addr addr = {.family = SB_FAMILY_6, .port = port};
    memcpy(addr.bytes, bytes, 16);
    return addr;
}

bool sb_prefix_parse(const char *text, size_t size, sb_prefix *ret_prefix)
{
    sb_prefix prefix = {0};
    const char *slash = size ? memchr(text, '/', size) : NULL;
    size_t host_size = slash ? (size_t)(slash - text) : size;
    if (!sb_addr_parse(text, host_size, &prefix.addr) || prefix.addr.scope)
        return false;
    uint64_t width = prefix.addr.family == SB_FAMILY_4 ? 32 : 128, bits = width;
    if (slash) {
        size_t digits = size - host_size - 1;
        if (digits > 3 || !sb_parse_u64(slash + 1, digits, width, &bits))
            return false;
    }
    for (uint64_t bit = bits; bit < width; bit++)
        if (prefix.addr.bytes[bit / 8] & 0x80 >> bit % 8)
            return false;
    prefix.bits = (uint8_t)bits;
    *ret_prefix = prefix;
    return true;
}

bool sb_prefix_contains(const sb_prefix *prefix, const sb_addr *addr)
{
    if (prefix->addr.family == SB_FAMILY_4) {
        const uint8_t *four = as_4(addr);
        return four && in_prefix(four, prefix->addr.bytes, prefix->bits);
    }
    return prefix->addr.family == SB_FAMILY_6 && addr->family == SB_FAMILY_6 &&
           in_prefix(addr->bytes, prefix->addr.bytes, prefix->bits);
}

/* The four bytes of an IPv4 address, plain or mapped; NULL for anything else. */
static const uint8_t *as_4(const sb_addr *addr)
{
    if (addr->family == SB_FAMILY_4)
        return addr->bytes;
    if (addr->family == SB_FAMILY_6 && memcmp(addr->bytes, mapped_prefix, 12) == 0)
        return addr->bytes + 12;
    return NULL;
}

static bool in_prefix(const uint8_t *bytes, const uint8_t *prefix, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(bytes, prefix, whole) != 0)
        return false;
    return rest == 0 || ((bytes[whole] ^ prefix[whole]) & (0xff00 >> rest & 0xff)) == 0;
}

/* Link-local unicast, and multicast of interface or link scope (mDNS). Nothing else is ambiguous
 * without a scope. */
static bool takes_scope(const sb_addr *addr)
{
    const uint8_t *b = addr->bytes;
    if (addr->family != SB_FAMILY_6)
        return false;
    if (b[0] == 0xff)
        return (b[1] & 15) == 1 || (b[1] & 15) == 2;
    return b[0] == 0xfe && (b[1] & 0xc0) == 0x80;
}

/* Four decimal numbers of 0 to 255, no leading zero: "010" is 8 to some and 10 to others. */
static bool parse_4(const char *text, size_t size, uint8_t ret_bytes[4])
{
    uint8_t bytes[4];
    size_t at = 0;
    for (unsigned i = 0; i < 4; i++) {
        if (i > 0 && (at >= size || text[at++] != '.'))
            return false;
        size_t start = at;
        while (at < size && at - start < 3 && sb_ascii_digit(text[at]))
            at++;
        uint64_t value;
        if (at - start > 1 && text[start] == '0')
            return false;
        if (!sb_parse_u64(text + start, at - start, 255, &value))
            return false;
        bytes[i] = (uint8_t)value;
    }
    if (at != size)
        return false;
    memcpy(ret_bytes, bytes, 4);
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    uint8_t lower = sb_ascii_lower((uint8_t)c);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* RFC 4291 §2.2: groups of 1 to 4 hex digits, one "::" for one group or more, at the end
 * perhaps a dotted quad. */
static bool parse_6(const char *text, size_t size, uint8_t ret_bytes[16])
{
    uint8_t bytes[16] = {0};
    size_t used = 0, gap = SIZE_MAX, at = 0;
    if (size >= 2 && text[0] == ':' && text[1] == ':') {
        gap = 0;
        at = 2;
    }
    while (at < size) {
        size_t start = at;
        unsigned value = 0;
        while (at < size && at - start < 4 && hex_digit(text[at]) >= 0)
            value = value << 4 | (unsigned)hex_digit(text[at++]);
        if (at < size && text[at] == '.') {
            if (used > 12 || !parse_4(text + start, size - start, bytes + used))
                return false;
            used += 4;
            break;
        }
        if (at == start || used > 14)
            return false;
        sb_store_u16(bytes + used, (uint16_t)value);
        used += 2;
        if (at == size)
            break;
        if (text[at++] != ':' || at == size)
            return false; /* a fifth digit, a foreign byte, or a colon at the end */
        if (text[at] == ':') {
            if (gap != SIZE_MAX)
                return false;
            gap = used;
            at++;
        }
    }
    if (gap == SIZE_MAX ? used != 16 : used > 14)
        return false;
    if (gap != SIZE_MAX) {
        memmove(bytes + 16 - (used - gap), bytes + gap, used - gap);
        memset(bytes + gap, 0, 16 - used);
    }
    memcpy(ret_bytes, bytes, 16);
    return true;
}

/* "3" or "eth0". Number 0 means no scope to the kernel and is refused. */
static bool parse_scope(const char *text, size_t size, uint32_t *ret_scope)
{
    char name[IF_NAMESIZE];
    uint64_t index;
    if (sb_parse_u64(text, size, UINT32_MAX, &index)) {
        *ret_scope = (uint32_t)index;
        return index != 0;
    }
    if (size == 0 || size >= sizeof(name) || memchr(text, '\0', size))
        return false;
    memcpy(name, text, size);
    name[size] = '\0';
    *ret_scope = if_nametoindex(name);
    return *ret_scope != 0;
}

/* RFC 5952: lower case, no leading zeros, the longest (then first) run of two or more zero groups
 * as "::", and a dotted quad where the address is IPv4-mapped. At most 45 bytes and a NUL. */
static void format_6(const uint8_t bytes[16], char *buffer)
{
    sb_writer w = sb_writer_of(buffer, SB_ADDR_TEXT_MAX - 1);
    unsigned best = 8, best_size = 1;
    for (unsigned i = 0; i < 8; i++) {
        unsigned end = i;
        while (end < 8 && sb_load_u16(bytes + (size_t)end * 2) == 0)
            end++;
        if (end - i > best_size) {
            best = i;
            best_size = end - i;
        }
    }
    bool mapped = memcmp(bytes, mapped_prefix, 12) == 0;
    for (unsigned i = 0; i < 8; i++) {
        if (i == best) {
            sb_write_text(&w, "::");
            i += best_size - 1;
            continue;
        }
        if (i > 0 && !(i == best + best_size))
            sb_write_text(&w, ":");
        if (mapped && i == 6) {
            sb_write_format(&w, "%u.%u.%u.%u", bytes[12], bytes[13], bytes[14], bytes[15]);
            break;
        }
        sb_write_format(&w, "%x", sb_load_u16(bytes + (size_t)i * 2));
    }
    buffer[w.size] = '\0';
}
