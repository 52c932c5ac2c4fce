/* Network addresses and prefixes as values. Text per RFC 5952 (IPv6) and plain dotted quads.
 *
 * Never touches the network. Any thread. */
#ifndef SB_BASE_ADDR_H
#define SB_BASE_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/status.h"

typedef enum sb_family { SB_FAMILY_NONE = 0, SB_FAMILY_4 = 4, SB_FAMILY_6 = 6 } sb_family;

/* bytes: 4 used for IPv4, 16 for IPv6, the rest zero, so that memcmp compares. port: host order. */
typedef struct sb_addr {
    uint8_t bytes[16];
    uint32_t scope; /* interface index of a link-local address, else 0 */
    uint16_t port;
    uint8_t family; /* sb_family */
    uint8_t reserved;
} sb_addr;

typedef struct sb_prefix {
    sb_addr addr;
    uint8_t bits;
} sb_prefix;

#define SB_ADDR_TEXT_MAX 72 /* "[v6%scope]:port" with its NUL */

/* "192.0.2.1", "2001:db8::1", "fe80::1%eth0" or %3 (a scope by name is looked up by the system;
 * never in a simulation); no brackets, no port. Strict dotted quad: no octal, no short forms. */
bool sb_addr_parse(const char *text, size_t size, sb_addr *ret_addr);
/* As above with an optional port: "1.2.3.4:53", "[::1]:53", "::1", "1.2.3.4". default_port where
 * absent. */
bool sb_addr_parse_port(const char *text, size_t size, uint16_t default_port, sb_addr *ret_addr);
/* Address alone; buffer of SB_ADDR_TEXT_MAX. Returns buffer. */
const char *sb_addr_text(const sb_addr *addr, char *buffer);
/* With port: 192.0.2.1:53, [::1]:53. */
const char *sb_addr_text_port(const sb_addr *addr, char *buffer);
bool sb_addr_equal(const sb_addr *a, const sb_addr *b);     /* address, scope and port */
bool sb_addr_same_host(const sb_addr *a, const sb_addr *b); /* address and scope */
int sb_addr_compare(const sb_addr *a, const sb_addr *b);
bool sb_addr_is_loopback(const sb_addr *addr); /* 127/8, ::1, and their mapped forms */
bool sb_addr_is_any(const sb_addr *addr);
bool sb_addr_is_group(const sb_addr *addr); /* multicast, 255.255.255.255: no host's own */
/* One that a host can have: what pins and emergency addresses may be. */
bool sb_addr_is_host(const sb_addr *addr);
bool sb_addr_is_link_local(const sb_addr *addr);
bool sb_addr_is_private(const sb_addr *addr); /* RFC 1918, 6598, 4193, loopback, link-local */
sb_addr sb_addr_from_sockaddr(const struct sockaddr *sa);
/* Returns the length to pass to the kernel. */
socklen_t sb_addr_to_sockaddr(const sb_addr *addr, struct sockaddr_storage *ret_sa);
sb_addr sb_addr_4(const uint8_t bytes[4], uint16_t port);
sb_addr sb_addr_6(const uint8_t bytes[16], uint16_t port);
/* "10.0.0.0/8", "::1", "fd00::/8"; host bits beyond the length must be zero. */
bool sb_prefix_parse(const char *text, size_t size, sb_prefix *ret_prefix);
/* IPv4-mapped IPv6 addresses match IPv4 prefixes. */
bool sb_prefix_contains(const sb_prefix *prefix, const sb_addr *addr);

#endif
