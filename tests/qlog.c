/* qlog.c -- the qlog of whole connections: what the log says is what the connection counted, a full
 * ring is told, a folder that cannot be written to as well; and reading files that are damaged. */
#include "apps/qlog.h"
#include "apps/qlog_file.h"
#include "tests/pair.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

static char folder[64];

static struct qlog *open_log(void)
{
    struct qlog *q;
    strcpy(folder, "/tmp/antq-qlog.XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    cr_assert(qlog_wanted(folder, 8, &q));
    cr_assert_not_null(q);
    return q;
}

/* Removes the folder; how many files were in it. The last one's name stays in name. */
static unsigned remove_log(void)
{
    unsigned files = 0;
    char path[600];
    DIR *dir = opendir(folder);
    cr_assert_not_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        unlink(path);
        files++;
    }
    closedir(dir);
    rmdir(folder);
    return files;
}

static void path_of(char *path, size_t size, const char *end)
{
    DIR *dir = opendir(folder);
    cr_assert_not_null(dir);
    *path = 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (strstr(e->d_name, end))
            snprintf(path, size, "%s/%s", folder, e->d_name);
    }
    closedir(dir);
}

struct told {
    unsigned sent, received, lost, dropped, closed, warnings, records, mtu, parameters;
    uint64_t sent_bytes, stream_bytes; /* of packets; of the STREAM frames in them */
    double cwnd, last_ms;
    char id[64], text[4096];
};

static double number_of(const struct json_token *tokens, const struct json_token *object,
                        const char *name)
{
    double value = -1;
    (void)json_number(json_member(tokens, object, name), &value);
    return value;
}

static uint64_t stream_bytes(const struct json_token *v, const struct json_token *frames)
{
    uint64_t sum = 0;
    cr_assert_not_null(json_first(v, frames), "a packet has frames");
    for (const struct json_token *f = json_first(v, frames); f; f = json_next(v, frames, f)) {
        if (json_is(json_member(v, f, "frame_type"), "stream"))
            sum += (uint64_t)number_of(v, f, "length");
    }
    return sum;
}

static void read_event(struct told *t, const struct json_token *v)
{
    const struct json_token *name = json_member(v, v, "name"), *data = json_member(v, v, "data");
    double time = number_of(v, v, "time");
    cr_assert(name && data && data->kind == JSON_OBJECT);
    cr_expect_geq(time, t->last_ms, "times do not run back");
    t->last_ms = time;
    t->sent += json_is(name, "transport:packet_sent");
    if (json_is(name, "transport:packet_sent"))
        t->sent_bytes += (uint64_t)number_of(v, json_member(v, data, "raw"), "length");
    if (json_is(name, "transport:packet_sent"))
        t->stream_bytes += stream_bytes(v, json_member(v, data, "frames"));
    t->received += json_is(name, "transport:packet_received");
    t->lost += json_is(name, "recovery:packet_lost");
    t->dropped += json_is(name, "transport:packet_dropped");
    t->closed += json_is(name, "connectivity:connection_closed");
    t->mtu += json_is(name, "connectivity:mtu_updated");
    t->parameters += json_is(name, "transport:parameters_set");
    t->warnings += json_is(name, "loglevel:warning");
    if (json_is(name, "recovery:metrics_updated") && json_member(v, data, "congestion_window"))
        t->cwnd = number_of(v, data, "congestion_window");
    if (json_is(name, "connectivity:connection_closed"))
        snprintf(t->text, sizeof t->text, "%.*s", (int)data->size, data->text);
}

static struct told read_log(const char *end)
{
    struct told t = {0};
    struct qlog_file f;
    char path[600];
    enum qlog_file_result result;
    path_of(path, sizeof path, end);
    cr_assert(*path, "no file %s", end);
    cr_assert(qlog_file_open(&f, path), "%s", f.error);
    cr_expect_eq(f.separator, 0x1e);
    cr_assert_eq(qlog_file_next(&f), QLOG_FILE_RECORD);
    const struct json_token *v = f.tokens;
    cr_expect(json_is(json_member(v, v, "qlog_version"), "0.3"));
    cr_expect(json_is(json_member(v, v, "qlog_format"), "JSON-SEQ"));
    const struct json_token *id =
        json_member(v, json_member(v, json_member(v, v, "trace"), "common_fields"), "ODCID");
    cr_assert_not_null(id);
    snprintf(t.id, sizeof t.id, "%.*s", (int)id->size, id->text);
    cr_expect_not_null(strstr(path, t.id), "the file has its name");
    while ((result = qlog_file_next(&f)) == QLOG_FILE_RECORD) {
        t.records++;
        read_event(&t, f.tokens);
    }
    cr_expect_eq(result, QLOG_FILE_END, "%s", f.error);
    qlog_file_close(&f);
    return t;
}

