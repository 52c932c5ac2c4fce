/* Settings without a file: defaults, the environment and its refusals, freezing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/mem.h"
#include "core/settings.h"

typedef struct variable {
    const char *name, *value;
} variable;

/* context: variables, ended by a NULL name. */
static const char *get(void *context, const char *name)
{
    for (const variable *v = context; v && v->name; v++)
        if (strcmp(v->name, name) == 0)
            return v->value;
    return NULL;
}

static sb_settings *fresh(const variable *variables)
{
    sb_settings *s = NULL;
    assert_int_equal(sb_settings_new(get, (void *)variables, false, &s), SB_OK);
    return s;
}

static sb_name name_of(const char *text)
{
    sb_name name;
    assert_int_equal(sb_name_parse(text, strlen(text), &name, NULL), SB_OK);
    return name;
}

static sb_addr addr_of(const char *text)
{
    sb_addr addr;
    assert_true(sb_addr_parse_port(text, strlen(text), 0, &addr));
    return addr;
}

static void assert_addr(const sb_addr *addr, const char *expected)
{
    char text[SB_ADDR_TEXT_MAX];
    assert_string_equal(addr->port ? sb_addr_text_port(addr, text) : sb_addr_text(addr, text),
                        expected);
}

static const sb_name_setting *rule_of(const sb_settings *s, const char *match)
{
    sb_name name = name_of(match);
    for (size_t i = 0; i < s->name_count; i++)
        if (sb_name_equal(&s->names[i].match, &name))
            return &s->names[i];
    return NULL;
}

/* --- defaults --- */

static void defaults_are_those_of_the_manual(void **state)
{
    (void)state;
    sb_settings *s = fresh(NULL);
    assert_int_equal(s->listen.dns_count, 2);
    assert_addr(&s->listen.dns[0], "127.0.0.1:5300");
    assert_addr(&s->listen.dns[1], "[::1]:5300");
    assert_true(s->listen.dns_default);
    assert_true(s->listen.http_on);
    assert_addr(&s->listen.http, "127.0.0.1:8053");
    assert_int_equal(s->listen.workers, -1);
    assert_int_equal(s->listen.allow_count, 2);
    assert_false(s->listen.allow_given);
    assert_null(s->listen.control_group);
    assert_int_equal(s->upstream_count, 0);
    assert_int_equal(s->query.timeout, 10 * SB_S);
    assert_int_equal(s->query.attempts, 6);
    assert_int_equal(s->query.hedge_permille, 100);
    assert_int_equal(s->query.refresh_rate, 100);
    assert_int_equal(s->query.doubt_window, 300 * SB_S);
    assert_int_equal(s->query.ndots, 1);
    assert_false(s->query.ndots_given);
    assert_int_equal(s->query.family, SB_PREFER_4);
    assert_int_equal(s->cache.size_bytes, 64 << 20);
    assert_int_equal(s->cache.share, SB_SHARE_USER);
    assert_int_equal(s->cache.ttl_min_s, 0);
    assert_int_equal(s->cache.ttl_max_s, 300);
    assert_int_equal(s->cache.negative_ttl_max_s, 300);
    assert_int_equal(s->cache.keep, 3 * 86400 * SB_S);
    assert_int_equal(s->cache.stale_ttl_s, 30);
    assert_int_equal(s->cache.patience, -1);
    assert_int_equal(s->cache.recheck, 30 * SB_S);
    assert_int_equal(s->cache.prefetch_permille, 100);
    assert_string_equal(s->shared.redis, "");
    assert_string_equal(s->shared.prefix, "stubborn");
    assert_int_equal(s->shared.budget, 5 * SB_MS);
    assert_string_equal(s->mdns.interfaces, "auto");
    assert_int_equal(s->mdns.timeout, SB_S);
    assert_int_equal(s->health.window_s, 60);
    assert_int_equal(s->health.degraded_permille, 100);
    assert_int_equal(s->health.unhealthy_permille, 700);
    assert_int_equal(s->health.alert_after, 3);
    assert_int_equal(s->log.level, SB_LOG_INFO);
    assert_int_equal(s->log.levels[SB_LOG_UPSTREAM], -1);
    assert_string_equal(s->log.to, "stderr");
    assert_null(s->mlflow_uri);
    /* Nothing known of the user: no socket, memory only. */
    assert_string_equal(s->listen.socket, "");
    assert_string_equal(s->cache.file, "");
    assert_int_equal(sb_settings_freeze(s, NULL), SB_OK);
    assert_true(s->frozen);
    assert_string_equal(s->listen.control, "");
    sb_settings_unref(s);
}

