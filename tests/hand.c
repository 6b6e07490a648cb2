/* hand.c -- CRYPTO streams of the handshake (RFC 9000 §7, §19.6), and what comes when TLS has
 * gone. */
#include "core/hand.h"

#include "tests/queues.h"

struct world {
    struct memory m;
    struct crypto c;
};

static struct world *world_new(uint64_t memory)
{
    struct world *w = memory_zeroed(sizeof *w);
    memory_init(&w->m, memory, 1);
    sendq_init(&w->c.sendq);
    recvq_init(&w->c.recvq);
    return w;
}

static void world_free(struct world *w)
{
    crypto_clear(&w->c, &w->m.quota);
    cr_expect_eq(w->m.quota.used_bytes, 0);
    free(w->m.mem);
    free(w->m.pool_mem);
    free(w);
}

static int feed(struct world *w, uint64_t offset, size_t size)
{
    uint8_t *data = memory_zeroed(size ? size : 1);
    for (size_t i = 0; i < size; i++)
        data[i] = byte_at(offset + i);
    int error = crypto_on_data(&w->c, &w->m.quota, offset, data, size);
    free(data);
    return error;
}

/* Takes all that is in order. */
static uint64_t drain(struct world *w)
{
    uint64_t total = 0;
    const uint8_t *data;
    size_t size;
    while ((data = crypto_peek(&w->c, &size)) != NULL) {
        for (size_t i = 0; i < size; i++)
            cr_assert_eq(data[i], byte_at(w->c.recvq.read + i));
        crypto_consume(&w->c, &w->m.quota, size);
        total += size;
    }
    return total;
}

/* In order, out of order, twice, overlapping: TLS sees each byte once. */
Test(hand, any_order)
{
    struct world *w = world_new(1 << 20);
    size_t size;
    cr_expect_null(crypto_peek(&w->c, &size));
    cr_expect_eq(feed(w, 0, 100), AQ_OK);
    cr_expect_eq(drain(w), 100);
    cr_expect_eq(feed(w, 200, 100), AQ_OK);
    cr_expect_eq(drain(w), 0);
    cr_expect_eq(feed(w, 50, 100), AQ_OK);
    cr_expect_eq(drain(w), 50);
    cr_expect_eq(feed(w, 140, 100), AQ_OK);
    cr_expect_eq(drain(w), 150);
    cr_expect_eq(feed(w, 0, 300), AQ_OK);
    cr_expect_eq(drain(w), 0);
    cr_expect_eq(feed(w, 300, 0), AQ_OK);
    world_free(w);
}

/* RFC 9000 §7.5: at least 4,096 bytes are buffered; here 64 KiB ahead of what TLS has read, and
 * the next is an error. */
Test(hand, window)
{
    struct world *w = world_new(1 << 20);
    cr_expect_geq((int)CRYPTO_WINDOW, 4096);
    cr_expect_eq(feed(w, CRYPTO_WINDOW - 10, 11), AQ_CRYPTO_BUFFER_EXCEEDED);
    cr_expect_eq(feed(w, CRYPTO_WINDOW - 10, 10), AQ_OK);
    cr_expect_eq(feed(w, VARINT_MAX - 10, 10), AQ_CRYPTO_BUFFER_EXCEEDED);
    cr_expect_eq(feed(w, 0, 1000), AQ_OK);
    cr_expect_eq(drain(w), 1000);
    cr_expect_eq(feed(w, CRYPTO_WINDOW + 990, 10), AQ_OK, "it moves with what was read");
    cr_expect_eq(feed(w, CRYPTO_WINDOW + 990, 11), AQ_CRYPTO_BUFFER_EXCEEDED);
    world_free(w);
}

/* Gaps beyond what is kept, or no memory: the packet is not acknowledged and comes again;
 * nothing is half done. */
Test(hand, no_memory)
{
    struct world *w = world_new(4096);
    int error = AQ_OK;
    uint64_t at = 1;
    for (; error == AQ_OK && at < CRYPTO_WINDOW; at += 600)
        error = feed(w, at, 500);
    cr_expect_eq(error, AQ_FULL);
    uint64_t used = w->m.quota.used_bytes;
    cr_expect_eq(feed(w, at - 600, 500), AQ_FULL);
    cr_expect_eq(w->m.quota.used_bytes, used);
    cr_expect_eq(feed(w, 0, 1), AQ_OK);
    cr_expect_eq(drain(w), 501);
    world_free(w);
}

Test(hand, write)
{
    struct world *w = world_new(4096);
    uint8_t data[3000] = {1};
    cr_expect_eq(crypto_write(&w->c, &w->m.quota, data, sizeof data), AQ_OK);
    cr_expect_eq(w->c.sendq.end, sizeof data);
    cr_expect_eq(crypto_write(&w->c, &w->m.quota, data, sizeof data), AQ_INTERNAL_ERROR,
                 "no memory");
    world_free(w);
}

/* ---- after TLS ------------------------------------------------------------------------------- */

/* Messages of TLS: type, 24 bits of size, body. */
static size_t message(uint8_t *out, uint8_t type, size_t size)
{
    memset(out, 24, size + 4); /* a body full of what would be a KeyUpdate's type */
    out[0] = type;
    out[1] = (uint8_t)(size >> 16);
    out[2] = (uint8_t)(size >> 8);
    out[3] = (uint8_t)size;
    return size + 4;
}

/* RFC 9001 §6: a TLS KeyUpdate closes with unexpected_message, wherever its first byte stands;
 * tickets do not, however they are cut into frames, and their contents are not looked at. */
Test(hand, late_key_update)
{
    enum {
        NEW_TICKET = 4,
        KEY_UPDATE = 24
    };
    uint8_t data[4000];
    size_t size = message(data, NEW_TICKET, 700);
    size += message(data + size, NEW_TICKET, 0);
    size += message(data + size, NEW_TICKET, 300);
    size_t end = size;
    size += message(data + size, KEY_UPDATE, 1);
    for (size_t cut = 1; cut <= 720; cut += cut < 12 ? 1 : 101) {
        struct late_crypto l = {.offset = 5000};
        for (size_t at = 0; at < size; at += cut) {
            size_t n = size - at < cut ? size - at : cut;
            int error = late_crypto_on_data(&l, 5000 + at, data + at, n);
            cr_expect_eq(error, at + n > end ? AQ_CRYPTO_ERROR + 10 : AQ_OK, "cut %zu at %zu", cut,
                         at);
            if (error)
                break;
        }
    }
}

/* What came before, again, and what leaves a gap, is not looked at; an overlap is, from where it
 * is new. */
Test(hand, late_repeats)
{
    uint8_t data[200], update[8];
    struct late_crypto l = {.offset = 100};
    size_t size = message(data, 4, 96), update_size = message(update, 24, 1);
    cr_expect_eq(late_crypto_on_data(&l, 90, update, update_size), AQ_OK, "before");
    cr_expect_eq(late_crypto_on_data(&l, 300, update, update_size), AQ_OK, "after a gap");
    cr_expect_eq(l.offset, 100);
    cr_expect_eq(late_crypto_on_data(&l, 100, data, size), AQ_OK);
    cr_expect_eq(l.offset, 200);
    cr_expect_eq(late_crypto_on_data(&l, 100, data, size), AQ_OK);
    cr_expect_eq(l.offset, 200);
    memcpy(data + 100, update, update_size);
    cr_expect_eq(late_crypto_on_data(&l, 100, data, 100 + update_size), AQ_CRYPTO_ERROR + 10);
}
