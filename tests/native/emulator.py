"""A program for the board's processor under qemu-arm, run or counted; the benchmark uses it too."""

import functools
import io
import os
import shutil
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from fpga_facedet.native import binding

_NATIVE = Path(__file__).resolve().parent.parent.parent / "native"
_DRIVER = Path(__file__).with_name("driver.cpp")
_CROSS = "arm-linux-gnueabihf-g++"
_CROSS_ROOT = Path("/usr/arm-linux-gnueabihf")
_ARM_FLAGS = ("-mcpu=cortex-a9", "-mfpu=neon")
_CPU = ("-cpu", "cortex-a9")
_TRACE = b"\nTrace "


@dataclass(frozen=True)
class Emulated:
    """`program`, whose loader and C library lie under `root`."""

    program: Path
    root: Path

    def run(self, *arguments: object, stdin: bytes = b"") -> bytes:
        """Return what the program writes."""
        return self._run([], arguments, stdin)

    def instructions(self, *arguments: object, stdin: bytes = b"") -> int:
        """Return how many instructions one more turn takes: those of two turns less those of one.

        The number of turns is the program's last argument, which this adds. The first turn also links and warms up.
        """
        once, twice = (self._count((*arguments, turns), stdin) for turns in (1, 2))
        return twice - once

    def _run(self, options: list[str], arguments: tuple[object, ...], stdin: bytes) -> bytes:
        command = ["qemu-arm", *_CPU, "-L", str(self.root), *options, str(self.program), *map(str, arguments)]
        done = subprocess.run(command, input=stdin, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{self.program.name} ended with {done.returncode}: {done.stderr.decode()[-500:]}")
        return done.stdout

    def _count(self, arguments: tuple[object, ...], stdin: bytes) -> int:
        """One translated block an instruction, no two chained, and a line of the log for each that runs."""
        with tempfile.TemporaryDirectory(prefix="facedet-trace-") as folder:
            pipe = Path(folder) / "trace"
            os.mkfifo(pipe)
            counts: list[int] = []
            # Opened both ways first, so that no opening waits and the end of the log comes when we close this one.
            held = os.open(pipe, os.O_RDWR)
            lines = os.fdopen(os.open(pipe, os.O_RDONLY), "rb", buffering=0)
            reader = threading.Thread(target=lambda: counts.append(_traces(lines)))
            reader.start()
            try:
                self._run([single_step_option(), "-d", "nochain,exec", "-D", str(pipe)], arguments, stdin)
            finally:
                os.close(held)
                reader.join()
                lines.close()
        return counts[0]


def _traces(lines: io.RawIOBase) -> int:
    """Count lines that begin with 'Trace': the log holds little else, but qemu's own notices are no instructions."""
    total, rest = 0, b"\n"
    while block := lines.read(1 << 20):
        block = rest + block
        total += block.count(_TRACE)
        rest = block[1 - len(_TRACE) :]
    return total


@functools.cache
def single_step_option() -> str:
    """Return how this qemu is told to translate single instructions: the option got another name in 8.1."""
    told = subprocess.run(["qemu-arm", "-h"], capture_output=True, text=True, check=False).stdout
    return "-one-insn-per-tb" if "-one-insn-per-tb" in told else "-singlestep"


def missing_tool() -> str | None:
    """Return the first tool that emulation lacks on this machine, None where it has all."""
    return next((tool for tool in (_CROSS, "qemu-arm") if shutil.which(tool) is None), None)


def arm_driver_in(folder: Path) -> Emulated:
    """Build library and driver for the Cortex-A9 into `folder`; both tools have to be there."""
    return Emulated(build_driver(_CROSS, folder, *_ARM_FLAGS), _CROSS_ROOT)


def build_driver(compiler: str, folder: Path, *flags: str) -> Path:
    """Compile the library and the driver, which finds it beside itself, into `folder`; return the driver."""
    sources = [_NATIVE / name for name in binding.SOURCES]
    library = folder / "libfacedet_native.so"
    strict = ("-Wall", "-Wextra", "-Werror")
    subprocess.run([compiler, *binding.FLAGS, *strict, *flags, "-shared", "-fPIC", "-o", library, *sources], check=True)
    link = ("-L", folder, "-lfacedet_native", "-Wl,-rpath,$ORIGIN")
    driver = folder / "driver"
    subprocess.run([compiler, "-std=c++17", "-O1", *strict, "-I", _NATIVE, "-o", driver, _DRIVER, *link], check=True)
    return driver
