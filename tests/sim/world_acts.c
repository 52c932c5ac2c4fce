/* What happens in a world: servers change, clients ask, operators meddle, the machine fails. See
 * world.h. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "dns/rdata.h"
#include "resolve/pins.h"
#include "sim/world.h"

static void change_server(void *context, uint64_t index);
static void change_zone(void *context, uint64_t argument);
static void ask_something(void *context, uint64_t argument);
static void give_up(void *context, uint64_t argument);
static void outage_begins(void *context, uint64_t argument);
static void outage_ends(void *context, uint64_t argument);
static void reload(void *context, uint64_t argument);
static void flush(void *context, uint64_t argument);
static void pin(void *context, uint64_t argument);
static void hosts(void *context, uint64_t argument);
static void crash(void *context, uint64_t argument);
static void restart(void *context, uint64_t argument);
static void clocks(void *context, uint64_t argument);
static void junk(void *context, uint64_t argument);
static void leave(void *context, uint64_t argument);
static void arrive(void *context, uint64_t network);
static void mark_disk(void *context, uint64_t argument);
static void damage_disk(world *w);
static void make_question(world *w, sb_question *ret);

bool world_has(const world *w, world_actor actor)
{
    return w->actors >> actor & 1;
}

static sb_rand *dice(world *w)
{
    return sim_rand(w->s);
}

/* In `low` to `high` from now, unless the world is to be calm by then. */
static void later(world *w, sb_ns low, sb_ns high, void (*call)(void *, uint64_t),
                  uint64_t argument)
{
    sim_at(w->s, sim_now(w->s) + sb_rand_range(dice(w), low, high), call, w, argument);
}

void world_schedule(world *w)
{
    for (unsigned i = 0; i < w->server_count; i++)
        later(w, w->good_min / 4, w->good_max, change_server, i);
    later(w, 0, SB_S, ask_something, 0);
    later(w, SB_S, 20 * SB_S, change_zone, 0);
    static const struct {
        world_actor actor;
        int first_s, last_s;
        void (*act)(void *, uint64_t);
    } acts[] = {
        {ACTOR_OUTAGES, 60, 300, outage_begins},
        {ACTOR_OPERATOR, 20, 200, reload},
        {ACTOR_FLUSHER, 20, 300, flush},
        {ACTOR_PINNER, 10, 200, pin},
        {ACTOR_HOSTS, 10, 200, hosts},
        {ACTOR_CRASHES, 60, 400, crash},
        {ACTOR_POWER, 60, 400, crash},
        {ACTOR_CLOCKS, 30, 300, clocks},
        {ACTOR_JUNK, 1, 30, junk},
        {ACTOR_POWER, 20, 60, mark_disk},
        {ACTOR_MOVING, 20, 200, leave},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(acts); i++) {
        if (world_has(w, acts[i].actor))
            later(w, acts[i].first_s * SB_S, acts[i].last_s * SB_S, acts[i].act, 0);
    }
}

/* --- servers --- */

static void add_bad(world *w, world_actor actor, server_mode a, server_mode b, server_mode c)
{
    if (!world_has(w, actor))
        return;
    w->bad_modes[w->bad_count++] = a;
    w->bad_modes[w->bad_count++] = b;
    w->bad_modes[w->bad_count++] = c;
}

static unsigned compose(void *context, server *sv, const sb_question *question, sb_builder *b)
{
    world *w = context;
    return zone_compose(&w->z, sv, question, b);
}

static unsigned lie(void *context, server *sv, const sb_question *question, sb_builder *b)
{
    world *w = context;
    return zone_lie(&w->z, sv, question, b);
}

/* Half of all endpoints live, another half every minute or two. */
static bool lived(const sb_addr *addr, sb_ns at)
{
    unsigned sum = (unsigned)(at / (97 * SB_S));
    for (unsigned i = 0; i < 16; i++)
        sum += addr->bytes[i];
    return addr->port == WORLD_PORT && sum % 2 == 0;
}

static bool lives(const sim_host *host, const sb_addr *addr)
{
    const world *w = host->owner;
    return lived(addr, sim_now(w->s));
}

