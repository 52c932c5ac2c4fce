/* Targets: what is taken is rewritten to what is taken again; secrets never pass the mask. */
#include "dns/target.h"
#include "fuzz_check.h"

static const sb_addr *addresses(unsigned i)
{
    static sb_addr table[2];
    table[0] = sb_addr_4((const uint8_t[]){192, 0, 2, 1}, 0);
    table[1] = sb_addr_6((const uint8_t[16]){0x20, 1, 0xd, 0xb8, [15] = 1}, 0);
    return &table[i];
}

static bool inside(const sb_target *t, sb_span part)
{
    return part.size == 0 || (part.data >= t->text.data &&
                              part.data + part.size <= t->text.data + t->text.size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[SB_NAME_TEXT_MAX];
    sb_target t, again;
    sb_why why = {{0}};
    sb_text out = {0};
    bool replaced;

    sb_target_mask((const char *)data, size, &out);
    CHECK(out.size <= size + 3);
    sb_text_fini(&out);
    if (sb_target_parse((const char *)data, size, &t, &why) != SB_OK) {
        CHECK(why.text[0] != 0);
        return 0;
    }
    CHECK(inside(&t, t.scheme) && inside(&t, t.userinfo) && inside(&t, t.host) &&
          inside(&t, t.rest));
    CHECK(t.has_port ? t.port > 0 : true);
    CHECK(t.is_literal ? t.literal.family != 0 : t.name.size > 1);
    CHECK(t.form != SB_TARGET_LITERAL || t.is_literal);
    if (!t.is_literal)
        CHECK(strlen(sb_name_text(&t.name, text)) <= 253);
    for (unsigned i = 0; i < 2; i++) {
        out = (sb_text){0};
        sb_target_rewrite(&t, addresses(i), true, &out, &replaced);
        CHECK(replaced && sb_target_parse(out.data, out.size, &again, &why) == SB_OK);
        CHECK(again.is_literal && sb_addr_same_host(&again.literal, addresses(i)));
        CHECK(again.port == t.port && again.has_port == t.has_port);
        CHECK(again.rest.size == t.rest.size && again.userinfo.size == t.userinfo.size);
        sb_text_fini(&out);
    }
    out = (sb_text){0};
    sb_target_mask((const char *)data, size, &out);
    if (t.userinfo.data) {
        CHECK(sb_target_parse(out.data, out.size, &again, &why) == SB_OK);
        CHECK(again.userinfo.size == 3 && memcmp(again.userinfo.data, "***", 3) == 0);
    }
    sb_text_fini(&out);
    return 0;
}
