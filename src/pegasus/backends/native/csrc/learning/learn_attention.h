// Attention of texts to themselves or to others, there and back, a head of a text at a time. For files whose instructions include AVX-512 BF16.
#pragma once

#include "learning/learn_layers.h"

namespace {

struct AttentionState {
    uint32_t place;  // in the model: numbers what is dropped
    Normed normed;
    Bits* asked;    // [M, n]: queries, times the scaling, and behind them keys and values in self-attention
    Bits* shown;    // [M of the others, 2 D] in cross-attention, else null
    Bits* weights;  // before any is dropped; of all texts and heads, [T to 32][weights_ld(S)] each, zero where padded
    Bits* mixed;    // [M, D]
};

PG_INLINE int64_t weights_ld(int seen) { return pitch(whole(seen)); }

// One head of one text.
struct Head {
    int asks, seen;  // T, S
    int width;       // E
    bool causal;
    const Bits *queries, *keys, *values;
    int64_t ld_queries, ld_keys;
    Drop drop;  // of the weights
};

struct Parts {
    const AttentionState& state;
    int d, heads;
    bool causal;
    Texts asking, seen;

    // Where queries, keys and values of a head stand in [M, n] and [M, n of the others].
    int64_t query_at(int text, int head) const { return int64_t{asking.offsets[text]} * ld_asked() + head * (d / heads); }
    int64_t key_at(int text, int head) const {
        const int behind = state.shown != nullptr ? 0 : d;
        return int64_t{seen.offsets[text]} * ld_shown() + behind + head * (d / heads);
    }
    int64_t ld_asked() const { return pitch(state.shown != nullptr ? d : 3 * d); }
    int64_t ld_shown() const { return pitch(state.shown != nullptr ? 2 * d : 3 * d); }
    const Bits* shown() const { return state.shown != nullptr ? state.shown : state.asked; }
    int64_t weights_size(int text) const { return whole(asking.length(text)) * weights_ld(seen.length(text)); }

