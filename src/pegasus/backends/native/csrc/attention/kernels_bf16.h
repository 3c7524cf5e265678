// Attention over bfloat16 keys and values whose queries and weights are rounded to bfloat16 too. For files whose
// instructions include AVX-512 BF16; how products are made is the including file's.
#pragma once

#include "attention/kernels_body.h"

namespace {

PG_INLINE void store_bf16(uint16_t* at, Vec v) {
    const __m256bh rounded = _mm512_cvtneps_pbh(reinterpret_cast<__m512>(v));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), reinterpret_cast<__m256i>(rounded));
}

// e to the x for x <= 0, good to bfloat16 and two digits more.
PG_INLINE Vec quick_exp(const Vec& x) {
    const __m512 powers = _mm512_mul_ps(reinterpret_cast<__m512>(x), _mm512_set1_ps(1.44269504088896341f));
    const __m512 whole = _mm512_maskz_roundscale_ps(0xffff, powers, 0);
    const Vec f = reinterpret_cast<Vec>(powers) - reinterpret_cast<Vec>(whole);
    Vec y = f * 0.0096181291f + 0.0555041087f;
    y = y * f + 0.2402265070f;
    y = y * f + 0.6931471806f;
    y = y * f + 1.0f;
    return reinterpret_cast<Vec>(_mm512_maskz_scalef_ps(0xffff, reinterpret_cast<__m512>(y), whole));
}

// As exp_scores, the results rounded into `weights`.
PG_INLINE float exp_scores_bf16(float* scores, int length, int tokens, uint16_t* weights) {
    return sum_of_exp(scores, length, tokens, [&](int i, const Vec& x) {
        const Vec y = quick_exp(x);
        store_bf16(weights + i, y);
        return y;
    });
}

constexpr int kColumns = 64;  // of the result that are made at once

void finish_columns(const Attend& a, int e, const float* mixed, const float* sums) {
    const int columns = a.head_width - e < kColumns ? a.head_width - e : kColumns;
    for (int row = 0; row < a.rows; ++row) {
        const float share = 1.0f / sums[row];
        float* out = a.out + row * a.ld_out + e;
        for (int i = 0; i < columns; i += 16)
            store_some(out + i, load(mixed + row * kColumns + i) * share, columns - i);
    }
}

// Heads wider than this are left to plain vectors: their queries would not fit beside the rest.
constexpr int kWidest = 256;

// `Products` has, for queries [rows][padded] and weights [rows][ld], both bfloat16:
//   Products(rows)                                              as long as it is needed
//   score(queries, rows, padded, keys, tokens, scores, ld)      scores [rows][ld] = queries keys^T
//   mix(weights, rows, ld, values, padded, e, tokens, out)      out [rows][kColumns] = weights values, columns e on
// with `tokens` a multiple of 32; of `out` what is beyond `padded` stays as it is. Rows are read up to a multiple of 8.
template <class Products>
void attend_rounded(const Attend& a) {
    if (a.padded > kWidest) return attend<BF16>(a);
    const int tokens = pad_length(a.length);
    const int64_t ld = tokens + 16, ld_weights = tokens + 32;
    alignas(64) uint16_t queries[QUERY_BLOCK * kWidest];
    const int rows = (a.rows + 7) & ~7;
    for (int i = 0; i < rows * a.padded; i += 16) store_bf16(queries + i, load(a.queries + i));
    const Products products(a.rows);
    products.score(queries, a.rows, a.padded, static_cast<const uint16_t*>(a.keys), tokens, a.scratch, ld);
    auto* weights = reinterpret_cast<uint16_t*>(a.scratch + QUERY_BLOCK * ld);
    float sums[QUERY_BLOCK];
    for (int row = 0; row < a.rows; ++row) {
        sums[row] = exp_scores_bf16(a.scratch + row * ld, a.length, tokens, weights + row * ld_weights);
    }
    alignas(64) float mixed[QUERY_BLOCK * kColumns];
    for (int e = 0; e < a.padded; e += kColumns) {
        products.mix(weights, a.rows, ld_weights, static_cast<const uint16_t*>(a.values), a.padded, e, tokens, mixed);
        finish_columns(a, e, mixed, sums);
    }
}

}  // namespace
