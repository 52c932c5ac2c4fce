/* Strategy wire: the servers of the question's route, one after the other, until one gives an
 * answer (B1, B2, A7).
 *
 * Retries with exponential back-off between rounds, follows alias chains that a server left open,
 * gives up early when every server is known dead: then one question a second goes out as a probe.
 * Loop thread. */
#include "resolve/verdict.h"

#include "base/mem.h"
#include "net/exchange.h"
#include "net/revive.h"

/* Pause before the second round over the servers; doubles per round, ± 50 % jitter. */
#define ROUND_PAUSE (50 * SB_MS)
/* A server that got slow must be able to answer: its queries are repeated meanwhile. */
#define STRANGER_WAIT (200 * SB_MS) /* more, for servers that never answered yet */
#define EXCHANGE_MOST (4 * SB_S)
/* The one question a second that has a dead route probed waits so long for what that shows, and so
 * do all for so long after the route died: its servers may only have got slow, or take turns. */
#define PROBE_WAIT (800 * SB_MS)
#define PROBE_LOOK (20 * SB_MS)
#define DEATH_LOOK (50 * SB_MS)
/* How often a waiting question looks whether all have died meanwhile. */
#define DEAD_LOOK (100 * SB_MS)
/* … whether the server it waits for has, so that another may be asked or believed. */
#define LOSS_LOOK (25 * SB_MS)
/* So many queries of whomever, and no word for so long: that is not one slow name. */
#define MUTE_QUERIES 3
#define MUTE_LEAST (50 * SB_MS)
#define LOSSY_PERMILLE 100
/* A denial still held then is better than none. */
#define FAREWELL (20 * SB_MS)

typedef struct wire wire;

/* One server being asked. */
typedef struct lane {
    sb_exchange exchange;
    wire *wire;
    bool asking;
    sb_ns asked_at;
    unsigned tier; /* of the server … */
    unsigned turn; /* … and when it was asked: the word of the lower counts more */
    bool alone;    /* nobody pays for a second question beside it */
} lane;

struct wire {
    sb_attempt attempt; /* first */
    lane lanes[2];
    sb_timer pause;
    sb_timer hedge;
    sb_question question;  /* of the present link of the alias chain */
    const sb_answer *head; /* chain so far, owned; NULL at its beginning */
    sb_ns head_at;         /* when its last link was learned */
    sb_ns said_at;         /* when the answer in hand came: one may be held for a while */
    const sb_answer *held; /* a negative, while the server still asked may know better: it was asked
                              first, or what is held has no SOA */
    unsigned held_tier;
    bool held_waits; /* … till its end: stale covers the wait, or it is of a better tier */
    bool held_known; /* … and to the question's own end, since it denies what is known */
    bool early;      /* the answer in hand did not wait for that */
    uint64_t used;   /* servers asked this round, a bit per pool index */
    unsigned sent;   /* queries of ended exchanges, this link */
    unsigned turns;
    unsigned round;
    unsigned links;
    sb_ns began;
    bool carries;     /* the route is dead, and probed on this question's account */
    bool silence;     /* this round somebody gave no answer: who did will hardly say otherwise in a
                         moment */
    bool turned_away; /* the last server had no room on its connections: nothing was asked */
    sb_status worst;  /* why the last exchange failed */
};

static void ask_next(wire *w);
static void ask_server(wire *w, const sb_pool *pool, int index);
static unsigned queries_left(const wire *w);

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

/* The status is that of the network; the reason is that none has answered for long enough. */
static void fail_all_down(wire *w, sb_status status)
{
    w->attempt.failed_by = "all upstream servers are marked down";
    fail(w, status);
}

