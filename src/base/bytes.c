/* Cursors over bytes, ASCII helpers and the growing text buffer.
 *
 * The one place that copies out of and into wire memory. Any thread. */
#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum {
    TEXT_LIMIT_DEFAULT = 16 << 20,
    TEXT_FIRST = 256,
};

static const uint8_t *take(sb_reader *r, size_t size);
static uint8_t *room(sb_writer *w, size_t size);
static bool text_reserve(sb_text *t, size_t more);

sb_reader sb_reader_of(const void *data, size_t size)
{
    return (sb_reader){.data = data, .size = size};
}

size_t sb_reader_left(const sb_reader *r)
{
    return r->failed ? 0 : r->size - r->at;
}

uint8_t sb_read_u8(sb_reader *r)
{
    const uint8_t *p = take(r, 1);
    return p ? *p : 0;
}

uint16_t sb_read_u16(sb_reader *r)
{
    const uint8_t *p = take(r, 2);
    return p ? sb_load_u16(p) : 0;
}

uint32_t sb_read_u32(sb_reader *r)
{
    const uint8_t *p = take(r, 4);
    return p ? sb_load_u32(p) : 0;
}

uint64_t sb_read_u64(sb_reader *r)
{
    const uint8_t *p = take(r, 8);
    return p ? (uint64_t)sb_load_u32(p) << 32 | sb_load_u32(p + 4) : 0;
}

sb_span sb_read_span(sb_reader *r, size_t size)
{
    const uint8_t *p = take(r, size);
    return p ? (sb_span){.data = p, .size = size} : (sb_span){0};
}

void sb_read_copy(sb_reader *r, void *ret, size_t size)
{
    if (size == 0)
        return;
    const uint8_t *p = take(r, size);
    if (p)
        memcpy(ret, p, size);
    else
        memset(ret, 0, size);
}

void sb_read_skip(sb_reader *r, size_t size)
{
    (void)take(r, size);
}

sb_reader sb_read_sub(sb_reader *r, size_t size)
{
    const uint8_t *p = take(r, size);
    return (sb_reader){.data = p, .size = p ? size : 0, .failed = r->failed};
}

bool sb_reader_done(const sb_reader *r)
{
    return !r->failed && r->at == r->size;
}

sb_writer sb_writer_of(void *data, size_t capacity)
{
    return (sb_writer){.data = data, .capacity = capacity};
}

size_t sb_writer_left(const sb_writer *w)
{
    return w->failed ? 0 : w->capacity - w->size;
}

void sb_write_u8(sb_writer *w, uint8_t value)
{
    uint8_t *p = room(w, 1);
    if (p)
        *p = value;
}

void sb_write_u16(sb_writer *w, uint16_t value)
{
    uint8_t *p = room(w, 2);
    if (p)
        sb_store_u16(p, value);
}

void sb_write_u32(sb_writer *w, uint32_t value)
{
    uint8_t *p = room(w, 4);
    if (p)
        sb_store_u32(p, value);
}

void sb_write_u64(sb_writer *w, uint64_t value)
{
    uint8_t *p = room(w, 8);
    if (p) {
        sb_store_u32(p, (uint32_t)(value >> 32));
        sb_store_u32(p + 4, (uint32_t)value);
    }
}

void sb_write_bytes(sb_writer *w, const void *data, size_t size)
{
    if (size == 0)
        return;
    uint8_t *p = room(w, size);
    if (p)
        memcpy(p, data, size);
}

void sb_write_u16_at(sb_writer *w, size_t at, uint16_t value)
{
    if (w->failed || at > w->size || w->size - at < 2) {
        w->failed = true;
        return;
    }
    sb_store_u16(w->data + at, value);
}

void sb_write_text(sb_writer *w, const char *text)
{
    sb_write_bytes(w, text, strlen(text));
}

void sb_write_format(sb_writer *w, const char *format, ...)
{
    if (w->failed)
        return;
    /* Formatted aside, because vsnprintf needs a byte for its NUL that the writer may not have. */
    char small[512];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(small, sizeof(small), format, args);
    va_end(args);
    if (length < 0 || (size_t)length > sb_writer_left(w)) {
        w->failed = true;
        return;
    }
    size_t size = (size_t)length;
    if (size < sizeof(small)) {
        sb_write_bytes(w, small, size);
        return;
    }
    char *large = sb_alloc(size + 1);
    if (!large) {
        w->failed = true;
        return;
    }
    va_start(args, format);
    (void)vsnprintf(large, size + 1, format, args);
    va_end(args);
    sb_write_bytes(w, large, size);
    sb_free(large);
}

bool sb_ascii_equal(const char *a, const char *b)
{
    while (*a && sb_ascii_lower((uint8_t)*a) == sb_ascii_lower((uint8_t)*b)) {
        a++;
        b++;
    }
    return *a == '\0' && *b == '\0';
}

bool sb_parse_u64(const char *text, size_t size, uint64_t max, uint64_t *ret_value)
{
    uint64_t value = 0;
    if (size == 0)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (!sb_ascii_digit(text[i]) || __builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text[i] - '0'), &value) || value > max)
            return false;
    }
    *ret_value = value;
    return true;
}

void sb_text_add(sb_text *t, const char *format, ...)
{
    if (t->failed)
        return;
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0) {
        t->failed = true;
        return;
    }
    if (!text_reserve(t, (size_t)length))
        return;
    va_start(args, format);
    (void)vsnprintf(t->data + t->size, (size_t)length + 1, format, args);
    va_end(args);
    t->size += (size_t)length;
}

void sb_text_add_bytes(sb_text *t, const void *data, size_t size)
{
    if (t->failed || !text_reserve(t, size))
        return;
    if (size)
        memcpy(t->data + t->size, data, size);
    t->size += size;
    t->data[t->size] = '\0';
}

void sb_text_fini(sb_text *t)
{
    sb_free(t->data);
    *t = (sb_text){.limit = t->limit};
}

/* The next size bytes, passed; NULL and a failed reader when fewer are left. Not NULL for size 0
 * of an empty buffer, so that success is told from failure. */
static const uint8_t *take(sb_reader *r, size_t size)
{
    static const uint8_t nothing;
    if (r->failed || size > r->size - r->at) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *p = r->data ? r->data + r->at : &nothing;
    r->at += size;
    return p;
}

static uint8_t *room(sb_writer *w, size_t size)
{
    if (w->failed || size > w->capacity - w->size) {
        w->failed = true;
        return NULL;
    }
    uint8_t *p = w->data + w->size;
    w->size += size;
    return p;
}

/* Room for more bytes and a NUL, or a failed text that keeps what it had. */
static bool text_reserve(sb_text *t, size_t more)
{
    size_t limit = t->limit ? t->limit : TEXT_LIMIT_DEFAULT;
    size_t used = t->size + 1;
    if (used > limit || more > limit - used) {
        t->failed = true;
        return false;
    }
    size_t needed = used + more;
    if (t->data && needed <= t->capacity)
        return true;
    size_t capacity = t->capacity ? t->capacity : TEXT_FIRST;
    while (capacity < needed)
        capacity *= 2;
    if (capacity > limit)
        capacity = limit;
    char *data = sb_realloc(t->data, capacity);
    if (!data) {
        t->failed = true;
        return false;
    }
    t->data = data;
    t->capacity = capacity;
    return true;
}