static struct pair *traced(uint32_t events)
{
    struct aq_config client, server;
    pair_config(&client, false);
    pair_config(&server, true);
    client.trace_events = server.trace_events = events;
    return pair_new(&client, &server);
}

/* A transfer from the client with losses on the way. */
static void transfer(struct pair *p, struct qlog *a, struct qlog *b)
{
    static uint8_t bytes[100000];
    struct aq_iov iov = {bytes, sizeof bytes};
    aq_stream stream;
    pair_dial(p);
    pair_run(p, 100000);
    cr_assert_eq(aq_stream_open(p->client.ep, p->client.conn, false, NULL, &stream), AQ_OK);
    cr_assert_eq(aq_stream_write(p->client.ep, stream, &iov, 1, AQ_FIN), (int64_t)sizeof bytes);
    p->client.lose_nth = p->client.sent + 5;
    for (unsigned i = 0; i < 100; i++) {
        pair_run(p, 5000);
        qlog_drain(a, p->client.ep);
        qlog_drain(b, p->server.ep);
    }
}

/* The log and the connection count alike, at both ends; both files bear one id. */
Test(qlog, counts)
{
    struct qlog *a = open_log(), *b;
    cr_assert(qlog_wanted(folder, 8, &b));
    struct pair *p = traced(16384);
    transfer(p, a, b);
    struct aq_conn_stats client = pair_stats(&p->client), server = pair_stats(&p->server);
    cr_assert_gt(client.lost_packets, 0);
    cr_assert_eq(aq_close(p->client.ep, p->client.conn, 7, "all \"done\"\n", p->now_us), AQ_OK);
    pair_run(p, 5000000); /* until both are over: their files are closed */
    qlog_free(a, p->client.ep);
    qlog_free(b, p->server.ep);
    struct told c = read_log("_client.sqlog"), s = read_log("_server.sqlog");
    cr_expect_str_eq(c.id, s.id);
    cr_expect_eq(c.sent, client.sent_packets + 1, "and the close");
    cr_expect_eq(c.received, client.recv_packets);
    cr_expect_eq(c.lost, client.lost_packets);
    cr_expect_eq(c.cwnd, (double)client.cwnd_bytes);
    cr_expect_eq(s.sent, server.sent_packets);
    cr_expect_eq(s.received, server.recv_packets + 1);
    cr_expect_leq(c.sent_bytes, client.sent_bytes + 1500);
    cr_expect_geq(c.sent_bytes, client.sent_bytes);
    cr_expect_eq(c.stream_bytes, 100000 + client.resent_bytes);
    cr_expect(c.closed == 1 && s.closed == 1 && c.warnings == 0 && s.warnings == 0);
    cr_expect(c.parameters == 3 && s.parameters == 3, "ours, the peer's, the cipher");
    cr_expect_str_eq(c.text, "{\"owner\":\"local\",\"application_code\":7,\"reason\":\"all "
                             "\\\"done\\\"\\u000a (aq_close)\",\"trigger\":\"application\"}");
    cr_expect_str_eq(s.text, "{\"owner\":\"remote\",\"application_code\":7,\"reason\":\"all "
                             "\\\"done\\\"?\",\"trigger\":\"application\"}");
    cr_expect_not(logs_failed());
    pair_free(p);
    cr_expect_eq(remove_log(), 2);
}

/* A ring that is too small: what is missing is counted in the log, and every record is whole. */
Test(qlog, ring_full)
{
    struct qlog *a = open_log(), *b;
    cr_assert(qlog_wanted(folder, 8, &b));
    struct pair *p = traced(64);
    transfer(p, a, b);
    cr_assert_gt(side_stats(&p->client).trace_lost, 0);
    qlog_free(a, p->client.ep);
    qlog_free(b, p->server.ep);
    struct told c = read_log("_client.sqlog");
    cr_expect_gt(c.warnings, 0);
    cr_expect_lt(c.sent, pair_stats(&p->client).sent_packets);
    pair_free(p);
    remove_log();
}

/* Slots are used again: each connection has its own file. A connection whose client never says an
 * authentic word has none. */
