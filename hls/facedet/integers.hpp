// Integers of any width, and the elements of read-only tables.
//
// A value on a stream is Unsigned<B> or Signed<B> (two's complement): ap_uint<B> and ap_int<B> of Vitis HLS. Arithmetic
// on them widens as it must; an assignment keeps the low bits.

#pragma once

// ap_int.h takes up to 1024 bits unless told (UG1399); a packed beat may have 4096.
#ifndef AP_INT_MAX_W
#define AP_INT_MAX_W 4096
#endif
#include <ap_int.h>

// Vitis HLS defines __SYNTHESIS__ while it synthesizes. A test sets FACEDET_SYNTHESIS alone, to compile that path with
// headers that know simulation only.
#if defined(__SYNTHESIS__) && !defined(FACEDET_SYNTHESIS)
#define FACEDET_SYNTHESIS
#endif

namespace facedet {

template <int BITS>
using Unsigned = ap_uint<BITS>;

template <int BITS>
using Signed = ap_int<BITS>;

// Bits and signedness of a stream's value type.
template <class T>
struct Integer {
  static constexpr bool known = false;
  static constexpr int bits = 0;
  static constexpr bool is_signed = false;
};

template <int BITS>
struct Integer<ap_uint<BITS>> {
  static constexpr bool known = true;
  static constexpr int bits = BITS;
  static constexpr bool is_signed = false;
};

template <int BITS>
struct Integer<ap_int<BITS>> {
  static constexpr bool known = true;
  static constexpr int bits = BITS;
  static constexpr bool is_signed = true;
};

// Activations and weights have 1 to 16 bits, sums up to 32.
constexpr int VALUE_BITS = 16;
constexpr int SUM_BITS = 32;

// A threshold that no sum reaches lies above them all, at 2^32 where they are unsigned; and it has a sign.
constexpr int THRESHOLD_BITS = SUM_BITS + 2;

template <class T>
constexpr bool is_value = Integer<T>::known && Integer<T>::bits >= 1 && Integer<T>::bits <= VALUE_BITS;

template <class T>
constexpr bool is_sum = Integer<T>::known && Integer<T>::bits >= 1 && Integer<T>::bits <= SUM_BITS;

// Does an integer lie in T's range?
template <class T>
constexpr bool fits(long long value) {
  constexpr int magnitude = Integer<T>::bits - (Integer<T>::is_signed ? 1 : 0);
  constexpr long long least = Integer<T>::is_signed ? -(1LL << magnitude) : 0;
  return value >= least && value < (1LL << magnitude);
}

// Bits of an unsigned number that reaches `most` (at least 1).
constexpr int bits_for(unsigned long long most) {
  int bits = 1;
  while (most >>= 1) ++bits;
  return bits;
}

constexpr int larger(int a, int b) { return a > b ? a : b; }

// A counter of 0 .. COUNT-1. Counters wrap by comparison: nothing divides to find an address. What a table's several
// indices cost is Vitis HLS's choice: a multiplication by a constant, of shifts and adders or in a DSP slice.
template <int COUNT>
using Counter = Unsigned<bits_for(COUNT - 1)>;

// Counts on and wraps after COUNT steps; true where it wraps.
template <int COUNT>
bool advance(Counter<COUNT> &counter) {
#pragma HLS INLINE
  const bool last = counter == COUNT - 1;
  counter = last ? Counter<COUNT>(0) : Counter<COUNT>(counter + 1);
  return last;
}

// Element of a read-only table (weights, thresholds): a signed integer of BITS bits.
//
// In C simulation it is the smallest native integer that holds as many, because a table of 500,000 ap_int takes a
// compiler minutes. A layer converts an element to Signed<BITS> before it calculates with it, or only compares it,
// which depends on its value alone; so both forms give the same results.
//
// A table is a layer's parameter as an array, not as a reference to one: so the dimensions that a pragma names count as
// they are written. A reference's may count from the whole array.
#ifdef FACEDET_SYNTHESIS
template <int BITS>
using Constant = ap_int<BITS>;
#else
namespace detail {
template <int BYTES>
struct Native;
template <>
struct Native<1> {
  using type = signed char;
};
template <>
struct Native<2> {
  using type = short;
};
template <>
struct Native<4> {
  using type = int;
};
template <>
struct Native<8> {
  using type = long long;
};
}  // namespace detail

template <int BITS>
using Constant = typename detail::Native<BITS <= 8 ? 1 : BITS <= 16 ? 2 : BITS <= 32 ? 4 : 8>::type;
#endif

// Memory of a table or buffer: distributed (LUT) or block RAM.
enum class Memory { lutram, block };

// Line buffers of more words than this go to block RAM; a LUT holds 64 bits.
constexpr int LUTRAM_WORDS = 64;

}  // namespace facedet
