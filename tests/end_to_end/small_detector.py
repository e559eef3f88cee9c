"""What the end-to-end test runs: the zoo's lpyolo-4w4a at a small input, compiled, with the simulator of its overlay.

The network is fully convolutional, so its trained weights find faces at every input size. Needs compiler and Verilator
(Python 3.11); what it makes is used by the board's Python 3.10.
"""

from pathlib import Path

from fpga_facedet.simulation.shell import SimulatedShell, compile_shell

WIDTH, HEIGHT = 160, 96
"""The input in pixels: the smallest, and of the video's shape, at which the faces of the test's pictures are found."""
FPS = 500.0
"""Frames a second to fold for: more lanes take longer to compile than they save in three frames."""


def export(path: Path) -> None:
    """Write the zoo's lpyolo-4w4a with its trained weights and an input of WIDTH x HEIGHT pixels to `path` (QONNX)."""
    from fpga_facedet import zoo
    from fpga_facedet.network.export import export_qonnx
    from fpga_facedet.spec import DetectorSpec
    from fpga_facedet.training.trainer import network_of, read_checkpoint

    state = read_checkpoint(zoo.checkpoint_path("lpyolo-4w4a"))
    network = network_of(state)
    size = {"name": f"lpyolo-4w4a-{WIDTH}x{HEIGHT}", "input": {"width": WIDTH, "height": HEIGHT}}
    spec = DetectorSpec.from_dict(network.spec.to_dict() | size)
    export_qonnx(network, spec, path, {key: state[key] for key in ("training", "score_threshold", "nms_iou")})


def build(folder: Path) -> SimulatedShell:
    """Write model and `accelerator/` to `folder`, and build the simulator of the overlay around it."""
    from fpga_facedet.boards import get_board
    from fpga_facedet.compiler import flow
    from fpga_facedet.compiler.folding import Request

    export(folder / "model.onnx")
    flow.build(folder / "model.onnx", get_board("pynq-z2"), folder / "accelerator", Request(FPS))
    return compile_shell(folder / "accelerator", folder / "simulator")
