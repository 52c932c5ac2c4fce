/* The interpreter of scenes: lines to deeds. See scene.h. */
#define _GNU_SOURCE /* memmem */
#include "sim/scene.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "conf/yaml.h"
#include "net/loop.h"

static void line_run(scene *sc, char *line);
static void words_run(scene *sc, char **words, unsigned n, char *rest);
static void run_until(scene *sc, sb_ns at);
static bool duration(scene *sc, const char *text, sb_ns *ret);
static server *server_named(scene *sc, const char *name);
static const sb_settings *make_settings(scene *sc);
static void forget_settings(scene *sc);
static void reset(scene *sc, const char *path, bool verbose);
static void finish(scene *sc);
static void quiet(void *context, sb_log_level level, const char *line, size_t size);
static void queried(void *context, const sim_packet *packet);
static void event(void *context, const sb_event *e);
static void broken(void *context, ask *a, const char *what);

scene *scene_new(void)
{
    scene *sc = calloc(1, sizeof *sc);
    SB_ASSERT(sc);
    sc->s = sim_new();
    sc->load = calloc(1, sizeof *sc->load);
    SB_ASSERT(sc->load);
    sc->seed = 1;
    return sc;
}

void scene_free(scene *sc)
{
    sim_free(sc->s);
    load_fini(sc->load);
    free(sc->load);
    free(sc);
}

void scene_fail(scene *sc, const char *format, ...)
{
    if (sc->failure[0])
        return;
    int n = snprintf(sc->failure, sizeof sc->failure, "%s:%u: ", sc->path, sc->line);
    va_list args;
    va_start(args, format);
    vsnprintf(sc->failure + n, sizeof sc->failure - (size_t)n, format, args);
    va_end(args);
}

bool scene_play(scene *sc, const char *path, const char *text, size_t size, bool verbose)
{
    int64_t live = memory_live();
    reset(sc, path, verbose);
    for (size_t at = 0; at < size && !sc->failure[0];) {
        char line[1000];
        const char *end = memchr(text + at, '\n', size - at);
        size_t n = end ? (size_t)(end - text) - at : size - at;
        sc->line++;
        if (n >= sizeof line) {
            scene_fail(sc, "the line is too long");
            break;
        }
        memcpy(line, text + at, n);
        line[n] = 0;
        at += n + 1;
        line_run(sc, line);
    }
    finish(sc);
    if (memory_live() != live)
        scene_fail(sc, "%lld blocks of memory leaked", (long long)(memory_live() - live));
    return sc->failure[0] == 0;
}

static void reset(scene *sc, const char *path, bool verbose)
{
    sim *s = sc->s;
    sim_reset(s, sc->seed);
    sim_verbose(s, verbose);
    memset(sc, 0, offsetof(scene, ends));
    sc->s = s;
    sc->path = path;
    sc->verbose = verbose;
    sc->zero = sim_now(s);
    sc->burst_count = 0;
    sc->spare[0] = sc->report[0] = 0;
    sc->d = (subject){.s = s};
    sc->sworld = (server_world){
        .compose = scene_compose, .lie = scene_lie, .forge = scene_forge, .context = sc};
    client_init(&sc->c, s, &sc->d);
    load_reset(sc->load, s, &sc->d, &sc->c);
    sc->c.context = sc;
    sc->c.replied = scene_replied;
    sc->c.broken = broken;
    sim_on_packet(s, queried, sc);
    sb_log_set_sink(quiet, sc);
    for (unsigned i = 0; i < SB_LOG_SUBSYSTEM_COUNT; i++)
        sb_log_set_level((sb_log_subsystem)i, verbose ? SB_LOG_DEBUG : SB_LOG_ERROR);
}

static void finish(scene *sc)
{
    client_give_up_all(&sc->c);
    if (sc->d.up) {
        unsigned leaks = subject_stop(&sc->d);
        if (leaks)
            scene_fail(sc, "%u sockets, mappings or timers leaked", leaks);
    }
    forget_settings(sc);
    sb_text_fini(&sc->config);
}

static void forget_settings(scene *sc)
{
    sb_settings_unref(sc->settings);
    sc->settings = NULL;
}

