/* The sections `names` and `services`, and the probes of both.
 *
 * Rules across the keys of one entry are checked here, where line and column are still known. One
 * thread. */
#include <string.h>

#include "base/log.h"
#include "conf/schema.h"
#include "dns/target.h"

enum {
    NAMES_MAX = 16384,
    EMERGENCY_MAX = 32, /* more fit no sensible answer */
    SERVICES_MAX = 1024,
};
#define DAY (86400 * SB_S)
#define PROBE_EVERY (10 * SB_S)

static sb_conf_take take_rule, take_match, take_emergency, take_ip, take_rule_probe,
    take_service_probe, take_probe_tcp, take_probe_grpc, take_probe_url, take_probe_path,
    take_probe_ping, take_service, take_uri;

#define EVERY_KEY                                                                                  \
    {                                                                                              \
        .name = "every", .take = sb_conf_take_duration,                                            \
        .offset = offsetof(sb_probe_setting, every), .min = SB_S, .max = DAY                       \
    }
static const sb_conf_key rule_probe_keys[] = {
    {.name = "tcp", .take = take_probe_tcp},
    {.name = "http", .take = take_probe_url},
    {.name = "grpc", .take = take_probe_grpc},
    {.name = "ping", .take = take_probe_ping, .later = true},
    EVERY_KEY,
    {0},
};
/* A service has a URI: the path alone suffices. */
static const sb_conf_key service_probe_keys[] = {
    {.name = "tcp", .take = take_probe_tcp},
    {.name = "http", .take = take_probe_path},
    {.name = "grpc", .take = take_probe_grpc},
    {.name = "ping", .take = take_probe_ping},
    EVERY_KEY,
    {0},
};
#define IN(field) offsetof(sb_name_setting, field)
static const sb_conf_key stale_keys[] = {
    {.name = "keep",
     .take = sb_conf_take_duration,
     .offset = IN(keep),
     .has = IN(has_keep),
     .max = SB_TTL_SETTING_MAX_S * SB_S},
    {0},
};
static const sb_conf_key rule_keys[] = {
    {.name = "match", .take = take_match},
    {.name = "emergency", .take = take_emergency, .section = true},
    {.name = "protect", .take = sb_conf_take_bool, .offset = IN(protect), .has = IN(has_protect)},
    {.name = "protect_confirm",
     .take = sb_conf_take_duration,
     .offset = IN(protect_confirm),
     .has = IN(has_confirm),
     .max = 7 * DAY},
    {.name = "protect_max",
     .take = sb_conf_take_duration,
     .offset = IN(protect_max),
     .has = IN(has_max),
     .max = 30 * DAY},
    {.name = "ttl_min",
     .take = sb_conf_take_seconds,
     .offset = IN(ttl_min_s),
     .has = IN(has_ttl_min),
     .max = SB_TTL_SETTING_MAX_S},
    {.name = "ttl_max",
     .take = sb_conf_take_seconds,
     .offset = IN(ttl_max_s),
     .has = IN(has_ttl_max),
     .max = SB_TTL_SETTING_MAX_S},
    {.name = "stale", .take = sb_conf_take_map, .more = stale_keys, .section = true},
    {.name = "family", .take = sb_conf_take_family, .offset = IN(family), .has = IN(has_family)},
    {.name = "emergency_for",
     .take = sb_conf_take_duration,
     .offset = IN(emergency_for),
     .has = IN(has_emergency_for),
     .max = 366 * DAY},
    {.name = "probe", .take = take_rule_probe, .offset = IN(probe)},
    {0},
};
#undef IN
#define IN(field) offsetof(sb_service_setting, field)
static const sb_conf_key service_keys[] = {
    {.name = "name", .take = sb_conf_take_label, .offset = IN(name)},
    {.name = "uri", .take = take_uri, .offset = IN(uri)},
    {.name = "probe", .take = take_service_probe, .offset = IN(probe), .later = true},
    {.name = "required", .take = sb_conf_take_bool, .offset = IN(required)},
    {0},
};
#undef IN

sb_status sb_conf_take_names(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                             const sb_conf_key *key, void *field)
{
    (void)key;
    sb_settings *s = field;
    void *items;
    size_t count;
    sb_status status = sb_conf_list(w, at, node, &(sb_conf_key){.take = take_rule},
                                    sizeof(sb_name_setting), NAMES_MAX, &items, &count);
    if (status != SB_OK)
        return status;
    s->names = items;
    s->name_count = count;
    return SB_OK;
}

