/* The common part of every env: timers, the ready list, and the drain that runs both.
 *
 * Never performs an effect; implementations (io/uv_env, the simulator) do. Loop thread. */
#include "core/env.h"

#include "base/mem.h"
#include "core/op.h"

static sb_ns least_deadline(const sb_env *env);
static void run_done(sb_env *env);

void sb_env_init(sb_env *env, const sb_env_ops *ops, uint64_t seed)
{
    *env = (sb_env){.ops = ops};
    sb_heap_init(&env->timers);
    sb_list_init(&env->ready);
    sb_rand_seed(&env->rand, seed);
}

void sb_timer_init(sb_timer *timer, void (*fire)(sb_timer *timer))
{
    *timer = (sb_timer){.fire = fire};
}

void sb_timer_set(sb_env *env, sb_timer *timer, sb_ns at)
{
    sb_ns before = least_deadline(env);
    sb_heap_remove(&env->timers, &timer->node);
    if (at != SB_NEVER)
        sb_heap_insert(&env->timers, &timer->node, at);
    if (least_deadline(env) != before)
        env->ops->rearm(env);
}

void sb_timer_stop(sb_env *env, sb_timer *timer)
{
    sb_timer_set(env, timer, SB_NEVER);
}

bool sb_timer_armed(const sb_timer *timer)
{
    return timer->node.queued;
}

/* The clock is read once: what becomes due while this runs waits for the next drain, so that slow
 * callbacks cannot keep the loop from its sockets. */
sb_ns sb_env_drain(sb_env *env, unsigned budget)
{
    sb_ns now = sb_env_now(env);
    for (; budget > 0; budget--) {
        if (!sb_list_empty(&env->ready)) {
            env->steps++;
            run_done(env);
            continue;
        }
        sb_heap_node *first = sb_heap_min(&env->timers);
        if (!first || first->key > now)
            break;
        sb_timer *timer = sb_container_of(first, sb_timer, node);
        sb_heap_remove(&env->timers, first);
        env->steps++;
        timer->fire(timer); /* may free the timer */
    }
    sb_ns next = least_deadline(env);
    return !sb_list_empty(&env->ready) || next < now ? now : next;
}

static sb_ns least_deadline(const sb_env *env)
{
    const sb_heap_node *first = sb_heap_min(&env->timers);
    return first ? first->key : SB_NEVER;
}

/* The first finished operation ends; its memory may be gone when done returns. */
static void run_done(sb_env *env)
{
    sb_op *op = sb_container_of(sb_list_pop(&env->ready), sb_op, ready);
    sb_list_remove(&op->sibling);
    op->state = SB_OP_ENDED;
    op->done(op);
}
