// The kernels of linear.h for AVX2; int8 by products of bytes that are added in pairs to 16 bits.
#include <immintrin.h>

#include "linear/linear_vector.h"

LINEAR_VECTOR_KERNELS(avx2)

namespace {

constexpr int BYTE_ROWS = 4;  // two vectors of sums each, and what it takes to make them, fill the registers

// Four neighbours of x times those of 8 columns, added to 8 sums. The instruction wants one factor without a sign: it
// gets |x|, and the weights x's sign. As neither is -128, pairs stay within 2 * 127 * 127 and nothing saturates.
PG_INLINE __m256i add_products(__m256i sums, __m256i x, __m256i size, __m256i weights) {
    const __m256i pairs = _mm256_maddubs_epi16(size, _mm256_sign_epi8(weights, x));
    return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

template <int R>
void multiply_bytes(const LinearWork& work, int row, int panel) {
    const uint8_t* weights = panel_at(work.w, panel);
    const int64_t stride = work.q->stride;
    const uint8_t* x = work.q->values + row * stride;
    const int k = padded_k(LINEAR_INT8, work.w.k);
    __m256i sums[R][2];
    PG_UNROLL
    for (int i = 0; i < R * 2; ++i) sums[i / 2][i % 2] = _mm256_setzero_si256();
    for (int i = 0; i < k; i += 4, weights += 64) {
        const __m256i left = _mm256_load_si256(reinterpret_cast<const __m256i*>(weights));
        const __m256i right = _mm256_load_si256(reinterpret_cast<const __m256i*>(weights + 32));
        __builtin_prefetch(weights + AHEAD, 0, 3);
        PG_UNROLL
        for (int r = 0; r < R; ++r) {
            uint32_t four;
            std::memcpy(&four, x + r * stride + i, 4);
            const __m256i value = _mm256_set1_epi32(static_cast<int32_t>(four ^ 0x80808080u));
            const __m256i size = _mm256_abs_epi8(value);
            sums[r][0] = add_products(sums[r][0], value, size, left);
            sums[r][1] = add_products(sums[r][1], value, size, right);
        }
    }
    finish<SUMS_SIGNED>(work, row, R, panel, sums, sizeof sums[0]);
}

}  // namespace

void linear_avx2_int8(const LinearWork& work) {
    for (int panel = work.panel_begin; panel < work.panel_end; ++panel) {
        for (int row = 0; row < work.m; row += BYTE_ROWS) {
            kernel_for_rows<BYTE_ROWS>(work.m - row, [](auto r) { return &multiply_bytes<r>; })(work, row, panel);
        }
    }
}
