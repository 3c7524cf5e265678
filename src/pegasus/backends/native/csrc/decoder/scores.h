// Scores [N, V] and the questions asked about them.
//
// While scores are made each stretch of them is looked at once, as long as it is near the processor: the greatest of
// each SCORE_BLOCK, by which the best few are found without another pass, and the sum of exponentials.
#pragma once

#include "model/model.h"

struct PgScores {
    explicit PgScores(PgModel& model) : model(model) {}

    PgModel& model;
    int rows = 0;
    int vocabulary = 0;
    int stride = 0;
    float* values = nullptr;     // [rows][stride]
    float* block_max = nullptr;  // [rows][blocks]
    std::vector<float> greatest;
    std::vector<double> sums;      // of exp(score - greatest)
    std::vector<uint8_t> summed;   // whether the two above are true
    std::vector<uint8_t> mapped;   // whether block_max is
    std::vector<uint8_t> strange;  // whether there may be a NaN or infinity, which block_max cannot be trusted with

    int blocks() const { return (vocabulary + SCORE_BLOCK - 1) / SCORE_BLOCK; }
    int64_t bytes() const { return values_.bytes() + blocks_.bytes(); }
    float* row(int index) const { return values + int64_t{index} * stride; }

    // Room for this many rows; what is in it is not known yet.
    void shape(int count);
    void copy_rows(const PgScores& from, const int64_t* which_N, int count);
    void changed();

    // Takes what `survey` found about a stretch of a row.
    static void merge(float& greatest, double& sum, float other, double other_sum);

    void put(int index, int64_t token, float value);
    void fill(int index, float value);
    double logsumexp(int index);
    void shift(int index, float by);
    void best(int index, float shift, int count, float* values_C, int64_t* tokens_C);

private:
    void look(int index);
    void best_of_all(int index, float shift, int count, float* values_C, int64_t* tokens_C) const;

    Buffer values_, blocks_;
};

// Calls function(i) for each i below `count`, on all threads where that pays.
template <class Function>
void over_rows(PgModel& model, int count, int enough, Function&& function) {
    if (count < enough) {
        for (int i = 0; i < count; ++i) function(i);
        return;
    }
    model.pool.run([&](int tid, int n) {
        const Share rows = share_of(count, tid, n);
        for (int i = rows.begin; i < rows.end; ++i) function(i);
    });
}
