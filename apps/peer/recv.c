/* recv.c -- `antq recv`: takes files that peers send into a folder.
 *
 * A file grows under its hidden part name, which has its hash in it, so that a transfer that was
 * cut is gone on with, and two files of one name do not mix. Whole and right, it is linked to its
 * name, which fails where there is one: nothing is overwritten unless that was asked for. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/apps.h"
#include "apps/peer/files.h"

struct recv_flags {
    const char *dir;
    bool overwrite;
    uint64_t count;
};

struct receiver {
    struct peer_program p;
    struct recv_flags flags;
    int dir;
    mode_t mode; /* of a whole file: what the umask leaves */
    uint64_t received, shown_us;
};

/* A file that comes. */
struct coming {
    uint8_t head[FILE_HEAD + FILE_NAME + 1];
    size_t have;
    char name[FILE_NAME + 1], part[40];
    uint64_t size, at;
    uint8_t hash[32];
    SHA256_CTX sha;
    struct file_hash job; /* of the file of that name, then of the part that is there */
    struct receiver *r;
    struct peer_stream *s;
    int fd;
    bool headed, going, over;
};

#define ROW(name, kind, field, argument, max, help)                               \
    {                                                                             \
        name, 0, kind, offsetof(struct recv_flags, field), argument, 0, max, help \
    }
/* clang-format off */
static const struct option_row recv_rows[] = {
    ROW("dir", OPTION_TEXT, dir, "DIR", 0, "put files there [.]"),
    ROW("overwrite", OPTION_FLAG, overwrite, NULL, 0, "replace files of the same name"),
    ROW("count", OPTION_NUMBER, count, "N", UINT32_MAX, "end after N files [0: never]"),
};
/* clang-format on */

static void answer(struct peer_program *p, struct peer_stream *s, enum file_verdict verdict,
                   uint64_t offset)
{
    uint8_t bytes[FILE_ANSWER] = {(uint8_t)verdict};
    struct aq_iov iov = {bytes, sizeof bytes};
    struct coming *c = s->state;

    put64(bytes + 1, offset);
    (void)aq_stream_write(p->ep, s->id, &iov, 1, verdict == FILE_GO ? 0 : AQ_FIN);
    if (verdict != FILE_GO) {
        c->over = true;
        (void)aq_stream_stop(p->ep, s->id, 0);
    }
}

/* The same, said here; why: errno. */
static const char *verdict_text(enum file_verdict verdict, int why)
{
    switch (verdict) {
    case FILE_BAD: return "refused: its name has a dot in front, a slash or a control character";
    case FILE_EXISTS: return "there is another file of that name; --overwrite would replace it";
    case FILE_DISK: return strerror(why);
    case FILE_BUSY: return "the same file comes from somebody else already";
    case FILE_GO:
    case FILE_DONE:
    case FILE_HASH:
    case FILE_VERDICTS: break;
    }
    return file_verdict_text(verdict);
}

static void told(struct receiver *r, const struct coming *c, enum file_verdict verdict, int why)
{
    char size[32];

    if (r->p.flags.json) {
        (void)printf("{\"event\":\"file\",\"name\":");
        json_text(stdout, c->name);
        (void)printf(",\"size\":%llu,\"ok\":%s}\n", (unsigned long long)c->size,
                     verdict == FILE_DONE ? "true" : "false");
        peer_flush(&r->p);
    } else if (verdict == FILE_DONE) {
        note("%s: %s, whole", c->name, bytes_text(c->size, size, sizeof size));
    } else {
        complain("receiving %s: %s", c->name, verdict_text(verdict, why));
    }
}

static void over(struct receiver *r, struct peer_stream *s, enum file_verdict verdict)
{
    struct coming *c = s->state;
    int why = errno; /* of FILE_DISK */

    answer(&r->p, s, verdict, 0);
    told(r, c, verdict, why);
    r->received += verdict == FILE_DONE;
}

static void part_hashed(void *user, bool whole)
{
    struct coming *c = user;

    c->sha = c->job.sha;
    c->at = c->job.size;
    if (whole && c->at > c->size) { /* not what we left there */
        c->at = 0;
        (void)SHA256_Init(&c->sha);
        whole = ftruncate(c->fd, 0) == 0 && lseek(c->fd, 0, SEEK_SET) == 0;
    }
    c->going = whole;
    if (whole) {
        answer(&c->r->p, c->s, FILE_GO, c->at);
    } else {
        over(c->r, c->s, FILE_DISK);
    }
}

