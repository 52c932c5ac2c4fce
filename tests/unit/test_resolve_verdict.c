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
    bool contradicted = e->second == SB_SECOND_CONTRADICTS;
    bool confirmed = e->agreed_for >= confirm && e->second != SB_SECOND_SILENT;
    bool alive = e->liveness == SB_LIVENESS_ALIVE;
    if (e->obeyed)
        return true;
    if (!e->is_protected)
        return !(e->in_window); /* within the window nothing is believed */
    if (contradicted)
        return false;
    return e->agreed_for >= most || (confirmed && !alive);
}

static void every_evidence(void **state)
{
    (void)state;
    static const sb_ns times[] = {0,
                                  1,
                                  300 * SB_S,
                                  600 * SB_S - 1,
                                  600 * SB_S,
                                  3600 * SB_S,
                                  86399 * SB_S,
                                  86400 * SB_S,
                                  200000 * SB_S};
    unsigned obeyed = 0, doubted = 0;
    for (unsigned bits = 0; bits < 8; bits++) {
        for (unsigned second = SB_SECOND_NONE; second <= SB_SECOND_CONTRADICTS; second++) {
            for (unsigned live = SB_LIVENESS_UNKNOWN; live <= SB_LIVENESS_ALIVE; live++) {
                for (size_t t = 0; t < SB_ARRAY_SIZE(times); t++) {
                    sb_evidence e = {.obeyed = bits & 1,
                                     .is_protected = bits & 2,
                                     .in_window = bits & 4,
                                     .second = (sb_second)second,
                                     .liveness = (sb_liveness)live,
                                     .agreed_for = times[t],
                                     .confirm = confirm,
                                     .most = most};
                    const char *reason = NULL;
                    bool obeys = sb_doubt_obeys(&e, &reason);
                    if (obeys != obeyed_by_law(&e))
                        fail_msg("obeyed %d protected %d window %d second %u live %u for %lld s: "
                                 "%s",
                                 e.obeyed, e.is_protected, e.in_window, second, live,
                                 (long long)(times[t] / SB_S), obeys ? "obeyed" : "doubted");
                    assert_non_null(reason);
                    assert_int_equal(obeys,
                                     reason[0] == 0); /* doubt has a reason, obedience none */
                    *(obeys ? &obeyed : &doubted) += 1;
                }
            }
        }
    }
    assert_true(obeyed > 0 && doubted > 0);
}

/* Each line of the law once, by its reason. */
static void reasons(void **state)
{
    (void)state;
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
        {{.is_protected = true, .second = SB_SECOND_AGREES, .agreed_for = 600 * SB_S}, NULL},
        {{.is_protected = true, .second = SB_SECOND_NONE, .agreed_for = 600 * SB_S}, NULL},
        {{.is_protected = true, .second = SB_SECOND_SILENT, .agreed_for = 600 * SB_S}, "silent"},
        {{.is_protected = true, .second = SB_SECOND_SILENT, .agreed_for = 86400 * SB_S}, NULL},
        {{.is_protected = true, .second = SB_SECOND_CONTRADICTS, .agreed_for = 86400 * SB_S},
         "known to another"},
        {{.is_protected = true, .liveness = SB_LIVENESS_ALIVE, .agreed_for = 3600 * SB_S}, "alive"},
        {{.is_protected = true, .liveness = SB_LIVENESS_ALIVE, .agreed_for = 86400 * SB_S}, NULL},
        {{.is_protected = true, .liveness = SB_LIVENESS_DEAD, .agreed_for = 600 * SB_S}, NULL},
        {{.is_protected = true, .obeyed = true}, NULL},
    };
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

static void the_operators_word(void **state)
{
    (void)state;
    sb_doubts *d = doubts_new();
    sb_name a = name_of("a.example");
    assert_false(sb_doubts_obeyed(d, &a));
    assert_int_equal(sb_doubts_obey(d, &a, SB_S), SB_OK);
    assert_true(sb_doubts_obeyed(d, &a));
    assert_int_equal(sb_doubts_denied(d, &a, 1, true, true, 3 * SB_S), 2 * SB_S);
    assert_true(sb_doubts_obeyed(d, &a));
    sb_doubts_clear(d, &a, 1); /* holds until the name is answered again */
    assert_false(sb_doubts_obeyed(d, &a));
    sb_doubts_free(d);
}

static void the_table_is_bounded(void **state)
{
    (void)state;
    sb_doubts *d = doubts_new();
    char text[40];
    for (unsigned i = 0; i < SB_DOUBTS_MAX + 100; i++) {
        snprintf(text, sizeof text, "n%u.example", i);
        sb_name name = name_of(text);
        assert_int_equal(sb_doubts_denied(d, &name, 1, true, true, (sb_ns)i * SB_S), 0);
    }
    sb_name last = name_of(text), first = name_of("n0.example");
    sb_ns now = (SB_DOUBTS_MAX + 200) * SB_S;
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
        cmocka_unit_test(the_operators_word),
        cmocka_unit_test(the_table_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
