/* HTTP/1.1 for core/http.h handlers, by libmicrohttpd inside the engine's loop.
 *
 * Owns the listener and the connections; knows no path. GET and HEAD only; a handler answers at
 * once. At most SB_HTTP_CONNECTIONS_MAX connections: beyond, the oldest makes room, so that idle
 * ones keep nobody out. RFC 9112. Loop thread. */
#ifndef SB_IO_HTTP_MHD_H
#define SB_IO_HTTP_MHD_H

#include <uv.h>

#include "core/http.h"

#define SB_HTTP_CONNECTIONS_MAX 64
#define SB_HTTP_IDLE_S 10
#define SB_HTTP_HEADER_MAX ((size_t)8 * 1024) /* request line and fields; beyond: refused */

typedef struct sb_http_server sb_http_server;

/* Owned. why names the address and what is wrong with it. */
SB_MUST_USE sb_status sb_http_server_new(uv_loop_t *loop, const sb_addr *local,
                                         sb_http_handler *handler, void *context,
                                         sb_http_server **ret, sb_why *why);
/* Closes every connection and turns the loop for its handles' sake: not from a callback of it.
 * NULL is allowed. */
void sb_http_server_free(sb_http_server *server);
/* Where it is bound. */
sb_addr sb_http_server_address(const sb_http_server *server);

#endif
