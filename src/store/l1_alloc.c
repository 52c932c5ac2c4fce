/* Slots of the cache file: slabs, classes, the hands that go round, and what must go when all is
 * full (DESIGN §6).
 *
 * The file keeps no free list: a slot is in use when its entry checks and the entry's own bucket
 * refers to it. What is known beyond that (slots freed in this run, fresh slabs, rings) is memory
 * and is rebuilt from the slab table alone, so that a file of any size opens at once and no crash
 * can leave a list broken. The daemon's loop thread only.
 *
 * Order of taking: freed in this run, fresh part of a slab, a slab of nobody, the class's hand.
 * Slot first, index second, always: whatever instant the process dies at, the index refers to
 * whole entries. */
#include <string.h>

#include "store/l1_writer.h"

#define HAND_STEPS 64u        /* a put looks at this many slots, however large the class */
#define HAND_STEPS_DEAR 1024u /* …unless all of them are protected */
#define SURVEY_STEPS 1024u    /* …and first searches so many for a hole, while there may be one */
#define MOVE_STEPS 4096u      /* slots searched for holes while a slab is emptied */
#define HEAT_HALVING 65536u   /* puts and uses after which all heat is halved */

static uint32_t slots_per_slab(const sb_l1 *l1, unsigned class)
{
    return (1u << l1->g.slab_shift) / sb_l1_class_bytes(class);
}

static uint32_t slot_ref(const sb_l1 *l1, unsigned class, uint32_t slab, uint32_t slot)
{
    uint64_t at = l1->g.slabs_at + ((uint64_t)slab << l1->g.slab_shift) +
                  (uint64_t)slot * sb_l1_class_bytes(class);
    return (uint32_t)(at / SB_L1_UNIT);
}

static void ring_add(sb_l1 *l1, unsigned class, uint32_t slab)
{
    sb_l1_class *c = &l1->classes[class];
    if (c->slabs++ == 0) {
        l1->next[slab] = l1->prev[slab] = slab;
        c->hand_slab = slab;
        c->hand_slot = 0;
    } else { /* just behind the hand: visited last */
        uint32_t after = c->hand_slab, before = l1->prev[after];
        l1->next[before] = l1->prev[after] = slab;
        l1->prev[slab] = before;
        l1->next[slab] = after;
    }
    l1->slab_class[slab] = (uint8_t)class;
}

static void ring_remove(sb_l1 *l1, uint32_t slab)
{
    sb_l1_class *c = &l1->classes[l1->slab_class[slab]];
    l1->next[l1->prev[slab]] = l1->next[slab];
    l1->prev[l1->next[slab]] = l1->prev[slab];
    if (--c->slabs == 0)
        c->hand_slab = SB_L1_NO_SLAB;
    else if (c->hand_slab == slab)
        c->hand_slab = l1->next[slab];
    c->hand_slot = 0;
    if (c->fresh_slab == slab)
        c->fresh_slab = SB_L1_NO_SLAB;
}

void sb_l1_slabs_load(sb_l1 *l1)
{
    memset(l1->classes, 0, sizeof(l1->classes));
    for (unsigned i = 0; i < SB_L1_CLASSES; i++)
        l1->classes[i].hand_slab = l1->classes[i].fresh_slab = SB_L1_NO_SLAB;
    for (uint32_t slab = 0; slab < l1->g.slabs; slab++) {
        uint64_t at = SB_L1_AT_TABLE + (uint64_t)slab * 4;
        uint32_t word = sb_l1_load32(l1->g.base, at, memory_order_relaxed), class = word & 255;
        if (class >= SB_L1_CLASSES || sb_l1_class_bytes(class) > 1u << l1->g.slab_shift)
            class = 0;
        ring_add(l1, class, slab);
        if (class != 0)
            l1->classes[class].survey += slots_per_slab(l1, class);
        if (class != 0 && word >> 8 < slots_per_slab(l1, class)) {
            l1->classes[class].fresh_slab = slab;
            l1->classes[class].fresh_slot = word >> 8;
        }
    }
    /* With few slabs, one for every step of 16 bytes would starve the rest. */
    l1->coarse = l1->g.slabs < 256;
}

unsigned sb_l1_class_for(const sb_l1 *l1, size_t size)
{
    static const uint8_t coarse[] = {6, 8, 12, 16, 24, 32}; /* 96 128 192 256 384 512 bytes */
    if (size > SB_L1_SLOT_MAX)
        return 0;
    unsigned class = (unsigned)((size + SB_L1_UNIT - 1) / SB_L1_UNIT);
    if (class > 32) {
        class = 33;
        while (sb_l1_class_bytes(class) < size)
            class++;
    } else if (l1->coarse) {
        unsigned i = 0;
        while (coarse[i] < class)
            i++;
        class = coarse[i];
    }
    return sb_l1_class_bytes(class) <= 1u << l1->g.slab_shift ? class : 0;
}

