// The decoder: what it remembers of texts and of its own words, and one step.
#pragma once

#include <memory>

#include "model.h"
#include "scores.h"

// Keys and values of one text for every layer's cross-attention; texts that are dropped free theirs.
struct TextMemory {
    int length;
    int64_t half;                   // bytes of the keys of a head, and of its values
    std::vector<int64_t> layer_at;  // bytes to the first head of each layer
    Memory data;

    // Keys of a head; its values stand `half` bytes further.
    char* keys(int layer, int head) {
        return data.room<char>(0) + layer_at[static_cast<size_t>(layer)] + 2 * half * head;
    }
};

// Where the keys and values of words lie: a slot for each word that some row has read, never moved. Which slots make up
// the past of a row stands in its line of ancestors, so that rows change places without anything being copied.
class SlotMemory {
public:
    static constexpr int kShift = 8;  // 256 slots a chunk

    SlotMemory(const PgModel& model);
    ~SlotMemory();
    SlotMemory(const SlotMemory&) = delete;
    SlotMemory& operator=(const SlotMemory&) = delete;

    // Room for `tokens` more positions of `rows` rows each, beside the lines of ancestors; changes nothing yet.
    void reserve(int rows, int tokens);
    void keep(int positions);
    void follow(const int64_t* parents_R, int rows);  // null: as many rows, each its own
    void extend(int tokens);                          // every row reads new words

    int rows() const { return rows_; }
    int length() const { return length_; }
    int32_t first_slot(int position) const { return slots_before_[static_cast<size_t>(position)]; }
    const int32_t* ancestors(int row) const { return lines_.data() + int64_t{row} * capacity_; }
    char* const* chunks() const { return chunks_.data(); }
    int64_t keys_at(int layer, int head) const;
    int64_t values_at(int layer, int head) const;
    int64_t bytes() const { return static_cast<int64_t>(chunks_.size()) * chunk_bytes_; }

private:
    int rows_ = 0;
    int length_ = 0;
    int capacity_ = 0;  // positions a line has room for
    std::vector<int32_t> lines_, spare_;
    std::vector<int32_t> slots_before_{0};  // slots of the positions before each
    std::vector<char*> chunks_;
    std::vector<int64_t> heads_before_;
    int64_t head_bytes_ = 0;  // of one head's keys, or values, in a chunk
    int64_t chunk_bytes_ = 0;
};

struct PgSession {
    PgSession(PgModel& model, const float* states_ND, const int64_t* offsets_B1, int texts);

    // See pg_session_step; everything must have been checked.
    struct Step {
        int keep;
        const int64_t* parents_R;
        const int64_t* texts_B;
        int texts;
        const int64_t* tokens_RT;
        int rows;
        int tokens;
        int positions;
        bool hidden;
    };
    int32_t check(const Step& step) const;
    void step(const Step& step);

    PgModel& model;
    const bool alone;  // no cross-attention
    std::vector<std::shared_ptr<TextMemory>> texts;
    SlotMemory slots;
    Memory hidden;
    PgScores scores;
    PgScores copy;

private:
    std::shared_ptr<TextMemory> make_text(int length) const;
    void remember(const float* states_ND, int tokens, int first, int last);
    void remember_layer(Worker& worker, const float* states_ND, int tokens, int first, int last, int index,
                        float* projected);
};
