/* Shared connections to a server: opening, pipelining, ends and renewals.
 *
 * Owns the connections' memory and sockets; queries are their owners'. A connection is never freed
 * from within a query's callback: owners may drop and ask there, nothing else. RFC 1035 §4.2.2,
 * 7766, 7858. Loop thread. */
#include "net/conn.h"

#include <string.h>

#include "base/mem.h"

#define FRAMES_FIRST 2048 /* most responses over TCP fit */
/* Silence after which another way is tried: the first SYN's retransmission is due by then. */
#define MUTE_PATIENCE SB_S
#define CONNS_USUAL 2u /* one, another while the first is full or mute; more when full */
#define ONE_BY_ONE_FOR (600 * SB_S) /* then pipelining is tried again */

struct sb_conn {
    sb_env *env;
    sb_upstreams *ups;
    sb_upstream *server; /* borrowed: closes its connections at its end */
    sb_socket socket;
    sb_timer idle;
    sb_list queries;    /* outstanding, of sb_conn_query.link */
    unsigned count;     /* of them */
    unsigned abandoned; /* dropped unanswered: that many responses may yet come */
    unsigned strays;
    bool up;
    bool useful;      /* has answered something */
    bool suspect;     /* let a query time out: takes none while there is another way */
    sb_ns mute_since; /* the connect, or the first query since the last sign of life; 0: none */
    sb_frames frames;
};

static sb_conn *choose(sb_upstream *server);
static sb_status open_conn(sb_upstreams *ups, sb_upstream *server, sb_conn **ret);
static sb_status make_room(sb_upstreams *ups, sb_upstream *server, sb_conn **ret);
static sb_conn *emptiest(sb_upstream *server);
static sb_conn_query *outworn(sb_upstream *server, sb_ns now);
static sb_conn **free_slot(sb_upstream *server, sb_ns now);
static bool is_one_by_one(const sb_upstream *server, sb_ns now);
static bool has_room(const sb_conn *conn);
static sb_status put_on(sb_conn *conn, sb_conn_query *query);
static void take_off(sb_conn_query *query);
static sb_status send_query(sb_conn *conn, sb_conn_query *query);
static uint16_t fresh_id(sb_conn *conn);
static bool is_suspect(const sb_conn *conn);
static void connected(void *owner, sb_socket socket);
static void received(void *owner, sb_socket socket, const uint8_t *bytes, size_t size);
static void closed(void *owner, sb_socket socket, sb_status why);
static bool deliver(sb_conn *conn, sb_span message);
static void end_conn(sb_conn *conn, sb_status why);
static void detach(sb_conn *conn, sb_list *ret_queries);
static void move_on(sb_upstreams *ups, sb_upstream *server, sb_list *queries);
static void fail_all(sb_list *queries, sb_status why);
static void idle_fire(sb_timer *timer);

static const sb_stream_events stream_events = {connected, received, NULL, closed};

sb_status sb_conn_ask(sb_conn_query *query, sb_upstreams *ups, sb_upstream *server,
                      const sb_conn_events *events)
{
    sb_status status = SB_OK;
    sb_conn *conn = choose(server);
    *query = (sb_conn_query){.events = events};
    if (!conn)
        status = open_conn(ups, server, &conn);
    return status ? status : put_on(conn, query);
}

void sb_conn_drop(sb_conn_query *query, bool timed_out)
{
    sb_conn *conn = query->conn;
    if (!conn) {
        if (query->link.next) /* among those of a connection that just ended */
            sb_list_remove(&query->link);
        return;
    }
    if (timed_out && query->written && sb_conn_is_mute(query))
        conn->suspect = true;
    if (query->written && !query->answered)
        conn->abandoned++;
    take_off(query);
}

bool sb_conn_is_mute(const sb_conn_query *query)
{
    const sb_conn *conn = query->conn;
    if (!conn)
        return false;
    if (!query->written)
        return is_suspect(conn);
    return !query->answered && conn->mute_since && conn->mute_since <= query->asked_at;
}

void sb_conns_close(sb_upstream *server)
{
    sb_list none;
    for (unsigned i = 0; i < SB_CONNS_MAX; i++) {
        sb_conn *conn = server->conns[i];
        if (!conn)
            continue;
        SB_ASSERT(conn->count == 0);
        conn->env->ops->close(conn->env, conn->socket);
        detach(conn, &none);
    }
}

void sb_conns_renew(sb_upstream *server)
{
    sb_upstreams *ups = NULL;
    sb_list all, queries;
    sb_list_init(&all);
    for (unsigned i = 0; i < SB_CONNS_MAX; i++) {
        sb_conn *conn = server->conns[i];
        if (!conn)
            continue;
        ups = conn->ups;
        conn->env->ops->close(conn->env, conn->socket);
        detach(conn, &queries);
        sb_list_splice(&all, &queries);
    }
    if (ups)
        move_on(ups, server, &all);
}

