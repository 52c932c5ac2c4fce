/* The engine: life, questions in, settled waiters out, what is learned. See engine.h. */
#include "resolve/engine.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "dns/rdata.h"
#include "resolve/flight.h"
#include "resolve/scope.h"

/* What answers at once, in the ladder's order. */
static const sb_strategy *const instant_rung[] = {&sb_strategy_pin, &sb_strategy_hosts,
                                                  &sb_strategy_cached};

/* --- from question to what is asked --- */

void sb_engine_asked(sb_engine *engine, const sb_settings *settings, const sb_question *question,
                     sb_asked *ret_asked)
{
    sb_asked asked = {.question = *question};
    sb_name_fold(&asked.question.name);
    const sb_pool *pool = sb_upstreams_pool(engine->upstreams, &asked.question.name);
    asked.view = pool->view;
    asked.special = question->class == SB_CLASS_IN
                        ? sb_special_of(&asked.question, pool->suffix.size > 1)
                        : SB_SPECIAL_NONE;
    asked.policy = sb_policy_of(settings, &asked.question);
    *ret_asked = asked;
}

sb_ctx sb_engine_ctx(sb_engine *engine, const sb_settings *settings)
{
    return (sb_ctx){
        .env = engine->env,
        .settings = settings,
        .l1 = engine->l1,
        .upstreams = engine->upstreams,
        .stats = &engine->stats,
        .events = &engine->events,
        .hosts = engine->hosts,
        .scratch = engine->scratch,
        .reviver = engine->reviver,
        .doubts = engine->doubts,
        .mobility = engine->mobility,
        .endpoints = engine->endpoints,
        .pins = &engine->pins,
    };
}

/* --- settling --- */

static int failure_ede(sb_status failure, int said)
{
    if (said != SB_EDE_NONE)
        return said;
    switch (failure) {
    case SB_UNREACHABLE:
    case SB_CONNREFUSED:
    case SB_IO:
    case SB_CLOSED:
        return SB_EDE_NETWORK_ERROR;
    case SB_LIMIT:
    case SB_NOMEM:
        return SB_EDE_NOT_READY;
    case SB_MALFORMED:
        return SB_EDE_INVALID_DATA;
    case SB_LOOP:
        return SB_EDE_OTHER;
    case SB_NXDOMAIN:
    case SB_NOTFOUND:
        return SB_EDE_NONE;
    default:
        return SB_EDE_NO_REACHABLE_AUTHORITY;
    }
}

static void fill_failure(sb_query *q, const sb_settling *s)
{
    sb_status failure = s->failure ? s->failure : SB_SERVFAIL;
    q->rcode = failure == SB_NXDOMAIN ? SB_RCODE_NXDOMAIN : SB_RCODE_SERVFAIL;
    q->ede = failure_ede(failure, s->failure_ede);
    q->ede_text = s->failure_text ? s->failure_text : sb_status_text(failure);
    q->provenance.status = (uint8_t)sb_outcome_of_status(failure);
    q->provenance.source = SB_SOURCE_NONE;
}

static void fill_offer(sb_query *q, const sb_offer *offer)
{
    const sb_answer *answer = offer->answer;
    q->answer = sb_answer_ref(answer);
    q->rcode = answer->rcode;
    q->ede = offer->ede;
    q->ede_text = offer->ede_text;
    q->hit = offer->hit;
    q->degraded = offer->degraded;
    q->age_s = offer->age_s;
    q->ttl_cap_s = offer->ttl_cap_s;
    q->ttl_fixed_s = offer->ttl_fixed_s;
    sb_provenance *p = &q->provenance;
    p->source = offer->source;
    p->flags = (uint8_t)((offer->source == SB_SOURCE_STALE ? SB_PROVENANCE_STALE : 0) |
                         (offer->capped ? SB_PROVENANCE_DUE : 0) |
                         (offer->age_unknown ? SB_PROVENANCE_AGE_UNKNOWN : 0));
    p->status = (uint8_t)(answer->kind == SB_KIND_POSITIVE   ? SB_OUTCOME_OK
                          : answer->kind == SB_KIND_NXDOMAIN ? SB_OUTCOME_NXDOMAIN
                                                             : SB_OUTCOME_NODATA);
    p->age_s = offer->age_s;
    uint32_t left_s = answer->ttl_s > offer->age_s ? answer->ttl_s - offer->age_s : 0;
    p->ttl_s = offer->ttl_fixed_s != UINT32_MAX ? offer->ttl_fixed_s
               : left_s < offer->ttl_cap_s      ? left_s
                                                : offer->ttl_cap_s;
    p->network = answer->network || offer->source != SB_SOURCE_DNS
                     ? answer->network
                     : sb_mobility_network(q->engine->mobility);
    p->upstream = answer->upstream;
}

