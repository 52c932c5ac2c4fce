/* Memory, arena, list, statuses and the deterministic random numbers. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/status.h"

static void allocation(void **state)
{
    (void)state;
    void *nothing = sb_alloc(0), *more = sb_zalloc(0);
    assert_non_null(nothing);
    assert_non_null(more);
    assert_ptr_not_equal(nothing, more);
    nothing = sb_realloc(nothing, 0); /* size 0 does not free */
    assert_non_null(nothing);
    sb_free(nothing);
    sb_free(more);
    sb_free(NULL);
    /* Volatile, or the compiler warns of exactly what is tested. */
    volatile size_t half = SIZE_MAX / 2 + 2;
    assert_null(sb_calloc(half, 2));
    assert_null(sb_calloc(2, half));
    uint8_t *zeros = sb_calloc(3, 5);
    for (unsigned i = 0; i < 15; i++)
        assert_int_equal(zeros[i], 0);
    sb_free(zeros);
    char *copy = sb_strdup("text");
    assert_string_equal(copy, "text");
    sb_free(copy);
}

static void arena_is_zeroed_aligned_and_bounded(void **state)
{
    (void)state;
    sb_arena arena;
    sb_arena_init(&arena, 64 * 1024);
    size_t total = 0;
    for (size_t size = 0;; size = size * 3 + 1) {
        uint8_t *p = sb_arena_alloc(&arena, size % 5000);
        if (!p)
            break;
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < size % 5000; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xff, size % 5000);
        total += size % 5000;
    }
    assert_true(total <= 64 * 1024 && total > 50 * 1024);
    assert_true(arena.used_bytes <= arena.limit_bytes);
    sb_arena_fini(&arena);
    assert_int_equal(arena.used_bytes, 0);
    assert_non_null(sb_arena_alloc(&arena, 64 * 1024)); /* exactly the limit, after a fini */
    assert_null(sb_arena_alloc(&arena, 1));
    sb_arena_fini(&arena);
    assert_null(sb_arena_alloc(&arena, SIZE_MAX));
    assert_null(sb_arena_alloc(&arena, SIZE_MAX - 20));
    sb_arena_fini(&arena);
}

static void arena_texts(void **state)
{
    (void)state;
    sb_arena arena;
    sb_arena_init(&arena, 48);
    assert_string_equal(sb_arena_text(&arena, "abcdef", 3), "abc");
    assert_string_equal(sb_arena_text(&arena, NULL, 0), "");
    assert_string_equal(sb_arena_strdup(&arena, "fifteen bytes.."), "fifteen bytes..");
    assert_null(sb_arena_strdup(&arena, ""));
    assert_null(sb_arena_text(&arena, "x", SIZE_MAX));
    sb_arena_fini(&arena);
}

typedef struct entry {
    sb_list link;
    int value;
} entry;

static void lists(void **state)
{
    (void)state;
    sb_list a, b;
    entry e[4];
    sb_list_init(&a);
    sb_list_init(&b);
    assert_null(sb_list_pop(&a));
    for (int i = 0; i < 4; i++) {
        e[i].value = i;
        sb_list_init(&e[i].link);
        assert_false(sb_list_linked(&e[i].link));
        sb_list_push(i < 2 ? &a : &b, &e[i].link);
        assert_true(sb_list_linked(&e[i].link));
    }
    sb_list_splice(&a, &b);
    assert_true(sb_list_empty(&b));
    sb_list_splice(&a, &b); /* nothing to move */
    int expected = 0;
    sb_list_each(it, &a)
        assert_int_equal(sb_container_of(it, entry, link)->value, expected++);
    assert_int_equal(expected, 4);
    sb_list_remove(&e[1].link);
    sb_list_remove(&e[1].link);
    sb_list_each_safe(it, &a)
        if (it == &e[2].link)
            sb_list_remove(it);
    assert_ptr_equal(sb_list_pop(&a), &e[0].link);
    assert_ptr_equal(sb_list_pop(&a), &e[3].link);
    assert_true(sb_list_empty(&a));
}

