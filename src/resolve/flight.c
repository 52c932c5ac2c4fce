/* Flights: the ladder climbed once per question, waiters settled as their patience allows. See
 * flight.h. */
#include "resolve/flight.h"

#include "base/log.h"
#include "base/mem.h"

/* The rungs that talk to the world, and those that know something worse than fresh, best first. */
static const sb_strategy *const network_rung[] = {&sb_strategy_wire};
static const sb_strategy *const doubt_rung[] = {&sb_strategy_doubt};
static const sb_strategy *const fallback_rung[] = {&sb_strategy_stale, &sb_strategy_emergency};
_Static_assert(SB_ARRAY_SIZE(network_rung) + SB_ARRAY_SIZE(doubt_rung) <=
                   SB_ARRAY_SIZE(((sb_flight *)0)->attempts),
               "room");

#define PATIENCE_LEAST                                                                             \
    (20 * SB_MS) /* also before any round trip was measured: a restart in an                       \
                    outage answers at once (A10) */
#define PATIENCE_USUAL (300 * SB_MS)
#define PATIENCE_MOST (1800 * SB_MS) /* RFC 8767 §5 */
/* … where no server has answered yet, and there is an emergency address: nothing is known that
 * waiting could be worth. */
#define PATIENCE_STRANGERS (600 * SB_MS)
/* A flight ends this long before its first asker gives up, so that the asker learns what was tried.
 */
#define FAREWELL (10 * SB_MS)

sb_ns sb_flight_patience(sb_ns setting, sb_ns rtt, bool dead)
{
    if (dead)
        return 0;
    if (setting >= 0)
        return setting > PATIENCE_MOST ? PATIENCE_MOST : setting;
    sb_ns most = 2 * rtt > PATIENCE_USUAL ? 2 * rtt : PATIENCE_USUAL;
    sb_ns patience = 3 * rtt;
    if (patience > most)
        patience = most;
    if (patience < PATIENCE_LEAST)
        patience = PATIENCE_LEAST;
    return patience > PATIENCE_MOST ? PATIENCE_MOST : patience;
}

sb_offer sb_flight_fallback(const sb_ctx *ctx, const sb_asked *asked, bool stale_only)
{
    sb_offer best = {.rank = SB_RANK_NONE};
    sb_liveness life = SB_LIVENESS_UNKNOWN;
    for (size_t i = 0; i < SB_ARRAY_SIZE(fallback_rung); i++) {
        const sb_strategy *s = fallback_rung[i];
        sb_offer offer;
        /* What is known to be dead gives way to what is known to live, whatever its rank. */
        bool dead = life == SB_LIVENESS_DEAD || life == SB_LIVENESS_HOST;
        if (stale_only && s != &sb_strategy_stale && !dead)
            continue;
        if (!s->applies(ctx, asked) || !s->look(ctx, asked, &offer))
            continue;
        sb_liveness lives =
            offer.degraded ? sb_offer_qualify(ctx, asked, &offer) : SB_LIVENESS_UNKNOWN;
        if (dead ? lives == SB_LIVENESS_ALIVE : offer.rank > best.rank) {
            sb_offer_fini(&best);
            best = offer;
            life = lives;
        } else {
            sb_offer_fini(&offer);
        }
    }
    return best;
}

static void emit(sb_flight *f, sb_event_type type, sb_status status, uint32_t a, uint32_t b)
{
    sb_events_emit(&f->engine->events, (sb_event){
                                           .type = (uint16_t)type,
                                           .flight = f->asked.flight,
                                           .name = sb_name_digest(&f->asked.question.name),
                                           .status = (uint8_t)status,
                                           .a = a,
                                           .b = b,
                                       });
}

/* A doubt weighed a moment ago is the reason why there is nothing fresh, as far as one can say
 * before it is weighed again. */
