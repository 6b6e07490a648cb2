/* bootstrap.c -- `antq bootstrap`: the node where peers register and find each other.
 *
 * A thin program around antq_bootstrap.h: flags, the files (key, state, allow list), lines for
 * people or programs, signals. The state file is written beside and then renamed, so that there is
 * always a whole one; it holds a secret, so it is for its owner's eyes only. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/apps.h"
#include "apps/common.h"
#include "apps/key.h"
#include "nat/node/antq_bootstrap.h"

enum {
    SAVE_US = 10000000,   /* how often the state is written */
    STATUS_US = 60000000, /* and what has changed is told */
    FILE_MAX = 256 << 20  /* a larger state or allow list is none */
};

struct bootstrap_flags {
    struct option_list listen;
    const char *key, *state, *allow, *relay;
    uint64_t max_peers, pow_bits;
    bool json, verbose;
};

struct file {
    uint8_t *data;
    size_t size;
};

struct bootstrap_program {
    struct bootstrap_flags flags;
    struct aq_bootstrap *node;
    struct aq_loop *loop;
    uint8_t (*allow)[32];
    size_t allow_count;
    struct file state;
    struct aq_bootstrap_stats told; /* the last status line's */
    int signal_fd;
    bool ending, save_failed;
};

#define ROW(name, letter, kind, field, argument, min, max, help)                              \
    {                                                                                         \
        name, letter, kind, offsetof(struct bootstrap_flags, field), argument, min, max, help \
    }

/* clang-format off */
static const struct option_row bootstrap_rows[] = {
    ROW("listen", 0, OPTION_LIST, listen, "ADDR:PORT", 0, 0, "where to listen (default: port 4433 of every address, IPv4 and IPv6); several: repeat it; port 0 picks one"),
    ROW("key", 0, OPTION_TEXT, key, "FILE", 0, 0, "the key file; ~/.config/antq/key.pem"),
    ROW("state", 0, OPTION_TEXT, state, "FILE", 0, 0, "keep here what must survive a restart"),
    ROW("max-peers", 0, OPTION_NUMBER, max_peers, "N", 1, 900000, "peers registered at once (default 20000); more are refused"),
    ROW("relay", 0, OPTION_TEXT, relay, "off|RATE", 0, 0, "relay at most RATE bits a second for a pair (default 10M; K, M, G)"),
    ROW("pow-bits", 0, OPTION_NUMBER, pow_bits, "N", 0, 40, "proof of work asked of every newcomer (default 0; 18 under load)"),
    ROW("allow", 0, OPTION_TEXT, allow, "FILE", 0, 0, "only PeerIds listed in FILE, one a line, may register"),
    ROW("json", 0, OPTION_FLAG, json, NULL, 0, 0, "one JSON object a line"),
    ROW("verbose", 'v', OPTION_FLAG, verbose, NULL, 0, 0, "tell of each peer that comes, goes or is refused"),
};
/* clang-format on */

/* ---- files ----------------------------------------------------------------------------------- */

static bool read_all(int fd, struct file *file)
{
    size_t done = 0;

    while (done < file->size) {
        ssize_t got = read(fd, file->data + done, file->size - done);

        if (got <= 0 && !(got < 0 && errno == EINTR)) {
            return false;
        }
        done += got > 0 ? (size_t)got : 0;
    }
    return true;
}

/* Reads a whole file. secret: nobody else may be able to. A missing one is told by errno. */
static bool file_read(const char *flag, const char *path, bool secret, struct file *file)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && fstat(fd, &st) == 0;

    if (!ok) {
        if (!secret || errno != ENOENT) {
            complain("%s: cannot read \"%s\": %s", flag, path, strerror(errno));
        }
    } else if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
        complain("%s: \"%s\" is no file that antq wrote", flag, path);
        errno = EINVAL;
        ok = false;
    } else if (secret && (st.st_mode & 077) != 0) {
        complain("%s: others may read \"%s\" (mode %03o), and it holds a secret: chmod 600 it, or "
                 "remove it if they may have it already",
                 flag, path, (unsigned)st.st_mode & 0777);
        errno = EACCES;
        ok = false;
    } else {
        file->size = (size_t)st.st_size;
        file->data = calloc(1, file->size + 1);
        ok = file->data != NULL && read_all(fd, file);
        if (!ok) {
            complain("%s: cannot read \"%s\"", flag, path);
            errno = EIO;
        }
    }
    if (fd >= 0) {
        int why = errno;

        (void)close(fd);
        errno = why;
    }
    return ok;
}

