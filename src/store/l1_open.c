/* Opening, moving and closing the cache file, its clock, its epochs (DESIGN §6).
 *
 * Owns the mapping and everything in the header. A file is never reshaped in place: another size
 * or a damaged header means a new inode, renamed in, and the old one marked retired. Whatever is
 * wrong, a working cache comes out, in memory if need be. Work at open is bounded by the slab
 * table, never by the entries. The daemon's loop thread only. */
#include <string.h>

#include "base/mem.h"
#include "store/l1_writer.h"

#define TICK_NS (SB_S / SB_TICKS_PER_S)
#define TICK_START (1u << 24) /* 24 days: what was learned before the file began can be said */
/* Where the clock begins anew when no anchor is left: beyond 8 years of entries, and, by the wall
 * clock, beyond those of the last time it was lost. */
#define TICK_LOST (1u << 31)
#define TICK_LOST_SPREAD (1u << 29) /* two years */
#define TICK_LAST (15u << 28)       /* 16 years: a file that came so far begins anew */
/* A power loss may bring back a header older than the entries: leave them room in the past. */
#define BREAK_TICKS (3600u * SB_TICKS_PER_S)
#define ABSURD_NS (SB_S * 86400 * 3653) /* ten years */

/* What goes on from the file before. */
typedef struct old_header {
    bool known;
    bool anchored;
    sb_l1_anchor anchor;
    uint32_t unknown_before;
    uint64_t stamp;
} old_header;

static void copies_store(sb_l1 *l1, unsigned turn_at, unsigned copy_at, void *value, size_t size)
{
    uint8_t *bytes = value;
    uint32_t sum = sb_l1_sum(bytes, size - 4);
    memcpy(bytes + size - 4, &sum, sizeof(sum));
    uint64_t turn = sb_l1_load64(l1->g.base, turn_at, memory_order_relaxed) + 1;
    /* release fence and store: partners are the acquire loads of copies_load (l1_read.c) */
    sb_l1_fence(memory_order_release);
    sb_l1_copy_in(l1->map.base, copy_at + (turn & 1) * SB_L1_COPY_STRIDE, value, size);
    sb_l1_store64(l1->map.base, turn_at, turn, memory_order_release);
}

static void anchor_store(sb_l1 *l1)
{
    copies_store(l1, SB_L1_AT_ANCHOR_TURN, SB_L1_AT_ANCHOR, &l1->anchor, sizeof(l1->anchor));
}

static void stamp_store(sb_l1 *l1, uint32_t network, uint16_t policy, uint16_t moves)
{
    l1->stamp = (uint64_t)moves << 48 | (uint64_t)policy << 32 | network;
    /* release: partner is sb_l1_servable; what is restamped later comes after */
    sb_l1_store64(l1->map.base, SB_L1_AT_STAMP, l1->stamp, memory_order_release);
}

static void client_store(sb_l1 *l1, const sb_l1_client_settings *client)
{
    sb_l1_client_block block = {.settings = *client};
    sb_l1_client_settings stored;
    if (sb_l1_client_load(l1->g.base, &stored) && memcmp(&stored, client, sizeof(stored)) == 0)
        return;
    copies_store(l1, SB_L1_AT_CLIENT_TURN, SB_L1_AT_CLIENT, &block, sizeof(block));
}

sb_tick sb_l1_tick_at(const sb_l1 *l1, sb_ns at)
{
    int64_t passed;
    if (__builtin_sub_overflow(at, l1->anchor.boot_ns, &passed))
        return at < 0 ? 1 : UINT32_MAX;
    int64_t ticks = passed / TICK_NS - (passed % TICK_NS < 0 ? 1 : 0) + l1->anchor.tick;
    return ticks < 1 ? 1 : ticks > UINT32_MAX ? UINT32_MAX : (sb_tick)ticks;
}

sb_tick sb_l1_now(const sb_l1 *l1)
{
    return sb_l1_tick_at(l1, sb_env_now(l1->env));
}

sb_ns sb_l1_ns_of(const sb_l1 *l1, sb_tick tick)
{
    int64_t ticks = (int64_t)tick - (int64_t)l1->anchor.tick;
    sb_ns at;
    if (__builtin_add_overflow(l1->anchor.boot_ns, ticks * TICK_NS, &at))
        return ticks < 0 ? 0 : SB_NEVER;
    return at;
}

