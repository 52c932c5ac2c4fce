/* stubborn(1): the table of commands and the way into them.
 *
 * Never resolves anything itself. Everything a person can type stands in this table; help and
 * completions are made of it. The main thread. */
#include "cmd/stubborn.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"

#define NOT_YET NULL

const sb_command sb_commands[] = {
    {"resolve", "TARGET", 1, 1,
     SB_ARG_BIT(URL) | SB_ARG_BIT(FORCE) | SB_ARG_BIT(STRICT) | SB_ARG_BIT(PASS_THROUGH),
     "print the addresses of a host, host:port or URL, best first", sb_run_resolve},
    {"query", "NAME [TYPE]", 1, 2, SB_ARG_BIT(STRICT) | SB_ARG_BIT(DNSSEC) | SB_ARG_BIT(NO_CHECK),
     "print the DNS answer and where it came from", sb_run_query},
    {"explain", "NAME [TYPE]", 1, 2, SB_ARG_BIT(STRICT),
     "ask anew and show which rungs were tried, what each said, and why this answer",
     sb_run_explain},
    {"services", "NAME", 0, UINT32_MAX, 0, "list the endpoints of a service", NOT_YET},
    {"status", "", 0, 0, 0, "show what the daemon is and does", sb_run_status},
    {"health", "[SERVICE]", 0, 1, SB_ARG_BIT(STRICT), "show the daemon's health, or a service's",
     sb_run_health},
    {"upstreams", "[reset]", 0, 0, 0, "list the upstream servers and how each is doing",
     sb_run_upstreams},
    {"upstreams reset", "", 0, 0, 0, "forget which upstream servers failed, and ask them anew",
     sb_run_upstreams_reset},
    {"top", "", 0, UINT32_MAX, 0, "watch names, sources and upstreams live", NOT_YET},
    {"cache list", "[SUFFIX]", 0, 1, 0, "list what the cache holds", sb_run_cache_list},
    {"cache flush", "[NAME]", 0, 1, SB_ARG_BIT(BELOW) | SB_ARG_BIT(ALL),
     "forget a name, a suffix or everything", sb_run_cache_flush},
    {"cache obey", "NAME", 1, 1, 0, "believe a doubted deletion", sb_run_cache_obey},
    {"cache dump", "[FILE]", 0, 1, 0, "write every entry as a line of JSON", sb_run_cache_dump},
    {"cache load", "[FILE]", 0, 1, 0, "read back what dump wrote", sb_run_cache_load},
    {"cache warm", "NAME...", 1, 1000, 0, "resolve names now and keep them", sb_run_cache_warm},
    {"pins", "", 0, 0, 0, "list the pins, their life and their trail", sb_run_pins},
    {"pin", "NAME ADDRESS... | list", 1, 17, SB_ARG_BIT(FOR), "answer a name with these addresses",
     sb_run_pin},
    {"unpin", "NAME", 1, 1, 0, "withdraw a pin", sb_run_unpin},
    {"drill", "", 0, UINT32_MAX, 0, "rehearse an outage", NOT_YET},
    {"exec", "-- COMMAND", 0, UINT32_MAX, 0, "run one program with all of this", NOT_YET},
    {"connect", "TARGET", 0, UINT32_MAX, 0, "connect to the best address", NOT_YET},
    {"doctor", "", 0, UINT32_MAX, 0, "look for trouble", NOT_YET},
    {"config check", "[FILE]", 0, 1, 0, "read a configuration file and say what is wrong with it",
     sb_run_config_check},
    {"reload", "", 0, 0, 0, "make the daemon read its configuration anew", sb_run_reload},
    {"log", "[SUBSYSTEM LEVEL]", 0, 2, 0, "show or change what the daemon logs", sb_run_log},
    {"completion", "bash|zsh|fish", 1, 1, 0, "print completions for a shell", sb_run_completion},
    {"help", "[COMMAND]", 0, 2, 0, "show how it is used", sb_run_help},
    {"version", "", 0, 0, 0, "print the version", sb_run_version},
    {0},
};

static int run(sb_cli *cli);
static void drop_line(void *context, sb_log_level level, const char *line, size_t size);

int main(int argc, char **argv)
{
    sb_cli cli = {0};
    sb_why why = {{0}};
    int code = SB_EXIT_USAGE;
    (void)signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error, not the end */
    const char **operands = sb_calloc((size_t)argc + 1, sizeof *operands);
    if (!operands) {
        sb_cli_complain("out of memory");
        return SB_EXIT_FAILED;
    }
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0)
            sb_cli_json_errors();
    if (sb_args_read(&cli, argc - 1, argv + 1, operands, &why) != SB_OK)
        sb_cli_complain("%s", why.text);
    else
        code = run(&cli);
    sb_cli_close(&cli);
    sb_settings_unref(cli.settings);
    sb_free(operands);
    if (fflush(stdout) != 0 && code == SB_EXIT_OK) {
        sb_cli_complain("cannot write the output");
        code = SB_EXIT_FAILED;
    }
    return code;
}

int sb_run_help(sb_cli *cli)
{
    bool json = sb_cli_has(cli, SB_ARG_JSON), all = cli->operand_count == 0, found = false;
    json_t *list = json_array();
    size_t size = all ? 0 : strlen(cli->operands[0]);
    for (const sb_command *c = sb_commands; c->name; c++) {
        bool group = !all && strncmp(c->name, cli->operands[0], size) == 0 && c->name[size] == ' ';
        if (!all && strcmp(c->name, cli->operands[0]) != 0 && !group)
            continue;
        if (group && cli->operand_count > 1 && strcmp(c->name + size + 1, cli->operands[1]) != 0)
            continue;
        if (json)
            json_array_append_new(list, sb_args_json(c));
        else if (!all && found)
            (void)putchar('\n');
        if (!json && !all)
            sb_args_help(c);
        found = true;
    }
    if (!json && all)
        sb_args_help(NULL);
    if (json && found)
        sb_cli_json(json_pack("{s:O}", "commands", list));
    json_decref(list);
    if (found)
        return SB_EXIT_OK;
    sb_cli_complain("there is no command '%s'; see 'stubborn help'", cli->operands[0]);
    return SB_EXIT_USAGE;
}

int sb_run_version(sb_cli *cli)
{
    if (sb_cli_has(cli, SB_ARG_JSON))
        sb_cli_json(json_pack("{s:s}", "version", SB_VERSION));
    else
        printf("stubborn %s\n", SB_VERSION);
    return SB_EXIT_OK;
}

static int run(sb_cli *cli)
{
    const sb_command *command = cli->command;
    if (sb_cli_has(cli, SB_ARG_HELP)) {
        if (sb_cli_has(cli, SB_ARG_JSON))
            sb_cli_json(json_pack("{s:[o]}", "commands", sb_args_json(command)));
        else
            sb_args_help(command);
        return SB_EXIT_OK;
    }
    if (!command->run) {
        sb_cli_complain("'%s' is not there yet; it comes with a later version", command->name);
        return SB_EXIT_USAGE;
    }
    if (!sb_cli_has(cli, SB_ARG_VERBOSE)) /* what the engine would log, the answer tells */
        sb_log_set_sink(drop_line, NULL);
    return command->run(cli);
}

static void drop_line(void *context, sb_log_level level, const char *line, size_t size)
{
    (void)context;
    (void)level;
    (void)line;
    (void)size;
}
