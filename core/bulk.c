/* bulk.c -- a row of packets that carry new bytes of one stream and nothing else: what a connection
 * sends most of when speed matters.
 *
 * Such packets differ in their number, their offset and their bytes. So what send.c and fill.c ask
 * for each packet (what is owed, which stream, how much it and the window allow) is asked once for
 * the row; and the bytes are not copied: the cipher reads them where they are (struct sealed's
 * tail). The layout is the same in each packet, a packet is always filled to its end:
 *
 *     first byte, connection id | packet number | STREAM type, id, offset | bytes | tag
 *
 * Whatever is not plain (an ACK, a control frame, lost bytes, a FIN, the last bytes that do not
 * fill a packet) is left to the packet that send.c builds next. */
#include "core/endpoint.h"
#include "core/frame.h"
#include "core/num.h"

/* What all packets of a row have in common. */
struct bulk {
    uint8_t head[1 + CID_MAX];
    uint8_t head_size, pn_size;
    uint8_t frame[1 + 8];
    uint8_t frame_size, offset_size;
    uint32_t payload; /* stream bytes of a packet */
    uint16_t mtu;
    uint8_t mark;        /* SENT_ECT */
    const uint8_t *span; /* the bytes of the next packet, span_size of them in one piece */
    uint64_t span_size;
};

/* The layout for up to max packets. False: no room for a byte. */
static bool bulk_layout(struct bulk *b, const struct conn *c, const struct stream *s, unsigned max)
{
    const struct path *p = conn_path(c);
    struct writer w = writer_make(b->head, sizeof b->head);
    b->pn_size = (uint8_t)packet_number_size(c->app.sent.next + max - 1, c->app.sent.largest_acked);
    b->head_size = (uint8_t)packet_write_short(&w, cid_peer_active(&c->peer_cids), false,
                                               c->keys.tx_phase & 1, b->pn_size);
    w = writer_make(b->frame, sizeof b->frame);
    write_u8(&w, FRAME_STREAM | FRAME_STREAM_OFF);
    write_varint(&w, s->id);
    b->frame_size = (uint8_t)(w.p - b->frame);
    b->offset_size = (uint8_t)varint_size(s->sendq.sent + (uint64_t)max * p->mtu.size);
    b->mtu = p->mtu.size;
    b->mark = ecn_marks(&p->ecn) ? SENT_ECT : 0;
    b->span_size = 0;
    uint32_t around = AEAD_TAG_SIZE;
    around += b->head_size + (uint32_t)b->pn_size + b->frame_size + b->offset_size;
    if (around >= p->mtu.size)
        return false;
    b->payload = p->mtu.size - around;
    return true;
}

/* How many packets of the layout may go in a row. */
static unsigned bulk_count(struct conn *c, const struct bulk *b, uint32_t slot, uint64_t plain,
                           unsigned max)
{
    const struct path *p = conn_path(c);
    uint64_t n = min_u64(max, plain / b->payload);
    n = min_u64(n, cc_room(&p->cc) / b->mtu);
    n = min_u64(n, pace_room(&p->pace) / b->mtu);
    n = min_u64(n, c->skip_at - c->app.sent.next); /* RFC 9000 §21.4: send.c skips */
    if (streams_shares(&c->streams, &c->ep->streams, slot))
        n = min_u64(n, TURN_PACKETS - c->streams.turn);
    return (unsigned)n;
}

/* A packet's bytes, where they stand in one piece; NULL: they do not. */
static const uint8_t *bulk_tail(struct bulk *b, const struct stream *s, uint64_t offset)
{
    if (!b->span_size)
        b->span = sendq_span(&s->sendq, offset, &b->span_size);
    if (b->span_size < b->payload) {
        b->span_size = 0;
        return NULL;
    }
    const uint8_t *tail = b->span;
    b->span += b->payload;
    b->span_size -= b->payload;
    return tail;
}

