/* See net/netmon.h. Two sockets: one hears of changes, the other asks, so that a storm of changes
 * never costs an answer. A reading is a chain of steps, each one request and its answer; what the
 * kernel refuses is not there. Loop thread. */
#include "net/netmon.h"

#include <errno.h>
#include <string.h>

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "net/netlink.h"

#define READ_PATIENCE SB_S       /* the kernel answers while we ask: longer is trouble */
#define RETRY_FIRST (10 * SB_MS) /* a machine that slept during a reading has moved, perhaps */
#define RETRY_BLIND SB_S         /* for so long what is known is not trusted */
#define RETRY_MOST (60 * SB_S)
/* Looks for the gateway's link-layer address: it comes with the first packet somebody sends. */
#define LOOK_FIRST (10 * SB_MS)
#define LOOK_FACTOR 3
#define LOOK_MOST (60 * SB_S)
/* A gateway that has not answered for so long is dead rather than new. */
#define UNRESOLVED_MAX SB_S
/* Readings thrown away in a row because the tables moved meanwhile. */
#define SKIPS_MAX 3
#define GROUP(n) (UINT32_C(1) << ((n)-1))
#define GROUPS                                                                                     \
    (GROUP(RTNLGRP_LINK) | GROUP(RTNLGRP_IPV4_IFADDR) | GROUP(RTNLGRP_IPV6_IFADDR) |               \
     GROUP(RTNLGRP_IPV4_ROUTE) | GROUP(RTNLGRP_IPV6_ROUTE) | GROUP(RTNLGRP_IPV4_RULE) |            \
     GROUP(RTNLGRP_IPV6_RULE))

typedef enum step {
    STEP_NONE,
    STEP_ROUTE_4,
    STEP_ROUTE_6,
    STEP_LINK_4,
    STEP_LINK_6,
    STEP_ADDRESSES,
    STEP_NEIGHBOUR,
    STEP_END
} step;

/* How the Internet is reached over one family. */
typedef struct way {
    bool exists;
    uint32_t interface;
    uint32_t flags; /* IFF_*; 0: the link is gone */
    char name[16];
    sb_addr gateway, source;
} way;

struct sb_netmon {
    sb_env *env;
    sb_stats *stats;
    sb_netmon_changed *changed;
    void *context;
    sb_socket watch, ask;
    sb_timer settle; /* armed: something changed */
    sb_timer wait;   /* end of a reading, the next look at the gateway, or the next try */
    sb_ns settle_most;
    sb_ns retry, look; /* present back-offs */
    uint32_t sequence; /* of the request whose answer is awaited */
    step step;
    bool looking; /* for the gateway alone */
    bool again;   /* the reading must be done again */
    bool warned;
    unsigned skips;
    way ways[2];        /* IPv4, IPv6; of the latest reading */
    const way *primary; /* of ways; NULL: no network */
    sb_network next;    /* being read */
    sb_network now;
    uint64_t reach;
    uint64_t side;       /* of the way over IPv6 while IPv4 decided, see side_of; 0 none */
    uint32_t beside;     /* the identity then */
    uint16_t unresolved; /* place whose gateway is not known */
    sb_ns unresolved_since;
    uint32_t remembered[SB_NETMON_REMEMBERED_MAX]; /* the latest first */
};

