/* Where questions go: the daemon, an engine of our own, the cache file; in that order.
 *
 * Owns the connection, the in-process engine and the mapped cache file of one command. Prints
 * nothing but a note when a daemon that was named is not there. The main thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cmd/stubborn.h"
#include "cmd/stubborn_local.h"
#include "dns/rdata.h"
#include "io/uv_env.h"

#define SLACK (1 * SB_S)              /* the daemon's own deadline comes first and says more */
#define LOCAL_SLACK (250 * SB_MS)     /* and so does that of our own engine */
#define STUCK_PATIENCE (1 * SB_S)     /* for a connection, the first reply, one to a mere call */
#define KNOWN_PATIENCE (100 * SB_MS)  /* the heartbeat stands still and the file knows the name */
#define STALE_PATIENCE (1800 * SB_MS) /* RFC 8767 §5 */
#define SYSTEM_SOCKET "/run/stubborn/stubborn.sock"

typedef struct sb_world {
    bool with_daemon;
    bool hung;         /* there is one, and it does not answer */
    bool file, others; /* answered the questions asked last */
    sb_ns began;       /* the command as a whole has one deadline */
    sb_edge_client client;
    sb_local *local;
    sb_edge_cache *cache; /* read beside an engine that has none of its own */
    sb_l1_buffer *buffer;
    uint16_t next_id;
    char socket[108];
    char via[600];
} sb_world;

static void begin(sb_cli *cli);
static sb_ns deadline_of(const sb_cli *cli);
static sb_ns look_into_file(sb_cli *cli, sb_asked *asked, size_t count, uint8_t ask,
                            sb_ns deadline);
static void tell_absent(const sb_cli *cli, sb_status status);
static void begin_local(sb_cli *cli, sb_ns deadline);
static void open_cache(sb_cli *cli);
static bool send_all(sb_world *world, sb_asked *asked, size_t count, uint16_t first, uint8_t ask,
                     sb_ns deadline);
static void receive_all(sb_cli *cli, sb_asked *asked, size_t count, uint16_t first, sb_ns deadline,
                        sb_ask_grace *grace);
static bool heart_stands(sb_world *world);
static void call_out(sb_world *world, uint16_t id);
static bool all_answered(const sb_asked *asked, size_t count);
static bool is_failure(const sb_asked *asked);
static bool is_verdict(const sb_edge_reply *reply);
static bool from_cache(sb_cli *cli, sb_asked *asked, bool stale_too);
static bool known(sb_cli *cli, const sb_asked *asked, size_t count, bool stale_too);
static bool make_reply(sb_cli *cli, sb_asked *asked, const sb_edge_hit *hit);

void sb_cli_ask(sb_cli *cli, sb_asked *asked, size_t count, uint8_t ask, sb_ask_grace *grace)
{
    for (size_t i = 0; i < count; i++)
        asked[i].status = SB_TIMEOUT;
    begin(cli);
    sb_world *world = cli->world;
    if (!world)
        return;
    for (int round = 0; round < 2; round++) {
        sb_ns until = look_into_file(cli, asked, count, ask, deadline_of(cli));
        if (all_answered(asked, count))
            break;
        if (!world->with_daemon && !world->local)
            begin_local(cli, until);
        uint16_t first = world->next_id;
        world->next_id = (uint16_t)(first + count + 1); /* and one for call_out */
        if (world->client.fd >= 0 && send_all(world, asked, count, first, ask, until))
            receive_all(cli, asked, count, first, until, grace);
        if (all_answered(asked, count) || world->client.fd >= 0 || !world->with_daemon)
            break;
        world->with_daemon = false; /* it went away in the middle, or hangs */
        if (world->hung)
            tell_absent(cli, SB_TIMEOUT);
    }
    for (size_t i = 0; i < count && !(ask & SB_ASK_NO_DEGRADED); i++)
        if (!asked[i].is_final && is_failure(&asked[i]))
            (void)from_cache(cli, &asked[i], true);
    world->file = world->others = false;
    for (size_t i = 0; i < count; i++) {
        world->file = world->file || asked[i].from_file;
        world->others = world->others || !asked[i].from_file;
    }
}

