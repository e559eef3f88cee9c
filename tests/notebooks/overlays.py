"""Builds the accelerators that the notebooks run on the software board: the zoo's detector, and one with other bits.

A program of its own (Python 3.11 with the compiler), so that the tests can run it beside other things:

    python -m tests.notebooks.overlays FOLDER [MODEL...]

writes `FOLDER/<model>/` for each of MODELS that is not there whole.
"""

import copy
import sys
from pathlib import Path

MODEL = "lpyolo-4w4a"
OTHER_BITS = 3
OTHER = f"lpyolo-{OTHER_BITS}w4a"
"""The zoo's weights rounded to OTHER_BITS, without training for it: another overlay, of no use but to be swapped in."""
MODELS = (MODEL, OTHER)
BOARD = "pynq-z2"


def export_other(path: Path) -> None:
    """Write the model OTHER to `path` (QONNX)."""
    from fpga_facedet import zoo
    from fpga_facedet.network.export import export_qonnx
    from fpga_facedet.network.tinyyolo import TinyYolo
    from fpga_facedet.spec import DetectorSpec
    from fpga_facedet.training.trainer import read_checkpoint

    state = read_checkpoint(zoo.checkpoint_path(MODEL))
    described = copy.deepcopy(state["spec"])
    described |= {"name": OTHER, "description": f"{MODEL} with its weights rounded to {OTHER_BITS} bits, not trained"}
    for layer in described["layers"][1:]:
        layer["weight_bits"] = OTHER_BITS
    network = TinyYolo(DetectorSpec.from_dict(described, OTHER))
    network.load_state_dict(state["average"])
    export_qonnx(
        network.eval(), network.spec, path, {key: state[key] for key in ("training", "score_threshold", "nms_iou")}
    )


def build(folder: Path, models: tuple[str, ...] = MODELS) -> None:
    """Compile `models` into `folder`, all but those that are there."""
    from fpga_facedet import zoo
    from fpga_facedet.boards import get_board
    from fpga_facedet.compiler import flow
    from fpga_facedet.manifest import FILE_NAME

    for name in models:
        if (folder / name / FILE_NAME).is_file():
            continue
        model = zoo.model_path(MODEL)
        if name == OTHER:
            model = folder / f"{OTHER}.onnx"
            folder.mkdir(parents=True, exist_ok=True)
            export_other(model)
        flow.build(model, get_board(BOARD), folder / name)


if __name__ == "__main__":
    build(Path(sys.argv[1]), tuple(sys.argv[2:]) or MODELS)
