/* key.h -- the file with a peer's private key, made on first use.
 *
 * PEM text of mode 0600. Who has it is the peer, so it is refused where others could read it. */
#ifndef APPS_KEY_H
#define APPS_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    KEY_PATH_MAX = 4096
};

struct key_file {
    char path[KEY_PATH_MAX];
    uint8_t peer_id[32];
    bool made; /* in this run */
};

/* Finds the key, or makes an Ed25519 one, and tells whose it is. path NULL: key.pem in
 * $XDG_CONFIG_HOME/antq or ~/.config/antq, which is made too. False: told why. */
bool key_file_open(struct key_file *key, const char *path);
/* What is wrong with a word that is no PeerId, as the end of a sentence; returns out. 64 bytes
 * suffice. */
char *peer_id_problem(const char *word, char *out, size_t size);

#endif
