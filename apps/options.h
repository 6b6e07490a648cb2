/* options.h -- one parser of flags for all subcommands, driven by tables.
 *
 * A subcommand is a struct command: its name, the one word that may stand beside the flags, and
 * sets of rows. Each set writes into a struct of its own, so that the flags of every client and
 * of every server are one table each and a new subcommand adds a table, not a parser. Errors are
 * one sentence that names the flag and what it expects. */
#ifndef APPS_OPTIONS_H
#define APPS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What the program answers to its caller. */
enum {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_WRONG_USE = 2
};

enum option_kind {
    OPTION_FLAG,    /* bool: the flag alone */
    OPTION_TEXT,    /* const char *: not empty, argv's own */
    OPTION_NUMBER,  /* uint64_t: decimal, min to max */
    OPTION_SIZE,    /* uint64_t: bytes, decimal with K, M or G (powers of 1,024), min to max */
    OPTION_SECONDS, /* uint64_t: microseconds, written as seconds with up to 6 decimals */
    OPTION_PIN,     /* struct option_pin: 64 hexadecimal digits */
    OPTION_LIST,    /* struct option_list: the flag may come several times */
};

struct option_pin {
    uint8_t hash[32];
    bool given;
};

enum {
    OPTION_LIST_MAX = 64
};
struct option_list {
    const char *v[OPTION_LIST_MAX]; /* argv's own */
    size_t count;
};

struct option_row {
    const char *name; /* without the two dashes */
    char letter;      /* short form, 0 none */
    enum option_kind kind;
    size_t offset;        /* of the value in the set's struct */
    const char *argument; /* what the help calls the value, NULL for OPTION_FLAG */
    uint64_t min, max;    /* bounds of numbers, in the unit of the value */
    const char *help;
};

struct option_set {
    const char *title; /* heading in the help */
    const struct option_row *rows;
    size_t count;
    void *values; /* the struct that the offsets are in */
};

struct command {
    const char *name;  /* "antq echo serve" */
    const char *word;  /* the word beside the flags, required: "HOST:PORT"; NULL: none is taken */
    const char *about; /* lines for the help */
    const struct option_set *sets;
    size_t set_count;
    /* Where the command takes several words: room for word_max of them, and their number. */
    const char **words;
    size_t word_max, *word_count;
};

enum parse_result {
    PARSE_RUN,
    PARSE_HELP,
    PARSE_WRONG
};

/* Reads argv[0] to argv[argc - 1] (the program's and the subcommand's names are not among them).
 * Values not named keep what they have: set the defaults before. *word, where the command takes
 * one, gets it (or the first). PARSE_HELP when --help or -h was met; PARSE_WRONG with a sentence in error, at
 * most error_size bytes. */
enum parse_result options_parse(const struct command *command, int argc, char **argv,
                                const char **word, char *error, size_t error_size);

/* Prints the whole help of a command. */
void options_help(const struct command *command, FILE *out);

/* The parsers of single values; false leaves *value alone. */
bool parse_number(const char *text, uint64_t *value);
bool parse_size(const char *text, uint64_t *value);
bool parse_seconds(const char *text, uint64_t *value_us);
bool parse_pin(const char *text, uint8_t hash[32]);

#endif
