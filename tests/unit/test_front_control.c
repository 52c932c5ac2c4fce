/* The control socket: permissions, every verb, bad requests, large replies, dump and load. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>
#include <jansson.h>

#include "front/control.h"
#include "support/front_world.h"

#define DAEMON_UID 500

static world w;
static sb_control *control;
static unsigned reloads;
static size_t cache_bytes; /* 0: as the world has it */
static sb_status reload_status;

static sb_status reload(void *context, sb_text *ret_waiting, sb_why *why)
{
    assert_ptr_equal(context, &w);
    reloads++;
    if (reloads == 1)
        sb_text_add(ret_waiting, "cache.size listen.http ");
    return reload_status ? sb_why_set(why, reload_status, "line 3: bad") : SB_OK;
}

static void health(void *context, sb_text *ret_json)
{
    (void)context;
    sb_text_add(ret_json, "{\"status\":\"healthy\"}\n");
}

static void begin_with(int64_t group, const sb_service_setting *service)
{
    sb_why why = {""};
    sb_settings *settings = world_settings();
    settings->services = service;
    settings->service_count = service ? 1 : 0;
    if (cache_bytes > 0)
        settings->cache.size_bytes = cache_bytes;
    world_start(&w, settings);
    sb_control_options options = {.engine = w.engine,
                                  .path = "/run/s.ctl",
                                  .uid = DAEMON_UID,
                                  .group = group,
                                  .reload = reload,
                                  .health = health,
                                  .context = &w};
    assert_int_equal(sb_control_new(&options, &control, &why), SB_OK);
}

static void begin(int64_t group)
{
    begin_with(group, NULL);
}

static void finish(void)
{
    sb_control_free(control);
    assert_int_equal(world_stop(&w), 0);
}

static json_t *say(const char *line, bool allowed)
{
    sb_text text = {0};
    sb_control_line(control, line, strlen(line), allowed, &text);
    assert_false(text.failed);
    assert_null(memchr(text.data, '\n', text.size));
    json_t *reply = json_loadb(text.data, text.size, 0, NULL);
    assert_non_null(reply);
    sb_text_fini(&text);
    return reply;
}

static json_t *good(const char *line)
{
    json_t *reply = say(line, true);
    if (!json_is_true(json_object_get(reply, "ok")))
        fail_msg("%s: %s", line, json_string_value(json_object_get(reply, "error")));
    return reply;
}

static void bad(const char *line, bool allowed)
{
    json_t *reply = say(line, allowed);
    assert_true(json_is_false(json_object_get(reply, "ok")));
    assert_true(strlen(json_string_value(json_object_get(reply, "error"))) > 5);
    json_decref(reply);
}

static sb_query asked;
static bool settled;

static void on_settled(sb_op *op)
{
    (void)op;
    settled = true;
}

/* The first address, or 0 bytes of one. */
static sb_addr resolve(const char *name)
{
    sb_addr addr = {0};
    asked.question =
        (sb_question){.name = world_name(name), .type = SB_TYPE_A, .class = SB_CLASS_IN};
    asked.ask = 0;
    settled = false;
    sb_engine_ask(w.engine, &asked, NULL, SB_NEVER, on_settled);
    world_run(&w, 4 * SB_S);
    assert_true(settled);
    if (asked.answer)
        (void)sb_answer_addresses(asked.answer, &addr, 1);
    sb_query_fini(&asked);
    return addr;
}

