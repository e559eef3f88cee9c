// Zero padding of a feature map.
//
// For a map x of HEIGHT x WIDTH pixels of CHANNELS channels,
//
//     y[r][c][k] = x[r - TOP][c - LEFT][k]   where that pixel exists, else 0,
//
// for 0 <= r < TOP + HEIGHT + BOTTOM and 0 <= c < LEFT + WIDTH + RIGHT.
//
// Stream order, in and out: row by row, left to right; a pixel is FOLDS = CHANNELS / SIMD beats, lowest channels first.
// Initiation interval 1; trips: (TOP + HEIGHT + BOTTOM) * (LEFT + WIDTH + RIGHT) * FOLDS, one output beat each.
// Resources: three counters and four comparators of positions; no memory, no multiplier.

#pragma once

#include "stream.hpp"

namespace facedet {

template <class T, int SIMD, int CHANNELS, int HEIGHT, int WIDTH, int TOP, int LEFT, int BOTTOM, int RIGHT>
void pad(Stream<T, SIMD> &in, Stream<T, SIMD> &out) {
  static_assert(is_value<T>, "pad: T must be Unsigned<B> or Signed<B> with B from 1 to 16 bits");
  static_assert(SIMD >= 1 && CHANNELS >= 1 && CHANNELS % SIMD == 0, "pad: SIMD must divide CHANNELS");
  static_assert(HEIGHT >= 1 && WIDTH >= 1, "pad: HEIGHT and WIDTH must be positive");
  static_assert(TOP >= 0 && LEFT >= 0 && BOTTOM >= 0 && RIGHT >= 0, "pad: no side's padding may be negative");
  constexpr int FOLDS = CHANNELS / SIMD;
  constexpr int ROWS = TOP + HEIGHT + BOTTOM;
  constexpr int COLUMNS = LEFT + WIDTH + RIGHT;

  Counter<ROWS> row = 0;
  Counter<COLUMNS> column = 0;
  Counter<FOLDS> fold = 0;
beats:
  for (int trip = 0; trip < ROWS * COLUMNS * FOLDS; ++trip) {
#pragma HLS PIPELINE II=1
    FACEDET_TRIP
    const bool inside = row >= TOP && row < TOP + HEIGHT && column >= LEFT && column < LEFT + WIDTH;
    Beat<T, SIMD> beat;
#pragma HLS AGGREGATE variable=beat compact=bit
    if (inside) {
      beat = in.read();
    } else {
      for (int lane = 0; lane < SIMD; ++lane) {
#pragma HLS UNROLL
        beat.lane[lane] = 0;
      }
    }
    out.write(beat);

    if (advance<FOLDS>(fold) && advance<COLUMNS>(column)) advance<ROWS>(row);
  }
}

}  // namespace facedet
