// The product at the core of learning, with AVX-512 BF16: 12 rows by 32 columns in registers. For *_avx512bf16.cpp only.
#pragma once

#include "learning/learn_layouts.h"

namespace {

struct Multiplying {};

PG_INLINE __m512 add_pairs(const __m512& sum, const __m512i& left, const __m512i& right) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(left), reinterpret_cast<__m512bh>(right));
}

// `Rows` of a block's rows; the numbers of `left` come two at a time to all lanes.
template <int Rows, bool Adds>
PG_INLINE void multiply_rows(const Left& left, const Right& right, int k, float* to, int64_t ld) {
    __m512 sums[Rows][2];
    PG_UNROLL
    for (int r = 0; r < Rows; ++r) {
        sums[r][0] = Adds ? _mm512_loadu_ps(to + r * ld) : _mm512_setzero_ps();
        sums[r][1] = Adds ? _mm512_loadu_ps(to + r * ld + 16) : _mm512_setzero_ps();
    }
    for (int i = 0; i < k; i += 2) {
        const __m512i a = _mm512_load_si512(right.at + i * 16), b = _mm512_load_si512(right.at + right.panel + i * 16);
        PG_UNROLL
        for (int r = 0; r < Rows; ++r) {
            int32_t pair;
            std::memcpy(&pair, left.at + r * left.ld + i, 4);
            const __m512i both = _mm512_set1_epi32(pair);
            sums[r][0] = add_pairs(sums[r][0], both, a);
            sums[r][1] = add_pairs(sums[r][1], both, b);
        }
    }
    PG_UNROLL
    for (int r = 0; r < Rows; ++r) {
        _mm512_storeu_ps(to + r * ld, sums[r][0]);
        _mm512_storeu_ps(to + r * ld + 16, sums[r][1]);
    }
}

// A block: to [32][ld] gets, or where `Adds` is set grows by, the product of 32 rows and the columns of two panels.
template <bool Adds, bool Asks>
PG_INLINE void multiply_block(const Left& left, const Right& right, int k, float* to, int64_t ld) {
    multiply_rows<12, Adds>(left, right, k, to, ld);
    multiply_rows<12, Adds>({left.at + 12 * left.ld, left.ld}, right, k, to + 12 * ld, ld);
    multiply_rows<8, Adds>({left.at + 24 * left.ld, left.ld}, right, k, to + 24 * ld, ld);
}

}  // namespace
