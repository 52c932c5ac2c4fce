/* The in-process engine: one thread, one loop, the DNS front on a socket nobody else can reach.
 *
 * The caller's thread only starts it, talks through the socket and stops it; nothing else is
 * shared. */
#include "cmd/stubborn_local.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/log.h"
#include "base/mem.h"
#include "front/dns_front.h"
#include "io/uv_env.h"
#include "resolve/engine.h"

#define PATH_BYTES 100 /* sun_path holds 108 */

struct sb_local {
    const sb_settings *settings;
    char directory[PATH_BYTES - 8];
    char socket[PATH_BYTES];
    bool hidden;
    bool has_cache;
    pthread_t thread;
    bool running;
    uv_sem_t ready;   /* posted once by the thread; orders what it wrote before */
    sb_status status; /* of the start */
    sb_why why;
    uv_async_t stop; /* lives on the thread's loop; sent by the caller */
    sb_uv_env *env;
};

static sb_status make_directory(sb_local *local, sb_why *why);
static void *thread_main(void *argument);
static sb_status serve(sb_local *local, uv_loop_t *loop, sb_why *why);
static const char *own_cache_path(const sb_settings *settings);
static void fill_client(const sb_settings *settings, sb_l1_client_settings *ret);
static void stop_asked(uv_async_t *handle);

sb_status sb_local_start(const sb_settings *settings, sb_local **ret, sb_why *why)
{
    sb_local *local = sb_new(sb_local);
    if (!local)
        return sb_why_set(why, SB_NOMEM, "no memory for an engine");
    local->settings = sb_settings_ref(settings);
    if (uv_sem_init(&local->ready, 0) != 0) {
        sb_settings_unref(settings);
        sb_free(local);
        return sb_why_set(why, SB_NOMEM, "no memory for an engine");
    }
    sb_status status = make_directory(local, why);
    if (status != SB_OK)
        goto done;
    int error = pthread_create(&local->thread, NULL, thread_main, local);
    if (error) {
        status = sb_why_set(why, sb_status_from_errno(error), "cannot start a thread: %s",
                            strerror(error));
        goto done;
    }
    local->running = true;
    uv_sem_wait(&local->ready);
    status = local->status;
    if (status != SB_OK) {
        sb_why_set(why, status, "%s", local->why.text);
        goto done;
    }
    *ret = local;
    local = NULL;
done:
    sb_local_stop(local);
    return status;
}

const char *sb_local_socket(const sb_local *local)
{
    return local->socket;
}

void sb_local_hide(sb_local *local)
{
    if (local->hidden)
        return;
    local->hidden = true;
    (void)unlink(local->socket);
    (void)rmdir(local->directory);
}

bool sb_local_has_cache(const sb_local *local)
{
    return local->has_cache;
}

void sb_local_stop(sb_local *local)
{
    if (!local)
        return;
    if (local->running) {
        if (local->status == SB_OK)
            (void)uv_async_send(&local->stop);
        (void)pthread_join(local->thread, NULL);
    }
    if (local->directory[0])
        sb_local_hide(local);
    uv_sem_destroy(&local->ready);
    sb_settings_unref(local->settings);
    sb_free(local);
}

static sb_status make_directory(sb_local *local, sb_why *why)
{
    const char *places[] = {getenv("XDG_RUNTIME_DIR"), getenv("TMPDIR"), "/tmp"};
    for (size_t i = 0; i < SB_ARRAY_SIZE(places); i++) {
        if (!places[i] || places[i][0] != '/')
            continue;
        int size =
            snprintf(local->directory, sizeof local->directory, "%s/stubborn-XXXXXX", places[i]);
        if (size <= 0 || (size_t)size >= sizeof local->directory || !mkdtemp(local->directory))
            continue;
        (void)snprintf(local->socket, sizeof local->socket, "%s/s", local->directory);
        return SB_OK;
    }
    int error = errno;
    local->directory[0] = '\0';
    return sb_why_set(why, sb_status_from_errno(error), "cannot make a directory in /tmp: %s",
                      strerror(error));
}

static void *thread_main(void *argument)
{
    sb_local *local = argument;
    uv_loop_t loop;
    sb_why why = {{0}};
    if (uv_loop_init(&loop) != 0) {
        local->status = sb_why_set(&local->why, SB_NOMEM, "no memory for an engine");
        uv_sem_post(&local->ready);
        return NULL;
    }
    sb_status status = serve(local, &loop, &why);
    if (status != SB_OK) {
        local->status = sb_why_set(&local->why, status, "%s", why.text);
        uv_sem_post(&local->ready);
    }
    (void)uv_loop_close(&loop);
    return NULL;
}

