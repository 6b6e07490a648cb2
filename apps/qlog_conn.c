/* qlog_conn.c -- trace events of one connection become records of qlog 0.3.
 *
 *     RS { "time": ms, "name": "category:event", "data": { ... } } LF
 *
 * Names and fields are those of the drafts of qlog 0.3 (main schema and QUIC events), because that
 * is what viewers read; times are milliseconds since the connection's first event. What takes
 * several events (texts, metrics) is written when an event comes that does not belong to it. */
#include "apps/qlog_conn.h"

#include <stdio.h>
#include <string.h>

enum {
    EXPONENT_DEFAULT = 3 /* of ACK delays: RFC 9000 §18.2 */
};

/* ---- beginning ------------------------------------------------------------------------------- */

static void put_header(struct qlog_conn *c)
{
    char odcid[2 * QLOG_CID_MAX + 1];

    (void)qlog_hex_text(c->odcid.bytes, c->odcid.size, odcid);
    qlog_print(
        c,
        "\x1e{\"qlog_version\":\"0.3\",\"qlog_format\":\"JSON-SEQ\",\"title\":\"antq " AQ_VERSION
        "\",\"trace\":{\"vantage_point\":{\"name\":\"antq\",\"type\":\"%s\"},",
        c->server ? "server" : "client");
    qlog_print(
        c,
        "\"common_fields\":{\"ODCID\":\"%s\",\"group_id\":\"%s\",\"protocol_type\":[\"QUIC\"],"
        "\"time_format\":\"relative\",\"reference_time\":%llu.%03u}}}\n",
        odcid, odcid, (unsigned long long)(c->unix_us / 1000), (unsigned)(c->unix_us % 1000));
    c->named = true;
}

static void put_address(struct qlog_conn *c, const char *ip_name, const char *port_name,
                        const struct aq_trace *event)
{
    struct aq_addr addr = {.family = (uint8_t)(event->space & 255), .port = 0};
    char text[64], *end;

    if (addr.family == 0) { /* the host does not know it */
        return;
    }
    memcpy(addr.ip, &event->a, addr.family == 4 ? 4 : 16);
    (void)aq_addr_text(&addr, text, sizeof text); /* 1.2.3.4:0 or [::1]:0 */
    end = strrchr(text, ':');
    if (end != NULL) {
        end[text[0] == '[' ? -1 : 0] = '\0';
    }
    qlog_string(c, ip_name, text[0] == '[' ? text + 1 : text);
    qlog_number(c, port_name, event->c);
}

static void put_version(struct qlog_conn *c, uint64_t version)
{
    const uint8_t bytes[] = {(uint8_t)(version >> 24), (uint8_t)(version >> 16),
                             (uint8_t)(version >> 8), (uint8_t)version};

    qlog_record(c, "transport:version_information");
    qlog_hex(c, "chosen_version", bytes, sizeof bytes);
    qlog_record_end(c);
}

static void on_address(struct qlog_conn *c, const struct aq_trace *event)
{
    if ((event->space & 256) == 0) {
        c->local = *event;
        return;
    }
    qlog_record(c, "connectivity:connection_started");
    qlog_string(c, "ip_version", (event->space & 255) == 4 ? "v4" : "v6");
    put_address(c, "src_ip", "src_port", &c->local);
    put_address(c, "dst_ip", "dst_port", event);
    qlog_string(c, "protocol", "QUIC");
    qlog_hex(c, "src_cid", c->scid.bytes, c->scid.size);
    qlog_hex(c, "dst_cid", c->dcid.bytes, c->dcid.size);
    qlog_record_end(c);
    put_version(c, c->version);
}

static void on_frame_address(struct qlog_conn *c, const struct aq_trace *event)
{
    if (c->open == QLOG_FRAME) {
        put_address(c, (event->space & 255) == 4 ? "ip_v4" : "ip_v6", "port", event);
    }
}