static void hash(struct coming *c, int fd, void (*done)(void *user, bool whole))
{
    c->job = (struct file_hash){.loop = c->r->p.loop, .fd = fd, .done = done, .user = c};
    file_hash_begin(&c->job);
}

/* No file of that name is the same: it grows under its part's name. */
static void open_part(struct coming *c)
{
    const uint8_t *h = c->hash;
    struct stat st;

    if (!c->r->flags.overwrite && fstatat(c->r->dir, c->name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        over(c->r, c->s, FILE_EXISTS);
        return;
    }
    (void)snprintf(c->part, sizeof c->part, ".antq-%02x%02x%02x%02x%02x%02x%02x%02x.part", h[0],
                   h[1], h[2], h[3], h[4], h[5], h[6], h[7]);
    c->fd = openat(c->r->dir, c->part, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (c->fd < 0) {
        over(c->r, c->s, FILE_DISK);
    } else if (flock(c->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        /* Two writers, and what has the right hash on the way would not have it on the disk. */
        (void)close(c->fd);
        c->fd = -1;
        over(c->r, c->s, FILE_BUSY);
    } else {
        hash(c, c->fd, part_hashed);
    }
}

static void there_hashed(void *user, bool whole)
{
    struct coming *c = user;
    uint8_t got[32];

    (void)SHA256_Final(got, &c->job.sha);
    (void)close(c->job.fd);
    if (whole && memcmp(got, c->hash, sizeof got) == 0) {
        over(c->r, c->s, FILE_DONE);
    } else {
        open_part(c);
    }
}

static void take_head(struct coming *c)
{
    size_t name = (size_t)c->head[0] << 8 | c->head[1];
    struct stat st;
    int fd;

    bool fits = name <= FILE_NAME;

    memcpy(c->name, c->head + FILE_HEAD, fits ? name : 0);
    c->size = get64(c->head + 2);
    memcpy(c->hash, c->head + 10, sizeof c->hash);
    if (!fits || !file_name_good(c->name, name) || c->size > INT64_MAX) {
        (void)snprintf(c->name, sizeof c->name, "a file");
        over(c->r, c->s, FILE_BAD);
        return;
    }
    fd = openat(c->r->dir, c->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == c->size) {
        hash(c, fd, there_hashed); /* it may be the same file */
        return;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    open_part(c);
}

/* The part gets its name, unless another file has it. */
static enum file_verdict name_part(struct receiver *r, const struct coming *c)
{
    if (r->flags.overwrite) {
        return renameat(r->dir, c->part, r->dir, c->name) == 0 ? FILE_DONE : FILE_DISK;
    }
    if (renameat2(r->dir, c->part, r->dir, c->name, RENAME_NOREPLACE) == 0) {
        return FILE_DONE;
    }
    if (errno != EINVAL && errno != ENOSYS) {
        return errno == EEXIST ? FILE_EXISTS : FILE_DISK;
    }
    if (linkat(r->dir, c->part, r->dir, c->name, 0)
        != 0) { /* file systems that know no such flag */
        return errno == EEXIST ? FILE_EXISTS : FILE_DISK;
    }
    (void)unlinkat(r->dir, c->part, 0);
    return FILE_DONE;
}

/* Everything came: is it right, and does it get its name? */
static enum file_verdict finish(struct receiver *r, struct coming *c)
{
    uint8_t hash[32];

    (void)SHA256_Final(hash, &c->sha);
    if (c->at != c->size || memcmp(hash, c->hash, sizeof hash) != 0) {
        (void)unlinkat(r->dir, c->part, 0);
        return FILE_HASH;
    }
    (void)fchmod(c->fd, r->mode); /* not every file system has modes */
    return fsync(c->fd) == 0 ? name_part(r, c) : FILE_DISK;
}

static void show(struct receiver *r, const struct coming *c)
{
    uint64_t now = aq_loop_now(r->p.loop);
    char at[32], size[32];

    if (now - r->shown_us < 200000 || !progress_wanted(false)) {
        return;
    }
    r->shown_us = now;
    progress_line("%s: %s of %s", c->name, bytes_text(c->at, at, sizeof at),
                  bytes_text(c->size, size, sizeof size));
}

static bool recv_opened(struct peer_program *p, struct peer_stream *s)
{
    struct coming *c = calloc(1, sizeof *c);

    if (c != NULL) {
        c->fd = -1;
        c->r = p->user;
        c->s = s;
    }
    s->state = c;
    return c != NULL;
}

/* False: it is not whole yet. */
static bool gather_head(struct peer_program *p, struct coming *c)
{
    c->have = file_gather(p, c->s, c->head, c->have, FILE_HEAD);
    if (c->have < FILE_HEAD) {
        return false;
    }
    size_t name = (size_t)c->head[0] << 8 | c->head[1];
    if (name > FILE_NAME) {
        return true; /* no name is that long */
    }
    c->have = file_gather(p, c->s, c->head, c->have, FILE_HEAD + name);
    return c->have == FILE_HEAD + name;
}

static void recv_readable(struct peer_program *p, struct peer_stream *s)
{
    struct receiver *r = p->user;
    struct coming *c = s->state;
    struct aq_iov iov;
    bool fin = false;

    if (!c->headed && gather_head(p, c)) {
        c->headed = true;
        take_head(c);
    }
    if (c->over || !c->going) {
        return;
    }
    while (aq_stream_peek(p->ep, s->id, &iov, 1, &fin) == 1 && iov.size > 0) {
        errno = ENOSPC; /* what a short write means */
        if (iov.size > c->size - c->at || write(c->fd, iov.data, iov.size) != (ssize_t)iov.size) {
            over(r, s, iov.size > c->size - c->at ? FILE_HASH : FILE_DISK);
            return;
        }
        (void)SHA256_Update(&c->sha, iov.data, iov.size);
        c->at += iov.size;
        show(r, c);
        (void)aq_stream_consume(p->ep, s->id, iov.size);
    }
    if (fin) {
        (void)aq_stream_consume(p->ep, s->id, 0);
        over(r, s, finish(r, c));
    }
}

static void recv_closed(struct peer_program *p, struct peer_stream *s, bool lost)
{
    struct receiver *r = p->user;
    struct coming *c = s->state;

    if (lost && c != NULL && c->going && !c->over) {
        note("%s: cut after %llu of %llu bytes; it goes on when it is sent again", c->name,
             (unsigned long long)c->at, (unsigned long long)c->size);
    }
    if (c != NULL && c->job.running && c->job.fd != c->fd) {
        (void)close(c->job.fd);
    }
    if (c != NULL) {
        file_hash_end(&c->job);
    }
    if (c != NULL && c->fd >= 0 && c->at == 0 && c->part[0] != '\0') {
        (void)unlinkat(r->dir, c->part, 0); /* nothing came: nothing to go on with */
    }
    if (c != NULL && c->fd >= 0) {
        (void)close(c->fd);
    }
    free(c);
    if (r->flags.count > 0 && r->received >= r->flags.count && !aq_loop_stopping(p->loop)) {
        peer_end(p, EXIT_DONE);
    }
}

static const struct peer_service recv_service = {
    .kind = PEER_FILE, .opened = recv_opened, .readable = recv_readable, .closed = recv_closed};

int recv_main(int argc, char **argv)
{
    static struct receiver r;
    static const struct peer_service *const services[] = {&recv_service, NULL};
    const struct option_set sets[] = {
        {"Flags:", recv_rows, sizeof recv_rows / sizeof recv_rows[0], &r.flags},
        {"Peer:", peer_rows, PEER_ROWS, &r.p.flags},
    };
    const struct command command = {
        .name = "antq recv",
        .about =
            "Stays online and takes the files that peers send (`antq send`) into a folder. Each is\n"
            "verified by its hash; one that was cut goes on where it stopped.",
        .sets = sets,
        .set_count = sizeof sets / sizeof sets[0],
    };
    char id[AQ_PEER_ID_TEXT];
    int code;

    r.flags.dir = ".";
    if (!command_parse(&command, argc, argv, NULL, &code)) {
        return code;
    }
    r.dir = open(r.flags.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r.dir < 0) {
        complain("--dir: cannot use \"%s\": %s", r.flags.dir, strerror(errno));
        return EXIT_FAILED;
    }
    if (faccessat(r.dir, ".", W_OK | X_OK, AT_EACCESS) != 0) {
        complain("--dir: cannot write in \"%s\": %s", r.flags.dir, strerror(errno));
        return EXIT_FAILED;
    }
    r.mode = umask(077);
    (void)umask(r.mode);
    r.mode = 0666 & ~r.mode;
    r.p.user = &r;
    r.p.services = services;
    if (!peer_start(&r.p, &code)) {
        return code;
    }
    note("send to me: antq send %s FILE", aq_peer_id_text(aq_node_id(r.p.node), id));
    code = peer_run(&r.p);
    (void)close(r.dir);
    return code;
}
