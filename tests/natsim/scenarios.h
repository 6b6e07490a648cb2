/* scenarios.h -- what is played in the simulated world, by name; main.c runs them by seed. */
#ifndef AQ_NATSIM_SCENARIOS_H
#define AQ_NATSIM_SCENARIOS_H

#include "tests/natsim/people.h"

struct scenario {
    const char *name;
    void (*play)(struct world *world);
    unsigned brief; /* seeds of the brief run, which is part of `ninja unit` */
    const char *what;
};
extern const struct scenario scenarios[];
extern const unsigned scenario_count;

/* What scenarios have in common: scenario.c. */

/* Loss, jitter, reordering: up to that, and in every fourth world none at all. */
void weather_draw(struct world *world, uint32_t loss_ppm);
/* A place to live: on the Internet, behind a box of its own, behind one of a carrier, or with
 * somebody who has moved in before. */
struct box *place_draw(struct town *town, unsigned index);
/* Runs until it is true, at most for so long; false: it did not come true (or the world failed). */
bool town_until(struct town *town, bool (*is)(struct town *town), uint64_t limit_us);
bool town_run(struct town *town, uint64_t us);
bool all_registered(struct town *town); /* with every bootstrap node that runs */
bool all_known(struct town *town);      /* and they know it */
/* Everybody who is connected says something to everybody, and hears it: or the world fails. */
void town_check_talk(struct town *town);
/* Both ends of each connection think alike. */
void town_check_mutual(struct town *town);
/* All leave all; when that is over nothing may be left. */
void town_leave(struct town *town);

void play_faults(struct world *world);  /* faults.c */
void play_refuse(struct world *world);  /* refuse.c */
void play_recover(struct world *world); /* recover.c */
void play_liar(struct world *world);    /* liar.c */
void play_reborn(struct world *world);  /* reborn.c */
void play_switch(struct world *world);  /* switch.c */
void play_matrix(struct world *world);  /* matrix.c */

#endif
