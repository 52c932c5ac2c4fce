/* See prober.h. */
#include "outage/prober.h"

#include <unistd.h>

#include "base/mem.h"
#include "dns/rdata.h"

#define EAGER_NS (300 * MS)

static const zone_id probed = {.kind = ZONE_KNOWN};

static void probe(loop_timer *timer);
static void reply_ready(loop_watch *watch);

bool prober_open(prober *p, world *w, void (*ready)(prober *, int64_t after_ns))
{
    struct sockaddr_storage sa;
    socklen_t size = sb_addr_to_sockaddr(&w->resolver, &sa);
    *p = (prober){.w = w, .ready = ready, .timer.fire = probe};
    p->watch.ready = reply_ready;
    p->watch.fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return p->watch.fd >= 0 && connect(p->watch.fd, (struct sockaddr *)&sa, size) == 0 &&
           loop_watch_add(&w->loop, &p->watch);
}

void prober_close(prober *p)
{
    loop_cancel(&p->w->loop, &p->timer);
    close(p->watch.fd);
}

void prober_start(prober *p, int64_t since_ns, int64_t interval_ns)
{
    p->since_ns = since_ns;
    p->interval_ns = interval_ns;
    loop_at(&p->w->loop, &p->timer, 0);
}

static void probe(loop_timer *timer)
{
    prober *p = sb_container_of(timer, prober, timer);
    sb_question question = {.type = SB_TYPE_A, .class = SB_CLASS_IN};
    zone_name(probed, &question.name);
    uint8_t bytes[512];
    sb_builder b;
    sb_builder_init(&b, bytes, sizeof bytes, 1, SB_FLAG_RD);
    sb_builder_question(&b, &question);
    size_t size = sb_builder_finish(&b);
    /* Twice, because the first may only fetch the refusal of the last. */
    if (send(p->watch.fd, bytes, size, 0) < 0 && send(p->watch.fd, bytes, size, 0) < 0)
        size = 0;
    int64_t now = loop_now();
    int64_t wait = p->interval_ns * (now - p->since_ns < EAGER_NS ? 1 : 10);
    loop_at(&p->w->loop, &p->timer, now + wait);
}

static void reply_ready(loop_watch *watch)
{
    prober *p = sb_container_of(watch, prober, watch);
    uint8_t bytes[4096];
    ssize_t n = recv(watch->fd, bytes, sizeof bytes, 0);
    sb_msg reply;
    if (n < 0 || sb_msg_parse(bytes, (size_t)n, &reply) != SB_OK || !p->timer.node.queued)
        return;
    zone_seen seen;
    bool was_old;
    int64_t now = loop_now();
    zone_see(&reply, &seen);
    if (zone_judge(&p->w->zone, probed, SB_TYPE_A, &seen, now, now, &was_old) != VERDICT_RIGHT)
        return;
    loop_cancel(&p->w->loop, &p->timer);
    p->ready(p, now - p->since_ns);
}
