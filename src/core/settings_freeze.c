/* Freezing settings: cross-field rules, the order of rules, the routes' views, and the hash.
 *
 * Never changes what was configured, only its order. One thread, before anybody else has them. */
#include "core/settings.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/log.h"
#include "base/mem.h"
#include "dns/target.h"

_Static_assert(SB_SOCKET_PATH_MAX == sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1,
               "and the NUL");

static const char control_name[] = "/stubborn.ctl";

static sb_status complain(sb_why *why, const sb_origin *origin, const char *format, ...)
    SB_PRINTF(3, 4);
static sb_status check_listen(const sb_settings *s, sb_why *why);
static sb_status derive_control(sb_settings *s, sb_why *why);
static bool shares_port(const sb_addr *a, const sb_addr *b);
static sb_status check_servers(const sb_settings *s, const char *path,
                               const sb_server_setting *servers, size_t count, sb_why *why);
static sb_status check_numbers(const sb_settings *s, sb_why *why);
static sb_status check_services(const sb_settings *s, sb_why *why);
static sb_status freeze_routes(sb_settings *s, sb_why *why);
static sb_status freeze_names(sb_settings *s, sb_why *why);
static sb_status derive_ports(sb_settings *s);
static uint32_t hash_settings(const sb_settings *s);

sb_status sb_settings_freeze(sb_settings *s, sb_why *why)
{
    SB_ASSERT(!s->frozen);
    bool by_variable = s->upstream_count > 0 && s->upstreams[0].origin.line == 0;
    sb_status status = check_listen(s, why);
    if (status == SB_OK)
        status = derive_control(s, why);
    if (status == SB_OK)
        status = check_servers(s, by_variable ? "STUBBORN_SERVERS" : "upstreams", s->upstreams,
                               s->upstream_count, why);
    if (status == SB_OK)
        status = check_numbers(s, why);
    if (status == SB_OK)
        status = check_services(s, why);
    if (status == SB_OK)
        status = freeze_routes(s, why);
    if (status == SB_OK)
        status = freeze_names(s, why);
    if (status == SB_OK)
        status = derive_ports(s);
    if (status == SB_NOMEM)
        return sb_why_set(why, SB_NOMEM, "no memory for the settings");
    if (status != SB_OK)
        return status;
    s->hash = hash_settings(s);
    s->frozen = true;
    return SB_OK;
}

bool sb_settings_own_address(const sb_settings *s, const sb_addr *addr)
{
    for (size_t i = 0; i < s->listen.dns_count; i++) {
        const sb_addr *own = &s->listen.dns[i];
        if (own->port == addr->port &&
            (sb_addr_same_host(own, addr) || (sb_addr_is_any(own) && sb_addr_is_loopback(addr))))
            return true;
    }
    return false;
}

sb_status sb_settings_reachable(const sb_settings *s, sb_why *why)
{
    if (s->listen.dns_count > 0 || s->listen.http_on || s->listen.socket[0])
        return SB_OK;
    return complain(why, NULL, "listen: dns, http and socket are all off: nobody could ask");
}

sb_status sb_settings_complain(sb_why *why, sb_status status, const sb_origin *origin,
                               const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (origin && origin->line && origin->file)
        return sb_why_set(why, status, "%s:%u:%u: %s", origin->file, origin->line, origin->column,
                          text);
    return sb_why_set(why, status, "%s", text);
}

static sb_status complain(sb_why *why, const sb_origin *origin, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return sb_settings_complain(why, SB_INVALID, origin, "%s", text);
}

