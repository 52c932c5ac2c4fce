/* The engine's life: birth, reload, the one-second tick, pins and flushing. See engine.h. */
#include "base/log.h"
#include "base/mem.h"
#include "dns/rdata.h"
#include "resolve/flight.h"
#include "resolve/scope.h"

#define SWEEP_BUCKETS                                                                              \
    256 /* per second: a 64 MiB file is swept within the hour, at microseconds a turn */
#define SWEEP_BYTES_PER_BUCKET 4096 /* below 1 MiB: the whole file within half a minute */
#define HOSTS_EVERY_TICKS 2
#define RESOLV_EVERY_TICKS 1
#define RESOLV_CONF_MAX (64 * 1024)

static void on_recovery(void *context)
{
    sb_engine *engine = context;
    sb_troubles_void(&engine->troubles);
    sb_refresh_recovered(engine);
}

/* Also another file behind a link that moved, however alike. */
static bool same_file(const sb_file_stat *a, const sb_file_stat *b)
{
    return a->exists == b->exists && a->inode == b->inode && a->device == b->device &&
           a->size == b->size && a->modified_ns == b->modified_ns && a->changed_ns == b->changed_ns;
}

/* A file that is being rewritten, whose link dangles, that cannot be read or names nobody who can
 * be asked must not take the servers away: those of before go on, and it is read again. */
static sb_status read_resolv(sb_engine *e, const sb_file_stat *now)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    sb_resolv_conf *resolv = sb_new(sb_resolv_conf);
    if (!resolv)
        return SB_NOMEM;
    sb_status status =
        e->env->ops->file_read(e->env, e->resolv_path, RESOLV_CONF_MAX, &bytes, &size, NULL);
    if (status == SB_OK)
        sb_resolv_conf_parse(bytes, size, resolv);
    sb_free(bytes);
    if (status == SB_OK &&
        sb_upstreams_any_usable(e->upstreams, e->settings, resolv->servers, resolv->server_count)) {
        sb_free(e->resolv);
        e->resolv = resolv;
        e->resolv_seen = *now;
        e->resolv_bad = false;
        return SB_OK;
    }
    if (e->resolv && !e->resolv_bad)
        sb_log(UPSTREAM, WARN, "name servers kept", "path=%s reason=\"%s\"", e->resolv_path,
               status == SB_OK ? "the file names none that can be asked" : sb_status_text(status));
    e->resolv_bad = true;
    sb_free(resolv);
    return SB_NOTFOUND;
}

/* Reads resolv.conf when it changed, or when forced; the settings' own servers win. */
static sb_status configure_upstreams(sb_engine *e, bool force)
{
    bool concerns = e->resolv_path && e->settings->upstream_count == 0;
    sb_file_stat now = {0};
    if (concerns)
        e->env->ops->file_stat(e->env, e->resolv_path, &now);
    bool changed = concerns && !same_file(&now, &e->resolv_seen);
    e->resolv_bad = e->resolv_bad && changed; /* the file of before is back */
    sb_status read = concerns && (changed || force) ? read_resolv(e, &now) : SB_NOTFOUND;
    if (read == SB_NOMEM || (read != SB_OK && !force))
        return read == SB_NOMEM ? read : SB_OK;
    if (changed && read == SB_OK)
        sb_upstreams_include_all(e->upstreams);
    sb_status status = sb_upstreams_configure(e->upstreams, e->settings, e->resolv);
    if (!force && status == SB_OK) {
        sb_log(UPSTREAM, INFO, "name servers read again", "path=%s servers=%zu", e->resolv_path,
               e->resolv->server_count);
        sb_upstreams_reset(e->upstreams);
        on_recovery(e);
    }
    return status;
}

/* A server was found in a forwarding loop, or out of it. */
static void on_loops(void *context)
{
    sb_engine *e = context;
    if (configure_upstreams(e, true) != SB_OK)
        sb_log(UPSTREAM, WARN, "servers not arranged anew", "reason=memory");
    on_recovery(e);
}

