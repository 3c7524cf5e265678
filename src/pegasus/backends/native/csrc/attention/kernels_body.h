// The kernels of kernels.h over sixteen floats at once; included by one file a level.
#pragma once

#include "attention/kernels.h"
#include "attention/kv_kinds.h"
#include "cpu/transpose.h"
#include "cpu/vectors.h"

namespace {

#if defined(__AVX512F__)
constexpr int kRows = 8, kWide = 2;  // 16 sums and 4 rows of weights fill 20 of 32 registers
#else
constexpr int kRows = 4, kWide = 1;
#endif

// -- norm ---------------------------------------------------------------------------------------------------------

void norm(const float* x, const float* weight, const float* bias, float eps, int width, float* y) {
    const int whole = width / 16 * 16, rest = width - whole;
    Vec sum = rest == 0 ? Vec{} : load_some(x + whole, rest, 0.0f);
    for (int i = 0; i < whole; i += 16) sum += load(x + i);
    const float mean = sum_of(sum) / static_cast<float>(width);
    Vec last = rest == 0 ? Vec{} : load_some(x + whole, rest, mean) - mean;
    Vec squares = last * last;
    for (int i = 0; i < whole; i += 16) {
        const Vec off = load(x + i) - mean;
        squares += off * off;
    }
    const float scale = 1.0f / __builtin_sqrtf(sum_of(squares) / static_cast<float>(width) + eps);
    for (int i = 0; i < whole; i += 16) store(y + i, (load(x + i) - mean) * scale * load(weight + i) + load(bias + i));
    for (int i = whole; i < width; ++i) y[i] = (x[i] - mean) * scale * weight[i] + bias[i];
}

// -- packing ------------------------------------------------------------------------------------------------------

// The first `count` numbers at `at`, if any, and zeros.
PG_INLINE Vec load_padded(const float* at, int count) {
    if (count >= 16) return load(at);
    return count <= 0 ? Vec{} : load_some(at, count, 0.0f);
}

template <class Kind>
void pack_keys(const float* x, int64_t ld, int count, int head_width, int padded, void* out) {
    auto* numbers = static_cast<typename Kind::Number*>(out);
    for (int token = 0; token < pad_length(count); token += 16) {
        for (int e = 0; e < padded; e += 16) {
            Vec columns[16];
            for (int i = 0; i < 16; ++i) {
                columns[i] = token + i < count ? load_padded(x + (token + i) * ld + e, head_width - e) : Vec{};
            }
            transpose(columns);
            for (int i = 0; i < 16; i += 2, numbers += 32) Kind::put_group(numbers, columns[i], columns[i + 1]);
        }
    }
}

template <class Kind>
void pack_values(const float* x, int64_t ld, int count, int head_width, int padded, void* out) {
    auto* numbers = static_cast<typename Kind::Number*>(out);
    const int pairs = count / 2 * 2;
    for (int block = 0; block < pad_length(count); block += 32) {
        for (int e = 0; e < padded; e += 16) {
            for (int token = block; token < block + 32; token += 2, numbers += 32) {
                const float* at = x + token * ld + e;
                const Vec a = token < count ? load_padded(at, head_width - e) : Vec{};
                const Vec b = token < pairs ? load_padded(at + ld, head_width - e) : Vec{};
                Kind::put_group(numbers, a, b);
            }
        }
    }
}

template <class Kind>
void pack_row(const float* x, int head_width, int padded, void* out) {
    auto* numbers = static_cast<typename Kind::Number*>(out);
    for (int e = 0; e < padded; e += 16) Kind::put_row(numbers + e, load_padded(x + e, head_width - e));
}

// -- attention to a whole text ------------------------------------------------------------------------------------

// Asks for a group of numbers before it is needed. What lies behind the keys of a head are its values, and behind
// those the keys of the next, so that asking beyond an end is asking for what comes next.
template <class Number>
PG_INLINE void expect(const Number* group) {
    for (int i = 0; i < 32; i += 64 / static_cast<int>(sizeof(Number))) __builtin_prefetch(group + i, 0, 3);
}

// scores [Rows][ld] = queries keys^T, `wide` panels of 16 tokens at once.
template <class Kind, int Rows, int Wide>
PG_INLINE void score_panels(const float* queries, int padded, const typename Kind::Number* keys, float* scores,
                            int64_t ld) {
    Vec sums[Rows][Wide] = {};
    const int64_t panel = int64_t{16} * padded;
    for (int pair = 0; pair < padded / 2; ++pair) {
        Vec a[Wide], b[Wide];
        for (int w = 0; w < Wide; ++w) Kind::group(keys + w * panel + pair * 32, a[w], b[w]);
        for (int w = Wide; w < 2 * Wide; ++w) expect(keys + w * panel + pair * 32);
        for (int row = 0; row < Rows; ++row) {
            const float* q = queries + row * padded + pair * 2;
            for (int w = 0; w < Wide; ++w) sums[row][w] += q[0] * a[w];
            for (int w = 0; w < Wide; ++w) sums[row][w] += q[1] * b[w];
        }
    }
    for (int row = 0; row < Rows; ++row) {
        for (int w = 0; w < Wide; ++w) store(scores + row * ld + w * 16, sums[row][w]);
    }
}

template <class Kind, int Rows>
void score(const float* queries, int padded, const typename Kind::Number* keys, int tokens, float* scores, int64_t ld) {
    for (int token = 0; token < tokens; token += 16 * kWide) {
        score_panels<Kind, Rows, kWide>(queries, padded, keys + int64_t{token} * padded, scores + token, ld);
    }
}

// Writes minus infinity from `length` to `tokens`, a multiple of 32, and returns the greatest score.
PG_INLINE float close_scores(float* scores, int length, int tokens) {
    const int whole = length / 16 * 16;
    if (whole < tokens) {
        store(scores + whole, load_some(scores + whole, length - whole, -INFINITY));
        for (int i = whole + 16; i < tokens; i += 16) store(scores + i, all(-INFINITY));
    }
    Vec even = load(scores), odd = load(scores + 16);
    for (int i = 32; i < tokens; i += 32) {
        even = larger(even, load(scores + i));
        odd = larger(odd, load(scores + i + 16));
    }
    return greatest_of(larger(even, odd));
}

// The sum of exp(score - greatest), zero from `length` to `tokens`: `put` gets each vector's place and the differences,
// keeps their exponentials and returns them.
template <class Put>
PG_INLINE float sum_of_exp(float* scores, int length, int tokens, const Put& put) {
    const float greatest = close_scores(scores, length, tokens);
    Vec even = {}, odd = {};
    for (int i = 0; i < tokens; i += 32) {
        even += put(i, load(scores + i) - greatest);
        odd += put(i + 16, load(scores + i + 16) - greatest);
    }
    return sum_of(even + odd);
}

// Turns scores into exp(score - greatest), and returns their sum.
PG_INLINE float exp_scores(float* scores, int length, int tokens) {
    return sum_of_exp(scores, length, tokens, [&](int i, const Vec& x) {
        const Vec y = exp_of(x);
        store(scores + i, y);
        return y;
    });
}

// out [Rows][16 Wide] = weights [Rows][tokens] values, for `Wide` panels of 16 columns.
template <class Kind, int Rows, int Wide>
PG_INLINE void mix_panels(const float* weights, int64_t ld, const typename Kind::Number* values, int64_t block_size,
                          int tokens, Vec (&sums)[Rows][Wide]) {
    for (int row = 0; row < Rows; ++row) {
        for (int w = 0; w < Wide; ++w) sums[row][w] = Vec{};
    }
    for (int block = 0; block < tokens; block += 32, values += block_size) {
        for (int pair = 0; pair < 16; ++pair) {
            Vec a[Wide], b[Wide];
            for (int w = 0; w < Wide; ++w) Kind::group(values + w * 512 + pair * 32, a[w], b[w]);
            for (int w = 0; w < Wide; ++w) expect(values + block_size + w * 512 + pair * 32);
            for (int row = 0; row < Rows; ++row) {
                const float* p = weights + row * ld + block + pair * 2;
                for (int w = 0; w < Wide; ++w) sums[row][w] += p[0] * a[w];
                for (int w = 0; w < Wide; ++w) sums[row][w] += p[1] * b[w];
            }
        }
    }
}

PG_INLINE void store_some(float* at, const Vec& v, int count) {
    if (count >= 16) return store(at, v);
    alignas(64) float numbers[16];
    store(numbers, v);
    for (int i = 0; i < count; ++i) at[i] = numbers[i];
}

template <class Kind, int Rows>
void mix(const Attend& a, const float* weights, int64_t ld, const float* sums, int first) {
    const int tokens = pad_length(a.length);
    const int64_t block_size = int64_t{32} * a.padded;
    for (int e = 0; e < a.padded; e += 16 * kWide) {
        const auto* values = static_cast<const typename Kind::Number*>(a.values) + e * 32;
        Vec mixed[Rows][kWide];
        mix_panels<Kind, Rows, kWide>(weights, ld, values, block_size, tokens, mixed);
        for (int row = 0; row < Rows && first + row < a.rows; ++row) {
            float* out = a.out + (first + row) * a.ld_out + e;
            for (int w = 0; w < kWide; ++w)
                store_some(out + 16 * w, mixed[row][w] / sums[row], a.head_width - e - 16 * w);
        }
    }
}

template <class Kind, int Rows>
void attend_rows(const Attend& a, int first) {
    const int tokens = pad_length(a.length);
    const int64_t ld = tokens + 16;
    const auto* keys = static_cast<const typename Kind::Number*>(a.keys);
    score<Kind, Rows>(a.queries + int64_t{first} * a.padded, a.padded, keys, tokens, a.scratch, ld);
    float sums[Rows];
    for (int row = 0; row < Rows; ++row) sums[row] = exp_scores(a.scratch + row * ld, a.length, tokens);
    mix<Kind, Rows>(a, a.scratch, ld, sums, first);
}

template <class Kind>
void attend(const Attend& a) {
    int first = 0;
    for (; a.rows - first > kRows / 2; first += kRows) attend_rows<Kind, kRows>(a, first);
    for (; a.rows - first > 2; first += 4) attend_rows<Kind, 4>(a, first);
    for (; a.rows - first > 1; first += 2) attend_rows<Kind, 2>(a, first);
    if (first < a.rows) attend_rows<Kind, 1>(a, first);
}

// -- attention to tokens here and there ---------------------------------------------------------------------------

template <class Kind>
PG_INLINE const typename Kind::Number* slot_at(const AttendSlots& a, int64_t base, int32_t slot) {
    const int64_t row = slot & ((1 << a.shift) - 1);
    return reinterpret_cast<const typename Kind::Number*>(a.chunks[slot >> a.shift] + base) + row * a.padded;
}

// Asks for the row of a token before it is needed: rows lie here and there, which no processor guesses.
template <class Kind>
PG_INLINE void expect_slot(const AttendSlots& a, int64_t base, int token) {
    const auto* row = slot_at<Kind>(a, base, a.slots[token]);
    for (int e = 0; e < a.padded; e += 32) expect(row + e);
}

template <class Kind>
PG_INLINE Vec match(const AttendSlots& a, int token) {
    const auto* key = slot_at<Kind>(a, a.keys_at, a.slots[token]);
    Vec sum = {};
    for (int e = 0; e < a.padded; e += 16) sum += load(a.query + e) * Kind::row(key + e);
    return sum;
}

// Columns e to e + 16 Wide of what the values come to.
template <class Kind, int Wide>
PG_INLINE void mix_slots(const AttendSlots& a, int e, float sum) {
    Vec mixed[Wide] = {};
    for (int t = 0; t < a.count; ++t) {
        const auto* value = slot_at<Kind>(a, a.values_at, a.slots[t]) + e;
        for (int w = 0; w < Wide; ++w) mixed[w] += a.scratch[t] * Kind::row(value + 16 * w);
    }
    for (int w = 0; w < Wide; ++w, e += 16) store_some(a.out + e, mixed[w] / sum, a.head_width - e);
}

template <class Kind>
void attend_slots(const AttendSlots& a) {
    constexpr int kAhead = 8;
    for (int token = 0; token < a.count && token < kAhead; ++token) expect_slot<Kind>(a, a.keys_at, token);
    int t = 0;
    for (; t + 4 <= a.count; t += 4) {
        for (int token = t + kAhead; token < t + kAhead + 4 && token < a.count; ++token) {
            expect_slot<Kind>(a, a.keys_at, token);
        }
        for (int token = t; token < t + 4; ++token) expect_slot<Kind>(a, a.values_at, token);
        store_sums(a.scratch + t, match<Kind>(a, t), match<Kind>(a, t + 1), match<Kind>(a, t + 2),
                   match<Kind>(a, t + 3));
    }
    for (; t < a.count; ++t) a.scratch[t] = sum_of(match<Kind>(a, t));
    const float sum = exp_scores(a.scratch, a.count, pad_length(a.count));
    int e = 0;
    for (; e + 64 <= a.padded; e += 64) mix_slots<Kind, 4>(a, e, sum);
    for (; e < a.padded; e += 32) mix_slots<Kind, 2>(a, e, sum);
}

// -- scores -------------------------------------------------------------------------------------------------------

void survey(const float* x, int count, float* block_max, float* greatest, float* sum) {
    Vec most = all(-INFINITY);
    for (int block = 0; block < count; block += SCORE_BLOCK) {
        Vec here = all(-INFINITY);
        const int end = block + SCORE_BLOCK < count ? block + SCORE_BLOCK : count;
        int i = block;
        for (; i + 16 <= end; i += 16) here = larger(load(x + i), here);
        if (i < end) here = larger(load_some(x + i, end - i, -INFINITY), here);
        block_max[block / SCORE_BLOCK] = greatest_of(here);
        most = larger(here, most);
    }
    *greatest = greatest_of(most);
    const float shift = *greatest == -INFINITY ? 0.0f : *greatest;
    Vec total = {};
    int i = 0;
    for (; i + 16 <= count; i += 16) total += exp_of(load(x + i) - shift);
    if (i < count) total += exp_of(load_some(x + i, count - i, -INFINITY) - shift);
    *sum = sum_of(total);
}

// All kernels of this file's instructions, as a table the compiler writes: making it runs no code.
constexpr Kernels kTable{
    norm,
    {pack_keys<F32>, pack_keys<BF16>, pack_keys<F16>},
    {pack_values<F32>, pack_values<BF16>, pack_values<F16>},
    {pack_row<F32>, pack_row<BF16>, pack_row<F16>},
    {attend<F32>, attend<BF16>, attend<F16>},
    {attend_slots<F32>, attend_slots<BF16>, attend_slots<F16>},
    survey,
};

}  // namespace
