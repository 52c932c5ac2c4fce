/* Reading the cache file (DESIGN §6): find, walk, header, clock; and the format's arithmetic the
 * writer shares.
 *
 * Owns nothing, writes nothing, calls no system, trusts nothing in the file: every offset is
 * bounded by the mapping, every byte is copied before it is checked. Any thread, any process.
 *
 * Order. The writer publishes a slot so: stamp = 0 (release), release fence, words (relaxed),
 * stamp (release), then the way in the index (release). A reader loads the way (acquire), the
 * stamp (acquire), the words (relaxed), passes an acquire fence and loads the stamp again: a word
 * of a later writing brings the stamp's 0 or its successor with it (fence to fence), so an
 * unchanged stamp means an unchanged slot. Then checksum and full key decide. */
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "dns/rdata.h"
#include "store/l1_format.h"

#define TICK_NS (SB_S / SB_TICKS_PER_S)
#define ABSURD_NS (SB_S * 86400 * 3653) /* ten years: no machine sleeps that long and is right */

sb_status sb_l1_reader_init(const void *base, size_t size, sb_l1_reader *ret, sb_why *why)
{
    if (!base || (uintptr_t)base % 8 != 0 || size < SB_L1_AT_TABLE)
        return sb_why_set(why, SB_MALFORMED, "too small for a cache file (%zu bytes)", size);
    if (sb_l1_load64(base, SB_L1_AT_MAGIC, memory_order_relaxed) != SB_L1_MAGIC)
        return sb_why_set(why, SB_MALFORMED,
                          "it does not begin as one, or as one of another kind of machine does");
    /* Before the checksum: another version may sum otherwise. */
    uint32_t format = sb_l1_load32(base, SB_L1_AT_FORMAT, memory_order_relaxed);
    if (format > SB_L1_FORMAT && format <= SB_L1_FORMAT_MAX)
        return sb_why_set(why, SB_UNSUPPORTED, "format %u is newer than %u", format, SB_L1_FORMAT);
    if (format != SB_L1_FORMAT ||
        sb_l1_load32(base, SB_L1_AT_BYTE_ORDER, memory_order_relaxed) != SB_L1_BYTE_ORDER ||
        sb_l1_load32(base, SB_L1_AT_SUM, memory_order_relaxed) != sb_l1_header_sum(base))
        return sb_why_set(why, SB_MALFORMED, "the header is damaged");
    uint64_t claimed = sb_l1_load64(base, SB_L1_AT_SIZE, memory_order_relaxed);
    if (claimed > size)
        return sb_why_set(why, SB_MALFORMED, "truncated: %zu bytes of %llu", size,
                          (unsigned long long)claimed);
    sb_l1_reader reader = {base, (size_t)claimed};
    sb_l1_geometry g;
    if (!sb_l1_geometry_load(&reader, &g))
        return sb_why_set(why, SB_MALFORMED, "the header's layout does not fit the file");
    *ret = reader;
    return SB_OK;
}

bool sb_l1_reader_header(const sb_l1_reader *reader, sb_l1_header_info *ret)
{
    sb_l1_geometry g;
    sb_l1_anchor anchor;
    sb_l1_header_info info = {.format = SB_L1_FORMAT};
    if (!sb_l1_geometry_load(reader, &g) || !sb_l1_anchor_load(g.base, &anchor) ||
        !sb_l1_client_load(g.base, &info.client))
        return false;
    uint64_t stamp = sb_l1_load64(g.base, SB_L1_AT_STAMP, memory_order_acquire);
    info.network = (uint32_t)stamp;
    info.policy_epoch = (uint16_t)(stamp >> 32);
    info.network_epoch = (uint16_t)(stamp >> 48);
    /* acquire: partner is the release store after the new inode was renamed in (l1_open.c) */
    info.retired = sb_l1_load32(g.base, SB_L1_AT_RETIRED, memory_order_acquire) != 0;
    info.writer_clean = anchor.clean == 1;
    info.heartbeat = anchor.tick;
    info.capacity_bytes = (uint64_t)g.slabs << g.slab_shift;
    *ret = info;
    return true;
}