static void test_permissions(void **state)
{
    (void)state;
    static const char *const open_verbs[] = {"status", "health", "upstreams", "log-levels"};
    static const char *const names[] = {"{\"verb\":\"services\"}", "{\"verb\":\"cache-list\"}",
                                        "{\"verb\":\"pins\"}",
                                        "{\"verb\":\"explain\",\"name\":\"a.example\"}"};
    static const char *const changes[] = {
        "{\"verb\":\"flush\",\"all\":true}",
        "{\"verb\":\"reload\"}",
        "{\"verb\":\"pin\",\"name\":\"x.example\",\"addresses\":[\"192.0.2.9\"]}",
        "{\"verb\":\"unpin\",\"name\":\"x.example\"}",
        "{\"verb\":\"dump\"}",
        "{\"verb\":\"log\",\"subsystem\":\"http\",\"level\":\"info\"}",
        "{\"verb\":\"warm\",\"names\":[\"a.example\"]}",
        "{\"verb\":\"load\",\"entries\":[]}",
        "{\"verb\":\"upstreams-reset\"}",
        "{\"verb\":\"obey\"}",
        "{\"verb\":\"drill\"}"};
    static const sb_service_setting service = {.name = "app", .uri = "http://a.example"};
    begin_with(-1, &service);
    for (size_t i = 0; i < SB_ARRAY_SIZE(open_verbs); i++) {
        char line[128];
        (void)snprintf(line, sizeof(line), "{\"verb\":\"%s\"}", open_verbs[i]);
        json_t *reply = say(line, false);
        assert_true(json_is_true(json_object_get(reply, "ok")));
        char *text = json_dumps(reply, 0);
        assert_null(strstr(text, "a.example"));
        free(text);
        json_decref(reply);
    }
    for (size_t i = 0; i < SB_ARRAY_SIZE(changes); i++)
        bad(changes[i], false);
    for (size_t i = 0; i < SB_ARRAY_SIZE(names); i++) {
        bad(names[i], false);
        json_decref(good(names[i]));
    }
    assert_int_equal(reloads, 0);
    assert_int_equal(w.asked, 0);
    bad("{\"verb\":\"drill\"}", true); /* says that it comes later */
    sb_why why = {""};
    sb_settings *shared = world_settings();
    shared->cache.share = SB_SHARE_ALL;
    assert_int_equal(sb_settings_freeze(shared, &why), SB_OK);
    assert_int_equal(sb_engine_reload(w.engine, shared, &why), SB_OK);
    for (size_t i = 0; i < SB_ARRAY_SIZE(names); i++) {
        json_t *reply = say(names[i], false);
        assert_true(json_is_true(json_object_get(reply, "ok")));
        json_decref(reply);
    }
    bad(changes[0], false);
    finish();
    sb_settings_unref(shared);
}

static void test_bad_requests(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "",
        " ",
        "x",
        "{}",
        "[]",
        "null",
        "{\"verb\":1}",
        "{\"verb\":\"nonsense\"}",
        "{\"verb\":\"status\",\"verb\":\"status\"}",
        "{\"verb\":\"flush\"}",
        "{\"verb\":\"flush\",\"name\":\"a\",\"all\":true}",
        "{\"verb\":\"flush\",\"name\":7}",
        "{\"verb\":\"flush\",\"name\":\"a..b\"}",
        "{\"verb\":\"flush\",\"all\":false}",
        "{\"verb\":\"pin\"}",
        "{\"verb\":\"pin\",\"name\":\"a\"}",
        "{\"verb\":\"pin\",\"name\":\"a\",\"addresses\":[]}",
        "{\"verb\":\"pin\",\"name\":\"a\",\"addresses\":[\"nope\"]}",
        "{\"verb\":\"pin\",\"name\":\"a\",\"addresses\":[7]}",
        "{\"verb\":\"pin\",\"name\":\"a\",\"addresses\":[\"1.2.3.4\"],\"for_s\":-1}",
        "{\"verb\":\"pin\",\"name\":\"a\",\"addresses\":[\"1.2.3.4\"],\"for_s\":99999999999}",
        "{\"verb\":\"pin\",\"name\":\"a\",\"addresses\":[\"1.2.3.4\",\"0.0.0.0\"]}",
        "{\"verb\":\"pin\",\"name\":\"a\",\"addresses\":[\"::ffff:224.0.0.1\"]}",
        "{\"verb\":\"pin\",\"name\":\"a\",\"addresses\":[\"ff02::1\"]}",
        "{\"verb\":\"pin\",\"name\":\"a\",\"addresses\":[\"255.255.255.255\"]}",
        "{\"verb\":\"unpin\",\"name\":\"never.pinned\"}",
        "{\"verb\":\"obey\",\"name\":\"never.denied\"}",
        "{\"verb\":\"log\"}",
        "{\"verb\":\"log\",\"subsystem\":\"none\",\"level\":\"info\"}",
        "{\"verb\":\"log\",\"subsystem\":\"http\",\"level\":\"loud\"}",
        "{\"verb\":\"warm\"}",
        "{\"verb\":\"warm\",\"names\":[\"\"]}",
        "{\"verb\":\"load\"}",
        "{\"verb\":\"load\",\"entries\":{}}",
        "{\"verb\":\"cache-list\",\"cursor\":\"x\"}",
        "{\"verb\":\"cache-list\",\"limit\":1001}",
        "{\"verb\":\"explain\"}",
        "{\"verb\":\"explain\",\"name\":\"a\",\"type\":\"NOSUCH\"}"};
    begin(-1);
    for (size_t i = 0; i < SB_ARRAY_SIZE(rows); i++)
        bad(rows[i], true);
    finish();
}

