/* The cache file: keys, views, epochs, life, eviction, damage. */
#include "l1_fixture.h"

static void test_put_get(void **state)
{
    (void)state;
    sb_l1 *l1 = open_cache();
    assert_string_equal(why.text, "");
    assert_true(sb_l1_in_file(l1));
    for (unsigned i = 0; i < 300; i++)
        put(l1, i, i * 3);
    for (unsigned i = 0; i < 300; i++)
        assert_int_equal(version_of(l1, i), i * 3);
    assert_int_equal(version_of(l1, 300), -2);
    put(l1, 5, 99);
    assert_int_equal(version_of(l1, 5), 99);
    sb_l1_stats stats;
    sb_l1_get_stats(l1, &stats);
    assert_int_equal(stats.entries, 300);
    assert_int_equal(stats.evictions, 0);
    assert_int_equal(stats.writes, 301);
    sb_question question;
    l1_sample_question(5, &question);
    sb_l1_key key = {.question = &question, .view = 0};
    assert_int_equal(sb_l1_remove(l1, &key), SB_OK);
    assert_int_equal(sb_l1_remove(l1, &key), SB_NOTFOUND);
    assert_int_equal(version_of(l1, 5), -2);
    sb_l1_close(l1);
}

static void test_key_is_whole(void **state)
{
    (void)state;
    sb_l1 *l1 = open_cache();
    sb_l1_entry entry;
    put(l1, 1, 1);
    sb_question q;
    l1_sample_question(1, &q);
    sb_l1_key key = {.question = &q, .view = 0};
    q.name.wire[1] = 'H'; /* case does not matter */
    assert_int_equal(sb_l1_get(l1, &key, &buffer, &entry), SB_OK);
    q.dnssec_ok = true;
    assert_int_equal(sb_l1_get(l1, &key, &buffer, &entry), SB_NOTFOUND);
    q.dnssec_ok = false;
    q.checking_disabled = true;
    assert_int_equal(sb_l1_get(l1, &key, &buffer, &entry), SB_NOTFOUND);
    q.checking_disabled = false;
    q.type = 28;
    assert_int_equal(sb_l1_get(l1, &key, &buffer, &entry), SB_NOTFOUND);
    q.type = 1;
    q.class = 3;
    assert_int_equal(sb_l1_get(l1, &key, &buffer, &entry), SB_NOTFOUND);
    q.class = 1;
    key.view = 1;
    assert_int_equal(sb_l1_get(l1, &key, &buffer, &entry), SB_NOTFOUND);
    /* The answer has to be one to that question. */
    l1_sample_make(&sample, 2, 1, 0);
    sb_l1_life life = life_of(l1, 60, 60);
    key.view = 0;
    assert_int_equal(sb_l1_put(l1, &key, &sample.answer, &life, 0), SB_INVALID);
    sb_l1_close(l1);
}