static void offer_answer(wire *w, const sb_answer *answer)
{
    bool positive = answer->kind == SB_KIND_POSITIVE;
    sb_offer offer = sb_offer_init(SB_STRATEGY_WIRE, SB_SOURCE_DNS,
                                   positive ? SB_RANK_FRESH_POSITIVE : SB_RANK_TRUSTED_NEGATIVE);
    if (!positive && sb_doubt_concerns(w->attempt.ctx, w->attempt.asked, answer))
        offer.rank = SB_RANK_UNTRUSTED_NEGATIVE;
    else /* what a protected name has of other types waits for a doubt of its own */
        offer.type_only = w->attempt.asked->policy.protect;
    offer.answer = answer;
    offer.said_at = w->said_at;
    offer.early = w->early;
    w->attempt.offer = offer;
    sb_op_finish(&w->attempt.op, SB_OK);
}

/* Joins the chain so far with its continuation; takes the reference. NULL, and `worst` says why,
 * when it loops or is too long. */
static const sb_answer *joined(wire *w, const sb_answer *take_tail)
{
    if (!w->head)
        return take_tail;
    sb_answer *whole = NULL;
    /* The links come one after the other, each perhaps slowly: the first are the older. */
    sb_ns age = w->said_at - w->head_at;
    sb_status status = sb_answer_splice(w->head, (uint32_t)(age / SB_S), take_tail, &whole);
    if (status == SB_OK) {
        whole->upstream = take_tail->upstream;
        whole->protocol = take_tail->protocol;
    } else {
        w->worst = status;
    }
    sb_answer_unref(take_tail);
    sb_answer_unref(w->head);
    w->head = NULL;
    return whole;
}

static bool any_asking(const wire *w)
{
    return w->lanes[0].asking || w->lanes[1].asking;
}

