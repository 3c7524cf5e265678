// The kernels that need no special instruction: weights that are widened to float, and rows that become int8.
//
// Included by one file per level; everything here has internal linkage.
#pragma once

#include "linear/linear_finish.h"

namespace {

constexpr int CHUNK = 128;       // products that are added up one after the other
constexpr int PACKED = 1 << 17;  // numbers of x that meet every panel before the next do

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

// R rows as they stand in x, times P panels. Whatever R and P are, a sum is made in the same order.
template <class Weights, int R, int P>
void multiply_block(const LinearWork& work, const float* x, int row, int panel) {
    Floats totals[R][P * PARTS] = {};
    const Panels<P> panels(work.w, panel);
    for (int begin = 0; begin < work.w.k; begin += CHUNK) {
        multiply_chunk<Weights, R, P, false>(panels, x + begin, work.ldx, work.w.k, begin, totals);
    }
    for (int p = 0; p < P; ++p) {
        finish<SUMS_FLOAT>(work, row, R, panel + p, &totals[0][p * PARTS], sizeof totals[0]);
    }
}

// The kernel for some rows as they stand in x.
template <class Weights, int P>
auto kernel_of(int rows) {
    return kernel_for_rows(rows, [](auto r) { return &multiply_block<Weights, r, P>; });
}

// Rows [row, row + rows), in one block or two of about one size, times P panels after P panels, as long as there are so
// many. Returns the panel behind them.
template <class Weights, int P>
int multiply_streaming(const LinearWork& work, int row, int rows, int panel) {
    const int first = rows <= ROWS ? rows : (rows + 1) / 2, rest = rows - first;
    const auto kernel = kernel_of<Weights, P>(first), other = kernel_of<Weights, P>(rest > 0 ? rest : 1);
    const float* x = work.x + static_cast<int64_t>(row) * work.ldx;
    for (; panel + P <= work.panel_end; panel += P) {
        kernel(work, x, row, panel);
        if (rest > 0) other(work, x + static_cast<int64_t>(first) * work.ldx, row + first, panel);
    }
    return panel;
}

// Few rows: the weights stream by, once, WIDE panels side by side, so that a number of x that was fetched serves all of
// them.
template <class Weights>
void multiply_few(const LinearWork& work, int row, int rows) {
    const int panel = multiply_streaming<Weights, WIDE>(work, row, rows, work.panel_begin);
    multiply_streaming<Weights, 1>(work, row, rows, panel);
}

// Of rows [begin, end) of x those in whole blocks of ROWS, as [K][ROWS] each: read one behind the other, and never from
// lines that fall into one set of the cache, as rows 4096 bytes apart do.
inline void pack_rows(const float* x, int m, int k, int ldx, const Quantized* q, int begin, int end) {
    constexpr int PIECE = 64;  // along K, so that lines which rows of a block share are still near
    const int whole = whole_rows(m, ROWS);
    for (int row = begin, next; row < end && row < whole; row = next) {
        const int first = row / ROWS * ROWS;
        next = first + ROWS < end ? first + ROWS : end;
        float* block = reinterpret_cast<float*>(q->values) + int64_t{first} * k;
        for (int piece = 0; piece < k; piece += PIECE) {
            const int last = piece + PIECE < k ? piece + PIECE : k;
            for (int r = row; r < next; ++r) {
                const float* from = x + int64_t{r} * ldx;
                float* out = block + (r - first);
                for (int i = piece; i < last; ++i) out[int64_t{i} * ROWS] = from[i];
            }
        }
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

// Whole blocks of rows: as many of them as a part of the second-level cache holds meet every panel.
template <class Weights>
void multiply_blocks(const LinearWork& work, int rows) {
    const int64_t k = work.w.k, fit = PACKED / (k + 1) / ROWS * ROWS;
    const int group = static_cast<int>(fit < ROWS ? ROWS : fit);
    float* waiting = static_cast<float*>(linear_scratch(int64_t{sizeof(float)} * group * WIDE * LINEAR_PANEL));
    for (int row = 0; row < rows; row += group) {
        const int count = rows - row < group ? rows - row : group;
        const float* packed = reinterpret_cast<const float*>(work.q->values) + row * k;
        int panel = work.panel_begin;
        for (; panel + WIDE <= work.panel_end; panel += WIDE) {
            multiply_panels<Weights, WIDE>(work, packed, waiting, row, count, panel);
        }
        for (; panel < work.panel_end; ++panel) multiply_panels<Weights, 1>(work, packed, waiting, row, count, panel);
    }
}

template <class Weights>
void multiply(const LinearWork& work) {
    const int whole = whole_rows(work.m, ROWS);
    if (whole > 0) multiply_blocks<Weights>(work, whole);
    if (whole < work.m) multiply_few<Weights>(work, whole, work.m - whole);
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

// Each as a `Number`, `Offset` more than it means.
template <class Number, int Offset>
void quantize_rows(const float* x, int k, int ldx, const Quantized* q, int begin, int end) {
    typedef Number Numbers __attribute__((vector_size(LANES * sizeof(Number))));
    for (int row = begin; row < end; ++row) {
        const float* from = x + static_cast<int64_t>(row) * ldx;
        auto* to = reinterpret_cast<Number*>(q->values + static_cast<int64_t>(row) * q->stride);
        const float largest = largest_of(from, k), scale = largest > 0.0f ? largest / 127.0f : 1.0f;
        const float inverse = largest > 0.0f ? 127.0f / largest : 1.0f;
        q->scale_M[row] = scale;
        int i = 0;
        for (; i + LANES <= k; i += LANES) {
            store(to + i, __builtin_convertvector(nearest(load<Floats>(from + i) * inverse) + Offset, Numbers));
        }
        for (; i < k; ++i) to[i] = static_cast<Number>(nearest(all(from[i] * inverse))[0] + Offset);
        for (i = k; i < padded_k(LINEAR_INT8, k); ++i) to[i] = Offset;
    }
}

}  // namespace

#define LINEAR_VECTOR_KERNELS(level)                                                  \
    void linear_##level##_f32(const LinearWork& work) { multiply<WeightsF32>(work); } \
    void linear_##level##_bf16(const LinearWork& work) { multiply<WeightsBf16>(work); } \
    void linear_##level##_f16(const LinearWork& work) { multiply<WeightsF16>(work); } \
    void linear_##level##_pack(const float* x, int m, int k, int ldx, const Quantized* q, int begin, int end) { \
        pack_rows(x, m, k, ldx, q, begin, end);                                          \
    }

#define LINEAR_QUANTIZE(level, Number, offset)                                                                    \
    void linear_##level##_quantize(const float* x, int, int k, int ldx, const Quantized* q, int begin, int end) { \
        quantize_rows<Number, offset>(x, k, ldx, q, begin, end);                                                  \
    }