static sb_status check_listen(const sb_settings *s, sb_why *why)
{
    char text[SB_ADDR_TEXT_MAX];
    for (size_t i = 0; i < s->listen.dns_count; i++) {
        const sb_addr *addr = &s->listen.dns[i];
        sb_addr_text_port(addr, text);
        if (!sb_addr_is_loopback(addr) && !s->listen.allow_given)
            return complain(why, NULL,
                            "listen.dns: %s is not a loopback address: "
                            "listen.allow must say who may ask",
                            text);
        for (size_t j = 0; j < i; j++)
            if (sb_addr_equal(addr, &s->listen.dns[j]))
                return complain(why, NULL, "listen.dns: %s is there twice", text);
        if (s->listen.http_on && shares_port(addr, &s->listen.http))
            return complain(why, /* which may be the default */
                            s->listen.http_origin.line ? &s->listen.http_origin
                                                       : &s->listen.dns_origin,
                            "listen.http: %s of listen.dns takes that port already", text);
    }
    return SB_OK;
}

/* Two listeners for TCP cannot have both. 0 is a port of the system's choice. */
static bool shares_port(const sb_addr *a, const sb_addr *b)
{
    return a->port == b->port && a->port > 0 &&
           (sb_addr_same_host(a, b) ||
            (a->family == b->family && (sb_addr_is_any(a) || sb_addr_is_any(b))));
}

static sb_status derive_control(sb_settings *s, sb_why *why)
{
    const char *socket = s->listen.socket;
    s->listen.control = "";
    if (*socket == '\0')
        return SB_OK;
    const char *slash = strrchr(socket, '/');
    if (socket[0] != '/' || slash[1] == '\0')
        return complain(why, &s->listen.socket_origin,
                        "listen.socket: %s is not the absolute path of a file", SB_Q(socket));
    if (strcmp(slash, control_name) == 0)
        return complain(why, &s->listen.socket_origin,
                        "listen.socket: %s is the name of the control socket", SB_Q(socket));
    size_t directory = (size_t)(slash - socket);
    size_t control_size = directory + sizeof(control_name) - 1;
    if (strlen(socket) > SB_SOCKET_PATH_MAX || control_size > SB_SOCKET_PATH_MAX)
        return complain(why, &s->listen.socket_origin,
                        "listen.socket: %s is too long for a Unix socket (%d bytes)", SB_Q(socket),
                        SB_SOCKET_PATH_MAX);
    char *control = sb_arena_alloc(&s->arena, control_size + 1);
    if (!control)
        return SB_NOMEM;
    memcpy(control, socket, directory);
    memcpy(control + directory, control_name, sizeof(control_name));
    s->listen.control = control;
    return SB_OK;
}

/* path: of the list. */
static sb_status check_servers(const sb_settings *s, const char *path,
                               const sb_server_setting *servers, size_t count, sb_why *why)
{
    char text[SB_ADDR_TEXT_MAX];
    for (size_t i = 0; i < count; i++) {
        const sb_server_setting *server = &servers[i];
        sb_addr_text_port(&server->addr, text);
        if (sb_settings_own_address(s, &server->addr))
            return complain(why, &server->origin,
                            "%s[%zu]: %s is an address of listen.dns: "
                            "questions would turn in a loop",
                            path, i, text);
        for (size_t j = 0; j < i; j++)
            if (sb_addr_equal(&server->addr, &servers[j].addr))
                return complain(why, &server->origin, "%s[%zu]: %s is there twice", path, i, text);
    }
    return SB_OK;
}

static sb_status check_numbers(const sb_settings *s, sb_why *why)
{
    if (s->cache.ttl_min_s > s->cache.ttl_max_s)
        return complain(why, NULL, "cache.ttl_min: %us is above %s (%us)", s->cache.ttl_min_s,
                        s->cache.ttl_max_by_variable ? "DNS_CACHE_TTL" : "cache.ttl_max",
                        s->cache.ttl_max_s);
    if (s->health.degraded_permille > s->health.unhealthy_permille)
        return complain(why, NULL, "health.degraded: the level is above health.unhealthy");
    return SB_OK;
}

static sb_status check_services(const sb_settings *s, sb_why *why)
{
    for (size_t i = 0; i < s->service_count; i++)
        for (size_t j = 0; j < i; j++)
            if (sb_ascii_equal(s->services[i].name, s->services[j].name))
                return complain(why, &s->services[i].origin,
                                "services[%zu].name: %s is there twice", i,
                                SB_Q(s->services[i].name));
    return SB_OK;
}