static void line_run(scene *sc, char *line)
{
    char *words[SCENE_WORDS_MAX];
    unsigned n = 0;
    if (sc->in_config) {
        if (strcmp(line, "end") == 0)
            sc->in_config = false;
        else
            sb_text_add(&sc->config, "%s\n", line);
        return;
    }
    char *rest = line + strspn(line, " \t");
    rest += strcspn(rest, " \t");
    char whole[1000];
    snprintf(whole, sizeof whole, "%s", rest + strspn(rest, " \t"));
    for (char *at = line + strspn(line, " \t"); *at && *at != '#';) {
        size_t size = strcspn(at, " \t");
        if (n == SCENE_WORDS_MAX) {
            scene_fail(sc, "too many words");
            return;
        }
        words[n++] = at;
        at += size;
        if (*at)
            *at++ = 0;
        at += strspn(at, " \t");
    }
    if (n == 0)
        return;
    sb_ns when;
    if (strcmp(words[0], "at") == 0 && n > 2) {
        if (duration(sc, words[1], &when)) {
            run_until(sc, sc->zero + when);
            char *after = whole + strcspn(whole, " \t");
            after += strspn(after, " \t");
            after += strcspn(after, " \t");
            words_run(sc, words + 2, n - 2, after + strspn(after, " \t"));
        }
        return;
    }
    words_run(sc, words, n, whole);
}

static void run_until(scene *sc, sb_ns at)
{
    while (!sc->failure[0] && sim_step(sc->s, at)) {
    }
}

static bool duration(scene *sc, const char *text, sb_ns *ret)
{
    if (sb_parse_duration(text, true, ret))
        return true;
    scene_fail(sc, "%s is no duration", text);
    return false;
}

/* --- commands: words[0] is the command, n counts it, rest is the line behind it --- */

typedef struct command {
    const char *name;
    unsigned least; /* words after the name */
    void (*run)(scene *sc, char **words, unsigned n, char *rest);
} command;

static void do_title(scene *sc, char **words, unsigned n, char *rest)
{
    (void)words;
    (void)n;
    snprintf(sc->title, sizeof sc->title, "%s", rest);
}

static void do_config(scene *sc, char **words, unsigned n, char *rest)
{
    (void)words;
    (void)n;
    (void)rest;
    sb_text_fini(&sc->config);
    sc->config = (sb_text){0};
    sc->in_config = true;
}

/* env NAME=VALUE; the value may hold blanks. An empty one unsets. */
static void do_env(scene *sc, char **words, unsigned n, char *rest)
{
    (void)words;
    (void)n;
    size_t size = strcspn(rest, "=");
    if (sc->env_count == 8 || size >= sizeof sc->env[0].name || rest[size] != '=') {
        scene_fail(sc, "env NAME=VALUE, at most eight");
        return;
    }
    memcpy(sc->env[sc->env_count].name, rest, size);
    sc->env[sc->env_count].name[size] = 0;
    snprintf(sc->env[sc->env_count].value, sizeof sc->env[0].value, "%s", rest + size + 1);
    sc->env_count++;
}

/* upstream NAME ADDRESS MODE [delay T [jitter T]] makes one, each way; upstream NAME MODE [T]
 * changes it. */
static void do_upstream(scene *sc, char **words, unsigned n, char *rest)
{
    (void)rest;
    server *sv = server_named(sc, words[1]);
    sb_addr addr;
    server_mode mode;
    unsigned at = 2;
    sb_ns delay = 5 * SB_MS, jitter = 0;
    if (!sv && n > 3 && sb_addr_parse_port(words[2], strlen(words[2]), 53, &addr)) {
        if (sc->server_count == SCENE_SERVERS_MAX) {
            scene_fail(sc, "too many servers");
            return;
        }
        if (n > 5 && strcmp(words[4], "delay") == 0 && !duration(sc, words[5], &delay))
            return;
        if (n > 7 && strcmp(words[6], "jitter") == 0 && !duration(sc, words[7], &jitter))
            return;
        sv = &sc->servers[sc->server_count++];
        server_init(sv, sc->s, words[1], &addr, delay, delay + jitter, &sc->sworld);
        at = 3;
    }
    if (!sv || !server_mode_parse(words[at], &mode)) {
        scene_fail(sc, "upstream NAME [ADDRESS] MODE");
        return;
    }
    if ((mode == SERVER_SLOW || mode == SERVER_STUTTERING) && n > at + 1 &&
        !duration(sc, words[at + 1], &sv->slow))
        return;
    server_set_mode(sv, mode);
    load_health(sc->load, sc->servers, sc->server_count);
}

