/* See verdict.h. */
#include "resolve/verdict.h"

#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "dns/rdata.h"
#include "resolve/mobility.h"

/* Why it is doubted, told with what is known of the address. */
typedef enum why {
    WHY_CONTRADICTED,
    WHY_WINDOW,
    WHY_UNCONFIRMED,
    WHY_ALIVE,
    WHY_ZONE,
    WHY_STEADY,
    WHY_SILENT,
    WHYS
} why;

static const char *told(why w, sb_liveness life)
{
#define WITH_LIFE(text)                                                                            \
    {                                                                                              \
        text, text "; its address is dead", text "; its address refuses",                          \
            text "; its address is alive"                                                          \
    }
    static const char *const texts[WHYS][4] = {
        [WHY_CONTRADICTED] = WITH_LIFE("denied by one server, known to another"),
        [WHY_WINDOW] = WITH_LIFE("denied just after a network change"),
        [WHY_UNCONFIRMED] = WITH_LIFE("denied, not confirmed for long enough"),
        [WHY_ALIVE] = WITH_LIFE("denied by one server alone"),
        [WHY_ZONE] = WITH_LIFE("denied by one server alone, with many names of its zone"),
        [WHY_STEADY] = WITH_LIFE("denied by one server alone, after it stood for long"),
        [WHY_SILENT] = WITH_LIFE("denied by one server, the others are silent"),
    };
#undef WITH_LIFE
    return texts[w][(unsigned)life <= SB_LIVENESS_ALIVE ? life : SB_LIVENESS_UNKNOWN];
}

const char *sb_second_text(sb_second second)
{
    static const char *const texts[] = {"the only server", "others silent", "others agree",
                                        "others know it"};
    return (unsigned)second < SB_ARRAY_SIZE(texts) ? texts[second] : "";
}

/* One server alone says so, and there is no other. */
static bool lone_voice_holds(const sb_evidence *e, why *ret_why)
{
    bool steady = e->known_for / SB_STEADY_TIMES >= e->confirm && e->known_for > 0;
    sb_ns needed = steady ? SB_LONE_TIMES * e->confirm : e->confirm;
    *ret_why = e->liveness == SB_LIVENESS_ALIVE        ? WHY_ALIVE
               : e->siblings >= SB_SIBLINGS_MANY       ? WHY_ZONE
               : steady && e->denied_for >= e->confirm ? WHY_STEADY
                                                       : WHY_UNCONFIRMED;
    return *ret_why != WHY_ALIVE && *ret_why != WHY_ZONE && e->agreed_for >= needed;
}

bool sb_doubt_obeys(const sb_evidence *e, const char **ret_reason)
{
    why w = WHY_UNCONFIRMED;
    *ret_reason = "";
    if (e->obeyed || (!e->is_protected && !e->in_window))
        return true;
    if (e->second == SB_SECOND_CONTRADICTS) {
        w = WHY_CONTRADICTED;
    } else if (!e->is_protected) {
        w = WHY_WINDOW;
    } else {
        if (e->denied_for >= e->most)
            return true;
        if (e->second == SB_SECOND_AGREES && e->agreed_for >= e->confirm)
            return true;
        if (e->second == SB_SECOND_SILENT)
            w = WHY_SILENT;
        else if (e->second == SB_SECOND_NONE && lone_voice_holds(e, &w))
            return true;
    }
    *ret_reason = told(w, e->liveness);
    return false;
}

/* --- since when --- */

typedef struct record {
    sb_map_node node;
    sb_list age;
    uint8_t key[SB_NAME_MAX + 2]; /* type, 0 for the whole name; name */
    sb_ns agreed_since;           /* SB_NEVER: not in agreement */
    sb_ns denied_since;           /* SB_NEVER: not denied */
    bool obeyed;
    bool told;          /* that it is believed */
    bool whole;         /* the name was denied, not the type, */
    sb_ns denied_at;    /* the last time */
    sb_doubt_info last; /* at 0: nothing weighed yet */
} record;

/* How long an answer has stood. */
typedef struct standing {
    sb_map_node node;
    sb_list age;
    uint8_t key[SB_NAME_MAX + 2];
    uint64_t digest; /* of the addresses, whatever their order */
    sb_ns since;
} standing;

