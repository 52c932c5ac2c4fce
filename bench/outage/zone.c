/* See zone.h. */
#include "outage/zone.h"

#include <stdio.h>
#include <string.h>

#include "dns/rdata.h"

/* Every known name is asked about every five seconds, and its TTL is one. */
#define ASKED_WITHIN_NS INT64_C(6000000000)

static const char known_suffix[] = "known.example.net";
static const char new_suffix[] = "new.example.net";
static const char search_suffix[] = "svc.cluster.example.com";
static const char zone_apex[] = "example.net";
static const char search_apex[] = "example.com";

static sb_name name_of(const char *text);
static bool exists(const zone *z, zone_id id, int64_t now_ns);
static void add_soa(sb_builder *b, const char *apex);
static zone_verdict judge_positive(const zone *z, zone_id id, uint16_t type, const zone_seen *seen,
                                   int64_t asked_ns, int64_t answered_ns, bool *was_old);

void zone_init(zone *z)
{
    int64_t grace = (ZONE_TTL_S + 1) * INT64_C(1000000000);
    *z = (zone){.changed_ns = ZONE_NEVER,
                .deleted_ns = ZONE_NEVER,
                .delete_grace_ns = grace,
                .delete_grace_alive_ns = grace,
                .change_grace_ns = grace};
    for (size_t i = 0; i < ZONE_KNOWN_COUNT; i++)
        z->denied_ns[i] = ZONE_NEVER;
}

void zone_name(zone_id id, sb_name *ret_name)
{
    char text[128];
    snprintf(text, sizeof text, "%c%u.%s%s%s", id.kind == ZONE_KNOWN ? 'n' : 'x', id.index,
             id.kind == ZONE_KNOWN ? known_suffix : new_suffix, id.suffixed ? "." : "",
             id.suffixed ? search_suffix : "");
    *ret_name = name_of(text);
}

zone_id zone_find(const sb_name *name)
{
    zone_id id = {.kind = ZONE_OTHER};
    sb_name folded = *name;
    sb_name_fold(&folded);
    char text[SB_NAME_TEXT_MAX];
    sb_name_text(&folded, text);
    size_t digits = 0;
    uint64_t index;
    while (text[0] && sb_ascii_digit(text[1 + digits]))
        digits++;
    if (!digits || !sb_parse_u64(text + 1, digits, UINT32_MAX, &index))
        return id;
    id.index = (uint32_t)index;
    for (int i = 0; i < 4; i++) {
        zone_id guess = {
            .kind = i < 2 ? ZONE_KNOWN : ZONE_NEW, .suffixed = i % 2, .index = id.index};
        sb_name there;
        zone_name(guess, &there);
        if (sb_name_equal(&there, name))
            return guess;
    }
    return id;
}

bool zone_is_mortal(uint32_t known_index)
{
    return known_index % 10 == 9;
}

bool zone_endpoint_survives(uint32_t known_index)
{
    return known_index % 20 == 9;
}

bool zone_address(zone_id id, uint16_t type, unsigned version, sb_addr *ret_addr)
{
    /* A third of the names has no IPv6 address, as many of the world. */
    if (id.suffixed || (type != SB_TYPE_A && type != SB_TYPE_AAAA) ||
        (type == SB_TYPE_AAAA && id.index % 3 == 2))
        return false;
    bool known = id.kind == ZONE_KNOWN;
    uint8_t high = (uint8_t)(id.index >> 8), low = (uint8_t)id.index;
    uint8_t v4[4] = {198, known ? 18 : 19, known ? (uint8_t)version : high, low};
    uint8_t v6[16] = {0x20, 0x01, 0x0d, 0xb8, known ? (uint8_t)version : 16, [14] = high, low};
    *ret_addr = type == SB_TYPE_A ? sb_addr_4(v4, 0) : sb_addr_6(v6, 0);
    return true;
}

void zone_note_denied(zone *z, zone_id id, int64_t now_ns)
{
    if (id.kind == ZONE_KNOWN && !id.suffixed && zone_is_mortal(id.index) &&
        now_ns >= z->deleted_ns && now_ns < z->denied_ns[id.index])
        z->denied_ns[id.index] = now_ns;
}

size_t zone_reply(const zone *z, const sb_msg *query, zone_lie lie, int64_t now_ns, void *buffer,
                  size_t capacity)
{
    const sb_question *q = &query->question;
    zone_id id = zone_find(&q->name);
    bool there = exists(z, id, now_ns) && !(lie == LIE_DENY && id.kind == ZONE_KNOWN);
    unsigned rcode = SB_RCODE_NOERROR;
    if (lie == LIE_SERVFAIL)
        rcode = SB_RCODE_SERVFAIL;
    else if (id.kind != ZONE_OTHER && !there)
        rcode = SB_RCODE_NXDOMAIN;
    uint16_t flags = (uint16_t)(SB_FLAG_QR | SB_FLAG_RA | (query->flags & SB_FLAG_RD) | rcode);
    sb_builder b;
    sb_builder_init(&b, buffer, capacity, query->id, flags);
    sb_builder_question(&b, q);
    sb_addr addr;
    unsigned version = now_ns >= z->changed_ns ? 2 : 1;
    if (lie != LIE_SERVFAIL) {
        if (there && id.kind != ZONE_OTHER && zone_address(id, q->type, version, &addr))
            sb_builder_address(&b, &q->name, &addr, ZONE_TTL_S);
        else
            add_soa(&b, id.kind == ZONE_OTHER ? "" : id.suffixed ? search_apex : zone_apex);
    }
    if (query->edns.present)
        sb_builder_edns(&b, SB_EDNS_UDP_SIZE, 0, query->edns.dnssec_ok, (sb_span){NULL, 0});
    return sb_builder_finish(&b);
}

