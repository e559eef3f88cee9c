"""How long work tells what it is doing, whoever shows it."""

from collections.abc import Callable

Progress = Callable[[str, float], None]
"""Called with what goes on, for a person, and the share of it that is done (0..1)."""


def unwatched(text: str, share: float) -> None:
    """Be the progress of work that nobody watches."""
