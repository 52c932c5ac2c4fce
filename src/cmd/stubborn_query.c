/* `stubborn query` and `stubborn explain`: one answer in full, and the story behind it (F4).
 *
 * Never judges an answer. The main thread. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "cmd/stubborn.h"
#include "dns/rdata.h"
#include "front/view.h"

static bool read_question(sb_cli *cli, sb_question *ret_question);
static int exit_code(sb_cli *cli, const sb_asked *asked);
static void print_message(sb_cli *cli, const sb_asked *asked, sb_ns took);
static void print_section(const sb_msg *msg, int section, const char *title);
static void print_record(const sb_msg *msg, const sb_record *record);
static void print_flags(const sb_msg *msg);
static json_t *json_message(sb_cli *cli, const sb_asked *asked, sb_ns took);
static json_t *json_section(const sb_msg *msg, int section);
static void record_text(const sb_msg *msg, const sb_record *record, sb_text *ret_text);
static void draw(sb_cli *cli, const sb_asked *asked);
static void draw_answer(const sb_asked *asked, sb_text *ret_text);
static json_t *json_explained(const sb_asked *asked);
static json_t *json_data(const sb_asked *asked);

int sb_run_query(sb_cli *cli)
{
    sb_asked asked = {0};
    if (!sb_cli_settings(cli) || !read_question(cli, &asked.question))
        return SB_EXIT_USAGE;
    asked.question.dnssec_ok = sb_cli_has(cli, SB_ARG_DNSSEC);
    asked.question.checking_disabled = sb_cli_has(cli, SB_ARG_NO_CHECK);
    sb_ns began = sb_edge_now();
    sb_cli_ask(cli, &asked, 1, 0, NULL);
    sb_ns took = sb_edge_now() - began;
    if (sb_cli_has(cli, SB_ARG_JSON))
        sb_cli_json(json_message(cli, &asked, took));
    else
        print_message(cli, &asked, took);
    int code = exit_code(cli, &asked);
    sb_asked_fini(&asked, 1);
    return code;
}

/* Without a type both address types, at once. */
int sb_run_explain(sb_cli *cli)
{
    sb_asked asked[2] = {0};
    size_t n = 1;
    if (!sb_cli_settings(cli) || !read_question(cli, &asked[0].question))
        return SB_EXIT_USAGE;
    if (cli->operand_count < 2) {
        asked[1].question = asked[0].question;
        asked[1].question.type = SB_TYPE_AAAA;
        n = 2;
    }
    sb_cli_ask(cli, asked, n, SB_ASK_LIVE, NULL);
    int code = exit_code(cli, &asked[0]);
    if (n > 1 && code != SB_EXIT_OK && exit_code(cli, &asked[1]) < code)
        code = exit_code(cli, &asked[1]);
    if (sb_cli_has(cli, SB_ARG_JSON)) {
        json_t *list = json_array();
        for (size_t i = 0; i < n; i++)
            json_array_append_new(list, json_explained(&asked[i]));
        sb_cli_json(json_pack("{s:o, s:o, s:s, s:o}", "name", sb_view_name(&asked[0].question.name),
                              "questions", list, "through", sb_cli_via(cli), "daemon",
                              sb_cli_json_daemon(cli)));
    } else {
        for (size_t i = 0; i < n; i++) {
            draw(cli, &asked[i]);
            sb_cli_print_doubt(cli, &asked[i].question);
        }
    }
    sb_asked_fini(asked, n);
    return code;
}

static bool read_question(sb_cli *cli, sb_question *ret_question)
{
    sb_question question = {.type = SB_TYPE_A, .class = SB_CLASS_IN};
    if (!sb_cli_name(cli->operands[0], &question.name))
        return false;
    if (cli->operand_count > 1) {
        const char *type = cli->operands[1];
        if (!sb_type_parse(type, strlen(type), &question.type)) {
            sb_cli_complain("'%s' is not a record type", type);
            return false;
        }
    }
    *ret_question = question;
    return true;
}

static int exit_code(sb_cli *cli, const sb_asked *asked)
{
    switch (sb_asked_outcome(asked)) {
    case SB_OUTCOME_OK:
        return sb_cli_has(cli, SB_ARG_STRICT) && sb_asked_degraded(asked) ? SB_EXIT_DEGRADED
                                                                          : SB_EXIT_OK;
    case SB_OUTCOME_NXDOMAIN:
    case SB_OUTCOME_NODATA:
        return SB_EXIT_NO_NAME;
    default:
        return SB_EXIT_FAILED;
    }
}

