/* The kernel of the simulated machine as netlink shows it: tables that the test sets, dumps and
 * notifications as real messages, written with libmnl. Dumps come in pieces, each made when the one
 * before was taken, as the real one does. One thread. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/inet_diag.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>

#include "base/mem.h"
#include "net/netlink.h"
#include "sim/sim_internal.h"

#define DELAY (2 * SB_US) /* a system call and a turn of the loop */
#define PIECE 4096        /* bytes of a dump in one datagram */
#define MESSAGE_MAX 512
#define REQUEST_MAX 256
#define GROUP(n) (UINT32_C(1) << ((n)-1))
#define ESTABLISHED 1

static void run_answer(sim *s, sim_event *e);
static void run_message(sim *s, sim_event *e);
static void run_lost(sim *s, sim_event *e);
static void answer_one(sim *s, sim_event *to, const struct nlmsghdr *request);
static struct nlmsghdr *start(void *buffer, uint16_t type, const struct nlmsghdr *request,
                              size_t size, void **ret_body);
static void write_error(void *buffer, const struct nlmsghdr *request, int error);
static void write_link(const sim *s, unsigned row, void *buffer, uint16_t type,
                       const struct nlmsghdr *request);
static void write_address(const sim *s, unsigned row, void *buffer, uint16_t type,
                          const struct nlmsghdr *request);
static void write_route(const sim *s, unsigned family, void *buffer, uint16_t type,
                        const struct nlmsghdr *request);
static void write_neighbour(const sim *s, unsigned row, void *buffer,
                            const struct nlmsghdr *request);
static void write_connection(const sim *s, unsigned row, unsigned number, void *buffer,
                             const struct nlmsghdr *request);
static bool dump_at(const sim *s, const struct nlmsghdr *request, uint64_t at, void *buffer);
static uint64_t dump_size(const sim *s, const struct nlmsghdr *request);
static int link_row(const sim *s, uint32_t index);
static void notify(sim *s, uint32_t group, const void *message);

static uint8_t af_of(const sb_addr *addr)
{
    return addr->family == SB_FAMILY_6 ? AF_INET6 : AF_INET;
}

void sim_netlink_reset(sim *s)
{
    static const uint8_t hardware[6] = {2, 0, 0, 0, 0, 0xfe};
    s->kernel = (sim_kernel){.refusal = SB_OK};
    sb_prefix four = {.bits = 24}, six = {.bits = 64};
    sb_addr gateway4, gateway6;
    bool sound =
        sb_addr_parse("10.9.0.1", 8, &four.addr) && sb_addr_parse("fd00::1", 7, &six.addr) &&
        sb_addr_parse("10.9.0.254", 10, &gateway4) && sb_addr_parse("fe80::fe", 8, &gateway6);
    SB_ASSERT(sound);
    sim_link_set(s, SIM_LO, "lo", true, false);
    s->kernel.links[0].flags |= IFF_LOOPBACK;
    sim_link_set(s, SIM_ETH0, "eth0", true, false);
    sim_address_set(s, SIM_ETH0, &four, true);
    sim_address_set(s, SIM_ETH0, &six, true);
    sim_default_set(s, SB_FAMILY_4, SIM_ETH0, &gateway4, NULL);
    sim_default_set(s, SB_FAMILY_6, SIM_ETH0, &gateway6, NULL);
    sim_neighbour_set(s, SIM_ETH0, &gateway4, hardware);
    sim_neighbour_set(s, SIM_ETH0, &gateway6, hardware);
}

sb_status sim_netlink_open(sb_env *base, int protocol, uint32_t groups, const sb_udp_events *events,
                           void *owner, sb_socket *ret, sb_why *why)
{
    sim_env *env = sim_env_of(base);
    sim *s = env->s;
    if (s->kernel.refusal != SB_OK)
        return sb_why_set(why, s->kernel.refusal, "cannot open a netlink socket: %s",
                          sb_status_text(s->kernel.refusal));
    if (env->frozen || sb_rand_chance(&s->net, s->faults.open))
        return sb_why_set(why, SB_LIMIT, "cannot open a netlink socket: too many open files");
    sb_socket name;
    sim_slot *slot = sim_slot_new(s, SIM_NETLINK, env, &name);
    slot->owner = owner;
    slot->udp = events;
    slot->netlink_protocol = protocol;
    slot->netlink_groups = groups;
    *ret = name;
    return SB_OK;
}

