/* chance.c -- chance and wall time that programs take past their loop are the world's.
 *
 * The linker wraps getrandom, clock_gettime, and RAND_bytes, by which a certificate gets its serial
 * number, whose length would show in sizes. BoringSSL's own calls stay as they are: they change
 * contents only. */
#include "tests/natsim/loop.h"

#include <sys/random.h>
#include <sys/types.h>
#include <time.h>

ssize_t __real_getrandom(void *out, size_t size, unsigned flags);
int __real_clock_gettime(clockid_t clock, struct timespec *out);
int __real_RAND_bytes(uint8_t *out, size_t size);
ssize_t __wrap_getrandom(void *out, size_t size, unsigned flags);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out);
int __wrap_RAND_bytes(uint8_t *out, size_t size);

ssize_t __wrap_getrandom(void *out, size_t size, unsigned flags)
{
    if (world_here == NULL)
        return __real_getrandom(out, size, flags);
    rng_fill(&world_here->chance, out, size);
    return (ssize_t)size;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
    if (world_here == NULL || clock != CLOCK_REALTIME)
        return __real_clock_gettime(clock, out);
    uint64_t us = WALL_START_US + world_here->now_us;
    out->tv_sec = (time_t)(us / 1000000);
    out->tv_nsec = (long)(us % 1000000) * 1000;
    return 0;
}

int __wrap_RAND_bytes(uint8_t *out, size_t size)
{
    if (world_here == NULL)
        return __real_RAND_bytes(out, size);
    rng_fill(&world_here->chance, out, size);
    return 1;
}
