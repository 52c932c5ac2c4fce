/* SVCB parameters by table: one row per registered key, one printer per kind of value.
 *
 * Owns nothing. RFC 9460 §2.1, §7, §8, appendix A (escapes). Any thread. */
#include "dns/svcb.h"

#include "base/addr.h"

enum { KEY_INVALID = 65535 }; /* RFC 9460 §14.3.2: reserved, never valid */

typedef bool printer(sb_span value, sb_text *t);

static printer print_mandatory, print_alpn, print_empty, print_port, print_hints4, print_ech,
    print_hints6;

static const struct {
    const char *name;
    printer *print;
} keys[] = {
    {"mandatory", print_mandatory}, {"alpn", print_alpn},         {"no-default-alpn", print_empty},
    {"port", print_port},           {"ipv4hint", print_hints4},   {"ech", print_ech},
    {"ipv6hint", print_hints6},
};

static bool next_param(sb_reader *r, int *key, sb_span *ret_value);
static void print_key(unsigned key, sb_text *t);
static void print_char(uint8_t c, sb_text *t);
static bool print_opaque(sb_span value, sb_text *t);
static bool print_hints(sb_span value, size_t each, sb_text *t);

bool sb_svcb_check(sb_span params)
{
    sb_reader r = sb_reader_of(params.data, params.size);
    sb_span value;
    int key = -1;

    while (next_param(&r, &key, &value))
        ;
    return sb_reader_done(&r);
}

bool sb_svcb_text(sb_span params, sb_text *t)
{
    sb_reader r = sb_reader_of(params.data, params.size);
    sb_span value;
    int key = -1;

    while (next_param(&r, &key, &value)) {
        bool known = (size_t)key < SB_ARRAY_SIZE(keys);
        if (key == KEY_INVALID)
            return false;
        sb_text_add(t, " ");
        print_key((unsigned)key, t);
        if (!(known ? keys[key].print : print_opaque)(value, t))
            return false;
    }
    return sb_reader_done(&r);
}

/* *key holds the key before, -1 at the start. A key out of order fails the reader. */
static bool next_param(sb_reader *r, int *key, sb_span *ret_value)
{
    int next;

    if (sb_reader_left(r) == 0)
        return false;
    next = sb_read_u16(r);
    *ret_value = sb_read_span(r, sb_read_u16(r));
    if (next <= *key)
        r->failed = true;
    *key = next;
    return !r->failed;
}

static void print_key(unsigned key, sb_text *t)
{
    if (key < SB_ARRAY_SIZE(keys))
        sb_text_add(t, "%s", keys[key].name);
    else
        sb_text_add(t, "key%u", key);
}

/* As inside a quoted string. */
static void print_char(uint8_t c, sb_text *t)
{
    if (c < ' ' || c > '~')
        sb_text_add(t, "\\%03u", c);
    else
        sb_text_add(t, c == '"' || c == '\\' ? "\\%c" : "%c", c);
}

static bool print_opaque(sb_span value, sb_text *t)
{
    if (value.size == 0)
        return true;
    sb_text_add(t, "=\"");
    for (size_t i = 0; i < value.size; i++)
        print_char(value.data[i], t);
    sb_text_add(t, "\"");
    return true;
}

/* Ascending keys, at least one, never itself (RFC 9460 §8). */
static bool print_mandatory(sb_span value, sb_text *t)
{
    sb_reader r = sb_reader_of(value.data, value.size);
    int before = 0;

    if (value.size == 0)
        return false;
    while (sb_reader_left(&r) > 0) {
        int key = sb_read_u16(&r);
        if (r.failed || key <= before)
            return false;
        sb_text_add(t, before == 0 ? "=" : ",");
        print_key((unsigned)key, t);
        before = key;
    }
    return true;
}

/* A comma or backslash in an id is escaped for the list, then for the string (appendix A.1). */
static bool print_alpn(sb_span value, sb_text *t)
{
    sb_reader r = sb_reader_of(value.data, value.size);

    if (value.size == 0)
        return false;
    sb_text_add(t, "=\"");
    while (sb_reader_left(&r) > 0) {
        sb_span id = sb_read_span(&r, sb_read_u8(&r));
        if (r.failed || id.size == 0)
            return false;
        if (id.data != value.data + 1)
            sb_text_add(t, ",");
        for (size_t i = 0; i < id.size; i++) {
            if (id.data[i] == ',')
                sb_text_add(t, "\\\\,");
            else if (id.data[i] == '\\')
                sb_text_add(t, "\\\\\\\\");
            else
                print_char(id.data[i], t);
        }
    }
    sb_text_add(t, "\"");
    return true;
}

static bool print_empty(sb_span value, sb_text *t)
{
    (void)t;
    return value.size == 0;
}

static bool print_port(sb_span value, sb_text *t)
{
    if (value.size != 2)
        return false;
    sb_text_add(t, "=%u", sb_load_u16(value.data));
    return true;
}

static bool print_hints4(sb_span value, sb_text *t)
{
    return print_hints(value, 4, t);
}

static bool print_hints6(sb_span value, sb_text *t)
{
    return print_hints(value, 16, t);
}

static bool print_hints(sb_span value, size_t each, sb_text *t)
{
    char buffer[SB_ADDR_TEXT_MAX];

    if (value.size == 0 || value.size % each != 0)
        return false;
    for (size_t at = 0; at < value.size; at += each) {
        sb_addr addr = each == 4 ? sb_addr_4(&value.data[at], 0) : sb_addr_6(&value.data[at], 0);
        sb_text_add(t, "%s%s", at == 0 ? "=" : ",", sb_addr_text(&addr, buffer));
    }
    return true;
}

/* Base64 with padding (RFC 4648 §4). */
static bool print_ech(sb_span value, sb_text *t)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    if (value.size == 0)
        return false;
    sb_text_add(t, "=");
    for (size_t at = 0; at < value.size; at += 3) {
        size_t have = value.size - at < 3 ? value.size - at : 3;
        uint32_t bits = (uint32_t)value.data[at] << 16;
        if (have > 1)
            bits |= (uint32_t)value.data[at + 1] << 8;
        if (have > 2)
            bits |= value.data[at + 2];
        sb_text_add(t, "%c%c%c%c", digits[bits >> 18], digits[bits >> 12 & 63],
                    have > 1 ? digits[bits >> 6 & 63] : '=', have > 2 ? digits[bits & 63] : '=');
    }
    return true;
}
