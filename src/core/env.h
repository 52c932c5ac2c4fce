/* THE seam: every effect the engine can have on the world, as one table of functions.
 *
 * io/uv_env implements it on libuv; tests/sim/sim_env in memory with a virtual clock. Everything
 * from here to resolve/ runs unchanged in both. Laws: no callback runs under its caller; after
 * sb_env_close of a socket none of its callbacks runs again (sockets are generation-tagged slots);
 * bytes handed to a callback are borrowed for its duration. One loop thread owns an env. */
#ifndef SB_CORE_ENV_H
#define SB_CORE_ENV_H

#include "base/addr.h"
#include "base/bytes.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/rand.h"
#include "base/status.h"

typedef int64_t sb_ns; /* nanoseconds: durations, and instants of the boot-time clock */
#define SB_US ((sb_ns)1000)
#define SB_MS ((sb_ns)1000000)
#define SB_S ((sb_ns)1000000000)
#define SB_NEVER INT64_MAX

typedef struct sb_env sb_env;
typedef struct sb_timer sb_timer;

/* A socket of any kind. generation 0 is "none"; a stale one is ignored by every call. */
typedef struct sb_socket {
    uint32_t index;
    uint32_t generation;
} sb_socket;
static inline bool sb_socket_valid(sb_socket s)
{
    return s.generation != 0;
}

typedef struct sb_datagram {
    const uint8_t *bytes;
    size_t size;
    sb_addr from;
    sb_addr to;         /* address it was sent to (family 0 when unknown) */
    uint32_t interface; /* index it came in on; 0 unknown */
    uint8_t hop_limit;  /* 0 unknown */
} sb_datagram;

typedef struct sb_udp_events {
    void (*received)(void *owner, sb_socket socket, const sb_datagram *datagram);
    /* An ICMP error for something sent here (SB_CONNREFUSED, SB_UNREACHABLE, …). The socket stays
     * open. May be NULL. */
    void (*failed)(void *owner, sb_socket socket, sb_status why);
} sb_udp_events;

typedef struct sb_udp_options {
    sb_addr local;  /* any-address of a family and port 0: the kernel picks a random port */
    sb_addr remote; /* family 0: unconnected; else only its packets arrive, and its ICMP errors */
    bool reuse_port;
    bool packet_info; /* fill datagram.to and .interface, and let replies leave from there */
    int buffer_bytes; /* 0 = default; granted size is logged by io/ */
} sb_udp_options;

/* Peer of a stream. Unix sockets: family 0 and credentials (SO_PEERCRED). */
typedef struct sb_peer {
    sb_addr remote;
    sb_addr local;
    bool is_unix;
    uint32_t uid, gid;
    int32_t pid;
} sb_peer;

typedef struct sb_stream_events {
    void (*connected)(void *owner,
                      sb_socket socket); /* outgoing only; then received/closed may come */
    void (*received)(void *owner, sb_socket socket, const uint8_t *bytes, size_t size);
    /* All queued bytes were handed to the kernel. May be NULL. */
    void (*drained)(void *owner, sb_socket socket);
    /* End (SB_CLOSED) or error; the socket is already gone. Also when a connect failed. */
    void (*closed)(void *owner, sb_socket socket, sb_status why);
} sb_stream_events;

/* The stream is owned by nobody until sb_env_adopt within this call; otherwise it is closed after
 * it. */
typedef void sb_accepted(void *owner, sb_socket listener, sb_socket stream, const sb_peer *peer);

typedef struct sb_listen_options {
    sb_addr local; /* family 0: a Unix socket at path */
    const char *path;
    unsigned mode; /* permissions of the Unix socket */
    int64_t group; /* its group; -1 = leave */
    int backlog;
    bool reuse_port;
    /* The peer of an accepted stream will send no more but may still read (a half-close); owner is
     * the stream's. It stays, and is the owner's to close. May be NULL: closed(SB_CLOSED) in its
     * stead; so does an env that knows no half-close. */
    void (*ended)(void *owner, sb_socket socket);
} sb_listen_options;

/* A mapping of a whole file, or memory. The writer's only; base is page-aligned. */
typedef struct sb_mapping {
    void *base;
    size_t size;
    void *handle; /* the env's */
    bool in_file; /* false: memory only */
} sb_mapping;

/* Identity of now for the cache file's clock. */
typedef struct sb_clock {
    sb_ns boot_ns; /* CLOCK_BOOTTIME: neither wall steps nor suspend break it; equals sb_env_now */
    sb_ns wall_ns; /* since 1970 */
    uint8_t boot_id[16];
} sb_clock;

typedef struct sb_file_stat {
    bool exists;
    uint64_t size;
    int64_t modified_ns;
    int64_t changed_ns; /* contents or inode: nobody can set it back */
    uint64_t inode, device;
} sb_file_stat;

