/* Any datagram at the DNS front: answered or dropped, never believed. No upstream ever answers. */
#include <stdint.h>

#include "front/dns_front.h"
#include "support/front_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static world w;
static sb_dns_front *front;
static unsigned under_way;

static void sink(void *context, uint64_t tag, const sb_addr *to, const sb_addr *from,
                 const uint8_t *bytes, size_t size)
{
    sb_msg msg;
    (void)context;
    (void)tag;
    (void)to;
    (void)from;
    SB_ASSERT(size <= SB_EDNS_UDP_SIZE && sb_msg_parse(bytes, size, &msg) == SB_OK);
    SB_ASSERT(msg.flags & SB_FLAG_QR);
}

static void begin(void)
{
    sb_why why;
    sb_settings *settings = world_settings();
    settings->cache.share = SB_SHARE_ALL;
    sb_log_set_level(SB_LOG_FRONT, SB_LOG_ERROR);
    world_start(&w, settings);
    w.upstream.reach = SIM_BLACKHOLE;
    sb_dns_front_options options = {.engine = w.engine};
    SB_ASSERT(sb_dns_front_new(&options, &front, &why) == SB_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!front)
        begin();
    sb_addr client = world_addr("127.0.0.1:4000");
    sb_dns_front_datagram(front, data, size, &client, NULL, sink, NULL, 1);
    world_run(&w, SB_MS);
    if (++under_way % 512 == 0)
        world_run(&w, 4 * SB_S); /* everything under way ends */
    return 0;
}
