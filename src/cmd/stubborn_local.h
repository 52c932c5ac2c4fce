/* The engine inside the command, for when no daemon answers: a thread that serves the daemon's own
 * Unix protocol on a private path.
 *
 * Owns thread, loop, engine and the directory of the socket. Takes the cache file only where it is
 * this user's own and nobody holds it. */
#ifndef SB_CMD_STUBBORN_LOCAL_H
#define SB_CMD_STUBBORN_LOCAL_H

#include "core/settings.h"

typedef struct sb_local sb_local;

/* Returns once questions can be asked. Settings are referenced. Owned. */
SB_MUST_USE sb_status sb_local_start(const sb_settings *settings, sb_local **ret, sb_why *why);
const char *sb_local_socket(const sb_local *local);
/* Removes the socket from the file system; connections stay. */
void sb_local_hide(sb_local *local);
/* True when it reads and writes the cache file itself. */
bool sb_local_has_cache(const sb_local *local);
/* Ends the thread and waits for it. NULL is allowed. */
void sb_local_stop(sb_local *local);

#endif
