/* The network monitor on the simulated kernel: identity, settling, what is noticed and what not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "net/netmon.h"
#include "sim/sim_env.h"

typedef struct world {
    sim *s;
    sb_env *env;
    sb_stats stats;
    sb_netmon *nm;
    unsigned calls;
    uint32_t old, new;
    sb_ns at;
} world;

static void changed(void *context, uint32_t old, uint32_t new)
{
    world *w = context;
    w->calls++;
    w->old = old;
    w->new = new;
    w->at = sim_now(w->s);
}

static int setup(void **state)
{
    world *w = test_calloc(1, sizeof(*w));
    w->s = sim_new();
    sim_reset(w->s, 7);
    w->env = sim_process_start(w->s);
    sb_stats_init(&w->stats);
    sb_log_set_level(SB_LOG_NET, SB_LOG_ERROR);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    sb_netmon_free(w->nm);
    assert_int_equal(sim_process_leaks(w->s, w->env), 0);
    sim_process_end(w->s, w->env, 0);
    sim_free(w->s);
    test_free(w);
    return 0;
}

static void run(world *w, sb_ns time)
{
    sb_ns until = sim_now(w->s) + time;
    while (sim_step(w->s, until))
        ;
}

static void start(world *w, uint32_t remembered)
{
    assert_int_equal(sb_netmon_new(w->env, &w->stats, remembered, changed, w, &w->nm), SB_OK);
    assert_int_equal(w->calls, 0); /* never under its caller */
    run(w, 5 * SB_MS);
}

static void restart(world *w, uint32_t remembered)
{
    sb_netmon_free(w->nm);
    w->nm = NULL;
    w->calls = 0;
    start(w, remembered);
}

static uint32_t identity(const world *w)
{
    return sb_netmon_network(w->nm)->identity;
}

static sb_addr addr(const char *text)
{
    sb_addr a;
    assert_true(sb_addr_parse(text, strlen(text), &a));
    return a;
}

static sb_prefix prefix(const char *text, uint8_t bits)
{
    return (sb_prefix){.addr = addr(text), .bits = bits};
}

static void gateway(world *w, const char *text, uint8_t last)
{
    sb_addr a = addr(text);
    const uint8_t hardware[6] = {2, 0, 0, 0, 0, last};
    sim_neighbour_set(w->s, SIM_ETH0, &a, last ? hardware : NULL);
}

static void default_way(world *w, uint32_t index, const char *text)
{
    sb_addr a = addr(text ? text : "0.0.0.0");
    sim_default_set(w->s, SB_FAMILY_4, index, text ? &a : NULL, NULL);
}

/* ---- reading ---- */

static void test_first_reading(void **state)
{
    world *w = *state;
    start(w, 0);
    const sb_network *n = sb_netmon_network(w->nm);
    char text[SB_ADDR_TEXT_MAX];
    assert_int_equal(w->calls, 1);
    assert_int_equal(w->old, 0);
    assert_int_equal(w->new, n->identity);
    assert_true(n->available && n->read);
    assert_true(n->identity >> 16 && n->identity & 0xffff);
    assert_string_equal(n->name, "eth0");
    assert_int_equal(n->interface, SIM_ETH0);
    assert_string_equal(sb_addr_text(&n->gateway, text), "10.9.0.254");
    assert_string_equal(sb_addr_text(&n->source[0], text), "10.9.0.1");
    assert_string_equal(sb_addr_text(&n->source[1], text), "fd00::1");
    assert_int_equal(n->hardware_size, 6);
    assert_int_equal(n->hardware[5], 0xfe);
    assert_int_equal(n->prefix_count, 1);
    assert_string_equal(sb_addr_text(&n->prefixes[0].addr, text), "10.9.0.0");
    assert_int_equal(n->prefixes[0].bits, 24);
    run(w, 600 * SB_S);
    assert_int_equal(w->calls, 1);
    assert_int_equal(sb_stats_get(&w->stats, SB_COUNT_NETWORK_CHANGES), 0);
}

