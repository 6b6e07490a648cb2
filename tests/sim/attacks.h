/* attacks.h -- frames that a peer must not send, as rows: who is attacked, in which packet, by which bytes,
 * and with which error the victim must close. Read by tests/hostile.c and by the fuzzers' corpus.
 *
 * A row's frames are written in a little language, one word a piece:
 *     1f       a number in hexadecimal, as a varint in its shortest form
 *     x0a1b    these bytes
 *     *20      so many (decimal) zero bytes
 *     pb0 pu1  id of the peer's bidirectional stream 0, unidirectional stream 1
 *     vb0 vu1  the same of the victim's
 * The victim grants 4 streams of each kind, 4,096 bytes a stream, 8,192 the connection, 4 connection ids.
 * Rows that expect AQ_OK are the step between: the largest thing that is still allowed. */
#ifndef AQ_ATTACKS_H
#define AQ_ATTACKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VICTIM_CLIENT = 1, VICTIM_SERVER = 2, VICTIM_BOTH = 3, ANY_CRYPTO_ERROR = -100 };

struct attack {
    const char *mark; /* the rule */
    int victim;
    char packet; /* I, H, 1 */
    const char *frames;
    int expect, also; /* also: another error that the rule allows */
};
extern const struct attack attacks[];
extern const unsigned attacks_count;

/* One valid frame of each type, harmless where it may stand: RFC 9000 §12.4, table 3. */
struct attack_cross {
    const char *frame;
    const char *in; /* of I H 1 */
    const char *by; /* C S */
};
extern const struct attack_cross attack_cross[];
extern const unsigned attack_cross_count;

/* Turns the little language into bytes. False: a word is not of the language, or they do not fit. */
bool attack_frames(const char *text, bool peer_server, uint8_t *out, size_t room, size_t *size);

#endif
