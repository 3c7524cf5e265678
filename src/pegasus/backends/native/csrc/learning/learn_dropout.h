// Which numbers are dropped: a hash of a seed and of where the number stands, so that the way back asks again instead
// of remembering. For files whose instructions include AVX-512 BF16.
#pragma once

#include "learning/learn_layouts.h"

namespace {

typedef uint32_t VecBits __attribute__((vector_size(64)));

// Two rounds of multiplying and folding: every bit of `x` changes half of the bits (C. Wellons, "hash prospector").
template <class Number>
PG_INLINE Number scrambled(Number x) {
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return x ^ (x >> 16);
}

// What happens to the numbers of one place in the model.
struct Drop {
    uint32_t below = 0;  // a hash below this is dropped
    float scale = 1.0f;  // of what stays
    uint32_t seed = 0;

    bool none() const { return below == 0; }
    // One part of the place, such as a head.
    Drop of(uint32_t part) const { return {below, scale, scrambled(seed + part * 0x9e3779b9u)}; }
    // What 16 numbers from the `index`th on are multiplied by.
    PG_INLINE Vec at(uint32_t index) const {
        const VecBits places = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
        const VecBits hash = scrambled((places + index) ^ seed);
        return hash >= below ? all(scale) : Vec{};
    }
};

Drop drop_of(float rate, uint32_t seed, uint32_t place) {
    if (rate <= 0) return {};
    return {static_cast<uint32_t>(static_cast<double>(rate) * 4294967296.0), 1.0f / (1.0f - rate),
            scrambled(seed ^ scrambled(place + 1))};
}

}  // namespace
