/* The configuration file: every key, every kind of error with its line, column and path, near
 * names, and the packaged example. */
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
#include "conf/yaml.h"

static const char *get_nothing(void *context, const char *name)
{
    (void)context;
    (void)name;
    return NULL;
}

static sb_settings *fresh(void)
{
    sb_settings *s = NULL;
    assert_int_equal(sb_settings_new(get_nothing, NULL, false, &s), SB_OK);
    return s;
}

static sb_status load(sb_settings *s, const char *text, sb_why *why)
{
    return sb_conf_load((const uint8_t *)text, strlen(text), "t.yaml", s, why);
}

/* Settings of a good file, frozen. */
static sb_settings *good(const char *text)
{
    sb_settings *s = fresh();
    sb_why why = {""};
    if (load(s, text, &why) != SB_OK || sb_settings_freeze(s, &why) != SB_OK)
        fail_msg("%s\nfor:\n%s", why.text, text);
    return s;
}

/* The file is refused with a sentence that begins so. */
static void refused(const char *text, const char *beginning)
{
    sb_settings *s = fresh();
    sb_why why = {""};
    sb_status status = load(s, text, &why);
    if (status == SB_OK)
        fail_msg("passed:\n%s", text);
    if (strncmp(why.text, beginning, strlen(beginning)) != 0)
        fail_msg("expected: %s\n     got: %s", beginning, why.text);
    sb_settings_unref(s);
}

static void assert_addr(const sb_addr *addr, const char *expected)
{
    char text[SB_ADDR_TEXT_MAX];
    assert_string_equal(addr->port ? sb_addr_text_port(addr, text) : sb_addr_text(addr, text),
                        expected);
}

static void assert_name(const sb_name *name, const char *expected)
{
    char text[SB_NAME_TEXT_MAX];
    assert_string_equal(sb_name_text(name, text), expected);
}

/* --- what is understood --- */

static void listen_section(void **state)
{
    (void)state;
    sb_settings *s = good("listen:\n"
                          "  dns: [127.0.0.1:5300, \"[::1]:5301\", 10.0.0.1]\n"
                          "  http: 127.0.0.2\n"
                          "  http_hosts: [Dash.example]\n"
                          "  socket: /run/x/y.sock\n"
                          "  workers: 3\n"
                          "  allow: [10.0.0.0/8, \"::1\"]\n"
                          "  control: group:adm\n");
    assert_int_equal(s->listen.dns_count, 3);
    assert_addr(&s->listen.dns[1], "[::1]:5301");
    assert_addr(&s->listen.dns[2], "10.0.0.1:53");
    assert_false(s->listen.dns_default);
    assert_addr(&s->listen.http, "127.0.0.2:8053");
    assert_int_equal(s->listen.http_host_count, 1);
    assert_string_equal(s->listen.http_hosts[0], "dash.example");
    assert_string_equal(s->listen.socket, "/run/x/y.sock");
    assert_string_equal(s->listen.control, "/run/x/stubborn.ctl");
    assert_int_equal(s->listen.workers, 3);
    assert_true(s->listen.allow_given);
    assert_int_equal(s->listen.allow_count, 2);
    assert_int_equal(s->listen.allow[0].bits, 8);
    assert_int_equal(s->listen.allow[1].bits, 128);
    assert_string_equal(s->listen.control_group, "adm");
    sb_settings_unref(s);

    s = good("listen: {dns: [], http: false, socket: off, workers: auto, control: user}");
    assert_int_equal(s->listen.dns_count, 0);
    assert_false(s->listen.dns_default);
    assert_false(s->listen.http_on);
    assert_string_equal(s->listen.socket, "");
    assert_int_equal(s->listen.workers, -1);
    assert_null(s->listen.control_group);
    sb_settings_unref(s);
    s = good("listen: {http: true}");
    assert_true(s->listen.http_on);
    assert_addr(&s->listen.http, "127.0.0.1:8053");
    sb_settings_unref(s);
}

static void upstreams_section(void **state)
{
    (void)state;
    sb_settings *s = good("upstreams:\n"
                          "  - 10.0.0.2\n"
                          "  - {address: 10.0.0.3:5353, tier: 1, name: second, trust_ad: auto}\n"
                          "  - {name: third, address: \"tls://10.0.0.4#dns.example\", tier: 2,\n"
                          "     trust_ad: yes}\n"
                          "  - {address: \"::1\", tier: 3, trust_ad: false}\n");
    assert_int_equal(s->upstream_count, 4);
    assert_false(s->upstreams_equal);
    assert_addr(&s->upstreams[0].addr, "10.0.0.2:53");
    assert_int_equal(s->upstreams[0].origin.line, 2);
    assert_int_equal(s->upstreams[0].origin.column, 5);
    assert_string_equal(s->upstreams[0].origin.file, "t.yaml");
    assert_string_equal(s->upstreams[1].name, "second");
    assert_int_equal(s->upstreams[1].tier, 1);
    assert_int_equal(s->upstreams[1].trust_ad, SB_TRUST_AUTO);
    assert_string_equal(s->upstreams[2].name, "third");
    assert_string_equal(s->upstreams[2].tls_name, "dns.example");
    assert_int_equal(s->upstreams[2].trust_ad, SB_TRUST_YES);
    assert_int_equal(s->upstreams[3].trust_ad, SB_TRUST_NO);
    assert_string_equal(s->upstreams[3].name, "::1");
    sb_settings_unref(s);
    s = good("upstreams: [10.0.0.2, 10.0.0.3]");
    assert_true(s->upstreams_equal);
    sb_settings_unref(s);
}

