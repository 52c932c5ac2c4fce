/* The verbs of the control socket: one table, one function each (docs/CONTROL.md).
 *
 * Arguments are checked before anything is done: a refused request has changed nothing. Loop
 * thread. */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "dns/rdata.h"
#include "front/control_private.h"
#include "front/view.h"
#include "resolve/policy.h"

#define PIN_ADDRESSES_MAX 16
#define PIN_SECONDS_MAX ((json_int_t)10 * 366 * 86400)
#define WARM_NAMES_MAX 1000
#define NO_HOST "a host name has letters, digits, '-' and '_' only"

typedef enum verb_kind {
    VIEW,
    NAMES,  /* a view of what was asked: needs permission but for cache.share: all */
    CHANGES /* needs permission */
} verb_kind;

typedef struct verb {
    const char *name;
    verb_kind kind;
    bool (*run)(sb_control_request *request);
} verb;

static void audit(const sb_control_request *request, const char *name, const char *refused);
static void audit_list(const char *key, const json_t *list, sb_text *line);
static bool refuse(sb_control_request *request, const char *sentence);
static bool names_of(const json_t *list, size_t i, sb_name *ret_name, sb_why *why);

static bool run_status(sb_control_request *request);
static bool run_health(sb_control_request *request);
static bool run_upstreams(sb_control_request *request);
static bool run_cache_list(sb_control_request *request);
static bool run_pins(sb_control_request *request);
static bool run_log_levels(sb_control_request *request);
static bool run_explain(sb_control_request *request);
static bool run_services(sb_control_request *request);
static bool run_flush(sb_control_request *request);
static bool run_pin(sb_control_request *request);
static const char *fixed_name(const sb_name *name);
static bool run_unpin(sb_control_request *request);
static bool run_reload(sb_control_request *request);
static bool run_log(sb_control_request *request);
static bool run_warm(sb_control_request *request);
static bool run_dump(sb_control_request *request);
static bool run_upstreams_reset(sb_control_request *request);
static bool run_obey(sb_control_request *request);
static bool run_later(sb_control_request *request);

static const verb verbs[] = {
    {"status", VIEW, run_status},
    {"health", VIEW, run_health},
    {"upstreams", VIEW, run_upstreams},
    {"services", NAMES, run_services},
    {"explain", NAMES, run_explain},
    {"cache-list", NAMES, run_cache_list},
    {"pins", NAMES, run_pins},
    {"log-levels", VIEW, run_log_levels},
    {"flush", CHANGES, run_flush},
    {"pin", CHANGES, run_pin},
    {"unpin", CHANGES, run_unpin},
    {"reload", CHANGES, run_reload},
    {"log", CHANGES, run_log},
    {"warm", CHANGES, run_warm},
    {"dump", CHANGES, run_dump},
    {"load", CHANGES, sb_control_load},
    {"upstreams-reset", CHANGES, run_upstreams_reset},
    {"obey", CHANGES, run_obey},
    {"drill", CHANGES, run_later},
};

bool sb_control_run(sb_control_request *request, const char *name, bool allowed)
{
    const sb_settings *settings = sb_engine_settings(request->control->engine);
    request->names = allowed || settings->cache.share == SB_SHARE_ALL;
    for (size_t i = 0; i < SB_ARRAY_SIZE(verbs); i++) {
        if (strcmp(verbs[i].name, name) != 0)
            continue;
        verb_kind kind = verbs[i].kind;
        if ((kind == NAMES && !request->names) || (kind == CHANGES && !allowed)) {
            audit(request, verbs[i].name, "not permitted");
            return refuse(request, kind == NAMES
                                       ? "names are shown to root, the daemon's user and the "
                                         "control group, or with cache.share: all"
                                       : "this needs root, the daemon's user or the control group");
        }
        bool done = verbs[i].run(request);
        if (kind == CHANGES)
            audit(request, verbs[i].name, done ? NULL : request->why.text);
        if (!done)
            return false;
        return request->result || request->work || refuse(request, "no memory for this answer");
    }
    (void)sb_why_set(&request->why, SB_INVALID, "there is no verb %s", SB_Q(name));
    return false;
}

bool sb_control_text(sb_control_request *request, const char *key, const char **ret)
{
    const json_t *value = json_object_get(request->body, key);
    if (!value)
        return true;
    if (!json_is_string(value)) {
        (void)sb_why_set(&request->why, SB_INVALID, "%s must be a text", key);
        return false;
    }
    *ret = json_string_value(value);
    return true;
}

bool sb_control_number(sb_control_request *request, const char *key, json_int_t max,
                       json_int_t *ret)
{
    const json_t *value = json_object_get(request->body, key);
    if (!value)
        return true;
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) > max) {
        (void)sb_why_set(&request->why, SB_INVALID, "%s must be a number from 0 to %lld", key,
                         (long long)max);
        return false;
    }
    *ret = json_integer_value(value);
    return true;
}