sb_tick sb_l1_reader_tick(const sb_l1_reader *reader, const sb_clock *clock, bool *ret_guessed)
{
    sb_l1_geometry g;
    sb_l1_anchor anchor;
    *ret_guessed = true;
    if (!sb_l1_geometry_load(reader, &g) || !sb_l1_anchor_load(g.base, &anchor))
        return 1;
    int64_t from = anchor.boot_ns, to = clock->boot_ns;
    if (memcmp(anchor.boot_id, clock->boot_id, sizeof(anchor.boot_id)) == 0) {
        *ret_guessed = false;
    } else {
        from = anchor.wall_ns;
        to = clock->wall_ns;
    }
    int64_t passed;
    if (__builtin_sub_overflow(to, from, &passed) || passed < (*ret_guessed ? 0 : -ABSURD_NS) ||
        passed > ABSURD_NS) {
        *ret_guessed = true;
        passed = 0;
    }
    /* Slightly negative when the clock was read just before the heartbeat. */
    int64_t tick = (int64_t)anchor.tick + passed / TICK_NS;
    return tick < 1 ? 1 : tick > UINT32_MAX ? UINT32_MAX : (sb_tick)tick;
}

sb_status sb_l1_find(const sb_l1_reader *reader, const sb_l1_key *key, sb_l1_buffer *buffer,
                     sb_l1_entry *ret_entry)
{
    sb_l1_geometry g;
    if (!sb_l1_geometry_load(reader, &g))
        return SB_NOTFOUND;
    sb_l1_digest digest;
    sb_l1_digest_question(&g, key->question, &digest);
    sb_l1_place place;
    return sb_l1_lookup(&g, &digest, key->view, buffer, ret_entry, &place);
}

bool sb_l1_servable(const sb_l1_reader *reader, const sb_l1_entry *entry)
{
    /* One word, so that epoch and network belong together; acquire: partner is set_network and
     * bump_policy. */
    uint64_t stamp = sb_l1_load64(reader->base, SB_L1_AT_STAMP, memory_order_acquire);
    /* A move bumps the policy epoch too: one comparison answers for both epochs. */
    return (entry->flags & SB_L1_PLAIN) && entry->epoch == (uint16_t)(stamp >> 32) &&
           (entry->view == 0 || entry->network == 0 || entry->network == (uint32_t)stamp);
}

bool sb_l1_walk(const sb_l1_reader *reader, uint64_t *cursor, sb_l1_buffer *buffer,
                sb_l1_entry *ret_entry)
{
    sb_l1_geometry g;
    if (!sb_l1_geometry_load(reader, &g))
        return false;
    uint64_t end = (uint64_t)g.buckets * SB_L1_WAYS;
    for (uint64_t place = *cursor; place < end; place++) {
        unsigned tries = SB_L1_TRIES;
        uint64_t way;
        sb_l1_entry entry;
        if (sb_l1_place_read(&g, place, &tries, buffer, &entry, &way) != SB_L1_GOOD ||
            !sb_l1_belongs(&g, &entry, place, way))
            continue;
        *cursor = place + 1;
        *ret_entry = entry;
        return true;
    }
    *cursor = end;
    return false;
}

sb_answer_parts sb_l1_parts(const sb_l1_entry *entry)
{
    size_t question = sb_l1_question_size(entry->body, entry->body_size);
    uint16_t type = question ? sb_load_u16(entry->body + question - 4) : 0;
    unsigned flags = (entry->flags & SB_L1_AD ? SB_ANSWER_AD : 0u) |
                     (entry->flags & SB_L1_NO_SOA ? SB_ANSWER_NO_SOA : 0u) |
                     (entry->flags & SB_L1_CHAIN_OPEN ? SB_ANSWER_CHAIN_OPEN : 0u) |
                     (type == SB_TYPE_A || type == SB_TYPE_AAAA ? SB_ANSWER_ADDRESSES : 0u);
    return (sb_answer_parts){.body = entry->body,
                             .body_size = entry->body_size,
                             .ttl_at = entry->ttl_at,
                             .ttl_count = entry->ttl_count,
                             .rcode = entry->rcode,
                             .ancount = entry->ancount,
                             .nscount = entry->nscount,
                             .flags = (uint16_t)flags,
                             .ttl_s = entry->ttl_s,
                             .kind = entry->kind};
}

void sb_l1_copy_out(void *to, const void *base, uint64_t at, size_t size)
{
    uint8_t *bytes = to;
    for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
        uint64_t word = sb_l1_load64(base, at + i, memory_order_relaxed);
        memcpy(bytes + i, &word, sizeof(word));
    }
}

