/* qlog.h -- writes what connections do as qlog, a file each, for `--qlog DIR`.
 *
 * The events come from the endpoint's trace ring; this file is a host's, the core knows nothing of
 * it. The form is JSON text sequences (RFC 7464) in qlog 0.3, which is what the viewer qvis reads:
 * DIR/ODCID_client.sqlog and DIR/ODCID_server.sqlog, where ODCID is the client's first Destination
 * Connection ID in hexadecimal, the same at both ends. A log that cannot be written is told once
 * and makes the exit code 1 (logs_failed of common.h); connections go on unharmed. */
#ifndef APPS_QLOG_H
#define APPS_QLOG_H

#include "apps/common.h"

struct qlog;

/* Ready to write into the folder, or without one (NULL) into that of the environment's QLOGDIR.
 * *qlog is NULL when there is neither. False: the reason was told (no such folder, no
 * permission). */
bool qlog_wanted(const char *folder, uint32_t max_conns, struct qlog **qlog);
/* What the loop's configuration needs for it: the size of the trace ring. */
void qlog_configure(struct aq_config *config);
/* Writes what happened since the last call; the hook is aq_loop_config.on_trace. NULL is fine. */
void qlog_drain(struct qlog *qlog, struct aq_endpoint *ep);
/* The last of it, then all files are closed. NULL is fine. */
void qlog_free(struct qlog *qlog, struct aq_endpoint *ep);

#endif
