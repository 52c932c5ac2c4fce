/* The verbs that need the daemon: one JSON line to its control socket, one back (docs/CONTROL.md).
 *
 * Never does any of it itself. The main thread. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cmd/stubborn.h"
#include "dns/rdata.h"
#include "front/view.h"

#define CONTROL_NAME "stubborn.ctl"
#define REPLY_MAX ((size_t)64 * 1024 * 1024)
#define DEADLINE (10 * SB_S)
#define DUMP_MAX ((size_t)1024 * 1024 * 1024)
#define LOAD_BATCH 200 /* entries a line: the daemon takes lines up to 1 MiB */
#define LOAD_BATCH_BYTES (700 * 1024)

typedef struct load_totals {
    json_int_t loaded, older, refused;
    json_t *first_refused; /* owned; NULL none */
} load_totals;

static int call(sb_cli *cli, json_t *take_request, json_t **ret_reply);
static bool control_path(sb_cli *cli, char *ret_path, size_t capacity);
static int simple(sb_cli *cli, json_t *take_request, const char *done);
static int show(sb_cli *cli, const char *verb, const char *key, void (*print)(const json_t *));
static void print_status(const json_t *value);
static void print_health(const json_t *value);
static void print_servers(const json_t *reply);
static void print_upstreams(const json_t *value);
static void print_loops(const json_t *value);
static void print_mobility(const json_t *value);
static void print_service(const char *name, const json_t *service);
static void print_entry(const json_t *entry);
static void print_pins(const json_t *reply);
static void print_trail(const json_t *trail);
static int ask_daemon(sb_cli *cli, json_t *take_request, sb_ns deadline, bool quiet,
                      json_t **ret_reply);
static void print_levels(const json_t *levels);
static bool host_name(const char *text);
static const char *text_of(const json_t *object, const char *key);
static long long number_of(const json_t *object, const char *key);
static double real_of(const json_t *object, const char *key);
static json_t *names_array(sb_cli *cli, unsigned from);
static int pages(sb_cli *cli, const char *verb, const char *suffix, FILE *out,
                 void (*print)(const json_t *), json_t *list);
static int load_batch(sb_cli *cli, json_t *take_entries, load_totals *totals);

int sb_run_status(sb_cli *cli)
{
    return show(cli, "status", "status", print_status);
}

int sb_run_upstreams(sb_cli *cli)
{
    return show(cli, "upstreams", NULL, print_servers);
}

int sb_run_upstreams_reset(sb_cli *cli)
{
    json_t *reply;
    int code = call(cli, json_pack("{s:s}", "verb", "upstreams-reset"), &reply);
    if (code != SB_EXIT_OK)
        return code;
    if (sb_cli_has(cli, SB_ARG_JSON))
        sb_cli_json(json_incref(reply));
    else
        printf("every upstream is asked anew\n");
    json_decref(reply);
    return SB_EXIT_OK;
}

int sb_run_health(sb_cli *cli)
{
    json_t *reply;
    int code = call(cli, json_pack("{s:s}", "verb", "health"), &reply);
    if (code != SB_EXIT_OK)
        return code;
    json_t *health = json_object_get(reply, "health");
    const char *level = text_of(health, "status");
    if (cli->operand_count > 0) {
        health = json_object_get(json_object_get(health, "services"), cli->operands[0]);
        if (!health) {
            sb_cli_complain("the daemon has no service '%s'", cli->operands[0]);
            json_decref(reply);
            return SB_EXIT_USAGE;
        }
        level = text_of(health, "status");
    }
    if (sb_cli_has(cli, SB_ARG_STRICT) && strcmp(level, "healthy") != 0)
        code = SB_EXIT_DEGRADED;
    if (sb_cli_has(cli, SB_ARG_JSON))
        sb_cli_json(json_incref(health));
    else if (cli->operand_count > 0)
        print_service(cli->operands[0], health);
    else
        print_health(health);
    json_decref(reply);
    return code;
}

int sb_run_cache_list(sb_cli *cli)
{
    bool json = sb_cli_has(cli, SB_ARG_JSON);
    const char *suffix = cli->operand_count ? cli->operands[0] : NULL;
    sb_name name;
    if (suffix && !sb_cli_name(suffix, &name))
        return SB_EXIT_USAGE;
    json_t *list = json ? json_array() : NULL;
    int code = pages(cli, "cache-list", suffix, NULL, print_entry, list);
    if (json && code == SB_EXIT_OK)
        sb_cli_json(json_pack("{s:O}", "entries", list));
    json_decref(list);
    return code;
}

