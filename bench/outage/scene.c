/* See scene.h. */
#include "outage/scene.h"

#include <stddef.h>
#include <string.h>

#include "base/status.h"

#define FAULT(at, who, what)                                                                       \
    {                                                                                              \
        .at_ms = (at), .event = EVENT_FAULT, .servers = (who), .fault = (what)                     \
    }
#define EVENT(at, what)                                                                            \
    {                                                                                              \
        .at_ms = (at), .event = (what)                                                             \
    }

static const scene scenes[] = {
    {.name = "S0", .title = "both fine", .step_count = 0},
    {.name = "S1",
     .title = "primary silent from 10 s",
     .steps = {FAULT(10000, SERVER_PRIMARY, FAULT_SILENT)},
     .step_count = 1},
    {.name = "S1-refused",
     .title = "primary refuses (ICMP) from 10 s",
     .steps = {FAULT(10000, SERVER_PRIMARY, FAULT_REFUSE)},
     .step_count = 1},
    {.name = "S1-noroute",
     .title = "no route to the primary from 10 s",
     .steps = {FAULT(10000, SERVER_PRIMARY, FAULT_NO_ROUTE)},
     .step_count = 1},
    {.name = "S2",
     .title = "primary loses 30 %",
     .steps = {FAULT(0, SERVER_PRIMARY, FAULT_LOSS)},
     .step_count = 1},
    {.name = "S3",
     .title = "primary answers SERVFAIL",
     .steps = {FAULT(0, SERVER_PRIMARY, FAULT_SERVFAIL)},
     .step_count = 1},
    {.name = "S4",
     .title = "both dead",
     .steps = {FAULT(0, SERVER_BOTH, FAULT_SILENT)},
     .step_count = 1},
    {.name = "S4-refused",
     .title = "both refuse (ICMP)",
     .steps = {FAULT(0, SERVER_BOTH, FAULT_REFUSE)},
     .step_count = 1},
    {.name = "S4-noroute",
     .title = "no route to either",
     .steps = {FAULT(0, SERVER_BOTH, FAULT_NO_ROUTE)},
     .step_count = 1},
    {.name = "S5",
     .title = "both dead, restart of the resolver at 20 s",
     .steps = {FAULT(0, SERVER_BOTH, FAULT_SILENT), EVENT(20000, EVENT_RESTART)},
     .step_count = 2},
    {.name = "S6",
     .title = "wrong NXDOMAIN from the primary",
     .steps = {FAULT(0, SERVER_PRIMARY, FAULT_DENY)},
     .step_count = 1,
     .protect = true},
    {.name = "S7",
     .title = "primary delays 5 % by 300 ms",
     .steps = {FAULT(0, SERVER_PRIMARY, FAULT_DELAY)},
     .step_count = 1},
    {.name = "S8",
     .title = "every address changes at 10 s",
     .steps = {EVENT(10000, EVENT_CHANGE)},
     .step_count = 1},
    {.name = "S9",
     .title = "a tenth of the names deleted at 10 s",
     .steps = {EVENT(10000, EVENT_DELETE)},
     .step_count = 1},
    {.name = "S9b",
     .title = "as S9, then both die at 20 s",
     .steps = {EVENT(10000, EVENT_DELETE), FAULT(20000, SERVER_BOTH, FAULT_SILENT)},
     .step_count = 2},
    {.name = "S9p",
     .title = "as S9, names protected for 15 s",
     .steps = {EVENT(10000, EVENT_DELETE)},
     .step_count = 1,
     .protect = true,
     .confirm_ms = 15000,
     .max_ms = 30000},
    {.name = "S10",
     .title = "dead 10 s to 40 s, then new addresses",
     .steps = {FAULT(10000, SERVER_BOTH, FAULT_SILENT), EVENT(40000, EVENT_CHANGE),
               FAULT(40000, SERVER_BOTH, FAULT_NONE)},
     .step_count = 3},
};

const scene *scene_find(const char *name)
{
    for (size_t i = 0; i < SB_ARRAY_SIZE(scenes); i++) {
        if (strcmp(scenes[i].name, name) == 0)
            return &scenes[i];
    }
    return NULL;
}

const scene *scene_at(unsigned n)
{
    return n < SB_ARRAY_SIZE(scenes) ? &scenes[n] : NULL;
}

bool scene_fault_is_death(scene_fault fault)
{
    return fault == FAULT_SILENT || fault == FAULT_REFUSE || fault == FAULT_NO_ROUTE;
}
