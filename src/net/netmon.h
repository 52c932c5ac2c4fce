/* The network monitor: on which network this machine is, and when that changes.
 *
 * Listens to the kernel (links, addresses, routes, rules) and, when the messages have settled, asks
 * it anew how the Internet would be reached: messages are hints, the tables are the truth, so that
 * a lost message costs nothing. Owns two netlink sockets; never decides what a change means, never
 * sends a packet. RFC 3549. Loop thread. */
#ifndef SB_NET_NETMON_H
#define SB_NET_NETMON_H

#include "core/env.h"
#include "core/stats.h"

/* A change is told when nothing more has happened for SETTLE_QUIET, at the latest SETTLE_MOST
 * after its first message; the reading itself takes less than a millisecond (D3: under 100 ms). */
#define SB_NETMON_SETTLE_QUIET (30 * SB_MS)
#define SB_NETMON_SETTLE_MOST (80 * SB_MS)
#define SB_NETMON_PREFIXES_MAX 32  /* of one interface; beyond: the least ones, and a counter */
#define SB_NETMON_HARDWARE_MAX 32  /* longest link-layer address there is */
#define SB_NETMON_REMEMBERED_MAX 8 /* networks of this run which are recognised, see below */

/* Where this machine is. IPv4's default way decides, IPv6's where IPv4 has none; but while IPv6's
 * is the one that was there beside IPv4's, on the same interface and with a prefix that is nobody
 * else's, IPv4's going or coming back is no move.
 *
 * identity: 0 = no network (no default way, only loopback, link down) or not known. The upper half
 * is made of the interface's name, the gateway and the prefix that it is on (of a link-local one:
 * that we leave from), the lower half of the gateway's link-layer address, 0 while that is not
 * known (or there is none: tunnels). The same network gives the same number after a restart and on
 * every build. */
typedef struct sb_network {
    uint32_t identity;
    bool available;     /* false: the system forbids netlink, and identity stays 0 */
    bool read;          /* the tables were read: a 0 means no network, not "not known" */
    char name[16];      /* the interface; "" none */
    uint32_t interface; /* its index */
    sb_addr gateway;    /* family 0: none; scope set when link-local */
    sb_addr source[2];  /* what IPv4 and IPv6 would leave from; family 0: not reached that way */
    uint8_t hardware[SB_NETMON_HARDWARE_MAX]; /* the gateway's, as last seen */
    uint8_t hardware_size;                    /* 0 not known */
    uint8_t prefix_count;
    sb_prefix prefixes[SB_NETMON_PREFIXES_MAX]; /* ascending, no host routes */
} sb_network;

/* True when both are the same interface, gateway and prefixes: at most the gateway's link-layer
 * address became known in between. Nobody moved, breakers and doubt need not know. */
static inline bool sb_network_same_place(uint32_t a, uint32_t b)
{
    return a >> 16 == b >> 16;
}

/* Called from the loop once after the first reading, then after each change. old == new: the same
 * network, but the source address or the way out of a family changed: connections may be dead.
 * Must not free the monitor. */
typedef void sb_netmon_changed(void *context, uint32_t old_identity, uint32_t new_identity);

typedef struct sb_netmon sb_netmon;
/* remembered: the identity a previous run stored, 0 none. While the gateway's link-layer address
 * is not known (it is dead, perhaps), a network that looks like one remembered is taken for it: at
 * the start at once, later after a second without an answer. stats may be NULL. Where netlink
 * cannot be had that is logged once and no call ever comes. */
SB_MUST_USE sb_status sb_netmon_new(sb_env *env, sb_stats *stats, uint32_t remembered,
                                    sb_netmon_changed *changed, void *context, sb_netmon **ret);
/* NULL is allowed. Not from within changed. */
void sb_netmon_free(sb_netmon *netmon);
/* As it is now; valid until the next turn of the loop. */
const sb_network *sb_netmon_network(const sb_netmon *netmon);
/* True while the network may be another than it says: something has changed and was not read yet,
 * or the gateway was not recognised yet (for a second at most: then what is known is all there
 * is). */
bool sb_netmon_unsettled(const sb_netmon *netmon);
/* Something was heard over the network: looks for the gateway now rather than later, if it was not
 * recognised yet. */
void sb_netmon_look(sb_netmon *netmon);

#endif