void sb_asked_fini(sb_asked *asked, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sb_edge_reply_fini(&asked[i].reply);
}

sb_outcome sb_asked_outcome(const sb_asked *asked)
{
    const sb_msg *msg = &asked->reply.msg;
    if (!asked->answered)
        return sb_outcome_of_status(asked->status);
    if (asked->reply.has_provenance && asked->reply.provenance.status != SB_OUTCOME_NONE)
        return (sb_outcome)asked->reply.provenance.status;
    switch (msg->rcode) {
    case SB_RCODE_NOERROR:
        return msg->counts[1] > 0 ? SB_OUTCOME_OK : SB_OUTCOME_NODATA;
    case SB_RCODE_NXDOMAIN:
        return SB_OUTCOME_NXDOMAIN;
    case SB_RCODE_REFUSED:
        return SB_OUTCOME_REFUSED;
    case SB_RCODE_FORMERR:
        return SB_OUTCOME_MALFORMED;
    default:
        return SB_OUTCOME_SERVFAIL;
    }
}

bool sb_asked_degraded(const sb_asked *asked)
{
    const sb_provenance *p = &asked->reply.provenance;
    return asked->answered && asked->reply.has_provenance &&
           (p->flags & SB_PROVENANCE_STALE || p->source == SB_SOURCE_STALE ||
            p->source == SB_SOURCE_EMERGENCY || p->source == SB_SOURCE_GUESS);
}

const char *sb_cli_via(const sb_cli *cli)
{
    sb_world *world = cli->world;
    const char *who = "this process (no daemon)";
    if (world && world->with_daemon)
        who = world->socket;
    else if (world && world->hung)
        who = "this process (the daemon does not answer)";
    if (!world || !world->file)
        return who;
    (void)snprintf(world->via, sizeof world->via, "%s%sthe cache file %s", world->others ? who : "",
                   world->others ? " and " : "", cli->settings->cache.file);
    return world->via;
}

json_t *sb_cli_json_daemon(const sb_cli *cli)
{
    const sb_world *world = cli->world;
    return world ? json_boolean(world->with_daemon && (world->others || !world->file))
                 : json_null();
}

const char *sb_cli_socket(const sb_cli *cli)
{
    if (cli->arg[SB_ARG_SOCKET])
        return cli->arg[SB_ARG_SOCKET];
    const char *path = cli->settings->listen.socket;
    const char *chosen = getenv("STUBBORN_SOCKET");
    /* A user without a daemon of his own has the system's. */
    if (!cli->arg[SB_ARG_CONFIG] && !(chosen && chosen[0]) && path && access(path, F_OK) != 0 &&
        access(SYSTEM_SOCKET, F_OK) == 0)
        return SYSTEM_SOCKET;
    return path && path[0] ? path : SYSTEM_SOCKET;
}

sb_ns sb_cli_deadline(const sb_cli *cli)
{
    return !cli->world || cli->world->hung ? 0 : deadline_of(cli);
}

void sb_cli_close(sb_cli *cli)
{
    sb_world *world = cli->world;
    if (!world)
        return;
    sb_edge_client_close(&world->client);
    sb_local_stop(world->local);
    sb_edge_cache_close(world->cache);
    sb_free(world->buffer);
    sb_free(world);
    cli->world = NULL;
}

static void begin(sb_cli *cli)
{
    if (cli->world)
        return;
    sb_world *world = cli->world = sb_new(sb_world);
    if (!world)
        return;
    world->client.fd = -1;
    world->next_id = 1;
    world->began = sb_edge_now();
    (void)snprintf(world->socket, sizeof world->socket, "%s", sb_cli_socket(cli));
    open_cache(cli);
    sb_ns deadline = deadline_of(cli), soon = world->began + STUCK_PATIENCE;
    sb_status status =
        sb_edge_client_open(world->socket, soon < deadline ? soon : deadline, &world->client, NULL);
    if (status == SB_OK) {
        world->with_daemon = true;
        return;
    }
    world->hung = status == SB_TIMEOUT;
    tell_absent(cli, status);
    if (!world->hung)
        begin_local(cli, deadline);
}

