/* Messages between us and the kernel's tables, for the network monitor and for inet_diag: every
 * step is bounded here, what lies within the bounds is libmnl's.
 *
 * Owns nothing, opens nothing: sockets are core/env.h's. Host byte order throughout. RFC 3549. Any
 * thread. */
#ifndef SB_NET_NETLINK_H
#define SB_NET_NETLINK_H

#include <libmnl/libmnl.h>

#include "core/env.h"

#define SB_NETLINK_REQUEST_MAX 256 /* what a buffer of sb_netlink_request holds */

/* The messages of a datagram, which must outlive the walk. One that is not 4-aligned has none. */
typedef struct sb_netlink_walk {
    const uint8_t *at;
    size_t left;
} sb_netlink_walk;
sb_netlink_walk sb_netlink_walk_of(const sb_datagram *datagram);
/* The next whole message; NULL at the end, or where a length is wrong. */
const struct nlmsghdr *sb_netlink_next(sb_netlink_walk *walk);

/* The fixed part behind the header, size bytes of it; NULL when the message is shorter. */
const void *sb_netlink_body(const struct nlmsghdr *message, size_t size);
/* The attribute after `after` (NULL: the first behind a fixed part of size bytes); NULL at the
 * end. The message must have that fixed part. */
const struct nlattr *sb_netlink_attribute(const struct nlmsghdr *message, size_t size,
                                          const struct nlattr *after);
/* The errno in an NLMSG_ERROR or NLMSG_DONE, positive; 0: none. EBADMSG when it is cut off. */
int sb_netlink_error(const struct nlmsghdr *message);
/* False unless the attribute holds exactly four bytes. */
bool sb_netlink_u32(const struct nlattr *attribute, uint32_t *ret_value);
/* Port and scope 0. False unless it holds exactly an address of that family (AF_INET, AF_INET6). */
bool sb_netlink_address(const struct nlattr *attribute, int family, sb_addr *ret_addr);

/* A request with a zeroed fixed part of size bytes, *ret_body, in a buffer of
 * SB_NETLINK_REQUEST_MAX. NLM_F_REQUEST is set besides flags. */
struct nlmsghdr *sb_netlink_request(void *buffer, uint16_t type, uint16_t flags, uint32_t sequence,
                                    size_t size, void **ret_body);
/* Appends an address as an attribute. */
void sb_netlink_put_address(struct nlmsghdr *request, uint16_t type, const sb_addr *addr);

#endif
