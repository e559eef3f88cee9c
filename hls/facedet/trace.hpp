// What C simulation adds to the streams: names, deadlock detection, records and trip counts. Never synthesized.
//
// The layers run one after another on a whole frame, and every stream holds as much as is written. So a layer that
// reads from an empty stream would wait for ever in hardware, and a stream that still holds beats when its frame is
// over would fill up in the next frames: both are reported with the layer, the stream, the beat and the frame.

#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "stream.hpp"

namespace facedet {

// A layer read from a stream that held nothing: in hardware, a deadlock.
class EmptyStream : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// All that was written to one stream in a recorded run: lane after lane, beat after beat.
struct StreamRecord {
  std::string name;
  int lanes;
  std::uint64_t beats;
  std::vector<std::int32_t> values;
};

// Iterations of one layer's loop in a run.
struct LayerTrips {
  std::string name;
  std::uint64_t trips;
};

// What one run leaves behind: one for each shared library (hidden, so that two in one process keep apart).
class Trace {
 public:
  Trace() { begin(false); }

  // Forgets the run before.
  void begin(bool record) {
    recording = record;
    frame = 0;
    streams.clear();
    layers.clear();
    leftovers.clear();
    outside = {"a caller outside any layer", 0};
    current = &outside;
  }

  void enter(const char *layer) {
    for (LayerTrips &known : layers) {
      if (known.name == layer) {
        current = &known;
        return;
      }
    }
    layers.push_back({layer, 0});
    current = &layers.back();
  }

  // The record that a stream writes to, or none where nothing is recorded. Frames of one run share it.
  StreamRecord *record_of(const std::string &name, int lanes) {
    if (!recording) return nullptr;
    for (StreamRecord &known : streams) {
      if (known.name == name && known.lanes == lanes) return &known;
    }
    streams.push_back({name, lanes, 0, {}});
    return &streams.back();
  }

  void left_over(const std::string &name, std::size_t beats, std::uint64_t written) {
    leftovers.push_back("stream " + name + " still holds " + std::to_string(beats) + " of " + std::to_string(written) +
                        " beats after frame " + std::to_string(frame));
  }

  bool recording;
  std::uint64_t frame;
  LayerTrips *current;
  // Lists, because streams and layers keep addresses of their entries.
  std::list<StreamRecord> streams;
  std::list<LayerTrips> layers;
  std::vector<std::string> leftovers;

 private:
  LayerTrips outside;
};

inline Trace trace;

// `source` as in "stream MVAU_0"; `taken` beats were read from it, and no more were written.
[[noreturn]] inline void read_from_empty(const std::string &source, std::uint64_t taken) {
  const std::string beats = std::to_string(taken);
  throw EmptyStream("layer " + trace.current->name + " reads beat " + beats + " of " + source + " in frame " +
                    std::to_string(trace.frame) + ", but only " + beats +
                    " beats were written: the hardware would wait for ever");
}

// What hls::stream is in synthesis, by itself: the hls::stream of each release of Vitis HLS simulates in its own way.
template <class T, int LANES>
class Stream {
 public:
  explicit Stream(const char *producer = "unnamed") : name(producer), record(trace.record_of(name, LANES)) {}

  Stream(const Stream &) = delete;
  Stream &operator=(const Stream &) = delete;

  ~Stream() {
    if (!beats.empty()) trace.left_over(name, beats.size(), written);
  }

  bool empty() const { return beats.empty(); }

  Beat<T, LANES> read() {
    if (beats.empty()) read_from_empty("stream " + name, taken);
    ++taken;
    const Beat<T, LANES> beat = beats.front();
    beats.pop_front();
    return beat;
  }

  void write(const Beat<T, LANES> &beat) {
    ++written;
    beats.push_back(beat);
    if (record) keep(beat);
  }

 private:
  void keep(const Beat<T, LANES> &beat) {
    ++record->beats;
    for (const T &value : beat.lane) record->values.push_back(static_cast<std::int32_t>(value.to_int()));
  }

  std::string name;
  StreamRecord *record;
  std::deque<Beat<T, LANES>> beats;
  std::uint64_t taken = 0;
  std::uint64_t written = 0;
};

}  // namespace facedet

#define FACEDET_LAYER(name) ::facedet::trace.enter(name);
#define FACEDET_TRIP ++::facedet::trace.current->trips;
#define FACEDET_PORT_FILLED(port, beat) \
  if ((port).empty()) ::facedet::read_from_empty("the input port", static_cast<std::uint64_t>(beat));
