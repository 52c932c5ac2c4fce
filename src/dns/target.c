/* Targets: one pass from the text a person gave to host, port, address and the parts around them.
 *
 * Borrows the text. RFC 3986 §3, 6874 (zones), 1123 §2.1, 5952. Any thread. */
#include "dns/target.h"

#include <string.h>

#define PORT_MAX 65535

/* tls: the peer checks the name, so the host must stay in the URL. */
static const struct {
    const char *name;
    uint16_t port; /* 0: none registered */
    bool tls;
} schemes[] = {
    {"http", 80, false},
    {"https", 443, true},
    {"ws", 80, false},
    {"wss", 443, true},
    {"grpc", 0, false},
    {"grpcs", 443, true},
    {"redis", 6379, false},
    {"rediss", 6379, true},
    {"ldap", 389, false},
    {"ldaps", 636, true},
    {"amqp", 5672, false},
    {"amqps", 5671, true},
    {"mqtt", 1883, false},
    {"mqtts", 8883, true},
    {"ftp", 21, false},
    {"ftps", 990, true},
    {"imap", 143, false},
    {"imaps", 993, true},
    {"pop3", 110, false},
    {"pop3s", 995, true},
    {"smtp", 25, false},
    {"smtps", 465, true},
    {"sip", 5060, false},
    {"sips", 5061, true},
    {"irc", 6667, false},
    {"ircs", 6697, true},
    {"coap", 5683, false},
    {"coaps", 5684, true},
    {"stun", 3478, false},
    {"stuns", 5349, true},
    {"nats", 4222, false},
    {"tls", 0, true},
    {"ssl", 0, true},
    {"ssh", 22, false},
    {"sftp", 22, false},
    {"git", 9418, false},
    {"dns", 53, false},
    {"mysql", 3306, false},
    {"postgres", 5432, false},
    {"mongodb", 27017, false},
    {"postgresql", 5432, false},
    {"memcached", 11211, false},
    {"clickhouse", 9000, false},
};

static sb_status check_bytes(const char *text, size_t size, sb_why *why);
static bool find_scheme(const char *text, size_t size, size_t *ret_size);
static sb_status parse_scheme(sb_target *t, sb_why *why);
static sb_status parse_authority(sb_span authority, sb_target *t, sb_why *why);
static sb_status parse_bracketed(sb_span authority, sb_target *t, sb_span *ret_port, sb_why *why);
static sb_status parse_host(sb_target *t, sb_why *why);
static sb_status parse_port(sb_span port, sb_target *t, sb_why *why);
static bool numeric_host(sb_span host);
static bool numeric_label(const uint8_t *label, size_t size);
static bool port_is_none(sb_span authority);
static bool zoned_literal(sb_span inner, bool url, sb_addr *ret_addr);
static sb_span slice(sb_span whole, size_t from, size_t to);
static size_t find_byte(sb_span in, char byte);
static size_t find_last(sb_span in, char byte);
static size_t authority_end(sb_span in);

sb_status sb_target_parse(const char *text, size_t size, sb_target *ret_target, sb_why *why)
{
    sb_target t = {.text = {(const uint8_t *)text, size}};
    sb_span authority = t.text;
    size_t scheme_size, end;
    sb_status status = check_bytes(text, size, why);

    if (status != SB_OK)
        return status;
    if (find_scheme(text, size, &scheme_size)) {
        t.form = SB_TARGET_URL;
        t.scheme = slice(t.text, 0, scheme_size);
        status = parse_scheme(&t, why);
        if (status != SB_OK)
            return status;
        authority = slice(t.text, scheme_size + 3, size);
        end = authority_end(authority);
        t.rest = slice(authority, end, authority.size);
        authority = slice(authority, 0, end);
        end = find_last(authority, '@');
        if (end < authority.size) {
            t.userinfo = slice(authority, 0, end);
            authority = slice(authority, end + 1, authority.size);
        }
        if (authority.size == 0)
            return sb_why_set(why, SB_INVALID, "the URL has no host");
    } else if (authority_end(authority) < size) {
        return sb_why_set(why, SB_INVALID,
                          "'%c' is not allowed in a host name; "
                          "a URL begins with a scheme and ://",
                          text[authority_end(authority)]);
    }
    status = parse_authority(authority, &t, why);
    if (status != SB_OK)
        return status;
    if (t.is_literal) {
        t.literal.port = t.port;
        if (t.form == SB_TARGET_HOST)
            t.form = SB_TARGET_LITERAL;
    }
    *ret_target = t;
    return SB_OK;
}

