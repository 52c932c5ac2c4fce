/* See zone.h. */
#include "sim/zone.h"

#include <stdio.h>
#include <string.h>

#include "dns/rdata.h"

#define CHAIN_MAX 12

static zone_version make_version(zone *z, unsigned id);
static void add_set(sb_builder *b, const zone_node *node, uint8_t version, uint16_t type);
static void add_alias(sb_builder *b, const zone_node *node, const zone_node *target,
                      uint32_t ttl_s);
static void add_soa(sb_builder *b, const zone_node *node, uint8_t version, uint32_t ttl_s);
static void add_extra(sb_builder *b);

static const uint32_t ttls[] = {0, 1, 2, 5, 5, 10, 20, 30, 60, 60, 120, 300, 900, 3600};

void zone_init(zone *z, sim *s, unsigned nodes, bool big, bool aliases, bool split)
{
    z->s = s;
    z->node_count = nodes < ZONE_NODES_MAX ? nodes : ZONE_NODES_MAX;
    z->big = big;
    z->aliases = aliases;
    z->network = 0;
    for (unsigned i = 0; i < z->node_count; i++)
        z->nodes[i].split = split && i % 4 >= 2 && sb_rand_chance(sim_rand(s), 600);
    for (unsigned i = 0; i < z->node_count; i++)
        z->nodes[i].split_always = z->nodes[i].split && i % 4 == 2;
    for (unsigned i = 0; i < z->node_count; i++) {
        zone_node *node = &z->nodes[i];
        char text[32];
        int n = snprintf(text, sizeof text, "n%02u.%s", i, i % 2 ? "corp.test" : "sim.test");
        node->id = (uint8_t)i;
        node->emergency = node->protect = false;
        SB_ASSERT(sb_name_parse(text, (size_t)n, &node->name, NULL) == SB_OK);
        node->version_count = 0;
        node->versions[node->version_count++] = make_version(z, i);
        node->versions[0].from = 0;
    }
}

bool zone_change(zone *z, unsigned id)
{
    zone_node *node = &z->nodes[id];
    if (node->version_count >= ZONE_VERSIONS_MAX)
        return false;
    node->versions[node->version_count++] = make_version(z, id);
    return true;
}

/* Aliases point to greater ids only, but for some that loop: those never resolve. */
static zone_version make_version(zone *z, unsigned id)
{
    sb_rand *r = sim_rand(z->s);
    zone_version v = {.from = sim_now(z->s), .exists = true, .alias = ZONE_NO_ALIAS, .count = 1};
    v.ttl_s = ttls[sb_rand_below(r, SB_ARRAY_SIZE(ttls))];
    v.negative_ttl_s = ttls[sb_rand_below(r, SB_ARRAY_SIZE(ttls))];
    uint64_t dice = sb_rand_below(r, 100);
    if (dice < 12) {
        v.exists = false;
    } else if (dice < 30 && z->aliases && z->node_count > 2) {
        bool loop = sb_rand_chance(r, 60);
        v.alias = (uint8_t)(loop || id + 1 >= z->node_count
                                ? sb_rand_below(r, z->node_count)
                                : id + 1 + sb_rand_below(r, z->node_count - id - 1));
        if (v.alias == id || z->nodes[id].split || z->nodes[v.alias].split)
            v.alias = ZONE_NO_ALIAS;
    }
    if (v.exists && v.alias == ZONE_NO_ALIAS) {
        v.types = (uint8_t)sb_rand_below(r, 8);
        if (sb_rand_chance(r, 700))
            v.types |= ZONE_A;
        v.count = (uint8_t)(1 + sb_rand_below(r, 3));
        if (z->big && sb_rand_chance(r, 300))
            v.count = (uint8_t)(40 + sb_rand_below(r, 80));
    }
    return v;
}

int zone_node_id(const sb_name *name)
{
    const uint8_t *w = name->wire;
    if (name->size < 6 || w[0] != 3 || sb_ascii_lower(w[1]) != 'n' || w[2] < '0' || w[2] > '9' ||
        w[3] < '0' || w[3] > '9')
        return -1;
    return (w[2] - '0') * 10 + (w[3] - '0');
}

bool zone_is_private(const zone_node *node, unsigned network)
{
    return node->split && (node->split_always || (node->id + network) % 3 != 0);
}

zone_node *zone_find(zone *z, const sb_name *name)
{
    int id = zone_node_id(name);
    if (id < 0 || (unsigned)id >= z->node_count || !sb_name_equal(name, &z->nodes[id].name))
        return NULL;
    return &z->nodes[id];
}

const zone_version *zone_at(const zone_node *node, sb_ns at, uint8_t *ret_version)
{
    unsigned i = node->version_count - 1u;
    while (i > 0 && node->versions[i].from > at)
        i--;
    *ret_version = (uint8_t)i;
    return &node->versions[i];
}

int zone_slot_of(uint16_t type)
{
    return type == SB_TYPE_A       ? SLOT_A
           : type == SB_TYPE_AAAA  ? SLOT_AAAA
           : type == SB_TYPE_TXT   ? SLOT_TXT
           : type == SB_TYPE_CNAME ? SLOT_CNAME
                                   : -1;
}

static uint8_t type_bit(uint16_t type)
{
    return type == SB_TYPE_A      ? ZONE_A
           : type == SB_TYPE_AAAA ? ZONE_AAAA
           : type == SB_TYPE_TXT  ? ZONE_TXT
                                  : 0;
}

