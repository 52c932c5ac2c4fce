/* The schema: tables of sections, keys, ranges and units, and the takers of values with a form of
 * their own. Name rules and services are in conf/rules.
 *
 * Rules across keys are checked here too, where line and column are still known; freeze repeats
 * them for what the environment adds. One thread. */
#include "conf/schema.h"

#include <string.h>

#include "base/log.h"
#include "dns/target.h"

enum {
    LISTENERS_MAX = 64,
    PREFIXES_MAX = 1024,
    HOSTS_MAX = 64,
    SERVERS_MAX = 64,
    ROUTES_MAX = 1024,
    ROUTE_SERVERS_MAX = 16,
    SEARCH_MAX = 16, /* as many as a resolv.conf gives */
    WARM_MAX = 4096,
    ARGUMENTS_MAX = 32,
    INTERFACES_MAX = 32,
    GROUP_NAME_MAX = 32, /* useradd(8) */
    DNS_PORT = 53,
    HTTP_PORT = 8053,
};
#define DAY_S 86400
#define HOUR (3600 * SB_S)
#define DAY (DAY_S * SB_S)
#define IN(field) offsetof(sb_settings, field)
#define BIT(id) (UINT32_C(1) << SB_STRATEGY_##id)
#define STRATEGIES_LATER                                                                           \
    (BIT(MDNS_NATIVE) | BIT(MDNS_MULTICAST) | BIT(SHARED) | BIT(VALIDATE) | BIT(GUESS))
/* No route does without these yet. */
#define STRATEGIES_ALWAYS                                                                          \
    (BIT(PIN) | BIT(HOSTS) | BIT(CACHED) | BIT(DOUBT) | BIT(STALE) | BIT(EMERGENCY))

static sb_conf_take take_listen, take_dns, take_dns_address, take_http, take_hosts, take_host,
    take_socket, take_workers, take_allow, take_prefix, take_control, take_upstreams, take_server,
    take_address, take_trust, take_routes, take_route, take_route_servers, take_strategies,
    take_search, take_cache, take_share, take_patience, take_warm, take_redis, take_interfaces,
    take_text, take_health, take_command, take_webhook, take_level, take_level_word, take_format,
    take_to;

