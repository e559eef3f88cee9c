// Maximum over 2x2 windows with stride 2.
//
// For a map x of HEIGHT x WIDTH pixels, both even,
//
//     y[r][c][k] = max(x[2r][2c][k], x[2r][2c+1][k], x[2r+1][2c][k], x[2r+1][2c+1][k]).
//
// Stream order, in and out: row by row, left to right; a pixel is FOLDS = CHANNELS / PE beats, lowest channels first.
// Initiation interval 1; trips: HEIGHT * WIDTH * FOLDS, an input beat each; an output beat leaves with each input beat
// at an odd column of an odd row.
// Resources: the left pixel of a pair in FOLDS words, and the upper pair's maxima in WIDTH / 2 * FOLDS words, of PE
// values (one port writes, one reads; block RAM when more than 64 words, registers when one, else LUTRAM); 2 * PE
// comparators.
// Each memory is written in an even column or row and read in the odd one after it, so nothing is carried from frame to
// frame; nothing read from a memory is written back to it, so no chain through it keeps the pipeline from II=1.

#pragma once

#include "stream.hpp"

namespace facedet {
namespace detail {

// The larger value in each lane.
template <class T, int PE>
Beat<T, PE> maximum(const Beat<T, PE> &first, const Beat<T, PE> &second) {
#pragma HLS INLINE
  Beat<T, PE> larger_values;
#pragma HLS AGGREGATE variable=larger_values compact=bit
  for (int pe = 0; pe < PE; ++pe) {
#pragma HLS UNROLL
    larger_values.lane[pe] = first.lane[pe] > second.lane[pe] ? first.lane[pe] : second.lane[pe];
  }
  return larger_values;
}

}  // namespace detail

template <class T, int PE, int CHANNELS, int HEIGHT, int WIDTH>
void max_pool_2x2(Stream<T, PE> &in, Stream<T, PE> &out) {
  static_assert(is_value<T>, "max_pool_2x2: T must be Unsigned<B> or Signed<B> with B from 1 to 16 bits");
  static_assert(PE >= 1 && CHANNELS >= 1 && CHANNELS % PE == 0, "max_pool_2x2: PE must divide CHANNELS");
  static_assert(HEIGHT >= 2 && HEIGHT % 2 == 0, "max_pool_2x2: HEIGHT must be even and positive");
  static_assert(WIDTH >= 2 && WIDTH % 2 == 0, "max_pool_2x2: WIDTH must be even and positive");
  constexpr int FOLDS = CHANNELS / PE;
  constexpr int WORDS = WIDTH / 2 * FOLDS;

  Word<T, PE> left[FOLDS];
  if constexpr (FOLDS == 1) {
#pragma HLS ARRAY_PARTITION variable=left complete dim=0
  } else if constexpr (FOLDS > LUTRAM_WORDS) {
#pragma HLS BIND_STORAGE variable=left type=ram_s2p impl=bram
  } else {
#pragma HLS BIND_STORAGE variable=left type=ram_s2p impl=lutram
  }
  Word<T, PE> above[WORDS];
  if constexpr (WORDS == 1) {
#pragma HLS ARRAY_PARTITION variable=above complete dim=0
  } else if constexpr (WORDS > LUTRAM_WORDS) {
#pragma HLS BIND_STORAGE variable=above type=ram_s2p impl=bram
  } else {
#pragma HLS BIND_STORAGE variable=above type=ram_s2p impl=lutram
  }

  Counter<FOLDS> fold = 0;
  // Counts the words of a row pair's maxima: it moves in odd columns and is round at the end of a row.
  Counter<WORDS> word = 0;
  bool odd_column = false;
  bool odd_row = false;
beats:
  for (int trip = 0; trip < HEIGHT * WIDTH * FOLDS; ++trip) {
#pragma HLS PIPELINE II=1
    FACEDET_TRIP
    Beat<T, PE> x = in.read();
#pragma HLS AGGREGATE variable=x compact=bit
    if (!odd_column) {
      left[fold] = pack(x);
    } else {
      const Beat<T, PE> pair = detail::maximum(unpack<T, PE>(left[fold]), x);
      if (!odd_row) {
        above[word] = pack(pair);
      } else {
        out.write(detail::maximum(unpack<T, PE>(above[word]), pair));
      }
    }

    const bool row_ends = odd_column && advance<WORDS>(word);
    if (advance<FOLDS>(fold)) odd_column = !odd_column;
    if (row_ends) odd_row = !odd_row;
  }
}

}  // namespace facedet
