/* From a client's message to its reply: the rules of the front, the small path, the engine (E1).
 *
 * Never decides an answer: special names, pins, policy are the engine's. Owns the pool of questions
 * under way. RFC 1035, 8482 (ANY), 8914. Loop thread. */
#include "dns/rdata.h"
#include "front/dns_private.h"
#include "resolve/hit.h"

/* RFC 8482 §4.2 leaves the TTL open: long enough to calm a scanner, the value others use. */
#define ANY_TTL_S 3789
#define TYPE_HINFO 13
#define PROVENANCE_BYTES 512
#define TOO_MANY "too many questions under way"
#define ENDING "the resolver is ending"

static bool refuse_outsider(sb_dns_front *front, const sb_dns_origin *origin);
static bool rule(sb_dns_front *front, const sb_query_info *info, const sb_dns_origin *origin);
static void answer_any(sb_dns_front *front, const sb_query_info *info, const sb_dns_origin *origin);
static bool answer_hit(sb_dns_front *front, const sb_query_info *info, const sb_dns_origin *origin);
static bool is_limited(sb_dns_front *front, const sb_dns_origin *origin,
                       sb_dns_client **ret_client);
static void ask(sb_dns_front *front, const sb_query_info *info, const sb_dns_origin *origin);
static void settled(sb_op *op);
static size_t encode(sb_dns_pending *pending);
static void send_error(sb_dns_front *front, const sb_query_info *info, const sb_dns_origin *origin,
                       unsigned rcode, int ede, const char *text);
static bool send_reply(sb_dns_front *front, const sb_dns_origin *origin, size_t size);
static sb_dns_pending *pending_new(sb_dns_front *front);
static void pending_release(sb_dns_front *front, sb_dns_pending *pending);
static void count(sb_dns_front *front, sb_counter counter);
static bool shared_by_all(const sb_dns_front *front);
static sb_transport transport_of(const sb_dns_origin *origin);

bool sb_dns_message(sb_dns_front *front, const uint8_t *bytes, size_t size,
                    const sb_dns_origin *origin)
{
    bool is_unix = origin->stream && origin->stream->is_unix;
    count(front, is_unix          ? SB_COUNT_FRONT_UNIX
                 : origin->stream ? SB_COUNT_FRONT_TCP
                                  : SB_COUNT_FRONT_UDP);
    bool outsider = !is_unix && !sb_dns_access_allows(front->settings, &origin->client);
    if (outsider && !refuse_outsider(front, origin))
        return false;
    sb_query_info info;
    sb_rcode rcode = SB_RCODE_FORMERR;
    sb_status status = sb_query_read(bytes, size, &info, &rcode);
    if (status == SB_OK || status == SB_INVALID) {
        if (outsider) {
            send_error(front, &info, origin, SB_RCODE_REFUSED, SB_EDE_PROHIBITED,
                       "not in listen.allow");
            return false;
        }
    }
    if (status == SB_INVALID) {
        if (rcode == SB_RCODE_FORMERR)
            count(front, SB_COUNT_FRONT_MALFORMED);
        send_error(front, &info, origin, rcode, SB_EDE_NONE, NULL);
        return true;
    }
    if (status != SB_OK) {
        count(front, SB_COUNT_FRONT_MALFORMED);
        return false;
    }
    if (!is_unix) { /* how we came by an answer, and by-passing the cache, are for this machine */
        info.provenance_asked = false;
        info.provenance_flags = 0;
    }
    if (!rule(front, &info, origin) && !answer_hit(front, &info, origin))
        ask(front, &info, origin);
    return true;
}

void sb_dns_pending_cancel(sb_dns_front *front, sb_list *list)
{
    while (!sb_list_empty(list)) {
        sb_dns_pending *pending = sb_container_of(list->next, sb_dns_pending, link);
        sb_op_cancel(&pending->query.op);
        pending_release(front, pending);
    }
}

void sb_dns_pending_give_up(sb_dns_pending *pending)
{
    sb_dns_front *front = pending->front;
    sb_dns_origin origin = pending->origin;
    sb_op_cancel(&pending->query.op);
    size_t size = sb_reply_error(&pending->info, SB_RCODE_SERVFAIL, SB_EDE_NOT_READY, ENDING,
                                 front->out + 2, SB_MSG_MAX);
    pending_release(front, pending);
    if (send_reply(front, &origin, size) && origin.stream)
        sb_dns_stream_resume(origin.stream);
}

/* True when a REFUSED may go out. */
static bool refuse_outsider(sb_dns_front *front, const sb_dns_origin *origin)
{
    bool may = sb_dns_access_refuse(&front->access, sb_env_now(front->env), &origin->client);
    count(front, may ? SB_COUNT_FRONT_REFUSED : SB_COUNT_FRONT_DROPPED);
    return may;
}

