"""What `facedet top` shows: how fast a running `facedet serve` is, stage by stage, from its own messages."""

import contextlib
import json
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fpga_facedet.host.metrics import STAGES
from fpga_facedet.stream.client import Reconnect, parse_address
from fpga_facedet.stream.client import watch as watch_stream
from fpga_facedet.stream.protocol import Message

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

SILENCE_SECONDS = 3.0
"""A server speaks at least once a second; after so long without a word it is said to be silent."""
_BAR = 30
"""Columns of a bar at most, and latencies in the little curve, one a second."""
_WIDTH = _BAR + 46
"""Columns of the picture: bars, their figures and the frame around them. A narrower console gets less of each."""
_NAME = 11
_REFRESH = 4
_TICKS = "▁▂▃▄▅▆▇█"
_DIGITS = {
    "0": ("█▀█", "█ █", "▀▀▀"),
    "1": ("▀█ ", " █ ", "▀▀▀"),
    "2": ("▀▀█", "█▀▀", "▀▀▀"),
    "3": ("▀▀█", "▀▀█", "▀▀▀"),
    "4": ("█ █", "▀▀█", "  ▀"),
    "5": ("█▀▀", "▀▀█", "▀▀▀"),
    "6": ("█▀▀", "█▀█", "▀▀▀"),
    "7": ("▀▀█", "  █", "  ▀"),
    "8": ("█▀█", "█▀█", "▀▀▀"),
    "9": ("█▀█", "▀▀█", "▀▀▀"),
    ".": (" ", " ", "▀"),
}


class View:
    """What a stream has said, as far as it is shown; `take` is given every message as it comes.

    `clock` gives seconds, for how long the server has been silent.
    """

    def __init__(self, address: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.address, self._clock = address, clock
        self.hello: Message = {}
        self.metrics: Message | None = None
        self.end: Message | None = None
        self.faces: list[Any] = []
        self.latencies: tuple[float, ...] = ()
        self._heard = clock()

    def take(self, message: Message) -> None:
        """Note one message of the stream."""
        self._heard = self._clock()
        if message["type"] == "hello":
            if message.get("stream") != self.hello.get("stream"):
                self.latencies = ()
            self.hello, self.end = message, None
        elif message["type"] == "frame":
            self.faces = message["faces"]
        elif message["type"] == "metrics":
            self.metrics = message
            if "total" in message["stages"]:
                # Another one each time: the thread that draws may be looking at the old one.
                self.latencies = (*self.latencies, message["stages"]["total"]["median_ms"])[-_BAR:]
        elif message["type"] == "end":
            self.end = message

    @property
    def silent(self) -> float:
        """Seconds since the last message."""
        return self._clock() - self._heard


def top(
    address: str,
    *,
    json_output: bool = False,
    reconnect: Reconnect | None = Reconnect(),
    say: Callable[[str], None] = lambda text: print(text, flush=True),
    console: "Console | None" = None,
) -> None:
    """Show how the server at `address` (HOST:PORT) fares until its stream ends or Ctrl-C.

    On a terminal one live picture; elsewhere, or with `json_output`, one line a second through `say`. A lost connection
    is made again as `reconnect` says. Raises UserError where nobody answers (see `client.watch`).
    """
    host, port = parse_address(address)
    view = View(f"{host}:{port}")
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.suppress(KeyboardInterrupt))
        messages = stack.enter_context(contextlib.closing(watch_stream(host, port, reconnect, metrics=True)))
        # Nothing is drawn before the first word of the server, so that an error stands alone.
        first = next(messages, None)
        live = not json_output and (console.is_terminal if console is not None else sys.stdout.isatty())
        if live:
            stack.enter_context(_live(view, console))
        for message in (message for part in ([first], messages) for message in part if message is not None):
            view.take(message)
            if not live:
                _say_line(view, message, json_output, say)


def _live(view: View, console: "Console | None") -> Any:
    """Return a context in which `view` is drawn again and again, also while nothing comes."""
    from rich import get_console
    from rich.live import Live

    console = console or get_console()
    return Live(get_renderable=lambda: render(view, console.width), console=console, refresh_per_second=_REFRESH)


def _say_line(view: View, message: Message, json_output: bool, say: Callable[[str], None]) -> None:
    """Say what a message brings where there is no terminal: only metrics make a line, and the end."""
    if message["type"] == "metrics":
        say(json.dumps({**message, "faces_now": len(view.faces)}) if json_output else line(view))
    elif message["type"] == "end" and not json_output:
        say(_ended(message))


def line(view: View) -> str:
    """Return the latest figures as one line of plain text."""
    metrics = view.metrics
    if metrics is None:
        return "no figures yet"
    stages = metrics["stages"]
    times = "  ".join(f"{name} {stages[name]['median_ms']:.1f}" for name in (*STAGES, "total") if name in stages)
    counts = "  ".join(f"{name} {metrics[name]}" for name in ("dropped", "lost", "restarts"))
    return f"{metrics['fps_now']:.1f} fps  {times} ms  faces {len(view.faces)}  {counts}"


