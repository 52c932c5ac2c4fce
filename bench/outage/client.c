/* See client.h. */
#include "outage/client.h"

#include <errno.h>
#include <unistd.h>

#include "base/mem.h"
#include "dns/rdata.h"

#define IDS 65536
#define SEARCH_PERMILLE 250
/* Of four look-ups one asks four questions instead of two. */
#define QUESTIONS_PER_LOOK_UP_TENTHS 25
#define IN_FLIGHT_NS (20 * MS)      /* longer than the slower upstream's way back */
#define SETTLE_NS (1 * SECOND)      /* for breakers to open */
#define SETTLE_BACK_NS (2 * SECOND) /* for breakers to close */
#define FLIGHT_NS (5 * MS)          /* of the ideal cache: the primary's round trip */

typedef struct lookup {
    client *c;
    zone_id id;
    unsigned open; /* questions without an end */
} lookup;

typedef struct client_question {
    loop_timer timer;
    lookup *of;
    client_socket *socket;
    sb_question question;
    int64_t asked_ns;
    uint16_t id;
    unsigned sent;
} client_question;

static void tick(loop_timer *timer);
static zone_id choose(client *c);
static void ask(lookup *l, uint16_t type);
static void count_question(world *w, zone_id id, uint16_t type, int64_t now);
static void transmit(client_question *q);
static void question_timer(loop_timer *timer);
static void socket_ready(loop_watch *watch);
static void take_reply(client *c, const uint8_t *bytes, size_t size);
static void settle(client_question *q, const zone_seen *seen);
static void lookup_step(lookup *l);
static tally_group group_of(const world *w, zone_id id, int64_t asked, int64_t now);

bool client_open(client *c, world *w, unsigned index, unsigned rate, bool resends)
{
    *c = (client){.w = w, .index = index, .rate = rate, .resends = resends};
    c->tick.fire = tick;
    c->interval_ns = SECOND * QUESTIONS_PER_LOOK_UP_TENTHS / 10 / rate;
    c->next_cold = index * ZONE_COLD / 2;
    sb_rand_seed(&c->rand, w->seed + index);
    c->pending = sb_calloc(IDS, sizeof(struct client_question *));
    if (!c->pending)
        return false;
    struct sockaddr_storage sa;
    socklen_t size = sb_addr_to_sockaddr(&w->resolver, &sa);
    while (c->socket_count < CLIENT_SOCKETS) {
        client_socket *s = &c->sockets[c->socket_count];
        s->owner = c;
        s->watch.ready = socket_ready;
        s->watch.fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (s->watch.fd < 0)
            return false;
        c->socket_count++;
        if (connect(s->watch.fd, (struct sockaddr *)&sa, size) ||
            !loop_watch_add(&w->loop, &s->watch))
            return false;
    }
    return true;
}

void client_close(client *c)
{
    for (unsigned i = 0; i < c->socket_count; i++)
        close(c->sockets[i].watch.fd);
    for (size_t id = 0; c->pending && id < IDS; id++) {
        client_question *q = c->pending[id];
        if (!q)
            continue;
        loop_cancel(&c->w->loop, &q->timer);
        if (--q->of->open == 0)
            sb_free(q->of);
        sb_free(q);
    }
    sb_free(c->pending);
}

void client_start(client *c, int64_t at_ns)
{
    c->next_ns = at_ns;
    loop_at(&c->w->loop, &c->tick, at_ns);
}

void client_look_up(client *c, zone_id id, bool search)
{
    lookup *l = sb_new(lookup);
    SB_ASSERT(l);
    *l = (lookup){.c = c, .id = id};
    l->id.suffixed = search;
    c->outstanding++;
    ask(l, SB_TYPE_A);
    ask(l, SB_TYPE_AAAA);
}

static void tick(loop_timer *timer)
{
    client *c = sb_container_of(timer, client, tick);
    world *w = c->w;
    int64_t late = loop_now() - c->next_ns;
    w->late_max_ns = late > w->late_max_ns ? late : w->late_max_ns;
    if (c->next_ns >= w->end_ns)
        return;
    zone_id id = choose(c);
    client_look_up(c, id, sb_rand_chance(&c->rand, SEARCH_PERMILLE));
    c->next_ns += c->interval_ns;
    loop_at(&w->loop, &c->tick, c->next_ns);
}

static zone_id choose(client *c)
{
    uint64_t n = c->started++;
    if (n % 2)
        return (zone_id){.kind = ZONE_NEW, .index = c->w->next_new++};
    if (n % 4)
        return (zone_id){.kind = ZONE_KNOWN, .index = (uint32_t)sb_rand_below(&c->rand, ZONE_HOT)};
    uint32_t cold = c->next_cold++ % ZONE_COLD;
    return (zone_id){.kind = ZONE_KNOWN, .index = ZONE_HOT + cold};
}

static void ask(lookup *l, uint16_t type)
{
    client *c = l->c;
    client_question *q = sb_new(client_question);
    SB_ASSERT(q);
    while (c->pending[c->next_id])
        c->next_id++;
    q->id = c->next_id++;
    c->pending[q->id] = q;
    q->of = l;
    q->socket = &c->sockets[q->id % CLIENT_SOCKETS];
    q->timer.fire = question_timer;
    zone_name(l->id, &q->question.name);
    q->question.type = type;
    q->question.class = SB_CLASS_IN;
    q->asked_ns = loop_now();
    l->open++;
    count_question(c->w, l->id, type, q->asked_ns);
    transmit(q);
}

/* What a cache without faults would have needed: a flight for each question whose last answer has
 * expired. */