static void test_fields_survive(void **state)
{
    (void)state;
    sb_l1 *l1 = open_cache();
    l1_sample_make(&sample, 9, 1, 40);
    sb_answer *a = &sample.answer;
    a->rcode = 3;
    a->kind = SB_KIND_NXDOMAIN;
    a->source = SB_SOURCE_MDNS;
    a->protocol = SB_PROTOCOL_TLS;
    a->ttl_s = 1234567; /* not what life says */
    a->network = 0xdeadbeef;
    a->ede = 9;
    a->flags = SB_ANSWER_NO_SOA | SB_ANSWER_CHAIN_OPEN | SB_ANSWER_ADDRESSES;
    a->upstream = (sb_addr){.family = SB_FAMILY_6, .port = 853, .scope = 3};
    memset(a->upstream.bytes, 0xfe, 16);
    sb_l1_life life = {100, 200, 305, UINT32_MAX};
    sample.question.dnssec_ok = sample.question.checking_disabled = true;
    sb_l1_key key = {.question = &sample.question, .view = 0xabcdef01};
    assert_int_equal(sb_l1_put(l1, &key, a, &life, SB_L1_PLAIN | SB_L1_PROTECTED), SB_OK);
    sb_l1_entry e;
    assert_int_equal(sb_l1_get(l1, &key, &buffer, &e), SB_OK);
    assert_memory_equal(&e.life, &life, sizeof(life));
    assert_int_equal(e.view, 0xabcdef01);
    assert_int_equal(e.network, 0xdeadbeef);
    assert_int_equal(e.flags, SB_L1_PLAIN | SB_L1_PROTECTED | SB_L1_NO_SOA | SB_L1_CHAIN_OPEN);
    assert_int_equal(e.rcode, 3);
    assert_int_equal(e.kind, SB_KIND_NXDOMAIN);
    assert_int_equal(e.source, SB_SOURCE_MDNS);
    assert_int_equal(e.protocol, SB_PROTOCOL_TLS);
    assert_int_equal(e.ttl_s, 1234567);
    assert_int_equal(e.ede, 9);
    assert_memory_equal(&e.upstream, &a->upstream, sizeof(e.upstream));
    assert_true(e.dnssec_ok && e.checking_disabled);
    sb_answer_parts parts = sb_l1_parts(&e);
    assert_int_equal(parts.flags, a->flags);
    assert_int_equal(parts.body_size, a->body_size);
    assert_memory_equal(parts.body, a->body, a->body_size);
    assert_memory_equal(parts.ttl_at, a->ttl_at, 2 * (size_t)a->ttl_count);
    assert_int_equal(parts.ancount, a->ancount);
    sb_l1_close(l1);
}

static void test_views(void **state)
{
    (void)state;
    sb_l1 *l1 = open_cache();
    sb_l1_entry e;
    unsigned number = 77;
    for (uint32_t view = 0; view < 6; view++)
        assert_int_equal(put_view(l1, number, view, view, 0, SB_L1_PLAIN), SB_OK);
    for (uint32_t view = 0; view < 6; view++) {
        assert_int_equal(find(l1, number, view, &e), SB_OK);
        assert_int_equal(e.view, view);
        assert_int_equal(l1_sample_check(&e, number, 0, &scratch), view);
    }
    assert_int_equal(put_view(l1, number, 0, SB_VIEW_ANY, 0, 0), SB_INVALID);
    /* The wildcard: of the header's network, else public; pins never. */
    assert_int_equal(put_view(l1, number, 50, SB_VIEW_PIN, 0, SB_L1_PINNED), SB_OK);
    sb_l1_set_network(l1, 0x1000);
    assert_int_equal(find(l1, number, SB_VIEW_ANY, &e), SB_OK);
    assert_true(e.view == 0 || e.network == 0);
    l1_sample_make(&sample, number, 60, 0);
    sample.answer.network = 0x1000;
    sb_l1_life life = life_of(l1, 60, 60);
    sb_l1_key key = {.question = &sample.question, .view = 9};
    assert_int_equal(sb_l1_put(l1, &key, &sample.answer, &life, SB_L1_PLAIN), SB_OK);
    for (uint32_t view = 1; view < 6; view++) {
        key.view = view;
        assert_int_equal(sb_l1_remove(l1, &key), SB_OK);
    }
    assert_int_equal(find(l1, number, SB_VIEW_ANY, &e), SB_OK);
    assert_int_equal(e.view, 9);
    sb_l1_set_network(l1, 0x2000);
    assert_int_equal(find(l1, number, SB_VIEW_ANY, &e), SB_OK);
    assert_int_equal(e.view, 0);
    key.view = 0;
    assert_int_equal(sb_l1_remove(l1, &key), SB_OK);
    assert_int_equal(find(l1, number, SB_VIEW_ANY, &e), SB_NOTFOUND);
    assert_int_equal(find(l1, number, SB_VIEW_PIN, &e), SB_OK);
    sb_l1_close(l1);
}

