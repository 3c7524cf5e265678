// A step of learning with vectors.
#include "learning/learn_vectors.h"
#include "learning/learn_step.h"

void learn_run_avx512bf16(const Learn& learn, LearnWorker& worker, const LearnBatch& batch, double* sums) {
    run(learn, worker, batch, sums);
}
