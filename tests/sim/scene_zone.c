/* What the servers of a scene know: sets by name and type, told line by line. See scene.h. */
#include <string.h>

#include "dns/rdata.h"
#include "sim/scene.h"

#define CHAIN_MAX 20
#define TTL_DEFAULT_S 300

static const scene_set *find(const scene *sc, const server *sv, const sb_name *name, uint16_t type);
static bool exists(const scene *sc, const server *sv, const sb_name *name);
static void add_records(const scene_set *set, uint16_t type, sb_builder *b);
static void add_soa(const sb_name *name, uint32_t ttl_s, sb_builder *b);
static scene_set *slot_for(scene *sc, const scene_set *wanted);
static bool parse_options(scene *sc, scene_set *set, char **words, unsigned n);

bool scene_name(scene *sc, const char *text, sb_name *ret_name)
{
    sb_why why;
    if (sb_name_parse(text, strlen(text), ret_name, &why) == SB_OK)
        return true;
    scene_fail(sc, "%s: %s", text, why.text);
    return false;
}

/* zone NAME TYPE VALUE… | nodata | gone, zone NAME nxdomain; [ttl S] [from SERVER] [no-soa]
 * [repeat N] */
void scene_zone_line(scene *sc, char **words, unsigned n)
{
    scene_set set = {.ttl_s = TTL_DEFAULT_S, .used = true};
    unsigned at = 2;
    if (n < 2 || !scene_name(sc, words[0], &set.name)) {
        scene_fail(sc, "zone NAME TYPE VALUE…");
        return;
    }
    if (strcmp(words[1], "nxdomain") != 0 &&
        !sb_type_parse(words[1], strlen(words[1]), &set.type)) {
        scene_fail(sc, "%s is no type", words[1]);
        return;
    }
    if (at < n && strcmp(words[at], "gone") == 0) {
        set.used = false;
        at++;
    } else if (at < n && strcmp(words[at], "nodata") == 0) {
        set.nodata = true;
        at++;
    } else if (set.type == SB_TYPE_CNAME && at < n) {
        if (!scene_name(sc, words[at++], &set.target))
            return;
    }
    while (at < n && set.count < 8 &&
           sb_addr_parse(words[at], strlen(words[at]), &set.addrs[set.count])) {
        set.count++;
        at++;
    }
    if (!parse_options(sc, &set, words + at, n - at))
        return;
    scene_set *slot = slot_for(sc, &set);
    if (slot)
        *slot = set;
}

static bool parse_options(scene *sc, scene_set *set, char **words, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint64_t value = 0;
        const char *next = i + 1 < n ? words[i + 1] : "";
        if (strcmp(words[i], "no-soa") == 0) {
            set->no_soa = true;
        } else if (strcmp(words[i], "ttl") == 0 &&
                   sb_parse_u64(next, strlen(next), UINT32_MAX, &value)) {
            set->ttl_s = (uint32_t)value;
            i++;
        } else if (strcmp(words[i], "repeat") == 0 &&
                   sb_parse_u64(next, strlen(next), 250, &value)) {
            set->repeat = (unsigned)value;
            i++;
        } else if (strcmp(words[i], "from") == 0 && next[0]) {
            strncpy(set->only, next, sizeof set->only - 1);
            i++;
        } else {
            scene_fail(sc, "zone: %s?", words[i]);
            return false;
        }
    }
    return true;
}

/* The same set again, or a free place. */
static scene_set *slot_for(scene *sc, const scene_set *wanted)
{
    scene_set *spare = NULL;
    for (unsigned i = 0; i < SCENE_SETS_MAX; i++) {
        scene_set *set = &sc->sets[i];
        if (set->used && set->type == wanted->type && strcmp(set->only, wanted->only) == 0 &&
            sb_name_equal(&set->name, &wanted->name))
            return set;
        if (!set->used && !spare)
            spare = set;
    }
    if (!spare)
        scene_fail(sc, "too many sets");
    return spare;
}

