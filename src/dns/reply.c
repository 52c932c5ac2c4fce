/* Replies: a client's query read in one pass, a reply encoded with one copy of the body.
 *
 * Runs per packet: never allocates, takes no lock, holds no state. RFC 1035, 6891, 8914. Any
 * thread. */
#include "dns/reply.h"

#include <string.h>

#include "dns/rdata.h"

#define UDP_SIZE_MIN 512 /* RFC 1035 §2.3.4; RFC 6891 §6.2.3 for smaller values said */
#define OPT_SIZE 11      /* an OPT record without options */
#define OPTION_HEADER 4
#define EDE_TEXT_MAX 120 /* keeps an error reply inside 512 bytes with the longest name */

typedef struct ede_part {
    int code;
    const char *text;
    size_t text_size;
} ede_part;

static sb_rcode judge_question(const sb_query_info *info, unsigned opcode);
static bool read_records(sb_reader *r, unsigned count, sb_query_info *info, uint8_t *ret_version);
static bool read_options(sb_span options, sb_query_info *info);
static bool body_fits(const sb_query_info *query, const sb_reply_body *body, size_t question_size);
static void patch_ttls(uint8_t *body, const sb_reply_body *how);
static size_t ede_size(const ede_part *ede);
static size_t text_cut(const char *text);
static void write_opt(sb_writer *w, const sb_query_info *query, uint16_t rcode, const ede_part *ede,
                      sb_span provenance);
static size_t encode(const sb_query_info *query, const sb_reply_body *body, size_t limit,
                     bool empty, bool truncated, uint8_t *buffer);

sb_status sb_query_read(const void *data, size_t size, sb_query_info *ret_info, sb_rcode *ret_rcode)
{
    sb_reader r = sb_reader_of(data, size);
    sb_query_info *info = ret_info;
    uint16_t id = sb_read_u16(&r), flags = sb_read_u16(&r);
    uint16_t qdcount = sb_read_u16(&r), ancount = sb_read_u16(&r);
    uint16_t nscount = sb_read_u16(&r), arcount = sb_read_u16(&r);
    sb_rcode rcode = SB_RCODE_FORMERR;
    uint8_t version = 0;

    if (r.failed || flags & SB_FLAG_QR)
        return SB_MALFORMED;
    info->id = id;
    info->flags = flags;
    info->has_question = false;
    info->has_edns = false;
    info->udp_size = UDP_SIZE_MIN;
    info->provenance_asked = false;
    info->provenance_flags = 0;
    info->question.name.size = 0;
    info->question.type = info->question.class = 0;
    info->question.dnssec_ok = false;
    info->question.checking_disabled = (flags & SB_FLAG_CD) != 0;
    r = sb_read_sub(&r, sb_reader_left(&r)); /* pointers into the header cannot be said */
    if (size <= SB_MSG_MAX && qdcount == 1 &&
        sb_name_read(&r, SB_MSG_HEADER, &info->question.name)) {
        info->question.type = sb_read_u16(&r);
        info->question.class = sb_read_u16(&r);
        info->has_question = !r.failed;
    }
    if (info->has_question && ancount == 0 && nscount == 0 &&
        read_records(&r, arcount, info, &version) && sb_reader_done(&r))
        rcode = version > 0 ? SB_RCODE_BADVERS : judge_question(info, SB_FLAGS_OPCODE(flags));
    /* The other sections of UPDATE or NOTIFY, and the authority of an IXFR (RFC 1995 §3), mean
     * something else: not ours to call malformed. */
    else if (SB_FLAGS_OPCODE(flags) != 0 ||
             (info->has_question && info->question.type == SB_TYPE_IXFR))
        rcode = SB_RCODE_NOTIMP;
    *ret_rcode = rcode;
    return rcode == SB_RCODE_NOERROR ? SB_OK : SB_INVALID;
}

size_t sb_reply_encode(const sb_query_info *query, const sb_reply_body *body,
                       sb_transport transport, uint8_t *buffer, size_t capacity)
{
    size_t question_size = query->has_question ? (size_t)query->question.name.size + 4 : 0;
    size_t limit = SB_MSG_MAX;
    size_t size;

    if (capacity < SB_MSG_HEADER + question_size + OPT_SIZE)
        return 0;
    if (body->body && !body_fits(query, body, question_size)) {
        sb_reply_body broken = {.rcode = SB_RCODE_SERVFAIL,
                                .ttl_fixed_s = UINT32_MAX,
                                .ede = SB_EDE_INVALID_DATA};
        return encode(query, &broken, capacity, true, false, buffer);
    }
    if (transport == SB_TRANSPORT_UDP) {
        limit = query->udp_size < SB_EDNS_UDP_SIZE ? query->udp_size : SB_EDNS_UDP_SIZE;
        if (!query->has_edns || limit < UDP_SIZE_MIN)
            limit = UDP_SIZE_MIN;
    }
    if (limit > capacity)
        limit = capacity;
    size = encode(query, body, limit, body->body == NULL, false, buffer);
    return size ? size : encode(query, body, limit, true, true, buffer);
}

