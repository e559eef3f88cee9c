"""What can go wrong on a board, to be made to happen to a frame of choice."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from fpga_facedet.errors import UserError

FAULTS = {
    "stuck_mm2s": "the DMA starts to send the frame, and not a beat moves until it is reset",
    "stuck_s2mm": "the DMA is told to receive the frame's result, and not a beat moves until it is reset",
    "early_done": "the result ends after `value` bytes (8 by default) with TLAST",
    "error_bits": "the detector's error register shows the bits `value` (ERROR_SHORT_FRAME by default) with the result",
    "missing_interrupt": "the result arrives and its interrupt does not",
    "missing_flush": "what the program flushes for the frame stays in the cache",
    "missing_invalidate": "what the program invalidates for the frame's result stays as it was",
    "slow": "the result comes `value` seconds late (1 by default)",
    "power_cut": "the power goes before the frame is sent",
    "power_cut_mid_frame": "the power goes when the frame has gone in and its result has not come out",
    "wrong_id": "the register ID reads `value` (0 by default)",
    "wrong_version": "the register VERSION reads `value` (the next major version by default)",
    "wrong_model_hash": "the registers MODEL_HASH are those of another model",
    "wrong_rtl_hash": "the registers RTL_HASH are those of another design",
}
"""The faults by name. Those of registers are there from the start and have no frame."""

OF_REGISTERS = frozenset(name for name in FAULTS if name.startswith("wrong_"))


SILENT = frozenset({"stuck_mm2s", "stuck_s2mm", "slow"})
"""Those that no interrupt, status or register tells of: no result comes in time, and that is all."""


@dataclass(frozen=True)
class Fault:
    """One fault: its name out of FAULTS, the number of its frame (from 0, since the board was made; None is every
    frame), and its `value` where FAULTS says that it has one.
    """

    name: str
    frame: int | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        if self.name not in FAULTS:
            raise UserError(f"There is no fault '{self.name}' of the board; choose one of: {', '.join(FAULTS)}.")
        if self.frame is not None and (self.frame < 0 or self.name in OF_REGISTERS):
            why = "has no frame" if self.name in OF_REGISTERS else "counts its frames from 0"
            raise UserError(f"The fault '{self.name}' {why}, and was given frame {self.frame}; correct it.")


class Faults:
    """The faults of one board; more may be added while it runs."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._faults = list(faults)
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        """Make one more fault happen."""
        with self._lock:
            self._faults.append(fault)

    def take(self, name: str, frame: int) -> bool:
        """Return whether there is the fault `name` of this frame, and let it happen no more."""
        fault = self.find(name, frame)
        if fault is not None:
            with self._lock:
                self._faults.remove(fault)
        return fault is not None

    def find(self, name: str, frame: int | None = None) -> Fault | None:
        """Return the fault `name` of the frame with that number, or None where there is none."""
        with self._lock:
            for fault in self._faults:
                if fault.name == name and fault.frame in (None, frame):
                    return fault
        return None
