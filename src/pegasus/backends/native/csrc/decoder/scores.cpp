#include "decoder/scores.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace {

constexpr int kStretch = 8 * SCORE_BLOCK;  // scores looked at before they leave the nearest cache
constexpr float kNothing = -std::numeric_limits<float>::infinity();

struct Candidate {
    float value;
    int64_t token;
};

// NaN comes first, as in PyTorch.
bool better(const Candidate& a, const Candidate& b) {
    const bool a_strange = a.value != a.value, b_strange = b.value != b.value;
    if (a_strange != b_strange) return a_strange;
    if (!a_strange && a.value != b.value) return a.value > b.value;
    return a.token < b.token;
}

// The best C so far, the worst of them on top.
class Best {
public:
    explicit Best(int count) : count_(static_cast<size_t>(count)) { heap_.reserve(count_); }
    bool full() const { return heap_.size() == count_; }
    float worst() const { return heap_.front().value; }
    void offer(const Candidate& one) {
        if (!full()) {
            heap_.push_back(one);
            std::push_heap(heap_.begin(), heap_.end(), better);
        } else if (better(one, heap_.front())) {
            std::pop_heap(heap_.begin(), heap_.end(), better);
            heap_.back() = one;
            std::push_heap(heap_.begin(), heap_.end(), better);
        }
    }
    void list(float* values, int64_t* tokens) {
        std::sort_heap(heap_.begin(), heap_.end(), better);
        for (const Candidate& one : heap_) *values++ = one.value, *tokens++ = one.token;
    }

private:
    size_t count_;
    std::vector<Candidate> heap_;
};

}  // namespace

void PgScores::shape(int count) {
    rows = count;
    vocabulary = model.network.vocabulary;
    // An odd number of cache lines, so that the same token of all rows does not fall into one set of the cache.
    stride = (vocabulary + 31) / 32 * 32 + 16;
    values = values_.room<float>(int64_t{rows} * stride);
    block_max = blocks_.room<float>(int64_t{rows} * blocks());
    const size_t size = static_cast<size_t>(rows);
    greatest.assign(size, kNothing);
    sums.assign(size, 0.0);
    summed.assign(size, 0);
    mapped.assign(size, 0);
    strange.assign(size, 0);
}

void PgScores::copy_rows(const PgScores& from, const int64_t* which_N, int count) {
    shape(which_N == nullptr ? from.rows : count);
    over_rows(model, rows, 8, [&](int i) {
        const size_t to = static_cast<size_t>(i), at = which_N == nullptr ? to : static_cast<size_t>(which_N[i]);
        const int source = static_cast<int>(at);
        std::memcpy(row(i), from.row(source), sizeof(float) * static_cast<size_t>(vocabulary));
        std::memcpy(block_max + int64_t{i} * blocks(), from.block_max + int64_t{source} * blocks(),
                    sizeof(float) * static_cast<size_t>(blocks()));
        greatest[to] = from.greatest[at];
        sums[to] = from.sums[at];
        summed[to] = from.summed[at];
        mapped[to] = from.mapped[at];
        strange[to] = from.strange[at];
    });
}

void PgScores::changed() {
    std::fill(summed.begin(), summed.end(), 0);
    std::fill(mapped.begin(), mapped.end(), 0);
}

void PgScores::merge(float& greatest, double& sum, float other, double other_sum) {
    const float most = std::max(greatest, other);
    if (most == kNothing) {
        sum += other_sum;  // zero, or a NaN, which must not get lost
        return;
    }
    if (greatest != most) sum *= std::exp(static_cast<double>(greatest) - most);
    sum += other == most ? other_sum : other_sum * std::exp(static_cast<double>(other) - most);
    greatest = most;
}

void PgScores::look(int index) {
    const size_t at = static_cast<size_t>(index);
    const Kernels& table = kernels();
    float most = kNothing;
    double sum = 0.0;
    for (int token = 0; token < vocabulary; token += kStretch) {
        float here, here_sum;
        float* maxima = block_max + int64_t{index} * blocks() + token / SCORE_BLOCK;
        table.survey(row(index) + token, std::min(kStretch, vocabulary - token), maxima, &here, &here_sum);
        merge(most, sum, here, here_sum);
    }
    greatest[at] = most;
    sums[at] = sum;
    summed[at] = mapped[at] = 1;
    strange[at] = std::isfinite(sum) ? 0 : 1;
}

void PgScores::put(int index, int64_t token, float value) {
    const size_t at = static_cast<size_t>(index);
    float* numbers = row(index);
    numbers[token] = value;
    summed[at] = 0;
    if (!(std::fabs(value) <= std::numeric_limits<float>::max()) && value != kNothing) strange[at] = 1;
    if (!mapped[at]) return;
    const int block = static_cast<int>(token / SCORE_BLOCK), begin = block * SCORE_BLOCK;
    block_max[int64_t{index} * blocks() + block] =
        *std::max_element(numbers + begin, numbers + std::min(begin + SCORE_BLOCK, vocabulary));
}

void PgScores::fill(int index, float value) {
    std::fill(row(index), row(index) + vocabulary, value);
    std::fill(block_max + int64_t{index} * blocks(), block_max + int64_t{index + 1} * blocks(), value);
    const size_t at = static_cast<size_t>(index);
    summed[at] = 0;
    mapped[at] = 1;
    strange[at] = value != value;
}

double PgScores::logsumexp(int index) {
    const size_t at = static_cast<size_t>(index);
    if (!summed[at]) look(index);
    return sums[at] == 0.0 ? static_cast<double>(kNothing) : std::log(sums[at]) + greatest[at];
}

void PgScores::shift(int index, float by) {
    float* numbers = row(index);
    for (int i = 0; i < vocabulary; ++i) numbers[i] -= by;
    const size_t at = static_cast<size_t>(index);
    float* maxima = block_max + int64_t{index} * blocks();
    for (int i = 0; i < blocks(); ++i) maxima[i] -= by;
    summed[at] = 0;
}

void PgScores::best(int index, float shift, int count, float* values_C, int64_t* tokens_C) {
    const size_t at = static_cast<size_t>(index);
    if (!mapped[at]) look(index);
    if (strange[at]) return best_of_all(index, shift, count, values_C, tokens_C);
    const float* numbers = row(index);
    const float* maxima = block_max + int64_t{index} * blocks();
    Best found(count);
    for (int block = 0; block < blocks(); ++block) {
        if (found.full() && !(maxima[block] - shift > found.worst())) continue;
        const int end = std::min((block + 1) * SCORE_BLOCK, vocabulary);
        for (int token = block * SCORE_BLOCK; token < end; ++token) {
            const float value = numbers[token] - shift;
            // Later tokens have to be larger: of equal ones the lower comes first.
            if (!found.full() || value > found.worst()) found.offer({value, token});
        }
    }
    found.list(values_C, tokens_C);
}

void PgScores::best_of_all(int index, float shift, int count, float* values_C, int64_t* tokens_C) const {
    const float* numbers = row(index);
    Best found(count);
    for (int token = 0; token < vocabulary; ++token) found.offer({numbers[token] - shift, token});
    found.list(values_C, tokens_C);
}
