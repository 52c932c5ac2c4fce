/* What is remembered of a server's manners on the wire: whether it keeps the case of a question and
 * knows EDNS, and its DNS cookies.
 *
 * A value inside each server; never sends and never decides what an answer is worth.
 * draft-vixie-dnsext-dns0x20, RFC 6891, 7873, 9018. Loop thread. */
#ifndef SB_NET_MANNERS_H
#define SB_NET_MANNERS_H

#include "base/addr.h"
#include "core/env.h"
#include "dns/msg.h"

#define SB_COOKIE_CLIENT 8      /* bytes of a client cookie (RFC 7873 §4) */
#define SB_COOKIE_SERVER_MIN 8  /* … of a server cookie */
#define SB_COOKIE_SERVER_MAX 32 /* … at most */
#define SB_CASE_BITS 32         /* bytes of randomness for the letters of the longest name */

/* Manners of honest servers that look like forgeries. */
typedef enum sb_habit {
    SB_HABIT_FOLDS_CASE,     /* its responses do not repeat the case of the question */
    SB_HABIT_BREAKS_COOKIES, /* lost, garbled or refused cookies */
    SB_HABIT_REFUSES_EDNS,   /* FORMERR or the like to a query with EDNS, and not without */
    SB_HABIT_COUNT
} sb_habit;

typedef struct sb_manners {
    struct {
        sb_ns since; /* the last strike */
        unsigned strikes;
    } habits[SB_HABIT_COUNT];
    bool speaks_edns;   /* has answered with it: to refuse it without a question is doubtful */
    bool sends_cookies; /* a response without one is doubtful */
    uint8_t client_cookie[SB_COOKIE_CLIENT];
    uint8_t server_cookie[SB_COOKIE_SERVER_MAX]; /* given for that client cookie */
    uint8_t server_cookie_size;                  /* 0: none known */
} sb_manners;

/* True from the second strike on, for an hour after the last. One does not suffice: it may be a
 * forger's who guessed port and ID once, and would take the protection away for all others. */
bool sb_manners_has(const sb_manners *manners, sb_habit habit, sb_ns now);
/* An exchange with a response that the habit explains has ended: TCP was asked, or there was none
 * to ask; for EDNS, to do without it has helped. TCP cannot tell a forger's response from the
 * server's: that a datagram without the habit forgives the strikes is what a forger is up against.
 * At most once per exchange and habit. */
void sb_manners_strike(sb_manners *manners, sb_habit habit, sb_ns now);
/* A datagram showed that the server does not have the habit. */
void sb_manners_forgive(sb_manners *manners, sb_habit habit);
/* As if never met: a network change. */
void sb_manners_forget(sb_manners *manners);

/* 0x20: upper case where the bit of a letter's place is set. The name must be folded. */
void sb_manners_mix_case(sb_name *name, const uint8_t bits[SB_CASE_BITS]);

/* The client cookie for this server from this address of ours: nobody can link us by it across
 * networks (RFC 9018 §3). Another one than before makes the server's cookie forgotten. */
void sb_manners_client_cookie(sb_manners *manners, const uint8_t secret[16], const sb_addr *server,
                              const sb_addr *local, uint8_t ret_cookie[SB_COOKIE_CLIENT]);
/* The COOKIE option: that client cookie, and the server's when one is known for it. */
void sb_manners_write_cookie(const sb_manners *manners, const uint8_t cookie[SB_COOKIE_CLIENT],
                             sb_writer *options);

typedef enum sb_cookie {
    SB_COOKIE_ABSENT,
    SB_COOKIE_ECHOED, /* ours alone: no cookies there, but the sender saw our query */
    SB_COOKIE_GOOD,
    SB_COOKIE_WRONG
} sb_cookie;
/* The cookie of a response to a query with that client cookie. GOOD: *ret_server is the server's,
 * inside the message. */
sb_cookie sb_manners_read_cookie(const uint8_t cookie[SB_COOKIE_CLIENT], const sb_edns *edns,
                                 sb_span *ret_server);
/* Remembers a GOOD one, unless the client cookie has changed meanwhile. */
void sb_manners_learn_cookie(sb_manners *manners, const uint8_t cookie[SB_COOKIE_CLIENT],
                             sb_span server);

#endif
