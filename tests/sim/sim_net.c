/* Datagrams of the simulated machine: binding, links that delay, lose, repeat and reorder, ICMP,
 * and the forger's way in. One thread. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "sim/sim_internal.h"

#define EPHEMERAL_FIRST 32768u
#define EPHEMERAL_COUNT 28232u
/* What a whole datagram may be; more is EMSGSIZE. */
#define DATAGRAM_MAX 65507u

static void run_to_program(sim *s, sim_event *e);
static void run_to_host(sim *s, sim_event *e);
static void run_icmp(sim *s, sim_event *e);
static void deliver(sim *s, sim_slot *slot, const sim_event *e);
static sim_slot *receiver(sim *s, const sb_addr *from, const sb_addr *to);
static void through_link(sim *s, sim_host *host, const sb_addr *from, const sb_addr *to,
                         const void *bytes, size_t size, bool outwards);

void sim_host_add(sim *s, sim_host *host)
{
    sb_list_push(&s->hosts, &host->link_);
}

void sim_host_remove(sim *s, sim_host *host)
{
    (void)s;
    sb_list_remove(&host->link_);
}

sim_host *sim_host_find(sim *s, const sb_addr *addr)
{
    for (sb_list *it = s->hosts.next; it != &s->hosts; it = it->next) {
        sim_host *host = sb_container_of(it, sim_host, link_);
        if (sb_addr_same_host(&host->addr, addr) &&
            (host->addr.port == 0 || host->addr.port == addr->port))
            return host;
    }
    for (sb_list *it = s->hosts.next; it != &s->hosts; it = it->next) {
        sim_host *host = sb_container_of(it, sim_host, link_);
        if (host->stands_for && host->stands_for(host, addr))
            return host;
    }
    return NULL;
}

sb_ns sim_link_delay(sim *s, const sim_host *host)
{
    return sb_rand_range(&s->net, host->link.delay_min, host->link.delay_max);
}

void sim_packet_seen(sim *s, const sim_packet *packet)
{
    s->packets++;
    sim_trace_mix(s, &s->now, sizeof s->now);
    sim_trace_mix(s, &packet->from, sizeof packet->from);
    sim_trace_mix(s, &packet->to, sizeof packet->to);
    sim_trace_mix(s, packet->bytes, packet->size);
    if (s->verbose) {
        char from[SB_ADDR_TEXT_MAX], to[SB_ADDR_TEXT_MAX];
        fprintf(stderr, "%12.6f %s %s > %s %zu bytes\n", (double)s->now / (double)SB_S,
                packet->stream ? "tcp" : "udp", sb_addr_text_port(&packet->from, from),
                sb_addr_text_port(&packet->to, to), packet->size);
    }
    if (s->on_packet)
        s->on_packet(s->on_packet_context, packet);
}

sb_status sim_udp_open(sb_env *base, const sb_udp_options *options, const sb_udp_events *events,
                       void *owner, sb_socket *ret, sb_why *why)
{
    sim_env *env = sim_env_of(base);
    sim *s = env->s;
    if (env->frozen || sb_rand_chance(&s->net, s->faults.open))
        return sb_why_set(why, SB_LIMIT, "cannot open a socket: too many open files");
    if (options->remote.family != SB_FAMILY_NONE) {
        const sim_host *host = sim_host_find(s, &options->remote);
        if (host && host->reach == SIM_NO_ROUTE)
            return sb_why_set(why, SB_UNREACHABLE, "cannot connect a socket: no route");
    }
    sb_socket name;
    sim_slot *slot = sim_slot_new(s, SIM_UDP, env, &name);
    slot->owner = owner;
    slot->udp = events;
    slot->remote = options->remote;
    slot->remote_set = options->remote.family != SB_FAMILY_NONE;
    sb_addr want = options->local;
    if (slot->remote_set && (want.family == SB_FAMILY_NONE || sb_addr_is_any(&want))) {
        uint16_t port = want.port;
        want = sim_source_for(&options->remote);
        want.port = port;
    }
    sb_status status = sim_bind(s, slot, &want, options->reuse_port, why);
    if (status != SB_OK) {
        sim_slot_close(s, slot);
        return status;
    }
    *ret = name;
    return SB_OK;
}

