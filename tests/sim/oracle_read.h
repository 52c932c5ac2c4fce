/* A reply taken apart into what it claims: which versions of which names, with which TTLs. It
 * judges form only (one chain, whole sets, nothing nobody wrote); whether a claim may still be made
 * is judged in oracle.c. */
#ifndef SIM_ORACLE_READ_H
#define SIM_ORACLE_READ_H

#include "sim/oracle.h"

typedef struct parsed {
    const oracle_reply *reply;
    bool lenient; /* what servers may say, the program may not */
    sb_msg msg;
    int id; /* of the question; -1 not ours */
    int slot;
    int last_id; /* of the end of the chain */
    int ede;
    bool stale;     /* EDE says so */
    int private_of; /* the network its address belongs to; -1 public */
    uint8_t origin; /* of the addresses; ORIGIN_ZONE for negatives */
    bool positive;  /* has records of the type asked */
    uint32_t ttl_least_s, ttl_most_s;
    unsigned claim_count;
    oracle_claim claims[ORACLE_CLAIMS_MAX];
    bool serial;          /* a denial with our SOA */
    bool lie;             /* nothing of it was ever true */
    sb_ns end, fresh_end; /* of the authority's TTL, of the effective one: latest possible */
    sb_ns said;           /* the earliest of the claims' latest saying */
    sb_ns said_last;      /* the latest: links of an open chain come one after the other */
    uint32_t authority_ttl_s;
} parsed;

/* p->reply and p->lenient are set. False: unreadable, or nothing that was ever true; said to o. */
bool oracle_read(oracle *o, parsed *p);
/* Says what of the reply; false. */
bool oracle_wrong(oracle *o, const parsed *p, const char *what);

#endif
