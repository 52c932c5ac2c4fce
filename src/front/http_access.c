/* Who may read what over HTTP: loopback, Host names, cross-site requests, names (CONTRACT, HTTP).
 *
 * A page of another site that re-binds its name to 127.0.0.1 comes with its own Host; one that
 * simply requests comes with Origin or Sec-Fetch-Site. Pure. */
#include <string.h>

#include "front/http_private.h"

static bool host_known(const sb_settings *settings, const char *host);
static size_t host_without_port(const char *host);
static bool text_is(const char *text, size_t size, const char *word);
static bool same_origin(const char *origin, const char *host);

const char *sb_http_access(const sb_settings *settings, const sb_http_request *request,
                           sb_http_scope scope)
{
    if (scope == SB_HTTP_PUBLIC)
        return NULL;
    if (!sb_addr_is_loopback(&request->peer))
        return "only /health, /ready and /metrics are served off loopback";
    if (!host_known(settings, request->host))
        return "this Host is not served: use an address, localhost or a name of listen.http_hosts";
    if (request->origin && !same_origin(request->origin, request->host))
        return "requests of other sites are not served";
    if (request->fetch_site && strcmp(request->fetch_site, "same-origin") != 0 &&
        strcmp(request->fetch_site, "none") != 0)
        return "requests of other sites are not served";
    if (scope == SB_HTTP_NAMES && settings->cache.share != SB_SHARE_ALL)
        return "names are shown over HTTP only with cache.share: all; use the stubborn command";
    return NULL;
}

static bool host_known(const sb_settings *settings, const char *host)
{
    size_t size = host_without_port(host);
    sb_addr addr;
    if (size == 0)
        return false;
    if (host[0] == '[')
        return size > 2 && host[size - 1] == ']' && sb_addr_parse(host + 1, size - 2, &addr);
    if (sb_addr_parse(host, size, &addr))
        return addr.family == SB_FAMILY_4;
    if (text_is(host, size, "localhost"))
        return true;
    for (size_t i = 0; i < settings->listen.http_host_count; i++)
        if (text_is(host, size, settings->listen.http_hosts[i]))
            return true;
    return false;
}

/* 0: not a Host. */
static size_t host_without_port(const char *host)
{
    size_t size = strlen(host);
    const char *bracket = host[0] == '[' ? strchr(host, ']') : NULL;
    if (host[0] == '[' && !bracket)
        return 0;
    const char *colon = strchr(bracket ? bracket : host, ':');
    if (!colon)
        return bracket && bracket[1] != '\0' ? 0 : size;
    uint64_t port;
    const char *digits = colon + 1;
    if ((bracket && colon != bracket + 1) ||
        !sb_parse_u64(digits, strlen(digits), UINT16_MAX, &port))
        return 0;
    return (size_t)(colon - host);
}

static bool text_is(const char *text, size_t size, const char *word)
{
    if (strlen(word) != size)
        return false;
    for (size_t i = 0; i < size; i++)
        if (sb_ascii_lower((uint8_t)text[i]) != sb_ascii_lower((uint8_t)word[i]))
            return false;
    return true;
}

/* This listener has no TLS, so that its own origin is the http one. */
static bool same_origin(const char *origin, const char *host)
{
    static const char scheme[] = "http://";
    size_t size = sizeof(scheme) - 1;
    return strncmp(origin, scheme, size) == 0 && sb_ascii_equal(origin + size, host);
}
