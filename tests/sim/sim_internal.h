/* What the parts of the simulated machine share: the queue (sim_core), network (sim_net), disk
 * (sim_disk), the env table (sim_env). Not for the world. */
#ifndef SB_SIM_INTERNAL_H
#define SB_SIM_INTERNAL_H

#include "sim/sim_env.h"

#define SIM_EVENT_SMALL 600 /* most DNS messages */
#define SIM_EVENT_BIG 65600 /* any datagram */
#define SIM_QUEUE_LIMIT (1024 * 1024)

typedef struct sim_event sim_event;
struct sim_event {
    sb_heap_node node;
    void (*run)(sim *s, sim_event *e);
    sim_event *next; /* free list, or the held chunks of a paused stream */
    sb_socket target;
    sb_status status;
    sb_addr from, to;
    sim_host *host;
    void (*call)(void *context, uint64_t argument);
    void *context;
    uint64_t argument;
    size_t size, capacity;
    uint8_t bytes[];
};

typedef struct sim_env {
    sb_env base; /* first */
    sim *s;
    sb_list link;
    bool frozen;
} sim_env;

typedef enum sim_slot_kind {
    SIM_FREE,
    SIM_UDP,
    SIM_STREAM,
    SIM_LISTENER,
    SIM_NETLINK
} sim_slot_kind;

typedef struct sim_slot {
    uint32_t generation, index;
    sim_slot_kind kind;
    sim_env *env; /* NULL: the world's */
    void *owner;
    const sb_udp_events *udp;
    const sb_stream_events *stream;
    const sim_conn_events *conn;
    sim_host *host; /* world end of a stream which the program opened */
    sb_accepted *accepted;
    void (*on_end)(void *owner, sb_socket socket); /* of a listener, and the streams it takes */
    char path[108];
    sb_addr local, remote;
    int netlink_protocol;
    uint32_t netlink_groups;
    bool remote_set, connected, adopted, paused, ended, reuse_port;
    uint64_t tag;
    /* streams */
    sb_socket other;
    size_t queued;                /* written here, not yet with the other end */
    sb_ns last_arrival;           /* at the other end: keeps the order */
    sim_event *held, **held_tail; /* arrived here while paused */
    uint32_t next_free;
    uint32_t port_next; /* chain of bound datagram sockets and listeners of one port; slot + 1 */
} sim_slot;

/* A file's bytes, and their identity. */
typedef struct sim_inode {
    struct sim_inode *next;
    uint8_t *base;
    uint8_t *frozen; /* at the instant its process was killed */
    uint8_t *mark;   /* at the last sim_disk_mark */
    size_t size, capacity;
    uint64_t number;
    int64_t modified_ns;
    unsigned refs;     /* paths and mappings */
    sim_env *locked;   /* who holds the lock */
    bool foreign_lock; /* a process outside */
    bool mark_valid;
} sim_inode;

#define SIM_PATHS_MAX 16
#define SIM_MAPS_MAX 16
typedef struct sim_map {
    sim_inode *inode;
    sim_env *env;
    char path[256];
    bool in_file;
} sim_map;

/* The kernel's tables, as netlink shows them. */
#define SIM_LINKS_MAX 8
#define SIM_ADDRESSES_MAX 64
#define SIM_NEIGHBOURS_MAX 16
#define SIM_CONNECTIONS_MAX 64
typedef struct sim_kernel {
    struct {
        uint32_t index, flags; /* index 0: free */
        char name[16];
    } links[SIM_LINKS_MAX];
    struct {
        uint32_t interface; /* 0: free */
        sb_prefix address;
    } addresses[SIM_ADDRESSES_MAX];
    struct {
        uint32_t interface; /* 0: no default route */
        sb_addr gateway, source;
    } routes[2]; /* IPv4, IPv6 */
    struct {
        uint32_t interface; /* 0: free */
        sb_addr addr;
        uint8_t hardware[6];
    } neighbours[SIM_NEIGHBOURS_MAX];
    struct {
        sb_addr remote;
        unsigned count; /* 0: free */
        uint8_t retransmits;
        bool mapped;
    } connections[SIM_CONNECTIONS_MAX];
    sb_status refusal; /* of netlink_open; SB_OK */
    uint64_t requests;
} sim_kernel;

