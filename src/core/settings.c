/* The life of settings: defaults and references, and the names of their choices.
 *
 * Never reads the environment by itself, a file or a clock. Built by one thread, read by any. */
#include "core/settings.h"

#include <stdatomic.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"

enum {
    DNS_LISTEN_PORT = 5300, /* unprivileged, and not mDNS's 5353 */
    HTTP_PORT = 8053,
};
/* 1 MiB of YAML holds at most some 80,000 name rules of 0.5 KiB each. */
#define ARENA_LIMIT_BYTES ((size_t)64 << 20)

static bool default_paths(sb_settings *s, sb_getenv *get, void *context, bool is_root);
static void default_numbers(sb_settings *s);
static sb_status default_lists(sb_settings *s);

sb_status sb_settings_new(sb_getenv *get, void *context, bool is_root, sb_settings **ret)
{
    sb_settings *s = sb_new(sb_settings);
    if (!s)
        return SB_NOMEM;
    atomic_init(&s->refs, 1);
    sb_arena_init(&s->arena, ARENA_LIMIT_BYTES);
    default_numbers(s);
    if (!default_paths(s, get, context, is_root) || default_lists(s) != SB_OK) {
        sb_settings_unref(s);
        return SB_NOMEM;
    }
    *ret = s;
    return SB_OK;
}

const sb_settings *sb_settings_ref(const sb_settings *settings)
{
    /* Relaxed: whoever takes a reference holds one already. */
    atomic_fetch_add_explicit(&((sb_settings *)settings)->refs, 1, memory_order_relaxed);
    return settings;
}

void sb_settings_unref(const sb_settings *settings)
{
    sb_settings *s = (sb_settings *)settings;
    /* Release pairs with the acquire of the last one, which frees what the others have read. */
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    sb_arena_fini(&s->arena);
    sb_free(s);
}

void sb_settings_warn(sb_settings *settings, const char *sentence)
{
    SB_ASSERT(!settings->frozen);
    if (settings->warning_count == SB_WARNINGS_MAX)
        return;
    const char *copy = sb_arena_strdup(&settings->arena, sentence);
    if (copy)
        settings->warnings[settings->warning_count++] = copy;
}

const char *sb_strategy_text(unsigned strategy)
{
    static const char *const texts[] = {
#define STRATEGY_TEXT(id, text) text,
        SB_STRATEGY_TABLE(STRATEGY_TEXT)
#undef STRATEGY_TEXT
    };
    return strategy < SB_ARRAY_SIZE(texts) ? texts[strategy] : "unknown";
}

static const char *const family_texts[] = {"ipv4-first", "ipv6-first", "ipv4-only", "ipv6-only",
                                           "rfc6724"};

const char *sb_family_policy_text(sb_family_policy policy)
{
    return (unsigned)policy < SB_ARRAY_SIZE(family_texts) ? family_texts[policy] : "unknown";
}

bool sb_family_policy_parse(const char *text, sb_family_policy *ret_policy)
{
    for (unsigned i = 0; i < SB_ARRAY_SIZE(family_texts); i++) {
        if (sb_ascii_equal(text, family_texts[i])) {
            *ret_policy = (sb_family_policy)i;
            return true;
        }
    }
    return false;
}

