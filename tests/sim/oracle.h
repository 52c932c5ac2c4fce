/* The judge: knows what was ever true, what was said to the program and until when it held, and
 * what the program has shown that it knows; from that, what it may and must answer (DESIGN §5,
 * §10).
 *
 * Never looks into the program. Works on reply bytes. One thread. */
#ifndef SB_SIM_ORACLE_H
#define SB_SIM_ORACLE_H

#include "sim/zone.h"

#define ORACLE_KEYS (ZONE_NODES_MAX * 3 * 4)
#define ORACLE_CLAIMS_MAX 24
/* A step of the wall clock that a program cannot tell from time passing across a reboot. */
#define ORACLE_SMALL_STEP (2 * SB_S)
#define ORACLE_NETWORKS 3
#define ORACLE_NOTICED (200 * SB_MS) /* a move, with room (D3: 100 ms) */

/* What one record, or a denial, says. */
typedef struct oracle_claim {
    uint8_t id, version, slot;
    bool negative;
} oracle_claim;

/* One question (name, type, DO, CD) as far as clients saw it. */
typedef struct oracle_key {
    bool known; /* an answer was seen: there must be one from now on */
    bool known_positive;
    sb_ns known_since, known_until, positive_since;
    sb_ns denied_at;   /* a denial of the name, which may wipe this, arrives by then */
    sb_ns said_at;     /* a right message to exactly this question arrives */
    sb_ns fresh_until; /* seen fresh with a TTL up to here */
    sb_ns fresh_seen_at;
    uint32_t fresh_ttl_s;
    sb_ns seen_at;
    bool tentative;  /* seen shortly after a move: perhaps for this network alone */
    sb_ns cd_denied; /* of a question with CD: denied, and the denial seen */
    sb_ns
        answered_at; /* a server's positive answer was seen: doubt began anew then, if not later */
    unsigned claim_count;
    oracle_claim claims[ORACLE_CLAIMS_MAX];
} oracle_key;

typedef struct oracle_limits {
    uint32_t ttl_min_s, ttl_max_s, negative_ttl_max_s; /* greatest of the seed */
    sb_ns keep_least, keep_most;
    sb_ns confirm, doubt_most, recheck; /* of denials of protected names */
    uint32_t stale_ttl_s;
} oracle_limits;

