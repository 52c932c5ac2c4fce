/* Strategy doubt: a denial that contradicts what was known is put to a second server of the same
 * route, and the evidence is judged (A12). The judgement is verdict.h's. Loop thread. */
#include "base/mem.h"
#include "net/exchange.h"
#include "resolve/verdict.h"

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
    bool whole = attempt->against->answer->kind == SB_KIND_NXDOMAIN;
    bool agreeing = d->second == SB_SECOND_AGREES || d->second == SB_SECOND_NONE;
    sb_evidence evidence = {
        .is_protected = asked->policy.protect,
        .in_window = sb_doubt_in_window(ctx),
        .second = d->second,
        .liveness = d->liveness,
        .agreed_for = sb_doubts_denied(ctx->doubts, &asked->question.name, asked->question.type,
                                       whole, agreeing, sb_env_now(ctx->env)),
        .confirm = asked->policy.confirm,
        .most = asked->policy.doubt_most,
    };
    attempt->confirm_in = evidence.confirm - evidence.agreed_for;
    if (!sb_doubt_obeys(&evidence, &attempt->reason)) {
        sb_op_finish(&attempt->op, SB_MISMATCH);
        return;
    }
    /* Only this type's denial may be old enough: what is known of the others stays. */
    if (whole) {
        const char *why;
        evidence.agreed_for =
            sb_doubts_whole(ctx->doubts, &asked->question.name, sb_env_now(ctx->env));
        attempt->type_only = !sb_doubt_obeys(&evidence, &why);
    }
    /* This type's doubt is over; the name's goes on for its other types. */
    sb_doubts_end(ctx->doubts, &asked->question.name, asked->question.type);
    /* The old answer goes; the address its owner set for such days stays. */
    if (asked->policy.emergency_count > 0) {
        attempt->confirmed = true;
        attempt->reason = "denied for good";
        sb_op_finish(&attempt->op, SB_MISMATCH);
        return;
    }
    attempt->offer = sb_offer_init(SB_STRATEGY_WIRE, SB_SOURCE_DNS, SB_RANK_TRUSTED_NEGATIVE);
    attempt->offer.answer = sb_answer_ref(attempt->against->answer);
    attempt->offer.said_at = attempt->against->said_at;
    attempt->offer.type_only = attempt->type_only;
    sb_op_finish(&attempt->op, SB_OK);
}

static void second_said(doubt *d, const sb_answer *answer)
{
    const sb_ctx *ctx = d->attempt.ctx;
    bool open = answer->flags & SB_ANSWER_CHAIN_OPEN;
    d->second = answer->kind == SB_KIND_POSITIVE || open ? SB_SECOND_CONTRADICTS : SB_SECOND_AGREES;
    if (d->second == SB_SECOND_CONTRADICTS)
        sb_doubts_clear(ctx->doubts, &d->attempt.asked->question.name,
                        d->attempt.asked->question.type);
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
        outcome =
            d->exchange.answer->kind == SB_KIND_NXDOMAIN ? SB_OUTCOME_NXDOMAIN : SB_OUTCOME_NODATA;
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