static void open_sockets(sb_netmon *nm);
static void close_sockets(sb_netmon *nm);
static void give_up(sb_netmon *nm, sb_status status, const char *reason);
static void heard(void *owner, sb_socket socket, const sb_datagram *datagram);
static void lost(void *owner, sb_socket socket, sb_status status);
static bool is_relevant(const struct nlmsghdr *message);
static bool route_is_ours(const struct nlmsghdr *message);
static void touch(sb_netmon *nm);
static void on_settled(sb_timer *timer);
static void on_wait(sb_timer *timer);
static void start_reading(sb_netmon *nm, step first);
static void advance(sb_netmon *nm);
static bool is_needed(const sb_netmon *nm, step at);
static sb_status request(sb_netmon *nm);
static void answered(void *owner, sb_socket socket, const sb_datagram *datagram);
static void not_answered(void *owner, sb_socket socket, sb_status status);
static void take(sb_netmon *nm, const struct nlmsghdr *message);
static void take_route(way *w, int family, const struct nlmsghdr *message);
static void take_link(way *w, const struct nlmsghdr *message);
static void take_address(sb_netmon *nm, const struct nlmsghdr *message);
static void take_neighbour(sb_netmon *nm, const struct nlmsghdr *message);
static void add_prefix(sb_netmon *nm, const sb_addr *addr, uint8_t bits);
static void choose_primary(sb_netmon *nm);
static bool wants_hardware(const sb_netmon *nm);
static void finish_reading(sb_netmon *nm);
static void judge(sb_netmon *nm);
static uint32_t identify(sb_netmon *nm);
static uint16_t place_of(const sb_network *network);
static bool is_of_place(const sb_network *network, const sb_prefix *prefix);
static uint64_t side_of(const way *six);
static uint64_t reach_of(const sb_netmon *nm);
static uint32_t recall(const sb_netmon *nm, uint16_t place);
static void remember(sb_netmon *nm, uint32_t identity);
static void log_change(const sb_network *network, uint32_t old);

static const sb_udp_events watch_events = {heard, lost};
static const sb_udp_events ask_events = {answered, not_answered};

/* A public address of each family which nobody has a route of its own to: a.root-servers.net, the
 * oldest there is. Nothing is ever sent there. */
static const uint8_t target_4[4] = {198, 41, 0, 4};
static const uint8_t target_6[16] = {0x20, 0x01, 0x05, 0x03, 0xba, 0x3e, 0, 0, 0, 0, 0, 2, 0, 0x30};

sb_status sb_netmon_new(sb_env *env, sb_stats *stats, uint32_t remembered,
                        sb_netmon_changed *changed, void *context, sb_netmon **ret)
{
    sb_netmon *nm = sb_new(sb_netmon);
    if (!nm)
        return SB_NOMEM;
    nm->env = env;
    nm->stats = stats;
    nm->changed = changed;
    nm->context = context;
    nm->retry = RETRY_FIRST;
    sb_timer_init(&nm->settle, on_settled);
    sb_timer_init(&nm->wait, on_wait);
    remember(nm, remembered);
    open_sockets(nm);
    *ret = nm;
    return SB_OK;
}

void sb_netmon_free(sb_netmon *nm)
{
    if (!nm)
        return;
    close_sockets(nm);
    sb_timer_stop(nm->env, &nm->settle);
    sb_timer_stop(nm->env, &nm->wait);
    sb_free(nm);
}

const sb_network *sb_netmon_network(const sb_netmon *nm)
{
    return &nm->now;
}

bool sb_netmon_unsettled(const sb_netmon *nm)
{
    if (!nm->now.available)
        return sb_timer_armed(&nm->wait) && nm->retry < RETRY_BLIND;
    bool gateway =
        nm->unresolved != 0 && sb_env_now(nm->env) - nm->unresolved_since < UNRESOLVED_MAX;
    return !nm->now.read || sb_timer_armed(&nm->settle) || nm->again ||
           (nm->step != STEP_NONE && !nm->looking) || gateway;
}

void sb_netmon_look(sb_netmon *nm)
{
    if (nm->unresolved != 0 && nm->step == STEP_NONE && sb_socket_valid(nm->ask))
        sb_timer_set(nm->env, &nm->wait, sb_env_now(nm->env));
}

/* ---- sockets ---- */

static void open_sockets(sb_netmon *nm)
{
    const sb_env_ops *ops = nm->env->ops;
    sb_why why = {0};
    sb_status status =
        ops->netlink_open(nm->env, NETLINK_ROUTE, GROUPS, &watch_events, nm, &nm->watch, &why);
    if (status == SB_OK)
        status = ops->netlink_open(nm->env, NETLINK_ROUTE, 0, &ask_events, nm, &nm->ask, &why);
    if (status != SB_OK) {
        give_up(nm, status, why.text);
        return;
    }
    nm->now.available = true;
    start_reading(nm, STEP_ROUTE_4);
}

