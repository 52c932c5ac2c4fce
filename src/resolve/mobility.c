/* See mobility.h. */
#include "resolve/mobility.h"

#include "base/log.h"
#include "base/mem.h"
#include "dns/rdata.h"
#include "resolve/flight.h"
#include "resolve/scope.h"

/* At the start the tables are read within a millisecond; a kernel that does not answer shall not
 * hide for longer what is known of the last run's network. */
#define FIRST_READING_MOST (200 * SB_MS)
#define PARKED_LOOK (20 * SB_MS)

typedef struct parked {
    sb_question question;
    uint32_t view, flight;
    sb_ns said_at;
    const sb_answer *answer;
} parked;

typedef struct sighting {
    sb_addr addr;
    uint64_t owners[SB_SIGHTING_OWNERS];
    unsigned count;
} sighting;

struct sb_mobility {
    sb_engine *engine;
    sb_netmon *monitor;
    uint32_t network; /* the latest one there was; 0 none yet */
    uint32_t last;    /* the same, but for one that looks alike and whose gateway is not met yet */
    bool away;        /* without any network now */
    bool told;        /* the monitor has spoken in this run */
    sb_ns started, changed_at, moved_at, doubt_until;
    uint64_t moves;
    sb_timer park;
    parked parked[SB_PARKED_MAX];
    unsigned parked_count;
    sighting sightings[SB_SIGHTINGS_MAX];
    unsigned next_sighting;
};

static void changed(void *context, uint32_t old, uint32_t new);
static void reconnect(sb_mobility *m);
static void move(sb_mobility *m, uint32_t to);
static void release(sb_timer *timer);
static void drop_parked(sb_mobility *m);
static unsigned sight(sb_mobility *m, const sb_addr *addr, uint64_t owner);

sb_status sb_mobility_new(sb_engine *engine, sb_mobility **ret)
{
    sb_mobility *m = sb_new(sb_mobility);
    if (!m)
        return SB_NOMEM;
    sb_l1_header_info header;
    m->engine = engine;
    m->network = sb_l1_reader_header(sb_l1_reader_of(engine->l1), &header) ? header.network : 0;
    m->last = m->network;
    m->started = sb_env_now(engine->env);
    sb_timer_init(&m->park, release);
    sb_status status =
        sb_netmon_new(engine->env, &engine->stats, m->network, changed, m, &m->monitor);
    if (status != SB_OK) {
        sb_free(m);
        return status;
    }
    *ret = m;
    return SB_OK;
}

void sb_mobility_free(sb_mobility *m)
{
    if (!m)
        return;
    sb_timer_stop(m->engine->env, &m->park);
    drop_parked(m);
    sb_netmon_free(m->monitor);
    sb_free(m);
}

uint32_t sb_mobility_network(const sb_mobility *m)
{
    if (!m)
        return 0;
    /* Where the monitor cannot look, nothing says that this is another network than the last. */
    bool known = m->told || !sb_netmon_network(m->monitor)->available ||
                 sb_env_now(m->engine->env) - m->started >= FIRST_READING_MOST;
    return known ? m->network : 0;
}

bool sb_mobility_unsettled(const sb_mobility *m)
{
    return m && sb_netmon_unsettled(m->monitor);
}

sb_ns sb_mobility_doubt_until(const sb_mobility *m)
{
    return m ? m->doubt_until : 0;
}

sb_mobility_info sb_engine_mobility(const sb_engine *engine)
{
    const sb_mobility *m = engine->mobility;
    return (sb_mobility_info){
        .network = sb_netmon_network(m->monitor),
        .scope = sb_mobility_network(m),
        .unsettled = sb_mobility_unsettled(m),
        .changed_at = m->changed_at,
        .doubt_until = m->doubt_until > sb_env_now(engine->env) ? m->doubt_until : 0,
        .moves = m->moves,
    };
}

/* ---- what a change means ---- */

static void changed(void *context, uint32_t old, uint32_t new)
{
    sb_mobility *m = context;
    sb_engine *e = m->engine;
    bool first = !m->told, was_away = m->away;
    m->told = true;
    m->away = new == 0;
    if (!first)
        m->changed_at = sb_env_now(e->env);
    sb_events_emit(&e->events,
                   (sb_event){.type = SB_EVENT_NETWORK, .a = first ? m->network : old, .b = new});
    if (new == 0) { /* nothing can be asked, and what is known of the last one is all there is */
        drop_parked(m); /* of the last one, or of one that came and went before it was noticed */
        return;
    }
    if (m->last != 0 && !sb_scope_same(m->last, new)) {
        move(m, new);
    } else {
        bool reach = !first && (m->network == new || was_away);
        m->network = new;
        if (m->last == 0 || (new &UINT16_MAX) != 0)
            m->last = new; /* a half that is not known is no other one */
        sb_l1_set_network(e->l1, new);
        if (reach)
            reconnect(m);
    }
    release(&m->park);
}

