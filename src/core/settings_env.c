/* The environment, laid over the file.
 *
 * A variable that is absent or empty changes nothing; any other value is used or refused with a
 * sentence that names both. Reads variables through the caller's getter only. One thread. */
#include <string.h>

#include "base/log.h"
#include "core/settings.h"
#include "dns/target.h"

enum {
    ADDRESSES_MAX = 32, /* emergency addresses of one name: more fit no sensible answer */
    SERVERS_MAX = 64,
    HOSTS_MAX = 256, /* of STUBBORN_FALLBACK; the file takes more */
};

typedef struct reading {
    sb_settings *settings;
    sb_getenv *get;
    void *context;
    const char *variable;
    const char *value;
    sb_why *why;
} reading;

static sb_status take_all(sb_settings *settings, sb_getenv *get, void *context, bool lenient,
                          sb_why *why);
static sb_status take_cache_ttl(reading *r);
static sb_status take_timeout(reading *r);
static sb_status take_servers(reading *r);
static sb_status take_socket(reading *r);
static sb_status take_log(reading *r);
static sb_status take_fallback(reading *r);
static sb_status take_mlflow(reading *r);
static sb_status take_mlflow_fallback(reading *r);
static sb_status refuse(reading *r, const char *reason);
static sb_status ignore(reading *r, const char *reason);
static void describe(reading *r, const char *reason, sb_why *ret_why);
static sb_span next_item(sb_span *rest, char separator);
static size_t count_items(sb_span list, char separator);
static sb_status take_addresses(reading *r, sb_span list, sb_name_setting *rule);
static sb_name_setting *more_names(sb_settings *s, size_t count);
static bool is_local_store(const char *uri);
static sb_status add_mlflow_service(reading *r);

sb_status sb_settings_env(sb_settings *settings, sb_getenv *get, void *context, sb_why *why)
{
    return take_all(settings, get, context, false, why);
}

sb_status sb_settings_env_leniently(sb_settings *settings, sb_getenv *get, void *context,
                                    sb_why *why)
{
    return take_all(settings, get, context, true, why);
}

void sb_settings_env_unread(sb_settings *settings, char *const *variables)
{
    /* STUBBORN_BUILD is of the Makefile and of the demonstration. */
    static const char *const known[] = {"STUBBORN_CONFIG",   "STUBBORN_SERVERS", "STUBBORN_SOCKET",
                                        "STUBBORN_FALLBACK", "STUBBORN_LOG",     "STUBBORN_BUILD"};
    for (; variables && *variables; variables++) {
        const char *text = *variables;
        size_t size = strcspn(text, "=");
        bool read = strncmp(text, "STUBBORN_", 9) != 0 || text[size] == '\0';
        for (size_t i = 0; i < SB_ARRAY_SIZE(known) && !read; i++)
            read = size == strlen(known[i]) && memcmp(text, known[i], size) == 0;
        if (read)
            continue;
        sb_why sentence;
        (void)sb_why_set(&sentence, SB_INVALID,
                         "the variable %.*s is read by nobody; there are STUBBORN_CONFIG, "
                         "STUBBORN_SERVERS, STUBBORN_SOCKET, STUBBORN_FALLBACK and STUBBORN_LOG",
                         (int)(size < 64 ? size : 64), text);
        sb_settings_warn(settings, sentence.text);
    }
}

