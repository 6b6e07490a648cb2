/* pto.c -- tests of core/conn.c, core/records.c (conn_probe) and core/send.c for probe timeouts:
 * what a probe carries, in the handshake too, how timeouts back off, that nothing follows from one
 * that was too early, and that the idle timeout leaves room for them. */
#include "core/endpoint.h"
#include "tests/pair.h"

static void write_some(struct pair *p, aq_stream stream, size_t size)
{
    static const uint8_t bytes[4096];
    struct aq_iov iov = {bytes, size};
    cr_assert_eq(aq_stream_write(p->client.ep, stream, &iov, 1, 0), (int64_t)size);
    side_turn(&p->client, p->now_us);
}

static aq_stream open_one(struct pair *p)
{
    aq_stream stream;
    cr_assert_eq(aq_stream_open(p->client.ep, p->client.conn, true, NULL, &stream), AQ_OK);
    return stream;
}

/* Bytes of the client's stream that the server can read. */
static uint64_t server_readable(struct pair *p)
{
    struct aq_iov iov[8];
    uint64_t size = 0;
    bool fin;
    int n = p->server.stream ? aq_stream_peek(p->server.ep, p->server.stream, iov, 8, &fin) : 0;
    for (int i = 0; i < n; i++)
        size += iov[i].size;
    return size;
}

/* Runs until the client's PTO count is n; its datagrams are lost until just before. */
static void run_to_pto(struct pair *p, uint64_t n)
{
    for (unsigned i = 0; i < 100000 && pair_stats(&p->client).pto_count < n; i++) {
        p->client.mute = pair_stats(&p->client).pto_count + 1 < n;
        pair_run(p, 1000);
    }
    cr_assert_eq(pair_stats(&p->client).pto_count, n);
    p->client.mute = false;
}

/* RFC 9002 §6.2.4: the probe brings the lost bytes, not a PING after which they would still have to
 * be found lost. RFC 9002 §6.2: the timeout itself declares nothing lost; RFC 9002 §7.5: and probes
 * are in flight like all else. */
Test(pto, data)
{
    struct pair *p = pair_connected(NULL, NULL);
    struct aq_conn_stats start = pair_stats(&p->client);
    aq_stream stream = open_one(p);
    p->client.mute = true;
    write_some(p, stream, 1000);
    uint64_t in_flight = pair_stats(&p->client).in_flight_bytes;
    run_to_pto(p, start.pto_count + 1);
    cr_expect_eq(pair_stats(&p->client).lost_packets, start.lost_packets);
    cr_expect_gt(pair_stats(&p->client).in_flight_bytes, in_flight);
    pair_run(p, PAIR_DELAY_US);
    cr_expect_eq(server_readable(p), 1000);
    pair_free(p);
}

/* RFC 9002 §6.2.4: also where a packet before them held nothing that is sent again. */
Test(pto, data_behind_pings)
{
    struct aq_config client;
    pair_config(&client, false);
    client.keep_alive_us = 50000;
    struct pair *p = pair_connected(&client, NULL);
    uint64_t before = pair_stats(&p->client).pto_count;
    aq_stream stream = open_one(p);
    p->client.mute = true;
    cr_assert_eq(aq_ping(p->client.ep, p->client.conn, p->now_us), AQ_OK);
    side_turn(&p->client, p->now_us);
    for (unsigned i = 0; i < 3; i++)
        write_some(p, stream, 1000);
    run_to_pto(p, before + 1);
    pair_run(p, PAIR_DELAY_US);
    cr_expect_geq(server_readable(p), 2000, "two probes, two packets' bytes: %llu",
                  (unsigned long long)server_readable(p));
    pair_free(p);
}

/* RFC 9002 §6.2.4: new data goes with the probe, too, where what was in flight leaves room. */
Test(pto, new_data)
{
    struct pair *p = pair_connected(NULL, NULL);
    uint64_t before = pair_stats(&p->client).pto_count;
    aq_stream stream = open_one(p);
    p->client.mute = true;
    write_some(p, stream, 100);
    run_to_pto(p, before + 1);
    write_some(p, stream, 200);
    pair_run(p, PAIR_DELAY_US);
    cr_expect_eq(server_readable(p), 300);
    pair_free(p);
}

/* RFC 9002 §6.2.1: each timeout without an answer doubles the next; an acknowledgement ends that.
 */
