/* The edge: which address first, which cache file is trusted, what a reader of it survives, and the
 * framing of the blocking client. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "dns/rdata.h"
#include "edge/cache.h"
#include "edge/client.h"
#include "edge/order.h"
#include "io/uv_env.h"
#include "store/l1_write.h"

typedef struct world {
    uv_loop_t loop;
    sb_uv_env *uv;
    sb_env *env;
    char dir[64];
    char path[96];
} world;

static sb_addr addr(const char *text)
{
    sb_addr a;
    assert_true(sb_addr_parse(text, strlen(text), &a));
    return a;
}

static int setup(void **state)
{
    world *w = test_calloc(1, sizeof *w);
    sb_why why;
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(sb_uv_env_new(&w->loop, &w->uv, &why), SB_OK);
    w->env = sb_uv_env_base(w->uv);
    snprintf(w->dir, sizeof w->dir, "/tmp/stubborn-edge-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->path, sizeof w->path, "%s/cache.l1", w->dir);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    (void)unlink(w->path);
    assert_int_equal(rmdir(w->dir), 0);
    sb_uv_env_free(w->uv);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    test_free(w);
    return 0;
}

/* -- order -- */

static void order_by_family(void **state)
{
    (void)state;
    sb_addr source, six = addr("::1"), four = addr("127.0.0.1");
    sb_addr list[3] = {six, four, addr("127.0.0.2")};
    if (!sb_edge_source(&six, &source))
        skip(); /* no IPv6 here */
    assert_int_equal(sb_edge_order(list, 3, SB_PREFER_4), 3);
    assert_true(sb_addr_equal(&list[0], &four));
    assert_int_equal(list[1].bytes[3], 2); /* equals keep their order */
    assert_int_equal(sb_edge_order(list, 3, SB_PREFER_6), 3);
    assert_true(sb_addr_equal(&list[0], &six));
    assert_true(sb_addr_equal(&list[1], &four));
    assert_int_equal(sb_edge_order(list, 3, SB_PREFER_RFC6724), 3);
    assert_true(sb_addr_equal(&list[0], &six)); /* rule 6: ::1 has precedence 50 */
    assert_int_equal(sb_edge_order(list, 3, SB_ONLY_4), 2);
    assert_true(sb_addr_equal(&list[0], &four));
    assert_int_equal(sb_edge_order(list, 2, SB_ONLY_6), 0);
}

/* An address nothing routes to: link-local without an interface. */
static void unroutable_comes_last(void **state)
{
    (void)state;
    sb_addr list[2] = {addr("fe80::1"), addr("127.0.0.1")}, source;
    assert_false(sb_edge_source(&list[0], &source));
    assert_int_equal(sb_edge_order(list, 2, SB_PREFER_6), 2);
    assert_int_equal(list[0].family, SB_FAMILY_4);
    list[0] = addr("fe80::2");
    list[1] = addr("fe80::1");
    assert_int_equal(sb_edge_order(list, 2, SB_PREFER_4), 2);
    assert_int_equal(list[0].bytes[15], 2);
    sb_addr many[200];
    for (unsigned i = 0; i < 200; i++)
        many[i] = sb_addr_4((const uint8_t[]){127, 0, 0, (uint8_t)i}, 0);
    assert_int_equal(sb_edge_order(many, 200, SB_PREFER_4), 200);
    assert_int_equal(many[150].bytes[3], 150);
}

/* -- cache file -- */

static sb_question question_of(const char *text)
{
    sb_question q = {.type = SB_TYPE_A, .class = SB_CLASS_IN};
    sb_why why;
    assert_int_equal(sb_name_parse(text, strlen(text), &q.name, &why), SB_OK);
    sb_name_fold(&q.name);
    return q;
}

