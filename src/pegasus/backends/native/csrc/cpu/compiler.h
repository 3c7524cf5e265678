// What is said to compilers in their own ways.
#pragma once

#define PG_INLINE inline __attribute__((always_inline))
#if defined(__clang__)
#define PG_UNROLL _Pragma("clang loop unroll(full)")
#else
#define PG_UNROLL _Pragma("GCC unroll 24")
#endif
