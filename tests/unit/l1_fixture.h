/* A cache in a fake env, and answers to fill it with: what the tests of the cache file begin with.
 *
 * State of one test program; included once. */
#ifndef SB_TESTS_L1_FIXTURE_H
#define SB_TESTS_L1_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_env.h"
#include "store/l1_format.h"
#include "store/l1_write.h"
#include "support/l1_sample.h"

#define PATH "cache.l1"
#define HOUR (3600 * SB_S)
#define YEAR (SB_S * 86400 * 365)

static fake_env fake;
static sb_l1_buffer buffer;
static sb_why why;
static l1_sample sample, scratch;
static sb_l1_options options;

static inline int setup(void **state)
{
    (void)state;
    fake_env_init(&fake);
    options = (sb_l1_options){
        .path = PATH, .size_bytes = 256 * 1024, .mode = 0600, .group = -1, .policy_hash = 7};
    snprintf(options.client.socket_path, sizeof(options.client.socket_path), "/run/s.sock");
    options.client.ndots = 2;
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    fake_env_fini(&fake);
    return 0;
}

static inline sb_l1 *open_cache(void)
{
    sb_l1 *l1 = NULL;
    assert_int_equal(sb_l1_open(&fake.env, &options, &l1, &why), SB_OK);
    return l1;
}

/* As after SIGKILL: whatever close writes is undone, and nobody holds the lock. */
static inline void kill_cache(sb_l1 *l1)
{
    fake_file *f = fake_env_file(&fake, PATH);
    size_t size = f->size;
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    memcpy(bytes, f->base, size);
    sb_l1_close(l1);
    memcpy(fake_env_file(&fake, PATH)->base, bytes, size);
    free(bytes);
    fake_env_kill(&fake);
}

static inline sb_l1_life life_of(const sb_l1 *l1, uint32_t ttl_s, uint32_t stale_s)
{
    sb_tick now = sb_l1_now(l1);
    return (sb_l1_life){now, now + ttl_s * SB_TICKS_PER_S, now + ttl_s * SB_TICKS_PER_S,
                        now + (ttl_s + stale_s) * SB_TICKS_PER_S};
}

static inline sb_status put_view(sb_l1 *l1, unsigned number, unsigned version, uint32_t view,
                                 size_t filler, uint16_t flags)
{
    l1_sample_make(&sample, number, version, filler);
    sb_l1_life life = life_of(l1, sample.answer.ttl_s, 3 * 86400);
    sb_l1_key key = {.question = &sample.question, .view = view};
    return sb_l1_put(l1, &key, &sample.answer, &life, flags);
}

static inline void put(sb_l1 *l1, unsigned number, unsigned version)
{
    assert_int_equal(
        put_view(l1, number, version, 0, l1_sample_filler(number, version, 500), SB_L1_PLAIN),
        SB_OK);
}

static inline sb_status find(const sb_l1 *l1, unsigned number, uint32_t view, sb_l1_entry *ret)
{
    sb_question question;
    l1_sample_question(number, &question);
    sb_l1_key key = {.question = &question, .view = view};
    return sb_l1_find(sb_l1_reader_of(l1), &key, &buffer, ret);
}

static inline int64_t version_of(const sb_l1 *l1, unsigned number)
{
    sb_l1_entry entry;
    if (find(l1, number, 0, &entry) != SB_OK)
        return -2;
    return l1_sample_check(&entry, number, 500, &scratch);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
