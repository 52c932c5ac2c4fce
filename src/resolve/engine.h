/* The engine: questions in, answers with provenance out.
 *
 * Owns flights, pins, hosts, policy and what is learned; borrows env, cache file. Single owner of
 * the writer of the cache file. Loop thread. */
#ifndef SB_RESOLVE_ENGINE_H
#define SB_RESOLVE_ENGINE_H

#include "core/event.h"
#include "core/op.h"
#include "core/settings.h"
#include "core/stats.h"
#include "dns/reply.h"
#include "net/upstream.h"
#include "store/l1_write.h"

typedef struct sb_engine sb_engine;

typedef struct sb_engine_options {
    sb_env *env;
    const sb_settings *settings;  /* frozen; referenced */
    sb_l1 *l1;                    /* borrowed; outlives the engine */
    const char *hosts_path;       /* "/etc/hosts"; NULL none */
    const char *resolv_conf_path; /* "/etc/resolv.conf"; NULL none */
    uint32_t event_capacity;      /* ring of events; 0 none */
} sb_engine_options;

SB_MUST_USE sb_status sb_engine_new(const sb_engine_options *options, sb_engine **ret, sb_why *why);
/* Cancels every flight; waiters must have been cancelled by their owners before. */
void sb_engine_free(sb_engine *engine);
/* New settings for questions from now on; running flights keep theirs. */
SB_MUST_USE sb_status sb_engine_reload(sb_engine *engine, const sb_settings *settings, sb_why *why);

/* A waiter: one question of one asker, in the asker's memory. */
typedef struct sb_query {
    sb_op op; /* first. done: settled; status OK whenever `answer` is to be served, positive or
                 negative */
    sb_question question; /* in */
    uint8_t ask;          /* in: SB_ASK_… */
    /* out, from done until sb_query_fini */
    const sb_answer *answer; /* owned reference; NULL on failure */
    uint16_t rcode;
    int ede;
    const char *ede_text;                   /* static storage or NULL */
    bool hit;                               /* answered from the cache file */
    bool degraded;                          /* stale, emergency, guess, capped */
    uint32_t age_s, ttl_cap_s, ttl_fixed_s; /* for sb_reply_body */
    sb_provenance provenance;
    /* private */
    sb_engine *engine;
    void *flight;
    sb_list link;
    sb_ns began;
} sb_query;

/* Starts (memory may be dirty but for question and ask). deadline SB_NEVER: query.timeout from now.
 * done is never called from within; cancel with sb_op_cancel(&query->op), then sb_query_fini. */
void sb_engine_ask(sb_engine *engine, sb_query *query, sb_op *parent, sb_ns deadline,
                   void (*done)(sb_op *));
void sb_query_fini(sb_query *query);
/* What the encoder needs of a settled query; borrowed from it. provenance_buffer (512 bytes)
 * receives option 65430. */
void sb_query_body(const sb_query *query, bool with_provenance, uint8_t *provenance_buffer,
                   sb_reply_body *ret_body);

/* A question answered from the cache file outside the engine (worker, reader): keeps warm what is
 * in use. */
void sb_engine_used(sb_engine *engine, const sb_question *question);
/* A flight without waiters for A and AAAA of a name. */
void sb_engine_warm(sb_engine *engine, const sb_name *name);

/* How servers did does not count any more, nor what failed, nor who was found in a forwarding loop
 * (network change, `upstreams reset`). */
void sb_engine_reset_upstreams(sb_engine *engine);

/* The operator says that what denies the name is right: obeyed until the name is answered again.
 * What is known of it is asked anew at once. SB_NOTFOUND: no denial of it is doubted. */
SB_MUST_USE sb_status sb_engine_obey(sb_engine *engine, const sb_name *name);
/* The doubt of that question that goes on; false: there is none. For listings. */
struct sb_doubt_info;
bool sb_engine_doubt(sb_engine *engine, const sb_name *name, uint16_t type,
                     struct sb_doubt_info *ret_info);
struct sb_endpoints *sb_engine_endpoints(sb_engine *engine);

/* Pins override DNS until their end. duration 0: until unpinned. */
SB_MUST_USE sb_status sb_engine_pin(sb_engine *engine, const sb_name *name,
                                    const sb_addr *addresses, size_t n, sb_ns duration,
                                    sb_why *why);
SB_MUST_USE sb_status sb_engine_unpin(sb_engine *engine, const sb_name *name);
typedef struct sb_pin_info {
    sb_name name;
    sb_addr addresses[16];
    size_t count;
    bool aside;  /* the DNS is served in its place; sb_engine_pin_of alone says so */
    sb_ns until; /* instant of this boot; SB_NEVER */
} sb_pin_info;
bool sb_engine_each_pin(sb_engine *engine, bool (*visit)(void *context, const sb_pin_info *),
                        void *context);

