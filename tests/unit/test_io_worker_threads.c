/* Workers beside a writer: hits, questions passed on, replies of the loop, a reload in full flight.
 *
 * Also run under TSan. The loop's thread writes and removes entries all the time; a client's
 * thread asks for them: whatever it gets belongs to its question. */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "dns/reply.h"
#include "io/uv_env.h"
#include "io/worker.h"
#include "store/l1_write.h"

#define NAMES 64
#define QUESTIONS 20000
#define WINDOW 16

typedef struct world {
    uv_loop_t loop;
    sb_uv_env *uv;
    sb_env *env;
    sb_l1 *l1;
    sb_workers *workers;
    sb_settings *settings;
    uint16_t port;
    sb_timer timer;
    uv_async_t done;
    unsigned turns, passed, used, reloads, moves;
    _Atomic unsigned hits, misses, wrong, refused, lost; /* the client's; read after its end */
} world;

static const char *no_variable(void *context, const char *name)
{
    (void)context;
    (void)name;
    return NULL;
}

static sb_settings *make_settings(const char *const *addresses, size_t count, uint16_t port,
                                  const char *allow)
{
    sb_settings *s;
    sb_why why = {0};
    assert_int_equal(sb_settings_new(no_variable, NULL, false, &s), SB_OK);
    sb_addr *dns = sb_arena_alloc(&s->arena, count * sizeof(*dns));
    sb_prefix *prefix = sb_arena_alloc(&s->arena, sizeof(*prefix));
    for (size_t i = 0; i < count; i++) {
        assert_true(sb_addr_parse(addresses[i], strlen(addresses[i]), &dns[i]));
        dns[i].port = port;
    }
    assert_true(sb_prefix_parse(allow, strlen(allow), prefix));
    s->listen.dns = dns;
    s->listen.dns_count = count;
    s->listen.allow = prefix;
    s->listen.allow_count = 1;
    s->listen.allow_given = true;
    if (sb_settings_freeze(s, &why) != SB_OK)
        fail_msg("%s", why.text);
    return s;
}

static sb_question question_of(unsigned n)
{
    char text[32];
    sb_question q = {.type = 1, .class = SB_CLASS_IN};
    int size = snprintf(text, sizeof(text), "n%u.example", n);
    assert_int_equal(sb_name_parse(text, (size_t)size, &q.name, NULL), SB_OK);
    return q;
}

static sb_addr address_of(unsigned n)
{
    return sb_addr_4((const uint8_t[]){198, 18, 7, (uint8_t)n}, 0);
}

static void write_entry(world *w, unsigned n)
{
    sb_question q = question_of(n);
    sb_addr a = address_of(n);
    sb_answer *answer;
    sb_tick now = sb_l1_now(w->l1);
    sb_l1_life life = {
        .learned = now, .due = now + 800, .expires = now + 800, .stale_until = now + 8000};
    sb_l1_key key = {.question = &q};
    assert_int_equal(sb_answer_from_addresses(&q, &a, 1, 100, SB_SOURCE_DNS, &answer), SB_OK);
    assert_int_equal(sb_l1_put(w->l1, &key, answer, &life, SB_L1_PLAIN), SB_OK);
    sb_answer_unref(answer);
}

/* Another mapping: the one before is gone when the workers have taken it over. */
static void move(world *w)
{
    static const char *const loopback[] = {"127.0.0.1"};
    sb_l1 *old = w->l1;
    sb_why why = {0};
    sb_l1_options l1 = {.size_bytes = 1 << 20, .policy_hash = w->settings->hash};
    assert_int_equal(sb_l1_open(w->env, &l1, &w->l1, &why), SB_OK);
    for (unsigned n = 0; n < NAMES; n++)
        write_entry(w, n);
    sb_settings *same = make_settings(loopback, 1, w->port, "127.0.0.0/8");
    if (sb_workers_move(w->workers, same, sb_l1_reader_of(w->l1), &why) != SB_OK)
        fail_msg("%s", why.text);
    sb_settings_unref(same);
    sb_l1_close(old);
    w->moves++;
}

