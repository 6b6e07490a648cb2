/* resolve.c -- from the text of an address to struct aq_addr.
 *
 * The host and the port are cut apart here, because getaddrinfo knows neither brackets nor
 * "host:port"; the host itself, numeric or a name, is getaddrinfo's, in the order of RFC 6724. It
 * blocks while it asks a name server, for half a minute where none answers: so aq_resolve belongs
 * before a loop runs, and aq_loop_resolve, which lets a thread of its own wait, into its callbacks.
 *
 *     the loop's thread                  the helper's
 *     aq_loop_resolve --- starts ----->  getaddrinfo
 *     job_answer  <--- aq_loop_post ---  and ends
 *     or aq_loop_free: abandoned ----->  frees the job, and ends
 *
 * A thread that waits cannot be ended from outside. So the job belongs to both: to the loop once it
 * is posted, to the thread once the loop is gone, and the job's lock decides which comes first.
 *
 * Called by applications and by nat/node. */
#include "reactor/loop.h"

#include <assert.h>
#include <limits.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    RESOLVE_HOST_MAX = 256,
    RESOLVE_ERROR_MAX = 256,
    RESOLVE_STACK = 256 * 1024 /* resolvers that the C library loads are not small */
};

struct resolve_parts {
    char host[RESOLVE_HOST_MAX];
    const char *port; /* NULL: the default */
};

/* Cuts text into host and port; NULL, or what is wrong with it. */
static const char *resolve_split(const char *text, struct resolve_parts *parts)
{
    const char *start = text, *end;
    const char *colon = strrchr(text, ':');
    parts->port = NULL;
    if (*text == '[') {
        start = text + 1;
        end = strchr(start, ']');
        if (end == NULL)
            return "the bracket is not closed";
        if (end[1] != '\0' && end[1] != ':')
            return "after the bracket only :PORT may follow";
        if (end == start)
            return "the brackets are empty";
        if (end[1] == ':')
            parts->port = end + 2;
    } else if (colon == NULL || strchr(text, ':') != colon) {
        end =
            text
            + strlen(text); /* a name, or an IPv6 address without brackets and so without a port */
    } else {
        end = colon;
        parts->port = colon + 1;
    }
    size_t size = (size_t)(end - start);
    if (size >= sizeof parts->host)
        return "the host name is too long";
    memcpy(parts->host, start, size);
    parts->host[size] = '\0';
    return NULL;
}

static bool resolve_port(const char *text, uint16_t *port)
{
    uint32_t value = 0;
    size_t digits = strlen(text);
    if (digits == 0 || digits > 5)
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        value = value * 10 + (uint32_t)(*text - '0');
    }
    if (value > UINT16_MAX)
        return false;
    *port = (uint16_t)value;
    return true;
}

/* numeric: an address, or nothing: nobody is asked. 0, or getaddrinfo's error. */
static int resolve_host(const char *host, unsigned family, bool numeric, struct aq_addr *addr)
{
    struct addrinfo hints, *list = NULL;
    memset(&hints, 0, sizeof hints);
    hints.ai_family = family == 4 ? AF_INET : family == 6 ? AF_INET6 : AF_UNSPEC;
    hints.ai_socktype = SOCK_DGRAM;
    hints.ai_flags = numeric ? AI_NUMERICHOST : 0;
    int failed = getaddrinfo(host, NULL, &hints, &list);
    if (failed != 0)
        return failed;
    failed = EAI_FAMILY;
    for (const struct addrinfo *i = list; i != NULL && failed != 0; i = i->ai_next) {
        union udp_name name;
        if (i->ai_addrlen > sizeof name)
            continue;
        memset(&name, 0, sizeof name);
        memcpy(&name, i->ai_addr, i->ai_addrlen);
        if (udp_from_sockaddr(&name, addr))
            failed = 0;
    }
    freeaddrinfo(list);
    return failed;
}

static void resolve_say(char *error, size_t error_size, const char *text, const char *why)
{
    if (error != NULL && error_size > 0)
        snprintf(error, error_size, "bad address '%.80s': %s", text, why);
}

/* All but the host: addr gets the port, and the address where there is no host (":5": any). AQ_OK,
 * or AQ_MISUSE with a sentence in error. */
static int resolve_begin(const char *text, unsigned family, struct resolve_parts *parts,
                         struct aq_addr *addr, char *error, size_t error_size)
{
    uint16_t port = addr->port;
    const char *why;
    memset(addr, 0, sizeof *addr);
    if (text == NULL || *text == '\0') {
        resolve_say(error, error_size, "", "it is empty; write HOST:PORT");
        return AQ_MISUSE;
    }
    if (family != 0 && family != 4 && family != 6) {
        resolve_say(error, error_size, text, "the family must be 0, 4 or 6");
        return AQ_MISUSE;
    }
    why = resolve_split(text, parts);
    if (why == NULL && parts->port != NULL && !resolve_port(parts->port, &port))
        why = "the port must be a number from 0 to 65535";
    if (why != NULL) {
        resolve_say(error, error_size, text, why);
        return AQ_MISUSE;
    }
    if (parts->host[0] == '\0')
        addr->family = family == 6 ? 6 : 4;
    addr->port = port;
    return AQ_OK;
}

