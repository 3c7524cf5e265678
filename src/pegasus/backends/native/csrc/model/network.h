// A model as Python describes it: weights, packed, and how they fit together. `records.py` has the other side.
//
// Axes: H heads, E head width, I = H * E, D model, F feed-forward, V vocabulary.
#pragma once

#include <cstdint>

#include "linear/linear.h"

struct PgNorm {
    const float* weight_D;
    const float* bias_D;
};

struct PgEncoderLayer {
    int32_t heads;
    PgNorm attention_norm;
    Linear qkv;  // [3 I, D]: queries, keys, values, one below the other, not scaled
    Linear out;  // [D, I]
    PgNorm ffn_norm;
    Linear fc1;  // [F, D]
    Linear fc2;  // [D, F]
};

struct PgDecoderLayer {
    int32_t heads;
    int32_t cross_heads;  // 0: a layer without cross-attention
    PgNorm attention_norm;
    Linear qkv;
    Linear out;
    PgNorm cross_norm;
    Linear cross_q;   // [I, D]
    Linear cross_kv;  // [2 I, D]: keys, then values
    Linear cross_out;
    PgNorm ffn_norm;
    Linear fc1;
    Linear fc2;
};

struct PgNetwork {
    int32_t width;               // D
    int32_t vocabulary;          // V
    int32_t encoder_head_width;  // E of the encoder
    int32_t decoder_head_width;
    int32_t activation;          // ACTIVATION_* of linear.h
    int32_t kv_kind;             // PG_KV_* of kernels.h
    float embed_scale;
    float norm_eps;
    int32_t encoder_layers;  // 0: no encoder
    int32_t decoder_layers;  // 0: no decoder
    const PgEncoderLayer* encoder;
    const PgDecoderLayer* decoder;
    PgNorm encoder_norm;
    PgNorm decoder_norm;
    Linear encoder_tokens;  // [V, D], of which rows are taken
    Linear decoder_tokens;
    Linear head;  // [V, D]; its bias is final_logits_bias
};
