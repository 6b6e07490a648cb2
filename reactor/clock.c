/* clock.c -- the kernel's clocks in microseconds.
 *
 * CLOCK_MONOTONIC is read through the vDSO, without a system call. Both calls can fail only for a
 * clock that does not exist, which on Linux means a broken build: that is asserted. */
#include "reactor/clock.h"

#include <assert.h>
#include <time.h>

static uint64_t clock_read_us(clockid_t id)
{
    struct timespec t = {0, 0};
    int failed = clock_gettime(id, &t);
    assert(failed == 0);
    if (failed != 0 || t.tv_sec < 0)
        return 0;
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t clock_now_us(void)
{
    uint64_t now = clock_read_us(CLOCK_MONOTONIC);
    return now > 0 ? now : 1;
}

uint64_t clock_unix_us(void)
{
    return clock_read_us(CLOCK_REALTIME);
}
