/* qlog_conn.h -- one connection's qlog: trace events in, JSON text out; shared by qlog's own files.
 *
 *   qlog.c         the ring is read, events go to their connections, text into files
 *   qlog_conn.c    what happens to a connection
 *   qlog_packet.c  packets, frames, transport parameters
 *   qlog_text.c    members and records */
#ifndef APPS_QLOG_CONN_H
#define APPS_QLOG_CONN_H

#include "core/antq.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    QLOG_BUFFER = 16384,
    QLOG_CID_MAX = 24,
    QLOG_PATHS = 8 /* told apart; at least a connection's */
};

/* What record is being written, to be continued by the next event or closed before it. */
enum qlog_open {
    QLOG_NOTHING,
    QLOG_PACKET, /* in its array of frames */
    QLOG_FRAME,  /* in an object of it */
    QLOG_RANGES, /* in the array of ranges of an ACK */
    QLOG_PARAMS, /* in the data of parameters_set */
};

struct qlog_cid {
    uint8_t size;
    uint8_t bytes[QLOG_CID_MAX];
};

/* Metrics as last written, and as known now. */
struct qlog_metrics {
    uint64_t latest_us, smoothed_us, var_us, min_us, cwnd, ssthresh, in_flight, rate;
};

struct qlog_conn {
    struct qlog *qlog;
    struct qlog_conn *dirty_next;
    bool dirty, server;
    bool named;                 /* the header is written: the id is known */
    bool spoken;                /* a packet was sent or received: worth a file */
    bool over;                  /* what follows tells nothing */
    int fd;                     /* -1: none yet */
    uint64_t began_us, unix_us; /* of the connection's first event, on both clocks */
    struct qlog_cid odcid, scid, dcid;
    struct aq_trace local; /* the address, until the remote one comes */

    enum qlog_open open;
    bool first;           /* the array or object just opened is empty */
    bool peer;            /* whose parameters_set is open, or who sent the open packet */
    unsigned exponent[2]; /* of ACK delays: ours, the peer's */
    struct qlog_metrics said, now;
    bool metrics_new;
    uint32_t version;               /* of the connection's begin */
    unsigned cc;                    /* enum aq_trace_cc as last written */
    uint16_t mtu[QLOG_PATHS];       /* of each path, as last written; 0: never */
    uint8_t path_state[QLOG_PATHS]; /* the same; 0: unvalidated */
    bool cc_said;
    uint64_t time_us; /* of the last event */

    /* what texts that follow belong to */
    struct aq_trace close; /* type AQ_TRACE_NONE: none is pending */
    char cipher[64], alpn[64], reason[160], where[96];

    size_t used;
    char buffer[QLOG_BUFFER];
};

/* ---- qlog_text.c: members of the object at hand. A comma goes before all but the first. ---- */
void qlog_print(struct qlog_conn *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
void qlog_number(struct qlog_conn *c, const char *name, uint64_t value);
void qlog_ms(struct qlog_conn *c, const char *name, uint64_t us); /* microseconds as ms */
void qlog_string(struct qlog_conn *c, const char *name, const char *text);
void qlog_hex(struct qlog_conn *c, const char *name, const uint8_t *bytes, size_t size);
const char *qlog_hex_text(const uint8_t *bytes, size_t size, char out[2 * QLOG_CID_MAX + 1]);
/* A record up to its data, at the last event's time; its end; the end of the frame that is open; of
 * the record that is open. */
void qlog_record(struct qlog_conn *c, const char *name);
void qlog_record_end(struct qlog_conn *c);
void qlog_frame_end(struct qlog_conn *c);
void qlog_close(struct qlog_conn *c);

/* ---- qlog_packet.c ---- */
void qlog_on_param(struct qlog_conn *c, const struct aq_trace *event);
void qlog_on_packet(struct qlog_conn *c, const struct aq_trace *event, bool sent);
void qlog_on_frame(struct qlog_conn *c, const struct aq_trace *event);
void qlog_on_range(struct qlog_conn *c, const struct aq_trace *event);
void qlog_on_ack_ecn(struct qlog_conn *c, const struct aq_trace *event);
void qlog_on_dropped(struct qlog_conn *c, const struct aq_trace *event);
void qlog_on_lost_packet(struct qlog_conn *c, const struct aq_trace *event);
void qlog_on_retry(struct qlog_conn *c, const struct aq_trace *event);
/* RFC 9000 §20.1 in qlog's words. */
void qlog_transport_error(struct qlog_conn *c, const char *name, uint64_t code);

/* ---- qlog_conn.c: takes one event of this connection; the first is AQ_TRACE_CONN_STARTED. ---- */
void qlog_conn_event(struct qlog_conn *c, const struct aq_trace *event);
/* Closes what is open, so that the text ends with a whole record. */
void qlog_conn_settle(struct qlog_conn *c);
/* A record that says how many events are missing. */
void qlog_conn_lost(struct qlog_conn *c, uint64_t count);

/* ---- qlog.c: empties the buffer into the file, which is made when it does not exist. ---- */
void qlog_conn_flush(struct qlog_conn *c);

#endif
