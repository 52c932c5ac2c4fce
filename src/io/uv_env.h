/* The environment of core/env.h on libuv: the only place where the engine meets the kernel.
 *
 * Owns sockets, the common timer and the drain; sockets are non-blocking descriptors of our own
 * on uv_poll, so that libuv's deferred close never shows. Handles no signals but SIGBUS, and that
 * only when asked. The loop's thread. */
#ifndef SB_IO_UV_ENV_H
#define SB_IO_UV_ENV_H

#include <uv.h>

#include "core/env.h"

typedef struct sb_uv_env sb_uv_env;

/* The loop is borrowed and must outlive the env. Owned. */
SB_MUST_USE sb_status sb_uv_env_new(uv_loop_t *loop, sb_uv_env **ret, sb_why *why);
/* Closes every socket (what a bounded linger still holds is dropped) and turns the loop until
 * libuv has let go of the handles. Never from a callback of that loop. NULL is allowed. */
void sb_uv_env_free(sb_uv_env *env);
/* The seam itself; valid as long as the env. */
sb_env *sb_uv_env_base(sb_uv_env *env);

/* Turns the loop until sb_uv_env_stop, which any callback may call; a stop before the run ends it
 * at once. */
void sb_uv_env_run(sb_uv_env *env);
void sb_uv_env_stop(sb_uv_env *env);

/* Makes the process survive SIGBUS on mappings made by map_open and map_create: the faulting page
 * is replaced by zeroed memory, which the cache's own checks then take for damage. For our own
 * programs: a library never handles signals. */
void sb_uv_guard_sigbus(void);
/* True once such a fault has happened; for one warning. */
bool sb_uv_sigbus_seen(void);
/* Adds a mapping of somebody else's to the guarded, or takes it off (an sb_edge_mapped). Any
 * thread; more mappings at a time than there are places for stay unguarded. */
void sb_uv_guard_mapping(const void *base, size_t size, bool mapped);

/* Makes the missing directories above path, 0755 for root (the system's directories) and 0700 for
 * anybody else. */
SB_MUST_USE sb_status sb_uv_make_parent(const char *path, sb_why *why);

/* Gives a socket or regular file of ours mode and group (-1: this process's own); a symbolic link
 * is not followed. SB_NOTFOUND: nothing is there. After a failure at most mode 0600 is left. */
SB_MUST_USE sb_status sb_uv_permit(const char *path, unsigned mode, int64_t group, sb_why *why);

/* One sentence of failure with the system's reason; returns the status of error. */
sb_status sb_uv_why(sb_why *why, int error, const char *format, ...) SB_PRINTF(3, 4);

/* The same for an address that cannot be listened on: a reason, the caller names the address. */
sb_status sb_uv_why_address(sb_why *why, int error);

/* A bound, non-blocking UDP socket with the options of sb_udp_options; shared with io/worker. why
 * gets the reason alone, as with every listening socket here: the caller names the address. */
SB_MUST_USE sb_status sb_udp_socket_open(const sb_udp_options *options, int *ret_fd, sb_why *why);
/* A listening, non-blocking TCP socket; shared with io/http_mhd. */
SB_MUST_USE sb_status sb_tcp_socket_listen(const sb_addr *local, int backlog, bool reuse_port,
                                           int *ret_fd, sb_why *why);

#endif