bool sb_frames_add(sb_frames *frames, const void *bytes, size_t size)
{
    size_t kept = frames->size - frames->at;
    if (size == 0)
        return true;
    if (frames->at > 0) {
        memmove(frames->bytes, frames->bytes + frames->at, kept);
        frames->at = 0;
        frames->size = kept;
    }
    if (kept + size > frames->capacity) {
        size_t capacity = frames->capacity ? frames->capacity : FRAMES_FIRST;
        while (capacity < kept + size)
            capacity *= 2;
        uint8_t *grown = sb_realloc(frames->bytes, capacity);
        if (!grown)
            return false;
        frames->bytes = grown;
        frames->capacity = capacity;
    }
    sb_writer w = sb_writer_of(frames->bytes + kept, frames->capacity - kept);
    sb_write_bytes(&w, bytes, size);
    frames->size = kept + size;
    return true;
}

bool sb_frames_next(sb_frames *frames, sb_span *ret_message)
{
    if (frames->at == frames->size)
        return false;
    sb_reader r = sb_reader_of(frames->bytes + frames->at, frames->size - frames->at);
    sb_span message = sb_read_span(&r, sb_read_u16(&r));
    if (r.failed)
        return false;
    frames->at += r.at;
    *ret_message = message;
    return true;
}

void sb_frames_fini(sb_frames *frames)
{
    sb_free(frames->bytes);
    *frames = (sb_frames){0};
}

/* One that stands, else one being opened; NULL when there is none to be trusted with a query. */
static sb_conn *choose(sb_upstream *server)
{
    sb_conn *best = NULL;
    for (unsigned i = 0; i < SB_CONNS_MAX; i++) {
        sb_conn *conn = server->conns[i];
        if (conn && !is_suspect(conn) && has_room(conn) && (!best || (conn->up && !best->up)))
            best = conn;
    }
    return best;
}

static bool is_one_by_one(const sb_upstream *server, sb_ns now)
{
    return server->one_by_one_until > now;
}

static bool has_room(const sb_conn *conn)
{
    return conn->count <
           (is_one_by_one(conn->server, sb_env_now(conn->env)) ? 1u : SB_CONN_QUERIES_MAX);
}

/* Or, with no place for another, one that has room or is made to have it. */
static sb_status open_conn(sb_upstreams *ups, sb_upstream *server, sb_conn **ret)
{
    sb_env *env = sb_upstreams_env(ups);
    sb_conn **slot = free_slot(server, sb_env_now(env));
    if (!slot)
        return make_room(ups, server, ret);
    sb_conn *conn = sb_new(sb_conn);
    if (!conn)
        return SB_NOMEM;
    conn->env = env;
    conn->ups = ups;
    conn->server = server;
    conn->mute_since = sb_env_now(env);
    sb_list_init(&conn->queries);
    sb_timer_init(&conn->idle, idle_fire);
    sb_status status =
        env->ops->stream_connect(env, &server->addr, server->tls ? server->tls_name : NULL,
                                 &stream_events, conn, &conn->socket, NULL);
    if (status != SB_OK) {
        sb_free(conn);
        return status;
    }
    sb_count(sb_upstreams_stats(ups), SB_COUNT_UP_CONNECTIONS);
    *slot = conn;
    *ret = conn;
    return SB_OK;
}

/* On a connection that stands already. What is given up for it was not answered for as long as an
 * attempt may take: a dead zone's name, most likely, and it may be asked again. */
static sb_status make_room(sb_upstreams *ups, sb_upstream *server, sb_conn **ret)
{
    sb_conn *least = emptiest(server);
    if (least->count >= SB_CONN_QUERIES_MAX) {
        sb_conn_query *old = outworn(server, sb_env_now(sb_upstreams_env(ups)));
        sb_count(sb_upstreams_stats(ups), SB_COUNT_LIMIT_UP_PIPELINE);
        if (!old)
            return SB_LIMIT;
        sb_conn_drop(old, false);
        least = emptiest(server); /* before its owner may ask something else */
        *ret = least;
        old->events->failed(old, SB_LIMIT);
        return least->count < SB_CONN_QUERIES_MAX ? SB_OK : SB_LIMIT;
    }
    *ret = least;
    return SB_OK;
}

static sb_conn *emptiest(sb_upstream *server)
{
    sb_conn *least = NULL;
    for (unsigned i = 0; i < SB_CONNS_MAX; i++)
        if (server->conns[i] && (!least || server->conns[i]->count < least->count))
            least = server->conns[i];
    return least;
}

