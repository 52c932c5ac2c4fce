/* Questions of a scene and what they must bring. See scene.h. */
#include <stdio.h>
#include <string.h>

#include "dns/rdata.h"
#include "sim/scene.h"

typedef struct wanted {
    unsigned addr_count;
    sb_addr addrs[16];
} wanted;

static bool parse_ask(scene *sc, client_request *r, char **words, unsigned n, unsigned *times,
                      bool *later, unsigned *ret_used);
static void check_one(scene *sc, const ask *a, char **words, unsigned n);
static bool check_word(scene *sc, const ask *a, const sb_msg *msg, char **words, unsigned n,
                       unsigned *used, wanted *w);
static bool check_pair(scene *sc, const ask *a, const sb_msg *msg, const char *word,
                       const char *value, bool *ret_known);
static bool check_ttl(scene *sc, const sb_msg *msg, const char *word);
static bool check_plain(scene *sc, const ask *a, const sb_msg *msg, const char *word,
                        bool *ret_known);
static void check_addresses(scene *sc, const ask *a, const sb_msg *msg, const wanted *w);
static bool has_alias(const sb_msg *msg, const char *text);
static bool has_tried(const scene_end *end, const char *text);
static void tell(const ask *a, const scene_end *end, char *buffer, size_t capacity);

/* ask NAME TYPE [via WAY] [times N] [do] [cd] [plain] [live] [no-degraded] [cached-only]
 * [half-close] [deadline T] [later] expect WORDS… */
void scene_ask(scene *sc, char **words, unsigned n)
{
    client_request r = {.edns = true, .udp_size = 1232, .deadline = SB_NEVER};
    unsigned times = 1, used = 0;
    bool later = false;
    if (!sc->d.up) {
        scene_fail(sc, "the program is not running");
        return;
    }
    r.timeout = sb_engine_settings(sc->d.engine)->query.timeout;
    if (!parse_ask(sc, &r, words, n, &times, &later, &used))
        return;
    sc->burst_count = 0;
    for (unsigned i = 0; i < times && i < CLIENT_ASKS / 2; i++) {
        ask *a = client_ask(&sc->c, &r);
        if (!a) {
            scene_fail(sc, "the question could not be asked");
            return;
        }
        sc->ends[a->index].ended = false;
        sc->burst[sc->burst_count++] = a;
    }
    if (!later)
        scene_settled(sc, words + used, n - used);
}

/* Waits for the last ask: settled expect WORDS… */
void scene_settled(scene *sc, char **words, unsigned n)
{
    for (unsigned i = 0; i < sc->burst_count; i++) {
        const ask *a = sc->burst[i];
        while (a->state == ASK_WAITING && !sc->failure[0])
            (void)sim_step(sc->s, sim_now(sc->s) + SB_S);
    }
    if (n == 0 || strcmp(words[0], "expect") != 0) {
        scene_fail(sc, "expect what?");
        return;
    }
    for (unsigned i = 0; i < sc->burst_count && !sc->failure[0]; i++)
        check_one(sc, sc->burst[i], words + 1, n - 1);
}

void scene_replied(void *context, ask *a, const uint8_t *bytes, size_t size, const sb_query *query)
{
    scene *sc = context;
    scene_end *end = &sc->ends[a->index];
    sb_msg msg;
    sb_span option;
    if (load_replied(sc->load, a, bytes, size))
        return;
    end->ended = true;
    end->took = sim_now(sc->s) - a->asked_at;
    end->size = size;
    memcpy(end->bytes, bytes, size);
    end->has_provenance = query != NULL;
    end->degraded = query && query->degraded;
    if (query)
        end->provenance = query->provenance;
    else if (sb_msg_parse(bytes, size, &msg) == SB_OK && msg.edns.present &&
             sb_edns_option(&msg.edns, SB_OPT_PROVENANCE, &option))
        end->has_provenance = sb_provenance_read(option, &end->provenance) == SB_OK;
    if (sc->verbose) {
        char text[400];
        tell(a, end, text, sizeof text);
        fprintf(stderr, "%9.3f %s\n", (double)(sim_now(sc->s) - sc->zero) / (double)SB_S, text);
    }
}

