/* Settings: one frozen, reference-counted value. Defaults and environment here; YAML in conf/.
 *
 * A flight keeps the settings it began with. Build: new → fill through sb_settings_* or conf →
 * sb_settings_env → sb_settings_freeze. Strings and arrays lie in the settings' own arena. After
 * freeze: any thread, read-only. */
#ifndef SB_CORE_SETTINGS_H
#define SB_CORE_SETTINGS_H

#include "base/addr.h"
#include "base/arena.h"
#include "core/env.h"
#include "dns/name.h"

#define SB_SOCKET_PATH_MAX 107        /* bytes of a Unix socket's path */
#define SB_WARNINGS_MAX 32            /* of one configuration: more help nobody */
#define SB_TTL_SETTING_MAX_S 31536000 /* a year: the largest TTL or age that may be configured */

/* The strategies of the ladder, in its order; numbers go over the Unix socket and stay. */
#define SB_STRATEGY_TABLE(X)                                                                       \
    X(PIN, "pin")                                                                                  \
    X(HOSTS, "hosts")                                                                              \
    X(CACHED, "cached")                                                                            \
    X(WIRE, "wire")                                                                                \
    X(MDNS_NATIVE, "mdns-native") X(MDNS_MULTICAST, "mdns-multicast") X(SHARED, "shared")          \
        X(VALIDATE, "validate") X(DOUBT, "doubt") X(STALE, "stale") X(EMERGENCY, "emergency")      \
            X(GUESS, "guess")
typedef enum sb_strategy_id {
#define SB_STRATEGY_ENUM(id, text) SB_STRATEGY_##id,
    SB_STRATEGY_TABLE(SB_STRATEGY_ENUM)
#undef SB_STRATEGY_ENUM
        SB_STRATEGY_COUNT
} sb_strategy_id;
const char *sb_strategy_text(unsigned strategy);

typedef enum sb_family_policy {
    SB_PREFER_4,
    SB_PREFER_6,
    SB_ONLY_4,
    SB_ONLY_6,
    SB_PREFER_RFC6724
} sb_family_policy;
/* The words of query.family in the configuration. */
const char *sb_family_policy_text(sb_family_policy policy);
bool sb_family_policy_parse(const char *text, sb_family_policy *ret_policy);

/* Where a value came from, for errors and explain. line 0: not from a file. */
typedef struct sb_origin {
    const char *file;
    unsigned line, column;
} sb_origin;

typedef enum sb_trust { SB_TRUST_AUTO, SB_TRUST_YES, SB_TRUST_NO } sb_trust;

typedef struct sb_server_setting {
    sb_addr addr;         /* with port */
    const char *name;     /* label for people; the address text when none was given */
    const char *tls_name; /* NULL: plain DNS; "" unverified */
    unsigned tier;        /* 0 first */
    sb_trust trust_ad;
    sb_origin origin;
} sb_server_setting;

typedef struct sb_route_setting {
    sb_name suffix; /* folded */
    const sb_server_setting *servers;
    size_t server_count;
    uint32_t strategies; /* bit per sb_strategy_id; 0 = default */
    uint32_t view;       /* derived by freeze: never 0 for a route */
    sb_origin origin;
} sb_route_setting;

typedef enum sb_probe_kind {
    SB_PROBE_NONE,
    SB_PROBE_TCP,
    SB_PROBE_HTTP,
    SB_PROBE_GRPC,
    SB_PROBE_PING
} sb_probe_kind;
typedef struct sb_probe_setting {
    sb_probe_kind kind;
    uint16_t port; /* of http by its URL, derived by freeze; 0 none */
    const char *url;
    sb_ns every;
} sb_probe_setting;

/* A rule for names; has_* tells what it sets. */
typedef struct sb_name_setting {
    sb_name match; /* folded; without the star */
    bool below;    /* '*.': any depth below, not the name itself */
    const sb_addr *emergency;
    size_t emergency_count;
    bool protect, has_protect;
    bool has_ttl_max, has_ttl_min, has_keep, has_family, has_confirm, has_max, has_emergency_for;
    uint32_t ttl_max_s, ttl_min_s;
    sb_ns keep, protect_confirm, protect_max;
    sb_ns emergency_for; /* how long they may be served in one outage; 0 no end */
    sb_family_policy family;
    sb_probe_setting probe;
    sb_origin origin;
} sb_name_setting;

typedef struct sb_service_setting {
    const char *name;
    const char *uri;
    sb_name host;  /* of the URI, folded; size 0 where it is an address. Derived by freeze */
    uint16_t port; /* of the URI or its scheme; 0 unknown */
    sb_probe_setting probe;
    bool required;
    sb_origin origin;
} sb_service_setting;

typedef enum sb_share { SB_SHARE_OFF, SB_SHARE_USER, SB_SHARE_GROUP, SB_SHARE_ALL } sb_share;