sb_status sim_bind(sim *s, sim_slot *slot, const sb_addr *want, bool reuse, sb_why *why)
{
    slot->local = *want;
    slot->reuse_port = reuse;
    if (want->port == 0) {
        uint32_t port;
        do {
            port = EPHEMERAL_FIRST + (uint32_t)sb_rand_below(&s->entropy, EPHEMERAL_COUNT);
        } while (s->ports[port]);
        slot->local.port = (uint16_t)port;
    }
    for (uint32_t i = s->ports[slot->local.port]; i; i = s->slots[i - 1].port_next) {
        const sim_slot *other = &s->slots[i - 1];
        if (other->kind == slot->kind && !(reuse && other->reuse_port) &&
            other->local.family == slot->local.family &&
            (sb_addr_is_any(&other->local) || sb_addr_is_any(&slot->local) ||
             sb_addr_same_host(&other->local, &slot->local))) {
            char text[SB_ADDR_TEXT_MAX];
            return sb_why_set(why, SB_EXISTS, "cannot listen on %s: address in use",
                              sb_addr_text_port(&slot->local, text));
        }
    }
    slot->port_next = s->ports[slot->local.port];
    s->ports[slot->local.port] = slot->index + 1;
    slot->connected = true;
    return SB_OK;
}

void sim_unbind(sim *s, sim_slot *slot)
{
    if (!slot->connected || (slot->kind != SIM_UDP && slot->kind != SIM_LISTENER) || slot->path[0])
        return;
    uint32_t *at = &s->ports[slot->local.port];
    while (*at && *at != slot->index + 1)
        at = &s->slots[*at - 1].port_next;
    if (*at)
        *at = slot->port_next;
    slot->connected = false;
}

sb_status sim_udp_send(sb_env *base, sb_socket socket, const sb_addr *to, const sb_addr *from,
                       const void *bytes, size_t size)
{
    sim_env *env = sim_env_of(base);
    sim *s = env->s;
    sim_slot *slot = sim_slot_get(s, socket);
    if (env->frozen || !slot || (slot->kind != SIM_UDP && slot->kind != SIM_NETLINK))
        return SB_CLOSED;
    if (slot->kind == SIM_NETLINK)
        return sim_netlink_send(s, slot, bytes, size);
    if (!to)
        to = &slot->remote;
    if (to->family == SB_FAMILY_NONE || size > DATAGRAM_MAX)
        return SB_INVALID;
    if (sb_rand_chance(&s->net, s->faults.send))
        return SB_AGAIN;
    sb_addr source = slot->local;
    if (sb_addr_is_any(&source) || from) {
        uint16_t port = source.port;
        source = from ? *from : sim_source_for(to);
        source.port = port;
    }
    sim_host *host = sim_host_find(s, to);
    if (host && host->reach == SIM_NO_ROUTE)
        return SB_UNREACHABLE;
    sim_packet packet = {.from = source, .to = *to, .bytes = bytes, .size = size, .socket = socket};
    sim_packet_seen(s, &packet);
    /* The observer may have closed nothing, but the slot array may have moved. */
    if (host && (host->reach == SIM_PORT_CLOSED || host->reach == SIM_UNREACHABLE)) {
        sim_event *e = sim_event_new(s, s->now + sim_link_delay(s, host), 0, run_icmp);
        e->target = socket;
        e->status = host->reach == SIM_PORT_CLOSED ? SB_CONNREFUSED : SB_UNREACHABLE;
    } else if (host && host->reach == SIM_UP) {
        through_link(s, host, &source, to, bytes, size, true);
    } else if (!host) {
        sim_inject(s, &source, to, bytes, size, 10 * SB_US); /* perhaps to itself */
    }
    return SB_OK;
}

sb_status sim_local_address(sb_env *base, sb_socket socket, sb_addr *ret)
{
    sim_slot *slot = sim_slot_get(sim_env_of(base)->s, socket);
    if (!slot)
        return SB_CLOSED;
    *ret = slot->local;
    return SB_OK;
}

sb_status sim_source_address(sb_env *base, const sb_addr *destination, sb_addr *ret_source)
{
    const sim_host *host = sim_host_find(sim_env_of(base)->s, destination);
    if (host && host->reach == SIM_NO_ROUTE)
        return SB_UNREACHABLE;
    *ret_source = sim_source_for(destination);
    return SB_OK;
}

