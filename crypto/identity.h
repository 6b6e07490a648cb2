/* identity.h -- certificates and keys: PEM in, self-signed certificates, SubjectPublicKeyInfo
 * hashes.
 *
 * Inner to crypto/ (it names BoringSSL's types). Called by tls_config.c and tls_verify.c only. */
#ifndef AQ_IDENTITY_H
#define AQ_IDENTITY_H

#include "core/antq.h"
#include <openssl/ssl.h>

enum {
    IDENTITY_CHAIN_MAX = 16
}; /* certificates of a chain */

/* A certificate chain (leaf first) and its private key; the owner frees both. */
struct identity {
    STACK_OF(CRYPTO_BUFFER) * chain;
    EVP_PKEY *key; /* NULL: the key lives elsewhere */
    uint8_t spki_hash[32];
};

/* Loads chain and key and checks that they match; key NULL: the chain alone. False with a sentence
 * in error that names the file. */
bool identity_load(struct identity *id, const struct aq_pem *cert, const struct aq_pem *key,
                   char *error, size_t error_size);
/* Makes a key and a self-signed certificate, valid from a day before unix_s for 10 years. */
bool identity_self_signed(struct identity *id, enum aq_key_kind kind, uint64_t unix_s, char *error,
                          size_t error_size);
/* The same for a key that is there already: who keeps a key keeps the identity, and the certificate
 * is made anew at each start. */
bool identity_from_key(struct identity *id, const struct aq_pem *key, uint64_t unix_s, char *error,
                       size_t error_size);
/* PROTOCOL §2: Ed25519 or P-256. */
bool identity_is_of_peer(const EVP_PKEY *key);
void identity_free(struct identity *id);

/* HKDF-SHA-256 of the private key, with a salt of our own. False: no memory. */
bool identity_secret(const EVP_PKEY *key, const void *info, size_t info_size, uint8_t secret[32]);

/* The certificates of a PEM text, in order; the caller frees them. NULL with a sentence in error,
 * which calls them `what`, when it cannot be read or has none. */
STACK_OF(CRYPTO_BUFFER)
*identity_read_chain(const struct aq_pem *pem, const char *what, char *error, size_t error_size);

/* SHA-256 of a DER certificate's SubjectPublicKeyInfo. False: not a certificate. */
bool identity_spki_hash(const uint8_t *cert, size_t size, uint8_t hash[32]);

/* Writes a sentence; returns false, for the caller to return. */
__attribute__((format(printf, 3, 4))) bool identity_error(char *error, size_t error_size,
                                                          const char *format, ...);

#endif
