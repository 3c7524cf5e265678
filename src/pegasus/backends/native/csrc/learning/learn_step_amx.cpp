// A step of learning with tiles.
#include "learning/learn_tiles.h"
#include "learning/learn_step.h"

void learn_run_amx(const Learn& learn, LearnWorker& worker, const LearnBatch& batch, double* sums) {
    run(learn, worker, batch, sums);
}
