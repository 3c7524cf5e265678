// Kernels of instructions that multiply the numbers of a word of x with those of a word of each column and add them up:
// four bytes (VNNI) or two bfloat16 (AVX-512 BF16). For rows that were made ready.
#pragma once

#include <immintrin.h>

#include "linear/linear_finish.h"

namespace {

// `Dot` has: Sum, a vector of sums; zero(); add(sum, word, weights); words(k), how many k numbers are; SUMS, their kind.
template <class Dot, int R, int P>
void dot_block(const LinearWork& work, int row, int panel) {
    const uint8_t* at[P];
    for (int p = 0; p < P; ++p) at[p] = panel_at(work.w, panel + p);
    const int64_t stride = work.q->stride;
    const uint8_t* x = work.q->values + row * stride;
    const int64_t words = Dot::words(work.w.k);
    typename Dot::Sum sums[R][P];
    PG_UNROLL
    for (int i = 0; i < R * P; ++i) sums[i / P][i % P] = Dot::zero();
    for (int64_t i = 0; i < words; ++i) {
        __m512i weights[P];
        PG_UNROLL
        for (int p = 0; p < P; ++p) {
            weights[p] = _mm512_load_si512(at[p] + i * 64);
            if constexpr (P == 1) __builtin_prefetch(at[p] + i * 64 + AHEAD, 0, 3);
        }
        PG_UNROLL
        for (int r = 0; r < R; ++r) {
            int32_t word;
            std::memcpy(&word, x + r * stride + i * 4, 4);
            const __m512i value = _mm512_set1_epi32(word);
            PG_UNROLL
            for (int p = 0; p < P; ++p) sums[r][p] = Dot::add(sums[r][p], value, weights[p]);
        }
    }
    // A copy to be handed on: of sums that others may see, the compiler would store every step of the loop.
    typename Dot::Sum out[R][P];
    PG_UNROLL
    for (int i = 0; i < R * P; ++i) out[i / P][i % P] = sums[i / P][i % P];
    for (int p = 0; p < P; ++p) finish<Dot::SUMS>(work, row, R, panel + p, &out[0][p], sizeof out[0]);
}

template <class Dot, int P>
void dot_rows(const LinearWork& work, int panel) {
    for (int row = 0; row < work.m; row += ROWS) {
        kernel_for_rows(work.m - row, [](auto r) { return &dot_block<Dot, r, P>; })(work, row, panel);
    }
}

template <class Dot>
void dot(const LinearWork& work) {
    int panel = work.panel_begin;
    if (work.m > ROWS) {
        for (; panel + 2 <= work.panel_end; panel += 2) dot_rows<Dot, 2>(work, panel);
    }
    for (; panel < work.panel_end; ++panel) dot_rows<Dot, 1>(work, panel);
}

}  // namespace
