/* What the files of the control front share. Included by control*.c only. Loop thread. */
#ifndef SB_FRONT_CONTROL_PRIVATE_H
#define SB_FRONT_CONTROL_PRIVATE_H

#include <jansson.h>

#include "front/control.h"

/* Limits of the socket: bytes of one line, clients at a time, bytes written but not yet read. */
#define SB_CONTROL_LINE_MAX ((size_t)1024 * 1024)
#define SB_CONTROL_CLIENTS_MAX 32
#define SB_CONTROL_CHUNK ((size_t)256 * 1024)

struct sb_control {
    sb_engine *engine;
    sb_env *env;
    sb_control_options options; /* path is not kept */
    sb_ns since;                /* when it was made: with the daemon */
    sb_socket listener;
    sb_list clients; /* least recently active first */
    unsigned client_count;
};

/* What a verb does that takes longer than one turn of the loop may. */
typedef struct sb_control_work sb_control_work;

/* One request. The verb sets result (an object, owned by the caller), or work, or why: an error. */
typedef struct sb_control_request {
    sb_control *control;
    json_t *body;
    int64_t uid; /* who asks; -1: not known */
    bool names;  /* may be shown; set by sb_control_run */
    bool failed;
    json_t *result;
    sb_control_work *work; /* NULL: done */
    sb_why why;
} sb_control_request;

struct sb_control_work {
    /* About a millisecond of it; true when that was the last, and result is set. */
    bool (*slice)(sb_control_request *request);
    void (*free)(sb_control_work *work);
};

/* Carries the request out. False: why says what is wrong with it. */
bool sb_control_run(sb_control_request *request, const char *verb, bool allowed);

/* Arguments; absent ones leave *ret untouched. False: of a wrong type, why is set. */
bool sb_control_text(sb_control_request *request, const char *key, const char **ret);
bool sb_control_number(sb_control_request *request, const char *key, json_int_t max,
                       json_int_t *ret);
/* A domain name; false also when it is absent. */
bool sb_control_name(sb_control_request *request, const char *key, sb_name *ret_name);
/* suffix, limit and cursor of a listing. */
bool sb_control_list(sb_control_request *request, bool dump);

/* One entry of a dump (an sb_view_entry_maker), and back; see docs/CONTROL.md. */
json_t *sb_control_dump_entry(sb_engine *engine, const sb_l1_entry *entry);
bool sb_control_load(sb_control_request *request);

#endif
