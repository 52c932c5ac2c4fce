/* The small path: a question answered from the cache file alone, by workers, front and edge
 * daemon-side alike.
 *
 * No allocation, no lock, no policy: only entries flagged plain, at the header's epochs, and fresh.
 * Any thread, own scratch each. */
#ifndef SB_RESOLVE_HIT_H
#define SB_RESOLVE_HIT_H

#include "dns/reply.h"
#include "store/l1_read.h"

/* Bytes of the reply, or 0: the engine must decide. share_all: RD=0 questions may be answered. */
size_t sb_hit_reply(const sb_l1_reader *reader, sb_tick now, const sb_query_info *query,
                    sb_transport transport, bool share_all, sb_l1_buffer *scratch, uint8_t *out,
                    size_t capacity);

#endif
