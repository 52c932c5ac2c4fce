/* Text to values: durations, sizes, percentages, servers, name patterns, and resolv.conf(5).
 *
 * Never touches a file, the environment or a locale. Any thread. */
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "core/settings.h"

enum {
    DNS_PORT = 53,
    DOT_PORT = 853,      /* RFC 7858 §3.1 */
    NDOTS_MAX = 15,      /* as glibc caps it */
    FRACTION_DIGITS = 9, /* nanoseconds of a second */
};

typedef struct unit {
    const char *text;
    uint64_t value;
} unit;

static bool scaled(const char *text, size_t size, uint64_t unit_value, uint64_t *ret);
static size_t number_size(const char *text);
static const uint64_t *find_unit(const unit *units, size_t count, const char *text);
static bool next_line(sb_reader *r, sb_span *ret_line);
static bool next_word(sb_span *line, sb_span *ret_word);
static bool word_is(sb_span word, const char *text);
static void take_server(sb_resolv_conf *conf, sb_span word);
static void take_search(sb_resolv_conf *conf, sb_span line, size_t max);
static void take_options(sb_resolv_conf *conf, sb_span line);

bool sb_parse_duration(const char *text, bool bare_seconds, sb_ns *ret)
{
    static const unit units[] = {
        {"ns", 1},           {"us", 1000},          {"ms", 1000000},        {"s", 1000000000},
        {"m", 60000000000U}, {"h", 3600000000000U}, {"d", 86400000000000U}, {"w", 604800000000000U},
    };
    static const uint64_t second = (uint64_t)SB_S;
    uint64_t value;
    size_t size = number_size(text);
    const uint64_t *factor = find_unit(units, SB_ARRAY_SIZE(units), text + size);
    if (!factor && bare_seconds && text[size] == '\0')
        factor = &second;
    if (!factor || !scaled(text, size, *factor, &value) || value >= (uint64_t)SB_NEVER)
        return false;
    *ret = (sb_ns)value;
    return true;
}

bool sb_parse_size(const char *text, uint64_t *ret_bytes)
{
    static const unit units[] = {
        {"", 1},
        {"B", 1},
        {"KiB", 1U << 10},
        {"MiB", 1U << 20},
        {"GiB", 1U << 30},
        {"TiB", 1ULL << 40},
        {"kB", 1000},
        {"MB", 1000000},
        {"GB", 1000000000},
        {"TB", 1000000000000U},
    };
    uint64_t value;
    size_t size = number_size(text);
    const uint64_t *factor = find_unit(units, SB_ARRAY_SIZE(units), text + size);
    if (!factor || !scaled(text, size, *factor, &value))
        return false;
    *ret_bytes = value;
    return true;
}

bool sb_parse_percent(const char *text, uint32_t *ret_permille)
{
    uint64_t value;
    size_t size = number_size(text);
    if (text[size] != '%' || text[size + 1] != '\0' || !scaled(text, size, 10, &value) ||
        value > 1000)
        return false;
    *ret_permille = (uint32_t)value;
    return true;
}

