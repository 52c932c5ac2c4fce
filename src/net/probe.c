/* See net/probe.h. A refused or failed start ends like any other: by the operation's done. Loop
 * thread. */
#include "net/probe.h"

#include <errno.h>
#include <string.h>

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>

#include "net/netlink.h"

#define TOKEN (SB_S / SB_PROBES_PER_S_MAX)
/* One lost packet is the network's, two in a row are a peer that may be gone. */
#define UNANSWERED_MAX 2
/* The kernel's states; its headers keep the names to themselves or fight with the C library's. */
#define STATE_ESTABLISHED 1

static sb_status begin(sb_probes *probes, const sb_addr *addr);
static sb_ns deadline_of(sb_env *env, sb_ns deadline);
static bool is_unicast(const sb_addr *addr);
static void count(sb_probes *probes, sb_counter counter);
static void probe_stop(sb_op *op);
static void probe_connected(void *owner, sb_socket socket);
static void probe_received(void *owner, sb_socket socket, const uint8_t *bytes, size_t size);
static void probe_closed(void *owner, sb_socket socket, sb_status why);
static void probe_end(sb_probe *p, sb_status status);
static sb_liveness liveness_of(sb_status status);
static void diag_stop(sb_op *op);
static void diag_ask(sb_diag *d, uint8_t family);
static void diag_received(void *owner, sb_socket socket, const sb_datagram *datagram);
static void diag_failed(void *owner, sb_socket socket, sb_status status);
static bool diag_take(sb_diag *d, const struct nlmsghdr *message);
static void diag_family_done(sb_diag *d, int error);
static bool is_to(const sb_addr *addr, const struct inet_diag_msg *found);

static const sb_stream_events probe_events = {probe_connected, probe_received, NULL, probe_closed};
static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
static const sb_udp_events diag_events = {diag_received, diag_failed};

void sb_probes_init(sb_probes *probes, sb_env *env, sb_stats *stats)
{
    *probes = (sb_probes){.env = env, .stats = stats};
}

const char *sb_liveness_text(sb_liveness liveness)
{
    static const char *const texts[] = {"unknown", "dead", "refused", "alive"};
    return (unsigned)liveness < SB_ARRAY_SIZE(texts) ? texts[liveness] : texts[0];
}

/* ---- a connection attempt ---- */

void sb_probe_start(sb_probe *p, sb_probes *probes, const sb_addr *addr, sb_op *parent,
                    sb_ns deadline, void (*done)(sb_op *))
{
    sb_env *env = probes->env;
    *p = (sb_probe){.addr = *addr, .probes = probes, .started_at = sb_env_now(env)};
    sb_op_start(&p->op, env, parent, deadline_of(env, deadline), done, probe_stop);
    sb_status status = addr->port != 0 ? begin(probes, addr) : SB_INVALID;
    p->counted = status == SB_OK;
    if (status == SB_OK)
        status = env->ops->stream_connect(env, addr, NULL, &probe_events, p, &p->socket, NULL);
    /* What fails at once failed in this machine: it says nothing of the endpoint, except that
     * loopback refuses on the spot. */
    if (status != SB_OK) {
        if (status == SB_CONNREFUSED)
            p->liveness = SB_LIVENESS_HOST;
        sb_op_finish(&p->op, status);
    }
}

static void probe_stop(sb_op *op)
{
    sb_probe *p = (sb_probe *)(void *)op;
    if (sb_socket_valid(p->socket))
        op->env->ops->close(op->env, p->socket);
    p->socket = (sb_socket){0};
    if (p->counted)
        p->probes->underway--;
    p->counted = false;
    if (op->state != SB_OP_FINISHED)
        return; /* cancelled: nobody will know */
    p->took = sb_env_now(op->env) - p->started_at;
    if (op->status == SB_TIMEOUT)
        p->liveness = SB_LIVENESS_DEAD;
    static const sb_counter counters[] = {SB_COUNT_PROBES_UNKNOWN, SB_COUNT_PROBES_DEAD,
                                          SB_COUNT_PROBES_REFUSED, SB_COUNT_PROBES_ALIVE};
    count(p->probes, counters[p->liveness]);
}

