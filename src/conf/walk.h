/* The table-driven walker over a YAML document: what every section of the schema shares.
 *
 * Knows nodes, places, keys and scalar types; never what a key means (conf/schema). It descends as
 * deep as the tables do, never as deep as the input. One thread. */
#ifndef SB_CONF_WALK_H
#define SB_CONF_WALK_H

#include <yaml.h>

#include "core/settings.h"

typedef struct sb_conf_walk {
    yaml_document_t *document;
    const char *file; /* in the settings' arena */
    sb_settings *settings;
    sb_why *why;
    bool lenient;     /* a key that is wrong is left out; why tells of the first */
    unsigned faults;  /* so far */
    bool socket_lost; /* listen.socket is among them */
} sb_conf_walk;

/* One step of a path: a key, or a place in a list when key is NULL. */
typedef struct sb_conf_place {
    const struct sb_conf_place *up;
    const char *key;
    size_t index;
} sb_conf_place;

typedef struct sb_conf_key sb_conf_key;
/* Stores the node's value at field. at is the place of the node. */
typedef sb_status sb_conf_take(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                               const sb_conf_key *key, void *field);

struct sb_conf_key {
    const char *name; /* NULL ends a table */
    sb_conf_take *take;
    size_t offset;    /* of the field in the struct the table fills */
    size_t has;       /* of a bool that becomes true; 0 none */
    int64_t min, max; /* in the unit of the field */
    const void *more; /* table of the section, or texts of the choice */
    bool section;     /* may be left empty: nothing of it is configured */
    bool later;       /* checked, but without effect in this version */
};

/* `file:line:column: path: sentence`, SB_INVALID. */
sb_status sb_conf_error(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                        const char *format, ...) SB_PRINTF(4, 5);
/* The same as a warning of the settings. */
void sb_conf_warn(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                  const char *sentence);
sb_status sb_conf_nomem(sb_conf_walk *w);
/* The error of a URL where a name belongs. */
sb_status sb_conf_no_url(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node);

/* A mapping by its table: unknown keys and second ones are errors. into: the struct. */
sb_status sb_conf_map(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                      const sb_conf_key *keys, void *into);
/* The items of a list of at most max, each of size bytes, zeroed, taken by key->take. */
sb_status sb_conf_list(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                       const sb_conf_key *item, size_t size, size_t max, void **ret_items,
                       size_t *ret_count);
/* The value of a key of a mapping, NULL when absent: for rules across keys. */
const yaml_node_t *sb_conf_find(sb_conf_walk *w, const yaml_node_t *mapping, const char *name);
/* An item of a list; index within it. */
const yaml_node_t *sb_conf_item(sb_conf_walk *w, const yaml_node_t *list, size_t index);

/* The text of a scalar (borrowed from the document); `what` is expected there. */
sb_status sb_conf_text(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                       const char *what, const char **ret_text);
/* A copy of the text in the settings' arena. */
sb_status sb_conf_copy(sb_conf_walk *w, const char *text, const char **ret_text);
bool sb_conf_is_null(const yaml_node_t *node);
/* True for plain (unquoted) true, yes, on, false, no, off. */
bool sb_conf_is_bool(const yaml_node_t *node, bool *ret_value);
/* Which of the texts (NULL-terminated) the scalar is. */
sb_status sb_conf_choice(sb_conf_walk *w, const sb_conf_place *at, const yaml_node_t *node,
                         const char *const *texts, unsigned *ret_index);
sb_origin sb_conf_origin(const sb_conf_walk *w, const yaml_node_t *node);
/* The nearest of the candidates by edit distance, NULL when none is near. */
const char *sb_conf_near(const char *text, const char *const *candidates, size_t count);

/* Takers of plain types; min and max of the key hold where the type has an order. */
sb_conf_take sb_conf_take_map;      /* more: table; fills the same struct */
sb_conf_take sb_conf_take_bool;     /* bool */
sb_conf_take sb_conf_take_unsigned; /* unsigned */
sb_conf_take sb_conf_take_port;     /* uint16_t, 1 to 65535 */
sb_conf_take sb_conf_take_duration; /* sb_ns; min and max in nanoseconds */
sb_conf_take sb_conf_take_seconds;  /* uint32_t; min and max in seconds */
sb_conf_take sb_conf_take_size;     /* size_t */
sb_conf_take sb_conf_take_percent;  /* uint32_t in thousandths */
sb_conf_take sb_conf_take_path;     /* const char *: absolute, or "" for false */
sb_conf_take sb_conf_take_name;     /* sb_name, folded */
sb_conf_take sb_conf_take_label;    /* const char *: 1 to 64 visible bytes, no quote, no comma */
sb_conf_take sb_conf_take_url;      /* const char *: scheme, host and what follows */

#endif