static void count_question(world *w, zone_id id, uint16_t type, int64_t now)
{
    if (now < w->zero_ns || now >= w->end_ns)
        return;
    if (!world_alive(w)) {
        w->tally.questions_dead++;
        return;
    }
    w->tally.questions_alive++;
    if (id.kind == ZONE_KNOWN) {
        int64_t *until = &w->fresh_until[id.index][id.suffixed][type == SB_TYPE_AAAA];
        if (now < *until)
            return;
        *until = now + FLIGHT_NS + ZONE_TTL_S * SECOND;
    }
    tally_flight(&w->tally, now - w->zero_ns);
    w->tally.flights_denied += world_denies(w, id, now);
}

static void transmit(client_question *q)
{
    client *c = q->of->c;
    uint8_t bytes[512];
    sb_builder b;
    sb_builder_init(&b, bytes, sizeof bytes, q->id, SB_FLAG_RD);
    sb_builder_question(&b, &q->question);
    if (!c->resends)
        sb_builder_edns(&b, SB_EDNS_UDP_SIZE, 0, false, (sb_span){NULL, 0});
    size_t size = sb_builder_finish(&b);
    /* A refusal that came for an earlier datagram is reported here, and this one is not sent. */
    for (int tries = 0; tries < 3; tries++) {
        if (send(q->socket->watch.fd, bytes, size, 0) >= 0 || errno != ECONNREFUSED)
            break;
    }
    q->sent++;
    int64_t next = CLIENT_PATIENCE_NS;
    if (c->resends && q->sent <= 2)
        next = (int64_t)q->sent * SECOND;
    loop_at(&c->w->loop, &q->timer, q->asked_ns + next);
}

static void question_timer(loop_timer *timer)
{
    client_question *q = sb_container_of(timer, client_question, timer);
    if (loop_now() - q->asked_ns >= CLIENT_PATIENCE_NS)
        settle(q, NULL);
    else
        transmit(q);
}

static void socket_ready(loop_watch *watch)
{
    client *c = sb_container_of(watch, client_socket, watch)->owner;
    uint8_t bytes[4096];
    ssize_t n = recv(watch->fd, bytes, sizeof bytes, 0);
    if (n >= 0)
        take_reply(c, bytes, (size_t)n);
}

static void take_reply(client *c, const uint8_t *bytes, size_t size)
{
    sb_msg reply;
    if (sb_msg_parse(bytes, size, &reply) != SB_OK || !(reply.flags & SB_FLAG_QR))
        return;
    client_question *q = c->pending[reply.id];
    if (!q || !sb_msg_answers(&reply, &q->question)) {
        c->w->tally.extra_replies++;
        return;
    }
    zone_seen seen;
    zone_see(&reply, &seen);
    settle(q, &seen);
}

/* seen NULL: patience ended. */
static void settle(client_question *q, const zone_seen *seen)
{
    lookup *l = q->of;
    client *c = l->c;
    world *w = c->w;
    int64_t now = loop_now();
    bool was_old = false;
    tally_entry entry = {.client = c->index,
                         .group = group_of(w, l->id, q->asked_ns, now),
                         .verdict = VERDICT_SILENT,
                         .latency_ns = seen ? now - q->asked_ns : CLIENT_PATIENCE_NS,
                         .at_ns = q->asked_ns - w->zero_ns,
                         .ede = seen ? seen->ede : SB_EDE_NONE};
    if (seen)
        entry.verdict =
            zone_judge(&w->zone, l->id, q->question.type, seen, q->asked_ns, now, &was_old);
    if (was_old) {
        int64_t since = w->zone.changed_ns != ZONE_NEVER ? w->zone.changed_ns : w->zone.deleted_ns;
        int64_t age = now - since;
        w->tally.last_old_ns = age > w->tally.last_old_ns ? age : w->tally.last_old_ns;
    }
    if (q->asked_ns >= w->warm_from_ns)
        tally_add(&w->tally, &entry);
    loop_cancel(&w->loop, &q->timer);
    c->pending[q->id] = NULL;
    sb_free(q);
    if (--l->open == 0)
        lookup_step(l);
}

/* After the suffixed name, whatever came of it, the name itself. */
static void lookup_step(lookup *l)
{
    client *c = l->c;
    if (l->id.suffixed && loop_now() < c->w->end_ns) {
        l->id.suffixed = false;
        ask(l, SB_TYPE_A);
        ask(l, SB_TYPE_AAAA);
        return;
    }
    c->outstanding--;
    sb_free(l);
}

static tally_group group_of(const world *w, zone_id id, int64_t asked, int64_t now)
{
    if (asked < w->zero_ns)
        return GROUP_WARM;
    bool restarted = w->restart_ns != ZONE_NEVER && now >= w->restart_ns;
    if (restarted && (w->exec_ns == ZONE_NEVER || asked < w->exec_ns + CLIENT_READY_GRACE_NS))
        return GROUP_DOWN;
    if (id.kind == ZONE_KNOWN)
        return GROUP_KNOWN;
    if (w->dead_from_ns == ZONE_NEVER || asked < w->dead_from_ns - IN_FLIGHT_NS)
        return GROUP_NEW;
    if (asked < w->dead_from_ns + SETTLE_NS ||
        (restarted && asked < w->exec_ns + SETTLE_NS && asked >= w->exec_ns))
        return GROUP_SETTLING;
    if (asked < w->dead_to_ns)
        return GROUP_HOPELESS;
    return asked < w->dead_to_ns + SETTLE_BACK_NS ? GROUP_SETTLING : GROUP_NEW;
}
