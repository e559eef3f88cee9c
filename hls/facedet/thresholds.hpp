// Thresholds: a staircase function per channel, the quantised activation after a matrix_vector.
//
// For channel k with sorted thresholds t[k][0] <= t[k][1] <= ...,
//
//     y = LEAST + number of thresholds of channel k that are <= x.
//
// Two forms that give the same value: by comparison, with every threshold at once; by search, one threshold a stage.
//
// Stream order, in and out: VECTORS pixels of CHANNELS / PE beats, lowest channels first.
// Initiation interval 1; trips: VECTORS * CHANNELS / PE, a beat in and a beat out each.

#pragma once

#include "stream.hpp"

namespace facedet {
namespace detail {

// value >= threshold, as signed numbers that hold both: ap_types compare an unsigned number of 32 bits with a signed
// one as if both were unsigned.
template <class IN, class THRESHOLD>
bool reaches(IN value, THRESHOLD threshold) {
#pragma HLS INLINE
  constexpr int VALUE = Integer<IN>::bits + (Integer<IN>::is_signed ? 0 : 1);
  constexpr int TABLE = Integer<THRESHOLD>::known ? Integer<THRESHOLD>::bits : 8 * static_cast<int>(sizeof(THRESHOLD));
  constexpr int BITS = larger(VALUE, TABLE);
  return Signed<BITS>(value) >= Signed<BITS>(threshold);
}

}  // namespace detail

// By comparison. Resources: PE * LEVELS comparators and PE adders of LEVELS bits; the thresholds in CHANNELS / PE words
// of PE * LEVELS * BITS bits of LUTRAM, or constants when it is one word. For few levels.
template <class IN, class OUT, int PE, int CHANNELS, int VECTORS, int LEAST, int BITS, int LEVELS>
void thresholds_by_comparison(Stream<IN, PE> &in, Stream<OUT, PE> &out,
                              const Constant<BITS> table[CHANNELS / PE][PE][LEVELS]) {
  static_assert(is_sum<IN>, "thresholds_by_comparison: IN must be Unsigned<B> or Signed<B> with B from 1 to 32 bits");
  static_assert(is_value<OUT>,
                "thresholds_by_comparison: OUT must be Unsigned<B> or Signed<B> with B from 1 to 16 bits");
  static_assert(PE >= 1 && CHANNELS >= 1 && CHANNELS % PE == 0, "thresholds_by_comparison: PE must divide CHANNELS");
  static_assert(VECTORS >= 1, "thresholds_by_comparison: VECTORS must be positive");
  static_assert(BITS >= 1 && BITS <= THRESHOLD_BITS,
                "thresholds_by_comparison: BITS of a threshold must be from 1 to 34");
  static_assert(fits<OUT>(LEAST) && fits<OUT>(LEAST + LEVELS),
                "thresholds_by_comparison: LEAST .. LEAST + LEVELS must fit in OUT");
  constexpr int FOLDS = CHANNELS / PE;

  if constexpr (FOLDS == 1) {
#pragma HLS ARRAY_PARTITION variable=table complete dim=0
  } else {
#pragma HLS ARRAY_RESHAPE variable=table complete dim=2
#pragma HLS ARRAY_RESHAPE variable=table complete dim=3
#pragma HLS BIND_STORAGE variable=table type=rom_1p impl=lutram
  }

  Counter<FOLDS> fold = 0;
beats:
  for (int trip = 0; trip < VECTORS * FOLDS; ++trip) {
#pragma HLS PIPELINE II=1
    FACEDET_TRIP
    Beat<IN, PE> x = in.read();
#pragma HLS AGGREGATE variable=x compact=bit
    Beat<OUT, PE> y;
#pragma HLS AGGREGATE variable=y compact=bit
    for (int pe = 0; pe < PE; ++pe) {
#pragma HLS UNROLL
      Unsigned<bits_for(LEVELS)> reached = 0;
      for (int level = 0; level < LEVELS; ++level) {
#pragma HLS UNROLL
        if (detail::reaches(x.lane[pe], Signed<BITS>(table[fold][pe][level]))) reached += 1;
      }
      y.lane[pe] = LEAST + reached;
    }
    out.write(y);
    advance<FOLDS>(fold);
  }
}

namespace detail {

// Tables of a search stage of more words than this go to block RAM.
constexpr int SEARCH_LUTRAM_WORDS = 512;

// Has stage s 2^s nodes?
template <int... NODES>
constexpr bool double_from_one() {
  const int nodes[] = {NODES...};
  int expected = 1;
  for (const int found : nodes) {
    if (found != expected) return false;
    expected *= 2;
  }
  return true;
}

// One stage of the search: from the node reached so far to one of its two successors.
template <int FOLDS, class IN, int INDEX_BITS, class THRESHOLD, int PE, int NODES>
void descend(Unsigned<INDEX_BITS> &index, IN value, Counter<FOLDS> fold, int pe,
             const THRESHOLD stage[FOLDS][PE][NODES]) {
#pragma HLS INLINE
  if constexpr (FOLDS * NODES == 1) {
#pragma HLS ARRAY_PARTITION variable=stage complete dim=0
  } else {
#pragma HLS ARRAY_PARTITION variable=stage complete dim=2
    if constexpr (FOLDS * NODES > SEARCH_LUTRAM_WORDS) {
#pragma HLS BIND_STORAGE variable=stage type=rom_1p impl=bram
    } else {
#pragma HLS BIND_STORAGE variable=stage type=rom_1p impl=lutram
    }
  }
  const bool reached = reaches(value, stage[fold][pe][index]);
  index = (index << 1) + Unsigned<1>(reached);
}

}  // namespace detail

// By binary search. Stage s of STAGES holds 2^s thresholds of each channel, a level of the search tree; node i of it is
// followed by node 2 * i of the next stage where x is below its threshold, else by node 2 * i + 1. Behind the last
// stage the node is the number of thresholds reached, so LEVELS = 2^STAGES - 1.
//
// Resources: PE * STAGES comparators; for each stage PE memories of CHANNELS / PE * 2^s words of a threshold's bits
// (block RAM when more than 512 words, constants when one, else LUTRAM), each read once a trip. For many levels.
template <class IN, class OUT, int PE, int CHANNELS, int VECTORS, int LEAST, class... THRESHOLDS, int... NODES>
void thresholds_by_search(Stream<IN, PE> &in, Stream<OUT, PE> &out,
                          const THRESHOLDS (*... stages)[PE][NODES]) {
  constexpr int STAGES = sizeof...(NODES);
  static_assert(is_sum<IN>, "thresholds_by_search: IN must be Unsigned<B> or Signed<B> with B from 1 to 32 bits");
  static_assert(is_value<OUT>,
                "thresholds_by_search: OUT must be Unsigned<B> or Signed<B> with B from 1 to 16 bits");
  static_assert(PE >= 1 && CHANNELS >= 1 && CHANNELS % PE == 0, "thresholds_by_search: PE must divide CHANNELS");
  static_assert(VECTORS >= 1, "thresholds_by_search: VECTORS must be positive");
  static_assert(STAGES >= 1 && STAGES <= VALUE_BITS, "thresholds_by_search: there must be 1 to 16 stages");
  static_assert(detail::double_from_one<NODES...>(),
                "thresholds_by_search: stage s must have 2^s thresholds a channel");
  static_assert(fits<OUT>(LEAST) && fits<OUT>(LEAST + (1 << STAGES) - 1),
                "thresholds_by_search: LEAST .. LEAST + 2^stages - 1 must fit in OUT");
  constexpr int FOLDS = CHANNELS / PE;

  Counter<FOLDS> fold = 0;
beats:
  for (int trip = 0; trip < VECTORS * FOLDS; ++trip) {
#pragma HLS PIPELINE II=1
    FACEDET_TRIP
    Beat<IN, PE> x = in.read();
#pragma HLS AGGREGATE variable=x compact=bit
    Beat<OUT, PE> y;
#pragma HLS AGGREGATE variable=y compact=bit
    for (int pe = 0; pe < PE; ++pe) {
#pragma HLS UNROLL
      Unsigned<STAGES> index = 0;
      (detail::descend<FOLDS>(index, x.lane[pe], fold, pe, stages), ...);
      y.lane[pe] = LEAST + index;
    }
    out.write(y);
    advance<FOLDS>(fold);
  }
}

}  // namespace facedet