static void default_numbers(sb_settings *s)
{
    static const uint8_t loopback_4[4] = {127, 0, 0, 1};
    s->listen.http_on = true;
    s->listen.http = sb_addr_4(loopback_4, HTTP_PORT);
    s->listen.workers = -1;

    s->query.timeout = 10 * SB_S;
    s->query.attempts = 6;
    s->query.hedge_permille = 100;
    s->query.refresh_rate = 100;
    s->query.doubt_window = 300 * SB_S;
    s->query.ndots = 1;
    s->query.family = SB_PREFER_4;

    s->cache.size_bytes = (size_t)64 << 20;
    s->cache.share = SB_SHARE_USER;
    s->cache.ttl_max_s = 300;
    s->cache.negative_ttl_max_s = 300;
    s->cache.keep = 3 * 86400 * SB_S;
    s->cache.recheck = 30 * SB_S;
    s->cache.stale_ttl_s = 30; /* RFC 8767 §4 */
    s->cache.patience = -1;
    s->cache.prefetch_permille = 100;

    s->shared.redis = "";
    s->shared.prefix = "stubborn";
    s->shared.secret_file = "";
    s->shared.budget = 5 * SB_MS;
    s->mdns.interfaces = "auto";
    s->mdns.timeout = SB_S;
    s->health.window_s = 60;
    s->health.degraded_permille = 100;
    s->health.unhealthy_permille = 700;
    s->health.alert_after = 3;
    s->health.alert_webhook = "";
    s->log.level = SB_LOG_INFO;
    s->log.to = "stderr";
    _Static_assert(SB_LOG_SUBSYSTEM_COUNT <= SB_ARRAY_SIZE(s->log.levels), "a level for each");
    memset(s->log.levels, -1, sizeof(s->log.levels));
}

static sb_status default_lists(sb_settings *s)
{
    static const uint8_t loopback_4[4] = {127, 0, 0, 1}, loopback_6[16] = {[15] = 1};
    static const uint8_t net_4[4] = {127};
    sb_addr *dns = sb_arena_alloc(&s->arena, 2 * sizeof(*dns));
    sb_prefix *allow = sb_arena_alloc(&s->arena, 2 * sizeof(*allow));
    if (!dns || !allow)
        return SB_NOMEM;
    dns[0] = sb_addr_4(loopback_4, DNS_LISTEN_PORT);
    dns[1] = sb_addr_6(loopback_6, DNS_LISTEN_PORT);
    allow[0] = (sb_prefix){.addr = sb_addr_4(net_4, 0), .bits = 8};
    allow[1] = (sb_prefix){.addr = sb_addr_6(loopback_6, 0), .bits = 128};
    s->listen.dns = dns;
    s->listen.dns_count = 2;
    s->listen.dns_default = true;
    s->listen.allow = allow;
    s->listen.allow_count = 2;
    return SB_OK;
}

/* directory + below; "" when the directory is not absolute (XDG: such a value is ignored). */
static const char *join(sb_arena *arena, const char *directory, const char *below)
{
    if (!directory || directory[0] != '/')
        return "";
    size_t head = strlen(directory), tail = strlen(below);
    while (head > 0 && directory[head - 1] == '/')
        head--;
    char *path = sb_arena_alloc(arena, head + tail + 1);
    if (!path)
        return NULL;
    memcpy(path, directory, head);
    memcpy(path + head, below, tail + 1);
    return path;
}

/* Without a runtime directory the socket lies beside the cache, which is the user's alone; never in
 * /tmp, where another could be first. A directory too deep for a socket counts as none. */
static bool default_paths(sb_settings *s, sb_getenv *get, void *context, bool is_root)
{
    if (is_root) {
        s->listen.socket = "/run/stubborn/stubborn.sock";
        s->cache.file = "/var/cache/stubborn/cache.l1";
        return true;
    }
    const char *runtime = get(context, "XDG_RUNTIME_DIR");
    const char *cache = get(context, "XDG_CACHE_HOME");
    bool xdg = cache && cache[0] == '/';
    const char *home = xdg ? cache : get(context, "HOME");
    const char *beside =
        join(&s->arena, home, xdg ? "/stubborn/stubborn.sock" : "/.cache/stubborn/stubborn.sock");
    const char *socket = join(&s->arena, runtime, "/stubborn/stubborn.sock");
    s->cache.file = join(&s->arena, home, xdg ? "/stubborn/cache.l1" : "/.cache/stubborn/cache.l1");
    if (!beside || !socket || !s->cache.file)
        return false;
    if (*socket == '\0' || strlen(socket) > SB_SOCKET_PATH_MAX)
        socket = beside;
    s->listen.socket = strlen(socket) > SB_SOCKET_PATH_MAX ? "" : socket;
    return true;
}