sb_status sb_server_parse(sb_arena *arena, const char *text, sb_server_setting *ret, sb_why *why)
{
    static const char scheme[] = "tls://";
    sb_server_setting server = {.trust_ad = SB_TRUST_AUTO};
    size_t size = strlen(text);
    bool tls = size >= sizeof(scheme) - 1 && memcmp(text, scheme, sizeof(scheme) - 1) == 0;
    const char *host = tls ? text + sizeof(scheme) - 1 : text;
    const char *hash = memchr(host, '#', strlen(host));
    size_t host_size = hash ? (size_t)(hash - host) : strlen(host);

    if (!tls && strstr(text, "://"))
        return sb_why_set(why, SB_INVALID, "server %s has an unknown scheme; tls:// is known",
                          SB_Q(text));
    if (hash && !tls)
        return sb_why_set(why, SB_INVALID, "server %s names a certificate without tls://",
                          SB_Q(text));
    uint16_t default_port = tls ? DOT_PORT : DNS_PORT;
    if (!sb_addr_parse_port(host, host_size, default_port, &server.addr))
        return sb_why_set(why, SB_INVALID, "server %s is not an IP address with an optional port",
                          SB_Q(text));
    if (server.addr.port == 0)
        return sb_why_set(why, SB_INVALID, "server %s has port 0", SB_Q(text));
    if (sb_addr_is_any(&server.addr))
        return sb_why_set(why, SB_INVALID, "server %s is the unspecified address", SB_Q(text));
    if (sb_addr_is_group(&server.addr))
        return sb_why_set(why, SB_INVALID, "server %s is a multicast or broadcast address",
                          SB_Q(text));
    if (server.addr.family == SB_FAMILY_6 && sb_addr_is_link_local(&server.addr) &&
        server.addr.scope == 0)
        return sb_why_set(why, SB_INVALID,
                          "server %s is link-local and needs its interface: fe80::1%%eth0",
                          SB_Q(text));
    sb_name name;
    if (hash && sb_name_parse(hash + 1, strlen(hash + 1), &name, NULL) != SB_OK)
        return sb_why_set(why, SB_INVALID, "server %s has a bad certificate name", SB_Q(text));

    char label[SB_ADDR_TEXT_MAX];
    if (server.addr.port == default_port)
        sb_addr_text(&server.addr, label);
    else
        sb_addr_text_port(&server.addr, label);
    server.name = sb_arena_strdup(arena, label);
    if (tls)
        server.tls_name = sb_arena_strdup(arena, hash ? hash + 1 : "");
    if (!server.name || (tls && !server.tls_name))
        return sb_why_set(why, SB_NOMEM, "no memory for server %s", SB_Q(text));
    *ret = server;
    return SB_OK;
}

sb_status sb_match_parse(const char *text, size_t size, sb_name *ret_name, bool *ret_below,
                         sb_why *why)
{
    bool below = size >= 2 && text[0] == '*' && text[1] == '.';
    const char *host = below ? text + 2 : text;
    size_t host_size = below ? size - 2 : size;
    sb_addr literal;
    sb_name name;
    if (memchr(host, '*', host_size))
        return sb_why_set(why, SB_INVALID, "a star is understood as the first label only");
    if (sb_addr_parse(host, host_size, &literal))
        return sb_why_set(why, SB_INVALID, "an address is not a name");
    for (size_t i = 0; i < host_size; i++)
        if ((uint8_t)host[i] <= ' ' || (uint8_t)host[i] >= 0x7f)
            return sb_why_set(why, SB_INVALID, "a name holds a blank, control or non-ASCII byte");
    if (below && host_size == 0)
        name = (sb_name){.size = 1}; /* "*.": every name there is */
    else {
        sb_status status = sb_name_parse(host, host_size, &name, why);
        if (status != SB_OK)
            return status;
    }
    sb_name_fold(&name);
    *ret_name = name;
    *ret_below = below;
    return SB_OK;
}

void sb_resolv_conf_parse(const uint8_t *bytes, size_t size, sb_resolv_conf *ret)
{
    *ret = (sb_resolv_conf){.ndots = 1};
    sb_reader r = sb_reader_of(bytes, size);
    sb_span line, keyword;
    while (next_line(&r, &line)) {
        /* Comments begin in the first column (resolv.conf(5)); a NUL is no text. */
        if (line.size == 0 || line.data[0] == '#' || line.data[0] == ';' ||
            memchr(line.data, '\0', line.size) || !next_word(&line, &keyword))
            continue;
        sb_span word;
        if (word_is(keyword, "nameserver") && next_word(&line, &word))
            take_server(ret, word);
        else if (word_is(keyword, "search"))
            take_search(ret, line, SB_ARRAY_SIZE(ret->search));
        else if (word_is(keyword, "domain"))
            take_search(ret, line, 1); /* of "search" and "domain" the last counts */
        else if (word_is(keyword, "options"))
            take_options(ret, line);
    }
}

