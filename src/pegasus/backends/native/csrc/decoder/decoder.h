// The decoder: one step over its KV cache.
#pragma once

#include <memory>
#include <vector>

#include "decoder/kv_cache.h"
#include "decoder/scores.h"
#include "model/codes.h"
#include "model/model.h"

struct PgSession {
    PgSession(PgModel& model, const float* states_ND, const int64_t* offsets_B1, int texts);

    // See pg_session_step; everything must have been checked.
    struct Step {
        int keep;
        const int64_t* parents_R;
        const int64_t* texts_B;
        int texts;
        const int64_t* tokens_RT;
        int rows;
        int tokens;
        int positions;
        bool hidden;
    };
    int32_t check(const Step& step) const;
    void step(const Step& step);

    PgModel& model;
    const bool alone;  // no cross-attention
    std::vector<std::shared_ptr<CrossCache>> texts;
    KvCache cache;
    Buffer hidden;
    PgScores scores;
    PgScores copy;

private:
    std::shared_ptr<CrossCache> make_cross_cache(int length) const;
    void fill_cross_caches(const float* states_ND, int tokens, int first, int last);
    void fill_cross_layer(Worker& worker, const float* states_ND, int tokens, int first, int last, int index,
                        float* projected);
};
