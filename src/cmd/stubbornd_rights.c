/* Who may reach the daemon's sockets and its cache file: modes and groups by the settings, at the
 * start and at every reload. Opens nothing. Loop thread. */
#include "cmd/stubbornd.h"

static sb_status apply(const char *path, const sb_daemon_right *wanted, sb_daemon_right *now,
                       sb_why *why);
static bool same(const sb_daemon_right *a, const sb_daemon_right *b);

sb_status sb_daemon_rights_of(const sb_settings *settings, sb_daemon_rights *ret, sb_why *why)
{
    sb_share share = settings->cache.share;
    int64_t group = -1, control = -1;
    sb_status status = SB_OK;
    if (share == SB_SHARE_GROUP)
        status = sb_daemon_group("cache.share", settings->cache.share_group,
                                 &settings->cache.share_origin, &group, why);
    if (status == SB_OK)
        status = sb_daemon_group("listen.control", settings->listen.control_group,
                                 &settings->listen.control_origin, &control, why);
    if (status != SB_OK)
        return status;
    unsigned cache = share == SB_SHARE_ALL ? 0644 : share == SB_SHARE_GROUP ? 0640 : 0600;
    *ret = (sb_daemon_rights){
        .socket = {.mode = sb_dns_front_socket_mode(settings), .group = group},
        .cache = {.mode = cache, .group = group},
        .control = {.mode = SB_CONTROL_MODE, .group = control},
    };
    return SB_OK;
}

sb_status sb_daemon_rights_take(sb_daemon *d, const sb_settings *settings, sb_why *why)
{
    sb_daemon_rights wanted;
    sb_status status = sb_daemon_rights_of(settings, &wanted, why);
    if (status == SB_OK && d->started->listen.socket[0] &&
        !same(&wanted.socket, &d->rights.socket)) {
        status = apply(d->started->listen.socket, &wanted.socket, &d->rights.socket, why);
        sb_dns_front_hang_up(d->front);
    }
    if (status == SB_OK && sb_l1_in_file(d->l1))
        status = apply(d->started->cache.file, &wanted.cache, &d->rights.cache, why);
    if (status == SB_OK && d->control) {
        status = apply(d->started->listen.control, &wanted.control, &d->rights.control, why);
        if (status == SB_OK)
            sb_control_regroup(d->control, wanted.control.group);
    }
    return status;
}

/* What was removed meanwhile needs no rights. */
static sb_status apply(const char *path, const sb_daemon_right *wanted, sb_daemon_right *now,
                       sb_why *why)
{
    sb_why reason = {0};
    if (same(wanted, now))
        return SB_OK;
    now->mode = 0;
    sb_status status = sb_uv_permit(path, wanted->mode, wanted->group, &reason);
    if (status != SB_OK && status != SB_NOTFOUND)
        return sb_why_set(why, status, "%s", reason.text);
    *now = *wanted;
    return SB_OK;
}

static bool same(const sb_daemon_right *a, const sb_daemon_right *b)
{
    return a->mode == b->mode && a->group == b->group;
}
