"""Several boards in one search."""

import json
import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from fpga_facedet.boards import BOARDS, get_board
from fpga_facedet.compiler.explore import Exploration, explore
from fpga_facedet.compiler.folding import Request


@pytest.fixture(scope="module")
def found(model: Path) -> Exploration:
    told: list[tuple[str, float]] = []
    result = explore(model, list(BOARDS.values()), progress=lambda *news: told.append(news))
    shares = [share for _, share in told]
    assert shares == sorted(shares) and shares[-1] == 1
    return result


def test_every_board_has_its_best(found: Exploration) -> None:
    assert [each.board.name for each in found.boards] == list(BOARDS)
    for each in found.boards:
        assert each.found is not None and each.found.chain.used.fits(each.board, each.found.request.budget)
    fps = {each.board.name: each.to_dict()["fps"] for each in found.boards}
    assert fps["pynq-z1"] == fps["pynq-z2"] == fps["zybo-z7-20"] < fps["zcu104"]


def test_a_board_that_cannot_says_why(model: Path) -> None:
    result = explore(model, [get_board("pynq-z2")], Request(1_000_000))
    assert result.boards[0].found is None and "out of reach" in result.boards[0].to_dict()["refusal"]
    assert "| none | 1e+06 frames a second are out of reach" in result.table()


def test_writes_json_table_and_pictures(found: Exploration, tmp_path: Path) -> None:
    written = found.save(tmp_path / "new" / "folder")
    assert [path.name for path in written] == ["explore.json", "explore.md", "pareto.svg", "pareto.png"]
    data = json.loads(written[0].read_text())
    assert data["evidence"] == "estimated" and len(data["boards"]) == len(BOARDS)
    remarks = {each["board"]: each.get("remark", "") for each in data["boards"]}
    assert "fitted on 7-series" in remarks["kv260"] and not remarks["pynq-z2"]
    rows = written[1].read_text().splitlines()
    assert len(rows) == 2 + len(BOARDS) and len({row.count("|") for row in rows}) == 1
    picture = ElementTree.parse(written[2]).getroot()
    assert picture.tag.endswith("svg")
    assert written[3].read_bytes().startswith(b"\x89PNG")


def test_energy_is_power_over_rate(found: Exploration) -> None:
    for each in found.boards:
        assert each.found is not None
        last = each.found.pareto[-1]
        assert math.isclose(last.energy_mj, 1000 * last.power_w / each.found.fps, rel_tol=1e-6)
