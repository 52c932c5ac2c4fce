/* Two steady clients and what they are told: the load of bench/outage in virtual time.
 *
 * The first asks A and AAAA of half known and half new names, a quarter through a search list; the
 * second does the same with fewer questions, without EDNS, and sends each again after 1 s and 2 s.
 * Truth and judgement are bench/outage's own (outage/zone.h). One thread. */
#ifndef SB_SIM_LOAD_H
#define SB_SIM_LOAD_H

#include "core/event.h"
#include "outage/zone.h"
#include "sim/client.h"
#include "sim/server.h"

#define LOAD_CLIENTS 2
#define LOAD_FLIGHTS 4096
#define LOAD_SECONDS 600

typedef enum load_group {
    LOAD_WARM,     /* before the run */
    LOAD_KNOWN,    /* names resolved before */
    LOAD_NEW,      /* never asked before, while an upstream lives */
    LOAD_HOPELESS, /* the same while none lives: a quick failure is all that can be asked */
    LOAD_SETTLING, /* new names in the first second of such a time, and until 2 s after its end */
    LOAD_DOWN,     /* asked while the program was not there, or < 50 ms after its start */
    LOAD_GROUPS
} load_group;

typedef struct load_row {
    unsigned verdicts[VERDICT_COUNT];
    unsigned asked, painful, stale, unreachable;
    sb_ns *took; /* an unanswered question counts as the client's patience */
    size_t capacity;
} load_row;

typedef struct load_question {
    bool open;
    uint8_t generation;
    unsigned client;
    unsigned lookup;
    zone_id id;
    uint16_t type;
    sb_ns asked_at;
    ask *ask;
} load_question;

typedef struct load {
    sim *s;
    subject *d;
    client *c;
    bool used;
    zone zone;
    sb_ns warm_from, zero, end;         /* SB_NEVER: not yet */
    sb_ns dead_from, dead_to, gone, up; /* of the servers; of the program */
    bool dead;
    unsigned rates[LOAD_CLIENTS];
    sb_ns next_at[LOAD_CLIENTS];
    uint64_t started[LOAD_CLIENTS];
    unsigned next_cold[LOAD_CLIENTS], next_new;
    load_question questions[CLIENT_ASKS];
    unsigned lookups[1024]; /* questions of a look-up without an end */
    unsigned next_lookup;
    sb_ns fresh_until[ZONE_KNOWN_COUNT][2][2]; /* of an ideal cache: name, suffixed, AAAA */
    load_row rows[LOAD_CLIENTS][LOAD_GROUPS];
    uint64_t questions_dead, flights_alive, queries_alive, queries_dead;
    sb_ns last_old; /* the longest after its change that an old address was served; -1 never */
    struct {
        uint32_t flight, queries;
        bool doubted;
    } flights[LOAD_FLIGHTS];
    uint64_t doubted_flights, doubted_queries;
    uint64_t refreshes_before;
    unsigned refreshes[LOAD_SECONDS]; /* by second of the run */
} load;

/* Forgets everything but memory for times. */
void load_reset(load *ld, sim *s, subject *d, client *c);
void load_fini(load *ld);
/* Every known name once, with and without suffix, within two seconds. */
void load_warm(load *ld);
/* Questions per second of both clients. */
void load_start(load *ld, sb_ns duration, unsigned rate, unsigned resending);
/* True while a look-up has no end. */
bool load_busy(const load *ld);
/* Every known name has another address now / a tenth of them is gone, and its address may still be
 * served for `grace`. */
void load_change(load *ld);
void load_delete(load *ld, sb_ns grace);
/* Whether a server lives, and the program: told at every change. */
void load_health(load *ld, const server *servers, unsigned count);
void load_lost(load *ld);
void load_back(load *ld);
/* The servers' answer to a question of the load; -1 when it is none. lie: of the known names. */
int load_compose(const load *ld, server_mode lie, const sb_question *question, sb_builder *b);
/* A query leaves the machine. */
void load_query(load *ld);
void load_event(load *ld, const sb_event *e);
/* True when the reply was one of the load's. */
bool load_replied(load *ld, ask *a, const uint8_t *bytes, size_t size);
/* [resending] GROUP METRIC, or METRIC: times in ns, ratios in thousandths. False: no such. */
bool load_metric(load *ld, char **words, unsigned n, int64_t *ret_value, unsigned *ret_used);
/* A line for each group and one for the upstreams, every line beginning with `# `. */
void load_report(load *ld, sb_text *out);

#endif
