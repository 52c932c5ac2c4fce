/* outage-load: both upstreams and both clients of one run; drives one scenario and reports.
 *
 *     outage-load --list
 *     outage-load --scene S4 --resolver A:P --upstream A:P --upstream A:P
 *                 [--seconds 60] [--rate 200] [--second-rate 20] [--seed 1]
 *
 * Speaks to its parent (bench/outage/run) in lines. Out: `ready` (the run begins), `noroute A` and
 * `route A` (take and give back the route), `restart` (kill the resolver and start it again),
 * `result {…}`. In: `exec NS`, the CLOCK_MONOTONIC time of that start. One thread. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "outage/client.h"
#include "outage/endpoints.h"
#include "outage/prober.h"
#include "outage/upstream.h"

#define START_NS (20 * SECOND) /* for a resolver to answer at all */
#define PASS_NS (2 * SECOND)   /* to ask for every known name once */
#define PAUSE_NS (500 * MS)    /* between passes, and before the run */
#define PRIMARY_DELAY_NS (5 * MS)
#define SECOND_DELAY_NS (10 * MS)
#define WARM_PASSES 2

typedef struct step_timer {
    loop_timer timer;
    struct run *r;
    const scene_step *step;
} step_timer;

typedef struct run {
    world w;
    prober prober;
    endpoints endpoints;
    bool has_endpoints;
    unsigned rate, second_rate;
    sb_addr upstreams[TALLY_SERVERS];
    unsigned upstream_count;
    loop_watch input;
    char line[64];
    size_t line_size;
    loop_timer give_up, warm, end;
    unsigned pass;
    uint32_t warm_next;
    step_timer steps[SCENE_STEPS_MAX];
    int exit_code;
} run;

static int list_scenes(void);
static bool parse(run *r, int argc, char **argv);
static bool parse_number(const char *text, uint64_t max, uint64_t *ret_value);
static bool open_world(run *r);
static void close_world(run *r);
static void give_up(loop_timer *timer);
static void first_ready(prober *p, int64_t after_ns);
static void again_ready(prober *p, int64_t after_ns);
static void warm_fire(loop_timer *timer);
static void begin(run *r);
static void step_fire(loop_timer *timer);
static void set_fault(run *r, const scene_step *step);
static void note_death(world *w);
static void end_fire(loop_timer *timer);
static void report(run *r);
static void input_ready(loop_watch *watch);
static void take_line(run *r);
static void say(const char *word, const char *argument);