Test(pto, backoff)
{
    struct pair *p = pair_connected(NULL, NULL);
    uint64_t count = pair_stats(&p->client).pto_count, at[6];
    aq_stream stream = open_one(p);
    p->client.mute = true;
    write_some(p, stream, 1000);
    uint64_t begin = p->now_us;
    for (unsigned i = 0; i < 6; i++) {
        while (pair_stats(&p->client).pto_count == count)
            pair_run(p, 100);
        at[i] = p->now_us - begin;
        begin = p->now_us;
        count++;
    }
    for (unsigned i = 1; i < 6; i++) {
        cr_expect_geq(at[i], 2 * at[i - 1] - 300, "timeout %u", i);
        cr_expect_leq(at[i], 2 * at[i - 1] + 300, "timeout %u", i);
    }
    run_to_pto(p, count + 1);
    pair_run(p, 100000);
    cr_expect_eq(server_readable(p), 1000);
    p->client.mute = true;
    write_some(p, stream, 1000);
    begin = p->now_us;
    count = pair_stats(&p->client).pto_count;
    while (pair_stats(&p->client).pto_count == count)
        pair_run(p, 100);
    cr_expect_leq(p->now_us - begin, 2 * at[0], "as at first");
    pair_free(p);
}

/* RFC 9000 §10.1: an idle timeout shorter than three PTOs is three PTOs, so that more than one
 * probe goes before it; and it runs from the first ack-eliciting packet sent since one came, not
 * the last. */
Test(pto, idle_timeout)
{
    struct aq_config client;
    pair_config(&client, false);
    client.idle_timeout_us = 1000;
    struct pair *p = pair_connected(&client, NULL);
    uint64_t before = pair_stats(&p->client).pto_count;
    struct aq_conn_stats stats = pair_stats(&p->client);
    uint64_t var_us = 4 * stats.rtt_var_us > 1000 ? 4 * stats.rtt_var_us : 1000;
    uint64_t pto_us = stats.rtt_us + var_us + 25000;
    cr_assert(!p->client.closed);
    aq_stream stream = open_one(p);
    p->client.mute = true;
    write_some(p, stream, 100);
    uint64_t begin = p->now_us;
    while (!p->client.closed && p->now_us < begin + 10000000) {
        if (pair_stats(&p->client).pto_count > before + 2)
            break;
        pair_run(p, 100);
    }
    cr_expect(p->client.closed);
    cr_expect_eq(p->client.close.by, AQ_BY_TIMEOUT);
    cr_expect_geq(p->now_us - begin, 3 * pto_us - 200);
    cr_expect_leq(p->now_us - begin, 3 * pto_us + 200);
    pair_free(p);
}

/* RFC 9002 §7.5, §7.6: a timeout is no sign of congestion. When all that it took for lost is
 * acknowledged after all, nothing was lost, the window is what it was, and the next timeout is as
 * far as the first. */
Test(pto, spurious)
{
    struct pair *p = pair_connected(NULL, NULL);
    aq_stream stream = open_one(p);
    for (unsigned i = 0; i < 40; i++) {
        write_some(p, stream, 4096);
        pair_run(p, 2 * PAIR_DELAY_US);
    }
    pair_run(p, 1000000);
    struct aq_conn_stats before = pair_stats(&p->client);
    for (unsigned i = 0; i < 4; i++)
        write_some(p, stream, 1000);
    uint64_t end_us = p->now_us + PAIR_DELAY_US;
    for (; p->now_us < end_us; p->now_us += 1000) /* all goes to the server, nothing comes back */
        side_turn(&p->client, p->now_us);
    pair_deliver(p, &p->client, &p->server);
    side_turn(&p->server, p->now_us);
    for (unsigned i = 0; i < 10000 && pair_stats(&p->client).pto_count < before.pto_count + 2;
         i++) {
        p->now_us += 1000;
        side_turn(&p->client, p->now_us);
    }
    cr_assert_eq(pair_stats(&p->client).pto_count, before.pto_count + 2);
    pair_run(p, 1000000);
    struct aq_conn_stats after = pair_stats(&p->client);
    cr_expect_eq(after.lost_packets, before.lost_packets);
    cr_expect_geq(after.cwnd_bytes, before.cwnd_bytes);
    cr_expect_eq(after.ssthresh_bytes, before.ssthresh_bytes);
    cr_expect_eq(after.in_flight_bytes, 0);
    cr_expect_eq(after.pto_count, before.pto_count + 2);
    cr_expect_eq(endpoint_find_conn((struct endpoint *)p->client.ep, p->client.conn)->pto_count, 0,
                 "no backoff is left");
    pair_free(p);
}

/* ---- in the handshake ---- */