bool sb_control_name(sb_control_request *request, const char *key, sb_name *ret_name)
{
    const char *text = NULL;
    sb_why why = {""};
    if (!sb_control_text(request, key, &text))
        return false;
    if (!text) {
        (void)sb_why_set(&request->why, SB_INVALID, "%s is missing", key);
        return false;
    }
    if (sb_name_parse(text, strlen(text), ret_name, &why) != SB_OK) {
        (void)sb_why_set(&request->why, SB_INVALID, "bad %s: %s", key, why.text);
        return false;
    }
    sb_name_fold(ret_name);
    return true;
}

bool sb_control_list(sb_control_request *request, bool dump)
{
    json_int_t limit = SB_VIEW_PAGE_MAX;
    uint64_t cursor = 0;
    const char *cursor_text = NULL;
    sb_name suffix;
    bool below = json_object_get(request->body, "suffix") != NULL;
    if ((below && !sb_control_name(request, "suffix", &suffix)) ||
        !sb_control_number(request, "limit", SB_VIEW_PAGE_MAX, &limit) ||
        !sb_control_text(request, "cursor", &cursor_text))
        return false;
    if (cursor_text && !sb_view_cursor_parse(cursor_text, &cursor))
        return refuse(request, "cursor must be the cursor of the page before");
    sb_view_page page = {
        .suffix = below ? &suffix : NULL, .limit = limit ? (unsigned)limit : 1, .cursor = cursor};
    request->result = sb_view_cache(request->control->engine, &page,
                                    dump ? sb_control_dump_entry : sb_view_entry);
    return true;
}

/* A line for whoever wants to know later who changed what. refused: why, NULL when it was done. */
static void audit(const sb_control_request *request, const char *name, const char *refused)
{
    static const char *const keys[] = {"name",      "suffix", "all",   "addresses", "for_s",
                                       "subsystem", "level",  "names", "entries"};
    sb_text line = {.limit = 4096};
    for (size_t i = 0; i < SB_ARRAY_SIZE(keys); i++) {
        const json_t *value = json_object_get(request->body, keys[i]);
        if (json_is_string(value))
            sb_text_add(&line, " %s=%s", keys[i], SB_Q(json_string_value(value)));
        else if (json_is_integer(value))
            sb_text_add(&line, " %s=%lld", keys[i], (long long)json_integer_value(value));
        else if (json_is_true(value))
            sb_text_add(&line, " %s=true", keys[i]);
        else if (json_is_array(value) && json_array_size(value) > PIN_ADDRESSES_MAX)
            sb_text_add(&line, " %s=%zu", keys[i], json_array_size(value));
        else if (json_is_array(value) && json_is_string(json_array_get(value, 0)))
            audit_list(keys[i], value, &line);
    }
    const char *details = line.data && !line.failed ? line.data : "";
    if (refused)
        sb_log(CONTROL, WARN, "refused", "verb=%s%s uid=%lld reason=%s", name, details,
               (long long)request->uid, SB_Q(refused));
    else
        sb_log(CONTROL, INFO, "done", "verb=%s%s uid=%lld", name, details, (long long)request->uid);
    sb_text_fini(&line);
}

static void audit_list(const char *key, const json_t *list, sb_text *line)
{
    sb_text items = {.limit = 1024};
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        sb_text_add(&items, "%s%s", i > 0 ? "," : "", text ? text : "?");
    }
    sb_text_add(line, " %s=%s", key, SB_Q(items.data ? items.data : ""));
    sb_text_fini(&items);
}

static bool refuse(sb_control_request *request, const char *sentence)
{
    (void)sb_why_set(&request->why, SB_INVALID, "%s", sentence);
    return false;
}

static bool run_status(sb_control_request *request)
{
    const sb_control *control = request->control;
    json_t *status = sb_view_status(control->engine, request->names);
    json_object_set_new(status, "process",
                        json_pack("{s:I, s:I, s:o}", "pid", (json_int_t)control->options.pid,
                                  "uptime_s",
                                  (json_int_t)((sb_env_now(control->env) - control->since) / SB_S),
                                  "config", sb_view_string(control->options.config)));
    request->result = json_pack("{s:o}", "status", status);
    return true;
}

/* The document comes as text from whoever knows the workers, and goes out as a value. */
static bool run_health(sb_control_request *request)
{
    const sb_control_options *options = &request->control->options;
    sb_text text = {0};
    if (options->health)
        options->health(options->context, &text);
    json_t *document = text.data && !text.failed ? json_loadb(text.data, text.size, 0, NULL) : NULL;
    sb_text_fini(&text);
    if (!document)
        return refuse(request, "there is no health document");
    request->result = json_pack("{s:o}", "health", document);
    return true;
}

