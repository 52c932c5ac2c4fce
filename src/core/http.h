/* A request and a response as values, between io/http_mhd and front/http_front. */
#ifndef SB_CORE_HTTP_H
#define SB_CORE_HTTP_H

#include "base/addr.h"
#include "base/bytes.h"

typedef struct sb_http_request {
    const char *method;
    const char *path;       /* decoded, without the query */
    const char *host;       /* Host header or "" */
    const char *origin;     /* Origin header or NULL */
    const char *fetch_site; /* Sec-Fetch-Site or NULL */
    sb_addr peer, local;
    /* Value of a query argument (decoded) or NULL. */
    const char *(*argument)(const struct sb_http_request *, const char *name);
    void *io;
} sb_http_request;

typedef struct sb_http_response {
    unsigned status;
    const char *content_type;             /* static */
    const char *extra_name, *extra_value; /* one more header (Allow), static, or NULL */
    sb_text body;                         /* owned; freed by io */
} sb_http_response;

typedef void sb_http_handler(void *context, const sb_http_request *request, sb_http_response *ret);

#endif
