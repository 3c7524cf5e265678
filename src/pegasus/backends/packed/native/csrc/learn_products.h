// Products of bfloat16 matrices with tiles. For *_amx.cpp only; layouts are those of learn_layouts.h.
#pragma once

#include "learn_layouts.h"
#include "tiles.h"

namespace {

constexpr int BLOCK = 32;        // rows and columns summed at once
constexpr int GROUP_ROWS = 256;  // that meet all columns before the next come

// Tiles of 16 rows of 64 bytes, as long as it lives.
struct TilesInUse {
    TilesInUse() { TileShapes().use(); }
    ~TilesInUse() { _tile_release(); }
    TilesInUse(const TilesInUse&) = delete;
    TilesInUse& operator=(const TilesInUse&) = delete;
};

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

// Adds to the four tiles of a block what `k` numbers along the sum make. `Asks`: for the rows of the next block too,
// before they are needed; rows lie apart, which no processor guesses.
template <bool Asks>
PG_INLINE void add_tiles(const Bits* left, int64_t ld, const Bits* right, int64_t panel, int k) {
    for (int i = 0; i < k; i += 32) {
        if constexpr (Asks) {
            const Bits* next = left + BLOCK * ld + i;
            for (int r = 0; r < BLOCK; ++r) __builtin_prefetch(next + r * ld, 0, 2);
        }
        _tile_loadd(4, left + i, ld * 2);
        _tile_loadd(6, right + i * 16, 64);
        _tile_loadd(7, right + panel + i * 16, 64);
        _tile_loadd(5, left + 16 * ld + i, ld * 2);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
}

PG_INLINE void store_tiles(float* at, int64_t ld) {
    _tile_stored(0, at, ld * 4);
    _tile_stored(1, at + 16, ld * 4);
    _tile_stored(2, at + 16 * ld, ld * 4);
    _tile_stored(3, at + 16 * ld + 16, ld * 4);
}

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
    asm volatile("" ::: "memory");  // what the tiles read was written by ordinary stores
    for (int group = 0; group < m; group += GROUP_ROWS) {
        const int end = m - group < GROUP_ROWS ? m : group + GROUP_ROWS;
        for (int column = 0; column < n; column += BLOCK) {
            for (int row = group; row < end; row += BLOCK) {
                _tile_zero(0);
                _tile_zero(1);
                _tile_zero(2);
                _tile_zero(3);
                const Bits *rows = left.at + row * left.ld, *columns = right.at + column / 16 * right.panel;
                if (column == 0) {
                    add_tiles<true>(rows, left.ld, columns, right.panel, k);
                } else {
                    add_tiles<false>(rows, left.ld, columns, right.panel, k);
                }
                store_tiles(sums, BLOCK);
                asm volatile("" ::: "memory");
                finish(row, column, sums, end - row < BLOCK ? end - row : BLOCK);
            }
        }
    }
}

constexpr int CHUNK = 1024;  // numbers along a long sum that are added before the next block of the result

// to [m, ld] += left right, m and n multiples of 32.
void multiply_add(const Left& left, const Right& right, int m, int n, int k, float* to, int64_t ld) {
    asm volatile("" ::: "memory");
    for (int begin = 0; begin < k; begin += CHUNK) {
        const int count = k - begin < CHUNK ? k - begin : CHUNK;
        for (int column = 0; column < n; column += BLOCK) {
            for (int row = 0; row < m; row += BLOCK) {
                float* at = to + row * ld + column;
                for (int r = 0; r < BLOCK; ++r) {
                    __builtin_prefetch(at + (BLOCK + r) * ld, 1, 2);
                    __builtin_prefetch(at + (BLOCK + r) * ld + 16, 1, 2);
                }
                _tile_loadd(0, at, ld * 4);
                _tile_loadd(1, at + 16, ld * 4);
                _tile_loadd(2, at + 16 * ld, ld * 4);
                _tile_loadd(3, at + 16 * ld + 16, ld * 4);
                add_tiles<false>(left.at + row * left.ld + begin, left.ld,
                          right.at + column / 16 * right.panel + begin * 16, right.panel, count);
                store_tiles(at, ld);
            }
        }
    }
    asm volatile("" ::: "memory");
}

}  // namespace
