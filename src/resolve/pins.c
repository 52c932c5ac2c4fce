/* See pins.h. */
#include "resolve/pins.h"

#include "base/log.h"
#include "base/mem.h"
#include "dns/rdata.h"
#include "resolve/flight.h"

/* Entries looked at a second while pins of before are looked for: a millisecond's work. */
#define WALK_ENTRIES 4096
/* Custodies that are due and handled a second. */
#define DUE_MAX 32
static const uint16_t types[2] = {SB_TYPE_A, SB_TYPE_AAAA};

static sb_custody *find(const sb_pins *pins, const sb_name *name, sb_custody_kind kind);
static sb_custody *obtain(sb_engine *e, const sb_name *name, sb_custody_kind kind);
static void drop(sb_pins *pins, sb_custody *c);
static void tell(sb_engine *e, const sb_name *name, sb_custody_kind kind, sb_deed deed,
                 const char *reason);
static size_t pinned_addresses(sb_engine *e, const sb_name *name, sb_addr *ret, size_t max,
                               sb_tick *ret_until);
static void expire(sb_engine *e, sb_custody *c);
static void end_over(sb_engine *e);
static void tend(sb_engine *e, sb_custody *c);
static void walk(sb_engine *e);
static void take_word(sb_engine *e, sb_custody *c, unsigned family, const sb_answer *answer);
static void watch_life(sb_engine *e, sb_custody *c, const sb_addr *addrs, size_t n);
static void resume(sb_engine *e, sb_custody *c, const char *reason);

const char *sb_deed_text(unsigned deed)
{
    static const char *const texts[] = {
#define DEED_TEXT(id, text) text,
        SB_DEED_TABLE(DEED_TEXT)
#undef DEED_TEXT
    };
    return deed < SB_ARRAY_SIZE(texts) ? texts[deed] : "?";
}

const char *sb_dns_word_text(unsigned word)
{
    static const char *const texts[] = {"unknown", "agrees", "differs", "denies", "fails"};
    return word < SB_ARRAY_SIZE(texts) ? texts[word] : texts[0];
}

/* --- setting and unsetting --- */

static sb_status put_pin(sb_engine *e, const sb_name *name, uint16_t type, const sb_addr *addresses,
                         size_t n, sb_ns duration)
{
    sb_question question = {.name = *name, .type = type, .class = SB_CLASS_IN};
    sb_answer *answer = NULL;
    sb_status status = sb_answer_from_addresses(
        &question, addresses, n, e->settings->cache.stale_ttl_s, SB_SOURCE_PIN, &answer);
    if (status)
        return status;
    sb_tick now = sb_l1_now(e->l1);
    sb_tick until = duration ? sb_l1_tick_at(e->l1, sb_env_now(e->env) + duration) : UINT32_MAX - 1;
    sb_l1_life life = {.learned = now, .due = until, .expires = until, .stale_until = until};
    sb_l1_key key = {.question = &question, .view = SB_VIEW_PIN};
    status = sb_l1_put(e->l1, &key, answer, &life, SB_L1_PINNED | SB_L1_PROTECTED);
    sb_answer_unref(answer);
    return status;
}

static sb_status remove_pin(sb_engine *e, const sb_name *name)
{
    sb_status found = SB_NOTFOUND;
    sb_question question = {.name = *name, .class = SB_CLASS_IN};
    sb_l1_key key = {.question = &question, .view = SB_VIEW_PIN};
    for (size_t i = 0; i < SB_ARRAY_SIZE(types); i++) {
        question.type = types[i];
        if (sb_l1_remove(e->l1, &key) == SB_OK)
            found = SB_OK;
    }
    sb_custody *c = find(&e->pins, name, SB_CUSTODY_PIN);
    if (c)
        drop(&e->pins, c);
    return found;
}