/* Connecting to a free port of one's own may meet oneself: TCP's simultaneous open. */
static void probe_connected(void *owner, sb_socket socket)
{
    sb_probe *p = owner;
    sb_addr local = {0};
    sb_status known = p->op.env->ops->local_address(p->op.env, socket, &local);
    probe_end(p, known == SB_OK && sb_addr_equal(&local, &p->addr) ? SB_CONNREFUSED : SB_OK);
}

static void probe_received(void *owner, sb_socket socket, const uint8_t *bytes, size_t size)
{
    (void)owner;
    (void)socket;
    (void)bytes;
    (void)size;
}

static void probe_closed(void *owner, sb_socket socket, sb_status why)
{
    (void)socket;
    sb_probe *p = owner;
    p->socket = (sb_socket){0};
    probe_end(p, why);
}

static void probe_end(sb_probe *p, sb_status status)
{
    p->liveness = (uint8_t)liveness_of(status);
    sb_op_finish(&p->op, status);
}

static sb_liveness liveness_of(sb_status status)
{
    switch (status) {
    case SB_OK:
        return SB_LIVENESS_ALIVE;
    case SB_CONNREFUSED:
    case SB_CLOSED:
        return SB_LIVENESS_HOST;
    case SB_TIMEOUT:
    case SB_UNREACHABLE:
        return SB_LIVENESS_DEAD;
    default:
        return SB_LIVENESS_UNKNOWN;
    }
}

/* ---- a look at the connections ---- */

void sb_diag_start(sb_diag *d, sb_probes *probes, const sb_addr *addr, sb_op *parent,
                   sb_ns deadline, void (*done)(sb_op *))
{
    sb_env *env = probes->env;
    *d = (sb_diag){.addr = *addr, .probes = probes};
    if (addr->family == SB_FAMILY_6 && memcmp(addr->bytes, mapped, sizeof(mapped)) == 0)
        d->addr = sb_addr_4(addr->bytes + 12, 0);
    sb_op_start(&d->op, env, parent, deadline_of(env, deadline), done, diag_stop);
    sb_status status = begin(probes, &d->addr);
    d->counted = status == SB_OK;
    if (status == SB_OK)
        status = env->ops->netlink_open(env, NETLINK_SOCK_DIAG, 0, &diag_events, d, &d->socket,
                                        NULL);
    if (status == SB_OK)
        diag_ask(d, d->addr.family == SB_FAMILY_4 ? AF_INET : AF_INET6);
    else
        sb_op_finish(&d->op, status);
}

static void diag_stop(sb_op *op)
{
    sb_diag *d = (sb_diag *)(void *)op;
    if (sb_socket_valid(d->socket))
        op->env->ops->close(op->env, d->socket);
    d->socket = (sb_socket){0};
    if (d->counted)
        d->probes->underway--;
    d->counted = false;
    if (op->state == SB_OP_FINISHED)
        count(d->probes, op->status == SB_OK         ? SB_COUNT_DIAG_FOUND
                         : op->status == SB_NOTFOUND ? SB_COUNT_DIAG_NONE
                                                     : SB_COUNT_DIAG_UNKNOWN);
}

/* No filter of the kernel's by address: it would go through a million sockets in one call of ours,
 * where a plain dump comes in pieces and can be left. */
static void diag_ask(sb_diag *d, uint8_t family)
{
    _Alignas(struct nlmsghdr) uint8_t buffer[SB_NETLINK_REQUEST_MAX];
    sb_env *env = d->op.env;
    void *body;
    d->family = family;
    struct nlmsghdr *r = sb_netlink_request(buffer, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, ++d->sequence,
                                            sizeof(struct inet_diag_req_v2), &body);
    *(struct inet_diag_req_v2 *)body =
        (struct inet_diag_req_v2){.sdiag_family = family,
                                  .sdiag_protocol = IPPROTO_TCP,
                                  .idiag_states = UINT32_C(1) << STATE_ESTABLISHED};
    sb_status status = env->ops->udp_send(env, d->socket, NULL, NULL, buffer, r->nlmsg_len);
    if (status != SB_OK)
        sb_op_finish(&d->op, status);
}

