/* Entries of the cache file: put, get, remove, restamp, sweep (DESIGN §6).
 *
 * Owns the form of an entry in its slot and the table of upstreams. A put writes a new slot and
 * then swaps one word of the index: kill -9 at any instruction leaves the old entry or the new
 * one. A restamp swaps one word of the slot. Never reads a byte of the file that was not checked.
 * The daemon's loop thread only. */
#include <string.h>

#include "store/l1_writer.h"

/* Laps of the sweep after which an upstream met by none of them is nobody's. */
#define UPSTREAM_LAPS 2u

sb_status sb_l1_get(sb_l1 *l1, const sb_l1_key *key, sb_l1_buffer *buffer, sb_l1_entry *ret_entry)
{
    sb_l1_digest digest;
    sb_l1_place place;
    sb_l1_digest_question(&l1->g, key->question, &digest);
    sb_status status = sb_l1_lookup(&l1->g, &digest, key->view, buffer, ret_entry, &place);
    if (status == SB_OK) {
        uint64_t at = sb_l1_place_at(&l1->g, place);
        uint64_t way = sb_l1_load64(l1->g.base, at, memory_order_relaxed);
        sb_l1_know(l1, place);
        if ((l1->use[place] & SB_L1_USE_COUNT) < SB_L1_USE_COUNT)
            l1->use[place]++;
        l1->use[place] |= SB_L1_USE_VISITED;
        sb_l1_heat_up(l1, sb_l1_ref_class(&l1->g, sb_l1_way_ref(way)));
    }
    return status;
}

sb_status sb_l1_put(sb_l1 *l1, const sb_l1_key *key, const sb_answer *answer,
                    const sb_l1_life *life, uint16_t flags)
{
    sb_l1_digest digest;
    sb_l1_digest_question(&l1->g, key->question, &digest);
    size_t question = sb_l1_question_size(answer->body, answer->body_size);
    if (key->view == SB_VIEW_ANY || question != digest.size ||
        memcmp(answer->body, digest.question, question) != 0)
        return SB_INVALID;
    unsigned own = (answer->flags & SB_ANSWER_AD ? SB_L1_AD : 0u) |
                   (answer->flags & SB_ANSWER_NO_SOA ? SB_L1_NO_SOA : 0u) |
                   (answer->flags & SB_ANSWER_CHAIN_OPEN ? SB_L1_CHAIN_OPEN : 0u);
    sb_l1_entry entry = {
        .life = *life,
        .view = key->view,
        .network = key->network ? key->network : answer->network,
        .flags = (uint16_t)(own | flags),
        .rcode = answer->rcode,
        .ancount = answer->ancount,
        .nscount = answer->nscount,
        .kind = answer->kind,
        .source = answer->source,
        .protocol = answer->protocol,
        .ttl_s = answer->ttl_s,
        .epoch = sb_l1_policy_epoch(l1),
        .ede = answer->ede,
        .upstream = answer->upstream,
        .dnssec_ok = key->question->dnssec_ok,
        .checking_disabled = key->question->checking_disabled,
        .body = answer->body,
        .body_size = answer->body_size,
        .ttl_at = answer->ttl_at,
        .ttl_count = answer->ttl_count,
    };
    sb_status status = sb_l1_store(l1, &entry);
    if (status == SB_OK)
        l1->stats.writes++;
    return status;
}

