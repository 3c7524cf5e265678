// Packing weights into panels, and taking a row out of them again.
#include <cmath>

#include "linear/linear_kernels.h"

namespace {

// Reads w [N, K] with zeros outside.
struct Source {
    const float* w;
    int n;
    int k;
    float at(int row, int column) const {
        return row < n && column < k ? w[static_cast<int64_t>(row) * k + column] : 0.0f;
    }
};

void pack_f32(const Source& source, int panel, float* out) {
    for (int k = 0; k < source.k; ++k) {
        for (int i = 0; i < LINEAR_PANEL; ++i) *out++ = source.at(panel * LINEAR_PANEL + i, k);
    }
}

void pack_f16(const Source& source, int panel, uint16_t* out) {
    for (int k = 0; k < source.k; ++k) {
        for (int i = 0; i < LINEAR_PANEL; ++i) *out++ = to_f16(source.at(panel * LINEAR_PANEL + i, k));
    }
}

void pack_bf16(const Source& source, int panel, uint16_t* out) {
    for (int k = 0; k < padded_k(LINEAR_BF16, source.k); k += 2) {
        for (int i = 0; i < LINEAR_PANEL; ++i) {
            *out++ = to_bf16(source.at(panel * LINEAR_PANEL + i, k));
            *out++ = to_bf16(source.at(panel * LINEAR_PANEL + i, k + 1));
        }
    }
}

float largest_of(const float* row, int k) {
    float largest = 0.0f;
    for (int i = 0; i < k; ++i) largest = std::fabs(row[i]) > largest ? std::fabs(row[i]) : largest;
    return largest;
}

void pack_int8(const Source& source, int panel, int8_t* out, float* scale_N, int32_t* sums_N) {
    const int padded = padded_k(LINEAR_INT8, source.k);
    std::memset(out, 0, static_cast<size_t>(padded) * LINEAR_PANEL);
    for (int i = 0; i < LINEAR_PANEL && panel * LINEAR_PANEL + i < source.n; ++i) {
        const int row = panel * LINEAR_PANEL + i;
        const float* from = source.w + static_cast<int64_t>(row) * source.k;
        const float largest = largest_of(from, source.k);
        const float scale = largest > 0.0f ? largest / 127.0f : 1.0f;
        const float inverse = 1.0f / scale;
        int32_t sum = 0;
        for (int k = 0; k < source.k; ++k) {
            const int value = static_cast<int>(std::nearbyint(from[k] * inverse));
            sum += value;
            out[k / 4 * 64 + i * 4 + k % 4] = static_cast<int8_t>(value);
        }
        scale_N[row] = scale;
        sums_N[row] = sum;
    }
}

}  // namespace

int64_t linear_packed_bytes(int32_t kind, int n, int k) {
    return round_up(n, LINEAR_PANEL) / LINEAR_PANEL * panel_bytes(kind, k);
}

void linear_pack(int32_t kind, int n, int k, const float* w_NK, void* out, float* scale_N, int32_t* sums_N,
                 int panel_begin, int panel_end) {
    const Source source{w_NK, n, k};
    for (int panel = panel_begin; panel < panel_end; ++panel) {
        uint8_t* to = static_cast<uint8_t*>(out) + panel * panel_bytes(kind, k);
        if (kind == LINEAR_F32) pack_f32(source, panel, reinterpret_cast<float*>(to));
        if (kind == LINEAR_F16) pack_f16(source, panel, reinterpret_cast<uint16_t*>(to));
        if (kind == LINEAR_BF16) pack_bf16(source, panel, reinterpret_cast<uint16_t*>(to));
        if (kind == LINEAR_INT8) pack_int8(source, panel, reinterpret_cast<int8_t*>(to), scale_N, sums_N);
    }
}

void linear_row(const Linear& w, int row, float* out_K) {
    const uint8_t* panel = panel_at(w, row / LINEAR_PANEL);
    const int i = row % LINEAR_PANEL;
    const uint16_t* halves = reinterpret_cast<const uint16_t*>(panel);
    for (int k = 0; k < w.k; ++k) {
        switch (w.kind) {
            case LINEAR_F32: out_K[k] = reinterpret_cast<const float*>(panel)[k * LINEAR_PANEL + i]; break;
            case LINEAR_F16: out_K[k] = from_f16(halves[k * LINEAR_PANEL + i]); break;
            case LINEAR_BF16: out_K[k] = from_bf16(halves[(k / 2 * LINEAR_PANEL + i) * 2 + k % 2]); break;
            default: {
                const int8_t value = reinterpret_cast<const int8_t*>(panel)[k / 4 * 64 + i * 4 + k % 4];
                out_K[k] = static_cast<float>(value) * w.scale_N[row];
            }
        }
    }
}