/* link SERVER loss PERMILLE: of packets, each way */
static void do_link(scene *sc, char **words, unsigned n, char *rest)
{
    (void)rest;
    server *sv = server_named(sc, words[1]);
    uint64_t loss;
    sb_ns delay;
    if (!sv)
        scene_fail(sc, "link SERVER loss PERMILLE | T");
    else if (n > 3 && strcmp(words[2], "loss") == 0 &&
             sb_parse_u64(words[3], strlen(words[3]), 1000, &loss))
        sv->host.link.loss = (uint32_t)loss;
    else if (duration(sc, words[2], &delay))
        sv->host.link.delay_min = sv->host.link.delay_max = delay;
}

/* flag SERVER open-chains|extra|ad|folds|no-tcp|cookies|new-cookies|no-cookies|closes|closes-late
 */
static void do_flag(scene *sc, char **words, unsigned n, char *rest)
{
    (void)n;
    (void)rest;
    server *sv = server_named(sc, words[1]);
    if (sv && strcmp(words[2], "open-chains") == 0)
        sv->open_chains = true;
    else if (sv && strcmp(words[2], "extra") == 0)
        sv->extra = true;
    else if (sv && strcmp(words[2], "ad") == 0)
        sv->says_ad = true;
    else if (sv && strcmp(words[2], "folds") == 0)
        sv->folds = true;
    else if (sv && strcmp(words[2], "no-tcp") == 0)
        sv->no_tcp = sv->host.stream_closed = true;
    else if (sv && strcmp(words[2], "new-cookies") == 0)
        sv->cookie_secret++;
    else if (sv && strcmp(words[2] + (words[2][0] == 'n' ? 3 : 0), "cookies") == 0)
        sv->cookies = sv->strict = words[2][0] != 'n';
    else if (sv && strncmp(words[2], "closes", 6) == 0) {
        sv->answers_per_conn = 1;
        sv->closes_late = words[2][6] != 0;
    } else
        scene_fail(sc, "flag SERVER open-chains|extra|ad|folds|no-tcp|cookies|new-cookies|"
                       "no-cookies|closes|closes-late");
}

/* link SERVER T: the way there takes that long from now on. */
static void do_zone(scene *sc, char **words, unsigned n, char *rest)
{
    (void)rest;
    scene_zone_line(sc, words + 1, n - 1);
}

/* start [memory] */
static void do_start(scene *sc, char **words, unsigned n, char *rest)
{
    (void)rest;
    sb_why why = {""};
    if (n > 1)
        sc->in_memory = strcmp(words[1], "memory") == 0;
    forget_settings(sc);
    sc->settings = make_settings(sc);
    if (!sc->settings)
        return;
    subject_options options = {
        .settings = sc->settings, .in_memory = sc->in_memory, .events = event, .context = sc};
    if (subject_start(&sc->d, sc->s, &options, &why) != SB_OK)
        scene_fail(sc, "the program did not start: %s", why.text);
    load_back(sc->load);
}

/* kill [PERMILLE of pages torn] */
static void do_kill(scene *sc, char **words, unsigned n, char *rest)
{
    (void)rest;
    uint64_t torn = 0;
    if (n > 1 && !sb_parse_u64(words[1], strlen(words[1]), 1000, &torn)) {
        scene_fail(sc, "kill PERMILLE");
        return;
    }
    subject_freeze(&sc->d);
    client_give_up_all(&sc->c);
    subject_kill(&sc->d, (uint32_t)torn);
    load_lost(sc->load);
}

static void do_stop(scene *sc, char **words, unsigned n, char *rest)
{
    (void)words;
    (void)n;
    (void)rest;
    client_give_up_all(&sc->c);
    unsigned leaks = subject_stop(&sc->d);
    if (leaks)
        scene_fail(sc, "%u sockets, mappings or timers leaked", leaks);
    load_lost(sc->load);
}

static void do_reload(scene *sc, char **words, unsigned n, char *rest)
{
    (void)words;
    (void)n;
    (void)rest;
    sb_why why = {""};
    const sb_settings *settings = make_settings(sc);
    if (!settings)
        return;
    sb_status status = sb_engine_reload(sc->d.engine, settings, &why);
    if (status == SB_OK)
        status = sb_dns_front_reload(sc->d.front, &why);
    if (status != SB_OK)
        scene_fail(sc, "reload: %s", why.text);
    forget_settings(sc);
    sc->settings = settings;
}

