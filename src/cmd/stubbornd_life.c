/* The daemon's life: parts opened in order, signals, reload, the end. Loop thread.
 *
 * Order of opening: cache file, engine, DNS front, workers, HTTP, control, threads. Nothing waits
 * for the network. The end goes the other way round, after the answers under way are out. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "cmd/stubbornd.h"

#define EVENTS_KEPT 1024
#define RESOLV_CONF "/etc/resolv.conf"
#define HOSTS "/etc/hosts"
#define RESOLV_CONF_MAX ((size_t)64 * 1024)
#define END_WITHIN (2 * SB_S) /* of the 5 s a clean end may take */
#define END_LOOK (10 * SB_MS)
/* A file of 64 MiB has some 100,000 buckets: counted in 8 s, under a millisecond at a time. */
#define COUNT_BUCKETS 256
#define COUNT_EVERY (20 * SB_MS)
/* A command without a daemon holds the cache file for seconds; another daemon may do so for good.
 */
#define LOCK_EVERY SB_S
#define LOCK_SOON_TRIES 60
#define LOCK_LATER (10 * SB_S)

static sb_status open_cache(sb_daemon *d, sb_why *why);
static sb_l1_options cache_options(sb_daemon *d);
static void look_for_lock(sb_timer *timer);
static void fill_client(sb_daemon *d, sb_l1_client_settings *ret);
static void fill_search(sb_daemon *d, sb_l1_client_settings *ret);
static sb_status open_engine(sb_daemon *d, sb_why *why);
static sb_status open_front(sb_daemon *d, sb_why *why);
static sb_status open_workers(sb_daemon *d, sb_why *why);
static sb_status open_http(sb_daemon *d, sb_why *why);
static sb_status open_control(sb_daemon *d, sb_why *why);
static sb_status watch_signals(sb_daemon *d, sb_why *why);
static void on_signal(uv_signal_t *handle, int number);
static void on_signal_closed(uv_handle_t *handle);
static sb_status reload(void *context, sb_text *ret_waiting, sb_why *why);
static sb_status reload_all(sb_daemon *d, sb_text *ret_waiting, sb_why *why);
static sb_status take_settings(sb_daemon *d, const sb_settings *settings, sb_why *why);
static void tell_fixed(const sb_settings *started, const sb_settings *now, sb_text *waiting);
static void health(void *context, sb_text *ret_json);
static void take_datagram(void *context, const uint8_t *bytes, size_t size, const sb_addr *client,
                          const sb_addr *local, void *worker, uint64_t tag);
static void take_used(void *context, const sb_question *question);
static void begin_end(sb_daemon *d);
static void look_for_end(sb_timer *timer);
static void look_for_fault(sb_timer *timer);
static void count_entries(sb_timer *timer);
static void log_state(sb_daemon *d);
static void log_ready(const sb_daemon *d);

sb_status sb_daemon_start(sb_daemon *d, sb_why *why)
{
    static sb_status (*const steps[])(sb_daemon *, sb_why *) = {
        open_cache, open_engine, open_front, open_workers, open_http, open_control, watch_signals};
    d->started = sb_settings_ref(d->settings);
    sb_daemon_log_levels(d->settings);
    sb_daemon_warn(d->settings);
    sb_timer_init(&d->watch, look_for_fault);
    sb_timer_init(&d->ending, look_for_end);
    sb_timer_init(&d->count, count_entries);
    sb_timer_init(&d->lock, look_for_lock);
    for (size_t i = 0; i < SB_ARRAY_SIZE(steps); i++) {
        sb_status status = steps[i](d, why);
        if (status != SB_OK)
            return status;
    }
    if (d->workers) {
        sb_status status = sb_workers_start(d->workers, why);
        if (status != SB_OK)
            return status;
    }
    sb_timer_set(d->env, &d->watch, sb_env_now(d->env) + SB_S);
    sb_timer_set(d->env, &d->count, sb_env_now(d->env) + COUNT_EVERY);
    if (sb_l1_locked_out(d->l1))
        sb_timer_set(d->env, &d->lock, sb_env_now(d->env) + LOCK_EVERY);
    log_ready(d);
    sb_daemon_notify("READY=1");
    return SB_OK;
}

