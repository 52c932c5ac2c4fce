/* Any bytes on a connection to the DNS front, in pieces the input chooses. First byte: bit 0 Unix
 * socket, the others the size of the pieces. */
#include <stdint.h>

#include "front/dns_front.h"
#include "support/front_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static world w;
static sb_dns_front *front;

static void received(void *owner, sim *s, sb_socket conn, const uint8_t *bytes, size_t size)
{
    (void)owner;
    (void)s;
    (void)conn;
    (void)bytes;
    (void)size;
}

static void closed(void *owner, sim *s, sb_socket conn, sb_status why)
{
    (void)s;
    (void)conn;
    (void)why;
    *(bool *)owner = true;
}

static void begin(void)
{
    sb_why why;
    sb_log_set_level(SB_LOG_FRONT, SB_LOG_ERROR);
    world_start(&w, world_settings());
    w.upstream.reach = SIM_BLACKHOLE;
    sb_dns_front_options options = {.engine = w.engine, .socket_path = "/run/s.sock"};
    SB_ASSERT(sb_dns_front_new(&options, &front, &why) == SB_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const sim_conn_events events = {.received = received, .closed = closed};
    static bool gone;
    if (!front)
        begin();
    if (size < 1)
        return 0;
    sb_addr from = world_addr("127.0.0.1:4000"), to = world_addr("127.0.0.1:5300");
    bool is_unix = data[0] & 1;
    size_t piece = (size_t)(data[0] >> 1) * (data[0] >> 1) + 1;
    gone = false;
    sb_socket conn = sim_connect(w.s, &from, is_unix ? NULL : &to, is_unix ? "/run/s.sock" : NULL,
                                 1000, &events, &gone);
    world_run(&w, 10 * SB_MS);
    for (size_t at = 1; at < size && !gone; at += piece) {
        sim_conn_write(w.s, conn, data + at, size - at < piece ? size - at : piece);
        world_run(&w, SB_MS);
    }
    world_run(&w, 10 * SB_MS);
    if (!gone)
        sim_conn_close(w.s, conn);
    world_run(&w, 4 * SB_S);
    SB_ASSERT(sb_engine_flights(w.engine) <= SB_FLIGHTS_MAX);
    return 0;
}
