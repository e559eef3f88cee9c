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

#include <hls_stream.h>

#include "integers.hpp"

namespace facedet {

// The widest FIFO that Vitis HLS makes.
constexpr int STREAM_BITS = 4096;

template <class T, int LANES>
struct Beat {
  static_assert(LANES >= 1, "Beat: LANES must be positive");
  static_assert(LANES * Integer<T>::bits <= STREAM_BITS, "Beat: a stream carries at most 4096 bits a beat");
  T lane[LANES];
};

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
