/* See load.h. */
#include "sim/load.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dns/rdata.h"

#define WORD UINT64_C(0x6c6f6164) /* of the load's questions */
#define SEARCH_PERMILLE 250
#define QUESTIONS_PER_LOOK_UP_TENTHS 25 /* of four look-ups one asks four instead of two */
#define PASS (2 * SB_S)
#define PATIENCE (5 * SB_S)
#define PAINFUL SB_S
#define IN_FLIGHT (20 * SB_MS)       /* longer than the slower upstream's way back */
#define SETTLE (1 * SB_S)            /* for breakers to open */
#define SETTLE_BACK (2 * SB_S)       /* for breakers to close */
#define READY (50 * SB_MS)           /* for a start */
#define IDEAL_FLIGHT (5 * SB_MS)     /* of an ideal cache: the primary's round trip */
#define EXCHANGE_TIMEOUT (12 * SB_S) /* the program has to end a question by then */

static void tick(void *context, uint64_t argument);
static void second(void *context, uint64_t argument);
static void warm_next(void *context, uint64_t index);
static void look_up(load *ld, unsigned who, zone_id id, bool search);
static void ask_one(load *ld, unsigned who, unsigned lookup, zone_id id, uint16_t type);
static void count_question(load *ld, zone_id id, uint16_t type);
static void timer(void *context, uint64_t argument);
static void settle(load *ld, load_question *q, const zone_seen *seen);
static void next_step(load *ld, const load_question *q);
static load_group group_of(const load *ld, const load_question *q);
static void keep(load *ld, const load_question *q, zone_verdict verdict, sb_ns took, int ede);

void load_reset(load *ld, sim *s, subject *d, client *c)
{
    load_row rows[LOAD_CLIENTS][LOAD_GROUPS];
    memcpy(rows, ld->rows, sizeof rows);
    *ld = (load){.s = s, .d = d, .c = c, .last_old = -1};
    ld->warm_from = ld->zero = ld->end = SB_NEVER;
    ld->dead_from = ld->dead_to = ld->gone = ld->up = SB_NEVER;
    zone_init(&ld->zone);
    for (unsigned i = 0; i < LOAD_CLIENTS; i++) {
        ld->next_cold[i] = i * ZONE_COLD / 2;
        for (unsigned g = 0; g < LOAD_GROUPS; g++)
            ld->rows[i][g] = (load_row){.took = rows[i][g].took, .capacity = rows[i][g].capacity};
    }
}

void load_fini(load *ld)
{
    for (unsigned i = 0; i < LOAD_CLIENTS; i++) {
        for (unsigned g = 0; g < LOAD_GROUPS; g++)
            free(ld->rows[i][g].took);
    }
}

void load_warm(load *ld)
{
    ld->used = true;
    ld->warm_from = sim_now(ld->s);
    warm_next(ld, 0);
}

static void warm_next(void *context, uint64_t index)
{
    load *ld = context;
    look_up(ld, 0, (zone_id){.kind = ZONE_KNOWN, .index = (uint32_t)index}, true);
    if (index + 1 < ZONE_KNOWN_COUNT)
        sim_at(ld->s, sim_now(ld->s) + PASS / ZONE_KNOWN_COUNT, warm_next, ld, index + 1);
}

void load_start(load *ld, sb_ns duration, unsigned rate, unsigned resending)
{
    ld->used = true;
    ld->zero = sim_now(ld->s);
    ld->end = ld->zero + duration;
    ld->rates[0] = rate;
    ld->rates[1] = resending;
    if (ld->dead) /* from the start */
        ld->dead_from = ld->zero;
    for (unsigned i = 0; i < LOAD_CLIENTS; i++) {
        ld->next_at[i] = ld->zero + (sb_ns)i * SB_MS;
        if (ld->rates[i])
            sim_at(ld->s, ld->next_at[i], tick, ld, i);
    }
    sim_at(ld->s, ld->zero, second, ld, 0);
}

bool load_busy(const load *ld)
{
    for (unsigned i = 0; i < CLIENT_ASKS; i++) {
        if (ld->questions[i].open)
            return true;
    }
    return ld->end != SB_NEVER && sim_now(ld->s) < ld->end;
}

void load_change(load *ld)
{
    ld->zone.changed_ns = sim_now(ld->s);
}

