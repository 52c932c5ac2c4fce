/* See endpoint.h. */
#include "resolve/endpoint.h"

#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "dns/rdata.h"

#define KEY_MAX 24

/* Both kinds, one after the other: most addresses in use have a connection, and need no packet. */
typedef struct look {
    sb_diag diag;
    sb_probe probe;
    struct endpoint *endpoint;
} look;

typedef struct endpoint {
    sb_map_node node;
    sb_list age; /* looked at longest ago first */
    uint8_t key[KEY_MAX];
    sb_addr addr;
    sb_endpoints *endpoints;
    look *look; /* under way, or NULL */
    sb_ns begun_at, found_at;
    uint8_t life; /* sb_liveness */
} endpoint;

struct sb_endpoints {
    sb_env *env;
    sb_events *events;
    sb_probes probes;
    sb_map map;
    sb_list by_age;
};

static size_t key_of(const sb_addr *addr, uint8_t *ret_key);
static endpoint *find(const sb_endpoints *endpoints, const sb_addr *addr);
static endpoint *obtain(sb_endpoints *endpoints, const sb_addr *addr);
static void drop(endpoint *e);
static void diag_done(sb_op *op);
static void probe_done(sb_op *op);
static void found(endpoint *e, sb_liveness life);

sb_status sb_endpoints_new(sb_env *env, sb_stats *stats, sb_events *events,
                           const uint8_t secret[16], sb_endpoints **ret)
{
    sb_endpoints *endpoints = sb_new(sb_endpoints);
    if (!endpoints || sb_map_init(&endpoints->map, secret) != SB_OK) {
        sb_free(endpoints);
        return SB_NOMEM;
    }
    endpoints->env = env;
    endpoints->events = events;
    sb_probes_init(&endpoints->probes, env, stats);
    sb_list_init(&endpoints->by_age);
    *ret = endpoints;
    return SB_OK;
}

void sb_endpoints_free(sb_endpoints *endpoints)
{
    if (!endpoints)
        return;
    while (!sb_list_empty(&endpoints->by_age))
        drop(sb_container_of(endpoints->by_age.next, endpoint, age));
    sb_map_fini(&endpoints->map);
    sb_free(endpoints);
}

void sb_endpoints_look(sb_endpoints *endpoints, const sb_addr *addr, sb_ns every)
{
    sb_ns now = sb_env_now(endpoints->env);
    endpoint *e = obtain(endpoints, addr);
    if (every < SB_LOOK_AGAIN)
        every = SB_LOOK_AGAIN;
    if (!e || e->look || (e->begun_at > 0 && now - e->begun_at < every))
        return;
    if (!(e->look = sb_new(look)))
        return;
    e->begun_at = now;
    e->look->endpoint = e;
    sb_list_remove(&e->age);
    sb_list_push(&endpoints->by_age, &e->age);
    sb_diag_start(&e->look->diag, &endpoints->probes, addr, NULL, SB_NEVER, diag_done);
}

sb_liveness sb_endpoints_life(const sb_endpoints *endpoints, const sb_addr *addr, sb_ns *ret_at)
{
    const endpoint *e = find(endpoints, addr);
    if (!e || e->life == SB_LIVENESS_UNKNOWN ||
        sb_env_now(endpoints->env) - e->found_at > SB_LIFE_HOLDS)
        return SB_LIVENESS_UNKNOWN;
    if (ret_at)
        *ret_at = e->found_at;
    return (sb_liveness)e->life;
}

bool sb_endpoints_looking(const sb_endpoints *endpoints, const sb_addr *addr)
{
    const endpoint *e = find(endpoints, addr);
    return e && e->look;
}

void sb_endpoints_void(sb_endpoints *endpoints)
{
    sb_list_each_safe (it, &endpoints->by_age)
        drop(sb_container_of(it, endpoint, age));
}

static sb_addr with_port(const sb_addr *addr, uint16_t port)
{
    sb_addr whole = *addr;
    whole.port = port;
    return whole;
}

void sb_endpoints_look_all(sb_endpoints *endpoints, const sb_addr *addrs, size_t count,
                           uint16_t port, sb_ns every)
{
    for (size_t i = 0; i < count && i < SB_LOOKS_MAX; i++) {
        sb_addr addr = with_port(&addrs[i], port);
        sb_endpoints_look(endpoints, &addr, every);
    }
}

bool sb_endpoints_looking_any(const sb_endpoints *endpoints, const sb_addr *addrs, size_t count,
                              uint16_t port)
{
    for (size_t i = 0; i < count && i < SB_LOOKS_MAX; i++) {
        sb_addr addr = with_port(&addrs[i], port);
        if (sb_endpoints_looking(endpoints, &addr))
            return true;
    }
    return false;
}

