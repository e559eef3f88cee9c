"""Shapes of the layers around the matrix units: thresholds, windows, padding, pools, width converters and FIFOs."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from fpga_facedet.compiler.cost_memory import BLOCK, DISTRIBUTED, ROM_WORDS, Memory, mapped
from fpga_facedet.compiler.cost_shapes import Terms, bits_for, different


def cleared(count: int) -> int:
    """Return the bits to clear where a counter of `count` states begins anew: none where it does by itself.

    Where the next number would have a bit, the first one has none.
    """
    return 0 if count == 2 ** bits_for(count) else count.bit_count()


class _NoDsp:
    """A layer without multipliers."""

    @property
    def dsp(self) -> int:
        """None."""
        return 0


@dataclass(frozen=True)
class Thresholds(_NoDsp):
    """FINN's thresholds by binary search (thresholding.sv): `levels` for each of `channels`, PE channels at a time."""

    formula: ClassVar[str] = "thresholds"

    channels: int
    pe: int
    bits: int
    levels: int

    @property
    def _stages(self) -> int:
        return bits_for(self.levels + 1)

    @property
    def _tables(self) -> list[tuple[int, Memory]]:
        """Words and memory of the table of each stage that has more than one threshold."""
        folds = self.channels // self.pe
        words = [folds * 2**stage for stage in range(self._stages)]
        return [(count, mapped(count, self.bits, read_only=True)) for count in words if count > 1]

    @property
    def bram18(self) -> int:
        """Of tables that are cheaper there than in LUTs."""
        return self.pe * sum(memory.bram18 for _, memory in self._tables)

    def _columns(self, words: int) -> float:
        return different(self.bits, words) if words < ROM_WORDS else float(self.bits)

    def _choices_of_channels(self) -> float:
        """Return the bits to choose by the channel, for each threshold that the search may come to.

        The channel is known before the result of the stage before, so that yosys looks it up first.
        """
        folds = self.channels // self.pe
        reached = sum(words // folds for words, memory in self._tables if memory.rom)
        return self.pe * self.bits * reached * (math.ceil(folds / ROM_WORDS) - 1)

    def lut_terms(self) -> Terms:
        """Comparisons, tables of thresholds, the queue of results, counters."""
        tables = sum(
            self._columns(words) * math.ceil(words / ROM_WORDS) for words, memory in self._tables if memory.rom
        )
        known = self._stages - len(self._tables)
        return {
            "unit": 1,
            "bits compared": self.pe * self.bits * len(self._tables),
            "bits compared with a constant": self.pe * self.bits * known,
            "stages": self.pe * self._stages,
            "tables of thresholds": self.pe * tables,
            "choices": self.pe * sum(memory.choices for _, memory in self._tables),
            "choices of channels": self._choices_of_channels(),
            "bits queued": self.pe * self._stages,
            "bits of counters": bits_for(self.channels // self.pe),
        }

    def ff_terms(self) -> Terms:
        """Values and thresholds on their way through the stages, results so far, the position."""
        read = sum(self._columns(words) for words, _ in self._tables)
        return {
            "unit": 1,
            "bits of values": self.pe * self.bits * self._stages,
            "bits of thresholds": self.pe * read,
            "bits of results": self.pe * self._stages * (self._stages + 1) / 2,
            "bits of positions": bits_for(self.channels // self.pe) * self._stages,
        }


@dataclass(frozen=True)
class Window(_NoDsp):
    """FINN's sliding window of `kernel` by `kernel` pixels of a map of `height` by `width`, one of two kinds.

    `parallel` is a whole window a beat with a memory for each row but one (swg_template_parallel.sv); else SIMD
    channels of one pixel after the other come out of one memory (swg_template_default.sv). `depth` are its words.
    """

    channels: int
    height: int
    width: int
    kernel: int
    stride: int
    simd: int
    bits: int
    parallel: bool
    depth: int
    ram_style: str

    @property
    def formula(self) -> str:
        """Both kinds are counted apart."""
        return "window, parallel" if self.parallel else "window"

    @cached_property
    def _memory(self) -> Memory:
        return mapped(self.depth, self.simd * self.bits, self.ram_style)

    @property
    def _memories(self) -> int:
        return self.kernel - 1 if self.parallel else 1

    @property
    def bram18(self) -> int:
        """Of the rows, or of the whole window."""
        return self._memories * self._memory.bram18

    @property
    def _folds(self) -> int:
        return self.channels // self.simd

    def _counters(self) -> Terms:
        rows, columns = ((size - self.kernel) // self.stride + 1 for size in (self.height, self.width))
        loops = bits_for(rows) + bits_for(columns)
        if not self.parallel:
            loops += 2 * bits_for(self.kernel) + 2 * bits_for(self._folds) + bits_for(self.kernel**2)
        return {
            "unit": 1,
            "bits of positions": 1 + bits_for(self.height * self.width * self._folds),
            "bits of addresses": bits_for(self.depth),
            "bits of loops": loops,
        }

    def lut_terms(self) -> Terms:
        """Positions, addresses and loops, all counted, added and compared; LUT memory and its multiplexers."""
        return self._counters() | {
            "LUT memory": self._memories * self._memory.lut,
            "choices": self._memories * self._memory.choices,
        }

    def ff_terms(self) -> Terms:
        """Positions, addresses and loops; the pixels of a parallel window; what was read of LUT memory."""
        word = self.simd * self.bits
        return self._counters() | {
            "bits of the window": self.kernel**2 * word if self.parallel else 0,
            "bits read": 0 if self._memory.bram18 else self._memories * word,
        }


@dataclass(frozen=True)
class Padding(_NoDsp):
    """FINN's padding (fmpadding.sv) to a map of `height` by `width` pixels of `folds` beats of `beat_bits` bits."""

    formula: ClassVar[str] = "padding"

    height: int
    width: int
    folds: int
    beat_bits: int

    bram18: ClassVar[int] = 0

    def lut_terms(self) -> Terms:
        """Two registers for a beat, the second chosen from three; row, column and channel."""
        return {
            "unit": 1,
            "bits of a beat": self.beat_bits,
            "bits of counters": bits_for(self.height) + bits_for(self.width),
            "bits of channels": bits_for(self.folds),
        }

    def ff_terms(self) -> Terms:
        """Two registers for a beat; row, column and channel."""
        return self.lut_terms()


@dataclass(frozen=True)
class Pool(_NoDsp):
    """Our max-pool (maxpool_2x2.sv): `words` of `lanes` values of `bits` bits are kept, `folds` beats a pixel."""

    formula: ClassVar[str] = "max-pool"

    words: int
    folds: int
    lanes: int
    bits: int
    ram_style: str

    @cached_property
    def _memory(self) -> Memory:
        return mapped(self.words, self.lanes * self.bits, self.ram_style)

    @property
    def bram18(self) -> int:
        """Of the half of a row."""
        return self._memory.bram18

    def _common(self) -> Terms:
        word = self.lanes * self.bits
        return {
            "unit": 1,
            "bits of a beat": word,
            "bits forwarded": word if self.folds == 1 else 0,
            "bits of counters": bits_for(self.words) + bits_for(self.folds),
            "bits cleared at the end": sum(cleared(count) for count in (self.words, self.folds)),
        }

    def lut_terms(self) -> Terms:
        """Comparison and choice of values, forwarding, address and fold, LUT memory."""
        return self._common() | {"LUT memory": self._memory.lut, "choices": self._memory.choices}

    def ff_terms(self) -> Terms:
        """Two registers for a beat, one to forward, what was read of LUT memory, address and fold."""
        return self._common() | {"bits read": 0 if self._memory.bram18 else self.lanes * self.bits}


@dataclass(frozen=True)
class Converter(_NoDsp):
    """FINN's width converter (vpc.sv) between beats of which one is a whole multiple of the other."""

    bits_in: int
    bits_out: int

    bram18: ClassVar[int] = 0

    @property
    def formula(self) -> str:
        """To narrow, a register that loads or shifts; to widen, one that shifts only."""
        return "converter to narrow" if self.bits_in > self.bits_out else "converter to widen"

    def lut_terms(self) -> Terms:
        """Bits that load or shift, bits of the register beside them, a counter."""
        wide, narrow = max(self.bits_in, self.bits_out), min(self.bits_in, self.bits_out)
        return {
            "unit": 1,
            "bits loaded": wide - narrow if self.bits_in > self.bits_out else 0,
            "bits beside": narrow,
            "bits of counters": bits_for(wide // narrow + 1),
        }

    def ff_terms(self) -> Terms:
        """A register as wide as the wide beat, one as wide as the narrow one, a counter."""
        return {
            "unit": 1,
            "bits": self.bits_in + self.bits_out,
            "bits of counters": bits_for(max(self.bits_in, self.bits_out) // min(self.bits_in, self.bits_out) + 1),
        }


@dataclass(frozen=True)
class Fifo(_NoDsp):
    """Our queue (stream_fifo.sv) of `depth` beats of `width` bits, in LUT memory or block RAM."""

    depth: int
    width: int
    ram_style: str = DISTRIBUTED

    @property
    def formula(self) -> str:
        """Block RAM is read by a register more."""
        return "FIFO in block RAM" if self.ram_style == BLOCK else "FIFO in LUTs"

    @property
    def _words(self) -> int:
        """Words of the memory; the other places are registers behind it."""
        return max(2, self.depth - (2 if self.ram_style == BLOCK else 1))

    @cached_property
    def _memory(self) -> Memory:
        return mapped(self._words, self.width, self.ram_style)

    @property
    def bram18(self) -> int:
        """Of the beats."""
        return self._memory.bram18

    def _pointers(self) -> Terms:
        return {
            "unit": 1,
            "bits of pointers": bits_for(self._words),
            "bits cleared at the end": cleared(self._words),
        }

    def lut_terms(self) -> Terms:
        """Two pointers and what is behind them, LUT memory and its multiplexers."""
        return self._pointers() | {"LUT memory": self._memory.lut, "choices": self._memory.choices}

    def ff_terms(self) -> Terms:
        """Pointers, and a beat behind the memory."""
        return self._pointers() | {"bits of a beat": self.width}