/* With every server of a route dead a real question goes out once a second, also when nobody asks
 * (DESIGN §5). */
static void probe_dead(sb_timer *timer)
{
    sb_engine *e = sb_container_of(timer, sb_engine, probe);
    (void)sb_reviver_tick(e->reviver);
    /* None to probe now: all are alive, or their probes are under way and end in time to come back.
     */
    sb_ns soon = sb_env_now(e->env) + 100 * SB_MS, next = sb_reviver_next(e->reviver);
    if (sb_upstreams_any_dead(e->upstreams))
        sb_timer_set(e->env, timer, next > soon ? next : soon);
}

void sb_engine_watch_dead(sb_engine *engine, const sb_question *failed)
{
    sb_upstreams_remember(engine->upstreams, failed, false);
    if (!sb_timer_armed(&engine->probe) && sb_upstreams_any_dead(engine->upstreams))
        sb_timer_set(engine->env, &engine->probe, sb_reviver_next(engine->reviver));
}

static void set_counter(sb_engine *e, sb_counter counter, uint64_t value)
{
    atomic_store_explicit(&e->stats.counters[counter], value, memory_order_relaxed);
}

/* A share of the file: a small one need not be gone through every second. */
static void sweep(sb_engine *e)
{
    sb_l1_stats s;
    sb_l1_get_stats(e->l1, &s);
    uint64_t share = s.capacity_bytes / SWEEP_BYTES_PER_BUCKET + 1;
    sb_l1_sweep(e->l1, share < SWEEP_BUCKETS ? (unsigned)share : SWEEP_BUCKETS);
}

static void take_cache_stats(sb_engine *e)
{
    sb_l1_stats s;
    sb_l1_get_stats(e->l1, &s);
    set_counter(e, SB_COUNT_CACHE_WRITES, s.writes);
    set_counter(e, SB_COUNT_CACHE_EVICTIONS, s.evictions);
    set_counter(e, SB_COUNT_CACHE_EXPIRED, s.expired);
    set_counter(e, SB_COUNT_CACHE_DROPPED, s.dropped);
    set_counter(e, SB_COUNT_CACHE_TOO_BIG, s.too_big);
}

static void refresh_hosts(sb_engine *e)
{
    if (sb_hosts_refresh(e->hosts))
        sb_l1_bump_policy(e->l1, e->settings->hash, NULL);
}

void sb_engine_reset_upstreams(sb_engine *e)
{
    sb_upstreams_include_all(e->upstreams);
    if (configure_upstreams(e, true) != SB_OK) /* those of before go on */
        sb_log(UPSTREAM, WARN, "name servers not read", "path=%s",
               e->resolv_path ? e->resolv_path : "none");
    sb_upstreams_reset(e->upstreams);
    sb_reviver_reset(e->reviver);
    on_recovery(e);
}

static void tick(sb_timer *timer)
{
    sb_engine *e = sb_container_of(timer, sb_engine, tick);
    e->ticks++;
    sb_l1_heartbeat(e->l1);
    sweep(e);
    take_cache_stats(e);
    if (e->ticks % HOSTS_EVERY_TICKS == 0)
        refresh_hosts(e);
    /* Out of memory here: the servers of before go on serving. */
    if (e->ticks % RESOLV_EVERY_TICKS == 0 && configure_upstreams(e, false) != SB_OK)
        sb_log(UPSTREAM, WARN, "name servers not read", "path=%s", e->resolv_path);
    sb_services_tick(e);
    sb_refresh_tick(e);
    sb_loops_tick(e->loops);
    sb_pins_tick(e);
    sb_timer_set(e->env, &e->tick, sb_env_now(e->env) + SB_S);
}

