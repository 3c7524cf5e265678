// Attention over bfloat16 keys and values with tiles: 16 queries by 16 tokens (or columns) in one instruction.
#include "kernels_body.h"
#include "tiles.h"

namespace {

// Tiles 0 to 3 hold sums, 4 and 5 queries or weights, 6 and 7 keys or values. Up to 16 rows share one tile of queries
// and have four tiles of sums side by side; more have two rows of two.
void shape_tiles(int rows) {
    const int first = rows < 16 ? rows : 16, second = rows > 16 ? rows - 16 : first;
    TileShapes shapes;
    for (int tile = 0; tile < 8; ++tile) {
        const bool upper = tile == 2 || tile == 3 || tile == 5;
        shapes.rows[tile] = static_cast<uint8_t>(tile >= 6 ? 16 : upper ? second : first);
    }
    shapes.use();
}

PG_INLINE void zero_sums() {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

// One product of 16 to 32 rows by 32 columns: adds to the sums what `left` and the two tiles of `right` make.
PG_INLINE void add_square(const uint16_t* left, int64_t ld, const uint16_t* right, int64_t apart) {
    _tile_loadd(4, left, ld * 2);
    _tile_loadd(6, right, 64);
    _tile_loadd(7, right + apart, 64);
    _tile_loadd(5, left + 16 * ld, ld * 2);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

// One product of up to 16 rows by 64 columns (32 if not `four`).
PG_INLINE void add_line(const uint16_t* left, int64_t ld, const uint16_t* right, int64_t apart, bool four) {
    _tile_loadd(4, left, ld * 2);
    _tile_loadd(6, right, 64);
    _tile_loadd(7, right + apart, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if (!four) return;
    _tile_loadd(6, right + 2 * apart, 64);
    _tile_loadd(7, right + 3 * apart, 64);
    _tile_dpbf16ps(2, 4, 6);
    _tile_dpbf16ps(3, 4, 7);
}

PG_INLINE void store_square(float* at, int64_t ld) {
    _tile_stored(0, at, ld * 4);
    _tile_stored(1, at + 16, ld * 4);
    _tile_stored(2, at + 16 * ld, ld * 4);
    _tile_stored(3, at + 16 * ld + 16, ld * 4);
}

PG_INLINE void store_line(float* at, int64_t ld, bool four) {
    _tile_stored(0, at, ld * 4);
    _tile_stored(1, at + 16, ld * 4);
    if (!four) return;
    _tile_stored(2, at + 32, ld * 4);
    _tile_stored(3, at + 48, ld * 4);
}

PG_INLINE void store_bf16(uint16_t* at, Vec v) {
    const __m256bh rounded = _mm512_cvtneps_pbh(reinterpret_cast<__m512>(v));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), reinterpret_cast<__m256i>(rounded));
}

// scores [rows][ld] = queries keys^T
void score_tiles(const uint16_t* queries, int rows, int padded, const uint16_t* keys, int tokens, float* scores,
                 int64_t ld) {
    const int64_t panel = int64_t{16} * padded;
    const int step = rows > 16 ? 32 : 64;
    for (int token = 0; token < tokens; token += step) {
        const bool four = token + 32 < tokens;
        zero_sums();
        for (int e = 0; e < padded; e += 32) {
            const uint16_t* right = keys + token / 16 * panel + e * 16;
            if (rows > 16) add_square(queries + e, padded, right, panel);
            else add_line(queries + e, padded, right, panel, four);
        }
        if (rows > 16) store_square(scores + token, ld);
        else store_line(scores + token, ld, four);
    }
}

// e to the x for x <= 0, good to bfloat16 and two digits more.
PG_INLINE Vec quick_exp(const Vec& x) {
    const __m512 powers = _mm512_mul_ps(reinterpret_cast<__m512>(x), _mm512_set1_ps(1.44269504088896341f));
    const __m512 whole = _mm512_maskz_roundscale_ps(0xffff, powers, 0);
    const Vec f = reinterpret_cast<Vec>(powers) - reinterpret_cast<Vec>(whole);
    Vec y = f * 0.0096181291f + 0.0555041087f;
    y = y * f + 0.2402265070f;
    y = y * f + 0.6931471806f;
    y = y * f + 1.0f;
    return reinterpret_cast<Vec>(_mm512_maskz_scalef_ps(0xffff, reinterpret_cast<__m512>(y), whole));
}

// As exp_scores, the results rounded into `weights`.
PG_INLINE float exp_scores_bf16(float* scores, int length, int tokens, uint16_t* weights) {
    const float greatest = close_scores(scores, length, tokens);
    Vec even = {}, odd = {};
    for (int i = 0; i < tokens; i += 32) {
        const Vec a = quick_exp(load(scores + i) - greatest), b = quick_exp(load(scores + i + 16) - greatest);
        store_bf16(weights + i, a);
        store_bf16(weights + i + 16, b);
        even += a;
        odd += b;
    }
    return sum_of(even + odd);
}

constexpr int kColumns = 64;  // of the result that are made at once

// out [rows][kColumns] = weights values, for columns from e on; `four`: there are more than 32.
void mix_tiles(const uint16_t* weights, int rows, int64_t ld, const uint16_t* values, int padded, int e, int tokens,
               float* out) {
    const bool four = e + 32 < padded;
    for (int part = 0; part < (rows > 16 && four ? 2 : 1); ++part) {
        zero_sums();
        for (int token = 0; token < tokens; token += 32) {
            const uint16_t* right = values + int64_t{token} * padded + (e + 32 * part) * 32;
            if (rows > 16) add_square(weights + token, ld, right, 512);
            else add_line(weights + token, ld, right, 512, four);
        }
        if (rows > 16) store_square(out + 32 * part, kColumns);
        else store_line(out, kColumns, four);
    }
}

void finish_columns(const Attend& a, int e, const float* mixed, const float* sums) {
    const int columns = a.head_width - e < kColumns ? a.head_width - e : kColumns;
    for (int row = 0; row < a.rows; ++row) {
        const float share = 1.0f / sums[row];
        float* out = a.out + row * a.ld_out + e;
        for (int i = 0; i < columns; i += 16)
            store_some(out + i, load(mixed + row * kColumns + i) * share, columns - i);
    }
}

// Heads wider than this are left to the vectors: their queries would not fit beside the rest.
constexpr int kWidest = 256;

void attend_amx(const Attend& a) {
    if (a.padded > kWidest) return attend<BF16>(a);
    const int tokens = pad_length(a.length);
    const int64_t ld = tokens + 16, ld_weights = tokens + 32;
    alignas(64) uint16_t queries[QUERY_BLOCK * kWidest];
    for (int i = 0; i < a.rows * a.padded; i += 16) store_bf16(queries + i, load(a.queries + i));
    shape_tiles(a.rows);
    score_tiles(queries, a.rows, a.padded, static_cast<const uint16_t*>(a.keys), tokens, a.scratch, ld);
    auto* weights = reinterpret_cast<uint16_t*>(a.scratch + QUERY_BLOCK * ld);
    float sums[QUERY_BLOCK];
    for (int row = 0; row < a.rows; ++row) {
        sums[row] = exp_scores_bf16(a.scratch + row * ld, a.length, tokens, weights + row * ld_weights);
    }
    alignas(64) float mixed[QUERY_BLOCK * kColumns];
    for (int e = 0; e < a.padded; e += kColumns) {
        mix_tiles(weights, a.rows, ld_weights, static_cast<const uint16_t*>(a.values), a.padded, e, tokens, mixed);
        finish_columns(a, e, mixed, sums);
    }
    _tile_release();
}

}  // namespace

void fill_amx(Kernels& table) { table.attend[1] = attend_amx; }
