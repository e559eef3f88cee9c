// HardTanh in integers: a line with two limits per channel, the output activation after a matrix_vector.
//
// For channel k,
//
//     y = clamp((x * scale[k] + offset[k]) >> SHIFT, LEAST, MOST),
//
// where the shift is arithmetic: it rounds towards minus infinity.
//
// Stream order, in and out: VECTORS pixels of CHANNELS / PE beats, lowest channels first.
// Initiation interval 1; trips: VECTORS * CHANNELS / PE, a beat in and a beat out each.
// Resources: PE multipliers of IN by SCALE_BITS, PE adders, 2 * PE comparators; the constants in CHANNELS / PE words of
// PE * (SCALE_BITS + OFFSET_BITS) bits of LUTRAM, or constants when it is one word.

#pragma once

#include "stream.hpp"

namespace facedet {

template <class IN, class OUT, int PE, int CHANNELS, int VECTORS, int SHIFT, int LEAST, int MOST, int SCALE_BITS,
          int OFFSET_BITS>
void hard_tanh(Stream<IN, PE> &in, Stream<OUT, PE> &out, const Constant<SCALE_BITS> scale[CHANNELS / PE][PE],
               const Constant<OFFSET_BITS> offset[CHANNELS / PE][PE]) {
  static_assert(is_sum<IN>, "hard_tanh: IN must be Unsigned<B> or Signed<B> with B from 1 to 32 bits");
  static_assert(is_value<OUT>, "hard_tanh: OUT must be Unsigned<B> or Signed<B> with B from 1 to 16 bits");
  static_assert(PE >= 1 && CHANNELS >= 1 && CHANNELS % PE == 0, "hard_tanh: PE must divide CHANNELS");
  static_assert(VECTORS >= 1, "hard_tanh: VECTORS must be positive");
  static_assert(SCALE_BITS >= 1 && SCALE_BITS <= 24, "hard_tanh: SCALE_BITS must be from 1 to 24");
  static_assert(OFFSET_BITS >= 1 && OFFSET_BITS <= 48, "hard_tanh: OFFSET_BITS must be from 1 to 48");
  static_assert(LEAST <= MOST && fits<OUT>(LEAST) && fits<OUT>(MOST), "hard_tanh: LEAST <= MOST must both fit in OUT");
  constexpr int FOLDS = CHANNELS / PE;
  // Wide enough that no sum wraps.
  constexpr int LINE_BITS = larger(Integer<IN>::bits + SCALE_BITS, OFFSET_BITS) + 1;
  static_assert(SHIFT >= 0 && SHIFT < LINE_BITS, "hard_tanh: SHIFT must be at least 0 and below the sum's bits");

  if constexpr (FOLDS == 1) {
#pragma HLS ARRAY_PARTITION variable=scale complete dim=0
#pragma HLS ARRAY_PARTITION variable=offset complete dim=0
  } else {
#pragma HLS ARRAY_RESHAPE variable=scale complete dim=2
#pragma HLS ARRAY_RESHAPE variable=offset complete dim=2
#pragma HLS BIND_STORAGE variable=scale type=rom_1p impl=lutram
#pragma HLS BIND_STORAGE variable=offset type=rom_1p impl=lutram
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
      const Signed<SCALE_BITS> slope = scale[fold][pe];
      const Signed<OFFSET_BITS> start = offset[fold][pe];
      const Signed<LINE_BITS> line = x.lane[pe] * slope + start;
      const Signed<LINE_BITS> shifted = line >> SHIFT;
      y.lane[pe] = shifted < LEAST ? OUT(LEAST) : shifted > MOST ? OUT(MOST) : OUT(shifted);
    }
    out.write(y);
    advance<FOLDS>(fold);
  }
}

}  // namespace facedet
