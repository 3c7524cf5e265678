// A pool of threads that start together, meet at barriers, and sleep when there is nothing to do.
//
//   Pool pool(2);                       // the caller's thread is one of the two
//   pool.run([&](int tid, int n) {      // every thread calls it once
//       part_one(tid, n);
//       pool.barrier();                 // nobody passes before everybody is here
//       part_two(tid, n);
//   });
//
// Waiting threads spin for some microseconds, which is what a part of one `run` takes, and then sleep in the
// kernel: on a machine where others run too, a thread that spins may be standing in the way of the one it waits for.
// One `run` at a time; `run` inside `run` is not allowed. The function must not throw. Where the system starts no more
// threads, the constructor throws std::system_error, as does the first `run` after a fork, and none is left behind.
#pragma once

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "cpu/share.h"

#if defined(__x86_64__) || defined(__i386__)
#define PG_PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define PG_PAUSE() asm volatile("yield" ::: "memory")
#else
#define PG_PAUSE() ((void)0)
#endif

class Pool {
public:
    explicit Pool(int threads) : size_(threads < 1 ? 1 : threads) { start(); }
    ~Pool() {
        if (process_ == getpid()) stop();  // else the threads stayed behind in the parent: nothing to join
    }
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    int size() const { return size_; }

    // Calls function(tid, size()) on every thread and returns when all have returned.
    template <class Function>
    void run(Function&& function) {
        if (process_ != getpid()) start();  // after a fork there is only the caller's thread
        if (size_ == 1) {
            function(0, 1);
            return;
        }
        using Plain = std::remove_reference_t<Function>;
        context_ = const_cast<void*>(static_cast<const void*>(&function));
        call_ = [](void* context, int tid, int n) { (*static_cast<Plain*>(context))(tid, n); };
        release();
        function(0, size_);
        barrier();
    }

    // Waits, inside `run`, until every thread of the pool has called it as often.
    void barrier() {
        if (size_ == 1) return;
        uint32_t round = round_.load(std::memory_order_acquire);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size_) {
            arrived_.store(0, std::memory_order_relaxed);
            round_.store(round + 1, std::memory_order_release);
            wake(round_);
        } else {
            await_change(round_, round);
        }
    }

private:
    // 20 to 70 microseconds on a machine whose pause takes 40 to 140 cycles: about what the shares of a step differ by.
    // To sleep and be woken costs as much, a hundred times a step.
    static constexpr int kSpins = 1000;

    static void await_change(const std::atomic<uint32_t>& value, uint32_t old) {
        for (int spin = 0; spin < kSpins; ++spin) {
            if (value.load(std::memory_order_acquire) != old) return;
            PG_PAUSE();
        }
        while (value.load(std::memory_order_acquire) == old) value.wait(old, std::memory_order_acquire);
    }

    // notify_all() looks whether anybody sleeps and spares the system call where nobody does. A processor may look before
    // others see the new value, which is still in its store buffer; a thread that goes to sleep in between, on the old
    // value, would sleep for ever. The fence puts the store before the look.
    static void wake(std::atomic<uint32_t>& value) {
        std::atomic_thread_fence(std::memory_order_seq_cst);
        value.notify_all();
    }

    void start() {
        process_ = getpid();
        arrived_ = 0;
        stopping_ = false;
        // A vector that came over in a fork names threads that are not here: it is left alone, not destroyed.
        workers_ = new std::vector<std::thread>;
        try {
            for (int tid = 1; tid < size_; ++tid) {
                uint32_t started = started_.load();
                workers_->emplace_back([this, tid, started] { work(tid, started); });
            }
        } catch (...) {
            stop();
            process_ = 0;  // nobody's: the next `run` tries again
            throw;
        }
    }

    // Ends the threads there are.
    void stop() {
        stopping_ = true;
        release();
        for (std::thread& thread : *workers_) thread.join();
        delete workers_;
        workers_ = nullptr;
    }

    void release() {
        started_.fetch_add(1, std::memory_order_release);
        wake(started_);
    }

    void work(int tid, uint32_t started) {
        for (;;) {
            await_change(started_, started);
            started = started_.load(std::memory_order_acquire);
            if (stopping_) return;
            call_(context_, tid, size_);
            barrier();
        }
    }

    const int size_;
    pid_t process_ = 0;
    bool stopping_ = false;
    void* context_ = nullptr;
    void (*call_)(void*, int, int) = nullptr;
    std::vector<std::thread>* workers_ = nullptr;
    // Each on a cache line of its own: threads that wait for one do not disturb the other.
    alignas(64) std::atomic<uint32_t> started_{0};
    alignas(64) std::atomic<uint32_t> round_{0};
    alignas(64) std::atomic<int> arrived_{0};
};