int sb_run_cache_flush(sb_cli *cli)
{
    const char *below = cli->arg[SB_ARG_BELOW];
    bool all = sb_cli_has(cli, SB_ARG_ALL);
    if ((cli->operand_count > 0) + (below != NULL) + all != 1) {
        sb_cli_complain("flush takes one of NAME, --below SUFFIX and --all");
        return SB_EXIT_USAGE;
    }
    sb_name name;
    if (!all && !sb_cli_name(below ? below : cli->operands[0], &name))
        return SB_EXIT_USAGE;
    json_t *request = json_pack("{s:s}", "verb", "flush");
    if (all)
        json_object_set_new(request, "all", json_true());
    else
        json_object_set_new(request, below ? "suffix" : "name",
                            sb_view_string(below ? below : cli->operands[0]));
    json_t *reply;
    int code = call(cli, request, &reply);
    if (code != SB_EXIT_OK)
        return code;
    if (sb_cli_has(cli, SB_ARG_JSON))
        sb_cli_json(json_incref(reply));
    else
        printf("%lld entries forgotten\n", number_of(reply, "removed"));
    json_decref(reply);
    return SB_EXIT_OK;
}

int sb_run_cache_dump(sb_cli *cli)
{
    const char *path = cli->operand_count ? cli->operands[0] : "-";
    bool to_file = strcmp(path, "-") != 0;
    FILE *out = to_file ? fopen(path, "we") : stdout;
    if (!out) {
        sb_cli_complain("cannot write %s: %s", path, strerror(errno));
        return SB_EXIT_FAILED;
    }
    int code = pages(cli, "dump", NULL, out, NULL, NULL);
    bool written = fflush(out) == 0 && !ferror(out);
    if (to_file)
        written = fclose(out) == 0 && written;
    if (!written && code == SB_EXIT_OK) {
        sb_cli_complain("cannot write %s", path);
        code = SB_EXIT_FAILED;
    }
    return code;
}

int sb_run_cache_load(sb_cli *cli)
{
    const char *path = cli->operand_count ? cli->operands[0] : "-";
    sb_why why = {{0}};
    uint8_t *bytes;
    size_t size, lines = 0, batch_bytes = 0;
    load_totals totals = {0};
    int code = SB_EXIT_OK;
    if (sb_cli_read_file(strcmp(path, "-") == 0 ? "/dev/stdin" : path, DUMP_MAX, &bytes, &size,
                         &why) != SB_OK) {
        sb_cli_complain("%s", why.text);
        return SB_EXIT_FAILED;
    }
    json_t *batch = json_array();
    for (size_t at = 0; at < size && code == SB_EXIT_OK;) {
        const uint8_t *end = memchr(bytes + at, '\n', size - at);
        size_t length = end ? (size_t)(end - (bytes + at)) : size - at;
        json_error_t error;
        lines++;
        json_t *entry = length ? json_loadb((const char *)bytes + at, length, 0, &error) : NULL;
        if (length && !entry) {
            code = load_batch(cli, batch, &totals); /* what was good so far */
            batch = NULL;
            if (code == SB_EXIT_OK)
                sb_cli_complain("%s:%zu: %s; before it %lld loaded, %lld older, %lld refused", path,
                                lines, error.text, (long long)totals.loaded,
                                (long long)totals.older, (long long)totals.refused);
            code = code == SB_EXIT_OK ? SB_EXIT_USAGE : code;
        } else if (entry) {
            json_array_append_new(batch, entry);
            batch_bytes += length;
        }
        at += length + 1;
        if (code == SB_EXIT_OK && (json_array_size(batch) >= LOAD_BATCH ||
                                   batch_bytes > LOAD_BATCH_BYTES || at >= size)) {
            code = load_batch(cli, batch, &totals);
            batch = json_array();
            batch_bytes = 0;
        }
    }
    if (size == 0) { /* nothing to load, but somebody to load it is needed all the same */
        code = load_batch(cli, batch, &totals);
        batch = NULL;
    }
    json_decref(batch);
    sb_free(bytes);
    if (code == SB_EXIT_OK && sb_cli_has(cli, SB_ARG_JSON))
        sb_cli_json(json_pack("{s:I, s:I, s:I, s:O?}", "loaded", totals.loaded, "older",
                              totals.older, "refused", totals.refused, "first_refused",
                              totals.first_refused));
    else if (code == SB_EXIT_OK)
        printf("%lld loaded, %lld older than what is there, %lld refused\n",
               (long long)totals.loaded, (long long)totals.older, (long long)totals.refused);
    if (code == SB_EXIT_OK && totals.refused > 0)
        code = SB_EXIT_FAILED;
    json_decref(totals.first_refused);
    return code;
}

