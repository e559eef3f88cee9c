// The fused letterbox: source rows are converted, halved and interpolated as the output asks for them.
//
// The interpolation is exact in 16 fractional bits (8 of each direction) before its one rounding, so it may go down the
// columns first, where rows lie in order and a vector register takes eight pixels at once.

#include <initializer_list>

#include "facedet.h"
#include "rows.h"

namespace {

using facedet::bgr_of_yuyv;

constexpr int kMostLevels = 25;  // halvings from FACEDET_LONGEST_SIDE to one pixel

// Neighbours and weights of OpenCV's INTER_LINEAR_EXACT for one direction, `to` pixels of `from`: keep(i, place, weight).
// Source: interpolationLinear in OpenCV's modules/imgproc/src/resize.cpp; the operations are IEEE double, in its order.
template <class Keep>
void neighbours(int from, int to, Keep keep) {
  const double scale = 1.0 / (static_cast<double>(to) / from);
  for (int i = 0; i < to; ++i) {
    const double at = scale * (i + 0.5) - 0.5;
    const int32_t first = at < 0 ? -1 : static_cast<int32_t>(at);
    if (first < 0 || from == 1) {
      keep(i, 0, 0);
    } else if (first >= from - 1) {
      keep(i, from - 1, 0);
    } else {
      const double exact = (at - first) * 256;
      const int whole = static_cast<int>(exact);
      const double rest = exact - whole;
      const bool up = rest > 0.5 || (rest == 0.5 && whole % 2 == 1);  // half to even
      keep(i, first, static_cast<uint16_t>(whole + up));
    }
  }
}

// Two kept rows of one size of the picture; row y lies in place y % 2.
struct Level {
  int width = 0;
  uint8_t *rows[2] = {nullptr, nullptr};
  int32_t held[2] = {-1, -1};
};

class Picture {
 public:
  Picture(const facedet_letterbox &box, int format) : format_(format) {
    int width = box.frame_width, height = box.frame_height;
    levels_[0].width = width;
    while (width >= 2 * box.width && height >= 2 * box.height) {
      width /= 2, height /= 2;
      levels_[++last_].width = width;
    }
    width_ = width, height_ = height;
  }

  int width() const { return width_; }
  int height() const { return height_; }
  int channels() const { return format_ == FACEDET_GREY ? 1 : 3; }
  int64_t row_bytes(int level) const { return (static_cast<int64_t>(levels_[level].width) * channels() + 7) / 8 * 8; }

  // Scratch for the rows: none for the source's own where they need no conversion.
  int64_t scratch() const {
    int64_t bytes = 0;
    for (int level = first_kept(); level <= last_; ++level) bytes += 2 * row_bytes(level);
    return bytes;
  }

  void use(const uint8_t *frame, uint8_t *scratch) {
    frame_ = frame;
    for (int level = first_kept(); level <= last_; ++level) {
      for (uint8_t *&row : levels_[level].rows) row = scratch, scratch += row_bytes(level);
    }
  }

  // Row y of the smallest size; it stays until another of the same parity is asked for.
  const uint8_t *row(int y) { return row(last_, y); }

 private:
  int first_kept() const { return format_ == FACEDET_YUYV ? 0 : 1; }

  const uint8_t *source(int y) const {
    const int bytes = format_ == FACEDET_BGR ? 3 : format_ == FACEDET_YUYV ? 2 : 1;
    return frame_ + static_cast<int64_t>(y) * levels_[0].width * bytes;
  }

  const uint8_t *row(int number, int y) {
    if (number < first_kept()) return source(y);
    Level &level = levels_[number];
    uint8_t *place = level.rows[y % 2];
    if (level.held[y % 2] == y) return place;
    level.held[y % 2] = y;
    if (number == 0) {
      bgr_of_yuyv(source(y), level.width, place);
    } else {
      const uint8_t *upper = row(number - 1, 2 * y), *lower = row(number - 1, 2 * y + 1);
      (format_ == FACEDET_GREY ? facedet::halve_grey : facedet::halve_bgr)(upper, lower, level.width, place);
    }
    return place;
  }

  int format_, last_ = 0, width_, height_;
  const uint8_t *frame_ = nullptr;
  Level levels_[kMostLevels + 1];
};

// Scratch beside the picture's rows: one blended row with a pixel to spare, and both directions' neighbours.
struct Tables {
  uint16_t *blended, *across_weight, *down_weight;
  const uint16_t **across;  // where in the blended row
  int32_t *down;

  static int64_t bytes(int64_t row, int64_t width, int64_t height) {
    return 8 * (row + 1) + up(sizeof *across * width) + up(4 * height) + up(2 * width) + up(2 * height);
  }

