// Learning through the C interface; see learn.h. Weights and gradients are handed over as pointers, numbered as there.
#include "cpu.h"
#include "learn_model.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

// Numbers the weights and gives each its place in the sums.
struct Layout {
    Learn& learn;
    int next = 0;

    int64_t place(int64_t count) {
        const int64_t found = learn.size;
        learn.size += (count + 15) & ~int64_t{15};
        return found;
    }

    void projection(Projection& p, int layers, int n, int k, bool turned, bool biased = true) {
        p.first = next;
        p.layers = layers;
        p.n = n * layers;
        p.k = k;
        p.turned = turned;
        p.biased = biased;
        next += biased ? 2 * layers : 1;
        p.sums = place(int64_t{biased ? p.n : whole(p.n)} * k);
        p.bias_sums = place(p.n);
        const int64_t size = int64_t{whole(p.n)} * k;
        p.forward = learn.packed.take<Bits>(size);
        p.backward = learn.packed.take<Bits>(size);
        p.bias = learn.packed.take<float>(whole(p.n));
        learn.projections.push_back(&p);
    }

    void norm(Norm& norm) {
        norm.first = next;
        norm.sums = place(int64_t{2} * learn.shape.width);
        next += 2;
        learn.norms.push_back(&norm);
    }

    void attention(AttentionWeights& w, bool cross) {
        const int d = learn.shape.width;
        if (cross) {
            projection(w.asks, 1, d, d, true);
            projection(w.shows, 2, d, d, true);
        } else {
            projection(w.asks, 3, d, d, true);
        }
        projection(w.out, 1, d, d, false);
        norm(w.norm);
    }

    void hidden(HiddenWeights& w, int width) {
        projection(w.up, 1, width, learn.shape.width, true);
        projection(w.down, 1, learn.shape.width, width, false);
        norm(w.norm);
    }

    void all() {
        const LearnShape& shape = learn.shape;
        projection(learn.head, 1, shape.vocabulary, shape.width, true, false);
        learn.embedding_sums = place(int64_t{shape.vocabulary} * shape.width);
        for (LearnLayer& layer : learn.encoder) {
            attention(layer.self, false);
            hidden(layer.hidden, shape.encoder_hidden);
        }
        norm(learn.encoder_norm);
        for (LearnLayer& layer : learn.decoder) {
            attention(layer.self, false);
            attention(layer.cross, true);
            hidden(layer.hidden, shape.decoder_hidden);
        }
        norm(learn.decoder_norm);
        learn.weights = next;
    }
};

}  // namespace

// Whether this machine and library can learn; everything below is for machines that can.
EXPORT int32_t pg_learn_offered() {
#if defined(__x86_64__)
    return cpu_level() >= LEVEL_AVX512BF16;
#else
    return 0;
#endif
}

#if defined(__x86_64__)

EXPORT Learn* pg_learn_new(const LearnShape* shape, int32_t workers) {
    auto* learn = new Learn;
    learn->shape = *shape;
    learn->encoder.resize(shape->encoder_layers);
    learn->decoder.resize(shape->decoder_layers);
    Layout{*learn}.all();
    for (int i = 0; i < workers; ++i) {
        learn->workers.push_back(std::make_unique<LearnWorker>(learn->size));
    }
    return learn;
}

EXPORT void pg_learn_free(Learn* learn) { delete learn; }

// How many weights it expects.
EXPORT int32_t pg_learn_weights(const Learn* learn) { return learn->weights; }

// Part `part` of `parts`; all parts before any run. The weights must stay where they are until the last run.
EXPORT void pg_learn_pack(Learn* learn, const float* const* weights, int32_t part, int32_t parts) {
    learn_pack(*learn, weights, part, parts);
}

// Adds to the sums of worker `worker` and to the two losses; workers may run at the same time.
EXPORT void pg_learn_run(const Learn* learn, int32_t worker, const LearnBatch* batch, double* sums) {
    const auto run = cpu_level() >= LEVEL_AMX ? learn_run_amx : learn_run_avx512bf16;
    run(*learn, *learn->workers[worker], *batch, sums);
}

// Adds all workers' sums to the gradients and clears them; parts may run at the same time, `last` after them.
EXPORT void pg_learn_collect(Learn* learn, float* const* gradients, int32_t part, int32_t parts) {
    learn_collect(*learn, gradients, part, parts);
}

EXPORT void pg_learn_collect_last(Learn* learn, float* const* gradients) { learn_collect_embedding(*learn, gradients); }

#endif
