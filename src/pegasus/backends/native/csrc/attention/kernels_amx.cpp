// Attention over bfloat16 keys and values with tiles: 16 queries by 16 tokens (or columns) in one instruction.
#include "attention/kernels_bf16.h"
#include "cpu/tiles.h"

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

struct Tiles {
    explicit Tiles(int rows) { shape_tiles(rows); }
    ~Tiles() { _tile_release(); }
    static void score(const uint16_t* queries, int rows, int padded, const uint16_t* keys, int tokens, float* scores,
                      int64_t ld) {
        score_tiles(queries, rows, padded, keys, tokens, scores, ld);
    }
    static void mix(const uint16_t* weights, int rows, int64_t ld, const uint16_t* values, int padded, int e, int tokens,
                    float* out) {
        mix_tiles(weights, rows, ld, values, padded, e, tokens, out);
    }
};

}  // namespace

void attend_amx(const Attend& a) { attend_rounded<Tiles>(a); }
