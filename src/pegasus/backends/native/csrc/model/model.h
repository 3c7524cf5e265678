// A model, and what its threads share while they work.
#pragma once

#include <atomic>
#include <mutex>
#include <vector>

#include "attention/kernels.h"
#include "cpu/buffer.h"
#include "cpu/flush_to_zero.h"
#include "cpu/pool.h"
#include "cpu/work_stealing.h"
#include "linear/linear.h"
#include "model/network.h"
#include "model/profile.h"

// Texts are read some at a time, as many as make this number of tokens: enough for the linears to be quick, and few
// enough for the buffers to stay near the processor.
constexpr int64_t kGroupTokens = 1024;

// What one thread has for itself.
struct Own {
    Buffer normed, prepared, queries, scratch;
    WorkRange left;  // of what is shared out
};

// Buffers of a pass, each for all rows.
struct Space {
    Buffer states, normed, prepared, wide, mixed, keys_values;
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
    // This thread's columns of y, and some of another's where that one is late. Everybody waits before the next.
    void linear(const Linear& w, const Rows& rows, float* y, int ldy, const Epilogue& epilogue = {});

    // Calls work(share) for one's own share, `piece` at a time, then for multiples of `grain` of what others have not begun.
    template <class Work>
    void take(Share mine, int piece, int grain, const Work& work) {
        if (n == 1) return work(mine);
        own.left.set(mine);
        for (Share taken; taken = own.left.take(piece), taken.begin < taken.end;) work(taken);
        for (int other = (tid + 1) % n; other != tid; other = (other + 1) % n) {
            WorkRange& theirs = space.own[static_cast<size_t>(other)].left;
            for (Share taken; taken = theirs.steal(grain), taken.begin < taken.end;) work(taken);
        }
    }

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