void sb_daemon_run(sb_daemon *d)
{
    sb_uv_env_run(d->uv);
}

/* Those that turn the loop to get rid of their handles go while everything they could call still
 * stands. */
void sb_daemon_close(sb_daemon *d)
{
    if (d->workers)
        sb_workers_stop(d->workers);
    for (unsigned i = 0; i < d->signal_count; i++)
        uv_close((uv_handle_t *)&d->signals[i], on_signal_closed);
    while (d->signal_count > 0)
        uv_run(&d->loop, UV_RUN_NOWAIT);
    sb_http_server_free(d->http);
    sb_control_free(d->control);
    sb_dns_front_free(d->front);
    sb_workers_free(d->workers);
    if (d->env) {
        sb_timer_stop(d->env, &d->watch);
        sb_timer_stop(d->env, &d->count);
        sb_timer_stop(d->env, &d->lock);
        sb_timer_stop(d->env, &d->ending);
    }
    sb_engine_free(d->engine);
    if (d->l1)
        sb_l1_close(d->l1);
    sb_l1_close(d->memory);
    sb_settings_unref(d->started);
    sb_settings_unref(d->settings);
    d->started = d->settings = NULL;
}

/* ---- opening ---- */

static sb_status open_cache(sb_daemon *d, sb_why *why)
{
    const sb_settings *s = d->settings;
    sb_status status = sb_daemon_rights_of(s, &d->rights, why);
    if (status != SB_OK)
        return status;
    sb_l1_options options = cache_options(d);
    sb_why trouble = {0};
    status = sb_l1_open(d->env, &options, &d->l1, &trouble);
    if (status != SB_OK)
        return sb_why_set(why, status, "cannot make the cache: %s",
                          trouble.text[0] ? trouble.text : sb_status_text(status));
    if (trouble.text[0])
        sb_log(CACHE, WARN, sb_l1_in_file(d->l1) ? "cache file repaired" : "cache in memory only",
               "reason=%s", SB_Q(trouble.text));
    /* A file of an earlier start has the mode of then. */
    if (sb_l1_in_file(d->l1) &&
        sb_uv_permit(s->cache.file, d->rights.cache.mode, d->rights.cache.group, &trouble) != SB_OK)
        sb_log(CACHE, WARN, "cache file not shared as configured", "reason=%s", SB_Q(trouble.text));
    return SB_OK;
}

/* Path and size as at the start; the rest as it is now. */
static sb_l1_options cache_options(sb_daemon *d)
{
    sb_l1_options options = {
        .path = d->started->cache.file,
        .size_bytes = d->started->cache.size_bytes,
        .mode = d->rights.cache.mode,
        .group = d->rights.cache.group,
        .policy_hash = d->settings->hash,
    };
    fill_client(d, &options.client);
    return options;
}

/* The workers read the memory until they have taken the file over; then it goes. */
static bool leave_memory(sb_daemon *d)
{
    sb_why why = {0};
    if (d->workers &&
        sb_workers_move(d->workers, d->settings, sb_l1_reader_of(d->l1), &why) != SB_OK) {
        sb_log(CACHE, WARN, "workers still read the cache in memory", "reason=%s", SB_Q(why.text));
        return false;
    }
    sb_l1_close(d->memory);
    d->memory = NULL;
    return true;
}

