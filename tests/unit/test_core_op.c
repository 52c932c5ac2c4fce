/* Every law of core/op.h, and the drain and timers of core/env.h, on an env that has only a clock.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "core/op.h"

typedef struct fake_env {
    sb_env env;
    sb_ns now;
    unsigned rearmed;
    char trace_bytes[4096];
    sb_writer trace;
} fake_env;

typedef struct item {
    sb_op op;
    fake_env *world;
    const char *name;
    void (*at_done)(struct item *);
    void (*at_stop)(struct item *);
    struct item *other;
} item;

static sb_ns fake_now(sb_env *env)
{
    return sb_container_of(env, fake_env, env)->now;
}

static void fake_rearm(sb_env *env)
{
    sb_container_of(env, fake_env, env)->rearmed++;
}

static const sb_env_ops fake_ops = {.now = fake_now, .rearm = fake_rearm};

static void world_init(fake_env *world)
{
    *world = (fake_env){.now = 1000};
    sb_env_init(&world->env, &fake_ops, 1);
    world->trace = sb_writer_of(world->trace_bytes, sizeof(world->trace_bytes) - 1);
}

/* What happened since the last look, in order. */
static void assert_trace(fake_env *world, const char *expected)
{
    world->trace_bytes[world->trace.size] = '\0';
    assert_string_equal(world->trace_bytes, expected);
    world->trace.size = 0;
}

static void done(sb_op *op)
{
    item *it = sb_container_of(op, item, op);
    sb_write_format(&it->world->trace, "done %s: %s;", it->name, sb_status_text(op->status));
    if (it->at_done)
        it->at_done(it);
}

static void stop(sb_op *op)
{
    item *it = sb_container_of(op, item, op);
    sb_write_format(&it->world->trace, "stop %s;", it->name);
    if (it->at_stop)
        it->at_stop(it);
}

static void start(item *it, fake_env *world, const char *name, item *parent, sb_ns deadline)
{
    memset(&it->op, 0xa5, sizeof(it->op)); /* memory may be dirty */
    it->world = world;
    it->name = name;
    sb_op_start(&it->op, &world->env, parent ? &parent->op : NULL, deadline, done, stop);
}

static void finish_calls_stop_now_and_done_from_the_drain(void **state)
{
    (void)state;
    fake_env world;
    item a = {0};
    world_init(&world);
    start(&a, &world, "a", NULL, SB_NEVER);
    assert_true(sb_op_running(&a.op));
    unsigned rearmed = world.rearmed;
    sb_op_finish(&a.op, SB_REFUSED);
    assert_trace(&world, "stop a;");
    assert_false(sb_op_running(&a.op));
    assert_int_equal(a.op.status, SB_REFUSED);
    assert_true(world.rearmed > rearmed); /* or nobody would drain */
    assert_int_equal(sb_env_drain(&world.env, 10), SB_NEVER);
    assert_trace(&world, "done a: refused;");
    assert_int_equal(a.op.state, SB_OP_ENDED);
    assert_int_equal(world.env.steps, 1);
}

static void the_second_finish_is_ignored(void **state)
{
    (void)state;
    fake_env world;
    item a = {0};
    world_init(&world);
    start(&a, &world, "a", NULL, SB_NEVER);
    sb_op_finish(&a.op, SB_OK);
    sb_op_finish(&a.op, SB_TIMEOUT);
    sb_env_drain(&world.env, 10);
    sb_op_finish(&a.op, SB_CLOSED);
    sb_env_drain(&world.env, 10);
    assert_trace(&world, "stop a;done a: ok;");
}

static void cancel_means_no_done(void **state)
{
    (void)state;
    fake_env world;
    item a = {0};
    world_init(&world);
    start(&a, &world, "a", NULL, 5000);
    sb_op_cancel(&a.op);
    assert_trace(&world, "stop a;");
    sb_op_cancel(&a.op); /* idempotent */
    sb_op_finish(&a.op, SB_OK);
    world.now = 9000; /* nor does the deadline come */
    assert_int_equal(sb_env_drain(&world.env, 10), SB_NEVER);
    assert_trace(&world, "");
    memset(&a, 0, sizeof(a));
    sb_op_cancel(&a.op); /* a zeroed one */
    assert_int_equal(world.env.timers.count, 0);
}

static void cancel_takes_a_finished_one_off_the_queue(void **state)
{
    (void)state;
    fake_env world;
    item a = {0}, b = {0}, c = {0};
    world_init(&world);
    start(&a, &world, "a", NULL, SB_NEVER);
    start(&b, &world, "b", NULL, SB_NEVER);
    start(&c, &world, "c", NULL, SB_NEVER);
    sb_op_finish(&a.op, SB_OK);
    sb_op_finish(&b.op, SB_OK);
    sb_op_finish(&c.op, SB_OK);
    sb_op_cancel(&b.op);
    memset(&b, 0xee, sizeof(b)); /* reusable when cancel returns */
    sb_env_drain(&world.env, 10);
    assert_trace(&world, "stop a;stop b;stop c;done a: ok;done c: ok;");
}