static void test_epochs(void **state)
{
    (void)state;
    sb_l1 *l1 = open_cache();
    sb_l1_entry e;
    sb_question q;
    sb_l1_header_info before, after;
    l1_sample_question(1, &q);
    sb_l1_key key = {.question = &q, .view = 0};
    put(l1, 1, 1);
    assert_int_equal(find(l1, 1, 0, &e), SB_OK);
    assert_true(sb_l1_servable(sb_l1_reader_of(l1), &e));
    assert_true(sb_l1_reader_header(sb_l1_reader_of(l1), &before));
    sb_l1_bump_policy(l1, 8, NULL);
    assert_false(sb_l1_servable(sb_l1_reader_of(l1), &e));
    uint16_t own = e.flags & SB_L1_CONTENT_FLAGS;
    assert_int_equal(sb_l1_restamp(l1, &key, SB_L1_PLAIN | SB_L1_PROTECTED), SB_OK);
    assert_int_equal(find(l1, 1, 0, &e), SB_OK);
    assert_int_equal(l1_sample_check(&e, 1, 500, &scratch), 1);
    assert_int_equal(e.flags, SB_L1_PLAIN | SB_L1_PROTECTED | own);
    assert_true(sb_l1_servable(sb_l1_reader_of(l1), &e));
    sb_l1_set_network(l1, 3);
    assert_false(sb_l1_servable(sb_l1_reader_of(l1), &e));
    assert_int_equal(sb_l1_restamp(l1, &key, 0), SB_OK);
    assert_int_equal(find(l1, 1, 0, &e), SB_OK);
    assert_false(sb_l1_servable(sb_l1_reader_of(l1), &e)); /* not plain */
    assert_true(sb_l1_reader_header(sb_l1_reader_of(l1), &after));
    assert_int_equal(after.network, 3);
    assert_int_equal(after.network_epoch, before.network_epoch + 1);
    assert_int_equal(after.policy_epoch, before.policy_epoch + 2);
    /* The same policy at the next start keeps the epoch, another bumps it. */
    options.policy_hash = 8;
    sb_l1_close(l1);
    l1 = open_cache();
    assert_true(sb_l1_reader_header(sb_l1_reader_of(l1), &before));
    assert_int_equal(before.policy_epoch, after.policy_epoch);
    assert_int_equal(before.network, 3);
    options.policy_hash = 9;
    options.client.ndots = 4;
    sb_l1_close(l1);
    l1 = open_cache();
    assert_true(sb_l1_reader_header(sb_l1_reader_of(l1), &before));
    assert_int_equal(before.policy_epoch, after.policy_epoch + 1);
    assert_int_equal(before.client.ndots, 4);
    assert_string_equal(before.client.socket_path, "/run/s.sock");
    assert_false(before.writer_clean);
    sb_l1_close(l1);
    sb_l1_reader reader;
    fake_file *f = fake_env_file(&fake, PATH);
    assert_int_equal(sb_l1_reader_init(f->base, f->size, &reader, &why), SB_OK);
    assert_true(sb_l1_reader_header(&reader, &before));
    assert_true(before.writer_clean);
    assert_false(before.retired);
}

static void test_remove_many(void **state)
{
    (void)state;
    sb_l1 *l1 = open_cache();
    for (unsigned i = 0; i < 100; i++)
        put(l1, i, 1);
    assert_int_equal(put_view(l1, 7, 2, 12, 0, 0), SB_OK);
    sb_question q;
    l1_sample_question(7, &q);
    assert_int_equal(sb_l1_remove_name(l1, &q.name), 2);
    assert_int_equal(version_of(l1, 7), -2);
    sb_name suffix = {.size = 9, .wire = "\7example"};
    assert_int_equal(sb_l1_remove_below(l1, &suffix), 99);
    uint64_t cursor = 0;
    sb_l1_entry e;
    assert_false(sb_l1_walk(sb_l1_reader_of(l1), &cursor, &buffer, &e));
    put(l1, 1, 1);
    assert_int_equal(put_view(l1, 1, 1, SB_VIEW_PIN, 0, SB_L1_PINNED), SB_OK);
    sb_name root = {.size = 1};
    assert_int_equal(sb_l1_remove_below(l1, &root), 1);
    assert_int_equal(find(l1, 1, SB_VIEW_PIN, &e), SB_OK); /* an operator's word is not cache */
    sb_l1_key pin = {.question = &q, .view = SB_VIEW_PIN};
    l1_sample_question(1, &q);
    assert_int_equal(sb_l1_remove(l1, &pin), SB_OK);
    sb_l1_stats stats;
    sb_l1_get_stats(l1, &stats);
    assert_int_equal(stats.entries, 0);
    assert_int_equal(stats.used_bytes, 0);
    sb_l1_close(l1);
}

