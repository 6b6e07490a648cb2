/* qlog_show.c -- `antq qlog FILE`: a qlog as lines for a person, and their sum at the end.
 *
 * Files of any program that follows the drafts can be shown: names are known without their
 * category ("transport:", "quic:"), members under their old and new names, and what is not known is
 * printed as it stands. A line is a time in milliseconds, what happened, and its members. What
 * comes from the file is not trusted: only printable ASCII reaches the terminal. */
#include "apps/apps.h"
#include "apps/common.h"
#include "apps/qlog_file.h"

#include <inttypes.h>
#include <string.h>

enum {
    VALUE_MAX = 200 /* bytes of one value that are shown */
};

/* The smallest, the largest and the last of a number; count 0: none. */
struct range {
    uint64_t count;
    double least, most, last;
};

struct side {
    uint64_t packets, bytes;
};

struct show {
    struct qlog_file file;
    bool summary_only;
    bool delta; /* times count from the event before */
    bool based;
    double base_ms, time_ms; /* of the first event; of this one, relative to it */
    uint64_t events, unknown, bad;
    struct side sent, received, lost, dropped;
    uint64_t warnings;
    struct range rtt, cwnd, in_flight;
    uint64_t mtu, key_updates;
    char vantage[32], id[64], closed[512];
};

static const struct json_token *member(const struct show *s, const struct json_token *object,
                                       const char *name)
{
    return json_member(s->file.tokens, object, name);
}

/* A member under the first of two names that is there. */
static const struct json_token *either(const struct show *s, const struct json_token *object,
                                       const char *name, const char *other)
{
    const struct json_token *token = member(s, object, name);

    return token != NULL ? token : member(s, object, other);
}

/* ---- printing -------------------------------------------------------------------------------- */

/* Copies a value as it stands, without what a terminal might act on; returns out. */
static char *value_text(const struct json_token *token, char *out, size_t size)
{
    size_t n = 0;

    if (token != NULL) {
        for (; n < token->size && n + 1 < size; n++) {
            out[n] = (char)(token->text[n] >= 0x20 && token->text[n] < 0x7f ? token->text[n] : '?');
        }
        if (n < token->size && n > 3) {
            memcpy(out + n - 3, "...", 3);
        }
    }
    out[n] = '\0';
    return out;
}

static void put_value(const struct json_token *token)
{
    char text[VALUE_MAX + 1];

    (void)fputs(value_text(token, text, sizeof text), stdout);
}

/* name=value for each member, but not those in the list, which NULL ends. */
static void put_members(const struct show *s, const struct json_token *object,
                        const char *const *but)
{
    const struct json_token *tokens = s->file.tokens;

    for (const struct json_token *t = json_first(tokens, object);
         t != NULL && object->kind == JSON_OBJECT; t = json_next(tokens, object, t)) {
        unsigned i = 0;

        while (but[i] != NULL && !json_is(t, but[i])) {
            i++;
        }
        if (but[i] == NULL) {
            (void)fputc(' ', stdout);
            put_value(t);
            (void)fputc('=', stdout);
            put_value(t + 1);
        }
    }
}

static void put_time(const struct show *s)
{
    (void)printf("%12.3f  ", s->time_ms);
}

static void range_add(struct range *r, const struct json_token *token)
{
    double value;

    if (!json_number(token, &value)) {
        return;
    }
    r->least = r->count == 0 || value < r->least ? value : r->least;
    r->most = r->count == 0 || value > r->most ? value : r->most;
    r->last = value;
    r->count++;
}

static uint64_t whole(const struct json_token *token)
{
    double value;

    return json_number(token, &value) && value > 0 && value < 1e18 ? (uint64_t)value : 0;
}

/* ---- packets --------------------------------------------------------------------------------- */

