/* Names: the first byte chooses text or wire; what is accepted survives the way there and back. */
#include "dns/name.h"
#include "fuzz_check.h"

static void from_text(const char *text, size_t size)
{
    char canonical[SB_NAME_TEXT_MAX];
    sb_name name = {.size = 99}, again;
    sb_why why;

    if (sb_name_parse(text, size, &name, &why) != SB_OK) {
        CHECK(name.size == 99 && why.text[0] != 0);
        return;
    }
    sb_name_text(&name, canonical);
    CHECK(strlen(canonical) < sizeof canonical);
    CHECK(sb_name_parse(canonical, strlen(canonical), &again, NULL) == SB_OK);
    CHECK(again.size == name.size && memcmp(again.wire, name.wire, name.size) == 0);
}

static void from_wire(const uint8_t *data, size_t size, size_t base)
{
    sb_reader r = sb_reader_of(data, size), plain;
    uint8_t wire[SB_NAME_MAX];
    sb_name name = {.size = 99}, again, parent;
    sb_writer w = sb_writer_of(wire, sizeof wire);
    char text[SB_NAME_TEXT_MAX];

    for (size_t at = 0; at < size && at < 64; at++) {
        r = sb_reader_of(data, size);
        sb_read_skip(&r, at);
        if (!sb_name_read(&r, base, &name)) {
            CHECK(r.failed);
            continue;
        }
        CHECK(!r.failed && r.at > at && name.size >= 1 && name.wire[name.size - 1] == 0);
        w.size = 0;
        sb_name_write(&w, &name);
        CHECK(!w.failed && w.size == name.size);
        plain = sb_reader_of(wire, w.size);
        CHECK(sb_name_read_plain(&plain, &again) && sb_reader_done(&plain));
        CHECK(sb_name_equal(&name, &again) && sb_name_digest(&name) == sb_name_digest(&again));
        from_text(sb_name_text(&name, text), strlen(text));
        sb_name_fold(&again);
        CHECK(sb_name_equal(&name, &again));
        for (unsigned n = 0; n <= sb_name_labels(&name); n++) {
            parent = sb_name_parent(&name, n);
            CHECK(sb_name_below(&name, &parent) &&
                  sb_name_labels(&parent) + n == sb_name_labels(&name));
        }
        CHECK(sb_name_join(&name, &parent, &again) && sb_name_equal(&name, &again));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] & 1)
        from_text((const char *)data + 1, size - 1);
    else
        from_wire(data + 1, size - 1, data[0] >> 4);
    return 0;
}
