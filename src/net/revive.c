/* See revive.h. */
#include "net/revive.h"

#include "base/mem.h"
#include "dns/rdata.h"

#define DEAD_EVERY SB_S
#define DOUBTFUL_EVERY (100 * SB_MS)
/* Nobody waits: a server that got slow may show it. Two dead ones are looked at in turns, one a
 * second: back within two. */
#define PROBE_TIMEOUT (1900 * SB_MS)

typedef struct probe {
    sb_exchange exchange; /* first */
    sb_list link;
    bool verifies;
} probe;

struct sb_reviver {
    sb_upstreams *ups;
    sb_list probes;
    sb_ns dead_at; /* next probe of a dead pool */
};

static void verify(void *context, sb_upstream *server);

sb_status sb_reviver_new(sb_upstreams *ups, sb_reviver **ret)
{
    sb_reviver *r = sb_new(sb_reviver);
    if (!r)
        return SB_NOMEM;
    r->ups = ups;
    sb_list_init(&r->probes);
    sb_upstreams_on_silence(ups, verify, r);
    *ret = r;
    return SB_OK;
}

static void probe_free(probe *p)
{
    sb_list_remove(&p->link);
    sb_exchange_fini(&p->exchange);
    sb_free(p);
}

void sb_reviver_free(sb_reviver *reviver)
{
    if (!reviver)
        return;
    sb_upstreams_on_silence(reviver->ups, NULL, NULL);
    sb_list_each_safe (it, &reviver->probes) {
        probe *p = sb_container_of(it, probe, link);
        sb_op_cancel(&p->exchange.op);
        probe_free(p);
    }
    sb_free(reviver);
}

static void probe_done(sb_op *op)
{
    probe *p = sb_container_of(sb_container_of(op, sb_exchange, op), probe, exchange);
    if (p->verifies && op->status == SB_LIMIT)
        p->exchange.server->suspicion = SB_SUSPICION_NONE; /* it was not asked: next time */
    else if (p->verifies)
        sb_upstream_verified(p->exchange.ups, p->exchange.server);
    probe_free(p);
}

static bool start(sb_reviver *r, sb_upstream *server, const sb_question *question, sb_ns timeout,
                  bool verifies)
{
    probe *p = sb_new(probe);
    if (!p)
        return false; /* the next question tries again */
    sb_list_init(&p->link);
    sb_list_push(&r->probes, &p->link);
    sb_ns now = sb_env_now(sb_upstreams_env(r->ups));
    p->verifies = verifies;
    sb_exchange_start(&p->exchange, r->ups, server, question, 0, NULL, now + timeout, probe_done);
    p->exchange.sends_max = 1; /* the next probe is the repetition */
    return true;
}

/* Silent, or only slow with what it was asked? What it answered last it answers at once. */
static void verify(void *context, sb_upstream *server)
{
    sb_reviver *r = context;
    sb_question question = server->answered;
    if (question.name.size == 0)
        question = (sb_question){.name = {.size = 1}, .type = SB_TYPE_NS, .class = SB_CLASS_IN};
    sb_ns silence = sb_upstream_silence(server);
    if (!start(r, server, &question, silence < PROBE_TIMEOUT ? silence : PROBE_TIMEOUT, true))
        sb_upstream_verified(r->ups, server);
}

/* One of them answered a moment ago: it may be some names that are broken, not the servers. */
static bool is_doubtful(const sb_reviver *r, const sb_pool *pool)
{
    for (unsigned i = 0; i < pool->count; i++)
        if (sb_upstream_works(r->ups, pool->servers[i]))
            return true;
    return false;
}

/* The look at it that is under way: its query may be lost, or was before the server came back. */
static bool repeat(sb_reviver *r, sb_upstream *server)
{
    sb_list_each (it, &r->probes) {
        sb_exchange *x = &sb_container_of(it, probe, link)->exchange;
        unsigned before = x->sends;
        if (x->server != server || !sb_op_running(&x->op))
            continue;
        x->sends_max = (uint8_t)(before + 1);
        sb_exchange_repeat(x);
        return sb_op_running(&x->op) && x->sends > before;
    }
    return false; /* somebody's question is the probe */
}

const sb_pool *sb_reviver_tick(sb_reviver *reviver)
{
    const sb_pool *pool;
    sb_upstream *server;
    sb_ns now = sb_env_now(sb_upstreams_env(reviver->ups));
    /* One pace for all, and turns: a route that stays dead must not keep another from recovering.
     */
    if (now < reviver->dead_at || !sb_upstreams_longest_dead(reviver->ups, &pool, &server))
        return NULL;
    server->probed_at = now; /* whatever comes of it, others have their turn */
    if (server->breaker == SB_BREAKER_HALF_OPEN
            ? !repeat(reviver, server)
            : !start(reviver, server, &pool->probe, PROBE_TIMEOUT, false))
        return NULL;
    reviver->dead_at = now + (is_doubtful(reviver, pool) ? DOUBTFUL_EVERY : DEAD_EVERY);
    return pool;
}

bool sb_reviver_use(sb_reviver *reviver, const sb_pool *pool, const sb_question *question)
{
    sb_ns now = sb_env_now(sb_upstreams_env(reviver->ups));
    if (sb_pool_dead(reviver->ups, pool)) {
        sb_upstreams_remember(reviver->ups, question, false);
        return sb_reviver_tick(reviver) == pool;
    }
    for (unsigned i = 0; i < pool->count; i++) {
        sb_upstream *server = pool->servers[i];
        if (server->breaker == SB_BREAKER_OPEN && server->open_until <= now)
            (void)start(reviver, server, question, PROBE_TIMEOUT, false);
    }
    return false;
}

sb_ns sb_reviver_next(const sb_reviver *reviver)
{
    return reviver->dead_at;
}

void sb_reviver_reset(sb_reviver *reviver)
{
    reviver->dead_at = 0;
}
