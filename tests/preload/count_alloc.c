/* count_alloc.c -- counts allocations of an unchanged program between two moments.
 *
 *     LD_PRELOAD=count_alloc.so COUNT_ALLOC_FILE=report program ...
 *     kill -USR1 PID      the window opens: all counts begin at zero
 *     kill -USR2 PID      the report so far is written, as often as asked; the window stays open
 *
 * The report has a line `NAME COUNT` for each function below, `sent_bytes N` and `received_bytes N`
 * of the datagrams that went through sendmsg, sendmmsg, recvmsg and recvmmsg meanwhile (so that a
 * test can say over how many packets there was no allocation), `lost_packets N`, and for each of
 * the first calls the callers' addresses, for addr2line. The program needs no hook for this:
 * tests/zero_alloc.sh runs `antq perf` as it is.
 *
 * COUNT_ALLOC_LOSS=N lets packets be lost, while the window is open: of every N-th message that
 * recvmmsg gives, the last datagram. One that GRO joined to others is cut off; one that came alone
 * is cut to a byte, which no QUIC packet has.
 *
 * Calls that the C library makes inside itself do not come through here; they only happen inside
 * a call that does (malloc's own brk, say). Signals are handled by async-signal-safe code only:
 * the report is formatted by hand and written with write().
 *
 * COUNT_ALLOC_SELFTEST=1 proves the shim: at start it opens a window, calls malloc once and free
 * not at all, and reports; the report must say malloc 1 and 0 of all others. */
#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef UDP_GRO
#    define UDP_GRO 104
#endif

enum function {
    MALLOC,
    CALLOC,
    REALLOC,
    REALLOCARRAY,
    FREE,
    POSIX_MEMALIGN,
    ALIGNED_ALLOC,
    MEMALIGN,
    MMAP,
    MUNMAP,
    MREMAP,
    BRK,
    SBRK,
    FUNCTIONS
};

static const char *const names[FUNCTIONS] = {
    "malloc",   "calloc", "realloc", "reallocarray", "free", "posix_memalign", "aligned_alloc",
    "memalign", "mmap",   "munmap",  "mremap",       "brk",  "sbrk",
};

enum {
    CALLS = 32,
    DEPTH = 8
};

static volatile bool window;
static uint64_t counts[FUNCTIONS], sent_bytes, received_bytes, lost_packets, messages, loss_every;
static struct {
    void *frames[DEPTH];
    int depth;
    enum function function;
} calls[CALLS];
static unsigned calls_count;
static __thread bool inside; /* backtrace() may allocate: that is ours, not the program's */
static char file[512], new_file[520];
static int (*next_brk)(void *);
static void *(*next_sbrk)(intptr_t);

/* glibc's own, which need no look-up by a dlsym that allocates itself. */
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void __libc_free(void *);
void *__libc_memalign(size_t, size_t);

static void count(enum function f)
{
    if (!window || inside)
        return;
    __atomic_add_fetch(&counts[f], 1, __ATOMIC_RELAXED);
    unsigned i = __atomic_fetch_add(&calls_count, 1, __ATOMIC_RELAXED);
    if (i >= CALLS)
        return;
    inside = true;
    calls[i].function = f;
    calls[i].depth = backtrace(calls[i].frames, DEPTH);
    inside = false;
}

/* ---- what is counted ---------------------------------------------------------------------- */

/* Stated here, because the headers declare some of them as builtins or macros with other
 * attributes. */
void *malloc(size_t size)
{
    count(MALLOC);
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    count(CALLOC);
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
    count(REALLOC);
    return __libc_realloc(p, size);
}

void *reallocarray(void *p, size_t n, size_t size)
{
    size_t bytes;
    count(REALLOCARRAY);
    return __builtin_mul_overflow(n, size, &bytes) ? NULL : __libc_realloc(p, bytes);
}

void free(void *p)
{
    count(FREE);
    __libc_free(p);
}

int posix_memalign(void **p, size_t align, size_t size)
{
    count(POSIX_MEMALIGN);
    *p = __libc_memalign(align, size);
    return *p ? 0 : 12;
}

void *aligned_alloc(size_t align, size_t size)
{
    count(ALIGNED_ALLOC);
    return __libc_memalign(align, size);
}

void *memalign(size_t align, size_t size);
void *memalign(size_t align, size_t size)
{
    count(MEMALIGN);
    return __libc_memalign(align, size);
}

void *mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
    count(MMAP);
    return (void *)syscall(SYS_mmap, at, size, prot, flags, fd, offset);
}

void *mmap64(void *at, size_t size, int prot, int flags, int fd, off64_t offset)
{
    count(MMAP);
    return (void *)syscall(SYS_mmap, at, size, prot, flags, fd, offset);
}

int munmap(void *at, size_t size)
{
    count(MUNMAP);
    return (int)syscall(SYS_munmap, at, size);
}

