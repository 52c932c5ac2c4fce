/* One writer and three readers hammer a small cache file: whatever a reader is given is whole and
 * belongs to its question. Run under the thread sanitizer it also shows that every shared byte is
 * an atomic. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "fake_env.h"
#include "store/l1_write.h"
#include "support/l1_sample.h"

#define NAMES 400u /* more than the file holds: slots are taken from under readers */
#define FILLER_MAX 1500u
#define READERS 3u
#if defined(__SANITIZE_THREAD__)
#define WRITES 15000u
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WRITES 15000u
#endif
#endif
#ifndef WRITES
#define WRITES 400000u
#endif
#define READS_MAX 2000000u

typedef struct reader_job {
    const sb_l1_reader *reader;
    unsigned number;
    uint64_t hits, misses, walked;
    const char *wrong;
} reader_job;

static atomic_bool finished; /* release by the writer, acquire by readers */

static void *read_all(void *context)
{
    reader_job *job = context;
    sb_l1_buffer *buffer = malloc(sizeof(*buffer));
    l1_sample *scratch = malloc(sizeof(*scratch));
    sb_rand rand;
    sb_l1_entry entry;
    uint64_t cursor = 0;
    sb_rand_seed(&rand, 100 + job->number);
    for (unsigned i = 0; i < READS_MAX && !job->wrong && buffer && scratch; i++) {
        if (atomic_load_explicit(&finished, memory_order_acquire))
            break;
        if (i % 64 == 0) {
            sb_l1_header_info header;
            sb_clock clock = {.boot_ns = 1000 * SB_S, .boot_id = {1}};
            bool guessed;
            if (!sb_l1_reader_header(job->reader, &header) || header.client.ndots != 2 ||
                sb_l1_reader_tick(job->reader, &clock, &guessed) == 0)
                job->wrong = "header";
        }
        unsigned number;
        if (i % 8 == 0) {
            if (!sb_l1_walk(job->reader, &cursor, buffer, &entry)) {
                cursor = 0;
                continue;
            }
            job->walked++;
            number = l1_sample_number(&entry);
        } else {
            sb_question question;
            number = (unsigned)sb_rand_below(&rand, NAMES);
            l1_sample_question(number, &question);
            sb_l1_key key = {.question = &question, .view = i % 2 ? SB_VIEW_ANY : 0};
            if (sb_l1_find(job->reader, &key, buffer, &entry) != SB_OK) {
                job->misses++;
                continue;
            }
            job->hits++;
        }
        if (number >= NAMES || l1_sample_check(&entry, number, FILLER_MAX, scratch) < 0)
            job->wrong = "entry";
        (void)sb_l1_servable(job->reader, &entry);
    }
    free(scratch);
    free(buffer);
    return NULL;
}

static void write_all(fake_env *fake, sb_l1 *l1)
{
    static l1_sample sample;
    static sb_l1_buffer buffer;
    sb_l1_entry entry;
    sb_rand rand;
    sb_rand_seed(&rand, 7);
    for (unsigned i = 0; i < WRITES; i++) {
        unsigned number = (unsigned)sb_rand_below(&rand, NAMES);
        uint32_t version = (uint32_t)sb_rand_below(&rand, 1000000);
        uint64_t what = sb_rand_below(&rand, 100);
        l1_sample_make(&sample, number, version, l1_sample_filler(number, version, FILLER_MAX));
        sb_l1_key key = {.question = &sample.question, .view = 0};
        sb_tick now = sb_l1_now(l1);
        sb_l1_life life = {now, now + 8 * sample.answer.ttl_s, now + 8 * sample.answer.ttl_s,
                           now + (1u << 22)};
        sb_status status = SB_OK;
        if (what < 70)
            status = sb_l1_put(l1, &key, &sample.answer, &life, SB_L1_PLAIN);
        else if (what < 85)
            status = sb_l1_restamp(l1, &key, (uint16_t)(what & 3));
        else if (what < 90)
            status = sb_l1_remove(l1, &key);
        else if (what < 95)
            status = sb_l1_get(l1, &key, &buffer, &entry);
        else if (what < 97)
            sb_l1_sweep(l1, 4);
        else if (what < 98)
            sb_l1_set_network(l1, i % 5);
        else
            sb_l1_heartbeat(l1);
        if (status != SB_OK && status != SB_NOTFOUND)
            fail_msg("write %u: %s", i, sb_status_text(status));
        if (i % 1000 == 0) {
            sb_l1_client_settings client = {.ndots = 2, .family = i};
            fake_env_pass(fake, SB_S);
            sb_l1_bump_policy(l1, i, &client);
        }
    }
}