/* The query that has waited longest, and long enough; NULL: none. */
static sb_conn_query *outworn(sb_upstream *server, sb_ns now)
{
    sb_conn_query *oldest = NULL;
    sb_ns enough = sb_upstream_attempt_timeout(server);
    for (unsigned i = 0; i < SB_CONNS_MAX; i++) {
        if (!server->conns[i] || sb_list_empty(&server->conns[i]->queries))
            continue;
        sb_conn_query *first = sb_container_of(server->conns[i]->queries.next, sb_conn_query, link);
        if (first->written && now - first->asked_at >= enough &&
            (!oldest || first->asked_at < oldest->asked_at))
            oldest = first;
    }
    return oldest;
}

/* A suspect connection that nobody waits for makes room. */
static sb_conn **free_slot(sb_upstream *server, sb_ns now)
{
    sb_list none;
    unsigned open = 0;
    bool full = true;
    sb_conn **slot = NULL;
    for (unsigned i = 0; i < SB_CONNS_MAX; i++) {
        open += server->conns[i] != NULL;
        full = full && (!server->conns[i] || !has_room(server->conns[i]));
        if (!slot && !server->conns[i])
            slot = &server->conns[i];
    }
    if (slot && open < (full || is_one_by_one(server, now) ? SB_CONNS_MAX : CONNS_USUAL))
        return slot;
    for (unsigned i = 0; i < SB_CONNS_MAX; i++) {
        sb_conn *conn = server->conns[i];
        if (!conn || !is_suspect(conn) || conn->count > 0)
            continue;
        conn->env->ops->close(conn->env, conn->socket);
        detach(conn, &none);
        return &server->conns[i];
    }
    return NULL;
}

static sb_status put_on(sb_conn *conn, sb_conn_query *query)
{
    query->conn = conn;
    query->written = query->answered = false;
    sb_list_push(&conn->queries, &query->link);
    conn->count++;
    sb_timer_stop(conn->env, &conn->idle);
    sb_status status = conn->up ? send_query(conn, query) : SB_OK;
    if (status != SB_OK)
        take_off(query);
    return status;
}

static void take_off(sb_conn_query *query)
{
    sb_conn *conn = query->conn;
    sb_list_remove(&query->link);
    query->conn = NULL;
    if (--conn->count == 0)
        sb_timer_set(conn->env, &conn->idle, sb_env_now(conn->env) + SB_CONN_IDLE);
}

static sb_status send_query(sb_conn *conn, sb_conn_query *query)
{
    uint8_t bytes[2 + SB_CONN_QUERY_SIZE_MAX];
    query->id = fresh_id(conn);
    query->written = true;
    query->asked_at = sb_env_now(conn->env);
    if (!conn->mute_since)
        conn->mute_since = query->asked_at;
    size_t size = query->events->write(query, query->id, bytes + 2, sizeof bytes - 2);
    sb_store_u16(bytes, (uint16_t)size);
    /* One write: a length alone in a segment upsets some servers (RFC 7766 §8). */
    return conn->env->ops->stream_write(conn->env, conn->socket, bytes, 2 + size);
}

/* No two outstanding ones are alike (RFC 7766 §6.2.1). */
static uint16_t fresh_id(sb_conn *conn)
{
    for (;;) {
        uint8_t bytes[2];
        bool taken = false;
        conn->env->ops->entropy(conn->env, bytes, sizeof bytes);
        uint16_t id = sb_load_u16(bytes);
        sb_list_each (it, &conn->queries) {
            const sb_conn_query *other = sb_container_of(it, sb_conn_query, link);
            taken = taken || (other->written && other->id == id);
        }
        if (!taken)
            return id;
    }
}

/* A dead peer says nothing, and the kernel tells only after minutes. */
static bool is_suspect(const sb_conn *conn)
{
    return conn->suspect ||
           (conn->mute_since && sb_env_now(conn->env) - conn->mute_since >= MUTE_PATIENCE);
}

static void connected(void *owner, sb_socket socket)
{
    sb_conn *conn = owner;
    sb_list failed;
    sb_status why = SB_OK;
    (void)socket;
    conn->up = true;
    conn->mute_since = 0;
    sb_list_init(&failed);
    sb_list_each_safe (it, &conn->queries) {
        sb_conn_query *query = sb_container_of(it, sb_conn_query, link);
        sb_status status = send_query(conn, query);
        if (status == SB_OK)
            continue;
        why = status;
        take_off(query);
        sb_list_push(&failed, &query->link);
    }
    fail_all(&failed, why);
}