static void close_sockets(sb_netmon *nm)
{
    sb_socket *sockets[] = {&nm->watch, &nm->ask};
    for (size_t i = 0; i < SB_ARRAY_SIZE(sockets); i++) {
        if (sb_socket_valid(*sockets[i]))
            nm->env->ops->close(nm->env, *sockets[i]);
        *sockets[i] = (sb_socket){0};
    }
    nm->step = STEP_NONE;
}

/* What was known stays: a monitor that fails is no network that went away. Tried again later,
 * except where it is forbidden. */
static void give_up(sb_netmon *nm, sb_status status, const char *reason)
{
    close_sockets(nm);
    sb_timer_stop(nm->env, &nm->settle);
    nm->now.available = false;
    if (!nm->warned)
        sb_log(NET, WARN, "network changes are not noticed", "reason=%s", SB_Q(reason));
    nm->warned = true;
    if (status == SB_PERM || status == SB_UNSUPPORTED) {
        sb_timer_stop(nm->env, &nm->wait);
        return;
    }
    sb_timer_set(nm->env, &nm->wait, sb_env_now(nm->env) + nm->retry);
    nm->retry = nm->retry < RETRY_MOST / 2 ? nm->retry * 2 : RETRY_MOST;
}

/* ---- hearing of changes ---- */

static void heard(void *owner, sb_socket socket, const sb_datagram *datagram)
{
    (void)socket;
    sb_netmon *nm = owner;
    sb_netlink_walk walk = sb_netlink_walk_of(datagram);
    const struct nlmsghdr *message;
    while ((message = sb_netlink_next(&walk)))
        if (is_relevant(message)) {
            touch(nm);
            return;
        }
}

static void lost(void *owner, sb_socket socket, sb_status status)
{
    (void)socket;
    sb_netmon *nm = owner;
    if (status != SB_NOMEM) {
        give_up(nm, status, sb_status_text(status));
        return;
    }
    if (nm->stats)
        sb_count(nm->stats, SB_COUNT_NETWORK_LOST);
    touch(nm);
}

static bool is_relevant(const struct nlmsghdr *message)
{
    switch (message->nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
    case RTM_NEWADDR:
    case RTM_DELADDR:
    case RTM_NEWRULE:
    case RTM_DELRULE:
        return true;
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
        return route_is_ours(message);
    default:
        return false;
    }
}

/* Routes elsewhere come and go by the thousand on routers and container hosts. */
static bool route_is_ours(const struct nlmsghdr *message)
{
    const struct rtmsg *route = sb_netlink_body(message, sizeof(*route));
    if (!route || (route->rtm_flags & RTM_F_CLONED))
        return false;
    bool v6 = route->rtm_family == AF_INET6;
    if ((!v6 && route->rtm_family != AF_INET) || route->rtm_dst_len > (v6 ? 128 : 32))
        return false;
    sb_addr target = v6 ? sb_addr_6(target_6, 0) : sb_addr_4(target_4, 0);
    sb_prefix to = {.addr = {.family = target.family}, .bits = route->rtm_dst_len};
    const struct nlattr *a = NULL;
    while ((a = sb_netlink_attribute(message, sizeof(*route), a)))
        if (mnl_attr_get_type(a) == RTA_DST && !sb_netlink_address(a, route->rtm_family, &to.addr))
            return false;
    return sb_prefix_contains(&to, &target);
}

static void touch(sb_netmon *nm)
{
    sb_ns now = sb_env_now(nm->env);
    if (!sb_timer_armed(&nm->settle))
        nm->settle_most = now + SB_NETMON_SETTLE_MOST;
    sb_ns at = now + SB_NETMON_SETTLE_QUIET;
    sb_timer_set(nm->env, &nm->settle, at < nm->settle_most ? at : nm->settle_most);
}

static void on_settled(sb_timer *timer)
{
    sb_netmon *nm = sb_container_of(timer, sb_netmon, settle);
    if (nm->step != STEP_NONE)
        nm->again = true;
    else
        start_reading(nm, STEP_ROUTE_4);
}

static void on_wait(sb_timer *timer)
{
    sb_netmon *nm = sb_container_of(timer, sb_netmon, wait);
    if (!sb_socket_valid(nm->ask))
        open_sockets(nm);
    else if (nm->step != STEP_NONE)
        give_up(nm, SB_TIMEOUT, "the kernel did not answer");
    else
        start_reading(nm, STEP_NEIGHBOUR);
}