static void routes_section(void **state)
{
    (void)state;
    sb_settings *s =
        good("routes:\n"
             "  - {suffix: Consul, upstreams: [127.0.0.1:8600, {address: \"::1\"}]}\n"
             "  - {suffix: a.local., strategies: [mdns-native, mdns-multicast, guess]}");
    assert_int_equal(s->route_count, 2);
    assert_name(&s->routes[0].suffix, "a.local");
    assert_int_equal(s->routes[0].strategies, 1U << SB_STRATEGY_MDNS_NATIVE |
                                                  1U << SB_STRATEGY_MDNS_MULTICAST |
                                                  1U << SB_STRATEGY_GUESS);
    assert_name(&s->routes[1].suffix, "consul");
    assert_int_equal(s->routes[1].server_count, 2);
    assert_addr(&s->routes[1].servers[0].addr, "127.0.0.1:8600");
    assert_int_equal(s->routes[1].origin.line, 2);
    sb_settings_unref(s);
}

static void query_and_cache_sections(void **state)
{
    (void)state;
    sb_settings *s = good("query:\n"
                          "  timeout: 2500ms\n"
                          "  attempts: 3\n"
                          "  hedge_budget: 5%\n"
                          "  refresh_rate: 7\n"
                          "  doubt_window: 1m\n"
                          "  search: [Corp.example]\n"
                          "  ndots: 2\n"
                          "  family: ipv6-only\n"
                          "cache:\n"
                          "  file: /var/x/c.l1\n"
                          "  size: 1MiB\n"
                          "  share: group:dns\n"
                          "  ttl_min: 1s\n"
                          "  ttl_max: 10m\n"
                          "  negative_ttl_max: 20s\n"
                          "  stale: {keep: 7d, answer_ttl: 5s, patience: 300ms, recheck: 10s}\n"
                          "  prefetch: 0%\n"
                          "  warm: [api.example.com]\n");
    assert_int_equal(s->query.timeout, 2500 * SB_MS);
    assert_int_equal(s->query.attempts, 3);
    assert_int_equal(s->query.hedge_permille, 50);
    assert_int_equal(s->query.refresh_rate, 7);
    assert_int_equal(s->query.doubt_window, 60 * SB_S);
    assert_true(s->query.search_given);
    assert_name(&s->query.search[0], "corp.example");
    assert_int_equal(s->query.ndots, 2);
    assert_true(s->query.ndots_given);
    assert_int_equal(s->query.family, SB_ONLY_6);
    assert_string_equal(s->cache.file, "/var/x/c.l1");
    assert_int_equal(s->cache.size_bytes, 1 << 20);
    assert_int_equal(s->cache.share, SB_SHARE_GROUP);
    assert_string_equal(s->cache.share_group, "dns");
    assert_int_equal(s->cache.ttl_min_s, 1);
    assert_int_equal(s->cache.ttl_max_s, 600);
    assert_int_equal(s->cache.negative_ttl_max_s, 20);
    assert_int_equal(s->cache.keep, 7 * 86400 * SB_S);
    assert_int_equal(s->cache.stale_ttl_s, 5);
    assert_int_equal(s->cache.patience, 300 * SB_MS);
    assert_int_equal(s->cache.recheck, 10 * SB_S);
    assert_int_equal(s->cache.prefetch_permille, 0);
    assert_name(&s->cache.warm[0], "api.example.com");
    sb_settings_unref(s);
}

static void words_of_query_and_cache(void **state)
{
    (void)state;
    sb_settings *s;
    static const struct {
        const char *text;
        sb_share share;
    } shares[] = {{"cache: {share: off}", SB_SHARE_OFF},
                  {"cache: {share: user}", SB_SHARE_USER},
                  {"cache: {share: all}", SB_SHARE_ALL},
                  {"cache: {share: false}", SB_SHARE_OFF}};
    for (size_t i = 0; i < SB_ARRAY_SIZE(shares); i++) {
        s = good(shares[i].text);
        assert_int_equal(s->cache.share, shares[i].share);
        assert_null(s->cache.share_group);
        sb_settings_unref(s);
    }
    s = good("cache: {file: false, stale: {patience: auto}}");
    assert_string_equal(s->cache.file, "");
    assert_int_equal(s->cache.patience, -1);
    sb_settings_unref(s);
    static const char *const families[] = {"ipv4-first", "ipv6-first", "ipv4-only", "ipv6-only",
                                           "rfc6724"};
    for (unsigned i = 0; i < SB_ARRAY_SIZE(families); i++) {
        char text[64];
        (void)snprintf(text, sizeof(text), "query: {family: %s}", families[i]);
        s = good(text);
        assert_int_equal(s->query.family, i);
        sb_settings_unref(s);
    }
}

