import re
from dataclasses import replace
from pathlib import Path

import pytest
import tomllib

from fpga_facedet.boards import BOARDS, Board, get_board
from fpga_facedet.compiler import report_findings
from fpga_facedet.compiler.report_page import page
from fpga_facedet.files import sha256_of
from fpga_facedet.manifest import EVIDENCE, Figure, LayerInfo, Manifest
from fpga_facedet.zoo import DEFAULT_MODEL, model_path
from tests.compiler.report_case import FIFOS, SEARCH, SHA, SYNTHESIS, leave, manifest, with_better_evidence
from tests.html_page import Page, Table

BOARD = get_board("pynq-z2")
SECTIONS = [
    "What limits it", "Network", "Cycles a frame", "Use of the chip", "Layers", "FIFOs", "Synthesis", "Other foldings",
    "Power and energy", "Evidence", "The same again",
]  # fmt: skip


def show(folder: Path, known: Manifest | None = None, board: Board = BOARD, **files) -> Page:
    known = known or manifest()
    folder.mkdir(exist_ok=True)
    return Page(page(known, board, report_findings.read(leave(folder, **files), known)))


@pytest.fixture
def bare(tmp_path: Path) -> Page:
    return show(tmp_path / "bare")


@pytest.fixture
def full(tmp_path: Path) -> Page:
    return show(tmp_path / "full", with_better_evidence(manifest()), search=SEARCH, fifos=FIFOS, synthesis=SYNTHESIS)


def table(read: Page, section: str, index: int = 0) -> Table:
    return read.tables[section][index]


def test_bare_and_full_pages_have_the_same_sections_and_load_nothing(bare: Page, full: Page) -> None:
    for read in (bare, full):
        assert read.headings == SECTIONS and not read.loads
        assert "url(" not in read.source and "@import" not in read.source and "<script" not in read.source
        assert not re.search(r"(https?:)?//\w", read.source)


def test_every_figure_stands_there_with_its_evidence(full: Page) -> None:
    rows = [row for row in table(full, "Evidence").rows if row[1] != "not measured"]
    figures = with_better_evidence(manifest()).figures
    assert sorted((row[1], row[2]) for row in rows) == sorted(
        (f"{each.value:,.10g}", each.evidence) for each in figures
    )
    best = {f"{each.value:,.10g}": each.evidence for each in figures if each.evidence != "estimated"}
    best |= {"1.71": "estimated", "0.24": "estimated"}
    assert {card[0]: card[-1] for card in full.cards} == best


def test_what_nobody_obtained_is_not_measured_and_says_which_command_would(bare: Page, full: Page) -> None:
    missing = {row[0]: row[2] for row in table(bare, "Evidence").rows if row[1] == "not measured"}
    assert missing["cycles from the first pixel to the last result"] == "simulated: facedet verify DIR"
    assert missing["LUTs"] == missing["flip-flops"] == missing["DSP slices"] == "synthesized: facedet synth DIR"
    assert missing["clock that routes"] == "facedet overlay build DIR"
    assert ["not measured", "cycles from the first pixel to the last result", "facedet verify DIR"] in bare.cards
    assert "Not measured (facedet synth DIR)" in bare.texts["Synthesis"]
    assert "not measured (facedet build --size-fifos)" in bare.texts["FIFOs"]
    assert "not known" in bare.texts["What limits it"] and "Not measured" in bare.texts["Other foldings"]
    measured = {row[0] for row in table(full, "Evidence").rows if row[1] == "not measured"}
    assert measured == {"clock that routes", "frames a second on the board", "power of the board"}
    for section in ("FIFOs", "Synthesis", "Other foldings", "What limits it"):
        assert "not measured" not in full.texts[section].lower() and "not known" not in full.texts[section]


def test_the_bars_of_the_cycles_match_them_and_mark_bottleneck_next_and_target(full: Page, bare: Page) -> None:
    found, target = table(full, "Cycles a frame"), 1e8 / 7_000
    layers = [each for each in manifest().layers if each.op != "StreamingDataWidthConverter"]
    assert found.column("cycles") == [f"{each.cycles:,}" for each in layers]
    assert found.bars == [pytest.approx(100 * each.cycles / target, abs=0.06) for each in layers]
    said = {row[0]: row[3] for row in found.rows if row[3]}
    assert said == {"1 matrix unit": "bottleneck", "2 matrix unit": "next"}
    assert found.marks[0] == [100.0, pytest.approx(100 * 6_144 / target, abs=0.06)]
    assert "14,286 cycles, the 7000 frames a second asked for" in full.texts["Cycles a frame"]
    # Without a search nobody knows of a target: the bars are of the slowest layer.
    assert max(bar or 0 for bar in table(bare, "Cycles a frame").bars) == 100.0
    assert table(bare, "Cycles a frame").marks[0] == [pytest.approx(100 * 6_144 / 13_824, abs=0.06)]