static void on_cid(struct qlog_conn *c, const struct aq_trace *event)
{
    struct qlog_cid cid = {.size = (uint8_t)(event->space & 255)};

    cid.size = cid.size < QLOG_CID_MAX ? cid.size : QLOG_CID_MAX;
    memcpy(cid.bytes, &event->a, cid.size);
    switch ((enum aq_trace_piece)(event->space >> 8)) {
    case AQ_PIECE_CID_ORIGINAL:
        c->odcid = cid;
        put_header(c);
        break;
    case AQ_PIECE_CID_LOCAL: c->scid = cid; break;
    case AQ_PIECE_CID_REMOTE: c->dcid = cid; break;
    case AQ_PIECE_CID_FRAME:
        if (c->open == QLOG_FRAME) {
            qlog_hex(c, "connection_id", cid.bytes, cid.size);
        }
        break;
    case AQ_PIECE_CIPHER:
    case AQ_PIECE_ALPN:
    case AQ_PIECE_REASON:
    case AQ_PIECE_WHERE: break;
    }
}

/* ---- recovery -------------------------------------------------------------------------------- */

/* Several events make one record: what they said is written before the next of another kind. */
static void put_metrics(struct qlog_conn *c)
{
    const struct qlog_metrics *now = &c->now, *said = &c->said;

    if (!c->metrics_new) {
        return;
    }
    c->metrics_new = false;
    if (memcmp(now, said, sizeof *now) == 0) {
        return;
    }
    qlog_record(c, "recovery:metrics_updated");
    if (now->min_us != said->min_us) {
        qlog_ms(c, "min_rtt", now->min_us);
    }
    if (now->smoothed_us != said->smoothed_us) {
        qlog_ms(c, "smoothed_rtt", now->smoothed_us);
    }
    if (now->latest_us != said->latest_us) {
        qlog_ms(c, "latest_rtt", now->latest_us);
    }
    if (now->var_us != said->var_us) {
        qlog_ms(c, "rtt_variance", now->var_us);
    }
    if (now->cwnd != said->cwnd) {
        qlog_number(c, "congestion_window", now->cwnd);
    }
    if (now->in_flight != said->in_flight) {
        qlog_number(c, "bytes_in_flight", now->in_flight);
    }
    if (now->ssthresh != said->ssthresh) {
        qlog_number(c, "ssthresh", now->ssthresh);
    }
    if (now->rate != said->rate) {
        qlog_number(c, "pacing_rate", now->rate * 8); /* bits per second */
    }
    qlog_record_end(c);
    c->said = c->now;
}

static void on_window(struct qlog_conn *c, const struct aq_trace *event)
{
    static const char *const names[] = {[AQ_CC_SLOW_START] = "slow_start",
                                        [AQ_CC_AVOIDANCE] = "congestion_avoidance",
                                        [AQ_CC_RECOVERY] = "recovery"};
    unsigned state = event->space <= AQ_CC_RECOVERY ? event->space : AQ_CC_AVOIDANCE;

    c->now.cwnd = event->a;
    c->now.ssthresh = event->b == UINT64_MAX ? 0 : event->b; /* none yet */
    c->now.in_flight = event->c;
    c->metrics_new = true;
    if (c->cc_said && c->cc == state) {
        return;
    }
    put_metrics(c);
    qlog_record(c, "recovery:congestion_state_updated");
    if (c->cc_said) {
        qlog_string(c, "old", names[c->cc]);
    }
    qlog_string(c, "new", names[state]);
    qlog_record_end(c);
    c->cc = state;
    c->cc_said = true;
}