static void names_section(void **state)
{
    (void)state;
    sb_settings *s = good("names:\n"
                          "  - match: Mlflow.Hokusai-development.local\n"
                          "    emergency: [10.0.1.221, \"2001:db8::1\"]\n"
                          "    protect: true\n"
                          "    protect_confirm: 10m\n"
                          "    protect_max: 24h\n"
                          "    ttl_min: 1s\n"
                          "    ttl_max: 60s\n"
                          "    stale: {keep: 7d}\n"
                          "    family: ipv4-only\n"
                          "    probe: {tcp: 5000, every: 20s}\n"
                          "  - {match: '*.example', probe: {http: \"http://x.example/health\"}}\n"
                          "  - {match: b.example, probe: {grpc: 50051}}\n"
                          "  - {match: c.example, probe: {ping: true}}\n"
                          "  - {match: '*.'}\n");
    assert_int_equal(s->name_count, 5);
    const sb_name_setting *rule = &s->names[0];
    assert_name(&rule->match, "mlflow.hokusai-development.local");
    assert_false(rule->below);
    assert_int_equal(rule->emergency_count, 2);
    assert_addr(&rule->emergency[1], "2001:db8::1");
    assert_true(rule->protect && rule->has_protect && rule->has_ttl_max && rule->has_ttl_min &&
                rule->has_keep && rule->has_family && rule->has_confirm && rule->has_max);
    assert_int_equal(rule->protect_confirm, 600 * SB_S);
    assert_int_equal(rule->protect_max, 86400 * SB_S);
    assert_int_equal(rule->ttl_min_s, 1);
    assert_int_equal(rule->ttl_max_s, 60);
    assert_int_equal(rule->keep, 7 * 86400 * SB_S);
    assert_int_equal(rule->family, SB_ONLY_4);
    assert_int_equal(rule->probe.kind, SB_PROBE_TCP);
    assert_int_equal(rule->probe.port, 5000);
    assert_int_equal(rule->probe.every, 20 * SB_S);
    assert_int_equal(rule->origin.line, 2);
    assert_int_equal(rule->origin.column, 5);
    assert_int_equal(s->names[1].probe.kind, SB_PROBE_GRPC);
    assert_int_equal(s->names[1].probe.every, 10 * SB_S);
    assert_int_equal(s->names[2].probe.kind, SB_PROBE_PING);
    assert_false(s->names[2].has_protect || s->names[2].has_ttl_max || s->names[2].has_keep);
    assert_true(s->names[3].below);
    assert_name(&s->names[3].match, "example");
    assert_string_equal(s->names[3].probe.url, "http://x.example/health");
    assert_true(s->names[4].below); /* every name */
    assert_name(&s->names[4].match, ".");
    sb_settings_unref(s);
}

static void other_sections(void **state)
{
    (void)state;
    sb_settings *s =
        good("services:\n"
             "  - {name: mlflow, uri: \"http://mlflow.example:5000\",\n"
             "     probe: {http: /health, every: 10s}, required: true}\n"
             "  - {name: db, uri: \"db.example:5432\", probe: {tcp: 5432}}\n"
             "shared: {redis: \"redis://127.0.0.1:6379/0\", prefix: sb,\n"
             "         secret_file: /etc/stubborn/shared.key, budget: 7ms}\n"
             "mdns: {interfaces: [eth0, wlan0], timeout: 2s, guess: true}\n"
             "health: {window: 30s, degraded: 5%, unhealthy: 50.5%,\n"
             "         alert: {after: 2, command: [/bin/true, \"-x\"], webhook: \"https://h/x\"}}\n"
             "log: {level: {default: warn, upstream: debug}, format: json, to: journald}\n");
    assert_int_equal(s->service_count, 2);
    assert_string_equal(s->services[0].uri, "http://mlflow.example:5000");
    assert_int_equal(s->services[0].probe.kind, SB_PROBE_HTTP);
    assert_string_equal(s->services[0].probe.url, "/health");
    assert_true(s->services[0].required);
    assert_false(s->services[1].required);
    assert_int_equal(s->services[1].probe.port, 5432);
    assert_int_equal(s->services[1].origin.line, 4);
    assert_string_equal(s->shared.redis, "redis://127.0.0.1:6379/0");
    assert_string_equal(s->shared.prefix, "sb");
    assert_string_equal(s->shared.secret_file, "/etc/stubborn/shared.key");
    assert_int_equal(s->shared.budget, 7 * SB_MS);
    assert_string_equal(s->mdns.interfaces, "eth0,wlan0");
    assert_int_equal(s->mdns.timeout, 2 * SB_S);
    assert_true(s->mdns.guess);
    assert_int_equal(s->health.window_s, 30);
    assert_int_equal(s->health.degraded_permille, 50);
    assert_int_equal(s->health.unhealthy_permille, 505);
    assert_int_equal(s->health.alert_after, 2);
    assert_int_equal(s->health.alert_command_count, 2);
    assert_string_equal(s->health.alert_command[1], "-x");
    assert_string_equal(s->health.alert_webhook, "https://h/x");
    assert_int_equal(s->log.level, SB_LOG_WARN);
    assert_int_equal(s->log.levels[SB_LOG_UPSTREAM], SB_LOG_DEBUG);
    assert_int_equal(s->log.levels[SB_LOG_CACHE], -1);
    assert_true(s->log.json);
    assert_string_equal(s->log.to, "journald");
    sb_settings_unref(s);
    s = good(
        "log: {level: trace, format: logfmt, to: stderr}\nmdns: {interfaces: auto}\n"
        "shared: {redis: \"\", secret_file: false}\nhealth: {alert: {command: [], webhook: \"\"}}");
    assert_int_equal(s->log.level, SB_LOG_TRACE);
    assert_string_equal(s->mdns.interfaces, "auto");
    assert_string_equal(s->shared.redis, "");
    assert_int_equal(s->health.alert_command_count, 0);
    sb_settings_unref(s);
}

static void what_has_no_effect_is_named(void **state)
{
    (void)state;
    sb_settings *s = good("health: {window: 60s, alert: {after: 3}}\n"
                          "shared:\n  prefix: x\n"
                          "names: [{match: a.example, probe: {ping: true}, protect: true}]\n"
                          "routes: [{suffix: b, strategies: [pin, hosts, cached]},\n"
                          "         {suffix: c, strategies: [guess]}]\n"
                          "log: {format: json, to: journald}\n");
    static const char *const wanted[] = {"t.yaml:1:23: health.alert: ",
                                         "t.yaml:2:1: shared: ",
                                         "t.yaml:4:36: names[0].probe.ping: ",
                                         "t.yaml:5:34: routes[0].strategies: only wire",
                                         "t.yaml:6:34: routes[1].strategies: not all",
                                         "log.format: json",
                                         "log.to: journald"};
    assert_int_equal(s->warning_count, SB_ARRAY_SIZE(wanted));
    for (size_t i = 0; i < SB_ARRAY_SIZE(wanted); i++)
        if (!strstr(s->warnings[i], wanted[i]))
            fail_msg("%s", s->warnings[i]);
    sb_settings_unref(s);
    s = good("query: {attempts: 3, hedge_budget: 5%, refresh_rate: 5, doubt_window: 5m}\n"
             "cache: {prefetch: 20%, warm: [a.example]}\n"
             "names: [{match: a.example, protect: true, protect_confirm: 1m, protect_max: 1h}]\n"
             "routes: [{suffix: b, strategies: [pin, hosts, cached, doubt, stale, emergency]}]\n"
             "log: {format: logfmt, to: stderr}\nshared:\n");
    assert_int_equal(s->warning_count, 0);
    sb_settings_unref(s);
}