/* Stored in cache files: these numbers must never change. */
static void test_stable(void **state)
{
    world *w = *state;
    start(w, 0);
    uint32_t first = identity(w);
    assert_int_equal(first, 0x97be82c5);
    restart(w, 0);
    assert_int_equal(identity(w), first);
    /* neither the index of the interface nor the order of its addresses matters, nor one that the
     * gateway is not on */
    sb_prefix a = prefix("10.9.0.1", 24), b = prefix("10.7.0.9", 16);
    const uint8_t hardware[6] = {2, 0, 0, 0, 0, 0xfe};
    sim_address_set(w->s, SIM_ETH0, &b, true);
    run(w, SB_S);
    uint32_t both = identity(w);
    assert_int_equal(both, first);
    sim_link_set(w->s, SIM_ETH0, NULL, false, false);
    sim_link_set(w->s, 5, "eth0", true, false);
    sim_address_set(w->s, 5, &b, true);
    sim_address_set(w->s, 5, &a, true);
    sb_addr to = addr("10.9.0.254");
    sim_neighbour_set(w->s, 5, &to, hardware);
    default_way(w, 5, "10.9.0.254");
    run(w, SB_S);
    assert_int_equal(identity(w), both);
    assert_int_equal(sb_netmon_network(w->nm)->interface, 5);
}

static void test_loopback_only(void **state)
{
    world *w = *state;
    sim_link_set(w->s, SIM_ETH0, NULL, false, false);
    start(w, 0);
    assert_int_equal(w->calls, 1);
    assert_int_equal(w->new, 0);
    assert_true(sb_netmon_network(w->nm)->read);
    /* even a default way through loopback is none */
    default_way(w, SIM_LO, NULL);
    run(w, SB_S);
    assert_int_equal(identity(w), 0);
    assert_int_equal(w->calls, 1);
}

/* Without IPv4's default way IPv6's decides; its gateway is link-local and has a scope. */
static void test_ipv6_alone(void **state)
{
    world *w = *state;
    start(w, 0);
    uint32_t four = identity(w);
    default_way(w, 0, NULL);
    restart(w, 0);
    const sb_network *n = sb_netmon_network(w->nm);
    char text[SB_ADDR_TEXT_MAX];
    assert_true(n->identity && n->identity != four);
    assert_string_equal(sb_addr_text(&n->gateway, text), "fe80::fe%2");
    assert_int_equal(n->source[0].family, SB_FAMILY_NONE);
    assert_int_equal(n->prefix_count, 1);
    assert_string_equal(sb_addr_text(&n->prefixes[0].addr, text), "fd00::");
    sim_default_set(w->s, SB_FAMILY_6, 0, NULL, NULL);
    run(w, SB_S);
    assert_int_equal(identity(w), 0);
    assert_int_equal(w->calls, 2);
    assert_int_equal(sb_stats_get(&w->stats, SB_COUNT_NETWORK_CHANGES), 1);
}

/* An IPv4 way through an IPv6 gateway (RTA_VIA). */
static void test_via(void **state)
{
    world *w = *state;
    sb_addr six = addr("fe80::fe");
    sim_default_set(w->s, SB_FAMILY_4, SIM_ETH0, &six, NULL);
    start(w, 0);
    char text[SB_ADDR_TEXT_MAX];
    const sb_network *n = sb_netmon_network(w->nm);
    assert_string_equal(sb_addr_text(&n->gateway, text), "fe80::fe%2");
    assert_int_equal(n->hardware_size, 6);
    assert_string_equal(sb_addr_text(&n->prefixes[0].addr, text), "10.9.0.0");
}

/* Host routes and link-local prefixes are of no network; doubles count once. */
static void test_prefixes(void **state)
{
    world *w = *state;
    sb_prefix vip = prefix("10.9.0.77", 24), host = prefix("10.9.0.99", 32);
    sb_prefix odd = prefix("10.255.129.3", 17), local = prefix("169.254.3.3", 16);
    start(w, 0);
    uint32_t before = identity(w);
    sim_address_set(w->s, SIM_ETH0, &vip, true);
    sim_address_set(w->s, SIM_ETH0, &host, true);
    sim_address_set(w->s, SIM_ETH0, &local, true);
    run(w, SB_S);
    assert_int_equal(identity(w), before);
    assert_int_equal(w->calls, 1);
    sim_address_set(w->s, SIM_ETH0, &odd, true);
    default_way(w, SIM_ETH0, "10.9.0.254"); /* what makes it read them */
    run(w, SB_S);
    const sb_network *n = sb_netmon_network(w->nm);
    char text[SB_ADDR_TEXT_MAX];
    assert_int_equal(n->prefix_count, 2);
    assert_string_equal(sb_addr_text(&n->prefixes[1].addr, text), "10.255.128.0");
    assert_int_equal(n->prefixes[1].bits, 17);
    /* a service's address came: nobody moved */
    assert_int_equal(n->identity, before);
    assert_int_equal(w->calls, 1);
    /* a wider one that the gateway is on as well: the network was laid out anew */
    sb_prefix wide = prefix("10.9.3.1", 16);
    sim_address_set(w->s, SIM_ETH0, &wide, true);
    run(w, SB_S);
    assert_int_not_equal(identity(w), before);
}