#define DOUBT_LATELY (120 * SB_S)
static void explain_doubt(const sb_flight *f, sb_offer *offer)
{
    sb_doubt_info info;
    const sb_question *q = &f->asked.question;
    if (offer->degraded && !offer->capped &&
        sb_doubts_last(f->ctx.doubts, &q->name, q->type, &info) &&
        sb_env_now(f->engine->env) - info.at < DOUBT_LATELY && info.reason[0])
        offer->ede_text = info.reason;
}

/* Sends away the waiters that take fall-backs; the flight goes on for the cache's sake. */
static void settle_early(sb_flight *f)
{
    if (!f->impatient || sb_list_empty(&f->waiters))
        return;
    sb_offer offer = sb_flight_fallback(&f->ctx, &f->asked, !f->desperate);
    if (offer.rank == SB_RANK_NONE)
        return;
    explain_doubt(f, &offer);
    sb_list_each_safe (it, &f->waiters) {
        sb_query *query = sb_container_of(it, sb_query, link);
        if (query->ask & (SB_ASK_LIVE | SB_ASK_NO_DEGRADED))
            continue;
        f->settled_early++;
        sb_query_settle(
            query,
            &(sb_settling){.offer = &offer, .tried = f->tried, .tried_count = f->tried_count});
    }
    sb_offer_fini(&offer);
}

/* Until any fall-back goes, not only what was learned. */
static sb_ns patience_most(const sb_flight *f)
{
    const sb_pool *pool = sb_upstreams_pool(f->ctx.upstreams, &f->asked.question.name);
    for (unsigned i = 0; i < pool->count; i++)
        if (pool->servers[i]->last_success)
            return PATIENCE_MOST;
    return f->asked.policy.emergency_count > 0 ? PATIENCE_STRANGERS : PATIENCE_MOST;
}

static void patience_over(sb_timer *timer)
{
    sb_flight *f = sb_container_of(timer, sb_flight, patience);
    f->desperate = f->impatient || sb_env_now(f->engine->env) - f->began >= PATIENCE_MOST ||
                   sb_pool_dead(f->ctx.upstreams,
                                sb_upstreams_pool(f->ctx.upstreams, &f->asked.question.name));
    f->impatient = true;
    settle_early(f);
    if (!f->desperate)
        sb_timer_set(f->engine->env, &f->patience, f->began + patience_most(f));
}

static void take_tried(sb_flight *f, const sb_attempt *attempt)
{
    for (unsigned i = 0; i < attempt->tried_count && f->tried_count < SB_TRIED_MAX; i++)
        f->tried[f->tried_count++] = attempt->tried[i];
}

static void attempt_stop(sb_op *op)
{
    sb_attempt *attempt = sb_container_of(op, sb_attempt, op);
    if (attempt->strategy->stop)
        attempt->strategy->stop(attempt);
}

static sb_flight *flight_of(const sb_attempt *attempt)
{
    return sb_container_of(attempt->op.parent, sb_flight, op);
}

static void start_rung(sb_flight *f, const sb_strategy *const *rung, size_t n);
static void attempt_early(sb_attempt *attempt, const sb_offer *offer);