def test_a_target_far_below_what_is_reached_does_not_flatten_the_bars(tmp_path: Path) -> None:
    read = show(tmp_path, search=SEARCH | {"request": {"target_fps": 10.0, "minimise": "share"}})
    found = table(read, "Cycles a frame")
    assert max(bar or 0 for bar in found.bars) == 100.0 and len(found.marks[0]) == 1
    assert "10,000,000 cycles, the 10 frames a second asked for" in read.texts["Cycles a frame"]


def test_the_bars_of_the_chip_match_the_shares_and_mark_the_budget(full: Page) -> None:
    found = table(full, "Use of the chip")
    assert found.column("evidence")[:2] == ["estimated", "synthesized"]
    for row, bar, marks in zip(found.rows, found.bars, found.marks, strict=True):
        used, whole = (float(row[index].replace(",", "")) for index in (3, 4))
        assert bar == pytest.approx(100 * used / whole, abs=0.06) and row[1] == f"{used / whole:.0%}"
        budget = {"LUTs": 85, "flip-flops": 100, "18-kbit block RAMs": 90, "DSP slices": 95}[row[0]]
        assert marks == [budget] and row[6] == f"{budget}%" + (", exceeded" if 100 * used / whole > budget else "")
    assert sum(row[6].endswith("exceeded") for row in found.rows) == 1


def test_the_folding_of_each_layer_stands_in_its_row(bare: Page) -> None:
    found = table(bare, "Layers")
    rows = {row[0]: dict(zip(found.headings, row, strict=True)) for row in found.rows}
    first, second, third = (rows[f"{index} matrix unitMVAU_rtl_{index}"] for index in (0, 1, 2))
    assert [each["multiplier"] for each in (first, second, third)] == ["adders", "DSP", "LUT"]
    assert [each["memory"] for each in (first, second, third)] == ["–", "block RAM", "LUT"]
    assert (second["PE"], second["SIMD"], second["cycles"], second["DSP"]) == ("4", "9", "13,824", "9")
    assert second["bits"] == "4 → 13 (4)" and second["FF"] == "80"
    windows = [rows[f"{index} windowConvolutionInputGenerator_rtl_{index}"]["window"] for index in (0, 1)]
    assert windows == ["parallel", "one by one"]
    assert all(each.name in bare.text for each in manifest().layers if each.op != "StreamingDataWidthConverter")


def test_the_rows_of_the_layers_add_up_to_the_whole(bare: Page) -> None:
    found = table(bare, "Layers")
    for heading, name in (("LUT", "lut"), ("FF", "ff"), ("BRAM18", "bram18"), ("DSP", "dsp")):
        whole = next(each.value for each in manifest().figures if each.name == name)
        assert sum(float(text.replace(",", "")) for text in found.column(heading)) == whole
    assert found.column("layer")[-2:] == ["width converters1 of them", "FIFOs2 of them"]


def test_unknown_flip_flops_are_a_dash_not_nought(tmp_path: Path) -> None:
    def without(layer: LayerInfo) -> LayerInfo:
        return replace(layer, resources={name: used for name, used in layer.resources.items() if name != "ff"})

    known = manifest()
    found = table(show(tmp_path, replace(known, layers=tuple(map(without, known.layers)))), "Layers")
    assert set(found.column("FF")) == {"–"}


def test_styles_and_evidence_get_a_column_where_layers_differ_in_them(tmp_path: Path) -> None:
    known = manifest()
    layers = tuple(
        replace(each, style="hls", evidence="synthesized") if each.op == "MVAU" else each for each in known.layers
    )
    read = show(tmp_path, replace(known, layers=layers, layer_style="mixed"))
    found = table(read, "Layers")
    assert set(found.column("style")) == {"rtl", "hls", "–"}
    # As facedet hls report and the C++ call it.
    assert found.column("layer")[2].endswith("MVAU_0") and "MVAU_1 is the slowest layer" in read.text
    assert found.column("evidence")[2] == "synthesized" and found.column("evidence")[0] == "estimated"
    assert "Synthesized or estimated." in read.texts["Layers"] and "facedet hls report" in read.texts["Layers"]
    styles = {each.plain_name: "hls" for each in layers if each.style == "hls"}
    command, written = read.texts["The same again"].split("STYLES.toml holds:")
    assert "--layers STYLES.toml" in command
    assert tomllib.loads(written[: written.index("Model ")]) == {"layers": styles}
    assert "all layers in C++" in show(tmp_path, replace(known, layer_style="hls")).text