static bool welcome(sim_host *host, sim *s, sb_socket conn)
{
    (void)host;
    (void)s;
    (void)conn;
    return true;
}

static void endpoints(world *w)
{
    w->o.lives = world_has(w, ACTOR_LIVES);
    w->endpoints = (sim_host){.addr = {.port = WORLD_PORT},
                              .link = {.delay_min = 2 * SB_MS, .delay_max = 40 * SB_MS},
                              .owner = w,
                              .stands_for = lives,
                              .accepted = welcome};
    if (w->o.lives)
        sim_host_add(w->s, &w->endpoints);
}

void world_servers(world *w)
{
    sb_rand *r = dice(w);
    w->sworld.compose = compose;
    w->sworld.lie = lie;
    w->sworld.forge = zone_forge;
    w->main_count = world_has(w, ACTOR_DUAL) ? 2 + (unsigned)sb_rand_below(r, 2) : 1;
    w->server_count =
        w->main_count + (world_has(w, ACTOR_ROUTE) ? 1 + (unsigned)sb_rand_below(r, 2) : 0);
    bool far = world_has(w, ACTOR_FAR), quick = !far && sb_rand_chance(r, 500);
    for (unsigned i = 0; i < w->server_count; i++) {
        const char name[3] = {'s', (char)('0' + i), 0};
        sb_addr addr = sb_addr_4((const uint8_t[4]){10, 0, 0, (uint8_t)(i + 1)}, 53);
        if (world_has(w, ACTOR_IPV6) && i % 2 == 0)
            addr = sb_addr_6((const uint8_t[16]){0xfd, 0, [7] = 0x53, [15] = (uint8_t)(i + 1)}, 53);
        sb_ns low = far ? 40 * SB_MS : quick ? SB_MS : 5 * SB_MS;
        sb_ns high = far ? 90 * SB_MS : quick ? 4 * SB_MS : 25 * SB_MS;
        server *sv = &w->servers[i];
        server_init(sv, w->s, name, &addr, low, high, &w->sworld);
        sv->slow = sb_rand_range(r, 300 * SB_MS, 5 * SB_S);
        sv->open_chains = world_has(w, ACTOR_OPEN_CHAINS);
        sv->no_soa = world_has(w, ACTOR_BARE);
        sv->extra = world_has(w, ACTOR_EXTRA);
        sv->says_ad = sb_rand_chance(r, 300);
        if (world_has(w, ACTOR_LAGGING) && i % 2 == 1)
            sv->lag = sb_rand_range(r, SB_S, 60 * SB_S);
        if (world_has(w, ACTOR_LOSSY)) {
            sv->host.link.loss = 30 + (uint32_t)sb_rand_below(r, 200);
            sv->host.link.duplicate = (uint32_t)sb_rand_below(r, 200);
        }
        if (world_has(w, ACTOR_NO_EDNS) && sb_rand_chance(r, 600))
            server_set_mode(sv, SERVER_NO_EDNS);
    }
    world_manners(w);
    w->bad_count = 0;
    add_bad(w, ACTOR_SLOW, SERVER_SLOW, SERVER_SLOW, SERVER_SLOW);
    add_bad(w, ACTOR_SILENT, SERVER_SILENT, SERVER_SILENT, SERVER_SILENT);
    add_bad(w, ACTOR_ERRORS, SERVER_SERVFAIL, SERVER_REFUSED, SERVER_SERVFAIL);
    add_bad(w, ACTOR_TRUNCATING, SERVER_TRUNCATING, SERVER_CUT, SERVER_RESETTING);
    add_bad(w, ACTOR_GARBAGE, SERVER_GARBAGE, SERVER_NOISE, SERVER_ECHO);
    add_bad(w, ACTOR_WRONG, SERVER_WRONG_ID, SERVER_WRONG_QUESTION, SERVER_WRONG_PORT);
    add_bad(w, ACTOR_CLOSED, SERVER_CLOSED, SERVER_UNREACHABLE, SERVER_NO_ROUTE);
    add_bad(w, ACTOR_VERDICTS, SERVER_BLOCKED, SERVER_BOGUS, SERVER_BOGUS);
    add_bad(w, ACTOR_FORGER, SERVER_STORMY, SERVER_STORMY, SERVER_SILENT);
    add_bad(w, ACTOR_DENYING, SERVER_DENYING, SERVER_DENYING, SERVER_DENYING);
    add_bad(w, ACTOR_LYING, SERVER_LYING, SERVER_LYING, SERVER_LYING);
    add_bad(w, ACTOR_STUTTERING, SERVER_STUTTERING, SERVER_STUTTERING, SERVER_STUTTERING);
    if (w->bad_count == 0)
        w->bad_modes[w->bad_count++] = SERVER_SILENT;
    bool flaps = world_has(w, ACTOR_FLAPPING);
    w->good_min = flaps ? SB_S : 30 * SB_S;
    w->good_max = flaps ? 8 * SB_S : 240 * SB_S;
    w->bad_min = flaps ? SB_S / 2 : 5 * SB_S;
    w->bad_max = flaps ? 8 * SB_S : 120 * SB_S;
    w->o.quick = quick && !w->servers[0].open_chains;
    endpoints(w);
}

