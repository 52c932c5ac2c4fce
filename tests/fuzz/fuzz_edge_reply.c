/* What the blocking client takes apart: the daemon's reply with EDE and provenance. */
#include "base/mem.h"
#include "edge/client.h"
#include "fuzz_check.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sb_edge_reply reply = {0};
    uint8_t *copy = sb_alloc(size);
    if (!copy)
        return 0;
    if (size > 0)
        memcpy(copy, data, size);
    if (sb_edge_reply_read(copy, size, &reply) != SB_OK)
        return 0;
    CHECK(reply.msg.flags & SB_FLAG_QR);
    CHECK(memchr(reply.ede_text, 0, sizeof reply.ede_text));
    if (reply.has_provenance)
        CHECK(reply.provenance.tried_count <= SB_TRIED_MAX);
    sb_edge_reply_fini(&reply);
    return 0;
}
