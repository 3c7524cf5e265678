// The shapes of AMX's eight tiles, as `ldtilecfg` reads them. For *_amx.cpp only.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace {

struct alignas(64) TileShapes {
    uint8_t palette = 1;
    uint8_t start = 0;
    uint8_t reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};

    // From here on tiles have these shapes, until `_tile_release`.
    void use() const {
        asm volatile("" ::: "memory");  // the shapes and what tiles will read were written by ordinary stores
        _tile_loadconfig(this);
    }
};

}  // namespace