static bool run_upstreams(sb_control_request *request)
{
    sb_engine *engine = request->control->engine;
    request->result = json_pack("{s:o, s:o, s:o}", "upstreams", sb_view_upstreams(engine, true),
                                "loops", sb_view_loops(engine), "routes", sb_view_routes(engine));
    return true;
}

static bool run_services(sb_control_request *request)
{
    request->result =
        json_pack("{s:o}", "services", sb_view_services(request->control->engine, true, true));
    return true;
}

static bool run_explain(sb_control_request *request)
{
    const char *type_text = "A";
    uint16_t type;
    sb_name name;
    if (!sb_control_name(request, "name", &name) || !sb_control_text(request, "type", &type_text))
        return false;
    if (!sb_type_parse(type_text, strlen(type_text), &type))
        return refuse(request, "type must be a record type such as A, AAAA or TYPE65");
    request->result =
        json_pack("{s:o}", "explain", sb_view_explain(request->control->engine, &name, type));
    return true;
}

static bool run_cache_list(sb_control_request *request)
{
    return sb_control_list(request, false);
}

static bool run_dump(sb_control_request *request)
{
    return sb_control_list(request, true);
}

typedef struct pin_list {
    sb_control_work work; /* first */
    uint64_t cursor;
    json_t *pins;
} pin_list;

static bool list_pins(sb_control_request *request)
{
    pin_list *list = (pin_list *)request->work;
    if (sb_view_pins(request->control->engine, &list->cursor, list->pins))
        return false;
    sb_engine *engine = request->control->engine;
    request->result = json_pack("{s:O, s:o, s:o}", "pins", list->pins, "life",
                                sb_view_custodies(engine), "trail", sb_view_trail(engine, NULL));
    return true;
}

static void free_pins(sb_control_work *work)
{
    json_decref(((pin_list *)work)->pins);
    sb_free(work);
}

static bool run_pins(sb_control_request *request)
{
    pin_list *list = sb_new(pin_list);
    if (!list)
        return true;
    list->work = (sb_control_work){.slice = list_pins, .free = free_pins};
    list->pins = json_array();
    request->work = &list->work;
    return true;
}

static bool run_log_levels(sb_control_request *request)
{
    json_t *levels = json_object();
    for (unsigned i = 0; i < SB_LOG_SUBSYSTEM_COUNT; i++) {
        sb_log_subsystem subsystem = (sb_log_subsystem)i;
        json_object_set_new(levels, sb_log_subsystem_text(subsystem),
                            json_string(sb_log_level_text(sb_log_get_level(subsystem))));
    }
    request->result = json_pack("{s:o}", "levels", levels);
    return true;
}

static bool run_flush(sb_control_request *request)
{
    sb_engine *engine = request->control->engine;
    bool by_name = json_object_get(request->body, "name") != NULL;
    bool by_suffix = json_object_get(request->body, "suffix") != NULL;
    bool all = json_is_true(json_object_get(request->body, "all"));
    sb_name name = {.size = 1}; /* the root: all */
    if (by_name + by_suffix + all != 1)
        return refuse(request, "flush takes one of name, suffix and \"all\":true");
    if (!all && !sb_control_name(request, by_name ? "name" : "suffix", &name))
        return false;
    size_t removed =
        by_name ? sb_engine_flush_name(engine, &name) : sb_engine_flush_below(engine, &name);
    request->result = json_pack("{s:I}", "removed", (json_int_t)removed);
    return true;
}

static bool run_pin(sb_control_request *request)
{
    const json_t *list = json_object_get(request->body, "addresses");
    json_int_t seconds = 0;
    sb_addr addresses[PIN_ADDRESSES_MAX];
    sb_name name;
    if (!sb_control_name(request, "name", &name) ||
        !sb_control_number(request, "for_s", PIN_SECONDS_MAX, &seconds))
        return false;
    if (!sb_name_is_host(&name))
        return refuse(request, NO_HOST);
    const char *fixed = fixed_name(&name);
    if (fixed) {
        (void)sb_why_set(&request->why, SB_INVALID, "%s; a pin would have no effect", fixed);
        return false;
    }
    size_t n = json_array_size(list);
    if (n == 0 || n > PIN_ADDRESSES_MAX)
        return refuse(request, "a pin takes 1 to 16 addresses");
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (!text || !sb_addr_parse(text, strlen(text), &addresses[i]) ||
            !sb_addr_is_host(&addresses[i])) {
            (void)sb_why_set(&request->why, SB_INVALID, "%s is not the IP address of a host",
                             text ? SB_Q(text) : "an element of addresses");
            return false;
        }
    }
    if (sb_engine_pin(request->control->engine, &name, addresses, n, seconds * SB_S,
                      &request->why) != SB_OK)
        return request->why.text[0] ? false : refuse(request, "the pin could not be set");
    request->result = json_object();
    return true;
}