sb_status sb_engine_new(const sb_engine_options *options, sb_engine **ret, sb_why *why)
{
    sb_status status = SB_NOMEM;
    uint8_t secret[16];
    sb_engine *e = sb_new(sb_engine);
    if (!e)
        return sb_why_set(why, SB_NOMEM, "out of memory for the engine");
    e->env = options->env;
    e->l1 = options->l1;
    e->settings = sb_settings_ref(options->settings);
    e->env->ops->entropy(e->env, secret, sizeof secret);
    sb_stats_init(&e->stats);
    sb_list_init(&e->flights_by_age);
    sb_timer_init(&e->tick, tick);
    sb_timer_init(&e->probe, probe_dead);
    sb_timer_init(&e->recovery, sb_refresh_recovery_fire);
    if (!(e->scratch = sb_alloc(sizeof *e->scratch)) || sb_map_init(&e->flights, secret) != SB_OK ||
        sb_troubles_init(&e->troubles, secret) != SB_OK ||
        sb_events_init(&e->events, e->env, options->event_capacity) != SB_OK ||
        sb_hosts_new(e->env, options->hosts_path, &e->hosts) != SB_OK ||
        sb_upstreams_new(e->env, &e->stats, &e->events, &e->upstreams) != SB_OK ||
        sb_reviver_new(e->upstreams, &e->reviver) != SB_OK ||
        sb_doubts_new(secret, &e->doubts) != SB_OK ||
        sb_loops_new(e->upstreams, on_loops, e, &e->loops) != SB_OK ||
        sb_mobility_new(e, &e->mobility) != SB_OK || sb_pins_init(&e->pins, secret) != SB_OK ||
        sb_endpoints_new(e->env, &e->stats, &e->events, secret, &e->endpoints) != SB_OK ||
        (options->resolv_conf_path && !(e->resolv_path = sb_strdup(options->resolv_conf_path))))
        goto done;
    sb_upstreams_on_recovery(e->upstreams, on_recovery, e);
    /* What overrides entries may have changed while nobody watched: hosts lines, first of all. */
    sb_l1_bump_policy(e->l1, e->settings->hash, NULL);
    if ((status = configure_upstreams(e, true)) || (status = sb_services_configure(e)))
        goto done;
    sb_timer_set(e->env, &e->tick, sb_env_now(e->env) + SB_S);
    for (size_t i = 0; i < e->settings->cache.warm_count; i++)
        sb_engine_warm(e, &e->settings->cache.warm[i]);
    *ret = e;
    return SB_OK;
done:
    sb_engine_free(e);
    return sb_why_set(why, status, "the engine could not start: %s", sb_status_text(status));
}

void sb_engine_free(sb_engine *engine)
{
    if (!engine)
        return;
    sb_timer_stop(engine->env, &engine->tick);
    sb_timer_stop(engine->env, &engine->probe);
    sb_timer_stop(engine->env, &engine->recovery);
    sb_mobility_free(engine->mobility);
    engine->mobility = NULL;
    sb_services_free(engine);
    if (engine->flights.buckets)
        sb_flights_cancel(engine);
    sb_map_fini(&engine->flights);
    if (engine->troubles.map.buckets)
        sb_troubles_fini(&engine->troubles);
    sb_doubts_free(engine->doubts);
    sb_loops_free(engine->loops);
    if (engine->pins.map.buckets)
        sb_pins_fini(&engine->pins);
    sb_endpoints_free(engine->endpoints);
    sb_reviver_free(engine->reviver);
    sb_upstreams_free(engine->upstreams);
    sb_hosts_free(engine->hosts);
    sb_events_fini(&engine->events);
    sb_free(engine->resolv_path);
    sb_free(engine->resolv);
    sb_free(engine->scratch);
    sb_settings_unref(engine->settings);
    sb_free(engine);
}

