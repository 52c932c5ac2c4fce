/* DNS messages: the checked view and the compressing builder.
 *
 * Borrows the bytes it reads and the buffer it writes. RFC 1035 §4, 2181 §8, 6891, 8914.
 * Any thread. */
#include "dns/msg.h"

#include <string.h>

#include "dns/rdata.h"

#define RECORD_FIXED 10    /* type, class, TTL, RDLENGTH */
#define POINTER_MAX 0x3fff /* largest offset a compression pointer can say */

static bool read_question(sb_reader *r, sb_question *ret_question);
static bool walk_section(sb_reader *r, unsigned count, int section, sb_edns *edns);
static bool read_edns(uint16_t udp_size, uint32_t ttl, sb_span options, sb_edns *ret_edns);
/* Offset of a name already written that equals wire[0..], or 0. */
static size_t find_suffix(const sb_builder *b, const uint8_t *wire, size_t size);
static bool equal_at(const sb_builder *b, size_t at, const uint8_t *wire, size_t size);

const char *sb_ede_text(int code)
{
    static const char *const texts[] = {
        "Other Error",
        "Unsupported DNSKEY Algorithm",
        "Unsupported DS Digest Type",
        "Stale Answer",
        "Forged Answer",
        "DNSSEC Indeterminate",
        "DNSSEC Bogus",
        "Signature Expired",
        "Signature Not Yet Valid",
        "DNSKEY Missing",
        "RRSIGs Missing",
        "No Zone Key Bit Set",
        "NSEC Missing",
        "Cached Error",
        "Not Ready",
        "Blocked",
        "Censored",
        "Filtered",
        "Prohibited",
        "Stale NXDOMAIN Answer",
        "Not Authoritative",
        "Not Supported",
        "No Reachable Authority",
        "Network Error",
        "Invalid Data",
        "Signature Expired before Valid",
        "Too Early",
        "Unsupported NSEC3 Iterations Value",
        "Unable to conform to policy",
        "Synthesized",
        "Invalid Query Type",
    };
    return code >= 0 && (size_t)code < SB_ARRAY_SIZE(texts) ? texts[code] : "";
}

bool sb_question_equal(const sb_question *a, const sb_question *b)
{
    return a->type == b->type && a->class == b->class && a->dnssec_ok == b->dnssec_ok &&
           a->checking_disabled == b->checking_disabled && sb_name_equal(&a->name, &b->name);
}

bool sb_msg_answers(const sb_msg *msg, const sb_question *question)
{
    return msg->has_question && msg->question.type == question->type &&
           msg->question.class == question->class &&
           sb_name_equal(&msg->question.name, &question->name);
}