/* Why nobody may say what this name means; NULL: one may. */
static const char *fixed_name(const sb_name *name)
{
    sb_question question = {.name = *name, .type = SB_TYPE_A, .class = SB_CLASS_IN};
    switch (sb_special_of(&question, true)) {
    case SB_SPECIAL_LITERAL:
        return "an address is its own answer";
    case SB_SPECIAL_LOOPBACK:
        return "localhost and what is below is this machine always (RFC 6761)";
    case SB_SPECIAL_NONEXISTENT:
        return "names below invalid and onion never exist (RFC 6761, 7686)";
    default:
        return NULL;
    }
}

static bool run_unpin(sb_control_request *request)
{
    sb_name name;
    if (!sb_control_name(request, "name", &name))
        return false;
    if (sb_engine_unpin(request->control->engine, &name) != SB_OK)
        return refuse(request, "that name is not pinned");
    request->result = json_object();
    return true;
}

static bool run_reload(sb_control_request *request)
{
    const sb_control_options *options = &request->control->options;
    if (!options->reload)
        return refuse(request, "this program does not reload");
    sb_text waiting = {0};
    json_t *keys = json_array();
    sb_status status = options->reload(options->context, &waiting, &request->why);
    for (size_t at = 0; at < waiting.size;) {
        const char *blank = memchr(waiting.data + at, ' ', waiting.size - at);
        size_t size = blank ? (size_t)(blank - waiting.data) - at : waiting.size - at;
        json_array_append_new(keys, json_stringn(waiting.data + at, size));
        at += size + 1;
    }
    sb_text_fini(&waiting);
    if (status == SB_OK)
        request->result = json_pack("{s:O}", "next_start", keys);
    json_decref(keys);
    if (status != SB_OK)
        return request->why.text[0] ? false : refuse(request, "the reload failed");
    return true;
}

static bool run_log(sb_control_request *request)
{
    const char *subsystem_text = NULL, *level_text = NULL;
    sb_log_subsystem subsystem;
    sb_log_level level;
    if (!sb_control_text(request, "subsystem", &subsystem_text) ||
        !sb_control_text(request, "level", &level_text))
        return false;
    if (!level_text || !sb_log_level_parse(level_text, &level))
        return refuse(request, "level must be error, warn, info, debug or trace");
    bool all = subsystem_text && strcmp(subsystem_text, "all") == 0;
    if (!all && (!subsystem_text || !sb_log_subsystem_parse(subsystem_text, &subsystem)))
        return refuse(request, "there is no such subsystem; 'stubborn log' lists them");
    for (unsigned i = 0; i < SB_LOG_SUBSYSTEM_COUNT; i++)
        if (all || i == (unsigned)subsystem)
            sb_log_set_level((sb_log_subsystem)i, level);
    return run_log_levels(request);
}

static bool run_warm(sb_control_request *request)
{
    const json_t *list = json_object_get(request->body, "names");
    size_t n = json_array_size(list);
    sb_name name;
    if (n == 0 || n > WARM_NAMES_MAX)
        return refuse(request, "names must be a list of 1 to 1000 names");
    for (size_t i = 0; i < n; i++)
        if (!names_of(list, i, &name, &request->why))
            return false;
    for (size_t i = 0; i < n; i++)
        if (names_of(list, i, &name, &request->why))
            sb_engine_warm(request->control->engine, &name);
    request->result = json_pack("{s:I}", "warming", (json_int_t)n);
    return true;
}

static bool names_of(const json_t *list, size_t i, sb_name *ret_name, sb_why *why)
{
    sb_why inner = {"it is not a text"};
    const char *text = json_string_value(json_array_get(list, i));
    sb_status status = text ? sb_name_parse(text, strlen(text), ret_name, &inner) : SB_INVALID;
    if (status == SB_OK && sb_name_is_host(ret_name))
        return true;
    if (status == SB_OK)
        (void)sb_why_set(&inner, SB_INVALID, "%s", NO_HOST);
    (void)sb_why_set(why, SB_INVALID, "bad name number %zu: %s", i + 1, inner.text);
    return false;
}

static bool run_upstreams_reset(sb_control_request *request)
{
    sb_engine_reset_upstreams(request->control->engine);
    request->result = json_object();
    return true;
}

static bool run_obey(sb_control_request *request)
{
    sb_name name;
    if (!sb_control_name(request, "name", &name))
        return false;
    sb_status status = sb_engine_obey(request->control->engine, &name);
    if (status != SB_OK)
        return refuse(request, status == SB_NOTFOUND
                                   ? "no denial of that name is doubted: there is nothing to obey"
                                   : "no memory to remember it");
    request->result = json_object();
    return true;
}

static bool run_later(sb_control_request *request)
{
    return refuse(request, "this arrives with a later version");
}
