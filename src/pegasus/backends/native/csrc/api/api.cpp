// The C interface over the parts of the engine: arguments are checked here, and nothing is thrown past here.
#include "api/api.h"

#include <algorithm>

#include "api/guard.h"
#include "decoder/decoder.h"
#include "encoder/encoder.h"

namespace {

const char* const kPartNames[PARTS] = {"embeddings",  "norms and rounding",  "query, key, value", "attention", "output",
                                       "cross query", "cross attention",     "cross output",      "fc1",       "fc2",
                                       "head",        "looking over scores", "cross keys and values", "waiting"};

template <class Function>
int32_t guarded(PgModel& model, Function&& function) {
    return ::guarded([&]() -> int32_t {
        const std::lock_guard<std::mutex> lock(model.mutex);
        return function();
    });
}

// Rows and tokens inside, pair by pair.
bool pairs_fit(const PgScores& scores, const int64_t* rows, const int64_t* tokens, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        if (rows[i] < 0 || rows[i] >= scores.rows ||
            (tokens != nullptr && (tokens[i] < 0 || tokens[i] >= scores.vocabulary))) {
            return false;
        }
    }
    return true;
}

// Texts must have tokens, and offsets must grow.
bool offsets_fit(const int64_t* offsets_B1, int32_t texts) {
    if (texts <= 0 || offsets_B1 == nullptr || offsets_B1[0] < 0) return false;
    for (int32_t text = 0; text < texts; ++text) {
        if (offsets_B1[text + 1] <= offsets_B1[text]) return false;
    }
    return true;
}

int64_t longest(const int64_t* offsets_B1, int32_t texts) {
    int64_t most = 0;
    for (int32_t text = 0; text < texts; ++text) most = std::max(most, offsets_B1[text + 1] - offsets_B1[text]);
    return most;
}

// Rows from which it pays to wake the other threads for a look over all scores of a row.
constexpr int kWakeRows = 4;

}  // namespace

// -- the model ------------------------------------------------------------------------------------------------

PG_API int32_t pg_model_new(const PgNetwork* network, int32_t threads, PgModel** model) {
    return ::guarded([&]() -> int32_t {
        if (threads < 1) return PG_BAD_ARGUMENT;
        *model = new PgModel(*network, threads);
        return PG_OK;
    });
}

PG_API void pg_model_free(PgModel* model) { delete model; }

PG_API void pg_model_positions(PgModel* model, const float* encoder_SD, int32_t encoder_rows, const float* decoder_TD,
                               int32_t decoder_rows) {
    const std::lock_guard<std::mutex> lock(model->mutex);
    model->encoder_positions = encoder_SD;
    model->encoder_rows = encoder_SD == nullptr ? 0 : encoder_rows;
    model->decoder_positions = decoder_TD;
    model->decoder_rows = decoder_TD == nullptr ? 0 : decoder_rows;
}

PG_API int32_t pg_model_profile(PgModel* model, double* seconds, int32_t count) {
    const std::lock_guard<std::mutex> lock(model->mutex);
    for (int part = 0; part < PARTS; ++part) {
        if (part < count) seconds[part] = model->profile.seconds[part];
        model->profile.seconds[part] = 0.0;
    }
    model->profile.on = true;
    return PG_OK;
}

PG_API const char* pg_part_name(int32_t part) { return part >= 0 && part < PARTS ? kPartNames[part] : nullptr; }

PG_API int32_t pg_encode(PgModel* model, const int64_t* ids_N, const int64_t* offsets_B1, int32_t texts,
                         float* states_ND) {
    return guarded(*model, [&]() -> int32_t {
        if (!offsets_fit(offsets_B1, texts) || model->encoder.empty()) return PG_BAD_ARGUMENT;
        if (longest(offsets_B1, texts) > model->encoder_rows) return PG_PAST_POSITIONS;
        if (!model->tokens_fit(ids_N + offsets_B1[0], offsets_B1[texts] - offsets_B1[0])) return PG_BAD_TOKEN;
        encode(*model, ids_N, offsets_B1, texts, states_ND);
        return PG_OK;
    });
}

// -- a decoder with its cache ---------------------------------------------------------------------------------

PG_API int32_t pg_session_new(PgModel* model, const float* states_ND, const int64_t* offsets_B1, int32_t texts,
                              PgSession** session) {
    return guarded(*model, [&]() -> int32_t {
        if (states_ND != nullptr && !offsets_fit(offsets_B1, texts)) return PG_BAD_ARGUMENT;
        *session = new PgSession(*model, states_ND, offsets_B1, texts);
        return PG_OK;
    });
}

PG_API void pg_session_free(PgSession* session) { delete session; }

