// The encoder: texts in, final states out.
#pragma once

#include "model/model.h"

// See pg_encode. The tokens must lie in the vocabulary and the texts within the table of positions.
void encode(PgModel& model, const int64_t* ids_N, const int64_t* offsets_B1, int texts, float* states_ND);