static void look_for_lock(sb_timer *timer)
{
    sb_daemon *d = sb_container_of(timer, sb_daemon, lock);
    sb_ns next = sb_env_now(d->env) + (++d->lock_tries < LOCK_SOON_TRIES ? LOCK_EVERY : LOCK_LATER);
    sb_l1_options options = cache_options(d);
    const char *path = options.path;
    sb_why why = {0};
    if (!d->memory) {
        sb_l1_stats before, after;
        sb_l1_get_stats(d->l1, &before);
        if (sb_l1_take_file(d->l1, &options, &d->memory, &why) == SB_OK) {
            sb_l1_get_stats(d->l1, &after);
            if (before.entries < after.moved) /* an old file that was not counted to its end */
                before.entries = after.moved;
            sb_log(CACHE, INFO,
                   d->file_lost ? "cache file made anew" : "cache file taken, its lock is free",
                   "file=%s entries=%llu of=%llu", SB_Q(path), (unsigned long long)after.moved,
                   (unsigned long long)before.entries);
            if (why.text[0])
                sb_log(CACHE, WARN, "cache file repaired", "reason=%s", SB_Q(why.text));
            if (sb_uv_permit(path, options.mode, options.group, &why) != SB_OK)
                sb_log(CACHE, WARN, "cache file not shared as configured", "reason=%s",
                       SB_Q(why.text));
            if (!d->file_lost) /* what went over whole has nothing to forget */
                sb_engine_moved(d->engine, d->memory);
            d->file_lost = d->lost_told = false;
            sb_timer_set(d->env, &d->count, sb_env_now(d->env) + COUNT_EVERY);
        } else if (d->file_lost) {
            if (!d->lost_told)
                sb_log(CACHE, WARN, "cache in memory only", "reason=%s", SB_Q(why.text));
            d->lost_told = true;
        } else if (!sb_l1_locked_out(d->l1)) {
            sb_log(CACHE, WARN, "cache stays in memory only", "reason=%s", SB_Q(why.text));
            return;
        }
    }
    if (!d->memory || !leave_memory(d) || d->file_lost)
        sb_timer_set(d->env, timer, next);
}

static void fill_client(sb_daemon *d, sb_l1_client_settings *ret)
{
    const sb_settings *s = d->settings;
    ret->ndots = s->query.ndots;
    ret->family = s->query.family;
    ret->stale_answer_ttl_s = s->cache.stale_ttl_s;
    const char *path = d->started->listen.socket; /* the one there is */
    size_t size = strlen(path);
    if (size < sizeof(ret->socket_path))
        memcpy(ret->socket_path, path, size);
    fill_search(d, ret);
}

/* Search list and ndots of resolv.conf where the configuration has none: clients without one see
 * the same. */
static void fill_search(sb_daemon *d, sb_l1_client_settings *ret)
{
    const sb_settings *s = d->settings;
    const sb_name *search = s->query.search;
    size_t count = s->query.search_count;
    sb_resolv_conf *resolv = NULL;
    uint8_t *bytes = NULL;
    size_t size = 0;
    if ((!s->query.search_given || !s->query.ndots_given) && (resolv = sb_new(sb_resolv_conf)) &&
        d->env->ops->file_read(d->env, RESOLV_CONF, RESOLV_CONF_MAX, &bytes, &size, NULL) ==
            SB_OK) {
        sb_resolv_conf_parse(bytes, size, resolv);
        if (!s->query.search_given) {
            search = resolv->search;
            count = resolv->search_count;
        }
        if (!s->query.ndots_given && resolv->ndots > 0)
            ret->ndots = resolv->ndots;
    }
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        char text[SB_NAME_TEXT_MAX];
        size_t length = strlen(sb_name_text(&search[i], text));
        if (at + length + 2 > sizeof(ret->search))
            break; /* a name is there in full or not at all */
        if (at > 0)
            ret->search[at++] = ' ';
        memcpy(ret->search + at, text, length);
        at += length;
    }
    sb_free(bytes);
    sb_free(resolv);
}

static sb_status open_engine(sb_daemon *d, sb_why *why)
{
    sb_engine_options options = {.env = d->env,
                                 .settings = d->settings,
                                 .l1 = d->l1,
                                 .hosts_path = HOSTS,
                                 .resolv_conf_path = RESOLV_CONF,
                                 .event_capacity = EVENTS_KEPT};
    return sb_engine_new(&options, &d->engine, why);
}

static sb_status open_front(sb_daemon *d, sb_why *why)
{
    sb_dns_front_options options = {.engine = d->engine,
                                    .udp_elsewhere = sb_workers_count(d->settings) > 0,
                                    .socket_path = d->settings->listen.socket,
                                    .socket_group =
                                        d->rights.socket.group > 0 ? d->rights.socket.group : 0};
    return sb_dns_front_new(&options, &d->front, why);
}

