/* The cache file under kill -9, power loss, truncation, replacement and removal, with real
 * processes and a real file.
 *
 * A child writes entries whose content is a function of name and version, and reports each step
 * over a pipe; it is killed at a random instant. What was reported must be served afterwards,
 * whole, and nothing else. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "store/l1_format.h"
#include "store/l1_write.h"
#include "support/l1_sample.h"
#include "support/posix_env.h"
#include "unit/fake_env.h"

#define ABSENT (-2) /* as version_of says it */
#define NAMES_MAX 3000u

/* What the child says: "about to make number's version this" (negative: remove it), and "done". */
typedef struct report {
    uint32_t number;
    int32_t version;
    uint32_t done;
    uint32_t evictions;
} report;

typedef struct plan {
    const char *path;
    size_t size_bytes;
    unsigned names;
    size_t filler_max;
} plan;

static char folder[64], path[96];
static sb_l1_buffer buffer;
static l1_sample sample, scratch;
static uint64_t seed = 20260101;

static int make_folder(void **state)
{
    (void)state;
    const char *where = getenv("TMPDIR");
    snprintf(folder, sizeof(folder), "%.40s/l1-crash-XXXXXX", where ? where : "/tmp");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/cache.l1", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    char other[112];
    snprintf(other, sizeof(other), "%s.new", path);
    unlink(other);
    unlink(path);
    return rmdir(folder);
}

static sb_l1 *open_cache(posix_env *posix, const plan *p, sb_why *why)
{
    sb_l1 *l1 = NULL;
    sb_l1_options options = {
        .path = p->path, .size_bytes = p->size_bytes, .mode = 0600, .group = -1, .policy_hash = 1};
    posix_env_init(posix);
    if (sb_l1_open(&posix->env, &options, &l1, why) != SB_OK)
        return NULL;
    return l1;
}

static sb_status put(sb_l1 *l1, const plan *p, unsigned number, uint32_t version)
{
    l1_sample_make(&sample, number, version, l1_sample_filler(number, version, p->filler_max));
    sb_tick now = sb_l1_now(l1);
    sb_l1_life life = {now, now + 8 * sample.answer.ttl_s, now + 8 * sample.answer.ttl_s,
                       now + 8 * 3 * 86400};
    sb_l1_key key = {.question = &sample.question, .view = 0};
    return sb_l1_put(l1, &key, &sample.answer, &life, SB_L1_PLAIN);
}

/* ABSENT, -1 for an entry that is wrong, or its version. */
static int64_t version_of(const sb_l1_reader *reader, const plan *p, unsigned number)
{
    sb_question question;
    sb_l1_entry entry;
    l1_sample_question(number, &question);
    sb_l1_key key = {.question = &question, .view = 0};
    if (sb_l1_find(reader, &key, &buffer, &entry) != SB_OK)
        return ABSENT;
    return l1_sample_check(&entry, number, p->filler_max, &scratch);
}

/* Writes until it is killed. */
static _Noreturn void child_writes(const plan *p, uint64_t child_seed, uint32_t version, int out)
{
    posix_env posix;
    sb_rand rand;
    sb_l1_stats stats;
    sb_l1 *l1 = open_cache(&posix, p, NULL);
    if (!l1 || !sb_l1_in_file(l1))
        _exit(3);
    sb_rand_seed(&rand, child_seed);
    for (;; version++) {
        unsigned number = (unsigned)sb_rand_below(&rand, p->names);
        uint64_t what = sb_rand_below(&rand, 100);
        report r = {.number = number, .version = what < 90 ? (int32_t)version : -1};
        sb_question question;
        l1_sample_question(number, &question);
        sb_l1_key key = {.question = &question, .view = 0};
        sb_status status = SB_OK;
        if (what < 95) {
            if (write(out, &r, sizeof(r)) != sizeof(r))
                _exit(4);
            status = what < 90 ? put(l1, p, number, version) : sb_l1_remove(l1, &key);
            sb_l1_get_stats(l1, &stats);
            r.done = 1;
            r.evictions = (uint32_t)stats.evictions;
            if (write(out, &r, sizeof(r)) != sizeof(r))
                _exit(4);
        } else if (what < 98) {
            status = sb_l1_restamp(l1, &key, SB_L1_PROTECTED);
        } else if (what < 99) {
            sb_l1_sweep(l1, 8);
        } else {
            sb_l1_heartbeat(l1);
        }
        if (status != SB_OK && status != SB_NOTFOUND)
            _exit(5);
    }
}

typedef struct ledger {
    int64_t version[NAMES_MAX];
    report last; /* done == 0: it was doing that when it died */
    uint32_t evictions;
    uint32_t next_version;
    uint64_t puts;
} ledger;

