/* What several commands print alike: complaints, JSON, provenance, rungs.
 *
 * Never decides anything. The main thread. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cmd/stubborn.h"
#include "dns/rdata.h"
#include "dns/target.h"
#include "front/view.h"

static bool json_errors, json_printed;

static unsigned rungs_of(const sb_provenance *p, sb_tried *ret_rungs);

static void format_line(const char *format, va_list args, char *ret_text, size_t capacity)
    __attribute__((format(printf, 1, 0)));

void sb_cli_complain(const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    format_line(format, args, text, sizeof text);
    va_end(args);
    if (json_errors && !json_printed)
        sb_cli_json(json_pack("{s:o}", "error", sb_view_string(text)));
    else
        (void)fprintf(stderr, "stubborn: %s\n", text);
}

void sb_cli_note(const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    format_line(format, args, text, sizeof text);
    va_end(args);
    if (!json_errors)
        (void)fprintf(stderr, "stubborn: %s\n", text);
}

void sb_cli_warn(const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    format_line(format, args, text, sizeof text);
    va_end(args);
    (void)fprintf(stderr, "stubborn: warning: %s\n", text);
}

void sb_cli_json_errors(void)
{
    json_errors = true;
}

void sb_cli_json(json_t *take_value)
{
    json_printed = true; /* one object a command */
    sb_text text = {.limit = (size_t)256 * 1024 * 1024};
    if (sb_view_print(take_value, &text))
        printf("%s\n", text.data);
    else
        sb_cli_complain("no memory for the output");
    sb_text_fini(&text);
}

const char *sb_status_word(sb_outcome outcome)
{
    return sb_outcome_text(outcome < SB_OUTCOME_MISS ? outcome : SB_OUTCOME_SERVFAIL);
}

void sb_json_add_tried(json_t *list, const sb_asked *asked)
{
    sb_tried rungs[SB_TRIED_MAX + 1];
    char type[16];
    unsigned count = rungs_of(&asked->reply.provenance, rungs);
    for (unsigned i = 0; i < count; i++) {
        const sb_tried *tried = &rungs[i];
        json_array_append_new(list, json_pack("{s:o, s:s, s:s, s:o, s:s, s:i}", "name",
                                              sb_view_name(&asked->question.name), "type",
                                              sb_type_text(asked->question.type, type), "strategy",
                                              sb_strategy_text(tried->strategy), "server",
                                              sb_json_address_port(&tried->server), "result",
                                              sb_outcome_text((sb_outcome)tried->status), "ms",
                                              (int)tried->ms));
    }
}

json_t *sb_json_tried(const sb_asked *asked)
{
    json_t *list = json_array();
    sb_json_add_tried(list, asked);
    return list;
}

json_t *sb_json_ede(const sb_asked *asked)
{
    const sb_edge_reply *reply = &asked->reply;
    if (!asked->answered || reply->ede == SB_EDE_NONE)
        return json_null();
    return json_pack("{s:i, s:s, s:o}", "code", reply->ede, "purpose", sb_ede_text(reply->ede),
                     "text", sb_view_string(reply->ede_text));
}

json_t *sb_json_address_port(const sb_addr *addr)
{
    char text[SB_ADDR_TEXT_MAX];
    return addr->family ? json_string(sb_addr_text_port(addr, text)) : json_null();
}

json_t *sb_json_source(uint8_t source)
{
    return source == SB_SOURCE_NONE ? json_null() : json_string(sb_source_text(source));
}

void sb_text_provenance(const sb_asked *asked, sb_text *ret_text)
{
    const sb_provenance *p = &asked->reply.provenance;
    char address[SB_ADDR_TEXT_MAX];
    if (!asked->reply.has_provenance) {
        sb_text_add(ret_text, "made by the daemon itself");
        return;
    }
    if (p->source == SB_SOURCE_NONE) {
        sb_text_add(ret_text, "nothing is known of it");
        return;
    }
    sb_text_add(ret_text, "%s", sb_source_text(p->source));
    if (p->upstream.family)
        sb_text_add(ret_text, ", from %s", sb_addr_text_port(&p->upstream, address));
    if (p->flags & SB_PROVENANCE_AGE_UNKNOWN)
        sb_text_add(ret_text, ", age unknown");
    else
        sb_text_add(ret_text, ", %u s old", p->age_s);
    sb_text_add(ret_text, ", ttl %u s", p->ttl_s);
    if (p->flags & SB_PROVENANCE_STALE)
        sb_text_add(ret_text, ", stale");
    else if (p->flags & SB_PROVENANCE_DUE)
        sb_text_add(ret_text, ", past the cap");
    if (p->network)
        sb_text_add(ret_text, ", network %08x", p->network);
}