void sb_l1_heat_up(sb_l1 *l1, unsigned class)
{
    l1->classes[class].heat++;
    if (++l1->heat < HEAT_HALVING)
        return;
    l1->heat = 0;
    for (unsigned i = 0; i < SB_L1_CLASSES; i++)
        l1->classes[i].heat /= 2;
}

void sb_l1_know(sb_l1 *l1, sb_l1_place place)
{
    if (l1->use[place] & SB_L1_USE_KNOWN)
        return;
    uint64_t way = sb_l1_load64(l1->g.base, sb_l1_place_at(&l1->g, place), memory_order_relaxed);
    l1->use[place] |= SB_L1_USE_KNOWN;
    l1->stats.entries++;
    l1->stats.used_bytes += sb_l1_class_bytes(sb_l1_ref_class(&l1->g, sb_l1_way_ref(way)));
}

static void forget(sb_l1 *l1, sb_l1_place place, uint32_t ref)
{
    if (l1->use[place] & SB_L1_USE_KNOWN) {
        uint64_t bytes = sb_l1_class_bytes(sb_l1_ref_class(&l1->g, ref));
        l1->stats.entries--;
        l1->stats.used_bytes -= bytes < l1->stats.used_bytes ? bytes : l1->stats.used_bytes;
    }
    l1->use[place] = 0;
}

static void free_push(sb_l1 *l1, uint32_t ref)
{
    sb_l1_class *c = &l1->classes[sb_l1_ref_class(&l1->g, ref)];
    if (c == l1->classes)
        return;
    for (uint32_t i = 0; i < c->free_count; i++)
        if (c->free_refs[i] == ref)
            return;
    if (c->free_count == SB_L1_FREE_MAX) {
        c->survey = c->slabs * slots_per_slab(l1, (unsigned)(c - l1->classes));
        return;
    }
    c->free_refs[c->free_count++] = ref;
}

/* The place that rightly refers to the slot; its entry then lies in work. */
static sb_l1_place slot_owner(sb_l1 *l1, uint32_t ref, sb_l1_entry *ret_entry)
{
    if (sb_l1_slot_read(&l1->g, ref, &l1->work, ret_entry) != SB_L1_GOOD)
        return SB_L1_NOWHERE;
    sb_l1_digest d;
    sb_l1_digest_entry(&l1->g, ret_entry, &d);
    uint8_t view_tag = sb_l1_view_tag(ret_entry->view);
    for (unsigned i = 0; i < 2 * SB_L1_WAYS; i++) {
        sb_l1_place place = (sb_l1_place)d.bucket[i / SB_L1_WAYS] * SB_L1_WAYS + i % SB_L1_WAYS;
        uint64_t at = sb_l1_place_at(&l1->g, place);
        uint64_t way = sb_l1_load64(l1->g.base, at, memory_order_relaxed);
        if (sb_l1_way_ref(way) == ref && sb_l1_way_tag(way) == d.tag &&
            sb_l1_way_view(way) == view_tag)
            return place;
    }
    return SB_L1_NOWHERE;
}

void sb_l1_slot_write(sb_l1 *l1, uint32_t ref, const uint8_t *slot, size_t size)
{
    uint64_t at = (uint64_t)ref * SB_L1_UNIT, stamp;
    memcpy(&stamp, slot, sizeof(stamp));
    /* Partner of all three: the loads of sb_l1_slot_read. */
    sb_l1_store64(l1->map.base, at, 0, memory_order_release);
    sb_l1_fence(memory_order_release);
    sb_l1_copy_in(l1->map.base, at + 8, slot + 8, size - 8);
    sb_l1_store64(l1->map.base, at, stamp, memory_order_release);
}

static uint64_t way_set(sb_l1 *l1, sb_l1_place place, uint32_t ref, uint16_t tag, uint8_t view_tag)
{
    uint64_t at = sb_l1_place_at(&l1->g, place);
    uint64_t old = sb_l1_load64(l1->g.base, at, memory_order_relaxed);
    /* release: partner is the acquire load of sb_l1_place_read; the slot is whole before it is
     * found */
    sb_l1_store64(l1->map.base, at, sb_l1_way_make(old, ref, tag, view_tag), memory_order_release);
    return old;
}

