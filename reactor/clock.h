/* clock.h -- the only place that reads the kernel's clocks.
 *
 * The core takes its time as an argument; the loop asks here once a turn (DESIGN: the data path).
 */
#ifndef AQ_REACTOR_CLOCK_H
#define AQ_REACTOR_CLOCK_H

#include <stdint.h>

/* Microseconds of CLOCK_MONOTONIC, the clock that timerfd also counts on. Never 0, never goes back.
 */
uint64_t clock_now_us(void);

/* Wall time in microseconds since 1970; 0 when the machine's clock is set before that. */
uint64_t clock_unix_us(void);

#endif
