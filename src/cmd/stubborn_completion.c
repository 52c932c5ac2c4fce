/* Completions for bash, zsh and fish, made of the tables of commands and options.
 *
 * Prints and nothing else. The main thread. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cmd/stubborn.h"
#include "front/view.h"

static sb_text out; /* the script */

static void bash(void);
static void bash_cases(void);
static void print_commands(void);
static void zsh(void);
static void fish(void);
static void print_quoted(const char *text);
static bool is_first_of_group(const sb_command *command);
static bool has_second(const sb_command *command, size_t first);
static void print_options(const sb_command *command);
static bool print_literals(const sb_command *command, const char *before, const char *mid,
                           const char *after);

int sb_run_completion(sb_cli *cli)
{
    static const struct {
        const char *name;
        void (*print)(void);
    } shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};
    for (size_t i = 0; i < SB_ARRAY_SIZE(shells); i++) {
        if (strcmp(cli->operands[0], shells[i].name) != 0)
            continue;
        shells[i].print();
        if (out.failed)
            sb_cli_complain("out of memory");
        else if (sb_cli_has(cli, SB_ARG_JSON))
            sb_cli_json(json_pack("{s:s, s:o}", "shell", shells[i].name, "script",
                                  sb_view_string(out.data)));
        else
            (void)fwrite(out.data, 1, out.size, stdout);
        bool failed = out.failed;
        sb_text_fini(&out);
        if (failed)
            return SB_EXIT_FAILED;
        return SB_EXIT_OK;
    }
    sb_cli_complain("there are completions for bash, zsh and fish, not for '%s'", cli->operands[0]);
    return SB_EXIT_USAGE;
}

/* What stands after an option with a value is no command; "=" is a word of its own to bash. */
static void bash(void)
{
    sb_text_add(&out,
                "# stubborn completion bash\n"
                "_stubborn() {\n"
                "    local cur=${COMP_WORDS[COMP_CWORD]} one= two= value= words= files= word\n"
                "    for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
                "        if [ -n \"$value\" ]; then\n"
                "            [ \"$word\" = = ] || value=\n"
                "            continue\n"
                "        fi\n"
                "        case $word in\n"
                "        ");
    for (unsigned i = 0; i < SB_ARG_COUNT; i++) {
        if (!sb_args_value((sb_arg)i))
            continue;
        sb_text_add(&out, "--%s|", sb_args_name((sb_arg)i));
        if (sb_args_letter((sb_arg)i))
            sb_text_add(&out, "-%c|", sb_args_letter((sb_arg)i));
    }
    sb_text_add(&out, "'') value=$word ;;\n"
                      "        -*) ;;\n"
                      "        *) if [ -z \"$one\" ]; then one=$word;"
                      " elif [ -z \"$two\" ]; then two=$word; fi ;;\n"
                      "        esac\n"
                      "    done\n"
                      "    COMPREPLY=()\n"
                      "    case $value in\n"
                      "    -c|--config|-s|--socket) files=1 ;;\n"
                      "    ?*) return ;;\n"
                      "    *) case \"$one $two\" in\n"
                      "    ' ') words='");
    print_commands();
    sb_text_add(&out, "' ;;\n");
    bash_cases();
    sb_text_add(&out, "    esac ;;\n"
                      "    esac\n"
                      "    local IFS=$' \\t\\n'\n"
                      "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
                      "    [ -z \"$files\" ] || { compopt -o filenames 2>/dev/null; IFS=$'\\n';"
                      " COMPREPLY+=($(compgen -f -- \"$cur\")); }\n"
                      "}\n"
                      "complete -F _stubborn stubborn\n");
}