/* The ports behind names, for probes. */
static sb_status derive_ports(sb_settings *s)
{
    sb_target target;
    sb_why unread;
    sb_service_setting *services =
        sb_arena_alloc(&s->arena, (s->service_count + 1) * sizeof *services);
    sb_name_setting *names = sb_arena_alloc(&s->arena, (s->name_count + 1) * sizeof *names);
    if (!services || !names)
        return SB_NOMEM;
    for (size_t i = 0; i < s->service_count; i++) {
        sb_service_setting *service = &services[i];
        *service = s->services[i];
        if (sb_target_parse(service->uri, strlen(service->uri), &target, &unread) != SB_OK)
            continue; /* said where it was read */
        service->port = target.port;
        if (!target.is_literal) {
            service->host = target.name;
            sb_name_fold(&service->host);
        }
    }
    for (size_t i = 0; i < s->name_count; i++) {
        sb_probe_setting *probe = &names[i].probe;
        names[i] = s->names[i];
        if (probe->kind == SB_PROBE_HTTP && probe->url &&
            sb_target_parse(probe->url, strlen(probe->url), &target, &unread) == SB_OK)
            probe->port = target.port;
    }
    s->services = services;
    s->names = names;
    return SB_OK;
}

/* More labels first; then by bytes, so that any order in the file gives one result. */
static int compare_names(const sb_name *a, const sb_name *b)
{
    unsigned labels_a = sb_name_labels(a), labels_b = sb_name_labels(b);
    if (labels_a != labels_b)
        return labels_a > labels_b ? -1 : 1;
    if (a->size != b->size)
        return a->size > b->size ? -1 : 1;
    return memcmp(a->wire, b->wire, a->size);
}

static int compare_routes(const void *a, const void *b)
{
    const sb_route_setting *x = a, *y = b;
    return compare_names(&x->suffix, &y->suffix);
}

static uint64_t mix(uint64_t hash, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3; /* FNV-1a: the same in every run and build */
    return hash;
}

static uint64_t mix_number(uint64_t hash, uint64_t number)
{
    uint8_t bytes[8];
    sb_store_u32(bytes, (uint32_t)(number >> 32));
    sb_store_u32(bytes + 4, (uint32_t)number);
    return mix(hash, bytes, sizeof(bytes));
}

static uint64_t mix_addr(uint64_t hash, const sb_addr *addr)
{
    hash = mix(hash, addr->bytes, sizeof(addr->bytes));
    return mix_number(mix_number(hash, addr->scope), (uint64_t)addr->family << 16 | addr->port);
}

static uint64_t mix_name(uint64_t hash, const sb_name *name)
{
    return mix(mix_number(hash, name->size), name->wire, name->size);
}

static uint64_t mix_server(uint64_t hash, const sb_server_setting *server)
{
    const char *tls = server->tls_name;
    hash = mix_addr(hash, &server->addr);
    hash = mix_number(hash, (uint64_t)server->tier << 8 | (uint64_t)server->trust_ad);
    return mix(mix_number(hash, tls ? strlen(tls) + 1 : 0), tls ? tls : "", tls ? strlen(tls) : 0);
}

static const uint64_t hash_start = 0xcbf29ce484222325;

static uint32_t fold(uint64_t hash)
{
    return (uint32_t)(hash >> 32 ^ hash);
}

/* The suffix and who answers for it, in any order: what another set of servers said about a name
 * must not be served as theirs. 0 is the public view, UINT32_MAX every view. */
static uint32_t route_view(const sb_settings *s, size_t route_index)
{
    const sb_route_setting *route = &s->routes[route_index];
    uint64_t servers = 0;
    for (size_t i = 0; i < route->server_count; i++)
        servers += mix_addr(hash_start, &route->servers[i].addr);
    uint32_t view = fold(
        mix_number(mix_number(mix_name(hash_start, &route->suffix), servers), route->strategies));
    bool again;
    do {
        again = view == 0 || view == UINT32_MAX;
        for (size_t i = 0; i < route_index && !again; i++)
            again = s->routes[i].view == view;
        view += again;
    } while (again);
    return view;
}