static void cancel_is_depth_first(void **state)
{
    (void)state;
    fake_env world;
    item a = {0}, b = {0}, c = {0}, d = {0};
    world_init(&world);
    start(&a, &world, "a", NULL, SB_NEVER);
    start(&b, &world, "b", &a, SB_NEVER);
    start(&c, &world, "c", &b, SB_NEVER);
    start(&d, &world, "d", &a, SB_NEVER);
    sb_op_finish(&d.op, SB_OK); /* its done is queued, and never comes */
    assert_trace(&world, "stop d;");
    sb_op_cancel(&a.op);
    assert_trace(&world, "stop c;stop b;stop a;");
    sb_env_drain(&world.env, 10);
    assert_trace(&world, "");
    assert_int_equal(d.op.state, SB_OP_ENDED);
}

static void finish_cancels_the_children(void **state)
{
    (void)state;
    fake_env world;
    item a = {0}, b = {0}, c = {0};
    world_init(&world);
    start(&a, &world, "a", NULL, SB_NEVER);
    start(&b, &world, "b", &a, SB_NEVER);
    start(&c, &world, "c", &b, SB_NEVER);
    sb_op_finish(&a.op, SB_OK);
    assert_trace(&world, "stop c;stop b;stop a;");
    memset(&b, 0xee, sizeof(b));
    memset(&c, 0xee, sizeof(c));
    sb_env_drain(&world.env, 10);
    assert_trace(&world, "done a: ok;");
}

static void finish_other(item *it)
{
    sb_op_finish(&it->other->op, it->op.status);
}

static void cancel_other(item *it)
{
    sb_op_cancel(&it->other->op);
}

static void a_child_that_ends_may_finish_its_parent(void **state)
{
    (void)state;
    fake_env world;
    item parent = {0}, child = {.at_done = finish_other, .other = &parent};
    world_init(&world);
    start(&parent, &world, "parent", NULL, SB_NEVER);
    start(&child, &world, "child", &parent, SB_NEVER);
    sb_op_finish(&child.op, SB_NXDOMAIN);
    sb_env_drain(&world.env, 10);
    assert_trace(&world, "stop child;done child: no such name;stop parent;"
                         "done parent: no such name;");
}

static void a_stop_may_try_to_finish_its_parent(void **state)
{
    (void)state;
    fake_env world;
    item a = {0}, b = {0}, c = {.at_stop = finish_other, .other = &b};
    world_init(&world);
    start(&a, &world, "a", NULL, SB_NEVER);
    start(&b, &world, "b", &a, SB_NEVER);
    start(&c, &world, "c", &b, SB_NEVER);
    sb_op_cancel(&a.op); /* each stops once, none is done */
    sb_env_drain(&world.env, 10);
    assert_trace(&world, "stop c;stop b;stop a;");
}

static void done_may_cancel_itself_and_others(void **state)
{
    (void)state;
    fake_env world;
    item b = {0}, a = {.at_done = cancel_other, .other = &b};
    item self = {.at_done = cancel_other};
    self.other = &self;
    world_init(&world);
    start(&a, &world, "a", NULL, SB_NEVER);
    start(&b, &world, "b", NULL, SB_NEVER);
    start(&self, &world, "self", NULL, SB_NEVER);
    sb_op_finish(&a.op, SB_OK);
    sb_op_finish(&b.op, SB_OK);
    sb_op_finish(&self.op, SB_OK);
    sb_env_drain(&world.env, 10);
    assert_trace(&world, "stop a;stop b;stop self;done a: ok;done self: ok;");
}

static void a_stop_may_make_the_owner_cancel(void **state)
{
    (void)state;
    fake_env world;
    item a = {.at_stop = cancel_other};
    a.other = &a;
    world_init(&world);
    start(&a, &world, "a", NULL, SB_NEVER);
    sb_op_finish(&a.op, SB_OK);
    sb_env_drain(&world.env, 10);
    assert_trace(&world, "stop a;");
}

static void free_item(item *it)
{
    sb_free(it);
}