/* Kept for one network beside what holds everywhere: gone with a denial, whatever the network. */
static void test_tentative(void **state)
{
    (void)state;
    sb_l1 *l1 = open_cache();
    sb_question q;
    sb_l1_entry e;
    put(l1, 7, 1);
    assert_int_equal(put_view(l1, 7, 2, 12, 0, SB_L1_PLAIN | SB_L1_TENTATIVE), SB_OK);
    assert_int_equal(put_view(l1, 7, 3, 13, 0, SB_L1_PLAIN | SB_L1_TENTATIVE), SB_OK);
    assert_int_equal(put_view(l1, 7, 4, 14, 0, SB_L1_PLAIN), SB_OK);
    assert_int_equal(put_view(l1, 8, 2, 12, 0, SB_L1_PLAIN | SB_L1_TENTATIVE), SB_OK);
    l1_sample_question(7, &q);
    sb_l1_key key = {.question = &q, .view = 12};
    assert_int_equal(sb_l1_restamp(l1, &key, SB_L1_PLAIN), SB_OK); /* it stays what it is */
    assert_int_equal(find(l1, 7, 12, &e), SB_OK);
    assert_true(e.flags & SB_L1_TENTATIVE);
    assert_int_equal(sb_l1_remove_tentative(l1, &q), 2);
    assert_int_equal(find(l1, 7, 12, &e), SB_NOTFOUND);
    assert_int_equal(find(l1, 7, 13, &e), SB_NOTFOUND);
    assert_int_equal(find(l1, 7, 14, &e), SB_OK);
    assert_int_equal(find(l1, 8, 12, &e), SB_OK);
    assert_int_equal(version_of(l1, 7), 1);
    sb_l1_close(l1);
}

static void test_walk_and_sweep(void **state)
{
    (void)state;
    sb_l1 *l1 = open_cache();
    for (unsigned i = 0; i < 200; i++)
        put(l1, i, i);
    kill_cache(l1);
    l1 = open_cache();
    assert_string_equal(why.text, "");
    bool seen[200] = {false};
    uint64_t cursor = 0;
    sb_l1_entry e;
    unsigned met = 0;
    while (sb_l1_walk(sb_l1_reader_of(l1), &cursor, &buffer, &e)) {
        unsigned number = l1_sample_number(&e);
        assert_true(number < 200 && !seen[number]);
        assert_int_equal(l1_sample_check(&e, number, 500, &scratch), number);
        seen[number] = true;
        met++;
    }
    assert_int_equal(met, 200);
    sb_l1_stats stats;
    sb_l1_get_stats(l1, &stats);
    assert_int_equal(stats.entries, 0);
    sb_l1_sweep(l1, UINT32_MAX);
    sb_l1_get_stats(l1, &stats);
    assert_int_equal(stats.entries, 200);
    assert_true(stats.used_bytes > 200 * 80 && stats.used_bytes < stats.capacity_bytes);
    /* Past their last use, the sweep takes them. */
    fake_env_pass(&fake, 4 * 24 * HOUR);
    sb_l1_heartbeat(l1);
    assert_int_equal(find(l1, 3, 0, &e), SB_OK);
    assert_int_equal(sb_l1_freshness(&e, sb_l1_now(l1)), SB_DEAD);
    for (unsigned i = 0; i < 10000; i++)
        sb_l1_sweep(l1, 1);
    sb_l1_get_stats(l1, &stats);
    assert_int_equal(stats.entries, 0);
    assert_int_equal(stats.expired, 200);
    assert_int_equal(stats.used_bytes, 0);
    sb_l1_close(l1);
}

