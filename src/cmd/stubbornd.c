/* stubbornd: the resolver daemon. Arguments, the process itself, exit codes; the rest is
 * stubbornd_*.c. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "cmd/stubbornd.h"

enum { EXIT_OK = 0, EXIT_TROUBLE = 1, EXIT_USAGE = 2 };

typedef struct arguments {
    const char *config;
    bool check, version, help;
} arguments;

static const char usage[] = "usage: stubbornd [-c FILE] [--check] [--version] [--help]\n"
                            "  -c, --config FILE  read FILE instead of " SB_CONFIG_DEFAULT "\n"
                            "  --check            say whether the configuration is right, and end\n"
                            "  -V, --version      print the version, and end\n"
                            "  -h, --help         print this, and end\n";

static bool read_arguments(int count, char **words, arguments *ret, sb_why *why);
static void prepare_process(void);
static int serve(sb_daemon *daemon, bool check_only);
static int complain(const sb_why *why, int code);

int main(int argc, char **argv)
{
    arguments args = {0};
    sb_why why = {0};
    if (!read_arguments(argc, argv, &args, &why)) {
        (void)complain(&why, EXIT_USAGE);
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    if (args.help) {
        fputs(usage, stdout);
        return EXIT_OK;
    }
    if (args.version) {
        puts("stubbornd " SB_VERSION);
        return EXIT_OK;
    }
    prepare_process();
    sb_daemon daemon = {.config_path = args.config ? args.config : getenv("STUBBORN_CONFIG")};
    if (daemon.config_path && !daemon.config_path[0])
        daemon.config_path = NULL;
    int error = uv_loop_init(&daemon.loop);
    if (error)
        return complain(&(sb_why){"the event loop does not start"}, EXIT_TROUBLE);
    int code = EXIT_TROUBLE;
    if (sb_uv_env_new(&daemon.loop, &daemon.uv, &why) == SB_OK) {
        daemon.env = sb_uv_env_base(daemon.uv);
        code = serve(&daemon, args.check);
    } else {
        (void)complain(&why, code);
    }
    sb_uv_env_free(daemon.uv);
    (void)uv_loop_close(&daemon.loop);
    return code;
}

static int serve(sb_daemon *daemon, bool check_only)
{
    sb_why why = {0};
    if (sb_daemon_config(daemon->env, daemon->config_path, &daemon->settings, &why) != SB_OK)
        return complain(&why, EXIT_TROUBLE);
    if (check_only) {
        for (size_t i = 0; i < daemon->settings->warning_count; i++)
            fprintf(stderr, "stubbornd: warning: %s\n", daemon->settings->warnings[i]);
        puts("the configuration is right");
        sb_settings_unref(daemon->settings);
        return EXIT_OK;
    }
    int code = EXIT_OK;
    if (sb_daemon_start(daemon, &why) == SB_OK)
        sb_daemon_run(daemon);
    else
        code = complain(&why, EXIT_TROUBLE);
    sb_daemon_close(daemon);
    return code;
}

static bool read_arguments(int count, char **words, arguments *ret, sb_why *why)
{
    for (int i = 1; i < count; i++) {
        const char *word = words[i];
        bool *flag = strcmp(word, "--check") == 0                                ? &ret->check
                     : strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0 ? &ret->version
                     : strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0    ? &ret->help
                                                                                 : NULL;
        if (flag) {
            *flag = true;
        } else if (strcmp(word, "-c") == 0 || strcmp(word, "--config") == 0) {
            if (++i == count || !words[i][0]) {
                (void)sb_why_set(why, SB_INVALID, "%s wants the path of a file", word);
                return false;
            }
            ret->config = words[i];
        } else {
            (void)sb_why_set(why, SB_INVALID, "\"%s\" is not understood", word);
            return false;
        }
    }
    return true;
}

/* Thousands of clients over TCP, and a socket per question under way, need descriptors. A limit
 * that is met (RLIMIT_FSIZE) is an error like a full disk, not the end. */
static void prepare_process(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN);
    sb_uv_guard_sigbus();
}

static int complain(const sb_why *why, int code)
{
    fprintf(stderr, "stubbornd: %s\n", why->text);
    return code;
}