/* IPv4's lease runs out in an outage, or comes late: what is over IPv6 tells that nobody moved. */
static void test_lease_lost(void **state)
{
    world *w = *state;
    sb_addr six = addr("fe80::fe"), source = addr("2001:db8:1::5");
    sim_default_set(w->s, SB_FAMILY_6, SIM_ETH0, &six, &source);
    start(w, 0);
    uint32_t home = identity(w);
    default_way(w, 0, NULL);
    run(w, SB_S);
    assert_int_equal(identity(w), home);
    assert_int_equal(w->calls, 2); /* but connections over IPv4 are dead */
    assert_int_equal(w->old, w->new);
    run(w, 600 * SB_S);
    assert_int_equal(identity(w), home);
    sim_link_set(w->s, SIM_ETH0, "eth0", false, false); /* the cable */
    run(w, SB_S);
    assert_int_equal(identity(w), 0);
    sim_link_set(w->s, SIM_ETH0, "eth0", true, false);
    run(w, SB_S);
    assert_int_equal(identity(w), home);
    default_way(w, SIM_ETH0, "10.9.0.254");
    run(w, SB_S);
    assert_int_equal(identity(w), home);
    /* over another gateway of IPv6 it is elsewhere */
    default_way(w, 0, NULL);
    sb_addr other = addr("fe80::fd");
    sim_default_set(w->s, SB_FAMILY_6, SIM_ETH0, &other, &source);
    run(w, SB_S);
    assert_true(identity(w) != 0 && identity(w) != home);
}

/* Local prefixes are everybody's, and over another interface it is elsewhere. */
static void test_lease_lost_unknown(void **state)
{
    world *w = *state;
    sb_addr six = addr("fe80::fe"), source = addr("2001:db8:1::5");
    start(w, 0);
    uint32_t home = identity(w);
    default_way(w, 0, NULL);
    run(w, SB_S);
    assert_true(identity(w) != 0 && identity(w) != home);
    default_way(w, SIM_ETH0, "10.9.0.254");
    sim_link_set(w->s, 7, "wwan0", true, true);
    sim_default_set(w->s, SB_FAMILY_6, 7, &six, &source);
    run(w, SB_S);
    assert_int_equal(identity(w), home);
    default_way(w, 0, NULL);
    run(w, SB_S);
    assert_true(identity(w) != 0 && identity(w) != home);
}

/* Of too many the least stay, in whatever order they came. */
static void test_many_prefixes(void **state)
{
    world *w = *state;
    for (unsigned i = 0; i < 40; i++) {
        sb_prefix p = prefix("10.10.0.1", 24);
        p.addr.bytes[1] = (uint8_t)(10 + i * 7 % 40);
        sim_address_set(w->s, SIM_ETH0, &p, true);
    }
    start(w, 0);
    const sb_network *n = sb_netmon_network(w->nm);
    assert_int_equal(n->prefix_count, SB_NETMON_PREFIXES_MAX);
    assert_int_equal(n->prefixes[0].addr.bytes[1], 9);
    for (unsigned i = 1; i < n->prefix_count; i++)
        assert_int_equal(n->prefixes[i].addr.bytes[1], 9 + i);
    assert_true(sb_stats_get(&w->stats, SB_COUNT_LIMIT_ADDRESSES) > 0);
}

/* ---- changes ---- */