static const struct json_token *frame_size(const struct show *s, const struct json_token *frame)
{
    const struct json_token *size = either(s, frame, "length", "payload_length");
    const struct json_token *raw = member(s, frame, "raw");

    return size != NULL ? size : either(s, raw, "payload_length", "length");
}

static void put_ranges(const struct show *s, const struct json_token *ranges)
{
    const struct json_token *tokens = s->file.tokens;
    const char *comma = " ";

    for (const struct json_token *r = json_first(tokens, ranges); r != NULL;
         r = json_next(tokens, ranges, r)) {
        const struct json_token *from = json_first(tokens, r);
        const struct json_token *to = from != NULL ? json_next(tokens, r, from) : NULL;

        (void)fputs(comma, stdout);
        put_value(from);
        if (to != NULL) {
            (void)fputc('-', stdout);
            put_value(to);
        }
        comma = ",";
    }
}

/* A frame in a few words: those that carry data or acknowledge it in words of their own. */
static void put_frame(const struct show *s, const struct json_token *frame)
{
    static const char *const told[] = {"frame_type", "stream_id", "offset", "length",
                                       "raw",        "fin",       NULL};
    static const char *const told_ack[] = {"frame_type", "acked_ranges", "raw", NULL};
    static const char *const told_other[] = {"frame_type", "raw", NULL};
    const struct json_token *type = member(s, frame, "frame_type");
    const struct json_token *fin = member(s, frame, "fin");

    put_value(type);
    if (json_is(type, "ack")) {
        put_ranges(s, member(s, frame, "acked_ranges"));
        put_members(s, frame, told_ack);
    } else if (json_is(type, "stream") || json_is(type, "crypto")) {
        if (json_is(type, "stream")) {
            (void)fputc(' ', stdout);
            put_value(member(s, frame, "stream_id"));
        }
        (void)printf(" %" PRIu64 "+%" PRIu64, whole(member(s, frame, "offset")),
                     whole(frame_size(s, frame)));
        (void)fputs(fin != NULL && fin->kind == JSON_BOOL && fin->text[0] == 't' ? " fin" : "",
                    stdout);
        put_members(s, frame, told);
    } else if (json_is(type, "padding")) {
        if (whole(frame_size(s, frame)) > 0) {
            (void)printf(" %" PRIu64, whole(frame_size(s, frame)));
        }
    } else {
        put_members(s, frame, told_other);
    }
}

static void put_frames(const struct show *s, const struct json_token *data)
{
    const struct json_token *frames = member(s, data, "frames");
    const char *separator = ": ";

    for (const struct json_token *f = json_first(s->file.tokens, frames);
         f != NULL && frames->kind == JSON_ARRAY; f = json_next(s->file.tokens, frames, f)) {
        (void)fputs(separator, stdout);
        put_frame(s, f);
        separator = ", ";
    }
}

/* "1RTT 17" */
static void put_packet(const struct show *s, const struct json_token *data)
{
    const struct json_token *header = member(s, data, "header");
    const struct json_token *number = member(s, header, "packet_number");
    const struct json_token *type = either(s, header, "packet_type", "type");

    put_value(type != NULL ? type : member(s, data, "packet_type"));
    if (number != NULL) {
        (void)fputc(' ', stdout);
        put_value(number);
    }
}

static void take_packet(struct show *s, const struct json_token *data, struct side *side,
                        const char *what)
{
    static const char *const told[] = {"header",      "raw",         "frames",
                                       "packet_type", "packet_size", NULL};
    const struct json_token *raw = member(s, data, "raw");
    const struct json_token *size = member(s, raw, "length");
    uint64_t bytes = whole(size != NULL ? size : member(s, data, "packet_size"));

    side->packets++;
    side->bytes += bytes;
    if (s->summary_only) {
        return;
    }
    put_time(s);
    (void)printf("%-9s ", what);
    put_packet(s, data);
    if (bytes > 0) {
        (void)printf(", %" PRIu64 " bytes", bytes);
    }
    put_frames(s, data);
    put_members(s, data, told);
    (void)fputc('\n', stdout);
}

