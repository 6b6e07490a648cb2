/* apps.h -- the subcommands of antq, one main each. argv[0] is the first word after the
 * subcommand's. All return an exit code of options.h. */
#ifndef APPS_APPS_H
#define APPS_APPS_H

int echo_main(int argc, char **argv);
int perf_main(int argc, char **argv);
int qlog_main(int argc, char **argv);
int http_main(int argc, char **argv);
int id_main(int argc, char **argv);
int peer_main(int argc, char **argv);
int ping_main(int argc, char **argv);
int chat_main(int argc, char **argv);
int send_main(int argc, char **argv);
int recv_main(int argc, char **argv);
int doctor_main(int argc, char **argv);
int bootstrap_main(int argc, char **argv);

#endif
