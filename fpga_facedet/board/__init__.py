"""What a person uses on the board: `FaceDetector`, an overlay that takes pictures and gives faces."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fpga_facedet.board.face_detector import FaceDetector

__all__ = ["FaceDetector"]


def __getattr__(name: str) -> Any:
    """Import FaceDetector when it is asked for, and with it pynq; one sentence where that is missing."""
    if name != "FaceDetector":
        raise AttributeError(f"module 'fpga_facedet.board' has no attribute '{name}'")
    from fpga_facedet.engines.hardware import explained

    with explained():
        from fpga_facedet.board.face_detector import FaceDetector
    return FaceDetector
