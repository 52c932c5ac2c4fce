/* Record data: two bytes of type, then a message whose RDATA begins after a name at offset 12. */
#include "dns/msg.h"
#include "dns/rdata.h"
#include "fuzz_check.h"

#define RDATA_AT 17

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t message[RDATA_AT + 4096], expanded[8192], twice[8192];
    sb_writer w = sb_writer_of(expanded, sizeof expanded), w2 = sb_writer_of(twice, sizeof twice);
    sb_text text = {0};
    sb_name name;
    size_t fixed;
    unsigned names;
    uint16_t type;
    bool good;

    if (size < 2 || size > 4096)
        return 0;
    type = sb_load_u16(data);
    memcpy(message + 12, "\3foo", 5);
    memcpy(message + RDATA_AT, data + 2, size - 2);
    /* as expanded RDATA straight from a file: never trusted */
    (void)sb_rdata_text(type, (sb_span){data + 2, size - 2}, &text);
    CHECK(text.data != NULL && strlen(text.data) == text.size);
    sb_text_fini(&text);
    (void)sb_rdata_name(type, (sb_span){data + 2, size - 2}, &name);

    good = sb_rdata_expand((sb_span){message, RDATA_AT + size - 2}, RDATA_AT, size - 2, type, &w);
    CHECK(good == sb_rdata_expand((sb_span){message, RDATA_AT + size - 2}, RDATA_AT, size - 2, type,
                                  NULL));
    if (!good)
        return 0;
    /* what was expanded stays as it is */
    memcpy(message + RDATA_AT, expanded, w.size < 4096 ? w.size : 4096);
    if (w.size <= 4096) {
        CHECK(sb_rdata_expand((sb_span){message, RDATA_AT + w.size}, RDATA_AT, w.size, type, &w2));
        CHECK(w2.size == w.size && memcmp(expanded, twice, w.size) == 0);
    }
    if (sb_rdata_compressible(type, &fixed, &names)) {
        sb_reader r = sb_reader_of(expanded, w.size);
        sb_read_skip(&r, fixed);
        for (unsigned i = 0; i < names; i++)
            CHECK(sb_name_read_plain(&r, &name));
    }
    text = (sb_text){0};
    if (!sb_rdata_text(type, (sb_span){expanded, w.size}, &text))
        CHECK(type == SB_TYPE_SVCB ||
              type == SB_TYPE_HTTPS); /* only their values are not checked */
    sb_text_fini(&text);
    return 0;
}