sb_status sb_conf_take_services(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                                const sb_conf_key *key, void *field)
{
    (void)key;
    sb_settings *s = field;
    void *items;
    size_t count;
    sb_status status = sb_conf_list(w, at, node, &(sb_conf_key){.take = take_service},
                                    sizeof(sb_service_setting), SERVICES_MAX, &items, &count);
    if (status != SB_OK)
        return status;
    s->services = items;
    s->service_count = count;
    return SB_OK;
}

/* Or a name below it. */
static bool is_localhost(const sb_name *name)
{
    sb_name localhost;
    return sb_name_parse("localhost", 9, &localhost, NULL) == SB_OK &&
           sb_name_below(name, &localhost);
}

static sb_status take_rule(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                           const sb_conf_key *key, void *field)
{
    (void)key;
    sb_name_setting *rule = field;
    sb_status status = sb_conf_map(w, at, node, rule_keys, rule);
    if (status != SB_OK)
        return status;
    rule->origin = sb_conf_origin(w, node);
    if (rule->match.size == 0)
        return sb_conf_error(w, at, node, "the key match is missing");
    if (rule->emergency_count > 0 && is_localhost(&rule->match)) {
        sb_conf_place place = {.up = at, .key = "emergency"};
        return sb_conf_error(w, &place, sb_conf_find(w, node, "emergency"),
                             "localhost is always this machine (RFC 6761)");
    }
    if (rule->emergency_count > 0 && rule->has_protect && !rule->protect) {
        sb_conf_place place = {.up = at, .key = "protect"};
        return sb_conf_error(w, &place, sb_conf_find(w, node, "protect"),
                             "false contradicts emergency, which implies protect");
    }
    if (rule->has_ttl_max && rule->has_ttl_min && rule->ttl_min_s > rule->ttl_max_s) {
        sb_conf_place place = {.up = at, .key = "ttl_min"};
        return sb_conf_error(w, &place, sb_conf_find(w, node, "ttl_min"),
                             "ttl_min (%us) is above ttl_max (%us)", rule->ttl_min_s,
                             rule->ttl_max_s);
    }
    if (rule->has_confirm && rule->has_max && rule->protect_confirm > rule->protect_max) {
        sb_conf_place place = {.up = at, .key = "protect_confirm"};
        return sb_conf_error(w, &place, sb_conf_find(w, node, "protect_confirm"),
                             "protect_confirm is longer than protect_max");
    }
    return SB_OK;
}

static sb_status take_match(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                            const sb_conf_key *key, void *field)
{
    (void)key;
    sb_name_setting *rule = field;
    const char *text;
    sb_why why = {""};
    sb_status status = sb_conf_text(w, at, node, "a name, or '*.' and a name", &text);
    if (status != SB_OK)
        return status;
    if (strchr(text, ':'))
        return sb_conf_no_url(w, at, node);
    if (sb_match_parse(text, strlen(text), &rule->match, &rule->below, &why) != SB_OK)
        return sb_conf_error(w, at, node, "%s: %s", SB_Q(text), why.text);
    return SB_OK;
}

static sb_status take_emergency(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                                const sb_conf_key *key, void *field)
{
    (void)key;
    sb_name_setting *rule = field;
    void *items;
    size_t count;
    sb_status status = sb_conf_list(w, at, node, &(sb_conf_key){.take = take_ip}, sizeof(sb_addr),
                                    EMERGENCY_MAX, &items, &count);
    if (status != SB_OK)
        return status;
    rule->emergency = items;
    rule->emergency_count = count;
    return SB_OK;
}

static sb_status take_ip(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                         const sb_conf_key *key, void *field)
{
    (void)key;
    const char *text;
    sb_addr addr;
    sb_status status = sb_conf_text(w, at, node, "an IP address", &text);
    if (status != SB_OK)
        return status;
    if (!sb_addr_parse(text, strlen(text), &addr) || !sb_addr_is_host(&addr))
        return sb_conf_error(w, at, node, "%s is not the IP address of a host", SB_Q(text));
    *(sb_addr *)field = addr;
    return SB_OK;
}