sb_status sim_netlink_send(sim *s, sim_slot *slot, const void *bytes, size_t size)
{
    const struct nlmsghdr *request = bytes;
    SB_ASSERT(size <= REQUEST_MAX && mnl_nlmsg_ok(request, (int)size));
    SB_ASSERT(request->nlmsg_flags & NLM_F_REQUEST);
    s->kernel.requests++;
    sim_event *e = sim_event_new(s, s->now + DELAY, size, run_answer);
    e->target = sim_slot_name(slot);
    memcpy(e->bytes, bytes, size);
    return SB_OK;
}

/* ---- what the test sets ---- */

void sim_link_set(sim *s, uint32_t index, const char *name, bool running, bool point_to_point)
{
    sim_kernel *k = &s->kernel;
    _Alignas(8) uint8_t message[MESSAGE_MAX];
    int row = link_row(s, index);
    if (row < 0)
        row = link_row(s, 0);
    SB_ASSERT(row >= 0 && index != 0);
    k->links[row].index = index;
    if (name)
        (void)snprintf(k->links[row].name, sizeof(k->links[row].name), "%s", name);
    k->links[row].flags = (k->links[row].flags & IFF_LOOPBACK) | IFF_UP |
                          (running ? IFF_RUNNING | IFF_LOWER_UP : 0) |
                          (point_to_point ? IFF_POINTOPOINT | IFF_NOARP : 0);
    write_link(s, (unsigned)row, message, name ? RTM_NEWLINK : RTM_DELLINK, NULL);
    notify(s, GROUP(RTNLGRP_LINK), message);
    if (name)
        return;
    memset(&k->links[row], 0, sizeof(k->links[row]));
    for (unsigned i = 0; i < SIM_ADDRESSES_MAX; i++)
        if (k->addresses[i].interface == index)
            k->addresses[i].interface = 0;
    for (unsigned i = 0; i < SIM_NEIGHBOURS_MAX; i++)
        if (k->neighbours[i].interface == index)
            k->neighbours[i].interface = 0;
    for (unsigned i = 0; i < 2; i++)
        if (k->routes[i].interface == index)
            k->routes[i].interface = 0; /* IPv4's go without a word, as in life */
}

void sim_address_set(sim *s, uint32_t index, const sb_prefix *address, bool present)
{
    sim_kernel *k = &s->kernel;
    _Alignas(8) uint8_t message[MESSAGE_MAX];
    unsigned row = SIM_ADDRESSES_MAX;
    for (unsigned i = SIM_ADDRESSES_MAX; i-- > 0;) {
        bool same = k->addresses[i].interface == index &&
                    sb_addr_same_host(&k->addresses[i].address.addr, &address->addr);
        if (same || (present && k->addresses[i].interface == 0))
            row = i;
        if (same)
            break;
    }
    if (row == SIM_ADDRESSES_MAX && !present)
        return;
    SB_ASSERT(row < SIM_ADDRESSES_MAX);
    k->addresses[row].interface = index;
    k->addresses[row].address = *address;
    write_address(s, row, message, present ? RTM_NEWADDR : RTM_DELADDR, NULL);
    if (!present)
        k->addresses[row].interface = 0;
    notify(s,
           address->addr.family == SB_FAMILY_6 ? GROUP(RTNLGRP_IPV6_IFADDR)
                                               : GROUP(RTNLGRP_IPV4_IFADDR),
           message);
}

void sim_default_set(sim *s, sb_family family, uint32_t index, const sb_addr *gateway,
                     const sb_addr *source)
{
    sim_kernel *k = &s->kernel;
    _Alignas(8) uint8_t message[MESSAGE_MAX];
    unsigned row = family == SB_FAMILY_6;
    uint32_t before = k->routes[row].interface;
    if (index) {
        k->routes[row].interface = index;
        k->routes[row].gateway = gateway ? *gateway : (sb_addr){0};
        k->routes[row].source = source ? *source : (sb_addr){0};
        for (unsigned i = SIM_ADDRESSES_MAX; !source && i-- > 0;)
            if (k->addresses[i].interface == index && k->addresses[i].address.addr.family == family)
                k->routes[row].source = k->addresses[i].address.addr;
    }
    write_route(s, row, message, index ? RTM_NEWROUTE : RTM_DELROUTE, NULL);
    k->routes[row].interface = index;
    if (index || before)
        notify(s, row ? GROUP(RTNLGRP_IPV6_ROUTE) : GROUP(RTNLGRP_IPV4_ROUTE), message);
}