/* Sockets may be dead and servers need not be: what was on its way goes out anew. What lived or
 * not, and what the DNS said of a pinned name, was so as seen from there. */
static void reconnect(sb_mobility *m)
{
    sb_engine *e = m->engine;
    sb_endpoints_void(e->endpoints);
    sb_pins_moved(e);
    sb_flights_ground(e);
    sb_engine_reset_upstreams(e);
    sb_flights_resume(e);
}

static void move(sb_mobility *m, uint32_t to)
{
    sb_engine *e = m->engine;
    sb_ns now = sb_env_now(e->env), window = e->settings->query.doubt_window;
    uint32_t from = m->network;
    drop_parked(m); /* nobody can say on which of the two they were learned */
    m->network = m->last = to;
    m->moved_at = now;
    m->doubt_until = now + window;
    m->moves++;
    m->next_sighting = 0;
    for (unsigned i = 0; i < SB_SIGHTINGS_MAX; i++)
        m->sightings[i].count = 0;
    sb_count(&e->stats, SB_COUNT_NETWORK_MOVES);
    sb_l1_set_network(e->l1, to);
    sb_log(NET, INFO, "moved to another network", "from=%08x to=%08x doubt_s=%lld", from, to,
           (long long)(window / SB_S));
    reconnect(m);
}

/* ---- answers of a network that is not known yet ---- */

void sb_mobility_park(sb_mobility *m, const sb_asked *asked, const sb_answer *answer, sb_ns said_at)
{
    sb_netmon_look(m->monitor);
    if (m->parked_count == SB_PARKED_MAX) { /* asked again soon */
        sb_count(&m->engine->stats, SB_COUNT_LIMIT_PARKED);
        return;
    }
    m->parked[m->parked_count++] = (parked){.question = asked->question,
                                            .view = asked->view,
                                            .flight = asked->flight,
                                            .said_at = said_at,
                                            .answer = sb_answer_ref(answer)};
    if (!sb_timer_armed(&m->park))
        sb_timer_set(m->engine->env, &m->park, sb_env_now(m->engine->env) + PARKED_LOOK);
}

static void release(sb_timer *timer)
{
    sb_mobility *m = sb_container_of(timer, sb_mobility, park);
    sb_engine *e = m->engine;
    sb_timer_stop(e->env, &m->park);
    if (m->parked_count > 0 && sb_netmon_unsettled(m->monitor)) {
        sb_netmon_look(m->monitor);
        sb_timer_set(e->env, &m->park, sb_env_now(e->env) + PARKED_LOOK);
        return;
    }
    for (unsigned i = 0; i < m->parked_count; i++) {
        const parked *p = &m->parked[i];
        sb_asked asked = {.question = p->question, .view = p->view, .flight = p->flight};
        sb_engine_learn(e, &asked, p->answer, p->said_at, SB_BELIEF_WHOLE);
    }
    drop_parked(m);
}

static void drop_parked(sb_mobility *m)
{
    for (unsigned i = 0; i < m->parked_count; i++)
        sb_answer_unref(m->parked[i].answer);
    m->parked_count = 0;
}

/* ---- captive portals ---- */

size_t sb_mobility_last_good(const sb_ctx *ctx, const sb_asked *asked, sb_addr *ret_addresses,
                             size_t max)
{
    sb_tick window = sb_l1_tick_at(ctx->l1, ctx->mobility->moved_at);
    sb_question question = asked->question;
    for (unsigned variant = 0; variant < 4; variant++) {
        sb_l1_key key = {.question = &question, .view = asked->view};
        sb_l1_entry entry;
        question.dnssec_ok = variant & 1;
        question.checking_disabled = variant & 2;
        /* What was never validated stands for nothing that was. */
        if (question.checking_disabled && !asked->question.checking_disabled)
            continue;
        if (sb_l1_find(sb_l1_reader_of(ctx->l1), &key, ctx->scratch, &entry) != SB_OK ||
            entry.kind != SB_KIND_POSITIVE || entry.life.learned >= window ||
            sb_l1_freshness(&entry, sb_l1_now(ctx->l1)) == SB_DEAD)
            continue;
        sb_answer *answer = sb_answer_of_entry(&entry);
        size_t n = answer ? sb_answer_addresses(answer, ret_addresses, max) : 0;
        sb_answer_unref(answer);
        if (n > 0)
            return n;
    }
    return 0;
}

static bool in_window(const sb_ctx *ctx)
{
    return ctx->mobility && sb_env_now(ctx->env) < ctx->mobility->doubt_until;
}

