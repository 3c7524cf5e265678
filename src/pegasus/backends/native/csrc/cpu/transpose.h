// Sixteen rows of sixteen floats become columns.
#pragma once

#include "cpu/vectors.h"

namespace {

#if defined(__AVX512F__)

// Rows become columns: 2 by 2 within fours, then fours.
PG_INLINE void transpose(Vec (&r)[16]) {
    Vec t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
        t[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
    }
    for (int i = 0; i < 16; i += 4) {
        for (int j = 0; j < 2; ++j) {
            r[i + 2 * j] = __builtin_shufflevector(t[i + j], t[i + j + 2], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12,
                                                   13, 28, 29);
            r[i + 2 * j + 1] = __builtin_shufflevector(t[i + j], t[i + j + 2], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26,
                                                       27, 14, 15, 30, 31);
        }
    }
    for (int i = 0; i < 16; i += 8) {
        for (int j = 0; j < 4; ++j) {
            t[i + j] = __builtin_shufflevector(r[i + j], r[i + j + 4], 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25,
                                               26, 27);
            t[i + j + 4] = __builtin_shufflevector(r[i + j], r[i + j + 4], 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23,
                                                   28, 29, 30, 31);
        }
    }
    for (int j = 0; j < 4; ++j) {
        r[j] = __builtin_shufflevector(t[j], t[j + 8], 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
        r[j + 8] = __builtin_shufflevector(t[j], t[j + 8], 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
        r[j + 4] =
            __builtin_shufflevector(t[j + 4], t[j + 12], 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
        r[j + 12] =
            __builtin_shufflevector(t[j + 4], t[j + 12], 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    }
}

#else

// A block of as many rows as a part has numbers.
PG_INLINE void transpose_block(Part (&r)[kLanes]) {
#if defined(__AVX2__)
    Part t[8];
    PG_UNROLL
    for (int i = 0; i < 8; i += 4) {  // rows i to i + 3: their columns c and c + 4 in t[i + c]
        const Part a = __builtin_shufflevector(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        const Part b = __builtin_shufflevector(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
        const Part c = __builtin_shufflevector(r[i + 2], r[i + 3], 0, 8, 1, 9, 4, 12, 5, 13);
        const Part d = __builtin_shufflevector(r[i + 2], r[i + 3], 2, 10, 3, 11, 6, 14, 7, 15);
        t[i] = __builtin_shufflevector(a, c, 0, 1, 8, 9, 4, 5, 12, 13);
        t[i + 1] = __builtin_shufflevector(a, c, 2, 3, 10, 11, 6, 7, 14, 15);
        t[i + 2] = __builtin_shufflevector(b, d, 0, 1, 8, 9, 4, 5, 12, 13);
        t[i + 3] = __builtin_shufflevector(b, d, 2, 3, 10, 11, 6, 7, 14, 15);
    }
    PG_UNROLL
    for (int c = 0; c < 4; ++c) {
        r[c] = __builtin_shufflevector(t[c], t[c + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        r[c + 4] = __builtin_shufflevector(t[c], t[c + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
#else
    const Part a = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5), b = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
    const Part c = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5), d = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
    r[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
    r[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
    r[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
    r[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
#endif
}

// Block by block: the one at rows i and columns j goes to rows j and columns i.
PG_INLINE void transpose(Vec (&r)[16]) {
    constexpr int kBlocks = 16 / kLanes;
    alignas(64) float numbers[16][16];
    PG_UNROLL
    for (int i = 0; i < 16; ++i) store(numbers[i], r[i]);
    for (int i = 0; i < kBlocks; ++i) {
        for (int j = 0; j <= i; ++j) {
            Part one[kLanes], other[kLanes];
            PG_UNROLL
            for (int k = 0; k < kLanes; ++k) {
                std::memcpy(&one[k], &numbers[i * kLanes + k][j * kLanes], sizeof(Part));
                std::memcpy(&other[k], &numbers[j * kLanes + k][i * kLanes], sizeof(Part));
            }
            transpose_block(one);
            transpose_block(other);
            PG_UNROLL
            for (int k = 0; k < kLanes; ++k) {
                std::memcpy(&numbers[j * kLanes + k][i * kLanes], &one[k], sizeof(Part));
                std::memcpy(&numbers[i * kLanes + k][j * kLanes], &other[k], sizeof(Part));
            }
        }
    }
    PG_UNROLL
    for (int i = 0; i < 16; ++i) r[i] = load(numbers[i]);
}

#endif

}  // namespace