/* A name denied against what was known. */
typedef struct vanishing {
    uint64_t zone, name; /* digests; name 0: free */
    sb_ns at;
} vanishing;
#define VANISHINGS_MAX 256

struct sb_doubts {
    sb_map map;
    sb_list by_age;
    sb_map standings;
    sb_list standings_by_age;
    uint8_t secret[16];
    vanishing vanishings[VANISHINGS_MAX];
    unsigned next_vanishing;
};

sb_status sb_doubts_new(const uint8_t secret[16], sb_doubts **ret)
{
    sb_doubts *doubts = sb_new(sb_doubts);
    if (!doubts || sb_map_init(&doubts->map, secret) != SB_OK ||
        sb_map_init(&doubts->standings, secret) != SB_OK) {
        if (doubts && doubts->map.buckets)
            sb_map_fini(&doubts->map);
        sb_free(doubts);
        return SB_NOMEM;
    }
    sb_list_init(&doubts->by_age);
    sb_list_init(&doubts->standings_by_age);
    sb_writer w = sb_writer_of(doubts->secret, sizeof doubts->secret);
    sb_write_bytes(&w, secret, sizeof doubts->secret);
    *ret = doubts;
    return SB_OK;
}

static void drop_standing(sb_doubts *doubts, standing *st)
{
    sb_map_remove(&doubts->standings, &st->node);
    sb_list_remove(&st->age);
    sb_free(st);
}

static void drop(sb_doubts *doubts, record *r)
{
    sb_map_remove(&doubts->map, &r->node);
    sb_list_remove(&r->age);
    sb_free(r);
}

void sb_doubts_free(sb_doubts *doubts)
{
    if (!doubts)
        return;
    while (!sb_list_empty(&doubts->by_age))
        drop(doubts, sb_container_of(doubts->by_age.next, record, age));
    while (!sb_list_empty(&doubts->standings_by_age))
        drop_standing(doubts, sb_container_of(doubts->standings_by_age.next, standing, age));
    sb_map_fini(&doubts->map);
    sb_map_fini(&doubts->standings);
    sb_free(doubts);
}

static size_t key_of(const sb_name *name, uint16_t type, uint8_t *ret_key)
{
    sb_writer w = sb_writer_of(ret_key, SB_NAME_MAX + 2);
    sb_write_u16(&w, type);
    sb_name_write(&w, name);
    return w.size;
}

static record *find(const sb_doubts *doubts, const sb_name *name, uint16_t type)
{
    uint8_t key[SB_NAME_MAX + 2];
    size_t size = key_of(name, type, key);
    sb_map_node *node = sb_map_find(&doubts->map, key, size);
    return node ? sb_container_of(node, record, node) : NULL;
}

static record *obtain(sb_doubts *doubts, const sb_name *name, uint16_t type)
{
    record *r = find(doubts, name, type);
    if (r)
        return r;
    if (doubts->map.count >= SB_DOUBTS_MAX)
        drop(doubts, sb_container_of(doubts->by_age.next, record, age));
    if (!(r = sb_new(record)))
        return NULL;
    r->agreed_since = r->denied_since = SB_NEVER;
    sb_list_init(&r->age);
    sb_list_push(&doubts->by_age, &r->age);
    sb_map_insert(&doubts->map, &r->node, r->key, key_of(name, type, r->key));
    return r;
}

static void count_from(record *r, const record *other)
{
    if (other->agreed_since < r->agreed_since)
        r->agreed_since = other->agreed_since;
    if (other->denied_since < r->denied_since)
        r->denied_since = other->denied_since;
}

static void count_now(record *r, bool agreeing, sb_ns now)
{
    if (r->denied_since == SB_NEVER)
        r->denied_since = now;
    if (agreeing && r->agreed_since == SB_NEVER)
        r->agreed_since = now;
}

/* Each type counts for itself, and takes over what the name as a whole has counted: so a denial
 * that turns from the one to the other goes on. Never the other way round: what one type's denials
 * have counted says nothing of another type, which may have been answered since. */