/* Answers right, and in time. */
static bool is_good(server_mode mode)
{
    return server_mode_helps(mode) && mode != SERVER_SLOW && mode != SERVER_STORMY &&
           mode != SERVER_STUTTERING;
}

void world_health(world *w)
{
    bool good = !world_has(w, ACTOR_LOSSY) && !world_has(w, ACTOR_NO_SOCKETS) &&
                !world_has(w, ACTOR_NO_MEMORY);
    bool any = false;
    for (unsigned i = 0; i < w->server_count; i++) {
        server_mode mode = w->servers[i].mode;
        good = good && is_good(mode);
        any = any || server_mode_helps(mode) || mode == SERVER_BOGUS || mode == SERVER_BLOCKED ||
              mode == SERVER_DENYING || mode == SERVER_LYING;
    }
    if (!good)
        w->o.healthy_since = SB_NEVER;
    else if (w->o.healthy_since == SB_NEVER)
        w->o.healthy_since = sim_now(w->s);
    if (any)
        w->all_bad_since = SB_NEVER;
    else if (w->all_bad_since == SB_NEVER)
        w->all_bad_since = sim_now(w->s);
}

static void set_mode(world *w, unsigned index, server_mode mode)
{
    if (w->verbose)
        fprintf(stderr, "%12.6f server %s %s\n", (double)sim_now(w->s) / (double)SB_S,
                w->servers[index].name, server_mode_text(mode));
    server_set_mode(&w->servers[index], mode);
    world_health(w);
}

static server_mode good_mode(world *w)
{
    return world_has(w, ACTOR_NO_EDNS) && sb_rand_chance(dice(w), 300) ? SERVER_NO_EDNS
                                                                       : world_good_mode(w);
}

static void change_server(void *context, uint64_t index)
{
    world *w = context;
    if (w->calm)
        return;
    bool bad = is_good(w->servers[index].mode);
    if (!w->outage)
        set_mode(w, (unsigned)index,
                 bad ? w->bad_modes[sb_rand_below(dice(w), w->bad_count)] : good_mode(w));
    later(w, bad ? w->bad_min : w->good_min, bad ? w->bad_max : w->good_max, change_server, index);
}

static void outage_begins(void *context, uint64_t argument)
{
    (void)argument;
    world *w = context;
    static const server_mode modes[] = {SERVER_SILENT, SERVER_SERVFAIL,    SERVER_CLOSED,
                                        SERVER_SILENT, SERVER_UNREACHABLE, SERVER_NO_ROUTE};
    if (w->calm)
        return;
    w->outage = true;
    server_mode mode = modes[sb_rand_below(dice(w), SB_ARRAY_SIZE(modes))];
    for (unsigned i = 0; i < w->server_count; i++)
        set_mode(w, i, mode);
    later(w, 30 * SB_S, 240 * SB_S, outage_ends, 0);
}

static void outage_ends(void *context, uint64_t argument)
{
    (void)argument;
    world *w = context;
    w->outage = false;
    for (unsigned i = 0; i < w->server_count; i++)
        set_mode(w, i, good_mode(w));
    later(w, 60 * SB_S, 300 * SB_S, outage_begins, 0);
}