static sb_status take_all(sb_settings *settings, sb_getenv *get, void *context, bool lenient,
                          sb_why *why)
{
    /* Later ones win where two speak of one name: the particular after the general. */
    static const struct {
        const char *name;
        sb_status (*take)(reading *r);
    } variables[] = {
        {"DNS_CACHE_TTL", take_cache_ttl},    {"DNS_TIMEOUT", take_timeout},
        {"STUBBORN_SERVERS", take_servers},   {"STUBBORN_SOCKET", take_socket},
        {"STUBBORN_LOG", take_log},           {"STUBBORN_FALLBACK", take_fallback},
        {"MLFLOW_TRACKING_URI", take_mlflow}, {"MLFLOW_FALLBACK_IP", take_mlflow_fallback},
    };
    sb_status worst = SB_OK;
    SB_ASSERT(!settings->frozen);
    for (size_t i = 0; i < SB_ARRAY_SIZE(variables); i++) {
        reading r = {.settings = settings,
                     .get = get,
                     .context = context,
                     .why = worst == SB_OK ? why : NULL};
        r.variable = variables[i].name;
        r.value = get(context, r.variable);
        if (!r.value || *r.value == '\0')
            continue;
        sb_status status = variables[i].take(&r);
        if (status == SB_NOMEM)
            return sb_why_set(why, SB_NOMEM, "no memory for the settings of %s", r.variable);
        if (status != SB_OK && !lenient)
            return status;
        if (worst == SB_OK)
            worst = status;
    }
    return worst;
}

static sb_status take_cache_ttl(reading *r)
{
    sb_ns ttl;
    if (!sb_parse_duration(r->value, true, &ttl) || ttl % SB_S != 0 ||
        ttl / SB_S > SB_TTL_SETTING_MAX_S)
        return refuse(r, "a number of whole seconds up to 31536000 is expected");
    r->settings->cache.ttl_max_s = (uint32_t)(ttl / SB_S);
    r->settings->cache.ttl_max_by_variable = true;
    return SB_OK;
}

static sb_status take_timeout(reading *r)
{
    sb_ns timeout;
    if (!sb_parse_duration(r->value, true, &timeout) || timeout < SB_MS || timeout > 3600 * SB_S)
        return refuse(r, "a number of seconds from 0.001 to 3600 is expected");
    r->settings->query.timeout = timeout;
    return SB_OK;
}

static sb_status take_servers(reading *r)
{
    sb_settings *s = r->settings;
    sb_span rest = {.data = (const uint8_t *)r->value, .size = strlen(r->value)};
    size_t count = count_items(rest, ',');
    if (count > SERVERS_MAX)
        return refuse(r, "at most 64 servers are taken");
    sb_server_setting *servers = sb_arena_alloc(&s->arena, count * sizeof(*servers));
    if (!servers)
        return SB_NOMEM;
    for (size_t i = 0; i < count; i++) {
        sb_why reason = {""};
        sb_span item = next_item(&rest, ',');
        const char *text = sb_arena_text(&s->arena, (const char *)item.data, item.size);
        if (!text)
            return SB_NOMEM;
        sb_status status = sb_server_parse(&s->arena, text, &servers[i], &reason);
        if (status != SB_OK)
            return status == SB_NOMEM ? status : refuse(r, reason.text);
    }
    s->upstreams = servers;
    s->upstream_count = count;
    s->upstreams_equal = false; /* a list in order, as in resolv.conf */
    return SB_OK;
}

static sb_status take_socket(reading *r)
{
    if (r->value[0] != '/' || r->value[strlen(r->value) - 1] == '/')
        return refuse(r, "the absolute path of a file is expected");
    if (strlen(r->value) > SB_SOCKET_PATH_MAX)
        return refuse(r, "the path is too long for a Unix socket (107 bytes)");
    r->settings->listen.socket = sb_arena_strdup(&r->settings->arena, r->value);
    r->settings->listen.socket_origin = (sb_origin){0};
    return r->settings->listen.socket ? SB_OK : SB_NOMEM;
}

/* "debug", or "info,upstream=debug,cache=trace". */
static sb_status take_log(reading *r)
{
    sb_settings *s = r->settings;
    sb_span rest = {.data = (const uint8_t *)r->value, .size = strlen(r->value)};
    size_t count = count_items(rest, ',');
    for (size_t i = 0; i < count; i++) {
        sb_span item = next_item(&rest, ',');
        char text[32] = "";
        sb_log_level level;
        sb_log_subsystem subsystem;
        if (item.size >= sizeof(text))
            return refuse(r, "a level, or subsystem=level, is expected");
        if (item.size > 0)
            memcpy(text, item.data, item.size);
        char *equals = strchr(text, '=');
        if (equals)
            *equals = '\0';
        if (!sb_log_level_parse(equals ? equals + 1 : text, &level))
            return refuse(r, "the levels are error, warn, info, debug and trace");
        if (!equals) {
            memset(s->log.levels, -1, sizeof(s->log.levels));
            s->log.level = (uint8_t)level;
        } else if (sb_log_subsystem_parse(text, &subsystem)) {
            s->log.levels[subsystem] = (int8_t)level;
        } else {
            return refuse(r, "it names an unknown subsystem");
        }
    }
    return SB_OK;
}

