/* See worker.h. Threads: each worker runs worker_main and what it calls; everything else is the
 * loop's. */
#define _GNU_SOURCE
#include "io/worker.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "dns/reply.h"
#include "io/ring.h"
#include "io/udp_batch.h"
#include "io/uv_env.h"
#include "resolve/hit.h"

#define BUFFER_BYTES                                                                               \
    (4 * 1024 * 1024) /* a whole machine's burst waits while one batch is served                   \
                       */
#define EVENTS_MAX 16
#define ROUNDS_MAX 4 /* batches of one socket before the others get their turn */
#define TURN_MAX 256 /* questions of one worker per turn of the loop */
#define USED_QUEUE 256
#define USED_SLOTS 1024         /* questions whose last report a worker remembers, by hash */
#define USED_POKE (250 * SB_MS) /* reports alone wake the loop this often at most */
#define REFUSED_SLOTS 256
#define WAKE UINT32_MAX /* in epoll data: the eventfd */

typedef struct worker_socket {
    uint64_t id; /* never used twice */
    int fd;
    sb_addr local;
} worker_socket;

/* What a worker works by; immutable. The loop publishes a new one, the worker acknowledges it,
 * then the old one is freed. */
typedef struct worker_plan {
    const sb_settings *settings;
    sb_l1_reader reader;
    int epoll;
    size_t count;
    worker_socket sockets[];
} worker_plan;

typedef struct passed {
    sb_addr client, local;
    uint64_t socket_id;
    uint32_t size;
    uint8_t bytes[SB_WORKER_QUESTION_MAX];
} passed;

typedef struct worker {
    sb_workers *all;
    pthread_t thread;
    bool started;
    int wake;          /* eventfd: a new plan, or the end */
    worker_plan *plan; /* the loop's view */
    /* next: written by the loop (release), read by the worker (acquire). current: the other way
     * round. */
    _Atomic(worker_plan *) next;
    _Atomic(worker_plan *) current;
    atomic_bool stop; /* loop → worker, relaxed: the eventfd orders it */
    sb_ring passed, used;
    sb_stats *stats;
    sb_udp_batch *in, *out;
    sb_l1_buffer scratch;
    /* the worker's own */
    bool poke;
    sb_ns poked_at;
    sb_tick tick;
    unsigned hits;
    sb_query_info info;
    struct {
        uint64_t hash;
        sb_tick again_at;
    } reported[USED_SLOTS];
    uint8_t secret[16];
    struct {
        uint32_t second;
        uint32_t count;
    } refused[REFUSED_SLOTS];
} worker;

struct sb_workers {
    uv_loop_t *loop;
    sb_l1_reader reader; /* of the next plan */
    uint8_t boot_id[16];
    uv_async_t async;
    bool async_open;
    uint64_t next_id;
    sb_worker_sink *sink;
    sb_worker_used *used;
    void *context;
    unsigned count;
    worker *workers[SB_WORKERS_MAX];
    sb_stats *stats[SB_WORKERS_MAX];
};

static sb_status worker_new(sb_workers *all, sb_env *env, worker **ret);
static void worker_free(worker *w);
static sb_status plan_new(sb_workers *all, const worker *w, const sb_settings *settings,
                          worker_plan **ret, sb_why *why);
static sb_status plan_fill(sb_workers *all, const worker *w, worker_plan *plan, sb_why *why);
static void plan_free(worker_plan *plan, const worker_plan *keep);
static sb_status open_socket(const sb_addr *local, bool probe, int *ret_fd, sb_why *why);
static const worker_socket *plan_find(const worker_plan *plan, const sb_addr *local);
static void publish(worker *w, worker_plan *take_plan);
static void wake_worker(const worker *w);
static void on_async(uv_async_t *handle);
static void on_async_closed(uv_handle_t *handle);
static bool drain_worker(sb_workers *all, worker *w);
static void *worker_main(void *context);
static void serve(worker *w, const worker_plan *plan, const worker_socket *s);
static void question(worker *w, const worker_plan *plan, const worker_socket *s,
                     const sb_datagram *d);