static void diag_received(void *owner, sb_socket socket, const sb_datagram *datagram)
{
    (void)socket;
    sb_diag *d = owner;
    sb_netlink_walk walk = sb_netlink_walk_of(datagram);
    const struct nlmsghdr *message;
    while (sb_op_running(&d->op) && (message = sb_netlink_next(&walk))) {
        if (message->nlmsg_seq != d->sequence)
            continue;
        if (message->nlmsg_type == NLMSG_ERROR || message->nlmsg_type == NLMSG_DONE) {
            diag_family_done(d, sb_netlink_error(message));
        } else if (message->nlmsg_type == SOCK_DIAG_BY_FAMILY) {
            if (diag_take(d, message)) {
                sb_op_finish(&d->op, SB_OK);
            } else if (++d->looked_at >= SB_DIAG_SOCKETS_MAX) {
                count(d->probes, SB_COUNT_LIMIT_DIAG);
                sb_op_finish(&d->op, SB_LIMIT);
            }
        }
    }
}

static void diag_failed(void *owner, sb_socket socket, sb_status status)
{
    (void)socket;
    sb_op_finish(&((sb_diag *)owner)->op, status);
}

static bool diag_take(sb_diag *d, const struct nlmsghdr *message)
{
    const struct inet_diag_msg *found = sb_netlink_body(message, sizeof(*found));
    return found && found->idiag_state == STATE_ESTABLISHED &&
           found->idiag_retrans < UNANSWERED_MAX && is_to(&d->addr, found);
}

/* IPv4 connections are found under IPv6, too: mapped. A system without one of the families still
 * answers for the other. */
static void diag_family_done(sb_diag *d, int error)
{
    d->answered |= error == 0;
    if (d->family == AF_INET)
        diag_ask(d, AF_INET6);
    else if (d->answered)
        sb_op_finish(&d->op, SB_NOTFOUND);
    else
        sb_op_finish(&d->op, error == ENOENT ? SB_UNSUPPORTED : sb_status_from_errno(error));
}

static bool is_to(const sb_addr *addr, const struct inet_diag_msg *found)
{
    const uint8_t *bytes = (const uint8_t *)found->id.idiag_dst;
    if (found->idiag_family == AF_INET)
        return addr->family == SB_FAMILY_4 && memcmp(bytes, addr->bytes, 4) == 0;
    if (found->idiag_family != AF_INET6)
        return false;
    if (addr->family == SB_FAMILY_4)
        return memcmp(bytes, mapped, 12) == 0 && memcmp(bytes + 12, addr->bytes, 4) == 0;
    return memcmp(bytes, addr->bytes, 16) == 0 &&
           (addr->scope == 0 || found->id.idiag_if == 0 || found->id.idiag_if == addr->scope);
}

/* ---- limits ---- */

static sb_status begin(sb_probes *probes, const sb_addr *addr)
{
    sb_ns now = sb_env_now(probes->env);
    if (!is_unicast(addr))
        return SB_INVALID;
    if (probes->underway >= SB_PROBES_UNDERWAY_MAX) {
        count(probes, SB_COUNT_LIMIT_PROBES_UNDERWAY);
        return SB_LIMIT;
    }
    sb_ns full_at = probes->full_at > now ? probes->full_at : now;
    if (full_at + TOKEN > now + SB_S) {
        count(probes, SB_COUNT_LIMIT_PROBES);
        return SB_LIMIT;
    }
    probes->full_at = full_at + TOKEN;
    probes->underway++;
    return SB_OK;
}

static sb_ns deadline_of(sb_env *env, sb_ns deadline)
{
    return deadline == SB_NEVER ? sb_env_now(env) + SB_PROBE_PATIENCE : deadline;
}

static bool is_unicast(const sb_addr *addr)
{
    if (addr->family == SB_FAMILY_NONE || sb_addr_is_any(addr))
        return false;
    return addr->family == SB_FAMILY_6 ? addr->bytes[0] != 0xff : addr->bytes[0] < 224;
}

static void count(sb_probes *probes, sb_counter counter)
{
    if (probes->stats)
        sb_count(probes->stats, counter);
}
