/* The machine's heart: one queue of events, generation-tagged slots, and the step that runs either
 * the next event or the next timer of the program. Nothing here allocates once the pools are warm.
 * One thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "sim/sim_internal.h"

/* Callbacks at one instant beyond which the program is said to spin. */
#define SPIN_LIMIT 2000000u

static void run_call(sim *s, sim_event *e);
static sim_env *next_env(const sim *s, sb_ns *ret_at);

static void *must(void *block)
{
    if (!block) {
        fputs("sim: out of memory\n", stderr);
        abort();
    }
    return block;
}

sim *sim_new(void)
{
    sim *s = must(calloc(1, sizeof *s));
    sb_list_init(&s->envs);
    sb_list_init(&s->hosts);
    sb_heap_init(&s->queue);
    sim_reset(s, 0);
    return s;
}

void sim_free(sim *s)
{
    if (!s)
        return;
    sim_reset(s, 0);
    for (unsigned i = 0; i < 3; i++) {
        while (s->pool[i]) {
            sim_event *e = s->pool[i];
            s->pool[i] = e->next;
            free(e);
        }
    }
    sim_disk_fini(s);
    free(s->slots);
    free(s);
}

void sim_reset(sim *s, uint64_t seed)
{
    SB_ASSERT(sb_list_empty(&s->envs));
    for (uint32_t i = 0; i < s->slot_count; i++) {
        if (s->slots[i].kind != SIM_FREE)
            sim_slot_close(s, &s->slots[i]);
    }
    s->slot_count = 0;
    s->slot_free = 0;
    sb_heap_node *node;
    while ((node = sb_heap_min(&s->queue))) {
        sb_heap_remove(&s->queue, node);
        sim_event_free(s, sb_container_of(node, sim_event, node));
    }
    sb_heap_init(&s->queue);
    sb_list_init(&s->hosts);
    sim_disk_reset(s);
    sb_rand_seed(&s->world, seed ^ 0x776f726c64u);
    sb_rand_seed(&s->net, seed ^ 0x6e6574u);
    sb_rand_seed(&s->entropy, seed ^ 0x656e74726f7079u);
    s->faults = (sim_faults){0};
    sim_netlink_reset(s);
    s->trace = 0x9e3779b97f4a7c15u;
    s->packets = s->steps_here = 0;
    s->on_step = NULL;
    s->on_packet = NULL;
    /* An hour after boot, at a wall time of no special beauty. */
    s->now = 3600 * SB_S;
    s->boot_at = 0;
    s->wall_less = (sb_ns)1767225600 * SB_S;
    for (unsigned i = 0; i < sizeof s->boot_id; i++)
        s->boot_id[i] = (uint8_t)sb_rand_u64(&s->entropy);
}

sb_ns sim_now(const sim *s)
{
    return s->now;
}

/* When an event and a timer are due at one instant, the seed decides which comes first: answers
 * that race with time-outs are where the bugs are. */
bool sim_step(sim *s, sb_ns until)
{
    sb_heap_node *first = sb_heap_min(&s->queue);
    sb_ns env_at;
    sim_env *env = next_env(s, &env_at);
    sb_ns event_at = first ? first->key : SB_NEVER;
    sb_ns at = event_at < env_at ? event_at : env_at;
    if (at > until) {
        if (until > s->now) {
            s->now = until;
            s->steps_here = 0;
        }
        return false;
    }
    if (at > s->now) {
        s->now = at;
        s->steps_here = 0;
    }
    if (++s->steps_here > SPIN_LIMIT) {
        fputs("sim: time stands still: something spins\n", stderr);
        abort();
    }
    bool both = event_at <= s->now && env_at <= s->now;
    bool event = both ? (sb_rand_u64(&s->net) & 1) != 0 : event_at <= s->now;
    if (event) {
        sim_event *e = sb_container_of(first, sim_event, node);
        sb_heap_remove(&s->queue, first);
        e->run(s, e);
    } else {
        (void)sb_env_drain(&env->base, 1);
    }
    if (s->on_step)
        s->on_step(s->on_step_context);
    return true;
}

void sim_on_step(sim *s, void (*call)(void *context), void *context)
{
    s->on_step = call;
    s->on_step_context = context;
}

void sim_on_packet(sim *s, void (*call)(void *context, const sim_packet *), void *context)
{
    s->on_packet = call;
    s->on_packet_context = context;
}

void sim_at(sim *s, sb_ns at, void (*call)(void *context, uint64_t argument), void *context,
            uint64_t argument)
{
    sim_event *e = sim_event_new(s, at, 0, run_call);
    e->call = call;
    e->context = context;
    e->argument = argument;
}

sb_rand *sim_rand(sim *s)
{
    return &s->world;
}

sim_faults *sim_fault(sim *s)
{
    return &s->faults;
}

uint64_t sim_trace(const sim *s)
{
    return s->trace;
}

void sim_verbose(sim *s, bool on)
{
    s->verbose = on;
}

uint64_t sim_packets_sent(const sim *s)
{
    return s->packets;
}

