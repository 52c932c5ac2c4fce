/* The truth: which names exist with which address at which time, and what a question may be told.
 *
 * Known names n<i>.known.example.net: asked over and over, resolved before the run. New names
 * x<i>.new.example.net: each asked by one look-up only. Both also below the search suffix, where
 * nothing exists. TTLs are 1 s, negative ones too. Effects: none. One thread. */
#ifndef SB_OUTAGE_ZONE_H
#define SB_OUTAGE_ZONE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "dns/msg.h"

#define ZONE_TTL_S 1
#define ZONE_HOT 10   /* names asked about twice a second each */
#define ZONE_COLD 100 /* names asked about every five seconds or so */
#define ZONE_KNOWN_COUNT (ZONE_HOT + ZONE_COLD)
#define ZONE_NEVER INT64_MAX

typedef enum zone_kind { ZONE_OTHER, ZONE_KNOWN, ZONE_NEW } zone_kind;

typedef struct zone_id {
    uint8_t kind; /* zone_kind */
    bool suffixed;
    uint32_t index;
} zone_id;

/* Times of CLOCK_MONOTONIC, ZONE_NEVER until they come. */
typedef struct zone {
    int64_t changed_ns;
    int64_t deleted_ns;
    /* When an upstream was first asked about the deleted name: nobody can know before. */
    int64_t denied_ns[ZONE_KNOWN_COUNT];
    /* How long after a deletion the address may still be served, and then after the first denial
     * where deletions are to be confirmed; the second for names whose endpoint lives. */
    int64_t delete_grace_ns;
    int64_t delete_grace_alive_ns;
    bool confirms; /* names are protected */
    int64_t change_grace_ns;
} zone;

/* What a client was told. */
typedef struct zone_seen {
    uint16_t rcode;
    unsigned count; /* records of the type asked for */
    sb_addr first;
    int ede;
} zone_seen;

typedef enum zone_verdict {
    VERDICT_RIGHT,
    VERDICT_OUTDATED, /* the old address although a living upstream has had the new one */
    VERDICT_GONE,     /* the address of a name that was deleted at a living upstream */
    VERDICT_EMPTY,    /* NODATA for such a name: no harm done, but NXDOMAIN is the truth */
    VERDICT_DENIED,   /* NXDOMAIN or NODATA for what exists */
    VERDICT_BOGUS,    /* anything else that was never true */
    VERDICT_FAILED,   /* SERVFAIL, REFUSED and the like */
    VERDICT_SILENT,   /* no reply */
    VERDICT_COUNT
} zone_verdict;

/* What a server makes of a question beside telling the truth. */
typedef enum zone_lie { LIE_NONE, LIE_SERVFAIL, LIE_DENY } zone_lie;

void zone_init(zone *z);
void zone_name(zone_id id, sb_name *ret_name);
zone_id zone_find(const sb_name *name);
/* True when the name belongs to the tenth that EVENT_DELETE removes. */
bool zone_is_mortal(uint32_t known_index);
/* Every other mortal name's endpoint lives on. */
bool zone_endpoint_survives(uint32_t known_index);
/* version: 1, or 2 after EVENT_CHANGE. New names have one version. False when the name has no
 * address of that type. */
bool zone_address(zone_id id, uint16_t type, unsigned version, sb_addr *ret_addr);
/* A living upstream was asked about the name. */
void zone_note_denied(zone *z, zone_id id, int64_t now_ns);
/* The reply's size, or 0 when the buffer is too small. */
size_t zone_reply(const zone *z, const sb_msg *query, zone_lie lie, int64_t now_ns, void *buffer,
                  size_t capacity);
void zone_see(const sb_msg *reply, zone_seen *ret_seen);
/* Anything that was true between asking and the reply, or whose grace had not ended when it was
 * asked, is right. *ret_was_old: an address that was true only before the change or deletion. */
zone_verdict zone_judge(const zone *z, zone_id id, uint16_t type, const zone_seen *seen,
                        int64_t asked_ns, int64_t answered_ns, bool *ret_was_old);

#endif
