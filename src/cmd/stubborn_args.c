/* The words of the command line: options anywhere, up to "--"; help made of the same tables.
 *
 * Never acts on anything. The main thread. */
#include "cmd/stubborn.h"

#include <stdio.h>
#include <string.h>

typedef struct arg_row {
    const char *name;
    char letter;
    const char *value;
    const char *help;
} arg_row;

static const arg_row rows[] = {
#define ROW(id, name, letter, value, help) {name, letter, value, help},
    SB_ARG_TABLE(ROW)
#undef ROW
};

static int find_long(const char *word, size_t size);
static int find_letter(char letter);
static sb_status read_option(sb_cli *cli, char **words, int count, int *at, sb_why *why);
static bool is_group(const char *word);
static sb_status choose_command(sb_cli *cli, const char **operands, unsigned count, sb_why *why);
static sb_status check(sb_cli *cli, sb_why *why);
static const char *near_command(const char *word);
static unsigned distance(const char *a, const char *b);

sb_status sb_args_read(sb_cli *cli, int count, char **words, const char **operands, sb_why *why)
{
    unsigned found = 0;
    bool plain = false, version = false;
    for (int i = 0; i < count; i++) {
        const char *word = words[i];
        if (plain || word[0] != '-' || word[1] == '\0') {
            operands[found++] = word;
        } else if (strcmp(word, "--") == 0) {
            plain = true;
        } else if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
            version = true;
        } else {
            sb_status status = read_option(cli, words, count, &i, why);
            if (status != SB_OK)
                return status;
        }
    }
    if (version) { /* before whatever else was said */
        operands[0] = "version";
        found = 1;
    }
    if (found == 0 && sb_cli_has(cli, SB_ARG_HELP)) {
        operands[found++] = "help";
        cli->arg[SB_ARG_HELP] = NULL; /* the list of commands, not the help of help */
    }
    if (found == 1 && sb_cli_has(cli, SB_ARG_HELP) && is_group(operands[0])) {
        operands[1] = operands[0]; /* there is room: --help was a word */
        operands[0] = "help";
        found = 2;
        cli->arg[SB_ARG_HELP] = NULL;
    }
    if (found == 0)
        return sb_why_set(why, SB_INVALID, "which command? see 'stubborn help'");
    sb_status status = choose_command(cli, operands, found, why);
    return status == SB_OK ? check(cli, why) : status;
}

void sb_args_help(const sb_command *command)
{
    if (!command) {
        printf("usage: stubborn COMMAND [OPTION...] [OPERAND...]\n\n");
        for (const sb_command *c = sb_commands; c->name; c++) {
            char line[64];
            (void)snprintf(line, sizeof line, "%s %s", c->name, c->operands);
            printf("  %-24s %s%s\n", line, c->summary, c->run ? "" : " (not there yet)");
        }
        printf("\nexit: 0 answered, 2 usage, 3 degraded (--strict), 4 no such name or record,\n"
               "      5 resolution failed, 6 daemon needed and absent. See stubborn(1).\n");
        return;
    }
    printf("usage: stubborn %s [OPTION...]%s%s\n  %s%s\n", command->name,
           command->operands[0] ? " " : "", command->operands, command->summary,
           command->run ? "" : " (not there yet)");
    for (unsigned i = 0; i < SB_ARG_COUNT; i++) {
        char line[40];
        if (!((command->args | SB_ARGS_COMMON) >> i & 1))
            continue;
        (void)snprintf(line, sizeof line, "%s%c%s--%s%s%s", rows[i].letter ? "-" : "",
                       rows[i].letter ? rows[i].letter : ' ', rows[i].letter ? ", " : "   ",
                       rows[i].name, rows[i].value ? " " : "", rows[i].value ? rows[i].value : "");
        printf("  %-26s %s\n", line, rows[i].help);
    }
}

json_t *sb_args_json(const sb_command *command)
{
    json_t *options = json_array();
    for (unsigned i = 0; i < SB_ARG_COUNT; i++)
        if ((command->args | SB_ARGS_COMMON) >> i & 1)
            json_array_append_new(options, json_pack("{s:s, s:s?, s:s}", "name", rows[i].name,
                                                     "value", rows[i].value, "help", rows[i].help));
    return json_pack("{s:s, s:s, s:s, s:b, s:o}", "command", command->name, "operands",
                     command->operands, "summary", command->summary, "available",
                     command->run != NULL, "options", options);
}

const char *sb_args_name(sb_arg arg)
{
    return rows[arg].name;
}

const char *sb_args_value(sb_arg arg)
{
    return rows[arg].value;
}

const char *sb_args_text(sb_arg arg)
{
    return rows[arg].help;
}

char sb_args_letter(sb_arg arg)
{
    return rows[arg].letter;
}

static int find_long(const char *word, size_t size)
{
    for (unsigned i = 0; i < SB_ARG_COUNT; i++)
        if (strlen(rows[i].name) == size && memcmp(rows[i].name, word, size) == 0)
            return (int)i;
    return -1;
}

static int find_letter(char letter)
{
    for (unsigned i = 0; i < SB_ARG_COUNT; i++)
        if (rows[i].letter && rows[i].letter == letter)
            return (int)i;
    return -1;
}