static sb_status open_workers(sb_daemon *d, sb_why *why)
{
    sb_workers_options options = {.loop = &d->loop,
                                  .env = d->env,
                                  .settings = d->settings,
                                  .reader = sb_l1_reader_of(d->l1),
                                  .count = sb_workers_count(d->settings),
                                  .sink = take_datagram,
                                  .used = take_used,
                                  .context = d};
    return options.count > 0 ? sb_workers_new(&options, &d->workers, why) : SB_OK;
}

static sb_status open_http(sb_daemon *d, sb_why *why)
{
    d->http_front =
        (sb_http_front){.engine = d->engine,
                        .worker_stats = d->workers ? sb_workers_stats(d->workers) : NULL,
                        .worker_count = d->workers ? sb_workers_count(d->settings) : 0};
    if (!d->settings->listen.http_on)
        return SB_OK;
    return sb_http_server_new(&d->loop, &d->settings->listen.http, sb_http_front_handle,
                              &d->http_front, &d->http, why);
}

static sb_status open_control(sb_daemon *d, sb_why *why)
{
    if (!d->settings->listen.control[0])
        return SB_OK;
    const char *config = d->config_path ? d->config_path : SB_CONFIG_DEFAULT;
    sb_control_options options = {.engine = d->engine,
                                  .pid = getpid(),
                                  .config = access(config, F_OK) == 0 ? config : NULL,
                                  .path = d->settings->listen.control,
                                  .uid = geteuid(),
                                  .group = d->rights.control.group,
                                  .reload = reload,
                                  .health = health,
                                  .context = d};
    return sb_control_new(&options, &d->control, why);
}

static sb_status watch_signals(sb_daemon *d, sb_why *why)
{
    static const int numbers[SB_SIGNALS] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};
    for (unsigned i = 0; i < SB_SIGNALS; i++) {
        int error = uv_signal_init(&d->loop, &d->signals[i]);
        if (!error) {
            d->signals[i].data = d;
            d->signal_count++;
            error = uv_signal_start(&d->signals[i], on_signal, numbers[i]);
        }
        if (error)
            return sb_uv_why(why, -error, "cannot watch signals");
    }
    return SB_OK;
}

static void on_signal_closed(uv_handle_t *handle)
{
    ((sb_daemon *)handle->data)->signal_count--;
}

/* ---- running ---- */

static void on_signal(uv_signal_t *handle, int number)
{
    sb_daemon *d = handle->data;
    sb_why why = {0};
    switch (number) {
    case SIGHUP:
        (void)reload(d, NULL, &why);
        break;
    case SIGUSR1:
        log_state(d);
        break;
    default:
        if (d->is_ending)
            sb_uv_env_stop(d->uv); /* asked twice: at once */
        else
            begin_end(d);
    }
}

static void take_datagram(void *context, const uint8_t *bytes, size_t size, const sb_addr *client,
                          const sb_addr *local, void *worker, uint64_t tag)
{
    sb_daemon *d = context;
    sb_dns_front_datagram(d->front, bytes, size, client, local, sb_workers_reply, worker, tag);
}

static void take_used(void *context, const sb_question *question)
{
    sb_engine_used(((sb_daemon *)context)->engine, question);
}

static void health(void *context, sb_text *ret_json)
{
    sb_level level;
    sb_http_front_health(&((sb_daemon *)context)->http_front, true, ret_json, &level);
}

/* By signal or by verb: the log tells either way. */
static sb_status reload(void *context, sb_text *ret_waiting, sb_why *why)
{
    sb_status status = reload_all(context, ret_waiting, why);
    if (status != SB_OK)
        sb_log(CONFIG, ERROR, "not reloaded, the old configuration stays", "reason=%s",
               SB_Q(why->text));
    return status;
}

