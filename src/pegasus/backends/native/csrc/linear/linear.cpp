// Which kernel does what: linear.h over the kernels of each level.
#include <cstdlib>
#include <iterator>

#include "cpu/cpu.h"
#include "cpu/pool.h"
#include "linear/linear_kernels.h"

namespace {

// Functions of a level are only called out of such tables, at the place of the level in use.
#if defined(__x86_64__)
constexpr LinearKernel kKernels[][4] = {
    {linear_portable_f32, linear_portable_bf16, linear_portable_f16, linear_portable_int8},
    {}, {},  // of another architecture
    {linear_avx2_f32, linear_avx2_bf16, linear_avx2_f16, linear_avx2_int8},
    {linear_avx2_f32, linear_avx2_bf16, linear_avx2_f16, linear_avxvnni_int8},
    {linear_avx512_f32, linear_avx512_bf16, linear_avx512_f16, linear_avx512_int8},
    {linear_avx512_f32, linear_avx512_bf16, linear_avx512_f16, linear_avx512_int8},
    {linear_avx512_f32, linear_avx512_bf16, linear_avx512_f16, linear_amx_int8},
};
constexpr QuantizeKernel kQuantize[] = {
    linear_portable_quantize, nullptr, nullptr,       linear_avx2_quantize,  linear_avxvnni_quantize,
    linear_avx512_quantize,   linear_avx512_quantize, linear_avx512_quantize};
constexpr QuantizeKernel kPack[] = {linear_portable_pack, nullptr,            nullptr,            linear_avx2_pack,
                                    linear_avx2_pack,     linear_avx512_pack, linear_avx512_pack, linear_avx512_pack};
// Of the levels that want float rows in another form, by kind of the weights.
constexpr LinearKernel kPreparedKernels[][3] = {
    {}, {}, {}, {}, {}, {}, {nullptr, linear_avx512bf16_bf16, nullptr}, {nullptr, linear_amx_bf16, linear_amx_f16}};
constexpr QuantizeKernel kPrepare[][3] = {
    {}, {}, {}, {}, {}, {}, {nullptr, linear_avx512bf16_round, nullptr},
    {nullptr, linear_avx512bf16_round, linear_amx_split}};
#elif defined(__aarch64__)
constexpr LinearKernel kKernels[][4] = {
    {linear_portable_f32, linear_portable_bf16, linear_portable_f16, linear_portable_int8},
    {linear_portable_f32, linear_portable_bf16, linear_portable_f16, linear_dotprod_int8},
    {linear_portable_f32, linear_portable_bf16, linear_portable_f16, linear_i8mm_int8},
};
constexpr QuantizeKernel kQuantize[] = {linear_portable_quantize, linear_dotprod_quantize, linear_dotprod_quantize};
constexpr QuantizeKernel kPack[] = {linear_portable_pack, linear_portable_pack, linear_portable_pack};
constexpr LinearKernel kPreparedKernels[][3] = {{}, {}, {}};
constexpr QuantizeKernel kPrepare[][3] = {{}, {}, {}};
#else
constexpr LinearKernel kKernels[][4] = {
    {linear_portable_f32, linear_portable_bf16, linear_portable_f16, linear_portable_int8},
};
constexpr QuantizeKernel kQuantize[] = {linear_portable_quantize};
constexpr QuantizeKernel kPack[] = {linear_portable_pack};
constexpr LinearKernel kPreparedKernels[][3] = {{}};
constexpr QuantizeKernel kPrepare[][3] = {{}};
#endif

#if defined(__x86_64__)
constexpr size_t kLevels = LEVEL_AMX + 1;
#elif defined(__aarch64__)
constexpr size_t kLevels = LEVEL_I8MM + 1;
#else
constexpr size_t kLevels = LEVEL_PORTABLE + 1;
#endif
static_assert(std::size(kKernels) == kLevels && std::size(kQuantize) == kLevels && std::size(kPack) == kLevels);
static_assert(std::size(kBlockRows) == kLevels);
static_assert(std::size(kPreparedKernels) == kLevels && std::size(kPrepare) == kLevels);

// Whether a level has such kernels for this kind at all.
bool converts(int kind) { return kind != LINEAR_INT8 && kPrepare[cpu_level()][kind] != nullptr; }

// From how many rows on float rows are converted. Tiles are slow to set up, and with up to 8 rows (16, of half)
// reading the weights takes the time; vectors that add pairs are quicker from the first row on, and a row's numbers then
// never depend on how many there are.
int converted_rows(int kind) {
    if (cpu_level() == LEVEL_AMX) return kind == LINEAR_BF16 ? 9 : 17;
    return 1;
}

bool converts(const Linear& w, int m) { return converts(w.kind) && m >= converted_rows(w.kind); }

// What makes m rows ready for such weights; null where they are read as they are.
QuantizeKernel preparation(const Linear& w, int m) {
    const int level = cpu_level();
    if (w.kind == LINEAR_INT8) return kQuantize[level];
    if (converts(w, m)) return kPrepare[level][w.kind];
    return whole_rows(m, kBlockRows[level]) > 0 ? kPack[level] : nullptr;
}

LinearKernel kernel_for(const Linear& w, int m) {
    return (converts(w, m) ? kPreparedKernels[cpu_level()] : kKernels[cpu_level()])[w.kind];
}

struct Scratch {
    ~Scratch() { std::free(memory); }
    void* memory = nullptr;
    int64_t bytes = 0;
};

}  // namespace

