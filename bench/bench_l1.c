/* The cache file alone: what a hit, a miss and a put cost, and what an entry weighs. Plain lines,
 * one figure each.
 *
 * Entries are A records of names of 30 bytes; hits are spread over all of them, so that most miss
 * the CPU's caches. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/rand.h"
#include "dns/rdata.h"
#include "store/l1_write.h"
#include "support/posix_env.h"

#define NAMES 200000u
#define ROUNDS 2000000u

typedef struct subject {
    sb_question question;
    sb_answer answer;
    uint16_t ttl_at[1];
    uint8_t body[128];
} subject;

static double now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

/* "hNNNNNNN.inventory.example.org": 30 bytes of text, 32 on the wire. */
static void subject_set(subject *s, unsigned number)
{
    char label[16];
    memset(s, 0, sizeof(*s));
    int size = snprintf(label, sizeof(label), "h%07u", number);
    sb_writer w = sb_writer_of(s->question.name.wire, SB_NAME_MAX);
    sb_write_u8(&w, (uint8_t)size);
    sb_write_text(&w, label);
    sb_write_text(&w, "\11inventory\7example\3org");
    s->question.name.size = (uint8_t)(w.size + 1);
    s->question.type = SB_TYPE_A;
    s->question.class = SB_CLASS_IN;
    w = sb_writer_of(s->body, sizeof(s->body));
    sb_name_write(&w, &s->question.name);
    sb_write_u32(&w, SB_TYPE_A << 16 | SB_CLASS_IN);
    sb_write_u16(&w, 0xc00c);
    sb_write_u32(&w, SB_TYPE_A << 16 | SB_CLASS_IN);
    s->ttl_at[0] = (uint16_t)w.size;
    sb_write_u32(&w, 300);
    sb_write_u16(&w, 4);
    sb_write_u32(&w, number);
    s->answer = (sb_answer){.ttl_s = 300,
                            .network = 7,
                            .type = SB_TYPE_A,
                            .class = SB_CLASS_IN,
                            .ancount = 1,
                            .kind = SB_KIND_POSITIVE,
                            .source = SB_SOURCE_DNS,
                            .protocol = SB_PROTOCOL_UDP,
                            .ede = SB_EDE_NONE,
                            .ttl_count = 1,
                            .upstream = {.bytes = {192, 0, 2, 1}, .port = 53, .family = 4},
                            .body_size = (uint32_t)w.size,
                            .ttl_at = s->ttl_at,
                            .body = s->body};
}

static sb_status put(sb_l1 *l1, unsigned number)
{
    subject s;
    subject_set(&s, number);
    sb_tick now = sb_l1_now(l1);
    sb_l1_life life = {now, now + 2400, now + 2400, now + 2400 + 3 * 86400 * 8};
    sb_l1_key key = {.question = &s.question, .view = 0};
    return sb_l1_put(l1, &key, &s.answer, &life, SB_L1_PLAIN);
}

static unsigned look(const sb_l1 *l1, unsigned rounds, unsigned from, unsigned names, uint32_t view)
{
    static sb_l1_buffer buffer;
    sb_l1_entry entry;
    sb_rand rand;
    subject s;
    unsigned hits = 0;
    sb_rand_seed(&rand, 1);
    subject_set(&s, 0);
    for (unsigned i = 0; i < rounds; i++) {
        unsigned n = from + (unsigned)sb_rand_below(&rand, names);
        for (unsigned d = 7, left = n; d > 0; d--, left /= 10)
            s.question.name.wire[1 + d] = (uint8_t)('0' + left % 10);
        sb_l1_key key = {.question = &s.question, .view = view};
        hits += sb_l1_find(sb_l1_reader_of(l1), &key, &buffer, &entry) == SB_OK;
    }
    return hits;
}

static void report(const char *what, double from, unsigned n)
{
    printf("l1.%-28s %8.1f ns\n", what, (now_ns() - from) / n);
}

int main(void)
{
    posix_env posix;
    sb_l1 *l1;
    sb_why why;
    sb_l1_stats stats;
    unsigned failed = 0, hits;
    posix_env_init(&posix);
    sb_l1_options options = {.size_bytes = 64u << 20, .mode = 0600, .group = -1};
    if (sb_l1_open(&posix.env, &options, &l1, &why) != SB_OK)
        return 1;
    double t = now_ns();
    for (unsigned i = 0; i < NAMES; i++)
        failed += put(l1, i) != SB_OK;
    report("put.new", t, NAMES);
    t = now_ns();
    for (unsigned i = 0; i < NAMES; i++)
        failed += put(l1, i) != SB_OK;
    report("put.replace", t, NAMES);
    sb_l1_get_stats(l1, &stats);
    printf("l1.%-28s %8.1f bytes\n", "entry.payload",
           (double)stats.used_bytes / (double)stats.entries);
    t = now_ns();
    hits = look(l1, ROUNDS, 0, NAMES, 0);
    report("hit.spread", t, ROUNDS);
    t = now_ns();
    hits += look(l1, ROUNDS, 0, NAMES, SB_VIEW_ANY);
    report("hit.spread.any_view", t, ROUNDS);
    t = now_ns();
    hits += look(l1, ROUNDS, 0, 100, SB_VIEW_ANY);
    report("hit.hot.any_view", t, ROUNDS);
    failed += hits != 3 * ROUNDS;
    t = now_ns();
    failed += look(l1, ROUNDS, 5000000, NAMES, SB_VIEW_ANY);
    report("miss.spread", t, ROUNDS);
    for (unsigned i = 0; i < 800000; i++)
        failed += put(l1, 1000000 + i) != SB_OK;
    t = now_ns();
    for (unsigned i = 0; i < NAMES; i++)
        failed += put(l1, 2000000 + i) != SB_OK;
    report("put.full", t, NAMES);
    sb_l1_get_stats(l1, &stats);
    printf("l1.%-28s %8llu entries\n", "capacity.64MiB", (unsigned long long)stats.entries);
    printf("l1.%-28s %8.1f bytes\n", "entry.of_the_file",
           (double)options.size_bytes / (double)stats.entries);
    subject nobody;
    subject_set(&nobody, 9999999);
    t = now_ns();
    failed += sb_l1_remove_name(l1, &nobody.question.name) != 0;
    report("flush_name.per_entry", t, (unsigned)stats.entries);
    t = now_ns();
    sb_l1_sweep(l1, UINT32_MAX);
    report("sweep.per_entry", t, (unsigned)stats.entries);
    sb_l1_close(l1);
    if (failed)
        printf("l1.failed %u\n", failed);
    return failed != 0;
}