static void paths_follow_the_user(void **state)
{
    (void)state;
    char deep[300];
    memset(deep, 'x', sizeof(deep));
    deep[0] = '/';
    deep[sizeof(deep) - 1] = '\0';
    const struct {
        variable variables[4];
        const char *socket, *file;
    } table[] = {
        {{{"HOME", "/home/u"}},
         "/home/u/.cache/stubborn/stubborn.sock",
         "/home/u/.cache/stubborn/cache.l1"},
        {{{"HOME", "/home/u/"}, {"XDG_RUNTIME_DIR", "/run/user/7"}},
         "/run/user/7/stubborn/stubborn.sock",
         "/home/u/.cache/stubborn/cache.l1"},
        {{{"HOME", "/home/u"}, {"XDG_CACHE_HOME", "/c"}},
         "/c/stubborn/stubborn.sock",
         "/c/stubborn/cache.l1"},
        /* Relative ones are ignored, as XDG says. */
        {{{"HOME", "/home/u"}, {"XDG_CACHE_HOME", "c"}, {"XDG_RUNTIME_DIR", ""}},
         "/home/u/.cache/stubborn/stubborn.sock",
         "/home/u/.cache/stubborn/cache.l1"},
        {{{"HOME", "u"}}, "", ""},
        /* Too deep for a Unix socket: the other place, or none. */
        {{{"HOME", "/h"}, {"XDG_RUNTIME_DIR", deep}},
         "/h/.cache/stubborn/stubborn.sock",
         "/h/.cache/stubborn/cache.l1"},
        {{{"XDG_RUNTIME_DIR", deep}}, "", ""},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        sb_settings *s = fresh(table[i].variables);
        assert_string_equal(s->listen.socket, table[i].socket);
        assert_string_equal(s->cache.file, table[i].file);
        sb_settings_unref(s);
    }
    sb_settings *s;
    assert_int_equal(sb_settings_new(get, NULL, true, &s), SB_OK);
    assert_string_equal(s->listen.socket, "/run/stubborn/stubborn.sock");
    assert_string_equal(s->cache.file, "/var/cache/stubborn/cache.l1");
    assert_int_equal(sb_settings_freeze(s, NULL), SB_OK);
    assert_string_equal(s->listen.control, "/run/stubborn/stubborn.ctl");
    sb_settings_unref(s);
}

/* --- the environment --- */

static void the_environment_overrides(void **state)
{
    (void)state;
    const variable variables[] = {
        {"DNS_CACHE_TTL", "120"},
        {"DNS_TIMEOUT", "2.5"},
        {"STUBBORN_SERVERS", "10.0.0.2, [::1]:54 ,tls://10.0.0.4#dns.example"},
        {"STUBBORN_SOCKET", "/tmp/s/x.sock"},
        {"STUBBORN_LOG", "warn,upstream=debug, cache=trace"},
        {"STUBBORN_FALLBACK", "A.example=10.0.1.1,10.0.1.2; b.example = 2001:db8::1 ;"},
        {"MLFLOW_TRACKING_URI", "http://user:pw@MLflow.example:5000/x"},
        {"MLFLOW_FALLBACK_IP", "10.0.1.221,10.0.1.222"},
        {NULL, NULL},
    };
    sb_settings *s = fresh(NULL);
    sb_why why = {""};
    assert_int_equal(sb_settings_env(s, get, (void *)variables, &why), SB_OK);
    assert_int_equal(s->cache.ttl_max_s, 120);
    assert_int_equal(s->query.timeout, 2500 * SB_MS);
    assert_int_equal(s->upstream_count, 3);
    assert_false(s->upstreams_equal);
    assert_addr(&s->upstreams[0].addr, "10.0.0.2:53");
    assert_string_equal(s->upstreams[0].name, "10.0.0.2");
    assert_addr(&s->upstreams[1].addr, "[::1]:54");
    assert_string_equal(s->upstreams[1].name, "[::1]:54");
    assert_addr(&s->upstreams[2].addr, "10.0.0.4:853");
    assert_string_equal(s->upstreams[2].tls_name, "dns.example");
    assert_string_equal(s->listen.socket, "/tmp/s/x.sock");
    assert_int_equal(s->log.level, SB_LOG_WARN);
    assert_int_equal(s->log.levels[SB_LOG_UPSTREAM], SB_LOG_DEBUG);
    assert_int_equal(s->log.levels[SB_LOG_CACHE], SB_LOG_TRACE);
    assert_int_equal(s->log.levels[SB_LOG_NET], -1);
    assert_string_equal(s->mlflow_uri, "http://user:pw@MLflow.example:5000/x");
    assert_int_equal(sb_settings_freeze(s, &why), SB_OK);
    assert_string_equal(s->listen.control, "/tmp/s/stubborn.ctl");
    assert_int_equal(s->name_count, 3);
    const sb_name_setting *a = rule_of(s, "a.example"), *b = rule_of(s, "b.example");
    const sb_name_setting *mlflow = rule_of(s, "mlflow.example");
    assert_int_equal(a->emergency_count, 2);
    assert_addr(&a->emergency[1], "10.0.1.2");
    assert_true(a->protect); /* emergency implies it */
    assert_addr(&b->emergency[0], "2001:db8::1");
    assert_int_equal(mlflow->emergency_count, 2);
    assert_addr(&mlflow->emergency[0], "10.0.1.221");
    assert_int_equal(s->service_count, 1);
    assert_string_equal(s->services[0].name, "mlflow");
    assert_string_equal(s->services[0].uri, s->mlflow_uri);
    sb_settings_unref(s);
}

