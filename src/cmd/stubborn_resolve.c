/* `stubborn resolve`: target to addresses, best first (A1, A5, A15, B6, B8).
 *
 * Never talks to a server: it asks (stubborn_ask.c), orders and prints. A literal touches nothing.
 * The main thread. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cmd/stubborn.h"
#include "dns/rdata.h"
#include "dns/target.h"
#include "edge/order.h"
#include "front/view.h"
#include "resolve/policy.h"

#define ADDRESSES_MAX 128
#define CANDIDATES_MAX 18 /* the name and what a search list may hold */
/* RFC 8305 §3 in spirit: the preferred family's answer needs the other no longer than this; the
 * other family's gives the preferred one a little more. */
#define GRACE_HAVE_PREFERRED (50 * SB_MS)
#define GRACE_HAVE_OTHER (300 * SB_MS)

typedef struct resolution {
    const char *text;
    sb_target target;
    sb_name name; /* the last one asked, or the one that answered */
    sb_addr addresses[ADDRESSES_MAX];
    size_t count;
    sb_outcome status;
    bool degraded, passed;
    bool several;             /* names were candidates: the story says which */
    sb_provenance provenance; /* of the answer, or of the failure */
    json_t *tried;
    json_t *failures; /* question by question: why */
    sb_text story;    /* the same for people */
    sb_text url;
    bool replaced;
} resolution;

static bool read_target(resolution *r, sb_cli *cli);
static void look_up(sb_cli *cli, resolution *r);
static unsigned candidates(sb_cli *cli, const sb_target *target, sb_name *ret_names);
static void ask_name(sb_cli *cli, resolution *r, const sb_name *name);
static sb_ns grace_4(const sb_asked *asked, size_t count);
static sb_ns grace_6(const sb_asked *asked, size_t count);
static sb_ns grace_of(const sb_asked *asked, size_t count, uint16_t preferred);
static void take_addresses(resolution *r, const sb_asked *asked);
static void tell_tried(resolution *r, const sb_asked *asked);
static bool is_failure(sb_outcome outcome);
static void print_text(sb_cli *cli, const resolution *r);
static void print_failure(sb_cli *cli, const resolution *r);
static void print_json(sb_cli *cli, const resolution *r);
static const char *sentence_of(sb_outcome status);

int sb_run_resolve(sb_cli *cli)
{
    resolution *r = sb_new(resolution);
    int code = SB_EXIT_OK;
    if (!r) {
        sb_cli_complain("out of memory");
        return SB_EXIT_FAILED;
    }
    r->text = cli->operands[0];
    r->tried = json_array();
    r->failures = json_array();
    if (!read_target(r, cli)) {
        code = SB_EXIT_USAGE;
        goto done;
    }
    if (r->target.is_literal) {
        r->addresses[r->count++] = r->target.literal;
        r->addresses[0].port = 0;
        r->status = SB_OUTCOME_OK;
        r->provenance.source = SB_SOURCE_LITERAL;
    } else {
        if (!sb_cli_settings(cli)) {
            code = SB_EXIT_USAGE;
            goto done;
        }
        look_up(cli, r);
    }
    if (r->count == 0)
        code = is_failure(r->status) ? SB_EXIT_FAILED : SB_EXIT_NO_NAME;
    r->passed = code == SB_EXIT_FAILED && sb_cli_has(cli, SB_ARG_PASS_THROUGH);
    if (r->passed)
        code = SB_EXIT_OK;
    if (sb_cli_has(cli, SB_ARG_STRICT) && code == SB_EXIT_OK && (r->degraded || r->passed))
        code = SB_EXIT_DEGRADED;
    if (sb_cli_has(cli, SB_ARG_URL) && r->count > 0)
        sb_target_rewrite(&r->target, &r->addresses[0], sb_cli_has(cli, SB_ARG_FORCE), &r->url,
                          &r->replaced);
    else if (sb_cli_has(cli, SB_ARG_URL) && r->passed)
        sb_text_add(&r->url, "%s", r->text);
    if (sb_cli_has(cli, SB_ARG_JSON))
        print_json(cli, r);
    else
        print_text(cli, r);
done:
    json_decref(r->tried);
    json_decref(r->failures);
    sb_text_fini(&r->story);
    sb_text_fini(&r->url);
    sb_free(r);
    return code;
}

