/* nat_peer.c -- tests of nat/peer.c: texts of PeerIds, sets, names of bootstrap nodes. */
#include "nat/peer.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct peer_id numbered(unsigned n)
{
    struct peer_id id = {{(uint8_t)(n >> 8), (uint8_t)n}};
    return id;
}

/* PROTOCOL §2, RFC 4648 §6: against coreutils' base32. */
Test(nat_peer, text_both_ways)
{
    static const struct {
        uint8_t fill;
        const char *text;
    } rows[] = {
        {0x00, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
        {0xff, "777777777777777777777777777777777777777777777777777q"},
        {0x5a, "ljnfuws2ljnfuws2ljnfuws2ljnfuws2ljnfuws2ljnfuws2ljna"},
    };
    for (unsigned i = 0; i < 3; i++) {
        uint8_t id[32], back[32];
        char text[AQ_PEER_ID_TEXT], upper[AQ_PEER_ID_TEXT] = {0}, hex[65] = {0};
        memset(id, rows[i].fill, sizeof id);
        cr_expect_str_eq(aq_peer_id_text(id, text), rows[i].text);
        cr_assert(aq_peer_id_parse(text, back));
        cr_expect_arr_eq(back, id, 32);
        for (unsigned c = 0; text[c]; c++)
            upper[c] = (char)(text[c] >= 'a' ? text[c] - 32 : text[c]);
        memset(back, 1, 32);
        cr_assert(aq_peer_id_parse(upper, back));
        cr_expect_arr_eq(back, id, 32);
        for (unsigned c = 0; c < 32; c++)
            snprintf(hex + 2 * c, 3, c % 2 ? "%02x" : "%02X", id[c]);
        memset(back, 1, 32);
        cr_assert(aq_peer_id_parse(hex, back));
        cr_expect_arr_eq(back, id, 32);
    }
}

Test(nat_peer, every_bit_counts)
{
    char texts[256][AQ_PEER_ID_TEXT];
    for (unsigned bit = 0; bit < 256; bit++) {
        uint8_t id[32] = {0}, back[32];
        id[bit / 8] = (uint8_t)(1 << bit % 8);
        aq_peer_id_text(id, texts[bit]);
        cr_assert(aq_peer_id_parse(texts[bit], back));
        cr_expect_arr_eq(back, id, 32);
        for (unsigned i = 0; i < bit; i++)
            cr_expect_str_neq(texts[i], texts[bit]);
    }
}

/* PROTOCOL §2: one text per PeerId, so the last character's four spare bits are 0. */
Test(nat_peer, what_is_no_text)
{
    static const char good[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    uint8_t id[32] = {7}, before[32] = {7};
    char text[80];
    for (unsigned size = 0; size < 70; size++) {
        memset(text, 'a', size);
        text[size] = '\0';
        cr_expect_eq(aq_peer_id_parse(text, id), size == 52 || size == 64, "%u", size);
    }
    for (unsigned c = 1; c < 256; c++) {
        memcpy(text, good, sizeof good);
        text[20] = (char)c;
        bool in = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '2' && c <= '7');
        cr_expect_eq(aq_peer_id_parse(text, id), in, "%u", c);
        memcpy(text, good, sizeof good);
        text[51] = (char)c;
        bool last = c == 'a' || c == 'A' || c == 'q' || c == 'Q';
        cr_expect_eq(aq_peer_id_parse(text, id), last, "last %u", c);
    }
    memcpy(id, before, 32);
    cr_expect_not(aq_peer_id_parse("nonsense", id));
    cr_expect_arr_eq(id, before, 32);
}

Test(nat_peer, short_form)
{
    struct peer_id id = numbered(0x1234);
    char out[PEER_ID_SHORT + 1], text[AQ_PEER_ID_TEXT];
    cr_expect_str_eq(peer_id_short(&id, out), "ci2aaaaaaa");
    cr_expect_eq(strncmp(aq_peer_id_text(id.bytes, text), out, 10), 0);
}

Test(nat_peer, sets)
{
    struct peer_id room[100];
    struct peer_set set = {room, 0, 100};
    for (unsigned i = 0; i < 100; i++) { /* in no order */
        struct peer_id id = numbered(i * 37 % 101);
        cr_assert_not(peer_set_has(&set, &id));
        cr_assert(peer_set_add(&set, &id));
        cr_assert(peer_set_has(&set, &id));
        cr_assert(peer_set_add(&set, &id), "twice is once");
    }
    cr_expect_eq(set.count, 100);
    for (unsigned i = 1; i < 100; i++)
        cr_expect_lt(peer_id_compare(&room[i - 1], &room[i]), 0);
    struct peer_id more = numbered(5000), some = room[50];
    cr_expect_not(peer_set_add(&set, &more), "full");
    cr_expect(peer_set_remove(&set, &some));
    cr_expect_not(peer_set_remove(&set, &some));
    cr_expect_not(peer_set_has(&set, &some));
    cr_expect(peer_set_add(&set, &more));
    cr_expect_eq(set.count, 100);
}

Test(nat_peer, sets_from_text)
{
    struct peer_id room[3], id;
    char a[AQ_PEER_ID_TEXT], b[AQ_PEER_ID_TEXT], text[512];
    unsigned line;
    id = numbered(1);
    aq_peer_id_text(id.bytes, a);
    id = numbered(2);
    aq_peer_id_text(id.bytes, b);
    struct peer_set set = {room, 0, 3};
    snprintf(text, sizeof text, "# friends, all of them: nonsense\n%s, %s # and me\n\r\n", a, b);
    cr_expect(peer_set_parse(&set, text, strlen(text), &line));
    cr_expect_eq(set.count, 2);
    cr_expect(peer_set_parse(&set, "", 0, &line));
    snprintf(text, sizeof text, "%s\n\nnonsense", a);
    cr_expect_not(peer_set_parse(&set, text, strlen(text), &line));
    cr_expect_eq(line, 3);
    set = (struct peer_set){room, 0, 1};
    snprintf(text, sizeof text, "%s\n%s", a, b);
    cr_expect_not(peer_set_parse(&set, text, strlen(text), &line));
    cr_expect(line == 2 && set.count == 1);
}

#define ID "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* PROTOCOL §2: [PEERID@]HOST:PORT */
Test(nat_peer, node_names)
{
    static const struct {
        const char *text, *host;
        uint16_t port;
        bool pinned;
    } rows[] = {
        {"example.org:4433", "example.org", 4433, false},
        {ID "@example.org:1", "example.org", 1, true},
        {ID "@[2001:db8::1]:65535", "2001:db8::1", 65535, true},
        {"192.0.2.1:4433", "192.0.2.1", 4433, false},
        {"[::1]:5", "::1", 5, false},
        {"", NULL, 0, false},
        {"example.org", NULL, 0, false},
        {"example.org:", NULL, 0, false},
        {"example.org:0", NULL, 0, false},
        {"example.org:65536", NULL, 0, false},
        {"example.org:99999999999999999999", NULL, 0, false},
        {"example.org:44x", NULL, 0, false},
        {":4433", NULL, 0, false},
        {"[]:4433", NULL, 0, false},
        {"::1:4433", NULL, 0, false},
        {"@example.org:4433", NULL, 0, false},
        {"nonsense@example.org:4433", NULL, 0, false},
        {ID "@", NULL, 0, false},
        {ID "@" ID "@example.org", NULL, 0, false},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct node_name name;
        const char *why = NULL;
        bool ok = node_name_parse(rows[i].text, strlen(rows[i].text), &name, &why);
        cr_expect_eq(ok, rows[i].host != NULL, "%s", rows[i].text);
        if (!ok) {
            cr_expect_not_null(why);
            continue;
        }
        cr_expect_str_eq(name.host, rows[i].host);
        cr_expect_eq(name.port, rows[i].port);
        cr_expect_eq(name.pinned, rows[i].pinned);
    }
    char longest[300];
    struct node_name name;
    const char *why;
    memset(longest, 'h', sizeof longest);
    memcpy(longest + HOST_MAX, ":1", 2);
    cr_expect(node_name_parse(longest, HOST_MAX + 2, &name, &why));
    cr_expect_eq(strlen(name.host), HOST_MAX);
    memcpy(longest + HOST_MAX, "h:1", 3);
    cr_expect_not(node_name_parse(longest, HOST_MAX + 3, &name, &why));
}
