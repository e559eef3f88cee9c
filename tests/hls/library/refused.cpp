// What the library refuses. Each line with a message must be refused with that message.
#include "facedet/layers.hpp"

using namespace facedet;

template <class T> T &any();
template <class T, int LANES> Stream<T, LANES> &of() { return any<Stream<T, LANES>>(); }
using Four = Unsigned<4>;
using Sum = Signed<13>;
using Wide = Unsigned<17>;
using Widest = Signed<33>;
constexpr Multiplier DSP = Multiplier::dsp;
constexpr Memory ROM = Memory::block;
extern const Constant<4> w[2][3][2][3];
extern const Constant<8> t[2][2][3];
extern const Constant<8> s0[2][2][1], s1[2][2][2], s1_bad[2][2][3];
extern const Constant<8> c[2][2];

void accepted() {
    pad<Four, 2, 4, 3, 3, 1, 1, 1, 1>(of<Four, 2>(), of<Four, 2>());
    sliding_window<Four, 2, 4, 3, 3, 3, 3, 1, 1>(of<Four, 2>(), of<Four, 2>());
    parallel_window<Four, 2, 3, 3, 3, 3, 1, 1>(of<Four, 2>(), of<Four, 18>());
    matrix_vector<Four, Sum, 4, 2, 3, 4, 9, 1, DSP, ROM>(of<Four, 3>(), of<Sum, 2>(), w);
    thresholds_by_comparison<Sum, Four, 2, 4, 1, 0, 8, 3>(of<Sum, 2>(), of<Four, 2>(), t);
    thresholds_by_search<Sum, Four, 2, 4, 1, 0>(of<Sum, 2>(), of<Four, 2>(), s0, s1);
    hard_tanh<Sum, Four, 2, 4, 1, 3, 0, 15, 8, 8>(of<Sum, 2>(), of<Four, 2>(), c, c);
    max_pool_2x2<Four, 2, 4, 2, 2>(of<Four, 2>(), of<Four, 2>());
    convert_width<Four, 2, 4, 6>(of<Four, 2>(), of<Four, 4>());
    read_port<Four, 3, 1>(any<hls::stream<ap_uint<16>>>(), of<Four, 3>());
    write_port<Four, 3, 1>(of<Four, 3>(), any<hls::stream<ap_uint<16>>>());
}

