/* Inside of the cache file's writer: its state, and what its three files lend one another.
 *
 * Nothing outside store/ includes it. The daemon's loop thread only. */
#ifndef SB_STORE_L1_WRITER_H
#define SB_STORE_L1_WRITER_H

#include "store/l1_format.h"
#include "store/l1_write.h"

/* Slots freed in this run and not reused yet; more are found again by the hand. */
#define SB_L1_FREE_MAX 64u
#define SB_L1_NO_SLAB UINT32_MAX

typedef struct sb_l1_class {
    uint32_t slabs;                  /* how many it has; a ring through sb_l1.next */
    uint32_t hand_slab, hand_slot;   /* where the hand points; hand_slab is NO_SLAB without slabs */
    uint32_t fresh_slab, fresh_slot; /* slots from fresh_slot on were never given out in this run */
    uint32_t free_count;
    uint32_t free_refs[SB_L1_FREE_MAX];
    uint32_t survey; /* slots from the hand on among which unknown holes may be */
    uint32_t lost;   /* living entries evicted since it last asked for a slab */
    uint64_t heat;   /* decayed puts and uses */
} sb_l1_class;

/* Volatile knowledge of a place: outside the file, so that reading writes nothing there. */
#define SB_L1_USE_VISITED 0x80u /* second chance */
#define SB_L1_USE_KNOWN 0x40u   /* counted in the statistics */
#define SB_L1_USE_COUNT 0x3fu   /* saturates */

struct sb_l1 {
    sb_env *env;
    sb_mapping map;
    bool in_file;      /* … that is at its path */
    sb_file_stat seen; /* … as it was when it was taken */
    bool locked_out;   /* not in the file because another process holds its lock */
    bool coarse;       /* few slabs: fewer classes are used */
    sb_l1_reader reader;
    sb_l1_geometry g;
    sb_l1_anchor anchor;   /* as in the file */
    uint64_t stamp;        /* as in the file */
    uint8_t *use;          /* one for every place */
    uint32_t *next, *prev; /* rings of slabs */
    uint8_t *slab_class;
    sb_l1_class classes[SB_L1_CLASSES]; /* 0: the slabs of nobody */
    uint64_t heat;                      /* since the last halving */
    uint32_t bucket_hand;               /* where eviction within buckets begins */
    sb_addr upstreams[SB_L1_UPSTREAMS];
    uint32_t upstream_lap[SB_L1_UPSTREAMS]; /* sweep in which it was last met */
    uint32_t lap;
    uint32_t sweep_at; /* bucket */
    sb_l1_stats stats;
    sb_l1_buffer draft; /* the entry being written */
    sb_l1_buffer work;  /* the entry being looked at */
};

/* The epoch entries are stamped with now. */
static inline uint16_t sb_l1_policy_epoch(const sb_l1 *l1)
{
    return (uint16_t)(l1->stamp >> 32);
}
/* Past its last use. */
static inline bool sb_l1_is_dead(const sb_l1_entry *entry, sb_tick now)
{
    return sb_l1_freshness(entry, now) == SB_DEAD;
}
/* Evicted last. */
static inline bool sb_l1_is_dear(const sb_l1_entry *entry)
{
    return (entry->flags & (SB_L1_PROTECTED | SB_L1_PINNED)) != 0;
}

/* l1_alloc.c */
void sb_l1_slabs_load(sb_l1 *l1);
/* Smallest class in use that holds size bytes; 0: none here does. */
unsigned sb_l1_class_for(const sb_l1 *l1, size_t size);
/* A slot nothing refers to; 0 only when the file has not one slab. The entry at keep is spared
 * where possible. */
uint32_t sb_l1_slot_take(sb_l1 *l1, unsigned class, sb_l1_place keep);
void sb_l1_slot_write(sb_l1 *l1, uint32_t ref, const uint8_t *slot, size_t size);
/* Publishes a slot at a place; an older slot of that place becomes free. */
void sb_l1_link(sb_l1 *l1, sb_l1_place place, uint32_t ref, uint16_t tag, uint8_t view_tag);
/* Empties a place; its slot becomes free unless another place rightly refers to it. */
void sb_l1_unlink(sb_l1 *l1, sb_l1_place place);
/* A place in either bucket: an empty one, or the one whose entry had to go. */
sb_l1_place sb_l1_place_take(sb_l1 *l1, const sb_l1_digest *digest);
/* Met a living entry: counted once. */
void sb_l1_know(sb_l1 *l1, sb_l1_place place);
void sb_l1_heat_up(sb_l1 *l1, unsigned class);

/* l1_write.c */
/* Writes an entry with everything it says, its flags and epoch included. SB_LIMIT as sb_l1_put. */
SB_MUST_USE sb_status sb_l1_store(sb_l1 *l1, const sb_l1_entry *entry);
void sb_l1_upstreams_load(sb_l1 *l1);

#endif
