/* See policy.h. */
#include "resolve/policy.h"

#include <string.h>

#include "dns/rdata.h"

/* RFC 2308 §5: a negative without SOA should not be cached; a few seconds stop tight loops. */
#define NEGATIVE_WITHOUT_SOA_S 5
#define EARLY_DENIAL_S 30
/* Defaults of protect_confirm and protect_max (CONTRACT). */
#define CONFIRM (600 * SB_S)
#define DOUBT_MOST (24 * 3600 * SB_S)
#define PROBE_EVERY (10 * SB_S) /* probe.every (CONTRACT) */

static bool name_is(const sb_name *name, const char *text)
{
    sb_name other;
    return sb_name_parse(text, strlen(text), &other, NULL) == SB_OK && sb_name_equal(name, &other);
}

static bool name_below(const sb_name *name, const char *text)
{
    sb_name other;
    return sb_name_parse(text, strlen(text), &other, NULL) == SB_OK && sb_name_below(name, &other);
}

/* Rules are sorted most specific first by sb_settings_freeze. */
static const sb_name_setting *rule_of(const sb_settings *settings, const sb_name *name)
{
    for (size_t i = 0; i < settings->name_count; i++) {
        const sb_name_setting *rule = &settings->names[i];
        if (!sb_name_below(name, &rule->match))
            continue;
        bool same = name->size == rule->match.size;
        if (rule->below ? !same : same)
            return rule;
    }
    return NULL;
}

/* The rule's probe says it; else a service of that host. */
static void set_port(sb_policy *policy, const sb_settings *settings, const sb_name_setting *rule,
                     const sb_name *name)
{
    policy->probe_every = PROBE_EVERY;
    if (rule && rule->probe.port > 0) {
        policy->port = rule->probe.port;
        policy->probe_every = rule->probe.every;
    }
    for (size_t i = 0; policy->port == 0 && i < settings->service_count; i++) {
        const sb_service_setting *service = &settings->services[i];
        if (service->host.size == 0 || !sb_name_equal(&service->host, name))
            continue;
        policy->port = service->port;
        if (service->probe.every > 0)
            policy->probe_every = service->probe.every;
    }
}

sb_policy sb_policy_of(const sb_settings *settings, const sb_question *question)
{
    sb_policy policy = {
        .ttl_min_s = settings->cache.ttl_min_s,
        .ttl_max_s = settings->cache.ttl_max_s,
        .negative_ttl_max_s = settings->cache.negative_ttl_max_s,
        .keep = settings->cache.keep,
        .family = settings->query.family,
        .confirm = CONFIRM,
        .doubt_most = DOUBT_MOST,
    };
    const sb_name_setting *rule = rule_of(settings, &question->name);
    set_port(&policy, settings, rule, &question->name);
    if (!rule)
        return policy;
    if (rule->has_ttl_min)
        policy.ttl_min_s = rule->ttl_min_s;
    if (rule->has_ttl_max)
        policy.ttl_max_s = rule->ttl_max_s;
    if (rule->has_keep)
        policy.keep = rule->keep;
    if (rule->has_family)
        policy.family = rule->family;
    if (rule->has_confirm)
        policy.confirm = rule->protect_confirm;
    if (rule->has_max)
        policy.doubt_most = rule->protect_max;
    policy.emergency_for = rule->emergency_for;
    policy.emergency = rule->emergency;
    policy.emergency_count = rule->emergency_count;
    policy.protect = rule->protect || rule->emergency_count > 0;
    return policy;
}

bool sb_policy_doubts(const sb_policy *policy, uint16_t type, sb_kind kind)
{
    sb_family family = type == SB_TYPE_A ? SB_FAMILY_4 : SB_FAMILY_6;
    if (kind == SB_KIND_POSITIVE || !sb_type_is_address(type))
        return false;
    for (size_t i = 0; i < policy->emergency_count; i++)
        if (kind == SB_KIND_NXDOMAIN || policy->emergency[i].family == family)
            return true;
    return false; /* an empty AAAA of a name whose address is an A is nothing special */
}

bool sb_policy_hides(const sb_policy *policy, uint16_t type)
{
    return (type == SB_TYPE_A && policy->family == SB_ONLY_6) ||
           (type == SB_TYPE_AAAA && policy->family == SB_ONLY_4);
}

static bool loopback_reverse(const sb_name *name)
{
    sb_name v6;
    sb_addr one = {.family = SB_FAMILY_6};
    one.bytes[15] = 1;
    sb_name_reverse(&one, &v6);
    return name_below(name, "127.in-addr.arpa") || sb_name_equal(name, &v6);
}

/* An address asked as a name: programs that pass literals through do it. */
static bool literal_of(const sb_name *name, sb_addr *ret_addr)
{
    char text[SB_NAME_TEXT_MAX];
    unsigned labels = sb_name_labels(name);
    if ((labels != 4 && labels != 1) || name->size > 41 + 1)
        return false;
    sb_name_text(name, text);
    return sb_addr_parse(text, strlen(text), ret_addr) &&
           ret_addr->family == (labels == 4 ? SB_FAMILY_4 : SB_FAMILY_6);
}