static void ledger_add(ledger *l, const report *r)
{
    l->last = *r;
    if (!r->done)
        return;
    l->version[r->number] = r->version < 0 ? ABSENT : r->version;
    l->evictions = r->evictions;
    l->puts++;
    if (r->version >= 0)
        l->next_version = (uint32_t)r->version + 1;
}

/* Lets a child write for a while, kills it, and brings the ledger up to its last word. */
static void run_and_kill(const plan *p, sb_rand *rand, ledger *l)
{
    int pipes[2], status;
    uint64_t child_seed = sb_rand_u64(rand);
    int64_t micros = (int64_t)sb_rand_below(rand, 6000);
    report reports[256];
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    l->last = (report){.done = 1};
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(pipes[0]);
        child_writes(p, child_seed, l->next_version + 1, pipes[1]);
    }
    close(pipes[1]);
    struct timespec now, end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    int64_t end_ns = end.tv_sec * SB_S + end.tv_nsec + micros * SB_US;
    bool killed = false;
    for (;;) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        int64_t left = end_ns - (now.tv_sec * SB_S + now.tv_nsec);
        if (left <= 0 && !killed) {
            kill(pid, SIGKILL);
            killed = true;
        }
        struct pollfd fd = {.fd = pipes[0], .events = POLLIN};
        struct timespec patience = {.tv_nsec = left > 0 ? left : 0};
        if (!killed && ppoll(&fd, 1, &patience, NULL) == 0)
            continue;
        ssize_t got = read(pipes[0], reports, sizeof(reports));
        if (got <= 0)
            break;
        assert_int_equal(got % (ssize_t)sizeof(report), 0);
        for (size_t i = 0; i < (size_t)got / sizeof(report); i++)
            ledger_add(l, &reports[i]);
    }
    close(pipes[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(killed && WIFSIGNALED(status));
}

static sb_l1_reader map_reader(const char *name, sb_status expected)
{
    struct stat st;
    sb_l1_reader reader = {0};
    int fd = open(name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    void *base = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    assert_true(base != MAP_FAILED);
    assert_int_equal(sb_l1_reader_init(base, (size_t)st.st_size, &reader, NULL), expected);
    if (expected != SB_OK)
        munmap(base, (size_t)st.st_size);
    return reader;
}

/* Every entry reported and not evicted is served, none torn, none older than its last report. */
static void check_ledger(const sb_l1_reader *reader, const plan *p, ledger *l, bool may_evict)
{
    for (unsigned i = 0; i < p->names; i++) {
        int64_t found = version_of(reader, p, i), expected = l->version[i];
        bool pending = !l->last.done && l->last.number == i;
        int64_t wanted = l->last.version < 0 ? ABSENT : l->last.version;
        if (found == expected || (pending && found == wanted) || (found == ABSENT && may_evict))
            continue;
        fail_msg("seed %llu: name %u has version %lld, not %lld", (unsigned long long)seed, i,
                 (long long)found, (long long)expected);
    }
}

static void kill_many(const plan *p, unsigned kills, bool may_evict)
{
    static ledger l;
    sb_rand rand;
    uint64_t in_flight = 0;
    memset(&l, 0, sizeof(l));
    for (unsigned i = 0; i < NAMES_MAX; i++)
        l.version[i] = ABSENT;
    sb_rand_seed(&rand, seed);
    for (unsigned i = 0; i < kills; i++) {
        run_and_kill(p, &rand, &l);
        in_flight += !l.last.done;
        if (!may_evict)
            assert_int_equal(l.evictions, 0);
        if (access(p->path, F_OK) != 0)
            continue; /* killed before the file was in its place */
        sb_l1_reader reader = map_reader(p->path, SB_OK);
        check_ledger(&reader, p, &l, may_evict);
        posix_env posix;
        sb_why why;
        sb_l1 *l1 = open_cache(&posix, p, &why);
        assert_non_null(l1);
        assert_string_equal(why.text, "");
        assert_true(sb_l1_in_file(l1));
        check_ledger(sb_l1_reader_of(l1), p, &l, may_evict);
        if (i % 16 == 0)
            sb_l1_sweep(l1, UINT32_MAX);
        /* What it died at is settled now; what is gone was evicted. */
        for (unsigned n = 0; n < p->names; n++)
            if (may_evict || (!l.last.done && l.last.number == n))
                l.version[n] = version_of(&reader, p, n);
        sb_l1_stats stats;
        sb_l1_get_stats(l1, &stats);
        assert_int_equal(stats.dropped, 0);
        sb_l1_close(l1);
        munmap((void *)(uintptr_t)reader.base, reader.size);
    }
    print_message("# %u kills, %llu of them within a write, %llu writes\n", kills,
                  (unsigned long long)in_flight, (unsigned long long)l.puts);
    assert_true(l.puts > kills);
}

static void test_kill(void **state)
{
    (void)state;
    /* Room for all: nothing may be missing. */
    static const plan roomy = {path, 1u << 20, 1500, 400};
    kill_many(&roomy, 500, false);
}

static void test_kill_while_evicting(void **state)
{
    (void)state;
    unlink(path);
    static const plan tight = {path, 128 * 1024, NAMES_MAX, 3000};
    kill_many(&tight, 100, true);
}

/* After a power loss a page is what it was at any earlier moment. */
static void check_image(const plan *p, const uint8_t *image, sb_rand *rand, uint32_t latest)
{
    fake_env fake;
    sb_l1 *l1;
    sb_why why;
    sb_l1_options options = {.path = "i", .size_bytes = p->size_bytes, .group = -1};
    fake_env_init(&fake);
    assert_non_null(fake_env_put(&fake, "i", image, p->size_bytes));
    assert_int_equal(sb_l1_open(&fake.env, &options, &l1, &why), SB_OK);
    assert_string_equal(why.text, "");
    for (unsigned round = 0; round < 3; round++) {
        uint64_t cursor = 0;
        sb_l1_entry entry;
        while (sb_l1_walk(sb_l1_reader_of(l1), &cursor, &buffer, &entry)) {
            unsigned number = l1_sample_number(&entry);
            assert_true(number < p->names);
            int64_t version = l1_sample_check(&entry, number, p->filler_max, &scratch);
            assert_true(version >= 0 && version <= latest);
        }
        for (unsigned i = 0; i < p->names; i++) {
            int64_t version = version_of(sb_l1_reader_of(l1), p, i);
            assert_true(version == ABSENT || (version >= 0 && version <= latest));
        }
        /* Life goes on: with the damage as it is, then swept. */
        for (unsigned i = 0; i < 60; i++) {
            unsigned number = (unsigned)sb_rand_below(rand, p->names);
            sb_question question;
            l1_sample_question(number, &question);
            sb_l1_key key = {.question = &question, .view = 0};
            assert_int_equal(put(l1, p, number, i), SB_OK);
            assert_int_equal(version_of(sb_l1_reader_of(l1), p, number), i);
            if (i % 8 == 0) {
                assert_int_equal(sb_l1_remove(l1, &key), SB_OK);
                assert_int_equal(version_of(sb_l1_reader_of(l1), p, number), ABSENT);
            }
        }
        if (round == 1)
            sb_l1_sweep(l1, UINT32_MAX);
    }
    sb_l1_close(l1);
    fake_env_fini(&fake);
}

static void test_power_loss(void **state)
{
    (void)state;
    enum { MOMENTS = 6, IMAGES = 500, SIZE = 192 * 1024 };
    static uint8_t moments[MOMENTS][SIZE], image[SIZE];
    static const plan p = {"i", SIZE, 900, 700};
    fake_env fake;
    sb_l1 *l1;
    sb_rand rand;
    sb_l1_options options = {.path = "i", .size_bytes = SIZE, .group = -1};
    sb_rand_seed(&rand, seed);
    fake_env_init(&fake);
    assert_int_equal(sb_l1_open(&fake.env, &options, &l1, NULL), SB_OK);
    const uint8_t *live = fake_env_file(&fake, "i")->base;
    for (unsigned i = 0; i < MOMENTS; i++)
        memcpy(moments[i], live, SIZE);
    uint32_t version = 0;
    for (unsigned n = 0; n < IMAGES; n++) {
        uint64_t writes = sb_rand_below(&rand, 400);
        for (uint64_t i = 0; i < writes; i++, version++) {
            assert_int_equal(put(l1, &p, (unsigned)sb_rand_below(&rand, p.names), version), SB_OK);
            if (i % 50 == 0) {
                fake_env_pass(&fake, SB_S);
                sb_l1_heartbeat(l1);
                sb_l1_sweep(l1, 16);
            }
        }
        uint64_t old_permille = sb_rand_below(&rand, 1000);
        for (unsigned page = 0; page < SIZE / 4096; page++) {
            const uint8_t *from = sb_rand_chance(&rand, (uint32_t)old_permille)
                                      ? moments[sb_rand_below(&rand, MOMENTS)]
                                      : live;
            memcpy(image + page * 4096, from + page * 4096, 4096);
        }
        check_image(&p, image, &rand, version);
        memcpy(moments[n % MOMENTS], live, SIZE);
    }
    sb_l1_close(l1);
    fake_env_fini(&fake);
}

/* A reader in another process keeps what it mapped, and finds the new file by the retired mark. */
static void test_replaced_and_removed(void **state)
{
    (void)state;
    static const plan small = {path, 256 * 1024, 300, 300}, large = {path, 512 * 1024, 300, 300};
    posix_env posix;
    sb_why why;
    int to_child[2], to_parent[2], status;
    char step;
    unlink(path);
    sb_l1 *l1 = open_cache(&posix, &small, &why);
    for (unsigned i = 0; i < small.names; i++)
        assert_int_equal(put(l1, &small, i, i), SB_OK);
    sb_l1_close(l1);
    assert_int_equal(pipe2(to_child, O_CLOEXEC), 0);
    assert_int_equal(pipe2(to_parent, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(to_child[1]);
        sb_l1_reader old = map_reader(path, SB_OK);
        sb_l1_header_info header;
        unsigned wrong = !sb_l1_reader_header(&old, &header) || header.retired;
        if (write(to_parent[1], "r", 1) != 1 || read(to_child[0], &step, 1) != 1)
            _exit(9);
        wrong += !sb_l1_reader_header(&old, &header) || !header.retired;
        sb_l1_reader new = map_reader(path, SB_OK);
        wrong += !sb_l1_reader_header(&new, &header) || header.retired;
        for (unsigned i = 0; i < small.names; i++)
            wrong += version_of(&old, &small, i) != i || version_of(&new, &small, i) != i;
        if (write(to_parent[1], "r", 1) != 1 || read(to_child[0], &step, 1) != 1)
            _exit(9);
        for (unsigned i = 0; i < small.names; i++) /* the file has no name any more */
            wrong += version_of(&new, &small, i) != i;
        _exit(wrong ? 1 : 0);
    }
    close(to_parent[1]);
    assert_int_equal(read(to_parent[0], &step, 1), 1);
    l1 = open_cache(&posix, &large, &why);
    assert_string_equal(why.text, "");
    assert_int_equal(write(to_child[1], "r", 1), 1);
    assert_int_equal(read(to_parent[0], &step, 1), 1);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(write(to_child[1], "r", 1), 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    sb_l1_close(l1);
    close(to_child[0]);
    close(to_child[1]);
    close(to_parent[0]);
}

/* Truncated by a hostile hand: no reader that comes later maps it. (For readers that have it
 * mapped the edge guards.) */
static void test_truncated(void **state)
{
    (void)state;
    static const plan p = {path, 256 * 1024, 300, 300};
    static const off_t sizes[] = {256 * 1024 - 1, 256 * 1024 - 4096, 128 * 1024, 8192, 4096, 64};
    posix_env posix;
    sb_why why;
    unlink(path);
    sb_l1 *l1 = open_cache(&posix, &p, &why);
    assert_int_equal(put(l1, &p, 1, 1), SB_OK);
    sb_l1_close(l1);
    for (unsigned i = 0; i < SB_ARRAY_SIZE(sizes); i++) {
        assert_int_equal(truncate(path, sizes[i]), 0);
        (void)map_reader(path, SB_MALFORMED);
    }
    /* Grown again: zeroes where entries were. Absent or right, never wrong. */
    l1 = open_cache(&posix, &p, &why);
    assert_true(why.text[0] != 0 && sb_l1_in_file(l1));
    for (unsigned i = 0; i < p.names; i++)
        assert_int_equal(put(l1, &p, i, i), SB_OK);
    sb_l1_close(l1);
    assert_int_equal(truncate(path, 200 * 1024), 0);
    assert_int_equal(truncate(path, 256 * 1024), 0);
    sb_l1_reader reader = map_reader(path, SB_OK);
    for (unsigned i = 0; i < p.names; i++) {
        int64_t version = version_of(&reader, &p, i);
        assert_true(version == ABSENT || version == i);
    }
    munmap((void *)(uintptr_t)reader.base, reader.size);
}

/* Two writers at once: the second works in memory and says why. */
static void test_locked(void **state)
{
    (void)state;
    static const plan p = {path, 256 * 1024, 300, 300};
    posix_env one, two;
    sb_why why;
    unlink(path);
    sb_l1 *first = open_cache(&one, &p, &why);
    assert_true(sb_l1_in_file(first));
    sb_l1 *second = open_cache(&two, &p, &why);
    assert_false(sb_l1_in_file(second));
    assert_non_null(strstr(why.text, "locked"));
    assert_int_equal(put(second, &p, 1, 1), SB_OK);
    assert_int_equal(version_of(sb_l1_reader_of(second), &p, 1), 1);
    assert_int_equal(version_of(sb_l1_reader_of(first), &p, 1), ABSENT);
    sb_l1_close(second);
    sb_l1_close(first);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        seed = strtoull(argv[1], NULL, 10);
    print_message("# seed %llu (give another as argument)\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill),       cmocka_unit_test(test_kill_while_evicting),
        cmocka_unit_test(test_power_loss), cmocka_unit_test(test_replaced_and_removed),
        cmocka_unit_test(test_truncated),  cmocka_unit_test(test_locked),
    };
    return cmocka_run_group_tests_name("l1_crash", tests, make_folder, remove_folder);
}
