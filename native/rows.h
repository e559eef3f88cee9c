// Work on single rows of pixels. Each function has a NEON body and a plain one with the same results.
#pragma once

#include <cstdint>

namespace facedet {

// Means of 2x2 bytes of equal channel, rounded half up: two rows of 2 * width pixels give one of width.
void halve_bgr(const uint8_t *upper, const uint8_t *lower, int width, uint8_t *out);
void halve_grey(const uint8_t *upper, const uint8_t *lower, int width, uint8_t *out);

// YUYV to BGR, width even: OpenCV's integers for ITU-R BT.601 (20 fractional bits).
void bgr_of_yuyv(const uint8_t *row, int width, uint8_t *out);

// upper * (256 - weight) + lower * weight, weight 0..256, as four 16-bit values a pixel: R, G, B, 0.
void blend_bgr(const uint8_t *upper, const uint8_t *lower, int weight, int width, uint16_t *out);
void blend_grey(const uint8_t *upper, const uint8_t *lower, int weight, int width, uint16_t *out);

// Pixel i of out lies between the blended pixel at place[i] and the next, weight[i] / 256 of the way; 16 fractional bits
// go, rounded half up. The row has one pixel more than its picture, so that the last may be named with weight 0.
void interpolate(const uint16_t *const *place, const uint16_t *weight, int width, uint8_t *out);

// width pixels of one grey level, X = 0.
void fill_grey(uint8_t *out, int64_t width, int level);

}  // namespace facedet