static void attempt_done(sb_op *op)
{
    sb_attempt *attempt = sb_container_of(op, sb_attempt, op);
    sb_flight *f = flight_of(attempt);
    f->attempts_ended++;
    take_tried(f, attempt);
    attempt->tried_count = 0;
    if (attempt->offer.rank == SB_RANK_FRESH_POSITIVE &&
        sb_mobility_suspects(&f->ctx, &f->asked, attempt->offer.answer, &f->doubt))
        attempt->offer.rank = SB_RANK_UNTRUSTED_POSITIVE;
    if (attempt->offer.rank > f->best.rank) {
        sb_offer_fini(&f->best);
        f->best = attempt->offer;
        attempt->offer = (sb_offer){0};
        emit(f, SB_EVENT_OFFER, op->status, f->best.answer->kind, f->best.rank);
    }
    if (op->status != SB_OK) {
        f->failure = op->status;
        f->failure_ede = attempt->ede;
        f->failure_text = attempt->failed_by;
    }
    if (attempt->reason) {
        f->doubt = attempt->reason;
        f->confirm_in = attempt->confirm_in;
    }
    if (attempt->confirmed)
        sb_engine_forget(f->engine, &f->asked,
                         attempt->type_only ? SB_KIND_NODATA : (sb_kind)f->best.answer->kind);
    if (f->best.rank >= SB_RANK_TRUSTED_NEGATIVE) {
        sb_op_finish(&f->op, SB_OK);
        return;
    }
    if (f->attempts_ended < f->attempt_count)
        return;
    if (f->best.rank == SB_RANK_UNTRUSTED_NEGATIVE && !f->doubted) {
        f->doubted = true;
        start_rung(f, doubt_rung, SB_ARRAY_SIZE(doubt_rung));
    }
    if (f->attempts_ended == f->attempt_count)
        sb_op_finish(&f->op, f->best.rank ? SB_OK : f->failure);
}

static void start_rung(sb_flight *f, const sb_strategy *const *rung, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const sb_strategy *s = rung[i];
        if (!s->applies(&f->ctx, &f->asked))
            continue;
        sb_attempt *attempt = sb_arena_alloc(&f->arena, s->attempt_bytes);
        if (!attempt) {
            sb_count(&f->engine->stats, SB_COUNT_LIMIT_ARENA);
            continue;
        }
        attempt->ctx = &f->ctx;
        attempt->asked = &f->asked;
        attempt->strategy = s;
        attempt->ede = SB_EDE_NONE;
        attempt->early = attempt_early;
        attempt->against = f->best.rank ? &f->best : NULL;
        f->attempts[f->attempt_count++] = attempt;
        sb_op_start(&attempt->op, f->engine->env, &f->op, SB_NEVER, attempt_done, attempt_stop);
        emit(f, SB_EVENT_RUNG, SB_OK, s->id, 0);
        s->start(attempt);
    }
}

/* Policy verdicts of a server (blocked, censored, filtered, prohibited) are obeyed: nothing stale
 * around them. */
static bool forbids_fallback(int ede)
{
    return ede >= 15 && ede <= 18;
}

/* Nobody is served by a refresh: the first who asks then is told, and the log with him. */
static void note_degraded(sb_flight *f, sb_trouble *trouble, const sb_offer *offer)
{
    if (!trouble || offer->rank == SB_RANK_NONE)
        return;
    if (!trouble->degraded)
        emit(f, SB_EVENT_DEGRADED, f->failure, offer->source, 0);
    trouble->degraded = true;
    if (f->settled_early > 0 || f->waiter_count > 0)
        sb_troubles_tell(&f->engine->troubles, trouble, offer,
                         f->denied         ? (f->doubt ? f->doubt : "denial not believed")
                         : f->failure_text ? f->failure_text
                                           : sb_status_text(f->failure));
}

static void note_recovered(sb_flight *f)
{
    char name[SB_NAME_TEXT_MAX], quoted[SB_NAME_TEXT_MAX];
    bool told;
    if (sb_troubles_clear(&f->engine->troubles, &f->key, &told))
        emit(f, SB_EVENT_RECOVERED, SB_OK, 0, 0);
    if (told)
        sb_log(RESOLVE, INFO, "answers are fresh again", "name=%s",
               sb_log_escape(quoted, sizeof quoted, sb_name_text(&f->asked.question.name, name)));
}

