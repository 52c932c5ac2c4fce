/* The walker's engine: places and sentences, mappings, lists, scalar types, near names.
 *
 * Never knows the meaning of a key. One thread. */
#include "conf/walk.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "dns/target.h"

enum {
    PLACES_MAX = 16, /* deeper than any table */
    WORD_MAX = 32,   /* longer than any key: of longer text no near name is sought */
    KEYS_MAX = 64,   /* of one table */
    LABEL_MAX = 64,
};

static void tell(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                 const char *sentence, sb_why *ret_why);
static sb_status take_pair(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_pair_t *pair,
                           const sb_conf_key *keys, size_t *seen_line, size_t *ret_index,
                           void *into);
static bool is_socket(const sb_conf_place *at, const char *key);
static void write_path(sb_writer *w, const sb_conf_place *at);
static sb_status unknown_key(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                             const sb_conf_key *keys);
static bool has_foreign_tag(const yaml_node_t *node);
static const char *duration_text(sb_ns duration, char *buffer, size_t capacity);
static unsigned distance(const char *a, const char *b);

sb_status sb_conf_error(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                        const char *format, ...)
{
    char sentence[384];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(sentence, sizeof(sentence), format, args);
    va_end(args);
    if (w->why && w->faults == 0)
        tell(w, at, node, sentence, w->why);
    return SB_INVALID;
}

void sb_conf_warn(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                  const char *sentence)
{
    sb_why why;
    tell(w, at, node, sentence, &why);
    sb_settings_warn(w->settings, why.text);
}

sb_status sb_conf_nomem(sb_conf_walk *w)
{
    return sb_why_set(w->why, SB_NOMEM, "%s: no memory for the settings", w->file);
}

sb_status sb_conf_map(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                      const sb_conf_key *keys, void *into)
{
    size_t seen_line[KEYS_MAX] = {0};
    if (node->type != YAML_MAPPING_NODE || has_foreign_tag(node))
        return sb_conf_error(w, at, node, "keys with values are expected (a mapping)");
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        size_t i = 0;
        sb_status status = take_pair(w, at, pair, keys, seen_line, &i, into);
        if (status == SB_INVALID && w->lenient) {
            w->faults++;
            if (keys[i].name && is_socket(at, keys[i].name))
                w->socket_lost = true;
        } else if (status != SB_OK) {
            return status;
        }
    }
    return SB_OK;
}

/* *ret_index: of the key, or of the end of the table. */
static sb_status take_pair(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_pair_t *pair,
                           const sb_conf_key *keys, size_t *seen_line, size_t *ret_index,
                           void *into)
{
    const yaml_node_t *name = yaml_document_get_node(w->document, pair->key);
    const yaml_node_t *value = yaml_document_get_node(w->document, pair->value);
    const char *text;
    size_t i = 0;
    while (keys[i].name)
        i++;
    *ret_index = i;
    sb_status status = sb_conf_text(w, at, name, "a key", &text);
    if (status != SB_OK)
        return status;
    for (i = 0; keys[i].name && strcmp(keys[i].name, text) != 0;)
        i++;
    *ret_index = i;
    if (!keys[i].name)
        return unknown_key(w, at, name, keys);
    sb_conf_place place = {.up = at, .key = keys[i].name};
    SB_ASSERT(i < KEYS_MAX);
    if (seen_line[i])
        return sb_conf_error(w, &place, name, "the key is there twice (first on line %zu)",
                             seen_line[i]);
    seen_line[i] = name->start_mark.line + 1;
    if (sb_conf_is_null(value))
        return keys[i].section ? SB_OK : sb_conf_error(w, &place, value, "a value is missing");
    status = keys[i].take(w, &place, value, &keys[i], (char *)into + keys[i].offset);
    if (status != SB_OK)
        return status;
    if (keys[i].has)
        *(bool *)((char *)into + keys[i].has) = true;
    if (keys[i].later)
        sb_conf_warn(w, &place, name, "it has no effect yet, but with a later version");
    return SB_OK;
}

static bool is_socket(const sb_conf_place *at, const char *key)
{
    if (!at)
        return strcmp(key, "listen") == 0;
    return !at->up && at->key && strcmp(at->key, "listen") == 0 && strcmp(key, "socket") == 0;
}

