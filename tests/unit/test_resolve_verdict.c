/* Doubted denials: the judgement as a table over all evidence, and since when denials agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "resolve/verdict.h"

static const sb_ns confirm = 600 * SB_S, most = 86400 * SB_S;

/* What A12 says, told again in other words: the judge's own code is not asked. */
static bool obeyed_by_law(const sb_evidence *e)
{
    bool steady = e->known_for >= 10 * confirm;
    if (e->obeyed)
        return true;
    if (!e->is_protected)
        return !(e->in_window); /* within the window nothing is believed */
    switch (e->second) {
    case SB_SECOND_CONTRADICTS:
        return false;
    case SB_SECOND_AGREES: /* two are enough, whatever else is seen */
        return e->agreed_for >= confirm || e->denied_for >= most;
    case SB_SECOND_SILENT:
        return e->denied_for >= most;
    case SB_SECOND_NONE:
        break;
    }
    if (e->denied_for >= most)
        return true;
    if (e->liveness == SB_LIVENESS_ALIVE || e->siblings >= 3)
        return false;
    return e->agreed_for >= (steady ? 3 * confirm : confirm);
}

typedef struct tally {
    unsigned obeyed, doubted;
} tally;

static void judge(const sb_evidence *e, tally *t)
{
    const char *reason = NULL;
    bool obeys = sb_doubt_obeys(e, &reason);
    if (obeys != obeyed_by_law(e))
        fail_msg("obeyed %d protected %d window %d second %d live %d siblings %u known %lld s, for "
                 "%lld s of %lld s: %s",
                 e->obeyed, e->is_protected, e->in_window, (int)e->second, (int)e->liveness,
                 e->siblings, (long long)(e->known_for / SB_S), (long long)(e->agreed_for / SB_S),
                 (long long)(e->denied_for / SB_S), obeys ? "obeyed" : "doubted");
    assert_non_null(reason);
    assert_int_equal(obeys, reason[0] == 0); /* doubt has a reason, obedience none */
    if (!obeys && e->liveness == SB_LIVENESS_ALIVE)
        assert_non_null(strstr(reason, "alive")); /* and states the evidence */
    if (!obeys && e->liveness == SB_LIVENESS_DEAD)
        assert_non_null(strstr(reason, "dead"));
    *(obeys ? &t->obeyed : &t->doubted) += 1;
}

static const sb_ns times[] = {
    0,           1,           300 * SB_S,   600 * SB_S - 1, 600 * SB_S,
    1799 * SB_S, 1800 * SB_S, 86399 * SB_S, 86400 * SB_S,   200000 * SB_S};

/* All times of one kind of evidence: agreement is never older than the denial. */
static void all_times(sb_evidence e, tally *t)
{
    static const sb_ns known[] = {0, 600 * SB_S, 5999 * SB_S, 6000 * SB_S, 900000 * SB_S};
    for (size_t k = 0; k < SB_ARRAY_SIZE(known); k++) {
        for (size_t d = 0; d < SB_ARRAY_SIZE(times); d++) {
            for (size_t a = 0; a <= d; a++) {
                e.known_for = known[k];
                e.denied_for = times[d];
                e.agreed_for = times[a];
                judge(&e, t);
            }
        }
    }
}

static void every_evidence(void **state)
{
    (void)state;
    tally t = {0};
    for (unsigned bits = 0; bits < 8; bits++)
        for (unsigned second = SB_SECOND_NONE; second <= SB_SECOND_CONTRADICTS; second++)
            for (unsigned live = SB_LIVENESS_UNKNOWN; live <= SB_LIVENESS_ALIVE; live++)
                for (unsigned siblings = 0; siblings < 5; siblings++)
                    all_times((sb_evidence){.obeyed = bits & 1,
                                            .is_protected = bits & 2,
                                            .in_window = bits & 4,
                                            .second = (sb_second)second,
                                            .liveness = (sb_liveness)live,
                                            .siblings = siblings,
                                            .confirm = confirm,
                                            .most = most},
                              &t);
    assert_true(t.obeyed > 0 && t.doubted > 0);
}