sb_status sb_engine_pin(sb_engine *engine, const sb_name *name, const sb_addr *addresses, size_t n,
                        sb_ns duration, sb_why *why)
{
    sb_name folded = *name;
    sb_name_fold(&folded);
    if (n == 0 || n > 16 || duration < 0)
        return sb_why_set(why, SB_INVALID,
                          "a pin takes 1 to 16 addresses and a duration of 0 or more");
    end_over(engine);
    sb_status status = put_pin(engine, &folded, SB_TYPE_A, addresses, n, duration);
    if (status == SB_OK)
        status = put_pin(engine, &folded, SB_TYPE_AAAA, addresses, n, duration);
    if (status) {
        (void)!remove_pin(engine, &folded); /* nothing to undo is as good */
        return sb_why_set(why, status, "the pin could not be stored: %s", sb_status_text(status));
    }
    sb_custody *before = find(&engine->pins, &folded, SB_CUSTODY_PIN);
    if (before)
        drop(&engine->pins, before);
    (void)obtain(engine, &folded, SB_CUSTODY_PIN); /* without memory it goes unwatched */
    tell(engine, &folded, SB_CUSTODY_PIN, SB_DEED_SET, "by the operator");
    sb_l1_bump_policy(engine->l1, engine->settings->hash, NULL);
    return SB_OK;
}

sb_status sb_engine_unpin(sb_engine *engine, const sb_name *name)
{
    sb_name folded = *name;
    sb_addr any;
    sb_tick until;
    sb_name_fold(&folded);
    end_over(engine);
    bool holds = pinned_addresses(engine, &folded, &any, 1, &until) > 0;
    sb_status found = remove_pin(engine, &folded); /* one that is over too: it makes room */
    if (!holds || found != SB_OK)
        return SB_NOTFOUND;
    tell(engine, &folded, SB_CUSTODY_PIN, SB_DEED_UNSET, "by the operator");
    return SB_OK;
}

bool sb_engine_each_pin(sb_engine *engine, bool (*visit)(void *context, const sb_pin_info *),
                        void *context)
{
    sb_l1_entry entry;
    uint64_t cursor = 0;
    while (sb_l1_walk(sb_l1_reader_of(engine->l1), &cursor, engine->scratch, &entry)) {
        if (entry.view != SB_VIEW_PIN || sb_l1_now(engine->l1) >= entry.life.due)
            continue;
        sb_answer *answer = sb_answer_of_entry(&entry);
        sb_pin_info info = {.until = SB_NEVER};
        sb_question question;
        if (!answer)
            continue;
        sb_answer_question(answer, &question);
        info.name = question.name;
        info.count = sb_answer_addresses(answer, info.addresses, 16);
        if (entry.life.due < UINT32_MAX - 1)
            info.until = sb_l1_ns_of(engine->l1, entry.life.due);
        sb_answer_unref(answer);
        if (info.count > 0 && !visit(context, &info))
            return false;
    }
    return true;
}

/* --- what is known of them, for listings --- */

static void describe(const sb_engine *e, const sb_custody *c, sb_custody_info *ret)
{
    /* Of the two families the one that says more. */
    uint8_t word = c->dns[0] > c->dns[1] ? c->dns[0] : c->dns[1];
    sb_ns now = sb_env_now(e->env);
    *ret = (sb_custody_info){.name = c->name,
                             .emergency = c->kind == SB_CUSTODY_EMERGENCY,
                             .over = c->over,
                             .wrong_seen = c->wrong_seen,
                             .aside = c->aside,
                             .dns = word,
                             .life = c->life,
                             .for_ns = now - c->since,
                             .right_for = c->right_since ? now - c->right_since : 0,
                             .used_before = c->last_used ? now - c->last_used : -1,
                             .uses = c->uses};
}

bool sb_engine_each_custody(sb_engine *engine, bool (*visit)(void *, const sb_custody_info *),
                            void *context)
{
    end_over(engine);
    sb_list_each (it, &engine->pins.by_age) {
        sb_custody_info info;
        describe(engine, sb_container_of(it, sb_custody, age), &info);
        if (!visit(context, &info))
            return false;
    }
    return true;
}

