/* Strategy pin: addresses an operator set over the DNS, until their end. They lie in the cache
 * file, under a view of their own, so that they survive restarts and reach readers; the engine
 * writes them, this reads. Loop thread. */
#include "dns/rdata.h"
#include "resolve/pins.h"

static bool pin_applies(const sb_ctx *ctx, const sb_asked *asked)
{
    (void)ctx;
    return asked->question.class == SB_CLASS_IN;
}

/* Pins are stored without DO and CD: one entry serves all. Of how to reach the service a pinned
 * name says nothing: the DNS's address hints would go past the pin. */
static bool pin_look(const sb_ctx *ctx, const sb_asked *asked, sb_offer *ret_offer)
{
    sb_question question = asked->question;
    bool service = question.type == SB_TYPE_HTTPS || question.type == SB_TYPE_SVCB;
    question.dnssec_ok = question.checking_disabled = false;
    if (service)
        question.type = SB_TYPE_A; /* every pin is an entry for each family, be it an empty one */
    sb_l1_key key = {.question = &question, .view = SB_VIEW_PIN};
    sb_l1_entry entry;
    if (sb_l1_find(sb_l1_reader_of(ctx->l1), &key, ctx->scratch, &entry) != SB_OK)
        return false;
    sb_tick now = sb_l1_now(ctx->l1);
    if (!(entry.flags & SB_L1_PINNED) || now >= entry.life.due)
        return false;
    if (sb_pins_aside(ctx->pins, &question.name))
        return false;
    sb_answer *answer = NULL;
    if (!service)
        answer = sb_answer_of_entry(&entry);
    else if (sb_answer_empty(&asked->question, SB_KIND_NODATA, ctx->settings->cache.stale_ttl_s,
                             SB_SOURCE_PIN, &answer) != SB_OK)
        answer = NULL;
    if (!answer)
        return false;
    sb_offer offer = sb_offer_init(SB_STRATEGY_PIN, SB_SOURCE_PIN,
                                   answer->kind == SB_KIND_POSITIVE ? SB_RANK_FRESH_POSITIVE
                                                                    : SB_RANK_TRUSTED_NEGATIVE);
    offer.answer = answer;
    offer.ede = SB_EDE_SYNTHESIZED;
    offer.ede_text = "pinned by the operator";
    offer.age_s = (now - entry.life.learned) / SB_TICKS_PER_S;
    uint32_t left_s = (entry.life.due - now) / SB_TICKS_PER_S;
    offer.ttl_fixed_s =
        left_s < ctx->settings->cache.stale_ttl_s ? left_s : ctx->settings->cache.stale_ttl_s;
    (void)sb_offer_qualify(ctx, asked, &offer);
    *ret_offer = offer;
    return true;
}

const sb_strategy sb_strategy_pin = {
    .name = "pin",
    .id = SB_STRATEGY_PIN,
    .traits = SB_TRAIT_INSTANT,
    .applies = pin_applies,
    .look = pin_look,
};