static void test_move_in_time(void **state)
{
    world *w = *state;
    start(w, 0);
    uint32_t home = identity(w);
    sb_prefix there = prefix("192.168.7.20", 24), here = prefix("10.9.0.1", 24);
    gateway(w, "192.168.7.1", 9);
    sb_ns at = sim_now(w->s);
    sim_address_set(w->s, SIM_ETH0, &here, false);
    sim_address_set(w->s, SIM_ETH0, &there, true);
    default_way(w, SIM_ETH0, "192.168.7.1");
    run(w, SB_S);
    assert_int_equal(w->calls, 2); /* one event for three messages */
    assert_int_equal(w->old, home);
    assert_int_equal(w->new, identity(w));
    assert_int_not_equal(w->new, home);
    assert_true(w->at - at < 100 * SB_MS);
    assert_int_equal(sb_stats_get(&w->stats, SB_COUNT_NETWORK_CHANGES), 1);
    /* and home again: the number of old */
    sim_address_set(w->s, SIM_ETH0, &there, false);
    sim_address_set(w->s, SIM_ETH0, &here, true);
    default_way(w, SIM_ETH0, "10.9.0.254");
    run(w, SB_S);
    assert_int_equal(identity(w), home);
}

static void test_cable(void **state)
{
    world *w = *state;
    start(w, 0);
    uint32_t home = identity(w);
    sb_ns at = sim_now(w->s);
    sim_link_set(w->s, SIM_ETH0, "eth0", false, false);
    run(w, SB_S);
    assert_int_equal(w->new, 0);
    assert_true(w->at - at < 100 * SB_MS);
    at = sim_now(w->s);
    sim_link_set(w->s, SIM_ETH0, "eth0", true, false);
    run(w, SB_S);
    assert_int_equal(w->new, home);
    assert_true(w->at - at < 100 * SB_MS);
    assert_int_equal(w->calls, 3);
}

/* Messages that never end are not waited for: a change is told within SETTLE_MOST, all the same. */
static void test_storm(void **state)
{
    world *w = *state;
    start(w, 0);
    sb_ns at = sim_now(w->s);
    default_way(w, 0, NULL);
    for (unsigned i = 0; i < 200; i++) {
        sim_link_set(w->s, 3, i & 1 ? "veth1" : "veth2", true, false);
        run(w, 5 * SB_MS);
    }
    assert_int_equal(w->calls, 2);
    assert_true(w->at - at < 4 * SB_NETMON_SETTLE_MOST);
    /* a second of it costs a dozen readings, not two hundred */
    assert_true(sim_netlink_requests(w->s) < 6 + 14 * 6);
}

/* What is read while the tables move is not believed: no network that never was is told of. */
static void test_moved_while_reading(void **state)
{
    world *w = *state;
    start(w, 0);
    uint64_t before = sim_netlink_requests(w->s);
    default_way(w, SIM_ETH0, "10.9.0.33");
    while (sim_netlink_requests(w->s) < before + 3)
        assert_true(sim_step(w->s, sim_now(w->s) + SB_S));
    default_way(w, 0, NULL);
    run(w, SB_S);
    assert_int_equal(w->calls, 2);
    char text[SB_ADDR_TEXT_MAX];
    assert_string_equal(sb_addr_text(&sb_netmon_network(w->nm)->gateway, text), "fe80::fe%2");
}

/* Routes to elsewhere are not even looked at; ways that take half the Internet are. */
static void test_route_noise(void **state)
{
    world *w = *state;
    start(w, 0);
    uint64_t before = sim_netlink_requests(w->s);
    sb_prefix elsewhere = prefix("172.17.0.0", 16), elsewhere6 = prefix("2001:db8::", 32);
    for (unsigned i = 0; i < 1000; i++) {
        sim_route_noise(w->s, i & 1 ? &elsewhere : &elsewhere6);
        run(w, SB_MS);
    }
    run(w, SB_S);
    assert_int_equal(sim_netlink_requests(w->s), before);
    sb_prefix half = prefix("128.0.0.0", 1), third = prefix("2000::", 3);
    sim_route_noise(w->s, &half);
    run(w, SB_S);
    assert_true(sim_netlink_requests(w->s) > before);
    before = sim_netlink_requests(w->s);
    sim_route_noise(w->s, &third);
    run(w, SB_S);
    assert_true(sim_netlink_requests(w->s) > before);
    assert_int_equal(w->calls, 1);
}

/* Messages lost for want of room: the tables are read anew. */
static void test_lost_messages(void **state)
{
    world *w = *state;
    start(w, 0);
    uint64_t before = sim_netlink_requests(w->s);
    sim_netlink_lose(w->s);
    run(w, SB_S);
    assert_true(sim_netlink_requests(w->s) > before);
    assert_int_equal(sb_stats_get(&w->stats, SB_COUNT_NETWORK_LOST), 1);
    assert_int_equal(w->calls, 1);
}

