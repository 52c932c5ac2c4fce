/* Arbitrary bytes as a cache file: for a reader in any process, and for the writer that opens it.
 * Whatever they are, every read stays in bounds, every entry given out is bounded, and a put is
 * found again.
 *
 * First byte even: the rest is the file. Odd: the rest is a program that damages a valid file of
 * 64 KiB: it pokes bytes anywhere, and makes slots of arbitrary bytes that carry a right checksum
 * and stand in the index. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/l1_format.h"
#include "store/l1_write.h"
#include "support/l1_sample.h"
#include "unit/fake_env.h"

#define PATH "f"
#define SIZE SB_L1_SIZE_MIN

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static sb_l1_buffer buffer;
static l1_sample sample;
static volatile uint32_t sink;

static void check(bool right)
{
    if (!right)
        abort();
}

static void check_entry(const sb_l1_entry *e)
{
    uint32_t sum = 0;
    check(e->body_size > 0 && e->body_size <= 65535 && e->ttl_count <= SB_ANSWER_TTLS_MAX);
    check(e->body >= buffer.bytes && e->body + e->body_size <= buffer.bytes + sizeof(buffer.bytes));
    for (size_t i = 0; i < e->body_size; i++)
        sum += e->body[i];
    for (size_t i = 0; i < e->ttl_count; i++) {
        check(e->ttl_at[i] + 4u <= e->body_size);
        sum += sb_load_u32(e->body + e->ttl_at[i]);
    }
    sb_answer_parts parts = sb_l1_parts(e);
    check(parts.kind >= SB_KIND_POSITIVE && parts.kind <= SB_KIND_FAILURE);
    sink = sum;
}

static void read_all(const void *base, size_t size)
{
    sb_l1_reader reader;
    sb_l1_header_info header;
    sb_l1_entry entry;
    sb_why why;
    sb_clock clock = {.boot_ns = 1000 * SB_S, .boot_id = {1}};
    bool guessed;
    uint64_t cursor = 0;
    if (sb_l1_reader_init(base, size, &reader, &why) != SB_OK)
        return;
    if (sb_l1_reader_header(&reader, &header))
        sink = (uint32_t)(strlen(header.client.socket_path) + strlen(header.client.search));
    check(sb_l1_reader_tick(&reader, &clock, &guessed) > 0);
    for (unsigned i = 0; i < 2000 && sb_l1_walk(&reader, &cursor, &buffer, &entry); i++) {
        check_entry(&entry);
        sink = sb_l1_servable(&reader, &entry);
    }
    for (unsigned i = 0; i < 16; i++) {
        sb_question question;
        l1_sample_question(i, &question);
        sb_l1_key key = {.question = &question, .view = i % 2 ? SB_VIEW_ANY : 0};
        if (sb_l1_find(&reader, &key, &buffer, &entry) == SB_OK)
            check_entry(&entry);
    }
}

/* A slot of the given bytes, signed and put into the index where a reader looks for it. */
static void plant(uint8_t *base, const sb_l1_geometry *g, sb_reader *in)
{
    uint8_t slot[4096] = {0};
    uint32_t slab = sb_read_u8(in) % g->slabs, class = sb_read_u8(in) % SB_L1_CLASSES;
    uint32_t within = sb_read_u8(in), where = sb_read_u8(in);
    size_t given = sb_read_u16(in) % (sizeof(slot) - 8);
    given = given < sb_reader_left(in) ? given : sb_reader_left(in);
    sb_read_copy(in, slot + 8, given);
    uint32_t bytes = sb_l1_class_bytes(class);
    if (bytes == 0 || bytes > 4096)
        return;
    uint64_t at = g->slabs_at + ((uint64_t)slab << g->slab_shift) + within % (4096 / bytes) * bytes;
    uint32_t counts, kind, origin;
    memcpy(&counts, slot + SB_L1_SLOT_COUNTS, 4);
    memcpy(&kind, slot + SB_L1_SLOT_KIND, 4);
    memcpy(&origin, slot + SB_L1_SLOT_ORIGIN, 4);
    size_t size = SB_L1_SLOT_HEADER + 4u * (unsigned)__builtin_popcount(origin >> 12 & 15) +
                  2 * (counts >> 20 & 0x3ff) + (kind & 0xffff);
    if (size > bytes)
        size = bytes > SB_L1_SLOT_HEADER ? bytes : SB_L1_SLOT_HEADER;
    uint64_t stamp = sb_l1_slot_stamp(g, slot, size, (uint16_t)where, (uint16_t)(where >> 4));
    memcpy(slot, &stamp, 8);
    memcpy(base + at, slot, bytes);
    memcpy(base + SB_L1_AT_TABLE + 4 * slab, &class, 4);
    sb_l1_entry entry;
    uint32_t bucket = where % g->buckets;
    sb_l1_digest digest = {.bucket = {bucket, bucket}, .tag = (uint16_t)where};
    uint32_t ref = (uint32_t)(at / SB_L1_UNIT), view = 0;
    if (sb_l1_slot_read(g, ref, &buffer, &entry) == SB_L1_GOOD) {
        check_entry(&entry);
        view = entry.view;
        sb_l1_digest_entry(g, &entry, &digest);
    }
    uint64_t way = sb_l1_way_make(0, ref, digest.tag, sb_l1_view_tag(view));
    memcpy(base + g->index_at + digest.bucket[where & 1] * SB_L1_BUCKET + where % 8 * 8, &way, 8);
}