void sb_l1_link(sb_l1 *l1, sb_l1_place place, uint32_t ref, uint16_t tag, uint8_t view_tag)
{
    uint64_t old = way_set(l1, place, ref, tag, view_tag);
    uint8_t visited = l1->use[place] & SB_L1_USE_VISITED;
    forget(l1, place, sb_l1_way_ref(old));
    sb_l1_know(l1, place);
    l1->use[place] |= visited; /* a refreshed entry is as popular as before */
    if (sb_l1_way_ref(old) != 0 && sb_l1_way_ref(old) != ref)
        free_push(l1, sb_l1_way_ref(old));
    /* A way left by a power loss may have named the slot before it was ours, and let it be thought
     * free. */
    sb_l1_class *c = &l1->classes[sb_l1_ref_class(&l1->g, ref)];
    for (uint32_t i = 0; i < c->free_count; i++)
        if (c->free_refs[i] == ref)
            c->free_refs[i] = c->free_refs[--c->free_count];
}

/* Empties the place and leaves its slot to the caller. */
static void detach(sb_l1 *l1, sb_l1_place place)
{
    uint64_t old = way_set(l1, place, 0, 0, 0);
    forget(l1, place, sb_l1_way_ref(old));
}

void sb_l1_unlink(sb_l1 *l1, sb_l1_place place)
{
    uint64_t at = sb_l1_place_at(&l1->g, place);
    uint32_t ref = sb_l1_way_ref(sb_l1_load64(l1->g.base, at, memory_order_relaxed));
    sb_l1_entry entry;
    detach(l1, place);
    /* After a power loss a stale way may name a slot that is another's by now. */
    if (slot_owner(l1, ref, &entry) == SB_L1_NOWHERE)
        free_push(l1, ref);
}

static void evict(sb_l1 *l1, sb_l1_place place, bool dead, unsigned class)
{
    if (dead) {
        l1->stats.expired++;
    } else {
        l1->stats.evictions++;
        l1->classes[class].lost++;
    }
    detach(l1, place);
}

/* Slots that need no search. */
static uint32_t take_ready(sb_l1 *l1, unsigned class)
{
    sb_l1_class *c = &l1->classes[class];
    if (c->free_count > 0)
        return c->free_refs[--c->free_count];
    while (c->fresh_slab != SB_L1_NO_SLAB) {
        uint32_t slab = c->fresh_slab;
        uint32_t ref = slot_ref(l1, class, slab, c->fresh_slot++);
        sb_l1_entry entry;
        sb_l1_store32(l1->map.base, SB_L1_AT_TABLE + (uint64_t)slab * 4,
                      c->fresh_slot << 8 | class, memory_order_relaxed);
        if (c->fresh_slot >= slots_per_slab(l1, class))
            c->fresh_slab = SB_L1_NO_SLAB;
        /* The count is a hint: after a power loss it may be older than the slots. */
        if (slot_owner(l1, ref, &entry) == SB_L1_NOWHERE)
            return ref;
    }
    return 0;
}

static void slab_give(sb_l1 *l1, unsigned class, uint32_t slab)
{
    sb_l1_class *c = &l1->classes[class];
    /* release: partner is sb_l1_ref_class; nothing refers into the slab any more */
    sb_l1_store32(l1->map.base, SB_L1_AT_TABLE + (uint64_t)slab * 4, class, memory_order_release);
    ring_add(l1, class, slab);
    c->fresh_slab = slab;
    c->fresh_slot = 0;
}

static uint32_t hand_step(sb_l1 *l1, unsigned class)
{
    sb_l1_class *c = &l1->classes[class];
    uint32_t ref = slot_ref(l1, class, c->hand_slab, c->hand_slot);
    if (++c->hand_slot >= slots_per_slab(l1, class)) {
        c->hand_slab = l1->next[c->hand_slab];
        c->hand_slot = 0;
    }
    return ref;
}

/* The next slot that nothing living holds, within so many steps of the hand. */
static uint32_t take_hole(sb_l1 *l1, unsigned class, uint32_t *steps)
{
    sb_tick now = sb_l1_now(l1);
    while (*steps > 0 && l1->classes[class].slabs > 0) {
        (*steps)--;
        uint32_t ref = hand_step(l1, class);
        sb_l1_entry entry;
        sb_l1_place place = slot_owner(l1, ref, &entry);
        if (place == SB_L1_NOWHERE)
            return ref;
        if (sb_l1_is_dead(&entry, now)) {
            evict(l1, place, true, class);
            return ref;
        }
    }
    return 0;
}

/* After a restart, or more removals than the list of free slots holds, holes are known to nobody:
 * one lap of the hand finds them, a few steps with each put. */