struct sim {
    sb_ns now;
    sb_ns boot_at;   /* the universe's instant at which boot time was 0 */
    sb_ns wall_less; /* wall time minus universe time */
    uint8_t boot_id[16];
    sb_heap queue;
    sb_list envs, hosts;
    sb_rand world, net, entropy;
    sim_faults faults;
    sim_kernel kernel;
    uint64_t trace, packets, steps_here;
    bool verbose;
    void (*on_step)(void *);
    void *on_step_context;
    void (*on_packet)(void *, const sim_packet *);
    void *on_packet_context;
    sim_slot *slots;
    uint32_t slot_count, slot_capacity, slot_free; /* slot_free: index + 1 */
    unsigned open_count;
    uint32_t ports[65536]; /* slot + 1 */
    sim_event *pool[3];    /* free events: none, small, big */
    struct {
        char path[256];
        sim_inode *inode;
    } paths[SIM_PATHS_MAX];
    sim_map maps[SIM_MAPS_MAX];
    sim_inode *spare; /* inodes to use again */
    uint64_t inode_last;
};

/* sim_core */
sim_event *sim_event_new(sim *s, sb_ns at, size_t size, void (*run)(sim *, sim_event *));
void sim_event_free(sim *s, sim_event *e);
sim_slot *sim_slot_new(sim *s, sim_slot_kind kind, sim_env *env, sb_socket *ret);
sim_slot *sim_slot_get(sim *s, sb_socket socket); /* NULL: stale */
sb_socket sim_slot_name(const sim_slot *slot);
void sim_slot_close(sim *s, sim_slot *slot);
sim_env *sim_env_of(sb_env *env);

/* sim_net: entries of the table */
sb_status sim_udp_open(sb_env *, const sb_udp_options *, const sb_udp_events *, void *owner,
                       sb_socket *ret, sb_why *);
sb_status sim_udp_send(sb_env *, sb_socket, const sb_addr *to, const sb_addr *from,
                       const void *bytes, size_t size);
sb_status sim_local_address(sb_env *, sb_socket, sb_addr *ret);
sb_status sim_source_address(sb_env *, const sb_addr *destination, sb_addr *ret_source);
sb_status sim_bind(sim *s, sim_slot *slot, const sb_addr *want, bool reuse, sb_why *why);
void sim_unbind(sim *s, sim_slot *slot);
sim_host *sim_host_find(sim *s, const sb_addr *addr);
sb_ns sim_link_delay(sim *s, const sim_host *host);
sb_addr sim_source_for(const sb_addr *remote);
void sim_packet_seen(sim *s, const sim_packet *packet);

/* sim_netlink: entries of the table */
sb_status sim_netlink_open(sb_env *, int protocol, uint32_t groups, const sb_udp_events *,
                           void *owner, sb_socket *ret, sb_why *);
sb_status sim_netlink_send(sim *s, sim_slot *slot, const void *bytes, size_t size);
void sim_netlink_reset(sim *s);

/* sim_stream: entries of the table */
sb_status sim_stream_connect(sb_env *, const sb_addr *remote, const char *tls_name,
                             const sb_stream_events *, void *owner, sb_socket *ret, sb_why *);
sb_status sim_stream_listen(sb_env *, const sb_listen_options *, sb_accepted *, void *owner,
                            sb_socket *ret, sb_why *);
sb_status sim_adopt(sb_env *, sb_socket, const sb_stream_events *, void *owner);
sb_status sim_stream_write(sb_env *, sb_socket, const void *bytes, size_t size);
size_t sim_stream_queued(sb_env *, sb_socket);
void sim_stream_pause(sb_env *, sb_socket, bool paused);
void sim_stream_end(sim *s, sim_slot *slot, sb_status why); /* tells the other end */
void sim_held_drop(sim *s, sim_slot *slot);

/* sim_disk: entries of the table */
sb_status sim_file_read(sb_env *, const char *path, size_t max, uint8_t **ret_bytes,
                        size_t *ret_size, sb_why *);
sb_status sim_file_replace(sb_env *, const char *path, unsigned mode, const void *bytes,
                           size_t size, sb_why *);
void sim_file_stat(sb_env *, const char *path, sb_file_stat *ret);
sb_status sim_map_open(sb_env *, const char *path, sb_mapping *ret, sb_why *);
sb_status sim_map_create(sb_env *, const char *path, size_t size, unsigned mode, int64_t group,
                         sb_mapping *ret, sb_why *);
sb_status sim_map_publish(sb_env *, sb_mapping *, sb_why *);
sb_status sim_map_memory(sb_env *, size_t size, sb_mapping *ret, sb_why *);
void sim_map_close(sb_env *, sb_mapping *);
void sim_disk_freeze(sim *s, sim_env *env);
void sim_disk_thaw(sim *s, sim_env *env, uint32_t torn);
unsigned sim_disk_leaks(const sim *s, const sim_env *env);
void sim_disk_reset(sim *s);
void sim_disk_fini(sim *s);

#endif