void *mremap(void *at, size_t size, size_t new_size, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    void *to = flags & MREMAP_FIXED ? va_arg(args, void *) : NULL;
    va_end(args);
    count(MREMAP);
    return (void *)syscall(SYS_mremap, at, size, new_size, flags, to);
}

int brk(void *at)
{
    count(BRK);
    return next_brk(at);
}

void *sbrk(intptr_t by)
{
    count(SBRK);
    return next_sbrk(by);
}

/* ---- datagrams, so that the window has a measure ------------------------------------------- */

static void add_bytes(uint64_t *sum, long n)
{
    if (window && n > 0)
        __atomic_add_fetch(sum, (uint64_t)n, __ATOMIC_RELAXED);
}

/* The size of each datagram but the last of a message that GRO joined; 0: it came alone. */
static unsigned segment_of(struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        int size;
        if (c->cmsg_level != IPPROTO_UDP || c->cmsg_type != UDP_GRO)
            continue;
        memcpy(&size, CMSG_DATA(c), sizeof size);
        return (unsigned)size;
    }
    return 0;
}

static void lose(struct mmsghdr *v)
{
    if (!window || !loss_every || ++messages % loss_every)
        return;
    unsigned segment = segment_of(&v->msg_hdr);
    v->msg_len = segment && v->msg_len > segment ? (v->msg_len - 1) / segment * segment : 1;
    lost_packets++;
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
    long n = syscall(SYS_sendmsg, fd, m, flags);
    add_bytes(&sent_bytes, n);
    return n;
}

int sendmmsg(int fd, struct mmsghdr *v, unsigned count_, int flags)
{
    int n = (int)syscall(SYS_sendmmsg, fd, v, count_, flags);
    for (int i = 0; i < n; i++)
        add_bytes(&sent_bytes, (long)v[i].msg_len);
    return n;
}

ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
    long n = syscall(SYS_recvmsg, fd, m, flags);
    add_bytes(&received_bytes, n);
    return n;
}

int recvmmsg(int fd, struct mmsghdr *v, unsigned count_, int flags, struct timespec *timeout)
{
    int n = (int)syscall(SYS_recvmmsg, fd, v, count_, flags, timeout);
    for (int i = 0; i < n; i++) {
        lose(&v[i]);
        add_bytes(&received_bytes, (long)v[i].msg_len);
    }
    return n;
}

/* ---- the window and its report ----------------------------------------------------------------
 */

static void put(int fd, const char *text)
{
    if (write(fd, text, strlen(text)) < 0)
        _exit(99);
}

static void put_line(int fd, const char *name, uint64_t n)
{
    char text[24], *p = text + sizeof text - 1;
    *p = 0;
    *--p = '\n';
    do
        *--p = (char)('0' + n % 10);
    while (n /= 10);
    put(fd, name);
    put(fd, " ");
    put(fd, p);
}

static void report(void)
{
    int fd = open(new_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        _exit(99);
    for (int f = 0; f < FUNCTIONS; f++)
        put_line(fd, names[f], counts[f]);
    put_line(fd, "sent_bytes", sent_bytes);
    put_line(fd, "received_bytes", received_bytes);
    put_line(fd, "lost_packets", lost_packets);
    for (unsigned i = 0; i < calls_count && i < CALLS; i++) {
        put(fd, "call of ");
        put(fd, names[calls[i].function]);
        put(fd, " from\n");
        backtrace_symbols_fd(calls[i].frames, calls[i].depth, fd);
    }
    put(fd, "end\n");
    close(fd);
    if (rename(new_file, file) != 0) /* so that nobody reads half of it */
        _exit(99);
}

static void on_signal(int signal)
{
    if (signal == SIGUSR1) {
        memset(counts, 0, sizeof counts);
        sent_bytes = received_bytes = lost_packets = 0;
        calls_count = 0;
        window = true;
    } else if (window) {
        report();
    }
}

static void __attribute__((constructor)) begin(void)
{
    const char *name = getenv("COUNT_ALLOC_FILE");
    const char *self = getenv("COUNT_ALLOC_SELFTEST"), *loss = getenv("COUNT_ALLOC_LOSS");
    next_brk = (int (*)(void *))dlsym(RTLD_NEXT, "brk");
    next_sbrk = (void *(*)(intptr_t))dlsym(RTLD_NEXT, "sbrk");
    if (!name || strlen(name) >= sizeof file)
        return;
    strcpy(file, name);
    strcpy(new_file, name);
    strcat(new_file, ".new");
    loss_every = loss ? strtoull(loss, NULL, 10) : 0;
    /* backtrace loads libgcc at its first call: now, not in the window. */
    void *frames[DEPTH];
    backtrace(frames, DEPTH);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigfillset(&action.sa_mask);
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);
    if (self) {
        raise(SIGUSR1);
        void *volatile p = malloc(100);
        raise(SIGUSR2);
        window = false;
        free(p);
    }
}
