/* Record types: one table of layouts and the interpreter that expands, checks and prints by it.
 *
 * Owns the table. RFC 1035 §3.3, 3597 §4, 3596, 2782, 6672, 9460, 4034. Any thread. */
#include "dns/rdata.h"

#include <stdio.h>
#include <string.h>

#include "dns/msg.h"
#include "dns/svcb.h"

/* Field codes of a layout:
 *   1 2 4  integers of that many bytes         a A  IPv4, IPv6 address
 *   n      name, compressed by senders too (RFC 1035 types)
 *   N      name that old senders compressed: expanded when read, never compressed by us
 *   P      name that is never compressed (RFC 3597 §4)
 *   s S    character-string; one or more of them to the end
 *   x      opaque rest, may be empty           v    parameters of SVCB to the end
 * A layout without x, S or v ends exactly where the RDATA ends. */
typedef struct type_row {
    uint16_t type;
    bool printed; /* has a text form here; the others print as RFC 3597 says */
    const char *name;
    const char *layout; /* NULL: opaque */
} type_row;

/* Sorted by type: find_row halves. */
static const type_row rows[] = {
    {1, true, "A", "a"},
    {2, true, "NS", "n"},
    {3, true, "MD", "n"},
    {4, true, "MF", "n"},
    {5, true, "CNAME", "n"},
    {6, true, "SOA", "nn44444"},
    {7, true, "MB", "n"},
    {8, true, "MG", "n"},
    {9, true, "MR", "n"},
    {10, false, "NULL", NULL},
    {11, false, "WKS", NULL},
    {12, true, "PTR", "n"},
    {13, true, "HINFO", "ss"},
    {14, true, "MINFO", "nn"},
    {15, true, "MX", "2n"},
    {16, true, "TXT", "S"},
    {17, true, "RP", "NN"},
    {18, true, "AFSDB", "2N"},
    {21, true, "RT", "2N"},
    {24, false, "SIG", "2114442Nx"},
    {25, false, "KEY", NULL},
    {26, true, "PX", "2NN"},
    {28, true, "AAAA", "A"},
    {29, false, "LOC", NULL},
    {30, false, "NXT", "Nx"},
    {33, true, "SRV", "222N"},
    {35, true, "NAPTR", "22sssN"},
    {36, true, "KX", "2N"},
    {37, false, "CERT", NULL},
    {39, true, "DNAME", "N"},
    {41, false, "OPT", NULL},
    {43, false, "DS", "211x"},
    {44, false, "SSHFP", "11x"},
    {46, false, "RRSIG", "2114442Px"},
    {47, false, "NSEC", "Px"},
    {48, false, "DNSKEY", "211x"},
    {49, false, "DHCID", NULL},
    {50, false, "NSEC3", "112sx"},
    {51, false, "NSEC3PARAM", "112s"},
    {52, false, "TLSA", "111x"},
    {53, false, "SMIMEA", "111x"},
    {55, false, "HIP", NULL},
    {59, false, "CDS", "211x"},
    {60, false, "CDNSKEY", "211x"},
    {61, false, "OPENPGPKEY", NULL},
    {62, false, "CSYNC", NULL},
    {63, false, "ZONEMD", NULL},
    {64, true, "SVCB", "2Pv"},
    {65, true, "HTTPS", "2Pv"},
    {99, true, "SPF", "S"},
    {249, false, "TKEY", NULL},
    {250, false, "TSIG", NULL},
    {251, false, "IXFR", NULL},
    {252, false, "AXFR", NULL},
    {253, false, "MAILB", NULL},
    {254, false, "MAILA", NULL},
    {255, false, "ANY", NULL},
    {256, false, "URI", NULL},
    {257, false, "CAA", NULL},
};

static const struct {
    uint16_t rcode;
    const char *name;
} rcodes[] = {
    {0, "NOERROR"},  {1, "FORMERR"},  {2, "SERVFAIL"}, {3, "NXDOMAIN"}, {4, "NOTIMP"},
    {5, "REFUSED"},  {6, "YXDOMAIN"}, {7, "YXRRSET"},  {8, "NXRRSET"},  {9, "NOTAUTH"},
    {10, "NOTZONE"}, {16, "BADVERS"}, {23, "BADCOOKIE"},
};

