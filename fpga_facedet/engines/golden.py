"""The golden engine: the detector's exact integers on a processor, the reference for every other engine."""

import hashlib
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from fpga_facedet.compiler import layout
from fpga_facedet.engines.protocol import check_frames
from fpga_facedet.errors import UserError
from fpga_facedet.files import write_bytes
from fpga_facedet.manifest import Manifest
from fpga_facedet.native.building import cache_folder

_PACKAGE = Path(__file__).resolve().parent.parent
_BUILDERS = (
    "__init__.py",
    "network/metadata.py",
    "compiler/streamline.py",
    "compiler/integer.py",
    "compiler/staircase.py",
)
_DIGEST_BYTES = hashlib.sha256().digest_size


class GoldenEngine:
    """Runs a detector in exact integers through onnxruntime.

    Args:
        path: the folder of an accelerator, whose `golden.onnx` and `accelerator.json` it uses; or a model (QONNX),
            which it compiles at first use and keeps in the user's cache.
        threads: how many threads one frame may use; None for all cores.

    Equal frames give equal bytes on every machine and with any number of threads. Raises UserError where the path, the
    model or the accelerator cannot be used.
    """

    name = "golden"

    def __init__(self, path: str | os.PathLike[str], threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise UserError(f"The golden engine cannot run on {threads} threads; give 1 or more.")
        path = Path(path)
        if path.is_dir():
            self.manifest = Manifest.load(path)
            layout.refuse_overlay(path)
            golden = _accelerators(path)
            layout.check_golden(path, self.manifest)
        else:
            self.manifest, golden = _of_model(path)
        self._golden, self._path, self._threads = golden, path, threads
        self._session = _session(golden, path, threads)
        _check_shapes(self._session, self.manifest, path)

    def infer(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
        """Run letterboxed RGB frames uint8 (N, H, W, 3); return the head's integers int8 (N, grid_h, grid_w, C)."""
        check_frames(frames, self.manifest)
        head = self.manifest.head
        raw = np.empty((len(frames), head.grid_height, head.grid_width, head.channels), np.int8)
        # One at a time: faster than a batch, which no longer fits a processor's cache, and of bounded memory.
        for number in range(len(frames)):
            raw[number] = self._session.run(["raw"], {"frame": frames[number : number + 1]})[0][0]
        return raw

    def opened(self) -> "OpenGolden":
        """Return the same model with the values between its steps laid open, for one who compares layers."""
        return OpenGolden(self._golden, self._path, self._threads)

    def close(self) -> None:
        """Give back the session's memory and threads."""
        self._session = None


class OpenGolden:
    """A golden model whose every step shows its values.

    `steps` are its convolutions, thresholds and pools, in the order of the hardware's.
    """

    def __init__(self, golden: bytes, path: Path, threads: int | None) -> None:
        from fpga_facedet.compiler.golden_streams import open_up

        opened, self.steps = open_up(golden)
        self._session = _session(opened, path, threads)

    def run(self, frame: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.int32]]:
        """Run one letterboxed RGB frame uint8 (H, W, 3); return what went into the first step and came out of each.

        Each is int32 (height, width, channels): the frame, then the values of `steps[0]` and so on. The last one holds
        the head's integers.
        """
        found = self._session.run([step.output for step in self.steps], {"frame": frame[None]})
        # Floats of integers below 2^31.
        return [frame.astype(np.int32), *(value[0].transpose(1, 2, 0).astype(np.int32) for value in found)]


def _accelerators(folder: Path) -> bytes:
    """Read the golden model of an accelerator."""
    path = folder / layout.GOLDEN
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"There is no {path}; build the accelerator again (facedet build).") from None
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}; check the path.") from error


def _of_model(path: Path) -> tuple[Manifest, bytes]:
    """Return manifest and golden model of a QONNX file, the latter from the cache where it has been compiled before."""
    from fpga_facedet.network.metadata import manifest_of_model

    manifest = manifest_of_model(path)
    folder = cache_folder()
    if folder is None:
        return manifest, _compile(path)
    cached = folder / f"{manifest.model.sha256[:32]}-{_build_version()}.golden"
    golden = _read_cached(cached)
    if golden is None:
        golden = _compile(path)
        _write_cached(cached, golden)
    return manifest, golden


def _compile(path: Path) -> bytes:
    """Build the golden model of a QONNX file; the compiler and its packages are imported only here."""
    try:
        from fpga_facedet.compiler import integer
        from fpga_facedet.compiler.streamline import streamline

        return bytes(integer.build(streamline(path)).SerializeToString())
    except ModuleNotFoundError as error:
        raise UserError(
            f"Compiling {path} needs the package {error.name}, which is not installed; "
            "install fpga-facedet[build], or give the folder of a built accelerator."
        ) from error


def _build_version() -> str:
    """Return a digest of the code that builds golden models, so that a cached one never outlives it."""
    digest = hashlib.sha256()
    for name in _BUILDERS:
        digest.update((_PACKAGE / name).read_bytes())
    return digest.hexdigest()[:16]


def _read_cached(path: Path) -> bytes | None:
    """Return the golden model at `path`, or None where there is none or its digest says that it is damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, golden = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    return golden if hashlib.sha256(golden).digest() == digest else None


def _write_cached(path: Path, golden: bytes) -> None:
    """Keep a golden model with its digest; where the cache cannot be written, the next start compiles again."""
    try:
        write_bytes(path, hashlib.sha256(golden).digest() + golden)
    except UserError:
        return


def _session(golden: bytes, path: Path, threads: int | None) -> onnxruntime.InferenceSession:
    """Load a golden model into onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3
    # Idle threads sleep: spinning saves a millisecond on an empty machine and takes five times the processor time
    # from capture, letterbox and decoding when frames come at a camera's pace.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(golden, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no common base of their own
        raise UserError(
            f"The golden model of {path} is damaged; build the accelerator again (facedet build)."
        ) from error


def _check_shapes(session: onnxruntime.InferenceSession, manifest: Manifest, path: Path) -> None:
    """Refuse a golden model that is not the one the manifest describes."""
    given = [list(end.shape[1:]) for end in (session.get_inputs()[0], session.get_outputs()[0])]
    sizes, head = manifest.input, manifest.head
    wanted = [[sizes.height, sizes.width, sizes.channels], [head.grid_height, head.grid_width, head.channels]]
    if given != wanted:
        raise UserError(
            f"The golden model of {path} maps {given[0]} to {given[1]}, "
            f"its manifest says {wanted[0]} to {wanted[1]}; build the accelerator again (facedet build)."
        )