static sb_status take_fallback(reading *r)
{
    sb_settings *s = r->settings;
    sb_span rest = {.data = (const uint8_t *)r->value, .size = strlen(r->value)};
    size_t count = count_items(rest, ';');
    if (count > HOSTS_MAX)
        return refuse(r, "at most 256 hosts are taken");
    sb_name_setting *rules = more_names(s, count);
    if (!rules)
        return SB_NOMEM;
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        sb_span item = next_item(&rest, ';');
        if (item.size == 0 && i > 0 && i + 1 == count)
            break; /* a final semicolon */
        const uint8_t *equals = item.size ? memchr(item.data, '=', item.size) : NULL;
        if (!equals)
            return refuse(r, "host=address[,address];host=address is expected");
        sb_name_setting *rule = &rules[used++];
        sb_span addresses = {.data = equals + 1,
                             .size = item.size - (size_t)(equals + 1 - item.data)};
        sb_span host = {.data = item.data, .size = (size_t)(equals - item.data)};
        host = next_item(&host, '\0'); /* without the blanks around it */
        sb_why reason = {""};
        if (sb_match_parse((const char *)host.data, host.size, &rule->match, &rule->below,
                           &reason) != SB_OK)
            return refuse(r, reason.text);
        for (size_t j = 0; j + 1 < used; j++)
            if (sb_name_equal(&rules[j].match, &rule->match) && rules[j].below == rule->below)
                return refuse(r, "a host is there twice");
        sb_status status = take_addresses(r, addresses, rule);
        if (status != SB_OK)
            return status;
    }
    s->name_count += used;
    return SB_OK;
}

/* Values that MLflow itself takes for a directory or a service without a host are no mistake. */
static sb_status take_mlflow(reading *r)
{
    sb_settings *s = r->settings;
    sb_target target;
    sb_why reason = {""};
    if (!is_local_store(r->value) &&
        sb_target_parse(r->value, strlen(r->value), &target, &reason) != SB_OK)
        return refuse(r, reason.text);
    s->mlflow_uri = sb_arena_strdup(&s->arena, r->value);
    if (!s->mlflow_uri)
        return SB_NOMEM;
    return is_local_store(r->value) ? SB_OK : add_mlflow_service(r);
}

static sb_status take_mlflow_fallback(reading *r)
{
    sb_settings *s = r->settings;
    const char *uri = s->mlflow_uri;
    sb_span list = {.data = (const uint8_t *)r->value, .size = strlen(r->value)};
    sb_target target;
    if (!uri || is_local_store(uri) || sb_target_parse(uri, strlen(uri), &target, NULL) != SB_OK)
        return ignore(r, "not used: MLFLOW_TRACKING_URI names no host it could be for");
    sb_name_setting *rule = more_names(s, 1);
    if (!rule)
        return SB_NOMEM;
    sb_status status = take_addresses(r, list, rule);
    if (status != SB_OK || target.is_literal)
        return status; /* an address needs no other one */
    rule->match = target.name;
    sb_name_fold(&rule->match);
    s->name_count++;
    return SB_OK;
}

static sb_status refuse(reading *r, const char *reason)
{
    if (r->why)
        describe(r, reason, r->why);
    return SB_INVALID;
}

/* Set for other programs, it makes no sense here: no reason not to start. */
static sb_status ignore(reading *r, const char *reason)
{
    sb_why sentence;
    describe(r, reason, &sentence);
    sb_settings_warn(r->settings, sentence.text);
    return SB_OK;
}