sb_ns sb_doubts_denied(sb_doubts *doubts, const sb_name *name, uint16_t type, bool whole,
                       bool agreeing, sb_ns now)
{
    record *own = obtain(doubts, name, type);
    if (!own)
        return 0;
    record *all = find(doubts, name, 0);
    /* Another type was answered meanwhile: the name lived after all. */
    if (whole && own->whole && (!all || all->denied_since > own->denied_at))
        own->agreed_since = own->denied_since = SB_NEVER;
    own->whole = whole;
    own->denied_at = now;
    count_now(own, agreeing, now);
    if (whole && !all)
        all = obtain(doubts, name, 0); /* which may be at the cost of the oldest, never of own */
    if (all && whole)
        count_now(all, agreeing, now);
    if (all)
        count_from(own, all);
    return own->agreed_since == SB_NEVER ? 0 : now - own->agreed_since;
}

sb_ns sb_doubts_denied_for(const sb_doubts *doubts, const sb_name *name, uint16_t type, sb_ns now)
{
    const record *r = find(doubts, name, type);
    return r && r->denied_since != SB_NEVER ? now - r->denied_since : 0;
}

sb_ns sb_doubts_whole(const sb_doubts *doubts, const sb_name *name, sb_ns now)
{
    const record *r = find(doubts, name, 0);
    return r && r->agreed_since != SB_NEVER ? now - r->agreed_since : 0;
}

void sb_doubts_clear(sb_doubts *doubts, const sb_name *name, uint16_t type)
{
    record *r = find(doubts, name, 0);
    uint64_t digest = sb_name_digest(name);
    for (unsigned i = 0; i < VANISHINGS_MAX; i++)
        if (doubts->vanishings[i].name == digest)
            doubts->vanishings[i] = (vanishing){0};
    if (r)
        drop(doubts, r);
    if ((r = find(doubts, name, type)))
        drop(doubts, r);
}

void sb_doubts_end(sb_doubts *doubts, const sb_name *name, uint16_t type)
{
    record *r = find(doubts, name, type);
    if (r)
        drop(doubts, r);
}

bool sb_doubts_news(sb_doubts *doubts, const sb_name *name, uint16_t type, bool whole)
{
    record *r = find(doubts, name, whole ? 0 : type);
    if (!r)
        return true;
    bool news = !r->told;
    r->told = true;
    return news;
}

/* A denial of some type of it is doubted still; or the word was given already. */
static bool in_doubt(const sb_doubts *doubts, const sb_name *name)
{
    uint8_t key[SB_NAME_MAX + 2];
    size_t size = key_of(name, 0, key);
    sb_list_each (it, &doubts->by_age) {
        const record *r = sb_container_of(it, record, age);
        bool whole = memcmp(r->key, key, 2) == 0;
        if (memcmp(r->key + 2, key + 2, size - 2) == 0 &&
            (whole ? r->obeyed : r->denied_since != SB_NEVER))
            return true;
    }
    return false;
}

sb_status sb_doubts_obey(sb_doubts *doubts, const sb_name *name, sb_ns now)
{
    if (!in_doubt(doubts, name))
        return SB_NOTFOUND;
    record *r = obtain(doubts, name, 0);
    if (!r)
        return SB_NOMEM;
    r->obeyed = true;
    if (r->agreed_since == SB_NEVER)
        r->agreed_since = now;
    return SB_OK;
}

bool sb_doubts_obeyed(const sb_doubts *doubts, const sb_name *name)
{
    const record *r = find(doubts, name, 0);
    return r && r->obeyed;
}

void sb_doubts_vanished(sb_doubts *doubts, const sb_name *zone, const sb_name *name, sb_ns now)
{
    vanishing seen = {.zone = sb_name_digest(zone), .name = sb_name_digest(name), .at = now};
    for (unsigned i = 0; i < VANISHINGS_MAX; i++) {
        if (doubts->vanishings[i].name == seen.name && doubts->vanishings[i].zone == seen.zone) {
            doubts->vanishings[i].at = now;
            return;
        }
    }
    doubts->vanishings[doubts->next_vanishing++ % VANISHINGS_MAX] = seen;
}

unsigned sb_doubts_siblings(const sb_doubts *doubts, const sb_name *zone, const sb_name *name,
                            sb_ns now)
{
    uint64_t of = sb_name_digest(zone), self = sb_name_digest(name);
    unsigned n = 0;
    for (unsigned i = 0; i < VANISHINGS_MAX; i++) {
        const vanishing *v = &doubts->vanishings[i];
        n += v->name != 0 && v->zone == of && v->name != self && now - v->at <= SB_SIBLINGS_WITHIN;
    }
    return n;
}

