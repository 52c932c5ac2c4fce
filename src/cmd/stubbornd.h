/* What the files of the daemon share. Included by stubbornd*.c only. Loop thread. */
#ifndef SB_CMD_STUBBORND_H
#define SB_CMD_STUBBORND_H

#include <uv.h>

#include "front/control.h"
#include "front/dns_front.h"
#include "front/http_front.h"
#include "io/http_mhd.h"
#include "io/uv_env.h"
#include "io/worker.h"

#define SB_CONFIG_DEFAULT "/etc/stubborn/stubborn.yaml"

enum { SB_SIGNALS = 4 };

/* Mode and group of a path as they were set last; group -1: the daemon's own, mode 0: unknown. */
typedef struct sb_daemon_right {
    unsigned mode;
    int64_t group;
} sb_daemon_right;
typedef struct sb_daemon_rights {
    sb_daemon_right socket, cache, control;
} sb_daemon_rights;

typedef struct sb_daemon {
    const char *config_path; /* NULL: SB_CONFIG_DEFAULT, which may be absent */
    uv_loop_t loop;
    sb_uv_env *uv;
    sb_env *env;
    const sb_settings *settings; /* referenced */
    const sb_settings *started;  /* referenced: those of the start, for what it alone takes */
    sb_daemon_rights rights;     /* in effect */
    sb_l1 *l1;
    sb_l1 *memory; /* what the cache was while another held its file; NULL */
    sb_engine *engine;
    sb_dns_front *front;
    sb_workers *workers;  /* NULL: the engine serves alone */
    sb_http_server *http; /* NULL: off */
    sb_http_front http_front;
    sb_control *control; /* NULL: no socket */
    uv_signal_t signals[SB_SIGNALS];
    unsigned signal_count;
    sb_timer watch; /* once a second: has the cache file faulted, is it there? */
    sb_timer lock;  /* while another process holds the cache file, or it is gone */
    unsigned lock_tries;
    sb_timer count;  /* while the entries of the cache file are counted */
    sb_timer ending; /* while answers under way are waited for */
    sb_ns end_by;
    bool is_ending, workers_ended, fault_told;
    bool file_lost, lost_told; /* the cache file went from under us, and no new one is there yet */
} sb_daemon;

/* stubbornd_config.c: file, environment, freeze. Owned. path NULL: the default, absent is fine;
 * any other must be there. */
SB_MUST_USE sb_status sb_daemon_config(sb_env *env, const char *path, const sb_settings **ret,
                                       sb_why *why);
/* Levels of the log. */
void sb_daemon_log_levels(const sb_settings *settings);
/* A line of the log for each setting without effect. */
void sb_daemon_warn(const sb_settings *settings);
/* The groups the settings name exist. */
SB_MUST_USE sb_status sb_daemon_groups(const sb_settings *settings, sb_why *why);
/* -1 for no name; a group that does not exist is an error that names the key. */
SB_MUST_USE sb_status sb_daemon_group(const char *key, const char *name, const sb_origin *origin,
                                      int64_t *ret_group, sb_why *why);

/* stubbornd_rights.c: who may reach sockets and cache file, by the settings. */
SB_MUST_USE sb_status sb_daemon_rights_of(const sb_settings *settings, sb_daemon_rights *ret,
                                          sb_why *why);
/* Puts them into effect where they changed. A failure leaves what was tried unknown, and closed
 * rather than open; taking the former settings mends it. */
SB_MUST_USE sb_status sb_daemon_rights_take(sb_daemon *daemon, const sb_settings *settings,
                                            sb_why *why);

/* stubbornd_life.c: everything between configuration and exit. daemon->settings is set. */
SB_MUST_USE sb_status sb_daemon_start(sb_daemon *daemon, sb_why *why);
/* Until a signal ends it. */
void sb_daemon_run(sb_daemon *daemon);
/* Also after a start that failed half way. */
void sb_daemon_close(sb_daemon *daemon);

/* stubbornd_notify.c: tells the service manager, when there is one (sd_notify(3)). */
void sb_daemon_notify(const char *state);

#endif
