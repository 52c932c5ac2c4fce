/* Provenance: every payload that reads is what writing it again gives. */
#include "dns/reply.h"
#include "fuzz_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t written[1024];
    sb_provenance p;
    size_t n;

    if (sb_provenance_read((sb_span){data, size}, &p) != SB_OK)
        return 0;
    CHECK(p.tried_count <= SB_TRIED_MAX && p.source < SB_SOURCE_COUNT);
    n = sb_provenance_write(&p, written, sizeof written);
    /* the upstream's entry has no result and no time of its own: those are written as zeros */
    CHECK(n == size && memcmp(written, data, 16) == 0);
    CHECK(memcmp(written + 20, data + 20, n - 20) == 0);
    return 0;
}
