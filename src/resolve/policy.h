/* What the settings say about one question: life-times, family, protection, emergency addresses,
 * special use.
 *
 * Pure functions over frozen settings. RFC 6761, 6762, 7686, 2308, 8767. Any thread. */
#ifndef SB_RESOLVE_POLICY_H
#define SB_RESOLVE_POLICY_H

#include "core/settings.h"
#include "dns/answer.h"
#include "store/l1.h"

typedef enum sb_special {
    SB_SPECIAL_NONE,
    SB_SPECIAL_LOOPBACK,    /* localhost and below; reverse of ::1 and 127/8 */
    SB_SPECIAL_LITERAL,     /* a dotted quad asked as a name */
    SB_SPECIAL_NONEXISTENT, /* invalid, onion */
    SB_SPECIAL_LINK_LOCAL   /* two-label .local without a route: never to an upstream */
} sb_special;

typedef struct sb_policy {
    uint32_t ttl_min_s, ttl_max_s, negative_ttl_max_s;
    sb_ns keep; /* how long past the authority's TTL an answer is served stale */
    sb_family_policy family;
    bool protect;
    sb_ns confirm, doubt_most; /* protect_confirm, protect_max */
    uint16_t port;             /* of the service behind the name, for probes; 0 unknown */
    sb_ns probe_every;
    sb_ns emergency_for;      /* how long emergency addresses serve in one outage; 0 no end */
    const sb_addr *emergency; /* borrowed from the settings */
    size_t emergency_count;
} sb_policy;

/* question's name folded. */
sb_policy sb_policy_of(const sb_settings *settings, const sb_question *question);
/* routed: some route other than the default covers the name. */
sb_special sb_special_of(const sb_question *question, bool routed);
/* The answer to a special name; SB_NOTFOUND for NONE and LINK_LOCAL. */
SB_MUST_USE sb_status sb_special_answer(sb_special special, const sb_question *question,
                                        sb_answer **ret_answer);
/* True when the family policy hides this address type (A under ipv6-only, AAAA under ipv4-only). */
bool sb_policy_hides(const sb_policy *policy, uint16_t type);
/* A name with emergency addresses is one its owner insists on: a bare denial of its addresses is
 * not believed, be it new or kept from before. */
bool sb_policy_doubts(const sb_policy *policy, uint16_t type, sb_kind kind);

/* The life of an answer learned at `now`: TTL floor and cap, RFC 2308 for negatives, saturating. A
 * TTL of 0 is stored already expired; the floor touches neither it nor negatives. */
sb_l1_life sb_policy_life(const sb_policy *policy, const sb_answer *answer, sb_tick now);
/* The life of a denial that did not wait for a better server's word: half a minute at most. */
void sb_policy_shorten(sb_l1_life *life);
/* Flags of its entry: plain only where no policy stands between it and a reader. */
uint16_t sb_policy_flags(const sb_policy *policy, const sb_answer *answer, bool pinned);

#endif
