/* main.c -- antq, one program with subcommands: this table, version and help.
 *
 * Standard output gets a static buffer, because the C library would allocate one at the first
 * print, which may be in the middle of a transfer. SIGPIPE is ignored: a reader that goes away
 * is an error to tell. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "apps/apps.h"
#include "apps/common.h"

struct subcommand {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *about;
};

static const struct subcommand subcommands[] = {
    {"echo", echo_main,
     "round trips like ping, or standard input there and back; `echo serve` answers"},
    {"perf", perf_main, "measures downloads, uploads, requests, handshakes; `perf serve` answers"},
    {"qlog", qlog_main, "shows a qlog file, as --qlog DIR writes them, as lines and a sum"},
    {"http", http_main, "`http get` fetches files over HTTP/3; `http serve` serves a folder"},
    {"id", id_main, "prints your PeerId, by which others find you; makes your key on first use"},
    {"peer", peer_main, "stays online under your PeerId; shows who comes and goes, and echoes"},
    {"ping", ping_main, "reaches a peer by its PeerId, and shows each step and round trips"},
    {"chat", chat_main, "talks to a peer line by line"},
    {"send", send_main, "sends files to a peer that runs `antq recv`"},
    {"recv", recv_main, "takes the files that peers send into a folder"},
    {"doctor", doctor_main, "says in plain words what this network allows"},
    {"bootstrap", bootstrap_main, "the node where peers register, and find and reach each other"},
};
enum {
    SUBCOMMAND_COUNT = sizeof subcommands / sizeof subcommands[0]
};

static void print_usage(FILE *out)
{
    (void)fputs("usage: antq SUBCOMMAND ...\n\nQUIC from a command line.\n\n", out);
    for (size_t i = 0; i < SUBCOMMAND_COUNT; i++) {
        (void)fprintf(out, "  antq %-9s %s\n", subcommands[i].name, subcommands[i].about);
    }
    (void)fputs("  antq help      this text; `antq SUBCOMMAND --help` tells a subcommand's flags\n"
                "  antq --version\n\n"
                "Exit codes: 0 success, 1 failure, 2 wrong use.\n",
                out);
}

static const struct subcommand *find_subcommand(const char *name)
{
    for (size_t i = 0; i < SUBCOMMAND_COUNT; i++) {
        if (strcmp(subcommands[i].name, name) == 0) {
            return &subcommands[i];
        }
    }
    return NULL;
}

/* `antq help echo serve` is `antq echo serve --help`. */
static int help(int argc, char **argv)
{
    const struct subcommand *found;
    char flag[] = "--help";
    char *words[3];
    int count = 0;

    if (argc == 0) {
        print_usage(stdout);
        return EXIT_DONE;
    }
    found = find_subcommand(argv[0]);
    if (found == NULL) {
        complain("no subcommand \"%s\"; `antq help` lists those there are", argv[0]);
        return EXIT_WRONG_USE;
    }
    if (argc > 1) {
        words[count++] = argv[1];
    }
    words[count++] = flag;
    words[count] = NULL;
    return found->run(count, words);
}

static int dispatch(int argc, char **argv)
{
    const struct subcommand *found;

    if (argc < 2) {
        print_usage(stderr);
        return EXIT_WRONG_USE;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "version") == 0) {
        (void)puts("antq " AQ_VERSION);
        return EXIT_DONE;
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0
        || strcmp(argv[1], "-h") == 0) {
        return help(argc - 2, argv + 2);
    }
    found = find_subcommand(argv[1]);
    if (found == NULL) {
        complain("%s \"%s\"; `antq help` lists the subcommands",
                 argv[1][0] == '-' ? "unknown flag" : "no subcommand", argv[1]);
        return EXIT_WRONG_USE;
    }
    return found->run(argc - 2, argv + 2);
}

/* Whoever started us may have closed some of the three standard descriptors: a socket or a key log
 * would get their numbers, and our words would go there. */
static void fill_standard(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        /* The wrong way round, so that who reads or writes there still hears of an error. The
         * lowest free number is this one. */
        if (fcntl(fd, F_GETFD) < 0) {
            (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
        }
    }
}

int main(int argc, char **argv)
{
    static char out_buffer[65536];
    int code;

    fill_standard();
    (void)setvbuf(stdout, out_buffer, _IOFBF, sizeof out_buffer);
    (void)signal(SIGPIPE, SIG_IGN);
    code = dispatch(argc, argv);
    bool unsaid = fflush(stdout) != 0 || ferror(stdout) != 0; /* now, or before */
    if (unsaid && code == EXIT_DONE) {
        complain("cannot write to standard output");
        code = EXIT_FAILED;
    }
    if (logs_failed() && code == EXIT_DONE) { /* it was told when it happened */
        code = EXIT_FAILED;
    }
    return code;
}
