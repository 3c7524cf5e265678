// Weights of half precision by tiles of bfloat16: as exact as float32, up to three times as fast as its vectors.
//
// The 24 binary digits of a float are those of three bfloat16 of 8 each, the 11 of a half those of two; cut off one
// after the other they are exact: x = x1 + x2 + x3, w = w1 + w2. A product is the sum of five products of parts. The
// sixth, x3 w2, is below 2^-22 of it and left out; float32 rounds as much away. (float32 weights would have three parts
// and want six products: where other work slows tiles down, as on shared machines, vectors were quicker.)
// Rows of x are cut when they are made ready, [row][part][K]; weights panel by panel, into memory of the thread.
#include "cpu/tiles.h"
#include "linear/linear_finish.h"
#include "linear/linear_groups.h"

namespace {

constexpr int TILE_K = 32;       // numbers along K in a tile
constexpr int WIDTH = 4;         // panels whose sums are made at once
constexpr int GROUP_PANELS = 16; // whose sums wait in memory, at most
constexpr int CHUNK_TILES = 8;   // tiles along K that are summed before the next panels: their parts fill the first-level cache
constexpr int X_PARTS = 3, W_PARTS = 2;
constexpr int64_t SUMS_STEP = WIDTH * LINEAR_PANEL * 4;  // bytes from one row of sums to the next
constexpr uint32_t HIGH = 0xffff0000u;

int tiles_of(int k) { return (k + TILE_K - 1) / TILE_K; }

// The next part of a and of b, in pairs; what is left of them stays.
PG_INLINE Words cut(Floats& a, Floats& b) {
    const Words high_a = as<Words>(a) & HIGH, high_b = as<Words>(b) & HIGH;
    a -= as<Floats>(high_a);
    b -= as<Floats>(high_b);
    return high_a >> 16 | high_b;
}

// Row k of a panel.
PG_INLINE Floats weights_at(const uint8_t* panel, int64_t k) {
    return as<Floats>(_mm512_cvtph_ps(load<__m256i>(panel + k * 2 * LINEAR_PANEL)));
}

// Tiles [begin, end) of a panel, as [tile][place of the panel][part].
void cut_weights(const LinearWork& work, int panel, int place, int begin, int end, uint8_t* to) {
    const uint8_t* from = panel_at(work.w, panel);
    to += place * W_PARTS * TILE_BYTES;
    for (int tile = begin; tile < end; ++tile, to += WIDTH * W_PARTS * TILE_BYTES) {
        const int first = tile * TILE_K, left = work.w.k - first, rows = left < TILE_K ? left : TILE_K;
        for (int k = 0; k < TILE_K; k += 2) {
            Floats a = k < rows ? weights_at(from, first + k) : Floats{};
            Floats b = k + 1 < rows ? weights_at(from, first + k + 1) : Floats{};
            PG_UNROLL
            for (int part = 0; part < W_PARTS; ++part) store(to + part * TILE_BYTES + k * 32, cut(a, b));
        }
    }
}

// A part of K of up to 16 rows times 1 to WIDTH panels.
struct Block {
    const uint8_t* x;
    int64_t stride;     // bytes from one row of x to the next
    int64_t part_step;  // bytes from one part of x to the next
    const uint8_t* weights;
    int tiles;
    bool first;
};

// Tiles 0 to 3 are sums, 4 to 6 the parts of x, 7 a part of the weights. The instructions want literals.
#define ADD_PANEL(sums)                                            \
    if constexpr (Panels > sums) {                                 \
        const uint8_t* parts = weights + sums * W_PARTS * TILE_BYTES; \
        _tile_loadd(7, parts, 64);                                 \
        _tile_dpbf16ps(sums, 4, 7);                                \
        _tile_dpbf16ps(sums, 5, 7);                                \
        _tile_dpbf16ps(sums, 6, 7);                                \
        _tile_loadd(7, parts + TILE_BYTES, 64);                    \
        _tile_dpbf16ps(sums, 4, 7);                                \
        _tile_dpbf16ps(sums, 5, 7);                                \
    }
#define BEGIN_PANEL(sums)                                                                    \
    if constexpr (Panels > sums) {                                                           \
        if (block.first) _tile_zero(sums); else _tile_loadd(sums, to + sums * LINEAR_PANEL, SUMS_STEP); \
    }
#define END_PANEL(sums) \
    if constexpr (Panels > sums) _tile_stored(sums, to + sums * LINEAR_PANEL, SUMS_STEP);

template <int Panels>
void multiply_block(const Block& block, int32_t* to) {
    BEGIN_PANEL(0) BEGIN_PANEL(1) BEGIN_PANEL(2) BEGIN_PANEL(3)
    const uint8_t *x = block.x, *weights = block.weights;
    for (int i = 0; i < block.tiles; ++i, x += 64, weights += WIDTH * W_PARTS * TILE_BYTES) {
        _tile_loadd(4, x, block.stride);
        _tile_loadd(5, x + block.part_step, block.stride);
        _tile_loadd(6, x + 2 * block.part_step, block.stride);
        ADD_PANEL(0) ADD_PANEL(1) ADD_PANEL(2) ADD_PANEL(3)
    }
    END_PANEL(0) END_PANEL(1) END_PANEL(2) END_PANEL(3)
}

void multiply_any(const Block& block, int panels, int32_t* to) {
    if (panels == 1) return multiply_block<1>(block, to);
    if (panels == 2) return multiply_block<2>(block, to);
    if (panels == 3) return multiply_block<3>(block, to);
    multiply_block<WIDTH>(block, to);
}

// Rows times panels, tiles [begin, end) of K. Sums of what is not complete stay in `waiting`, [16][WIDTH][16] of them for
// each WIDTH panels and each tile of rows.
void multiply_chunk(const LinearWork& work, Share rows, Share panels, int begin, int end, uint8_t* weights,
                    int32_t* waiting) {
    const bool complete = end == tiles_of(work.w.k);
    const int64_t part_step = int64_t{2} * TILE_K * tiles_of(work.w.k), stride = work.q->stride;
    for (int panel = panels.begin; panel < panels.end; panel += WIDTH) {
        const int count = panels.end - panel < WIDTH ? panels.end - panel : WIDTH;
        for (int place = 0; place < count; ++place) {
            cut_weights(work, panel + place, place, begin, end, weights);
        }
        for (int row = rows.begin; row < rows.end; row += TILE, waiting += TILE * WIDTH * LINEAR_PANEL) {
            const uint8_t* x = work.q->values + row * stride + begin * 64;
            multiply_any({x, stride, part_step, weights, end - begin, begin == 0}, count, waiting);
            const int left = rows.end - row, here = left < TILE ? left : TILE;
            for (int place = 0; complete && place < count; ++place) {
                finish<SUMS_FLOAT>(work, row, here, panel + place, waiting + place * LINEAR_PANEL, SUMS_STEP);
            }
        }
    }
}

// Numbers i to i + 16 of a row, zeros behind its end.
PG_INLINE Floats some(const float* from, int i, int k) {
    const int left = k - i;
    const __mmask16 mask = left >= 16 ? 0xffff : left > 0 ? static_cast<__mmask16>((1u << left) - 1) : 0;
    return as<Floats>(_mm512_maskz_loadu_ps(mask, from + i));
}

}  // namespace