void sb_l1_copy_in(void *base, uint64_t at, const void *from, size_t size)
{
    const uint8_t *bytes = from;
    for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, bytes + i, sizeof(word));
        sb_l1_store64(base, at + i, word, memory_order_relaxed);
    }
}

static void geometry_finish(uint64_t size, sb_l1_geometry *g)
{
    g->index_at = (SB_L1_AT_TABLE + (uint64_t)g->slabs * 4 + 63) & ~UINT64_C(63);
    g->slabs_at = size - ((uint64_t)g->slabs << g->slab_shift);
}

bool sb_l1_geometry_load(const sb_l1_reader *reader, sb_l1_geometry *ret)
{
    const void *base = reader->base;
    uint64_t size = reader->size;
    sb_l1_geometry g = {
        .base = base,
        .seed = sb_l1_load64(base, SB_L1_AT_SEED, memory_order_relaxed),
        .buckets = sb_l1_load32(base, SB_L1_AT_BUCKETS, memory_order_relaxed),
        .slabs = sb_l1_load32(base, SB_L1_AT_SLABS, memory_order_relaxed),
        .slab_shift = sb_l1_load32(base, SB_L1_AT_SLAB_SHIFT, memory_order_relaxed),
    };
    if (size % SB_L1_PAGE != 0 || size > SB_L1_FILE_MAX || g.slab_shift < 12 || g.slab_shift > 16 ||
        g.slabs == 0 || g.buckets == 0 || (uint64_t)g.slabs << g.slab_shift > size)
        return false;
    geometry_finish(size, &g);
    if (g.index_at + (uint64_t)g.buckets * SB_L1_BUCKET > g.slabs_at)
        return false;
    *ret = g;
    return true;
}

void sb_l1_geometry_plan(uint64_t size, sb_l1_geometry *ret)
{
    sb_l1_geometry g = {.slab_shift = 12};
    /* Some thirty slabs at least, so that a small file has one for every size; 64 KiB holds the
     * largest answer. */
    while (g.slab_shift < 16 && size >> (g.slab_shift + 1) >= 32)
        g.slab_shift++;
    /* A bucket of eight for 640 bytes of slots: the index holds as many entries as the slots do
     * when all are of 80 bytes, which few are, and eight ways in two places fill to nine tenths
     * before one is full. */
    uint64_t slabs = (size - SB_L1_AT_TABLE) >> g.slab_shift;
    while (slabs > 1 && SB_L1_AT_TABLE + 64 + slabs * 4 +
                                (slabs << g.slab_shift) / 640 * SB_L1_BUCKET +
                                (slabs << g.slab_shift) >
                            size)
        slabs--;
    g.slabs = (uint32_t)slabs;
    geometry_finish(size, &g);
    g.buckets = (uint32_t)((g.slabs_at - g.index_at) / SB_L1_BUCKET);
    *ret = g;
}

uint32_t sb_l1_sum(const void *bytes, size_t size)
{
    return (uint32_t)XXH3_64bits(bytes, size);
}

uint32_t sb_l1_header_sum(const void *base)
{
    uint64_t line[8];
    sb_l1_copy_out(line, base, 0, sizeof(line));
    return sb_l1_sum(line, SB_L1_AT_SUM);
}

bool sb_l1_is_ours(const void *base, size_t size)
{
    if (size >= 8 && sb_l1_load64(base, SB_L1_AT_MAGIC, memory_order_relaxed) == SB_L1_MAGIC)
        return true;
    if (size >= SB_L1_AT_UPSTREAMS + 8 &&
        sb_l1_load64(base, SB_L1_AT_UPSTREAMS, memory_order_relaxed) == SB_L1_MAGIC)
        return true;
    size_t empty = size < SB_L1_AT_TABLE ? size : SB_L1_AT_TABLE;
    for (size_t i = 0; i < empty; i++)
        if (((const volatile uint8_t *)base)[i] != 0)
            return false;
    return true;
}

/* A value in two copies. The writer fills the one not named, then turns (release); the reader
 * loads the turn (acquire), copies, passes an acquire fence and loads the turn again: unchanged
 * means that copy was not written meanwhile. */