/* Everything good again, and left alone: the last laws are about recovery. */
void world_recover(world *w)
{
    w->calm = true;
    w->outage = false;
    *sim_fault(w->s) = (sim_faults){0};
    memory_fail(0, NULL);
    for (unsigned i = 0; i < w->server_count; i++) {
        w->servers[i].host.link.loss = w->servers[i].host.link.duplicate = 0;
        set_mode(w, i, SERVER_HONEST);
    }
    if (w->network == 0)
        arrive(w, 1);
    if (!w->d.up && !w->crash_pending)
        (void)world_start_subject(w);
}

static void change_zone(void *context, uint64_t argument)
{
    (void)argument;
    world *w = context;
    unsigned changes = 1 + (unsigned)sb_rand_below(dice(w), 3);
    for (unsigned i = 0; i < changes; i++)
        (void)zone_change(&w->z, (unsigned)sb_rand_below(dice(w), w->z.node_count));
    later(w, SB_S, 20 * SB_S, change_zone, 0);
}

/* --- clients --- */

static void make_question(world *w, sb_question *ret)
{
    sb_rand *r = dice(w);
    uint64_t n = w->z.node_count;
    const zone_node *node = &w->z.nodes[sb_rand_below(r, n) * sb_rand_below(r, n) / n];
    uint64_t kind = sb_rand_below(r, 20);
    *ret = (sb_question){.name = node->name, .class = SB_CLASS_IN};
    ret->type = kind < 12 ? SB_TYPE_A : kind < 17 ? SB_TYPE_AAAA : SB_TYPE_TXT;
    ret->dnssec_ok = sb_rand_chance(r, 120);
    ret->checking_disabled = sb_rand_chance(r, 60);
    if (sb_rand_chance(r, 300)) { /* 0x20 */
        uint64_t bits = sb_rand_u64(r);
        for (unsigned i = 0; i < ret->name.size; i++) {
            uint8_t c = ret->name.wire[i];
            if (c >= 'a' && c <= 'z' && (bits >> (i & 63) & 1))
                ret->name.wire[i] = (uint8_t)(c - 32);
        }
    }
}

static void ask_one(world *w, const sb_question *question)
{
    static const uint8_t ways[] = {WAY_ENGINE, WAY_ENGINE, WAY_ENGINE, WAY_DATAGRAM, WAY_DATAGRAM,
                                   WAY_UDP,    WAY_UDP,    WAY_TCP,    WAY_UNIX};
    sb_rand *r = dice(w);
    client_request request = {
        .question = *question,
        .way = ways[sb_rand_below(r, sizeof ways)],
        .edns = sb_rand_chance(r, 850),
        .udp_size = (uint16_t)(sb_rand_chance(r, 700) ? 1232 : 512 + sb_rand_below(r, 4096)),
        .deadline = SB_NEVER,
        .timeout = w->settings[0]->query.timeout,
        .new_conn = sb_rand_chance(r, 200),
        .word = oracle_knows(&w->o, question),
        .half_close = sb_rand_chance(r, 150),
    };
    if (request.way == WAY_ENGINE || (question->dnssec_ok && request.way != WAY_ENGINE))
        request.edns = true; /* DO lives in it */
    if (world_has(w, ACTOR_HASTY) && request.way == WAY_ENGINE && sb_rand_chance(r, 300))
        request.deadline = sim_now(w->s) + sb_rand_range(r, 0, 3 * SB_S);
    ask *a = client_ask(&w->c, &request);
    if (!a)
        return;
    w->questions++;
    if (world_has(w, ACTOR_CANCELLER) && sb_rand_chance(r, 300))
        later(w, 0, 3 * SB_S, give_up, (uint64_t)a->generation << 32 | a->index);
}

