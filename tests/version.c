/* tests/version.c -- the table of versions; version 2 against RFC 9369 Appendix A. */
#include "core/packet.h"
#include "crypto/prim.h"
#include "crypto/schedule.h"
#include "tests/hex.h"

#include <criterion/criterion.h>
#include <string.h>

static const uint8_t cid[] = {0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08};

/* clang-format off */
static const char client_payload[] =
    "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69"
    "484c00000413011302010000c000000010000e00000b6578616d706c652e636f6dff01000100000a"
    "00080006001d0017001800100007000504616c706e000500050100000000003300260024001d0020"
    "9370b2c9caa47fbabaf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b000302030400"
    "0d0010000e0403050306030203080408050806002d00020101001c00024001003900320408ffffff"
    "ffffffffff05048000ffff07048000ffff0801100104800075300901100f088394c8f03e51570806"
    "048000ffff";
static const char client_packet[] =
    "d76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485dd04de806071bf03"
    "dceebfa162e75d6c96058bdbfb127cdfcbf903388e99ad049f9a3dd4425ae4d0992cfff18ecf0fdb"
    "5a842d09747052f17ac2053d21f57c5d250f2c4f0e0202b70785b7946e992e58a59ac52dea6774d4"
    "f03b55545243cf1a12834e3f249a78d395e0d18f4d766004f1a2674802a747eaa901c3f10cda5500"
    "cb9122faa9f1df66c392079a1b40f0de1c6054196a11cbea40afb6ef5253cd6818f6625efce3b6de"
    "f6ba7e4b37a40f7732e093daa7d52190935b8da58976ff3312ae50b187c1433c0f028edcc4c2838b"
    "6a9bfc226ca4b4530e7a4ccee1bfa2a3d396ae5a3fb512384b2fdd851f784a65e03f2c4fbe11a53c"
    "7777c023462239dd6f7521a3f6c7d5dd3ec9b3f233773d4b46d23cc375eb198c63301c21801f6520"
    "bcfb7966fc49b393f0061d974a2706df8c4a9449f11d7f3d2dcbb90c6b877045636e7c0c0fe4eb0f"
    "697545460c806910d2c355f1d253bc9d2452aaa549e27a1fac7cf4ed77f322e8fa894b6a83810a34"
    "b361901751a6f5eb65a0326e07de7c1216ccce2d0193f958bb3850a833f7ae432b65bc5a53975c15"
    "5aa4bcb4f7b2c4e54df16efaf6ddea94e2c50b4cd1dfe06017e0e9d02900cffe1935e0491d77ffb4"
    "fdf85290fdd893d577b1131a610ef6a5c32b2ee0293617a37cbb08b847741c3b8017c25ca9052ca1"
    "079d8b78aebd47876d330a30f6a8c6d61dd1ab5589329de714d19d61370f8149748c72f132f0fc99"
    "f34d766c6938597040d8f9e2bb522ff99c63a344d6a2ae8aa8e51b7b90a4a806105fcbca31506c44"
    "6151adfeceb51b91abfe43960977c87471cf9ad4074d30e10d6a7f03c63bd5d4317f68ff325ba3bd"
    "80bf4dc8b52a0ba031758022eb025cdd770b44d6d6cf0670f4e990b22347a7db848265e3e5eb72df"
    "e8299ad7481a408322cac55786e52f633b2fb6b614eaed18d703dd84045a274ae8bfa73379661388"
    "d6991fe39b0d93debb41700b41f90a15c4d526250235ddcd6776fc77bc97e7a417ebcb31600d01e5"
    "7f32162a8560cacc7e27a096d37a1a86952ec71bd89a3e9a30a2a26162984d7740f81193e8238e61"
    "f6b5b984d4d3dfa033c1bb7e4f0037febf406d91c0dccf32acf423cfa1e7071010d3f270121b493c"
    "e85054ef58bada42310138fe081adb04e2bd901f2f13458b3d6758158197107c14ebb193230cd115"
    "7380aa79cae1374a7c1e5bbcb80ee23e06ebfde206bfb0fcbc0edc4ebec309661bdd908d532eb0c6"
    "adc38b7ca7331dce8dfce39ab71e7c32d318d136b6100671a1ae6a6600e3899f31f0eed19e3417d1"
    "34b90c9058f8632c798d4490da4987307cba922d61c39805d072b589bd52fdf1e86215c2d54e6670"
    "e07383a27bbffb5addf47d66aa85a0c6f9f32e59d85a44dd5d3b22dc2be80919b490437ae4f36a0a"
    "e55edf1d0b5cb4e9a3ecabee93dfc6e38d209d0fa6536d27a5d6fbb17641cde27525d61093f1b280"
    "72d111b2b4ae5f89d5974ee12e5cf7d5da4d6a31123041f33e61407e76cffcdcfd7e19ba58cf4b53"
    "6f4c4938ae79324dc402894b44faf8afbab35282ab659d13c93f70412e85cb199a37ddec60054547"
    "3cfb5a05e08d0b209973b2172b4d21fb69745a262ccde96ba18b2faa745b6fe189cf772a9f84cbfc";