int sb_run_cache_warm(sb_cli *cli)
{
    for (unsigned i = 0; i < cli->operand_count; i++)
        if (!host_name(cli->operands[i]))
            return SB_EXIT_USAGE;
    char done[64];
    (void)snprintf(done, sizeof done, "%u name%s looked up in the background", cli->operand_count,
                   cli->operand_count == 1 ? " is" : "s are");
    return simple(cli, json_pack("{s:s, s:o}", "verb", "warm", "names", names_array(cli, 0)), done);
}

int sb_run_cache_obey(sb_cli *cli)
{
    sb_name name;
    if (!sb_cli_name(cli->operands[0], &name))
        return SB_EXIT_USAGE;
    return simple(cli,
                  json_pack("{s:s, s:o}", "verb", "obey", "name", sb_view_string(cli->operands[0])),
                  "obeyed until the name is answered again");
}

int sb_run_pins(sb_cli *cli)
{
    json_t *reply;
    int code = call(cli, json_pack("{s:s}", "verb", "pins"), &reply);
    if (code != SB_EXIT_OK)
        return code;
    if (sb_cli_has(cli, SB_ARG_JSON)) {
        sb_cli_json(json_incref(reply));
    } else {
        print_pins(reply);
        print_trail(json_object_get(reply, "trail"));
    }
    json_decref(reply);
    return SB_EXIT_OK;
}

void sb_cli_print_doubt(sb_cli *cli, const sb_question *question)
{
    char type[16];
    json_t *reply;
    sb_ns deadline = sb_cli_deadline(cli);
    if (deadline <= sb_edge_now())
        return;
    json_t *request =
        json_pack("{s:s, s:o, s:s}", "verb", "explain", "name", sb_view_name(&question->name),
                  "type", sb_type_text(question->type, type));
    if (ask_daemon(cli, request, deadline, true, &reply) != SB_EXIT_OK)
        return;
    size_t i;
    json_t *endpoint;
    const json_t *explained = json_object_get(reply, "explain");
    const json_t *doubt = json_object_get(explained, "doubt");
    if (json_is_object(doubt)) {
        printf("     denied for %lld s, agreed for %lld of %lld s (at most %lld s), %s, after it "
               "stood for %lld s\n",
               number_of(doubt, "denied_s"), number_of(doubt, "agreed_s"),
               number_of(doubt, "confirm_s"), number_of(doubt, "most_s"), text_of(doubt, "second"),
               number_of(doubt, "known_s"));
        printf("     %lld other names of its zone denied, its address: %s\n",
               number_of(doubt, "siblings"), text_of(doubt, "life"));
    }
    json_array_foreach(json_object_get(explained, "endpoints"), i, endpoint)
        printf("     %s: %s, %lld s ago\n", text_of(endpoint, "address"), text_of(endpoint, "life"),
               number_of(endpoint, "age_s"));
    print_trail(json_object_get(explained, "trail"));
    json_decref(reply);
}

int sb_run_pin(sb_cli *cli)
{
    if (cli->operand_count == 1 && strcmp(cli->operands[0], "list") == 0)
        return sb_run_pins(cli);
    if (cli->operand_count == 1) {
        sb_cli_complain("usage: stubborn pin NAME ADDRESS... [--for DURATION]");
        return SB_EXIT_USAGE;
    }
    sb_ns duration = 0;
    const char *text = cli->arg[SB_ARG_FOR];
    if (text && (!sb_parse_duration(text, true, &duration) || duration < SB_S)) {
        sb_cli_complain("--for: '%s' is not a duration of a second or more, such as 90s or 1h",
                        text);
        return SB_EXIT_USAGE;
    }
    if (!host_name(cli->operands[0]))
        return SB_EXIT_USAGE;
    for (unsigned i = 1; i < cli->operand_count; i++) {
        sb_addr addr;
        if (!sb_addr_parse(cli->operands[i], strlen(cli->operands[i]), &addr) ||
            !sb_addr_is_host(&addr)) {
            sb_cli_complain("'%s' is not the IP address of a host", cli->operands[i]);
            return SB_EXIT_USAGE;
        }
    }
    return simple(cli,
                  json_pack("{s:s, s:o, s:o, s:I}", "verb", "pin", "name",
                            sb_view_string(cli->operands[0]), "addresses", names_array(cli, 1),
                            "for_s", (json_int_t)(duration / SB_S)),
                  "pinned");
}