static void test_life(void **state)
{
    (void)state;
    begin(-1);
    assert_int_equal(resolve("a.example").bytes[3], 1);
    json_decref(good("{\"verb\":\"pin\",\"name\":\"A.Example\",\"addresses\":[\"192.0.2.9\"]}"));
    assert_int_equal(resolve("a.example").bytes[3], 9);
    json_t *reply = good("{\"verb\":\"pins\"}");
    json_t *life = json_array_get(json_object_get(reply, "life"), 0);
    assert_string_equal(json_string_value(json_object_get(life, "kind")), "pin");
    assert_int_equal(json_integer_value(json_object_get(life, "uses")), 1);
    assert_string_equal(json_string_value(json_object_get(life, "life")), "unknown");
    json_t *deed = json_array_get(json_object_get(reply, "trail"), 0);
    assert_string_equal(json_string_value(json_object_get(deed, "deed")), "set");
    json_decref(reply);
    world_run(&w, 3 * SB_S);
    reply = good("{\"verb\":\"pins\"}");
    life = json_array_get(json_object_get(reply, "life"), 0);
    assert_string_equal(json_string_value(json_object_get(life, "dns")), "differs");
    assert_true(json_is_true(json_object_get(life, "dns_was_wrong")));
    json_decref(reply);
    json_decref(good("{\"verb\":\"unpin\",\"name\":\"a.example\"}"));
    reply = good("{\"verb\":\"explain\",\"name\":\"a.example\"}");
    json_t *explained = json_object_get(reply, "explain");
    assert_true(json_is_null(json_object_get(explained, "doubt")));
    assert_int_equal(json_array_size(json_object_get(explained, "trail")), 2);
    assert_int_equal(json_array_size(json_object_get(explained, "endpoints")), 0);
    json_decref(reply);
    bad("{\"verb\":\"obey\"}", true);
    bad("{\"verb\":\"obey\",\"name\":7}", true);
    bad("{\"verb\":\"obey\",\"name\":\"A.example\"}", true); /* nothing denies it */
    finish();
}

/* Whenever it is looked at: a pin whose time is over is none, and its end is told. */
static void test_pin_over(void **state)
{
    (void)state;
    begin(-1);
    for (unsigned i = 0; i < 10; i++) {
        json_decref(good("{\"verb\":\"pin\",\"name\":\"a.example\",\"addresses\":[\"192.0.2.9\"],"
                         "\"for_s\":2}"));
        assert_int_equal(resolve("a.example").bytes[3], 9);
        world_run(&w, 2100 * SB_MS);
        if (i % 2 == 0)
            bad("{\"verb\":\"unpin\",\"name\":\"a.example\"}", true);
        json_t *reply = good("{\"verb\":\"pins\"}");
        assert_int_equal(json_array_size(json_object_get(reply, "pins")), 0);
        assert_int_equal(json_array_size(json_object_get(reply, "life")), 0);
        json_t *trail = json_object_get(reply, "trail");
        size_t deeds = json_array_size(trail);
        assert_int_equal(deeds, 2 * (i + 1));
        assert_string_equal(
            json_string_value(json_object_get(json_array_get(trail, deeds - 1), "deed")),
            "expired");
        json_decref(reply);
        world_run(&w, 110 * SB_MS);
    }
    finish();
}

