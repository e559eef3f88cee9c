#include "rows.h"

#include <cstring>

#if defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace facedet {
namespace {

// Coefficients of ITU-R BT.601 with 20 fractional bits, as OpenCV's cvtColor uses them.
constexpr int kShift = 20;
constexpr int32_t kLuma = 1220542, kBlueU = 2116026, kGreenU = -409993, kGreenV = -852492, kRedV = 1673527;

inline uint8_t byte_of(int32_t fixed) {
  const int32_t value = fixed >> kShift;
  return static_cast<uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
}

inline void bgr_of(int luma, int32_t blue, int32_t green, int32_t red, uint8_t *out) {
  const int32_t light = (luma < 16 ? 0 : luma - 16) * kLuma;
  out[0] = byte_of(light + blue);
  out[1] = byte_of(light + green);
  out[2] = byte_of(light + red);
}

#if defined(__ARM_NEON)
// What fills or stores registers by halves. Where intrinsics say it for the 32-bit processor, GCC moves each half once
// more, a third of the instructions of a loop; hence the assembly.

// Bits 16..31 of a0 + a1 and of b0 + b1.
inline int16x8_t high_sums(int32x4_t a0, int32x4_t a1, int32x4_t b0, int32x4_t b1) {
#if defined(__arm__)
  int16x8_t both;
  asm("vaddhn.i32 %e0, %q1, %q2\n\tvaddhn.i32 %f0, %q3, %q4" : "=&w"(both) : "w"(a0), "w"(a1), "w"(b0), "w"(b1));
  return both;
#else
  return vcombine_s16(vaddhn_s32(a0, a1), vaddhn_s32(b0, b1));
#endif
}

// Writes 16 pixels, those of even and of odd number in turn, and moves on: 4 fractional bits go, rounded half up, and
// what is left stops at 0 and 255.
inline void store_bgr(const int16x8_t (&even)[3], const int16x8_t (&odd)[3], uint8_t *&out) {
#if defined(__arm__)
  asm volatile(
      "vqrshrun.s16 d16, %q1, #4\n\t"
      "vqrshrun.s16 d17, %q4, #4\n\t"
      "vqrshrun.s16 d18, %q2, #4\n\t"
      "vqrshrun.s16 d19, %q5, #4\n\t"
      "vqrshrun.s16 d20, %q3, #4\n\t"
      "vqrshrun.s16 d21, %q6, #4\n\t"
      "vzip.8 d16, d17\n\t"
      "vzip.8 d18, d19\n\t"
      "vzip.8 d20, d21\n\t"
      "vst3.8 {d16, d18, d20}, [%0]!\n\t"
      "vst3.8 {d17, d19, d21}, [%0]!"
      : "+r"(out)
      : "w"(even[0]), "w"(even[1]), "w"(even[2]), "w"(odd[0]), "w"(odd[1]), "w"(odd[2])
      : "d16", "d17", "d18", "d19", "d20", "d21", "memory");
#else
  uint8x16x3_t bgr;
  for (int c = 0; c < 3; ++c) {
    const uint8x8x2_t zipped = vzip_u8(vqrshrun_n_s16(even[c], 4), vqrshrun_n_s16(odd[c], 4));
    bgr.val[c] = vcombine_u8(zipped.val[0], zipped.val[1]);
  }
  vst3q_u8(out, bgr);
  out += 48;
#endif
}

// Writes 8 blended pixels, R, G, B, 0, and moves on.
inline void store_blended(const uint8x8x3_t &a, uint8x8_t of_a, const uint8x8x3_t &b, uint8x8_t of_b, uint16_t *&out) {
#if defined(__arm__)
  asm volatile(
      "vmull.u8 q8, %P3, %P7\n\t"
      "vmull.u8 q9, %P2, %P7\n\t"
      "vmull.u8 q10, %P1, %P7\n\t"
      "vmov.i16 q11, #0\n\t"
      "vmlal.u8 q8, %P6, %P8\n\t"
      "vmlal.u8 q9, %P5, %P8\n\t"
      "vmlal.u8 q10, %P4, %P8\n\t"
      "vst4.16 {d16, d18, d20, d22}, [%0]!\n\t"
      "vst4.16 {d17, d19, d21, d23}, [%0]!"
      : "+r"(out)
      : "w"(a.val[0]), "w"(a.val[1]), "w"(a.val[2]), "w"(b.val[0]), "w"(b.val[1]), "w"(b.val[2]), "w"(of_a), "w"(of_b)
      : "d16", "d17", "d18", "d19", "d20", "d21", "d22", "d23", "memory");
#else
  uint16x8x4_t pixels;
  for (int c = 0; c < 3; ++c) pixels.val[2 - c] = vmlal_u8(vmull_u8(a.val[c], of_a), b.val[c], of_b);
  pixels.val[3] = vdupq_n_u16(0);
  vst4q_u16(out, pixels);
  out += 32;
#endif
}

// 16 fractional bits go, rounded half up.
inline uint16x8_t rounded(uint32x4_t a, uint32x4_t b) {
#if defined(__arm__)
  uint16x8_t both;
  asm("vrshrn.i32 %e0, %q1, #16\n\tvrshrn.i32 %f0, %q2, #16" : "=&w"(both) : "w"(a), "w"(b));
  return both;
#else
  return vcombine_u16(vrshrn_n_u32(a, 16), vrshrn_n_u32(b, 16));
#endif
}

// The low bytes.
inline uint8x16_t bytes(uint16x8_t a, uint16x8_t b) {
#if defined(__arm__)
  uint8x16_t both;
  asm("vmovn.i16 %e0, %q1\n\tvmovn.i16 %f0, %q2" : "=&w"(both) : "w"(a), "w"(b));
  return both;
#else
  return vcombine_u8(vmovn_u16(a), vmovn_u16(b));
#endif
}

// Four pixels, each between the blended one at its place and the next.
inline uint8x16_t four_between(const uint16_t *const *place, uint16x4_t left, uint16x4_t right) {
  const uint16x8_t p0 = vld1q_u16(place[0]), p1 = vld1q_u16(place[1]);
  const uint16x8_t p2 = vld1q_u16(place[2]), p3 = vld1q_u16(place[3]);
  // The lane of a weight is part of the instruction, hence four lines instead of a loop.
  const uint32x4_t s0 = vmlal_lane_u16(vmull_lane_u16(vget_low_u16(p0), left, 0), vget_high_u16(p0), right, 0);
  const uint32x4_t s1 = vmlal_lane_u16(vmull_lane_u16(vget_low_u16(p1), left, 1), vget_high_u16(p1), right, 1);
  const uint32x4_t s2 = vmlal_lane_u16(vmull_lane_u16(vget_low_u16(p2), left, 2), vget_high_u16(p2), right, 2);
  const uint32x4_t s3 = vmlal_lane_u16(vmull_lane_u16(vget_low_u16(p3), left, 3), vget_high_u16(p3), right, 3);
  return bytes(rounded(s0, s1), rounded(s2, s3));
}
#endif

}  // namespace

