#include "encoder/encoder.h"

#include <algorithm>

namespace {

// Some queries of a head of a text.
struct Unit {
    int text;
    int head;
    int first;
};

constexpr int kUnitQueries = 2 * QUERY_BLOCK;

class Group {
public:
    Group(PgModel& model, const int64_t* ids, const int64_t* offsets, int texts, float* out)
        : model_(model), ids_(ids + offsets[0]), offsets_(offsets), texts_(texts),
          out_(out + offsets[0] * model.network.width), count_(static_cast<int>(offsets[texts] - offsets[0])),
          width_(model.network.width), head_width_(model.network.encoder_head_width), padded_(pad_head(head_width_)) {
        arrange();
    }

    void run(Worker& worker) {
        embed(worker);
        for (const PgEncoderLayer& layer : model_.encoder) {
            attention(worker, layer);
            feed_forward(worker, layer);
        }
        const Share rows = worker.share(count_);
        const PgNorm& norm = model_.network.encoder_norm;
        for (int row = rows.begin; row < rows.end; ++row) {
            const int64_t at = int64_t{row} * width_;
            worker.kernels.norm(states_ + at, norm.weight_D, norm.bias_D, model_.network.norm_eps, width_, out_ + at);
        }
        worker.end(PART_NORM);
        worker.wait();
    }

private:
    int first_row(int text) const { return static_cast<int>(offsets_[text] - offsets_[0]); }
    int length(int text) const { return static_cast<int>(offsets_[text + 1] - offsets_[text]); }

    // Makes room, and finds where the keys and values of each text go and who asks for them.
    void arrange() {
        int most_heads = 1, widest = width_, longest = 0;
        for (const PgEncoderLayer& layer : model_.encoder) {
            most_heads = std::max(most_heads, layer.heads);
            widest = std::max({widest, layer.qkv.n, layer.fc1.n});
        }
        int64_t tokens = 0;
        for (int text = 0; text < texts_; ++text) {
            tokens_before_.push_back(tokens);
            tokens += pad_length(length(text));
            longest = std::max(longest, length(text));
        }
        reserve(model_, count_, widest, head_width_, longest);
        number_ = kKvBytes[model_.network.kv_kind];
        keys_values_ = model_.space.keys_values.room<char>(tokens * most_heads * padded_ * 2 * number_);
        states_ = model_.space.states.room<float>(0);
        wide_ = model_.space.wide.room<float>(0);
        mixed_ = model_.space.mixed.room<float>(0);
        for (int text = 0; text < texts_; ++text) {
            for (int first = 0; first < length(text); first += kUnitQueries) {
                for (int head = 0; head < most_heads; ++head) units_.push_back({text, head, first});
            }
        }
    }

    void embed(Worker& worker) {
        for (int text = 0; text < texts_; ++text) {
            const Share rows = worker.share(length(text));
            for (int i = rows.begin; i < rows.end; ++i) {
                const int64_t row = first_row(text) + i;
                worker.embed(model_.network.encoder_tokens, ids_[row], model_.encoder_positions + int64_t{i} * width_,
                             states_ + row * width_);
            }
        }
        worker.end(PART_EMBED);
        worker.wait();
    }

    // Keys of a head of a text; its values stand behind them.
    char* keys_at(int text, int head, int heads) const {
        const int64_t size = int64_t{pad_length(length(text))} * padded_;
        return keys_values_ + (tokens_before_[static_cast<size_t>(text)] * padded_ * heads + size * head) * 2 * number_;
    }

    void pack(Worker& worker, const PgEncoderLayer& layer) {
        const Share units = worker.share(texts_ * layer.heads);
        const int64_t inner = int64_t{layer.heads} * head_width_;
        const int kv_kind = model_.network.kv_kind;
        for (int unit = units.begin; unit < units.end; ++unit) {
            const int text = unit / layer.heads, head = unit % layer.heads, count = length(text);
            const float* keys = wide_ + first_row(text) * 3 * inner + inner + head * head_width_;
            char* out = keys_at(text, head, layer.heads);
            worker.kernels.pack_keys[kv_kind](keys, 3 * inner, count, head_width_, padded_, out);
            out += int64_t{pad_length(count)} * padded_ * number_;
            worker.kernels.pack_values[kv_kind](keys + inner, 3 * inner, count, head_width_, padded_, out);
        }
    }

