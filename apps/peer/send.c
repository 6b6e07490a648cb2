/* send.c -- `antq send PEERID FILE...`: one file after another, each verified by its hash.
 *
 * A connection that is lost is made again, and the file goes on where the receiver says. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/apps.h"
#include "apps/peer/files.h"

enum {
    SEND_WORDS = 1025,
    SEND_CHUNK = 65536
};

struct sender {
    struct peer_program p;
    const char *words[SEND_WORDS];
    size_t count, index; /* words[0] is the peer */
    uint8_t id[32];
    struct peer_stream *stream;
    aq_conn conn;
    int fd;
    uint64_t size, at, shown_us, began_us, began_at;
    struct file_hash job;
    uint8_t hash[32];
    uint8_t answer[FILE_ANSWER];
    size_t have;
    uint8_t chunk[SEND_CHUNK];
    size_t chunk_size, chunk_at;
    bool ready; /* the file at hand has its hash */
    bool going, failed, ended, relayed;
};

static void next_file(struct sender *f);

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

/* Opens the file at hand, of which the hash is taken next. */
static bool open_file(struct sender *f)
{
    const char *path = f->words[f->index];
    struct stat st;

    f->ready = false;

    if (f->fd >= 0) {
        (void)close(f->fd);
    }
    f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (f->fd < 0 || fstat(f->fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        complain("cannot send \"%s\": %s", path,
                 f->fd < 0             ? strerror(errno)
                 : S_ISDIR(st.st_mode) ? "it is a directory; pack it first, for example with tar"
                                       : "it is no file");
        return false;
    }
    return true;
}

static void show(struct sender *f, bool end)
{
    uint64_t now = aq_loop_now(f->p.loop);
    char at[32], size[32];

    if (!progress_wanted(false) || (!end && now - f->shown_us < 200000)) {
        return;
    }
    f->shown_us = now;
    progress_line("%s: %s of %s, %.1f Mbit/s, %s", base_name(f->words[f->index]),
                  bytes_text(f->at, at, sizeof at), bytes_text(f->size, size, sizeof size),
                  gbit_per_s(f->at - f->began_at, now - f->began_us) * 1e3,
                  f->relayed ? "relayed" : "direct");
}

static void file_over(struct sender *f, unsigned verdict)
{
    const char *name = base_name(f->words[f->index]);
    bool good = verdict == FILE_DONE;
    char size[32];

    show(f, true);
    progress_end();
    f->failed |= !good;
    if (f->p.flags.json) {
        (void)printf("{\"event\":\"file\",\"name\":");
        json_text(stdout, name);
        (void)printf(",\"size\":%llu,\"ok\":%s,\"seconds\":%.3f}\n", (unsigned long long)f->size,
                     good ? "true" : "false", (double)(aq_loop_now(f->p.loop) - f->began_us) / 1e6);
    } else if (good) {
        note("%s: %s, received and verified", name, bytes_text(f->size, size, sizeof size));
    }
    if (!good) {
        complain("sending %s: %s", name, file_verdict_text(verdict));
    }
    f->index++;
    f->stream = NULL;
    next_file(f);
}

static void send_writable(struct peer_program *p, struct peer_stream *s)
{
    struct sender *f = p->user;

    while (f->going && s == f->stream) {
        if (f->chunk_at == f->chunk_size) {
            size_t want = f->size - f->at < SEND_CHUNK ? (size_t)(f->size - f->at) : SEND_CHUNK;
            ssize_t got = want > 0 ? pread(f->fd, f->chunk, want, (off_t)f->at) : 0;

            if (got < 0 || (got == 0 && want > 0)) { /* it has become shorter */
                f->going = false;
                (void)aq_stream_write(p->ep, s->id, NULL, 0, AQ_FIN);
                return;
            }
            f->chunk_at = 0;
            f->chunk_size = (size_t)got;
        }
        struct aq_iov iov = {f->chunk + f->chunk_at, f->chunk_size - f->chunk_at};
        bool last = f->at + iov.size == f->size;
        int64_t taken = aq_stream_write(p->ep, s->id, &iov, 1, last ? AQ_FIN : 0);

        if (taken < 0) {
            return;
        }
        f->chunk_at += (size_t)taken;
        f->at += (uint64_t)taken;
        show(f, false);
        if ((size_t)taken < iov.size) {
            return; /* the rest when there is room */
        }
        f->going = !last;
    }
}

static void send_readable(struct peer_program *p, struct peer_stream *s)
{
    struct sender *f = p->user;

    if (s != f->stream) {
        return;
    }
    f->have = file_gather(p, s, f->answer, f->have, FILE_ANSWER);
    if (f->have < FILE_ANSWER) {
        return;
    }
    f->have = 0;
    f->at = get64(f->answer + 1);
    if (f->answer[0] != FILE_GO || f->at > f->size) {
        if (f->answer[0] == FILE_DONE) {
            f->at = f->size;
        }
        f->going = false;
        file_over(f, f->answer[0] != FILE_GO ? f->answer[0] : FILE_VERDICTS);
        return;
    }
    f->began_at = f->at;
    f->began_us = aq_loop_now(p->loop);
    f->chunk_at = f->chunk_size = 0;
    f->going = true;
    send_writable(p, s);
}

static void send_closed(struct peer_program *p, struct peer_stream *s, bool lost)
{
    struct sender *f = p->user;

    if (s != f->stream) {
        return;
    }
    f->stream = NULL;
    f->going = false;
    if (lost && f->conn != 0 && !f->ended) { /* the connection is there: it was refused */
        complain("sending: that peer takes no files now; it must run `antq recv`");
        f->ended = f->failed = true;
        peer_end(p, EXIT_FAILED);
    }
}

static const struct peer_service send_service = {
    .kind = PEER_FILE, .readable = send_readable, .writable = send_writable, .closed = send_closed};

static void announce(struct sender *f)
{
    const char *name = base_name(f->words[f->index]);
    uint8_t head[FILE_HEAD];
    struct aq_iov iov[2] = {{head, sizeof head}, {(const uint8_t *)name, strlen(name)}};

    head[0] = (uint8_t)(iov[1].size >> 8);
    head[1] = (uint8_t)iov[1].size;
    put64(head + 2, f->size);
    memcpy(head + 10, f->hash, sizeof f->hash);
    f->have = 0;
    f->stream = peer_open(&f->p, f->conn, &send_service);
    if (f->stream != NULL) {
        (void)aq_stream_write(f->p.ep, f->stream->id, iov, 2, 0);
    }
}

static void hashed(void *user, bool whole)
{
    struct sender *f = user;

    if (!whole) {
        complain("cannot read \"%s\": %s", f->words[f->index], strerror(errno));
        f->failed = true;
        f->index++;
        next_file(f);
        return;
    }
    (void)SHA256_Final(f->hash, &f->job.sha);
    f->size = f->job.size;
    f->ready = true;
    if (f->conn != 0) {
        announce(f);
    }
}

static void next_file(struct sender *f)
{
    while (f->index < f->count && !open_file(f)) {
        f->failed = true;
        f->index++;
    }
    if (f->index < f->count) {
        f->job = (struct file_hash){.loop = f->p.loop, .fd = f->fd, .done = hashed, .user = f};
        file_hash_begin(&f->job);
    } else if (!f->ended) {
        f->ended = true;
        peer_end(&f->p, f->failed ? EXIT_FAILED : EXIT_DONE);
    }
}

static void send_event(struct peer_program *p, const struct aq_node_event *event)
{
    struct sender *f = p->user;
    bool it = event->peer_id != NULL && memcmp(event->peer_id, f->id, sizeof f->id) == 0;

    if (event->kind == AQ_NODE_REGISTERED && event->result == AQ_NODE_NONE && f->conn == 0
        && !peer_is_limited(p)) {
        complain("registering: no bootstrap node has us; `antq doctor` tells more");
        peer_end(p, EXIT_FAILED);
    } else if (it && event->kind == AQ_NODE_CONNECTED) {
        f->conn = event->conn;
        f->relayed = event->relayed;
        if (f->ready && f->index < f->count) {
            announce(f); /* or, if the connection was lost: the same file goes on */
        }
    } else if (it && event->kind == AQ_NODE_PATH) {
        f->relayed = event->relayed;
    } else if (it && event->kind == AQ_NODE_CLOSED) {
        f->conn = 0;
        if (!f->ended) {
            note("the connection was lost; trying again");
        }
    } else if (it && event->kind == AQ_NODE_FAILED && f->began_us == 0 && !peer_goes_on(p, event)) {
        peer_end(p, EXIT_FAILED); /* at the first time; later it may come back */
    }
}

static void send_stop(struct peer_program *p)
{
    struct sender *f = p->user;

    if (!f->ended) {
        progress_end();
        complain("interrupted: %zu of %zu files not sent; what has arrived of one is gone on with "
                 "when it is sent again",
                 f->count - f->index, f->count - 1);
        f->ended = true;
        p->code = EXIT_FAILED;
    }
}

int send_main(int argc, char **argv)
{
    static struct sender f;
    const struct option_set sets[] = {{"Flags:", peer_rows, PEER_ROWS, &f.p.flags}};
    const struct command command = {
        .name = "antq send",
        .word = "PEERID FILE...",
        .words = f.words,
        .word_max = SEND_WORDS,
        .word_count = &f.count,
        .about = "Sends files to a peer that runs `antq recv`. Each is verified by its hash; a\n"
                 "connection that is lost is made again, and the file goes on where it stopped.",
        .sets = sets,
        .set_count = 1,
    };
    const char *word = NULL;
    int code;

    f.fd = -1;
    if (!command_parse(&command, argc, argv, &word, &code)) {
        return code;
    }
    if (!peer_word(f.words[0], f.id)) {
        return EXIT_WRONG_USE;
    }
    if (f.count < 2) {
        complain("which files? antq send PEERID FILE...");
        return EXIT_WRONG_USE;
    }
    f.index = 1;
    f.p.user = &f;
    f.p.target = f.id;
    f.p.on_event = send_event;
    f.p.on_stop = send_stop;
    if (!peer_start(&f.p, &code)) {
        return code;
    }
    next_file(&f); /* its hash is taken while the connection is made */
    if (!f.ended) {
        peer_connect(&f.p, f.id, AQ_NODE_KEEP);
    }
    code = peer_run(&f.p);
    if (f.fd >= 0) {
        (void)close(f.fd);
    }
    return code;
}
