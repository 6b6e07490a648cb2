/* peer.h -- names of peers: the PeerId and its texts, sets of them, and names of bootstrap nodes.
 *
 * A PeerId is the SHA-256 of a key's DER SubjectPublicKeyInfo (PROTOCOL §2): what aq_tls_pin says
 * of the own key and aq_conn_peer of the other side's. It is the only identity; an address is none.
 * Its texts are aq_peer_id_text and aq_peer_id_parse of antq.h. */
#ifndef AQ_NAT_PEER_H
#define AQ_NAT_PEER_H

#include "core/antq.h"

enum {
    PEER_ID_SIZE = 32,
    PEER_ID_TEXT = AQ_PEER_ID_TEXT, /* bytes of the text, its final 0 included */
    PEER_ID_SHORT = 10,             /* characters of the short form */
    HOST_MAX = 253                  /* characters of a host name (RFC 1035) */
};

struct peer_id {
    uint8_t bytes[PEER_ID_SIZE];
};

/* Below 0, 0, above 0, as memcmp: the order that decides which of two connections survives. */
int peer_id_compare(const struct peer_id *a, const struct peer_id *b);
bool peer_id_equal(const struct peer_id *a, const struct peer_id *b);
/* The first 10 characters, for people's eyes only: never compared. out has 11 bytes; returns it. */
char *peer_id_short(const struct peer_id *id, char out[PEER_ID_SHORT + 1]);
/* Exactly `size` characters of text, lower or upper case base32, or hexadecimal. */
bool peer_id_read(const char *text, size_t size, struct peer_id *id);

/* ---- sets: allow lists and bans ---------------------------------------------------------------
 */

/* Sorted, in storage its owner gives. */
struct peer_set {
    struct peer_id *v;
    uint32_t count, max;
};

bool peer_set_has(const struct peer_set *set, const struct peer_id *id); /* O(log n) */
/* True: it is in the set now. False: full. */
bool peer_set_add(struct peer_set *set, const struct peer_id *id);
bool peer_set_remove(struct peer_set *set, const struct peer_id *id);
/* Adds all PeerIds of a text, which commas, spaces and line ends separate; # starts a comment to
 * the line's end. False: one cannot be read, or the set is full; *line is its line, and those
 * before it were added. */
bool peer_set_parse(struct peer_set *set, const char *text, size_t size, unsigned *line);

/* ---- bootstrap nodes ------------------------------------------------------------------------- */

/* `[PEERID@]HOST:PORT`. Without a PeerId the node is believed on first use (PROTOCOL §2). */
struct node_name {
    bool pinned;
    struct peer_id id;
    char host[HOST_MAX + 1]; /* an IPv6 address without its brackets */
    uint16_t port;
};

/* `size` characters of text. False, with the reason as a static sentence in *why. */
bool node_name_parse(const char *text, size_t size, struct node_name *name, const char **why);

#endif