/* The others lose: what they would have said is not needed. */
static void stop_lanes(wire *w)
{
    sb_timer_stop(w->attempt.ctx->env, &w->hedge);
    sb_timer_stop(w->attempt.ctx->env, &w->pause);
    for (unsigned i = 0; i < 2; i++) {
        sb_op_cancel(&w->lanes[i].exchange.op);
        w->lanes[i].asking = false;
    }
    sb_answer_unref(w->held);
    w->held = NULL;
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

/* The verdict of this link of the chain; takes the reference. Recursion: once, with an answer to a
 * special name, which is closed. */
static void got_answer(wire *w, const sb_answer *take_answer)
{
    stop_lanes(w);
    const sb_answer *answer = joined(w, take_answer);
    if (!answer) {
        fail(w, w->worst);
        return;
    }
    if (!(answer->flags & SB_ANSWER_CHAIN_OPEN)) {
        offer_answer(w, answer);
        return;
    }
    if (++w->links > SB_ALIASES_MAX) {
        sb_answer_unref(answer);
        fail(w, SB_LOOP);
        return;
    }
    w->head = answer;
    w->head_at = w->said_at;
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

/* Its word counts more than the other's: it is of a better tier, or was asked first. */
static bool precedes(const lane *a, const lane *b)
{
    return a->tier < b->tier || (a->tier == b->tier && a->turn < b->turn);
}

static bool is_known(const wire *w, const sb_answer *denial)
{
    const sb_attempt *attempt = &w->attempt;
    return sb_question_known(attempt->ctx, attempt->asked) ||
           (denial->kind == SB_KIND_NXDOMAIN && sb_name_known(attempt->ctx, attempt->asked));
}

static void take_held(wire *w)
{
    const sb_answer *held = w->held;
    const lane *first = &w->lanes[w->lanes[1].asking];
    w->held = NULL;
    w->early = any_asking(w) && first->exchange.server->breaker == SB_BREAKER_CLOSED;
    got_answer(w, held);
}

/* Who waits has the denial now; should the first server still know better, that is learned. */
static bool say_held(wire *w)
{
    sb_attempt *attempt = &w->attempt;
    if (w->head || (w->held->flags & SB_ANSWER_CHAIN_OPEN) ||
        sb_doubt_concerns(attempt->ctx, attempt->asked, w->held))
        return false;
    sb_offer offer = sb_offer_init(SB_STRATEGY_WIRE, SB_SOURCE_DNS, SB_RANK_TRUSTED_NEGATIVE);
    offer.answer = w->held;
    offer.said_at = w->said_at;
    offer.early = true;
    w->held_waits = true;
    /* Nobody waits any more: the query of a moment ago was the last. */
    lane *first = &w->lanes[w->lanes[1].asking];
    first->exchange.sends_max = first->exchange.sends;
    attempt->early(attempt, &offer);
    return true;
}

/* The denial in hand: is it time? A server found silent has had its say. */
static void look_at_held(wire *w)
{
    sb_env *env = w->attempt.ctx->env;
    const lane *first = &w->lanes[w->lanes[1].asking];
    sb_ns now = sb_env_now(env), end = w->attempt.op.deadline - FAREWELL;
    bool silent = first->exchange.server->breaker != SB_BREAKER_CLOSED;
    bool waits = w->held_waits && (now < end || w->held_known);
    if (silent || (!waits && (now >= end || !say_held(w))))
        take_held(w);
    else
        sb_timer_set(env, &w->hedge, now < end && end < now + LOSS_LOOK ? end : now + LOSS_LOOK);
}

/* Some balancers deny so, but so do broken forwarders. */
static bool is_bare(const sb_answer *answer)
{
    return answer->kind != SB_KIND_POSITIVE && answer->flags & SB_ANSWER_NO_SOA;
}

/* A denial without SOA of what is known is not the last word while an equal may say better; a
 * backup tier, which may be outside, does not overrule it. Of what nobody knows it is: forwarders
 * deny so what they own (the other family of a name of the house) and what they block. False: it
 * holds. */
static bool hold_bare(wire *w, const lane *l)
{
    if (sb_ede_is_verdict(l->exchange.answer->ede) || !is_known(w, l->exchange.answer))
        return false;
    const sb_ctx *ctx = w->attempt.ctx;
    const lane *other = &w->lanes[l == &w->lanes[0]];
    const sb_pool *pool = sb_upstreams_pool(ctx->upstreams, &w->question.name);
    int index = other->asking ? -1 : sb_pool_choose(ctx->upstreams, pool, w->used);
    unsigned tier = other->asking ? other->tier : index >= 0 ? pool->tiers[index] : l->tier + 1;
    if (tier != l->tier || (!other->asking && queries_left(w) == 0))
        return false;
    w->held = sb_answer_ref(l->exchange.answer);
    w->held_waits = w->held_known = true;
    w->held_tier = tier;
    if (other->asking)
        sb_timer_set(ctx->env, &w->hedge,
                     w->said_at + sb_upstream_hedge_delay(other->exchange.server));
    else
        ask_server(w, pool, index); /* perhaps in this very lane */
    return true;
}

/* That the name has other records is not overruled by one who does not know it. */
static bool outdoes(const sb_answer *denial, const sb_answer *held)
{
    return is_bare(held) && held->kind == SB_KIND_NODATA && denial->kind == SB_KIND_NXDOMAIN;
}

/* First valid positive wins; a denial waits for the better server. An inside and an outside
 * resolver must not race: to the end where they are of two tiers, and where the denial contradicts
 * what is known. Among equals about a name nobody knows the first is asked once more and given its
 * usual time again. */
static void lane_answered(lane *l)
{
    wire *w = l->wire;
    const sb_answer *answer = l->exchange.answer;
    lane *other = &w->lanes[l == &w->lanes[0]];
    sb_ns now = sb_env_now(w->attempt.ctx->env);
    if (w->held && w->held_tier == l->tier && !outdoes(w->held, answer) &&
        (is_bare(answer) || outdoes(answer, w->held))) {
        take_held(w);
        return;
    }
    w->said_at = now;
    w->early = false;
    if (answer->kind != SB_KIND_POSITIVE && other->asking && precedes(other, l)) {
        w->held_tier = l->tier;
        sb_answer_unref(w->held);
        w->held = sb_answer_ref(answer);
        w->held_known = is_known(w, answer);
        w->held_waits = w->held_known || other->tier != l->tier;
        /* Its query or its answer may be lost: once more, and the usual time for that. */
        sb_exchange_repeat(&other->exchange);
        sb_timer_set(w->attempt.ctx->env, &w->hedge,
                     now + sb_upstream_hedge_delay(other->exchange.server));
        return;
    }
    if (is_bare(answer) && !w->held && hold_bare(w, l))
        return;
    got_answer(w, sb_answer_ref(answer));
}

static void lane_failed(lane *l, sb_status status)
{
    wire *w = l->wire;
    w->worst = status;
    w->silence |= l->exchange.rcode == 0xffff;
    w->attempt.ede = l->exchange.ede;
    if (sb_ede_is_verdict(l->exchange.ede)) {
        fail(w, status);
    } else if (w->held && !any_asking(w)) {
        take_held(w);
    } else if (!any_asking(w)) {
        ask_next(w);
    }
}

static void exchange_done(sb_op *op)
{
    sb_exchange *x = sb_container_of(op, sb_exchange, op);
    lane *l = sb_container_of(x, lane, exchange);
    sb_ns took = sb_env_now(op->env) - l->asked_at;
    sb_outcome outcome = op->status == SB_OK ? SB_OUTCOME_OK : sb_outcome_of_status(op->status);
    l->asking = false;
    /* Our own limit is no attempt: it waits its turn. */
    l->wire->turned_away = op->status == SB_LIMIT && x->sends == 0;
    if (!l->wire->turned_away)
        l->wire->sent += x->sends ? x->sends : 1;
    if (op->status == SB_OK && x->answer->kind == SB_KIND_NXDOMAIN)
        outcome = SB_OUTCOME_NXDOMAIN;
    else if (op->status == SB_OK && x->answer->kind == SB_KIND_NODATA)
        outcome = SB_OUTCOME_NODATA;
    if (!l->wire->turned_away || l->wire->round == 0)
        sb_attempt_tried(&l->wire->attempt, outcome, took, &x->server->addr);
    if (op->status == SB_OK)
        lane_answered(l);
    else
        lane_failed(l, op->status);
}

/* query.attempts bounds the queries of one link of the chain, those promised to a running lane
 * included. */
static unsigned queries_left(const wire *w)
{
    unsigned used = w->sent, most = w->attempt.ctx->settings->query.attempts;
    for (unsigned i = 0; i < 2; i++)
        if (w->lanes[i].asking)
            used += w->lanes[i].exchange.sends_max;
    return used < most ? most - used : 0;
}

/* How many servers may be asked still in this round. */
static unsigned others_left(const wire *w, const sb_pool *pool)
{
    unsigned n = 0;
    for (unsigned i = 0; i < pool->count && i < 64; i++)
        n += pool->servers[i]->breaker == SB_BREAKER_CLOSED && !(w->used >> i & 1);
    return n;
}

/* Asks one server; the caller knows that a lane is free and a query left. */
static void ask_server(wire *w, const sb_pool *pool, int index)
{
    const sb_ctx *ctx = w->attempt.ctx;
    lane *l = &w->lanes[w->lanes[0].asking];
    sb_upstream *server = pool->servers[index];
    unsigned left = queries_left(w);
    w->used |= UINT64_C(1) << (index & 63);
    l->wire = w;
    l->tier = pool->tiers[index];
    l->turn = w->turns++;
    l->alone = false;
    l->asking = true;
    l->asked_at = sb_env_now(ctx->env);
    sb_exchange_fini(&l->exchange);
    sb_exchange_start(&l->exchange, ctx->upstreams, server, &w->question, w->attempt.asked->flight,
                      &w->attempt.op, l->asked_at + EXCHANGE_MOST, exchange_done);
    /* Half are left for others that may be asked, and one for each. */
    unsigned others = others_left(w, pool), most = others ? left - left / 2 : left;
    if (most + others > left)
        most = left > others ? left - others : 1;
    l->exchange.sends_max = (uint8_t)(most < SB_EXCHANGE_SENDS ? most : SB_EXCHANGE_SENDS);
    sb_timer_set(ctx->env, &w->hedge, l->asked_at + sb_upstream_hedge_delay(server));
    sb_timer_set(ctx->env, &w->pause, l->asked_at + PROBE_WAIT);
}

static bool is_lost(const lane *l)
{
    return l->exchange.server->breaker != SB_BREAKER_CLOSED;
}

/* Or is it the operator's word that there be no second questions? */
static bool hedges(const wire *w)
{
    return w->attempt.ctx->settings->query.hedge_permille > 0;
}

/* It answers nobody. Its breaker may take long to see that: names of dead zones blur what is usual
 * for a server, up to seconds, but hardly the median that hedges go by. */
static bool is_mute(const wire *w, const lane *l)
{
    const sb_upstream *server = l->exchange.server;
    sb_ns patience = 2 * sb_upstream_hedge_delay(server);
    if (patience < MUTE_LEAST)
        patience = MUTE_LEAST;
    return hedges(w) && server->unanswered >= MUTE_QUERIES &&
           sb_env_now(w->attempt.ctx->env) - server->unanswered_since >= patience;
}

/* It had all the queries promised to it, and time for an answer to the last. */
static bool is_spent(const wire *w, const lane *l)
{
    const sb_exchange *x = &l->exchange;
    sb_ns waited = sb_env_now(w->attempt.ctx->env) - sb_exchange_last_sent(x);
    return x->sends >= x->sends_max && waited >= x->resend_wait;
}

/* It and its server are of no use: dead, or spent while that answered nobody. */
static bool is_hollow(const wire *w, const lane *l)
{
    return is_lost(l) || (is_spent(w, l) && l->exchange.server->last_success < l->asked_at);
}

/* A backup tier is asked when the better one has failed or is silent, never because it is slow. A
 * stranger is silent sooner: nothing is known that it should answer quickly. One that left all
 * repetitions unanswered is silent when it answered nobody else meanwhile, or is known to lose
 * packets; even then it may be slow: a denial of the other still waits. */
static bool is_given_up(const wire *w, const lane *l)
{
    const sb_upstream *server = l->exchange.server;
    sb_ns waited = sb_env_now(w->attempt.ctx->env) - l->asked_at;
    return is_hollow(w, l) || (is_spent(w, l) && server->loss_permille >= LOSSY_PERMILLE) ||
           (!server->last_success && waited >= sb_upstream_silence(server));
}

/* The first is slower than it should be: may a second join? Somebody has to pay for it, and is
 * asked once; but where the first often fails this is a retry begun in time, not a luxury. */
static bool may_hedge(wire *w, lane *first)
{
    const sb_ctx *ctx = w->attempt.ctx;
    if (hedges(w) && (sb_upstream_is_shaky(first->exchange.server) ||
                      (!first->alone && sb_upstreams_spend(ctx->upstreams)))) {
        sb_count(ctx->stats, SB_COUNT_HEDGES);
        return true;
    }
    if (!first->alone)
        sb_count(ctx->stats, SB_COUNT_LIMIT_HEDGES);
    first->alone = true;
    return false;
}

/* A server known to be dead is not asked again: what was left is for the others. */
static void cut_promise(lane *l)
{
    if (l->asking && is_lost(l))
        l->exchange.sends_max = l->exchange.sends ? l->exchange.sends : 1;
}

/* What is left when every server was asked is for those that may answer. */
static void raise_promises(wire *w)
{
    for (unsigned i = 0; i < 2; i++) {
        sb_exchange *x = &w->lanes[i].exchange;
        if (!w->lanes[i].asking || is_lost(&w->lanes[i]))
            continue;
        unsigned most = x->sends_max + queries_left(w);
        x->sends_max = (uint8_t)(most < SB_EXCHANGE_SENDS_ALONE ? most : SB_EXCHANGE_SENDS_ALONE);
    }
}

/* The lane that waits in vain, of two the elder, makes room. */
static void give_up_hollow(wire *w)
{
    lane *l = &w->lanes[w->lanes[1].turn < w->lanes[0].turn];
    if (!is_hollow(w, l))
        l = &w->lanes[l == &w->lanes[0]];
    sb_ns took = sb_env_now(w->attempt.ctx->env) - l->asked_at;
    sb_op_cancel(&l->exchange.op);
    l->asking = false;
    w->sent += l->exchange.sends ? l->exchange.sends : 1;
    w->silence = true;
    sb_attempt_tried(&w->attempt, SB_OUTCOME_TIMEOUT, took, &l->exchange.server->addr);
}

/* Another server is asked: beside one that is slow, or instead of one that is lost or mute, which
 * is no second question. */
static bool takes_another(wire *w, unsigned tier)
{
    lane *first = &w->lanes[w->lanes[1].asking];
    bool both = w->lanes[0].asking && w->lanes[1].asking;
    if (queries_left(w) == 0 ||
        (both && !is_hollow(w, &w->lanes[0]) && !is_hollow(w, &w->lanes[1])))
        return false;
    for (unsigned i = 0; both && i < 2; i++)
        if (tier > w->lanes[i].tier && !is_given_up(w, &w->lanes[i]))
            return false; /* one of a better tier may answer still */
    if (both)
        give_up_hollow(w);
    else if (!is_hollow(w, first))
        return tier > first->tier ? is_given_up(w, first)
                                  : is_mute(w, first) || may_hedge(w, first);
    return true;
}

/* Looks on until the end: a server may be found dead at any time. */
static void hedge_due(sb_timer *timer)
{
    wire *w = sb_container_of(timer, wire, hedge);
    const sb_ctx *ctx = w->attempt.ctx;
    if (w->held) {
        look_at_held(w);
        return;
    }
    if (!any_asking(w))
        return; /* a pause is on */
    const sb_pool *pool = sb_upstreams_pool(ctx->upstreams, &w->question.name);
    int index = sb_pool_choose(ctx->upstreams, pool, w->used);
    cut_promise(&w->lanes[0]);
    cut_promise(&w->lanes[1]);
    if (index >= 0 && takes_another(w, pool->tiers[index])) {
        ask_server(w, pool, index);
        return;
    }
    if (index < 0)
        raise_promises(w);
    if (pool->count > 1)
        sb_timer_set(ctx->env, timer, sb_env_now(ctx->env) + LOSS_LOOK);
}

/* True when every server of the route is known to be dead by what it usually takes; one that never
 * answered may be just slow, and has a moment more. */
static bool is_hopeless(const wire *w)
{
    const sb_upstreams *ups = w->attempt.ctx->upstreams;
    const sb_pool *pool = sb_upstreams_pool(ups, &w->question.name);
    sb_ns now = sb_env_now(w->attempt.ctx->env);
    if (!sb_pool_dead(ups, pool))
        return false;
    bool met = false, long_dead = true;
    for (unsigned i = 0; i < pool->count; i++) {
        met |= pool->servers[i]->last_success != 0;
        long_dead &= now - pool->servers[i]->opened_at >= STRANGER_WAIT;
    }
    return met || long_dead;
}

static void pause_over(sb_timer *timer)
{
    wire *w = sb_container_of(timer, wire, pause);
    sb_env *env = w->attempt.ctx->env;
    if (!any_asking(w))
        ask_next(w);
    else if (is_hopeless(w))
        fail_all_down(w, SB_TIMEOUT);
    else
        sb_timer_set(env, timer, sb_env_now(env) + DEAD_LOOK);
}

/* All servers of this round were asked: a pause, then the next round. */
static void begin_round(wire *w)
{
    sb_env *env = w->attempt.ctx->env;
    unsigned most = w->turned_away ? 1 : 6; /* room comes soon */
    sb_ns pause = ROUND_PAUSE << (w->round < most ? w->round : most);
    w->round++;
    w->used = 0;
    w->silence = false;
    pause = sb_rand_range(&env->rand, pause / 2, pause + pause / 2);
    sb_timer_set(env, &w->pause, sb_env_now(env) + pause);
}

/* The server of a dead route that is being looked at, or NULL. */
static const sb_upstream *probed(const sb_pool *pool)
{
    for (unsigned i = 0; i < pool->count; i++)
        if (pool->servers[i]->breaker == SB_BREAKER_HALF_OPEN)
            return pool->servers[i];
    return NULL;
}

/* When the last of its servers was found dead. */
static sb_ns died_at(const sb_pool *pool)
{
    sb_ns last = 0;
    for (unsigned i = 0; i < pool->count; i++)
        if (pool->servers[i]->opened_at > last)
            last = pool->servers[i]->opened_at;
    return last;
}

/* A dead route: who has it probed waits for that, the others are told at once, but for those who
 * come in the first moment. Addresses at hand are better than a wait. */
static void await_probe(wire *w, const sb_pool *pool)
{
    sb_env *env = w->attempt.ctx->env;
    sb_ns now = sb_env_now(env);
    const sb_upstream *server = probed(pool);
    bool waits = w->carries && server && now - w->began < PROBE_WAIT;
    bool looked_at = server && w->began - died_at(pool) < PROBE_WAIT && now - w->began < PROBE_WAIT;
    bool just_died = (looked_at || now - died_at(pool) < PROBE_WAIT) &&
                     w->attempt.asked->policy.emergency_count == 0;
    if (waits || just_died) {
        sb_timer_set(env, &w->pause, now + (waits ? PROBE_LOOK : DEATH_LOOK));
        return;
    }
    sb_attempt_tried(&w->attempt,
                     !w->carries ? SB_OUTCOME_SKIPPED
                     : server    ? SB_OUTCOME_TIMEOUT
                                 : SB_OUTCOME_UNREACHABLE,
                     now - w->began, server && w->carries ? &server->addr : NULL);
    fail_all_down(w, SB_UNREACHABLE);
}

static void ask_next(wire *w)
{
    const sb_ctx *ctx = w->attempt.ctx;
    const sb_pool *pool = sb_upstreams_pool(ctx->upstreams, &w->question.name);
    if (queries_left(w) == 0 || pool->count == 0) {
        if (pool->count == 0)
            w->attempt.failed_by =
                pool->left_out ? pool->left_out : "no upstream server is configured";
        fail(w, pool->count == 0 ? SB_UNREACHABLE : w->worst);
        return;
    }
    w->carries |= sb_reviver_use(ctx->reviver, pool, &w->question);
    int index = sb_pool_choose(ctx->upstreams, pool, w->used);
    if (index >= 0)
        ask_server(w, pool, index);
    else if (!sb_pool_dead(ctx->upstreams, pool) && w->worst != SB_LOOP &&
             (w->silence || w->round == 0))
        begin_round(w);
    else if (w->sent > 0) /* what the last server said is the better reason than "all are dead" */
        fail(w, w->worst);
    else
        await_probe(w, pool);
}

static void wire_start(sb_attempt *attempt)
{
    wire *w = sb_container_of(attempt, wire, attempt);
    w->question = attempt->asked->question;
    w->worst = SB_UNREACHABLE;
    w->began = sb_env_now(attempt->ctx->env);
    sb_timer_init(&w->pause, pause_over);
    sb_timer_init(&w->hedge, hedge_due);
    sb_upstreams_earn(attempt->ctx->upstreams, attempt->ctx->settings->query.hedge_permille);
    ask_next(w);
}

static void wire_stop(sb_attempt *attempt)
{
    wire *w = sb_container_of(attempt, wire, attempt);
    for (unsigned i = 0; i < 2; i++)
        if (w->lanes[i].asking) /* the question's own deadline came first */
            sb_attempt_tried(attempt, SB_OUTCOME_TIMEOUT,
                             sb_env_now(attempt->ctx->env) - w->lanes[i].asked_at,
                             &w->lanes[i].exchange.server->addr);
    stop_lanes(w);
    for (unsigned i = 0; i < 2; i++)
        sb_exchange_fini(&w->lanes[i].exchange);
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
