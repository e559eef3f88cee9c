// A segment as a shared library: what csim.cpp includes to be called from Python. Never synthesized.
//
// csim.cpp defines facedet::segments, in the order of the stream:
//
//     const std::vector<facedet::Segment> facedet::segments = {
//         facedet::segment<24, 8>("facedet_hls_0", facedet_hls_0, 173056, 3042),
//     };
//
// Include this header in one source file of a library: it defines the C functions below. They are for one thread at a
// time. Words are little-endian bytes, frames follow each other without a gap.

#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "layers.hpp"

namespace facedet {

// A top function, with the beats and bytes of a frame on its two ports.
struct Segment {
  const char *name;
  std::uint64_t beats_in;
  std::uint64_t bytes_in;
  std::uint64_t beats_out;
  std::uint64_t bytes_out;
  std::function<void(const std::uint8_t *in, std::uint8_t *out)> run;
};

extern const std::vector<Segment> segments;

template <int WORD>
ap_uint<WORD> word_of(const std::uint8_t *bytes) {
  ap_uint<WORD> word = 0;
  for (int byte = 0; byte < WORD / 8; ++byte) word.range(byte * 8 + 7, byte * 8) = bytes[byte];
  return word;
}

template <int WORD>
void bytes_of(const ap_uint<WORD> &word, std::uint8_t *bytes) {
  for (int byte = 0; byte < WORD / 8; ++byte) {
    bytes[byte] = static_cast<std::uint8_t>(word.range(byte * 8 + 7, byte * 8).to_uint());
  }
}

// Makes a segment of a top function whose words have WORD_IN and WORD_OUT bits.
template <int WORD_IN, int WORD_OUT>
Segment segment(const char *name, void (*top)(hls::stream<ap_uint<WORD_IN>>&, hls::stream<ap_uint<WORD_OUT>>&),
                std::uint64_t beats_in, std::uint64_t beats_out) {
  static_assert(WORD_IN % 8 == 0 && WORD_OUT % 8 == 0, "segment: a port's word must be whole bytes");
  const std::uint64_t bytes_in = beats_in * (WORD_IN / 8);
  const std::uint64_t bytes_out = beats_out * (WORD_OUT / 8);
  auto run = [top, beats_in, beats_out](const std::uint8_t *in, std::uint8_t *out) {
    hls::stream<ap_uint<WORD_IN>> words_in("in0_V");
    hls::stream<ap_uint<WORD_OUT>> words_out("out0_V");
    for (std::uint64_t beat = 0; beat < beats_in; ++beat) words_in.write(word_of<WORD_IN>(in + beat * (WORD_IN / 8)));
    top(words_in, words_out);
    // Counted as they are read: not every hls::stream tells how many it holds.
    std::uint64_t unread = 0;
    for (; !words_in.empty(); ++unread) words_in.read();
    std::uint64_t sent = 0;
    for (; !words_out.empty(); ++sent) {
      const ap_uint<WORD_OUT> word = words_out.read();
      if (sent < beats_out) bytes_of<WORD_OUT>(word, out + sent * (WORD_OUT / 8));
    }
    if (unread != 0) throw std::runtime_error(std::to_string(unread) + " words of in0_V were not read");
    if (sent != beats_out) {
      throw std::runtime_error(std::to_string(sent) + " words were written to out0_V, not " +
                               std::to_string(beats_out));
    }
  };
  return {name, beats_in, bytes_in, beats_out, bytes_out, run};
}

namespace detail {

// The entry of that index, or none.
template <class ENTRIES>
auto entry(ENTRIES &entries, int index) -> decltype(&*entries.begin()) {
  if (index < 0 || static_cast<std::size_t>(index) >= entries.size()) return nullptr;
  return &*std::next(entries.begin(), index);
}

// Runs frames one after another; empty where all went well, else what did not.
inline std::string run(const Segment &segment, std::uint64_t frames, const std::uint8_t *in, std::uint8_t *out,
                       bool record) {
  trace.begin(record);
  for (std::uint64_t frame = 0; frame < frames; ++frame) {
    trace.frame = frame;
    try {
      segment.run(in + frame * segment.bytes_in, out + frame * segment.bytes_out);
    } catch (const EmptyStream &empty) {
      return empty.what();
    } catch (const std::exception &error) {
      return std::string(error.what()) + " in frame " + std::to_string(frame);
    }
    if (!trace.leftovers.empty()) {
      std::string all;
      for (const std::string &leftover : trace.leftovers) all += (all.empty() ? "" : "; ") + leftover;
      return all;
    }
  }
  return {};
}

}  // namespace detail
}  // namespace facedet

#define FACEDET_EXPORT extern "C" __attribute__((visibility("default")))

// Segments in this library. An index below is from 0; one that does not exist gives a null pointer.
FACEDET_EXPORT int facedet_segments(void) { return static_cast<int>(facedet::segments.size()); }

// Name of segment `index`; sizes = beats in, bytes in, beats out, bytes out of a frame.
FACEDET_EXPORT const char *facedet_segment(int index, std::uint64_t sizes[4]) {
  const facedet::Segment *segment = facedet::detail::entry(facedet::segments, index);
  if (segment == nullptr) return nullptr;
  sizes[0] = segment->beats_in;
  sizes[1] = segment->bytes_in;
  sizes[2] = segment->beats_out;
  sizes[3] = segment->bytes_out;
  return segment->name;
}

// Runs `frames` frames through segment `index`; record != 0 keeps every stream. 0: fine. 1: a layer read from an empty
// stream, beats were left, or another error; `message` (message_bytes with the closing zero) says which.
FACEDET_EXPORT int facedet_run(int index, std::uint64_t frames, const std::uint8_t *in, std::uint8_t *out, int record,
                               char *message, std::uint64_t message_bytes) {
  const facedet::Segment *segment = facedet::detail::entry(facedet::segments, index);
  const std::string error =
      segment == nullptr ? "no such segment" : facedet::detail::run(*segment, frames, in, out, record != 0);
  if (message_bytes > 0) {
    const std::size_t length = error.copy(message, message_bytes - 1);
    message[length] = '\0';
  }
  return error.empty() ? 0 : 1;
}

// Streams of the last run, where it was recorded, in the order in which they were made.
FACEDET_EXPORT int facedet_streams(void) { return static_cast<int>(facedet::trace.streams.size()); }

// Name of stream `index`; its beats, its lanes and all its values, beat after beat, until the next run.
FACEDET_EXPORT const char *facedet_stream(int index, std::uint64_t *beats, int *lanes, const std::int32_t** values) {
  const facedet::StreamRecord *stream = facedet::detail::entry(facedet::trace.streams, index);
  if (stream == nullptr) return nullptr;
  *beats = stream->beats;
  *lanes = stream->lanes;
  *values = stream->values.data();
  return stream->name.c_str();
}

// Layers of the last run, in the order in which they were first called.
FACEDET_EXPORT int facedet_layers(void) { return static_cast<int>(facedet::trace.layers.size()); }

// Name of layer `index`; the iterations of its loop, all frames together.
FACEDET_EXPORT const char *facedet_layer(int index, std::uint64_t *trips) {
  const facedet::LayerTrips *layer = facedet::detail::entry(facedet::trace.layers, index);
  if (layer == nullptr) return nullptr;
  *trips = layer->trips;
  return layer->name.c_str();
}
