// The kernels of linear.h for AVX-512; int8 by VNNI, which multiplies bytes of x without sign by those of the weights
// with one, and adds four neighbours.
#include "linear/linear_dots.h"
#include "linear/linear_vector.h"

LINEAR_VECTOR_KERNELS(avx512)
LINEAR_QUANTIZE(avx512, uint8_t, 128)

namespace {

struct FourBytes {
    using Sum = __m512i;
    static constexpr Sums SUMS = SUMS_BYTES;
    static PG_INLINE Sum zero() { return _mm512_setzero_si512(); }
    static PG_INLINE Sum add(const Sum& sum, const __m512i& x, const __m512i& weights) {
        return _mm512_dpbusd_epi32(sum, x, weights);
    }
    static int64_t words(int k) { return padded_k(LINEAR_INT8, k) / 4; }
};

}  // namespace

void linear_avx512_int8(const LinearWork& work) { dot<FourBytes>(work); }
