/* Entries of the cache file as values of a dump, and back (A9; docs/CONTROL.md).
 *
 * What comes back is judged like a message of the network: parsed, reduced to its question's chain,
 * given a life by this machine's policy from the moment it was learned. Loop thread. */
#include <string.h>

#include "base/mem.h"
#include "dns/rdata.h"
#include "front/control_private.h"
#include "front/view.h"
#include "resolve/scope.h"
#include "resolve/strategy.h"

/* Of one slice: well under a millisecond where entries are small, a few where they are huge. */
#define SLICE_ENTRIES 32

typedef struct loading {
    sb_control_work work; /* first */
    sb_engine *engine;
    sb_clock clock;
    sb_l1_buffer *buffer;
    size_t at; /* entries judged */
    json_int_t loaded, older, refused;
    sb_why first; /* what was wrong with the first refused one */
} loading;

static json_t *message_of(const sb_l1_entry *entry);
static json_int_t wall_ms(sb_engine *engine, const sb_clock *clock, sb_tick tick);
static bool load_slice(sb_control_request *request);
static void load_free(sb_control_work *work);
static void load_entry(loading *l, const json_t *value, size_t number);
static const char *load_checked(loading *l, const json_t *value, uint8_t *message, size_t size);
static const char *store(loading *l, const json_t *value, const sb_question *question,
                         sb_answer *answer);
static sb_l1_life life_of(loading *l, const sb_policy *policy, const sb_answer *answer,
                          sb_ns learned);
static void provenance_of(const json_t *value, sb_answer *answer);
static bool from_hex(const char *text, size_t size, uint8_t *ret_bytes);
static int nibble(char c);

json_t *sb_control_dump_entry(sb_engine *engine, const sb_l1_entry *entry)
{
    if (entry->kind == SB_KIND_FAILURE || (entry->flags & SB_L1_PINNED))
        return NULL; /* failures are of the moment, pins have verbs of their own */
    sb_reader r = sb_reader_of(entry->body, entry->body_size);
    sb_name name;
    char type[16], upstream[SB_ADDR_TEXT_MAX];
    sb_clock clock;
    (void)sb_name_read_plain(&r, &name);
    uint16_t type_number = sb_read_u16(&r);
    if (r.failed)
        return NULL;
    sb_engine_env(engine)->ops->clock(sb_engine_env(engine), &clock);
    bool unknown = entry->flags & SB_L1_AGE_UNKNOWN;
    return json_pack(
        "{s:o, s:s, s:b, s:b, s:o, s:I, s:I, s:I, s:I, s:s, s:o, s:I, s:o}", "name",
        sb_view_name(&name), "type", sb_type_text(type_number, type), "do", entry->dnssec_ok, "cd",
        entry->checking_disabled, "learned_ms",
        unknown ? json_null() : json_integer(wall_ms(engine, &clock, entry->life.learned)),
        "due_ms", wall_ms(engine, &clock, entry->life.due), "expires_ms",
        wall_ms(engine, &clock, entry->life.expires), "stale_until_ms",
        wall_ms(engine, &clock, entry->life.stale_until), "ttl_s", (json_int_t)entry->ttl_s,
        "source", sb_source_text((sb_source)entry->source), "upstream",
        entry->upstream.family ? sb_view_string(sb_addr_text_port(&entry->upstream, upstream))
                               : json_null(),
        "network", (json_int_t)entry->network, "message", message_of(entry));
}

bool sb_control_load(sb_control_request *request)
{
    if (!json_is_array(json_object_get(request->body, "entries"))) {
        (void)sb_why_set(&request->why, SB_INVALID, "entries must be a list as dump gives it");
        return false;
    }
    loading *l = sb_new(loading);
    if (!l)
        return true;
    l->work = (sb_control_work){.slice = load_slice, .free = load_free};
    l->engine = request->control->engine;
    l->buffer = sb_alloc(sizeof(*l->buffer));
    request->work = &l->work;
    return true;
}