static void count_fallback(sb_stats *stats, const sb_offer *offer)
{
    if (!offer || !offer->degraded)
        return;
    if (offer->capped)
        sb_count(stats, SB_COUNT_FALLBACK_CAP);
    else if (offer->source == SB_SOURCE_EMERGENCY)
        sb_count(stats, SB_COUNT_FALLBACK_EMERGENCY);
    else if (offer->source == SB_SOURCE_GUESS)
        sb_count(stats, SB_COUNT_FALLBACK_GUESS);
    else
        sb_count(stats, SB_COUNT_FALLBACK_STALE);
}

void sb_query_settle(sb_query *q, const sb_settling *s)
{
    sb_engine *e = q->engine;
    if (s->offer)
        fill_offer(q, s->offer);
    else
        fill_failure(q, s);
    for (unsigned i = 0; i < s->tried_count && q->provenance.tried_count < SB_TRIED_MAX; i++)
        q->provenance.tried[q->provenance.tried_count++] = s->tried[i];
    sb_ns now = sb_env_now(e->env);
    if (!s->passive) {
        sb_clock clock;
        e->env->ops->clock(e->env, &clock);
        sb_stats_question(&e->stats, now, clock.wall_ns, now - q->began, q->hit, s->error);
        count_fallback(&e->stats, s->offer);
        if (s->offer)
            sb_pins_used(e, &q->question, s->offer);
        if (!s->offer)
            sb_count(&e->stats, SB_COUNT_FAILURES);
    }
    sb_events_emit(&e->events, (sb_event){
                                   .type = SB_EVENT_SETTLE,
                                   .name = sb_name_digest(&q->question.name),
                                   .status = s->offer ? SB_OK : (uint8_t)s->failure,
                                   .a = q->provenance.source,
                                   .b = (uint32_t)q->ede,
                               });
    sb_op_finish(&q->op, s->offer ? SB_OK : s->failure ? s->failure : SB_SERVFAIL);
}

/* Ends a waiter's part in its flight, however it ended. A waiter whose own deadline came first gets
 * a typed failure. */
static void query_stop(sb_op *op)
{
    sb_query *q = sb_container_of(op, sb_query, op);
    sb_flight *f = q->flight;
    if (f) {
        sb_list_remove(&q->link);
        f->waiter_count--;
        q->flight = NULL;
    }
    if (op->state == SB_OP_FINISHED && op->status == SB_TIMEOUT && !q->answer && q->rcode == 0) {
        sb_engine *e = q->engine;
        sb_clock clock;
        fill_failure(q, &(sb_settling){.failure = SB_TIMEOUT, .failure_ede = SB_EDE_NONE});
        e->env->ops->clock(e->env, &clock);
        sb_ns now = sb_env_now(e->env);
        sb_stats_question(&e->stats, now, clock.wall_ns, now - q->began, false, true);
        sb_count(&e->stats, SB_COUNT_FAILURES);
    }
}

void sb_query_fini(sb_query *query)
{
    sb_answer_unref(query->answer);
    query->answer = NULL;
}

void sb_query_body(const sb_query *query, bool with_provenance, uint8_t *provenance_buffer,
                   sb_reply_body *ret_body)
{
    sb_reply_body body = {
        .rcode = query->rcode,
        .age_s = query->age_s,
        .ttl_cap_s = query->ttl_cap_s,
        .ttl_fixed_s = query->ttl_fixed_s,
        .ede = query->ede,
        .ede_text = query->ede_text,
    };
    const sb_answer *answer = query->answer;
    if (answer) {
        body.body = answer->body;
        body.body_size = answer->body_size;
        body.ttl_at = answer->ttl_at;
        body.ttl_count = answer->ttl_count;
        body.ancount = answer->ancount;
        body.nscount = answer->nscount;
        /* Never on stale, doubted, pinned or emergency answers (DESIGN §5, AD). */
        body.authenticated = (answer->flags & SB_ANSWER_AD) && !query->degraded &&
                             query->provenance.source != SB_SOURCE_PIN;
    }
    if (with_provenance) {
        size_t size = sb_provenance_write(&query->provenance, provenance_buffer, 512);
        body.provenance = (sb_span){provenance_buffer, size};
    }
    *ret_body = body;
}