static void test_threads(void **state)
{
    (void)state;
    static fake_env fake;
    sb_l1 *l1;
    sb_l1_options options = {
        .path = "small.l1", .size_bytes = SB_L1_SIZE_MIN, .group = -1, .client = {.ndots = 2}};
    pthread_t threads[READERS];
    reader_job jobs[READERS] = {{0}};
    fake_env_init(&fake);
    assert_int_equal(sb_l1_open(&fake.env, &options, &l1, NULL), SB_OK);
    for (unsigned i = 0; i < READERS; i++) {
        jobs[i] = (reader_job){.reader = sb_l1_reader_of(l1), .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, read_all, &jobs[i]), 0);
    }
    write_all(&fake, l1);
    atomic_store_explicit(&finished, true, memory_order_release);
    uint64_t hits = 0;
    for (unsigned i = 0; i < READERS; i++) {
        pthread_join(threads[i], NULL);
        print_message("# reader %u: %llu hits, %llu misses, %llu walked\n", i,
                      (unsigned long long)jobs[i].hits, (unsigned long long)jobs[i].misses,
                      (unsigned long long)jobs[i].walked);
        assert_null(jobs[i].wrong);
        hits += jobs[i].hits;
    }
    assert_true(hits > 100);
    sb_l1_stats stats;
    sb_l1_get_stats(l1, &stats);
    assert_true(stats.evictions > 1000); /* slots did change hands */
    assert_int_equal(stats.dropped, 0);
    sb_l1_close(l1);
    fake_env_fini(&fake);
}

static void *read_one(void *context)
{
    reader_job *job = context;
    sb_l1_buffer *buffer = malloc(sizeof(*buffer));
    l1_sample *scratch = malloc(sizeof(*scratch));
    sb_question question;
    sb_l1_entry entry;
    l1_sample_question(1, &question);
    sb_l1_key key = {.question = &question, .view = 0};
    while (buffer && scratch && !atomic_load_explicit(&finished, memory_order_acquire)) {
        if (sb_l1_find(job->reader, &key, buffer, &entry) != SB_OK)
            job->misses++;
        else if (l1_sample_check(&entry, 1, FILLER_MAX, scratch) < 0)
            job->wrong = "entry";
        else
            job->hits++;
    }
    free(scratch);
    free(buffer);
    return NULL;
}

/* An entry that is replaced and restamped all the time is found all the time. */
static void test_no_false_misses(void **state)
{
    (void)state;
    static fake_env fake;
    static l1_sample sample;
    sb_l1 *l1;
    sb_l1_options options = {.size_bytes = 1u << 20, .group = -1};
    pthread_t thread;
    fake_env_init(&fake);
    assert_int_equal(sb_l1_open(&fake.env, &options, &l1, NULL), SB_OK);
    reader_job job = {.reader = sb_l1_reader_of(l1)};
    atomic_store_explicit(&finished, false, memory_order_release);
    for (uint32_t version = 0; version < WRITES / 2; version++) {
        l1_sample_make(&sample, 1, version, l1_sample_filler(1, version, FILLER_MAX));
        sb_l1_key key = {.question = &sample.question, .view = 0};
        sb_l1_life life = {100, 100 + 8 * sample.answer.ttl_s, 100 + 8 * sample.answer.ttl_s,
                           UINT32_MAX};
        assert_int_equal(sb_l1_put(l1, &key, &sample.answer, &life, 0), SB_OK);
        assert_int_equal(sb_l1_restamp(l1, &key, SB_L1_PLAIN), SB_OK);
        if (version == 0)
            assert_int_equal(pthread_create(&thread, NULL, read_one, &job), 0);
    }
    atomic_store_explicit(&finished, true, memory_order_release);
    pthread_join(thread, NULL);
    print_message("# %llu hits, %llu misses\n", (unsigned long long)job.hits,
                  (unsigned long long)job.misses);
    assert_null(job.wrong);
    assert_true(job.misses <= job.hits / 1000); /* nine tries in a row may fail, rarely */
    sb_l1_close(l1);
    fake_env_fini(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_no_false_misses),
    };
    return cmocka_run_group_tests_name("l1_threads", tests, NULL, NULL);
}
