/* files.h -- a file on a stream between two peers (PEER_FILE), all in network order.
 *
 *     sender:   'F' | name size, 2 | file size, 8 | SHA-256, 32 | name
 *     receiver: verdict, 1 | offset, 8              FILE_GO: from there; else why not
 *     sender:   the bytes from there, the end
 *     receiver: verdict, 1 | 0, 8                   FILE_DONE: hash and size are right */
#ifndef APPS_PEER_FILES_H
#define APPS_PEER_FILES_H

#include "apps/peer/peer.h"

#include <openssl/sha.h>

enum {
    FILE_HEAD = 42,
    FILE_NAME = 255,
    FILE_ANSWER = 9
};

enum file_verdict {
    FILE_GO,
    FILE_DONE,   /* it is there, whole and right */
    FILE_BAD,    /* a name that is none, or a head that is none */
    FILE_EXISTS, /* another file has this name, and is not overwritten */
    FILE_DISK,   /* it could not be written */
    FILE_HASH,   /* what came is not what was announced */
    FILE_BUSY,   /* somebody else sends the same one */
    FILE_VERDICTS
};
const char *file_verdict_text(unsigned verdict);

/* Reads up to size bytes of the stream's beginning; returns how many there are now. */
size_t file_gather(struct peer_program *p, struct peer_stream *s, uint8_t *into, size_t have,
                   size_t want);

/* The hash of what a file has from where it stands, taken a piece in each of the loop's turns: the
 * connections go on meanwhile. The file must stay open. */
struct file_hash {
    struct aq_loop *loop;
    int fd;
    SHA256_CTX sha;
    uint64_t size;
    void (*done)(void *user, bool whole); /* false: it cannot be read, errno says why */
    void *user;
    bool running;
};
void file_hash_begin(struct file_hash *h);
void file_hash_end(struct file_hash *h);

void put64(uint8_t out[8], uint64_t value);
uint64_t get64(const uint8_t in[8]);
/* A name that stays in its folder, and can be seen there: no slash, no control characters, no dot
 * in front. */
bool file_name_good(const char *name, size_t size);

#endif