void load_delete(load *ld, sb_ns grace)
{
    ld->zone.deleted_ns = sim_now(ld->s);
    ld->zone.delete_grace_ns += grace;
    ld->zone.delete_grace_alive_ns += grace;
}

void load_health(load *ld, const server *servers, unsigned count)
{
    bool dead = count > 0;
    for (unsigned i = 0; i < count; i++)
        dead = dead && servers[i].host.reach != SIM_UP;
    if (dead == ld->dead)
        return;
    ld->dead = dead;
    *(dead ? &ld->dead_from : &ld->dead_to) = sim_now(ld->s);
    if (dead)
        ld->dead_to = SB_NEVER;
}

void load_lost(load *ld)
{
    if (!ld->used)
        return;
    ld->gone = sim_now(ld->s);
    ld->up = SB_NEVER;
    for (unsigned i = 0; i < CLIENT_ASKS; i++) {
        if (ld->questions[i].open)
            settle(ld, &ld->questions[i], NULL);
    }
}

void load_back(load *ld)
{
    ld->up = sim_now(ld->s);
    ld->refreshes_before = 0; /* its counters begin anew */
    memset(ld->flights, 0, sizeof ld->flights);
}

static bool exists(const load *ld, zone_id id)
{
    if (id.suffixed || (id.kind == ZONE_KNOWN && id.index >= ZONE_KNOWN_COUNT))
        return false;
    return !(id.kind == ZONE_KNOWN && zone_is_mortal(id.index) &&
             sim_now(ld->s) >= ld->zone.deleted_ns);
}

static void add_soa(const sb_name *name, sb_builder *b)
{
    sb_name apex = sb_name_parent(name, sb_name_labels(name) - 2);
    uint8_t rdata[2 * SB_NAME_MAX + 20];
    sb_writer w = sb_writer_of(rdata, sizeof rdata);
    sb_name_write(&w, &apex);
    sb_name_write(&w, &apex);
    for (unsigned i = 0; i < 4; i++)
        sb_write_u32(&w, 3600);
    sb_write_u32(&w, ZONE_TTL_S);
    sb_builder_record(b, SB_SECTION_AUTHORITY, &apex, SB_TYPE_SOA, SB_CLASS_IN, ZONE_TTL_S,
                      (sb_span){rdata, w.size});
}

int load_compose(const load *ld, server_mode lie, const sb_question *q, sb_builder *b)
{
    zone_id id = ld->used ? zone_find(&q->name) : (zone_id){.kind = ZONE_OTHER};
    sb_addr addr;
    if (id.kind == ZONE_OTHER)
        return -1;
    bool there = exists(ld, id) && !(lie == SERVER_DENYING && id.kind == ZONE_KNOWN);
    unsigned version = sim_now(ld->s) >= ld->zone.changed_ns ? 2 : 1;
    if (!there || !zone_address(id, q->type, version, &addr)) {
        add_soa(&q->name, b);
        return there ? SB_RCODE_NOERROR : SB_RCODE_NXDOMAIN;
    }
    if (lie == SERVER_LYING && id.kind == ZONE_KNOWN)
        addr.bytes[0] = 66;
    sb_builder_address(b, &q->name, &addr, ZONE_TTL_S);
    return SB_RCODE_NOERROR;
}

void load_query(load *ld)
{
    if (sim_now(ld->s) < ld->zero || sim_now(ld->s) >= ld->end)
        return;
    *(ld->dead ? &ld->queries_dead : &ld->queries_alive) += 1;
}

void load_event(load *ld, const sb_event *e)
{
    unsigned at = e->flight % LOAD_FLIGHTS;
    if (e->flight == 0 || ld->zero == SB_NEVER)
        return;
    if (ld->flights[at].flight != e->flight) {
        ld->flights[at].flight = e->flight;
        ld->flights[at].queries = 0;
        ld->flights[at].doubted = false;
    }
    ld->flights[at].queries += e->type == SB_EVENT_QUERY;
    if (e->type == SB_EVENT_RUNG && e->a == SB_STRATEGY_DOUBT)
        ld->flights[at].doubted = true;
    if (e->type == SB_EVENT_FLIGHT_END && ld->flights[at].doubted) {
        ld->doubted_flights++;
        ld->doubted_queries += ld->flights[at].queries;
    }
}