static bool copies_load(const void *base, unsigned turn_at, unsigned copy_at, size_t size,
                        void *ret)
{
    uint64_t words[SB_L1_COPY_STRIDE / 8];
    uint64_t turn = sb_l1_load64(base, turn_at, memory_order_acquire);
    unsigned other = 0; /* 1: the named copy is damaged; the other one is older but may be whole */
    for (unsigned try = 0; try < SB_L1_TRIES; try++) {
        sb_l1_copy_out(words, base, copy_at + ((turn + other) & 1) * SB_L1_COPY_STRIDE, size);
        sb_l1_fence(memory_order_acquire);
        uint64_t again = sb_l1_load64(base, turn_at, memory_order_acquire);
        if (again != turn) {
            turn = again;
            other = 0;
        } else if ((uint32_t)(words[size / 8 - 1] >> 32) == sb_l1_sum(words, size - 4)) {
            memcpy(ret, words, size);
            return true;
        } else if (other++ == 1) {
            return false;
        }
    }
    return false;
}

bool sb_l1_anchor_load(const void *base, sb_l1_anchor *ret)
{
    return copies_load(base, SB_L1_AT_ANCHOR_TURN, SB_L1_AT_ANCHOR, sizeof(*ret), ret);
}

bool sb_l1_client_load(const void *base, sb_l1_client_settings *ret)
{
    sb_l1_client_block block;
    if (!copies_load(base, SB_L1_AT_CLIENT_TURN, SB_L1_AT_CLIENT, sizeof(block), &block))
        return false;
    *ret = block.settings;
    ret->socket_path[sizeof(ret->socket_path) - 1] = 0;
    ret->search[sizeof(ret->search) - 1] = 0;
    return true;
}

/* Lower case for eight ASCII bytes at once. Length octets stay: none reaches 'A'. */
static uint64_t fold_word(uint64_t word)
{
    uint64_t low = word & UINT64_C(0x7f7f7f7f7f7f7f7f);
    uint64_t from_a = low + UINT64_C(0x3f3f3f3f3f3f3f3f);   /* top bit: >= 'A' */
    uint64_t beyond_z = low + UINT64_C(0x2525252525252525); /* top bit: > 'Z' */
    uint64_t upper = from_a & ~beyond_z & ~word & UINT64_C(0x8080808080808080);
    return word | upper >> 2;
}

static void digest_finish(const sb_l1_geometry *g, sb_l1_digest *d)
{
    uint64_t seed = g->seed + d->bits * UINT64_C(0x9e3779b97f4a7c15);
    d->hash = XXH3_64bits_withSeed(d->question, d->size, seed);
    /* Two places for every question: one bucket of eight overflows long before the file is full,
     * two do not. The second multiplier spreads what the first reduction ignored. */
    uint64_t other = d->hash * UINT64_C(0xd6e8feb86659fd93);
    d->bucket[0] = (uint32_t)((d->hash >> 32) * g->buckets >> 32);
    d->bucket[1] = (uint32_t)((other >> 32) * g->buckets >> 32);
    if (d->bucket[1] == d->bucket[0])
        d->bucket[1] = (d->bucket[0] + 1) % g->buckets;
    d->tag = (uint16_t)d->hash;
}

void sb_l1_digest_question(const sb_l1_geometry *g, const sb_question *question, sb_l1_digest *ret)
{
    const sb_name *name = &question->name;
    size_t at = 0;
    for (; at + 8 <= name->size; at += 8) {
        uint64_t word;
        memcpy(&word, name->wire + at, sizeof(word));
        word = fold_word(word);
        memcpy(ret->question + at, &word, sizeof(word));
    }
    for (; at < name->size; at++)
        ret->question[at] = sb_ascii_lower(name->wire[at]);
    sb_store_u16(ret->question + at, question->type);
    sb_store_u16(ret->question + at + 2, question->class);
    ret->size = at + 4;
    ret->bits = (uint8_t)((question->dnssec_ok ? 1 : 0) | (question->checking_disabled ? 2 : 0));
    digest_finish(g, ret);
}

void sb_l1_digest_entry(const sb_l1_geometry *g, const sb_l1_entry *entry, sb_l1_digest *ret)
{
    ret->size = sb_l1_question_size(entry->body, entry->body_size);
    memcpy(ret->question, entry->body, ret->size);
    ret->bits = (uint8_t)((entry->dnssec_ok ? 1 : 0) | (entry->checking_disabled ? 2 : 0));
    digest_finish(g, ret);
}

uint8_t sb_l1_view_tag(uint32_t view)
{
    uint64_t spread = view * 2654435769u; /* 2^32 over the golden ratio */
    return view == 0 ? 0 : (uint8_t)(1 + (spread * 255 >> 32));
}