unsigned zone_compose(void *context, server *sv, const sb_question *question, sb_builder *b)
{
    zone *z = context;
    sb_ns at = sim_now(z->s) - sv->lag;
    const zone_node *node = zone_find(z, &question->name);
    uint8_t version;
    if (!node)
        return SB_RCODE_REFUSED;
    const zone_version *v = zone_at(node, at, &version);
    for (unsigned hops = 0; v->exists && v->alias != ZONE_NO_ALIAS; hops++) {
        const zone_node *target = &z->nodes[v->alias];
        if (hops == CHAIN_MAX)
            return SB_RCODE_SERVFAIL; /* what recursors say to a loop */
        add_alias(b, node, target, v->ttl_s);
        if (sv->open_chains || question->type == SB_TYPE_CNAME)
            return SB_RCODE_NOERROR;
        node = target;
        v = zone_at(node, at, &version);
    }
    if (v->exists && (v->types & type_bit(question->type))) {
        if (zone_is_private(node, z->network) && question->type != SB_TYPE_TXT) {
            sb_addr addr = zone_address(ORIGIN_PRIVATE, node->id, version, (uint8_t)z->network,
                                        question->type);
            sb_builder_address(b, &node->name, &addr, v->ttl_s);
            return SB_RCODE_NOERROR;
        }
        add_set(b, node, version, question->type);
        if (sv->extra)
            add_extra(b);
        return SB_RCODE_NOERROR;
    }
    if (!sv->no_soa)
        add_soa(b, node, version, v->negative_ttl_s);
    return v->exists ? SB_RCODE_NOERROR : SB_RCODE_NXDOMAIN;
}

/* What exists does not, or is elsewhere; a denial of what does not exist is no lie. */
unsigned zone_lie(void *context, server *sv, const sb_question *question, sb_builder *b)
{
    zone *z = context;
    const zone_node *node = zone_find(z, &question->name);
    uint8_t version;
    bool address = question->type == SB_TYPE_A || question->type == SB_TYPE_AAAA;
    if (!node || !zone_at(node, sim_now(z->s) - sv->lag, &version)->exists ||
        (sv->mode == SERVER_LYING && !address))
        return zone_compose(context, sv, question, b);
    if (sv->mode == SERVER_LYING) {
        sb_addr addr = zone_address(ORIGIN_LIE, node->id, 0, 1, question->type);
        sb_builder_address(b, &node->name, &addr, ZONE_LIE_TTL);
        return SB_RCODE_NOERROR;
    }
    add_soa(b, node, ZONE_LIE, ZONE_LIE_TTL);
    return SB_RCODE_NXDOMAIN;
}

void zone_forge(void *context, server *sv, const sb_question *question, sb_builder *b)
{
    (void)context;
    (void)sv;
    int id = zone_node_id(&question->name);
    uint16_t type = question->type == SB_TYPE_AAAA ? SB_TYPE_AAAA : SB_TYPE_A;
    sb_addr addr = zone_address(ORIGIN_FORGED, (uint8_t)(id < 0 ? 0xff : id), 0, 1, type);
    sb_builder_address(b, &question->name, &addr, 3600);
}

sb_addr zone_address(uint8_t origin, uint8_t id, uint8_t version, uint8_t index, uint16_t type)
{
    if (type == SB_TYPE_AAAA) {
        uint8_t bytes[16] = {origin == ORIGIN_PRIVATE ? 0xfd : 0x2a, origin, 0, id, 0, version};
        bytes[15] = index;
        return sb_addr_6(bytes, 0);
    }
    return sb_addr_4((const uint8_t[4]){origin, id, version, index}, 0);
}

static void add_set(sb_builder *b, const zone_node *node, uint8_t version, uint16_t type)
{
    const zone_version *v = &node->versions[version];
    for (uint8_t i = 0; i < v->count; i++) {
        if (type == SB_TYPE_TXT) {
            uint8_t txt[5] = {4, 'T', node->id, version, i};
            sb_builder_record(b, SB_SECTION_ANSWER, &node->name, type, SB_CLASS_IN, v->ttl_s,
                              (sb_span){txt, sizeof txt});
        } else {
            sb_addr addr = zone_address(ORIGIN_ZONE, node->id, version, i, type);
            sb_builder_address(b, &node->name, &addr, v->ttl_s);
        }
    }
}

static void add_alias(sb_builder *b, const zone_node *node, const zone_node *target, uint32_t ttl_s)
{
    sb_builder_record(b, SB_SECTION_ANSWER, &node->name, SB_TYPE_CNAME, SB_CLASS_IN, ttl_s,
                      (sb_span){target->name.wire, target->name.size});
}

static void add_soa(sb_builder *b, const zone_node *node, uint8_t version, uint32_t ttl_s)
{
    sb_name apex = sb_name_parent(&node->name, 1);
    uint8_t rdata[2 * SB_NAME_MAX + 20];
    sb_writer w = sb_writer_of(rdata, sizeof rdata);
    sb_name_write(&w, &apex);
    sb_name_write(&w, &apex);
    sb_write_u32(&w, (uint32_t)node->id << 8 | version);
    sb_write_u32(&w, 3600);
    sb_write_u32(&w, 600);
    sb_write_u32(&w, 86400);
    sb_write_u32(&w, ttl_s);
    sb_builder_record(b, SB_SECTION_AUTHORITY, &apex, SB_TYPE_SOA, SB_CLASS_IN, ttl_s + 7,
                      (sb_span){rdata, w.size});
}

/* A record of another name, after the right ones: nobody may believe it. */
static void add_extra(sb_builder *b)
{
    sb_name name;
    SB_ASSERT(sb_name_parse("n99.sim.test", 12, &name, NULL) == SB_OK);
    sb_addr addr = zone_address(ORIGIN_FORGED, 99, 0, 9, SB_TYPE_A);
    sb_builder_address(b, &name, &addr, 3600);
}