    Head of(const Pass& pass, int text, int head) const {
        const Drop drop = drop_of(pass.batch.attention_dropout, pass.batch.seed, state.place + 1);
        const Bits* keys = shown() + key_at(text, head);
        return {asking.length(text), seen.length(text), d / heads, causal, state.asked + query_at(text, head),
                keys, keys + d, ld_asked(), ld_shown(), drop.of(text * heads + head)};
    }
};

PG_INLINE VecInt first_numbers() { return VecInt{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}; }

// The first `seen` scores become probabilities, the rest up to `padded` zeros.
PG_INLINE void soften(float* scores, int seen, int padded, Bits* to) {
    Vec greatest = all(-INFINITY), total = {};
    for (int i = 0; i < seen; i += 16) {
        const Vec x = first_numbers() + i < seen ? load(scores + i) : all(-INFINITY);
        store(scores + i, x);
        greatest = larger(greatest, x);
    }
    const float most = greatest_of(greatest);
    for (int i = 0; i < seen; i += 16) {
        const Vec y = exp_of(load(scores + i) - most);
        store(scores + i, y);
        total += y;
    }
    const float share = 1.0f / sum_of(total);
    int i = 0;
    for (; i < seen; i += 16) store_bits(to + i, load(scores + i) * share);
    for (; i < padded; i += 16) store_bits(to + i, Vec{});
}

// left right for up to 32 rows, into scores [32][n].
PG_INLINE void score(const Left& left, const Right& right, int rows, int n, int k, float* scores) {
    multiply(left, right, rows, n, k, [&](int, int column, const float* sums, int) {
        for (int r = 0; r < BLOCK; ++r) {
            store(scores + r * n + column, load(sums + r * BLOCK));
            store(scores + r * n + column + 16, load(sums + r * BLOCK + 16));
        }
    });
}

void clear_rows(Bits* at, int64_t ld, int begin, int end, int width) {
    for (int row = begin; row < end; ++row) std::memset(at + row * ld, 0, sizeof(Bits) * width);
}

// Blocks of a product, times `scale`, rounded to `to` [., ld].
PG_INLINE auto rounded_to(Bits* to, int64_t ld, float scale) {
    return [=](int row, int column, const float* sums, int rows) {
        for (int r = 0; r < rows; ++r) {
            put(to + (row + r) * ld + column, ld, load(sums + r * BLOCK) * scale, load(sums + r * BLOCK + 16) * scale);
        }
    };
}

// A row of weights, some dropped.
PG_INLINE void drop_row(const Drop& drop, int row, const Bits* weights, int seen, Bits* to) {
    for (int i = 0; i < seen; i += 16) store_bits(to + i, load_bits(weights + i) * drop.at(row * seen + i));
}

void head_forward(const Pass& pass, const Head& h, Bits* weights, Bits* mixed) {
    const Arena::Mark mark = pass.memory.mark();
    const int seen = whole(h.seen);
    const int64_t ld = weights_ld(h.seen), size = int64_t{seen} * h.width;
    float* scores = pass.memory.take<float>(int64_t{BLOCK} * seen);
    Bits* used = h.drop.none() ? weights : pass.memory.take<Bits>(whole(h.asks) * ld);
    const Right keys = rows_as_columns(h.keys, h.ld_keys, h.seen, h.width, pass.memory.take<Bits>(size));
    for (int row = 0; row < h.asks; row += BLOCK) {
        const int rows = h.asks - row < BLOCK ? h.asks - row : BLOCK;
        score({h.queries + row * h.ld_queries, h.ld_queries}, keys, rows, seen, h.width, scores);
        for (int r = 0; r < rows; ++r) {
            Bits* at = weights + (row + r) * ld;
            soften(scores + r * seen, h.causal ? row + r + 1 : h.seen, seen, at);
            if (!h.drop.none()) drop_row(h.drop, row + r, at, seen, used + (row + r) * ld);
        }
    }
    clear_rows(weights, ld, h.asks, whole(h.asks), seen);
    const Right values = rows_summed(h.values, h.ld_keys, h.seen, h.width, pass.memory.take<Bits>(size), nullptr);
    multiply({used, ld}, values, h.asks, h.width, seen, rounded_to(mixed, pitch(pass.d()), 1.0f));
    pass.memory.back(mark);
}

// What the gradient of a row of weights says about the scores: p (g - sum of p g), into `to`.
PG_INLINE void slope_of_scores(float* slopes, const Bits* weights, int seen, const Drop& drop, int row, Bits* to) {
    Vec total = {};
    for (int i = 0; i < seen; i += 16) {
        Vec slope = load(slopes + i);
        if (!drop.none()) store(slopes + i, slope *= drop.at(row * seen + i));
        total += slope * load_bits(weights + i);
    }
    const float level = sum_of(total);
    for (int i = 0; i < seen; i += 16) store_bits(to + i, load_bits(weights + i) * (load(slopes + i) - level));
}

// Gradients of a head's queries, keys and values, from that of what it mixed.
struct HeadSlopes {
    const Bits* mixed;  // [T, D]
    Bits *queries, *keys, *values;
    int64_t ld_queries, ld_keys;
};

void head_backward(const Pass& pass, const Head& h, const Bits* weights, const HeadSlopes& slopes, float scaling) {
    const Arena::Mark mark = pass.memory.mark();
    const int seen = whole(h.seen), asks = whole(h.asks);
    const int64_t ld_mixed = pitch(pass.d());
    const int64_t ld = weights_ld(h.seen), size = int64_t{seen} * h.width, asked = int64_t{asks} * h.width;
    float* scores = pass.memory.take<float>(int64_t{BLOCK} * seen);
    Bits* d_scores = pass.memory.take<Bits>((asks + SLACK) * ld);
    Bits* dropped = h.drop.none() ? nullptr : pass.memory.take<Bits>(asks * ld);
    const Right values = rows_as_columns(h.values, h.ld_keys, h.seen, h.width, pass.memory.take<Bits>(size));
    for (int row = 0; row < h.asks; row += BLOCK) {
        const int rows = h.asks - row < BLOCK ? h.asks - row : BLOCK;
        score({slopes.mixed + row * ld_mixed, ld_mixed}, values, rows, seen, h.width, scores);
        for (int r = 0; r < rows; ++r) {
            const Bits* at = weights + (row + r) * ld;
            slope_of_scores(scores + r * seen, at, seen, h.drop, row + r, d_scores + (row + r) * ld);
            if (dropped != nullptr) drop_row(h.drop, row + r, at, seen, dropped + (row + r) * ld);
        }
    }
    clear_rows(d_scores, ld, h.asks, asks, seen);
    const Right keys = rows_summed(h.keys, h.ld_keys, h.seen, h.width, pass.memory.take<Bits>(size), nullptr);
    multiply({d_scores, ld}, keys, h.asks, h.width, seen, rounded_to(slopes.queries, slopes.ld_queries, scaling));

    const Right queries =
        rows_summed(h.queries, h.ld_queries, h.asks, h.width, pass.memory.take<Bits>(asked), nullptr);
    Bits* space = pass.memory.take<Bits>(seen * turned_ld(h.asks));
    const auto to_keys = rounded_to(slopes.keys, slopes.ld_keys, 1.0f);
    multiply(turned(d_scores, ld, h.asks, seen, space), queries, h.seen, h.width, asks, to_keys);
    const Right mixed = rows_summed(slopes.mixed, ld_mixed, h.asks, h.width, pass.memory.take<Bits>(asked), nullptr);
    const auto to_values = rounded_to(slopes.values, slopes.ld_keys, 1.0f);
    const Bits* used = dropped == nullptr ? weights : dropped;
    multiply(turned(used, ld, h.asks, seen, space), mixed, h.seen, h.width, asks, to_values);
    pass.memory.back(mark);
}

struct AttentionPlan {
    const AttentionWeights& w;
    int heads;
    bool causal;
    Texts asking, seen;
    const Bits* others;  // [M of the others, D] in cross-attention, else null
};

float scaling_of(const Pass& pass, const AttentionPlan& plan) {
    return 1.0f / __builtin_sqrtf(static_cast<float>(pass.d() / plan.heads));
}

float* attention_forward(const Pass& pass, const AttentionPlan& plan, const float* x, AttentionState& state) {
    const int d = pass.d(), m = plan.asking.total(), others = plan.seen.total();
    state.normed = norm_forward(pass, plan.w.norm, x, m);
    state.asked = pass.rows(m, plan.w.asks.n);
    state.shown = nullptr;
    project(plan.w.asks, state.normed.out, m, state.asked, d, scaling_of(pass, plan));
    if (plan.others != nullptr) {
        state.shown = pass.rows(others, plan.w.shows.n);
        project(plan.w.shows, plan.others, others, state.shown, 0, 1.0f);
    }
    state.mixed = pass.rows(m, d);
    const Parts parts{state, d, plan.heads, plan.causal, plan.asking, plan.seen};
    int64_t size = 0;
    for (int text = 0; text < plan.asking.count; ++text) size += parts.weights_size(text) * plan.heads;
    Bits* weights = state.weights = pass.memory.take<Bits>(size + SLACK);
    for (int text = 0; text < plan.asking.count; ++text) {
        for (int head = 0; head < plan.heads; ++head, weights += parts.weights_size(text)) {
            Bits* mixed = state.mixed + plan.asking.offsets[text] * pitch(d) + head * (d / plan.heads);
            head_forward(pass, parts.of(pass, text, head), weights, mixed);
        }
    }
    float* out = pass.wide_rows(m);
    project_onto(plan.w.out, state.mixed, m, x, pass.drop(state.place), out);
    return out;
}

// `slope` [M, D] is the gradient of the part's result and becomes that of what it read; that of the others' states is
// added to `d_others`, of which `others_turned` are the turned rows.
void attention_backward(const Pass& pass, const AttentionPlan& plan, const AttentionState& state, float* slope,
                        const Left& others_turned, float* d_others) {
    const Arena::Mark mark = pass.memory.mark();
    const int d = pass.d(), m = plan.asking.total(), others = plan.seen.total();
    Bits *d_out = pass.rows(m, d), *d_mixed = pass.rows(m, d), *d_asked = pass.rows(m, plan.w.asks.n);
    Bits* d_shown = state.shown == nullptr ? d_asked : pass.rows(others, plan.w.shows.n);
    take_slope(pass, plan.w.out, slope, m, pass.drop(state.place), d_out);
    add_gradient(pass, plan.w.out, turned_rows(pass, d_out, m, d), state.mixed, m);
    multiply({d_out, pitch(d)}, backward_of(plan.w.out), m, d, d, rounded_to(d_mixed, pitch(d), 1.0f));

    const Parts parts{state, d, plan.heads, plan.causal, plan.asking, plan.seen};
    const Bits* weights = state.weights;
    for (int text = 0; text < plan.asking.count; ++text) {
        for (int head = 0; head < plan.heads; ++head, weights += parts.weights_size(text)) {
            Bits* keys = d_shown + parts.key_at(text, head);
            const HeadSlopes slopes{d_mixed + plan.asking.offsets[text] * pitch(d) + head * (d / plan.heads),
                                    d_asked + parts.query_at(text, head), keys, keys + d, parts.ld_asked(),
                                    parts.ld_shown()};
            head_backward(pass, parts.of(pass, text, head), weights, slopes, scaling_of(pass, plan));
        }
    }
    add_gradient(pass, plan.w.asks, turned_rows(pass, state.normed.out, m, d), d_asked, m);
    if (state.shown != nullptr) {
        add_gradient(pass, plan.w.shows, others_turned, d_shown, others);
        project_back(plan.w.shows, d_shown, others, d_others, true);
    }
    float* d_normed = pass.wide_rows(m);
    project_back(plan.w.asks, d_asked, m, d_normed, false);
    norm_backward(pass, plan.w.norm, state.normed, d_normed, m, slope);
    pass.memory.back(mark);
}

}  // namespace
