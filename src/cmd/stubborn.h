/* What the files of the command share: arguments, the table of commands, asking, printing.
 *
 * Included by stubborn*.c only. The main thread, but for stubborn_local.c's own. */
#ifndef SB_CMD_STUBBORN_H
#define SB_CMD_STUBBORN_H

#include <jansson.h>

#include "core/settings.h"
#include "dns/reply.h"
#include "edge/cache.h"
#include "edge/client.h"

enum { /* CONTRACT, Command */
       SB_EXIT_OK = 0,
       SB_EXIT_USAGE = 2,
       SB_EXIT_DEGRADED = 3,
       SB_EXIT_NO_NAME = 4,
       SB_EXIT_FAILED = 5,
       SB_EXIT_NO_DAEMON = 6
};

/* id, long name, letter (0 none), name of its value (NULL: a flag), what it does. Help, completions
 * and the parser are made of this. */
#define SB_ARG_TABLE(X)                                                                            \
    X(HELP, "help", 'h', NULL, "show how it is used")                                              \
    X(JSON, "json", 0, NULL, "print one JSON object")                                              \
    X(CONFIG, "config", 'c', "FILE", "read this configuration file")                               \
    X(SOCKET, "socket", 's', "PATH", "the daemon's Unix socket")                                   \
    X(TIMEOUT, "timeout", 't', "DURATION", "give up after this long")                              \
    X(VERBOSE, "verbose", 'v', NULL, "say more")                                                   \
    X(URL, "url", 0, NULL, "print the target with its host replaced by the best address")          \
    X(FORCE, "force", 0, NULL, "replace the host of TLS schemes too")                              \
    X(STRICT, "strict", 0, NULL, "exit 3 when the answer is degraded")                             \
    X(PASS_THROUGH, "pass-through", 0, NULL, "print the target unchanged when all fails")          \
    X(DNSSEC, "dnssec", 0, NULL, "ask for signatures (DO)")                                        \
    X(NO_CHECK, "cd", 0, NULL, "ask upstreams not to validate (CD)")                               \
    X(FOR, "for", 0, "DURATION", "withdraw the pin after this long")                               \
    X(BELOW, "below", 0, "SUFFIX", "the suffix and every name below it")                           \
    X(ALL, "all", 0, NULL, "everything")

typedef enum sb_arg {
#define SB_ARG_ENUM(id, name, letter, value, help) SB_ARG_##id,
    SB_ARG_TABLE(SB_ARG_ENUM)
#undef SB_ARG_ENUM
        SB_ARG_COUNT
} sb_arg;
#define SB_ARG_BIT(id) (1u << SB_ARG_##id)
#define SB_ARGS_COMMON                                                                             \
    (SB_ARG_BIT(HELP) | SB_ARG_BIT(JSON) | SB_ARG_BIT(CONFIG) | SB_ARG_BIT(SOCKET) |               \
     SB_ARG_BIT(TIMEOUT) | SB_ARG_BIT(VERBOSE))

typedef struct sb_cli sb_cli;

typedef struct sb_command {
    const char *name;     /* one word or two */
    const char *operands; /* synopsis, "" none */
    unsigned least, most; /* operands */
    uint32_t args;        /* beyond the common ones */
    const char *summary;
    int (*run)(sb_cli *); /* NULL: not there yet */
} sb_command;

struct sb_cli {
    const sb_command *command;
    const char *arg[SB_ARG_COUNT]; /* NULL absent, "" a flag that is there */
    const char **operands;
    unsigned operand_count;
    sb_ns timeout; /* 0: not given */
    const sb_settings *settings;
    bool socket_lost;       /* listen.socket could not be read: fault says why */
    sb_why fault;           /* the first mistake of the configuration; "" none */
    bool fault_later;       /* who calls sb_cli_settings tells of fault, or has no need to */
    struct sb_world *world; /* stubborn_ask.c's; NULL until a question is asked */
};
static inline bool sb_cli_has(const sb_cli *cli, sb_arg arg)
{
    return cli->arg[arg] != NULL;
}

/* The table; its last row has no name. */
extern const sb_command sb_commands[];

/* stubborn_args.c: fills cli from the words; a sentence in why when they make no sense. Operands
 * are written into the array given, which has room for count. */
SB_MUST_USE sb_status sb_args_read(sb_cli *cli, int count, char **words, const char **operands,
                                   sb_why *why);
/* Usage of one command, or the list of all (NULL). */
void sb_args_help(const sb_command *command);
/* The same of one command as an object. */
json_t *sb_args_json(const sb_command *command);
const char *sb_args_name(sb_arg arg);
const char *sb_args_value(sb_arg arg); /* NULL: a flag */
const char *sb_args_text(sb_arg arg);
char sb_args_letter(sb_arg arg);

/* stubborn_config.c: loads what -c, STUBBORN_CONFIG or the default path say, with the environment
 * over it, and without listeners: this is a client. What is wrong in it is warned of in one line
 * and left out. False, with the sentence printed: exit with USAGE. */
bool sb_cli_settings(sb_cli *cli);
void sb_cli_warn_of_fault(const sb_cli *cli);
/* False, with the sentence printed: where the daemon listens is the very thing that is wrong. */
bool sb_cli_knows_socket(const sb_cli *cli);
/* Search list and ndots: the configuration's, else resolv.conf's. */
void sb_cli_search(const sb_cli *cli, sb_resolv_conf *ret);
/* A name or alias of /etc/hosts; name folded. */
bool sb_cli_in_hosts(const sb_name *name);
/* A whole small file. SB_NOTFOUND when absent. */
SB_MUST_USE sb_status sb_cli_read_file(const char *path, size_t max, uint8_t **ret_bytes,
                                       size_t *ret_size, sb_why *why);

