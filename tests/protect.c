/* tests/protect.c -- packet protection against RFC 9001's sample packets, byte for byte, and
 * against itself: every cipher, many lengths, each region of a packet altered, batches. Each test runs
 * with unbound keys, and with keys bound to each backend there is. */
#include "crypto/protect.h"
#include "crypto/prim.h"
#include "crypto/schedule.h"
#include "tests/hex.h"

#include <criterion/criterion.h>
#include <openssl/digest.h>
#include <stdlib.h>
#include <string.h>

/* BoringSSL's hooks: every allocation of its own is counted here. The size stands before the block. */
static unsigned allocations;
void *OPENSSL_memory_alloc(size_t size);
void OPENSSL_memory_free(void *block);
size_t OPENSSL_memory_get_size(void *block);
void *OPENSSL_memory_alloc(size_t size)
{
    uint8_t *block = malloc(size + 16);
    allocations++;
    if (block == NULL) {
        return NULL;
    }
    memcpy(block, &size, sizeof(size));
    return block + 16;
}
void OPENSSL_memory_free(void *block)
{
    if (block != NULL) {
        free((uint8_t *)block - 16);
    }
}
size_t OPENSSL_memory_get_size(void *block)
{
    size_t size = 0;
    if (block != NULL) {
        memcpy(&size, (uint8_t *)block - 16, sizeof(size));
    }
    return size;
}

/* What keys are bound to at the moment. */
static struct protect *bound;

static void bind_keys(struct aead_key *key, struct hp_key *hp)
{
    protect_aead_bind(key, bound);
    protect_hp_bind(hp, bound);
}

static void with_each_backend(void (*body)(void))
{
    static const char *const names[] = {"boringssl", "ipsec-mb"};
    body();
    for (unsigned i = 0; i < 2; i++) {
        if (protect_check(names[i]) == NULL) {
            struct protect p;
            size_t size = protect_size(names[i], 1);
            void *mem = aligned_alloc(64, size);
            cr_assert(mem != NULL);
            memset(mem, 0, size);
            cr_assert(protect_init(&p, mem, names[i], 1));
            bound = &p;
            body();
            bound = NULL;
            protect_close(&p);
            free(mem);
        }
    }
}

