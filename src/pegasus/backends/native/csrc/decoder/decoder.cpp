#include "decoder/decoder.h"

#include <algorithm>
#include <cstring>

namespace {

// The words of one step on their way through the layers.
class Pass {
public:
    Pass(PgSession& session, const PgSession::Step& step)
        : session_(session), model_(session.model), cache_(session.cache), step_(step), count_(step.rows * step.tokens),
          width_(model_.network.width), head_width_(model_.network.decoder_head_width), padded_(pad_head(head_width_)),
          past_(cache_.length() - step.tokens) {
        arrange();
    }

    void run(Worker& worker) {
        embed(worker);
        for (size_t layer = 0; layer < model_.decoder.size(); ++layer) {
            const PgDecoderLayer& weights = model_.decoder[layer];
            self_attention(worker, weights, static_cast<int>(layer));
            if (!session_.alone && weights.cross_heads > 0) cross_attention(worker, weights, static_cast<int>(layer));
            feed_forward(worker, weights);
        }
        if (step_.hidden) finish_hidden(worker);
        if (step_.positions > 0) scores(worker);
    }

    // Puts together what was found about the scores: in one order, whoever found it, so that sums are always the same.
    void merge_scores() {
        PgScores& scores = session_.scores;
        for (int row = 0; row < scores.rows; ++row) {
            const size_t at = static_cast<size_t>(row);
            for (size_t i = at; i < found_.size(); i += static_cast<size_t>(scores.rows))
                PgScores::merge(scores.greatest[at], scores.sums[at], found_[i].greatest, found_[i].sum);
            scores.summed[at] = scores.mapped[at] = 1;
            scores.strange[at] = __builtin_isfinite(scores.sums[at]) ? 0 : 1;
        }
    }

private:
    // In a stretch of the scores of a row: the greatest, and the sum of their exponentials relative to it.
    struct Found {
        float greatest;
        float sum;
    };

    static constexpr int kStretchPanels = 8 * SCORE_BLOCK / LINEAR_PANEL;

    void arrange() {
        int widest = width_, longest = cache_.length();
        for (const PgDecoderLayer& layer : model_.decoder) {
            widest = std::max({widest, layer.qkv.n, layer.fc1.n, layer.cross_heads * head_width_});
        }
        for (const auto& text : session_.texts) longest = std::max(longest, text->length);
        reserve(model_, count_, widest, head_width_, longest);
        states_ = model_.space.states.room<float>(0);
        wide_ = model_.space.wide.room<float>(0);
        mixed_ = model_.space.mixed.room<float>(0);
        kv_kind_ = model_.network.kv_kind;
        number_ = kKvBytes[kv_kind_];
        if (step_.hidden) session_.hidden.room<float>(int64_t{count_} * width_);
        if (step_.positions > 0) session_.scores.shape(step_.rows * step_.positions);
        stretches_ = (linear_panels(model_.network.head) + kStretchPanels - 1) / kStretchPanels;
        found_.resize(static_cast<size_t>(stretches_) * static_cast<size_t>(session_.scores.rows));
    }

    void embed(Worker& worker) {
        const Share rows = worker.share(count_);
        for (int row = rows.begin; row < rows.end; ++row) {
            const int64_t position = past_ + row % step_.tokens;
            worker.embed(model_.network.decoder_tokens, step_.tokens_RT[row],
                         model_.decoder_positions + position * width_, states_ + int64_t{row} * width_);
        }
        worker.end(PART_EMBED);
        worker.wait();
    }

    // Where a thread can do a head by itself, from its projection to what it mixes, nobody has to wait in between.
    bool by_heads(const Worker& worker, int heads) const {
        return head_width_ % LINEAR_PANEL == 0 && heads % worker.n == 0;
    }

    // Columns of one of the stacked matrices that make some heads.
    void project_heads(const Linear& w, const Rows& rows, int which, int heads, Share taken) {
        const int first = which * heads * head_width_;
        linear_part(w, rows.x, rows.ld, &rows.prepared, rows.count, wide_, w.n, {},
                    (first + taken.begin * head_width_) / LINEAR_PANEL,
                    (first + taken.end * head_width_) / LINEAR_PANEL);
    }

    void add_to_states(Worker& worker, const Linear& w, const float* x, Part part) {
        const Rows rows = worker.ready(w, x, w.k, count_);
        worker.linear(w, rows, states_, width_, {ACTIVATION_NONE, states_, width_});
        worker.end(part);
        worker.wait();
    }

    // -- self-attention -------------------------------------------------------------------------------------------

