"""FINN as a quiet guest: its settings, its scratch folder and its chatter, all for the length of a `with` block."""

import contextlib
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

_LITTLE = 1 << 20
"""Bytes: a disk with less room than this is full."""


@contextlib.contextmanager
def finn_session(rtllib: Path | None = None) -> Iterator[Path]:
    """Let FINN work in a temporary folder, which is yielded and deleted at the end, without a word to the console.

    Args:
        rtllib: the finn-rtllib that code generation reads; FINN's own where None.

    FINN keeps its settings in a module-level variable that it would otherwise fill from a file in the user's home;
    here they are set for the block and put back as they were, so sessions nest.
    """
    from finn.interface.settings import FINNSettings
    from finn.util import settings as holder

    # A settings file that cannot exist keeps FINN from making ~/.finn or reading someone's settings from it.
    with tempfile.TemporaryDirectory(prefix="facedet-finn-") as folder, _silence():
        choice = {"finn_rtllib": str(rtllib)} if rtllib else {}
        settings = FINNSettings.init(
            override_settings_path=Path(folder) / "none.yaml",
            flow_config=Path(folder) / "none.yaml",
            auto_set_environment_vars=False,
            finn_build_dir=folder,
            num_default_workers=1,
            **choice,
        )
        previous, holder._SETTINGS = holder._SETTINGS, settings
        try:
            yield Path(folder)
        finally:
            holder._SETTINGS = previous


def place_without_room(out: Path) -> Path:
    """Return where a write failed that names no file: the temporary folder if its disk is full, else `out`."""
    temporary = Path(tempfile.gettempdir())
    return temporary if shutil.disk_usage(temporary).free < _LITTLE else out


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the warnings and log lines of FINN and QONNX, which speak to their own developers, from our users."""
    loggers = [logging.getLogger(name) for name in ("finn_logger", "qonnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