/* --- asking --- */

static void settle_instant(sb_query *q, sb_offer *take_offer, bool error, bool passive)
{
    sb_tried tried = {
        .strategy = take_offer->strategy,
        .status = (uint8_t)(take_offer->answer->kind == SB_KIND_POSITIVE   ? SB_OUTCOME_OK
                            : take_offer->answer->kind == SB_KIND_NXDOMAIN ? SB_OUTCOME_NXDOMAIN
                                                                           : SB_OUTCOME_NODATA)};
    sb_query_settle(q, &(sb_settling){.offer = take_offer,
                                      .tried = &tried,
                                      .tried_count = 1,
                                      .error = error,
                                      .passive = passive});
    sb_offer_fini(take_offer);
}

/* Names the DNS is never asked about, and families the policy hides. */
static bool settle_special(sb_engine *e, const sb_asked *asked, sb_query *q)
{
    sb_answer *answer = NULL;
    sb_status status = sb_special_answer(asked->special, &asked->question, &answer);
    if (status == SB_NOTFOUND && sb_policy_hides(&asked->policy, asked->question.type))
        status = sb_answer_empty(&asked->question, SB_KIND_NODATA, e->settings->cache.stale_ttl_s,
                                 SB_SOURCE_SPECIAL, &answer);
    if (status)
        return false;
    sb_offer offer =
        sb_offer_init(SB_STRATEGY_PIN, (sb_source)answer->source, SB_RANK_FRESH_POSITIVE);
    offer.answer = answer;
    sb_query_settle(q, &(sb_settling){.offer = &offer});
    sb_offer_fini(&offer);
    return true;
}

static void restamp(sb_engine *e, const sb_asked *asked, const sb_answer *answer)
{
    uint16_t flags = sb_policy_flags(&asked->policy, answer, false);
    sb_l1_key key = {.question = &asked->question, .view = answer->view};
    if ((flags & SB_L1_PLAIN) && sb_l1_restamp(e->l1, &key, flags) != SB_OK)
        return; /* gone meanwhile: nothing to stamp */
}

/* The first rung. A live question only notes what it would have given. */
static bool settle_from_instant(sb_engine *e, const sb_asked *asked, sb_query *q)
{
    sb_ctx ctx = sb_engine_ctx(e, e->settings);
    bool live = q->ask & SB_ASK_LIVE;
    for (size_t i = 0; i < SB_ARRAY_SIZE(instant_rung); i++) {
        const sb_strategy *s = instant_rung[i];
        sb_offer offer;
        bool given = s->applies(&ctx, asked) && s->look(&ctx, asked, &offer);
        if (live)
            q->provenance.tried[q->provenance.tried_count++] =
                (sb_tried){.strategy = s->id, .status = given ? SB_OUTCOME_OK : SB_OUTCOME_MISS};
        if (!given)
            continue;
        if (live && s != &sb_strategy_pin && s != &sb_strategy_hosts) {
            sb_offer_fini(&offer);
            continue;
        }
        if (offer.restamp)
            restamp(e, asked, offer.answer);
        if (live)
            q->provenance.tried_count--; /* settle_instant names it again */
        settle_instant(q, &offer, false, false);
        if (s == &sb_strategy_cached)
            sb_refresh_used(e, asked);
        return true;
    }
    return false;
}

/* A failure on record: no new query, the fall-back or the cached failure at once (RFC 9520, RFC
 * 8767 §5). */
