// int8 for AVX-VNNI: the instruction of AVX-512 VNNI for vectors of 256 bits, which processors without AVX-512 have too.
// It multiplies bytes of x without sign by those of the weights with one, and adds four neighbours.
#include "linear/linear_blocks.h"
#include "linear/linear_vector.h"

LINEAR_QUANTIZE(avxvnni, uint8_t, 128)

namespace {

struct FourBytes {
    static constexpr Sums SUMS = SUMS_BYTES;
    static constexpr bool STREAMS = true;
    static int words(int k) { return padded_k(LINEAR_INT8, k) / 4; }

    static PG_INLINE __m256i add(const __m256i& sums, const __m256i& x, const __m256i& weights) {
        return _mm256_dpbusd_avx_epi32(sums, x, weights);
    }

    static const uint8_t* weights(const uint8_t* panel, int begin, int, uint8_t*) { return panel + begin * WORD_BYTES; }
    static PG_INLINE void order(__m256i (&)[2]) {}
};

}  // namespace

void linear_avxvnni_int8(const LinearWork& work) { multiply_panels<FourBytes>(work); }