static const sb_conf_key listen_keys[] = {
    {.name = "dns", .take = take_dns, .section = true},
    {.name = "http", .take = take_http},
    {.name = "http_hosts", .take = take_hosts, .section = true},
    {.name = "socket", .take = take_socket},
    {.name = "workers", .take = take_workers, .offset = IN(listen.workers)},
    {.name = "allow", .take = take_allow, .section = true},
    {.name = "control", .take = take_control},
    {0},
};
static const sb_conf_key server_keys[] = {
    {.name = "address", .take = take_address},
    {.name = "name", .take = sb_conf_take_label, .offset = offsetof(sb_server_setting, name)},
    {.name = "tier",
     .take = sb_conf_take_unsigned,
     .offset = offsetof(sb_server_setting, tier),
     .max = 15},
    {.name = "trust_ad", .take = take_trust, .offset = offsetof(sb_server_setting, trust_ad)},
    {0},
};
static const sb_conf_key route_keys[] = {
    {.name = "suffix", .take = sb_conf_take_name, .offset = offsetof(sb_route_setting, suffix)},
    {.name = "upstreams", .take = take_route_servers, .section = true},
    {.name = "strategies",
     .take = take_strategies,
     .section = true,
     .offset = offsetof(sb_route_setting, strategies)},
    {0},
};
static const sb_conf_key query_keys[] = {
    {.name = "timeout",
     .take = sb_conf_take_duration,
     .offset = IN(query.timeout),
     .min = SB_MS,
     .max = HOUR},
    {.name = "attempts",
     .take = sb_conf_take_unsigned,
     .offset = IN(query.attempts),
     .min = 1,
     .max = 32},
    {.name = "hedge_budget",
     .take = sb_conf_take_percent,
     .offset = IN(query.hedge_permille),
     .max = 1000},
    {.name = "refresh_rate",
     .take = sb_conf_take_unsigned,
     .offset = IN(query.refresh_rate),
     .max = 100000},
    {.name = "doubt_window",
     .take = sb_conf_take_duration,
     .offset = IN(query.doubt_window),
     .max = DAY},
    {.name = "search", .take = take_search, .section = true},
    {.name = "ndots",
     .take = sb_conf_take_unsigned,
     .offset = IN(query.ndots),
     .has = IN(query.ndots_given),
     .max = 15},
    {.name = "family", .take = sb_conf_take_family, .offset = IN(query.family)},
    {0},
};
static const sb_conf_key stale_keys[] = {
    {.name = "keep",
     .take = sb_conf_take_duration,
     .offset = IN(cache.keep),
     .max = SB_TTL_SETTING_MAX_S * SB_S},
    {.name = "answer_ttl",
     .take = sb_conf_take_seconds,
     .offset = IN(cache.stale_ttl_s),
     .min = 1,
     .max = 3600},
    {.name = "patience", .take = take_patience, .offset = IN(cache.patience)},
    {.name = "recheck",
     .take = sb_conf_take_duration,
     .offset = IN(cache.recheck),
     .min = SB_S,
     .max = HOUR},
    {0},
};
static const sb_conf_key cache_keys[] = {
    {.name = "file", .take = sb_conf_take_path, .offset = IN(cache.file)},
    {.name = "size",
     .take = sb_conf_take_size,
     .offset = IN(cache.size_bytes),
     .min = 64 << 10,
     .max = (int64_t)64 << 30},
    {.name = "share", .take = take_share},
    {.name = "ttl_min",
     .take = sb_conf_take_seconds,
     .offset = IN(cache.ttl_min_s),
     .max = SB_TTL_SETTING_MAX_S},
    {.name = "ttl_max",
     .take = sb_conf_take_seconds,
     .offset = IN(cache.ttl_max_s),
     .max = SB_TTL_SETTING_MAX_S},
    {.name = "negative_ttl_max",
     .take = sb_conf_take_seconds,
     .offset = IN(cache.negative_ttl_max_s),
     .max = SB_TTL_SETTING_MAX_S},
    {.name = "stale", .take = sb_conf_take_map, .more = stale_keys, .section = true},
    {.name = "prefetch",
     .take = sb_conf_take_percent,
     .offset = IN(cache.prefetch_permille),
     .max = 900},
    {.name = "warm", .take = take_warm, .section = true},
    {0},
};
static const sb_conf_key shared_keys[] = {
    {.name = "redis", .take = take_redis, .offset = IN(shared.redis)},
    {.name = "prefix", .take = sb_conf_take_label, .offset = IN(shared.prefix)},
    {.name = "secret_file", .take = sb_conf_take_path, .offset = IN(shared.secret_file)},
    {.name = "budget",
     .take = sb_conf_take_duration,
     .offset = IN(shared.budget),
     .min = SB_MS,
     .max = SB_S},
    {0},
};
static const sb_conf_key mdns_keys[] = {
    {.name = "interfaces", .take = take_interfaces, .offset = IN(mdns.interfaces)},
    {.name = "timeout",
     .take = sb_conf_take_duration,
     .offset = IN(mdns.timeout),
     .min = 10 * SB_MS,
     .max = 30 * SB_S},
    {.name = "guess", .take = sb_conf_take_bool, .offset = IN(mdns.guess)},
    {0},
};
static const sb_conf_key alert_keys[] = {
    {.name = "after",
     .take = sb_conf_take_unsigned,
     .offset = IN(health.alert_after),
     .min = 1,
     .max = 1000},
    {.name = "command", .take = take_command, .section = true},
    {.name = "webhook", .take = take_webhook, .offset = IN(health.alert_webhook)},
    {0},
};
static const sb_conf_key health_keys[] = {
    {.name = "window",
     .take = sb_conf_take_seconds,
     .offset = IN(health.window_s),
     .min = 1,
     .max = 3600},
    {.name = "degraded",
     .take = sb_conf_take_percent,
     .offset = IN(health.degraded_permille),
     .max = 1000},
    {.name = "unhealthy",
     .take = sb_conf_take_percent,
     .offset = IN(health.unhealthy_permille),
     .max = 1000},
    {.name = "alert", .take = sb_conf_take_map, .more = alert_keys, .section = true, .later = true},
    {0},
};
static const sb_conf_key level_keys[] = {
    {.name = "default", .take = take_level_word, .offset = IN(log.level)},
#define LEVEL_KEY(id, text)                                                                        \
    {.name = text, .take = take_level_word, .offset = IN(log.levels) + SB_LOG_##id},
    SB_LOG_SUBSYSTEM_TABLE(LEVEL_KEY)
#undef LEVEL_KEY
        {0},
};
static const sb_conf_key log_keys[] = {
    {.name = "level", .take = take_level},
    {.name = "format", .take = take_format, .offset = IN(log.json)},
    {.name = "to", .take = take_to, .offset = IN(log.to)},
    {0},
};
const sb_conf_key sb_conf_root[] = {
    {.name = "listen", .take = take_listen, .section = true},
    {.name = "upstreams", .take = take_upstreams, .section = true},
    {.name = "routes", .take = take_routes, .section = true},
    {.name = "query", .take = sb_conf_take_map, .more = query_keys, .section = true},
    {.name = "cache", .take = take_cache, .section = true},
    {.name = "names", .take = sb_conf_take_names, .section = true},
    {.name = "services", .take = sb_conf_take_services, .section = true},
    {.name = "shared",
     .take = sb_conf_take_map,
     .more = shared_keys,
     .section = true,
     .later = true},
    {.name = "mdns", .take = sb_conf_take_map, .more = mdns_keys, .section = true, .later = true},
    {.name = "health", .take = take_health, .section = true},
    {.name = "log", .take = sb_conf_take_map, .more = log_keys, .section = true},
    {0},
};

/* listen */

static sb_status take_listen(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                             const sb_conf_key *key, void *field)
{
    (void)key;
    sb_settings *s = field;
    sb_status status = sb_conf_map(w, at, node, listen_keys, s);
    const yaml_node_t *list = status == SB_OK ? sb_conf_find(w, node, "dns") : NULL;
    if (!list || s->listen.dns_default)
        return status;
    sb_conf_place dns = {.up = at, .key = "dns"};
    for (size_t i = 0; i < s->listen.dns_count; i++) {
        const sb_addr *addr = &s->listen.dns[i];
        sb_conf_place place = {.up = &dns, .index = i};
        if (!sb_addr_is_loopback(addr) && !s->listen.allow_given)
            return sb_conf_error(w, &place, sb_conf_item(w, list, i),
                                 "not a loopback address: listen.allow must say who may ask");
        for (size_t j = 0; j < i; j++)
            if (sb_addr_equal(addr, &s->listen.dns[j]))
                return sb_conf_error(w, &place, sb_conf_item(w, list, i),
                                     "the address is there twice");
    }
    return SB_OK;
}

static sb_status take_dns(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                          const sb_conf_key *key, void *field)
{
    (void)key;
    sb_settings *s = field;
    void *items;
    size_t count;
    sb_status status = sb_conf_list(w, at, node, &(sb_conf_key){.take = take_dns_address},
                                    sizeof(sb_addr), LISTENERS_MAX, &items, &count);
    if (status != SB_OK)
        return status;
    s->listen.dns = items;
    s->listen.dns_count = count;
    s->listen.dns_default = false;
    s->listen.dns_origin = sb_conf_origin(w, node);
    return SB_OK;
}

static sb_status take_address_port(sb_conf_walk *w, const sb_conf_place *at,
                                   const yaml_node_t *node, uint16_t default_port, sb_addr *ret)
{
    const char *text;
    sb_addr addr;
    sb_status status = sb_conf_text(w, at, node, "an address", &text);
    if (status != SB_OK)
        return status;
    if (!sb_addr_parse_port(text, strlen(text), default_port, &addr))
        return sb_conf_error(w, at, node, "%s is not an IP address with an optional port",
                             SB_Q(text));
    if (addr.port == 0)
        return sb_conf_error(w, at, node, "%s has port 0", SB_Q(text));
    *ret = addr;
    return SB_OK;
}

static sb_status take_dns_address(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                                  const sb_conf_key *key, void *field)
{
    (void)key;
    return take_address_port(w, at, node, DNS_PORT, field);
}

static sb_status take_http(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                           const sb_conf_key *key, void *field)
{
    (void)key;
    sb_settings *s = field;
    if (sb_conf_is_bool(node, &s->listen.http_on))
        return SB_OK;
    s->listen.http_on = true;
    s->listen.http_origin = sb_conf_origin(w, node);
    return take_address_port(w, at, node, HTTP_PORT, &s->listen.http);
}

static sb_status take_socket(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                             const sb_conf_key *key, void *field)
{
    sb_settings *s = field;
    s->listen.socket_origin = sb_conf_origin(w, node);
    return sb_conf_take_path(w, at, node, key, &s->listen.socket);
}

static sb_status take_hosts(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                            const sb_conf_key *key, void *field)
{
    (void)key;
    sb_settings *s = field;
    void *items;
    size_t count;
    sb_status status = sb_conf_list(w, at, node, &(sb_conf_key){.take = take_host}, sizeof(char *),
                                    HOSTS_MAX, &items, &count);
    if (status != SB_OK)
        return status;
    s->listen.http_hosts = items;
    s->listen.http_host_count = count;
    return SB_OK;
}

static sb_status take_host(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                           const sb_conf_key *key, void *field)
{
    sb_name name;
    char text[SB_NAME_TEXT_MAX];
    sb_status status = sb_conf_take_name(w, at, node, key, &name);
    if (status != SB_OK)
        return status;
    return sb_conf_copy(w, sb_name_text(&name, text), field);
}

static sb_status take_workers(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                              const sb_conf_key *key, void *field)
{
    (void)key;
    const sb_conf_key range = {.max = 64};
    const char *text;
    unsigned workers;
    sb_status status = sb_conf_text(w, at, node, "auto or a number", &text);
    if (status != SB_OK)
        return status;
    if (sb_ascii_equal(text, "auto")) {
        *(int *)field = -1;
        return SB_OK;
    }
    status = sb_conf_take_unsigned(w, at, node, &range, &workers);
    if (status == SB_OK)
        *(int *)field = (int)workers;
    return status;
}

static sb_status take_allow(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                            const sb_conf_key *key, void *field)
{
    (void)key;
    sb_settings *s = field;
    void *items;
    size_t count;
    sb_status status = sb_conf_list(w, at, node, &(sb_conf_key){.take = take_prefix},
                                    sizeof(sb_prefix), PREFIXES_MAX, &items, &count);
    if (status != SB_OK)
        return status;
    s->listen.allow = items;
    s->listen.allow_count = count;
    s->listen.allow_given = true;
    return SB_OK;
}

static sb_status take_prefix(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                             const sb_conf_key *key, void *field)
{
    (void)key;
    const char *text;
    sb_status status = sb_conf_text(w, at, node, "a network", &text);
    if (status != SB_OK)
        return status;
    if (!sb_prefix_parse(text, strlen(text), field))
        return sb_conf_error(w, at, node,
                             "%s is not a network such as 10.0.0.0/8 (host bits zero) or ::1",
                             SB_Q(text));
    return SB_OK;
}

/* "group:NAME" to NAME; NULL for another word. */
static sb_status take_group(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                            const char *text, const char **ret_group)
{
    static const char prefix[] = "group:";
    const char *name = text + sizeof(prefix) - 1;
    if (strncmp(text, prefix, sizeof(prefix) - 1) != 0) {
        *ret_group = NULL;
        return SB_OK;
    }
    size_t size = strlen(name);
    for (size_t i = 0; i < size; i++)
        if ((uint8_t)name[i] <= ' ' || (uint8_t)name[i] >= 0x7f || name[i] == ':')
            size = 0;
    if (size == 0 || size > GROUP_NAME_MAX)
        return sb_conf_error(w, at, node, "%s names no group: group:NAME is expected", SB_Q(text));
    return sb_conf_copy(w, name, ret_group);
}

static sb_status take_control(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                              const sb_conf_key *key, void *field)
{
    (void)key;
    const char *text, *group;
    sb_status status = sb_conf_text(w, at, node, "user or group:NAME", &text);
    if (status == SB_OK)
        status = take_group(w, at, node, text, &group);
    if (status != SB_OK)
        return status;
    if (!group && !sb_ascii_equal(text, "user"))
        return sb_conf_error(w, at, node, "%s is neither user nor group:NAME", SB_Q(text));
    sb_settings *s = field;
    s->listen.control_group = group;
    s->listen.control_origin = sb_conf_origin(w, node);
    return SB_OK;
}

/* upstreams, routes */

static sb_status take_upstreams(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                                const sb_conf_key *key, void *field)
{
    (void)key;
    sb_settings *s = field;
    void *items;
    size_t count;
    sb_status status = sb_conf_list(w, at, node, &(sb_conf_key){.take = take_server},
                                    sizeof(sb_server_setting), SERVERS_MAX, &items, &count);
    if (status != SB_OK)
        return status;
    const sb_server_setting *servers = items;
    s->upstreams = servers;
    s->upstream_count = count;
    s->upstreams_equal = false;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++)
            s->upstreams_equal |= servers[i].tier == servers[j].tier;
    return SB_OK;
}

