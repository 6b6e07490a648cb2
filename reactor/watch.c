/* watch.c -- how a loop waits, and for what besides its sockets: timers, watched descriptors,
 * posts, signals.
 *
 * Waiting is epoll. Waking a thread that sleeps takes the kernel longer than all that we do with a
 * packet; so where waits are short one after another it first spins for a moment on epoll without a
 * timeout (lull.h), and with busy_poll_us as long as that after the last packet. Then it sleeps, so
 * that an idle program costs nothing. Where bulk comes in single datagrams it naps first.
 *
 * Each table is small and fixed, so it is searched in order. A callback may change any of them,
 * also its own entry: an entry is freed or copied before its function is called, and every pass is
 * bounded, so that a callback which calls for itself again cannot hold the turn.
 *
 * Posts are the one thing another thread may touch: a ring under a mutex, and an eventfd that wakes
 * epoll. Signals are blocked and read from a signalfd, so that stopping is an ordinary event of the
 * loop. */
#include "reactor/loop.h"

#include "reactor/clock.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* ---- life ------------------------------------------------------------------------------------ */

static int watch_init_signals(struct aq_loop *loop)
{
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGTERM);
    int failed = pthread_sigmask(SIG_BLOCK, &mask, &loop->old_mask);
    if (failed != 0)
        return failed;
    loop->masked = true;
    loop->signal_fd = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
    if (loop->signal_fd < 0)
        return errno;
    return loop_epoll(loop, EPOLL_CTL_ADD, loop->signal_fd, EPOLLIN, loop_key(LOOP_SIGNAL, 0, 0));
}

int loop_watch_init(struct aq_loop *loop)
{
    loop->post_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (loop->post_fd < 0)
        return errno;
    loop->deadline_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (loop->deadline_fd < 0)
        return errno;
    loop->armed_us = AQ_NEVER;
    bool alone = loop->config.no_spin || sysconf(_SC_NPROCESSORS_ONLN) < 2;
    for (unsigned kind = LULL_ANY; kind < LULL_KINDS; kind++)
        lull_init(&loop->lull[kind], (enum lull_kind)kind, alone);
    int failed = loop_epoll(loop, EPOLL_CTL_ADD, loop->post_fd, EPOLLIN, loop_key(LOOP_POST, 0, 0));
    if (failed == 0)
        failed = loop_epoll(loop, EPOLL_CTL_ADD, loop->deadline_fd, EPOLLIN,
                            loop_key(LOOP_DEADLINE, 0, 0));
    if (failed == 0 && loop->config.handle_signals)
        failed = watch_init_signals(loop);
    if (failed == 0)
        failed = loop_hosts_init(loop);
    return failed;
}

void loop_watch_free(struct aq_loop *loop)
{
    if (loop->signal_fd >= 0) {
        /* A second Ctrl-C that waits would kill the process the moment the mask is lifted. */
        struct signalfd_siginfo info;
        while (read(loop->signal_fd, &info, sizeof info) > 0)
            ;
        close(loop->signal_fd);
    }
    if (loop->masked)
        (void)pthread_sigmask(SIG_SETMASK, &loop->old_mask, NULL);
    if (loop->post_fd >= 0)
        close(loop->post_fd);
    if (loop->deadline_fd >= 0)
        close(loop->deadline_fd);
    if (loop->hosts_fd >= 0)
        close(loop->hosts_fd);
}

/* ---- timers ---------------------------------------------------------------------------------- */

/* The earliest timer of those that were set before this pass, NULL when there is none. */
static struct loop_timer *timer_first(struct aq_loop *loop)
{
    struct loop_timer *first = NULL;
    for (unsigned i = 0; i < LOOP_TIMERS; i++) {
        struct loop_timer *t = &loop->timers[i];
        if (t->fn != NULL && !t->set_now && (first == NULL || t->at_us < first->at_us))
            first = t;
    }
    return first;
}

uint64_t loop_timers_next(const struct aq_loop *loop)
{
    uint64_t next = loop->hosts_at_us;
    for (unsigned i = 0; i < LOOP_TIMERS; i++)
        if (loop->timers[i].fn != NULL && loop->timers[i].at_us < next)
            next = loop->timers[i].at_us;
    return next;
}