static void test_use_counts(void **state)
{
    (void)state;
    sb_l1 *l1 = open_cache();
    sb_question q;
    sb_l1_entry e;
    l1_sample_question(1, &q);
    sb_l1_key key = {.question = &q, .view = 0};
    assert_int_equal(sb_l1_uses(l1, &key), 0);
    put(l1, 1, 1);
    assert_int_equal(sb_l1_uses(l1, &key), 0);
    sb_l1_used(l1, &key);
    assert_int_equal(sb_l1_get(l1, &key, &buffer, &e), SB_OK);
    assert_int_equal(sb_l1_uses(l1, &key), 2);
    for (unsigned i = 0; i < 1000; i++)
        sb_l1_used(l1, &key);
    assert_true(sb_l1_uses(l1, &key) >= 60);
    put(l1, 1, 2); /* learned anew */
    assert_int_equal(sb_l1_uses(l1, &key), 0);
    sb_l1_close(l1);
}

/* A full cache of unused entries: the used one and the protected one stay. */
static void test_second_chance(void **state)
{
    (void)state;
    options.size_bytes = SB_L1_SIZE_MIN;
    sb_l1 *l1 = open_cache();
    sb_question q;
    l1_sample_question(0, &q);
    sb_l1_key key = {.question = &q, .view = 0};
    sb_l1_entry e;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(put_view(l1, i, i, 0, 0, i == 1 ? SB_L1_PROTECTED : 0), SB_OK);
    for (unsigned i = 10; i < 5000; i++) {
        if (i % 16 == 0)
            sb_l1_used(l1, &key);
        assert_int_equal(put_view(l1, i, i, 0, 0, 0), SB_OK);
        assert_int_equal(find(l1, i, 0, &e), SB_OK);
        assert_int_equal(l1_sample_check(&e, i, 0, &scratch), i);
    }
    assert_int_equal(find(l1, 0, 0, &e), SB_OK);
    assert_int_equal(find(l1, 1, 0, &e), SB_OK);
    assert_int_equal(find(l1, 2, 0, &e), SB_NOTFOUND);
    assert_int_equal(find(l1, 100, 0, &e), SB_NOTFOUND);
    sb_l1_stats stats;
    sb_l1_get_stats(l1, &stats);
    assert_true(stats.evictions > 4000);
    assert_true(stats.used_bytes * 10 > stats.capacity_bytes * 9);
    /* All protected: they go as well, in the end, rather than fail. */
    for (unsigned i = 5000; i < 7000; i++)
        assert_int_equal(put_view(l1, i, i, 0, 0, SB_L1_PROTECTED), SB_OK);
    assert_int_equal(find(l1, 6999, 0, &e), SB_OK);
    sb_l1_close(l1);
}

/* Sizes change: slabs wander to the class that needs them, and protected entries move out of the
 * way. */