/* A text alone, or a mapping with an address. */
static sb_status take_server(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                             const sb_conf_key *key, void *field)
{
    sb_server_setting *server = field;
    sb_status status;
    if (node->type == YAML_SCALAR_NODE) {
        status = take_address(w, at, node, key, server);
    } else {
        status = sb_conf_map(w, at, node, server_keys, server);
        if (status == SB_OK && server->addr.family == SB_FAMILY_NONE)
            return sb_conf_error(w, at, node, "the key address is missing");
    }
    server->origin = sb_conf_origin(w, node);
    return status;
}

/* Keeps what other keys of the server have set before. */
static sb_status take_address(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                              const sb_conf_key *key, void *field)
{
    (void)key;
    sb_server_setting *server = field, parsed;
    const char *text;
    sb_why why = {""};
    sb_status status = sb_conf_text(w, at, node, "the address of a server", &text);
    if (status != SB_OK)
        return status;
    status = sb_server_parse(&w->settings->arena, text, &parsed, &why);
    if (status == SB_NOMEM)
        return sb_conf_nomem(w);
    if (status != SB_OK)
        return sb_conf_error(w, at, node, "%s", why.text);
    server->addr = parsed.addr;
    server->tls_name = parsed.tls_name;
    if (!server->name)
        server->name = parsed.name;
    return SB_OK;
}

