// How matrices of bfloat16 are laid out for products. For files whose instructions include AVX-512 BF16.
//
//   left    rows of the result; the numbers the sum runs over stand side by side
//   right   panels of 16 columns of the result; in a panel the sum runs down in pairs, [k/2][16][2]
//
// What is padded up to a multiple of 32 is zero where a sum runs over it and anything elsewhere.
#pragma once

#include <immintrin.h>

#include "attention/kv_kinds.h"
#include "cpu/transpose.h"
#include "cpu/vectors.h"
#include "learning/learn_model.h"

namespace {

constexpr int BLOCK = 32;  // rows and columns of a result that are summed at once

struct Left {
    const Bits* at;
    int64_t ld;
};

struct Right {
    const Bits* at;
    int64_t panel;  // from one to the next
};

// From one row of numbers to the next. Not a power of two: the rows of a tile would share few places of the cache.
PG_INLINE int64_t pitch(int width) { return width + 32; }

// -- numbers -----------------------------------------------------------------------------------------------------

PG_INLINE void store_bits(Bits* at, const Vec& v) {
    const __m256bh bits = _mm512_cvtneps_pbh(reinterpret_cast<__m512>(v));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), reinterpret_cast<__m256i>(bits));
}

PG_INLINE Vec load_bits(const Bits* at) { return BF16::row(at); }

// Numbers 2i and 2i + 1 of the sum side by side, for 16 columns.
PG_INLINE Vec paired(const Bits* even, const Bits* odd) {
    const __m512i a = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(even)));
    const __m512i b = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(odd)));
    return reinterpret_cast<Vec>(_mm512_or_si512(a, _mm512_slli_epi32(b, 16)));
}

PG_INLINE void rounded(const float* from, int count, Bits* to) {
    for (int i = 0; i < count; i += 16) store_bits(to + i, load(from + i));
}

// -- layouts -----------------------------------------------------------------------------------------------------

// Right of which the columns are the `count` rows; the sum runs over their `width` numbers, a multiple of 32.
Right rows_as_columns(const Bits* from, int64_t ld, int count, int width, Bits* to) {
    for (int row = 0; row < whole(count); row += 16, to += int64_t{16} * width) {
        for (int i = 0; i < width; i += 32) {
            Vec words[16];
            PG_UNROLL
            for (int r = 0; r < 16; ++r) {
                words[r] = row + r < count ? load(reinterpret_cast<const float*>(from + (row + r) * ld + i)) : Vec{};
            }
            transpose(words);
            PG_UNROLL
            for (int r = 0; r < 16; ++r) store(reinterpret_cast<float*>(to + i * 16 + r * 32), words[r]);
        }
    }
    return {to - int64_t{whole(count)} * width, int64_t{16} * width};
}

// Right of which the columns are the columns; the sum runs over the `count` rows. `width` is a multiple of 16. The
// columns' sums are added to `sums` where that is not null. A few rows at a time, so that they are read once.
Right rows_summed(const Bits* from, int64_t ld, int count, int width, Bits* to, float* sums) {
    static const Bits none[16] = {};
    const int64_t panel = int64_t{16} * whole(count);
    for (int row = 0; row < whole(count); row += 32) {
        for (int column = 0; column < width; column += 16) {
            const Bits* at = from + row * ld + column;
            float* out = reinterpret_cast<float*>(to + column / 16 * panel + row * 16);
            Vec even = {}, odd = {};
            PG_UNROLL
            for (int i = 0; i < 32; i += 2) {
                const Vec words = paired(row + i < count ? at + i * ld : none, row + i + 1 < count ? at + (i + 1) * ld : none);
                store(out + i * 8, words);
                even += reinterpret_cast<Vec>(reinterpret_cast<VecInt>(words) << 16);
                odd += reinterpret_cast<Vec>(reinterpret_cast<VecInt>(words) & static_cast<int32_t>(0xffff0000));
            }
            if (sums != nullptr) store(sums + column, load(sums + column) + (even + odd));
        }
    }
    return {to, panel};
}

}  // namespace
