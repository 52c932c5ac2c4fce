/* Opening the cache file: every kind of clock, another size, and every way a file can be wrong. */
#include <time.h>

#include "l1_fixture.h"

typedef struct clock_case {
    const char *name;
    bool reboot;
    sb_ns boot_passed, wall_passed;
    bool unknown;
    sb_freshness is; /* of an entry with 60 s TTL, 3 days stale */
} clock_case;

/* What the file's clock makes of every kind of time, between a kill and the next start. */
static void test_clock_rules(void **state)
{
    (void)state;
    static const clock_case cases[] = {
        {"restart", false, 2 * SB_S, 2 * SB_S, false, SB_FRESH},
        {"restart later", false, 70 * SB_S, 70 * SB_S, false, SB_STALE},
        {"wall clock back a year", false, 2 * SB_S, -YEAR, false, SB_FRESH},
        {"wall clock on a year", false, 2 * SB_S, YEAR, false, SB_FRESH},
        {"suspended for an hour", false, HOUR, HOUR, false, SB_STALE},
        {"boot clock backwards", false, -500 * SB_S, 2 * SB_S, true, SB_STALE},
        {"reboot", true, 0, 30 * SB_S, false, SB_FRESH},
        {"reboot after an hour", true, 0, HOUR, false, SB_STALE},
        {"reboot after a week", true, 0, 7 * 24 * HOUR, false, SB_DEAD},
        {"reboot into the past", true, 0, -HOUR, true, SB_STALE},
        {"reboot into 1970", true, 0, -56 * YEAR, true, SB_STALE},
        {"reboot after 11 years", true, 0, 11 * YEAR, true, SB_STALE},
    };
    for (unsigned i = 0; i < SB_ARRAY_SIZE(cases); i++) {
        const clock_case *c = &cases[i];
        fake_env_fini(&fake);
        fake_env_init(&fake);
        sb_l1 *l1 = open_cache();
        sb_l1_entry e;
        l1_sample_make(&sample, 1, 1, 0);
        sb_l1_life life = life_of(l1, 60, 3 * 86400);
        sb_l1_key key = {.question = &sample.question, .view = 0};
        assert_int_equal(sb_l1_put(l1, &key, &sample.answer, &life, 0), SB_OK);
        sb_l1_heartbeat(l1);
        sb_tick before = sb_l1_now(l1);
        kill_cache(l1);
        if (c->reboot) {
            fake_env_reboot(&fake, c->wall_passed);
        } else {
            fake.clock.boot_ns += c->boot_passed;
            fake.clock.wall_ns += c->wall_passed;
        }
        bool guessed;
        fake_file *f = fake_env_file(&fake, PATH);
        sb_l1_reader reader;
        assert_int_equal(sb_l1_reader_init(f->base, f->size, &reader, &why), SB_OK);
        sb_tick read = sb_l1_reader_tick(&reader, &fake.clock, &guessed);
        assert_int_equal(guessed, c->reboot);
        l1 = open_cache();
        assert_string_equal(why.text, "");
        assert_true(sb_l1_now(l1) >= before);
        if (!c->unknown)
            assert_int_equal(read, sb_l1_now(l1));
        assert_int_equal(find(l1, 1, 0, &e), SB_OK);
        print_message("# %s\n", c->name);
        assert_int_equal(!!(e.flags & SB_L1_AGE_UNKNOWN), c->unknown);
        assert_int_equal(sb_l1_freshness(&e, sb_l1_now(l1)), c->is);
        /* Never dropped for an age nobody knows; what is learned now has an age again. */
        if (c->unknown) {
            fake_env_pass(&fake, 30 * 24 * HOUR);
            sb_l1_heartbeat(l1);
            sb_l1_sweep(l1, UINT32_MAX);
            assert_int_equal(find(l1, 1, 0, &e), SB_OK);
            put(l1, 2, 1);
            assert_int_equal(find(l1, 2, 0, &e), SB_OK);
            assert_int_equal(sb_l1_freshness(&e, sb_l1_now(l1)), SB_FRESH);
            sb_l1_close(l1);
            l1 = open_cache();
            assert_int_equal(find(l1, 1, 0, &e), SB_OK);
            assert_true(e.flags & SB_L1_AGE_UNKNOWN);
        }
        sb_l1_close(l1);
    }
}