/* ---- reading ---- */

/* From the first step on, or the gateway alone with all else as it was. */
static void start_reading(sb_netmon *nm, step first)
{
    nm->looking = first == STEP_NEIGHBOUR;
    nm->again = false;
    if (nm->looking) {
        nm->next = nm->now;
        nm->next.hardware_size = 0;
    } else {
        nm->next = (sb_network){.available = true, .read = true};
        memset(nm->ways, 0, sizeof(nm->ways));
        nm->primary = NULL;
    }
    sb_timer_set(nm->env, &nm->wait, sb_env_now(nm->env) + READ_PATIENCE);
    nm->step = (step)(first - 1);
    advance(nm);
}

static void advance(sb_netmon *nm)
{
    do {
        nm->step = (step)(nm->step + 1);
        if (nm->step == STEP_ADDRESSES)
            choose_primary(nm);
    } while (nm->step != STEP_END && !is_needed(nm, nm->step));
    if (nm->step == STEP_END) {
        finish_reading(nm);
        return;
    }
    sb_status status = request(nm);
    if (status != SB_OK)
        give_up(nm, status, sb_status_text(status));
}

static bool is_needed(const sb_netmon *nm, step at)
{
    switch (at) {
    case STEP_LINK_4:
        return nm->ways[0].exists;
    case STEP_LINK_6:
        return nm->ways[1].exists;
    case STEP_ADDRESSES:
        return nm->primary != NULL;
    case STEP_NEIGHBOUR:
        return wants_hardware(nm);
    default:
        return true;
    }
}

static sb_status request(sb_netmon *nm)
{
    _Alignas(struct nlmsghdr) uint8_t buffer[SB_NETLINK_REQUEST_MAX];
    struct nlmsghdr *r;
    void *body;
    bool second = nm->step == STEP_ROUTE_6 || nm->step == STEP_LINK_6;
    nm->sequence++;
    if (nm->step == STEP_ROUTE_4 || nm->step == STEP_ROUTE_6) {
        sb_addr target = second ? sb_addr_6(target_6, 0) : sb_addr_4(target_4, 0);
        r = sb_netlink_request(buffer, RTM_GETROUTE, 0, nm->sequence, sizeof(struct rtmsg), &body);
        *(struct rtmsg *)body = (struct rtmsg){.rtm_family = second ? AF_INET6 : AF_INET,
                                               .rtm_dst_len = second ? 128 : 32};
        sb_netlink_put_address(r, RTA_DST, &target);
    } else if (nm->step == STEP_LINK_4 || nm->step == STEP_LINK_6) {
        r = sb_netlink_request(buffer, RTM_GETLINK, 0, nm->sequence, sizeof(struct ifinfomsg),
                               &body);
        ((struct ifinfomsg *)body)->ifi_index = (int)nm->ways[second].interface;
    } else if (nm->step == STEP_ADDRESSES) {
        r = sb_netlink_request(buffer, RTM_GETADDR, NLM_F_DUMP, nm->sequence,
                               sizeof(struct ifaddrmsg), &body);
        *(struct ifaddrmsg *)body =
            (struct ifaddrmsg){.ifa_family = nm->primary == &nm->ways[1] ? AF_INET6 : AF_INET,
                               .ifa_index = nm->primary->interface};
    } else {
        r = sb_netlink_request(buffer, RTM_GETNEIGH, 0, nm->sequence, sizeof(struct ndmsg), &body);
        bool v6 = nm->next.gateway.family == SB_FAMILY_6;
        *(struct ndmsg *)body = (struct ndmsg){.ndm_family = v6 ? AF_INET6 : AF_INET,
                                               .ndm_ifindex = (int)nm->next.interface};
        sb_netlink_put_address(r, NDA_DST, &nm->next.gateway);
    }
    return nm->env->ops->udp_send(nm->env, nm->ask, NULL, NULL, buffer, r->nlmsg_len);
}

