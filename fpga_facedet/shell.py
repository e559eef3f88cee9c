"""The board shell as both of its sides know it: registers, beats, names of cells, addresses.

`rtl/board_shell.sv` is the hardware's side and a test compares the two; the overlay's project, the board engine and the
software board read this module. `docs/shell.md` describes the same for people.
"""

from fpga_facedet.manifest import Manifest

BEAT_BYTES = 8
"""Bytes of a beat on both streams of the shell (64 bits)."""
PIXEL_BYTES = 4
"""Bytes of an input pixel: red, green, blue, and one that is ignored (RGBX), in this order in memory."""

ID = 0x46444554
"""What register ID reads: "FDET"."""
VERSION = 0x0001_0000
"""Register VERSION: major version in the upper half, minor in the lower; a driver refuses another major version."""

# Register offsets in bytes; every register is 32 bits wide and read-only unless said otherwise.
REG_ID = 0x00
REG_VERSION = 0x04
REG_CONTROL = 0x08
"""Write RESET_CORE or RESET_ALL; reads 1 while a reset goes on, else 0."""
REG_STATUS = 0x0C
"""STATUS_* bits of this moment."""
REG_ERRORS = 0x10
"""ERROR_* bits that stay until a 1 is written to them."""
REG_FRAME_PIXELS = 0x14
REG_OUTPUT_BYTES = 0x18
"""Bytes of a result without its padding."""
REG_MODEL_HASH = 0x20
"""Four words: the first 16 bytes of the SHA-256 of the model file, the first byte the most significant of word 0."""
REG_RTL_HASH = 0x30
"""Four words, likewise: the manifest's `rtl_sha256`."""
REG_FRAMES_IN = 0x40
"""Input packets taken to their end since reset, modulo 2^32."""
REG_FRAMES_OUT = 0x44
"""Results sent to their last beat since reset, modulo 2^32."""
REG_CYCLES_LOW = 0x48
"""Clock cycles since reset; reading the low word keeps the high one for the next read of REG_CYCLES_HIGH."""
REG_CYCLES_HIGH = 0x4C
REG_FRAME_CYCLES = 0x50
"""Cycles from the first input beat to the last output beat of the latest finished frame."""
REG_INTERVAL_CYCLES = 0x54
"""Cycles between the last output beats of the latest two frames; 0 before there are two."""

RESET_CORE = 1
"""Empties the accelerator. A packet that is coming in is dropped up to its TLAST, a result that is going out is
completed with zeros: the DMA needs no reset, and the next packet begins a frame."""
RESET_ALL = 2
"""Also forgets packets in progress: for use after the DMA itself was reset, which cuts them off without TLAST."""

STATUS_IN_PACKET = 1
"""An input packet has begun and not ended."""
STATUS_OUT_PACKET = 2
"""A result has begun and not ended."""
STATUS_DROPPING = 4
"""Input is being dropped up to the next TLAST."""
STATUS_FILLING = 8
"""A frame that ended too early is being completed with zeros."""

ERROR_SHORT_FRAME = 1
"""A packet ended before its frame was full: zeros took the place of the rest, so the result is not to be used."""
ERROR_LONG_FRAME = 2
"""A packet went on past the end of its frame: the rest was dropped; the result is that of its beginning."""
ERROR_CUT_INPUT = 4
"""A reset dropped the rest of a packet."""
ERROR_CUT_OUTPUT = 8
"""A reset completed a result with zeros."""

HASH_WORDS = 4

# The overlay: what its cells are called and where the processor finds them.
PROCESSOR_CELL = "processor"
DMA_CELL = "dma"
DETECTOR_CELL = "detector"
INTERRUPTS_CELL = "interrupts"
TOP = "facedet_overlay"
"""The plain-Verilog top that joins shell and accelerator, and becomes the cell DETECTOR_CELL."""
DMA_BASE = 0x4040_0000
DETECTOR_BASE = 0x43C0_0000
INTERRUPTS_BASE = 0x4180_0000
ADDRESS_RANGE = 0x1_0000
DMA_LENGTH_BITS = 23
"""Width of the DMA's length registers: a packet of up to 8 MiB - 1."""


def frame_bytes(manifest: Manifest) -> int:
    """Return the bytes of one frame as the DMA sends it: RGBX, row by row."""
    return manifest.input.height * manifest.input.width * PIXEL_BYTES


def output_bytes(manifest: Manifest) -> int:
    """Return the bytes of one result without padding: int8, cell by cell, the channels of a cell in order."""
    return manifest.head.grid_height * manifest.head.grid_width * manifest.head.channels


def result_bytes(manifest: Manifest) -> int:
    """Return the bytes of one result as the DMA receives it: padded with zeros to whole beats."""
    return -(-output_bytes(manifest) // BEAT_BYTES) * BEAT_BYTES


def hash_words(digest: str) -> tuple[int, ...]:
    """Return the first 16 bytes of a SHA-256, 64 hexadecimal digits, as the words of REG_MODEL_HASH or REG_RTL_HASH."""
    return tuple(int(digest[8 * word : 8 * word + 8], 16) for word in range(HASH_WORDS))