static sb_status freeze_routes(sb_settings *s, sb_why *why)
{
    if (s->route_count == 0)
        return SB_OK;
    sb_route_setting *routes = sb_arena_alloc(&s->arena, s->route_count * sizeof(*routes));
    if (!routes)
        return SB_NOMEM;
    for (size_t i = 0; i < s->route_count; i++) { /* in the order of the file, for the path */
        const sb_route_setting *route = &s->routes[i];
        char path[40], text[SB_NAME_TEXT_MAX];
        for (size_t j = 0; j < i; j++)
            if (compare_routes(route, &s->routes[j]) == 0)
                return complain(why, &route->origin, "routes[%zu].suffix: %.255s is there twice", i,
                                sb_name_text(&route->suffix, text));
        (void)snprintf(path, sizeof(path), "routes[%zu].upstreams", i);
        sb_status status = check_servers(s, path, route->servers, route->server_count, why);
        if (status != SB_OK)
            return status;
    }
    memcpy(routes, s->routes, s->route_count * sizeof(*routes));
    qsort(routes, s->route_count, sizeof(*routes), compare_routes);
    s->routes = routes;
    for (size_t i = 0; i < s->route_count; i++)
        routes[i].view = route_view(s, i);
    return SB_OK;
}

typedef struct ordered_rule {
    const sb_name_setting *rule;
    size_t order;
} ordered_rule;

static int compare_matches(const sb_name_setting *a, const sb_name_setting *b)
{
    int by_name = compare_names(&a->match, &b->match);
    return by_name != 0 ? by_name : (int)a->below - (int)b->below;
}

static int compare_rules(const void *a, const void *b)
{
    const ordered_rule *x = a, *y = b;
    int by_match = compare_matches(x->rule, y->rule);
    return by_match != 0 ? by_match : (x->order > y->order) - (x->order < y->order);
}

/* What the later rule says, over what the earlier said. */
static void merge_rule(sb_name_setting *into, const sb_name_setting *from)
{
    sb_name_setting old = *into;
    *into = *from;
    if (from->emergency_count == 0) {
        into->emergency = old.emergency;
        into->emergency_count = old.emergency_count;
    }
#define KEEP_OLD(has, field)                                                                       \
    if (!from->has) {                                                                              \
        into->has = old.has;                                                                       \
        into->field = old.field;                                                                   \
    }
    KEEP_OLD(has_protect, protect)
    KEEP_OLD(has_ttl_max, ttl_max_s)
    KEEP_OLD(has_ttl_min, ttl_min_s)
    KEEP_OLD(has_keep, keep)
    KEEP_OLD(has_family, family)
    KEEP_OLD(has_confirm, protect_confirm)
    KEEP_OLD(has_max, protect_max)
    KEEP_OLD(has_emergency_for, emergency_for)
#undef KEEP_OLD
    if (from->probe.kind == SB_PROBE_NONE)
        into->probe = old.probe;
    if (from->origin.line == 0)
        into->origin = old.origin;
}

static sb_status check_rule(const sb_name_setting *rule, sb_why *why)
{
    char text[SB_NAME_TEXT_MAX];
    const char *star = rule->below ? "*." : "";
    sb_name_text(&rule->match, text);
    if (rule->emergency_count > 0 && rule->has_protect && !rule->protect)
        return complain(why, &rule->origin,
                        "name %s%.255s: protect: false contradicts emergency, "
                        "which implies protect",
                        star, text);
    if (rule->has_ttl_max && rule->has_ttl_min && rule->ttl_min_s > rule->ttl_max_s)
        return complain(why, &rule->origin, "name %s%.255s: ttl_min is above ttl_max", star, text);
    if (rule->has_confirm && rule->has_max && rule->protect_confirm > rule->protect_max)
        return complain(why, &rule->origin,
                        "name %s%.255s: protect_confirm is longer than protect_max", star, text);
    return SB_OK;
}

