/* known.h -- bootstrap nodes that were believed on first use, remembered beside the key.
 *
 * A file `bootstraps` of lines `HOST:PORT PEERID`. Who answers under that name with another key
 * later is refused. */
#ifndef APPS_PEER_KNOWN_H
#define APPS_PEER_KNOWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What to give the node: the name as it is, or with the PeerId that is remembered. False: told. */
bool known_name(const char *key_path, const char *name, char *out, size_t size);
/* Remembers, and says so. */
void known_add(const char *key_path, const char *name, const uint8_t peer_id[32]);

#endif
