/* turn.c -- one turn of a loop: in which order, and how much of each.
 *
 *     what              how much in a turn
 *     shutdown          a signal stops the loop before anything else is looked at
 *     packets           LOOP_RECV_CALLS calls for each socket, LOOP_READY sockets
 *     events            LOOP_EVENTS; the application's answers to packets, a node's NAT traversal
 *     commands          the posts that were there, each watched descriptor once
 *     timers            each connection's once, each timer once: one that is set anew to a time
 * that has come waits for the next turn what came of it   LOOP_PASSES times LOOP_EVENTS events and
 * LOOP_SEND_CALLS calls of aq_send
 *
 * Whatever has more waits for the next turn, which comes at once (loop->more, or a deadline that
 * has passed): so a flood of one kind makes turns longer, but keeps no other kind waiting for more
 * than one (or, with more than LOOP_READY descriptors ready, for as many as epoll takes to go
 * round). The order within a turn is ours, not that in which epoll tells descriptors: whoever stops
 * a program in a flood of packets is heard first, and a command finds what came before it done.
 *
 * Called by applications, through aq_loop_run or aq_loop_step. */
#include "reactor/loop.h"

#include <assert.h>

#define OF(kind) (1u << (kind))

/* When the first of the sockets that trains wait for counts as stuck. */
static uint64_t loop_stuck_at(const struct aq_loop *loop)
{
    uint64_t at = AQ_NEVER;
    for (unsigned i = 0; i < loop->train_count; i++) {
        const struct loop_socket *s = &loop->sockets[loop->trains[i].socket];
        if (loop->sent[i] < loop->trains[i].size && s->blocked_us + LOOP_STUCK_US < at)
            at = s->blocked_us + LOOP_STUCK_US;
    }
    return at;
}

static uint64_t loop_deadline(const struct aq_loop *loop)
{
    uint64_t at = aq_deadline(loop->ep), timer = loop_timers_next(loop);
    uint64_t stuck = loop_stuck_at(loop);
    if (loop->more || loop->watches_always > 0)
        return loop->now_us;
    at = timer < at ? timer : at;
    at = stuck < at ? stuck : at;
    if (loop->stopping && loop->stop_at_us < at)
        at = loop->stop_at_us;
    return at;
}

uint64_t aq_loop_timeout_us(const struct aq_loop *loop)
{
    uint64_t at = loop_deadline(loop);
    if (at == AQ_NEVER)
        return AQ_NEVER;
    return at > loop->now_us ? at - loop->now_us : 0;
}

/* Events and sends make each other: until neither has any, or the budget is gone. */
static void loop_work(struct aq_loop *loop)
{
    loop->more = true;
    for (unsigned i = 0; i < LOOP_PASSES; i++) {
        unsigned events = loop_events(loop);
        unsigned trains = loop_send(loop);
        loop_sockets_want(loop);
        if (loop->config.on_trace)
            loop->config.on_trace(loop->config.user, loop);
        if (events == 0 && trains == 0) {
            loop->more = false;
            break;
        }
    }
    if (loop->sent_all && loop->sockets_ended > 0)
        loop_sockets_reap(loop);
}

static void loop_ready(struct aq_loop *loop, const struct epoll_event *event)
{
    uint64_t key = event->data.u64;
    uint32_t index = (uint32_t)(key >> 32) & UINT16_MAX, generation = (uint32_t)key;
    switch ((enum loop_kind)(key >> 48)) {
    case LOOP_SOCKET: loop_socket_ready(loop, index, event->events); break;
    case LOOP_WATCH: loop_watch_ready(loop, index, generation); break;
    case LOOP_POST: loop_posts_run(loop); break;
    case LOOP_SIGNAL: loop_signal_read(loop); break;
    case LOOP_HOSTS: loop_hosts_ready(loop); break;
    case LOOP_DEADLINE: loop_deadline_read(loop); break;
    }
}

/* Serves those of n ready descriptors that are of these kinds. */
static void loop_take(struct aq_loop *loop, const struct epoll_event *events, int n, unsigned kinds)
{
    for (int i = 0; i < n; i++)
        if ((kinds & OF(events[i].data.u64 >> 48)) != 0)
            loop_ready(loop, &events[i]);
}

/* 0, 1 when the loop has ended, -1 when epoll failed. */
static int loop_turn(struct aq_loop *loop, uint64_t timeout_us)
{
    struct epoll_event events[LOOP_READY];
    assert(!loop->in_turn);
    int n = loop_wait(loop, events, timeout_us);
    if (n < 0)
        return -1;
    loop->turns++;
    loop->in_turn = true;
    loop->received = loop->unread = false;
    loop_take(loop, events, n, OF(LOOP_SIGNAL));
    loop_take(loop, events, n, OF(LOOP_SOCKET));
    loop_take(loop, events, n, OF(LOOP_HOSTS) | OF(LOOP_DEADLINE));
    (void)loop_events(loop);
    loop_take(loop, events, n, OF(LOOP_POST) | OF(LOOP_WATCH));
    loop_watch_always(loop);
    if (aq_deadline(loop->ep) <= loop->now_us)
        aq_tick(loop->ep, loop->now_us);
    loop_timers_fire(loop);
    loop_work(loop);
    loop_deadline_arm(loop, loop_deadline(loop));
    loop->in_turn = false;
    if (loop->breaking)
        return 1;
    if (!loop->stopping)
        return 0;
    bool closed = loop->conns_open == 0 && loop->sent_all && !loop->more;
    return closed || loop->now_us >= loop->stop_at_us ? 1 : 0;
}

int aq_loop_run(struct aq_loop *loop)
{
    /* The first turn does not wait: what was queued before must go out. */
    int result = loop_turn(loop, 0);
    while (result == 0)
        result = loop_turn(loop, aq_loop_timeout_us(loop));
    loop->breaking = false;
    return result < 0 ? -1 : 0;
}

int aq_loop_step(struct aq_loop *loop)
{
    int result = loop_turn(loop, 0);
    if (result == 1)
        loop->breaking = false;
    return result;
}

int aq_loop_fd(struct aq_loop *loop)
{
    loop->nested = true;
    loop_deadline_arm(loop, loop_deadline(loop));
    return loop->epoll_fd;
}

void aq_loop_stop(struct aq_loop *loop)
{
    if (loop->stopping)
        return;
    uint64_t now = loop->in_turn ? loop->now_us : aq_loop_clock(loop);
    loop->stopping = true;
    loop->stop_at_us = now + LOOP_STOP_US;
    for (uint32_t i = 0; i <= loop->conns_mask; i++)
        if (loop->conns[i].conn != 0)
            (void)aq_close(loop->ep, loop->conns[i].conn, loop->config.close_code, "shutting down",
                           now);
}

void aq_loop_break(struct aq_loop *loop)
{
    loop->breaking = true;
}

bool aq_loop_stopping(const struct aq_loop *loop)
{
    return loop->stopping;
}
