/* Generated authoritative data with a history: every record says which name and which version of it
 * it belongs to, so that a checker can tell whose it is and since when it was true.
 *
 * Addresses: 100.id.version.index and 2a64:id:version::index; of a name that is private on the
 * network in question 10.id.version.network and fd0a:id:version::network, a single one. TXT: bytes
 * 'T' id version. Negatives: SOA serial id<<8|version. Other first bytes mark other origins
 * (below). One thread. */
#ifndef SB_SIM_ZONE_H
#define SB_SIM_ZONE_H

#include "dns/msg.h"
#include "sim/server.h"

#define ZONE_NODES_MAX 48
#define ZONE_VERSIONS_MAX 40
#define ZONE_NO_ALIAS 0xff

enum { ZONE_A = 1, ZONE_AAAA = 2, ZONE_TXT = 4 };
/* Slots of what can be said about a node at a version. */
enum { SLOT_A, SLOT_AAAA, SLOT_TXT, SLOT_CNAME, SLOT_COUNT };

/* First byte of an address, and second of an IPv6 one. */
enum {
    ORIGIN_ZONE = 100,
    ORIGIN_EMERGENCY = 99,
    ORIGIN_PIN = 98,
    ORIGIN_HOSTS = 97,
    ORIGIN_LIE = 96,
    ORIGIN_PRIVATE = 10, /* index: the network */
    ORIGIN_FORGED = 66
};
#define ZONE_LIE 0xff   /* version in the serial of a wrong denial */
#define ZONE_LIE_TTL 5u /* of all lies, in seconds */

typedef struct zone_version {
    sb_ns from;
    bool exists;
    uint8_t types; /* ZONE_…: what it has */
    uint8_t alias; /* node id or ZONE_NO_ALIAS */
    uint8_t count; /* records of a set */
    uint32_t ttl_s, negative_ttl_s;
} zone_version;

typedef struct zone_node {
    sb_name name;
    uint8_t id;
    uint8_t version_count;
    bool emergency;    /* has addresses of last resort, and is protected */
    bool protect;      /* its denials are doubted */
    bool split_always; /* on all */
    bool split;        /* private on some networks, another address on each; no part of a chain */
    zone_version versions[ZONE_VERSIONS_MAX];
} zone_node;

typedef struct zone {
    sim *s;
    unsigned node_count;
    zone_node nodes[ZONE_NODES_MAX];
    bool big; /* large sets: truncation, eviction */
    bool aliases;
    unsigned network; /* on which its servers are asked */
} zone;

/* About half of the nodes below sim.test, half below corp.test. split: some are. */
void zone_init(zone *z, sim *s, unsigned nodes, bool big, bool aliases, bool split);
/* A new version of a random node; false when its history is full. */
bool zone_change(zone *z, unsigned id);
/* On a network this name has private addresses. */
bool zone_is_private(const zone_node *node, unsigned network);
zone_node *zone_find(zone *z, const sb_name *name);
int zone_node_id(const sb_name *name); /* -1: none of ours */
const zone_version *zone_at(const zone_node *node, sb_ns at, uint8_t *ret_version);
/* A server's compose and forge. */
unsigned zone_compose(void *zone_, server *, const sb_question *, sb_builder *b);
/* Of DENYING and LYING servers. */
unsigned zone_lie(void *zone_, server *, const sb_question *, sb_builder *b);
void zone_forge(void *zone_, server *, const sb_question *, sb_builder *b);
int zone_slot_of(uint16_t type); /* SLOT_…; -1 */
sb_addr zone_address(uint8_t origin, uint8_t id, uint8_t version, uint8_t index, uint16_t type);

#endif