sb_status sb_l1_restamp(sb_l1 *l1, const sb_l1_key *key, uint16_t flags)
{
    sb_l1_digest digest;
    sb_l1_place place;
    sb_l1_entry entry;
    sb_l1_digest_question(&l1->g, key->question, &digest);
    sb_status status = sb_l1_lookup(&l1->g, &digest, key->view, &l1->work, &entry, &place);
    if (status != SB_OK)
        return status;
    unsigned kept = entry.flags & SB_L1_CONTENT_FLAGS;
    unsigned given = flags & ~(unsigned)(SB_L1_CONTENT_FLAGS | SB_L1_AGE_UNKNOWN);
    size_t size = (size_t)(entry.body - l1->work.bytes) + entry.body_size;
    uint64_t stamp = sb_l1_slot_stamp(&l1->g, l1->work.bytes, size, (uint16_t)(kept | given),
                                      sb_l1_policy_epoch(l1));
    uint64_t way = sb_l1_load64(l1->g.base, sb_l1_place_at(&l1->g, place), memory_order_relaxed);
    /* release: partner is the acquire load of sb_l1_slot_read; flags, epoch and checksum change
     * together */
    sb_l1_store64(l1->map.base, (uint64_t)sb_l1_way_ref(way) * SB_L1_UNIT, stamp,
                  memory_order_release);
    return SB_OK;
}

sb_status sb_l1_remove(sb_l1 *l1, const sb_l1_key *key)
{
    sb_l1_digest digest;
    sb_l1_place place;
    sb_l1_entry entry;
    sb_status status = SB_NOTFOUND;
    sb_l1_digest_question(&l1->g, key->question, &digest);
    /* A power loss may have brought an older twin back: until none is left. */
    while (sb_l1_lookup(&l1->g, &digest, key->view, &l1->work, &entry, &place) == SB_OK) {
        sb_l1_unlink(l1, place);
        status = SB_OK;
    }
    return status;
}

/* Passes over the whole file wait for memory at every slot: ask for those of the next bucket. */
static void prefetch_bucket(const sb_l1 *l1, uint64_t bucket)
{
    for (unsigned i = 0; bucket < l1->g.buckets && i < SB_L1_WAYS; i++) {
        uint64_t at = sb_l1_place_at(&l1->g, bucket * SB_L1_WAYS + i);
        uint64_t way = sb_l1_load64(l1->g.base, at, memory_order_relaxed);
        const char *slot = (const char *)l1->g.base + (uint64_t)sb_l1_way_ref(way) * SB_L1_UNIT;
        __builtin_prefetch(slot);
        __builtin_prefetch(slot + 64);
    }
}

static size_t remove_matching(sb_l1 *l1, const sb_name *name, bool below)
{
    size_t removed = 0;
    uint64_t end = (uint64_t)l1->g.buckets * SB_L1_WAYS;
    for (sb_l1_place place = 0; place < end; place++) {
        unsigned tries = SB_L1_TRIES;
        sb_l1_entry entry;
        uint64_t way;
        if (place % SB_L1_WAYS == 0)
            prefetch_bucket(l1, place / SB_L1_WAYS + 1);
        if (sb_l1_place_read(&l1->g, place, &tries, &l1->work, &entry, &way) != SB_L1_GOOD ||
            (entry.flags & SB_L1_PINNED))
            continue;
        sb_name owner = {0};
        owner.size = (uint8_t)(sb_l1_question_size(entry.body, entry.body_size) - 4);
        memcpy(owner.wire, entry.body, owner.size);
        if (below ? !sb_name_below(&owner, name) : !sb_name_equal(&owner, name))
            continue;
        if (entry.flags & SB_L1_PINNED)
            continue; /* an operator's word: ends by sb_l1_remove, not with what was learned */
        sb_l1_unlink(l1, place);
        removed++;
    }
    return removed;
}

size_t sb_l1_remove_name(sb_l1 *l1, const sb_name *name)
{
    return remove_matching(l1, name, false);
}

size_t sb_l1_remove_below(sb_l1 *l1, const sb_name *suffix)
{
    return remove_matching(l1, suffix, true);
}