    void self_attention(Worker& worker, const PgDecoderLayer& layer, int index) {
        const Rows rows = worker.normed(layer.attention_norm, states_, count_, layer.qkv);
        if (by_heads(worker, layer.heads)) {
            worker.take(worker.share(layer.heads), 1, 1, [&](Share taken) {
                for (int which = 0; which < 3; ++which) project_heads(layer.qkv, rows, which, layer.heads, taken);
                worker.end(PART_QKV);
                // Head by head: the rows of a text look at nearly the same words, which are then still near.
                for (int head = taken.begin; head < taken.end; ++head) {
                    for (int row = 0; row < step_.rows; ++row) self_unit(worker, layer, index, row, head);
                }
                worker.end(PART_ATTENTION);
            });
        } else {
            worker.linear(layer.qkv, rows, wide_, layer.qkv.n);
            worker.end(PART_QKV);
            worker.wait();
            const Share units = worker.share(step_.rows * layer.heads);
            for (int unit = units.begin; unit < units.end; ++unit) {
                self_unit(worker, layer, index, unit % step_.rows, unit / step_.rows);
            }
        }
        worker.end(PART_ATTENTION);
        worker.wait();
        add_to_states(worker, layer.out, mixed_, PART_OUT);
    }

    // Remembers the new words of one row in one head and lets them look at what came before.
    void self_unit(Worker& worker, const PgDecoderLayer& layer, int index, int row, int head) {
        const int64_t inner = int64_t{layer.heads} * head_width_, keys_at = cache_.keys_at(index, head);
        const int64_t values_at = cache_.values_at(index, head);
        const float* first = wide_ + int64_t{row} * step_.tokens * 3 * inner + head * head_width_;
        for (int i = 0; i < step_.tokens; ++i) {
            const int32_t slot = cache_.first_slot(past_ + i) + row;
            char* chunk = cache_.chunks()[slot >> KvCache::kShift];
            const int64_t at = int64_t{slot & ((1 << KvCache::kShift) - 1)} * padded_ * number_;
            worker.kernels.pack_row[kv_kind_](first + i * 3 * inner + inner, head_width_, padded_, chunk + keys_at + at);
            worker.kernels.pack_row[kv_kind_](first + i * 3 * inner + 2 * inner, head_width_, padded_,
                                             chunk + values_at + at);
        }
        float* query = worker.own.queries.room<float>(0);
        for (int i = 0; i < step_.tokens; ++i) {
            scale_query(first + i * 3 * inner, head_width_, query);
            float* out = mixed_ + (int64_t{row} * step_.tokens + i) * inner + head * head_width_;
            worker.kernels.attend_slots[kv_kind_]({query, cache_.ancestors(row), past_ + i + 1, cache_.chunks(),
                                                  KvCache::kShift, keys_at, values_at, head_width_, padded_,
                                                  worker.own.scratch.room<float>(0), out});
        }
    }

    // -- cross-attention ------------------------------------------------------------------------------------------

    void cross_attention(Worker& worker, const PgDecoderLayer& layer, int index) {
        const int texts = static_cast<int>(session_.texts.size());
        const Rows rows = worker.normed(layer.cross_norm, states_, count_, layer.cross_q);
        if (by_heads(worker, layer.cross_heads)) {
            worker.take(worker.share(layer.cross_heads), 1, 1, [&](Share taken) {
                project_heads(layer.cross_q, rows, 0, layer.cross_heads, taken);
                worker.end(PART_CROSS_QUERY);
                for (int head = taken.begin; head < taken.end; ++head) {
                    for (int text = 0; text < texts; ++text) cross_unit(worker, layer, index, text, head);
                }
                worker.end(PART_CROSS_ATTENTION);
            });
        } else {
            worker.linear(layer.cross_q, rows, wide_, layer.cross_q.n);
            worker.end(PART_CROSS_QUERY);
            worker.wait();
            const Share units = worker.share(texts * layer.cross_heads);
            for (int unit = units.begin; unit < units.end; ++unit) {
                cross_unit(worker, layer, index, unit / layer.cross_heads, unit % layer.cross_heads);
            }
        }
        worker.end(PART_CROSS_ATTENTION);
        worker.wait();
        add_to_states(worker, layer.cross_out, mixed_, PART_CROSS_OUT);
    }

    // All words of all rows of a text look at it together: its keys and values are read once.
    void cross_unit(Worker& worker, const PgDecoderLayer& layer, int index, int text, int head) {
        CrossCache& cross = *session_.texts[static_cast<size_t>(text)];
        const int64_t inner = int64_t{layer.cross_heads} * head_width_;
        const int each = count_ / static_cast<int>(session_.texts.size());
        const char* keys = cross.keys(index, head);
        float* queries = worker.own.queries.room<float>(0);
        Attend a{queries,       0,
                 head_width_,   padded_,
                 keys,          keys + cross.half,
                 cross.length, worker.own.scratch.room<float>(0),
                 nullptr,       inner};
        for (int i = 0; i < each; i += QUERY_BLOCK) {
            const int64_t at = (int64_t{text} * each + i) * inner + head * head_width_;
            a.rows = std::min(QUERY_BLOCK, each - i);
            a.out = mixed_ + at;
            gather_queries(wide_ + at, inner, a.rows, head_width_, queries);
            worker.kernels.attend[kv_kind_](a);
        }
    }