static bool parse_way(const char *text, client_way *ret)
{
    static const char *const ways[WAY_COUNT] = {"engine", "datagram", "udp", "tcp", "unix"};
    for (unsigned i = 0; i < WAY_COUNT; i++) {
        if (strcmp(text, ways[i]) == 0) {
            *ret = (client_way)i;
            return true;
        }
    }
    return false;
}

static bool parse_ask(scene *sc, client_request *r, char **words, unsigned n, unsigned *times,
                      bool *later, unsigned *ret_used)
{
    uint64_t value;
    sb_ns duration;
    if (n < 2 || !scene_name(sc, words[0], &r->question.name) ||
        !sb_type_parse(words[1], strlen(words[1]), &r->question.type)) {
        scene_fail(sc, "ask NAME TYPE …");
        return false;
    }
    r->question.class = SB_CLASS_IN;
    unsigned i = 2;
    for (; i < n && strcmp(words[i], "expect") != 0; i++) {
        const char *next = i + 1 < n ? words[i + 1] : "";
        if (strcmp(words[i], "do") == 0)
            r->question.dnssec_ok = true;
        else if (strcmp(words[i], "cd") == 0)
            r->question.checking_disabled = true;
        else if (strcmp(words[i], "plain") == 0)
            r->edns = false;
        else if (strcmp(words[i], "live") == 0)
            r->flags |= SB_ASK_LIVE;
        else if (strcmp(words[i], "no-degraded") == 0)
            r->flags |= SB_ASK_NO_DEGRADED;
        else if (strcmp(words[i], "cached-only") == 0)
            r->flags |= SB_ASK_CACHED_ONLY;
        else if (strcmp(words[i], "half-close") == 0)
            r->half_close = true;
        else if (strcmp(words[i], "later") == 0)
            *later = true;
        else if (strcmp(words[i], "via") == 0 && parse_way(next, &r->way))
            i++;
        else if (strcmp(words[i], "times") == 0 && sb_parse_u64(next, strlen(next), 128, &value))
            *times = (unsigned)value, i++;
        else if (strcmp(words[i], "deadline") == 0 && sb_parse_duration(next, false, &duration))
            r->deadline = sim_now(sc->s) + duration, i++;
        else {
            scene_fail(sc, "ask: %s?", words[i]);
            return false;
        }
    }
    *ret_used = i;
    return true;
}

static void check_one(scene *sc, const ask *a, char **words, unsigned n)
{
    const scene_end *end = &sc->ends[a->index];
    sb_msg msg;
    wanted w = {0};
    if (a->state != ASK_ENDED || !end->ended) {
        if (n == 1 && strcmp(words[0], "silence") == 0)
            return;
        scene_fail(sc, "the question got no reply");
        return;
    }
    if (sb_msg_parse(end->bytes, end->size, &msg) != SB_OK) {
        scene_fail(sc, "the reply does not parse");
        return;
    }
    for (unsigned i = 0; i < n && !sc->failure[0];) {
        unsigned used = 1;
        if (!check_word(sc, a, &msg, words + i, n - i, &used, &w)) {
            char text[400];
            tell(a, end, text, sizeof text);
            scene_fail(sc, "expected %s%s%s, got %s", words[i], used > 1 ? " " : "",
                       used > 1 ? words[i + 1] : "", text);
        }
        i += used;
    }
    if (w.addr_count > 0 && !sc->failure[0])
        check_addresses(sc, a, &msg, &w);
}

static bool check_word(scene *sc, const ask *a, const sb_msg *msg, char **words, unsigned n,
                       unsigned *used, wanted *w)
{
    bool known = false;
    if (w->addr_count < 16 && sb_addr_parse(words[0], strlen(words[0]), &w->addrs[w->addr_count])) {
        w->addr_count++;
        return true;
    }
    if (strncmp(words[0], "ttl", 3) == 0)
        return check_ttl(sc, msg, words[0] + 3);
    bool good = check_plain(sc, a, msg, words[0], &known);
    if (known)
        return good;
    if (n < 2) {
        scene_fail(sc, "expect: %s?", words[0]);
        return true;
    }
    *used = 2;
    good = check_pair(sc, a, msg, words[0], words[1], &known);
    if (!known)
        scene_fail(sc, "expect: %s?", words[0]);
    return good;
}