PG_API int32_t pg_session_step(PgSession* session, int32_t keep, const int64_t* parents_R, const int64_t* texts_B,
                               int32_t texts, const int64_t* tokens_RT, int32_t rows, int32_t tokens, int32_t positions,
                               int32_t hidden) {
    const PgSession::Step step{keep, parents_R, texts_B, texts, tokens_RT, rows, tokens, positions, hidden != 0};
    return guarded(session->model, [&]() -> int32_t {
        const int32_t code = session->check(step);
        if (code == PG_OK) session->step(step);
        return code;
    });
}

PG_API int32_t pg_session_length(const PgSession* session) { return session->cache.length(); }

PG_API int64_t pg_session_bytes(const PgSession* session) {
    int64_t bytes = session->cache.bytes() + session->hidden.bytes() + session->scores.bytes() + session->copy.bytes();
    for (const auto& text : session->texts) bytes += text->data.bytes();
    return bytes;
}

PG_API const float* pg_session_hidden(PgSession* session) { return session->hidden.room<float>(0); }

PG_API PgScores* pg_session_scores(PgSession* session) { return &session->scores; }

PG_API PgScores* pg_session_copy(PgSession* session, const int64_t* rows_N, int32_t rows) {
    const int32_t code = guarded(session->model, [&]() -> int32_t {
        if (rows_N != nullptr && !pairs_fit(session->scores, rows_N, nullptr, rows)) return PG_BAD_ARGUMENT;
        session->copy.copy_rows(session->scores, rows_N, rows);
        return PG_OK;
    });
    return code == PG_OK ? &session->copy : nullptr;
}

// -- scores ---------------------------------------------------------------------------------------------------

PG_API float* pg_scores_values(PgScores* scores) { return scores->values; }
PG_API int32_t pg_scores_rows(const PgScores* scores) { return scores->rows; }
PG_API int32_t pg_scores_stride(const PgScores* scores) { return scores->stride; }
PG_API void pg_scores_changed(PgScores* scores) { scores->changed(); }

PG_API int32_t pg_scores_get(PgScores* scores, const int64_t* rows_K, const int64_t* tokens_K, int64_t count,
                             float* values_K) {
    if (!pairs_fit(*scores, rows_K, tokens_K, count)) return PG_BAD_ARGUMENT;
    for (int64_t i = 0; i < count; ++i) values_K[i] = scores->row(static_cast<int>(rows_K[i]))[tokens_K[i]];
    return PG_OK;
}

PG_API int32_t pg_scores_put(PgScores* scores, const int64_t* rows_K, const int64_t* tokens_K, int64_t count,
                             const float* values_K) {
    if (!pairs_fit(*scores, rows_K, tokens_K, count)) return PG_BAD_ARGUMENT;
    for (int64_t i = 0; i < count; ++i) scores->put(static_cast<int>(rows_K[i]), tokens_K[i], values_K[i]);
    return PG_OK;
}

PG_API int32_t pg_scores_fill(PgScores* scores, const int64_t* rows_K, int64_t count, float value) {
    if (!pairs_fit(*scores, rows_K, nullptr, count)) return PG_BAD_ARGUMENT;
    for (int64_t i = 0; i < count; ++i) scores->fill(static_cast<int>(rows_K[i]), value);
    return PG_OK;
}

PG_API int32_t pg_scores_logsumexp(PgScores* scores, float* values_N) {
    return guarded(scores->model, [&]() -> int32_t {
        const bool known =
            std::all_of(scores->summed.begin(), scores->summed.end(), [](uint8_t yes) { return yes != 0; });
        over_rows(scores->model, scores->rows, known ? scores->rows + 1 : kWakeRows,
                  [&](int row) { values_N[row] = static_cast<float>(scores->logsumexp(row)); });
        return PG_OK;
    });
}

PG_API int32_t pg_scores_log_softmax(PgScores* scores) {
    return guarded(scores->model, [&]() -> int32_t {
        over_rows(scores->model, scores->rows, kWakeRows,
                  [&](int row) { scores->shift(row, static_cast<float>(scores->logsumexp(row))); });
        return PG_OK;
    });
}

PG_API int32_t pg_scores_best(PgScores* scores, const int64_t* rows_N, int32_t rows, const float* shift_N,
                              int32_t count, float* values_NC, int64_t* tokens_NC) {
    return guarded(scores->model, [&]() -> int32_t {
        if (rows < 0 || count <= 0 || count > scores->vocabulary) return PG_BAD_ARGUMENT;
        if (rows_N == nullptr ? rows != scores->rows : !pairs_fit(*scores, rows_N, nullptr, rows))
            return PG_BAD_ARGUMENT;
        const bool known =
            std::all_of(scores->mapped.begin(), scores->mapped.end(), [](uint8_t yes) { return yes != 0; });
        over_rows(scores->model, rows, known ? 8 * kWakeRows : kWakeRows, [&](int i) {
            const int row = rows_N == nullptr ? i : static_cast<int>(rows_N[i]);
            const int64_t at = int64_t{i} * count;
            scores->best(row, shift_N == nullptr ? 0.0f : shift_N[i], count, values_NC + at, tokens_NC + at);
        });
        return PG_OK;
    });
}
