/* Workers: threads that answer hits from the cache file, and pass everything else to the engine.
 *
 * Each owns a SO_REUSEPORT socket per address of listen.dns, its statistics, its scratch; it
 * reads the writer's own mapping and never touches engine state. A hit makes no allocation and
 * takes no lock. What a worker cannot answer goes through a bounded queue to the loop, which
 * calls the sink; replies leave from the worker's socket. Functions: the loop's thread. */
#ifndef SB_IO_WORKER_H
#define SB_IO_WORKER_H

#include <uv.h>

#include "core/settings.h"
#include "core/stats.h"
#include "dns/msg.h"
#include "store/l1_read.h"

#define SB_WORKERS_MAX 8
#define SB_WORKER_QUEUE 1024 /* questions waiting for the engine; beyond: dropped and counted */
#define SB_WORKER_QUESTION_MAX 1500 /* bytes of a question that is passed on */
#define SB_WORKER_REFUSED_PER_S 10  /* REFUSED per second and address, as in the front */

typedef struct sb_workers sb_workers;

/* A question for the engine, from the loop. Its reply goes to sb_workers_reply with worker and
 * tag, if at all. */
typedef void sb_worker_sink(void *context, const uint8_t *bytes, size_t size, const sb_addr *client,
                            const sb_addr *local, void *worker, uint64_t tag);
/* A hit was served; from the loop. Per worker and question at most once per quarter of what was
 * left of its TTL, and never more than the loop takes: reports are dropped when their queue is
 * full. */
typedef void sb_worker_used(void *context, const sb_question *question);

typedef struct sb_workers_options {
    uv_loop_t *loop;
    sb_env *env;
    const sb_settings *settings; /* frozen; referenced */
    const sb_l1_reader *reader;  /* of the writer's mapping; outlives the workers */
    unsigned count;              /* 1 … SB_WORKERS_MAX */
    sb_worker_sink *sink;
    sb_worker_used *used;
    void *context;
} sb_workers_options;

/* How many threads listen.workers means here: auto is the cores but one, at least 1, at most
 * SB_WORKERS_MAX. */
unsigned sb_workers_count(const sb_settings *settings);
/* Opens every socket: from here on questions wait in the kernel. why names the address that
 * failed. */
SB_MUST_USE sb_status sb_workers_new(const sb_workers_options *options, sb_workers **ret,
                                     sb_why *why);
SB_MUST_USE sb_status sb_workers_start(sb_workers *workers, sb_why *why);
/* Addresses, listen.allow and cache.share of new settings, all or nothing. Returns when every
 * worker has taken them over. */
SB_MUST_USE sb_status sb_workers_reload(sb_workers *workers, const sb_settings *settings,
                                        sb_why *why);
/* The writer took another mapping: as sb_workers_reload, and nobody reads the one before when it
 * returns SB_OK. */
SB_MUST_USE sb_status sb_workers_move(sb_workers *workers, const sb_settings *settings,
                                      const sb_l1_reader *reader, sb_why *why);
/* Ends the threads; what they passed on can still be answered until sb_workers_free. */
void sb_workers_stop(sb_workers *workers);
/* Stops, closes, turns the loop for its handle's sake: not from a callback of it. NULL is
 * allowed. */
void sb_workers_free(sb_workers *workers);
/* count pointers, valid as long as the workers. Any thread may read them. */
sb_stats *const *sb_workers_stats(const sb_workers *workers);
/* Sends a reply from the socket the question came to (an sb_dns_reply_sink). */
void sb_workers_reply(void *worker, uint64_t tag, const sb_addr *to, const sb_addr *from,
                      const uint8_t *bytes, size_t size);

#endif