int main(int argc, char **argv)
{
    static run r;
    if (argc == 2 && strcmp(argv[1], "--list") == 0)
        return list_scenes();
    r.w.seconds = SCENE_LENGTH_MS / 1000;
    r.w.seed = 1;
    r.rate = 200;
    r.second_rate = 20;
    if (!parse(&r, argc, argv)) {
        fputs("usage: outage-load --scene NAME --resolver A:P --upstream A:P --upstream A:P "
              "[--seconds N] [--rate N] [--second-rate N] [--seed N] | --list\n",
              stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    if (!open_world(&r)) {
        fprintf(stderr, "outage-load: cannot open the sockets: %s\n", strerror(errno));
        return 1;
    }
    prober_start(&r.prober, loop_now(), 20 * MS);
    loop_at(&r.w.loop, &r.give_up, loop_now() + START_NS);
    if (!loop_run(&r.w.loop)) {
        fprintf(stderr, "outage-load: epoll: %s\n", strerror(errno));
        r.exit_code = 1;
    }
    close_world(&r);
    return r.exit_code;
}

static int list_scenes(void)
{
    const scene *s;
    for (unsigned i = 0; (s = scene_at(i)); i++)
        printf(
            "{\"name\":\"%s\",\"title\":\"%s\",\"protect\":%s,\"confirm_ms\":%u,\"max_ms\":%u}\n",
            s->name, s->title, s->protect ? "true" : "false", s->confirm_ms, s->max_ms);
    return 0;
}

static bool parse(run *r, int argc, char **argv)
{
    bool has_resolver = false;
    for (int i = 1; i < argc; i += 2) {
        const char *key = argv[i], *value = argv[i + 1];
        uint64_t number = 0;
        if (!value)
            return false;
        size_t size = strlen(value);
        bool is_number = parse_number(value, 86400, &number) && number > 0;
        if (strcmp(key, "--scene") == 0)
            r->w.scene = scene_find(value);
        else if (strcmp(key, "--resolver") == 0)
            has_resolver = sb_addr_parse_port(value, size, 53, &r->w.resolver);
        else if (strcmp(key, "--upstream") == 0 && r->upstream_count < TALLY_SERVERS &&
                 sb_addr_parse_port(value, size, 53, &r->upstreams[r->upstream_count]))
            r->upstream_count++;
        else if (strcmp(key, "--seconds") == 0 && is_number)
            r->w.seconds = (uint32_t)number;
        else if (strcmp(key, "--rate") == 0 && is_number)
            r->rate = (unsigned)number;
        else if (strcmp(key, "--second-rate") == 0 && is_number)
            r->second_rate = (unsigned)number;
        else if (strcmp(key, "--seed") == 0 && is_number)
            r->w.seed = number;
        else
            return false;
    }
    return r->w.scene && has_resolver && r->upstream_count == TALLY_SERVERS;
}

static bool parse_number(const char *text, uint64_t max, uint64_t *ret_value)
{
    return sb_parse_u64(text, strlen(text), max, ret_value);
}

static bool open_world(run *r)
{
    world *w = &r->w;
    w->warm_from_ns = w->zero_ns = w->end_ns = ZONE_NEVER;
    w->dead_from_ns = w->dead_to_ns = w->restart_ns = w->exec_ns = ZONE_NEVER;
    w->ready_ns = -1;
    zone_init(&w->zone);
    if (!loop_init(&w->loop) || !tally_init(&w->tally, w->seconds))
        return false;
    const int64_t delays[] = {PRIMARY_DELAY_NS, SECOND_DELAY_NS};
    for (unsigned i = 0; i < TALLY_SERVERS; i++) {
        if (!upstream_open(&w->upstreams[i], w, i, &r->upstreams[i], delays[i]))
            return false;
    }
    for (unsigned i = 0; i < w->scene->step_count; i++)
        r->has_endpoints = r->has_endpoints || w->scene->steps[i].event == EVENT_DELETE;
    if (r->has_endpoints && !endpoints_open(&r->endpoints, w))
        return false;
    r->give_up.fire = give_up;
    r->warm.fire = warm_fire;
    r->end.fire = end_fire;
    r->input = (loop_watch){STDIN_FILENO, input_ready};
    return client_open(&w->clients[0], w, 0, r->rate, false) &&
           client_open(&w->clients[1], w, 1, r->second_rate, true) &&
           prober_open(&r->prober, w, first_ready) && loop_watch_add(&w->loop, &r->input);
}

static void close_world(run *r)
{
    world *w = &r->w;
    prober_close(&r->prober);
    for (unsigned i = 0; i < TALLY_CLIENTS; i++)
        client_close(&w->clients[i]);
    if (r->has_endpoints)
        endpoints_close(&r->endpoints);
    for (unsigned i = 0; i < TALLY_SERVERS; i++)
        upstream_close(&w->upstreams[i]);
    tally_fini(&w->tally);
    loop_fini(&w->loop);
}

static void give_up(loop_timer *timer)
{
    run *r = sb_container_of(timer, run, give_up);
    fputs("outage-load: the resolver did not answer within 20 s of its start\n", stderr);
    r->exit_code = 3;
    loop_stop(&r->w.loop);
}

static void first_ready(prober *p, int64_t after_ns)
{
    run *r = sb_container_of(p, run, prober);
    (void)after_ns;
    loop_cancel(&r->w.loop, &r->give_up);
    loop_at(&r->w.loop, &r->warm, loop_now());
}

static void again_ready(prober *p, int64_t after_ns)
{
    p->w->ready_ns = after_ns;
}

/* Every known name twice, through the search list; the second pass is counted, as a check that the
 * resolver works at all. */
static void warm_fire(loop_timer *timer)
{
    run *r = sb_container_of(timer, run, warm);
    world *w = &r->w;
    if (r->warm_next == ZONE_KNOWN_COUNT) {
        r->warm_next = 0;
        if (++r->pass == WARM_PASSES) {
            begin(r);
            return;
        }
        loop_at(&w->loop, timer, loop_now() + PAUSE_NS);
        return;
    }
    if (r->pass == WARM_PASSES - 1 && r->warm_next == 0)
        w->warm_from_ns = loop_now();
    client_look_up(&w->clients[0], (zone_id){.kind = ZONE_KNOWN, .index = r->warm_next++}, true);
    loop_at(&w->loop, timer, loop_now() + PASS_NS / ZONE_KNOWN_COUNT);
}

static void begin(run *r)
{
    world *w = &r->w;
    const scene *s = w->scene;
    w->zero_ns = loop_now() + PAUSE_NS;
    w->end_ns = w->zero_ns + (int64_t)w->seconds * SECOND;
    for (unsigned i = 0; i < s->step_count; i++) {
        step_timer *t = &r->steps[i];
        *t = (step_timer){.timer.fire = step_fire, .r = r, .step = &s->steps[i]};
        int64_t after = (int64_t)t->step->at_ms * MS * w->seconds * 1000 / SCENE_LENGTH_MS;
        loop_at(&w->loop, &t->timer, w->zero_ns + after);
    }
    if (s->confirm_ms) {
        w->zone.confirms = true;
        int64_t scale = (int64_t)w->seconds * 1000 * MS / SCENE_LENGTH_MS;
        w->zone.delete_grace_ns += (int64_t)s->confirm_ms * scale;
        w->zone.delete_grace_alive_ns += (int64_t)s->max_ms * scale;
    }
    client_start(&w->clients[0], w->zero_ns);
    client_start(&w->clients[1], w->zero_ns + w->clients[1].interval_ns / 3);
    loop_at(&w->loop, &r->end, w->end_ns);
    say("ready", "");
}

static void step_fire(loop_timer *timer)
{
    step_timer *t = sb_container_of(timer, step_timer, timer);
    run *r = t->r;
    world *w = &r->w;
    switch (t->step->event) {
    case EVENT_FAULT:
        set_fault(r, t->step);
        break;
    case EVENT_CHANGE:
        w->zone.changed_ns = loop_now();
        break;
    case EVENT_DELETE:
        w->zone.deleted_ns = loop_now();
        endpoints_thin(&r->endpoints);
        break;
    case EVENT_RESTART:
        w->restart_ns = loop_now();
        say("restart", "");
        break;
    }
}

static void set_fault(run *r, const scene_step *step)
{
    for (unsigned i = 0; i < TALLY_SERVERS; i++) {
        upstream *u = &r->w.upstreams[i];
        scene_fault fault = step->fault;
        if (!(step->servers & 1u << i))
            continue;
        char text[SB_ADDR_TEXT_MAX];
        if (fault == FAULT_NO_ROUTE || u->fault == FAULT_NO_ROUTE)
            say(fault == FAULT_NO_ROUTE ? "noroute" : "route", sb_addr_text(&u->addr, text));
        if (!upstream_set_fault(u, fault)) {
            fprintf(stderr, "outage-load: cannot change the upstream: %s\n", strerror(errno));
            r->exit_code = 1;
            loop_stop(&r->w.loop);
        }
    }
    note_death(&r->w);
}

static void note_death(world *w)
{
    if (!world_alive(w) && w->dead_from_ns == ZONE_NEVER)
        w->dead_from_ns = loop_now();
    if (world_alive(w) && w->dead_from_ns != ZONE_NEVER && w->dead_to_ns == ZONE_NEVER)
        w->dead_to_ns = loop_now();
}

/* At the end of asking, then until the last question has its end. */
static void end_fire(loop_timer *timer)
{
    run *r = sb_container_of(timer, run, end);
    world *w = &r->w;
    bool waiting = w->clients[0].outstanding || w->clients[1].outstanding;
    if (waiting && loop_now() < w->end_ns + CLIENT_PATIENCE_NS + SECOND) {
        loop_at(&w->loop, timer, loop_now() + 20 * MS);
        return;
    }
    report(r);
    loop_stop(&w->loop);
}

static void report(run *r)
{
    world *w = &r->w;
    sb_text out = {0};
    sb_text_add(&out,
                "result {\"scene\":\"%s\",\"title\":\"%s\",\"seconds\":%u,\"rate\":%u,"
                "\"second_rate\":%u,\"seed\":%llu,\"late_max_ms\":%.1f,",
                w->scene->name, w->scene->title, w->seconds, r->rate, r->second_rate,
                (unsigned long long)w->seed, (double)w->late_max_ns / (double)MS);
    if (w->restart_ns != ZONE_NEVER) {
        sb_text_add(&out, "\"restart\":{\"down_ms\":%.1f,\"ready_ms\":",
                    w->exec_ns == ZONE_NEVER ? -1.0
                                             : (double)(w->exec_ns - w->restart_ns) / (double)MS);
        if (w->ready_ns >= 0)
            sb_text_add(&out, "%.1f},", (double)w->ready_ns / (double)MS);
        else
            sb_text_add(&out, "null},");
    }
    tally_json(&w->tally, &out);
    sb_text_add(&out, "}");
    if (out.failed) {
        fputs("outage-load: no memory for the report\n", stderr);
        r->exit_code = 1;
    } else {
        say(out.data, "");
    }
    sb_text_fini(&out);
}

static void input_ready(loop_watch *watch)
{
    run *r = sb_container_of(watch, run, input);
    char bytes[64];
    ssize_t n = read(watch->fd, bytes, sizeof bytes);
    if (n <= 0) {
        /* The parent is gone: nobody is there to restart a resolver or to read the result. */
        r->exit_code = 1;
        loop_stop(&r->w.loop);
        return;
    }
    for (ssize_t i = 0; i < n; i++) {
        if (bytes[i] == '\n') {
            take_line(r);
            r->line_size = 0;
        } else if (r->line_size < sizeof r->line) {
            r->line[r->line_size++] = bytes[i];
        }
    }
}

static void take_line(run *r)
{
    static const char word[] = "exec ";
    const size_t size = sizeof word - 1;
    uint64_t at_ns;
    if (r->line_size <= size || memcmp(r->line, word, size) != 0 ||
        !sb_parse_u64(r->line + size, r->line_size - size, INT64_MAX, &at_ns))
        return;
    r->w.exec_ns = (int64_t)at_ns;
    r->prober.ready = again_ready;
    prober_start(&r->prober, r->w.exec_ns, MS);
}

static void say(const char *word, const char *argument)
{
    printf("%s%s%s\n", word, *argument ? " " : "", argument);
    fflush(stdout);
}