bool sb_edns_option(const sb_edns *edns, uint16_t code, sb_span *ret_value)
{
    sb_reader r = sb_reader_of(edns->options.data, edns->present ? edns->options.size : 0);

    while (sb_reader_left(&r) > 0) {
        uint16_t this_code = sb_read_u16(&r);
        sb_span value = sb_read_span(&r, sb_read_u16(&r));
        if (r.failed)
            return false;
        if (this_code == code) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

int sb_edns_ede(const sb_edns *edns)
{
    sb_span value;

    if (!sb_edns_option(edns, SB_OPT_EDE, &value) || value.size < 2)
        return SB_EDE_NONE;
    return sb_load_u16(value.data);
}

sb_status sb_msg_parse(const void *data, size_t size, sb_msg *ret_msg)
{
    sb_msg msg = {.bytes = {data, size}};
    sb_reader r = sb_reader_of(data, size);
    sb_reader body;

    memset(ret_msg, 0, sizeof *ret_msg);
    msg.id = sb_read_u16(&r);
    msg.flags = sb_read_u16(&r);
    for (unsigned i = 0; i < 4; i++)
        msg.counts[i] = sb_read_u16(&r);
    if (r.failed || size > SB_MSG_MAX)
        return SB_MALFORMED;
    ret_msg->id = msg.id;
    ret_msg->flags = msg.flags;
    if (msg.counts[0] > 1)
        return SB_MALFORMED;
    /* Names are read by a reader that begins after the header: no pointer can go into it. */
    body = sb_read_sub(&r, sb_reader_left(&r));
    if (msg.counts[0] == 1) {
        if (!read_question(&body, &msg.question))
            return SB_MALFORMED;
        msg.has_question = true;
        msg.question_size = body.at;
    }
    for (int section = 0; section < 3; section++) {
        msg.section_at[section] = SB_MSG_HEADER + body.at;
        if (!walk_section(&body, msg.counts[section + 1], section, &msg.edns))
            return SB_MALFORMED;
    }
    if (!sb_reader_done(&body))
        return SB_MALFORMED;
    msg.rcode = (uint16_t)(SB_FLAGS_RCODE(msg.flags) | msg.edns.extended_rcode << 4);
    msg.question.dnssec_ok = msg.edns.dnssec_ok;
    msg.question.checking_disabled = (msg.flags & SB_FLAG_CD) != 0;
    *ret_msg = msg;
    return SB_OK;
}

sb_msg_iter sb_msg_records(const sb_msg *msg, int section)
{
    return (sb_msg_iter){.msg = msg,
                         .section = section,
                         .left = msg->counts[section + 1],
                         .at = msg->section_at[section]};
}

bool sb_msg_next(sb_msg_iter *it, sb_record *ret_record)
{
    sb_reader r;

    if (it->left == 0 || it->at < SB_MSG_HEADER)
        return false;
    r = sb_reader_of(it->msg->bytes.data, it->msg->bytes.size);
    sb_read_skip(&r, SB_MSG_HEADER);
    r = sb_read_sub(&r, sb_reader_left(&r));
    sb_read_skip(&r, it->at - SB_MSG_HEADER);
    if (!sb_name_read(&r, SB_MSG_HEADER, &ret_record->owner))
        return false;
    ret_record->type = sb_read_u16(&r);
    ret_record->class = sb_read_u16(&r);
    ret_record->ttl_s = sb_read_u32(&r);
    if (ret_record->ttl_s >> 31)
        ret_record->ttl_s = 0;
    ret_record->rdata_size = sb_read_u16(&r);
    ret_record->rdata_at = SB_MSG_HEADER + r.at;
    sb_read_skip(&r, ret_record->rdata_size);
    if (r.failed)
        return false;
    it->at = SB_MSG_HEADER + r.at;
    it->left--;
    return true;
}

void sb_builder_init(sb_builder *b, void *buffer, size_t capacity, uint16_t id, uint16_t flags)
{
    *b = (sb_builder){
        .w = sb_writer_of(buffer, capacity < SB_MSG_MAX ? capacity : (size_t)SB_MSG_MAX)};
    sb_write_u16(&b->w, id);
    sb_write_u16(&b->w, flags);
    sb_write_u64(&b->w, 0); /* the counts, written by finish */
}

void sb_builder_question(sb_builder *b, const sb_question *question)
{
    sb_builder_name(b, &question->name);
    sb_write_u16(&b->w, question->type);
    sb_write_u16(&b->w, question->class);
    b->counts[0]++;
}

void sb_builder_name(sb_builder *b, const sb_name *name)
{
    size_t at = 0;

    while (at < name->size && name->wire[at] != 0) {
        size_t label = (size_t)name->wire[at] + 1;
        size_t known = find_suffix(b, &name->wire[at], name->size - at);
        if (known != 0) {
            sb_write_u16(&b->w, (uint16_t)(0xc000 | known));
            return;
        }
        if (b->name_count < SB_BUILDER_NAMES && b->w.size <= POINTER_MAX && !b->w.failed)
            b->name_at[b->name_count++] = (uint16_t)b->w.size;
        sb_write_bytes(&b->w, &name->wire[at], label);
        at += label;
    }
    sb_write_u8(&b->w, 0);
}

void sb_builder_record(sb_builder *b, int section, const sb_name *owner, uint16_t type,
                       uint16_t class, uint32_t ttl_s, sb_span rdata)
{
    sb_reader r = sb_reader_of(rdata.data, rdata.size);
    sb_span fixed = {0};
    sb_name names[2];
    size_t fixed_size = 0, length_at;
    unsigned count = 0;

    if (sb_rdata_compressible(type, &fixed_size, &count)) {
        fixed = sb_read_span(&r, fixed_size);
        for (unsigned i = 0; i < count && !r.failed; i++)
            (void)sb_name_read_plain(&r, &names[i]);
        if (r.failed) { /* not of its type's form: goes out as it is */
            r = sb_reader_of(rdata.data, rdata.size);
            fixed.size = 0;
            count = 0;
        }
    }
    sb_builder_name(b, owner);
    sb_write_u16(&b->w, type);
    sb_write_u16(&b->w, class);
    sb_write_u32(&b->w, ttl_s);
    length_at = b->w.size;
    sb_write_u16(&b->w, 0);
    sb_write_bytes(&b->w, fixed.data, fixed.size);
    for (unsigned i = 0; i < count; i++)
        sb_builder_name(b, &names[i]);
    sb_span rest = sb_read_span(&r, sb_reader_left(&r));
    sb_write_bytes(&b->w, rest.data, rest.size);
    if (b->w.failed || b->w.size - length_at - 2 > UINT16_MAX) {
        b->w.failed = true;
        return;
    }
    sb_write_u16_at(&b->w, length_at, (uint16_t)(b->w.size - length_at - 2));
    b->counts[section + 1]++;
}

void sb_builder_address(sb_builder *b, const sb_name *owner, const sb_addr *addr, uint32_t ttl_s)
{
    bool v4 = addr->family == SB_FAMILY_4;

    sb_builder_record(b, SB_SECTION_ANSWER, owner, v4 ? SB_TYPE_A : SB_TYPE_AAAA, SB_CLASS_IN,
                      ttl_s, (sb_span){addr->bytes, v4 ? 4 : 16});
}

void sb_builder_edns(sb_builder *b, uint16_t udp_size, uint8_t extended_rcode, bool dnssec_ok,
                     sb_span options)
{
    if (options.size > UINT16_MAX) {
        b->w.failed = true;
        return;
    }
    sb_write_u8(&b->w, 0);
    sb_write_u16(&b->w, SB_TYPE_OPT);
    sb_write_u16(&b->w, udp_size);
    sb_write_u8(&b->w, extended_rcode);
    sb_write_u8(&b->w, 0); /* version */
    sb_write_u16(&b->w, dnssec_ok ? 0x8000 : 0);
    sb_write_u16(&b->w, (uint16_t)options.size);
    sb_write_bytes(&b->w, options.data, options.size);
    b->counts[3]++;
}

size_t sb_builder_finish(sb_builder *b)
{
    for (unsigned i = 0; i < 4; i++)
        sb_write_u16_at(&b->w, 4 + 2 * (size_t)i, b->counts[i]);
    return b->w.failed ? 0 : b->w.size;
}

static bool read_question(sb_reader *r, sb_question *ret_question)
{
    if (!sb_name_read(r, SB_MSG_HEADER, &ret_question->name))
        return false;
    ret_question->type = sb_read_u16(r);
    ret_question->class = sb_read_u16(r);
    return !r->failed;
}

static bool walk_section(sb_reader *r, unsigned count, int section, sb_edns *edns)
{
    sb_name owner;

    for (unsigned i = 0; i < count; i++) {
        if (!sb_name_read(r, SB_MSG_HEADER, &owner))
            return false;
        uint16_t type = sb_read_u16(r);
        uint16_t class = sb_read_u16(r);
        uint32_t ttl = sb_read_u32(r);
        sb_span rdata = sb_read_span(r, sb_read_u16(r));
        if (r->failed)
            return false;
        if (type != SB_TYPE_OPT)
            continue;
        if (section != SB_SECTION_ADDITIONAL || edns->present || owner.size != 1 ||
            !read_edns(class, ttl, rdata, edns))
            return false;
    }
    return true;
}

static bool read_edns(uint16_t udp_size, uint32_t ttl, sb_span options, sb_edns *ret_edns)
{
    sb_reader r = sb_reader_of(options.data, options.size);

    while (sb_reader_left(&r) > 0) {
        sb_read_skip(&r, 2);
        sb_read_skip(&r, sb_read_u16(&r));
        if (r.failed)
            return false;
    }
    *ret_edns = (sb_edns){.present = true,
                          .version = (uint8_t)(ttl >> 16),
                          .extended_rcode = (uint8_t)(ttl >> 24),
                          .dnssec_ok = (ttl & 0x8000) != 0,
                          .udp_size = udp_size,
                          .options = options};
    return true;
}

static size_t find_suffix(const sb_builder *b, const uint8_t *wire, size_t size)
{
    for (unsigned i = 0; i < b->name_count; i++)
        if (equal_at(b, b->name_at[i], wire, size))
            return b->name_at[i];
    return 0;
}

/* The buffer is our own writing: its pointers go backwards and its labels are whole. */
static bool equal_at(const sb_builder *b, size_t at, const uint8_t *wire, size_t size)
{
    const uint8_t *data = b->w.data;
    size_t i = 0;

    while (i < size && at < b->w.size) {
        if (data[at] >= 0xc0) {
            at = (size_t)(data[at] & 0x3f) << 8 | data[at + 1];
            continue;
        }
        size_t label = (size_t)data[at] + 1;
        if (data[at] != wire[i])
            return false;
        for (size_t k = 1; k < label; k++)
            if (sb_ascii_lower(data[at + k]) != sb_ascii_lower(wire[i + k]))
                return false;
        if (label == 1)
            return true;
        i += label;
        at += label;
    }
    return false;
}