static void on_pto(struct qlog_conn *c, const struct aq_trace *event)
{
    static const char *const spaces[] = {"initial", "handshake", "application_data"};

    qlog_record(c, "recovery:loss_timer_updated");
    qlog_string(c, "timer_type", "pto");
    qlog_string(c, "packet_number_space", spaces[event->space < 3 ? event->space : 2]);
    qlog_string(c, "event_type", "expired");
    qlog_record_end(c);
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* level: 0 Initial, 1 0-RTT, 2 Handshake, 3 1-RTT. */
static void put_key_type(struct qlog_conn *c, unsigned level, bool of_server)
{
    static const char *const levels[] = {"initial", "0rtt", "handshake", "1rtt"};
    char text[48];

    (void)snprintf(text, sizeof text, "%s_%s_secret", of_server ? "server" : "client",
                   levels[level < 4 ? level : 3]);
    qlog_string(c, "key_type", text);
}

static void on_key(struct qlog_conn *c, const struct aq_trace *event)
{
    bool ours = event->a != 0, update = event->type == AQ_TRACE_KEY_UPDATED;

    if (event->type == AQ_TRACE_KEY_DISCARDED) {
        for (unsigned i = 0; i < 2; i++) {
            qlog_record(c, "security:key_discarded");
            put_key_type(c, event->space == 0 ? 0 : 2, i != 0);
            qlog_string(c, "trigger", "tls");
            qlog_record_end(c);
        }
        return;
    }
    qlog_record(c, "security:key_updated");
    put_key_type(c, event->space, ours == c->server);
    if (event->space == 3) {
        qlog_number(c, "key_phase", event->b);
    }
    qlog_string(c, "trigger", !update ? "tls" : ours ? "local_update" : "remote_update");
    qlog_record_end(c);
}

/* ---- states ---------------------------------------------------------------------------------- */

static const char *state_name(uint64_t state)
{
    static const char *const names[] = {
        [AQ_TRACE_STATE_FREE] = NULL,
        [AQ_TRACE_STATE_HANDSHAKE] = "attempted",
        [AQ_TRACE_STATE_CONNECTED] = "handshake_complete",
        [AQ_TRACE_STATE_CONFIRMED] = "handshake_confirmed",
        [AQ_TRACE_STATE_CLOSING] = "closing",
        [AQ_TRACE_STATE_DRAINING] = "draining",
        [AQ_TRACE_STATE_OVER] = "closed",
    };

    return state < sizeof names / sizeof names[0] ? names[state] : NULL;
}

static void put_state(struct qlog_conn *c, const char *old, const char *name)
{
    qlog_record(c, "connectivity:connection_state_updated");
    if (old != NULL) {
        qlog_string(c, "old", old);
    }
    qlog_string(c, "new", name);
    qlog_record_end(c);
}

static void on_state(struct qlog_conn *c, const struct aq_trace *event)
{
    if (state_name(event->b) != NULL) {
        put_state(c, state_name(event->a), state_name(event->b));
    }
    c->over = event->b == AQ_TRACE_STATE_OVER;
}

/* What the core says of a path: its states, and once more the same one when the connection moves
 * there. The first one's validation is the peer's. */
static void on_path(struct qlog_conn *c, const struct aq_trace *event)
{
    enum {
        VALIDATING = 1,
        VALID = 2,
        FAILED = 3
    };
    static const char *const states[][2] = {
        [VALIDATING] = {"probing_started", "migration_started"},
        [VALID] = {"probing_successful", "migration_complete"},
        [FAILED] = {"probing_abandoned", "migration_abandoned"}};
    unsigned path = event->space % QLOG_PATHS;
    bool again = c->path_state[path] == event->a, first = path == 0 && c->path_state[0] == 0;
    char id[8];

    if (event->a < VALIDATING || event->a > FAILED) {
        return;
    }
    c->path_state[path] = (uint8_t)event->a;
    if (first && event->a == VALID) {
        put_state(c, NULL, "peer_validated");
        return;
    }
    (void)snprintf(id, sizeof id, "%u", path);
    qlog_record(c, "connectivity:migration_state_updated");
    qlog_string(c, "new", states[event->a][again]);
    qlog_string(c, "tuple_id", id);
    qlog_record_end(c);
}

static void on_mtu(struct qlog_conn *c, const struct aq_trace *event)
{
    enum {
        COMPLETE = 2
    };
    uint16_t *mtu = &c->mtu[event->space % QLOG_PATHS];

    qlog_record(c, "connectivity:mtu_updated");
    if (*mtu != 0) {
        qlog_number(c, "old", *mtu);
    }
    qlog_number(c, "new", event->a);
    if (event->b == COMPLETE) {
        qlog_print(c, ",\"done\":true");
    }
    qlog_record_end(c);
    *mtu = (uint16_t)event->a;
}

static void on_ecn(struct qlog_conn *c, const struct aq_trace *event)
{
    static const char *const states[] = {[AQ_ECN_STATE_OFF] = NULL,
                                         [AQ_ECN_STATE_TESTING] = "testing",
                                         [AQ_ECN_STATE_UNKNOWN] = "unknown",
                                         [AQ_ECN_STATE_CAPABLE] = "capable",
                                         [AQ_ECN_STATE_FAILED] = "failed"};

    if (event->a < AQ_ECN_STATE_TESTING || event->a > AQ_ECN_STATE_FAILED
        || event->b < AQ_ECN_STATE_TESTING || event->b > AQ_ECN_STATE_FAILED) {
        return;
    }
    qlog_record(c, "recovery:ecn_state_updated");
    qlog_string(c, "old", states[event->a]);
    qlog_string(c, "new", states[event->b]);
    qlog_record_end(c);
}

static void on_stream(struct qlog_conn *c, const struct aq_trace *event)
{
    qlog_record(c, "transport:stream_state_updated");
    qlog_number(c, "stream_id", event->a);
    qlog_string(c, "stream_type", (event->a & 2) != 0 ? "unidirectional" : "bidirectional");
    qlog_string(c, "new", "closed");
    qlog_record_end(c);
}

/* ---- texts, and what they belong to ---------------------------------------------------------- */

static void append(char *text, size_t max, const struct aq_trace *event)
{
    size_t used = strlen(text), size = event->space & 255;

    size = size < sizeof event->a * 3 ? size : sizeof event->a * 3;
    if (used + size < max) {
        memcpy(text + used, &event->a, size);
        text[used + size] = '\0';
    }
}

static void on_text(struct qlog_conn *c, const struct aq_trace *event)
{
    switch ((enum aq_trace_piece)(event->space >> 8)) {
    case AQ_PIECE_CIPHER: append(c->cipher, sizeof c->cipher, event); break;
    case AQ_PIECE_ALPN: append(c->alpn, sizeof c->alpn, event); break;
    case AQ_PIECE_REASON: append(c->reason, sizeof c->reason, event); break;
    case AQ_PIECE_WHERE: append(c->where, sizeof c->where, event); break;
    case AQ_PIECE_CID_ORIGINAL:
    case AQ_PIECE_CID_LOCAL:
    case AQ_PIECE_CID_REMOTE:
    case AQ_PIECE_CID_FRAME: break;
    }
}

static const char *close_trigger(const struct qlog_conn *c)
{
    switch ((enum aq_closer)c->close.space) {
    case AQ_BY_RESET: return "stateless_reset";
    case AQ_BY_VERSION: return "version_mismatch";
    case AQ_BY_TIMEOUT:
        return strncmp(c->where, "handshake", 9) == 0 ? "handshake_timeout" : "idle_timeout";
    case AQ_BY_US:
    case AQ_BY_PEER: break;
    }
    if (c->close.c != 0) {
        return "application";
    }
    return c->close.a == 0 ? "clean" : "error";
}

static void put_close(struct qlog_conn *c)
{
    bool coded = c->close.space == AQ_BY_US || c->close.space == AQ_BY_PEER;
    char reason[sizeof c->reason + sizeof c->where + 4];

    if (c->reason[0] != '\0' && c->where[0] != '\0') {
        (void)snprintf(reason, sizeof reason, "%s (%s)", c->reason, c->where);
    } else {
        (void)snprintf(reason, sizeof reason, "%s%s", c->reason, c->where);
    }
    qlog_record(c, "connectivity:connection_closed");
    qlog_string(c, "owner",
                c->close.space == AQ_BY_PEER || c->close.space == AQ_BY_RESET ? "remote" : "local");
    if (coded && c->close.c != 0) {
        qlog_number(c, "application_code", c->close.a);
    } else if (coded) {
        qlog_transport_error(c, "connection_code", c->close.a);
    }
    qlog_string(c, "reason", reason);
    qlog_string(c, "trigger", close_trigger(c));
    qlog_record_end(c);
    c->close.type = AQ_TRACE_NONE;
}

/* Texts are whole when anything else comes. */
static void put_texts(struct qlog_conn *c)
{
    if (c->cipher[0] != '\0') {
        qlog_record(c, "transport:parameters_set");
        qlog_string(c, "owner", "local");
        qlog_string(c, "tls_cipher", c->cipher);
        qlog_record_end(c);
        c->cipher[0] = '\0';
    }
    if (c->alpn[0] != '\0') {
        qlog_record(c, "transport:alpn_information");
        qlog_string(c, "chosen_alpn", c->alpn);
        qlog_record_end(c);
        c->alpn[0] = '\0';
    }
    if (c->close.type != AQ_TRACE_NONE) {
        put_close(c);
    }
}

/* ---- the calls ------------------------------------------------------------------------------- */

void qlog_conn_settle(struct qlog_conn *c)
{
    qlog_close(c);
    put_metrics(c);
    put_texts(c);
}

void qlog_conn_lost(struct qlog_conn *c, uint64_t count)
{
    char text[96];

    qlog_conn_settle(c);
    (void)snprintf(text, sizeof text, "%llu events are missing: the trace ring was full",
                   (unsigned long long)count);
    qlog_record(c, "loglevel:warning");
    qlog_string(c, "message", text);
    qlog_record_end(c);
}

/* Events that go on with the record that is open. */
static bool goes_on(struct qlog_conn *c, const struct aq_trace *event)
{
    switch (event->type) {
    case AQ_TRACE_FRAME: qlog_on_frame(c, event); return true;
    case AQ_TRACE_ACK_RANGE: qlog_on_range(c, event); return true;
    case AQ_TRACE_ACK_ECN: qlog_on_ack_ecn(c, event); return true;
    case AQ_TRACE_CID: on_cid(c, event); return true;
    case AQ_TRACE_PARAM: qlog_on_param(c, event); return true;
    case AQ_TRACE_TEXT: on_text(c, event); return true;
    case AQ_TRACE_ADDRESS:
        if (event->space & AQ_ADDRESS_IN_FRAME) {
            on_frame_address(c, event);
        }
        return event->space & AQ_ADDRESS_IN_FRAME;
    default: return false;
    }
}

/* And those that belong to the metrics record that is not written yet. */
static bool is_metric(struct qlog_conn *c, const struct aq_trace *event)
{
    if (event->type == AQ_TRACE_METRICS) {
        c->now.latest_us = event->a;
        c->now.smoothed_us = event->b;
        c->now.var_us = event->c;
    } else if (event->type == AQ_TRACE_PACE) {
        c->now.rate = event->a;
        c->now.min_us = event->b;
    } else if (event->type == AQ_TRACE_WINDOW) {
        on_window(c, event);
        return true;
    } else {
        return false;
    }
    c->metrics_new = true;
    return true;
}

void qlog_conn_event(struct qlog_conn *c, const struct aq_trace *event)
{
    if (c->over
        || (!c->named && event->type != AQ_TRACE_CID && event->type != AQ_TRACE_CONN_STARTED)) {
        return;
    }
    c->time_us = event->time_us;
    if (goes_on(c, event)) {
        return;
    }
    qlog_close(c);
    if (is_metric(c, event)) {
        return;
    }
    put_metrics(c);
    put_texts(c);
    switch (event->type) {
    case AQ_TRACE_CONN_STARTED:
        c->server = event->a != 0;
        c->began_us = event->time_us;
        c->mtu[0] = (uint16_t)event->c;
        c->version = (uint32_t)event->b;
        c->exponent[0] = c->exponent[1] = EXPONENT_DEFAULT;
        break;
    case AQ_TRACE_ADDRESS: on_address(c, event); break;
    case AQ_TRACE_CONN_STATE: on_state(c, event); break;
    case AQ_TRACE_PACKET_SENT: qlog_on_packet(c, event, true); break;
    case AQ_TRACE_PACKET_RECEIVED: qlog_on_packet(c, event, false); break;
    case AQ_TRACE_PACKET_DROPPED: qlog_on_dropped(c, event); break;
    case AQ_TRACE_PACKET_LOST: qlog_on_lost_packet(c, event); break;
    case AQ_TRACE_PTO: on_pto(c, event); break;
    case AQ_TRACE_KEY_INSTALLED:
    case AQ_TRACE_KEY_DISCARDED:
    case AQ_TRACE_KEY_UPDATED: on_key(c, event); break;
    case AQ_TRACE_STREAM_STATE: on_stream(c, event); break;
    case AQ_TRACE_CLOSE: c->close = *event; break;
    case AQ_TRACE_PATH: on_path(c, event); break;
    case AQ_TRACE_RETRY: qlog_on_retry(c, event); break;
    case AQ_TRACE_MTU: on_mtu(c, event); break;
    case AQ_TRACE_ECN: on_ecn(c, event); break;
    case AQ_TRACE_VERSION: put_version(c, event->a); break;
    default: break; /* of no interest to qlog */
    }
}
