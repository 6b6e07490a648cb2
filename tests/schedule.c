/* tests/schedule.c -- the key schedule against RFC 9001 Appendix A and against BoringSSL's own
 * HKDF. */
#include "crypto/schedule.h"
#include "tests/hex.h"

#include <criterion/criterion.h>
#include <openssl/digest.h>
#include <openssl/hkdf.h>
#include <string.h>

static const uint8_t cid[] = {0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08};

static void expect(const struct secret *secret, const char *label, const char *hex)
{
    uint8_t out[48], expected[48];
    size_t size = hex_bytes(hex, expected, sizeof(expected));

    schedule_expand_label(secret, label, out, size);
    cr_assert_arr_eq(out, expected, size, "%s", label);
}

/* RFC 9001 §5.1, §5.2, Appendix A.1 */
/* RFC 9001 §5.2. */
Test(schedule, initial)
{
    struct secret client, server;
    uint8_t expected[32];

    schedule_initial(1, cid, sizeof(cid), &client, &server);
    hex_bytes("c00cf151ca5be075ed0ebfb5c80323c42d6b7db67881289af4008f1f6c357aea", expected, 32);
    cr_assert_arr_eq(client.bytes, expected, 32);
    hex_bytes("3c199828fd139efd216c155ad844cc81fb82fa8d7446fa7d78be803acdda951b", expected, 32);
    cr_assert_arr_eq(server.bytes, expected, 32);
    cr_assert(client.size == 32 && client.cipher == CIPHER_AES_128_GCM);
    cr_assert(server.size == 32 && server.cipher == CIPHER_AES_128_GCM);

    expect(&client, "quic key", "1f369613dd76d5467730efcbe3b1a22d");
    expect(&client, "quic iv", "fa044b2f42a3fd3b46fb255c");
    expect(&client, "quic hp", "9f50449e04a0e810283a1e9933adedd2");
    expect(&server, "quic key", "cf3a5331653c364c88f0f379b6067e37");
    expect(&server, "quic iv", "0ac1493ca1905853b0bba03e");
    expect(&server, "quic hp", "c206b8d9b9f0f37644430b490eeaa314");

    struct aead_key key;
    struct hp_key hp;
    schedule_keys(1, &client, &key, &hp);
    hex_bytes("fa044b2f42a3fd3b46fb255c", expected, 12);
    cr_assert_arr_eq(key.iv, expected, 12);
    cr_assert(key.set && hp.set && key.cipher == CIPHER_AES_128_GCM
              && hp.cipher == CIPHER_AES_128_GCM);
}

/* Connection ids of every length give secrets, all different. */
Test(schedule, initial_cid_sizes)
{
    static const uint8_t zero[20];
    struct secret client[21], server;

    for (size_t i = 0; i <= 20; i++) {
        schedule_initial(1, zero, i, &client[i], &server);
        cr_assert_arr_neq(client[i].bytes, server.bytes, 32);
        for (size_t k = 0; k < i; k++) {
            cr_assert_arr_neq(client[i].bytes, client[k].bytes, 32);
        }
    }
}

/* RFC 9001 Appendix A.5 */
Test(schedule, chacha20)
{
    struct secret secret = {.size = 32, .cipher = CIPHER_CHACHA20};

    hex_bytes("9ac312a7f877468ebe69422748ad00a15443f18203a07d6060f688f30f21632b", secret.bytes, 32);
    expect(&secret, "quic key", "c6d98ff3441c3fe1b2182094f69caa2ed4b716b65488960a7a984979fb23e1c8");
    expect(&secret, "quic hp", "25a282b9e82f06f21f488917a4fc8f1b73573685608597d0efcb076b0ab7a7a4");
    expect(&secret, "quic ku", "1223504755036d556342ee9361d253421a826c9ecdf3c7148684b36b714881f9");
}

/* RFC 9001 §6.1: the secret is updated, in place if wished; the header protection key stays. */
Test(schedule, next)
{
    struct secret secret = {.size = 32, .cipher = CIPHER_CHACHA20}, next, again;
    uint8_t expected[32];

    hex_bytes("9ac312a7f877468ebe69422748ad00a15443f18203a07d6060f688f30f21632b", secret.bytes, 32);
    hex_bytes("1223504755036d556342ee9361d253421a826c9ecdf3c7148684b36b714881f9", expected, 32);
    schedule_next(1, &secret, &next);
    cr_assert_arr_eq(next.bytes, expected, 32);
    cr_assert(next.size == 32 && next.cipher == CIPHER_CHACHA20);
    schedule_next(1, &secret, &secret);
    cr_assert_arr_eq(secret.bytes, expected, 32);
    schedule_next(1, &secret, &again);
    cr_assert_arr_neq(again.bytes, expected, 32);

    struct aead_key key;
    schedule_keys(1, &next, &key, NULL);
    cr_assert(key.set && key.cipher == CIPHER_CHACHA20);

    schedule_wipe(&secret);
    cr_assert_eq(secret.bytes[0] | secret.bytes[31] | secret.size, 0);
}

/* What is computed without allocating is what BoringSSL's HKDF says, for both hashes. */
static void compare(struct secret *secret, const EVP_MD *digest, const char *label, size_t size)
{
    uint8_t info[64] = {0}, expected[48], out[48];
    size_t label_size = strlen(label);

    info[1] = (uint8_t)size;
    info[2] = (uint8_t)(6 + label_size);
    memcpy(info + 3, "tls13 ", 6);
    memcpy(info + 9, label, label_size);
    cr_assert(
        HKDF_expand(expected, size, digest, secret->bytes, secret->size, info, 10 + label_size));
    schedule_expand_label(secret, label, out, size);
    cr_assert_arr_eq(out, expected, size, "%s %zu", label, size);
}

/* RFC 8446 §7.1. */
Test(schedule, agrees_with_boringssl)
{
    static const char *const labels[] = {"quic key", "quic iv",   "quic hp",
                                         "quic ku",  "client in", "k"};
    struct secret secret = {.size = 32};

    for (unsigned round = 0; round < 8; round++) {
        for (unsigned i = 0; i < sizeof(secret.bytes); i++) {
            secret.bytes[i] = (uint8_t)(i * 11 + round * 97);
        }
        for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
            secret.size = 32;
            compare(&secret, EVP_sha256(), labels[i], 12 + round);
            compare(&secret, EVP_sha256(), labels[i], 32);
            secret.size = 48;
            compare(&secret, EVP_sha384(), labels[i], 12 + round);
            compare(&secret, EVP_sha384(), labels[i], 48);
        }
    }
}

/* AES-256-GCM comes with SHA-384: 48-byte secrets, 32-byte keys. */
Test(schedule, aes_256)
{
    struct secret secret = {.size = 48, .cipher = CIPHER_AES_256_GCM}, next;
    struct aead_key key;
    struct hp_key hp;

    memset(secret.bytes, 0x3c, sizeof(secret.bytes));
    schedule_keys(1, &secret, &key, &hp);
    cr_assert(key.set && key.cipher == CIPHER_AES_256_GCM && hp.cipher == CIPHER_AES_256_GCM);
    schedule_next(1, &secret, &next);
    cr_assert_eq(next.size, 48);
    cr_assert_arr_neq(next.bytes, secret.bytes, 48);
}