static void empty_variables_count_as_absent(void **state)
{
    (void)state;
    static const char *const names[] = {
        "DNS_CACHE_TTL",       "DNS_TIMEOUT",        "STUBBORN_SERVERS",
        "STUBBORN_SOCKET",     "STUBBORN_LOG",       "STUBBORN_FALLBACK",
        "MLFLOW_TRACKING_URI", "MLFLOW_FALLBACK_IP", "STUBBORN_CONFIG",
    };
    variable variables[SB_ARRAY_SIZE(names) + 1] = {0};
    for (size_t i = 0; i < SB_ARRAY_SIZE(names); i++)
        variables[i] = (variable){names[i], ""};
    sb_settings *s = fresh(NULL), *plain = fresh(NULL);
    assert_int_equal(sb_settings_env(s, get, variables, NULL), SB_OK);
    assert_int_equal(sb_settings_freeze(s, NULL), SB_OK);
    assert_int_equal(sb_settings_freeze(plain, NULL), SB_OK);
    assert_int_equal(s->hash, plain->hash);
    assert_int_equal(s->service_count, 0);
    sb_settings_unref(s);
    sb_settings_unref(plain);
}

static void good_values_at_the_edge(void **state)
{
    (void)state;
    static const variable table[] = {
        {"DNS_CACHE_TTL", "0"},
        {"DNS_CACHE_TTL", "31536000"},
        {"DNS_CACHE_TTL", "5m"},
        {"DNS_TIMEOUT", "0.001"},
        {"DNS_TIMEOUT", "3600"},
        {"DNS_TIMEOUT", "250ms"},
        {"STUBBORN_FALLBACK", "*.example=10.0.0.1"},
        {"STUBBORN_LOG", "TRACE"},
        {"STUBBORN_LOG", "upstream=debug"},
        {"MLFLOW_TRACKING_URI", "https://mlflow.example"},
        {"MLFLOW_TRACKING_URI", "mlflow.example:5000"},
        {"MLFLOW_TRACKING_URI", "http://10.0.0.1:5000"},
        {"MLFLOW_TRACKING_URI", "./mlruns"},
        {"MLFLOW_TRACKING_URI", "/srv/mlruns"},
        {"MLFLOW_TRACKING_URI", "file:///srv/mlruns"},
        {"MLFLOW_TRACKING_URI", "sqlite:///x.db"},
        {"MLFLOW_TRACKING_URI", "databricks"},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        const variable variables[] = {table[i], {NULL, NULL}};
        sb_settings *s = fresh(NULL);
        sb_why why = {""};
        if (sb_settings_env(s, get, (void *)variables, &why) != SB_OK)
            fail_msg("%s=%s: %s", table[i].name, table[i].value, why.text);
        assert_int_equal(sb_settings_freeze(s, &why), SB_OK);
        sb_settings_unref(s);
    }
}

