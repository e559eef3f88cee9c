"""The model zoo: a folder for each detector with its spec, its trained model and the model's card."""

from pathlib import Path

from fpga_facedet.errors import UserError

DEFAULT_MODEL = "lpyolo-4w4a"
"""What every command and notebook uses that is told of no other."""
_ROOT = Path(__file__).parent


def names() -> list[str]:
    """Return the names of the detectors in the zoo."""
    return sorted(folder.parent.name for folder in _ROOT.glob("*/spec.toml"))


def spec_path(name_or_path: str | Path) -> Path:
    """Return the spec file of a zoo detector, or the path itself; UserError where neither exists."""
    return _find(name_or_path, "spec.toml", "spec")


def model_path(name_or_path: str | Path) -> Path:
    """Return the QONNX file of a zoo detector, or the path itself; UserError where neither exists."""
    return _find(name_or_path, "model.onnx", "model")


def checkpoint_path(name_or_path: str | Path) -> Path:
    """Return the float weights of a zoo detector, or the path itself; UserError where neither exists."""
    return _find(name_or_path, "checkpoint.pt", "checkpoint")


def _find(name_or_path: str | Path, file_name: str, what: str) -> Path:
    text = str(name_or_path)
    if text in names():
        path = _ROOT / text / file_name
        if path.is_file():
            return path
        raise UserError(f"The zoo's '{text}' has no trained {what} yet; train it (facedet train --spec {text}).")
    path = Path(name_or_path)
    if path.is_file():
        return path
    raise UserError(f"There is no {what} '{text}'; give a file, or a name of the zoo: {', '.join(names())}.")
