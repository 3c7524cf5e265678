// Which kernels are used.
#include "attention/kernels.h"

#include "cpu/cpu.h"

namespace {

Kernels table_for([[maybe_unused]] Level level) {
#if defined(__x86_64__)
    Kernels table = level >= LEVEL_AVX512 ? kernels_avx512 : level >= LEVEL_AVX2 ? kernels_avx2 : kernels_portable;
    if (level >= LEVEL_AVX512BF16) table.attend[PG_KV_BF16] = level >= LEVEL_AMX ? attend_amx : attend_avx512bf16;
    return table;
#else
    return kernels_portable;
#endif
}

}  // namespace

const Kernels& kernels() {
    static const Kernels tables[] = {
        table_for(LEVEL_PORTABLE), table_for(LEVEL_DOTPROD), table_for(LEVEL_I8MM),       table_for(LEVEL_AVX2),
        table_for(LEVEL_AVXVNNI),  table_for(LEVEL_AVX512),  table_for(LEVEL_AVX512BF16), table_for(LEVEL_AMX),
    };
    static_assert(sizeof tables / sizeof tables[0] == LEVEL_AMX + 1);
    return tables[cpu_level()];
}
