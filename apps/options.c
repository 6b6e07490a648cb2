/* options.c -- the parser of flags behind options.h.
 *
 * One loop over argv finds the row by its long name or letter, one function turns the text into
 * the row's kind. `--name value` and `--name=value` are the same; `--` ends the flags; a value
 * that looks like a flag is taken for a forgotten value, because `--alpn --json` is far more
 * often a mistake than a wish (the form with `=` still takes it). Nothing here prints: callers
 * decide where errors go. */
#include "apps/options.h"

#include <stdarg.h>
#include <string.h>

struct parser {
    const struct command *command;
    int argc;
    char **argv;
    int index; /* next argument */
    char *error;
    size_t error_size;
};

static bool wrong(struct parser *parser, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool wrong(struct parser *parser, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(parser->error, parser->error_size, format, arguments);
    va_end(arguments);
    return false;
}

/* Reads digits up to the first other character, which *end gets. False: no digit, or above 2^64
 * - 1. */
static bool read_digits(const char *text, uint64_t *value, const char **end)
{
    uint64_t sum = 0;
    const char *at = text;

    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (sum > (UINT64_MAX - digit) / 10) {
            return false;
        }
        sum = sum * 10 + digit;
    }
    if (at == text) {
        return false;
    }
    *value = sum;
    *end = at;
    return true;
}

bool parse_number(const char *text, uint64_t *value)
{
    uint64_t number;
    const char *end;

    if (!read_digits(text, &number, &end) || *end != '\0') {
        return false;
    }
    *value = number;
    return true;
}

bool parse_size(const char *text, uint64_t *value)
{
    uint64_t number;
    const char *end;
    unsigned shift = 0;

    if (!read_digits(text, &number, &end)) {
        return false;
    }
    switch (*end) {
    case 'k':
    case 'K': shift = 10; break;
    case 'm':
    case 'M': shift = 20; break;
    case 'g':
    case 'G': shift = 30; break;
    default: break;
    }
    if (shift != 0) {
        end++;
    }
    if (*end != '\0' || number > UINT64_MAX >> shift) {
        return false;
    }
    *value = number << shift;
    return true;
}

