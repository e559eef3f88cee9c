// Runs one layer alone on frames from standard input, and writes what came out as a line of JSON.
//
// The layer gets all frames in its stream before the first call: one that takes too much or too little of a frame
// shifts the next, and what it keeps of a frame meets another. Then, for each beat, the stream ends before it: where
// the layer stops, it wanted to read that beat, and what it has written by then is its schedule.
#pragma once

#include "facedet/layers.hpp"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

using namespace facedet;

using Values = std::vector<std::int64_t>;

inline Values read_values(std::size_t count) {
  Values values(count);
  if (std::fread(values.data(), sizeof(std::int64_t), count, stdin) != count) std::abort();
  return values;
}

template <class Stream> struct Traits;

template <class T, int LANES> struct Traits<Stream<T, LANES>> {
  static constexpr int lanes = LANES;
  static void write(Stream<T, LANES>& stream, const std::int64_t *values) {
    Beat<T, LANES> beat;
    for (int lane = 0; lane < LANES; lane++) beat.lane[lane] = T(values[lane]);
    stream.write(beat);
  }
  static void read(Stream<T, LANES>& stream, Values& values) {
    const Beat<T, LANES> beat = stream.read();
    for (int lane = 0; lane < LANES; lane++) values.push_back(static_cast<long long>(beat.lane[lane]));
  }
};

template <int BITS> struct Traits<hls::stream<ap_uint<BITS>>> {
  static constexpr int lanes = BITS / 8;
  static void write(hls::stream<ap_uint<BITS>>& stream, const std::int64_t *bytes) {
    ap_uint<BITS> word = 0;
    for (int byte = 0; byte < lanes; byte++) word.range(8 * byte + 7, 8 * byte) = ap_uint<8>(bytes[byte]);
    stream.write(word);
  }
  static void read(hls::stream<ap_uint<BITS>>& stream, Values& bytes) {
    const ap_uint<BITS> word = stream.read();
    for (int byte = 0; byte < lanes; byte++) bytes.push_back(word.range(8 * byte + 7, 8 * byte).to_uint());
  }
};

inline void print_values(const Values& values) {
  for (std::size_t index = 0; index < values.size(); index++)
    std::printf("%s%lld", index ? "," : "", static_cast<long long>(values[index]));
}

// Empties `stream` and returns its values.
template <class Stream> Values drain(Stream& stream) {
  Values values;
  while (!stream.empty()) Traits<Stream>::read(stream, values);
  return values;
}

// How many beats `layer` has written when it finds its input at an end after `beats` beats of `values`.
template <class In, class Out, class Layer>
long long written_before(const Values& values, std::size_t beats, Layer layer) {
  In in("in");
  Out out("out");
  for (std::size_t beat = 0; beat < beats; beat++) Traits<In>::write(in, &values[beat * Traits<In>::lanes]);
  try {
    layer(in, out);
  } catch (const EmptyStream&) {
    return drain(out).size() / Traits<Out>::lanes;
  }
  drain(in);
  drain(out);
  return -1;  // it did not want that beat
}

template <class In, class Out, class Layer>
void run_alone(const char *name, int frames, std::size_t beats, const std::vector<std::size_t>& cuts, Layer layer) {
  std::fprintf(stderr, "case %s\n", name);
  const Values values = read_values(frames * beats * Traits<In>::lanes);
  In in("in");
  Out out("out");
  for (std::size_t beat = 0; beat < frames * beats; beat++) Traits<In>::write(in, &values[beat * Traits<In>::lanes]);
  trace.begin(false);
  FACEDET_LAYER(name);
  std::vector<Values> outputs;
  try {
    for (int frame = 0; frame < frames; frame++) {
      layer(in, out);
      outputs.push_back(drain(out));
    }
  } catch (const EmptyStream& stop) {
    std::printf("{\"error\": \"%s\"}\n", stop.what());
    drain(in);
    drain(out);
    return;
  }
  const unsigned long long trips = trace.current->trips;
  const std::size_t left = drain(in).size() / Traits<In>::lanes;
  Values schedule;
  for (const std::size_t cut : cuts) schedule.push_back(written_before<In, Out>(values, cut, layer));

  std::printf("{\"left in the stream\": %zu, \"trips\": %llu, \"schedule\": [", left, trips);
  print_values(schedule);
  std::printf("], \"frames\": [");
  for (std::size_t frame = 0; frame < outputs.size(); frame++) {
    std::printf(frame ? ",[" : "[");
    print_values(outputs[frame]);
    std::printf("]");
  }
  std::printf("]}\n");
}
