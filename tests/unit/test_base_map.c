/* The hash map, its removal while walking, and SipHash-2-4 against its authors' vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/map.h"
#include "base/mem.h"

enum { COUNT = 1000 };

typedef struct item {
    sb_map_node node;
    char key[16];
    unsigned visits;
} item;

static const uint8_t secret[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static void siphash_reference_vectors(void **state)
{
    (void)state;
    /* Appendix A of the paper, and the first lines of vectors.h of the reference code. */
    static const struct {
        size_t size;
        uint64_t hash;
    } table[] = {
        {0, 0x726fdb47dd0e0e31}, {1, 0x74f839c593dc67fd}, {2, 0x0d6c8009d9a94f5a},
        {3, 0x85676696d7fb7e2d}, {7, 0xab0200f58b01d137}, {8, 0x93f5f5799a932462},
        {15, 0xa129ca6149be45e5},
    };
    uint8_t message[15];
    for (uint8_t i = 0; i < sizeof(message); i++)
        message[i] = i;
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++)
        assert_true(sb_siphash(secret, message, table[i].size) == table[i].hash);
    uint8_t other[16] = {1};
    assert_true(sb_siphash(other, message, 15) != table[6].hash);
}

static item *filled_map(sb_map *map)
{
    item *items = sb_calloc(COUNT, sizeof(*items));
    assert_non_null(items);
    assert_int_equal(sb_map_init(map, secret), SB_OK);
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(items[i].key, sizeof(items[i].key), "key-%u", i);
        sb_map_insert(map, &items[i].node, items[i].key, strlen(items[i].key));
    }
    return items;
}

static void finds_what_was_inserted(void **state)
{
    (void)state;
    sb_map map;
    item *items = filled_map(&map);
    assert_int_equal(map.count, COUNT);
    assert_true(map.bucket_count >= COUNT / 2); /* it grew */
    for (unsigned i = 0; i < COUNT; i++)
        assert_ptr_equal(sb_map_find(&map, items[i].key, strlen(items[i].key)), &items[i].node);
    assert_null(sb_map_find(&map, "key-1000", 8));
    assert_null(sb_map_find(&map, "key-1", 4)); /* a part of a key is another key */
    assert_null(sb_map_find(&map, "", 0));
    sb_map_fini(&map);
    sb_free(items);
}

static void removes_and_takes_back(void **state)
{
    (void)state;
    sb_map map;
    item *items = filled_map(&map);
    for (unsigned i = 0; i < COUNT; i += 2)
        sb_map_remove(&map, &items[i].node);
    assert_int_equal(map.count, COUNT / 2);
    for (unsigned i = 0; i < COUNT; i++) {
        sb_map_node *found = sb_map_find(&map, items[i].key, strlen(items[i].key));
        assert_ptr_equal(found, i % 2 ? &items[i].node : NULL);
    }
    for (unsigned i = 0; i < COUNT; i += 2)
        sb_map_insert(&map, &items[i].node, items[i].key, strlen(items[i].key));
    assert_int_equal(map.count, COUNT);
    assert_ptr_equal(sb_map_find(&map, "key-10", 6), &items[10].node);
    sb_map_fini(&map);
    sb_free(items);
}

static bool count_and_remove_some(sb_map_node *node, void *context)
{
    item *it = sb_container_of(node, item, node);
    it->visits++;
    if (it->key[strlen(it->key) - 1] != '7') {
        sb_map_remove(context, node);
        memset(node, 0xa5, sizeof(*node)); /* as if freed: the walk must not look at it again */
    }
    return true;
}

static bool stop_at_third(sb_map_node *node, void *context)
{
    (void)node;
    unsigned *visits = context;
    return ++*visits < 3;
}

static void walks_while_nodes_leave(void **state)
{
    (void)state;
    sb_map map;
    item *items = filled_map(&map);
    unsigned visits = 0;
    sb_map_each(&map, stop_at_third, &visits);
    assert_int_equal(visits, 3);
    sb_map_each(&map, count_and_remove_some, &map);
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(items[i].visits, 1);
    assert_int_equal(map.count, COUNT / 10);
    assert_ptr_equal(sb_map_find(&map, "key-997", 7), &items[997].node);
    assert_null(sb_map_find(&map, "key-998", 7));
    sb_map_fini(&map);
    sb_free(items);
}

static void empty_key_is_a_key(void **state)
{
    (void)state;
    sb_map map;
    sb_map_node node, other;
    assert_int_equal(sb_map_init(&map, secret), SB_OK);
    assert_null(sb_map_find(&map, "", 0));
    sb_map_insert(&map, &node, NULL, 0);
    sb_map_insert(&map, &other, "\0", 1);
    assert_ptr_equal(sb_map_find(&map, "x", 0), &node);
    assert_ptr_equal(sb_map_find(&map, "\0", 1), &other);
    sb_map_remove(&map, &node);
    sb_map_remove(&map, &other);
    assert_int_equal(map.count, 0);
    sb_map_fini(&map);
    sb_map_fini(&map); /* harmless twice */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(siphash_reference_vectors), cmocka_unit_test(finds_what_was_inserted),
        cmocka_unit_test(removes_and_takes_back),    cmocka_unit_test(walks_while_nodes_leave),
        cmocka_unit_test(empty_key_is_a_key),
    };
    return cmocka_run_group_tests_name("base_map", tests, NULL, NULL);
}