static void test_verbs(void **state)
{
    (void)state;
    begin(-1);
    json_t *reply = good("{\"verb\":\"health\"}");
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(reply, "health"), "status")), "healthy");
    json_decref(reply);
    sb_addr first = resolve("a.example");
    assert_int_equal(first.bytes[3], 1);
    json_decref(good("{\"verb\":\"pin\",\"name\":\"A.Example\",\"addresses\":[\"192.0.2.9\"],"
                     "\"for_s\":100}"));
    assert_int_equal(resolve("a.example").bytes[3], 9);
    reply = good("{\"verb\":\"pins\"}");
    json_t *pin = json_array_get(json_object_get(reply, "pins"), 0);
    assert_string_equal(json_string_value(json_object_get(pin, "name")), "a.example");
    assert_true(json_integer_value(json_object_get(pin, "left_s")) > 90);
    json_decref(reply);
    json_decref(good("{\"verb\":\"unpin\",\"name\":\"a.example\"}"));
    assert_int_equal(resolve("a.example").bytes[3], 1);
    reply = good("{\"verb\":\"flush\",\"suffix\":\"example\"}");
    assert_true(json_integer_value(json_object_get(reply, "removed")) >= 1);
    json_decref(reply);
    reply = good("{\"verb\":\"flush\",\"name\":\"a.example\"}");
    assert_int_equal(json_integer_value(json_object_get(reply, "removed")), 0);
    json_decref(reply);
    json_decref(good("{\"verb\":\"warm\",\"names\":[\"a.example\",\"a2.example\"]}"));
    world_run(&w, SB_S);
    reply = good("{\"verb\":\"cache-list\",\"suffix\":\"example\"}");
    assert_int_equal(json_array_size(json_object_get(reply, "entries")), 4);
    assert_true(json_is_null(json_object_get(reply, "cursor")));
    json_decref(reply);
    reply = good("{\"verb\":\"explain\",\"name\":\"a.example\"}");
    json_decref(reply);
    reply = good("{\"verb\":\"reload\"}");
    assert_int_equal(reloads, 1);
    json_t *waiting = json_object_get(reply, "next_start");
    assert_int_equal(json_array_size(waiting), 2);
    assert_string_equal(json_string_value(json_array_get(waiting, 1)), "listen.http");
    json_decref(reply);
    reload_status = SB_INVALID;
    reply = say("{\"verb\":\"reload\"}", true);
    assert_string_equal(json_string_value(json_object_get(reply, "error")), "line 3: bad");
    json_decref(reply);
    reload_status = SB_OK;
    json_decref(good("{\"verb\":\"log\",\"subsystem\":\"http\",\"level\":\"debug\"}"));
    assert_int_equal(sb_log_get_level(SB_LOG_HTTP), SB_LOG_DEBUG);
    json_decref(good("{\"verb\":\"log\",\"subsystem\":\"all\",\"level\":\"error\"}"));
    assert_int_equal(sb_log_get_level(SB_LOG_HTTP), SB_LOG_ERROR);
    json_decref(good("{\"verb\":\"upstreams-reset\"}"));
    finish();
}

static json_t *dumped(void)
{
    json_t *reply = good("{\"verb\":\"dump\"}");
    json_t *entries = json_incref(json_object_get(reply, "entries"));
    json_decref(reply);
    return entries;
}

static json_t *loaded(json_t *entries)
{
    json_t *request = json_pack("{s:s, s:O}", "verb", "load", "entries", entries);
    char *line = json_dumps(request, JSON_COMPACT);
    json_t *reply = good(line);
    free(line);
    json_decref(request);
    return reply;
}

