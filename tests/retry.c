/* retry.c -- what a client makes of a Retry (RFC 9000 §17.2.5): one that it follows, and those that
 * it discards. What a server does is in accept.c. */
#include "tests/pair.h"

#include "core/endpoint.h"
#include "core/frame.h"
#include "core/packet.h"

struct initial {
    struct packet_head head;
    uint64_t number;
    uint8_t plain[1500]; /* the payload */
    size_t size;
};

/* What anybody can read of a client's Initial that goes to keyed_by. */
static struct initial initial_read(const struct pair_datagram *d, const struct cid *keyed_by)
{
    struct initial i = {.size = 0};
    struct secret client, server;
    struct aead_key key;
    struct hp_key hp;
    static uint8_t copy[PAIR_DATAGRAM];
    memcpy(copy, d->data, d->size);
    cr_assert_eq(packet_parse(copy, d->size, 8, &i.head), AQ_OK);
    cr_assert_eq(i.head.type, PACKET_INITIAL);
    schedule_initial(QUIC_V1, keyed_by->bytes, keyed_by->size, &client, &server);
    schedule_keys(QUIC_V1, &client, &key, &hp);
    struct sealed s = {.data = copy,
                       .size = (uint32_t)i.head.size,
                       .pn_offset = (uint16_t)i.head.pn_offset,
                       .ok = true};
    protect_unmask(&hp, &s, 1);
    cr_assert(s.ok);
    protect_open(&key, &s, 1);
    cr_assert(s.ok, "not under the keys of that id");
    size_t begin = s.pn_offset + s.pn_size;
    i.number = s.number;
    i.size = s.size - AEAD_TAG_SIZE - begin;
    memcpy(i.plain, copy + begin, i.size);
    return i;
}

/* The CRYPTO bytes at the beginning of the stream. */
static struct frame first_crypto(const struct initial *i)
{
    struct reader r = reader_make(i->plain, i->size);
    struct frame f = {0};
    while (reader_left(&r)) {
        cr_assert_eq(frame_decode(&r, &f), AQ_OK);
        if (f.type == FRAME_CRYPTO && f.crypto.offset == 0)
            return f;
    }
    cr_assert_fail("no CRYPTO frame");
    return f;
}

struct client {
    struct pair *p;
    struct initial first; /* before any Retry */
    struct cid id;        /* its first destination */
};

static struct client client_new(void)
{
    struct client c = {.p = pair_new(NULL, NULL)};
    struct pair_datagram d;
    pair_dial(c.p);
    side_turn(&c.p->client, c.p->now_us);
    cr_assert(side_take(&c.p->client, &d));
    struct packet_head head;
    cr_assert_eq(packet_parse(d.data, d.size, 8, &head), AQ_OK);
    c.id = head.dcid;
    c.first = initial_read(&d, &c.id);
    c.p->client.outs = 0;
    return c;
}

static const struct cid retry_id = {.size = 8, .bytes = "retry id"};
static const struct cid other_id = {.size = 8, .bytes = "other id"};

enum how {
    GOOD,
    TAG,     /* its integrity tag is wrong */
    EMPTY,   /* no token */
    SAME_ID, /* the Source Connection ID is the client's first destination */
    VERSION, /* of another version, which is not the client's first */
};

static void retry_give(struct client *c, enum how how, const struct cid *scid)
{
    uint8_t out[200];
    struct aq_iov token = {(const uint8_t *)"token", 5};
    uint32_t version = how == VERSION ? 0x6b3343cf : QUIC_V1;
    size_t size = packet_write_retry(out, sizeof out, version, &c->first.head.scid,
                                     how == SAME_ID ? &c->id : scid, &c->id, &token, 5);
    cr_assert(size > 0);
    if (how == EMPTY) { /* with a tag that is right */
        size -= 5;
        schedule_retry_tag(version, c->id.bytes, c->id.size, out, size - 16, out + size - 16);
    }
    out[size - 1] ^= how == TAG;
    side_recv(&c->p->client, &c->p->server.addr, out, size, c->p->now_us);
    side_turn(&c->p->client, c->p->now_us);
}

