/* See oracle.h. */
#include "sim/oracle_read.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SLACK (SB_S + SB_S / 4) /* a second of TTL rounding, ticks, links */
#define PATIENCE_MOST (1800 * SB_MS)
#define BARE_TTL (5 * SB_S)    /* of a denial without SOA: enough to stop a tight loop */
#define HELD_MOST (6 * SB_S)   /* a denial in hand waits so long at most */
#define HEAL_TIME (100 * SB_S) /* longest back-off and the longest failure caching, with room */

static void date(oracle *o, parsed *p);
static void judge_failure(oracle *o, const parsed *p, const oracle_key *key);
static void judge_special(oracle *o, const parsed *p);
static void judge_place(oracle *o, const parsed *p);
static void judge_age(oracle *o, const parsed *p, const oracle_key *key);
static void judge_history(oracle *o, const parsed *p, const oracle_key *key);
static void judge_denied(oracle *o, const parsed *p, oracle_key *key);
static void judge_doubt(oracle *o, const parsed *p, const oracle_key *key);
static void note_lie(oracle *o, const parsed *p, sb_ns at);
static void note_denial(oracle *o, const parsed *p, sb_ns at);
static void judge_lie(oracle *o, const parsed *p);
static void learn(oracle *o, const parsed *p, oracle_key *key);
static void must_answer(oracle *o, const parsed *p, const oracle_key *key, const char *what);
static bool resolves(const oracle *o, unsigned id, sb_ns at);
static bool is_bare_word(const oracle *o, const parsed *p);
static bool nowhere(const oracle *o, unsigned id, sb_ns asked_at);
static bool override_due(oracle *o, const parsed *p, uint8_t *ret_origin);

void oracle_init(oracle *o, sim *s, zone *z)
{
    memset(o, 0, sizeof *o);
    o->s = s;
    o->z = z;
    o->healthy_since = 0;
}

void oracle_fail(oracle *o, const char *format, ...)
{
    if (o->failure[0])
        return;
    int n = snprintf(o->failure, sizeof o->failure,
                     "at %.3f s: ", (double)(sim_now(o->s) - 3600 * SB_S) / (double)SB_S);
    va_list args;
    va_start(args, format);
    vsnprintf(o->failure + n, sizeof o->failure - (size_t)n, format, args);
    va_end(args);
}

oracle_key *oracle_key_of(oracle *o, const sb_question *q)
{
    const zone_node *node = zone_find(o->z, &q->name);
    int slot = zone_slot_of(q->type);
    if (!node || slot < 0 || slot > SLOT_TXT)
        return NULL;
    unsigned variant = (q->dnssec_ok ? 1u : 0u) | (q->checking_disabled ? 2u : 0u);
    return &o->keys[(node->id * 3u + (unsigned)slot) * 4 + variant];
}

/* Decodes a right message on its way to the program. */
void oracle_said(oracle *o, const sb_question *question, const uint8_t *bytes, size_t size,
                 sb_ns at)
{
    oracle_reply reply = {.question = *question, .bytes = bytes, .size = size, .edns = true};
    parsed p = {.reply = &reply, .lenient = true};
    if (!oracle_read(o, &p)) {
        oracle_fail(o, "the simulator said what it cannot read itself");
        return;
    }
    if (p.msg.rcode != SB_RCODE_NOERROR && p.msg.rcode != SB_RCODE_NXDOMAIN)
        return;
    oracle_key *key = oracle_key_of(o, question);
    if (key && at > key->said_at)
        key->said_at = at;
    /* Asked without EDNS it may have been asked with DO. */
    if (key && o->no_edns && !question->dnssec_ok && at > key[1].said_at)
        key[1].said_at = at;
    if (key)
        oracle_said_elsewhere(o, (unsigned)(key - o->keys), p.positive);
    for (unsigned i = 0; i < p.claim_count; i++) {
        const oracle_claim *c = &p.claims[i];
        sb_ns *cell = c->negative ? &o->denied[c->id][c->version][c->slot]
                                  : &o->said[c->id][c->version][c->slot];
        if (at > *cell)
            *cell = at;
    }
    if (p.lie)
        note_lie(o, &p, at);
    note_denial(o, &p, at);
    bool typed = p.slot >= 0 && p.slot <= SLOT_TXT;
    if (p.positive || p.id < 0 || (!typed && p.msg.rcode != SB_RCODE_NXDOMAIN))
        return;
    if (typed && !p.serial && at > o->denied_bare[p.id][p.slot])
        o->denied_bare[p.id][p.slot] = at;
    /* It may be obeyed until it arrives and, where an earlier server is awaited, after: other
     * entries of the name need not be there any more. */
    for (unsigned i = 0; i < ORACLE_KEYS; i++) {
        if (i / 12 != (unsigned)p.id && !o->open_chains)
            continue;
        oracle_key *other = &o->keys[i];
        /* A bare one is not kept and removes nothing, but where it was doubted and confirmed. */
        if (!p.serial && other->known_positive && !o->z->nodes[i / 12].protect)
            continue;
        oracle_denied_elsewhere(o, i);
        other->known_positive = false;
        if (at > other->denied_at)
            other->denied_at = at;
        if (!p.serial || p.msg.rcode == SB_RCODE_NXDOMAIN)
            other->known = false; /* a bare one is not kept; one for all types lies under one */
    }
}

