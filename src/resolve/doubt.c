/* Strategy doubt: a denial that contradicts what was known is put to a second server of the same
 * route, the addresses it was known by are looked at, and the evidence is judged (A12).
 *
 * The judgement is verdict.h's. Nobody waits for a look at an address but where it decides. Loop
 * thread. */
#include <limits.h>

#include "base/log.h"
#include "base/mem.h"
#include "dns/rdata.h"
#include "net/exchange.h"
#include "resolve/verdict.h"

/* How often a doubt that hangs on a look at the addresses asks for its end. */
#define LOOK_AT_LOOKS (5 * SB_MS)
/* A dead look ends by itself; this is for those that could not even begin. */
#define LOOKS_MOST (SB_PROBE_PATIENCE + 200 * SB_MS)

typedef struct doubt {
    sb_attempt attempt; /* first */
    sb_exchange exchange;
    sb_timer wait;
    sb_ns asked_at;
    sb_second second;
    sb_addr addrs[SB_LOOKS_MAX]; /* last known */
    size_t addr_count;
    sb_ns learned_for; /* since the answer was last confirmed by a server */
} doubt;

/* The addresses at stake: those of the type denied, else of the other one; where nothing was known
 * there are none. */
static void take_known(doubt *d)
{
    const sb_attempt *attempt = &d->attempt;
    static const uint16_t others[] = {SB_TYPE_A, SB_TYPE_AAAA};
    const sb_ctx *ctx = attempt->ctx;
    sb_l1_entry entry;
    bool known = sb_question_entry(ctx, attempt->asked, attempt->asked->question.type, &entry);
    for (size_t i = 0; !known && i < SB_ARRAY_SIZE(others); i++)
        known = sb_question_entry(ctx, attempt->asked, others[i], &entry);
    if (!known)
        return;
    sb_tick now = sb_l1_now(ctx->l1);
    if (now > entry.life.learned && !(entry.flags & SB_L1_AGE_UNKNOWN))
        d->learned_for = (sb_ns)((now - entry.life.learned) / SB_TICKS_PER_S) * SB_S;
    sb_answer *answer = sb_answer_of_entry(&entry);
    if (answer)
        d->addr_count = sb_answer_addresses(answer, d->addrs, SB_LOOKS_MAX);
    sb_answer_unref(answer);
}

static sb_evidence gather(doubt *d)
{
    const sb_attempt *attempt = &d->attempt;
    const sb_ctx *ctx = attempt->ctx;
    const sb_asked *asked = attempt->asked;
    const sb_question *q = &asked->question;
    sb_ns now = sb_env_now(ctx->env), stands_since = sb_doubts_stands_since(ctx->doubts, q);
    bool whole = attempt->against->answer->kind == SB_KIND_NXDOMAIN;
    bool agreeing = d->second == SB_SECOND_AGREES || d->second == SB_SECOND_NONE;
    sb_name zone;
    sb_doubt_zone(attempt->against->answer, &zone);
    sb_evidence e = {
        .is_protected = asked->policy.protect,
        .in_window = sb_doubt_in_window(ctx),
        .second = d->second,
        .liveness =
            sb_endpoints_life_of(ctx->endpoints, d->addrs, d->addr_count, asked->policy.port),
        .siblings = sb_doubts_siblings(ctx->doubts, &zone, &q->name, now),
        .known_for = stands_since ? now - stands_since : 0,
        .agreed_for = sb_doubts_denied(ctx->doubts, &q->name, q->type, whole, agreeing, now),
        .confirm = asked->policy.confirm,
        .most = asked->policy.doubt_most,
    };
    e.denied_for = sb_doubts_denied_for(ctx->doubts, &q->name, q->type, now);
    if (d->learned_for > e.known_for)
        e.known_for = d->learned_for;
    return e;
}

/* True when the look at the addresses that is under way decides, and there is time for it. */
static bool hangs_on_looks(const doubt *d, const sb_evidence *evidence)
{
    const sb_ctx *ctx = d->attempt.ctx;
    const char *reason;
    sb_evidence with = *evidence, without = *evidence;
    with.liveness = SB_LIVENESS_ALIVE;
    without.liveness = SB_LIVENESS_UNKNOWN;
    return sb_doubt_obeys(&with, &reason) != sb_doubt_obeys(&without, &reason) &&
           sb_env_now(ctx->env) - d->asked_at < LOOKS_MOST &&
           sb_endpoints_looking_any(ctx->endpoints, d->addrs, d->addr_count,
                                    d->attempt.asked->policy.port);
}