void sb_target_rewrite(const sb_target *target, const sb_addr *addr, bool force, sb_text *ret_text,
                       bool *ret_replaced)
{
    const uint8_t *end = target->text.data + target->text.size;
    const uint8_t *from = target->host.data, *to = from + target->host.size;
    char buffer[SB_ADDR_TEXT_MAX];
    const char *address = sb_addr_text(addr, buffer), *zone = strchr(address, '%');

    *ret_replaced = !target->tls || force;
    if (!*ret_replaced) {
        sb_text_add_bytes(ret_text, target->text.data, target->text.size);
        return;
    }
    if (from > target->text.data && from[-1] == '[') {
        from--;
        to++;
    }
    sb_text_add_bytes(ret_text, target->text.data, (size_t)(from - target->text.data));
    if (addr->family != SB_FAMILY_6)
        sb_text_add(ret_text, "%s", address);
    else if (zone && target->form == SB_TARGET_URL) /* RFC 6874 */
        sb_text_add(ret_text, "[%.*s%%25%s]", (int)(zone - address), address, zone + 1);
    else
        sb_text_add(ret_text, "[%s]", address);
    sb_text_add_bytes(ret_text, to, (size_t)(end - to));
}

/* Also of texts that are no targets: those are what error messages show. */
void sb_target_mask(const char *text, size_t size, sb_text *ret_text)
{
    sb_span all = {(const uint8_t *)text, size};
    size_t start = 0, at;
    sb_span authority;

    if (find_scheme(text, size, &start))
        start += 3;
    all = slice(all, start, size);
    authority = slice(all, 0, authority_end(all));
    at = find_last(authority, '@');
    if (at == authority.size) /* a password with a bare / ? or # ends the authority early */
        at = port_is_none(authority) ? find_last(all, '@') : all.size;
    sb_text_add_bytes(ret_text, text, start);
    if (at < all.size)
        sb_text_add(ret_text, "***");
    else
        at = 0;
    sb_text_add_bytes(ret_text, text + start + at, all.size - at);
}

static sb_status check_bytes(const char *text, size_t size, sb_why *why)
{
    if (size == 0)
        return sb_why_set(why, SB_INVALID, "the target is empty");
    for (size_t i = 0; i < size; i++) {
        uint8_t c = (uint8_t)text[i];
        if (c == 0)
            return sb_why_set(why, SB_INVALID, "the target has a NUL byte");
        if (c == ' ' || (c >= '\t' && c <= '\r'))
            return sb_why_set(why, SB_INVALID, "the target has white space at byte %zu", i + 1);
        if (c < ' ' || c == 0x7f)
            return sb_why_set(why, SB_INVALID, "the target has a control byte at byte %zu", i + 1);
        if (c == '\\') /* a slash to some, a byte of the user info to others: two hosts */
            return sb_why_set(why, SB_INVALID, "the target has a backslash at byte %zu", i + 1);
        if (c > 0x7f)
            return sb_why_set(why, SB_INVALID,
                              "the target has a non-ASCII byte at byte %zu; give international "
                              "names in their A-label form (xn--…)",
                              i + 1);
    }
    return SB_OK;
}

/* Everything before "://" is the scheme; whether it is a good one is asked next. */
static bool find_scheme(const char *text, size_t size, size_t *ret_size)
{
    for (size_t i = 0; i + 3 <= size; i++) {
        if (text[i] == '/' || text[i] == '?' || text[i] == '#')
            return false;
        if (memcmp(text + i, "://", 3) == 0) {
            *ret_size = i;
            return true;
        }
    }
    return false;
}

