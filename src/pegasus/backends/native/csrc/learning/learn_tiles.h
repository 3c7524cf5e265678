// The product at the core of learning, with AMX: 32 rows by 32 columns in four tiles. For *_amx.cpp only.
#pragma once

#include "cpu/tiles.h"
#include "learning/learn_layouts.h"

namespace {

// Tiles of 16 rows of 64 bytes, as long as it lives.
struct Multiplying {
    Multiplying() { TileShapes().use(); }
    ~Multiplying() { _tile_release(); }
    Multiplying(const Multiplying&) = delete;
    Multiplying& operator=(const Multiplying&) = delete;
};

// Adds to the four tiles of a block what `k` numbers along the sum make. `Asks`: for the rows of the next block too,
// before they are needed; rows lie apart, which no processor guesses.
template <bool Asks>
PG_INLINE void add_tiles(const Left& left, const Right& right, int k) {
    for (int i = 0; i < k; i += 32) {
        if constexpr (Asks) {
            const Bits* next = left.at + BLOCK * left.ld + i;
            for (int r = 0; r < BLOCK; ++r) __builtin_prefetch(next + r * left.ld, 0, 2);
        }
        _tile_loadd(4, left.at + i, left.ld * 2);
        _tile_loadd(6, right.at + i * 16, 64);
        _tile_loadd(7, right.at + right.panel + i * 16, 64);
        _tile_loadd(5, left.at + 16 * left.ld + i, left.ld * 2);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
}

// A block: to [32][ld] gets, or where `Adds` is set grows by, the product of 32 rows and the columns of two panels.
template <bool Adds, bool Asks>
PG_INLINE void multiply_block(const Left& left, const Right& right, int k, float* to, int64_t ld) {
    asm volatile("" ::: "memory");  // what tiles read was written by ordinary stores
    if constexpr (Adds) {
        _tile_loadd(0, to, ld * 4);
        _tile_loadd(1, to + 16, ld * 4);
        _tile_loadd(2, to + 16 * ld, ld * 4);
        _tile_loadd(3, to + 16 * ld + 16, ld * 4);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    add_tiles<Asks>(left, right, k);
    _tile_stored(0, to, ld * 4);
    _tile_stored(1, to + 16, ld * 4);
    _tile_stored(2, to + 16 * ld, ld * 4);
    _tile_stored(3, to + 16 * ld + 16, ld * 4);
    asm volatile("" ::: "memory");
}

}  // namespace