static uint32_t take_surveyed(sb_l1 *l1, unsigned class)
{
    sb_l1_class *c = &l1->classes[class];
    uint32_t steps = c->survey < SURVEY_STEPS ? c->survey : SURVEY_STEPS, left = steps;
    uint32_t ref = take_hole(l1, class, &left);
    c->survey -= steps - left;
    return ref;
}

/* Second chance: the hand passes over what was used since it last came by, and over what is
 * protected. Called when take_ready has nothing. 0: only protected entries (and keep) were met and
 * they are to be spared, or there is no slab. */
static uint32_t take_by_hand(sb_l1 *l1, unsigned class, sb_l1_place keep, bool spare_dear)
{
    sb_l1_class *c = &l1->classes[class];
    if (c->slabs == 0)
        return 0;
    uint32_t hole = take_surveyed(l1, class);
    if (hole != 0)
        return hole;
    sb_tick now = sb_l1_now(l1);
    uint64_t all = (uint64_t)c->slabs * slots_per_slab(l1, class) * 2;
    sb_l1_place used = SB_L1_NOWHERE, dear = SB_L1_NOWHERE;
    uint32_t used_ref = 0, dear_ref = 0;
    for (uint64_t n = 0; n < all && n < HAND_STEPS_DEAR; n++) {
        if (n >= HAND_STEPS && used != SB_L1_NOWHERE)
            break;
        uint32_t ref = hand_step(l1, class);
        sb_l1_entry entry;
        sb_l1_place place = slot_owner(l1, ref, &entry);
        if (place == SB_L1_NOWHERE)
            return ref;
        if (place == keep)
            continue;
        if (sb_l1_is_dead(&entry, now)) {
            evict(l1, place, true, class);
            return ref;
        }
        bool visited = l1->use[place] & SB_L1_USE_VISITED, is_dear = sb_l1_is_dear(&entry);
        if (!visited && !is_dear) {
            evict(l1, place, false, class);
            return ref;
        }
        l1->use[place] &= (uint8_t)~SB_L1_USE_VISITED;
        if (!is_dear && used == SB_L1_NOWHERE) {
            used = place;
            used_ref = ref;
        } else if (is_dear && (dear == SB_L1_NOWHERE || !visited)) {
            dear = place;
            dear_ref = ref;
        }
    }
    if (used == SB_L1_NOWHERE && !spare_dear) {
        used = dear;
        used_ref = dear_ref;
    }
    if (used == SB_L1_NOWHERE)
        return 0;
    evict(l1, used, false, class);
    return used_ref;
}

/* Moves an entry out of a slab that goes to another class, into a slot that is free, or, for a
 * protected one, is made free; false: no room. */
static bool relocate(sb_l1 *l1, unsigned class, uint32_t ref, sb_l1_place place, bool is_dear,
                     uint32_t *steps)
{
    uint32_t to = take_ready(l1, class);
    if (to == 0)
        to = take_hole(l1, class, steps);
    if (to == 0 && is_dear)
        to = take_by_hand(l1, class, place, true);
    sb_l1_entry entry;
    if (to == 0)
        return false;
    if (sb_l1_slot_read(&l1->g, ref, &l1->work, &entry) != SB_L1_GOOD) {
        free_push(l1, to);
        return false;
    }
    sb_l1_slot_write(l1, to, l1->work.bytes,
                     (size_t)(entry.body - l1->work.bytes) + entry.body_size);
    uint64_t at = sb_l1_place_at(&l1->g, place);
    uint64_t way = sb_l1_load64(l1->g.base, at, memory_order_relaxed);
    way_set(l1, place, to, sb_l1_way_tag(way), sb_l1_way_view(way));
    return true;
}

/* Empties the slab under the hand of one class and gives it to another. */
static void slab_move(sb_l1 *l1, unsigned from, unsigned to)
{
    sb_l1_class *c = &l1->classes[from];
    uint32_t slab = c->hand_slab, kept = 0, steps = MOVE_STEPS;
    sb_tick now = sb_l1_now(l1);
    ring_remove(l1, slab);
    for (uint32_t i = 0; i < c->free_count; i++) {
        uint64_t at = (uint64_t)c->free_refs[i] * SB_L1_UNIT - l1->g.slabs_at;
        if (at >> l1->g.slab_shift != slab)
            c->free_refs[kept++] = c->free_refs[i];
    }
    c->free_count = kept;
    c->lost = 0;
    if (steps > c->slabs * slots_per_slab(l1, from))
        steps = c->slabs * slots_per_slab(l1, from);
    for (uint32_t slot = 0; slot < slots_per_slab(l1, from); slot++) {
        uint32_t ref = slot_ref(l1, from, slab, slot);
        sb_l1_entry entry;
        sb_l1_place place = slot_owner(l1, ref, &entry);
        if (place == SB_L1_NOWHERE)
            continue;
        bool dead = sb_l1_is_dead(&entry, now);
        if (dead || !relocate(l1, from, ref, place, sb_l1_is_dear(&entry), &steps))
            evict(l1, place, dead, from);
    }
    slab_give(l1, to, slab);
}