/* The client's next Initial, now or when its timer says so. */
static struct pair_datagram next_initial(struct client *c)
{
    struct pair_datagram d;
    for (unsigned i = 0; i < 100 && !c->p->client.outs; i++) {
        c->p->now_us += 100000;
        side_turn(&c->p->client, c->p->now_us);
    }
    cr_assert(side_take(&c->p->client, &d));
    c->p->client.outs = 0;
    return d;
}

/* RFC 9000 §8.1.2, RFC 9000 §17.2.5.1, RFC 9000 §17.2.5.2, RFC 9000 §17.2.5.3: the same ClientHello
 * goes again to the Retry's id, with its token, from the same id, and packet numbers go on; so does
 * every Initial after that. RFC 9000 §8.1.3: the Retry's token replaces any other. */
Test(retry, followed)
{
    struct client c = client_new();
    struct frame hello = first_crypto(&c.first);
    retry_give(&c, GOOD, &retry_id);
    uint64_t number = c.first.number;
    for (unsigned i = 0; i < 3; i++) {
        struct pair_datagram d = next_initial(&c);
        struct initial again = initial_read(&d, &retry_id);
        cr_expect(cid_equal(&again.head.dcid, &retry_id));
        cr_expect(cid_equal(&again.head.scid, &c.first.head.scid), "its own id is another");
        cr_expect(again.head.token_size == 5 && memcmp(again.head.token, "token", 5) == 0);
        cr_expect_gt(again.number, number, "numbers begin anew");
        number = again.number;
        cr_expect_geq(d.size, 1200);
        struct frame f = first_crypto(&again);
        cr_assert_eq(f.crypto.size, hello.crypto.size);
        cr_expect(memcmp(f.crypto.data, hello.crypto.data, hello.crypto.size) == 0,
                  "another ClientHello");
    }
    pair_free(c.p);
}

/* RFC 9000 §17.2.5.1, RFC 9000 §17.2.5.2: discarded, each for its reason; the client goes on as if
 * it had not come. RFC 9000 §7.2: until a packet came, all go to the same id. */
Test(retry, discarded)
{
    for (enum how how = TAG; how <= VERSION; how++) {
        struct client c = client_new();
        retry_give(&c, how, &retry_id);
        cr_expect_eq(c.p->client.outs, 0, "%d: answered at once", (int)how);
        struct pair_datagram d = next_initial(&c);
        struct initial again = initial_read(&d, &c.id);
        cr_expect(cid_equal(&again.head.dcid, &c.id) && again.head.token_size == 0, "%d", (int)how);
        pair_free(c.p);
    }
}

/* RFC 9000 §17.2.5.2: at most one Retry is followed; RFC 9000 §7.2: its id is the first change. */
Test(retry, only_the_first)
{
    struct client c = client_new();
    retry_give(&c, GOOD, &retry_id);
    (void)next_initial(&c);
    retry_give(&c, GOOD, &other_id);
    cr_expect_eq(c.p->client.outs, 0, "a second one was followed");
    struct pair_datagram d = next_initial(&c);
    struct initial again = initial_read(&d, &retry_id);
    cr_expect(cid_equal(&again.head.dcid, &retry_id));
    pair_free(c.p);
}

/* RFC 9000 §17.2.5.2: none after a packet of the server. */
Test(retry, not_after_an_answer)
{
    struct client c = client_new();
    struct pair *p = pair_connected(NULL, NULL);
    struct client done = {.p = p, .first = c.first, .id = c.id};
    uint64_t sent = p->client.sent;
    retry_give(&done, GOOD, &retry_id);
    cr_expect_eq(p->client.sent, sent);
    pair_run(p, 1000000);
    cr_expect_not(p->client.closed);
    pair_free(p);
    pair_free(c.p);
}
