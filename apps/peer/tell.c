/* tell.c -- events of a node as lines for people, or as JSON (peer_tell in peer.h). What fails
 * names the step, the reason and what to try next; with --json it is told in both forms. */
#include <string.h>

#include "apps/peer/peer.h"

static void json_field(const char *name, const char *text)
{
    (void)printf(",\"%s\":", name);
    json_text(stdout, text);
}

static const char *event_name(enum aq_node_event_kind kind)
{
    static const char *const names[] = {"bootstrap", "registered", "step",    "connected", "path",
                                        "failed",    "closed",     "refused", "probe"};

    return (unsigned)kind < sizeof names / sizeof *names ? names[kind] : "unknown";
}

static void tell_json(struct peer_program *p, const struct aq_node_event *e)
{
    char text[64], id[AQ_PEER_ID_TEXT];

    (void)printf("{\"event\":\"%s\",\"ms\":%.1f", event_name(e->kind), peer_ms(p));
    if (e->peer_id != NULL) {
        json_field("peer_id", aq_peer_id_text(e->peer_id, id));
    }
    if (e->kind == AQ_NODE_BOOTSTRAP) {
        json_field("name", peer_bootstrap(p, e->index));
        (void)printf(",\"registered\":%s", e->registered ? "true" : "false");
        if (e->observed.family != 0) {
            json_field("observed", aq_addr_text(&e->observed, text, sizeof text));
        }
    } else if (e->kind == AQ_NODE_REGISTERED) {
        json_field("result", aq_node_result_name(e->result));
    } else if (e->kind == AQ_NODE_STEP || e->kind == AQ_NODE_FAILED) {
        json_field("step", aq_node_step_name(e->step));
    } else if (e->kind == AQ_NODE_CONNECTED || e->kind == AQ_NODE_PATH) {
        json_field("path", e->relayed ? "relayed" : "direct");
        (void)printf(",\"incoming\":%s", e->incoming ? "true" : "false");
    }
    if (e->reason != NULL) {
        json_field("reason", e->reason);
    }
    if (e->hint != NULL) {
        json_field("hint", e->hint);
    }
    if (e->retry_us != 0
        && (p->target == NULL || e->kind != AQ_NODE_FAILED || peer_goes_on(p, e))) {
        (void)printf(",\"retry_ms\":%llu", (unsigned long long)(e->retry_us / 1000));
    }
    (void)puts("}");
    peer_flush(p);
}

static void tell_bootstrap(const struct peer_program *p, const struct aq_node_event *e)
{
    char text[64];

    if (e->registered) {
        if (!p->quiet) {
            note("%8.1f ms  registered with %s, which sees us as %s", peer_ms(p),
                 peer_bootstrap(p, e->index),
                 e->observed.family != 0 ? aq_addr_text(&e->observed, text, sizeof text)
                                         : "nothing");
        }
        return;
    }
    if (strcmp(e->reason, "none") == 0) {
        return;
    }
    if (strcmp(e->reason, "rate_limited") == 0 && e->retry_us > 0) {
        complain("registering with %s: %s; it is tried again in %.1f s",
                 peer_bootstrap(p, e->index), e->reason, (double)e->retry_us / 1e6);
        return;
    }
    complain("registering with %s: %s%s%s", peer_bootstrap(p, e->index), e->reason,
             e->hint != NULL ? "; " : "", e->hint != NULL ? e->hint : "");
}

/* What fails names what to try next, or when it is tried again. */
static void tell_failed(const struct peer_program *p, const struct aq_node_event *e, const char *id)
{
    const char *step = aq_node_step_name(e->step);

    if (peer_goes_on(p, e)) {
        complain("connecting to %s failed while %s: %s; it is tried again in %.1f s", id, step,
                 e->reason, (double)e->retry_us / 1e6);
    } else {
        complain("connecting to %s failed while %s: %s%s%s", id, step, e->reason,
                 e->hint != NULL ? "; " : "", e->hint != NULL ? e->hint : "");
    }
}

static void tell_person(const struct peer_program *p, const struct aq_node_event *e)
{
    char id[AQ_PEER_ID_TEXT] = "somebody", whole[AQ_PEER_ID_TEXT] = "?";
    const char *step = aq_node_step_name(e->step);

    if (e->peer_id != NULL) {
        (void)peer_short(e->peer_id, id);
        (void)aq_peer_id_text(e->peer_id, whole);
    }
    switch (e->kind) {
    case AQ_NODE_BOOTSTRAP: tell_bootstrap(p, e); break;
    case AQ_NODE_REGISTERED:
        if (!p->quiet) {
            note("%8.1f ms  registration: %s", peer_ms(p), aq_node_result_name(e->result));
        }
        break;
    case AQ_NODE_STEP:
        if (!p->quiet) {
            note("%8.1f ms  %s: %s", peer_ms(p), id, step);
        }
        break;
    case AQ_NODE_CONNECTED:
        if (!p->quiet) {
            note("%8.1f ms  %s: connected, %s%s", peer_ms(p), id, e->relayed ? "relayed" : "direct",
                 e->incoming ? ", it called" : "");
        }
        break;
    case AQ_NODE_PATH:
        if (!p->quiet) {
            note("%8.1f ms  %s: now %s", peer_ms(p), id, e->relayed ? "relayed" : "direct");
        }
        break;
    case AQ_NODE_FAILED: tell_failed(p, e, id); break;
    case AQ_NODE_CLOSED:
        if (!p->quiet) {
            note("%8.1f ms  %s: gone: %s", peer_ms(p), id, e->reason);
        }
        break;
    case AQ_NODE_REFUSED:
        note("%8.1f ms  %s wanted in: refused; --allow %s would let it in", peer_ms(p), id, whole);
        break;
    case AQ_NODE_PROBE: break; /* for who has asked for it */
    }
}

void peer_tell(struct peer_program *p, const struct aq_node_event *event)
{
    bool failed = event->kind == AQ_NODE_FAILED;

    if (p->flags.json && (!p->quiet || (failed && !peer_goes_on(p, event)))) {
        tell_json(p, event);
    }
    if (!p->flags.json || failed) {
        tell_person(p, event);
    }
}
