// int8 for ARM's matrix products (I8MM): an instruction multiplies two rows of eight bytes with two columns of eight, all
// with signs, and adds to four sums.
#include "linear/linear_vector.h"

namespace {

constexpr int PAIRS = LINEAR_PANEL / 2;  // of columns

// The eight bytes of two rows that stand side by side along K.
PG_INLINE int8x16_t two_rows(const uint8_t* x, int64_t stride) {
    return vcombine_s8(vld1_s8(reinterpret_cast<const int8_t*>(x)), vld1_s8(reinterpret_cast<const int8_t*>(x + stride)));
}

// Up to 6 rows: 3 pairs of rows times 8 pairs of columns are 24 sums of 2 by 2; with the rows, two vectors of weights and
// what they are ordered into 31 of 32 registers. A last row without a second is taken with the memory behind it, which is
// there (rows are made ready in sixteens), and what comes of that is left.
template <int R>
void multiply_pairs(const LinearWork& work, int row, int panel) {
    constexpr int ROW_PAIRS = (R + 1) / 2;
    const auto* weights = reinterpret_cast<const int8_t*>(panel_at(work.w, panel));
    const int64_t stride = work.q->stride;
    const uint8_t* x = work.q->values + row * stride;
    const int k = padded_k(LINEAR_INT8, work.w.k);
    int32x4_t sums[ROW_PAIRS][PAIRS];
    PG_UNROLL
    for (int i = 0; i < ROW_PAIRS * PAIRS; ++i) sums[i / PAIRS][i % PAIRS] = vdupq_n_s32(0);
    for (int i = 0; i < k; i += 8, weights += 128) {
        int8x16_t rows[ROW_PAIRS];
        PG_UNROLL
        for (int r = 0; r < ROW_PAIRS; ++r) rows[r] = two_rows(x + 2 * r * stride + i, stride);
        __builtin_prefetch(weights + AHEAD, 0, 3);
        __builtin_prefetch(weights + AHEAD + 64, 0, 3);
        PG_UNROLL
        for (int part = 0; part < PARTS; ++part) {
            // Words of four columns, four bytes of K each, and those of the next four bytes.
            const int32x4_t first = vreinterpretq_s32_s8(vld1q_s8(weights + 16 * part));
            const int32x4_t second = vreinterpretq_s32_s8(vld1q_s8(weights + 64 + 16 * part));
            const int8x16_t left = vreinterpretq_s8_s32(vzip1q_s32(first, second));
            const int8x16_t right = vreinterpretq_s8_s32(vzip2q_s32(first, second));
            PG_UNROLL
            for (int r = 0; r < ROW_PAIRS; ++r) {
                sums[r][2 * part] = vmmlaq_s32(sums[r][2 * part], rows[r], left);
                sums[r][2 * part + 1] = vmmlaq_s32(sums[r][2 * part + 1], rows[r], right);
            }
        }
    }
    int32x4_t out[2 * ROW_PAIRS][PARTS];
    PG_UNROLL
    for (int i = 0; i < ROW_PAIRS * PARTS; ++i) {
        const int r = i / PARTS, part = i % PARTS;
        const int64x2_t left = vreinterpretq_s64_s32(sums[r][2 * part]);
        const int64x2_t right = vreinterpretq_s64_s32(sums[r][2 * part + 1]);
        out[2 * r][part] = vreinterpretq_s32_s64(vzip1q_s64(left, right));
        out[2 * r + 1][part] = vreinterpretq_s32_s64(vzip2q_s64(left, right));
    }
    finish<SUMS_SIGNED>(work, row, R, panel, out, sizeof out[0]);
}

}  // namespace

void linear_i8mm_int8(const LinearWork& work) {
    by_panels(work, [](auto r) { return &multiply_pairs<r>; });
}
