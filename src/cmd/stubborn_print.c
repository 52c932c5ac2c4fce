/* What several commands print alike: complaints, JSON, provenance, rungs.
 *
 * Never decides anything. The main thread. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "front/view.h"
#include "cmd/stubborn.h"

void sb_cli_complain(const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (size < 0)
        text[0] = '\0';
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127) /* one sentence is one line */
            *p = '?';
    (void)fprintf(stderr, "stubborn: %s\n", text);
}

void sb_cli_json(json_t *take_value)
{
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

void sb_json_add_tried(json_t *list, const sb_provenance *provenance)
{
    for (unsigned i = 0; i < provenance->tried_count; i++) {
        const sb_tried *tried = &provenance->tried[i];
        json_array_append_new(
            list, json_pack("{s:s, s:o, s:s, s:i}", "strategy",
                            sb_strategy_text(tried->strategy), "server",
                            sb_json_address_port(&tried->server), "result",
                            sb_outcome_text((sb_outcome)tried->status), "ms", (int)tried->ms));
    }
}

json_t *sb_json_tried(const sb_provenance *provenance)
{
    json_t *list = json_array();
    sb_json_add_tried(list, provenance);
    return list;
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
        sb_text_add(ret_text, "source not told");
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

void sb_text_tried(const sb_tried *tried, const char *lead, sb_text *ret_text)
{
    char address[SB_ADDR_TEXT_MAX];
    sb_text_add(ret_text, "%s%-14s %-11s %5u ms", lead, sb_strategy_text(tried->strategy),
                sb_outcome_text((sb_outcome)tried->status), tried->ms);
    if (tried->server.family)
        sb_text_add(ret_text, "  %s", sb_addr_text_port(&tried->server, address));
    sb_text_add(ret_text, "\n");
}

bool sb_cli_name(const char *text, sb_name *ret_name)
{
    sb_why why = {{0}};
    if (sb_name_parse(text, strlen(text), ret_name, &why) == SB_OK)
        return true;
    sb_cli_complain("'%s' is not a name: %s", text, why.text);
    return false;
}
