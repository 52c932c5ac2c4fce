/* See loop.h. */
#include "net/loop.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "dns/msg.h"
#include "dns/rdata.h"

/* Not one of the names resolvers answer by themselves (RFC 6761): it must pass every forwarder. */
#define SUFFIX "stubborn-loop"
#define QUERY_MAX 128

typedef struct probe {
    sb_loops *loops;
    sb_addr server; /* family 0: free */
    sb_socket socket;
    sb_name name;
    sb_ns sent_at;
    bool answered, met;
} probe;

struct sb_loops {
    sb_upstreams *ups;
    void (*changed)(void *context);
    void *context;
    sb_timer tell;
    probe probes[SB_LOOP_PROBES];
    unsigned next;
};

static void on_tell(sb_timer *timer);
static bool find_due(void *context, const sb_upstream *server);
static void settle(sb_loops *loops, probe *p);
static void send_probe(sb_loops *loops, const sb_addr *server);
static void answered(void *owner, sb_socket socket, const sb_datagram *datagram);
static void forget(sb_loops *loops, probe *p);

static const sb_udp_events probe_events = {answered, NULL};

sb_status sb_loops_new(sb_upstreams *ups, void (*changed)(void *context), void *context,
                       sb_loops **ret)
{
    sb_loops *loops = sb_new(sb_loops);
    if (!loops)
        return SB_NOMEM;
    loops->ups = ups;
    loops->changed = changed;
    loops->context = context;
    sb_timer_init(&loops->tell, on_tell);
    *ret = loops;
    return SB_OK;
}

void sb_loops_free(sb_loops *loops)
{
    if (!loops)
        return;
    sb_timer_stop(sb_upstreams_env(loops->ups), &loops->tell);
    for (unsigned i = 0; i < SB_LOOP_PROBES; i++)
        forget(loops, &loops->probes[i]);
    sb_free(loops);
}

static void on_tell(sb_timer *timer)
{
    sb_loops *loops = sb_container_of(timer, sb_loops, tell);
    loops->changed(loops->context);
}

static void tell(sb_loops *loops)
{
    sb_env *env = sb_upstreams_env(loops->ups);
    sb_timer_set(env, &loops->tell, sb_env_now(env));
}

typedef struct due {
    sb_loops *loops;
    sb_addr server;
} due;

void sb_loops_tick(sb_loops *loops)
{
    sb_ns now = sb_env_now(sb_upstreams_env(loops->ups));
    due search = {.loops = loops};
    for (unsigned i = 0; i < SB_LOOP_PROBES; i++) {
        probe *p = &loops->probes[i];
        if (p->server.family && now - p->sent_at >= SB_LOOP_ANSWER_WITHIN)
            settle(loops, p);
    }
    if (sb_upstreams_excluded_due(loops->ups, SB_LOOP_AGAIN, &search.server) ||
        !sb_upstreams_each(loops->ups, find_due, &search))
        send_probe(loops, &search.server);
}

/* New and perhaps a neighbour, or silent since it was probed. */
static bool find_due(void *context, const sb_upstream *server)
{
    due *search = context;
    sb_ns now = sb_env_now(sb_upstreams_env(search->loops->ups));
    bool fresh = sb_addr_is_private(&server->addr) &&
                 (server->loop_probed_at == 0 || now - server->loop_probed_at >= SB_LOOP_EVERY);
    bool silent = server->breaker != SB_BREAKER_CLOSED &&
                  server->opened_at >= server->loop_probed_at && server->opened_at > 0;
    if (server->tls || (!fresh && !silent))
        return true;
    search->server = server->addr;
    return false;
}

static bool label_of(const sb_name *name, char hex[17])
{
    static const char rest[] = "\x0d" SUFFIX;
    if (name->size != 17 + sizeof rest || name->wire[0] != 16 ||
        memcmp(name->wire + 17, rest, sizeof rest) != 0)
        return false;
    memcpy(hex, name->wire + 1, 16);
    hex[16] = '\0';
    return true;
}

