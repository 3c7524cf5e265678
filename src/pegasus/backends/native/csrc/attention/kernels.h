// The arithmetic of the engine that is not a linear: norms, attention, and a look over scores. One table a level.
//
// A head's numbers are padded with zeros to E' = a multiple of 32, tokens of a text to S' = a multiple of 32.
// Keys and values of a text are kept for each head by itself, so that no kernel has to turn or unpick anything:
//   keys    [S'/16][E'/2][32]          panels of 16 tokens; a group of 32 numbers is two rows of E by 16 tokens
//   values  [S'/32][E'/16][16][32]     blocks of 32 tokens, panels of 16 columns; a group is two tokens by 16 columns
// In float32 and half a group is [2][16], in bfloat16 it is [16][2], as AMX and AVX-512 BF16 want it.
// The cache of self-attention is plain: a row of E' numbers for each token.
#pragma once

#include <cstdint>

#include "cpu/compiler.h"

constexpr int QUERY_BLOCK = 32;  // rows of queries that `attend` takes at once
constexpr int SCORE_BLOCK = 64;  // scores that share one entry of `block_max`

// How keys and values are kept and attended to. Everything else follows from the kinds of the linears.
enum : int32_t { PG_KV_F32, PG_KV_BF16, PG_KV_F16 };

inline constexpr int kKvBytes[] = {4, 2, 2};  // of a number, by PG_KV_*

// Every row looks at all of one text.
struct Attend {
    const float* queries;  // [QUERY_BLOCK][E'], scaled; zeros from `rows` to a multiple of 8
    int rows;
    int head_width;  // E
    int padded;      // E'
    const void* keys;
    const void* values;
    int length;      // S
    float* scratch;  // attend_scratch(S) numbers, aligned to 64 bytes
    float* out;      // rows of E numbers
    int64_t ld_out;
};

// One row looks at tokens that lie here and there.
struct AttendSlots {
    const float* query;    // [E'], scaled
    const int32_t* slots;  // where each token lies
    int count;
    char* const* chunks;  // slot s lies in chunk s >> shift, at row s & (2^shift - 1)
    int shift;
    int64_t keys_at;  // bytes from the beginning of a chunk to the rows of this head
    int64_t values_at;
    int head_width;
    int padded;
    float* scratch;  // attend_scratch(count) numbers
    float* out;      // [E]
};

struct Kernels {
    // y = (x - mean) / sqrt(variance + eps) * weight + bias
    void (*norm)(const float* x, const float* weight, const float* bias, float eps, int width, float* y);
    void (*pack_keys[3])(const float* x, int64_t ld, int count, int head_width, int padded, void* out);
    void (*pack_values[3])(const float* x, int64_t ld, int count, int head_width, int padded, void* out);
    void (*pack_row[3])(const float* x, int head_width, int padded, void* out);
    void (*attend[3])(const Attend&);
    void (*attend_slots[3])(const AttendSlots&);
    // The greatest of each SCORE_BLOCK of x, the greatest of all and, relative to that, the sum of their exp.
    void (*survey)(const float* x, int count, float* block_max, float* greatest, float* sum);
};

PG_INLINE int pad_head(int head_width) { return (head_width + 31) / 32 * 32; }
PG_INLINE int pad_length(int length) { return (length + 31) / 32 * 32; }
PG_INLINE int64_t attend_scratch(int length) { return int64_t{QUERY_BLOCK} * (pad_length(length) + 16) * 2; }

// The table for the level in use (cpu.h).
const Kernels& kernels();

// What each level has of its own: tables and functions in files compiled for it. The tables are constants, so that
// reading one of a level this processor has not got is harmless; calling what stands in it is not.
extern const Kernels kernels_portable;
#if defined(__x86_64__)
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx512;
void attend_avx512bf16(const Attend&);  // over bfloat16 keys and values; the rest is as for AVX-512
void attend_amx(const Attend&);         // likewise
#endif