static void second(void *context, uint64_t index)
{
    load *ld = context;
    uint64_t now = 0;
    if (ld->d->up)
        now = sb_stats_get(sb_engine_stats(ld->d->engine), SB_COUNT_PREFETCHES);
    if (index > 0 && index <= LOAD_SECONDS && now >= ld->refreshes_before)
        ld->refreshes[index - 1] = (unsigned)(now - ld->refreshes_before);
    ld->refreshes_before = now;
    if (sim_now(ld->s) < ld->end)
        sim_at(ld->s, sim_now(ld->s) + SB_S, second, ld, index + 1);
}

/* --- asking --- */

static zone_id choose(load *ld, unsigned who)
{
    uint64_t n = ld->started[who]++;
    if (n % 2)
        return (zone_id){.kind = ZONE_NEW, .index = ld->next_new++};
    if (n % 4)
        return (zone_id){.kind = ZONE_KNOWN,
                         .index = (uint32_t)sb_rand_below(sim_rand(ld->s), ZONE_HOT)};
    unsigned cold = ld->next_cold[who]++ % ZONE_COLD;
    return (zone_id){.kind = ZONE_KNOWN, .index = ZONE_HOT + cold};
}

static void tick(void *context, uint64_t who)
{
    load *ld = context;
    if (sim_now(ld->s) >= ld->end)
        return;
    zone_id id = choose(ld, (unsigned)who);
    look_up(ld, (unsigned)who, id, sb_rand_chance(sim_rand(ld->s), SEARCH_PERMILLE));
    ld->next_at[who] += SB_S * QUESTIONS_PER_LOOK_UP_TENTHS / 10 / ld->rates[who];
    sim_at(ld->s, ld->next_at[who], tick, ld, who);
}

static void look_up(load *ld, unsigned who, zone_id id, bool search)
{
    unsigned lookup = ld->next_lookup++ % SB_ARRAY_SIZE(ld->lookups);
    id.suffixed = search;
    ld->lookups[lookup] = 2;
    ask_one(ld, who, lookup, id, SB_TYPE_A);
    ask_one(ld, who, lookup, id, SB_TYPE_AAAA);
}

static void ask_one(load *ld, unsigned who, unsigned lookup, zone_id id, uint16_t type)
{
    client_request request = {.question = {.type = type, .class = SB_CLASS_IN},
                              .way = WAY_UDP,
                              .edns = who == 0,
                              .udp_size = 1232,
                              .deadline = SB_NEVER,
                              .timeout = EXCHANGE_TIMEOUT,
                              .word = WORD};
    load_question lost = {
        .client = who, .lookup = lookup, .id = id, .type = type, .asked_at = sim_now(ld->s)};
    zone_name(id, &request.question.name);
    count_question(ld, id, type);
    ask *a = client_ask(ld->c, &request);
    load_question *q = a ? &ld->questions[a->index] : &lost;
    *q = lost;
    q->open = true;
    if (!a) { /* nobody listens */
        settle(ld, q, NULL);
        return;
    }
    q->ask = a;
    q->generation = a->generation;
    uint64_t tag = (uint64_t)a->generation << 32 | a->index;
    if (who == 1) {
        sim_at(ld->s, q->asked_at + SB_S, timer, ld, tag);
        sim_at(ld->s, q->asked_at + 2 * SB_S, timer, ld, tag);
    }
    sim_at(ld->s, q->asked_at + PATIENCE, timer, ld, tag);
}

/* What a cache without faults would have needed: a flight for each question whose last answer has
 * expired. */
static void count_question(load *ld, zone_id id, uint16_t type)
{
    sb_ns now = sim_now(ld->s);
    if (now < ld->zero || now >= ld->end)
        return;
    if (ld->dead) {
        ld->questions_dead++;
        return;
    }
    if (id.kind == ZONE_KNOWN) {
        sb_ns *until = &ld->fresh_until[id.index][id.suffixed][type == SB_TYPE_AAAA];
        if (now < *until)
            return;
        *until = now + IDEAL_FLIGHT + ZONE_TTL_S * SB_S;
    }
    ld->flights_alive++;
}

static void timer(void *context, uint64_t tag)
{
    load *ld = context;
    load_question *q = &ld->questions[tag & 0xff];
    if (!q->open || q->generation != (uint8_t)(tag >> 32))
        return;
    if (sim_now(ld->s) - q->asked_at >= PATIENCE) {
        client_give_up(ld->c, q->ask);
        settle(ld, q, NULL);
    } else {
        client_resend(ld->c, q->ask);
    }
}