void oracle_judge(oracle *o, const oracle_reply *reply)
{
    parsed p = {.reply = reply};
    o->judged++;
    if (!oracle_read(o, &p) || p.id < 0 || p.slot < 0 || p.slot > SLOT_TXT)
        return;
    oracle_key *key = oracle_key_of(o, &reply->question);
    if (!key)
        return;
    if (p.msg.rcode != SB_RCODE_NOERROR && p.msg.rcode != SB_RCODE_NXDOMAIN) {
        o->failures_seen++;
        judge_failure(o, &p, key);
        return;
    }
    if (p.positive)
        o->positives_seen++;
    else
        o->negatives_seen++;
    o->stale_seen += p.stale;
    uint8_t origin;
    if (!o->trouble && override_due(o, &p, &origin) && origin != p.origin)
        oracle_fail(o, "%s: origin %u answered although %u overrides",
                    oracle_text(&reply->question), p.origin, origin);
    if (p.lie && p.ede != SB_EDE_SYNTHESIZED)
        judge_lie(o, &p);
    else if (p.origin != ORIGIN_ZONE || p.ede == SB_EDE_SYNTHESIZED)
        judge_special(o, &p);
    if (p.origin != ORIGIN_ZONE || p.ede == SB_EDE_SYNTHESIZED)
        return;
    if (!reply->edns && !p.positive && !p.serial) {
        if (!is_bare_word(o, &p)) /* by which right, EDNS would tell */
            must_answer(o, &p, key, "an empty answer");
        return;
    }
    judge_place(o, &p);
    date(o, &p);
    judge_age(o, &p, key);
    judge_history(o, &p, key);
    judge_denied(o, &p, key);
    judge_doubt(o, &p, key);
    if (!p.positive && !is_bare_word(o, &p))
        must_answer(o, &p, key, "a denial");
    learn(o, &p, key);
}

void oracle_silence(oracle *o, const sb_question *question, sb_ns asked_at)
{
    oracle_fail(o, "%s asked at %.3f s got no end", oracle_text(question),
                (double)(asked_at - 3600 * SB_S) / (double)SB_S);
}

bool oracle_knows(oracle *o, const sb_question *question)
{
    const oracle_key *key = oracle_key_of(o, question);
    if (key && nowhere(o, (unsigned)(key - o->keys) / 12, sim_now(o->s)))
        return false;
    return key && key->known && key->known_since > key->denied_at &&
           sim_now(o->s) < key->known_until && !o->open_chains;
}

/* Refreshing in the last tenth of a life (cache.prefetch) is no waste. */
bool oracle_needless(oracle *o, const sb_question *question)
{
    const oracle_key *key = oracle_key_of(o, question);
    if (!key || o->open_chains || o->trouble)
        return false;
    if (key->fresh_seen_at <= key->denied_at || key->said_at > key->fresh_seen_at)
        return false;
    if (key->fresh_seen_at < o->moved_at + SLACK) /* on another network: verified anew */
        return false;
    sb_ns margin = SLACK + (sb_ns)key->fresh_ttl_s * SB_S / 10;
    return sim_now(o->s) + margin < key->fresh_until;
}

/* When any alias with this target was said last, and the longest TTL one had. */
static sb_ns alias_said(const oracle *o, const oracle_claim *c, uint32_t *ret_ttl_s)
{
    const zone_node *node = &o->z->nodes[c->id];
    sb_ns said = 0;
    for (unsigned v = 0; v < node->version_count; v++) {
        sb_ns at = o->said[c->id][v][SLOT_CNAME];
        if (node->versions[v].alias != node->versions[c->version].alias || at == 0)
            continue;
        if (at > said)
            said = at;
        if (node->versions[v].ttl_s > *ret_ttl_s)
            *ret_ttl_s = node->versions[v].ttl_s;
    }
    return said;
}

/* Could the alias be of that version or newer? */
static bool alias_since(const oracle *o, const oracle_claim *c, unsigned version)
{
    const zone_node *node = &o->z->nodes[c->id];
    for (unsigned v = version; v < node->version_count; v++) {
        if (node->versions[v].alias == node->versions[c->version].alias &&
            o->said[c->id][v][SLOT_CNAME])
            return true;
    }
    return false;
}

