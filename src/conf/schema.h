/* The keys of the configuration file: sb_conf_root is the table of the whole document.
 *
 * Says what each key means and which values it takes; how a document is walked is conf/walk's. */
#ifndef SB_CONF_SCHEMA_H
#define SB_CONF_SCHEMA_H

#include "conf/walk.h"

/* Fills an sb_settings. */
extern const sb_conf_key sb_conf_root[];

/* The sections `names` and `services`; the field is the sb_settings. */
sb_conf_take sb_conf_take_names;
sb_conf_take sb_conf_take_services;
/* Values of several sections. */
sb_conf_take sb_conf_take_family; /* sb_family_policy */

#endif