void halve_bgr(const uint8_t *__restrict upper, const uint8_t *__restrict lower, int width, uint8_t *__restrict out) {
  int x = 0;
#if defined(__ARM_NEON)
  for (; x + 8 <= width; x += 8, upper += 48, lower += 48, out += 24) {
    const uint8x16x3_t a = vld3q_u8(upper), b = vld3q_u8(lower);
    uint8x8x3_t mean;
    for (int c = 0; c < 3; ++c) mean.val[c] = vrshrn_n_u16(vpadalq_u8(vpaddlq_u8(a.val[c]), b.val[c]), 2);
    vst3_u8(out, mean);
  }
#endif
  for (; x < width; ++x, upper += 6, lower += 6, out += 3) {
    for (int c = 0; c < 3; ++c) {
      out[c] = static_cast<uint8_t>((upper[c] + upper[c + 3] + lower[c] + lower[c + 3] + 2) >> 2);
    }
  }
}

void halve_grey(const uint8_t *__restrict upper, const uint8_t *__restrict lower, int width, uint8_t *__restrict out) {
  int x = 0;
#if defined(__ARM_NEON)
  for (; x + 8 <= width; x += 8) {
    const uint8x16_t a = vld1q_u8(upper + 2 * x), b = vld1q_u8(lower + 2 * x);
    vst1_u8(out + x, vrshrn_n_u16(vpadalq_u8(vpaddlq_u8(a), b), 2));
  }
#endif
  for (; x < width; ++x) {
    out[x] = static_cast<uint8_t>((upper[2 * x] + upper[2 * x + 1] + lower[2 * x] + lower[2 * x + 1] + 2) >> 2);
  }
}