size_t sb_reply_error(const sb_query_info *query, uint16_t rcode, int ede, const char *ede_text,
                      uint8_t *buffer, size_t capacity)
{
    sb_reply_body body = {
        .rcode = rcode, .ttl_fixed_s = UINT32_MAX, .ede = ede, .ede_text = ede_text};

    return sb_reply_encode(query, &body, SB_TRANSPORT_UDP, buffer, capacity);
}

static sb_rcode judge_question(const sb_query_info *info, unsigned opcode)
{
    uint16_t type = info->question.type, class = info->question.class;

    if (opcode != 0)
        return SB_RCODE_NOTIMP;
    if (type == 0)
        return SB_RCODE_FORMERR;
    if (sb_type_is_meta(type) && type != SB_TYPE_ANY)
        return SB_RCODE_NOTIMP;
    if (class != SB_CLASS_IN && class != SB_CLASS_CH)
        return SB_RCODE_REFUSED;
    return SB_RCODE_NOERROR;
}

/* The additional section: OPT counts, anything else (TSIG, SIG(0)) is passed over. */
static bool read_records(sb_reader *r, unsigned count, sb_query_info *info, uint8_t *ret_version)
{
    sb_name owner;

    for (unsigned i = 0; i < count; i++) {
        uint16_t type, class;
        uint32_t ttl;
        sb_span rdata;

        if (!sb_name_read(r, SB_MSG_HEADER, &owner))
            return false;
        type = sb_read_u16(r);
        class = sb_read_u16(r);
        ttl = sb_read_u32(r);
        rdata = sb_read_span(r, sb_read_u16(r));
        if (r->failed)
            return false;
        if (type != SB_TYPE_OPT)
            continue;
        if (info->has_edns || owner.size != 1)
            return false;
        info->has_edns = true;
        info->udp_size = class > UDP_SIZE_MIN ? class : UDP_SIZE_MIN;
        info->question.dnssec_ok = (ttl & 0x8000) != 0;
        *ret_version = (uint8_t)(ttl >> 16);
        /* options of a version not understood are not looked at (RFC 6891 §6.1.3) */
        if (*ret_version == 0 && !read_options(rdata, info))
            return false;
    }
    return true;
}

static bool read_options(sb_span options, sb_query_info *info)
{
    sb_reader r = sb_reader_of(options.data, options.size);

    while (sb_reader_left(&r) > 0) {
        uint16_t code = sb_read_u16(&r);
        sb_span value = sb_read_span(&r, sb_read_u16(&r));
        if (r.failed)
            return false;
        if (code == SB_OPT_PROVENANCE && value.size == 2 && value.data[0] == 1) {
            info->provenance_asked = true;
            info->provenance_flags = value.data[1];
        }
    }
    return true;
}

/* A body may come from a damaged file: nothing below reads or writes outside of it. */
static bool body_fits(const sb_query_info *query, const sb_reply_body *body, size_t question_size)
{
    size_t name_size = query->question.name.size;

    if (!query->has_question || body->body_size < question_size ||
        body->body_size > SB_MSG_MAX - SB_MSG_HEADER)
        return false;
    for (size_t i = 0; i < body->ttl_count; i++)
        if (body->ttl_at[i] < question_size || body->ttl_at[i] + (size_t)4 > body->body_size)
            return false;
    /* A question of another length would shift every pointer. */
    return sb_load_u16(&body->body[name_size]) == query->question.type &&
           body->body[name_size - 1] == 0;
}