static void ask_something(void *context, uint64_t argument)
{
    (void)argument;
    world *w = context;
    sb_rand *r = dice(w);
    sb_question question;
    make_question(w, &question);
    unsigned n = 1;
    if (world_has(w, ACTOR_BURSTS) && sb_rand_chance(r, 100))
        n = 2 + (unsigned)sb_rand_below(r, 12);
    for (unsigned i = 0; i < n; i++)
        ask_one(w, &question);
    /* What makes a storm when nothing answers: many who ask for much. */
    for (unsigned i = 0; w->outage && n > 1 && i < 40; i++) {
        make_question(w, &question);
        ask_one(w, &question);
    }
    /* Mostly seconds apart; sometimes at once, as those who ask for both families do. */
    if (sb_rand_chance(r, 250))
        later(w, 0, 50 * SB_MS, ask_something, 0);
    else
        later(w, SB_S / 2, 12 * SB_S, ask_something, 0);
}

static void give_up(void *context, uint64_t argument)
{
    world *w = context;
    ask *a = &w->c.asks[argument & 0xff];
    if (a->generation == (uint8_t)(argument >> 32))
        client_give_up(&w->c, a);
}

static void junk(void *context, uint64_t argument)
{
    (void)argument;
    world *w = context;
    sb_rand *r = dice(w);
    uint8_t bytes[512];
    size_t size = (size_t)sb_rand_below(r, sizeof bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)sb_rand_u64(r);
    if (sb_rand_chance(r, 600) && size > 40) { /* a query with something wrong */
        sb_builder b;
        sb_question question;
        make_question(w, &question);
        sb_builder_init(&b, bytes, sizeof bytes, (uint16_t)sb_rand_u64(r), SB_FLAG_RD);
        sb_builder_question(&b, &question);
        sb_builder_edns(&b, 1232, 0, false, (sb_span){0});
        size = sb_builder_finish(&b);
        uint8_t flip = (uint8_t)(1 + sb_rand_below(r, 255));
        bytes[2 + sb_rand_below(r, size - 2)] ^= flip;
    }
    client_junk(&w->c, bytes, size);
    later(w, SB_S / 2, 20 * SB_S, junk, 0);
}

/* --- operators --- */

static void reload(void *context, uint64_t argument)
{
    (void)argument;
    world *w = context;
    sb_why why;
    if (w->d.up) {
        w->setting_now ^= 1;
        memory_pause(true);
        sb_status status = sb_engine_reload(w->d.engine, w->settings[w->setting_now], &why);
        if (status == SB_OK)
            status = sb_dns_front_reload(w->d.front, &why);
        memory_pause(false);
        if (status != SB_OK)
            oracle_fail(&w->o, "reload failed: %s", why.text);
        w->o.reset_at = sim_now(w->s);
        /* A server that is new to it has to be found dead first. */
        if (w->all_bad_since != SB_NEVER &&
            w->settings[0]->upstream_count != w->settings[1]->upstream_count)
            w->all_bad_since = sim_now(w->s);
    }
    later(w, 5 * SB_S, 120 * SB_S, reload, 0);
}

static void flush(void *context, uint64_t argument)
{
    (void)argument;
    world *w = context;
    const zone_node *node = &w->z.nodes[sb_rand_below(dice(w), w->z.node_count)];
    if (w->d.up) {
        if (sb_rand_chance(dice(w), 200)) {
            sb_name root = {.size = 1};
            (void)sb_engine_flush_below(w->d.engine, &root);
            oracle_forget(&w->o, NULL);
            for (unsigned id = 0; id < w->z.node_count; id++)
                w->o.pin_since[id] = w->o.pin_since[id] ? SB_NEVER : 0;
        } else {
            (void)sb_engine_flush_name(w->d.engine, &node->name);
            oracle_forget(&w->o, &node->name);
            w->o.pin_since[node->id] = w->o.pin_since[node->id] ? SB_NEVER : 0;
        }
    }
    later(w, 10 * SB_S, 200 * SB_S, flush, 0);
}