static sb_l1 *write_cache(world *w, const char *name)
{
    sb_l1_options options = {.path = w->path, .size_bytes = 256 * 1024, .mode = 0600, .group = -1};
    sb_why why = {{0}};
    sb_l1 *l1;
    sb_answer *answer;
    sb_addr address = addr("192.0.2.80");
    sb_question q = question_of(name);
    assert_int_equal(sb_l1_open(w->env, &options, &l1, &why), SB_OK);
    assert_true(sb_l1_in_file(l1));
    assert_int_equal(sb_answer_from_addresses(&q, &address, 1, 60, SB_SOURCE_DNS, &answer), SB_OK);
    sb_tick now = sb_l1_now(l1);
    sb_l1_life life = {.learned = now,
                       .due = now + 60 * SB_TICKS_PER_S,
                       .expires = now + 60 * SB_TICKS_PER_S,
                       .stale_until = now + 3600 * SB_TICKS_PER_S};
    sb_l1_key key = {.question = &q};
    assert_int_equal(sb_l1_put(l1, &key, answer, &life, SB_L1_PLAIN), SB_OK);
    sb_answer_unref(answer);
    sb_l1_heartbeat(l1);
    return l1;
}

static sb_status find(sb_edge_cache *cache, const char *name)
{
    static sb_l1_buffer buffer;
    sb_edge_hit hit;
    sb_question q = question_of(name);
    sb_status status = sb_edge_cache_find(cache, &q, &buffer, &hit);
    if (status == SB_OK) {
        assert_int_equal(hit.freshness, SB_FRESH);
        assert_in_range(hit.left_s, 50, 60);
        assert_int_equal(hit.entry.kind, SB_KIND_POSITIVE);
    }
    return status;
}

static void reads_what_the_writer_wrote(void **state)
{
    world *w = *state;
    sb_l1 *l1 = write_cache(w, "www.example");
    sb_edge_cache *cache;
    sb_why why = {{0}};
    assert_int_equal(sb_edge_cache_open(w->path, &cache, &why), SB_OK);
    assert_true(sb_edge_cache_alive(cache));
    assert_int_equal(find(cache, "WWW.example"), SB_OK);
    assert_int_equal(find(cache, "other.example"), SB_NOTFOUND);
    sb_l1_close(l1);
    assert_false(sb_edge_cache_alive(cache)); /* it said good-bye */
    assert_int_equal(find(cache, "www.example"), SB_OK);
    sb_edge_cache_close(cache);
}

static void survives_foreign_hands(void **state)
{
    world *w = *state;
    sb_edge_cache *cache;
    sb_why why = {{0}};
    char aside[100];
    snprintf(aside, sizeof aside, "%s/aside", w->dir);
    sb_l1_close(write_cache(w, "www.example"));
    assert_int_equal(sb_edge_cache_open(w->path, &cache, &why), SB_OK);
    assert_int_equal(rename(w->path, aside), 0); /* removed */
    assert_int_equal(find(cache, "www.example"), SB_NOTFOUND);
    sb_l1_close(write_cache(w, "new.example")); /* replaced */
    assert_int_equal(find(cache, "new.example"), SB_OK);
    assert_int_equal(find(cache, "www.example"), SB_NOTFOUND);
    assert_int_equal(rename(aside, w->path), 0); /* and back */
    assert_int_equal(find(cache, "www.example"), SB_OK);
    assert_int_equal(truncate(w->path, 8192), 0);
    assert_int_equal(find(cache, "www.example"), SB_NOTFOUND);
    assert_int_equal(truncate(w->path, 0), 0);
    assert_int_equal(find(cache, "www.example"), SB_NOTFOUND);
    assert_false(sb_edge_cache_alive(cache));
    sb_edge_cache_close(cache);
}

static const char *cut_path; /* cut as soon as it is mapped; NULL: nothing is */

static void guard_and_cut(const void *base, size_t size, bool mapped)
{
    sb_uv_guard_mapping(base, size, mapped);
    if (mapped && cut_path && truncate(cut_path, 4096) != 0)
        _exit(10);
}

/* Between the look at its size and the read of its pages: the worst moment. */
static void survives_a_cut_under_the_reader(void **state)
{
    world *w = *state;
    int result = 0;
    char aside[100];
    snprintf(aside, sizeof aside, "%s/aside", w->dir);
    sb_l1_close(write_cache(w, "new.example"));
    assert_int_equal(rename(w->path, aside), 0);
    sb_l1_close(write_cache(w, "old.example"));
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        sb_edge_cache *cache;
        sb_uv_guard_sigbus();
        sb_edge_cache_on_map(guard_and_cut);
        if (sb_edge_cache_open(w->path, &cache, NULL) != SB_OK ||
            find(cache, "old.example") != SB_OK || rename(aside, w->path) != 0)
            _exit(1);
        cut_path = w->path;
        if (find(cache, "new.example") != SB_NOTFOUND || !sb_uv_sigbus_seen())
            _exit(2);
        cut_path = NULL;
        _exit(find(cache, "new.example") == SB_NOTFOUND ? 0 : 3);
    }
    assert_int_equal(waitpid(pid, &result, 0), pid);
    assert_int_equal(result, 0);
}

