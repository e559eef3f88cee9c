"""The native library: letterbox and postprocessing in C++, found or compiled at first use; None where it cannot be."""

from fpga_facedet.native.binding import LONGEST_SIDE, MOST_STEPS, Head, NativeLibrary, PixelFormat, library

__all__ = ["LONGEST_SIDE", "MOST_STEPS", "Head", "NativeLibrary", "PixelFormat", "library"]
