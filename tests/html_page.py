"""What the tests of pages share: a parser that reads a page's tables and tells what is wrong with it."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = ("meta", "br", "wbr", "img", "source", "hr", "link", "input")
_SVG = ("circle", "rect", "line", "polyline", "polygon", "path")


@dataclass
class Table:
    """A table: headings, rows as texts, and of each row's bar the width and the marks in percent."""

    headings: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    bars: list[float | None] = field(default_factory=list)
    marks: list[list[float]] = field(default_factory=list)

    def column(self, heading: str) -> list[str]:
        """Return the texts below a heading."""
        return [row[self.headings.index(heading)] for row in self.rows]


class Page(HTMLParser):
    """A parsed page: by section its text and tables, the cards, what it loads; asserts that it is well formed."""

    def __init__(self, source: str) -> None:
        """Parse `source`; AssertionError where it is not well formed."""
        super().__init__()
        self.source = source
        self.open: list[str] = []
        self.headings: list[str] = []
        self.texts: dict[str, str] = {"": ""}
        self.tables: dict[str, list[Table]] = {"": []}
        self.cards: list[list[str]] = []
        self.loads: list[str] = []
        self.labels: list[str] = []
        self._section = ""
        self._cell: list[str] | None = None
        self._card = 0
        self.feed(source)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what opens."""
        given = dict(attrs)
        self.loads += [given[name] or "" for name in ("src", "href", "srcset", "action") if name in given]
        if tag in _VOID:
            return
        self.open.append(tag)
        if tag == "h2":
            self._section = ""
        elif tag == "table":
            self.tables[self._section].append(Table())
        elif tag == "tr" and "tbody" in self.open:
            table = self.tables[self._section][-1]
            table.rows.append([])
            table.bars.append(None)
            table.marks.append([])
        elif tag in ("th", "td"):
            table = self.tables[self._section][-1]
            self._cell = table.headings if tag == "th" else table.rows[-1]
            self._cell.append("")
        elif tag == "svg":
            assert given.get("aria-hidden") == "true" or given.get("aria-label"), "a picture without words"
            self.labels.append(given.get("aria-label") or "")
        elif given.get("class") == "card":
            self.cards.append([])
            self._card = len(self.open)
        self._note_bar(given)

    def _note_bar(self, given: dict[str, str | None]) -> None:
        found = re.match(r"(width|left):([\d.]+)%", given.get("style") or "")
        if found and "td" in self.open:
            table = self.tables[self._section][-1]
            if found[1] == "width":
                table.bars[-1] = float(found[2])
            else:
                table.marks[-1].append(float(found[2]))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Accept shapes of SVG that close themselves."""
        assert tag in _SVG, tag

    def handle_endtag(self, tag: str) -> None:
        """Check that it is the one that was opened last."""
        assert self.open and self.open.pop() == tag, tag
        if len(self.open) < self._card:
            self._card = 0
        if tag in ("th", "td"):
            self._cell = None
        if tag == "table":
            table = self.tables[self._section][-1]
            for row in table.rows:
                assert not table.headings or len(row) == len(table.headings), row

    def handle_data(self, data: str) -> None:
        """Put text where it belongs."""
        if "style" in self.open:
            return
        if "h2" in self.open:
            self._section = data
            self.headings.append(data)
            self.texts[data], self.tables[data] = "", []
            return
        if self._cell is not None:
            self._cell[-1] += data
        elif self._card:
            self.cards[-1].append(data)
        self.texts[self._section] += data

    @property
    def text(self) -> str:
        """All that a reader reads."""
        return "\n".join(self.texts.values())
