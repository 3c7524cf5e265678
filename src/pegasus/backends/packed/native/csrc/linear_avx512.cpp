// The kernels of linear.h for AVX-512; int8 by VNNI, which multiplies bytes of x without sign by those of the weights
// with one, and adds four neighbours.
#include <immintrin.h>

#include "linear_vector.h"

LINEAR_VECTOR_KERNELS(avx512)

namespace {

template <int R, int P>
void multiply_bytes(const LinearWork& work, int row, int panel) {
    const uint8_t* at[P];
    for (int p = 0; p < P; ++p) at[p] = panel_at(work.w, panel + p);
    const int64_t stride = work.q->stride;
    const uint8_t* x = work.q->values + row * stride;
    const int k = padded_k(LINEAR_INT8, work.w.k);
    __m512i sums[R][P];
    PG_UNROLL
    for (int i = 0; i < R * P; ++i) sums[i / P][i % P] = _mm512_setzero_si512();
    for (int i = 0; i < k; i += 4) {
        __m512i weights[P];
        PG_UNROLL
        for (int p = 0; p < P; ++p) {
            weights[p] = _mm512_load_si512(at[p] + static_cast<int64_t>(i) * 16);
            if constexpr (P == 1) __builtin_prefetch(at[p] + static_cast<int64_t>(i) * 16 + AHEAD, 0, 3);
        }
        PG_UNROLL
        for (int r = 0; r < R; ++r) {
            int32_t four;
            std::memcpy(&four, x + r * stride + i, 4);
            const __m512i value = _mm512_set1_epi32(four);
            PG_UNROLL
            for (int p = 0; p < P; ++p) sums[r][p] = _mm512_dpbusd_epi32(sums[r][p], value, weights[p]);
        }
    }
    for (int p = 0; p < P; ++p) finish<SUMS_BYTES>(work, row, R, panel + p, &sums[0][p], sizeof sums[0]);
}

using BytesKernel = void (*)(const LinearWork&, int, int);

template <int P, int R = ROWS>
BytesKernel bytes_kernel(int rows) {
    if constexpr (R > 1) {
        if (rows < R) return bytes_kernel<P, R - 1>(rows);
    }
    return multiply_bytes<R, P>;
}

template <int P>
void all_rows(const LinearWork& work, int panel) {
    for (int row = 0; row < work.m; row += ROWS) {
        bytes_kernel<P>(work.m - row < ROWS ? work.m - row : ROWS)(work, row, panel);
    }
}

}  // namespace

void linear_avx512_int8(const LinearWork& work) {
    int panel = work.panel_begin;
    if (work.m > ROWS) {
        for (; panel + 2 <= work.panel_end; panel += 2) all_rows<2>(work, panel);
    }
    for (; panel < work.panel_end; ++panel) all_rows<1>(work, panel);
}