static void bad_values_are_named(void **state)
{
    (void)state;
    static const variable table[] = {
        {"DNS_CACHE_TTL", "abc"},
        {"DNS_CACHE_TTL", "-1"},
        {"DNS_CACHE_TTL", "1.5"},
        {"DNS_CACHE_TTL", "31536001"},
        {"DNS_CACHE_TTL", "99999999999999999999"},
        {"DNS_CACHE_TTL", "300 "},
        {"DNS_CACHE_TTL", "0x10"},
        {"DNS_TIMEOUT", "0"},
        {"DNS_TIMEOUT", "0.0001"},
        {"DNS_TIMEOUT", "3601"},
        {"DNS_TIMEOUT", "ten"},
        {"DNS_TIMEOUT", "1e3"},
        {"DNS_TIMEOUT", "1."},
        {"DNS_TIMEOUT", "inf"},
        {"STUBBORN_SERVERS", "dns.example"},
        {"STUBBORN_SERVERS", "10.0.0.1,,10.0.0.2"},
        {"STUBBORN_SERVERS", "10.0.0.1:0"},
        {"STUBBORN_SERVERS", "0.0.0.0"},
        {"STUBBORN_SERVERS", "https://10.0.0.1"},
        {"STUBBORN_SERVERS", "10.0.0.1#dns.example"},
        {"STUBBORN_SERVERS", "tls://10.0.0.1#"},
        {"STUBBORN_SOCKET", "relative.sock"},
        {"STUBBORN_SOCKET", "/tmp/"},
        {"STUBBORN_LOG", "loud"},
        {"STUBBORN_LOG", "info,kitchen=debug"},
        {"STUBBORN_LOG", "info,upstream=loud"},
        {"STUBBORN_LOG", "info,"},
        {"STUBBORN_FALLBACK", "a.example"},
        {"STUBBORN_FALLBACK", "a.example="},
        {"STUBBORN_FALLBACK", "=10.0.0.1"},
        {"STUBBORN_FALLBACK", "a.example=10.0.0.256"},
        {"STUBBORN_FALLBACK", "a.example=10.0.0.1:53"},
        {"STUBBORN_FALLBACK", "a.example=0.0.0.0"},
        {"STUBBORN_FALLBACK", "a.example=10.0.0.1;A.example=10.0.0.2"},
        {"STUBBORN_FALLBACK", "10.0.0.1=10.0.0.2"},
        {"STUBBORN_FALLBACK", "a..example=10.0.0.2"},
        {"STUBBORN_FALLBACK", "a.*.example=10.0.0.2"},
        {"STUBBORN_FALLBACK", "a b=10.0.0.2"},
        {"STUBBORN_FALLBACK", ";"},
        {"MLFLOW_TRACKING_URI", "http://"},
        {"MLFLOW_TRACKING_URI", "http://[::1"},
        {"MLFLOW_TRACKING_URI", "http://host:99999/"},
        {"MLFLOW_TRACKING_URI", "not a url"},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        const variable variables[] = {table[i], {NULL, NULL}};
        sb_settings *s = fresh(NULL);
        sb_why why = {""};
        if (sb_settings_env(s, get, (void *)variables, &why) != SB_INVALID)
            fail_msg("%s=%s passed", table[i].name, table[i].value);
        char value[256];
        assert_int_equal(strncmp(why.text, table[i].name, strlen(table[i].name)), 0);
        if (!strstr(why.text, sb_log_escape(value, sizeof(value), table[i].value)))
            fail_msg("the value is not in: %s", why.text);
        sb_settings_unref(s);
    }
}

static void a_sentence_shows_no_password(void **state)
{
    (void)state;
    const variable variables[] = {{"MLFLOW_TRACKING_URI", "http://me:secret@host:99999/"},
                                  {NULL, NULL}};
    sb_settings *s = fresh(NULL);
    sb_why why = {""};
    assert_int_equal(sb_settings_env(s, get, (void *)variables, &why), SB_INVALID);
    assert_null(strstr(why.text, "secret"));
    assert_non_null(strstr(why.text, "MLFLOW_TRACKING_URI="));
    sb_settings_unref(s);
}