static void refuses_what_it_cannot_trust(void **state)
{
    world *w = *state;
    sb_edge_cache *cache = NULL;
    sb_why why = {{0}};
    char other[100];
    snprintf(other, sizeof other, "%s/other", w->dir);
    (void)unlink(w->path);
    assert_int_equal(sb_edge_cache_open(w->path, &cache, &why), SB_NOTFOUND);
    sb_l1_close(write_cache(w, "www.example"));
    assert_int_equal(chmod(w->path, 0620), 0);
    assert_int_equal(sb_edge_cache_open(w->path, &cache, &why), SB_PERM);
    assert_int_equal(chmod(w->path, 0602), 0);
    assert_int_equal(sb_edge_cache_open(w->path, &cache, &why), SB_PERM);
    assert_int_equal(chmod(w->path, 0644), 0);
    assert_int_equal(symlink(w->path, other), 0);
    assert_int_not_equal(sb_edge_cache_open(other, &cache, &why), SB_OK);
    assert_int_equal(unlink(other), 0);
    assert_int_equal(mkfifo(other, 0600), 0);
    assert_int_equal(sb_edge_cache_open(other, &cache, &why), SB_PERM);
    assert_int_equal(unlink(other), 0);
    assert_int_equal(sb_edge_cache_open(w->dir, &cache, &why), SB_PERM);
    if (geteuid() == 0) {
        assert_int_equal(chown(w->path, 4242, (gid_t)-1), 0);
        assert_int_equal(sb_edge_cache_open(w->path, &cache, &why), SB_PERM);
        assert_non_null(strstr(why.text, "4242"));
    }
    assert_null(cache);
}

/* -- client -- */

typedef struct server {
    int listener;
    const uint8_t *bytes;
    size_t size;
    size_t piece; /* bytes a write; 0 all */
} server;

/* Takes one client, waits for its bytes, says its own and hangs up. */
static void *serve(void *argument)
{
    server *s = argument;
    uint8_t heard[512];
    int fd = accept(s->listener, NULL, NULL);
    if (fd < 0)
        return NULL;
    (void)recv(fd, heard, sizeof heard, 0);
    for (size_t at = 0; at < s->size;) {
        size_t n = s->piece && s->piece < s->size - at ? s->piece : s->size - at;
        ssize_t sent = send(fd, s->bytes + at, n, MSG_NOSIGNAL);
        if (sent <= 0)
            break;
        at += (size_t)sent;
    }
    close(fd);
    return NULL;
}

static void listen_at(world *w, server *s, char path[108])
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    snprintf(path, 108, "%s/s", w->dir);
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(s->listener, 4), 0);
}

static sb_status exchange(world *w, const uint8_t *bytes, size_t size, size_t piece,
                          sb_edge_reply *ret)
{
    server s = {.bytes = bytes, .size = size, .piece = piece};
    char path[108];
    pthread_t thread;
    sb_edge_client client = {.fd = -1};
    sb_why why;
    sb_question q = question_of("www.example");
    sb_ns deadline = sb_edge_now() + 5 * SB_S;
    listen_at(w, &s, path);
    assert_int_equal(pthread_create(&thread, NULL, serve, &s), 0);
    assert_int_equal(sb_edge_client_open(path, deadline, &client, &why), SB_OK);
    assert_int_equal(sb_edge_client_ask(&client, 7, &q, SB_ASK_LIVE, deadline, &why), SB_OK);
    sb_status status = sb_edge_client_receive(&client, deadline, ret, &why);
    sb_edge_client_close(&client);
    sb_edge_client_close(&client);
    assert_int_equal(pthread_join(thread, NULL), 0);
    close(s.listener);
    assert_int_equal(unlink(path), 0);
    return status;
}

