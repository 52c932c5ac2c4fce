/* The table of effects of the simulated machine, its processes, and its clocks. One thread. */
#include <stdlib.h>
#include <string.h>

#include "sim/sim_internal.h"

static sb_ns now(sb_env *base);
static void clock_of(sb_env *base, sb_clock *ret);
static void entropy(sb_env *base, void *ret, size_t size);
static void nothing(sb_env *base);
static void close_socket(sb_env *base, sb_socket socket);
static void map_flush(sb_env *base, sb_mapping *mapping);

static const sb_env_ops table = {
    .now = now,
    .clock = clock_of,
    .entropy = entropy,
    .rearm = nothing, /* the step looks at the heap itself */
    .udp_open = sim_udp_open,
    .udp_send = sim_udp_send,
    .local_address = sim_local_address,
    .stream_connect = sim_stream_connect,
    .stream_listen = sim_stream_listen,
    .adopt = sim_adopt,
    .stream_write = sim_stream_write,
    .stream_queued = sim_stream_queued,
    .stream_pause = sim_stream_pause,
    .close = close_socket,
    .netlink_open = sim_netlink_open,
    .source_address = sim_source_address,
    .file_read = sim_file_read,
    .file_replace = sim_file_replace,
    .file_stat = sim_file_stat,
    .map_open = sim_map_open,
    .map_create = sim_map_create,
    .map_publish = sim_map_publish,
    .map_memory = sim_map_memory,
    .map_flush = map_flush,
    .map_close = sim_map_close,
};

sb_env *sim_process_start(sim *s)
{
    sim_env *env = calloc(1, sizeof *env);
    SB_ASSERT(env);
    sb_env_init(&env->base, &table, sb_rand_u64(&s->entropy));
    env->s = s;
    sb_list_init(&env->link);
    sb_list_push(&s->envs, &env->link);
    return &env->base;
}

void sim_process_freeze(sim *s, sb_env *base)
{
    sim_env *env = sim_env_of(base);
    sim_disk_freeze(s, env);
    env->frozen = true;
    /* The kernel closes everything at once: peers see the end, queued bytes are lost with us. */
    for (uint32_t i = 0; i < s->slot_count; i++) {
        sim_slot *slot = &s->slots[i];
        if (slot->kind == SIM_FREE || slot->env != env)
            continue;
        if (slot->kind == SIM_STREAM && sb_socket_valid(slot->other))
            sim_stream_end(s, slot, SB_CLOSED);
        sim_slot_close(s, slot);
    }
}

void sim_process_end(sim *s, sb_env *base, uint32_t torn)
{
    sim_env *env = sim_env_of(base);
    sim_disk_thaw(s, env, torn);
    for (uint32_t i = 0; i < s->slot_count; i++) {
        if (s->slots[i].kind != SIM_FREE && s->slots[i].env == env)
            sim_slot_close(s, &s->slots[i]);
    }
    sb_list_remove(&env->link);
    free(env);
}

unsigned sim_process_leaks(sim *s, sb_env *base)
{
    const sim_env *env = sim_env_of(base);
    unsigned n = sim_disk_leaks(s, env);
    for (uint32_t i = 0; i < s->slot_count; i++)
        n += s->slots[i].kind != SIM_FREE && s->slots[i].env == env;
    n += (unsigned)env->base.timers.count;
    n += !sb_list_empty(&env->base.ready);
    return n;
}

void sim_wall_step(sim *s, sb_ns by)
{
    s->wall_less += by;
}

void sim_suspend(sim *s, sb_ns duration)
{
    s->now += duration;
}

void sim_reboot(sim *s, sb_ns down)
{
    SB_ASSERT(sb_list_empty(&s->envs));
    s->now += down;
    s->boot_at = s->now - 5 * SB_S;
    for (unsigned i = 0; i < sizeof s->boot_id; i++)
        s->boot_id[i] = (uint8_t)sb_rand_u64(&s->entropy);
}

sim_env *sim_env_of(sb_env *env)
{
    return (sim_env *)(void *)env;
}

static sb_ns now(sb_env *base)
{
    const sim *s = sim_env_of(base)->s;
    return s->now - s->boot_at;
}

static void clock_of(sb_env *base, sb_clock *ret)
{
    const sim *s = sim_env_of(base)->s;
    ret->boot_ns = s->now - s->boot_at;
    ret->wall_ns = s->now + s->wall_less;
    memcpy(ret->boot_id, s->boot_id, sizeof ret->boot_id);
}

static void entropy(sb_env *base, void *ret, size_t size)
{
    sb_rand *r = &sim_env_of(base)->s->entropy;
    uint8_t *at = ret;
    while (size > 0) {
        uint64_t word = sb_rand_u64(r);
        size_t n = size < 8 ? size : 8;
        memcpy(at, &word, n);
        at += n;
        size -= n;
    }
}

static void nothing(sb_env *base)
{
    (void)base;
}

static void close_socket(sb_env *base, sb_socket socket)
{
    sim *s = sim_env_of(base)->s;
    sim_slot *slot = sim_slot_get(s, socket);
    if (!slot || !slot->env)
        return;
    if (slot->kind == SIM_STREAM && sb_socket_valid(slot->other))
        sim_stream_end(s, slot, SB_CLOSED);
    sim_slot_close(s, slot);
}

static void map_flush(sb_env *base, sb_mapping *mapping)
{
    (void)base;
    (void)mapping;
}
