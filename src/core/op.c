/* Operations: one end each, children before parents, done never under a caller.
 *
 * Owns no memory: an operation is the owner's, and after its done or cancel nothing here looks at
 * it again. Trees are walked in loops, from the leaves up. Loop thread. */
#include "core/op.h"

#include "base/mem.h"

static void expire(sb_timer *timer);
static void end(sb_op *op);
static void end_children(sb_op *op);
static sb_ns clamp(const sb_op *parent, sb_ns deadline);

void sb_op_start(sb_op *op, sb_env *env, sb_op *parent, sb_ns deadline, void (*done)(sb_op *),
                 void (*stop)(sb_op *))
{
    SB_ASSERT(done);
    SB_ASSERT(!parent || parent->state == SB_OP_RUNNING);
    *op = (sb_op){.env = env, .parent = parent, .status = SB_OK, .state = SB_OP_RUNNING};
    op->done = done;
    op->stop = stop;
    op->deadline = clamp(parent, deadline);
    sb_list_init(&op->children);
    sb_list_init(&op->sibling);
    sb_list_init(&op->ready);
    if (parent)
        sb_list_push(&parent->children, &op->sibling);
    sb_timer_init(&op->timer, expire);
    sb_timer_set(env, &op->timer, op->deadline);
}

/* Queued before the stops run: one of them may make the owner cancel this operation, after which
 * its memory is not ours to look at. */
void sb_op_finish(sb_op *op, sb_status status)
{
    if (op->state != SB_OP_RUNNING)
        return;
    sb_env *env = op->env;
    bool wake = sb_list_empty(&env->ready);
    op->state = SB_OP_FINISHED;
    op->status = status;
    sb_timer_stop(env, &op->timer);
    sb_list_push(&env->ready, &op->ready);
    end_children(op);
    if (op->stop)
        op->stop(op);
    if (wake)
        env->ops->rearm(env);
}

void sb_op_cancel(sb_op *op)
{
    if (op->state != SB_OP_RUNNING && op->state != SB_OP_FINISHED)
        return;
    end_children(op);
    end(op);
}

void sb_op_set_deadline(sb_op *op, sb_ns deadline)
{
    if (op->state != SB_OP_RUNNING)
        return;
    op->deadline = clamp(op->parent, deadline);
    sb_timer_set(op->env, &op->timer, op->deadline);
}

static void expire(sb_timer *timer)
{
    sb_op_finish(sb_container_of(timer, sb_op, timer), SB_TIMEOUT);
}

/* A leaf ends without its done. */
static void end(sb_op *op)
{
    bool running = op->state == SB_OP_RUNNING;
    op->state = SB_OP_ENDED;
    sb_timer_stop(op->env, &op->timer);
    sb_list_remove(&op->ready);
    sb_list_remove(&op->sibling);
    if (running && op->stop)
        op->stop(op);
}

static void end_children(sb_op *op)
{
    while (!sb_list_empty(&op->children)) {
        sb_op *leaf = op;
        while (!sb_list_empty(&leaf->children))
            leaf = sb_container_of(leaf->children.next, sb_op, sibling);
        end(leaf);
    }
}

static sb_ns clamp(const sb_op *parent, sb_ns deadline)
{
    return parent && parent->deadline < deadline ? parent->deadline : deadline;
}