/* The ladder gave nothing to believe: fall-backs, or a typed failure. */
static void end_badly(sb_flight *f)
{
    sb_engine *e = f->engine;
    sb_offer untrusted = f->best;
    f->best = (sb_offer){0};
    /* A refused denial is no failure of the DNS; a two-label .local without anybody to ask neither.
     */
    f->denied = untrusted.rank != SB_RANK_NONE;
    bool failed = !f->denied && f->attempt_count > 0;
    if (!forbids_fallback(f->failure_ede))
        f->best = sb_flight_fallback(&f->ctx, &f->asked, false);
    if (untrusted.rank > f->best.rank) {
        sb_offer_fini(&f->best);
        f->best = untrusted;
        untrusted = (sb_offer){0};
    }
    sb_offer_fini(&untrusted);
    if (f->doubt && f->best.degraded && !f->best.capped)
        f->best.ede_text = f->doubt;
    bool known = f->best.rank > SB_RANK_UNTRUSTED_POSITIVE;
    /* A doubted denial is looked at again when it may be confirmed, if that is sooner. */
    sb_ns recheck = f->settings->cache.recheck;
    if (f->confirm_in > 0 && f->confirm_in < recheck)
        recheck = f->confirm_in < SB_S ? SB_S : f->confirm_in;
    if (failed || known) {
        sb_status why = f->denied ? SB_OK : f->failure;
        sb_trouble *t = sb_troubles_add(&e->troubles, &f->key, why, f->failure_ede,
                                        sb_env_now(e->env), known ? recheck : 0);
        if (t)
            t->reason = f->doubt;
        if (known)
            note_degraded(f, t, &f->best);
    }
    if (failed) {
        sb_engine_watch_dead(e, &f->asked.question);
        sb_stats_errors_late(&e->stats, sb_env_now(e->env), f->settled_early);
    }
}

/* A two-label .local name nobody here can be asked about does not exist, as far as we can say. */
static sb_status failure_of(const sb_flight *f)
{
    return f->attempt_count == 0 && f->asked.special == SB_SPECIAL_LINK_LOCAL ? SB_NXDOMAIN
                                                                              : f->failure;
}

static void settle_all(sb_flight *f, const sb_offer *best)
{
    bool failed = best->rank < SB_RANK_TRUSTED_NEGATIVE &&
                  best->rank != SB_RANK_UNTRUSTED_NEGATIVE &&
                  best->rank != SB_RANK_UNTRUSTED_POSITIVE;
    while (!sb_list_empty(&f->waiters)) {
        sb_query *query = sb_container_of(f->waiters.next, sb_query, link);
        bool refuses = best->degraded && (query->ask & SB_ASK_NO_DEGRADED);
        sb_settling settling = {
            .offer = best->rank && !refuses ? best : NULL,
            .failure = failure_of(f),
            .failure_ede = f->failure_ede,
            .failure_text = f->failure_text,
            .tried = f->tried,
            .tried_count = f->tried_count,
            .error = failed && !f->denied && f->attempt_count > 0,
        };
        sb_query_settle(query, &settling);
    }
}

static void count_strategy(sb_stats *stats, unsigned strategy)
{
    static const uint8_t counter[SB_STRATEGY_COUNT] = {
        [SB_STRATEGY_PIN] = SB_COUNT_STRATEGY_PIN,
        [SB_STRATEGY_HOSTS] = SB_COUNT_STRATEGY_HOSTS,
        [SB_STRATEGY_CACHED] = SB_COUNT_STRATEGY_CACHED,
        [SB_STRATEGY_WIRE] = SB_COUNT_STRATEGY_WIRE,
        [SB_STRATEGY_STALE] = SB_COUNT_STRATEGY_STALE,
        [SB_STRATEGY_EMERGENCY] = SB_COUNT_STRATEGY_EMERGENCY,
    };
    if (strategy < SB_STRATEGY_COUNT && counter[strategy])
        sb_count(stats, counter[strategy]);
}

static void flight_free(sb_flight *f)
{
    for (unsigned i = 0; i < f->attempt_count; i++)
        sb_offer_fini(&f->attempts[i]->offer);
    sb_offer_fini(&f->best);
    sb_offer_fini(&f->early);
    sb_timer_stop(f->engine->env, &f->patience);
    sb_map_remove(&f->engine->flights, &f->node);
    sb_list_remove(&f->age);
    sb_settings_unref(f->settings);
    sb_arena_fini(&f->arena);
    sb_free(f);
}

