/* talk.c -- see talk.h. */
#include "apps/peer/talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct talk {
    size_t size;
    char line[TALK_LINE];
};

void (*talk_on_line)(struct peer_program *p, struct peer_stream *s, const char *line);
void (*talk_on_end)(struct peer_program *p, struct peer_stream *s, bool lost);
void (*talk_on_room)(struct peer_program *p, struct peer_stream *s);

static bool talk_opened(struct peer_program *p, struct peer_stream *s)
{
    (void)p;
    s->state = calloc(1, sizeof(struct talk));
    return s->state != NULL;
}

/* A stranger's bytes go to a terminal: nothing in them may steer it. */
static void talk_take(struct peer_program *p, struct peer_stream *s, const uint8_t *data,
                      size_t size)
{
    struct talk *t = s->state;

    for (size_t i = 0; i < size; i++) {
        bool end = data[i] == '\n';

        if (!end) {
            t->line[t->size++] = data[i] < 0x20 || data[i] == 0x7f ? '?' : (char)data[i];
        }
        if (end || t->size == TALK_LINE - 1) {
            t->line[t->size] = '\0';
            t->size = 0;
            talk_on_line(p, s, t->line);
        }
    }
}

static void talk_readable(struct peer_program *p, struct peer_stream *s)
{
    struct aq_iov iov;
    uint8_t copy[2048];
    bool fin = false;

    while (aq_stream_peek(p->ep, s->id, &iov, 1, &fin) == 1 && iov.size > 0) {
        size_t n = iov.size < sizeof copy ? iov.size : sizeof copy;

        memcpy(copy, iov.data, n); /* answering may move what was peeked */
        (void)aq_stream_consume(p->ep, s->id, n);
        talk_take(p, s, copy, n);
    }
    if (fin) {
        (void)aq_stream_consume(p->ep, s->id, 0);
        (void)aq_stream_write(p->ep, s->id, NULL, 0, AQ_FIN);
        if (talk_on_end != NULL) {
            talk_on_end(p, s, false);
        }
    }
}

static void talk_writable(struct peer_program *p, struct peer_stream *s)
{
    if (talk_on_room != NULL) {
        talk_on_room(p, s);
    }
}

static void talk_closed(struct peer_program *p, struct peer_stream *s, bool lost)
{
    if (lost && talk_on_end != NULL) {
        talk_on_end(p, s, true);
    }
    free(s->state);
}

const struct peer_service talk_service = {.kind = PEER_CHAT,
                                          .opened = talk_opened,
                                          .readable = talk_readable,
                                          .writable = talk_writable,
                                          .closed = talk_closed};

void talk_show(struct peer_program *p, struct peer_stream *s, const char *line)
{
    struct aq_conn_peer peer = {.size = sizeof peer};
    char id[AQ_PEER_ID_TEXT] = "somebody", text[TALK_LINE];
    bool known = aq_conn_peer(p->ep, s->conn, &peer) == AQ_OK;

    if (p->flags.json) {
        (void)printf("{\"event\":\"chat\",\"peer_id\":\"%s\",\"text\":",
                     known ? aq_peer_id_text(peer.spki_hash, id) : "");
        json_text(stdout, line);
        (void)puts("}");
    } else {
        (void)snprintf(text, sizeof text, "%s", line);
        (void)printf("%s> %s\n", known ? peer_short(peer.spki_hash, id) : id, plain_text(text));
    }
    peer_flush(p);
}

bool talk_say(struct peer_program *p, struct peer_stream *s, const char *line)
{
    static const uint8_t newline = '\n';
    struct aq_iov iov[2] = {{(const uint8_t *)line, strlen(line)}, {&newline, 1}};

    return aq_stream_write(p->ep, s->id, iov, 2, 0) == (int64_t)(iov[0].size + 1);
}