void sim_neighbour_set(sim *s, uint32_t index, const sb_addr *addr, const uint8_t hardware[6])
{
    sim_kernel *k = &s->kernel;
    unsigned row = SIM_NEIGHBOURS_MAX;
    for (unsigned i = SIM_NEIGHBOURS_MAX; i-- > 0;) {
        bool same =
            k->neighbours[i].interface == index && sb_addr_equal(&k->neighbours[i].addr, addr);
        if (same || (hardware && k->neighbours[i].interface == 0))
            row = i;
        if (same)
            break;
    }
    if (row == SIM_NEIGHBOURS_MAX && !hardware)
        return;
    SB_ASSERT(row < SIM_NEIGHBOURS_MAX);
    k->neighbours[row].interface = hardware ? index : 0;
    k->neighbours[row].addr = *addr;
    if (hardware)
        memcpy(k->neighbours[row].hardware, hardware, 6);
}

static sb_addr gateway_of(unsigned network, bool six)
{
    uint8_t look = (uint8_t)((network - 1) % 8);
    return six ? sb_addr_6((const uint8_t[16]){0xfe, 0x80, [15] = 0xfe}, 0)
               : sb_addr_4((const uint8_t[4]){10, 9, look, 254}, 0);
}

void sim_network_hardware(sim *s, unsigned network)
{
    const uint8_t hardware[6] = {2, 0, 0, 0, (uint8_t)(network - 1), 0xfe};
    for (unsigned six = 0; six < 2; six++) {
        sb_addr gateway = gateway_of(network, six);
        sim_neighbour_set(s, SIM_ETH0, &gateway, hardware);
    }
}

void sim_network_set(sim *s, unsigned network, bool known)
{
    uint8_t look = (uint8_t)((network - 1) % 8);
    sb_prefix prefixes[2] = {
        {.addr = sb_addr_4((const uint8_t[4]){10, 9, look, 1}, 0), .bits = 24},
        {.addr = sb_addr_6((const uint8_t[16]){0xfd, 0, 0, look, [15] = 1}, 0), .bits = 64}};
    sim_kernel *k = &s->kernel;
    sim_link_set(s, SIM_ETH0, "eth0", false, false);
    for (unsigned i = 0; i < SIM_ADDRESSES_MAX; i++) {
        sb_prefix old = k->addresses[i].address;
        if (k->addresses[i].interface == SIM_ETH0)
            sim_address_set(s, SIM_ETH0, &old, false);
    }
    for (unsigned i = 0; i < SIM_NEIGHBOURS_MAX; i++)
        if (k->neighbours[i].interface == SIM_ETH0)
            k->neighbours[i].interface = 0;
    sim_default_set(s, SB_FAMILY_4, 0, NULL, NULL);
    sim_default_set(s, SB_FAMILY_6, 0, NULL, NULL);
    if (network == 0)
        return;
    sim_link_set(s, SIM_ETH0, "eth0", true, false);
    for (unsigned six = 0; six < 2; six++) {
        sb_addr gateway = gateway_of(network, six);
        sim_address_set(s, SIM_ETH0, &prefixes[six], true);
        sim_default_set(s, six ? SB_FAMILY_6 : SB_FAMILY_4, SIM_ETH0, &gateway, NULL);
    }
    if (known)
        sim_network_hardware(s, network);
}

void sim_netlink_lose(sim *s)
{
    for (uint32_t i = 0; i < s->slot_count; i++) {
        const sim_slot *slot = &s->slots[i];
        if (slot->kind != SIM_NETLINK || slot->netlink_groups == 0)
            continue;
        sim_event *e = sim_event_new(s, s->now + DELAY, 0, run_lost);
        e->target = sim_slot_name(slot);
    }
}

void sim_route_noise(sim *s, const sb_prefix *to)
{
    _Alignas(8) uint8_t message[MESSAGE_MAX];
    void *body;
    struct nlmsghdr *m = start(message, RTM_NEWROUTE, NULL, sizeof(struct rtmsg), &body);
    *(struct rtmsg *)body = (struct rtmsg){.rtm_family = af_of(&to->addr),
                                           .rtm_dst_len = to->bits,
                                           .rtm_table = RT_TABLE_MAIN,
                                           .rtm_type = RTN_UNICAST};
    sb_netlink_put_address(m, RTA_DST, &to->addr);
    mnl_attr_put_u32(m, RTA_OIF, SIM_ETH0);
    notify(s,
           to->addr.family == SB_FAMILY_6 ? GROUP(RTNLGRP_IPV6_ROUTE) : GROUP(RTNLGRP_IPV4_ROUTE),
           message);
}