static void pass_on(worker *w, const worker_socket *s, const sb_datagram *d);
static void refuse(worker *w, const sb_datagram *d);
static bool may_refuse(worker *w, const sb_addr *client);
static bool allowed(const sb_settings *settings, const sb_addr *client);
static void report(worker *w, const sb_question *asked, const uint8_t *reply, size_t size);
static uint32_t ttl_left(const sb_question *asked, const uint8_t *reply, size_t size);
static void read_clock(const sb_workers *all, sb_clock *ret);

unsigned sb_workers_count(const sb_settings *settings)
{
    if (settings->listen.workers >= 0)
        return settings->listen.workers > SB_WORKERS_MAX ? SB_WORKERS_MAX
                                                         : (unsigned)settings->listen.workers;
    cpu_set_t cpus;
    int cores = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    return cores - 1 < 1 ? 1 : cores - 1 > SB_WORKERS_MAX ? SB_WORKERS_MAX : (unsigned)cores - 1;
}

sb_status sb_workers_new(const sb_workers_options *options, sb_workers **ret, sb_why *why)
{
    sb_clock clock;
    sb_workers *all = sb_new(sb_workers);
    if (!all)
        return sb_why_set(why, SB_NOMEM, "no memory for the workers");
    all->loop = options->loop;
    all->reader = *options->reader;
    all->sink = options->sink;
    all->used = options->used;
    all->context = options->context;
    all->next_id = 1;
    options->env->ops->clock(options->env, &clock);
    memcpy(all->boot_id, clock.boot_id, sizeof(all->boot_id));
    sb_status status = SB_OK;
    int error = uv_async_init(all->loop, &all->async, on_async);
    if (error) {
        status = sb_uv_why(why, -error, "cannot start the workers");
    } else {
        all->async.data = all;
        all->async_open = true;
        uv_unref((uv_handle_t *)&all->async);
    }
    for (unsigned i = 0; status == SB_OK && i < options->count; i++) {
        worker *w;
        status = worker_new(all, options->env, &w);
        if (status != SB_OK) {
            (void)sb_why_set(why, status, "cannot make a worker: %s", sb_status_text(status));
            break;
        }
        all->workers[all->count] = w;
        all->stats[all->count++] = w->stats;
        status = plan_new(all, w, options->settings, &w->plan, why);
        if (status == SB_OK)
            atomic_store_explicit(&w->next, w->plan, memory_order_release);
    }
    if (status != SB_OK) {
        sb_workers_free(all);
        return status;
    }
    *ret = all;
    return SB_OK;
}