def test_the_fifos_show_what_they_held(full: Page, bare: Page) -> None:
    found = table(full, "FIFOs")
    assert found.column("most held") == ["24", "600"] and found.bars == [75.0, 100.0]
    assert found.column("estimated") == ["64", "900"] and found.column("memory") == ["LUTRAM", "block RAM"]
    assert "13,830 full, 13,830 sized, 24,000 stalled (simulated)" in full.texts["FIFOs"]
    assert table(bare, "FIFOs").headings == ["FIFO", "places", "bits", "in front of"]


def test_a_fifo_that_the_sizing_did_not_see_is_not_measured(tmp_path: Path) -> None:
    found = table(show(tmp_path, fifos=FIFOS | {"fifos": FIFOS["fifos"][:1]}), "FIFOs")
    assert found.column("most held") == ["24", "not measured"]


def test_what_could_not_be_counted_leaves_no_whole(tmp_path: Path) -> None:
    read = show(tmp_path, synthesis=SYNTHESIS | {"not_counted": ["Thresholding_rtl_0"]})
    assert "The whole is not measured: Thresholding_rtl_0 could not be counted" in read.texts["Synthesis"]
    assert "whole" not in table(read, "Synthesis").column("part")


def test_synthesis_stands_beside_the_estimate(full: Page) -> None:
    found = table(full, "Synthesis")
    assert found.rows[0] == ["MVAU_rtl_0", "2,600", "2,500", "1,700", "0", "0"]
    assert found.rows[-1] == ["whole", "47,880", "3,750", "10", "10", "10"]


def test_the_search_says_what_limits_it_and_draws_the_front(full: Page) -> None:
    said = full.texts["What limits it"]
    assert "MVAU_rtl_1 is the slowest layer: 13,824 cycles (estimated)" in said
    assert SEARCH["bottleneck"]["why"] in said and SEARCH["limit"] in said and "What binds the fastest: dsp" in said
    found = table(full, "Other foldings")
    assert found.rows[1] == ["7,233.8", "3,750", "2,600", "6", "9", "1.73", "0.24"]
    assert len(re.findall("<polyline", full.source)) == 6 and "this build" in full.texts["Other foldings"]
    assert any("3 foldings" in label for label in full.labels)


def test_power_has_its_parts_its_range_and_the_papers_board(full: Page, bare: Page) -> None:
    found, energy = table(bare, "Power and energy"), table(bare, "Power and energy", 1)
    watts = {row[0]: row[1] for row in found.rows}
    assert watts["LPYOLO's PYNQ-Z2, the whole board"] == "2.4" and watts["processor system"] == "1.533"
    assert re.fullmatch(r"1\.71 \(\d\.\d\d to \d\.\d\d\)", watts["chip"])
    assert [row[0] for row in energy.rows] == ["here, the chip", "LPYOLO, the board at 18 frames a second"]
    assert energy.rows[1][1] == "133"
    # Synthesis found more LUTs: the estimate from its counts stands beside the other.
    assert len(table(full, "Power and energy", 1).rows) == 3
    sources = table(bare, "Power and energy", 2)
    assert len(sources.rows) == 6 and "(canny)" in sources.column("source")[0]
    assert any("2.4 W of LPYOLO's board" in label for label in bare.labels)


def test_without_a_frame_rate_there_is_no_power(tmp_path: Path) -> None:
    read = show(tmp_path, replace(manifest(), figures=()))
    assert "not measured" in read.texts["Power and energy"] and not read.tables["Power and energy"]


def test_the_network_is_a_chain_from_pixels_to_grid(bare: Page) -> None:
    text = bare.texts["Network"]
    for part in ("64 × 96 × 3", "16 × 24 × 8", "8 × 12 × 16", "2 × 3 × 12", "stride 2", "pool 2 × 2", "2 anchors"):
        assert part in text, part
    assert bare.source.count("<li><div>") == 2 + 4


def test_a_network_that_is_not_described_is_said_to_be_so(tmp_path: Path) -> None:
    known = manifest()
    read = show(tmp_path, replace(known, model=replace(known.model, spec={"layers": "<b>"})))
    assert "does not describe it" in read.texts["Network"]


@pytest.mark.parametrize(
    ("search", "command"),
    [
        (None, "facedet build --model MODEL.onnx --board pynq-z2"),
        (SEARCH, "facedet build --model MODEL.onnx --board pynq-z2 --target-fps 7000"),
        (
            SEARCH | {"request": {"target_fps": "max", "minimise": "dsp"}, "budget": SEARCH["budget"] | {"lut": 0.5}},
            "facedet build --model MODEL.onnx --board pynq-z2 --target-fps max --minimise dsp "
            "--budget lut=50,ff=100,bram18=90,dsp=95",
        ),
    ],
)
def test_the_command_that_builds_it_again(tmp_path: Path, search, command: str) -> None:
    read = show(tmp_path, **({"search": search} if search else {}))
    assert read.texts["The same again"].endswith(f"{command}\nModel {'cd' * 8}.\n\n")
    assert "fpga-facedet 0.1.0" in read.texts["The same again"] and "cd" * 32 in read.texts["The same again"]