static sb_ns lie_said(const oracle *o, const parsed *p)
{
    if (p->last_id < 0 || p->slot < 0)
        return 0;
    return p->positive ? o->lied[p->last_id][p->slot] : o->lied_denial[p->last_id];
}

/* Of the name asked, or of the end of its chain when that was asked for by itself. */
static sb_ns bare_said(const oracle *o, const parsed *p)
{
    sb_ns said = p->id >= 0 ? o->denied_bare[p->id][p->slot] : 0;
    sb_ns last = p->last_id >= 0 ? o->denied_bare[p->last_id][p->slot] : 0;
    return last > said ? last : said;
}

/* The latest instants until which this answer can have been fresh. */
static void date(oracle *o, parsed *p)
{
    p->end = p->said = SB_NEVER;
    p->authority_ttl_s = UINT32_MAX;
    for (unsigned i = 0; i < p->claim_count; i++) {
        const oracle_claim *c = &p->claims[i];
        const zone_version *v = &o->z->nodes[c->id].versions[c->version];
        sb_ns said = c->negative ? o->denied[c->id][c->version][c->slot]
                                 : o->said[c->id][c->version][c->slot];
        uint32_t ttl_s = c->negative ? v->negative_ttl_s : v->ttl_s;
        sb_ns end = said + (sb_ns)ttl_s * SB_S;
        if (c->slot == SLOT_CNAME)
            said = alias_said(o, c, &ttl_s);
        if (said == 0) {
            oracle_fail(o, "%s: nobody said version %u of n%02u (slot %u, %s)",
                        oracle_text(&p->reply->question), c->version, c->id, c->slot,
                        c->negative ? "denied" : "there");
            return;
        }
        if (!c->negative && v->count && p->private_of < 0 && c->slot != SLOT_CNAME) {
            unsigned n = 0;
            sb_msg_iter it = sb_msg_records(&p->msg, SB_SECTION_ANSWER);
            sb_record rec;
            while (sb_msg_next(&it, &rec))
                n += rec.type == p->reply->question.type;
            bool part = o->lives && !p->reply->direct && n > 0 && n < v->count;
            if (n != v->count && !part)
                oracle_wrong(o, p, "a set that is not whole");
        }
        if (end < p->end)
            p->end = end;
        if (said < p->said)
            p->said = said;
        if (said > p->said_last)
            p->said_last = said;
        if (ttl_s < p->authority_ttl_s)
            p->authority_ttl_s = ttl_s;
    }
    if (p->lie && p->claim_count == 0) {
        p->said = SB_NEVER;
    } else if (p->claim_count == 0) { /* a bare denial: nothing says how long it held */
        p->said = bare_said(o, p);
        p->end = p->said + BARE_TTL;
        p->authority_ttl_s = 0;
    } else if (!p->positive && !p->serial) { /* and one at the end of a chain */
        p->said = bare_said(o, p);
        p->end = p->said + BARE_TTL;
        p->authority_ttl_s = 0;
    }
    if (p->lie) { /* aliases on the way to it held longer or not */
        sb_ns said = p->id >= 0 ? lie_said(o, p) : 0;
        sb_ns end = said + ZONE_LIE_TTL * SB_S;
        p->said = said < p->said ? said : p->said;
        p->said_last = said > p->said_last ? said : p->said_last;
        p->end = p->claim_count == 0 || end < p->end ? end : p->end;
        if (p->claim_count == 0 || p->authority_ttl_s > ZONE_LIE_TTL)
            p->authority_ttl_s = ZONE_LIE_TTL;
    }
    p->fresh_end = p->end;
    /* The floor counts from when the last link was learned. */
    sb_ns floor = (o->open_chains ? p->said_last : p->said) + (sb_ns)o->limits.ttl_min_s * SB_S;
    if (p->positive && p->authority_ttl_s > 0 && floor > p->fresh_end)
        p->fresh_end = floor;
}

static void judge_failure(oracle *o, const parsed *p, const oracle_key *key)
{
    const sb_question *q = &p->reply->question;
    if (p->msg.rcode != SB_RCODE_SERVFAIL) {
        oracle_fail(o, "%s: rcode %u", oracle_text(q), p->msg.rcode);
        return;
    }
    bool verdict = o->verdicts && (!p->reply->edns || (p->ede >= 15 && p->ede <= 18) ||
                                   p->ede == SB_EDE_CACHED_ERROR);
    if (o->trouble || verdict)
        return;
    const zone_node *node = &o->z->nodes[p->id];
    uint8_t origin;
    if (override_due(o, p, &origin))
        oracle_fail(o, "%s: a failure although %u overrides", oracle_text(q), origin);
    if (node->emergency && p->slot <= SLOT_AAAA && p->reply->patience >= PATIENCE_MOST + SLACK)
        oracle_fail(o, "%s: a failure although there are emergency addresses", oracle_text(q));
    must_answer(o, p, key, "a failure");
    /* All servers good for long enough: only a name that loops may fail. */
    sb_ns healthy = o->healthy_since;
    if (healthy == SB_NEVER || p->reply->asked_at - healthy < HEAL_TIME ||
        p->reply->patience < 5 * SB_S)
        return;
    if (resolves(o, (unsigned)p->id, p->reply->asked_at))
        oracle_fail(o, "%s: a failure although all servers have been good since %.3f s",
                    oracle_text(q), (double)(healthy - 3600 * SB_S) / (double)SB_S);
}

