// Attention over bfloat16 keys and values with vectors that add two products at once.
#include "attention/kernels_bf16.h"

namespace {

// The numbers of `left` that a pair of the sum needs, in all lanes.
PG_INLINE __m512bh pair_of(const uint16_t* left) {
    int32_t both;
    std::memcpy(&both, left, 4);
    return reinterpret_cast<__m512bh>(_mm512_set1_epi32(both));
}

PG_INLINE __m512bh group_of(const uint16_t* right) { return reinterpret_cast<__m512bh>(_mm512_loadu_si512(right)); }

// sums [Rows][Wide] += left [Rows][2 pairs] times groups of 16 columns, `apart` from one panel to the next.
template <int Rows, int Wide>
PG_INLINE void add_pairs(const uint16_t* left, int64_t ld, const uint16_t* right, int64_t apart, int pairs,
                         __m512 (&sums)[Rows][Wide]) {
    for (int pair = 0; pair < pairs; ++pair) {
        __m512bh groups[Wide];
        PG_UNROLL
        for (int w = 0; w < Wide; ++w) groups[w] = group_of(right + w * apart + pair * 32);
        PG_UNROLL
        for (int row = 0; row < Rows; ++row) {
            const __m512bh both = pair_of(left + row * ld + pair * 2);
            PG_UNROLL
            for (int w = 0; w < Wide; ++w) sums[row][w] = _mm512_dpbf16_ps(sums[row][w], both, groups[w]);
        }
    }
}

template <int Rows, int Wide>
PG_INLINE void clear(__m512 (&sums)[Rows][Wide]) {
    PG_UNROLL
    for (int i = 0; i < Rows * Wide; ++i) sums[i / Wide][i % Wide] = _mm512_setzero_ps();
}

template <int Rows, int Wide>
PG_INLINE void put(const __m512 (&sums)[Rows][Wide], float* at, int64_t ld) {
    PG_UNROLL
    for (int i = 0; i < Rows * Wide; ++i) _mm512_storeu_ps(at + i / Wide * ld + i % Wide * 16, sums[i / Wide][i % Wide]);
}

// Panels of 16 tokens of keys, two at once.
template <int Rows>
void score_rows(const uint16_t* queries, int padded, const uint16_t* keys, int tokens, float* scores, int64_t ld) {
    const int64_t panel = int64_t{16} * padded;
    for (int token = 0; token < tokens; token += 32, keys += 2 * panel) {
        for (int i = 0; i < 2 * panel; i += 32) __builtin_prefetch(keys + 2 * panel + i, 0, 3);
        __m512 sums[Rows][2];
        clear(sums);
        add_pairs(queries, padded, keys, panel, padded / 2, sums);
        put(sums, scores + token, ld);
    }
}

// Columns of 32 tokens of values at a time, 16 Wide of them.
template <int Rows, int Wide>
void mix_rows(const uint16_t* weights, int64_t ld, const uint16_t* values, int padded, int tokens, float* out) {
    __m512 sums[Rows][Wide];
    clear(sums);
    for (int token = 0; token < tokens; token += 32, values += 32 * padded) {
        for (int i = 0; i < Wide * 512; i += 32) __builtin_prefetch(values + 32 * padded + i, 0, 3);
        add_pairs(weights + token, ld, values, 512, 16, sums);
    }
    put(sums, out, kColumns);
}

struct Vectors {
    explicit Vectors(int) {}

    // Eight rows at once, or one: fewer than eight are not rare in the last block, but one by one is greedy search.
    template <class Work>
    static void by_rows(int rows, const Work& work) {
        int row = 0;
        for (; rows - row > 2; row += 8) work(row, std::integral_constant<int, 8>());
        for (; row < rows; ++row) work(row, std::integral_constant<int, 1>());
    }

    static void score(const uint16_t* queries, int rows, int padded, const uint16_t* keys, int tokens, float* scores,
                      int64_t ld) {
        by_rows(rows, [&](int row, auto count) {
            score_rows<count>(queries + row * padded, padded, keys, tokens, scores + row * ld, ld);
        });
    }

    static void mix(const uint16_t* weights, int rows, int64_t ld, const uint16_t* values, int padded, int e, int tokens,
                    float* out) {
        const uint16_t* at = values + e * 32;
        for (int half = 0; half < kColumns && e + half < padded; half += 32) {
            by_rows(rows, [&](int row, auto count) {
                mix_rows<count, 2>(weights + row * ld, ld, at + half * 32, padded, tokens, out + row * kColumns + half);
            });
        }
    }
};

}  // namespace

void attend_avx512bf16(const Attend& a) { attend_rounded<Vectors>(a); }
