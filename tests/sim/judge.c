/* judge.c -- what must have come of the things that were mixed into a scenario (side.h), and which
 * of them it really had.
 *
 * Called when a side's handshake is done, and once a round when all is delivered, before the close.
 * What chance may rightly prevent (a ticket that was lost with its packet, an address that changed
 * while marks were tried) is no failure; each claim says on what it depends. */
#include "tests/sim/check.h"
#include "tests/sim/side.h"

#include <string.h>

const char *feature_name(enum feature feature)
{
    static const char *const names[FEATURES] = {
        [FEATURE_RETRY] = "Retry",
        [FEATURE_HELLO_RETRY] = "HelloRetryRequest",
        [FEATURE_VERSION_2] = "version 2",
        [FEATURE_VERSION_NEGOTIATION] = "Version Negotiation",
        [FEATURE_VERSION_COMPATIBLE] = "compatible negotiation",
        [FEATURE_RESUMED] = "resumed",
        [FEATURE_EARLY_ACCEPTED] = "0-RTT accepted",
        [FEATURE_EARLY_REJECTED] = "0-RTT rejected",
        [FEATURE_EARLY_REPLAYED] = "0-RTT replayed",
        [FEATURE_DATAGRAMS] = "datagrams",
        [FEATURE_DATAGRAMS_DROPPED] = "datagrams dropped by policy",
        [FEATURE_DATAGRAMS_LOST] = "datagrams lost",
        [FEATURE_DATAGRAMS_EARLY] = "datagrams in 0-RTT",
        [FEATURE_RESETS] = "resets",
        [FEATURE_RESETS_AT] = "resets with a reliable size",
        [FEATURE_PRIORITIES] = "priorities",
        [FEATURE_KEY_UPDATES] = "key updates",
        [FEATURE_REBINDS] = "rebinding",
        [FEATURE_MIGRATIONS] = "migration",
        [FEATURE_PREFERRED] = "preferred address",
        [FEATURE_FORWARDED] = "packets forwarded by an attacker",
        [FEATURE_MTU_RAISED] = "MTU raised",
        [FEATURE_MTU_CHANGED] = "MTU of the links changes",
        [FEATURE_ECN_CAPABLE] = "ECN in use",
        [FEATURE_ECN_BROKEN] = "ECN that the links spoil",
        [FEATURE_ECN_MARKED] = "congestion marks",
        [FEATURE_LOSS_30] = "30 % loss",
        [FEATURE_CLOCK_STEPS] = "clock steps",
        [FEATURE_SUSPENDED] = "a host suspended",
    };
    return names[feature];
}

/* ---- the handshake
 * --------------------------------------------------------------------------------------- */

/* RFC 9368 §2.3: the server's first that the client speaks. */
static uint32_t version_wanted(const struct scenario *row)
{
    static const uint32_t usual[AQ_VERSIONS_MAX] = {AQ_QUIC_V1, AQ_QUIC_V2};
    const uint32_t *client = row->versions[0][0] ? row->versions[0] : usual;
    const uint32_t *server = row->versions[1][0] ? row->versions[1] : usual;

    for (unsigned i = 0; i < AQ_VERSIONS_MAX && server[i]; i++)
        for (unsigned j = 0; j < AQ_VERSIONS_MAX && client[j]; j++)
            if (server[i] == client[j])
                return server[i];
    return 0;
}

static void judge_version(struct side *side)
{
    struct aq_conn_stats stats = {.size = sizeof stats};
    uint32_t want = version_wanted(side->play->row);

    if (aq_conn_stats(side->host->ep, side->conn, &stats) != AQ_OK || stats.version != want)
        sim_fail(side->play->sim, "%s speaks %s, and not %s", side->client ? "client" : "server",
                 aq_version_name(stats.version), aq_version_name(want));
    if (want != AQ_QUIC_V1)
        play_feature(side->play, FEATURE_VERSION_2);
}

/* The client's ticket is of the server before it began anew, and of its version; chance has no part
 * in what becomes of its 0-RTT. */
