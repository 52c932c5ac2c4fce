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
    sb_file_stat seen, failed; /* what the table is of; what could not be read */
    sb_map map;
    uint8_t secret[16];
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

static bool add(sb_hosts *hosts, const sb_addr *addr, const sb_name *name)
{
    sb_name reverse;
    sb_name_reverse(addr, &reverse);
    host *h = obtain(hosts, name), *back = obtain(hosts, &reverse);
    if (!h || !back)
        return false;
    if (h->count < SB_HOSTS_ADDRESSES_MAX)
        h->addresses[h->count++] = *addr;
    if (!back->reverse) {
        back->reverse = true;
        back->target = *name;
    }
    return true;
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

static bool parse_line(sb_hosts *hosts, const char *line, const char *end)
{
    const char *comment = memchr(line, '#', (size_t)(end - line));
    if (comment)
        end = comment;
    const char *word;
    sb_addr addr;
    size_t size = next_word(&line, end, &word);
    if (size == 0 || !sb_addr_parse(word, size, &addr))
        return true;
    while ((size = next_word(&line, end, &word)) > 0) {
        sb_name name;
        if (sb_name_parse(word, size, &name, NULL) != SB_OK || name.size <= 1)
            continue;
        sb_name_fold(&name);
        if (!add(hosts, &addr, &name))
            return false;
    }
    return true;
}

/* False without memory: half a table would deny what the other half says. */
static bool parse(sb_hosts *hosts, const char *text, size_t size)
{
    const char *end = text + size;
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *stop = newline ? newline : end;
        if (!parse_line(hosts, text, stop))
            return false;
        text = newline ? newline + 1 : end;
    }
    return true;
}

static bool same_file(const sb_file_stat *a, const sb_file_stat *b)
{
    return a->exists == b->exists && a->size == b->size && a->inode == b->inode &&
           a->modified_ns == b->modified_ns;
}

static void drop_table(sb_map *map)
{
    sb_map_each(map, free_host, map);
    sb_map_fini(map);
}

/* A file that cannot be read now says nothing of what it holds: the table stays, and it is tried
 * again. */
bool sb_hosts_refresh(sb_hosts *hosts)
{
    sb_file_stat now;
    uint8_t *bytes = NULL;
    size_t size = 0;
    sb_why why = {.text = ""};
    if (!hosts->path)
        return false;
    hosts->env->ops->file_stat(hosts->env, hosts->path, &now);
    if (same_file(&now, &hosts->seen))
        return false;
    sb_hosts fresh = {.env = hosts->env};
    sb_status status = sb_map_init(&fresh.map, hosts->secret);
    if (status == SB_OK && now.exists)
        status = hosts->env->ops->file_read(hosts->env, hosts->path, SB_HOSTS_FILE_MAX, &bytes,
                                            &size, &why);
    if (status == SB_OK && size > 0 && !parse(&fresh, (const char *)bytes, size))
        status = SB_NOMEM;
    sb_free(bytes);
    if (status != SB_OK) {
        char quoted[256];
        if (!same_file(&now, &hosts->failed))
            sb_log(RESOLVE, WARN, "hosts file not read, what it held before stays", "reason=%s",
                   sb_log_escape(quoted, sizeof quoted,
                                 why.text[0] ? why.text : sb_status_text(status)));
        hosts->failed = now;
        if (fresh.map.buckets)
            drop_table(&fresh.map);
        return false;
    }
    drop_table(&hosts->map);
    hosts->map = fresh.map;
    hosts->seen = now;
    hosts->failed = (sb_file_stat){0};
    return true;
}

sb_status sb_hosts_new(sb_env *env, const char *path, sb_hosts **ret)
{
    sb_hosts *hosts = sb_new(sb_hosts);
    if (!hosts)
        return SB_NOMEM;
    env->ops->entropy(env, hosts->secret, sizeof hosts->secret);
    hosts->env = env;
    if (path && !(hosts->path = sb_strdup(path)))
        goto done;
    if (sb_map_init(&hosts->map, hosts->secret) != SB_OK)
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
    drop_table(&hosts->map);
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