/* Of the command as a whole. A daemon that is well says more with its last word, a little later. */
static sb_ns deadline_of(const sb_cli *cli)
{
    const sb_world *world = cli->world;
    if (cli->timeout)
        return world->began + cli->timeout + (world->local && !world->hung ? LOCAL_SLACK : 0);
    return world->began + cli->settings->query.timeout + (world->hung ? 0 : SLACK);
}

/* What the file of another knows fresh is answered. Returns how long the rest is waited for: not
 * past what RFC 8767 allows where a stale answer is at hand. */
static sb_ns look_into_file(sb_cli *cli, sb_asked *asked, size_t count, uint8_t ask, sb_ns deadline)
{
    sb_world *world = cli->world;
    bool own = world->local && sb_local_has_cache(world->local);
    if (!world->cache || world->with_daemon || own)
        return deadline;
    for (size_t i = 0; i < count && !(ask & SB_ASK_LIVE); i++)
        if (!asked[i].answered)
            (void)from_cache(cli, &asked[i], false);
    sb_ns soon = sb_edge_now() + STALE_PATIENCE;
    return soon < deadline && known(cli, asked, count, true) ? soon : deadline;
}

/* A daemon is no need; one that was named, or is there and may not be asked, is missed. */
static void tell_absent(const sb_cli *cli, sb_status status)
{
    const char *chosen = getenv("STUBBORN_SOCKET"), *path = cli->world->socket;
    const char *servers = cli->settings->upstream_count > 0 ? "the configured servers"
                                                            : "the servers of /etc/resolv.conf";
    if (status == SB_PERM)
        sb_cli_note("the daemon at %s is there, permission denied: listen.allow and cache.share "
                    "decide who may ask; asking %s myself",
                    path, servers);
    else if (status == SB_TIMEOUT)
        sb_cli_note("the daemon at %s does not answer; going on without it", path);
    else if (cli->arg[SB_ARG_SOCKET] || (chosen && chosen[0]))
        sb_cli_note("no daemon at %s; asking %s myself", path, servers);
}

static void begin_local(sb_cli *cli, sb_ns deadline)
{
    sb_world *world = cli->world;
    sb_edge_client_close(&world->client);
    if (sb_local_start(cli->settings, &world->local, NULL) != SB_OK) {
        world->local = NULL;
        return;
    }
    if (sb_edge_client_open(sb_local_socket(world->local), deadline, &world->client, NULL) != SB_OK)
        world->client.fd = -1;
    sb_local_hide(world->local);
}

static void open_cache(sb_cli *cli)
{
    sb_world *world = cli->world;
    const char *path = cli->settings->cache.file;
    sb_uv_guard_sigbus(); /* its owner may cut the file at any moment */
    sb_edge_cache_on_map(sb_uv_guard_mapping);
    if (!path || !path[0] || sb_edge_cache_open(path, &world->cache, NULL) != SB_OK) {
        world->cache = NULL;
        return;
    }
    world->buffer = sb_new(sb_l1_buffer);
    if (!world->buffer) {
        sb_edge_cache_close(world->cache);
        world->cache = NULL;
    }
}

static bool send_all(sb_world *world, sb_asked *asked, size_t count, uint16_t first, uint8_t ask,
                     sb_ns deadline)
{
    for (size_t i = 0; i < count; i++) {
        if (asked[i].answered)
            continue;
        sb_status status = sb_edge_client_ask(&world->client, (uint16_t)(first + i),
                                              &asked[i].question, ask, deadline, NULL);
        if (status == SB_OK)
            continue;
        for (size_t k = 0; k < count; k++)
            asked[k].status = status;
        sb_edge_client_close(&world->client);
        return false;
    }
    return true;
}

/* Until it said anything a daemon is watched: one that hangs takes connections and questions all
 * the same. What the file knows fresh a daemon says at once; for the rest it may need its time, but
 * not for a call that asks nothing of it. */