void loop_timers_fire(struct aq_loop *loop)
{
    if (loop->hosts_at_us <= loop->now_us)
        loop_hosts_fire(loop);
    for (unsigned i = 0; i < LOOP_TIMERS; i++)
        loop->timers[i].set_now = false;
    for (unsigned i = 0; i < LOOP_TIMERS; i++) {
        struct loop_timer *t = timer_first(loop);
        if (t == NULL || t->at_us > loop->now_us)
            return;
        struct loop_timer fire = *t;
        memset(t, 0, sizeof *t);
        fire.fn(fire.user);
    }
}

int aq_loop_timer(struct aq_loop *loop, uint64_t at_us, void (*fn)(void *user), void *user)
{
    struct loop_timer *slot = NULL;
    assert(fn != NULL);
    for (unsigned i = 0; i < LOOP_TIMERS; i++) {
        struct loop_timer *t = &loop->timers[i];
        if (t->fn == fn && t->user == user) {
            slot = t;
            break;
        }
        if (slot == NULL && t->fn == NULL)
            slot = t;
    }
    if (at_us == AQ_NEVER) {
        if (slot != NULL)
            memset(slot, 0, sizeof *slot); /* the pair's own slot, or one that was free anyway */
        return AQ_OK;
    }
    if (slot == NULL)
        return AQ_FULL;
    slot->fn = fn;
    slot->user = user;
    slot->at_us = at_us;
    slot->set_now = true;
    return AQ_OK;
}

/* ---- watches --------------------------------------------------------------------------------- */

static void watch_remove(struct aq_loop *loop, struct loop_watch *w)
{
    if (w->always)
        loop->watches_always--;
    else
        (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, w->fd,
                        NULL); /* fails if fd is already closed */
    w->fn = NULL;
    w->always = false;
    w->generation++;
}

static int watch_add(struct aq_loop *loop, unsigned index, int fd)
{
    struct loop_watch *w = &loop->watches[index];
    uint64_t key = loop_key(LOOP_WATCH, index, w->generation);
    int failed = loop_epoll(loop, EPOLL_CTL_ADD, fd, EPOLLIN, key);
    if (failed != 0 && failed != EPERM)
        return AQ_MISUSE;
    w->fd = fd;
    w->always = failed == EPERM; /* what epoll says of a regular file */
    if (w->always)
        loop->watches_always++;
    return AQ_OK;
}

/* The application closed the descriptor without a word, and has another of the same number now. */
static bool watch_is_stale(struct aq_loop *loop, unsigned index)
{
    const struct loop_watch *w = &loop->watches[index];
    uint64_t key = loop_key(LOOP_WATCH, index, w->generation);
    int expected = w->always ? EPERM : 0;
    return loop_epoll(loop, EPOLL_CTL_MOD, w->fd, EPOLLIN, key) != expected;
}

int aq_loop_watch(struct aq_loop *loop, int fd, void (*fn)(void *user), void *user)
{
    unsigned slot = LOOP_WATCHES, found = LOOP_WATCHES;
    for (unsigned i = 0; i < LOOP_WATCHES; i++) {
        if (loop->watches[i].fn == NULL)
            slot = slot == LOOP_WATCHES ? i : slot;
        else if (loop->watches[i].fd == fd)
            found = i;
    }
    if (fn == NULL) {
        if (found == LOOP_WATCHES)
            return AQ_MISUSE;
        watch_remove(loop, &loop->watches[found]);
        return AQ_OK;
    }
    if (found != LOOP_WATCHES && watch_is_stale(loop, found)) {
        watch_remove(loop, &loop->watches[found]);
        slot = found;
        found = LOOP_WATCHES;
    }
    if (found == LOOP_WATCHES) {
        if (slot == LOOP_WATCHES)
            return AQ_FULL;
        if (fd < 0 || watch_add(loop, slot, fd) != AQ_OK)
            return AQ_MISUSE;
        found = slot;
    }
    loop->watches[found].fn = fn;
    loop->watches[found].user = user;
    return AQ_OK;
}

void loop_watch_ready(struct aq_loop *loop, uint32_t index, uint32_t generation)
{
    assert(index < LOOP_WATCHES);
    struct loop_watch *w = &loop->watches[index];
    if (w->fn != NULL && w->generation == generation)
        w->fn(w->user);
}

