/* See net/netlink.h. Owns nothing. Any thread. */
#include "net/netlink.h"

#include <errno.h>
#include <string.h>

sb_netlink_walk sb_netlink_walk_of(const sb_datagram *datagram)
{
    bool sound = (uintptr_t)datagram->bytes % MNL_ALIGNTO == 0;
    return (sb_netlink_walk){.at = datagram->bytes, .left = sound ? datagram->size : 0};
}

/* Not mnl_nlmsg_ok: it takes a length above INT_MAX for a negative one, and believes it. */
const struct nlmsghdr *sb_netlink_next(sb_netlink_walk *walk)
{
    const struct nlmsghdr *message = (const void *)walk->at;
    if (walk->left < sizeof(*message) || message->nlmsg_len < sizeof(*message) ||
        message->nlmsg_len > walk->left) {
        walk->left = 0;
        return NULL;
    }
    size_t step = ((size_t)message->nlmsg_len + MNL_ALIGNTO - 1) / MNL_ALIGNTO * MNL_ALIGNTO;
    step = step < walk->left ? step : walk->left; /* the last one need not end aligned */
    walk->at += step;
    walk->left -= step;
    return message;
}

const void *sb_netlink_body(const struct nlmsghdr *message, size_t size)
{
    return mnl_nlmsg_get_payload_len(message) >= size ? mnl_nlmsg_get_payload(message) : NULL;
}

/* Not up to mnl_nlmsg_get_payload_tail: it is rounded up, beyond what was received. */
const struct nlattr *sb_netlink_attribute(const struct nlmsghdr *message, size_t size,
                                          const struct nlattr *after)
{
    const struct nlattr *next =
        after ? mnl_attr_next(after) : mnl_nlmsg_get_payload_offset(message, size);
    size_t at = (size_t)((const uint8_t *)next - (const uint8_t *)message);
    if (at + sizeof(*next) > message->nlmsg_len || next->nla_len < sizeof(*next) ||
        next->nla_len > message->nlmsg_len - at)
        return NULL;
    return next;
}

int sb_netlink_error(const struct nlmsghdr *message)
{
    const int32_t *code = sb_netlink_body(message, sizeof(*code));
    if (!code)
        return message->nlmsg_type == NLMSG_DONE ? 0 : EBADMSG;
    if (*code > 0 || *code == INT32_MIN)
        return message->nlmsg_type == NLMSG_DONE ? 0 : EBADMSG;
    return -*code;
}

bool sb_netlink_u32(const struct nlattr *attribute, uint32_t *ret_value)
{
    if (mnl_attr_get_payload_len(attribute) != sizeof(uint32_t))
        return false;
    *ret_value = mnl_attr_get_u32(attribute);
    return true;
}

bool sb_netlink_address(const struct nlattr *attribute, int family, sb_addr *ret_addr)
{
    const uint8_t *bytes = mnl_attr_get_payload(attribute);
    uint16_t size = mnl_attr_get_payload_len(attribute);
    if (family == AF_INET && size == 4)
        *ret_addr = sb_addr_4(bytes, 0);
    else if (family == AF_INET6 && size == 16)
        *ret_addr = sb_addr_6(bytes, 0);
    else
        return false;
    return true;
}

struct nlmsghdr *sb_netlink_request(void *buffer, uint16_t type, uint16_t flags, uint32_t sequence,
                                    size_t size, void **ret_body)
{
    memset(buffer, 0, SB_NETLINK_REQUEST_MAX);
    struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
    request->nlmsg_type = type;
    request->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    request->nlmsg_seq = sequence;
    *ret_body = mnl_nlmsg_put_extra_header(request, size);
    return request;
}

void sb_netlink_put_address(struct nlmsghdr *request, uint16_t type, const sb_addr *addr)
{
    mnl_attr_put(request, type, addr->family == SB_FAMILY_6 ? 16 : 4, addr->bytes);
}
