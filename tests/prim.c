/* tests/prim.c -- the primitives against published vectors. */
#include "crypto/prim.h"
#include "tests/hex.h"

#include <criterion/criterion.h>
#include <string.h>

static void expect(const uint8_t *got, const char *hex)
{
    uint8_t expected[256];
    size_t size = hex_bytes(hex, expected, sizeof(expected));
    cr_assert_arr_eq(got, expected, size, "%s", hex);
}

/* The authors' vectors: key 00..0f, message 00, 01, 02 ... (SipHash-2-4, appendix A and vectors.h).
 */
Test(prim, siphash)
{
    const uint64_t key[2] = {0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull};
    uint8_t in[16];

    for (unsigned i = 0; i < sizeof(in); i++) {
        in[i] = (uint8_t)i;
    }
    cr_assert_eq(prim_siphash(key, in, 0), 0x726fdb47dd0e0e31ull);
    cr_assert_eq(prim_siphash(key, in, 1), 0x74f839c593dc67fdull);
    cr_assert_eq(prim_siphash(key, in, 15), 0xa129ca6149be45e5ull);
    const uint64_t other[2] = {0x0706050403020100ull, 0x0f0e0d0c0b0a0909ull};
    cr_assert_neq(prim_siphash(other, in, 15), 0xa129ca6149be45e5ull);
}

/* FIPS 180-2, appendix B */
Test(prim, sha256)
{
    uint8_t out[32];

    prim_sha256((const uint8_t *)"abc", 3, out);
    expect(out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    prim_sha256((const uint8_t *)"", 0, out);
    expect(out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    prim_sha256((const uint8_t *)"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
                out);
    expect(out, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

/* RFC 4231 §4: test cases 1, 2, 4, 6 and 7; the last two have keys longer than a block. */
/* RFC 2104 §2, with the vectors of RFC 4231. */
Test(prim, hmac)
{
    uint8_t key[131], out[32], data[50];

    memset(key, 0x0b, 20);
    prim_hmac(key, 20, (const uint8_t *)"Hi There", 8, out);
    expect(out, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    prim_hmac((const uint8_t *)"Jefe", 4, (const uint8_t *)"what do ya want for nothing?", 28, out);
    expect(out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    for (unsigned i = 0; i < 25; i++) {
        key[i] = (uint8_t)(i + 1);
    }
    memset(data, 0xcd, sizeof(data));
    prim_hmac(key, 25, data, sizeof(data), out);
    expect(out, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b");

    memset(key, 0xaa, sizeof(key));
    prim_hmac(key, sizeof(key),
              (const uint8_t *)"Test Using Larger Than Block-Size Key - Hash Key First", 54, out);
    expect(out, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    static const char text[] =
        "This is a test using a larger than block-size key and a larger than block-size data. "
        "The key needs to be hashed before being used by the HMAC algorithm.";
    prim_hmac(key, sizeof(key), (const uint8_t *)text, sizeof(text) - 1, out);
    expect(out, "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");

    /* No key, no message: HMAC-SHA256 of nothing. */
    prim_hmac(NULL, 0, (const uint8_t *)"", 0, out);
    expect(out, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

/* FIPS 197, appendix C.1 */
Test(prim, block)
{
    struct block_key key;
    uint8_t raw[16], in[16], out[16], back[16];

    hex_bytes("000102030405060708090a0b0c0d0e0f", raw, 16);
    hex_bytes("00112233445566778899aabbccddeeff", in, 16);
    prim_block_init(&key, raw);
    prim_block_encrypt(&key, in, out);
    expect(out, "69c4e0d86a7b0430d8cdb78070b4c55a");
    prim_block_decrypt(&key, out, back);
    cr_assert_arr_eq(back, in, 16);
    prim_block_encrypt(&key, in, in); /* in place */
    cr_assert_arr_eq(in, out, 16);
    prim_block_decrypt(&key, in, in);
    cr_assert_arr_eq(in, back, 16);
}

/* RFC 8439 §2.3.2 (one block) and appendix A.1 (all zero) */
/* RFC 8439 §2.3. */
Test(prim, chacha20)
{
    uint8_t key[32], nonce[12], out[200], more[200];

    for (unsigned i = 0; i < 32; i++) {
        key[i] = (uint8_t)i;
    }
    hex_bytes("000000090000004a00000000", nonce, 12);
    prim_chacha20(key, nonce, 1, out, 64);
    expect(out, "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
                "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e");

    memset(key, 0, 32);
    memset(nonce, 0, 12);
    prim_chacha20(key, nonce, 0, out, 64);
    expect(out, "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
                "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586");

    /* The stream goes on where the counter says. */
    prim_chacha20(key, nonce, 0, out, 200);
    prim_chacha20(key, nonce, 1, more, 136);
    cr_assert_arr_eq(out + 64, more, 136);
    prim_chacha20(key, nonce, 0, out, 0);
}

/* The GCM specification's test cases 1, 2 and 4 (AES-128). */
Test(prim, seal_open)
{
    uint8_t key[16] = {0}, nonce[12] = {0}, ad[20], in[64] = {0}, out[80], back[64];

    prim_seal(key, nonce, NULL, 0, NULL, 0, out);
    expect(out, "58e2fccefa7e3061367f1d57a4e7455a");
    cr_assert(prim_open(key, nonce, NULL, 0, out, 16, back));
    prim_seal(key, nonce, NULL, 0, in, 16, out);
    expect(out, "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf");

    hex_bytes("feffe9928665731c6d6a8f9467308308", key, 16);
    hex_bytes("cafebabefacedbaddecaf888", nonce, 12);
    hex_bytes("feedfacedeadbeeffeedfacedeadbeefabaddad2", ad, 20);
    hex_bytes("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
              "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
              in, sizeof(in));
    prim_seal(key, nonce, ad, 20, in, 60, out);
    expect(out, "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
                "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091"
                "5bc94fbc3221a5db94fae95ae7121a47");
    cr_assert(prim_open(key, nonce, ad, 20, out, 76, back));
    cr_assert_arr_eq(back, in, 60);

    for (unsigned i = 0; i < 76; i++) {
        out[i] ^= 0x10;
        cr_assert_not(prim_open(key, nonce, ad, 20, out, 76, back));
        out[i] ^= 0x10;
    }
    cr_assert_not(prim_open(key, nonce, ad, 19, out, 76, back));
    for (size_t size = 0; size < 76; size++) {
        cr_assert_not(prim_open(key, nonce, ad, 20, out, size, back));
    }
}

Test(prim, equal_and_wipe)
{
    uint8_t a[8] = {1, 2, 3, 4, 5, 6, 7, 8}, b[8] = {1, 2, 3, 4, 5, 6, 7, 9};
    static const uint8_t zero[8];

    cr_assert(prim_equal(a, b, 7));
    cr_assert_not(prim_equal(a, b, 8));
    cr_assert(prim_equal(a, b, 0));
    prim_wipe(a, 8);
    cr_assert_arr_eq(a, zero, 8);
    prim_wipe(NULL, 0);
}
