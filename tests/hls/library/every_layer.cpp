// Every layer once, on pseudo-random values; prints all that comes out, and the least and the most of each constant.
// Built twice, as simulated and as synthesized, it must print the same.
#include "facedet/layers.hpp"

#include <cstdint>
#include <cstdio>

using namespace facedet;

namespace {

constexpr int FRAMES = 2;

std::uint32_t state = 1;

int drawn() {
    state = state * 1664525u + 1013904223u;
    return static_cast<int>(state >> 8);
}

template <class T, int LANES> void fill(Stream<T, LANES> &stream, int beats) {
    for (int index = 0; index < beats; index++) {
        Beat<T, LANES> beat;
        for (T &value : beat.lane) value = drawn();
        stream.write(beat);
    }
}

template <class T, int LANES> void print(const char *what, Stream<T, LANES> &stream) {
    std::printf("%s:", what);
    while (!stream.empty()) {
        const Beat<T, LANES> beat = stream.read();
        for (const T &value : beat.lane) std::printf(" %d", value.to_int());
    }
    std::printf("\n");
}

const Constant<4> weights_4[3][4][2][9] = {
#define ROW {{-8, 7, -1, 0, 1, -7, 6, 3, -4}, {2, -3, 5, -8, -8, 7, 7, 0, 1}}
    {ROW, ROW, ROW, ROW}, {ROW, ROW, ROW, ROW}, {ROW, ROW, ROW, ROW}};
const Constant<8> weights_8[2][1][1][6] = {{{{-128, 127, -1, 0, 64, -65}}}, {{{1, -2, 3, -4, 5, -6}}}};
const Constant<16> weights_16[1][1][1][1] = {{{{-32768}}}};
const Constant<10> levels[2][2][3] = {{{-512, 0, 511}, {-3, -2, -1}}, {{5, 5, 5}, {-512, -512, 511}}};
const Constant<12> stage_0[2][2][1] = {{{0}, {-2048}}, {{2047}, {-7}}};
const Constant<12> stage_1[2][2][2] = {{{-1024, 1024}, {-2048, 2047}}, {{2046, 2047}, {-8, -6}}};
const Constant<9> scales[2][2] = {{-256, 255}, {1, -3}};
const Constant<14> offsets[2][2] = {{-8192, 8191}, {0, -1}};

void frame() {
    Stream<Unsigned<4>, 3> map("map"), padded("padded"), windows("windows");
    fill(map, 5 * 4 * 2);
    pad<Unsigned<4>, 3, 6, 5, 4, 1, 2, 0, 1>(map, padded);
    sliding_window<Unsigned<4>, 3, 6, 6, 7, 3, 2, 2, 1>(padded, windows);
    Stream<Unsigned<4>, 9> columns("columns");
    convert_width<Unsigned<4>, 3, 9, 2 * 6 * 12>(windows, columns);
    Stream<Signed<13>, 2> sums("sums");
    matrix_vector<Unsigned<4>, Signed<13>, 4, 2, 9, 6, 36, 12, Multiplier::fabric, Memory::lutram>(columns, sums, weights_4);
    print("matrix_vector", sums);

    Stream<Signed<8>, 2> pixels("pixels");
    Stream<Signed<8>, 12> whole("whole");
    Stream<Signed<8>, 6> halves("halves");
    fill(pixels, 5 * 5);
    parallel_window<Signed<8>, 2, 5, 5, 3, 2, 1, 2>(pixels, whole);
    convert_width<Signed<8>, 12, 6, 6>(whole, halves);
    Stream<Signed<19>, 1> products("products");
    matrix_vector<Signed<8>, Signed<19>, 8, 1, 6, 2, 6, 12, Multiplier::dsp, Memory::block>(halves, products, weights_8);
    print("matrix_vector signed", products);

    Stream<Unsigned<16>, 1> large("large");
    Stream<Signed<32>, 1> widest("widest");
    fill(large, 3);
    matrix_vector<Unsigned<16>, Signed<32>, 16, 1, 1, 1, 1, 3, Multiplier::dsp, Memory::lutram>(large, widest, weights_16);
    print("matrix_vector of 16 bits", widest);

    Stream<Signed<12>, 2> values("values");
    Stream<Signed<3>, 2> compared("compared"), found("found");
    fill(values, 20);
    thresholds_by_comparison<Signed<12>, Signed<3>, 2, 4, 10, -2, 10, 3>(values, compared, levels);
    print("thresholds_by_comparison", compared);
    fill(values, 20);
    thresholds_by_search<Signed<12>, Signed<3>, 2, 4, 10, -2>(values, found, stage_0, stage_1);
    print("thresholds_by_search", found);

    Stream<Signed<8>, 2> limited("limited");
    fill(values, 20);
    hard_tanh<Signed<12>, Signed<8>, 2, 4, 10, 5, -128, 127, 9, 14>(values, limited, scales, offsets);
    print("hard_tanh", limited);

    Stream<Signed<5>, 2> before("before"), pooled("pooled");
    fill(before, 4 * 6 * 3);
    max_pool_2x2<Signed<5>, 2, 6, 4, 6>(before, pooled);
    hls::stream<ap_uint<16>> port("port");
    write_port<Signed<5>, 2, 2 * 3 * 3>(pooled, port);
    read_port<Signed<5>, 2, 2 * 3 * 3>(port, before);
    print("max_pool_2x2", before);
}

// A beat as one word, of few bits and of the most; and back.
void packs() {
    const Beat<Signed<8>, 3> few = {{-1, -127, 127}};
    Beat<Signed<4>, 1024> most;
    for (Signed<4> &value : most.lane) value = -1;
    most.lane[0] = -8;
    const Word<Signed<8>, 3> narrow = pack(few);
    const Word<Signed<4>, 1024> wide = pack(most);
    std::printf("packed: %x", narrow.to_uint());
    for (int low : {0, 4, 2048, 4092}) std::printf(" %x", wide.range(low + 3, low).to_uint());
    std::printf("\n");
    std::printf("packed and unpacked:");
    for (const Signed<8> &value : unpack<Signed<8>, 3>(narrow).lane) std::printf(" %d", value.to_int());
    for (const Signed<4> &value : unpack<Signed<4>, 1024>(wide).lane) std::printf(" %d", value.to_int());
    std::printf("\n");
}

// A constant keeps each value that its bits hold.
template <int BITS> void constants() {
    constexpr long long most = (1LL << (BITS - 1)) - 1;
    const Constant<BITS> elements[] = {static_cast<Constant<BITS>>(-most - 1), static_cast<Constant<BITS>>(most)};
    for (const Constant<BITS> &element : elements) std::printf("%lld ", static_cast<long long>(Signed<BITS>(element).to_int64()));
    if constexpr (BITS > 1) constants<BITS - 1>();
}

} // namespace

int main() {
    for (int index = 0; index < FRAMES; index++) frame();
    packs();
    constants<48>();
    std::printf("\n");
}
