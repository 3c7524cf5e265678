// Parts of things that threads do beside each other.
#pragma once

#include <cstdint>

#include "cpu/compiler.h"

// The part [begin, end) of `total` things that thread `tid` of `n` does; parts begin at multiples of `grain`.
struct Share {
    int begin;
    int end;
};

PG_INLINE Share share_of(int total, int tid, int n, int grain = 1) {
    int64_t grains = (static_cast<int64_t>(total) + grain - 1) / grain;
    int64_t begin = grains * tid / n * grain;
    int64_t end = grains * (tid + 1) / n * grain;
    return {static_cast<int>(begin < total ? begin : total), static_cast<int>(end < total ? end : total)};
}