static void do_wait(scene *sc, char **words, unsigned n, char *rest)
{
    (void)n;
    (void)rest;
    sb_ns time;
    if (duration(sc, words[1], &time))
        run_until(sc, sim_now(sc->s) + time);
}

static void do_ask(scene *sc, char **words, unsigned n, char *rest)
{
    (void)rest;
    scene_ask(sc, words + 1, n - 1);
}

static void do_settled(scene *sc, char **words, unsigned n, char *rest)
{
    (void)rest;
    scene_settled(sc, words + 1, n - 1);
}

/* give-up: those who asked last walk away. */
static void do_give_up(scene *sc, char **words, unsigned n, char *rest)
{
    (void)words;
    (void)n;
    (void)rest;
    for (unsigned i = 0; i < sc->burst_count; i++)
        client_give_up(&sc->c, sc->burst[i]);
}

/* reboot DOWNTIME: the program must have been killed or stopped. */
static void do_reboot(scene *sc, char **words, unsigned n, char *rest)
{
    (void)n;
    (void)rest;
    sb_ns down;
    if (sc->d.up)
        scene_fail(sc, "the program still runs");
    else if (duration(sc, words[1], &down))
        sim_reboot(sc->s, down);
}

static void do_mark(scene *sc, char **words, unsigned n, char *rest)
{
    (void)words;
    (void)n;
    (void)rest;
    sim_disk_mark(sc->s);
}

/* wall +T | -T */
static void do_wall(scene *sc, char **words, unsigned n, char *rest)
{
    (void)n;
    (void)rest;
    sb_ns by;
    if (duration(sc, words[1] + 1, &by))
        sim_wall_step(sc->s, words[1][0] == '-' ? -by : by);
}

static void do_suspend(scene *sc, char **words, unsigned n, char *rest)
{
    (void)n;
    (void)rest;
    sb_ns time;
    if (duration(sc, words[1], &time))
        sim_suspend(sc->s, time);
}

/* file PATH TEXT (\n within it are line ends); an empty text removes it. */
static void do_file(scene *sc, char **words, unsigned n, char *rest)
{
    (void)n;
    rest += strcspn(rest, " \t");
    rest += strspn(rest, " \t");
    size_t size = 0;
    for (const char *at = rest; *at && size + 1 < sizeof sc->spare; at++) {
        bool newline = at[0] == '\\' && at[1] == 'n';
        sc->spare[size++] = newline ? '\n' : *at;
        at += newline;
    }
    if (size == 0)
        sim_file_remove(sc->s, words[1]);
    else
        sim_file_put(sc->s, words[1], sc->spare, size);
}

/* cache lock|unlock|damage|truncate|remove|foreign */
static void do_cache(scene *sc, char **words, unsigned n, char *rest)
{
    (void)n;
    (void)rest;
    size_t size = 0;
    uint8_t *bytes = sim_file_bytes(sc->s, SUBJECT_CACHE, &size);
    if (!bytes) {
        scene_fail(sc, "there is no cache file");
    } else if (strcmp(words[1], "lock") == 0 || strcmp(words[1], "unlock") == 0) {
        sim_file_lock(sc->s, SUBJECT_CACHE, words[1][0] == 'l');
    } else if (strcmp(words[1], "damage") == 0) {
        for (size_t at = 4096; at < size; at += 61)
            bytes[at] ^= 0x55;
    } else if (strcmp(words[1], "foreign") == 0) {
        memset(bytes, 'x', 4096);
    } else if (strcmp(words[1], "truncate") == 0) {
        uint8_t part[5000];
        memcpy(part, bytes, sizeof part);
        sim_file_put(sc->s, SUBJECT_CACHE, part, sizeof part);
    } else if (strcmp(words[1], "remove") == 0) {
        sim_file_remove(sc->s, SUBJECT_CACHE);
    } else {
        scene_fail(sc, "cache %s?", words[1]);
    }
}

/* disk full|unreadable|ok */
static void do_disk(scene *sc, char **words, unsigned n, char *rest)
{
    (void)n;
    (void)rest;
    sim_fault(sc->s)->map_create = strcmp(words[1], "full") == 0 ? SB_NOSPACE : SB_OK;
    sim_fault(sc->s)->file = strcmp(words[1], "unreadable") == 0 ? 1000 : 0;
}

