// Matrix times vector: a convolution over the windows of sliding_window.hpp, or a fully connected layer.
//
// For each of VECTORS vectors x of COLUMNS values and a matrix w of ROWS x COLUMNS weights,
//
//     y[row] = sum over column of w[row][column] * x[column].
//
// Folding: PE rows and SIMD columns at a time, in PASSES = ROWS / PE passes over WORDS = COLUMNS / SIMD words of the
// vector. Pass p, word c adds the products of columns c * SIMD .. c * SIMD + SIMD - 1 to the sums of rows p * PE ..
// p * PE + PE - 1, whose weights are weights[p][c][row in the pass][column in the word].
// The sums have the bits that the final values need; a partial sum may wrap, the final one is exact (arithmetic modulo
// a power of two).
//
// Stream order in: WORDS beats a vector, lowest columns first; out: PASSES beats a vector, lowest rows first.
// Initiation interval 1; trips: VECTORS * PASSES * WORDS. The vector is taken in the first pass and kept for the
// others, so the stream before this layer should hold WORDS beats: the next vector gathers there while this one is
// worked on.
// Resources: PE * SIMD multipliers (MULTIPLIER: in DSP slices or in LUTs); PE adder trees of SIMD products, each with
// one accumulator, the only value that a trip hands to the next; weights in PASSES * WORDS words of PE * SIMD *
// WEIGHT_BITS bits (MEMORY: block RAM or LUTRAM; constants when one), one word a trip; the vector in WORDS words of SIMD
// values (one port writes, one reads; block RAM when more than 64 words, registers when one, else LUTRAM). The weights'
// address is computed apart from the accumulation and is pipelined.
// Nothing read from the vector's memory is written back to it, so no chain through it keeps the pipeline from II=1.

#pragma once

#include "stream.hpp"

namespace facedet {

enum class Multiplier { fabric, dsp };

namespace detail {

// One product, in the kind of multiplier asked for.
template <Multiplier MULTIPLIER, class IN, int WEIGHT_BITS>
Signed<Integer<IN>::bits + WEIGHT_BITS> multiply(IN value, Signed<WEIGHT_BITS> weight) {
#pragma HLS INLINE
  if constexpr (MULTIPLIER == Multiplier::dsp) {
    const Signed<Integer<IN>::bits + WEIGHT_BITS> product = value * weight;
#pragma HLS BIND_OP variable=product op=mul impl=dsp
    return product;
  } else {
    const Signed<Integer<IN>::bits + WEIGHT_BITS> product = value * weight;
#pragma HLS BIND_OP variable=product op=mul impl=fabric
    return product;
  }
}

}  // namespace detail

template <class IN, class SUM, int WEIGHT_BITS, int PE, int SIMD, int ROWS, int COLUMNS, int VECTORS,
          Multiplier MULTIPLIER, Memory MEMORY>
void matrix_vector(Stream<IN, SIMD> &in, Stream<SUM, PE> &out,
                   const Constant<WEIGHT_BITS> weights[ROWS / PE][COLUMNS / SIMD][PE][SIMD]) {
  static_assert(is_value<IN>, "matrix_vector: IN must be Unsigned<B> or Signed<B> with B from 1 to 16 bits");
  static_assert(is_sum<SUM>, "matrix_vector: SUM must be Unsigned<B> or Signed<B> with B from 1 to 32 bits");
  static_assert(WEIGHT_BITS >= 1 && WEIGHT_BITS <= VALUE_BITS, "matrix_vector: WEIGHT_BITS must be from 1 to 16");
  static_assert(PE >= 1 && ROWS >= 1 && ROWS % PE == 0, "matrix_vector: PE must divide ROWS");
  static_assert(SIMD >= 1 && COLUMNS >= 1 && COLUMNS % SIMD == 0, "matrix_vector: SIMD must divide COLUMNS");
  static_assert(VECTORS >= 1, "matrix_vector: VECTORS must be positive");
  constexpr int PASSES = ROWS / PE;
  constexpr int WORDS = COLUMNS / SIMD;

  if constexpr (PASSES * WORDS == 1) {
#pragma HLS ARRAY_PARTITION variable=weights complete dim=0
  } else {
#pragma HLS ARRAY_RESHAPE variable=weights complete dim=3
#pragma HLS ARRAY_RESHAPE variable=weights complete dim=4
    if constexpr (MEMORY == Memory::block) {
#pragma HLS BIND_STORAGE variable=weights type=rom_1p impl=bram
    } else {
#pragma HLS BIND_STORAGE variable=weights type=rom_1p impl=lutram
    }
  }
  Word<IN, SIMD> vector[WORDS];
  if constexpr (WORDS == 1) {
#pragma HLS ARRAY_PARTITION variable=vector complete dim=0
  } else if constexpr (WORDS > LUTRAM_WORDS) {
#pragma HLS BIND_STORAGE variable=vector type=ram_s2p impl=bram
  } else {
#pragma HLS BIND_STORAGE variable=vector type=ram_s2p impl=lutram
  }
  SUM accumulator[PE];
#pragma HLS ARRAY_PARTITION variable=accumulator complete dim=0

  Counter<PASSES> pass = 0;
  Counter<WORDS> word = 0;
beats:
  for (int trip = 0; trip < VECTORS * PASSES * WORDS; ++trip) {
#pragma HLS PIPELINE II=1
    FACEDET_TRIP
    Beat<IN, SIMD> x;
#pragma HLS AGGREGATE variable=x compact=bit
    if (pass == 0) {
      x = in.read();
      vector[word] = pack(x);
    } else {
      x = unpack<IN, SIMD>(vector[word]);
    }

    Beat<SUM, PE> sums;
#pragma HLS AGGREGATE variable=sums compact=bit
    for (int pe = 0; pe < PE; ++pe) {
#pragma HLS UNROLL
      SUM dot = 0;
      for (int lane = 0; lane < SIMD; ++lane) {
#pragma HLS UNROLL
        const Signed<WEIGHT_BITS> weight = weights[pass][word][pe][lane];
        dot += detail::multiply<MULTIPLIER, IN, WEIGHT_BITS>(x.lane[lane], weight);
      }
      const SUM before = word == 0 ? SUM(0) : accumulator[pe];
      accumulator[pe] = before + dot;
      sums.lane[pe] = accumulator[pe];
    }

    if (advance<WORDS>(word)) {
      out.write(sums);
      advance<PASSES>(pass);
    }
  }
}

}  // namespace facedet