/* Answers to earlier requests carry another number. */
static void answered(void *owner, sb_socket socket, const sb_datagram *datagram)
{
    (void)socket;
    sb_netmon *nm = owner;
    sb_netlink_walk walk = sb_netlink_walk_of(datagram);
    const struct nlmsghdr *message;
    while ((message = sb_netlink_next(&walk))) {
        if (nm->step == STEP_NONE || message->nlmsg_seq != nm->sequence)
            continue;
        if (message->nlmsg_flags & NLM_F_DUMP_INTR)
            nm->again = true;
        int error = 0;
        bool end = message->nlmsg_type == NLMSG_ERROR || message->nlmsg_type == NLMSG_DONE;
        if (end)
            error = sb_netlink_error(message);
        else if (message->nlmsg_type >= NLMSG_MIN_TYPE)
            take(nm, message);
        if (error == ENOMEM || error == ENOBUFS || error == EBUSY || error == EAGAIN) {
            give_up(nm, sb_status_from_errno(error), "the kernel is short of memory");
            return;
        }
        if (end || !(message->nlmsg_flags & NLM_F_MULTI))
            advance(nm);
    }
}

static void not_answered(void *owner, sb_socket socket, sb_status status)
{
    (void)socket;
    give_up(owner, status, sb_status_text(status));
}

static void take(sb_netmon *nm, const struct nlmsghdr *message)
{
    switch (nm->step) {
    case STEP_ROUTE_4:
        take_route(&nm->ways[0], AF_INET, message);
        break;
    case STEP_ROUTE_6:
        take_route(&nm->ways[1], AF_INET6, message);
        break;
    case STEP_LINK_4:
        take_link(&nm->ways[0], message);
        break;
    case STEP_LINK_6:
        take_link(&nm->ways[1], message);
        break;
    case STEP_ADDRESSES:
        take_address(nm, message);
        break;
    case STEP_NEIGHBOUR:
        take_neighbour(nm, message);
        break;
    case STEP_NONE:
    case STEP_END:
        break;
    }
}

/* An IPv4 route may go through an IPv6 gateway (RTA_VIA). */
static void take_route(way *w, int family, const struct nlmsghdr *message)
{
    const struct rtmsg *route = sb_netlink_body(message, sizeof(*route));
    if (message->nlmsg_type != RTM_NEWROUTE || !route || route->rtm_family != family ||
        route->rtm_type != RTN_UNICAST)
        return;
    const struct nlattr *a = NULL;
    while ((a = sb_netlink_attribute(message, sizeof(*route), a))) {
        const struct rtvia *via = mnl_attr_get_payload(a);
        switch (mnl_attr_get_type(a)) {
        case RTA_OIF:
            w->exists = sb_netlink_u32(a, &w->interface) && w->interface != 0;
            break;
        case RTA_GATEWAY:
            (void)sb_netlink_address(a, family, &w->gateway);
            break;
        case RTA_VIA:
            if (mnl_attr_get_payload_len(a) == sizeof(*via) + 16 && via->rtvia_family == AF_INET6)
                w->gateway = sb_addr_6(via->rtvia_addr, 0);
            break;
        case RTA_PREFSRC:
            (void)sb_netlink_address(a, family, &w->source);
            break;
        default:
            break;
        }
    }
    if (sb_addr_is_link_local(&w->gateway))
        w->gateway.scope = w->interface;
}

static void take_link(way *w, const struct nlmsghdr *message)
{
    const struct ifinfomsg *link = sb_netlink_body(message, sizeof(*link));
    if (message->nlmsg_type != RTM_NEWLINK || !link || link->ifi_index != (int)w->interface)
        return;
    w->flags = link->ifi_flags;
    const struct nlattr *a = NULL;
    while ((a = sb_netlink_attribute(message, sizeof(*link), a))) {
        size_t size = mnl_attr_get_payload_len(a);
        if (mnl_attr_get_type(a) != IFLA_IFNAME || size > sizeof(w->name))
            continue;
        memset(w->name, 0, sizeof(w->name));
        memcpy(w->name, mnl_attr_get_payload(a), size < 15 ? size : 15);
    }
}

