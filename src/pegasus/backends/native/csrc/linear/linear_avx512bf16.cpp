// bfloat16 for rows that are rounded to it: two products in one instruction.
#include "linear/linear_dots.h"

namespace {

struct TwoHalves {
    using Sum = __m512;
    static constexpr Sums SUMS = SUMS_FLOAT;
    static PG_INLINE Sum zero() { return _mm512_setzero_ps(); }
    static PG_INLINE Sum add(const Sum& sum, const __m512i& x, const __m512i& weights) {
        return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(weights));
    }
    static int64_t words(int k) { return padded_k(LINEAR_BF16, k) / 2; }
};

}  // namespace

void linear_avx512bf16_bf16(const LinearWork& work) { dot<TwoHalves>(work); }

// Rows of x to bfloat16, to nearest, with zeros up to the end of the last tile: what tiles read too.
void linear_avx512bf16_round(const float* x, int, int k, int ldx, const Quantized* q, int begin, int end) {
    for (int row = begin; row < end; ++row) {
        const float* from = x + static_cast<int64_t>(row) * ldx;
        uint8_t* to = q->values + static_cast<int64_t>(row) * q->stride;
        for (int i = 0; i < k; i += 32) {
            const int left = k - i;
            const __mmask16 low = left >= 16 ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
            const __mmask16 high = left >= 32 ? 0xffff : left > 16 ? static_cast<__mmask16>((1u << (left - 16)) - 1) : 0;
            const __m512 first = _mm512_maskz_loadu_ps(low, from + i), second = _mm512_maskz_loadu_ps(high, from + i + 16);
            store(to + 2 * i, _mm512_cvtne2ps_pbh(second, first));
        }
    }
}