static void test_anchor_lost(void **state)
{
    (void)state;
    sb_l1 *l1 = open_cache();
    sb_l1_entry e;
    put(l1, 1, 1);
    sb_l1_close(l1);
    fake_file *f = fake_env_file(&fake, PATH);
    /* One copy gone: the other serves. Both gone: age unknown, nothing dropped. */
    memset(f->base + SB_L1_AT_ANCHOR, 0x55, 64);
    l1 = open_cache();
    assert_int_equal(find(l1, 1, 0, &e), SB_OK);
    assert_false(e.flags & SB_L1_AGE_UNKNOWN);
    sb_l1_close(l1);
    memset(f->base + SB_L1_AT_ANCHOR, 0x55, 1024);
    l1 = open_cache();
    assert_true(sb_l1_in_file(l1));
    assert_int_equal(find(l1, 1, 0, &e), SB_OK);
    assert_true(e.flags & SB_L1_AGE_UNKNOWN);
    sb_l1_close(l1);
}

static void test_another_size(void **state)
{
    (void)state;
    sb_l1 *l1 = open_cache();
    sb_l1_entry e;
    for (unsigned i = 0; i < 300; i++)
        put(l1, i, i);
    sb_l1_set_network(l1, 77);
    sb_l1_close(l1);
    fake_file *f = fake_env_file(&fake, PATH);
    void *old = f->base;
    f->locked = false;
    fake_env_pass(&fake, 10 * SB_S);
    options.size_bytes = 1024 * 1024;
    l1 = open_cache();
    assert_string_equal(why.text, "");
    assert_true(sb_l1_in_file(l1));
    assert_ptr_not_equal(fake_env_file(&fake, PATH)->base, old);
    assert_int_equal(fake_env_file(&fake, PATH)->size, 1024 * 1024);
    for (unsigned i = 0; i < 300; i++)
        assert_int_equal(version_of(l1, i), i);
    sb_l1_header_info header;
    assert_true(sb_l1_reader_header(sb_l1_reader_of(l1), &header));
    assert_int_equal(header.network, 77);
    assert_false(header.retired);
    assert_int_equal(find(l1, 1, 0, &e), SB_OK);
    assert_true(sb_l1_servable(sb_l1_reader_of(l1), &e) || !(e.flags & SB_L1_PLAIN) ||
                e.epoch != header.policy_epoch);
    assert_int_equal(sb_l1_now(l1) - e.life.learned, 10 * SB_TICKS_PER_S);
    sb_l1_close(l1);
    /* Smaller than its entries need: what fits comes along. */
    options.size_bytes = SB_L1_SIZE_MIN;
    l1 = open_cache();
    sb_l1_sweep(l1, UINT32_MAX);
    sb_l1_stats stats;
    sb_l1_get_stats(l1, &stats);
    assert_true(stats.entries > 150);
    sb_l1_close(l1);
    /* No room for another size: the old one goes on. */
    options.size_bytes = 512 * 1024;
    fake.create_fails = SB_NOSPACE;
    l1 = open_cache();
    assert_non_null(strstr(why.text, "no space left"));
    assert_true(sb_l1_in_file(l1));
    sb_l1_get_stats(l1, &stats);
    assert_true(stats.capacity_bytes < SB_L1_SIZE_MIN);
    sb_l1_close(l1);
}

/* Readers of the old inode learn that it is retired. */
static void test_retired(void **state)
{
    (void)state;
    sb_l1_close(open_cache());
    fake_file *f = fake_env_file(&fake, PATH);
    sb_l1_reader reader;
    sb_l1_header_info header;
    assert_int_equal(sb_l1_reader_init(f->base, f->size, &reader, &why), SB_OK);
    assert_true(sb_l1_reader_header(&reader, &header));
    assert_false(header.retired);
    options.size_bytes *= 2;
    sb_l1 *l1 = open_cache();
    assert_true(sb_l1_reader_header(&reader, &header));
    assert_true(header.retired);
    assert_true(sb_l1_reader_header(sb_l1_reader_of(l1), &header));
    assert_false(header.retired);
    sb_l1_close(l1);
    /* Whoever opens a file under its path is its writer, retired or not. */
    f = fake_env_file(&fake, PATH);
    sb_l1_store32(f->base, SB_L1_AT_RETIRED, 1, memory_order_relaxed);
    l1 = open_cache();
    assert_true(sb_l1_reader_header(sb_l1_reader_of(l1), &header));
    assert_false(header.retired);
    sb_l1_close(l1);
}