static void bash_cases(void)
{
    sb_text_add(&out, "    'log ') words='all ");
    for (unsigned i = 0; i < SB_LOG_SUBSYSTEM_COUNT; i++)
        sb_text_add(&out, "%s ", sb_log_subsystem_text((sb_log_subsystem)i));
    sb_text_add(&out, "' ;;\n    'log '*) words='");
    for (unsigned i = 0; i < SB_LOG_LEVEL_COUNT; i++)
        sb_text_add(&out, "%s ", sb_log_level_text((sb_log_level)i));
    sb_text_add(&out, "' ;;\n    'help ') words='");
    print_commands();
    sb_text_add(&out, "' ;;\n");
    for (const sb_command *c = sb_commands; c->name; c++) {
        size_t first = strcspn(c->name, " ");
        if (!c->run || (!c->name[first] && has_second(c, first)))
            continue; /* with the words that may follow it, below */
        if (!c->name[first] && print_literals(c, "    '", " ') words='", "")) {
            print_options(c);
            sb_text_add(&out, "' ;;\n");
        }
        sb_text_add(&out, "    '%s%s'*) words='", c->name, c->name[first] ? "" : " ");
        print_options(c);
        sb_text_add(&out, "'%s ;;\n", strstr(c->operands, "FILE") ? " files=1" : "");
        bool last = !c[1].name || strncmp(c[1].name, c->name, first + 1) != 0;
        if (!c->name[first] || !last)
            continue;
        sb_text_add(&out, "    '%.*s '*) words='", (int)first, c->name);
        for (const sb_command *g = sb_commands; g->name; g++)
            if (g->run && strncmp(g->name, c->name, first + 1) == 0)
                sb_text_add(&out, "%s ", g->name + first + 1);
            else if (strlen(g->name) == first && memcmp(g->name, c->name, first) == 0)
                print_options(g);
        sb_text_add(&out, "' ;;\n");
    }
}

/* The first word of each command there is. */
static void print_commands(void)
{
    for (const sb_command *c = sb_commands; c->name; c++)
        if (c->run && is_first_of_group(c))
            sb_text_add(&out, "%.*s ", (int)strcspn(c->name, " "), c->name);
}

static void zsh(void)
{
    sb_text_add(&out, "#compdef stubborn\n"
                      "local -a commands options\n"
                      "local one=${words[2]} two=${words[3]}\n"
                      "if (( CURRENT == 2 )); then\n"
                      "    commands=(");
    for (const sb_command *c = sb_commands; c->name; c++) {
        if (!c->run || !is_first_of_group(c))
            continue;
        int first = (int)strcspn(c->name, " ");
        sb_text_add(&out, "\n        '%.*s:", first, c->name);
        if (c->name[first])
            sb_text_add(&out, "%.*s commands", first, c->name);
        else
            print_quoted(c->summary);
        sb_text_add(&out, "'");
    }
    sb_text_add(&out, ")\n    _describe command commands\n    return\nfi\ncase \"$one $two\" in\n");
    for (unsigned alone = 0; alone < 2; alone++) /* the longer patterns first */
        for (const sb_command *c = sb_commands; c->name; c++) {
            if (!c->run || (strchr(c->name, ' ') == NULL) != (alone == 1))
                continue;
            sb_text_add(&out, "'%s%s'*) options=(", c->name, alone ? " " : "");
            for (unsigned i = 0; i < SB_ARG_COUNT; i++) {
                if (!((c->args | SB_ARGS_COMMON) >> i & 1))
                    continue;
                sb_text_add(&out, "'--%s:", sb_args_name((sb_arg)i));
                print_quoted(sb_args_text((sb_arg)i));
                sb_text_add(&out, "' ");
            }
            sb_text_add(&out, ") ;;\n");
        }
    sb_text_add(&out, "esac\n"
                      "if (( CURRENT == 3 )); then\n"
                      "    case \"$one\" in\n");
    for (const sb_command *c = sb_commands; c->name; c++) {
        size_t first = strcspn(c->name, " ");
        bool again = c > sb_commands && strncmp(c[-1].name, c->name, first + 1) == 0;
        if (!c->name[first] || again)
            continue;
        sb_text_add(&out, "    %.*s) compadd --", (int)first, c->name);
        for (const sb_command *g = sb_commands; g->name; g++)
            if (g->run && strncmp(g->name, c->name, first + 1) == 0)
                sb_text_add(&out, " %s", g->name + first + 1);
        sb_text_add(&out, "; return ;;\n");
    }
    for (const sb_command *c = sb_commands; c->name; c++)
        if (c->run && !strchr(c->name, ' ') && !has_second(c, strlen(c->name)) &&
            print_literals(c, "    ", ") compadd -- ", ""))
            sb_text_add(&out, ";;\n");
    sb_text_add(&out, "    esac\nfi\n_describe option options\n");
}