static bool write_whole(const char *path, const uint8_t *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && fchmod(fd, 0600) == 0;

    for (size_t done = 0; ok && done < size;) {
        ssize_t put = write(fd, data + done, size - done);

        ok = put > 0 || (put < 0 && errno == EINTR);
        done += put > 0 ? (size_t)put : 0;
    }
    ok = ok && fsync(fd) == 0;
    if (fd >= 0) {
        int why = errno;

        ok = close(fd) == 0 && ok;
        errno = why;
    }
    return ok;
}

/* Beside, then renamed: a crash leaves the old one or the new one. */
static bool state_write(const char *path, const uint8_t *data, size_t size)
{
    char beside[KEY_PATH_MAX + 8];

    if ((size_t)snprintf(beside, sizeof beside, "%s.new", path) >= sizeof beside) {
        errno = ENAMETOOLONG;
        return false;
    }
    if (write_whole(beside, data, size) && rename(beside, path) == 0) {
        return true;
    }
    int why = errno;
    (void)unlink(beside);
    errno = why;
    return false;
}

static bool state_save(struct bootstrap_program *program)
{
    size_t room = aq_bootstrap_save_size(program->node);
    uint8_t *data = malloc(room);
    size_t size = data != NULL ? aq_bootstrap_save(program->node, data, room) : 0;
    bool ok = size > 0 && state_write(program->flags.state, data, size);

    if (!ok && !program->save_failed) {
        complain("--state: cannot write \"%s\": %s", program->flags.state, strerror(errno));
    }
    if (!ok) {
        log_failed();
    }
    program->save_failed = !ok;
    if (data != NULL) {
        explicit_bzero(data, room);
    }
    free(data);
    return ok;
}

/* One line of the allow list. */
static bool allow_line(struct bootstrap_program *program, char *line, unsigned number)
{
    char *comment = strchr(line, '#'), problem[64];

    if (comment != NULL) {
        *comment = '\0';
    }
    for (char *rest = line, *word; (word = strtok_r(rest, " \t\r,", &rest)) != NULL;) {
        if (!aq_peer_id_parse(word, program->allow[program->allow_count])) {
            complain(
                "--allow: line %u of \"%s\": \"%.80s\" is no PeerId (52 characters, as `antq id`"
                " prints them%s)",
                number, program->flags.allow, word, peer_id_problem(word, problem, sizeof problem));
            return false;
        }
        program->allow_count++;
    }
    return true;
}

static bool allow_read(struct bootstrap_program *program)
{
    struct file file = {NULL, 0};
    bool ok = file_read("--allow", program->flags.allow, false, &file);
    unsigned number = 0;

    if (ok) {
        program->allow = calloc(file.size / (AQ_PEER_ID_TEXT - 1) + 1, sizeof program->allow[0]);
        ok = program->allow != NULL;
    }
    for (char *rest = (char *)file.data, *line; ok && (line = strsep(&rest, "\n")) != NULL;) {
        ok = allow_line(program, line, ++number);
    }
    if (ok && program->allow_count == 0) {
        complain("--allow: \"%s\" names no PeerId: nobody could register", program->flags.allow);
        ok = false;
    }
    free(file.data);
    return ok;
}