/* ---- all else -------------------------------------------------------------------------------- */

static void put_line(const struct show *s, const char *what, const struct json_token *data)
{
    static const char *const none[] = {NULL};

    if (s->summary_only) {
        return;
    }
    put_time(s);
    (void)printf("%-9s", what);
    put_members(s, data, none);
    (void)fputc('\n', stdout);
}

static void on_metrics(struct show *s, const struct json_token *data)
{
    range_add(&s->rtt, member(s, data, "smoothed_rtt"));
    range_add(&s->cwnd, either(s, data, "congestion_window", "cwnd"));
    range_add(&s->in_flight, member(s, data, "bytes_in_flight"));
}

static void on_mtu(struct show *s, const struct json_token *data)
{
    s->mtu = whole(member(s, data, "new"));
}

static void on_key(struct show *s, const struct json_token *data)
{
    const struct json_token *trigger = member(s, data, "trigger");

    /* One update is two events: our own key and the peer's. */
    s->key_updates += json_is(trigger, "local_update") || json_is(trigger, "remote_update") ? 1 : 0;
}

static void on_warning(struct show *s, const struct json_token *data)
{
    (void)data;
    s->warnings++;
}

static void on_closed(struct show *s, const struct json_token *data)
{
    static const char *const names[] = {"owner",
                                        "initiator",
                                        "connection_code",
                                        "connection_error",
                                        "application_code",
                                        "application_error",
                                        "error_code",
                                        "trigger",
                                        "reason"};
    char value[VALUE_MAX + 1];
    size_t used = 0;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct json_token *token = member(s, data, names[i]);
        int size;

        if (token == NULL || token->size == 0 || used + 1 >= sizeof s->closed) {
            continue;
        }
        size = snprintf(s->closed + used, sizeof s->closed - used, "%s%s %s", used > 0 ? ", " : "",
                        names[i], value_text(token, value, sizeof value));
        used += size > 0 ? (size_t)size : 0;
    }
}

/* Names without their category, of the drafts old and new; how the line begins; whose sum a packet
 * goes into, 0: it is none; what else is to be remembered. */
static const struct {
    const char *name, *label;
    size_t side;
    void (*on)(struct show *s, const struct json_token *data);
} rows[] = {
    /* clang-format off */
    {"packet_sent",              "sent",      offsetof(struct show, sent), NULL},
    {"packet_received",          "received",  offsetof(struct show, received), NULL},
    {"packet_lost",              "LOST",      offsetof(struct show, lost), NULL},
    {"packet_dropped",           "DROPPED",   offsetof(struct show, dropped), NULL},
    {"metrics_updated",          "metrics",   0,                          on_metrics},
    {"recovery_metrics_updated", "metrics",   0,                          on_metrics},
    {"congestion_state_updated", "window",    0,                          NULL},
    {"connection_started",       "started",   0,                          NULL},
    {"connection_state_updated", "state",     0,                          NULL},
    {"connection_closed",        "CLOSED",    0,                          on_closed},
    {"parameters_set",           "params",    0,                          NULL},
    {"parameters_restored",      "params",    0,                          NULL},
    {"recovery_parameters_set",  "params",    0,                          NULL},
    {"alpn_information",         "params",    0,                          NULL},
    {"version_information",      "params",    0,                          NULL},
    {"path_updated",             "path",      0,                          NULL},
    {"path_assigned",            "path",      0,                          NULL},
    {"tuple_assigned",           "path",      0,                          NULL},
    {"migration_state_updated",  "path",      0,                          NULL},
    {"connection_id_updated",    "path",      0,                          NULL},
    {"ecn_state_updated",        "ecn",       0,                          NULL},
    {"mtu_updated",              "mtu",       0,                          on_mtu},
    {"key_updated",              "key",       0,                          on_key},
    {"key_discarded",            "key gone",  0,                          NULL},
    {"key_retired",              "key gone",  0,                          NULL},
    {"stream_state_updated",     "stream",    0,                          NULL},
    {"loss_timer_updated",       "timer",     0,                          NULL},
    {"timer_updated",            "timer",     0,                          NULL},
    {"warning",                  "WARNING",   0,                          on_warning},
    {"error",                    "ERROR",     0,                          on_warning},
    /* clang-format on */
};