static void judge_early(struct side *side, const struct aq_conn_peer *peer)
{
    struct play *play = side->play;
    const struct scenario *row = play->row;
    bool offered = side->client && row->early && play->round && side->ticket_size;
    bool accepted =
        (row->early == EARLY_ACCEPTED || row->early == EARLY_REPLAYED) && !row->hello_retry;
    enum aq_early want = !offered ? AQ_EARLY_NO : accepted ? AQ_EARLY_ACCEPTED : AQ_EARLY_REJECTED;

    if (side->client && peer->early_data != want)
        sim_fail(play->sim, "0-RTT: %d, and not %d", (int)peer->early_data, (int)want);
    if (side->client && side->early != offered)
        sim_fail(play->sim, "0-RTT that was %s", offered ? "not begun" : "not asked for");
    if (!side->client && side->early != (peer->early_data == AQ_EARLY_ACCEPTED))
        sim_fail(play->sim, "the server's 0-RTT: %d without being told", (int)peer->early_data);
    if (offered)
        play_feature(play, accepted ? FEATURE_EARLY_ACCEPTED : FEATURE_EARLY_REJECTED);
    if (offered && side->dgrams.early)
        play_feature(play, FEATURE_DATAGRAMS_EARLY);
}

void judge_connected(struct side *side, const struct aq_conn_peer *peer)
{
    bool late_group = strstr(peer->group, "384") != NULL;

    judge_version(side);
    judge_early(side, peer);
    if (late_group != side->play->row->hello_retry)
        sim_fail(side->play->sim, "group %s", peer->group);
    if (late_group)
        play_feature(side->play, FEATURE_HELLO_RETRY);
    if (peer->resumed)
        play_feature(side->play, FEATURE_RESUMED);
}

/* ---- the end of a round
 * ------------------------------------------------------------------------------------ */

/* RFC 9221 §5: none twice, and whatever did not arrive is counted by somebody. */
static void judge_datagrams(struct side *side, const struct aq_conn_stats *s,
                            const struct aq_conn_stats *peer)
{
    const struct dgrams *d = &side->dgrams;
    const char *wrong = NULL;

    dgrams_read(side, true);
    if (s->datagrams_sent + s->datagrams_dropped_sending > d->sent)
        wrong = "more sent than written";
    else if (s->datagrams_acked + s->datagrams_lost > s->datagrams_sent)
        wrong = "more acknowledged or lost than sent";
    else if (peer->datagrams_received > s->datagrams_sent)
        wrong = "more received than sent";
    else if (s->datagrams_acked > peer->datagrams_received)
        wrong = "more acknowledged than received";
    else if (d->received + s->datagrams_dropped_receiving != s->datagrams_received)
        wrong = "what was received is neither here nor dropped";
    if (wrong)
        sim_fail(
            side->play->sim,
            "%s: datagrams: %s (written %u, sent %llu, acknowledged %llu, lost %llu, dropped %llu; "
            "peer's received %llu; received %llu, dropped %llu, taken %u)",
            side->client ? "client" : "server", wrong, d->sent,
            (unsigned long long)s->datagrams_sent, (unsigned long long)s->datagrams_acked,
            (unsigned long long)s->datagrams_lost, (unsigned long long)s->datagrams_dropped_sending,
            (unsigned long long)peer->datagrams_received, (unsigned long long)s->datagrams_received,
            (unsigned long long)s->datagrams_dropped_receiving, d->received);
    if (d->received)
        play_feature(side->play, FEATURE_DATAGRAMS);
    if (s->datagrams_dropped_sending || s->datagrams_dropped_receiving)
        play_feature(side->play, FEATURE_DATAGRAMS_DROPPED);
    if (s->datagrams_lost)
        play_feature(side->play, FEATURE_DATAGRAMS_LOST);
}