sb_status sb_conf_list(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                       const sb_conf_key *item, size_t size, size_t max, void **ret_items,
                       size_t *ret_count)
{
    if (node->type != YAML_SEQUENCE_NODE || has_foreign_tag(node))
        return sb_conf_error(w, at, node, "a list is expected: [a, b]");
    size_t count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    if (count > max)
        return sb_conf_error(w, at, node, "%zu items are too many; at most %zu are taken", count,
                             max);
    char *items = sb_arena_alloc(&w->settings->arena, count * size);
    if (!items)
        return sb_conf_nomem(w);
    for (size_t i = 0; i < count; i++) {
        sb_conf_place place = {.up = at, .index = i};
        const yaml_node_t *value = sb_conf_item(w, node, i);
        if (sb_conf_is_null(value))
            return sb_conf_error(w, &place, value, "a value is missing");
        sb_status status = item->take(w, &place, value, item, items + i * size);
        if (status != SB_OK)
            return status;
    }
    *ret_items = items;
    *ret_count = count;
    return SB_OK;
}

const yaml_node_t *sb_conf_find(sb_conf_walk *w, const yaml_node_t *mapping, const char *name)
{
    for (const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
         pair < mapping->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(w->document, pair->key);
        if (key->type == YAML_SCALAR_NODE &&
            strcmp((const char *)key->data.scalar.value, name) == 0)
            return yaml_document_get_node(w->document, pair->value);
    }
    return NULL;
}

const yaml_node_t *sb_conf_item(sb_conf_walk *w, const yaml_node_t *list, size_t index)
{
    return yaml_document_get_node(w->document, list->data.sequence.items.start[index]);
}

sb_status sb_conf_text(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                       const char *what, const char **ret_text)
{
    if (node->type != YAML_SCALAR_NODE)
        return sb_conf_error(w, at, node, "%s is expected, not a %s", what,
                             node->type == YAML_MAPPING_NODE ? "mapping" : "list");
    if (has_foreign_tag(node))
        return sb_conf_error(w, at, node, "%s is expected without a tag", what);
    const char *text = (const char *)node->data.scalar.value;
    if (strlen(text) != node->data.scalar.length)
        return sb_conf_error(w, at, node, "%s is expected without a NUL byte", what);
    *ret_text = text;
    return SB_OK;
}

sb_status sb_conf_copy(sb_conf_walk *w, const char *text, const char **ret_text)
{
    const char *copy = sb_arena_strdup(&w->settings->arena, text);
    if (!copy)
        return sb_conf_nomem(w);
    *ret_text = copy;
    return SB_OK;
}

bool sb_conf_is_null(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    const char *text = (const char *)node->data.scalar.value;
    return *text == '\0' || strcmp(text, "~") == 0 || sb_ascii_equal(text, "null");
}

bool sb_conf_is_bool(const yaml_node_t *node, bool *ret_value)
{
    static const char *const texts[] = {"false", "true", "no", "yes", "off", "on"};
    if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    for (unsigned i = 0; i < SB_ARRAY_SIZE(texts); i++) {
        if (sb_ascii_equal((const char *)node->data.scalar.value, texts[i])) {
            *ret_value = i % 2 != 0;
            return true;
        }
    }
    return false;
}

sb_status sb_conf_choice(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                         const char *const *texts, unsigned *ret_index)
{
    char list[256];
    sb_writer writer = sb_writer_of(list, sizeof(list) - 1);
    const char *text;
    unsigned count = 0;
    sb_status status = sb_conf_text(w, at, node, "a word", &text);
    if (status != SB_OK)
        return status;
    for (; texts[count]; count++) {
        if (sb_ascii_equal(text, texts[count])) {
            *ret_index = count;
            return SB_OK;
        }
        sb_write_format(&writer, "%s%s", count > 0 ? ", " : "", texts[count]);
    }
    list[writer.size] = '\0';
    const char *near = sb_conf_near(text, texts, count);
    if (near)
        return sb_conf_error(w, at, node, "%s is none of %s; did you mean %s?", SB_Q(text), list,
                             near);
    return sb_conf_error(w, at, node, "%s is none of %s", SB_Q(text), list);
}