static void lists_are_bounded(void **state)
{
    (void)state;
    static const struct {
        const char *variable, *first, *item;
        unsigned most;
    } table[] = {
        {"STUBBORN_SERVERS", "", "10.0.0.%u,", 64},
        {"STUBBORN_FALLBACK", "a=", "10.0.0.%u,", 32},
        {"STUBBORN_FALLBACK", "", "h%u=10.0.0.1;", 256},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(table); i++) {
        for (unsigned over = 0; over < 2; over++) {
            sb_text text = {0};
            sb_text_add(&text, "%s", table[i].first);
            for (unsigned n = 1; n <= table[i].most + over; n++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
                sb_text_add(&text, table[i].item, n);
#pragma GCC diagnostic pop
            }
            text.data[text.size - 1] = '\0'; /* the last separator */
            const variable variables[] = {{table[i].variable, text.data}, {NULL, NULL}};
            sb_settings *s = fresh(NULL);
            assert_int_equal(sb_settings_env(s, get, (void *)variables, NULL),
                             over ? SB_INVALID : SB_OK);
            sb_settings_unref(s);
            sb_text_fini(&text);
        }
    }
}

static void a_literal_needs_no_fallback(void **state)
{
    (void)state;
    const variable variables[] = {{"MLFLOW_TRACKING_URI", "http://10.0.0.9:5000"},
                                  {"MLFLOW_FALLBACK_IP", "10.0.0.1"},
                                  {NULL, NULL}};
    sb_settings *s = fresh(NULL);
    assert_int_equal(sb_settings_env(s, get, (void *)variables, NULL), SB_OK);
    assert_int_equal(s->name_count, 0);
    assert_int_equal(s->service_count, 1);
    sb_settings_unref(s);
}

static void a_fallback_of_no_host_is_a_warning(void **state)
{
    (void)state;
    static const char *const uris[] = {NULL, "./mlruns", "databricks"};
    for (size_t i = 0; i < SB_ARRAY_SIZE(uris); i++) {
        const variable variables[] = {{"MLFLOW_FALLBACK_IP", "10.0.0.1"},
                                      {uris[i] ? "MLFLOW_TRACKING_URI" : NULL, uris[i]},
                                      {NULL, NULL}};
        sb_settings *s = fresh(NULL);
        assert_int_equal(sb_settings_env(s, get, (void *)variables, NULL), SB_OK);
        assert_int_equal(s->name_count, 0);
        assert_int_equal(s->warning_count, 1);
        assert_non_null(strstr(s->warnings[0], "MLFLOW_FALLBACK_IP=10.0.0.1"));
        for (unsigned n = 0; n < 2 * SB_WARNINGS_MAX; n++)
            sb_settings_warn(s, "again");
        assert_int_equal(s->warning_count, SB_WARNINGS_MAX);
        sb_settings_unref(s);
    }
}

static void a_configured_mlflow_stays(void **state)
{
    (void)state;
    const variable variables[] = {{"MLFLOW_TRACKING_URI", "http://env.example"}, {NULL, NULL}};
    static const sb_service_setting own = {.name = "MLflow", .uri = "http://file.example"};
    sb_settings *s = fresh(NULL);
    s->services = &own;
    s->service_count = 1;
    assert_int_equal(sb_settings_env(s, get, (void *)variables, NULL), SB_OK);
    assert_int_equal(s->service_count, 1);
    assert_string_equal(s->services[0].uri, "http://file.example");
    sb_settings_unref(s);
}

/* --- freezing --- */

static void assert_refused(sb_settings *s, const char *words)
{
    sb_why why = {""};
    assert_int_equal(sb_settings_freeze(s, &why), SB_INVALID);
    if (!strstr(why.text, words))
        fail_msg("\"%s\" is not in: %s", words, why.text);
    sb_settings_unref(s);
}

static void who_may_ask_must_be_said(void **state)
{
    (void)state;
    static const char *const open[] = {"0.0.0.0:53", "192.0.2.1:53", "[::]:53"};
    for (size_t i = 0; i < SB_ARRAY_SIZE(open); i++) {
        sb_addr addr = addr_of(open[i]);
        sb_settings *s = fresh(NULL);
        s->listen.dns = &addr;
        s->listen.dns_count = 1;
        s->listen.allow_given = true;
        assert_int_equal(sb_settings_freeze(s, NULL), SB_OK);
        sb_settings_unref(s);
        s = fresh(NULL);
        s->listen.dns = &addr;
        s->listen.dns_count = 1;
        assert_refused(s, open[i]);
    }
}