def test_sized_fifos_and_styles_are_part_of_the_command(full: Page, tmp_path: Path) -> None:
    assert "--target-fps 7000 --size-fifos\n" in full.texts["The same again"]
    assert "pynq-z2 --layers hls\n" in show(tmp_path, replace(manifest(), layer_style="hls")).texts["The same again"]


def test_only_the_very_model_of_the_zoo_goes_by_its_name(tmp_path: Path) -> None:
    known = manifest()
    shipped = replace(known.model, name=DEFAULT_MODEL, sha256=sha256_of(model_path(DEFAULT_MODEL)))
    for model, word in ((shipped, DEFAULT_MODEL), (replace(shipped, sha256="00" * 32), "MODEL.onnx")):
        read = show(tmp_path, replace(known, model=model))
        assert f"--model {word} --board" in read.texts["The same again"]


def test_damaged_and_foreign_files_are_not_shown(tmp_path: Path) -> None:
    read = show(tmp_path, fifos="{", synthesis=SYNTHESIS | {"rtl_sha256": "00" * 32})
    assert "fifos.json could not be read" in read.texts["Evidence"]
    assert "Not measured" in read.texts["Synthesis"] and SHA not in read.text


def test_hostile_names_are_text(tmp_path: Path) -> None:
    bad = "<script>'\"&</td>"
    known = with_better_evidence(manifest())
    layers = tuple(
        replace(each, name=bad, op="X" + bad if each.op == "Thresholding" else each.op) for each in known.layers
    )
    known = replace(
        known,
        model=replace(known.model, name=bad, sha256=bad),
        layers=layers,
        fifos=tuple(replace(each, name=bad, before=bad) for each in known.fifos),
        figures=(*known.figures, Figure(bad, 1.0, bad, "measured")),
        versions={bad: bad},
    )
    search = SEARCH | {"bottleneck": {"layer": bad, "cycles": 1, "why": bad}, "limit": bad, "binding": bad}
    search["request"] = {"target_fps": None, "minimise": bad}
    fifos = FIFOS | {"fifos": [each | {"name": bad, "memory": bad} for each in FIFOS["fifos"]]}
    fifos["cycles_per_frame"] = {bad: 3}
    counted = [each | {"name": bad} for each in SYNTHESIS["layers"]]
    synthesis = SYNTHESIS | {"tool": bad, "layers": counted, "not_counted": [bad]}
    read = show(tmp_path, known, replace(BOARD, title=bad, remark=bad), search=search, fifos=fifos, synthesis=synthesis)
    assert "<script" not in read.source and read.headings == SECTIONS
    for section in SECTIONS[:1] + SECTIONS[4:7] + SECTIONS[9:]:
        assert bad in read.texts[section], section


@pytest.mark.parametrize("board", BOARDS.values(), ids=list(BOARDS))
def test_every_board_has_its_page_and_its_remark(tmp_path: Path, board: Board) -> None:
    read = show(tmp_path, replace(manifest(), board=board.name, part=board.part), board)
    assert board.remark in read.text and f"{board.dsp:,}" in table(read, "Use of the chip").column("of")


def test_evidence_is_always_one_of_ours_or_a_command(full: Page) -> None:
    for row in table(full, "Evidence").rows:
        assert row[2] in EVIDENCE or "facedet" in row[2] or "meter" in row[2]


def test_a_page_of_hls_layers_sends_nobody_to_yosys_or_to_the_simulation(tmp_path: Path) -> None:
    known = manifest()
    layers = tuple(replace(each, style="hls", resources=each.resources | {"dsp": 0}) for each in known.layers)
    read = show(tmp_path, replace(known, layers=layers, layer_style="hls"))
    missing = {row[0]: row[2] for row in table(read, "Evidence").rows if row[1] == "not measured"}
    assert missing["frames a second"] == missing["LUTs"] == "synthesized: facedet hls report DIR"
    assert "facedet synth" not in read.text
    found = table(read, "Layers")
    # The stream in front of an HLS layer is in its own figures, and a layer without DSPs multiplies in LUTs.
    assert not [name for name in found.column("layer") if name.startswith("FIFOs")]
    assert set(found.column("multiplier")) <= {"LUT", "adders", "–"} and "LUT" in found.column("multiplier")