sb_origin sb_conf_origin(const sb_conf_walk *w, const yaml_node_t *node)
{
    return (sb_origin){.file = w->file,
                       .line = (unsigned)node->start_mark.line + 1,
                       .column = (unsigned)node->start_mark.column + 1};
}

const char *sb_conf_near(const char *text, const char *const *candidates, size_t count)
{
    size_t size = strlen(text);
    const char *best = NULL;
    unsigned least = size < 4 ? 2 : 3; /* one slip in a short word, two in a longer one */
    if (size == 0 || size > WORD_MAX)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        unsigned d = distance(text, candidates[i]);
        if (d < least) {
            least = d;
            best = candidates[i];
        }
    }
    return best;
}

sb_status sb_conf_take_map(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                           const sb_conf_key *key, void *field)
{
    /* Tables of sections count their offsets from the struct that holds the section. */
    return sb_conf_map(w, at, node, key->more, field);
}

sb_status sb_conf_take_bool(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                            const sb_conf_key *key, void *field)
{
    (void)key;
    if (!sb_conf_is_bool(node, field))
        return sb_conf_error(w, at, node, "true or false is expected");
    return SB_OK;
}

sb_status sb_conf_take_unsigned(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                                const sb_conf_key *key, void *field)
{
    const char *text;
    uint64_t value;
    sb_status status = sb_conf_text(w, at, node, "a number", &text);
    if (status != SB_OK)
        return status;
    if (!sb_parse_u64(text, strlen(text), UINT64_MAX, &value))
        return sb_conf_error(w, at, node, "%s is not a whole number", SB_Q(text));
    if (value < (uint64_t)key->min || value > (uint64_t)key->max)
        return sb_conf_error(w, at, node, "%s is not within %lld and %lld", text,
                             (long long)key->min, (long long)key->max);
    *(unsigned *)field = (unsigned)value;
    return SB_OK;
}

sb_status sb_conf_take_port(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                            const sb_conf_key *key, void *field)
{
    (void)key;
    const sb_conf_key range = {.min = 1, .max = UINT16_MAX};
    unsigned port;
    sb_status status = sb_conf_take_unsigned(w, at, node, &range, &port);
    if (status == SB_OK)
        *(uint16_t *)field = (uint16_t)port;
    return status;
}

sb_status sb_conf_take_duration(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                                const sb_conf_key *key, void *field)
{
    const char *text;
    sb_ns value;
    sb_status status = sb_conf_text(w, at, node, "a duration", &text);
    if (status != SB_OK)
        return status;
    if (!sb_parse_duration(text, false, &value))
        return sb_conf_error(w, at, node, "%s is not a duration such as 20ms, 30s, 5m, 12h or 3d",
                             SB_Q(text));
    if (value < key->min || value > key->max) {
        char least[32], most[32];
        return sb_conf_error(w, at, node, "%s is not within %s and %s", text,
                             duration_text(key->min, least, sizeof(least)),
                             duration_text(key->max, most, sizeof(most)));
    }
    *(sb_ns *)field = value;
    return SB_OK;
}

sb_status sb_conf_take_seconds(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                               const sb_conf_key *key, void *field)
{
    const sb_conf_key range = {.min = key->min * SB_S, .max = key->max * SB_S};
    sb_ns value;
    sb_status status = sb_conf_take_duration(w, at, node, &range, &value);
    if (status != SB_OK)
        return status;
    if (value % SB_S != 0)
        return sb_conf_error(w, at, node, "whole seconds are expected");
    *(uint32_t *)field = (uint32_t)(value / SB_S);
    return SB_OK;
}

sb_status sb_conf_take_size(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                            const sb_conf_key *key, void *field)
{
    const char *text;
    uint64_t value;
    sb_status status = sb_conf_text(w, at, node, "a size", &text);
    if (status != SB_OK)
        return status;
    if (!sb_parse_size(text, &value))
        return sb_conf_error(w, at, node, "%s is not a size such as 512KiB, 64MiB or 1GiB",
                             SB_Q(text));
    if (value < (uint64_t)key->min || value > (uint64_t)key->max)
        return sb_conf_error(w, at, node, "%s is not within %lldKiB and %lldGiB", text,
                             (long long)key->min >> 10, (long long)key->max >> 30);
    *(size_t *)field = (size_t)value;
    return SB_OK;
}

