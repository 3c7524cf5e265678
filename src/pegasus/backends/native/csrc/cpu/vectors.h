// Sixteen floats at once, written once for every set of instructions: one vector, two or four of the processor's own.
//
// They are a pair of pairs and not one long vector that the compiler cuts up: of those GCC compares and shuffles number
// by number, which took most of the time of attention with AVX2.
//
// Everything here has internal linkage: each file gets its own copy, compiled for its own instructions.
#pragma once

#include <cmath>  // INFINITY; its functions are shared between files and are not used here
#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "cpu/compiler.h"

// Nothing here is called from another file, so how vectors are handed over does not matter.
#pragma GCC diagnostic ignored "-Wpsabi"

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

// What the processor computes with.
typedef float Part __attribute__((vector_size(4 * kLanes)));
typedef int32_t PartInt __attribute__((vector_size(4 * kLanes)));
typedef uint32_t PartWord __attribute__((vector_size(4 * kLanes)));
typedef float PartLoose __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
typedef uint32_t PartWordLoose __attribute__((vector_size(4 * kLanes), aligned(2), may_alias));
typedef float Quarter __attribute__((vector_size(16)));

template <class Half>
struct Pair {
    Half lo, hi;
};

#if defined(__AVX512F__)
typedef Part Vec;
typedef PartInt VecInt;
#elif defined(__AVX2__)
typedef Pair<Part> Vec;
#else
typedef Pair<Pair<Part>> Vec;
#endif

// f(part, place of its first number) for each part; of two vectors f(part, other part, place).
template <class P, class Function>
PG_INLINE void each_part(P& part, int at, const Function& f) {
    f(part, at);
}
template <class Half, class Function>
PG_INLINE void each_part(Pair<Half>& v, int at, const Function& f) {
    each_part(v.lo, at, f);
    each_part(v.hi, at + static_cast<int>(sizeof(Half) / 4), f);
}
template <class Half, class Function>
PG_INLINE void each_part(const Pair<Half>& v, int at, const Function& f) {
    each_part(v.lo, at, f);
    each_part(v.hi, at + static_cast<int>(sizeof(Half) / 4), f);
}
template <class P, class Function>
PG_INLINE void each_part(P& a, P& b, int at, const Function& f) {
    f(a, b, at);
}
template <class Half, class Function>
PG_INLINE void each_part(Pair<Half>& a, Pair<Half>& b, int at, const Function& f) {
    each_part(a.lo, b.lo, at, f);
    each_part(a.hi, b.hi, at + static_cast<int>(sizeof(Half) / 4), f);
}
template <class Half, class Function>
PG_INLINE void each_part(const Pair<Half>& a, const Pair<Half>& b, int at, const Function& f) {
    each_part(a.lo, b.lo, at, f);
    each_part(a.hi, b.hi, at + static_cast<int>(sizeof(Half) / 4), f);
}

#define PG_PAIR_OPERATOR(sign)                                                \
    template <class Half>                                                     \
    PG_INLINE Pair<Half> operator sign(const Pair<Half>& a, const Pair<Half>& b) { \
        return {a.lo sign b.lo, a.hi sign b.hi};                              \
    }                                                                         \
    template <class Half>                                                     \
    PG_INLINE Pair<Half> operator sign(const Pair<Half>& a, float b) {        \
        return {a.lo sign b, a.hi sign b};                                    \
    }
PG_PAIR_OPERATOR(+)
PG_PAIR_OPERATOR(-)
PG_PAIR_OPERATOR(*)
PG_PAIR_OPERATOR(/)
#undef PG_PAIR_OPERATOR

template <class Half>
PG_INLINE Pair<Half> operator*(float a, const Pair<Half>& b) {
    return {a * b.lo, a * b.hi};
}
template <class Half>
PG_INLINE Pair<Half>& operator+=(Pair<Half>& a, const Pair<Half>& b) {
    a.lo += b.lo;
    a.hi += b.hi;
    return a;
}

PG_INLINE Vec load(const float* at) {
    Vec v;
    each_part(v, 0, [&](Part& part, int i) { part = *reinterpret_cast<const PartLoose*>(at + i); });
    return v;
}
PG_INLINE void store(float* at, const Vec& v) {
    each_part(v, 0, [&](const Part& part, int i) { *reinterpret_cast<PartLoose*>(at + i) = part; });
}
// x - 0 is x, of every x: compilers leave only the copying to all lanes.
PG_INLINE Vec all(float value) {
    Vec v;
    each_part(v, 0, [&](Part& part, int) { part = value - Part{}; });
    return v;
}

