/* The configuration as a client needs it, and `config check`.
 *
 * Reads files; never listens, never talks. The main thread. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "conf/yaml.h"
#include "front/view.h"
#include "cmd/stubborn.h"

#define DEFAULT_PATH "/etc/stubborn/stubborn.yaml"
#define RESOLV_CONF_MAX ((size_t)64 * 1024)

static const char *get_variable(void *context, const char *name);
static sb_status load(const char *path, bool must_exist, bool client, sb_ns timeout,
                      sb_settings **ret, sb_why *why);
static sb_status group_exists(const char *key, const char *name, sb_why *why);
static sb_status overlay(const char *path, bool must_exist, bool client, sb_settings *settings,
                         sb_why *why);

bool sb_cli_settings(sb_cli *cli)
{
    sb_why why = {{0}};
    sb_settings *settings;
    const char *path = cli->arg[SB_ARG_CONFIG];
    if (cli->settings)
        return true;
    if (!path)
        path = getenv("STUBBORN_CONFIG");
    bool must_exist = path && path[0];
    if (!must_exist)
        path = DEFAULT_PATH;
    if (load(path, must_exist, true, cli->timeout, &settings, &why) != SB_OK) {
        sb_cli_complain("%s", why.text);
        return false;
    }
    cli->settings = settings;
    return true;
}

void sb_cli_search(const sb_cli *cli, sb_resolv_conf *ret)
{
    const sb_settings *s = cli->settings;
    uint8_t *bytes;
    size_t size;
    sb_resolv_conf conf = {.ndots = 1};
    if (sb_cli_read_file("/etc/resolv.conf", RESOLV_CONF_MAX, &bytes, &size, NULL) == SB_OK) {
        sb_resolv_conf_parse(bytes, size, &conf);
        sb_free(bytes);
    }
    if (s->query.ndots_given)
        conf.ndots = s->query.ndots;
    if (s->query.search_given) {
        conf.search_count = 0;
        for (size_t i = 0; i < s->query.search_count && i < SB_ARRAY_SIZE(conf.search); i++)
            conf.search[conf.search_count++] = s->query.search[i];
    }
    *ret = conf;
}

int sb_run_config_check(sb_cli *cli)
{
    sb_why why = {{0}};
    sb_settings *settings;
    const char *path = cli->operand_count ? cli->operands[0] : cli->arg[SB_ARG_CONFIG];
    if (!path || !path[0])
        path = getenv("STUBBORN_CONFIG");
    bool named = path && path[0];
    if (!named)
        path = DEFAULT_PATH;
    bool absent = !named && access(path, F_OK) != 0 && errno == ENOENT;
    sb_status status = load(path, named, false, 0, &settings, &why);
    json_t *warnings = json_array();
    for (size_t i = 0; status == SB_OK && i < settings->warning_count; i++) {
        json_array_append_new(warnings, sb_view_string(settings->warnings[i]));
        if (!sb_cli_has(cli, SB_ARG_JSON))
            sb_cli_note("warning: %s", settings->warnings[i]);
    }
    if (status == SB_OK)
        sb_settings_unref(settings);
    if (sb_cli_has(cli, SB_ARG_JSON))
        sb_cli_json(json_pack("{s:b, s:s?, s:o, s:s?}", "ok", status == SB_OK, "file",
                              absent ? NULL : path, "warnings", warnings, "error",
                              status == SB_OK ? NULL : why.text));
    else if (status == SB_OK && absent)
        printf("no configuration file; the defaults are in force\n");
    else if (status == SB_OK)
        printf("%s: ok\n", path);
    else
        sb_cli_complain("%s", why.text);
    if (!sb_cli_has(cli, SB_ARG_JSON))
        json_decref(warnings);
    return status == SB_OK ? SB_EXIT_OK : SB_EXIT_USAGE;
}

sb_status sb_cli_read_file(const char *path, size_t max, uint8_t **ret_bytes, size_t *ret_size,
                           sb_why *why)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    sb_status status = SB_OK;
    struct stat st;
    int error = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) != 0) {
        error = errno;
        status = sb_status_from_errno(error);
        goto done;
    }
    if (S_ISDIR(st.st_mode)) {
        error = EISDIR;
        status = SB_INVALID;
        goto done;
    }
    for (size_t capacity = 0;;) {
        if (size == capacity) {
            capacity = capacity ? capacity * 2 : 4096;
            uint8_t *grown = sb_realloc(bytes, capacity);
            error = ENOMEM;
            status = SB_NOMEM;
            if (!grown)
                goto done;
            bytes = grown;
        }
        ssize_t got = read(fd, bytes + size, capacity - size);
        if (got < 0 && errno == EINTR)
            continue;
        error = got < 0 ? errno : 0;
        status = got < 0 ? sb_status_from_errno(error) : SB_OK;
        if (got <= 0)
            break;
        size += (size_t)got;
        if (size > max) {
            error = EFBIG;
            status = SB_LIMIT;
            break;
        }
    }
done:
    if (fd >= 0)
        close(fd);
    if (status != SB_OK) {
        sb_free(bytes);
        return sb_why_set(why, status, "cannot read %s: %s", path, strerror(error));
    }
    *ret_bytes = bytes;
    *ret_size = size;
    return SB_OK;
}

static const char *get_variable(void *context, const char *name)
{
    (void)context;
    return getenv(name);
}

/* client: without listeners and workers, which are the daemon's alone. */
static sb_status load(const char *path, bool must_exist, bool client, sb_ns timeout,
                      sb_settings **ret, sb_why *why)
{
    sb_settings *settings = NULL;
    sb_status status = sb_settings_new(get_variable, NULL, geteuid() == 0, &settings);
    if (status != SB_OK)
        return sb_why_set(why, status, "no memory for the configuration");
    status = overlay(path, must_exist, client, settings, why);
    if (status == SB_OK)
        status = sb_settings_env(settings, get_variable, NULL, why);
    if (status == SB_OK && client) {
        settings->listen.dns_count = 0;
        settings->listen.http_on = false;
        settings->listen.workers = 0;
        if (timeout > 0)
            settings->query.timeout = timeout;
    }
    if (status == SB_OK)
        status = sb_settings_freeze(settings, why);
    if (status == SB_OK && !client && settings->cache.share == SB_SHARE_GROUP)
        status = group_exists("cache.share", settings->cache.share_group, why);
    if (status == SB_OK && !client && settings->listen.control_group)
        status = group_exists("listen.control", settings->listen.control_group, why);
    if (status != SB_OK)
        sb_settings_unref(settings);
    else
        *ret = settings;
    return status;
}

static sb_status group_exists(const char *key, const char *name, sb_why *why)
{
    if (getgrnam(name))
        return SB_OK;
    return sb_why_set(why, SB_NOTFOUND, "%s: there is no group %s", key, name);
}

/* A default file that is not there, or not for a client's eyes, is no file. */
static sb_status overlay(const char *path, bool must_exist, bool client, sb_settings *settings,
                         sb_why *why)
{
    uint8_t *bytes;
    size_t size;
    sb_status status = sb_cli_read_file(path, SB_CONF_SIZE_MAX, &bytes, &size, why);
    if (!must_exist && (status == SB_NOTFOUND || (client && status == SB_PERM)))
        return SB_OK;
    if (status != SB_OK)
        return status;
    status = sb_conf_load(bytes, size, path, settings, why);
    sb_free(bytes);
    return status;
}