static const type_row *find_row(uint16_t type);
static bool expand_field(char code, sb_reader *r, sb_writer *w);
static bool copy_bytes(sb_reader *r, size_t size, sb_writer *w);
static bool print_field(char code, sb_reader *r, sb_text *t);
static void print_string(sb_span string, sb_text *t);
static void print_generic(sb_span rdata, sb_text *t);

const char *sb_type_text(uint16_t type, char buffer[16])
{
    const type_row *row = find_row(type);

    if (row)
        return row->name;
    snprintf(buffer, 16, "TYPE%u", type);
    return buffer;
}

bool sb_type_parse(const char *text, size_t size, uint16_t *ret_type)
{
    char upper[16];
    uint64_t number;

    if (size == 0 || size >= sizeof upper)
        return false;
    for (size_t i = 0; i < size; i++)
        upper[i] = (char)(text[i] >= 'a' && text[i] <= 'z' ? text[i] - 32 : text[i]);
    upper[size] = 0;
    for (size_t i = 0; i < SB_ARRAY_SIZE(rows); i++) {
        if (strlen(rows[i].name) == size && memcmp(rows[i].name, upper, size) == 0) {
            *ret_type = rows[i].type;
            return true;
        }
    }
    if (size > 4 && memcmp(upper, "TYPE", 4) == 0 &&
        sb_parse_u64(upper + 4, size - 4, UINT16_MAX, &number)) {
        *ret_type = (uint16_t)number;
        return true;
    }
    return false;
}

const char *sb_rcode_text(uint16_t rcode, char buffer[16])
{
    for (size_t i = 0; i < SB_ARRAY_SIZE(rcodes); i++)
        if (rcodes[i].rcode == rcode)
            return rcodes[i].name;
    snprintf(buffer, 16, "RCODE%u", rcode);
    return buffer;
}

bool sb_type_is_meta(uint16_t type)
{
    return type == SB_TYPE_OPT || (type >= 128 && type <= 255);
}

bool sb_rdata_expand(sb_span message, size_t at, size_t size, uint16_t type, sb_writer *w)
{
    const type_row *row = find_row(type);
    sb_reader r;

    if (at < SB_MSG_HEADER || at > message.size || size > message.size - at)
        return false;
    /* Names point back to anything between the header and themselves, and end inside the RDATA. */
    r = sb_reader_of(message.data, at + size);
    sb_read_skip(&r, SB_MSG_HEADER);
    r = sb_read_sub(&r, sb_reader_left(&r));
    sb_read_skip(&r, at - SB_MSG_HEADER);
    if (!row || !row->layout)
        return copy_bytes(&r, size, w);
    for (const char *code = row->layout; *code; code++)
        if (!expand_field(*code, &r, w))
            return false;
    return sb_reader_done(&r) && !(w && w->failed);
}

bool sb_rdata_text(uint16_t type, sb_span rdata, sb_text *t)
{
    const type_row *row = find_row(type);
    sb_reader r = sb_reader_of(rdata.data, rdata.size);
    size_t start = t->size;

    if (!row || !row->printed) {
        print_generic(rdata, t);
        return true;
    }
    for (const char *code = row->layout; *code; code++) {
        if (*code != 'v' && code != row->layout)
            sb_text_add(t, " ");
        if (!print_field(*code, &r, t))
            break;
    }
    if (sb_reader_done(&r))
        return true;
    if (t->data && !t->failed) { /* take back what was printed */
        t->size = start;
        t->data[start] = 0;
    }
    print_generic(rdata, t);
    return false;
}

bool sb_rdata_name(uint16_t type, sb_span rdata, sb_name *ret_name)
{
    sb_reader r = sb_reader_of(rdata.data, rdata.size);
    sb_name name;

    switch (type) {
    case SB_TYPE_CNAME:
    case SB_TYPE_NS:
    case SB_TYPE_PTR:
    case SB_TYPE_DNAME:
        break;
    case SB_TYPE_MX:
        sb_read_skip(&r, 2);
        break;
    case SB_TYPE_SRV:
        sb_read_skip(&r, 6);
        break;
    default:
        return false;
    }
    if (!sb_name_read_plain(&r, &name) || !sb_reader_done(&r))
        return false;
    *ret_name = name;
    return true;
}

bool sb_rdata_compressible(uint16_t type, size_t *ret_fixed_before, unsigned *ret_names)
{
    const type_row *row = find_row(type);
    size_t fixed = 0;
    unsigned names = 0;
    const char *code;

    if (!row || !row->layout)
        return false;
    for (code = row->layout; *code >= '1' && *code <= '4'; code++)
        fixed += (size_t)(*code - '0');
    while (*code++ == 'n')
        names++;
    if (names == 0)
        return false;
    *ret_fixed_before = fixed;
    *ret_names = names;
    return true;
}