static json_int_t number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static void test_dump_and_load(void **state)
{
    (void)state;
    begin(-1);
    (void)resolve("a.example");
    (void)resolve("cname.example");
    (void)resolve("nx.example");
    world_run(&w, 100 * SB_S);
    json_t *entries = dumped();
    assert_int_equal(json_array_size(entries), 3);
    json_t *reply = loaded(entries); /* nothing new */
    assert_int_equal(number(reply, "loaded"), 0);
    assert_int_equal(number(reply, "older"), 3);
    json_decref(reply);
    json_decref(good("{\"verb\":\"flush\",\"all\":true}"));
    reply = loaded(entries);
    assert_int_equal(number(reply, "loaded"), 3);
    json_decref(reply);
    unsigned before = w.asked;
    assert_int_equal(resolve("a.example").bytes[3], 1);
    assert_int_equal(w.asked, before);
    reply = good("{\"verb\":\"cache-list\",\"suffix\":\"a.example\"}");
    json_t *entry = json_array_get(json_object_get(reply, "entries"), 0);
    assert_in_range(number(entry, "age_s"), 100, 130); /* ages are kept */
    json_decref(reply);

    /* A dump of ten days ago is past its use; one of an hour ago is stale, not fresh. */
    json_t *old = json_deep_copy(entries), *value;
    size_t i;
    json_decref(good("{\"verb\":\"flush\",\"all\":true}"));
    json_array_foreach(old, i, value)
    {
        json_int_t at = number(value, "learned_ms") - (i == 0 ? 10 * 86400 : 3600) * 1000LL;
        json_object_set_new(value, "learned_ms", json_integer(at));
    }
    reply = loaded(old);
    assert_int_equal(number(reply, "loaded"), 2);
    assert_int_equal(number(reply, "refused"), 1);
    json_decref(reply);
    reply = good("{\"verb\":\"cache-list\"}");
    json_array_foreach(json_object_get(reply, "entries"), i, value)
        assert_string_equal(json_string_value(json_object_get(value, "state")), "stale");
    json_decref(reply);
    json_decref(old);

    /* Hostile entries: refused one by one, never all or none. */
    json_decref(good("{\"verb\":\"flush\",\"all\":true}"));
    json_t *evil = json_deep_copy(entries);
    json_object_set_new(json_array_get(evil, 0), "message", json_string("00"));
    json_array_append_new(evil, json_null());
    json_array_append_new(evil, json_pack("{s:s}", "message", "zz"));
    json_array_append_new(
        evil, json_pack("{s:s, s:I}", "message",
                        json_string_value(json_object_get(json_array_get(entries, 1), "message")),
                        "learned_ms", (json_int_t)-5));
    reply = loaded(evil);
    assert_int_equal(number(reply, "loaded"), 2);
    assert_int_equal(number(reply, "refused"), 4);
    assert_true(json_is_string(json_object_get(reply, "first_refused")));
    json_decref(reply);
    json_decref(evil);
    json_decref(entries);
    finish();
}

typedef struct peer {
    sb_text in;
    bool closed;
} peer;

static void peer_in(void *owner, sim *s, sb_socket conn, const uint8_t *bytes, size_t size)
{
    (void)s;
    (void)conn;
    sb_text_add_bytes(&((peer *)owner)->in, bytes, size);
}

static void peer_closed(void *owner, sim *s, sb_socket conn, sb_status why)
{
    (void)s;
    (void)conn;
    (void)why;
    ((peer *)owner)->closed = true;
}

static const sim_conn_events peer_events = {.received = peer_in, .closed = peer_closed};

static sb_socket dial(peer *p, uint32_t uid)
{
    *p = (peer){0};
    sb_socket conn = sim_connect(w.s, NULL, NULL, "/run/s.ctl", uid, &peer_events, p);
    world_run(&w, 10 * SB_MS);
    return conn;
}

static size_t lines(const peer *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->in.size; i++)
        n += p->in.data[i] == '\n';
    return n;
}

static void test_peers(void **state)
{
    (void)state;
    static const struct {
        int64_t group;
        uint32_t uid;
        bool allowed;
    } rows[] = {{-1, 0, true}, {-1, DAEMON_UID, true}, {-1, 1000, false}, {77, 1000, true}};
    for (size_t i = 0; i < SB_ARRAY_SIZE(rows); i++) {
        static const char line[] = "{\"verb\":\"upstreams-reset\"}\n";
        peer p;
        begin(rows[i].group);
        sb_socket conn = dial(&p, rows[i].uid);
        sim_conn_write(w.s, conn, line, sizeof(line) - 1);
        world_run(&w, SB_S);
        assert_int_equal(lines(&p), 1);
        assert_int_equal(strstr(p.in.data, "\"ok\":true") != NULL, rows[i].allowed);
        sim_conn_close(w.s, conn);
        sb_text_fini(&p.in);
        world_run(&w, SB_S);
        finish();
    }
}

