/* Answers for the tests of the cache file whose every byte is a function of their number and
 * version, so that whatever comes out of a file can be told right from wrong. Owns nothing but
 * what it is given. */
#ifndef SB_TESTS_L1_SAMPLE_H
#define SB_TESTS_L1_SAMPLE_H

#include "store/l1_read.h"

typedef struct l1_sample {
    sb_question question;
    sb_answer answer;          /* points into the two below */
    uint16_t ttl_at[SB_ANSWER_TTLS_MAX];
    uint8_t body[65536];
} l1_sample;

/* "h<number>.sample.example" A IN. */
void l1_sample_question(unsigned number, sb_question *ret);
/* filler_bytes of opaque RDATA follow 1 to 3 addresses; the version lies in the first address. */
void l1_sample_make(l1_sample *ret, unsigned number, unsigned version, size_t filler_bytes);
/* A filler that spreads over many size classes, most of them small. */
size_t l1_sample_filler(unsigned number, unsigned version, size_t max_bytes);
/* The version found in an entry that is whole and belongs to the number; -1 when it is wrong in
 * any byte. max_bytes as given to l1_sample_filler when it was made. */
int64_t l1_sample_check(const sb_l1_entry *entry, unsigned number, size_t max_bytes,
                        l1_sample *scratch);
/* The number in an entry's name; UINT_MAX when it is none of ours. */
unsigned l1_sample_number(const sb_l1_entry *entry);

#endif
