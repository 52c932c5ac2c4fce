/* See verdict.h. */
#include "resolve/verdict.h"

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "resolve/mobility.h"

bool sb_doubt_obeys(const sb_evidence *e, const char **ret_reason)
{
    *ret_reason = "";
    if (e->obeyed || (!e->is_protected && !e->in_window))
        return true;
    if (e->second == SB_SECOND_CONTRADICTS) {
        *ret_reason = "denied by one server, known to another";
        return false;
    }
    if (!e->is_protected) {
        *ret_reason = "denied just after a network change";
        return false;
    }
    if (e->agreed_for >= e->most)
        return true;
    if (e->liveness == SB_LIVENESS_ALIVE) {
        *ret_reason = "denied, but its address is alive";
        return false;
    }
    if (e->second != SB_SECOND_SILENT && e->agreed_for >= e->confirm)
        return true;
    *ret_reason = e->second == SB_SECOND_SILENT ? "denied by one server, the others are silent"
                                                : "denied, not confirmed for long enough";
    return false;
}

/* --- since when --- */

typedef struct record {
    sb_map_node node;
    sb_list age;
    uint8_t key[SB_NAME_MAX + 2]; /* type, 0 for the whole name; name */
    sb_ns agreed_since;           /* SB_NEVER: not in agreement */
    bool obeyed;
} record;

struct sb_doubts {
    sb_map map;
    sb_list by_age;
};

sb_status sb_doubts_new(const uint8_t secret[16], sb_doubts **ret)
{
    sb_doubts *doubts = sb_new(sb_doubts);
    if (!doubts || sb_map_init(&doubts->map, secret) != SB_OK) {
        sb_free(doubts);
        return SB_NOMEM;
    }
    sb_list_init(&doubts->by_age);
    *ret = doubts;
    return SB_OK;
}

static void drop(sb_doubts *doubts, record *r)
{
    sb_map_remove(&doubts->map, &r->node);
    sb_list_remove(&r->age);
    sb_free(r);
}

void sb_doubts_free(sb_doubts *doubts)
{
    if (!doubts)
        return;
    while (!sb_list_empty(&doubts->by_age))
        drop(doubts, sb_container_of(doubts->by_age.next, record, age));
    sb_map_fini(&doubts->map);
    sb_free(doubts);
}

static size_t key_of(const sb_name *name, uint16_t type, uint8_t *ret_key)
{
    sb_writer w = sb_writer_of(ret_key, SB_NAME_MAX + 2);
    sb_write_u16(&w, type);
    sb_name_write(&w, name);
    return w.size;
}

static record *find(const sb_doubts *doubts, const sb_name *name, uint16_t type)
{
    uint8_t key[SB_NAME_MAX + 2];
    size_t size = key_of(name, type, key);
    sb_map_node *node = sb_map_find(&doubts->map, key, size);
    return node ? sb_container_of(node, record, node) : NULL;
}

static record *obtain(sb_doubts *doubts, const sb_name *name, uint16_t type)
{
    record *r = find(doubts, name, type);
    if (r)
        return r;
    if (doubts->map.count >= SB_DOUBTS_MAX)
        drop(doubts, sb_container_of(doubts->by_age.next, record, age));
    if (!(r = sb_new(record)))
        return NULL;
    r->agreed_since = SB_NEVER;
    sb_list_init(&r->age);
    sb_list_push(&doubts->by_age, &r->age);
    sb_map_insert(&doubts->map, &r->node, r->key, key_of(name, type, r->key));
    return r;
}

sb_ns sb_doubts_denied(sb_doubts *doubts, const sb_name *name, uint16_t type, bool whole,
                       bool agreeing, sb_ns now)
{
    record *r = obtain(doubts, name, whole ? 0 : type);
    if (!r)
        return 0;
    if (agreeing && r->agreed_since == SB_NEVER)
        r->agreed_since = now;
    /* A denial that turns from the type to the whole name, or back, goes on counting for the type;
     * of the other types it says no more than it did. */
    const record *other = find(doubts, name, whole ? type : 0);
    sb_ns since = r->agreed_since;
    if (other && other->agreed_since < since)
        since = other->agreed_since;
    if (!whole)
        r->agreed_since = since;
    return since == SB_NEVER ? 0 : now - since;
}

sb_ns sb_doubts_whole(const sb_doubts *doubts, const sb_name *name, sb_ns now)
{
    const record *r = find(doubts, name, 0);
    return r && r->agreed_since != SB_NEVER ? now - r->agreed_since : 0;
}

void sb_doubts_clear(sb_doubts *doubts, const sb_name *name, uint16_t type)
{
    record *r = find(doubts, name, 0);
    if (r)
        drop(doubts, r);
    if ((r = find(doubts, name, type)))
        drop(doubts, r);
}

void sb_doubts_end(sb_doubts *doubts, const sb_name *name, uint16_t type)
{
    record *r = find(doubts, name, type);
    if (r)
        drop(doubts, r);
}

sb_status sb_doubts_obey(sb_doubts *doubts, const sb_name *name, sb_ns now)
{
    record *r = obtain(doubts, name, 0);
    if (!r)
        return SB_NOMEM;
    r->obeyed = true;
    if (r->agreed_since == SB_NEVER)
        r->agreed_since = now;
    return SB_OK;
}

bool sb_doubts_obeyed(const sb_doubts *doubts, const sb_name *name)
{
    const record *r = find(doubts, name, 0);
    return r && r->obeyed;
}

bool sb_doubt_in_window(const sb_ctx *ctx)
{
    /* Before the change is understood the new network's servers may speak already. */
    return sb_env_now(ctx->env) < sb_mobility_doubt_until(ctx->mobility) ||
           sb_mobility_unsettled(ctx->mobility);
}

bool sb_doubt_shuns(const sb_ctx *ctx, const sb_asked *asked, uint16_t type, sb_kind kind)
{
    return sb_policy_doubts(&asked->policy, type, kind) &&
           !sb_doubts_obeyed(ctx->doubts, &asked->question.name);
}

bool sb_doubt_concerns(const sb_ctx *ctx, const sb_asked *asked, const sb_answer *negative)
{
    const sb_policy *policy = &asked->policy;
    if (sb_doubts_obeyed(ctx->doubts, &asked->question.name))
        return false;
    if (sb_policy_doubts(policy, asked->question.type, (sb_kind)negative->kind))
        return true;
    if (!policy->protect && !sb_doubt_in_window(ctx))
        return false;
    /* NXDOMAIN speaks of every type, NODATA of its own. */
    return sb_question_known(ctx, asked) ||
           (negative->kind == SB_KIND_NXDOMAIN && sb_name_known(ctx, asked));
}
