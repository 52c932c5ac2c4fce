/* Completions for bash, zsh and fish, made of the tables of commands and options.
 *
 * Prints and nothing else. The main thread. */
#include <stdio.h>
#include <string.h>

#include "cmd/stubborn.h"

static void bash(void);
static void zsh(void);
static void fish(void);
static void print_quoted(const char *text);
static bool is_first_of_group(const sb_command *command);
static bool has_second(const sb_command *command, size_t first);
static void print_options(const sb_command *command);

int sb_run_completion(sb_cli *cli)
{
    static const struct {
        const char *name;
        void (*print)(void);
    } shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};
    for (size_t i = 0; i < SB_ARRAY_SIZE(shells); i++) {
        if (strcmp(cli->operands[0], shells[i].name) == 0) {
            shells[i].print();
            return SB_EXIT_OK;
        }
    }
    sb_cli_complain("there are completions for bash, zsh and fish, not for '%s'", cli->operands[0]);
    return SB_EXIT_USAGE;
}

static void bash(void)
{
    printf("# stubborn completion bash\n"
           "_stubborn() {\n"
           "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
           "    local one= two= word\n"
           "    for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
           "        case $word in\n"
           "        -*) ;;\n"
           "        *) if [ -z \"$one\" ]; then one=$word;"
           " elif [ -z \"$two\" ]; then two=$word; fi ;;\n"
           "        esac\n"
           "    done\n"
           "    COMPREPLY=()\n"
           "    case $prev in -c|--config|-s|--socket) COMPREPLY=($(compgen -f -- \"$cur\"));"
           " return ;; esac\n"
           "    local words=\n"
           "    case \"$one $two\" in\n");
    printf("    ' ') words='");
    for (const sb_command *c = sb_commands; c->name; c++)
        if (is_first_of_group(c))
            printf("%.*s ", (int)strcspn(c->name, " "), c->name);
    printf("' ;;\n");
    for (const sb_command *c = sb_commands; c->name; c++) {
        size_t first = strcspn(c->name, " ");
        if (!c->name[first]) {
            if (has_second(c, first))
                continue; /* with the words that may follow it, below */
            printf("    '%s '*) words='", c->name);
            print_options(c);
            printf("' ;;\n");
            continue;
        }
        printf("    '%s'*) words='", c->name);
        print_options(c);
        printf("' ;;\n");
        bool last = !c[1].name || strncmp(c[1].name, c->name, first + 1) != 0;
        if (!last)
            continue;
        printf("    '%.*s '*) words='", (int)first, c->name);
        for (const sb_command *g = sb_commands; g->name; g++)
            if (strncmp(g->name, c->name, first + 1) == 0)
                printf("%s ", g->name + first + 1);
            else if (strlen(g->name) == first && memcmp(g->name, c->name, first) == 0)
                print_options(g);
        printf("' ;;\n");
    }
    printf("    esac\n"
           "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
           "}\n"
           "complete -F _stubborn stubborn\n");
}

static void zsh(void)
{
    printf("#compdef stubborn\n"
           "local -a commands options\n"
           "local one=${words[2]} two=${words[3]}\n"
           "if (( CURRENT == 2 )); then\n"
           "    commands=(");
    for (const sb_command *c = sb_commands; c->name; c++) {
        if (!is_first_of_group(c))
            continue;
        int first = (int)strcspn(c->name, " ");
        printf("\n        '%.*s:", first, c->name);
        if (c->name[first])
            printf("%.*s commands", first, c->name);
        else
            print_quoted(c->summary);
        printf("'");
    }
    printf(")\n    _describe command commands\n    return\nfi\ncase \"$one $two\" in\n");
    for (unsigned alone = 0; alone < 2; alone++) /* the longer patterns first */
        for (const sb_command *c = sb_commands; c->name; c++) {
            if ((strchr(c->name, ' ') == NULL) != (alone == 1))
                continue;
            printf("'%s%s'*) options=(", c->name, alone ? " " : "");
            for (unsigned i = 0; i < SB_ARG_COUNT; i++) {
                if (!((c->args | SB_ARGS_COMMON) >> i & 1))
                    continue;
                printf("'--%s:", sb_args_name((sb_arg)i));
                print_quoted(sb_args_text((sb_arg)i));
                printf("' ");
            }
            printf(") ;;\n");
        }
    printf("esac\n"
           "if (( CURRENT == 3 )); then\n"
           "    case \"$one\" in\n");
    for (const sb_command *c = sb_commands; c->name; c++) {
        size_t first = strcspn(c->name, " ");
        bool again = c > sb_commands && strncmp(c[-1].name, c->name, first + 1) == 0;
        if (!c->name[first] || again)
            continue;
        printf("    %.*s) compadd --", (int)first, c->name);
        for (const sb_command *g = sb_commands; g->name; g++)
            if (strncmp(g->name, c->name, first + 1) == 0)
                printf(" %s", g->name + first + 1);
        printf("; return ;;\n");
    }
    printf("    esac\nfi\n_describe option options\n");
}

static void fish(void)
{
    printf("# stubborn completion fish\ncomplete -c stubborn -f\n");
    for (const sb_command *c = sb_commands; c->name; c++) {
        size_t first = strcspn(c->name, " ");
        if (is_first_of_group(c)) {
            printf("complete -c stubborn -n __fish_use_subcommand -a %.*s -d '", (int)first,
                   c->name);
            if (!c->name[first])
                print_quoted(c->summary);
            printf("'\n");
        }
        if (c->name[first]) {
            printf("complete -c stubborn -n '__fish_seen_subcommand_from %.*s' -a %s -d '",
                   (int)first, c->name, c->name + first + 1);
            print_quoted(c->summary);
            printf("'\n");
        }
        for (unsigned i = 0; i < SB_ARG_COUNT; i++) {
            if (!(c->args >> i & 1))
                continue;
            printf("complete -c stubborn -n '__fish_seen_subcommand_from %s' -l %s%s -d '",
                   c->name[first] ? c->name + first + 1 : c->name, sb_args_name((sb_arg)i),
                   sb_args_value((sb_arg)i) ? " -r" : "");
            print_quoted(sb_args_text((sb_arg)i));
            printf("'\n");
        }
    }
    for (unsigned i = 0; i < SB_ARG_COUNT; i++) {
        if (!(SB_ARGS_COMMON >> i & 1))
            continue;
        printf("complete -c stubborn -l %s%s -d '", sb_args_name((sb_arg)i),
               sb_args_value((sb_arg)i) ? " -rF" : "");
        print_quoted(sb_args_text((sb_arg)i));
        printf("'\n");
    }
}

/* Inside single quotes of any of the three; a colon would end zsh's word. */
static void print_quoted(const char *text)
{
    for (const char *p = text; *p; p++) {
        if (*p == '\'')
            printf("’");
        else
            (void)putchar(*p == ':' ? ',' : *p);
    }
}

static bool is_first_of_group(const sb_command *command)
{
    size_t first = strcspn(command->name, " ");
    if (command == sb_commands)
        return true;
    const char *before = command[-1].name;
    return strncmp(before, command->name, first) != 0 ||
           (before[first] != ' ' && before[first] != '\0');
}

/* A command of one word that others of two begin with. */
static bool has_second(const sb_command *command, size_t first)
{
    const char *next = command[1].name;
    return next && strncmp(next, command->name, first) == 0 && next[first] == ' ';
}

static void print_options(const sb_command *command)
{
    for (unsigned i = 0; i < SB_ARG_COUNT; i++)
        if ((command->args | SB_ARGS_COMMON) >> i & 1)
            printf("--%s ", sb_args_name((sb_arg)i));
}
