/* See upstream.h. */
#define _GNU_SOURCE
#include "outage/upstream.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "dns/rdata.h"

#define LOSS_PERMILLE 300
#define LATE_PERMILLE 50
#define LATE_NS (300 * MS)
#define DATAGRAM_MAX 4096

typedef struct conn {
    loop_watch watch;
    sb_list link;
    upstream *u;
    uint64_t id;
    size_t size;
    uint8_t buffer[2 + DATAGRAM_MAX];
} conn;

typedef struct reply {
    loop_timer timer;
    upstream *u;
    uint64_t conn; /* 0: UDP to peer */
    sb_addr peer;
    size_t size;
    uint8_t bytes[512]; /* every reply of this zone is far below that */
} reply;

static bool open_sockets(upstream *u);
static void close_sockets(upstream *u);
static bool open_raw(upstream *u);
static void close_raw(upstream *u);
static bool bind_to(int fd, const sb_addr *addr);
static void deafen(upstream *u, bool deaf);
static void udp_ready(loop_watch *watch);
static void tcp_ready(loop_watch *watch);
static void conn_ready(loop_watch *watch);
static void raw_ready(loop_watch *watch);
static void conn_take(conn *c);
static void conn_close(conn *c);
static void take_query(upstream *u, const uint8_t *bytes, size_t size, const sb_addr *peer,
                       uint64_t conn_id);
static void reply_fire(loop_timer *timer);
static void reply_send_stream(reply *r);

bool upstream_open(upstream *u, world *w, unsigned index, const sb_addr *addr, int64_t delay_ns)
{
    *u = (upstream){.w = w, .index = index, .addr = *addr, .delay_ns = delay_ns, .next_conn = 1};
    sb_list_init(&u->conns);
    sb_rand_seed(&u->rand, w->seed + 100 + index);
    return open_sockets(u);
}

void upstream_close(upstream *u)
{
    close_sockets(u);
    close_raw(u);
}

bool upstream_set_fault(upstream *u, scene_fault fault)
{
    scene_fault before = u->fault;
    u->fault = fault;
    if (before == FAULT_SILENT)
        deafen(u, false);
    if (before == FAULT_REFUSE) {
        close_raw(u);
        if (!open_sockets(u))
            return false;
    }
    if (fault == FAULT_SILENT)
        deafen(u, true);
    if (fault == FAULT_REFUSE) {
        if (!open_raw(u))
            return false;
        close_sockets(u);
    }
    return true;
}

static bool open_sockets(upstream *u)
{
    int type = SOCK_CLOEXEC | SOCK_NONBLOCK;
    u->udp = (loop_watch){socket(AF_INET, SOCK_DGRAM | type, 0), udp_ready};
    u->tcp = (loop_watch){socket(AF_INET, SOCK_STREAM | type, 0), tcp_ready};
    u->open = true;
    int yes = 1;
    if (u->udp.fd < 0 || u->tcp.fd < 0 ||
        setsockopt(u->tcp.fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) ||
        !bind_to(u->udp.fd, &u->addr) || !bind_to(u->tcp.fd, &u->addr) || listen(u->tcp.fd, 128))
        return false;
    return loop_watch_add(&u->w->loop, &u->udp) && loop_watch_add(&u->w->loop, &u->tcp);
}

static void close_sockets(upstream *u)
{
    sb_list_each_safe (it, &u->conns)
        conn_close(sb_container_of(it, conn, link));
    if (!u->open)
        return;
    u->open = false;
    loop_watch_remove(&u->w->loop, &u->udp);
    loop_watch_remove(&u->w->loop, &u->tcp);
    close(u->udp.fd);
    close(u->tcp.fd);
}

/* A raw socket gets a copy of every datagram, and the kernel refuses the original all the same. */
static bool open_raw(upstream *u)
{
    u->raw = (loop_watch){socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_UDP),
                          raw_ready};
    u->raw_open = u->raw.fd >= 0;
    return u->raw_open && bind_to(u->raw.fd, &u->addr) && loop_watch_add(&u->w->loop, &u->raw);
}

static void close_raw(upstream *u)
{
    if (!u->raw_open)
        return;
    u->raw_open = false;
    loop_watch_remove(&u->w->loop, &u->raw);
    close(u->raw.fd);
}

static bool bind_to(int fd, const sb_addr *addr)
{
    struct sockaddr_storage sa;
    socklen_t size = sb_addr_to_sockaddr(addr, &sa);
    return bind(fd, (struct sockaddr *)&sa, size) == 0;
}

/* A socket filter that takes no byte: segments, SYN among them, vanish as on a cut cable. */
static void deafen(upstream *u, bool deaf)
{
    struct sock_filter nothing = {.code = BPF_RET | BPF_K, .k = 0};
    struct sock_fprog program = {.len = 1, .filter = &nothing};
    int option = deaf ? SO_ATTACH_FILTER : SO_DETACH_FILTER;
    setsockopt(u->tcp.fd, SOL_SOCKET, option, &program, sizeof program);
    sb_list_each (it, &u->conns)
        setsockopt(sb_container_of(it, conn, link)->watch.fd, SOL_SOCKET, option, &program,
                   sizeof program);
}

static void udp_ready(loop_watch *watch)
{
    upstream *u = sb_container_of(watch, upstream, udp);
    uint8_t bytes[DATAGRAM_MAX];
    struct sockaddr_storage sa;
    for (;;) {
        socklen_t size = sizeof sa;
        ssize_t n = recvfrom(watch->fd, bytes, sizeof bytes, 0, (struct sockaddr *)&sa, &size);
        if (n < 0)
            return;
        sb_addr peer = sb_addr_from_sockaddr((struct sockaddr *)&sa);
        take_query(u, bytes, (size_t)n, &peer, 0);
    }
}

