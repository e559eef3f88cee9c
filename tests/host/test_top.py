"""What `facedet top` shows, drawn by the real rich, and fed by a real server."""

import io
import json

import pytest
from rich.console import Console

from fpga_facedet.errors import UserError
from fpga_facedet.host.metrics import STAGES
from fpga_facedet.host.top import View, line, render, top
from fpga_facedet.stream.protocol import MOST, parse_line
from tests.host.test_commands import Serving
from tests.stream.conftest import Watcher

HELLO = {"type": "hello", "stream": "a", "model": "lpyolo-4w4a", "engine": "board", "source": "camera:0"}


def metrics(total=20.0, **changes):
    times = {name: 2.0 * number for number, name in enumerate(STAGES, 1)} | {"total": total}
    stages = {name: {"mean_ms": t, "median_ms": t, "p95_ms": 1.5 * t} for name, t in times.items()}
    counts = {"frames": 12345, "faces": 9, "dropped": 12, "lost": 0, "restarts": 0, "watchers": 2}
    rates = {"at": 1.0, "seconds": 99.0, "fps": 97.25, "fps_now": 98.74, "evidence": "measured on this machine"}
    return {"type": "metrics", **counts, **rates, "stages": stages, **changes}


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def drawn(view, width=100):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(render(view, width))
    return console.file.getvalue()


@pytest.fixture
def view():
    view = View("192.168.2.99:5566", Clock())
    view.take(HELLO)
    return view


def test_before_the_first_figures_it_says_what_it_waits_for(view):
    text = drawn(view)
    assert "sent no figures yet" in text and "192.168.2.99:5566 · camera:0" in text and "lpyolo-4w4a on board" in text
    assert line(view) == "no figures yet"


def test_everything_is_there_in_13_lines(view):
    view.take(metrics())
    view.take({"type": "frame", "faces": [{"score": 0.5}, {"score": 0.914}]})
    text = drawn(view)
    assert len(text.splitlines()) == 13 and max(map(len, text.splitlines())) < 80
    for part in ("2 faces now, best 0.91", "12,345 frames", "mean 97.2/s", "2 watching", "12 dropped", "0 lost"):
        assert part in text
    assert "measured on this machine, as the server says" in text
    assert "█▀█ █▀█   ▀▀█" in text and "▀▀█ █▀█     █" in text and "▀▀▀ ▀▀▀ ▀   ▀" in text  # 98.7
    assert line(view) == (
        "98.7 fps  capture 2.0  preprocess 4.0  inference 6.0  postprocess 8.0  send 10.0  total 20.0 ms  "
        "faces 2  dropped 12  lost 0  restarts 0"
    )


@pytest.mark.parametrize("width", [60, 40, 30])
def test_a_narrow_console_gets_less_but_no_broken_lines(view, width):
    view.take(metrics())
    rows = drawn(view, width).splitlines()
    assert {len(row) for row in rows} == {width} and rows[0][0] + rows[0][-1] + rows[-1][0] + rows[-1][-1] == "╭╮╰╯"
    figures = [row for row in rows if row.endswith(" ms │") or row.endswith(" ms  │")]
    assert [row.split()[1] for row in figures] == [*STAGES, "latency"] and not any("p95" in row for row in rows)
    text = " ".join(" ".join(rows).replace("│", " ").split())
    for part in ("12,345 frames, mean 97.2/s, 2 watching", "12 dropped 0 lost 0 restarts", "as the server says"):
        assert part in text


def test_the_longest_figures_that_are_let_through_are_drawn(view):
    stages = {"send": {"mean_ms": MOST, "median_ms": MOST, "p95_ms": 0}}
    stages["total"] = {"mean_ms": MOST, "median_ms": MOST, "p95_ms": MOST}
    message = metrics(stages=stages, fps=MOST, fps_now=MOST, frames=int(MOST))
    view.take(parse_line(json.dumps(message).encode(), "here"))
    for width in (100, 76, 40):
        text = drawn(view, width)
        assert max(map(len, text.splitlines())) <= width and text.count("█") < 200


