// Tiles: int8 for any number of rows, bfloat16 for many. A tile holds 16 rows of 64 bytes; a panel is a column of them.
//
// Every call sets the tiles up and gives them back, so that a thread that computes nothing has no tile state to save.
// With more than 16 rows, 32 rows times 2 panels are summed at once: each tile that is loaded is used twice.
#include "cpu/tiles.h"
#include "linear/linear_finish.h"
#include "linear/linear_groups.h"

namespace {

constexpr int GROUP_PANELS = 32;   // whose sums wait in memory, at most
constexpr int CHUNK_TILES = 16;    // tiles along K that are summed before the next panel
constexpr int AHEAD_TILES = 2;     // tiles of weights that are asked for before they are needed, with few rows

// Sums 0 to 3, rows of x 4 and 5, weights 6 and 7; sums and x have `rows` rows.
void set_tiles(int rows) {
    TileShapes shapes;
    for (int i = 0; i < 6; ++i) shapes.rows[i] = static_cast<uint8_t>(rows);
    shapes.use();
}

// The instruction wants the numbers of its tiles as literals.
#define MULTIPLY(sums, x, weights)               \
    do {                                         \
        if constexpr (Kind == LINEAR_INT8) {     \
            _tile_dpbusd(sums, x, weights);      \
        } else {                                 \
            _tile_dpbf16ps(sums, x, weights);    \
        }                                        \
    } while (false)

// Tiles of 64 bytes along K.
int tiles_of(int kind, int k) { return padded_k(kind, k) * (kind == LINEAR_INT8 ? 1 : 2) / 64; }

template <int Nearness>  // 3: into the first level of the cache, 2: into the second
PG_INLINE void ask_for_tile(const uint8_t* tile) {
    PG_UNROLL
    for (int line = 0; line < TILE; ++line) __builtin_prefetch(tile + line * 64, 0, Nearness);
}

// Up to 16 rows: the weights stream by, once.
void few_rows(const LinearWork& work) {
    const int count = tiles_of(LINEAR_INT8, work.w.k);
    alignas(64) int32_t sums[TILE * LINEAR_PANEL];
    set_tiles(work.m);
    for (int panel = work.panel_begin; panel < work.panel_end; ++panel) {
        const uint8_t* weights = panel_at(work.w, panel);
        const uint8_t* x = work.q->values;
        _tile_zero(0);
        for (int i = 0; i < count; ++i, weights += TILE_BYTES, x += 64) {
            ask_for_tile<3>(weights + AHEAD_TILES * TILE_BYTES);
            _tile_loadd(4, x, work.q->stride);
            _tile_loadd(6, weights, 64);
            _tile_dpbusd(0, 4, 6);
        }
        _tile_stored(0, sums, 64);
        finish<SUMS_BYTES>(work, 0, work.m, panel, sums, 64);
    }
    _tile_release();
}

// A part of K of 16 or 32 rows times 1 or 2 panels. `sums` [32][32] are loaded where `begin` is not 0.
struct Part {
    const uint8_t* x;
    int64_t stride;
    const uint8_t* weights;
    int64_t panel_step;  // bytes from a panel to the next
    int begin;           // tiles along K
    int end;
    int ask_first;  // of every `ask_step` tiles of the weights that come next, this one is asked for here
    int ask_step;
};

constexpr int64_t SUMS_STEP = 2 * LINEAR_PANEL * 4;  // bytes from one row of sums to the next

template <int Kind, bool TwoRows, bool TwoPanels>
PG_INLINE void multiply_tiles(const Part& part, int32_t* sums) {
    int32_t* below = sums + TILE * 2 * LINEAR_PANEL;
    if (part.begin == 0) {
        _tile_zero(0);
        if constexpr (TwoPanels) _tile_zero(1);
        if constexpr (TwoRows) _tile_zero(2);
        if constexpr (TwoRows && TwoPanels) _tile_zero(3);
    } else {
        _tile_loadd(0, sums, SUMS_STEP);
        if constexpr (TwoPanels) _tile_loadd(1, sums + LINEAR_PANEL, SUMS_STEP);
        if constexpr (TwoRows) _tile_loadd(2, below, SUMS_STEP);
        if constexpr (TwoRows && TwoPanels) _tile_loadd(3, below + LINEAR_PANEL, SUMS_STEP);
    }
    for (int i = part.begin; i < part.end; ++i) {
        const uint8_t* x = part.x + i * 64;
        const uint8_t* weights = part.weights + static_cast<int64_t>(i) * TILE_BYTES;
        if (part.ask_step == 1 || i % part.ask_step == part.ask_first) {
            ask_for_tile<2>(weights + 2 * part.panel_step);
            if constexpr (TwoPanels) ask_for_tile<2>(weights + 3 * part.panel_step);
        }
        _tile_loadd(6, weights, 64);
        _tile_loadd(4, x, part.stride);
        MULTIPLY(0, 4, 6);
        if constexpr (TwoPanels) {
            _tile_loadd(7, weights + part.panel_step, 64);
            MULTIPLY(1, 4, 7);
        }
        if constexpr (TwoRows) {
            _tile_loadd(5, x + TILE * part.stride, part.stride);
            MULTIPLY(2, 5, 6);
            if constexpr (TwoPanels) MULTIPLY(3, 5, 7);
        }
    }
    _tile_stored(0, sums, SUMS_STEP);
    if constexpr (TwoPanels) _tile_stored(1, sums + LINEAR_PANEL, SUMS_STEP);
    if constexpr (TwoRows) _tile_stored(2, below, SUMS_STEP);
    if constexpr (TwoRows && TwoPanels) _tile_stored(3, below + LINEAR_PANEL, SUMS_STEP);
}

template <int Kind>
PG_INLINE void multiply_any(const Part& part, bool two_rows, bool two_panels, int32_t* sums) {
    if (two_rows && two_panels) {
        multiply_tiles<Kind, true, true>(part, sums);
    } else if (two_rows) {
        multiply_tiles<Kind, true, false>(part, sums);
    } else if (two_panels) {
        multiply_tiles<Kind, false, true>(part, sums);
    } else {
        multiply_tiles<Kind, false, false>(part, sums);
    }
}

// Rows [row, row_end) times panels [panel, panel_end), tiles [begin, end) of K. Sums of what is not complete stay in
// `waiting`, 32 x 32 of them for each pair of panels and each pair of tiles of rows.
template <int Kind>
void multiply_chunk(const LinearWork& work, Share rows, Share panels, int begin, int end, int32_t* waiting) {
    constexpr Sums sums = Kind == LINEAR_INT8 ? SUMS_BYTES : SUMS_FLOAT;
    const bool complete = end == tiles_of(Kind, work.w.k);
    const int pairs = (rows.end - rows.begin + 2 * TILE - 1) / (2 * TILE);
    for (int panel = panels.begin; panel < panels.end; panel += 2) {
        for (int row = rows.begin, pair = 0; row < rows.end; row += 2 * TILE, ++pair) {
            const Part part{work.q->values + static_cast<int64_t>(row) * work.q->stride, work.q->stride,
                            panel_at(work.w, panel), panel_bytes(Kind, work.w.k), begin, end, pair, pairs};
            const bool two_rows = row + TILE < rows.end, two_panels = panel + 1 < panels.end;
            multiply_any<Kind>(part, two_rows, two_panels, waiting);
            if (complete) {
                const int left = rows.end - row, count = left < 2 * TILE ? left : 2 * TILE;
                finish<sums>(work, row, count, panel, waiting, SUMS_STEP);
                if (two_panels) finish<sums>(work, row, count, panel + 1, waiting + LINEAR_PANEL, SUMS_STEP);
            }
            if (begin > 0 || !complete) waiting += 4 * TILE * LINEAR_PANEL;
        }
    }
}

template <int Kind>
void many_rows(const LinearWork& work) {
    int32_t* waiting = static_cast<int32_t*>(linear_scratch(sizeof(int32_t) * GROUP_ROWS * GROUP_PANELS * LINEAR_PANEL));
    set_tiles(TILE);
    const int tiles = tiles_of(Kind, work.w.k);
    by_groups(work, tiles, GROUP_PANELS, CHUNK_TILES, [&](Share rows, Share panels, int begin, int end) {
        multiply_chunk<Kind>(work, rows, panels, begin, end, waiting);
    });
    _tile_release();
}

}  // namespace

void linear_amx_int8(const LinearWork& work) {
    if (work.m <= TILE) {
        few_rows(work);
    } else {
        many_rows<LINEAR_INT8>(work);
    }
}

void linear_amx_bf16(const LinearWork& work) { many_rows<LINEAR_BF16>(work); }
