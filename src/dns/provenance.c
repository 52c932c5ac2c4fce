/* Provenance: the payload of EDNS option 65430, written by the daemon and read by the edge.
 *
 * Owns the wire form, version 1 (CONTRACT, DNS). Any thread. */
#include <string.h>

#include "dns/reply.h"

#define VERSION 1
#define STRATEGY_UPSTREAM 255

static void write_entry(sb_writer *w, const sb_tried *tried);
static bool read_entry(sb_reader *r, sb_tried *ret_tried);

const char *sb_outcome_text(sb_outcome outcome)
{
    static const char *const texts[] = {
#define OUTCOME_TEXT(id, text) text,
        SB_OUTCOME_TABLE(OUTCOME_TEXT)
#undef OUTCOME_TEXT
    };
    return (unsigned)outcome < SB_ARRAY_SIZE(texts) ? texts[outcome] : "unknown";
}

sb_outcome sb_outcome_of_status(sb_status status)
{
    switch (status) {
    case SB_OK:
        return SB_OUTCOME_OK;
    case SB_NXDOMAIN:
        return SB_OUTCOME_NXDOMAIN;
    case SB_NODATA:
        return SB_OUTCOME_NODATA;
    case SB_SERVFAIL:
    case SB_LOOP:
        return SB_OUTCOME_SERVFAIL;
    case SB_TIMEOUT:
        return SB_OUTCOME_TIMEOUT;
    case SB_REFUSED:
        return SB_OUTCOME_REFUSED;
    case SB_UNREACHABLE:
    case SB_CONNREFUSED:
    case SB_CLOSED:
    case SB_IO:
    case SB_PERM:
    case SB_UNTRUSTED:
        return SB_OUTCOME_UNREACHABLE;
    case SB_MALFORMED:
    case SB_MISMATCH:
    case SB_UNSUPPORTED:
        return SB_OUTCOME_MALFORMED;
    case SB_NOTFOUND:
        return SB_OUTCOME_MISS;
    case SB_CANCELLED:
        return SB_OUTCOME_CANCELLED;
    case SB_LIMIT:
    case SB_NOMEM:
    case SB_NOSPACE:
    case SB_BUSY:
        return SB_OUTCOME_LIMIT;
    case SB_AGAIN:
        return SB_OUTCOME_SKIPPED;
    default:
        return SB_OUTCOME_NONE;
    }
}

size_t sb_provenance_write(const sb_provenance *p, uint8_t *buffer, size_t capacity)
{
    sb_writer w = sb_writer_of(buffer, capacity);
    sb_tried upstream = {.strategy = STRATEGY_UPSTREAM, .server = p->upstream};

    sb_write_u8(&w, VERSION);
    sb_write_u8(&w, p->source);
    sb_write_u8(&w, p->flags);
    sb_write_u8(&w, p->status);
    sb_write_u32(&w, p->age_s);
    sb_write_u32(&w, p->ttl_s);
    sb_write_u32(&w, p->network);
    write_entry(&w, &upstream);
    for (unsigned i = 0; i < p->tried_count && i < SB_TRIED_MAX; i++)
        write_entry(&w, &p->tried[i]);
    return w.failed ? 0 : w.size;
}

sb_status sb_provenance_read(sb_span payload, sb_provenance *ret_provenance)
{
    sb_reader r = sb_reader_of(payload.data, payload.size);
    sb_provenance p = {0};
    sb_tried upstream = {0};
    uint8_t version = sb_read_u8(&r);

    if (!r.failed && version != VERSION)
        return SB_UNSUPPORTED;
    p.source = sb_read_u8(&r);
    p.flags = sb_read_u8(&r);
    p.status = sb_read_u8(&r);
    p.age_s = sb_read_u32(&r);
    p.ttl_s = sb_read_u32(&r);
    p.network = sb_read_u32(&r);
    if (r.failed || p.source >= SB_SOURCE_COUNT || p.status >= SB_OUTCOME_COUNT ||
        !read_entry(&r, &upstream) || upstream.strategy != STRATEGY_UPSTREAM)
        return SB_MALFORMED;
    p.upstream = upstream.server;
    while (sb_reader_left(&r) > 0) {
        if (p.tried_count == SB_TRIED_MAX || !read_entry(&r, &p.tried[p.tried_count]))
            return SB_MALFORMED;
        p.tried_count++;
    }
    *ret_provenance = p;
    return SB_OK;
}

static void write_entry(sb_writer *w, const sb_tried *tried)
{
    uint8_t family = tried->server.family;

    sb_write_u8(w, tried->strategy);
    sb_write_u8(w, tried->status);
    sb_write_u16(w, tried->ms);
    if (family != SB_FAMILY_4 && family != SB_FAMILY_6) {
        sb_write_u8(w, SB_FAMILY_NONE);
        return;
    }
    sb_write_u8(w, family);
    sb_write_bytes(w, tried->server.bytes, family == SB_FAMILY_4 ? 4 : 16);
    sb_write_u16(w, tried->server.port);
}

static bool read_entry(sb_reader *r, sb_tried *ret_tried)
{
    sb_tried tried = {0};
    uint8_t family;

    tried.strategy = sb_read_u8(r);
    tried.status = sb_read_u8(r);
    tried.ms = sb_read_u16(r);
    family = sb_read_u8(r);
    if (family != SB_FAMILY_NONE) {
        if (family != SB_FAMILY_4 && family != SB_FAMILY_6)
            return false;
        tried.server.family = family;
        sb_read_copy(r, tried.server.bytes, family == SB_FAMILY_4 ? 4 : 16);
        tried.server.port = sb_read_u16(r);
    }
    if (r->failed || tried.status >= SB_OUTCOME_COUNT)
        return false;
    *ret_tried = tried;
    return true;
}