/* Who connected as a member of one group has no rights under another, or under none. */
static void test_regroup(void **state)
{
    (void)state;
    static const char line[] = "{\"verb\":\"upstreams-reset\"}\n";
    static const struct {
        int64_t group;
        bool member, root;
    } rows[] = {{77, true, true}, {-1, false, true}, {78, false, true}, {77, true, true}};
    peer member, root;
    begin(77);
    sb_socket conns[] = {dial(&member, 1000), dial(&root, 0)};
    for (size_t i = 0; i < SB_ARRAY_SIZE(rows); i++) {
        sb_control_regroup(control, rows[i].group);
        for (size_t k = 0; k < SB_ARRAY_SIZE(conns); k++)
            sim_conn_write(w.s, conns[k], line, sizeof(line) - 1);
        world_run(&w, SB_S);
        assert_int_equal(strstr(member.in.data, "\"ok\":true") != NULL, rows[i].member);
        assert_int_equal(strstr(root.in.data, "\"ok\":true") != NULL, rows[i].root);
        sb_text_fini(&member.in);
        sb_text_fini(&root.in);
        member.in = root.in = (sb_text){0};
    }
    finish();
    sb_text_fini(&member.in);
    sb_text_fini(&root.in);
}

static void test_stream(void **state)
{
    (void)state;
    static const char text[] = "{\"verb\":\"pins\"}\n{\"verb\":\"pins\"}\nx\n{\"verb\":";
    peer p;
    begin(-1);
    sb_socket conn = dial(&p, 1000);
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        sim_conn_write(w.s, conn, text + i, 1);
        world_run(&w, 10 * SB_MS);
    }
    assert_int_equal(lines(&p), 3);
    sim_conn_write(w.s, conn, "\"pins\"}\n\n", 9);
    world_run(&w, SB_S);
    assert_int_equal(lines(&p), 5);
    sb_text_fini(&p.in);

    /* Half a line and the end. */
    sim_conn_write(w.s, conn, "{\"verb\"", 7);
    sim_conn_close(w.s, conn);
    world_run(&w, SB_S);

    /* A line that never ends. */
    static char endless[SB_S / SB_MS * 1200];
    memset(endless, ' ', sizeof(endless));
    conn = dial(&p, 1000);
    sim_conn_write(w.s, conn, endless, sizeof(endless));
    world_run(&w, SB_S);
    assert_int_equal(lines(&p), 1);
    assert_non_null(strstr(p.in.data, "1 MiB"));
    assert_true(p.closed);
    sb_text_fini(&p.in);
    finish();
}

/* Replies larger than what the env queues arrive whole. */
static void test_large_reply(void **state)
{
    (void)state;
    begin(-1);
    for (unsigned i = 0; i < 600; i++) {
        char line[128];
        (void)snprintf(line, sizeof(line), "{\"verb\":\"warm\",\"names\":[\"big%u.example\"]}", i);
        json_decref(good(line));
        if (i % 50 == 0)
            world_run(&w, SB_S);
    }
    world_run(&w, SB_S);
    peer p;
    sb_socket conn = dial(&p, 0);
    for (unsigned i = 0; i < 20; i++)
        sim_conn_write(w.s, conn, "{\"verb\":\"cache-list\"}\n", 22);
    world_run(&w, 30 * SB_S);
    assert_int_equal(lines(&p), 20);
    assert_true(p.in.size > 1024 * 1024);
    sim_conn_close(w.s, conn);
    sb_text_fini(&p.in);
    world_run(&w, SB_S);
    finish();
}

/* The load of `count` names, a0000.example and so on, as one line. */
static char *load_line(unsigned count)
{
    static const char first[] = "056130303030"; /* a0000 */
    (void)resolve("a0000.example");
    json_t *template = dumped(), *entries = json_array();
    const char *hex = json_string_value(json_object_get(json_array_get(template, 0), "message"));
    for (unsigned i = 0; i < count; i++) {
        char digits[8], *copy = strdup(hex);
        char *at = strstr(copy, first);
        json_t *entry = json_copy(json_array_get(template, 0));
        assert_non_null(at);
        (void)snprintf(digits, sizeof(digits), "%04u", i);
        for (unsigned k = 0; k < 4; k++)
            at[5 + 2 * k] = digits[k];
        json_object_set_new(entry, "message", json_string(copy));
        json_array_append_new(entries, entry);
        free(copy);
    }
    json_t *request = json_pack("{s:s, s:o}", "verb", "load", "entries", entries);
    char *line = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    json_decref(template);
    json_decref(good("{\"verb\":\"flush\",\"all\":true}"));
    return line;
}

/* A long request goes on in slices, and others are served in between; its client may have said all
 * it has to say. */