/* Every turn some entries go and some come. */
static void turn(sb_timer *timer)
{
    world *w = sb_container_of(timer, world, timer);
    w->turns++;
    for (unsigned i = 0; i < 8; i++) {
        unsigned n = (unsigned)sb_rand_below(&w->env->rand, NAMES);
        sb_question q = question_of(n);
        sb_l1_key key = {.question = &q};
        if (!sb_rand_chance(&w->env->rand, 300))
            write_entry(w, n);
        else if (sb_l1_remove(w->l1, &key) != SB_OK)
            continue; /* gone already */
    }
    sb_l1_heartbeat(w->l1);
    if (w->turns % 20 == 5) { /* one address more, one less, all the while */
        static const char *const two[] = {"127.0.0.1", "127.0.0.2"};
        sb_settings *next = make_settings(two, 1 + (w->turns / 20) % 2, w->port, "127.0.0.0/8");
        sb_why why = {0};
        if (sb_workers_reload(w->workers, next, &why) != SB_OK)
            fail_msg("%s", why.text);
        sb_settings_unref(next);
        w->reloads++;
    }
    if (w->turns % 20 == 15)
        move(w);
    sb_timer_set(w->env, timer, sb_env_now(w->env) + SB_MS);
}

static void sink(void *context, const uint8_t *bytes, size_t size, const sb_addr *client,
                 const sb_addr *local, void *worker, uint64_t tag)
{
    world *w = context;
    sb_query_info info;
    sb_rcode rcode;
    uint8_t out[512];
    w->passed++;
    if (sb_query_read(bytes, size, &info, &rcode) != SB_OK)
        return;
    size_t n = sb_reply_error(&info, SB_RCODE_SERVFAIL, SB_EDE_NONE, NULL, out, sizeof(out));
    sb_workers_reply(worker, tag, client, local, out, n);
}

static void used(void *context, const sb_question *question)
{
    world *w = context;
    assert_true(question->name.size > 1);
    w->used++;
}

static void on_done(uv_async_t *handle)
{
    sb_uv_env_stop(((world *)handle->data)->uv);
}

static size_t write_query(uint8_t *out, unsigned n, uint16_t id)
{
    sb_question q = question_of(n);
    sb_writer writer = sb_writer_of(out, 512);
    sb_write_u16(&writer, id);
    sb_write_u16(&writer, SB_FLAG_RD);
    sb_write_u16(&writer, 1);
    sb_write_u16(&writer, 0);
    sb_write_u32(&writer, 0);
    sb_name_write(&writer, &q.name);
    sb_write_u16(&writer, 1);
    sb_write_u16(&writer, 1);
    return writer.size;
}

/* The ID says which name was asked: the reply must hold that name, and its address or none. */
static void judge(world *w, const uint8_t *bytes, size_t size)
{
    sb_reader r = sb_reader_of(bytes, size);
    unsigned n = sb_read_u16(&r) % NAMES;
    uint16_t flags = sb_read_u16(&r);
    sb_read_skip(&r, 2);
    uint16_t answers = sb_read_u16(&r);
    sb_read_skip(&r, 4);
    sb_name name;
    sb_question q = question_of(n);
    sb_addr wanted = address_of(n);
    bool right = sb_name_read(&r, 0, &name) && sb_name_equal(&name, &q.name);
    if (!right) {
        w->wrong++;
    } else if (SB_FLAGS_RCODE(flags) == SB_RCODE_SERVFAIL) {
        w->misses++;
    } else if (SB_FLAGS_RCODE(flags) == SB_RCODE_REFUSED) {
        w->refused++;
    } else {
        sb_read_skip(&r, 4 + 12);
        uint32_t address = sb_read_u32(&r);
        if (answers != 1 || r.failed || address != sb_load_u32(wanted.bytes))
            w->wrong++;
        else
            w->hits++;
    }
}

static void *client_main(void *context)
{
    world *w = context;
    uint8_t bytes[1500];
    struct sockaddr_storage sa;
    sb_addr to = sb_addr_4((const uint8_t[]){127, 0, 0, 1}, w->port);
    socklen_t size = sb_addr_to_sockaddr(&to, &sa);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&sa, size) != 0)
        abort();
    for (unsigned i = 0; i < QUESTIONS; i += WINDOW) {
        for (unsigned k = 0; k < WINDOW; k++) {
            size_t n = write_query(bytes, (i + k) % NAMES, (uint16_t)(i + k));
            if (send(fd, bytes, n, 0) < 0)
                abort();
        }
        for (unsigned k = 0; k < WINDOW; k++) {
            struct pollfd p = {.fd = fd, .events = POLLIN};
            if (poll(&p, 1, 2000) != 1) {
                w->lost += WINDOW - k;
                break;
            }
            ssize_t got = recv(fd, bytes, sizeof(bytes), 0);
            if (got > 0)
                judge(w, bytes, (size_t)got);
        }
    }
    close(fd);
    uv_async_send(&w->done);
    return NULL;
}

