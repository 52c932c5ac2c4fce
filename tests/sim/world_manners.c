/* How the servers of a world behave besides what they say: whether they keep the case of a
 * question, do cookies, and how long they keep a connection. They change while the world runs, as
 * servers that are updated, restarted or replaced do. See world.h. */
#include "sim/world.h"

static void change(void *context, uint64_t index);

static bool chance(world *w, uint32_t permille)
{
    return sb_rand_chance(&w->manners, permille);
}

void world_manners_choose(world *w)
{
    sb_rand_seed(&w->manners, w->seed ^ 0x6d616e6e657273u);
    for (unsigned i = ACTOR_MANNERS; i < ACTOR_COUNT; i++)
        if (chance(w, 200))
            w->actors |= (uint64_t)1 << i;
}

/* What a good server is like: one that closes connections is one that is asked over them. */
server_mode world_good_mode(world *w)
{
    return world_has(w, ACTOR_CLOSING) && chance(w, 500) ? SERVER_TRUNCATING : SERVER_HONEST;
}

/* What does not fit, or is crowded out by forgeries, has no other way. */
static bool needs_tcp(const world *w)
{
    return world_has(w, ACTOR_BIG) || world_has(w, ACTOR_TRUNCATING) ||
           world_has(w, ACTOR_FORGER) || world_has(w, ACTOR_CLOSING);
}

static void settle(world *w, server *sv)
{
    if (world_has(w, ACTOR_FOLDING)) {
        sv->folds = chance(w, 600);
        sv->no_tcp = chance(w, 250) && !needs_tcp(w);
    }
    if (world_has(w, ACTOR_COOKIES)) {
        sv->cookies = chance(w, 800);
        sv->strict = chance(w, 400);
        sv->garbles = chance(w, 100);
        if (chance(w, 500))
            sv->cookie_secret++;
    }
    if (world_has(w, ACTOR_CLOSING)) {
        /* Answers what has come before it closes, and has answered several when it comes late. */
        sv->closes_late = chance(w, 500);
        sv->answers_per_conn = (sv->closes_late ? 8 : 1) + (unsigned)sb_rand_below(&w->manners, 8);
    }
    server_set_mode(sv, sv->mode);
}

static void again(world *w, uint64_t index)
{
    sb_ns wait = sb_rand_range(&w->manners, 5 * SB_S, 120 * SB_S);
    sim_at(w->s, sim_now(w->s) + wait, change, w, index);
}

static void change(void *context, uint64_t index)
{
    world *w = context;
    if (w->calm)
        return;
    settle(w, &w->servers[index]);
    again(w, index);
}

void world_manners(world *w)
{
    if (w->actors >> ACTOR_MANNERS == 0)
        return;
    for (unsigned i = 0; i < w->server_count; i++) {
        settle(w, &w->servers[i]);
        again(w, i);
    }
}