static void tell(const doubt *d, const sb_evidence *e, bool obeyed)
{
    const sb_attempt *attempt = &d->attempt;
    const sb_ctx *ctx = attempt->ctx;
    const sb_question *q = &attempt->asked->question;
    char name[SB_NAME_TEXT_MAX], quoted[SB_NAME_TEXT_MAX], type[16];
    bool whole = attempt->against->answer->kind == SB_KIND_NXDOMAIN;
    sb_doubt_info info = {.evidence = *e, .reason = attempt->reason, .at = sb_env_now(ctx->env)};
    sb_doubts_note(ctx->doubts, &q->name, q->type, &info);
    sb_events_emit(ctx->events, (sb_event){.type = SB_EVENT_DOUBT,
                                           .name = sb_name_digest(&q->name),
                                           .flight = attempt->asked->flight,
                                           .status = (uint8_t)(obeyed ? SB_OK : SB_MISMATCH),
                                           .a = e->second,
                                           .b = e->liveness});
    if (obeyed && sb_doubts_news(ctx->doubts, &q->name, q->type, whole))
        sb_log(RESOLVE, INFO, "a deletion is believed",
               "name=%s type=%s second=\"%s\" life=%s denied_s=%lld siblings=%u",
               sb_log_escape(quoted, sizeof quoted, sb_name_text(&q->name, name)),
               whole ? "all" : sb_type_text(q->type, type), sb_second_text(e->second),
               sb_liveness_text(e->liveness), (long long)(e->denied_for / SB_S), e->siblings);
}

static void conclude(doubt *d)
{
    sb_attempt *attempt = &d->attempt;
    const sb_ctx *ctx = attempt->ctx;
    const sb_asked *asked = attempt->asked;
    sb_evidence evidence = gather(d);
    if (hangs_on_looks(d, &evidence)) {
        sb_timer_set(ctx->env, &d->wait, sb_env_now(ctx->env) + LOOK_AT_LOOKS);
        return;
    }
    attempt->confirm_in = evidence.confirm - evidence.agreed_for;
    bool obeyed = sb_doubt_obeys(&evidence, &attempt->reason);
    sb_name zone;
    sb_doubt_zone(attempt->against->answer, &zone);
    sb_doubts_vanished(ctx->doubts, &zone, &asked->question.name, sb_env_now(ctx->env));
    tell(d, &evidence, obeyed);
    if (!obeyed) {
        sb_op_finish(&attempt->op, SB_MISMATCH);
        return;
    }
    /* Only this type's denial may be old enough: what is known of the others stays. */
    if (attempt->against->answer->kind == SB_KIND_NXDOMAIN) {
        const char *why;
        sb_ns now = sb_env_now(ctx->env);
        evidence.agreed_for = sb_doubts_whole(ctx->doubts, &asked->question.name, now);
        evidence.denied_for = sb_doubts_denied_for(ctx->doubts, &asked->question.name, 0, now);
        attempt->type_only = !sb_doubt_obeys(&evidence, &why);
    }
    /* The old answer goes; the address its owner set for such days stays, and the denial with it.
     */
    if (asked->policy.emergency_count > 0) {
        attempt->confirmed = true;
        attempt->reason = "denied for good";
        sb_op_finish(&attempt->op, SB_MISMATCH);
        return;
    }
    /* This type's doubt is over; the name's goes on for its other types. */
    sb_doubts_end(ctx->doubts, &asked->question.name, asked->question.type);
    attempt->offer = sb_offer_init(SB_STRATEGY_WIRE, SB_SOURCE_DNS, SB_RANK_TRUSTED_NEGATIVE);
    attempt->offer.answer = sb_answer_ref(attempt->against->answer);
    attempt->offer.said_at = attempt->against->said_at;
    attempt->offer.type_only = attempt->type_only;
    sb_op_finish(&attempt->op, SB_OK);
}

static void wait_over(sb_timer *timer)
{
    conclude(sb_container_of(timer, doubt, wait));
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

/* The tier that spoke; where the pool was changed since, its first. */
static unsigned tier_of(const sb_pool *pool, const sb_addr *first)
{
    unsigned tier = UINT_MAX;
    for (unsigned i = 0; i < pool->count; i++) {
        if (sb_addr_equal(&pool->servers[i]->addr, first))
            return pool->tiers[i];
        if (pool->tiers[i] < tier)
            tier = pool->tiers[i];
    }
    return tier;
}

/* Some server of the same route that has not spoken yet and is of no higher tier; -1 when nobody
 * can be asked now. A higher tier may see another world, and is asked when the better one has
 * failed: what it says is no second opinion, and the names of the inside are no business of the
 * outside. */
static int second_server(const sb_ctx *ctx, const sb_pool *pool, const sb_addr *first,
                         sb_second *ret_second)
{
    uint64_t used = 0;
    unsigned tier = tier_of(pool, first);
    *ret_second = SB_SECOND_NONE;
    for (unsigned i = 0; i < pool->count && i < 64; i++) {
        if (pool->tiers[i] > tier || sb_addr_equal(&pool->servers[i]->addr, first))
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
    sb_timer_init(&d->wait, wait_over);
    d->asked_at = sb_env_now(ctx->env);
    take_known(d);
    sb_endpoints_look_all(ctx->endpoints, d->addrs, d->addr_count, attempt->asked->policy.port, 0);
    int index = second_server(ctx, pool, &attempt->against->answer->upstream, &d->second);
    if (index < 0) {
        conclude(d);
        return;
    }
    sb_upstream *server = pool->servers[index];
    sb_exchange_start(&d->exchange, ctx->upstreams, server, question, attempt->asked->flight,
                      &attempt->op, d->asked_at + sb_upstream_attempt_timeout(server),
                      exchange_done);
}

static void doubt_stop(sb_attempt *attempt)
{
    doubt *d = sb_container_of(attempt, doubt, attempt);
    sb_timer_stop(attempt->ctx->env, &d->wait);
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
