/* A steady client: look-ups as a C library makes them, and the judging of what comes back.
 *
 * A look-up asks A and AAAA at once; through a search list it does so for the suffixed name first.
 * Half of the look-ups are for known names (half of those for the hot ones), half for new ones; a
 * quarter goes through the search list. One thread. */
#ifndef SB_OUTAGE_CLIENT_H
#define SB_OUTAGE_CLIENT_H

#include "outage/world.h"

#define CLIENT_PATIENCE_NS (5 * SECOND) /* then a question counts as unanswered */
#define CLIENT_READY_GRACE_NS (50 * MS) /* after the resolver was started */

/* rate: questions a second. False with errno set. */
bool client_open(client *c, world *w, unsigned index, unsigned rate, bool resends);
void client_close(client *c);
/* From then until the world's end_ns. */
void client_start(client *c, int64_t at_ns);
/* One look-up now, beside the steady ones. */
void client_look_up(client *c, zone_id id, bool search);

#endif