int sb_run_unpin(sb_cli *cli)
{
    sb_name name;
    if (!sb_cli_name(cli->operands[0], &name))
        return SB_EXIT_USAGE;
    return simple(
        cli, json_pack("{s:s, s:o}", "verb", "unpin", "name", sb_view_string(cli->operands[0])),
        "unpinned");
}

int sb_run_reload(sb_cli *cli)
{
    json_t *reply;
    cli->fault_later = true; /* the daemon tells of its file, which will be the same */
    int code = call(cli, json_pack("{s:s}", "verb", "reload"), &reply);
    if (code != SB_EXIT_USAGE)
        sb_cli_warn_of_fault(cli);
    if (code != SB_EXIT_OK)
        return code;
    const json_t *waiting = json_object_get(reply, "next_start");
    if (sb_cli_has(cli, SB_ARG_JSON)) {
        sb_cli_json(json_incref(reply));
    } else {
        printf("reloaded\n");
        for (size_t i = 0; i < json_array_size(waiting); i++)
            printf("%s takes effect with the next start\n",
                   json_string_value(json_array_get(waiting, i)));
    }
    json_decref(reply);
    return SB_EXIT_OK;
}

int sb_run_log(sb_cli *cli)
{
    if (cli->operand_count == 0)
        return show(cli, "log-levels", "levels", print_levels);
    if (cli->operand_count == 1) {
        sb_cli_complain("usage: stubborn log [SUBSYSTEM LEVEL]");
        return SB_EXIT_USAGE;
    }
    char done[128];
    (void)snprintf(done, sizeof done, "%.40s logs from level %.40s up", cli->operands[0],
                   cli->operands[1]);
    return simple(cli,
                  json_pack("{s:s, s:o, s:o}", "verb", "log", "subsystem",
                            sb_view_string(cli->operands[0]), "level",
                            sb_view_string(cli->operands[1])),
                  done);
}

/* The exit code when it is not SB_EXIT_OK was explained. */
static int call(sb_cli *cli, json_t *take_request, json_t **ret_reply)
{
    sb_ns deadline = sb_edge_now() + (cli->timeout ? cli->timeout : DEADLINE);
    return ask_daemon(cli, take_request, deadline, false, ret_reply);
}

/* quiet: what is missing without it is no reason to complain. */
static int ask_daemon(sb_cli *cli, json_t *take_request, sb_ns deadline, bool quiet,
                      json_t **ret_reply)
{
    char path[108];
    sb_text line = {0}, answer = {.limit = 2 * REPLY_MAX};
    sb_why why = {{0}};
    json_t *reply = NULL;
    int code = SB_EXIT_FAILED;
    char verb[16] = "";
    (void)snprintf(verb, sizeof verb, "%s", text_of(take_request, "verb"));
    bool printed = sb_view_print(take_request, &line);
    if (!sb_cli_settings(cli) || !sb_cli_knows_socket(cli)) {
        code = SB_EXIT_USAGE;
        goto done;
    }
    if (!printed || !control_path(cli, path, sizeof path)) {
        if (!quiet)
            sb_cli_complain("the request cannot be made");
        goto done;
    }
    sb_status status = sb_edge_control(path, line.data, REPLY_MAX, deadline, &answer, &why);
    if (status != SB_OK) {
        bool absent = status == SB_NOTFOUND || status == SB_CONNREFUSED;
        bool denied = status == SB_PERM;
        if (denied && !quiet && (*ret_reply = sb_cli_http(cli, verb)) != NULL) {
            code = SB_EXIT_OK;
            goto done;
        }
        if (!quiet)
            sb_cli_complain("%s%s", why.text,
                            absent   ? "; is stubbornd running?"
                            : denied ? "; the daemon is there: listen.control says who may use it"
                                     : "");
        code = denied ? SB_EXIT_FAILED : SB_EXIT_NO_DAEMON;
        goto done;
    }
    reply = json_loadb(answer.data ? answer.data : "", answer.size, 0, NULL);
    if (!json_is_true(json_object_get(reply, "ok"))) {
        const char *error = json_string_value(json_object_get(reply, "error"));
        if (!quiet)
            sb_cli_complain("%s", error ? error : "the daemon's reply makes no sense");
        code = error ? SB_EXIT_USAGE : SB_EXIT_FAILED;
        goto done;
    }
    (void)json_object_del(reply, "ok");
    *ret_reply = json_incref(reply);
    code = SB_EXIT_OK;
done:
    json_decref(reply);
    sb_text_fini(&line);
    sb_text_fini(&answer);
    return code;
}