def render(view: View, columns: int = _WIDTH) -> "RenderableType":
    """Return `view` as a panel for a rich console of `columns`: 13 lines high and 76 columns wide where there is room.

    Where there is not, the percentiles go, then the bars shrink and go, and the counts come below the rate.
    """
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    width = min(columns, _WIDTH)
    title = Text(f" facedet top · {_clean(view.address)} · {_clean(view.hello.get('source', '?'))} ", style="bold")
    model = Text(f" {_clean(view.hello.get('model', '?'))} on {_clean(view.hello.get('engine', '?'))} ", style="cyan")
    if view.metrics is None:
        waiting = "The server has sent no figures yet; facedet serve of this version does so once a second."
        return Panel(Text(waiting), title=title, subtitle=model, width=width)
    wide = width == _WIDTH
    # A frame of four columns, a stage's name with two behind it, two before its figures and ten of those.
    bar = max(0, min(_BAR, width - 4 - (_NAME + 2) - (2 + 10)))
    head = Table.grid(padding=(0, 3))
    rate = (_big(view.metrics["fps_now"]), Text("\nframes/s\nnow", style="dim"))
    head.add_row(*rate, *((_facts(view),) if wide else ()))
    facts = () if wide else (_facts(view),)
    stages = _bars(view.metrics["stages"], bar, wide)
    return Panel(
        Group(head, *facts, Text(), stages, _curve(view, bar, wide), _foot(view)),
        title=title,
        subtitle=model,
        width=width,
    )


def _big(fps: float) -> "Text":
    """Return a rate in digits of three lines."""
    from rich.text import Text

    digits = [_DIGITS[sign] for sign in (f"{fps:.1f}" if fps < 1000 else f"{fps:.0f}")]
    return Text("\n".join(" ".join(rows) for rows in zip(*digits, strict=True)), style="bold green")


def _facts(view: View) -> "Text":
    """Return the counts: what is seen now, what came through and what did not."""
    from rich.text import Text

    metrics = view.metrics or {}
    best = max((face["score"] for face in view.faces), default=None)
    text = Text()
    text.append(f"{len(view.faces)} faces now", style="bold")
    text.append("" if best is None else f", best {best:.2f}")
    watching = _clean(metrics.get("watchers", "?"))
    text.append(f"\n{metrics['frames']:,} frames, mean {metrics['fps']:.1f}/s, {watching} watching\n")
    for name, colour in (("dropped", "yellow"), ("lost", "red"), ("restarts", "red")):
        text.append(f"{metrics[name]:,} {name}   ", style=colour if metrics[name] else "dim")
    return text


def _bars(stages: Any, columns: int, percentiles: bool) -> "RenderableType":
    """Return a bar for each stage, to its median and its 95th percentile; the slowest stands out."""
    from rich.table import Table
    from rich.text import Text

    shown = [(name, stages[name]) for name in STAGES if name in stages]
    longest = max((times[key] for _, times in shown for key in ("median_ms", "p95_ms")), default=0.0) or 1.0
    slowest = max((times["median_ms"] for _, times in shown), default=0.0)
    table = Table.grid(padding=(0, 2))
    for _ in range(3):
        table.add_column(no_wrap=True)
    for name, times in shown:
        median = round(columns * times["median_ms"] / longest)
        rest = max(0, round(columns * times["p95_ms"] / longest) - median)
        style = "yellow" if times["median_ms"] == slowest else "blue"
        bar = Text("█" * median, style=style) + Text("░" * rest, style=style) + Text(" " * (columns - median - rest))
        text = Text(f"{name:{_NAME}}", style="bold" if style == "yellow" else "")
        table.add_row(text, *((bar,) if columns else ()), Text(_times(times, percentiles)))
    return table


def _times(times: Any, percentiles: bool) -> str:
    """Return a stage's median in ten columns, and its 95th percentile."""
    return f"{_ms(times['median_ms'])} ms" + (f"   p95 {_ms(times['p95_ms'])}" if percentiles else "")


def _ms(value: float) -> str:
    """Return milliseconds in seven columns; the longest of them without decimals."""
    return f"{value:7.2f}" if value < 9999 else f"{value:7.0f}"


def _curve(view: View, columns: int, percentiles: bool) -> "Text":
    """Return the latency from capture to sent, second by second, and its figures of now."""
    from rich.text import Text

    times = (view.metrics or {})["stages"].get("total")
    if times is None or not view.latencies:
        return Text("no frame sent yet", style="dim")
    latencies = view.latencies[-columns:] if columns else ()
    highest = max(latencies, default=0.0) or 1.0
    ticks = "".join(_TICKS[min(len(_TICKS) - 1, int(len(_TICKS) * value / highest))] for value in latencies)
    text = Text(f"{'latency':{_NAME}}  ", style="bold", no_wrap=True)
    text.append(f"{ticks:{columns}}  " if columns else "", style="magenta")
    text.append(_times(times, percentiles), style="not bold")
    return text


def _foot(view: View) -> "Text":
    """Return where the figures are from, or what is wrong."""
    from rich.text import Text

    if view.end is not None:
        return Text(_ended(view.end), style="yellow")
    if view.silent > SILENCE_SECONDS:
        return Text(f"No word from the server for {view.silent:.0f} s.", style="red")
    evidence = _clean((view.metrics or {}).get("evidence", "?"))
    return Text(f"medians of late frames, {evidence}, as the server says", "dim")


def _ended(message: Message) -> str:
    return f"The stream ended after {_clean(message.get('frames'))} frames ({_clean(message.get('reason'))})."


def _clean(value: Any) -> str:
    """Return what a server sent as text that cannot move the cursor, and fits."""
    return "".join(sign for sign in str(value) if sign.isprintable())[:40]