static bool read_target(resolution *r, sb_cli *cli)
{
    sb_why why = {{0}};
    sb_text shown = {0};
    size_t size = strlen(r->text);
    (void)cli;
    if (sb_target_parse(r->text, size, &r->target, &why) == SB_OK)
        return true;
    sb_target_mask(r->text, size, &shown);
    sb_cli_complain("cannot resolve '%.300s': %s", shown.data ? shown.data : "", why.text);
    sb_text_fini(&shown);
    return false;
}

/* Candidate by candidate, on after a denial alone: behind a failure the very name that was meant
 * may be, and the next one is another machine. */
static void look_up(sb_cli *cli, resolution *r)
{
    sb_name names[CANDIDATES_MAX];
    unsigned n = candidates(cli, &r->target, names);
    sb_outcome denial = SB_OUTCOME_NXDOMAIN;
    r->several = n > 1;
    for (unsigned i = 0; i < n; i++) {
        ask_name(cli, r, &names[i]);
        if (r->count > 0 || is_failure(r->status))
            return;
        if (r->status == SB_OUTCOME_NODATA)
            denial = SB_OUTCOME_NODATA;
    }
    r->status = denial;
}

/* resolv.conf(5): with fewer dots than ndots the list comes first, else the name itself. Special
 * names are never searched (RFC 6761 §6.3), and those of the hosts file are what is meant. */
static unsigned candidates(sb_cli *cli, const sb_target *target, sb_name *ret_names)
{
    sb_resolv_conf conf;
    unsigned n = 0;
    sb_question exact = {.name = target->name, .type = SB_TYPE_A, .class = SB_CLASS_IN};
    sb_name_fold(&exact.name);
    if (target->absolute || sb_special_of(&exact, false) != SB_SPECIAL_NONE) {
        ret_names[0] = target->name;
        return 1;
    }
    sb_cli_search(cli, &conf);
    unsigned dots = sb_name_labels(&target->name) - 1;
    bool first = dots >= conf.ndots || sb_cli_in_hosts(&exact.name);
    if (first)
        ret_names[n++] = target->name;
    for (size_t i = 0; i < conf.search_count && n < CANDIDATES_MAX - 1; i++)
        if (sb_name_join(&target->name, &conf.search[i], &ret_names[n]))
            n++;
    if (!first)
        ret_names[n++] = target->name;
    return n;
}

static void ask_name(sb_cli *cli, resolution *r, const sb_name *name)
{
    sb_asked asked[2] = {0};
    size_t n = 0;
    sb_question question = {.name = *name, .type = SB_TYPE_A, .class = SB_CLASS_IN};
    sb_name_fold(&question.name);
    sb_family_policy family = sb_policy_of(cli->settings, &question).family;
    r->name = *name;
    if (family != SB_ONLY_6)
        asked[n++].question = question;
    question.type = SB_TYPE_AAAA;
    if (family != SB_ONLY_4)
        asked[n++].question = question;
    sb_cli_ask(cli, asked, n, 0, family == SB_PREFER_6 ? grace_6 : grace_4);
    sb_outcome status = SB_OUTCOME_NXDOMAIN;
    for (size_t i = 0; i < n; i++) {
        sb_outcome outcome = sb_asked_outcome(&asked[i]);
        tell_tried(r, &asked[i]);
        take_addresses(r, &asked[i]);
        if (is_failure(outcome) && !is_failure(status)) {
            status = outcome;
            r->provenance = asked[i].reply.provenance;
        } else if (outcome == SB_OUTCOME_NODATA && status == SB_OUTCOME_NXDOMAIN) {
            status = outcome;
        }
        if (!is_failure(status))
            r->provenance = asked[i].reply.provenance;
    }
    r->status = status;
    if (r->count > 0) {
        r->count = sb_edge_order(r->addresses, r->count, family);
        r->status = SB_OUTCOME_OK;
        /* What is said of the answer is said of the address that comes first. */
        for (size_t i = 0; i < n; i++) {
            uint16_t type = r->addresses[0].family == SB_FAMILY_4 ? SB_TYPE_A : SB_TYPE_AAAA;
            if (asked[i].question.type == type) {
                r->provenance = asked[i].reply.provenance;
                r->degraded = sb_asked_degraded(&asked[i]);
            }
        }
    }
    sb_asked_fini(asked, n);
}

