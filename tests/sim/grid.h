/* grid.h -- scenarios by seed: what links do, and what is mixed in, each an independent draw.
 *
 * Called by scenarios.c. */
#ifndef AQ_SIM_GRID_H
#define AQ_SIM_GRID_H

#include "tests/sim/app.h"

#define MS(n)      ((uint64_t)(n)*1000)
#define SECONDS(n) ((uint64_t)(n)*1000000)
#define PERCENT(n) ((uint32_t)(n)*10000)

/* One point of the grid. */
void grid_point(uint64_t seed, struct scenario *row);
/* A scenario on standard output. */
void grid_print(const struct scenario *row);

#endif
