// The library against plain sums in double precision, through its C interface alone: for processors and systems on
// which there is no Python. Every level that the processor has is checked. What is wrong is printed, a line each; the
// last line names the levels. Exits with 1 if anything is wrong.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "api/api.h"
#include "attention/kernels.h"
#include "cpu/cpu.h"
#include "cpu/pool.h"
#include "cpu/work_stealing.h"

struct PgRunner;
PG_API int32_t pg_cpu_best();
PG_API int32_t pg_cpu_has(int32_t level);
PG_API int32_t pg_cpu_use(int32_t level);
PG_API const char* pg_cpu_name(int32_t level);
PG_API int64_t pg_packed_bytes(int32_t kind, int32_t n, int32_t k);
PG_API int32_t pg_pack(int32_t kind, int32_t n, int32_t k, const float* w, void* out, float* scale, int32_t* sums,
                       int32_t threads);
PG_API void pg_row(const Linear* w, int32_t row, float* out);
PG_API int32_t pg_runner_new(int32_t threads, PgRunner** runner);
PG_API void pg_runner_free(PgRunner* runner);
PG_API int32_t pg_linear(PgRunner* runner, const Linear* w, const float* x, int32_t ldx, int32_t m, float* y, int32_t ldy,
                         int32_t activation, const float* residual, int32_t ld_residual);
PG_API int32_t pg_quantize(PgRunner* runner, const float* x, int32_t m, int32_t k, int32_t ldx, uint8_t* bytes,
                           float* scale);

namespace {

using Numbers = std::vector<float>;
using Doubles = std::vector<double>;

int wrong = 0;
int level = 0;
std::mt19937 chance(7);

void complain(const std::string& what, double found, double wanted) {
    if (++wrong <= 20) {
        std::printf("%s: %s: found %.9g, wanted %.9g\n", pg_cpu_name(level), what.c_str(), found, wanted);
    }
}

void require(bool held, const char* what) {
    if (!held) complain(what, 0, 1);
}

Numbers normal(size_t count, float deviation = 1.0f) {
    std::normal_distribution<float> distribution(0.0f, deviation);
    Numbers numbers(count);
    for (float& number : numbers) number = distribution(chance);
    return numbers;
}

// A packed matrix, and what its weights are after packing.
struct Matrix {
    Matrix(int32_t kind, int n, int k, float deviation = 1.0f) : scale(n), sums(n), bias(normal(n, 0.3f)), kept(n * k) {
        const Numbers weights = normal(static_cast<size_t>(n) * k, deviation);
        const size_t bytes = static_cast<size_t>(pg_packed_bytes(kind, n, k));
        packed.reset(std::aligned_alloc(64, (bytes + 63) / 64 * 64));
        require(pg_pack(kind, n, k, weights.data(), packed.get(), scale.data(), sums.data(), 2) == PG_OK, "pg_pack");
        linear = {kind, n, k, packed.get(), scale.data(), sums.data(), bias.data()};
        Numbers row(k);
        for (int i = 0; i < n; ++i) {
            pg_row(&linear, i, row.data());
            std::copy(row.begin(), row.end(), kept.begin() + static_cast<long>(i) * k);
        }
    }

    // x W^T + b for one row.
    Doubles times(const double* x) const {
        Doubles y(bias.begin(), bias.end());
        for (int i = 0; i < linear.n; ++i) {
            for (int k = 0; k < linear.k; ++k) y[i] += x[k] * kept[static_cast<long>(i) * linear.k + k];
        }
        return y;
    }