static void cross_field_rules(void **state)
{
    (void)state;
    sb_settings *s = fresh(NULL);
    s->cache.ttl_min_s = 301;
    assert_refused(s, "cache.ttl_min");
    const variable low[] = {{"DNS_CACHE_TTL", "5"}, {0}};
    s = fresh(NULL);
    s->cache.ttl_min_s = 6;
    assert_int_equal(sb_settings_env(s, get, (void *)low, NULL), SB_OK);
    assert_refused(s, "DNS_CACHE_TTL");
    s = fresh(NULL);
    s->health.degraded_permille = 701;
    assert_refused(s, "health.degraded");
    const sb_addr twice[] = {addr_of("127.0.0.1:53"), addr_of("127.0.0.1:53")};
    s = fresh(NULL);
    s->listen.dns = twice;
    s->listen.dns_count = 2;
    assert_refused(s, "127.0.0.1:53 is there twice");
    const sb_service_setting services[] = {{.name = "x", .uri = "a"}, {.name = "X", .uri = "b"}};
    s = fresh(NULL);
    s->services = services;
    s->service_count = 2;
    assert_refused(s, "services[1].name: X is there twice");
    const sb_server_setting same[] = {{.addr = addr_of("10.0.0.1:53")},
                                      {.addr = addr_of("10.0.0.1:53")}};
    s = fresh(NULL);
    s->upstreams = same;
    s->upstream_count = 2;
    assert_refused(s, "[1]: 10.0.0.1:53 is there twice");
    static const struct {
        const char *dns, *http;
        bool fits;
    } pairs[] = {
        {"127.0.0.1:8053", "127.0.0.1:8053", false}, {"127.0.0.1:8053", "127.0.0.2:8053", true},
        {"127.0.0.1:8053", "127.0.0.1:8054", true},  {"127.0.0.1:8053", "0.0.0.0:8053", false},
        {"127.0.0.1:8053", "[::]:8053", true},       {"127.0.0.1:0", "127.0.0.1:0", true}};
    for (size_t i = 0; i < SB_ARRAY_SIZE(pairs); i++) {
        const sb_addr dns = addr_of(pairs[i].dns);
        s = fresh(NULL);
        s->listen.dns = &dns;
        s->listen.dns_count = 1;
        s->listen.http_on = true;
        s->listen.http = addr_of(pairs[i].http);
        if (!pairs[i].fits) {
            assert_refused(s, "listen.http: 127.0.0.1:8053 of listen.dns takes that port");
            continue;
        }
        assert_int_equal(sb_settings_freeze(s, NULL), SB_OK);
        sb_settings_unref(s);
    }
}

static void own_addresses_are_no_upstreams(void **state)
{
    (void)state;
    const sb_server_setting self = {.addr = addr_of("[::1]:5300"),
                                    .name = "x",
                                    .origin = {.file = "f", .line = 3, .column = 5}};
    sb_settings *s = fresh(NULL);
    s->upstreams = &self;
    s->upstream_count = 1;
    assert_refused(s, "f:3:5: ");
    const sb_addr any = addr_of("0.0.0.0:53");
    s = fresh(NULL);
    s->listen.dns = &any;
    s->listen.dns_count = 1;
    const sb_addr loopback = addr_of("127.0.0.53:53"), other = addr_of("127.0.0.53:54");
    const sb_addr far = addr_of("192.0.2.1:53");
    assert_true(sb_settings_own_address(s, &loopback));
    assert_false(sb_settings_own_address(s, &other));
    assert_false(sb_settings_own_address(s, &far));
    sb_settings_unref(s);
}

static void bad_socket_paths(void **state)
{
    (void)state;
    char longest[200], too_long[200];
    memset(longest, 'x', sizeof(longest));
    memset(too_long, 'x', sizeof(too_long));
    longest[0] = too_long[0] = '/';
    longest[90] = too_long[95] = '/'; /* stubborn.ctl must fit there too */
    longest[94] = too_long[99] = '\0';
    static const char *const bad[] = {"x.sock", "/run/", "/run/stubborn.ctl"};
    for (size_t i = 0; i < SB_ARRAY_SIZE(bad); i++) {
        sb_settings *s = fresh(NULL);
        s->listen.socket = bad[i];
        assert_refused(s, "listen.socket");
    }
    sb_settings *s = fresh(NULL);
    s->listen.socket = too_long;
    assert_refused(s, "too long");
    s = fresh(NULL);
    s->listen.socket = longest;
    assert_int_equal(sb_settings_freeze(s, NULL), SB_OK);
    sb_settings_unref(s);
}

