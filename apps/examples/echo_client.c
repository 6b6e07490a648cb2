/* echo_client ADDR:PORT [PIN] -- sends a line, prints the echo. PIN: the server's key hash, hex. */
#include "antq.h"
#include "antq_reactor.h"

#include <stdio.h>
#include <string.h>

static void on_event(void *user, struct aq_loop *loop, const struct aq_event *event)
{
    static const char line[] = "hello, antq\n";
    struct aq_endpoint *ep = aq_loop_endpoint(loop);
    struct aq_iov iov = {(const uint8_t *)line, sizeof line - 1};
    bool fin = false;
    if (event->kind == AQ_EVENT_CONNECTED) {
        aq_stream stream = 0;
        aq_stream_open(ep, event->conn, false, NULL, &stream);
        aq_stream_write(ep, stream, &iov, 1, AQ_FIN);
    } else if (event->kind == AQ_EVENT_READABLE) {
        while (!fin && aq_stream_peek(ep, event->stream, &iov, 1, &fin) > 0) {
            fwrite(iov.data, 1, iov.size, stdout);
            aq_stream_consume(ep, event->stream, iov.size);
        }
        if (fin) { /* the whole echo came */
            *(int *)user = 0;
            aq_loop_stop(loop);
        }
    } else if (event->kind == AQ_EVENT_CLOSED) {
        struct aq_close_info info;
        info.size = sizeof info;
        if (*(int *)user != 0 && aq_conn_close_info(ep, event->conn, &info) == AQ_OK)
            fprintf(stderr, "closed: %s\n", info.reason);
        aq_loop_stop(loop);
    }
}

int main(int argc, char **argv)
{
    static const char *const alpn[] = {"echo"};
    struct aq_tls_config tls;
    struct aq_loop_config config;
    struct aq_connect connect;
    struct aq_loop *loop = NULL;
    aq_conn conn;
    int exit_code = 1; /* until the echo came */
    char error[256] = "usage: echo_client ADDR:PORT [PIN of 64 hex digits]";
    bool ok = argc == 2 || (argc == 3 && strlen(argv[2]) == 64);
    aq_tls_config_init(&tls), aq_loop_config_init(&config), aq_connect_init(&connect);
    tls.alpn = alpn, tls.alpn_count = 1;
    config.on_event = on_event, config.user = &exit_code;
    tls.verify = argc == 3 ? AQ_VERIFY_PIN : AQ_VERIFY_NONE;
    for (int i = 0; ok && argc == 3 && i < 32; i++)
        ok = sscanf(argv[2] + 2 * i, "%2hhx", &tls.pin[i]) == 1;
    if (!ok || aq_resolve(argv[1], 4433, 0, &connect.remote, error, sizeof error)
        || !(connect.tls = aq_tls_new(&tls, error, sizeof error))
        || !(loop = aq_loop_new(&config, error, sizeof error))
        || aq_dial(loop, &connect, false, &conn, error, sizeof error) || aq_loop_run(loop))
        fprintf(stderr, "%s\n", error);
    aq_loop_free(loop), aq_tls_free(connect.tls);
    return exit_code;
}