bool sb_engine_each_deed(sb_engine *engine, bool (*visit)(void *, const sb_deed_info *),
                         void *context)
{
    const sb_pins *pins = &engine->pins;
    end_over(engine);
    uint64_t first = pins->deeds > SB_TRAIL_MAX ? pins->deeds - SB_TRAIL_MAX : 0;
    for (uint64_t i = first; i < pins->deeds; i++)
        if (!visit(context, &pins->trail[i % SB_TRAIL_MAX]))
            return false;
    return true;
}

/* --- their life --- */

sb_status sb_pins_init(sb_pins *pins, const uint8_t secret[16])
{
    *pins = (sb_pins){0};
    sb_list_init(&pins->by_age);
    return sb_map_init(&pins->map, secret);
}

void sb_pins_fini(sb_pins *pins)
{
    while (!sb_list_empty(&pins->by_age))
        drop(pins, sb_container_of(pins->by_age.next, sb_custody, age));
    sb_map_fini(&pins->map);
}

void sb_pins_tick(sb_engine *e)
{
    sb_ns now = sb_env_now(e->env);
    unsigned handled = 0;
    if (!e->pins.walked)
        walk(e);
    sb_list_each_safe (it, &e->pins.by_age) {
        sb_custody *c = sb_container_of(it, sb_custody, age);
        if (now < c->next_at || handled == DUE_MAX)
            continue;
        handled++;
        c->next_at = now + SB_PIN_LOOK_EVERY;
        tend(e, c); /* which may end it */
    }
}

void sb_pins_moved(sb_engine *e)
{
    sb_list_each (it, &e->pins.by_age) {
        sb_custody *c = sb_container_of(it, sb_custody, age);
        c->dns[0] = c->dns[1] = SB_DNS_UNKNOWN;
        c->life = SB_LIVENESS_UNKNOWN;
        c->wrong_seen = false;
        c->right_since = c->replaced_since = 0;
        c->found_count = 0;
        c->next_at = sb_env_now(e->env);
        resume(e, c, "the network is another");
    }
}

void sb_pins_used(sb_engine *e, const sb_question *question, const sb_offer *offer)
{
    bool emergency = offer->source == SB_SOURCE_EMERGENCY;
    if (!emergency && offer->source != SB_SOURCE_PIN)
        return;
    sb_custody_kind kind = emergency ? SB_CUSTODY_EMERGENCY : SB_CUSTODY_PIN;
    sb_name name = question->name;
    sb_name_fold(&name);
    sb_custody *c = find(&e->pins, &name, kind);
    if (!c) {
        if (!(c = obtain(e, &name, kind)))
            return;
        if (emergency)
            tell(e, &name, kind, SB_DEED_SERVED, "the DNS gives nothing to believe");
    }
    c->uses++;
    c->last_used = sb_env_now(e->env);
}

void sb_pins_heard(sb_engine *e, const sb_asked *asked, const sb_answer *answer)
{
    const sb_question *q = &asked->question;
    if (e->pins.map.count == 0 || !sb_type_is_address(q->type) || q->class != SB_CLASS_IN)
        return;
    sb_custody *c = find(&e->pins, &q->name, SB_CUSTODY_EMERGENCY);
    /* An answer, or a denial the operator obeys. */
    if (c && answer && (answer->kind == SB_KIND_POSITIVE || answer->kind == SB_KIND_NXDOMAIN)) {
        tell(e, &q->name, SB_CUSTODY_EMERGENCY, SB_DEED_RESTS, "the DNS is right again");
        drop(&e->pins, c);
    }
    c = find(&e->pins, &q->name, SB_CUSTODY_PIN);
    if (c)
        take_word(e, c, q->type == SB_TYPE_AAAA, answer);
}

bool sb_pins_aside(const sb_pins *pins, const sb_name *name)
{
    const sb_custody *c = pins->map.count > 0 ? find(pins, name, SB_CUSTODY_PIN) : NULL;
    return c && c->aside;
}