static void pin(void *context, uint64_t argument)
{
    (void)argument;
    world *w = context;
    sb_rand *r = dice(w);
    unsigned id = (unsigned)sb_rand_below(r, w->z.node_count);
    const zone_node *node = &w->z.nodes[id];
    sb_ns now = sim_now(w->s);
    later(w, 5 * SB_S, 100 * SB_S, pin, 0);
    if (!w->d.up)
        return;
    if (w->o.pin_since[id] && now < w->o.pin_until[id]) {
        if (sb_engine_unpin(w->d.engine, &node->name) != SB_OK && w->o.pin_since[id] != SB_NEVER &&
            now + 2 * SB_S < w->o.pin_until[id] && !w->o.trouble)
            oracle_fail(&w->o, "a pin was gone before its end");
        w->o.pin_until[id] = now;
        return;
    }
    sb_addr addresses[2] = {zone_address(ORIGIN_PIN, (uint8_t)id, 0, 1, SB_TYPE_A),
                            zone_address(ORIGIN_PIN, (uint8_t)id, 0, 1, SB_TYPE_AAAA)};
    sb_ns duration = sb_rand_chance(r, 300) ? 0 : sb_rand_range(r, SB_S, 90 * SB_S);
    sb_why why;
    if (sb_engine_pin(w->d.engine, &node->name, addresses, 2, duration, &why) != SB_OK) {
        if (!w->o.trouble)
            oracle_fail(&w->o, "pin: %s", why.text);
        return;
    }
    w->o.pin_since[id] = now;
    w->o.pin_aside[id] = false;
    w->o.pin_until[id] = duration ? now + duration : SB_NEVER / 2;
}

/* It steps aside as its addresses were dead for long and the DNS's were not. What lives is looked
 * at every ten seconds, and may have changed since. */
static void pin_aside(world *w, unsigned id)
{
    bool dead = false;
    static const uint16_t types[] = {SB_TYPE_A, SB_TYPE_AAAA};
    for (unsigned i = 0; i < SB_ARRAY_SIZE(types); i++) {
        sb_addr addr = zone_address(ORIGIN_PIN, (uint8_t)id, 0, 1, types[i]);
        addr.port = WORLD_PORT;
        dead |=
            !lived(&addr, sim_now(w->s)) || !lived(&addr, sim_now(w->s) - 2 * SB_PIN_ASIDE_AFTER);
    }
    if (!w->o.lives || !dead)
        oracle_fail(&w->o, "a pin stepped aside although its addresses live");
    w->o.pin_aside[id] = true;
}

void world_pin_deed(world *w, uint64_t name, unsigned deed)
{
    unsigned id = 0;
    while (id < w->z.node_count && sb_name_digest(&w->z.nodes[id].name) != name)
        id++;
    if (id == w->z.node_count || w->o.pin_since[id] == 0)
        return;
    if (deed == SB_DEED_ASIDE) {
        pin_aside(w, id);
    } else if (deed == SB_DEED_RESUMED) {
        w->o.pin_aside[id] = false;
        if (w->o.pin_since[id] != SB_NEVER)
            w->o.pin_since[id] = sim_now(w->s);
    } else if (deed == SB_DEED_WITHDRAWN) {
        oracle_fail(&w->o, "a pin withdrew itself although the DNS never gave its addresses");
    }
}

static void hosts(void *context, uint64_t argument)
{
    (void)argument;
    world *w = context;
    sb_rand *r = dice(w);
    sb_ns now = sim_now(w->s);
    int n = snprintf(w->hosts, sizeof w->hosts, "# hosts\n127.0.0.1 localhost\n");
    size_t at = (size_t)n;
    for (unsigned id = 0; id < w->z.node_count; id++) {
        bool had = w->o.hosts_since[id] && w->o.hosts_until[id] > now;
        bool has = sb_rand_chance(r, had ? 700 : 60);
        if (had && !has)
            w->o.hosts_until[id] = now;
        if (!has)
            continue;
        if (!had) {
            w->o.hosts_since[id] = now;
            w->o.hosts_until[id] = SB_NEVER / 2;
        }
        char four[SB_ADDR_TEXT_MAX], six[SB_ADDR_TEXT_MAX], name[SB_NAME_TEXT_MAX];
        sb_addr a = zone_address(ORIGIN_HOSTS, (uint8_t)id, 0, 1, SB_TYPE_A);
        sb_addr b = zone_address(ORIGIN_HOSTS, (uint8_t)id, 0, 1, SB_TYPE_AAAA);
        sb_name_text(&w->z.nodes[id].name, name);
        n = snprintf(w->hosts + at, sizeof w->hosts - at, "%s %s\n%s %s\n", sb_addr_text(&a, four),
                     name, sb_addr_text(&b, six), name);
        at += (size_t)n;
    }
    sim_file_put(w->s, "/etc/hosts", w->hosts, at);
    later(w, 20 * SB_S, 200 * SB_S, hosts, 0);
}

