/* The C interface of the native library: what the host does with pixels and boxes, for the board's ARM processor.
 *
 * Every function checks sizes and pointers first and returns a negative facedet_error without touching a buffer where
 * something is wrong. Nothing is allocated: the caller lends scratch memory. All functions may run in several threads
 * at once, each with buffers of its own. Integers are exact and floats IEEE float32 without contraction, so every
 * processor gives the same bytes.
 */
#ifndef FACEDET_H
#define FACEDET_H

#include <stdint.h>

#define FACEDET_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

/* Changes with every change of a signature, a structure or a meaning. */
enum { FACEDET_NATIVE_VERSION = 1 };

/* The longest side of a picture, in pixels, and the most anchors of a head (over the whole grid). */
enum { FACEDET_LONGEST_SIDE = 1 << 24, FACEDET_MOST_ANCHORS = 1 << 24 };

enum facedet_error {
  FACEDET_NULL_POINTER = -1, /* a buffer is missing */
  FACEDET_BAD_SIZE = -2,     /* a side, a count or a buffer's length does not fit the others */
  FACEDET_BAD_FORMAT = -3,   /* no such pixel format, or an odd width where pixels come in pairs */
  FACEDET_BAD_SCRATCH = -4,  /* too little scratch memory, or not aligned to 8 bytes */
  FACEDET_BAD_VALUE = -5,    /* a grey level outside 0..255, steps outside 1..32767, a threshold below 0 */
};

enum facedet_format {
  FACEDET_BGR = 0,  /* 3 bytes a pixel: blue, green, red */
  FACEDET_YUYV = 1, /* 4 bytes two pixels: Y0, U, Y1, V (ITU-R BT.601, studio range) */
  FACEDET_GREY = 2, /* 1 byte a pixel */
};

/* Where a picture of frame_width x frame_height lies in the detector's input, all in pixels. */
struct facedet_letterbox {
  int32_t frame_width, frame_height;
  int32_t input_width, input_height;
  int32_t width, height;
  int32_t left, top;
};

/* How the head's integers become boxes in the picture: see fpga_facedet/host/decode.py for the formulas. */
struct facedet_head {
  int32_t grid_width, grid_height, anchors; /* 6 values an anchor: x, y, w, h, objectness, face */
  int32_t stride;                           /* input pixels a cell */
  int32_t steps;                            /* one over the output scale */
  int32_t least;                            /* the score threshold times (2 * steps)^2, rounded up */
  float iou;                                /* overlap above which the worse of two boxes goes */
  float scale_x, scale_y;                   /* input pixels a picture pixel */
  float left, top;                          /* of the picture in the input, input pixels */
  float frame_width, frame_height;          /* boxes are clipped to it */
};

/* FACEDET_NATIVE_VERSION of the library that runs. */
FACEDET_API int32_t facedet_native_version(void);

/* How many bytes of scratch facedet_letterbox_apply needs, or an error. */
FACEDET_API int64_t facedet_letterbox_scratch(const struct facedet_letterbox *box, int32_t format);

/* Writes the detector's input, input_height x input_width pixels R, G, B, 0, every one of them, in order.
 *
 * The picture is halved by rounded 2x2 means while it is at least twice the size both ways, then interpolated between
 * neighbours in integers (OpenCV's INTER_LINEAR_EXACT); the bars get the grey level `fill`. Returns 0 or an error.
 */
FACEDET_API int32_t facedet_letterbox_apply(const struct facedet_letterbox *box, int32_t format, int32_t fill,
                                            const uint8_t *frame, int64_t frame_bytes, uint8_t *out, int64_t out_bytes,
                                            void *scratch, int64_t scratch_bytes);

/* How many bytes of scratch facedet_faces needs, or an error. */
FACEDET_API int64_t facedet_faces_scratch(const struct facedet_head *head);

/* Reads the head's output, suppresses what overlaps a better box, and maps the rest to the picture.
 *
 * anchor_sizes: width and height of each anchor, input pixels. boxes takes x1, y1, x2, y2 and scores one value for up
 * to grid_width * grid_height * anchors faces, best first. Returns how many faces there are, or an error.
 */
FACEDET_API int32_t facedet_faces(const struct facedet_head *head, const float *anchor_sizes, const int8_t *output,
                                  int64_t output_bytes, float *boxes, float *scores, int64_t capacity, void *scratch,
                                  int64_t scratch_bytes);

#ifdef __cplusplus
}
#endif

#endif