void sb_l1_heartbeat(sb_l1 *l1)
{
    sb_clock clock;
    l1->env->ops->clock(l1->env, &clock);
    sb_tick now = sb_l1_tick_at(l1, clock.boot_ns);
    /* The anchor stays on the beat of whole ticks: moving it to `now` would lose a part of one
     * each second. */
    int64_t passed = (int64_t)now - (int64_t)l1->anchor.tick;
    if (passed > 0) {
        l1->anchor.boot_ns += passed * TICK_NS;
        l1->anchor.tick = now;
    }
    l1->anchor.wall_ns = clock.wall_ns - (clock.boot_ns - l1->anchor.boot_ns);
    anchor_store(l1);
}

/* Continues the file's clock over what happened since (a kill, a reboot, a wall clock that was
 * set). */
static void clock_start(sb_l1 *l1, const old_header *old, uint32_t policy_hash)
{
    sb_clock clock;
    l1->env->ops->clock(l1->env, &clock);
    uint32_t tick = TICK_START, unknown = old->unknown_before;
    if (old->known && !old->anchored) {
        tick = unknown = TICK_LOST + (uint32_t)(clock.wall_ns / TICK_NS) % TICK_LOST_SPREAD;
    } else if (old->known) {
        bool same_boot = memcmp(old->anchor.boot_id, clock.boot_id, sizeof(clock.boot_id)) == 0;
        int64_t passed;
        bool overflow = same_boot
                            ? __builtin_sub_overflow(clock.boot_ns, old->anchor.boot_ns, &passed)
                            : __builtin_sub_overflow(clock.wall_ns, old->anchor.wall_ns, &passed);
        if (overflow || passed < 0 || passed > ABSURD_NS ||
            passed / TICK_NS > (int64_t)TICK_LAST - old->anchor.tick)
            tick = unknown = old->anchor.tick + BREAK_TICKS;
        else
            tick = old->anchor.tick + (uint32_t)(passed / TICK_NS);
    }
    if (unknown > tick) /* damaged: nothing learned from now on would ever be fresh */
        unknown = tick;
    memset(&l1->anchor, 0, sizeof(l1->anchor));
    memcpy(l1->anchor.boot_id, clock.boot_id, sizeof(clock.boot_id));
    l1->anchor.boot_ns = clock.boot_ns;
    l1->anchor.wall_ns = clock.wall_ns;
    l1->anchor.tick = tick;
    l1->anchor.policy_hash = policy_hash;
    /* First what is of unknown age, then the clock: a kill between repeats the break, the reverse
     * would forget it. */
    sb_l1_store32(l1->map.base, SB_L1_AT_UNKNOWN, unknown, memory_order_release);
    anchor_store(l1);
}

static void old_header_load(const sb_l1_reader *reader, old_header *ret)
{
    const void *base = reader->base;
    ret->known = true;
    ret->anchored = sb_l1_anchor_load(base, &ret->anchor);
    ret->unknown_before = sb_l1_load32(base, SB_L1_AT_UNKNOWN, memory_order_relaxed);
    ret->stamp = sb_l1_load64(base, SB_L1_AT_STAMP, memory_order_relaxed);
}

/* Constant header of a zeroed mapping. The magic goes last. */
static void file_format(sb_env *env, const sb_mapping *map)
{
    sb_l1_geometry g;
    uint64_t seed;
    void *base = map->base;
    sb_l1_geometry_plan(map->size, &g);
    env->ops->entropy(env, &seed, sizeof(seed));
    sb_l1_store64(base, SB_L1_AT_UPSTREAMS, SB_L1_MAGIC, memory_order_relaxed);
    sb_l1_store32(base, SB_L1_AT_FORMAT, SB_L1_FORMAT, memory_order_relaxed);
    sb_l1_store32(base, SB_L1_AT_BYTE_ORDER, SB_L1_BYTE_ORDER, memory_order_relaxed);
    sb_l1_store64(base, SB_L1_AT_SIZE, map->size, memory_order_relaxed);
    sb_l1_store64(base, SB_L1_AT_SEED, seed, memory_order_relaxed);
    sb_l1_store32(base, SB_L1_AT_BUCKETS, g.buckets, memory_order_relaxed);
    sb_l1_store32(base, SB_L1_AT_SLABS, g.slabs, memory_order_relaxed);
    sb_l1_store32(base, SB_L1_AT_SLAB_SHIFT, g.slab_shift, memory_order_relaxed);
    sb_l1_store64(base, SB_L1_AT_MAGIC, SB_L1_MAGIC, memory_order_release);
    sb_l1_store32(base, SB_L1_AT_SUM, sb_l1_header_sum(base), memory_order_release);
}