static void statuses(void **state)
{
    (void)state;
    assert_string_equal(sb_status_text(SB_OK), "ok");
    assert_string_equal(sb_status_text(SB_NODATA), "no such record");
    assert_string_equal(sb_status_text(SB_STATUS_COUNT), "unknown status");
    assert_int_equal(sb_status_from_errno(0), SB_OK);
    assert_int_equal(sb_status_from_errno(ECONNREFUSED), SB_CONNREFUSED);
    assert_int_equal(sb_status_from_errno(ENOMEM), SB_NOMEM);
    assert_int_equal(sb_status_from_errno(EAGAIN), SB_AGAIN);
    assert_int_equal(sb_status_from_errno(EACCES), SB_PERM);
    assert_int_equal(sb_status_from_errno(EIO), SB_IO);
    assert_int_equal(sb_status_from_errno(99999), SB_IO);
}

static void why_sentences(void **state)
{
    (void)state;
    sb_why why;
    assert_int_equal(sb_why_set(&why, SB_INVALID, "port %u is out of range", 70000u), SB_INVALID);
    assert_string_equal(why.text, "port 70000 is out of range");
    assert_int_equal(sb_why_set(NULL, SB_IO, "nobody %s", "asks"), SB_IO);
    assert_int_equal(sb_why_set(&why, SB_IO, "%2000d", 1), SB_IO);
    assert_int_equal(strlen(why.text), sizeof(why.text) - 1);
}

static void random_numbers_are_deterministic(void **state)
{
    (void)state;
    sb_rand a, b, c;
    sb_rand_seed(&a, 7);
    sb_rand_seed(&b, 7);
    sb_rand_seed(&c, 8);
    unsigned differing = 0;
    for (unsigned i = 0; i < 100; i++) {
        uint64_t value = sb_rand_u64(&a);
        assert_true(value == sb_rand_u64(&b));
        differing += value != sb_rand_u64(&c);
    }
    assert_true(differing > 95);
    /* The reference implementation from the state {1, 2, 3, 4}. */
    sb_rand reference = {{1, 2, 3, 4}};
    assert_true(sb_rand_u64(&reference) == 11520);
    assert_true(sb_rand_u64(&reference) == 0);
    assert_true(sb_rand_u64(&reference) == 1509978240);
    assert_true(sb_rand_u64(&reference) == 1215971899390074240);
}

static void random_ranges(void **state)
{
    (void)state;
    sb_rand r;
    sb_rand_seed(&r, 1);
    unsigned seen[7] = {0}, chances = 0;
    for (unsigned i = 0; i < 7000; i++) {
        int64_t value = sb_rand_range(&r, -3, 3);
        assert_true(value >= -3 && value <= 3);
        seen[value + 3]++;
        chances += sb_rand_chance(&r, 250);
        assert_true(sb_rand_below(&r, 10) < 10);
    }
    for (unsigned i = 0; i < 7; i++)
        assert_in_range(seen[i], 850, 1150);
    assert_in_range(chances, 1550, 1950);
    assert_int_equal(sb_rand_below(&r, 0), 0);
    assert_int_equal(sb_rand_below(&r, 1), 0);
    assert_int_equal(sb_rand_range(&r, 5, 5), 5);
    (void)sb_rand_range(&r, INT64_MIN, INT64_MAX);
    assert_false(sb_rand_chance(&r, 0));
    assert_true(sb_rand_chance(&r, 1000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocation),
        cmocka_unit_test(arena_is_zeroed_aligned_and_bounded),
        cmocka_unit_test(arena_texts),
        cmocka_unit_test(lists),
        cmocka_unit_test(statuses),
        cmocka_unit_test(why_sentences),
        cmocka_unit_test(random_numbers_are_deterministic),
        cmocka_unit_test(random_ranges),
    };
    return cmocka_run_group_tests_name("base_mem", tests, NULL, NULL);
}
