/* Who may ask over the network and how much: listen.allow, the rate of refusals, counts per host.
 *
 * Never looks into a message. Loop thread. */
#include "front/dns_private.h"

static sb_addr host_of(const sb_addr *client);

sb_status sb_dns_access_init(sb_dns_access *access, sb_env *env)
{
    *access = (sb_dns_access){0};
    env->ops->entropy(env, access->secret, sizeof(access->secret));
    return sb_map_init(&access->clients, access->secret);
}

void sb_dns_access_fini(sb_dns_access *access)
{
    sb_map_fini(&access->clients);
}

bool sb_dns_access_allows(const sb_settings *settings, const sb_addr *client)
{
    if (settings->listen.allow_count == 0)
        return sb_addr_is_loopback(client);
    for (size_t i = 0; i < settings->listen.allow_count; i++)
        if (sb_prefix_contains(&settings->listen.allow[i], client))
            return true;
    return false;
}

bool sb_dns_access_refuse(sb_dns_access *access, sb_ns now, const sb_addr *client)
{
    sb_addr host = host_of(client);
    uint64_t hash = sb_siphash(access->secret, &host, sizeof(host));
    size_t at = (size_t)(hash % SB_DNS_REFUSED_SLOTS);
    uint32_t second = (uint32_t)(now / SB_S);
    if (access->refused[at].second != second) {
        access->refused[at].second = second;
        access->refused[at].count = 0;
    }
    if (access->refused[at].count >= SB_DNS_REFUSED_PER_S)
        return false;
    access->refused[at].count++;
    return true;
}

sb_dns_client *sb_dns_client_get(sb_dns_access *access, const sb_addr *client)
{
    sb_addr host = host_of(client);
    sb_map_node *node = sb_map_find(&access->clients, &host, sizeof(host));
    if (node)
        return sb_container_of(node, sb_dns_client, node);
    sb_dns_client *made = sb_new(sb_dns_client);
    if (!made)
        return NULL;
    made->host = host;
    sb_map_insert(&access->clients, &made->node, &made->host, sizeof(made->host));
    return made;
}

void sb_dns_client_put(sb_dns_access *access, sb_dns_client *client)
{
    if (client->questions > 0 || client->streams > 0)
        return;
    sb_map_remove(&access->clients, &client->node);
    sb_free(client);
}

/* All bytes of it are set: it is hashed and compared as memory. */
static sb_addr host_of(const sb_addr *client)
{
    _Static_assert(sizeof(sb_addr) == 24, "no padding in a key");
    sb_addr host = *client;
    host.port = 0;
    host.reserved = 0;
    return host;
}
