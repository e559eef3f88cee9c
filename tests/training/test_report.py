import json
import math
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fpga_facedet.detections import Detections
from fpga_facedet.errors import UserError
from fpga_facedet.evaluation.operating_point import OperatingPoint, Truth
from fpga_facedet.evaluation.wider import Curve
from fpga_facedet.letterbox import Letterbox
from fpga_facedet.spec import DetectorSpec
from fpga_facedet.training.dataset import Dataset, load_split
from fpga_facedet.training.report import REPORT, Counts, _command, phases, read_log, smoothed, write_report
from fpga_facedet.training.validate import Findings

CONFIG = {"minutes": 10.0, "steps": None, "seed": 7, "calm_at": 0.75, "frozen_at": 0.9}
POINT = OperatingPoint(0.5, 0.9, 0.6)


def line(step: int, **others: Any) -> str:
    found = {"step": step, "minutes": step / 10, "windows": 32 * step, "quantized": step > 40, "rate": 1e-3}
    return json.dumps(
        {
            **found,
            "steps_a_second": 0.2,
            "windows_a_second": 6.4,
            "loss": 5 - step / 50,
            "box": 0.5,
            "face": 1.0,
            **others,
        }
    )


def write_log(folder: Path, *lines: str) -> Path:
    path = folder / "log.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_log(tmp_path, *map(line, range(10, 101, 10)))


def look(pictures: Dataset, spec: DetectorSpec) -> Findings:
    """Find every second face of each picture exactly, and something wrong in the corner of every picture."""
    found, truth = [], []
    for picture in pictures.pictures:
        box = Letterbox.fit(picture.pixels.shape[1], picture.pixels.shape[0], spec.input.width, spec.input.height)
        faces = box.to_input(picture.faces)
        boxes = np.concatenate([faces[::2], np.array([[0, 0, 9, 9]], np.float32)])
        found.append(Detections(boxes, np.linspace(0.9, 0.6, len(boxes), dtype=np.float32)))
        truth.append(Truth(faces, box.to_input(picture.ignored)))
    return Findings(found, truth)


def write(out: Path, log: Path, spec: DetectorSpec, data: Path, **others: Any) -> str:
    """Write a report and return the page."""
    pictures = load_split(data, "val")
    checkpoint = {"spec": spec.to_dict(), "config": CONFIG, "step": 100, "windows": 3200, "minutes": 10.0}
    counts = {"train": Counts.of(load_split(data, "train")), "val": Counts.of(pictures)}
    arguments = {"chosen_by": "By <rule>.", **others}
    findings = look(pictures, spec)
    path = write_report(out, log, checkpoint, counts, pictures.pictures, findings, POINT, **arguments)
    assert path == out / REPORT
    return path.read_text()