static bool disjoint(const sb_addr *a, size_t n, const sb_addr *b, size_t m)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < m; k++)
            if (sb_addr_same_host(&a[i], &b[k]))
                return false;
    return true;
}

static bool any_private(const sb_addr *addresses, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (sb_scope_address(&addresses[i]))
            return true;
    return false;
}

bool sb_mobility_contradicts(const sb_ctx *ctx, const sb_asked *asked, const sb_answer *answer)
{
    sb_addr now[32], good[32];
    if (!in_window(ctx) || !sb_type_is_address(asked->question.type) ||
        answer->kind != SB_KIND_POSITIVE)
        return false;
    size_t n = sb_answer_addresses(answer, now, SB_ARRAY_SIZE(now));
    size_t m = sb_mobility_last_good(ctx, asked, good, SB_ARRAY_SIZE(good));
    return n > 0 && m > 0 && disjoint(now, n, good, m);
}

static bool says_one_of(const sb_l1_entry *entry, const sb_addr *addresses, size_t n)
{
    sb_addr said[32];
    sb_answer *answer = sb_answer_of_entry(entry);
    size_t m = answer ? sb_answer_addresses(answer, said, SB_ARRAY_SIZE(said)) : 0;
    sb_answer_unref(answer);
    return !disjoint(said, m, addresses, n);
}

/* What was taken for this network's own word before it was suspected; not what the network is known
 * to say, learned once more. */
static void drop_taken_in(const sb_ctx *ctx, const sb_asked *asked, const sb_addr *suspected,
                          size_t n)
{
    const sb_mobility *m = ctx->mobility;
    sb_question question = asked->question;
    sb_tick window = sb_l1_tick_at(ctx->l1, m->moved_at);
    for (unsigned variant = 0; variant < 4; variant++) {
        sb_l1_key key = {.question = &question, .view = sb_scope_view(asked->view, m->network)};
        sb_l1_entry entry;
        question.dnssec_ok = variant & 1;
        question.checking_disabled = variant & 2;
        if (sb_l1_find(sb_l1_reader_of(ctx->l1), &key, ctx->scratch, &entry) != SB_OK ||
            entry.life.learned < window ||
            (!(entry.flags & SB_L1_TENTATIVE) && !says_one_of(&entry, suspected, n)))
            continue;
        sb_status status = sb_l1_remove(m->engine->l1, &key);
        (void)status; /* it was there */
    }
}

bool sb_mobility_suspects(const sb_ctx *ctx, const sb_asked *asked, const sb_answer *answer,
                          const char **ret_reason)
{
    sb_addr now[32], good[32];
    if (!in_window(ctx) || !sb_type_is_address(asked->question.type))
        return false;
    /* Related is what shares its last two labels. */
    unsigned labels = sb_name_labels(&asked->question.name);
    sb_name owner = sb_name_parent(&asked->question.name, labels > 2 ? labels - 2 : 0);
    size_t n = sb_answer_addresses(answer, now, SB_ARRAY_SIZE(now));
    unsigned crowd = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned owners = sight(ctx->mobility, &now[i], sb_name_digest(&owner));
        crowd = owners > crowd ? owners : crowd;
    }
    size_t m = sb_mobility_last_good(ctx, asked, good, SB_ARRAY_SIZE(good));
    if (n == 0 || m == 0 || !disjoint(now, n, good, m))
        return false;
    bool turned = any_private(now, n) && !any_private(good, m) && !sb_scoped_known(ctx, asked);
    if (!turned && crowd < SB_SIGHTING_OWNERS)
        return false;
    *ret_reason = turned ? "a public name turned private just after a network change"
                         : "many names turned up on one address just after a network change";
    sb_count(ctx->stats, SB_COUNT_NETWORK_SUSPECTED);
    drop_taken_in(ctx, asked, now, n);
    return true;
}

/* How many unrelated names have been seen on the address, this one included. */
static unsigned sight(sb_mobility *m, const sb_addr *addr, uint64_t owner)
{
    sighting *s = NULL;
    for (unsigned i = 0; i < SB_SIGHTINGS_MAX && !s; i++)
        if (m->sightings[i].count > 0 && sb_addr_same_host(&m->sightings[i].addr, addr))
            s = &m->sightings[i];
    if (!s) {
        s = &m->sightings[m->next_sighting++ % SB_SIGHTINGS_MAX];
        *s = (sighting){.addr = *addr};
    }
    for (unsigned i = 0; i < s->count; i++)
        if (s->owners[i] == owner)
            return s->count;
    if (s->count < SB_SIGHTING_OWNERS)
        s->owners[s->count++] = owner;
    return s->count;
}
