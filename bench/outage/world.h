/* One run: the two upstreams, the two clients, the truth, what was counted, and when things fell.
 *
 * Owned by main. One thread. */
#ifndef SB_OUTAGE_WORLD_H
#define SB_OUTAGE_WORLD_H

#include "base/list.h"
#include "base/rand.h"
#include "outage/loop.h"
#include "outage/scene.h"
#include "outage/tally.h"
#include "outage/zone.h"

#define CLIENT_SOCKETS 16 /* a resolver that spreads clients over threads by port gets some */

typedef struct world world;

typedef struct upstream {
    world *w;
    unsigned index; /* 0: primary */
    sb_addr addr;
    int64_t delay_ns; /* from question to reply */
    scene_fault fault;
    loop_watch udp, tcp;
    loop_watch raw; /* counts what arrives while no socket is open */
    bool open, raw_open;
    sb_list conns;
    uint64_t next_conn;
    sb_rand rand;
} upstream;

typedef struct client_socket {
    loop_watch watch;
    struct client *owner;
} client_socket;

typedef struct client {
    world *w;
    unsigned index;
    bool resends; /* after 1 s and 2 s, and sends no EDNS, as C libraries do */
    unsigned rate;
    client_socket sockets[CLIENT_SOCKETS];
    unsigned socket_count;
    struct client_question **pending; /* by id */
    unsigned outstanding;             /* look-ups */
    uint16_t next_id;
    loop_timer tick;
    int64_t next_ns, interval_ns;
    uint64_t started;
    uint32_t next_cold;
    sb_rand rand;
} client;

struct world {
    loop loop;
    const scene *scene;
    sb_addr resolver;
    uint32_t seconds;
    uint64_t seed;
    /* CLOCK_MONOTONIC; the run begins at zero_ns and asks until end_ns. ZONE_NEVER until known. */
    int64_t warm_from_ns, zero_ns, end_ns;
    int64_t dead_from_ns, dead_to_ns;
    int64_t restart_ns, exec_ns;
    int64_t ready_ns; /* the first right reply after the last start */
    zone zone;
    upstream upstreams[TALLY_SERVERS];
    client clients[TALLY_CLIENTS];
    uint32_t next_new;
    int64_t late_max_ns; /* by how much this program itself was late with a look-up, at worst */
    int64_t fresh_until[ZONE_KNOWN_COUNT][2][2]; /* of an ideal cache: name, suffixed, AAAA */
    tally tally;
};

/* True while at least one upstream answers. */
static inline bool world_alive(const world *w)
{
    return !(scene_fault_is_death(w->upstreams[0].fault) &&
             scene_fault_is_death(w->upstreams[1].fault));
}

/* True when a living upstream denies a name that was known: the primary lies, or it is deleted. */
static inline bool world_denies(const world *w, zone_id id, int64_t now_ns)
{
    if (id.kind != ZONE_KNOWN || id.suffixed || !world_alive(w))
        return false;
    return w->upstreams[0].fault == FAULT_DENY ||
           (zone_is_mortal(id.index) && now_ns >= w->zone.deleted_ns);
}

#endif
