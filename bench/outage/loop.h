/* The program's loop: epoll, and timers of nanosecond precision in a heap.
 *
 * Owns the epoll descriptor. Times are CLOCK_MONOTONIC nanoseconds. One thread. */
#ifndef SB_OUTAGE_LOOP_H
#define SB_OUTAGE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/heap.h"

#define MS INT64_C(1000000)
#define SECOND (1000 * MS)

/* Embedded in its owner; zeroed is a timer that is not set. fire may free the owner. */
typedef struct loop_timer {
    sb_heap_node node;
    void (*fire)(struct loop_timer *);
} loop_timer;

/* Embedded in its owner; called when the descriptor is readable. ready may free the owner. */
typedef struct loop_watch {
    int fd;
    void (*ready)(struct loop_watch *);
} loop_watch;

typedef struct loop {
    int epoll;
    sb_heap timers;
    bool stopped;
} loop;

/* False when the system refuses; errno tells why. */
bool loop_init(loop *l);
void loop_fini(loop *l);
int64_t loop_now(void);
/* Sets or moves the timer; a time that has passed fires at the next turn. */
void loop_at(loop *l, loop_timer *t, int64_t at_ns);
void loop_cancel(loop *l, loop_timer *t);
bool loop_watch_add(loop *l, loop_watch *w);
void loop_watch_remove(loop *l, loop_watch *w);
/* Until loop_stop, or false with errno when epoll fails. */
bool loop_run(loop *l);
void loop_stop(loop *l);

#endif