/* Beside the DNS socket (CONTRACT, DNS). */
static bool control_path(sb_cli *cli, char *ret_path, size_t capacity)
{
    const char *socket = sb_cli_socket(cli);
    const char *slash = strrchr(socket, '/');
    int directory = slash ? (int)(slash - socket) + 1 : 0;
    int size = snprintf(ret_path, capacity, "%.*s%s", directory, socket, CONTROL_NAME);
    return size > 0 && (size_t)size < capacity;
}

static int simple(sb_cli *cli, json_t *take_request, const char *done)
{
    json_t *reply;
    int code = call(cli, take_request, &reply);
    if (code != SB_EXIT_OK)
        return code;
    if (sb_cli_has(cli, SB_ARG_JSON)) {
        json_object_set_new(reply, "ok", json_true());
        sb_cli_json(json_incref(reply));
    } else {
        printf("%s\n", done);
    }
    json_decref(reply);
    return SB_EXIT_OK;
}

static int show(sb_cli *cli, const char *verb, const char *key, void (*print)(const json_t *))
{
    json_t *reply;
    int code = call(cli, json_pack("{s:s}", "verb", verb), &reply);
    if (code != SB_EXIT_OK)
        return code;
    json_t *value = key ? json_object_get(reply, key) : reply;
    if (sb_cli_has(cli, SB_ARG_JSON))
        sb_cli_json(json_incref(json_is_object(value) ? value : reply));
    else
        print(value);
    json_decref(reply);
    return SB_EXIT_OK;
}

static void print_status(const json_t *value)
{
    const json_t *cache = json_object_get(value, "cache");
    const json_t *listen = json_object_get(value, "listen"), *dns = json_object_get(listen, "dns");
    printf("stubbornd %s, %s, network %08llx, %lld questions under way\n",
           text_of(value, "version"),
           json_is_true(json_object_get(value, "ready")) ? "ready" : "not ready",
           number_of(value, "network"), number_of(value, "flights"));
    const json_t *process = json_object_get(value, "process"); /* absent over HTTP */
    const char *config = json_string_value(json_object_get(process, "config"));
    if (process)
        printf("process %lld, up %lld s, configuration %s\n", number_of(process, "pid"),
               number_of(process, "uptime_s"), config ? config : "by default");
    print_mobility(json_object_get(value, "mobility"));
    printf("listens on");
    for (size_t i = 0; i < json_array_size(dns); i++)
        printf(" %s", json_string_value(json_array_get(dns, i)));
    printf(", socket %s\n", text_of(listen, "socket"));
    printf("cache %s%s: %lld entries%s, %lld of %lld KiB, %lld writes, %lld evicted\n",
           text_of(cache, "file"),
           json_is_true(json_object_get(cache, "in_file")) ? "" : " (in memory only)",
           number_of(cache, "entries"),
           json_is_false(json_object_get(cache, "entries_counted")) ? " (still counting)" : "",
           number_of(cache, "used_bytes") / 1024, number_of(cache, "capacity_bytes") / 1024,
           number_of(cache, "writes"), number_of(cache, "evictions"));
    print_upstreams(json_object_get(value, "upstreams"));
    print_loops(json_object_get(value, "loops"));
    const char *name;
    json_t *service;
    json_object_foreach(json_object_get(value, "services"), name, service)
        print_service(name, service);
}

