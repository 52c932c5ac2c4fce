/* Domain names: presentation form, wire form, comparison.
 *
 * Owns nothing, allocates nothing. RFC 1035 §3.1, §4.1.4 and §5.1, RFC 4343. Any thread. */
#include "dns/name.h"

#include <string.h>

#include "base/addr.h"

#define LABEL_MAX 63
/* A name has at most 127 labels and a useful pointer brings at least one of them; the bound keeps
 * the work per name small where a message is one long ladder of pointers. */
#define JUMPS_MAX 127

/* One byte of presentation form; false for a bad escape. *at moves past it. */
static bool unescape(const char *text, size_t size, size_t *at, uint8_t *ret_byte);
static sb_status parse_label(const char *text, size_t size, size_t *at, sb_name *name, sb_why *why);
static bool read_labels(sb_reader *r, bool pointers, size_t base, sb_name *ret_name);
static bool needs_backslash(uint8_t c);

sb_status sb_name_parse(const char *text, size_t size, sb_name *ret_name, sb_why *why)
{
    sb_name name = {0};
    size_t at = 0;

    if (size == 0)
        return sb_why_set(why, SB_INVALID, "the name is empty");
    if (memchr(text, 0, size))
        return sb_why_set(why, SB_INVALID, "the name has a NUL byte");
    if (size == 1 && text[0] == '.') {
        ret_name->size = 1;
        ret_name->wire[0] = 0;
        return SB_OK;
    }
    while (at < size) {
        sb_status status = parse_label(text, size, &at, &name, why);
        if (status != SB_OK)
            return status;
    }
    name.wire[name.size++] = 0;
    ret_name->size = name.size;
    memcpy(ret_name->wire, name.wire, name.size);
    return SB_OK;
}

const char *sb_name_text(const sb_name *name, char *buffer)
{
    static const char digits[] = "0123456789";
    size_t at = 0;
    char *out = buffer;

    if (name->size <= 1) {
        buffer[0] = '.';
        buffer[name->size] = 0; /* "." for the root, "" for no name */
        return buffer;
    }
    while (name->wire[at] != 0) {
        size_t label = name->wire[at++];
        if (out != buffer)
            *out++ = '.';
        for (size_t end = at + label; at < end; at++) {
            uint8_t c = name->wire[at];
            if (c <= ' ' || c > '~') {
                *out++ = '\\';
                *out++ = digits[c / 100];
                *out++ = digits[c / 10 % 10];
                *out++ = digits[c % 10];
                continue;
            }
            if (needs_backslash(c))
                *out++ = '\\';
            *out++ = (char)c;
        }
    }
    *out = 0;
    return buffer;
}

bool sb_name_read(sb_reader *r, size_t base, sb_name *ret_name)
{
    return read_labels(r, true, base, ret_name);
}

bool sb_name_read_plain(sb_reader *r, sb_name *ret_name)
{
    return read_labels(r, false, 0, ret_name);
}

void sb_name_write(sb_writer *w, const sb_name *name)
{
    sb_write_bytes(w, name->wire, name->size);
}

/* Length bytes are below 64 and so never look like letters: whole wire forms fold and compare. */
void sb_name_fold(sb_name *name)
{
    for (size_t i = 0; i < name->size; i++)
        name->wire[i] = sb_ascii_lower(name->wire[i]);
}

bool sb_name_equal(const sb_name *a, const sb_name *b)
{
    if (a->size != b->size)
        return false;
    for (size_t i = 0; i < a->size; i++)
        if (sb_ascii_lower(a->wire[i]) != sb_ascii_lower(b->wire[i]))
            return false;
    return true;
}

bool sb_name_below(const sb_name *name, const sb_name *suffix)
{
    size_t at = 0;

    if (suffix->size == 0 || suffix->size > name->size)
        return false;
    while (name->size - at > suffix->size)
        at += (size_t)name->wire[at] + 1;
    if (name->size - at != suffix->size)
        return false;
    for (size_t i = 0; i < suffix->size; i++)
        if (sb_ascii_lower(name->wire[at + i]) != sb_ascii_lower(suffix->wire[i]))
            return false;
    return true;
}

unsigned sb_name_labels(const sb_name *name)
{
    unsigned n = 0;

    for (size_t at = 0; at < name->size && name->wire[at] != 0; at += (size_t)name->wire[at] + 1)
        n++;
    return n;
}

bool sb_name_is_host(const sb_name *name)
{
    for (size_t at = 0; at < name->size && name->wire[at] != 0;) {
        size_t end = at + 1 + name->wire[at];
        while (++at < end) {
            uint8_t c = sb_ascii_lower(name->wire[at]);
            if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_')
                return false;
        }
    }
    return name->size > 1;
}

sb_name sb_name_parent(const sb_name *name, unsigned n)
{
    sb_name parent = {0};
    size_t at = 0;

    while (n-- > 0 && name->wire[at] != 0)
        at += (size_t)name->wire[at] + 1;
    parent.size = (uint8_t)(name->size - at);
    memcpy(parent.wire, &name->wire[at], parent.size);
    return parent;
}

bool sb_name_join(const sb_name *prefix, const sb_name *suffix, sb_name *ret_name)
{
    sb_name joined = {0};
    size_t head = prefix->size ? (size_t)prefix->size - 1 : 0;

    if (suffix->size == 0 || head + suffix->size > SB_NAME_MAX)
        return false;
    memcpy(joined.wire, prefix->wire, head);
    memcpy(&joined.wire[head], suffix->wire, suffix->size);
    joined.size = (uint8_t)(head + suffix->size);
    *ret_name = joined;
    return true;
}

