/* Strategy wire: the servers of the question's route, one after the other, until one gives an
 * answer (B1, B2, A7).
 *
 * Retries with exponential back-off between rounds, follows alias chains that a server left open,
 * gives up early when every server is known dead: then one question a second goes out as a probe.
 * Loop thread. */
#include "resolve/strategy.h"

#include "base/mem.h"
#include "net/exchange.h"

/* Pause before the second round over the servers; doubles per round, ± 50 % jitter. */
#define ROUND_PAUSE (50 * SB_MS)
/* Probes of dead servers, all questions together (DESIGN §5). */
#define PROBE_EVERY SB_S
/* Somebody else's probe may show within this that the servers are back; then there is a failure to
 * tell. */
#define PROBE_WAIT (600 * SB_MS)
#define PROBE_LOOK (100 * SB_MS)

typedef struct wire {
    sb_attempt attempt; /* first */
    sb_exchange exchange;
    sb_timer pause;
    sb_question question;  /* of the present link of the alias chain */
    const sb_answer *head; /* chain so far, owned; NULL at its beginning */
    uint64_t used;         /* servers asked this round, a bit per pool index */
    unsigned sent;
    unsigned round;
    unsigned links;
    sb_ns began;
    sb_ns asked_at;
    bool asking;     /* an exchange is under way */
    sb_status worst; /* why the last attempt failed */
} wire;

static void ask_next(wire *w);

static bool wire_applies(const sb_ctx *ctx, const sb_asked *asked)
{
    if (asked->special != SB_SPECIAL_NONE)
        return false;
    const sb_pool *pool = sb_upstreams_pool(ctx->upstreams, &asked->question.name);
    return pool->strategies == 0 || (pool->strategies & (1u << SB_STRATEGY_WIRE));
}

static void fail(wire *w, sb_status status)
{
    sb_op_finish(&w->attempt.op, status);
}

static void offer_answer(wire *w, const sb_answer *answer)
{
    bool positive = answer->kind == SB_KIND_POSITIVE;
    sb_offer offer = sb_offer_init(SB_STRATEGY_WIRE, SB_SOURCE_DNS,
                                   positive ? SB_RANK_FRESH_POSITIVE : SB_RANK_TRUSTED_NEGATIVE);
    const sb_asked *asked = w->attempt.asked;
    if (sb_policy_doubts(&asked->policy, asked->question.type, (sb_kind)answer->kind))
        offer.rank = SB_RANK_UNTRUSTED_NEGATIVE;
    offer.answer = answer;
    w->attempt.offer = offer;
    sb_op_finish(&w->attempt.op, SB_OK);
}

/* Joins the chain so far with its continuation; takes the reference. NULL when it loops or is too
 * long. */
static const sb_answer *joined(wire *w, const sb_answer *take_tail)
{
    if (!w->head)
        return take_tail;
    sb_answer *whole = NULL;
    sb_status status = sb_answer_splice(w->head, take_tail, &whole);
    sb_answer_unref(take_tail);
    sb_answer_unref(w->head);
    w->head = NULL;
    if (status)
        return NULL;
    whole->upstream = w->exchange.server->addr;
    whole->protocol = w->exchange.protocol;
    return whole;
}

/* An alias may lead to a name that is kept off the wire (RFC 6761, 6762, 7686). */
static const sb_answer *special_target(const wire *w)
{
    const sb_pool *pool = sb_upstreams_pool(w->attempt.ctx->upstreams, &w->question.name);
    sb_special special = sb_special_of(&w->question, pool->suffix.size > 1);
    sb_answer *answer = NULL;
    sb_status status = sb_special_answer(special, &w->question, &answer);
    if (special == SB_SPECIAL_LINK_LOCAL)
        status = sb_answer_empty(&w->question, SB_KIND_NXDOMAIN, 0, SB_SOURCE_SPECIAL, &answer);
    return status == SB_OK ? answer : NULL;
}

static void got_answer(wire *w, const sb_answer *take_answer)
{
    const sb_answer *answer = joined(w, take_answer);
    if (!answer) {
        fail(w, SB_MALFORMED);
        return;
    }
    if (!(answer->flags & SB_ANSWER_CHAIN_OPEN)) {
        offer_answer(w, answer);
        return;
    }
    if (++w->links > SB_ALIASES_MAX) {
        sb_answer_unref(answer);
        fail(w, SB_MALFORMED);
        return;
    }
    w->head = answer;
    w->sent = w->round = 0; /* attempts are per link; SB_ALIASES_MAX bounds the whole */
    sb_answer_target(answer, &w->question.name);
    sb_name_fold(&w->question.name);
    w->used = 0;
    const sb_answer *special = special_target(w);
    if (special)
        got_answer(w, special); /* closed, so no deeper than this */
    else
        ask_next(w);
}

/* RFC 8914: validation and policy verdicts; another server must not be asked to say otherwise. */
static bool is_verdict(int ede)
{
    return (ede >= 6 && ede <= 12) || (ede >= 15 && ede <= 18);
}