PG_INLINE Part larger(const Part& a, const Part& b) { return a > b ? a : b; }
PG_INLINE Part smaller(const Part& a, const Part& b) { return a < b ? a : b; }
template <class Half>
PG_INLINE Pair<Half> larger(const Pair<Half>& a, const Pair<Half>& b) {
    return {larger(a.lo, b.lo), larger(a.hi, b.hi)};
}

// The first `count` numbers at `at`, then `rest`.
PG_INLINE Vec load_some(const float* at, int count, float rest) {
    alignas(64) float numbers[16];
    for (int i = 0; i < 16; ++i) numbers[i] = i < count ? at[i] : rest;
    return load(numbers);
}

// -- sixteen become one -------------------------------------------------------------------------------------------

// The four that are left when the upper half of a vector is joined to its lower one, and again. Whatever parts there
// are, the same numbers meet in the same order.
template <class Join>
PG_INLINE Quarter folded(const Vec& v, const Join& join) {
#if defined(__AVX512F__)
    typedef float Half __attribute__((vector_size(32)));
    const Half half = join(static_cast<Half>(__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7)),
                           static_cast<Half>(__builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15)));
#else
    const auto half = join(v.lo, v.hi);
#endif
#if defined(__AVX2__)
    return join(static_cast<Quarter>(__builtin_shufflevector(half, half, 0, 1, 2, 3)),
                static_cast<Quarter>(__builtin_shufflevector(half, half, 4, 5, 6, 7)));
#else
    return join(half.lo, half.hi);
#endif
}

PG_INLINE float greatest_of(const Vec& v) {
    const Quarter quarter = folded(v, [](const auto& a, const auto& b) {
        if constexpr (requires { a.lo; }) {
            return larger(a, b);
        } else {
            return a > b ? a : b;
        }
    });
    const float even = quarter[0] > quarter[2] ? quarter[0] : quarter[2],
                odd = quarter[1] > quarter[3] ? quarter[1] : quarter[3];
    return even > odd ? even : odd;
}

PG_INLINE Quarter fold(const Vec& v) {
    return folded(v, [](const auto& a, const auto& b) { return a + b; });
}

PG_INLINE float sum_of(const Vec& v) {
    const Quarter quarter = fold(v);
    return (quarter[0] + quarter[2]) + (quarter[1] + quarter[3]);
}

// The sums of four vectors, written side by side.
PG_INLINE void store_sums(float* at, const Vec& a, const Vec& b, const Vec& c, const Vec& d) {
    const Quarter qa = fold(a), qb = fold(b), qc = fold(c), qd = fold(d);
    const Quarter ab = __builtin_shufflevector(qa, qb, 0, 4, 1, 5) + __builtin_shufflevector(qa, qb, 2, 6, 3, 7);
    const Quarter cd = __builtin_shufflevector(qc, qd, 0, 4, 1, 5) + __builtin_shufflevector(qc, qd, 2, 6, 3, 7);
    const Quarter sums = __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    std::memcpy(at, &sums, sizeof sums);
}

// e to the x, to about one unit in the last place for x in [-87.3, 88]; 0 below.
PG_INLINE Part exp_of(const Part& x) {
    const Part clamped = smaller(larger(x, -87.3f - Part{}), 88.0f - Part{});
    const Part magic = 12582912.0f - Part{};  // 1.5 * 2^23: adding it rounds to an integer, which stands in the low bits
    const Part shifted = clamped * 1.44269504088896341f + magic;
    const Part n = shifted - magic;
    const Part r = (clamped - n * 0.693359375f) - n * -2.12194440e-4f;
    Part y = r * 1.9875691500e-4f + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * (r * r) + (r + 1.0f);
    const PartInt power = (reinterpret_cast<PartInt>(shifted) - 0x4b400000 + 127) << 23;
    const Part value = y * reinterpret_cast<Part>(power);
    const Part kept = x < -87.3f - Part{} ? Part{} : value;
    return x != x ? x : kept;
}
template <class Half>
PG_INLINE Pair<Half> exp_of(const Pair<Half>& x) {
    return {exp_of(x.lo), exp_of(x.hi)};
}

}  // namespace
