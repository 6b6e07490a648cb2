/* bench.c -- what the contenders share (bench.h). */
#include "bench/bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

void bench_die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)fputs("bench: ", stderr);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

uint64_t bench_clock_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t bench_cpu_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

const char *bench_flag(int argc, char **argv, const char *name, const char *otherwise)
{
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    }
    return otherwise;
}

uint64_t bench_number(int argc, char **argv, const char *name, uint64_t otherwise)
{
    const char *text = bench_flag(argc, argv, name, NULL);
    char *end;
    if (text == NULL)
        return otherwise;
    uint64_t value = strtoull(text, &end, 10);
    const char *unit = *end ? strchr("KMG", *end) : NULL;
    if (unit != NULL) {
        value <<= *unit == 'K' ? 10 : *unit == 'M' ? 20 : 30;
        end++;
    }
    if (end == text || *end != '\0')
        bench_die("%s %s is no number", name, text);
    return value;
}

void bench_parse(const char *text, struct bench_addr *addr)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV}, *found;
    char host[64];
    const char *colon = strrchr(text, ':');
    size_t size = colon ? (size_t)(colon - text) : 0;
    bool brackets = *text == '[' && size > 2 && text[size - 1] == ']';
    if (size == 0 || size >= sizeof host)
        bench_die("%s is not ADDR:PORT", text);
    memcpy(host, text + brackets, size - 2 * brackets);
    host[size - 2 * brackets] = '\0';
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        bench_die("%s is not ADDR:PORT", text);
    memcpy(&addr->sa, found->ai_addr, found->ai_addrlen);
    addr->size = found->ai_addrlen;
    freeaddrinfo(found);
}

static int open_socket(const struct bench_addr *addr, int type)
{
    int fd = socket(addr->sa.ss_family, type | SOCK_CLOEXEC, 0), size = BENCH_SOCKET_BUFFER;
    if (fd < 0)
        bench_die("socket: %s", strerror(errno));
    if (type == SOCK_DGRAM) { /* TCP's buffers tune themselves, and better */
        if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
            (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
        if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0)
            (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    }
    return fd;
}

int bench_bind(const struct bench_addr *addr, int type)
{
    int fd = open_socket(addr, type), yes = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (const struct sockaddr *)&addr->sa, addr->size) < 0)
        bench_die("bind: %s", strerror(errno));
    return fd;
}

int bench_connect(const struct bench_addr *addr, int type)
{
    int fd = open_socket(addr, type);
    if (connect(fd, (const struct sockaddr *)&addr->sa, addr->size) < 0)
        bench_die("connect: %s", strerror(errno));
    return fd;
}

void bench_ready(int fd)
{
    struct bench_addr addr = {.size = sizeof addr.sa};
    char host[64], port[16];
    if (getsockname(fd, (struct sockaddr *)&addr.sa, &addr.size) < 0
        || getnameinfo((const struct sockaddr *)&addr.sa, addr.size, host, sizeof host, port,
                       sizeof port, NI_NUMERICHOST | NI_NUMERICSERV)
               != 0)
        bench_die("the socket has no name");
    (void)printf(addr.sa.ss_family == AF_INET6 ? "listening on [%s]:%s\n" : "listening on %s:%s\n",
                 host, port);
    (void)fflush(stdout);
}

uint64_t bench_window(int fd)
{
    int granted = 0;
    socklen_t size = sizeof granted;
    (void)getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &granted, &size);
    return (uint64_t)granted / 4;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

void bench_sort(uint32_t *v, size_t count)
{
    qsort(v, count, sizeof *v, compare);
}

uint32_t bench_percentile(const uint32_t *sorted, size_t count, unsigned per_mille)
{
    size_t at = (count * per_mille + 999) / 1000;
    return sorted[at > 0 ? at - 1 : 0];
}

void bench_print_us(const char *name, uint32_t *us, size_t count)
{
    bench_sort(us, count);
    (void)printf(",\"%s\":{\"p50\":%u,\"p99\":%u,\"p99_9\":%u}", name,
                 bench_percentile(us, count, 500), bench_percentile(us, count, 990),
                 bench_percentile(us, count, 999));
}