static void done_may_free_the_operation(void **state)
{
    (void)state;
    fake_env world;
    world_init(&world);
    item *a = sb_new(item), *b = sb_new(item), *child = sb_new(item);
    a->at_done = b->at_done = child->at_done = free_item;
    start(a, &world, "a", NULL, 2000);
    start(b, &world, "b", NULL, 2000);
    start(child, &world, "child", b, SB_NEVER);
    sb_op_finish(&child->op, SB_OK);
    sb_env_drain(&world.env, 1); /* the child is gone; its parent must not miss it */
    world.now = 2000;
    sb_env_drain(&world.env, 10);
    assert_trace(&world, "stop child;done child: ok;stop a;done a: timed out;"
                         "stop b;done b: timed out;");
}

static void restart(item *it)
{
    if (it->world->env.steps < 3)
        start(it, it->world, "again", NULL, SB_NEVER);
    else
        return;
    sb_op_finish(&it->op, SB_OK);
}

static void done_may_start_it_again(void **state)
{
    (void)state;
    fake_env world;
    item a = {.at_done = restart};
    world_init(&world);
    start(&a, &world, "a", NULL, SB_NEVER);
    sb_op_finish(&a.op, SB_OK);
    sb_env_drain(&world.env, 10);
    assert_trace(&world, "stop a;done a: ok;stop again;done again: ok;stop again;done again: ok;");
}

static void the_deadline_finishes(void **state)
{
    (void)state;
    fake_env world;
    item a = {0};
    world_init(&world);
    start(&a, &world, "a", NULL, 5000);
    assert_int_equal(sb_env_drain(&world.env, 10), 5000);
    world.now = 4999;
    assert_int_equal(sb_env_drain(&world.env, 10), 5000);
    assert_trace(&world, "");
    world.now = 5000;
    assert_int_equal(sb_env_drain(&world.env, 10), SB_NEVER);
    assert_trace(&world, "stop a;done a: timed out;");
}

static void deadlines_are_clamped_to_the_parent(void **state)
{
    (void)state;
    fake_env world;
    item a = {0}, later = {0}, never = {0}, sooner = {0};
    world_init(&world);
    start(&a, &world, "a", NULL, 5000);
    start(&later, &world, "later", &a, 6000);
    start(&never, &world, "never", &a, SB_NEVER);
    start(&sooner, &world, "sooner", &a, 4000);
    assert_int_equal(later.op.deadline, 5000);
    assert_int_equal(never.op.deadline, 5000);
    assert_int_equal(sooner.op.deadline, 4000);
    sb_op_set_deadline(&sooner.op, 8000);
    assert_int_equal(sooner.op.deadline, 5000);
    sb_op_set_deadline(&sooner.op, 3000);
    assert_int_equal(sooner.op.deadline, 3000);
    world.now = 3000;
    sb_env_drain(&world.env, 10);
    assert_trace(&world, "stop sooner;done sooner: timed out;");
    sb_op_set_deadline(&sooner.op, 4000); /* ended: nothing is armed */
    world.now = 4500;
    assert_int_equal(sb_env_drain(&world.env, 10), 5000);
    /* The parent was armed first: it ends, and the children with it. */
    world.now = 5000;
    sb_env_drain(&world.env, 10);
    assert_trace(&world, "stop later;stop never;stop a;done a: timed out;");
}

static void a_deadline_in_the_past_waits_for_the_drain(void **state)
{
    (void)state;
    fake_env world;
    item a = {0};
    world_init(&world);
    start(&a, &world, "a", NULL, 10);
    assert_true(sb_op_running(&a.op));
    assert_trace(&world, "");
    sb_env_drain(&world.env, 10);
    assert_trace(&world, "stop a;done a: timed out;");
}

/* --- timers and the drain --- */

typedef struct clock_timer {
    sb_timer timer;
    fake_env *world;
    const char *name;
    sb_ns again;
} clock_timer;

static void fire(sb_timer *timer)
{
    clock_timer *t = sb_container_of(timer, clock_timer, timer);
    sb_write_format(&t->world->trace, "%s;", t->name);
    if (t->again)
        sb_timer_set(&t->world->env, timer, t->again);
}

static void timers_fire_by_time_then_by_insertion_after_ready(void **state)
{
    (void)state;
    fake_env world;
    item a = {0};
    world_init(&world);
    clock_timer t[4];
    static const char *const names[] = {"t0", "t1", "t2", "t3"};
    static const sb_ns at[] = {900, 800, 900, 2000};
    for (unsigned i = 0; i < 4; i++) {
        t[i] = (clock_timer){.world = &world, .name = names[i]};
        sb_timer_init(&t[i].timer, fire);
        sb_timer_set(&world.env, &t[i].timer, at[i]);
        assert_true(sb_timer_armed(&t[i].timer));
    }
    assert_trace(&world, ""); /* due, yet never under the caller */
    start(&a, &world, "a", NULL, SB_NEVER);
    sb_op_finish(&a.op, SB_OK);
    assert_int_equal(sb_env_drain(&world.env, 10), 2000);
    assert_trace(&world, "stop a;done a: ok;t1;t0;t2;");
    assert_false(sb_timer_armed(&t[0].timer));
    sb_timer_stop(&world.env, &t[3].timer);
    sb_timer_stop(&world.env, &t[3].timer);
    assert_int_equal(sb_env_drain(&world.env, 10), SB_NEVER);
}