sb_status sb_engine_reload(sb_engine *engine, const sb_settings *settings, sb_why *why)
{
    const sb_settings *before = engine->settings;
    engine->settings = sb_settings_ref(settings);
    sb_upstreams_include_all(engine->upstreams);
    sb_status status = configure_upstreams(engine, true);
    if (status == SB_OK)
        status = sb_services_configure(engine);
    if (status) {
        engine->settings = before;
        sb_settings_unref(settings);
        /* What stood before fits in what was freed meanwhile, or goes on as it was. */
        if (configure_upstreams(engine, true) || sb_services_configure(engine))
            sb_log(CONFIG, ERROR, "old settings not restored in full", "status=\"%s\"",
                   sb_status_text(status));
        return sb_why_set(why, status, "the new settings could not be taken: %s",
                          sb_status_text(status));
    }
    sb_settings_unref(before);
    sb_l1_bump_policy(engine->l1, settings->hash, NULL);
    sb_troubles_void(&engine->troubles);
    sb_events_emit(&engine->events, (sb_event){.type = SB_EVENT_RELOAD});
    for (size_t i = 0; i < settings->cache.warm_count; i++)
        sb_engine_warm(engine, &settings->cache.warm[i]);
    return SB_OK;
}

/* --- doubts --- */

sb_status sb_engine_obey(sb_engine *engine, const sb_name *name)
{
    sb_name folded = *name;
    sb_name_fold(&folded);
    sb_status status = sb_doubts_obey(engine->doubts, &folded, sb_env_now(engine->env));
    if (status != SB_OK)
        return status;
    sb_troubles_void(&engine->troubles); /* no recheck pause stands in the way */
    sb_engine_warm(engine, &folded);
    return SB_OK;
}

bool sb_engine_doubt(sb_engine *engine, const sb_name *name, uint16_t type, sb_doubt_info *ret_info)
{
    sb_name folded = *name;
    sb_name_fold(&folded);
    return sb_doubts_last(engine->doubts, &folded, type, ret_info);
}

sb_endpoints *sb_engine_endpoints(sb_engine *engine)
{
    return engine->endpoints;
}

/* --- flushing --- */

size_t sb_engine_flush_name(sb_engine *engine, const sb_name *name)
{
    sb_name folded = *name;
    sb_name_fold(&folded);
    sb_troubles_void(&engine->troubles);
    return sb_l1_remove_name(engine->l1, &folded);
}

size_t sb_engine_flush_below(sb_engine *engine, const sb_name *suffix)
{
    sb_name folded = *suffix;
    sb_name_fold(&folded);
    sb_troubles_void(&engine->troubles);
    return sb_l1_remove_below(engine->l1, &folded);
}

/* What was learned in memory went to the file beside what the file has of the same question in the
 * other view (a network's own, or the route's): of the two the older goes. */
static void drop_older_twin(sb_engine *e, const sb_asked *asked, uint32_t view)
{
    uint32_t network = sb_mobility_network(e->mobility);
    uint32_t scoped = sb_scope_view(asked->view, network);
    sb_l1_key key = {.question = &asked->question, .view = view};
    sb_l1_entry entry;
    if (network == 0 || (view != asked->view && view != scoped) ||
        sb_l1_find(sb_l1_reader_of(e->l1), &key, e->scratch, &entry) != SB_OK)
        return;
    sb_tick learned = entry.life.learned;
    key.view = view == scoped ? asked->view : scoped;
    if (sb_l1_find(sb_l1_reader_of(e->l1), &key, e->scratch, &entry) != SB_OK ||
        entry.life.learned > learned || !sb_scope_same(entry.network, network))
        return;
    sb_status status = sb_l1_remove(e->l1, &key);
    (void)status; /* found a moment ago */
}

void sb_engine_moved(sb_engine *engine, const sb_l1 *memory)
{
    uint64_t cursor = 0;
    sb_l1_entry entry;
    while (sb_l1_walk(sb_l1_reader_of(memory), &cursor, engine->scratch, &entry)) {
        sb_kind kind = (sb_kind)entry.kind;
        sb_answer *answer = sb_answer_of_entry(&entry);
        sb_question question;
        sb_asked asked;
        if (!answer)
            continue;
        sb_answer_question(answer, &question);
        question.dnssec_ok = answer->dnssec_ok;
        question.checking_disabled = answer->checking_disabled;
        sb_engine_asked(engine, engine->settings, &question, &asked);
        if (kind != SB_KIND_POSITIVE && !asked.policy.protect && asked.view == answer->view &&
            !(answer->flags & SB_ANSWER_NO_SOA)) /* which removes nothing */
            sb_engine_forget(engine, &asked, kind);
        if (kind == SB_KIND_POSITIVE)
            drop_older_twin(engine, &asked, answer->view);
        sb_answer_unref(answer);
    }
}