/* What the DNS says of a pinned name, compared with the pin. */
typedef enum sb_dns_word {
    SB_DNS_UNKNOWN,
    SB_DNS_AGREES,
    SB_DNS_DIFFERS,
    SB_DNS_DENIES,
    SB_DNS_FAILS
} sb_dns_word;
/* "unknown", "agrees", … Static storage. */
const char *sb_dns_word_text(unsigned word);
/* A pin, or emergency addresses in use, as long as they are watched. */
typedef struct sb_custody_info {
    sb_name name;
    bool emergency; /* else a pin */
    bool over;      /* emergency_for has passed */
    bool wrong_seen;
    bool aside;   /* the DNS is served in its place */
    uint8_t dns;  /* sb_dns_word; of pins */
    uint8_t life; /* sb_liveness of its addresses */
    sb_ns for_ns, right_for;
    sb_ns used_before; /* -1 never */
    uint64_t uses;
} sb_custody_info;
bool sb_engine_each_custody(sb_engine *engine, bool (*visit)(void *, const sb_custody_info *),
                            void *context);
/* The trail: what became of pins and emergency addresses, oldest first. */
#define SB_DEED_TABLE(X)                                                                           \
    X(SET, "set")                                                                                  \
    X(UNSET, "unset")                                                                              \
    X(EXPIRED, "expired")                                                                          \
    X(WITHDRAWN, "withdrawn") /* by itself: the DNS is right again */                              \
    X(SERVED, "served")       /* emergency addresses began to serve */                             \
    X(RESTS, "rests")         /* and are not needed any more */                                    \
    X(DEAD, "dead")                                                                                \
    X(ALIVE, "alive")                                                                              \
    X(ASIDE, "aside")     /* dead, while the address of the DNS lives: the DNS is served */        \
    X(RESUMED, "resumed") /* and the pin again */
typedef enum sb_deed {
#define SB_DEED_ENUM(id, text) SB_DEED_##id,
    SB_DEED_TABLE(SB_DEED_ENUM)
#undef SB_DEED_ENUM
} sb_deed;
const char *sb_deed_text(unsigned deed);
typedef struct sb_deed_info {
    int64_t wall_ns;
    sb_name name;
    bool emergency;
    uint8_t deed;       /* sb_deed */
    const char *reason; /* static */
} sb_deed_info;
bool sb_engine_each_deed(sb_engine *engine, bool (*visit)(void *, const sb_deed_info *),
                         void *context);

/* Flushing ends the flights' claim too: a running flight's result is still delivered, and stored
 * anew. */
/* The cache went from memory into its file (sb_l1_take_file): what was denied meanwhile is
 * forgotten there as well, but for names that are protected. Before the memory is closed. */
void sb_engine_moved(sb_engine *engine, const sb_l1 *memory);
size_t sb_engine_flush_name(sb_engine *engine, const sb_name *name);
size_t sb_engine_flush_below(sb_engine *engine, const sb_name *suffix); /* root: all */

/* Services of the configuration (and mlflow of the environment). */
typedef struct sb_service_info {
    const sb_service_setting *setting;
    const char *host;
    bool checked;  /* at least one look-up ended */
    bool usable;   /* an address is known now, from whatever source */
    bool degraded; /* from a fall-back */
    sb_outcome outcome;
    sb_source source;
    uint32_t age_s;
    sb_addr addresses[16];
    size_t address_count;
} sb_service_info;
bool sb_engine_each_service(sb_engine *engine,
                            bool (*visit)(void *context, const sb_service_info *), void *context);
/* The pin of that name, found by its key; false: there is none. */
bool sb_engine_pin_of(sb_engine *engine, const sb_name *name, sb_pin_info *ret_pin);
/* Pins among the next `most` entries of the cache; *cursor starts 0 and is opaque. False at the end
 * of the cache. */
bool sb_engine_walk_pins(sb_engine *engine, uint64_t *cursor, unsigned most,
                         void (*visit)(void *context, const sb_pin_info *), void *context);
/* True from the moment questions can be answered. */
bool sb_engine_ready(const sb_engine *engine);

sb_env *sb_engine_env(sb_engine *engine);
sb_stats *sb_engine_stats(sb_engine *engine);
sb_events *sb_engine_events(sb_engine *engine);
sb_l1 *sb_engine_l1(sb_engine *engine);
sb_upstreams *sb_engine_upstreams(sb_engine *engine);
const sb_settings *sb_engine_settings(sb_engine *engine); /* borrowed until the next reload */
size_t sb_engine_flights(const sb_engine *engine);
uint32_t sb_engine_network(const sb_engine *engine);

/* Limits, each with a counter. */
#define SB_FLIGHTS_MAX 4096 /* beyond: SERVFAIL for misses, stale when there is some */
/* From here on each new flight ends the oldest one, if that has had its second: who asks for dead
 * names without end does not keep the others out. The rest is for what ends in this turn. */
#define SB_FLIGHTS_CROWD (SB_FLIGHTS_MAX - 256)
#define SB_FLIGHT_LEAST SB_S
#define SB_WAITERS_MAX 1024 /* per flight */
#define SB_FLIGHT_ARENA_MAX (64 * 1024)

#endif
