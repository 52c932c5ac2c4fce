/* See refresh.h. */
#include "resolve/refresh.h"

#include "base/mem.h"
#include "dns/rdata.h"
#include "resolve/flight.h"

#define WARM_EVERY_S 10 /* the least, whatever the TTL: nobody may be asking */
#define RECOVERY_EVERY (100 * SB_MS)

bool sb_pace_take(sb_pace *pace, unsigned per_second, sb_ns now)
{
    /* A tenth of a second's worth at most lies ready: a return is not met with a burst. Nine tenths
     * are earned in a second, so that none has more than its due. */
    uint64_t most = (uint64_t)per_second * 100 < 1000 ? 1000 : (uint64_t)per_second * 100;
    if (per_second == 0)
        return false;
    per_second -= per_second / 10;
    sb_ns passed = now - pace->filled_at;
    uint64_t earned = passed >= SB_S ? most : (uint64_t)(passed / SB_US) * per_second / 1000;
    if (earned > 0) { /* what was cut off is earned with the next */
        pace->milli = pace->milli + earned > most ? most : pace->milli + earned;
        pace->filled_at =
            passed >= SB_S
                ? now
                : pace->filled_at + (sb_ns)((earned * 1000 + per_second - 1) / per_second) * SB_US;
    }
    if (pace->milli < 1000)
        return false;
    pace->milli -= 1000;
    return true;
}

bool sb_refresh_is_due(const sb_settings *settings, const sb_l1_entry *entry, sb_tick now)
{
    if (sb_l1_freshness(entry, now) != SB_FRESH || entry->kind != SB_KIND_POSITIVE)
        return false;
    uint64_t left = entry->life.due - now, whole = entry->life.due - entry->life.learned;
    return left * 1000 <= whole * settings->cache.prefetch_permille;
}

static void refresh(sb_engine *e, const sb_asked *asked)
{
    if (sb_pace_take(&e->pace, e->settings->query.refresh_rate, sb_env_now(e->env)))
        sb_flight_join(e, asked, NULL);
    else
        sb_count(&e->stats, SB_COUNT_LIMIT_REFRESHES);
}

/* A failure on record keeps its pause: an outage is no time for prefetching. */
static bool is_paused(sb_engine *e, const sb_asked *asked)
{
    sb_question_key key;
    sb_question_key_of(&asked->question, asked->view, &key);
    return sb_troubles_active(&e->troubles, &key, sb_env_now(e->env)) != NULL;
}

bool sb_refresh_paced(sb_engine *e, const sb_asked *asked)
{
    if (is_paused(e, asked))
        return false;
    refresh(e, asked);
    return true;
}

void sb_refresh_used(sb_engine *e, const sb_asked *asked)
{
    sb_ctx ctx = sb_engine_ctx(e, e->settings);
    sb_l1_entry entry;
    if (sb_entry_find(&ctx, &asked->question, asked->view, true, &entry) &&
        sb_refresh_is_due(e->settings, &entry, sb_l1_now(e->l1)) && !is_paused(e, asked))
        refresh(e, asked);
}

/* Due soon, or not there at all. */
static bool wants_warming(sb_engine *e, const sb_asked *asked)
{
    sb_ctx ctx = sb_engine_ctx(e, e->settings);
    sb_l1_entry entry;
    sb_tick now = sb_l1_now(e->l1);
    if (!sb_entry_find(&ctx, &asked->question, asked->view, false, &entry) ||
        sb_entry_moved(&ctx, &entry))
        return true;
    if (now >= entry.life.learned && now - entry.life.learned < WARM_EVERY_S * SB_TICKS_PER_S)
        return false;
    return sb_l1_freshness(&entry, now) != SB_FRESH || sb_refresh_is_due(e->settings, &entry, now);
}

/* Where no server has answered lately, one name goes ahead a second: after a reload, a start or a
 * pause in an outage the others would all ask the dead at once. */
static bool may_scout(sb_engine *e, const sb_asked *asked)
{
    const sb_pool *pool = sb_upstreams_pool(e->upstreams, &asked->question.name);
    for (unsigned i = 0; i < pool->count; i++)
        if (sb_upstream_works(e->upstreams, pool->servers[i]))
            return true;
    uint64_t name = sb_name_digest(&asked->question.name);
    bool first = e->pace.scouted_tick != e->ticks;
    if (first)
        e->pace.scout = name;
    e->pace.scouted_tick = e->ticks;
    return e->pace.scout == name; /* both its types */
}

static void keep_warm(sb_engine *e, const sb_name *name)
{
    static const uint16_t types[] = {SB_TYPE_A, SB_TYPE_AAAA};
    for (size_t i = 0; i < SB_ARRAY_SIZE(types); i++) {
        sb_question question = {.name = *name, .type = types[i], .class = SB_CLASS_IN};
        sb_asked asked;
        sb_engine_asked(e, e->settings, &question, &asked);
        if (asked.special == SB_SPECIAL_NONE && !sb_policy_hides(&asked.policy, types[i]) &&
            wants_warming(e, &asked) && !is_paused(e, &asked) && may_scout(e, &asked))
            refresh(e, &asked);
    }
}

void sb_refresh_tick(sb_engine *e)
{
    for (size_t i = 0; i < e->settings->cache.warm_count; i++)
        keep_warm(e, &e->settings->cache.warm[i]);
    for (size_t i = 0; i < e->settings->name_count; i++) {
        const sb_name_setting *rule = &e->settings->names[i];
        if (!rule->below && (rule->protect || rule->emergency_count > 0))
            keep_warm(e, &rule->match);
    }
}

void sb_refresh_recovered(sb_engine *e)
{
    if (!sb_timer_armed(&e->recovery)) /* a moment's jitter: many machines see the same return */
        sb_timer_set(e->env, &e->recovery,
                     sb_env_now(e->env) + sb_rand_range(&e->env->rand, 0, RECOVERY_EVERY));
}

void sb_refresh_recovery_fire(sb_timer *timer)
{
    sb_engine *e = sb_container_of(timer, sb_engine, recovery);
    sb_asked asked;
    sb_question question;
    bool degraded;
    while (sb_troubles_peek_void(&e->troubles, &question, &degraded)) {
        if (!degraded) { /* nobody lives on an old answer of it: the next asker will see */
            sb_troubles_pass_void(&e->troubles);
            continue;
        }
        if (!sb_pace_take(&e->pace, e->settings->query.refresh_rate, sb_env_now(e->env))) {
            sb_timer_set(e->env, timer, sb_env_now(e->env) + RECOVERY_EVERY);
            return;
        }
        sb_troubles_pass_void(&e->troubles);
        sb_engine_asked(e, e->settings, &question, &asked);
        sb_flight_join(e, &asked, NULL);
    }
}
