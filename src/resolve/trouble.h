/* What failed lately: the failure cache (RFC 9520), the recheck pause of stale names (RFC 8767 §5),
 * and which names are being served degraded, so that the change is logged once.
 *
 * Apart from the cache file on purpose: a failure can never shadow an answer. Bounded; the oldest
 * goes. Loop thread. */
#ifndef SB_RESOLVE_TROUBLE_H
#define SB_RESOLVE_TROUBLE_H

#include "base/list.h"
#include "base/map.h"
#include "resolve/strategy.h"

#define SB_TROUBLES_MAX 4096
#define SB_QUESTION_KEY_MAX (SB_NAME_MAX + 10)

/* The identity of a question: view, type, class, DO, CD, folded name. */
typedef struct sb_question_key {
    uint16_t size;
    uint8_t bytes[SB_QUESTION_KEY_MAX];
} sb_question_key;
void sb_question_key_of(const sb_question *folded, uint32_t view, sb_question_key *ret_key);

typedef struct sb_trouble {
    sb_map_node node;
    sb_list age;
    sb_question_key key;
    sb_ns until;         /* questions before this are not put upstream again */
    uint32_t generation; /* of the table when it failed; an older one is void */
    unsigned count;      /* failures in a row */
    uint8_t status;      /* sb_status */
    int16_t ede;
    const char *reason; /* static: why a denial is doubted, or NULL */
    bool degraded;      /* there is a fall-back to live on */
    bool told;          /* somebody was given it, and the log says so */
} sb_trouble;

typedef struct sb_troubles {
    sb_map map;
    sb_list by_age;
    uint32_t generation;
} sb_troubles;

SB_MUST_USE sb_status sb_troubles_init(sb_troubles *troubles, const uint8_t secret[16]);
void sb_troubles_fini(sb_troubles *troubles);
/* NULL: no failure on record that still counts at `now`. */
sb_trouble *sb_troubles_active(sb_troubles *troubles, const sb_question_key *key, sb_ns now);
/* Records a failure. pause 0: sb_trouble_pause of its count. NULL without memory. */
sb_trouble *sb_troubles_add(sb_troubles *troubles, const sb_question_key *key, sb_status status,
                            int ede, sb_ns now, sb_ns pause);
/* The question was answered: forgets. *ret_told: the log said that it was served degraded, and now
 * no other question of the name is. True when there was a fall-back to live on. */
bool sb_troubles_clear(sb_troubles *troubles, const sb_question_key *key, bool *ret_told);
/* A fall-back was served: logged once per name and outage, whatever the types. */
void sb_troubles_tell(sb_troubles *troubles, sb_trouble *trouble, const sb_offer *offer,
                      const char *reason);
/* A server is back: every pause ends now. */
void sb_troubles_void(sb_troubles *troubles);
/* The oldest failure that a recovery made void and nobody has asked again: its question / take it
 * off that list. */
bool sb_troubles_peek_void(const sb_troubles *troubles, sb_question *ret_question,
                           bool *ret_degraded);
void sb_troubles_pass_void(sb_troubles *troubles);
/* The pause after the n-th failure in a row (n from 1) when nothing can be served: 1 s doubling to
 * 30 s. */
sb_ns sb_trouble_pause(unsigned count);

#endif
