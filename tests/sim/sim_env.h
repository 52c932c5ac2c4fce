/* A machine in memory: virtual clock, network, disk and processes, all from one seed.
 *
 * Implements core/env.h for the program under test and gives simulated hosts their side of every
 * conversation. One event queue orders everything; the same seed gives the same trace. Never reads
 * a real clock, never opens a real descriptor. Memory is kept between seeds (sim_reset). One
 * thread. */
#ifndef SB_SIM_ENV_H
#define SB_SIM_ENV_H

#include "core/env.h"

typedef struct sim sim;
typedef struct sim_host sim_host;

/* What lies between the machine and a host. Delays one way. */
typedef struct sim_link {
    sb_ns delay_min, delay_max;
    uint32_t loss, duplicate; /* thousandths of datagrams */
} sim_link;

typedef enum sim_reach {
    SIM_UP,
    SIM_BLACKHOLE,   /* packets vanish */
    SIM_PORT_CLOSED, /* ICMP port unreachable, RST */
    SIM_UNREACHABLE, /* ICMP host unreachable */
    SIM_NO_ROUTE     /* the machine itself has no way: calls fail at once */
} sim_reach;

/* A simulated endpoint, in the world's memory. port 0: every port of that address. Callbacks may be
 * NULL. */
struct sim_host {
    sb_list link_; /* private */
    sb_addr addr;
    sim_link link;
    sim_reach reach;
    bool stream_closed; /* TCP refused although UDP works */
    /* Stands for every address this says yes to, where no host of its own does. May be NULL. */
    bool (*stands_for)(const sim_host *, const sb_addr *addr);
    void *owner;
    void (*datagram)(sim_host *, sim *, const sb_addr *from, const sb_addr *to,
                     const uint8_t *bytes, size_t size);
    /* How TLS under that name ends: SB_OK (so also when NULL), SB_REFUSED for a certificate that
     * does not verify, SB_MALFORMED where none is spoken. The stream itself carries plaintext. Must
     * not act. */
    sb_status (*refuse_tls)(sim_host *, sim *, const char *name);
    /* A stream arrives; false refuses it. */
    bool (*accepted)(sim_host *, sim *, sb_socket conn);
    void (*received)(sim_host *, sim *, sb_socket conn, const uint8_t *bytes, size_t size);
    void (*closed)(sim_host *, sim *, sb_socket conn, sb_status why);
};

/* The world's own outgoing streams (clients of the program's listeners). */
typedef struct sim_conn_events {
    void (*connected)(void *owner, sim *, sb_socket conn);
    void (*received)(void *owner, sim *, sb_socket conn, const uint8_t *bytes, size_t size);
    void (*closed)(void *owner, sim *, sb_socket conn, sb_status why);
} sim_conn_events;

/* Every packet that leaves the machine. tag: see sim_socket_tag. */
typedef struct sim_packet {
    sb_addr from, to;
    const uint8_t *bytes;
    size_t size;
    sb_socket socket;
    bool stream;
} sim_packet;

typedef struct sim_faults {
    uint32_t open;        /* thousandths of socket opens that fail (descriptors used up) */
    uint32_t send;        /* thousandths of datagram sends that fail */
    uint32_t file;        /* thousandths of file calls that fail */
    sb_status map_create; /* not OK: a full or read-only disk */
    bool whole_segments;  /* streams are not cut up */
} sim_faults;

sim *sim_new(void);
void sim_free(sim *s);
/* Back to an empty machine at the given seed. Every process must have ended. */
void sim_reset(sim *s, uint64_t seed);

/* Instants of the universe, which never step; boot time of the machine is the universe's since its
 * boot. */
sb_ns sim_now(const sim *s);
/* Runs one thing that is due until then; false when nothing is left before `until` (now is then
 * `until`). */
bool sim_step(sim *s, sb_ns until);
/* Called after every step; for invariants. */
void sim_on_step(sim *s, void (*call)(void *context), void *context);
void sim_on_packet(sim *s, void (*call)(void *context, const sim_packet *), void *context);
/* The world's timers. Never cancelled: check your own generation. */
void sim_at(sim *s, sb_ns at, void (*call)(void *context, uint64_t argument), void *context,
            uint64_t argument);
/* The world's own randomness, apart from the program's. */
sb_rand *sim_rand(sim *s);
sim_faults *sim_fault(sim *s);
/* Hash over all packets, and over what sim_trace_mix adds. */
uint64_t sim_trace(const sim *s);
void sim_trace_mix(sim *s, const void *bytes, size_t size);
/* Prints each packet to stderr. */
void sim_verbose(sim *s, bool on);

/* Processes. Kill is freeze, then the caller frees what the process had in memory (nothing of that
 * has an effect any more), then end. An orderly end is sim_process_end alone, after the owner
 * closed everything. */
sb_env *sim_process_start(sim *s);
void sim_process_freeze(sim *s, sb_env *env);
/* torn: thousandths of the pages of mapped files which come back as they were at the last
 * sim_disk_mark. */