void zone_see(const sb_msg *reply, zone_seen *ret_seen)
{
    *ret_seen = (zone_seen){.rcode = reply->rcode, .ede = sb_edns_ede(&reply->edns)};
    sb_msg_iter it = sb_msg_records(reply, SB_SECTION_ANSWER);
    sb_record record;
    while (sb_msg_next(&it, &record)) {
        size_t size = record.type == SB_TYPE_A ? 4 : 16;
        if (record.type != reply->question.type || record.rdata_size != size ||
            !sb_name_equal(&record.owner, &reply->question.name))
            continue;
        sb_reader r = sb_reader_of(reply->bytes.data, reply->bytes.size);
        uint8_t bytes[16];
        sb_read_skip(&r, record.rdata_at);
        sb_read_copy(&r, bytes, size);
        if (ret_seen->count++ == 0)
            ret_seen->first = size == 4 ? sb_addr_4(bytes, 0) : sb_addr_6(bytes, 0);
    }
}

zone_verdict zone_judge(const zone *z, zone_id id, uint16_t type, const zone_seen *seen,
                        int64_t asked_ns, int64_t answered_ns, bool *ret_was_old)
{
    bool mortal = id.kind == ZONE_KNOWN && zone_is_mortal(id.index);
    *ret_was_old = false;
    if (seen->rcode != SB_RCODE_NOERROR && seen->rcode != SB_RCODE_NXDOMAIN)
        return VERDICT_FAILED;
    if (id.suffixed)
        return seen->rcode == SB_RCODE_NXDOMAIN ? VERDICT_RIGHT : VERDICT_BOGUS;
    if (seen->rcode == SB_RCODE_NXDOMAIN)
        return mortal && answered_ns >= z->deleted_ns ? VERDICT_RIGHT : VERDICT_DENIED;
    if (mortal && answered_ns >= z->deleted_ns) {
        int64_t grace =
            zone_endpoint_survives(id.index) ? z->delete_grace_alive_ns : z->delete_grace_ns;
        *ret_was_old = seen->count > 0;
        /* A name that nobody asked about upstream in so long is late in any case. */
        int64_t latest = z->deleted_ns + ASKED_WITHIN_NS, first = z->denied_ns[id.index];
        int64_t from = !z->confirms ? z->deleted_ns : first < latest ? first : latest;
        bool late = asked_ns >= from + grace;
        if (seen->count == 0)
            return late ? VERDICT_EMPTY : VERDICT_RIGHT;
        if (late)
            return VERDICT_GONE;
    }
    return judge_positive(z, id, type, seen, asked_ns, answered_ns, ret_was_old);
}

static zone_verdict judge_positive(const zone *z, zone_id id, uint16_t type, const zone_seen *seen,
                                   int64_t asked_ns, int64_t answered_ns, bool *was_old)
{
    sb_addr first, second;
    if (!zone_address(id, type, 1, &first))
        return seen->count == 0 ? VERDICT_RIGHT : VERDICT_BOGUS;
    zone_address(id, type, 2, &second);
    if (seen->count == 0)
        return VERDICT_DENIED;
    bool is_first = seen->count == 1 && sb_addr_equal(&seen->first, &first);
    bool is_second = seen->count == 1 && sb_addr_equal(&seen->first, &second);
    if (id.kind == ZONE_NEW)
        return is_first ? VERDICT_RIGHT : VERDICT_BOGUS;
    if (is_second)
        return answered_ns >= z->changed_ns ? VERDICT_RIGHT : VERDICT_BOGUS;
    if (!is_first)
        return VERDICT_BOGUS;
    if (answered_ns < z->changed_ns)
        return VERDICT_RIGHT;
    *was_old = true;
    return asked_ns < z->changed_ns + z->change_grace_ns ? VERDICT_RIGHT : VERDICT_OUTDATED;
}

static sb_name name_of(const char *text)
{
    sb_name name;
    sb_status status = sb_name_parse(text, strlen(text), &name, NULL);
    SB_ASSERT(status == SB_OK);
    return name;
}

static bool exists(const zone *z, zone_id id, int64_t now_ns)
{
    if (id.suffixed || (id.kind == ZONE_KNOWN && id.index >= ZONE_KNOWN_COUNT))
        return false;
    return !(id.kind == ZONE_KNOWN && zone_is_mortal(id.index) && now_ns >= z->deleted_ns);
}

static void add_soa(sb_builder *b, const char *apex)
{
    sb_name owner = *apex ? name_of(apex) : (sb_name){.size = 1};
    sb_name server = name_of("ns.example.net"), mail = name_of("hostmaster.example.net");
    uint8_t rdata[2 * SB_NAME_MAX + 20];
    sb_writer w = sb_writer_of(rdata, sizeof rdata);
    sb_name_write(&w, &server);
    sb_name_write(&w, &mail);
    const uint32_t fields[] = {1, 3600, 600, 86400, ZONE_TTL_S};
    for (size_t i = 0; i < SB_ARRAY_SIZE(fields); i++)
        sb_write_u32(&w, fields[i]);
    sb_builder_record(b, SB_SECTION_AUTHORITY, &owner, SB_TYPE_SOA, SB_CLASS_IN, ZONE_TTL_S,
                      (sb_span){rdata, w.size});
}
