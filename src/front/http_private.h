/* What the files of the HTTP front share. Included by http_*.c only. Loop thread. */
#ifndef SB_FRONT_HTTP_PRIVATE_H
#define SB_FRONT_HTTP_PRIVATE_H

#include "front/http_front.h"

/* What a path's answers hold, which decides who may have them (CONTRACT, HTTP). */
typedef enum sb_http_scope {
    SB_HTTP_PUBLIC, /* counts and states: anyone who can connect */
    SB_HTTP_LOCAL,  /* addresses, labels: loopback, known Hosts, no cross-site request */
    SB_HTTP_NAMES   /* as LOCAL, and names: with share: all only */
} sb_http_scope;

/* NULL: allowed; else one sentence, to be sent with 403. */
const char *sb_http_access(const sb_settings *settings, const sb_http_request *request,
                           sb_http_scope scope);
/* Prometheus text format 0.0.4. */
void sb_http_metrics(const sb_http_front *front, sb_text *ret_text);
/* The page of "/". */
extern const char sb_http_page[];

#endif
