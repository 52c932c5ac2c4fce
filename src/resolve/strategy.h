/* The interface of a strategy: one way to come by an answer, several implementations, one table
 * (DESIGN §4, §5).
 *
 * Two shapes: `look` answers at once from what is known (pin, hosts, cached, stale, emergency);
 * `start`/`stop` talk to the world. A strategy sees its context, the question and its own attempt:
 * never the engine, never a store to write to, never another strategy. Loop thread. */
#ifndef SB_RESOLVE_STRATEGY_H
#define SB_RESOLVE_STRATEGY_H

#include "core/op.h"
#include "core/stats.h"
#include "dns/reply.h"
#include "net/probe.h"
#include "net/upstream.h"
#include "resolve/policy.h"
#include "store/l1_write.h"

typedef struct sb_hosts sb_hosts;
typedef struct sb_doubts sb_doubts;
typedef struct sb_reviver sb_reviver;
typedef struct sb_mobility sb_mobility;
typedef struct sb_endpoints sb_endpoints;
typedef struct sb_pins sb_pins;

typedef struct sb_ctx {
    sb_env *env;
    const sb_settings *settings;
    sb_l1 *l1; /* look-ups only */
    sb_upstreams *upstreams;
    sb_stats *stats;
    sb_events *events;
    const sb_hosts *hosts;
    sb_l1_buffer *scratch; /* one look-up at a time */
    sb_reviver *reviver;
    sb_doubts *doubts;
    sb_mobility *mobility; /* the network we are on; NULL: not known */
    sb_endpoints *endpoints;
    const sb_pins *pins;
} sb_ctx;

/* What is asked, with everything derived from it once. */
typedef struct sb_asked {
    sb_question question; /* folded */
    uint32_t view;
    sb_policy policy; /* borrows the settings' memory */
    sb_special special;
    uint32_t flight; /* number for events */
} sb_asked;

/* Greater is better; the verdict is the greatest. */
typedef enum sb_rank {
    SB_RANK_NONE,
    SB_RANK_UNTRUSTED_NEGATIVE,
    SB_RANK_UNTRUSTED_POSITIVE, /* a captive portal's, perhaps */
    SB_RANK_GUESS,
    SB_RANK_EMERGENCY,
    SB_RANK_STALE_NEGATIVE,
    SB_RANK_STALE_POSITIVE,
    SB_RANK_TRUSTED_NEGATIVE,
    SB_RANK_FRESH_POSITIVE
} sb_rank;

/* An answer with how it is to be served. */
typedef struct sb_offer {
    const sb_answer *answer; /* owned reference */
    uint8_t rank;            /* sb_rank */
    uint8_t strategy;        /* sb_strategy_id */
    uint8_t source;          /* sb_source as the asker sees it */
    bool hit;                /* from the cache file */
    bool degraded;
    bool capped; /* due but within the authority's TTL */
    bool age_unknown;
    bool restamp; /* fresh, but readers may not serve it yet: its epoch is old */
    int16_t ede;
    const char *ede_text; /* static */
    uint32_t age_s, ttl_cap_s, ttl_fixed_s;
    bool early;     /* a denial that did not wait for a server whose word counts more */
    bool type_only; /* a denial of the name that is believed of this type alone */
    sb_ns said_at;  /* when the server's word came, from which its TTL counts; 0: just now */
} sb_offer;
/* Everything unset but the TTL rules, which say "as it is". */
sb_offer sb_offer_init(sb_strategy_id strategy, sb_source source, sb_rank rank);
void sb_offer_fini(sb_offer *offer);
/* A13, of addresses that are not fresh from the DNS: they are looked at where a port is known, and
 * what is known to be dead is left out while another is known to live. The life of what is left. */
sb_liveness sb_offer_qualify(const sb_ctx *ctx, const sb_asked *asked, sb_offer *offer);

typedef struct sb_strategy sb_strategy;

/* One run of a start/stop strategy; the strategy's own struct begins with it. */
typedef struct sb_attempt {
    sb_op op; /* first; done belongs to the flight */
    const sb_ctx *ctx;
    const sb_asked *asked;
    const sb_strategy *strategy;
    sb_offer offer; /* rank NONE: nothing */
    sb_tried tried[SB_TRIED_MAX];
    unsigned tried_count;
    /* Good enough for those who wait, while the attempt goes on for better; borrows the offer. */
    void (*early)(struct sb_attempt *, const sb_offer *);
    int ede;                 /* upstream's verdict on failure, or SB_EDE_NONE */
    const sb_offer *against; /* what the rung before found and nobody trusts, or NULL */
    const char *reason;      /* static: why it is not trusted */
    const char *failed_by;   /* static, or the upstreams': why, where that says more; or NULL */
    sb_ns confirm_in;        /* when the denial may be confirmed, if others agree */
    bool type_only;          /* … and only of the type asked */
    bool
        confirmed; /* the denial is right, though something else is served: forget what it denies */
} sb_attempt;
/* Cut when full. */
void sb_attempt_tried(sb_attempt *attempt, sb_outcome outcome, sb_ns took, const sb_addr *server);

#define SB_TRAIT_INSTANT 1u
#define SB_TRAIT_NETWORK 2u
#define SB_TRAIT_DEGRADED 4u /* what it offers is marked degraded */

struct sb_strategy {
    const char *name;
    uint8_t id; /* sb_strategy_id */
    uint32_t traits;
    size_t attempt_bytes; /* of the struct beginning with sb_attempt; 0 for look */
    bool (*applies)(const sb_ctx *, const sb_asked *); /* pure */
    /* INSTANT: true and an offer (owned by the caller), or false. */
    bool (*look)(const sb_ctx *, const sb_asked *, sb_offer *ret_offer);
    /* NETWORK: sets attempt->offer and finishes attempt->op, from the loop or at once. */
    void (*start)(sb_attempt *);
    void (*stop)(sb_attempt *);
};

extern const sb_strategy sb_strategy_pin, sb_strategy_hosts, sb_strategy_cached, sb_strategy_wire,
    sb_strategy_doubt, sb_strategy_stale, sb_strategy_emergency;

/* Pins lie in the cache file under a view of their own. */

/* A cache entry as an answer; NULL when it does not check or memory is out. */
sb_answer *sb_answer_of_entry(const sb_l1_entry *entry);
/* The entry of a question on this network, in scratch: what was learned here for this network alone
 * before what holds everywhere. used: marks it as in use. */
bool sb_entry_find(const sb_ctx *ctx, const sb_question *question, uint32_t view, bool used,
                   sb_l1_entry *ret_entry);
/* Learned on another network than this: to be asked anew before it is served as fresh. */
bool sb_entry_moved(const sb_ctx *ctx, const sb_l1_entry *entry);
/* A positive entry of that name and type, whatever its DO (and CD, where that is asked for), that
 * belongs to this network alone. */
bool sb_scoped_known(const sb_ctx *ctx, const sb_asked *asked);
/* Any positive address entry, pin or hosts line for the name, whatever its age: is it a known name?
 */
/* Any positive entry for this very question, under whatever DO and CD. */
bool sb_question_known(const sb_ctx *ctx, const sb_asked *asked);
/* The same for that type; the entry lies in scratch. */
bool sb_question_entry(const sb_ctx *ctx, const sb_asked *asked, uint16_t type,
                       sb_l1_entry *ret_entry);
bool sb_name_known(const sb_ctx *ctx, const sb_asked *asked);

#endif