static void tcp_ready(loop_watch *watch)
{
    upstream *u = sb_container_of(watch, upstream, tcp);
    int fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    conn *c = fd >= 0 ? sb_new(conn) : NULL;
    if (!c) {
        if (fd >= 0)
            close(fd);
        return;
    }
    int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    c->watch = (loop_watch){fd, conn_ready};
    c->u = u;
    c->id = u->next_conn++;
    sb_list_push(&u->conns, &c->link);
    if (!loop_watch_add(&u->w->loop, &c->watch))
        conn_close(c);
}

static void conn_ready(loop_watch *watch)
{
    conn *c = sb_container_of(watch, conn, watch);
    ssize_t n = recv(watch->fd, c->buffer + c->size, sizeof c->buffer - c->size, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        conn_close(c);
        return;
    }
    c->size += (size_t)n;
    conn_take(c);
}

/* Every whole message of the buffer; one that can never fit ends the connection. */
static void conn_take(conn *c)
{
    size_t at = 0;
    while (c->size - at >= 2) {
        size_t size = sb_load_u16(c->buffer + at);
        if (size > DATAGRAM_MAX) {
            conn_close(c);
            return;
        }
        if (c->size - at - 2 < size)
            break;
        c->u->w->tally.tcp_queries += loop_now() >= c->u->w->zero_ns;
        take_query(c->u, c->buffer + at + 2, size, NULL, c->id);
        at += 2 + size;
    }
    c->size -= at;
    memmove(c->buffer, c->buffer + at, c->size);
}

static void conn_close(conn *c)
{
    loop_watch_remove(&c->u->w->loop, &c->watch);
    close(c->watch.fd);
    sb_list_remove(&c->link);
    sb_free(c);
}

static void raw_ready(loop_watch *watch)
{
    upstream *u = sb_container_of(watch, upstream, raw);
    uint8_t bytes[DATAGRAM_MAX];
    for (;;) {
        ssize_t n = recv(watch->fd, bytes, sizeof bytes, 0);
        if (n < 0)
            return;
        sb_reader r = sb_reader_of(bytes, (size_t)n);
        size_t header = (size_t)(sb_read_u8(&r) & 15) * 4;
        sb_read_skip(&r, header > 0 ? header - 1 + 2 : 0);
        if (sb_read_u16(&r) == u->addr.port && !r.failed)
            tally_query(&u->w->tally, u->index, loop_now() - u->w->zero_ns, world_alive(u->w));
    }
}

static void take_query(upstream *u, const uint8_t *bytes, size_t size, const sb_addr *peer,
                       uint64_t conn_id)
{
    world *w = u->w;
    int64_t now = loop_now();
    sb_msg query;
    if (sb_msg_parse(bytes, size, &query) != SB_OK || !query.has_question ||
        (query.flags & SB_FLAG_QR))
        return;
    tally_query(&w->tally, u->index, now - w->zero_ns, world_alive(w));
    zone_id id = zone_find(&query.question.name);
    w->tally.other_queries += now >= w->zero_ns && id.kind == ZONE_OTHER;
    w->tally.queries_denied += now >= w->zero_ns && now < w->end_ns && world_denies(w, id, now);
    if (scene_fault_is_death(u->fault) ||
        (u->fault == FAULT_LOSS && !conn_id && sb_rand_chance(&u->rand, LOSS_PERMILLE)))
        return;
    zone_note_denied(&w->zone, id, now);
    reply *r = sb_new(reply);
    if (!r)
        return;
    zone_lie lie = u->fault == FAULT_SERVFAIL ? LIE_SERVFAIL
                   : u->fault == FAULT_DENY   ? LIE_DENY
                                              : LIE_NONE;
    r->timer.fire = reply_fire;
    r->u = u;
    r->conn = conn_id;
    if (peer)
        r->peer = *peer;
    r->size = zone_reply(&w->zone, &query, lie, now, r->bytes, sizeof r->bytes);
    bool late = u->fault == FAULT_DELAY && sb_rand_chance(&u->rand, LATE_PERMILLE);
    loop_at(&w->loop, &r->timer, now + u->delay_ns + (late ? LATE_NS : 0));
}

static void reply_fire(loop_timer *timer)
{
    reply *r = sb_container_of(timer, reply, timer);
    upstream *u = r->u;
    if (r->size > 0 && u->open && !scene_fault_is_death(u->fault)) {
        struct sockaddr_storage sa;
        if (r->conn)
            reply_send_stream(r);
        else
            sendto(u->udp.fd, r->bytes, r->size, 0, (struct sockaddr *)&sa,
                   sb_addr_to_sockaddr(&r->peer, &sa));
    }
    sb_free(r);
}

static void reply_send_stream(reply *r)
{
    uint8_t framed[2 + sizeof r->bytes];
    sb_writer w = sb_writer_of(framed, sizeof framed);
    sb_write_u16(&w, (uint16_t)r->size);
    sb_write_bytes(&w, r->bytes, r->size);
    sb_list_each_safe (it, &r->u->conns) {
        conn *c = sb_container_of(it, conn, link);
        if (c->id != r->conn)
            continue;
        /* A reader that lets a hundred bytes wait is gone. */
        if (send(c->watch.fd, framed, w.size, MSG_NOSIGNAL) != (ssize_t)w.size)
            conn_close(c);
        return;
    }
}
