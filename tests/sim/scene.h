/* Scenes: stories in plain lines, one per promise, told against the program on the simulated
 * machine.
 *
 * A line is [at TIME] COMMAND; time runs on when a question waits for its answer. `#` begins a
 * comment. The commands are the table in scene.c; what an `ask` may expect is in scene_expect.c.
 * One thread. */
#ifndef SB_SIM_SCENE_H
#define SB_SIM_SCENE_H

#include "sim/client.h"
#include "sim/load.h"
#include "sim/server.h"
#include "sim/subject.h"

#define SCENE_SETS_MAX 64
#define SCENE_SERVERS_MAX 6
#define SCENE_ENDPOINTS_MAX 12
#define SCENE_WORDS_MAX 40

/* What the scene's zone says of a name and type. */
typedef struct scene_set {
    sb_name name;
    uint16_t type; /* 0: the name does not exist */
    uint32_t ttl_s;
    bool nodata, no_soa, used;
    unsigned count;
    sb_addr addrs[8];
    sb_name target;  /* CNAME */
    char only[32];   /* only this server says so; "" all */
    unsigned repeat; /* a set of that many made-up addresses */
} scene_set;

/* The end of a question. */
typedef struct scene_end {
    bool ended;
    sb_ns took;
    size_t size;
    uint8_t bytes[SB_MSG_MAX];
    bool has_provenance;
    sb_provenance provenance;
    bool degraded;
} scene_end;

typedef struct scene {
    sim *s;
    subject d;
    client c;
    const char *path;
    unsigned line;
    char title[200];
    char failure[600]; /* first; empty: none */
    bool verbose;
    sb_ns zero;     /* the scene's instant 0 */
    sb_text config; /* YAML */
    bool in_config;
    struct {
        char name[64];
        char value[400];
    } env[8];
    unsigned env_count;
    const sb_settings *settings;
    bool in_memory;
    scene_set sets[SCENE_SETS_MAX];
    server servers[SCENE_SERVERS_MAX];
    unsigned server_count;
    sim_host endpoints[SCENE_ENDPOINTS_MAX]; /* what names lead to */
    unsigned endpoint_count;
    server_world sworld;
    char watched[100];      /* text in lines of the log … */
    uint64_t watched_count; /* … seen so often */
    unsigned forgeries;     /* wrong packets per query on the right port */
    scene_end ends[CLIENT_ASKS];
    ask *burst[CLIENT_ASKS]; /* of the last ask */
    unsigned burst_count;
    uint64_t seed; /* of what is left to chance; the caller's to set */
    load *load;
    char report[2400]; /* of the load, lines beginning with `#` */
    char spare[4096];  /* the hosts or resolv.conf file being put together */
} scene;

scene *scene_new(void);
void scene_free(scene *sc);
/* Plays a file; false: sc->failure says what and where. */
bool scene_play(scene *sc, const char *path, const char *text, size_t size, bool verbose);

/* Between the parts. */
void scene_fail(scene *sc, const char *format, ...) SB_PRINTF(2, 3);
/* scene_zone.c */
unsigned scene_compose(void *context, server *sv, const sb_question *question, sb_builder *b);
void scene_forge(void *context, server *sv, const sb_question *question, sb_builder *b);
unsigned scene_lie(void *context, server *sv, const sb_question *question, sb_builder *b);
void scene_zone_line(scene *sc, char **words, unsigned n);
bool scene_name(scene *sc, const char *text, sb_name *ret_name);
/* scene_life.c: commands */
void scene_endpoint(scene *sc, char **words, unsigned n, char *rest);
void scene_half_alive(scene *sc, char **words, unsigned n, char *rest);
void scene_connections(scene *sc, char **words, unsigned n, char *rest);
void scene_obey(scene *sc, char **words, unsigned n, char *rest);
void scene_deeds(scene *sc, char **words, unsigned n, char *rest);
void scene_unpinned(scene *sc, char **words, unsigned n, char *rest);
/* scene_load.c: commands */
void scene_warm(scene *sc, char **words, unsigned n, char *rest);
void scene_load(scene *sc, char **words, unsigned n, char *rest);
void scene_change(scene *sc, char **words, unsigned n, char *rest);
void scene_delete(scene *sc, char **words, unsigned n, char *rest);
void scene_loaded(scene *sc, char **words, unsigned n, char *rest);
/* scene_expect.c */
void scene_ask(scene *sc, char **words, unsigned n);
void scene_settled(scene *sc, char **words, unsigned n);
void scene_replied(void *context, ask *a, const uint8_t *bytes, size_t size, const sb_query *query);

#endif