/* Compound schemes (git+https, postgresql+psycopg2) are what their parts are. */
static sb_status parse_scheme(sb_target *t, sb_why *why)
{
    size_t begin = 0;

    if (t->scheme.size == 0)
        return sb_why_set(why, SB_INVALID, "the URL has no scheme before ://");
    for (size_t i = 0; i <= t->scheme.size; i++) {
        uint8_t c = i < t->scheme.size ? sb_ascii_lower(t->scheme.data[i]) : '+';
        if (!(c >= 'a' && c <= 'z') &&
            (i == 0 || (!sb_ascii_digit((char)c) && c != '+' && c != '-' && c != '.')))
            return sb_why_set(why, SB_INVALID, "the URL's scheme is malformed");
        if (c != '+')
            continue;
        for (size_t k = 0; k < SB_ARRAY_SIZE(schemes); k++) {
            size_t length = strlen(schemes[k].name), n = 0;
            while (n < length && length == i - begin &&
                   sb_ascii_lower(t->scheme.data[begin + n]) == (uint8_t)schemes[k].name[n])
                n++;
            if (n < length)
                continue;
            t->tls = t->tls || schemes[k].tls;
            t->port = schemes[k].port; /* the last part known: it is nearest to the wire */
        }
        begin = i + 1;
    }
    return SB_OK;
}

static sb_status parse_authority(sb_span authority, sb_target *t, sb_why *why)
{
    size_t colon = find_byte(authority, ':');
    sb_span port = {0};
    sb_status status;

    if (authority.data[0] == '[') {
        status = parse_bracketed(authority, t, &port, why);
        return status == SB_OK && port.data ? parse_port(port, t, why) : status;
    }
    if (find_byte(authority, '[') < authority.size || find_byte(authority, ']') < authority.size)
        return sb_why_set(why, SB_INVALID,
                          "a bracket is misplaced; brackets go around an IPv6 address only");
    t->host = authority;
    if (colon < authority.size && find_last(authority, ':') != colon) {
        if (t->form == SB_TARGET_URL)
            return sb_why_set(why, SB_INVALID, "an IPv6 address in a URL must be in brackets");
        if (!sb_addr_parse((const char *)authority.data, authority.size, &t->literal))
            return sb_why_set(why, SB_INVALID,
                              "the IPv6 address is malformed, "
                              "or it has a port and lacks brackets");
        t->is_literal = true;
        return SB_OK;
    }
    if (colon < authority.size) {
        t->host = slice(authority, 0, colon);
        port = slice(authority, colon + 1, authority.size);
    }
    status = parse_host(t, why);
    return status == SB_OK && port.data ? parse_port(port, t, why) : status;
}

static sb_status parse_bracketed(sb_span authority, sb_target *t, sb_span *ret_port, sb_why *why)
{
    size_t close = find_byte(authority, ']');
    sb_span after;

    if (close == authority.size)
        return sb_why_set(why, SB_INVALID, "the opening bracket is never closed");
    after = slice(authority, close + 1, authority.size);
    if (after.size > 0 && after.data[0] != ':')
        return sb_why_set(why, SB_INVALID, "only a colon and a port may follow the bracket");
    t->host = slice(authority, 1, close);
    if (!zoned_literal(t->host, t->form == SB_TARGET_URL, &t->literal) ||
        t->literal.family != SB_FAMILY_6)
        return sb_why_set(why, SB_INVALID, "the brackets do not hold an IPv6 address");
    t->is_literal = true;
    if (after.size > 0)
        *ret_port = slice(after, 1, after.size);
    return SB_OK;
}

static sb_status parse_host(sb_target *t, sb_why *why)
{
    sb_span host = t->host;
    const char *text = (const char *)host.data;

    if (host.size == 0)
        return sb_why_set(why, SB_INVALID, "the host is empty");
    if (sb_addr_parse(text, host.size, &t->literal)) {
        t->is_literal = true;
        return SB_OK;
    }
    if (numeric_host(host))
        return sb_why_set(why, SB_INVALID,
                          "the host is all numbers, but not an IPv4 address of four decimal parts");
    for (size_t i = 0; i < host.size; i++) {
        uint8_t c = sb_ascii_lower(host.data[i]);
        if (!(c >= 'a' && c <= 'z') && !sb_ascii_digit((char)c) && c != '-' && c != '_' && c != '.')
            return sb_why_set(why, SB_INVALID, "'%c' is not allowed in a host name", c);
    }
    if (text[0] == '-')
        return sb_why_set(why, SB_INVALID, "a host name does not begin with a hyphen");
    if (host.size == 1 && text[0] == '.')
        return sb_why_set(why, SB_INVALID, "the root is not a host");
    t->absolute = text[host.size - 1] == '.';
    return sb_name_parse(text, host.size, &t->name, why);
}