/* Takes a mapping whose header checks and starts its clock. On failure the mapping is still the
 * caller's. */
static sb_status adopt(sb_l1 *l1, const sb_mapping *map, const old_header *old,
                       const sb_l1_options *options, sb_why *why)
{
    sb_status status = sb_l1_reader_init(map->base, map->size, &l1->reader, why);
    if (status != SB_OK || !sb_l1_geometry_load(&l1->reader, &l1->g))
        return status != SB_OK ? status : SB_MALFORMED;
    l1->use = sb_calloc(l1->g.buckets, SB_L1_WAYS);
    l1->next = sb_calloc(l1->g.slabs, sizeof(*l1->next));
    l1->prev = sb_calloc(l1->g.slabs, sizeof(*l1->prev));
    l1->slab_class = sb_calloc(l1->g.slabs, sizeof(*l1->slab_class));
    if (!l1->use || !l1->next || !l1->prev || !l1->slab_class)
        return sb_why_set(why, SB_NOMEM, "out of memory for the cache");
    l1->map = *map;
    l1->in_file = map->in_file;
    sb_l1_slabs_load(l1);
    sb_l1_upstreams_load(l1);
    clock_start(l1, old, options->policy_hash);
    uint16_t policy = (uint16_t)(old->stamp >> 32), moves = (uint16_t)(old->stamp >> 48);
    if (!old->known || !old->anchored || old->anchor.policy_hash != options->policy_hash)
        policy++;
    if (!old->known || old->anchor.clean != 1) {
        /* After a power loss the header may be older than the entries: counting on from it would
         * pass through epochs they were stamped with. */
        uint16_t leap;
        l1->env->ops->entropy(l1->env, &leap, sizeof(leap));
        policy = (uint16_t)(policy + leap);
    }
    stamp_store(l1, (uint32_t)old->stamp, policy, moves);
    client_store(l1, &options->client);
    sb_l1_store32(l1->map.base, SB_L1_AT_RETIRED, 0, memory_order_release);
    return SB_OK;
}

static void fini(sb_l1 *l1)
{
    sb_free(l1->use);
    sb_free(l1->next);
    sb_free(l1->prev);
    sb_free(l1->slab_class);
    l1->use = NULL;
    l1->next = l1->prev = NULL;
    l1->slab_class = NULL;
}

/* Living entries of another file on the same clock. The buffer is lent. */
static void move_entries(sb_l1 *l1, const sb_l1_reader *from, sb_l1_buffer *buffer)
{
    uint64_t cursor = 0;
    sb_l1_entry entry;
    sb_tick now = sb_l1_now(l1);
    while (sb_l1_walk(from, &cursor, buffer, &entry)) {
        if (!sb_l1_is_dead(&entry, now) && sb_l1_store(l1, &entry) == SB_OK)
            l1->stats.moved++; /* else it is too large for a smaller file: counted there */
    }
    l1->stats.evictions = 0;
}

static sb_status open_memory(sb_l1 *l1, const sb_l1_options *options, uint64_t size, sb_why *why)
{
    sb_mapping map;
    static const old_header nothing;
    sb_status status = l1->env->ops->map_memory(l1->env, size, &map, why);
    if (status != SB_OK)
        return SB_NOMEM;
    file_format(l1->env, &map);
    map.in_file = false;
    l1->stats.counted = true;
    status = adopt(l1, &map, &nothing, options, why);
    if (status != SB_OK)
        l1->env->ops->map_close(l1->env, &map);
    return status;
}

/* A new inode in the place of old (NULL: none). `reader`: old's entries are worth moving.
 * SB_NOTFOUND: none could be made, why says so, old is untouched. */
