/* names.h -- test helper: the C library's getaddrinfo with names of our own. `slow.test` is
 * 127.0.0.1, but nobody is answered while names_held; `none.test` does not exist. */
#ifndef TESTS_NAMES_H
#define TESTS_NAMES_H

#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

static atomic_bool names_held;
static atomic_uint names_asked; /* how many have been asked for, of ours */
static pthread_t names_loop;    /* a thread that must not be held */
static atomic_bool names_blocked_it;

typedef int names_real_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **list)
{
    names_real_fn *real;
    void *found = dlsym(RTLD_NEXT, "getaddrinfo");
    memcpy(&real, &found, sizeof real);
    if ((hints->ai_flags & AI_NUMERICHOST) != 0)
        return real(node, service, hints, list);
    if (pthread_equal(pthread_self(), names_loop))
        atomic_store(&names_blocked_it, true);
    if (strcmp(node, "none.test") == 0)
        return EAI_NONAME;
    if (strcmp(node, "slow.test") != 0)
        return real(node, service, hints, list);
    atomic_fetch_add(&names_asked, 1);
    while (atomic_load(&names_held))
        (void)usleep(1000);
    return real("127.0.0.1", service, hints, list);
}

#endif