    // -- the rest -------------------------------------------------------------------------------------------------

    void feed_forward(Worker& worker, const PgDecoderLayer& layer) {
        const Rows rows = worker.normed(layer.ffn_norm, states_, count_, layer.fc1);
        worker.linear(layer.fc1, rows, wide_, layer.fc1.n, {model_.network.activation, nullptr, 0});
        worker.end(PART_FC1);
        worker.wait();
        add_to_states(worker, layer.fc2, wide_, PART_FC2);
    }

    void finish_hidden(Worker& worker) {
        const PgNorm& norm = model_.network.decoder_norm;
        float* hidden = session_.hidden.room<float>(0);
        const Share rows = worker.share(count_);
        for (int row = rows.begin; row < rows.end; ++row) {
            const int64_t at = int64_t{row} * width_;
            worker.kernels.norm(states_ + at, norm.weight_D, norm.bias_D, model_.network.norm_eps, width_, hidden + at);
        }
        worker.end(PART_NORM);
    }

    // The states of the last positions of each row, side by side.
    const float* asked_about(Worker& worker) {
        if (step_.positions == step_.tokens) return states_;
        const Share rows = worker.share(step_.rows);
        const int64_t size = int64_t{step_.positions} * width_, skip = int64_t{step_.tokens - step_.positions} * width_;
        for (int row = rows.begin; row < rows.end; ++row) {
            std::copy_n(states_ + row * (skip + size) + skip, size, mixed_ + row * size);
        }
        worker.wait();
        return mixed_;
    }

    void scores(Worker& worker) {
        PgScores& scores = session_.scores;
        const Linear& head = model_.network.head;
        const Rows rows = worker.normed(model_.network.decoder_norm, asked_about(worker), scores.rows, head);
        worker.take(worker.share(stretches_), 1, 1, [&](Share taken) {
            for (int stretch = taken.begin; stretch < taken.end; ++stretch) {
                const int panel = stretch * kStretchPanels, end = std::min(panel + kStretchPanels, linear_panels(head));
                linear_part(head, rows.x, rows.ld, &rows.prepared, rows.count, scores.values, scores.stride, {}, panel,
                            end);
                worker.end(PART_HEAD);
                survey(worker, stretch, panel * LINEAR_PANEL, std::min(end * LINEAR_PANEL, scores.vocabulary));
            }
        });
    }

    void survey(Worker& worker, int stretch, int begin, int end) {
        PgScores& scores = session_.scores;
        Found* found = found_.data() + int64_t{stretch} * scores.rows;
        for (int row = 0; row < scores.rows; ++row) {
            float* maxima = scores.block_max + int64_t{row} * scores.blocks() + begin / SCORE_BLOCK;
            worker.kernels.survey(scores.row(row) + begin, end - begin, maxima, &found[row].greatest, &found[row].sum);
        }
        worker.end(PART_SURVEY);
    }

    PgSession& session_;
    PgModel& model_;
    KvCache& cache_;
    const PgSession::Step& step_;
    const int count_;
    const int width_;
    const int head_width_;
    const int padded_;
    const int past_;
    int kv_kind_ = 0;
    int number_ = 0;
    float* states_ = nullptr;
    float* wide_ = nullptr;
    float* mixed_ = nullptr;
    int stretches_ = 0;
    std::vector<Found> found_;  // [stretch][row]
};

}  // namespace

PgSession::PgSession(PgModel& model, const float* states_ND, const int64_t* offsets_B1, int texts)
    : model(model), alone(states_ND == nullptr), cache(model), scores(model), copy(model) {
    if (alone) return;
    for (int first = 0, last; first < texts; first = last) {
        last = first + 1;
        while (last < texts && offsets_B1[last + 1] - offsets_B1[first] <= kGroupTokens) ++last;
        for (int text = first; text < last; ++text) {
            this->texts.push_back(make_cross_cache(static_cast<int>(offsets_B1[text + 1] - offsets_B1[text])));
        }
        const int64_t before = offsets_B1[first], tokens = offsets_B1[last] - before;
        fill_cross_caches(states_ND + before * model.network.width, static_cast<int>(tokens), first, last);
    }
}