static sb_ns grace_4(const sb_asked *asked, size_t count)
{
    return grace_of(asked, count, SB_TYPE_A);
}

static sb_ns grace_6(const sb_asked *asked, size_t count)
{
    return grace_of(asked, count, SB_TYPE_AAAA);
}

static sb_ns grace_of(const sb_asked *asked, size_t count, uint16_t preferred)
{
    sb_ns grace = SB_NEVER;
    for (size_t i = 0; i < count; i++) {
        if (!asked[i].answered || sb_asked_outcome(&asked[i]) != SB_OUTCOME_OK)
            continue;
        sb_ns wait = asked[i].question.type == preferred ? GRACE_HAVE_PREFERRED : GRACE_HAVE_OTHER;
        grace = wait < grace ? wait : grace;
    }
    return grace;
}

static void take_addresses(resolution *r, const sb_asked *asked)
{
    sb_answer *answer;
    if (!asked->answered || asked->reply.msg.rcode != SB_RCODE_NOERROR ||
        sb_answer_from_msg(&asked->question, &asked->reply.msg, &answer) != SB_OK)
        return;
    r->count += sb_answer_addresses(answer, r->addresses + r->count, ADDRESSES_MAX - r->count);
    sb_answer_unref(answer);
}

static void tell_tried(resolution *r, const sb_asked *asked)
{
    char type[16], lead[SB_NAME_TEXT_MAX + 32], name[SB_NAME_TEXT_MAX];
    sb_outcome outcome = sb_asked_outcome(asked);
    if (is_failure(outcome))
        json_array_append_new(r->failures,
                              json_pack("{s:o, s:s, s:s, s:o}", "name",
                                        sb_view_name(&asked->question.name), "type",
                                        sb_type_text(asked->question.type, type), "status",
                                        sb_status_word(outcome), "ede", sb_json_ede(asked)));
    (void)snprintf(lead, sizeof lead, "    %s%s%-5s",
                   r->several ? sb_name_text(&asked->question.name, name) : "",
                   r->several ? " " : "", sb_type_text(asked->question.type, type));
    if (!asked->answered) {
        sb_text_add(&r->story, "%s%s: no reply: %s\n", lead,
                    sb_name_text(&asked->question.name, name), sb_status_text(asked->status));
        return;
    }
    if (!asked->reply.has_provenance)
        return;
    sb_json_add_tried(r->tried, asked);
    sb_text_rungs(asked, lead, &r->story);
    if (is_failure(outcome)) { /* and why nobody was asked, when nobody was */
        bool down = outcome == SB_OUTCOME_UNREACHABLE && asked->reply.ede != SB_EDE_CACHED_ERROR;
        const char *nobody = down ? "every server is known to be down; " : "no server was asked; ";
        sb_text_add(&r->story, "%s%s%s", lead,
                    asked->reply.provenance.tried_count == 0 ? nobody : "",
                    sb_status_word(outcome));
        if (asked->reply.ede != SB_EDE_NONE)
            sb_text_add(&r->story, ": ");
        sb_text_ede(asked, &r->story);
        sb_text_add(&r->story, "\n");
    }
}

static bool is_failure(sb_outcome outcome)
{
    return outcome != SB_OUTCOME_OK && outcome != SB_OUTCOME_NXDOMAIN &&
           outcome != SB_OUTCOME_NODATA;
}