sb_status sb_workers_start(sb_workers *all, sb_why *why)
{
    /* Signals are the loop's: a worker takes only what its own instructions cause. */
    sigset_t block, before;
    sigfillset(&block);
    sigdelset(&block, SIGBUS);
    sigdelset(&block, SIGSEGV);
    sigdelset(&block, SIGFPE);
    sigdelset(&block, SIGILL);
    pthread_sigmask(SIG_SETMASK, &block, &before);
    int error = 0;
    for (unsigned i = 0; !error && i < all->count; i++) {
        worker *w = all->workers[i];
        error = pthread_create(&w->thread, NULL, worker_main, w);
        w->started = !error;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error ? sb_uv_why(why, error, "cannot start a worker thread") : SB_OK;
}

sb_status sb_workers_reload(sb_workers *all, const sb_settings *settings, sb_why *why)
{
    worker_plan *plans[SB_WORKERS_MAX] = {0};
    for (unsigned i = 0; i < all->count; i++) {
        sb_status status = plan_new(all, all->workers[i], settings, &plans[i], why);
        if (status == SB_OK)
            continue;
        while (i-- > 0)
            plan_free(plans[i], all->workers[i]->plan);
        return status;
    }
    for (unsigned i = 0; i < all->count; i++)
        publish(all->workers[i], plans[i]);
    return SB_OK;
}

sb_status sb_workers_move(sb_workers *all, const sb_settings *settings, const sb_l1_reader *reader,
                          sb_why *why)
{
    sb_l1_reader before = all->reader;
    all->reader = *reader;
    sb_status status = sb_workers_reload(all, settings, why);
    if (status != SB_OK)
        all->reader = before;
    return status;
}

void sb_workers_stop(sb_workers *all)
{
    for (unsigned i = 0; i < all->count; i++) {
        worker *w = all->workers[i];
        if (!w->started)
            continue;
        atomic_store_explicit(&w->stop, true, memory_order_relaxed);
        wake_worker(w);
        pthread_join(w->thread, NULL);
        w->started = false;
    }
    for (unsigned i = 0; i < all->count; i++)
        while (drain_worker(all, all->workers[i]))
            continue;
}

void sb_workers_free(sb_workers *all)
{
    if (!all)
        return;
    sb_workers_stop(all);
    if (all->async_open) {
        uv_close((uv_handle_t *)&all->async, on_async_closed);
        while (all->async_open)
            uv_run(all->loop, UV_RUN_NOWAIT);
    }
    for (unsigned i = 0; i < all->count; i++)
        worker_free(all->workers[i]);
    sb_free(all);
}

sb_stats *const *sb_workers_stats(const sb_workers *all)
{
    return all->stats;
}

void sb_workers_reply(void *context, uint64_t tag, const sb_addr *to, const sb_addr *from,
                      const uint8_t *bytes, size_t size)
{
    const worker *w = context;
    for (size_t i = 0; i < w->plan->count; i++)
        if (w->plan->sockets[i].id == tag)
            (void)sb_udp_send_one(w->plan->sockets[i].fd, to, from, bytes, size);
}

/* ---- the loop's side ---- */

static sb_status worker_new(sb_workers *all, sb_env *env, worker **ret)
{
    worker *w = sb_new(worker);
    if (!w)
        return SB_NOMEM;
    w->all = all;
    w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    w->stats = sb_new(sb_stats);
    w->in = sb_udp_batch_new();
    w->out = sb_udp_batch_new();
    sb_status status = sb_ring_init(&w->passed, sizeof(passed), SB_WORKER_QUEUE);
    if (status == SB_OK)
        status = sb_ring_init(&w->used, sizeof(sb_question), USED_QUEUE);
    if (status == SB_OK && (!w->stats || !w->in || !w->out))
        status = SB_NOMEM;
    if (status == SB_OK && w->wake < 0)
        status = sb_status_from_errno(errno);
    if (status != SB_OK) {
        worker_free(w);
        return status;
    }
    sb_stats_init(w->stats);
    env->ops->entropy(env, w->secret, sizeof(w->secret));
    *ret = w;
    return SB_OK;
}

static void worker_free(worker *w)
{
    plan_free(w->plan, NULL);
    if (w->wake >= 0)
        close(w->wake);
    sb_ring_fini(&w->passed);
    sb_ring_fini(&w->used);
    sb_udp_batch_free(w->in);
    sb_udp_batch_free(w->out);
    sb_free(w->stats);
    sb_free(w);
}

/* Sockets of addresses that stay are shared with the plan before. */
static sb_status plan_new(sb_workers *all, const worker *w, const sb_settings *settings,
                          worker_plan **ret, sb_why *why)
{
    size_t count = settings->listen.dns_count;
    worker_plan *plan = sb_zalloc(sizeof(*plan) + count * sizeof(plan->sockets[0]));
    if (!plan)
        return sb_why_set(why, SB_NOMEM, "no memory for the workers");
    plan->settings = sb_settings_ref(settings);
    plan->reader = all->reader;
    plan->epoll = epoll_create1(EPOLL_CLOEXEC);
    sb_status status = plan->epoll < 0 ? sb_uv_why(why, errno, "cannot poll the DNS sockets")
                                       : plan_fill(all, w, plan, why);
    if (status != SB_OK) {
        plan_free(plan, w->plan);
        return status;
    }
    *ret = plan;
    return SB_OK;
}

static sb_status plan_fill(sb_workers *all, const worker *w, worker_plan *plan, sb_why *why)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = WAKE};
    if (epoll_ctl(plan->epoll, EPOLL_CTL_ADD, w->wake, &event) != 0)
        return sb_uv_why(why, errno, "cannot poll the DNS sockets");
    for (size_t i = 0; i < plan->settings->listen.dns_count; i++) {
        const sb_addr *local = &plan->settings->listen.dns[i];
        if (plan_find(plan, local))
            continue;
        worker_socket *s = &plan->sockets[plan->count];
        const worker_socket *old = w->plan ? plan_find(w->plan, local) : NULL;
        if (old) {
            *s = *old;
        } else {
            sb_status status = open_socket(local, w == all->workers[0], &s->fd, why);
            if (status != SB_OK)
                return status;
            s->local = *local;
            s->id = all->next_id++;
        }
        event.data.u32 = (uint32_t)plan->count++;
        if (epoll_ctl(plan->epoll, EPOLL_CTL_ADD, s->fd, &event) != 0)
            return sb_uv_why(why, errno, "cannot poll the DNS sockets");
    }
    return SB_OK;
}

