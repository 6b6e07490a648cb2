/* files.c -- see files.h. */
#include "apps/peer/files.h"

#include <string.h>
#include <unistd.h>

const char *file_verdict_text(unsigned verdict)
{
    static const char *const texts[FILE_VERDICTS] = {
        "goes on",
        "it has it",
        "it refuses the name: a leading dot, control characters, or too long",
        "it has another file of that name, and overwrites none (recv --overwrite)",
        "it cannot write it: is its disk full, may it write there?",
        "what came is not what was sent: the file changed meanwhile; send it again",
        "it is receiving the same file from somebody else: try again later"};

    return verdict < FILE_VERDICTS ? texts[verdict] : "it answers what is no answer";
}

size_t file_gather(struct peer_program *p, struct peer_stream *s, uint8_t *into, size_t have,
                   size_t want)
{
    struct aq_iov iov;
    bool fin;

    while (have < want && aq_stream_peek(p->ep, s->id, &iov, 1, &fin) == 1 && iov.size > 0) {
        size_t n = iov.size < want - have ? iov.size : want - have;

        memcpy(into + have, iov.data, n);
        (void)aq_stream_consume(p->ep, s->id, n);
        have += n;
    }
    return have;
}

/* ---- the hash of a file ---- */

/* False: it is over, and done was called. */
static bool hash_piece(struct file_hash *h)
{
    static uint8_t bytes[1 << 18]; /* well under a millisecond */
    ssize_t got = read(h->fd, bytes, sizeof bytes);

    if (got > 0) {
        (void)SHA256_Update(&h->sha, bytes, (size_t)got);
        h->size += (uint64_t)got;
        return true;
    }
    h->running = false;
    h->done(h->user, got == 0);
    return false;
}

static void hash_turn(void *user)
{
    struct file_hash *h = user;

    if (hash_piece(h) && aq_loop_timer(h->loop, aq_loop_now(h->loop), hash_turn, h) != AQ_OK) {
        while (hash_piece(h)) { /* more files at once than the loop has timers: at one go */
        }
    }
}

void file_hash_begin(struct file_hash *h)
{
    (void)SHA256_Init(&h->sha);
    h->size = 0;
    h->running = true;
    hash_turn(h);
}

void file_hash_end(struct file_hash *h)
{
    if (h->running) {
        (void)aq_loop_timer(h->loop, AQ_NEVER, hash_turn, h);
    }
    h->running = false;
}

void put64(uint8_t out[8], uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        out[i] = (uint8_t)(value >> (56 - 8 * i));
    }
}

uint64_t get64(const uint8_t in[8])
{
    uint64_t value = 0;

    for (unsigned i = 0; i < 8; i++) {
        value = value << 8 | in[i];
    }
    return value;
}

bool file_name_good(const char *name, size_t size)
{
    /* `.` and `..`, our own parts' names, and what programs read in a home folder unseen. */
    bool hidden = size > 0 && name[0] == '.';

    for (size_t i = 0; i < size; i++) {
        if (name[i] == '/' || (unsigned char)name[i] < 0x20 || name[i] == 0x7f) {
            return false;
        }
    }
    return size > 0 && size <= FILE_NAME && !hidden;
}
