// Max-pool, clamp and rounding of a quantized layer in one pass, forward and backward, on bfloat16 with channels last.
//
//   y = round(max(0, min(levels, largest of 2x2))), half to even
//
// The gradient goes to the largest of the four (the first, where several are), and nowhere where the clamp holds.
// PyTorch's kernels read and write the same values in six passes, with 64-bit indices. Positive bfloat16 numbers are
// ordered like their bits, and negative ones have negative bits, so that 16-bit integers do for everything but the
// rounding. Eight channels at a time, in the compiler's own vector types: no instruction set is named.
#include <cstdint>
#include <cstring>

namespace {

constexpr int LANES = 8;
constexpr std::int16_t STOPPED = 4;

typedef std::int16_t Short __attribute__((vector_size(2 * LANES)));
typedef std::int8_t Byte __attribute__((vector_size(LANES)));
typedef std::uint32_t Word __attribute__((vector_size(4 * LANES)));
typedef float Real __attribute__((vector_size(4 * LANES)));
typedef std::uint16_t Half __attribute__((vector_size(2 * LANES)));

template <typename Vector>
inline Vector load(const void *from) {
    Vector value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

template <typename Vector>
inline void store(void *to, Vector value) {
    std::memcpy(to, &value, sizeof value);
}

inline Short round_to_integer(Short bits) {  // of numbers from 0 to 255
    const Real value = reinterpret_cast<Real>(__builtin_convertvector(reinterpret_cast<Half>(bits), Word) << 16);
    const float to_integer = 12582912.0f;  // 1.5 * 2^23: adding it leaves no room for a fraction
    const Real rounded = (value + to_integer) - to_integer;
    return reinterpret_cast<Short>(__builtin_convertvector(reinterpret_cast<Word>(rounded) >> 16, Half));
}

inline Short largest_of(Short a, Short b) { return a > b ? a : b; }

}  // namespace

// x (rows, 2, 2 * width, channels) -> y and from (rows, width, channels); `levels` as bfloat16 bits.
extern "C" void pool_forward(const std::int16_t *x, std::int16_t *y, std::int8_t *from, std::int64_t rows,
                             std::int64_t width, std::int64_t channels, std::int16_t levels) {
    const std::int64_t line = 2 * width * channels;
    const Short zero = {}, top = zero + levels;
    for (std::int64_t row = 0; row < rows; row++, x += 2 * line)
        for (std::int64_t column = 0; column < width; column++)
            for (std::int64_t k = 0; k < channels; k += LANES, y += LANES, from += LANES) {
                const std::int16_t *at = x + 2 * column * channels + k;
                const Short a = load<Short>(at), b = load<Short>(at + channels);
                const Short c = load<Short>(at + line), d = load<Short>(at + line + channels);
                const Short largest = largest_of(largest_of(a, b), largest_of(c, d));
                const Short kept = largest < top ? largest_of(largest, zero) : top;
                Short where = largest == a ? zero : largest == b ? zero + 1 : largest == c ? zero + 2 : zero + 3;
                where = (largest > zero) & (largest < top) ? where : zero + STOPPED;
                store(y, round_to_integer(kept));
                store(from, __builtin_convertvector(where, Byte));
            }
}

extern "C" void pool_backward(const std::int16_t *gradient, const std::int8_t *from, std::int16_t *x, std::int64_t rows,
                              std::int64_t width, std::int64_t channels) {
    const std::int64_t line = 2 * width * channels;
    for (std::int64_t row = 0; row < rows; row++, x += 2 * line)
        for (std::int64_t column = 0; column < width; column++)
            for (std::int64_t k = 0; k < channels; k += LANES, gradient += LANES, from += LANES) {
                std::int16_t *at = x + 2 * column * channels + k;
                const Short g = load<Short>(gradient), where = __builtin_convertvector(load<Byte>(from), Short);
                store(at, (where == 0) & g);
                store(at + channels, (where == 1) & g);
                store(at + line, (where == 2) & g);
                store(at + line + channels, (where == 3) & g);
            }
}
