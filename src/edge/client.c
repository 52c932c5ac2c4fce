/* The blocking client: connect, frame, wait, take apart.
 *
 * Never decides anything. Descriptors are close-on-exec, writes do not raise SIGPIPE, waiting is
 * poll with what is left of the deadline. One thread per client. */
#define _GNU_SOURCE
#include "edge/client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "edge/cache.h"

#define QUESTION_MAX 512 /* header, question (259), OPT with option 65430 (17) */
#define READ_AT_LEAST 4096
#define STREAM_UDP_SIZE 65535 /* on a stream nothing is truncated */

static sb_status connect_unix(const char *path, sb_ns deadline, int *ret_fd, sb_why *why);
static sb_status wait_for(int fd, short events, sb_ns deadline);
static sb_status write_all(int fd, const uint8_t *bytes, size_t size, sb_ns deadline);
static sb_status read_some(int fd, sb_ns deadline, uint8_t *bytes, size_t size, size_t *ret_got);
static bool reserve(sb_edge_client *client, size_t more);
static sb_status fill(sb_edge_client *client, size_t need, sb_ns deadline);
static sb_status read_line(int fd, size_t limit, sb_ns deadline, sb_text *ret_line);

sb_status sb_edge_client_open(const char *socket_path, sb_ns deadline, sb_edge_client *ret,
                              sb_why *why)
{
    int fd;
    sb_status status = connect_unix(socket_path, deadline, &fd, why);
    if (status == SB_OK)
        *ret = (sb_edge_client){.fd = fd};
    return status;
}

void sb_edge_client_close(sb_edge_client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    sb_free(client->bytes);
    *client = (sb_edge_client){.fd = -1};
}

sb_status sb_edge_client_ask(sb_edge_client *client, uint16_t id, const sb_question *question,
                             uint8_t ask, sb_ns deadline, sb_why *why)
{
    uint8_t bytes[2 + QUESTION_MAX], option[6];
    sb_builder b;
    sb_writer w = sb_writer_of(option, sizeof option);
    sb_write_u16(&w, SB_OPT_PROVENANCE);
    sb_write_u16(&w, 2);
    sb_write_u8(&w, 1);
    sb_write_u8(&w, ask);
    uint16_t flags = SB_FLAG_RD | SB_FLAG_AD;
    if (question->checking_disabled)
        flags |= SB_FLAG_CD;
    sb_builder_init(&b, bytes + 2, QUESTION_MAX, id, flags);
    sb_builder_question(&b, question);
    sb_builder_edns(&b, STREAM_UDP_SIZE, 0, question->dnssec_ok, (sb_span){option, w.size});
    size_t size = sb_builder_finish(&b);
    SB_ASSERT(size > 0);
    sb_store_u16(bytes, (uint16_t)size);
    sb_status status = write_all(client->fd, bytes, size + 2, deadline);
    if (status != SB_OK)
        sb_why_set(why, status, "cannot send the question: %s", sb_status_text(status));
    return status;
}

sb_status sb_edge_client_receive(sb_edge_client *client, sb_ns deadline, sb_edge_reply *ret,
                                 sb_why *why)
{
    sb_status status = fill(client, 2, deadline);
    size_t size = 0;
    if (status == SB_OK) {
        size = sb_load_u16(client->bytes);
        status = fill(client, 2 + size, deadline);
    }
    if (status != SB_OK)
        return sb_why_set(why, status, "no reply: %s", sb_status_text(status));
    uint8_t *bytes = sb_alloc(size);
    if (!bytes)
        return sb_why_set(why, SB_NOMEM, "no memory for a reply");
    sb_reader r = sb_reader_of(client->bytes + 2, size);
    sb_read_copy(&r, bytes, size);
    client->size -= 2 + size;
    memmove(client->bytes, client->bytes + 2 + size, client->size);
    status = sb_edge_reply_read(bytes, size, ret);
    if (status != SB_OK)
        sb_why_set(why, status, "the daemon's reply does not parse");
    return status;
}

sb_status sb_edge_reply_read(uint8_t *take_bytes, size_t size, sb_edge_reply *ret)
{
    sb_edge_reply reply = {.bytes = take_bytes};
    sb_span option;
    sb_status status = sb_msg_parse(take_bytes, size, &reply.msg);
    if (status != SB_OK || !(reply.msg.flags & SB_FLAG_QR)) {
        sb_free(take_bytes);
        return SB_MALFORMED;
    }
    reply.ede = sb_edns_ede(&reply.msg.edns);
    if (sb_edns_option(&reply.msg.edns, SB_OPT_EDE, &option) && option.size > 2) {
        sb_reader r = sb_reader_of(option.data, option.size);
        size_t text = option.size - 2;
        sb_read_skip(&r, 2);
        if (text > sizeof reply.ede_text - 1)
            text = sizeof reply.ede_text - 1;
        sb_read_copy(&r, reply.ede_text, text);
    }
    if (sb_edns_option(&reply.msg.edns, SB_OPT_PROVENANCE, &option))
        reply.has_provenance = sb_provenance_read(option, &reply.provenance) == SB_OK;
    *ret = reply;
    return SB_OK;
}