static void receive_all(sb_cli *cli, sb_asked *asked, size_t count, uint16_t first, sb_ns deadline,
                        sb_ask_grace *grace)
{
    sb_world *world = cli->world;
    bool stands = world->with_daemon && heart_stands(world), called = stands;
    sb_ns look = SB_NEVER;
    if (world->with_daemon)
        look = sb_edge_now() +
               (stands && known(cli, asked, count, true) ? KNOWN_PATIENCE : STUCK_PATIENCE);
    while (!all_answered(asked, count)) {
        sb_edge_reply reply;
        bool looks = look < deadline;
        sb_status status =
            sb_edge_client_receive(&world->client, looks ? look : deadline, &reply, NULL);
        if (status == SB_TIMEOUT && looks && !called && !known(cli, asked, count, false)) {
            call_out(world, (uint16_t)(first + count));
            called = true;
            look = sb_edge_now() + STUCK_PATIENCE;
            continue;
        }
        if (status != SB_OK) {
            for (size_t i = 0; i < count; i++)
                if (!asked[i].answered)
                    asked[i].status = status;
            world->hung = world->hung || (status == SB_TIMEOUT && looks);
            if (status != SB_TIMEOUT || looks)
                sb_edge_client_close(&world->client);
            return;
        }
        look = SB_NEVER;
        unsigned index = (uint16_t)(reply.msg.id - first);
        if (index >= count || asked[index].answered ||
            (reply.msg.has_question && !sb_msg_answers(&reply.msg, &asked[index].question))) {
            sb_edge_reply_fini(&reply); /* late, of a question given up, or of the call */
            continue;
        }
        asked[index].reply = reply;
        asked[index].answered = true;
        asked[index].is_final = world->with_daemon || is_verdict(&reply);
        sb_ns wait = grace ? grace(asked, count) : SB_NEVER;
        sb_ns now = sb_edge_now();
        if (wait != SB_NEVER && now + wait < deadline)
            deadline = now + wait;
    }
}

/* A writer that ended in good order left a heart that stands as well: that tells nothing. */
static bool heart_stands(sb_world *world)
{
    sb_l1_header_info header;
    return world->cache && sb_edge_cache_header(world->cache, &header) && !header.writer_clean &&
           !sb_edge_cache_alive(world->cache);
}

/* A question every daemon answers from what it is (RFC 6761 §6.3). */
static void call_out(sb_world *world, uint16_t id)
{
    sb_question question = {.type = SB_TYPE_A, .class = SB_CLASS_IN};
    if (sb_name_parse("localhost", 9, &question.name, NULL) == SB_OK &&
        sb_edge_client_ask(&world->client, id, &question, 0, sb_edge_now() + KNOWN_PATIENCE,
                           NULL) != SB_OK)
        return; /* the next look sees that nothing came */
}

static bool all_answered(const sb_asked *asked, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!asked[i].answered)
            return false;
    return true;
}

static bool is_failure(const sb_asked *asked)
{
    sb_outcome outcome = sb_asked_outcome(asked);
    return outcome != SB_OUTCOME_OK && outcome != SB_OUTCOME_NXDOMAIN &&
           outcome != SB_OUTCOME_NODATA;
}

/* Blocked, censored, filtered or prohibited: somebody wants it so. */
static bool is_verdict(const sb_edge_reply *reply)
{
    int ede = sb_edns_ede(&reply->msg.edns);
    return ede >= 15 && ede <= SB_EDE_PROHIBITED;
}

/* Replaces what there is by what the file knows. */
static bool from_cache(sb_cli *cli, sb_asked *asked, bool stale_too)
{
    sb_world *world = cli->world;
    sb_edge_hit hit;
    if (!world || !world->cache ||
        sb_edge_cache_find(world->cache, &asked->question, world->buffer, &hit) != SB_OK)
        return false;
    if (hit.entry.kind == SB_KIND_FAILURE || (hit.freshness == SB_STALE && !stale_too))
        return false;
    return make_reply(cli, asked, &hit);
}

