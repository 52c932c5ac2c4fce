/* Strategy doubt: evidence for or against a denial. See doubt.h. */
#include "resolve/doubt.h"

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "dns/rdata.h"
#include "net/exchange.h"

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
    sb_name name;
    sb_ns agreed_since; /* SB_NEVER: not in agreement */
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

static record *find(const sb_doubts *doubts, const sb_name *name)
{
    sb_map_node *node = sb_map_find(&doubts->map, name->wire, name->size);
    return node ? sb_container_of(node, record, node) : NULL;
}

static record *obtain(sb_doubts *doubts, const sb_name *name)
{
    record *r = find(doubts, name);
    if (r)
        return r;
    if (doubts->map.count >= SB_DOUBTS_MAX)
        drop(doubts, sb_container_of(doubts->by_age.next, record, age));
    if (!(r = sb_new(record)))
        return NULL;
    r->name = *name;
    r->agreed_since = SB_NEVER;
    sb_list_init(&r->age);
    sb_list_push(&doubts->by_age, &r->age);
    sb_map_insert(&doubts->map, &r->node, r->name.wire, r->name.size);
    return r;
}

sb_ns sb_doubts_denied(sb_doubts *doubts, const sb_name *name, bool agreeing, sb_ns now)
{
    record *r = obtain(doubts, name);
    if (!r)
        return 0;
    if (!agreeing)
        return r->agreed_since == SB_NEVER ? 0 : now - r->agreed_since;
    if (r->agreed_since == SB_NEVER)
        r->agreed_since = now;
    return now - r->agreed_since;
}

void sb_doubts_clear(sb_doubts *doubts, const sb_name *name)
{
    record *r = find(doubts, name);
    if (r)
        drop(doubts, r);
}

sb_status sb_doubts_obey(sb_doubts *doubts, const sb_name *name, sb_ns now)
{
    record *r = obtain(doubts, name);
    if (!r)
        return SB_NOMEM;
    r->obeyed = true;
    if (r->agreed_since == SB_NEVER)
        r->agreed_since = now;
    return SB_OK;
}

bool sb_doubts_obeyed(const sb_doubts *doubts, const sb_name *name)
{
    const record *r = find(doubts, name);
    return r && r->obeyed;
}

static bool in_window(const sb_ctx *ctx)
{
    return sb_env_now(ctx->env) < ctx->doubt_until;
}

bool sb_doubt_concerns(const sb_ctx *ctx, const sb_asked *asked, const sb_answer *negative)
{
    const sb_policy *policy = &asked->policy;
    if (sb_doubts_obeyed(ctx->doubts, &asked->question.name))
        return false;
    if (policy->emergency_count > 0 && sb_type_is_address(asked->question.type))
        return true;
    if (!policy->protect && !in_window(ctx))
        return false;
    /* NXDOMAIN speaks of every type, NODATA of its own. */
    return sb_question_known(ctx, asked) ||
           (negative->kind == SB_KIND_NXDOMAIN && sb_name_known(ctx, asked));
}

/* --- the strategy --- */

typedef struct doubt {
    sb_attempt attempt; /* first */
    sb_exchange exchange;
    bool asking;
    sb_ns asked_at;
    sb_second second;
    sb_liveness liveness;
} doubt;

static void conclude(doubt *d)
{
    sb_attempt *attempt = &d->attempt;
    const sb_ctx *ctx = attempt->ctx;
    const sb_asked *asked = attempt->asked;
    bool agreeing = d->second == SB_SECOND_AGREES || d->second == SB_SECOND_NONE;
    sb_evidence evidence = {
        .is_protected = asked->policy.protect,
        .in_window = in_window(ctx),
        .second = d->second,
        .liveness = d->liveness,
        .agreed_for =
            sb_doubts_denied(ctx->doubts, &asked->question.name, agreeing, sb_env_now(ctx->env)),
        .confirm = asked->policy.confirm,
        .most = asked->policy.doubt_most,
    };
    if (!sb_doubt_obeys(&evidence, &attempt->reason)) {
        sb_op_finish(&attempt->op, SB_MISMATCH);
        return;
    }
    attempt->offer = sb_offer_init(SB_STRATEGY_WIRE, SB_SOURCE_DNS, SB_RANK_TRUSTED_NEGATIVE);
    attempt->offer.answer = sb_answer_ref(attempt->against->answer);
    sb_op_finish(&attempt->op, SB_OK);
}

