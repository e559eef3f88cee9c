// Segments that go well and that do not, as a shared library like an accelerator's csim.cpp.
#include "facedet/simulation.hpp"

using namespace facedet;

using Port = hls::stream<ap_uint<8>>;

namespace {

// Four values in, each once more with a zero on both sides.
void fine(Port &in0_V, Port &out0_V) {
    Stream<Signed<4>, 1> in0("in0");
    FACEDET_LAYER("in0")
    read_port<Signed<4>, 1, 4>(in0_V, in0);
    Stream<Signed<4>, 1> padded("FMPadding_0");
    FACEDET_LAYER("FMPadding_0")
    pad<Signed<4>, 1, 2, 1, 2, 0, 1, 0, 1>(in0, padded);
    Stream<Signed<4>, 2> pairs("StreamingDataWidthConverter_0");
    FACEDET_LAYER("StreamingDataWidthConverter_0")
    convert_width<Signed<4>, 1, 2, 8>(padded, pairs);
    FACEDET_LAYER("out0")
    write_port<Signed<4>, 2, 4>(pairs, out0_V);
}

// The second layer wants eight beats of the four that the first writes.
void hangs(Port &in0_V, Port &out0_V) {
    Stream<Unsigned<8>, 1> in0("in0");
    FACEDET_LAYER("in0")
    read_port<Unsigned<8>, 1, 4>(in0_V, in0);
    Stream<Unsigned<8>, 1> result("MVAU_0");
    FACEDET_LAYER("MVAU_0")
    pad<Unsigned<8>, 1, 2, 1, 4, 0, 0, 0, 0>(in0, result);
    FACEDET_LAYER("out0")
    write_port<Unsigned<8>, 1, 8>(result, out0_V);
}

// The last layer leaves one of the four.
void leaves(Port &in0_V, Port &out0_V) {
    Stream<Unsigned<8>, 1> in0("in0");
    FACEDET_LAYER("in0")
    read_port<Unsigned<8>, 1, 4>(in0_V, in0);
    FACEDET_LAYER("out0")
    write_port<Unsigned<8>, 1, 3>(in0, out0_V);
}

// As `fine` in every first frame, as `hangs` in every second.
void hangs_in_turn(Port &in0_V, Port &out0_V) {
    static bool second = true;
    second = !second;
    (second ? hangs : fine)(in0_V, out0_V);
}

// Wants more than the frame has.
void wants_more(Port &in0_V, Port &out0_V) {
    Stream<Unsigned<8>, 1> in0("in0");
    FACEDET_LAYER("in0")
    read_port<Unsigned<8>, 1, 5>(in0_V, in0);
    FACEDET_LAYER("out0")
    write_port<Unsigned<8>, 1, 5>(in0, out0_V);
}

// Takes less than the frame has.
void wants_less(Port &in0_V, Port &out0_V) {
    Stream<Unsigned<8>, 1> in0("in0");
    FACEDET_LAYER("in0")
    read_port<Unsigned<8>, 1, 3>(in0_V, in0);
    FACEDET_LAYER("out0")
    write_port<Unsigned<8>, 1, 3>(in0, out0_V);
}

// Frames of four values of 12 bits, in words of two bytes.
void wide(hls::stream<ap_uint<16>> &in0_V, hls::stream<ap_uint<16>> &out0_V) {
    Stream<Signed<12>, 1> in0("in0");
    FACEDET_LAYER("in0")
    read_port<Signed<12>, 1, 4>(in0_V, in0);
    FACEDET_LAYER("out0")
    write_port<Signed<12>, 1, 4>(in0, out0_V);
}

} // namespace

const std::vector<Segment> facedet::segments = {
    segment<8, 8>("fine", fine, 4, 4),         segment<8, 8>("hangs", hangs, 4, 8),
    segment<8, 8>("leaves", leaves, 4, 3),     segment<8, 8>("wants_more", wants_more, 4, 5),
    segment<8, 8>("wants_less", wants_less, 4, 3), segment<8, 8>("writes_less", fine, 4, 5),
    segment<16, 16>("wide", wide, 4, 4),       segment<8, 8>("hangs_in_turn", hangs_in_turn, 4, 4),
};