static bool check_plain(scene *sc, const ask *a, const sb_msg *msg, const char *word,
                        bool *ret_known)
{
    const scene_end *end = &sc->ends[a->index];
    int ede = sb_edns_ede(&msg->edns);
    const struct {
        const char *word;
        bool good;
    } plain[] = {
        {"nxdomain", msg->rcode == SB_RCODE_NXDOMAIN},
        {"nodata", msg->rcode == SB_RCODE_NOERROR && (msg->counts[1] == 0 || has_alias(msg, NULL))},
        {"servfail", msg->rcode == SB_RCODE_SERVFAIL},
        {"refused", msg->rcode == SB_RCODE_REFUSED},
        {"noerror", msg->rcode == SB_RCODE_NOERROR},
        {"stale", ede == SB_EDE_STALE || ede == SB_EDE_STALE_NXDOMAIN},
        {"fresh", ede == SB_EDE_NONE && !end->degraded},
        {"degraded", end->degraded},
        {"tc", (msg->flags & SB_FLAG_TC) != 0},
        {"ad", (msg->flags & SB_FLAG_AD) != 0},
        {"no-ad", (msg->flags & SB_FLAG_AD) == 0},
        {"no-edns", !msg->edns.present},
    };
    for (size_t i = 0; i < SB_ARRAY_SIZE(plain); i++) {
        if (strcmp(word, plain[i].word) == 0) {
            *ret_known = true;
            return plain[i].good;
        }
    }
    return false;
}

static bool check_pair(scene *sc, const ask *a, const sb_msg *msg, const char *word,
                       const char *value, bool *ret_known)
{
    const scene_end *end = &sc->ends[a->index];
    sb_ns duration;
    uint64_t number;
    *ret_known = true;
    if (strcmp(word, "source") == 0)
        return end->has_provenance && strcmp(sb_source_text(end->provenance.source), value) == 0;
    if (strcmp(word, "ede") == 0) {
        int ede = sb_edns_ede(&msg->edns);
        if (strcmp(value, "none") == 0)
            return ede == SB_EDE_NONE;
        return sb_parse_u64(value, strlen(value), 65535, &number) && ede == (int)number;
    }
    if (strcmp(word, "within") == 0 && sb_parse_duration(value, false, &duration))
        return end->took <= duration;
    if (strcmp(word, "after") == 0 && sb_parse_duration(value, false, &duration))
        return end->took >= duration;
    if (strcmp(word, "alias") == 0)
        return has_alias(msg, value);
    if (strcmp(word, "text") == 0) { /* of the EDE; _ for a blank */
        char text[200] = "";
        sb_span span;
        if (!sb_edns_option(&msg->edns, SB_OPT_EDE, &span))
            return false;
        for (size_t i = 2; i < span.size && i < sizeof text; i++)
            text[i - 2] = span.data[i] == ' ' ? '_' : (char)span.data[i];
        return strstr(text, value) != NULL;
    }
    if (strcmp(word, "tried") == 0)
        return has_tried(end, value);
    if (strcmp(word, "answers") == 0 && sb_parse_u64(value, strlen(value), 65535, &number))
        return msg->counts[1] == number;
    *ret_known = false;
    return true;
}

/* <=N, >=N, =N for every record but OPT. */
static bool check_ttl(scene *sc, const sb_msg *msg, const char *word)
{
    uint64_t bound;
    char op = word[0];
    word += op == '=' ? 1 : 2;
    if (!sb_parse_u64(word, strlen(word), UINT32_MAX, &bound)) {
        scene_fail(sc, "ttl%c…?", op);
        return true;
    }
    for (int section = SB_SECTION_ANSWER; section <= SB_SECTION_AUTHORITY; section++) {
        sb_msg_iter it = sb_msg_records(msg, section);
        sb_record rec;
        while (sb_msg_next(&it, &rec)) {
            bool good = op == '<'   ? rec.ttl_s <= bound
                        : op == '>' ? rec.ttl_s >= bound
                                    : rec.ttl_s == bound;
            if (!good)
                return false;
        }
    }
    return true;
}