void bgr_of_yuyv(const uint8_t *__restrict row, int width, uint8_t *out) {
  int x = 0;
#if defined(__ARM_NEON)
  const int32_t coefficients[6] = {kBlueU, kGreenU, kGreenV, kRedV, kLuma, 0};
  const int32x2_t of_u = vld1_s32(coefficients), of_v = vld1_s32(coefficients + 2), of_y = vld1_s32(coefficients + 4);
  for (; x + 16 <= width; x += 16, row += 32) {
    const uint8x8x4_t pairs = vld4_u8(row);
    const int16x8_t u = vreinterpretq_s16_u16(vsubl_u8(pairs.val[1], vdup_n_u8(128)));
    const int16x8_t v = vreinterpretq_s16_u16(vsubl_u8(pairs.val[3], vdup_n_u8(128)));
    const int32x4_t us[2] = {vmovl_s16(vget_low_s16(u)), vmovl_s16(vget_high_s16(u))};
    const int32x4_t vs[2] = {vmovl_s16(vget_low_s16(v)), vmovl_s16(vget_high_s16(v))};
    int32x4_t colour[3][2];
    for (int i = 0; i < 2; ++i) {
      colour[0][i] = vmulq_lane_s32(us[i], of_u, 0);
      colour[1][i] = vmlaq_lane_s32(vmulq_lane_s32(us[i], of_u, 1), vs[i], of_v, 0);
      colour[2][i] = vmulq_lane_s32(vs[i], of_v, 1);
    }
    int16x8_t even_odd[2][3];
    for (int j = 0; j < 2; ++j) {
      const uint16x8_t y = vmovl_u8(vqsub_u8(pairs.val[2 * j], vdup_n_u8(16)));
      const int32x4_t low = vmulq_lane_s32(vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(y))), of_y, 0);
      const int32x4_t high = vmulq_lane_s32(vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(y))), of_y, 0);
      // Every sum lies in -2^29..2^30: its high half keeps sign and value, and 4 of the 20 fractional bits.
      for (int c = 0; c < 3; ++c) even_odd[j][c] = high_sums(low, colour[c][0], high, colour[c][1]);
    }
    store_bgr(even_odd[0], even_odd[1], out);
  }
#endif
  constexpr int32_t half = 1 << (kShift - 1);
  for (; x < width; x += 2, row += 4, out += 6) {
    const int32_t u = row[1] - 128, v = row[3] - 128;
    const int32_t blue = half + kBlueU * u, green = half + kGreenU * u + kGreenV * v, red = half + kRedV * v;
    bgr_of(row[0], blue, green, red, out);
    bgr_of(row[2], blue, green, red, out + 3);
  }
}