/* ---- records --------------------------------------------------------------------------------- */

static void take_time(struct show *s, const struct json_token *token)
{
    double ms;

    if (!json_number(token, &ms)) {
        return;
    }
    if (s->delta) {
        s->time_ms += ms;
        return;
    }
    if (!s->based) {
        s->base_ms = ms;
        s->based = true;
    }
    s->time_ms = ms - s->base_ms;
}

static void take_known(struct show *s, size_t row, const struct json_token *data)
{
    if (rows[row].side != 0) {
        take_packet(s, data, (struct side *)(void *)((char *)s + rows[row].side), rows[row].label);
        return;
    }
    if (rows[row].on != NULL) {
        rows[row].on(s, data);
    }
    put_line(s, rows[row].label, data);
}

static void take_event(struct show *s)
{
    const struct json_token *record = &s->file.tokens[0];
    const struct json_token *name = member(s, record, "name");
    const struct json_token *data = member(s, record, "data");
    const char *colon;
    size_t size, i;

    s->events++;
    take_time(s, member(s, record, "time"));
    if (name == NULL || name->kind != JSON_STRING) {
        complain("%s: line %lu: an event without a name", s->file.name, s->file.line);
        s->bad++;
        return;
    }
    colon = memchr(name->text, ':', name->size);
    size = colon != NULL ? (size_t)(name->text + name->size - colon - 1) : name->size;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strlen(rows[i].name) == size
            && memcmp(rows[i].name, name->text + name->size - size, size) == 0) {
            take_known(s, i, data);
            return;
        }
    }
    s->unknown++;
    if (!s->summary_only) {
        char text[VALUE_MAX + 1];

        put_line(s, value_text(name, text, sizeof text), data);
    }
}

/* The first record: who wrote it, and how times are meant. */
static bool take_header(struct show *s)
{
    const struct json_token *record = &s->file.tokens[0];
    const struct json_token *trace = member(s, record, "trace");
    const struct json_token *common = member(s, trace, "common_fields");
    const struct json_token *format = member(s, common, "time_format");

    if (member(s, record, "traces") != NULL) {
        complain("%s: one JSON object with all events; `antq qlog` reads JSON text sequences"
                 " (.sqlog)",
                 s->file.name);
        return false;
    }
    if (either(s, record, "qlog_version", "file_schema") == NULL) {
        complain("%s: line %lu: no qlog: the first record has neither qlog_version nor file_schema",
                 s->file.name, s->file.line);
        return false;
    }
    s->delta = json_is(format, "delta") || json_is(format, "relative_to_previous_event");
    (void)value_text(member(s, member(s, trace, "vantage_point"), "type"), s->vantage,
                     sizeof s->vantage);
    (void)value_text(either(s, common, "ODCID", "group_id"), s->id, sizeof s->id);
    return true;
}

/* ---- the sum --------------------------------------------------------------------------------- */

static void put_range(const char *name, const struct range *r, const char *unit, int decimals)
{
    if (r->count > 0) {
        (void)printf("%-10s least %.*f, most %.*f, last %.*f%s\n", name, decimals, r->least,
                     decimals, r->most, decimals, r->last, unit);
    }
}