/* True when the front itself has replied. */
static bool rule(sb_dns_front *front, const sb_query_info *info, const sb_dns_origin *origin)
{
    const sb_question *question = &info->question;
    if (question->class != SB_CLASS_IN) { /* CH version.bind, id.server and the rest */
        send_error(front, info, origin, SB_RCODE_REFUSED, SB_EDE_NONE, NULL);
        return true;
    }
    if (sb_type_is_meta(question->type) && question->type != SB_TYPE_ANY) {
        send_error(front, info, origin, SB_RCODE_NOTIMP, SB_EDE_NOT_SUPPORTED, NULL);
        return true;
    }
    /* A cache that answers without recursion tells what others asked for. */
    bool peeks = !(info->flags & SB_FLAG_RD) || info->provenance_flags & SB_ASK_CACHED_ONLY;
    if (peeks && !shared_by_all(front)) {
        send_error(front, info, origin, SB_RCODE_REFUSED, SB_EDE_PROHIBITED,
                   "recursion must be desired");
        return true;
    }
    if (question->type == SB_TYPE_ANY) {
        answer_any(front, info, origin);
        return true;
    }
    return false;
}

static void answer_any(sb_dns_front *front, const sb_query_info *info, const sb_dns_origin *origin)
{
    static const uint8_t hinfo[] = {7, 'R', 'F', 'C', '8', '4', '8', '2', 0};
    uint8_t bytes[SB_NAME_MAX + 4 + 12 + sizeof(hinfo)];
    sb_writer w = sb_writer_of(bytes, sizeof(bytes));
    sb_name_write(&w, &info->question.name);
    sb_write_u16(&w, info->question.type);
    sb_write_u16(&w, info->question.class);
    sb_write_u16(&w, 0xc000 | SB_MSG_HEADER);
    sb_write_u16(&w, TYPE_HINFO);
    sb_write_u16(&w, SB_CLASS_IN);
    uint16_t ttl_at = (uint16_t)w.size;
    sb_write_u32(&w, ANY_TTL_S);
    sb_write_u16(&w, sizeof(hinfo));
    sb_write_bytes(&w, hinfo, sizeof(hinfo));
    SB_ASSERT(!w.failed);
    sb_reply_body body = {
        .body = bytes,
        .body_size = w.size,
        .ttl_at = &ttl_at,
        .ttl_count = 1,
        .ancount = 1,
        .rcode = SB_RCODE_NOERROR,
        .ttl_cap_s = UINT32_MAX,
        .ttl_fixed_s = UINT32_MAX,
        .ede = SB_EDE_NONE,
    };
    size_t size = sb_reply_encode(info, &body, transport_of(origin), front->out + 2, SB_MSG_MAX);
    (void)send_reply(front, origin, size);
}

/* The small path. Askers who want to know why get it from the engine. */
static bool answer_hit(sb_dns_front *front, const sb_query_info *info, const sb_dns_origin *origin)
{
    if (info->provenance_asked)
        return false;
    sb_ns began = sb_env_now(front->env);
    sb_l1 *l1 = sb_engine_l1(front->engine);
    size_t size = sb_hit_reply(sb_l1_reader_of(l1), sb_l1_now(l1), info, transport_of(origin),
                               shared_by_all(front), &front->scratch, front->out + 2, SB_MSG_MAX);
    if (size == 0)
        return false;
    sb_clock clock;
    front->env->ops->clock(front->env, &clock);
    sb_stats_question(sb_engine_stats(front->engine), clock.boot_ns, clock.wall_ns,
                      clock.boot_ns - began, true, false);
    sb_engine_used(front->engine, &info->question);
    (void)send_reply(front, origin, size);
    return true;
}

/* Who has too much under way, or comes when all have, is not kept waiting in silence: other
 * programs stand behind the same address. */
static bool is_limited(sb_dns_front *front, const sb_dns_origin *origin, sb_dns_client **ret_client)
{
    unsigned most =
        sb_addr_is_loopback(&origin->client) ? SB_FRONT_LOOPBACK_MAX : SB_FRONT_CLIENT_MAX;
    if (front->quiescing)
        return true;
    if (front->pending_count >= SB_FRONT_QUERIES_MAX) {
        count(front, SB_COUNT_LIMIT_QUESTIONS);
        return true;
    }
    if (origin->stream)
        return false;
    sb_dns_client *client = sb_dns_client_get(&front->access, &origin->client);
    if (!client || client->questions >= most) {
        count(front, client ? SB_COUNT_LIMIT_CLIENT : SB_COUNT_LIMIT_QUESTIONS);
        return true;
    }
    client->questions++;
    *ret_client = client;
    return false;
}