Test(qlog, files)
{
    struct qlog *a = open_log(), *b;
    cr_assert(qlog_wanted(folder, 8, &b));
    struct pair *p = traced(16384);
    for (unsigned i = 0; i < 3; i++) {
        pair_dial(p);
        pair_run(p, 200000);
        cr_assert_eq(aq_close(p->client.ep, p->client.conn, 0, NULL, p->now_us), AQ_OK);
        pair_run(p, 5000000);
        qlog_drain(a, p->client.ep);
        qlog_drain(b, p->server.ep);
    }
    struct pair_datagram d;
    pair_dial(p);
    side_turn(&p->client, p->now_us);
    cr_assert(side_take(&p->client, &d));
    d.data[d.size - 1] ^= 1;
    side_recv(&p->server, &p->client.addr, d.data, d.size, p->now_us);
    qlog_free(a, p->client.ep);
    qlog_free(b, p->server.ep);
    pair_free(p);
    cr_expect_eq(remove_log(), 4 + 3);
}

/* Nothing is asked for: nothing is done. A folder that is not there is said before the start. */
Test(qlog, wanted)
{
    struct qlog *q = (struct qlog *)folder;
    unsetenv("QLOGDIR");
    cr_expect(qlog_wanted(NULL, 8, &q));
    cr_expect_null(q);
    qlog_drain(q, NULL);
    qlog_free(q, NULL);
    cr_expect_not(qlog_wanted("/nonexistent", 8, &q));
    cr_expect_null(q);
    cr_expect_not(qlog_wanted("/dev/null", 8, &q), "no folder");
    setenv("QLOGDIR", "/nonexistent", 1);
    cr_expect_not(qlog_wanted(NULL, 8, &q));
    setenv("QLOGDIR", "", 1);
    cr_expect(qlog_wanted(NULL, 8, &q));
    cr_expect_not(logs_failed());
}

/* ---- files ---- */

static void reads(const char *text, size_t size, const char *const *lines)
{
    struct qlog_file f;
    enum qlog_file_result result = QLOG_FILE_END;
    strcpy(folder, "/tmp/antq-qlog.XXXXXX");
    int fd = mkstemp(folder);
    cr_assert(fd >= 0 && write(fd, text, size) == (ssize_t)size);
    close(fd);
    cr_assert(qlog_file_open(&f, folder), "%s", f.error);
    for (unsigned i = 0; lines[i]; i++) {
        result = qlog_file_next(&f);
        if (result == QLOG_FILE_RECORD)
            snprintf(f.error, sizeof f.error, "record at %lu", f.line);
        cr_expect(strstr(f.error, lines[i]), "'%s' is not '%s'", f.error, lines[i]);
    }
    cr_expect_eq(qlog_file_next(&f), QLOG_FILE_END);
    qlog_file_close(&f);
    unlink(folder);
}

/* RFC 7464 §2.4: a damaged text is passed over; the line of each is known. */
Test(qlog, damaged_files)
{
#define READS(text, ...) reads(text, sizeof text - 1, (const char *const[]){__VA_ARGS__, NULL})
    READS("\x1e{\"a\":1}\n\x1e{}\n", "record at 1", "record at 2");
    READS("\x1e{\n\"a\":\n1}\n\x1e{}\n", "record at 1", "record at 4");
    READS("\x1e{}\n\x1e{\"a\":\n\x1e{}\n", "record at 1", "line 3, column 1: not JSON",
          "record at 3");
    READS("\x1e{}\n\x1e{\"a", "record at 1",
          "line 2, column 4: not JSON: a string does not end; "
          "the file ends here");
    READS("\x1e\n\x1e\x1e{}\n", "record at 2");
    READS("\x1e[1]\n\x1e{}", "line 1: no object", "record at 2");
    READS("{}\n{}\n\n{}\n", "record at 1", "record at 2", "record at 4");
    READS("junk\n{}", "line 1, column 1: not JSON", "record at 2");
}

Test(qlog, no_file)
{
    struct qlog_file f;
    cr_expect_not(qlog_file_open(&f, "/nonexistent"));
    cr_expect_not_null(strstr(f.error, "cannot read \"/nonexistent\": No such file"));
    cr_expect_not(qlog_file_open(&f, "/dev/null"));
    cr_expect_str_eq(f.error, "\"/dev/null\" is empty");
    cr_expect_not(qlog_file_open(&f, "/"));
    cr_expect_not_null(strstr(f.error, "cannot read \"/\": Is a directory"));
}
