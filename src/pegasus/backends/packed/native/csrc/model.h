// A model, and what its threads share while they work.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include "api.h"
#include "kernels.h"
#include "large_memory.h"
#include "linear.h"
#include "pool.h"

// Memory aligned to 64 bytes that only grows; what it held is lost when it does.
class Memory {
public:
    Memory() = default;
    ~Memory() { std::free(at_); }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    Memory(Memory&& other) noexcept : at_(other.at_), bytes_(other.bytes_) { other.at_ = nullptr, other.bytes_ = 0; }

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

// Texts are read some at a time, as many as make this number of tokens: enough for the linears to be quick, and few
// enough for the buffers to stay near the processor.
constexpr int64_t kGroupTokens = 1024;

enum Part {
    PART_EMBED,
    PART_NORM,
    PART_QKV,
    PART_ATTENTION,
    PART_OUT,
    PART_CROSS_QUERY,
    PART_CROSS_ATTENTION,
    PART_CROSS_OUT,
    PART_FC1,
    PART_FC2,
    PART_HEAD,
    PART_SURVEY,
    PART_CROSS_MEMORY,
    PART_WAIT,
    PARTS
};

// Where the time goes, as thread 0 sees it; costs nothing until it is switched on.
struct Profile {
    using Clock = std::chrono::steady_clock;
    bool on = false;
    double seconds[PARTS] = {};
    Clock::time_point last;

    void begin() {
        if (on) last = Clock::now();
    }
    void end(Part part) {
        if (!on) return;
        const Clock::time_point now = Clock::now();
        seconds[part] += std::chrono::duration<double>(now - last).count();
        last = now;
    }
};

// What one thread has for itself.
struct Own {
    Memory normed, prepared, queries, scratch;
};

// Buffers of a pass, each for all rows.
struct Space {
    Memory states, normed, prepared, wide, mixed, keys_values;
    std::vector<Own> own;
    std::atomic<int> next{0};  // of the units that threads take one by one
};

struct PgModel {
    PgModel(const PgNetwork& given, int threads);

    PgNetwork network;
    std::vector<PgEncoderLayer> encoder;
    std::vector<PgDecoderLayer> decoder;
    Pool pool;
    std::mutex mutex;
    const float* encoder_positions = nullptr;
    const float* decoder_positions = nullptr;
    int encoder_rows = 0;
    int decoder_rows = 0;
    Profile profile;
    Space space;

    bool tokens_fit(const int64_t* tokens, int64_t count) const;
};

// Rows ready for a linear.
struct Rows {
    const float* x;
    int ld;
    int count;
    Quantized prepared;
};

// While it lives this thread takes numbers below 1e-38 for zero: weights of attention get there, change nothing there,
// and would cost a hundred times as much as others.
class FlushToZero {
public:
#if defined(__SSE2__)
    FlushToZero() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040u); }
    ~FlushToZero() { _mm_setcsr(before_); }

private:
    const unsigned before_;
#elif defined(__aarch64__)
    FlushToZero() {
        asm volatile("mrs %0, fpcr" : "=r"(before_));
        asm volatile("msr fpcr, %0" : : "r"(before_ | (uint64_t{1} << 24)));
    }
    ~FlushToZero() { asm volatile("msr fpcr, %0" : : "r"(before_)); }

private:
    uint64_t before_;
#else
    FlushToZero() {}
#endif
};

// One thread inside `pool.run`.
class Worker {
public:
    Worker(PgModel& model, int tid, int n)
        : model(model), space(model.space), own(model.space.own[static_cast<size_t>(tid)]), kernels(::kernels()),
          tid(tid), n(n) {
        if (tid == 0) model.profile.begin();
    }
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    // Rows up to here are made ready by each thread for itself, which is quicker than to wait for the others.
    static constexpr int kAlone = 16;

    // A layer norm of x [count, D], ready for `next`. Nobody may change x before the next wait.
    Rows normed(const PgNorm& norm, const float* x, int count, const Linear& next);
    // x [count, K] ready for `next`. All of x must be there.
    Rows ready(const Linear& next, const float* x, int ld, int count);
    // This thread's columns of y.
    void linear(const Linear& w, const Rows& rows, float* y, int ldy, const Epilogue& epilogue = {});

    void wait() {
        model.pool.barrier();
        end(PART_WAIT);
    }
    void end(Part part) {
        if (tid == 0) model.profile.end(part);
    }
    Share share(int total) const { return share_of(total, tid, n); }

    // states [row] = embedding of the token, scaled, plus the position.
    void embed(const Linear& table, int64_t token, const float* position, float* state) const;

    PgModel& model;
    Space& space;
    Own& own;
    const Kernels& kernels;
    const int tid;
    const int n;

private:
    [[maybe_unused]] const FlushToZero flush_;
};

// Makes room for what `Worker` needs for up to `rows` rows of up to `widest` numbers and texts up to `length`.
void reserve(PgModel& model, int rows, int widest, int head_width, int length);

// A row of a query, scaled, and zeros up to a padded head.
void scale_query(const float* from, int head_width, float* to);

// Copies rows of queries, scaled, into [rows to a multiple of 8][padded] with zeros around them.
void gather_queries(const float* from, int64_t ld, int rows, int head_width, float* to);
