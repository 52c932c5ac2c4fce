/* TLS of an outgoing stream: ciphertext and plaintext in memory, both ways.
 *
 * Owns what the connections of one env share (certificate authorities, tickets for resumption) and
 * the state of each; never a socket, never a wait. TLS 1.2 and 1.3 (RFC 5246, 8446), names
 * verified as RFC 8310 §8.1 has it (names and addresses of the certificate's subjectAltName, never
 * its common name), ALPN "dot" (RFC 7858). The loop's thread. */
#ifndef SB_IO_TLS_H
#define SB_IO_TLS_H

#include "base/addr.h"
#include "base/status.h"

/* Shared by all connections of an env. Authorities are the system's, or those that OpenSSL's own
 * variables name (SSL_CERT_FILE, SSL_CERT_DIR); the file is read at the first verified connection
 * and again when it has changed. */
typedef struct sb_tls_client sb_tls_client;
/* One connection. */
typedef struct sb_tls sb_tls;

/* NULL without memory. Owned. */
sb_tls_client *sb_tls_client_new(void);
/* After every connection of it. NULL is allowed. */
void sb_tls_client_free(sb_tls_client *client);

/* A client's end towards remote, which only keys the tickets. name is what the certificate must be
 * for, a host name or an address; "" takes any certificate (opportunistic, RFC 8310 §5). Owned; the
 * client is borrowed for as long. SB_INVALID for a name no certificate can have. */
SB_MUST_USE sb_status sb_tls_new(sb_tls_client *client, const sb_addr *remote, const char *name,
                                 sb_tls **ret, sb_why *why);
/* NULL is allowed. */
void sb_tls_free(sb_tls *tls);

/* Bytes from the network, copied; then sb_tls_handshake or sb_tls_read until SB_AGAIN. */
SB_MUST_USE sb_status sb_tls_feed(sb_tls *tls, const uint8_t *bytes, size_t size);
/* SB_OK once the connection stands, SB_AGAIN while the peer is awaited. Else it has failed for
 * good: SB_UNTRUSTED when the certificate does not verify, SB_UNSUPPORTED when the peer turns us
 * away or knows too old versions only, SB_MALFORMED for what is no TLS, SB_NOMEM. After each call
 * there may be output, also after a failure (the alert). */
SB_MUST_USE sb_status sb_tls_handshake(sb_tls *tls, sb_why *why);
/* Some plaintext, SB_AGAIN when there is none, SB_CLOSED after the peer's close_notify; failures as
 * above. There may be output afterwards. */
SB_MUST_USE sb_status sb_tls_read(sb_tls *tls, uint8_t *buffer, size_t capacity, size_t *ret_size,
                                  sb_why *why);
/* Once it stands. All of it becomes output. */
SB_MUST_USE sb_status sb_tls_write(sb_tls *tls, const uint8_t *bytes, size_t size, sb_why *why);
/* Our close_notify becomes output; nothing is written after it. */
void sb_tls_goodbye(sb_tls *tls);

/* Bytes that wait to be taken to the network. */
size_t sb_tls_output(const sb_tls *tls);
/* Moves at most capacity of them to buffer; returns how many. */
size_t sb_tls_take(sb_tls *tls, uint8_t *buffer, size_t capacity);

/* Whether the handshake was spared by a ticket. */
bool sb_tls_resumed(const sb_tls *tls);
/* Tickets kept now. */
unsigned sb_tls_tickets(const sb_tls_client *client);

#endif
