/* See hit.h. */
#include "resolve/hit.h"

size_t sb_hit_reply(const sb_l1_reader *reader, sb_tick now, const sb_query_info *query,
                    sb_transport transport, bool share_all, sb_l1_buffer *scratch, uint8_t *out,
                    size_t capacity)
{
    if (!query->has_question || query->question.class != SB_CLASS_IN || query->provenance_asked ||
        (!(query->flags & SB_FLAG_RD) && !share_all))
        return 0;
    sb_question folded = query->question;
    sb_name_fold(&folded.name);
    sb_l1_key key = {.question = &folded, .view = SB_VIEW_ANY};
    sb_l1_entry entry;
    if (sb_l1_find(reader, &key, scratch, &entry) != SB_OK || !sb_l1_servable(reader, &entry) ||
        sb_l1_freshness(&entry, now) != SB_FRESH)
        return 0;
    sb_reply_body body = {
        .body = entry.body,
        .body_size = entry.body_size,
        .ttl_at = entry.ttl_at,
        .ttl_count = entry.ttl_count,
        .ancount = entry.ancount,
        .nscount = entry.nscount,
        .rcode = entry.rcode,
        .authenticated = entry.flags & SB_L1_AD,
        .age_s = (now - entry.life.learned) / SB_TICKS_PER_S,
        .ttl_cap_s = (entry.life.due - now) / SB_TICKS_PER_S,
        .ttl_fixed_s = UINT32_MAX,
        .ede = SB_EDE_NONE,
    };
    return sb_reply_encode(query, &body, transport, out, capacity);
}
