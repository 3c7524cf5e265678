// Memory in large pages.
#include "cpu/large_memory.h"

#include <cstdlib>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

void* large_alloc(int64_t bytes) {
    constexpr int64_t kLargePage = int64_t{1} << 21;
    const int64_t grain = bytes >= 2 * kLargePage ? kLargePage : 64;
    const int64_t whole = (bytes + grain - 1) / grain * grain;
    void* at = std::aligned_alloc(static_cast<size_t>(grain), static_cast<size_t>(whole));
    if (at == nullptr) throw std::bad_alloc();
#if defined(__linux__)
    // Keys, values and scores are read from one end to the other: with small pages, a new one every few dozen lines.
    if (grain == kLargePage) madvise(at, static_cast<size_t>(whole), MADV_HUGEPAGE);
#endif
    return at;
}