/* "off", or bits a second with K, M or G. */
static bool relay_parse(const char *text, uint64_t *bytes_per_s)
{
    static const char units[] = "KMG";
    size_t size = strlen(text);
    const char *unit = size > 1 ? strchr(units, text[size - 1]) : NULL;
    uint64_t factor = 1, number;
    char digits[24];

    *bytes_per_s = 0;
    if (strcmp(text, "off") == 0) {
        return true;
    }
    for (const char *u = units; unit != NULL && u <= unit; u++) {
        factor *= 1000;
    }
    size -= unit != NULL ? 1 : 0;
    if (size >= sizeof digits) {
        return false;
    }
    memcpy(digits, text, size);
    digits[size] = '\0';
    if (!parse_number(digits, &number) || number > UINT64_C(1000000000000) / factor) {
        return false;
    }
    *bytes_per_s = number * factor / 8;
    return *bytes_per_s >= 1000;
}

/* ---- what is told ---------------------------------------------------------------------------- */

static void tell_peer(void *user, const struct aq_bootstrap_event *event)
{
    static const char *const words[] = {"registered", "refused", "gone"};
    const struct bootstrap_program *program = user;
    char peer[AQ_PEER_ID_TEXT], address[64];
    bool refused = event->kind == AQ_BOOTSTRAP_REFUSED;

    (void)aq_peer_id_text(event->peer, peer);
    (void)aq_addr_text(&event->observed, address, sizeof address);
    if (program->flags.json) {
        (void)printf(
            "{\"event\":\"%s\",\"peer_id\":\"%s\",\"observed\":\"%s\",\"reason\":\"%s\"}\n",
            words[event->kind], peer, address, aq_bootstrap_reason(event->reason));
        (void)fflush(stdout);
    } else {
        note("%s %s from %s%s%s", words[event->kind], peer, address, refused ? ": " : "",
             refused ? aq_bootstrap_reason(event->reason) : "");
    }
}

static void json_reasons(const char *name, const uint64_t counts[AQ_BOOTSTRAP_REASONS])
{
    const char *comma = "";

    (void)printf(",\"%s\":{", name);
    for (unsigned i = 0; i < AQ_BOOTSTRAP_REASONS; i++) {
        if (counts[i] != 0) {
            (void)printf("%s\"%s\":%llu", comma, aq_bootstrap_reason(i),
                         (unsigned long long)counts[i]);
            comma = ",";
        }
    }
    (void)putchar('}');
}

static void json_relayed(const char *name, const struct aq_bootstrap_relayed *r)
{
    (void)printf(",\"%s_packets\":%llu,\"%s_bytes\":%llu", name, (unsigned long long)r->packets,
                 name, (unsigned long long)r->bytes);
}

static void tell_json(const char *event, const struct aq_bootstrap_stats *s)
{
    (void)printf("{\"event\":\"%s\",\"connections\":%u,\"peers\":%u,\"pairs\":%u", event,
                 s->connections, s->peers, s->pairs);
    (void)printf(",\"messages_in\":%llu,\"messages_out\":%llu", (unsigned long long)s->messages_in,
                 (unsigned long long)s->messages_out);
    json_reasons("registered", s->registered);
    json_reasons("coordinated", s->coordinated);
    json_relayed("relay_in", &s->in);
    json_relayed("relay_out", &s->out);
    json_relayed("no_channel", &s->no_channel);
    json_relayed("wrong_address", &s->wrong_address);
    json_relayed("no_address", &s->no_address);
    json_relayed("unproven", &s->unproven);
    json_relayed("over_rate", &s->over_rate);
    json_relayed("not_sent", &s->not_sent);
    json_relayed("junk", &s->junk);
    (void)puts("}");
    (void)fflush(stdout);
}

