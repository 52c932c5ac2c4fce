/* The simulator's command: runs seeds, in parallel processes, and prints for each broken law the
 * line that replays it.
 *
 *   stubborn-sim --seeds 1-10000 [--jobs 2] [--twice] [--tap] [--stop N] [--sanitized A-B]
 *   stubborn-sim --trace SEED            one seed, everything printed
 *
 * --sanitized gives the seeds to run where SB_SANITIZER is set instead. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sim/world.h"

typedef struct options {
    uint64_t first, last;
    unsigned jobs;
    bool twice, tap, verbose;
    unsigned stop; /* failures after which all end */
    const char *self;
} options;

/* Shared between the jobs: each takes the next seeds from it. */
typedef struct tally {
    _Atomic uint64_t next, done, questions, packets, failures, stale, failed_answers;
    _Atomic uint64_t digest; /* sum of the traces: the same for the same seeds, on any machine */
} tally;

static bool parse(int argc, char **argv, options *o);
static void job(const options *o, tally *t);
static void run_one(const options *o, tally *t, world *w, uint64_t seed);
static int summary(const options *o, const tally *t, double seconds, bool crashed);

int main(int argc, char **argv)
{
    options o = {.first = 1, .last = 100, .jobs = 1, .stop = 20, .self = argv[0]};
    if (!parse(argc, argv, &o)) {
        fputs("usage: sim --seeds A-B [--jobs N] [--twice] [--tap] [--stop N] | --trace SEED\n",
              stderr);
        return 2;
    }
    tally *t = mmap(NULL, sizeof *t, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (t == MAP_FAILED) {
        perror("sim");
        return 1;
    }
    t->next = o.first;
    struct timespec began, ended;
    clock_gettime(CLOCK_MONOTONIC, &began);
    bool crashed = false;
    fflush(stdout);
    pid_t children[64];
    for (unsigned i = 0; i < o.jobs; i++) {
        children[i] = o.jobs == 1 ? 0 : fork();
        if (children[i] < 0) {
            perror("sim: fork");
            return 1;
        }
        if (children[i] == 0) {
            job(&o, t);
            if (o.jobs > 1)
                exit(0);
        }
    }
    for (unsigned i = 0; o.jobs > 1 && i < o.jobs; i++) {
        int status;
        while (waitpid(children[i], &status, 0) < 0 && errno == EINTR) {
        }
        crashed = crashed || !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    return summary(&o, t,
                   (double)(ended.tv_sec - began.tv_sec) +
                       (double)(ended.tv_nsec - began.tv_nsec) / 1e9,
                   crashed);
}

static bool number(const char *text, uint64_t *ret)
{
    return text && sb_parse_u64(text, strlen(text), UINT64_MAX, ret);
}

/* "A-B", or "N" alone: the first N, as in make sim SEEDS=10000. */
static bool range(const char *value, options *o)
{
    const char *dash = value ? strchr(value, '-') : NULL;
    o->first = 1;
    if (!dash)
        return number(value, &o->last);
    return sb_parse_u64(value, (size_t)(dash - value), UINT64_MAX, &o->first) &&
           number(dash + 1, &o->last);
}

static bool parse(int argc, char **argv, options *o)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        uint64_t n;
        if (strcmp(argv[i], "--twice") == 0) {
            o->twice = true;
        } else if (strcmp(argv[i], "--tap") == 0) {
            o->tap = true;
        } else if (strcmp(argv[i], "--verbose") == 0) {
            o->verbose = true;
        } else if (strcmp(argv[i], "--jobs") == 0 && number(value, &n) && n >= 1 && n <= 64) {
            o->jobs = (unsigned)n;
            i++;
        } else if (strcmp(argv[i], "--stop") == 0 && number(value, &n)) {
            o->stop = (unsigned)n;
            i++;
        } else if (strcmp(argv[i], "--trace") == 0 && number(value, &n)) {
            o->first = o->last = n;
            o->verbose = true;
            i++;
        } else if (strcmp(argv[i], "--seeds") == 0 && range(value, o)) {
            i++;
        } else if (strcmp(argv[i], "--sanitized") == 0 && value) {
            if (getenv("SB_SANITIZER") && !range(value, o))
                return false;
            i++;
        } else {
            return false;
        }
    }
    return o->first <= o->last;
}

static void job(const options *o, tally *t)
{
    world *w = world_new();
    for (;;) {
        uint64_t seed = t->next++;
        if (seed > o->last || t->failures >= o->stop)
            break;
        run_one(o, t, w, seed);
    }
    world_free(w);
}

/* The seed in hand, for the message of a process that dies of it. */
static void run_one(const options *o, tally *t, world *w, uint64_t seed)
{
    char actors[1024];
    bool good = world_run(w, seed, o->verbose);
    uint64_t trace = w->trace;
    if (good && o->twice) {
        good = world_run(w, seed, false);
        if (good && w->trace != trace)
            oracle_fail(&w->o, "the same seed gave another trace");
        good = w->o.failure[0] == 0;
    }
    t->done++;
    t->digest += trace;
    t->questions += w->questions;
    t->packets += sim_packets_sent(w->s);
    t->stale += w->o.stale_seen;
    t->failed_answers += w->o.failures_seen;
    if (good)
        return;
    t->failures++;
    world_describe(w, actors, sizeof actors);
    printf("%sseed %llu: %s [%s]; replay: %s --trace %llu\n", o->tap ? "# " : "",
           (unsigned long long)seed, w->o.failure, actors, o->self, (unsigned long long)seed);
    fflush(stdout);
}

static int summary(const options *o, const tally *t, double seconds, bool crashed)
{
    bool good = t->failures == 0 && !crashed;
    const char *lead = o->tap ? "# " : "";
    printf("%s%llu seeds, %llu questions (%llu stale, %llu failed), %llu packets in %.1f s, "
           "digest %016llx: %s\n",
           lead, (unsigned long long)t->done, (unsigned long long)t->questions,
           (unsigned long long)t->stale, (unsigned long long)t->failed_answers,
           (unsigned long long)t->packets, seconds, (unsigned long long)t->digest,
           good      ? "all laws kept"
           : crashed ? "a job died"
                     : "laws broken");
    if (o->tap)
        printf("1..1\n%s 1 - seeds %llu to %llu%s\n", good ? "ok" : "not ok",
               (unsigned long long)o->first, (unsigned long long)o->last,
               o->twice ? ", twice each" : "");
    return good ? 0 : 1;
}