/* SO_REUSEPORT would share the port with any other process of this user that sets it too: the
 * first worker asks without. */
static sb_status open_socket(const sb_addr *local, bool probe, int *ret_fd, sb_why *why)
{
    char text[SB_ADDR_TEXT_MAX];
    sb_why reason = {0};
    sb_udp_options options = {.local = *local, .packet_info = true};
    int fd;
    sb_status status = SB_OK;
    if (probe) {
        status = sb_udp_socket_open(&options, &fd, &reason);
        if (status == SB_OK)
            close(fd);
    }
    options.reuse_port = true;
    options.buffer_bytes = BUFFER_BYTES;
    if (status == SB_OK)
        status = sb_udp_socket_open(&options, &fd, &reason);
    (void)sb_addr_text_port(local, text);
    if (status != SB_OK)
        return sb_why_set(why, status, "cannot listen for DNS on %s (UDP): %s", text, reason.text);
    int granted = 0;
    socklen_t size = sizeof(granted);
    (void)getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &granted, &size);
    sb_log(FRONT, DEBUG, "worker socket opened", "address=%s buffer_bytes=%d", text, granted / 2);
    *ret_fd = fd;
    return SB_OK;
}

/* Sockets that `keep` has too stay open. */
static void plan_free(worker_plan *plan, const worker_plan *keep)
{
    if (!plan)
        return;
    for (size_t i = 0; i < plan->count; i++) {
        const worker_socket *same = keep ? plan_find(keep, &plan->sockets[i].local) : NULL;
        if (!same || same->id != plan->sockets[i].id)
            close(plan->sockets[i].fd);
    }
    if (plan->epoll >= 0)
        close(plan->epoll);
    sb_settings_unref(plan->settings);
    sb_free(plan);
}

static const worker_socket *plan_find(const worker_plan *plan, const sb_addr *local)
{
    for (size_t i = 0; i < plan->count; i++)
        if (sb_addr_equal(&plan->sockets[i].local, local))
            return &plan->sockets[i];
    return NULL;
}

/* Waits until the worker works by it, which takes no longer than its running batch, then frees
 * the old one. */
static void publish(worker *w, worker_plan *take_plan)
{
    worker_plan *old = w->plan;
    w->plan = take_plan;
    atomic_store_explicit(&w->next, take_plan, memory_order_release);
    if (w->started) {
        wake_worker(w);
        const struct timespec nap = {.tv_nsec = 50 * SB_US};
        while (atomic_load_explicit(&w->current, memory_order_acquire) != take_plan)
            nanosleep(&nap, NULL);
    }
    plan_free(old, take_plan);
}

static void wake_worker(const worker *w)
{
    uint64_t one = 1;
    if (write(w->wake, &one, sizeof(one)) < 0)
        return; /* full: it is awake already */
}

static void on_async(uv_async_t *handle)
{
    sb_workers *all = handle->data;
    bool more = false;
    for (unsigned i = 0; i < all->count; i++)
        more |= drain_worker(all, all->workers[i]);
    if (more)
        uv_async_send(&all->async);
}

/* True when something is left. */
static bool drain_worker(sb_workers *all, worker *w)
{
    const sb_question *used;
    while ((used = sb_ring_first(&w->used))) {
        if (all->used)
            all->used(all->context, used);
        sb_ring_pop(&w->used);
    }
    for (unsigned n = 0; n < TURN_MAX; n++) {
        const passed *p = sb_ring_first(&w->passed);
        if (!p)
            return false;
        all->sink(all->context, p->bytes, p->size, &p->client, &p->local, w, p->socket_id);
        sb_ring_pop(&w->passed);
    }
    return true;
}

static void on_async_closed(uv_handle_t *handle)
{
    ((sb_workers *)handle->data)->async_open = false;
}