static void empty_files_and_sections_change_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "\n# nothing\n",
        "---\n...\n",
        "~",
        "{}",
        ("listen:\nupstreams:\nroutes:\nquery:\ncache:\nnames:\nservices:\nshared:\nmdns:\n"
         "health:\nlog:\n"),
        "cache: {stale: }\nhealth: {alert: }\nlisten: {dns: , allow: }\nquery: {search: }\n",
        "\xef\xbb\xbf{}", /* a byte order mark */
    };
    sb_settings *plain = good("");
    for (size_t i = 0; i < SB_ARRAY_SIZE(texts); i++) {
        sb_settings *s = good(texts[i]);
        assert_int_equal(s->hash, plain->hash);
        assert_true(s->listen.dns_default);
        assert_false(s->listen.allow_given || s->query.search_given);
        sb_settings_unref(s);
    }
    sb_settings_unref(plain);
}

static void anchors_are_understood(void **state)
{
    (void)state;
    sb_settings *s = good("names:\n"
                          "  - {match: a.example, emergency: &ips [10.0.0.1]}\n"
                          "  - {match: b.example, emergency: *ips}\n");
    assert_addr(&s->names[1].emergency[0], "10.0.0.1");
    sb_settings_unref(s);
}

/* --- what is refused --- */

static void unknown_keys_name_the_near_one(void **state)
{
    (void)state;
    refused("cache:\n  tll_max: 5s\n",
            "t.yaml:2:3: cache.tll_max: unknown key; did you mean ttl_max?");
    refused("lsten: {}", "t.yaml:1:1: lsten: unknown key; did you mean listen?");
    refused("query: {atempts: 1}",
            "t.yaml:1:9: query.atempts: unknown key; did you mean attempts?");
    refused("query: {tmieout: 1s}",
            "t.yaml:1:9: query.tmieout: unknown key; did you mean timeout?");
    refused("query: {TIMEOUT: 1s}",
            "t.yaml:1:9: query.TIMEOUT: unknown key; did you mean timeout?");
    refused("a: 1", "t.yaml:1:1: a: unknown key; known here: listen, upstreams, routes, query");
    refused("names:\n  - match: a\n    emergncy: []\n",
            "t.yaml:3:5: names[0].emergncy: unknown key; did you mean emergency?");
    refused("upstreams: [1.1.1.1, {adress: x}]",
            "t.yaml:1:23: upstreams[1].adress: unknown key; did you mean address?");
    refused("log: {level: {upstraem: debug}}",
            "t.yaml:1:15: log.level.upstraem: unknown key; did you mean upstream?");
    refused("health: {alert: {weebhook: x}}",
            "t.yaml:1:18: health.alert.weebhook: unknown key; did you mean webhook?");
    refused("\"a\\nb\": 1", "t.yaml:1:1: \"a\\x0ab\": unknown key; known here");
    refused("<<: {}", "t.yaml:1:1: <<: unknown key");
}

static void duplicate_keys(void **state)
{
    (void)state;
    refused("cache:\n  size: 1MiB\n  size: 2MiB\n",
            "t.yaml:3:3: cache.size: the key is there twice (first on line 2)");
    refused("log: {}\nquery: {}\nlog: {}\n", "t.yaml:3:1: log: the key is there twice");
    refused("log:\nlog:\n", "t.yaml:2:1: log: the key is there twice");
    refused("names: [{match: a, match: b}]",
            "t.yaml:1:20: names[0].match: the key is there twice (first on line 1)");
}

static void wrong_types(void **state)
{
    (void)state;
    refused("[]", "t.yaml:1:1: keys with values are expected (a mapping)");
    refused("hello", "t.yaml:1:1: keys with values are expected (a mapping)");
    refused("cache: [1]", "t.yaml:1:8: cache: keys with values are expected (a mapping)");
    refused("cache: 5", "t.yaml:1:8: cache: keys with values are expected (a mapping)");
    refused("cache: {size: [1]}", "t.yaml:1:15: cache.size: a size is expected, not a list");
    refused("cache: {size: {}}", "t.yaml:1:15: cache.size: a size is expected, not a mapping");
    refused("listen: {dns: 127.0.0.1:53}", "t.yaml:1:15: listen.dns: a list is expected: [a, b]");
    refused("names: {}", "t.yaml:1:8: names: a list is expected");
    refused("names: [a]", "t.yaml:1:9: names[0]: keys with values are expected");
    refused("query: {attempts: }", "t.yaml:1:19: query.attempts: a value is missing");
    refused("query: {attempts: ~}", "t.yaml:1:19: query.attempts: a value is missing");
    refused("upstreams: [10.0.0.1, ~]", "t.yaml:1:23: upstreams[1]: a value is missing");
    refused("query: {attempts: many}", "t.yaml:1:19: query.attempts: many is not a whole number");
    refused("query: {attempts: 2.5}", "t.yaml:1:19: query.attempts: 2.5 is not a whole number");
    refused("mdns: {guess: maybe}", "t.yaml:1:15: mdns.guess: true or false is expected");
    refused("mdns: {guess: \"true\"}", "t.yaml:1:15: mdns.guess: true or false is expected");
    refused("{[a]: 1}", "t.yaml:1:2: a key is expected, not a list");
}