bool load_replied(load *ld, ask *a, const uint8_t *bytes, size_t size)
{
    load_question *q = &ld->questions[a->index];
    sb_msg msg;
    zone_seen seen;
    if (a->word != WORD)
        return false;
    if (!q->open || q->generation != a->generation || sb_msg_parse(bytes, size, &msg) != SB_OK)
        return true;
    zone_see(&msg, &seen);
    settle(ld, q, &seen);
    return true;
}

/* --- counting --- */

/* seen NULL: no reply. */
static void settle(load *ld, load_question *q, const zone_seen *seen)
{
    sb_ns now = sim_now(ld->s);
    zone_verdict verdict = VERDICT_SILENT;
    bool was_old = false;
    q->open = false;
    if (seen)
        verdict = zone_judge(&ld->zone, q->id, q->type, seen, q->asked_at, now, &was_old);
    if (was_old) {
        sb_ns since = ld->zone.changed_ns != ZONE_NEVER ? ld->zone.changed_ns : ld->zone.deleted_ns;
        ld->last_old = now - since > ld->last_old ? now - since : ld->last_old;
    }
    keep(ld, q, verdict, seen ? now - q->asked_at : PATIENCE, seen ? seen->ede : SB_EDE_NONE);
    next_step(ld, q);
}

/* After the suffixed name, whatever came of it, the name itself. */
static void next_step(load *ld, const load_question *q)
{
    load_question done = *q; /* its place is taken by what is asked now */
    if (--ld->lookups[done.lookup] > 0 || !done.id.suffixed || sim_now(ld->s) >= ld->end)
        return;
    done.id.suffixed = false;
    ld->lookups[done.lookup] = 2;
    ask_one(ld, done.client, done.lookup, done.id, SB_TYPE_A);
    ask_one(ld, done.client, done.lookup, done.id, SB_TYPE_AAAA);
}

static load_group group_of(const load *ld, const load_question *q)
{
    sb_ns asked = q->asked_at, now = sim_now(ld->s);
    if (asked < ld->zero)
        return LOAD_WARM;
    bool restarted = ld->gone != SB_NEVER && now >= ld->gone;
    if (restarted && (ld->up == SB_NEVER || asked < ld->up + READY))
        return LOAD_DOWN;
    if (q->id.kind == ZONE_KNOWN)
        return LOAD_KNOWN;
    if (ld->dead_from == SB_NEVER || asked < ld->dead_from - IN_FLIGHT)
        return LOAD_NEW;
    if (asked < ld->dead_from + SETTLE || (restarted && asked < ld->up + SETTLE))
        return LOAD_SETTLING;
    if (asked < ld->dead_to)
        return LOAD_HOPELESS;
    return asked < ld->dead_to + SETTLE_BACK ? LOAD_SETTLING : LOAD_NEW;
}

static void keep(load *ld, const load_question *q, zone_verdict verdict, sb_ns took, int ede)
{
    load_group group = group_of(ld, q);
    load_row *row = &ld->rows[q->client][group];
    bool good = verdict == VERDICT_RIGHT || verdict == VERDICT_EMPTY;
    if (group == LOAD_HOPELESS || group == LOAD_SETTLING)
        good = good || verdict == VERDICT_FAILED;
    row->verdicts[verdict]++;
    row->painful += !good || took > PAINFUL;
    row->stale += ede == SB_EDE_STALE || ede == SB_EDE_STALE_NXDOMAIN;
    row->unreachable += ede == SB_EDE_NO_REACHABLE_AUTHORITY || ede == SB_EDE_NETWORK_ERROR;
    if (row->asked == row->capacity) {
        row->capacity = row->capacity ? 2 * row->capacity : 256;
        row->took = realloc(row->took, row->capacity * sizeof *row->took);
        SB_ASSERT(row->took);
    }
    row->took[row->asked++] = took;
}

/* --- what came of it --- */

static const char *const group_text[LOAD_GROUPS] = {"warm",     "known",    "new",
                                                    "hopeless", "settling", "down"};
static const char *const verdict_text[VERDICT_COUNT] = {"right",  "outdated", "gone",   "empty",
                                                        "denied", "bogus",    "failed", "silent"};

static int by_time(const void *a, const void *b)
{
    sb_ns x = *(const sb_ns *)a, y = *(const sb_ns *)b;
    return (x > y) - (x < y);
}

