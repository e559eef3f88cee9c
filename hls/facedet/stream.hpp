// Streams between layers: beats of LANES values, each of type T.
//
// Order: a feature map goes pixel by pixel, row by row; a pixel is CHANNELS / LANES beats; beat f carries the channels
// f * LANES .. f * LANES + LANES - 1, the lowest channel in lane 0. Frames follow each other without a mark.
//
// In synthesis a Stream is an hls::stream of Beats, a FIFO as wide as the lanes together. Vitis HLS packs the struct of
// an internal stream by itself (message 214-241, "compact=bit"), so a stream's variable needs no pragma but STREAM (its
// depth) and, for a deep one, BIND_STORAGE (its memory); both stand where the variable is declared.
// In C simulation a Stream also knows its producer's name, reports a read that would deadlock, and can be recorded.

#pragma once

// First: it says how wide ap_int.h's integers may be, which hls_stream.h may include too.
#include "integers.hpp"

#include <hls_stream.h>

namespace facedet {

// Bits of a beat, at most. Vitis HLS takes integers of up to 4096 bits (message 207-2163), and users of it were refused
// an internal stream whose packed struct has more; that it makes every FIFO up to there is assumed.
constexpr int STREAM_BITS = 4096;

template <class T, int LANES>
struct Beat {
  static_assert(LANES >= 1, "Beat: LANES must be positive");
  static_assert(LANES * Integer<T>::bits <= STREAM_BITS, "Beat: a stream carries at most 4096 bits a beat");
  T lane[LANES];
};

// A beat as one integer, lane 0 in the lowest bits: so memories and ports hold it. A memory is written a whole word at a
// time; one of lanes would be written lane by lane, which Vitis HLS need not merge.
template <class T, int LANES>
using Word = Unsigned<LANES * Integer<T>::bits>;

template <class T, int LANES>
Word<T, LANES> pack(const Beat<T, LANES> &beat) {
#pragma HLS INLINE
  constexpr int BITS = Integer<T>::bits;
  Word<T, LANES> word = 0;
  for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
    const Unsigned<BITS> bits = beat.lane[lane];
    word.range((lane + 1) * BITS - 1, lane * BITS) = bits;
  }
  return word;
}

template <class T, int LANES>
Beat<T, LANES> unpack(const Word<T, LANES> &word) {
#pragma HLS INLINE
  constexpr int BITS = Integer<T>::bits;
  Beat<T, LANES> beat;
#pragma HLS AGGREGATE variable=beat compact=bit
  for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
    const Unsigned<BITS> bits = word.range((lane + 1) * BITS - 1, lane * BITS);
    beat.lane[lane] = bits;
  }
  return beat;
}

}  // namespace facedet

#ifdef FACEDET_SYNTHESIS

namespace facedet {
template <class T, int LANES>
using Stream = hls::stream<Beat<T, LANES>>;
}

// Names the layer that the next call is.
#define FACEDET_LAYER(name)

// Stands first in the body of a layer's one loop: one trip.
#define FACEDET_TRIP

// Stands before a port's read: in simulation, a word must be there.
#define FACEDET_PORT_FILLED(port, beat)

#else
#include "trace.hpp"
#endif
