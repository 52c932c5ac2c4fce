/* What happens to what the judge knows: the machine moves, sleeps, begins anew, forgets. See
 * oracle.h. */
#include <stdio.h>
#include <string.h>

#include "dns/rdata.h"
#include "sim/oracle.h"

void oracle_forget(oracle *o, const sb_name *name)
{
    int id = name ? zone_node_id(name) : -1;
    o->reset_at = sim_now(o->s);
    if (!name)
        memset(o->denials_since, 0, sizeof o->denials_since);
    for (unsigned i = 0; i < ORACLE_KEYS; i++) {
        if (name && i / 12 != (unsigned)id)
            continue;
        oracle_key *key = &o->keys[i];
        key->known = key->known_positive = false;
        key->known_until = 0; /* or what is tentative would hold as long as what was lost */
        key->fresh_until = key->answered_at = 0;
        key->cd_denied = 0; /* with the denial goes what stood before it */
        key->claim_count = 0;
        for (unsigned n = 0; n < ORACLE_NETWORKS; n++)
            o->away[n][i] = (oracle_key){0};
    }
}

void oracle_power_lost(oracle *o)
{
    o->power_at = sim_now(o->s);
    memset(o->denial_seen, 0, sizeof o->denial_seen);
    memset(o->name_denied, 0, sizeof o->name_denied);
    memset(o->away_denial, 0, sizeof o->away_denial);
    memset(o->away_name_denied, 0, sizeof o->away_name_denied);
}

void oracle_slept(oracle *o, sb_ns duration)
{
    sb_ns since = sim_now(o->s) - duration - 10 * SB_S;
    sb_ns *cell = &o->said[0][0][0];
    for (size_t i = 0; i < sizeof o->said / sizeof *cell; i++)
        cell[i] += cell[i] > since ? duration : 0;
    cell = &o->denied[0][0][0];
    for (size_t i = 0; i < sizeof o->denied / sizeof *cell; i++)
        cell[i] += cell[i] > since ? duration : 0;
    cell = &o->lied[0][0];
    for (size_t i = 0; i < sizeof o->lied / sizeof *cell; i++)
        cell[i] += cell[i] > since ? duration : 0;
    for (unsigned i = 0; i < ZONE_NODES_MAX; i++)
        o->lied_denial[i] += o->lied_denial[i] > since ? duration : 0;
    cell = &o->denied_bare[0][0];
    for (size_t i = 0; i < sizeof o->denied_bare / sizeof *cell; i++)
        cell[i] += cell[i] > since ? duration : 0;
    if (o->moved_at > since) {
        o->moved_at += duration;
        o->settled_at += duration;
        o->doubt_until += duration;
    }
    /* So does the look at the hosts file. */
    for (unsigned i = 0; i < ZONE_NODES_MAX; i++) {
        o->hosts_since[i] += o->hosts_since[i] > since ? duration : 0;
        o->hosts_until[i] +=
            o->hosts_until[i] > since && o->hosts_until[i] < SB_NEVER / 4 ? duration : 0;
    }
    if (o->healthy_since != SB_NEVER)
        o->healthy_since = sim_now(o->s);
}

/* What is known of a split name goes with its network. */
static void swap_away(oracle *o, unsigned id, unsigned from, unsigned to)
{
    oracle_key *here = &o->keys[id * 12];
    memcpy(&o->away[from][id * 12], here, 12 * sizeof *here);
    memcpy(here, &o->away[to][id * 12], 12 * sizeof *here);
    memcpy(o->away_denial[from][id], o->denial_seen[id], sizeof o->denial_seen[id]);
    memcpy(o->denial_seen[id], o->away_denial[to][id], sizeof o->denial_seen[id]);
    o->away_name_denied[from][id] = o->name_denied[id];
    o->name_denied[id] = o->away_name_denied[to][id];
}

void oracle_moved(oracle *o, unsigned network, sb_ns settled_at)
{
    sb_ns now = sim_now(o->s);
    for (unsigned id = 0; network != o->network && id < o->z->node_count; id++)
        if (o->z->nodes[id].split)
            swap_away(o, id, o->network, network);
    if (now > o->settled_at && !o->unmet)
        o->networks_before = 0; /* the one we leave was noticed */
    o->networks_before |= 1u << o->network;
    o->network = network;
    o->moved_at = o->reset_at = now;
    o->left_at = 0;
    o->unmet = false;
    o->settled_at = settled_at;
    o->doubt_until = settled_at + o->doubt_window;
    if (o->healthy_since != SB_NEVER)
        o->healthy_since = now;
}

/* Some names are public on some networks; and a lie, whose address is none of a private network,
 * makes any name so. */
static bool holds_everywhere(const oracle *o, unsigned key)
{
    const zone_node *node = &o->z->nodes[key / 12];
    unsigned slot = key % 12 / 4;
    return node->split && (!node->split_always || slot == SLOT_TXT || o->lied[node->id][slot] > 0);
}

void oracle_said_elsewhere(oracle *o, unsigned key, bool positive)
{
    for (unsigned n = 0; o->z->nodes[key / 12].split && n < ORACLE_NETWORKS; n++) {
        oracle_key *there = &o->away[n][key];
        if (holds_everywhere(o, key))
            there->fresh_until = 0;
        /* Denials lie where all networks look: the one of there was replaced by one of here, which
         * goes with this answer. */
        if (positive && !there->known_positive && o->keys[key].denied_at > there->seen_at)
            there->known = false;
    }
}

void oracle_denied_elsewhere(oracle *o, unsigned key)
{
    oracle_said_elsewhere(o, key, false);
    for (unsigned n = 0; holds_everywhere(o, key) && n < ORACLE_NETWORKS; n++)
        o->away[n][key].known = o->away[n][key].known_positive = false;
}

void oracle_left(oracle *o)
{
    o->left_at = sim_now(o->s);
    o->unmet = o->left_at <= o->settled_at;
}

void oracle_started(oracle *o)
{
    sb_ns now = sim_now(o->s);
    o->moved_at = now;
    if (o->settled_at < now + ORACLE_NOTICED)
        o->settled_at = now + ORACLE_NOTICED;
    o->doubt_until = o->settled_at + o->doubt_window;
    if (o->left_at)
        o->left_at = now;
}

/* In a buffer of its own, until the next call. */
const char *oracle_text(const sb_question *q)
{
    static char text[SB_NAME_TEXT_MAX + 40];
    char name[SB_NAME_TEXT_MAX], type[16];
    snprintf(text, sizeof text, "%s %s%s%s", sb_name_text(&q->name, name),
             sb_type_text(q->type, type), q->dnssec_ok ? " DO" : "",
             q->checking_disabled ? " CD" : "");
    return text;
}
