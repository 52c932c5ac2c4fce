/* Doubted negatives (A12): when a denial contradicts what was known, who is believed?
 *
 * One pure function judges the evidence; a bounded table remembers since when a name has been
 * denied in agreement. The strategy `doubt` gathers the evidence. Loop thread. */
#ifndef SB_RESOLVE_VERDICT_H
#define SB_RESOLVE_VERDICT_H

#include "resolve/strategy.h"

#define SB_DOUBTS_MAX                                                                              \
    1024 /* names under doubt at a time; the oldest is forgotten, and so begins anew */

typedef enum sb_second {
    SB_SECOND_NONE,   /* the route has no other server */
    SB_SECOND_SILENT, /* it has, but none answered */
    SB_SECOND_AGREES,
    SB_SECOND_CONTRADICTS
} sb_second;

typedef enum sb_liveness { SB_LIVENESS_UNKNOWN, SB_LIVENESS_DEAD, SB_LIVENESS_ALIVE } sb_liveness;

typedef struct sb_evidence {
    bool obeyed;       /* the operator's word */
    bool is_protected; /* by policy */
    bool in_window;    /* shortly after a network change */
    sb_second second;
    sb_liveness liveness; /* of the addresses last known */
    sb_ns agreed_for;     /* how long denials have agreed; 0 = this is the first */
    sb_ns confirm, most;  /* protect_confirm, protect_max */
} sb_evidence;

/* True: the denial is obeyed. *ret_reason (static text) says why it is doubted otherwise. */
bool sb_doubt_obeys(const sb_evidence *evidence, const char **ret_reason);

typedef struct sb_doubts sb_doubts;
SB_MUST_USE sb_status sb_doubts_new(const uint8_t secret[16], sb_doubts **ret);
void sb_doubts_free(sb_doubts *doubts);
/* The name (folded) was denied at `now`, for that type or as a whole; agreeing: nobody who was
 * asked said otherwise. How long that has been so. */
sb_ns sb_doubts_denied(sb_doubts *doubts, const sb_name *name, uint16_t type, bool whole,
                       bool agreeing, sb_ns now);
/* How long the name has been denied as a whole, which is more than one type's denial. */
sb_ns sb_doubts_whole(const sb_doubts *doubts, const sb_name *name, sb_ns now);
/* A positive answer of that type, or a contradiction: doubt of it and of the name begins anew next
 * time. */
void sb_doubts_clear(sb_doubts *doubts, const sb_name *name, uint16_t type);
/* The denial of that type was obeyed: what comes after it is a doubt of its own. */
void sb_doubts_end(sb_doubts *doubts, const sb_name *name, uint16_t type);
/* The operator says the denial is right: obeyed until the name is answered again. */
SB_MUST_USE sb_status sb_doubts_obey(sb_doubts *doubts, const sb_name *name, sb_ns now);
bool sb_doubts_obeyed(const sb_doubts *doubts, const sb_name *name);

/* Shortly after a network change: captive portals and half-configured resolvers speak. */
bool sb_doubt_in_window(const sb_ctx *ctx);
/* True for denials, new or kept, of what emergency addresses stand for, unless the operator obeys
 * them. */
bool sb_doubt_shuns(const sb_ctx *ctx, const sb_asked *asked, uint16_t type, sb_kind kind);
/* True when this negative answer contradicts what policy or a recent network change protects. */
bool sb_doubt_concerns(const sb_ctx *ctx, const sb_asked *asked, const sb_answer *negative);

#endif
