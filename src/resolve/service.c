/* Services: named dependencies whose host is looked up again and again, for /health/{service} and
 * /ready.
 *
 * Each check is two ordinary questions; what they say is kept here. See flight.h. Loop thread. */
#include <string.h>

#include "base/mem.h"
#include "dns/rdata.h"
#include "dns/target.h"
#include "resolve/flight.h"

#define SERVICE_EVERY (10 * SB_S) /* without a probe of its own */

struct sb_service {
    sb_engine *engine;
    sb_target target;
    char *host;
    sb_query queries[2]; /* A and AAAA */
    unsigned pending;
    sb_ns next_at;
    sb_service_info info;
};

static void services_free(sb_service *services, size_t count);
static void carry_over(const sb_engine *engine, sb_service *s);

static void check_ended(sb_service *s)
{
    sb_service_info info = {.setting = s->info.setting, .host = s->host, .checked = true};
    info.outcome = (sb_outcome)s->queries[0].provenance.status;
    for (unsigned i = 0; i < 2; i++) {
        sb_query *q = &s->queries[i];
        size_t room = SB_ARRAY_SIZE(info.addresses) - info.address_count;
        if (!q->answer || room == 0)
            continue;
        size_t n = sb_answer_addresses(q->answer, info.addresses + info.address_count, room);
        if (n > 0 && info.address_count == 0) {
            info.source = (sb_source)q->provenance.source;
            info.age_s = q->provenance.age_s;
            info.outcome = SB_OUTCOME_OK;
        }
        info.degraded |= n > 0 && q->degraded;
        info.address_count += n;
    }
    info.usable = info.address_count > 0;
    for (unsigned i = 0; i < 2; i++)
        sb_query_fini(&s->queries[i]);
    s->info = info;
}

static void answered(sb_service *s)
{
    if (--s->pending == 0)
        check_ended(s);
}

static void a_done(sb_op *op)
{
    answered(sb_container_of(sb_container_of(op, sb_query, op), sb_service, queries[0]));
}

static void aaaa_done(sb_op *op)
{
    answered(sb_container_of(sb_container_of(op, sb_query, op), sb_service, queries[1]));
}

static void literal_service(sb_service *s)
{
    s->info.checked = s->info.usable = true;
    s->info.outcome = SB_OUTCOME_OK;
    s->info.source = SB_SOURCE_LITERAL;
    s->info.addresses[0] = s->target.literal;
    s->info.address_count = 1;
}

static void check(sb_service *s, sb_ns now)
{
    sb_ns every = s->info.setting->probe.every;
    s->next_at = now + (every > 0 ? every : SERVICE_EVERY);
    s->pending = 2;
    for (unsigned i = 0; i < 2; i++) {
        s->queries[i].question = (sb_question){.name = s->target.name,
                                               .type = i == 0 ? SB_TYPE_A : SB_TYPE_AAAA,
                                               .class = SB_CLASS_IN};
        s->queries[i].ask = 0;
        sb_engine_ask(s->engine, &s->queries[i], NULL, SB_NEVER, i == 0 ? a_done : aaaa_done);
    }
}

void sb_services_tick(sb_engine *engine)
{
    sb_ns now = sb_env_now(engine->env);
    for (size_t i = 0; i < engine->service_count; i++) {
        sb_service *s = &engine->services[i];
        if (!s->target.is_literal && s->pending == 0 && now >= s->next_at)
            check(s, now);
    }
}

void sb_services_free(sb_engine *engine)
{
    services_free(engine->services, engine->service_count);
    engine->services = NULL;
    engine->service_count = 0;
}

/* The new ones stand before the old go: a failure leaves those, and what was known of a service
 * that stays is known on. */
sb_status sb_services_configure(sb_engine *engine)
{
    size_t n = engine->settings->service_count, made = 0;
    sb_service *services = n > 0 ? sb_calloc(n, sizeof *services) : NULL;
    if (n > 0 && !services)
        return SB_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const sb_service_setting *setting = &engine->settings->services[i];
        sb_service *s = &services[made];
        sb_why why;
        s->engine = engine;
        s->info.setting = setting;
        /* The settings checked the URI when they were frozen; a literal needs no look-up. */
        if (sb_target_parse(setting->uri, strlen(setting->uri), &s->target, &why) != SB_OK)
            continue;
        sb_span host = s->target.host;
        if (!(s->host = sb_alloc(host.size + 1))) {
            services_free(services, made);
            return SB_NOMEM;
        }
        sb_writer w = sb_writer_of(s->host, host.size);
        sb_write_bytes(&w, host.data, host.size);
        s->host[host.size] = '\0';
        s->info.host = s->host;
        made++;
        if (s->target.is_literal)
            literal_service(s);
        else
            carry_over(engine, s);
    }
    sb_services_free(engine);
    engine->services = services;
    engine->service_count = made;
    sb_services_tick(engine);
    return SB_OK;
}

bool sb_engine_each_service(sb_engine *engine,
                            bool (*visit)(void *context, const sb_service_info *), void *context)
{
    for (size_t i = 0; i < engine->service_count; i++)
        if (!visit(context, &engine->services[i].info))
            return false;
    return true;
}

static void services_free(sb_service *services, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        sb_service *s = &services[i];
        for (unsigned k = 0; k < 2 && s->pending > 0; k++) {
            sb_op_cancel(&s->queries[k].op);
            sb_query_fini(&s->queries[k]);
        }
        sb_free(s->host);
    }
    sb_free(services);
}

/* What the old check of the same service found stands until the new one ends. */
static void carry_over(const sb_engine *engine, sb_service *s)
{
    const sb_service_setting *setting = s->info.setting;
    for (size_t i = 0; i < engine->service_count; i++) {
        const sb_service_setting *old = engine->services[i].info.setting;
        if (strcmp(old->name, setting->name) != 0 || strcmp(old->uri, setting->uri) != 0)
            continue;
        s->info = engine->services[i].info;
        s->info.setting = setting;
        s->info.host = s->host;
        return;
    }
}