static sb_status freeze_names(sb_settings *s, sb_why *why)
{
    sb_status status = SB_OK;
    ordered_rule *ordered = NULL;
    if (s->name_count == 0)
        return SB_OK;
    ordered = sb_calloc(s->name_count, sizeof(*ordered));
    sb_name_setting *names = sb_arena_alloc(&s->arena, s->name_count * sizeof(*names));
    if (!ordered || !names) {
        status = SB_NOMEM;
        goto done;
    }
    for (size_t i = 0; i < s->name_count; i++)
        ordered[i] = (ordered_rule){.rule = &s->names[i], .order = i};
    qsort(ordered, s->name_count, sizeof(*ordered), compare_rules);
    size_t count = 0;
    for (size_t i = 0; i < s->name_count; i++) {
        if (count > 0 && compare_matches(&names[count - 1], ordered[i].rule) == 0)
            merge_rule(&names[count - 1], ordered[i].rule);
        else
            names[count++] = *ordered[i].rule;
    }
    for (size_t i = 0; i < count; i++) {
        status = check_rule(&names[i], why);
        if (status != SB_OK)
            goto done;
        if (names[i].emergency_count > 0)
            names[i].protect = names[i].has_protect = true;
    }
    s->names = names;
    s->name_count = count;
done:
    sb_free(ordered);
    return status;
}

static uint64_t mix_rule(uint64_t hash, const sb_name_setting *rule)
{
    hash = mix_number(mix_name(hash, &rule->match), rule->below);
    hash = mix_number(hash, rule->emergency_count);
    for (size_t i = 0; i < rule->emergency_count; i++)
        hash = mix_addr(hash, &rule->emergency[i]);
    hash =
        mix_number(hash, (uint64_t)rule->has_protect | (uint64_t)rule->protect << 1 |
                             (uint64_t)rule->has_ttl_max << 2 | (uint64_t)rule->has_ttl_min << 3 |
                             (uint64_t)rule->has_keep << 4 | (uint64_t)rule->has_family << 5 |
                             (uint64_t)rule->has_confirm << 6 | (uint64_t)rule->has_max << 7);
    hash = mix_number(hash, (uint64_t)rule->ttl_max_s << 32 | rule->ttl_min_s);
    hash = mix_number(hash, (uint64_t)rule->keep);
    hash = mix_number(hash, (uint64_t)rule->protect_confirm);
    hash = mix_number(hash, (uint64_t)rule->protect_max);
    return mix_number(hash, (uint64_t)rule->family);
}

/* Numbers of fixed width and counted lists, in the frozen order: equal settings, equal hash. */
static uint32_t hash_settings(const sb_settings *s)
{
    uint64_t hash = mix_number(hash_start, s->upstream_count);
    for (size_t i = 0; i < s->upstream_count; i++)
        hash = mix_server(hash, &s->upstreams[i]);
    hash = mix_number(hash, s->route_count);
    for (size_t i = 0; i < s->route_count; i++) {
        const sb_route_setting *route = &s->routes[i];
        hash = mix_number(mix_name(hash, &route->suffix), route->strategies);
        hash = mix_number(hash, route->server_count);
        for (size_t j = 0; j < route->server_count; j++)
            hash = mix_server(hash, &route->servers[j]);
    }
    hash = mix_number(hash, (uint64_t)s->query.family);
    hash = mix_number(hash, (uint64_t)s->cache.ttl_min_s << 32 | s->cache.ttl_max_s);
    hash = mix_number(hash, (uint64_t)s->cache.negative_ttl_max_s << 32 | s->cache.stale_ttl_s);
    hash = mix_number(hash, (uint64_t)s->cache.keep);
    hash = mix_number(hash, s->name_count);
    for (size_t i = 0; i < s->name_count; i++)
        hash = mix_rule(hash, &s->names[i]);
    return fold(hash);
}
