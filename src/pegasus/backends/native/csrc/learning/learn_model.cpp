// Memory for learning: see learn_model.h.
#include "learning/learn_model.h"

#include <algorithm>
#include <cstdlib>

#include "cpu/large_memory.h"

namespace {

constexpr int64_t kChunk = int64_t{32} << 20;

}  // namespace

Arena::Arena() = default;

Arena::~Arena() {
    for (const Chunk& chunk : chunks_) std::free(chunk.at);
}

void* Arena::take_bytes(int64_t count) {
    const int64_t bytes = (count + 127) & ~int64_t{63};
    while (used_ < chunks_.size() && chunks_[used_].filled + bytes > chunks_[used_].size) ++used_;
    if (used_ == chunks_.size()) {
        const int64_t size = std::max(bytes, kChunk);
        chunks_.reserve(chunks_.size() + 1);
        chunks_.push_back({static_cast<uint8_t*>(large_alloc(size)), size, 0});
    }
    Chunk& chunk = chunks_[used_];
    uint8_t* found = chunk.at + chunk.filled;
    chunk.filled += bytes;
    return found;
}

void Arena::reset() {
    for (Chunk& chunk : chunks_) chunk.filled = 0;
    used_ = 0;
}

Arena::Mark Arena::mark() const { return {used_, used_ < chunks_.size() ? chunks_[used_].filled : 0}; }

void Arena::back(const Mark& mark) {
    for (size_t i = mark.chunk; i < chunks_.size(); ++i) chunks_[i].filled = i == mark.chunk ? mark.filled : 0;
    used_ = mark.chunk;
}

LearnWorker::LearnWorker(int64_t size) : sums(memory_of_sums.take<float>(size)) {
    std::memset(sums, 0, sizeof(float) * static_cast<size_t>(size));
}
