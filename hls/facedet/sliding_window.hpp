// Sliding windows of a feature map, as a convolution reads them.
//
// For a map x of HEIGHT x WIDTH pixels of CHANNELS channels, output pixel (r, c) is the window
//
//     y[r][c][ky][kx][k] = x[r * STRIDE_H + ky][c * STRIDE_W + kx][k],   0 <= ky < KERNEL_H, 0 <= kx < KERNEL_W,
//
// for every window that lies in the map: OH = (HEIGHT - KERNEL_H) / STRIDE_H + 1 rows of OW = (WIDTH - KERNEL_W) /
// STRIDE_W + 1 windows. Padding is a layer before it (padding.hpp).
//
// Two forms: sliding_window sends SIMD values a beat, parallel_window a whole window.

#pragma once

#include "stream.hpp"

namespace facedet {
namespace detail {

// Which pixels complete a window: those at or past the kernel's far corner, every STRIDE rows and columns. Follows the
// map pixel by pixel.
template <int HEIGHT, int WIDTH, int KERNEL_H, int KERNEL_W, int STRIDE_H, int STRIDE_W>
struct WindowCorner {
  // Rows and columns to go until the next that ends a window.
  Counter<larger(KERNEL_H, STRIDE_H)> rows_to_go = KERNEL_H - 1;
  Counter<larger(KERNEL_W, STRIDE_W)> columns_to_go = KERNEL_W - 1;
  Counter<WIDTH> column = 0;