static void print_message(sb_cli *cli, const sb_asked *asked, sb_ns took)
{
    char name[SB_NAME_TEXT_MAX], type[16], rcode[16];
    sb_text text = {0};
    if (!asked->answered) {
        printf(";; no reply: %s\n", sb_status_text(asked->status));
        return;
    }
    const sb_edge_reply *reply = &asked->reply;
    printf(";; status: %s, flags:", sb_rcode_text(reply->msg.rcode, rcode));
    print_flags(&reply->msg);
    printf("\n");
    if (reply->ede != SB_EDE_NONE)
        printf(";; EDE: %d (%s)%s%s\n", reply->ede, sb_ede_text(reply->ede),
               reply->ede_text[0] ? ": " : "", reply->ede_text[0] ? SB_Q(reply->ede_text) : "");
    printf("\n;; QUESTION\n;%s%s IN %s\n", sb_name_text(&asked->question.name, name),
           asked->question.name.size > 1 ? "." : "", sb_type_text(asked->question.type, type));
    print_section(&reply->msg, SB_SECTION_ANSWER, "ANSWER");
    print_section(&reply->msg, SB_SECTION_AUTHORITY, "AUTHORITY");
    sb_text_provenance(asked, &text);
    printf("\n;; source: %s\n", text.data ? text.data : "");
    sb_text_fini(&text);
    if (sb_cli_has(cli, SB_ARG_VERBOSE)) {
        sb_text rungs = {0};
        sb_text_rungs(asked, ";;   ", &rungs);
        printf(";; tried:\n%s", rungs.data ? rungs.data : ";;   nobody\n");
        sb_text_fini(&rungs);
    }
    printf(";; through: %s, %.1f ms\n", sb_cli_via(cli), (double)took / (double)SB_MS);
}

static void print_section(const sb_msg *msg, int section, const char *title)
{
    sb_msg_iter it = sb_msg_records(msg, section);
    sb_record record;
    bool any = false;
    while (sb_msg_next(&it, &record)) {
        if (!any)
            printf("\n;; %s\n", title);
        any = true;
        print_record(msg, &record);
    }
}

static void print_record(const sb_msg *msg, const sb_record *record)
{
    char name[SB_NAME_TEXT_MAX], type[16];
    sb_text data = {0};
    record_text(msg, record, &data);
    printf("%s%s %u %s %s %s\n", sb_name_text(&record->owner, name),
           record->owner.size > 1 ? "." : "", record->ttl_s,
           record->class == SB_CLASS_IN ? "IN" : "CH", sb_type_text(record->type, type),
           data.data ? data.data : "");
    sb_text_fini(&data);
}

static void print_flags(const sb_msg *msg)
{
    static const struct {
        uint16_t flag;
        const char *text;
    } flags[] = {{SB_FLAG_QR, "qr"}, {SB_FLAG_AA, "aa"}, {SB_FLAG_TC, "tc"}, {SB_FLAG_RD, "rd"},
                 {SB_FLAG_RA, "ra"}, {SB_FLAG_AD, "ad"}, {SB_FLAG_CD, "cd"}};
    for (size_t i = 0; i < SB_ARRAY_SIZE(flags); i++)
        if (msg->flags & flags[i].flag)
            printf(" %s", flags[i].text);
}

static json_t *json_message(sb_cli *cli, const sb_asked *asked, sb_ns took)
{
    char type[16], rcode[16];
    const sb_edge_reply *reply = &asked->reply;
    const sb_provenance *p = &reply->provenance;
    json_t *object = json_object();
    json_object_set_new(object, "name", sb_view_name(&asked->question.name));
    json_object_set_new(object, "type", json_string(sb_type_text(asked->question.type, type)));
    json_object_set_new(object, "status", json_string(sb_status_word(sb_asked_outcome(asked))));
    json_object_set_new(object, "ms", json_real((double)took / (double)SB_MS));
    json_object_set_new(object, "daemon", sb_cli_json_daemon(cli));
    if (!asked->answered)
        return object;
    json_object_set_new(object, "rcode", json_string(sb_rcode_text(reply->msg.rcode, rcode)));
    json_object_set_new(object, "ad", json_boolean(reply->msg.flags & SB_FLAG_AD));
    json_object_set_new(object, "answer", json_section(&reply->msg, SB_SECTION_ANSWER));
    json_object_set_new(object, "authority", json_section(&reply->msg, SB_SECTION_AUTHORITY));
    json_object_set_new(object, "ede", sb_json_ede(asked));
    json_object_set_new(object, "source", sb_json_source(p->source));
    json_object_set_new(object, "stale", json_boolean(p->flags & SB_PROVENANCE_STALE));
    json_object_set_new(object, "age_s", json_integer(p->age_s));
    json_object_set_new(object, "ttl_s", json_integer(p->ttl_s));
    json_object_set_new(object, "upstream", sb_json_address_port(&p->upstream));
    json_object_set_new(object, "network", json_integer(p->network));
    json_object_set_new(object, "tried", sb_json_tried(asked));
    return object;
}

