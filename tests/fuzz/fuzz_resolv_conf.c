/* resolv.conf(5) of any bytes: bounded, and every server and name in it is one. */
#include <stddef.h>
#include <stdint.h>

#include "core/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sb_resolv_conf conf;
    sb_resolv_conf_parse(data, size, &conf);
    SB_ASSERT(conf.server_count <= SB_ARRAY_SIZE(conf.servers));
    SB_ASSERT(conf.search_count <= SB_ARRAY_SIZE(conf.search));
    SB_ASSERT(conf.ndots <= 15);
    for (size_t i = 0; i < conf.server_count; i++) {
        const sb_server_setting *server = &conf.servers[i];
        SB_ASSERT(server->addr.family != SB_FAMILY_NONE && server->addr.port != 0);
        SB_ASSERT(server->name && !server->tls_name);
        for (size_t j = 0; j < i; j++)
            SB_ASSERT(!sb_addr_equal(&server->addr, &conf.servers[j].addr));
    }
    for (size_t i = 0; i < conf.search_count; i++)
        SB_ASSERT(conf.search[i].size > 1);
    return 0;
}