static standing *find_standing(const sb_doubts *doubts, const sb_question *question)
{
    uint8_t key[SB_NAME_MAX + 2];
    size_t size = key_of(&question->name, question->type, key);
    sb_map_node *node = sb_map_find(&doubts->standings, key, size);
    return node ? sb_container_of(node, standing, node) : NULL;
}

void sb_doubts_stands(sb_doubts *doubts, const sb_question *question, const sb_answer *answer,
                      sb_ns now)
{
    sb_addr addrs[32];
    uint64_t digest = 1;
    size_t n = sb_answer_addresses(answer, addrs, SB_ARRAY_SIZE(addrs));
    for (size_t i = 0; i < n; i++)
        digest += sb_siphash(doubts->secret, addrs[i].bytes, sizeof addrs[i].bytes);
    standing *st = find_standing(doubts, question);
    if (!st) {
        if (doubts->standings.count >= SB_DOUBTS_MAX)
            drop_standing(doubts, sb_container_of(doubts->standings_by_age.next, standing, age));
        if (!(st = sb_new(standing)))
            return;
        sb_list_init(&st->age);
        sb_map_insert(&doubts->standings, &st->node, st->key,
                      key_of(&question->name, question->type, st->key));
    }
    if (st->digest != digest)
        st->since = now;
    st->digest = digest;
    sb_list_remove(&st->age);
    sb_list_push(&doubts->standings_by_age, &st->age);
}

sb_ns sb_doubts_stands_since(const sb_doubts *doubts, const sb_question *question)
{
    const standing *st = find_standing(doubts, question);
    return st ? st->since : 0;
}

void sb_doubts_note(sb_doubts *doubts, const sb_name *name, uint16_t type,
                    const sb_doubt_info *info)
{
    record *r = find(doubts, name, type);
    if (r)
        r->last = *info;
}

bool sb_doubts_last(const sb_doubts *doubts, const sb_name *name, uint16_t type,
                    sb_doubt_info *ret_info)
{
    const record *r = find(doubts, name, type);
    if (!r || r->last.at == 0)
        return false;
    *ret_info = r->last;
    ret_info->evidence.obeyed = sb_doubts_obeyed(doubts, name);
    return true;
}

static bool take_soa(void *context, const sb_record *found, sb_span rdata)
{
    (void)rdata;
    if (found->type != SB_TYPE_SOA)
        return true;
    *(sb_name *)context = found->owner;
    return false;
}

void sb_doubt_zone(const sb_answer *negative, sb_name *ret_zone)
{
    sb_question question;
    sb_name zone = {.size = 0};
    (void)sb_answer_each(negative, SB_SECTION_AUTHORITY, take_soa, &zone);
    if (zone.size == 0) {
        sb_answer_question(negative, &question);
        zone = sb_name_parent(&question.name, question.name.size > 1);
    }
    sb_name_fold(&zone);
    *ret_zone = zone;
}

bool sb_doubt_in_window(const sb_ctx *ctx)
{
    /* Before the change is understood the new network's servers may speak already. */
    return sb_env_now(ctx->env) < sb_mobility_doubt_until(ctx->mobility) ||
           sb_mobility_unsettled(ctx->mobility);
}

bool sb_doubt_shuns(const sb_ctx *ctx, const sb_asked *asked, uint16_t type, sb_kind kind)
{
    return sb_policy_doubts(&asked->policy, type, kind) &&
           !sb_doubts_obeyed(ctx->doubts, &asked->question.name);
}

bool sb_doubt_concerns(const sb_ctx *ctx, const sb_asked *asked, const sb_answer *negative)
{
    const sb_policy *policy = &asked->policy;
    if (sb_doubts_obeyed(ctx->doubts, &asked->question.name))
        return false;
    if (sb_policy_doubts(policy, asked->question.type, (sb_kind)negative->kind))
        return true;
    if (!policy->protect && !sb_doubt_in_window(ctx))
        return false;
    /* NXDOMAIN speaks of every type, NODATA of its own. */
    return sb_question_known(ctx, asked) ||
           (negative->kind == SB_KIND_NXDOMAIN && sb_name_known(ctx, asked));
}