static void received(void *owner, sb_socket socket, const uint8_t *bytes, size_t size)
{
    sb_conn *conn = owner;
    sb_span message;
    (void)socket;
    conn->suspect = false;
    conn->mute_since = 0;
    if (!sb_frames_add(&conn->frames, bytes, size)) {
        end_conn(conn, SB_NOMEM);
        return;
    }
    while (sb_frames_next(&conn->frames, &message))
        if (!deliver(conn, message))
            return;
}

/* The socket is already gone. One that stood may have been closed for being idle, or by a server
 * that restarts, just when a query was on its way (RFC 7766 §6.2.4): worth another try. There are
 * servers that close after each answer, or at the second question: they show it by doing so again.
 * Who was answered, with nonsense, got what there is. */
static void closed(void *owner, sb_socket socket, sb_status why)
{
    sb_conn *conn = owner;
    sb_upstreams *ups = conn->ups;
    sb_upstream *server = conn->server;
    bool stood = conn->up, crowded = conn->count > 1, before = false;
    unsigned moves_max = conn->useful ? SB_CONN_MOVES_MAX : crowded ? 2 : 1;
    sb_list queries, over;
    (void)socket;
    detach(conn, &queries);
    sb_list_init(&over);
    sb_list_each_safe (it, &queries) {
        const sb_conn_query *query = sb_container_of(it, sb_conn_query, link);
        before = before || query->moves > 0;
        if (stood && !query->answered && query->moves < moves_max)
            continue;
        sb_list_remove(it);
        sb_list_push(&over, it);
    }
    if (stood && crowded && before)
        server->one_by_one_until = sb_env_now(sb_upstreams_env(ups)) + ONE_BY_ONE_FOR;
    sb_list_each (it, &queries)
        sb_container_of(it, sb_conn_query, link)->moves++;
    move_on(ups, server, &queries);
    fail_all(&over, why == SB_OK ? SB_CLOSED : why);
}

/* False when the connection is no more. */
static bool deliver(sb_conn *conn, sb_span message)
{
    sb_reader r = sb_reader_of(message.data, message.size);
    uint16_t id = sb_read_u16(&r);
    sb_list_each (it, &conn->queries) {
        sb_conn_query *query = sb_container_of(it, sb_conn_query, link);
        if (r.failed || !query->written || query->id != id)
            continue;
        conn->strays = 0;
        query->answered = true;
        conn->useful = true;
        query->events->received(query, message.data, message.size);
        return true;
    }
    if (!r.failed && conn->abandoned > 0) {
        conn->abandoned--;
        return true;
    }
    sb_count(sb_upstreams_stats(conn->ups), SB_COUNT_UP_REJECTED);
    if (++conn->strays < SB_CONN_STRAYS_MAX)
        return true;
    end_conn(conn, SB_MALFORMED);
    return false;
}

/* By our own will; nothing is asked again. */
static void end_conn(sb_conn *conn, sb_status why)
{
    sb_list queries;
    conn->env->ops->close(conn->env, conn->socket);
    detach(conn, &queries);
    fail_all(&queries, why);
}

/* Frees the connection, whose socket is closed; its queries are on no connection then. */
static void detach(sb_conn *conn, sb_list *ret_queries)
{
    sb_list_init(ret_queries);
    sb_list_splice(ret_queries, &conn->queries);
    sb_list_each (it, ret_queries)
        sb_container_of(it, sb_conn_query, link)->conn = NULL;
    for (unsigned i = 0; i < SB_CONNS_MAX; i++)
        if (conn->server->conns[i] == conn)
            conn->server->conns[i] = NULL;
    sb_timer_stop(conn->env, &conn->idle);
    sb_frames_fini(&conn->frames);
    sb_free(conn);
}

/* To a fresh connection, not to one that may end the same way. */
static void move_on(sb_upstreams *ups, sb_upstream *server, sb_list *queries)
{
    sb_conn *fresh = NULL;
    sb_status status = SB_OK;
    sb_list failed;
    sb_list_init(&failed);
    if (!sb_list_empty(queries))
        status = open_conn(ups, server, &fresh);
    for (sb_list *it; (it = sb_list_pop(queries));) {
        sb_conn_query *query = sb_container_of(it, sb_conn_query, link);
        if (status == SB_OK && !has_room(fresh))
            status = open_conn(ups, server, &fresh);
        if (status == SB_OK)
            status = put_on(fresh, query);
        if (status != SB_OK)
            sb_list_push(&failed, it);
    }
    fail_all(&failed, status);
}

static void fail_all(sb_list *queries, sb_status why)
{
    for (sb_list *it; (it = sb_list_pop(queries));) {
        sb_conn_query *query = sb_container_of(it, sb_conn_query, link);
        query->events->failed(query, why);
    }
}

static void idle_fire(sb_timer *timer)
{
    end_conn(sb_container_of(timer, sb_conn, idle), SB_CLOSED);
}