size_t sb_l1_remove_tentative(sb_l1 *l1, const sb_question *question)
{
    size_t removed = 0;
    sb_l1_digest d;
    sb_l1_digest_question(&l1->g, question, &d);
    for (unsigned i = 0; i < 2 * SB_L1_WAYS; i++) {
        sb_l1_place place = (sb_l1_place)d.bucket[i / SB_L1_WAYS] * SB_L1_WAYS + i % SB_L1_WAYS;
        unsigned tries = SB_L1_TRIES;
        sb_l1_entry entry;
        uint64_t way;
        if (sb_l1_place_read(&l1->g, place, &tries, &l1->work, &entry, &way) != SB_L1_GOOD ||
            !(entry.flags & SB_L1_TENTATIVE) || entry.body_size < d.size ||
            memcmp(entry.body, d.question, d.size) != 0 || entry.dnssec_ok != (d.bits & 1) ||
            entry.checking_disabled != (d.bits >> 1))
            continue;
        sb_l1_unlink(l1, place);
        removed++;
    }
    return removed;
}

void sb_l1_used(sb_l1 *l1, const sb_l1_key *key)
{
    sb_l1_entry entry;
    sb_status status = sb_l1_get(l1, key, &l1->work, &entry);
    (void)status; /* a miss: evicted meanwhile */
}

unsigned sb_l1_uses(const sb_l1 *l1, const sb_l1_key *key)
{
    /* Only the contents of work change: to the caller the cache does not. */
    sb_l1_buffer *buffer = &((sb_l1 *)(uintptr_t)l1)->work;
    sb_l1_digest digest;
    sb_l1_place place;
    sb_l1_entry entry;
    sb_l1_digest_question(&l1->g, key->question, &digest);
    if (sb_l1_lookup(&l1->g, &digest, key->view, buffer, &entry, &place) != SB_OK)
        return 0;
    return l1->use[place] & SB_L1_USE_COUNT;
}

static void upstream_met(sb_l1 *l1, const sb_addr *addr)
{
    for (unsigned i = 1; addr->family != 0 && i < SB_L1_UPSTREAMS; i++)
        if (memcmp(&l1->upstreams[i], addr, sizeof(*addr)) == 0)
            l1->upstream_lap[i] = l1->lap;
}

void sb_l1_sweep(sb_l1 *l1, unsigned buckets)
{
    sb_tick now = sb_l1_now(l1);
    for (unsigned n = 0; n < buckets && n < l1->g.buckets; n++) {
        prefetch_bucket(l1, l1->sweep_at + 1u);
        for (unsigned i = 0; i < SB_L1_WAYS; i++) {
            sb_l1_place place = (sb_l1_place)l1->sweep_at * SB_L1_WAYS + i;
            unsigned tries = SB_L1_TRIES;
            sb_l1_entry entry;
            uint64_t way;
            sb_l1_seen seen = sb_l1_place_read(&l1->g, place, &tries, &l1->work, &entry, &way);
            if (seen == SB_L1_EMPTY)
                continue;
            if (seen != SB_L1_GOOD || !sb_l1_belongs(&l1->g, &entry, place, way)) {
                l1->stats.dropped++;
                sb_l1_unlink(l1, place);
            } else if (sb_l1_is_dead(&entry, now)) {
                l1->stats.expired++;
                sb_l1_unlink(l1, place);
            } else {
                sb_l1_know(l1, place);
                upstream_met(l1, &entry.upstream);
            }
        }
        if (++l1->sweep_at == l1->g.buckets) {
            l1->sweep_at = 0;
            l1->lap++;
            l1->stats.counted = true;
        }
    }
}

void sb_l1_get_stats(const sb_l1 *l1, sb_l1_stats *ret)
{
    *ret = l1->stats;
    ret->capacity_bytes = (uint64_t)l1->g.slabs << l1->g.slab_shift;
}

void sb_l1_upstreams_load(sb_l1 *l1)
{
    for (unsigned i = 1; i < SB_L1_UPSTREAMS; i++) {
        uint64_t words[SB_L1_UPSTREAM_SIZE / 8];
        sb_l1_upstream upstream;
        sb_l1_copy_out(words, l1->g.base, SB_L1_AT_UPSTREAMS + i * SB_L1_UPSTREAM_SIZE,
                       sizeof(words));
        memcpy(&upstream, words, sizeof(upstream));
        memset(&l1->upstreams[i], 0, sizeof(l1->upstreams[i]));
        if (upstream.sum == sb_l1_sum(&upstream.addr, sizeof(upstream.addr)))
            l1->upstreams[i] = upstream.addr;
    }
}

