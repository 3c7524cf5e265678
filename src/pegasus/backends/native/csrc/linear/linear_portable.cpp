// The kernels of linear.h for every processor: vectors of its basic instructions, and int8 in plain C++.
#include "linear/linear_vector.h"

LINEAR_VECTOR_KERNELS(portable)
LINEAR_QUANTIZE(portable, uint8_t, 128)

static void row_times_panel(const LinearWork& work, int panel, int row) {
    const int8_t* weights = reinterpret_cast<const int8_t*>(panel_at(work.w, panel));
    const uint8_t* x = work.q->values + static_cast<int64_t>(row) * work.q->stride;
    int32_t sums[LINEAR_PANEL] = {};
    for (int k = 0; k < padded_k(LINEAR_INT8, work.w.k); k += 4, weights += 64) {
        for (int i = 0; i < LINEAR_PANEL; ++i) {
            for (int j = 0; j < 4; ++j) sums[i] += static_cast<int32_t>(x[k + j]) * weights[4 * i + j];
        }
    }
    finish<SUMS_BYTES>(work, row, 1, panel, sums, sizeof sums);
}

void linear_portable_int8(const LinearWork& work) {
    for (int panel = work.panel_begin; panel < work.panel_end; ++panel) {
        for (int row = 0; row < work.m; ++row) row_times_panel(work, panel, row);
    }
}