/* Each line of the law once, by its reason. */
static void reasons(void **state)
{
    (void)state;
#define FOR(s) .agreed_for = (s)*SB_S, .denied_for = (s)*SB_S
    static const struct {
        sb_evidence evidence;
        const char *reason; /* NULL: obeyed */
    } table[] = {
        {{0}, NULL},
        {{.second = SB_SECOND_CONTRADICTS}, NULL}, /* first come, first believed: not protected */
        {{.liveness = SB_LIVENESS_ALIVE}, NULL},
        {{.in_window = true}, "network change"},
        {{.in_window = true, .second = SB_SECOND_CONTRADICTS}, "known to another"},
        {{.is_protected = true}, "not confirmed"},
        {{.is_protected = true, .second = SB_SECOND_AGREES}, "not confirmed"},
        {{.is_protected = true, .second = SB_SECOND_AGREES, .liveness = SB_LIVENESS_ALIVE},
         "its address is alive"},
        {{.is_protected = true, .second = SB_SECOND_AGREES, FOR(600)}, NULL},
        {{.is_protected = true,
          .second = SB_SECOND_AGREES,
          .liveness = SB_LIVENESS_ALIVE,
          .siblings = 50,
          FOR(600)},
         NULL},
        {{.is_protected = true, .second = SB_SECOND_NONE, FOR(600)}, NULL},
        {{.is_protected = true, .second = SB_SECOND_SILENT, .denied_for = 600 * SB_S}, "silent"},
        {{.is_protected = true, .second = SB_SECOND_SILENT, .denied_for = 86400 * SB_S}, NULL},
        {{.is_protected = true, .second = SB_SECOND_CONTRADICTS, FOR(86400)}, "known to another"},
        {{.is_protected = true, .liveness = SB_LIVENESS_ALIVE, FOR(3600)},
         "one server alone; its address is alive"},
        {{.is_protected = true, .liveness = SB_LIVENESS_ALIVE, FOR(86400)}, NULL},
        {{.is_protected = true, .liveness = SB_LIVENESS_DEAD, FOR(600)}, NULL},
        {{.is_protected = true, .liveness = SB_LIVENESS_HOST, FOR(300)}, "its address refuses"},
        {{.is_protected = true, .siblings = 3, FOR(3600)}, "many names of its zone"},
        {{.is_protected = true, .siblings = 2, FOR(600)}, NULL},
        {{.is_protected = true, .known_for = 6000 * SB_S, FOR(900)}, "stood for long"},
        {{.is_protected = true, .known_for = 6000 * SB_S, FOR(1800)}, NULL},
        {{.is_protected = true, .obeyed = true}, NULL},
    };
#undef FOR
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        sb_evidence e = table[i].evidence;
        const char *reason = "";
        e.confirm = confirm;
        e.most = most;
        bool obeys = sb_doubt_obeys(&e, &reason);
        if (obeys != (table[i].reason == NULL) || (!obeys && !strstr(reason, table[i].reason)))
            fail_msg("row %zu: %s %s", i, obeys ? "obeyed" : "doubted", reason);
    }
}

/* protect_confirm 0 means: agreement is enough; 0 s of it are 0 s. */
static void confirmation_of_nothing(void **state)
{
    (void)state;
    const char *reason;
    sb_evidence e = {.is_protected = true, .second = SB_SECOND_AGREES, .most = most};
    assert_true(sb_doubt_obeys(&e, &reason));
    e.second = SB_SECOND_CONTRADICTS;
    assert_false(sb_doubt_obeys(&e, &reason));
}

static sb_name name_of(const char *text)
{
    sb_name name;
    assert_int_equal(sb_name_parse(text, strlen(text), &name, NULL), SB_OK);
    sb_name_fold(&name);
    return name;
}

static sb_doubts *doubts_new(void)
{
    const uint8_t secret[16] = {7};
    sb_doubts *doubts = NULL;
    assert_int_equal(sb_doubts_new(secret, &doubts), SB_OK);
    return doubts;
}

static void agreement_is_counted_from_the_first(void **state)
{
    (void)state;
    sb_doubts *d = doubts_new();
    sb_name a = name_of("a.example"), b = name_of("b.example");
    assert_int_equal(sb_doubts_denied(d, &a, 1, true, false, 10 * SB_S), 0); /* nobody to agree */
    assert_int_equal(sb_doubts_denied(d, &a, 1, true, true, 100 * SB_S), 0);
    assert_int_equal(sb_doubts_denied(d, &b, 1, true, true, 150 * SB_S), 0);
    assert_int_equal(sb_doubts_denied(d, &a, 1, true, true, 160 * SB_S), 60 * SB_S);
    /* A second server that is silent breaks no agreement, and adds none. */
    assert_int_equal(sb_doubts_denied(d, &a, 1, true, false, 170 * SB_S), 70 * SB_S);
    assert_int_equal(sb_doubts_denied(d, &a, 1, true, true, 400 * SB_S), 300 * SB_S);
    sb_doubts_clear(d, &a, 1); /* it was answered */
    assert_int_equal(sb_doubts_denied(d, &a, 1, true, true, 500 * SB_S), 0);
    assert_int_equal(sb_doubts_denied(d, &b, 1, true, true, 500 * SB_S), 350 * SB_S);
    sb_doubts_clear(d, &(sb_name){.size = 1}, 1); /* never heard of */
    sb_doubts_free(d);
    sb_doubts_free(NULL);
}