static sb_status take_trust(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                            const sb_conf_key *key, void *field)
{
    (void)key;
    static const char *const texts[] = {"auto", "true", "false", NULL};
    sb_trust *trust = field;
    bool yes;
    unsigned choice;
    if (sb_conf_is_bool(node, &yes)) {
        *trust = yes ? SB_TRUST_YES : SB_TRUST_NO;
        return SB_OK;
    }
    sb_status status = sb_conf_choice(w, at, node, texts, &choice);
    if (status == SB_OK)
        *trust = choice == 0 ? SB_TRUST_AUTO : choice == 1 ? SB_TRUST_YES : SB_TRUST_NO;
    return status;
}

static sb_status take_routes(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                             const sb_conf_key *key, void *field)
{
    (void)key;
    sb_settings *s = field;
    void *items;
    size_t count;
    sb_status status = sb_conf_list(w, at, node, &(sb_conf_key){.take = take_route},
                                    sizeof(sb_route_setting), ROUTES_MAX, &items, &count);
    if (status != SB_OK)
        return status;
    s->routes = items;
    s->route_count = count;
    return SB_OK;
}

static sb_status take_route(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                            const sb_conf_key *key, void *field)
{
    (void)key;
    sb_route_setting *route = field;
    sb_status status = sb_conf_map(w, at, node, route_keys, route);
    if (status != SB_OK)
        return status;
    if (route->suffix.size == 0)
        return sb_conf_error(w, at, node, "the key suffix is missing");
    if (route->server_count == 0 && route->strategies == 0)
        return sb_conf_error(w, at, node, "the route has neither upstreams nor strategies");
    route->origin = sb_conf_origin(w, node);
    return SB_OK;
}