static void routes_are_ordered_and_have_views(void **state)
{
    (void)state;
    const sb_server_setting a = {.addr = addr_of("10.0.0.1:53"), .name = "a"};
    const sb_server_setting both[] = {{.addr = addr_of("10.0.0.1:53"), .name = "a"},
                                      {.addr = addr_of("10.0.0.2:53"), .name = "b"}};
    const sb_server_setting turned[] = {both[1], both[0]};
    sb_route_setting routes[3] = {
        {.suffix = name_of("example"), .servers = &a, .server_count = 1},
        {.suffix = name_of("a.b.example"), .servers = &a, .server_count = 1},
        {.suffix = name_of("b.example"), .servers = both, .server_count = 2},
    };
    sb_settings *s = fresh(NULL);
    s->routes = routes;
    s->route_count = 3;
    assert_int_equal(sb_settings_freeze(s, NULL), SB_OK);
    char text[SB_NAME_TEXT_MAX];
    assert_string_equal(sb_name_text(&s->routes[0].suffix, text), "a.b.example");
    assert_string_equal(sb_name_text(&s->routes[2].suffix, text), "example");
    for (size_t i = 0; i < 3; i++) {
        assert_int_not_equal(s->routes[i].view, 0);
        assert_int_not_equal(s->routes[i].view, UINT32_MAX);
    }
    assert_int_not_equal(s->routes[0].view, s->routes[2].view);
    uint32_t view = s->routes[1].view;
    sb_settings_unref(s);

    /* The same servers in another order: the same view. Another server: another view. */
    routes[2].servers = turned;
    s = fresh(NULL);
    s->routes = routes;
    s->route_count = 3;
    assert_int_equal(sb_settings_freeze(s, NULL), SB_OK);
    assert_int_equal(s->routes[1].view, view);
    sb_settings_unref(s);
    routes[2].server_count = 1;
    s = fresh(NULL);
    s->routes = routes;
    s->route_count = 3;
    assert_int_equal(sb_settings_freeze(s, NULL), SB_OK);
    assert_int_not_equal(s->routes[1].view, view);
    sb_settings_unref(s);

    routes[0].suffix = routes[1].suffix;
    s = fresh(NULL);
    s->routes = routes;
    s->route_count = 3;
    assert_refused(s, "routes[1].suffix: a.b.example is there twice");
}

static void name_rules_are_ordered_and_merged(void **state)
{
    (void)state;
    const sb_addr ip = addr_of("10.0.0.1"), newer = addr_of("10.0.0.2");
    const sb_name_setting rules[] = {
        {.match = name_of("example"), .below = true, .has_ttl_max = true, .ttl_max_s = 9},
        {.match = name_of("example"), .has_keep = true, .keep = 5},
        {.match = name_of("a.example"),
         .emergency = &ip,
         .emergency_count = 1,
         .has_family = true,
         .family = SB_ONLY_4,
         .probe = {.kind = SB_PROBE_TCP, .port = 80},
         .origin = {.file = "f", .line = 2}},
        {.match = name_of("a.example"), .has_ttl_max = true, .ttl_max_s = 60},
        {.match = name_of("a.example"), .emergency = &newer, .emergency_count = 1},
    };
    sb_settings *s = fresh(NULL);
    s->names = rules;
    s->name_count = SB_ARRAY_SIZE(rules);
    assert_int_equal(sb_settings_freeze(s, NULL), SB_OK);
    assert_int_equal(s->name_count, 3);
    const sb_name_setting *first = &s->names[0];
    assert_int_equal(first->emergency_count, 1);
    assert_addr(first->emergency, "10.0.0.2"); /* the later rule wins … */
    assert_int_equal(first->ttl_max_s, 60);    /* … in what it says */
    assert_true(first->has_ttl_max && first->has_family && first->protect && first->has_protect);
    assert_int_equal(first->family, SB_ONLY_4);
    assert_int_equal(first->probe.port, 80);
    assert_int_equal(first->origin.line, 2);
    assert_false(s->names[1].below);
    assert_true(s->names[2].below);
    sb_settings_unref(s);

    const sb_name_setting unprotected = {
        .match = name_of("a.example"), .emergency = &ip, .emergency_count = 1, .has_protect = true};
    s = fresh(NULL);
    s->names = &unprotected;
    s->name_count = 1;
    assert_refused(s, "name a.example: protect");
    const sb_name_setting crossed = {.match = name_of("a.example"),
                                     .below = true,
                                     .has_ttl_max = true,
                                     .has_ttl_min = true,
                                     .ttl_min_s = 1};
    s = fresh(NULL);
    s->names = &crossed;
    s->name_count = 1;
    assert_refused(s, "name *.a.example: ttl_min is above ttl_max");
}