/* The value is quoted as a log would; userinfo of a URL stays secret. */
static void describe(reading *r, const char *reason, sb_why *ret_why)
{
    sb_text masked = {.limit = 4096};
    sb_target_mask(r->value, strlen(r->value), &masked);
    bool shown = masked.data && !masked.failed;
    (void)sb_why_set(ret_why, SB_INVALID, "%s=%s: %s", r->variable,
                     shown ? SB_Q(masked.data) : "(a long value)", reason);
    sb_text_fini(&masked);
}

/* Up to the next separator, without blanks at its ends; the rest begins behind the separator. */
static sb_span next_item(sb_span *rest, char separator)
{
    const uint8_t *end = rest->size ? memchr(rest->data, separator, rest->size) : NULL;
    sb_span item = {.data = rest->data, .size = end ? (size_t)(end - rest->data) : rest->size};
    size_t passed = item.size + (end ? 1 : 0);
    *rest = (sb_span){.data = rest->data + passed, .size = rest->size - passed};
    while (item.size > 0 && (item.data[0] == ' ' || item.data[0] == '\t')) {
        item.data++;
        item.size--;
    }
    while (item.size > 0 && (item.data[item.size - 1] == ' ' || item.data[item.size - 1] == '\t'))
        item.size--;
    return item;
}

static size_t count_items(sb_span list, char separator)
{
    size_t count = 1;
    for (size_t i = 0; i < list.size; i++)
        count += list.data[i] == (uint8_t)separator;
    return count;
}

static sb_status take_addresses(reading *r, sb_span list, sb_name_setting *rule)
{
    size_t count = count_items(list, ',');
    if (count > ADDRESSES_MAX)
        return refuse(r, "at most 32 addresses of a host are taken");
    sb_addr *addresses = sb_arena_alloc(&r->settings->arena, count * sizeof(*addresses));
    if (!addresses)
        return SB_NOMEM;
    for (size_t i = 0; i < count; i++) {
        sb_span item = next_item(&list, ',');
        if (!sb_addr_parse((const char *)item.data, item.size, &addresses[i]) ||
            !sb_addr_is_host(&addresses[i]))
            return refuse(r, "IP addresses of hosts separated by commas are expected");
    }
    rule->emergency = addresses;
    rule->emergency_count = count;
    return SB_OK;
}

/* Room for count rules behind the present ones; the caller counts those it fills. */
static sb_name_setting *more_names(sb_settings *s, size_t count)
{
    sb_name_setting *names = sb_arena_alloc(&s->arena, (s->name_count + count) * sizeof(*names));
    if (!names)
        return NULL;
    if (s->name_count > 0)
        memcpy(names, s->names, s->name_count * sizeof(*names));
    s->names = names;
    return names + s->name_count;
}

static bool is_local_store(const char *uri)
{
    static const char *const schemes[] = {
        "file:", "sqlite:", "databricks:", "databricks-uc:", "uc:"};
    if (uri[0] == '/' || uri[0] == '.' || uri[0] == '~' || sb_ascii_equal(uri, "databricks") ||
        sb_ascii_equal(uri, "databricks-uc"))
        return true;
    for (size_t i = 0; i < SB_ARRAY_SIZE(schemes); i++) {
        size_t at = 0;
        while (schemes[i][at] && sb_ascii_lower((uint8_t)uri[at]) == (uint8_t)schemes[i][at])
            at++;
        if (schemes[i][at] == '\0')
            return true;
    }
    return false;
}

static sb_status add_mlflow_service(reading *r)
{
    sb_settings *s = r->settings;
    for (size_t i = 0; i < s->service_count; i++)
        if (sb_ascii_equal(s->services[i].name, "mlflow"))
            return SB_OK;
    sb_service_setting *services =
        sb_arena_alloc(&s->arena, (s->service_count + 1) * sizeof(*services));
    if (!services)
        return SB_NOMEM;
    if (s->service_count > 0)
        memcpy(services, s->services, s->service_count * sizeof(*services));
    services[s->service_count] = (sb_service_setting){.name = "mlflow", .uri = s->mlflow_uri};
    s->services = services;
    s->service_count++;
    return SB_OK;
}