#ifdef REFUSED
void refused() {
    of<Four, 0>().read(); // Beat: LANES must be positive
    of<Four, 1025>().read(); // Beat: a stream carries at most 4096 bits a beat

    pad<Wide, 2, 4, 3, 3, 1, 1, 1, 1>(of<Wide, 2>(), of<Wide, 2>()); // pad: T must be Unsigned<B> or Signed<B> with B from 1 to 16 bits
    pad<int, 2, 4, 3, 3, 1, 1, 1, 1>(any<Stream<int, 2>>(), any<Stream<int, 2>>()); // pad: T must be Unsigned<B> or Signed<B> with B from 1 to 16 bits
    pad<Four, 2, 5, 3, 3, 1, 1, 1, 1>(of<Four, 2>(), of<Four, 2>()); // pad: SIMD must divide CHANNELS
    pad<Four, 2, 4, 0, 3, 1, 1, 1, 1>(of<Four, 2>(), of<Four, 2>()); // pad: HEIGHT and WIDTH must be positive
    pad<Four, 2, 4, 3, 3, 1, 1, -1, 1>(of<Four, 2>(), of<Four, 2>()); // pad: no side's padding may be negative

    sliding_window<Wide, 2, 4, 3, 3, 3, 3, 1, 1>(of<Wide, 2>(), of<Wide, 2>()); // sliding_window: T must be Unsigned<B> or Signed<B> with B from 1 to 16 bits
    sliding_window<Four, 2, 5, 3, 3, 3, 3, 1, 1>(of<Four, 2>(), of<Four, 2>()); // sliding_window: SIMD must divide CHANNELS
    sliding_window<Four, 2, 4, 3, 3, 3, 4, 1, 1>(of<Four, 2>(), of<Four, 2>()); // sliding_window: the kernel must fit in the map
    sliding_window<Four, 2, 4, 3, 3, 3, 3, 1, 0>(of<Four, 2>(), of<Four, 2>()); // sliding_window: strides must be positive

    parallel_window<Wide, 2, 3, 3, 3, 3, 1, 1>(of<Wide, 2>(), of<Wide, 18>()); // parallel_window: T must be Unsigned<B> or Signed<B> with B from 1 to 16 bits
    parallel_window<Four, 0, 3, 3, 3, 3, 1, 1>(of<Four, 0>(), of<Four, 0>()); // parallel_window: CHANNELS must be positive
    parallel_window<Four, 2, 3, 3, 4, 3, 1, 1>(of<Four, 2>(), of<Four, 24>()); // parallel_window: the kernel must fit in the map
    parallel_window<Four, 2, 3, 3, 3, 3, 0, 1>(of<Four, 2>(), of<Four, 18>()); // parallel_window: strides must be positive

    matrix_vector<Wide, Sum, 4, 2, 3, 4, 9, 1, DSP, ROM>(of<Wide, 3>(), of<Sum, 2>(), w); // matrix_vector: IN must be Unsigned<B> or Signed<B> with B from 1 to 16 bits
    matrix_vector<Four, Widest, 4, 2, 3, 4, 9, 1, DSP, ROM>(of<Four, 3>(), of<Widest, 2>(), w); // matrix_vector: SUM must be Unsigned<B> or Signed<B> with B from 1 to 32 bits
    matrix_vector<Four, Sum, 0, 2, 3, 4, 9, 1, DSP, ROM>(of<Four, 3>(), of<Sum, 2>(), w); // matrix_vector: WEIGHT_BITS must be from 1 to 16
    matrix_vector<Four, Sum, 4, 2, 3, 5, 9, 1, DSP, ROM>(of<Four, 3>(), of<Sum, 2>(), w); // matrix_vector: PE must divide ROWS
    matrix_vector<Four, Sum, 4, 2, 3, 4, 10, 1, DSP, ROM>(of<Four, 3>(), of<Sum, 2>(), w); // matrix_vector: SIMD must divide COLUMNS
    matrix_vector<Four, Sum, 4, 2, 3, 4, 9, 0, DSP, ROM>(of<Four, 3>(), of<Sum, 2>(), w); // matrix_vector: VECTORS must be positive

    thresholds_by_comparison<Widest, Four, 2, 4, 1, 0, 8, 3>(of<Widest, 2>(), of<Four, 2>(), t); // thresholds_by_comparison: IN must be Unsigned<B> or Signed<B> with B from 1 to 32 bits
    thresholds_by_comparison<Sum, Wide, 2, 4, 1, 0, 8, 3>(of<Sum, 2>(), of<Wide, 2>(), t); // thresholds_by_comparison: OUT must be Unsigned<B> or Signed<B> with B from 1 to 16 bits
    thresholds_by_comparison<Sum, Four, 2, 5, 1, 0, 8, 3>(of<Sum, 2>(), of<Four, 2>(), t); // thresholds_by_comparison: PE must divide CHANNELS
    thresholds_by_comparison<Sum, Four, 2, 4, 0, 0, 8, 3>(of<Sum, 2>(), of<Four, 2>(), t); // thresholds_by_comparison: VECTORS must be positive
    thresholds_by_comparison<Sum, Four, 2, 4, 1, 0, 0, 3>(of<Sum, 2>(), of<Four, 2>(), t); // thresholds_by_comparison: BITS of a threshold must be from 1 to 34
    thresholds_by_comparison<Sum, Four, 2, 4, 1, 13, 8, 3>(of<Sum, 2>(), of<Four, 2>(), t); // thresholds_by_comparison: LEAST .. LEAST + LEVELS must fit in OUT

    thresholds_by_search<Widest, Four, 2, 4, 1, 0>(of<Widest, 2>(), of<Four, 2>(), s0, s1); // thresholds_by_search: IN must be Unsigned<B> or Signed<B> with B from 1 to 32 bits
    thresholds_by_search<Sum, Wide, 2, 4, 1, 0>(of<Sum, 2>(), of<Wide, 2>(), s0, s1); // thresholds_by_search: OUT must be Unsigned<B> or Signed<B> with B from 1 to 16 bits
    thresholds_by_search<Sum, Four, 2, 5, 1, 0>(of<Sum, 2>(), of<Four, 2>(), s0, s1); // thresholds_by_search: PE must divide CHANNELS
    thresholds_by_search<Sum, Four, 2, 4, 0, 0>(of<Sum, 2>(), of<Four, 2>(), s0, s1); // thresholds_by_search: VECTORS must be positive
    thresholds_by_search<Sum, Four, 2, 4, 1, 0>(of<Sum, 2>(), of<Four, 2>()); // thresholds_by_search: there must be 1 to 16 stages
    thresholds_by_search<Sum, Four, 2, 4, 1, 0>(of<Sum, 2>(), of<Four, 2>(), s0, s1_bad); // thresholds_by_search: stage s must have 2^s thresholds a channel
    thresholds_by_search<Sum, Four, 2, 4, 1, -1>(of<Sum, 2>(), of<Four, 2>(), s0, s1); // thresholds_by_search: LEAST .. LEAST + 2^stages - 1 must fit in OUT

    hard_tanh<Widest, Four, 2, 4, 1, 3, 0, 15, 8, 8>(of<Widest, 2>(), of<Four, 2>(), c, c); // hard_tanh: IN must be Unsigned<B> or Signed<B> with B from 1 to 32 bits
    hard_tanh<Sum, Wide, 2, 4, 1, 3, 0, 15, 8, 8>(of<Sum, 2>(), of<Wide, 2>(), c, c); // hard_tanh: OUT must be Unsigned<B> or Signed<B> with B from 1 to 16 bits
    hard_tanh<Sum, Four, 2, 5, 1, 3, 0, 15, 8, 8>(of<Sum, 2>(), of<Four, 2>(), c, c); // hard_tanh: PE must divide CHANNELS
    hard_tanh<Sum, Four, 2, 4, 0, 3, 0, 15, 8, 8>(of<Sum, 2>(), of<Four, 2>(), c, c); // hard_tanh: VECTORS must be positive
    hard_tanh<Sum, Four, 2, 4, 1, 3, 0, 15, 0, 8>(of<Sum, 2>(), of<Four, 2>(), c, c); // hard_tanh: SCALE_BITS must be from 1 to 24
    hard_tanh<Sum, Four, 2, 4, 1, 3, 0, 15, 8, 0>(of<Sum, 2>(), of<Four, 2>(), c, c); // hard_tanh: OFFSET_BITS must be from 1 to 48
    hard_tanh<Sum, Four, 2, 4, 1, 3, -1, 15, 8, 8>(of<Sum, 2>(), of<Four, 2>(), c, c); // hard_tanh: LEAST <= MOST must both fit in OUT
    hard_tanh<Sum, Four, 2, 4, 1, 22, 0, 15, 8, 8>(of<Sum, 2>(), of<Four, 2>(), c, c); // hard_tanh: SHIFT must be at least 0 and below the sum's bits

    max_pool_2x2<Wide, 2, 4, 2, 2>(of<Wide, 2>(), of<Wide, 2>()); // max_pool_2x2: T must be Unsigned<B> or Signed<B> with B from 1 to 16 bits
    max_pool_2x2<Four, 2, 5, 2, 2>(of<Four, 2>(), of<Four, 2>()); // max_pool_2x2: PE must divide CHANNELS
    max_pool_2x2<Four, 2, 4, 3, 2>(of<Four, 2>(), of<Four, 2>()); // max_pool_2x2: HEIGHT must be even and positive
    max_pool_2x2<Four, 2, 4, 2, 3>(of<Four, 2>(), of<Four, 2>()); // max_pool_2x2: WIDTH must be even and positive

    convert_width<Widest, 2, 4, 6>(of<Widest, 2>(), of<Widest, 4>()); // convert_width: T must be Unsigned<B> or Signed<B> with B from 1 to 32 bits
    convert_width<Four, 2, 3, 6>(of<Four, 2>(), of<Four, 3>()); // convert_width: one of LANES_IN and LANES_OUT must divide the other
    convert_width<Four, 2, 4, 5>(of<Four, 2>(), of<Four, 4>()); // convert_width: the beats of a frame must fill whole beats of the output

    read_port<Widest, 3, 1>(any<hls::stream<ap_uint<104>>>(), of<Widest, 3>()); // read_port: T must be Unsigned<B> or Signed<B> with B from 1 to 32 bits
    read_port<Four, 3, 0>(any<hls::stream<ap_uint<16>>>(), of<Four, 3>()); // read_port: LANES and BEATS must be positive
    read_port<Four, 3, 1>(any<hls::stream<ap_uint<24>>>(), of<Four, 3>()); // read_port: the port's word must be LANES values in whole bytes
    write_port<Widest, 3, 1>(of<Widest, 3>(), any<hls::stream<ap_uint<104>>>()); // write_port: T must be Unsigned<B> or Signed<B> with B from 1 to 32 bits
    write_port<Four, 3, 0>(of<Four, 3>(), any<hls::stream<ap_uint<16>>>()); // write_port: LANES and BEATS must be positive
    write_port<Four, 3, 1>(of<Four, 3>(), any<hls::stream<ap_uint<24>>>()); // write_port: the port's word must be LANES values in whole bytes
}
#endif