static const type_row *find_row(uint16_t type)
{
    size_t low = 0, high = SB_ARRAY_SIZE(rows);

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (rows[middle].type == type)
            return &rows[middle];
        if (rows[middle].type < type)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static bool expand_field(char code, sb_reader *r, sb_writer *w)
{
    sb_name name;
    sb_reader peek = *r;

    switch (code) {
    case '1':
    case '2':
    case '4':
        return copy_bytes(r, (size_t)(code - '0'), w);
    case 'a':
        return copy_bytes(r, 4, w);
    case 'A':
        return copy_bytes(r, 16, w);
    case 'n':
    case 'N':
    case 'P':
        if (!(code == 'P' ? sb_name_read_plain(r, &name) : sb_name_read(r, SB_MSG_HEADER, &name)))
            return false;
        if (w)
            sb_name_write(w, &name);
        return true;
    case 's':
        return copy_bytes(r, (size_t)sb_read_u8(&peek) + 1, w);
    case 'S':
        do {
            peek = *r;
            if (!copy_bytes(r, (size_t)sb_read_u8(&peek) + 1, w))
                return false;
        } while (sb_reader_left(r) > 0);
        return true;
    case 'v': {
        sb_span rest = sb_read_span(r, sb_reader_left(r));
        if (w)
            sb_write_bytes(w, rest.data, rest.size);
        return sb_svcb_check(rest);
    }
    default: /* x */
        return copy_bytes(r, sb_reader_left(r), w);
    }
}

static bool copy_bytes(sb_reader *r, size_t size, sb_writer *w)
{
    sb_span bytes = sb_read_span(r, size);

    if (r->failed)
        return false;
    if (w)
        sb_write_bytes(w, bytes.data, bytes.size);
    return !(w && w->failed);
}

static bool print_field(char code, sb_reader *r, sb_text *t)
{
    char buffer[SB_NAME_TEXT_MAX];
    uint8_t bytes[16];
    sb_addr addr;
    sb_name name;

    switch (code) {
    case '1':
        sb_text_add(t, "%u", sb_read_u8(r));
        break;
    case '2':
        sb_text_add(t, "%u", sb_read_u16(r));
        break;
    case '4':
        sb_text_add(t, "%u", sb_read_u32(r));
        break;
    case 'a':
    case 'A':
        sb_read_copy(r, bytes, code == 'a' ? 4 : 16);
        addr = code == 'a' ? sb_addr_4(bytes, 0) : sb_addr_6(bytes, 0);
        sb_text_add(t, "%s", sb_addr_text(&addr, buffer));
        break;
    case 'n':
    case 'N':
    case 'P':
        if (sb_name_read_plain(r, &name))
            sb_text_add(t, "%s%s", sb_name_text(&name, buffer), name.size > 1 ? "." : "");
        break;
    case 's':
        print_string(sb_read_span(r, sb_read_u8(r)), t);
        break;
    case 'S':
        print_string(sb_read_span(r, sb_read_u8(r)), t);
        while (sb_reader_left(r) > 0) {
            sb_text_add(t, " ");
            print_string(sb_read_span(r, sb_read_u8(r)), t);
        }
        break;
    default: /* v; opaque tails are not printed */
        if (!sb_svcb_text(sb_read_span(r, sb_reader_left(r)), t))
            r->failed = true;
        break;
    }
    return !r->failed;
}

/* RFC 1035 §5.1: quoted, with \" \\ and \DDD. */
static void print_string(sb_span string, sb_text *t)
{
    sb_text_add(t, "\"");
    for (size_t i = 0; i < string.size; i++) {
        uint8_t c = string.data[i];
        if (c < ' ' || c > '~')
            sb_text_add(t, "\\%03u", c);
        else
            sb_text_add(t, c == '"' || c == '\\' ? "\\%c" : "%c", c);
    }
    sb_text_add(t, "\"");
}

static void print_generic(sb_span rdata, sb_text *t)
{
    sb_text_add(t, "\\# %zu", rdata.size);
    for (size_t i = 0; i < rdata.size; i++)
        sb_text_add(t, "%s%02X", i == 0 ? " " : "", rdata.data[i]);
}