/* Without SOA a denial answers who asked when it came, whatever is known (RFC 2308 §5). */
static bool is_bare_word(const oracle *o, const parsed *p)
{
    sb_ns said = o->denied_bare[p->id][p->slot];
    return !p->positive && !p->serial && said != 0 && said + BARE_TTL + SLACK >= p->reply->asked_at;
}

/* Has the name's chain had an end for a minute? */
static bool resolves(const oracle *o, unsigned id, sb_ns at)
{
    for (unsigned hops = 0; hops < 12; hops++) {
        uint8_t version;
        const zone_version *v = zone_at(&o->z->nodes[id], sim_now(o->s), &version);
        if (v->from > at - 60 * SB_S && v->from > 0)
            return false;
        if (!v->exists || v->alias == ZONE_NO_ALIAS)
            return true;
        id = v->alias;
    }
    return false;
}

/* Was it asked while nobody could know where we are, and does the name depend on it? */
static bool nowhere(const oracle *o, unsigned id, sb_ns asked_at)
{
    return o->z->nodes[id].split && (o->unmet || asked_at < o->settled_at + PATIENCE_MOST);
}

/* What was seen must be answered, in time, and positive stays positive unless denied. */
static void must_answer(oracle *o, const parsed *p, const oracle_key *key, const char *what)
{
    const oracle_reply *r = p->reply;
    sb_ns now = sim_now(o->s);
    if (nowhere(o, (unsigned)p->id, r->asked_at))
        return; /* asked while it was not known where we are */
    if (o->trouble || r->patience < PATIENCE_MOST + SLACK || !key->known || now >= key->known_until)
        return;
    bool failure = p->msg.rcode != SB_RCODE_NOERROR && p->msg.rcode != SB_RCODE_NXDOMAIN;
    if (failure && key->known_since <= r->asked_at && key->known_since > key->denied_at)
        oracle_fail(o, "%s: %s although an answer is known since %.3f s", oracle_text(&r->question),
                    what, (double)(key->known_since - 3600 * SB_S) / (double)SB_S);
    if (!failure && key->known_positive && key->positive_since <= r->asked_at &&
        key->positive_since > key->denied_at)
        oracle_fail(o, "%s: %s although a positive answer is known and nobody denied it",
                    oracle_text(&r->question), what);
}

/* Only what some server said, and none of it older than what is true may be. */
static void judge_lie(oracle *o, const parsed *p)
{
    sb_ns said = lie_said(o, p), now = sim_now(o->s);
    if (o->trouble)
        return;
    if (said == 0)
        oracle_fail(o, "%s: a lie nobody told", oracle_text(&p->reply->question));
    else if (o->age_unknown == 0 && now > said + ZONE_LIE_TTL * SB_S + o->limits.keep_most + SLACK)
        oracle_fail(o, "%s: a lie of %.1f s ago", oracle_text(&p->reply->question),
                    (double)(now - said) / (double)SB_S);
}

/* Pins, the hosts file, emergency addresses, and the empty answer of a known name. */
static void judge_special(oracle *o, const parsed *p)
{
    const oracle_reply *r = p->reply;
    sb_ns now = sim_now(o->s);
    const zone_node *node = &o->z->nodes[p->id];
    switch (p->origin) {
    case ORIGIN_PIN:
        if (now >= o->pin_until[p->id] + SLACK || o->pin_since[p->id] == 0)
            oracle_fail(o, "%s: a pin that ended", oracle_text(&r->question));
        return;
    case ORIGIN_HOSTS:
        if (now >= o->hosts_until[p->id] + 4 * SB_S || o->hosts_since[p->id] == 0)
            oracle_fail(o, "%s: a line the hosts file no longer has", oracle_text(&r->question));
        return;
    case ORIGIN_EMERGENCY:
        if (!node->emergency)
            oracle_fail(o, "%s: an emergency address of nobody", oracle_text(&r->question));
        if (r->edns && p->ede != SB_EDE_SYNTHESIZED)
            oracle_fail(o, "%s: an emergency address without EDE 29", oracle_text(&r->question));
        break;
    default: /* EDE 29 without records */
        break;
    }
    if (p->ttl_least_s != UINT32_MAX && p->ttl_most_s > o->limits.stale_ttl_s)
        oracle_fail(o, "%s: emergency TTL %u", oracle_text(&r->question), p->ttl_most_s);
    const oracle_key *key = oracle_key_of(o, &r->question);
    if (key && p->origin != ORIGIN_EMERGENCY)
        must_answer(o, p, key, "an empty answer");
    else if (key && key->known_positive && key->positive_since <= r->asked_at &&
             key->positive_since > key->denied_at && !o->trouble && now < key->known_until &&
             r->patience >= PATIENCE_MOST + SLACK && !o->lives)
        oracle_fail(o, "%s: an emergency address although a learned one is known",
                    oracle_text(&r->question));
}

