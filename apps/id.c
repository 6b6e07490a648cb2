/* id.c -- `antq id`: who am I? Prints the PeerId of the key file, and makes that on first use.
 *
 * The PeerId alone stands on standard output, so that a script can take it; whether a key was made
 * is said on standard error. */
#include <stdio.h>

#include "apps/apps.h"
#include "apps/common.h"
#include "apps/key.h"

struct id_flags {
    const char *key;
    bool json;
};

static const struct option_row id_rows[] = {
    {"key", 0, OPTION_TEXT, offsetof(struct id_flags, key), "FILE", 0, 0,
     "the key file; ~/.config/antq/key.pem"},
    {"json", 0, OPTION_FLAG, offsetof(struct id_flags, json), NULL, 0, 0,
     "print one JSON object: peer_id, key, made"},
};

int id_main(int argc, char **argv)
{
    struct id_flags flags = {NULL, false};
    const struct option_set sets[] = {
        {"Flags:", id_rows, sizeof id_rows / sizeof id_rows[0], &flags},
    };
    const struct command command = {
        .name = "antq id",
        .about =
            "Prints your PeerId, the name by which others connect to you, and makes your key on first "
            "use.\nWho has the key file is you: keep it, and show it to nobody.",
        .sets = sets,
        .set_count = sizeof sets / sizeof sets[0],
    };
    static struct key_file key;
    char text[AQ_PEER_ID_TEXT];
    int code;

    if (!command_parse(&command, argc, argv, NULL, &code)) {
        return code;
    }
    if (!key_file_open(&key, flags.key)) {
        return EXIT_FAILED;
    }
    (void)aq_peer_id_text(key.peer_id, text);
    if (flags.json) {
        (void)printf("{\"peer_id\":\"%s\",\"key\":", text);
        json_text(stdout, key.path);
        (void)printf(",\"made\":%s}\n", key.made ? "true" : "false");
        return EXIT_DONE;
    }
    if (key.made) {
        note("made a key in %s", key.path);
    }
    (void)puts(text);
    return EXIT_DONE;
}
