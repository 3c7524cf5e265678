// Where the time of a model goes, by part of the work.
#pragma once

#include <chrono>

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
    PART_CROSS_KV,
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
