/* Messages in a few words, for the tests of src/dns. */
#ifndef TEST_DNS_MAKE_H
#define TEST_DNS_MAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "dns/answer.h"
#include "dns/msg.h"
#include "dns/rdata.h"

enum {
    ANSWER = SB_SECTION_ANSWER,
    AUTHORITY = SB_SECTION_AUTHORITY,
    EXTRA = SB_SECTION_ADDITIONAL
};

typedef struct maker {
    sb_builder b;
    uint8_t bytes[SB_MSG_MAX];
    size_t size;
    sb_msg msg;
} maker;

static inline sb_name name_of(const char *text)
{
    sb_name name;
    if (sb_name_parse(text, strlen(text), &name, NULL) != SB_OK)
        fail_msg("%s is no name", text);
    return name;
}

static inline sb_addr addr_of(const char *text)
{
    sb_addr addr;
    if (!sb_addr_parse(text, strlen(text), &addr))
        fail_msg("%s is no address", text);
    return addr;
}

static inline sb_question question_of(const char *name, uint16_t type)
{
    return (sb_question){.name = name_of(name), .type = type, .class = SB_CLASS_IN};
}

/* A response to name/type; flags may hold the rcode. */
static inline void begin(maker *m, uint16_t flags, const char *name, uint16_t type)
{
    sb_question question = question_of(name, type);
    sb_builder_init(&m->b, m->bytes, sizeof m->bytes, 0x1234, (uint16_t)(SB_FLAG_QR | flags));
    sb_builder_question(&m->b, &question);
}

static inline void add_raw(maker *m, int section, const char *owner, uint16_t type, uint32_t ttl_s,
                           const void *rdata, size_t size)
{
    sb_name name = name_of(owner);
    sb_builder_record(&m->b, section, &name, type, SB_CLASS_IN, ttl_s, (sb_span){rdata, size});
}

static inline void add_name(maker *m, int section, const char *owner, uint16_t type,
                            uint32_t ttl_s, const char *target)
{
    sb_name name = name_of(target);
    add_raw(m, section, owner, type, ttl_s, name.wire, name.size);
}

static inline void add_addr(maker *m, int section, const char *owner, uint32_t ttl_s,
                            const char *text)
{
    sb_addr addr = addr_of(text);
    bool v4 = addr.family == SB_FAMILY_4;
    add_raw(m, section, owner, v4 ? SB_TYPE_A : SB_TYPE_AAAA, ttl_s, addr.bytes, v4 ? 4 : 16);
}

static inline void add_soa(maker *m, const char *owner, uint32_t ttl_s, uint32_t minimum_s)
{
    uint8_t bytes[600];
    sb_writer w = sb_writer_of(bytes, sizeof bytes);
    sb_name mname = name_of("ns1.Example"), rname = name_of("host\\.master.example");
    sb_name_write(&w, &mname);
    sb_name_write(&w, &rname);
    for (uint32_t i = 1; i <= 4; i++)
        sb_write_u32(&w, i);
    sb_write_u32(&w, minimum_s);
    add_raw(m, AUTHORITY, owner, SB_TYPE_SOA, ttl_s, bytes, w.size);
}

static inline void add_rrsig(maker *m, int section, const char *owner, uint16_t covered,
                             uint8_t labels, uint32_t ttl_s, const char *signer)
{
    uint8_t bytes[300];
    sb_writer w = sb_writer_of(bytes, sizeof bytes);
    sb_name name = name_of(signer);
    sb_write_u16(&w, covered);
    sb_write_u8(&w, 13);
    sb_write_u8(&w, labels);
    sb_write_u32(&w, ttl_s);
    sb_write_u64(&w, 0);
    sb_write_u16(&w, 7);
    sb_name_write(&w, &name);
    sb_write_text(&w, "signature");
    add_raw(m, section, owner, SB_TYPE_RRSIG, ttl_s, bytes, w.size);
}

/* Finishes and parses; the message must check. */
static inline const sb_msg *end(maker *m)
{
    m->size = sb_builder_finish(&m->b);
    assert_true(m->size > 0);
    assert_int_equal(sb_msg_parse(m->bytes, m->size, &m->msg), SB_OK);
    return &m->msg;
}

/* "owner type ttl rdata" of a section, a line each. */
typedef struct listing {
    char text[8192];
    sb_writer w;
} listing;

static inline bool list_record(void *context, const sb_record *record, sb_span rdata)
{
    listing *l = context;
    char name[SB_NAME_TEXT_MAX], type[16];
    sb_text t = {0};
    (void)sb_rdata_text(record->type, rdata, &t);
    sb_write_format(&l->w, "%s %s %u %s\n", sb_name_text(&record->owner, name),
                    sb_type_text(record->type, type), record->ttl_s, t.data ? t.data : "");
    sb_text_fini(&t);
    return true;
}

static inline const char *list(listing *l, const sb_answer *answer, int section)
{
    l->w = sb_writer_of(l->text, sizeof l->text - 1);
    assert_true(sb_answer_each(answer, section, list_record, l));
    assert_false(l->w.failed);
    l->text[l->w.size] = 0;
    return l->text;
}

#endif
