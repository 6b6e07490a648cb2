/* ns.h -- a network namespace for one test: Criterion gives each test a process of its own, which
 * goes into a fresh namespace and changes its links and addresses with ip(8). */
#ifndef TESTS_NS_H
#define TESTS_NS_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline bool ns_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    bool good = file != NULL && fputs(text, file) >= 0;
    return file != NULL && fclose(file) == 0 && good;
}

/* Whether a shell command, made as by printf, succeeded. */
static inline bool ns_try(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline bool ns_try(const char *format, ...)
{
    char command[1024];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(command, sizeof command, format, args);
    va_end(args);
    return size > 0 && (size_t)size < sizeof command && system(command) == 0;
}

#define NS_RUN(...) cr_assert(ns_try(__VA_ARGS__), "%s", #__VA_ARGS__)

/* Goes into a new namespace with loopback up, or skips the test. */
static inline void ns_enter(void)
{
    char map[64];
    unsigned uid = (unsigned)geteuid();
    if (unshare(CLONE_NEWNET) != 0) { /* no root: a user namespace first */
        if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
            cr_skip_test("cannot make network namespaces");
        snprintf(map, sizeof map, "0 %u 1", uid);
        cr_assert(ns_write("/proc/self/uid_map", map));
    }
    if (!ns_try("ip link set lo up"))
        cr_skip_test("no ip command");
}

#endif