bool parse_seconds(const char *text, uint64_t *value_us)
{
    uint64_t seconds, fraction = 0;
    const char *end;

    if (!read_digits(text, &seconds, &end) || seconds > UINT64_MAX / 1000000 - 1) {
        return false;
    }
    if (*end == '.') {
        const char *decimals = end + 1;
        size_t count;

        if (!read_digits(decimals, &fraction, &end)) {
            return false;
        }
        count = (size_t)(end - decimals);
        if (count > 6) {
            return false;
        }
        for (; count < 6; count++) {
            fraction *= 10;
        }
    }
    if (*end != '\0') {
        return false;
    }
    *value_us = seconds * 1000000 + fraction;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool parse_pin(const char *text, uint8_t hash[32])
{
    uint8_t bytes[32];

    if (strlen(text) != 2 * sizeof bytes) {
        return false;
    }
    for (size_t i = 0; i < sizeof bytes; i++) {
        int high = hex_digit(text[2 * i]);
        int low = hex_digit(text[2 * i + 1]);

        if (high < 0 || low < 0) {
            return false;
        }
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    memcpy(hash, bytes, sizeof bytes);
    return true;
}

/* Stores a value. The set's struct is reached through memcpy: the rows know offsets, not types. */
static void store(const struct option_set *set, const struct option_row *row, const void *value,
                  size_t size)
{
    memcpy((char *)set->values + row->offset, value, size);
}

static bool set_number(struct parser *parser, const struct option_set *set,
                       const struct option_row *row, const char *text)
{
    uint64_t value = 0;
    bool ok = false;
    const char *expects = "a whole number";

    if (row->kind == OPTION_NUMBER) {
        ok = parse_number(text, &value);
    } else if (row->kind == OPTION_SIZE) {
        ok = parse_size(text, &value);
        expects = "a size in bytes, like 100, 64K, 10M or 1G";
    } else {
        ok = parse_seconds(text, &value);
        expects = "a number of seconds, like 10 or 0.5";
    }
    if (!ok) {
        return wrong(parser, "--%s expects %s, not \"%s\"", row->name, expects, text);
    }
    if (value < row->min || value > row->max) {
        if (row->kind == OPTION_SECONDS) {
            return wrong(parser, "--%s must be from %g to %g seconds, not \"%s\"", row->name,
                         (double)row->min / 1e6, (double)row->max / 1e6, text);
        }
        return wrong(parser, "--%s must be from %llu to %llu, not \"%s\"", row->name,
                     (unsigned long long)row->min, (unsigned long long)row->max, text);
    }
    store(set, row, &value, sizeof value);
    return true;
}

static bool add_text(struct parser *parser, const struct option_set *set,
                     const struct option_row *row, const char *text)
{
    struct option_list list;

    memcpy(&list, (char *)set->values + row->offset, sizeof list);
    if (*text == '\0' || list.count == OPTION_LIST_MAX) {
        return wrong(parser, *text == '\0' ? "--%s expects %s, not nothing" : "--%s: too many %s",
                     row->name, row->argument);
    }
    list.v[list.count++] = text;
    store(set, row, &list, sizeof list);
    return true;
}

static bool set_value(struct parser *parser, const struct option_set *set,
                      const struct option_row *row, const char *text)
{
    struct option_pin pin = {.given = true};
    bool yes = true;

    switch (row->kind) {
    case OPTION_FLAG: store(set, row, &yes, sizeof yes); return true;
    case OPTION_TEXT:
        if (*text == '\0') {
            return wrong(parser, "--%s expects %s, not nothing", row->name, row->argument);
        }
        store(set, row, &text, sizeof text);
        return true;
    case OPTION_NUMBER:
    case OPTION_SIZE:
    case OPTION_SECONDS: return set_number(parser, set, row, text);
    case OPTION_LIST: return add_text(parser, set, row, text);
    case OPTION_PIN:
        if (!parse_pin(text, pin.hash)) {
            return wrong(
                parser,
                "--%s expects the SHA-256 of the server's public key in 64 hexadecimal digits,"
                " as the server prints it, not \"%s\"",
                row->name, text);
        }
        store(set, row, &pin, sizeof pin);
        return true;
    }
    return wrong(parser, "--%s is of no known kind", row->name);
}

/* Finds the row of a long name (size bytes at name) or, with name NULL, of a letter. */
static const struct option_row *find_row(const struct command *command, const char *name,
                                         size_t size, char letter, const struct option_set **set)
{
    for (size_t s = 0; s < command->set_count; s++) {
        *set = &command->sets[s];
        for (size_t r = 0; r < (*set)->count; r++) {
            const struct option_row *row = &(*set)->rows[r];

            if (name == NULL ? row->letter == letter
                             : strlen(row->name) == size && memcmp(row->name, name, size) == 0) {
                return row;
            }
        }
    }
    return NULL;
}

/* Handles one argument that begins with a dash. */
static bool parse_flag(struct parser *parser, const char *argument)
{
    bool is_long = argument[1] == '-';
    const char *name = is_long ? argument + 2 : NULL;
    const char *value = is_long ? strchr(name, '=') : NULL;
    size_t size = !is_long ? 0 : value != NULL ? (size_t)(value - name) : strlen(name);
    const struct option_set *set = NULL;
    const struct option_row *row = NULL;

    if (is_long || argument[2] == '\0') {
        row = find_row(parser->command, name, size, argument[1], &set);
    }
    if (row == NULL) {
        return wrong(parser, "unknown flag %.*s; `%s --help` lists those there are",
                     is_long ? (int)size + 2 : (int)strlen(argument), argument,
                     parser->command->name);
    }
    if (row->kind == OPTION_FLAG) {
        return value == NULL ? set_value(parser, set, row, NULL)
                             : wrong(parser, "--%s takes no value", row->name);
    }
    if (value != NULL) {
        return set_value(parser, set, row, value + 1);
    }
    if (parser->index == parser->argc) {
        return wrong(parser, "--%s needs a value: %s", row->name, row->argument);
    }
    value = parser->argv[parser->index];
    if (strncmp(value, "--", 2) == 0) {
        return wrong(parser, "--%s needs a value: %s; \"%s\" follows instead", row->name,
                     row->argument, value);
    }
    parser->index++;
    return set_value(parser, set, row, value);
}

static bool parse_word(struct parser *parser, const char *argument, const char **word)
{
    if (parser->command->word == NULL) {
        return wrong(parser, "unexpected word \"%s\": `%s` takes flags only", argument,
                     parser->command->name);
    }
    if (parser->command->words != NULL) {
        size_t *count = parser->command->word_count;

        if (*count == parser->command->word_max) {
            return wrong(parser, "at most %zu %s are taken", *count, parser->command->word);
        }
        parser->command->words[(*count)++] = argument;
    } else if (*word != NULL) {
        return wrong(parser, "one %s is expected, but both \"%s\" and \"%s\" are given",
                     parser->command->word, *word, argument);
    }
    *word = *word != NULL ? *word : argument;
    return true;
}

enum parse_result options_parse(const struct command *command, int argc, char **argv,
                                const char **word, char *error, size_t error_size)
{
    struct parser parser = {command, argc, argv, 0, error, error_size};
    const char *found = NULL;
    bool flags_ended = false;

    while (parser.index < argc) {
        const char *argument = argv[parser.index++];
        bool ok;

        if (!flags_ended && strcmp(argument, "--") == 0) {
            flags_ended = true;
            continue;
        }
        if (!flags_ended && (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0)) {
            return PARSE_HELP;
        }
        if (!flags_ended && argument[0] == '-' && argument[1] != '\0') {
            ok = parse_flag(&parser, argument);
        } else {
            ok = parse_word(&parser, argument, &found);
        }
        if (!ok) {
            return PARSE_WRONG;
        }
    }
    if (command->word != NULL && found == NULL) {
        (void)wrong(&parser, "%s is missing; `%s --help` tells more", command->word, command->name);
        return PARSE_WRONG;
    }
    if (word != NULL) {
        *word = found;
    }
    return PARSE_RUN;
}

void options_help(const struct command *command, FILE *out)
{
    enum {
        COLUMN = 26
    }; /* where the texts begin */

    (void)fprintf(out, "usage: %s%s%s [flags]\n\n%s\n", command->name,
                  command->word != NULL ? " " : "", command->word != NULL ? command->word : "",
                  command->about);
    for (size_t s = 0; s < command->set_count; s++) {
        const struct option_set *set = &command->sets[s];

        (void)fprintf(out, "\n%s\n", set->title);
        for (size_t r = 0; r < set->count; r++) {
            const struct option_row *row = &set->rows[r];
            char left[64];
            int size;

            size = snprintf(left, sizeof left, "  --%s%s%s", row->name,
                            row->argument != NULL ? " " : "",
                            row->argument != NULL ? row->argument : "");
            if (row->letter != 0 && size > 0 && (size_t)size < sizeof left) {
                (void)snprintf(left + size, sizeof left - (size_t)size, ", -%c", row->letter);
            }
            if (strlen(left) >= COLUMN) {
                (void)fprintf(out, "%s\n%*s", left, COLUMN, "");
            } else {
                (void)fprintf(out, "%-*s", COLUMN, left);
            }
            (void)fprintf(out, "%s\n", row->help);
        }
    }
    (void)fputs("\n  --help, -h              this text\n", out);
}