void sim_netlink_refuse(sim *s, sb_status refusal)
{
    s->kernel.refusal = refusal;
}

void sim_established_set(sim *s, const sb_addr *remote, unsigned count, uint8_t retransmits,
                         bool mapped)
{
    sim_kernel *k = &s->kernel;
    unsigned row = SIM_CONNECTIONS_MAX;
    for (unsigned i = SIM_CONNECTIONS_MAX; i-- > 0;) {
        bool same = k->connections[i].count && sb_addr_equal(&k->connections[i].remote, remote);
        if (same || k->connections[i].count == 0)
            row = i;
        if (same)
            break;
    }
    SB_ASSERT(row < SIM_CONNECTIONS_MAX);
    k->connections[row].remote = *remote;
    k->connections[row].count = count;
    k->connections[row].retransmits = retransmits;
    k->connections[row].mapped = mapped;
}

uint64_t sim_netlink_requests(const sim *s)
{
    return s->kernel.requests;
}

/* ---- answering ---- */

/* argument: where in its dump the request is. */
static void run_answer(sim *s, sim_event *e)
{
    const struct nlmsghdr *request = (const void *)e->bytes;
    sim_slot *slot = sim_slot_get(s, e->target);
    if (!slot) {
        sim_event_free(s, e);
        return;
    }
    if (!(request->nlmsg_flags & NLM_F_DUMP)) {
        answer_one(s, e, request);
        sim_event_free(s, e);
        return;
    }
    _Alignas(8) uint8_t piece[PIECE];
    size_t used = 0;
    uint64_t end = dump_size(s, request);
    bool done = false;
    while (!done && used + MESSAGE_MAX <= sizeof(piece)) {
        struct nlmsghdr *m = (void *)(piece + used);
        if (e->argument >= end) {
            void *body;
            m = start(m, NLMSG_DONE, request, sizeof(int), &body);
            done = true;
        } else if (!dump_at(s, request, e->argument++, m)) {
            continue;
        }
        m->nlmsg_flags |= NLM_F_MULTI;
        used += m->nlmsg_len;
    }
    sb_datagram datagram = {.bytes = piece, .size = used};
    if (!done) {
        sim_event *next = sim_event_new(s, s->now + DELAY, e->size, run_answer);
        next->target = e->target;
        next->argument = e->argument;
        memcpy(next->bytes, e->bytes, e->size);
    }
    sim_event_free(s, e);
    slot->udp->received(slot->owner, sim_slot_name(slot), &datagram);
}

static void run_message(sim *s, sim_event *e)
{
    const sim_slot *slot = sim_slot_get(s, e->target);
    sb_datagram datagram = {.bytes = e->bytes, .size = e->size};
    if (slot)
        slot->udp->received(slot->owner, e->target, &datagram);
    sim_event_free(s, e);
}

static void run_lost(sim *s, sim_event *e)
{
    const sim_slot *slot = sim_slot_get(s, e->target);
    if (slot && slot->udp->failed)
        slot->udp->failed(slot->owner, e->target, SB_NOMEM);
    sim_event_free(s, e);
}

static void answer_one(sim *s, sim_event *to, const struct nlmsghdr *request)
{
    _Alignas(8) uint8_t message[MESSAGE_MAX];
    const sim_kernel *k = &s->kernel;
    write_error(message, request, EOPNOTSUPP);
    if (request->nlmsg_type == RTM_GETLINK) {
        const struct ifinfomsg *body = mnl_nlmsg_get_payload(request);
        int row = link_row(s, (uint32_t)body->ifi_index);
        if (row < 0)
            write_error(message, request, ENODEV);
        else
            write_link(s, (unsigned)row, message, RTM_NEWLINK, request);
    } else if (request->nlmsg_type == RTM_GETROUTE) {
        const struct rtmsg *body = mnl_nlmsg_get_payload(request);
        unsigned row = body->rtm_family == AF_INET6;
        if (k->routes[row].interface == 0)
            write_error(message, request, ENETUNREACH);
        else
            write_route(s, row, message, RTM_NEWROUTE, request);
    } else if (request->nlmsg_type == RTM_GETNEIGH) {
        const struct ndmsg *body = mnl_nlmsg_get_payload(request);
        const struct nlattr *a = sb_netlink_attribute(request, sizeof(*body), NULL);
        sb_addr addr;
        SB_ASSERT(a && mnl_attr_get_type(a) == NDA_DST &&
                  sb_netlink_address(a, body->ndm_family, &addr));
        write_error(message, request, ENOENT);
        for (unsigned i = 0; i < SIM_NEIGHBOURS_MAX; i++)
            if (k->neighbours[i].interface == (uint32_t)body->ndm_ifindex &&
                memcmp(k->neighbours[i].addr.bytes, addr.bytes, 16) == 0)
                write_neighbour(s, i, message, request);
    }
    sim_slot *slot = sim_slot_get(s, to->target);
    const struct nlmsghdr *m = (const void *)message;
    sb_datagram datagram = {.bytes = message, .size = m->nlmsg_len};
    slot->udp->received(slot->owner, to->target, &datagram);
}