static void tell_status(struct bootstrap_program *program, const char *event)
{
    struct aq_bootstrap_stats s = {.size = sizeof s};
    char relayed[32], dropped[32];
    uint64_t refused = 0;

    aq_bootstrap_stats(program->node, &s);
    program->told = s;
    if (program->flags.json) {
        tell_json(event, &s);
        return;
    }
    for (unsigned i = 1; i < AQ_BOOTSTRAP_REASONS; i++) {
        refused += s.registered[i];
    }
    note("%u peers registered, %llu refused so far; %llu brought together; %u pairs relayed, %s "
         "passed on, %s dropped",
         s.peers, (unsigned long long)refused, (unsigned long long)s.coordinated[0], s.pairs,
         bytes_text(s.out.bytes, relayed, sizeof relayed),
         bytes_text(s.in.bytes - s.out.bytes, dropped, sizeof dropped));
}

static bool tell_ready(const struct bootstrap_program *program)
{
    struct aq_addr first, all[AQ_BOOTSTRAP_LISTEN];
    uint8_t id[32];
    char address[64], peer[AQ_PEER_ID_TEXT];
    unsigned count = aq_bootstrap_listening(program->node, all, AQ_BOOTSTRAP_LISTEN);

    aq_bootstrap_self(program->node, &first, id);
    (void)aq_addr_text(&first, address, sizeof address);
    (void)aq_peer_id_text(id, peer);
    if (program->flags.json) {
        (void)printf("{\"listening\":\"%s\",\"peer_id\":\"%s\",\"addresses\":[", address, peer);
    } else {
        note("peers reach this node with --bootstrap %s@HOST:%u, HOST being this machine's name or "
             "address",
             peer, first.port);
    }
    for (unsigned i = 0; i < count; i++) {
        (void)aq_addr_text(&all[i], address, sizeof address);
        if (program->flags.json) {
            (void)printf("%s\"%s\"", i > 0 ? "," : "", address);
        } else {
            (void)printf("listening on %s\n", address);
        }
    }
    if (program->flags.json) {
        (void)puts("]}");
    }
    if (fflush(stdout) != 0) {
        complain("cannot write to standard output: %s", strerror(errno));
        return false;
    }
    return true;
}

static void tell_warning(void *user, const char *text)
{
    (void)user;
    note("antq: note: %s", text);
}

/* ---- time and signals ------------------------------------------------------------------------ */

static void on_save(void *user)
{
    struct bootstrap_program *program = user;

    (void)state_save(program);
    (void)aq_loop_timer(program->loop, aq_loop_now(program->loop) + SAVE_US, on_save, program);
}

static void on_status(void *user)
{
    struct bootstrap_program *program = user;
    struct aq_bootstrap_stats now = {.size = sizeof now};

    aq_bootstrap_stats(program->node, &now);
    if (memcmp(&now, &program->told, sizeof now) != 0) {
        tell_status(program, "status");
    }
    (void)aq_loop_timer(program->loop, aq_loop_now(program->loop) + STATUS_US, on_status, program);
}

/* The first ends in good order, the second at once. */
static void on_signal(void *user)
{
    struct bootstrap_program *program = user;
    struct signalfd_siginfo info;

    if (read(program->signal_fd, &info, sizeof info) != (ssize_t)sizeof info) {
        return;
    }
    if (program->ending) {
        aq_loop_stop(program->loop);
        return;
    }
    program->ending = true;
    if (program->flags.state != NULL) { /* while it is still known who is there */
        (void)state_save(program);
    }
    aq_bootstrap_stop(program->node);
}

static bool watch_signals(struct bootstrap_program *program)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    if (sigprocmask(SIG_BLOCK, &set, NULL) == 0) {
        program->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    }
    if (program->signal_fd < 0
        || aq_loop_watch(program->loop, program->signal_fd, on_signal, program) != AQ_OK) {
        complain("cannot wait for signals: %s", strerror(errno));
        return false;
    }
    return true;
}

/* ---- life ------------------------------------------------------------------------------------ */

