// Weights into the two forms products want, and sums of gradients back into the shapes of the weights.
#include "learning/learn_layouts.h"

namespace {

void pack(const Projection& p, const float* const* weights) {
    Arena memory;
    const int n = p.n / p.layers;
    Bits* rows = memory.take<Bits>(int64_t{p.n} * p.k);  // of all layers below each other
    for (int layer = 0; layer < p.layers; ++layer) {
        rounded(weights[p.first + 2 * layer], n * p.k, rows + int64_t{layer} * n * p.k);
    }
    rows_as_columns(rows, p.k, p.n, p.k, p.forward);
    rows_summed(rows, p.k, p.n, p.k, p.backward, nullptr);
    for (int layer = 0; p.biased && layer < p.layers; ++layer) {
        std::memcpy(p.bias + layer * n, weights[p.first + 2 * layer + 1], sizeof(float) * n);
    }
}

// to [n, k] += sums [k, ld] turned.
void add_turned(const float* sums, int64_t ld, int n, int k, float* to) {
    for (int row = 0; row < n; row += 16) {
        const int count = n - row < 16 ? n - row : 16;
        for (int i = 0; i < k; i += 16) {
            Vec numbers[16];
            PG_UNROLL
            for (int j = 0; j < 16; ++j) numbers[j] = load(sums + (i + j) * ld + row);
            transpose(numbers);
            for (int r = 0; r < count; ++r) {
                float* at = to + int64_t{row + r} * k + i;
                store(at, load(at) + numbers[r]);
            }
        }
    }
}

void add(const float* from, int64_t count, float* to) {
    for (int64_t i = 0; i < count; i += 16) store(to + i, load(to + i) + load(from + i));
}

// What `worker` has summed for a projection goes to its weights' gradients, and its sums to zero.
void collect(const Projection& p, float* sums, float* const* gradients) {
    const int n = p.n / p.layers;
    const int64_t ld = p.biased ? p.n : whole(p.n);
    for (int layer = 0; layer < p.layers; ++layer) {
        float* to = gradients[p.first + 2 * layer];
        if (to != nullptr && p.turned) add_turned(sums + p.sums + layer * n, ld, n, p.k, to);
        if (to != nullptr && !p.turned) add(sums + p.sums, int64_t{n} * p.k, to);
        if (!p.biased) continue;
        float* bias = gradients[p.first + 2 * layer + 1];
        if (bias != nullptr) add(sums + p.bias_sums + layer * n, n, bias);
    }
    std::memset(sums + p.sums, 0, sizeof(float) * ld * p.k);
    if (p.biased) std::memset(sums + p.bias_sums, 0, sizeof(float) * p.n);
}

}  // namespace

void learn_pack_avx512bf16(Learn& learn, const float* const* weights, int part, int parts) {
    for (int i = part; i < learn.projections.count; i += parts) pack(*learn.projections[i], weights);
    if (part != 0) return;
    learn.embedding = weights[learn.head.first];
    for (Norm* norm : learn.norms) {
        norm->weight = weights[norm->first];
        norm->bias = weights[norm->first + 1];
    }
}

void learn_collect_avx512bf16(Learn& learn, float* const* gradients, int part, int parts) {
    const int d = learn.shape.width;
    for (const LearnWorker* worker : learn.workers) {
        float* sums = worker->sums;
        for (int i = part; i < learn.projections.count; i += parts) collect(*learn.projections[i], sums, gradients);
        if (part != 0) continue;
        for (const Norm* norm : learn.norms) {
            for (int i = 0; i < 2; ++i) {
                float* to = gradients[norm->first + i];
                if (to != nullptr) add(sums + norm->sums + i * d, d, to);
            }
            std::memset(sums + norm->sums, 0, sizeof(float) * 2 * d);
        }
    }
}

// Apart from the rest, because it adds to what the output layer has left in the same gradient.
void learn_collect_embedding_avx512bf16(Learn& learn, float* const* gradients) {
    const int64_t d = learn.shape.width, size = d * learn.shape.vocabulary;
    float* to = gradients[learn.head.first];
    for (const LearnWorker* worker : learn.workers) {
        float* sums = worker->sums + learn.embedding_sums;
        if (to != nullptr) add(sums, size, to);
        std::memset(sums, 0, sizeof(float) * size);
    }
    if (to != nullptr) std::memset(to + learn.shape.pad * d, 0, sizeof(float) * d);
}