static void tags_are_refused(void **state)
{
    (void)state;
    refused("query: {attempts: !!int 5}",
            "t.yaml:1:19: query.attempts: a number is expected without a tag");
    refused("query: !x {attempts: 5}", "t.yaml:1:8: query: keys with values are expected");
    refused("upstreams: !x []", "t.yaml:1:12: upstreams: a list is expected");
}

static void values_out_of_range(void **state)
{
    (void)state;
    refused("query: {attempts: 0}", "t.yaml:1:19: query.attempts: 0 is not within 1 and 32");
    refused("query: {attempts: 33}", "t.yaml:1:19: query.attempts: 33 is not within 1 and 32");
    refused("query: {ndots: 16}", "t.yaml:1:16: query.ndots: 16 is not within 0 and 15");
    refused("query: {timeout: 0s}", "t.yaml:1:18: query.timeout: 0s is not within 1ms and 1h");
    refused("query: {timeout: 2h}", "t.yaml:1:18: query.timeout: 2h is not within 1ms and 1h");
    refused("query: {timeout: 10}", "t.yaml:1:18: query.timeout: 10 is not a duration such as");
    refused("query: {doubt_window: 25h}",
            "t.yaml:1:23: query.doubt_window: 25h is not within 0s and 1d");
    refused("cache: {ttl_max: 366d}", "t.yaml:1:18: cache.ttl_max: 366d is not within 0s and 365d");
    refused("cache: {ttl_max: 1500ms}", "t.yaml:1:18: cache.ttl_max: whole seconds are expected");
    refused("cache: {stale: {patience: 1801ms}}",
            "t.yaml:1:27: cache.stale.patience: 1801ms is not within 0s and 1800ms");
    refused("cache: {stale: {keep: 366d}}", "t.yaml:1:23: cache.stale.keep: 366d is not within");
    refused("cache: {size: 63KiB}", "t.yaml:1:15: cache.size: 63KiB is not within 64KiB and 64GiB");
    refused("cache: {size: 65GiB}", "t.yaml:1:15: cache.size: 65GiB is not within");
    refused("cache: {size: big}", "t.yaml:1:15: cache.size: big is not a size such as");
    refused("cache: {prefetch: 91%}", "t.yaml:1:19: cache.prefetch: 91% is not within 0% and 90%");
    refused("cache: {prefetch: 10}", "t.yaml:1:19: cache.prefetch: 10 is not a percentage");
    refused("health: {window: 3601s}", "t.yaml:1:18: health.window: 3601s is not within 1s and 1h");
    refused("listen: {workers: 65}", "t.yaml:1:19: listen.workers: 65 is not within 0 and 64");
    refused("listen: {workers: -1}", "t.yaml:1:19: listen.workers: -1 is not a whole number");
    refused("names: [{match: a, probe: {tcp: 0}}]",
            "t.yaml:1:33: names[0].probe.tcp: 0 is not within 1 and 65535");
    refused("names: [{match: a, probe: {tcp: 65536}}]", "t.yaml:1:33: names[0].probe.tcp: 65536");
    refused("shared: {budget: 2s}", "t.yaml:1:18: shared.budget: 2s is not within 1ms and 1s");
}

static void bad_addresses_and_names(void **state)
{
    (void)state;
    refused("listen: {dns: [localhost:53]}",
            "t.yaml:1:16: listen.dns[0]: localhost:53 is not an IP address");
    refused("listen: {dns: [\"127.0.0.1:0\"]}",
            "t.yaml:1:16: listen.dns[0]: 127.0.0.1:0 has port 0");
    refused("listen: {http: 5}", "t.yaml:1:16: listen.http: 5 is not an IP address");
    refused("listen: {allow: [10.0.0.1/8]}",
            "t.yaml:1:18: listen.allow[0]: 10.0.0.1/8 is not a network");
    refused("listen: {socket: x.sock}",
            "t.yaml:1:18: listen.socket: x.sock is not the absolute path");
    refused("listen: {control: root}", "t.yaml:1:19: listen.control: root is neither user nor");
    refused("listen: {control: \"group:\"}", "t.yaml:1:19: listen.control: group: names no group");
    refused("listen: {http_hosts: [a b]}", "t.yaml:1:23: listen.http_hosts[0]: \"a b\": ");
    refused("upstreams: [dns.example]",
            "t.yaml:1:13: upstreams[0]: server dns.example is not an IP address");
    refused("upstreams: [{tier: 1}]", "t.yaml:1:13: upstreams[0]: the key address is missing");
    refused("upstreams: [{address: 10.0.0.1, trust_ad: sometimes}]",
            "t.yaml:1:43: upstreams[0].trust_ad: sometimes is none of auto, true, false");
    refused("routes: [{suffix: a..b, upstreams: [10.0.0.1]}]", "t.yaml:1:19: routes[0].suffix: ");
    refused("routes: [{upstreams: [10.0.0.1]}]",
            "t.yaml:1:10: routes[0]: the key suffix is missing");
    refused("routes: [{suffix: a}]", "t.yaml:1:10: routes[0]: the route has neither");
    refused("routes: [{suffix: a, upstreams: [x]}]",
            "t.yaml:1:34: routes[0].upstreams[0]: server x is not");
    refused("routes: [{suffix: a, strategies: [mdns]}]",
            "t.yaml:1:35: routes[0].strategies[0]: mdns is none of pin, hosts, cached, wire");
    refused("routes: [{suffix: a, strategies: [stael]}]",
            "t.yaml:1:35: routes[0].strategies[0]: stael is none of pin, hosts");
    refused("query: {search: ['*.x']}", "t.yaml:1:18: query.search[0]: *.x has a star");
    refused("query: {family: ipv4}", "t.yaml:1:17: query.family: ipv4 is none of ipv4-first");
    refused("query: {family: ipv4-frist}",
            "t.yaml:1:17: query.family: ipv4-frist is none of ipv4-first, ipv6-first, ipv4-only, "
            "ipv6-only, rfc6724; did you mean ipv4-first?");
    refused("cache: {warm: [a..b]}", "t.yaml:1:16: cache.warm[0]: a..b: ");
    refused("cache: {share: everybody}",
            "t.yaml:1:16: cache.share: everybody is none of off, user");
    refused("cache: {share: \"group:NAME NAME\"}",
            "t.yaml:1:16: cache.share: \"group:NAME NAME\" names");
    refused("cache: {file: c.l1}", "t.yaml:1:15: cache.file: c.l1 is not the absolute path");
    refused("log: {level: loud}", "t.yaml:1:14: log.level: loud is none of error, warn, info");
    refused(
        "log: {level: degub}",
        "t.yaml:1:14: log.level: degub is none of error, warn, info, debug, trace; did you mean "
        "debug?");
    refused("log: {format: xml}", "t.yaml:1:15: log.format: xml is none of logfmt, json");
    refused("log: {to: syslog}", "t.yaml:1:11: log.to: syslog is none of stderr, journald");
}