/* Whether the file knows records for a question that is open. */
static bool known(sb_cli *cli, const sb_asked *asked, size_t count, bool stale_too)
{
    sb_world *world = cli->world;
    sb_edge_hit hit;
    for (size_t i = 0; i < count && world->cache; i++)
        if (!asked[i].answered &&
            sb_edge_cache_find(world->cache, &asked[i].question, world->buffer, &hit) == SB_OK &&
            hit.entry.kind == SB_KIND_POSITIVE && (stale_too || hit.freshness != SB_STALE))
            return true;
    return false;
}

/* The same bytes a daemon would have sent, so that nothing downstream knows the difference. */
static bool make_reply(sb_cli *cli, sb_asked *asked, const sb_edge_hit *hit)
{
    const sb_l1_entry *entry = &hit->entry;
    bool stale = hit->freshness == SB_STALE;
    uint32_t stale_ttl = cli->settings->cache.stale_ttl_s;
    uint8_t payload[512];
    size_t capacity = SB_MSG_MAX;
    sb_provenance p = {.source = stale ? SB_SOURCE_STALE : SB_SOURCE_CACHE,
                       .status = entry->kind == SB_KIND_NXDOMAIN ? SB_OUTCOME_NXDOMAIN
                                 : entry->kind == SB_KIND_NODATA ? SB_OUTCOME_NODATA
                                                                 : SB_OUTCOME_OK,
                       .age_s = hit->age_s,
                       .ttl_s = stale ? stale_ttl : hit->left_s,
                       .network = entry->network,
                       .upstream = entry->upstream};
    if (stale)
        p.flags = SB_PROVENANCE_STALE | (hit->age_known ? 0 : SB_PROVENANCE_AGE_UNKNOWN);
    else if (hit->freshness == SB_DUE)
        p.flags = SB_PROVENANCE_DUE;
    if (asked->answered && asked->reply.has_provenance)
        for (unsigned i = 0; i < asked->reply.provenance.tried_count && i + 1 < SB_TRIED_MAX; i++)
            p.tried[p.tried_count++] = asked->reply.provenance.tried[i];
    p.tried[p.tried_count++] = (sb_tried){
        .strategy = stale ? SB_STRATEGY_STALE : SB_STRATEGY_CACHED, .status = SB_OUTCOME_OK};
    sb_l1_entry copy = *entry;
    sb_answer_parts parts = sb_l1_parts(&copy);
    sb_reply_body body = {.body = parts.body,
                          .body_size = parts.body_size,
                          .ttl_at = parts.ttl_at,
                          .ttl_count = parts.ttl_count,
                          .ancount = parts.ancount,
                          .nscount = parts.nscount,
                          .rcode = parts.rcode,
                          .age_s = hit->age_s,
                          .ttl_cap_s = hit->freshness == SB_DUE ? stale_ttl : UINT32_MAX,
                          .ttl_fixed_s = stale ? stale_ttl : UINT32_MAX,
                          .ede = !stale                            ? SB_EDE_NONE
                                 : entry->kind == SB_KIND_NXDOMAIN ? SB_EDE_STALE_NXDOMAIN
                                                                   : SB_EDE_STALE};
    sb_query_info info = {.flags = SB_FLAG_RD,
                          .question = asked->question,
                          .has_question = true,
                          .has_edns = true,
                          .udp_size = SB_MSG_MAX,
                          .provenance_asked = true};
    body.provenance = (sb_span){payload, sb_provenance_write(&p, payload, sizeof payload)};
    uint8_t *bytes = sb_alloc(capacity);
    if (!bytes)
        return false;
    size_t size = sb_reply_encode(&info, &body, SB_TRANSPORT_STREAM, bytes, capacity);
    sb_edge_reply reply;
    if (sb_edge_reply_read(bytes, size, &reply) != SB_OK)
        return false;
    sb_edge_reply_fini(&asked->reply);
    asked->reply = reply;
    asked->answered = true;
    asked->from_file = true;
    return true;
}
