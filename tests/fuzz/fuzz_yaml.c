/* Configuration files of any bytes: either refused with a sentence that begins with the file's
 * name, or settings that freeze as a daemon would, with all the rules that hold of frozen ones. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "conf/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *get_nothing(void *context, const char *name)
{
    (void)context;
    (void)name;
    return NULL;
}

static void check_frozen(const sb_settings *s)
{
    SB_ASSERT(s->cache.ttl_min_s <= s->cache.ttl_max_s);
    SB_ASSERT(s->health.degraded_permille <= s->health.unhealthy_permille);
    SB_ASSERT(s->query.timeout > 0 && s->query.attempts > 0);
    for (size_t i = 0; i < s->listen.dns_count; i++)
        SB_ASSERT(s->listen.allow_given || sb_addr_is_loopback(&s->listen.dns[i]));
    for (size_t i = 0; i < s->upstream_count; i++)
        SB_ASSERT(s->upstreams[i].name && !sb_settings_own_address(s, &s->upstreams[i].addr));
    for (size_t i = 0; i < s->route_count; i++) {
        SB_ASSERT(s->routes[i].view != 0 && s->routes[i].view != UINT32_MAX);
        SB_ASSERT(i == 0 ||
                  sb_name_labels(&s->routes[i].suffix) <= sb_name_labels(&s->routes[i - 1].suffix));
    }
    for (size_t i = 0; i < s->name_count; i++)
        SB_ASSERT(s->names[i].emergency_count == 0 || s->names[i].protect);
    for (size_t i = 0; i < s->service_count; i++)
        SB_ASSERT(s->services[i].name && s->services[i].uri);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char file[] = "fuzz.yaml";
    sb_settings *settings;
    sb_why why = {""};
    if (sb_settings_new(get_nothing, NULL, false, &settings) != SB_OK)
        return 0;
    sb_status status = sb_conf_load(data, size, file, settings, &why);
    if (status != SB_OK)
        SB_ASSERT(strncmp(why.text, file, sizeof(file) - 1) == 0);
    else if (sb_settings_freeze(settings, &why) == SB_OK)
        check_frozen(settings);
    else
        SB_ASSERT(why.text[0] != '\0');
    sb_settings_unref(settings);
    return 0;
}