static void silence_counts_for_the_longest_time(void **state)
{
    (void)state;
    sb_doubts *d = doubts_new();
    sb_name a = name_of("a.example");
    assert_int_equal(sb_doubts_denied_for(d, &a, 1, 5 * SB_S), 0);
    assert_int_equal(sb_doubts_denied(d, &a, 1, true, false, 10 * SB_S), 0);
    assert_int_equal(sb_doubts_denied(d, &a, 1, true, false, 40 * SB_S), 0);
    assert_int_equal(sb_doubts_denied_for(d, &a, 1, 40 * SB_S), 30 * SB_S);
    /* From the name to one of its types it goes on. */
    assert_int_equal(sb_doubts_denied(d, &a, 1, false, false, 50 * SB_S), 0);
    assert_int_equal(sb_doubts_denied_for(d, &a, 1, 50 * SB_S), 40 * SB_S);
    sb_doubts_clear(d, &a, 1);
    assert_int_equal(sb_doubts_denied_for(d, &a, 1, 60 * SB_S), 0);
    sb_doubts_free(d);
}

static void siblings_are_of_the_zone_and_of_late(void **state)
{
    (void)state;
    sb_doubts *d = doubts_new();
    sb_name zone = name_of("example"), other = name_of("example.net");
    sb_name a = name_of("a.example"), b = name_of("b.example"), c = name_of("c.example");
    sb_doubts_vanished(d, &zone, &a, SB_S);
    sb_doubts_vanished(d, &zone, &a, 2 * SB_S); /* the same again */
    assert_int_equal(sb_doubts_siblings(d, &zone, &a, 3 * SB_S), 0);
    assert_int_equal(sb_doubts_siblings(d, &zone, &b, 3 * SB_S), 1);
    sb_doubts_vanished(d, &zone, &b, 4 * SB_S);
    sb_doubts_vanished(d, &other, &c, 4 * SB_S);
    assert_int_equal(sb_doubts_siblings(d, &zone, &c, 5 * SB_S), 2);
    assert_int_equal(sb_doubts_siblings(d, &zone, &a, 5 * SB_S), 1);
    sb_doubts_clear(d, &b, 1); /* it is back */
    assert_int_equal(sb_doubts_siblings(d, &zone, &c, 5 * SB_S), 1);
    assert_int_equal(sb_doubts_siblings(d, &zone, &c, 1000 * SB_S), 0);
    for (unsigned i = 0; i < 2000; i++) { /* bounded */
        char text[40];
        snprintf(text, sizeof text, "n%u.example", i);
        sb_name name = name_of(text);
        sb_doubts_vanished(d, &zone, &name, 1000 * SB_S);
    }
    assert_int_equal(sb_doubts_siblings(d, &zone, &c, 1001 * SB_S), 256);
    sb_doubts_free(d);
}

static void an_answer_stands_while_its_addresses_stay(void **state)
{
    (void)state;
    sb_doubts *d = doubts_new();
    sb_question q = {.name = name_of("a.example"), .type = 1, .class = 1};
    sb_addr two[2] = {sb_addr_4((const uint8_t[4]){192, 0, 2, 1}, 0),
                      sb_addr_4((const uint8_t[4]){192, 0, 2, 2}, 0)};
    sb_addr turned[2] = {two[1], two[0]};
    sb_answer *answers[3];
    assert_int_equal(sb_answer_from_addresses(&q, two, 2, 60, SB_SOURCE_DNS, &answers[0]), SB_OK);
    assert_int_equal(sb_answer_from_addresses(&q, turned, 2, 60, SB_SOURCE_DNS, &answers[1]),
                     SB_OK);
    assert_int_equal(sb_answer_from_addresses(&q, two, 1, 60, SB_SOURCE_DNS, &answers[2]), SB_OK);
    assert_int_equal(sb_doubts_stands_since(d, &q), 0);
    sb_doubts_stands(d, &q, answers[0], 10 * SB_S);
    sb_doubts_stands(d, &q, answers[1], 20 * SB_S); /* round robin is no change */
    assert_int_equal(sb_doubts_stands_since(d, &q), 10 * SB_S);
    sb_doubts_stands(d, &q, answers[2], 30 * SB_S);
    assert_int_equal(sb_doubts_stands_since(d, &q), 30 * SB_S);
    for (unsigned i = 0; i < 3; i++)
        sb_answer_unref(answers[i]);
    sb_doubts_free(d);
}