/* warned TEXT | warned nothing: what the cache file had to say at the start. */
static void do_warned(scene *sc, char **words, unsigned n, char *rest)
{
    (void)n;
    bool nothing = strcmp(words[1], "nothing") == 0;
    if (nothing ? sc->d.cache_why.text[0] != 0 : !strstr(sc->d.cache_why.text, rest))
        scene_fail(sc, "the cache said \"%s\"", sc->d.cache_why.text);
}

static void do_pin(scene *sc, char **words, unsigned n, char *rest)
{
    (void)rest;
    sb_name name;
    sb_addr addresses[16];
    size_t count = 0;
    sb_ns time = 0;
    sb_why why = {""};
    if (!scene_name(sc, words[1], &name))
        return;
    for (unsigned i = 2; i < n; i++) {
        if (strcmp(words[i], "for") == 0 && i + 1 < n)
            (void)duration(sc, words[++i], &time);
        else if (count == 16 || !sb_addr_parse(words[i], strlen(words[i]), &addresses[count++]))
            scene_fail(sc, "pin NAME ADDRESS… [for T]");
    }
    if (!sc->failure[0] &&
        sb_engine_pin(sc->d.engine, &name, addresses, count, time, &why) != SB_OK)
        scene_fail(sc, "pin: %s", why.text);
}

static void do_unpin(scene *sc, char **words, unsigned n, char *rest)
{
    (void)n;
    (void)rest;
    sb_name name;
    if (scene_name(sc, words[1], &name) && sb_engine_unpin(sc->d.engine, &name) != SB_OK)
        scene_fail(sc, "there was no pin");
}

/* flush NAME | flush below NAME */
static void do_flush(scene *sc, char **words, unsigned n, char *rest)
{
    (void)rest;
    sb_name name;
    bool below = strcmp(words[1], "below") == 0 && n > 2;
    if (!scene_name(sc, words[below ? 2 : 1], &name))
        return;
    if (below)
        (void)sb_engine_flush_below(sc->d.engine, &name);
    else
        (void)sb_engine_flush_name(sc->d.engine, &name);
}

static bool compare(scene *sc, uint64_t value, const char *op, const char *number)
{
    uint64_t bound = 0;
    if (!sb_parse_u64(number, strlen(number), UINT64_MAX, &bound))
        scene_fail(sc, "%s is no number", number);
    return strcmp(op, "<=") == 0   ? value <= bound
           : strcmp(op, ">=") == 0 ? value >= bound
                                   : value == bound;
}

/* asked SERVER OP N: queries since the last such line. */
static void do_asked(scene *sc, char **words, unsigned n, char *rest)
{
    (void)n;
    (void)rest;
    server *sv = server_named(sc, words[1]);
    if (!sv) {
        scene_fail(sc, "asked SERVER OP N");
        return;
    }
    uint64_t value = sv->tally;
    sv->tally = 0;
    if (!compare(sc, value, words[2], words[3]))
        scene_fail(sc, "%s was asked %llu times", words[1], (unsigned long long)value);
}

/* stat COUNTER OP N: a counter of core/stats.h by its identifier. */
static void do_stat(scene *sc, char **words, unsigned n, char *rest)
{
    (void)n;
    (void)rest;
    static const char *const ids[] = {
#define COUNTER_ID(id, name, labels, help) #id,
        SB_COUNTER_TABLE(COUNTER_ID)
#undef COUNTER_ID
    };
    for (unsigned i = 0; i < SB_COUNTER_COUNT; i++) {
        if (strcmp(words[1], ids[i]) != 0)
            continue;
        uint64_t value = sb_stats_get(sb_engine_stats(sc->d.engine), (sb_counter)i);
        if (!compare(sc, value, words[2], words[3]))
            scene_fail(sc, "%s is %llu", words[1], (unsigned long long)value);
        return;
    }
    scene_fail(sc, "%s is no counter", words[1]);
}

/* watch TEXT: lines of the log that have it are counted from now on. */
static void do_watch(scene *sc, char **words, unsigned n, char *rest)
{
    (void)words;
    (void)n;
    snprintf(sc->watched, sizeof sc->watched, "%s", rest);
    sc->watched_count = 0;
    if (sc->verbose)
        return;
    for (unsigned i = 0; i < SB_LOG_SUBSYSTEM_COUNT; i++)
        sb_log_set_level((sb_log_subsystem)i, SB_LOG_INFO);
}

