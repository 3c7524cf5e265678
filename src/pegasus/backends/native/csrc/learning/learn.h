// One step of learning: a batch in, the loss and the gradients of all weights out. In bfloat16 products, for one
// thread at a time; threads take parts of a batch, each with sums of its own.
//
// Axes: M tokens of all texts behind each other without padding, D model, F feed-forward, V vocabulary, E head width,
// S tokens of a text that are looked at, T tokens that look.
//
// Weights are numbered as the caller lists them: the embedding [V, D]; of each encoder layer
// query, key, value, output (weight [D, D] and bias), norm (weight and bias), fc1 [F, D], fc2 [D, F] (with biases),
// norm; the encoder's last norm; of each decoder layer self-attention as above and its norm, cross-attention and its
// norm, fc1, fc2, norm; the decoder's last norm.
#pragma once

#include <cstdint>

struct LearnShape {
    int32_t width, encoder_heads, decoder_heads, encoder_layers, decoder_layers, encoder_hidden, decoder_hidden;
    int32_t vocabulary;
    int32_t pad;      // the token whose embedding does not learn
    float scale;      // of embeddings
    float eps;        // of norms
};

// Texts of one part of a batch. Offsets have one entry more than there are texts.
struct LearnBatch {
    int32_t texts, mlm_tokens;  // mlm_tokens: tokens of sources that are hidden and learned (MLM)
    const int32_t* source_offsets;
    const int32_t* source;            // [M]
    const int32_t* source_positions;  // [M] rows of `positions`
    const float* positions;           // [., D] of the encoder
    const int32_t* mlm_places;    // [mlm_tokens] in [0, M)
    const int32_t* mlm_labels;
    const int32_t* target_offsets;
    const int32_t* target;  // what the decoder reads
    const float* target_positions;  // [., D] of the decoder
    const int32_t* labels;  // what it is to say; below 0: not counted
    const float* logit_bias;  // [V] or null
    float target_scale, mlm_scale;  // what the sums are multiplied by in the loss
    float smoothing;                    // of the target's loss
    int32_t learns;                     // 0: only the sums
    float dropout, attention_dropout, activation_dropout;  // what share becomes zero; the rest is scaled up
    uint32_t seed;                                         // which it is
};

struct PgLearn;  // weights made ready, and each worker's sums