typedef struct oracle {
    sim *s;
    zone *z;
    oracle_limits limits;
    bool open_chains, no_soa, no_edns;
    bool quick;          /* a good server answers within the least patience */
    bool trouble;        /* memory or descriptors may run out: nothing must, all may */
    bool lives;          /* endpoints live and die: the dead may be left out of what is not fresh */
    bool lone;           /* some route has one server only */
    bool verdicts;       /* servers give verdicts (EDE) that forbid fall-backs */
    sb_ns healthy_since; /* all servers good since; SB_NEVER: not now */
    sb_ns age_unknown; /* a clock broke: some of what is known has no age that can be told; 0: never
                        */
    sb_ns hold;        /* how long a denial waits for the word of an earlier server */
    sb_ns slowest;     /* between the earliest and the latest instant a message can come */
    sb_ns reset_at;    /* last kill, reload, flush: what was needless before is not now */
    /* When the last right message with it arrives: [version][slot], and denials per type. 0: never
     * said. */
    sb_ns said[ZONE_NODES_MAX][ZONE_VERSIONS_MAX][SLOT_COUNT];
    sb_ns denied[ZONE_NODES_MAX][ZONE_VERSIONS_MAX][3];
    sb_ns denied_bare[ZONE_NODES_MAX][3]; /* without SOA */
    oracle_key keys[ORACLE_KEYS];
    /* A client saw a denial that arrived then: older positives of the name and type are gone. Not
     * with CD: what was never validated is no word against what was. */
    sb_ns denial_seen[ZONE_NODES_MAX][3];
    sb_ns name_denied[ZONE_NODES_MAX]; /* … of the name as a whole */
    sb_ns probed[ZONE_NODES_MAX];      /* a probe asked for it: what it is told is not kept */
    sb_ns power_at;                    /* last power loss */
    /* Lies that servers told: the last arrives then. */
    sb_ns lied[ZONE_NODES_MAX][SLOT_COUNT], lied_denial[ZONE_NODES_MAX];
    /* Of protected names: denials of one kind since, none but those, the last one. 0: none. */
    sb_ns denials_since[ZONE_NODES_MAX][3], denied_last[ZONE_NODES_MAX][3];
    bool denied_whole[ZONE_NODES_MAX][3];
    sb_ns pin_since[ZONE_NODES_MAX], pin_until[ZONE_NODES_MAX];
    bool pin_aside[ZONE_NODES_MAX]; /* it may be served, and need not be */
    sb_ns hosts_since[ZONE_NODES_MAX],
        hosts_until[ZONE_NODES_MAX]; /* grace: edges of two seconds */
    /* The network we are on, and (bits) those the program may still take it for; it is noticed by
     * settled_at. */
    unsigned network, networks_before;
    sb_ns moved_at, settled_at, left_at, doubt_until;
    bool unmet; /* in no network, and the last one was left (asleep) before it can be noticed */
    sb_ns doubt_window;
    /* What is known of split names on the networks where we are not. */
    oracle_key away[ORACLE_NETWORKS][ORACLE_KEYS];
    sb_ns away_denial[ORACLE_NETWORKS][ZONE_NODES_MAX][3];
    sb_ns away_name_denied[ORACLE_NETWORKS][ZONE_NODES_MAX];
    char failure[400]; /* first broken law; empty: none */
    uint64_t judged, stale_seen, negatives_seen, doubted_seen, failures_seen, positives_seen;
} oracle;

typedef struct oracle_reply {
    sb_question question; /* as asked */
    sb_ns asked_at;
    sb_ns patience; /* the asker waited at least that long, if need be */
    bool edns;
    bool direct;      /* said to come from a server just now */
    bool dead_at_ask; /* every breaker of the route was open */
    const uint8_t *bytes;
    size_t size;
} oracle_reply;

void oracle_init(oracle *o, sim *s, zone *z);
void oracle_fail(oracle *o, const char *format, ...) SB_PRINTF(2, 3);
void oracle_said(oracle *o, const sb_question *question, const uint8_t *bytes, size_t size,
                 sb_ns at);
void oracle_judge(oracle *o, const oracle_reply *reply);
/* Must there be an answer to it in the program's memory? */
bool oracle_knows(oracle *o, const sb_question *question);
/* A question that never got a reply although it should have. */
void oracle_silence(oracle *o, const sb_question *question, sb_ns asked_at);
/* Why it is allowed not to know any more: all, or one name. */
void oracle_forget(oracle *o, const sb_name *name);
/* The machine is on that network now, which is recognised by settled_at at the latest. */
void oracle_moved(oracle *o, unsigned network, sb_ns settled_at);
/* Something is said to that key's question, which may replace what is known on other networks. */
void oracle_said_elsewhere(oracle *o, unsigned key, bool positive);
/* A denial of that key's name is heard: where the name is public it holds on all networks. */
void oracle_denied_elsewhere(oracle *o, unsigned key);
/* It is in no network / the program began anew, and looks around. */
void oracle_left(oracle *o);
void oracle_started(oracle *o);
/* An earlier disk may have what was denied since. */
void oracle_power_lost(oracle *o);
/* The machine slept: what was on its way came later. */
void oracle_slept(oracle *o, sb_ns duration);
/* Does an upstream query for it make no sense, because a fresh answer is at hand? */
bool oracle_needless(oracle *o, const sb_question *question);
/* "name type DO CD"; static. */
const char *oracle_text(const sb_question *question);
oracle_key *oracle_key_of(oracle *o, const sb_question *question);

#endif