static sb_status take_route_servers(sb_conf_walk *w, const sb_conf_place *at,
                                    const yaml_node_t *node, const sb_conf_key *key, void *field)
{
    (void)key;
    sb_route_setting *route = field;
    void *items;
    size_t count;
    sb_status status = sb_conf_list(w, at, node, &(sb_conf_key){.take = take_server},
                                    sizeof(sb_server_setting), ROUTE_SERVERS_MAX, &items, &count);
    if (status != SB_OK)
        return status;
    route->servers = items;
    route->server_count = count;
    return SB_OK;
}

static sb_status take_strategy(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                               const sb_conf_key *key, void *field)
{
    (void)key;
    const char *texts[SB_STRATEGY_COUNT + 1];
    for (unsigned i = 0; i < SB_STRATEGY_COUNT; i++)
        texts[i] = sb_strategy_text(i);
    texts[SB_STRATEGY_COUNT] = NULL;
    return sb_conf_choice(w, at, node, texts, field);
}

static sb_status take_strategies(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                                 const sb_conf_key *key, void *field)
{
    (void)key;
    void *items;
    size_t count;
    sb_status status = sb_conf_list(w, at, node, &(sb_conf_key){.take = take_strategy},
                                    sizeof(unsigned), SB_STRATEGY_COUNT, &items, &count);
    if (status != SB_OK)
        return status;
    uint32_t bits = 0;
    for (size_t i = 0; i < count; i++)
        bits |= UINT32_C(1) << ((const unsigned *)items)[i];
    *(uint32_t *)field = bits;
    if (bits & STRATEGIES_LATER)
        sb_conf_warn(w, at, node, "not all of these strategies are there yet");
    else if ((bits & STRATEGIES_ALWAYS) != STRATEGIES_ALWAYS)
        sb_conf_warn(w, at, node, "only wire can be left out yet; the others are used anyway");
    return SB_OK;
}