/* 0 when it does not fit limit; the EDE's text goes before the answer does (RFC 8914 §3). */
static size_t encode(const sb_query_info *query, const sb_reply_body *body, size_t limit,
                     bool empty, bool truncated, uint8_t *buffer)
{
    size_t name_size = query->question.name.size;
    size_t question_size = query->has_question ? name_size + 4 : 0;
    size_t size = SB_MSG_HEADER + (empty ? question_size : body->body_size);
    ede_part ede = {body->ede >= 0 ? body->ede : SB_EDE_NONE, body->ede_text, 0};
    sb_span provenance = query->provenance_asked ? body->provenance : (sb_span){0};
    uint16_t rcode = body->rcode;
    uint16_t flags = SB_FLAG_QR | SB_FLAG_RA;
    sb_writer w = sb_writer_of(buffer, limit);
    size_t opt = 0;

    if (query->has_edns) {
        size_t options = provenance.size ? OPTION_HEADER + provenance.size : 0;
        ede.text_size = text_cut(ede.text);
        opt = OPT_SIZE + options + ede_size(&ede);
        if (size + opt > limit) {
            opt -= ede.text_size;
            ede.text_size = 0;
        }
        if (empty && size + opt > limit) { /* an empty reply always goes out */
            opt = OPT_SIZE;
            ede.code = SB_EDE_NONE;
            provenance.size = 0;
        }
    } else if (rcode > 15) {
        rcode = SB_RCODE_SERVFAIL; /* only an OPT can say it */
    }
    if (size + opt > limit)
        return 0;
    flags |= query->flags & (0x7800 | SB_FLAG_RD | SB_FLAG_CD); /* the opcode too */
    flags |= rcode & 15;
    if (truncated)
        flags |= SB_FLAG_TC;
    if (body->authenticated && (query->flags & SB_FLAG_AD || query->question.dnssec_ok))
        flags |= SB_FLAG_AD;
    sb_write_u16(&w, query->id);
    sb_write_u16(&w, flags);
    sb_write_u16(&w, query->has_question);
    sb_write_u16(&w, empty ? 0 : body->ancount);
    sb_write_u16(&w, empty ? 0 : body->nscount);
    sb_write_u16(&w, query->has_edns);
    if (!empty) {
        sb_write_bytes(&w, body->body, body->body_size);
        memcpy(buffer + SB_MSG_HEADER, query->question.name.wire, name_size);
        patch_ttls(buffer + SB_MSG_HEADER, body);
    } else if (query->has_question) {
        sb_name_write(&w, &query->question.name);
        sb_write_u16(&w, query->question.type);
        sb_write_u16(&w, query->question.class);
    }
    if (query->has_edns)
        write_opt(&w, query, rcode, &ede, provenance);
    return w.failed ? 0 : w.size;
}

/* Offsets were checked by body_fits. */
static void patch_ttls(uint8_t *body, const sb_reply_body *how)
{
    for (size_t i = 0; i < how->ttl_count; i++) {
        uint8_t *at = body + how->ttl_at[i];
        uint32_t ttl_s = sb_load_u32(at);

        ttl_s = ttl_s > SB_TTL_MAX_S || ttl_s < how->age_s ? 0 : ttl_s - how->age_s;
        if (ttl_s > how->ttl_cap_s)
            ttl_s = how->ttl_cap_s;
        sb_store_u32(at, how->ttl_fixed_s != UINT32_MAX ? how->ttl_fixed_s : ttl_s);
    }
}

static size_t ede_size(const ede_part *ede)
{
    return ede->code == SB_EDE_NONE ? 0 : OPTION_HEADER + 2 + ede->text_size;
}

/* At most EDE_TEXT_MAX bytes, not ending inside a UTF-8 sequence. */
static size_t text_cut(const char *text)
{
    size_t size = text ? strnlen(text, EDE_TEXT_MAX + 1) : 0;

    if (size <= EDE_TEXT_MAX)
        return size;
    for (size = EDE_TEXT_MAX; size > 0 && ((uint8_t)text[size] & 0xc0) == 0x80; size--)
        ;
    return size;
}

static void write_opt(sb_writer *w, const sb_query_info *query, uint16_t rcode, const ede_part *ede,
                      sb_span provenance)
{
    size_t options = ede_size(ede) + (provenance.size ? OPTION_HEADER + provenance.size : 0);

    sb_write_u8(w, 0);
    sb_write_u16(w, SB_TYPE_OPT);
    sb_write_u16(w, SB_EDNS_UDP_SIZE);
    sb_write_u8(w, (uint8_t)(rcode >> 4));
    sb_write_u8(w, 0); /* version */
    sb_write_u16(w, query->question.dnssec_ok ? 0x8000 : 0);
    sb_write_u16(w, (uint16_t)options);
    if (ede->code != SB_EDE_NONE) {
        sb_write_u16(w, SB_OPT_EDE);
        sb_write_u16(w, (uint16_t)(2 + ede->text_size));
        sb_write_u16(w, (uint16_t)ede->code);
        sb_write_bytes(w, ede->text, ede->text_size);
    }
    if (provenance.size) {
        sb_write_u16(w, SB_OPT_PROVENANCE);
        sb_write_u16(w, (uint16_t)provenance.size);
        sb_write_bytes(w, provenance.data, provenance.size);
    }
}