/* watched OP N: … and since the last such line. */
static void do_watched(scene *sc, char **words, unsigned n, char *rest)
{
    (void)n;
    (void)rest;
    uint64_t value = sc->watched_count;
    sc->watched_count = 0;
    if (!compare(sc, value, words[1], words[2]))
        scene_fail(sc, "%s was logged %llu times", sc->watched, (unsigned long long)value);
}

/* network N [unknown] | network none | network refused: where the machine is (sim_network_set);
 * unknown: the gateway has not been met yet; known N: now it has. refused: no netlink from now on.
 */
static void do_network(scene *sc, char **words, unsigned n, char *rest)
{
    (void)rest;
    uint64_t number = 0;
    if (strcmp(words[1], "refused") == 0)
        sim_netlink_refuse(sc->s, SB_PERM);
    else if (strcmp(words[1], "known") == 0 && n > 2 &&
             sb_parse_u64(words[2], strlen(words[2]), 200, &number) && number > 0)
        sim_network_hardware(sc->s, (unsigned)number);
    else if (strcmp(words[1], "none") == 0 ||
             (sb_parse_u64(words[1], strlen(words[1]), 200, &number) && number > 0))
        sim_network_set(sc->s, (unsigned)number, n < 3 || strcmp(words[2], "unknown") != 0);
    else
        scene_fail(sc, "network N [unknown] | known N | none | refused");
}

/* forge N: that many wrong packets, on the right port, race each query from now on. */
static void do_forge(scene *sc, char **words, unsigned n, char *rest)
{
    (void)n;
    (void)rest;
    uint64_t count = 0;
    if (!sb_parse_u64(words[1], strlen(words[1]), 100, &count))
        scene_fail(sc, "forge N");
    sc->forgeries = (unsigned)count;
}

static const command commands[] = {
    {"title", 1, do_title},
    {"config", 0, do_config},
    {"env", 1, do_env},
    {"upstream", 2, do_upstream},
    {"flag", 2, do_flag},
    {"zone", 2, do_zone},
    {"start", 0, do_start},
    {"kill", 0, do_kill},
    {"stop", 0, do_stop},
    {"reload", 0, do_reload},
    {"wait", 1, do_wait},
    {"ask", 2, do_ask},
    {"settled", 1, do_settled},
    {"give-up", 0, do_give_up},
    {"reboot", 1, do_reboot},
    {"mark", 0, do_mark},
    {"wall", 1, do_wall},
    {"suspend", 1, do_suspend},
    {"file", 1, do_file},
    {"cache", 1, do_cache},
    {"disk", 1, do_disk},
    {"warned", 1, do_warned},
    {"pin", 2, do_pin},
    {"unpin", 1, do_unpin},
    {"watch", 1, do_watch},
    {"watched", 2, do_watched},
    {"flush", 1, do_flush},
    {"asked", 3, do_asked},
    {"stat", 3, do_stat},
    {"forge", 1, do_forge},
    {"link", 2, do_link},
    {"warm", 0, scene_warm},
    {"load", 1, scene_load},
    {"change", 0, scene_change},
    {"delete", 0, scene_delete},
    {"loaded", 3, scene_loaded},
    {"network", 1, do_network},
    {"endpoint", 2, scene_endpoint},
    {"connections", 2, scene_connections},
    {"obey", 1, scene_obey},
    {"deeds", 2, scene_deeds},
    {"unpinned", 1, scene_unpinned},
    {"half-alive", 1, scene_half_alive},
};

static void words_run(scene *sc, char **words, unsigned n, char *rest)
{
    for (size_t i = 0; i < SB_ARRAY_SIZE(commands); i++) {
        if (strcmp(words[0], commands[i].name) != 0)
            continue;
        if (n < commands[i].least + 1)
            scene_fail(sc, "%s needs %u words more", words[0], commands[i].least + 1 - n);
        else
            commands[i].run(sc, words, n, rest);
        return;
    }
    scene_fail(sc, "%s is no command", words[0]);
}

static server *server_named(scene *sc, const char *name)
{
    for (unsigned i = 0; i < sc->server_count; i++) {
        if (strcmp(sc->servers[i].name, name) == 0)
            return &sc->servers[i];
    }
    return NULL;
}