static sb_status take_probe(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                            const sb_conf_key *keys, sb_probe_setting *probe)
{
    probe->every = PROBE_EVERY;
    sb_status status = sb_conf_map(w, at, node, keys, probe);
    if (status == SB_OK && probe->kind == SB_PROBE_NONE)
        return sb_conf_error(w, at, node, "one of tcp, http, grpc and ping is expected");
    return status;
}

static sb_status take_rule_probe(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                                 const sb_conf_key *key, void *field)
{
    (void)key;
    return take_probe(w, at, node, rule_probe_keys, field);
}

static sb_status take_service_probe(sb_conf_walk *w, const sb_conf_place *at,
                                    const yaml_node_t *node, const sb_conf_key *key, void *field)
{
    (void)key;
    return take_probe(w, at, node, service_probe_keys, field);
}

static sb_status choose_probe(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                              sb_probe_setting *probe, sb_probe_kind kind)
{
    if (probe->kind != SB_PROBE_NONE)
        return sb_conf_error(w, at, node, "only one of tcp, http, grpc and ping is possible");
    probe->kind = kind;
    return SB_OK;
}

static sb_status take_probe_tcp(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                                const sb_conf_key *key, void *field)
{
    sb_probe_setting *probe = field;
    sb_status status = choose_probe(w, at, node, probe, SB_PROBE_TCP);
    return status == SB_OK ? sb_conf_take_port(w, at, node, key, &probe->port) : status;
}

static sb_status take_probe_grpc(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                                 const sb_conf_key *key, void *field)
{
    sb_probe_setting *probe = field;
    sb_status status = choose_probe(w, at, node, probe, SB_PROBE_GRPC);
    return status == SB_OK ? sb_conf_take_port(w, at, node, key, &probe->port) : status;
}

static sb_status take_probe_url(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                                const sb_conf_key *key, void *field)
{
    sb_probe_setting *probe = field;
    const char *text;
    sb_status status = choose_probe(w, at, node, probe, SB_PROBE_HTTP);
    if (status == SB_OK)
        status = sb_conf_text(w, at, node, "a URL", &text);
    if (status != SB_OK)
        return status;
    if (strncmp(text, "http://", 7) != 0 && strncmp(text, "https://", 8) != 0)
        return sb_conf_error(w, at, node, "a URL that begins with http:// or https:// is expected");
    return sb_conf_take_url(w, at, node, key, &probe->url);
}

static sb_status take_probe_path(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                                 const sb_conf_key *key, void *field)
{
    sb_probe_setting *probe = field;
    const char *text;
    sb_status status = sb_conf_text(w, at, node, "a path or a URL", &text);
    if (status != SB_OK)
        return status;
    if (text[0] != '/')
        return take_probe_url(w, at, node, key, field);
    for (const char *c = text; *c; c++)
        if ((uint8_t)*c <= ' ' || (uint8_t)*c >= 0x7f)
            return sb_conf_error(w, at, node, "%s is not the path of a URL", SB_Q(text));
    status = choose_probe(w, at, node, probe, SB_PROBE_HTTP);
    return status == SB_OK ? sb_conf_copy(w, text, &probe->url) : status;
}

static sb_status take_probe_ping(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                                 const sb_conf_key *key, void *field)
{
    bool on = false;
    sb_status status = sb_conf_take_bool(w, at, node, key, &on);
    return status == SB_OK && on ? choose_probe(w, at, node, field, SB_PROBE_PING) : status;
}

static sb_status take_service(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                              const sb_conf_key *key, void *field)
{
    (void)key;
    sb_service_setting *service = field;
    sb_status status = sb_conf_map(w, at, node, service_keys, service);
    if (status != SB_OK)
        return status;
    service->origin = sb_conf_origin(w, node);
    if (!service->name || !service->uri)
        return sb_conf_error(w, at, node, "the key %s is missing", service->name ? "uri" : "name");
    return SB_OK;
}

/* Anything `stubborn resolve` takes: a host, an address, host:port or a URL. The sentence shows no
 * text: a URL may hold a password. */
static sb_status take_uri(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                          const sb_conf_key *key, void *field)
{
    (void)key;
    const char *text;
    sb_target target;
    sb_why why = {""};
    sb_status status = sb_conf_text(w, at, node, "a URI", &text);
    if (status != SB_OK)
        return status;
    if (sb_target_parse(text, strlen(text), &target, &why) != SB_OK)
        return sb_conf_error(w, at, node, "%s", why.text);
    return sb_conf_copy(w, text, field);
}