/* RFC 9000 §13.4.2: marks are used only where they arrive, and there they are. */
static void judge_ecn(struct side *side, const struct aq_conn_stats *s)
{
    struct play *play = side->play;
    const struct scenario *row = play->row;
    const struct sim_link *link = &row->link[!side->client];
    bool clean = !play->sim->on_flight && play->sim->dropped == 0 && !link->corrupt_ppm
                 && !row->link[side->client].corrupt_ppm && !link->reorder_ppm && !row->suspend_us
                 && link->ce_ppm < SIM_PPM / 20;
    const struct sim_line *in = &play->sim->line[!side->host->index][side->host->index];

    if (row->no_ecn[!side->client] != (s->ecn_state == AQ_ECN_STATE_OFF))
        sim_fail(play->sim, "ECN: %d", (int)s->ecn_state);
    if (link->marks && s->ecn_state == AQ_ECN_STATE_CAPABLE)
        sim_fail(play->sim, "ECN in use where the link spoils it");
    if (clean && !link->marks && s->ecn_state == AQ_ECN_STATE_FAILED)
        sim_fail(play->sim, "ECN given up where the link passes it");
    if (s->ecn_ce > in->ce)
        sim_fail(play->sim, "%llu marks came of %llu", (unsigned long long)s->ecn_ce,
                 (unsigned long long)in->ce);
    if (s->ecn_state == AQ_ECN_STATE_CAPABLE)
        play_feature(play, FEATURE_ECN_CAPABLE);
    if (link->marks && s->ecn_state == AQ_ECN_STATE_FAILED)
        play_feature(play, FEATURE_ECN_BROKEN);
    if (s->ecn_ce)
        play_feature(play, FEATURE_ECN_MARKED);
}

static void judge_mtu(const struct side *side, const struct aq_conn_stats *s)
{
    struct play *play = side->play;

    if (play->mtu_highest && !play->row->fixed_mtu && s->mtu > play->mtu_highest)
        sim_fail(play->sim, "an MTU of %u, where nothing above %u ever passed", s->mtu,
                 play->mtu_highest);
    if (!play->row->fixed_mtu && s->mtu > 1200)
        play_feature(play, FEATURE_MTU_RAISED);
}

static void features_of_play(struct play *play)
{
    const struct scenario *row = play->row;
    struct aq_endpoint_stats server = {.size = sizeof server};

    aq_endpoint_stats(play->server.host->ep, &server);
    if (server.retries)
        play_feature(play, FEATURE_RETRY);
    if (server.versions)
        play_feature(play, FEATURE_VERSION_NEGOTIATION);
    else if (version_wanted(row) != (row->version ? row->version : AQ_QUIC_V1))
        play_feature(play, FEATURE_VERSION_COMPATIBLE);
    if (play->client.host->rebinds)
        play_feature(play, FEATURE_REBINDS);
    if (row->migrate_us && play->client.path_moved)
        play_feature(play, FEATURE_MIGRATIONS);
    if (row->preferred && !row->preferred_dead && play->client.path_moved)
        play_feature(play, FEATURE_PREFERRED);
    if (row->forward_ppm)
        play_feature(play, FEATURE_FORWARDED);
    if (row->priorities)
        play_feature(play, FEATURE_PRIORITIES);
    if (row->link[0].loss_ppm >= SIM_PPM / 4 || row->link[1].loss_ppm >= SIM_PPM / 4)
        play_feature(play, FEATURE_LOSS_30);
    if (row->clock_step_us)
        play_feature(play, FEATURE_CLOCK_STEPS);
    if (row->suspend_us)
        play_feature(play, FEATURE_SUSPENDED);
}

void judge_end(struct play *play)
{
    struct side *sides[2] = {&play->client, &play->server};
    struct aq_conn_stats stats[2] = {{.size = sizeof stats[0]}, {.size = sizeof stats[1]}};

    for (unsigned i = 0; i < 2; i++) {
        if (aq_conn_stats(sides[i]->host->ep, sides[i]->conn, &stats[i]) != AQ_OK)
            return; /* it has ended: the close is judged */
    }
    for (unsigned i = 0; i < 2 && !play->sim->failed; i++) {
        judge_datagrams(sides[i], &stats[i], &stats[!i]);
        judge_ecn(sides[i], &stats[i]);
        judge_mtu(sides[i], &stats[i]);
        if (stats[i].key_updates)
            play_feature(play, FEATURE_KEY_UPDATES);
    }
    features_of_play(play);
}