/* query */

static sb_status take_search(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                             const sb_conf_key *key, void *field)
{
    (void)key;
    sb_settings *s = field;
    void *items;
    size_t count;
    sb_status status = sb_conf_list(w, at, node, &(sb_conf_key){.take = sb_conf_take_name},
                                    sizeof(sb_name), SEARCH_MAX, &items, &count);
    if (status != SB_OK)
        return status;
    s->query.search = items;
    s->query.search_count = count;
    s->query.search_given = true;
    return SB_OK;
}

sb_status sb_conf_take_family(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                              const sb_conf_key *key, void *field)
{
    (void)key;
    static const sb_family_policy policies[] = {SB_PREFER_4, SB_PREFER_6, SB_ONLY_4, SB_ONLY_6,
                                                SB_PREFER_RFC6724};
    const char *texts[SB_ARRAY_SIZE(policies) + 1] = {0};
    unsigned choice;
    for (unsigned i = 0; i < SB_ARRAY_SIZE(policies); i++)
        texts[i] = sb_family_policy_text(policies[i]);
    sb_status status = sb_conf_choice(w, at, node, texts, &choice);
    if (status == SB_OK)
        *(sb_family_policy *)field = policies[choice];
    return status;
}

/* cache */

static sb_status take_cache(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                            const sb_conf_key *key, void *field)
{
    (void)key;
    sb_settings *s = field;
    sb_status status = sb_conf_map(w, at, node, cache_keys, s);
    if (status != SB_OK || s->cache.ttl_min_s <= s->cache.ttl_max_s)
        return status;
    const yaml_node_t *min = sb_conf_find(w, node, "ttl_min");
    const yaml_node_t *max = sb_conf_find(w, node, "ttl_max");
    sb_conf_place place = {.up = at, .key = min ? "ttl_min" : "ttl_max"};
    return sb_conf_error(w, &place, min ? min : max, "ttl_min (%us) is above ttl_max (%us)",
                         s->cache.ttl_min_s, s->cache.ttl_max_s);
}

