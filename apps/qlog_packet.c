/* qlog_packet.c -- packets, their frames, and transport parameters as members of qlog 0.3. */
#include "apps/qlog_conn.h"

#include <stdio.h>
#include <string.h>

enum {
    PARAM_ACK_DELAY = 0x0a, /* ack_delay_exponent */
    PARAM_NO_MIGRATION = 0x0c,
    FRAME_STREAM = 0x08,
    FRAME_STREAM_LAST = 0x0f,
};

/* ---- parameters ------------------------------------------------------------------------------ */

void qlog_on_param(struct qlog_conn *c, const struct aq_trace *event)
{
    static const char *const names[] = {
        [0x01] = "max_idle_timeout",
        [0x03] = "max_udp_payload_size",
        [0x04] = "initial_max_data",
        [0x05] = "initial_max_stream_data_bidi_local",
        [0x06] = "initial_max_stream_data_bidi_remote",
        [0x07] = "initial_max_stream_data_uni",
        [0x08] = "initial_max_streams_bidi",
        [0x09] = "initial_max_streams_uni",
        [PARAM_ACK_DELAY] = "ack_delay_exponent",
        [0x0b] = "max_ack_delay",
        [0x0e] = "active_connection_id_limit",
    };
    bool peer = event->space == 1;

    if (c->open != QLOG_PARAMS || c->peer != peer) {
        qlog_close(c);
        qlog_record(c, "transport:parameters_set");
        qlog_string(c, "owner", peer ? "remote" : "local");
        c->open = QLOG_PARAMS;
        c->peer = peer;
    }
    if (event->a == PARAM_NO_MIGRATION) {
        qlog_print(c, ",\"disable_active_migration\":true");
    } else if (event->a < sizeof names / sizeof names[0] && names[event->a] != NULL) {
        qlog_number(c, names[event->a], event->b);
    }
    if (event->a == PARAM_ACK_DELAY && event->b <= 20) {
        c->exponent[peer] = (unsigned)event->b;
    }
}

/* ---- packets and frames ---------------------------------------------------------------------- */

static const char *packet_type(unsigned space)
{
    static const char *const names[] = {"initial", "handshake", "1RTT"};

    return space < sizeof names / sizeof names[0] ? names[space] : "unknown";
}

static void put_packet_header(struct qlog_conn *c, const struct aq_trace *event)
{
    qlog_print(c, "\"header\":{\"packet_type\":\"%s\",\"packet_number\":%llu}",
               packet_type(event->space), (unsigned long long)event->a);
    c->first = false;
}

void qlog_on_packet(struct qlog_conn *c, const struct aq_trace *event, bool sent)
{
    c->spoken = true;
    qlog_record(c, sent ? "transport:packet_sent" : "transport:packet_received");
    put_packet_header(c, event);
    qlog_print(c, ",\"raw\":{\"length\":%llu},\"frames\":[", (unsigned long long)event->b);
    c->open = QLOG_PACKET;
    c->first = true;
    /* Delays in ACKs that we send are scaled by our exponent. */
    c->peer = !sent;
}

/* Frames of NAT traversal have code points beyond 16 bits, of which the trace gives the lower ones:
 * 0x3d7e90 to 0x3d7e94, 0x9f81a6 and 0x9f81a7. */
enum {
    NAT_ROWS = 0xb0,
    NAT_LOW = 0x7e90,
    NAT_LOW_LAST = 0x7e94,
    OBSERVED_LOW = 0x81a6,
    OBSERVED_LOW_LAST = 0x81a7
};

static unsigned row_of(unsigned type)
{
    if (type >= FRAME_STREAM && type <= FRAME_STREAM_LAST) {
        return FRAME_STREAM;
    }
    if (type >= NAT_LOW && type <= NAT_LOW_LAST) {
        return NAT_ROWS + type - NAT_LOW;
    }
    if (type >= OBSERVED_LOW && type <= OBSERVED_LOW_LAST) {
        return NAT_ROWS + NAT_LOW_LAST - NAT_LOW + 1 + type - OBSERVED_LOW;
    }
    return type;
}

/* A row: the frame's name, what its three values are called, and a member that says its kind. NULL:
 * none. ACK, STREAM, NEW_TOKEN, the PATH frames and the two closes have more to say. */