sb_special sb_special_of(const sb_question *question, bool routed)
{
    const sb_name *name = &question->name;
    sb_addr addr;
    if (name->size <= 1)
        return SB_SPECIAL_NONE;
    if (literal_of(name, &addr))
        return SB_SPECIAL_LITERAL;
    if (name_below(name, "localhost") || loopback_reverse(name))
        return SB_SPECIAL_LOOPBACK;
    if (name_below(name, "invalid") || name_below(name, "onion"))
        return SB_SPECIAL_NONEXISTENT;
    if (!routed && name_below(name, "local") && sb_name_labels(name) <= 2)
        return SB_SPECIAL_LINK_LOCAL;
    return SB_SPECIAL_NONE;
}

static sb_status loopback_answer(const sb_question *question, sb_answer **ret_answer)
{
    static const uint8_t one[16] = {[15] = 1};
    const sb_addr addresses[2] = {sb_addr_4((const uint8_t[4]){127, 0, 0, 1}, 0),
                                  sb_addr_6(one, 0)};
    const uint32_t ttl_s = 3600; /* never changes; a round hour */
    if (!name_below(&question->name, "arpa"))
        return sb_answer_from_addresses(question, addresses, 2, ttl_s, SB_SOURCE_SPECIAL,
                                        ret_answer);
    sb_name localhost;
    sb_status status = sb_name_parse("localhost", 9, &localhost, NULL);
    if (status)
        return status;
    if (question->type != SB_TYPE_PTR || name_is(&question->name, "127.in-addr.arpa"))
        return sb_answer_empty(question, SB_KIND_NODATA, ttl_s, SB_SOURCE_SPECIAL, ret_answer);
    return sb_answer_from_ptr(question, &localhost, ttl_s, SB_SOURCE_SPECIAL, ret_answer);
}

sb_status sb_special_answer(sb_special special, const sb_question *question, sb_answer **ret_answer)
{
    sb_addr addr;
    const uint32_t ttl_s = 3600;
    switch (special) {
    case SB_SPECIAL_LOOPBACK:
        return loopback_answer(question, ret_answer);
    case SB_SPECIAL_LITERAL:
        if (!literal_of(&question->name, &addr))
            return SB_NOTFOUND;
        return sb_answer_from_addresses(question, &addr, 1, ttl_s, SB_SOURCE_LITERAL, ret_answer);
    case SB_SPECIAL_NONEXISTENT:
        return sb_answer_empty(question, SB_KIND_NXDOMAIN, ttl_s, SB_SOURCE_SPECIAL, ret_answer);
    case SB_SPECIAL_NONE:
    case SB_SPECIAL_LINK_LOCAL:
        break;
    }
    return SB_NOTFOUND;
}

static sb_tick add_s(sb_tick at, uint64_t seconds)
{
    uint64_t sum = at + seconds * SB_TICKS_PER_S;
    return sum > UINT32_MAX - 1 ? UINT32_MAX - 1 : (sb_tick)sum;
}

sb_l1_life sb_policy_life(const sb_policy *policy, const sb_answer *answer, sb_tick now)
{
    uint32_t ttl_s = answer->ttl_s;
    uint32_t effective_s = ttl_s;
    if (answer->kind == SB_KIND_POSITIVE) {
        if (ttl_s > 0 && effective_s < policy->ttl_min_s)
            effective_s = policy->ttl_min_s;
        if (effective_s > policy->ttl_max_s)
            effective_s = policy->ttl_max_s;
    } else {
        if (answer->flags & SB_ANSWER_NO_SOA)
            ttl_s = effective_s = NEGATIVE_WITHOUT_SOA_S;
        if (effective_s > policy->negative_ttl_max_s)
            effective_s = policy->negative_ttl_max_s;
    }
    sb_l1_life life = {.learned = now};
    life.due = add_s(now, effective_s);
    life.expires = add_s(now, ttl_s);
    life.stale_until = add_s(life.expires, (uint64_t)(policy->keep / SB_S));
    if (answer->kind != SB_KIND_POSITIVE && answer->flags & SB_ANSWER_NO_SOA)
        life.stale_until = life.expires; /* nobody's word in need (RFC 2308 §5) */
    return life;
}

void sb_policy_shorten(sb_l1_life *life)
{
    sb_tick end = add_s(life->learned, EARLY_DENIAL_S);
    if (life->due > end)
        life->due = end;
    if (life->expires > end)
        life->expires = end;
}

uint16_t sb_policy_flags(const sb_policy *policy, const sb_answer *answer, bool pinned)
{
    uint16_t flags = 0;
    if (!pinned && !sb_policy_hides(policy, answer->type))
        flags |= SB_L1_PLAIN;
    if (policy->protect)
        flags |= SB_L1_PROTECTED;
    if (answer->flags & SB_ANSWER_AD)
        flags |= SB_L1_AD;
    if (answer->flags & SB_ANSWER_NO_SOA)
        flags |= SB_L1_NO_SOA;
    if (answer->flags & SB_ANSWER_CHAIN_OPEN)
        flags |= SB_L1_CHAIN_OPEN;
    return flags;
}