static const char server_payload[] =
    "02000000000600405a020000560303eefce7f7b37ba1d1632e96677825ddf73988cfc79825df566d"
    "c5430b9a045a1200130100002e00330024001d00209d3c940d89690b84d08a60993c144eca684d10"
    "81287c834d5311bcf32bb9da1a002b00020304";
static const char server_packet[] =
    "dc6b3343cf0008f067a5502a4262b5004075d92faaf16f05d8a4398c47089698baeea26b91eb761d"
    "9b89237bbf87263017915358230035f7fd3945d88965cf17f9af6e16886c61bfc703106fbaf3cb4c"
    "fa52382dd16a393e42757507698075b2c984c707f0a0812d8cd5a6881eaf21ceda98f4bd23f6fe1a"
    "3e2c43edd9ce7ca84bed8521e2e140";
static const char retry_packet[] =
    "cf6b3343cf0008f067a5502a4262b5746f6b656ec8646ce8bfe33952d955543665dcc7b6";
/* clang-format on */

static void expect(const struct secret *secret, const char *label, const char *hex)
{
    uint8_t out[48], expected[48];
    size_t size = hex_bytes(hex, expected, sizeof expected);
    schedule_expand_label(secret, label, out, size);
    cr_expect_arr_eq(out, expected, size, "%s", label);
}

/* RFC 9000 §15: reserved numbers are no version; nor is what nobody speaks. */
Test(version, numbers)
{
    static const uint32_t reserved[] = {0x0a0a0a0a, 0x1a2a3a4a, 0xfafafafa};
    for (unsigned i = 0; i < 3; i++) {
        cr_expect(version_is_reserved(reserved[i]));
        cr_expect_null(version_find(reserved[i]));
    }
    static const uint32_t others[] = {0, 2, QUIC_V2 + 1, 0xff00001d};
    for (unsigned i = 0; i < 4; i++) {
        cr_expect(!version_is_reserved(others[i]));
        cr_expect_null(version_find(others[i]));
    }
    cr_expect_str_eq(aq_version_name(AQ_QUIC_V1), "v1");
    cr_expect_str_eq(aq_version_name(AQ_QUIC_V2), "v2");
    cr_expect_str_eq(aq_version_name(AQ_QUIC_V2_DRAFT), "v2draft");
    cr_expect_str_eq(aq_version_name(7), "unknown");
}

/* RFC 9369 §3.1: the number is the hash of a text; §3.3.1: so is the salt; §3.3.3: and what the
 * Retry key is made of. */
Test(version, made_of_texts)
{
    const struct version *v = version_of(QUIC_V2);
    struct secret secret = {.size = 32};
    uint8_t hash[32], out[16];
    prim_sha256((const uint8_t *)"QUICv2 version number", 21, hash);
    cr_expect_eq((uint32_t)hash[0] << 24 | (uint32_t)hash[1] << 16 | (uint32_t)hash[2] << 8 | hash[3],
                 QUIC_V2);
    prim_sha256((const uint8_t *)"QUICv2 salt", 11, hash);
    cr_expect_arr_eq(hash, v->salt, 20);
    prim_sha256((const uint8_t *)"QUICv2 retry secret", 19, secret.bytes);
    schedule_expand_label(&secret, "quicv2 key", out, 16);
    cr_expect_arr_eq(out, v->retry_key, 16);
    schedule_expand_label(&secret, "quicv2 iv", out, 12);
    cr_expect_arr_eq(out, v->retry_nonce, 12);
}

/* RFC 9369 §3.2: the types of long headers; the parser reads what the writer wrote, and each
 * version its own. */
Test(version, types)
{
    static const uint8_t bits[3][4] = {{0, 1, 2, 3}, {1, 2, 3, 0}, {1, 2, 3, 0}};
    static const uint32_t numbers[] = {AQ_QUIC_V1, AQ_QUIC_V2, AQ_QUIC_V2_DRAFT};
    struct cid id = {.size = 8, .bytes = "abcdefgh"};
    for (unsigned v = 0; v < 3; v++) {
        for (enum packet_type type = PACKET_INITIAL; type < PACKET_RETRY; type++) {
            uint8_t out[100] = {0};
            struct packet_head h;
            struct writer w = writer_make(out, sizeof out);
            size_t at = packet_write_long(&w, type, numbers[v], &id, &id, NULL, 2);
            packet_patch_length(out, at, 40);
            cr_expect_eq(out[0] >> 4 & 3, bits[v][type]);
            cr_assert_eq(packet_parse(out, at + 40, 8, &h), AQ_OK);
            cr_expect(h.type == type && h.version == numbers[v] && h.size == at + 40);
        }
    }
}

