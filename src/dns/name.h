/* Domain names as values in uncompressed wire form (RFC 1035 §3.1, RFC 4343, RFC 1123 §2.1).
 *
 * Never allocates, never touches the network. Any thread. */
#ifndef SB_DNS_NAME_H
#define SB_DNS_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/status.h"

#define SB_NAME_MAX 255       /* wire bytes with the root label */
#define SB_NAME_TEXT_MAX 1025 /* presentation form, every byte escaped, with its NUL */

/* size counts the root label: the root name is {1, {0}}. size 0 is "no name". */
typedef struct sb_name {
    uint8_t size;
    uint8_t wire[SB_NAME_MAX];
} sb_name;

/* Presentation form to name; a final dot is optional, \DDD and \X escapes are understood (RFC 1035
 * §5.1). Any byte but a bare NUL is a legal label byte here; host-name rules are dns/target's.
 * why gets one sentence (empty name, label too long, name too long, empty label, bad escape). */
SB_MUST_USE sb_status sb_name_parse(const char *text, size_t size, sb_name *ret_name, sb_why *why);
/* Presentation form without the final dot ("." for the root), special bytes escaped. buffer of
 * SB_NAME_TEXT_MAX bytes. Returns buffer. */
const char *sb_name_text(const sb_name *name, char *buffer);
/* Reads a possibly compressed name at the reader's place; `r` begins `base` bytes into the message:
 * a pointer value P means byte P - base of r. Pointers go strictly backwards from the place of the
 * current run of labels, targets below `base` are errors. Fails the reader on malformed input. */
bool sb_name_read(sb_reader *r, size_t base, sb_name *ret_name);
/* As sb_name_read, but compression pointers are an error (RFC 3597 §4). */
bool sb_name_read_plain(sb_reader *r, sb_name *ret_name);
void sb_name_write(sb_writer *w, const sb_name *name);

/* Lower-cases ASCII in place (RFC 4343). */
void sb_name_fold(sb_name *name);
bool sb_name_equal(const sb_name *a, const sb_name *b); /* case-insensitive */
/* True when name is suffix itself or below it; everything is below the root. */
bool sb_name_below(const sb_name *name, const sb_name *suffix);
/* Labels without the root: "a.b." has 2. */
unsigned sb_name_labels(const sb_name *name);
/* Not the root, and of letters, digits, '-' and '_' alone: what a person means by a host. */
bool sb_name_is_host(const sb_name *name);
/* The name without its first `n` labels; n <= labels. */
sb_name sb_name_parent(const sb_name *name, unsigned n);
/* prefix + suffix (search lists); false when over 255 bytes. */
bool sb_name_join(const sb_name *prefix, const sb_name *suffix, sb_name *ret_name);
/* Reverse name of an address: d.c.b.a.in-addr.arpa, nibbles.ip6.arpa. */
struct sb_addr;
void sb_name_reverse(const struct sb_addr *addr, sb_name *ret_name);
/* FNV-1a over the folded name: stable between runs, for events and tests; never for tables. */
uint64_t sb_name_digest(const sb_name *name);

#endif
