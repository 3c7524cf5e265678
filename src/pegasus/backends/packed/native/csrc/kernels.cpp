// Which kernels are used.
#include "kernels.h"

#include "cpu.h"

static Kernels table_for([[maybe_unused]] Level level) {
    Kernels table{};
    fill_portable(table);
#if defined(__x86_64__)
    if (level >= LEVEL_AVX2) fill_avx2(table);
    if (level >= LEVEL_AVX512) fill_avx512(table);
    if (level >= LEVEL_AVX512BF16) fill_avx512bf16(table);
    if (level >= LEVEL_AMX) fill_amx(table);
#endif
    return table;
}

const Kernels& kernels() {
    static const Kernels tables[] = {table_for(LEVEL_PORTABLE), table_for(LEVEL_AVX2), table_for(LEVEL_AVX512),
                                     table_for(LEVEL_AVX512BF16), table_for(LEVEL_AMX)};
    return tables[cpu_level()];
}