/* The class whose slabs see the least use, other than `but`; 0: none has a slab. */
static unsigned coldest(const sb_l1 *l1, unsigned but)
{
    unsigned best = 0;
    for (unsigned i = 1; i < SB_L1_CLASSES; i++) {
        const sb_l1_class *c = &l1->classes[i], *b = &l1->classes[best];
        if (i != but && c->slabs > 0 && (best == 0 || c->heat * b->slabs < b->heat * c->slabs))
            best = i;
    }
    return best;
}

uint32_t sb_l1_slot_take(sb_l1 *l1, unsigned class, sb_l1_place keep)
{
    sb_l1_class *c = &l1->classes[class];
    sb_l1_heat_up(l1, class);
    uint32_t ref = take_ready(l1, class);
    if (ref != 0)
        return ref;
    if (l1->classes[0].slabs > 0) {
        uint32_t slab = l1->classes[0].hand_slab;
        ring_remove(l1, slab);
        slab_give(l1, class, slab);
        return take_ready(l1, class);
    }
    /* A class that has lost a slab's worth of living entries takes one from a class half as busy.
     * */
    if (c->slabs > 0 && c->lost >= slots_per_slab(l1, class)) {
        c->lost = 0;
        unsigned cold = coldest(l1, class);
        const sb_l1_class *giver = &l1->classes[cold];
        if (cold != 0 && giver->heat * 2 * c->slabs < c->heat * giver->slabs) {
            slab_move(l1, cold, class);
            return take_ready(l1, class);
        }
    }
    ref = take_by_hand(l1, class, keep, true);
    if (ref != 0)
        return ref;
    unsigned cold = coldest(l1, class);
    if (cold != 0) {
        slab_move(l1, cold, class);
        return take_ready(l1, class);
    }
    ref = take_by_hand(l1, class, keep, false);
    return ref != 0 ? ref : take_by_hand(l1, class, SB_L1_NOWHERE, false);
}

sb_l1_place sb_l1_place_take(sb_l1 *l1, const sb_l1_digest *digest)
{
    sb_tick now = sb_l1_now(l1);
    sb_l1_place places[2 * SB_L1_WAYS], best = SB_L1_NOWHERE;
    unsigned best_rank = UINT32_MAX;
    for (unsigned i = 0; i < 2 * SB_L1_WAYS; i++) {
        places[i] = (sb_l1_place)digest->bucket[i / SB_L1_WAYS] * SB_L1_WAYS + i % SB_L1_WAYS;
        uint64_t way =
            sb_l1_load64(l1->g.base, sb_l1_place_at(&l1->g, places[i]), memory_order_relaxed);
        if (sb_l1_way_ref(way) == 0)
            return places[i];
    }
    /* Both buckets are full: second chance among the sixteen, protected last. */
    l1->bucket_hand++;
    for (unsigned i = 0; i < 2 * SB_L1_WAYS; i++) {
        sb_l1_place place = places[(i + l1->bucket_hand) % (2 * SB_L1_WAYS)];
        unsigned tries = SB_L1_TRIES, rank = 0;
        sb_l1_entry entry;
        uint64_t way;
        if (sb_l1_place_read(&l1->g, place, &tries, &l1->work, &entry, &way) == SB_L1_GOOD &&
            sb_l1_belongs(&l1->g, &entry, place, way))
            rank = sb_l1_is_dead(&entry, now)
                       ? 1
                       : 2 + (l1->use[place] & SB_L1_USE_VISITED ? 1u : 0u) +
                             (sb_l1_is_dear(&entry) ? 2u : 0u);
        if (rank < best_rank) {
            best_rank = rank;
            best = place;
        }
    }
    for (unsigned i = 0; i < 2 * SB_L1_WAYS; i++)
        l1->use[places[i]] &= (uint8_t)~SB_L1_USE_VISITED;
    if (best_rank == 0)
        l1->stats.dropped++;
    else if (best_rank == 1)
        l1->stats.expired++;
    else
        l1->stats.evictions++;
    sb_l1_unlink(l1, best);
    return best;
}
