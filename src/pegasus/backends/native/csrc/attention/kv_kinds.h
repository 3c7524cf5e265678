// How keys and values are kept: as float32, bfloat16 or float16, and taken up again as floats.
//
// A row is 16 numbers side by side, a group two rows as the kind lays them out.
#pragma once

#include "cpu/half.h"
#include "cpu/vectors.h"

namespace {

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

// As many numbers of 16 bits as a part has.
typedef uint16_t PartHalves __attribute__((vector_size(2 * kLanes), aligned(2), may_alias));

struct BF16 {
    typedef uint16_t Number;
    static PG_INLINE Vec row(const uint16_t* at) {
        Vec v;
        each_part(v, 0, [&](Part& part, int i) {
#if defined(__AVX512F__)
            const __m512i wide =
                _mm512_maskz_cvtepu16_epi32(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + i)));
            part = reinterpret_cast<Part>(reinterpret_cast<PartWord>(wide) << 16);
#else
            const auto halves = *reinterpret_cast<const PartHalves*>(at + i);
            part = reinterpret_cast<Part>(__builtin_convertvector(halves, PartWord) << 16);
#endif
        });
        return v;
    }
    static PG_INLINE void put_row(uint16_t* at, const Vec& v) {
        each_part(v, 0, [&](const Part& part, int i) {
            *reinterpret_cast<PartHalves*>(at + i) = __builtin_convertvector(rounded(part) >> 16, PartHalves);
        });
    }
    // Numbers of a group stand by twos: one of the first row, in the lower half of 32 bits, and one of the second.
    static PG_INLINE void group(const uint16_t* at, Vec& a, Vec& b) {
        each_part(a, b, 0, [&](Part& first, Part& second, int i) {
            const PartWord both = *reinterpret_cast<const PartWordLoose*>(at + 2 * i);
            first = reinterpret_cast<Part>(both << 16);
            second = reinterpret_cast<Part>(both & 0xffff0000u);
        });
    }
    static PG_INLINE void put_group(uint16_t* at, const Vec& a, const Vec& b) {
        each_part(a, b, 0, [&](const Part& first, const Part& second, int i) {
            *reinterpret_cast<PartWordLoose*>(at + 2 * i) = (rounded(first) >> 16) | (rounded(second) & 0xffff0000u);
        });
    }

private:
    // Rounded to nearest, ties to even, in the upper halves; a NaN stays one.
    static PG_INLINE PartWord rounded(const Part& v) {
        const PartWord bits = reinterpret_cast<PartWord>(v), up = bits + 0x7fffu + ((bits >> 16) & 1u);
        return v != v ? bits | 0x400000u : up;
    }
};

struct F16 {
    typedef uint16_t Number;
    static PG_INLINE Vec row(const uint16_t* at) {
        Vec v;
        each_part(v, 0, [&](Part& part, int i) {
#if defined(__AVX512F__)
            part = reinterpret_cast<Part>(
                _mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + i))));
#elif defined(__F16C__)
            part = reinterpret_cast<Part>(_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at + i))));
#else
            for (int lane = 0; lane < kLanes; ++lane) part[lane] = from_f16(at[i + lane]);
#endif
        });
        return v;
    }
    // What is too large becomes the largest number, so that no sum meets infinity.
    static PG_INLINE void put_row(uint16_t* at, const Vec& v) {
        each_part(v, 0, [&](const Part& part, int i) {
            const Part most = 65504.0f - Part{}, held = part != part ? part : smaller(larger(part, -most), most);
#if defined(__AVX512F__)
            const __m256i halves = _mm512_maskz_cvtps_ph(0xffff, reinterpret_cast<__m512>(held), 0);
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(at + i), halves);
#elif defined(__F16C__)
            _mm_storeu_si128(reinterpret_cast<__m128i*>(at + i), _mm256_cvtps_ph(reinterpret_cast<__m256>(held), 0));
#else
            for (int lane = 0; lane < kLanes; ++lane) at[i + lane] = to_f16(held[lane]);
#endif
        });
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