def test_bars_are_as_long_as_the_times(view):
    view.take(metrics())
    rows = {row.split()[1]: row for row in drawn(view).splitlines() if row.startswith("│ ") and " ms " in row}
    # Half of a percentile is a median and a half: the longest percentile, 15 ms, fills 30 columns.
    assert [rows[name].count("█") for name in STAGES] == [4, 8, 12, 16, 20]
    assert [rows[name].count("█") + rows[name].count("░") for name in STAGES] == [6, 12, 18, 24, 30]


def test_the_curve_of_the_latency_keeps_its_latest_values(view):
    for total in range(1, 101):
        view.take(metrics(float(total)))
    assert view.latencies == tuple(range(71, 101))
    curve = next(row for row in drawn(view).splitlines() if "latency" in row)
    ticks = [sign for sign in curve if sign in "▁▂▃▄▅▆▇█"]
    assert ticks == sorted(ticks) and ticks[-1] == "█" and len(ticks) == 30
    view.take({**HELLO, "stream": "another"})
    assert view.latencies == ()


def test_silence_and_the_end_are_said(view):
    view.take(metrics())
    view._clock.now += 7
    assert "No word from the server for 7 s." in drawn(view)
    view.take({"type": "end", "frames": 9, "reason": "stopped"})
    assert "The stream ended after 9 frames (stopped)." in drawn(view)


@pytest.mark.parametrize("stages", [{}, {"capture": {"mean_ms": 0, "median_ms": 0, "p95_ms": 0}}])
def test_a_server_that_has_done_nothing_yet_is_drawn_too(view, stages):
    view.take(metrics(stages=stages, frames=0, fps=0.0, fps_now=0.0))
    assert "no frame sent yet" in drawn(view)
    assert line(view).startswith("0.0 fps")


def test_what_a_server_says_cannot_move_the_cursor_nor_be_markup(view):
    view.take({**HELLO, "source": "\x1b[2J[red]x[/red]", "engine": "e" * 500})
    view.take(metrics(evidence="\x1b[1m\n" * 50, watchers="\r\r"))
    text = drawn(view)
    assert "\x1b" not in text and "[red]x[/red]" in text and "e" * 41 not in text


@pytest.mark.parametrize(
    "change",
    [
        {"frames": None},
        {"frames": -5},
        {"lost": 10**300},
        {"fps_now": "9"},
        {"fps_now": -1.0},
        {"fps_now": float("nan")},
        {"fps": float("inf")},
        {"stages": []},
        {"stages": {"send": {"mean_ms": 1}}},
        {"stages": {"send": {"mean_ms": 1, "median_ms": 1e308, "p95_ms": 1}}},
        {"stages": {"send": {"mean_ms": 1, "median_ms": -1e7, "p95_ms": 1}}},
    ],
)
def test_metrics_that_lack_something_are_refused(change):
    assert parse_line(json.dumps(metrics()).encode(), "here")["fps"] == 97.25
    with pytest.raises(UserError, match="metrics without what facedet/1 asks for"):
        parse_line(json.dumps(metrics(**change)).encode(), "here")


@pytest.mark.parametrize("kind", ["lines", "json", "terminal"])
def test_a_real_server_is_shown_to_its_end(video, engine, kind):
    serving = Serving(video, engine, fps=0.0, wait_clients=2)
    Watcher(serving.port).read()
    said = []
    console = Console(file=io.StringIO(), width=100, force_terminal=True) if kind == "terminal" else None
    top(f"127.0.0.1:{serving.port}", json_output=kind == "json", say=said.append, console=console)
    serving.done()
    if kind == "terminal":
        assert said == [] and "The stream ended after 30 frames (finished)." in console.file.getvalue()
    elif kind == "json":
        last = json.loads(said[-1])
        assert last["type"] == "metrics" and last["frames"] == 30 and last["faces_now"] >= 0
    else:
        assert said[-1] == "The stream ended after 30 frames (finished)." and " fps  capture " in said[-2]


def test_nobody_there_is_one_sentence():
    with pytest.raises(UserError, match="No stream at 127.0.0.1:1 "):
        top("127.0.0.1:1")
