// Work that threads share out among themselves, and take over from each other where one is late.
//
// Each thread begins with a part of its own, which stays near its caches from call to call, and takes it piece by piece
// from the front; who has finished takes half of what another has left, from the back. So nobody waits long for a thread
// whose processor is slower or busy with something else.
#pragma once

#include <atomic>
#include <cstdint>

#include "cpu/share.h"

class alignas(64) WorkRange {
public:
    // Only by the owner, and only when nobody can still be taking what was there before.
    void set(Share work) { left_.store(packed(work.begin, work.end), std::memory_order_release); }

    // The next piece, of at most `piece`; empty when all is taken.
    Share take(int piece) {
        return change([piece](Share left) { return left.end - left.begin < piece ? left : Share{left.begin, left.begin + piece}; },
                      [](Share left, Share taken) { return Share{taken.end, left.end}; });
    }

    // The later half, a multiple of `grain`, of what is left; empty where less than `grain` is.
    Share steal(int grain) {
        return change([grain](Share left) {
                          const int size = left.end - left.begin;
                          if (size < grain) return Share{0, 0};
                          const int half = size / 2 / grain * grain;
                          return Share{left.end - (half < grain ? grain : half), left.end};
                      },
                      [](Share left, Share taken) { return Share{left.begin, taken.begin}; });
    }

private:
    static uint64_t packed(int begin, int end) {
        return static_cast<uint64_t>(static_cast<uint32_t>(begin)) << 32 | static_cast<uint32_t>(end);
    }

    template <class Choose, class Rest>
    Share change(const Choose& choose, const Rest& rest) {
        uint64_t old = left_.load(std::memory_order_acquire);
        for (;;) {
            const Share left{static_cast<int>(old >> 32), static_cast<int>(old & 0xffffffffu)};
            const Share taken = choose(left);
            if (taken.begin >= taken.end) return {0, 0};
            const Share more = rest(left, taken);
            if (left_.compare_exchange_weak(old, packed(more.begin, more.end), std::memory_order_acq_rel)) return taken;
        }
    }

    std::atomic<uint64_t> left_{0};
};
