/* talk.h -- lines of text on a stream between two peers (PEER_CHAT). */
#ifndef APPS_PEER_TALK_H
#define APPS_PEER_TALK_H

#include "apps/peer/peer.h"

enum {
    TALK_LINE = 4096 /* longer ones are cut into several */
};

extern const struct peer_service talk_service;
/* Called for each line that came, without its end; control characters are made visible. */
extern void (*talk_on_line)(struct peer_program *p, struct peer_stream *s, const char *line);
/* And when the stream is over, lost if not by its two ends; NULL: nobody cares. */
extern void (*talk_on_end)(struct peer_program *p, struct peer_stream *s, bool lost);
/* And when it takes more; NULL: nobody waits. */
extern void (*talk_on_room)(struct peer_program *p, struct peer_stream *s);
/* Prints a line that came. */
void talk_show(struct peer_program *p, struct peer_stream *s, const char *line);
/* False: it takes no more now. */
bool talk_say(struct peer_program *p, struct peer_stream *s, const char *line);

#endif