/* The network is the same, but connections of one family are dead: told with old == new. */
static void test_reach(void **state)
{
    world *w = *state;
    start(w, 0);
    sim_default_set(w->s, SB_FAMILY_6, 0, NULL, NULL);
    run(w, SB_S);
    assert_int_equal(w->calls, 2);
    assert_int_equal(w->old, w->new);
    assert_int_equal(sb_stats_get(&w->stats, SB_COUNT_NETWORK_REACH), 1);
    sb_prefix other = prefix("10.9.0.77", 24);
    sb_addr to = addr("10.9.0.254");
    sim_address_set(w->s, SIM_ETH0, &other, true);
    sim_default_set(w->s, SB_FAMILY_4, SIM_ETH0, &to, &other.addr);
    run(w, SB_S);
    assert_int_equal(w->calls, 3);
    assert_int_equal(w->old, w->new);
}

static void test_tunnel(void **state)
{
    world *w = *state;
    start(w, 0);
    uint32_t home = identity(w);
    sb_prefix inner = prefix("10.200.0.2", 24);
    sim_link_set(w->s, 4, "wg0", true, true);
    sim_address_set(w->s, 4, &inner, true);
    default_way(w, 4, "10.200.0.1");
    run(w, SB_S);
    uint32_t tunnel = identity(w);
    assert_true(tunnel && tunnel != home);
    assert_int_equal(tunnel & 0xffff, 0); /* nobody's link-layer address */
    uint64_t before = sim_netlink_requests(w->s);
    run(w, 600 * SB_S);
    assert_int_equal(sim_netlink_requests(w->s), before); /* nor is one looked for */
    default_way(w, SIM_ETH0, "10.9.0.254");
    run(w, SB_S);
    assert_int_equal(identity(w), home);
}

/* ---- the gateway's link-layer address ---- */

/* Two networks that look the same are told apart, however late that becomes known. */
static void test_same_place_other_gateway(void **state)
{
    world *w = *state;
    start(w, 0);
    uint32_t home = identity(w);
    sim_link_set(w->s, SIM_ETH0, "eth0", false, false);
    gateway(w, "10.9.0.254", 0);
    run(w, SB_S);
    assert_int_equal(identity(w), 0);
    sim_link_set(w->s, SIM_ETH0, "eth0", true, false);
    run(w, 90 * SB_MS);
    assert_int_equal(identity(w), home & 0xffff0000u); /* not home: not known */
    assert_true(sb_netmon_unsettled(w->nm));
    gateway(w, "10.9.0.254", 0x11);
    run(w, 400 * SB_MS);
    uint32_t cafe = identity(w);
    assert_false(sb_netmon_unsettled(w->nm));
    assert_true(sb_network_same_place(cafe, home));
    assert_int_not_equal(cafe & 0xffff, home & 0xffff);
    assert_int_not_equal(cafe & 0xffff, 0);
    assert_int_equal(w->old, home & 0xffff0000u);
    assert_int_equal(w->calls, 4);
}

/* Whoever hears something over the network need not wait for the next look at the gateway; and a
 * network is taken as it is when nobody was met for a second. */
static void test_look(void **state)
{
    world *w = *state;
    gateway(w, "10.9.0.254", 0);
    start(w, 0);
    assert_true(sb_netmon_unsettled(w->nm));
    run(w, 500 * SB_MS);
    gateway(w, "10.9.0.254", 0x11);
    sb_netmon_look(w->nm);
    run(w, SB_MS);
    assert_int_not_equal(identity(w) & 0xffff, 0);
    assert_false(sb_netmon_unsettled(w->nm));
    gateway(w, "10.9.0.254", 0);
    restart(w, 0);
    run(w, 900 * SB_MS);
    assert_true(sb_netmon_unsettled(w->nm));
    run(w, 200 * SB_MS);
    assert_false(sb_netmon_unsettled(w->nm));
}

/* The neighbour table forgets what nobody uses: that is no other network. */
static void test_gateway_forgotten(void **state)
{
    world *w = *state;
    start(w, 0);
    uint32_t home = identity(w);
    gateway(w, "10.9.0.254", 0);
    sim_netlink_lose(w->s);
    run(w, 600 * SB_S);
    assert_int_equal(w->calls, 1);
    gateway(w, "10.9.0.254", 0xfe);
    run(w, 600 * SB_S);
    assert_int_equal(w->calls, 1);
    assert_int_equal(identity(w), home);
    /* but another one in its place is */
    gateway(w, "10.9.0.254", 0x12);
    sim_netlink_lose(w->s);
    run(w, SB_S);
    assert_int_equal(w->calls, 2);
    assert_int_not_equal(identity(w), home);
}

