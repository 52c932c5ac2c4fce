/* What was counted: verdicts and latencies by group, queries upstream, and a series by the second.
 *
 * Owns its latency arrays. Effects: none. One thread. */
#ifndef SB_OUTAGE_TALLY_H
#define SB_OUTAGE_TALLY_H

#include "base/bytes.h"
#include "outage/zone.h"

#define TALLY_CLIENTS 2
#define TALLY_SERVERS 2
#define TALLY_PAINFUL_MS 1000

typedef enum tally_group {
    GROUP_WARM,     /* before the run */
    GROUP_KNOWN,    /* names resolved before */
    GROUP_NEW,      /* names never asked before, while an upstream lives */
    GROUP_HOPELESS, /* the same while none lives: a quick SERVFAIL is all that can be asked */
    GROUP_SETTLING, /* new names in the first second of such a time, and until 2 s after its end */
    GROUP_DOWN,     /* asked while the resolver was not there, or had been started < 50 ms ago */
    GROUP_COUNT
} tally_group;

typedef struct tally_row {
    uint32_t verdicts[VERDICT_COUNT];
    uint32_t asked;
    uint32_t painful;
    uint32_t stale;       /* replies with EDE 3 or 19 */
    uint32_t unreachable; /* replies with EDE 22 or 23 */
    uint32_t *latency_us; /* an unanswered question counts as the client's patience */
    size_t capacity;
} tally_row;

typedef struct tally_second {
    uint32_t known, known_painful, unasked, unasked_painful, hopeless, hopeless_painful;
    uint32_t queries[TALLY_SERVERS];
    uint32_t flights; /* of an ideal cache */
} tally_second;

typedef struct tally {
    tally_row rows[TALLY_CLIENTS][GROUP_COUNT];
    tally_second *seconds;
    uint32_t second_count;
    uint32_t queries[TALLY_SERVERS];
    uint32_t tcp_queries, other_queries;
    /* By whether an upstream lives: questions of the clients (resendings not counted), flights an
     * ideal cache would have needed, queries that came upstream. */
    uint32_t questions_alive, questions_dead;
    uint32_t flights_alive;
    uint32_t queries_alive, queries_dead;
    /* Of them, for what a living upstream denies although it was known. */
    uint32_t flights_denied, queries_denied;
    uint32_t extra_replies;
    int64_t last_old_ns; /* the longest after its change that an old address was served */
} tally;

/* One answered or abandoned question. */
typedef struct tally_entry {
    unsigned client;
    tally_group group;
    zone_verdict verdict;
    int64_t latency_ns;
    int64_t at_ns; /* since the start of the run */
    int ede;
} tally_entry;

/* False when there is no memory. */
bool tally_init(tally *t, uint32_t seconds);
void tally_fini(tally *t);
void tally_add(tally *t, const tally_entry *entry);
void tally_query(tally *t, unsigned server, int64_t at_ns, bool alive);
void tally_flight(tally *t, int64_t at_ns);
/* Every row and counter as JSON members, without the braces around them. */
void tally_json(tally *t, sb_text *out);

#endif