static sb_status take_share(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                            const sb_conf_key *key, void *field)
{
    (void)key;
    static const char *const texts[] = {"off", "user", "all", "group:NAME", NULL};
    static const sb_share shares[] = {SB_SHARE_OFF, SB_SHARE_USER, SB_SHARE_ALL};
    sb_settings *s = field;
    const char *text, *group;
    unsigned choice = 0;
    bool on;
    sb_status status = sb_conf_text(w, at, node, "off, user, group:NAME or all", &text);
    if (status == SB_OK)
        status = take_group(w, at, node, text, &group);
    if (status == SB_OK && !group && !(sb_conf_is_bool(node, &on) && !on))
        status = sb_conf_choice(w, at, node, texts, &choice);
    if (status != SB_OK)
        return status;
    if (choice >= SB_ARRAY_SIZE(shares))
        return sb_conf_error(w, at, node, "NAME stands for the name of a group");
    s->cache.share = group ? SB_SHARE_GROUP : shares[choice];
    s->cache.share_group = group;
    s->cache.share_origin = sb_conf_origin(w, node);
    return SB_OK;
}

static sb_status take_patience(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                               const sb_conf_key *key, void *field)
{
    (void)key;
    const sb_conf_key range = {.max = 1800 * SB_MS}; /* RFC 8767 §5 */
    const char *text;
    sb_status status = sb_conf_text(w, at, node, "auto or a duration", &text);
    if (status != SB_OK)
        return status;
    if (!sb_ascii_equal(text, "auto"))
        return sb_conf_take_duration(w, at, node, &range, field);
    *(sb_ns *)field = -1;
    return SB_OK;
}

static sb_status take_warm(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                           const sb_conf_key *key, void *field)
{
    (void)key;
    sb_settings *s = field;
    void *items;
    size_t count;
    sb_status status = sb_conf_list(w, at, node, &(sb_conf_key){.take = sb_conf_take_name},
                                    sizeof(sb_name), WARM_MAX, &items, &count);
    if (status != SB_OK)
        return status;
    s->cache.warm = items;
    s->cache.warm_count = count;
    return SB_OK;
}

/* shared, mdns */

static sb_status take_redis(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                            const sb_conf_key *key, void *field)
{
    (void)key;
    const char *text;
    bool on;
    if (sb_conf_is_bool(node, &on) && !on)
        return sb_conf_copy(w, "", field);
    sb_status status = sb_conf_text(w, at, node, "the URL of a Redis server", &text);
    if (status != SB_OK)
        return status;
    static const char *const schemes[] = {"redis://", "rediss://"};
    for (unsigned i = 0; i < SB_ARRAY_SIZE(schemes); i++)
        if (strncmp(text, schemes[i], strlen(schemes[i])) == 0)
            return sb_conf_take_url(w, at, node, key, field);
    if (*text == '\0')
        return sb_conf_copy(w, "", field);
    return sb_conf_error(w, at, node, "a URL that begins with redis:// or rediss:// is expected");
}

/* "auto", one interface, or a list of them; kept as a list with commas. */
static sb_status take_interfaces(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                                 const sb_conf_key *key, void *field)
{
    void *items;
    size_t count;
    if (node->type == YAML_SCALAR_NODE)
        return sb_conf_take_label(w, at, node, key, field);
    sb_status status = sb_conf_list(w, at, node, &(sb_conf_key){.take = sb_conf_take_label},
                                    sizeof(char *), INTERFACES_MAX, &items, &count);
    if (status != SB_OK)
        return status;
    if (count == 0)
        return sb_conf_error(w, at, node, "the list is empty: auto or interfaces are expected");
    sb_text joined = {0};
    for (size_t i = 0; i < count; i++)
        sb_text_add(&joined, "%s%s", i > 0 ? "," : "", ((const char *const *)items)[i]);
    status = joined.failed ? sb_conf_nomem(w) : sb_conf_copy(w, joined.data, field);
    sb_text_fini(&joined);
    return status;
}

/* health */