static void print_mobility(const json_t *value)
{
    const char *gateway = json_string_value(json_object_get(value, "gateway"));
    if (!json_is_true(json_object_get(value, "monitored"))) {
        printf("network changes are not noticed\n");
        return;
    }
    if (json_is_true(json_object_get(value, "present")))
        printf("network on %s, gateway %s", text_of(value, "interface"),
               gateway ? gateway : "none");
    else
        printf("no network");
    printf(", %lld moves", number_of(value, "moves"));
    if (number_of(value, "doubt_s") > 0)
        printf(", surprises are doubted for %lld s more", number_of(value, "doubt_s"));
    printf("\n");
}

static void print_health(const json_t *value)
{
    const json_t *dns = json_object_get(value, "dns"), *metrics = json_object_get(dns, "metrics");
    printf("%s\n", text_of(value, "status"));
    printf("dns %s: error rate %.1f %% over %lld s, %lld questions, hit rate %.1f %%\n",
           text_of(dns, "status"), 100 * real_of(dns, "error_rate"), number_of(dns, "window_s"),
           number_of(metrics, "resolution_attempts"), 100 * real_of(metrics, "cache_hit_rate"));
    const json_t *fallbacks = json_object_get(metrics, "fallback_uses");
    printf("fallbacks: %lld stale, %lld emergency, %lld guess\n", number_of(fallbacks, "stale"),
           number_of(fallbacks, "emergency"), number_of(fallbacks, "guess"));
    print_upstreams(json_object_get(value, "upstreams"));
    const char *name;
    json_t *service;
    json_object_foreach(json_object_get(value, "services"), name, service)
        print_service(name, service);
}

static void print_servers(const json_t *reply)
{
    const json_t *servers = json_object_get(reply, "upstreams");
    const json_t *loops = json_object_get(reply, "loops");
    if (json_array_size(servers) + json_array_size(loops) == 0)
        printf("no upstream server is configured\n");
    print_upstreams(servers);
    print_loops(loops);
}

static void print_upstreams(const json_t *value)
{
    size_t i;
    json_t *server;
    json_array_foreach(value, i, server)
    {
        const char *address = text_of(server, "address"), *name = text_of(server, "name");
        printf("upstream %-24s %-9s %8.1f ms %6.1f %%", address, text_of(server, "breaker"),
               real_of(server, "srtt_ms"), 100 * real_of(server, "success_rate"));
        if (strcmp(address, name) != 0)
            printf("  %s", name);
        if (json_object_get(server, "queries"))
            printf("  %lld queries, %lld timeouts, %lld errors", number_of(server, "queries"),
                   number_of(server, "timeouts"), number_of(server, "errors"));
        printf("\n");
    }
}

static void print_loops(const json_t *value)
{
    size_t i;
    const json_t *server;
    json_array_foreach(value, i, server) printf(
        "upstream %-24s forwards to this daemon and is not asked\n", json_string_value(server));
}

static void print_service(const char *name, const json_t *service)
{
    size_t i;
    json_t *address;
    printf("service %s: %s", name, text_of(service, "status"));
    if (json_object_get(service, "source"))
        printf(", %s, %lld s old", text_of(service, "source"), number_of(service, "age_s"));
    json_array_foreach(json_object_get(service, "addresses"), i, address)
        printf(" %s", json_string_value(address));
    printf("\n");
}

static void print_entry(const json_t *entry)
{
    size_t i;
    json_t *record;
    printf("%s %s ", text_of(entry, "name"), text_of(entry, "type"));
    if (strcmp(text_of(entry, "source"), "pin") == 0)
        printf("pin, ");
    else
        printf("%s %s, %lld s old, ", text_of(entry, "kind"), text_of(entry, "state"),
               number_of(entry, "age_s"));
    if (json_is_null(json_object_get(entry, "ttl_s")))
        printf("until unpinned");
    else
        printf("ttl %lld s", number_of(entry, "ttl_s"));
    json_array_foreach(json_object_get(entry, "records"), i, record)
        printf("; %s", json_string_value(record));
    printf("\n");
}

