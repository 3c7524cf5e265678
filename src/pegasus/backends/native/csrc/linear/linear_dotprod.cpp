// int8 for ARM's dot products (ASIMDDP): an instruction multiplies sixteen bytes with sixteen and adds them up by fours,
// both with signs.
#include "linear/linear_vector.h"

LINEAR_QUANTIZE(dotprod, int8_t, 0)

namespace {

// 6 rows times 4 vectors of sums, 4 vectors of weights and a word of x are 29 of 32 registers.
template <int R>
void multiply_bytes(const LinearWork& work, int row, int panel) {
    const auto* weights = reinterpret_cast<const int8_t*>(panel_at(work.w, panel));
    const int64_t stride = work.q->stride;
    const uint8_t* x = work.q->values + row * stride;
    const int k = padded_k(LINEAR_INT8, work.w.k);
    int32x4_t sums[R][PARTS];
    PG_UNROLL
    for (int i = 0; i < R * PARTS; ++i) sums[i / PARTS][i % PARTS] = vdupq_n_s32(0);
    for (int i = 0; i < k; i += 4, weights += 64) {
        int8x16_t columns[PARTS];
        PG_UNROLL
        for (int part = 0; part < PARTS; ++part) columns[part] = vld1q_s8(weights + 16 * part);
        __builtin_prefetch(weights + AHEAD, 0, 3);
        PG_UNROLL
        for (int r = 0; r < R; ++r) {
            int32_t word;
            std::memcpy(&word, x + r * stride + i, 4);
            const int8x16_t value = vreinterpretq_s8_s32(vdupq_n_s32(word));
            PG_UNROLL
            for (int part = 0; part < PARTS; ++part) sums[r][part] = vdotq_s32(sums[r][part], columns[part], value);
        }
    }
    finish<SUMS_SIGNED>(work, row, R, panel, sums, sizeof sums[0]);
}

}  // namespace

void linear_dotprod_int8(const LinearWork& work) {
    by_panels(work, [](auto r) { return &multiply_bytes<r>; });
}