size_t sb_l1_question_size(const uint8_t *body, size_t size)
{
    size_t at = 0;
    while (at < size && at < SB_NAME_MAX) {
        size_t label = body[at];
        if (label == 0)
            return size - at >= 5 ? at + 5 : 0;
        if (label > 63)
            return 0;
        at += label + 1;
    }
    return 0;
}

uint64_t sb_l1_slot_stamp(const sb_l1_geometry *g, const uint8_t *slot, size_t size, uint16_t flags,
                          uint16_t epoch)
{
    uint64_t high = (uint64_t)epoch << 16 | flags;
    uint64_t sum = XXH3_64bits(slot + 8, size - 8) ^ g->seed;
    sum ^= high * UINT64_C(0x9e3779b97f4a7c15);
    sum ^= sum >> 32;
    sum *= UINT64_C(0xd6e8feb86659fd93);
    sum ^= sum >> 32;
    uint32_t low = (uint32_t)sum;
    return high << 32 | (low ? low : 1); /* 0 says "being written" */
}

unsigned sb_l1_ref_class(const sb_l1_geometry *g, uint32_t ref)
{
    uint64_t at = (uint64_t)ref * SB_L1_UNIT;
    if (at < g->slabs_at || at - g->slabs_at >= (uint64_t)g->slabs << g->slab_shift)
        return 0;
    uint64_t slab = (at - g->slabs_at) >> g->slab_shift;
    uint64_t within = (at - g->slabs_at) & ((UINT64_C(1) << g->slab_shift) - 1);
    /* acquire: partner is the release store of the class once the slab's last entry is out of the
     * index */
    uint32_t class = sb_l1_load32(g->base, SB_L1_AT_TABLE + slab * 4, memory_order_acquire) & 255;
    if (class == 0 || class >= SB_L1_CLASSES)
        return 0;
    uint32_t bytes = sb_l1_class_bytes(class);
    return within % bytes == 0 && within + bytes <= UINT64_C(1) << g->slab_shift ? class : 0;
}

static uint32_t slot_u32(const uint8_t *slot, unsigned at)
{
    uint32_t value;
    memcpy(&value, slot + at, sizeof(value));
    return value;
}

static void upstream_load(const sb_l1_geometry *g, unsigned number, uint32_t sum, sb_addr *ret)
{
    sb_l1_upstream upstream;
    uint64_t words[sizeof(upstream) / 8];
    memset(ret, 0, sizeof(*ret));
    if (number == 0)
        return;
    sb_l1_copy_out(words, g->base, SB_L1_AT_UPSTREAMS + number * SB_L1_UPSTREAM_SIZE,
                   sizeof(words));
    memcpy(&upstream, words, sizeof(upstream));
    /* Torn, damaged or given to another since: nobody, rather than the wrong one. */
    if (upstream.sum == sb_l1_sum(&upstream.addr, sizeof(upstream.addr)) &&
        (upstream.sum & 0x1fff) == sum)
        *ret = upstream.addr;
}

