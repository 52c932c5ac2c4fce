/* A world from a seed: servers that change their ways, clients, an operator, a forger, a machine
 * that crashes; a random subset of them each time, judged by the oracle at every reply and packet
 * (DESIGN §10). One thread. */
#ifndef SB_SIM_WORLD_H
#define SB_SIM_WORLD_H

#include "sim/client.h"
#include "sim/oracle.h"
#include "sim/server.h"
#include "sim/subject.h"
#include "sim/zone.h"

#define WORLD_ACTOR_TABLE(X)                                                                       \
    X(DUAL, "two servers")                                                                         \
    X(ROUTE, "a route of its own")                                                                 \
    X(SLOW, "slow servers")                                                                        \
    X(SILENT, "silent servers")                                                                    \
    X(ERRORS, "SERVFAIL and REFUSED")                                                              \
    X(TRUNCATING, "truncating servers")                                                            \
    X(GARBAGE, "garbage")                                                                          \
    X(WRONG, "wrong IDs, questions, ports")                                                        \
    X(CLOSED, "ICMP errors")                                                                       \
    X(FLAPPING, "flapping servers")                                                                \
    X(VERDICTS, "verdicts by EDE")                                                                 \
    X(OPEN_CHAINS, "aliases without targets")                                                      \
    X(BARE, "denials without SOA")                                                                 \
    X(EXTRA, "records nobody asked for")                                                           \
    X(LAGGING, "a secondary that lags")                                                            \
    X(NO_EDNS, "servers without EDNS")                                                             \
    X(FORGER, "an off-path forger")                                                                \
    X(LOSSY, "a lossy network")                                                                    \
    X(FAR, "a far network")                                                                        \
    X(CANCELLER, "clients that cancel")                                                            \
    X(HASTY, "clients with short deadlines")                                                       \
    X(BURSTS, "bursts of one question")                                                            \
    X(JUNK, "junk on the listeners")                                                               \
    X(OPERATOR, "an operator that reloads")                                                        \
    X(FLUSHER, "an operator that flushes")                                                         \
    X(PINNER, "an operator that pins")                                                             \
    X(HOSTS, "a changing hosts file")                                                              \
    X(EMERGENCY, "emergency addresses")                                                            \
    X(OUTAGES, "outages of everything")                                                            \
    X(CRASHES, "kill -9")                                                                          \
    X(POWER, "power loss")                                                                         \
    X(CLOCKS, "clock steps and suspend")                                                           \
    X(BIG, "large answers")                                                                        \
    X(NO_DISK, "no cache file to be had")                                                          \
    X(NO_MEMORY, "memory that runs out")                                                           \
    X(NO_SOCKETS, "descriptors that run out")                                                      \
    X(IPV6, "servers over IPv6")                                                                   \
    X(SHORT_KEEP, "a short stale age")                                                             \
    X(PROTECTED, "protected names")                                                                \
    X(DENYING, "servers that deny what exists")                                                    \
    X(LYING, "servers with wrong addresses")                                                       \
    X(STUTTERING, "servers late now and then")                                                     \
    X(FOLDING, "servers that fold case")                                                           \
    X(COOKIES, "servers with cookies")                                                             \
    X(CLOSING, "servers that close connections")                                                   \
    X(MOVING, "a machine that moves between networks")                                             \
    X(LIVES, "endpoints that live and die")
typedef enum world_actor {
#define WORLD_ACTOR_ENUM(id, text) ACTOR_##id,
    WORLD_ACTOR_TABLE(WORLD_ACTOR_ENUM)
#undef WORLD_ACTOR_ENUM
        ACTOR_COUNT
} world_actor;
_Static_assert(ACTOR_COUNT <= 64, "a bit each");

#define WORLD_SERVERS_MAX 5
#define WORLD_FLIGHTS 1024
#define WORLD_PORT 443 /* of the service behind every name, where one is known */

typedef struct world {
    sim *s;
    zone z;
    oracle o;
    subject d;
    client c;
    uint64_t seed, actors;
    sb_rand manners; /* dice of world_manners.c and of a lucky forger */
    server servers[WORLD_SERVERS_MAX];
    sim_host endpoints; /* what names lead to, all of it */
    uint64_t probe_second;
    unsigned probes;                   /* connections begun in it */
    unsigned server_count, main_count; /* the first main_count serve the default route */
    server_world sworld;
    sb_ns good_min, good_max, bad_min, bad_max;
    server_mode bad_modes[SERVER_MODE_COUNT];
    unsigned bad_count;
    bool outage, crash_pending, calm;
    bool damaged;     /* bytes of the cache file, its header among them, are not what they were */
    unsigned network; /* 0: in none; else as of sim_network_set */
    uint64_t moves;
    const sb_settings *settings[2];
    unsigned setting_now;
    char hosts[4096];
    sb_ns started, end;
    sb_ns started_at; /* the program, last, or the machine that slept */
    unsigned questions;
    uint64_t evictions_seen;
    uint64_t trace;
    /* queries per flight number, and of the last ten seconds when all is dead */
    struct {
        uint32_t flight, first, all;
        bool doubted;
        sb_addr last; /* server asked last */
    } flights[WORLD_FLIGHTS];
    struct {
        uint64_t tag;
        sb_ns at;
    } asked[64]; /* lately */
    unsigned asked_next;
    /* Of this run of the program. */
    uint64_t hedges_seen, hedges_paid, flights_begun, climbs_begun;
    struct {
        uint64_t name;
        uint32_t flight, type;
    } under_way[64]; /* flights that have not ended */
    uint64_t window_index;
    unsigned window_count, window_probes;
    uint64_t window_flights; /* begun before it */
    sb_name route;           /* of the servers after main_count */
    sb_ns dead_since[2];     /* a breaker of the default route, of the other, opened, last */
    sb_ns all_bad_since;
    sb_ns up_at;      /* a breaker closed, last */
    sb_ns refused_at; /* a server that says no was asked, last */
    uint64_t total_queries, total_questions, total_packets;
    bool verbose;
} world;

world *world_new(void);
void world_free(world *w);
/* Runs a seed whole; false when a law was broken: w->o.failure. w->trace is the hash of the run. */
bool world_run(world *w, uint64_t seed, bool verbose);
/* "two servers, a lossy network, …" */
void world_describe(const world *w, char *buffer, size_t capacity);

/* world_acts.c: what happens in it */
void world_schedule(world *w);
bool world_has(const world *w, world_actor actor);
bool world_start_subject(world *w);
void world_settings(world *w);
void world_servers(world *w);
void world_health(world *w);
void world_pin_deed(world *w, uint64_t name, unsigned deed);
void world_recover(world *w);
/* world_manners.c: case, cookies and connections of the servers; actors and dice of their own, so
 * that the rest of a world is the same without them */
#define ACTOR_MANNERS ACTOR_FOLDING /* the first of them */
void world_manners_choose(world *w);
void world_manners(world *w);
server_mode world_good_mode(world *w);
/* world.c */
void world_check_subject(world *w);

#endif
