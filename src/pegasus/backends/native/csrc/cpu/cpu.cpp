// What this processor can do: cpuid, what the operating system saves of it, and the permission for AMX.
#include "cpu/cpu.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace {

const char* const kNames[] = {"portable", "dotprod", "i8mm", "avx2", "avxvnni", "avx512", "avx512bf16", "amx"};
static_assert(sizeof kNames / sizeof kNames[0] == LEVEL_AMX + 1);

#if defined(__x86_64__)

struct Registers {
    unsigned a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(unsigned leaf, unsigned subleaf) {
    Registers r;
    if (!__get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d)) r = Registers();
    return r;
}

bool bit(unsigned word, int index) { return (word >> index) & 1u; }

// Which registers the operating system saves when it changes threads (XCR0).
uint64_t saved_state() {
    if (!bit(cpuid(1, 0).c, 27)) return 0;
    uint32_t low, high;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (static_cast<uint64_t>(high) << 32) | low;
}

// Linux gives a process the tile registers only when it asks; threads started later have them too.
bool tiles_granted() {
#if defined(__linux__)
    constexpr long kRequestPermission = 0x1023, kTileData = 18;
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
    return false;
#endif
}

// Subleaf 1 of leaf 7 is there where its subleaf 0 says so; the registers are those of AVX.
bool has_avxvnni() { return cpuid(7, 0).a >= 1 && bit(cpuid(7, 1).a, 4); }

Level find_best() {
    const Registers basic = cpuid(1, 0), more = cpuid(7, 0);
    const uint64_t saved = saved_state();
    // FMA, POPCNT, AVX, F16C, AVX2: compilers take the flag of the last for a promise of POPCNT too.
    const bool avx2 = bit(basic.c, 12) && bit(basic.c, 23) && bit(basic.c, 28) && bit(basic.c, 29) && bit(more.b, 5);
    if ((saved & 0x6) != 0x6 || !avx2) return LEVEL_PORTABLE;
    const bool foundation = bit(more.b, 16) && bit(more.b, 17) && bit(more.b, 30) && bit(more.b, 31);
    if ((saved & 0xe0) != 0xe0 || !foundation || !bit(more.c, 11)) return has_avxvnni() ? LEVEL_AVXVNNI : LEVEL_AVX2;
    if (more.a < 1 || !bit(cpuid(7, 1).a, 5)) return LEVEL_AVX512;  // more.a: the last subleaf there is
    const bool tiles = bit(more.d, 24) && bit(more.d, 25) && bit(more.d, 22);
    if ((saved & 0x60000) != 0x60000 || !tiles || !tiles_granted()) return LEVEL_AVX512BF16;
    return LEVEL_AMX;
}

#else

bool has_avxvnni() { return false; }

Level find_best() {
#if defined(__aarch64__) && defined(__linux__)
    constexpr unsigned long kDotProducts = 1ul << 20, kMatrixProducts = 1ul << 13;  // HWCAP_ASIMDDP, HWCAP2_I8MM
    if (getauxval(AT_HWCAP) & kDotProducts) {
        return getauxval(AT_HWCAP2) & kMatrixProducts ? LEVEL_I8MM : LEVEL_DOTPROD;
    }
#endif
    return LEVEL_PORTABLE;
}

#endif

// The greatest level up to this one that the machine has.
Level within(Level level) {
    int held = level < cpu_best() ? level : cpu_best();
    while (!cpu_has(static_cast<Level>(held))) --held;
    return static_cast<Level>(held);
}

Level find_wanted() {
    const char* word = std::getenv("PEGASUS_CPU");
    for (int level = LEVEL_PORTABLE; word != nullptr && level <= LEVEL_AMX; ++level) {
        if (std::strcmp(word, kNames[level]) == 0) return within(static_cast<Level>(level));
    }
    return cpu_best();
}

std::atomic<int>& in_use() {
    static std::atomic<int> level{find_wanted()};
    return level;
}

}  // namespace

Level cpu_best() {
    static const Level best = find_best();
    return best;
}

Level cpu_level() { return static_cast<Level>(in_use().load(std::memory_order_relaxed)); }

bool cpu_has(Level level) {
    static const bool avxvnni = has_avxvnni();
    if (level == LEVEL_PORTABLE || level == cpu_best()) return true;
    if (level == LEVEL_AVXVNNI) return avxvnni && cpu_best() > LEVEL_AVXVNNI;
    const bool of_arm = level == LEVEL_DOTPROD || level == LEVEL_I8MM;
    return of_arm == (cpu_best() <= LEVEL_I8MM) && level < cpu_best();
}

Level cpu_use(Level level) {
    in_use().store(within(level));
    return cpu_level();
}

const char* cpu_name(Level level) { return kNames[level]; }