static sb_status parse_port(sb_span port, sb_target *t, sb_why *why)
{
    uint64_t value;

    if (port.size == 0 && t->form == SB_TARGET_URL) /* RFC 3986 §3.2.3: the scheme's */
        return SB_OK;
    if (port.size == 0)
        return sb_why_set(why, SB_INVALID, "the port after the colon is missing");
    if (!sb_parse_u64((const char *)port.data, port.size, PORT_MAX, &value) || value == 0)
        return sb_why_set(why, SB_INVALID, "the port is not a number from 1 to 65535");
    t->port = (uint16_t)value;
    t->has_port = true;
    return SB_OK;
}

/* Every label a decimal or 0x number: what the C library would read as an IPv4 address of sorts. */
static bool numeric_host(sb_span host)
{
    size_t begin = 0;

    for (size_t i = 0; i <= host.size; i++) {
        if (i < host.size && host.data[i] != '.')
            continue;
        if (i == host.size && begin == i && i > 0) /* after a final dot */
            break;
        if (!numeric_label(&host.data[begin], i - begin))
            return false;
        begin = i + 1;
    }
    return true;
}

static bool numeric_label(const uint8_t *label, size_t size)
{
    bool hex = size >= 2 && label[0] == '0' && sb_ascii_lower(label[1]) == 'x';

    for (size_t i = hex ? 2 : 0; i < size; i++) {
        uint8_t c = sb_ascii_lower(label[i]);
        if (!sb_ascii_digit((char)c) && !(hex && c >= 'a' && c <= 'f'))
            return false;
    }
    return size > 0;
}

/* True when what stands where a port would is none: then it may be a password. */
static bool port_is_none(sb_span authority)
{
    size_t colon = find_last(authority, ':');
    sb_span port;
    uint64_t value;

    if (colon == authority.size || authority.data[0] == '[')
        return false;
    port = slice(authority, colon + 1, authority.size);
    return colon == 0 || !sb_parse_u64((const char *)port.data, port.size, PORT_MAX, &value);
}

/* In a URL the per cent sign before a zone is written %25 (RFC 6874); a bare one is taken too. */
static bool zoned_literal(sb_span inner, bool url, sb_addr *ret_addr)
{
    char text[SB_ADDR_TEXT_MAX];
    size_t percent = find_byte(inner, '%');
    sb_writer w = sb_writer_of(text, sizeof text);

    if (!url || inner.size - percent < 4 || memcmp(&inner.data[percent], "%25", 3) != 0)
        return sb_addr_parse((const char *)inner.data, inner.size, ret_addr);
    sb_write_bytes(&w, inner.data, percent + 1);
    sb_write_bytes(&w, &inner.data[percent + 3], inner.size - percent - 3);
    return !w.failed && sb_addr_parse(text, w.size, ret_addr);
}

static sb_span slice(sb_span whole, size_t from, size_t to)
{
    return (sb_span){whole.data + from, to - from};
}

/* Place of the first such byte, or the size. */
static size_t find_byte(sb_span in, char byte)
{
    const uint8_t *at = in.size ? memchr(in.data, byte, in.size) : NULL;

    return at ? (size_t)(at - in.data) : in.size;
}

static size_t find_last(sb_span in, char byte)
{
    for (size_t i = in.size; i > 0; i--)
        if (in.data[i - 1] == (uint8_t)byte)
            return i - 1;
    return in.size;
}

static size_t authority_end(sb_span in)
{
    size_t i = 0;

    while (i < in.size && in.data[i] != '/' && in.data[i] != '?' && in.data[i] != '#')
        i++;
    return i;
}
