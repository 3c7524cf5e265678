// One part of a batch through the whole model and back. Included by one file for each way of multiplying.
#pragma once

#include "learning/learn_attention.h"

namespace {

constexpr int HEAD_TOKENS = 512;  // whose slopes of all logits exist at a time
constexpr int LOGIT_ROWS = 64;    // whose logits do

// -- the output layer ----------------------------------------------------------------------------------------------

struct Loss {
    int vocabulary;
    const float* bias;  // [V] or null
    float scale;
    float smoothing;
};

// The loss of one token; its logits [V] become the slopes, times the scale, in `slopes` [V to 32].
double lose(const Loss& loss, float* logits, int label, Bits* slopes) {
    const int v = loss.vocabulary, padded = whole(v);
    for (int i = v; i < padded; ++i) logits[i] = -INFINITY;
    Vec greatest = all(-INFINITY), total = {};
    for (int i = 0; i < padded; i += 16) greatest = larger(greatest, load(logits + i));
    const float most = greatest_of(greatest), right = logits[label];
    double sum = 0;  // of all logits, which smoothing asks for
    if (loss.smoothing > 0) {
        for (int i = 0; i < v; ++i) sum += logits[i];
    }
    for (int i = 0; i < padded; i += 16) {
        const Vec y = exp_of(load(logits + i) - most);
        store(logits + i, y);
        total += y;
    }
    const float whole_sum = sum_of(total);
    const double level = static_cast<double>(most) + __builtin_log(static_cast<double>(whole_sum));
    const float share = loss.scale / whole_sum, even = loss.scale * loss.smoothing / static_cast<float>(v);
    if (slopes != nullptr) {
        const float at_label = logits[label] * share - even - loss.scale * (1.0f - loss.smoothing);
        for (int i = 0; i < padded; i += 16) store_bits(slopes + i, load(logits + i) * share - even);
        alignas(64) float one[16] = {at_label};
        alignas(32) Bits rounded_one[16];
        store_bits(rounded_one, load(one));
        slopes[label] = rounded_one[0];
        for (int i = v; i < padded; ++i) slopes[i] = 0;
    }
    const double spread = loss.smoothing > 0 ? loss.smoothing * (level - sum / v) : 0.0;
    return (1.0 - static_cast<double>(loss.smoothing)) * (level - static_cast<double>(right)) + spread;
}

// The summed loss of `count` tokens of which the states are gathered in `states` [count, D]; the gradient of these into
// `d_states` [count, D] float32 where that is not null.
double head(const Pass& pass, const Projection& w, const Loss& loss, const Bits* states, const int32_t* labels, int count,
            float* d_states) {
    const int d = pass.d(), padded = whole(loss.vocabulary);
    double sum = 0;
    for (int begin = 0; begin < count; begin += HEAD_TOKENS) {
        const Arena::Mark mark = pass.memory.mark();
        const int rows = count - begin < HEAD_TOKENS ? count - begin : HEAD_TOKENS;
        const Bits* x = states + begin * pitch(d);
        float* logits = pass.memory.take<float>(int64_t{LOGIT_ROWS} * padded);
        Bits* slopes = d_states == nullptr ? nullptr : pass.memory.take<Bits>(int64_t{whole(rows) + SLACK} * padded);
        for (int row = 0; row < rows; row += LOGIT_ROWS) {
            const int some = rows - row < LOGIT_ROWS ? rows - row : LOGIT_ROWS;
            multiply({x + row * pitch(d), pitch(d)}, forward_of(w), some, padded, d,
                     [&](int r0, int column, const float* sums, int) {
                         for (int r = 0; r < BLOCK && r0 + r < some; ++r) {
                             float* at = logits + int64_t{r0 + r} * padded + column;
                             store(at, load(sums + r * BLOCK));
                             store(at + 16, load(sums + r * BLOCK + 16));
                         }
                     });
            for (int r = 0; r < some; ++r) {
                float* at = logits + int64_t{r} * padded;
                for (int i = 0; loss.bias != nullptr && i < loss.vocabulary; ++i) at[i] += loss.bias[i];
                Bits* to = slopes == nullptr ? nullptr : slopes + int64_t{row + r} * padded;
                sum += lose(loss, at, labels[begin + row + r], to);
            }
        }
        if (d_states != nullptr) {
            float* to = d_states + int64_t{begin} * d;
            multiply({slopes, padded}, backward_of(w), rows, d, padded,
                     [&](int row, int column, const float* sums, int some) {
                         for (int r = 0; r < some; ++r) {
                             put(to + int64_t{row + r} * d + column, d, load(sums + r * BLOCK),
                                 load(sums + r * BLOCK + 16));
                         }
                     });
            Bits* panels = pass.memory.take<Bits>(int64_t{whole(rows)} * padded);
            const Right right = rows_summed(slopes, padded, rows, padded, panels, nullptr);
            multiply_add(turned_rows(pass, x, rows, d), right, d, padded, whole(rows), pass.sums + w.sums, padded);
        }
        pass.memory.back(mark);
    }
    return sum;
}

// The loss of the tokens at `places` of `states` [M, D]; to `slope` [M, D] their gradient is added.
double head_at(const Pass& pass, const Learn& learn, const Loss& loss, const Bits* states, const int32_t* places,
               const int32_t* labels, int count, float* slope) {
    const Arena::Mark mark = pass.memory.mark();
    const int d = pass.d();
    Bits* gathered = pass.rows(count, d);
    for (int i = 0; i < count; ++i) {
        std::memcpy(gathered + i * pitch(d), states + places[i] * pitch(d), sizeof(Bits) * d);
    }
    float* found = slope == nullptr ? nullptr : pass.wide_rows(count);
    const double sum = head(pass, learn.head, loss, gathered, labels, count, found);
    for (int i = 0; slope != nullptr && i < count; ++i) {
        float* to = slope + int64_t{places[i]} * d;
        for (int j = 0; j < d; j += 16) store(to + j, load(to + j) + load(found + int64_t{i} * d + j));
    }
    pass.memory.back(mark);
    return sum;
}

// -- the input layer -------------------------------------------------------------------------------------------------

// What is dropped has places in the model: the embeddings of both stacks, and two numbers for each part of a layer.
constexpr uint32_t SOURCE_PLACE = 0, TARGET_PLACE = 1, ENCODER_PLACE = 16, DECODER_PLACE = 1u << 16, LAYER_PLACES = 8;

PG_INLINE uint32_t place_of(uint32_t stack, int layer, uint32_t part) { return stack + layer * LAYER_PLACES + part * 2; }

// Token t of text i stands at position `positions[t]`, or, where that is null, at its place in the text.
float* embed(const Pass& pass, const float* table, const Texts& texts, const int32_t* tokens, const float* rows,
             const int32_t* positions, const Drop& drop) {
    const int d = pass.d();
    float* out = pass.wide_rows(texts.total());
    for (int text = 0; text < texts.count; ++text) {
        for (int t = texts.offsets[text]; t < texts.offsets[text + 1]; ++t) {
            const int place = positions == nullptr ? t - texts.offsets[text] : positions[t];
            const float *from = table + int64_t{tokens[t]} * d, *row = rows + int64_t{place} * d;
            float* to = out + int64_t{t} * d;
            for (int i = 0; i < d; i += 16) {
                const Vec y = load(from + i) * pass.shape.scale + load(row + i);
                store(to + i, drop.none() ? y : y * drop.at(t * d + i));
            }
        }
    }
    return out;
}

void embed_back(const Pass& pass, const Learn& learn, const int32_t* tokens, int m, const float* slope, const Drop& drop) {
    const int d = pass.d();
    for (int t = 0; t < m; ++t) {
        float* to = pass.sums + learn.embedding_sums + int64_t{tokens[t]} * d;
        const float* from = slope + int64_t{t} * d;
        for (int i = 0; i < d; i += 16) {
            const Vec y = load(from + i) * pass.shape.scale;
            store(to + i, load(to + i) + (drop.none() ? y : y * drop.at(t * d + i)));
        }
    }
}

// -- the stacks --------------------------------------------------------------------------------------------------------

struct EncoderTrace {
    AttentionState* attention;  // of each layer
    HiddenState* hidden;
    Normed normed;
};

struct DecoderTrace {
    AttentionState *self, *cross;  // of each layer
    HiddenState* hidden;
    Normed normed;
};

AttentionPlan encoder_plan(const Learn& learn, int layer, const Texts& source) {
    return {learn.encoder[layer].self, learn.shape.encoder_heads, false, source, source, nullptr};
}

AttentionPlan self_plan(const Learn& learn, int layer, const Texts& target) {
    return {learn.decoder[layer].self, learn.shape.decoder_heads, true, target, target, nullptr};
}

AttentionPlan cross_plan(const Learn& learn, int layer, const Texts& target, const Texts& source, const Bits* encoded) {
    return {learn.decoder[layer].cross, learn.shape.decoder_heads, false, target, source, encoded};
}

template <class State>
State* zeroed(const Pass& pass, int layers) {
    State* states = pass.memory.take<State>(layers);
    for (int i = 0; i < layers; ++i) states[i] = State{};
    return states;
}

EncoderTrace encode(const Pass& pass, const Learn& learn, const Texts& source, const float* x) {
    const int layers = learn.encoder.count, m = source.total();
    EncoderTrace trace{zeroed<AttentionState>(pass, layers), zeroed<HiddenState>(pass, layers), {}};
    for (int i = 0; i < layers; ++i) {
        trace.attention[i].place = place_of(ENCODER_PLACE, i, 0);
        trace.hidden[i].place = place_of(ENCODER_PLACE, i, 1);
        x = attention_forward(pass, encoder_plan(learn, i, source), x, trace.attention[i]);
        x = hidden_forward(pass, learn.encoder[i].hidden, x, m, trace.hidden[i]);
    }
    trace.normed = norm_forward(pass, learn.encoder_norm, x, m);
    return trace;
}

// `slope` [M, D] is the gradient of the residual after the last layer and becomes that of the embeddings.
void encode_back(const Pass& pass, const Learn& learn, const Texts& source, const EncoderTrace& trace, float* slope) {
    for (int i = learn.encoder.count - 1; i >= 0; --i) {
        hidden_backward(pass, learn.encoder[i].hidden, trace.hidden[i], source.total(), slope);
        attention_backward(pass, encoder_plan(learn, i, source), trace.attention[i], slope, {}, nullptr);
    }
}

DecoderTrace decode(const Pass& pass, const Learn& learn, const Texts& target, const Texts& source, const Bits* encoded,
                    const float* x) {
    const int layers = learn.decoder.count, m = target.total();
    DecoderTrace trace{zeroed<AttentionState>(pass, layers), zeroed<AttentionState>(pass, layers),
                       zeroed<HiddenState>(pass, layers), {}};
    for (int i = 0; i < layers; ++i) {
        trace.self[i].place = place_of(DECODER_PLACE, i, 0);
        trace.cross[i].place = place_of(DECODER_PLACE, i, 1);
        trace.hidden[i].place = place_of(DECODER_PLACE, i, 2);
        x = attention_forward(pass, self_plan(learn, i, target), x, trace.self[i]);
        x = attention_forward(pass, cross_plan(learn, i, target, source, encoded), x, trace.cross[i]);
        x = hidden_forward(pass, learn.decoder[i].hidden, x, m, trace.hidden[i]);
    }
    trace.normed = norm_forward(pass, learn.decoder_norm, x, m);
    return trace;
}

void decode_back(const Pass& pass, const Learn& learn, const Texts& target, const Texts& source,
                 const DecoderTrace& trace, const Bits* encoded, float* slope, float* d_encoded) {
    const Left encoded_turned = turned_rows(pass, encoded, source.total(), pass.d());
    for (int i = learn.decoder.count - 1; i >= 0; --i) {
        hidden_backward(pass, learn.decoder[i].hidden, trace.hidden[i], target.total(), slope);
        attention_backward(pass, cross_plan(learn, i, target, source, encoded), trace.cross[i], slope, encoded_turned,
                           d_encoded);
        attention_backward(pass, self_plan(learn, i, target), trace.self[i], slope, {}, nullptr);
    }
}

// Zeros [M, D], or null where nothing learns.
float* no_slope(const Pass& pass, int m) {
    if (pass.sums == nullptr) return nullptr;
    float* found = pass.wide_rows(m);
    std::memset(found, 0, sizeof(float) * m * pass.d());
    return found;
}

// What the decoder says: its loss, and the gradient of the encoder's states.
double learn_target(const Pass& pass, const Learn& learn, const LearnBatch& batch, const Texts& source,
                    const Bits* encoded, float* d_encoded) {
    const Texts target{batch.texts, batch.target_offsets};
    const int m = target.total();
    const float* x = embed(pass, learn.embedding, target, batch.target, batch.target_positions, nullptr,
                           pass.drop(TARGET_PLACE));
    const DecoderTrace trace = decode(pass, learn, target, source, encoded, x);
    int32_t* places = pass.memory.take<int32_t>(m);
    int32_t* labels = pass.memory.take<int32_t>(m);
    int count = 0;
    for (int t = 0; t < m; ++t) {
        if (batch.labels[t] < 0) continue;
        places[count] = t;
        labels[count++] = batch.labels[t];
    }
    float* d_states = no_slope(pass, m);
    const Loss loss{learn.shape.vocabulary, batch.logit_bias, batch.target_scale, batch.smoothing};
    const double sum = head_at(pass, learn, loss, trace.normed.out, places, labels, count, d_states);
    if (d_states == nullptr) return sum;
    float* slope = no_slope(pass, m);
    norm_backward(pass, learn.decoder_norm, trace.normed, d_states, m, slope);
    decode_back(pass, learn, target, source, trace, encoded, slope, d_encoded);
    embed_back(pass, learn, batch.target, m, slope, pass.drop(TARGET_PLACE));
    return sum;
}

void run(const Learn& learn, LearnWorker& worker, const LearnBatch& batch, double* sums) {
    [[maybe_unused]] const Multiplying multiplying;
    worker.memory.reset();
    const Pass pass{learn.shape, batch, worker.memory, batch.learns ? worker.sums : nullptr};
    const Texts source{batch.texts, batch.source_offsets};
    const int m = source.total();
    const float* x = embed(pass, learn.embedding, source, batch.source, batch.positions, batch.source_positions,
                           pass.drop(SOURCE_PLACE));
    const EncoderTrace trace = encode(pass, learn, source, x);
    float* d_encoded = no_slope(pass, m);
    if (batch.target_offsets[batch.texts] > 0) {
        sums[0] += learn_target(pass, learn, batch, source, trace.normed.out, d_encoded);
    }
    if (batch.mlm_tokens > 0) {
        const Loss loss{learn.shape.vocabulary, batch.logit_bias, batch.mlm_scale, 0.0f};
        sums[1] += head_at(pass, learn, loss, trace.normed.out, batch.mlm_places, batch.mlm_labels, batch.mlm_tokens,
                           d_encoded);
    }
    if (d_encoded == nullptr) return;
    float* slope = no_slope(pass, m);
    norm_backward(pass, learn.encoder_norm, trace.normed, d_encoded, m, slope);
    encode_back(pass, learn, source, trace, slope);
    embed_back(pass, learn, batch.source, m, slope, pass.drop(SOURCE_PLACE));
}

}  // namespace
