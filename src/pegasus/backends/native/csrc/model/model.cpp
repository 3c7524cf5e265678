#include "model/model.h"

#include <algorithm>
#include <cmath>
#include <cstring>

PgModel::PgModel(const PgNetwork& given, int threads)
    : network(given), encoder(given.encoder, given.encoder + given.encoder_layers),
      decoder(given.decoder, given.decoder + given.decoder_layers), pool(threads) {
    space.own = std::vector<Own>(static_cast<size_t>(pool.size()));
}

bool PgModel::tokens_fit(const int64_t* tokens, int64_t count) const {
    return std::all_of(tokens, tokens + count, [&](int64_t token) { return token >= 0 && token < network.vocabulary; });
}

Rows Worker::normed(const PgNorm& norm, const float* x, int count, const Linear& next) {
    const int width = model.network.width;
    const bool alone = count <= kAlone;
    float* out = (alone ? own.normed : space.normed).room<float>(int64_t{count} * width);
    const Share rows = alone ? Share{0, count} : share(count);
    for (int row = rows.begin; row < rows.end; ++row) {
        const int64_t at = int64_t{row} * width;
        kernels.norm(x + at, norm.weight_D, norm.bias_D, model.network.norm_eps, width, out + at);
    }
    Rows made{out, width, count, {}};
    if (linear_prepares(next, count)) {
        Buffer& memory = alone ? own.prepared : space.prepared;
        made.prepared = quantized_at(memory.room<char>(quantized_bytes(count, width)), next.kind, count, width);
        linear_prepare(next, out, width, count, &made.prepared, rows.begin, rows.end);
    }
    end(PART_NORM);
    if (!alone) wait();
    return made;
}

Rows Worker::ready(const Linear& next, const float* x, int ld, int count) {
    Rows made{x, ld, count, {}};
    if (!linear_prepares(next, count)) return made;
    const bool alone = count <= kAlone;
    const Share rows = alone ? Share{0, count} : share(count);
    Buffer& memory = alone ? own.prepared : space.prepared;
    made.prepared = quantized_at(memory.room<char>(quantized_bytes(count, next.k)), next.kind, count, next.k);
    linear_prepare(next, x, ld, count, &made.prepared, rows.begin, rows.end);
    end(PART_NORM);
    if (!alone) wait();
    return made;
}

void Worker::linear(const Linear& w, const Rows& rows, float* y, int ldy, const Epilogue& epilogue) {
    constexpr int kGrain = 4, kPieces = 4;  // kernels of many rows take up to four panels at once
    const Share mine = linear_share(w, rows.count, tid, n);
    const int piece = ((mine.end - mine.begin) / kPieces + kGrain) / kGrain * kGrain;
    take(mine, piece, kGrain, [&](Share panels) {
        linear_part(w, rows.x, rows.ld, &rows.prepared, rows.count, y, ldy, epilogue, panels.begin, panels.end);
    });
}

void Worker::embed(const Linear& table, int64_t token, const float* position, float* state) const {
    linear_row(table, static_cast<int>(token), state);
    const float scale = model.network.embed_scale;
    for (int i = 0; i < model.network.width; ++i) state[i] = state[i] * scale + position[i];
}

void reserve(PgModel& model, int rows, int widest, int head_width, int length) {
    Space& space = model.space;
    const int64_t count = rows, width = model.network.width, few = std::min(rows, Worker::kAlone);
    space.states.room<float>(count * width);
    space.wide.room<float>(count * widest);
    space.mixed.room<float>(count * widest);
    space.normed.room<float>(count * width);
    space.prepared.room<char>(quantized_bytes(rows, widest));
    for (Own& own : space.own) {
        own.normed.room<float>(few * width);
        own.prepared.room<char>(quantized_bytes(static_cast<int>(few), widest));
        own.queries.room<float>(int64_t{QUERY_BLOCK} * pad_head(head_width));
        own.scratch.room<float>(attend_scratch(length));
    }
}

void scale_query(const float* from, int head_width, float* to) {
    const int padded = pad_head(head_width);
    const float scale = 1.0f / std::sqrt(static_cast<float>(head_width));
    for (int e = 0; e < head_width; ++e) to[e] = from[e] * scale;
    for (int e = head_width; e < padded; ++e) to[e] = 0.0f;
}

void gather_queries(const float* from, int64_t ld, int rows, int head_width, float* to) {
    const int padded = pad_head(head_width);
    for (int row = 0; row < rows; ++row) scale_query(from + row * ld, head_width, to + row * padded);
    const int more = (rows + 7) / 8 * 8 - rows;
    std::memset(to + rows * padded, 0, sizeof(float) * static_cast<size_t>(more) * static_cast<size_t>(padded));
}