static void the_zone_is_the_soas(void **state)
{
    (void)state;
    sb_question q = {.name = name_of("x.y.example"), .type = 1, .class = 1};
    sb_answer *bare;
    sb_name zone, above = name_of("y.example");
    assert_int_equal(sb_answer_empty(&q, SB_KIND_NXDOMAIN, 5, SB_SOURCE_DNS, &bare), SB_OK);
    sb_doubt_zone(bare, &zone);
    assert_true(sb_name_equal(&zone, &above));
    sb_answer_unref(bare);
}

static void the_operators_word(void **state)
{
    (void)state;
    sb_doubts *d = doubts_new();
    sb_name a = name_of("a.example"), b = name_of("b.example");
    assert_false(sb_doubts_obeyed(d, &a));
    assert_int_equal(sb_doubts_obey(d, &a, SB_S), SB_NOTFOUND); /* nothing denies it */
    assert_int_equal(sb_doubts_denied(d, &b, 28, false, true, SB_S), 0);
    assert_int_equal(sb_doubts_obey(d, &a, SB_S), SB_NOTFOUND);
    assert_int_equal(sb_doubts_obey(d, &b, SB_S), SB_OK); /* be it of one type alone */
    assert_int_equal(sb_doubts_denied(d, &a, 28, true, false, SB_S), 0);
    sb_doubts_end(d, &a, 28); /* believed */
    assert_int_equal(sb_doubts_obey(d, &a, SB_S), SB_NOTFOUND);
    assert_int_equal(sb_doubts_denied(d, &a, 28, true, false, SB_S), 0);
    assert_int_equal(sb_doubts_obey(d, &a, SB_S), SB_OK);
    assert_int_equal(sb_doubts_obey(d, &a, SB_S), SB_OK); /* said twice */
    assert_true(sb_doubts_obeyed(d, &a));
    assert_int_equal(sb_doubts_denied(d, &a, 1, true, true, 3 * SB_S), 2 * SB_S);
    assert_true(sb_doubts_obeyed(d, &a));
    sb_doubts_clear(d, &a, 1); /* holds until the name is answered again */
    assert_false(sb_doubts_obeyed(d, &a));
    sb_doubts_free(d);
}

/* Found by a seed: one type's denials made a later one of the whole name look old to another type,
 * which had been answered meanwhile. */
static void types_count_apart(void **state)
{
    (void)state;
    sb_doubts *d = doubts_new();
    sb_name a = name_of("a.example");
    assert_int_equal(sb_doubts_denied(d, &a, 1, false, true, 100 * SB_S), 0);
    assert_int_equal(sb_doubts_denied(d, &a, 28, false, true, 110 * SB_S), 0);
    sb_doubts_clear(d, &a, 16); /* a TXT */
    assert_int_equal(sb_doubts_denied(d, &a, 1, true, true, 140 * SB_S), 40 * SB_S);
    assert_int_equal(sb_doubts_denied(d, &a, 16, true, true, 150 * SB_S), 10 * SB_S);
    assert_int_equal(sb_doubts_denied(d, &a, 28, true, true, 160 * SB_S), 50 * SB_S);
    /* The name is answered: denials of the whole begin anew, for all types. */
    sb_doubts_clear(d, &a, 16);
    assert_int_equal(sb_doubts_denied(d, &a, 1, true, true, 200 * SB_S), 0);
    assert_int_equal(sb_doubts_denied(d, &a, 28, false, true, 200 * SB_S), 90 * SB_S);
    sb_doubts_free(d);
}

static void the_table_is_bounded(void **state)
{
    (void)state;
    sb_doubts *d = doubts_new();
    char text[40];
    for (unsigned i = 0; i < SB_DOUBTS_MAX; i++) { /* two records each */
        snprintf(text, sizeof text, "n%u.example", i);
        sb_name name = name_of(text);
        assert_int_equal(sb_doubts_denied(d, &name, 1, true, true, (sb_ns)i * SB_S), 0);
    }
    sb_name last = name_of(text), first = name_of("n0.example");
    sb_ns now = (SB_DOUBTS_MAX + 100) * SB_S;
    assert_int_equal(sb_doubts_denied(d, &last, 1, true, true, now), 101 * SB_S);
    assert_int_equal(sb_doubts_denied(d, &first, 1, true, true, now),
                     0); /* the oldest begins anew */
    sb_doubts_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_evidence),
        cmocka_unit_test(reasons),
        cmocka_unit_test(confirmation_of_nothing),
        cmocka_unit_test(agreement_is_counted_from_the_first),
        cmocka_unit_test(silence_counts_for_the_longest_time),
        cmocka_unit_test(siblings_are_of_the_zone_and_of_late),
        cmocka_unit_test(an_answer_stands_while_its_addresses_stay),
        cmocka_unit_test(the_zone_is_the_soas),
        cmocka_unit_test(the_operators_word),
        cmocka_unit_test(types_count_apart),
        cmocka_unit_test(the_table_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