  // Goes to the next pixel; true where the pixel it leaves completes a window.
  bool step() {
#pragma HLS INLINE
    const bool completes = rows_to_go == 0 && columns_to_go == 0;
    const bool row_ends = column == WIDTH - 1;
    if (row_ends) {
      column = 0;
      columns_to_go = KERNEL_W - 1;
      if (rows_to_go == 0) {
        rows_to_go = STRIDE_H - 1;
      } else {
        rows_to_go = rows_to_go - 1;
      }
    } else {
      column = column + 1;
      if (columns_to_go == 0) {
        columns_to_go = STRIDE_W - 1;
      } else {
        columns_to_go = columns_to_go - 1;
      }
    }
    return completes;
  }
};

// address + STEP in a ring of WORDS words; STEP is at most WORDS. One comparison beside one sum, none behind the other:
// this lies in the loop that finds the next address.
template <int WORDS, int STEP>
Counter<WORDS> around(Counter<WORDS> address) {
#pragma HLS INLINE
  return address >= WORDS - STEP ? Counter<WORDS>(address - (WORDS - STEP)) : Counter<WORDS>(address + STEP);
}

}  // namespace detail

// Windows of SIMD lanes a beat.
//
// Stream order out: the windows row by row, left to right; of each, kernel rows ky, in them columns kx, in them the
// FOLDS = CHANNELS / SIMD beats of a pixel, lowest channels first. In: the map in the same order of rows and columns.
//
// Schedule: one step for each input pixel and one more. Step n sends the window that pixel n-1 completed, if it
// completed one, and in its first FOLDS iterations takes pixel n. A step that sends has KERNEL_H * KERNEL_W * FOLDS
// iterations, any other FOLDS. So the input never waits longer than one window, and a FIFO before this layer has no
// more than a row to hold.
//
// Initiation interval 1; trips: OH * OW * KERNEL_H * KERNEL_W * FOLDS + (HEIGHT * WIDTH - OH * OW + last) * FOLDS,
// where last is 1 if the map's last pixel completes a window, else 0.
//
// Resources: a ring of the last (KERNEL_H - 1) * WIDTH + KERNEL_W + 1 pixels in words of SIMD values (one port writes,
// one reads; block RAM when it has more than 64 words, else LUTRAM); two ring addresses, each an adder and a
// comparator; no multiplier. The one pixel more than a window spans is the one that arrives while the window before it
// is sent: no step reads the slot that it writes. What a step reads was written in this frame: the ring carries nothing
// over.
// Nothing read from the ring is written back to it, so no chain through it keeps the pipeline from II=1.
template <class T, int SIMD, int CHANNELS, int HEIGHT, int WIDTH, int KERNEL_H, int KERNEL_W, int STRIDE_H,
          int STRIDE_W>
void sliding_window(Stream<T, SIMD> &in, Stream<T, SIMD> &out) {
  static_assert(is_value<T>, "sliding_window: T must be Unsigned<B> or Signed<B> with B from 1 to 16 bits");
  static_assert(SIMD >= 1 && CHANNELS >= 1 && CHANNELS % SIMD == 0, "sliding_window: SIMD must divide CHANNELS");
  static_assert(KERNEL_H >= 1 && KERNEL_W >= 1 && KERNEL_H <= HEIGHT && KERNEL_W <= WIDTH,
                "sliding_window: the kernel must fit in the map");
  static_assert(STRIDE_H >= 1 && STRIDE_W >= 1, "sliding_window: strides must be positive");
  constexpr int FOLDS = CHANNELS / SIMD;
  constexpr int PIXELS = HEIGHT * WIDTH;
  constexpr int WINDOWS = ((HEIGHT - KERNEL_H) / STRIDE_H + 1) * ((WIDTH - KERNEL_W) / STRIDE_W + 1);
  constexpr bool LAST_COMPLETES = (HEIGHT - KERNEL_H) % STRIDE_H == 0 && (WIDTH - KERNEL_W) % STRIDE_W == 0;
  constexpr int TRIPS = (WINDOWS * KERNEL_H * KERNEL_W + PIXELS - WINDOWS + (LAST_COMPLETES ? 1 : 0)) * FOLDS;
  constexpr int WORDS = ((KERNEL_H - 1) * WIDTH + KERNEL_W + 1) * FOLDS;
  // From the last word of one kernel row to the first of the next, where there is a next.
  constexpr int NEXT_ROW = KERNEL_H > 1 ? (WIDTH - KERNEL_W) * FOLDS + 1 : 1;

  Word<T, SIMD> ring[WORDS];
  if constexpr (WORDS > LUTRAM_WORDS) {
#pragma HLS BIND_STORAGE variable=ring type=ram_s2p impl=bram
  } else {
#pragma HLS BIND_STORAGE variable=ring type=ram_s2p impl=lutram
  }
  // Proof: the slot that a step writes is the one between the newest and the oldest pixel of the window it sends.
#pragma HLS DEPENDENCE variable=ring type=intra dependent=false

  Counter<WORDS> write_address = 0;
  // The slot after the one being written holds the oldest pixel: the first of the window to send.
  Counter<WORDS> oldest = FOLDS;
  Counter<WORDS> read_address = FOLDS;
  Counter<FOLDS> fold = 0;
  Counter<KERNEL_W> kernel_column = 0;
  Counter<KERNEL_H> kernel_row = 0;
  Counter<PIXELS + 1> pixel = 0;
  bool sends = false;
  detail::WindowCorner<HEIGHT, WIDTH, KERNEL_H, KERNEL_W, STRIDE_H, STRIDE_W> corner;
beats:
  for (int trip = 0; trip < TRIPS; ++trip) {
#pragma HLS PIPELINE II=1
    FACEDET_TRIP
    if (pixel != PIXELS && kernel_row == 0 && kernel_column == 0) {
      ring[write_address] = pack(in.read());
      advance<WORDS>(write_address);
    }
    if (sends) out.write(unpack<T, SIMD>(ring[read_address]));

    const bool pixel_ends = advance<FOLDS>(fold);
    const bool row_ends = pixel_ends && sends && advance<KERNEL_W>(kernel_column);
    const bool step_ends = sends ? (row_ends && advance<KERNEL_H>(kernel_row)) : pixel_ends;
    if (step_ends) {
      oldest = detail::around<WORDS, FOLDS>(oldest);
      read_address = oldest;
      sends = corner.step();
      pixel = pixel + 1;
    } else if (row_ends) {
      read_address = detail::around<WORDS, NEXT_ROW>(read_address);
    } else {
      advance<WORDS>(read_address);
    }
  }
}

// Whole windows, KERNEL_H * KERNEL_W * CHANNELS lanes a beat.
//
// Stream order out: the windows row by row, left to right; lane (ky * KERNEL_W + kx) * CHANNELS + k. In: a pixel a
// beat.
// Initiation interval 1; trips: HEIGHT * WIDTH, an input beat each; a window leaves with the pixel that completes it.
// Resources: KERNEL_H memories, one a row, of WIDTH words of CHANNELS values (one port writes, one reads; block RAM
// when WIDTH is above 64, registers when it is 1, else LUTRAM), each read or written once a trip; the window in
// registers, which move by a pixel each trip; for each row above the newest a multiplexer of KERNEL_H pixels; no
// multiplier.
// The rows take turns: the newest is written while the KERNEL_H - 1 above it are read, so nothing read is written back
// and no chain through a memory keeps the pipeline from II=1, however narrow the map is.
// Before the kernel lies in the map the registers hold what the memories held before; no window that is sent has any of
// it.
template <class T, int CHANNELS, int HEIGHT, int WIDTH, int KERNEL_H, int KERNEL_W, int STRIDE_H, int STRIDE_W>
void parallel_window(Stream<T, CHANNELS> &in, Stream<T, KERNEL_H * KERNEL_W * CHANNELS> &out) {
  static_assert(is_value<T>, "parallel_window: T must be Unsigned<B> or Signed<B> with B from 1 to 16 bits");
  static_assert(CHANNELS >= 1, "parallel_window: CHANNELS must be positive");
  static_assert(KERNEL_H >= 1 && KERNEL_W >= 1 && KERNEL_H <= HEIGHT && KERNEL_W <= WIDTH,
                "parallel_window: the kernel must fit in the map");
  static_assert(STRIDE_H >= 1 && STRIDE_W >= 1, "parallel_window: strides must be positive");

  Word<T, CHANNELS> line[KERNEL_H][WIDTH];
  if constexpr (WIDTH == 1) {
#pragma HLS ARRAY_PARTITION variable=line complete dim=0
  } else {
#pragma HLS ARRAY_PARTITION variable=line complete dim=1
    if constexpr (WIDTH > LUTRAM_WORDS) {
#pragma HLS BIND_STORAGE variable=line type=ram_s2p impl=bram
    } else {
#pragma HLS BIND_STORAGE variable=line type=ram_s2p impl=lutram
    }
  }
  // Proof: a trip writes row `newest` and reads the KERNEL_H - 1 others.
#pragma HLS DEPENDENCE variable=line type=intra dependent=false
  T window[KERNEL_H][KERNEL_W][CHANNELS];
#pragma HLS ARRAY_PARTITION variable=window complete dim=0

  Counter<KERNEL_H> newest = 0;
  Counter<WIDTH> column = 0;
  detail::WindowCorner<HEIGHT, WIDTH, KERNEL_H, KERNEL_W, STRIDE_H, STRIDE_W> corner;
beats:
  for (int trip = 0; trip < HEIGHT * WIDTH; ++trip) {
#pragma HLS PIPELINE II=1
    FACEDET_TRIP
    Beat<T, CHANNELS> pixel = in.read();
#pragma HLS AGGREGATE variable=pixel compact=bit
    Word<T, CHANNELS> above[KERNEL_H];
#pragma HLS ARRAY_PARTITION variable=above complete dim=0
    for (int row = 0; row < KERNEL_H; ++row) {
#pragma HLS UNROLL
      if (row == newest) {
        line[row][column] = pack(pixel);
      } else {
        above[row] = line[row][column];
      }
    }
    Counter<KERNEL_H> turn = newest;
    for (int row = 0; row < KERNEL_H; ++row) {
#pragma HLS UNROLL
      // The oldest row comes after the newest in turn, and is the window's top.
      advance<KERNEL_H>(turn);
      Beat<T, CHANNELS> entering = pixel;
#pragma HLS AGGREGATE variable=entering compact=bit
      if (row < KERNEL_H - 1) entering = unpack<T, CHANNELS>(above[turn]);
      for (int channel = 0; channel < CHANNELS; ++channel) {
#pragma HLS UNROLL
        for (int step = 0; step < KERNEL_W - 1; ++step) {
#pragma HLS UNROLL
          window[row][step][channel] = window[row][step + 1][channel];
        }
        window[row][KERNEL_W - 1][channel] = entering.lane[channel];
      }
    }
    if (advance<WIDTH>(column)) advance<KERNEL_H>(newest);

    if (corner.step()) {
      Beat<T, KERNEL_H * KERNEL_W * CHANNELS> beat;
#pragma HLS AGGREGATE variable=beat compact=bit
      for (int row = 0; row < KERNEL_H; ++row) {
#pragma HLS UNROLL
        for (int step = 0; step < KERNEL_W; ++step) {
#pragma HLS UNROLL
          for (int channel = 0; channel < CHANNELS; ++channel) {
#pragma HLS UNROLL
            beat.lane[(row * KERNEL_W + step) * CHANNELS + channel] = window[row][step][channel];
          }
        }
      }
      out.write(beat);
    }
  }
}

}  // namespace facedet