/* RFC 9002 §6.2.4: what was in flight at all levels goes in each of both probes: one of them is
 * enough. */
Test(pto, handshake)
{
    for (unsigned lost = 0; lost < 2; lost++) {
        struct pair *p = pair_new(NULL, NULL);
        pair_dial(p);
        p->server.mute = true; /* its first flight */
        pair_run(p, 500000);
        p->client.mute = true;
        p->server.mute = false;
        p->server.lose_nth = p->server.sent + 1 + lost;
        uint64_t sent = p->server.sent;
        while (p->server.sent == sent && p->now_us < 9000000)
            pair_run(p, 1000);
        cr_assert_eq(p->server.sent, sent + 2, "two probes");
        pair_run(p, 2 * PAIR_DELAY_US);
        cr_expect_eq(side_count(&p->client, AQ_EVENT_CONNECTED), 1, "one of them said it all");
        p->client.mute = false;
        pair_run(p, 3000000);
        cr_expect_eq(side_count(&p->client, AQ_EVENT_CONFIRMED), 1);
        pair_free(p);
    }
}

static struct conn *inside(struct side *s)
{
    struct conn *c = endpoint_find_conn((struct endpoint *)s->ep, s->conn);
    cr_assert_not_null(c);
    return c;
}

static uint64_t loss_deadline(struct pair *p, struct conn *c)
{
    conn_schedule(c, p->now_us);
    return c->deadline[TIMER_LOSS];
}

/* RFC 9002 §6.2.1: of Initial and Handshake packets in flight, those whose timeout is earlier
 * count. */
Test(pto, earlier_of_two_spaces)
{
    struct pair *p = pair_new(NULL, NULL);
    pair_dial(p);
    p->server.mute = true; /* its flight is in both */
    pair_run(p, 2 * PAIR_DELAY_US);
    struct conn *c = inside(&p->server);
    struct sent_ring *initial = &conn_space(c, SPACE_INITIAL)->sent;
    struct sent_ring *handshake = &conn_space(c, SPACE_HANDSHAKE)->sent;
    cr_assert(initial->eliciting_in_flight && handshake->eliciting_in_flight);
    uint64_t both = loss_deadline(p, c), at = initial->last_eliciting_us;
    cr_assert_eq(handshake->last_eliciting_us, at);
    initial->last_eliciting_us = at - 500;
    cr_expect_eq(loss_deadline(p, c), both - 500);
    cr_expect_eq(c->loss_space, SPACE_INITIAL);
    initial->last_eliciting_us = at;
    handshake->last_eliciting_us = at - 700;
    cr_expect_eq(loss_deadline(p, c), both - 700);
    cr_expect_eq(c->loss_space, SPACE_HANDSHAKE);
    pair_free(p);
}

/* RFC 9002 §6.2.1: what is in flight in 1-RTT packets sets no timer before the handshake is
 * confirmed: its end could not read them yet. Then it does. */
Test(pto, application_waits_for_confirmation)
{
    struct pair *p = pair_new(NULL, NULL);
    pair_dial(p);
    while (side_count(&p->client, AQ_EVENT_CONNECTED) == 0 && p->now_us < 9000000) {
        p->client.mute = p->client.sent > 0; /* the hello arrives, the Finished does not */
        pair_run(p, 1000);
    }
    write_some(p, open_one(p), 1000);
    struct conn *c = inside(&p->client);
    cr_assert_eq(c->state, CONN_CONNECTED);
    cr_assert(c->app.sent.eliciting_in_flight);
    cr_assert(conn_space(c, SPACE_HANDSHAKE)->sent.eliciting_in_flight);
    uint64_t handshake = loss_deadline(p, c), at = c->app.sent.last_eliciting_us;
    cr_expect_eq(c->loss_space, SPACE_HANDSHAKE);
    c->app.sent.last_eliciting_us = at - 900000; /* however long ago it was */
    cr_expect_eq(loss_deadline(p, c), handshake);
    cr_expect_eq(c->loss_space, SPACE_HANDSHAKE);
    c->app.sent.last_eliciting_us = at;
    p->client.mute = false;
    pair_run(p, 3000000);
    write_some(p, p->client.stream ? p->client.stream : open_one(p), 100);
    cr_assert_eq(c->state, CONN_CONFIRMED);
    cr_expect_lt(loss_deadline(p, c), AQ_NEVER);
    cr_expect_eq(c->loss_space, SPACE_APP);
    pair_free(p);
}

