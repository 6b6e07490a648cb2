/* clock.c -- tests reactor/clock.h. */
#include "reactor/clock.h"

#include <criterion/criterion.h>
#include <time.h>

Test(clock, never_goes_back_and_counts_microseconds)
{
    uint64_t first = clock_now_us(), last = first;
    cr_assert_gt(first, 0);
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t now = clock_now_us();
        cr_assert_geq(now, last);
        last = now;
    }
    struct timespec pause = {0, 20000000};
    first = clock_now_us();
    nanosleep(&pause, NULL);
    last = clock_now_us();
    cr_assert_geq(last - first, 20000);
    cr_assert_lt(last - first, 10000000);
}

Test(clock, wall_time_is_of_this_century)
{
    cr_assert_gt(clock_unix_us(), UINT64_C(1577836800000000)); /* 2020 */
}
