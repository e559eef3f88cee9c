// Decides cycle by cycle whether one side of a stream pauses. Pauses last 1 to `longest` cycles, log-uniformly: single
// gaps are as common as jams that fill every queue. The activity between them is random too, of a mean that makes
// `share` of all cycles paused.

#pragma once

#include <cmath>
#include <cstdint>
#include <random>

class Pauses {
  public:
    Pauses(double share, uint64_t longest, uint64_t seed) : share(share), longest(longest), random(seed) {}

    bool next() {
        if (share <= 0) return false;
        while (left == 0) {
            paused = !paused;
            const double length = std::pow(double(longest), uniform());
            left = uint64_t(paused ? length : std::ceil(length * (1 - share) / share * -std::log1p(-uniform())));
        }
        --left;
        return paused;
    }

  private:
    double uniform() { return double(random() >> 11) * 0x1p-53; }

    double share;
    uint64_t longest;
    std::mt19937_64 random;
    uint64_t left = 0;
    bool paused = false;
};