static void bad_rules_and_services(void **state)
{
    (void)state;
    refused("names: [{ttl_max: 5s}]", "t.yaml:1:9: names[0]: the key match is missing");
    refused("names: [{match: 'a.*.b'}]",
            "t.yaml:1:17: names[0].match: a.*.b: a star is understood");
    refused("names: [{match: 10.0.0.1}]", "t.yaml:1:17: names[0].match: 10.0.0.1: an address");
    refused("names: [{match: a, emergency: [x]}]",
            "t.yaml:1:32: names[0].emergency[0]: x is not the IP address of a host");
    refused("names: [{match: a, emergency: [0.0.0.0]}]", "t.yaml:1:32: names[0].emergency[0]: ");
    refused("names: [{match: a, emergency: ['ff02::1']}]", "t.yaml:1:32: names[0].emergency[0]: ");
    refused("names: [{match: a, emergency: [255.255.255.255]}]",
            "t.yaml:1:32: names[0].emergency[0]: ");
    refused("names: [{match: localhost, emergency: [10.0.0.1]}]",
            "t.yaml:1:39: names[0].emergency: localhost is always this machine");
    refused("names: [{emergency: [10.0.0.1], match: '*.LocalHost.'}]",
            "t.yaml:1:21: names[0].emergency: localhost is always this machine");
    refused("upstreams: [255.255.255.255]", "t.yaml:1:13: upstreams[0]: ");
    refused("upstreams: [10.0.0.1, 224.0.0.1]", "t.yaml:1:23: upstreams[1]: ");
    refused("upstreams: ['[ff02::fb]:5353']", "t.yaml:1:13: upstreams[0]: ");
    refused("upstreams: ['fe80::1']",
            "t.yaml:1:13: upstreams[0]: server fe80::1 is link-local and");
    refused("names:\n  - match: a\n    emergency: [10.0.0.1]\n    protect: false\n",
            "t.yaml:4:14: names[0].protect: false contradicts emergency");
    refused("names: [{match: a, ttl_max: 1s, ttl_min: 2s}]",
            "t.yaml:1:42: names[0].ttl_min: ttl_min (2s) is above ttl_max (1s)");
    refused("names: [{match: a, protect_confirm: 2h, protect_max: 1h}]",
            "t.yaml:1:37: names[0].protect_confirm: ");
    refused("names: [{match: a, probe: {}}]",
            "t.yaml:1:27: names[0].probe: one of tcp, http, grpc");
    refused("names: [{match: a, probe: {every: 5s}}]", "t.yaml:1:27: names[0].probe: one of tcp");
    refused("names: [{match: a, probe: {ping: false}}]", "t.yaml:1:27: names[0].probe: one of tcp");
    refused("names: [{match: a, probe: {tcp: 1, grpc: 2}}]",
            "t.yaml:1:42: names[0].probe.grpc: only one of");
    refused("names: [{match: a, probe: {http: /health}}]",
            "t.yaml:1:34: names[0].probe.http: a URL that begins with");
    refused("services: [{name: a}]", "t.yaml:1:12: services[0]: the key uri is missing");
    refused("services: [{uri: a}]", "t.yaml:1:12: services[0]: the key name is missing");
    refused("services: [{name: a, uri: 'http://'}]", "t.yaml:1:27: services[0].uri: ");
    refused("services: [{name: 'a b', uri: a}]",
            "t.yaml:1:19: services[0].name: \"a b\" is not a word");
    refused("services: [{name: a, uri: a, probe: {http: health}}]",
            "t.yaml:1:44: services[0].probe.http: a URL that begins with");
    refused("services: [{name: a, uri: a, probe: {http: '/a b'}}]",
            "t.yaml:1:44: services[0].probe.http: \"/a b\" is not the path");
    refused("shared: {redis: 'http://x'}",
            "t.yaml:1:17: shared.redis: a URL that begins with redis:");
    refused("health: {alert: {webhook: x}}",
            "t.yaml:1:27: health.alert.webhook: a URL that begins");
    refused("health: {alert: {command: [true.sh]}}",
            "t.yaml:1:28: health.alert.command[0]: true.sh is not the absolute path of a program");
    refused("mdns: {interfaces: []}", "t.yaml:1:20: mdns.interfaces: the list is empty");
}

static void no_password_is_shown(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "services: [{name: a, uri: 'http://me:secret@h:99999/'}]",
        "shared: {redis: 'redis://:secret@h:99999/'}",
        "shared: {redis: 'http://:secret@h/'}",
        "health: {alert: {webhook: 'ftp://me:secret@h/'}}",
        "names: [{match: a, probe: {http: 'ftp://me:secret@h/'}}]",
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(texts); i++) {
        sb_settings *s = fresh();
        sb_why why = {""};
        assert_int_equal(load(s, texts[i], &why), SB_INVALID);
        assert_null(strstr(why.text, "secret"));
        sb_settings_unref(s);
    }
}