static void judge_age(oracle *o, const parsed *p, const oracle_key *key)
{
    const oracle_reply *r = p->reply;
    const sb_question *q = &r->question;
    sb_ns now = sim_now(o->s);
    bool just_now = (o->open_chains ? p->said_last : p->said) >= r->asked_at ||
                    (!p->positive && p->said + o->hold >= r->asked_at);
    if (o->failure[0])
        return;
    if (p->ttl_least_s == UINT32_MAX && p->positive)
        return;
    if (now >= p->end + o->limits.keep_most + SLACK && now >= p->fresh_end + SLACK && !just_now &&
        o->age_unknown == 0)
        oracle_fail(o, "%s: stale beyond its age, as said %.1f s ago with TTL %u", oracle_text(q),
                    (double)(now - p->said) / (double)SB_S, p->authority_ttl_s);
    if (p->positive && !p->stale && p->ttl_most_s > o->limits.ttl_max_s &&
        p->ttl_most_s > o->limits.ttl_min_s && (r->direct || p->ttl_most_s > o->limits.stale_ttl_s))
        oracle_fail(o, "%s: TTL %u over the cap", oracle_text(q), p->ttl_most_s);
    if (p->stale) {
        if (p->ttl_least_s != UINT32_MAX && p->ttl_most_s > o->limits.stale_ttl_s)
            oracle_fail(o, "%s: stale with TTL %u", oracle_text(q), p->ttl_most_s);
        if ((p->ede == SB_EDE_STALE_NXDOMAIN) != (p->msg.rcode == SB_RCODE_NXDOMAIN))
            oracle_fail(o, "%s: EDE %d with rcode %u", oracle_text(q), p->ede, p->msg.rcode);
        if (p->msg.flags & SB_FLAG_AD)
            oracle_fail(o, "%s: stale with AD", oracle_text(q));
        if (now + SB_S / 4 < key->fresh_until && key->fresh_seen_at > key->denied_at &&
            key->said_at <= key->fresh_seen_at && !o->trouble &&
            (!key->tentative || key->fresh_seen_at > o->moved_at))
            oracle_fail(o, "%s: stale although fresh until %.3f s", oracle_text(q),
                        (double)(key->fresh_until - 3600 * SB_S) / (double)SB_S);
        if (o->quick && !o->trouble && !o->z->nodes[p->id].protect &&
            o->healthy_since != SB_NEVER && r->asked_at - o->healthy_since > HEAL_TIME &&
            r->asked_at > o->doubt_until + HEAL_TIME && resolves(o, (unsigned)p->id, r->asked_at))
            oracle_fail(o, "%s: stale although all servers have been good for long",
                        oracle_text(q));
        return;
    }
    if (!p->positive && !p->serial) {
        if (now > p->said + BARE_TTL + SB_S + SLACK && r->edns && !o->trouble)
            oracle_fail(o, "%s: a denial without SOA kept as fresh", oracle_text(q));
        return;
    }
    /* A reboot with an anchor of before a small step moves what is known by that much, unseen. */
    sb_ns unseen = o->age_unknown ? ORACLE_SMALL_STEP : 0;
    if (!r->edns) {
        if (now >= p->fresh_end + unseen + SLACK && !just_now &&
            p->ttl_most_s > o->limits.stale_ttl_s)
            oracle_fail(o, "%s: an old answer with TTL %u", oracle_text(q), p->ttl_most_s);
        return;
    }
    if (now >= p->fresh_end + unseen + SLACK && !just_now)
        oracle_fail(o, "%s: shown as fresh, %.1f s after its end (TTL %u)", oracle_text(q),
                    (double)(now - p->fresh_end) / (double)SB_S, p->authority_ttl_s);
    else if (p->authority_ttl_s == 0 && !just_now)
        oracle_fail(o, "%s: TTL 0 served from the cache as fresh", oracle_text(q));
    /* After a reboot the wall clock tells the age, and its small steps are no break. */
    sb_ns late = SLACK + (o->age_unknown ? 2 * SB_S : 0);
    uint32_t left_s =
        p->fresh_end + late > now ? (uint32_t)((p->fresh_end - now + late) / SB_S) : 0;
    if (p->ttl_least_s != UINT32_MAX && p->ttl_least_s > left_s + 1)
        oracle_fail(o, "%s: TTL %u, but %u s are left, as said %.3f s ago with TTL %u",
                    oracle_text(q), p->ttl_least_s, left_s, (double)(now - p->said) / (double)SB_S,
                    p->authority_ttl_s);
    if (now >= p->said + (sb_ns)o->limits.ttl_max_s * SB_S + SLACK && p->positive &&
        o->limits.ttl_max_s >= o->limits.ttl_min_s && p->ttl_most_s > o->limits.stale_ttl_s)
        oracle_fail(o, "%s: beyond the cap with TTL %u", oracle_text(q), p->ttl_most_s);
}

