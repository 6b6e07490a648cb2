/* echo_server [ADDR:PORT] -- sends back what arrives on each stream; ends on Ctrl-C. */
#include "antq.h"
#include "antq_reactor.h"

#include <stdio.h>

static void on_event(void *user, struct aq_loop *loop, const struct aq_event *event)
{
    struct aq_endpoint *ep = aq_loop_endpoint(loop);
    struct aq_iov piece;
    bool fin = false;
    int n;
    (void)user;
    if (event->kind != AQ_EVENT_READABLE && event->kind != AQ_EVENT_WRITABLE)
        return;
    while ((n = aq_stream_peek(ep, event->stream, &piece, 1, &fin)) > 0 || (n == 0 && fin)) {
        size_t size = n > 0 ? piece.size : 0;
        int64_t taken = aq_stream_write(ep, event->stream, &piece, (unsigned)n, fin ? AQ_FIN : 0);
        if (taken < 0) { /* a stream we cannot answer on */
            aq_stream_stop(ep, event->stream, 0);
            return;
        }
        aq_stream_consume(ep, event->stream, (uint64_t)taken);
        if (fin || (size_t)taken < size)
            return; /* done, or full: AQ_EVENT_WRITABLE tells when there is room for the rest */
    }
}

int main(int argc, char **argv)
{
    static const char *const alpn[] = {"echo"};
    struct aq_tls_config tls;
    struct aq_loop_config config;
    struct aq_loop *loop = NULL;
    struct aq_addr addr;
    uint8_t pin[32] = {0};
    char error[256] = "no certificate", text[64];
    aq_tls_config_init(&tls);
    tls.server = true; /* no certificate given: a self-signed one is made */
    tls.alpn = alpn;
    tls.alpn_count = 1;
    aq_loop_config_init(&config);
    config.endpoint.tls = aq_tls_new(&tls, error, sizeof error);
    config.on_event = on_event;
    config.handle_signals = true;
    const char *where = argc > 1 ? argv[1] : "127.0.0.1:4433";
    bool ok = config.endpoint.tls && !aq_resolve(where, 4433, 0, &addr, error, sizeof error)
              && (loop = aq_loop_new(&config, error, sizeof error)) != NULL
              && !aq_listen(loop, &addr, &addr, error, sizeof error);
    if (ok && aq_tls_pin(config.endpoint.tls, pin)) {
        printf("listening on %s\npin ", aq_addr_text(&addr, text, sizeof text));
        for (size_t i = 0; i < sizeof pin; i++)
            printf(i < 31 ? "%02x" : "%02x\n", pin[i]);
        ok = fflush(stdout) == 0 && aq_loop_run(loop) == 0;
    } else
        fprintf(stderr, "%s\n", error);
    aq_loop_free(loop);
    aq_tls_free(config.endpoint.tls);
    return ok ? 0 : 1;
}