static sb_status read_option(sb_cli *cli, char **words, int count, int *at, sb_why *why)
{
    const char *word = words[*at], *value = NULL;
    int arg;
    if (word[1] == '-') {
        const char *equals = strchr(word, '=');
        size_t size = equals ? (size_t)(equals - word) - 2 : strlen(word) - 2;
        arg = find_long(word + 2, size);
        value = equals ? equals + 1 : NULL;
    } else {
        arg = find_letter(word[1]);
        value = word[2] ? word + 2 : NULL;
    }
    if (arg < 0)
        return sb_why_set(why, SB_INVALID, "unknown option '%s'; see 'stubborn help'", word);
    if (!rows[arg].value) {
        if (value)
            return sb_why_set(why, SB_INVALID, "option --%s takes no value", rows[arg].name);
        cli->arg[arg] = "";
        return SB_OK;
    }
    if (!value && *at + 1 < count)
        value = words[++*at];
    if (!value || !value[0])
        return sb_why_set(why, SB_INVALID, "option --%s needs a %s", rows[arg].name,
                          rows[arg].value);
    cli->arg[arg] = value;
    return SB_OK;
}

/* The first word of commands of two, and none by itself. */
static bool is_group(const char *word)
{
    size_t size = strlen(word);
    bool group = false;
    for (const sb_command *c = sb_commands; c->name; c++) {
        if (strcmp(c->name, word) == 0)
            return false;
        group = group || (strncmp(c->name, word, size) == 0 && c->name[size] == ' ');
    }
    return group;
}

/* Two words where the table has two; one may stand alone as well. */
static sb_status choose_command(sb_cli *cli, const char **operands, unsigned count, sb_why *why)
{
    size_t size = strlen(operands[0]);
    bool group = false;
    const sb_command *alone = NULL;
    for (const sb_command *c = sb_commands; c->name; c++) {
        if (strcmp(c->name, operands[0]) == 0)
            alone = c;
        if (strncmp(c->name, operands[0], size) != 0 || c->name[size] != ' ')
            continue;
        group = true;
        if (count > 1 && strcmp(c->name + size + 1, operands[1]) == 0) {
            cli->command = c;
            cli->operands = operands + 2;
            cli->operand_count = count - 2;
            return SB_OK;
        }
    }
    if (alone) {
        cli->command = alone;
        cli->operands = operands + 1;
        cli->operand_count = count - 1;
        return SB_OK;
    }
    if (group && count > 1)
        return sb_why_set(why, SB_INVALID, "there is no command '%s %s'; see 'stubborn help %s'",
                          operands[0], operands[1], operands[0]);
    if (group)
        return sb_why_set(why, SB_INVALID, "'%s' needs one more word; see 'stubborn help %s'",
                          operands[0], operands[0]);
    const char *near = near_command(operands[0]);
    if (near)
        return sb_why_set(why, SB_INVALID, "there is no command '%s'; did you mean '%s'?",
                          operands[0], near);
    return sb_why_set(why, SB_INVALID, "there is no command '%s'; see 'stubborn help'",
                      operands[0]);
}

static sb_status check(sb_cli *cli, sb_why *why)
{
    const sb_command *command = cli->command;
    if (sb_cli_has(cli, SB_ARG_HELP) || !command->run)
        return SB_OK;
    for (unsigned i = 0; i < SB_ARG_COUNT; i++)
        if (cli->arg[i] && !((command->args | SB_ARGS_COMMON) >> i & 1))
            return sb_why_set(why, SB_INVALID, "option --%s is not for '%s'", rows[i].name,
                              command->name);
    if (cli->operand_count < command->least || cli->operand_count > command->most)
        return sb_why_set(why, SB_INVALID, "usage: stubborn %s [OPTION...]%s%s%s", command->name,
                          command->operands[0] ? " " : "", command->operands,
                          command->run == sb_run_pin && cli->operand_count > command->most
                              ? " (16 addresses at most)"
                              : "");
    if (sb_cli_has(cli, SB_ARG_FORCE) && !sb_cli_has(cli, SB_ARG_URL))
        return sb_why_set(why, SB_INVALID, "--force is of use with --url only");
    const char *text = cli->arg[SB_ARG_TIMEOUT];
    if (text && (!sb_parse_duration(text, true, &cli->timeout) || cli->timeout <= 0))
        return sb_why_set(why, SB_INVALID, "--timeout: '%s' is not a duration such as 500ms or 3s",
                          text);
    return SB_OK;
}

static const char *near_command(const char *word)
{
    const char *best = NULL;
    unsigned least = 3;
    for (const sb_command *c = sb_commands; c->name; c++) {
        unsigned far = distance(word, c->name);
        if (far < least) {
            least = far;
            best = c->name;
        }
    }
    return best;
}

/* Levenshtein, for words of at most 31 bytes; longer ones are far from everything. */
static unsigned distance(const char *a, const char *b)
{
    enum { WORD = 32 };
    unsigned row[WORD];
    size_t na = strlen(a), nb = strlen(b);
    if (na >= WORD || nb >= WORD)
        return WORD;
    for (unsigned j = 0; j <= nb; j++)
        row[j] = j;
    for (unsigned i = 1; i <= na; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= nb; j++) {
            unsigned change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            unsigned shorter = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            row[j] = change < shorter ? change : shorter;
        }
    }
    return row[nb];
}
