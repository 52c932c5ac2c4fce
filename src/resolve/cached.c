/* Strategy cached: what the cache file holds and is fresh. Loop thread. */
#include "resolve/verdict.h"

static bool cached_applies(const sb_ctx *ctx, const sb_asked *asked)
{
    (void)ctx;
    (void)asked;
    return true;
}

static bool cached_look(const sb_ctx *ctx, const sb_asked *asked, sb_offer *ret_offer)
{
    sb_l1_entry entry;
    if (!sb_entry_find(ctx, &asked->question, asked->view, true, &entry))
        return false;
    sb_tick now = sb_l1_now(ctx->l1);
    if (sb_l1_freshness(&entry, now) != SB_FRESH || sb_entry_moved(ctx, &entry) ||
        sb_doubt_shuns(ctx, asked, asked->question.type, (sb_kind)entry.kind))
        return false;
    sb_answer *answer = sb_answer_of_entry(&entry);
    if (!answer)
        return false;
    sb_offer offer = sb_offer_init(SB_STRATEGY_CACHED, SB_SOURCE_CACHE,
                                   answer->kind == SB_KIND_POSITIVE ? SB_RANK_FRESH_POSITIVE
                                                                    : SB_RANK_TRUSTED_NEGATIVE);
    offer.answer = answer;
    offer.hit = true;
    offer.restamp = !sb_l1_servable(sb_l1_reader_of(ctx->l1), &entry);
    offer.age_s = (now - entry.life.learned) / SB_TICKS_PER_S;
    offer.ttl_cap_s = (entry.life.due - now) / SB_TICKS_PER_S;
    *ret_offer = offer;
    return true;
}

const sb_strategy sb_strategy_cached = {
    .name = "cached",
    .id = SB_STRATEGY_CACHED,
    .traits = SB_TRAIT_INSTANT,
    .applies = cached_applies,
    .look = cached_look,
};