static void open_world(world *w, unsigned workers, const char *allow)
{
    static const char *const loopback[] = {"127.0.0.1"};
    sb_why why = {0};
    sb_udp_options probe = {.local = sb_addr_4((const uint8_t[]){127, 0, 0, 1}, 0)};
    struct sockaddr_storage sa;
    socklen_t size = sizeof(sa);
    int fd;
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(sb_uv_env_new(&w->loop, &w->uv, &why), SB_OK);
    w->env = sb_uv_env_base(w->uv);
    assert_int_equal(sb_udp_socket_open(&probe, &fd, &why), SB_OK);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &size), 0);
    w->port = sb_addr_from_sockaddr((struct sockaddr *)&sa).port;
    close(fd);
    w->settings = make_settings(loopback, 1, w->port, allow);
    sb_l1_options l1 = {.size_bytes = 1 << 20, .policy_hash = w->settings->hash};
    assert_int_equal(sb_l1_open(w->env, &l1, &w->l1, &why), SB_OK);
    for (unsigned n = 0; n < NAMES; n++)
        write_entry(w, n);
    sb_workers_options o = {.loop = &w->loop,
                            .env = w->env,
                            .settings = w->settings,
                            .reader = sb_l1_reader_of(w->l1),
                            .count = workers,
                            .sink = sink,
                            .used = used,
                            .context = w};
    if (sb_workers_new(&o, &w->workers, &why) != SB_OK)
        fail_msg("%s", why.text);
    w->done.data = w;
    assert_int_equal(uv_async_init(&w->loop, &w->done, on_done), 0);
    sb_timer_init(&w->timer, turn);
}

static void run_world(world *w)
{
    pthread_t client;
    sb_why why = {0};
    assert_int_equal(sb_workers_start(w->workers, &why), SB_OK);
    assert_int_equal(pthread_create(&client, NULL, client_main, w), 0);
    sb_uv_env_run(w->uv);
    pthread_join(client, NULL);
}

static uint64_t sum(const world *w, unsigned workers, sb_counter counter)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < workers; i++)
        total += sb_stats_get(sb_workers_stats(w->workers)[i], counter);
    return total;
}

static void close_world(world *w)
{
    sb_timer_stop(w->env, &w->timer);
    uv_close((uv_handle_t *)&w->done, NULL);
    sb_workers_free(w->workers);
    sb_l1_close(w->l1);
    sb_uv_env_free(w->uv);
    sb_settings_unref(w->settings);
    assert_int_equal(uv_loop_close(&w->loop), 0);
}

static void test_beside_a_writer(void **state)
{
    (void)state;
    world w = {0};
    open_world(&w, 2, "127.0.0.0/8");
    sb_timer_set(w.env, &w.timer, sb_env_now(w.env));
    run_world(&w);
    assert_int_equal(w.wrong, 0);
    assert_int_equal(w.refused, 0);
    assert_int_equal(w.lost, 0);
    assert_int_equal(w.hits + w.misses, QUESTIONS);
    assert_true(w.hits > QUESTIONS / 4);
    assert_true(w.misses > 0);
    assert_true(w.reloads > 0 && w.moves > 0);
    assert_int_equal(w.passed, w.misses);
    assert_true(w.used > 0);
    sb_workers_stop(w.workers);
    assert_int_equal(sum(&w, 2, SB_COUNT_HITS), w.hits);
    close_world(&w);
}

static void test_refused_clients(void **state)
{
    (void)state;
    world w = {0};
    open_world(&w, 1, "127.9.0.0/16");
    sb_workers_stop(w.workers); /* legal before the start */
    sb_why why = {0};
    assert_int_equal(sb_workers_start(w.workers, &why), SB_OK);
    uint8_t bytes[512];
    struct sockaddr_storage sa;
    sb_addr to = sb_addr_4((const uint8_t[]){127, 0, 0, 1}, w.port);
    socklen_t size = sb_addr_to_sockaddr(&to, &sa);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, size), 0);
    for (unsigned i = 0; i < 100; i++) {
        size_t n = write_query(bytes, i % NAMES, (uint16_t)i);
        assert_int_equal(send(fd, bytes, n, 0), n);
    }
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (poll(&p, 1, 200) == 1) {
        ssize_t got = recv(fd, bytes, sizeof(bytes), 0);
        assert_true(got > 0);
        judge(&w, bytes, (size_t)got);
    }
    close(fd);
    sb_workers_stop(w.workers);
    assert_int_equal(w.hits + w.misses + w.wrong, 0);
    assert_in_range(w.refused, 1, 2 * SB_WORKER_REFUSED_PER_S);
    assert_int_equal(sum(&w, 1, SB_COUNT_FRONT_REFUSED), w.refused);
    assert_int_equal(sum(&w, 1, SB_COUNT_FRONT_DROPPED), 100 - w.refused);
    assert_int_equal(w.passed, 0);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_beside_a_writer),
                                       cmocka_unit_test(test_refused_clients)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