void linear_amx_f16(const LinearWork& work) {
    constexpr int64_t sums = sizeof(int32_t) * GROUP_ROWS * GROUP_PANELS * LINEAR_PANEL;
    constexpr int64_t cut = int64_t{WIDTH} * W_PARTS * CHUNK_TILES * TILE_BYTES;
    uint8_t* weights = static_cast<uint8_t*>(linear_scratch(cut + sums));
    int32_t* waiting = reinterpret_cast<int32_t*>(weights + cut);
    const TileShapes shapes;
    shapes.use();
    const int tiles = tiles_of(work.w.k);
    by_groups(work, tiles, GROUP_PANELS, CHUNK_TILES, [&](Share rows, Share panels, int begin, int end) {
        multiply_chunk(work, rows, panels, begin, end, weights, waiting);
    });
    _tile_release();
}

void linear_amx_split(const float* x, int, int k, int ldx, const Quantized* q, int begin, int end) {
    const int64_t part_step = int64_t{2} * TILE_K * tiles_of(k);
    for (int row = begin; row < end; ++row) {
        const float* from = x + static_cast<int64_t>(row) * ldx;
        uint8_t* to = q->values + static_cast<int64_t>(row) * q->stride;
        for (int i = 0; i < k; i += 16) {
            Floats left = some(from, i, k);
            PG_UNROLL
            for (int part = 0; part < X_PARTS; ++part) {
                const Words high = as<Words>(left) & HIGH;
                left -= as<Floats>(high);
                store(to + part * part_step + 2 * i, _mm512_cvtepi32_epi16(as<__m512i>(high >> 16)));
            }
        }
        if (tiles_of(k) * TILE_K - k >= 16) {
            for (int part = 0; part < X_PARTS; ++part) std::memset(to + part * part_step + 2 * round_up(k, 16), 0, 32);
        }
    }
}
