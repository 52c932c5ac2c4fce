/* The life of pins and emergency addresses (A16): since when each serves, whether its addresses
 * live, what the DNS says meanwhile, its end, and a trail of all that.
 *
 * A pin ends at its time, by the operator, or by itself once the DNS, seen wrong before, is right
 * again. While its addresses are dead and those of the DNS live it steps aside; emergency addresses
 * rest once the DNS answers, and end after `emergency_for`. The pins themselves lie in the cache
 * file; what is kept here goes with the process: a pin from before a restart is found by a bounded
 * walk and watched from then on. Loop thread. */
#ifndef SB_RESOLVE_PINS_H
#define SB_RESOLVE_PINS_H

#include "base/list.h"
#include "base/map.h"
#include "resolve/endpoint.h"
#include "resolve/engine.h"
#include "resolve/strategy.h"

#define SB_CUSTODIES_MAX 256 /* pins and emergency names watched; the oldest goes unwatched */
#define SB_TRAIL_MAX 128     /* deeds remembered; the oldest goes */
/* The DNS has to be right for that long before a pin withdraws itself. */
#define SB_PIN_RIGHT_FOR (30 * SB_S)
/* Its addresses are dead and those of the DNS live for that long before a pin steps aside. */
#define SB_PIN_ASIDE_AFTER (30 * SB_S)
#define SB_PIN_LOOK_EVERY (10 * SB_S)

typedef enum sb_custody_kind { SB_CUSTODY_PIN, SB_CUSTODY_EMERGENCY } sb_custody_kind;

typedef struct sb_custody {
    sb_map_node node;
    sb_list age;
    uint8_t key[SB_NAME_MAX + 1];
    sb_name name;
    uint8_t kind;         /* sb_custody_kind */
    uint8_t dns[2];       /* sb_dns_word for A and AAAA */
    uint8_t life;         /* sb_liveness of its addresses, last told */
    bool wrong_seen;      /* the DNS was not right at some time since it began */
    bool over;            /* emergency_for has passed */
    bool aside;           /* the DNS is served in place of the pin */
    sb_ns since;          /* it began, or was found */
    sb_ns last_used;      /* 0 never */
    sb_ns right_since;    /* 0: not now */
    sb_ns replaced_since; /* its addresses are dead and those of the DNS live since; 0: not so */
    sb_ns next_at;
    uint64_t uses;
    sb_addr found[SB_LOOKS_MAX]; /* of the DNS, where it differs, or did before it failed */
    unsigned found_count;
} sb_custody;

struct sb_pins {
    sb_map map;
    sb_list by_age;
    bool walked; /* the pins of before are all found */
    uint64_t cursor;
    sb_deed_info trail[SB_TRAIL_MAX];
    uint64_t deeds;
};

SB_MUST_USE sb_status sb_pins_init(sb_pins *pins, const uint8_t secret[16]);
void sb_pins_fini(sb_pins *pins);
/* The machine's network is another, or reached anew: evidence about pins begins again. */
void sb_pins_moved(sb_engine *engine);
/* Once a second. */
void sb_pins_tick(sb_engine *engine);
/* A waiter was told this offer: counts where it came from a pin or an emergency address. */
void sb_pins_used(sb_engine *engine, const sb_question *question, const sb_offer *offer);
/* What a flight brought: an answer of the DNS, or NULL for a failure or a denial not believed. */
void sb_pins_heard(sb_engine *engine, const sb_asked *asked, const sb_answer *answer);
/* The name (folded) is pinned, but the DNS is served meanwhile. */
bool sb_pins_aside(const sb_pins *pins, const sb_name *name);
/* The emergency addresses of the name have served for as long as they may. */
bool sb_pins_emergency_over(const sb_pins *pins, const sb_asked *asked, sb_ns now);

#endif
