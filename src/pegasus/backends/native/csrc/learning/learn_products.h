// Products of bfloat16 matrices, block by block; layouts are those of learn_layouts.h. What multiplies a block,
// `multiply_block`, comes from learn_tiles.h or learn_vectors.h, whichever the file that includes this took before.
#pragma once

#include "learning/learn_layouts.h"

namespace {

constexpr int GROUP_ROWS = 256;  // that meet all columns before the next come

PG_INLINE int64_t turned_ld(int count) { return pitch(whole(count)); }

// Left of which the rows are the columns: [width][count], `width` a multiple of 16.
Left turned(const Bits* from, int64_t ld, int count, int width, Bits* to) {
    static const Bits none[16] = {};
    const int64_t ld_to = turned_ld(count);
    for (int row = 0; row < whole(count); row += 32) {
        for (int column = 0; column < width; column += 16) {
            Vec words[16];
            PG_UNROLL
            for (int i = 0; i < 16; ++i) {
                const int even = row + 2 * i, odd = even + 1;
                const Bits* at = from + column;
                words[i] = paired(even < count ? at + even * ld : none, odd < count ? at + odd * ld : none);
            }
            transpose(words);
            PG_UNROLL
            for (int i = 0; i < 16; ++i) store(reinterpret_cast<float*>(to + (column + i) * ld_to + row), words[i]);
        }
    }
    return {to, ld_to};
}

// -- products ----------------------------------------------------------------------------------------------------

// What a block of 32 rows writes, 32 columns of one row at a time; asks for where the next block below it goes.
PG_INLINE void put(Bits* at, int64_t ld, const Vec& a, const Vec& b) {
    __builtin_prefetch(at + BLOCK * ld, 1, 2);
    const __m512bh both = _mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(b), reinterpret_cast<__m512>(a));
    _mm512_storeu_si512(at, reinterpret_cast<__m512i>(both));
}

PG_INLINE void put(float* at, int64_t ld, const Vec& a, const Vec& b) {
    __builtin_prefetch(at + BLOCK * ld, 1, 2);
    __builtin_prefetch(at + BLOCK * ld + 16, 1, 2);
    store(at, a);
    store(at + 16, b);
}

// finish(row, column, sums [32][32], rows) for each block of left right. Rows are read up to the next multiple of 32.
template <class Finish>
void multiply(const Left& left, const Right& right, int m, int n, int k, const Finish& finish) {
    alignas(64) float sums[BLOCK * BLOCK];
    for (int group = 0; group < m; group += GROUP_ROWS) {
        const int end = m - group < GROUP_ROWS ? m : group + GROUP_ROWS;
        for (int column = 0; column < n; column += BLOCK) {
            const Right columns{right.at + column / 16 * right.panel, right.panel};
            for (int row = group; row < end; row += BLOCK) {
                const Left rows{left.at + row * left.ld, left.ld};
                if (column == 0) {
                    multiply_block<false, true>(rows, columns, k, sums, BLOCK);
                } else {
                    multiply_block<false, false>(rows, columns, k, sums, BLOCK);
                }
                finish(row, column, sums, end - row < BLOCK ? end - row : BLOCK);
            }
        }
    }
}

constexpr int CHUNK = 1024;  // numbers along a long sum that are added before the next block of the result

// to [m, ld] += left right, m and n multiples of 32.
void multiply_add(const Left& left, const Right& right, int m, int n, int k, float* to, int64_t ld) {
    for (int begin = 0; begin < k; begin += CHUNK) {
        const int count = k - begin < CHUNK ? k - begin : CHUNK;
        for (int column = 0; column < n; column += BLOCK) {
            const Right columns{right.at + column / 16 * right.panel + begin * 16, right.panel};
            for (int row = 0; row < m; row += BLOCK) {
                float* at = to + row * ld + column;
                for (int r = 0; r < BLOCK; ++r) {
                    __builtin_prefetch(at + (BLOCK + r) * ld, 1, 2);
                    __builtin_prefetch(at + (BLOCK + r) * ld + 16, 1, 2);
                }
                multiply_block<true, false>({left.at + row * left.ld + begin, left.ld}, columns, count, at, ld);
            }
        }
    }
}

}  // namespace
