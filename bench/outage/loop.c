/* See loop.h. */
#define _GNU_SOURCE
#include "outage/loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

static void fire_due(loop *l);

bool loop_init(loop *l)
{
    sb_heap_init(&l->timers);
    l->stopped = false;
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    return l->epoll >= 0;
}

void loop_fini(loop *l)
{
    close(l->epoll);
}

int64_t loop_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * SECOND + now.tv_nsec;
}

void loop_at(loop *l, loop_timer *t, int64_t at_ns)
{
    loop_cancel(l, t);
    sb_heap_insert(&l->timers, &t->node, at_ns);
}

void loop_cancel(loop *l, loop_timer *t)
{
    sb_heap_remove(&l->timers, &t->node);
}

bool loop_watch_add(loop *l, loop_watch *w)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = w};
    return epoll_ctl(l->epoll, EPOLL_CTL_ADD, w->fd, &event) == 0;
}

void loop_watch_remove(loop *l, loop_watch *w)
{
    epoll_ctl(l->epoll, EPOLL_CTL_DEL, w->fd, NULL);
}

bool loop_run(loop *l)
{
    while (!l->stopped) {
        fire_due(l);
        if (l->stopped)
            break;
        const sb_heap_node *first = sb_heap_min(&l->timers);
        struct timespec wait = {0};
        if (first) {
            int64_t left = first->key - loop_now();
            left = left < 0 ? 0 : left;
            wait = (struct timespec){.tv_sec = left / SECOND, .tv_nsec = left % SECOND};
        }
        /* One event a turn: what a callback frees can then not be in the rest of a batch. */
        struct epoll_event event;
        int n = epoll_pwait2(l->epoll, &event, 1, first ? &wait : NULL, NULL);
        if (n < 0 && errno != EINTR)
            return false;
        if (n == 1) {
            loop_watch *w = event.data.ptr;
            w->ready(w);
        }
    }
    return true;
}

void loop_stop(loop *l)
{
    l->stopped = true;
}

static void fire_due(loop *l)
{
    int64_t now = loop_now();
    for (sb_heap_node *n; !l->stopped && (n = sb_heap_min(&l->timers)) && n->key <= now;) {
        sb_heap_remove(&l->timers, n);
        loop_timer *t = sb_container_of(n, loop_timer, node);
        t->fire(t);
    }
}