sb_status sb_conf_take_percent(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                               const sb_conf_key *key, void *field)
{
    const char *text;
    uint32_t value;
    sb_status status = sb_conf_text(w, at, node, "a percentage", &text);
    if (status != SB_OK)
        return status;
    if (!sb_parse_percent(text, &value))
        return sb_conf_error(w, at, node, "%s is not a percentage from 0%% to 100%% such as 10%%",
                             SB_Q(text));
    if (value < key->min || value > key->max)
        return sb_conf_error(w, at, node, "%s is not within %lld%% and %lld%%", text,
                             (long long)key->min / 10, (long long)key->max / 10);
    *(uint32_t *)field = value;
    return SB_OK;
}

sb_status sb_conf_take_path(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                            const sb_conf_key *key, void *field)
{
    (void)key;
    const char *text;
    bool on;
    if (sb_conf_is_bool(node, &on) && !on) {
        *(const char **)field = "";
        return SB_OK;
    }
    sb_status status = sb_conf_text(w, at, node, "a path", &text);
    if (status != SB_OK)
        return status;
    if (text[0] != '/' || text[strlen(text) - 1] == '/')
        return sb_conf_error(w, at, node, "%s is not the absolute path of a file", SB_Q(text));
    return sb_conf_copy(w, text, field);
}

sb_status sb_conf_take_name(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                            const sb_conf_key *key, void *field)
{
    (void)key;
    const char *text;
    bool below;
    sb_why why = {""};
    sb_status status = sb_conf_text(w, at, node, "a name", &text);
    if (status != SB_OK)
        return status;
    if (text[0] == '*')
        return sb_conf_error(w, at, node, "%s has a star; a name is expected", SB_Q(text));
    if (strchr(text, ':'))
        return sb_conf_no_url(w, at, node);
    status = sb_match_parse(text, strlen(text), field, &below, &why);
    if (status != SB_OK)
        return sb_conf_error(w, at, node, "%s: %s", SB_Q(text), why.text);
    return SB_OK;
}

/* Shows no text: a URL may hold a password. */
sb_status sb_conf_no_url(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node)
{
    return sb_conf_error(w, at, node, "a name is expected, without scheme, port or path");
}

sb_status sb_conf_take_label(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                             const sb_conf_key *key, void *field)
{
    (void)key;
    const char *text;
    sb_status status = sb_conf_text(w, at, node, "a word", &text);
    if (status != SB_OK)
        return status;
    size_t size = strlen(text);
    bool good = size > 0 && size <= LABEL_MAX;
    for (size_t i = 0; i < size && good; i++)
        good = (uint8_t)text[i] > ' ' && (uint8_t)text[i] < 0x7f && !strchr("\"'\\,", text[i]);
    if (!good)
        return sb_conf_error(w, at, node, "%s is not a word of 1 to 64 letters, digits and signs",
                             SB_Q(text));
    return sb_conf_copy(w, text, field);
}

/* The sentence shows no text: a URL may hold a password. */
sb_status sb_conf_take_url(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                           const sb_conf_key *key, void *field)
{
    (void)key;
    const char *text;
    sb_target target;
    sb_why why = {""};
    sb_status status = sb_conf_text(w, at, node, "a URL", &text);
    if (status != SB_OK)
        return status;
    if (sb_target_parse(text, strlen(text), &target, &why) != SB_OK)
        return sb_conf_error(w, at, node, "%s", why.text);
    if (target.form != SB_TARGET_URL)
        return sb_conf_error(w, at, node, "a URL is expected: scheme://host");
    return sb_conf_copy(w, text, field);
}