/* ---- the worker's side ---- */

static void *worker_main(void *context)
{
    worker *w = context;
    struct epoll_event events[EVENTS_MAX];
    uint64_t drop;
    while (!atomic_load_explicit(&w->stop, memory_order_relaxed)) {
        worker_plan *plan = atomic_load_explicit(&w->next, memory_order_acquire);
        atomic_store_explicit(&w->current, plan, memory_order_release);
        int n = epoll_wait(plan->epoll, events, EVENTS_MAX, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.u32 == WAKE) {
                if (read(w->wake, &drop, sizeof(drop)) < 0)
                    continue;
            } else {
                serve(w, plan, &plan->sockets[events[i].data.u32]);
            }
        }
    }
    return NULL;
}

static void serve(worker *w, const worker_plan *plan, const worker_socket *s)
{
    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        int got = sb_udp_batch_receive(w->in, s->fd);
        if (got <= 0)
            return;
        sb_clock begun, ended;
        bool guessed;
        read_clock(w->all, &begun);
        w->tick = sb_l1_reader_tick(&plan->reader, &begun, &guessed);
        w->hits = 0;
        for (int i = 0; i < got; i++) {
            sb_datagram d;
            if (sb_udp_batch_get(w->in, (unsigned)i, s->local.port, &d))
                question(w, plan, s, &d);
        }
        sb_udp_batch_send(w->out, s->fd);
        read_clock(w->all, &ended);
        for (unsigned i = 0; i < w->hits; i++) /* a client waits for its batch: one time for all */
            sb_stats_question(w->stats, ended.boot_ns, ended.wall_ns, ended.boot_ns - begun.boot_ns,
                              true, false);
        if (w->poke) {
            w->poke = false;
            w->poked_at = ended.boot_ns;
            uv_async_send(&w->all->async);
        }
        if (got < SB_UDP_BATCH_MAX)
            return;
    }
}

static void question(worker *w, const worker_plan *plan, const worker_socket *s,
                     const sb_datagram *d)
{
    if (!allowed(plan->settings, &d->from)) {
        refuse(w, d);
        return;
    }
    sb_rcode rcode;
    uint8_t *out = sb_udp_batch_room(w->out);
    sb_status status = sb_query_read(d->bytes, d->size, &w->info, &rcode);
    if (status != SB_OK && status != SB_INVALID) {
        sb_count(w->stats, SB_COUNT_FRONT_UDP);
        sb_count(w->stats, SB_COUNT_FRONT_MALFORMED);
        return;
    }
    if (!out || status != SB_OK) {
        pass_on(w, s, d);
        return;
    }
    w->info.provenance_asked = false; /* for this machine's sockets alone */
    w->info.provenance_flags = 0;
    size_t size = sb_hit_reply(&plan->reader, w->tick, &w->info, SB_TRANSPORT_UDP,
                               plan->settings->cache.share == SB_SHARE_ALL, &w->scratch, out,
                               SB_UDP_BATCH_BYTES);
    if (size == 0) {
        pass_on(w, s, d);
        return;
    }
    sb_count(w->stats, SB_COUNT_FRONT_UDP);
    if (sb_load_u16(out + 2) & SB_FLAG_TC)
        sb_count(w->stats, SB_COUNT_FRONT_TRUNCATED);
    w->hits++;
    report(w, &w->info.question, out, size);
    sb_udp_batch_add(w->out, size, &d->from, &d->to);
}

/* The front counts what it gets; what never gets there is counted here. */
static void pass_on(worker *w, const worker_socket *s, const sb_datagram *d)
{
    passed *p = d->size <= SB_WORKER_QUESTION_MAX ? sb_ring_room(&w->passed) : NULL;
    w->poke = true;
    if (!p) {
        sb_count(w->stats, SB_COUNT_FRONT_UDP);
        sb_count(w->stats, d->size <= SB_WORKER_QUESTION_MAX ? SB_COUNT_LIMIT_QUEUE
                                                             : SB_COUNT_FRONT_MALFORMED);
        return;
    }
    p->client = d->from;
    p->local = d->to;
    p->socket_id = s->id;
    p->size = (uint32_t)d->size;
    memcpy(p->bytes, d->bytes, d->size);
    sb_ring_push(&w->passed);
}

