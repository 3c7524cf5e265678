// Memory in large pages.
#pragma once

#include <cstdint>

// Memory aligned to 64 bytes at least, in large pages where the system has them; throws std::bad_alloc. For std::free.
void* large_alloc(int64_t bytes);