void blend_bgr(const uint8_t *__restrict upper, const uint8_t *__restrict lower, int weight, int width,
               uint16_t *__restrict out) {
  int x = 0;
#if defined(__ARM_NEON)
  // 256 is no byte, so a row that counts alone is only shifted.
  const bool alone = weight == 0 || weight == 256;
  const uint8_t *single = weight == 0 ? upper : lower;
  const uint8x8_t of_upper = vdup_n_u8(static_cast<uint8_t>(256 - weight));
  const uint8x8_t of_lower = vdup_n_u8(static_cast<uint8_t>(weight));
  uint16x8x4_t pixels;
  pixels.val[3] = vdupq_n_u16(0);
  if (alone) {
    for (; x + 8 <= width; x += 8) {
      const uint8x8x3_t a = vld3_u8(single + 3 * x);
      for (int c = 0; c < 3; ++c) pixels.val[2 - c] = vshll_n_u8(a.val[c], 8);
      vst4q_u16(out + 4 * x, pixels);
    }
  } else {
    uint16_t *to = out;
    for (; x + 8 <= width; x += 8) {
      store_blended(vld3_u8(upper + 3 * x), of_upper, vld3_u8(lower + 3 * x), of_lower, to);
    }
  }
#endif
  for (; x < width; ++x) {
    for (int c = 0; c < 3; ++c) {
      out[4 * x + c] = static_cast<uint16_t>(upper[3 * x + 2 - c] * (256 - weight) + lower[3 * x + 2 - c] * weight);
    }
    out[4 * x + 3] = 0;
  }
}

void blend_grey(const uint8_t *__restrict upper, const uint8_t *__restrict lower, int weight, int width,
                uint16_t *__restrict out) {
  int x = 0;
#if defined(__ARM_NEON)
  const bool alone = weight == 0 || weight == 256;
  const uint8_t *single = weight == 0 ? upper : lower;
  const uint8x8_t of_upper = vdup_n_u8(static_cast<uint8_t>(256 - weight));
  const uint8x8_t of_lower = vdup_n_u8(static_cast<uint8_t>(weight));
  uint16x8x4_t pixels;
  pixels.val[3] = vdupq_n_u16(0);
  for (; x + 8 <= width; x += 8) {
    const uint16x8_t grey = alone ? vshll_n_u8(vld1_u8(single + x), 8)
                                  : vmlal_u8(vmull_u8(vld1_u8(upper + x), of_upper), vld1_u8(lower + x), of_lower);
    pixels.val[0] = pixels.val[1] = pixels.val[2] = grey;
    vst4q_u16(out + 4 * x, pixels);
  }
#endif
  for (; x < width; ++x) {
    const uint16_t grey = static_cast<uint16_t>(upper[x] * (256 - weight) + lower[x] * weight);
    out[4 * x] = out[4 * x + 1] = out[4 * x + 2] = grey;
    out[4 * x + 3] = 0;
  }
}

void interpolate(const uint16_t *const *__restrict place, const uint16_t *__restrict weight, int width,
                 uint8_t *__restrict out) {
  int x = 0;
#if defined(__ARM_NEON)
  for (; x + 8 <= width; x += 8) {
    const uint16x8_t right = vld1q_u16(weight + x), left = vsubq_u16(vdupq_n_u16(256), right);
    vst1q_u8(out + 4 * x, four_between(place + x, vget_low_u16(left), vget_low_u16(right)));
    vst1q_u8(out + 4 * x + 16, four_between(place + x + 4, vget_high_u16(left), vget_high_u16(right)));
  }
#endif
  for (; x < width; ++x) {
    const uint16_t *left = place[x], *right = left + 4;
    const uint32_t to_right = weight[x], to_left = 256 - to_right;
    for (int c = 0; c < 4; ++c) {
      out[4 * x + c] = static_cast<uint8_t>((left[c] * to_left + right[c] * to_right + 32768) >> 16);
    }
  }
}

void fill_grey(uint8_t *out, int64_t width, int level) {
  const uint8_t pixel[4] = {static_cast<uint8_t>(level), static_cast<uint8_t>(level), static_cast<uint8_t>(level), 0};
  int64_t x = 0;
#if defined(__ARM_NEON)
  uint32_t word;
  std::memcpy(&word, pixel, 4);
  const uint8x16_t four = vreinterpretq_u8_u32(vdupq_n_u32(word));
  for (; x + 8 <= width; x += 8, out += 32) vst1q_u8(out, four), vst1q_u8(out + 16, four);
#endif
  for (; x < width; ++x, out += 4) std::memcpy(out, pixel, 4);
}

}  // namespace facedet