bool sb_loop_is_probe(const sb_name *name)
{
    sb_name folded = *name;
    char hex[17];
    sb_name_fold(&folded);
    return label_of(&folded, hex);
}

bool sb_loops_met(sb_loops *loops, const sb_name *name)
{
    if (!sb_loop_is_probe(name))
        return false;
    for (unsigned i = 0; i < SB_LOOP_PROBES; i++) {
        probe *p = &loops->probes[i];
        if (p->server.family == 0 || !sb_name_equal(&p->name, name))
            continue;
        char text[SB_ADDR_TEXT_MAX], why[SB_ADDR_TEXT_MAX + 80];
        p->met = true;
        (void)snprintf(why, sizeof why,
                       "%s forwards to this daemon and is not asked, and there is no other",
                       sb_addr_text_port(&p->server, text));
        if (!sb_upstreams_exclude(loops->ups, &p->server, why))
            return true; /* known already */
        sb_count(sb_upstreams_stats(loops->ups), SB_COUNT_LOOPS);
        sb_events_emit(sb_upstreams_events(loops->ups),
                       (sb_event){.type = SB_EVENT_LOOP, .server = p->server});
        sb_log(UPSTREAM, WARN,
               "forwarding loop: the server sends our questions back, so it is not "
               "asked",
               "server=%s", sb_addr_text_port(&p->server, text));
        tell(loops);
        return true;
    }
    return false; /* another resolver's, or of long ago: a question like any other */
}

/* Nothing came back in time. */
static void settle(sb_loops *loops, probe *p)
{
    char text[SB_ADDR_TEXT_MAX];
    if (p->answered && !p->met && sb_upstreams_include(loops->ups, &p->server)) {
        sb_log(UPSTREAM, INFO, "no forwarding loop any more", "server=%s",
               sb_addr_text_port(&p->server, text));
        tell(loops);
    }
    forget(loops, p);
}

static void send_probe(sb_loops *loops, const sb_addr *server)
{
    sb_env *env = sb_upstreams_env(loops->ups);
    probe *p = &loops->probes[loops->next++ % SB_LOOP_PROBES];
    uint64_t word;
    uint16_t id;
    char text[64];
    uint8_t query[QUERY_MAX];
    forget(loops, p);
    env->ops->entropy(env, &word, sizeof word);
    env->ops->entropy(env, &id, sizeof id);
    int n = snprintf(text, sizeof text, "%016llx." SUFFIX, (unsigned long long)word);
    sb_upstreams_loop_probed(loops->ups, server);
    if (sb_name_parse(text, (size_t)n, &p->name, NULL) != SB_OK)
        return;
    sb_question question = {.name = p->name, .type = SB_TYPE_A, .class = SB_CLASS_IN};
    sb_builder b;
    sb_builder_init(&b, query, sizeof query, id, SB_FLAG_RD);
    sb_builder_question(&b, &question);
    size_t size = sb_builder_finish(&b);
    sb_udp_options options = {.local = {.family = server->family}, .remote = *server};
    if (env->ops->udp_open(env, &options, &probe_events, p, &p->socket, NULL) != SB_OK)
        return; /* tried again when it is silent for longer */
    p->loops = loops;
    p->server = *server;
    p->sent_at = sb_env_now(env);
    if (env->ops->udp_send(env, p->socket, NULL, NULL, query, size) != SB_OK)
        forget(loops, p);
}

static void answered(void *owner, sb_socket socket, const sb_datagram *datagram)
{
    (void)socket;
    (void)datagram;
    probe *p = owner;
    p->answered = true;
}

static void forget(sb_loops *loops, probe *p)
{
    sb_env *env = sb_upstreams_env(loops->ups);
    if (sb_socket_valid(p->socket))
        env->ops->close(env, p->socket);
    *p = (probe){0};
}