static bool settle_from_trouble(sb_engine *e, const sb_asked *asked, sb_query *q)
{
    sb_question_key key;
    sb_question_key_of(&asked->question, asked->view, &key);
    sb_trouble *t = sb_troubles_active(&e->troubles, &key, sb_env_now(e->env));
    if (!t || (q->ask & SB_ASK_LIVE))
        return false;
    sb_ctx ctx = sb_engine_ctx(e, e->settings);
    sb_offer offer = {.rank = SB_RANK_NONE};
    bool policy = t->ede >= 15 && t->ede <= 18;
    if (!policy && !(q->ask & SB_ASK_NO_DEGRADED))
        offer = sb_flight_fallback(&ctx, asked, false);
    if (offer.rank) {
        if (t->reason && offer.degraded && !offer.capped)
            offer.ede_text = t->reason;
        if (offer.degraded)
            sb_troubles_tell(&e->troubles, t, &offer,
                             t->reason            ? t->reason
                             : t->status != SB_OK ? sb_status_text((sb_status)t->status)
                                                  : "denial not believed");
        /* Where a denial is doubted the DNS works; it is only not believed. */
        settle_instant(q, &offer, t->reason == NULL, false);
        return true;
    }
    /* A doubted denial is no failure: what stood against it is too old by now, so ask again. */
    if (t->status == SB_OK && !(q->ask & SB_ASK_NO_DEGRADED))
        return false;
    sb_query_settle(q, &(sb_settling){.failure = (sb_status)t->status,
                                      .failure_ede = policy ? t->ede : SB_EDE_CACHED_ERROR,
                                      .failure_text = "failed a moment ago",
                                      .error = true});
    return true;
}

static void settle_cached_only(sb_engine *e, const sb_asked *asked, sb_query *q)
{
    sb_ctx ctx = sb_engine_ctx(e, e->settings);
    sb_offer offer = {.rank = SB_RANK_NONE};
    if (!(q->ask & SB_ASK_NO_DEGRADED))
        offer = sb_flight_fallback(&ctx, asked, false);
    if (offer.rank)
        settle_instant(q, &offer, false, true);
    else
        sb_query_settle(
            q, &(sb_settling){.failure = SB_NOTFOUND, .failure_ede = SB_EDE_NONE, .passive = true});
}

void sb_engine_ask(sb_engine *engine, sb_query *query, sb_op *parent, sb_ns deadline,
                   void (*done)(sb_op *))
{
    sb_question question = query->question;
    uint8_t ask = query->ask;
    sb_ns now = sb_env_now(engine->env);
    sb_ns latest = now + engine->settings->query.timeout;
    *query = (sb_query){
        .question = question,
        .ask = ask,
        .ede = SB_EDE_NONE,
        .ttl_cap_s = UINT32_MAX,
        .ttl_fixed_s = UINT32_MAX,
        .engine = engine,
        .began = now,
    };
    sb_list_init(&query->link);
    sb_op_start(&query->op, engine->env, parent, deadline < latest ? deadline : latest, done,
                query_stop);
    sb_asked asked;
    sb_engine_asked(engine, engine->settings, &question, &asked);
    sb_events_emit(&engine->events, (sb_event){.type = SB_EVENT_QUESTION,
                                               .name = sb_name_digest(&asked.question.name),
                                               .a = question.type,
                                               .b = ask});
    if (sb_loops_met(engine->loops, &question.name)) { /* our own, on its way round */
        sb_query_settle(
            query,
            &(sb_settling){.failure = SB_NXDOMAIN, .failure_ede = SB_EDE_NONE, .passive = true});
        return;
    }
    if (settle_special(engine, &asked, query) || settle_from_instant(engine, &asked, query))
        return;
    if (ask & SB_ASK_CACHED_ONLY)
        settle_cached_only(engine, &asked, query);
    else if (!settle_from_trouble(engine, &asked, query))
        sb_flight_join(engine, &asked, query);
}

void sb_engine_used(sb_engine *engine, const sb_question *question)
{
    sb_asked asked;
    sb_engine_asked(engine, engine->settings, question, &asked);
    sb_refresh_used(engine, &asked);
}

void sb_engine_warm(sb_engine *engine, const sb_name *name)
{
    static const uint16_t types[] = {SB_TYPE_A, SB_TYPE_AAAA};
    for (size_t i = 0; i < SB_ARRAY_SIZE(types); i++) {
        sb_question question = {.name = *name, .type = types[i], .class = SB_CLASS_IN};
        sb_asked asked;
        sb_engine_asked(engine, engine->settings, &question, &asked);
        if (asked.special == SB_SPECIAL_NONE && !sb_policy_hides(&asked.policy, types[i]))
            sb_flight_join(engine, &asked, NULL);
    }
}

