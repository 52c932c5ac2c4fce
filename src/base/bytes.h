/* Cursors: every untrusted byte is read and every wire byte written through these.
 *
 * Errors are sticky: after the first overrun all reads give 0 and all writes do nothing, and one
 * check of `failed` at the end suffices. No pointer walks elsewhere. Any thread. */
#ifndef SB_BASE_BYTES_H
#define SB_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Borrowed bytes. */
typedef struct sb_span {
    const uint8_t *data;
    size_t size;
} sb_span;

typedef struct sb_reader {
    const uint8_t *data;
    size_t size;
    size_t at;
    bool failed;
} sb_reader;

typedef struct sb_writer {
    uint8_t *data;
    size_t capacity;
    size_t size;
    bool failed;
} sb_writer;

sb_reader sb_reader_of(const void *data, size_t size);
size_t sb_reader_left(const sb_reader *r);
uint8_t sb_read_u8(sb_reader *r);
uint16_t sb_read_u16(sb_reader *r); /* network order, as all of these */
uint32_t sb_read_u32(sb_reader *r);
uint64_t sb_read_u64(sb_reader *r);
/* Borrowed bytes of the buffer; {NULL, 0} and a failed reader when fewer are left. */
sb_span sb_read_span(sb_reader *r, size_t size);
/* Copies size bytes to ret; zeroes ret when fewer are left. */
void sb_read_copy(sb_reader *r, void *ret, size_t size);
void sb_read_skip(sb_reader *r, size_t size);
/* A reader over exactly the next size bytes, which the parent then has passed. */
sb_reader sb_read_sub(sb_reader *r, size_t size);
/* True when nothing failed and nothing is left. */
bool sb_reader_done(const sb_reader *r);

sb_writer sb_writer_of(void *data, size_t capacity);
size_t sb_writer_left(const sb_writer *w);
void sb_write_u8(sb_writer *w, uint8_t value);
void sb_write_u16(sb_writer *w, uint16_t value);
void sb_write_u32(sb_writer *w, uint32_t value);
void sb_write_u64(sb_writer *w, uint64_t value);
void sb_write_bytes(sb_writer *w, const void *data, size_t size);
/* Overwrites two bytes written before; an offset not yet written fails the writer. */
void sb_write_u16_at(sb_writer *w, size_t at, uint16_t value);
/* Text without its NUL / formatted text. Overrun fails the writer, as ever. */
void sb_write_text(sb_writer *w, const char *text);
void sb_write_format(sb_writer *w, const char *format, ...) SB_PRINTF(2, 3);

/* Network-order loads and stores for code whose bounds were checked once for the whole record. */
static inline uint16_t sb_load_u16(const uint8_t *p)
{
    return (uint16_t)((uint16_t)(p[0] << 8) | p[1]);
}
static inline uint32_t sb_load_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}
static inline void sb_store_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static inline void sb_store_u32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

/* ASCII without locale. */
static inline uint8_t sb_ascii_lower(uint8_t c)
{
    return (uint8_t)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}
static inline bool sb_ascii_digit(char c)
{
    return c >= '0' && c <= '9';
}
/* Case-insensitive compare of NUL-terminated ASCII; true when equal. */
bool sb_ascii_equal(const char *a, const char *b);
/* Decimal text to a number: digits only, at most max, the whole of size bytes. */
bool sb_parse_u64(const char *text, size_t size, uint64_t max, uint64_t *ret_value);
/* A growing owned text buffer; grows by doubling up to limit bytes, then fails. */
typedef struct sb_text {
    char *data; /* NUL-terminated once anything was added; NULL before */
    size_t size;
    size_t capacity;
    size_t limit; /* 0 = 16 MiB */
    bool failed;
} sb_text;
void sb_text_add(sb_text *t, const char *format, ...) SB_PRINTF(2, 3);
void sb_text_add_bytes(sb_text *t, const void *data, size_t size);
void sb_text_fini(sb_text *t);

#endif