/* The number of an upstream and the bits of its checksum an entry keeps; 0: nobody, or the table
 * is full of others still in use. Never a reason not to store the answer. */
static uint32_t upstream_number(sb_l1 *l1, const sb_addr *addr, uint32_t *ret_sum)
{
    unsigned vacant = 0, i;
    if (addr->family == 0)
        return 0;
    for (i = 1; i < SB_L1_UPSTREAMS; i++) {
        if (memcmp(&l1->upstreams[i], addr, sizeof(*addr)) == 0)
            break;
        if (vacant == 0 &&
            (l1->upstreams[i].family == 0 || l1->lap - l1->upstream_lap[i] > UPSTREAM_LAPS))
            vacant = i;
    }
    uint32_t sum = sb_l1_sum(addr, sizeof(*addr));
    if (i == SB_L1_UPSTREAMS) {
        if (vacant == 0)
            return 0;
        i = vacant;
        sb_l1_upstream upstream = {.addr = *addr, .sum = sum};
        l1->upstreams[i] = *addr;
        /* Readers that meet it half written see a checksum that does not fit: nobody. */
        sb_l1_copy_in(l1->map.base, SB_L1_AT_UPSTREAMS + i * SB_L1_UPSTREAM_SIZE, &upstream,
                      sizeof(upstream));
    }
    l1->upstream_lap[i] = l1->lap;
    *ret_sum = sum & 0x1fff;
    return i;
}

static size_t put_u32(uint8_t *slot, size_t at, uint32_t value)
{
    memcpy(slot + at, &value, sizeof(value));
    return at + sizeof(value);
}

/* Writes the entry's slot into draft; its size, or 0 when it is larger than any slot. */
static size_t encode(sb_l1 *l1, const sb_l1_entry *e)
{
    uint8_t *slot = l1->draft.bytes;
    uint32_t ttl_s = e->life.expires > e->life.learned
                         ? (e->life.expires - e->life.learned) / SB_TICKS_PER_S
                         : 0;
    uint32_t ext = (e->view != 0 ? SB_L1_EXT_VIEW : 0u) | (e->ttl_s != ttl_s ? SB_L1_EXT_TTL : 0u) |
                   (e->ede != SB_EDE_NONE ? SB_L1_EXT_STATE : 0u);
    size_t size = SB_L1_SLOT_HEADER + 4u * (unsigned)__builtin_popcount(ext) + 2 * e->ttl_count +
                  e->body_size;
    if (e->body_size > UINT16_MAX || e->ttl_count > SB_ANSWER_TTLS_MAX || size > SB_L1_SLOT_MAX)
        return 0;
    uint32_t upstream_sum = 0, upstream = upstream_number(l1, &e->upstream, &upstream_sum);
    size_t at = put_u32(slot, SB_L1_SLOT_LEARNED, e->life.learned);
    at = put_u32(slot, at, e->life.due);
    at = put_u32(slot, at, e->life.expires);
    at = put_u32(slot, at, e->life.stale_until);
    at = put_u32(slot, at, e->network);
    at = put_u32(slot, at,
                 (uint32_t)e->body_size | (e->rcode & 0xfffu) << 16 |
                     (uint32_t)(e->kind & 15) << 28);
    at =
        put_u32(slot, at,
                (e->ancount & 0x3ffu) | (e->nscount & 0x3ffu) << 10 | (uint32_t)e->ttl_count << 20 |
                    (e->dnssec_ok ? 1u << 30 : 0) | (e->checking_disabled ? 1u << 31 : 0));
    at = put_u32(slot, at,
                 upstream | (e->source & 31u) << 7 | ext << 12 | (e->protocol & 7u) << 16 |
                     upstream_sum << 19);
    if (ext & SB_L1_EXT_VIEW)
        at = put_u32(slot, at, e->view);
    if (ext & SB_L1_EXT_TTL)
        at = put_u32(slot, at, e->ttl_s);
    if (ext & SB_L1_EXT_STATE)
        at = put_u32(slot, at, (uint16_t)e->ede);
    if (e->ttl_count > 0)
        memcpy(slot + at, e->ttl_at, 2 * e->ttl_count);
    memcpy(slot + at + 2 * e->ttl_count, e->body, e->body_size);
    memset(slot + size, 0, 8); /* the last word is written whole */
    uint64_t stamp =
        sb_l1_slot_stamp(&l1->g, slot, size, e->flags & (uint16_t)~SB_L1_AGE_UNKNOWN, e->epoch);
    memcpy(slot, &stamp, sizeof(stamp));
    return size;
}