static size_t make_reply(uint8_t *buffer, size_t capacity)
{
    sb_builder b;
    sb_question q = question_of("www.example");
    uint8_t options[64], payload[40];
    sb_provenance p = {.source = SB_SOURCE_STALE, .flags = SB_PROVENANCE_STALE, .age_s = 77};
    size_t size = sb_provenance_write(&p, payload, sizeof payload);
    sb_writer w = sb_writer_of(options, sizeof options);
    sb_write_u16(&w, SB_OPT_EDE);
    sb_write_u16(&w, 5);
    sb_write_u16(&w, SB_EDE_STALE);
    sb_write_bytes(&w, "old", 3);
    sb_write_u16(&w, SB_OPT_PROVENANCE);
    sb_write_u16(&w, (uint16_t)size);
    sb_write_bytes(&w, payload, size);
    sb_builder_init(&b, buffer + 2, capacity - 2, 7, SB_FLAG_QR);
    sb_builder_question(&b, &q);
    sb_builder_edns(&b, 1232, 0, false, (sb_span){options, w.size});
    size = sb_builder_finish(&b);
    sb_store_u16(buffer, (uint16_t)size);
    return size + 2;
}

static void takes_a_reply_apart(void **state)
{
    world *w = *state;
    uint8_t bytes[512];
    sb_edge_reply reply = {0};
    size_t size = make_reply(bytes, sizeof bytes);
    for (size_t piece = 0; piece < 2; piece++) {
        assert_int_equal(exchange(w, bytes, size, piece, &reply), SB_OK);
        assert_int_equal(reply.msg.id, 7);
        assert_int_equal(reply.ede, SB_EDE_STALE);
        assert_string_equal(reply.ede_text, "old");
        assert_true(reply.has_provenance);
        assert_int_equal(reply.provenance.age_s, 77);
        sb_edge_reply_fini(&reply);
        sb_edge_reply_fini(&reply);
    }
}

static void bad_replies_are_errors(void **state)
{
    world *w = *state;
    uint8_t bytes[512];
    sb_edge_reply reply = {0};
    size_t size = make_reply(bytes, sizeof bytes);
    assert_int_equal(exchange(w, bytes, size - 1, 0, &reply), SB_CLOSED);
    assert_int_equal(exchange(w, bytes, 1, 0, &reply), SB_CLOSED);
    assert_int_equal(exchange(w, bytes, 0, 0, &reply), SB_CLOSED);
    assert_int_equal(exchange(w, (const uint8_t *)"\0\0", 2, 0, &reply), SB_MALFORMED);
    bytes[4] &= 0x7f; /* a query */
    assert_int_equal(exchange(w, bytes, size, 0, &reply), SB_MALFORMED);
    assert_null(reply.bytes);
}

static void nobody_there(void **state)
{
    world *w = *state;
    sb_edge_client client;
    sb_why why;
    char path[108];
    server s = {0};
    sb_text line = {0};
    sb_ns deadline = sb_edge_now() + SB_S;
    snprintf(path, sizeof path, "%s/s", w->dir);
    assert_int_equal(sb_edge_client_open(path, deadline, &client, &why), SB_NOTFOUND);
    assert_int_equal(sb_edge_control(path, "{}", 100, deadline, &line, &why), SB_NOTFOUND);
    listen_at(w, &s, path); /* listens, but never speaks */
    deadline = sb_edge_now() + 50 * SB_MS;
    assert_int_equal(sb_edge_control(path, "{}", 100, deadline, &line, &why), SB_TIMEOUT);
    close(s.listener);
    assert_int_equal(sb_edge_client_open(path, sb_edge_now() + SB_S, &client, &why),
                     SB_CONNREFUSED);
    assert_int_equal(unlink(path), 0);
    sb_text_fini(&line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_by_family),
        cmocka_unit_test(unroutable_comes_last),
        cmocka_unit_test(reads_what_the_writer_wrote),
        cmocka_unit_test(survives_foreign_hands),
        cmocka_unit_test(survives_a_cut_under_the_reader),
        cmocka_unit_test(refuses_what_it_cannot_trust),
        cmocka_unit_test(takes_a_reply_apart),
        cmocka_unit_test(bad_replies_are_errors),
        cmocka_unit_test(nobody_there),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
