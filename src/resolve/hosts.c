/* Strategy hosts, and the table behind it. See hosts.h. */
#include "resolve/hosts.h"

#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "dns/rdata.h"

typedef struct host {
    sb_map_node node; /* keyed by the folded wire name */
    sb_name name;
    sb_name target; /* of a reverse name: the first name of its line */
    bool reverse;
    unsigned count;
    sb_addr addresses[SB_HOSTS_ADDRESSES_MAX];
} host;

struct sb_hosts {
    sb_env *env;
    char *path;
    sb_file_stat seen;
    sb_map map;
};

static bool free_host(sb_map_node *node, void *context)
{
    sb_map_remove(context, node);
    sb_free(sb_container_of(node, host, node));
    return true;
}

static host *find(const sb_hosts *hosts, const sb_name *name)
{
    sb_map_node *node = sb_map_find(&hosts->map, name->wire, name->size);
    return node ? sb_container_of(node, host, node) : NULL;
}

static host *obtain(sb_hosts *hosts, const sb_name *name)
{
    host *h = find(hosts, name);
    if (h)
        return h;
    h = sb_new(host);
    if (!h)
        return NULL;
    h->name = *name;
    sb_map_insert(&hosts->map, &h->node, h->name.wire, h->name.size);
    return h;
}

static void add(sb_hosts *hosts, const sb_addr *addr, const sb_name *name)
{
    host *h = obtain(hosts, name);
    if (h && h->count < SB_HOSTS_ADDRESSES_MAX)
        h->addresses[h->count++] = *addr;
    sb_name reverse;
    sb_name_reverse(addr, &reverse);
    host *back = obtain(hosts, &reverse);
    if (back && !back->reverse) {
        back->reverse = true;
        back->target = *name;
    }
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The next word of a line; size 0 at its end. */
static size_t next_word(const char **at, const char *end, const char **ret_word)
{
    while (*at < end && blank(**at))
        (*at)++;
    *ret_word = *at;
    while (*at < end && !blank(**at))
        (*at)++;
    return (size_t)(*at - *ret_word);
}

static void parse_line(sb_hosts *hosts, const char *line, const char *end)
{
    const char *comment = memchr(line, '#', (size_t)(end - line));
    if (comment)
        end = comment;
    const char *word;
    sb_addr addr;
    size_t size = next_word(&line, end, &word);
    if (size == 0 || !sb_addr_parse(word, size, &addr))
        return;
    while ((size = next_word(&line, end, &word)) > 0) {
        sb_name name;
        if (sb_name_parse(word, size, &name, NULL) != SB_OK || name.size <= 1)
            continue;
        sb_name_fold(&name);
        add(hosts, &addr, &name);
    }
}

static void parse(sb_hosts *hosts, const char *text, size_t size)
{
    const char *end = text + size;
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *stop = newline ? newline : end;
        parse_line(hosts, text, stop);
        text = newline ? newline + 1 : end;
    }
}

bool sb_hosts_refresh(sb_hosts *hosts)
{
    if (!hosts->path)
        return false;
    sb_file_stat now;
    hosts->env->ops->file_stat(hosts->env, hosts->path, &now);
    if (now.exists == hosts->seen.exists && now.size == hosts->seen.size &&
        now.inode == hosts->seen.inode && now.modified_ns == hosts->seen.modified_ns)
        return false;
    hosts->seen = now;
    sb_map_each(&hosts->map, free_host, &hosts->map);
    if (!now.exists)
        return true;
    uint8_t *bytes = NULL;
    size_t size = 0;
    sb_why why = {.text = ""};
    sb_status status =
        hosts->env->ops->file_read(hosts->env, hosts->path, SB_HOSTS_FILE_MAX, &bytes, &size, &why);
    if (status) {
        char quoted[256];
        sb_log(RESOLVE, WARN, "hosts file not used", "reason=%s",
               sb_log_escape(quoted, sizeof quoted, why.text));
        return true;
    }
    parse(hosts, (const char *)bytes, size);
    sb_free(bytes);
    return true;
}

sb_status sb_hosts_new(sb_env *env, const char *path, sb_hosts **ret)
{
    sb_hosts *hosts = sb_new(sb_hosts);
    uint8_t secret[16];
    if (!hosts)
        return SB_NOMEM;
    env->ops->entropy(env, secret, sizeof secret);
    hosts->env = env;
    if (path && !(hosts->path = sb_strdup(path)))
        goto done;
    if (sb_map_init(&hosts->map, secret) != SB_OK)
        goto done;
    sb_hosts_refresh(hosts);
    *ret = hosts;
    return SB_OK;
done:
    sb_free(hosts->path);
    sb_free(hosts);
    return SB_NOMEM;
}

void sb_hosts_free(sb_hosts *hosts)
{
    if (!hosts)
        return;
    sb_map_each(&hosts->map, free_host, &hosts->map);
    sb_map_fini(&hosts->map);
    sb_free(hosts->path);
    sb_free(hosts);
}

bool sb_hosts_has(const sb_hosts *hosts, const sb_name *name)
{
    return find(hosts, name) != NULL;
}

static bool hosts_applies(const sb_ctx *ctx, const sb_asked *asked)
{
    return ctx->hosts && asked->question.class == SB_CLASS_IN;
}

static bool hosts_look(const sb_ctx *ctx, const sb_asked *asked, sb_offer *ret_offer)
{
    const host *h = find(ctx->hosts, &asked->question.name);
    const sb_question *question = &asked->question;
    if (!h || (h->reverse && question->type != SB_TYPE_PTR && h->count == 0))
        return false;
    /* hosts(5) speaks of addresses only: other types are the DNS's. */
    if (question->type != SB_TYPE_PTR && !sb_type_is_address(question->type))
        return false;
    if (question->type == SB_TYPE_PTR && !h->reverse)
        return false;
    uint32_t ttl_s = ctx->settings->cache.stale_ttl_s;
    sb_answer *answer = NULL;
    sb_status status =
        question->type == SB_TYPE_PTR
            ? sb_answer_from_ptr(question, &h->target, ttl_s, SB_SOURCE_HOSTS, &answer)
            : sb_answer_from_addresses(question, h->addresses, h->count, ttl_s, SB_SOURCE_HOSTS,
                                       &answer);
    if (status)
        return false;
    *ret_offer = sb_offer_init(SB_STRATEGY_HOSTS, SB_SOURCE_HOSTS,
                               answer->kind == SB_KIND_POSITIVE ? SB_RANK_FRESH_POSITIVE
                                                                : SB_RANK_TRUSTED_NEGATIVE);
    ret_offer->answer = answer;
    return true;
}

const sb_strategy sb_strategy_hosts = {
    .name = "hosts",
    .id = SB_STRATEGY_HOSTS,
    .traits = SB_TRAIT_INSTANT,
    .applies = hosts_applies,
    .look = hosts_look,
};