static void the_budget_bounds_a_drain(void **state)
{
    (void)state;
    fake_env world;
    world_init(&world);
    clock_timer t = {.world = &world, .name = "t", .again = 1};
    sb_timer_init(&t.timer, fire);
    sb_timer_set(&world.env, &t.timer, 1);
    assert_int_equal(sb_env_drain(&world.env, 3), 1000); /* now: there is more */
    assert_trace(&world, "t;t;t;");
    assert_int_equal(world.env.steps, 3);
    assert_int_equal(sb_env_drain(&world.env, 0), 1000);
    assert_trace(&world, "");
    item a = {0}, b = {0};
    sb_timer_stop(&world.env, &t.timer);
    start(&a, &world, "a", NULL, SB_NEVER);
    start(&b, &world, "b", NULL, SB_NEVER);
    sb_op_finish(&a.op, SB_OK);
    sb_op_finish(&b.op, SB_OK);
    assert_int_equal(sb_env_drain(&world.env, 1), 1000);
    assert_int_equal(sb_env_drain(&world.env, 1), SB_NEVER);
}

static void rearm_is_called_when_the_least_deadline_changes(void **state)
{
    (void)state;
    fake_env world;
    world_init(&world);
    clock_timer t[2];
    for (unsigned i = 0; i < 2; i++) {
        t[i] = (clock_timer){.world = &world, .name = "t"};
        sb_timer_init(&t[i].timer, fire);
    }
    sb_timer_set(&world.env, &t[0].timer, 5000);
    assert_int_equal(world.rearmed, 1);
    sb_timer_set(&world.env, &t[1].timer, 6000); /* later: nothing changes */
    assert_int_equal(world.rearmed, 1);
    sb_timer_set(&world.env, &t[1].timer, 4000);
    assert_int_equal(world.rearmed, 2);
    sb_timer_set(&world.env, &t[0].timer, SB_NEVER); /* disarms */
    assert_false(sb_timer_armed(&t[0].timer));
    assert_int_equal(world.rearmed, 2);
    sb_timer_stop(&world.env, &t[1].timer);
    assert_int_equal(world.rearmed, 3);
}

/* Deep trees are walked in a loop. */
static void a_deep_tree_ends(void **state)
{
    (void)state;
    enum { DEPTH = 2000 };
    fake_env world;
    world_init(&world);
    sb_op *ops = sb_calloc(DEPTH, sizeof(*ops));
    assert_non_null(ops);
    for (unsigned i = 0; i < DEPTH; i++)
        sb_op_start(&ops[i], &world.env, i ? &ops[i - 1] : NULL, 5000, done, NULL);
    sb_op_cancel(&ops[0]);
    assert_int_equal(ops[DEPTH - 1].state, SB_OP_ENDED);
    assert_int_equal(world.env.timers.count, 0);
    sb_free(ops);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finish_calls_stop_now_and_done_from_the_drain),
        cmocka_unit_test(the_second_finish_is_ignored),
        cmocka_unit_test(cancel_means_no_done),
        cmocka_unit_test(cancel_takes_a_finished_one_off_the_queue),
        cmocka_unit_test(cancel_is_depth_first),
        cmocka_unit_test(finish_cancels_the_children),
        cmocka_unit_test(a_child_that_ends_may_finish_its_parent),
        cmocka_unit_test(a_stop_may_try_to_finish_its_parent),
        cmocka_unit_test(done_may_cancel_itself_and_others),
        cmocka_unit_test(a_stop_may_make_the_owner_cancel),
        cmocka_unit_test(done_may_free_the_operation),
        cmocka_unit_test(done_may_start_it_again),
        cmocka_unit_test(the_deadline_finishes),
        cmocka_unit_test(deadlines_are_clamped_to_the_parent),
        cmocka_unit_test(a_deadline_in_the_past_waits_for_the_drain),
        cmocka_unit_test(timers_fire_by_time_then_by_insertion_after_ready),
        cmocka_unit_test(the_budget_bounds_a_drain),
        cmocka_unit_test(rearm_is_called_when_the_least_deadline_changes),
        cmocka_unit_test(a_deep_tree_ends),
    };
    return cmocka_run_group_tests_name("core_op", tests, NULL, NULL);
}
