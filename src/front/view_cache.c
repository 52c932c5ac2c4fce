/* Cache entries, pages of them, and what is known of one question, as JSON; see view.h.
 *
 * A page examines a bounded number of entries and bytes, so that no listing holds up the loop. Loop
 * thread. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "dns/rdata.h"
#include "front/view.h"
#include "resolve/scope.h"
#include "resolve/strategy.h"

/* Of one page: about a millisecond each. */
#define PAGE_EXAMINED_MAX 4096
#define PAGE_BODY_BYTES_MAX ((size_t)256 * 1024)
/* Of one entry shown. */
#define RECORDS_MAX 16
#define RECORD_TEXT_MAX ((size_t)512)

static bool question_of(const sb_l1_entry *entry, sb_question *ret_question);
static json_t *records_of(const sb_l1_entry *entry);
static bool add_record(void *context, const sb_record *record, sb_span rdata);
static json_t *flags_of(const sb_l1_entry *entry);
static json_t *view_policy(const sb_policy *policy);
static json_t *view_route(sb_engine *engine, const sb_pool *pool);
static json_t *variants(sb_engine *engine, const sb_question *question, uint32_t view,
                        sb_freshness *ret_best);
static sb_answer *known_answer(sb_engine *engine, const sb_question *question, uint32_t view);
static json_t *view_pin(const sb_pin_info *pin, bool found);
static const char *outlook(sb_engine *engine, const sb_question *question, const sb_pool *pool,
                           bool pinned, sb_freshness best);
static const char *kind_text(unsigned kind);
static const char *freshness_text(sb_freshness freshness);
static const char *special_text(sb_special special);

json_t *sb_view_cache(sb_engine *engine, const sb_view_page *page, sb_view_entry_maker *make)
{
    const sb_l1_reader *reader = sb_l1_reader_of(sb_engine_l1(engine));
    sb_tick now = sb_l1_now(sb_engine_l1(engine));
    sb_l1_buffer *buffer = sb_alloc(sizeof(*buffer));
    json_t *entries = json_array();
    uint64_t cursor = page->cursor;
    bool more = true;
    size_t bytes = 0;
    for (unsigned seen = 0; buffer && entries && seen < PAGE_EXAMINED_MAX; seen++) {
        if (json_array_size(entries) >= page->limit || bytes > PAGE_BODY_BYTES_MAX)
            break;
        sb_l1_entry entry;
        sb_question question;
        more = sb_l1_walk(reader, &cursor, buffer, &entry);
        if (!more)
            break;
        if (sb_l1_freshness(&entry, now) == SB_DEAD || !question_of(&entry, &question) ||
            (page->suffix && !sb_name_below(&question.name, page->suffix)))
            continue;
        json_t *value = make(engine, &entry);
        if (value)
            json_array_append_new(entries, value);
        bytes += entry.body_size;
    }
    sb_free(buffer);
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRIu64, cursor);
    return json_pack("{s:o, s:o}", "entries", entries, "cursor",
                     more ? json_string(text) : json_null());
}

bool sb_view_cursor_parse(const char *text, uint64_t *ret_cursor)
{
    return sb_parse_u64(text, strlen(text), UINT64_MAX, ret_cursor);
}

json_t *sb_view_entry(sb_engine *engine, const sb_l1_entry *entry)
{
    sb_question question;
    char type[16], upstream[SB_ADDR_TEXT_MAX];
    sb_tick now = sb_l1_now(sb_engine_l1(engine));
    if (!question_of(entry, &question))
        return NULL;
    sb_l1_key key = {.question = &question, .view = entry->view};
    bool forever = entry->source == SB_SOURCE_PIN && entry->life.due >= UINT32_MAX - 1;
    bool unknown = entry->flags & SB_L1_AGE_UNKNOWN;
    json_int_t age = now > entry->life.learned ? (now - entry->life.learned) / SB_TICKS_PER_S : 0;
    json_int_t left = now < entry->life.due ? (entry->life.due - now) / SB_TICKS_PER_S : 0;
    json_int_t stale =
        now < entry->life.stale_until ? (entry->life.stale_until - now) / SB_TICKS_PER_S : 0;
    return json_pack(
        "{s:o, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:I, s:o, s:I, s:I, s:I, s:o, s:o}", "name",
        sb_view_name(&question.name), "type", sb_type_text(question.type, type), "kind",
        kind_text(entry->kind), "state", freshness_text(sb_l1_freshness(entry, now)), "source",
        sb_source_text((sb_source)entry->source), "age_s",
        unknown ? json_null() : json_integer(age), "ttl_s",
        forever ? json_null() : json_integer(unknown ? 0 : left), "stale_left_s",
        forever ? json_null() : json_integer(stale), "authority_ttl_s", (json_int_t)entry->ttl_s,
        "upstream",
        entry->upstream.family ? sb_view_string(sb_addr_text_port(&entry->upstream, upstream))
                               : json_null(),
        "network", (json_int_t)entry->network, "view", (json_int_t)entry->view, "uses",
        (json_int_t)sb_l1_uses(sb_engine_l1(engine), &key), "flags", flags_of(entry), "records",
        records_of(entry));
}