/* A denial may have waited for an earlier server and for a second opinion: it is that old. */
static sb_ns said_at(const sb_flight *f, const sb_offer *offer)
{
    return offer->said_at ? offer->said_at : sb_env_now(f->engine->env);
}

static uint32_t said_ago_s(const sb_flight *f, const sb_offer *offer)
{
    return (uint32_t)((sb_env_now(f->engine->env) - said_at(f, offer)) / SB_S);
}

/* A denial without SOA is not to be cached (RFC 2308 §5): it answers who asked and removes nothing,
 * but where it was doubted and confirmed: of a name that is not protected nothing is, the doubt
 * window only ended meanwhile. Broken forwarders say such things in an outage. */
static sb_belief belief_of(const sb_flight *f, const sb_offer *offer)
{
    const sb_answer *answer = offer->answer;
    bool bare = answer->kind != SB_KIND_POSITIVE && answer->flags & SB_ANSWER_NO_SOA;
    bool confirmed = f->doubted && f->asked.policy.protect;
    if (bare && !confirmed && !sb_doubts_obeyed(f->ctx.doubts, &f->asked.question.name))
        return SB_BELIEF_NONE;
    return offer->early ? SB_BELIEF_SHORT : offer->type_only ? SB_BELIEF_TYPE : SB_BELIEF_WHOLE;
}

static void believe(sb_flight *f, sb_offer *offer)
{
    const sb_answer *answer = offer->answer;
    sb_engine_learn(f->engine, &f->asked, answer, said_at(f, offer), belief_of(f, offer));
    if (offer->source == SB_SOURCE_DNS)
        sb_pins_heard(f->engine, &f->asked, answer);
    sb_l1_life life = sb_policy_life(&f->asked.policy, answer, 1);
    if (offer->early)
        sb_policy_shorten(&life);
    offer->ttl_cap_s = (life.due - 1) / SB_TICKS_PER_S;
    offer->age_s = said_ago_s(f, offer);
    offer->ttl_cap_s -= offer->age_s < offer->ttl_cap_s ? offer->age_s : offer->ttl_cap_s;
    sb_upstreams_remember(f->engine->upstreams, &f->asked.question, true);
    note_recovered(f);
}

/* They have their answer; the flight goes on. Who joins it now has the same. */
static void attempt_early(sb_attempt *attempt, const sb_offer *offer)
{
    sb_flight *f = flight_of(attempt);
    sb_offer_fini(&f->early);
    f->early = *offer;
    f->early.answer = sb_answer_ref(offer->answer);
    take_tried(f, attempt);
    attempt->tried_count = 0;
    believe(f, &f->early);
    settle_all(f, &f->early);
}

static void flight_done(sb_op *op)
{
    sb_flight *f = sb_container_of(op, sb_flight, op);
    if (op->status == SB_TIMEOUT) {
        f->failure = SB_TIMEOUT;
        f->failure_text = NULL;
        for (unsigned i = 0; i < f->attempt_count; i++)
            take_tried(f, f->attempts[i]);
    } else if (op->status != SB_OK) {
        f->failure = op->status;
    }
    if (f->best.rank >= SB_RANK_TRUSTED_NEGATIVE) {
        believe(f, &f->best);
    } else if (f->early.rank == SB_RANK_NONE || f->waiter_count > 0) {
        if (f->attempt_count > 0)
            sb_pins_heard(f->engine, &f->asked, NULL);
        end_badly(f);
        if (f->best.rank == SB_RANK_UNTRUSTED_NEGATIVE) {
            f->best.age_s = said_ago_s(f, &f->best);
            sb_engine_learn(f->engine, &f->asked, f->best.answer, said_at(f, &f->best),
                            SB_BELIEF_NONE);
        }
    }
    count_strategy(&f->engine->stats, f->best.rank ? f->best.strategy : SB_STRATEGY_COUNT);
    emit(f, SB_EVENT_FLIGHT_END, f->best.rank ? SB_OK : f->failure, f->waiter_count,
         f->best.source);
    settle_all(f, &f->best);
    flight_free(f);
}