typedef struct bad_case {
    const char *name, *why;
    void (*harm)(void);
    bool in_file;
} bad_case;

static uint8_t *file_bytes(void)
{
    return fake_env_file(&fake, PATH)->base;
}
static void harm_nothing_there(void)
{
    fake_env_file(&fake, PATH)->path[0] = 'x';
}
static void harm_locked(void)
{
    fake_env_file(&fake, PATH)->locked = true;
}
static void harm_unreadable(void)
{
    fake.open_fails = SB_PERM;
}
static void harm_sum(void)
{
    file_bytes()[SB_L1_AT_SUM] ^= 1;
}
static void harm_layout(void)
{
    sb_l1_store32(file_bytes(), SB_L1_AT_BUCKETS, 1u << 30, memory_order_relaxed);
    sb_l1_store32(file_bytes(), SB_L1_AT_SUM, sb_l1_header_sum(file_bytes()), memory_order_relaxed);
}
static void harm_first_page(void)
{
    memset(file_bytes(), 0xaa, SB_L1_PAGE);
}
static void harm_zeroed(void)
{
    memset(file_bytes(), 0, fake_env_file(&fake, PATH)->size);
}
static void harm_foreign(void)
{
    memset(file_bytes(), 'x', fake_env_file(&fake, PATH)->size);
}
static void harm_foreign_short(void)
{
    fake_env_put(&fake, PATH, "nameserver 192.0.2.1\n", 21);
}
static void harm_newer(void)
{
    sb_l1_store32(file_bytes(), SB_L1_AT_FORMAT, 2, memory_order_relaxed);
}
static void harm_order(void)
{
    sb_l1_store32(file_bytes(), SB_L1_AT_BYTE_ORDER, 0x04030201, memory_order_relaxed);
}
static void harm_truncated(void)
{
    fake_env_file(&fake, PATH)->size = 100 * 1024;
}
static void harm_truncated_to_header(void)
{
    fake_env_file(&fake, PATH)->size = 100;
}
static void harm_empty(void)
{
    fake_env_put(&fake, PATH, NULL, 0);
}
static void harm_disk_full(void)
{
    fake_env_file(&fake, PATH)->path[0] = 'x';
    fake.create_fails = SB_NOSPACE;
}
static void harm_no_rename(void)
{
    fake_env_file(&fake, PATH)->path[0] = 'x';
    fake.publish_fails = SB_PERM;
}

/* A new file is counted from the start, an old one after one lap of the sweep. */
static void test_counted(void **state)
{
    (void)state;
    fake_env_fini(&fake);
    fake_env_init(&fake);
    sb_l1_stats stats;
    sb_l1 *l1 = open_cache();
    put(l1, 1, 1);
    put(l1, 2, 1);
    sb_l1_get_stats(l1, &stats);
    assert_true(stats.counted);
    assert_int_equal(stats.entries, 2);
    sb_l1_close(l1);
    l1 = open_cache();
    sb_l1_get_stats(l1, &stats);
    assert_false(stats.counted);
    sb_l1_sweep(l1, UINT32_MAX);
    sb_l1_get_stats(l1, &stats);
    assert_true(stats.counted);
    assert_int_equal(stats.entries, 2);
    sb_l1_close(l1);
}