static sb_status open_new(sb_l1 *l1, const sb_l1_options *options, uint64_t size, sb_mapping *old,
                          const sb_l1_reader *reader, sb_why *why)
{
    const sb_env_ops *ops = l1->env->ops;
    sb_why reason = {0};
    sb_mapping map;
    old_header header = {0};
    sb_status status =
        ops->map_create(l1->env, options->path, size, options->mode, options->group, &map, &reason);
    l1->locked_out = status == SB_BUSY;
    if (status != SB_OK)
        return reason.text[0] ? sb_why_set(why, SB_NOTFOUND, "%s", reason.text)
                              : sb_why_set(why, SB_NOTFOUND, "cannot make cache file %s: %s",
                                           options->path, sb_status_text(status));
    file_format(l1->env, &map);
    l1->stats.counted = true;
    if (reader)
        old_header_load(reader, &header);
    status = adopt(l1, &map, &header, options, why);
    if (status != SB_OK) {
        ops->map_close(l1->env, &map);
        return status;
    }
    sb_l1_buffer *buffer = reader ? sb_alloc(sizeof(*buffer)) : NULL;
    if (buffer)
        move_entries(l1, reader, buffer);
    sb_free(buffer);
    if (ops->map_publish(l1->env, &l1->map, &reason) != SB_OK) {
        /* Its memory serves as well; only nobody else will find it. */
        sb_status told = sb_why_set(why, SB_IO, "cannot put cache file %s in place: %s",
                                    options->path, reason.text);
        (void)told;
        l1->in_file = false;
        return SB_OK;
    }
    /* release: partner is sb_l1_reader_header; who sees it finds the new inode at the path */
    if (old)
        sb_l1_store32(old->base, SB_L1_AT_RETIRED, 1, memory_order_release);
    return SB_OK;
}

/* An existing file: as it is, or replaced. SB_NOTFOUND: neither; why says so. */
static sb_status open_old(sb_l1 *l1, const sb_l1_options *options, uint64_t size, sb_mapping *map,
                          sb_why *why)
{
    const sb_env_ops *ops = l1->env->ops;
    sb_why reason = {0};
    sb_l1_reader reader;
    sb_l1_anchor anchor;
    sb_status checked = sb_l1_reader_init(map->base, map->size, &reader, &reason), status;
    if (checked == SB_OK && sb_l1_anchor_load(map->base, &anchor) && anchor.tick >= TICK_LAST)
        checked = sb_why_set(&reason, SB_MALFORMED, "its clock has run out");
    bool ours =
        checked == SB_OK || (checked == SB_MALFORMED && sb_l1_is_ours(map->base, map->size));
    sb_status told = SB_OK;
    if (!ours)
        told = sb_why_set(why, SB_NOTFOUND,
                          checked == SB_MALFORMED
                              ? "cache file %s is not one of ours or its header is destroyed (%s); "
                                "left alone; delete it to have a new one"
                              : "cache file %s: %s; left alone; delete it to have a new one",
                          options->path, reason.text);
    else if (checked != SB_OK)
        told = sb_why_set(why, SB_OK, "cache file %s replaced: %s", options->path, reason.text);
    if (told != SB_OK) {
        ops->map_close(l1->env, map);
        return told;
    }
    /* A copy of what cannot be written serves in any size. */
    if (checked != SB_OK || (reader.size != size && map->in_file)) {
        /* Of a size that is no mapping's, nothing can be retired. */
        sb_mapping *old = map->size >= SB_L1_PAGE ? map : NULL;
        status = open_new(l1, options, size, old, checked == SB_OK ? &reader : NULL, why);
        if (status != SB_NOTFOUND || checked != SB_OK) {
            ops->map_close(l1->env, map);
            return status;
        }
        /* No room for the new size: the old one goes on. */
    }
    old_header header = {0};
    old_header_load(&reader, &header);
    status = adopt(l1, map, &header, options, why);
    if (status != SB_OK)
        ops->map_close(l1->env, map);
    return status;
}

