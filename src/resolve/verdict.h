/* Doubted negatives (A12): when a denial contradicts what was known, who is believed?
 *
 * One pure function judges the evidence; bounded tables remember since when a name has been denied,
 * in agreement or not, how long its answer stood before, and which names of a zone vanish together.
 * The strategy `doubt` gathers the evidence. Loop thread. */
#ifndef SB_RESOLVE_VERDICT_H
#define SB_RESOLVE_VERDICT_H

#include "resolve/endpoint.h"
#include "resolve/strategy.h"

/* Types of names under doubt at a time (each name takes one more), and types of protected names
 * whose answers are watched; the oldest is forgotten, and so begins anew. */
#define SB_DOUBTS_MAX 3072
/* So many other names of the zone denied within minutes of each other are a broken zone rather than
 * deletions, where one server alone says so. */
#define SB_SIBLINGS_MANY 3
#define SB_SIBLINGS_WITHIN (600 * SB_S)
/* An answer that stood for ten times protect_confirm is steady: the word of the only server there
 * is must then hold for three times protect_confirm. */
#define SB_STEADY_TIMES 10
#define SB_LONE_TIMES 3

typedef enum sb_second {
    SB_SECOND_NONE,   /* the route has no other server */
    SB_SECOND_SILENT, /* it has, but none answered */
    SB_SECOND_AGREES,
    SB_SECOND_CONTRADICTS
} sb_second;
/* "the only server", "others silent", "others agree", "others know it". Static storage. */
const char *sb_second_text(sb_second second);

typedef struct sb_evidence {
    bool obeyed;       /* the operator's word */
    bool is_protected; /* by policy */
    bool in_window;    /* shortly after a network change */
    sb_second second;
    sb_liveness liveness; /* of the addresses last known */
    unsigned siblings;    /* other names of the zone denied within SB_SIBLINGS_WITHIN */
    sb_ns known_for;      /* age and stability: the same answer stood for that long, at least */
    sb_ns agreed_for;     /* how long denials have agreed; 0 = this is the first */
    sb_ns denied_for;     /* how long nobody has said otherwise */
    sb_ns confirm, most;  /* protect_confirm, protect_max */
} sb_evidence;

/* True: the denial is obeyed. *ret_reason (static text) says why it is doubted otherwise, and what
 * is known of the address's life.
 *
 * Two servers that agree for `confirm` are believed, whatever else is seen: their zone is theirs. A
 * single voice is weighed: a living endpoint, or a zone that vanishes as a whole, delays it for
 * `most`, and so does the silence of those who could be asked. */
bool sb_doubt_obeys(const sb_evidence *evidence, const char **ret_reason);

typedef struct sb_doubts sb_doubts;
SB_MUST_USE sb_status sb_doubts_new(const uint8_t secret[16], sb_doubts **ret);
void sb_doubts_free(sb_doubts *doubts);
/* The name (folded) was denied at `now`, for that type or as a whole; agreeing: nobody who was
 * asked said otherwise. How long that has been so. */
sb_ns sb_doubts_denied(sb_doubts *doubts, const sb_name *name, uint16_t type, bool whole,
                       bool agreeing, sb_ns now);
/* How long it (type 0: the whole name) has been denied without anybody saying otherwise; 0 before
 * the first time. */
sb_ns sb_doubts_denied_for(const sb_doubts *doubts, const sb_name *name, uint16_t type, sb_ns now);
/* How long the name has been denied as a whole, which is more than one type's denial. */
sb_ns sb_doubts_whole(const sb_doubts *doubts, const sb_name *name, sb_ns now);
/* A positive answer of that type, or a contradiction: doubt of it and of the name begins anew next
 * time. */
void sb_doubts_clear(sb_doubts *doubts, const sb_name *name, uint16_t type);
/* The denial of that type was obeyed: what comes after it is a doubt of its own. */
void sb_doubts_end(sb_doubts *doubts, const sb_name *name, uint16_t type);
/* A denial of that type (whole: of the name) is believed: is that news, or was it told in the
 * course of this very denial? */
bool sb_doubts_news(sb_doubts *doubts, const sb_name *name, uint16_t type, bool whole);
/* The operator says the denial is right: obeyed until the name is answered again. SB_NOTFOUND: no
 * denial of the name is doubted. */
SB_MUST_USE sb_status sb_doubts_obey(sb_doubts *doubts, const sb_name *name, sb_ns now);
bool sb_doubts_obeyed(const sb_doubts *doubts, const sb_name *name);

/* A name of the zone was denied against what was known / how many others were lately. */
void sb_doubts_vanished(sb_doubts *doubts, const sb_name *zone, const sb_name *name, sb_ns now);
unsigned sb_doubts_siblings(const sb_doubts *doubts, const sb_name *zone, const sb_name *name,
                            sb_ns now);
/* An answer of a protected name was learned; its addresses make it the same as before or another. /
 * Since when it is the same; 0: nothing known. */
void sb_doubts_stands(sb_doubts *doubts, const sb_question *question, const sb_answer *answer,
                      sb_ns now);
sb_ns sb_doubts_stands_since(const sb_doubts *doubts, const sb_question *question);
/* The evidence last weighed of a doubt that goes on, for those who ask (explain). */
typedef struct sb_doubt_info sb_doubt_info;
struct sb_doubt_info {
    sb_evidence evidence;
    const char *reason; /* static */
    sb_ns at;
};
void sb_doubts_note(sb_doubts *doubts, const sb_name *name, uint16_t type,
                    const sb_doubt_info *info);
bool sb_doubts_last(const sb_doubts *doubts, const sb_name *name, uint16_t type,
                    sb_doubt_info *ret_info);
/* The zone that speaks in a denial: the owner of its SOA, else what lies above the name. */
void sb_doubt_zone(const sb_answer *negative, sb_name *ret_zone);

/* Shortly after a network change: captive portals and half-configured resolvers speak. */
bool sb_doubt_in_window(const sb_ctx *ctx);
/* True for denials, new or kept, of what emergency addresses stand for, unless the operator obeys
 * them. */
bool sb_doubt_shuns(const sb_ctx *ctx, const sb_asked *asked, uint16_t type, sb_kind kind);
/* True when this negative answer contradicts what policy or a recent network change protects. */
bool sb_doubt_concerns(const sb_ctx *ctx, const sb_asked *asked, const sb_answer *negative);

#endif
