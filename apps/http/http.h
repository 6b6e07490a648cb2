/* http.h -- the parts of `antq http`. */
#ifndef APPS_HTTP_HTTP_H
#define APPS_HTTP_HTTP_H

/* Both take the words after the subcommand's and give the exit code. */
int http_serve(int argc, char **argv);
int http_get(int argc, char **argv);

#endif
