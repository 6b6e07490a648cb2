/* bench.h -- what the contenders of bench/ share: clocks, flags, sockets.
 *
 * These are small programs that measure one thing and print one JSON object; bench/run.py starts
 * them, pins them, repeats them and compares. So everything here may simply end the program. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum {
    BENCH_PAYLOAD = 1452,                  /* bytes of each UDP payload, for every contender */
    BENCH_TRAIN = 44,                      /* packets of one GSO train: 63,888 bytes */
    BENCH_SOCKET_BUFFER = 16 * 1024 * 1024 /* asked of the kernel; what it gives is what counts */
};

/* Says why on standard error and exits with 1. */
__attribute__((format(printf, 1, 2), noreturn)) void bench_die(const char *format, ...);

uint64_t bench_clock_ns(void); /* monotonic */
uint64_t bench_cpu_ns(void);   /* of this process so far, user and system */

/* The value after `name` in argv, or otherwise; NULL stays NULL. */
const char *bench_flag(int argc, char **argv, const char *name, const char *otherwise);
/* The same as a number, with K, M, G for powers of 1,024. */
uint64_t bench_number(int argc, char **argv, const char *name, uint64_t otherwise);

struct bench_addr {
    struct sockaddr_storage sa;
    socklen_t size;
};
/* "1.2.3.4:5" or "[::1]:5". */
void bench_parse(const char *text, struct bench_addr *addr);
/* A socket of the address's family with large buffers; bound to it, or connected. */
int bench_bind(const struct bench_addr *addr, int type);
int bench_connect(const struct bench_addr *addr, int type);
/* Prints `listening on ADDR:PORT`, which bench/run.py waits for. */
void bench_ready(int fd);
/* Bytes of unread datagrams that may safely be on their way to fd: a quarter of its buffer, because
 * the kernel counts its own bookkeeping too. */
uint64_t bench_window(int fd);

/* Sorts, and takes the value below which `per_mille` of them lie. */
void bench_sort(uint32_t *v, size_t count);
uint32_t bench_percentile(const uint32_t *sorted, size_t count, unsigned per_mille);
/* Sorts, and prints a member of a JSON object: `,"NAME":{"p50":...,"p99":...,"p99_9":...}`. */
void bench_print_us(const char *name, uint32_t *us, size_t count);

#endif