/* On a point-to-point link IFA_ADDRESS is the other end, which is what is on the link. */
static void take_address(sb_netmon *nm, const struct nlmsghdr *message)
{
    const struct ifaddrmsg *found = sb_netlink_body(message, sizeof(*found));
    bool v6 = nm->primary == &nm->ways[1];
    if (message->nlmsg_type != RTM_NEWADDR || !found || found->ifa_index != nm->next.interface ||
        found->ifa_family != (v6 ? AF_INET6 : AF_INET) || found->ifa_scope >= RT_SCOPE_LINK)
        return;
    sb_addr address = {0}, local = {0};
    const struct nlattr *a = NULL;
    while ((a = sb_netlink_attribute(message, sizeof(*found), a))) {
        if (mnl_attr_get_type(a) == IFA_ADDRESS)
            (void)sb_netlink_address(a, found->ifa_family, &address);
        else if (mnl_attr_get_type(a) == IFA_LOCAL)
            (void)sb_netlink_address(a, found->ifa_family, &local);
    }
    uint8_t all = v6 ? 128 : 32;
    bool host = found->ifa_prefixlen == all &&
                (local.family == SB_FAMILY_NONE || sb_addr_equal(&local, &address));
    if (address.family != SB_FAMILY_NONE && found->ifa_prefixlen <= all && !host)
        add_prefix(nm, &address, found->ifa_prefixlen);
}

static void take_neighbour(sb_netmon *nm, const struct nlmsghdr *message)
{
    const struct ndmsg *found = sb_netlink_body(message, sizeof(*found));
    if (message->nlmsg_type != RTM_NEWNEIGH || !found ||
        found->ndm_ifindex != (int)nm->next.interface ||
        !(found->ndm_state & (NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT)))
        return;
    const struct nlattr *a = NULL;
    while ((a = sb_netlink_attribute(message, sizeof(*found), a))) {
        uint16_t size = mnl_attr_get_payload_len(a);
        if (mnl_attr_get_type(a) != NDA_LLADDR || size > SB_NETMON_HARDWARE_MAX)
            continue;
        memcpy(nm->next.hardware, mnl_attr_get_payload(a), size);
        nm->next.hardware_size = (uint8_t)size;
    }
}

/* Ascending and without doubles, so that the order of a dump does not matter; of too many the
 * least stay, whatever their order. */
static void add_prefix(sb_netmon *nm, const sb_addr *addr, uint8_t bits)
{
    sb_network *n = &nm->next;
    sb_prefix add = {.addr = *addr, .bits = bits};
    for (unsigned i = 0; i < sizeof(add.addr.bytes); i++) {
        unsigned keep = bits > i * 8 ? bits - i * 8 : 0;
        if (keep < 8)
            add.addr.bytes[i] &= (uint8_t)(0xff00 >> keep);
    }
    unsigned at = 0;
    for (; at < n->prefix_count; at++) {
        int order = sb_addr_compare(&add.addr, &n->prefixes[at].addr);
        if (order == 0 && bits == n->prefixes[at].bits)
            return;
        if (order < 0 || (order == 0 && bits < n->prefixes[at].bits))
            break;
    }
    if (n->prefix_count == SB_NETMON_PREFIXES_MAX) {
        if (nm->stats)
            sb_count(nm->stats, SB_COUNT_LIMIT_ADDRESSES);
        if (at == SB_NETMON_PREFIXES_MAX)
            return;
        n->prefix_count--;
    }
    memmove(&n->prefixes[at + 1], &n->prefixes[at], (n->prefix_count - at) * sizeof(add));
    n->prefixes[at] = add;
    n->prefix_count++;
}

static bool is_up(const way *w)
{
    return w->exists &&
           (w->flags & (IFF_UP | IFF_RUNNING | IFF_LOOPBACK)) == (IFF_UP | IFF_RUNNING);
}

static void choose_primary(sb_netmon *nm)
{
    sb_network *n = &nm->next;
    for (unsigned i = 0; i < 2; i++)
        if (is_up(&nm->ways[i]))
            n->source[i] = nm->ways[i].source;
    nm->primary = is_up(&nm->ways[0]) ? &nm->ways[0] : is_up(&nm->ways[1]) ? &nm->ways[1] : NULL;
    if (!nm->primary)
        return;
    memcpy(n->name, nm->primary->name, sizeof(n->name));
    n->interface = nm->primary->interface;
    n->gateway = nm->primary->gateway;
}

