/* What the files of uv_env share: sockets in generation-tagged slots, and the batches of UDP.
 * Nobody else includes this. */
#ifndef SB_IO_UV_INTERNAL_H
#define SB_IO_UV_INTERNAL_H

#include <sys/socket.h>
#include <sys/stat.h>

#include "io/tls.h"
#include "io/udp_batch.h"
#include "io/uv_env.h"

#define SB_UV_STREAM_QUEUE_MAX ((size_t)1 << 20) /* core/env.h, stream_write */
#define SB_UV_LINGER (5 * SB_S)
#define SB_UV_READ_SIZE ((size_t)64 * 1024)
#define SB_UV_SOCKETS_MAX 65536

typedef enum sb_uv_kind { SB_UV_UDP, SB_UV_STREAM, SB_UV_LISTENER, SB_UV_NETLINK } sb_uv_kind;

/* Bytes [at, size) wait. */
typedef struct sb_uv_queue {
    uint8_t *bytes;
    size_t at, size, capacity;
} sb_uv_queue;

typedef struct sb_uv_socket {
    uv_poll_t poll;
    sb_uv_env *env;
    sb_list link;          /* of sb_uv_env.sockets */
    sb_socket id;          /* generation 0 once the owner's side is closed */
    uint8_t kind;          /* sb_uv_kind */
    bool closing;          /* handed to libuv; memory goes with its close callback */
    int fd;
    int events;            /* what uv_poll watches now */
    void *owner;
    union {
        struct {
            sb_udp_events events;
            sb_addr local;
            bool connected;
        } udp;
        struct {
            sb_stream_events events;
            sb_timer linger;
            sb_timer wake;     /* what TLS still holds is due to a reader that paused */
            sb_tls *tls;       /* NULL: plain */
            sb_uv_queue out;   /* for the kernel */
            sb_uv_queue early; /* written before TLS stood */
            bool connecting, securing, outgoing;
            bool adopted, paused, tell_drained, lingering, inherited, wrote;
            bool ended; /* the peer sends no more, and the owner knows */
            void (*on_end)(void *owner, sb_socket socket); /* NULL: the end closes */
        } stream;
        struct {
            sb_accepted *accepted;
            void (*on_end)(void *owner, sb_socket socket); /* of its streams */
            sb_timer resume; /* accepting again after the descriptors ran out */
            char *path;      /* of a Unix socket, else NULL */
            dev_t device;
            ino_t inode;
        } listener;
        struct {
            sb_udp_events events;
        } netlink;
    };
} sb_uv_socket;

typedef struct sb_uv_slot {
    sb_uv_socket *socket; /* NULL: free */
    uint32_t generation;
    uint32_t next_free;
} sb_uv_slot;

struct sb_uv_env {
    sb_env env; /* first */
    uv_loop_t *loop;
    uv_prepare_t prepare;
    uv_timer_t timer;
    uv_idle_t idle;
    sb_ns armed_at;        /* what the timer was set for */
    sb_list sockets;
    sb_uv_slot *slots;
    uint32_t slot_count, slot_free; /* free list; UINT32_MAX ends it */
    unsigned handles;      /* libuv handles not yet closed */
    bool stop;
    struct entropy_page *entropy;
    uint8_t boot_id[16];
    uint8_t *read_buffer;  /* SB_UV_READ_SIZE */
    sb_tls_client *tls;    /* NULL before the first TLS connection */
    sb_udp_batch *in, *out;
    sb_uv_socket *batching; /* whose received datagrams are being handed out */
};

/* The env is the first member. */
static inline sb_uv_env *sb_uv_of(sb_env *env)
{
    return (sb_uv_env *)(void *)env;
}

/* Takes fd (also on failure: it is closed then). */
SB_MUST_USE sb_status sb_uv_socket_new(sb_uv_env *env, sb_uv_kind kind, int take_fd, void *owner,
                                       sb_uv_socket **ret);
/* NULL when stale or of another kind. */
sb_uv_socket *sb_uv_socket_find(sb_uv_env *env, sb_socket id, sb_uv_kind kind);
/* The owner's side ends: the slot is free, no callback runs any more. */
void sb_uv_socket_detach(sb_uv_socket *s);
/* Descriptor closed, memory freed by libuv's callback. */
void sb_uv_socket_destroy(sb_uv_socket *s);
void sb_uv_socket_watch(sb_uv_socket *s, int events);

void sb_uv_udp_ready(sb_uv_socket *s, int events, bool error);
void sb_uv_stream_ready(sb_uv_socket *s, int events, bool error);
void sb_uv_listener_ready(sb_uv_socket *s);
void sb_uv_netlink_ready(sb_uv_socket *s);
void sb_uv_udp_flush(sb_uv_env *env);
void sb_uv_stream_close(sb_uv_socket *s);
void sb_uv_listener_close(sb_uv_socket *s);
/* A stream in its slot, not watched until adopted. */
SB_MUST_USE sb_status sb_uv_stream_new(sb_uv_env *env, int take_fd, sb_uv_socket **ret);

/* The table's entries, by file. */
sb_status sb_uv_udp_open(sb_env *env, const sb_udp_options *options, const sb_udp_events *events,
                         void *owner, sb_socket *ret, sb_why *why);
sb_status sb_uv_udp_send(sb_env *env, sb_socket id, const sb_addr *to, const sb_addr *from,
                         const void *bytes, size_t size);
sb_status sb_uv_netlink_open(sb_env *env, int protocol, uint32_t groups,
                             const sb_udp_events *events, void *owner, sb_socket *ret, sb_why *why);
sb_status sb_uv_netlink_send(sb_uv_env *env, sb_socket id, const void *bytes, size_t size);
sb_status sb_uv_source_address(sb_env *env, const sb_addr *destination, sb_addr *ret_source);
sb_status sb_uv_stream_connect(sb_env *env, const sb_addr *remote, const char *tls_name,
                               const sb_stream_events *events, void *owner, sb_socket *ret,
                               sb_why *why);
sb_status sb_uv_stream_listen(sb_env *env, const sb_listen_options *options, sb_accepted *accepted,
                              void *owner, sb_socket *ret, sb_why *why);
sb_status sb_uv_adopt(sb_env *env, sb_socket id, const sb_stream_events *events, void *owner);
sb_status sb_uv_stream_write(sb_env *env, sb_socket id, const void *bytes, size_t size);
size_t sb_uv_stream_queued(sb_env *env, sb_socket id);
void sb_uv_stream_pause(sb_env *env, sb_socket id, bool paused);
sb_status sb_uv_file_read(sb_env *env, const char *path, size_t max, uint8_t **ret_bytes,
                          size_t *ret_size, sb_why *why);
sb_status sb_uv_file_replace(sb_env *env, const char *path, unsigned mode, const void *bytes,
                             size_t size, sb_why *why);
void sb_uv_file_stat(sb_env *env, const char *path, sb_file_stat *ret);
sb_status sb_uv_map_open(sb_env *env, const char *path, sb_mapping *ret, sb_why *why);
sb_status sb_uv_map_create(sb_env *env, const char *path, size_t size, unsigned mode, int64_t group,
                           sb_mapping *ret, sb_why *why);
sb_status sb_uv_map_publish(sb_env *env, sb_mapping *mapping, sb_why *why);
sb_status sb_uv_map_memory(sb_env *env, size_t size, sb_mapping *ret, sb_why *why);
void sb_uv_map_flush(sb_env *env, sb_mapping *mapping);
void sb_uv_map_close(sb_env *env, sb_mapping *mapping);

#endif