static void exchange_done(sb_op *op)
{
    sb_exchange *x = sb_container_of(op, sb_exchange, op);
    wire *w = sb_container_of(x, wire, exchange);
    w->asking = false;
    sb_ns took = sb_env_now(w->attempt.ctx->env) - w->asked_at;
    sb_outcome outcome = op->status == SB_OK ? SB_OUTCOME_OK : sb_outcome_of_status(op->status);
    if (op->status == SB_OK && x->answer->kind == SB_KIND_NXDOMAIN)
        outcome = SB_OUTCOME_NXDOMAIN;
    else if (op->status == SB_OK && x->answer->kind == SB_KIND_NODATA)
        outcome = SB_OUTCOME_NODATA;
    sb_attempt_tried(&w->attempt, outcome, took, &x->server->addr);
    if (op->status == SB_OK) {
        got_answer(w, sb_answer_ref(x->answer));
        return;
    }
    w->worst = op->status;
    w->attempt.ede = x->ede;
    if (is_verdict(x->ede))
        fail(w, op->status);
    else
        ask_next(w);
}

static void pause_over(sb_timer *timer)
{
    ask_next(sb_container_of(timer, wire, pause));
}

/* All servers of this round were asked: a pause, then the next round. */
static void begin_round(wire *w)
{
    sb_env *env = w->attempt.ctx->env;
    sb_ns pause = ROUND_PAUSE << (w->round < 6 ? w->round : 6);
    w->round++;
    w->used = 0;
    pause = sb_rand_range(&env->rand, pause / 2, pause + pause / 2);
    sb_timer_set(env, &w->pause, sb_env_now(env) + pause);
}

/* When every server is dead only one question a second, of all, may go out. */
static bool may_probe(const sb_ctx *ctx)
{
    sb_ns now = sb_env_now(ctx->env);
    if (now < *ctx->next_probe)
        return false;
    *ctx->next_probe = now + PROBE_EVERY;
    return true;
}

/* A dead route with a probe out: its end decides for all who wait. */
static void await_probe(wire *w)
{
    sb_env *env = w->attempt.ctx->env;
    sb_ns now = sb_env_now(env);
    if (now - w->began >= PROBE_WAIT)
        fail(w, SB_UNREACHABLE);
    else
        sb_timer_set(env, &w->pause, now + PROBE_LOOK);
}

static void ask_next(wire *w)
{
    const sb_ctx *ctx = w->attempt.ctx;
    const sb_pool *pool = sb_upstreams_pool(ctx->upstreams, &w->question.name);
    if (w->sent >= ctx->settings->query.attempts || pool->count == 0) {
        fail(w, pool->count == 0 ? SB_UNREACHABLE : w->worst);
        return;
    }
    uint64_t all = pool->count >= 64 ? UINT64_MAX : (UINT64_C(1) << pool->count) - 1;
    if ((w->used & all) == all) {
        begin_round(w);
        return;
    }
    bool probe = false;
    int index = sb_pool_choose(ctx->upstreams, pool, w->used, &probe);
    if (index < 0 || (probe && w->sent > 0)) {
        /* What the last server said is the better reason than "all are dead". */
        fail(w, w->sent > 0 ? w->worst : SB_UNREACHABLE);
        return;
    }
    if (probe && !may_probe(ctx)) {
        await_probe(w);
        return;
    }
    w->used |= UINT64_C(1) << (index & 63);
    w->sent++;
    w->asked_at = sb_env_now(ctx->env);
    sb_upstream *server = pool->servers[index];
    sb_exchange_fini(&w->exchange);
    w->asking = true;
    sb_exchange_start(&w->exchange, ctx->upstreams, server, &w->question, w->attempt.asked->flight,
                      &w->attempt.op, w->asked_at + sb_upstream_attempt_timeout(server),
                      exchange_done);
}

static void wire_start(sb_attempt *attempt)
{
    wire *w = sb_container_of(attempt, wire, attempt);
    w->question = attempt->asked->question;
    w->worst = SB_UNREACHABLE;
    w->began = sb_env_now(attempt->ctx->env);
    sb_timer_init(&w->pause, pause_over);
    ask_next(w);
}

static void wire_stop(sb_attempt *attempt)
{
    wire *w = sb_container_of(attempt, wire, attempt);
    sb_timer_stop(attempt->ctx->env, &w->pause);
    if (w->asking) /* the question's own deadline came first */
        sb_attempt_tried(attempt, SB_OUTCOME_TIMEOUT, sb_env_now(attempt->ctx->env) - w->asked_at,
                         &w->exchange.server->addr);
    w->asking = false;
    sb_exchange_fini(&w->exchange);
    sb_answer_unref(w->head);
    w->head = NULL;
}

const sb_strategy sb_strategy_wire = {
    .name = "wire",
    .id = SB_STRATEGY_WIRE,
    .traits = SB_TRAIT_NETWORK,
    .attempt_bytes = sizeof(wire),
    .applies = wire_applies,
    .start = wire_start,
    .stop = wire_stop,
};