static void rules_across_keys(void **state)
{
    (void)state;
    refused(
        "listen:\n  dns: [127.0.0.1:53, 0.0.0.0:53]\n",
        "t.yaml:2:23: listen.dns[1]: not a loopback address: listen.allow must say who may ask");
    refused("listen:\n  dns:\n    - 127.0.0.1\n    - 127.0.0.1:53\n",
            "t.yaml:4:7: listen.dns[1]: the address is there twice");
    refused("cache: {ttl_min: 10m}",
            "t.yaml:1:18: cache.ttl_min: ttl_min (600s) is above ttl_max (300s)");
    refused("health: {degraded: 80%}",
            "t.yaml:1:20: health.degraded: degraded (80.0%) is above unhealthy (70.0%)");
    refused("health: {unhealthy: 5%}", "t.yaml:1:21: health.unhealthy: degraded (10.0%) is above");
    sb_settings *s = good("listen: {dns: [0.0.0.0:53], allow: [10.0.0.0/8]}");
    sb_settings_unref(s);
    /* What only freeze can see keeps its place. */
    s = fresh();
    sb_why why = {""};
    assert_int_equal(load(s, "upstreams:\n  - 10.0.0.1\n  - 10.0.0.1\n", &why), SB_OK);
    assert_int_equal(sb_settings_freeze(s, &why), SB_INVALID);
    assert_string_equal(why.text, "t.yaml:3:5: upstreams[1]: 10.0.0.1:53 is there twice");
    sb_settings_unref(s);
}

static void bad_syntax(void **state)
{
    (void)state;
    refused("cache: {size: 1MiB", "t.yaml:2:1: not YAML: did not find expected ',' or '}'");
    refused("cache:\n\tsize: 1\n", "t.yaml:2:1: not YAML: found character that cannot start");
    refused("names: [{match: *x}]", "t.yaml:1:17: not YAML: found undefined alias");
    refused("cache:\n  size: \"1\xff\"\n", "t.yaml:2:11: not YAML: ");
    refused("a: \x01", "t.yaml:1:4: not YAML: control characters are not allowed");
    refused("cache: {}\n---\nquery: {}\n", "t.yaml:2:1: a second document begins here");
    refused("--- {}\n--- {}\n", "t.yaml:2:1: a second document begins here");
    refused("listen: {socket: \"/a\\0b\"}",
            "t.yaml:1:18: listen.socket: a path is expected without");
}

static void depth_size_and_counts_are_bounded(void **state)
{
    (void)state;
    char deep[4096];
    memset(deep, '[', sizeof(deep));
    deep[sizeof(deep) - 1] = '\0';
    refused(deep, "t.yaml:1:17: nested deeper than 16 levels");
    sb_text text = {0};
    for (unsigned i = 0; i < 70; i++)
        sb_text_add(&text, "- &a%u x\n", i);
    refused(text.data, "t.yaml:65:3: more than 64 anchors");
    sb_text_fini(&text);
    sb_text_add(&text, "upstreams: [");
    for (unsigned i = 1; i <= 65; i++)
        sb_text_add(&text, "10.0.0.%u,", i);
    sb_text_add(&text, "]");
    refused(text.data, "t.yaml:1:12: upstreams: 65 items are too many; at most 64 are taken");
    sb_text_fini(&text);

    size_t size = SB_CONF_SIZE_MAX + 1;
    char *big = sb_alloc(size);
    assert_non_null(big);
    memset(big, '\n', size);
    sb_settings *s = fresh();
    sb_why why = {""};
    assert_int_equal(sb_conf_load((uint8_t *)big, size, "t.yaml", s, &why), SB_LIMIT);
    assert_string_equal(why.text, "t.yaml: larger than 1 MiB");
    assert_int_equal(sb_conf_load((uint8_t *)big, size - 1, "t.yaml", s, &why), SB_OK);
    sb_settings_unref(s);
    sb_free(big);
}

static void an_anchor_within_itself_ends(void **state)
{
    (void)state;
    refused("&a [*a]", "t.yaml:1:1: keys with values are expected");
    refused("cache: &a {stale: *a}", "t.yaml:1:12: cache.stale.stale: unknown key");
}

static const char *get_some(void *context, const char *name)
{
    (void)context;
    if (strcmp(name, "STUBBORN_FALLBACK") == 0)
        return "a.example=10.0.0.1;b.example=10.0.0.2";
    if (strcmp(name, "STUBBORN_SERVERS") == 0)
        return "10.0.0.7,tls://10.0.0.8#x";
    return strcmp(name, "MLFLOW_TRACKING_URI") == 0 ? "http://mlflow.example" : NULL;
}

/* Wherever the memory ends, loading ends with SB_NOMEM and a sentence, and nothing leaks. */
static void memory_may_end_anywhere(void **state)
{
    (void)state;
    static const char text[] =
        "listen: {dns: [127.0.0.1:53], http_hosts: [a], allow: [10.0.0.0/8],"
        " control: 'group:g', socket: /x/y}\n"
        "upstreams: [10.0.0.1, {address: 'tls://10.0.0.2#x', name: n}]\n"
        "routes: [{suffix: c, upstreams: [10.0.0.3], strategies: [wire]}]\n"
        "query: {search: [a]}\ncache: {file: /x/c, warm: [a.b]}\n"
        "names: [{match: a, emergency: [10.0.0.4], probe: {http: 'http://a/'}}]\n"
        "services: [{name: a, uri: b, probe: {http: /x}}]\n"
        "mdns: {interfaces: [a, b]}\n"
        "health: {alert: {command: [/x, y], webhook: 'http://x/'}}\n";
    bool whole = false;
    for (size_t more = 0; !whole; more += 16) {
        sb_settings *s = fresh();
        sb_why why = {""};
        s->arena.limit_bytes = s->arena.used_bytes + more;
        sb_status status = load(s, text, &why);
        if (status == SB_OK) {
            status = sb_settings_env(s, get_some, NULL, &why);
            if (status == SB_OK)
                status = sb_settings_freeze(s, &why);
        }
        if (status != SB_OK && status != SB_NOMEM)
            fail_msg("%zu: %s", more, why.text);
        assert_true(status == SB_OK || why.text[0] != '\0');
        whole = status == SB_OK;
        sb_settings_unref(s);
    }
}