std::shared_ptr<CrossCache> PgSession::make_cross_cache(int length) const {
    auto text = std::make_shared<CrossCache>();
    text->length = length;
    text->half =
        int64_t{pad_length(length)} * pad_head(model.network.decoder_head_width) * kKvBytes[model.network.kv_kind];
    int64_t bytes = 0;
    for (const PgDecoderLayer& layer : model.decoder) {
        text->layer_at.push_back(bytes);
        bytes += 2 * text->half * layer.cross_heads;
    }
    text->data.room<char>(bytes);
    return text;
}

// Projects the states of texts [first, last), `tokens` in all, for every layer.
void PgSession::fill_cross_caches(const float* states_ND, int tokens, int first, int last) {
    int widest = model.network.width;
    for (const PgDecoderLayer& layer : model.decoder) widest = std::max(widest, layer.cross_kv.n);
    reserve(model, tokens, widest, model.network.decoder_head_width, tokens);
    model.pool.run([&](int tid, int n) {
        Worker worker(model, tid, n);
        // Every other layer has the other buffer, so that nobody waits for those who still pack the layer before.
        Buffer *buffer = &model.space.wide, *other = &model.space.mixed;
        for (size_t layer = 0; layer < model.decoder.size(); ++layer) {
            if (model.decoder[layer].cross_heads == 0) continue;
            fill_cross_layer(worker, states_ND, tokens, first, last, static_cast<int>(layer), buffer->room<float>(0));
            std::swap(buffer, other);
        }
        worker.wait();
    });
}

void PgSession::fill_cross_layer(Worker& worker, const float* states_ND, int tokens, int first, int last, int index,
                               float* projected) {
    const PgDecoderLayer& layer = model.decoder[static_cast<size_t>(index)];
    const int head_width = model.network.decoder_head_width, padded = pad_head(head_width),
              kv_kind = model.network.kv_kind;
    const int64_t ld = layer.cross_kv.n;
    const Rows rows = worker.ready(layer.cross_kv, states_ND, model.network.width, tokens);
    worker.linear(layer.cross_kv, rows, projected, layer.cross_kv.n);
    worker.end(PART_CROSS_KV);
    worker.wait();
    int64_t row = 0;
    for (int number = first; number < last; ++number) {
        CrossCache& text = *texts[static_cast<size_t>(number)];
        const Share heads = worker.share(layer.cross_heads);
        for (int head = heads.begin; head < heads.end; ++head) {
            const float* from = projected + row * ld + head * head_width;
            char* keys = text.keys(index, head);
            worker.kernels.pack_keys[kv_kind](from, ld, text.length, head_width, padded, keys);
            worker.kernels.pack_values[kv_kind](from + ld / 2, ld, text.length, head_width, padded, keys + text.half);
        }
        row += text.length;
    }
    worker.end(PART_CROSS_KV);
}

int32_t PgSession::check(const Step& step) const {
    const int held = static_cast<int>(texts.size()), left = step.texts_B == nullptr ? held : step.texts;
    if (step.rows <= 0 || step.tokens <= 0 || step.positions < 0 || step.positions > step.tokens)
        return PG_BAD_ARGUMENT;
    if (!alone && (left <= 0 || step.rows % left != 0)) return PG_BAD_ARGUMENT;
    if (step.positions > 0 && model.network.head.weights == nullptr) return PG_BAD_ARGUMENT;
    const auto inside = [](const int64_t* indices, int count, int end) {
        return indices == nullptr ||
               std::all_of(indices, indices + count, [end](int64_t i) { return i >= 0 && i < end; });
    };
    if (!alone && !inside(step.texts_B, left, held)) return PG_BAD_ARGUMENT;
    const bool first = cache.rows() == 0;
    if (step.parents_R != nullptr ? first || !inside(step.parents_R, step.rows, cache.rows())
                                  : !first && step.rows != cache.rows()) {
        return PG_BAD_ARGUMENT;
    }
    const int past = step.keep < 0 ? cache.length() : std::min(step.keep, cache.length());
    if (past + step.tokens > model.decoder_rows) return PG_PAST_POSITIONS;
    return model.tokens_fit(step.tokens_RT, int64_t{step.rows} * step.tokens) ? PG_OK : PG_BAD_TOKEN;
}

void PgSession::step(const Step& step) {
    cache.reserve(step.rows, step.tokens);
    if (step.keep >= 0) cache.keep(step.keep);
    cache.follow(step.parents_R, step.rows);
    if (step.texts_B != nullptr && !alone) {
        std::vector<std::shared_ptr<CrossCache>> left;
        for (int i = 0; i < step.texts; ++i) left.push_back(texts[static_cast<size_t>(step.texts_B[i])]);
        texts.swap(left);
    }
    cache.extend(step.tokens);
    Pass pass(*this, step);
    model.pool.run([&](int tid, int n) {
        Worker worker(model, tid, n);
        pass.run(worker);
    });
    if (step.positions > 0) pass.merge_scores();
}
