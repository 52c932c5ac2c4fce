/* See l1_sample.h. Any thread. */
#include "support/l1_sample.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "dns/rdata.h"

static uint32_t mix(uint32_t a, uint32_t b)
{
    uint64_t x = ((uint64_t)a << 32 | b) * UINT64_C(0x9e3779b97f4a7c15);
    x ^= x >> 29;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    return (uint32_t)(x >> 32);
}

void l1_sample_question(unsigned number, sb_question *ret)
{
    char label[16];
    memset(ret, 0, sizeof(*ret));
    int size = snprintf(label, sizeof(label), "h%u", number);
    sb_writer w = sb_writer_of(ret->name.wire, sizeof(ret->name.wire));
    sb_write_u8(&w, (uint8_t)size);
    sb_write_text(&w, label);
    sb_write_u8(&w, 6);
    sb_write_text(&w, "sample");
    sb_write_u8(&w, 7);
    sb_write_text(&w, "example");
    sb_write_u8(&w, 0);
    ret->name.size = (uint8_t)w.size;
    ret->type = SB_TYPE_A;
    ret->class = SB_CLASS_IN;
}

size_t l1_sample_filler(unsigned number, unsigned version, size_t max_bytes)
{
    uint32_t h = mix(number ^ 0x5eed, version);
    if (max_bytes == 0 || h % 4 == 0)
        return 0;
    size_t most = h % 16 == 1 ? max_bytes : max_bytes < 200 ? max_bytes : 200;
    return (h >> 8) % most;
}

static void add_record(sb_writer *w, l1_sample *s, uint16_t type, uint32_t ttl_s, uint16_t size)
{
    sb_write_u16(w, 0xc00c);
    sb_write_u16(w, type);
    sb_write_u16(w, SB_CLASS_IN);
    s->ttl_at[s->answer.ttl_count++] = (uint16_t)w->size;
    sb_write_u32(w, ttl_s);
    sb_write_u16(w, size);
    s->answer.ancount++;
}

void l1_sample_make(l1_sample *ret, unsigned number, unsigned version, size_t filler_bytes)
{
    uint32_t h = mix(number, version);
    memset(&ret->answer, 0, sizeof(ret->answer));
    l1_sample_question(number, &ret->question);
    sb_writer w = sb_writer_of(ret->body, sizeof(ret->body));
    sb_name_write(&w, &ret->question.name);
    sb_write_u16(&w, SB_TYPE_A);
    sb_write_u16(&w, SB_CLASS_IN);
    uint32_t ttl_s = 60 + h % 1000;
    for (uint32_t i = 0; i <= h % 3; i++) {
        add_record(&w, ret, SB_TYPE_A, ttl_s, 4);
        sb_write_u32(&w, version + i);
    }
    if (filler_bytes > 0) {
        add_record(&w, ret, SB_TYPE_TXT, ttl_s, (uint16_t)filler_bytes);
        for (size_t i = 0; i < filler_bytes; i += 4)
            sb_write_u32(&w, mix(h, (uint32_t)i));
        w.size -= (4 - filler_bytes % 4) % 4;
    }
    sb_answer *a = &ret->answer;
    a->ttl_s = ttl_s;
    a->network = h % 5;
    a->type = SB_TYPE_A;
    a->class = SB_CLASS_IN;
    a->flags = SB_ANSWER_ADDRESSES | (h & 64 ? SB_ANSWER_AD : 0);
    a->kind = SB_KIND_POSITIVE;
    a->source = SB_SOURCE_DNS;
    a->protocol = (uint8_t)(1 + h % 3);
    a->ede = h % 7 == 0 ? SB_EDE_FORGED : SB_EDE_NONE;
    a->upstream = (sb_addr){.bytes = {192, 0, 2, (uint8_t)(h % 50)},
                            .port = 53,
                            .family = SB_FAMILY_4};
    a->body_size = (uint32_t)w.size;
    a->body = ret->body;
    a->ttl_at = ret->ttl_at;
}

int64_t l1_sample_check(const sb_l1_entry *entry, unsigned number, size_t max_bytes,
                        l1_sample *scratch)
{
    sb_question question;
    l1_sample_question(number, &question);
    size_t first = question.name.size + 4u + 12;
    if (entry->body_size < first + 4)
        return -1;
    uint32_t version = sb_load_u32(entry->body + first);
    l1_sample_make(scratch, number, version, l1_sample_filler(number, version, max_bytes));
    const sb_answer *a = &scratch->answer;
    /* The upstream may be lost (its table has a page of its own), never another's. */
    if (entry->body_size != a->body_size || memcmp(entry->body, a->body, a->body_size) != 0 ||
        entry->ttl_count != a->ttl_count ||
        memcmp(entry->ttl_at, a->ttl_at, 2 * (size_t)a->ttl_count) != 0 ||
        entry->ttl_s != a->ttl_s || entry->network != a->network || entry->kind != a->kind ||
        entry->source != a->source || entry->protocol != a->protocol || entry->ede != a->ede ||
        entry->rcode != a->rcode || entry->ancount != a->ancount || entry->nscount != 0 ||
        !(entry->flags & SB_L1_AD) != !(a->flags & SB_ANSWER_AD) ||
        (entry->upstream.family != 0 && memcmp(&entry->upstream, &a->upstream,
                                               sizeof(a->upstream)) != 0))
        return -1;
    return version;
}

unsigned l1_sample_number(const sb_l1_entry *entry)
{
    uint64_t number;
    if (entry->body_size < 2 || entry->body[0] < 2 || entry->body[0] >= entry->body_size ||
        entry->body[1] != 'h' ||
        !sb_parse_u64((const char *)entry->body + 2, entry->body[0] - 1u, UINT_MAX - 1, &number))
        return UINT_MAX;
    return (unsigned)number;
}