static void refuse(worker *w, const sb_datagram *d)
{
    sb_rcode rcode;
    sb_count(w->stats, SB_COUNT_FRONT_UDP);
    uint8_t *out = sb_udp_batch_room(w->out);
    if (!out || !may_refuse(w, &d->from)) {
        sb_count(w->stats, SB_COUNT_FRONT_DROPPED);
        return;
    }
    sb_status status = sb_query_read(d->bytes, d->size, &w->info, &rcode);
    if (status != SB_OK && status != SB_INVALID) {
        sb_count(w->stats, SB_COUNT_FRONT_MALFORMED);
        return;
    }
    sb_count(w->stats, SB_COUNT_FRONT_REFUSED);
    size_t size = sb_reply_error(&w->info, SB_RCODE_REFUSED, SB_EDE_PROHIBITED,
                                 "not in listen.allow", out, SB_UDP_BATCH_BYTES);
    if (size > 0)
        sb_udp_batch_add(w->out, size, &d->from, &d->to);
}

/* A forged source must not make us its hammer. Addresses of one hash share a count. */
static bool may_refuse(worker *w, const sb_addr *client)
{
    uint64_t hash = sb_siphash(w->secret, client->bytes, sizeof(client->bytes));
    size_t at = (size_t)(hash % REFUSED_SLOTS);
    uint32_t second = w->tick / SB_TICKS_PER_S;
    if (w->refused[at].second != second) {
        w->refused[at].second = second;
        w->refused[at].count = 0;
    }
    return w->refused[at].count++ < SB_WORKER_REFUSED_PER_S;
}

static bool allowed(const sb_settings *settings, const sb_addr *client)
{
    if (settings->listen.allow_count == 0)
        return sb_addr_is_loopback(client);
    for (size_t i = 0; i < settings->listen.allow_count; i++)
        if (sb_prefix_contains(&settings->listen.allow[i], client))
            return true;
    return false;
}

/* A quarter of what is left keeps the last part of a life well observed, when a refresh is
 * decided. */
static void report(worker *w, const sb_question *asked, const uint8_t *reply, size_t size)
{
    uint64_t hash = sb_name_digest(&asked->name) + asked->type;
    size_t at = (size_t)((hash ^ hash >> 32) % USED_SLOTS);
    if (w->reported[at].hash == hash && (int32_t)(w->reported[at].again_at - w->tick) > 0)
        return;
    sb_question *room = sb_ring_room(&w->used);
    if (!room)
        return;
    *room = *asked;
    sb_ring_push(&w->used);
    uint32_t quarter = ttl_left(asked, reply, size) / 4;
    w->reported[at].hash = hash;
    w->reported[at].again_at = w->tick + SB_TICKS_PER_S * (quarter < 1 ? 1 : quarter);
    sb_clock now;
    read_clock(w->all, &now);
    if (now.boot_ns - w->poked_at >= USED_POKE)
        w->poke = true;
}

/* TTL of the first record of our own reply; 0 when it has none. */
static uint32_t ttl_left(const sb_question *asked, const uint8_t *reply, size_t size)
{
    sb_reader r = sb_reader_of(reply, size);
    sb_read_skip(&r, SB_MSG_HEADER + asked->name.size + 4u);
    uint8_t label = sb_read_u8(&r);
    while (label > 0 && label < 64) {
        sb_read_skip(&r, label);
        label = sb_read_u8(&r);
    }
    if (label > 0)
        sb_read_skip(&r, 1); /* the rest of a compression pointer */
    sb_read_skip(&r, 4);
    uint32_t ttl = sb_read_u32(&r);
    return r.failed || ttl > INT32_MAX / 64 ? 0 : ttl;
}

static void read_clock(const sb_workers *all, sb_clock *ret)
{
    struct timespec boot, wall;
    clock_gettime(CLOCK_BOOTTIME, &boot);
    clock_gettime(CLOCK_REALTIME, &wall);
    ret->boot_ns = boot.tv_sec * SB_S + boot.tv_nsec;
    ret->wall_ns = wall.tv_sec * SB_S + wall.tv_nsec;
    memcpy(ret->boot_id, all->boot_id, sizeof(ret->boot_id));
}
