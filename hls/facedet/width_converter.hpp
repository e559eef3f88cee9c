// Width converter: the same values in the same order, in beats of another number of lanes.
//
// One lane count divides the other; RATIO is the larger by the smaller. Widening gathers RATIO beats in one, narrowing
// sends one as RATIO beats.
//
// Stream order, in and out: the first value of the stream is in the lowest lane of the first beat.
// Initiation interval 1; trips: the beats in or the beats out, whichever are more.
// Resources: a shift register of the wider beat; no memory, no multiplexer of lanes.

#pragma once

#include "stream.hpp"

namespace facedet {
namespace detail {

template <class T, int LANES_IN, int LANES_OUT, int BEATS_IN>
void widen(Stream<T, LANES_IN> &in, Stream<T, LANES_OUT> &out) {
#pragma HLS INLINE
  Counter<LANES_OUT / LANES_IN> part = 0;
  Beat<T, LANES_OUT> wide;
#pragma HLS AGGREGATE variable=wide compact=bit
beats:
  for (int trip = 0; trip < BEATS_IN; ++trip) {
#pragma HLS PIPELINE II=1
    FACEDET_TRIP
    Beat<T, LANES_IN> narrow = in.read();
#pragma HLS AGGREGATE variable=narrow compact=bit
    // What came first moves down, what comes last enters at the top.
    for (int lane = 0; lane < LANES_OUT - LANES_IN; ++lane) {
#pragma HLS UNROLL
      wide.lane[lane] = wide.lane[lane + LANES_IN];
    }
    for (int lane = 0; lane < LANES_IN; ++lane) {
#pragma HLS UNROLL
      wide.lane[LANES_OUT - LANES_IN + lane] = narrow.lane[lane];
    }
    if (advance<LANES_OUT / LANES_IN>(part)) out.write(wide);
  }
}

template <class T, int LANES_IN, int LANES_OUT, int BEATS_IN>
void narrow(Stream<T, LANES_IN> &in, Stream<T, LANES_OUT> &out) {
#pragma HLS INLINE
  constexpr int RATIO = LANES_IN / LANES_OUT;
  Counter<RATIO> part = 0;
  Beat<T, LANES_IN> wide;
#pragma HLS AGGREGATE variable=wide compact=bit
beats:
  for (int trip = 0; trip < BEATS_IN * RATIO; ++trip) {
#pragma HLS PIPELINE II=1
    FACEDET_TRIP
    if (part == 0) {
      wide = in.read();
    } else {
      for (int lane = 0; lane < LANES_IN - LANES_OUT; ++lane) {
#pragma HLS UNROLL
        wide.lane[lane] = wide.lane[lane + LANES_OUT];
      }
    }
    Beat<T, LANES_OUT> lowest;
#pragma HLS AGGREGATE variable=lowest compact=bit
    for (int lane = 0; lane < LANES_OUT; ++lane) {
#pragma HLS UNROLL
      lowest.lane[lane] = wide.lane[lane];
    }
    out.write(lowest);
    advance<RATIO>(part);
  }
}

}  // namespace detail

template <class T, int LANES_IN, int LANES_OUT, int BEATS_IN>
void convert_width(Stream<T, LANES_IN> &in, Stream<T, LANES_OUT> &out) {
  static_assert(is_sum<T>, "convert_width: T must be Unsigned<B> or Signed<B> with B from 1 to 32 bits");
  static_assert(LANES_IN >= 1 && LANES_OUT >= 1 && (LANES_IN % LANES_OUT == 0 || LANES_OUT % LANES_IN == 0),
                "convert_width: one of LANES_IN and LANES_OUT must divide the other");
  static_assert(BEATS_IN >= 1 && (BEATS_IN * LANES_IN) % LANES_OUT == 0,
                "convert_width: the beats of a frame must fill whole beats of the output");
  if constexpr (LANES_IN <= LANES_OUT) {
    detail::widen<T, LANES_IN, LANES_OUT, BEATS_IN>(in, out);
  } else {
    detail::narrow<T, LANES_IN, LANES_OUT, BEATS_IN>(in, out);
  }
}

}  // namespace facedet