void sb_text_rungs(const sb_asked *asked, const char *lead, sb_text *ret_text)
{
    char address[SB_ADDR_TEXT_MAX];
    sb_tried rungs[SB_TRIED_MAX + 1];
    if (!asked->answered || !asked->reply.has_provenance)
        return;
    unsigned count = rungs_of(&asked->reply.provenance, rungs);
    for (unsigned i = 0; i < count; i++) {
        sb_text_add(ret_text, "%s%-14s %-11s %5u ms", lead, sb_strategy_text(rungs[i].strategy),
                    sb_outcome_text((sb_outcome)rungs[i].status), rungs[i].ms);
        if (rungs[i].server.family)
            sb_text_add(ret_text, "  %s", sb_addr_text_port(&rungs[i].server, address));
        sb_text_add(ret_text, "\n");
    }
}

void sb_text_ede(const sb_asked *asked, sb_text *ret_text)
{
    const sb_edge_reply *reply = &asked->reply;
    if (!asked->answered || reply->ede == SB_EDE_NONE)
        return;
    sb_text_add(ret_text, "EDE %d, %s%s%s", reply->ede, sb_ede_text(reply->ede),
                reply->ede_text[0] ? ": " : "", reply->ede_text[0] ? SB_Q(reply->ede_text) : "");
}

bool sb_cli_name(const char *text, sb_name *ret_name)
{
    if (strstr(text, "://")) {
        sb_text shown = {0};
        sb_target_mask(text, strlen(text), &shown);
        sb_cli_complain("'%.300s' is a URL; 'stubborn resolve' takes it, a name is expected here",
                        shown.data ? shown.data : "");
        sb_text_fini(&shown);
        return false;
    }
    sb_why why = {{0}};
    if (sb_name_parse(text, strlen(text), ret_name, &why) == SB_OK)
        return true;
    sb_cli_complain("'%s' is not a name: %s", text, why.text);
    return false;
}

static void format_line(const char *format, va_list args, char *ret_text, size_t capacity)
{
    if (vsnprintf(ret_text, capacity, format, args) < 0)
        ret_text[0] = '\0';
    for (char *p = ret_text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127) /* one sentence is one line */
            *p = '?';
}

/* As told, with the rung that gave the answer at the end, and a cached answer that is there but
 * old called so. Room for one more than SB_TRIED_MAX. */
static unsigned rungs_of(const sb_provenance *p, sb_tried *ret_rungs)
{
    static const struct {
        uint8_t source, strategy;
    } winners[] = {
        {SB_SOURCE_PIN, SB_STRATEGY_PIN},      {SB_SOURCE_HOSTS, SB_STRATEGY_HOSTS},
        {SB_SOURCE_CACHE, SB_STRATEGY_CACHED}, {SB_SOURCE_DNS, SB_STRATEGY_WIRE},
        {SB_SOURCE_STALE, SB_STRATEGY_STALE},  {SB_SOURCE_EMERGENCY, SB_STRATEGY_EMERGENCY}};
    static const sb_addr nobody;
    unsigned count = 0;
    for (unsigned i = 0; i < p->tried_count && i < SB_TRIED_MAX; i++) {
        ret_rungs[count] = p->tried[i];
        if (p->tried[i].strategy == SB_STRATEGY_CACHED && p->tried[i].status == SB_OUTCOME_MISS &&
            p->flags & SB_PROVENANCE_STALE)
            ret_rungs[count].status = SB_OUTCOME_EXPIRED;
        count++;
    }
    for (size_t w = 0; w < SB_ARRAY_SIZE(winners); w++) {
        bool told = false;
        if (winners[w].source != p->source)
            continue;
        for (unsigned i = 0; i < count; i++)
            told = told ||
                   (ret_rungs[i].strategy == winners[w].strategy &&
                    (ret_rungs[i].status == SB_OUTCOME_OK || ret_rungs[i].status == p->status));
        if (!told)
            ret_rungs[count++] =
                (sb_tried){.strategy = winners[w].strategy,
                           .status = p->status == SB_OUTCOME_NONE ? SB_OUTCOME_OK : p->status,
                           .server = p->source == SB_SOURCE_DNS ? p->upstream : nobody};
    }
    return count;
}