class Page(HTMLParser):
    """Collects open tags, rows of tables and the pictures; what is loaded must come with the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.pictures: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br", "img", "source"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        for name, value in attrs:
            assert name not in ("href", "src", "srcset") or (value or "").startswith("data:image/"), value
            if tag == "img" and name == "src":
                self.pictures.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1].append(data)

    def row(self, name: str) -> list[str]:
        """Return the cells beside `name`."""
        return next(row[1:] for row in self.rows if row[0] == name)


def test_a_log_without_interruption_is_taken_whole(log: Path) -> None:
    found = read_log(log)
    assert [entry["step"] for entry in found.lines] == list(range(10, 101, 10))
    assert (found.resumed, found.unreadable) == ((), 0)
    assert found.losses() == ["box", "face"]


def test_a_resumed_run_shows_repeated_steps_once(tmp_path: Path) -> None:
    again = [line(step, loss=1.0) for step in (25, 35, 45)]
    found = read_log(write_log(tmp_path, *map(line, (10, 20, 30, 40)), *again))
    assert [entry["step"] for entry in found.lines] == [10, 20, 25, 35, 45]
    np.testing.assert_array_equal(found.column("loss")[2:], 1.0)
    assert found.resumed == (32 * 20,)
    # The pace across the seam counts no window and no minute twice.
    np.testing.assert_allclose(found.windows_a_second(), 32 / 6)


def test_a_run_that_begins_anew_replaces_all(tmp_path: Path) -> None:
    found = read_log(write_log(tmp_path, *map(line, (10, 20)), line(10), line(21)))
    assert [entry["step"] for entry in found.lines] == [10, 21]
    assert found.resumed == (0,)


def test_torn_and_foreign_lines_are_counted(tmp_path: Path) -> None:
    found = read_log(write_log(tmp_path, line(10), line(20)[:25], "[1]", '{"minutes": 1}', "", line(30)))
    assert [entry["step"] for entry in found.lines] == [10, 30]
    assert found.unreadable == 3


def test_a_missing_figure_is_a_gap(tmp_path: Path) -> None:
    values = read_log(write_log(tmp_path, line(10, teacher=0.5), line(20))).column("teacher")
    assert values[0] == 0.5 and math.isnan(values[1])


def test_no_log_is_an_empty_one_and_an_unreadable_one_an_error(tmp_path: Path) -> None:
    assert read_log(tmp_path / "log.jsonl").lines == ()
    with pytest.raises(UserError, match="Cannot read the training log"):
        read_log(tmp_path)


def test_phases_are_where_the_log_and_the_settings_say(log: Path) -> None:
    found = phases(read_log(log), CONFIG)
    assert [text for _, text in found] == ["quantized", "calm windows", "BatchNorm frozen"]
    # Between steps 40 and 50; at 7.5 and at 9 of 10 minutes, ten steps a minute.
    np.testing.assert_allclose([at for at, _ in found], [32 * 45, 32 * 75, 32 * 90])
    by_steps = phases(read_log(log), {"steps": 200, "minutes": 10.0, "calm_at": 0.25, "frozen_at": 0.75})
    assert by_steps == [(32 * 45, "quantized"), (32 * 50, "calm windows")]


def test_smoothing_keeps_what_is_constant_and_skips_gaps() -> None:
    values = np.full(100, 3.0)
    values[40] = math.nan
    np.testing.assert_array_equal(smoothed(values), 3.0)
    spike = np.zeros(100)
    spike[50] = 1
    assert 0 < smoothed(spike).max() < 0.5
    np.testing.assert_allclose(smoothed(spike).sum(), 1)
    np.testing.assert_array_equal(smoothed(np.array([1.0, 2.0])), [1, 2])


def test_the_page_is_self_contained_and_says_what_was_done(
    tmp_path: Path, log: Path, small_spec: DetectorSpec, data_folder: Path
) -> None:
    text = write(tmp_path, log, small_spec, data_folder)
    page = Page(text)
    # Four curves of the run, one of precision, and the worst and best of the pictures that have faces.
    pictures = load_split(data_folder, "val").pictures
    assert len(page.pictures) == 5 + sum(len(picture.faces) > 0 for picture in pictures)
    assert page.row("seed") == ["7"]
    assert page.row("train")[:4] == ["24", "24", "1", "8"]
    assert page.row("score threshold") == ["0.5000"]
    assert page.row("every size")[0] == str(sum(len(picture.faces) for picture in pictures))
    assert "measured by the quantized torch network" in text and "facedet eval" in text and "By &lt;rule&gt;." in text
    assert "torch " in text and "prefers-color-scheme: dark" in text


def test_the_figures_at_the_threshold_are_those_of_the_findings(
    tmp_path: Path, log: Path, small_spec: DetectorSpec, data_folder: Path
) -> None:
    pictures = load_split(data_folder, "val").pictures
    faces = sum(len(picture.faces) for picture in pictures)
    found = sum(-(-len(picture.faces) // 2) for picture in pictures)
    row = Page(write(tmp_path, log, small_spec, data_folder)).row("every size")
    # One wrong box in every picture, all above the threshold.
    assert row[2:] == [f"{found / (found + len(pictures)):.3f}", f"{found / faces:.3f}"]


def test_official_difficulties_get_a_plot_of_their_own(
    tmp_path: Path, log: Path, small_spec: DetectorSpec, data_folder: Path
) -> None:
    curve = Curve(np.array([1.0, 0.5]), np.array([0.2, 0.4]), 0.3)
    plain = Page(write(tmp_path, log, small_spec, data_folder))
    text = write(tmp_path, log, small_spec, data_folder, official={"easy": curve, "hard": curve})
    assert len(Page(text).pictures) == len(plain.pictures) + 1
    assert "by WIDER's difficulty" in text


def test_a_run_without_a_log_has_no_curves(tmp_path: Path, small_spec: DetectorSpec, data_folder: Path) -> None:
    text = write(tmp_path, tmp_path / "absent.jsonl", small_spec, data_folder)
    assert "No log was found" in text
    assert "over windows seen" not in text


def test_what_a_user_wrote_is_escaped(tmp_path: Path, log: Path, small_spec: DetectorSpec, data_folder: Path) -> None:
    spec = DetectorSpec.from_dict({**small_spec.to_dict(), "description": "cats & <script>"}, "test")
    text = write(tmp_path, log, spec, data_folder)
    assert "<script>" not in text and "<rule>" not in text
    assert "cats &amp; &lt;script&gt;" in text


def test_a_page_that_cannot_be_written_is_a_sentence(log: Path, small_spec: DetectorSpec, data_folder: Path) -> None:
    with pytest.raises(UserError, match="Cannot save"):
        write(log / "below-a-file", log, small_spec, data_folder)


@pytest.mark.parametrize("name", ["/home/me/.venv/bin/facedet", "/src/fpga_facedet/__main__.py"])
def test_the_command_is_what_one_types(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [name, "train", "--out", "my run"])
    assert _command() == "facedet train --out 'my run'"
