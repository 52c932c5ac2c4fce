/* See tally.h. */
#include "outage/tally.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static const char *const group_names[GROUP_COUNT] = {"warm",     "known",    "new",
                                                     "hopeless", "settling", "down"};
static const char *const verdict_names[VERDICT_COUNT] = {"right",  "outdated", "gone",   "empty",
                                                         "denied", "bogus",    "failed", "silent"};

static void count_second(tally *t, const tally_entry *entry, bool painful);
static void keep_latency(tally_row *row, int64_t latency_ns);
static void row_json(tally_row *row, sb_text *out);
static void series_json(const tally *t, sb_text *out);
static int compare(const void *a, const void *b);

bool tally_init(tally *t, uint32_t seconds)
{
    *t = (tally){.second_count = seconds, .last_old_ns = -1};
    t->seconds = sb_calloc(seconds, sizeof *t->seconds);
    return t->seconds != NULL;
}

void tally_fini(tally *t)
{
    for (unsigned c = 0; c < TALLY_CLIENTS; c++) {
        for (unsigned g = 0; g < GROUP_COUNT; g++)
            sb_free(t->rows[c][g].latency_us);
    }
    sb_free(t->seconds);
}

void tally_add(tally *t, const tally_entry *entry)
{
    tally_row *row = &t->rows[entry->client][entry->group];
    bool good = entry->verdict == VERDICT_RIGHT || entry->verdict == VERDICT_EMPTY;
    if (entry->group == GROUP_HOPELESS || entry->group == GROUP_SETTLING)
        good = good || entry->verdict == VERDICT_FAILED;
    bool painful = !good || entry->latency_ns > TALLY_PAINFUL_MS * INT64_C(1000000);
    row->verdicts[entry->verdict]++;
    row->painful += painful;
    row->stale += entry->ede == SB_EDE_STALE || entry->ede == SB_EDE_STALE_NXDOMAIN;
    row->unreachable +=
        entry->ede == SB_EDE_NO_REACHABLE_AUTHORITY || entry->ede == SB_EDE_NETWORK_ERROR;
    keep_latency(row, entry->latency_ns);
    row->asked++;
    if (entry->client == 0)
        count_second(t, entry, painful);
}

void tally_query(tally *t, unsigned server, int64_t at_ns, bool alive)
{
    int64_t second = at_ns / INT64_C(1000000000);
    if (at_ns < 0 || second >= t->second_count)
        return;
    t->queries[server]++;
    t->seconds[second].queries[server]++;
    if (alive)
        t->queries_alive++;
    else
        t->queries_dead++;
}

void tally_flight(tally *t, int64_t at_ns)
{
    int64_t second = at_ns / INT64_C(1000000000);
    t->flights_alive++;
    if (at_ns >= 0 && second < t->second_count)
        t->seconds[second].flights++;
}

void tally_json(tally *t, sb_text *out)
{
    sb_text_add(out, "\"clients\":[");
    for (unsigned c = 0; c < TALLY_CLIENTS; c++) {
        sb_text_add(out, "%s{", c ? "," : "");
        for (unsigned g = 0; g < GROUP_COUNT; g++) {
            sb_text_add(out, "%s\"%s\":", g ? "," : "", group_names[g]);
            row_json(&t->rows[c][g], out);
        }
        sb_text_add(out, "}");
    }
    sb_text_add(out,
                "],\"upstream\":{\"queries\":[%u,%u],\"tcp\":%u,\"other\":%u,"
                "\"questions_alive\":%u,\"questions_dead\":%u,\"flights_alive\":%u,"
                "\"queries_alive\":%u,\"queries_dead\":%u,\"flights_denied\":%u,"
                "\"queries_denied\":%u},\"extra_replies\":%u,",
                t->queries[0], t->queries[1], t->tcp_queries, t->other_queries, t->questions_alive,
                t->questions_dead, t->flights_alive, t->queries_alive, t->queries_dead,
                t->flights_denied, t->queries_denied, t->extra_replies);
    if (t->last_old_ns >= 0)
        sb_text_add(out, "\"last_old_ms\":%u,", (unsigned)(t->last_old_ns / 1000000));
    series_json(t, out);
}

static void count_second(tally *t, const tally_entry *entry, bool painful)
{
    int64_t second = entry->at_ns / INT64_C(1000000000);
    if (entry->at_ns < 0 || second >= t->second_count)
        return;
    tally_second *s = &t->seconds[second];
    if (entry->group == GROUP_KNOWN) {
        s->known++;
        s->known_painful += painful;
    } else if (entry->group == GROUP_NEW) {
        s->unasked++;
        s->unasked_painful += painful;
    } else if (entry->group == GROUP_HOPELESS || entry->group == GROUP_SETTLING) {
        s->hopeless++;
        s->hopeless_painful += painful;
    }
}

static void keep_latency(tally_row *row, int64_t latency_ns)
{
    if (row->asked == row->capacity) {
        size_t capacity = row->capacity ? 2 * row->capacity : 256;
        uint32_t *grown = sb_realloc(row->latency_us, capacity * sizeof *grown);
        SB_ASSERT(grown);
        row->latency_us = grown;
        row->capacity = capacity;
    }
    row->latency_us[row->asked] = (uint32_t)(latency_ns / 1000);
}

static void row_json(tally_row *row, sb_text *out)
{
    static const struct {
        const char *name;
        unsigned permille;
    } points[] = {{"p50_us", 500}, {"p95_us", 950}, {"p99_us", 990}, {"max_us", 1000}};
    sb_text_add(out, "{\"asked\":%u,\"painful\":%u,\"stale\":%u,\"unreachable\":%u", row->asked,
                row->painful, row->stale, row->unreachable);
    for (unsigned v = 0; v < VERDICT_COUNT; v++)
        sb_text_add(out, ",\"%s\":%u", verdict_names[v], row->verdicts[v]);
    if (row->asked) {
        qsort(row->latency_us, row->asked, sizeof *row->latency_us, compare);
        for (size_t i = 0; i < SB_ARRAY_SIZE(points); i++) {
            /* Nearest rank: the smallest value that so many questions do not exceed. */
            uint64_t rank = ((uint64_t)row->asked * points[i].permille + 999) / 1000;
            sb_text_add(out, ",\"%s\":%u", points[i].name, row->latency_us[rank - 1]);
        }
    }
    sb_text_add(out, "}");
}

static void series_json(const tally *t, sb_text *out)
{
    sb_text_add(
        out,
        "\"seconds_columns\":[\"known\",\"known_painful\",\"new\",\"new_painful\","
        "\"hopeless\",\"hopeless_painful\",\"primary\",\"second\",\"flights\"],\"each_second\":[");
    for (uint32_t i = 0; i < t->second_count; i++) {
        const tally_second *s = &t->seconds[i];
        sb_text_add(out, "%s[%u,%u,%u,%u,%u,%u,%u,%u,%u]", i ? "," : "", s->known, s->known_painful,
                    s->unasked, s->unasked_painful, s->hopeless, s->hopeless_painful, s->queries[0],
                    s->queries[1], s->flights);
    }
    sb_text_add(out, "]");
}

static int compare(const void *a, const void *b)
{
    uint32_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}
