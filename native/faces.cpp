// From the head's integers to the faces of a picture: sparse decode, suppression, the way back through the letterbox.
//
// Each float operation is the one that numpy makes in fpga_facedet/host/decode.py and detections.py, in its order, so
// the results are the same bits. They are scalar on purpose: NEON's vectors flush denormal numbers to zero.

#include <algorithm>
#include <cstring>
#include <initializer_list>

#include "facedet.h"

namespace {

constexpr int kValues = 6;  // of one anchor: x, y, w, h, objectness, face

struct Candidate {
  float x1, y1, x2, y2, score, area;
};

struct Scratch {
  Candidate *candidates;
  uint64_t *order;

  static int64_t bytes(int64_t anchors) { return anchors * static_cast<int64_t>(sizeof(Candidate) + sizeof(uint64_t)); }

  Scratch(void *memory, int64_t anchors)
      : candidates(reinterpret_cast<Candidate *>(static_cast<uint64_t *>(memory) + anchors)),
        order(static_cast<uint64_t *>(memory)) {}
};

int32_t check(const facedet_head *head) {
  if (!head) return FACEDET_NULL_POINTER;
  int64_t anchors = 1;
  for (int32_t count : {head->grid_width, head->grid_height, head->anchors}) {
    if (count < 1 || count > FACEDET_MOST_ANCHORS || (anchors *= count) > FACEDET_MOST_ANCHORS) return FACEDET_BAD_SIZE;
  }
  if (head->stride < 1) return FACEDET_BAD_SIZE;
  if (head->steps < 1 || head->steps > 32767 || head->least < 0) return FACEDET_BAD_VALUE;
  return 0;
}

int64_t anchors_of(const facedet_head &head) {
  return static_cast<int64_t>(head.grid_width) * head.grid_height * head.anchors;
}

inline float above(float a, float limit) { return a < limit ? limit : a; }
inline float below(float a, float limit) { return a > limit ? limit : a; }

inline float area_of(float width, float height) { return above(width, 0.0f) * above(height, 0.0f); }

Candidate read(const facedet_head &head, const float *anchor, const int8_t *q, int x, int y, int32_t product) {
  const float steps = static_cast<float>(head.steps), stride = static_cast<float>(head.stride);
  const float full = 4.0f * steps * steps;
  const float centre_x = (q[0] / steps + 0.5f + static_cast<float>(x)) * stride;
  const float centre_y = (q[1] / steps + 0.5f + static_cast<float>(y)) * stride;
  const float side_x = q[2] / steps + 1.0f, side_y = q[3] / steps + 1.0f;
  const float half_x = side_x * side_x * anchor[0] * 0.5f, half_y = side_y * side_y * anchor[1] * 0.5f;
  Candidate found{centre_x - half_x, centre_y - half_y, centre_x + half_x, centre_y + half_y,
                  static_cast<float>(product) / full, 0.0f};
  found.area = area_of(found.x2 - found.x1, found.y2 - found.y1);
  return found;
}

// All candidates that reach the threshold, in the order of the grid; returns how many.
int32_t decode(const facedet_head &head, const float *anchor_sizes, const int8_t *q, Candidate *out) {
  // Objectness below this cannot reach the threshold whatever the face value says: most cells end there. It holds only
  // while neither factor is negative, that is from 128 steps on.
  const int64_t most_face = 127 + head.steps;
  const int64_t enough = (head.least + most_face - 1) / most_face - head.steps;
  const int32_t least_objectness = head.steps < 128 ? -129 : static_cast<int32_t>(enough);
  int32_t count = 0;
  for (int y = 0; y < head.grid_height; ++y) {
    for (int x = 0; x < head.grid_width; ++x) {
      for (int a = 0; a < head.anchors; ++a, q += kValues) {
        if (q[4] < least_objectness) continue;
        const int32_t product = (q[4] + head.steps) * (q[5] + head.steps);
        if (product < head.least) continue;
        out[count++] = read(head, anchor_sizes + 2 * a, q, x, y, product);
      }
    }
  }
  return count;
}

// Falling score, equal scores in the order of the grid: scores are not negative, so their bits order as they do.
void rank(const Candidate *candidates, int32_t count, uint64_t *order) {
  for (int32_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, &candidates[i].score, sizeof bits);
    order[i] = static_cast<uint64_t>(~bits) << 32 | static_cast<uint32_t>(i);
  }
  std::sort(order, order + count);
}

inline float overlap(const Candidate &a, const Candidate &b) {
  const float width = below(a.x2, b.x2) - above(a.x1, b.x1), height = below(a.y2, b.y2) - above(a.y1, b.y1);
  if (!(width > 0.0f) || !(height > 0.0f)) return 0.0f;
  const float intersection = width * height;
  const float either = a.area + b.area - intersection;
  return either > 0.0f ? intersection / either : 0.0f;
}

// Moves the numbers of those that stay to the front of `order`; returns how many.
int32_t suppress(const Candidate *candidates, int32_t count, float iou, uint64_t *order) {
  int32_t kept = 0;
  for (int32_t i = 0; i < count; ++i) {
    const uint32_t number = static_cast<uint32_t>(order[i]);
    bool stays = true;
    for (int32_t k = 0; k < kept && stays; ++k) {
      stays = !(overlap(candidates[static_cast<uint32_t>(order[k])], candidates[number]) > iou);
    }
    if (stays) order[kept++] = number;
  }
  return kept;
}

inline float to_frame(float at, float offset, float scale, float size) {
  return below(above((at - offset) / scale, 0.0f), size);
}

}  // namespace

int64_t facedet_faces_scratch(const facedet_head *head) {
  if (const int32_t error = check(head)) return error;
  return Scratch::bytes(anchors_of(*head));
}

int32_t facedet_faces(const facedet_head *head, const float *anchor_sizes, const int8_t *output, int64_t output_bytes,
                      float *boxes, float *scores, int64_t capacity, void *memory, int64_t scratch_bytes) {
  if (const int32_t error = check(head)) return error;
  if (!anchor_sizes || !output || !boxes || !scores || !memory) return FACEDET_NULL_POINTER;
  const int64_t anchors = anchors_of(*head);
  if (output_bytes != anchors * kValues || capacity < anchors) return FACEDET_BAD_SIZE;
  if (scratch_bytes < Scratch::bytes(anchors) || reinterpret_cast<uintptr_t>(memory) % 8) return FACEDET_BAD_SCRATCH;

  const Scratch scratch(memory, anchors);
  const int32_t found = decode(*head, anchor_sizes, output, scratch.candidates);
  rank(scratch.candidates, found, scratch.order);
  const int32_t kept = suppress(scratch.candidates, found, head->iou, scratch.order);
  int32_t faces = 0;
  for (int32_t k = 0; k < kept; ++k) {
    const Candidate &from = scratch.candidates[static_cast<uint32_t>(scratch.order[k])];
    float *box = boxes + 4 * static_cast<int64_t>(faces);
    box[0] = to_frame(from.x1, head->left, head->scale_x, head->frame_width);
    box[1] = to_frame(from.y1, head->top, head->scale_y, head->frame_height);
    box[2] = to_frame(from.x2, head->left, head->scale_x, head->frame_width);
    box[3] = to_frame(from.y2, head->top, head->scale_y, head->frame_height);
    if (!(box[2] > box[0]) || !(box[3] > box[1])) continue;  // it lies in the bars alone
    scores[faces++] = from.score;
  }
  return faces;
}
