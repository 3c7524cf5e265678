// Sixteen floats at once, written once for every set of instructions: the compiler makes of it what its flags allow.
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
#include "cpu/half.h"

// Nothing here is called from another file, so how vectors are handed over does not matter.
#pragma GCC diagnostic ignored "-Wpsabi"

namespace {

typedef float Vec __attribute__((vector_size(64)));
typedef int32_t VecInt __attribute__((vector_size(64)));
typedef float VecLoose __attribute__((vector_size(64), aligned(4), may_alias));
typedef float Half __attribute__((vector_size(32)));
typedef float Quarter __attribute__((vector_size(16)));

PG_INLINE Vec load(const float* at) { return *reinterpret_cast<const VecLoose*>(at); }
PG_INLINE void store(float* at, const Vec& v) { *reinterpret_cast<VecLoose*>(at) = v; }
PG_INLINE Vec all(float v) { return Vec{v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v}; }
PG_INLINE Vec larger(const Vec& a, const Vec& b) { return a > b ? a : b; }
PG_INLINE Vec smaller(const Vec& a, const Vec& b) { return a < b ? a : b; }

// The first `count` numbers at `at`, then `rest`.
PG_INLINE Vec load_some(const float* at, int count, float rest) {
    alignas(64) float numbers[16];
    for (int i = 0; i < 16; ++i) numbers[i] = i < count ? at[i] : rest;
    return load(numbers);
}

PG_INLINE Half low(const Vec& v) { return __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7); }
PG_INLINE Half high(const Vec& v) { return __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15); }

PG_INLINE float greatest_of(const Vec& v) {
    const Half a = low(v), b = high(v), half = a > b ? a : b;
    const Quarter c = __builtin_shufflevector(half, half, 0, 1, 2, 3),
                  d = __builtin_shufflevector(half, half, 4, 5, 6, 7);
    const Quarter quarter = c > d ? c : d;
    const float even = quarter[0] > quarter[2] ? quarter[0] : quarter[2],
                odd = quarter[1] > quarter[3] ? quarter[1] : quarter[3];
    return even > odd ? even : odd;
}

