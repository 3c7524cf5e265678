// The kernels that need no special instruction, over vectors of whatever width the including file is compiled for.
//
// Included by one file per level; everything here has internal linkage. A panel is PARTS vectors wide.
#pragma once

#include <cmath>

#include "linear_kernels.h"

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define PG_INLINE inline __attribute__((always_inline))
#if defined(__clang__)
#define PG_UNROLL _Pragma("clang loop unroll(full)")
#else
#define PG_UNROLL _Pragma("GCC unroll 24")
#endif

namespace {

// ROWS rows share one reading of the weights; with many rows, WIDE panels share one reading of x. Both are what the
// registers hold: 24 of 32 as sums with AVX-512, 12 of 16 with AVX2.
#if defined(__AVX512F__)
constexpr int LANES = 16, ROWS = 12, WIDE = 2;
#elif defined(__AVX2__)
constexpr int LANES = 8, ROWS = 6, WIDE = 1;
#elif defined(__aarch64__)
constexpr int LANES = 4, ROWS = 6, WIDE = 1;
#else
constexpr int LANES = 4, ROWS = 3, WIDE = 1;
#endif
constexpr int PARTS = LINEAR_PANEL / LANES;
constexpr int CHUNK = 256;   // products that are added up one after the other
constexpr int PACKED = 1 << 17;  // numbers of x that are packed at once
constexpr int AHEAD = 2048;  // bytes of weights that are asked for before they are needed

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef uint8_t Bytes __attribute__((vector_size(LANES)));

template <class Vector>
PG_INLINE Vector load(const void* from) {
    Vector v;
    std::memcpy(&v, from, sizeof v);
    return v;
}

template <class Vector>
PG_INLINE void store(void* to, const Vector& v) {
    std::memcpy(to, &v, sizeof v);
}

template <class To, class From>
PG_INLINE To as(const From& from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

// x - 0 is x, of every x: compilers leave only the copying to all lanes.
PG_INLINE Floats all(float value) { return value - Floats{}; }
PG_INLINE Floats choose(const Ints& mask, const Floats& yes, const Floats& no) { return mask ? yes : no; }
PG_INLINE Floats at_least(const Floats& v, float low) { return choose(v > low, v, all(low)); }
PG_INLINE Floats at_most(const Floats& v, float high) { return choose(v < high, v, all(high)); }
PG_INLINE Floats magnitude(const Floats& v) { return as<Floats>(as<Words>(v) & 0x7fffffffu); }

// To the nearest whole number, ties to even.
PG_INLINE Ints nearest(const Floats& v) {
#if defined(__AVX512F__)
    return as<Ints>(_mm512_cvtps_epi32(as<__m512>(v)));
#elif defined(__AVX2__)
    return as<Ints>(_mm256_cvtps_epi32(as<__m256>(v)));
#elif defined(__SSE2__)
    return as<Ints>(_mm_cvtps_epi32(as<__m128>(v)));
#elif defined(__aarch64__)
    return as<Ints>(vcvtnq_s32_f32(as<float32x4_t>(v)));
#else
    Ints out;
    for (int i = 0; i < LANES; ++i) out[i] = static_cast<int32_t>(std::nearbyint(v[i]));
    return out;
#endif
}

// -- from a sum to y --------------------------------------------------------------------------------------------

// e^v to 2e-7 of itself; 0 below -87, the largest numbers above 88.
PG_INLINE Floats exponential(const Floats& v) {
    const Floats x = at_most(at_least(v, -87.3f), 88.3f);
    const Ints power = nearest(x * 1.44269504f);
    const Floats whole = __builtin_convertvector(power, Floats);
    const Floats r = (x - whole * 0.693359375f) - whole * -2.12194440e-4f;
    Floats p = all(1.0f / 5040);
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return choose(v < -87.3f, all(0.0f), p * as<Floats>((power + 127) << 23));
}

PG_INLINE Floats tangent(const Floats& v) {  // hyperbolic; to 2e-7, not of itself
    return 1.0f - 2.0f / (1.0f + exponential(2.0f * v));
}

// erf(v) to 1e-7: 1 - e^(-x q(x)) at x = |v| up to 4, beyond which it is 1 in float; q fitted to -log(erfc(x)) / x by
// reweighted least squares, t = x / 2 - 1.
PG_INLINE Floats error_function(const Floats& v) {
    const Floats x = at_most(magnitude(v), 4.0f), t = x * 0.5f - 1.0f;
    Floats q = all(-2.059229112e-03f);
    q = q * t - 2.902374533e-03f;
    q = q * t - 2.871356333e-04f;
    q = q * t - 5.633374506e-03f;
    q = q * t + 1.776254456e-02f;
    q = q * t - 4.582964251e-02f;
    q = q * t + 1.118144846e-01f;
    q = q * t + 1.735687137e+00f;
    q = q * t + 2.682470413e+00f;
    const Floats positive = 1.0f - exponential(-x * q);
    return as<Floats>(as<Words>(positive) | (as<Words>(v) & 0x80000000u));
}

template <int32_t Activation>
PG_INLINE Floats activate(const Floats& v) {
    if constexpr (Activation == ACTIVATION_RELU) return choose(v > 0.0f, v, all(0.0f));
    if constexpr (Activation == ACTIVATION_GELU) return 0.5f * v * (1.0f + error_function(v * 0.70710678f));
    if constexpr (Activation == ACTIVATION_GELU_NEW) {
        return 0.5f * v * (1.0f + tangent(0.79788456f * (v + 0.044715f * v * v * v)));
    }
    if constexpr (Activation == ACTIVATION_SILU) return v / (1.0f + exponential(-v));
    if constexpr (Activation == ACTIVATION_TANH) return tangent(v);
    return v;
}

// What sums are: float, whole numbers, or whole numbers of bytes of x as they are stored, 128 more than they mean.
enum Sums { SUMS_FLOAT, SUMS_SIGNED, SUMS_BYTES };

// A panel's share of something per column, with zeros where the matrix ends.
template <class Vector>
PG_INLINE void take_columns(const void* from, int column, int count, Vector* out) {
    const uint8_t* at = static_cast<const uint8_t*>(from) + static_cast<int64_t>(column) * 4;
    if (from == nullptr || count < LINEAR_PANEL) {
        std::memset(out, 0, 4 * LINEAR_PANEL);
        if (from != nullptr) std::memcpy(out, at, 4 * static_cast<size_t>(count));
    } else {
        std::memcpy(out, at, 4 * LINEAR_PANEL);
    }
}

template <Sums Kind>
PG_INLINE Floats value_of(const void* sum, const Ints& offset, const Floats& worth) {
    if constexpr (Kind == SUMS_FLOAT) return load<Floats>(sum);
    if constexpr (Kind == SUMS_SIGNED) return __builtin_convertvector(load<Ints>(sum), Floats) * worth;
    return __builtin_convertvector(load<Ints>(sum) - offset, Floats) * worth;
}

template <Sums Kind, int32_t Activation, bool Whole>
PG_INLINE void finish_rows(const LinearWork& work, int row, int rows, int panel, const uint8_t* sums, int64_t step) {
    const int column = panel * LINEAR_PANEL, count = Whole ? LINEAR_PANEL : columns_of(work.w, panel);
    const float* residual = work.e.residual;
    Floats bias[PARTS], worth[PARTS], more[PARTS] = {};
    Ints offset[PARTS] = {};
    take_columns(work.w.bias_N, column, count, bias);
    if constexpr (Kind != SUMS_FLOAT) take_columns(work.w.scale_N, column, count, worth);
    if constexpr (Kind == SUMS_BYTES) take_columns(work.w.sums_N, column, count, offset);
    for (int r = row; r < row + rows; ++r, sums += step) {
        Floats out[PARTS];
        const float scale = Kind == SUMS_FLOAT ? 1.0f : work.q->scale_M[r];
        if (residual != nullptr) {
            take_columns(residual + static_cast<int64_t>(r) * work.e.ld_residual, column, count, more);
        }
        PG_UNROLL
        for (int part = 0; part < PARTS; ++part) {
            const Floats v = value_of<Kind>(sums + part * LANES * 4, offset[part] << 7, worth[part] * scale);
            out[part] = activate<Activation>(v + bias[part]) + more[part];
        }
        float* y = work.y + static_cast<int64_t>(r) * work.ldy + column;
        std::memcpy(y, out, sizeof(float) * static_cast<size_t>(count));
    }
}

template <Sums Kind, int32_t Activation>
void finish_panel(const LinearWork& work, int row, int rows, int panel, const void* sums, int64_t step) {
    const uint8_t* from = static_cast<const uint8_t*>(sums);
    if (columns_of(work.w, panel) == LINEAR_PANEL) {
        finish_rows<Kind, Activation, true>(work, row, rows, panel, from, step);
    } else {
        finish_rows<Kind, Activation, false>(work, row, rows, panel, from, step);
    }
}

// From sums to y for rows of one panel: scales, bias, activation, residual. Rows of sums are `step` bytes apart.
template <Sums Kind>
__attribute__((noinline)) void finish(const LinearWork& work, int row, int rows, int panel, const void* sums,
                                      int64_t step) {
    switch (work.e.activation) {
        case ACTIVATION_RELU: return finish_panel<Kind, ACTIVATION_RELU>(work, row, rows, panel, sums, step);
        case ACTIVATION_GELU: return finish_panel<Kind, ACTIVATION_GELU>(work, row, rows, panel, sums, step);
        case ACTIVATION_GELU_NEW: return finish_panel<Kind, ACTIVATION_GELU_NEW>(work, row, rows, panel, sums, step);
        case ACTIVATION_SILU: return finish_panel<Kind, ACTIVATION_SILU>(work, row, rows, panel, sums, step);
        case ACTIVATION_TANH: return finish_panel<Kind, ACTIVATION_TANH>(work, row, rows, panel, sums, step);
        default: return finish_panel<Kind, ACTIVATION_NONE>(work, row, rows, panel, sums, step);
    }
}

// -- weights that are widened to float --------------------------------------------------------------------------

struct WeightsF32 {
    static constexpr int STEP = 1;  // values of k in one reading
    static constexpr int BYTES = 64;
    static PG_INLINE void take(const uint8_t* from, Floats (*out)[PARTS]) {
        PG_UNROLL
        for (int part = 0; part < PARTS; ++part) out[0][part] = load<Floats>(from + part * LANES * 4);
    }
};

struct WeightsBf16 {
    static constexpr int STEP = 2;
    static constexpr int BYTES = 64;
    static PG_INLINE void take(const uint8_t* from, Floats (*out)[PARTS]) {
        PG_UNROLL
        for (int part = 0; part < PARTS; ++part) {
            const Words pairs = load<Words>(from + part * LANES * 4);
            out[0][part] = as<Floats>(pairs << 16);
            out[1][part] = as<Floats>(pairs & 0xffff0000u);
        }
    }
};

struct WeightsF16 {
    static constexpr int STEP = 1;
    static constexpr int BYTES = 32;
    static PG_INLINE void take(const uint8_t* from, Floats (*out)[PARTS]) {
        PG_UNROLL
        for (int part = 0; part < PARTS; ++part) out[0][part] = widen(from + part * LANES * 2);
    }
    static PG_INLINE Floats widen(const uint8_t* from) {
#if defined(__AVX512F__)
        return as<Floats>(_mm512_cvtph_ps(load<__m256i>(from)));
#elif defined(__F16C__)
        return as<Floats>(_mm256_cvtph_ps(load<__m128i>(from)));
#elif defined(__aarch64__)
        typedef __fp16 Halves __attribute__((vector_size(8)));
        return __builtin_convertvector(load<Halves>(from), Floats);
#else
        uint16_t halves[LANES];
        std::memcpy(halves, from, sizeof halves);
        Floats out;
        for (int i = 0; i < LANES; ++i) out[i] = from_f16(halves[i]);
        return out;
#endif
    }
};

template <class Weights, int R, int P, bool Packed, int Count>
PG_INLINE void multiply_step(const uint8_t* const* at, int64_t offset, const float* x, int64_t row_step,
                             Floats (*sums)[P * PARTS]) {
    Floats weights[P][Weights::STEP][PARTS];
    PG_UNROLL
    for (int p = 0; p < P; ++p) {
        Weights::take(at[p] + offset, weights[p]);
        if constexpr (!Packed) __builtin_prefetch(at[p] + offset + AHEAD, 0, 3);
    }
    PG_UNROLL
    for (int s = 0; s < Count; ++s) {
        PG_UNROLL
        for (int r = 0; r < R; ++r) {
            const Floats value = all(Packed ? x[s * R + r] : x[r * row_step + s]);
            PG_UNROLL
            for (int p = 0; p < P; ++p) {
                PG_UNROLL
                for (int part = 0; part < PARTS; ++part) sums[r][p * PARTS + part] += value * weights[p][s][part];
            }
        }
    }
}

// Where P panels begin.
template <int P>
struct Panels {
    Panels(const Linear& w, int panel) {
        for (int p = 0; p < P; ++p) at[p] = panel_at(w, panel + p);
    }
    const uint8_t* at[P];
};

// R rows times P panels, k from `begin` on, at most CHUNK of them, added to the totals. `x` stands at `begin`.
// Sums of thousands of products, one after the other, would lose twice to three times as much to rounding.
template <class Weights, int R, int P, bool Packed>
PG_INLINE void multiply_chunk(const Panels<P>& panels, const float* x, int64_t row_step, int k, int begin,
                              Floats (*totals)[P * PARTS]) {
    Floats sums[R][P * PARTS] = {};
    const int end = k - begin < CHUNK ? k : begin + CHUNK, whole = end / Weights::STEP * Weights::STEP;
    for (int i = begin; i < whole; i += Weights::STEP) {
        const int64_t offset = static_cast<int64_t>(i / Weights::STEP) * Weights::BYTES;
        multiply_step<Weights, R, P, Packed, Weights::STEP>(panels.at, offset, x, row_step, sums);
        x += Packed ? R * Weights::STEP : Weights::STEP;
    }
    if (Weights::STEP > 1 && whole < end) {
        const int64_t offset = static_cast<int64_t>(whole / Weights::STEP) * Weights::BYTES;
        multiply_step<Weights, R, P, Packed, 1>(panels.at, offset, x, row_step, sums);
    }
    PG_UNROLL
    for (int r = 0; r < R; ++r) {
        PG_UNROLL
        for (int part = 0; part < P * PARTS; ++part) totals[r][part] += sums[r][part];
    }
}

// R rows as they stand in x, times a panel. Whatever R is, a sum is made in the same order.
template <class Weights, int R>
void multiply_block(const LinearWork& work, const float* x, int row, int panel) {
    Floats totals[R][PARTS] = {};
    const Panels<1> panels(work.w, panel);
    for (int begin = 0; begin < work.w.k; begin += CHUNK) {
        multiply_chunk<Weights, R, 1, false>(panels, x + begin, work.ldx, work.w.k, begin, totals);
    }
    finish<SUMS_FLOAT>(work, row, R, panel, totals, sizeof totals[0]);
}

using BlockKernel = void (*)(const LinearWork&, const float*, int, int);

// The kernel for a number of rows known only now, of rows as they stand in x.
template <class Weights, int R = ROWS>
BlockKernel kernel_of(int rows) {
    if constexpr (R > 1) {
        if (rows < R) return kernel_of<Weights, R - 1>(rows);
    }
    return multiply_block<Weights, R>;
}

// Few rows, in one block or two of about one size: the weights stream by, once.
template <class Weights>
void multiply_few(const LinearWork& work) {
    const int first = work.m <= ROWS ? work.m : (work.m + 1) / 2, rest = work.m - first;
    const BlockKernel kernel = kernel_of<Weights>(first), other = kernel_of<Weights>(rest > 0 ? rest : 1);
    const float* below = work.x + static_cast<int64_t>(first) * work.ldx;
    for (int panel = work.panel_begin; panel < work.panel_end; ++panel) {
        kernel(work, work.x, 0, panel);
        if (rest > 0) other(work, below, first, panel);
    }
}

// Rows [begin, end) of x, whole blocks of ROWS, as [K][ROWS] each: read one behind the other, and never from lines
// that fall into one set of the cache, as rows 4096 bytes apart do.
inline void pack_rows(const LinearWork& work, int begin, int end, float* out) {
    for (int row = begin; row < end; row += ROWS) {
        for (int r = 0; r < ROWS; ++r) {
            const float* from = work.x + static_cast<int64_t>(row + r) * work.ldx;
            for (int k = 0; k < work.w.k; ++k) out[static_cast<int64_t>(k) * ROWS + r] = from[k];
        }
        out += static_cast<int64_t>(ROWS) * work.w.k;
    }
}

// Rows [row, row + rows), packed as whole blocks, times P panels. A chunk of the panels stays in the first-level cache
// while all blocks pass; the totals wait in memory.
template <class Weights, int P>
void multiply_panels(const LinearWork& work, const float* packed, float* waiting, int row, int rows, int panel) {
    auto* totals = reinterpret_cast<Floats(*)[P * PARTS]>(waiting);
    std::memset(waiting, 0, sizeof totals[0] * static_cast<size_t>(rows));
    const Panels<P> panels(work.w, panel);
    const int k = work.w.k;
    for (int begin = 0; begin < k; begin += CHUNK) {
        for (int r = 0; r < rows; r += ROWS) {
            const float* x = packed + static_cast<int64_t>(r) * k + static_cast<int64_t>(begin) * ROWS;
            multiply_chunk<Weights, ROWS, P, true>(panels, x, 0, k, begin, totals + r);
        }
    }
    for (int p = 0; p < P; ++p) finish<SUMS_FLOAT>(work, row, rows, panel + p, &totals[0][p * PARTS], sizeof totals[0]);
}

// Whole blocks of rows: as many of them as a part of the second-level cache holds are packed and meet every panel.
template <class Weights>
void multiply_blocks(const LinearWork& work, int rows) {
    const int64_t k = work.w.k, fit = PACKED / (k + 1) / ROWS * ROWS;
    const int group = static_cast<int>(fit < ROWS ? ROWS : fit);
    float* waiting = static_cast<float*>(linear_scratch(sizeof(float) * group * (k + WIDE * LINEAR_PANEL)));
    float* packed = waiting + static_cast<int64_t>(group) * WIDE * LINEAR_PANEL;
    for (int row = 0; row < rows; row += group) {
        const int count = rows - row < group ? rows - row : group;
        pack_rows(work, row, row + count, packed);
        int panel = work.panel_begin;
        for (; panel + WIDE <= work.panel_end; panel += WIDE) {
            multiply_panels<Weights, WIDE>(work, packed, waiting, row, count, panel);
        }
        for (; panel < work.panel_end; ++panel) multiply_panels<Weights, 1>(work, packed, waiting, row, count, panel);
    }
}

// Many rows: whole blocks, and the few that are left.
template <class Weights>
void multiply_many(const LinearWork& work) {
    const int whole = work.m / ROWS * ROWS, rest = work.m - whole;
    multiply_blocks<Weights>(work, whole);
    if (rest == 0) return;
    const BlockKernel kernel = kernel_of<Weights>(rest);
    const float* x = work.x + static_cast<int64_t>(whole) * work.ldx;
    for (int panel = work.panel_begin; panel < work.panel_end; ++panel) kernel(work, x, whole, panel);
}

template <class Weights>
void multiply(const LinearWork& work) {
    if (work.m <= 2 * ROWS) {
        multiply_few<Weights>(work);
    } else {
        multiply_many<Weights>(work);
    }
}

// -- rows to int8 -----------------------------------------------------------------------------------------------

inline float largest_of(const float* x, int k) {
    Floats most = {};
    int i = 0;
    for (; i + LANES <= k; i += LANES) {
        const Floats size = magnitude(load<Floats>(x + i));
        most = choose(size > most, size, most);
    }
    float largest = 0.0f;
    for (int lane = 0; lane < LANES; ++lane) largest = most[lane] > largest ? most[lane] : largest;
    for (; i < k; ++i) {
        const float size = x[i] < 0.0f ? -x[i] : x[i];
        largest = size > largest ? size : largest;
    }
    return largest;
}

inline void quantize_rows(const float* x, int k, int ldx, const Quantized* q, int begin, int end) {
    for (int row = begin; row < end; ++row) {
        const float* from = x + static_cast<int64_t>(row) * ldx;
        uint8_t* to = q->values + static_cast<int64_t>(row) * q->stride;
        const float largest = largest_of(from, k), scale = largest > 0.0f ? largest / 127.0f : 1.0f;
        const float inverse = largest > 0.0f ? 127.0f / largest : 1.0f;
        q->scale_M[row] = scale;
        int i = 0;
        for (; i + LANES <= k; i += LANES) {
            store(to + i, __builtin_convertvector(nearest(load<Floats>(from + i) * inverse) + 128, Bytes));
        }
        for (; i < k; ++i) to[i] = static_cast<uint8_t>(nearest(all(from[i] * inverse))[0] + 128);
        std::memset(to + k, 128, static_cast<size_t>(padded_k(LINEAR_INT8, k) - k));
    }
}

}  // namespace

#define LINEAR_VECTOR_KERNELS(level)                                                                              \
    void linear_##level##_f32(const LinearWork& work) { multiply<WeightsF32>(work); }                             \
    void linear_##level##_bf16(const LinearWork& work) { multiply<WeightsBf16>(work); }                           \
    void linear_##level##_f16(const LinearWork& work) { multiply<WeightsF16>(work); }                             \
    void linear_##level##_quantize(const float* x, int, int k, int ldx, const Quantized* q, int begin, int end) { \
        quantize_rows(x, k, ldx, q, begin, end);                                                                  \
    }