/* False: the row does not belong to what was asked. */
static bool dump_at(const sim *s, const struct nlmsghdr *request, uint64_t at, void *buffer)
{
    const sim_kernel *k = &s->kernel;
    if (request->nlmsg_type == RTM_GETADDR) {
        const struct ifaddrmsg *body = mnl_nlmsg_get_payload(request);
        if (k->addresses[at].interface == 0 ||
            af_of(&k->addresses[at].address.addr) != body->ifa_family)
            return false; /* other interfaces are for the reader to tell apart, as of old */
        write_address(s, (unsigned)at, buffer, RTM_NEWADDR, request);
        return true;
    }
    const struct inet_diag_req_v2 *body = mnl_nlmsg_get_payload(request);
    for (unsigned i = 0; i < SIM_CONNECTIONS_MAX; i++) {
        if (at >= k->connections[i].count) {
            at -= k->connections[i].count;
            continue;
        }
        const sb_addr *remote = &k->connections[i].remote;
        uint8_t family = k->connections[i].mapped ? AF_INET6 : af_of(remote);
        if (family != body->sdiag_family || !(body->idiag_states & 1u << ESTABLISHED))
            return false;
        write_connection(s, i, (unsigned)at, buffer, request);
        return true;
    }
    return false;
}

static uint64_t dump_size(const sim *s, const struct nlmsghdr *request)
{
    if (request->nlmsg_type == RTM_GETADDR)
        return SIM_ADDRESSES_MAX;
    uint64_t n = 0;
    for (unsigned i = 0; request->nlmsg_type == SOCK_DIAG_BY_FAMILY && i < SIM_CONNECTIONS_MAX; i++)
        n += s->kernel.connections[i].count;
    return n;
}

/* ---- messages ---- */

static struct nlmsghdr *start(void *buffer, uint16_t type, const struct nlmsghdr *request,
                              size_t size, void **ret_body)
{
    struct nlmsghdr *m = mnl_nlmsg_put_header(buffer);
    m->nlmsg_type = type;
    m->nlmsg_seq = request ? request->nlmsg_seq : 0;
    *ret_body = mnl_nlmsg_put_extra_header(m, size);
    return m;
}

static void write_error(void *buffer, const struct nlmsghdr *request, int error)
{
    void *body;
    (void)start(buffer, NLMSG_ERROR, request, sizeof(struct nlmsgerr), &body);
    *(struct nlmsgerr *)body = (struct nlmsgerr){.error = -error, .msg = *request};
}

static void write_link(const sim *s, unsigned row, void *buffer, uint16_t type,
                       const struct nlmsghdr *request)
{
    void *body;
    struct nlmsghdr *m = start(buffer, type, request, sizeof(struct ifinfomsg), &body);
    *(struct ifinfomsg *)body = (struct ifinfomsg){.ifi_index = (int)s->kernel.links[row].index,
                                                   .ifi_flags = s->kernel.links[row].flags};
    mnl_attr_put_u32(m, IFLA_MTU, 1500);
    mnl_attr_put_strz(m, IFLA_IFNAME, s->kernel.links[row].name);
}

static void write_address(const sim *s, unsigned row, void *buffer, uint16_t type,
                          const struct nlmsghdr *request)
{
    const sb_prefix *address = &s->kernel.addresses[row].address;
    void *body;
    struct nlmsghdr *m = start(buffer, type, request, sizeof(struct ifaddrmsg), &body);
    *(struct ifaddrmsg *)body = (struct ifaddrmsg){
        .ifa_family = af_of(&address->addr),
        .ifa_prefixlen = address->bits,
        .ifa_scope = sb_addr_is_link_local(&address->addr) ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
        .ifa_index = s->kernel.addresses[row].interface};
    sb_netlink_put_address(m, IFA_ADDRESS, &address->addr);
    if (address->addr.family == SB_FAMILY_4)
        sb_netlink_put_address(m, IFA_LOCAL, &address->addr);
}

