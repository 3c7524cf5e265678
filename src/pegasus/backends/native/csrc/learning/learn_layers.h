// The parts of a layer, there and back: norm, attention, feed-forward. For files whose instructions include AVX-512 BF16.
//
// The residual and gradients of it are float32, what products read is bfloat16. Each part adds to the residual what
// it makes of its norm; on the way back it adds to the residual's gradient and to the sums of its weights.
#pragma once

#include "learning/learn_dropout.h"
#include "learning/learn_products.h"

namespace {

constexpr int SLACK = 32;  // rows behind the last that tiles may read

// Texts behind each other: text i has rows [offsets[i], offsets[i + 1]).
struct Texts {
    int count;
    const int32_t* offsets;
    int total() const { return offsets[count]; }
    int length(int text) const { return offsets[text + 1] - offsets[text]; }
};

// What a pass needs everywhere. Rows of bfloat16 are `pitch(width)` apart, of float32 their width.
struct Pass {
    const LearnShape& shape;
    const LearnBatch& batch;
    Arena& memory;
    float* sums;  // of gradients; null where nothing learns
    // What is dropped of what is added to the residual, at a place of the model that has a number.
    Drop drop(uint32_t place) const { return drop_of(batch.dropout, batch.seed, place); }
    int d() const { return shape.width; }
    Bits* rows(int count, int width) const { return memory.take<Bits>((whole(count) + SLACK) * pitch(width)); }
    float* wide_rows(int count) const { return memory.take<float>((whole(count) + int64_t{SLACK}) * shape.width); }
};

// -- norm --------------------------------------------------------------------------------------------------------

struct Normed {
    const float* x;  // [M, D]
    float* mean;
    float* rate;  // one over the deviation
    Bits* out;    // [M, D]
};

Normed norm_forward(const Pass& pass, const Norm& norm, const float* x, int m) {
    const int d = pass.d();
    Normed found{x, pass.memory.take<float>(m), pass.memory.take<float>(m), pass.rows(m, d)};
    for (int row = 0; row < m; ++row) {
        const float* at = x + int64_t{row} * d;
        Vec sum = {}, squares = {};
        for (int i = 0; i < d; i += 16) sum += load(at + i);
        const float mean = sum_of(sum) / static_cast<float>(d);
        for (int i = 0; i < d; i += 16) {
            const Vec away = load(at + i) - mean;
            squares += away * away;
        }
        const float rate = 1.0f / __builtin_sqrtf(sum_of(squares) / static_cast<float>(d) + pass.shape.eps);
        for (int i = 0; i < d; i += 16) {
            store_bits(found.out + row * pitch(d) + i,
                       (load(at + i) - mean) * rate * load(norm.weight + i) + load(norm.bias + i));
        }
        found.mean[row] = mean;
        found.rate[row] = rate;
    }
    return found;
}

// to += the gradient of x, from d_out [M, D].
void norm_backward(const Pass& pass, const Norm& norm, const Normed& normed, const float* d_out, int m, float* to) {
    const int d = pass.d();
    float *weight_sums = pass.sums + norm.sums, *bias_sums = weight_sums + d;
    for (int row = 0; row < m; ++row) {
        const float *x = normed.x + int64_t{row} * d, *slope = d_out + int64_t{row} * d;
        const float mean = normed.mean[row], rate = normed.rate[row];
        Vec sum = {}, product = {};
        for (int i = 0; i < d; i += 16) {
            const Vec g = load(slope + i), along = (load(x + i) - mean) * rate, weighted = g * load(norm.weight + i);
            sum += weighted;
            product += weighted * along;
            store(weight_sums + i, load(weight_sums + i) + g * along);
            store(bias_sums + i, load(bias_sums + i) + g);
        }
        const float level = sum_of(sum) / static_cast<float>(d), tilt = sum_of(product) / static_cast<float>(d);
        float* out = to + int64_t{row} * d;
        for (int i = 0; i < d; i += 16) {
            const Vec along = (load(x + i) - mean) * rate, weighted = load(slope + i) * load(norm.weight + i);
            store(out + i, load(out + i) + (weighted - level - along * tilt) * rate);
        }
    }
}

// -- products with weights -----------------------------------------------------------------------------------------

PG_INLINE Right forward_of(const Projection& p) { return {p.forward, int64_t{16} * whole(p.k)}; }
PG_INLINE Right backward_of(const Projection& p) { return {p.backward, int64_t{16} * whole(p.n)}; }

// to [M, n] = x W^T + bias, the first `scaled` columns times `scale`.
void project(const Projection& p, const Bits* x, int m, Bits* to, int scaled, float scale) {
    multiply({x, pitch(p.k)}, forward_of(p), m, p.n, p.k, [&](int row, int column, const float* sums, int rows) {
        const float factor = column < scaled ? scale : 1.0f;
        const Vec a = load(p.bias + column), b = load(p.bias + column + 16);
        for (int r = 0; r < rows; ++r) {
            const float* at = sums + r * BLOCK;
            put(to + (row + r) * pitch(p.n) + column, pitch(p.n), (load(at) + a) * factor, (load(at + 16) + b) * factor);
        }
    });
}

// to [M, n] = relu(x W^T + bias), some of it dropped.
void project_up(const Projection& p, const Bits* x, int m, const Drop& drop, Bits* to) {
    multiply({x, pitch(p.k)}, forward_of(p), m, p.n, p.k, [&](int row, int column, const float* sums, int rows) {
        for (int r = 0; r < rows; ++r) {
            Vec y[2];
            for (int i = 0; i < 2; ++i) {
                y[i] = larger(load(sums + r * BLOCK + i * 16) + load(p.bias + column + i * 16), Vec{});
                if (!drop.none()) y[i] *= drop.at((row + r) * p.n + column + i * 16);
            }
            put(to + (row + r) * pitch(p.n) + column, pitch(p.n), y[0], y[1]);
        }
    });
}

// to [M, n] = residual + x W^T + bias, of which some is dropped.
void project_onto(const Projection& p, const Bits* x, int m, const float* residual, const Drop& drop, float* to) {
    multiply({x, pitch(p.k)}, forward_of(p), m, p.n, p.k, [&](int row, int column, const float* sums, int rows) {
        for (int r = 0; r < rows; ++r) {
            const int64_t at = (row + r) * int64_t{p.n} + column;
            Vec y[2];
            for (int i = 0; i < 2; ++i) {
                y[i] = load(sums + r * BLOCK + i * 16) + load(p.bias + column + i * 16);
                if (!drop.none()) y[i] *= drop.at(static_cast<uint32_t>(at + i * 16));
                y[i] += load(residual + at + i * 16);
                __builtin_prefetch(residual + at + BLOCK * p.n + i * 16, 0, 2);
            }
            put(to + at, p.n, y[0], y[1]);
        }
    });
}

// to [M, k] = d_out W, or added to it.
void project_back(const Projection& p, const Bits* d_out, int m, float* to, bool adds) {
    multiply({d_out, pitch(p.n)}, backward_of(p), m, p.k, p.n, [&](int row, int column, const float* sums, int rows) {
        for (int r = 0; r < rows; ++r) {
            float* at = to + (row + r) * int64_t{p.k} + column;
            const Vec a = load(sums + r * BLOCK), b = load(sums + r * BLOCK + 16);
            put(at, p.k, adds ? load(at) + a : a, adds ? load(at + 16) + b : b);
        }
    });
}

// Adds to the weights' sums. `narrow` [D][M] are the turned rows of the narrow side, `wide` those of the other side:
// gradients, which are those of the bias too, where p.turned is set, else what the layer read.
void add_gradient(const Pass& pass, const Projection& p, const Left& narrow, const Bits* wide, int m) {
    const Arena::Mark mark = pass.memory.mark();
    const int columns = p.turned ? p.n : p.k, rows = p.turned ? p.k : p.n;
    Bits* panels = pass.memory.take<Bits>(int64_t{whole(m)} * columns);
    const Right right = rows_summed(wide, pitch(columns), m, columns, panels, p.turned ? pass.sums + p.bias_sums : nullptr);
    multiply_add(narrow, right, rows, columns, whole(m), pass.sums + p.sums, columns);
    pass.memory.back(mark);
}

Left turned_rows(const Pass& pass, const Bits* x, int m, int width) {
    return turned(x, pitch(width), m, width, pass.memory.take<Bits>(width * turned_ld(m)));
}

// The gradient of what a projection added to the residual, to [M, n], from that of the sum; and that of its bias.
void take_slope(const Pass& pass, const Projection& p, const float* slope, int m, const Drop& drop, Bits* to) {
    float* sums = pass.sums + p.bias_sums;
    for (int row = 0; row < m; ++row) {
        for (int i = 0; i < p.n; i += 16) {
            const int64_t at = int64_t{row} * p.n + i;
            Vec y = load(slope + at);
            if (!drop.none()) y *= drop.at(static_cast<uint32_t>(at));
            store(sums + i, load(sums + i) + y);
            store_bits(to + row * pitch(p.n) + i, y);
        }
    }
}

// -- feed-forward --------------------------------------------------------------------------------------------------

struct HiddenState {
    uint32_t place;  // in the model: numbers what is dropped
    Normed normed;
    Bits* hidden;  // [M, F] after the activation, some dropped
};

float* hidden_forward(const Pass& pass, const HiddenWeights& w, const float* x, int m, HiddenState& state) {
    const Drop drop = drop_of(pass.batch.activation_dropout, pass.batch.seed, state.place + 1);
    state.normed = norm_forward(pass, w.norm, x, m);
    state.hidden = pass.rows(m, w.up.n);
    project_up(w.up, state.normed.out, m, drop, state.hidden);
    float* out = pass.wide_rows(m);
    project_onto(w.down, state.hidden, m, x, pass.drop(state.place), out);
    return out;
}

// `slope` [M, D] is the gradient of the part's result and becomes that of what it read.
void hidden_backward(const Pass& pass, const HiddenWeights& w, const HiddenState& state, int m, float* slope) {
    const Arena::Mark mark = pass.memory.mark();
    const int d = pass.d(), f = w.up.n;
    Bits *d_out = pass.rows(m, d), *d_hidden = pass.rows(m, f);
    take_slope(pass, w.down, slope, m, pass.drop(state.place), d_out);
    const float scale = 1.0f / (1.0f - pass.batch.activation_dropout);  // what was dropped is zero, as below zero
    add_gradient(pass, w.down, turned_rows(pass, d_out, m, d), state.hidden, m);
    multiply({d_out, pitch(d)}, backward_of(w.down), m, f, d, [&](int row, int column, const float* sums, int rows) {
        for (int r = 0; r < rows; ++r) {
            const int64_t at = (row + r) * pitch(f) + column;
            const Bits* hidden = state.hidden + at;
            __builtin_prefetch(hidden + BLOCK * pitch(f), 0, 2);
            const Vec a = load(sums + r * BLOCK) * scale, b = load(sums + r * BLOCK + 16) * scale;
            put(d_hidden + at, pitch(f), load_bits(hidden) > Vec{} ? a : Vec{}, load_bits(hidden + 16) > Vec{} ? b : Vec{});
        }
    });
    add_gradient(pass, w.up, turned_rows(pass, state.normed.out, m, d), d_hidden, m);
    float* d_normed = pass.wide_rows(m);
    project_back(w.up, d_hidden, m, d_normed, false);
    norm_backward(pass, w.norm, state.normed, d_normed, m, slope);
    pass.memory.back(mark);
}

}  // namespace