/* --- the machine --- */

static void mark_disk(void *context, uint64_t argument)
{
    (void)argument;
    world *w = context;
    sim_disk_mark(w->s);
    later(w, 5 * SB_S, 60 * SB_S, mark_disk, 0);
}

/* A disk that lies: some bytes are others. */
static void damage_disk(world *w)
{
    size_t size;
    uint8_t *bytes = sim_file_bytes(w->s, SUBJECT_CACHE, &size);
    if (!bytes || size == 0)
        return;
    /* But for the first line: a file that calls itself another format is left alone, and rightly.
     */
    for (uint64_t n = 1 + sb_rand_below(dice(w), 2000); n > 0; n--) {
        uint8_t flip = (uint8_t)(1 + sb_rand_below(dice(w), 255));
        bytes[64 + sb_rand_below(dice(w), size - 64)] ^= flip;
    }
    w->o.age_unknown = sim_now(w->s); /* the clock's anchor too, perhaps */
    w->damaged = true;
}

/* A kill: what was in the file stays. Power loss: pages come back as they were, the machine boots.
 */
static void crash(void *context, uint64_t argument)
{
    (void)argument;
    world *w = context;
    sb_rand *r = dice(w);
    if (!w->d.up || w->calm)
        return;
    bool power =
        world_has(w, ACTOR_POWER) && (!world_has(w, ACTOR_CRASHES) || sb_rand_chance(r, 500));
    bool in_file = sb_l1_in_file(w->d.l1);
    world_check_subject(w); /* what it had evicted by now */
    memory_pause(true);
    subject_freeze(&w->d);
    client_give_up_all(&w->c);
    subject_kill(&w->d, power && sb_rand_chance(r, 700) ? 300 : 0);
    memory_pause(false);
    w->evictions_seen = 0;
    sb_ns now = sim_now(w->s);
    for (unsigned id = 0; id < w->z.node_count; id++) {
        w->o.pin_aside[id] = false;
        if (!in_file)
            w->o.pin_until[id] = w->o.pin_until[id] < now ? w->o.pin_until[id] : now;
        else if (power && w->o.pin_since[id]) { /* perhaps there, perhaps an older one again */
            w->o.pin_since[id] = SB_NEVER;
            w->o.pin_until[id] = SB_NEVER / 2;
        }
    }
    if (!in_file || power)
        oracle_forget(&w->o, NULL);
    w->o.reset_at = now;
    if (power)
        oracle_power_lost(&w->o);
    if (w->verbose)
        fprintf(stderr, "%12.6f %s\n", (double)now / (double)SB_S, power ? "power loss" : "kill");
    sb_ns down =
        sb_rand_chance(r, 500) ? sb_rand_range(r, 0, 100 * SB_MS) : sb_rand_range(r, 0, 20 * SB_S);
    if (power && sb_rand_chance(r, 300))
        damage_disk(w);
    if (power) {
        if (world_has(w, ACTOR_CLOCKS)) /* the clock's anchor may be one of before a step */
            w->o.age_unknown = now;
        sim_reboot(w->s, sb_rand_range(r, SB_S, 120 * SB_S));
        if (world_has(w, ACTOR_CLOCKS) && sb_rand_chance(r, 300)) {
            sim_wall_step(w->s, sb_rand_chance(r, 500) ? 3600 * SB_S : -(sb_ns)86400 * SB_S);
            w->o.age_unknown = sim_now(w->s);
        }
        world_health(w);
        if (w->o.healthy_since != SB_NEVER)
            w->o.healthy_since = sim_now(w->s);
    }
    w->crash_pending = true;
    sim_at(w->s, sim_now(w->s) + down, restart, w, 0);
}

