/* Strategy stale: the last known answer when nothing better can be had (RFC 8767, A3).
 *
 * An entry that is only capped (`ttl_max`) and within the authority's own TTL is not stale: served
 * without EDE 3. Loop thread. */
#include "dns/rdata.h"
#include "resolve/verdict.h"

static bool stale_applies(const sb_ctx *ctx, const sb_asked *asked)
{
    (void)ctx;
    (void)asked;
    return true;
}

/* True when the entry of that question, whatever its freshness but dead, now lies in scratch. */
static bool load(const sb_ctx *ctx, const sb_asked *asked, unsigned variant, sb_l1_entry *ret_entry)
{
    sb_question question = asked->question;
    question.dnssec_ok ^= (bool)(variant & 1);
    question.checking_disabled ^= (bool)(variant & 2);
    return sb_entry_find(ctx, &question, asked->view, true, ret_entry) &&
           !sb_doubt_shuns(ctx, asked, question.type, (sb_kind)ret_entry->kind) &&
           sb_l1_freshness(ret_entry, sb_l1_now(ctx->l1)) != SB_DEAD;
}

static bool is_signature(void *context, const sb_record *record, sb_span rdata)
{
    (void)rdata;
    *(bool *)context |= record->type == SB_TYPE_RRSIG;
    return true;
}

static bool is_signed(const sb_l1_entry *entry)
{
    bool found = false;
    sb_answer *answer = entry->dnssec_ok ? sb_answer_of_entry(entry) : NULL;
    if (answer)
        (void)sb_answer_each(answer, SB_SECTION_ANSWER, is_signature, &found);
    sb_answer_unref(answer);
    return found;
}

/* Another DO or CD may be asked instead: what was asked with CD was never validated, and is not for
 * those who want it checked. */
static bool is_open_to(const sb_asked *asked, unsigned variant)
{
    return !(variant & 2) || asked->question.checking_disabled;
}

/* What the exact question has is old; was the name answered since, asked in another way? */
static unsigned newer_variant(const sb_ctx *ctx, const sb_asked *asked, sb_tick learned)
{
    sb_l1_entry entry;
    sb_tick now = sb_l1_now(ctx->l1);
    unsigned newest = 0;
    for (unsigned variant = 1; variant < 4; variant++) {
        if (!is_open_to(asked, variant) || !load(ctx, asked, variant, &entry) ||
            entry.kind != SB_KIND_POSITIVE || entry.life.learned <= learned)
            continue;
        if (entry.life.learned > now)
            continue; /* by a clock that was ahead, before a reboot: nobody knows when */
        learned = entry.life.learned;
        newest = variant;
    }
    return newest;
}

/* The exact question first, unless it is stale and another way of asking has learned more since
 * (the signatures of a signed answer are worth more than its age); then what was learned last under
 * another DO or CD: an answer without signatures beats none. */
static bool find(const sb_ctx *ctx, const sb_asked *asked, sb_l1_entry *ret_entry, bool *ret_exact)
{
    unsigned best = 0;
    sb_tick learned = 0;
    *ret_exact = load(ctx, asked, 0, ret_entry);
    if (*ret_exact &&
        (sb_l1_freshness(ret_entry, sb_l1_now(ctx->l1)) <= SB_DUE || is_signed(ret_entry) ||
         !(best = newer_variant(ctx, asked, ret_entry->life.learned))))
        return load(ctx, asked, 0, ret_entry); /* once more: scratch holds one at a time */
    for (unsigned variant = 1; variant < 4 && !*ret_exact; variant++) {
        if (!is_open_to(asked, variant))
            continue;
        if (load(ctx, asked, variant, ret_entry) && ret_entry->life.learned > learned) {
            best = variant;
            learned = ret_entry->life.learned;
        }
    }
    *ret_exact = false;
    return best && load(ctx, asked, best, ret_entry);
}

static void describe_stale(sb_offer *offer, const sb_answer *answer, const sb_l1_entry *entry)
{
    offer->source = SB_SOURCE_STALE;
    offer->age_unknown = entry->flags & SB_L1_AGE_UNKNOWN;
    if (answer->kind == SB_KIND_NXDOMAIN) {
        offer->ede = SB_EDE_STALE_NXDOMAIN;
        offer->ede_text = "no fresh answer could be had";
    } else {
        offer->ede = SB_EDE_STALE;
        offer->ede_text = "no fresh answer could be had";
    }
}

static bool stale_look(const sb_ctx *ctx, const sb_asked *asked, sb_offer *ret_offer)
{
    sb_l1_entry entry;
    bool exact;
    if (!find(ctx, asked, &entry, &exact))
        return false;
    sb_answer *answer = sb_answer_of_entry(&entry);
    if (!answer)
        return false;
    sb_tick now = sb_l1_now(ctx->l1);
    bool positive = answer->kind == SB_KIND_POSITIVE;
    sb_offer offer = sb_offer_init(SB_STRATEGY_STALE, SB_SOURCE_CACHE,
                                   positive ? SB_RANK_STALE_POSITIVE : SB_RANK_STALE_NEGATIVE);
    offer.answer = answer;
    offer.hit = true;
    offer.age_s = now > entry.life.learned ? (now - entry.life.learned) / SB_TICKS_PER_S : 0;
    sb_freshness freshness = sb_l1_freshness(&entry, now);
    if (freshness == SB_FRESH && (!exact || sb_entry_moved(ctx, &entry)))
        freshness = SB_DUE; /* true, but not quite what was asked, or elsewhere */
    switch (freshness) {
    case SB_FRESH: /* a live question whose upstream failed */
        offer.rank = positive ? SB_RANK_FRESH_POSITIVE : SB_RANK_TRUSTED_NEGATIVE;
        offer.ttl_cap_s = (entry.life.due - now) / SB_TICKS_PER_S;
        break;
    case SB_DUE:
        offer.capped = offer.degraded = true;
        offer.ttl_cap_s = ctx->settings->cache.stale_ttl_s;
        break;
    case SB_STALE:
    case SB_DEAD:
        offer.degraded = true;
        offer.ttl_fixed_s = ctx->settings->cache.stale_ttl_s;
        describe_stale(&offer, answer, &entry);
        break;
    }
    *ret_offer = offer;
    return true;
}

const sb_strategy sb_strategy_stale = {
    .name = "stale",
    .id = SB_STRATEGY_STALE,
    .traits = SB_TRAIT_INSTANT | SB_TRAIT_DEGRADED,
    .applies = stale_applies,
    .look = stale_look,
};
