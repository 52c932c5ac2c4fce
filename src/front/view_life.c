/* Doubts, the life of endpoints, and of pins and emergency addresses, as JSON; see view.h. Loop
 * thread. */
#include "dns/rdata.h"
#include "front/view.h"
#include "resolve/verdict.h"

/* Of one name that are shown. */
#define ENDPOINTS_SHOWN 16

typedef struct trail {
    json_t *list;
    const sb_name *only; /* NULL: all */
} trail;

static json_t *seconds(sb_ns duration)
{
    return json_integer((json_int_t)(duration / SB_S));
}

static bool add_custody(void *context, const sb_custody_info *info)
{
    json_t *list = context;
    json_array_append_new(
        list, json_pack("{s:o, s:s, s:s, s:s, s:b, s:o, s:o, s:b, s:b, s:o, s:I}", "name",
                        sb_view_name(&info->name), "kind", info->emergency ? "emergency" : "pin",
                        "life", sb_liveness_text((sb_liveness)info->life), "dns",
                        sb_dns_word_text(info->dns), "dns_was_wrong", info->wrong_seen,
                        "dns_right_s", info->right_for > 0 ? seconds(info->right_for) : json_null(),
                        "for_s", seconds(info->for_ns), "over", info->over, "aside", info->aside,
                        "used_s", info->used_before >= 0 ? seconds(info->used_before) : json_null(),
                        "uses", (json_int_t)info->uses));
    return true;
}

json_t *sb_view_custodies(sb_engine *engine)
{
    json_t *list = json_array();
    if (list)
        (void)sb_engine_each_custody(engine, add_custody, list);
    return list;
}

static bool add_deed(void *context, const sb_deed_info *deed)
{
    trail *t = context;
    if (!t->only || sb_name_equal(t->only, &deed->name))
        json_array_append_new(t->list, json_pack("{s:o, s:o, s:s, s:s, s:s}", "time",
                                                 sb_view_time(deed->wall_ns), "name",
                                                 sb_view_name(&deed->name), "kind",
                                                 deed->emergency ? "emergency" : "pin", "deed",
                                                 sb_deed_text(deed->deed), "reason", deed->reason));
    return true;
}

json_t *sb_view_trail(sb_engine *engine, const sb_name *only)
{
    trail t = {.list = json_array(), .only = only};
    if (t.list)
        (void)sb_engine_each_deed(engine, add_deed, &t);
    return t.list;
}

json_t *sb_view_doubt(sb_engine *engine, const sb_name *name, uint16_t type)
{
    sb_doubt_info info;
    if (!sb_engine_doubt(engine, name, type, &info))
        return json_null();
    const sb_evidence *e = &info.evidence;
    return json_pack("{s:s, s:s, s:s, s:b, s:b, s:b, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "reason",
                     info.reason, "second", sb_second_text(e->second), "life",
                     sb_liveness_text(e->liveness), "protected", e->is_protected, "in_window",
                     e->in_window, "obeyed", e->obeyed, "siblings", (json_int_t)e->siblings,
                     "known_s", seconds(e->known_for), "agreed_s", seconds(e->agreed_for),
                     "denied_s", seconds(e->denied_for), "confirm_s", seconds(e->confirm), "most_s",
                     seconds(e->most), "weighed_s",
                     seconds(sb_env_now(sb_engine_env(engine)) - info.at));
}

static void add_endpoint(sb_engine *engine, json_t *list, const sb_addr *addr, uint16_t port)
{
    sb_addr whole = *addr;
    char text[SB_ADDR_TEXT_MAX];
    sb_ns at = 0;
    whole.port = port;
    sb_liveness life = sb_endpoints_life(sb_engine_endpoints(engine), &whole, &at);
    if (life == SB_LIVENESS_UNKNOWN && port > 0) { /* a connection may have told without one */
        whole.port = 0;
        life = sb_endpoints_life(sb_engine_endpoints(engine), &whole, &at);
        whole.port = port;
    }
    if (life == SB_LIVENESS_UNKNOWN || json_array_size(list) >= ENDPOINTS_SHOWN)
        return;
    json_array_append_new(list, json_pack("{s:o, s:s, s:o}", "address",
                                          sb_view_string(port ? sb_addr_text_port(&whole, text)
                                                              : sb_addr_text(&whole, text)),
                                          "life", sb_liveness_text(life), "age_s",
                                          seconds(sb_env_now(sb_engine_env(engine)) - at)));
}

json_t *sb_view_endpoints(sb_engine *engine, const sb_answer *const *answers, size_t count,
                          const sb_policy *policy)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < count; i++) {
        sb_addr addrs[ENDPOINTS_SHOWN];
        size_t n = answers[i] ? sb_answer_addresses(answers[i], addrs, SB_ARRAY_SIZE(addrs)) : 0;
        for (size_t k = 0; k < n; k++)
            add_endpoint(engine, list, &addrs[k], policy->port);
    }
    for (size_t i = 0; list && i < policy->emergency_count; i++)
        add_endpoint(engine, list, &policy->emergency[i], policy->port);
    return list;
}
