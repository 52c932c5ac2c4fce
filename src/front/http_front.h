/* HTTP requests to bytes: health, readiness, metrics, status (F1, F2; CONTRACT, HTTP). Pure but for
 * reading the engine.
 *
 * Never causes a query, never shows secrets, bounded work. Loop thread. */
#ifndef SB_FRONT_HTTP_FRONT_H
#define SB_FRONT_HTTP_FRONT_H

#include "core/http.h"
#include "resolve/engine.h"

typedef struct sb_http_front {
    sb_engine *engine;
    sb_stats *const *worker_stats; /* summed with the engine's */
    unsigned worker_count;
} sb_http_front;
/* An sb_http_handler; context is the sb_http_front. */
void sb_http_front_handle(void *context, const sb_http_request *request, sb_http_response *ret);
/* The CONTRACT's health document, shared with the control socket. */
void sb_http_front_health(const sb_http_front *front, bool verbose, sb_text *ret_json,
                          sb_level *ret_level);

#endif