void sim_trace_mix(sim *s, const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    uint64_t h = s->trace ^ size;
    while (size > 0) {
        uint64_t word = 0;
        size_t n = size < 8 ? size : 8;
        memcpy(&word, p, n);
        h = (h ^ word) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
        p += n;
        size -= n;
    }
    s->trace = h;
}

sim_event *sim_event_new(sim *s, sb_ns at, size_t size, void (*run)(sim *, sim_event *))
{
    unsigned class = size == 0 ? 0 : size <= SIM_EVENT_SMALL ? 1 : 2;
    SB_ASSERT(size <= SIM_EVENT_BIG);
    sim_event *e = s->pool[class];
    if (e) {
        s->pool[class] = e->next;
    } else {
        size_t capacity = class == 0 ? 0 : class == 1 ? SIM_EVENT_SMALL : SIM_EVENT_BIG;
        e = must(malloc(sizeof *e + capacity));
        e->capacity = capacity;
    }
    e->run = run;
    e->next = NULL;
    e->target = (sb_socket){0};
    e->status = SB_OK;
    e->host = NULL;
    e->call = NULL;
    e->context = NULL;
    e->argument = 0;
    e->size = size;
    sb_heap_insert(&s->queue, &e->node, at < s->now ? s->now : at);
    return e;
}

void sim_event_free(sim *s, sim_event *e)
{
    unsigned class = e->capacity == 0 ? 0 : e->capacity == SIM_EVENT_SMALL ? 1 : 2;
    e->next = s->pool[class];
    s->pool[class] = e;
}

sim_slot *sim_slot_new(sim *s, sim_slot_kind kind, sim_env *env, sb_socket *ret)
{
    uint32_t index;
    if (s->slot_free) {
        index = s->slot_free - 1;
        s->slot_free = s->slots[index].next_free;
    } else {
        if (s->slot_count == s->slot_capacity) {
            uint32_t capacity = s->slot_capacity ? s->slot_capacity * 2 : 256;
            s->slots = must(realloc(s->slots, capacity * sizeof *s->slots));
            memset(s->slots + s->slot_capacity, 0,
                   (capacity - s->slot_capacity) * sizeof *s->slots);
            s->slot_capacity = capacity;
        }
        index = s->slot_count++;
    }
    sim_slot *slot = &s->slots[index];
    uint32_t generation = slot->generation + 1;
    memset(slot, 0, sizeof *slot);
    slot->generation = generation ? generation : 1;
    slot->index = index;
    slot->kind = kind;
    slot->env = env;
    slot->held_tail = NULL;
    s->open_count += env != NULL;
    *ret = sim_slot_name(slot);
    return slot;
}

sim_slot *sim_slot_get(sim *s, sb_socket socket)
{
    if (socket.generation == 0 || socket.index >= s->slot_count)
        return NULL;
    sim_slot *slot = &s->slots[socket.index];
    return slot->kind != SIM_FREE && slot->generation == socket.generation ? slot : NULL;
}

sb_socket sim_slot_name(const sim_slot *slot)
{
    return (sb_socket){.index = slot->index, .generation = slot->generation};
}

void sim_slot_close(sim *s, sim_slot *slot)
{
    sim_unbind(s, slot);
    sim_held_drop(s, slot);
    s->open_count -= slot->env != NULL;
    slot->kind = SIM_FREE;
    slot->tag = 0;
    slot->next_free = s->slot_free;
    s->slot_free = slot->index + 1;
}

unsigned sim_sockets_open(const sim *s)
{
    return s->open_count;
}

bool sim_socket_tag(sim *s, sb_socket socket, uint64_t tag)
{
    sim_slot *slot = sim_slot_get(s, socket);
    if (!slot)
        return false;
    slot->tag = tag;
    return true;
}

unsigned sim_sockets_tagged(const sim *s, uint64_t tag)
{
    unsigned n = 0;
    for (uint32_t i = 0; i < s->slot_count; i++)
        n += s->slots[i].kind != SIM_FREE && s->slots[i].env && s->slots[i].tag == tag;
    return n;
}

static void run_call(sim *s, sim_event *e)
{
    void (*call)(void *, uint64_t) = e->call;
    void *context = e->context;
    uint64_t argument = e->argument;
    sim_event_free(s, e);
    call(context, argument);
}

/* The process whose loop would wake first. */
static sim_env *next_env(const sim *s, sb_ns *ret_at)
{
    sim_env *best = NULL;
    sb_ns at = SB_NEVER;
    for (const sb_list *it = s->envs.next; it != &s->envs; it = it->next) {
        sim_env *env = sb_container_of(it, sim_env, link);
        if (env->frozen)
            continue;
        sb_ns wake = SB_NEVER;
        const sb_heap_node *first = sb_heap_min(&env->base.timers);
        if (!sb_list_empty(&env->base.ready))
            wake = s->now;
        else if (first)
            wake = first->key + s->boot_at < s->now ? s->now : first->key + s->boot_at;
        if (wake < at) {
            at = wake;
            best = env;
        }
    }
    *ret_at = at;
    return best;
}