static bool wants_hardware(const sb_netmon *nm)
{
    return nm->primary && nm->next.gateway.family != SB_FAMILY_NONE &&
           !(nm->primary->flags & (IFF_NOARP | IFF_POINTOPOINT));
}

/* ---- judging what was read ---- */

/* Tables that moved meanwhile are read again, but a router that never rests is believed at last. */
static void finish_reading(sb_netmon *nm)
{
    nm->step = STEP_NONE;
    sb_timer_stop(nm->env, &nm->wait);
    nm->retry = RETRY_FIRST;
    bool moved = nm->again || sb_timer_armed(&nm->settle);
    if (moved && nm->skips < SKIPS_MAX) {
        nm->skips++;
        if (!sb_timer_armed(&nm->settle))
            touch(nm);
        return;
    }
    nm->skips = 0;
    if (nm->warned)
        sb_log(NET, INFO, "network changes are noticed again", "network=%08x", nm->now.identity);
    nm->warned = false;
    judge(nm);
}

static void judge(sb_netmon *nm)
{
    uint32_t old = nm->now.identity;
    uint64_t reach = reach_of(nm);
    bool first = !nm->now.read;
    nm->next.identity = identify(nm);
    if (nm->primary == &nm->ways[0]) {
        bool beside = nm->ways[0].interface == nm->ways[1].interface;
        nm->side = beside ? side_of(&nm->ways[1]) : 0;
        nm->beside = nm->next.identity;
    }
    bool told = first || nm->next.identity != old || reach != nm->reach;
    nm->now = nm->next;
    nm->reach = reach;
    if (wants_hardware(nm) && nm->now.hardware_size == 0) {
        nm->look = !nm->looking                         ? LOOK_FIRST
                   : nm->look < LOOK_MOST / LOOK_FACTOR ? nm->look * LOOK_FACTOR
                                                        : LOOK_MOST;
        sb_timer_set(nm->env, &nm->wait, sb_env_now(nm->env) + nm->look);
    }
    if (!told)
        return;
    if (nm->stats && !first)
        sb_count(nm->stats,
                 nm->now.identity != old ? SB_COUNT_NETWORK_CHANGES : SB_COUNT_NETWORK_REACH);
    log_change(&nm->now, old);
    nm->changed(nm->context, old, nm->now.identity);
}

/* While the gateway's link-layer address is not known, nothing says that this is another network
 * than the one that looks the same: the present one at once, one of the past when the gateway
 * stays silent (or at the start, when it may be dead and the cache is all there is). */
static uint32_t identify(sb_netmon *nm)
{
    uint16_t place = nm->primary ? place_of(&nm->next) : 0;
    sb_ns now = sb_env_now(nm->env);
    /* A lease that ran out, or has not come yet, takes nobody elsewhere: over IPv6 all is as it was
     * beside it. */
    if (nm->primary == &nm->ways[1] && nm->side && nm->side == side_of(&nm->ways[1]))
        return nm->beside;
    if (place == 0 || !wants_hardware(nm) || nm->next.hardware_size > 0) {
        static const uint8_t secret[16] = "stubborn gateway";
        uint64_t hash = sb_siphash(secret, nm->next.hardware, nm->next.hardware_size);
        uint32_t identity = (uint32_t)place << 16;
        nm->unresolved = 0;
        if (nm->next.hardware_size > 0) {
            identity |= (uint32_t)(hash % UINT16_MAX + 1);
            remember(nm, identity);
        }
        return identity;
    }
    uint32_t present = nm->now.identity;
    if (sb_network_same_place(present, (uint32_t)place << 16) && (present & UINT16_MAX))
        return present;
    if (nm->unresolved != place) {
        nm->unresolved = place;
        nm->unresolved_since = now;
    }
    uint32_t known = recall(nm, place);
    if (known && (!nm->now.read || now - nm->unresolved_since >= UNRESOLVED_MAX))
        return known;
    return (uint32_t)place << 16;
}

static void write_addr(sb_writer *w, const sb_addr *addr)
{
    sb_write_u8(w, addr->family);
    sb_write_bytes(w, addr->bytes, sizeof(addr->bytes));
}