static json_t *json_section(const sb_msg *msg, int section)
{
    json_t *list = json_array();
    sb_msg_iter it = sb_msg_records(msg, section);
    sb_record record;
    while (sb_msg_next(&it, &record)) {
        char type[16];
        sb_text data = {0};
        record_text(msg, &record, &data);
        json_array_append_new(
            list, json_pack("{s:o, s:I, s:s, s:o}", "name", sb_view_name(&record.owner), "ttl_s",
                            (json_int_t)record.ttl_s, "type", sb_type_text(record.type, type),
                            "data", sb_view_string(data.data ? data.data : "")));
        sb_text_fini(&data);
    }
    return list;
}

static void record_text(const sb_msg *msg, const sb_record *record, sb_text *ret_text)
{
    uint8_t *bytes = sb_alloc(SB_MSG_MAX);
    if (!bytes)
        return;
    sb_writer w = sb_writer_of(bytes, SB_MSG_MAX);
    if (sb_rdata_expand(msg->bytes, record->rdata_at, record->rdata_size, record->type, &w))
        (void)sb_rdata_text(record->type, (sb_span){bytes, w.size}, ret_text);
    sb_free(bytes);
}

static void draw(sb_cli *cli, const sb_asked *asked)
{
    char name[SB_NAME_TEXT_MAX], type[16];
    sb_text text = {0};
    sb_text_add(&text, "%s %s, through %s\n", sb_name_text(&asked->question.name, name),
                sb_type_text(asked->question.type, type), sb_cli_via(cli));
    sb_text_rungs(asked, "  ├─ ", &text);
    sb_text_add(&text, "  └─ ");
    draw_answer(asked, &text);
    printf("%s\n", text.data ? text.data : "");
    sb_text_fini(&text);
}

static void draw_answer(const sb_asked *asked, sb_text *ret_text)
{
    const sb_edge_reply *reply = &asked->reply;
    if (!asked->answered) {
        sb_text_add(ret_text, "no reply: %s", sb_status_text(asked->status));
        return;
    }
    sb_text_add(ret_text, "%s", sb_status_word(sb_asked_outcome(asked)));
    sb_msg_iter it = sb_msg_records(&reply->msg, SB_SECTION_ANSWER);
    sb_record record;
    const char *between = ": ";
    while (sb_msg_next(&it, &record)) {
        if (record.type != asked->question.type)
            continue;
        sb_text_add(ret_text, "%s", between);
        record_text(&reply->msg, &record, ret_text);
        between = ", ";
    }
    sb_text_add(ret_text, "\n     ");
    sb_text_provenance(asked, ret_text);
    if (reply->ede != SB_EDE_NONE) {
        sb_text_add(ret_text, "\n     ");
        sb_text_ede(asked, ret_text);
    }
    sb_text_add(ret_text, "\n");
}

static json_t *json_explained(const sb_asked *asked)
{
    const sb_edge_reply *reply = &asked->reply;
    const sb_provenance *p = &reply->provenance;
    char type[16];
    return json_pack(
        "{s:s, s:s, s:o, s:o, s:b, s:I, s:I, s:o, s:I, s:o, s:o, s:o}", "type",
        sb_type_text(asked->question.type, type), "status", sb_status_word(sb_asked_outcome(asked)),
        "answer", asked->answered ? json_data(asked) : json_array(), "source",
        sb_json_source(p->source), "stale", p->flags & SB_PROVENANCE_STALE ? 1 : 0, "age_s",
        (json_int_t)p->age_s, "ttl_s", (json_int_t)p->ttl_s, "upstream",
        sb_json_address_port(&p->upstream), "network", (json_int_t)p->network, "ede",
        asked->answered && reply->ede != SB_EDE_NONE ? json_integer(reply->ede) : json_null(),
        "ede_text",
        asked->answered && reply->ede != SB_EDE_NONE ? sb_view_string(reply->ede_text)
                                                     : json_null(),
        "tried", sb_json_tried(asked));
}

static json_t *json_data(const sb_asked *asked)
{
    json_t *list = json_array();
    sb_msg_iter it = sb_msg_records(&asked->reply.msg, SB_SECTION_ANSWER);
    sb_record record;
    while (sb_msg_next(&it, &record)) {
        if (record.type != asked->question.type)
            continue;
        sb_text data = {0};
        record_text(&asked->reply.msg, &record, &data);
        json_array_append_new(list, sb_view_string(data.data ? data.data : ""));
        sb_text_fini(&data);
    }
    return list;
}