static bool load_slice(sb_control_request *request)
{
    loading *l = (loading *)request->work;
    const json_t *entries = json_object_get(request->body, "entries");
    size_t count = json_array_size(entries);
    if (!l->buffer)
        return true;
    sb_engine_env(l->engine)->ops->clock(sb_engine_env(l->engine), &l->clock);
    for (unsigned i = 0; i < SLICE_ENTRIES && l->at < count; i++) {
        load_entry(l, json_array_get(entries, l->at), l->at + 1);
        l->at++;
    }
    if (l->at < count)
        return false;
    request->result =
        json_pack("{s:I, s:I, s:I}", "loaded", l->loaded, "older", l->older, "refused", l->refused);
    if (l->refused > 0 && request->result)
        json_object_set_new(request->result, "first_refused", sb_view_string(l->first.text));
    return true;
}

static void load_free(sb_control_work *work)
{
    sb_free(((loading *)work)->buffer);
    sb_free(work);
}

/* The whole message in hexadecimal: any DNS tool reads it. */
static json_t *message_of(const sb_l1_entry *entry)
{
    static const char digits[] = "0123456789abcdef";
    size_t size = SB_MSG_HEADER + entry->body_size;
    uint8_t header[SB_MSG_HEADER];
    sb_writer w = sb_writer_of(header, sizeof(header));
    sb_write_u16(&w, 0);
    sb_write_u16(&w, (uint16_t)(SB_FLAG_QR | SB_FLAG_RD | SB_FLAG_RA |
                                (entry->flags & SB_L1_AD ? SB_FLAG_AD : 0) |
                                (entry->checking_disabled ? SB_FLAG_CD : 0) | (entry->rcode & 15)));
    sb_write_u16(&w, 1);
    sb_write_u16(&w, entry->ancount);
    sb_write_u16(&w, entry->nscount);
    sb_write_u16(&w, 0);
    char *hex = sb_alloc(size * 2 + 1);
    if (!hex)
        return NULL;
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = i < sizeof(header) ? header[i] : entry->body[i - sizeof(header)];
        hex[2 * i] = digits[byte >> 4];
        hex[2 * i + 1] = digits[byte & 15];
    }
    hex[size * 2] = '\0';
    json_t *value = json_string(hex);
    sb_free(hex);
    return value;
}

static json_int_t wall_ms(sb_engine *engine, const sb_clock *clock, sb_tick tick)
{
    sb_ns at = sb_l1_ns_of(sb_engine_l1(engine), tick);
    return (clock->wall_ns / SB_MS) + (at / SB_MS - clock->boot_ns / SB_MS);
}

static void load_entry(loading *l, const json_t *value, size_t number)
{
    const char *hex = json_string_value(json_object_get(value, "message"));
    size_t size = hex ? strlen(hex) : 0;
    const char *wrong = "it has no message in hexadecimal";
    uint8_t *message =
        size > 0 && size % 2 == 0 && size / 2 <= SB_MSG_MAX ? sb_alloc(size / 2) : NULL;
    if (message && from_hex(hex, size, message))
        wrong = load_checked(l, value, message, size / 2);
    sb_free(message);
    if (!wrong)
        return;
    if (l->refused++ == 0)
        (void)sb_why_set(&l->first, SB_INVALID, "entry %zu: %s", number, wrong);
}

/* NULL: loaded, or known better. Else what is wrong. */
static const char *load_checked(loading *l, const json_t *value, uint8_t *message, size_t size)
{
    sb_msg msg;
    sb_answer *answer = NULL;
    if (sb_msg_parse(message, size, &msg) != SB_OK || !msg.has_question)
        return "the message does not check";
    sb_question question = msg.question;
    sb_name_fold(&question.name);
    question.dnssec_ok = json_is_true(json_object_get(value, "do"));
    question.checking_disabled = json_is_true(json_object_get(value, "cd"));
    if (question.class != SB_CLASS_IN || sb_type_is_meta(question.type))
        return "not a question that is cached";
    if (sb_answer_from_msg(&question, &msg, &answer) != SB_OK)
        return "the message does not answer its question";
    const char *wrong = answer->kind == SB_KIND_FAILURE ? "failures are not loaded"
                                                        : store(l, value, &question, answer);
    sb_answer_unref(answer);
    return wrong;
}