static void write_route(const sim *s, unsigned family, void *buffer, uint16_t type,
                        const struct nlmsghdr *request)
{
    const sb_addr *gateway = &s->kernel.routes[family].gateway;
    const sb_addr *source = &s->kernel.routes[family].source;
    void *body;
    struct nlmsghdr *m = start(buffer, type, request, sizeof(struct rtmsg), &body);
    *(struct rtmsg *)body = (struct rtmsg){.rtm_family = family ? AF_INET6 : AF_INET,
                                           .rtm_table = RT_TABLE_MAIN,
                                           .rtm_type = RTN_UNICAST,
                                           .rtm_flags = request ? RTM_F_CLONED : 0};
    mnl_attr_put_u32(m, RTA_OIF, s->kernel.routes[family].interface);
    if (gateway->family != SB_FAMILY_NONE && (gateway->family == SB_FAMILY_6) == (family == 1)) {
        sb_netlink_put_address(m, RTA_GATEWAY, gateway);
    } else if (gateway->family == SB_FAMILY_6) {
        uint8_t via[2 + 16];
        const uint16_t af = AF_INET6;
        memcpy(via, &af, 2);
        memcpy(via + 2, gateway->bytes, 16);
        mnl_attr_put(m, RTA_VIA, sizeof(via), via);
    }
    if (request && source->family != SB_FAMILY_NONE)
        sb_netlink_put_address(m, RTA_PREFSRC, source);
}

static void write_neighbour(const sim *s, unsigned row, void *buffer,
                            const struct nlmsghdr *request)
{
    void *body;
    struct nlmsghdr *m = start(buffer, RTM_NEWNEIGH, request, sizeof(struct ndmsg), &body);
    *(struct ndmsg *)body = (struct ndmsg){.ndm_family = af_of(&s->kernel.neighbours[row].addr),
                                           .ndm_ifindex = (int)s->kernel.neighbours[row].interface,
                                           .ndm_state = NUD_STALE};
    sb_netlink_put_address(m, NDA_DST, &s->kernel.neighbours[row].addr);
    mnl_attr_put(m, NDA_LLADDR, 6, s->kernel.neighbours[row].hardware);
}

static void write_connection(const sim *s, unsigned row, unsigned number, void *buffer,
                             const struct nlmsghdr *request)
{
    const sb_addr *remote = &s->kernel.connections[row].remote;
    bool mapped = s->kernel.connections[row].mapped;
    void *body;
    (void)start(buffer, SOCK_DIAG_BY_FAMILY, request, sizeof(struct inet_diag_msg), &body);
    struct inet_diag_msg *d = body;
    d->idiag_family = mapped ? AF_INET6 : af_of(remote);
    d->idiag_state = ESTABLISHED;
    d->idiag_retrans = s->kernel.connections[row].retransmits;
    d->id.idiag_sport = (uint16_t)(32768 + number % 28232);
    d->id.idiag_dport = (uint16_t)(remote->port << 8 | remote->port >> 8);
    uint8_t *to = (uint8_t *)d->id.idiag_dst;
    if (mapped) {
        to[10] = to[11] = 0xff;
        memcpy(to + 12, remote->bytes, 4);
    } else {
        memcpy(to, remote->bytes, remote->family == SB_FAMILY_6 ? 16 : 4);
    }
    d->id.idiag_if = remote->scope;
}

static int link_row(const sim *s, uint32_t index)
{
    for (unsigned i = 0; i < SIM_LINKS_MAX; i++)
        if (s->kernel.links[i].index == index)
            return (int)i;
    return -1;
}

static void notify(sim *s, uint32_t group, const void *message)
{
    const struct nlmsghdr *m = message;
    for (uint32_t i = 0; i < s->slot_count; i++) {
        const sim_slot *slot = &s->slots[i];
        if (slot->kind != SIM_NETLINK || !(slot->netlink_groups & group))
            continue;
        sim_event *e = sim_event_new(s, s->now + DELAY, m->nlmsg_len, run_message);
        e->target = sim_slot_name(slot);
        memcpy(e->bytes, message, m->nlmsg_len);
    }
}