/* False: *code is the exit code, the reason was told. */
static bool read_files(struct bootstrap_program *program, struct aq_bootstrap_config *config,
                       int *code)
{
    const struct bootstrap_flags *flags = &program->flags;
    static struct key_file key;
    char error[512];

    *code = EXIT_WRONG_USE;
    if (flags->listen.count > AQ_BOOTSTRAP_LISTEN) {
        complain("--listen: at most %d addresses", AQ_BOOTSTRAP_LISTEN);
        return false;
    }
    for (size_t i = 0; i < flags->listen.count; i++) {
        if (aq_resolve(flags->listen.v[i], AQ_BOOTSTRAP_PORT, 0, &config->listen[i], error,
                       sizeof error)
            != AQ_OK) {
            complain("--listen: %s", error);
            return false;
        }
    }
    if (flags->relay != NULL && !relay_parse(flags->relay, &config->relay_bytes_per_s)) {
        complain("--relay expects off, or bits a second from 8K to 1000G (10M is 10 Mbit/s), not "
                 "\"%s\"",
                 flags->relay);
        return false;
    }
    *code = EXIT_FAILED;
    if (flags->allow != NULL && !allow_read(program)) {
        return false;
    }
    if (flags->state != NULL && !file_read("--state", flags->state, true, &program->state)
        && errno != ENOENT) {
        return false;
    }
    if (!key_file_open(&key, flags->key)) {
        return false;
    }
    if (key.made) {
        note("made a key in %s", key.path);
    }
    config->key.file = key.path;
    return true;
}

static bool program_open(struct bootstrap_program *program, int *code)
{
    struct aq_bootstrap_config config;
    char error[512];

    aq_bootstrap_config_init(&config);
    if (!read_files(program, &config, code)) {
        return false;
    }
    config.max_peers = (uint32_t)program->flags.max_peers;
    config.pow_bits = (uint8_t)program->flags.pow_bits;
    config.allow = (const uint8_t(*)[32])program->allow;
    config.allow_count = program->allow_count;
    config.state = program->state.data;
    config.state_size = program->state.size;
    config.on_event = program->flags.verbose ? tell_peer : NULL;
    config.on_warning = tell_warning;
    config.user = program;
    program->node = aq_bootstrap_new(&config, error, sizeof error);
    if (program->node == NULL) {
        bool state = strstr(error, "the state") != NULL;

        complain("%s%s%s", state ? "--state: " : "", error,
                 state ? ": move it away to begin anew; peers register again by themselves" : "");
        return false;
    }
    program->loop = aq_bootstrap_loop(program->node);
    aq_bootstrap_stats(program->node, &program->told);
    return watch_signals(program) && (program->flags.state == NULL || state_save(program))
           && tell_ready(program);
}

static int program_run(struct bootstrap_program *program)
{
    uint64_t now = aq_loop_clock(program->loop);

    if (program->flags.state != NULL) {
        (void)aq_loop_timer(program->loop, now + SAVE_US, on_save, program);
    }
    (void)aq_loop_timer(program->loop, now + STATUS_US, on_status, program);
    if (aq_loop_run(program->loop) != 0) {
        complain("waiting for the network failed: %s", strerror(errno));
        return EXIT_FAILED;
    }
    tell_status(program, "end");
    return EXIT_DONE;
}

int bootstrap_main(int argc, char **argv)
{
    static struct bootstrap_program program = {.signal_fd = -1};
    const struct option_set sets[] = {
        {"Flags:", bootstrap_rows, sizeof bootstrap_rows / sizeof bootstrap_rows[0],
         &program.flags},
    };
    const struct command command = {
        .name = "antq bootstrap",
        .about =
            "A bootstrap node: peers register here under their PeerId, are brought together by it, "
            "and\nhave their packets relayed where the direct way is not open. It sees no content. "
            "Run it\nwhere UDP from the internet arrives.",
        .sets = sets,
        .set_count = sizeof sets / sizeof sets[0],
    };
    int code = EXIT_FAILED;

    program.flags.max_peers = 20000;
    if (!command_parse(&command, argc, argv, NULL, &code)) {
        return code;
    }
    if (program_open(&program, &code)) {
        code = program_run(&program);
    }
    aq_bootstrap_free(program.node);
    free(program.allow);
    free(program.state.data);
    return code;
}
