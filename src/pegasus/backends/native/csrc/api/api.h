// The C interface of the engine: what Python calls through ctypes.
//
// Axes: B texts, R rows (texts x beams; row r belongs to text r / (R / B)), S source, T new tokens, P positions
// asked about, C candidates, D model, H heads, E head width, I = H * E, F feed-forward, V vocabulary, L layers.
//
// Memory: whatever a description points to belongs to the caller and must outlive the model. Buffers that a
// function returns belong to the object they come from and are good until its next step or its end.
// Functions that return int32_t return PG_OK or one of the codes of codes.h. A model runs one thing at a time: calls
// on one model (and its sessions) from several threads wait for each other.
#pragma once

#include <cstdint>

#include "model/codes.h"
#include "model/network.h"

#if defined(_WIN32)
#define PG_API extern "C" __declspec(dllexport)
#else
#define PG_API extern "C" __attribute__((visibility("default")))
#endif

struct PgModel;
struct PgSession;
struct PgScores;

// -- the model ------------------------------------------------------------------------------------------------

// A model over `threads` threads, of which the caller's is one.
PG_API int32_t pg_model_new(const PgNetwork* network, int32_t threads, PgModel** model);
PG_API void pg_model_free(PgModel* model);  // after its sessions

// The tables of positions, float32 [rows, D], dense. They may be replaced by longer ones at any time.
PG_API void pg_model_positions(PgModel* model, const float* encoder_SD, int32_t encoder_rows,
                               const float* decoder_TD, int32_t decoder_rows);

// Seconds since the last call by part of the work (as thread 0 sees it), then starts again from zero.
// Off until first called. `pg_part_name(i)` is null past the last part.
PG_API int32_t pg_model_profile(PgModel* model, double* seconds, int32_t count);
PG_API const char* pg_part_name(int32_t part);

// Final states [N, D] of B texts whose tokens stand one behind the other: text b has ids offsets[b] .. offsets[b+1].
PG_API int32_t pg_encode(PgModel* model, const int64_t* ids_N, const int64_t* offsets_B1, int32_t texts,
                         float* states_ND);

// -- a decoder with its cache ---------------------------------------------------------------------------------

// Projects the states [N, D] of B texts into the keys and values of every layer's cross-attention. They may be
// freed afterwards. `states_ND` null: the decoder stands alone (texts is then ignored).
PG_API int32_t pg_session_new(PgModel* model, const float* states_ND, const int64_t* offsets_B1, int32_t texts,
                              PgSession** session);
PG_API void pg_session_free(PgSession* session);

// Reads T new tokens per row.
//   keep       positions of its cache that a row keeps before anything else; -1: all
//   parents_R  whose cache each row carries on, as indices into the rows of the step before; null: its own
//   texts_B    which texts remain, as indices into those the session holds; null: all
//   tokens_RT  the new tokens; T of a later step need not be the same
//   positions  P, how many of the last tokens get logits; 0: none
//   hidden     whether the last hidden states of all T tokens are kept
PG_API int32_t pg_session_step(PgSession* session, int32_t keep, const int64_t* parents_R, const int64_t* texts_B,
                               int32_t texts, const int64_t* tokens_RT, int32_t rows, int32_t tokens,
                               int32_t positions, int32_t hidden);

PG_API int32_t pg_session_length(const PgSession* session);   // positions in the cache
PG_API int64_t pg_session_bytes(const PgSession* session);    // of keys, values and scores
PG_API const float* pg_session_hidden(PgSession* session);    // [R, T, D] of the last step that kept them

// -- scores: numbers [N, V] and the questions asked about them --------------------------------------------------

// The logits of the last step, [R * P, V], position after position within a row.
PG_API PgScores* pg_session_scores(PgSession* session);

// A copy of some rows (null: all), which may be changed and leaves the logits as they are. There is one copy a
// session; the next one overwrites it.
PG_API PgScores* pg_session_copy(PgSession* session, const int64_t* rows_N, int32_t rows);

PG_API float* pg_scores_values(PgScores* scores);           // [N, stride]
PG_API int32_t pg_scores_rows(const PgScores* scores);      // N
PG_API int32_t pg_scores_stride(const PgScores* scores);    // numbers from one row to the next, V or a little more

// Must be called after writing to the buffer itself.
PG_API void pg_scores_changed(PgScores* scores);

PG_API int32_t pg_scores_get(PgScores* scores, const int64_t* rows_K, const int64_t* tokens_K, int64_t count,
                             float* values_K);
PG_API int32_t pg_scores_put(PgScores* scores, const int64_t* rows_K, const int64_t* tokens_K, int64_t count,
                             const float* values_K);
PG_API int32_t pg_scores_fill(PgScores* scores, const int64_t* rows_K, int64_t count, float value);

// log(sum(exp(row))) of each row; of untouched logits it was found while they were made.
PG_API int32_t pg_scores_logsumexp(PgScores* scores, float* values_N);

// Makes log-probabilities of all rows, in place.
PG_API int32_t pg_scores_log_softmax(PgScores* scores);

// The C best tokens of some rows (null: all), largest first, of equal ones the lower token first.
//   shift_N  taken off the numbers of each row before they are compared; null: nothing
PG_API int32_t pg_scores_best(PgScores* scores, const int64_t* rows_N, int32_t rows, const float* shift_N,
                              int32_t count, float* values_NC, int64_t* tokens_NC);
