/* The open views of a daemon whose control socket is not for this user: over HTTP on loopback.
 *
 * GET only, HTTP/1.0. What answers there is believed to be the daemon when it names the socket that
 * was meant. RFC 9110. The main thread. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "cmd/stubborn.h"

#define PATIENCE_S 2
#define DOCUMENT_MAX ((size_t)16 * 1024 * 1024)

static json_t *get(const sb_addr *addr, const char *path);
static bool exchange(int fd, const sb_addr *addr, const char *path, sb_text *ret_reply);
static json_t *body_of(const sb_text *reply);

json_t *sb_cli_http(const sb_cli *cli, const char *verb)
{
    static const struct {
        const char *verb, *path, *key; /* key NULL: the document is the reply */
    } views[] = {{"status", "/v1/status", "status"},
                 {"health", "/health?verbose=1", "health"},
                 {"upstreams", "/v1/upstreams", NULL}};
    const sb_addr *addr = &cli->settings->listen.http;
    if (!cli->settings->listen.http_on || !sb_addr_is_loopback(addr))
        return NULL;
    for (size_t i = 0; i < SB_ARRAY_SIZE(views); i++) {
        if (strcmp(views[i].verb, verb) != 0)
            continue;
        json_t *status = get(addr, "/v1/status");
        const char *socket_path =
            json_string_value(json_object_get(json_object_get(status, "listen"), "socket"));
        bool same = socket_path && strcmp(socket_path, sb_cli_socket(cli)) == 0;
        json_decref(status);
        json_t *document = same ? get(addr, views[i].path) : NULL;
        if (!json_is_object(document)) {
            json_decref(document);
            return NULL;
        }
        return views[i].key ? json_pack("{s:o}", views[i].key, document) : document;
    }
    return NULL;
}

static json_t *get(const sb_addr *addr, const char *path)
{
    struct sockaddr_storage sa;
    struct timeval patience = {.tv_sec = PATIENCE_S};
    sb_text reply = {.limit = DOCUMENT_MAX};
    json_t *body = NULL;
    socklen_t size = sb_addr_to_sockaddr(addr, &sa);
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return NULL;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&sa, size) == 0 && exchange(fd, addr, path, &reply))
        body = body_of(&reply);
    close(fd);
    sb_text_fini(&reply);
    return body;
}

static bool exchange(int fd, const sb_addr *addr, const char *path, sb_text *ret_reply)
{
    char request[256], host[SB_ADDR_TEXT_MAX], chunk[4096];
    int size = snprintf(request, sizeof request, "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", path,
                        sb_addr_text_port(addr, host));
    if (size <= 0 || send(fd, request, (size_t)size, MSG_NOSIGNAL) != size)
        return false;
    for (;;) {
        ssize_t got = recv(fd, chunk, sizeof chunk, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got == 0 && !ret_reply->failed;
        sb_text_add_bytes(ret_reply, chunk, (size_t)got);
    }
}

/* 503 carries a document as well: of a daemon that is unhealthy. */
static json_t *body_of(const sb_text *reply)
{
    static const char gap[] = "\r\n\r\n";
    if (!reply->data || reply->size < 16 || memcmp(reply->data, "HTTP/1.", 7) != 0)
        return NULL;
    for (size_t i = 0; i + 4 <= reply->size; i++)
        if (memcmp(reply->data + i, gap, 4) == 0)
            return json_loadb(reply->data + i + 4, reply->size - i - 4, 0, NULL);
    return NULL;
}