static void test_size_classes(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 60, 200, 400, 900, 1900, 3800, 7000};
    sb_l1 *l1 = open_cache();
    sb_l1_entry e;
    assert_int_equal(put_view(l1, 1, 1, 0, 0, SB_L1_PROTECTED), SB_OK);
    unsigned number = 2;
    for (unsigned round = 0; round < 24; round++)
        for (unsigned i = 0; i < 3000 / (1 + sizes[round % 8] / 100); i++, number++) {
            assert_int_equal(put_view(l1, number, 1, 0, sizes[round % 8], 0), SB_OK);
            assert_int_equal(find(l1, number, 0, &e), SB_OK);
            assert_int_equal(e.body_size, sample.answer.body_size);
        }
    assert_int_equal(find(l1, 1, 0, &e), SB_OK);
    /* Whatever is there is whole. */
    uint64_t cursor = 0;
    while (sb_l1_walk(sb_l1_reader_of(l1), &cursor, &buffer, &e)) {
        l1_sample_make(&scratch, l1_sample_number(&e), 1, 0);
        assert_memory_equal(e.body, scratch.body, 20);
    }
    sb_l1_stats stats;
    sb_l1_get_stats(l1, &stats);
    assert_int_equal(stats.too_big, 0);
    assert_int_equal(put_view(l1, 1, 2, 0, 9000, 0), SB_LIMIT); /* slabs are of 8 KiB here */
    assert_int_equal(put_view(l1, 1, 2, 0, 65400, 0), SB_LIMIT);
    assert_int_equal(find(l1, 1, 0, &e), SB_OK);
    assert_int_equal(l1_sample_check(&e, 1, 0, &scratch), 1);
    sb_l1_get_stats(l1, &stats);
    assert_int_equal(stats.too_big, 2);
    sb_l1_close(l1);
    options.size_bytes = 4u << 20;
    l1 = open_cache();
    assert_int_equal(put_view(l1, 1, 2, 0, 65000, 0), SB_OK);
    assert_int_equal(find(l1, 1, 0, &e), SB_OK);
    assert_memory_equal(e.body, sample.body, sample.answer.body_size);
    assert_int_equal(put_view(l1, 1, 3, 0, 65480, 0), SB_LIMIT);
    sb_l1_close(l1);
}

/* A file that is filled, killed and filled again does not leak slots. */
static void test_no_leak_over_kills(void **state)
{
    (void)state;
    sb_l1_stats stats;
    sb_l1 *l1 = open_cache();
    for (unsigned run = 0; run < 60; run++) {
        for (unsigned i = 0; i < 500; i++)
            assert_int_equal(put_view(l1, i, 1, 0, (i * 7) % 300, 0), SB_OK);
        kill_cache(l1);
        l1 = open_cache();
        sb_l1_sweep(l1, UINT32_MAX);
        sb_l1_get_stats(l1, &stats);
        assert_int_equal(stats.entries, 500);
        assert_int_equal(stats.dropped, 0);
    }
    sb_l1_close(l1);
}

static void test_freshness_and_ticks(void **state)
{
    (void)state;
    sb_l1 *l1 = open_cache();
    sb_l1_entry e;
    l1_sample_make(&sample, 1, 1, 0);
    sb_tick now = sb_l1_now(l1);
    sb_l1_life life = {now, now + 80, now + 160, now + 800};
    sb_l1_key key = {.question = &sample.question, .view = 0};
    assert_int_equal(sb_l1_put(l1, &key, &sample.answer, &life, 0), SB_OK);
    assert_int_equal(find(l1, 1, 0, &e), SB_OK);
    static const struct {
        unsigned s;
        sb_freshness is;
    } table[] = {{0, SB_FRESH},  {9, SB_FRESH},  {10, SB_DUE},  {19, SB_DUE},
                 {20, SB_STALE}, {99, SB_STALE}, {100, SB_DEAD}};
    sb_ns start = fake.clock.boot_ns;
    for (unsigned i = 0; i < SB_ARRAY_SIZE(table); i++) {
        fake.clock.boot_ns = start + table[i].s * SB_S;
        assert_int_equal(sb_l1_freshness(&e, sb_l1_now(l1)), table[i].is);
    }
    assert_int_equal(sb_l1_tick_at(l1, SB_NEVER), UINT32_MAX);
    assert_int_equal(sb_l1_tick_at(l1, INT64_MIN), 1);
    now = sb_l1_now(l1);
    assert_int_equal(sb_l1_tick_at(l1, sb_l1_ns_of(l1, now + 12345)), now + 12345);
    assert_int_equal(sb_l1_tick_at(l1, fake.clock.boot_ns + 10 * SB_S), now + 80);
    /* Heartbeats off the beat do not slow the clock. */
    sb_ns at = fake.clock.boot_ns;
    for (unsigned i = 0; i < 1000; i++) {
        fake_env_pass(&fake, 1099 * SB_MS);
        sb_l1_heartbeat(l1);
    }
    assert_int_equal(sb_l1_now(l1) - now, (fake.clock.boot_ns - at) / (SB_S / 8));
    sb_l1_close(l1);
}

