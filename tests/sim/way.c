/* way.c -- what happens to datagrams between the hosts of a scenario, beside the faults of sim.h:
 * attackers who copy, forward and replay, links whose largest datagram changes, addresses where
 * nothing passes.
 *
 *     forwarding   a copy from the attacker's address comes before the client's own datagram
 *     replaying    the client's whole first flight again, 0-RTT included: when the server has
 * confirmed the handshake, at the close, and after it, from the client's address or another one
 *
 * A server must do nothing with replayed 0-RTT (RFC 9001 §9.2); side.c fails where it does. */
#include "tests/sim/side.h"

#include <stdlib.h>
#include <string.h>

/* TLS's clock stands still in a simulation: a ticket never gets too old, so there is no replay
 * after the time for which the server remembers the first one. */
#define REPLAY_UNTIL_US UINT64_C(150000000)

static void replay_keep(struct play *play, const struct sim_flight *flight)
{
    if (play->firsts == FLIGHTS || play->client.connected || !play->round || !flight->size
        || !(flight->data[0] & 0x80))
        return;
    struct sim_flight *copy = malloc(sizeof *copy + flight->size);
    if (!copy)
        abort();
    memcpy(copy, flight, sizeof *copy + flight->size);
    play->first[play->firsts++] = copy;
}

void way_replay(struct play *play)
{
    struct sim *sim = play->sim;
    bool elsewhere = sim_rng_below(&sim->rng, 2);

    if (play->row->early != EARLY_REPLAYED || !play->round
        || sim->now_us - play->began_us > REPLAY_UNTIL_US)
        return;
    for (unsigned i = 0; i < play->firsts; i++) {
        struct aq_addr from = play->first[i]->from;
        if (elsewhere)
            from.port = (uint16_t)(30000 + play->replays);
        struct sim_flight *flight = sim_inject(sim, &from, &play->server.host->addr,
                                               play->first[i]->data, play->first[i]->size);
        flight->foreign = false; /* the server may believe the client's token in it */
        play_feature(play, FEATURE_EARLY_REPLAYED);
    }
    play->replays++;
}

/* Attackers on the way, and addresses where nothing passes. */
static bool way_flight(void *user, struct sim_flight **pointer)
{
    struct play *play = user;
    const struct scenario *row = play->row;
    const struct sim_flight *flight = *pointer;
    const struct sim_host *client = play->client.host, *server = play->server.host;
    bool up = flight->to.ip[flight->to.family == 4 ? 3 : 15] == server->index + 1;

    if (row->migrate_nowhere && client->owns > 1
        && (flight->from.port > 5000 || flight->to.port > 5000) && client->outsides == 0)
        return false;
    if (row->preferred_dead
        && (flight->to.port == server->own[1].port || flight->from.port == server->own[1].port))
        return false;
    if (up && row->early == EARLY_REPLAYED)
        replay_keep(play, flight);
    /* He has no better way for large ones. */
    uint32_t mtu = play->sim->line[client->index][server->index].link.mtu;
    if (mtu && flight->size > mtu)
        return true;
    if (up && play->client.confirmed && sim_rng_chance(&play->sim->rng, row->forward_ppm)) {
        struct aq_addr from = flight->from;
        from.ip[from.family == 4 ? 1 : 14] = 200;
        if (row->spoof)
            from.port = (uint16_t)(20000 + sim_rng_below(&play->sim->rng, 10000));
        sim_inject(play->sim, &from, &flight->to, flight->data, flight->size);
    }
    return true;
}

/* Each direction carries another size from now on. */
static void mtu_change(struct play *play)
{
    const struct scenario *row = play->row;
    struct sim *sim = play->sim;

    for (unsigned i = 0; i < 2; i++) {
        uint32_t *mtu = &sim->line[i][1 - i].link.mtu, top = row->link[i].mtu;
        uint32_t from = row->mtu_grows ? *mtu : row->mtu_low;
        *mtu = from + (uint32_t)sim_rng_below(&sim->rng, top - from + 1);
    }
    play->mtu_at_us =
        sim->now_us + 1 + row->mtu_change_us / 2 + sim_rng_below(&sim->rng, row->mtu_change_us);
    play_feature(play, FEATURE_MTU_CHANGED);
}

void way_begin(struct play *play)
{
    const struct scenario *row = play->row;

    for (unsigned i = 0; i < 2; i++) {
        sim_link_set(play->sim, i, 1 - i, &row->link[i]);
        if (row->mtu_grows)
            play->sim->line[i][1 - i].link.mtu = row->mtu_low;
        if (row->link[i].mtu > play->mtu_highest)
            play->mtu_highest = row->link[i].mtu;
    }
    if (!row->link[0].mtu || !row->link[1].mtu)
        play->mtu_highest = 0; /* anything passes */
    play->mtu_at_us = play->sim->now_us + row->mtu_change_us;
    if (row->forward_ppm || row->migrate_nowhere || row->preferred_dead
        || row->early == EARLY_REPLAYED) {
        play->sim->on_flight = way_flight;
        play->sim->on_flight_user = play;
    }
}

void way_turn(struct play *play)
{
    if (play->row->mtu_change_us && play->sim->now_us >= play->mtu_at_us)
        mtu_change(play);
    if (play->replays == 0 && play->server.confirmed)
        way_replay(play);
}

void way_end(struct play *play)
{
    for (unsigned i = 0; i < play->firsts; i++)
        free(play->first[i]);
    play->firsts = 0;
}
