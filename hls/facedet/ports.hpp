// Ports of a segment: AXI-stream words of whole bytes outside, beats of lanes inside.
//
// Stream order: a word for each beat, lane 0 in the lowest bits, LANES * bits of T together, two's complement, zeros
// above them up to whole bytes. The padding that arrives is ignored.
//
// Initiation interval 1; trips: BEATS.
// Resources: wires.

#pragma once

#include "stream.hpp"

namespace facedet {

// Bits of a port's word for LANES values of T: whole bytes.
template <class T, int LANES>
constexpr int word_bits = (LANES * Integer<T>::bits + 7) / 8 * 8;

template <class T, int LANES, int BEATS, int WORD>
void read_port(hls::stream<ap_uint<WORD>> &port, Stream<T, LANES> &out) {
  static_assert(is_sum<T>, "read_port: T must be Unsigned<B> or Signed<B> with B from 1 to 32 bits");
  static_assert(LANES >= 1 && BEATS >= 1, "read_port: LANES and BEATS must be positive");
  static_assert(WORD == word_bits<T, LANES>, "read_port: the port's word must be LANES values in whole bytes");
beats:
  for (int trip = 0; trip < BEATS; ++trip) {
#pragma HLS PIPELINE II=1
    FACEDET_TRIP
    FACEDET_PORT_FILLED(port, trip)
    const Word<T, LANES> word = port.read();
    out.write(unpack<T, LANES>(word));
  }
}

template <class T, int LANES, int BEATS, int WORD>
void write_port(Stream<T, LANES> &in, hls::stream<ap_uint<WORD>> &port) {
  static_assert(is_sum<T>, "write_port: T must be Unsigned<B> or Signed<B> with B from 1 to 32 bits");
  static_assert(LANES >= 1 && BEATS >= 1, "write_port: LANES and BEATS must be positive");
  static_assert(WORD == word_bits<T, LANES>, "write_port: the port's word must be LANES values in whole bytes");
beats:
  for (int trip = 0; trip < BEATS; ++trip) {
#pragma HLS PIPELINE II=1
    FACEDET_TRIP
    const ap_uint<WORD> word = pack(in.read());
    port.write(word);
  }
}

}  // namespace facedet