void sb_edge_reply_fini(sb_edge_reply *reply)
{
    sb_free(reply->bytes);
    reply->bytes = NULL;
}

sb_status sb_edge_control(const char *path, const char *line, size_t limit, sb_ns deadline,
                          sb_text *ret_line, sb_why *why)
{
    int fd;
    sb_status status = connect_unix(path, deadline, &fd, why);
    if (status != SB_OK)
        return status;
    status = write_all(fd, (const uint8_t *)line, strlen(line), deadline);
    if (status == SB_OK)
        status = write_all(fd, (const uint8_t *)"\n", 1, deadline);
    if (status == SB_OK)
        status = read_line(fd, limit, deadline, ret_line);
    if (status != SB_OK)
        sb_why_set(why, status, "no reply from %s: %s", path, sb_status_text(status));
    close(fd);
    return status;
}

static sb_status connect_unix(const char *path, sb_ns deadline, int *ret_fd, sb_why *why)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    sb_ns left = deadline - sb_edge_now();
    if (left <= 0)
        return sb_why_set(why, SB_TIMEOUT, "cannot reach %s: timed out", path);
    if (strlen(path) >= sizeof address.sun_path)
        return sb_why_set(why, SB_INVALID, "the socket path %s is too long", path);
    sb_writer w = sb_writer_of(address.sun_path, sizeof address.sun_path);
    sb_write_text(&w, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        int error = errno;
        return sb_why_set(why, sb_status_from_errno(error), "cannot make a socket: %s",
                          strerror(error));
    }
    /* A full backlog makes connect wait; this bounds it. */
    struct timeval patience = {.tv_sec = left / SB_S, .tv_usec = left % SB_S / SB_US + 1};
    if (patience.tv_usec > 999999)
        patience.tv_usec = 999999;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    int error = 0;
    while (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        error = errno;
        if (error != EINTR)
            break;
        error = 0;
    }
    if (error) {
        close(fd);
        sb_status status = error == EAGAIN ? SB_TIMEOUT : sb_status_from_errno(error);
        return sb_why_set(why, status, "cannot reach %s: %s", path, strerror(error));
    }
    *ret_fd = fd;
    return SB_OK;
}

static sb_status wait_for(int fd, short events, sb_ns deadline)
{
    for (;;) {
        sb_ns left = deadline - sb_edge_now();
        if (left <= 0)
            return SB_TIMEOUT;
        struct timespec ts = {.tv_sec = left / SB_S, .tv_nsec = left % SB_S};
        struct pollfd p = {.fd = fd, .events = events};
        int got = ppoll(&p, 1, &ts, NULL);
        if (got > 0)
            return SB_OK;
        if (got < 0 && errno != EINTR)
            return sb_status_from_errno(errno);
    }
}

static sb_status write_all(int fd, const uint8_t *bytes, size_t size, sb_ns deadline)
{
    while (size > 0) {
        sb_status status = wait_for(fd, POLLOUT, deadline);
        if (status != SB_OK)
            return status;
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return sb_status_from_errno(errno);
        if (sent > 0) {
            bytes += sent;
            size -= (size_t)sent;
        }
    }
    return SB_OK;
}

static sb_status read_some(int fd, sb_ns deadline, uint8_t *bytes, size_t size, size_t *ret_got)
{
    for (;;) {
        sb_status status = wait_for(fd, POLLIN, deadline);
        if (status != SB_OK)
            return status;
        ssize_t got = recv(fd, bytes, size, MSG_DONTWAIT);
        if (got == 0)
            return SB_CLOSED;
        if (got > 0) {
            *ret_got = (size_t)got;
            return SB_OK;
        }
        if (errno != EAGAIN && errno != EINTR)
            return sb_status_from_errno(errno);
    }
}

static bool reserve(sb_edge_client *client, size_t more)
{
    if (client->capacity - client->size >= more)
        return true;
    size_t capacity = client->size + more;
    uint8_t *grown = sb_realloc(client->bytes, capacity);
    if (!grown)
        return false;
    client->bytes = grown;
    client->capacity = capacity;
    return true;
}

static sb_status fill(sb_edge_client *client, size_t need, sb_ns deadline)
{
    while (client->size < need) {
        size_t got;
        size_t room = need - client->size;
        if (room < READ_AT_LEAST)
            room = READ_AT_LEAST;
        if (!reserve(client, room))
            return SB_NOMEM;
        sb_status status = read_some(client->fd, deadline, client->bytes + client->size,
                                     client->capacity - client->size, &got);
        if (status != SB_OK)
            return status;
        client->size += got;
    }
    return SB_OK;
}

static sb_status read_line(int fd, size_t limit, sb_ns deadline, sb_text *ret_line)
{
    uint8_t chunk[READ_AT_LEAST];
    for (;;) {
        size_t got;
        sb_status status = read_some(fd, deadline, chunk, sizeof chunk, &got);
        if (status != SB_OK)
            return status;
        const uint8_t *end = memchr(chunk, '\n', got);
        sb_text_add_bytes(ret_line, chunk, end ? (size_t)(end - chunk) : got);
        if (ret_line->failed)
            return SB_NOMEM;
        if (end)
            return SB_OK;
        if (ret_line->size > limit)
            return SB_LIMIT;
    }
}