static void test_slices(void **state)
{
    (void)state;
    peer p[2];
    begin(-1);
    char *line = load_line(1000);
    sb_socket conns[] = {dial(&p[0], 0), dial(&p[1], 0)};
    sim_conn_write(w.s, conns[0], line, strlen(line));
    sim_conn_write(w.s, conns[0], "\n{\"verb\":\"pins\"}\n", 18);
    sim_conn_shutdown(w.s, conns[0]);
    world_run(&w, 20 * SB_MS);
    assert_int_equal(lines(&p[0]), 0);
    sim_conn_write(w.s, conns[1], "{\"verb\":\"status\"}\n", 18);
    world_run(&w, 5 * SB_MS);
    assert_int_equal(lines(&p[1]), 1);
    assert_int_equal(lines(&p[0]), 0);
    world_run(&w, SB_S);
    assert_int_equal(lines(&p[0]), 2);
    assert_non_null(strstr(p[0].in.data, "\"loaded\":1000"));
    sb_text_fini(&p[0].in);

    /* One who goes away in the middle takes his request along. */
    sb_socket gone = dial(&p[0], 0);
    sim_conn_write(w.s, gone, line, strlen(line));
    sim_conn_write(w.s, gone, "\n", 1);
    world_run(&w, 5 * SB_MS);
    sim_conn_reset(w.s, gone);
    world_run(&w, 5 * SB_MS);
    sb_text_fini(&p[0].in);
    gone = dial(&p[0], 0);
    sim_conn_write(w.s, gone, line, strlen(line));
    sim_conn_write(w.s, gone, "\n", 1);
    world_run(&w, 5 * SB_MS);
    finish();
    sb_text_fini(&p[0].in);
    sb_text_fini(&p[1].in);
    free(line);
}

static double busy_s(const char *line, unsigned times)
{
    clock_t began = clock();
    while (times-- > 0)
        json_decref(good(line));
    return (double)(clock() - began) / CLOCKS_PER_SEC;
}

/* Pins are found by their key: what a request costs does not grow with the cache file. */
static void test_by_key(void **state)
{
    (void)state;
    static const size_t sizes[2] = {1 << 20, 64 << 20};
    double explain[2], load[2];
    for (size_t i = 0; i < 2; i++) {
        cache_bytes = sizes[i];
        begin(-1);
        cache_bytes = 0;
        char *line = load_line(200);
        json_decref(good("{\"verb\":\"pin\",\"name\":\"A.example\",\"addresses\":"
                         "[\"192.0.2.9\",\"2001:db8::9\"]}"));
        json_t *reply = good("{\"verb\":\"explain\",\"name\":\"a.example\"}");
        assert_int_equal(json_array_size(json_object_get(json_object_get(reply, "explain"), "pin")),
                         2);
        json_decref(reply);
        explain[i] = busy_s("{\"verb\":\"explain\",\"name\":\"a.example\"}", 200);
        load[i] = busy_s(line, 1);
        free(line);
        finish();
    }
    assert_true(explain[1] < 8 * explain[0] + 0.02);
    assert_true(load[1] < 8 * load[0] + 0.02);
}

static void test_client_limit(void **state)
{
    (void)state;
    peer crowd[40];
    begin(-1);
    for (size_t i = 0; i < SB_ARRAY_SIZE(crowd); i++)
        (void)dial(&crowd[i], 1000);
    world_run(&w, SB_S);
    size_t open = 0;
    for (size_t i = 0; i < SB_ARRAY_SIZE(crowd); i++)
        open += !crowd[i].closed;
    assert_int_equal(open, 32);
    assert_false(crowd[39].closed);
    assert_int_equal(world_count(&w, SB_COUNT_LIMIT_CONTROL), 8);
    finish();
}

static int teardown(void **state)
{
    (void)state;
    if (w.s)
        sim_free(w.s);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_permissions),  cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_life),         cmocka_unit_test(test_verbs),
        cmocka_unit_test(test_pin_over),     cmocka_unit_test(test_slices),
        cmocka_unit_test(test_by_key),       cmocka_unit_test(test_dump_and_load),
        cmocka_unit_test(test_regroup),      cmocka_unit_test(test_peers),
        cmocka_unit_test(test_stream),       cmocka_unit_test(test_large_reply),
        cmocka_unit_test(test_client_limit),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
