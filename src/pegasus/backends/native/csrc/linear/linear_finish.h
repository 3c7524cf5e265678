// Vectors of whatever width the including file is compiled for, and with them the way from sums to y: scales, bias,
// activation, residual. Everything here has internal linkage. A panel is PARTS vectors wide.
#pragma once

#include <cmath>
#include <type_traits>

#include "cpu/compiler.h"
#include "linear/linear_kernels.h"

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace {

// ROWS rows share one reading of the weights; with many rows, WIDE panels share one reading of x.
#if defined(__AVX512F__)
constexpr int LANES = 16, ROWS = kBlockRows[LEVEL_AVX512], WIDE = 2;
#elif defined(__AVX2__)
constexpr int LANES = 8, ROWS = kBlockRows[LEVEL_AVX2], WIDE = 1;
#else
constexpr int LANES = 4, ROWS = kBlockRows[LEVEL_PORTABLE], WIDE = 1;
#endif
constexpr int PARTS = LINEAR_PANEL / LANES;
constexpr int AHEAD = 4096;  // bytes of weights that are asked for before they are needed, with few rows

// The kernel for a number of rows that is known only now, the one for R if there are more: what `kernel` makes of it as a constant.
template <int R = ROWS, class Kernel>
auto kernel_for_rows(int rows, const Kernel& kernel) {
    if constexpr (R > 1) {
        if (rows < R) return kernel_for_rows<R - 1>(rows, kernel);
    }
    return kernel(std::integral_constant<int, R>());
}

// Every panel, and for each all rows in blocks of ROWS: the kernel that `kernel` makes of a number of rows does a block.
template <class Kernel>
void by_panels(const LinearWork& work, const Kernel& kernel) {
    for (int panel = work.panel_begin; panel < work.panel_end; ++panel) {
        for (int row = 0; row < work.m; row += ROWS) kernel_for_rows(work.m - row, kernel)(work, row, panel);
    }
}

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
    for (int i = 0; i < LANES; ++i) out[i] = static_cast<int32_t>(__builtin_nearbyintf(v[i]));
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

}  // namespace