/* --- views --- */

/* Adds what is pinned under that question. False: it is no pin, or over. */
static bool add_pinned(sb_engine *e, const sb_question *question, sb_pin_info *pin)
{
    sb_l1_key key = {.question = question, .view = SB_VIEW_PIN};
    sb_l1_entry entry;
    if (sb_l1_find(sb_l1_reader_of(e->l1), &key, e->scratch, &entry) != SB_OK ||
        !(entry.flags & SB_L1_PINNED) || sb_l1_now(e->l1) >= entry.life.due)
        return false;
    sb_answer *answer = sb_answer_of_entry(&entry);
    if (!answer)
        return false;
    pin->count += sb_answer_addresses(answer, pin->addresses + pin->count,
                                      SB_ARRAY_SIZE(pin->addresses) - pin->count);
    if (entry.life.due < UINT32_MAX - 1)
        pin->until = sb_l1_ns_of(e->l1, entry.life.due);
    sb_answer_unref(answer);
    return true;
}

bool sb_engine_pin_of(sb_engine *engine, const sb_name *name, sb_pin_info *ret_pin)
{
    sb_question question = {.name = *name, .type = SB_TYPE_A, .class = SB_CLASS_IN};
    sb_pin_info pin = {.until = SB_NEVER};
    sb_name_fold(&question.name);
    pin.name = question.name;
    bool found = add_pinned(engine, &question, &pin);
    question.type = SB_TYPE_AAAA;
    if (!add_pinned(engine, &question, &pin) && !found)
        return false;
    pin.aside = sb_pins_aside(&engine->pins, &question.name);
    *ret_pin = pin;
    return true;
}

bool sb_engine_walk_pins(sb_engine *engine, uint64_t *cursor, unsigned most,
                         void (*visit)(void *context, const sb_pin_info *), void *context)
{
    sb_l1_entry entry;
    for (unsigned i = 0; i < most; i++) {
        if (!sb_l1_walk(sb_l1_reader_of(engine->l1), cursor, engine->scratch, &entry))
            return false;
        sb_reader r = sb_reader_of(entry.body, entry.body_size);
        sb_name name;
        sb_pin_info pin;
        (void)sb_name_read_plain(&r, &name);
        /* A pin is an entry for each family: it is told at the first of them. */
        if (entry.view == SB_VIEW_PIN && sb_read_u16(&r) == SB_TYPE_A && !r.failed &&
            sb_engine_pin_of(engine, &name, &pin))
            visit(context, &pin);
    }
    return true;
}

bool sb_engine_ready(const sb_engine *engine)
{
    return engine != NULL;
}
sb_env *sb_engine_env(sb_engine *engine)
{
    return engine->env;
}
sb_stats *sb_engine_stats(sb_engine *engine)
{
    return &engine->stats;
}
sb_events *sb_engine_events(sb_engine *engine)
{
    return &engine->events;
}
sb_l1 *sb_engine_l1(sb_engine *engine)
{
    return engine->l1;
}
sb_upstreams *sb_engine_upstreams(sb_engine *engine)
{
    return engine->upstreams;
}
const sb_settings *sb_engine_settings(sb_engine *engine)
{
    return engine->settings;
}
size_t sb_engine_flights(const sb_engine *engine)
{
    return engine->flights.count;
}
uint32_t sb_engine_network(const sb_engine *engine)
{
    sb_l1_header_info header;
    return sb_l1_reader_header(sb_l1_reader_of(engine->l1), &header) ? header.network : 0;
}
