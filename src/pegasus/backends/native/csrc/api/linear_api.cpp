// The C interface of the linears alone: packing for the Python side, and each kernel by itself for tests and timing.
#include <atomic>
#include <cstdlib>

#include "api/api.h"
#include "api/guard.h"
#include "cpu/cpu.h"
#include "cpu/pool.h"
#include "linear/linear_kernels.h"

// -- the processor ----------------------------------------------------------------------------------------------

PG_API int32_t pg_cpu_level() { return cpu_level(); }
PG_API int32_t pg_cpu_best() { return cpu_best(); }
PG_API int32_t pg_cpu_has(int32_t level) { return cpu_has(static_cast<Level>(level)); }
PG_API int32_t pg_cpu_use(int32_t level) {
    return cpu_use(static_cast<Level>(level < 0 ? 0 : level > LEVEL_AMX ? LEVEL_AMX : level));
}
PG_API const char* pg_cpu_name(int32_t level) { return cpu_name(static_cast<Level>(level)); }

// -- packing ----------------------------------------------------------------------------------------------------

PG_API int64_t pg_packed_bytes(int32_t kind, int32_t n, int32_t k) { return linear_packed_bytes(kind, n, k); }

// Packs w [N, K] over `threads` threads. scale_N and sums_N are filled for int8 and may be null otherwise.
PG_API int32_t pg_pack(int32_t kind, int32_t n, int32_t k, const float* w_NK, void* out, float* scale_N,
                       int32_t* sums_N, int32_t threads) {
    return guarded([&]() -> int32_t {
        Pool pool(static_cast<int64_t>(n) * k < (1 << 20) ? 1 : threads);
        pool.run([&](int tid, int count) {
            const Share panels = share_of((n + LINEAR_PANEL - 1) / LINEAR_PANEL, tid, count);
            linear_pack(kind, n, k, w_NK, out, scale_N, sums_N, panels.begin, panels.end);
        });
        return PG_OK;
    });
}

PG_API void pg_row(const Linear* w, int32_t row, float* out_K) { linear_row(*w, row, out_K); }

// -- one linear -------------------------------------------------------------------------------------------------

// y = activation(x W^T + bias) + residual over a pool of `threads` threads that stays from call to call of one
// `pg_runner`.
struct PgRunner {
    explicit PgRunner(int threads) : pool(threads) {}
    ~PgRunner() { std::free(memory); }
    Pool pool;
    void* memory = nullptr;
    int64_t bytes = 0;
};

PG_API int32_t pg_runner_new(int32_t threads, PgRunner** runner) {
    return guarded([&]() -> int32_t {
        *runner = new PgRunner(threads);
        return PG_OK;
    });
}
PG_API void pg_runner_free(PgRunner* runner) { delete runner; }

static bool grow(PgRunner* runner, int64_t bytes) {
    if (bytes <= runner->bytes) return true;
    std::free(runner->memory);
    runner->memory = std::aligned_alloc(64, static_cast<size_t>(round_up(bytes, 64)));
    runner->bytes = runner->memory == nullptr ? 0 : bytes;
    return runner->memory != nullptr;
}

// `residual` may be null.
PG_API int32_t pg_linear(PgRunner* runner, const Linear* w, const float* x, int32_t ldx, int32_t m, float* y,
                            int32_t ldy, int32_t activation, const float* residual, int32_t ld_residual) {
    Quantized q{};
    if (linear_prepares(*w, m)) {
        if (!grow(runner, quantized_bytes(m, w->k))) return PG_NO_MEMORY;
        q = quantized_at(runner->memory, w->kind, m, w->k);
    }
    return guarded([&]() -> int32_t {
        linear_all(runner->pool, *w, x, ldx, &q, m, y, ldy, Epilogue{activation, residual, ld_residual});
        return PG_OK;
    });
}

// Rows of x as int8 multiplication sees them: bytes [M, K] and a scale for each row.
PG_API int32_t pg_quantize(PgRunner* runner, const float* x, int32_t m, int32_t k, int32_t ldx, uint8_t* bytes_MK,
                              float* scale_M) {
    if (!grow(runner, quantized_bytes(m, k))) return PG_NO_MEMORY;
    const Quantized q = quantized_at(runner->memory, LINEAR_INT8, m, k);
    linear_quantize(x, m, k, ldx, &q, 0, m);
    for (int row = 0; row < m; ++row) linear_quantized_row(q, row, k, bytes_MK + static_cast<int64_t>(row) * k);
    std::memcpy(scale_M, q.scale_M, sizeof(float) * static_cast<size_t>(m));
    return PG_OK;
}

// -- the machine ------------------------------------------------------------------------------------------------

// Reads `words` numbers over the threads of the runner. Their sum is of no use but cannot be left out.
PG_API int32_t pg_read(PgRunner* runner, const uint64_t* numbers, int64_t words, uint64_t* total) {
    std::atomic<uint64_t> sum{0};
    const auto read = [&](int tid, int n) {
        uint64_t parts[16] = {};
        const int64_t begin = words / n * tid / 16 * 16, end = tid + 1 == n ? words / 16 * 16 : words / n * (tid + 1) / 16 * 16;
        for (int64_t i = begin; i < end; i += 16) {
            for (int j = 0; j < 16; ++j) parts[j] += numbers[i + j];
        }
        for (uint64_t part : parts) sum += part;
    };
    return guarded([&]() -> int32_t {
        runner->pool.run(read);
        *total = sum;
        return PG_OK;
    });
}
