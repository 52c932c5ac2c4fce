/* The chained hash map and SipHash-2-4 (Aumasson and Bernstein, 2012).
 *
 * Keys come from the network, so the hash is keyed: nobody outside can build one long chain. */
#include "base/map.h"

#include <string.h>

#include "base/mem.h"

enum { BUCKETS_FIRST = 16 };

static sb_map_node **bucket_of(const sb_map *map, uint64_t hash);
static void grow(sb_map *map);

sb_status sb_map_init(sb_map *map, const uint8_t secret[16])
{
    sb_map_node **buckets = sb_calloc(BUCKETS_FIRST, sizeof(sb_map_node *));
    if (!buckets)
        return SB_NOMEM;
    *map = (sb_map){.buckets = buckets, .bucket_count = BUCKETS_FIRST};
    memcpy(map->secret, secret, sizeof(map->secret));
    return SB_OK;
}

void sb_map_fini(sb_map *map)
{
    sb_free(map->buckets);
    *map = (sb_map){0};
}

sb_map_node *sb_map_find(const sb_map *map, const void *key, size_t size)
{
    if (map->count == 0)
        return NULL;
    uint64_t hash = sb_siphash(map->secret, key, size);
    for (sb_map_node *node = *bucket_of(map, hash); node; node = node->next)
        if (node->hash == hash && node->key_size == size &&
            (size == 0 || memcmp(node->key, key, size) == 0))
            return node;
    return NULL;
}

void sb_map_insert(sb_map *map, sb_map_node *node, const void *key, size_t size)
{
    if (map->count >= map->bucket_count)
        grow(map);
    node->hash = sb_siphash(map->secret, key, size);
    node->key = key;
    node->key_size = size;
    sb_map_node **bucket = bucket_of(map, node->hash);
    node->next = *bucket;
    *bucket = node;
    map->count++;
}

void sb_map_remove(sb_map *map, sb_map_node *node)
{
    sb_map_node **link = bucket_of(map, node->hash);
    while (*link && *link != node)
        link = &(*link)->next;
    SB_ASSERT(*link == node);
    *link = node->next;
    node->next = NULL;
    map->count--;
}

void sb_map_each(sb_map *map, bool (*visit)(sb_map_node *, void *), void *context)
{
    for (size_t i = 0; i < map->bucket_count; i++) {
        sb_map_node *node = map->buckets[i];
        while (node) {
            sb_map_node *next = node->next; /* read first: visit may remove and free the node */
            if (!visit(node, context))
                return;
            node = next;
        }
    }
}

static uint64_t load_le64(const uint8_t *p)
{
    uint64_t value = 0;
    for (unsigned i = 8; i-- > 0;)
        value = value << 8 | p[i];
    return value;
}

static uint64_t rotate(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

static void sip_rounds(uint64_t v[4], unsigned rounds)
{
    while (rounds-- > 0) {
        v[0] += v[1];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[0] = rotate(v[0], 32);
        v[2] += v[3];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[2] = rotate(v[2], 32);
    }
}

uint64_t sb_siphash(const uint8_t secret[16], const void *data, size_t size)
{
    const uint8_t *p = data;
    uint64_t k0 = load_le64(secret), k1 = load_le64(secret + 8);
    /* The paper's constants: "somepseudorandomlygeneratedbytes". */
    uint64_t v[4] = {k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du,
                     k0 ^ 0x6c7967656e657261u, k1 ^ 0x7465646279746573u};
    size_t whole = size & ~(size_t)7;
    for (size_t i = 0; i < whole; i += 8) {
        uint64_t word = load_le64(p + i);
        v[3] ^= word;
        sip_rounds(v, 2);
        v[0] ^= word;
    }
    uint64_t last = (uint64_t)size << 56;
    for (size_t i = whole; i < size; i++)
        last |= (uint64_t)p[i] << 8 * (i - whole);
    v[3] ^= last;
    sip_rounds(v, 2);
    v[0] ^= last;
    v[2] ^= 0xff;
    sip_rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static sb_map_node **bucket_of(const sb_map *map, uint64_t hash)
{
    return &map->buckets[hash & (map->bucket_count - 1)];
}

static void grow(sb_map *map)
{
    size_t count = map->bucket_count * 2;
    sb_map_node **old = map->buckets;
    size_t old_count = map->bucket_count;
    sb_map_node **buckets = sb_calloc(count, sizeof(sb_map_node *));
    if (!buckets)
        return;
    map->buckets = buckets;
    map->bucket_count = count;
    for (size_t i = 0; i < old_count; i++) {
        sb_map_node *node = old[i];
        while (node) {
            sb_map_node *next = node->next;
            sb_map_node **bucket = bucket_of(map, node->hash);
            node->next = *bucket;
            *bucket = node;
            node = next;
        }
    }
    sb_free(old);
}