static void put_summary(const struct show *s)
{
    char sent[32], received[32];

    (void)printf("--- %s: %s, original connection id %s ---\n", s->file.name,
                 s->vantage[0] != '\0' ? s->vantage : "unknown side",
                 s->id[0] != '\0' ? s->id : "unknown");
    (void)printf("duration   %.3f ms, %" PRIu64 " events", s->time_ms, s->events);
    if (s->unknown > 0) {
        (void)printf(", %" PRIu64 " of kinds not known here", s->unknown);
    }
    (void)printf("\nsent       %" PRIu64 " packets, %s\n", s->sent.packets,
                 bytes_text(s->sent.bytes, sent, sizeof sent));
    (void)printf("received   %" PRIu64 " packets, %s\n", s->received.packets,
                 bytes_text(s->received.bytes, received, sizeof received));
    (void)printf("lost       %" PRIu64 " packets, %.2f %% of those sent; %" PRIu64
                 " received ones dropped\n",
                 s->lost.packets,
                 s->sent.packets > 0 ? 100 * (double)s->lost.packets / (double)s->sent.packets : 0,
                 s->dropped.packets);
    put_range("rtt", &s->rtt, " ms", 3);
    put_range("window", &s->cwnd, " bytes", 0);
    put_range("in flight", &s->in_flight, " bytes", 0);
    if (s->mtu > 0) {
        (void)printf("mtu        %" PRIu64 " bytes\n", s->mtu);
    }
    if (s->key_updates > 0) {
        (void)printf("keys       updated %" PRIu64 " times, counted in each direction\n",
                     s->key_updates);
    }
    if (s->warnings > 0) {
        (void)printf("warnings   %" PRIu64 ", see above\n", s->warnings);
    }
    (void)printf("closed     %s\n", s->closed[0] != '\0' ? s->closed : "not in this log");
}

/* ---- the command ----------------------------------------------------------------------------- */

static bool show_file(struct show *s)
{
    enum qlog_file_result result = qlog_file_next(&s->file);

    if (result == QLOG_FILE_RECORD && !take_header(s)) {
        return false;
    }
    if (result != QLOG_FILE_RECORD) {
        complain("%s", result == QLOG_FILE_END ? "no record in the file" : s->file.error);
        return false;
    }
    while ((result = qlog_file_next(&s->file)) == QLOG_FILE_RECORD || result == QLOG_FILE_BAD) {
        if (result == QLOG_FILE_RECORD) {
            take_event(s);
        } else if (s->bad++ == 0) { /* the first tells what is wrong with the file */
            complain("%s", s->file.error);
        }
    }
    if (result == QLOG_FILE_FAILED) {
        complain("%s", s->file.error);
        return false;
    }
    put_summary(s);
    if (s->bad > 1) {
        complain("%s: %" PRIu64 " records could not be read", s->file.name, s->bad);
    }
    return s->bad == 0;
}

struct show_flags {
    bool summary;
};

int qlog_main(int argc, char **argv)
{
    static const struct option_row show_rows[] = {
        {"summary", 0, OPTION_FLAG, offsetof(struct show_flags, summary), NULL, 0, 0,
         "the sum alone, without a line for each event"},
    };
    static struct show show;
    struct show_flags flags = {false};
    const struct option_set sets[] = {{"Flags:", show_rows, 1, &flags}};
    const struct command command = {
        .name = "antq qlog",
        .word = "FILE",
        .about = "Shows a qlog file (JSON text sequences, as --qlog writes them, or another QUIC\n"
                 "program): a line for each event, time in ms, and the sum at the end. FILE - is\n"
                 "standard input.",
        .sets = sets,
        .set_count = 1,
    };
    const char *name = NULL;
    bool ok;
    int code;

    if (!command_parse(&command, argc, argv, &name, &code)) {
        return code;
    }
    show.summary_only = flags.summary;
    if (!qlog_file_open(&show.file, name)) {
        complain("%s", show.file.error);
        return EXIT_FAILED;
    }
    ok = show_file(&show);
    qlog_file_close(&show.file);
    return ok ? EXIT_DONE : EXIT_FAILED;
}