/* A test that runs as often as there are backends. */
#define EACH(name)                   \
    static void name##_body(void);   \
    Test(protect, name)              \
    {                                \
        with_each_backend(name##_body); \
    }                                \
    static void name##_body(void)

static const uint8_t sample_cid[] = {0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08};

/* RFC 9001 Appendix A.2 to A.4: payloads and protected packets. */
static const char a2_payload[] = "060040f1010000ed0303ebf8fa56f129 39b9584a3896472ec40bb863cfd3e868"
                                 "04fe3a47f06a2b69484c000004130113 02010000c000000010000e00000b6578"
                                 "616d706c652e636f6dff01000100000a 00080006001d00170018001000070005"
                                 "04616c706e0005000501000000000033 00260024001d00209370b2c9caa47fba"
                                 "baf4559fedba753de171fa71f50f1ce1 5d43e994ec74d748002b000302030400"
                                 "0d0010000e0403050306030203080408 050806002d00020101001c0002400100"
                                 "3900320408ffffffffffffffff050480 00ffff07048000ffff08011001048000"
                                 "75300901100f088394c8f03e51570806 048000ffff";
static const char a2_packet[] = "c000000001088394c8f03e5157080000 449e7b9aec34d1b1c98dd7689fb8ec11"
                                "d242b123dc9bd8bab936b47d92ec356c 0bab7df5976d27cd449f63300099f399"
                                "1c260ec4c60d17b31f8429157bb35a12 82a643a8d2262cad67500cadb8e7378c"
                                "8eb7539ec4d4905fed1bee1fc8aafba1 7c750e2c7ace01e6005f80fcb7df6212"
                                "30c83711b39343fa028cea7f7fb5ff89 eac2308249a02252155e2347b63d58c5"
                                "457afd84d05dfffdb20392844ae81215 4682e9cf012f9021a6f0be17ddd0c208"
                                "4dce25ff9b06cde535d0f920a2db1bf3 62c23e596d11a4f5a6cf3948838a3aec"
                                "4e15daf8500a6ef69ec4e3feb6b1d98e 610ac8b7ec3faf6ad760b7bad1db4ba3"
                                "485e8a94dc250ae3fdb41ed15fb6a8e5 eba0fc3dd60bc8e30c5c4287e53805db"
                                "059ae0648db2f64264ed5e39be2e20d8 2df566da8dd5998ccabdae053060ae6c"
                                "7b4378e846d29f37ed7b4ea9ec5d82e7 961b7f25a9323851f681d582363aa5f8"
                                "9937f5a67258bf63ad6f1a0b1d96dbd4 faddfcefc5266ba6611722395c906556"
                                "be52afe3f565636ad1b17d508b73d874 3eeb524be22b3dcbc2c7468d54119c74"
                                "68449a13d8e3b95811a198f3491de3e7 fe942b330407abf82a4ed7c1b311663a"
                                "c69890f4157015853d91e923037c227a 33cdd5ec281ca3f79c44546b9d90ca00"
                                "f064c99e3dd97911d39fe9c5d0b23a22 9a234cb36186c4819e8b9c5927726632"
                                "291d6a418211cc2962e20fe47feb3edf 330f2c603a9d48c0fcb5699dbfe58964"
                                "25c5bac4aee82e57a85aaf4e2513e4f0 5796b07ba2ee47d80506f8d2c25e50fd"
                                "14de71e6c418559302f939b0e1abd576 f279c4b2e0feb85c1f28ff18f58891ff"
                                "ef132eef2fa09346aee33c28eb130ff2 8f5b766953334113211996d20011a198"
                                "e3fc433f9f2541010ae17c1bf202580f 6047472fb36857fe843b19f5984009dd"
                                "c324044e847a4f4a0ab34f719595de37 252d6235365e9b84392b061085349d73"
                                "203a4a13e96f5432ec0fd4a1ee65accd d5e3904df54c1da510b0ff20dcc0c77f"
                                "cb2c0e0eb605cb0504db87632cf3d8b4 dae6e705769d1de354270123cb11450e"
                                "fc60ac47683d7b8d0f811365565fd98c 4c8eb936bcab8d069fc33bd801b03ade"
                                "a2e1fbc5aa463d08ca19896d2bf59a07 1b851e6c239052172f296bfb5e724047"
                                "90a2181014f3b94a4e97d117b4381303 68cc39dbb2d198065ae3986547926cd2"
                                "162f40a29f0c3c8745c0f50fba3852e5 66d44575c29d39a03f0cda721984b6f4"
                                "40591f355e12d439ff150aab7613499d bd49adabc8676eef023b15b65bfc5ca0"
                                "6948109f23f350db82123535eb8a7433 bdabcb909271a6ecbcb58b936a88cd4e"
                                "8f2e6ff5800175f113253d8fa9ca8885 c2f552e657dc603f252e1a8e308f76f0"
                                "be79e2fb8f5d5fbbe2e30ecadd220723 c8c0aea8078cdfcb3868263ff8f09400"
                                "54da48781893a7e49ad5aff4af300cd8 04a6b6279ab3ff3afb64491c85194aab"
                                "760d58a606654f9f4400e8b38591356f bf6425aca26dc85244259ff2b19c41b9"
                                "f96f3ca9ec1dde434da7d2d392b905dd f3d1f9af93d1af5950bd493f5aa731b4"
                                "056df31bd267b6b90a079831aaf579be 0a39013137aac6d404f518cfd4684064"
                                "7e78bfe706ca4cf5e9c5453e9f7cfd2b 8b4c8d169a44e55c88d4a9a7f9474241"
                                "e221af44860018ab0856972e194cd934";
static const char a3_payload[] = "02000000000600405a020000560303ee fce7f7b37ba1d1632e96677825ddf739"
                                 "88cfc79825df566dc5430b9a045a1200 130100002e00330024001d00209d3c94"
                                 "0d89690b84d08a60993c144eca684d10 81287c834d5311bcf32bb9da1a002b00"
                                 "020304";
static const char a3_packet[] = "cf000000010008f067a5502a4262b500 4075c0d95a482cd0991cd25b0aac406a"
                                "5816b6394100f37a1c69797554780bb3 8cc5a99f5ede4cf73c3ec2493a1839b3"
                                "dbcba3f6ea46c5b7684df3548e7ddeb9 c3bf9c73cc3f3bded74b562bfb19fb84"
                                "022f8ef4cdd93795d77d06edbb7aaf2f 58891850abbdca3d20398c276456cbc4"
                                "2158407dd074ee";
static const char a4_packet[] = "ff000000010008f067a5502a4262b574 6f6b656e04a265ba2eff4d829058fb3f"
                                "0f2496ba";

/* The keys of one side of the sample connection. */
static void sample_keys(bool server, struct aead_key *key, struct hp_key *hp)
{
    struct secret c, s;
    schedule_initial(1, sample_cid, sizeof(sample_cid), &c, &s);
    schedule_keys(1, server ? &s : &c, key, hp);
    bind_keys(key, hp);
}

/* Seals header + payload and compares; opens what came out and compares. */
static void check_sample(bool server, const char *header, const char *payload, size_t payload_size,
                         const char *packet, uint64_t number, uint8_t pn_size)
{
    uint8_t plain[1400] = {0}, work[1400] = {0}, expected[1400];
    struct aead_key key;
    struct hp_key hp;

    size_t header_size = hex_bytes(header, plain, sizeof(plain));
    hex_bytes(payload, plain + header_size, sizeof(plain) - header_size);
    size_t size = hex_bytes(packet, expected, sizeof(expected));
    cr_assert_eq(size, header_size + payload_size + AEAD_TAG_SIZE);
    sample_keys(server, &key, &hp);

    memcpy(work, plain, header_size + payload_size);
    struct sealed v = {.data = work,
                       .number = number,
                       .size = (uint32_t)size,
                       .pn_offset = (uint16_t)(header_size - pn_size),
                       .pn_size = pn_size};
    protect_seal(&key, &hp, &v, 1);
    cr_assert_arr_eq(work, expected, size);

    struct sealed r = {.data = work, .size = (uint32_t)size, .pn_offset = v.pn_offset};
    protect_unmask(&hp, &r, 1);
    cr_assert(r.ok);
    cr_assert_eq(r.pn_size, pn_size);
    cr_assert_eq(r.number, number);
    protect_open(&key, &r, 1);
    cr_assert(r.ok);
    cr_assert_arr_eq(work, plain, header_size + payload_size);
}

/* RFC 9001 §5.4.3, Appendix A.2 */
/* The mask of a long header: RFC 9001 §5.4.1. */
EACH(client_initial)
{
    check_sample(false, "c300000001088394c8f03e5157080000449e00000002", a2_payload, 1162, a2_packet,
                 2, 4);

    struct aead_key key;
    struct hp_key hp;
    uint8_t sample[16], mask[5], expected[5];
    sample_keys(false, &key, &hp);
    hex_bytes("d1b1c98dd7689fb8ec11d242b123dc9b", sample, sizeof(sample));
    hex_bytes("437b9aec36", expected, sizeof(expected));
    protect_mask(&hp, sample, mask);
    cr_assert_arr_eq(mask, expected, 5);
}

/* RFC 9001 Appendix A.3 */
EACH(server_initial)
{
    check_sample(true, "c1000000010008f067a5502a4262b50040750001", a3_payload, 99, a3_packet, 1, 2);
}

/* RFC 9001 §5.8, Appendix A.4: the last 16 bytes are the tag. */
Test(protect, retry_tag)
{
    uint8_t packet[64], tag[16];
    size_t size = hex_bytes(a4_packet, packet, sizeof(packet));

    schedule_retry_tag(1, sample_cid, sizeof(sample_cid), packet, size - 16, tag);
    cr_assert_arr_eq(tag, packet + size - 16, 16);
    /* Another original connection id, one bit of the packet: another tag. */
    schedule_retry_tag(1, sample_cid, sizeof(sample_cid) - 1, packet, size - 16, tag);
    cr_assert_arr_neq(tag, packet + size - 16, 16);
    packet[20] ^= 1;
    schedule_retry_tag(1, sample_cid, sizeof(sample_cid), packet, size - 16, tag);
    cr_assert_arr_neq(tag, packet + size - 16, 16);
}

Test(protect, retry_tag_of_largest_datagram)
{
    static uint8_t packet[65535];
    uint8_t a[16], b[16];

    schedule_retry_tag(1, NULL, 0, packet, sizeof(packet), a);
    packet[sizeof(packet) - 1] = 1;
    schedule_retry_tag(1, NULL, 0, packet, sizeof(packet), b);
    cr_assert_arr_neq(a, b, 16);
}

/* RFC 9001 §5.4.4, Appendix A.5 */
EACH(chacha20_short_header)
{
    struct secret secret = {.size = 32, .cipher = CIPHER_CHACHA20}, next;
    struct aead_key key;
    struct hp_key hp;
    uint8_t packet[21], expected[32], sample[16], mask[5];

    hex_bytes("9ac312a7f877468ebe69422748ad00a1 5443f18203a07d6060f688f30f21632b", secret.bytes,
              32);
    schedule_keys(1, &secret, &key, &hp);
    bind_keys(&key, &hp);
    hex_bytes("e0459b3474bdd0e44a41c144", expected, 12);
    cr_assert_arr_eq(key.iv, expected, 12);

    hex_bytes("5e5cd55c41f69080575d7999c25a5bfb", sample, 16);
    hex_bytes("aefefe7d03", expected, 5);
    protect_mask(&hp, sample, mask);
    cr_assert_arr_eq(mask, expected, 5);

    hex_bytes("4200bff401", packet, sizeof(packet));
    struct sealed v = {
        .data = packet, .number = 654360564, .size = 21, .pn_offset = 1, .pn_size = 3};
    protect_seal(&key, &hp, &v, 1);
    hex_bytes("4cfe4189655e5cd55c41f69080575d7999c25a5bfb", expected, sizeof(expected));
    cr_assert_arr_eq(packet, expected, 21);

    struct sealed r = {.data = packet, .size = 21, .pn_offset = 1};
    protect_unmask(&hp, &r, 1);
    cr_assert(r.ok);
    cr_assert_eq(r.number, 49140);
    r.number = 654360564;
    protect_open(&key, &r, 1);
    cr_assert(r.ok);
    cr_assert_eq(packet[4], 1);

    schedule_next(1, &secret, &next);
    hex_bytes("1223504755036d556342ee9361d25342 1a826c9ecdf3c7148684b36b714881f9", expected, 32);
    cr_assert_arr_eq(next.bytes, expected, 32);
}

static void cipher_keys(enum cipher cipher, struct aead_key *key, struct hp_key *hp)
{
    uint8_t raw[32], iv[12];
    for (unsigned i = 0; i < 32; i++) {
        raw[i] = (uint8_t)(i * 7 + (unsigned)cipher);
    }
    memcpy(iv, raw + 5, 12);
    protect_aead_init(key, cipher, raw, iv);
    protect_hp_init(hp, cipher, raw);
    bind_keys(key, hp);
}

/* A packet with a header of 9 bytes before its number. */
enum {
    OFFSET = 9
};
static uint32_t make_packet(uint8_t *out, bool long_header, uint8_t pn_size, uint64_t number,
                            uint32_t payload)
{
    memset(out, 0x5a, OFFSET);
    out[0] = (uint8_t)((long_header ? 0xc0 : 0x40) | (pn_size - 1));
    for (unsigned k = 0; k < pn_size; k++) {
        out[OFFSET + k] = (uint8_t)(number >> (8 * (pn_size - 1u - k)));
    }
    for (uint32_t i = 0; i < payload; i++) {
        out[OFFSET + pn_size + i] = (uint8_t)(i * 31 + payload);
    }
    return OFFSET + pn_size + payload + AEAD_TAG_SIZE;
}

static bool open_one(const struct aead_key *key, const struct hp_key *hp, uint8_t *packet,
                     uint32_t size, uint64_t number)
{
    struct sealed r = {.data = packet, .size = size, .pn_offset = OFFSET};
    protect_unmask(hp, &r, 1);
    r.number = number;
    protect_open(key, &r, 1);
    return r.ok;
}

/* RFC 9001 §5. */
EACH(every_length_and_cipher)
{
    static uint8_t plain[1600], work[1600];
    const uint64_t number = 0x123456789abcull;

    for (unsigned cipher = CIPHER_AES_128_GCM; cipher <= CIPHER_CHACHA20; cipher++) {
        struct aead_key key;
        struct hp_key hp;
        cipher_keys((enum cipher)cipher, &key, &hp);
        for (uint32_t payload = 0; payload <= 1472; payload++) {
            uint8_t pn_size = (uint8_t)(payload % 4 + 1);
            if (payload + pn_size < 4) {
                continue; /* too short for a sample: the sender pads */
            }
            uint32_t size = make_packet(plain, payload % 2 == 0, pn_size, number, payload);
            memcpy(work, plain, size);
            struct sealed v = {.data = work,
                               .number = number,
                               .size = size,
                               .pn_offset = OFFSET,
                               .pn_size = pn_size};
            protect_seal(&key, &hp, &v, 1);
            if (payload >= 16) {
                cr_assert_arr_neq(work + OFFSET + pn_size, plain + OFFSET + pn_size, payload);
            }
            cr_assert(open_one(&key, &hp, work, size, number), "cipher %u payload %u", cipher,
                      payload);
            cr_assert_arr_eq(work, plain, size - AEAD_TAG_SIZE);
        }
    }
}

/* RFC 9001 §5.3: header, number, payload and tag are all authenticated, and the number is in the
 * nonce. */
EACH(tampering_fails)
{
    for (unsigned cipher = CIPHER_AES_128_GCM; cipher <= CIPHER_CHACHA20; cipher++) {
        struct aead_key key;
        struct hp_key hp;
        uint8_t sealed[200], work[200];
        cipher_keys((enum cipher)cipher, &key, &hp);
        uint32_t size = make_packet(sealed, true, 2, 77, 100);
        struct sealed v = {
            .data = sealed, .number = 77, .size = size, .pn_offset = OFFSET, .pn_size = 2};
        protect_seal(&key, &hp, &v, 1);
        for (uint32_t at = 0; at < size; at++) {
            memcpy(work, sealed, size);
            work[at] ^= 0x01;
            cr_assert_not(open_one(&key, &hp, work, size, 77), "cipher %u byte %u", cipher, at);
        }
        memcpy(work, sealed, size);
        cr_assert_not(open_one(&key, &hp, work, size, 78), "another number");
        memcpy(work, sealed, size);
        cr_assert_not(open_one(&key, &hp, work, size - 1, 77), "cut");
        memcpy(work, sealed, size);
        cr_assert(open_one(&key, &hp, work, size, 77));
    }
}

/* The last 16 bytes stay as they came even when opening fails: they may be a stateless reset token.
 */
EACH(failed_open_keeps_the_last_16_bytes)
{
    struct aead_key key;
    struct hp_key hp;
    uint8_t packet[64], last[16];

    cipher_keys(CIPHER_AES_128_GCM, &key, &hp);
    for (unsigned i = 0; i < sizeof(packet); i++) {
        packet[i] = (uint8_t)(i * 13 + 1);
    }
    packet[0] = 0x40;
    memcpy(last, packet + sizeof(packet) - 16, 16);
    cr_assert_not(open_one(&key, &hp, packet, sizeof(packet), 5));
    cr_assert_arr_eq(packet + sizeof(packet) - 16, last, 16);
}

/* RFC 9001 §5.4.2: 4 bytes for the longest number and 16 of sample must be there. */
EACH(too_short_for_a_sample)
{
    struct aead_key key;
    struct hp_key hp;
    uint8_t packet[OFFSET + 20], before[OFFSET + 20];

    cipher_keys(CIPHER_AES_128_GCM, &key, &hp);
    memset(packet, 0x47, sizeof(packet));
    memcpy(before, packet, sizeof(packet));
    for (uint32_t size = 0; size < sizeof(packet); size++) {
        struct sealed r = {.data = packet, .size = size, .pn_offset = OFFSET, .ok = true};
        protect_unmask(&hp, &r, 1);
        cr_assert_not(r.ok);
        protect_open(&key, &r, 1); /* leaves it alone */
        cr_assert_not(r.ok);
        cr_assert_arr_eq(packet, before, sizeof(packet));
    }
    struct sealed r = {.data = packet, .size = sizeof(packet), .pn_offset = OFFSET};
    protect_unmask(&hp, &r, 1);
    cr_assert(r.ok);
}

/* More packets than masks are computed at a time, some of them bad in between. */
EACH(batch)
{
    enum {
        N = 150,
        SLOT = 256
    };
    static uint8_t bytes[N][SLOT], plain[N][SLOT];
    struct sealed v[N];

    for (unsigned cipher = CIPHER_AES_128_GCM; cipher <= CIPHER_CHACHA20; cipher++) {
        struct aead_key key;
        struct hp_key hp;
        cipher_keys((enum cipher)cipher, &key, &hp);
        for (unsigned i = 0; i < N; i++) {
            uint32_t size = make_packet(bytes[i], false, 2, 1000 + i, 20 + i);
            memcpy(plain[i], bytes[i], size);
            v[i] = (struct sealed){.data = bytes[i],
                                   .number = 1000 + i,
                                   .size = size,
                                   .pn_offset = OFFSET,
                                   .pn_size = 2};
        }
        protect_seal(&key, &hp, v, N);
        /* One packet sealed alone is the same as in a batch. */
        uint8_t alone[SLOT];
        memcpy(alone, plain[70], SLOT);
        struct sealed one = v[70];
        one.data = alone;
        protect_seal(&key, &hp, &one, 1);
        cr_assert_arr_eq(alone, bytes[70], v[70].size);

        for (unsigned i = 0; i < N; i++) {
            v[i] = (struct sealed){.data = bytes[i], .size = v[i].size, .pn_offset = OFFSET};
            if (i % 7 == 3) {
                bytes[i][v[i].size - 20] ^= 0x80; /* ciphertext, behind the sample */
            }
            if (i % 11 == 5) {
                v[i].size = OFFSET + 19; /* no sample */
            }
        }
        protect_unmask(&hp, v, N);
        for (unsigned i = 0; i < N; i++) {
            cr_assert_eq(v[i].ok, i % 11 != 5);
            if (v[i].ok) {
                cr_assert_eq(v[i].pn_size, 2);
                cr_assert_eq(v[i].number, 1000 + i);
            }
        }
        protect_open(&key, v, N);
        for (unsigned i = 0; i < N; i++) {
            bool good = i % 7 != 3 && i % 11 != 5;
            cr_assert_eq(v[i].ok, good, "packet %u", i);
            if (good) {
                cr_assert_arr_eq(bytes[i], plain[i], v[i].size - AEAD_TAG_SIZE);
            }
        }
    }
    protect_seal(&(struct aead_key){.set = true}, &(struct hp_key){.set = true}, NULL, 0);
}

/* RFC 9001 §6.6 */
Test(protect, limits)
{
    cr_assert_eq(protect_confidentiality_limit(CIPHER_AES_128_GCM), 1ull << 23);
    cr_assert_eq(protect_confidentiality_limit(CIPHER_AES_256_GCM), 1ull << 23);
    cr_assert_eq(protect_confidentiality_limit(CIPHER_CHACHA20), 1ull << 62);
    cr_assert_eq(protect_integrity_limit(CIPHER_AES_128_GCM), 1ull << 52);
    cr_assert_eq(protect_integrity_limit(CIPHER_AES_256_GCM), 1ull << 52);
    cr_assert_eq(protect_integrity_limit(CIPHER_CHACHA20), 1ull << 36);
}

EACH(wipe)
{
    struct aead_key key;
    struct hp_key hp;
    static const struct aead_key no_key;
    static const struct hp_key no_hp;

    cipher_keys(CIPHER_AES_256_GCM, &key, &hp);
    protect_aead_wipe(&key);
    protect_hp_wipe(&hp);
    cr_assert_arr_eq(key.raw, no_key.raw, sizeof(key.raw));
    cr_assert_arr_eq(hp.raw, no_hp.raw, sizeof(hp.raw));
    cr_assert_not(key.set || hp.set);
    protect_aead_wipe(&key); /* again does no harm */
    protect_hp_wipe(&hp);
}

/* Once a thread has made its first keys, nothing here allocates: no packet, no forged packet, no key
 * update, no token. */
EACH(nothing_is_allocated)
{
    uint8_t packet[200], work[200], out[64] = {0}, raw[32] = {1};
    struct secret client, server;
    struct aead_key key;
    struct hp_key hp;
    struct block_key block;

    schedule_initial(1, sample_cid, sizeof(sample_cid), &client, &server);
    allocations = 0;
    schedule_keys(1, &client, &key, &hp);
    cr_assert_leq(allocations, 2, "the thread's error queue, and no more");
    allocations = 0;
    for (unsigned round = 0; round < 100; round++) {
        schedule_next(1, &client, &client);
        schedule_keys(1, &client, &key, &hp);
        bind_keys(&key, &hp);
        uint32_t size = make_packet(packet, false, 2, round, 100);
        struct sealed v = {
            .data = packet, .number = round, .size = size, .pn_offset = OFFSET, .pn_size = 2};
        protect_seal(&key, &hp, &v, 1);
        memcpy(work, packet, size);
        cr_assert(open_one(&key, &hp, work, size, round));
        cr_assert_not(open_one(&key, &hp, packet, size, round + 1));
        prim_hmac(raw, 32, raw, 32, out);
        prim_chacha20(raw, raw, 0, out, 64);
        prim_seal(raw, raw, raw, 32, raw, 32, out);
        cr_assert(prim_open(raw, raw, raw, 32, out, 48, work));
        cr_assert_not(prim_open(raw, raw, raw, 31, out, 48, work));
        prim_block_init(&block, raw);
        prim_block_encrypt(&block, out, out);
        schedule_retry_tag(1, NULL, 0, raw, 32, out);
    }
    cr_assert_eq(allocations, 0);
    /* The counter counts: what is known to allocate does. */
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    cr_assert_geq(allocations, 1);
    EVP_MD_CTX_free(ctx);
}