/* The pins, and beside each, and for emergency addresses in use, what is known of their life. */
static void print_pins(const json_t *reply)
{
    size_t i, k;
    json_t *pin, *address, *life;
    if (json_array_size(json_object_get(reply, "pins")) == 0)
        printf("nothing is pinned\n");
    json_array_foreach(json_object_get(reply, "pins"), i, pin)
    {
        printf("%s", text_of(pin, "name"));
        json_array_foreach(json_object_get(pin, "addresses"), k, address)
            printf(" %s", json_string_value(address));
        if (json_is_null(json_object_get(pin, "left_s")))
            printf(", until unpinned\n");
        else
            printf(", %lld s left\n", number_of(pin, "left_s"));
    }
    json_array_foreach(json_object_get(reply, "life"), i, life)
    {
        bool pinned = strcmp(text_of(life, "kind"), "pin") == 0;
        printf("%s: %s for %lld s, %lld uses, address %s", text_of(life, "name"),
               text_of(life, "kind"), number_of(life, "for_s"), number_of(life, "uses"),
               text_of(life, "life"));
        if (pinned)
            printf(", DNS %s%s", text_of(life, "dns"),
                   json_is_true(json_object_get(life, "dns_was_wrong")) ? " (was not right)" : "");
        if (json_is_true(json_object_get(life, "aside")))
            printf(", aside: the DNS is served");
        else if (json_is_true(json_object_get(life, "over")))
            printf(", over");
        printf("\n");
    }
}

static void print_trail(const json_t *trail)
{
    size_t i;
    json_t *deed;
    json_array_foreach((json_t *)trail, i, deed)
        printf("%s %s %s %s: %s\n", text_of(deed, "time"), text_of(deed, "name"),
               text_of(deed, "kind"), text_of(deed, "deed"), text_of(deed, "reason"));
}

static void print_levels(const json_t *levels)
{
    const char *name;
    json_t *level;
    json_object_foreach((json_t *)levels, name, level)
        printf("%-10s %s\n", name, json_string_value(level));
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "?";
}

static long long number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static double real_of(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static json_t *names_array(sb_cli *cli, unsigned from)
{
    json_t *list = json_array();
    for (unsigned i = from; i < cli->operand_count; i++)
        json_array_append_new(list, sb_view_string(cli->operands[i]));
    return list;
}

/* A listing page by page, each entry printed, written as a line, or kept. */
static int pages(sb_cli *cli, const char *verb, const char *suffix, FILE *out,
                 void (*print)(const json_t *), json_t *list)
{
    json_t *cursor = json_null();
    for (;;) {
        json_t *reply, *entry;
        size_t i;
        json_t *request = json_pack("{s:s}", "verb", verb);
        if (suffix)
            json_object_set_new(request, "suffix", sb_view_string(suffix));
        if (json_is_string(cursor))
            json_object_set(request, "cursor", cursor);
        json_decref(cursor);
        int code = call(cli, request, &reply);
        if (code != SB_EXIT_OK)
            return code;
        json_array_foreach(json_object_get(reply, "entries"), i, entry)
        {
            if (list)
                json_array_append(list, entry);
            else if (out)
                (void)(json_dumpf(entry, out, JSON_COMPACT) == 0 && fputc('\n', out));
            else
                print(entry);
        }
        cursor = json_incref(json_object_get(reply, "cursor"));
        json_decref(reply);
        if (!json_is_string(cursor))
            break;
    }
    json_decref(cursor);
    return SB_EXIT_OK;
}

static int load_batch(sb_cli *cli, json_t *take_entries, load_totals *totals)
{
    json_t *reply;
    int code = call(cli, json_pack("{s:s, s:o}", "verb", "load", "entries", take_entries), &reply);
    if (code != SB_EXIT_OK)
        return code;
    totals->loaded += number_of(reply, "loaded");
    totals->older += number_of(reply, "older");
    totals->refused += number_of(reply, "refused");
    json_t *refused = json_object_get(reply, "first_refused");
    if (refused)
        sb_cli_note("refused: %s", text_of(reply, "first_refused"));
    if (refused && !totals->first_refused)
        totals->first_refused = json_incref(refused);
    json_decref(reply);
    return SB_EXIT_OK;
}

/* Else complains: what nobody could ask for would be kept for nothing. */
static bool host_name(const char *text)
{
    sb_name name;
    if (!sb_cli_name(text, &name))
        return false;
    if (sb_name_is_host(&name))
        return true;
    sb_cli_complain("'%s' is not a host name: letters, digits, '-' and '_' are expected", text);
    return false;
}
