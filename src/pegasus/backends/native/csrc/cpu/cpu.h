// What this processor can do, found out when first asked.
//
// Code for a set of instructions stands in files named after it (`linear_avx2.cpp`, `linear_avxvnni.cpp`,
// `linear_amx.cpp`), which `hatch_build.py` compiles with the flags that name promises; such files define
// tables of constants and functions that are called after asking here. None of their functions may be one that the linker
// shares between files (a function of a header or of a template, unless it is in an unnamed namespace or forced inline):
// it might keep the copy compiled for these instructions. Nor may anything in them run at start.
#pragma once

#include <cstdint>

// Each level holds those before it, but for AVX-VNNI, which many processors with AVX-512 have not got, and what is of
// another architecture.
enum Level : int32_t {
    LEVEL_PORTABLE = 0,
    LEVEL_DOTPROD = 1,     // ARM's dot products of bytes (ASIMDDP)
    LEVEL_I8MM = 2,        // ARM's matrix products of bytes (I8MM)
    LEVEL_AVX2 = 3,        // AVX2, FMA, F16C
    LEVEL_AVXVNNI = 4,     // AVX-VNNI: int8 products with vectors of 256 bits
    LEVEL_AVX512 = 5,      // AVX-512 F, BW, DQ, VL and VNNI
    LEVEL_AVX512BF16 = 6,  // AVX-512 BF16
    LEVEL_AMX = 7,         // AMX tiles of int8 and bfloat16, which the kernel has granted
};

// The level in use: the best of this machine, or less where PEGASUS_CPU names it.
Level cpu_level();

// The best level of this machine, whatever is set.
Level cpu_best();

// Whether this machine has a level.
bool cpu_has(Level level);

// Uses this level, or where the machine has not got it the next below that it has; returns what is in use now. Not while
// a computation runs.
Level cpu_use(Level level);

// "portable", "dotprod", "i8mm", "avx2", "avxvnni", "avx512", "avx512bf16", "amx".
const char* cpu_name(Level level);
