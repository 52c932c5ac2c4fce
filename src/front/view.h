/* What the fronts show, as JSON values: totals, upstreams, services, cache entries, what is known
 * of a name. HTTP and the control socket print the same.
 *
 * Only reads the engine, never asks. NULL where memory is out. `names`: names and addresses that
 * were asked for may be shown (share: all, or the control socket). Loop thread. */
#ifndef SB_FRONT_VIEW_H
#define SB_FRONT_VIEW_H

#include <jansson.h>

#include "resolve/engine.h"
#include "resolve/policy.h"

/* Counters of the engine and the workers, summed, and the health window. */
typedef struct sb_view_totals {
    uint64_t counters[SB_COUNTER_COUNT];
    uint64_t window_attempts, window_errors;
    int64_t last_resolution_wall_ns; /* 0 never */
    sb_level level;
} sb_view_totals;
void sb_view_sum(sb_engine *engine, sb_stats *const *workers, unsigned worker_count,
                 sb_view_totals *ret_totals);

/* Any bytes: what is not UTF-8 is escaped. NULL gives null. */
json_t *sb_view_string(const char *text);
json_t *sb_view_name(const sb_name *name);
json_t *sb_view_address(const sb_addr *addr); /* without port */
/* RFC 3339 in UTC with seconds; null for 0. */
json_t *sb_view_time(int64_t wall_ns);
/* One line, pure ASCII; the value is consumed. False when it was NULL or memory is out. */
bool sb_view_print(json_t *take_value, sb_text *ret_text);

json_t *sb_view_status(sb_engine *engine, bool names);
/* Where the machine is, and since when: an object. */
json_t *sb_view_mobility(sb_engine *engine);
/* Servers that forward to us: an array of addresses. */
json_t *sb_view_loops(sb_engine *engine);
/* An array; verbose: with counts and times. */
json_t *sb_view_upstreams(sb_engine *engine, bool verbose);
/* Suffix routes with their servers. */
json_t *sb_view_routes(sb_engine *engine);
/* Watched pins and emergency addresses in use: what the DNS says meanwhile, and their life. */
json_t *sb_view_custodies(sb_engine *engine);
/* What became of them, oldest first; only: of one name, or NULL. */
json_t *sb_view_trail(sb_engine *engine, const sb_name *only);
/* The doubt of that question with its evidence, or null. */
json_t *sb_view_doubt(sb_engine *engine, const sb_name *name, uint16_t type);
/* What is known of the life of these answers' addresses (NULL ones are passed over), and of
 * emergency addresses. */
json_t *sb_view_endpoints(sb_engine *engine, const sb_answer *const *answers, size_t count,
                          const sb_policy *policy);
/* Appends the pins among the next entries of the cache, about a millisecond's work; *cursor starts
 * 0. False: that was the last of them. */
bool sb_view_pins(sb_engine *engine, uint64_t *cursor, json_t *list);
/* An object by service name. */
json_t *sb_view_services(sb_engine *engine, bool verbose, bool names);
json_t *sb_view_service(const sb_service_info *service, bool verbose, bool names);
sb_level sb_view_service_level(const sb_service_info *service);

/* One page of the cache: at most `limit` entries of use, at or below suffix (NULL: all). */
#define SB_VIEW_PAGE_MAX 1000
typedef struct sb_view_page {
    const sb_name *suffix;
    unsigned limit;  /* 1…SB_VIEW_PAGE_MAX */
    uint64_t cursor; /* 0 begins */
} sb_view_page;
typedef json_t *sb_view_entry_maker(sb_engine *engine, const sb_l1_entry *entry);
/* {"entries":[…],"cursor":"…"}; cursor is null at the end, before which a page may be short. */
json_t *sb_view_cache(sb_engine *engine, const sb_view_page *page, sb_view_entry_maker *make);
json_t *sb_view_entry(sb_engine *engine, const sb_l1_entry *entry);
/* The cursor's text back to its value. */
bool sb_view_cursor_parse(const char *text, uint64_t *ret_cursor);

/* Everything known of a question without asking it. */
json_t *sb_view_explain(sb_engine *engine, const sb_name *name, uint16_t type);

#endif
