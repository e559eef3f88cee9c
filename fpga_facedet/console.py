"""Progress and remarks on stderr: a live bar for a person, plain lines where nobody looks."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


class Reporter:
    """Shows `text` and the share done (0..1) of one long piece of work; an instance is the callback itself.

    On a terminal it is one live line. Elsewhere (a log, CI) each new text and each further tenth is its own line.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._last: tuple[str, int] | None = None
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=1.0)

    def __enter__(self) -> "Reporter":
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def __call__(self, text: str, share: float) -> None:
        """Show that `text` is going on and `share` (0..1) of the whole is done."""
        self._bar.update(self._task, description=text, completed=share)
        news = (text, int(share * 10))
        if not self._console.is_terminal and news != self._last:
            self._console.print(f"[{share:4.0%}] {text}", markup=False, highlight=False)
        self._last = news

    def say(self, text: str) -> None:
        """Print one line that stays."""
        self._console.print(text, markup=False, highlight=False)