/* --- learning --- */

/* An obeyed negative removes the positive for good: under every DO and CD, and for a name that does
 * not exist under every type a stub resolver asks. */
static void forget_in(sb_engine *e, const sb_asked *asked, sb_kind kind, uint32_t view)
{
    static const uint16_t types[] = {SB_TYPE_A,    SB_TYPE_AAAA, SB_TYPE_CNAME, SB_TYPE_HTTPS,
                                     SB_TYPE_SVCB, SB_TYPE_SRV,  SB_TYPE_TXT,   SB_TYPE_MX,
                                     SB_TYPE_PTR,  SB_TYPE_NS,   SB_TYPE_SOA,   SB_TYPE_NAPTR};
    sb_question question = asked->question;
    sb_l1_key key = {.question = &question, .view = view};
    sb_tick now = sb_l1_now(e->l1);
    size_t n = kind == SB_KIND_NXDOMAIN ? SB_ARRAY_SIZE(types) : 0;
    for (size_t i = 0; i <= n; i++) {
        question.type = i < n ? types[i] : asked->question.type;
        for (unsigned variant = 0; variant < 4; variant++) {
            sb_l1_entry entry;
            question.dnssec_ok = variant & 1;
            question.checking_disabled = variant & 2;
            /* What was asked with CD was never validated: no word against what was. */
            if (asked->question.checking_disabled && !question.checking_disabled)
                continue;
            bool found = sb_l1_find(sb_l1_reader_of(e->l1), &key, e->scratch, &entry) == SB_OK &&
                         entry.kind == SB_KIND_POSITIVE;
            /* Some servers deny the whole name for an AAAA (RFC 4074 §4.2): what the authority
             * still stands for under another type is asked again before it is forgotten. */
            if (found && question.type != asked->question.type && now < entry.life.expires)
                continue;
            (void)sb_l1_remove_tentative(e->l1, &question);
            if (!found)
                continue;
            if (sb_l1_remove(e->l1, &key) == SB_OK)
                sb_events_emit(&e->events, (sb_event){.type = SB_EVENT_FORGET,
                                                      .name = sb_name_digest(&question.name),
                                                      .a = question.type});
        }
    }
}

/* What other networks alone say stays. */
void sb_engine_forget(sb_engine *e, const sb_asked *asked, sb_kind kind)
{
    uint32_t network = sb_mobility_network(e->mobility);
    forget_in(e, asked, kind, asked->view);
    if (network != 0)
        forget_in(e, asked, kind, sb_scope_view(asked->view, network));
}

/* A pin or a hosts line came while the question was on its way: readers must not find the answer
 * first. */
static bool is_overridden(const sb_ctx *ctx, const sb_asked *asked)
{
    static const sb_strategy *const above[] = {&sb_strategy_pin, &sb_strategy_hosts};
    for (size_t i = 0; i < SB_ARRAY_SIZE(above); i++) {
        sb_offer offer;
        if (!above[i]->applies(ctx, asked) || !above[i]->look(ctx, asked, &offer))
            continue;
        sb_offer_fini(&offer);
        return true;
    }
    return false;
}

/* What else is said of a name whose addresses are private is private too. */
static bool is_private(const sb_ctx *ctx, const sb_asked *asked, const sb_answer *answer)
{
    sb_asked other = *asked;
    if (sb_scope_answer(&asked->question, answer))
        return true;
    if (sb_type_is_address(asked->question.type))
        return false;
    other.question.type = SB_TYPE_A;
    if (sb_scoped_known(ctx, &other))
        return true;
    other.question.type = SB_TYPE_AAAA;
    return sb_scoped_known(ctx, &other);
}

/* Public, but with nothing in common with what was good before the move: for its network alone.
 * What has been denied for everywhere since is not good any more. */
static bool is_tentative(const sb_engine *e, const sb_ctx *ctx, const sb_asked *asked,
                         const sb_answer *answer)
{
    sb_l1_key key = {.question = &asked->question, .view = asked->view};
    sb_l1_entry twin;
    if (!sb_mobility_contradicts(ctx, asked, answer))
        return false;
    return sb_l1_find(sb_l1_reader_of(e->l1), &key, e->scratch, &twin) != SB_OK ||
           twin.kind == SB_KIND_POSITIVE;
}