static const char *store(loading *l, const json_t *value, const sb_question *question,
                         sb_answer *answer)
{
    const json_t *learned_ms = json_object_get(value, "learned_ms");
    sb_l1 *l1 = sb_engine_l1(l->engine);
    const sb_pool *pool = sb_upstreams_pool(sb_engine_upstreams(l->engine), &question->name);
    sb_policy policy = sb_policy_of(sb_engine_settings(l->engine), question);
    if (sb_special_of(question, pool->suffix.size > 1) != SB_SPECIAL_NONE)
        return "the name is answered by rule";
    sb_ns learned = SB_NEVER; /* unknown: stale from the start */
    if (json_is_integer(learned_ms)) {
        json_int_t now_ms = l->clock.wall_ns / SB_MS, at_ms = json_integer_value(learned_ms);
        if (at_ms < 0)
            return "learned_ms is not a time";
        learned = l->clock.boot_ns - (at_ms < now_ms ? now_ms - at_ms : 0) * SB_MS;
    }
    provenance_of(value, answer);
    /* What is private goes where it came from, and is seen there alone. */
    bool scoped = answer->network != 0 && sb_scope_answer(question, answer);
    answer->view = scoped ? sb_scope_view(pool->view, answer->network) : pool->view;
    sb_l1_key key = {.question = question, .view = answer->view};
    sb_l1_life life = life_of(l, &policy, answer, learned);
    sb_l1_entry known;
    if (life.stale_until <= sb_l1_now(l1))
        return "it is past its last use";
    if (sb_l1_find(sb_l1_reader_of(l1), &key, l->buffer, &known) == SB_OK &&
        known.life.learned >= life.learned) {
        l->older++;
        return NULL;
    }
    sb_pin_info pin;
    bool pinned = sb_engine_pin_of(l->engine, &question->name, &pin);
    uint16_t flags = sb_policy_flags(&policy, answer, pinned);
    if (sb_l1_put(l1, &key, answer, &life, flags) != SB_OK)
        return "it does not fit into the cache";
    l->loaded++;
    return NULL;
}

/* Policy gives lengths; they count from when it was learned, which may lie before the file's first
 * tick: each end is converted by itself, so that what is over stays over. */
static sb_l1_life life_of(loading *l, const sb_policy *policy, const sb_answer *answer,
                          sb_ns learned)
{
    sb_l1 *l1 = sb_engine_l1(l->engine);
    sb_tick now = sb_l1_now(l1);
    sb_l1_life fresh = sb_policy_life(policy, answer, now);
    if (learned == SB_NEVER)
        return (sb_l1_life){.learned = 1,
                            .due = now,
                            .expires = now,
                            .stale_until = now + (fresh.stale_until - fresh.expires)};
    const sb_ns tick = SB_S / SB_TICKS_PER_S;
    return (sb_l1_life){.learned = sb_l1_tick_at(l1, learned),
                        .due = sb_l1_tick_at(l1, learned + (fresh.due - now) * tick),
                        .expires = sb_l1_tick_at(l1, learned + (fresh.expires - now) * tick),
                        .stale_until =
                            sb_l1_tick_at(l1, learned + (fresh.stale_until - now) * tick)};
}

static void provenance_of(const json_t *value, sb_answer *answer)
{
    const char *source = json_string_value(json_object_get(value, "source"));
    const char *upstream = json_string_value(json_object_get(value, "upstream"));
    const json_t *network = json_object_get(value, "network");
    answer->source = SB_SOURCE_DNS;
    if (source && strcmp(source, sb_source_text(SB_SOURCE_MDNS)) == 0)
        answer->source = SB_SOURCE_MDNS;
    if (upstream)
        (void)sb_addr_parse_port(upstream, strlen(upstream), 53, &answer->upstream);
    if (json_is_integer(network) && json_integer_value(network) >= 0 &&
        json_integer_value(network) <= UINT32_MAX)
        answer->network = (uint32_t)json_integer_value(network);
}

static bool from_hex(const char *text, size_t size, uint8_t *ret_bytes)
{
    for (size_t i = 0; i < size; i += 2) {
        int high = nibble(text[i]), low = nibble(text[i + 1]);
        if (high < 0 || low < 0)
            return false;
        ret_bytes[i / 2] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static int nibble(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)sb_ascii_lower((uint8_t)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
