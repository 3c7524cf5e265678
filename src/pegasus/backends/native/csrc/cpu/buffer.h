// A buffer that grows.
#pragma once

#include <cstdint>
#include <cstdlib>

#include "cpu/large_memory.h"

// Memory aligned to 64 bytes that only grows; what it held is lost when it does.
class Buffer {
public:
    Buffer() = default;
    ~Buffer() { std::free(at_); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    Buffer(Buffer&& other) noexcept : at_(other.at_), bytes_(other.bytes_) { other.at_ = nullptr, other.bytes_ = 0; }

    // Room for `count` things; throws std::bad_alloc.
    template <class Thing>
    Thing* room(int64_t count) {
        const int64_t bytes = (count * static_cast<int64_t>(sizeof(Thing)) + 63) / 64 * 64 + 64;
        if (bytes > bytes_) {
            std::free(at_);
            bytes_ = 0;
            at_ = large_alloc(bytes);
            bytes_ = bytes;
        }
        return static_cast<Thing*>(at_);
    }
    int64_t bytes() const { return bytes_; }

private:
    void* at_ = nullptr;
    int64_t bytes_ = 0;
};
