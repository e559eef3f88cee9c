"""A small exported detector with its checkpoint, and pictures of noise and discs to judge it by."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.io import savemat

from fpga_facedet.network.export import export_qonnx
from fpga_facedet.network.tinyyolo import TinyYolo
from fpga_facedet.spec import DetectorSpec

from ..conftest import SMALL_SPEC

PICTURES = ["0--Parade/a.jpg", "0--Parade/b.jpg", "1--Party/a.jpg"]
FACES = [[[20, 20, 30, 40]], [[10, 10, 20, 20], [100, 60, 8, 8]], []]
"""x, y, w, h in the originals, which are twice as large as the files."""


def small_network(seed: int = 2) -> TinyYolo:
    torch.manual_seed(seed)
    network = TinyYolo(DetectorSpec.from_dict(SMALL_SPEC))
    with torch.no_grad():
        network.head.weight.normal_(0, 0.03)
        # As of a trained network: qonnx takes a BatchNorm within 1e-5 of doing nothing for nothing and removes it.
        for block in network.blocks:
            block.norm.weight.uniform_(0.7, 1.4)
            block.norm.bias.normal_(0, 0.1)
            block.norm.running_mean.normal_(0, 0.1)
            block.norm.running_var.uniform_(0.5, 2)
    return network.eval()


def save_model(network: TinyYolo, folder: Path) -> Path:
    """Write `model.onnx` and `checkpoint.pt` as a finished training run has them; return the model."""
    folder.mkdir(parents=True, exist_ok=True)
    export_qonnx(network, network.spec, folder / "model.onnx", {"score_threshold": 0.3})
    torch.save({"spec": network.spec.to_dict(), "average": network.state_dict()}, folder / "checkpoint.pt")
    return folder / "model.onnx"


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(small_network(), tmp_path_factory.mktemp("small"))


def write_truth(folder: Path) -> None:
    """Write WIDER's three official lists; the second face of the second picture is asked by none of them."""

    def cells(items: list[object]) -> np.ndarray:
        array = np.empty((len(items), 1), object)
        for index, item in enumerate(items):
            array[index, 0] = item
        return array

    folder.mkdir(parents=True, exist_ok=True)
    events = sorted({name.split("/")[0] for name in PICTURES})
    grouped = [[i for i, name in enumerate(PICTURES) if name.startswith(event)] for event in events]
    for level in ("easy", "medium", "hard"):
        content = {
            "event_list": cells(list(events)),
            "file_list": cells([cells([Path(PICTURES[i]).stem for i in group]) for group in grouped]),
            "face_bbx_list": cells([cells([np.array(FACES[i]).reshape(-1, 4) for i in group]) for group in grouped]),
            "gt_list": cells([cells([np.array([[1]][: len(FACES[i])]) for i in group]) for group in grouped]),
        }
        savemat(folder / f"wider_{level}_val.mat", content)


@pytest.fixture
def wider_folder(tmp_path: Path) -> Path:
    """Return a folder as of WIDER validation pictures stored at half size, the official truth beside it."""
    folder = tmp_path / "pictures"
    rng = np.random.default_rng(3)
    for name in PICTURES:
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = cv2.GaussianBlur(rng.integers(0, 256, (60, 80, 3), np.uint8), (0, 0), 3)
        cv2.imwrite(str(path), cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX))
    with open(folder / "sizes.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "orig_w", "orig_h", "stored_w", "stored_h", "kind"])
        rows.writerows([name, 160, 120, 80, 60, "test"] for name in PICTURES)
    write_truth(tmp_path / "official")
    return folder


@pytest.fixture
def labelled_folder(tmp_path: Path) -> Path:
    """Return a folder of three pictures labelled as training data is."""
    folder = tmp_path / "labelled"
    folder.mkdir()
    rng = np.random.default_rng(4)
    lines = []
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 256, (60, 80, 3), np.uint8))
        lines += [f"{number}.png", "1", "10 10 20 25"]
    (folder / "labels_val.txt").write_text("\n".join(lines) + "\n")
    (folder / "ignore_val.txt").write_text("0.png\n1\n40 30 20 20\n")
    return folder