typedef struct sb_settings {
    _Atomic uint32_t refs;
    sb_arena arena;
    bool frozen;
    uint32_t hash; /* of everything that decides answers: the cache file's policy epoch */
    struct {
        const sb_addr *dns;
        size_t dns_count;
        bool
            dns_default; /* not configured: an address the machine has not ([::1]) may be skipped */
        bool http_on;
        sb_addr http;
        const char *const *http_hosts; /* extra Host names allowed */
        size_t http_host_count;
        const char *socket;  /* "" = none */
        const char *control; /* derived by freeze: stubborn.ctl beside the socket; "" = none */
        int workers;         /* -1 auto */
        const sb_prefix *allow;
        size_t allow_count;
        bool allow_given;
        const char *control_group; /* NULL = user */
        sb_origin dns_origin, socket_origin, control_origin, http_origin;
    } listen;
    const sb_server_setting *upstreams; /* empty: resolv.conf */
    size_t upstream_count;
    bool upstreams_equal; /* configured as equals (same tier, given in YAML): may be ranked */
    const sb_route_setting *routes; /* longest suffix first after freeze */
    size_t route_count;
    struct {
        sb_ns timeout;
        unsigned attempts;
        uint32_t hedge_permille;
        unsigned refresh_rate; /* per second */
        sb_ns doubt_window;
        const sb_name *search;
        size_t search_count;
        bool search_given;
        unsigned ndots;
        bool ndots_given;
        sb_family_policy family;
    } query;
    struct {
        const char *file; /* "" = memory only */
        size_t size_bytes;
        sb_share share;
        const char *share_group;
        sb_origin share_origin;
        uint32_t ttl_min_s, ttl_max_s, negative_ttl_max_s;
        bool ttl_max_by_variable; /* DNS_CACHE_TTL, not the file */
        sb_ns keep, recheck;
        uint32_t stale_ttl_s;
        sb_ns patience; /* -1 = auto */
        uint32_t prefetch_permille;
        const sb_name *warm;
        size_t warm_count;
    } cache;
    const sb_name_setting *names; /* most specific first after freeze */
    size_t name_count;
    const sb_service_setting *services;
    size_t service_count;
    struct {
        const char *redis, *prefix, *secret_file; /* redis "" = off */
        sb_ns budget;
    } shared;
    struct {
        const char *interfaces;
        sb_ns timeout;
        bool guess;
    } mdns;
    struct {
        unsigned window_s;
        uint32_t degraded_permille, unhealthy_permille;
        unsigned alert_after;
        const char *const *alert_command;
        size_t alert_command_count;
        const char *alert_webhook;
    } health;
    struct {
        uint8_t level; /* sb_log_level */
        bool json;
        const char *to;    /* stderr | journald */
        int8_t levels[16]; /* per subsystem; -1 = level */
    } log;
    const char *mlflow_uri;                /* MLFLOW_TRACKING_URI or NULL */
    const char *warnings[SB_WARNINGS_MAX]; /* sentences: what is set and has no effect */
    size_t warning_count;
} sb_settings;

/* Defaults of the CONTRACT (the user's paths from environment `get`, or system paths for root).
 * Owned, refs 1, not frozen. */
typedef const char *sb_getenv(void *context, const char *name);
SB_MUST_USE sb_status sb_settings_new(sb_getenv *get, void *context, bool is_root,
                                      sb_settings **ret);
/* Environment over the file (CONTRACT, Configuration). A bad value names the variable in why.
 * MLFLOW_FALLBACK_IP goes to the host of MLFLOW_TRACKING_URI, and a service "mlflow" is made of the
 * URI when none is configured. */
SB_MUST_USE sb_status sb_settings_env(sb_settings *settings, sb_getenv *get, void *context,
                                      sb_why *why);
/* The same for who goes on without a variable that is bad: SB_INVALID, and why tells of the first.
 */
SB_MUST_USE sb_status sb_settings_env_leniently(sb_settings *settings, sb_getenv *get,
                                                void *context, sb_why *why);
/* A warning for each variable STUBBORN_… of the list (NULL ends it) that nothing reads: a misspelt
 * one would be silently without effect. */
void sb_settings_env_unread(sb_settings *settings, char *const *variables);
/* Sorts, derives views, merges name rules of one match, checks cross-field rules (non-loopback DNS
 * address without allow, protected…). */
SB_MUST_USE sb_status sb_settings_freeze(sb_settings *settings, sb_why *why);
/* A daemon with these listens on something. */
SB_MUST_USE sb_status sb_settings_reachable(const sb_settings *settings, sb_why *why);
/* The sentence with its place in the file before it, where there is one; origin may be NULL. */
sb_status sb_settings_complain(sb_why *why, sb_status status, const sb_origin *origin,
                               const char *format, ...) SB_PRINTF(4, 5);
/* Adds a sentence to the warnings; one too many, or one without memory, is left out. */
void sb_settings_warn(sb_settings *settings, const char *sentence);
/* A socket this instance listens on itself, also through an any-address: never an upstream. */
bool sb_settings_own_address(const sb_settings *settings, const sb_addr *addr);
const sb_settings *sb_settings_ref(const sb_settings *settings);
void sb_settings_unref(const sb_settings *settings);
/* /etc/resolv.conf: name servers, search, ndots (options ndots:n), at most 8 servers. Never fails
 * on odd lines: they are skipped. The caller leaves out its own listening addresses
 * (sb_settings_own_address). */
typedef struct sb_resolv_conf {
    sb_server_setting servers[8]; /* name is "": the address is the label */
    size_t server_count;
    sb_name search[16];
    size_t search_count;
    unsigned ndots;
} sb_resolv_conf;
void sb_resolv_conf_parse(const uint8_t *bytes, size_t size, sb_resolv_conf *ret);
/* Shared value parsers: "300s" "5m" "3d" "20ms" "1h" or plain seconds when bare_seconds; "64MiB";
 * "10%" → 100. */
bool sb_parse_duration(const char *text, bool bare_seconds, sb_ns *ret);
bool sb_parse_size(const char *text, uint64_t *ret_bytes);
bool sb_parse_percent(const char *text, uint32_t *ret_permille);
/* "10.0.0.3:5353", "tls://10.0.0.4:853#dns.example", "[::1]". why names the problem. */
SB_MUST_USE sb_status sb_server_parse(sb_arena *arena, const char *text, sb_server_setting *ret,
                                      sb_why *why);

/* "a.example", or "*.example" for every depth below; folded, the star taken off. "*." is every
 * name. */
SB_MUST_USE sb_status sb_match_parse(const char *text, size_t size, sb_name *ret_name,
                                     bool *ret_below, sb_why *why);

#endif