static void print_text(sb_cli *cli, const resolution *r)
{
    char text[SB_ADDR_TEXT_MAX];
    if (r->count == 0)
        print_failure(cli, r);
    if (r->count == 0 && !r->passed)
        return;
    if (r->passed) {
        printf("%s\n", r->text);
        return;
    }
    if (sb_cli_has(cli, SB_ARG_URL)) {
        printf("%s", r->url.data ? r->url.data : "");
        if (!r->replaced && !r->target.is_literal)
            printf(" %s", sb_addr_text(&r->addresses[0], text));
        printf("\n");
    } else {
        for (size_t i = 0; i < r->count; i++)
            printf("%s\n", sb_addr_text(&r->addresses[i], text));
    }
    if (r->degraded && r->provenance.flags & SB_PROVENANCE_AGE_UNKNOWN)
        sb_cli_note("degraded answer: %s, age unknown", sb_source_text(r->provenance.source));
    else if (r->degraded)
        sb_cli_note("degraded answer: %s, %u s old", sb_source_text(r->provenance.source),
                    r->provenance.age_s);
    if (sb_cli_has(cli, SB_ARG_VERBOSE) && r->story.data)
        (void)fprintf(stderr, "  asked through %s:\n%s", sb_cli_via(cli), r->story.data);
}

/* A5: what was tried, in which order, how long each took, why each failed. */
static void print_failure(sb_cli *cli, const resolution *r)
{
    sb_text shown = {0};
    sb_target_mask(r->text, strlen(r->text), &shown);
    sb_cli_complain("cannot resolve '%s': %s%s", shown.data ? shown.data : "",
                    sentence_of(r->status), r->passed ? "; passed through unchanged" : "");
    if (r->story.data && is_failure(r->status))
        (void)fprintf(stderr, "  tried through %s, in this order:\n%s", sb_cli_via(cli),
                      r->story.data);
    sb_text_fini(&shown);
}

static const char *sentence_of(sb_outcome status)
{
    const char *word = sb_status_word(status);
    static const struct {
        const char *word, *sentence;
    } sentences[] = {{"nxdomain", "there is no such name"},
                     {"nodata", "the name has no address"},
                     {"servfail", "the servers failed"},
                     {"timeout", "timed out"},
                     {"refused", "refused"},
                     {"unreachable", "no server could be reached"},
                     {"malformed", "the servers' answers make no sense"}};
    for (size_t i = 0; i < SB_ARRAY_SIZE(sentences); i++)
        if (strcmp(sentences[i].word, word) == 0)
            word = sentences[i].sentence;
    return word;
}

static void print_json(sb_cli *cli, const resolution *r)
{
    sb_text shown = {0};
    char name[SB_NAME_TEXT_MAX];
    json_t *addresses = json_array();
    const sb_provenance *p = &r->provenance;
    sb_target_mask(r->text, strlen(r->text), &shown);
    for (size_t i = 0; i < r->count; i++)
        json_array_append_new(addresses, sb_view_address(&r->addresses[i]));
    if (r->target.is_literal)
        (void)sb_addr_text(&r->addresses[0], name);
    else
        (void)sb_name_text(&r->name, name);
    bool known = r->count > 0;
    json_t *object = json_object();
    json_object_set_new(object, "query", sb_view_string(shown.data ? shown.data : ""));
    json_object_set_new(object, "name", sb_view_string(name));
    json_object_set_new(object, "addresses", addresses);
    json_object_set_new(object, "status", json_string(sb_status_word(r->status)));
    json_object_set_new(object, "source", sb_json_source(p->source));
    json_object_set_new(object, "stale", json_boolean(known && p->flags & SB_PROVENANCE_STALE));
    json_object_set_new(object, "age_s",
                        known && !(p->flags & SB_PROVENANCE_AGE_UNKNOWN) ? json_integer(p->age_s)
                                                                         : json_null());
    json_object_set_new(object, "ttl_s", known ? json_integer(p->ttl_s) : json_null());
    json_object_set_new(object, "upstream", sb_json_address_port(&p->upstream));
    json_object_set_new(object, "network", json_integer(p->network));
    json_object_set_new(object, "url", sb_view_string(r->url.data));
    json_object_set(object, "tried", r->tried);
    json_object_set_new(object, "daemon", sb_cli_json_daemon(cli));
    if (r->count == 0)
        json_object_set_new(object, "error", json_string(sentence_of(r->status)));
    if (r->count == 0 && json_array_size(r->failures) > 0)
        json_object_set(object, "failures", r->failures);
    if (r->passed)
        json_object_set_new(object, "pass_through", json_true());
    sb_cli_json(object);
    sb_text_fini(&shown);
}