static void restart(void *context, uint64_t argument)
{
    (void)argument;
    world *w = context;
    w->crash_pending = false;
    if (!world_start_subject(w))
        return;
    /* A damaged header names another network than we are on. */
    if (world_has(w, ACTOR_MOVING) || w->damaged)
        oracle_started(&w->o);
    w->damaged = false;
    if (w->o.healthy_since != SB_NEVER)
        w->o.healthy_since = sim_now(w->s);
    if (!w->calm)
        later(w, 60 * SB_S, 400 * SB_S, crash, 0);
}

/* Networks by their place with the oracle; the third looks like the first but for its gateway. */
static const unsigned networks[ORACLE_NETWORKS] = {1, 2, 9};

static unsigned place_of(unsigned network)
{
    unsigned place = 0;
    while (networks[place] != network)
        place++;
    return place;
}

/* To another network, at once or after a while in none, or back to the same. */
static void leave(void *context, uint64_t argument)
{
    (void)argument;
    world *w = context;
    sb_rand *r = dice(w);
    unsigned to = networks[sb_rand_below(r, ORACLE_NETWORKS)];
    if (w->calm)
        return;
    if (w->outage || sb_rand_chance(r, 500)) {
        arrive(w, to);
        return;
    }
    w->network = 0;
    w->outage = true;
    sim_network_set(w->s, 0, false);
    oracle_left(&w->o);
    for (unsigned i = 0; i < w->server_count; i++)
        set_mode(w, i, SERVER_NO_ROUTE);
    later(w, 0, 20 * SB_S, arrive, to);
}

static void gateway_met(void *context, uint64_t network)
{
    world *w = context;
    if (w->network == network)
        sim_network_hardware(w->s, w->network);
}

static void arrive(void *context, uint64_t network)
{
    world *w = context;
    sb_rand *r = dice(w);
    if (w->calm && w->network != 0)
        return;
    if (w->network == 0 && !w->calm) {
        w->outage = false;
        for (unsigned i = 0; i < w->server_count; i++)
            set_mode(w, i, good_mode(w));
    }
    /* One of those that look alike is told from the other by its gateway alone. */
    bool known = network != 2 || sb_rand_chance(r, 500);
    sb_ns met = known ? 0 : sb_rand_range(r, 0, 900 * SB_MS);
    w->network = (unsigned)network;
    w->moves++;
    sim_network_set(w->s, w->network, known);
    w->z.network = place_of(w->network);
    if (!known)
        later(w, met, met, gateway_met, network);
    if (w->verbose)
        fprintf(stderr, "%12.6f network %u\n", (double)sim_now(w->s) / (double)SB_S, w->network);
    oracle_moved(&w->o, w->z.network, sim_now(w->s) + 4 * met + 200 * SB_MS);
    if (w->all_bad_since != SB_NEVER)
        w->all_bad_since = sim_now(w->s);
    later(w, 20 * SB_S, 200 * SB_S, leave, 0);
}

static void clocks(void *context, uint64_t argument)
{
    (void)argument;
    world *w = context;
    sb_rand *r = dice(w);
    later(w, 20 * SB_S, 200 * SB_S, clocks, 0);
    if (w->calm)
        return;
    uint64_t kind = sb_rand_below(r, 3);
    if (kind == 0) {
        sim_wall_step(w->s, sb_rand_range(r, -86400 * SB_S, 86400 * SB_S));
    } else if (kind == 1) {
        sim_wall_step(w->s, sb_rand_range(r, -ORACLE_SMALL_STEP, ORACLE_SMALL_STEP));
    } else {
        sb_ns slept = sb_rand_range(r, SB_S, 300 * SB_S);
        /* A question under way when the lid closes has no time left when it opens. */
        client_give_up_all(&w->c);
        sim_suspend(w->s, slept);
        oracle_slept(&w->o, slept);
        if (w->all_bad_since != SB_NEVER) /* nobody was there to notice */
            w->all_bad_since = sim_now(w->s);
        /* What was under way goes on now; of what happened meanwhile the program knows nothing. */
        w->started_at = w->dead_since[0] = w->dead_since[1] = sim_now(w->s);
    }
}
