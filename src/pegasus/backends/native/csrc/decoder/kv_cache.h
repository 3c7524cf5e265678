// The KV cache: keys and values of a text, for cross-attention, and of the words read so far, for self-attention.
#pragma once

#include <cstdint>
#include <vector>

#include "model/model.h"

// Keys and values of one text for every layer's cross-attention; texts that are dropped free theirs.
struct CrossCache {
    int length;
    int64_t half;                   // bytes of the keys of a head, and of its values
    std::vector<int64_t> layer_at;  // bytes to the first head of each layer
    Buffer data;

    // Keys of a head; its values stand `half` bytes further.
    char* keys(int layer, int head) {
        return data.room<char>(0) + layer_at[static_cast<size_t>(layer)] + 2 * half * head;
    }
};

// Where the keys and values of words lie: a slot for each word that some row has read, never moved. Which slots make up
// the past of a row stands in its line of ancestors, so that rows change places without anything being copied.
class KvCache {
public:
    static constexpr int kShift = 8;  // 256 slots a chunk

    KvCache(const PgModel& model);
    ~KvCache();
    KvCache(const KvCache&) = delete;
    KvCache& operator=(const KvCache&) = delete;

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
