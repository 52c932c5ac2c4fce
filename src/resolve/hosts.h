/* /etc/hosts as a table (hosts(5)): names to addresses and back. Read again when the file changes.
 * Loop thread. */
#ifndef SB_RESOLVE_HOSTS_H
#define SB_RESOLVE_HOSTS_H

#include "resolve/strategy.h"

#define SB_HOSTS_FILE_MAX                                                                          \
    (4 * 1024 * 1024)             /* block lists are common; beyond, the file is not used */
#define SB_HOSTS_ADDRESSES_MAX 16 /* per name; further ones are ignored */

/* path NULL: an empty table. A missing file is an empty table too, and one that cannot be read
 * until it can. */
SB_MUST_USE sb_status sb_hosts_new(sb_env *env, const char *path, sb_hosts **ret);
void sb_hosts_free(sb_hosts *hosts);
/* Reads the file again if its time, size or inode changed; true when the table did. */
bool sb_hosts_refresh(sb_hosts *hosts);
bool sb_hosts_has(const sb_hosts *hosts, const sb_name *name);

#endif