/* One packet: all but the stream's bytes that can be read where they are. */
static void bulk_write(struct bulk *b, const struct stream *s, uint64_t offset, struct sealed *v)
{
    struct writer w = writer_make(v->data, b->mtu - AEAD_TAG_SIZE);
    write_bytes(&w, b->head, b->head_size);
    packet_write_number(&w, v->number, b->pn_size);
    write_bytes(&w, b->frame, b->frame_size);
    write_varint_sized(&w, offset, b->offset_size);
    assert(!w.bad && writer_left(&w) == b->payload);
    v->tail = bulk_tail(b, s, offset);
    v->tail_size = v->tail ? b->payload : 0;
    if (!v->tail)
        sendq_copy(&s->sendq, offset, w.p, b->payload);
}

static void bulk_commit(struct conn *c, const struct bulk *b, uint32_t slot, uint64_t offset,
                        uint64_t now)
{
    struct sent sent = {.time_us = now,
                        .size = b->mtu,
                        .flags = SENT_ELICITING | SENT_IN_FLIGHT | b->mark,
                        .path = c->active,
                        .phase = (uint8_t)c->keys.tx_phase};
    struct record *r = sent_record(&c->app.sent, RECORD_STREAM);
    r->index = slot;
    r->value = offset;
    r->size = (uint16_t)b->payload;
    trace_packet_sent(&c->tracer, SPACE_APP, c->app.sent.next, b->mtu, sent.flags, now);
    trace_stream_frame(&c->tracer, FRAME_STREAM | FRAME_STREAM_OFF,
                       stream_at(&c->ep->streams, slot)->id, offset, b->payload, now);
    sent_commit(&c->app.sent, &sent);
}

/* What n packets change beside the sent ring. */
static void bulk_account(struct conn *c, const struct bulk *b, uint32_t slot, unsigned n,
                         uint64_t now)
{
    struct stream *s = stream_at(&c->ep->streams, slot);
    struct path *p = conn_path(c);
    uint32_t size = n * b->payload;
    struct stream_chunk chunk = {.offset = s->sendq.sent, .size = size, .is_new = size};
    stream_on_sent(s, &c->flow, &chunk);
    s->records += n;
    cc_on_sent(&p->cc, (uint64_t)n * b->mtu, now);
    pace_on_sent(&p->pace, (uint64_t)n * b->mtu);
    conn_sent(c, n, true, now);
    streams_turn(&c->streams, &c->ep->streams, slot, n, stream_wants_send(s, &c->flow));
}

unsigned bulk_fill(struct conn *c, uint8_t *out, unsigned max, struct sealed *v, uint64_t now)
{
    uint32_t slot = streams_next_send(&c->streams, &c->ep->streams);
    struct bulk b;
    if (slot == POOL_NONE || !max)
        return 0;
    struct stream *s = stream_at(&c->ep->streams, slot);
    uint64_t plain = stream_plain(s, &c->flow);
    struct out o = {.path = conn_path(c), .space = &c->app, .id = SPACE_APP, .now = now};
    /* RFC 9002 §6.2.4: probes carry what was in flight, and go one at a time. */
    if (plain < conn_path(c)->mtu.size || c->app.probes || !frames_only_streams(c, &o)
        || !bulk_layout(&b, c, s, max))
        return 0;
    unsigned n = bulk_count(c, &b, slot, plain, max);
    if (!n || sent_reserve(&c->app.sent, &c->quota, n, n) != AQ_OK)
        return 0;
    uint32_t stride = b.mtu + path_prefix(conn_path(c));
    for (unsigned i = 0; i < n; i++, out += stride) {
        uint64_t offset = s->sendq.sent + (uint64_t)i * b.payload;
        v[i] = (struct sealed){.data = out,
                               .number = c->app.sent.next,
                               .size = b.mtu,
                               .pn_offset = b.head_size,
                               .pn_size = b.pn_size,
                               .ok = true};
        bulk_write(&b, s, offset, &v[i]);
        if (c->peer.grease_bit)
            out[0] ^= endpoint_grease_bit(c->ep);
        bulk_commit(c, &b, slot, offset, now);
    }
    bulk_account(c, &b, slot, n, now);
    return n;
}
