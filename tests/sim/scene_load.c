/* The steady clients of a scene: beginning and end of their load, and what came of it. See scene.h.
 */
#include <stdio.h>
#include <string.h>

#include "sim/scene.h"

#define PAUSE (500 * SB_MS) /* between passes, and before the run */
#define RATE 200
#define RESENDING 20

static void run_until_idle(scene *sc)
{
    while (!sc->failure[0] && load_busy(sc->load))
        (void)sim_step(sc->s, sim_now(sc->s) + SB_S);
}

/* warm: every known name is asked for twice. */
void scene_warm(scene *sc, char **words, unsigned n, char *rest)
{
    (void)words;
    (void)n;
    (void)rest;
    for (unsigned pass = 0; pass < 2; pass++) {
        sb_ns until = sim_now(sc->s) + 2 * SB_S;
        load_warm(sc->load);
        while (!sc->failure[0] && sim_step(sc->s, until)) {
        }
        run_until_idle(sc);
        until = sim_now(sc->s) + PAUSE;
        while (!sc->failure[0] && sim_step(sc->s, until)) {
        }
    }
    int64_t wrong;
    unsigned used;
    if (!load_metric(sc->load, (char *[]){"warm", "wrong"}, 2, &wrong, &used) || wrong > 0)
        scene_fail(sc, "%lld questions of the warm-up were not answered right", (long long)wrong);
}

/* load T [rate N] [resending N]: instants count from here. */
void scene_load(scene *sc, char **words, unsigned n, char *rest)
{
    uint64_t rates[2] = {RATE, RESENDING};
    sb_ns duration = 0;
    (void)rest;
    bool good = sb_parse_duration(words[1], false, &duration);
    for (unsigned i = 2; good && i + 1 < n; i += 2) {
        bool second = strcmp(words[i], "resending") == 0;
        good = (second || strcmp(words[i], "rate") == 0) &&
               sb_parse_u64(words[i + 1], strlen(words[i + 1]), 400, &rates[second]);
    }
    if (!good) {
        scene_fail(sc, "load T [rate N] [resending N]");
        return;
    }
    load_health(sc->load, sc->servers, sc->server_count);
    load_start(sc->load, duration, (unsigned)rates[0], (unsigned)rates[1]);
    sc->zero = sim_now(sc->s);
}

/* change: every known name has another address from now on. */
void scene_change(scene *sc, char **words, unsigned n, char *rest)
{
    (void)words;
    (void)n;
    (void)rest;
    load_change(sc->load);
}

/* delete [T]: a tenth of the known names is gone; for T more its address may be served. */
void scene_delete(scene *sc, char **words, unsigned n, char *rest)
{
    sb_ns grace = 0;
    (void)rest;
    if (n > 1 && !sb_parse_duration(words[1], false, &grace))
        scene_fail(sc, "delete [T]");
    else
        load_delete(sc->load, grace);
}

/* "1.1" are thousandths, "25ms" nanoseconds, "0" is a number. */
static bool parse_bound(const char *text, int64_t *ret)
{
    uint64_t whole, part;
    const char *dot = strchr(text, '.');
    if (!dot) {
        if (sb_parse_duration(text, false, ret))
            return true;
        if (!sb_parse_u64(text, strlen(text), INT64_MAX, &whole))
            return false;
        *ret = (int64_t)whole;
        return true;
    }
    size_t digits = strlen(dot + 1);
    if (digits == 0 || digits > 3 ||
        !sb_parse_u64(text, (size_t)(dot - text), UINT32_MAX, &whole) ||
        !sb_parse_u64(dot + 1, digits, 999, &part))
        return false;
    *ret = (int64_t)(whole * 1000 + part * (digits == 1 ? 100 : digits == 2 ? 10 : 1));
    return true;
}

/* loaded [resending] GROUP METRIC OP BOUND | loaded METRIC OP BOUND: waits for the end first. */
void scene_loaded(scene *sc, char **words, unsigned n, char *rest)
{
    int64_t value, bound;
    unsigned used = 0;
    run_until_idle(sc);
    if (!sc->report[0]) {
        sb_text text = {0};
        load_report(sc->load, &text);
        snprintf(sc->report, sizeof sc->report, "%s", text.data);
        sb_text_fini(&text);
    }
    if (!load_metric(sc->load, words + 1, n - 1, &value, &used) || n != used + 3 ||
        !parse_bound(words[used + 2], &bound)) {
        scene_fail(sc, "loaded [resending] GROUP METRIC OP BOUND");
        return;
    }
    const char *op = words[used + 1];
    bool good = strcmp(op, "<=") == 0   ? value <= bound
                : strcmp(op, ">=") == 0 ? value >= bound
                                        : value == bound;
    if (good)
        return;
    size_t size = strlen(rest);
    bool time = strchr(words[used + 2], 's') != NULL;
    scene_fail(sc, "%.*s is not so: %.3f%s", (int)(size > 200 ? 200 : size), rest,
               (double)value / (time                           ? 1e6
                                : strchr(words[used + 2], '.') ? 1e3
                                                               : 1),
               time ? " ms" : "");
}
