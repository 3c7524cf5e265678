// What a step of learning works with: weights in two packed forms, memory for one part of a batch, sums of gradients.
//
// Files for special instructions include this, so no function in it may be one that the linker shares between files: it
// could keep the copy that was compiled for these instructions. Functions are forced inline or stand in
// learn_model.cpp, and what the owner keeps in vectors is seen here as rows.
#pragma once

#include <cstring>
#include <vector>

#include "cpu/compiler.h"
#include "learning/learn.h"

typedef uint16_t Bits;  // a bfloat16

PG_INLINE int whole(int n) { return (n + 31) & ~31; }  // to a multiple of 32: two tiles, two vectors

// Aligned memory that grows; what it gives out stays until `reset`, and comes unfilled.
class Arena {
public:
    Arena();
    ~Arena();
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;

    // Throws std::bad_alloc.
    template <class T>
    PG_INLINE T* take(int64_t count) {
        return static_cast<T*>(take_bytes(count * static_cast<int64_t>(sizeof(T))));
    }

    void reset();

    // Where it stands, to give back what was taken since.
    struct Mark {
        size_t chunk;
        int64_t filled;
    };
    Mark mark() const;
    void back(const Mark& mark);

private:
    struct Chunk {
        uint8_t* at;
        int64_t size;
        int64_t filled;
    };
    void* take_bytes(int64_t bytes);

    std::vector<Chunk> chunks_;
    size_t used_ = 0;
};

// Things side by side that somebody else owns.
template <class T>
struct Row {
    T* at = nullptr;
    int count = 0;

    PG_INLINE T& operator[](int64_t i) const { return at[i]; }
    PG_INLINE T* begin() const { return at; }
    PG_INLINE T* end() const { return at + count; }
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
    explicit LearnWorker(int64_t size);
    Arena memory, memory_of_sums;
    float* sums;
};

struct Learn;

// The functions of one level, chosen when a `Learn` is made.
struct LearnCode {
    // Part `part` of `parts` of the weights made ready.
    void (*pack)(Learn& learn, const float* const* weights, int part, int parts) = nullptr;
    // The sums of the losses of target and MLM tokens.
    void (*run)(const Learn& learn, LearnWorker& worker, const LearnBatch& batch, double* sums) = nullptr;
    // Of the sums, all workers' added, a part into `gradients` (null where a weight does not learn); they are then zero.
    void (*collect)(Learn& learn, float* const* gradients, int part, int parts) = nullptr;
    void (*collect_embedding)(Learn& learn, float* const* gradients) = nullptr;  // after all parts
};

struct Learn {
    LearnShape shape{};
    LearnCode code{};
    int weights = 0;  // how many there are
    int64_t size = 0;  // numbers in a worker's sums
    Row<LearnLayer> encoder, decoder;
    Norm encoder_norm, decoder_norm;
    Projection head;              // the embedding as the output layer
    int64_t embedding_sums = 0;   // [V, D] as the input layer
    const float* embedding = nullptr;
    Row<Projection*> projections;
    Row<Norm*> norms;
    Row<LearnWorker*> workers;
    Arena packed;
};

// In learn_pack_avx512bf16.cpp and learn_step_*.cpp; see LearnCode.
void learn_pack_avx512bf16(Learn& learn, const float* const* weights, int part, int parts);
void learn_collect_avx512bf16(Learn& learn, float* const* gradients, int part, int parts);
void learn_collect_embedding_avx512bf16(Learn& learn, float* const* gradients);
void learn_run_avx512bf16(const Learn& learn, LearnWorker& worker, const LearnBatch& batch, double* sums);
void learn_run_amx(const Learn& learn, LearnWorker& worker, const LearnBatch& batch, double* sums);
