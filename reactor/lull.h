/* lull.h -- whether a loop that has nothing to do should look again for a moment before it sleeps.
 *
 * To put a thread to sleep and wake it takes the kernel 10 us and more, in a virtual machine five
 * times that; a peer that answers at once, again and again, is waited for in less. So after a row
 * of short waits the loop spins for up to LULL_SPIN_US. A spin in vain costs so much CPU, and then
 * twice as many short waits must come before the next try; only a row of spins that paid brings the
 * number down again. A loop that waits longer than LULL_SHORT_US never spins, nor does one that
 * moves bulk, where a wait costs little beside the work. Pure: no clock, no system call.
 *
 * Called by reactor/watch.c. */
#ifndef AQ_REACTOR_LULL_H
#define AQ_REACTOR_LULL_H

#include <stdbool.h>
#include <stdint.h>

enum {
    LULL_SPIN_US = 50,
    LULL_SHORT_US = 100, /* of a wait asleep, which includes the waking */
    LULL_BULK_BYTES = 16384,
    LULL_TRIES_LEAST = 16, /* short waits before a spin is tried */
    LULL_TRIES_MOST = 16384,
    LULL_PAID = 64, /* spins in a row that paid: all is forgiven */
};

struct lull {
    uint32_t needed, row; /* short waits wanted before a spin, and had; needed 0: never spins */
    uint32_t paid;        /* spins in a row that paid */
    uint64_t moved_bytes; /* at the last wait */
};

/* alone: there is no other CPU, or the host wants no spinning. */
void lull_init(struct lull *lull, bool alone);
/* A wait begins; all bytes that sockets have moved so far. Whether to spin. */
bool lull_begin(struct lull *lull, uint64_t moved_bytes);
/* It ended: after so long, spinning or asleep, by something that came or not. */
void lull_end(struct lull *lull, bool spun, uint64_t waited_us, bool came);

#endif
