// The kernels of linear.h for AVX2; int8 by products of 16 bits.
//
// AVX2 multiplies bytes too (vpmaddubsw), but adds the products in pairs to 16 bits: 255 * 127 twice does not fit, and
// what does not fit is cut. One of the factors would have to lose its sign and hand it to the other for every product.
// Numbers of 16 bits need no such care: vpmaddwd adds two products of at most 127 * 127 in 32 bits. The weights are
// widened once for all rows.
#include "linear/linear_blocks.h"
#include "linear/linear_vector.h"

LINEAR_VECTOR_KERNELS(avx2)
LINEAR_QUANTIZE(avx2, int16_t, 0)

namespace {

struct TwoWords {
    static constexpr Sums SUMS = SUMS_SIGNED;
    static constexpr bool STREAMS = false;
    static int words(int k) { return padded_k(LINEAR_INT8, k) / 2; }

    static PG_INLINE __m256i add(const __m256i& sums, const __m256i& x, const __m256i& weights) {
        return _mm256_add_epi32(sums, _mm256_madd_epi16(x, weights));
    }

    // Words [begin, begin + count) of a panel. Four numbers of a column stand side by side, [k/4][16][4]; a word wants
    // two of each column. Within halves of 128 bits columns come as 0 1 4 5 and 2 3 6 7: `order` puts that right.
    static const uint8_t* weights(const uint8_t* panel, int begin, int count, uint8_t* to) {
        const uint8_t* from = panel + begin / 2 * 64;
        __builtin_prefetch(from + AHEAD, 0, 3);
        for (int i = 0; i < count; i += 2, from += 64, to += 2 * WORD_BYTES) {
            __builtin_prefetch(from + AHEAD, 0, 3);
            for (int half = 0; half < 2; ++half) {
                const __m256 a = wide(from + half * 32), b = wide(from + half * 32 + 16);
                _mm256_store_ps(reinterpret_cast<float*>(to + half * 32), _mm256_shuffle_ps(a, b, 0x88));
                _mm256_store_ps(reinterpret_cast<float*>(to + WORD_BYTES + half * 32), _mm256_shuffle_ps(a, b, 0xdd));
            }
        }
        return to - count * WORD_BYTES;
    }

    static PG_INLINE void order(__m256i (&sums)[2]) {
        sums[0] = _mm256_permute4x64_epi64(sums[0], 0xd8);
        sums[1] = _mm256_permute4x64_epi64(sums[1], 0xd8);
    }

private:
    static PG_INLINE __m256 wide(const uint8_t* from) {
        return _mm256_castsi256_ps(_mm256_cvtepi8_epi16(_mm_load_si128(reinterpret_cast<const __m128i*>(from))));
    }
};

// Few rows: the weights stream by and are widened on the way. Four neighbours of x are broadcast; a vector of weights
// has those of four columns, so that each column has two sums, which are added at the end. 3 rows times 4 vectors of
// sums, x, and a vector of weights fill the registers.
constexpr int FEW_ROWS = 3;

template <int R>
void multiply_few_words(const LinearWork& work, int panel) {
    const uint8_t* weights = panel_at(work.w, panel);
    const int64_t stride = work.q->stride;
    const uint8_t* x = work.q->values;
    const int k = padded_k(LINEAR_INT8, work.w.k);
    __m256i sums[R][4];
    PG_UNROLL
    for (int i = 0; i < R * 4; ++i) sums[i / 4][i % 4] = _mm256_setzero_si256();
    for (int i = 0; i < k; i += 4, weights += 64) {
        __builtin_prefetch(weights + AHEAD, 0, 3);
        __m256i values[R];
        PG_UNROLL
        for (int r = 0; r < R; ++r) {
            int64_t four;
            std::memcpy(&four, x + r * stride + i * 2, 8);
            values[r] = _mm256_set1_epi64x(four);
        }
        PG_UNROLL
        for (int part = 0; part < 4; ++part) {
            const __m256i wide =
                _mm256_cvtepi8_epi16(_mm_load_si128(reinterpret_cast<const __m128i*>(weights + 16 * part)));
            PG_UNROLL
            for (int r = 0; r < R; ++r) sums[r][part] = TwoWords::add(sums[r][part], values[r], wide);
        }
    }
    __m256i out[R][2];
    PG_UNROLL
    for (int r = 0; r < R; ++r) {
        out[r][0] = _mm256_hadd_epi32(sums[r][0], sums[r][1]);
        out[r][1] = _mm256_hadd_epi32(sums[r][2], sums[r][3]);
        TwoWords::order(out[r]);
    }
    finish<SUMS_SIGNED>(work, 0, R, panel, out, sizeof out[0]);
}

void multiply_few(const LinearWork& work) {
    for (int panel = work.panel_begin; panel < work.panel_end; ++panel) {
        kernel_for_rows<FEW_ROWS>(work.m, [](auto r) { return &multiply_few_words<r>; })(work, panel);
    }
}

}  // namespace

void linear_avx2_int8(const LinearWork& work) {
    if (work.m <= FEW_ROWS) {
        multiply_few(work);
    } else {
        multiply_panels<TwoWords>(work);
    }
}