void loop_watch_always(struct aq_loop *loop)
{
    for (unsigned i = 0; loop->watches_always > 0 && i < LOOP_WATCHES; i++)
        if (loop->watches[i].fn != NULL && loop->watches[i].always)
            loop->watches[i].fn(loop->watches[i].user);
}

/* ---- posts ----------------------------------------------------------------------------------- */

static void post_wake(struct aq_loop *loop)
{
    uint64_t one = 1;
    ssize_t wrote;
    do
        wrote = write(loop->post_fd, &one, sizeof one);
    while (wrote < 0 && errno == EINTR);
    /* EAGAIN is left: the counter is at its end, so the descriptor is readable already. */
}

int aq_loop_post(struct aq_loop *loop, void (*fn)(void *user), void *user)
{
    int result = AQ_FULL;
    assert(fn != NULL);
    pthread_mutex_lock(&loop->post_lock);
    if (loop->post_count < LOOP_POSTS) {
        struct loop_post *p = &loop->posts[(loop->post_first + loop->post_count) % LOOP_POSTS];
        p->fn = fn;
        p->user = user;
        loop->post_count++;
        result = AQ_OK;
    }
    pthread_mutex_unlock(&loop->post_lock);
    if (result == AQ_OK)
        post_wake(loop);
    return result;
}

static struct loop_post post_take(struct aq_loop *loop)
{
    pthread_mutex_lock(&loop->post_lock);
    assert(loop->post_count > 0);
    struct loop_post post = loop->posts[loop->post_first];
    loop->post_first = (loop->post_first + 1) % LOOP_POSTS;
    loop->post_count--;
    pthread_mutex_unlock(&loop->post_lock);
    return post;
}

void loop_posts_run(struct aq_loop *loop)
{
    uint64_t count;
    /* The eventfd first: a post between the two wakes the next turn for nothing, never too late. */
    if (read(loop->post_fd, &count, sizeof count) < 0 && errno != EAGAIN && errno != EINTR)
        return;
    pthread_mutex_lock(&loop->post_lock);
    unsigned there = loop->post_count;
    pthread_mutex_unlock(&loop->post_lock);
    /* Only those: one that posts itself has woken the next turn, and takes its own again there. */
    for (unsigned i = 0; i < there; i++) {
        struct loop_post post = post_take(loop);
        post.fn(post.user);
    }
}

/* ---- signals and the deadline ---------------------------------------------------------------- */

