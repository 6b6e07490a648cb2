/* lull.h -- whether a loop that has nothing to do should look again for a moment before it sleeps,
 * or not look for a moment.
 *
 * To put a thread to sleep and wake it takes the kernel 10 us and more, in a virtual machine five
 * times that, and who wakes it pays a part; a peer that answers at once, again and again, is waited
 * for in less. So after a row of short waits the loop spins for a moment. A spin in vain costs so
 * much CPU, and then twice as many short waits must come before the next try; only a row of spins
 * that paid brings the number down again. A loop whose waits are longer never spins, nor does one
 * that moves bulk, where a wait costs little beside the work.
 *
 * Bulk that comes in single datagrams (no GRO) is the opposite case: who sleeps on the socket is
 * woken by the first of them, reads a few, and sleeps again; each time the sender's kernel has
 * somebody to wake, and both fight for the socket's queue. Such a loop naps LULL_NAP_US first,
 * where a datagram wakes nobody, and then finds a batch.
 *
 * Waits that may spin are of two kinds, each with a row of its own:
 *
 *     LULL_ANY    whatever may come: spins for 50 us, after 16 short waits
 *     LULL_DIAL   the answer to a handshake that we began: for 300 us, after 2, since it will come,
 *                 and a server computes for about so long first, however near it is
 *
 * Pure: no clock, no system call. Called by reactor/watch.c. */
#ifndef AQ_REACTOR_LULL_H
#define AQ_REACTOR_LULL_H

#include <stdbool.h>
#include <stdint.h>

enum {
    LULL_BULK_BYTES = 16384,
    LULL_BULK_DATAGRAM = 1000, /* bytes of one, on the average: small ones may be awaited */
    LULL_NAP_US = 20,          /* a kernel that gathers timers adds 50 */
    LULL_TRIES_MOST = 16384,   /* short waits before the next spin, after many in vain */
};

enum lull_kind {
    LULL_ANY,
    LULL_DIAL,
    LULL_KINDS
};

struct lull_rule {
    uint32_t spin_us;
    uint32_t short_us;    /* of a wait asleep, which includes the waking */
    uint32_t tries_least; /* short waits before a spin is tried */
    uint32_t paid;        /* so many spins in a row that paid: all is forgiven */
};
extern const struct lull_rule lull_rules[LULL_KINDS];

struct lull {
    const struct lull_rule *rule;
    uint32_t needed, row; /* short waits wanted before a spin, and had; needed 0: never spins */
    uint32_t paid;        /* spins in a row that paid */
    uint64_t moved_bytes; /* at the last wait */
};

/* alone: there is no other CPU, or the host wants no spinning. */
void lull_init(struct lull *lull, enum lull_kind kind, bool alone);
/* A wait begins; all bytes that sockets have moved so far. Whether to spin. */
bool lull_begin(struct lull *lull, uint64_t moved_bytes);
/* It ended: after so long, spinning or asleep, by something that came or not. */
void lull_end(struct lull *lull, bool spun, uint64_t waited_us, bool came);

struct lull_nap { /* at the last wait: datagrams that had come one by one, and their bytes */
    uint64_t singles, bytes;
};
/* A wait begins; how many there are now. Whether to nap before it, if all that came was read. */
bool lull_naps(struct lull_nap *nap, uint64_t singles, uint64_t bytes);

#endif
