// The order in which tiles go through a linear with many rows. For linear_*_amx.cpp only.
//
// Of x as many rows, and of K as much, are taken at a time as stay in the second-level cache while the panels of a group
// pass; their sums wait in memory of the thread from one part of K to the next.
#pragma once

#include "linear/linear_kernels.h"

namespace {

constexpr int TILE = 16;          // rows of a tile
constexpr int TILE_BYTES = 1024;  // of a whole tile
constexpr int GROUP_ROWS = 256;   // of x that stay in the cache

// Calls multiply(rows, panels, begin, end) for each group of rows, each `group` panels, each `chunk` of `tiles` along K.
template <class Multiply>
PG_INLINE void by_groups(const LinearWork& work, int tiles, int group, int chunk, const Multiply& multiply) {
    for (int row = 0; row < work.m; row += GROUP_ROWS) {
        const Share rows{row, work.m - row < GROUP_ROWS ? work.m : row + GROUP_ROWS};
        for (int panel = work.panel_begin; panel < work.panel_end; panel += group) {
            const Share panels{panel, work.panel_end - panel < group ? work.panel_end : panel + group};
            for (int begin = 0; begin < tiles; begin += chunk) {
                multiply(rows, panels, begin, tiles - begin < chunk ? tiles : begin + chunk);
            }
        }
    }
}

}  // namespace