/* Fields of a copied slot; false when one is out of its bounds. */
static bool slot_decode(const sb_l1_geometry *g, const uint8_t *slot, size_t size, uint64_t stamp,
                        sb_l1_entry *ret)
{
    uint32_t kind = slot_u32(slot, SB_L1_SLOT_KIND), counts = slot_u32(slot, SB_L1_SLOT_COUNTS);
    uint32_t origin = slot_u32(slot, SB_L1_SLOT_ORIGIN);
    *ret = (sb_l1_entry){
        .life = {slot_u32(slot, SB_L1_SLOT_LEARNED), slot_u32(slot, SB_L1_SLOT_DUE),
                 slot_u32(slot, SB_L1_SLOT_EXPIRES), slot_u32(slot, SB_L1_SLOT_STALE_UNTIL)},
        .network = slot_u32(slot, SB_L1_SLOT_NETWORK),
        .flags = (uint16_t)((stamp >> 32 & 0xffff) & ~(unsigned)SB_L1_AGE_UNKNOWN),
        .epoch = (uint16_t)(stamp >> 48),
        .body_size = kind & 0xffff,
        .rcode = (uint16_t)(kind >> 16 & 0xfff),
        .kind = (uint8_t)(kind >> 28),
        .ancount = (uint16_t)(counts & 0x3ff),
        .nscount = (uint16_t)(counts >> 10 & 0x3ff),
        .ttl_count = counts >> 20 & 0x3ff,
        .dnssec_ok = counts >> 30 & 1,
        .checking_disabled = counts >> 31,
        .source = (uint8_t)(origin >> 7 & 31),
        .protocol = (uint8_t)(origin >> 16 & 7),
        .ede = SB_EDE_NONE,
    };
    ret->ttl_s = ret->life.expires > ret->life.learned
                     ? (ret->life.expires - ret->life.learned) / SB_TICKS_PER_S
                     : 0;
    unsigned ext = origin >> 12 & 15, at = SB_L1_SLOT_HEADER;
    for (unsigned bit = 1; bit <= ext; bit <<= 1) {
        if (!(ext & bit))
            continue;
        uint32_t word = slot_u32(slot, at);
        at += 4;
        if (bit == SB_L1_EXT_VIEW)
            ret->view = word;
        else if (bit == SB_L1_EXT_TTL)
            ret->ttl_s = word;
        else if (bit == SB_L1_EXT_STATE)
            ret->ede = (int16_t)(word & 0xffff);
    }
    ret->ttl_at = (const uint16_t *)(const void *)(slot + at);
    ret->body = slot + at + 2 * ret->ttl_count;
    size_t question = sb_l1_question_size(ret->body, ret->body_size);
    if (at + 2 * ret->ttl_count + ret->body_size != size || question == 0 ||
        ret->kind < SB_KIND_POSITIVE || ret->kind > SB_KIND_FAILURE ||
        ret->ttl_count > SB_ANSWER_TTLS_MAX)
        return false;
    for (size_t i = 0; i < ret->ttl_count; i++)
        if (ret->ttl_at[i] < question || ret->ttl_at[i] + 4u > ret->body_size)
            return false;
    if (ret->life.learned < sb_l1_load32(g->base, SB_L1_AT_UNKNOWN, memory_order_acquire))
        ret->flags |= SB_L1_AGE_UNKNOWN;
    upstream_load(g, origin & 127, origin >> 19, &ret->upstream);
    return true;
}

sb_l1_seen sb_l1_slot_read(const sb_l1_geometry *g, uint32_t ref, sb_l1_buffer *buffer,
                           sb_l1_entry *ret_entry)
{
    uint32_t room = sb_l1_class_bytes(sb_l1_ref_class(g, ref));
    if (room < SB_L1_SLOT_HEADER + 5)
        return SB_L1_BAD;
    uint64_t at = (uint64_t)ref * SB_L1_UNIT;
    uint8_t *slot = buffer->bytes;
    uint64_t stamp = sb_l1_load64(g->base, at, memory_order_acquire);
    /* The writer took the way out of the index before (release): who sees 0 sees that too, and if
     * the way still stands the 0 is damage. */
    if ((uint32_t)stamp == 0)
        return SB_L1_BAD;
    sb_l1_copy_out(slot + 8, g->base, at + 8, SB_L1_SLOT_HEADER - 8);
    uint32_t ext = slot_u32(slot, SB_L1_SLOT_ORIGIN) >> 12 & 15;
    size_t size = SB_L1_SLOT_HEADER + 4u * (unsigned)__builtin_popcount(ext) +
                  2 * (slot_u32(slot, SB_L1_SLOT_COUNTS) >> 20 & 0x3ff) +
                  (slot_u32(slot, SB_L1_SLOT_KIND) & 0xffff);
    bool fits = size <= room;
    if (fits) /* a size that fits is within its slab: rounded up to eight it still is */
        sb_l1_copy_out(slot + SB_L1_SLOT_HEADER, g->base, at + SB_L1_SLOT_HEADER,
                       size - SB_L1_SLOT_HEADER);
    sb_l1_fence(memory_order_acquire);
    if (sb_l1_load64(g->base, at, memory_order_relaxed) != stamp)
        return SB_L1_TORN;
    memcpy(slot, &stamp, sizeof(stamp));
    sb_l1_entry entry;
    uint16_t flags = (uint16_t)(stamp >> 32), epoch = (uint16_t)(stamp >> 48);
    if (!fits || sb_l1_slot_stamp(g, slot, size, flags, epoch) != stamp ||
        !slot_decode(g, slot, size, stamp, &entry))
        return SB_L1_BAD;
    *ret_entry = entry;
    return SB_L1_GOOD;
}