/* A14: a private answer is served on its own network only, but for the moment in which a move is
 * noticed. */
static void judge_place(oracle *o, const parsed *p)
{
    if (p->private_of < 0 || p->private_of == (int)o->network)
        return;
    bool unnoticed = sim_now(o->s) <= o->moved_at + ORACLE_NOTICED ||
                     (o->left_at && o->left_at <= o->moved_at + ORACLE_NOTICED);
    if (!(o->networks_before >> p->private_of & 1) || !unnoticed)
        oracle_fail(o, "%s: an address of network %d, served on %u",
                    oracle_text(&p->reply->question), p->private_of, o->network);
}

static void note_lie(oracle *o, const parsed *p, sb_ns at)
{
    if (p->last_id < 0 || p->slot < 0 || p->slot > SLOT_TXT)
        return;
    sb_ns *cell = p->positive ? &o->lied[p->last_id][p->slot] : &o->lied_denial[p->last_id];
    *cell = at > *cell ? at : *cell;
}

/* How long all who spoke of a protected name and type have denied it. (RFC 4074 §4.2: a denial of
 * the name under one type does not end what still holds under another.) */
static void note_denial(oracle *o, const parsed *p, sb_ns at)
{
    if (p->id < 0 || p->slot < 0 || p->slot > SLOT_TXT ||
        (!p->positive && p->reply->question.checking_disabled))
        return; /* what was not validated denies nothing that was */
    bool name = !p->positive && p->msg.rcode == SB_RCODE_NXDOMAIN;
    for (int slot = 0; slot <= SLOT_TXT; slot++) {
        if (p->positive || !p->serial) {
            o->denials_since[p->id][slot] = 0; /* of another type as well: the name lives */
        } else if (slot == p->slot) {
            if (o->denials_since[p->id][slot] == 0 || o->denied_whole[p->id][slot] != name)
                o->denials_since[p->id][slot] = at;
            o->denied_whole[p->id][slot] = name;
            if (at > o->denied_last[p->id][slot])
                o->denied_last[p->id][slot] = at;
        }
    }
}

/* A12. What was answered is not denied before the denials have agreed for protect_confirm; and with
 * good servers that have denied it for longer, a denial that was heard then is obeyed. */
static void judge_doubt(oracle *o, const parsed *p, const oracle_key *key)
{
    const oracle_reply *r = p->reply;
    sb_ns now = sim_now(o->s), since = o->denials_since[p->id][p->slot];
    sb_ns last = o->denied_last[p->id][p->slot];
    if (o->trouble || !o->z->nodes[p->id].protect || !r->edns)
        return;
    /* The word of the only server there is weighs less: what stood for long, and a zone of which
     * much vanishes at once, hold it up, but never beyond protect_max. */
    sb_ns needed = o->lone ? o->limits.doubt_most : o->limits.confirm;
    /* A validated denial that nothing validated stood against was believed: it ends this too. */
    bool outranked = r->question.checking_disabled && last > key->answered_at;
    if (!p->positive && !outranked && key->answered_at && key->answered_at < r->asked_at &&
        now < key->answered_at + o->limits.keep_least && now < key->answered_at + o->limits.confirm)
        oracle_fail(o, "%s: denied although protected and answered %.3f s ago",
                    oracle_text(&r->question), (double)(now - key->answered_at) / (double)SB_S);
    o->doubted_seen += p->positive && p->stale && since && last > key->answered_at;
    if (p->positive && since && since > o->reset_at && since > o->healthy_since &&
        o->healthy_since != SB_NEVER && since - o->healthy_since > HEAL_TIME &&
        last > since + needed + SB_S && r->asked_at > last + SB_S)
        oracle_fail(o, "%s: answered although denied by all from %.3f s to %.3f s",
                    oracle_text(&r->question), (double)(since - 3600 * SB_S) / (double)SB_S,
                    (double)(last - 3600 * SB_S) / (double)SB_S);
}