    std::unique_ptr<void, decltype(&std::free)> packed{nullptr, &std::free};
    Numbers scale;
    std::vector<int32_t> sums;
    Numbers bias;
    Doubles kept;
    Linear linear;
};

double activated(int32_t activation, double v) {
    switch (activation) {
        case ACTIVATION_RELU: return v > 0 ? v : 0;
        case ACTIVATION_GELU: return 0.5 * v * (1 + std::erf(v / std::sqrt(2.0)));
        case ACTIVATION_GELU_NEW: return 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
        case ACTIVATION_SILU: return v / (1 + std::exp(-v));
        case ACTIVATION_TANH: return std::tanh(v);
        default: return v;
    }
}

float rounded_to_bf16(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    bits = (bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u;
    std::memcpy(&value, &bits, 4);
    return value;
}

// -- linears ----------------------------------------------------------------------------------------------------

// x as the kernel sees it.
Doubles seen(PgRunner* runner, int32_t kind, const Numbers& x, int m, int k) {
    Doubles found(x.begin(), x.end());
    const int rounded_from = level >= LEVEL_AMX ? 9 : level >= LEVEL_AVX512BF16 ? 1 : 1 << 30;
    if (kind == LINEAR_BF16 && m >= rounded_from) {
        for (size_t i = 0; i < x.size(); ++i) found[i] = rounded_to_bf16(x[i]);
    }
    if (kind == LINEAR_INT8) {
        std::vector<uint8_t> bytes(x.size());
        Numbers scale(m);
        require(pg_quantize(runner, x.data(), m, k, k, bytes.data(), scale.data()) == PG_OK, "pg_quantize");
        for (int i = 0; i < m * k; ++i) {
            found[i] = (bytes[i] - 128) * static_cast<double>(scale[i / k]);
            if (std::fabs(found[i] - x[i]) > 0.5001 * scale[i / k]) complain("quantize", found[i], x[i]);
        }
    }
    return found;
}

void check_linear(PgRunner* runner, int32_t kind, int n, int k) {
    const Matrix matrix(kind, n, k);
    for (int m : {1, 2, 3, 5, 8, 9, 13, 17, 26}) {
        const int32_t activation = m % 6;
        const Numbers x = normal(static_cast<size_t>(m) * k), residual = normal(static_cast<size_t>(m) * n);
        Numbers y(static_cast<size_t>(m) * n + 16, 77.0f);
        require(pg_linear(runner, &matrix.linear, x.data(), k, m, y.data(), n, activation, residual.data(), n) == PG_OK,
                "pg_linear");
        const Doubles sees = seen(runner, kind, x, m, k);
        for (int row = 0; row < m; ++row) {
            const Doubles product = matrix.times(sees.data() + static_cast<long>(row) * k);
            for (int i = 0; i < n; ++i) {
                const double wanted = activated(activation, product[i]) + residual[row * n + i], found = y[row * n + i];
                if (!(std::fabs(found - wanted) <= 2e-5 * (1 + std::fabs(product[i])) + 3e-7 * k)) {
                    complain("linear of kind " + std::to_string(kind) + " [" + std::to_string(n) + ", " +
                                 std::to_string(k) + "], " + std::to_string(m) + " rows", found, wanted);
                }
            }
        }
        for (size_t i = static_cast<size_t>(m) * n; i < y.size(); ++i) require(y[i] == 77.0f, "written outside");
    }
}

// -- a model ----------------------------------------------------------------------------------------------------

constexpr int D = 40, HEADS = 2, E = D / HEADS, F = 52, V = 71, LAYERS = 2, POSITIONS = 64;

struct Norms {
    Numbers weight = normal(D, 0.2f), bias = normal(D, 0.2f);
    PgNorm record() {
        for (float& number : weight) number += 1.0f;
        return {weight.data(), bias.data()};
    }
    Doubles of(const Doubles& x) const {
        double mean = 0, variance = 0;
        for (double number : x) mean += number / D;
        for (double number : x) variance += (number - mean) * (number - mean) / D;
        Doubles y(D);
        for (int i = 0; i < D; ++i) y[i] = (x[i] - mean) / std::sqrt(variance + 1e-5) * weight[i] + bias[i];
        return y;
    }
};

struct Attention {
    Matrix qkv{LINEAR_F32, 3 * D, D, 0.25f}, out{LINEAR_F32, D, D, 0.25f};
};

struct Layer {
    Attention self;
    Matrix cross_out{LINEAR_F32, D, D, 0.25f}, cross_q{LINEAR_F32, D, D, 0.25f};
    Matrix cross_kv{LINEAR_F32, 2 * D, D, 0.25f};
    Matrix fc1{LINEAR_F32, F, D, 0.25f}, fc2{LINEAR_F32, D, F, 0.25f};
    Norms self_norm, cross_norm, ffn_norm;
};

using States = std::vector<Doubles>;

// What one query makes of keys and values, [D] each.
Doubles mixed(const double* query, const std::vector<const double*>& keys, const std::vector<const double*>& values) {
    Doubles found(D, 0.0);
    for (int head = 0; head < HEADS; ++head) {
        Doubles weights;
        double most = -INFINITY, sum = 0;
        for (const double* key : keys) {
            double score = 0;
            for (int e = head * E; e < (head + 1) * E; ++e) score += query[e] * key[e] / std::sqrt(static_cast<double>(E));
            weights.push_back(score);
            most = std::max(most, score);
        }
        for (double& weight : weights) sum += weight = std::exp(weight - most);
        for (size_t i = 0; i < keys.size(); ++i) {
            for (int e = head * E; e < (head + 1) * E; ++e) found[e] += weights[i] / sum * values[i][e];
        }
    }
    return found;
}

void add(Doubles& to, const Doubles& more) {
    for (size_t i = 0; i < to.size(); ++i) to[i] += more[i];
}

struct Model {
    explicit Model(int32_t kv_kind) {
        for (Layer& layer : encoder) {
            encoder_records.push_back({HEADS, layer.self_norm.record(), layer.self.qkv.linear, layer.self.out.linear,
                                       layer.ffn_norm.record(), layer.fc1.linear, layer.fc2.linear});
        }
        for (Layer& layer : decoder) {
            decoder_records.push_back({HEADS, HEADS, layer.self_norm.record(), layer.self.qkv.linear,
                                       layer.self.out.linear, layer.cross_norm.record(), layer.cross_q.linear,
                                       layer.cross_kv.linear, layer.cross_out.linear, layer.ffn_norm.record(),
                                       layer.fc1.linear, layer.fc2.linear});
        }
        network = {D, V, E, E, ACTIVATION_RELU, kv_kind, 1.5f, 1e-5f, LAYERS, LAYERS, encoder_records.data(),
                   decoder_records.data(), encoder_norm.record(), decoder_norm.record(), head.linear, head.linear,
                   head.linear};
        require(pg_model_new(&network, 2, &model) == PG_OK, "pg_model_new");
        pg_model_positions(model, positions.data(), POSITIONS, positions.data(), POSITIONS);
    }
    ~Model() { pg_model_free(model); }

    Doubles embedded(int64_t token, int position) const {
        Doubles state(D);
        for (int i = 0; i < D; ++i) state[i] = head.kept[token * D + i] * 1.5 + positions[position * D + i];
        return state;
    }

    static void feed_forward(const Layer& layer, Doubles& state) {
        Doubles hidden = layer.fc1.times(layer.ffn_norm.of(state).data());
        for (double& number : hidden) number = std::max(number, 0.0);
        add(state, layer.fc2.times(hidden.data()));
    }

    // One layer's self-attention of all states, each to those before it if `causal`.
    static void attend(const Layer& layer, States& states, bool causal) {
        States projected;
        for (const Doubles& state : states) projected.push_back(layer.self.qkv.times(layer.self_norm.of(state).data()));
        for (size_t t = 0; t < states.size(); ++t) {
            std::vector<const double*> keys, values;
            for (size_t s = 0; s < (causal ? t + 1 : states.size()); ++s) {
                keys.push_back(projected[s].data() + D);
                values.push_back(projected[s].data() + 2 * D);
            }
            add(states[t], layer.self.out.times(mixed(projected[t].data(), keys, values).data()));
        }
    }

    static void look(const Layer& layer, States& states, const States& encoded) {
        States projected;
        std::vector<const double*> keys, values;
        for (const Doubles& state : encoded) projected.push_back(layer.cross_kv.times(state.data()));
        for (const Doubles& both : projected) {
            keys.push_back(both.data());
            values.push_back(both.data() + D);
        }
        for (Doubles& state : states) {
            const Doubles query = layer.cross_q.times(layer.cross_norm.of(state).data());
            add(state, layer.cross_out.times(mixed(query.data(), keys, values).data()));
        }
    }

    States encoded(const std::vector<int64_t>& text) const {
        States states;
        for (size_t i = 0; i < text.size(); ++i) states.push_back(embedded(text[i], static_cast<int>(i)));
        for (const Layer& layer : encoder) {
            attend(layer, states, false);
            for (Doubles& state : states) feed_forward(layer, state);
        }
        for (Doubles& state : states) state = encoder_norm.of(state);
        return states;
    }

    // The logits after the last of these words.
    Doubles logits(const std::vector<int64_t>& words, const States& source) const {
        States states;
        for (size_t i = 0; i < words.size(); ++i) states.push_back(embedded(words[i], static_cast<int>(i)));
        for (const Layer& layer : decoder) {
            attend(layer, states, true);
            look(layer, states, source);
            for (Doubles& state : states) feed_forward(layer, state);
        }
        return head.times(decoder_norm.of(states.back()).data());
    }

    std::vector<Layer> encoder{LAYERS}, decoder{LAYERS};
    Norms encoder_norm, decoder_norm;
    Matrix head{LINEAR_F32, V, D};
    Numbers positions = normal(static_cast<size_t>(POSITIONS) * D, 0.5f);
    std::vector<PgEncoderLayer> encoder_records;
    std::vector<PgDecoderLayer> decoder_records;
    PgNetwork network{};
    PgModel* model = nullptr;
};

void compare(const std::string& what, const float* found, const Doubles& wanted, double tolerance) {
    for (size_t i = 0; i < wanted.size(); ++i) {
        if (!(std::fabs(found[i] - wanted[i]) <= tolerance)) complain(what, found[i], wanted[i]);
    }
}

// The best token of each row and the logarithm of the sum are those of the numbers themselves.
void check_scores(PgScores* scores, int rows) {
    Numbers best(rows), sums(rows);
    std::vector<int64_t> tokens(rows);
    require(pg_scores_best(scores, nullptr, rows, nullptr, 1, best.data(), tokens.data()) == PG_OK, "pg_scores_best");
    require(pg_scores_logsumexp(scores, sums.data()) == PG_OK, "pg_scores_logsumexp");
    for (int row = 0; row < rows; ++row) {
        const float* at = pg_scores_values(scores) + static_cast<long>(row) * pg_scores_stride(scores);
        double sum = 0;
        for (int i = 0; i < V; ++i) sum += std::exp(static_cast<double>(at[i]));
        require(tokens[row] == std::max_element(at, at + V) - at && best[row] == at[tokens[row]], "the best token");
        if (std::fabs(sums[row] - std::log(sum)) > 1e-4) complain("log of the sum", sums[row], std::log(sum));
    }
}

void check_model(int32_t kv_kind, double tolerance) {
    const Model made(kv_kind);
    std::uniform_int_distribution<int64_t> token(0, V - 1);
    std::vector<std::vector<int64_t>> texts;
    std::vector<int64_t> ids, offsets{0};
    std::vector<States> sources;
    for (int length : {5, 37, 1}) {
        texts.emplace_back(length);
        for (int64_t& id : texts.back()) ids.push_back(id = token(chance));
        offsets.push_back(static_cast<int64_t>(ids.size()));
        sources.push_back(made.encoded(texts.back()));
    }
    Numbers states(ids.size() * D);
    require(pg_encode(made.model, ids.data(), offsets.data(), 3, states.data()) == PG_OK, "pg_encode");
    const std::string name = " with keys and values of kind " + std::to_string(kv_kind);
    for (int text = 0, at = 0; text < 3; ++text) {
        for (const Doubles& state : sources[text]) compare("encoder" + name, &states[D * at++], state, tolerance);
    }

    PgSession* session = nullptr;
    require(pg_session_new(made.model, states.data(), offsets.data(), 3, &session) == PG_OK, "pg_session_new");
    std::vector<std::vector<int64_t>> rows(6);  // two a text
    std::vector<int> text_of{0, 0, 1, 1, 2, 2};
    for (int step = 0; step < 5; ++step) {
        const int count = step == 0 ? 3 : 1;
        std::vector<int64_t> parents, remaining, words;
        const int64_t* kept = nullptr;
        if (step == 2) parents = {1, 0, 2, 2, 5, 4};
        if (step == 3) parents = {4, 5, 2, 2}, remaining = {2, 1}, kept = remaining.data();  // a text is finished
        if (!parents.empty()) {
            std::vector<std::vector<int64_t>> followed;
            std::vector<int> followed_text;
            for (int64_t parent : parents) followed.push_back(rows[parent]), followed_text.push_back(text_of[parent]);
            rows = followed, text_of = followed_text;
        }
        for (auto& row : rows) {
            for (int i = 0; i < count; ++i) words.push_back(token(chance)), row.push_back(words.back());
        }
        const int n = static_cast<int>(rows.size());
        require(pg_session_step(session, -1, parents.empty() ? nullptr : parents.data(), kept,
                                static_cast<int32_t>(remaining.size()), words.data(), n, count, 1, 0) == PG_OK,
                "pg_session_step");
        PgScores* scores = pg_session_scores(session);
        for (int row = 0; row < n; ++row) {
            compare("decoder" + name, pg_scores_values(scores) + static_cast<long>(row) * pg_scores_stride(scores),
                    made.logits(rows[row], sources[text_of[row]]), tolerance);
        }
        check_scores(scores, n);
    }
    pg_session_free(session);
}

// Threads that begin with unequal parts, and each stay away for a while: every piece is done once, and by one.
void check_work_stealing() {
    constexpr int kThreads = 3, kWork = 1000;
    Pool pool(kThreads);
    for (int round = 0; round < 200; ++round) {
        std::vector<WorkRange> ranges(kThreads);
        std::vector<std::atomic<int>> done(kWork);
        const int cut = round * 5 % kWork;
        pool.run([&](int tid, int n) {
            if (tid == round % n) std::this_thread::yield();
            ranges[tid].set(tid == 0 ? Share{0, cut} : tid == 1 ? Share{cut, kWork} : Share{kWork, kWork});
            const auto work = [&](Share piece) {
                for (int i = piece.begin; i < piece.end; ++i) ++done[i];
            };
            for (Share piece; piece = ranges[tid].take(7), piece.begin < piece.end;) work(piece);
            for (int other = 0; other < n; ++other) {
                for (Share piece; piece = ranges[other].steal(4), piece.begin < piece.end;) work(piece);
            }
        });
        require(std::all_of(done.begin(), done.end(), [](const auto& times) { return times == 1; }), "work stealing");
    }
}

}  // namespace

int main() {
    check_work_stealing();
    PgRunner* runner = nullptr;
    require(pg_runner_new(2, &runner) == PG_OK, "pg_runner_new");
    std::string levels;
    for (level = 0; level <= pg_cpu_best(); ++level) {
        if (!pg_cpu_has(level)) continue;
        require(pg_cpu_use(level) == level, "pg_cpu_use");
        for (int32_t kind : {LINEAR_F32, LINEAR_BF16, LINEAR_F16, LINEAR_INT8}) {
            for (const auto& [n, k] : {std::pair{1, 1}, {16, 64}, {31, 33}, {50, 130}, {17, 600}}) {
                check_linear(runner, kind, n, k);
            }
        }
        check_model(PG_KV_F32, 1e-4);
        check_model(PG_KV_F16, 3e-2);
        check_model(PG_KV_BF16, 2e-1);
        levels += std::string(levels.empty() ? "" : " ") + pg_cpu_name(level);
    }
    pg_runner_free(runner);
    if (wrong > 0) std::printf("%d numbers are wrong\n", wrong);
    std::printf("%s\n", levels.c_str());
    return wrong > 0;
}
