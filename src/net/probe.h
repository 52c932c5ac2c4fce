/* Is an endpoint alive? A TCP connection attempt, and a look at the connections this machine has.
 *
 * Two operations under common limits. Owns a socket each while under way; never decides what
 * follows from a life or a death, never resolves a name. RFC 9293. Loop thread. */
#ifndef SB_NET_PROBE_H
#define SB_NET_PROBE_H

#include "core/op.h"
#include "core/stats.h"

/* At once, of both kinds; beyond it SB_LIMIT. More endpoints in doubt than that are an outage,
 * in which their lives say little. */
#define SB_PROBES_UNDERWAY_MAX 32
/* Per second, of both kinds, with a burst of one second's worth; beyond it SB_LIMIT. Probes are
 * traffic that negative answers of others can cause: they stay below a person's browsing. */
#define SB_PROBES_PER_S_MAX 32
/* Connections one look goes through: some 10 ms of a kernel's time. Beyond it SB_LIMIT. */
#define SB_DIAG_SOCKETS_MAX 65536
/* Where the caller names no deadline. */
#define SB_PROBE_PATIENCE (1 * SB_S)

/* What the probes of one env share; the caller's memory. stats may be NULL. */
typedef struct sb_probes {
    sb_env *env;
    sb_stats *stats;
    unsigned underway;
    sb_ns full_at; /* token bucket: the instant at which it is full again */
} sb_probes;
void sb_probes_init(sb_probes *probes, sb_env *env, sb_stats *stats);

typedef enum sb_liveness {
    SB_LIVENESS_UNKNOWN, /* not tried, or no way out of this machine: says nothing */
    SB_LIVENESS_DEAD,    /* no answer, or the network says it cannot be reached */
    SB_LIVENESS_HOST,    /* the host refused: it lives, the service does not */
    SB_LIVENESS_ALIVE
} sb_liveness;
/* "unknown", "dead", "refused", "alive". Static storage. */
const char *sb_liveness_text(sb_liveness liveness);

/* A TCP connection attempt. status at done: OK connected (and closed again) · CONNREFUSED or
 * CLOSED the host answered with a reset · TIMEOUT · UNREACHABLE · LIMIT (also: no descriptor) ·
 * INVALID (no port, or no unicast address) · NOMEM · IO. liveness sums it up. */
typedef struct sb_probe {
    sb_op op; /* first: done's argument */
    sb_addr addr;
    sb_ns took;       /* until the answer */
    uint8_t liveness; /* sb_liveness; valid at done, UNKNOWN before */
    /* private */
    sb_probes *probes;
    sb_socket socket;
    sb_ns started_at;
    bool counted;
} sb_probe;
/* Memory may be dirty. SB_NEVER as deadline: SB_PROBE_PATIENCE from now. */
void sb_probe_start(sb_probe *probe, sb_probes *probes, const sb_addr *addr, sb_op *parent,
                    sb_ns deadline, void (*done)(sb_op *));

/* Is there an established TCP connection from this machine to the address, whatever the port?
 * Mapped addresses are their IPv4 ones. A connection in which the other side has left two
 * transmissions in a row unanswered does not count. status at done: OK there is · NOTFOUND there is
 * none · LIMIT too many probes or sockets · TIMEOUT · INVALID · PERM, UNSUPPORTED and others: it
 * cannot be known. */
typedef struct sb_diag {
    sb_op op; /* first: done's argument */
    sb_addr addr;
    unsigned looked_at; /* sockets */
    /* private */
    sb_probes *probes;
    sb_socket socket;
    uint32_t sequence;
    uint8_t family; /* AF_* under way */
    bool counted, answered;
} sb_diag;
/* Memory may be dirty. SB_NEVER as deadline: SB_PROBE_PATIENCE from now. */
void sb_diag_start(sb_diag *diag, sb_probes *probes, const sb_addr *addr, sb_op *parent,
                   sb_ns deadline, void (*done)(sb_op *));

#endif