static uint32_t hash_with(void (*change)(sb_settings *))
{
    sb_settings *s = fresh(NULL);
    if (change)
        change(s);
    assert_int_equal(sb_settings_freeze(s, NULL), SB_OK);
    uint32_t hash = s->hash;
    sb_settings_unref(s);
    return hash;
}

static void change_family(sb_settings *s)
{
    s->query.family = SB_ONLY_6;
}
static void change_ttl(sb_settings *s)
{
    s->cache.ttl_max_s++;
}
static void change_negative(sb_settings *s)
{
    s->cache.negative_ttl_max_s++;
}
static void change_keep(sb_settings *s)
{
    s->cache.keep++;
}
static void change_upstream(sb_settings *s)
{
    static sb_server_setting server;
    server = (sb_server_setting){.addr = addr_of("10.0.0.1:53"), .name = "x"};
    s->upstreams = &server;
    s->upstream_count = 1;
}
static void change_tier(sb_settings *s)
{
    static sb_server_setting server;
    server = (sb_server_setting){.addr = addr_of("10.0.0.1:53"), .name = "x", .tier = 1};
    s->upstreams = &server;
    s->upstream_count = 1;
}
static void change_name(sb_settings *s)
{
    static sb_name_setting rule;
    rule = (sb_name_setting){.match = name_of("a.example"), .has_protect = true, .protect = true};
    s->names = &rule;
    s->name_count = 1;
}
static void change_route(sb_settings *s)
{
    static sb_route_setting route;
    route = (sb_route_setting){.suffix = name_of("local"), .strategies = 1};
    s->routes = &route;
    s->route_count = 1;
}
static void change_log(sb_settings *s)
{
    s->log.level = SB_LOG_TRACE;
    s->listen.workers = 3;
    s->health.window_s = 5;
}

static void the_hash_is_of_what_decides_answers(void **state)
{
    (void)state;
    void (*const changes[])(sb_settings *) = {NULL,        change_family,   change_ttl,
                                              change_keep, change_upstream, change_tier,
                                              change_name, change_route,    change_negative};
    uint32_t hashes[SB_ARRAY_SIZE(changes)];
    for (size_t i = 0; i < SB_ARRAY_SIZE(changes); i++) {
        hashes[i] = hash_with(changes[i]);
        assert_int_equal(hashes[i], hash_with(changes[i]));
        for (size_t j = 0; j < i; j++)
            assert_int_not_equal(hashes[i], hashes[j]);
    }
    assert_int_equal(hash_with(change_log), hashes[0]);
}

static void references_are_counted(void **state)
{
    (void)state;
    sb_settings *s = fresh(NULL);
    assert_int_equal(sb_settings_freeze(s, NULL), SB_OK);
    assert_ptr_equal(sb_settings_ref(s), s);
    sb_settings_unref(s);
    assert_true(s->frozen); /* still there: ASan would know */
    sb_settings_unref(s);
    sb_settings_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_manual),
        cmocka_unit_test(paths_follow_the_user),
        cmocka_unit_test(the_environment_overrides),
        cmocka_unit_test(empty_variables_count_as_absent),
        cmocka_unit_test(good_values_at_the_edge),
        cmocka_unit_test(bad_values_are_named),
        cmocka_unit_test(a_sentence_shows_no_password),
        cmocka_unit_test(lists_are_bounded),
        cmocka_unit_test(a_literal_needs_no_fallback),
        cmocka_unit_test(a_fallback_of_no_host_is_a_warning),
        cmocka_unit_test(a_configured_mlflow_stays),
        cmocka_unit_test(who_may_ask_must_be_said),
        cmocka_unit_test(cross_field_rules),
        cmocka_unit_test(own_addresses_are_no_upstreams),
        cmocka_unit_test(bad_socket_paths),
        cmocka_unit_test(routes_are_ordered_and_have_views),
        cmocka_unit_test(name_rules_are_ordered_and_merged),
        cmocka_unit_test(the_hash_is_of_what_decides_answers),
        cmocka_unit_test(references_are_counted),
    };
    return cmocka_run_group_tests_name("core_settings", tests, NULL, NULL);
}