/* The machine has one address of each family, and loopback. */
sb_addr sim_source_for(const sb_addr *remote)
{
    sb_addr addr = {.family = remote->family};
    bool loopback = sb_addr_is_loopback(remote);
    if (remote->family == SB_FAMILY_6) {
        addr.bytes[0] = loopback ? 0 : 0xfd;
        addr.bytes[15] = 1;
    } else {
        addr.family = SB_FAMILY_4;
        addr.bytes[0] = loopback ? 127 : 10;
        addr.bytes[1] = loopback ? 0 : 9;
        addr.bytes[3] = 1;
    }
    return addr;
}

void sim_send(sim *s, const sim_host *host, const sb_addr *to, const void *bytes, size_t size)
{
    through_link(s, (sim_host *)(uintptr_t)host, &host->addr, to, bytes, size, false);
}

void sim_inject(sim *s, const sb_addr *from, const sb_addr *to, const void *bytes, size_t size,
                sb_ns delay)
{
    if (size > DATAGRAM_MAX)
        return;
    sim_event *e = sim_event_new(s, s->now + delay, size ? size : 1, run_to_program);
    e->from = *from;
    e->to = *to;
    e->size = size;
    if (size)
        memcpy(e->bytes, bytes, size);
}

bool sim_reaches(sim *s, const sb_addr *from, const sb_addr *to, sb_socket *ret_socket)
{
    const sim_slot *slot = receiver(s, from, to);
    if (!slot)
        return false;
    *ret_socket = sim_slot_name(slot);
    return true;
}

static void through_link(sim *s, sim_host *host, const sb_addr *from, const sb_addr *to,
                         const void *bytes, size_t size, bool outwards)
{
    if (host->reach != SIM_UP || sb_rand_chance(&s->net, host->link.loss))
        return;
    unsigned copies = sb_rand_chance(&s->net, host->link.duplicate) ? 2 : 1;
    for (; copies > 0; copies--) {
        sb_ns delay = sim_link_delay(s, host);
        if (!outwards) {
            sim_inject(s, from, to, bytes, size, delay);
            continue;
        }
        sim_event *e = sim_event_new(s, s->now + delay, size ? size : 1, run_to_host);
        e->from = *from;
        e->to = *to;
        e->host = host;
        e->size = size;
        if (size)
            memcpy(e->bytes, bytes, size);
    }
}

static void run_to_host(sim *s, sim_event *e)
{
    sim_host *host = sim_host_find(s, &e->to); /* it may be gone or unplugged by now */
    if (host && host->reach == SIM_UP && host->datagram)
        host->datagram(host, s, &e->from, &e->to, e->bytes, e->size);
    sim_event_free(s, e);
}

static void run_to_program(sim *s, sim_event *e)
{
    sim_slot *slot = receiver(s, &e->from, &e->to);
    if (slot) {
        sim_trace_mix(s, &s->now, sizeof s->now);
        sim_trace_mix(s, e->bytes, e->size);
        deliver(s, slot, e);
    }
    sim_event_free(s, e);
}

static void deliver(sim *s, sim_slot *slot, const sim_event *e)
{
    (void)s;
    sb_datagram datagram = {.bytes = e->bytes,
                            .size = e->size,
                            .from = e->from,
                            .to = e->to,
                            .interface = 1,
                            .hop_limit = 64};
    if (slot->udp->received)
        slot->udp->received(slot->owner, sim_slot_name(slot), &datagram);
}

static void run_icmp(sim *s, sim_event *e)
{
    sim_slot *slot = sim_slot_get(s, e->target);
    if (slot && slot->kind == SIM_UDP && slot->udp->failed)
        slot->udp->failed(slot->owner, sim_slot_name(slot), e->status);
    sim_event_free(s, e);
}

/* The kernel's rule: a connected socket takes its peer's packets only, and is preferred. */
static sim_slot *receiver(sim *s, const sb_addr *from, const sb_addr *to)
{
    sim_slot *best = NULL;
    for (uint32_t i = s->ports[to->port]; i; i = s->slots[i - 1].port_next) {
        sim_slot *slot = &s->slots[i - 1];
        if (slot->kind != SIM_UDP || slot->local.family != to->family || slot->env->frozen)
            continue;
        if (!sb_addr_is_any(&slot->local) && !sb_addr_same_host(&slot->local, to))
            continue;
        if (slot->remote_set) {
            if (sb_addr_equal(&slot->remote, from))
                return slot;
        } else {
            best = slot;
        }
    }
    return best;
}