static void damage(uint8_t *base, const sb_l1_geometry *g, sb_reader in)
{
    while (sb_reader_left(&in) > 3) {
        uint8_t what = sb_read_u8(&in);
        if (what & 1) {
            plant(base, g, &in);
            continue;
        }
        size_t at = sb_read_u16(&in), given = sb_read_u8(&in);
        given = given < sb_reader_left(&in) ? given : sb_reader_left(&in);
        given = given < SIZE - at ? given : SIZE - at;
        sb_read_copy(&in, base + at, given);
        if (what & 2)
            sb_l1_store32(base, SB_L1_AT_SUM, sb_l1_header_sum(base), memory_order_relaxed);
    }
}

static void write_all(fake_env *fake)
{
    sb_l1 *l1;
    sb_why why;
    sb_l1_entry entry;
    sb_l1_options options = {.path = PATH, .size_bytes = SIZE, .group = -1, .policy_hash = 1};
    if (sb_l1_open(&fake->env, &options, &l1, &why) != SB_OK)
        return;
    for (unsigned i = 0; i < 24; i++) {
        l1_sample_make(&sample, i, i, l1_sample_filler(i, i, 1500));
        sb_tick now = sb_l1_now(l1);
        sb_l1_life life = {now, now + 8, now + 8, now + 80};
        sb_l1_key key = {.question = &sample.question, .view = 0};
        if (sb_l1_put(l1, &key, &sample.answer, &life, SB_L1_PLAIN) == SB_OK) {
            check(sb_l1_get(l1, &key, &buffer, &entry) == SB_OK);
            check(entry.body_size == sample.answer.body_size &&
                  memcmp(entry.body, sample.body, entry.body_size) == 0);
            check(sb_l1_restamp(l1, &key, SB_L1_PROTECTED) == SB_OK);
            sb_l1_used(l1, &key);
        }
        if (i % 5 == 0)
            check(sb_l1_remove(l1, &key) != SB_LIMIT);
    }
    sb_l1_sweep(l1, UINT32_MAX);
    sb_name root = {.size = 1};
    read_all(sb_l1_reader_of(l1)->base, sb_l1_reader_of(l1)->size);
    (void)sb_l1_remove_below(l1, &root);
    sb_l1_heartbeat(l1);
    sb_l1_close(l1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fake_env fake;
    if (size < 1 || size > 2 * SIZE)
        return 0;
    fake_env_init(&fake);
    if (data[0] & 1) {
        sb_l1 *l1;
        sb_l1_geometry g;
        sb_l1_options options = {.path = PATH, .size_bytes = SIZE, .group = -1, .policy_hash = 1};
        check(sb_l1_open(&fake.env, &options, &l1, NULL) == SB_OK);
        check(sb_l1_geometry_load(sb_l1_reader_of(l1), &g));
        sb_l1_close(l1);
        damage(fake_env_file(&fake, PATH)->base, &g, sb_reader_of(data + 1, size - 1));
    } else {
        fake_env_put(&fake, PATH, data + 1, size - 1);
    }
    /* A block of exactly its size: a sanitizer sees the first byte beyond. */
    const fake_file *file = fake_env_file(&fake, PATH);
    void *copy = aligned_alloc(16, (file->size + 15) & ~(size_t)15);
    check(copy != NULL);
    memcpy(copy, file->base, file->size);
    read_all(copy, file->size);
    free(copy);
    write_all(&fake);
    fake_env_fini(&fake);
    return 0;
}
