/* online.c -- `antq peer`: stays online, shows who comes and goes, echoes, and shows what others
 * say. */
#include <string.h>

#include "apps/apps.h"
#include "apps/peer/peer.h"
#include "apps/peer/talk.h"

/* What is said is shown, and comes back: who is alone sees that it works. */
static void show_line(struct peer_program *p, struct peer_stream *s, const char *line)
{
    talk_show(p, s, line);
    (void)talk_say(p, s, line);
}

int peer_main(int argc, char **argv)
{
    static struct peer_program p;
    static const struct peer_service *const services[] = {&talk_service, NULL};
    const struct option_set sets[] = {{"Flags:", peer_rows, PEER_ROWS, &p.flags}};
    const struct command command = {
        .name = "antq peer",
        .about =
            "Stays online: others reach you by your PeerId (`antq ping`, `antq chat`), whatever\n"
            "NATs stand between. Shows who comes and goes, and echoes what they say.",
        .sets = sets,
        .set_count = 1,
    };
    char id[AQ_PEER_ID_TEXT], text[64];
    struct aq_addr addrs[8];
    int code;

    if (!command_parse(&command, argc, argv, NULL, &code)) {
        return code;
    }
    p.services = services;
    talk_on_line = show_line;
    if (!peer_start(&p, &code)) {
        return code;
    }
    (void)aq_peer_id_text(aq_node_id(p.node), id);
    unsigned count = aq_node_listening(p.node, addrs, 8);
    if (p.flags.json) {
        (void)printf("{\"event\":\"peer\",\"peer_id\":\"%s\"}\n", id);
    } else {
        note("I am %s", id);
        for (unsigned i = 0; i < count && i < 8; i++) {
            note("listening on %s", aq_addr_text(&addrs[i], text, sizeof text));
        }
    }
    peer_flush(&p);
    return peer_run(&p);
}