PG_INLINE Quarter fold(const Vec& v) {
    const Half half = low(v) + high(v);
    return __builtin_shufflevector(half, half, 0, 1, 2, 3) + __builtin_shufflevector(half, half, 4, 5, 6, 7);
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

// Rows become columns: 2 by 2 within fours, then fours.
PG_INLINE void transpose(Vec (&r)[16]) {
    Vec t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
        t[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
    }
    for (int i = 0; i < 16; i += 4) {
        for (int j = 0; j < 2; ++j) {
            r[i + 2 * j] = __builtin_shufflevector(t[i + j], t[i + j + 2], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12,
                                                   13, 28, 29);
            r[i + 2 * j + 1] = __builtin_shufflevector(t[i + j], t[i + j + 2], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26,
                                                       27, 14, 15, 30, 31);
        }
    }
    for (int i = 0; i < 16; i += 8) {
        for (int j = 0; j < 4; ++j) {
            t[i + j] = __builtin_shufflevector(r[i + j], r[i + j + 4], 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25,
                                               26, 27);
            t[i + j + 4] = __builtin_shufflevector(r[i + j], r[i + j + 4], 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23,
                                                   28, 29, 30, 31);
        }
    }
    for (int j = 0; j < 4; ++j) {
        r[j] = __builtin_shufflevector(t[j], t[j + 8], 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
        r[j + 8] = __builtin_shufflevector(t[j], t[j + 8], 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
        r[j + 4] =
            __builtin_shufflevector(t[j + 4], t[j + 12], 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
        r[j + 12] =
            __builtin_shufflevector(t[j + 4], t[j + 12], 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    }
}

// e to the x, to about one unit in the last place for x in [-87.3, 88]; 0 below.
PG_INLINE Vec exp_of(const Vec& x) {
    const Vec clamped = smaller(larger(x, all(-87.3f)), all(88.0f));
    const Vec magic = all(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer, which stands in the low bits
    const Vec shifted = clamped * 1.44269504088896341f + magic;
    const Vec n = shifted - magic;
    const Vec r = (clamped - n * 0.693359375f) - n * -2.12194440e-4f;
    Vec y = r * 1.9875691500e-4f + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * (r * r) + (r + 1.0f);
    const VecInt power = (reinterpret_cast<VecInt>(shifted) - 0x4b400000 + 127) << 23;
    const Vec value = y * reinterpret_cast<Vec>(power);
    const Vec kept = x < all(-87.3f) ? Vec{} : value;
    return x != x ? x : kept;
}

// -- how keys and values are kept --------------------------------------------------------------------------------
//
// A row is 16 numbers side by side, a group two rows as the kind lays them out.

struct F32 {
    typedef float Number;
    static PG_INLINE Vec row(const float* at) { return load(at); }
    static PG_INLINE void put_row(float* at, const Vec& v) { store(at, v); }
    static PG_INLINE void group(const float* at, Vec& a, Vec& b) {
        a = load(at);
        b = load(at + 16);
    }
    static PG_INLINE void put_group(float* at, const Vec& a, const Vec& b) {
        store(at, a);
        store(at + 16, b);
    }
};

struct BF16 {
    typedef uint16_t Number;
    typedef uint16_t Words __attribute__((vector_size(32), aligned(2), may_alias));
    typedef uint32_t Wide __attribute__((vector_size(64)));
    typedef uint32_t WideLoose __attribute__((vector_size(64), aligned(2), may_alias));
    static PG_INLINE Vec row(const uint16_t* at) {
#if defined(__AVX512F__)
        const __m512i wide =
            _mm512_maskz_cvtepu16_epi32(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
        return reinterpret_cast<Vec>(reinterpret_cast<Wide>(wide) << 16);
#else
        const Wide wide = __builtin_convertvector(*reinterpret_cast<const Words*>(at), Wide) << 16;
        return reinterpret_cast<Vec>(wide);
#endif
    }
    // Rounded to nearest, ties to even, in the upper halves; a NaN stays one.
    static PG_INLINE Wide rounded(const Vec& v) {
        const Wide bits = reinterpret_cast<Wide>(v), up = bits + 0x7fffu + ((bits >> 16) & 1u);
        return v != v ? bits | 0x400000u : up;
    }
    static PG_INLINE void put_row(uint16_t* at, const Vec& v) {
        *reinterpret_cast<Words*>(at) = __builtin_convertvector(rounded(v) >> 16, Words);
    }
    static PG_INLINE void group(const uint16_t* at, Vec& a, Vec& b) {
        const Wide both = *reinterpret_cast<const WideLoose*>(at);
        a = reinterpret_cast<Vec>(both << 16);
        b = reinterpret_cast<Vec>(both & 0xffff0000u);
    }
    static PG_INLINE void put_group(uint16_t* at, const Vec& a, const Vec& b) {
        *reinterpret_cast<WideLoose*>(at) = (rounded(a) >> 16) | (rounded(b) & 0xffff0000u);
    }
};

struct F16 {
    typedef uint16_t Number;
    static PG_INLINE Vec row(const uint16_t* at) {
#if defined(__AVX512F__)
        return reinterpret_cast<Vec>(
            _mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at))));
#elif defined(__F16C__)
        const Half a = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
        const Half b = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at + 8)));
        return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#else
        alignas(64) float numbers[16];
        for (int i = 0; i < 16; ++i) numbers[i] = from_f16(at[i]);
        return load(numbers);
#endif
    }
    // What is too large becomes the largest number, so that no sum meets infinity.
    static PG_INLINE void put_row(uint16_t* at, const Vec& v) {
        const Vec most = all(65504.0f), held = v != v ? v : smaller(larger(v, -most), most);
#if defined(__F16C__)
        const Half a = low(held), b = high(held);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(at), _mm256_cvtps_ph(reinterpret_cast<__m256>(a), 0));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(at + 8), _mm256_cvtps_ph(reinterpret_cast<__m256>(b), 0));
#else
        alignas(64) float numbers[16];
        store(numbers, held);
        for (int i = 0; i < 16; ++i) at[i] = to_f16(numbers[i]);
#endif
    }
    static PG_INLINE void group(const uint16_t* at, Vec& a, Vec& b) {
        a = row(at);
        b = row(at + 16);
    }
    static PG_INLINE void put_group(uint16_t* at, const Vec& a, const Vec& b) {
        put_row(at, a);
        put_row(at + 16, b);
    }
};

}  // namespace