static void ask(sb_dns_front *front, const sb_query_info *info, const sb_dns_origin *origin)
{
    sb_dns_client *client = NULL;
    bool limited = is_limited(front, origin, &client);
    sb_dns_pending *pending = pending_new(front);
    if (!pending) {
        if (client) {
            client->questions--;
            sb_dns_client_put(&front->access, client);
        }
        send_error(front, info, origin, SB_RCODE_SERVFAIL, SB_EDE_NOT_READY, TOO_MANY);
        return;
    }
    pending->front = front;
    pending->info = *info;
    pending->origin = *origin;
    pending->client = client;
    pending->limited = limited;
    if (origin->stream)
        origin->stream->under_way++;
    sb_list_push(origin->stream ? &origin->stream->pending : &front->datagrams, &pending->link);
    pending->query.question = info->question;
    pending->query.ask = info->provenance_flags;
    if (!(info->flags & SB_FLAG_RD))
        pending->query.ask |= SB_ASK_CACHED_ONLY | SB_ASK_NO_DEGRADED;
    if (limited)
        pending->query.ask |= SB_ASK_CACHED_ONLY;
    sb_engine_ask(front->engine, &pending->query, NULL, SB_NEVER, settled);
}

/* Out of every list before the reply goes: a send that fails ends the stream and its questions. */
static void settled(sb_op *op)
{
    sb_dns_pending *pending =
        sb_container_of(sb_container_of(op, sb_query, op), sb_dns_pending, query);
    sb_dns_front *front = pending->front;
    sb_dns_origin origin = pending->origin;
    size_t size = encode(pending);
    pending_release(front, pending);
    if (send_reply(front, &origin, size) && origin.stream)
        sb_dns_stream_resume(origin.stream);
}

static size_t encode(sb_dns_pending *pending)
{
    const sb_query *query = &pending->query;
    const sb_query_info *info = &pending->info;
    uint8_t *out = pending->front->out + 2;
    bool fresh = query->answer && !query->degraded;
    if (!(info->flags & SB_FLAG_RD) && !fresh)
        return sb_reply_error(info, SB_RCODE_REFUSED, SB_EDE_PROHIBITED, "not in the cache", out,
                              SB_MSG_MAX);
    if (pending->limited && !query->answer)
        return sb_reply_error(info, SB_RCODE_SERVFAIL, SB_EDE_NOT_READY,
                              pending->front->quiescing ? ENDING : TOO_MANY, out, SB_MSG_MAX);
    uint8_t provenance[PROVENANCE_BYTES];
    sb_reply_body body;
    sb_query_body(query, info->provenance_asked, provenance, &body);
    return sb_reply_encode(info, &body, transport_of(&pending->origin), out, SB_MSG_MAX);
}

static void send_error(sb_dns_front *front, const sb_query_info *info, const sb_dns_origin *origin,
                       unsigned rcode, int ede, const char *text)
{
    size_t size = sb_reply_error(info, (uint16_t)rcode, ede, text, front->out + 2, SB_MSG_MAX);
    (void)send_reply(front, origin, size);
}

/* front->out holds the message. False: the stream is gone. */
static bool send_reply(sb_dns_front *front, const sb_dns_origin *origin, size_t size)
{
    if (size < SB_MSG_HEADER)
        return true;
    if (sb_load_u16(front->out + 4) & SB_FLAG_TC)
        count(front, SB_COUNT_FRONT_TRUNCATED);
    if (origin->stream)
        return sb_dns_stream_send(origin->stream, size);
    origin->sink(origin->context, origin->tag, &origin->client, &origin->local, front->out + 2,
                 size);
    return true;
}

/* Slabs stay until the end: a question is no occasion for the allocator. */
static sb_dns_pending *pending_new(sb_dns_front *front)
{
    if (sb_list_empty(&front->free_pending) &&
        front->pending_max < SB_FRONT_QUERIES_MAX + SB_DNS_RESERVE) {
        sb_dns_slab *slab = sb_new(sb_dns_slab);
        if (!slab)
            return NULL;
        slab->next = front->slabs;
        front->slabs = slab;
        for (size_t i = 0; i < SB_DNS_SLAB; i++)
            sb_list_push(&front->free_pending, &slab->items[i].link);
        front->pending_max += SB_DNS_SLAB;
    }
    sb_list *first = sb_list_pop(&front->free_pending);
    if (!first)
        return NULL;
    front->pending_count++;
    return sb_container_of(first, sb_dns_pending, link);
}

static void pending_release(sb_dns_front *front, sb_dns_pending *pending)
{
    sb_query_fini(&pending->query);
    sb_list_remove(&pending->link);
    if (pending->origin.stream)
        pending->origin.stream->under_way--;
    if (pending->client) {
        pending->client->questions--;
        sb_dns_client_put(&front->access, pending->client);
    }
    sb_list_push(&front->free_pending, &pending->link);
    front->pending_count--;
}

static void count(sb_dns_front *front, sb_counter counter)
{
    sb_count(sb_engine_stats(front->engine), counter);
}

static bool shared_by_all(const sb_dns_front *front)
{
    return front->settings->cache.share == SB_SHARE_ALL;
}

static sb_transport transport_of(const sb_dns_origin *origin)
{
    return origin->stream ? SB_TRANSPORT_STREAM : SB_TRANSPORT_UDP;
}