void* linear_scratch(int64_t bytes) {
    thread_local Scratch scratch;
    if (bytes > scratch.bytes) {
        std::free(scratch.memory);
        scratch.memory = std::aligned_alloc(64, static_cast<size_t>(round_up(bytes, 64)));
        scratch.bytes = scratch.memory == nullptr ? 0 : bytes;
    }
    return scratch.memory;
}

Share linear_share(const Linear& w, int m, int tid, int n) {
    return share_of(linear_panels(w), tid, n, m > 4 ? 2 : 1);  // kernels of many rows take two panels at once
}

// Bytes of a number that is made ready, at most: a float as it is, what it is converted to, or its three parts.
static int prepared_width(int kind) {
    if (kind == LINEAR_INT8) return 2;
    if (!converts(kind)) return 4;
    return kind == LINEAR_F16 ? 6 : 2;
}

// Rows are an odd number of cache lines apart, so that a column of a tile does not fall into one set of the cache.
static int32_t stride_for(int kind, int k) { return static_cast<int32_t>(round_up(k, 64) * prepared_width(kind) + 64); }

int64_t quantized_bytes(int m, int k) { return round_up(m, 16) * (stride_for(LINEAR_F16, k) + 4); }

Quantized quantized_at(void* memory, int32_t kind, int m, int k) {
    uint8_t* values = static_cast<uint8_t*>(memory);
    const int32_t stride = stride_for(kind, k);
    return {values, reinterpret_cast<float*>(values + round_up(m, 16) * stride), stride};
}

bool linear_prepares(const Linear& w, int m) { return preparation(w, m) != nullptr; }

void linear_quantize(const float* x, int m, int k, int ldx, const Quantized* q, int row_begin, int row_end) {
    kQuantize[cpu_level()](x, m, k, ldx, q, row_begin, row_end);
}

void linear_quantized_row(const Quantized& q, int row, int k, uint8_t* bytes_K) {
    const uint8_t* from = q.values + static_cast<int64_t>(row) * q.stride;
    const auto* words = reinterpret_cast<const int16_t*>(from);
    for (int i = 0; i < k; ++i) {
        switch (cpu_level()) {
            case LEVEL_AVX2: bytes_K[i] = static_cast<uint8_t>(words[i] + 128); break;
            case LEVEL_DOTPROD:
            case LEVEL_I8MM: bytes_K[i] = from[i] ^ 128; break;  // with a sign
            default: bytes_K[i] = from[i];
        }
    }
}

void linear_prepare(const Linear& w, const float* x, int ldx, int m, const Quantized* q, int row_begin, int row_end) {
    if (const QuantizeKernel prepare = preparation(w, m)) prepare(x, m, w.k, ldx, q, row_begin, row_end);
}

void linear_part(const Linear& w, const float* x, int ldx, const Quantized* q, int m, float* y, int ldy,
                 const Epilogue& e, int panel_begin, int panel_end) {
    if (m > 0 && panel_begin < panel_end) {
        kernel_for(w, m)(LinearWork{w, x, ldx, q, m, y, ldy, e, panel_begin, panel_end});
    }
}

void linear_all(Pool& pool, const Linear& w, const float* x, int ldx, const Quantized* q, int m, float* y, int ldy,
                const Epilogue& e) {
    pool.run([&](int tid, int n) {
        if (linear_prepares(w, m)) {
            const Share rows = share_of(m, tid, n);
            linear_prepare(w, x, ldx, m, q, rows.begin, rows.end);
            pool.barrier();
        }
        const Share panels = linear_share(w, m, tid, n);
        linear_part(w, x, ldx, q, m, y, ldy, e, panels.begin, panels.end);
    });
}
