/* See subject.h. */
#include "sim/subject.h"

sb_status subject_start(subject *d, sim *s, const subject_options *options, sb_why *why)
{
    *d = (subject){.s = s, .env = sim_process_start(s)};
    const sb_settings *settings = options->settings;
    sb_l1_options l1_options = {
        .path = options->in_memory ? "" : SUBJECT_CACHE,
        .size_bytes = settings->cache.size_bytes,
        .mode = 0600,
        .group = -1,
        .policy_hash = settings->hash,
    };
    sb_status status = sb_l1_open(d->env, &l1_options, &d->l1, &d->cache_why);
    if (status == SB_OK) {
        sb_engine_options engine_options = {
            .env = d->env,
            .settings = settings,
            .l1 = d->l1,
            .hosts_path = "/etc/hosts",
            .resolv_conf_path = "/etc/resolv.conf",
        };
        status = sb_engine_new(&engine_options, &d->engine, why);
    }
    if (status == SB_OK && options->events)
        status = sb_events_attach(sb_engine_events(d->engine), options->events, options->context);
    if (status == SB_OK && !options->no_front) {
        sb_dns_front_options front_options = {.engine = d->engine, .socket_path = SUBJECT_SOCKET};
        status = sb_dns_front_new(&front_options, &d->front, why);
    }
    d->up = status == SB_OK;
    if (!d->up)
        (void)subject_stop(d);
    return status;
}

unsigned subject_stop(subject *d)
{
    if (d->front)
        sb_dns_front_free(d->front);
    if (d->engine)
        sb_engine_free(d->engine);
    if (d->l1)
        sb_l1_close(d->l1);
    unsigned leaks = sim_process_leaks(d->s, d->env);
    sim_process_end(d->s, d->env, 0);
    *d = (subject){.s = d->s};
    return leaks;
}

void subject_freeze(subject *d)
{
    d->up = false;
    sim_process_freeze(d->s, d->env);
}

void subject_kill(subject *d, uint32_t torn)
{
    sb_dns_front_free(d->front);
    sb_engine_free(d->engine);
    sb_l1_close(d->l1);
    sim_process_end(d->s, d->env, torn);
    *d = (subject){.s = d->s};
}
