/* Loading the configuration file: bounds, syntax, then the schema's walk over the document.
 *
 * Never opens a file, never keeps a part of a file that had an error in use: the caller throws the
 * settings away. One thread. */
#include "conf/yaml.h"

#include <yaml.h>

#include "conf/schema.h"

enum {
    DEPTH_MAX = 16,   /* the tables need 6; a deeper file is a mistake or an attack */
    ANCHORS_MAX = 64, /* libyaml compares every alias with every anchor */
};

static size_t section_before(const uint8_t *bytes, size_t size);
static sb_status load(const uint8_t *bytes, size_t size, const char *file_name,
                      sb_settings *settings, bool *ret_socket_lost, sb_why *why);
static sb_status check_shape(const uint8_t *bytes, size_t size, const char *file, sb_why *why);
static sb_status check_event(const yaml_event_t *event, unsigned *depth, unsigned *documents,
                             unsigned *anchors, const char **ret_problem);
static sb_status syntax_error(const yaml_parser_t *parser, const uint8_t *bytes, size_t size,
                              const char *file, sb_why *why);

sb_status sb_conf_load(const uint8_t *bytes, size_t size, const char *file_name,
                       sb_settings *settings, sb_why *why)
{
    return load(bytes, size, file_name, settings, NULL, why);
}

sb_status sb_conf_load_leniently(const uint8_t *bytes, size_t size, const char *file_name,
                                 sb_settings *settings, bool *ret_socket_lost, sb_why *why)
{
    sb_why later = {{0}};
    *ret_socket_lost = false;
    sb_status status = load(bytes, size, file_name, settings, ret_socket_lost, why);
    if (status != SB_INVALID || !*ret_socket_lost || settings->listen.socket_origin.line)
        return status;
    /* The walk went through, or there was no document: then less of the file may be one. */
    for (size_t end = section_before(bytes, size); end > 0; end = section_before(bytes, end)) {
        sb_status part = load(bytes, end, file_name, settings, ret_socket_lost, &later);
        if (part == SB_NOMEM)
            return sb_why_set(why, part, "%s", later.text);
        if (part == SB_OK || !*ret_socket_lost || settings->listen.socket_origin.line) {
            *ret_socket_lost = *ret_socket_lost || !settings->listen.socket_origin.line;
            break;
        }
    }
    return status;
}

/* Where the last top-level key begins. */
static size_t section_before(const uint8_t *bytes, size_t size)
{
    for (size_t at = size; at > 1; at--) {
        uint8_t c = at - 1 < size ? bytes[at - 1] : '\n';
        if (bytes[at - 2] == '\n' && c > ' ' && c != '#' && c != '-' && c != '}' && c != ']')
            return at - 1;
    }
    return 0;
}

/* ret_socket_lost NULL: strictly. */
static sb_status load(const uint8_t *bytes, size_t size, const char *file_name,
                      sb_settings *settings, bool *ret_socket_lost, sb_why *why)
{
    static const uint8_t nothing;
    SB_ASSERT(!settings->frozen);
    if (ret_socket_lost)
        *ret_socket_lost = true; /* until there was a document to look into */
    if (size > SB_CONF_SIZE_MAX)
        return sb_why_set(why, SB_LIMIT, "%.200s: larger than 1 MiB", file_name);
    if (size == 0)
        bytes = &nothing;
    sb_status status = check_shape(bytes, size, file_name, why);
    if (status != SB_OK)
        return status;

    const char *file = sb_arena_strdup(&settings->arena, file_name);
    yaml_parser_t parser;
    yaml_document_t document;
    if (!file || !yaml_parser_initialize(&parser))
        return sb_why_set(why, SB_NOMEM, "%.200s: no memory for the settings", file_name);
    yaml_parser_set_input_string(&parser, bytes, size);
    if (!yaml_parser_load(&parser, &document)) {
        status = syntax_error(&parser, bytes, size, file_name, why);
        goto done;
    }
    sb_conf_walk walk = {.document = &document,
                         .file = file,
                         .settings = settings,
                         .why = why,
                         .lenient = ret_socket_lost != NULL};
    const yaml_node_t *root = yaml_document_get_root_node(&document);
    if (root && !sb_conf_is_null(root))
        status = sb_conf_map(&walk, NULL, root, sb_conf_root, settings);
    if (status == SB_OK && ret_socket_lost)
        *ret_socket_lost = walk.socket_lost;
    if (status == SB_OK && walk.faults > 0)
        status = SB_INVALID;
    yaml_document_delete(&document);
done:
    yaml_parser_delete(&parser);
    return status;
}

/* A first pass over the events, which keep nothing: what is too deep, has too many anchors or a
 * second document is refused before a tree is built of it. */
static sb_status check_shape(const uint8_t *bytes, size_t size, const char *file, sb_why *why)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return sb_why_set(why, SB_NOMEM, "%.200s: no memory to read it", file);
    yaml_parser_set_input_string(&parser, bytes, size);
    sb_status status = SB_OK;
    unsigned depth = 0, documents = 0, anchors = 0;
    bool more = true;
    while (more && status == SB_OK) {
        yaml_event_t event;
        const char *problem = "";
        if (!yaml_parser_parse(&parser, &event)) {
            status = syntax_error(&parser, bytes, size, file, why);
            break;
        }
        status = check_event(&event, &depth, &documents, &anchors, &problem);
        if (status != SB_OK)
            sb_why_set(why, status, "%.200s:%zu:%zu: %s", file, event.start_mark.line + 1,
                       event.start_mark.column + 1, problem);
        more = event.type != YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return status;
}

static sb_status check_event(const yaml_event_t *event, unsigned *depth, unsigned *documents,
                             unsigned *anchors, const char **ret_problem)
{
    const yaml_char_t *anchor = NULL;
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (++*documents > 1) {
            *ret_problem = "a second document begins here; one is expected";
            return SB_INVALID;
        }
        return SB_OK;
    case YAML_SEQUENCE_START_EVENT:
        anchor = event->data.sequence_start.anchor;
        ++*depth;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = event->data.mapping_start.anchor;
        ++*depth;
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        --*depth;
        return SB_OK;
    case YAML_SCALAR_EVENT:
        anchor = event->data.scalar.anchor;
        break;
    default:
        return SB_OK;
    }
    if (*depth > DEPTH_MAX) {
        *ret_problem = "nested deeper than 16 levels";
        return SB_LIMIT;
    }
    if (anchor && ++*anchors > ANCHORS_MAX) {
        *ret_problem = "more than 64 anchors";
        return SB_LIMIT;
    }
    return SB_OK;
}

/* The reader, unlike the scanner, tells an offset only. Its columns are counted in bytes. */
static sb_status syntax_error(const yaml_parser_t *parser, const uint8_t *bytes, size_t size,
                              const char *file, sb_why *why)
{
    const char *problem = parser->problem ? parser->problem : "it cannot be read";
    size_t line = parser->problem_mark.line + 1, column = parser->problem_mark.column + 1;
    if (parser->error == YAML_MEMORY_ERROR)
        return sb_why_set(why, SB_NOMEM, "%.200s: no memory to read it", file);
    if (parser->error == YAML_READER_ERROR) {
        line = column = 1;
        for (size_t i = 0; i < parser->problem_offset && i < size; i++) {
            column = bytes[i] == '\n' ? 1 : column + 1;
            line += bytes[i] == '\n';
        }
    }
    return sb_why_set(why, SB_INVALID, "%.200s:%zu:%zu: not YAML: %s%s%s", file, line, column,
                      problem, parser->context ? " " : "", parser->context ? parser->context : "");
}