  uint8_t *use(uint8_t *scratch, int64_t row, int64_t width, int64_t height) {
    blended = reinterpret_cast<uint16_t *>(take(scratch, 8 * (row + 1)));
    across = reinterpret_cast<const uint16_t **>(take(scratch, sizeof *across * width));
    down = reinterpret_cast<int32_t *>(take(scratch, 4 * height));
    across_weight = reinterpret_cast<uint16_t *>(take(scratch, 2 * width));
    down_weight = reinterpret_cast<uint16_t *>(take(scratch, 2 * height));
    return scratch;
  }

 private:
  static int64_t up(int64_t bytes) { return (bytes + 7) / 8 * 8; }
  static uint8_t *take(uint8_t *&scratch, int64_t bytes) {
    uint8_t *taken = scratch;
    scratch += up(bytes);
    return taken;
  }
};

int32_t check(const facedet_letterbox *box, int32_t format) {
  if (!box) return FACEDET_NULL_POINTER;
  for (int32_t side : {box->frame_width, box->frame_height, box->input_width, box->input_height}) {
    if (side < 1 || side > FACEDET_LONGEST_SIDE) return FACEDET_BAD_SIZE;
  }
  if (box->width < 1 || box->left < 0 || box->width > box->input_width - box->left) return FACEDET_BAD_SIZE;
  if (box->height < 1 || box->top < 0 || box->height > box->input_height - box->top) return FACEDET_BAD_SIZE;
  if (format != FACEDET_BGR && format != FACEDET_YUYV && format != FACEDET_GREY) return FACEDET_BAD_FORMAT;
  if (format == FACEDET_YUYV && box->frame_width % 2) return FACEDET_BAD_FORMAT;
  return 0;
}

int64_t frame_bytes_of(const facedet_letterbox &box, int32_t format) {
  const int64_t bytes = format == FACEDET_BGR ? 3 : format == FACEDET_YUYV ? 2 : 1;
  return bytes * box.frame_width * box.frame_height;
}

}  // namespace

int32_t facedet_native_version(void) { return FACEDET_NATIVE_VERSION; }

int64_t facedet_letterbox_scratch(const facedet_letterbox *box, int32_t format) {
  if (const int32_t error = check(box, format)) return error;
  const Picture picture(*box, format);
  return picture.scratch() + Tables::bytes(picture.width(), box->width, box->height);
}

int32_t facedet_letterbox_apply(const facedet_letterbox *box, int32_t format, int32_t fill, const uint8_t *frame,
                                int64_t frame_bytes, uint8_t *out, int64_t out_bytes, void *scratch,
                                int64_t scratch_bytes) {
  if (const int32_t error = check(box, format)) return error;
  if (!frame || !out || !scratch) return FACEDET_NULL_POINTER;
  if (fill < 0 || fill > 255) return FACEDET_BAD_VALUE;
  const int64_t pitch = 4 * static_cast<int64_t>(box->input_width);
  if (frame_bytes != frame_bytes_of(*box, format) || out_bytes != pitch * box->input_height) return FACEDET_BAD_SIZE;
  if (scratch_bytes < facedet_letterbox_scratch(box, format)) return FACEDET_BAD_SCRATCH;
  if (reinterpret_cast<uintptr_t>(scratch) % 8) return FACEDET_BAD_SCRATCH;

  Picture picture(*box, format);
  Tables tables;
  picture.use(frame, tables.use(static_cast<uint8_t *>(scratch), picture.width(), box->width, box->height));
  neighbours(picture.width(), box->width, [&](int i, int32_t place, uint16_t weight) {
    tables.across[i] = tables.blended + 4 * static_cast<int64_t>(place), tables.across_weight[i] = weight;
  });
  neighbours(picture.height(), box->height, [&](int i, int32_t place, uint16_t weight) {
    tables.down[i] = place, tables.down_weight[i] = weight;
  });
  for (int c = 0; c < 4; ++c) tables.blended[4 * static_cast<int64_t>(picture.width()) + c] = 0;

  const int below = box->top + box->height, right = box->left + box->width;
  const auto blend = format == FACEDET_GREY ? facedet::blend_grey : facedet::blend_bgr;
  facedet::fill_grey(out, static_cast<int64_t>(box->input_width) * box->top, fill);
  out += pitch * box->top;
  for (int y = 0; y < box->height; ++y, out += pitch) {
    const int weight = tables.down_weight[y];
    const uint8_t *upper = picture.row(tables.down[y]);
    const uint8_t *lower = weight ? picture.row(tables.down[y] + 1) : upper;
    blend(upper, lower, weight, picture.width(), tables.blended);
    facedet::fill_grey(out, box->left, fill);
    facedet::interpolate(tables.across, tables.across_weight, box->width, out + 4 * box->left);
    facedet::fill_grey(out + 4 * static_cast<int64_t>(right), box->input_width - right, fill);
  }
  facedet::fill_grey(out, static_cast<int64_t>(box->input_width) * (box->input_height - below), fill);
  return 0;
}