void sim_process_end(sim *s, sb_env *env, uint32_t torn);
/* Sockets and mappings a process still has: 0 when it closed everything. */
unsigned sim_process_leaks(sim *s, sb_env *env);
/* The disk of this moment is what a power loss may bring back. */
void sim_disk_mark(sim *s);

/* The machine. */
void sim_wall_step(sim *s, sb_ns by);
void sim_suspend(sim *s, sb_ns duration); /* timers and packets due meanwhile come late */
void sim_reboot(sim *s, sb_ns down);      /* every process must have ended */
void sim_file_put(sim *s, const char *path, const void *bytes, size_t size);
void sim_file_remove(sim *s, const char *path);
/* Borrowed; NULL when absent. Also the bytes of a mapped file. */
uint8_t *sim_file_bytes(sim *s, const char *path, size_t *ret_size);
/* Another process holds the lock of the file at path, or no longer. */
void sim_file_lock(sim *s, const char *path, bool locked);

/* The kernel's tables as netlink shows them; each change is notified. They say where the machine
 * is and do not route the packets of hosts, which have links of their own. At a reset: lo (1),
 * eth0 (2) with 10.9.0.1/24 and fd00::1/64, default ways through 10.9.0.254 and fe80::fe (both
 * 02:00:00:00:00:fe), no established connections. */
#define SIM_LO 1u
#define SIM_ETH0 2u
/* Adds a link, or changes it. !running: the cable is out. name NULL: removed with its addresses,
 * routes and neighbours. point_to_point: a tunnel. */
void sim_link_set(sim *s, uint32_t index, const char *name, bool running, bool point_to_point);
void sim_address_set(sim *s, uint32_t index, const sb_prefix *address, bool present);
/* gateway NULL: on the link itself. index 0: no default way of that family. source NULL: the
 * interface's first address. */
void sim_default_set(sim *s, sb_family family, uint32_t index, const sb_addr *gateway,
                     const sb_addr *source);
/* hardware NULL: not known (any more). Not notified, as the monitor does not listen there. */
void sim_neighbour_set(sim *s, uint32_t index, const sb_addr *addr, const uint8_t hardware[6]);
/* eth0 as it is in one of many networks: addresses, default ways and gateways at once. 0: in none;
 * 1: as at the reset; two that are equal modulo 8 differ by the gateway's hardware alone. known:
 * the hardware is known, else not until sim_network_hardware. */
void sim_network_set(sim *s, unsigned network, bool known);
void sim_network_hardware(sim *s, unsigned network);
/* Messages are lost: every socket that listens to the kernel is told so. */
void sim_netlink_lose(sim *s);
/* A notification of a route that is not a default way, as busy machines see by the thousand. */
void sim_route_noise(sim *s, const sb_prefix *to);
/* Not SB_OK: netlink cannot be had, for that reason. */
void sim_netlink_refuse(sim *s, sb_status refusal);
/* So many established connections to that address; 0 takes them away. retransmits: what the other
 * side has left unanswered. mapped: IPv4 on an IPv6 socket. */
void sim_established_set(sim *s, const sb_addr *remote, unsigned count, uint8_t retransmits,
                         bool mapped);
/* Requests to the kernel so far. */
uint64_t sim_netlink_requests(const sim *s);

/* Network. Hosts stay the caller's memory until removed or reset. */
void sim_host_add(sim *s, sim_host *host);
void sim_host_remove(sim *s, sim_host *host);
/* A datagram from a host, through its link. */
void sim_send(sim *s, const sim_host *host, const sb_addr *to, const void *bytes, size_t size);
/* A datagram with any source (a forger), after exactly `delay`. */
void sim_inject(sim *s, const sb_addr *from, const sb_addr *to, const void *bytes, size_t size,
                sb_ns delay);
/* A stream to a listener: a Unix one when path is not NULL. */
sb_socket sim_connect(sim *s, const sb_addr *from, const sb_addr *to, const char *path,
                      uint32_t uid, const sim_conn_events *events, void *owner);
void sim_conn_write(sim *s, sb_socket conn, const void *bytes, size_t size);
/* End of our bytes; what the other side still sends is received. */
void sim_conn_shutdown(sim *s, sb_socket conn);
void sim_conn_close(sim *s, sb_socket conn);
void sim_conn_reset(sim *s, sb_socket conn);
void *sim_conn_owner(sim *s, sb_socket conn);
void sim_conn_set_owner(sim *s, sb_socket conn, void *owner);

/* A word the world keeps with a program's datagram socket; gone with the socket. Returns false on a
 * closed one. */
bool sim_socket_tag(sim *s, sb_socket socket, uint64_t tag);
/* Open datagram sockets of the program with that tag. */
unsigned sim_sockets_tagged(const sim *s, uint64_t tag);
/* True when a datagram from→to would reach an open socket of the program. */
bool sim_reaches(sim *s, const sb_addr *from, const sb_addr *to, sb_socket *ret_socket);
unsigned sim_sockets_open(const sim *s);
uint64_t sim_packets_sent(const sim *s);

#endif
