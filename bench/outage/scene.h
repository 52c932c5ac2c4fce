/* The scenarios as data: what happens to the two upstreams, to the zone and to the resolver, when.
 *
 * Times are for a run of 60 s and scale with its length. Pure. */
#ifndef SB_OUTAGE_SCENE_H
#define SB_OUTAGE_SCENE_H

#include <stdbool.h>
#include <stdint.h>

#define SCENE_LENGTH_MS 60000
#define SCENE_STEPS_MAX 6

typedef enum scene_fault {
    FAULT_NONE,
    FAULT_SILENT,   /* takes everything, answers nothing, TCP included */
    FAULT_REFUSE,   /* no socket: ICMP port unreachable, TCP reset */
    FAULT_NO_ROUTE, /* the resolver's sending fails: network unreachable */
    FAULT_LOSS,     /* 30 % of the UDP questions get no answer */
    FAULT_SERVFAIL, /* every answer is SERVFAIL */
    FAULT_DENY,     /* NXDOMAIN for every known name */
    FAULT_DELAY     /* 5 % of the answers come 300 ms late */
} scene_fault;

typedef enum scene_event {
    EVENT_FAULT,  /* servers (bit mask) get the fault */
    EVENT_CHANGE, /* every known name has a new address */
    EVENT_DELETE, /* a tenth of the known names is gone, half of their endpoints too */
    EVENT_RESTART /* the resolver is killed and started again */
} scene_event;

enum { SERVER_PRIMARY = 1, SERVER_SECOND = 2, SERVER_BOTH = 3 };

typedef struct scene_step {
    uint32_t at_ms;
    uint8_t event;
    uint8_t servers;
    uint8_t fault;
} scene_step;

typedef struct scene {
    const char *name;
    const char *title;
    scene_step steps[SCENE_STEPS_MAX];
    unsigned step_count;
    /* Known names are protected, where the resolver has such an option; 0 = its default times. */
    bool protect;
    uint32_t confirm_ms;
    uint32_t max_ms;
} scene;

/* NULL when there is none of that name. */
const scene *scene_find(const char *name);
/* The n-th, in the order of the table; NULL at the end. */
const scene *scene_at(unsigned n);
/* True when a server with this fault helps nobody. */
bool scene_fault_is_death(scene_fault fault);

#endif