/* When a denial that is shown was believed. Of a protected name it may have been said again since
 * and doubted: the TTL it is kept with tells the age at most. */
static sb_ns denied_when(const oracle *o, const parsed *p, const oracle_key *key)
{
    /* Said to this very question: the same words to another DO or CD are another denial. */
    sb_ns now = sim_now(o->s), denied = p->said < key->said_at ? p->said : key->said_at;
    denied = denied < now ? denied : now;
    if (!o->z->nodes[p->id].protect || p->reply->direct || p->ttl_least_s == UINT32_MAX)
        return denied;
    uint32_t ttl_s = p->authority_ttl_s < o->limits.negative_ttl_max_s
                         ? p->authority_ttl_s
                         : o->limits.negative_ttl_max_s;
    uint32_t age_s = ttl_s > p->ttl_least_s ? ttl_s - p->ttl_least_s : 0;
    sb_ns kept = now - (sb_ns)age_s * SB_S - SLACK;
    return kept < denied ? kept : denied;
}

/* An obeyed denial removes the positive for good, whatever DO and CD it was asked with; one that
 * was asked with CD, and so not validated, removes what was not validated either. A denial of the
 * whole name removes of the other types what the authority no longer stands for (RFC 4074 §4.2:
 * some servers deny the name for an AAAA). Denials that are shown marked as stale prove nothing,
 * nor do those without EDNS, which cannot be marked, nor those without SOA, which are not kept. */
static void judge_denied(oracle *o, const parsed *p, oracle_key *key)
{
    bool cd = p->reply->question.checking_disabled;
    /* Before a move is noticed the answer of the network before is shown (judge_place), and a
     * denial on this one is no word against it. */
    if (p->private_of >= 0 && p->private_of != (int)o->network)
        return;
    sb_ns denied = denied_when(o, p, key);
    if (o->trouble || (cd && p->positive && o->z->nodes[p->id].protect))
        return; /* a denial may be shown, unbelieved, beside what was not validated */
    if (p->positive) {
        sb_ns seen = o->denial_seen[p->id][p->slot], whole = o->name_denied[p->id];
        /* … while nothing else was said to that question, and while it is kept: after that what was
         * validated serves in need. */
        if (cd && key->cd_denied > seen && key->said_at <= key->cd_denied &&
            sim_now(o->s) < key->cd_denied + o->limits.keep_least)
            seen = key->cd_denied;
        if (whole > seen && p->end + SLACK < whole)
            seen = whole;
        /* A denial is known by the latest instant at which it can have come. */
        if (p->said_last + o->slowest < seen && seen < p->reply->asked_at)
            oracle_fail(o, "%s: an answer of %.3f s, denied at %.3f s",
                        oracle_text(&p->reply->question),
                        (double)(p->said_last - 3600 * SB_S) / (double)SB_S,
                        (double)(seen - 3600 * SB_S) / (double)SB_S);
        return;
    }
    if (nowhere(o, (unsigned)p->id, p->reply->asked_at))
        return; /* denied by whom, and of which network? */
    if (denied < o->doubt_until + SLACK)
        return; /* shown, but soon after a move it is not believed */
    /* One that was kept, or what a probe was told later? */
    sb_ns probed = o->probed[p->id];
    if (probed && denied >= probed && denied - probed < HELD_MOST)
        return;
    /* A power loss may bring back what the denial had removed, beside the denial. */
    if (p->stale || !p->serial || !p->reply->edns || denied <= o->power_at)
        return;
    sb_ns *seen = cd ? &key->cd_denied : &o->denial_seen[p->id][p->slot];
    if (denied > *seen)
        *seen = denied;
    /* Of a protected name it may be shown, for a type that has nothing, and not be believed. A
     * server's own word dates it well enough to say what had ended by then. */
    if (!cd && p->msg.rcode == SB_RCODE_NXDOMAIN && !o->z->nodes[p->id].protect && p->reply->direct)
        o->name_denied[p->id] = p->reply->asked_at;
}

