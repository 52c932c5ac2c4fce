/* What a person or program may name: host, address literal, host:port, URL
 * (RFC 3986, 6874, 952 and 1123).
 *
 * Never touches the network. Any thread. */
#ifndef SB_DNS_TARGET_H
#define SB_DNS_TARGET_H

#include "base/addr.h"
#include "dns/name.h"

typedef enum sb_target_form {
    SB_TARGET_HOST,
    SB_TARGET_LITERAL, /* IPv4 or IPv6, brackets allowed */
    SB_TARGET_URL
} sb_target_form;

/* Text spans are borrowed from the input, which must outlive the target. */
typedef struct sb_target {
    sb_target_form form;
    bool is_literal; /* the host part is an address (also inside a URL) */
    bool has_port;
    bool absolute;   /* the host ended with a dot: no search list */
    bool tls;        /* scheme is one of https wss grpcs rediss ldaps amqps mqtts … (table) */
    uint16_t port;   /* 0 when absent and no default is known for the scheme */
    sb_addr literal; /* with the port */
    sb_name name;    /* when not a literal */
    sb_span scheme, userinfo, host, rest; /* rest: path, query, fragment with their separators */
    sb_span text;
} sb_target;

/* Refused with one clear sentence in why: empty, NUL (size counts bytes), white space or control
 * bytes, empty label, label over 63, name over 253, bad or empty port, unbalanced or misplaced
 * bracket, scheme without host. Underscores are fine. Non-ASCII is refused with the advice to give
 * the A-label form. All-numeric dotted hosts that are not valid IPv4 are refused. */
SB_MUST_USE sb_status sb_target_parse(const char *text, size_t size, sb_target *ret_target,
                                      sb_why *why);
/* The URL (or host:port, or host) with its host replaced by addr, bracketed when IPv6; userinfo,
 * port, path, query kept. For TLS schemes the text comes back unchanged unless force. *ret_replaced
 * tells. */
void sb_target_rewrite(const sb_target *target, const sb_addr *addr, bool force, sb_text *ret_text,
                       bool *ret_replaced);
/* The text with userinfo masked as ***: for logs, HTTP, explain. */
void sb_target_mask(const char *text, size_t size, sb_text *ret_text);

#endif
