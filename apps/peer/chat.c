/* chat.c -- `antq chat PEERID`: lines of standard input go there, what it says is shown.
 *
 * Standard input is read when the stream has room, so that nothing is lost however much comes, and
 * waits while a connection that was lost is made again, for a minute. Its end is the good end; when
 * the peer leaves before, what was still to be said is not said, and the status is 1. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "apps/apps.h"
#include "apps/peer/peer.h"
#include "apps/peer/talk.h"

struct chat {
    struct peer_program p;
    uint8_t id[32];
    struct peer_stream *stream;
    uint8_t said[TALK_LINE]; /* read, and not yet in the stream */
    size_t size, at;
    bool in_line; /* the last line that was read is not ended */
    bool ended;   /* standard input */
    bool lost;    /* the connection is, and is made again */
};

static void chat_over(struct chat *c, const char *why)
{
    if (!c->p.ending) {
        complain("%s", why);
        peer_end(&c->p, EXIT_FAILED);
    }
}

static void chat_end(struct peer_program *p, struct peer_stream *s, bool lost)
{
    struct chat *c = p->user;

    if (s != c->stream) {
        return;
    }
    c->stream = NULL;
    if (c->lost) {
        return;
    }
    if (lost) {
        chat_over(c, "that peer does not chat now; it must run `antq peer` or `antq chat`");
    } else if (c->ended) { /* our own end came back: everything was heard */
        peer_end(p, EXIT_DONE);
    } else {
        chat_over(c, "the peer has ended the chat");
    }
}

static void on_input(void *user);

/* What was read goes into the stream; what finds no room waits, and so does standard input. */
static void say(struct chat *c)
{
    struct aq_iov iov = {c->said + c->at, c->size - c->at};
    bool last = c->ended;

    if (c->stream == NULL) {
        return;
    }
    int64_t taken = aq_stream_write(c->p.ep, c->stream->id, &iov, 1, last ? AQ_FIN : 0);
    if (taken < 0) {
        chat_over(c, "not said, the peer is not there now");
        return;
    }
    c->at += (size_t)taken;
    bool room = c->at == c->size;
    if (room) {
        c->at = c->size = 0;
    }
    (void)aq_loop_watch(c->p.loop, STDIN_FILENO, room && !last ? on_input : NULL, c);
}

static void on_input(void *user)
{
    struct chat *c = user;
    /* Room is kept for the end of a last line that has none. */
    ssize_t got = read(STDIN_FILENO, c->said, sizeof c->said - 1);

    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got < 0) {
        complain("cannot read standard input: %s", strerror(errno));
        (void)aq_loop_watch(c->p.loop, STDIN_FILENO, NULL, c);
        peer_end(&c->p, EXIT_FAILED);
        return;
    }
    c->size = (size_t)got;
    c->ended = got == 0;
    if (got > 0) {
        c->in_line = c->said[got - 1] != '\n';
    } else if (c->in_line) {
        c->said[c->size++] = '\n';
    }
    say(c);
}

static void chat_room(struct peer_program *p, struct peer_stream *s)
{
    struct chat *c = p->user;

    if (s == c->stream && c->size > 0) {
        say(c);
    }
}

/* The connection has ended: by its peer's word, or else it is made again. */
static void closed(struct chat *c, aq_conn conn)
{
    struct aq_close_info info = {.size = sizeof info};

    c->lost = aq_conn_close_info(c->p.ep, conn, &info) != AQ_OK || info.by != AQ_BY_PEER;
    (void)aq_loop_watch(c->p.loop, STDIN_FILENO, NULL, c);
    if (!c->lost) {
        chat_over(c, "the peer is gone");
    }
}

static void chat_event(struct peer_program *p, const struct aq_node_event *event)
{
    struct chat *c = p->user;
    bool it = event->peer_id != NULL && memcmp(event->peer_id, c->id, sizeof c->id) == 0;

    if (event->kind == AQ_NODE_REGISTERED && event->result == AQ_NODE_NONE && !peer_is_limited(p)) {
        complain("registering: no bootstrap node has us; `antq doctor` tells more");
    } else if (it && event->kind == AQ_NODE_CONNECTED && c->stream == NULL) {
        c->lost = false;
        c->stream = peer_open(p, event->conn, &talk_service);
        if (c->stream == NULL) {
            chat_over(c, "the peer allows no stream now; try again");
        } else {
            say(c);
        }
    } else if (it && event->kind == AQ_NODE_CLOSED && !p->ending) {
        closed(c, event->conn);
    } else if (it && event->kind == AQ_NODE_FAILED && !peer_goes_on(p, event)) {
        peer_end(p, EXIT_FAILED);
    }
}

static void chat_stop(struct peer_program *p)
{
    struct chat *c = p->user;

    p->code = c->stream != NULL ? EXIT_DONE : EXIT_FAILED;
}

int chat_main(int argc, char **argv)
{
    static struct chat c;
    static const struct peer_service *const services[] = {&talk_service, NULL};
    const struct option_set sets[] = {{"Flags:", peer_rows, PEER_ROWS, &c.p.flags}};
    const struct command command = {
        .name = "antq chat",
        .word = "PEERID",
        .about = "Talks to a peer (`antq peer`, or `antq chat` there) line by line. The end of\n"
                 "standard input ends it.",
        .sets = sets,
        .set_count = 1,
    };
    const char *word = NULL;
    int code;

    if (!command_parse(&command, argc, argv, &word, &code)) {
        return code;
    }
    if (!peer_word(word, c.id)) {
        return EXIT_WRONG_USE;
    }
    c.p.user = &c;
    c.p.target = c.id;
    c.p.services = services;
    c.p.on_event = chat_event;
    c.p.on_stop = chat_stop;
    talk_on_line = talk_show;
    talk_on_end = chat_end;
    talk_on_room = chat_room;
    if (!peer_start(&c.p, &code)) {
        return code;
    }
    peer_connect(&c.p, c.id, AQ_NODE_KEEP);
    return peer_run(&c.p);
}
