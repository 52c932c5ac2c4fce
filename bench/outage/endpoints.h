/* The services behind the mortal names: TCP listeners at their addresses, half of which outlive
 * the deletion of the name.
 *
 * One thread. */
#ifndef SB_OUTAGE_ENDPOINTS_H
#define SB_OUTAGE_ENDPOINTS_H

#include "outage/world.h"

#define ENDPOINT_PORT 443

typedef struct endpoints {
    world *w;
    loop_watch watches[ZONE_KNOWN_COUNT];
} endpoints;

/* False with errno set. */
bool endpoints_open(endpoints *e, world *w);
void endpoints_close(endpoints *e);
/* With the names gone, the endpoints that do not survive are closed. */
void endpoints_thin(endpoints *e);

#endif
