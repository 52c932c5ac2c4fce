/* Strategy emergency: addresses from the environment or the configuration when the DNS gives
 * nothing (A4), and the empty answer for address types a known name is not known to have: a
 * SERVFAIL there makes some C libraries drop the other family. Loop thread. */
#include "resolve/strategy.h"

#include "dns/rdata.h"
#include "resolve/pins.h"

static bool emergency_applies(const sb_ctx *ctx, const sb_asked *asked)
{
    (void)ctx;
    return asked->question.class == SB_CLASS_IN &&
           (sb_type_is_address(asked->question.type) || asked->question.type == SB_TYPE_HTTPS);
}

static bool emergency_look(const sb_ctx *ctx, const sb_asked *asked, sb_offer *ret_offer)
{
    const sb_policy *policy = &asked->policy;
    uint32_t ttl_s = ctx->settings->cache.stale_ttl_s;
    bool emergency = policy->emergency_count > 0 &&
                     !sb_pins_emergency_over(ctx->pins, asked, sb_env_now(ctx->env));
    /* What is known of the very type asked is no reason to call it empty. */
    if (!emergency && (sb_question_known(ctx, asked) || !sb_name_known(ctx, asked)))
        return false;
    sb_answer *answer = NULL;
    sb_source source = emergency ? SB_SOURCE_EMERGENCY : SB_SOURCE_STALE;
    /* Without emergency addresses this is the empty answer of a name known by its other types. */
    sb_status status =
        sb_answer_from_addresses(&asked->question, policy->emergency,
                                 emergency ? policy->emergency_count : 0, ttl_s, source, &answer);
    if (status)
        return false;
    sb_offer offer = sb_offer_init(SB_STRATEGY_EMERGENCY, source, SB_RANK_EMERGENCY);
    offer.answer = answer;
    offer.degraded = true;
    offer.age_unknown = true; /* nobody learned it: it was set, or made up */
    offer.ttl_fixed_s = ttl_s;
    offer.ede = SB_EDE_SYNTHESIZED;
    offer.ede_text = emergency ? "emergency address" : "type not known, name is";
    *ret_offer = offer;
    return true;
}

const sb_strategy sb_strategy_emergency = {
    .name = "emergency",
    .id = SB_STRATEGY_EMERGENCY,
    .traits = SB_TRAIT_INSTANT | SB_TRAIT_DEGRADED,
    .applies = emergency_applies,
    .look = emergency_look,
};
