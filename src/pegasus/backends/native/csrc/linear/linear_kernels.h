// What the kernels of linear.h share: their signatures and packed memory. Inside the library only.
//
// Everything defined here has internal linkage: each file gets its own copy, compiled for its own instructions.
#pragma once

#include "cpu/cpu.h"
#include "cpu/half.h"
#include "linear/linear.h"

struct LinearWork {
    const Linear& w;
    const float* x;
    int ldx;
    const Quantized* q;
    int m;
    float* y;
    int ldy;
    const Epilogue& e;
    int panel_begin;
    int panel_end;
};

using LinearKernel = void (*)(const LinearWork&);
using QuantizeKernel = void (*)(const float* x, int m, int k, int ldx, const Quantized* q, int begin, int end);

// Rows that the vectors of each level take at once: what the registers hold beside weights. With AVX-512 24 of 32 are sums,
// with AVX2 12 of 16.
#if defined(__x86_64__)
inline constexpr int kBlockRows[] = {3, 0, 0, 6, 6, 12, 12, 12};
#elif defined(__aarch64__)
inline constexpr int kBlockRows[] = {6, 6, 6};
#else
inline constexpr int kBlockRows[] = {3};
#endif

// One of each for every level. Those of int8 read prepared rows, as do those below; the others read whole blocks of many
// rows as `pack` has laid them, and x otherwise.
#define LINEAR_KERNELS(level)                                                                                    \
    void linear_##level##_f32(const LinearWork&);                                                                \
    void linear_##level##_bf16(const LinearWork&);                                                               \
    void linear_##level##_f16(const LinearWork&);                                                                \
    void linear_##level##_int8(const LinearWork&);                                                               \
    void linear_##level##_pack(const float* x, int m, int k, int ldx, const Quantized* q, int begin, int end);   \
    void linear_##level##_quantize(const float* x, int m, int k, int ldx, const Quantized* q, int begin, int end);

LINEAR_KERNELS(portable)
#if defined(__aarch64__)
void linear_dotprod_int8(const LinearWork&);
void linear_i8mm_int8(const LinearWork&);
void linear_dotprod_quantize(const float* x, int m, int k, int ldx, const Quantized* q, int begin, int end);
#endif
#if defined(__x86_64__)
LINEAR_KERNELS(avx2)
void linear_avxvnni_int8(const LinearWork&);
void linear_avxvnni_quantize(const float* x, int m, int k, int ldx, const Quantized* q, int begin, int end);
LINEAR_KERNELS(avx512)
void linear_avx512bf16_bf16(const LinearWork&);
void linear_avx512bf16_round(const float* x, int m, int k, int ldx, const Quantized* q, int begin, int end);
void linear_amx_bf16(const LinearWork&);
void linear_amx_int8(const LinearWork&);
void linear_amx_f16(const LinearWork&);
void linear_amx_split(const float* x, int m, int k, int ldx, const Quantized* q, int begin, int end);
#endif

// Memory of this thread, aligned to 64 bytes, good until its next call. Null when there is none.
void* linear_scratch(int64_t bytes);

namespace {

inline int64_t round_up(int64_t value, int64_t grain) { return (value + grain - 1) / grain * grain; }

// Of m rows as many as make whole blocks of `rows`, where there are so many that laying them out anew pays; else none.
constexpr int whole_rows(int m, int rows) { return m > 2 * rows ? m / rows * rows : 0; }

// K as it is in packed memory.
inline int padded_k(int kind, int k) {
    if (kind == LINEAR_INT8) return static_cast<int>(round_up(k, 64));
    return kind == LINEAR_BF16 ? static_cast<int>(round_up(k, 32)) : k;
}

inline int64_t panel_bytes(int kind, int k) {
    const int64_t widths[] = {4, 2, 2, 1};
    return LINEAR_PANEL * widths[kind] * padded_k(kind, k);
}

inline const uint8_t* panel_at(const Linear& w, int panel) {
    return static_cast<const uint8_t*>(w.weights) + panel * panel_bytes(w.kind, w.k);
}

inline int columns_of(const Linear& w, int panel) {
    const int left = w.n - panel * LINEAR_PANEL;
    return left < LINEAR_PANEL ? left : LINEAR_PANEL;
}

}  // namespace