/* A restart in an outage whose gateway is dead: the network that looks the same is the same. */
static void test_dead_gateway(void **state)
{
    world *w = *state;
    start(w, 0);
    uint32_t home = identity(w);
    gateway(w, "10.9.0.254", 0);
    restart(w, home);
    assert_int_equal(w->calls, 1);
    assert_int_equal(w->new, home);
    restart(w, 0);
    assert_int_equal(w->new, home & 0xffff0000u);
    restart(w, home ^ 0x10000); /* another place is not this one */
    assert_int_equal(w->new, home & 0xffff0000u);
    restart(w, home);
    /* a cable pulled and put back while the gateway is dead: home after a second */
    sim_link_set(w->s, SIM_ETH0, "eth0", false, false);
    run(w, SB_S);
    sim_link_set(w->s, SIM_ETH0, "eth0", true, false);
    run(w, 900 * SB_MS);
    assert_int_equal(identity(w), home & 0xffff0000u);
    run(w, 5 * SB_S);
    assert_int_equal(identity(w), home);
    /* and still another one when the gateway's address says so */
    gateway(w, "10.9.0.254", 0x33);
    run(w, 130 * SB_S);
    assert_true(sb_network_same_place(identity(w), home));
    assert_int_not_equal(identity(w), home);
}

/* Looking for it is paced: at most once a minute in the end. */
static void test_looks_are_paced(void **state)
{
    world *w = *state;
    gateway(w, "10.9.0.254", 0);
    start(w, 0);
    uint64_t before = sim_netlink_requests(w->s);
    run(w, 3600 * SB_S);
    assert_in_range(sim_netlink_requests(w->s) - before, 60, 70);
    assert_int_equal(w->calls, 1);
}

/* ---- when it cannot be had ---- */

static void test_forbidden(void **state)
{
    world *w = *state;
    sim_netlink_refuse(w->s, SB_PERM);
    start(w, 77 << 16 | 1);
    run(w, 600 * SB_S);
    sim_netlink_refuse(w->s, SB_OK);
    run(w, 600 * SB_S);
    assert_int_equal(w->calls, 0);
    assert_false(sb_netmon_network(w->nm)->available);
    assert_int_equal(identity(w), 0);
}

/* Descriptors used up: tried again, with back-off. */
static void test_no_descriptor(void **state)
{
    world *w = *state;
    sim_netlink_refuse(w->s, SB_LIMIT);
    start(w, 0);
    run(w, 20 * SB_S);
    assert_int_equal(w->calls, 0);
    assert_false(sb_netmon_network(w->nm)->available);
    sim_netlink_refuse(w->s, SB_OK);
    run(w, 20 * SB_S);
    assert_int_equal(w->calls, 1);
    assert_true(identity(w) && sb_netmon_network(w->nm)->available);
}

static void test_freed_at_any_step(void **state)
{
    world *w = *state;
    for (unsigned steps = 0; steps < 12; steps++) {
        assert_int_equal(sb_netmon_new(w->env, NULL, 0, changed, w, &w->nm), SB_OK);
        for (unsigned i = 0; i < steps; i++)
            (void)sim_step(w->s, sim_now(w->s) + SB_MS);
        sb_netmon_free(w->nm);
        w->nm = NULL;
        assert_int_equal(sim_process_leaks(w->s, w->env), 0);
        run(w, SB_S);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_first_reading),
        TEST(test_stable),
        TEST(test_loopback_only),
        TEST(test_ipv6_alone),
        TEST(test_via),
        TEST(test_prefixes),
        TEST(test_many_prefixes),
        TEST(test_lease_lost),
        TEST(test_lease_lost_unknown),
        TEST(test_move_in_time),
        TEST(test_cable),
        TEST(test_storm),
        TEST(test_moved_while_reading),
        TEST(test_route_noise),
        TEST(test_lost_messages),
        TEST(test_reach),
        TEST(test_tunnel),
        TEST(test_same_place_other_gateway),
        TEST(test_look),
        TEST(test_gateway_forgotten),
        TEST(test_dead_gateway),
        TEST(test_looks_are_paced),
        TEST(test_forbidden),
        TEST(test_no_descriptor),
        TEST(test_freed_at_any_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