/* Nearest rank: the smallest value that so many questions do not exceed. */
static sb_ns quantile(load_row *row, unsigned permille)
{
    if (row->asked == 0)
        return 0;
    qsort(row->took, row->asked, sizeof *row->took, by_time);
    size_t rank = ((size_t)row->asked * permille + 999) / 1000;
    return row->took[rank > 0 ? rank - 1 : 0];
}

static int64_t ratio(uint64_t part, uint64_t whole)
{
    return whole ? (int64_t)(part * 1000 / whole) : 0;
}

static unsigned refreshes_most(const load *ld)
{
    unsigned most = 0;
    for (unsigned i = 0; i < LOAD_SECONDS; i++)
        most = ld->refreshes[i] > most ? ld->refreshes[i] : most;
    return most;
}

static bool row_metric(load_row *row, const char *word, int64_t *ret)
{
    for (unsigned v = 0; v < VERDICT_COUNT; v++) {
        if (strcmp(word, verdict_text[v]) == 0) {
            *ret = row->verdicts[v];
            return true;
        }
    }
    const struct {
        const char *word;
        int64_t value;
    } table[] = {
        {"asked", row->asked},
        {"wrong", row->asked - row->verdicts[VERDICT_RIGHT]},
        {"painful", row->painful},
        {"stale", row->stale},
        {"unexplained", (int64_t)row->verdicts[VERDICT_FAILED] - row->unreachable},
        {"p50", quantile(row, 500)},
        {"p99", quantile(row, 990)},
        {"max", quantile(row, 1000)},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        if (strcmp(word, table[i].word) == 0) {
            *ret = table[i].value;
            return true;
        }
    }
    return false;
}

bool load_metric(load *ld, char **words, unsigned n, int64_t *ret_value, unsigned *ret_used)
{
    const struct {
        const char *word;
        int64_t value;
    } table[] = {
        {"per-flight", ratio(ld->queries_alive, ld->flights_alive)},
        {"per-doubted", ratio(ld->doubted_queries, ld->doubted_flights)},
        {"per-question", ratio(ld->queries_dead, ld->questions_dead)},
        {"old", ld->last_old},
        {"refreshes", refreshes_most(ld)},
    };
    for (size_t i = 0; n > 0 && i < SB_ARRAY_SIZE(table); i++) {
        if (strcmp(words[0], table[i].word) == 0) {
            *ret_value = table[i].value;
            *ret_used = 1;
            return true;
        }
    }
    unsigned who = n > 0 && strcmp(words[0], "resending") == 0, at = who;
    for (unsigned g = 0; n >= at + 2 && g < LOAD_GROUPS; g++) {
        if (strcmp(words[at], group_text[g]) == 0) {
            *ret_used = at + 2;
            return row_metric(&ld->rows[who][g], words[at + 1], ret_value);
        }
    }
    return false;
}

void load_report(load *ld, sb_text *out)
{
    for (unsigned c = 0; c < LOAD_CLIENTS; c++) {
        for (unsigned g = LOAD_KNOWN; g < LOAD_GROUPS; g++) {
            load_row *row = &ld->rows[c][g];
            if (row->asked == 0)
                continue;
            sb_text_add(out, "# %s%s: %u asked, %u painful, p50 %.1f ms, p99 %.1f ms, most %.1f ms",
                        c ? "resending, " : "", group_text[g], row->asked, row->painful,
                        (double)quantile(row, 500) / 1e6, (double)quantile(row, 990) / 1e6,
                        (double)quantile(row, 1000) / 1e6);
            for (unsigned v = 0; v < VERDICT_COUNT; v++) {
                if (row->verdicts[v])
                    sb_text_add(out, ", %u %s", row->verdicts[v], verdict_text[v]);
            }
            sb_text_add(out, ", %u stale\n", row->stale);
        }
    }
    sb_text_add(out, "# upstream: %.3f queries per flight, %.3f per doubted one, %.3f per question",
                (double)ratio(ld->queries_alive, ld->flights_alive) / 1e3,
                (double)ratio(ld->doubted_queries, ld->doubted_flights) / 1e3,
                (double)ratio(ld->queries_dead, ld->questions_dead) / 1e3);
    sb_text_add(out, " when dead; %u refreshes a second at most", refreshes_most(ld));
    if (ld->last_old >= 0)
        sb_text_add(out, "; the old last after %.3f s", (double)ld->last_old / 1e9);
    sb_text_add(out, "\n");
}