unsigned scene_compose(void *context, server *sv, const sb_question *question, sb_builder *b)
{
    const scene *sc = context;
    sb_name name = question->name;
    int rcode = load_compose(sc->load, SERVER_HONEST, question, b);
    if (rcode >= 0)
        return (unsigned)rcode;
    for (unsigned hops = 0; hops < CHAIN_MAX; hops++) {
        const scene_set *denied = find(sc, sv, &name, 0);
        const scene_set *set = find(sc, sv, &name, question->type);
        const scene_set *alias = find(sc, sv, &name, SB_TYPE_CNAME);
        if (denied || !exists(sc, sv, &name)) {
            if (!denied || !denied->no_soa)
                add_soa(&name, denied ? denied->ttl_s : TTL_DEFAULT_S, b);
            return SB_RCODE_NXDOMAIN;
        }
        if (set && !set->nodata) {
            add_records(set, question->type, b);
            return SB_RCODE_NOERROR;
        }
        if (set || !alias) {
            if (!set || !set->no_soa)
                add_soa(&name, set ? set->ttl_s : TTL_DEFAULT_S, b);
            return SB_RCODE_NOERROR;
        }
        sb_builder_record(b, SB_SECTION_ANSWER, &name, SB_TYPE_CNAME, SB_CLASS_IN, alias->ttl_s,
                          (sb_span){alias->target.wire, alias->target.size});
        if (sv->open_chains)
            return SB_RCODE_NOERROR;
        name = alias->target;
    }
    return SB_RCODE_NOERROR; /* a loop, told as far as it goes */
}

/* Of the load's known names; without a load of everything. */
unsigned scene_lie(void *context, server *sv, const sb_question *question, sb_builder *b)
{
    const scene *sc = context;
    int rcode = load_compose(sc->load, sv->mode, question, b);
    if (rcode >= 0)
        return (unsigned)rcode;
    if (sv->mode == SERVER_DENYING) {
        add_soa(&question->name, TTL_DEFAULT_S, b);
        return SB_RCODE_NXDOMAIN;
    }
    scene_forge(context, sv, question, b);
    return SB_RCODE_NOERROR;
}

/* What liars say: 66.6.6.6 for everything. */
void scene_forge(void *context, server *sv, const sb_question *question, sb_builder *b)
{
    (void)context;
    (void)sv;
    sb_addr addr = sb_addr_4((const uint8_t[4]){66, 6, 6, 6}, 0);
    sb_builder_address(b, &question->name, &addr, 3600);
}

/* A set of that server's own before one of all. */
static const scene_set *find(const scene *sc, const server *sv, const sb_name *name, uint16_t type)
{
    const scene_set *common = NULL;
    for (unsigned i = 0; i < SCENE_SETS_MAX; i++) {
        const scene_set *set = &sc->sets[i];
        if (!set->used || set->type != type || !sb_name_equal(&set->name, name))
            continue;
        if (strcmp(set->only, sv->name) == 0)
            return set;
        if (!set->only[0])
            common = set;
    }
    return common;
}

static bool exists(const scene *sc, const server *sv, const sb_name *name)
{
    for (unsigned i = 0; i < SCENE_SETS_MAX; i++) {
        const scene_set *set = &sc->sets[i];
        if (set->used && set->type != 0 && sb_name_equal(&set->name, name) &&
            (!set->only[0] || strcmp(set->only, sv->name) == 0))
            return true;
    }
    return false;
}

static void add_records(const scene_set *set, uint16_t type, sb_builder *b)
{
    for (unsigned i = 0; i < set->count; i++)
        sb_builder_address(b, &set->name, &set->addrs[i], set->ttl_s);
    for (unsigned i = 0; i < set->repeat; i++) {
        sb_addr addr = sb_addr_4((const uint8_t[4]){192, 0, 2, (uint8_t)i}, 0);
        sb_builder_address(b, &set->name, &addr, set->ttl_s);
    }
    if (type == SB_TYPE_CNAME)
        sb_builder_record(b, SB_SECTION_ANSWER, &set->name, SB_TYPE_CNAME, SB_CLASS_IN, set->ttl_s,
                          (sb_span){set->target.wire, set->target.size});
    if (type == SB_TYPE_TXT) {
        static const uint8_t txt[] = {5, 's', 'c', 'e', 'n', 'e'};
        sb_builder_record(b, SB_SECTION_ANSWER, &set->name, SB_TYPE_TXT, SB_CLASS_IN, set->ttl_s,
                          (sb_span){txt, sizeof txt});
    }
}

static void add_soa(const sb_name *name, uint32_t ttl_s, sb_builder *b)
{
    sb_name apex = sb_name_labels(name) > 1 ? sb_name_parent(name, 1) : *name;
    uint8_t rdata[2 * SB_NAME_MAX + 20];
    sb_writer w = sb_writer_of(rdata, sizeof rdata);
    sb_name_write(&w, &apex);
    sb_name_write(&w, &apex);
    for (unsigned i = 0; i < 4; i++)
        sb_write_u32(&w, 3600);
    sb_write_u32(&w, ttl_s);
    sb_builder_record(b, SB_SECTION_AUTHORITY, &apex, SB_TYPE_SOA, SB_CLASS_IN, ttl_s,
                      (sb_span){rdata, w.size});
}
