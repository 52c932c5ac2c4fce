/* The configuration file: YAML bytes into settings that are not frozen yet.
 *
 * Strict: an unknown key, one given twice, a wrong type or a value out of range is one sentence
 * `file:line:column: path.of.key: …`. Never opens a file. One thread. */
#ifndef SB_CONF_YAML_H
#define SB_CONF_YAML_H

#include "core/settings.h"

#define SB_CONF_SIZE_MAX (1024 * 1024) /* bytes of a file; SB_LIMIT beyond */

/* Lays the file over what settings holds; an empty document changes nothing. file_name is for the
 * sentences and for the origins of rules (copied). After an error settings are to be thrown away.
 * SB_INVALID, SB_LIMIT or SB_NOMEM, each with why. */
SB_MUST_USE sb_status sb_conf_load(const uint8_t *bytes, size_t size, const char *file_name,
                                   sb_settings *settings, sb_why *why);
/* For who needs a part of it only: what is wrong is left out, and settings stay of use. SB_INVALID
 * or SB_LIMIT when something was, and why tells of the first. ret_socket_lost: what listen.socket
 * is meant to be is not known. Not YAML from some line on: what stands before the section it is in
 * is read. */
SB_MUST_USE sb_status sb_conf_load_leniently(const uint8_t *bytes, size_t size,
                                             const char *file_name, sb_settings *settings,
                                             bool *ret_socket_lost, sb_why *why);

#endif
