/* chat.c -- `antq chat PEERID`: lines of standard input go there, what it says is shown. While a
 * connection that was lost is made again, standard input waits, for a minute. */
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
    char line[TALK_LINE];
    size_t size;
    bool ended;
};

static void chat_line(struct peer_program *p, struct peer_stream *s, const char *line)
{
    struct aq_conn_peer peer = {.size = sizeof peer};
    char id[AQ_PEER_ID_TEXT] = "?";

    if (aq_conn_peer(p->ep, s->conn, &peer) == AQ_OK) {
        (void)peer_short(peer.spki_hash, id);
    }
    (void)printf("%s> %s\n", id, line);
    (void)fflush(stdout);
}

static void chat_end(struct peer_program *p, struct peer_stream *s)
{
    struct chat *c = p->user;

    if (s != c->stream) {
        return;
    }
    c->stream = NULL;
    if (c->ended) { /* our own end came back: everything was heard */
        peer_end(p, EXIT_DONE);
    }
}

static void say(struct chat *c)
{
    c->line[c->size] = '\0';
    c->size = 0;
    if (c->stream == NULL || !talk_say(&c->p, c->stream, c->line)) {
        complain("not said, the peer is not there now: %.60s", c->line);
    }
}

static void on_input(void *user)
{
    struct chat *c = user;
    char bytes[1024];
    ssize_t got = read(STDIN_FILENO, bytes, sizeof bytes);

    for (ssize_t i = 0; i < got; i++) {
        if (bytes[i] == '\n' || c->size == sizeof c->line - 1) {
            say(c);
        }
        if (bytes[i] != '\n') {
            c->line[c->size++] = bytes[i];
        }
    }
    if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR))) {
        return;
    }
    (void)aq_loop_watch(c->p.loop, STDIN_FILENO, NULL, c);
    if (c->size > 0) {
        say(c);
    }
    c->ended = true;
    if (c->stream == NULL || aq_stream_write(c->p.ep, c->stream->id, NULL, 0, AQ_FIN) < 0) {
        peer_end(&c->p, EXIT_DONE);
    }
}

static void listen_to_input(struct chat *c, bool on)
{
    if (!c->ended) {
        (void)aq_loop_watch(c->p.loop, STDIN_FILENO, on ? on_input : NULL, c);
    }
}

static void chat_event(struct peer_program *p, const struct aq_node_event *event)
{
    struct chat *c = p->user;
    bool it = event->peer_id != NULL && memcmp(event->peer_id, c->id, sizeof c->id) == 0;

    if (event->kind == AQ_NODE_REGISTERED && event->result == AQ_NODE_NONE && !peer_is_limited(p)) {
        complain("registering: no bootstrap node has us; `antq doctor` tells more");
    } else if (it && event->kind == AQ_NODE_CONNECTED) {
        c->stream = peer_open(p, event->conn, &talk_service);
        listen_to_input(c, true);
    } else if (it && event->kind == AQ_NODE_CLOSED) {
        listen_to_input(c, false);
    } else if (it && event->kind == AQ_NODE_FAILED && !peer_goes_on(p, event)) {
        if (p->lost_us == 0) {
            peer_end(p, EXIT_FAILED); /* at the first time; later it may come back */
        } else {
            listen_to_input(c, true);
        }
    }
}

int chat_main(int argc, char **argv)
{
    static struct chat c;
    static const struct peer_service *const services[] = {&talk_service, NULL};
    const struct option_set sets[] = {{"Flags", peer_rows, PEER_ROWS, &c.p.flags}};
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
    talk_on_line = chat_line;
    talk_on_end = chat_end;
    if (!peer_start(&c.p, &code)) {
        return code;
    }
    peer_connect(&c.p, c.id, AQ_NODE_KEEP);
    return peer_run(&c.p);
}
