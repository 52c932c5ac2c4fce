/* The program under test on the simulated machine: cache file, engine and front as stubbornd puts
 * them together, with a life that can end in order, by kill -9, or by power loss. Also the count of
 * its memory. One thread. */
#ifndef SB_SIM_SUBJECT_H
#define SB_SIM_SUBJECT_H

#include "front/dns_front.h"
#include "resolve/engine.h"
#include "sim/sim_env.h"

#define SUBJECT_CACHE "/cache.l1"
#define SUBJECT_SOCKET "/stubborn.sock"

typedef struct subject {
    sim *s;
    sb_env *env;
    sb_l1 *l1;
    sb_engine *engine;
    sb_dns_front *front;
    sb_why cache_why; /* what the cache file had to say at the last start */
    bool up;
} subject;

typedef struct subject_options {
    const sb_settings *settings; /* frozen */
    bool in_memory;              /* no cache file */
    bool no_front;
    sb_event_reader *events;
    void *context;
} subject_options;

SB_MUST_USE sb_status subject_start(subject *d, sim *s, const subject_options *options,
                                    sb_why *why);
/* The owners of questions must have cancelled them. Returns what leaked: sockets, mappings, timers.
 */
unsigned subject_stop(subject *d);
/* torn: thousandths of pages lost, see sim_process_end. between is called when the process is
 * frozen and its askers must let go. */
void subject_kill(subject *d, uint32_t torn);
/* First part alone: nothing has an effect any more. */
void subject_freeze(subject *d);

/* Blocks the program holds through base/mem, and its failures in thousandths (0 none). */
int64_t memory_live(void);
void memory_fail(uint32_t permille, sb_rand *rand);
void memory_pause(bool paused);

#endif
