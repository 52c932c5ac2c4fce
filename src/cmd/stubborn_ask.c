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
#include "io/uv_env.h"

#define SLACK (1 * SB_S)              /* the daemon's own deadline comes first and says more */
#define LOCAL_SLACK (250 * SB_MS)     /* and so does that of our own engine */
#define STUCK_PATIENCE (1 * SB_S)     /* for a daemon whose heartbeat stands still */
#define STALE_PATIENCE (1800 * SB_MS) /* RFC 8767 §5 */
#define SYSTEM_SOCKET "/run/stubborn/stubborn.sock"

typedef struct sb_world {
    bool begun;
    bool with_daemon;
    sb_edge_client client;
    sb_local *local;
    sb_edge_cache *cache; /* read beside an engine that has none of its own */
    sb_l1_buffer *buffer;
    uint16_t next_id;
    char socket[108];
} sb_world;

static void begin(sb_cli *cli, sb_ns deadline);
static void tell_absent(const sb_cli *cli, sb_status status);
static void begin_local(sb_cli *cli, sb_ns deadline);
static void open_cache(sb_cli *cli);
static bool send_all(sb_world *world, sb_asked *asked, size_t count, uint16_t first, uint8_t ask,
                     sb_ns deadline);
static void receive_all(sb_world *world, sb_asked *asked, size_t count, uint16_t first,
                        sb_ns deadline, sb_ask_grace *grace);
static bool all_answered(const sb_asked *asked, size_t count);
static bool is_failure(const sb_asked *asked);
static bool is_verdict(const sb_edge_reply *reply);
static bool from_cache(sb_cli *cli, sb_asked *asked, bool stale_too);
static bool known_stale(sb_cli *cli, const sb_asked *asked, size_t count);
static bool make_reply(sb_cli *cli, sb_asked *asked, const sb_edge_hit *hit);

void sb_cli_ask(sb_cli *cli, sb_asked *asked, size_t count, uint8_t ask, sb_ask_grace *grace)
{
    sb_ns now = sb_edge_now();
    sb_ns deadline = now + (cli->timeout ? cli->timeout : cli->settings->query.timeout + SLACK);
    for (size_t i = 0; i < count; i++)
        asked[i].status = SB_TIMEOUT;
    begin(cli, deadline);
    sb_world *world = cli->world;
    if (!world)
        return;
    for (int round = 0; round < 2; round++) {
        sb_ns until = world->local && cli->timeout ? deadline + LOCAL_SLACK : deadline;
        bool local_cache = world->local && sb_local_has_cache(world->local);
        if (world->cache && !world->with_daemon && !local_cache) {
            for (size_t i = 0; i < count && !(ask & SB_ASK_LIVE); i++)
                if (!asked[i].answered)
                    (void)from_cache(cli, &asked[i], false);
            if (known_stale(cli, asked, count) && until > now + STALE_PATIENCE)
                until = now + STALE_PATIENCE;
        } else if (world->cache && world->with_daemon && !sb_edge_cache_alive(world->cache) &&
                   known_stale(cli, asked, count) && until > now + STUCK_PATIENCE) {
            until = now + STUCK_PATIENCE;
        }
        uint16_t first = world->next_id;
        world->next_id = (uint16_t)(first + count);
        if (!all_answered(asked, count) && world->client.fd >= 0 &&
            send_all(world, asked, count, first, ask, until))
            receive_all(world, asked, count, first, until, grace);
        if (all_answered(asked, count) || world->client.fd >= 0 || !world->with_daemon)
            break;
        begin_local(cli, deadline); /* the daemon went away in the middle */
    }
    for (size_t i = 0; i < count && !(ask & SB_ASK_NO_DEGRADED); i++)
        if (!asked[i].is_final && is_failure(&asked[i]))
            (void)from_cache(cli, &asked[i], true);
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
    if (cli->world && cli->world->with_daemon)
        return cli->world->socket;
    return "this process (no daemon)";
}

json_t *sb_cli_json_daemon(const sb_cli *cli)
{
    return cli->world ? json_boolean(cli->world->with_daemon) : json_null();
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

static void begin(sb_cli *cli, sb_ns deadline)
{
    if (cli->world)
        return;
    sb_world *world = cli->world = sb_new(sb_world);
    if (!world)
        return;
    world->client.fd = -1;
    world->next_id = 1;
    (void)snprintf(world->socket, sizeof world->socket, "%s", sb_cli_socket(cli));
    open_cache(cli);
    sb_status status = sb_edge_client_open(world->socket, deadline, &world->client, NULL);
    if (status == SB_OK) {
        world->with_daemon = true;
        return;
    }
    tell_absent(cli, status);
    begin_local(cli, deadline);
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
    else if (cli->arg[SB_ARG_SOCKET] || (chosen && chosen[0]))
        sb_cli_note("no daemon at %s; asking %s myself", path, servers);
}

static void begin_local(sb_cli *cli, sb_ns deadline)
{
    sb_world *world = cli->world;
    sb_edge_client_close(&world->client);
    world->with_daemon = false;
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

static void receive_all(sb_world *world, sb_asked *asked, size_t count, uint16_t first,
                        sb_ns deadline, sb_ask_grace *grace)
{
    while (!all_answered(asked, count)) {
        sb_edge_reply reply;
        sb_status status = sb_edge_client_receive(&world->client, deadline, &reply, NULL);
        if (status != SB_OK) {
            for (size_t i = 0; i < count; i++)
                if (!asked[i].answered)
                    asked[i].status = status;
            if (status != SB_TIMEOUT)
                sb_edge_client_close(&world->client);
            return;
        }
        unsigned index = (uint16_t)(reply.msg.id - first);
        if (index >= count || asked[index].answered ||
            (reply.msg.has_question && !sb_msg_answers(&reply.msg, &asked[index].question))) {
            sb_edge_reply_fini(&reply); /* late, of a question given up */
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

static bool known_stale(sb_cli *cli, const sb_asked *asked, size_t count)
{
    sb_world *world = cli->world;
    sb_edge_hit hit;
    for (size_t i = 0; i < count; i++)
        if (!asked[i].answered &&
            sb_edge_cache_find(world->cache, &asked[i].question, world->buffer, &hit) == SB_OK &&
            hit.entry.kind == SB_KIND_POSITIVE)
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
    return true;
}
