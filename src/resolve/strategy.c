/* What every strategy shares: offers, the list of things tried, entries as answers. See strategy.h.
 */
#include "resolve/strategy.h"

#include "dns/rdata.h"
#include "resolve/endpoint.h"
#include "resolve/mobility.h"
#include "resolve/scope.h"

sb_offer sb_offer_init(sb_strategy_id strategy, sb_source source, sb_rank rank)
{
    return (sb_offer){
        .rank = (uint8_t)rank,
        .strategy = (uint8_t)strategy,
        .source = (uint8_t)source,
        .ede = SB_EDE_NONE,
        .ttl_cap_s = UINT32_MAX,
        .ttl_fixed_s = UINT32_MAX,
    };
}

void sb_offer_fini(sb_offer *offer)
{
    sb_answer_unref(offer->answer);
    *offer = (sb_offer){0};
}

sb_liveness sb_offer_qualify(const sb_ctx *ctx, const sb_asked *asked, sb_offer *offer)
{
    sb_addr addrs[SB_LOOKS_MAX];
    uint16_t port = asked->policy.port;
    if (port == 0 || !offer->answer || offer->answer->kind != SB_KIND_POSITIVE ||
        !sb_type_is_address(asked->question.type))
        return SB_LIVENESS_UNKNOWN;
    size_t n = sb_answer_addresses(offer->answer, addrs, SB_LOOKS_MAX);
    /* A single one with nothing in its place is served whether it lives or not. */
    if (n < 2 && asked->policy.emergency_count == 0)
        return SB_LIVENESS_UNKNOWN;
    sb_endpoints_look_all(ctx->endpoints, addrs, n, port, asked->policy.probe_every);
    sb_answer *living = NULL;
    if (sb_endpoints_qualify(ctx->endpoints, offer->answer, port, &living) == SB_OK) {
        sb_answer_unref(offer->answer);
        offer->answer = living;
        sb_count(ctx->stats, SB_COUNT_QUALIFIED);
    }
    return sb_endpoints_life_of(ctx->endpoints, addrs, n, port);
}

void sb_attempt_tried(sb_attempt *attempt, sb_outcome outcome, sb_ns took, const sb_addr *server)
{
    if (attempt->tried_count == SB_TRIED_MAX)
        return;
    sb_ns ms = took / SB_MS;
    sb_tried *tried = &attempt->tried[attempt->tried_count++];
    *tried = (sb_tried){
        .strategy = attempt->strategy->id,
        .status = (uint8_t)outcome,
        .ms = (uint16_t)(ms > UINT16_MAX ? UINT16_MAX : ms),
    };
    if (server)
        tried->server = *server;
}

sb_answer *sb_answer_of_entry(const sb_l1_entry *entry)
{
    sb_answer_parts parts = sb_l1_parts(entry);
    sb_answer *answer = NULL;
    if (sb_answer_from_parts(&parts, &answer) != SB_OK)
        return NULL;
    answer->upstream = entry->upstream;
    answer->protocol = entry->protocol;
    answer->source = entry->source;
    answer->network = entry->network;
    answer->view = entry->view;
    answer->dnssec_ok = entry->dnssec_ok;
    answer->checking_disabled = entry->checking_disabled;
    return answer;
}

/* network 0: learned on any. */
static bool positive_entry(const sb_ctx *ctx, const sb_question *question, uint32_t view,
                           uint32_t network, sb_l1_entry *ret_entry)
{
    sb_l1_key key = {.question = question, .view = view};
    return sb_l1_find(sb_l1_reader_of(ctx->l1), &key, ctx->scratch, ret_entry) == SB_OK &&
           ret_entry->kind == SB_KIND_POSITIVE && (network == 0 || ret_entry->network == network) &&
           sb_l1_freshness(ret_entry, sb_l1_now(ctx->l1)) != SB_DEAD;
}

static bool load(const sb_ctx *ctx, const sb_question *question, uint32_t view, bool used,
                 sb_l1_entry *ret_entry)
{
    sb_l1_key key = {.question = question, .view = view};
    return (used ? sb_l1_get(ctx->l1, &key, ctx->scratch, ret_entry)
                 : sb_l1_find(sb_l1_reader_of(ctx->l1), &key, ctx->scratch, ret_entry)) == SB_OK;
}

bool sb_entry_find(const sb_ctx *ctx, const sb_question *question, uint32_t view, bool used,
                   sb_l1_entry *ret_entry)
{
    uint32_t network = sb_mobility_network(ctx->mobility), scoped = sb_scope_view(view, network);
    if (network == 0 || !load(ctx, question, scoped, used, ret_entry) ||
        ret_entry->network != network || sb_l1_freshness(ret_entry, sb_l1_now(ctx->l1)) == SB_DEAD)
        return load(ctx, question, view, used, ret_entry);
    if (!(ret_entry->flags & SB_L1_TENTATIVE))
        return true;
    sb_tick learned = ret_entry->life.learned;
    if (load(ctx, question, view, used, ret_entry) && ret_entry->life.learned > learned)
        return true;
    return load(ctx, question, scoped, false, ret_entry);
}

bool sb_entry_moved(const sb_ctx *ctx, const sb_l1_entry *entry)
{
    uint32_t network = sb_mobility_network(ctx->mobility);
    return network != 0 && entry->network != 0 && !sb_scope_same(network, entry->network);
}

bool sb_scoped_known(const sb_ctx *ctx, const sb_asked *asked)
{
    uint32_t network = sb_mobility_network(ctx->mobility);
    sb_question question = asked->question;
    sb_l1_entry entry;
    for (unsigned variant = 0; network != 0 && variant < 4; variant++) {
        question.dnssec_ok = variant & 1;
        question.checking_disabled = variant & 2;
        /* What was never validated vouches for those alone who want it so. */
        if (question.checking_disabled && !asked->question.checking_disabled)
            continue;
        if (positive_entry(ctx, &question, sb_scope_view(asked->view, network), network, &entry) &&
            !(entry.flags & SB_L1_TENTATIVE))
            return true;
    }
    return false;
}

bool sb_question_entry(const sb_ctx *ctx, const sb_asked *asked, uint16_t type,
                       sb_l1_entry *ret_entry)
{
    uint32_t network = sb_mobility_network(ctx->mobility);
    sb_question question = asked->question;
    question.type = type;
    for (unsigned variant = 0; variant < 4; variant++) {
        question.dnssec_ok = variant & 1;
        question.checking_disabled = variant & 2;
        /* What was never validated vouches for those alone who want it so. */
        if (question.checking_disabled && !asked->question.checking_disabled)
            continue;
        if ((network != 0 && positive_entry(ctx, &question, sb_scope_view(asked->view, network),
                                            network, ret_entry)) ||
            positive_entry(ctx, &question, asked->view, 0, ret_entry))
            return true;
    }
    return false;
}

static bool known(const sb_ctx *ctx, const sb_asked *asked, uint16_t type)
{
    sb_l1_entry entry;
    return sb_question_entry(ctx, asked, type, &entry);
}

bool sb_question_known(const sb_ctx *ctx, const sb_asked *asked)
{
    return known(ctx, asked, asked->question.type);
}

bool sb_name_known(const sb_ctx *ctx, const sb_asked *asked)
{
    return known(ctx, asked, SB_TYPE_A) || known(ctx, asked, SB_TYPE_AAAA);
}