static sb_status open_path(sb_l1 *l1, const sb_l1_options *options, uint64_t size, sb_why *why)
{
    const sb_env_ops *ops = l1->env->ops;
    sb_why reason = {0};
    sb_mapping map;
    sb_file_stat found = {0};
    ops->file_stat(l1->env, options->path, &found);
    /* An empty file cannot be mapped and holds nothing. */
    if (!found.exists || found.size == 0) {
        sb_status made = open_new(l1, options, size, NULL, NULL, why);
        return found.exists && made == SB_OK && !why->text[0]
                   ? sb_why_set(why, SB_OK, "cache file %s replaced: it was empty", options->path)
                   : made;
    }
    sb_status status = ops->map_open(l1->env, options->path, &map, &reason);
    if (status == SB_OK) {
        if (!map.in_file)
            *why = reason;
        return open_old(l1, options, size, &map, why);
    }
    if (status == SB_NOTFOUND)
        return open_new(l1, options, size, NULL, NULL, why);
    l1->locked_out = status == SB_BUSY;
    return reason.text[0] ? sb_why_set(why, SB_NOTFOUND, "%s", reason.text)
                          : sb_why_set(why, SB_NOTFOUND, "cannot use cache file %s: %s",
                                       options->path, sb_status_text(status));
}

static bool is_same_file(const sb_file_stat *a, const sb_file_stat *b)
{
    return a->exists && b->exists && a->inode == b->inode && a->device == b->device;
}

bool sb_l1_still_there(sb_l1 *l1, const char *path, bool *ret_cut)
{
    sb_file_stat now = {0};
    if (!l1->in_file)
        return true;
    l1->env->ops->file_stat(l1->env, path, &now);
    bool same = is_same_file(&now, &l1->seen);
    l1->in_file = same && now.size == l1->seen.size;
    *ret_cut = same && now.size < l1->seen.size;
    return l1->in_file;
}

static uint64_t size_of(const sb_l1_options *options)
{
    uint64_t size = options->size_bytes;
    size = size < SB_L1_SIZE_MIN ? SB_L1_SIZE_MIN : size > SB_L1_FILE_MAX ? SB_L1_FILE_MAX : size;
    return size - size % SB_L1_PAGE;
}

sb_status sb_l1_open(sb_env *env, const sb_l1_options *options, sb_l1 **ret, sb_why *why)
{
    sb_why local;
    if (!why)
        why = &local;
    why->text[0] = 0;
    sb_l1 *l1 = sb_new(sb_l1);
    if (!l1)
        return sb_why_set(why, SB_NOMEM, "out of memory for the cache");
    l1->env = env;
    uint64_t size = size_of(options);
    sb_status status = SB_NOTFOUND;
    if (options->path && options->path[0])
        status = open_path(l1, options, size, why);
    if (l1->in_file)
        env->ops->file_stat(env, options->path, &l1->seen);
    sb_why reason = *why;
    if (status == SB_OK && !l1->map.in_file)
        status =
            sb_why_set(why, SB_OK, "%s; what it holds is served, nothing new is kept", reason.text);
    if (status != SB_OK) {
        fini(l1);
        status = open_memory(l1, options, size, &reason);
        if (status != SB_OK)
            *why = reason;
    }
    if (status != SB_OK) {
        fini(l1);
        sb_free(l1);
        return SB_NOMEM;
    }
    *ret = l1;
    return SB_OK;
}

static sb_tick shifted(sb_tick tick, int64_t shift)
{
    int64_t to = (int64_t)tick + shift;
    if (tick >= UINT32_MAX - 1) /* a pin without end */
        return tick;
    return to < 1 ? 1 : to > UINT32_MAX - 2 ? UINT32_MAX - 2 : (sb_tick)to;
}

/* What was learned in memory, on the file's clock; the next epoch of the file makes the engine
 * judge each anew. */
static void take_learned(sb_l1 *file, const sb_l1 *memory, sb_l1_buffer *buffer)
{
    int64_t shift = (int64_t)sb_l1_now(file) - (int64_t)sb_l1_now(memory);
    uint64_t cursor = 0;
    sb_l1_entry entry, old;
    sb_l1_digest digest;
    sb_l1_place place;
    while (sb_l1_walk(&memory->reader, &cursor, buffer, &entry)) {
        if (sb_l1_is_dead(&entry, sb_l1_now(memory)))
            continue;
        entry.life = (sb_l1_life){
            shifted(entry.life.learned, shift), shifted(entry.life.due, shift),
            shifted(entry.life.expires, shift), shifted(entry.life.stale_until, shift)};
        entry.epoch = sb_l1_policy_epoch(file);
        sb_l1_digest_entry(&file->g, &entry, &digest);
        bool stays =
            sb_l1_lookup(&file->g, &digest, entry.view, &file->work, &old, &place) == SB_OK &&
            ((!(old.flags & SB_L1_AGE_UNKNOWN) && old.life.learned > entry.life.learned) ||
             (old.kind == SB_KIND_POSITIVE && entry.kind != SB_KIND_POSITIVE &&
              ((old.flags & SB_L1_PROTECTED) || (entry.flags & SB_L1_NO_SOA))));
        if (!stays && sb_l1_store(file, &entry) == SB_OK)
            file->stats.moved++; /* else it is too large for the file: counted there */
    }
}