/* Until stopped. A failure is one of the start: nothing has been posted then. */
static sb_status serve(sb_local *local, uv_loop_t *loop, sb_why *why)
{
    sb_l1 *l1 = NULL;
    sb_engine *engine = NULL;
    sb_dns_front *front = NULL;
    const sb_settings *s = local->settings;
    sb_why trouble = {{0}};
    sb_status status = sb_uv_env_new(loop, &local->env, why);
    if (status != SB_OK)
        return status;
    sb_env *env = sb_uv_env_base(local->env);
    sb_l1_options cache = {.path = own_cache_path(s),
                           .size_bytes = s->cache.size_bytes,
                           .mode = 0600,
                           .group = -1,
                           .policy_hash = s->hash};
    fill_client(s, &cache.client);
    if (cache.path[0] && sb_uv_make_parent(cache.path, NULL) != SB_OK)
        cache.path = "";
    status = sb_l1_open(env, &cache, &l1, &trouble);
    if (status != SB_OK) {
        sb_why_set(why, status, "no memory for the cache");
        goto done;
    }
    if (trouble.text[0]) /* seen with --verbose: a question needs no file */
        sb_log(CACHE, WARN, sb_l1_in_file(l1) ? "cache file repaired" : "cache in memory only",
               "reason=%s", SB_Q(trouble.text));
    local->has_cache = sb_l1_in_file(l1);
    sb_engine_options options = {.env = env,
                                 .settings = s,
                                 .l1 = l1,
                                 .hosts_path = "/etc/hosts",
                                 .resolv_conf_path = "/etc/resolv.conf"};
    status = sb_engine_new(&options, &engine, why);
    if (status != SB_OK)
        goto done;
    sb_dns_front_options door = {.engine = engine, .socket_path = local->socket};
    status = sb_dns_front_new(&door, &front, why);
    if (status != SB_OK)
        goto done;
    if (uv_async_init(loop, &local->stop, stop_asked) != 0) {
        status = sb_why_set(why, SB_NOMEM, "no memory for an engine");
        goto done;
    }
    local->stop.data = local;
    uv_sem_post(&local->ready);
    sb_uv_env_run(local->env);
    uv_close((uv_handle_t *)&local->stop, NULL);
done:
    sb_dns_front_free(front);
    sb_engine_free(engine);
    if (l1)
        sb_l1_close(l1);
    sb_uv_env_free(local->env);
    local->env = NULL;
    return status;
}

/* The file of another user is read, not written: a file made anew by root would lock its daemon
 * out. */
static const char *own_cache_path(const sb_settings *settings)
{
    struct stat st;
    const char *path = settings->cache.file;
    if (!path || !path[0])
        return "";
    if (lstat(path, &st) == 0)
        return S_ISREG(st.st_mode) && st.st_uid == geteuid() ? path : "";
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return "";
    char *parent = sb_strdup(path);
    if (!parent)
        return "";
    parent[slash - path] = '\0';
    bool theirs = lstat(parent, &st) == 0 && st.st_uid != geteuid();
    sb_free(parent);
    return theirs ? "" : path;
}

static void fill_client(const sb_settings *settings, sb_l1_client_settings *ret)
{
    sb_writer search = sb_writer_of(ret->search, sizeof ret->search - 1);
    *ret = (sb_l1_client_settings){.ndots = settings->query.ndots,
                                   .family = settings->query.family,
                                   .stale_answer_ttl_s = settings->cache.stale_ttl_s};
    (void)snprintf(ret->socket_path, sizeof ret->socket_path, "%s", settings->listen.socket);
    for (size_t i = 0; i < settings->query.search_count; i++) {
        char text[SB_NAME_TEXT_MAX];
        sb_name_text(&settings->query.search[i], text);
        if (strlen(text) + 1 > sb_writer_left(&search))
            break; /* whole names only */
        if (search.size > 0)
            sb_write_u8(&search, ' ');
        sb_write_text(&search, text);
    }
}

static void stop_asked(uv_async_t *handle)
{
    sb_local *local = handle->data;
    sb_uv_env_stop(local->env);
}