bool sb_pins_emergency_over(const sb_pins *pins, const sb_asked *asked, sb_ns now)
{
    const sb_custody *c = asked->policy.emergency_for > 0
                              ? find(pins, &asked->question.name, SB_CUSTODY_EMERGENCY)
                              : NULL;
    return c && now - c->since >= asked->policy.emergency_for;
}

/* --- one of them --- */

static size_t key_of(const sb_name *name, sb_custody_kind kind, uint8_t *ret_key)
{
    sb_writer w = sb_writer_of(ret_key, SB_NAME_MAX + 1);
    sb_write_u8(&w, (uint8_t)kind);
    sb_name_write(&w, name);
    return w.size;
}

static sb_custody *find(const sb_pins *pins, const sb_name *name, sb_custody_kind kind)
{
    uint8_t key[SB_NAME_MAX + 1];
    size_t size = key_of(name, kind, key);
    sb_map_node *node = sb_map_find(&pins->map, key, size);
    return node ? sb_container_of(node, sb_custody, node) : NULL;
}

static sb_custody *obtain(sb_engine *e, const sb_name *name, sb_custody_kind kind)
{
    sb_pins *pins = &e->pins;
    sb_custody *c = find(pins, name, kind);
    if (c)
        return c;
    if (pins->map.count >= SB_CUSTODIES_MAX) {
        sb_custody *oldest = sb_container_of(pins->by_age.next, sb_custody, age);
        sb_count(&e->stats, SB_COUNT_LIMIT_CUSTODIES);
        resume(e, oldest, "too many are watched");
        drop(pins, oldest);
    }
    if (!(c = sb_new(sb_custody)))
        return NULL;
    c->name = *name;
    c->kind = (uint8_t)kind;
    c->since = sb_env_now(e->env);
    c->next_at = c->since;
    sb_list_init(&c->age);
    sb_list_push(&pins->by_age, &c->age);
    sb_map_insert(&pins->map, &c->node, c->key, key_of(name, kind, c->key));
    return c;
}

static void drop(sb_pins *pins, sb_custody *c)
{
    sb_map_remove(&pins->map, &c->node);
    sb_list_remove(&c->age);
    sb_free(c);
}

static void tell(sb_engine *e, const sb_name *name, sb_custody_kind kind, sb_deed deed,
                 const char *reason)
{
    char text[SB_NAME_TEXT_MAX], quoted[SB_NAME_TEXT_MAX];
    sb_clock clock;
    e->env->ops->clock(e->env, &clock);
    e->pins.trail[e->pins.deeds++ % SB_TRAIL_MAX] =
        (sb_deed_info){.wall_ns = clock.wall_ns,
                       .name = *name,
                       .emergency = kind == SB_CUSTODY_EMERGENCY,
                       .deed = (uint8_t)deed,
                       .reason = reason};
    sb_events_emit(
        &e->events,
        (sb_event){.type = SB_EVENT_PIN, .name = sb_name_digest(name), .a = deed, .b = kind});
    const char *quoted_name = sb_log_escape(quoted, sizeof quoted, sb_name_text(name, text));
    const char *what = kind == SB_CUSTODY_PIN ? "pin" : "emergency";
    if (deed == SB_DEED_EXPIRED || deed == SB_DEED_DEAD || deed == SB_DEED_ASIDE)
        sb_log(RESOLVE, WARN, "addresses by hand", "name=%s what=%s deed=%s reason=\"%s\"",
               quoted_name, what, sb_deed_text(deed), reason);
    else
        sb_log(RESOLVE, INFO, "addresses by hand", "name=%s what=%s deed=%s reason=\"%s\"",
               quoted_name, what, sb_deed_text(deed), reason);
}

