/* The control socket: one JSON object per line each way; verbs that change things, and views
 * (CONTRACT, DNS and HTTP).
 *
 * Peers are judged by SO_PEERCRED: verbs need root, the daemon's uid, or membership of control:
 * group; so do views of names, but for cache.share: all. Loop thread. */
#ifndef SB_FRONT_CONTROL_H
#define SB_FRONT_CONTROL_H

#include "resolve/engine.h"

#define SB_CONTROL_MODE 0660 /* of the socket */

typedef struct sb_control sb_control;
typedef struct sb_control_options {
    sb_engine *engine;
    const char *path;
    uint32_t uid;  /* the daemon's */
    int64_t group; /* resolved control group; -1 none */
    int64_t pid;
    const char *config; /* the file the configuration came from; outlives; NULL none */
    /* Reload of the configuration, done by the command; the keys that changed and wait for the next
     * start are added, a blank behind each. */
    sb_status (*reload)(void *context, sb_text *ret_waiting, sb_why *why);
    void (*health)(void *context, sb_text *ret_json); /* health document */
    void *context;
} sb_control_options;
SB_MUST_USE sb_status sb_control_new(const sb_control_options *options, sb_control **ret,
                                     sb_why *why);
void sb_control_free(sb_control *control);
/* Another control group, or none (-1), from the next line of each client on. A connection is proof
 * of membership of the group there was when it was made. */
void sb_control_regroup(sb_control *control, int64_t group);
/* One request line to one reply line (for tests and the fuzzer): never fails, errors are JSON.
 * allowed: may change things, and see names. */
void sb_control_line(sb_control *control, const char *line, size_t size, bool allowed,
                     sb_text *ret_line);

#endif