static void tell(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                 const char *sentence, sb_why *ret_why)
{
    char path[128];
    sb_writer writer = sb_writer_of(path, sizeof(path) - 1);
    write_path(&writer, at);
    path[writer.size] = '\0';
    (void)sb_why_set(ret_why, SB_INVALID, "%.200s:%zu:%zu: %s%s%s", w->file,
                     node->start_mark.line + 1, node->start_mark.column + 1, path,
                     writer.size > 0 ? ": " : "", sentence);
}

static void write_path(sb_writer *w, const sb_conf_place *at)
{
    const sb_conf_place *places[PLACES_MAX];
    size_t count = 0;
    for (; at && count < PLACES_MAX; at = at->up)
        places[count++] = at;
    while (count > 0) {
        const sb_conf_place *place = places[--count];
        if (place->key)
            sb_write_format(w, "%s%s", w->size > 0 ? "." : "", place->key);
        else
            sb_write_format(w, "[%zu]", place->index);
    }
}

static sb_status unknown_key(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                             const sb_conf_key *keys)
{
    const char *names[KEYS_MAX], *text = (const char *)node->data.scalar.value;
    char list[256], shown[64];
    size_t count = 0;
    sb_writer writer = sb_writer_of(list, sizeof(list) - 1);
    for (; count < KEYS_MAX && keys[count].name; count++) {
        names[count] = keys[count].name;
        sb_write_format(&writer, "%s%s", count > 0 ? ", " : "", names[count]);
    }
    list[writer.size] = '\0';
    sb_conf_place place = {.up = at, .key = sb_log_escape(shown, sizeof(shown), text)};
    const char *near = sb_conf_near(text, names, count);
    if (near)
        return sb_conf_error(w, &place, node, "unknown key; did you mean %s?", near);
    return sb_conf_error(w, &place, node, "unknown key; known here: %s", list);
}

/* The parser gives untagged nodes these; whoever writes another tag wants what is not done here. */
static bool has_foreign_tag(const yaml_node_t *node)
{
    static const char *const plain[] = {YAML_STR_TAG, YAML_SEQ_TAG, YAML_MAP_TAG};
    for (unsigned i = 0; i < SB_ARRAY_SIZE(plain); i++)
        if (node->tag && strcmp((const char *)node->tag, plain[i]) == 0)
            return false;
    return true;
}

/* In the largest unit that leaves nothing over. */
static const char *duration_text(sb_ns duration, char *buffer, size_t capacity)
{
    static const struct {
        sb_ns value;
        const char *unit;
    } units[] = {{86400 * SB_S, "d"}, {3600 * SB_S, "h"}, {60 * SB_S, "m"},
                 {SB_S, "s"},         {SB_MS, "ms"},      {1, "ns"}};
    size_t i = 0;
    while (duration > 0 && duration % units[i].value != 0)
        i++;
    if (duration == 0)
        i = 3;
    (void)snprintf(buffer, capacity, "%lld%s", (long long)(duration / units[i].value),
                   units[i].unit);
    return buffer;
}

/* Optimal string alignment: insertions, deletions, exchanges, and neighbours swapped. Both at most
 * WORD_MAX bytes. */
static unsigned distance(const char *a, const char *b)
{
    unsigned rows[3][WORD_MAX + 1];
    size_t size_a = strlen(a), size_b = strlen(b);
    if (size_b > WORD_MAX)
        return UINT32_MAX;
    for (size_t j = 0; j <= size_b; j++)
        rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= size_a; i++) {
        unsigned *now = rows[i % 3];
        const unsigned *last = rows[(i - 1) % 3], *before = rows[(i + 1) % 3];
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= size_b; j++) {
            uint8_t x = sb_ascii_lower((uint8_t)a[i - 1]), y = sb_ascii_lower((uint8_t)b[j - 1]);
            unsigned d = last[j - 1] + (x != y);
            if (last[j] + 1 < d)
                d = last[j] + 1;
            if (now[j - 1] + 1 < d)
                d = now[j - 1] + 1;
            if (i > 1 && j > 1 && x == sb_ascii_lower((uint8_t)b[j - 2]) &&
                y == sb_ascii_lower((uint8_t)a[i - 2]) && before[j - 2] + 1 < d)
                d = before[j - 2] + 1;
            now[j] = d;
        }
    }
    return rows[size_a % 3][size_b];
}