static const struct {
    const char *name, *kind, *a, *b, *c;
} frames[] = {
    /* clang-format off */
    [0x00] = {"padding", NULL, "payload_length", NULL, NULL},
    [0x01] = {"ping", NULL, NULL, NULL, NULL},
    [0x02] = {"ack", NULL, NULL, NULL, NULL},
    [0x03] = {"ack", NULL, NULL, NULL, NULL},
    [0x04] = {"reset_stream", NULL, "stream_id", "error_code", "final_size"},
    [0x05] = {"stop_sending", NULL, "stream_id", "error_code", NULL},
    [0x06] = {"crypto", NULL, "offset", "length", NULL},
    [0x07] = {"new_token", NULL, NULL, NULL, NULL},
    [0x08] = {"stream", NULL, "stream_id", "offset", NULL},
    [0x10] = {"max_data", NULL, "maximum", NULL, NULL},
    [0x11] = {"max_stream_data", NULL, "stream_id", "maximum", NULL},
    [0x12] = {"max_streams", "\"stream_type\":\"bidirectional\"", "maximum", NULL, NULL},
    [0x13] = {"max_streams", "\"stream_type\":\"unidirectional\"", "maximum", NULL, NULL},
    [0x14] = {"data_blocked", NULL, "limit", NULL, NULL},
    [0x15] = {"stream_data_blocked", NULL, "stream_id", "limit", NULL},
    [0x16] = {"streams_blocked", "\"stream_type\":\"bidirectional\"", "limit", NULL, NULL},
    [0x17] = {"streams_blocked", "\"stream_type\":\"unidirectional\"", "limit", NULL, NULL},
    [0x18] = {"new_connection_id", NULL, "sequence_number", "retire_prior_to", "connection_id_length"},
    [0x19] = {"retire_connection_id", NULL, "sequence_number", NULL, NULL},
    [0x1a] = {"path_challenge", NULL, NULL, NULL, NULL},
    [0x1b] = {"path_response", NULL, NULL, NULL, NULL},
    [0x1c] = {"connection_close", "\"error_space\":\"transport\"", NULL, NULL, NULL},
    [0x1d] = {"connection_close", "\"error_space\":\"application\"", "error_code", NULL, NULL},
    [0x1e] = {"handshake_done", NULL, NULL, NULL, NULL},
    [0x1f] = {"immediate_ack", NULL, NULL, NULL, NULL},
    [0x24] = {"reset_stream_at", NULL, "stream_id", "error_code", "final_size"},
    [0xaf] = {"ack_frequency", NULL, "sequence_number", "ack_eliciting_threshold", NULL},
    [NAT_ROWS + 0] = {"add_address", NULL, "sequence_number", NULL, NULL},
    [NAT_ROWS + 1] = {"add_address", NULL, "sequence_number", NULL, NULL},
    [NAT_ROWS + 2] = {"punch_me_now", NULL, "round", "paired_with_sequence_number", NULL},
    [NAT_ROWS + 3] = {"punch_me_now", NULL, "round", "paired_with_sequence_number", NULL},
    [NAT_ROWS + 4] = {"remove_address", NULL, "sequence_number", NULL, NULL},
    [NAT_ROWS + 5] = {"observed_address", NULL, "sequence_number", NULL, NULL},
    [NAT_ROWS + 6] = {"observed_address", NULL, "sequence_number", NULL, NULL},
    /* clang-format on */
};

/* RFC 9000 §20.1 in qlog's words. */
void qlog_transport_error(struct qlog_conn *c, const char *name, uint64_t code)
{
    const char *known = code == 0 ? "NO_ERROR" : aq_error_name((int64_t)code);
    char text[32];
    size_t i;

    if (code >= AQ_CRYPTO_ERROR && code <= AQ_CRYPTO_ERROR + 255) {
        (void)snprintf(text, sizeof text, "crypto_error_0x%llx", (unsigned long long)code);
        qlog_string(c, name, text);
    } else if (code <= AQ_NO_VIABLE_PATH) {
        for (i = 0; known[i] != '\0' && i + 1 < sizeof text; i++) {
            text[i] = known[i];
            text[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] - 'A' + 'a' : text[i]);
        }
        text[i] = '\0';
        qlog_string(c, name, text);
    } else {
        qlog_number(c, name, code);
    }
}

/* The members that are more than a number. */
static void put_frame_more(struct qlog_conn *c, unsigned type, const struct aq_trace *event)
{
    uint8_t bytes[8];

    switch (type) {
    case 0x02:
    case 0x03: {
        unsigned shift = c->exponent[c->peer];

        if (event->b <= UINT64_MAX >> shift) {
            qlog_ms(c, "ack_delay", event->b << shift);
        }
        break;
    }
    case 0x07:
        qlog_print(c, ",\"token\":{\"raw\":{\"length\":%llu}}", (unsigned long long)event->a);
        break;
    case FRAME_STREAM:
        qlog_number(c, "length", event->c >> 1);
        qlog_print(c, "%s", (event->c & 1) != 0 ? ",\"fin\":true" : "");
        break;
    case 0x1a:
    case 0x1b:
        for (unsigned i = 0; i < sizeof bytes; i++) {
            bytes[i] = (uint8_t)(event->a >> (56 - 8 * i));
        }
        qlog_hex(c, "data", bytes, sizeof bytes);
        break;
    case 0x1c:
        qlog_transport_error(c, "error_code", event->a);
        if (event->b != 0) {
            qlog_number(c, "trigger_frame_type", event->b);
        }
        break;
    case 0xaf: qlog_ms(c, "request_max_ack_delay", event->c); break;
    default: break;
    }
}

