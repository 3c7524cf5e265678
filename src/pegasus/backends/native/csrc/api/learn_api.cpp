// Learning through the C interface; see learn.h. Weights and gradients are handed over as pointers, numbered as there.
#include <memory>
#include <vector>

#include "api/api.h"
#include "api/guard.h"
#include "cpu/cpu.h"
#include "learning/learn_model.h"

// What `Learn` shows in rows is kept here.
struct PgLearn : Learn {
    std::vector<LearnLayer> encoder_layers, decoder_layers;
    std::vector<Projection*> all_projections;
    std::vector<Norm*> all_norms;
    std::vector<std::unique_ptr<LearnWorker>> all_workers;
    std::vector<LearnWorker*> worker_list;
};

namespace {

template <class T>
Row<T> row_of(std::vector<T>& things) {
    return {things.data(), static_cast<int>(things.size())};
}

// Numbers the weights and gives each its place in the sums.
struct Layout {
    PgLearn& learn;
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
        learn.all_projections.push_back(&p);
    }

    void norm(Norm& norm) {
        norm.first = next;
        norm.sums = place(int64_t{2} * learn.shape.width);
        next += 2;
        learn.all_norms.push_back(&norm);
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
        for (LearnLayer& layer : learn.encoder_layers) {
            attention(layer.self, false);
            hidden(layer.hidden, shape.encoder_hidden);
        }
        norm(learn.encoder_norm);
        for (LearnLayer& layer : learn.decoder_layers) {
            attention(layer.self, false);
            attention(layer.cross, true);
            hidden(layer.hidden, shape.decoder_hidden);
        }
        norm(learn.decoder_norm);
        learn.weights = next;
    }
};

// What the level in use learns with; empty where it cannot.
LearnCode code_in_use() {
#if defined(__x86_64__)
    if (cpu_level() == LEVEL_AMX) {
        return {learn_pack_avx512bf16, learn_run_amx, learn_collect_avx512bf16, learn_collect_embedding_avx512bf16};
    }
    if (cpu_level() == LEVEL_AVX512BF16) {
        return {learn_pack_avx512bf16, learn_run_avx512bf16, learn_collect_avx512bf16,
                learn_collect_embedding_avx512bf16};
    }
#endif
    return {};
}

}  // namespace

// Whether this machine and library can learn.
PG_API int32_t pg_learn_offered() { return code_in_use().run != nullptr; }

// PG_BAD_ARGUMENT where learning is not offered.
PG_API int32_t pg_learn_new(const LearnShape* shape, int32_t workers, PgLearn** made) {
    if (!pg_learn_offered()) return PG_BAD_ARGUMENT;
    return guarded([&]() -> int32_t {
        auto learn = std::make_unique<PgLearn>();
        learn->shape = *shape;
        learn->code = code_in_use();
        learn->encoder_layers.resize(static_cast<size_t>(shape->encoder_layers));
        learn->decoder_layers.resize(static_cast<size_t>(shape->decoder_layers));
        Layout{*learn}.all();
        for (int i = 0; i < workers; ++i) {
            learn->all_workers.push_back(std::make_unique<LearnWorker>(learn->size));
            learn->worker_list.push_back(learn->all_workers.back().get());
        }
        learn->encoder = row_of(learn->encoder_layers);
        learn->decoder = row_of(learn->decoder_layers);
        learn->projections = row_of(learn->all_projections);
        learn->norms = row_of(learn->all_norms);
        learn->workers = row_of(learn->worker_list);
        *made = learn.release();
        return PG_OK;
    });
}

PG_API void pg_learn_free(PgLearn* learn) { delete learn; }

// How many weights it expects.
PG_API int32_t pg_learn_weights(const PgLearn* learn) { return learn->weights; }

// Part `part` of `parts`; all parts before any run. The weights must stay where they are until the last run.
PG_API int32_t pg_learn_pack(PgLearn* learn, const float* const* weights, int32_t part, int32_t parts) {
    return guarded([&]() -> int32_t {
        learn->code.pack(*learn, weights, part, parts);
        return PG_OK;
    });
}

// Adds to the sums of worker `worker` and to the two losses; workers may run at the same time.
PG_API int32_t pg_learn_run(const PgLearn* learn, int32_t worker, const LearnBatch* batch, double* sums) {
    return guarded([&]() -> int32_t {
        learn->code.run(*learn, *learn->workers[worker], *batch, sums);
        return PG_OK;
    });
}

// Adds all workers' sums to the gradients and clears them; parts may run at the same time, `last` after them.
PG_API int32_t pg_learn_collect(PgLearn* learn, float* const* gradients, int32_t part, int32_t parts) {
    return guarded([&]() -> int32_t {
        learn->code.collect(*learn, gradients, part, parts);
        return PG_OK;
    });
}

PG_API int32_t pg_learn_collect_last(PgLearn* learn, float* const* gradients) {
    return guarded([&]() -> int32_t {
        learn->code.collect_embedding(*learn, gradients);
        return PG_OK;
    });
}
