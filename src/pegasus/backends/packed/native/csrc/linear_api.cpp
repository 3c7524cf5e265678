// The C interface of the linears alone: packing for the Python side, and each kernel by itself for tests and timing.
#include <cstdlib>
#include <new>

#include "cpu.h"
#include "linear_kernels.h"

#define PG_EXPORT extern "C" __attribute__((visibility("default")))

// -- the processor ----------------------------------------------------------------------------------------------

PG_EXPORT int32_t pg_cpu_level() { return cpu_level(); }
PG_EXPORT int32_t pg_cpu_best() { return cpu_best(); }
PG_EXPORT int32_t pg_cpu_use(int32_t level) {
    return cpu_use(static_cast<Level>(level < 0 ? 0 : level > LEVEL_AMX ? LEVEL_AMX : level));
}
PG_EXPORT const char* pg_cpu_name(int32_t level) { return cpu_name(static_cast<Level>(level)); }

// -- packing ----------------------------------------------------------------------------------------------------

PG_EXPORT int64_t pg_packed_bytes(int32_t kind, int32_t n, int32_t k) { return linear_packed_bytes(kind, n, k); }

// Packs w [N, K] over `threads` threads. scale_N and sums_N are filled for int8 and may be null otherwise.
PG_EXPORT void pg_pack(int32_t kind, int32_t n, int32_t k, const float* w_NK, void* out, float* scale_N,
                       int32_t* sums_N, int32_t threads) {
    Pool pool(static_cast<int64_t>(n) * k < (1 << 20) ? 1 : threads);
    pool.run([&](int tid, int count) {
        const Share panels = share_of((n + LINEAR_PANEL - 1) / LINEAR_PANEL, tid, count);
        linear_pack(kind, n, k, w_NK, out, scale_N, sums_N, panels.begin, panels.end);
    });
}

PG_EXPORT void pg_row(const Linear* w, int32_t row, float* out_K) { linear_row(*w, row, out_K); }

// -- one linear -------------------------------------------------------------------------------------------------

// y = activation(x W^T + bias) + residual over a pool of `threads` threads that stays from call to call of one
// `pg_runner`. Null when there is no memory.
struct PgRunner {
    explicit PgRunner(int threads) : pool(threads) {}
    ~PgRunner() { std::free(memory); }
    Pool pool;
    void* memory = nullptr;
    int64_t bytes = 0;
};

PG_EXPORT PgRunner* pg_runner_new(int32_t threads) { return new (std::nothrow) PgRunner(threads); }
PG_EXPORT void pg_runner_free(PgRunner* runner) { delete runner; }

static bool grow(PgRunner* runner, int64_t bytes) {
    if (bytes <= runner->bytes) return true;
    std::free(runner->memory);
    runner->memory = std::aligned_alloc(64, static_cast<size_t>(round_up(bytes, 64)));
    runner->bytes = runner->memory == nullptr ? 0 : bytes;
    return runner->memory != nullptr;
}

// Returns 0, or -1 when there is no memory. `residual` may be null.
PG_EXPORT int32_t pg_linear(PgRunner* runner, const Linear* w, const float* x, int32_t ldx, int32_t m, float* y,
                            int32_t ldy, int32_t activation, const float* residual, int32_t ld_residual) {
    Quantized q{};
    if (linear_prepares(*w, m)) {
        if (!grow(runner, quantized_bytes(m, w->k))) return -1;
        q = quantized_at(runner->memory, m, w->k);
    }
    linear_all(runner->pool, *w, x, ldx, &q, m, y, ldy, Epilogue{activation, residual, ld_residual});
    return 0;
}

// Rows of x as int8 multiplication sees them: bytes [M, K] and a scale for each row.
PG_EXPORT int32_t pg_quantize(PgRunner* runner, const float* x, int32_t m, int32_t k, int32_t ldx, uint8_t* bytes_MK,
                              float* scale_M) {
    if (!grow(runner, quantized_bytes(m, k))) return -1;
    const Quantized q = quantized_at(runner->memory, m, k);
    linear_quantize(x, m, k, ldx, &q, 0, m);
    for (int row = 0; row < m; ++row) {
        std::memcpy(bytes_MK + static_cast<int64_t>(row) * k, q.values + static_cast<int64_t>(row) * q.stride,
                    static_cast<size_t>(k));
    }
    std::memcpy(scale_M, q.scale_M, sizeof(float) * static_cast<size_t>(m));
    return 0;
}

// -- the machine ------------------------------------------------------------------------------------------------

// Reads `words` numbers over the threads of the runner; returns their sum, which is of no use but cannot be left out.
PG_EXPORT uint64_t pg_read(PgRunner* runner, const uint64_t* numbers, int64_t words) {
    std::atomic<uint64_t> sum{0};
    runner->pool.run([&](int tid, int n) {
        uint64_t parts[16] = {};
        const int64_t begin = words / n * tid / 16 * 16, end = tid + 1 == n ? words / 16 * 16 : words / n * (tid + 1) / 16 * 16;
        for (int64_t i = begin; i < end; i += 16) {
            for (int j = 0; j < 16; ++j) parts[j] += numbers[i + j];
        }
        for (uint64_t part : parts) sum += part;
    });
    return sum;
}
