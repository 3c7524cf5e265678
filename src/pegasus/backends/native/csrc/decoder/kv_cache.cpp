// The KV cache of self-attention.
#include "decoder/kv_cache.h"

#include <algorithm>
#include <cstdlib>

KvCache::KvCache(const PgModel& model) {
    int64_t heads = 0;
    for (const PgDecoderLayer& layer : model.decoder) {
        heads_before_.push_back(heads);
        heads += layer.heads;
    }
    const int padded = pad_head(model.network.decoder_head_width);
    head_bytes_ = (int64_t{1} << kShift) * padded * kKvBytes[model.network.kv_kind];
    chunk_bytes_ = std::max<int64_t>(heads, 1) * 2 * head_bytes_;
}

KvCache::~KvCache() {
    for (char* chunk : chunks_) std::free(chunk);
}

void KvCache::reserve(int rows, int tokens) {
    const int positions = length_ + tokens;
    if (positions > capacity_ || int64_t{rows} * capacity_ > static_cast<int64_t>(spare_.size())) {
        const int wider = std::max(capacity_, (positions + 63) / 64 * 64);
        spare_.resize(static_cast<size_t>(std::max(rows, rows_)) * static_cast<size_t>(wider));
        for (int row = 0; row < rows_; ++row) {
            std::copy_n(lines_.data() + int64_t{row} * capacity_, length_, spare_.data() + int64_t{row} * wider);
        }
        lines_.resize(spare_.size());
        lines_.swap(spare_);
        capacity_ = wider;
    }
    slots_before_.reserve(static_cast<size_t>(positions) + 1);
    const int64_t slots = int64_t{slots_before_.back()} + int64_t{rows} * tokens;
    while (static_cast<int64_t>(chunks_.size()) << kShift < slots) {
        chunks_.reserve(chunks_.size() + 1);
        chunks_.push_back(static_cast<char*>(large_alloc(chunk_bytes_)));
    }
}

void KvCache::keep(int positions) {
    if (positions >= length_) return;
    length_ = positions;
    slots_before_.resize(static_cast<size_t>(positions) + 1);
}

void KvCache::follow(const int64_t* parents_R, int rows) {
    if (parents_R != nullptr) {
        for (int row = 0; row < rows; ++row) {
            std::copy_n(ancestors(static_cast<int>(parents_R[row])), length_, spare_.data() + int64_t{row} * capacity_);
        }
        lines_.swap(spare_);
    }
    rows_ = rows;
}

void KvCache::extend(int tokens) {
    for (int i = 0; i < tokens; ++i, ++length_) {
        const int32_t first = slots_before_.back();
        for (int row = 0; row < rows_; ++row)
            lines_[static_cast<size_t>(int64_t{row} * capacity_ + length_)] = first + row;
        slots_before_.push_back(first + rows_);
    }
}

int64_t KvCache::keys_at(int layer, int head) const {
    return (heads_before_[static_cast<size_t>(layer)] + head) * 2 * head_bytes_;
}

int64_t KvCache::values_at(int layer, int head) const { return keys_at(layer, head) + head_bytes_; }