static size_t pinned_addresses(sb_engine *e, const sb_name *name, sb_addr *ret, size_t max,
                               sb_tick *ret_until)
{
    sb_question question = {.name = *name, .class = SB_CLASS_IN};
    sb_l1_key key = {.question = &question, .view = SB_VIEW_PIN};
    size_t n = 0;
    for (size_t i = 0; i < SB_ARRAY_SIZE(types) && n < max; i++) {
        sb_l1_entry entry;
        question.type = types[i];
        if (sb_l1_find(sb_l1_reader_of(e->l1), &key, e->scratch, &entry) != SB_OK ||
            sb_l1_now(e->l1) >= entry.life.due)
            continue;
        *ret_until = entry.life.due;
        sb_answer *answer = sb_answer_of_entry(&entry);
        if (answer)
            n += sb_answer_addresses(answer, ret + n, max - n);
        sb_answer_unref(answer);
    }
    return n;
}

static sb_asked asked_of(sb_engine *e, const sb_name *name, uint16_t type)
{
    sb_question question = {.name = *name, .type = type, .class = SB_CLASS_IN};
    sb_asked asked;
    sb_engine_asked(e, e->settings, &question, &asked);
    return asked;
}

/* What the DNS says of a pinned name: what was learned and is fresh, or a new question, whose
 * flight tells sb_pins_heard. */
static void ask_dns(sb_engine *e, sb_custody *c, unsigned family)
{
    sb_asked asked = asked_of(e, &c->name, types[family]);
    sb_ctx ctx = sb_engine_ctx(e, e->settings);
    sb_l1_entry entry;
    if (asked.special != SB_SPECIAL_NONE || sb_policy_hides(&asked.policy, types[family]))
        return;
    bool fresh = sb_entry_find(&ctx, &asked.question, asked.view, false, &entry) &&
                 !sb_entry_moved(&ctx, &entry) &&
                 sb_l1_freshness(&entry, sb_l1_now(e->l1)) == SB_FRESH;
    sb_answer *answer = fresh ? sb_answer_of_entry(&entry) : NULL;
    if (answer)
        take_word(e, c, family, answer);
    else if (!sb_refresh_paced(e, &asked))
        take_word(e, c, family, NULL); /* it failed a moment ago */
    sb_answer_unref(answer);
}

static void withdraw(sb_engine *e, const sb_name *take_name, const char *reason)
{
    sb_name name = *take_name; /* its memory goes */
    if (remove_pin(e, &name) == SB_OK)
        tell(e, &name, SB_CUSTODY_PIN, SB_DEED_WITHDRAWN, reason);
}

/* From aside. What readers have taken for theirs meanwhile is not any more. */
static void resume(sb_engine *e, sb_custody *c, const char *reason)
{
    if (!c->aside)
        return;
    c->aside = false;
    c->replaced_since = 0;
    sb_l1_bump_policy(e->l1, e->settings->hash, NULL);
    tell(e, &c->name, SB_CUSTODY_PIN, SB_DEED_RESUMED, reason);
}

/* Maintenance of the pinned server is no reason to forget what the operator said: the DNS may be
 * wrong, and is served for as long only as its address alone is known to live. */
static void weigh_life(sb_engine *e, sb_custody *c)
{
    sb_ns now = sb_env_now(e->env);
    uint16_t port = asked_of(e, &c->name, SB_TYPE_A).policy.port;
    sb_liveness theirs = port > 0 && c->found_count > 0
                             ? sb_endpoints_life_of(e->endpoints, c->found, c->found_count, port)
                             : SB_LIVENESS_UNKNOWN;
    bool dead = c->life != SB_LIVENESS_UNKNOWN && c->life != SB_LIVENESS_ALIVE;
    if (c->aside) {
        if (!dead)
            resume(e, c, "its addresses answer");
        else if (port == 0 || c->found_count == 0)
            resume(e, c, "nothing else is known to live");
        else if (theirs != SB_LIVENESS_ALIVE && theirs != SB_LIVENESS_UNKNOWN)
            resume(e, c, "those of the DNS are dead too");
    } else if (!dead || theirs != SB_LIVENESS_ALIVE) {
        c->replaced_since = 0;
    } else if (c->replaced_since == 0) {
        c->replaced_since = now;
    } else if (now - c->replaced_since >= SB_PIN_ASIDE_AFTER) {
        c->aside = true;
        tell(e, &c->name, SB_CUSTODY_PIN, SB_DEED_ASIDE,
             "its addresses are dead, those of the DNS live");
    }
}