/* A working cache every time; in the file, or in memory with one sentence why. */
static void test_bad_files(void **state)
{
    (void)state;
    static const bad_case cases[] = {
        {"absent", "", harm_nothing_there, true},
        {"locked", "locked", harm_locked, false},
        {"unreadable", "cannot open", harm_unreadable, false},
        {"bad checksum", "damaged", harm_sum, true},
        {"impossible layout", "layout", harm_layout, true},
        {"first page lost", "replaced", harm_first_page, true},
        {"zeroed", "replaced", harm_zeroed, true},
        {"foreign", "left alone", harm_foreign, false},
        {"foreign and short", "left alone", harm_foreign_short, false},
        {"newer format", "newer", harm_newer, false},
        {"other byte order", "damaged", harm_order, true},
        {"truncated", "truncated", harm_truncated, true},
        {"truncated to its header", "replaced", harm_truncated_to_header, true},
        {"empty", "empty", harm_empty, true},
        {"disk full", "no space left", harm_disk_full, false},
        {"read-only", "read-only", harm_no_rename, false},
    };
    for (unsigned i = 0; i < SB_ARRAY_SIZE(cases); i++) {
        fake_env_fini(&fake);
        fake_env_init(&fake);
        sb_l1 *l1 = open_cache();
        put(l1, 1, 1);
        sb_l1_close(l1);
        cases[i].harm();
        uint8_t kept[64] = {0};
        if (fake_env_file(&fake, PATH) && fake_env_file(&fake, PATH)->size >= 64)
            memcpy(kept, file_bytes(), 64);
        l1 = open_cache();
        print_message("# %s: %s\n", cases[i].name, why.text);
        assert_int_equal(sb_l1_in_file(l1), cases[i].in_file);
        if (cases[i].why[0] == 0)
            assert_string_equal(why.text, "");
        else
            assert_non_null(strstr(why.text, cases[i].why));
        if (!cases[i].in_file && fake_env_file(&fake, PATH) &&
            fake_env_file(&fake, PATH)->size >= 64)
            assert_memory_equal(kept, file_bytes(), 64);
        assert_int_equal(version_of(l1, 1), -2);
        put(l1, 2, 2);
        assert_int_equal(version_of(l1, 2), 2);
        sb_l1_close(l1);
        fake_env_kill(&fake);
        fake.open_fails = SB_OK;
        if (cases[i].in_file) {
            l1 = open_cache();
            assert_string_equal(why.text, "");
            assert_int_equal(version_of(l1, 2), 2);
            sb_l1_close(l1);
        }
    }
}

/* What can be read but not written is served from a copy, whatever size is wanted, as far as it
 * checks; the file stays as it is. */
static void test_read_only(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        bool damaged = i == 2, foreign = i == 3;
        sb_l1_entry e;
        sb_l1_stats stats;
        fake_env_fini(&fake);
        fake_env_init(&fake);
        options.size_bytes = 256 * 1024;
        sb_l1 *l1 = open_cache(), *memory = NULL;
        put(l1, 1, 1);
        sb_l1_set_network(l1, 77);
        sb_l1_close(l1);
        if (i == 1)
            options.size_bytes = 1024 * 1024;
        if (damaged)
            harm_sum();
        if (foreign)
            harm_foreign();
        fake_env_pass(&fake, HOUR);
        fake_file *f = fake_env_file(&fake, PATH);
        uint8_t *before = malloc(f->size);
        assert_non_null(before);
        memcpy(before, f->base, f->size);
        fake.read_only = true;
        fake.create_fails = SB_PERM;
        l1 = open_cache();
        print_message("# %s\n", why.text);
        assert_false(sb_l1_in_file(l1) || sb_l1_locked_out(l1));
        if (damaged || foreign) {
            assert_int_equal(version_of(l1, 1), -2);
            assert_null(strstr(why.text, "is served"));
        } else {
            assert_non_null(strstr(why.text, "read-only"));
            assert_non_null(strstr(why.text, "is served, nothing new is kept"));
            assert_int_equal(version_of(l1, 1), 1);
            assert_int_equal(find(l1, 1, 0, &e), SB_OK);
            assert_int_equal(sb_l1_now(l1) - e.life.learned, 3600 * SB_TICKS_PER_S);
            assert_false(e.flags & SB_L1_AGE_UNKNOWN);
            sb_l1_sweep(l1, UINT32_MAX);
            sb_l1_get_stats(l1, &stats);
            assert_int_equal(stats.entries, 1);
        }
        put(l1, 2, 2);
        assert_int_equal(version_of(l1, 2), 2);
        /* A copy is no file to move to. */
        assert_int_not_equal(sb_l1_take_file(l1, &options, &memory, &why), SB_OK);
        assert_null(memory);
        assert_null(strstr(why.text, "is served"));
        sb_l1_close(l1);
        assert_memory_equal(before, fake_env_file(&fake, PATH)->base, f->size);
        free(before);
        fake.read_only = false;
        fake.create_fails = SB_OK;
    }
}