void loop_signal_read(struct aq_loop *loop)
{
    struct signalfd_siginfo info;
    while (read(loop->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (loop->stopping)
            aq_loop_break(loop); /* asked twice: do not even wait for the closes */
        else
            aq_loop_stop(loop);
    }
}

void loop_deadline_arm(struct aq_loop *loop, uint64_t at_us)
{
    struct itimerspec spec;
    if (!loop->nested || at_us == loop->armed_us)
        return;
    memset(&spec, 0, sizeof spec);
    if (at_us != AQ_NEVER) {
        spec.it_value.tv_sec = (time_t)(at_us / 1000000);
        spec.it_value.tv_nsec = (long)(at_us % 1000000) * 1000;
        if (spec.it_value.tv_sec == 0 && spec.it_value.tv_nsec == 0)
            spec.it_value.tv_nsec = 1; /* zero would disarm */
    }
    if (timerfd_settime(loop->deadline_fd, TFD_TIMER_ABSTIME, &spec, NULL) == 0)
        loop->armed_us = at_us;
}

void loop_deadline_read(struct aq_loop *loop)
{
    uint64_t count;
    if (read(loop->deadline_fd, &count, sizeof count) > 0)
        loop->armed_us = AQ_NEVER;
}

/* ---- waiting --------------------------------------------------------------------------------- */

static int loop_sleep(struct aq_loop *loop, struct epoll_event *events, uint64_t timeout_us)
{
    enum {
        LONGEST_MS = 3600000
    }; /* an hour: waking up for nothing now and then is no harm */
    int n;
#ifdef HAVE_EPOLL_PWAIT2
    if (!loop->no_pwait2 && timeout_us != 0 && timeout_us != AQ_NEVER) {
        struct timespec t = {(time_t)(timeout_us / 1000000), (long)(timeout_us % 1000000) * 1000};
        n = epoll_pwait2(loop->epoll_fd, events, LOOP_READY, &t, NULL);
        if (n >= 0 || errno == EINTR)
            return n < 0 ? 0 : n;
        if (errno != ENOSYS && errno != EPERM) /* EPERM: what an old container's filter says */
            return -1;
        loop->no_pwait2 = true;
    }
#endif
    int ms = -1;
    if (timeout_us != AQ_NEVER) /* rounded up: waking too early would only spin */
        ms = timeout_us / 1000 >= LONGEST_MS ? LONGEST_MS : (int)((timeout_us + 999) / 1000);
    n = epoll_wait(loop->epoll_fd, events, LOOP_READY, ms);
    return n < 0 && errno == EINTR ? 0 : n;
}

/* Looks again and again until end_us, for what is left of *timeout_us at most. How many are ready,
 * or -1; 0: it was for nothing, and *timeout_us is what remains. */
static int loop_spin(struct aq_loop *loop, struct epoll_event *events, uint64_t end_us,
                     uint64_t *timeout_us)
{
    uint64_t begun_us = loop->now_us, now_us;
    if (*timeout_us < AQ_NEVER - begun_us && begun_us + *timeout_us < end_us)
        end_us = begun_us + *timeout_us;
    do {
        int n = epoll_wait(loop->epoll_fd, events, LOOP_READY, 0);
        if (n > 0 || (n < 0 && errno != EINTR))
            return n;
        now_us = clock_now_us();
    } while (now_us < end_us);
    if (*timeout_us != AQ_NEVER)
        *timeout_us -= now_us - begun_us < *timeout_us ? now_us - begun_us : *timeout_us;
    return 0;
}

/* As long after the last packet as the config says. */
static int loop_wait_busy(struct aq_loop *loop, struct epoll_event *events, uint64_t timeout_us)
{
    uint64_t traffic = loop->io.counts.recv_packets + loop->io.counts.send_packets;
    uint64_t busy_us = loop->config.busy_poll_us;
    if (traffic != loop->busy_traffic) {
        loop->busy_traffic = traffic;
        loop->busy_until_us = busy_us < AQ_NEVER - loop->now_us ? loop->now_us + busy_us : AQ_NEVER;
    }
    if (loop->now_us < loop->busy_until_us) {
        int n = loop_spin(loop, events, loop->busy_until_us, &timeout_us);
        if (n != 0)
            return n;
    }
    return loop_sleep(loop, events, timeout_us);
}

/* For a moment looks at nothing, where that makes a batch of what comes. */
static void loop_nap(struct aq_loop *loop, uint64_t *timeout_us)
{
    const struct udp_counts *counts = &loop->io.counts;
    const struct timespec nap = {0, LULL_NAP_US * 1000};
    bool naps = lull_naps(&loop->nap, counts->recv_packets - counts->gro_packets,
                          counts->recv_bytes - counts->gro_bytes);
    if (!naps || loop->unread || *timeout_us <= LULL_NAP_US)
        return;
    (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL); /* cut short by a signal: as well */
    if (*timeout_us != AQ_NEVER)
        *timeout_us -= LULL_NAP_US;
}

/* For a moment, where waits have been short. */
static int loop_wait_lull(struct aq_loop *loop, struct epoll_event *events, uint64_t timeout_us)
{
    const struct udp_counts *counts = &loop->io.counts;
    loop_nap(loop, &timeout_us);
    struct lull *lull = &loop->lull[loop->dialling > 0 ? LULL_DIAL : LULL_ANY];
    bool spins = lull_begin(lull, counts->recv_bytes + counts->send_bytes);
    uint64_t begun_us = loop->now_us = clock_now_us(); /* work may have taken long */
    if (spins) {
        int n = loop_spin(loop, events, begun_us + lull->rule->spin_us, &timeout_us);
        lull_end(lull, true, 0, n > 0);
        if (n != 0)
            return n;
    }
    int n = loop_sleep(loop, events, timeout_us);
    if (!spins)
        lull_end(lull, false, clock_now_us() - begun_us, n > 0);
    return n;
}

int loop_wait(struct aq_loop *loop, struct epoll_event *events, uint64_t timeout_us)
{
    int n;
    if (timeout_us == 0)
        n = loop_sleep(loop, events, 0);
    else if (loop->config.busy_poll_us > 0)
        n = loop_wait_busy(loop, events, timeout_us);
    else
        n = loop_wait_lull(loop, events, timeout_us);
    loop->now_us = clock_now_us();
    return n;
}
