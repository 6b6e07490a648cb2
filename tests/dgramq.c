/* dgramq.c -- tests core/dgramq.c: order, whole pieces, what is refused, and a long random
 * life beside a model. */
#include "core/dgramq.h"

#include "tests/queues.h"

enum {
    BLOCK = 4096,
    MODEL = 4096
};

static int put(struct dgramq *q, struct memory *m, uint64_t offset, size_t size)
{
    uint8_t bytes[70000];
    cr_assert(size <= sizeof bytes);
    bytes_fill(bytes, offset, size);
    struct aq_iov iov[2] = {{bytes, size / 3}, {bytes + size / 3, size - size / 3}};
    return dgramq_put(q, &m->quota, BLOCK, iov, 2);
}

static void take(struct dgramq *q, struct memory *m, uint64_t offset, size_t size)
{
    struct aq_iov got;
    cr_assert(dgramq_first(q, &got));
    cr_assert_eq(got.size, size);
    cr_assert(bytes_match(got.data, offset, size));
    dgramq_drop(q, &m->quota);
}

Test(dgramq, in_order_and_whole)
{
    struct memory m;
    struct dgramq q = {0};
    struct aq_iov none;
    memory_init(&m, 1 << 16, 1);
    cr_assert_not(dgramq_first(&q, &none));
    cr_assert_eq(put(&q, &m, 1, 1000), AQ_OK);
    cr_assert_eq(put(&q, &m, 2, 0), AQ_OK, "an empty datagram is one");
    cr_assert_eq(put(&q, &m, 3, 7), AQ_OK);
    take(&q, &m, 1, 1000);
    take(&q, &m, 2, 0);
    take(&q, &m, 3, 7);
    cr_assert_not(dgramq_first(&q, &none));
    memory_check_end(&m); /* given back with the last */
}

Test(dgramq, what_does_not_fit)
{
    struct memory m;
    struct dgramq q = {0};
    memory_init(&m, 1 << 16, 1);
    cr_assert_eq(put(&q, &m, 1, BLOCK - 1), AQ_MISUSE, "two bytes are its size");
    cr_assert_eq(put(&q, &m, 1, 65536), AQ_MISUSE);
    cr_assert_eq(m.quota.used_bytes, 0);
    cr_assert_eq(put(&q, &m, 1, BLOCK - 2), AQ_OK);
    cr_assert_eq(put(&q, &m, 2, 0), AQ_BLOCKED);
    take(&q, &m, 1, BLOCK - 2);
    cr_assert_eq(put(&q, &m, 3, 1000), AQ_OK);
    m.quota.max_bytes = m.quota.used_bytes;
    struct dgramq other = {0};
    cr_assert_eq(put(&other, &m, 4, 1), AQ_BLOCKED, "no memory");
    dgramq_clear(&q, &m.quota);
    memory_check_end(&m);
}

Test(dgramq, a_long_life)
{
    static size_t sizes[MODEL];
    struct memory m;
    struct dgramq q = {0};
    uint64_t state = 7, first = 0, next = 0, held = 0, wraps = 0, refused = 0;
    memory_init(&m, 1 << 16, 1);
    for (unsigned step = 0; step < 200000; step++) {
        if (chance(&state, 100) < 52) {
            size_t size = chance(&state, 10) ? chance(&state, 300) : chance(&state, 1500);
            int error = put(&q, &m, next, size);
            cr_assert(error == AQ_OK || (error == AQ_BLOCKED && held + 2 * 1500 > BLOCK / 2));
            refused += error == AQ_BLOCKED;
            if (error != AQ_OK)
                continue;
            sizes[next++ % MODEL] = size;
            held += size + 2;
            wraps += q.wrap > 0 && q.tail == size + 2;
        } else if (first < next) {
            take(&q, &m, first, sizes[first % MODEL]);
            held -= sizes[first++ % MODEL] + 2;
        }
        cr_assert_eq(q.count, next - first);
    }
    cr_assert(wraps > 1000 && refused > 1000, "%llu wraps, %llu refused", (unsigned long long)wraps,
              (unsigned long long)refused);
    dgramq_clear(&q, &m.quota);
    memory_check_end(&m);
}