static void test_memory_only(void **state)
{
    (void)state;
    options.path = NULL;
    options.size_bytes = 1;
    sb_l1 *l1 = open_cache();
    assert_false(sb_l1_in_file(l1));
    assert_string_equal(why.text, "");
    put(l1, 1, 1);
    assert_int_equal(version_of(l1, 1), 1);
    sb_l1_close(l1);
    sb_l1_close(NULL);
}

static void test_large_file_opens_at_once(void **state)
{
    (void)state;
    options.size_bytes = (size_t)1 << 30;
    sb_l1 *l1 = open_cache();
    put(l1, 1, 1);
    sb_l1_close(l1);
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    l1 = open_cache();
    assert_int_equal(version_of(l1, 1), 1);
    clock_gettime(CLOCK_MONOTONIC, &to);
    sb_l1_close(l1);
    int64_t passed = (to.tv_sec - from.tv_sec) * SB_S + to.tv_nsec - from.tv_nsec;
    print_message("# 1 GiB opened in %lld us\n", (long long)(passed / SB_US));
    assert_true(passed < 1000 * SB_MS); /* a scan takes longer, a sanitizer or a busy machine not */
}

static void deny(sb_l1 *l1, unsigned number)
{
    l1_sample_make(&sample, number, 1, 0);
    sample.answer.kind = SB_KIND_NXDOMAIN;
    sb_l1_life life = life_of(l1, 60, 3 * 86400);
    sb_l1_key key = {.question = &sample.question, .view = 0};
    assert_int_equal(sb_l1_put(l1, &key, &sample.answer, &life, 0), SB_OK);
}

/* Locked out of the file, it takes it as soon as it is free, with what memory knows better. */
static void test_lock_is_freed(void **state)
{
    (void)state;
    sb_l1_entry e;
    sb_l1 *l1 = open_cache(), *memory = NULL;
    for (unsigned i = 0; i < 4; i++)
        put(l1, i, 1);
    assert_int_equal(put_view(l1, 4, 1, 0, 0, SB_L1_PROTECTED), SB_OK);
    sb_l1_close(l1);
    fake_env_file(&fake, PATH)->locked = true;
    fake_env_pass(&fake, HOUR); /* the clocks of file and memory differ */
    l1 = open_cache();
    assert_true(sb_l1_locked_out(l1));
    assert_int_equal(sb_l1_take_file(l1, &options, &memory, &why), SB_BUSY);
    assert_non_null(strstr(why.text, "locked"));
    assert_true(sb_l1_locked_out(l1) && !sb_l1_in_file(l1) && !memory);
    put(l1, 1, 2); /* newer than the file's */
    deny(l1, 2);
    deny(l1, 4);
    put(l1, 9, 1); /* new */
    fake_env_pass(&fake, 10 * SB_S);
    fake_env_file(&fake, PATH)->locked = false;
    assert_int_equal(sb_l1_take_file(l1, &options, &memory, &why), SB_OK);
    assert_true(sb_l1_in_file(l1) && !sb_l1_locked_out(l1));
    assert_int_equal(version_of(memory, 9), 1); /* whoever still reads it */
    sb_l1_close(memory);
    assert_int_equal(version_of(l1, 0), 1);
    assert_int_equal(version_of(l1, 1), 2);
    assert_int_equal(version_of(l1, 9), 1);
    assert_int_equal(find(l1, 2, 0, &e), SB_OK);
    assert_int_equal(e.kind, SB_KIND_NXDOMAIN);
    assert_int_equal(find(l1, 4, 0, &e), SB_OK); /* protected: no match for a memory without past */
    assert_int_equal(e.kind, SB_KIND_POSITIVE);
    assert_int_equal(find(l1, 0, 0, &e), SB_OK);
    assert_int_equal((sb_l1_now(l1) - e.life.learned) / SB_TICKS_PER_S, 3610);
    assert_int_equal(find(l1, 9, 0, &e), SB_OK);
    assert_int_equal((sb_l1_now(l1) - e.life.learned) / SB_TICKS_PER_S, 10);
    assert_false(sb_l1_servable(sb_l1_reader_of(l1), &e)); /* before the engine has judged it */
    put(l1, 10, 1);
    kill_cache(l1);
    l1 = open_cache();
    assert_string_equal(why.text, "");
    assert_int_equal(version_of(l1, 9), 1);
    assert_int_equal(version_of(l1, 10), 1);
    sb_l1_close(l1);
}