int aq_resolve(const char *text, uint16_t default_port, unsigned family, struct aq_addr *addr,
               char *error, size_t error_size)
{
    struct resolve_parts parts;
    addr->port = default_port;
    if (resolve_begin(text, family, &parts, addr, error, error_size) != AQ_OK)
        return AQ_MISUSE;
    uint16_t port = addr->port;
    int failed = addr->family != 0 ? 0 : resolve_host(parts.host, family, false, addr);
    if (failed != 0) {
        memset(addr, 0, sizeof *addr);
        resolve_say(error, error_size, text, gai_strerror(failed));
        return AQ_MISUSE;
    }
    addr->port = port;
    return AQ_OK;
}

/* ---- without waiting ------------------------------------------------------------------------- */

enum job_state {
    JOB_ASKING,
    JOB_POSTED,   /* the loop's: its answer is on the way */
    JOB_ABANDONED /* the thread's: the loop is gone */
};

struct loop_job {
    struct loop_job *next;
    struct aq_loop *loop;
    void (*fn)(void *user, const struct aq_addr *addr, const char *error);
    void *user;
    pthread_mutex_t lock; /* guards state */
    enum job_state state;
    unsigned family;
    struct aq_addr addr; /* with the port from the start */
    bool found;
    char host[RESOLVE_HOST_MAX], text[RESOLVE_HOST_MAX], error[RESOLVE_ERROR_MAX];
};

static void job_free(struct loop_job *job)
{
    pthread_mutex_destroy(&job->lock);
    free(job);
}

/* In the loop's thread. */
static void job_answer(void *user)
{
    struct loop_job *job = user, **at = &job->loop->jobs;
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    job->loop->job_count--;
    pthread_mutex_lock(&job->lock); /* until the thread has let go of it */
    pthread_mutex_unlock(&job->lock);
    job->fn(job->user, job->found ? &job->addr : NULL, job->error);
    job_free(job);
}

/* Gives the job to whom it belongs now. False: the loop's queue is full. */
static bool job_give(struct loop_job *job)
{
    pthread_mutex_lock(&job->lock);
    bool abandoned = job->state == JOB_ABANDONED;
    bool posted = !abandoned && aq_loop_post(job->loop, job_answer, job) == AQ_OK;
    if (posted)
        job->state = JOB_POSTED;
    pthread_mutex_unlock(&job->lock);
    if (abandoned)
        job_free(job);
    return abandoned || posted;
}

static void *job_run(void *user)
{
    static const struct timespec while_full = {0, 10000000};
    struct loop_job *job = user;
    uint16_t port = job->addr.port;
    int failed = resolve_host(job->host, job->family, false, &job->addr);
    job->addr.port = port;
    job->found = failed == 0;
    if (failed != 0)
        resolve_say(job->error, sizeof job->error, job->text, gai_strerror(failed));
    while (!job_give(job))
        (void)nanosleep(&while_full, NULL);
    return NULL;
}

/* A detached thread that no signal is delivered to. */
static bool job_start(struct loop_job *job)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    if (pthread_attr_init(&attr) != 0)
        return false;
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attr, RESOLVE_STACK);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&thread, &attr, job_run, job);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attr);
    return failed == 0;
}

int aq_loop_resolve(struct aq_loop *loop, const char *text, uint16_t default_port,
                    void (*fn)(void *user, const struct aq_addr *addr, const char *error),
                    void *user)
{
    struct aq_addr addr = {.port = default_port};
    struct resolve_parts parts;
    char error[RESOLVE_ERROR_MAX] = "";
    bool good = resolve_begin(text, 0, &parts, &addr, error, sizeof error) == AQ_OK;
    uint16_t port = addr.port;
    if (!good || addr.family != 0 || resolve_host(parts.host, 0, true, &addr) == 0) {
        addr.port = port;
        fn(user, good ? &addr : NULL, error);
        return AQ_OK;
    }
    struct loop_job *job = loop->job_count < LOOP_JOBS ? calloc(1, sizeof *job) : NULL;
    if (job == NULL)
        return AQ_FULL;
    job->loop = loop;
    job->fn = fn;
    job->user = user;
    job->addr.port = port;
    memcpy(job->host, parts.host, sizeof job->host);
    (void)snprintf(job->text, sizeof job->text, "%s", text);
    pthread_mutex_init(&job->lock, NULL);
    job->next = loop->jobs;
    loop->jobs = job;
    loop->job_count++;
    if (job_start(job))
        return AQ_OK;
    loop->jobs = job->next;
    loop->job_count--;
    job_free(job);
    return AQ_FULL;
}

void loop_jobs_free(struct aq_loop *loop)
{
    for (struct loop_job *job = loop->jobs, *next; job != NULL; job = next) {
        next = job->next;
        pthread_mutex_lock(&job->lock);
        bool posted = job->state == JOB_POSTED;
        job->state = JOB_ABANDONED;
        pthread_mutex_unlock(&job->lock);
        if (posted)
            job_free(job);
    }
    loop->jobs = NULL;
    loop->job_count = 0;
}
