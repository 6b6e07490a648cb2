/* common.h -- what the subcommands share beside their flags: messages, texts, JSON, percentiles,
 * TLS help.
 *
 * Nothing here allocates, so that clients and servers can use all of it while they transfer. */
#ifndef APPS_COMMON_H
#define APPS_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "apps/options.h"
#include "core/antq.h"
#include "reactor/antq_reactor.h"

enum {
    DEFAULT_PORT = 4433,
    BUSY_POLL_US = 10000 /* of --busy-poll: an idle program sleeps soon */
};

/* Prints one line on standard error that begins with `antq: `, clear of any progress line. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Prints one line on standard error that is no error: a log line. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Parses the flags; *code is the exit code when false is returned (help was printed, or an
 * error). */
bool command_parse(const struct command *command, int argc, char **argv, const char **word,
                   int *code);

/* A line on standard error that is written over by the next. `force` shows it where standard
 * error is no terminal, as lines of their own. progress_end leaves the last one standing. */
bool progress_wanted(bool force);
void progress_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
void progress_end(void);

/* "12.3 MiB"; returns out. */
char *bytes_text(uint64_t bytes, char *out, size_t size);
/* Two hexadecimal digits per byte; out has 65 bytes. */
char *pin_text(const uint8_t hash[32], char out[65]);
/* Gigabits per second; 0 when no time has passed. */
double gbit_per_s(uint64_t bytes, uint64_t us);
double per_second(uint64_t count, uint64_t us);

/* One sentence: who closed, which code, which frame, why, where. Returns out. */
char *close_text(const struct aq_close_info *info, char *out, size_t size);
/* Whether a close is the ordinary end of a connection: application code 0 or NO_ERROR. */
bool close_is_ordinary(const struct aq_close_info *info);

/* A JSON string with its quotes: UTF-8 as it is, control characters escaped, U+FFFD for each byte
 * that is no UTF-8 (names of files can be anything). NULL prints null. */
void json_text(FILE *out, const char *text);
/* What others have named goes to a terminal: in place, each byte that could steer it (control
 * characters, also those of Latin-1 and in UTF-8) or is no UTF-8 becomes `?`. Returns text. */
char *plain_text(char *text);

/* Samples in microseconds, kept by the caller. Sorting is in place and without an allocation
 * (qsort of the C library may allocate, and a transfer must not). */
struct samples {
    uint32_t *us;
    size_t count, max;
};
/* Takes memory for max samples; false when there is none. Called before a connection is made. */
bool samples_init(struct samples *samples, uint64_t max);
void samples_free(struct samples *samples);
void samples_add(struct samples *samples, uint64_t us);
void samples_sort(struct samples *samples);
/* Of sorted samples: the smallest that at least `percent` of all do not exceed; 0 when there are
 * none. */
uint32_t samples_percentile(const struct samples *samples, unsigned percent);
/* The same in thousandths, for tails: 999 is p99.9. */
uint32_t samples_per_mille(const struct samples *samples, unsigned per_mille);

/* Flags with a file: whether it can be read, else one complaint that names the flag. NULL path:
 * true. */
bool file_readable(const char *flag, const char *path);

/* Splits "a,b" into names; returns how many, 0 when one is empty, longer than 255 bytes, or
 * there are more than ALPN_MAX. The names lie in text, which is copied. */
enum {
    ALPN_MAX = 8
};
struct alpn_list {
    char text[1024];
    const char *names[ALPN_MAX];
    unsigned count;
};
bool alpn_parse(struct alpn_list *list, const char *text);

/* "1", "2" or "v2draft", also with a v; false: none of these. */
bool version_parse(const char *text, uint32_t *version);
/* "2,1": into versions. NULL leaves what is there. first, when not NULL, is one as well that must
 * be in the list; without a list it is added. False, with a complaint, when one is no version. */
bool versions_parse(const char *list, const char *first, uint32_t versions[AQ_VERSIONS_MAX]);

/* A log that was asked for could not be written, which was told: the program goes on, and its exit
 * code becomes EXIT_FAILED. */
void log_failed(void);
bool logs_failed(void);

/* Opens the key log for appending; -1 with a complaint when that fails. One per process. */
bool keylog_open(const char *path);
/* For aq_tls_config.keylog: one write per line, so that lines of several processes do not mix. */
void keylog_line(void *user, const char *line);

/* NULL when config can be used, else the sentence of aq_config_check. (The loop draws the seed
 * later.) */
const char *config_problem(const struct aq_config *config);

/* "off", "testing", "unknown", "capable" or "failed": static. */
const char *ecn_name(enum aq_ecn_state state);

/* `"name":value` of a JSON object, null where nothing was measured, and what follows it: a comma or
 * the object's end. */
void samples_print(const struct samples *samples, const char *name, unsigned per_mille, bool last);

#endif