/* The addresses in the reply are those wanted, no more, no fewer. */
static void check_addresses(scene *sc, const ask *a, const sb_msg *msg, const wanted *w)
{
    sb_msg_iter it = sb_msg_records(msg, SB_SECTION_ANSWER);
    sb_record rec;
    unsigned found = 0, others = 0;
    while (sb_msg_next(&it, &rec)) {
        if (rec.type != SB_TYPE_A && rec.type != SB_TYPE_AAAA)
            continue;
        const uint8_t *rdata = msg->bytes.data + rec.rdata_at;
        sb_addr addr = rec.type == SB_TYPE_A ? sb_addr_4(rdata, 0) : sb_addr_6(rdata, 0);
        bool known = false;
        for (unsigned i = 0; i < w->addr_count; i++)
            known = known || sb_addr_equal(&addr, &w->addrs[i]);
        found += known;
        others += !known;
    }
    if (found == w->addr_count && others == 0)
        return;
    char text[400], wanted_text[SB_ADDR_TEXT_MAX];
    tell(a, &sc->ends[a->index], text, sizeof text);
    scene_fail(sc, "expected %u address(es), %s first, got %s", w->addr_count,
               sb_addr_text(&w->addrs[0], wanted_text), text);
}

/* An alias to that name; NULL: any. */
static bool has_alias(const sb_msg *msg, const char *text)
{
    sb_name wanted_name, target;
    if (text && sb_name_parse(text, strlen(text), &wanted_name, NULL) != SB_OK)
        return false;
    sb_msg_iter it = sb_msg_records(msg, SB_SECTION_ANSWER);
    sb_record rec;
    while (sb_msg_next(&it, &rec)) {
        if (rec.type != SB_TYPE_CNAME)
            continue;
        sb_reader reader = sb_reader_of(msg->bytes.data, msg->bytes.size);
        sb_read_skip(&reader, rec.rdata_at);
        if (!text || (sb_name_read(&reader, 0, &target) && sb_name_equal(&target, &wanted_name)))
            return true;
    }
    return false;
}

/* "wire:timeout" or a part of it. */
static bool has_tried(const scene_end *end, const char *text)
{
    for (unsigned i = 0; end->has_provenance && i < end->provenance.tried_count; i++) {
        char one[64];
        const sb_tried *t = &end->provenance.tried[i];
        snprintf(one, sizeof one, "%s:%s", sb_strategy_text(t->strategy),
                 sb_outcome_text((sb_outcome)t->status));
        if (strstr(one, text))
            return true;
    }
    return false;
}

static void tell(const ask *a, const scene_end *end, char *buffer, size_t capacity)
{
    sb_msg msg;
    char name[SB_NAME_TEXT_MAX], type[16], rcode[16];
    if (sb_msg_parse(end->bytes, end->size, &msg) != SB_OK) {
        snprintf(buffer, capacity, "nonsense");
        return;
    }
    int n = snprintf(buffer, capacity, "%s %s: %s, %u answers, ede %d%s, source %s, %.3f s,",
                     sb_name_text(&a->question.name, name), sb_type_text(a->question.type, type),
                     sb_rcode_text(msg.rcode, rcode), msg.counts[1], sb_edns_ede(&msg.edns),
                     end->degraded ? ", degraded" : "",
                     end->has_provenance ? sb_source_text(end->provenance.source) : "?",
                     (double)end->took / (double)SB_S);
    sb_msg_iter it = sb_msg_records(&msg, SB_SECTION_ANSWER);
    sb_record rec;
    while (n > 0 && (size_t)n < capacity && sb_msg_next(&it, &rec)) {
        char text[SB_ADDR_TEXT_MAX] = "?";
        const uint8_t *rdata = msg.bytes.data + rec.rdata_at;
        sb_addr addr = {0};
        if (rec.type == SB_TYPE_A && rec.rdata_size == 4)
            addr = sb_addr_4(rdata, 0);
        else if (rec.type == SB_TYPE_AAAA && rec.rdata_size == 16)
            addr = sb_addr_6(rdata, 0);
        if (addr.family)
            sb_addr_text(&addr, text);
        int more = snprintf(buffer + n, capacity - (size_t)n, " %s/%u", text, rec.ttl_s);
        if (more < 0)
            return;
        n += more;
    }
}