void sb_name_reverse(const sb_addr *addr, sb_name *ret_name)
{
    static const char hex[] = "0123456789abcdef";
    sb_name name = {0};
    sb_writer w = sb_writer_of(name.wire, sizeof name.wire);

    if (addr->family == SB_FAMILY_4) {
        for (unsigned i = 4; i-- > 0;) {
            uint8_t byte = addr->bytes[i];
            unsigned digits = byte >= 100 ? 3 : byte >= 10 ? 2 : 1;
            sb_write_u8(&w, (uint8_t)digits);
            sb_write_format(&w, "%u", byte);
        }
        sb_write_bytes(&w, "\7in-addr\4arpa", 13);
    } else if (addr->family == SB_FAMILY_6) {
        for (unsigned i = 16; i-- > 0;) {
            sb_write_u8(&w, 1);
            sb_write_u8(&w, (uint8_t)hex[addr->bytes[i] & 15]);
            sb_write_u8(&w, 1);
            sb_write_u8(&w, (uint8_t)hex[addr->bytes[i] >> 4]);
        }
        sb_write_bytes(&w, "\3ip6\4arpa", 9);
    }
    sb_write_u8(&w, 0);
    name.size = (uint8_t)w.size;
    *ret_name = name;
}

uint64_t sb_name_digest(const sb_name *name)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a offset basis and prime, 64 bits */

    for (size_t i = 0; i < name->size; i++) {
        hash ^= sb_ascii_lower(name->wire[i]);
        hash *= 0x100000001b3u;
    }
    return hash;
}

static sb_status parse_label(const char *text, size_t size, size_t *at, sb_name *name, sb_why *why)
{
    uint8_t label[LABEL_MAX];
    size_t length = 0;

    while (*at < size && text[*at] != '.') {
        uint8_t byte;
        if (!unescape(text, size, at, &byte))
            return sb_why_set(why, SB_INVALID, "the name has a bad escape at byte %zu", *at + 1);
        if (length == LABEL_MAX)
            return sb_why_set(why, SB_INVALID, "a label of the name is longer than 63 bytes");
        label[length++] = byte;
    }
    if (length == 0)
        return sb_why_set(why, SB_INVALID, "the name has an empty label");
    /* length byte, label, and the root label that must still follow */
    if (name->size + 1 + length + 1 > SB_NAME_MAX)
        return sb_why_set(why, SB_INVALID, "the name is longer than 253 characters");
    name->wire[name->size++] = (uint8_t)length;
    memcpy(&name->wire[name->size], label, length);
    name->size = (uint8_t)(name->size + length);
    if (*at < size)
        (*at)++; /* the dot */
    return SB_OK;
}

static bool unescape(const char *text, size_t size, size_t *at, uint8_t *ret_byte)
{
    size_t i = *at;
    unsigned value;

    if (text[i] != '\\') {
        *ret_byte = (uint8_t)text[i];
        *at = i + 1;
        return true;
    }
    if (size - i < 2)
        return false;
    if (!sb_ascii_digit(text[i + 1])) {
        *ret_byte = (uint8_t)text[i + 1];
        *at = i + 2;
        return true;
    }
    if (size - i < 4 || !sb_ascii_digit(text[i + 2]) || !sb_ascii_digit(text[i + 3]))
        return false;
    value = (unsigned)(text[i + 1] - '0') * 100 + (unsigned)(text[i + 2] - '0') * 10 +
            (unsigned)(text[i + 3] - '0');
    if (value > 255)
        return false;
    *ret_byte = (uint8_t)value;
    *at = i + 4;
    return true;
}

/* Labels are read with a copy: the caller's reader ends after the first pointer. */
static bool read_labels(sb_reader *r, bool pointers, size_t base, sb_name *ret_name)
{
    sb_reader c = *r;
    size_t run = c.at; /* where the current run of labels began; a pointer must go below it */
    size_t end = 0;    /* where the name ends for the caller, once a pointer was met */
    unsigned jumps = 0, size = 0;
    uint8_t wire[SB_NAME_MAX]; /* the output stays untouched on failure */

    if (c.failed)
        return false;
    for (;;) {
        uint8_t length = sb_read_u8(&c);
        if (c.failed)
            break;
        if (length <= LABEL_MAX) {
            if (size + 1u + length + (length ? 1u : 0u) > SB_NAME_MAX)
                break;
            wire[size++] = length;
            if (length == 0) {
                r->at = jumps ? end : c.at;
                ret_name->size = (uint8_t)size;
                memcpy(ret_name->wire, wire, size);
                return true;
            }
            sb_read_copy(&c, &wire[size], length);
            size += length;
            continue;
        }
        size_t target = (size_t)(length & 0x3f) << 8 | sb_read_u8(&c);
        if (c.failed || (length & 0xc0) != 0xc0 || !pointers || target < base ||
            target - base >= run || jumps == JUMPS_MAX)
            break;
        if (jumps++ == 0)
            end = c.at;
        run = target - base;
        c.at = run;
    }
    r->failed = true;
    return false;
}

static bool needs_backslash(uint8_t c)
{
    return c == '.' || c == '\\' || c == '"' || c == '(' || c == ')' || c == ';' || c == '@' ||
           c == '$';
}