/* All or nothing: whatever refuses, all go back to what was. */
static sb_status reload_all(sb_daemon *d, sb_text *ret_waiting, sb_why *why)
{
    const sb_settings *settings, *before = d->settings;
    if (d->is_ending)
        return sb_why_set(why, SB_CLOSED, "the daemon is ending");
    sb_status status = sb_daemon_config(d->env, d->config_path, &settings, why);
    if (status != SB_OK)
        return status;
    status = take_settings(d, settings, why);
    if (status != SB_OK) {
        if (take_settings(d, before, NULL) != SB_OK)
            sb_log(CONFIG, ERROR, "old settings not restored in full", "reason=%s",
                   SB_Q(why->text));
        sb_settings_unref(settings);
        return status;
    }
    d->settings = settings;
    sb_l1_client_settings client = {0};
    fill_client(d, &client);
    sb_l1_bump_policy(d->l1, settings->hash, &client); /* readers see the new search list too */
    sb_daemon_log_levels(settings);
    sb_daemon_warn(settings);
    tell_fixed(d->started, settings, ret_waiting);
    sb_settings_unref(before);
    sb_count(sb_engine_stats(d->engine), SB_COUNT_CONFIG_RELOADS);
    sb_log(CONFIG, INFO, "reloaded", "file=%s",
           SB_Q(d->config_path ? d->config_path : SB_CONFIG_DEFAULT));
    return SB_OK;
}

static sb_status take_settings(sb_daemon *d, const sb_settings *settings, sb_why *why)
{
    sb_status status = sb_engine_reload(d->engine, settings, why);
    if (status == SB_OK)
        status = sb_dns_front_reload(d->front, why);
    if (status == SB_OK && d->workers)
        status = sb_workers_reload(d->workers, settings, why);
    if (status == SB_OK)
        status = sb_daemon_rights_take(d, settings, why);
    return status;
}

/* What is taken at the start alone is named, so that nobody waits for it. */
static void tell_fixed(const sb_settings *started, const sb_settings *now, sb_text *waiting)
{
    const struct {
        const char *key;
        bool changed;
    } fixed[] = {
        {"listen.http", started->listen.http_on != now->listen.http_on ||
                            !sb_addr_equal(&started->listen.http, &now->listen.http)},
        {"listen.socket", strcmp(started->listen.socket, now->listen.socket) != 0},
        {"listen.workers", started->listen.workers != now->listen.workers},
        {"cache.file", strcmp(started->cache.file, now->cache.file) != 0},
        {"cache.size", started->cache.size_bytes != now->cache.size_bytes},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(fixed); i++)
        if (fixed[i].changed) {
            sb_log(CONFIG, WARN, "takes effect with the next start", "key=%s", fixed[i].key);
            if (waiting)
                sb_text_add(waiting, "%s ", fixed[i].key);
        }
}

/* Workers go on with what is known: nobody waits at a deaf socket for the last answers. */
static void begin_end(sb_daemon *d)
{
    d->is_ending = true;
    sb_log(MAIN, INFO, "ending", "questions=%zu", sb_engine_flights(d->engine));
    sb_daemon_notify("STOPPING=1");
    d->end_by = sb_env_now(d->env) + END_WITHIN;
    sb_timer_set(d->env, &d->ending, sb_env_now(d->env));
}

static void look_for_end(sb_timer *timer)
{
    sb_daemon *d = sb_container_of(timer, sb_daemon, ending);
    sb_ns now = sb_env_now(d->env);
    bool quiet = sb_dns_front_quiesce(d->front);
    if (quiet && (!d->workers || d->workers_ended)) {
        sb_uv_env_stop(d->uv);
        return;
    }
    if (quiet) { /* what they had passed on is answered before the next look */
        sb_workers_stop(d->workers);
        d->workers_ended = true;
    }
    if (now >= d->end_by)
        sb_dns_front_give_up(d->front); /* these replies leave before the next look */
    sb_timer_set(d->env, &d->ending, now + END_LOOK);
}