/* RFC 9002 §6.2.1: while a packet waits for its time to be lost, no probe timeout is set. */
Test(pto, not_beside_the_loss_timer)
{
    struct pair *p = pair_connected(NULL, NULL);
    aq_stream stream = open_one(p);
    struct conn *c = inside(&p->client);
    p->client.lose_nth = p->client.sent + 1;
    write_some(p, stream, 1000);
    write_some(p, stream, 1000);
    write_some(p, stream, 1000); /* every second one is acknowledged at once */
    while (c->app.sent.loss_time_us == AQ_NEVER && p->now_us < 9000000)
        pair_run(p, 100);
    cr_assert_lt(c->app.sent.loss_time_us, AQ_NEVER);
    cr_assert(c->app.sent.eliciting_in_flight);
    c->app.sent.last_eliciting_us = 0; /* a probe would be long due */
    cr_expect_eq(loss_deadline(p, c), c->app.sent.loss_time_us);
    cr_expect_gt(c->app.sent.loss_time_us, p->now_us);
    pair_free(p);
}

/* Takes the Initial packets out of what a side has sent. */
static void without_initials(struct side *s)
{
    struct packet_head h;

    for (unsigned i = 0; i < s->outs; i++) {
        struct pair_datagram *d = &s->out[i];
        cr_assert_eq(packet_parse_greased(d->data, d->size, 8, &h), AQ_OK);
        if (h.type == PACKET_INITIAL) {
            d->size -= (uint32_t)h.size;
            memmove(d->data, d->data + h.size, d->size);
        }
    }
}

/* RFC 9002 §7.4: a Handshake packet that is lost behind one that came counts as any other does. */
Test(pto, losses_of_the_handshake_count)
{
    struct pair *p = pair_new(NULL, NULL);
    p->server.lose_nth = 1; /* the flight; probes bring it again */
    pair_dial(p);
    pair_run(p, 2 * PAIR_DELAY_US);
    struct aq_conn_stats before = pair_stats(&p->server);
    while (side_count(&p->client, AQ_EVENT_CONNECTED) == 0 && p->now_us < 9000000)
        pair_run(p, 100);
    without_initials(&p->client);
    pair_run(p, PAIR_DELAY_US);
    struct aq_conn_stats after = pair_stats(&p->server);
    cr_expect_gt(after.lost_packets, before.lost_packets);
    cr_expect_lt(after.cwnd_bytes, before.cwnd_bytes);
    pair_free(p);
}

/* RFC 9002 §6.2.3: a client that gets Handshake packets without the Initial packet before them says
 * its hello again at once, and the server its flight, before any timeout. */
Test(pto, hurry)
{
    struct pair *p = pair_new(NULL, NULL);
    pair_dial(p);
    pair_run(p, PAIR_DELAY_US);
    without_initials(&p->server);
    pair_run(p, 500000);
    cr_expect_eq(side_count(&p->client, AQ_EVENT_CONFIRMED), 1);
    cr_expect_eq(side_count(&p->server, AQ_EVENT_CONFIRMED), 1);
    cr_expect_eq(pair_stats(&p->client).pto_count, 0);
    pair_free(p);
}

/* RFC 9002 §6.2.3: a few times: who says it for ever is not answered for ever but by timeouts. */
Test(pto, hurry_is_bounded)
{
    struct pair *p = pair_new(NULL, NULL);
    pair_dial(p);
    p->client.mute = true;
    pair_run(p, 1000);
    struct conn *client = endpoint_find_conn((struct endpoint *)p->client.ep, p->client.conn);
    cr_assert_not_null(client);
    uint64_t sent = p->client.sent;
    for (unsigned i = 0; i < 20; i++) {
        conn_hurry(client, p->now_us);
        pair_run(p, 1000);
    }
    cr_expect_gt(p->client.sent, sent);
    cr_expect_leq(p->client.sent, sent + 3);
    pair_free(p);
}

/* RFC 9002 §6.3: a Retry tells how long the way is: what is lost behind it goes again after three
 * times that, not after a second. */
Test(pto, after_a_retry)
{
    struct aq_config server;
    pair_config(&server, true);
    server.retry = AQ_RETRY_ALWAYS;
    struct pair *p = pair_new(NULL, &server);
    p->client.lose_nth = 2;
    pair_dial(p);
    pair_run(p, 600000);
    cr_expect_eq(side_stats(&p->server).retries, 1);
    cr_expect_eq(side_count(&p->client, AQ_EVENT_CONFIRMED), 1);
    cr_expect_eq(pair_stats(&p->client).pto_count, 1);
    pair_free(p);
}