    void attend(Worker& worker, const PgEncoderLayer& layer, const Unit& unit) {
        const int64_t inner = int64_t{layer.heads} * head_width_;
        const int count = length(unit.text), last = std::min(count, unit.first + kUnitQueries);
        const char* keys = keys_at(unit.text, unit.head, layer.heads);
        float* queries = worker.own.queries.room<float>(0);
        Attend a{queries,     0,
                 head_width_, padded_,
                 keys,        keys + int64_t{pad_length(count)} * padded_ * number_,
                 count,       worker.own.scratch.room<float>(0),
                 nullptr,     inner};
        for (int i = unit.first; i < last; i += QUERY_BLOCK) {
            const int64_t row = first_row(unit.text) + i;
            a.rows = std::min(QUERY_BLOCK, last - i);
            a.out = mixed_ + row * inner + unit.head * head_width_;
            gather_queries(wide_ + row * 3 * inner + unit.head * head_width_, 3 * inner, a.rows, head_width_, queries);
            worker.kernels.attend[model_.network.kv_kind](a);
        }
    }

    void attention(Worker& worker, const PgEncoderLayer& layer) {
        const int inner = layer.heads * head_width_;
        const Rows rows = worker.normed(layer.attention_norm, states_, count_, layer.qkv);
        worker.linear(layer.qkv, rows, wide_, 3 * inner);
        worker.end(PART_QKV);
        worker.wait();
        if (worker.tid == 0) worker.space.next = 0;
        pack(worker, layer);
        worker.end(PART_ATTENTION);
        worker.wait();
        const int units = static_cast<int>(units_.size());
        for (int unit; (unit = worker.space.next.fetch_add(1, std::memory_order_relaxed)) < units;) {
            if (units_[static_cast<size_t>(unit)].head < layer.heads)
                attend(worker, layer, units_[static_cast<size_t>(unit)]);
        }
        worker.end(PART_ATTENTION);
        worker.wait();
        const Rows mixed = worker.ready(layer.out, mixed_, inner, count_);
        worker.linear(layer.out, mixed, states_, width_, {ACTIVATION_NONE, states_, width_});
        worker.end(PART_OUT);
        worker.wait();
    }

    void feed_forward(Worker& worker, const PgEncoderLayer& layer) {
        const Rows rows = worker.normed(layer.ffn_norm, states_, count_, layer.fc1);
        worker.linear(layer.fc1, rows, wide_, layer.fc1.n, {model_.network.activation, nullptr, 0});
        worker.end(PART_FC1);
        worker.wait();
        const Rows hidden = worker.ready(layer.fc2, wide_, layer.fc1.n, count_);
        worker.linear(layer.fc2, hidden, states_, width_, {ACTIVATION_NONE, states_, width_});
        worker.end(PART_FC2);
        worker.wait();
    }

    PgModel& model_;
    const int64_t* ids_;
    const int64_t* offsets_;
    const int texts_;
    float* out_;
    const int count_;
    const int width_;
    const int head_width_;
    const int padded_;
    int number_ = 0;
    std::vector<int64_t> tokens_before_;  // tokens of the texts before, padded
    std::vector<Unit> units_;
    float* states_ = nullptr;
    float* wide_ = nullptr;
    float* mixed_ = nullptr;
    char* keys_values_ = nullptr;
};

}  // namespace

void encode(PgModel& model, const int64_t* ids_N, const int64_t* offsets_B1, int texts, float* states_ND) {
    for (int first = 0, last; first < texts; first = last) {
        last = first + 1;
        while (last < texts && offsets_B1[last + 1] - offsets_B1[first] <= kGroupTokens) ++last;
        Group group(model, ids_N, offsets_B1 + first, last - first, states_ND);
        model.pool.run([&](int tid, int n) {
            Worker worker(model, tid, n);
            group.run(worker);
        });
    }
}