/* --- settings --- */

/* Without any word about servers, those of the scene are the upstreams, in their order. */
static const char *variable(void *context, const char *name)
{
    scene *sc = context;
    for (unsigned i = sc->env_count; i > 0; i--) {
        if (strcmp(sc->env[i - 1].name, name) == 0)
            return sc->env[i - 1].value[0] ? sc->env[i - 1].value : NULL;
    }
    size_t size;
    if (strcmp(name, "STUBBORN_SERVERS") != 0 || sim_file_bytes(sc->s, "/etc/resolv.conf", &size) ||
        (sc->config.data && strstr(sc->config.data, "upstreams:")))
        return NULL;
    size_t at = 0;
    for (unsigned i = 0; i < sc->server_count && at + SB_ADDR_TEXT_MAX < sizeof sc->spare; i++) {
        char text[SB_ADDR_TEXT_MAX];
        int n = snprintf(sc->spare + at, sizeof sc->spare - at, "%s%s", i ? "," : "",
                         sb_addr_text_port(&sc->servers[i].host.addr, text));
        at += (size_t)n;
    }
    return at ? sc->spare : NULL;
}

static const sb_settings *make_settings(scene *sc)
{
    sb_why why = {""};
    sb_settings *s = NULL;
    sb_status status = sb_settings_new(variable, sc, true, &s);
    if (status == SB_OK && sc->config.data)
        status =
            sb_conf_load((const uint8_t *)sc->config.data, sc->config.size, "scene.yaml", s, &why);
    if (status == SB_OK)
        status = sb_settings_env(s, variable, sc, &why);
    if (status == SB_OK) {
        sb_addr *listen = sb_arena_alloc(&s->arena, sizeof *listen);
        SB_ASSERT(listen);
        *listen = sb_addr_4((const uint8_t[4]){127, 0, 0, 1}, 53);
        s->listen.dns = listen;
        s->listen.dns_count = 1;
        if (!sc->config.data || !strstr(sc->config.data, "size:"))
            s->cache.size_bytes = SB_L1_SIZE_MIN;
        status = sb_settings_freeze(s, &why);
    }
    if (status != SB_OK) {
        scene_fail(sc, "settings: %s", why.text);
        sb_settings_unref(s);
        return NULL;
    }
    return s;
}

/* --- laws that hold in every scene --- */

static void queried(void *context, const sim_packet *p)
{
    scene *sc = context;
    sb_msg query;
    for (unsigned i = 0; i < sc->server_count; i++) {
        server *sv = &sc->servers[i];
        if (!sb_addr_equal(&p->to, &sv->host.addr) || (p->stream && p->size == 0))
            continue;
        bool parsed = !p->stream && sb_msg_parse(p->bytes, p->size, &query) == SB_OK;
        if (parsed && query.has_question && sb_loop_is_probe(&query.question.name))
            return; /* nobody's question */
        sv->tally++;
        load_query(sc->load);
        if (!parsed)
            return;
        for (unsigned k = 0; k < sc->forgeries; k++) {
            uint8_t bytes[SB_EDNS_UDP_SIZE];
            sb_builder b;
            sb_builder_init(&b, bytes, sizeof bytes, (uint16_t)(query.id + 1 + k),
                            SB_FLAG_QR | SB_FLAG_RA | SB_FLAG_RD);
            sb_builder_question(&b, &query.question);
            scene_forge(sc, sv, &query.question, &b);
            size_t size = sb_builder_finish(&b);
            sim_inject(sc->s, &sv->host.addr, &p->from, bytes, size, SB_MS);
        }
        return;
    }
}

static void event(void *context, const sb_event *e)
{
    const scene *sc = context;
    load_event(sc->load, e);
}

static void broken(void *context, ask *a, const char *what)
{
    scene *sc = context;
    char name[SB_NAME_TEXT_MAX];
    scene_fail(sc, "%s: %s", sb_name_text(&a->question.name, name), what);
}

static void quiet(void *context, sb_log_level level, const char *line, size_t size)
{
    scene *sc = context;
    (void)level;
    if (sc->watched[0] && memmem(line, size, sc->watched, strlen(sc->watched)))
        sc->watched_count++;
    if (sc->verbose)
        fprintf(stderr, "%9.3f log %.*s\n", (double)(sim_now(sc->s) - sc->zero) / (double)SB_S,
                (int)size, line);
}