json_t *sb_view_explain(sb_engine *engine, const sb_name *name, uint16_t type)
{
    char type_text[16];
    sb_question question = {.name = *name, .type = type, .class = SB_CLASS_IN};
    sb_name_fold(&question.name);
    const sb_pool *pool = sb_upstreams_pool(sb_engine_upstreams(engine), &question.name);
    sb_policy policy = sb_policy_of(sb_engine_settings(engine), &question);
    sb_pin_info pin = {.count = 0};
    bool pinned = sb_engine_pin_of(engine, &question.name, &pin);
    sb_freshness best = SB_DEAD;
    json_t *cache = variants(engine, &question, pool->view, &best);
    const char *next = outlook(engine, &question, pool, pinned && !pin.aside, best);
    sb_answer *known = known_answer(engine, &question, pool->view);
    const sb_answer *answers[1] = {known};
    json_t *endpoints = sb_view_endpoints(engine, answers, 1, &policy);
    sb_answer_unref(known);
    return json_pack("{s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s}", "name",
                     sb_view_name(&question.name), "type", sb_type_text(type, type_text), "special",
                     special_text(sb_special_of(&question, pool->suffix.size > 1)), "route",
                     view_route(engine, pool), "policy", view_policy(&policy), "pin",
                     view_pin(&pin, pinned), "cache", cache, "doubt",
                     sb_view_doubt(engine, &question.name, type), "endpoints", endpoints, "trail",
                     sb_view_trail(engine, &question.name), "outlook", next);
}

/* What the cache holds for it, of whatever age; NULL: nothing. */
static sb_answer *known_answer(sb_engine *engine, const sb_question *question, uint32_t view)
{
    sb_l1_buffer *buffer = sb_alloc(sizeof(*buffer));
    sb_l1_key key = {.question = question, .view = view};
    sb_l1_entry entry;
    sb_answer *answer = NULL;
    if (buffer && sb_l1_find(sb_l1_reader_of(sb_engine_l1(engine)), &key, buffer, &entry) == SB_OK)
        answer = sb_answer_of_entry(&entry);
    sb_free(buffer);
    return answer;
}

static bool question_of(const sb_l1_entry *entry, sb_question *ret_question)
{
    sb_reader r = sb_reader_of(entry->body, entry->body_size);
    sb_question question = {.dnssec_ok = entry->dnssec_ok,
                            .checking_disabled = entry->checking_disabled};
    (void)sb_name_read_plain(&r, &question.name);
    question.type = sb_read_u16(&r);
    question.class = sb_read_u16(&r);
    if (r.failed)
        return false;
    *ret_question = question;
    return true;
}

static json_t *records_of(const sb_l1_entry *entry)
{
    json_t *records = json_array();
    sb_answer *answer = sb_answer_of_entry(entry);
    if (answer && records)
        (void)sb_answer_each(answer, SB_SECTION_ANSWER, add_record, records);
    sb_answer_unref(answer);
    return records;
}

static bool add_record(void *context, const sb_record *record, sb_span rdata)
{
    json_t *records = context;
    char type[16];
    sb_text text = {.limit = (size_t)1024 * 1024};
    sb_text_add(&text, "%s ", sb_type_text(record->type, type));
    (void)sb_rdata_text(record->type, rdata, &text);
    if (text.size > RECORD_TEXT_MAX)
        text.data[RECORD_TEXT_MAX] = '\0';
    if (text.data)
        json_array_append_new(records, sb_view_string(text.data));
    sb_text_fini(&text);
    return json_array_size(records) < RECORDS_MAX;
}

static json_t *flags_of(const sb_l1_entry *entry)
{
    static const struct {
        uint16_t flag;
        const char *text;
    } names[] = {{SB_L1_PLAIN, "plain"},   {SB_L1_PROTECTED, "protected"},
                 {SB_L1_PINNED, "pinned"}, {SB_L1_AD, "ad"},
                 {SB_L1_NO_SOA, "no-soa"}, {SB_L1_AGE_UNKNOWN, "age-unknown"}};
    json_t *flags = json_array();
    for (size_t i = 0; i < SB_ARRAY_SIZE(names); i++)
        if (entry->flags & names[i].flag)
            json_array_append_new(flags, json_string(names[i].text));
    if (entry->dnssec_ok)
        json_array_append_new(flags, json_string("do"));
    if (entry->checking_disabled)
        json_array_append_new(flags, json_string("cd"));
    return flags;
}