static void fish(void)
{
    sb_text_add(&out, "# stubborn completion fish\ncomplete -c stubborn -f\n");
    for (const sb_command *c = sb_commands; c->name; c++) {
        size_t first = strcspn(c->name, " ");
        if (!c->run)
            continue;
        if (is_first_of_group(c)) {
            sb_text_add(&out, "complete -c stubborn -n __fish_use_subcommand -a %.*s -d '",
                        (int)first, c->name);
            if (!c->name[first])
                print_quoted(c->summary);
            sb_text_add(&out, "'\n");
        }
        if (c->name[first]) {
            sb_text_add(&out,
                        "complete -c stubborn -n '__fish_seen_subcommand_from %.*s' -a %s -d '",
                        (int)first, c->name, c->name + first + 1);
            print_quoted(c->summary);
            sb_text_add(&out, "'\n");
        }
        if (!c->name[first] && !has_second(c, first))
            (void)print_literals(c, "complete -c stubborn -n '__fish_seen_subcommand_from ",
                                 "' -a '", "'\n");
        for (unsigned i = 0; i < SB_ARG_COUNT; i++) {
            if (!(c->args >> i & 1))
                continue;
            sb_text_add(&out,
                        "complete -c stubborn -n '__fish_seen_subcommand_from %s' -l %s%s -d '",
                        c->name[first] ? c->name + first + 1 : c->name, sb_args_name((sb_arg)i),
                        sb_args_value((sb_arg)i) ? " -r" : "");
            print_quoted(sb_args_text((sb_arg)i));
            sb_text_add(&out, "'\n");
        }
    }
    for (unsigned i = 0; i < SB_ARG_COUNT; i++) {
        if (!(SB_ARGS_COMMON >> i & 1))
            continue;
        sb_text_add(&out, "complete -c stubborn -l %s%s -d '", sb_args_name((sb_arg)i),
                    sb_args_value((sb_arg)i) ? " -rF" : "");
        print_quoted(sb_args_text((sb_arg)i));
        sb_text_add(&out, "'\n");
    }
}

/* Inside single quotes of any of the three; a colon would end zsh's word. */
static void print_quoted(const char *text)
{
    for (const char *p = text; *p; p++) {
        if (*p == '\'')
            sb_text_add(&out, "’");
        else
            sb_text_add(&out, "%c", *p == ':' ? ',' : *p);
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
            sb_text_add(&out, "--%s ", sb_args_name((sb_arg)i));
}

/* The words that stand for themselves among the operands: "list" of "NAME ADDRESS... | list".
 * before, the command and mid come first. False: there are none, and nothing is printed. */
static bool print_literals(const sb_command *command, const char *before, const char *mid,
                           const char *after)
{
    static const char between[] = " |[]";
    bool any = false;
    for (const char *p = command->operands; *p;) {
        size_t size = strcspn(p, between);
        if (size > 0 && *p >= 'a' && *p <= 'z') {
            if (!any)
                sb_text_add(&out, "%s%s%s", before, command->name, mid);
            any = true;
            sb_text_add(&out, "%.*s ", (int)size, p);
        }
        p += size;
        p += strspn(p, between);
    }
    if (any)
        sb_text_add(&out, "%s", after);
    return any;
}