sb_l1_seen sb_l1_place_read(const sb_l1_geometry *g, sb_l1_place place, unsigned *tries,
                            sb_l1_buffer *buffer, sb_l1_entry *ret_entry, uint64_t *ret_way)
{
    uint64_t at = sb_l1_place_at(g, place);
    /* acquire: partner is the release store of the way, which follows the slot */
    uint64_t way = sb_l1_load64(g->base, at, memory_order_acquire);
    while (sb_l1_way_ref(way) != 0) {
        *ret_way = way;
        if (*tries == 0)
            return SB_L1_TORN;
        (*tries)--;
        sb_l1_seen seen = sb_l1_slot_read(g, sb_l1_way_ref(way), buffer, ret_entry);
        if (seen == SB_L1_GOOD)
            return seen;
        uint64_t again = sb_l1_load64(g->base, at, memory_order_acquire);
        /* Torn under an unchanged way: restamped meanwhile. */
        if (again == way && seen == SB_L1_BAD)
            return seen;
        way = again;
    }
    *ret_way = way;
    return SB_L1_EMPTY;
}

bool sb_l1_belongs(const sb_l1_geometry *g, const sb_l1_entry *entry, sb_l1_place place,
                   uint64_t way)
{
    sb_l1_digest digest;
    sb_l1_digest_entry(g, entry, &digest);
    uint64_t bucket = place / SB_L1_WAYS;
    return digest.tag == sb_l1_way_tag(way) &&
           (bucket == digest.bucket[0] || bucket == digest.bucket[1]) &&
           sb_l1_view_tag(entry->view) == sb_l1_way_view(way);
}

static bool view_fits(const sb_l1_geometry *g, const sb_l1_entry *entry, uint32_t view, bool scoped)
{
    if (view != SB_VIEW_ANY)
        return entry->view == view;
    if (!scoped)
        return entry->view == 0;
    uint32_t network = (uint32_t)sb_l1_load64(g->base, SB_L1_AT_STAMP, memory_order_relaxed);
    return entry->view != 0 && entry->view < SB_VIEW_EMERGENCY &&
           (entry->network == network || entry->network == 0);
}

/* One pass over both buckets. scoped: only ways of a view other than the public one. */
static bool lookup_pass(const sb_l1_geometry *g, const sb_l1_digest *d, uint32_t view, bool scoped,
                        unsigned *tries, sb_l1_buffer *buffer, sb_l1_entry *ret_entry,
                        sb_l1_place *ret_place)
{
    uint8_t view_tag = view == SB_VIEW_ANY ? 0 : sb_l1_view_tag(view);
    for (unsigned i = 0; i < 2 * SB_L1_WAYS; i++) {
        sb_l1_place place = (sb_l1_place)d->bucket[i / SB_L1_WAYS] * SB_L1_WAYS + i % SB_L1_WAYS;
        uint64_t way = sb_l1_load64(g->base, sb_l1_place_at(g, place), memory_order_relaxed);
        if (sb_l1_way_tag(way) != d->tag || sb_l1_way_ref(way) == 0 ||
            (scoped ? sb_l1_way_view(way) == 0 : sb_l1_way_view(way) != view_tag))
            continue;
        sb_l1_entry entry;
        if (sb_l1_place_read(g, place, tries, buffer, &entry, &way) != SB_L1_GOOD ||
            entry.body_size < d->size || memcmp(entry.body, d->question, d->size) != 0 ||
            entry.dnssec_ok != (d->bits & 1) || entry.checking_disabled != (d->bits >> 1) ||
            !view_fits(g, &entry, view, scoped))
            continue;
        *ret_entry = entry;
        *ret_place = place;
        return true;
    }
    return false;
}

sb_status sb_l1_lookup(const sb_l1_geometry *g, const sb_l1_digest *digest, uint32_t view,
                       sb_l1_buffer *buffer, sb_l1_entry *ret_entry, sb_l1_place *ret_place)
{
    unsigned tries = SB_L1_TRIES;
    __builtin_prefetch((const char *)g->base + g->index_at +
                       (uint64_t)digest->bucket[1] * SB_L1_BUCKET);
    /* What was learned for this very network is nearer the truth than the public answer. */
    if (view == SB_VIEW_ANY &&
        lookup_pass(g, digest, view, true, &tries, buffer, ret_entry, ret_place))
        return SB_OK;
    return lookup_pass(g, digest, view, false, &tries, buffer, ret_entry, ret_place) ? SB_OK
                                                                                     : SB_NOTFOUND;
}