static void expire(sb_engine *e, sb_custody *c)
{
    sb_name name = c->name;
    drop(&e->pins, c);
    tell(e, &name, SB_CUSTODY_PIN, SB_DEED_EXPIRED, "its time is over");
}

/* Between two ticks a pin may be over and not yet tended: whoever looks sees none. */
static void end_over(sb_engine *e)
{
    sb_list_each_safe (it, &e->pins.by_age) {
        sb_custody *c = sb_container_of(it, sb_custody, age);
        sb_addr any;
        sb_tick until;
        if (c->kind == SB_CUSTODY_PIN && pinned_addresses(e, &c->name, &any, 1, &until) == 0)
            expire(e, c);
    }
}

static void tend_pin(sb_engine *e, sb_custody *c)
{
    sb_addr addrs[SB_LOOKS_MAX];
    sb_tick until = 0;
    sb_ns now = sb_env_now(e->env);
    size_t n = pinned_addresses(e, &c->name, addrs, SB_LOOKS_MAX, &until);
    if (n == 0) {
        expire(e, c);
        return;
    }
    if (until < UINT32_MAX - 1 && sb_l1_ns_of(e->l1, until) < c->next_at)
        c->next_at = sb_l1_ns_of(e->l1, until) + SB_S / SB_TICKS_PER_S;
    watch_life(e, c, addrs, n);
    if (c->wrong_seen && c->right_since > 0 && now - c->right_since >= SB_PIN_RIGHT_FOR) {
        withdraw(e, &c->name, "the DNS gives its addresses again");
        return;
    }
    weigh_life(e, c);
    for (unsigned family = 0; family < SB_ARRAY_SIZE(types); family++)
        ask_dns(e, c, family);
}

static void tend_emergency(sb_engine *e, sb_custody *c)
{
    sb_asked asked = asked_of(e, &c->name, SB_TYPE_A);
    if (asked.policy.emergency_count == 0) { /* reloaded away */
        sb_name name = c->name;
        drop(&e->pins, c);
        tell(e, &name, SB_CUSTODY_EMERGENCY, SB_DEED_UNSET, "by the configuration");
        return;
    }
    watch_life(e, c, asked.policy.emergency, asked.policy.emergency_count);
    if (!c->over && sb_pins_emergency_over(&e->pins, &asked, sb_env_now(e->env))) {
        c->over = true;
        tell(e, &c->name, SB_CUSTODY_EMERGENCY, SB_DEED_EXPIRED, "emergency_for is over");
    }
}

static void tend(sb_engine *e, sb_custody *c)
{
    if (c->kind == SB_CUSTODY_PIN)
        tend_pin(e, c);
    else
        tend_emergency(e, c);
}

/* Probed while a port is known, whether anybody asks or not; a change is told. */
static void watch_life(sb_engine *e, sb_custody *c, const sb_addr *addrs, size_t n)
{
    sb_asked asked = asked_of(e, &c->name, SB_TYPE_A);
    uint16_t port = asked.policy.port;
    if (port == 0)
        return;
    sb_endpoints_look_all(e->endpoints, addrs, n, port, asked.policy.probe_every);
    if (c->found_count > 0)
        sb_endpoints_look_all(e->endpoints, c->found, c->found_count, port,
                              asked.policy.probe_every);
    sb_liveness before = (sb_liveness)c->life;
    sb_liveness life =
        sb_endpoints_life_of(e->endpoints, addrs, n < SB_LOOKS_MAX ? n : SB_LOOKS_MAX, port);
    if (life == SB_LIVENESS_UNKNOWN)
        return;
    c->life = (uint8_t)life;
    bool lives = life == SB_LIVENESS_ALIVE, lived = before == SB_LIVENESS_ALIVE;
    if (!lives && (lived || before == SB_LIVENESS_UNKNOWN))
        tell(e, &c->name, (sb_custody_kind)c->kind, SB_DEED_DEAD,
             life == SB_LIVENESS_HOST ? "its addresses refuse" : "its addresses do not answer");
    else if (lives && !lived && before != SB_LIVENESS_UNKNOWN)
        tell(e, &c->name, (sb_custody_kind)c->kind, SB_DEED_ALIVE, "its addresses answer");
}