/* Its waiters get what is known, or a failure: it has waited longest, and hardly for anything that
 * still comes. */
static void crowd_out(sb_engine *e)
{
    while (!sb_list_empty(&e->flights_by_age)) {
        sb_flight *oldest = sb_container_of(e->flights_by_age.next, sb_flight, age);
        bool running = sb_op_running(&oldest->op);
        if (running && sb_env_now(e->env) - oldest->began < SB_FLIGHT_LEAST)
            return;
        sb_list_remove(&oldest->age);
        if (!running)
            continue;
        sb_count(&e->stats, SB_COUNT_LIMIT_FLIGHTS);
        sb_op_finish(&oldest->op, SB_TIMEOUT);
        return;
    }
}

static sb_flight *flight_new(sb_engine *e, const sb_asked *asked, const sb_question_key *key)
{
    sb_flight *f = sb_new(sb_flight);
    if (!f)
        return NULL;
    f->engine = e;
    f->settings = sb_settings_ref(e->settings);
    f->ctx = sb_engine_ctx(e, f->settings);
    f->asked = *asked;
    f->key = *key;
    f->asked.flight = ++e->flight_number;
    f->failure = SB_UNREACHABLE;
    f->failure_ede = SB_EDE_NONE;
    f->began = sb_env_now(e->env);
    sb_list_init(&f->waiters);
    sb_arena_init(&f->arena, SB_FLIGHT_ARENA_MAX);
    sb_map_insert(&e->flights, &f->node, f->key.bytes, f->key.size);
    sb_list_init(&f->age);
    sb_list_push(&e->flights_by_age, &f->age);
    sb_count(&e->stats, SB_COUNT_FLIGHTS);
    sb_ns timeout = f->settings->query.timeout;
    sb_op_start(&f->op, e->env, NULL, f->began + timeout - (timeout > 2 * FAREWELL ? FAREWELL : 0),
                flight_done, NULL);
    emit(f, SB_EVENT_FLIGHT_START, SB_OK, asked->question.type, 0);
    sb_timer_init(&f->patience, patience_over);
    const sb_pool *pool = sb_upstreams_pool(e->upstreams, &asked->question.name);
    sb_ns patience =
        sb_flight_patience(f->settings->cache.patience, sb_pool_rtt(e->upstreams, pool),
                           sb_pool_dead(e->upstreams, pool));
    sb_timer_set(e->env, &f->patience, f->began + patience);
    start_rung(f, network_rung, SB_ARRAY_SIZE(network_rung));
    if (f->attempt_count == 0)
        sb_op_finish(&f->op, SB_NOTFOUND);
    return f;
}

/* No room for a flight or a waiter: what is known, or a failure that says so. */
static void settle_at_limit(sb_engine *e, const sb_asked *asked, sb_query *query,
                            sb_counter counter)
{
    sb_count(&e->stats, counter);
    if (!query)
        return;
    sb_ctx ctx = sb_engine_ctx(e, e->settings);
    sb_offer offer = {.rank = SB_RANK_NONE};
    if (!(query->ask & SB_ASK_NO_DEGRADED))
        offer = sb_flight_fallback(&ctx, asked, false);
    sb_query_settle(query, &(sb_settling){.offer = offer.rank ? &offer : NULL,
                                          .failure = SB_LIMIT,
                                          .failure_ede = SB_EDE_NONE,
                                          .error = true});
    sb_offer_fini(&offer);
}