sb_status sb_l1_take_file(sb_l1 *l1, const sb_l1_options *options, sb_l1 **ret_memory, sb_why *why)
{
    sb_l1 *file = sb_new(sb_l1), *memory = sb_alloc(sizeof(*memory));
    sb_l1_buffer *buffer = sb_alloc(sizeof(*buffer));
    sb_status status = sb_why_set(why, SB_NOMEM, "out of memory for the cache file");
    if (!file || !memory || !buffer)
        goto done;
    file->env = l1->env;
    why->text[0] = 0;
    sb_file_stat found = {0};
    file->env->ops->file_stat(file->env, options->path, &found);
    /* The file that is gone, or cut, is as good as one of another size. */
    bool renewed = l1->map.in_file && (!found.exists || is_same_file(&found, &l1->seen));
    status = renewed ? open_new(file, options, size_of(options), &l1->map, &l1->reader, why)
                     : open_path(file, options, size_of(options), why);
    l1->locked_out = file->locked_out;
    if (status != SB_OK && file->locked_out)
        status = SB_BUSY;
    if (status == SB_OK && !file->in_file) { /* made, but not put in place */
        file->env->ops->map_close(file->env, &file->map);
        status = SB_IO;
    }
    if (status != SB_OK)
        goto done;
    file->env->ops->file_stat(file->env, options->path, &file->seen);
    sb_l1_set_network(file, (uint32_t)l1->stamp);
    if (!renewed)
        take_learned(file, l1, buffer);
    sb_l1_bump_policy(file, options->policy_hash, &options->client);
    file->stats.writes += l1->stats.writes; /* of this daemon */
    file->stats.expired += l1->stats.expired;
    file->stats.dropped += l1->stats.dropped;
    file->stats.evictions += l1->stats.evictions;
    file->stats.too_big += l1->stats.too_big;
    *memory = *l1;
    *l1 = *file;
    *ret_memory = memory;
    memory = NULL;
    file->use = NULL; /* l1 has them */
    file->next = file->prev = NULL;
    file->slab_class = NULL;
done:
    if (file)
        fini(file);
    sb_free(file);
    sb_free(memory);
    sb_free(buffer);
    return status;
}

void sb_l1_close(sb_l1 *l1)
{
    if (!l1)
        return;
    l1->anchor.clean = 1;
    sb_l1_heartbeat(l1);
    l1->env->ops->map_flush(l1->env, &l1->map);
    l1->env->ops->map_close(l1->env, &l1->map);
    fini(l1);
    sb_free(l1);
}

bool sb_l1_in_file(const sb_l1 *l1)
{
    return l1->in_file;
}

bool sb_l1_locked_out(const sb_l1 *l1)
{
    return !l1->in_file && l1->locked_out;
}

const sb_l1_reader *sb_l1_reader_of(const sb_l1 *l1)
{
    return &l1->reader;
}

void sb_l1_bump_policy(sb_l1 *l1, uint32_t policy_hash, const sb_l1_client_settings *client)
{
    if (client)
        client_store(l1, client);
    stamp_store(l1, (uint32_t)l1->stamp, (uint16_t)(sb_l1_policy_epoch(l1) + 1),
                (uint16_t)(l1->stamp >> 48));
    l1->anchor.policy_hash = policy_hash;
    sb_l1_heartbeat(l1);
}

void sb_l1_set_network(sb_l1 *l1, uint32_t network)
{
    if (network == (uint32_t)l1->stamp)
        return;
    /* A move bumps the policy epoch as well: entries carry one epoch, and it has to answer for
     * both. */
    stamp_store(l1, network, (uint16_t)(sb_l1_policy_epoch(l1) + 1),
                (uint16_t)((l1->stamp >> 48) + 1));
}