static sb_status take_health(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                             const sb_conf_key *key, void *field)
{
    (void)key;
    sb_settings *s = field;
    sb_status status = sb_conf_map(w, at, node, health_keys, s);
    if (status != SB_OK || s->health.degraded_permille <= s->health.unhealthy_permille)
        return status;
    const yaml_node_t *degraded = sb_conf_find(w, node, "degraded");
    const yaml_node_t *unhealthy = sb_conf_find(w, node, "unhealthy");
    sb_conf_place place = {.up = at, .key = degraded ? "degraded" : "unhealthy"};
    return sb_conf_error(w, &place, degraded ? degraded : unhealthy,
                         "degraded (%u.%u%%) is above unhealthy (%u.%u%%)",
                         s->health.degraded_permille / 10, s->health.degraded_permille % 10,
                         s->health.unhealthy_permille / 10, s->health.unhealthy_permille % 10);
}

static sb_status take_command(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                              const sb_conf_key *key, void *field)
{
    (void)key;
    sb_settings *s = field;
    void *items;
    size_t count;
    sb_status status = sb_conf_list(w, at, node, &(sb_conf_key){.take = take_text}, sizeof(char *),
                                    ARGUMENTS_MAX, &items, &count);
    if (status != SB_OK)
        return status;
    const char *const *command = items;
    sb_conf_place place = {.up = at};
    if (count > 0 && command[0][0] != '/')
        return sb_conf_error(w, &place, sb_conf_item(w, node, 0),
                             "%s is not the absolute path of a program", SB_Q(command[0]));
    s->health.alert_command = command;
    s->health.alert_command_count = count;
    return SB_OK;
}

static sb_status take_text(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                           const sb_conf_key *key, void *field)
{
    (void)key;
    const char *text;
    sb_status status = sb_conf_text(w, at, node, "a text", &text);
    return status == SB_OK ? sb_conf_copy(w, text, field) : status;
}

static sb_status take_webhook(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                              const sb_conf_key *key, void *field)
{
    const char *text;
    sb_status status = sb_conf_text(w, at, node, "a URL", &text);
    if (status != SB_OK)
        return status;
    if (*text == '\0')
        return sb_conf_copy(w, "", field);
    if (strncmp(text, "http://", 7) != 0 && strncmp(text, "https://", 8) != 0)
        return sb_conf_error(w, at, node, "a URL that begins with http:// or https:// is expected");
    return sb_conf_take_url(w, at, node, key, field);
}

/* log */

/* A level for all, or a mapping of subsystems to levels. */
static sb_status take_level(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                            const sb_conf_key *key, void *field)
{
    sb_settings *s = field;
    if (node->type == YAML_MAPPING_NODE)
        return sb_conf_map(w, at, node, level_keys, s);
    return take_level_word(w, at, node, key, &s->log.level);
}

static sb_status take_level_word(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                                 const sb_conf_key *key, void *field)
{
    (void)key;
    const char *texts[SB_LOG_LEVEL_COUNT + 1] = {0};
    unsigned choice;
    for (unsigned i = 0; i < SB_LOG_LEVEL_COUNT; i++)
        texts[i] = sb_log_level_text((sb_log_level)i);
    sb_status status = sb_conf_choice(w, at, node, texts, &choice);
    if (status == SB_OK)
        *(uint8_t *)field = (uint8_t)choice; /* int8_t for a subsystem: the same bits */
    return status;
}

static sb_status take_format(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                             const sb_conf_key *key, void *field)
{
    (void)key;
    static const char *const texts[] = {"logfmt", "json", NULL};
    unsigned choice;
    sb_status status = sb_conf_choice(w, at, node, texts, &choice);
    if (status == SB_OK)
        *(bool *)field = choice == 1;
    if (status == SB_OK && choice == 1)
        sb_conf_warn(w, at, node, "json is not there yet: the log is logfmt");
    return status;
}

static sb_status take_to(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                         const sb_conf_key *key, void *field)
{
    (void)key;
    static const char *const texts[] = {"stderr", "journald", NULL};
    unsigned choice;
    sb_status status = sb_conf_choice(w, at, node, texts, &choice);
    if (status == SB_OK)
        *(const char **)field = texts[choice];
    if (status == SB_OK && choice == 1)
        sb_conf_warn(w, at, node, "journald is not there yet: the log goes to stderr");
    return status;
}