static json_t *view_policy(const sb_policy *policy)
{
    json_t *emergency = json_array();
    for (size_t i = 0; i < policy->emergency_count; i++)
        json_array_append_new(emergency, sb_view_address(&policy->emergency[i]));
    return json_pack("{s:I, s:I, s:I, s:I, s:s, s:b, s:o}", "ttl_min_s",
                     (json_int_t)policy->ttl_min_s, "ttl_max_s", (json_int_t)policy->ttl_max_s,
                     "negative_ttl_max_s", (json_int_t)policy->negative_ttl_max_s, "stale_keep_s",
                     (json_int_t)(policy->keep / SB_S), "family",
                     sb_family_policy_text(policy->family), "protect", policy->protect, "emergency",
                     emergency);
}

static json_t *view_route(sb_engine *engine, const sb_pool *pool)
{
    char text[SB_ADDR_TEXT_MAX];
    json_t *servers = json_array();
    for (unsigned i = 0; i < pool->count; i++)
        json_array_append_new(servers,
                              sb_view_string(sb_addr_text_port(&pool->servers[i]->addr, text)));
    return json_pack("{s:o, s:b, s:o}", "suffix", sb_view_name(&pool->suffix), "dead",
                     sb_pool_dead(sb_engine_upstreams(engine), pool), "upstreams", servers);
}

/* The question's entries with and without DO and CD, this network's own first. */
static json_t *variants(sb_engine *engine, const sb_question *question, uint32_t view,
                        sb_freshness *ret_best)
{
    sb_l1 *l1 = sb_engine_l1(engine);
    sb_l1_buffer *buffer = sb_alloc(sizeof(*buffer));
    json_t *entries = json_array();
    sb_freshness best = SB_DEAD;
    uint32_t network = sb_engine_network(engine);
    for (unsigned k = network != 0 ? 0 : 4; buffer && k < 8; k++) {
        unsigned i = k & 3;
        sb_question variant = *question;
        variant.dnssec_ok = i & 1;
        variant.checking_disabled = i & 2;
        sb_l1_key key = {.question = &variant, .view = k < 4 ? sb_scope_view(view, network) : view};
        sb_l1_entry entry;
        if (sb_l1_find(sb_l1_reader_of(l1), &key, buffer, &entry) != SB_OK)
            continue;
        sb_freshness freshness = sb_l1_freshness(&entry, sb_l1_now(l1));
        json_array_append_new(entries, sb_view_entry(engine, &entry));
        if (i == 0 && best == SB_DEAD)
            best = freshness;
    }
    sb_free(buffer);
    *ret_best = best;
    return entries;
}

static json_t *view_pin(const sb_pin_info *pin, bool found)
{
    if (!found)
        return json_null();
    json_t *addresses = json_array();
    for (size_t i = 0; i < pin->count; i++)
        json_array_append_new(addresses, sb_view_address(&pin->addresses[i]));
    return addresses;
}

/* In the order of the ladder; the hosts file is the engine's own and not looked into here. */
static const char *outlook(sb_engine *engine, const sb_question *question, const sb_pool *pool,
                           bool pinned, sb_freshness best)
{
    sb_policy policy = sb_policy_of(sb_engine_settings(engine), question);
    sb_special special = sb_special_of(question, pool->suffix.size > 1);
    if (special != SB_SPECIAL_NONE && special != SB_SPECIAL_LINK_LOCAL)
        return "answered by rule, never by DNS";
    if (sb_policy_hides(&policy, question->type))
        return "no records: the address family is switched off for this name";
    if (pinned)
        return "the pinned addresses";
    if (best == SB_FRESH)
        return "the cached answer";
    bool dead = special == SB_SPECIAL_LINK_LOCAL || sb_pool_dead(sb_engine_upstreams(engine), pool);
    if (!dead)
        return best == SB_DEAD ? "an upstream is asked"
                               : "an upstream is asked; the cached answer if it fails";
    if (best != SB_DEAD)
        return "the cached answer: no upstream of its route is up";
    return policy.emergency_count > 0 ? "the emergency addresses: no upstream of its route is up"
                                      : "a failure: no upstream of its route is up";
}

static const char *kind_text(unsigned kind)
{
    static const char *const texts[] = {"none", "positive", "nodata", "nxdomain", "failure"};
    return kind < SB_ARRAY_SIZE(texts) ? texts[kind] : "none";
}

static const char *freshness_text(sb_freshness freshness)
{
    static const char *const texts[] = {"fresh", "due", "stale", "dead"};
    return texts[freshness];
}

static const char *special_text(sb_special special)
{
    static const char *const texts[] = {"none", "loopback", "literal", "nonexistent", "link-local"};
    return texts[special];
}
