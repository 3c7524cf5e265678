// What functions of the C interface answer.
#pragma once

#include <cstdint>

enum : int32_t {
    PG_OK = 0,
    PG_NO_MEMORY = -1,
    PG_BAD_ARGUMENT = -2,
    PG_PAST_POSITIONS = -3,  // the table of positions has too few rows
    PG_BAD_TOKEN = -4,       // a token outside the vocabulary
    PG_NO_THREADS = -5,      // the system starts no more of them
};
