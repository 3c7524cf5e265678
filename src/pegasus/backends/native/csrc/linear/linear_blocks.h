// int8 over vectors of 256 bits, for rows that were made ready: blocks of rows meet a panel, chunk of K by chunk.
//
// A word of x, 32 bits, is broadcast; a word of weights is 64 bytes, 32 bits for each of a panel's 16 columns. What a
// word holds is the product's matter: four bytes (AVX-VNNI) or two numbers of 16 bits (AVX2).
//
// Shape of a block: 6 rows times 2 vectors of columns are 12 sums; with 2 vectors of weights, a word of x and what a
// product is made in they are the 16 registers. Each load of weights serves 6 rows, each broadcast 16 columns: 8 loads
// for 12 products, so that multiplying and not loading is the limit.
//
// Sums are whole numbers, so that it does not matter in which order they are made: K is cut into chunks whose weights
// stay in the first-level cache (8 KiB) while all rows of a group pass, and the rows into groups that stay in the
// second-level one. What is not complete waits in memory.
#pragma once

#include <immintrin.h>

#include "linear/linear_finish.h"

namespace {

constexpr int CHUNK_WORDS = 128;           // of K
constexpr int GROUP_BYTES = 1 << 18;       // of x
constexpr int64_t WORD_BYTES = 64;         // of a panel's weights
constexpr int64_t WAITING_BYTES = 64;      // of a row's sums

// `rows` rows of x meet a chunk: totals [R][2] = sums, to which is added where `Adds` is set.
template <class Product, int R>
void multiply_words(const uint8_t* weights, const uint8_t* x, int64_t stride, int words, bool adds, __m256i (*totals)[2]) {
    __m256i sums[R][2];
    PG_UNROLL
    for (int i = 0; i < R * 2; ++i) sums[i / 2][i % 2] = adds ? totals[i / 2][i % 2] : _mm256_setzero_si256();
    for (int i = 0; i < words; ++i, weights += WORD_BYTES) {
        const __m256i left = _mm256_load_si256(reinterpret_cast<const __m256i*>(weights));
        const __m256i right = _mm256_load_si256(reinterpret_cast<const __m256i*>(weights + 32));
        if constexpr (Product::STREAMS) __builtin_prefetch(weights + AHEAD, 0, 3);
        PG_UNROLL
        for (int r = 0; r < R; ++r) {
            int32_t word;
            std::memcpy(&word, x + r * stride + i * 4, 4);
            const __m256i value = _mm256_set1_epi32(word);
            sums[r][0] = Product::add(sums[r][0], value, left);
            sums[r][1] = Product::add(sums[r][1], value, right);
        }
    }
    PG_UNROLL
    for (int i = 0; i < R * 2; ++i) totals[i / 2][i % 2] = sums[i / 2][i % 2];
}

// Rows [row, row + rows) times one panel.
template <class Product>
void multiply_panel(const LinearWork& work, int row, int rows, int panel, __m256i (*totals)[2], uint8_t* widened) {
    const int words = Product::words(work.w.k), blocks = (rows + ROWS - 1) / ROWS, each = (rows + blocks - 1) / blocks;
    const int64_t stride = work.q->stride;
    for (int begin = 0; begin < words; begin += CHUNK_WORDS) {
        const int count = words - begin < CHUNK_WORDS ? words - begin : CHUNK_WORDS;
        const uint8_t* weights = Product::weights(panel_at(work.w, panel), begin, count, widened);
        const uint8_t* x = work.q->values + row * stride + int64_t{begin} * 4;
        for (int r = 0; r < rows; r += each) {
            const int some = rows - r < each ? rows - r : each;
            kernel_for_rows(some, [](auto n) { return &multiply_words<Product, n>; })(
                weights, x + r * stride, stride, count, begin > 0, totals + r);
        }
    }
    for (int r = 0; r < rows; ++r) Product::order(totals[r]);
    finish<Product::SUMS>(work, row, rows, panel, totals, WAITING_BYTES);
}

template <class Product>
void multiply_panels(const LinearWork& work) {
    const int64_t fit = GROUP_BYTES / work.q->stride / ROWS * ROWS;
    const int group = static_cast<int>(fit < ROWS ? ROWS : fit), most = work.m < group ? work.m : group;
    auto* widened = static_cast<uint8_t*>(linear_scratch(CHUNK_WORDS * WORD_BYTES + most * WAITING_BYTES));
    auto* totals = reinterpret_cast<__m256i(*)[2]>(widened + CHUNK_WORDS * WORD_BYTES);
    for (int row = 0; row < work.m; row += group) {
        const int rows = work.m - row < group ? work.m - row : group;
        for (int panel = work.panel_begin; panel < work.panel_end; ++panel) {
            multiply_panel<Product>(work, row, rows, panel, totals, widened);
        }
    }
}

}  // namespace