/* --- the packaged example --- */

static char *packaged(void)
{
    const char *root = getenv("SB_SOURCE");
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/packaging/stubborn.yaml", root ? root : ".");
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("%s is not there; run from the source folder or set SB_SOURCE", path);
    static char text[65536];
    size_t size = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[size] = '\0';
    return text;
}

/* Takes the # off the lines that are settings: no blank behind it, or an even number. */
static void uncomment(char *text)
{
    for (char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        size_t blanks = line[0] == '#' ? strspn(line + 1, " ") : 1;
        if (blanks % 2 == 0 && line[1 + blanks] >= 'a' && line[1 + blanks] <= 'z')
            memmove(line, line + 1, strlen(line));
    }
}

static void the_packaged_file_is_the_default(void **state)
{
    (void)state;
    char *text = packaged();
    sb_settings *s = good(text), *plain = good("");
    assert_int_equal(s->hash, plain->hash);
    assert_true(s->listen.dns_default);
    sb_settings_unref(s);

    uncomment(text);
    s = good(text);
    assert_int_equal(s->hash, plain->hash);
    assert_false(s->listen.dns_default);
    assert_int_equal(s->listen.dns_count, plain->listen.dns_count);
    assert_memory_equal(s->listen.dns, plain->listen.dns, 2 * sizeof(sb_addr));
    assert_memory_equal(&s->listen.http, &plain->listen.http, sizeof(sb_addr));
    assert_memory_equal(s->listen.allow, plain->listen.allow, 2 * sizeof(sb_prefix));
    assert_int_equal(s->listen.workers, plain->listen.workers);
    assert_true(s->listen.http_on && s->listen.allow_given && s->query.search_given);
    assert_string_equal(s->listen.socket, "/run/stubborn/stubborn.sock");
    assert_string_equal(s->cache.file, "/var/cache/stubborn/cache.l1");
    assert_int_equal(s->query.timeout, plain->query.timeout);
    assert_int_equal(s->query.attempts, plain->query.attempts);
    assert_int_equal(s->query.hedge_permille, plain->query.hedge_permille);
    assert_int_equal(s->query.refresh_rate, plain->query.refresh_rate);
    assert_int_equal(s->query.doubt_window, plain->query.doubt_window);
    assert_int_equal(s->query.ndots, plain->query.ndots);
    assert_int_equal(s->cache.size_bytes, plain->cache.size_bytes);
    assert_int_equal(s->cache.share, plain->cache.share);
    assert_int_equal(s->cache.patience, plain->cache.patience);
    assert_int_equal(s->cache.recheck, plain->cache.recheck);
    assert_int_equal(s->cache.prefetch_permille, plain->cache.prefetch_permille);
    assert_string_equal(s->shared.redis, plain->shared.redis);
    assert_string_equal(s->shared.prefix, plain->shared.prefix);
    assert_string_equal(s->shared.secret_file, plain->shared.secret_file);
    assert_int_equal(s->shared.budget, plain->shared.budget);
    assert_string_equal(s->mdns.interfaces, plain->mdns.interfaces);
    assert_int_equal(s->mdns.timeout, plain->mdns.timeout);
    assert_int_equal(s->mdns.guess, plain->mdns.guess);
    assert_memory_equal(&s->health.window_s, &plain->health.window_s, sizeof(unsigned));
    assert_int_equal(s->health.degraded_permille, plain->health.degraded_permille);
    assert_int_equal(s->health.unhealthy_permille, plain->health.unhealthy_permille);
    assert_int_equal(s->health.alert_after, plain->health.alert_after);
    assert_string_equal(s->health.alert_webhook, plain->health.alert_webhook);
    assert_int_equal(s->log.level, plain->log.level);
    assert_int_equal(s->log.json, plain->log.json);
    assert_string_equal(s->log.to, plain->log.to);
    sb_settings_unref(s);
    sb_settings_unref(plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listen_section),
        cmocka_unit_test(upstreams_section),
        cmocka_unit_test(routes_section),
        cmocka_unit_test(query_and_cache_sections),
        cmocka_unit_test(words_of_query_and_cache),
        cmocka_unit_test(names_section),
        cmocka_unit_test(other_sections),
        cmocka_unit_test(what_has_no_effect_is_named),
        cmocka_unit_test(empty_files_and_sections_change_nothing),
        cmocka_unit_test(anchors_are_understood),
        cmocka_unit_test(unknown_keys_name_the_near_one),
        cmocka_unit_test(duplicate_keys),
        cmocka_unit_test(wrong_types),
        cmocka_unit_test(tags_are_refused),
        cmocka_unit_test(values_out_of_range),
        cmocka_unit_test(bad_addresses_and_names),
        cmocka_unit_test(bad_rules_and_services),
        cmocka_unit_test(no_password_is_shown),
        cmocka_unit_test(rules_across_keys),
        cmocka_unit_test(bad_syntax),
        cmocka_unit_test(depth_size_and_counts_are_bounded),
        cmocka_unit_test(an_anchor_within_itself_ends),
        cmocka_unit_test(memory_may_end_anywhere),
        cmocka_unit_test(the_packaged_file_is_the_default),
    };
    return cmocka_run_group_tests_name("conf_yaml", tests, NULL, NULL);
}