sb_liveness sb_endpoints_life_of(const sb_endpoints *endpoints, const sb_addr *addrs, size_t count,
                                 uint16_t port)
{
    sb_liveness best = SB_LIVENESS_DEAD;
    bool all = count > 0;
    for (size_t i = 0; i < count; i++) {
        sb_addr addr = with_port(&addrs[i], port);
        sb_liveness life = sb_endpoints_life(endpoints, &addr, NULL);
        all &= life != SB_LIVENESS_UNKNOWN;
        if (life > best)
            best = life;
    }
    return best == SB_LIVENESS_ALIVE || all ? best : SB_LIVENESS_UNKNOWN;
}

typedef struct living {
    const sb_endpoints *endpoints;
    uint16_t port;
} living;

static bool may_live(void *context, const sb_addr *addr)
{
    const living *l = context;
    sb_addr whole = with_port(addr, l->port);
    sb_liveness life = sb_endpoints_life(l->endpoints, &whole, NULL);
    return life != SB_LIVENESS_DEAD && life != SB_LIVENESS_HOST;
}

sb_status sb_endpoints_qualify(const sb_endpoints *endpoints, const sb_answer *answer,
                               uint16_t port, sb_answer **ret_answer)
{
    sb_addr addrs[32];
    living l = {.endpoints = endpoints, .port = port};
    size_t n = sb_answer_addresses(answer, addrs, SB_ARRAY_SIZE(addrs)), gone = 0;
    /* A signature over the whole set would not fit what is left of it. */
    if (n < 2 || answer->dnssec_ok ||
        sb_endpoints_life_of(endpoints, addrs, n, port) != SB_LIVENESS_ALIVE)
        return SB_NOTFOUND;
    for (size_t i = 0; i < n; i++)
        gone += !may_live(&l, &addrs[i]);
    return gone > 0 ? sb_answer_filter(answer, may_live, &l, ret_answer) : SB_NOTFOUND;
}

static size_t key_of(const sb_addr *addr, uint8_t *ret_key)
{
    sb_writer w = sb_writer_of(ret_key, KEY_MAX);
    sb_write_bytes(&w, addr->bytes, 16);
    sb_write_u32(&w, addr->scope);
    sb_write_u16(&w, addr->port);
    sb_write_u8(&w, addr->family);
    return w.size;
}

static endpoint *find(const sb_endpoints *endpoints, const sb_addr *addr)
{
    uint8_t key[KEY_MAX];
    size_t size = key_of(addr, key);
    sb_map_node *node = sb_map_find(&endpoints->map, key, size);
    return node ? sb_container_of(node, endpoint, node) : NULL;
}

static endpoint *obtain(sb_endpoints *endpoints, const sb_addr *addr)
{
    endpoint *e = find(endpoints, addr);
    if (e)
        return e;
    if (endpoints->map.count >= SB_ENDPOINTS_MAX)
        drop(sb_container_of(endpoints->by_age.next, endpoint, age));
    if (!(e = sb_new(endpoint)))
        return NULL;
    e->endpoints = endpoints;
    e->addr = *addr;
    sb_list_init(&e->age);
    sb_list_push(&endpoints->by_age, &e->age);
    sb_map_insert(&endpoints->map, &e->node, e->key, key_of(addr, e->key));
    return e;
}

static void drop(endpoint *e)
{
    if (e->look) {
        sb_op_cancel(&e->look->diag.op);
        sb_op_cancel(&e->look->probe.op);
        sb_free(e->look);
    }
    sb_map_remove(&e->endpoints->map, &e->node);
    sb_list_remove(&e->age);
    sb_free(e);
}

static void diag_done(sb_op *op)
{
    look *l = sb_container_of(sb_container_of(op, sb_diag, op), look, diag);
    endpoint *e = l->endpoint;
    if (op->status == SB_OK)
        found(e, SB_LIVENESS_ALIVE);
    else if (e->addr.port == 0)
        found(e, SB_LIVENESS_UNKNOWN); /* nobody here is talking to it: that says nothing */
    else
        sb_probe_start(&l->probe, &e->endpoints->probes, &e->addr, NULL, SB_NEVER, probe_done);
}

static void probe_done(sb_op *op)
{
    look *l = sb_container_of(sb_container_of(op, sb_probe, op), look, probe);
    found(l->endpoint, (sb_liveness)l->probe.liveness);
}

/* The end of a look. What could not be found out leaves what was known. */
static void found(endpoint *e, sb_liveness life)
{
    sb_endpoints *endpoints = e->endpoints;
    sb_liveness before = (sb_liveness)e->life;
    sb_free(e->look);
    e->look = NULL;
    if (life == SB_LIVENESS_UNKNOWN)
        return;
    e->life = (uint8_t)life;
    e->found_at = sb_env_now(endpoints->env);
    if (endpoints->events)
        sb_events_emit(
            endpoints->events,
            (sb_event){.type = SB_EVENT_PROBE, .server = e->addr, .a = life, .b = before});
    if (life == before)
        return;
    char text[SB_ADDR_TEXT_MAX];
    sb_log(RESOLVE, INFO, "endpoint looked at", "address=%s life=%s before=%s",
           e->addr.port ? sb_addr_text_port(&e->addr, text) : sb_addr_text(&e->addr, text),
           sb_liveness_text(life), sb_liveness_text(before));
}
