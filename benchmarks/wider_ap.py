"""Average precision of a model on WIDER FACE validation pictures, run by the exact golden engine.

DATA holds `images/<event>/<picture>.jpg` and `sizes.csv` (image, orig_w, orig_h, stored_w, stored_h, ...: pictures may
be stored smaller than the originals), TRUTH the official `wider_{easy,medium,hard}_val.mat`. Only the pictures of
`sizes.csv` count. Prints one JSON line.

    python benchmarks/wider_ap.py --model lpyolo-4w4a --data DATA --truth TRUTH
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
from rich.progress import track

from fpga_facedet import zoo
from fpga_facedet.detections import Detections
from fpga_facedet.engines.golden import GoldenEngine
from fpga_facedet.evaluation.wider import load_truth, wider_ap
from fpga_facedet.host.decode import faces_in_frame
from fpga_facedet.host.picture import read_picture
from fpga_facedet.letterbox import Letterbox

LEAST_SCORE = 0.01


def detect(engine: GoldenEngine, path: Path, original: tuple[int, int]) -> Detections:
    """Return the faces of the picture at `path` in pixels of its original (width, height)."""
    frame = read_picture(path)
    height, width = frame.shape[:2]
    sizes = engine.manifest.input
    box = Letterbox.fit(width, height, sizes.width, sizes.height)
    output = engine.infer(box.apply(frame, sizes.fill)[None])[0]
    faces = faces_in_frame(output, engine.manifest, box, LEAST_SCORE)
    scale = np.array([original[0] / width, original[1] / height] * 2, np.float32)
    return Detections(faces.boxes * scale, faces.scores)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="lpyolo-4w4a", help="a name of the zoo, or a model file")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    engine = GoldenEngine(zoo.model_path(arguments.model), arguments.threads)
    official = load_truth(arguments.truth)
    with open(arguments.data / "sizes.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = {}
    for row in track(rows, "pictures"):
        original = (int(row["orig_w"]), int(row["orig_h"]))
        found[row["image"]] = detect(engine, arguments.data / "images" / row["image"], original)
    ap = wider_ap(found, {row["image"]: official[row["image"]] for row in rows})
    print(json.dumps({"pictures": len(rows), **{level: round(value, 4) for level, value in ap.items()}}))


if __name__ == "__main__":
    main()