/* False for what a reader would refuse or the words of a slot cannot say. */
static bool storable(const sb_l1_entry *e)
{
    size_t question = sb_l1_question_size(e->body, e->body_size);
    if (question == 0 || e->ancount > 0x3ff || e->nscount > 0x3ff || e->rcode > 0xfff ||
        e->kind < SB_KIND_POSITIVE || e->kind > SB_KIND_FAILURE)
        return false;
    for (size_t i = 0; i < e->ttl_count; i++)
        if (e->ttl_at[i] < question || e->ttl_at[i] + 4u > e->body_size)
            return false;
    return true;
}

/* An older way to the same question that a power loss brought back must not outlive the new entry.
 * */
static void drop_twins(sb_l1 *l1, const sb_l1_digest *d, const sb_l1_entry *entry,
                       sb_l1_place place)
{
    for (unsigned i = 0; i < 2 * SB_L1_WAYS; i++) {
        sb_l1_place twin = (sb_l1_place)d->bucket[i / SB_L1_WAYS] * SB_L1_WAYS + i % SB_L1_WAYS;
        uint64_t way = sb_l1_load64(l1->g.base, sb_l1_place_at(&l1->g, twin), memory_order_relaxed);
        sb_l1_entry old;
        if (twin == place || sb_l1_way_ref(way) == 0 || sb_l1_way_tag(way) != d->tag ||
            sb_l1_way_view(way) != sb_l1_view_tag(entry->view))
            continue;
        bool good = sb_l1_slot_read(&l1->g, sb_l1_way_ref(way), &l1->work, &old) == SB_L1_GOOD;
        if (good &&
            (old.view != entry->view || old.body_size < d->size ||
             memcmp(old.body, d->question, d->size) != 0 || old.dnssec_ok != entry->dnssec_ok ||
             old.checking_disabled != entry->checking_disabled))
            continue; /* another question with the same tag */
        l1->stats.dropped += !good;
        sb_l1_unlink(l1, twin);
    }
}

sb_status sb_l1_store(sb_l1 *l1, const sb_l1_entry *entry)
{
    if (!storable(entry))
        return SB_INVALID;
    sb_l1_digest digest;
    sb_l1_digest_entry(&l1->g, entry, &digest);
    size_t size = encode(l1, entry);
    unsigned class = size ? sb_l1_class_for(l1, size) : 0;
    sb_l1_entry old;
    sb_l1_place place = SB_L1_NOWHERE;
    if (class != 0 && sb_l1_lookup(&l1->g, &digest, entry->view, &l1->work, &old, &place) != SB_OK)
        place = SB_L1_NOWHERE;
    uint32_t ref = class ? sb_l1_slot_take(l1, class, place) : 0;
    if (ref == 0) {
        l1->stats.too_big++;
        return SB_LIMIT;
    }
    sb_l1_slot_write(l1, ref, l1->draft.bytes, size);
    /* Making room may have taken the old entry. */
    if (sb_l1_lookup(&l1->g, &digest, entry->view, &l1->work, &old, &place) != SB_OK)
        place = sb_l1_place_take(l1, &digest);
    sb_l1_link(l1, place, ref, digest.tag, sb_l1_view_tag(entry->view));
    drop_twins(l1, &digest, entry, place);
    return SB_OK;
}