/* Removed, cut or replaced under the daemon: what is known goes into a new file. */
static void test_file_lost(void **state)
{
    (void)state;
    static const char *const ways[] = {"removed", "cut", "replaced"};
    for (unsigned way = 0; way < SB_ARRAY_SIZE(ways); way++) {
        print_message("# %s\n", ways[way]);
        fake_env_fini(&fake);
        fake_env_init(&fake);
        sb_l1 *l1 = open_cache(), *memory = NULL;
        sb_l1_entry e;
        sb_l1_stats stats;
        bool cut = false;
        for (unsigned i = 0; i < 4; i++)
            put(l1, i, 1);
        sb_l1_heartbeat(l1);
        fake_env_pass(&fake, 10 * SB_S);
        assert_true(sb_l1_still_there(l1, PATH, &cut));
        sb_tick before = sb_l1_now(l1);
        fake_file *f = fake_env_file(&fake, PATH);
        size_t size = f->size;
        if (way == 1)
            f->size = 4096;
        else
            f->path[0] = 0;
        if (way == 2)
            assert_non_null(fake_env_put(&fake, PATH, NULL, 0));
        assert_false(sb_l1_still_there(l1, PATH, &cut));
        assert_true(way == 2 || cut == (way == 1)); /* the fake gives an inode again */
        assert_false(sb_l1_in_file(l1) || sb_l1_locked_out(l1));
        assert_true(sb_l1_still_there(l1, PATH, &cut)); /* told once */
        put(l1, 5, 1);
        fake.create_fails = SB_NOSPACE;
        assert_int_equal(sb_l1_take_file(l1, &options, &memory, &why), SB_NOTFOUND);
        assert_non_null(strstr(why.text, "no space"));
        assert_int_equal(version_of(l1, 5), 1);
        fake.create_fails = SB_OK;
        assert_int_equal(sb_l1_take_file(l1, &options, &memory, &why), SB_OK);
        f->size = size; /* for munmap */
        assert_true(sb_l1_in_file(l1) && sb_l1_still_there(l1, PATH, &cut));
        sb_l1_get_stats(l1, &stats);
        assert_int_equal(stats.moved, 5);
        assert_int_equal(version_of(memory, 3), 1); /* whoever still reads it */
        sb_l1_close(memory);
        assert_true(way == 2 || sb_l1_now(l1) == before); /* one clock */
        put(l1, 6, 1);
        kill_cache(l1);
        l1 = open_cache();
        assert_string_equal(why.text, "");
        for (unsigned i = 0; i < 7; i++)
            assert_int_equal(version_of(l1, i), i == 4 ? -2 : 1);
        assert_int_equal(find(l1, 3, 0, &e), SB_OK);
        assert_int_equal((sb_l1_now(l1) - e.life.learned) / SB_TICKS_PER_S, 10);
        sb_l1_close(l1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_lock_is_freed),
        TEST(test_clock_rules),
        TEST(test_anchor_lost),
        TEST(test_another_size),
        TEST(test_retired),
        TEST(test_bad_files),
        TEST(test_file_lost),
        TEST(test_read_only),
        TEST(test_memory_only),
        TEST(test_counted),
        TEST(test_large_file_opens_at_once),
    };
    return cmocka_run_group_tests_name("l1_open", tests, NULL, NULL);
}
