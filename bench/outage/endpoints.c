/* See endpoints.h. */
#define _GNU_SOURCE
#include "outage/endpoints.h"

#include <unistd.h>

#include "dns/rdata.h"

static bool listen_at(endpoints *e, uint32_t index);
static void accept_ready(loop_watch *watch);
static void close_at(endpoints *e, uint32_t index);

bool endpoints_open(endpoints *e, world *w)
{
    *e = (endpoints){.w = w};
    for (uint32_t i = 0; i < ZONE_KNOWN_COUNT; i++)
        e->watches[i] = (loop_watch){-1, accept_ready};
    for (uint32_t i = 0; i < ZONE_KNOWN_COUNT; i++) {
        if (zone_is_mortal(i) && !listen_at(e, i))
            return false;
    }
    return true;
}

void endpoints_close(endpoints *e)
{
    for (uint32_t i = 0; i < ZONE_KNOWN_COUNT; i++)
        close_at(e, i);
}

void endpoints_thin(endpoints *e)
{
    for (uint32_t i = 0; i < ZONE_KNOWN_COUNT; i++) {
        if (!zone_endpoint_survives(i))
            close_at(e, i);
    }
}

static bool listen_at(endpoints *e, uint32_t index)
{
    sb_addr addr;
    struct sockaddr_storage sa;
    zone_address((zone_id){.kind = ZONE_KNOWN, .index = index}, SB_TYPE_A, 1, &addr);
    addr.port = ENDPOINT_PORT;
    socklen_t size = sb_addr_to_sockaddr(&addr, &sa);
    loop_watch *watch = &e->watches[index];
    watch->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return watch->fd >= 0 && bind(watch->fd, (struct sockaddr *)&sa, size) == 0 &&
           listen(watch->fd, 16) == 0 && loop_watch_add(&e->w->loop, watch);
}

/* To be reachable is all an endpoint does. */
static void accept_ready(loop_watch *watch)
{
    int fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
}

static void close_at(endpoints *e, uint32_t index)
{
    loop_watch *watch = &e->watches[index];
    if (watch->fd < 0)
        return;
    loop_watch_remove(&e->w->loop, watch);
    close(watch->fd);
    watch->fd = -1;
}