/* The table. Implementations fill every field. */
typedef struct sb_env_ops {
    sb_ns (*now)(sb_env *); /* monotonic: boot time */
    void (*clock)(sb_env *, sb_clock *ret);
    void (*entropy)(sb_env *, void *ret, size_t size); /* unguessable; never fails */
    /* The common timer heap's least deadline may have changed (env->timers, env->ready): wake up
     * accordingly. */
    void (*rearm)(sb_env *);

    sb_status (*udp_open)(sb_env *, const sb_udp_options *, const sb_udp_events *, void *owner,
                          sb_socket *ret, sb_why *);
    /* to may be NULL on connected sockets; from may be NULL or a local address to leave from
     * (packet_info). */
    sb_status (*udp_send)(sb_env *, sb_socket, const sb_addr *to, const sb_addr *from,
                          const void *bytes, size_t size);
    /* Local address with port; where it is bound. */
    sb_status (*local_address)(sb_env *, sb_socket, sb_addr *ret);

    /* `tls_name` NULL: plain. Else TLS with that verified name ("" = opportunistic, unverified). */
    sb_status (*stream_connect)(sb_env *, const sb_addr *remote, const char *tls_name,
                                const sb_stream_events *, void *owner, sb_socket *ret, sb_why *);
    sb_status (*stream_listen)(sb_env *, const sb_listen_options *, sb_accepted *, void *owner,
                               sb_socket *ret, sb_why *);
    sb_status (*adopt)(sb_env *, sb_socket, const sb_stream_events *, void *owner);
    /* Copies. SB_LIMIT when more than 1 MiB would be queued (nothing is queued then). */
    sb_status (*stream_write)(sb_env *, sb_socket, const void *bytes, size_t size);
    size_t (*stream_queued)(sb_env *, sb_socket);
    void (*stream_pause)(sb_env *, sb_socket, bool paused); /* stop reading: back-pressure */
    void (*close)(sb_env *, sb_socket); /* queued bytes of a stream are still sent */

    /* A netlink socket of that protocol (NETLINK_ROUTE, NETLINK_SOCK_DIAG). Bit n - 1 of groups
     * joins multicast group n. Requests go by udp_send with to and from NULL and are checked
     * strictly where the kernel can; datagrams from the kernel alone come to received, whole, of
     * one or more messages, 4-aligned, family of from and to 0. failed(SB_NOMEM): messages were
     * lost for want of room, read anew. SB_PERM or SB_UNSUPPORTED where the system forbids it. */
    sb_status (*netlink_open)(sb_env *, int protocol, uint32_t groups, const sb_udp_events *,
                              void *owner, sb_socket *ret, sb_why *);

    /* The source address the system would use; SB_UNREACHABLE without a route. */
    sb_status (*source_address)(sb_env *, const sb_addr *destination, sb_addr *ret_source);

    /* Whole regular file, at most max bytes (SB_LIMIT beyond). Bytes owned by the caller (sb_free).
     */
    sb_status (*file_read)(sb_env *, const char *path, size_t max, uint8_t **ret_bytes,
                           size_t *ret_size, sb_why *);
    /* Atomic: temporary file, fsync, rename. */
    sb_status (*file_replace)(sb_env *, const char *path, unsigned mode, const void *bytes,
                              size_t size, sb_why *);
    void (*file_stat)(sb_env *, const char *path, sb_file_stat *ret);

    /* Opens, locks (OFD write lock; SB_BUSY when another holds it) and maps an existing file as it
     * is. SB_NOTFOUND when absent. Never truncates or reshapes. What can be read but not written
     * comes as a copy in memory: in_file false, and why says what stood in the way. */
    sb_status (*map_open)(sb_env *, const char *path, sb_mapping *ret, sb_why *);
    /* A new inode, allocated in full (no SIGBUS later), zeroed, locked, mapped; renamed onto path
     * by map_publish only. */
    sb_status (*map_create)(sb_env *, const char *path, size_t size, unsigned mode, int64_t group,
                            sb_mapping *ret, sb_why *);
    sb_status (*map_publish)(sb_env *, sb_mapping *, sb_why *);
    sb_status (*map_memory)(sb_env *, size_t size, sb_mapping *ret, sb_why *);
    void (*map_flush)(sb_env *, sb_mapping *); /* msync(MS_ASYNC) */
    void (*map_close)(sb_env *, sb_mapping *);
} sb_env_ops;

/* Common part, embedded first in every implementation. */
struct sb_env {
    const sb_env_ops *ops;
    sb_heap timers; /* of sb_timer */
    sb_list ready;  /* of sb_op: finished, done not yet called */
    sb_rand rand;   /* jitter and spreading only */
    uint64_t steps; /* callbacks run so far */
};

struct sb_timer {
    sb_heap_node node;
    void (*fire)(sb_timer *timer);
};

void sb_env_init(sb_env *env, const sb_env_ops *ops, uint64_t seed);
static inline sb_ns sb_env_now(sb_env *env)
{
    return env->ops->now(env);
}
/* (Re)arms for an absolute instant; SB_NEVER disarms. fire runs from the loop, never from here. */
void sb_timer_init(sb_timer *timer, void (*fire)(sb_timer *timer));
void sb_timer_set(sb_env *env, sb_timer *timer, sb_ns at);
void sb_timer_stop(sb_env *env, sb_timer *timer);
bool sb_timer_armed(const sb_timer *timer);
/* For implementations: fires timers due and drains ready operations, until neither is left or
 * `budget` callbacks ran. Returns the next instant to wake at (SB_NEVER; now when the budget ended
 * it). */
sb_ns sb_env_drain(sb_env *env, unsigned budget);

#endif
