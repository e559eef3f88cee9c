"""What all our Tcl scripts for AMD's tools share: how they tell what they do, and how text becomes Tcl."""

from collections.abc import Iterable

STAGE = "facedet: "
"""Begins each line in which a script says what it is about to do, or why it stops."""


def word(text: str) -> str:
    """Return `text` as one word of Tcl that stands for itself; ValueError where braces cannot hold it."""
    if text and not set(text) & set(' \t\n"$[];\\{}#'):
        return text
    if set(text) & set("{}\\\n"):
        raise ValueError(f"not a plain word of Tcl: {text!r}")
    return "{" + text + "}"


def fill(text: str, **values: str) -> str:
    """Replace each @key@; Tcl has braces and dollars of its own."""
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text


def listing(command: str, words: Iterable[str]) -> str:
    """Return `command [list ...]` with a line for each word."""
    lines = "".join(f" \\\n\t{item}" for item in words)
    return f"{command} [list{lines} \\\n]"
