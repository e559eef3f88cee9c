// Runs the native library without Python, for counting instructions and comparing processors:
//   driver letterbox FORMAT WIDTH HEIGHT INPUT_WIDTH INPUT_HEIGHT w h left top TIMES  < frame > pixels
//   driver faces GRID_W GRID_H ANCHORS STRIDE STEPS LEAST IOU SCALE_X SCALE_Y LEFT TOP FRAME_W FRAME_H TIMES < data > faces
// where data is the anchors' sizes as float32, then the head's int8; faces are their boxes, then their scores.
// Reads, allocates and writes the same for every TIMES, so that the difference of two runs is the library's work.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "facedet.h"

namespace {

std::vector<uint8_t> all_input() {
  std::vector<uint8_t> bytes;
  uint8_t block[1 << 16];
  for (size_t got; (got = fread(block, 1, sizeof block, stdin)) > 0;) bytes.insert(bytes.end(), block, block + got);
  return bytes;
}

[[noreturn]] void fail(const char *what, long long code) {
  fprintf(stderr, "%s: %lld\n", what, code);
  exit(1);
}

int letterbox(char **arg) {
  const int format = atoi(arg[0]);
  facedet_letterbox box;
  int32_t *const fields = &box.frame_width;
  for (int i = 0; i < 8; ++i) fields[i] = atoi(arg[1 + i]);
  const int times = atoi(arg[9]);
  const std::vector<uint8_t> frame = all_input();
  const int64_t bytes = facedet_letterbox_scratch(&box, format);
  if (bytes < 0) fail("facedet_letterbox_scratch", bytes);
  std::vector<uint64_t> scratch(bytes / 8 + 1);
  std::vector<uint8_t> out(4 * static_cast<size_t>(box.input_width) * box.input_height);
  for (int i = 0; i < times; ++i) {
    const int32_t code = facedet_letterbox_apply(&box, format, 114, frame.data(), frame.size(), out.data(), out.size(),
                                                 scratch.data(), 8 * scratch.size());
    if (code) fail("facedet_letterbox_apply", code);
  }
  fwrite(out.data(), 1, out.size(), stdout);
  return 0;
}

int faces(char **arg) {
  facedet_head head;
  int32_t *const counts = &head.grid_width;
  for (int i = 0; i < 6; ++i) counts[i] = atoi(arg[i]);
  float *const numbers = &head.iou;
  for (int i = 0; i < 7; ++i) numbers[i] = strtof(arg[6 + i], nullptr);
  const int times = atoi(arg[13]);
  const std::vector<uint8_t> data = all_input();
  std::vector<float> sizes(2 * head.anchors);
  memcpy(sizes.data(), data.data(), 4 * sizes.size());
  const int8_t *output = reinterpret_cast<const int8_t *>(data.data()) + 4 * sizes.size();
  const int64_t anchors = static_cast<int64_t>(head.grid_width) * head.grid_height * head.anchors;
  const int64_t bytes = facedet_faces_scratch(&head);
  if (bytes < 0) fail("facedet_faces_scratch", bytes);
  std::vector<uint64_t> scratch(bytes / 8 + 1);
  std::vector<float> boxes(4 * anchors), scores(anchors);
  int32_t found = 0;
  for (int i = 0; i < times; ++i) {
    found = facedet_faces(&head, sizes.data(), output, data.size() - 4 * sizes.size(), boxes.data(), scores.data(),
                          anchors, scratch.data(), 8 * scratch.size());
    if (found < 0) fail("facedet_faces", found);
  }
  fwrite(boxes.data(), 16, found, stdout);
  fwrite(scores.data(), 4, found, stdout);
  return 0;
}

}  // namespace

int main(int argc, char **argv) {
  if (argc == 12 && !strcmp(argv[1], "letterbox")) return letterbox(argv + 2);
  if (argc == 16 && !strcmp(argv[1], "faces")) return faces(argv + 2);
  fputs("driver letterbox|faces ARGUMENTS: see its source\n", stderr);
  return 2;
}
