/* One question after the other, in turn to each of some servers: what a single asker waits for.
 *
 *     latency COUNT NAME ADDRESS:PORT...      (A questions; prints a line per address)
 *
 * Taking turns in one run gives every server the same machine, whatever else it does meanwhile. */
#define _GNU_SOURCE
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/mem.h"
#include "dns/msg.h"

#define SERVERS_MAX 8
#define LOST_MAX 100     /* unanswered questions before it is given up */
#define PATIENCE_MS 1000

typedef struct server {
    const char *text;
    int fd;
    int64_t *took_ns;
    size_t count;
} server;

static int open_server(server *s, const char *text, size_t count);
static size_t write_query(uint8_t *out, size_t capacity, const sb_name *name, uint16_t id);
static int64_t ask(const server *s, const uint8_t *query, size_t size);
static int64_t now_ns(void);
static int compare(const void *a, const void *b);

int main(int argc, char **argv)
{
    server servers[SERVERS_MAX] = {0};
    uint64_t count;
    sb_name name;
    sb_why why = {0};
    int n = argc - 3;
    if (n < 1 || n > SERVERS_MAX || !sb_parse_u64(argv[1], strlen(argv[1]), 100000000, &count) ||
        count == 0 || sb_name_parse(argv[2], strlen(argv[2]), &name, &why) != SB_OK) {
        fprintf(stderr, "usage: latency COUNT NAME ADDRESS:PORT...\n%s", why.text);
        return 2;
    }
    for (int i = 0; i < n; i++)
        if (open_server(&servers[i], argv[3 + i], count) != 0)
            return 1;
    unsigned lost = 0;
    for (uint64_t round = 0; round < count && lost < LOST_MAX; round++) {
        uint8_t query[512];
        size_t size = write_query(query, sizeof(query), &name, (uint16_t)round);
        for (int i = 0; i < n; i++) {
            int64_t took = ask(&servers[i], query, size);
            if (took >= 0)
                servers[i].took_ns[servers[i].count++] = took;
            else
                lost++;
        }
    }
    for (int i = 0; i < n; i++) {
        server *s = &servers[i];
        if (s->count == 0) {
            fprintf(stderr, "latency: %s does not answer\n", s->text);
            return 1;
        }
        qsort(s->took_ns, s->count, sizeof(*s->took_ns), compare);
        printf("%s answered=%zu median_us=%.2f p99_us=%.2f least_us=%.2f\n", s->text, s->count,
               (double)s->took_ns[s->count / 2] / 1000,
               (double)s->took_ns[s->count * 99 / 100] / 1000, (double)s->took_ns[0] / 1000);
        close(s->fd);
        sb_free(s->took_ns);
    }
    return lost > 0 ? 1 : 0;
}

static int open_server(server *s, const char *text, size_t count)
{
    sb_addr addr;
    struct sockaddr_storage sa;
    s->text = text;
    s->took_ns = sb_calloc(count, sizeof(*s->took_ns));
    if (!s->took_ns || !sb_addr_parse_port(text, strlen(text), 53, &addr)) {
        fprintf(stderr, "latency: %s is no address\n", text);
        return -1;
    }
    socklen_t size = sb_addr_to_sockaddr(&addr, &sa);
    s->fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&sa, size) != 0) {
        perror("latency");
        return -1;
    }
    return 0;
}

static size_t write_query(uint8_t *out, size_t capacity, const sb_name *name, uint16_t id)
{
    sb_writer w = sb_writer_of(out, capacity);
    sb_write_u16(&w, id);
    sb_write_u16(&w, SB_FLAG_RD);
    sb_write_u16(&w, 1);
    sb_write_u16(&w, 0);
    sb_write_u32(&w, 0);
    sb_name_write(&w, name);
    sb_write_u16(&w, 1);
    sb_write_u16(&w, SB_CLASS_IN);
    return w.size;
}

/* Nanoseconds until the reply to this very question; -1 without one. */
static int64_t ask(const server *s, const uint8_t *query, size_t size)
{
    uint8_t reply[4096];
    int64_t began = now_ns();
    if (send(s->fd, query, size, 0) < 0)
        return -1;
    struct pollfd p = {.fd = s->fd, .events = POLLIN};
    while (poll(&p, 1, PATIENCE_MS) == 1) {
        ssize_t got = recv(s->fd, reply, sizeof(reply), MSG_DONTWAIT);
        if (got < 2)
            return -1;
        if (memcmp(reply, query, 2) == 0)
            return now_ns() - began;
    }
    return -1;
}

static int64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}
