/* The daemon's configuration: file, environment over it, freeze. Opens nothing but the file. Loop
 * thread. */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "cmd/stubbornd.h"
#include "conf/yaml.h"

static const char *get_variable(void *context, const char *name);
static sb_status load_file(sb_env *env, const char *path, sb_settings *settings, sb_why *why);
static sb_status drop_absent_addresses(sb_settings *settings);
static bool machine_has(const sb_addr *addr);

sb_status sb_daemon_config(sb_env *env, const char *path, const sb_settings **ret, sb_why *why)
{
    sb_settings *settings;
    if (sb_settings_new(get_variable, NULL, geteuid() == 0, &settings) != SB_OK)
        return sb_why_set(why, SB_NOMEM, "no memory for the configuration");
    sb_status status = load_file(env, path, settings, why);
    if (status == SB_OK)
        status = sb_settings_env(settings, get_variable, NULL, why);
    sb_settings_env_unread(settings, environ);
    if (status == SB_OK && drop_absent_addresses(settings) != SB_OK)
        status = sb_why_set(why, SB_NOMEM, "no memory for the configuration");
    if (status == SB_OK)
        status = sb_settings_freeze(settings, why);
    if (status == SB_OK)
        status = sb_settings_reachable(settings, why);
    if (status == SB_OK)
        status = sb_daemon_groups(settings, why);
    if (status != SB_OK) {
        sb_settings_unref(settings);
        return status;
    }
    *ret = settings;
    return SB_OK;
}

void sb_daemon_log_levels(const sb_settings *settings)
{
    for (unsigned i = 0; i < SB_LOG_SUBSYSTEM_COUNT; i++) {
        int8_t own = settings->log.levels[i];
        sb_log_set_level((sb_log_subsystem)i,
                         (sb_log_level)(own < 0 ? settings->log.level : (uint8_t)own));
    }
}

void sb_daemon_warn(const sb_settings *settings)
{
    for (size_t i = 0; i < settings->warning_count; i++)
        sb_log(CONFIG, WARN, "set without effect", "what=%s", SB_Q(settings->warnings[i]));
}

sb_status sb_daemon_groups(const sb_settings *settings, sb_why *why)
{
    int64_t group;
    sb_status status = SB_OK;
    if (settings->cache.share == SB_SHARE_GROUP)
        status = sb_daemon_group("cache.share", settings->cache.share_group,
                                 &settings->cache.share_origin, &group, why);
    if (status == SB_OK)
        status = sb_daemon_group("listen.control", settings->listen.control_group,
                                 &settings->listen.control_origin, &group, why);
    return status;
}

sb_status sb_daemon_group(const char *key, const char *name, const sb_origin *origin,
                          int64_t *ret_group, sb_why *why)
{
    if (!name || !name[0]) {
        *ret_group = -1;
        return SB_OK;
    }
    errno = 0;
    const struct group *group = getgrnam(name);
    if (!group)
        return sb_settings_complain(why, SB_NOTFOUND, origin, "%s: there is no group %s", key,
                                    name);
    *ret_group = group->gr_gid;
    return SB_OK;
}

static const char *get_variable(void *context, const char *name)
{
    (void)context;
    return getenv(name);
}

static sb_status load_file(sb_env *env, const char *path, sb_settings *settings, sb_why *why)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    const char *name = path ? path : SB_CONFIG_DEFAULT;
    sb_status status = env->ops->file_read(env, name, SB_CONF_SIZE_MAX, &bytes, &size, why);
    if (status == SB_NOTFOUND && !path)
        return SB_OK;
    if (status == SB_OK)
        status = sb_conf_load(bytes, size, name, settings, why);
    sb_free(bytes);
    return status;
}

/* [::1] is listened on by default, but not every machine has IPv6. What is configured is not
 * touched. */
static sb_status drop_absent_addresses(sb_settings *settings)
{
    if (!settings->listen.dns_default)
        return SB_OK;
    sb_addr *kept = sb_arena_alloc(&settings->arena, settings->listen.dns_count * sizeof(sb_addr));
    if (!kept)
        return SB_NOMEM;
    size_t count = 0;
    for (size_t i = 0; i < settings->listen.dns_count; i++)
        if (machine_has(&settings->listen.dns[i]))
            kept[count++] = settings->listen.dns[i];
    settings->listen.dns = kept;
    settings->listen.dns_count = count;
    return SB_OK;
}

static bool machine_has(const sb_addr *addr)
{
    sb_udp_options options = {.local = *addr};
    options.local.port = 0;
    int fd;
    if (sb_udp_socket_open(&options, &fd, NULL) != SB_OK)
        return false;
    close(fd);
    return true;
}