/* Digits with an optional fraction, times the unit; false when something would be lost. */
static bool scaled(const char *text, size_t size, uint64_t unit_value, uint64_t *ret)
{
    const char *dot = memchr(text, '.', size);
    size_t whole_size = dot ? (size_t)(dot - text) : size;
    uint64_t whole, fraction = 0, divisor = 1, value;
    if (!sb_parse_u64(text, whole_size, UINT64_MAX, &whole))
        return false;
    if (dot) {
        size_t digits = size - whole_size - 1;
        if (digits > FRACTION_DIGITS || !sb_parse_u64(dot + 1, digits, UINT64_MAX, &fraction))
            return false;
        for (size_t i = 0; i < digits; i++)
            divisor *= 10;
    }
    if (__builtin_mul_overflow(whole, unit_value, &value))
        return false;
    unsigned __int128 rest = (unsigned __int128)fraction * unit_value;
    if (rest % divisor != 0 || __builtin_add_overflow(value, (uint64_t)(rest / divisor), &value))
        return false;
    *ret = value;
    return true;
}

static size_t number_size(const char *text)
{
    size_t size = 0;
    while (sb_ascii_digit(text[size]) || text[size] == '.')
        size++;
    return size;
}

static const uint64_t *find_unit(const unit *units, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(units[i].text, text) == 0)
            return &units[i].value;
    return NULL;
}

/* The next line without its end; a last line without one counts too. */
static bool next_line(sb_reader *r, sb_span *ret_line)
{
    size_t left = sb_reader_left(r);
    if (left == 0)
        return false;
    const uint8_t *start = r->data + r->at;
    const uint8_t *end = memchr(start, '\n', left);
    size_t size = end ? (size_t)(end - start) : left;
    *ret_line = sb_read_span(r, size);
    if (end)
        sb_read_skip(r, 1);
    return true;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

static bool next_word(sb_span *line, sb_span *ret_word)
{
    size_t start = 0;
    while (start < line->size && is_blank(line->data[start]))
        start++;
    size_t end = start;
    while (end < line->size && !is_blank(line->data[end]))
        end++;
    *ret_word = (sb_span){.data = line->data + start, .size = end - start};
    *line = (sb_span){.data = line->data + end, .size = line->size - end};
    return end > start;
}

static bool word_is(sb_span word, const char *text)
{
    return word.size == strlen(text) && memcmp(word.data, text, word.size) == 0;
}

static void take_server(sb_resolv_conf *conf, sb_span word)
{
    static const uint8_t loopback_4[4] = {127, 0, 0, 1}, loopback_6[16] = {[15] = 1};
    sb_addr addr;
    if (conf->server_count == SB_ARRAY_SIZE(conf->servers) ||
        !sb_addr_parse_port((const char *)word.data, word.size, DNS_PORT, &addr) || addr.port == 0)
        return;
    if (sb_addr_is_any(&addr)) /* "this host" to the C library, and to connect(2) */
        addr = addr.family == SB_FAMILY_4 ? sb_addr_4(loopback_4, addr.port)
                                          : sb_addr_6(loopback_6, addr.port);
    for (size_t i = 0; i < conf->server_count; i++)
        if (sb_addr_equal(&conf->servers[i].addr, &addr))
            return;
    conf->servers[conf->server_count++] = (sb_server_setting){.addr = addr, .name = ""};
}

static void take_search(sb_resolv_conf *conf, sb_span line, size_t max)
{
    sb_span word;
    conf->search_count = 0;
    while (conf->search_count < max && next_word(&line, &word)) {
        sb_name name;
        /* The root is how some tools write "no search list". */
        if (sb_name_parse((const char *)word.data, word.size, &name, NULL) != SB_OK ||
            name.size <= 1)
            continue;
        sb_name_fold(&name);
        conf->search[conf->search_count++] = name;
    }
}

static void take_options(sb_resolv_conf *conf, sb_span line)
{
    static const char prefix[] = "ndots:";
    const size_t prefix_size = sizeof(prefix) - 1;
    sb_span word;
    while (next_word(&line, &word)) {
        uint64_t value;
        if (word.size <= prefix_size || memcmp(word.data, prefix, prefix_size) != 0 ||
            !sb_parse_u64((const char *)word.data + prefix_size, word.size - prefix_size,
                          UINT64_MAX, &value))
            continue;
        conf->ndots = value > NDOTS_MAX ? NDOTS_MAX : (unsigned)value;
    }
}