static void look_for_fault(sb_timer *timer)
{
    sb_daemon *d = sb_container_of(timer, sb_daemon, watch);
    if (sb_uv_sigbus_seen() && !d->fault_told) {
        d->fault_told = true;
        sb_log(CACHE, WARN, "cache file damaged while mapped; what is lost is asked anew",
               "file=%s", SB_Q(d->started->cache.file));
    }
    bool cut = false;
    if (!sb_l1_still_there(d->l1, d->started->cache.file, &cut)) {
        sb_log(CACHE, WARN,
               cut ? "cache file cut; what lay beyond the cut is lost, the rest goes to a new one"
                   : "cache file removed or replaced; what is known goes to a new one",
               "file=%s", SB_Q(d->started->cache.file));
        d->file_lost = true;
        d->lock_tries = 0;
        sb_timer_set(d->env, &d->lock, sb_env_now(d->env));
    }
    sb_timer_set(d->env, &d->watch, sb_env_now(d->env) + SB_S);
}

/* The engine's own sweep takes an hour for a lap, too long for a number people look at. */
static void count_entries(sb_timer *timer)
{
    sb_daemon *d = sb_container_of(timer, sb_daemon, count);
    sb_l1_stats stats;
    sb_l1_get_stats(d->l1, &stats);
    if (stats.counted) {
        if (stats.dropped > 0)
            sb_log(CACHE, WARN, "damaged entries dropped", "entries=%llu file=%s",
                   (unsigned long long)stats.dropped, SB_Q(d->started->cache.file));
        return;
    }
    sb_l1_sweep(d->l1, COUNT_BUCKETS);
    sb_timer_set(d->env, timer, sb_env_now(d->env) + COUNT_EVERY);
}

static void log_ready(const sb_daemon *d)
{
    char text[SB_ADDR_TEXT_MAX];
    for (size_t i = 0; i < d->settings->listen.dns_count; i++)
        sb_log(MAIN, INFO, "listening", "dns=%s",
               sb_addr_text_port(&d->settings->listen.dns[i], text));
    if (d->http) {
        sb_addr http = sb_http_server_address(d->http);
        sb_log(MAIN, INFO, "listening", "http=%s", sb_addr_text_port(&http, text));
    }
    sb_log(MAIN, INFO, "ready", "version=%s workers=%u cache=%s socket=%s", SB_VERSION,
           d->workers ? sb_workers_count(d->settings) : 0,
           SB_Q(sb_l1_in_file(d->l1) ? d->settings->cache.file : "memory"),
           SB_Q(d->settings->listen.socket));
}

static bool log_service(void *context, const sb_service_info *info)
{
    (void)context;
    sb_log(MAIN, INFO, "service", "name=%s usable=%d degraded=%d addresses=%zu",
           SB_Q(info->setting->name), info->usable, info->degraded, info->address_count);
    return true;
}

static void log_state(sb_daemon *d)
{
    sb_l1_stats cache;
    uint64_t attempts, errors;
    const sb_stats *stats = sb_engine_stats(d->engine);
    sb_l1_get_stats(d->l1, &cache);
    sb_window_sum(&stats->window, sb_env_now(d->env), d->settings->health.window_s, &attempts,
                  &errors);
    uint64_t questions = sb_stats_get(stats, SB_COUNT_ATTEMPTS);
    uint64_t hits = sb_stats_get(stats, SB_COUNT_HITS);
    for (unsigned i = 0; i < d->http_front.worker_count; i++) {
        questions += sb_stats_get(d->http_front.worker_stats[i], SB_COUNT_ATTEMPTS);
        hits += sb_stats_get(d->http_front.worker_stats[i], SB_COUNT_HITS);
    }
    sb_log(MAIN, INFO, "state",
           "questions=%llu hits=%llu flights=%zu window_errors=%llu entries=%llu used_bytes=%llu "
           "capacity_bytes=%llu log_dropped=%llu",
           (unsigned long long)questions, (unsigned long long)hits, sb_engine_flights(d->engine),
           (unsigned long long)errors, (unsigned long long)cache.entries,
           (unsigned long long)cache.used_bytes, (unsigned long long)cache.capacity_bytes,
           (unsigned long long)sb_log_dropped());
    (void)sb_engine_each_service(d->engine, log_service, NULL);
}
