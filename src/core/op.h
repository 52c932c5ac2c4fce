/* Operations: the one life-cycle of everything asynchronous (DESIGN §4).
 *
 * finish cancels the children, calls stop, and queues done; no callback runs under its caller. An
 * operation ends exactly once: finished (done once) or cancelled (done never). Only the owner
 * cancels; cancel is synchronous and depth-first, unqueues a queued done, and the memory is
 * reusable when it returns. The drain never touches an operation after its done. Loop thread. */
#ifndef SB_CORE_OP_H
#define SB_CORE_OP_H

#include "core/env.h"

typedef struct sb_op sb_op;
typedef enum sb_op_state { SB_OP_IDLE, SB_OP_RUNNING, SB_OP_FINISHED, SB_OP_ENDED } sb_op_state;

struct sb_op {
    sb_env *env;
    sb_op *parent;
    sb_list children; /* of sb_op.sibling */
    sb_list sibling;
    sb_list ready;
    sb_timer timer; /* fires at the deadline: finish(SB_TIMEOUT) */
    sb_ns deadline;
    sb_status status; /* valid from finish on */
    uint8_t state;    /* sb_op_state */
    void (*done)(sb_op *);
    void (*stop)(sb_op *); /* release sockets, timers; called once, on finish and on cancel alike.
                              May be NULL */
};

/* Starts (memory may be dirty). deadline absolute, clamped to the parent's; SB_NEVER = the parent's
 * or none. */
void sb_op_start(sb_op *op, sb_env *env, sb_op *parent, sb_ns deadline, void (*done)(sb_op *),
                 void (*stop)(sb_op *));
/* Legal once, while running; later calls are ignored (a late event after the end). */
void sb_op_finish(sb_op *op, sb_status status);
/* Owner only. Idempotent; also legal on a zeroed or ended operation. */
void sb_op_cancel(sb_op *op);
/* Moves the deadline, clamped to the parent's. */
void sb_op_set_deadline(sb_op *op, sb_ns deadline);
static inline bool sb_op_running(const sb_op *op)
{
    return op->state == SB_OP_RUNNING;
}

#endif
