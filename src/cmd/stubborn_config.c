/* The configuration as a client needs it, and `config check`.
 *
 * Reads files; never listens, never talks. The main thread. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "cmd/stubborn.h"
#include "conf/yaml.h"
#include "front/view.h"

#define DEFAULT_PATH "/etc/stubborn/stubborn.yaml"
#define RESOLV_CONF_MAX ((size_t)64 * 1024)
#define HOSTS_MAX ((size_t)4 * 1024 * 1024)

static const char *get_variable(void *context, const char *name);
static sb_status load(const char *path, bool must_exist, sb_settings **ret, sb_why *why);
static sb_status load_client(sb_cli *cli, const char *path, bool must_exist, sb_settings **ret,
                             sb_why *why);
static sb_status freeze_client(sb_cli *cli, sb_settings *settings);
static sb_status group_exists(const char *key, const char *name, const sb_origin *origin,
                              sb_why *why);
static sb_status read_config(const char *path, bool must_exist, bool client, uint8_t **ret_bytes,
                             size_t *ret_size, sb_why *why);

bool sb_cli_settings(sb_cli *cli)
{
    sb_why why = {{0}};
    sb_settings *settings = NULL;
    const char *path = cli->arg[SB_ARG_CONFIG];
    if (cli->settings)
        return true;
    if (!path)
        path = getenv("STUBBORN_CONFIG");
    bool must_exist = path && path[0];
    if (!must_exist)
        path = DEFAULT_PATH;
    if (load_client(cli, path, must_exist, &settings, &why) != SB_OK) {
        sb_cli_complain("%s", why.text);
        return false;
    }
    if (!cli->fault_later)
        sb_cli_warn_of_fault(cli);
    cli->settings = settings;
    return true;
}

void sb_cli_warn_of_fault(const sb_cli *cli)
{
    if (cli->fault.text[0])
        sb_cli_warn("%s; going on without it", cli->fault.text);
}

bool sb_cli_knows_socket(const sb_cli *cli)
{
    if (!cli->socket_lost || cli->arg[SB_ARG_SOCKET])
        return true;
    sb_cli_complain("where the daemon listens is not known: %s", cli->fault.text);
    return false;
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

/* Read without the engine's table: one name is looked for, once. */
bool sb_cli_in_hosts(const sb_name *name)
{
    uint8_t *bytes;
    size_t size, at = 0;
    bool found = false, comment = false;
    unsigned word = 0; /* of the line; the first is the address */
    if (sb_cli_read_file("/etc/hosts", HOSTS_MAX, &bytes, &size, NULL) != SB_OK)
        return false;
    while (at < size && !found) {
        size_t end = at;
        sb_name known;
        while (end < size && bytes[end] > ' ' && bytes[end] != '#')
            end++;
        if (end > at && !comment && word++ > 0 &&
            sb_name_parse((const char *)bytes + at, end - at, &known, NULL) == SB_OK) {
            sb_name_fold(&known);
            found = sb_name_equal(&known, name);
        }
        if (end < size && bytes[end] == '\n') {
            word = 0;
            comment = false;
        } else if (end < size && bytes[end] == '#') {
            comment = true;
        }
        at = end + 1;
    }
    sb_free(bytes);
    return found;
}