/* RFC 9369 §3.3.1, §3.3.2, A.1; the key update's label, A.5. */
Test(version, keys)
{
    struct secret client, server, next, secret = {.size = 32, .cipher = CIPHER_CHACHA20};
    uint8_t expected[32];
    schedule_initial(QUIC_V2, cid, sizeof cid, &client, &server);
    hex_bytes("14ec9d6eb9fd7af83bf5a668bc17a7e283766aade7ecd0891f70f9ff7f4bf47b", expected, 32);
    cr_expect_arr_eq(client.bytes, expected, 32);
    hex_bytes("0263db1782731bf4588e7e4d93b7463907cb8cd8200b5da55a8bd488eafc37c1", expected, 32);
    cr_expect_arr_eq(server.bytes, expected, 32);
    const struct version *v = version_of(QUIC_V2);
    expect(&client, v->key, "8b1a0bc121284290a29e0971b5cd045d");
    expect(&client, v->iv, "91f73e2351d8fa91660e909f");
    expect(&client, v->hp, "45b95e15235d6f45a6b19cbcb0294ba9");
    expect(&server, v->key, "82db637861d55e1d011f19ea71d5d2a7");
    expect(&server, v->iv, "dd13c276499c0249d3310652");
    expect(&server, v->hp, "edf6d05c83121201b436e16877593c3a");
    hex_bytes("9ac312a7f877468ebe69422748ad00a15443f18203a07d6060f688f30f21632b", secret.bytes, 32);
    expect(&secret, v->key, "3bfcddd72bcf02541d7fa0dd1f5f9eeea817e09a6963a0e6c7df0f9a1bab90f2");
    expect(&secret, v->iv, "a6b5bc6ab7dafce30ffff5dd");
    expect(&secret, v->hp, "d659760d2ba434a226fd37b35c69e2da8211d10c4f12538787d65645d5d1b8e2");
    schedule_next(QUIC_V2, &secret, &next);
    hex_bytes("c69374c49e3d2a9466fa689e49d476db5d0dfbc87d32ceeaa6343fd0ae4c7d88", expected, 32);
    cr_expect_arr_eq(next.bytes, expected, 32);
}

/* Seals header and payload and compares; opens what came out and compares. */
static void sample(bool of_server, const char *header, const char *payload, size_t payload_size,
                   const char *packet, uint64_t number)
{
    uint8_t plain[1400] = {0}, work[1400], expected[1400];
    struct secret client, server;
    struct aead_key key;
    struct hp_key hp;
    struct packet_head h;
    uint8_t pn_size = number == 2 ? 4 : 2;
    size_t head = hex_bytes(header, plain, sizeof plain);
    hex_bytes(payload, plain + head, sizeof plain - head);
    size_t size = hex_bytes(packet, expected, sizeof expected);
    cr_assert_eq(size, head + payload_size + AEAD_TAG_SIZE);
    schedule_initial(QUIC_V2, cid, sizeof cid, &client, &server);
    schedule_keys(QUIC_V2, of_server ? &server : &client, &key, &hp);
    memcpy(work, plain, sizeof work);
    struct sealed s = {.data = work,
                       .number = number,
                       .size = (uint32_t)size,
                       .pn_offset = (uint16_t)(head - pn_size),
                       .pn_size = pn_size};
    protect_seal(&key, &hp, &s, 1);
    cr_assert_arr_eq(work, expected, size);
    cr_assert_eq(packet_parse(work, size, 8, &h), AQ_OK);
    cr_expect(h.type == PACKET_INITIAL && h.version == QUIC_V2 && h.pn_offset == head - pn_size);
    s = (struct sealed){.data = work, .size = (uint32_t)size, .pn_offset = s.pn_offset, .ok = true};
    protect_unmask(&hp, &s, 1);
    protect_open(&key, &s, 1);
    cr_assert(s.ok);
    cr_expect_arr_eq(work, plain, head + payload_size);
}

/* RFC 9369 A.2, A.3 */
Test(version, initials)
{
    sample(false, "d36b3343cf088394c8f03e5157080000449e00000002", client_payload, 1162,
           client_packet, 2);
    sample(true, "d16b3343cf0008f067a5502a4262b50040750001", server_payload,
           (sizeof server_payload - 1) / 2, server_packet, 1);
}

/* RFC 9369 §3.3.3, A.4; another version's key does not do. */
Test(version, retry)
{
    uint8_t bytes[64], out[64];
    struct packet_head h;
    struct cid odcid = {.size = 8}, none = {0}, scid = {.size = 8};
    struct aq_iov token = {(const uint8_t *)"token", 5};
    size_t size = hex_bytes(retry_packet, bytes, sizeof bytes);
    memcpy(odcid.bytes, cid, 8);
    hex_bytes("f067a5502a4262b5", scid.bytes, 8);
    cr_assert_eq(packet_parse(bytes, size, 8, &h), AQ_OK);
    cr_expect(h.type == PACKET_RETRY && h.version == QUIC_V2 && cid_equal(&h.scid, &scid));
    cr_expect(packet_check_retry(bytes, size, QUIC_V2, &odcid));
    cr_expect(!packet_check_retry(bytes, size, QUIC_V1, &odcid));
    cr_expect(!packet_check_retry(bytes, size, AQ_QUIC_V2_DRAFT, &odcid));
    cr_assert_eq(packet_write_retry(out, sizeof out, QUIC_V2, &none, &scid, &odcid, &token, 0x0f),
                 size);
    cr_expect_arr_eq(out, bytes, size);
}
