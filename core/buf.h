/* buf.h -- reader and writer over bytes, and the 1/2/4/8-byte integers of RFC 9000 §16.
 *
 * Both carry a sticky error: after the first read or write that does not fit, `bad` is set, reads
 * give zeros and writes do nothing, so a caller checks once at the end. Everything is inline: these
 * are the leaves of every codec. */
#ifndef AQ_BUF_H
#define AQ_BUF_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VARINT_MAX ((UINT64_C(1) << 62) - 1)

struct reader {
    const uint8_t *p, *end;
    bool bad;
};

struct writer {
    uint8_t *p, *end;
    bool bad;
};

static inline struct reader reader_make(const uint8_t *data, size_t size)
{
    return (struct reader){data, data + size, false};
}

static inline struct writer writer_make(uint8_t *data, size_t size)
{
    return (struct writer){data, data + size, false};
}

static inline size_t reader_left(const struct reader *r)
{
    return (size_t)(r->end - r->p);
}

static inline size_t writer_left(const struct writer *w)
{
    return (size_t)(w->end - w->p);
}

/* n bytes, or NULL (and bad) if fewer are left. */
static inline const uint8_t *read_bytes(struct reader *r, size_t n)
{
    const uint8_t *p = r->p;
    if (r->bad || n > reader_left(r)) {
        r->bad = true;
        return NULL;
    }
    r->p += n;
    return p;
}

static inline uint64_t read_uint(struct reader *r, unsigned size)
{
    const uint8_t *p = read_bytes(r, size);
    uint64_t v = 0;
    for (unsigned i = 0; p && i < size; i++)
        v = v << 8 | p[i];
    return v;
}

static inline uint8_t read_u8(struct reader *r)
{
    return (uint8_t)read_uint(r, 1);
}

/* Network order; compilers make one load and one byte swap of each. */
static inline uint32_t load_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t load_be64(const uint8_t *p)
{
    return (uint64_t)load_be32(p) << 32 | load_be32(p + 4);
}

static inline uint64_t read_varint(struct reader *r)
{
    if (r->bad || r->p == r->end) {
        r->bad = true;
        return 0;
    }
    unsigned log = *r->p >> 6;
    if (log == 0)
        return *r->p++;
    const uint8_t *p; /* one branch for each size: with a constant, bounds and loads fold */
    if (log == 1)
        return (p = read_bytes(r, 2)) ? (p[0] & 0x3fU) << 8 | p[1] : 0;
    if (log == 2)
        return (p = read_bytes(r, 4)) ? load_be32(p) & 0x3fffffff : 0;
    return (p = read_bytes(r, 8)) ? load_be64(p) & VARINT_MAX : 0;
}

static inline unsigned varint_size(uint64_t v)
{
    assert(v <= VARINT_MAX);
    return v < 1 << 6 ? 1 : v < 1 << 14 ? 2 : v < 1 << 30 ? 4 : 8;
}

static inline void write_bytes(struct writer *w, const uint8_t *p, size_t n)
{
    if (w->bad || n > writer_left(w)) {
        w->bad = true;
        return;
    }
    if (n)
        memcpy(w->p, p, n);
    w->p += n;
}

static inline void write_uint(struct writer *w, uint64_t v, unsigned size)
{
    if (w->bad || size > writer_left(w)) {
        w->bad = true;
        return;
    }
    for (unsigned i = size; i-- > 0; v >>= 8)
        w->p[i] = (uint8_t)v;
    w->p += size;
}

static inline void write_u8(struct writer *w, uint8_t v)
{
    write_uint(w, v, 1);
}

static inline void store_be32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

/* v in exactly size (1, 2, 4, 8) bytes: lengths that are filled in later. */
static inline void write_varint_sized(struct writer *w, uint64_t v, unsigned size)
{
    assert(v <= VARINT_MAX && varint_size(v) <= size);
    if (w->bad || size > writer_left(w)) {
        w->bad = true;
        return;
    }
    if (size == 1) {
        w->p[0] = (uint8_t)v;
    } else if (size == 2) {
        w->p[0] = (uint8_t)(0x40 | v >> 8);
        w->p[1] = (uint8_t)v;
    } else if (size == 4) {
        store_be32(w->p, (uint32_t)v | 0x80000000);
    } else {
        store_be32(w->p, (uint32_t)(v >> 32) | 0xc0000000);
        store_be32(w->p + 4, (uint32_t)v);
    }
    w->p += size;
}

static inline void write_varint(struct writer *w, uint64_t v)
{
    write_varint_sized(w, v, varint_size(v));
}

#endif