/* stubborn_ask.c: one question and how it went. */
typedef struct sb_asked {
    sb_question question; /* in */
    bool answered;
    bool is_final;       /* nothing the cache file knows takes its place */
    bool from_file;      /* of the cache file, read by ourselves */
    sb_edge_reply reply; /* when answered */
    sb_status status;    /* when not */
} sb_asked;
/* Looks at what has come so far: how long the rest may still take; SB_NEVER: to the deadline. */
typedef sb_ns sb_ask_grace(const sb_asked *asked, size_t count);
/* All at once: of the daemon, of an engine of our own without one, of the cache file when both
 * fail. grace may be NULL. ask: SB_ASK_…. */
void sb_cli_ask(sb_cli *cli, sb_asked *asked, size_t count, uint8_t ask, sb_ask_grace *grace);
void sb_asked_fini(sb_asked *asked, size_t count);
/* The outcome of one: what the provenance says, else what the reply says. */
sb_outcome sb_asked_outcome(const sb_asked *asked);
bool sb_asked_degraded(const sb_asked *asked);
/* Who answered last, for people: the daemon's socket, "this process", the cache file. */
const char *sb_cli_via(const sb_cli *cli);
/* Whether it was the daemon; null when nobody was asked. */
json_t *sb_cli_json_daemon(const sb_cli *cli);
/* The evidence behind a doubt, the life of its addresses and the trail of its pins, where there is
 * a daemon that may say; else nothing. */
void sb_cli_print_doubt(sb_cli *cli, const sb_question *question);
/* The daemon's socket, by arguments, environment, configuration and what is there. */
const char *sb_cli_socket(const sb_cli *cli);
/* Of the command as a whole, for what is asked beside its questions; 0: the daemon hangs, and is
 * asked nothing. */
sb_ns sb_cli_deadline(const sb_cli *cli);
void sb_cli_close(sb_cli *cli);

/* stubborn_http.c: what the control socket would reply to status, health and upstreams, over HTTP;
 * NULL when that is off, of another daemon, or does not answer. Owned. */
json_t *sb_cli_http(const sb_cli *cli, const char *verb);

/* stubborn_print.c */
/* The error: one sentence to stderr, "stubborn: " before it; with --json the first of them is
 * {"error": …} on stdout. */
void sb_cli_complain(const char *format, ...) SB_PRINTF(1, 2);
/* What is no error: one sentence to stderr. Not with --json, where the document says it. */
void sb_cli_note(const char *format, ...) SB_PRINTF(1, 2);
/* What was got round, and would stop a daemon: to stderr, with --json as well. */
void sb_cli_warn(const char *format, ...) SB_PRINTF(1, 2);
void sb_cli_json_errors(void); /* --json was given */
/* One line of JSON to stdout; the value is consumed. */
void sb_cli_json(json_t *take_value);
/* The CONTRACT's word for how a question went. */
const char *sb_status_word(sb_outcome outcome);
json_t *sb_json_tried(const sb_asked *asked);
/* {"code","purpose","text"} or null. */
json_t *sb_json_ede(const sb_asked *asked);
/* Nothing for no provenance; appended. */
void sb_json_add_tried(json_t *list, const sb_asked *asked);
json_t *sb_json_address_port(const sb_addr *addr); /* null without family */
json_t *sb_json_source(uint8_t source);
/* "dns 192.0.2.1:53, learned 12 s ago" and the like. */
void sb_text_provenance(const sb_asked *asked, sb_text *ret_text);
/* The rungs of the ladder, a line each: strategy, outcome, time, server. */
void sb_text_rungs(const sb_asked *asked, const char *lead, sb_text *ret_text);
/* "EDE 22, no reachable authority: …" of the reply, "" without. */
void sb_text_ede(const sb_asked *asked, sb_text *ret_text);
/* The name's argument, or a complaint and false. */
bool sb_cli_name(const char *text, sb_name *ret_name);

/* The commands. */
int sb_run_resolve(sb_cli *cli);
int sb_run_query(sb_cli *cli);
int sb_run_explain(sb_cli *cli);
int sb_run_status(sb_cli *cli);
int sb_run_health(sb_cli *cli);
int sb_run_upstreams(sb_cli *cli);
int sb_run_upstreams_reset(sb_cli *cli);
int sb_run_cache_list(sb_cli *cli);
int sb_run_cache_flush(sb_cli *cli);
int sb_run_cache_dump(sb_cli *cli);
int sb_run_cache_load(sb_cli *cli);
int sb_run_cache_warm(sb_cli *cli);
int sb_run_cache_obey(sb_cli *cli);
int sb_run_pins(sb_cli *cli);
int sb_run_pin(sb_cli *cli);
int sb_run_unpin(sb_cli *cli);
int sb_run_config_check(sb_cli *cli);
int sb_run_reload(sb_cli *cli);
int sb_run_log(sb_cli *cli);
int sb_run_completion(sb_cli *cli);
int sb_run_help(sb_cli *cli);
int sb_run_version(sb_cli *cli);

#endif
