/* Asks one known name in quick succession until it is answered right: readiness.
 *
 * Not counted among the questions. One thread. */
#ifndef SB_OUTAGE_PROBER_H
#define SB_OUTAGE_PROBER_H

#include "outage/world.h"

typedef struct prober {
    world *w;
    loop_watch watch;
    loop_timer timer;
    int64_t since_ns, interval_ns;
    void (*ready)(struct prober *, int64_t after_ns);
} prober;

bool prober_open(prober *p, world *w, void (*ready)(prober *, int64_t after_ns));
void prober_close(prober *p);
/* Asks now and every interval_ns, ten times as rarely once 300 ms have passed; since_ns is what
 * after_ns counts from. */
void prober_start(prober *p, int64_t since_ns, int64_t interval_ns);

#endif
