/* The timer heap: order, equal keys, removal anywhere, and a long random run against a model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/heap.h"
#include "base/mem.h"
#include "base/rand.h"

static void empty_heap(void **state)
{
    (void)state;
    sb_heap heap;
    sb_heap_node node = {0};
    sb_heap_init(&heap);
    assert_null(sb_heap_min(&heap));
    sb_heap_remove(&heap, &node); /* never queued: nothing happens */
    assert_int_equal(heap.count, 0);
}

static void smallest_key_leaves_first(void **state)
{
    (void)state;
    static const int64_t keys[] = {5, -3, INT64_MAX, 0, INT64_MIN, 7, -3};
    static const int64_t sorted[] = {INT64_MIN, -3, -3, 0, 5, 7, INT64_MAX};
    sb_heap heap;
    sb_heap_node nodes[7];
    sb_heap_init(&heap);
    for (unsigned i = 0; i < 7; i++)
        sb_heap_insert(&heap, &nodes[i], keys[i]);
    for (unsigned i = 0; i < 7; i++) {
        sb_heap_node *min = sb_heap_min(&heap);
        assert_non_null(min);
        assert_int_equal(min->key, sorted[i]);
        sb_heap_remove(&heap, min);
        assert_false(min->queued);
    }
    assert_null(sb_heap_min(&heap));
}

static void equal_keys_leave_in_order_of_arrival(void **state)
{
    (void)state;
    enum { COUNT = 100 };
    sb_heap heap;
    sb_heap_node nodes[COUNT];
    sb_heap_init(&heap);
    for (unsigned i = 0; i < COUNT; i++)
        sb_heap_insert(&heap, &nodes[i], 7);
    /* One that leaves and comes back goes to the end of the queue. */
    sb_heap_remove(&heap, &nodes[10]);
    sb_heap_insert(&heap, &nodes[10], 7);
    for (unsigned i = 0; i < COUNT; i++) {
        unsigned expected = i < 10 ? i : i < COUNT - 1 ? i + 1 : 10;
        assert_ptr_equal(sb_heap_min(&heap), &nodes[expected]);
        sb_heap_remove(&heap, &nodes[expected]);
    }
    assert_int_equal(heap.count, 0);
}

static void removal_is_idempotent(void **state)
{
    (void)state;
    sb_heap heap;
    sb_heap_node a, b;
    sb_heap_init(&heap);
    sb_heap_insert(&heap, &a, 1);
    sb_heap_insert(&heap, &b, 2);
    sb_heap_remove(&heap, &a);
    sb_heap_remove(&heap, &a);
    assert_int_equal(heap.count, 1);
    assert_ptr_equal(sb_heap_min(&heap), &b);
    sb_heap_remove(&heap, &b);
}

/* A hundred thousand timers in order make one list under the root: no recursion may walk it. */
static void long_lists_do_not_recurse(void **state)
{
    (void)state;
    enum { COUNT = 100000 };
    sb_heap_node *nodes = sb_calloc(COUNT, sizeof(*nodes));
    assert_non_null(nodes);
    sb_heap heap;
    sb_heap_init(&heap);
    for (int64_t i = 0; i < COUNT; i++)
        sb_heap_insert(&heap, &nodes[i], i);
    for (int64_t i = 0; i < COUNT; i++) {
        assert_ptr_equal(sb_heap_min(&heap), &nodes[i]);
        sb_heap_remove(&heap, &nodes[i]);
    }
    sb_free(nodes);
}

static sb_heap_node *model_min(sb_heap_node *nodes, unsigned count)
{
    sb_heap_node *min = NULL;
    for (unsigned i = 0; i < count; i++)
        if (nodes[i].queued && (!min || nodes[i].key < min->key ||
                                (nodes[i].key == min->key && nodes[i].order < min->order)))
            min = &nodes[i];
    return min;
}

static void random_run_agrees_with_a_model(void **state)
{
    (void)state;
    enum { COUNT = 64, STEPS = 20000, SEED = 2 };
    sb_heap_node nodes[COUNT] = {0};
    sb_heap heap;
    sb_rand rand;
    sb_heap_init(&heap);
    sb_rand_seed(&rand, SEED);
    uint64_t queued = 0;
    for (unsigned step = 0; step < STEPS; step++) {
        sb_heap_node *node = &nodes[sb_rand_below(&rand, COUNT)];
        if (sb_rand_chance(&rand, 250) && queued) {
            node = sb_heap_min(&heap);
        }
        if (node->queued) {
            sb_heap_remove(&heap, node);
            queued--;
        } else {
            sb_heap_insert(&heap, node, sb_rand_range(&rand, -8, 8)); /* many equal keys */
            queued++;
        }
        assert_int_equal(heap.count, queued);
        assert_ptr_equal(sb_heap_min(&heap), model_min(nodes, COUNT));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_heap),
        cmocka_unit_test(smallest_key_leaves_first),
        cmocka_unit_test(equal_keys_leave_in_order_of_arrival),
        cmocka_unit_test(removal_is_idempotent),
        cmocka_unit_test(long_lists_do_not_recurse),
        cmocka_unit_test(random_run_agrees_with_a_model),
    };
    return cmocka_run_group_tests_name("base_heap", tests, NULL, NULL);
}