/* Damage of single bytes anywhere: entries are right or absent, before and after the sweep, and
 * life goes on. */
static void test_damage_anywhere(void **state)
{
    (void)state;
    options.size_bytes = SB_L1_SIZE_MIN;
    sb_rand rand;
    sb_rand_seed(&rand, 4711);
    for (unsigned round = 0; round < 40; round++) {
        sb_l1 *l1 = open_cache();
        for (unsigned i = 0; i < 200; i++)
            put(l1, i, i + round);
        uint8_t *bytes = fake_env_file(&fake, PATH)->base;
        for (unsigned i = 0; i < 300; i++)
            bytes[SB_L1_PAGE + sb_rand_below(&rand, options.size_bytes - SB_L1_PAGE)] ^=
                (uint8_t)(1 + sb_rand_below(&rand, 255));
        for (unsigned sweep = 0; sweep < 2; sweep++) {
            for (unsigned i = 0; i < 200; i++) {
                int64_t version = version_of(l1, i);
                assert_true(version == -2 || version == i + round);
            }
            sb_l1_sweep(l1, UINT32_MAX);
        }
        for (unsigned i = 0; i < 100; i++) {
            put(l1, i, i);
            assert_int_equal(version_of(l1, i), i);
        }
        sb_l1_close(l1);
        fake_env_file(&fake, PATH)->path[0] = 0;
        fake_env_fini(&fake);
        fake_env_init(&fake);
    }
}

static void test_many_upstreams(void **state)
{
    (void)state;
    sb_l1 *l1 = open_cache();
    sb_l1_entry e;
    unsigned known = 0;
    for (unsigned i = 0; i < 400; i++) {
        l1_sample_make(&sample, i, i, 0);
        sample.answer.upstream = (sb_addr){
            .family = SB_FAMILY_4, .port = 53, .bytes = {10, 0, (uint8_t)(i >> 8), (uint8_t)i}};
        sb_l1_life life = life_of(l1, 60, 60);
        sb_l1_key key = {.question = &sample.question, .view = 0};
        assert_int_equal(sb_l1_put(l1, &key, &sample.answer, &life, 0), SB_OK);
        assert_int_equal(find(l1, i, 0, &e), SB_OK);
        assert_true(e.upstream.family == 0 ||
                    memcmp(&e.upstream, &sample.answer.upstream, sizeof(e.upstream)) == 0);
        known += e.upstream.family != 0;
    }
    assert_int_equal(known, SB_L1_UPSTREAMS - 1);
    /* Entries gone, sweeps passed: the numbers are given anew. */
    sb_name root = {.size = 1};
    assert_int_equal(sb_l1_remove_below(l1, &root), 400);
    for (unsigned i = 0; i < 4; i++)
        for (unsigned j = 0; j < 1000; j++)
            sb_l1_sweep(l1, 1);
    put(l1, 1, 1);
    assert_int_equal(find(l1, 1, 0, &e), SB_OK);
    assert_int_equal(e.upstream.bytes[0], 192);
    sb_l1_close(l1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_put_get),
        TEST(test_key_is_whole),
        TEST(test_fields_survive),
        TEST(test_views),
        TEST(test_epochs),
        TEST(test_remove_many),
        TEST(test_tentative),
        TEST(test_walk_and_sweep),
        TEST(test_use_counts),
        TEST(test_second_chance),
        TEST(test_size_classes),
        TEST(test_no_leak_over_kills),
        TEST(test_freshness_and_ticks),
        TEST(test_damage_anywhere),
        TEST(test_many_upstreams),
    };
    return cmocka_run_group_tests_name("l1", tests, NULL, NULL);
}