/* What the others were given, while it lasts. */
static bool joins_early(const sb_flight *f, sb_query *query)
{
    sb_offer offer = f->early;
    uint32_t age_s = said_ago_s(f, &offer), end_s = offer.age_s + offer.ttl_cap_s;
    if (offer.rank == SB_RANK_NONE || age_s >= end_s)
        return false;
    offer.age_s = age_s;
    offer.ttl_cap_s = end_s - age_s;
    sb_query_settle(
        query, &(sb_settling){.offer = &offer, .tried = f->tried, .tried_count = f->tried_count});
    return true;
}

void sb_flight_join(sb_engine *e, const sb_asked *asked, sb_query *query)
{
    sb_question_key key;
    sb_question_key_of(&asked->question, asked->view, &key);
    sb_map_node *node = sb_map_find(&e->flights, key.bytes, key.size);
    sb_flight *f = node ? sb_container_of(node, sb_flight, node) : NULL;
    if (f && !query)
        return;
    if (!f && e->flights.count >= SB_FLIGHTS_CROWD) {
        if (!query) /* nobody waits: another time */
            return;
        crowd_out(e);
    }
    if (f)
        sb_count(&e->stats, SB_COUNT_COALESCED);
    else if (e->flights.count >= SB_FLIGHTS_MAX || !(f = flight_new(e, asked, &key))) {
        settle_at_limit(e, asked, query, SB_COUNT_LIMIT_FLIGHTS);
        return;
    }
    if (!query) {
        sb_count(&e->stats, SB_COUNT_PREFETCHES);
        return;
    }
    if (joins_early(f, query))
        return;
    if (f->waiter_count >= SB_WAITERS_MAX) {
        settle_at_limit(e, asked, query, SB_COUNT_LIMIT_WAITERS);
        return;
    }
    query->flight = f;
    f->waiter_count++;
    sb_list_push(&f->waiters, &query->link);
    /* All died since it began: nobody waits any more. */
    if (!f->desperate &&
        sb_pool_dead(e->upstreams, sb_upstreams_pool(e->upstreams, &asked->question.name)))
        f->impatient = f->desperate = true;
    settle_early(f);
}

/* Only the failures of the network that was are forgotten: what was tried stays in the record. */
static bool ground_flight(sb_map_node *node, void *context)
{
    (void)context;
    sb_flight *f = sb_container_of(node, sb_flight, node);
    if (!sb_op_running(&f->op))
        return true;
    for (unsigned i = 0; i < f->attempt_count; i++) {
        sb_op_cancel(&f->attempts[i]->op);
        take_tried(f, f->attempts[i]);
        sb_offer_fini(&f->attempts[i]->offer);
    }
    f->attempt_count = f->attempts_ended = 0;
    sb_offer_fini(&f->best);
    sb_offer_fini(&f->early); /* another network's word */
    f->failure = SB_UNREACHABLE;
    f->failure_ede = SB_EDE_NONE;
    f->doubt = NULL;
    f->doubted = false;
    f->confirm_in = 0;
    sb_arena_fini(&f->arena);
    sb_arena_init(&f->arena, SB_FLIGHT_ARENA_MAX);
    return true;
}

static bool resume_flight(sb_map_node *node, void *context)
{
    (void)context;
    sb_flight *f = sb_container_of(node, sb_flight, node);
    if (!sb_op_running(&f->op))
        return true;
    start_rung(f, network_rung, SB_ARRAY_SIZE(network_rung));
    if (f->attempt_count == 0)
        sb_op_finish(&f->op, SB_NOTFOUND);
    return true;
}

void sb_flights_ground(sb_engine *engine)
{
    sb_map_each(&engine->flights, ground_flight, NULL);
}

void sb_flights_resume(sb_engine *engine)
{
    sb_map_each(&engine->flights, resume_flight, NULL);
}

static bool cancel_flight(sb_map_node *node, void *context)
{
    (void)context;
    sb_flight *f = sb_container_of(node, sb_flight, node);
    sb_op_cancel(&f->op);
    flight_free(f);
    return true;
}

void sb_flights_cancel(sb_engine *engine)
{
    sb_map_each(&engine->flights, cancel_flight, NULL);
}
