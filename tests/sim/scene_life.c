/* What names lead to, and what is known of its life: endpoints, deletions obeyed, trails of pins
 * and emergency addresses. Commands of a scene; see scene.h. */
#include <stdio.h>
#include <string.h>

#include "resolve/pins.h"
#include "sim/scene.h"

static bool welcome(sim_host *host, sim *s, sb_socket conn)
{
    (void)host;
    (void)s;
    (void)conn;
    return true;
}

/* endpoint ADDRESS[:PORT] up|refusing|silent|unreachable: what a name leads to. Without a port it
 * is the whole host. Addresses nobody spoke of refuse. */
void scene_endpoint(scene *sc, char **words, unsigned n, char *rest)
{
    (void)n;
    (void)rest;
    static const struct {
        const char *word;
        sim_reach reach;
    } states[] = {{"up", SIM_UP},
                  {"refusing", SIM_PORT_CLOSED},
                  {"silent", SIM_BLACKHOLE},
                  {"unreachable", SIM_UNREACHABLE}};
    sb_addr addr;
    sim_host *host = NULL;
    if (!sb_addr_parse_port(words[1], strlen(words[1]), 0, &addr)) {
        scene_fail(sc, "%s is no address", words[1]);
        return;
    }
    for (unsigned i = 0; i < sc->endpoint_count; i++)
        if (sb_addr_equal(&sc->endpoints[i].addr, &addr))
            host = &sc->endpoints[i];
    if (!host && sc->endpoint_count < SCENE_ENDPOINTS_MAX) {
        host = &sc->endpoints[sc->endpoint_count++];
        *host = (sim_host){.addr = addr,
                           .link = {.delay_min = 3 * SB_MS, .delay_max = 3 * SB_MS},
                           .accepted = welcome};
        sim_host_add(sc->s, host);
    }
    for (size_t i = 0; host && i < SB_ARRAY_SIZE(states); i++) {
        if (strcmp(words[2], states[i].word) != 0)
            continue;
        host->reach = states[i].reach;
        return;
    }
    scene_fail(sc, "endpoint ADDRESS[:PORT] up|refusing|silent|unreachable");
}

/* By the tens of the last byte: the load deletes names by its units. */
static bool is_of_half(const sim_host *host, const sb_addr *addr)
{
    unsigned last = addr->bytes[addr->family == SB_FAMILY_4 ? 3 : 15];
    return addr->port == host->addr.port && last / 10 % 2 == 0;
}

/* half-alive PORT: half of all endpoints take connections on that port. */
void scene_half_alive(scene *sc, char **words, unsigned n, char *rest)
{
    (void)n;
    (void)rest;
    uint64_t port;
    if (sc->endpoint_count == SCENE_ENDPOINTS_MAX ||
        !sb_parse_u64(words[1], strlen(words[1]), 65535, &port)) {
        scene_fail(sc, "half-alive PORT");
        return;
    }
    sim_host *host = &sc->endpoints[sc->endpoint_count++];
    *host = (sim_host){.addr = {.port = (uint16_t)port},
                       .link = {.delay_min = 3 * SB_MS, .delay_max = 3 * SB_MS},
                       .accepted = welcome,
                       .stands_for = is_of_half};
    sim_host_add(sc->s, host);
}

/* connections ADDRESS N: so many are established to it. */
void scene_connections(scene *sc, char **words, unsigned n, char *rest)
{
    (void)n;
    (void)rest;
    sb_addr addr;
    uint64_t count;
    if (!sb_addr_parse_port(words[1], strlen(words[1]), 443, &addr) ||
        !sb_parse_u64(words[2], strlen(words[2]), 1000, &count))
        scene_fail(sc, "connections ADDRESS N");
    else
        sim_established_set(sc->s, &addr, (unsigned)count, 0, false);
}

/* obey NAME: the operator believes its deletion. */
void scene_obey(scene *sc, char **words, unsigned n, char *rest)
{
    (void)n;
    (void)rest;
    sb_name name;
    if (scene_name(sc, words[1], &name) && sb_engine_obey(sc->d.engine, &name) != SB_OK)
        scene_fail(sc, "obey: not taken");
}

typedef struct deed_search {
    sb_name name;
    bool emergency;
    char text[400];
} deed_search;

static bool add_deed(void *context, const sb_deed_info *deed)
{
    deed_search *search = context;
    size_t at = strlen(search->text);
    if (sb_name_equal(&deed->name, &search->name) && deed->emergency == search->emergency)
        snprintf(search->text + at, sizeof search->text - at, " %s", sb_deed_text(deed->deed));
    return true;
}

/* deeds NAME pin|emergency WORDS…: the whole trail of it. */
void scene_deeds(scene *sc, char **words, unsigned n, char *rest)
{
    (void)rest;
    deed_search search = {.emergency = strcmp(words[2], "emergency") == 0};
    char wanted[400] = "";
    for (unsigned i = 3; i < n; i++) {
        size_t at = strlen(wanted);
        snprintf(wanted + at, sizeof wanted - at, " %s", words[i]);
    }
    if (!scene_name(sc, words[1], &search.name))
        return;
    (void)sb_engine_each_deed(sc->d.engine, add_deed, &search);
    if (strcmp(search.text, wanted) != 0)
        scene_fail(sc, "expected the deeds%s, found%s", wanted, search.text);
}

static bool any_pin(void *context, const sb_pin_info *pin)
{
    return !sb_name_equal(&pin->name, context);
}

/* unpinned NAME: there is no pin any more. */
void scene_unpinned(scene *sc, char **words, unsigned n, char *rest)
{
    (void)n;
    (void)rest;
    sb_name name;
    if (scene_name(sc, words[1], &name) && !sb_engine_each_pin(sc->d.engine, any_pin, &name))
        scene_fail(sc, "%s is pinned", words[1]);
}
