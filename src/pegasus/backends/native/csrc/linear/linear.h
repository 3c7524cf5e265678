// y = activation(x W^T + bias) + residual, for weights kept in four ways.
//
// Axes: M rows of x, N columns of y (rows of W as a checkpoint has it, [N, K]), K the sum runs over.
//
// Weights are packed into panels of 16 columns of y, one behind the other, padded with zeros:
//   LINEAR_F32   [N/16][K][16]       float
//   LINEAR_BF16  [N/16][K/2][16][2]  bfloat16: pairs along K side by side, as AMX and AVX-512 BF16 want them; K to 32
//   LINEAR_F16   [N/16][K][16]       half
//   LINEAR_INT8  [N/16][K/4][16][4]  int8 in [-127, 127] times a float per column; K to 64
// One packing serves every level of cpu.h. Packed memory must be aligned to 64 bytes.
//
// Every thread of a pool does a part of the work:
//   linear_prepare(w, x, ldx, m, &q, rows.begin, rows.end);     // x as the weights want it: a share of the rows
//   pool.barrier();                                             // not needed where linear_prepares() is false
//   linear_part(w, x, ldx, &q, m, y, ldy, e, panels.begin, panels.end);
// with rows = share_of(m, tid, n) and panels = linear_share(w, m, tid, n). With few rows it may be cheaper that each
// thread prepares all of them into memory of its own and nobody waits.
#pragma once

#include <cstdint>

#include "cpu/compiler.h"
#include "cpu/share.h"

enum : int32_t { LINEAR_F32 = 0, LINEAR_BF16 = 1, LINEAR_F16 = 2, LINEAR_INT8 = 3 };

class Pool;  // pool.h

constexpr int LINEAR_PANEL = 16;  // columns of y in a panel

struct Linear {
    int32_t kind;
    int32_t n;
    int32_t k;
    const void* weights;    // packed
    const float* scale_N;   // LINEAR_INT8: what a weight of 1 in this column is worth; else null
    const int32_t* sums_N;  // LINEAR_INT8: the sum of the column's weights over K; else null
    const float* bias_N;    // or null
};

enum : int32_t {
    ACTIVATION_NONE = 0,
    ACTIVATION_RELU = 1,
    ACTIVATION_GELU = 2,      // with the error function
    ACTIVATION_GELU_NEW = 3,  // with tanh
    ACTIVATION_SILU = 4,
    ACTIVATION_TANH = 5,
};

struct Epilogue {
    int32_t activation = ACTIVATION_NONE;
    const float* residual = nullptr;  // [M, ld_residual] added after the activation, or null; it may be y itself
    int32_t ld_residual = 0;
};

// Rows of x made ready: round(x / scale) for int8, as bytes 128 more than that, with a sign, or as
// numbers of 16 bits; bfloat16 for bf16 weights, and three of them a number for f16 weights, where there are
// instructions for it and more than some rows; else, of many rows, floats in blocks.
struct Quantized {
    uint8_t* values;  // aligned to 64 bytes
    float* scale_M;   // LINEAR_INT8 only
    int32_t stride;   // bytes from one row to the next
};

// -- shapes and memory ------------------------------------------------------------------------------------------

PG_INLINE int linear_panels(const Linear& w) { return (w.n + LINEAR_PANEL - 1) / LINEAR_PANEL; }

// The panels of thread `tid` of `n`.
Share linear_share(const Linear& w, int m, int tid, int n);

// Bytes of prepared rows that serve any kind of weights for up to m rows of k numbers.
int64_t quantized_bytes(int m, int k);

// A Quantized over such memory (aligned to 64 bytes) for m rows of k numbers that weights of some kind want.
Quantized quantized_at(void* memory, int32_t kind, int m, int k);

// Whether linear_part reads prepared rows, so that the rows must be whole before it runs.
bool linear_prepares(const Linear& w, int m);

// -- the work ---------------------------------------------------------------------------------------------------

// Makes rows [begin, end) of the m rows of x [M, ldx] ready. Does nothing where linear_prepares() is false.
void linear_prepare(const Linear& w, const float* x, int ldx, int m, const Quantized* q, int row_begin, int row_end);

// Rounds rows to int8: scale = max|x| / 127 (1 for a row of zeros), to nearest, ties to even.
void linear_quantize(const float* x, int m, int k, int ldx, const Quantized* q, int row_begin, int row_end);

// A row of what that made, as bytes 128 more than they mean, whatever the level keeps.
void linear_quantized_row(const Quantized& q, int row, int k, uint8_t* bytes_K);

// Columns 16 * panel_begin .. min(N, 16 * panel_end) of y [M, ldy], of which column 0 stands at y[0]. x is read where
// linear_prepares() is false; where it is true q, and x for rows of floats that fill no block. Any m >= 0, any range of
// panels; nothing is written outside.
void linear_part(const Linear& w, const float* x, int ldx, const Quantized* q, int m, float* y, int ldy,
                 const Epilogue& e, int panel_begin, int panel_end);

// The whole of it over a pool of threads, from outside `run`. `q` as for linear_part.
void linear_all(Pool& pool, const Linear& w, const float* x, int ldx, const Quantized* q, int m, float* y, int ldy,
                const Epilogue& e);

// Row `row` of W, as float [K]: for a head that is also the table of embeddings.
void linear_row(const Linear& w, int row, float* out_K);

// -- packing ----------------------------------------------------------------------------------------------------

int64_t linear_packed_bytes(int32_t kind, int n, int k);

// Packs panels [begin, end) of w [N, K] into `out` (of the whole). LINEAR_INT8 fills scale_N and sums_N, which others
// do not read. float32 beyond the range of half becomes infinite there.
void linear_pack(int32_t kind, int n, int k, const float* w_NK, void* out, float* scale_N, int32_t* sums_N,
                 int panel_begin, int panel_end);
