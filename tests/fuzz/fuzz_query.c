/* Queries: whatever a client sends is answered by a message that checks, or by silence. */
#include "dns/reply.h"
#include "fuzz_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t reply[SB_MSG_MAX];
    sb_query_info info;
    sb_rcode rcode = SB_RCODE_NOERROR;
    sb_status status = sb_query_read(data, size, &info, &rcode);
    size_t written;
    sb_msg msg;

    if (status == SB_MALFORMED) {
        CHECK(size < SB_MSG_HEADER || data[2] & 0x80);
        return 0;
    }
    CHECK((status == SB_OK) == (rcode == SB_RCODE_NOERROR));
    CHECK(status != SB_OK || info.has_question);
    /* what we answer is a message, and what it is not stricter about than a response's parser */
    CHECK(status != SB_OK || sb_msg_parse(data, size, &msg) == SB_OK);
    written = sb_reply_error(&info, (uint16_t)rcode, SB_EDE_PROHIBITED, "refused here", reply,
                             sizeof reply);
    CHECK(written >= SB_MSG_HEADER && written <= 512);
    CHECK(sb_msg_parse(reply, written, &msg) == SB_OK);
    CHECK(msg.id == info.id && msg.flags & SB_FLAG_QR && msg.edns.present == info.has_edns);
    CHECK(msg.rcode == rcode && msg.has_question == info.has_question);
    if (info.has_question) /* echoed byte for byte */
        CHECK(memcmp(reply + SB_MSG_HEADER, data + SB_MSG_HEADER, msg.question_size) == 0);
    return 0;
}