int sb_run_config_check(sb_cli *cli)
{
    sb_why why = {{0}};
    sb_settings *settings = NULL;
    const char *path = cli->operand_count ? cli->operands[0] : cli->arg[SB_ARG_CONFIG];
    if (!path || !path[0])
        path = getenv("STUBBORN_CONFIG");
    bool named = path && path[0];
    if (!named)
        path = DEFAULT_PATH;
    bool absent = !named && access(path, F_OK) != 0 && errno == ENOENT;
    sb_status status = load(path, named, &settings, &why);
    json_t *warnings = json_array();
    for (size_t i = 0; settings && i < settings->warning_count; i++) {
        json_array_append_new(warnings, sb_view_string(settings->warnings[i]));
        if (!sb_cli_has(cli, SB_ARG_JSON))
            sb_cli_note("warning: %s", settings->warnings[i]);
    }
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

/* As the daemon reads it. */
static sb_status load(const char *path, bool must_exist, sb_settings **ret, sb_why *why)
{
    sb_settings *settings = NULL;
    uint8_t *bytes = NULL;
    size_t size = 0;
    sb_status status = sb_settings_new(get_variable, NULL, geteuid() == 0, &settings);
    if (status != SB_OK)
        return sb_why_set(why, status, "no memory for the configuration");
    status = read_config(path, must_exist, false, &bytes, &size, why);
    if (status == SB_OK && bytes)
        status = sb_conf_load(bytes, size, path, settings, why);
    if (status == SB_OK)
        status = sb_settings_env(settings, get_variable, NULL, why);
    sb_settings_env_unread(settings, environ);
    if (status == SB_OK)
        status = sb_settings_freeze(settings, why);
    if (status == SB_OK)
        status = sb_settings_reachable(settings, why);
    if (status == SB_OK && settings->cache.share == SB_SHARE_GROUP)
        status = group_exists("cache.share", settings->cache.share_group,
                              &settings->cache.share_origin, why);
    if (status == SB_OK && settings->listen.control_group)
        status = group_exists("listen.control", settings->listen.control_group,
                              &settings->listen.control_origin, why);
    sb_free(bytes);
    if (status != SB_OK)
        sb_settings_unref(settings);
    else
        *ret = settings;
    return status;
}

/* Without listeners and workers, which are the daemon's alone, and without what is wrong: that
 * stops a start, not a question. */
static sb_status load_client(sb_cli *cli, const char *path, bool must_exist, sb_settings **ret,
                             sb_why *why)
{
    sb_settings *settings = NULL;
    uint8_t *bytes = NULL;
    size_t size = 0;
    sb_why fault = {{0}};
    const char *chosen = getenv("STUBBORN_SOCKET");
    sb_status status = sb_settings_new(get_variable, NULL, geteuid() == 0, &settings);
    if (status != SB_OK)
        return sb_why_set(why, status, "no memory for the configuration");
    status = read_config(path, must_exist, true, &bytes, &size, why);
    if (status == SB_OK && bytes &&
        sb_conf_load_leniently(bytes, size, path, settings, &cli->socket_lost, &cli->fault) ==
            SB_NOMEM)
        status = sb_why_set(why, SB_NOMEM, "%s", cli->fault.text);
    if (status == SB_OK &&
        sb_settings_env_leniently(settings, get_variable, NULL, &fault) != SB_OK &&
        !cli->fault.text[0])
        cli->fault = fault;
    size_t warnings = settings->warning_count;
    sb_settings_env_unread(settings, environ);
    if (settings->warning_count > warnings && !cli->fault.text[0])
        (void)sb_why_set(&cli->fault, SB_INVALID, "%s", settings->warnings[warnings]);
    if (chosen && chosen[0]) {
        cli->socket_lost = strcmp(settings->listen.socket, chosen) != 0;
        if (cli->socket_lost && fault.text[0])
            cli->fault = fault;
    }
    if (status == SB_OK) {
        settings->listen.dns_count = 0;
        settings->listen.workers = 0;
        if (cli->timeout > 0)
            settings->query.timeout = cli->timeout;
        status = freeze_client(cli, settings);
        if (status != SB_OK)
            (void)sb_why_set(why, status, "%s", cli->fault.text);
    }
    sb_free(bytes);
    if (status != SB_OK)
        sb_settings_unref(settings);
    else
        *ret = settings;
    return status;
}

/* What does not fit together goes, the least needed first. */
static sb_status freeze_client(sb_cli *cli, sb_settings *settings)
{
    sb_why fault = {{0}};
    sb_status status = sb_settings_freeze(settings, &fault);
    for (unsigned step = 0; status == SB_INVALID && step < 5; step++) {
        switch (step) {
        case 0:
            settings->cache.ttl_min_s = 0;
            settings->health.degraded_permille = 0;
            settings->service_count = 0;
            break;
        case 1:
            settings->name_count = 0;
            break;
        case 2:
            settings->route_count = 0;
            break;
        case 3:
            settings->upstream_count = 0;
            break;
        default:
            settings->listen.socket = "";
            cli->socket_lost = true;
        }
        status = sb_settings_freeze(settings, NULL);
    }
    if (!cli->fault.text[0] || status != SB_OK)
        cli->fault = fault;
    return status;
}

static sb_status group_exists(const char *key, const char *name, const sb_origin *origin,
                              sb_why *why)
{
    if (getgrnam(name))
        return SB_OK;
    return sb_settings_complain(why, SB_NOTFOUND, origin, "%s: there is no group %s", key, name);
}

/* A default file that is not there, or not for a client's eyes, is no file: NULL. */
static sb_status read_config(const char *path, bool must_exist, bool client, uint8_t **ret_bytes,
                             size_t *ret_size, sb_why *why)
{
    sb_status status = sb_cli_read_file(path, SB_CONF_SIZE_MAX, ret_bytes, ret_size, why);
    return !must_exist && (status == SB_NOTFOUND || (client && status == SB_PERM)) ? SB_OK : status;
}
