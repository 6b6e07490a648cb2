/* pto.c -- tests of core/conn.c, core/apply.c (conn_probe) and core/send.c for probe timeouts: what
 * a probe carries, how timeouts back off, and that the idle timeout leaves room for them. */
#include "tests/pair.h"

static void stream_write(struct pair *p, aq_stream stream, size_t size)
{
    static const uint8_t bytes[4096];
    struct aq_iov iov = {bytes, size};
    cr_assert_eq(aq_stream_write(p->client.ep, stream, &iov, 1, 0), (int64_t)size);
    side_turn(&p->client, p->now_us);
}

static aq_stream stream_open(struct pair *p)
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
    aq_stream stream = stream_open(p);
    p->client.mute = true;
    stream_write(p, stream, 1000);
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
    aq_stream stream = stream_open(p);
    p->client.mute = true;
    cr_assert_eq(aq_ping(p->client.ep, p->client.conn, p->now_us), AQ_OK);
    side_turn(&p->client, p->now_us);
    for (unsigned i = 0; i < 3; i++)
        stream_write(p, stream, 1000);
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
    aq_stream stream = stream_open(p);
    p->client.mute = true;
    stream_write(p, stream, 100);
    run_to_pto(p, before + 1);
    stream_write(p, stream, 200);
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
    aq_stream stream = stream_open(p);
    p->client.mute = true;
    stream_write(p, stream, 1000);
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
    stream_write(p, stream, 1000);
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
    aq_stream stream = stream_open(p);
    p->client.mute = true;
    stream_write(p, stream, 100);
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