/* Once something newer was seen, the older does not come back unless somebody said it again. */
static void judge_history(oracle *o, const parsed *p, const oracle_key *key)
{
    sb_ns now = sim_now(o->s);
    if (o->trouble || !key->known || now >= key->known_until || key->denied_at > key->seen_at ||
        key->tentative)
        return;
    if (nowhere(o, (unsigned)p->id, p->reply->asked_at))
        return; /* asked while it was not known where we are */
    for (unsigned i = 0; i < p->claim_count; i++) {
        const oracle_claim *c = &p->claims[i];
        for (unsigned j = 0; j < key->claim_count; j++) {
            const oracle_claim *k = &key->claims[j];
            if (k->id != c->id || (k->slot == SLOT_CNAME) != (c->slot == SLOT_CNAME) ||
                c->version >= k->version ||
                (c->slot == SLOT_CNAME && alias_since(o, c, k->version)))
                continue;
            sb_ns said = c->negative ? o->denied[c->id][c->version][c->slot]
                                     : o->said[c->id][c->version][c->slot];
            if (said < key->seen_at && key->seen_at <= p->reply->asked_at)
                oracle_fail(o, "%s: version %u of n%02u came back after %u%s",
                            oracle_text(&p->reply->question), c->version, c->id, k->version,
                            k->negative ? ", a denial," : "");
        }
    }
}

static void learn(oracle *o, const parsed *p, oracle_key *key)
{
    sb_ns now = sim_now(o->s);
    if (p->stale || !p->reply->edns || (!p->positive && !p->serial))
        return; /* proves nothing new */
    if (nowhere(o, (unsigned)p->id, p->reply->asked_at))
        return; /* not kept before it is known where it belongs */
    if (p->reply->asked_at <= o->reset_at)
        return; /* settled before what was known had to go, perhaps */
    /* Shown from before a denial that may still be on its way to being believed (a flight that goes
     * on without its askers): no proof of what is kept. */
    if (p->positive && !p->reply->direct && p->said_last < key->denied_at)
        return;
    /* Capped: within the authority's TTL, but due. */
    bool due = p->ttl_most_s <= o->limits.stale_ttl_s && p->said < p->reply->asked_at;
    if (!key->known || key->known_since <= key->denied_at) {
        key->known = true;
        key->known_since = now;
    }
    bool again = key->tentative && key->claim_count == p->claim_count &&
                 memcmp(key->claims, p->claims, sizeof key->claims) == 0;
    /* The message to this very question: what was said to others is kept for them. It has come by
     * now, however late it could have been. */
    sb_ns heard = key->said_at < p->said_last ? key->said_at : p->said_last;
    /* A probe may have heard it once more, later, and kept nothing. */
    bool by_probe = o->probed[p->id] && heard - o->probed[p->id] < HELD_MOST;
    key->tentative = again || by_probe || (heard < now ? heard : now) < o->doubt_until + SLACK;
    /* Elsewhere there is no more than what was known before. */
    sb_ns until = now + o->limits.keep_least;
    if (!due && !key->tentative && until > key->known_until)
        key->known_until = until;
    /* Shown while the denial waits for the first server's word, it does not outlast it. */
    bool waits = p->said_last <= key->denied_at && now - key->denied_at < HELD_MOST;
    bool old = due && key->denied_at > p->said; /* shown after all, and before it is denied */
    if (p->positive && !old && !waits &&
        (!key->known_positive || key->positive_since <= key->denied_at)) {
        key->known_positive = true;
        /* Denied while it waited: that may have been heard, but not believed, before. */
        key->positive_since = key->denied_at > p->reply->asked_at ? p->reply->asked_at : now;
    } else if (!p->positive) {
        key->known_positive = false;
    }
    /* What another DO or CD was told may be served in need, and proves nothing of this question:
     * only what comes from a server does. */
    bool own = p->reply->direct;
    /* What began before a reload may be shown by one rule and kept by another. */
    own = own && p->reply->asked_at > o->reset_at;
    if (own && p->positive)
        key->answered_at = now;
    if (!due && own && p->ttl_least_s != UINT32_MAX) {
        key->fresh_until = now + (sb_ns)p->ttl_least_s * SB_S;
        key->fresh_ttl_s = p->ttl_least_s;
        /* One that is still on its way and says something else replaces it. */
        key->fresh_seen_at = now > heard ? now : heard;
    }
    key->seen_at = now;
    key->claim_count = p->claim_count;
    memcpy(key->claims, p->claims, sizeof key->claims);
}

/* A pin, else a hosts line, that held from before the question until now. */
static bool override_due(oracle *o, const parsed *p, uint8_t *ret_origin)
{
    sb_ns now = sim_now(o->s), asked = p->reply->asked_at;
    if (p->slot > SLOT_AAAA)
        return false;
    if (o->pin_aside[p->id])
        return false;
    if (o->pin_since[p->id] && o->pin_since[p->id] < asked && now + SLACK < o->pin_until[p->id]) {
        *ret_origin = ORIGIN_PIN;
        return true;
    }
    if (o->pin_since[p->id] && now < o->pin_until[p->id] + SLACK)
        return false;
    if (o->hosts_since[p->id] && o->hosts_since[p->id] + 4 * SB_S < asked &&
        now + SLACK < o->hosts_until[p->id]) {
        *ret_origin = ORIGIN_HOSTS;
        return true;
    }
    return false;
}