void qlog_on_frame(struct qlog_conn *c, const struct aq_trace *event)
{
    unsigned type = row_of(event->space);
    const char *kind;

    qlog_frame_end(c);
    if (c->open != QLOG_PACKET) { /* its packet is missing: the ring was full */
        return;
    }
    c->open = QLOG_FRAME;
    qlog_print(c, "%s{", c->first ? "" : ",");
    c->first = true;
    if (type >= sizeof frames / sizeof frames[0] || frames[type].name == NULL) {
        qlog_string(c, "frame_type", "unknown");
        qlog_number(c, "raw_frame_type", event->space);
        return;
    }
    qlog_string(c, "frame_type", frames[type].name);
    kind = frames[type].kind;
    qlog_print(c, "%s%s", kind != NULL ? "," : "", kind != NULL ? kind : "");
    if (frames[type].a != NULL) {
        qlog_number(c, frames[type].a, event->a);
    }
    if (frames[type].b != NULL) {
        qlog_number(c, frames[type].b, event->b);
    }
    if (frames[type].c != NULL) {
        qlog_number(c, frames[type].c, event->c);
    }
    put_frame_more(c, type, event);
}

void qlog_on_range(struct qlog_conn *c, const struct aq_trace *event)
{
    if (c->open != QLOG_FRAME && c->open != QLOG_RANGES) {
        return;
    }
    qlog_print(c, "%s", c->open == QLOG_FRAME ? ",\"acked_ranges\":[" : ",");
    c->open = QLOG_RANGES;
    if (event->a == event->b) {
        qlog_print(c, "[%llu]", (unsigned long long)event->a);
    } else {
        qlog_print(c, "[%llu,%llu]", (unsigned long long)event->a, (unsigned long long)event->b);
    }
}

void qlog_on_ack_ecn(struct qlog_conn *c, const struct aq_trace *event)
{
    if (c->open != QLOG_RANGES) {
        return;
    }
    qlog_print(c, "]");
    c->open = QLOG_FRAME;
    qlog_number(c, "ect0", event->a);
    qlog_number(c, "ect1", event->b);
    qlog_number(c, "ce", event->c);
}

void qlog_on_dropped(struct qlog_conn *c, const struct aq_trace *event)
{
    static const struct {
        const char *trigger, *reason;
    } rows[AQ_DROPS] = {
        [AQ_DROP_AUTH] = {"decryption_failure", "not authentic"},
        [AQ_DROP_DUPLICATE] = {"duplicate", "received before"},
        [AQ_DROP_NO_KEYS] = {"key_unavailable", "its keys are not there yet, or gone"},
        [AQ_DROP_MEMORY] = {"internal_error", "no memory for what it carries"},
        [AQ_DROP_VERSION] = {"unsupported", "another version"},
        [AQ_DROP_CID] = {"invalid", "another connection id of the peer's"},
        [AQ_DROP_SHORT] = {"invalid", "too short, or its header cannot be read"},
        [AQ_DROP_PATH] = {"rejected", "from another address"},
        [AQ_DROP_CLOSED] = {"general", "the connection is closed"},
        [AQ_DROP_NOT_QUIC] = {"invalid", "no QUIC packet"},
    };
    unsigned why = event->a < AQ_DROPS ? (unsigned)event->a : AQ_DROP_CLOSED;

    if (!c->spoken) { /* junk alone is not worth a file */
        return;
    }
    qlog_record(c, "transport:packet_dropped");
    qlog_print(c, "\"raw\":{\"length\":%llu},\"details\":{", (unsigned long long)event->b);
    c->first = true;
    qlog_string(c, "reason", rows[why].reason);
    qlog_print(c, "}");
    qlog_string(c, "trigger", rows[why].trigger);
    qlog_record_end(c);
}

void qlog_on_lost_packet(struct qlog_conn *c, const struct aq_trace *event)
{
    qlog_record(c, "recovery:packet_lost");
    put_packet_header(c, event);
    qlog_record_end(c);
}

void qlog_on_retry(struct qlog_conn *c, const struct aq_trace *event)
{
    qlog_record(c, event->a != 0 ? "transport:packet_sent" : "transport:packet_received");
    qlog_print(c, "\"header\":{\"packet_type\":\"retry\"}");
    qlog_record_end(c);
}