static void second_said(doubt *d, const sb_answer *answer)
{
    const sb_ctx *ctx = d->attempt.ctx;
    bool open = answer->flags & SB_ANSWER_CHAIN_OPEN;
    d->second = answer->kind == SB_KIND_POSITIVE || open ? SB_SECOND_CONTRADICTS : SB_SECOND_AGREES;
    if (d->second == SB_SECOND_CONTRADICTS)
        sb_doubts_clear(ctx->doubts, &d->attempt.asked->question.name);
    if (answer->kind != SB_KIND_POSITIVE || open) {
        conclude(d);
        return;
    }
    d->attempt.offer = sb_offer_init(SB_STRATEGY_WIRE, SB_SOURCE_DNS, SB_RANK_FRESH_POSITIVE);
    d->attempt.offer.answer = sb_answer_ref(answer);
    sb_op_finish(&d->attempt.op, SB_OK);
}

static void exchange_done(sb_op *op)
{
    doubt *d = sb_container_of(sb_container_of(op, sb_exchange, op), doubt, exchange);
    sb_outcome outcome = sb_outcome_of_status(op->status);
    d->asking = false;
    if (op->status == SB_OK && d->exchange.answer->kind != SB_KIND_POSITIVE)
        outcome = d->exchange.answer->kind == SB_KIND_NXDOMAIN ? SB_OUTCOME_NXDOMAIN
                                                               : SB_OUTCOME_NODATA;
    sb_attempt_tried(&d->attempt, outcome, sb_env_now(op->env) - d->asked_at,
                     &d->exchange.server->addr);
    if (op->status == SB_OK)
        second_said(d, d->exchange.answer);
    else
        conclude(d);
}

/* Some server of the same route that has not spoken yet; -1 when nobody can be asked now. */
static int second_server(const sb_ctx *ctx, const sb_pool *pool, const sb_addr *first,
                         sb_second *ret_second)
{
    uint64_t used = 0;
    *ret_second = SB_SECOND_NONE;
    for (unsigned i = 0; i < pool->count && i < 64; i++) {
        if (sb_addr_equal(&pool->servers[i]->addr, first))
            used |= UINT64_C(1) << i;
        else
            *ret_second = SB_SECOND_SILENT;
    }
    return sb_pool_choose(ctx->upstreams, pool, used);
}

static void doubt_start(sb_attempt *attempt)
{
    doubt *d = sb_container_of(attempt, doubt, attempt);
    const sb_ctx *ctx = attempt->ctx;
    const sb_question *question = &attempt->asked->question;
    const sb_pool *pool = sb_upstreams_pool(ctx->upstreams, &question->name);
    int index = second_server(ctx, pool, &attempt->against->answer->upstream, &d->second);
    if (index < 0) {
        conclude(d);
        return;
    }
    d->asking = true;
    d->asked_at = sb_env_now(ctx->env);
    sb_upstream *server = pool->servers[index];
    sb_exchange_start(&d->exchange, ctx->upstreams, server, question, attempt->asked->flight,
                      &attempt->op, d->asked_at + sb_upstream_attempt_timeout(server),
                      exchange_done);
}

static void doubt_stop(sb_attempt *attempt)
{
    doubt *d = sb_container_of(attempt, doubt, attempt);
    sb_exchange_fini(&d->exchange);
}

/* Only the flight knows the negative; it starts this when there is one to doubt. */
static bool doubt_applies(const sb_ctx *ctx, const sb_asked *asked)
{
    (void)ctx;
    return asked->special == SB_SPECIAL_NONE;
}

const sb_strategy sb_strategy_doubt = {
    .name = "doubt",
    .id = SB_STRATEGY_DOUBT,
    .traits = SB_TRAIT_NETWORK,
    .attempt_bytes = sizeof(doubt),
    .applies = doubt_applies,
    .start = doubt_start,
    .stop = doubt_stop,
};