static bool is_among(const sb_addr *addr, const sb_addr *addrs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (sb_addr_same_host(addr, &addrs[i]))
            return true;
    return false;
}

/* In place of those of that family. */
static void take_found(sb_custody *c, unsigned family, const sb_addr *addrs, size_t n)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < c->found_count; i++)
        if ((c->found[i].family == SB_FAMILY_6) != (family == 1))
            c->found[kept++] = c->found[i];
    for (size_t i = 0; i < n && kept < SB_LOOKS_MAX; i++)
        c->found[kept++] = addrs[i];
    c->found_count = kept;
}

/* The DNS is right where every pinned address of the family is among its own. */
static void take_word(sb_engine *e, sb_custody *c, unsigned family, const sb_answer *answer)
{
    sb_addr pinned[16], said[32];
    sb_tick until;
    size_t n = pinned_addresses(e, &c->name, pinned, SB_ARRAY_SIZE(pinned), &until), m = 0, own = 0;
    sb_dns_word word = !answer                            ? SB_DNS_FAILS
                       : answer->kind != SB_KIND_POSITIVE ? SB_DNS_DENIES
                                                          : SB_DNS_AGREES;
    if (word == SB_DNS_AGREES)
        m = sb_answer_addresses(answer, said, SB_ARRAY_SIZE(said));
    for (size_t i = 0; i < n; i++) {
        if ((pinned[i].family == SB_FAMILY_6) != (family == 1))
            continue;
        own++;
        if (word == SB_DNS_AGREES && !is_among(&pinned[i], said, m))
            word = SB_DNS_DIFFERS;
    }
    /* What is not pinned need not agree. */
    if (own == 0)
        word = SB_DNS_UNKNOWN;
    c->dns[family] = (uint8_t)word;
    /* What it gave last may live on though it fails now. */
    if (own > 0 && word != SB_DNS_FAILS)
        take_found(c, family, said, word == SB_DNS_DIFFERS ? m : 0);
    bool right = true, any = false;
    for (unsigned f = 0; f < 2; f++) {
        any |= c->dns[f] != SB_DNS_UNKNOWN;
        right &= c->dns[f] == SB_DNS_UNKNOWN || c->dns[f] == SB_DNS_AGREES;
    }
    c->wrong_seen |= !right;
    if (!right || !any)
        c->right_since = 0;
    else if (c->right_since == 0)
        c->right_since = sb_env_now(e->env);
}

/* Pins of before, a share of the file at a time. */
static void walk(sb_engine *e)
{
    sb_pins *pins = &e->pins;
    for (unsigned i = 0; i < WALK_ENTRIES; i++) {
        sb_l1_entry entry;
        if (!sb_l1_walk(sb_l1_reader_of(e->l1), &pins->cursor, e->scratch, &entry)) {
            pins->walked = true;
            return;
        }
        if (entry.view != SB_VIEW_PIN || sb_l1_now(e->l1) >= entry.life.due)
            continue;
        sb_reader r = sb_reader_of(entry.body, entry.body_size);
        sb_name name;
        if (sb_name_read_plain(&r, &name))
            (void)obtain(e, &name, SB_CUSTODY_PIN);
    }
}