/* 1…65,535. Neither index nor scope: they change with every boot. */
static uint16_t place_of(const sb_network *n)
{
    static const uint8_t secret[16] = "stubborn network";
    uint8_t bytes[16 + 17 + SB_NETMON_PREFIXES_MAX * 18];
    sb_writer w = sb_writer_of(bytes, sizeof(bytes));
    sb_write_bytes(&w, n->name, sizeof(n->name));
    write_addr(&w, &n->gateway);
    for (unsigned i = 0; i < n->prefix_count; i++) {
        if (!is_of_place(n, &n->prefixes[i]))
            continue;
        write_addr(&w, &n->prefixes[i].addr);
        sb_write_u8(&w, n->prefixes[i].bits);
    }
    SB_ASSERT(!w.failed);
    return (uint16_t)(sb_siphash(secret, bytes, w.size) % UINT16_MAX + 1);
}

/* The prefix that the gateway is on; where that is on none (link-local, a tunnel) the one we leave
 * from. Others come and go with the addresses of services, and nobody moves. */
static bool is_of_place(const sb_network *n, const sb_prefix *prefix)
{
    bool on_link = false;
    for (unsigned i = 0; i < n->prefix_count; i++)
        on_link = on_link || sb_prefix_contains(&n->prefixes[i], &n->gateway);
    return sb_prefix_contains(prefix, on_link ? &n->gateway : &n->source[0]) ||
           (!on_link && sb_prefix_contains(prefix, &n->source[1]));
}

/* 0 when IPv6 leads nowhere, or says nothing: local prefixes are everybody's (RFC 4193 is seldom
 * obeyed). The first half of the address we leave from is the network's; the other may change every
 * day (RFC 8981). */
static uint64_t side_of(const way *six)
{
    static const uint8_t secret[16] = "stubborn beside.";
    uint8_t bytes[16 + 17 + 8];
    if (!is_up(six) || six->source.family != SB_FAMILY_6 || sb_addr_is_private(&six->source))
        return 0;
    sb_writer w = sb_writer_of(bytes, sizeof(bytes));
    sb_write_bytes(&w, six->name, sizeof(six->name));
    write_addr(&w, &six->gateway);
    sb_write_bytes(&w, six->source.bytes, 8);
    SB_ASSERT(!w.failed);
    return sb_siphash(secret, bytes, w.size) | 1;
}

static uint64_t reach_of(const sb_netmon *nm)
{
    static const uint8_t secret[16] = "stubborn reach..";
    uint8_t bytes[2 * (4 + 2 * 17)];
    sb_writer w = sb_writer_of(bytes, sizeof(bytes));
    for (unsigned i = 0; i < 2; i++) {
        static const way none;
        const way *out = is_up(&nm->ways[i]) ? &nm->ways[i] : &none;
        sb_write_u32(&w, out->interface);
        write_addr(&w, &out->gateway);
        write_addr(&w, &out->source);
    }
    SB_ASSERT(!w.failed);
    return sb_siphash(secret, bytes, w.size);
}

static uint32_t recall(const sb_netmon *nm, uint16_t place)
{
    for (unsigned i = 0; i < SB_NETMON_REMEMBERED_MAX; i++)
        if (nm->remembered[i] >> 16 == place)
            return nm->remembered[i];
    return 0;
}

/* One per place; without the gateway's half there is nothing to recognise. */
static void remember(sb_netmon *nm, uint32_t identity)
{
    if (identity >> 16 == 0 || (identity & UINT16_MAX) == 0)
        return;
    unsigned at = 0;
    while (at < SB_NETMON_REMEMBERED_MAX - 1 &&
           !sb_network_same_place(nm->remembered[at], identity))
        at++;
    memmove(&nm->remembered[1], &nm->remembered[0], at * sizeof(nm->remembered[0]));
    nm->remembered[0] = identity;
}

static void log_change(const sb_network *n, uint32_t old)
{
    char gateway[SB_ADDR_TEXT_MAX];
    if (n->identity == 0)
        sb_log(NET, INFO, "no network", "from=%08x", old);
    else
        sb_log(NET, INFO, "network", "from=%08x to=%08x interface=%s gateway=%s", old, n->identity,
               SB_Q(n->name), n->gateway.family ? sb_addr_text(&n->gateway, gateway) : "none");
}
