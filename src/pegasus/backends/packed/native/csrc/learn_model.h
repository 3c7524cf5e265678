// What a step of learning works with: weights in two packed forms, memory for one part of a batch, sums of gradients.
//
// Files for special instructions include this, so nothing here may be a template of the standard library over types
// that other files use too: the linker could give them the copy that was compiled for these instructions.
#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "learn.h"

typedef uint16_t Bits;  // a bfloat16

inline int whole(int n) { return (n + 31) & ~31; }  // to a multiple of 32: two tiles, two vectors

void* large_alloc(int64_t bytes);  // see model.h

// Aligned memory that grows; what it gives out stays until `reset`, and comes unfilled.
class Arena {
public:
    Arena() = default;
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;
    ~Arena() {
        for (const Chunk& chunk : chunks_) std::free(chunk.at);
    }

    template <class T>
    T* take(int64_t count) {
        const int64_t bytes = (count * static_cast<int64_t>(sizeof(T)) + 127) & ~int64_t{63};
        while (used_ < chunks_.size() && chunks_[used_].filled + bytes > chunks_[used_].size) ++used_;
        if (used_ == chunks_.size()) {
            const int64_t size = bytes > kChunk ? bytes : kChunk;
            chunks_.push_back({static_cast<uint8_t*>(large_alloc(size)), size, 0});
        }
        Chunk& chunk = chunks_[used_];
        T* found = reinterpret_cast<T*>(chunk.at + chunk.filled);
        chunk.filled += bytes;
        return found;
    }

    void reset() {
        for (Chunk& chunk : chunks_) chunk.filled = 0;
        used_ = 0;
    }

    // Where it stands, to give back what was taken since.
    struct Mark {
        size_t chunk;
        int64_t filled;
    };
    Mark mark() const { return {used_, used_ < chunks_.size() ? chunks_[used_].filled : 0}; }
    void back(const Mark& mark) {
        for (size_t i = mark.chunk; i < chunks_.size(); ++i) chunks_[i].filled = i == mark.chunk ? mark.filled : 0;
        used_ = mark.chunk;
    }

private:
    static constexpr int64_t kChunk = int64_t{32} << 20;
    struct Chunk {
        uint8_t* at;
        int64_t size;
        int64_t filled;
    };
    std::vector<Chunk> chunks_;
    size_t used_ = 0;
};

// One or more linear layers side by side that read the same numbers: query, key and value are one product.
//
// Sums of the gradient stand as [n, k] of the layers where the tokens' gradient is the narrow side of the product that
// makes them, else turned, [k, n]: the narrow side is the one that has to be turned for it.
struct Projection {
    int first = 0;  // number of the first weight; its bias and the other layers follow
    int layers = 1;
    int n = 0;  // outputs of all layers together
    int k = 0;
    bool turned = false;
    bool biased = true;
    int64_t sums = 0;       // where a worker keeps the gradient [n, k] or [k, n]
    int64_t bias_sums = 0;  // [n]
    Bits* forward = nullptr;   // panels of 16 outputs
    Bits* backward = nullptr;  // panels of 16 inputs
    float* bias = nullptr;
};

struct Norm {
    int first = 0;
    int64_t sums = 0;  // [2, D]: weight, bias
    const float* weight = nullptr;
    const float* bias = nullptr;
};

struct AttentionWeights {
    Projection asks;   // query, key and value; in cross-attention the query
    Projection shows;  // in cross-attention key and value; else empty
    Projection out;
    Norm norm;
};

struct HiddenWeights {
    Projection up, down;
    Norm norm;
};

struct LearnLayer {
    AttentionWeights self, cross;
    HiddenWeights hidden;
};

struct LearnWorker {
    explicit LearnWorker(int64_t size) : sums(memory_of_sums.take<float>(size)) { std::memset(sums, 0, sizeof(float) * size); }
    Arena memory, memory_of_sums;
    float* sums;
};

struct Learn {
    LearnShape shape{};
    int weights = 0;  // how many there are
    int64_t size = 0;  // numbers in a worker's sums
    std::vector<LearnLayer> encoder, decoder;
    Norm encoder_norm, decoder_norm;
    Projection head;              // the embedding as the output layer
    int64_t embedding_sums = 0;   // [V, D] as the input layer
    const float* embedding = nullptr;
    std::vector<Projection*> projections;
    std::vector<Norm*> norms;
    Arena packed;
    std::vector<std::unique_ptr<LearnWorker>> workers;
};

// In learn_pack_avx512bf16.cpp: part `part` of `parts` of the weights made ready; of the sums, all workers' added, into
// `gradients` (null where a weight does not learn), after which the sums are zero.
void learn_pack(Learn& learn, const float* const* weights, int part, int parts);
void learn_collect(Learn& learn, float* const* gradients, int part, int parts);
void learn_collect_embedding(Learn& learn, float* const* gradients);  // after all parts

// In learn_step_*.cpp: the sums of the losses of target and covered tokens.
void learn_run_avx512bf16(const Learn& learn, LearnWorker& worker, const LearnBatch& batch, double* sums);
void learn_run_amx(const Learn& learn, LearnWorker& worker, const LearnBatch& batch, double* sums);