static void remove_twin(sb_engine *e, const sb_l1_key *key)
{
    sb_status status = sb_l1_remove(e->l1, key);
    (void)status; /* mostly there is none */
}

/* Under which view an answer lies: its network's own, or the route's, which holds everywhere. There
 * it ends what its network alone said; a private one hides the public one, for its network, and
 * leaves it to the others. Returns flags of the entry. */
static unsigned place_answer(sb_engine *e, const sb_ctx *ctx, const sb_asked *asked,
                             const sb_answer *answer, sb_l1_key *key)
{
    uint32_t network = sb_mobility_network(e->mobility);
    uint32_t scoped = sb_scope_view(asked->view, network);
    key->view = asked->view;
    if (network == 0)
        return 0;
    bool private = is_private(ctx, asked, answer);
    bool tentative = !private && is_tentative(e, ctx, asked, answer);
    key->network = network;
    key->view = scoped;
    if (private || tentative)
        return tentative ? SB_L1_TENTATIVE : 0;
    remove_twin(e, key);
    key->view = asked->view;
    key->network = asked->view == 0 ? network : 0; /* a route's: readers find it everywhere */
    return 0;
}

/* What vanishes together says something of each (A12). */
static void note_vanished(sb_engine *e, const sb_asked *asked, const sb_answer *denial)
{
    sb_name zone;
    sb_doubt_zone(denial, &zone);
    sb_doubts_vanished(e->doubts, &zone, &asked->question.name, sb_env_now(e->env));
}

void sb_engine_learn(sb_engine *e, const sb_asked *began, const sb_answer *answer, sb_ns said_at,
                     sb_belief belief)
{
    sb_ctx ctx = sb_engine_ctx(e, e->settings);
    sb_asked now, *asked = &now;
    /* Stored by the rules of today: readers serve it at today's epoch. */
    sb_engine_asked(e, e->settings, &began->question, asked);
    asked->flight = began->flight;
    if (asked->view != began->view || /* its route is gone */
        sb_doubt_shuns(&ctx, asked, asked->question.type, (sb_kind)answer->kind))
        return;
    if (sb_mobility_unsettled(e->mobility) &&
        (is_private(&ctx, asked, answer) || is_tentative(e, &ctx, asked, answer))) {
        if (answer->kind == SB_KIND_POSITIVE)
            sb_mobility_park(e->mobility, asked, answer, said_at);
        return; /* nobody knows yet whose it is */
    }
    sb_l1_life life = sb_policy_life(&asked->policy, answer, sb_l1_tick_at(e->l1, said_at));
    bool overridden = is_overridden(&ctx, asked);
    if (answer->kind == SB_KIND_POSITIVE) {
        sb_doubts_clear(e->doubts, &asked->question.name, asked->question.type);
        if (asked->policy.protect)
            sb_doubts_stands(e->doubts, &asked->question, answer, sb_env_now(e->env));
    } else {
        bool known = sb_question_known(&ctx, asked);
        if (belief <= SB_BELIEF_SHORT && known)
            return; /* what is not believed replaces nothing */
        if (known)
            note_vanished(e, asked, answer);
        if (belief != SB_BELIEF_NONE)
            sb_engine_forget(e, asked,
                             belief == SB_BELIEF_WHOLE ? (sb_kind)answer->kind : SB_KIND_NODATA);
    }
    if (belief == SB_BELIEF_SHORT)
        sb_policy_shorten(&life);
    uint16_t flags = sb_policy_flags(&asked->policy, answer, overridden);
    sb_l1_key key = {.question = &asked->question};
    flags |= (uint16_t)place_answer(e, &ctx, asked, answer, &key);
    /* A full or refusing cache file is counted there; it never fails the question. */
    sb_status status = sb_l1_put(e->l1, &key, answer, &life, flags);
    sb_events_emit(&e->events, (sb_event){.type = SB_EVENT_LEARN,
                                          .name = sb_name_digest(&asked->question.name),
                                          .flight = asked->flight,
                                          .status = (uint8_t)status,
                                          .a = answer->kind,
                                          .b = answer->ttl_s});
}
